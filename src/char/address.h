/* Socket addresses as options give them, and what is done with them: resolve, listen, connect, name. */

#ifndef QUERN_CHAR_ADDRESS_H
#define QUERN_CHAR_ADDRESS_H

#include "base/error.h"

#include <netdb.h>

/* Borrowed strings. With `path` a unix socket, otherwise host and port. */
typedef struct SocketAddress {
    const char *host; /* NULL or "": any for listeners, this host for connections */
    const char *port; /* number or service name */
    unsigned    to;   /* listeners: last port to try; 0: only `port` */
    bool        have_ipv4, ipv4, have_ipv6, ipv6;
    const char *path;
    bool        abstract, tight;
} SocketAddress;

/* getaddrinfo() with errors that name host and port; may wait for a name server. `type` is SOCK_*. Any thread. */
struct addrinfo *socket_resolve(const SocketAddress *a, bool passive, int type, Error *err);

/* Listening sockets, not blocking, one for each address that the host name has. GArray of int; NULL on error. */
GArray *socket_listen(const SocketAddress *a, Error *err);

/* A connected stream socket; waits until it is. -1 on error. Any thread. */
int socket_connect(const SocketAddress *a, Error *err);

/* "127.0.0.1:4444", "[::1]:4444", "/path" of this or the other side; "" when there is none. The caller frees. */
char *socket_name(int fd, bool peer);

#endif
