/* The server side of the WebSocket protocol.
 * Specification: RFC 6455 (December 2011); HTTP/1.1 header fields as in RFC 9112. */

#include "char/websocket.h"

#include "base/utf8.h"

#include <string.h>

enum {
    OP_CONTINUE = 0,
    OP_TEXT     = 1,
    OP_BINARY   = 2,
    OP_CLOSE    = 8,
    OP_PING     = 9,
    OP_PONG     = 10,

    FIN         = 0x80,
    RESERVED    = 0x70,
    MASKED      = 0x80,
    CONTROL_MAX = 125,
    REQUEST_MAX = 8192,
    ANSWERS_MAX = 4096,
    KEY_BYTES   = 16,

    CLOSE_NORMAL   = 1000,
    CLOSE_AWAY     = 1001,
    CLOSE_PROTOCOL = 1002,
    CLOSE_DATA     = 1007,
};

static const char accept_guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

struct WebSocket {
    bool     open;
    bool     closing; /* a close frame was sent or answered */
    GString *request; /* until open */
    uint8_t  header[14];
    unsigned header_len;
    bool     in_payload;
    bool     final;   /* of the frame */
    uint8_t  opcode;  /* of the frame */
    uint8_t  message; /* OP_TEXT or OP_BINARY between the fragments of one; 0: none has begun */
    Utf8     text;
    uint64_t left; /* payload bytes to come */
    uint8_t  mask[4];
    unsigned mask_at;
    uint8_t  control[CONTROL_MAX];
    unsigned control_len;
};

WebSocket *websocket_new(void)
{
    WebSocket *ws = g_new0(WebSocket, 1);
    ws->request   = g_string_new(NULL);
    return ws;
}

void websocket_free(WebSocket *ws)
{
    if (ws) {
        g_string_free(ws->request, true);
        g_free(ws);
    }
}

bool websocket_is_open(const WebSocket *ws)
{
    return ws->open;
}

static void append_frame(GByteArray *out, uint8_t opcode, const uint8_t *data, size_t len)
{
    uint8_t  header[10] = { (uint8_t)(FIN | opcode) };
    unsigned n          = 2;
    if (len <= CONTROL_MAX) {
        header[1] = (uint8_t)len;
    } else if (len <= UINT16_MAX) {
        header[1] = 126;
        header[2] = (uint8_t)(len >> 8);
        header[3] = (uint8_t)len;
        n         = 4;
    } else {
        header[1] = 127;
        for (unsigned i = 0; i < 8; i++) {
            header[2 + i] = (uint8_t)((uint64_t)len >> (56 - 8 * i));
        }
        n = 10;
    }
    g_byte_array_append(out, header, n);
    g_byte_array_append(out, data, (guint)len);
}

void websocket_encode(const uint8_t *data, size_t len, GByteArray *out)
{
    append_frame(out, OP_BINARY, data, len);
}

/* --- the HTTP request --- */

/* Is `word` one of the comma-separated words of `list`, in any case? */
static bool has_word(const char *list, const char *word)
{
    g_auto(GStrv) words = g_strsplit(list ? list : "", ",", 0);
    for (char **w = words; *w; w++) {
        if (g_ascii_strcasecmp(g_strstrip(*w), word) == 0) {
            return true;
        }
    }
    return false;
}

static bool refuse(GByteArray *out, const char *status)
{
    g_autofree char *text = g_strdup_printf("HTTP/1.1 %s\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n"
                                            "Sec-WebSocket-Version: 13\r\nContent-Length: 0\r\n\r\n",
                                            status);
    g_byte_array_append(out, (const uint8_t *)text, (guint)strlen(text));
    return false;
}

/* The lines of a request after the first one: names in lower case to values; of repeated names the values are one list.
 * NULL: not HTTP. */
static GHashTable *read_fields(char **lines)
{
    g_autoptr(GHashTable) fields = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    for (char **line = lines; line[0] && line[0][0]; line++) {
        char *colon = strchr(*line, ':');
        if (!colon || colon == *line || strcspn(*line, " \t\r\n") < (size_t)(colon - *line)) {
            return NULL;
        }
        *colon             = 0;
        char       *name   = g_ascii_strdown(*line, -1);
        const char *value  = g_strstrip(colon + 1);
        const char *before = g_hash_table_lookup(fields, name);
        g_hash_table_insert(fields, name, before ? g_strconcat(before, ", ", value, NULL) : g_strdup(value));
    }
    return g_steal_pointer(&fields);
}

/* "GET /path HTTP/1.1" or a later 1.x */
static bool is_get(const char *line)
{
    g_auto(GStrv) words = g_strsplit(line, " ", 0);
    return g_strv_length(words) == 3 && !strcmp(words[0], "GET") && words[1][0] == '/' &&
           g_str_has_prefix(words[2], "HTTP/1.") && g_ascii_isdigit(words[2][7]) && words[2][7] > '0' && !words[2][8];
}

static bool key_ok(const char *key)
{
    gsize              len;
    g_autofree guchar *bytes = key && strlen(key) == 24 ? g_base64_decode(key, &len) : NULL;
    g_autofree char   *again = bytes && len == KEY_BYTES ? g_base64_encode(bytes, len) : NULL;
    return again && !strcmp(again, key);
}

static bool take_request(WebSocket *ws, GByteArray *out)
{
    g_auto(GStrv) lines          = g_strsplit(ws->request->str, "\r\n", 0);
    g_autoptr(GHashTable) fields = is_get(lines[0]) ? read_fields(lines + 1) : NULL;
    if (!fields || !g_hash_table_lookup(fields, "host")) {
        return refuse(out, "400 Bad Request");
    }
    const char *key      = g_hash_table_lookup(fields, "sec-websocket-key");
    const char *version  = g_hash_table_lookup(fields, "sec-websocket-version");
    const char *protocol = g_hash_table_lookup(fields, "sec-websocket-protocol");
    if (!has_word(g_hash_table_lookup(fields, "upgrade"), "websocket") ||
        !has_word(g_hash_table_lookup(fields, "connection"), "upgrade") || !version || strcmp(version, "13") != 0) {
        return refuse(out, "426 Upgrade Required");
    }
    if (!key_ok(key) || (protocol && !has_word(protocol, "binary"))) {
        return refuse(out, "400 Bad Request");
    }

    g_autoptr(GChecksum) sha1 = g_checksum_new(G_CHECKSUM_SHA1);
    uint8_t digest[20];
    gsize   digest_len = sizeof digest;
    g_checksum_update(sha1, (const guchar *)key, -1);
    g_checksum_update(sha1, (const guchar *)accept_guid, -1);
    g_checksum_get_digest(sha1, digest, &digest_len);
    g_autofree char *base64 = g_base64_encode(digest, digest_len);
    g_autofree char *text   = g_strdup_printf("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                                "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s\r\n",
                                              base64, protocol ? "Sec-WebSocket-Protocol: binary\r\n" : "");
    g_byte_array_append(out, (const uint8_t *)text, (guint)strlen(text));
    ws->open = true;
    return true;
}

/* --- frames --- */

/* Ends the connection with this code. */
static bool close_with(WebSocket *ws, unsigned code, GByteArray *out)
{
    uint8_t bytes[] = { (uint8_t)(code >> 8), (uint8_t)code };
    ws->closing     = true;
    append_frame(out, OP_CLOSE, bytes, sizeof bytes);
    return false;
}

void websocket_close(WebSocket *ws, GByteArray *out)
{
    if (ws->open && !ws->closing) {
        close_with(ws, CLOSE_AWAY, out);
    }
}

static unsigned header_size(const WebSocket *ws)
{
    if (ws->header_len < 2) {
        return 2;
    }
    unsigned len = ws->header[1] & 0x7f;
    return 2 + (len == 127 ? 8 : len == 126 ? 2 : 0) + 4;
}

/* Sections 5.2, 5.4 and 5.5: what a frame may be, and where it may stand. */
static bool frame_ok(const WebSocket *ws, uint8_t first, unsigned short_len)
{
    if (first & RESERVED || ws->left >> 63 || (short_len == 126 && ws->left < 126) ||
        (short_len == 127 && ws->left <= UINT16_MAX)) {
        return false;
    }
    switch (ws->opcode) {
    case OP_CONTINUE: return ws->message;
    case OP_TEXT:
    case OP_BINARY: return !ws->message;
    case OP_CLOSE:
    case OP_PING:
    case OP_PONG: return ws->final && ws->left <= CONTROL_MAX;
    default: return false;
    }
}

static bool begin_payload(WebSocket *ws, GByteArray *out)
{
    unsigned short_len = ws->header[1] & 0x7f, bytes = short_len == 127 ? 8 : short_len == 126 ? 2 : 0;
    ws->left = bytes ? 0 : short_len;
    for (unsigned i = 0; i < bytes; i++) {
        ws->left = ws->left << 8 | ws->header[2 + i];
    }
    memcpy(ws->mask, ws->header + 2 + bytes, 4);
    ws->opcode      = ws->header[0] & 0xf;
    ws->final       = ws->header[0] & FIN;
    ws->mask_at     = 0;
    ws->control_len = 0;
    ws->header_len  = 0;
    if (!frame_ok(ws, ws->header[0], short_len)) {
        return close_with(ws, CLOSE_PROTOCOL, out);
    }
    ws->in_payload = true;
    if (ws->opcode == OP_TEXT || ws->opcode == OP_BINARY) {
        ws->message = ws->opcode;
        ws->text    = (Utf8){};
    }
    return true;
}

/* Section 7.4: the codes that may be sent. */
static bool code_ok(unsigned code)
{
    return (code >= CLOSE_NORMAL && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
           (code >= 3000 && code <= 4999);
}

static bool take_close(WebSocket *ws, GByteArray *out)
{
    unsigned code = ws->control_len >= 2 ? (unsigned)ws->control[0] << 8 | ws->control[1] : CLOSE_NORMAL;
    if (ws->control_len == 1 || !code_ok(code)) {
        return close_with(ws, CLOSE_PROTOCOL, out);
    }
    if (ws->control_len > 2 && !g_utf8_validate((const char *)ws->control + 2, ws->control_len - 2, NULL)) {
        return close_with(ws, CLOSE_DATA, out);
    }
    ws->closing = true;
    append_frame(out, OP_CLOSE, ws->control, MIN(ws->control_len, 2));
    return false;
}

static bool end_payload(WebSocket *ws, GByteArray *out)
{
    ws->in_payload = false;
    if (ws->opcode == OP_CLOSE) {
        return take_close(ws, out);
    }
    if (ws->opcode == OP_PING && out->len < ANSWERS_MAX) {
        append_frame(out, OP_PONG, ws->control, ws->control_len);
    } else if (ws->opcode < OP_CLOSE && ws->final) {
        bool whole  = ws->message != OP_TEXT || !ws->text.left;
        ws->message = 0;
        return whole || close_with(ws, CLOSE_DATA, out);
    }
    return true;
}

static bool take_payload(WebSocket *ws, uint8_t byte, uint8_t *data, size_t *n, GByteArray *out)
{
    byte ^= ws->mask[ws->mask_at++ & 3];
    ws->left--;
    if (ws->opcode >= OP_CLOSE) {
        ws->control[ws->control_len++] = byte;
        return true;
    }
    if (ws->message == OP_TEXT && utf8_feed(&ws->text, byte) >= UTF8_WRONG) {
        return close_with(ws, CLOSE_DATA, out);
    }
    data[(*n)++] = byte;
    return true;
}

bool websocket_decode(WebSocket *ws, const uint8_t *in, size_t len, uint8_t *data, size_t *n, GByteArray *out)
{
    *n = 0;
    for (size_t i = 0; i < len; i++) {
        if (!ws->open) {
            g_string_append_c(ws->request, (char)in[i]);
            size_t at = ws->request->len;
            if (!in[i] || at > REQUEST_MAX || (in[i] == '\n' && (at < 2 || ws->request->str[at - 2] != '\r'))) {
                return refuse(out, "400 Bad Request");
            }
            if (in[i] == '\n' && g_str_has_suffix(ws->request->str, "\r\n\r\n") && !take_request(ws, out)) {
                return false;
            }
            continue;
        }
        if (ws->in_payload) {
            if (!take_payload(ws, in[i], data, n, out)) {
                return false;
            }
        } else {
            ws->header[ws->header_len++] = in[i];
            if (ws->header_len == 2 && !(in[i] & MASKED)) {
                return close_with(ws, CLOSE_PROTOCOL, out);
            }
            if (ws->header_len < header_size(ws)) {
                continue;
            }
            if (!begin_payload(ws, out)) {
                return false;
            }
        }
        if (!ws->left && !end_payload(ws, out)) {
            return false;
        }
    }
    return true;
}
