/* The units of each guest page: which of them a write hurts, and whether there are any. Lock of the Dbt held. */

#ifndef QUERN_ACCEL_DBT_PAGES_H
#define QUERN_ACCEL_DBT_PAGES_H

#include "base/huge.h"

#include <stdint.h>

typedef struct DbtUnit DbtUnit;

/* What is looked at of each when the page is written: a page may have a hundred, all over memory. */
typedef struct DbtPageUnit {
    DbtUnit *unit;
    uint16_t start, len; /* bytes of the page that it depends on */
} DbtPageUnit;

typedef struct DbtPage {
    const uint8_t *host;  /* where the page is; NULL: a free slot */
    DbtPageUnit   *units; /* in no order that counts */
    uint32_t       n, room;
} DbtPage;

enum { DBT_PAGE_ROOM = 4, DBT_PAGE_ROOMS = 16 };

/* A hash table, open, that never loses a page. Its memory, and that of the lists, is touched ahead: malloc() by a vCPU
 * meant two page faults for each 4 KiB, 2 to 8 % of a kernel's start. */
typedef struct DbtPages {
    DbtPage     *slots;   /* of `memory` at first; when there are more of huge_new0() */
    unsigned     n, bits; /* pages; 1 << bits slots */
    HugeArena    memory;
    DbtPageUnit *free[DBT_PAGE_ROOMS]; /* lists that were outgrown, by their room; larger ones are malloc()'s */
} DbtPages;

void dbt_pages_init(DbtPages *pages, Ahead *ahead); /* ahead: has ended before dbt_pages_free() */
void dbt_pages_free(DbtPages *pages);

/* The page around `host` as long as it has units, until the next call of dbt_pages_add(); NULL: it has none. */
DbtPage *dbt_pages_find(const DbtPages *pages, const uint8_t *host);

/* By the unit's `host` and range. When one is removed the last one takes its place: who does that while going through
 * them goes from the end. */
void dbt_pages_add(DbtPages *pages, DbtUnit *unit);
void dbt_pages_remove(DbtPages *pages, const DbtUnit *unit);

#endif
