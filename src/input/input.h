/* Keys, buttons and movements on their way from whoever makes them (monitors, displays) to the devices that hear them.
 *
 * Of the handlers that take a kind of event one hears it: the first in the list. Machine lock. */

#ifndef QUERN_INPUT_INPUT_H
#define QUERN_INPUT_INPUT_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum InputKind {
    INPUT_KEY,      /* code: as in devices/input/keys.h; value: 1 down, 0 up */
    INPUT_BUTTON,   /* code: an InputButton; value: 1 down, 0 up */
    INPUT_RELATIVE, /* code: an InputAxis; value: so many counts right or down */
    INPUT_ABSOLUTE, /* code: an InputAxis; value: 0 to INPUT_ABSOLUTE_MAX */
} InputKind;

typedef enum InputButton {
    INPUT_LEFT,
    INPUT_MIDDLE,
    INPUT_RIGHT,
    INPUT_WHEEL_UP, /* one click of the wheel: the press counts */
    INPUT_WHEEL_DOWN,
    INPUT_SIDE,
    INPUT_EXTRA,
    INPUT_WHEEL_LEFT,
    INPUT_WHEEL_RIGHT,
    INPUT_TOUCH,
} InputButton;

typedef enum InputAxis { INPUT_X, INPUT_Y } InputAxis;

enum { INPUT_ABSOLUTE_MAX = 0x7fff };

typedef struct InputEvent {
    InputKind kind;
    uint16_t  code;
    int32_t   value;
} InputEvent;

/* Embedded in the device. */
typedef struct InputHandler {
    const char *name;
    unsigned    kinds; /* bits 1 << InputKind */
    void       *opaque;
    bool (*event)(void *opaque, const InputEvent *event); /* false: there is no room */
    void (*sync)(void *opaque);                           /* these were all; may be NULL */
    /* The hub's. */
    struct InputHandler *next;
    unsigned             index; /* from 1, in the order they came */
    bool                 told;
} InputHandler;

/* All of a machine; empty when it is zero. */
typedef struct InputHub {
    InputHandler *first;
    unsigned      count;   /* that ever were there */
    unsigned      buttons; /* bits 1 << InputButton that are down */
} InputHub;

void input_add(InputHub *hub, InputHandler *handler); /* behind the others */
void input_remove(InputHub *hub, InputHandler *handler);

/* Who hears events of this kind; NULL: nobody. */
InputHandler *input_handler(const InputHub *hub, InputKind kind);

/* Does it move a pointer? */
static inline bool input_is_pointer(const InputHandler *handler)
{
    return handler->kinds & (1u << INPUT_RELATIVE | 1u << INPUT_ABSOLUTE);
}

/* The pointer of that index hears from now on. */
bool input_select(InputHub *hub, unsigned index, Error *err);

/* All of the events or, when nobody hears one of them, none. */
bool input_send(InputHub *hub, const InputEvent *events, size_t n, Error *err);

#endif
