/* Keys of a PC's keyboard by the names that management knows, and pressing them in order.
 * Specification of the codes: Microsoft, Keyboard Scan Code Specification 1.3a (2000); names as QMP's QKeyCode.
 * Machine lock. */

#ifndef QUERN_DEVICES_INPUT_KEYS_H
#define QUERN_DEVICES_INPUT_KEYS_H

#include "loop/clock.h"

#include <stdbool.h>
#include <stdint.h>

/* Scan codes of set 1 without the release bit; those behind E0h have KEY_EXTENDED. */
enum { KEY_EXTENDED = 0x80, KEY_PAUSE = 0x100 };

typedef struct KeyName {
    const char *name;
    uint16_t    code;
} KeyName;

extern const KeyName key_names[]; /* ends with an empty one */

enum { KEYS_TOGETHER_MAX = 16, KEYS_WAITING_MAX = 64 };

typedef struct KeyCombination {
    uint16_t codes[KEYS_TOGETHER_MAX];
    uint8_t  n;
    bool     press, release; /* only one of them: a single edge of each key */
    uint32_t hold_ms;
} KeyCombination;

/* Combinations on their way to a keyboard: one is pressed key by key, held, and let go, then the next. */
typedef struct KeyQueue {
    Timer timer;
    bool (*key)(void *opaque, uint16_t code, bool down); /* false: no room now */
    void          *opaque;
    KeyCombination waiting[KEYS_WAITING_MAX];
    unsigned       first, count;
    unsigned       step; /* of the first: keys that are down, then n + keys that are up again */
} KeyQueue;

void key_queue_init(KeyQueue *q, Clocks *clocks, bool (*key)(void *opaque, uint16_t code, bool down), void *opaque);
void key_queue_clear(KeyQueue *q); /* forgets what waits; also before the owner goes */

/* false: too many wait already. n <= KEYS_TOGETHER_MAX. */
bool key_queue_add(KeyQueue *q, const uint16_t *codes, unsigned n, unsigned hold_ms);

/* One key goes down or up, after what waits. */
bool key_queue_edge(KeyQueue *q, uint16_t code, bool down);

#endif
