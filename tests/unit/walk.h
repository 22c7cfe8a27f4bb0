/* One walk over every registered device type: made, reset, saved, loaded, loaded from damaged state, taken away. */

#ifndef QUERN_TESTS_UNIT_WALK_H
#define QUERN_TESTS_UNIT_WALK_H

#include "devices/device.h"

/* A machine to put devices into. */
typedef struct WalkMachine {
    Platform *(*open)(void);
    void (*close)(Platform *platform);
} WalkMachine;

/* What a type needs beyond its defaults, or that it cannot be walked. */
typedef struct WalkNeed {
    const char *type;
    const char *options;     /* "chardev=c0" */
    const char *refused;     /* the type exists to say this */
    bool        keeps_state; /* reset does not bring everything back (battery-backed memory ...) */
} WalkNeed;

/* Types that -device can make, each in a machine of its own. `needs` ends with {}. */
void walk_types(const WalkMachine *machine, const WalkNeed *needs);

/* The devices that the machine has by itself. */
void walk_board(const WalkMachine *machine, const WalkNeed *needs);

#endif
