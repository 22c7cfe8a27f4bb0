/* tcp CONNECTIONS BYTES: so many connections at once over 127.0.0.1, each carries BYTES there in pieces of 1 to 16 KiB
 * and back with every byte changed, and is checked byte by byte. Prints "connections=N bytes=N wrong=N". */

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PIECE = 16384 };

static uint64_t next(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545F4914F6CDD1Dull >> 16;
}

static int whole(int fd, uint8_t *data, size_t n, int sending)
{
    while (n) {
        ssize_t done = sending ? write(fd, data, n) : read(fd, data, n);
        if (done <= 0)
            return 0;
        data += done;
        n -= (size_t)done;
    }
    return 1;
}

/* Answers each piece with its bytes changed, until the other side ends. */
static int serve(int fd)
{
    uint8_t data[PIECE];
    for (ssize_t n; (n = read(fd, data, sizeof data)) != 0;) {
        if (n < 0)
            return 1;
        for (ssize_t i = 0; i < n; i++)
            data[i] = (uint8_t)(data[i] * 7 + 3);
        if (!whole(fd, data, (size_t)n, 1))
            return 1;
    }
    return 0;
}

static int ask(struct sockaddr_in to, unsigned number, size_t bytes)
{
    uint8_t  data[PIECE], back[PIECE];
    uint64_t state = number * 2 + 1;
    int      fd    = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to))
        return 1;
    while (bytes) {
        size_t n = 1 + next(&state) % PIECE;
        n        = n > bytes ? bytes : n;
        for (size_t i = 0; i < n; i++)
            data[i] = (uint8_t)next(&state);
        if (!whole(fd, data, n, 1) || !whole(fd, back, n, 0))
            return 1;
        for (size_t i = 0; i < n; i++)
            if (back[i] != (uint8_t)(data[i] * 7 + 3))
                return 1;
        bytes -= n;
    }
    return close(fd) != 0;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    unsigned           connections = (unsigned)atoi(argv[1]), wrong = 0;
    size_t             bytes     = (size_t)atol(argv[2]);
    struct sockaddr_in address   = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          size      = sizeof address;
    int                listening = socket(AF_INET, SOCK_STREAM, 0);
    if (listening < 0 || bind(listening, (struct sockaddr *)&address, size) || listen(listening, 64) ||
        getsockname(listening, (struct sockaddr *)&address, &size)) {
        perror("tcp");
        return 1;
    }
    for (unsigned i = 0; i < connections; i++)
        if (!fork())
            _exit(ask(address, i, bytes));
    for (unsigned i = 0; i < connections; i++) {
        int fd = accept(listening, NULL, NULL);
        if (!fork())
            _exit(fd < 0 || serve(fd));
        close(fd);
    }
    for (int status; wait(&status) > 0;)
        wrong += status != 0;
    printf("connections=%u bytes=%zu wrong=%u\n", connections, bytes * connections, wrong);
    return wrong != 0;
}
