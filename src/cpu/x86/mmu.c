/* Page walks: 32-bit, PAE, 4-level and 5-level paging, rights, accessed and dirty bits, page faults.
 *
 * Specification: Intel SDM 3, chapter 4 (December 2023). vCPU thread, inside x86_run(), but for
 * x86_debug_translate(). Hot set (park.h). */

#include "cpu/x86/cpuid.h"
#include "cpu/x86/park.h"
#include "cpu/x86/tlb.h"

#include "memory/ram.h"

#include <inttypes.h>

#define PTE_P   UINT64_C(0x001)
#define PTE_W   UINT64_C(0x002)
#define PTE_U   UINT64_C(0x004)
#define PTE_A   UINT64_C(0x020)
#define PTE_D   UINT64_C(0x040)
#define PTE_PS  UINT64_C(0x080)
#define PTE_G   UINT64_C(0x100)
#define PTE_XD  (UINT64_C(1) << 63)
#define PTE_PAT UINT64_C(0x1000) /* of large pages */

enum { PF_P = 1, PF_W = 2, PF_U = 4, PF_RSVD = 8, PF_I = 16 };

enum { MAX_LEVELS = 5 };

typedef struct Entry {
    uint64_t physical, value;
} Entry;

typedef struct Walk {
    Entry    entries[MAX_LEVELS]; /* from the root down, all present */
    unsigned n;
    unsigned entry_size;
    uint64_t physical; /* of the 4 KiB page */
    unsigned shift;    /* of the mapping */
    bool     user, write, execute, global, dirty;
} Walk;

/* The format of one kind of paging: the shift of each level's index, and whether that level may map a page. */
typedef struct Format {
    uint8_t levels, entry_size, index_bits;
    uint8_t shift[MAX_LEVELS];
} Format;

static const Format   format_32  = { 2, 4, 10, { 22, 12 } };
static const Format   format_pae = { 2, 8, 9, { 21, 12 } };
static const Format   format_4   = { 4, 8, 9, { 39, 30, 21, 12 } };
static const Format   format_5   = { 5, 8, 9, { 48, 39, 30, 21, 12 } };
static const uint64_t low_4_gib  = UINT64_C(0xffffffff);

static uint64_t physical_mask(const X86Cpu *cpu)
{
    return (UINT64_C(1) << cpu->phys_bits) - 1;
}

static bool maps_page(const X86Cpu *cpu, unsigned shift, uint64_t value)
{
    if (shift == 12) {
        return true;
    }
    if (!(value & PTE_PS)) {
        return false;
    }
    if (shift == 22) {
        return cpu->cr4 & CR4_PSE;
    }
    return shift == 21 || (shift == 30 && x86_has(cpu, X86_FEATURE_PDPE1GB));
}

/* Reserved bits of a present entry (SDM 3, tables 4-4 to 4-20). */
static uint64_t reserved_bits(const X86Cpu *cpu, unsigned shift, bool page)
{
    if (shift == 22 || (shift == 12 && !(cpu->cr4 & CR4_PAE))) {
        if (!page || shift == 12) {
            return 0;
        }
        /* Bits 13 to 20 are address bits 32 to 39 as far as the processor has them; bit 21 is reserved. */
        unsigned have = !x86_has(cpu, X86_FEATURE_PSE36) || cpu->phys_bits <= 32 ? 0 : cpu->phys_bits - 32;
        uint64_t high = have >= 8 ? 0 : UINT64_C(0x1fe000) & ~(((UINT64_C(1) << have) - 1) << 13);
        return high | 1 << 21;
    }
    uint64_t reserved = UINT64_C(0x000fffffffffffff) & ~physical_mask(cpu);
    if (!(cpu->efer & EFER_LMA)) {
        reserved |= UINT64_C(0x7ff0000000000000);
    }
    if (!(cpu->efer & EFER_NXE)) {
        reserved |= PTE_XD;
    }
    if (shift == 21 && page) {
        reserved |= UINT64_C(0x1fe000);
    }
    if (shift == 30) {
        reserved |= page ? UINT64_C(0x3fffe000) : PTE_PS;
        /* With 1 GiB pages PS is never reserved here: `page` is true then. */
    }
    if (shift == 39 || shift == 48) {
        reserved |= PTE_PS;
    }
    return reserved;
}

/* Finds the mapping. false: `*error` has PF_P and PF_RSVD. Raises nothing and changes nothing. */
static bool walk_find(X86Cpu *cpu, uint64_t linear, Walk *w, uint32_t *error)
{
    const Format *format;
    uint64_t      table;

    *w = (Walk){ .user = true, .write = true, .execute = true };
    if (!(cpu->cr4 & CR4_PAE) && !cpu->long_mode) {
        format = &format_32;
        table  = cpu->cr3 & UINT64_C(0xfffff000);
    } else if (!cpu->long_mode) {
        uint64_t pdpte = cpu->tlb->pdpte[linear >> 30 & 3];
        if (!(pdpte & PTE_P)) {
            *error = 0;
            return false;
        }
        format = &format_pae;
        table  = pdpte & UINT64_C(0x000ffffffffff000);
    } else {
        format = cpu->cr4 & CR4_LA57 ? &format_5 : &format_4;
        table  = cpu->cr3 & UINT64_C(0x000ffffffffff000);
    }

    w->entry_size = format->entry_size;
    for (unsigned level = 0;; level++) {
        unsigned shift = format->shift[level];
        uint64_t index = linear >> shift & ((1u << format->index_bits) - 1);
        Entry   *e     = &w->entries[level];

        e->physical = table + index * format->entry_size;
        e->value    = tlb_read_entry(cpu, e->physical, format->entry_size);
        w->n        = level + 1;
        if (!(e->value & PTE_P)) {
            *error = 0;
            return false;
        }
        bool page = maps_page(cpu, shift, e->value);
        if (e->value & reserved_bits(cpu, shift, page)) {
            *error = PF_P | PF_RSVD;
            return false;
        }
        w->user &= !!(e->value & PTE_U);
        w->write &= !!(e->value & PTE_W);
        w->execute &= !(e->value & PTE_XD);
        if (!page) {
            table = e->value & (format->entry_size == 8 ? UINT64_C(0x000ffffffffff000) : UINT64_C(0xfffff000));
            continue;
        }

        uint64_t inside = (UINT64_C(1) << shift) - 1;
        uint64_t base   = e->value & UINT64_C(0x000ffffffffff000) & ~inside;
        if (shift == 22) {
            base = (e->value & UINT64_C(0xffc00000)) | (e->value & UINT64_C(0x1fe000)) << 19;
        }
        w->physical = (base | (linear & inside)) & ~(uint64_t)X86_PAGE_MASK;
        w->shift    = shift;
        w->global   = (e->value & PTE_G) && (cpu->cr4 & CR4_PGE);
        w->dirty    = e->value & PTE_D;
        return true;
    }
}

/* The common case at full speed: four or five levels in RAM, everything present, and no bit to be set. false: it is not
 * that; nothing has been done. */
static inline bool walk_plain(X86Cpu *cpu, uint64_t linear, bool write, Walk *w)
{
    static const uint64_t address = UINT64_C(0x000ffffffffff000);

    if (!cpu->long_mode) {
        return false;
    }
    /* What must be set and what must not in every entry. */
    uint64_t no    = (address & ~physical_mask(cpu)) | (cpu->efer & EFER_NXE ? 0 : PTE_XD);
    uint64_t table = cpu->cr3 & address, all = ~UINT64_C(0), any = 0, value;
    unsigned shift = cpu->cr4 & CR4_LA57 ? 48 : 39;

    for (;; shift -= 9) {
        uint64_t        at = table + (linear >> shift & 511) * 8;
        const TlbRange *r  = tlb_range(cpu, at);
        if (!r) {
            return false;
        }
        value = __atomic_load_n((const uint64_t *)(r->host + (at - r->start)), __ATOMIC_RELAXED);
        all &= value;
        any |= value;
        if ((value & (PTE_P | PTE_A | no)) != (PTE_P | PTE_A)) {
            return false;
        }
        if (shift == 12) {
            break;
        }
        if (value & PTE_PS) {
            if (shift == 21 ? value & UINT64_C(0x1fe000)
                            : shift != 30 || (value & UINT64_C(0x3fffe000)) || !x86_has(cpu, X86_FEATURE_PDPE1GB)) {
                return false; /* reserved */
            }
            break;
        }
        table = value & address;
    }
    if (write && !(value & PTE_D)) {
        return false;
    }
    uint64_t inside = (UINT64_C(1) << shift) - 1;
    w->physical     = ((value & address & ~inside) | (linear & inside)) & ~(uint64_t)X86_PAGE_MASK;
    w->shift        = shift;
    w->user         = all & PTE_U;
    w->write        = all & PTE_W;
    w->execute      = !(any & PTE_XD);
    w->global       = (value & PTE_G) && (cpu->cr4 & CR4_PGE);
    w->dirty        = value & PTE_D;
    return true;
}

/* The rights that the mapping gives in `mode`, as bits 1 << X86Access. */
static unsigned walk_rights(const X86Cpu *cpu, const Walk *w, X86TlbMode mode)
{
    unsigned rights = 0;

    if (mode == X86_TLB_USER) {
        if (w->user) {
            rights = 1 << X86_READ | (w->write ? 1 << X86_WRITE : 0) | (w->execute ? 1 << X86_FETCH : 0);
        }
        return rights;
    }
    if (!w->user || mode == X86_TLB_KERNEL_OPEN) {
        rights = 1 << X86_READ | (w->write || !(cpu->cr0 & CR0_WP) ? 1 << X86_WRITE : 0);
    }
    if (w->execute && !(w->user && (cpu->cr4 & CR4_SMEP))) {
        rights |= 1 << X86_FETCH;
    }
    return rights;
}

/* Sets accessed bits, and the dirty bit of the last entry for a write. false: an entry has changed meanwhile. */
static bool walk_set_bits(X86Cpu *cpu, const Walk *w, bool write)
{
    for (unsigned i = 0; i < w->n; i++) {
        const Entry *e    = &w->entries[i];
        uint64_t     want = e->value | PTE_A | (write && i == w->n - 1 ? PTE_D : 0);
        if (want == e->value) {
            continue;
        }
        const TlbRange *r = tlb_range(cpu, e->physical);
        if (!r) {
            x86_io_store(cpu, cpu->vcpu.memory, e->physical, want, w->entry_size);
            continue;
        }
        if (!r->writable) {
            continue;
        }
        uint64_t offset = e->physical - r->start;
        uint8_t *at     = r->host + offset;
        bool     same;
        if (w->entry_size == 8) {
            uint64_t old = e->value;
            same = __atomic_compare_exchange_n((uint64_t *)at, &old, want, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
        } else {
            uint32_t old = (uint32_t)e->value;
            same         = __atomic_compare_exchange_n((uint32_t *)at, &old, (uint32_t)want, false, __ATOMIC_SEQ_CST,
                                                       __ATOMIC_RELAXED);
        }
        if (!same) {
            return false;
        }
        if (ram_page_watched(r->ram, r->ram_offset + offset)) {
            x86_ram_written(cpu, r->ram, r->ram_offset + offset, w->entry_size);
        }
    }
    return true;
}

_Noreturn static void walk_fault(X86Cpu *cpu, X86TlbMode mode, uint64_t linear, X86Access access, uint32_t error)
{
    bool fetch_told = (cpu->cr4 & CR4_SMEP) || ((cpu->efer & EFER_NXE) && (cpu->cr4 & CR4_PAE));

    error |= access == X86_WRITE ? PF_W : 0;
    error |= mode == X86_TLB_USER ? PF_U : 0;
    error |= access == X86_FETCH && fetch_told ? PF_I : 0;
    if (log_on(cpu->vcpu.log, LOG_MMU)) {
        x86_park(cpu);
        log_print(cpu->vcpu.log, LOG_MMU, "mmu: cpu %d: page fault at %#018" PRIx64 ", error %#x, cr3 %#" PRIx64 "\n",
                  cpu->vcpu.index, linear, error, cpu->cr3);
    }
    x86_raise_page_fault(cpu, linear, error);
}

X86TlbPage *x86_translate(X86Cpu *cpu, X86TlbMode mode, uint64_t linear, X86Access access)
{
    TlbTable   *t    = tlb_table(cpu, cpu->tlb->current, mode);
    X86TlbPage *page = &t->pages[(linear >> X86_PAGE_BITS) % X86_TLB_SIZE];
    if (page->linear == ((linear & ~(uint64_t)X86_PAGE_MASK) | 1) && (page->rights & 1 << access)) {
        return page;
    }

    if (!(cpu->cr0 & CR0_PG)) {
        return tlb_fill(cpu, mode, access, linear, linear & low_4_gib, 1 << X86_READ | 1 << X86_WRITE | 1 << X86_FETCH,
                        32, false);
    }

    Walk     w __attribute__((uninitialized)); /* clearing it takes as long as walking */
    uint32_t error;
    unsigned rights;
    if (walk_plain(cpu, linear, access == X86_WRITE, &w)) {
        rights = walk_rights(cpu, &w, mode);
        if (!(rights & 1 << access)) {
            walk_fault(cpu, mode, linear, access, PF_P);
        }
    } else {
        do {
            if (!walk_find(cpu, linear, &w, &error)) {
                walk_fault(cpu, mode, linear, access, error);
            }
            rights = walk_rights(cpu, &w, mode);
            if (!(rights & 1 << access)) {
                walk_fault(cpu, mode, linear, access, PF_P);
            }
        } while (!walk_set_bits(cpu, &w, access == X86_WRITE));
    }

    if (!w.dirty && access != X86_WRITE) {
        rights &= ~(1u << X86_WRITE); /* the first write has to set the dirty bit */
    }
    if (log_on(cpu->vcpu.log, LOG_MMU)) {
        x86_park(cpu);
        log_print(cpu->vcpu.log, LOG_MMU, "mmu: cpu %d: %#018" PRIx64 " is %#" PRIx64 ", rights %s%s%s, %s\n",
                  cpu->vcpu.index, linear, w.physical, rights & 1 << X86_READ ? "r" : "-",
                  rights & 1 << X86_WRITE ? "w" : "-", rights & 1 << X86_FETCH ? "x" : "-",
                  mode == X86_TLB_USER ? "user" : "supervisor");
    }
    return tlb_fill(cpu, mode, access, linear, w.physical, rights, w.shift, w.global);
}

bool x86_debug_translate(X86Cpu *cpu, uint64_t linear, uint64_t *physical)
{
    Walk     w;
    uint32_t error;

    if (!(cpu->cr0 & CR0_PG)) {
        *physical = linear & low_4_gib;
        return true;
    }
    if (!cpu->long_mode) {
        linear &= low_4_gib;
    } else if (!x86_canonical(cpu, linear)) {
        return false;
    }
    if (!walk_find(cpu, linear, &w, &error)) {
        return false;
    }
    *physical = w.physical | (linear & X86_PAGE_MASK);
    return true;
}
