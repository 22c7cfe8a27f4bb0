/* Segment registers, descriptor tables, and the CPU's derived mode.
 *
 * Specification: Intel SDM 3, chapters 3 and 5; SDM 2, LAR, LLDT, LSL, LTR, MOV, VERR (December 2023).
 * vCPU thread. Everything is checked before anything changes. */

#include "cpu/x86/cpuid.h"
#include "cpu/x86/segment.h"

/* --- the derived mode --- */

static bool is_flat_data(const X86Segment *s)
{
    return s->base == 0 && s->limit == UINT32_MAX &&
           (s->attr & (SEG_UNUSABLE | SEG_P | SEG_S | SEG_CODE | SEG_E | SEG_W)) == (SEG_P | SEG_S | SEG_W);
}

static bool is_flat_code(const X86Segment *s)
{
    return s->base == 0 && s->limit == UINT32_MAX &&
           (s->attr & (SEG_UNUSABLE | SEG_P | SEG_S | SEG_CODE | SEG_R)) == (SEG_P | SEG_S | SEG_CODE | SEG_R);
}

static inline unsigned kind_of(const X86Segment *s, bool protected)
{
    return x86_kind_of(s->limit, s->attr, protected);
}

static bool is_flat(const X86Cpu *cpu)
{
    return is_flat_code(&cpu->seg[X86_CS]) && is_flat_data(&cpu->seg[X86_SS]) && is_flat_data(&cpu->seg[X86_DS]) &&
           is_flat_data(&cpu->seg[X86_ES]);
}

/* What segment_key has of CS. */
static uint64_t code_key(const X86Segment *cs, bool protected)
{
    uint64_t key   = (uint64_t)kind_of(cs, protected) << X86_SEGMENT_KEY_CS;
    bool     pages = (cs->limit & 0xfff) == 0xfff;
    if (cs->limit < 1 << 20) {
        key |= (uint64_t)cs->limit << X86_SEGMENT_KEY_LIMIT;
    } else if (pages) {
        key |= (uint64_t)(cs->limit >> 12 | 1 << 20) << X86_SEGMENT_KEY_LIMIT;
    } else {
        key |= UINT64_C(1) << X86_SEGMENT_KEY_ODD_LIMIT;
    }
    return key;
}

static uint64_t segment_key(const X86Cpu *cpu, bool protected)
{
    static const uint8_t order[] = { X86_ES, X86_SS, X86_DS, X86_FS, X86_GS };
    uint64_t             key     = code_key(&cpu->seg[X86_CS], protected);
    for (unsigned i = 0; i < sizeof order; i++) {
        key |= (uint64_t)kind_of(&cpu->seg[order[i]], protected) << (X86_SEGMENT_KEY_FIRST + 3 * i);
    }
    return key;
}

void x86_update_mode(X86Cpu *cpu)
{
    bool protected         = cpu->cr0 & CR0_PE;
    bool              vm86 = cpu->eflags & EFLAGS_VM;
    const X86Segment *cs   = &cpu->seg[X86_CS];

    cpu->long_mode  = cpu->efer & EFER_LMA;
    cpu->cpl        = !protected ? 0 : vm86 ? 3 : (cpu->seg[X86_SS].attr & SEG_DPL) >> SEG_DPL_SHIFT;
    cpu->code_size  = cpu->long_mode && cs->attr & SEG_L ? X86_CODE64 : cs->attr & SEG_DB ? X86_CODE32 : X86_CODE16;
    cpu->stack_size = cpu->code_size == X86_CODE64 ? 8 : cpu->seg[X86_SS].attr & SEG_DB ? 4 : 2;
    cpu->flat       = cpu->code_size == X86_CODE64 || is_flat(cpu);
    cpu->segment_changes++;

    cpu->segment_key = cpu->code_size == X86_CODE64 ? 0 : segment_key(cpu, protected && !vm86);

    uint32_t key  = 0;
    unsigned used = 0;
#define ADD(value, bits) (key |= (uint32_t)(value) << used, used += (bits))
    ADD(cpu->code_size, 2);
    ADD(cpu->stack_size >> 2, 2);
    ADD(cpu->flat, 1);
    g_assert(used == X86_MODE_KEY_CPL);
    ADD(cpu->cpl, 2);
    ADD(protected, 1);
    ADD(vm86, 1);
    ADD(cpu->long_mode, 1);
    ADD((cpu->cr0 & CR0_TS) != 0, 1);
    ADD((cpu->cr0 & CR0_EM) != 0, 1);
    ADD((cpu->cr0 & CR0_MP) != 0, 1);
    ADD((cpu->cr4 & CR4_OSFXSR) != 0, 1);
    ADD((cpu->cr4 & CR4_OSXSAVE) != 0, 1);
    ADD((cpu->xcr0 & XCR0_AVX) != 0, 1);
    ADD(cpu->smm, 1);
#undef ADD
    g_assert(used <= X86_SEGMENT_KEY_FIRST);
    cpu->mode_key = key;
    x86_tlb_select(cpu);
}

void x86_update_code(X86Cpu *cpu)
{
    if ((cpu->seg[X86_CS].attr & SEG_DB ? X86_CODE32 : X86_CODE16) != cpu->code_size || cpu->flat != is_flat(cpu)) {
        x86_update_mode(cpu);
        return;
    }
    cpu->segment_changes++;
    cpu->segment_key = (cpu->segment_key & ~X86_SEGMENT_KEY_CODE) | code_key(&cpu->seg[X86_CS], true);
}

/* The same when nothing but ES, DS, FS or GS has changed. */
static void update_segment(X86Cpu *cpu, unsigned seg)
{
    bool protected = (cpu->cr0 & CR0_PE) && !(cpu->eflags & EFLAGS_VM);

    cpu->segment_changes++;
    if (cpu->code_size == X86_CODE64) {
        return;
    }
    unsigned shift = x86_segment_key_shift(seg);
    cpu->segment_key &= ~((uint64_t)7 << shift);
    cpu->segment_key |= (uint64_t)kind_of(&cpu->seg[seg], protected) << shift;
    if (cpu->flat != is_flat(cpu)) {
        x86_update_mode(cpu);
    }
}

/* --- descriptors --- */

_Noreturn void x86_raise_selector(X86Cpu *cpu, X86Vector vector, uint16_t selector, unsigned ext)
{
    x86_raise_error(cpu, vector, (selector & 0xfffcu) | ext);
}

bool x86_read_descriptor(X86Cpu *cpu, uint16_t selector, bool system16, X86Descriptor *d)
{
    bool     local = selector & 4;
    uint64_t base  = local ? cpu->ldt.base : cpu->gdt.base;
    uint32_t limit = local ? cpu->ldt.limit : cpu->gdt.limit;
    uint32_t index = selector & 0xfff8u;
    if ((local && (cpu->ldt.attr & SEG_UNUSABLE)) || index + 7 > limit) {
        return false;
    }
    d->address    = base + index;
    d->selector   = selector;
    d->upper      = 0;
    uint64_t both = x86_load_system(cpu, d->address, 8);
    d->low        = (uint32_t)both;
    d->high       = (uint32_t)(both >> 32);
    if (system16 && !(x86_desc_type(d) & SEG_S)) {
        if (index + 15 > limit) {
            return false;
        }
        d->upper = (uint32_t)x86_load_system(cpu, d->address + 8, 4);
    }
    return true;
}

void x86_need_descriptor(X86Cpu *cpu, uint16_t selector, bool system16, X86Vector vector, unsigned ext,
                         X86Descriptor *d)
{
    if (!x86_read_descriptor(cpu, selector, system16, d)) {
        x86_raise_selector(cpu, vector, selector, ext);
    }
}

void x86_mark_accessed(X86Cpu *cpu, X86Descriptor *d)
{
    if (!(d->high & (SEG_A << 8))) {
        d->high |= SEG_A << 8;
        x86_store_system(cpu, d->address + 5, (d->high >> 8) & 0xff, 1);
    }
}

void x86_set_segment(X86Cpu *cpu, unsigned seg, uint16_t selector, const X86Descriptor *d)
{
    x86_desc_fill(&cpu->seg[seg], d);
    cpu->seg[seg].selector = selector;
}

void x86_set_null_segment(X86Cpu *cpu, unsigned seg, uint16_t selector)
{
    /* SS keeps its DPL, which is where CPL lives, as processors do it. */
    uint32_t    dpl = seg == X86_SS ? (selector & 3u) << SEG_DPL_SHIFT : 0;
    X86Segment *s   = &cpu->seg[seg];
    /* AMD's older processors leave base and limit alone (APM 2, 4.5.3), which shows in FS and GS. */
    bool keeps = cpu->model && cpu->model->kind == X86_VENDOR_AMD && !x86_has(cpu, X86_FEATURE_NULL_SEL_CLR_BASE);
    *s         = (X86Segment){
                .base = keeps ? s->base : 0, .limit = keeps ? s->limit : 0, .attr = SEG_UNUSABLE | dpl, .selector = selector
    };
}

void x86_set_flat_segment(X86Cpu *cpu, unsigned seg, uint16_t selector, unsigned dpl, uint32_t attr)
{
    cpu->seg[seg] = (X86Segment){ .limit    = UINT32_MAX,
                                  .attr     = SEG_P | SEG_S | SEG_G | dpl << SEG_DPL_SHIFT | attr,
                                  .selector = selector };
}

void x86_set_vm86_segment(X86Cpu *cpu, unsigned seg, uint16_t selector)
{
    cpu->seg[seg] = (X86Segment){ .base     = (uint32_t)selector << 4,
                                  .limit    = 0xffff,
                                  .attr     = SEG_P | SEG_S | SEG_DPL | SEG_W | SEG_A,
                                  .selector = selector };
}

/* --- segment loads --- */

void x86_load_segment_real(X86Cpu *cpu, unsigned seg, uint16_t selector)
{
    if (cpu->eflags & EFLAGS_VM) {
        x86_set_vm86_segment(cpu, seg, selector);
    } else {
        /* Limit and attributes stay: "unreal" mode depends on it. */
        X86Segment *s = &cpu->seg[seg];
        s->selector   = selector;
        s->base       = (uint32_t)selector << 4;
        if (s->attr & SEG_UNUSABLE) {
            s->attr  = SEG_P | SEG_S | SEG_W | SEG_A;
            s->limit = 0xffff;
        }
    }
    if (seg == X86_SS || seg == X86_CS) {
        x86_update_mode(cpu);
    } else {
        update_segment(cpu, seg);
    }
}

static void load_stack_segment(X86Cpu *cpu, uint16_t selector)
{
    if (x86_null_selector(selector)) {
        if (cpu->code_size != X86_CODE64 || cpu->cpl == 3 || (selector & 3) != cpu->cpl) {
            x86_raise_error(cpu, X86_GP, 0);
        }
        x86_set_null_segment(cpu, X86_SS, selector);
        return;
    }
    X86Descriptor d;
    x86_need_descriptor(cpu, selector, false, X86_GP, 0, &d);
    if ((selector & 3) != cpu->cpl || !x86_desc_is_writable_data(&d) || x86_desc_dpl(&d) != cpu->cpl) {
        x86_raise_selector(cpu, X86_GP, selector, 0);
    }
    if (!x86_desc_present(&d)) {
        x86_raise_selector(cpu, X86_SS_FAULT, selector, 0);
    }
    x86_mark_accessed(cpu, &d);
    x86_set_segment(cpu, X86_SS, selector, &d);
}

void x86_load_segment(X86Cpu *cpu, unsigned seg, uint16_t selector)
{
    if (!x86_protected_mode(cpu)) {
        x86_load_segment_real(cpu, seg, selector);
        return;
    }
    if (seg == X86_SS) {
        load_stack_segment(cpu, selector);
    } else if (x86_null_selector(selector)) {
        x86_set_null_segment(cpu, seg, selector);
    } else {
        X86Descriptor d;
        x86_need_descriptor(cpu, selector, false, X86_GP, 0, &d);
        unsigned type = x86_desc_type(&d), rpl = selector & 3u, dpl = x86_desc_dpl(&d);
        bool     readable   = (type & SEG_S) && (!(type & SEG_CODE) || (type & SEG_R));
        bool     conforming = (type & SEG_CODE) && (type & SEG_C);
        if (!readable || (!conforming && (rpl > dpl || cpu->cpl > dpl))) {
            x86_raise_selector(cpu, X86_GP, selector, 0);
        }
        if (!x86_desc_present(&d)) {
            x86_raise_selector(cpu, X86_NP, selector, 0);
        }
        x86_mark_accessed(cpu, &d);
        x86_set_segment(cpu, seg, selector, &d);
    }
    if (seg == X86_SS) {
        x86_update_mode(cpu);
    } else {
        update_segment(cpu, seg);
    }
}

void x86_drop_privileged_segments(X86Cpu *cpu, unsigned cpl)
{
    static const uint8_t segments[] = { X86_ES, X86_FS, X86_GS, X86_DS };
    for (unsigned i = 0; i < sizeof segments; i++) {
        X86Segment *s          = &cpu->seg[segments[i]];
        bool        conforming = (s->attr & SEG_CODE) && (s->attr & SEG_C);
        if (!(s->attr & SEG_UNUSABLE) && !conforming && cpl > (s->attr & SEG_DPL) >> SEG_DPL_SHIFT) {
            s->selector = 0;
            s->attr     = SEG_UNUSABLE;
        }
    }
}

/* --- LDT and task register --- */

static void need_protected_cpl0(X86Cpu *cpu)
{
    if (!x86_protected_mode(cpu)) {
        x86_raise(cpu, X86_UD);
    }
    if (cpu->cpl != 0) {
        x86_raise_error(cpu, X86_GP, 0);
    }
}

/* Reads a descriptor for LLDT or LTR: GDT only, of the wanted type, present. */
static void need_system_segment(X86Cpu *cpu, uint16_t selector, uint32_t types, X86Descriptor *d)
{
    if (selector & 4) {
        x86_raise_selector(cpu, X86_GP, selector, 0);
    }
    /* 16 bytes in 64-bit mode only (SDM 2, LLDT, LTR). */
    x86_need_descriptor(cpu, selector, cpu->code_size == X86_CODE64, X86_GP, 0, d);
    unsigned type = x86_desc_type(d);
    if ((type & SEG_S) || !(types >> type & 1)) {
        x86_raise_selector(cpu, X86_GP, selector, 0);
    }
    if (!x86_desc_present(d)) {
        x86_raise_selector(cpu, X86_NP, selector, 0);
    }
    if (!x86_canonical(cpu, x86_desc_segment(d).base)) {
        x86_raise_selector(cpu, X86_GP, selector, 0);
    }
}

void x86_lldt(X86Cpu *cpu, uint16_t selector)
{
    need_protected_cpl0(cpu);
    if (x86_null_selector(selector)) {
        cpu->ldt = (X86Segment){ .attr = SEG_UNUSABLE, .selector = selector };
        cpu->segment_changes++;
        return;
    }
    X86Descriptor d;
    need_system_segment(cpu, selector, 1u << SYS_LDT, &d);
    cpu->ldt = x86_desc_segment(&d);
    cpu->segment_changes++;
}

void x86_ltr(X86Cpu *cpu, uint16_t selector)
{
    need_protected_cpl0(cpu);
    if (x86_null_selector(selector)) {
        x86_raise_error(cpu, X86_GP, 0);
    }
    uint32_t types = 1u << SYS_TSS_AVAILABLE;
    if (!cpu->long_mode) {
        types |= 1u << SYS_TSS16_AVAILABLE;
    }
    X86Descriptor d;
    need_system_segment(cpu, selector, types, &d);
    d.high |= 2u << 8; /* busy */
    x86_store_system(cpu, d.address + 4, d.high, 4);
    cpu->tr = x86_desc_segment(&d);
}

/* --- LAR, LSL, VERR, VERW --- */

/* Reads the descriptor that LAR and LSL look at; false when it is out of reach or of none of the types. */
static bool visible_descriptor(X86Cpu *cpu, uint16_t selector, uint32_t system_types, X86Descriptor *d)
{
    if (x86_null_selector(selector) || !x86_read_descriptor(cpu, selector, false, d)) {
        return false;
    }
    unsigned type = x86_desc_type(d), rpl = selector & 3u, dpl = x86_desc_dpl(d);
    if (!(type & SEG_S) && !(system_types >> type & 1)) {
        return false;
    }
    if (x86_desc_is_code(d) && x86_desc_is_conforming(d)) {
        return true;
    }
    return dpl >= cpu->cpl && dpl >= rpl;
}

bool x86_lar(X86Cpu *cpu, uint16_t selector, uint32_t *rights)
{
    static const uint32_t legacy = 1u << SYS_TSS16_AVAILABLE | 1u << SYS_LDT | 1u << SYS_TSS16_BUSY |
                                   1u << SYS_CALL_GATE16 | 1u << SYS_TASK_GATE | 1u << SYS_TSS_AVAILABLE |
                                   1u << SYS_TSS_BUSY | 1u << SYS_CALL_GATE;
    static const uint32_t in_long_mode =
        1u << SYS_LDT | 1u << SYS_TSS_AVAILABLE | 1u << SYS_TSS_BUSY | 1u << SYS_CALL_GATE;
    X86Descriptor d;
    if (!visible_descriptor(cpu, selector, cpu->long_mode ? in_long_mode : legacy, &d)) {
        return false;
    }
    *rights = d.high & 0x00ffff00; /* bits 19:16 are undefined: processors give the limit's */
    return true;
}

bool x86_lsl(X86Cpu *cpu, uint16_t selector, uint32_t *limit)
{
    static const uint32_t legacy =
        1u << SYS_TSS16_AVAILABLE | 1u << SYS_LDT | 1u << SYS_TSS16_BUSY | 1u << SYS_TSS_AVAILABLE | 1u << SYS_TSS_BUSY;
    static const uint32_t in_long_mode = 1u << SYS_LDT | 1u << SYS_TSS_AVAILABLE | 1u << SYS_TSS_BUSY;
    X86Descriptor         d;
    if (!visible_descriptor(cpu, selector, cpu->long_mode ? in_long_mode : legacy, &d)) {
        return false;
    }
    *limit = x86_desc_limit(&d);
    return true;
}

bool x86_verr(X86Cpu *cpu, uint16_t selector)
{
    X86Descriptor d;
    return visible_descriptor(cpu, selector, 0, &d) && (!x86_desc_is_code(&d) || (x86_desc_type(&d) & SEG_R));
}

bool x86_verw(X86Cpu *cpu, uint16_t selector)
{
    X86Descriptor d;
    return visible_descriptor(cpu, selector, 0, &d) && x86_desc_is_writable_data(&d);
}

/* --- stacks --- */

bool x86_inside_limit(uint32_t limit, uint32_t attr, uint64_t offset, unsigned len)
{
    uint64_t last = offset + len - 1;
    if ((attr & (SEG_CODE | SEG_E)) == SEG_E) {
        return offset > limit && last <= (attr & SEG_DB ? UINT32_MAX : 0xffffu);
    }
    return last <= limit;
}

X86Stack x86_stack_current(X86Cpu *cpu)
{
    return (X86Stack){
        .seg = cpu->seg[X86_SS], .sp = cpu->gpr[X86_RSP], .width = cpu->stack_size, .cpl = cpu->cpl, .code = 0
    };
}

/* The stack pointer as an offset: what its width leaves of it. */
static uint64_t cut_sp(unsigned width, uint64_t sp)
{
    return width == 8 ? sp : width == 4 ? (uint32_t)sp : (uint16_t)sp;
}

static uint64_t stack_linear(X86Cpu *cpu, const X86Stack *s, unsigned size)
{
    uint64_t offset = cut_sp(s->width, s->sp);
    if (s->width == 8) {
        if (!x86_canonical(cpu, offset) || !x86_canonical(cpu, offset + size - 1)) {
            x86_raise_error(cpu, X86_SS_FAULT, s->code);
        }
        return offset;
    }
    if ((s->seg.attr & SEG_UNUSABLE) || !x86_inside_limit(s->seg.limit, s->seg.attr, offset, size)) {
        x86_raise_error(cpu, X86_SS_FAULT, s->code);
    }
    return (uint32_t)(s->seg.base + offset);
}

void x86_stack_push(X86Cpu *cpu, X86Stack *s, uint64_t value, unsigned size)
{
    s->sp -= size;
    x86_store_cpl(cpu, stack_linear(cpu, s, size), value, size, s->cpl);
}

uint64_t x86_stack_pop(X86Cpu *cpu, X86Stack *s, unsigned size)
{
    uint64_t value = x86_load_cpl(cpu, stack_linear(cpu, s, size), size, s->cpl);
    s->sp += size;
    return value;
}

void x86_stack_skip(X86Stack *s, unsigned bytes)
{
    s->sp += bytes;
}

void x86_set_sp(X86Cpu *cpu, unsigned width, uint64_t sp)
{
    uint64_t *rsp = &cpu->gpr[X86_RSP];
    *rsp          = width == 8 ? sp : width == 4 ? (uint32_t)sp : (*rsp & ~UINT64_C(0xffff)) | (uint16_t)sp;
}

static X86Stack stack_of_ring64(X86Cpu *cpu, unsigned cpl, unsigned ist, unsigned ext)
{
    uint32_t at = ist ? 0x24 + 8 * (ist - 1) : 4 + 8 * cpl;
    if ((cpu->tr.attr & SEG_UNUSABLE) || at + 7 > cpu->tr.limit) {
        x86_raise_selector(cpu, X86_TS, cpu->tr.selector, ext);
    }
    return (X86Stack){ .seg   = { .attr = SEG_UNUSABLE | cpl << SEG_DPL_SHIFT, .selector = (uint16_t)cpl },
                       .sp    = x86_load_system(cpu, cpu->tr.base + at, 8),
                       .width = 8,
                       .cpl   = (uint8_t)cpl,
                       .code  = ext };
}

X86Stack x86_stack_of_ring(X86Cpu *cpu, unsigned cpl, unsigned ist, unsigned ext)
{
    if (cpu->long_mode) {
        return stack_of_ring64(cpu, cpl, ist, ext);
    }
    bool     wide = (cpu->tr.attr & SEG_TYPE) >= SYS_TSS_AVAILABLE;
    uint32_t at   = wide ? 4 + 8 * cpl : 2 + 4 * cpl;
    if ((cpu->tr.attr & SEG_UNUSABLE) || at + (wide ? 5 : 3) > cpu->tr.limit) {
        x86_raise_selector(cpu, X86_TS, cpu->tr.selector, ext);
    }
    uint64_t sp = x86_load_system(cpu, cpu->tr.base + at, wide ? 4 : 2);
    uint16_t ss = (uint16_t)x86_load_system(cpu, cpu->tr.base + at + (wide ? 4 : 2), 2);
    if (x86_null_selector(ss)) {
        x86_raise_selector(cpu, X86_TS, ss, ext);
    }
    X86Descriptor d;
    x86_need_descriptor(cpu, ss, false, X86_TS, ext, &d);
    if ((ss & 3u) != cpl || x86_desc_dpl(&d) != cpl || !x86_desc_is_writable_data(&d)) {
        x86_raise_selector(cpu, X86_TS, ss, ext);
    }
    if (!x86_desc_present(&d)) {
        x86_raise_selector(cpu, X86_SS_FAULT, ss, ext);
    }
    x86_mark_accessed(cpu, &d);
    return (X86Stack){
        .seg   = { .base = x86_desc_base(&d), .limit = x86_desc_limit(&d), .attr = x86_desc_attr(&d), .selector = ss },
        .sp    = sp,
        .width = x86_desc_attr(&d) & SEG_DB ? 4 : 2,
        .cpl   = (uint8_t)cpl,
        .code  = (ss & 0xfffcu) | ext
    };
}

void x86_stack_enter(X86Cpu *cpu, const X86Stack *s)
{
    cpu->seg[X86_SS] = s->seg;
    x86_set_sp(cpu, s->width, s->sp);
}

void x86_check_target(X86Cpu *cpu, const X86Descriptor *cs, uint64_t offset, unsigned ext)
{
    bool wide = cpu->long_mode && x86_desc_attr(cs) & SEG_L;
    if (wide ? !x86_canonical(cpu, offset) : offset > x86_desc_limit(cs)) {
        x86_raise_error(cpu, X86_GP, ext);
    }
}
