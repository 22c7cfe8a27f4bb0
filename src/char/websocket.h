/* The server side of the WebSocket protocol on a byte stream. */

#ifndef QUERN_CHAR_WEBSOCKET_H
#define QUERN_CHAR_WEBSOCKET_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct WebSocket WebSocket;

WebSocket *websocket_new(void);
void       websocket_free(WebSocket *ws); /* NULL is fine */
bool       websocket_is_open(const WebSocket *ws);

void websocket_encode(const uint8_t *data, size_t len, GByteArray *out);

/* Appends the frame that says that this side goes away, unless one was sent or no connection came about. */
void websocket_close(WebSocket *ws, GByteArray *out);

/* Takes all of `in`. `data` (room for len bytes) gets *n bytes; answers are appended to `out`. False: the connection
 * is to be closed once `out` has been sent. */
bool websocket_decode(WebSocket *ws, const uint8_t *in, size_t len, uint8_t *data, size_t *n, GByteArray *out);

#endif
