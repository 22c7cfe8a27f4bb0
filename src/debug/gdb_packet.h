/* Framing of the GDB remote serial protocol: packets, acknowledgements, interrupts, hexadecimal. */

#ifndef QUERN_DEBUG_GDB_PACKET_H
#define QUERN_DEBUG_GDB_PACKET_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum { GDB_PACKET_MAX = 0x4000 }; /* bytes of a packet's contents, as sent */

typedef enum GdbInput {
    GDB_INPUT_NONE,      /* more is needed */
    GDB_INPUT_PACKET,    /* data and len hold one */
    GDB_INPUT_BAD,       /* one came with a wrong checksum, or was too long */
    GDB_INPUT_INTERRUPT, /* Ctrl-C */
    GDB_INPUT_ACK,
    GDB_INPUT_NACK,
} GdbInput;

typedef enum GdbFrameState {
    GDB_FRAME_IDLE,
    GDB_FRAME_DATA,
    GDB_FRAME_ESCAPE,
    GDB_FRAME_SUM_HIGH,
    GDB_FRAME_SUM_LOW,
} GdbFrameState;

/* All zeros to begin with. */
typedef struct GdbFrame {
    GdbFrameState state;
    char          data[GDB_PACKET_MAX + 1]; /* NUL-terminated, but may hold NULs */
    unsigned      len;
    bool          too_long;
    uint8_t       sum, sent_sum;
} GdbFrame;

GdbInput gdb_frame_take(GdbFrame *f, uint8_t byte);

/* Appends "$...#cs", with what must be escaped escaped. */
void gdb_packet_append(GByteArray *out, const void *data, size_t len);

void gdb_hex_append(GString *out, const void *data, size_t len);

/* Reads hexadecimal digits off *text, which then points behind them. False when there are none, or more than 16. */
bool gdb_hex_number(const char **text, uint64_t *value);

/* Reads exactly len bytes as pairs of digits. */
bool gdb_hex_bytes(const char **text, void *buf, size_t len);

#endif
