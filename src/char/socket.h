/* Handing a connection to a socket back end. Main loop, or machine lock held. */

#ifndef QUERN_CHAR_SOCKET_H
#define QUERN_CHAR_SOCKET_H

#include "char/char.h"

/* A connected socket becomes the client of a listening back end that has none, as if it had been accepted. Takes the
 * descriptor when it succeeds. */
bool char_socket_add_client(Chardev *chr, int fd, Error *err);

#endif
