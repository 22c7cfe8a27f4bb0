/* String instructions: MOVS, STOS, LODS, SCAS, CMPS, INS, OUTS and XLAT.
 * Specification: Intel SDM 2 (December 2023). vCPU thread, inside x86_run().
 *
 * A repeated instruction works in runs: as many elements as lie in one page on each side are done by the host's own
 * string instruction, everything else element by element through the slow paths. Registers are up to date after each
 * run, so that a fault or an interrupt finds exact progress; the instruction then starts again where it stopped. */

#include "cpu/x86/cache.h"
#include "cpu/x86/ops.h"
#include "cpu/x86/tlb.h"

enum { MOVS, STOS, LODS, SCAS, CMPS, INS, OUTS };

/* One side of a string instruction. */
typedef struct Side {
    unsigned  reg, seg;
    uint64_t  linear; /* of the current element */
    X86Access access;
} Side;

static uint64_t cut(uint64_t value, unsigned size)
{
    return size == 8 ? value : size == 4 ? (uint32_t)value : (uint16_t)value;
}

/* Finds the current element; faults of segmentation are raised here. */
static void find_element(X86Cpu *cpu, const X86Insn *in, Side *s, unsigned size)
{
    uint64_t offset = x86_get_sized(cpu, s->reg, in->addrsize);
    bool     based  = s->seg == X86_FS || s->seg == X86_GS;

    if (cpu->code_size == X86_CODE64 && !based) {
        s->linear = offset;
    } else if (cpu->flat && in->addrsize == 4 && !based && s->seg != X86_CS) {
        s->linear = offset;
    } else {
        s->linear = x86_linear(cpu, s->seg, offset, size, s->access);
    }
}

/* The source is read before anybody looks at the destination: its page fault comes before the destination's limit. */
static void probe_source(X86Cpu *cpu, const Side *from, unsigned size)
{
    unsigned left;
    if (cpu->tlb->check_alignment && from->linear & (size - 1)) {
        return; /* #AC comes before its page fault: the access itself knows */
    }
    if (!x86_host_span(cpu, from->linear, X86_READ, &left) || left < size) {
        x86_probe_read(cpu, from->linear);
        uint32_t last = (uint32_t)(from->linear + size - 1), page = last & ~(uint32_t)X86_PAGE_MASK;
        if (page != (from->linear & ~(uint64_t)X86_PAGE_MASK)) {
            x86_probe_read(cpu, page); /* where the access faults there */
        }
    }
}

/* Host address of the current element and how many elements from there on, in the direction of DF, may be accessed
 * directly. NULL: none. */
static uint8_t *find_run(X86Cpu *cpu, const X86Insn *in, const Side *s, unsigned size, bool down, uint64_t *n)
{
    unsigned left;
    uint8_t *host   = x86_host_span(cpu, s->linear, s->access, &left);
    uint64_t offset = x86_get_sized(cpu, s->reg, in->addrsize);
    if (!host || left < size) {
        return NULL;
    }

    uint64_t most;
    if (down) {
        most = (X86_PAGE_SIZE - left) / size + 1;
        most = MIN(most, offset / size + 1); /* not past 0 */
    } else {
        most = left / size;
        if (in->addrsize < 8) {
            most = MIN(most, ((UINT64_C(1) << (8 * in->addrsize)) - offset) / size);
        }
    }
    const X86Segment *seg = &cpu->seg[s->seg];
    if (cpu->code_size != X86_CODE64 && seg->limit != UINT32_MAX) {
        if (!(seg->attr & SEG_CODE) && (seg->attr & SEG_E)) {
            most = 1; /* expand-down: one by one */
        } else if (!down) {
            most = MIN(most, ((uint64_t)seg->limit - offset + 1) / size);
        }
    }
    *n = MIN(*n, most);
    return *n ? host : NULL;
}

static void advance(X86Cpu *cpu, const X86Insn *in, unsigned reg, uint64_t n, unsigned size, bool down)
{
    uint64_t bytes = n * size;
    x86_set_sized(cpu, reg, in->addrsize, cpu->gpr[reg] + (down ? -bytes : bytes));
}

/* --- the host's string instructions; DF is clear in all other C code --- */

#define BY_ELEMENT(size, M)                                                                                            \
    do {                                                                                                               \
        switch (size) {                                                                                                \
        case 1: M("b", uint8_t); break;                                                                                \
        case 2: M("w", uint16_t); break;                                                                               \
        case 4: M("l", uint32_t); break;                                                                               \
        default: M("q", uint64_t); break;                                                                              \
        }                                                                                                              \
    } while (0)

static void host_movs(uint8_t *to, const uint8_t *from, uint64_t n, unsigned size, bool down)
{
    if (down) {
#define M(s, type) __asm__ volatile("std\n\trep movs" s "\n\tcld" : "+D"(to), "+S"(from), "+c"(n) : : "memory", "cc")
        BY_ELEMENT(size, M);
#undef M
    } else {
#define M(s, type) __asm__ volatile("rep movs" s : "+D"(to), "+S"(from), "+c"(n) : : "memory")
        BY_ELEMENT(size, M);
#undef M
    }
}

static void host_stos(uint8_t *to, uint64_t value, uint64_t n, unsigned size, bool down)
{
    if (down) {
#define M(s, type) __asm__ volatile("std\n\trep stos" s "\n\tcld" : "+D"(to), "+c"(n) : "a"(value) : "memory", "cc")
        BY_ELEMENT(size, M);
#undef M
    } else {
#define M(s, type) __asm__ volatile("rep stos" s : "+D"(to), "+c"(n) : "a"(value) : "memory")
        BY_ELEMENT(size, M);
#undef M
    }
}

/* Compares up to n > 0 elements while they are equal (or not); returns how many were looked at. */
static uint64_t host_scas(X86Cpu *cpu, const uint8_t *at, uint64_t value, uint64_t n, unsigned size, bool down,
                          bool while_equal)
{
    uint64_t count = n;
    uint64_t flags = value;

#define SCAN(before, rep, s, after)                                                                                    \
    __asm__ volatile(before rep " scas" s SAVE_FLAGS after : "+D"(at), "+c"(count), "+a"(flags) : : "memory", "cc")
#define M(s, type)                                                                                                     \
    if (down && while_equal) {                                                                                         \
        SCAN("std\n\t", "repe", s, "\n\tcld");                                                                         \
    } else if (down) {                                                                                                 \
        SCAN("std\n\t", "repne", s, "\n\tcld");                                                                        \
    } else if (while_equal) {                                                                                          \
        SCAN("", "repe", s, "");                                                                                       \
    } else {                                                                                                           \
        SCAN("", "repne", s, "");                                                                                      \
    }
    BY_ELEMENT(size, M);
#undef M
#undef SCAN
    cpu->arith = (uint16_t)flags;
    return n - count;
}

static uint64_t host_cmps(X86Cpu *cpu, const uint8_t *a, const uint8_t *b, uint64_t n, unsigned size, bool down,
                          bool while_equal)
{
    uint64_t count = n;
    uint64_t flags;

#define COMPARE(before, rep, s, after)                                                                                 \
    __asm__ volatile(before rep " cmps" s SAVE_FLAGS after                                                             \
                     : "+S"(a), "+D"(b), "+c"(count), "=a"(flags)                                                      \
                     :                                                                                                 \
                     : "memory", "cc")
#define M(s, type)                                                                                                     \
    if (down && while_equal) {                                                                                         \
        COMPARE("std\n\t", "repe", s, "\n\tcld");                                                                      \
    } else if (down) {                                                                                                 \
        COMPARE("std\n\t", "repne", s, "\n\tcld");                                                                     \
    } else if (while_equal) {                                                                                          \
        COMPARE("", "repe", s, "");                                                                                    \
    } else {                                                                                                           \
        COMPARE("", "repne", s, "");                                                                                   \
    }
    BY_ELEMENT(size, M);
#undef M
#undef COMPARE
    cpu->arith = (uint16_t)flags;
    return n - count;
}

/* --- one element, the slow way --- */

static void set_accumulator(X86Cpu *cpu, uint64_t value, unsigned size)
{
    if (size == 1) {
        REG8(cpu, 0) = (uint8_t)value;
    } else {
        x86_set_sized(cpu, X86_RAX, size, value);
    }
}

static void slow_element(X86Cpu *cpu, unsigned op, unsigned size, const Side *from, const Side *to)
{
    uint64_t value;

    switch (op) {
    case MOVS:
        value = x86_load_slow(cpu, from->linear, size, from->seg == X86_SS);
        x86_store_slow(cpu, to->linear, value, size, false);
        break;
    case STOS: x86_store_slow(cpu, to->linear, cpu->gpr[X86_RAX], size, false); break;
    case LODS: set_accumulator(cpu, x86_load_slow(cpu, from->linear, size, from->seg == X86_SS), size); break;
    case SCAS:
        value = x86_load_slow(cpu, to->linear, size, false);
        host_scas(cpu, (const uint8_t *)&value, cpu->gpr[X86_RAX], 1, size, false, true);
        break;
    case CMPS: {
        uint64_t a = x86_load_slow(cpu, from->linear, size, from->seg == X86_SS);
        uint64_t b = x86_load_slow(cpu, to->linear, size, false);
        host_cmps(cpu, (const uint8_t *)&a, (const uint8_t *)&b, 1, size, false, true);
        break;
    }
    case INS:
        x86_probe_write(cpu, to->linear, size);
        value = x86_io_load(cpu, cpu->vcpu.io, (uint16_t)cpu->gpr[X86_RDX], size);
        x86_note_port(cpu, (uint16_t)cpu->gpr[X86_RDX], size);
        x86_store_slow(cpu, to->linear, value, size, false);
        break;
    default:
        value = x86_load_slow(cpu, from->linear, size, from->seg == X86_SS);
        x86_io_store(cpu, cpu->vcpu.io, (uint16_t)cpu->gpr[X86_RDX], value, size);
        x86_note_port(cpu, (uint16_t)cpu->gpr[X86_RDX], size);
        break;
    }
}

/* --- all of them --- */

/* Elements that a run may have before requests are looked at. */
enum { MAX_RUN = 4096 };

static inline __attribute__((always_inline)) void string(X86Cpu *cpu, const X86Insn *in, unsigned op, unsigned size)
{
    bool down     = cpu->eflags & EFLAGS_DF;
    bool repeated = in->prefixes & (X86_PREFIX_REP | X86_PREFIX_REPNE);
    bool compares = op == SCAS || op == CMPS;
    bool equal    = !(in->prefixes & X86_PREFIX_REPNE); /* goes on while equal */
    bool has_from = op == MOVS || op == LODS || op == CMPS || op == OUTS;
    bool has_to   = op != LODS && op != OUTS;
    Side from     = { .reg = X86_RSI, .seg = in->seg, .access = X86_READ };
    Side to       = { .reg = X86_RDI, .seg = X86_ES, .access = compares ? X86_READ : X86_WRITE };
    /* A fault leaves SCAS and CMPS with the flags from before the instruction (SDM 2, REP). */
    uint16_t arith = cpu->arith;

    if (op == INS || op == OUTS) {
        x86_check_io(cpu, (uint16_t)cpu->gpr[X86_RDX], size);
    }
    for (;;) {
        uint64_t count = repeated ? x86_get_sized(cpu, X86_RCX, in->addrsize) : 1;
        if (!count) {
            break;
        }
        if (has_from) {
            find_element(cpu, in, &from, size);
        }
        if (has_from && has_to && cpu->code_size != X86_CODE64) {
            probe_source(cpu, &from, size);
        }
        if (has_to) {
            find_element(cpu, in, &to, size);
        }

        uint64_t n      = MIN(count, (uint64_t)MAX_RUN);
        uint8_t *from_h = NULL, *to_h = NULL;
        bool     direct = op != INS && op != OUTS;
        if (cpu->cache->attention) {
            n = 1; /* single steps and the like look after each element */
        }
        if (direct && has_from) {
            from_h = find_run(cpu, in, &from, size, down, &n);
            direct = from_h;
        }
        if (direct && has_to) {
            to_h   = find_run(cpu, in, &to, size, down, &n);
            direct = to_h;
        }

        if (direct) {
            switch (op) {
            case MOVS: host_movs(to_h, from_h, n, size, down); break;
            case STOS: host_stos(to_h, cpu->gpr[X86_RAX], n, size, down); break;
            case LODS: {
                const uint8_t *last = down ? from_h - (n - 1) * size : from_h + (n - 1) * size;
                set_accumulator(cpu,
                                size == 1   ? x86_guest_get8(last)
                                : size == 2 ? x86_guest_get16(last)
                                : size == 4 ? x86_guest_get32(last)
                                            : x86_guest_get64(last),
                                size);
                break;
            }
            case SCAS: n = host_scas(cpu, to_h, cpu->gpr[X86_RAX], n, size, down, equal); break;
            default: n = host_cmps(cpu, from_h, to_h, n, size, down, equal); break;
            }
        } else {
            n = 1;
            slow_element(cpu, op, size, &from, &to);
        }

        if (has_from) {
            advance(cpu, in, X86_RSI, n, size, down);
        }
        if (has_to) {
            advance(cpu, in, X86_RDI, n, size, down);
        }
        if (!repeated) {
            break;
        }
        x86_set_sized(cpu, X86_RCX, in->addrsize, count - n);
        if (count == n || (compares && (bool)(cpu->arith & 0x4000) != equal)) {
            break;
        }
        if (vcpu_requests(&cpu->vcpu) || cpu->cache->attention || (!direct && x86_code_changed(cpu))) {
            cpu->rip = x86_insn_rip(cpu, in); /* goes on after whatever it is */
            cpu->eflags |= EFLAGS_RF;         /* what comes now pushes it, and breakpoints have been seen (18.3.1.1) */
            cpu->branch = X86_BRANCH_SYSTEM;
            return;
        }
        if (compares) {
            cpu->arith = arith;
        }
    }
    if (repeated) {
        cpu->rip    = x86_insn_next(cpu, in);
        cpu->branch = X86_BRANCH_NEXT;
    }
}

#define STRING(op, name)                                                                                               \
    static void name##1(X86Cpu * cpu, const X86Insn *in)                                                               \
    {                                                                                                                  \
        string(cpu, in, op, 1);                                                                                        \
    }                                                                                                                  \
    static void name##2(X86Cpu * cpu, const X86Insn *in)                                                               \
    {                                                                                                                  \
        string(cpu, in, op, 2);                                                                                        \
    }                                                                                                                  \
    static void name##4(X86Cpu * cpu, const X86Insn *in)                                                               \
    {                                                                                                                  \
        string(cpu, in, op, 4);                                                                                        \
    }                                                                                                                  \
    static void name##8(X86Cpu * cpu, const X86Insn *in)                                                               \
    {                                                                                                                  \
        string(cpu, in, op, 8);                                                                                        \
    }
STRING(MOVS, movs)
STRING(STOS, stos)
STRING(LODS, lods)
STRING(SCAS, scas)
STRING(CMPS, cmps)
STRING(INS, ins)
STRING(OUTS, outs)

#define SIZES(name)                                                                                                    \
    {                                                                                                                  \
        name##1, name##2, name##4, name##8                                                                             \
    }
static const X86Handler string_handlers[][4] = { SIZES(movs), SIZES(stos), SIZES(lods), SIZES(scas),
                                                 SIZES(cmps), SIZES(ins),  SIZES(outs) };

/* The segment of the operand at rSI (or rBX): the one that a prefix may change. */
static uint8_t source_segment(const X86Decode *d)
{
    for (unsigned i = 0; i < d->z->operand_count; i++) {
        const ZydisDecodedOperand *op = &d->op[i];
        if (x86_is_mem(op) && op->mem.segment != ZYDIS_REGISTER_ES) {
            return (uint8_t)(op->mem.segment - ZYDIS_REGISTER_ES);
        }
    }
    return d->z->attributes & ZYDIS_ATTRIB_HAS_SEGMENT_ES ? X86_ES : X86_DS;
}

bool x86_decode_string(X86Decode *d)
{
    X86Insn *in = d->in;

    in->seg = source_segment(d);
    in->flags &= (uint8_t)~X86_INSN_MEMORY;
    in->run = string_handlers[d->arg & 15][d->arg >> 4];
    if (in->prefixes & (X86_PREFIX_REP | X86_PREFIX_REPNE)) {
        in->flags |= X86_INSN_ENDS | X86_INSN_TRANSFER;
    }
    return true;
}

/* --- XLAT --- */

static void xlat(X86Cpu *cpu, const X86Insn *in)
{
    Side     table  = { .seg = in->seg, .access = X86_READ };
    uint64_t offset = cut(cpu->gpr[X86_RBX] + REG8(cpu, 0), in->addrsize);

    table.linear = x86_linear(cpu, table.seg, offset, 1, X86_READ);
    REG8(cpu, 0) = x86_load8(cpu, table.linear, in->seg == X86_SS);
}

bool x86_decode_xlat(X86Decode *d)
{
    d->in->seg = source_segment(d);
    d->in->run = xlat;
    return true;
}
