/* Inside of the software MMU, shared by tlb.c (tables and flushing), mmu.c (page walks) and access.c (slow accesses).
 */

#ifndef QUERN_CPU_X86_TLB_H
#define QUERN_CPU_X86_TLB_H

#include "cpu/x86/mmu.h"

enum {
    TLB_CONTEXTS    = 8,     /* address spaces (PCIDs) kept at a time */
    TLB_LARGE_BITS  = 32768, /* bits of the filter that knows 2 MiB ranges with large mappings */
    TLB_RANGES      = 8,
    TLB_BREAKPOINTS = 4,
    TLB_CODE_BITS   = 32768, /* bits of the filter that knows pages from which code may be fetched */
    TLB_WRITE_BITS  = 32768, /* the same of host pages that entries let write to */
};

/* Which list of a table names the slot. */
enum { TLB_LISTED_LOCAL = 1, TLB_LISTED_GLOBAL = 2 };

/* The TLB of one mode in one address space. All zeros but for entries[0] is empty. */
typedef struct TlbTable {
    X86TlbEntry entries[X86_TLB_SIZE];
    X86TlbPage  pages[X86_TLB_SIZE];
    uint8_t     listed[X86_TLB_SIZE];
    uint16_t    local[X86_TLB_SIZE], global[X86_TLB_SIZE]; /* slots in use, so that flushing costs what filling did */
    unsigned    n_local, n_global;
} TlbTable;

typedef struct TlbContext {
    TlbTable *tables[X86_N_TLB_MODES]; /* made when first used */
    bool      used;
    uint16_t  pcid;
    uint64_t  stamp; /* of the last selection */
    uint64_t  epoch; /* see x86_tlb_epoch(): unlike all others' */
} TlbContext;

/* A stretch of physical addresses that is RAM or ROM, whole pages, looked up in the map. */
typedef struct TlbRange {
    uint64_t  start, len; /* len 0: empty */
    uint8_t  *host;       /* of start */
    RamBlock *ram;
    uint64_t  ram_offset;
    bool      writable;
} TlbRange;

typedef struct TlbBreakpoint {
    uint64_t linear;
    uint8_t  len;
    uint8_t  bit;    /* in DR6 */
    bool     access; /* reads too */
} TlbBreakpoint;

/* What has been dropped since the translator looked: it has caches of its own. */
typedef struct TlbChanges {
    bool     any;
    bool     all, local; /* everything; all but global entries */
    bool     writes;     /* rights to write fast */
    bool     data;       /* all from which nothing can have been fetched */
    uint8_t  n_pages, n_data;
    uint64_t pages[8];      /* addresses of pages; more become `all` */
    uint64_t data_pages[8]; /* those from which nothing can have been fetched; more become `data` */
} TlbChanges;

struct X86Tlb {
    TlbChanges  changes;
    TlbContext  contexts[TLB_CONTEXTS];
    TlbTable   *tables;   /* memory for all that there can be */
    unsigned    n_tables; /* in use */
    TlbContext *current;
    X86TlbEntry never[X86_TLB_SIZE]; /* a table that never hits: alignment checks */
    X86TlbMode  mode, system_mode;
    bool        check_alignment;
    uint64_t    stamp;
    uint64_t    last_epoch;
    uint64_t    pdpte[4]; /* PAE paging */

    uint64_t large[TLB_LARGE_BITS / 64]; /* filter of 2 MiB ranges filled from larger mappings */
    uint64_t code[TLB_CODE_BITS / 64];   /* filter of pages filled with the right to fetch */
    uint64_t huge[TLB_LARGE_BITS / 64];  /* the same of 1 GiB ranges with 1 GiB mappings */
    uint64_t write[TLB_WRITE_BITS / 64]; /* filter of host pages filled with the right to write */

    TlbRange ranges[TLB_RANGES]; /* by size, the largest first */

    TlbBreakpoint breakpoints[TLB_BREAKPOINTS]; /* data breakpoints of DR7 */
    unsigned      n_breakpoints;
    TlbBreakpoint port_breakpoints[TLB_BREAKPOINTS]; /* those on ports (CR4.DE) */
    unsigned      n_port_breakpoints;
    uint32_t      breakpoints_hit; /* DR6 bits for the trap after this instruction */
    unsigned      exclusive;       /* inside x86_exclusive_begin() */
};

static inline void tlb_note_all(X86Tlb *tlb)
{
    tlb->changes.any = tlb->changes.all = true;
}

static inline void tlb_note_local(X86Tlb *tlb)
{
    tlb->changes.any = tlb->changes.local = true;
}

static inline void tlb_note_page(X86Tlb *tlb, uint64_t linear)
{
    if (tlb->changes.n_pages == sizeof tlb->changes.pages / sizeof tlb->changes.pages[0]) {
        tlb_note_all(tlb);
        return;
    }
    tlb->changes.any                           = true;
    tlb->changes.pages[tlb->changes.n_pages++] = linear;
}

/* What no address of slot n matches. */
static inline uint64_t tlb_no_tag(unsigned slot)
{
    return slot ? 0 : X86_PAGE_SIZE;
}

static inline void tlb_note_data_page(X86Tlb *tlb, uint64_t page)
{
    TlbChanges *c = &tlb->changes;
    c->any        = true;
    if (c->n_data == sizeof c->data_pages / sizeof c->data_pages[0]) {
        c->data = true;
        return;
    }
    c->data_pages[c->n_data++] = page;
}

TlbTable *tlb_table(X86Cpu *cpu, TlbContext *context, X86TlbMode mode);

/* Nobody watches the page any more: the entry that x86_translate() has just given for it lets write. */
void tlb_allow_writes(X86Cpu *cpu, X86TlbMode mode, const X86TlbPage *page);

/* A page as the walk found it; rights in the mode it was walked for. What is fetched from is about to become code,
 * mostly: its entry does not let write until somebody does. */
X86TlbPage *tlb_fill(X86Cpu *cpu, X86TlbMode mode, X86Access access, uint64_t linear, uint64_t physical,
                     unsigned rights, unsigned shift, bool global);

const TlbRange *tlb_find_range(X86Cpu *cpu, uint64_t physical);

/* The RAM or ROM that the whole page of this address is; NULL: something else. Valid until the next call. */
static inline const TlbRange *tlb_range(X86Cpu *cpu, uint64_t physical)
{
    const TlbRange *r = cpu->tlb->ranges; /* below and above 4 GiB, as a rule */
    return physical - r[0].start < r[0].len   ? &r[0]
           : physical - r[1].start < r[1].len ? &r[1]
                                              : tlb_find_range(cpu, physical);
}

/* Has a data breakpoint of DR7 a byte in this page? */
bool tlb_page_has_breakpoint(const X86Tlb *tlb, uint64_t page);

/* Reads the PDPTEs that `cr3` points at; false when reserved bits are set (nothing is changed then). */
bool tlb_load_pdptes(X86Cpu *cpu, uint64_t cr3);

/* A page-table entry in whatever is at this physical address. */
uint64_t tlb_read_entry(X86Cpu *cpu, uint64_t physical, unsigned size);

#endif
