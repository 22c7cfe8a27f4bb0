/* The server side of the WebSocket protocol.
 * Specification: RFC 6455 (December 2011); HTTP/1.1 header fields as in RFC 9112. */

#include "char/websocket.h"

#include <string.h>

enum {
    OP_CONTINUE = 0,
    OP_TEXT     = 1,
    OP_BINARY   = 2,
    OP_CLOSE    = 8,
    OP_PING     = 9,
    OP_PONG     = 10,

    FIN            = 0x80,
    MASKED         = 0x80,
    CONTROL_MAX    = 125,
    REQUEST_MAX    = 8192,
    ANSWERS_MAX    = 4096,
    CLOSE_PROTOCOL = 1002,
};

static const char accept_guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

struct WebSocket {
    bool     open;
    GString *request; /* until open */
    uint8_t  header[14];
    unsigned header_len;
    bool     in_payload;
    uint8_t  opcode;
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
    g_autofree char *text =
        g_strdup_printf("HTTP/1.1 %s\r\nConnection: close\r\nSec-WebSocket-Version: 13\r\n\r\n", status);
    g_byte_array_append(out, (const uint8_t *)text, (guint)strlen(text));
    return false;
}

static bool take_request(WebSocket *ws, GByteArray *out)
{
    g_auto(GStrv) lines          = g_strsplit(ws->request->str, "\r\n", 0);
    g_autoptr(GHashTable) fields = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (char **line = lines + 1; line[0] && line[0][0]; line++) {
        char *colon = strchr(*line, ':');
        if (colon) {
            *colon = 0;
            g_hash_table_insert(fields, g_ascii_strdown(*line, -1), g_strstrip(colon + 1));
        }
    }
    if (!g_str_has_prefix(lines[0], "GET ") || !g_str_has_suffix(lines[0], " HTTP/1.1")) {
        return refuse(out, "400 Bad Request");
    }
    const char *key      = g_hash_table_lookup(fields, "sec-websocket-key");
    const char *version  = g_hash_table_lookup(fields, "sec-websocket-version");
    const char *protocol = g_hash_table_lookup(fields, "sec-websocket-protocol");
    if (!has_word(g_hash_table_lookup(fields, "upgrade"), "websocket") ||
        !has_word(g_hash_table_lookup(fields, "connection"), "upgrade") || !key || strlen(key) > 64 || !version ||
        strcmp(version, "13") != 0) {
        return refuse(out, "426 Upgrade Required");
    }
    if (protocol && !has_word(protocol, "binary")) {
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

static bool protocol_error(GByteArray *out)
{
    static const uint8_t code[] = { CLOSE_PROTOCOL >> 8, CLOSE_PROTOCOL & 0xff };
    append_frame(out, OP_CLOSE, code, sizeof code);
    return false;
}

static unsigned header_size(const WebSocket *ws)
{
    if (ws->header_len < 2) {
        return 2;
    }
    unsigned len = ws->header[1] & 0x7f;
    return 2 + (len == 127 ? 8 : len == 126 ? 2 : 0) + 4;
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
    ws->mask_at     = 0;
    ws->control_len = 0;
    ws->header_len  = 0;
    ws->in_payload  = true;
    bool control    = ws->opcode >= OP_CLOSE;
    if (ws->header[0] & 0x70 || (ws->opcode > OP_BINARY && ws->opcode < OP_CLOSE) || ws->opcode > OP_PONG ||
        (control && (!(ws->header[0] & FIN) || ws->left > CONTROL_MAX)) || ws->left >> 63) {
        return protocol_error(out);
    }
    return true;
}

static bool end_payload(WebSocket *ws, GByteArray *out)
{
    ws->in_payload = false;
    if (ws->opcode == OP_PING && out->len < ANSWERS_MAX) {
        append_frame(out, OP_PONG, ws->control, ws->control_len);
    } else if (ws->opcode == OP_CLOSE) {
        append_frame(out, OP_CLOSE, ws->control, MIN(ws->control_len, 2));
        return false;
    }
    return true;
}

bool websocket_decode(WebSocket *ws, const uint8_t *in, size_t len, uint8_t *data, size_t *n, GByteArray *out)
{
    *n = 0;
    for (size_t i = 0; i < len; i++) {
        if (!ws->open) {
            g_string_append_c(ws->request, (char)in[i]);
            if (!in[i] || ws->request->len > REQUEST_MAX) {
                return refuse(out, "400 Bad Request");
            }
            if (in[i] == '\n' && g_str_has_suffix(ws->request->str, "\r\n\r\n") && !take_request(ws, out)) {
                return false;
            }
            continue;
        }
        if (ws->in_payload) {
            uint8_t byte = in[i] ^ ws->mask[ws->mask_at++ & 3];
            if (ws->opcode < OP_CLOSE) {
                data[(*n)++] = byte;
            } else {
                ws->control[ws->control_len++] = byte;
            }
            ws->left--;
        } else {
            ws->header[ws->header_len++] = in[i];
            if (ws->header_len == 2 && !(in[i] & MASKED)) {
                return protocol_error(out);
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
