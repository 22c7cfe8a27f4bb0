/* What fuzz_dbt.c starts from: modes of the CPU, and a whole state of a guest made from a few bytes. */

#ifndef QUERN_FUZZ_DBT_STATE_H
#define QUERN_FUZZ_DBT_STATE_H

#include "../unit/guest.h"

enum {
    START_HEAD    = 24, /* bytes; code follows */
    START_CODE    = 256,
    START_PAGE    = 0x1000,
    START_N_DATA  = 4, /* pages of data; the last is read-only with paging */
    START_DATA16  = 0x9000,
    START_STACK16 = 0x7000,
    START_RING0   = GUEST_STACK - 0x10000,
};

typedef enum Paging { PAGING_NONE, PAGING_32, PAGING_PAE, PAGING_4LEVEL } Paging;

typedef struct ModeRow {
    const char *name; /* what FUZZ_DBT_MODE chooses by */
    GuestMode   base;
    unsigned    ring;
    Paging      paging;
    bool        vm;       /* virtual-8086 mode */
    bool        code16;   /* 16-bit code under long mode */
    bool        segments; /* never flat */
} ModeRow;

extern const ModeRow  start_modes[];
extern const unsigned start_n_modes;

/* A stretch of physical memory. */
typedef struct Window {
    uint32_t start, len;
} Window;

typedef struct Start {
    const ModeRow *mode;
    bool           high;    /* memory beyond 1 MiB is in reach */
    const Window  *windows; /* what code can write to, and the tables */
    uint32_t       requests;
    uint64_t       code; /* where it begins, linear */
} Start;

/* Makes the state that `head` says in a guest that never runs: its memory, which is all zeros before, and its vCPU are
 * what others copy. */
Start start_make(Guest *model, const uint8_t head[START_HEAD], const uint8_t *code, size_t len);

#endif
