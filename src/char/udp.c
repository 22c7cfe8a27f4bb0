/* The udp back end: what is written goes out in datagrams to one peer; what comes back from there is input. */

#include "char/address.h"
#include "char/fd.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DATAGRAM_MAX = 65536, SEND_MAX = 8192 };

typedef struct Udp {
    Chardev chr;
    char   *host, *port, *local_host, *local_port;
    bool    have_ipv4, ipv4, have_ipv6, ipv6;
    int     fd;
    Source *source;
    bool    reading;
    uint8_t datagram[DATAGRAM_MAX];
    size_t  used, len; /* what the front end has had of the last datagram */
} Udp;

static const Field udp_properties[] = {
    FIELD(Udp, host, "host", .help = "host to send to (default: localhost)"),
    FIELD(Udp, port, "port", .required = true, .help = "port to send to, number or service name"),
    FIELD(Udp, local_host, "localaddr", .help = "local address (default: any)"),
    FIELD(Udp, local_port, "localport", .help = "local port (default: any)"),
    FIELD(Udp, ipv4, "ipv4", .has_offset = 1 + offsetof(Udp, have_ipv4), .help = "use IPv4"),
    FIELD(Udp, ipv6, "ipv6", .has_offset = 1 + offsetof(Udp, have_ipv6), .help = "use IPv6"),
    {}
};

static void set_reading(Udp *u, bool on)
{
    u->reading = on;
    loop_watch_set(u->source, on ? LOOP_READ : 0);
}

/* Gives the front end of the datagram what it takes. */
static void deliver(Udp *u)
{
    while (u->used < u->len) {
        size_t n = MIN(char_can_read(&u->chr), u->len - u->used);
        if (!n) {
            set_reading(u, false);
            return;
        }
        size_t at = u->used;
        u->used += n;
        char_push(&u->chr, u->datagram + at, n);
    }
    set_reading(u, true);
}

static void udp_ready(void *opaque, unsigned events)
{
    Udp *u = opaque;
    if (u->used == u->len) {
        /* Errors are old news from ICMP: the peer may come yet. */
        ssize_t n = recv(u->fd, u->datagram, sizeof u->datagram, MSG_DONTWAIT);
        u->used   = 0;
        u->len    = n > 0 ? (size_t)n : 0;
    }
    deliver(u);
}

static bool udp_open(Chardev *chr, Error *err)
{
    Udp          *u      = (Udp *)chr;
    SocketAddress remote = {
        .host      = u->host && *u->host ? u->host : "localhost",
        .port      = u->port,
        .have_ipv4 = u->have_ipv4,
        .ipv4      = u->ipv4,
        .have_ipv6 = u->have_ipv6,
        .ipv6      = u->ipv6,
    };
    SocketAddress local = remote;
    local.host          = u->local_host;
    local.port          = u->local_port && *u->local_port ? u->local_port : "0";

    struct addrinfo *to = socket_resolve(&remote, false, SOCK_DGRAM, err);
    if (!to) {
        return false;
    }
    struct addrinfo *from = socket_resolve(&local, true, SOCK_DGRAM, err);
    if (!from) {
        freeaddrinfo(to);
        return false;
    }
    int last = EAFNOSUPPORT;
    u->fd    = -1;
    for (struct addrinfo *t = to; t && u->fd < 0; t = t->ai_next) {
        for (struct addrinfo *f = from; f && u->fd < 0; f = f->ai_next) {
            if (f->ai_family != t->ai_family) {
                continue;
            }
            int fd = socket(t->ai_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1;
            if (fd < 0) {
                last = errno;
                continue;
            }
            setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
            if (bind(fd, f->ai_addr, f->ai_addrlen) < 0 || connect(fd, t->ai_addr, t->ai_addrlen) < 0) {
                last = errno;
                close(fd);
                continue;
            }
            u->fd = fd;
        }
    }
    freeaddrinfo(to);
    freeaddrinfo(from);
    if (u->fd < 0) {
        return error_set_errno(err, last, "no UDP socket from %s:%s to %s:%s", local.host ? local.host : "", local.port,
                               remote.host, remote.port);
    }
    u->source = loop_watch(char_hub_loop(chr->hub), u->fd, 0, udp_ready, u);
    set_reading(u, char_can_read(chr) > 0);
    char_event(chr, CHAR_OPENED);
    return true;
}

static void udp_close(Chardev *chr)
{
    Udp *u = (Udp *)chr;
    loop_unwatch(u->source);
    close(u->fd);
}

/* Datagrams get lost anyway: what the host does not take now is dropped. */
static ssize_t udp_write(Chardev *chr, const uint8_t *buf, size_t len)
{
    Udp *u = (Udp *)chr;
    for (size_t done = 0; done < len; done += MIN(len - done, SEND_MAX)) {
        ssize_t n = send(u->fd, buf + done, MIN(len - done, SEND_MAX), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == ECONNREFUSED) {
            /* That was about an earlier one. */
            send(u->fd, buf + done, MIN(len - done, SEND_MAX), MSG_NOSIGNAL | MSG_DONTWAIT);
        }
    }
    return (ssize_t)len;
}

static void udp_accept_input(Chardev *chr)
{
    Udp *u = (Udp *)chr;
    if (!u->reading && char_can_read(chr)) {
        deliver(u);
    }
}

static char *udp_describe(Chardev *chr)
{
    Udp             *u    = (Udp *)chr;
    g_autofree char *peer = socket_name(u->fd, true);
    return g_strdup_printf("udp:%s", peer);
}

CHAR_TYPE(udp) = {
    .name         = "udp",
    .parent       = "chardev",
    .help         = "datagrams to and from one peer",
    .class        = OBJECT_CLASS_CHARDEV,
    .size         = sizeof(Udp),
    .properties   = udp_properties,
    .open         = udp_open,
    .write        = udp_write,
    .accept_input = udp_accept_input,
    .describe     = udp_describe,
    .close        = udp_close,
};
