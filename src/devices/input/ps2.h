/* PS/2 keyboard and mouse: what hangs on the 8042's two ports. See ps2.c. Machine lock. */

#ifndef QUERN_DEVICES_INPUT_PS2_H
#define QUERN_DEVICES_INPUT_PS2_H

#include "desc/field.h"

enum { PS2_QUEUE_SIZE = 16, PS2_TRANSLATED = 0x85 };

/* Scan code set 2 to set 1, as the controller's firmware does it. */
extern const uint8_t ps2_translation[PS2_TRANSLATED];

/* Bytes on their way to the controller. A full queue drops what comes. */
typedef struct Ps2Queue {
    uint8_t bytes[PS2_QUEUE_SIZE];
    uint8_t first, count;
} Ps2Queue;

typedef struct Ps2Keyboard {
    Ps2Queue queue;
    uint8_t  command; /* waiting for its argument; 0: none */
    uint8_t  last;    /* last byte sent, for FEh */
    uint8_t  scan_set, leds, rate;
    bool     scanning;
} Ps2Keyboard;

typedef struct Ps2Mouse {
    Ps2Queue queue;
    uint8_t  command;
    uint8_t  last;
    uint8_t  id; /* 0; 3 with a wheel after the rates 200, 100, 80; 4 with five buttons after 200, 200, 80 */
    uint8_t  rate, resolution;
    uint8_t  rates[2]; /* those before, the older one first */
    bool     reporting, remote, wrap, scaling;
    int32_t  dx, dy, dz;    /* not reported yet: right, up, the wheel towards the user */
    uint8_t  buttons, told; /* as in a report: left, right, middle, side, extra from bit 0 */
    uint8_t  report;        /* so many bytes at the head of the queue are the rest of a report */
} Ps2Mouse;

extern const Field ps2_keyboard_state[];
extern const Field ps2_mouse_state[];

void ps2_keyboard_reset(Ps2Keyboard *kbd);
void ps2_mouse_reset(Ps2Mouse *mouse);

/* A byte from the controller to the device. */
void ps2_keyboard_write(Ps2Keyboard *kbd, uint8_t value);
void ps2_mouse_write(Ps2Mouse *mouse, uint8_t value);

/* A key goes down or up: its scan code of set 1, as in keys.h. false: the queue has no room for it now. */
bool ps2_keyboard_key(Ps2Keyboard *kbd, uint16_t code, bool down);

/* A button goes down or up, the wheel turns, the mouse moves right and up by so many counts. What the guest has not
 * taken adds up. */
enum { PS2_LEFT = 1, PS2_RIGHT = 2, PS2_MIDDLE = 4, PS2_SIDE = 8, PS2_EXTRA = 16 };
void ps2_mouse_move(Ps2Mouse *mouse, int dx, int dy, int dz);
void ps2_mouse_button(Ps2Mouse *mouse, uint8_t button, bool down);

/* Takes the next byte; false: none waits. */
bool ps2_keyboard_read(Ps2Keyboard *kbd, uint8_t *value);
bool ps2_mouse_read(Ps2Mouse *mouse, uint8_t *value);

#endif
