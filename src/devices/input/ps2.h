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
    uint8_t  id; /* 0, or 3 with a wheel after the knock 200, 100, 80 */
    uint8_t  rate, resolution, knock;
    bool     reporting, remote, wrap, scaling;
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

/* Takes the next byte; false: none waits. */
bool ps2_keyboard_read(Ps2Keyboard *kbd, uint8_t *value);
bool ps2_mouse_read(Ps2Mouse *mouse, uint8_t *value);

#endif
