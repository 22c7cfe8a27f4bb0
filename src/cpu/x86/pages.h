/* What a vCPU's page tables map, for those who look from outside: debuggers, dumps. Machine lock held, vCPU standing.
 */

#ifndef QUERN_CPU_X86_PAGES_H
#define QUERN_CPU_X86_PAGES_H

#include "cpu/x86/x86.h"

#define PTE_P   (UINT64_C(1) << 0)
#define PTE_W   (UINT64_C(1) << 1)
#define PTE_U   (UINT64_C(1) << 2)
#define PTE_PWT (UINT64_C(1) << 3)
#define PTE_PCD (UINT64_C(1) << 4)
#define PTE_A   (UINT64_C(1) << 5)
#define PTE_D   (UINT64_C(1) << 6)
#define PTE_PS  (UINT64_C(1) << 7)
#define PTE_G   (UINT64_C(1) << 8)
#define PTE_NX  (UINT64_C(1) << 63)

/* A page as it was found: its entry, and what all entries on the way agree to of W, U and NX (the last one inverted).
 */
typedef struct X86Page {
    uint64_t linear, size, physical, entry, rights;
} X86Page;

typedef enum X86Walk {
    X86_WALK_WHOLE,
    X86_WALK_CUT,      /* visit() has had enough, or there were too many tables */
    X86_WALK_NO_PAGING /* CR0.PG is 0 */
} X86Walk;

/* Calls visit for each page that is there, in the order of linear addresses; false from it ends the walk. Tables are
 * the guest's and may lead to themselves: no more than max_tables are read. */
X86Walk x86_walk_pages(const X86Cpu *cpu, unsigned max_tables, bool (*visit)(void *opaque, const X86Page *page),
                       void *opaque);

#endif
