/* Guest memory accesses that miss the TLB's fast path: page crossings, faults, watched pages, ROM, MMIO, breakpoints,
 * atomics; segment limits; and the functions of mem.h that other parts of the CPU use.
 *
 * vCPU thread, inside x86_run(). Hot set (park.h). */

#include "cpu/x86/ops.h"
#include "cpu/x86/park.h"
#include "cpu/x86/tlb.h"

#include "base/checked.h"
#include "base/hot.h"
#include "memory/ram.h"

/* Where and how an access is made. */
typedef struct How {
    X86TlbMode mode;
    bool       stack; /* #SS instead of #GP */
    bool       align; /* alignment is checked */
} How;

static How explicit_access(const X86Cpu *cpu, bool stack)
{
    return (How){ .mode = cpu->tlb->mode, .stack = stack, .align = cpu->tlb->check_alignment };
}

static How system_access(const X86Cpu *cpu)
{
    return (How){ .mode = cpu->tlb->system_mode };
}

/* The stack segment of the instruction's own memory operand decides between #SS and #GP. */
static bool operand_in_stack(const X86Cpu *cpu)
{
    return cpu->insn && (cpu->insn->flags & X86_INSN_MEMORY) && cpu->insn->seg == X86_SS;
}

void x86_want_step_trap(X86Cpu *cpu)
{
    cpu->tlb->breakpoints_hit |= DR6_BS;
    x86_want_trap(cpu);
}

_Noreturn static void raise_not_canonical(X86Cpu *cpu, bool stack)
{
    x86_raise(cpu, stack ? X86_SS_FAULT : X86_GP);
}

/* Address of the byte `n` after `linear`. Only 64-bit linear addresses do not wrap at 4 GiB. */
static uint64_t linear_plus(const X86Cpu *cpu, uint64_t linear, unsigned n)
{
    return cpu->long_mode && (cpu->code_size == X86_CODE64 || linear >> 32) ? linear + n : (uint32_t)(linear + n);
}

static void check(X86Cpu *cpu, How how, uint64_t linear, unsigned size)
{
    if (cpu->long_mode && (!x86_canonical(cpu, linear) || !x86_canonical(cpu, linear_plus(cpu, linear, size - 1)))) {
        raise_not_canonical(cpu, how.stack);
    }
    if (how.align && size <= 8 && (linear & (size - 1))) {
        x86_raise_error(cpu, X86_AC, 0);
    }
}

static void note_breakpoints(X86Cpu *cpu, uint64_t linear, unsigned size, X86Access access)
{
    X86Tlb *tlb = cpu->tlb;

    for (unsigned i = 0; i < tlb->n_breakpoints; i++) {
        const TlbBreakpoint *b = &tlb->breakpoints[i];
        if ((access == X86_WRITE || b->access) && ranges_overlap(linear, size, b->linear, b->len)) {
            tlb->breakpoints_hit |= b->bit;
            x86_want_trap(cpu);
        }
    }
}

void x86_note_port(X86Cpu *cpu, uint16_t port, unsigned size)
{
    X86Tlb *tlb = cpu->tlb;

    for (unsigned i = 0; i < tlb->n_port_breakpoints && (cpu->cr4 & CR4_DE); i++) {
        const TlbBreakpoint *b = &tlb->port_breakpoints[i];
        if (ranges_overlap(port, size, b->linear, b->len)) {
            tlb->breakpoints_hit |= b->bit;
            x86_want_trap(cpu);
        }
    }
}

/* --- devices, and letting others run --- */

void x86_take_flush_request(X86Cpu *cpu)
{
    if (vcpu_requests(&cpu->vcpu) & VCPU_REQUEST_FLUSH) {
        vcpu_request_done(&cpu->vcpu, VCPU_REQUEST_FLUSH);
        x86_tlb_drop(cpu);
    }
}

static void after_io(X86Cpu *cpu)
{
    if (vcpu_requests(&cpu->vcpu)) {
        x86_take_flush_request(cpu);
        if (cpu->insn) {
            cpu->insn_end = cpu->insn + 1;
        }
    }
}

uint64_t x86_io_load(X86Cpu *cpu, AddressSpace *as, uint64_t address, unsigned size)
{
    x86_park(cpu);
    uint64_t value = address_space_load(as, address, size);
    after_io(cpu);
    return value;
}

void x86_io_store(X86Cpu *cpu, AddressSpace *as, uint64_t address, uint64_t value, unsigned size)
{
    x86_park(cpu);
    address_space_store(as, address, value, size);
    after_io(cpu);
}

void x86_exclusive_begin(X86Cpu *cpu)
{
    x86_park(cpu);
    /* The lock first: it must not be waited for inside the section, where an MMIO access may need it. */
    machine_lock(cpu->vcpu.lock);
    vcpu_exclusive_begin(cpu->vcpu.group, &cpu->vcpu);
    cpu->tlb->exclusive = true;
    x86_take_flush_request(cpu);
}

void x86_exclusive_end(X86Cpu *cpu)
{
    if (cpu->tlb->exclusive) {
        x86_park(cpu);
        cpu->tlb->exclusive = false;
        vcpu_exclusive_end(cpu->vcpu.group, &cpu->vcpu);
        machine_unlock(cpu->vcpu.lock);
    }
}

/* --- inside one page --- */

static uint64_t load_in_page(X86Cpu *cpu, How how, uint64_t linear, unsigned size)
{
    X86TlbPage *page   = x86_translate(cpu, how.mode, linear, X86_READ);
    unsigned    offset = linear & X86_PAGE_MASK;

    if (!page->host) {
        return x86_io_load(cpu, cpu->vcpu.memory, page->physical + offset, size);
    }
    uint64_t value = 0;
    ram_copy_out(&value, page->host + offset, size);
    return value;
}

/* After a store to RAM that came the slow way. */
static void stored(X86Cpu *cpu, How how, X86TlbPage *page, unsigned offset, unsigned size)
{
    if (ram_page_watched(page->ram, page->ram_offset)) {
        x86_ram_written(cpu, page->ram, page->ram_offset + offset, size);
    } else if (!tlb_page_has_breakpoint(cpu->tlb, page->linear & ~UINT64_C(1))) {
        tlb_allow_writes(cpu, how.mode, page); /* nobody watches it (any more) */
    }
}

static void store_in_page(X86Cpu *cpu, How how, uint64_t linear, uint64_t value, unsigned size)
{
    X86TlbPage *page   = x86_translate(cpu, how.mode, linear, X86_WRITE);
    unsigned    offset = linear & X86_PAGE_MASK;

    if (!page->host || !page->writable) {
        x86_io_store(cpu, cpu->vcpu.memory, page->physical + offset, value, size);
        return;
    }
    ram_copy_in(page->host + offset, &value, size);
    stored(cpu, how, page, offset, size);
}

/* --- any access of up to 8 bytes --- */

static uint64_t load(X86Cpu *cpu, How how, uint64_t linear, unsigned size)
{
    check(cpu, how, linear, size);
    unsigned first = X86_PAGE_SIZE - (linear & X86_PAGE_MASK);
    uint64_t value;
    if (size <= first) {
        value = load_in_page(cpu, how, linear, size);
    } else {
        uint64_t second = linear_plus(cpu, linear, first);
        x86_translate(cpu, how.mode, linear, X86_READ);
        x86_translate(cpu, how.mode, second, X86_READ);
        value = load_in_page(cpu, how, linear, first);
        value |= load_in_page(cpu, how, second, size - first) << (8 * first);
    }
    note_breakpoints(cpu, linear, size, X86_READ);
    return value;
}

static void store(X86Cpu *cpu, How how, uint64_t linear, uint64_t value, unsigned size)
{
    check(cpu, how, linear, size);
    unsigned first = X86_PAGE_SIZE - (linear & X86_PAGE_MASK);
    if (size <= first) {
        store_in_page(cpu, how, linear, value, size);
    } else {
        uint64_t second = linear_plus(cpu, linear, first);
        x86_translate(cpu, how.mode, linear, X86_WRITE);
        x86_translate(cpu, how.mode, second, X86_WRITE);
        store_in_page(cpu, how, linear, value & ((UINT64_C(1) << (8 * first)) - 1), first);
        store_in_page(cpu, how, second, value >> (8 * first), size - first);
    }
    note_breakpoints(cpu, linear, size, X86_WRITE);
}

uint64_t x86_load_slow(X86Cpu *cpu, uint64_t linear, unsigned size, bool stack)
{
    return load(cpu, explicit_access(cpu, stack), linear, size);
}

void x86_store_slow(X86Cpu *cpu, uint64_t linear, uint64_t value, unsigned size, bool stack)
{
    store(cpu, explicit_access(cpu, stack), linear, value, size);
}

uint64_t x86_load(X86Cpu *cpu, uint64_t linear, unsigned size)
{
    return load(cpu, explicit_access(cpu, operand_in_stack(cpu)), linear, size);
}

void x86_store(X86Cpu *cpu, uint64_t linear, uint64_t value, unsigned size)
{
    store(cpu, explicit_access(cpu, operand_in_stack(cpu)), linear, value, size);
}

static How access_of_cpl(const X86Cpu *cpu, unsigned cpl)
{
    bool smap = (cpu->cr4 & CR4_SMAP) && !(cpu->eflags & EFLAGS_AC);
    return (How){
        .mode  = cpl == 3 ? X86_TLB_USER
                 : smap   ? X86_TLB_KERNEL_SMAP
                          : X86_TLB_KERNEL_OPEN,
        .stack = true,
        .align = cpl == 3 && (cpu->cr0 & CR0_AM) && (cpu->eflags & EFLAGS_AC),
    };
}

/* The TLB entry of a mode that need not be the current one; NULL: no table yet. */
static const X86TlbEntry *entry_of(const X86Cpu *cpu, X86TlbMode mode, uint64_t linear)
{
    const TlbTable *t = cpu->tlb->current->tables[mode];
    return t ? &t->entries[(linear >> X86_PAGE_BITS) % X86_TLB_SIZE] : NULL;
}

static inline __attribute__((always_inline)) uint64_t load_as(X86Cpu *cpu, How how, uint64_t linear, unsigned size)
{
    const X86TlbEntry *e = entry_of(cpu, how.mode, linear);

    if (e && !how.align && x86_tlb_hit(e->read, linear, size)) {
        const void *at = (const void *)(linear + e->addend);
        switch (size) {
        case 8: return x86_guest_get64(at);
        case 4: return x86_guest_get32(at);
        case 2: return x86_guest_get16(at);
        default: break;
        }
    }
    return load(cpu, how, linear, size);
}

static inline __attribute__((always_inline)) void store_as(X86Cpu *cpu, How how, uint64_t linear, uint64_t value,
                                                           unsigned size)
{
    const X86TlbEntry *e = entry_of(cpu, how.mode, linear);

    if (e && !how.align && x86_tlb_hit(e->write, linear, size)) {
        void *at = (void *)(linear + e->addend);
        switch (size) {
        case 8: x86_guest_put64(at, value); return;
        case 4: x86_guest_put32(at, (uint32_t)value); return;
        case 2: x86_guest_put16(at, (uint16_t)value); return;
        default: break;
        }
    }
    store(cpu, how, linear, value, size);
}

uint64_t x86_load_cpl(X86Cpu *cpu, uint64_t linear, unsigned size, unsigned cpl)
{
    return load_as(cpu, access_of_cpl(cpu, cpl), linear, size);
}

void x86_store_cpl(X86Cpu *cpu, uint64_t linear, uint64_t value, unsigned size, unsigned cpl)
{
    store_as(cpu, access_of_cpl(cpu, cpl), linear, value, size);
}

uint64_t x86_load_system(X86Cpu *cpu, uint64_t linear, unsigned size)
{
    return load_as(cpu, system_access(cpu), linear, size);
}

void x86_store_system(X86Cpu *cpu, uint64_t linear, uint64_t value, unsigned size)
{
    store_as(cpu, system_access(cpu), linear, value, size);
}

/* --- longer ones --- */

/* Makes sure that no later step of the access faults. */
static void probe(X86Cpu *cpu, How how, uint64_t linear, unsigned len, X86Access access)
{
    check(cpu, how, linear, len);
    unsigned first = X86_PAGE_SIZE - (linear & X86_PAGE_MASK);
    x86_translate(cpu, how.mode, linear, access);
    if (len > first) {
        x86_translate(cpu, how.mode, linear_plus(cpu, linear, first), access);
    }
}

/* Biggest naturally aligned piece, for devices. */
static unsigned piece(uint64_t linear, unsigned len)
{
    unsigned size = 8;
    while (size > len || (linear & (size - 1))) {
        size /= 2;
    }
    return size;
}

/* Inline where no sanitizer looks on: vector operands come this way. */
static inline void copy_out(void *to, const uint8_t *host, unsigned len)
{
    if (WITH_TSAN) {
        ram_copy_out(to, host, len);
    } else {
        hot_copy(to, host, len);
    }
}

static inline void copy_in(uint8_t *host, const void *from, unsigned len)
{
    if (WITH_TSAN) {
        ram_copy_in(host, from, len);
    } else {
        hot_copy(host, from, len);
    }
}

void x86_load_bytes(X86Cpu *cpu, uint64_t linear, void *buf, unsigned len)
{
    g_assert(len && len <= X86_PAGE_SIZE);
    const X86TlbEntry *e = x86_tlb_slot(cpu, linear);
    if (x86_tlb_hit(e->read, linear, len)) {
        copy_out(buf, (const void *)(linear + e->addend), len);
        return;
    }

    How      how = explicit_access(cpu, operand_in_stack(cpu));
    uint8_t *to  = buf;
    probe(cpu, how, linear, len, X86_READ);
    note_breakpoints(cpu, linear, len, X86_READ);
    while (len) {
        X86TlbPage *page   = x86_translate(cpu, how.mode, linear, X86_READ);
        unsigned    offset = linear & X86_PAGE_MASK;
        unsigned    n      = MIN(len, X86_PAGE_SIZE - offset);
        if (page->host) {
            ram_copy_out(to, page->host + offset, n);
        } else {
            n              = piece(linear, n);
            uint64_t value = x86_io_load(cpu, cpu->vcpu.memory, page->physical + offset, n);
            hot_copy(to, &value, n);
        }
        linear = linear_plus(cpu, linear, n);
        to += n;
        len -= n;
    }
}

void x86_store_bytes(X86Cpu *cpu, uint64_t linear, const void *buf, unsigned len)
{
    g_assert(len && len <= X86_PAGE_SIZE);
    const X86TlbEntry *e = x86_tlb_slot(cpu, linear);
    if (x86_tlb_hit(e->write, linear, len)) {
        copy_in((void *)(linear + e->addend), buf, len);
        return;
    }

    How            how  = explicit_access(cpu, operand_in_stack(cpu));
    const uint8_t *from = buf;
    probe(cpu, how, linear, len, X86_WRITE);
    note_breakpoints(cpu, linear, len, X86_WRITE);
    while (len) {
        X86TlbPage *page   = x86_translate(cpu, how.mode, linear, X86_WRITE);
        unsigned    offset = linear & X86_PAGE_MASK;
        unsigned    n      = MIN(len, X86_PAGE_SIZE - offset);
        if (page->host && page->writable) {
            ram_copy_in(page->host + offset, from, n);
            stored(cpu, how, page, offset, n);
        } else {
            n              = piece(linear, n);
            uint64_t value = 0;
            hot_copy(&value, from, n);
            x86_io_store(cpu, cpu->vcpu.memory, page->physical + offset, value, n);
        }
        linear = linear_plus(cpu, linear, n);
        from += n;
        len -= n;
    }
}

void x86_probe_write(X86Cpu *cpu, uint64_t linear, unsigned len)
{
    const X86TlbEntry *e = x86_tlb_slot(cpu, linear);
    if (!x86_tlb_hit(e->write, linear, len)) {
        probe(cpu, explicit_access(cpu, operand_in_stack(cpu)), linear, len, X86_WRITE);
    }
}

uint64_t x86_probe_read(X86Cpu *cpu, uint64_t linear)
{
    How how = explicit_access(cpu, operand_in_stack(cpu));
    check(cpu, how, linear, 1);
    return x86_translate(cpu, how.mode, linear, X86_READ)->physical | (linear & X86_PAGE_MASK);
}

uint8_t *x86_host_span(X86Cpu *cpu, uint64_t linear, X86Access access, unsigned *len)
{
    const X86TlbEntry *e = x86_tlb_slot(cpu, linear);
    if (!x86_tlb_hit(access == X86_WRITE ? e->write : e->read, linear, 1)) {
        return NULL;
    }
    *len = X86_PAGE_SIZE - (linear & X86_PAGE_MASK);
    return (uint8_t *)(linear + e->addend);
}

/* --- reading and writing in place --- */

void *x86_rmw_begin_slow(X86Cpu *cpu, uint64_t linear, unsigned size, bool locked, bool stack, X86Rmw *rmw)
{
    How  how       = explicit_access(cpu, stack);
    bool exclusive = false;

    for (;;) {
        probe(cpu, how, linear, size, X86_WRITE);
        unsigned    offset = linear & X86_PAGE_MASK;
        X86TlbPage *page   = x86_translate(cpu, how.mode, linear, X86_WRITE);
        bool        one    = offset + size <= X86_PAGE_SIZE;
        bool        line   = (linear & 63) <= 64 - size;

        if (one && page->host && page->writable && (!locked || line || exclusive)) {
            *rmw = (X86Rmw){
                .kind       = X86_RMW_WATCHED,
                .size       = (uint8_t)size,
                .exclusive  = exclusive,
                .ram        = page->ram,
                .ram_offset = page->ram_offset + offset,
                .linear     = linear,
            };
            note_breakpoints(cpu, linear, size, X86_WRITE);
            void *at = page->host + offset;
            if (!ram_page_watched(page->ram, page->ram_offset)) {
                stored(cpu, how, page, offset, size); /* fast from now on */
            }
            if (!locked || line) {
                return at;
            }
            /* In an exclusive section: a copy spares the host the split lock. */
            rmw->kind = X86_RMW_COPY;
            ram_copy_out(rmw->copy, at, size);
            return rmw->copy;
        }
        if (!locked || exclusive) {
            break;
        }
        x86_exclusive_begin(cpu); /* others may have run: look again */
        exclusive = true;
    }

    *rmw      = (X86Rmw){ .kind = X86_RMW_COPY, .size = (uint8_t)size, .exclusive = exclusive, .linear = linear };
    how.align = false;
    for (unsigned i = 0; i < size; i += 8) {
        unsigned n       = MIN(size - i, 8u);
        rmw->copy[i / 8] = load(cpu, how, linear_plus(cpu, linear, i), n);
    }
    return rmw->copy;
}

void x86_rmw_end_slow(X86Cpu *cpu, X86Rmw *rmw)
{
    if (rmw->kind == X86_RMW_WATCHED) {
        if (ram_page_watched(rmw->ram, rmw->ram_offset)) {
            x86_ram_written(cpu, rmw->ram, rmw->ram_offset, rmw->size);
        }
    } else if (rmw->kind == X86_RMW_COPY) {
        How how   = explicit_access(cpu, false);
        how.align = false;
        for (unsigned i = 0; i < rmw->size; i += 8) {
            unsigned n = MIN(rmw->size - i, 8u);
            store(cpu, how, linear_plus(cpu, rmw->linear, i), rmw->copy[i / 8], n);
        }
    }
    if (rmw->exclusive) {
        x86_exclusive_end(cpu);
    }
}

/* --- segmentation --- */

uint64_t x86_ea_slow(X86Cpu *cpu, const X86Insn *in, uint64_t sum, unsigned len, X86Access access)
{
    if (in->address == X86_ADDRESS_BASED) {
        return cpu->seg[in->seg].base + sum;
    }
    uint64_t offset = in->addrsize == 8 ? sum : in->addrsize == 4 ? (uint32_t)sum : (uint16_t)sum;
    return x86_linear(cpu, in->seg, offset, len, access);
}

uint64_t x86_linear(X86Cpu *cpu, unsigned seg, uint64_t offset, unsigned len, X86Access access)
{
    const X86Segment *s     = &cpu->seg[seg];
    bool              stack = seg == X86_SS;

    if (cpu->code_size == X86_CODE64) {
        uint64_t linear = seg == X86_FS || seg == X86_GS ? s->base + offset : offset;
        if (!x86_canonical(cpu, linear) || !x86_canonical(cpu, linear + len - 1)) {
            raise_not_canonical(cpu, stack);
        }
        return linear;
    }

    bool protected = (cpu->cr0 & CR0_PE) && !(cpu->eflags & EFLAGS_VM);
    if (protected) {
        bool code = s->attr & SEG_CODE;
        bool bad  = (s->attr & SEG_UNUSABLE) || !(s->attr & SEG_P);
        if (access == X86_WRITE) {
            bad |= code || !(s->attr & SEG_W);
        } else if (access == X86_READ) {
            bad |= code && !(s->attr & SEG_R);
        }
        if (bad) {
            x86_raise(cpu, stack ? X86_SS_FAULT : X86_GP);
        }
    }
    uint64_t last = offset + len - 1;
    bool     outside;
    if (protected && !(s->attr & SEG_CODE) && (s->attr & SEG_E)) {
        outside = offset <= s->limit || last > (s->attr & SEG_DB ? UINT64_C(0xffffffff) : UINT64_C(0xffff));
    } else {
        outside = last > s->limit;
    }
    if (outside) {
        x86_raise(cpu, stack ? X86_SS_FAULT : X86_GP);
    }
    return (uint32_t)(s->base + offset);
}
