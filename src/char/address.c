/* Socket addresses. */

#include "char/address.h"

#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4 };

static bool port_ok(const char *port, Error *err)
{
    if (!port || !*port) {
        return error_set(err, "no port given");
    }
    if (strspn(port, "0123456789") == strlen(port) && strtoul(port, NULL, 10) > 65535) {
        return error_set(err, "port %s is above 65535", port);
    }
    return true;
}

static const char *show_host(const SocketAddress *a)
{
    return a->host ? a->host : "";
}

struct addrinfo *socket_resolve(const SocketAddress *a, bool passive, int type, Error *err)
{
    if (!port_ok(a->port, err)) {
        return NULL;
    }
    struct addrinfo hints = { .ai_socktype = type, .ai_family = AF_UNSPEC, .ai_flags = passive ? AI_PASSIVE : 0 };
    bool            only4 = (a->have_ipv4 && a->ipv4 && !(a->have_ipv6 && a->ipv6)) || (a->have_ipv6 && !a->ipv6);
    bool            only6 = (a->have_ipv6 && a->ipv6 && !(a->have_ipv4 && a->ipv4)) || (a->have_ipv4 && !a->ipv4);
    if (only4 && only6) {
        error_set(err, "ipv4=off and ipv6=off leave nothing to use");
        return NULL;
    }
    hints.ai_family = only4 ? AF_INET : only6 ? AF_INET6 : AF_UNSPEC;

    struct addrinfo *list = NULL;
    int              code = getaddrinfo(a->host && *a->host ? a->host : NULL, a->port, &hints, &list);
    if (code != 0) {
        error_set(err, "%s:%s: %s", show_host(a), a->port, code == EAI_SYSTEM ? g_strerror(errno) : gai_strerror(code));
        return NULL;
    }
    return list;
}

/* --- unix --- */

static bool unix_address(const SocketAddress *a, struct sockaddr_un *un, socklen_t *len, Error *err)
{
    *un      = (struct sockaddr_un){ .sun_family = AF_UNIX };
    size_t n = strlen(a->path);
    if (n == 0 || n + 1 > sizeof un->sun_path) {
        return error_set(err, "the path of a unix socket has 1 to %zu bytes, '%.30s%s' has %zu",
                         sizeof un->sun_path - 1, a->path, n > 30 ? "..." : "", n);
    }
    if (a->abstract) {
        memcpy(un->sun_path + 1, a->path, n);
        *len = a->tight ? (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n) : (socklen_t)sizeof *un;
    } else {
        memcpy(un->sun_path, a->path, n);
        *len = sizeof *un;
    }
    return true;
}

static int unix_listen(const SocketAddress *a, Error *err)
{
    struct sockaddr_un un;
    socklen_t          len;
    if (!unix_address(a, &un, &len, err)) {
        return -1;
    }
    struct stat st;
    if (!a->abstract && lstat(a->path, &st) == 0) {
        /* What an earlier run left behind is in the way; anything but a socket stays. */
        if (!S_ISSOCK(st.st_mode)) {
            error_set(err, "%s exists and is no socket", a->path);
            return -1;
        }
        if (unlink(a->path) < 0) {
            error_set_errno(err, errno, "%s: the old socket cannot be removed", a->path);
            return -1;
        }
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&un, len) < 0 || listen(fd, BACKLOG) < 0) {
        error_set_errno(err, errno, "cannot listen on %s", a->path);
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    return fd;
}

static int unix_connect(const SocketAddress *a, Error *err)
{
    struct sockaddr_un un;
    socklen_t          len;
    if (!unix_address(a, &un, &len, err)) {
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&un, len) < 0) {
        error_set_errno(err, errno, "cannot connect to %s", a->path);
        if (fd >= 0) {
            close(fd);
        }
        return -1;
    }
    return fd;
}

/* --- TCP --- */

static void set_port(struct sockaddr *sa, unsigned port)
{
    if (sa->sa_family == AF_INET) {
        ((struct sockaddr_in *)(void *)sa)->sin_port = htons((uint16_t)port);
    } else if (sa->sa_family == AF_INET6) {
        ((struct sockaddr_in6 *)(void *)sa)->sin6_port = htons((uint16_t)port);
    }
}

static unsigned get_port(const struct sockaddr *sa)
{
    return sa->sa_family == AF_INET    ? ntohs(((const struct sockaddr_in *)(const void *)sa)->sin_port)
           : sa->sa_family == AF_INET6 ? ntohs(((const struct sockaddr_in6 *)(const void *)sa)->sin6_port)
                                       : 0;
}

static void close_all(GArray *fds)
{
    for (guint i = 0; i < fds->len; i++) {
        close(g_array_index(fds, int, i));
    }
    g_array_set_size(fds, 0);
}

/* Listens on all addresses of the list at one port. False and errno: none was left, or this port is in use. */
static bool listen_at(struct addrinfo *list, unsigned port, GArray *fds)
{
    int last = 0;
    for (struct addrinfo *ai = list; ai; ai = ai->ai_next) {
        int fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, ai->ai_protocol);
        if (fd < 0) {
            last = errno;
            continue;
        }
        int on = 1;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (ai->ai_family == AF_INET6) {
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
        }
        set_port(ai->ai_addr, port);
        if (bind(fd, ai->ai_addr, ai->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
            last = errno;
            close(fd);
            if (last == EADDRINUSE) {
                close_all(fds);
                errno = last;
                return false;
            }
            continue;
        }
        g_array_append_val(fds, fd);
        if (port == 0) {
            struct sockaddr_storage ss  = {};
            socklen_t               len = sizeof ss;
            if (getsockname(fd, (struct sockaddr *)&ss, &len) == 0) {
                port = get_port((struct sockaddr *)&ss);
            }
        }
    }
    errno = last;
    return fds->len > 0;
}

static bool tcp_listen(const SocketAddress *a, GArray *fds, Error *err)
{
    struct addrinfo *list = socket_resolve(a, true, SOCK_STREAM, err);
    if (!list) {
        return false;
    }
    unsigned first = get_port(list->ai_addr), last = a->to ? a->to : first;
    bool     ok = false;
    if (last < first) {
        error_set(err, "to=%u is below port %u", last, first);
    } else {
        for (unsigned port = first; port <= last && !ok; port++) {
            ok = listen_at(list, port, fds);
            if (!ok && errno != EADDRINUSE) {
                break;
            }
        }
        if (!ok) {
            error_set_errno(err, errno, "cannot listen on %s:%s", show_host(a), a->port);
        }
    }
    freeaddrinfo(list);
    return ok;
}

GArray *socket_listen(const SocketAddress *a, Error *err)
{
    GArray *fds = g_array_new(false, false, sizeof(int));
    bool    ok;
    if (a->path) {
        int fd = unix_listen(a, err);
        ok     = fd >= 0;
        if (ok) {
            g_array_append_val(fds, fd);
        }
    } else {
        ok = tcp_listen(a, fds, err);
    }
    if (!ok) {
        g_array_free(fds, true);
        return NULL;
    }
    return fds;
}

int socket_connect(const SocketAddress *a, Error *err)
{
    if (a->path) {
        return unix_connect(a, err);
    }
    struct addrinfo *list = socket_resolve(a, false, SOCK_STREAM, err);
    if (!list) {
        return -1;
    }
    int last = 0, fd = -1;
    for (struct addrinfo *ai = list; ai && fd < 0; ai = ai->ai_next) {
        fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC, ai->ai_protocol);
        if (fd < 0 || connect(fd, ai->ai_addr, ai->ai_addrlen) < 0) {
            last = errno;
            if (fd >= 0) {
                close(fd);
            }
            fd = -1;
        }
    }
    freeaddrinfo(list);
    if (fd < 0) {
        error_set_errno(err, last, "cannot connect to %s:%s", show_host(a), a->port);
    }
    return fd;
}

char *socket_name(int fd, bool peer)
{
    struct sockaddr_storage ss  = {};
    socklen_t               len = sizeof ss;
    if ((peer ? getpeername : getsockname)(fd, (struct sockaddr *)&ss, &len) < 0) {
        return g_strdup("");
    }
    if (ss.ss_family == AF_UNIX) {
        const struct sockaddr_un *un = (const struct sockaddr_un *)&ss;
        size_t n = len > offsetof(struct sockaddr_un, sun_path) ? len - offsetof(struct sockaddr_un, sun_path) : 0;
        if (n && !un->sun_path[0]) {
            return g_strndup(un->sun_path + 1, n - 1);
        }
        return g_strndup(un->sun_path, n);
    }
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (getnameinfo((struct sockaddr *)&ss, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        return g_strdup("");
    }
    return g_strdup_printf(ss.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}
