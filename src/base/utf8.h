/* UTF-8 that comes byte by byte. */

#ifndef QUERN_BASE_UTF8_H
#define QUERN_BASE_UTF8_H

#include <stdbool.h>
#include <stdint.h>

/* All zeros to begin with. */
typedef struct Utf8 {
    uint32_t code;      /* so far; the character after UTF8_CHARACTER */
    uint8_t  left;      /* bytes to come; 0: between characters */
    uint8_t  low, high; /* what the next one may be */
} Utf8;

typedef enum Utf8Result {
    UTF8_MORE,
    UTF8_CHARACTER,
    UTF8_WRONG,  /* this byte cannot stand here */
    UTF8_BROKEN, /* the character before is not whole; this byte was not looked at: feed it again */
} Utf8Result;

Utf8Result utf8_feed(Utf8 *u, uint8_t byte);

#endif
