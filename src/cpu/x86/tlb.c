/* The software TLB's tables: address spaces by PCID, filling, flushing, and the choice of the table in force.
 *
 * Specification: Intel SDM 3, 4.10 (caching translation information), December 2023.
 *
 * A flush visits only the slots that were filled since the last one. Global entries survive where the architecture
 * lets them; another address space finds them by a walk of its own. vCPU thread. Hot set (park.h). */

#include "cpu/x86/tlb.h"
#include "cpu/x86/park.h"

#include "base/hot.h"
#include "base/huge.h"
#include "memory/ram.h"

/* --- tables --- */

enum { MAX_TABLES = TLB_CONTEXTS * X86_N_TLB_MODES };

static TlbTable *table_new(X86Tlb *tlb)
{
    TlbTable *t         = &tlb->tables[tlb->n_tables++];
    t->entries[0].read  = tlb_no_tag(0);
    t->entries[0].write = tlb_no_tag(0);
    t->entries[0].fetch = tlb_no_tag(0);
    return t;
}

TlbTable *tlb_table(X86Cpu *cpu, TlbContext *context, X86TlbMode mode)
{
    if (__builtin_expect(!context->tables[mode], 0)) {
        context->tables[mode] = table_new(cpu->tlb);
    }
    return context->tables[mode];
}

static void slot_clear(TlbTable *t, unsigned slot)
{
    uint64_t none         = tlb_no_tag(slot);
    t->entries[slot].read = t->entries[slot].write = t->entries[slot].fetch = none;
    t->pages[slot].linear                                                   = 0;
}

static void table_flush_local(TlbTable *t)
{
    for (unsigned i = 0; i < t->n_local; i++) {
        unsigned slot = t->local[i];
        t->listed[slot] &= (uint8_t)~TLB_LISTED_LOCAL;
        if (!t->pages[slot].global) {
            slot_clear(t, slot);
        }
    }
    t->n_local = 0;
}

static void table_flush(TlbTable *t)
{
    for (unsigned i = 0; i < t->n_local; i++) {
        slot_clear(t, t->local[i]);
        t->listed[t->local[i]] = 0;
    }
    for (unsigned i = 0; i < t->n_global; i++) {
        slot_clear(t, t->global[i]);
        t->listed[t->global[i]] = 0;
    }
    t->n_local = t->n_global = 0;
}

static void context_flush(TlbContext *context, bool global_too)
{
    for (unsigned mode = 0; mode < X86_N_TLB_MODES; mode++) {
        TlbTable *t = context->tables[mode];
        if (t) {
            (global_too ? table_flush : table_flush_local)(t);
        }
    }
}

/* What was found by linear address in this address space is found again from now on. */
static void renew_epoch(X86Tlb *tlb, TlbContext *context)
{
    context->epoch = ++tlb->last_epoch;
}

static void renew_epochs(X86Tlb *tlb)
{
    for (unsigned i = 0; i < TLB_CONTEXTS; i++) {
        renew_epoch(tlb, &tlb->contexts[i]);
    }
}

/* --- filters and breakpoints --- */

static unsigned filter_bit(uint64_t n)
{
    return (unsigned)((n ^ n >> 12 ^ n >> 24) % TLB_LARGE_BITS);
}

static unsigned large_bit(uint64_t linear)
{
    return filter_bit(linear >> 21);
}

static unsigned huge_bit(uint64_t linear)
{
    return filter_bit(linear >> 30);
}

static void set_bit(uint64_t *bits, unsigned n)
{
    bits[n / 64] |= UINT64_C(1) << (n % 64);
}

static bool test_bit(const uint64_t *bits, unsigned n)
{
    return bits[n / 64] >> (n % 64) & 1;
}

static unsigned code_bit(uint64_t linear)
{
    uint64_t n = linear >> X86_PAGE_BITS;
    return (unsigned)((n ^ n >> 15 ^ n >> 30) % TLB_CODE_BITS);
}

static unsigned write_bit(const uint8_t *host_page)
{
    uint64_t n = (uintptr_t)host_page >> X86_PAGE_BITS;
    return (unsigned)((n ^ n >> 15) % TLB_WRITE_BITS);
}

bool tlb_page_has_breakpoint(const X86Tlb *tlb, uint64_t page)
{
    for (unsigned i = 0; i < tlb->n_breakpoints; i++) {
        if ((tlb->breakpoints[i].linear & ~(uint64_t)X86_PAGE_MASK) == page) {
            return true;
        }
    }
    return false;
}

/* --- the physical side --- */

/* Puts a new range where its size says; what falls off the end is small. */
static const TlbRange *insert_range(X86Tlb *tlb, TlbRange r)
{
    unsigned at = TLB_RANGES - 1;

    for (unsigned i = 0; i < TLB_RANGES; i++) {
        if (tlb->ranges[i].len && tlb->ranges[i].start + tlb->ranges[i].len == r.start + r.len) {
            at = i; /* the rest of the same stretch: the new one begins earlier */
        }
    }
    for (; at && tlb->ranges[at - 1].len < r.len; at--) {
        tlb->ranges[at] = tlb->ranges[at - 1];
    }
    tlb->ranges[at] = r;
    return &tlb->ranges[at];
}

const TlbRange *tlb_find_range(X86Cpu *cpu, uint64_t physical)
{
    X86Tlb *tlb = cpu->tlb;

    for (unsigned i = 0; i < TLB_RANGES; i++) {
        if (physical - tlb->ranges[i].start < tlb->ranges[i].len) {
            return &tlb->ranges[i];
        }
    }

    uint64_t page = physical & ~(uint64_t)X86_PAGE_MASK;
    x86_park(cpu);
    MemTarget t = address_space_lookup(cpu->vcpu.memory, page);
    if (!t.host || t.len < X86_PAGE_SIZE || (t.ram_offset & X86_PAGE_MASK)) {
        return NULL;
    }
    return insert_range(tlb, (TlbRange){
                                 .start      = page,
                                 .len        = t.len & ~(uint64_t)X86_PAGE_MASK,
                                 .host       = t.host,
                                 .ram        = t.ram,
                                 .ram_offset = t.ram_offset,
                                 .writable   = t.writable,
                             });
}

uint64_t tlb_read_entry(X86Cpu *cpu, uint64_t physical, unsigned size)
{
    const TlbRange *r = tlb_range(cpu, physical);

    if (r) {
        const uint8_t *at = r->host + (physical - r->start);
        return size == 8 ? __atomic_load_n((const uint64_t *)at, __ATOMIC_RELAXED)
                         : __atomic_load_n((const uint32_t *)at, __ATOMIC_RELAXED);
    }
    return x86_io_load(cpu, cpu->vcpu.memory, physical, size);
}

/* --- filling --- */

X86TlbPage *tlb_fill(X86Cpu *cpu, X86TlbMode mode, X86Access access, uint64_t linear, uint64_t physical,
                     unsigned rights, unsigned shift, bool global)
{
    X86Tlb         *tlb  = cpu->tlb;
    TlbTable       *t    = tlb_table(cpu, tlb->current, mode);
    uint64_t        page = linear & ~(uint64_t)X86_PAGE_MASK;
    unsigned        slot = (unsigned)(page >> X86_PAGE_BITS) % X86_TLB_SIZE;
    uint64_t        at   = physical & ~(uint64_t)X86_PAGE_MASK;
    const TlbRange *r    = tlb_range(cpu, at);
    bool            fast = r && !tlb_page_has_breakpoint(tlb, page);

    X86TlbPage p = {
        .linear = page | 1, .physical = at, .rights = (uint8_t)rights, .shift = (uint8_t)shift, .global = global
    };
    if (r) {
        p.host       = r->host + (at - r->start);
        p.ram        = r->ram;
        p.ram_offset = r->ram_offset + (at - r->start);
        p.writable   = r->writable;
    }
    t->pages[slot] = p;

    bool read  = fast && (rights & 1 << X86_READ);
    bool write = fast && access != X86_FETCH && (rights & 1 << X86_WRITE) && p.writable &&
                 !ram_page_watched(p.ram, p.ram_offset);
    bool fetch = r && (rights & 1 << X86_FETCH);

    uint64_t none    = tlb_no_tag(slot);
    t->entries[slot] = (X86TlbEntry){
        .read   = read ? page : none,
        .write  = write ? page : none,
        .fetch  = fetch ? page : none,
        .addend = (uintptr_t)p.host - page,
    };

    uint8_t list = global ? TLB_LISTED_GLOBAL : TLB_LISTED_LOCAL;
    if (!(t->listed[slot] & list)) {
        t->listed[slot] |= list;
        if (global) {
            t->global[t->n_global++] = (uint16_t)slot;
        } else {
            t->local[t->n_local++] = (uint16_t)slot;
        }
    }
    if (rights & 1 << X86_FETCH) {
        set_bit(tlb->code, code_bit(linear));
    }
    if (write) {
        set_bit(tlb->write, write_bit(p.host));
    }
    if (shift > X86_PAGE_BITS && shift < 32) {
        set_bit(tlb->large, large_bit(linear));
        if (shift == 30) {
            set_bit(tlb->huge, huge_bit(linear));
        }
    }
    return &t->pages[slot];
}

void tlb_allow_writes(X86Cpu *cpu, X86TlbMode mode, const X86TlbPage *page)
{
    TlbTable *t                                                      = tlb_table(cpu, cpu->tlb->current, mode);
    t->entries[(page->linear >> X86_PAGE_BITS) % X86_TLB_SIZE].write = page->linear & ~UINT64_C(1);
    set_bit(cpu->tlb->write, write_bit(page->host));
}

void x86_tlb_forbid_writes(X86Cpu *cpu, const uint8_t *host_page)
{
    X86Tlb *tlb = cpu->tlb;

    tlb->changes.any = tlb->changes.writes = true;
    if (!test_bit(tlb->write, write_bit(host_page))) {
        return; /* as most code: going through all entries for each page of it took 1 % of a kernel's start */
    }
    hot_zero(tlb->write, sizeof tlb->write); /* made again of what is still there */
    for (unsigned c = 0; c < TLB_CONTEXTS; c++) {
        for (unsigned mode = 0; mode < X86_N_TLB_MODES; mode++) {
            TlbTable *t = tlb->contexts[c].tables[mode];
            if (!t) {
                continue;
            }
            for (unsigned i = 0; i < t->n_local + t->n_global; i++) {
                unsigned slot = i < t->n_local ? t->local[i] : t->global[i - t->n_local];
                if (t->entries[slot].write == tlb_no_tag(slot)) {
                    continue;
                }
                if (t->pages[slot].host == host_page) {
                    t->entries[slot].write = tlb_no_tag(slot);
                } else {
                    set_bit(tlb->write, write_bit(t->pages[slot].host));
                }
            }
        }
    }
}

/* --- choosing --- */

X86TlbMode x86_tlb_mode(const X86Cpu *cpu)
{
    return cpu->tlb->mode;
}

X86TlbMode x86_tlb_system_mode(const X86Cpu *cpu)
{
    return cpu->tlb->system_mode;
}

uint64_t x86_tlb_epoch(const X86Cpu *cpu)
{
    return cpu->tlb->current->epoch;
}

void x86_tlb_select(X86Cpu *cpu)
{
    X86Tlb *tlb = cpu->tlb;
    if (!tlb) {
        return; /* a CPU that is being built */
    }
    bool smap            = cpu->cr4 & CR4_SMAP;
    bool ac              = cpu->eflags & EFLAGS_AC;
    tlb->system_mode     = smap ? X86_TLB_KERNEL_SMAP : X86_TLB_KERNEL_OPEN;
    tlb->mode            = cpu->cpl == 3 ? X86_TLB_USER : smap && !ac ? X86_TLB_KERNEL_SMAP : X86_TLB_KERNEL_OPEN;
    tlb->check_alignment = ac && cpu->cpl == 3 && (cpu->cr0 & CR0_AM);
    cpu->tlb_entries     = tlb->check_alignment ? tlb->never : tlb_table(cpu, tlb->current, tlb->mode)->entries;
}

static void select_context(X86Cpu *cpu, TlbContext *context)
{
    cpu->tlb->current = context;
    context->stamp    = ++cpu->tlb->stamp;
    x86_tlb_select(cpu);
}

/* The context of a PCID: the one that holds it, or the one unused for longest, emptied. */
static TlbContext *find_context(X86Tlb *tlb, uint16_t pcid)
{
    TlbContext *oldest = &tlb->contexts[0];

    for (unsigned i = 0; i < TLB_CONTEXTS; i++) {
        TlbContext *c = &tlb->contexts[i];
        if (c->used && c->pcid == pcid) {
            return c;
        }
        if (oldest->used && (!c->used || c->stamp < oldest->stamp)) {
            oldest = c;
        }
    }
    context_flush(oldest, true);
    renew_epoch(tlb, oldest);
    oldest->used = true;
    oldest->pcid = pcid;
    return oldest;
}

/* --- flushing --- */

static uint16_t current_pcid(const X86Cpu *cpu)
{
    return cpu->cr4 & CR4_PCIDE ? cpu->cr3 & 0xfff : 0;
}

static bool pae_paging(const X86Cpu *cpu)
{
    return (cpu->cr0 & CR0_PG) && (cpu->cr4 & CR4_PAE) && !(cpu->efer & EFER_LMA);
}

bool tlb_load_pdptes(X86Cpu *cpu, uint64_t cr3)
{
    /* Reserved: bits 1, 2, 5 to 8, and those at and above MAXPHYADDR (SDM 3, table 4-8). */
    uint64_t reserved = UINT64_C(0x1e6) | ~((UINT64_C(1) << cpu->phys_bits) - 1);
    uint64_t pdpte[4];

    for (unsigned i = 0; i < 4; i++) {
        pdpte[i] = tlb_read_entry(cpu, (cr3 & 0xffffffe0) + 8 * i, 8);
        if ((pdpte[i] & 1) && (pdpte[i] & reserved)) {
            return false;
        }
    }
    __builtin_memcpy(cpu->tlb->pdpte, pdpte, sizeof pdpte);
    return true;
}

static void flush_everything(X86Cpu *cpu)
{
    X86Tlb *tlb = cpu->tlb;

    for (unsigned i = 0; i < TLB_CONTEXTS; i++) {
        context_flush(&tlb->contexts[i], true);
    }
    hot_zero(tlb->large, sizeof tlb->large);
    hot_zero(tlb->code, sizeof tlb->code);
    hot_zero(tlb->huge, sizeof tlb->huge);
    hot_zero(tlb->write, sizeof tlb->write);
    renew_epochs(tlb);
    tlb_note_all(tlb);
}

void x86_tlb_flush(X86Cpu *cpu, bool global_too)
{
    if (!cpu->tlb) {
        return; /* a CPU that is being built */
    }
    if (!global_too) {
        context_flush(cpu->tlb->current, false);
        renew_epoch(cpu->tlb, cpu->tlb->current);
        tlb_note_local(cpu->tlb);
        return;
    }
    flush_everything(cpu);
    if (pae_paging(cpu)) {
        tlb_load_pdptes(cpu, cpu->cr3);
    }
    select_context(cpu, find_context(cpu->tlb, current_pcid(cpu)));
}

void x86_tlb_drop(X86Cpu *cpu)
{
    flush_everything(cpu);
    for (unsigned i = 0; i < TLB_RANGES; i++) {
        cpu->tlb->ranges[i].len = 0;
    }
}

/* Drops what a larger mapping around `linear` has filled, of up to 1 << shift bytes. */
static void table_flush_large(TlbTable *t, uint64_t linear, unsigned shift, bool global_only)
{
    uint64_t base = linear >> shift << (shift - X86_PAGE_BITS); /* in pages */
    uint64_t n    = MIN(UINT64_C(1) << (shift - X86_PAGE_BITS), (uint64_t)X86_TLB_SIZE);

    for (uint64_t i = 0; i < n; i++) {
        unsigned    s = (unsigned)(base + i) % X86_TLB_SIZE;
        X86TlbPage *p = &t->pages[s];
        if (p->linear && (p->linear ^ linear) >> p->shift == 0 && (!global_only || p->global)) {
            slot_clear(t, s);
        }
    }
}

/* Drops the page at `linear` from one context, with all of a larger mapping that it may be part of: shift is how large
 * that may be. */
static void context_flush_page(TlbContext *context, uint64_t linear, unsigned shift, bool global_only)
{
    uint64_t page = linear & ~(uint64_t)X86_PAGE_MASK;
    unsigned slot = (unsigned)(page >> X86_PAGE_BITS) % X86_TLB_SIZE;

    for (unsigned mode = 0; mode < X86_N_TLB_MODES; mode++) {
        TlbTable *t = context->tables[mode];
        if (!t) {
            continue;
        }
        if (shift > X86_PAGE_BITS) {
            table_flush_large(t, linear, shift, global_only);
        } else if (t->pages[slot].linear == (page | 1) && (!global_only || t->pages[slot].global)) {
            slot_clear(t, slot);
        }
    }
}

/* The largest mapping that may have filled something around it. */
static unsigned largest_mapping(const X86Tlb *tlb, uint64_t linear)
{
    if (test_bit(tlb->huge, huge_bit(linear))) {
        return 30;
    }
    for (unsigned half = 0; half < 2; half++) { /* 4 MiB pages fill two of the filter's ranges */
        if (test_bit(tlb->large, large_bit(linear ^ (uint64_t)half << 21))) {
            return 22;
        }
    }
    return X86_PAGE_BITS;
}

/* Can code have been found through the mapping of this page? Whoever finds code by linear address has filled the TLB
 * with the right to fetch it. */
static bool may_be_code(const X86Tlb *tlb, uint64_t linear, unsigned shift)
{
    return shift > X86_PAGE_BITS || test_bit(tlb->code, code_bit(linear));
}

static void note_page(X86Tlb *tlb, uint64_t linear, unsigned shift)
{
    linear &= ~(uint64_t)X86_PAGE_MASK;
    if (shift > X86_PAGE_BITS) {
        tlb_note_all(tlb);
    } else if (may_be_code(tlb, linear, shift)) {
        tlb_note_page(tlb, linear);
    } else {
        tlb_note_data_page(tlb, linear);
    }
}

void x86_tlb_flush_page(X86Cpu *cpu, uint64_t linear)
{
    X86Tlb  *tlb   = cpu->tlb;
    unsigned shift = largest_mapping(tlb, linear);

    for (unsigned i = 0; i < TLB_CONTEXTS; i++) {
        if (tlb->contexts[i].used) {
            context_flush_page(&tlb->contexts[i], linear, shift, &tlb->contexts[i] != tlb->current);
        }
    }
    if (may_be_code(tlb, linear, shift)) {
        renew_epochs(tlb);
    }
    note_page(tlb, linear, shift);
}

void x86_invpcid(X86Cpu *cpu, unsigned type, uint16_t pcid, uint64_t linear)
{
    X86Tlb *tlb = cpu->tlb;

    if (type == 2) { /* all contexts, global entries too */
        flush_everything(cpu);
        return;
    }
    for (unsigned i = 0; i < TLB_CONTEXTS; i++) {
        TlbContext *c = &tlb->contexts[i];
        if (type == 3) { /* all contexts but for global entries */
            context_flush(c, false);
            renew_epoch(tlb, c);
            tlb_note_local(tlb);
        } else if (c->used && c->pcid == pcid) {
            unsigned shift = largest_mapping(tlb, linear);
            if (type == 0) {
                context_flush_page(c, linear, shift, false);
            } else {
                context_flush(c, false);
            }
            if (type == 1 || may_be_code(tlb, linear, shift)) {
                renew_epoch(tlb, c);
            }
            /* What is noted is the current address space; others are changed to through CR3. */
            if (c == tlb->current && type == 0) {
                note_page(tlb, linear, shift);
            } else if (c == tlb->current) {
                tlb_note_local(tlb);
            }
        }
    }
}

void x86_load_cr3(X86Cpu *cpu, uint64_t value)
{
    X86Tlb  *tlb  = cpu->tlb;
    bool     keep = (cpu->cr4 & CR4_PCIDE) && value >> 63;
    uint64_t cr3  = cpu->cr4 & CR4_PCIDE ? value & ~(UINT64_C(1) << 63) : value;

    if (pae_paging(cpu) && !tlb_load_pdptes(cpu, cr3)) {
        x86_raise(cpu, X86_GP);
    }
    cpu->cr3            = cr3;
    TlbContext *context = find_context(tlb, current_pcid(cpu));
    if (!keep) {
        context_flush(context, false);
        renew_epoch(tlb, context);
    }
    if (!keep || context != tlb->current) {
        tlb_note_local(tlb);
    }
    select_context(cpu, context);
}

/* --- debug registers --- */

void x86_debug_changed(X86Cpu *cpu)
{
    static const uint8_t lengths[4] = { 1, 2, 8, 4 };
    X86Tlb              *tlb        = cpu->tlb;
    if (!tlb) {
        return;
    }

    tlb->n_breakpoints = tlb->n_port_breakpoints = 0;
    for (unsigned i = 0; i < TLB_BREAKPOINTS; i++) {
        bool          enabled = cpu->dr[7] >> (2 * i) & 3;
        unsigned      type    = cpu->dr[7] >> (16 + 4 * i) & 3;
        unsigned      len     = lengths[cpu->dr[7] >> (18 + 4 * i) & 3];
        TlbBreakpoint b       = {
                  .linear = cpu->dr[i] & ~(uint64_t)(len - 1),
                  .len    = (uint8_t)len,
                  .bit    = (uint8_t)(1 << i),
                  .access = type == 3,
        };
        if (enabled && (type == 1 || type == 3)) {
            tlb->breakpoints[tlb->n_breakpoints++] = b;
        } else if (enabled && type == 2) {
            tlb->port_breakpoints[tlb->n_port_breakpoints++] = b;
        }
    }
    flush_everything(cpu);
}

/* --- life --- */

bool x86_tlb_init(X86Cpu *cpu, Error *err)
{
    x86_park(cpu);
    X86Tlb *tlb = g_new0(X86Tlb, 1);

    tlb->tables = huge_new0(MAX_TABLES * sizeof(TlbTable));
    renew_epochs(tlb);
    for (unsigned i = 0; i < X86_TLB_SIZE; i++) {
        uint64_t none = tlb_no_tag(i);
        tlb->never[i] = (X86TlbEntry){ .read = none, .write = none, .fetch = none };
    }
    cpu->tlb              = tlb;
    tlb->contexts[0].used = true;
    select_context(cpu, &tlb->contexts[0]);
    return true;
}

void x86_tlb_free(X86Cpu *cpu)
{
    X86Tlb *tlb = cpu->tlb;
    if (!tlb) {
        return;
    }
    huge_free(tlb->tables, MAX_TABLES * sizeof(TlbTable));
    g_free(tlb);
    cpu->tlb         = NULL;
    cpu->tlb_entries = NULL;
}
