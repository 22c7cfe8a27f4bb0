/* The socket back end: TCP and unix stream sockets, listening or connecting, plain, with telnet commands or in
 * WebSocket frames. One connection at a time. Main loop, or machine lock held; connections that are tried again are
 * made in a thread of their own, because name servers and firewalls can take long to answer.
 *
 * A connection that we end (a WebSocket client that breaks the protocol) lingers: closed at once with unread input it
 * would be reset, and the client might not see why. */

#include "char/socket.h"

#include "char/address.h"
#include "char/telnet.h"
#include "char/websocket.h"

#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CHUNK = 4096, ENCODE_MAX = 16384, LINGER_MS = 1000, HANDSHAKE_MS = 30000, PASSED_MAX = 16 };

typedef struct Listener {
    int     fd;
    Source *source;
} Listener;

typedef struct SocketChar SocketChar;

/* An attempt to connect. Shared by the thread and the chardev; `mutex` guards `owner` (and so the loop, which lives
 * as long as the owner). */
typedef struct Attempt {
    int           refs;
    GMutex        mutex;
    SocketChar   *owner; /* NULL: nobody waits for it any more */
    Loop         *loop;
    SocketAddress address;
    int           fd;
    Error         error;
} Attempt;

struct SocketChar {
    Chardev chr;

    char    *host, *port, *path, *fd_text;
    uint16_t to;
    bool     have_ipv4, ipv4, have_ipv6, ipv6;
    bool     abstract, tight;
    bool     server, have_wait, wait, nodelay, telnet, websocket;
    bool     have_reconnect_s, have_reconnect_ms;
    uint32_t reconnect_s;
    uint64_t reconnect_ms;
    char    *tls_creds, *tls_authz;
    bool     tn3270;

    Listener *listeners;
    unsigned  n_listeners;
    bool      listening; /* listeners are not paused */
    bool      bound_path;
    Timer     retry;
    Attempt  *attempt;
    bool      retry_told; /* the user has heard that it does not connect */

    int         fd; /* -1: no connection */
    Source     *source;
    bool        reading, want_writable;
    bool        closing;  /* close when `out` has been sent and the other side has seen it */
    bool        shut;     /* that was sent */
    Timer       deadline; /* for the handshake, and for the other side to close */
    GByteArray *out;      /* handshakes and encoded data that were not sent yet */
    GArray     *passed;   /* descriptors that came over a unix socket and nobody has taken; NULL: none */
    Telnet      telnet_state;
    WebSocket  *ws;
    char       *local, *peer;
};

static const Field socket_properties[] = {
    FIELD(SocketChar, host, "host", .help = "TCP: host to connect to, or address to listen on (default: any)"),
    FIELD(SocketChar, port, "port", .help = "TCP: port number or service name"),
    FIELD(SocketChar, to, "to", .help = "TCP, server: last port to try when one is in use"),
    FIELD(SocketChar, ipv4, "ipv4", .has_offset = 1 + offsetof(SocketChar, have_ipv4), .help = "TCP: use IPv4"),
    FIELD(SocketChar, ipv6, "ipv6", .has_offset = 1 + offsetof(SocketChar, have_ipv6), .help = "TCP: use IPv6"),
    FIELD(SocketChar, nodelay, "nodelay", .help = "TCP: send small packets at once"),
    FIELD(SocketChar, path, "path", .help = "unix: path of the socket"),
    FIELD(SocketChar, abstract, "abstract", .help = "unix: the path is a name in the abstract namespace"),
    FIELD(SocketChar, tight, "tight", .initial = true, .help = "unix, abstract: the address is as long as the name"),
    FIELD(SocketChar, fd_text, "fd", .help = "number of an inherited socket, connected or (server) listening"),
    FIELD(SocketChar, server, "server", .help = "listen"),
    FIELD(SocketChar, wait, "wait", .initial = true, .has_offset = 1 + offsetof(SocketChar, have_wait),
          .help = "server: do not start before somebody has connected"),
    FIELD(SocketChar, reconnect_ms, "reconnect-ms", .has_offset = 1 + offsetof(SocketChar, have_reconnect_ms),
          .max = INT64_MAX / NS_PER_MS / 2, .min = 0, .help = "client: connect again after so long; 0 does not"),
    FIELD(SocketChar, reconnect_s, "reconnect", .has_offset = 1 + offsetof(SocketChar, have_reconnect_s),
          .help = "client: the same in seconds (deprecated)"),
    FIELD(SocketChar, telnet, "telnet", .help = "speak the telnet protocol"),
    FIELD(SocketChar, websocket, "websocket", .help = "server: speak the WebSocket protocol"),
    FIELD(SocketChar, tn3270, "tn3270", .unsupported = true, .help = "speak the TN3270 protocol"),
    FIELD(SocketChar, tls_creds, "tls-creds", .unsupported = true, .help = "id of TLS credentials"),
    FIELD(SocketChar, tls_authz, "tls-authz", .unsupported = true, .help = "id of an authorization object"),
    {}
};

static void socket_retry_later(SocketChar *s);
static void socket_disconnect(SocketChar *s);

static SocketAddress address_of(const SocketChar *s)
{
    return (SocketAddress){
        .host      = s->host,
        .port      = s->port,
        .to        = s->to,
        .have_ipv4 = s->have_ipv4,
        .ipv4      = s->ipv4,
        .have_ipv6 = s->have_ipv6,
        .ipv6      = s->ipv6,
        .path      = s->path,
        .abstract  = s->abstract,
        .tight     = s->tight,
    };
}

static Loop *loop_of(SocketChar *s)
{
    return char_hub_loop(s->chr.hub);
}

/* --- the connection --- */

static void update_watch(SocketChar *s)
{
    if (s->source) {
        loop_watch_set(s->source, (s->reading ? LOOP_READ : 0) | (s->out->len || s->want_writable ? LOOP_WRITE : 0));
    }
}

static void set_listening(SocketChar *s, bool on)
{
    s->listening = on;
    for (unsigned i = 0; i < s->n_listeners; i++) {
        loop_watch_set(s->listeners[i].source, on ? LOOP_READ : 0);
    }
}

/* Sends what waits. False: the connection is broken. */
static bool flush_out(SocketChar *s)
{
    while (s->out->len) {
        ssize_t n = send(s->fd, s->out->data, s->out->len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno == EAGAIN;
        }
        g_byte_array_remove_range(s->out, 0, (guint)n);
    }
    return true;
}

static void set_deadline(SocketChar *s, int64_t ms)
{
    timer_set(&s->deadline, clock_now(loop_clocks(loop_of(s)), REALTIME_CLOCK) + ms * NS_PER_MS);
}

static void deadline_due(void *opaque)
{
    socket_disconnect(opaque);
}

/* We end the connection: nothing more comes from it, `out` is still sent. */
static void begin_closing(SocketChar *s)
{
    s->closing = s->reading = true;
    set_deadline(s, LINGER_MS);
    if (s->chr.is_open) {
        char_event(&s->chr, CHAR_CLOSED);
    }
}

static void take_input(SocketChar *s, uint8_t *buf, size_t len)
{
    uint8_t data[CHUNK];
    size_t  n;
    if (s->telnet) {
        for (size_t used = 0; used < len && s->fd >= 0;) {
            bool broke;
            used += telnet_decode(&s->telnet_state, buf + used, len - used, data, &n, &broke, s->out);
            char_push(&s->chr, data, n);
            if (broke) {
                char_event(&s->chr, CHAR_BREAK);
            }
        }
    } else if (s->ws) {
        bool go_on = websocket_decode(s->ws, buf, len, data, &n, s->out);
        if (websocket_is_open(s->ws) && !s->chr.is_open) {
            timer_cancel(&s->deadline);
            char_event(&s->chr, CHAR_OPENED);
        }
        char_push(&s->chr, data, n);
        if (!go_on && s->fd >= 0) {
            begin_closing(s);
        }
    } else {
        char_push(&s->chr, buf, len);
    }
}

static void close_passed(SocketChar *s)
{
    for (guint i = 0; s->passed && i < s->passed->len; i++) {
        close(g_array_index(s->passed, int, i));
    }
    g_clear_pointer(&s->passed, g_array_unref);
}

/* recv() that keeps descriptors passed along; new ones take the place of old ones. */
static ssize_t receive(SocketChar *s, uint8_t *buf, size_t len)
{
    union {
        struct cmsghdr align;
        char           bytes[CMSG_SPACE(PASSED_MAX * sizeof(int))];
    } control;
    struct iovec  iov = { .iov_base = buf, .iov_len = len };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes
    };
    ssize_t n = recvmsg(s->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    for (struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            close_passed(s);
            s->passed = g_array_new(false, false, sizeof(int));
            g_array_append_vals(s->passed, CMSG_DATA(c), (guint)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int)));
        }
    }
    return n;
}

static int socket_take_fd(Chardev *chr)
{
    SocketChar *s = (SocketChar *)chr;
    if (!s->passed || !s->passed->len) {
        return -1;
    }
    int fd = g_array_index(s->passed, int, 0);
    g_array_remove_index(s->passed, 0);
    return fd;
}

static void socket_yank(Chardev *chr)
{
    SocketChar *s = (SocketChar *)chr;
    if (s->fd >= 0) {
        shutdown(s->fd, SHUT_RDWR);
    }
}

static void input_ready(SocketChar *s)
{
    /* A handshake does not wait for a front end, nor for one that has room. */
    size_t room = s->chr.is_open ? char_can_read(&s->chr) : CHUNK;
    if (!room) {
        s->reading = false;
        return;
    }
    uint8_t buf[CHUNK];
    size_t  want = MIN(room, CHUNK);
    if (s->ws && !s->chr.is_open && !s->closing) {
        want = 1; /* frames may follow the request at once: they are for the front end */
    }
    ssize_t n = receive(s, buf, want);
    if (n > 0) {
        if (!s->closing) {
            take_input(s, buf, (size_t)n);
        }
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        socket_disconnect(s);
    }
}

static void connection_ready(void *opaque, unsigned events)
{
    SocketChar *s = opaque;
    if (events & LOOP_WRITE) {
        if (!flush_out(s)) {
            socket_disconnect(s);
            return;
        }
        if (!s->out->len && s->want_writable) {
            s->want_writable = false;
            char_writable(&s->chr);
        }
    }
    if (s->fd >= 0 && events & LOOP_READ) {
        input_ready(s);
    }
    if (s->fd >= 0 && s->closing && !s->shut && flush_out(s) && !s->out->len) {
        s->shut = true;
        shutdown(s->fd, SHUT_WR);
    }
    update_watch(s);
}

static void begin_connection(SocketChar *s, int fd)
{
    int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    if (s->nodelay && !s->path) {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    s->fd      = fd;
    s->reading = true;
    s->closing = s->shut = false;
    s->retry_told        = false;
    s->local             = socket_name(fd, false);
    s->peer              = socket_name(fd, true);
    set_listening(s, false);
    s->source = loop_watch(loop_of(s), fd, 0, connection_ready, s);
    if (s->websocket) {
        s->ws = websocket_new();
        set_deadline(s, HANDSHAKE_MS);
    } else {
        if (s->telnet) {
            /* The data mark of a "synch" is urgent, and would be missing from the stream. */
            int on = 1;
            setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
            telnet_begin(&s->telnet_state, !s->server, s->out);
            flush_out(s);
        }
        char_event(&s->chr, CHAR_OPENED);
    }
    update_watch(s);
}

/* Lets go of the connection without a word to anybody. */
static void drop_connection(SocketChar *s)
{
    timer_cancel(&s->deadline);
    close_passed(s);
    loop_unwatch(s->source);
    s->source = NULL;
    close(s->fd);
    s->fd            = -1;
    s->want_writable = false;
    g_byte_array_set_size(s->out, 0);
    g_clear_pointer(&s->ws, websocket_free);
    g_clear_pointer(&s->local, g_free);
    g_clear_pointer(&s->peer, g_free);
}

static void socket_disconnect(SocketChar *s)
{
    if (s->fd < 0) {
        return;
    }
    drop_connection(s);
    if (s->chr.is_open) {
        char_event(&s->chr, CHAR_CLOSED);
    }
    if (s->server) {
        set_listening(s, true);
    } else if (s->reconnect_ms) {
        socket_retry_later(s);
    }
}

/* --- listening --- */

static void accept_ready(void *opaque, unsigned events)
{
    SocketChar *s = opaque;
    for (unsigned i = 0; i < s->n_listeners && s->fd < 0; i++) {
        int fd = accept4(s->listeners[i].fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            begin_connection(s, fd);
        }
    }
}

static bool start_server(SocketChar *s, GArray *fds, Error *err)
{
    s->n_listeners = fds->len;
    s->listeners   = g_new0(Listener, fds->len);
    for (unsigned i = 0; i < fds->len; i++) {
        s->listeners[i].fd     = g_array_index(fds, int, i);
        s->listeners[i].source = loop_watch(loop_of(s), s->listeners[i].fd, LOOP_READ, accept_ready, s);
    }
    s->listening = true;
    if (!s->wait) {
        return true;
    }
    g_autofree char *name = char_describe(&s->chr);
    info_report("QEMU waiting for connection on: %s", name);
    while (!s->chr.is_open) {
        loop_step(loop_of(s), true);
        if (char_hub_waits_cancelled(s->chr.hub)) {
            return error_set(err, "interrupted while waiting for a connection");
        }
    }
    return true;
}

/* --- connecting --- */

static void attempt_unref(Attempt *a)
{
    if (g_atomic_int_dec_and_test(&a->refs)) {
        if (a->fd >= 0) {
            close(a->fd);
        }
        g_free((char *)a->address.host);
        g_free((char *)a->address.port);
        g_free((char *)a->address.path);
        g_mutex_clear(&a->mutex);
        error_clear(&a->error);
        g_free(a);
    }
}

static void attempt_done(void *opaque)
{
    Attempt    *a = opaque;
    SocketChar *s = a->owner;
    if (s) {
        s->attempt = NULL;
        if (a->fd >= 0) {
            int fd = a->fd;
            a->fd  = -1;
            begin_connection(s, fd);
        } else {
            if (!s->retry_told) {
                s->retry_told = true;
                warn_report("chardev %s: %s; trying on", s->chr.id, a->error.text);
            }
            socket_retry_later(s);
        }
        (void)g_atomic_int_dec_and_test(&a->refs); /* the owner's, which is not the last one */
    }
    attempt_unref(a);
}

static gpointer attempt_thread(gpointer opaque)
{
    Attempt *a = opaque;
    thread_set_name("connect");
    a->fd = socket_connect(&a->address, &a->error);

    g_mutex_lock(&a->mutex);
    if (a->owner) {
        g_atomic_int_inc(&a->refs); /* attempt_done()'s: it may be over before we have unlocked */
        loop_defer(a->loop, attempt_done, a);
    }
    g_mutex_unlock(&a->mutex);
    attempt_unref(a);
    return NULL;
}

static void start_attempt(SocketChar *s)
{
    Attempt *a      = g_new0(Attempt, 1);
    a->refs         = 2;
    a->owner        = s;
    a->loop         = loop_of(s);
    a->fd           = -1;
    a->address      = address_of(s);
    a->address.host = g_strdup(s->host);
    a->address.port = g_strdup(s->port);
    a->address.path = g_strdup(s->path);
    g_mutex_init(&a->mutex);
    s->attempt = a;
    g_thread_unref(g_thread_new("connect", attempt_thread, a));
}

static void cancel_attempt(SocketChar *s)
{
    Attempt *a = s->attempt;
    if (a) {
        s->attempt = NULL;
        g_mutex_lock(&a->mutex);
        a->owner = NULL;
        g_mutex_unlock(&a->mutex);
        attempt_unref(a);
    }
}

static void retry_due(void *opaque)
{
    start_attempt(opaque);
}

static void socket_retry_later(SocketChar *s)
{
    timer_set(&s->retry, clock_now(loop_clocks(loop_of(s)), REALTIME_CLOCK) + (int64_t)s->reconnect_ms * NS_PER_MS);
}

/* --- the chardev --- */

static bool check_options(SocketChar *s, int *given_fd, Error *err)
{
    unsigned kinds = (s->path != NULL) + (s->fd_text != NULL) + (s->host || s->port);
    if (kinds != 1) {
        return error_set(err, kinds ? "path, fd and host with port exclude one another"
                                    : "one of path (unix), port (TCP) and fd must be given");
    }
    if (s->have_reconnect_s && s->have_reconnect_ms) {
        return error_set(err, "reconnect and reconnect-ms exclude one another");
    }
    if (s->have_reconnect_s) {
        s->reconnect_ms = (uint64_t)s->reconnect_s * 1000;
    }
    if (s->server && s->reconnect_ms) {
        return error_set(err, "%s is for clients: a server (server=on) does not connect",
                         s->have_reconnect_s ? "reconnect" : "reconnect-ms");
    }
    if (!s->server && s->have_wait) {
        return error_set(err, "wait is for servers (server=on)");
    }
    if (!s->server && s->to) {
        return error_set(err, "to is for servers (server=on)");
    }
    if (!s->server && s->websocket) {
        return error_set(err, "websocket is for servers (server=on)");
    }
    if (s->websocket && s->telnet) {
        return error_set(err, "telnet and websocket exclude one another");
    }
    if (s->abstract && !s->path) {
        return error_set(err, "abstract is for unix sockets (path)");
    }
    if (!s->tight && !s->abstract) {
        return error_set(err, "tight is for abstract sockets (path, abstract=on)");
    }
    if (!s->port && (s->to || s->have_ipv4 || s->have_ipv6)) {
        return error_set(err, "%s is for TCP (host, port)", s->to ? "to" : s->have_ipv4 ? "ipv4" : "ipv6");
    }
    if (s->path && s->nodelay) {
        return error_set(err, "nodelay is for TCP (host, port)");
    }
    if (s->fd_text && s->reconnect_ms) {
        return error_set(err, "with fd there is nothing to connect to again");
    }
    *given_fd = -1;
    if (s->fd_text) {
        uint64_t  n;
        int       listening;
        socklen_t len = sizeof listening;
        if (!text_parse_uint(s->fd_text, INT32_MAX, &n, err)) {
            return error_prefix(err, "fd");
        }
        if (getsockopt((int)n, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0) {
            return error_set_errno(err, errno, "fd=%s", s->fd_text);
        }
        if (!!listening != s->server) {
            return error_set(err,
                             listening ? "fd=%s is a listening socket: server=on is missing"
                                       : "fd=%s is no listening socket, as server=on needs",
                             s->fd_text);
        }
        fcntl((int)n, F_SETFD, FD_CLOEXEC);
        *given_fd = (int)n;
    }
    if (!s->server) {
        s->wait = false;
    }
    return true;
}

static void socket_close(Chardev *chr)
{
    SocketChar *s = (SocketChar *)chr;
    cancel_attempt(s);
    timer_cancel(&s->retry);
    if (s->fd >= 0) {
        if (s->ws) {
            websocket_close(s->ws, s->out);
        }
        flush_out(s);
        drop_connection(s);
    }
    for (unsigned i = 0; i < s->n_listeners; i++) {
        loop_unwatch(s->listeners[i].source);
        close(s->listeners[i].fd);
    }
    if (s->bound_path) {
        unlink(s->path);
    }
    g_clear_pointer(&s->listeners, g_free);
    s->n_listeners = 0;
    g_byte_array_free(s->out, true);
}

static bool socket_open(Chardev *chr, Error *err)
{
    SocketChar *s = (SocketChar *)chr;
    int         given_fd;
    s->fd = -1;
    if (!check_options(s, &given_fd, err)) {
        return false;
    }
    s->out = g_byte_array_new();
    timer_init(&s->retry, loop_clocks(loop_of(s)), REALTIME_CLOCK, retry_due, s);
    timer_init(&s->deadline, loop_clocks(loop_of(s)), REALTIME_CLOCK, deadline_due, s);

    SocketAddress address = address_of(s);
    bool          ok      = true;
    if (s->server) {
        GArray *fds = NULL;
        if (given_fd >= 0) {
            fds = g_array_new(false, false, sizeof(int));
            g_array_append_val(fds, given_fd);
            fcntl(given_fd, F_SETFL, fcntl(given_fd, F_GETFL) | O_NONBLOCK);
        } else {
            fds           = socket_listen(&address, err);
            s->bound_path = fds && s->path && !s->abstract;
        }
        ok = fds && start_server(s, fds, err);
        if (fds) {
            g_array_free(fds, true);
        }
    } else if (s->reconnect_ms) {
        start_attempt(s);
    } else {
        int fd = given_fd >= 0 ? given_fd : socket_connect(&address, err);
        ok     = fd >= 0;
        if (ok) {
            begin_connection(s, fd);
        }
    }
    if (!ok) {
        socket_close(chr);
    }
    return ok;
}

static ssize_t socket_write(Chardev *chr, const uint8_t *buf, size_t len)
{
    SocketChar *s = (SocketChar *)chr;
    if (s->fd < 0 || !chr->is_open || s->closing) {
        return (ssize_t)len; /* nobody listens */
    }
    bool   coded = s->telnet || s->ws, broken = !flush_out(s);
    size_t done = 0;
    if (!broken && !s->out->len && coded) {
        done = MIN(len, ENCODE_MAX);
        if (s->telnet) {
            telnet_encode(&s->telnet_state, buf, done, s->out);
        } else {
            websocket_encode(buf, done, s->out);
        }
        broken = !flush_out(s);
    }
    while (!broken && !coded && !s->out->len && done < len) {
        ssize_t n = send(s->fd, buf + done, len - done, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) {
            done += (size_t)n;
        } else if (errno == EAGAIN) {
            break;
        } else if (errno != EINTR) {
            broken = true;
        }
    }
    if (broken) {
        /* The reading side may still find data that came before the end. */
        if (!s->reading) {
            socket_disconnect(s);
        }
        return (ssize_t)len;
    }
    s->want_writable = s->want_writable || done < len;
    update_watch(s);
    return (ssize_t)done;
}

static void socket_accept_input(Chardev *chr)
{
    SocketChar *s = (SocketChar *)chr;
    if (s->fd >= 0 && !s->reading && !s->closing && char_can_read(chr)) {
        s->reading = true;
        update_watch(s);
    }
}

/* A server's break would be news to its client: only the calling side of telnet sends one. */
static void socket_set_break(Chardev *chr, bool on)
{
    SocketChar *s = (SocketChar *)chr;
    if (on && s->telnet && !s->server && s->fd >= 0) {
        telnet_break(s->out);
        update_watch(s);
    }
}

static int socket_write_fd(Chardev *chr)
{
    return ((SocketChar *)chr)->fd;
}

static char *socket_describe(Chardev *chr)
{
    SocketChar *s     = (SocketChar *)chr;
    bool        unix_ = s->path != NULL;
    const char *kind  = s->websocket ? "websocket" : s->telnet ? "telnet" : unix_ ? "unix" : s->fd_text ? "fd" : "tcp";
    const char *tail  = s->server ? ",server=on" : "";

    g_autofree char *bound = s->n_listeners ? socket_name(s->listeners[0].fd, false) : NULL;
    g_autofree char *named = s->path      ? g_strdup(s->path)
                             : bound      ? g_strdup(bound)
                             : s->fd_text ? g_strdup(s->fd_text)
                                          : g_strdup_printf("%s:%s", s->host ? s->host : "", s->port);
    if (s->fd < 0) {
        return g_strdup_printf("disconnected:%s:%s%s", kind, named, tail);
    }
    if (unix_ || !s->peer || !*s->peer) {
        return g_strdup_printf("%s:%s%s", kind, named, tail);
    }
    return g_strdup_printf("%s:%s%s <-> %s", kind, s->local, tail, s->peer);
}

/* --- clients that somebody else has accepted --- */

static const CharType socket_type;

bool char_socket_add_client(Chardev *chr, int fd, Error *err)
{
    SocketChar *s    = (SocketChar *)chr;
    int         kind = 0;
    socklen_t   len  = sizeof kind;
    if (char_type(chr) != &socket_type || !s->server) {
        return error_set(err, "chardev '%s' is no listening socket", chr->id);
    }
    if (s->fd >= 0) {
        return error_set(err, "chardev '%s' has a client already", chr->id);
    }
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &kind, &len) < 0 || kind != SOCK_STREAM) {
        return error_set(err, "chardev '%s' takes a stream socket", chr->id);
    }
    begin_connection(s, fd);
    return true;
}

CHAR_TYPE(socket) = {
    .name         = "socket",
    .parent       = "chardev",
    .alias        = "tcp",
    .help         = "a TCP or unix socket, listening or connecting",
    .class        = OBJECT_CLASS_CHARDEV,
    .size         = sizeof(SocketChar),
    .properties   = socket_properties,
    .open         = socket_open,
    .write        = socket_write,
    .accept_input = socket_accept_input,
    .set_break    = socket_set_break,
    .write_fd     = socket_write_fd,
    .describe     = socket_describe,
    .close        = socket_close,
    .take_fd      = socket_take_fd,
    .yank         = socket_yank,
};
