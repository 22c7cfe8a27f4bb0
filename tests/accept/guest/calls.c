/* calls N: N getpgid system calls and nothing else that counts; a probe on that call must see exactly N. */

#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    long n = argc == 2 ? atol(argv[1]) : 0;
    for (long i = 0; i < n; i++)
        if (syscall(SYS_getpgid, 0) < 0)
            return 1;
    return 0;
}
