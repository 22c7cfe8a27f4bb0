/* The verifier: a second look at the host code of a unit, by another decoder and without knowledge of the templates.
 *
 * It follows what registers and the frame's words hold as sums of unknowns (`Expr`), so that it can prove of each
 * access to guest memory that a check before it covers it: after
 *
 *     R = address - tag of entry k;  cmp R, 4096 - size;  ja slow
 *
 * [address, address + size) lies where the addend of entry k leads, until k is checked for something else or C has run
 * an instruction. Entries are those of the micro TLB, and each look-up into the TLB makes one more. Everything else
 * that has a memory operand must be a word of the frame that code may touch. Branches lead to instructions of the unit
 * or to stubs, and slow paths ask for what was checked and come back behind the check. Only instructions of an
 * allow-list occur.
 *
 * It takes on trust: what stubs do, that C's way of running an instruction changes registers as the host's does, and
 * the distance that BT and its like go from their operand.
 *
 * Lock of the Dbt held. On in builds with sanitizers, in fuzzing and in tests. */

#include "accel/dbt/verify.h"

#include "accel/dbt/dbt.h"
#include "cpu/x86/encode.h"

#include <Zydis/Zydis.h>

enum {
    N_SLOTS     = offsetof(DbtFrame, cpu) / 8, /* words of the frame that are followed */
    N_MICRO     = DBT_MICROS,
    N_RUNS      = DBT_ENTRIES - DBT_MICROS,
    MAX_LOOKUPS = 64,
    N_ENTRIES   = N_MICRO + 2 * MAX_LOOKUPS, /* with those of look-ups: for reads, for writes */
    MAX_FACTS   = 2 * DBT_MAX_INSNS,         /* a group may be open from the first instruction to the last */
    MAX_JOINS   = 16,
    CODE_MAX    = 64 << 10,
    RANGE_MAX   = 1024,                    /* bytes that one check covers */
    FRAME_OWN   = offsetof(DbtFrame, tlb), /* code may write below, but for `kick` */
};

/* Unknowns. */
enum {
    ROOT_TAG    = 0x10000,
    ROOT_ADDEND = 0x20000, /* of look-ups: for reads and writes the same, an even number */
    ROOT_MASKED = 0x30000,
    ROOT_TLB,
    ROOT_CPU,
    ROOT_INDEX = 0x40000, /* into the TLB, one of each look-up */
    ROOT_RUN   = 0x48000, /* where a run starts */
    ROOT_FRESH = 0x50000,
};

/* [address, address + size) is checked for entry k. */
typedef struct Fact {
    unsigned k, size;
    Expr     address;
} Fact;

typedef struct State {
    Expr     reg[16], slot[N_SLOTS];
    Fact     facts[MAX_FACTS];
    unsigned n_facts;
} State;

typedef struct Join {
    uint32_t offset;
    State    state;
} Join;

typedef struct DbtVerifier {
    ZydisDecoder   decoder;
    const Dbt     *dbt;
    const DbtUnit *u;
    uint8_t        hot_at[CODE_MAX / 8], cold_at[CODE_MAX / 8]; /* bits: where instructions begin */
    uint8_t        back_at[CODE_MAX / 8]; /* bits: where the cold part comes back to in the hot one */
    State          s;
    Join           joins[MAX_JOINS];
    unsigned       n_joins;
    uint8_t        masked_at[CODE_MAX / 8]; /* bits: the hot part branches there with ROOT_MASKED in RCX */
    uint8_t        again_at[CODE_MAX / 8];  /* bits: where it comes back to to try again */
    uint32_t       next_root;
    unsigned       n_lookups;
    bool           cold;
    unsigned       insn; /* the guest's, at hand */
    /* CMP with a tag in it: a branch must follow. */
    ZydisMnemonic pending; /* JA, or JNE where the page is known; 0: none */
    Fact          checking;
    int           run; /* what is checked is in that run: its addend must be loaded next; -1: not */
    Fits          fits;

    const uint8_t          *at; /* instruction at hand */
    ZydisDecodedInstruction z;
    ZydisDecodedOperand     op[ZYDIS_MAX_OPERAND_COUNT];
    const char             *problem;
} DbtVerifier;

static bool bad(DbtVerifier *v, const char *problem)
{
    if (!v->problem) {
        v->problem = problem;
    }
    return false;
}

static bool begins(const uint8_t *bits, uint64_t offset)
{
    return offset < CODE_MAX && bits[offset / 8] >> (offset % 8) & 1;
}

/* --- sums --- */

static Expr fresh(DbtVerifier *v)
{
    return expr_root(v->next_root++);
}

static Expr sum(DbtVerifier *v, const Expr *a, const Expr *b, int64_t times)
{
    Expr e;
    return expr_sum(a, b, times, &e) ? e : fresh(v);
}

/* The entry whose tag (or addend) the sum has `times` times; -1: none. */
static int entry_in(const Expr *e, uint32_t kind, int64_t times)
{
    for (unsigned i = 0; i < e->n; i++) {
        if (e->term[i].root >= kind && e->term[i].root < kind + N_ENTRIES && e->term[i].times == times) {
            return (int)(e->term[i].root - kind);
        }
    }
    return -1;
}

static bool is_write(unsigned k)
{
    return (k < N_MICRO ? k / DBT_MICRO % 2 : (k - N_MICRO) % 2) == X86_WRITE;
}

/* Entries of one look-up share the addend. */
static uint32_t addend_root(unsigned k)
{
    return ROOT_ADDEND + (k < N_MICRO ? k : N_MICRO + (k - N_MICRO) / 2 * 2);
}

/* --- states --- */

static void forget_all(DbtVerifier *v)
{
    v->fits = (Fits){ 0 };
    for (unsigned i = 0; i < 16; i++) {
        v->s.reg[i] = fresh(v);
    }
    for (unsigned i = 0; i < N_SLOTS; i++) {
        v->s.slot[i] = i == offsetof(DbtFrame, tlb) / 8 ? expr_root(ROOT_TLB) : fresh(v);
    }
    v->s.n_facts = 0;
}

/* Nothing else goes from one guest instruction to the next in scratch registers and words. */
static void next_insn(DbtVerifier *v, uint32_t offset)
{
    v->fits         = (Fits){ 0 };
    v->s.reg[H_RAX] = fresh(v);
    /* But for an addend in RCX, unless slow paths that have run the instruction in C come in here. */
    if (entry_in(&v->s.reg[H_RCX], ROOT_ADDEND, 1) < 0 || v->back_at[offset / 8] >> offset % 8 & 1) {
        v->s.reg[H_RCX] = fresh(v);
    }
    for (unsigned i = offsetof(DbtFrame, flags) / 8; i < FRAME_OWN / 8; i++) {
        if (i < offsetof(DbtFrame, fs_base) / 8 || i >= offsetof(DbtFrame, tmp) / 8) {
            v->s.slot[i] = fresh(v);
        }
    }
}

static void meet(DbtVerifier *v, State *s, const State *other)
{
    for (unsigned i = 0; i < 16; i++) {
        s->reg[i] = expr_same(&s->reg[i], &other->reg[i]) ? s->reg[i] : fresh(v);
    }
    for (unsigned i = 0; i < N_SLOTS; i++) {
        s->slot[i] = expr_same(&s->slot[i], &other->slot[i]) ? s->slot[i] : fresh(v);
    }
    unsigned n = 0;
    for (unsigned i = 0; i < s->n_facts; i++) {
        bool both = false;
        for (unsigned k = 0; k < other->n_facts && !both; k++) {
            both = s->facts[i].k == other->facts[k].k && s->facts[i].size == other->facts[k].size &&
                   expr_same(&s->facts[i].address, &other->facts[k].address);
        }
        if (both) {
            s->facts[n++] = s->facts[i];
        }
    }
    s->n_facts = n;
}

static void forget_entry(State *s, unsigned k)
{
    unsigned n = 0;
    for (unsigned i = 0; i < s->n_facts; i++) {
        if (s->facts[i].k != k) {
            s->facts[n++] = s->facts[i];
        }
    }
    s->n_facts = n;
}

static bool learn(DbtVerifier *v, const Fact *f)
{
    forget_entry(&v->s, f->k);
    if (v->s.n_facts == MAX_FACTS) {
        memmove(v->s.facts, v->s.facts + 1, sizeof v->s.facts[0] * (MAX_FACTS - 1));
        v->s.n_facts--;
    }
    v->s.facts[v->s.n_facts++] = *f;
    /* The slow path comes back with other values in what was compared. */
    for (unsigned i = 0; i < 2 && f->k < N_MICRO; i++) {
        if (entry_in(&v->s.reg[i], ROOT_TAG, -1) >= 0) {
            v->s.reg[i] = fresh(v);
        }
    }
    return true;
}

/* --- operands --- */

static int gpr_of(ZydisRegister r)
{
    ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r);
    return ZydisRegisterGetClass(whole) == ZYDIS_REGCLASS_GPR64 ? ZydisRegisterGetId(whole) : -1;
}

static bool is_whole(const ZydisDecodedOperand *o)
{
    return o->type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_GPR64;
}

static bool writes(const ZydisDecodedOperand *o)
{
    return o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
}

static Expr address_of(DbtVerifier *v, const ZydisDecodedOperand *o)
{
    Expr e = expr_constant((uint64_t)o->mem.disp.value);
    if (o->mem.base != ZYDIS_REGISTER_NONE) {
        e = sum(v, &e, &v->s.reg[gpr_of(o->mem.base)], 1);
    }
    if (o->mem.index != ZYDIS_REGISTER_NONE) {
        e = sum(v, &e, &v->s.reg[gpr_of(o->mem.index)], o->mem.scale);
    }
    return e;
}

static bool is_frame(const ZydisDecodedOperand *o)
{
    return o->type == ZYDIS_OPERAND_TYPE_MEMORY && o->mem.base == ZYDIS_REGISTER_RSP;
}

/* The followed word that an operand is; -1: another place, or a part. */
static int slot_of(const ZydisDecodedOperand *o)
{
    uint64_t at = (uint64_t)o->mem.disp.value;
    return is_frame(o) && o->mem.index == ZYDIS_REGISTER_NONE && at % 8 == 0 && at / 8 < N_SLOTS && o->size == 64
               ? (int)(at / 8)
               : -1;
}

/* The look-up whose entry of the TLB that is, and where in it; -1: none. */
static int entry_of_look_up(const Expr *e)
{
    return e->n == 2 && e->term[0].root == ROOT_TLB && e->term[0].times == 1 && e->term[1].root >= ROOT_INDEX &&
                   e->term[1].root < ROOT_FRESH && e->term[1].times == 1
               ? (int)(e->term[1].root - ROOT_INDEX)
               : -1;
}

/* What a 64-bit read of the TLB gives. */
static Expr tlb_value(DbtVerifier *v, const ZydisDecodedOperand *o)
{
    Expr     at    = address_of(v, o);
    int      n     = entry_of_look_up(&at);
    unsigned entry = N_MICRO + 2 * (unsigned)n;
    if (n < 0 || o->size != 64) {
        return fresh(v);
    }
    switch (at.c) {
    case offsetof(X86TlbEntry, read): return expr_root(ROOT_TAG + entry + X86_READ);
    case offsetof(X86TlbEntry, write): return expr_root(ROOT_TAG + entry + X86_WRITE);
    case offsetof(X86TlbEntry, addend): return expr_root(addend_root(entry));
    default: return fresh(v);
    }
}

/* Which run's member the operand is; -1: none. */
static int run_of(const ZydisDecodedOperand *o, size_t member)
{
    uint64_t at = (uint64_t)o->mem.disp.value - offsetof(DbtFrame, runs);
    return is_frame(o) && o->mem.index == ZYDIS_REGISTER_NONE && o->size == 64 && at < N_RUNS * sizeof(DbtRun) &&
                   at % sizeof(DbtRun) == member
               ? (int)(at / sizeof(DbtRun))
               : -1;
}

/* What a 64-bit read of the frame gives. */
static Expr frame_value(DbtVerifier *v, const ZydisDecodedOperand *o)
{
    int      slot = slot_of(o);
    uint64_t at   = (uint64_t)o->mem.disp.value - offsetof(DbtFrame, micro);
    if (slot >= 0) {
        return v->s.slot[slot];
    }
    if (o->mem.index == ZYDIS_REGISTER_NONE && o->size == 64 && o->mem.disp.value == (ZyanI64)offsetof(DbtFrame, cpu)) {
        return expr_root(ROOT_CPU);
    }
    if (o->mem.index == ZYDIS_REGISTER_NONE && o->size == 64 && at % 8 == 0 && at < N_MICRO * sizeof(DbtMicro)) {
        return expr_root((uint32_t)(at / sizeof(DbtMicro)) + (at % sizeof(DbtMicro) ? ROOT_ADDEND : ROOT_TAG));
    }
    if (run_of(o, offsetof(DbtRun, start)) >= 0) {
        return expr_root(ROOT_RUN + (uint32_t)run_of(o, offsetof(DbtRun, start)));
    }
    return fresh(v);
}

static bool inside(uint64_t at, unsigned size, uint64_t start, uint64_t end)
{
    return at >= start && at + size <= end && at + size > at;
}

static bool frame_operand(DbtVerifier *v, const ZydisDecodedOperand *o)
{
    uint64_t at = (uint64_t)o->mem.disp.value, table = (uint64_t)dbt_jumps_offset(v->u->mode),
             table_end = table + dbt_n_jumps(v->u->mode) * sizeof(DbtJump);
    unsigned size      = o->size / 8;
    bool     jump      = v->z.mnemonic == ZYDIS_MNEMONIC_JMP;

    if (o->mem.index != ZYDIS_REGISTER_NONE) {
        Expr masked = expr_root(ROOT_MASKED);
        if (gpr_of(o->mem.index) != H_RCX || o->mem.scale != 8 || !expr_same(&v->s.reg[H_RCX], &masked) || size != 8 ||
            at != table + (jump ? offsetof(DbtJump, code) : offsetof(DbtJump, rip)) || writes(o)) {
            return bad(v, "an index into the frame that is none into the jump cache");
        }
        return true;
    }
    if (jump) {
        return (inside(at, size, table, table_end) && (at - table) % sizeof(DbtJump) == 8) ||
               bad(v, "a jump through what is no jump cache");
    }
    if (v->z.attributes & ZYDIS_ATTRIB_HAS_LOCK) {
        return bad(v, "LOCK on the frame");
    }
    if (writes(o)) {
        return inside(at, size, 0, offsetof(DbtFrame, kick)) ||
               inside(at, size, offsetof(DbtFrame, fs_base), FRAME_OWN) ||
               bad(v, "a write to the frame outside of what code may write");
    }
    return inside(at, size, 0, offsetof(DbtFrame, cpu) + sizeof(X86Cpu *)) ||
           inside(at, size, offsetof(DbtFrame, micro), offsetof(DbtFrame, micro) + N_MICRO * sizeof(DbtMicro)) ||
           inside(at, size, offsetof(DbtFrame, runs), offsetof(DbtFrame, runs) + N_RUNS * sizeof(DbtRun)) ||
           inside(at, size, table, table_end) || bad(v, "a read of the frame outside of what code may read");
}

static bool covered(const State *s, unsigned k, const Expr *linear, unsigned size)
{
    for (unsigned i = 0; i < s->n_facts; i++) {
        const Fact *f = &s->facts[i];
        if (f->k == k && expr_same_terms(&f->address, linear)) {
            uint64_t into = linear->c - f->address.c;
            if (into <= f->size && size <= f->size - into) {
                return true;
            }
        }
    }
    return false;
}

static bool covered_by_write(const State *s, unsigned k)
{
    for (unsigned i = 0; i < s->n_facts; i++) {
        if (s->facts[i].k == k + X86_WRITE) {
            return true;
        }
    }
    return false;
}

static bool is_bit_test(ZydisMnemonic m)
{
    return m == ZYDIS_MNEMONIC_BT || m == ZYDIS_MNEMONIC_BTS || m == ZYDIS_MNEMONIC_BTR || m == ZYDIS_MNEMONIC_BTC;
}

static bool guest_operand(DbtVerifier *v, const ZydisDecodedOperand *o)
{
    Expr     e    = address_of(v, o);
    unsigned size = o->size / 8;
    int      k    = entry_in(&e, ROOT_ADDEND, 1);

    Expr tlb = expr_root(ROOT_TLB), cpu = expr_root(ROOT_CPU);
    if (expr_same_terms(&e, &cpu)) {
        return dbt_cpu_member(e.c, size, writes(o)) || bad(v, "an access to the vCPU's state that is none of code's");
    }
    if (entry_of_look_up(&e) >= 0) {
        return (!writes(o) && inside(e.c, size, 0, sizeof(X86TlbEntry))) || bad(v, "an access beside the TLB's entry");
    }
    if (expr_same_terms(&e, &tlb)) {
        return (!writes(o) && inside(e.c, size, 0, X86_TLB_SIZE * sizeof(X86TlbEntry))) ||
               bad(v, "an access beside the TLB");
    }
    if (v->cold) {
        return bad(v, "guest memory in the cold part");
    }
    if (k < 0) {
        return bad(v, "an address without an addend");
    }
    if (k >= N_MICRO && covered_by_write(&v->s, (unsigned)k)) {
        k += X86_WRITE;
    }
    if ((k < N_MICRO && (unsigned)k / (2 * DBT_MICRO) != v->u->mode) || (writes(o) && !is_write((unsigned)k))) {
        return bad(v, "the addend of another mode, or of reads for a write");
    }
    Expr addend = expr_root(addend_root((unsigned)k));
    e           = sum(v, &e, &addend, -1);
    if (is_bit_test(v->z.mnemonic) && v->op[1].type == ZYDIS_OPERAND_TYPE_REGISTER) {
        e = sum(v, &e, &v->s.slot[offsetof(DbtFrame, keep[0]) / 8], 1);
    }
    return covered(&v->s, (unsigned)k, &e, size) || bad(v, "an access that no check covers");
}

static bool operands(DbtVerifier *v)
{
    if (v->z.mnemonic == ZYDIS_MNEMONIC_NOP) {
        return true;
    }
    for (unsigned i = 0; i < v->z.operand_count; i++) {
        const ZydisDecodedOperand *o      = &v->op[i];
        bool                       hidden = o->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN;
        if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && !hidden && gpr_of(o->reg.value) == H_RSP) {
            return bad(v, "RSP as an operand");
        }
        if (o->type != ZYDIS_OPERAND_TYPE_MEMORY || (hidden && v->z.mnemonic == ZYDIS_MNEMONIC_CALL)) {
            continue;
        }
        if (o->mem.type != ZYDIS_MEMOP_TYPE_MEM && o->mem.type != ZYDIS_MEMOP_TYPE_AGEN) {
            return bad(v, "an addressing form of no template");
        }
        if ((o->mem.base != ZYDIS_REGISTER_NONE && ZydisRegisterGetClass(o->mem.base) != ZYDIS_REGCLASS_GPR64) ||
            (o->mem.index != ZYDIS_REGISTER_NONE && ZydisRegisterGetClass(o->mem.index) != ZYDIS_REGCLASS_GPR64) ||
            o->mem.segment == ZYDIS_REGISTER_FS || o->mem.segment == ZYDIS_REGISTER_GS) {
            if (o->mem.type == ZYDIS_MEMOP_TYPE_MEM) {
                return bad(v, "an address of no template");
            }
            continue;
        }
        if (o->mem.type == ZYDIS_MEMOP_TYPE_AGEN) {
            if (v->z.mnemonic != ZYDIS_MNEMONIC_LEA || o->mem.base == ZYDIS_REGISTER_RSP) {
                return bad(v, "an address of the frame");
            }
            continue;
        }
        if (!(is_frame(o) ? frame_operand(v, o) : guest_operand(v, o))) {
            return false;
        }
    }
    return true;
}

/* --- instructions --- */

static bool allowed(DbtVerifier *v)
{
    X86Form form;
    if ((v->z.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY && v->z.encoding != ZYDIS_INSTRUCTION_ENCODING_VEX) ||
        v->z.attributes &
            (ZYDIS_ATTRIB_HAS_SEGMENT | ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) {
        return bad(v, "a prefix of no template");
    }
    if (dbt_verify_integer[v->z.mnemonic]) {
        return true;
    }
    switch (v->z.mnemonic) {
    case ZYDIS_MNEMONIC_RET:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_FXRSTOR64: return bad(v, "an instruction of thunks only");
    default:
        return (x86_form_from_decoded(&form, &v->z, v->op) && x86_form_allowed(&form)) ||
               bad(v, "an instruction that is not on the list");
    }
}

static Expr value_of(DbtVerifier *v, const ZydisDecodedOperand *o)
{
    if (o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        return expr_constant(o->imm.is_signed ? (uint64_t)o->imm.value.s : o->imm.value.u);
    }
    if (is_whole(o)) {
        return v->s.reg[gpr_of(o->reg.value)];
    }
    if (o->type != ZYDIS_OPERAND_TYPE_MEMORY) {
        return fresh(v);
    }
    return is_frame(o) ? frame_value(v, o) : tlb_value(v, o);
}

static void set_value(DbtVerifier *v, const ZydisDecodedOperand *o, const Expr *e)
{
    if (is_whole(o)) {
        v->s.reg[gpr_of(o->reg.value)] = *e;
    } else if (slot_of(o) >= 0) {
        v->s.slot[slot_of(o)] = *e;
    }
}

/* What the instruction does to registers and to the frame. */
static void transfer(DbtVerifier *v)
{
    const ZydisDecodedOperand *to = &v->op[0], *from = &v->op[1];
    Expr                       e, a, one = expr_constant(1);
    bool                       known = true, whole = to->size == 64 && (is_whole(to) || slot_of(to) >= 0);

    switch (v->z.mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
        e     = value_of(v, from);
        known = whole;
        if (from->type == ZYDIS_OPERAND_TYPE_IMMEDIATE && to->type == ZYDIS_OPERAND_TYPE_REGISTER && to->size == 32) {
            v->s.reg[gpr_of(to->reg.value)] = expr_constant((uint32_t)from->imm.value.u);
            return;
        }
        break;
    case ZYDIS_MNEMONIC_LEA:
        e     = whole ? address_of(v, from) : fresh(v);
        known = whole;
        break;
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
        e     = value_of(v, to);
        a     = value_of(v, from);
        e     = sum(v, &e, &a, v->z.mnemonic == ZYDIS_MNEMONIC_ADD ? 1 : -1);
        known = whole;
        break;
    case ZYDIS_MNEMONIC_INC:
    case ZYDIS_MNEMONIC_DEC:
        e     = value_of(v, to);
        e     = sum(v, &e, &one, v->z.mnemonic == ZYDIS_MNEMONIC_INC ? 1 : -1);
        known = whole;
        break;
    case ZYDIS_MNEMONIC_AND:
        if (to->type == ZYDIS_OPERAND_TYPE_REGISTER && gpr_of(to->reg.value) == H_RCX && to->size == 32 &&
            is_frame(from) && from->mem.index == ZYDIS_REGISTER_NONE &&
            from->mem.disp.value == (ZyanI64)dbt_mask_offset(v->u->mode)) {
            v->s.reg[H_RCX] = expr_root(ROOT_MASKED);
            return;
        }
        if (to->type == ZYDIS_OPERAND_TYPE_REGISTER && to->size == 32 && from->type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
            from->imm.value.u == (X86_TLB_SIZE - 1) << 5 && v->n_lookups < MAX_LOOKUPS) {
            v->s.reg[gpr_of(to->reg.value)] = expr_root(ROOT_INDEX + v->n_lookups++);
            return;
        }
        known = false;
        break;
    case ZYDIS_MNEMONIC_XOR: /* the other slot of a pair */
        e     = expr_root(ROOT_MASKED);
        known = to->type == ZYDIS_OPERAND_TYPE_REGISTER && gpr_of(to->reg.value) == H_RCX &&
                from->type == ZYDIS_OPERAND_TYPE_IMMEDIATE && from->imm.value.u == 2 && expr_same(&v->s.reg[H_RCX], &e);
        if (known) {
            return;
        }
        break;
    default: known = false; break;
    }
    if (known) {
        set_value(v, to, &e);
        return;
    }
    for (unsigned i = 0; i < v->z.operand_count; i++) {
        const ZydisDecodedOperand *o = &v->op[i];
        if (!writes(o)) {
            continue;
        }
        if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && gpr_of(o->reg.value) >= 0) {
            v->s.reg[gpr_of(o->reg.value)] = fresh(v);
        } else if (is_frame(o)) {
            for (uint64_t at = (uint64_t)o->mem.disp.value / 8;
                 at <= ((uint64_t)o->mem.disp.value + o->size / 8 - 1) / 8; at++) {
                if (at < N_SLOTS) {
                    v->s.slot[at] = fresh(v);
                }
            }
        }
    }
}

static bool decode(DbtVerifier *v, const uint8_t *at, const uint8_t *end)
{
    v->at = at;
    return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&v->decoder, at, (size_t)(end - at), &v->z, v->op)) ||
           bad(v, "bytes that are no instruction");
}

/* REP MOVS and STOS on memory that checks cover, no farther than the page's end. */
static bool string_operand(DbtVerifier *v, unsigned reg, unsigned size, bool write)
{
    Expr e = v->s.reg[reg], host = e; /* both have the same place in the page */
    int  k = entry_in(&e, ROOT_ADDEND, 1);
    if (k >= N_MICRO && covered_by_write(&v->s, (unsigned)k)) {
        k += X86_WRITE;
    }
    if (k < 0 || (k < N_MICRO && (unsigned)k / (2 * DBT_MICRO) != v->u->mode) || (write && !is_write((unsigned)k))) {
        return bad(v, "a string without the addend for it");
    }
    Expr addend       = expr_root(addend_root((unsigned)k));
    e                 = sum(v, &e, &addend, -1);
    v->s.reg[reg]     = fresh(v);
    const Expr *count = &v->s.reg[H_RCX];
    bool        fits  = fits_cover(&v->fits, &e, count, size) || fits_cover(&v->fits, &host, count, size);
    return (covered(&v->s, (unsigned)k, &e, size) && fits) || bad(v, "a string that no check covers");
}

static bool is_string(const DbtVerifier *v)
{
    switch (v->z.mnemonic) {
    case ZYDIS_MNEMONIC_MOVSB:
    case ZYDIS_MNEMONIC_MOVSW:
    case ZYDIS_MNEMONIC_MOVSD:
    case ZYDIS_MNEMONIC_MOVSQ:
    case ZYDIS_MNEMONIC_STOSB:
    case ZYDIS_MNEMONIC_STOSW:
    case ZYDIS_MNEMONIC_STOSD:
    case ZYDIS_MNEMONIC_STOSQ: return v->z.attributes & ZYDIS_ATTRIB_HAS_REP;
    default: return false;
    }
}

static bool string(DbtVerifier *v)
{
    bool move = v->op[1].type == ZYDIS_OPERAND_TYPE_MEMORY;
    if (v->cold || v->pending || v->z.address_width != 64 ||
        v->z.attributes & (ZYDIS_ATTRIB_HAS_SEGMENT | ZYDIS_ATTRIB_HAS_LOCK)) {
        return bad(v, "a string instruction of no template");
    }
    if (!string_operand(v, H_RDI, v->op[0].size / 8, true) ||
        (move && !string_operand(v, H_RSI, v->op[0].size / 8, false))) {
        return false;
    }
    v->s.reg[H_RCX] = fresh(v);
    return true;
}

/* CMP of a tag with a page that is known: the whole page is where the addend leads if they are the same. */
static bool is_tag_of_page(DbtVerifier *v)
{
    Expr  a = value_of(v, &v->op[0]), b = value_of(v, &v->op[1]);
    bool  tag_first = v->op[0].type == ZYDIS_OPERAND_TYPE_MEMORY;
    Expr *tag = tag_first ? &a : &b, *page = tag_first ? &b : &a;
    int   k = entry_in(tag, ROOT_TAG, 1);
    if (k < 0 || tag->n != 1 || tag->c || page->n || v->op[0].size != 64) {
        return false;
    }
    v->pending  = ZYDIS_MNEMONIC_JNZ;
    v->checking = (Fact){ .k = (unsigned)k, .size = X86_PAGE_SIZE, .address = *page };
    return true;
}

/* The look at a run, `CMP register, [last]` and the branch behind it, and the load of the addend? Sets what must
 * follow. */
static bool run_step(DbtVerifier *v)
{
    const ZydisDecodedOperand *to = &v->op[0], *from = &v->op[1];

    if (v->cold) {
        return false;
    }
    if (v->z.mnemonic == ZYDIS_MNEMONIC_CMP && is_whole(to)) {
        int n8 = run_of(from, offsetof(DbtRun, last8)), n64 = run_of(from, offsetof(DbtRun, last64));
        int n = MAX(n8, n64);
        if (n < 0 || (unsigned)n / (2 * DBT_RUNS) != v->u->mode || v->n_lookups == MAX_LOOKUPS) {
            return false;
        }
        Expr start  = expr_root(ROOT_RUN + (uint32_t)n);
        v->checking = (Fact){ .k       = N_MICRO + 2 * v->n_lookups++ + (unsigned)n / DBT_RUNS % 2,
                              .size    = n8 >= 0 ? 8 : 64,
                              .address = sum(v, &v->s.reg[gpr_of(to->reg.value)], &start, 1) };
        v->pending  = ZYDIS_MNEMONIC_JNBE;
        v->run      = n;
        return true;
    }
    if (v->run >= 0 && v->z.mnemonic != ZYDIS_MNEMONIC_JNBE) {
        bool addend = v->z.mnemonic == ZYDIS_MNEMONIC_MOV && is_whole(to) && gpr_of(to->reg.value) == H_RCX &&
                      run_of(from, offsetof(DbtRun, addend)) == v->run;
        v->run = -1;
        if (addend) {
            v->s.reg[H_RCX] = expr_root(addend_root(v->checking.k));
        }
        return addend;
    }
    return false;
}

/* Everything about an instruction but where it branches. */
static bool step(DbtVerifier *v)
{
    if (is_string(v)) {
        return string(v);
    }
    fits_step(&v->fits, &v->z, v->op, v->s.reg);
    if (!allowed(v) || !operands(v)) {
        return false;
    }
    if (v->pending && v->z.mnemonic != v->pending) {
        return bad(v, "a comparison with a tag, and no branch behind it");
    }
    if (run_step(v)) {
        return true;
    }
    if (v->z.mnemonic == ZYDIS_MNEMONIC_CMP && !v->cold && is_tag_of_page(v)) {
        return true;
    }
    if (v->z.mnemonic == ZYDIS_MNEMONIC_CMP && is_whole(&v->op[0]) && v->op[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        Expr     e     = value_of(v, &v->op[0]);
        int      k     = entry_in(&e, ROOT_TAG, -1);
        uint64_t limit = v->op[1].imm.value.u;
        if (k >= 0 && !v->cold) {
            if (limit >= X86_PAGE_SIZE || limit < X86_PAGE_SIZE - RANGE_MAX) {
                return bad(v, "a check for a strange size");
            }
            Expr tag   = expr_root(ROOT_TAG + (uint32_t)k);
            v->pending = ZYDIS_MNEMONIC_JNBE;
            v->checking =
                (Fact){ .k = (unsigned)k, .size = X86_PAGE_SIZE - (unsigned)limit, .address = sum(v, &e, &tag, 1) };
        }
    }
    if (v->z.mnemonic != ZYDIS_MNEMONIC_CALL) { /* its caller knows what comes back */
        transfer(v);
    }
    return true;
}

/* --- branches --- */

static int stub_at(const Dbt *dbt, const uint8_t *to)
{
    for (unsigned i = 0; i < N_STUBS; i++) {
        if (dbt->stubs[i] == to) {
            return (int)i;
        }
    }
    return -1;
}

/* Where the branch at hand leads; NULL: it is none with a fixed place. */
static const uint8_t *branch_target(const DbtVerifier *v)
{
    const ZydisDecodedOperand *o = &v->op[0];
    bool branch = v->z.meta.category == ZYDIS_CATEGORY_COND_BR || v->z.meta.category == ZYDIS_CATEGORY_UNCOND_BR ||
                  v->z.meta.category == ZYDIS_CATEGORY_CALL;
    if (!branch || o->type != ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        return NULL;
    }
    return v->at + v->z.length + o->imm.value.s;
}

static bool is_masked(const DbtVerifier *v)
{
    Expr masked = expr_root(ROOT_MASKED);
    return expr_same(&v->s.reg[H_RCX], &masked);
}

static bool branch(DbtVerifier *v)
{
    const DbtUnit *u    = v->u;
    const uint8_t *to   = branch_target(v);
    bool           call = v->z.mnemonic == ZYDIS_MNEMONIC_CALL;

    if (!to) {
        return v->z.mnemonic == ZYDIS_MNEMONIC_JMP ? is_frame(&v->op[0]) || bad(v, "an indirect jump")
                                                   : !call || bad(v, "an indirect call");
    }
    int stub = stub_at(v->dbt, to);
    if (stub >= STUB_JUMP_MISS && stub <= STUB_RET_MISS_LAST &&
        (unsigned)(stub - STUB_JUMP_MISS) % DBT_MODES != u->mode) {
        return bad(v, "a branch to the stub of another mode");
    }
    if (stub >= STUB_TLB) {
        return (call && !v->cold) || bad(v, "a branch to a look-up that is called");
    }
    switch (stub) {
    case STUB_JUMP_MISS ... STUB_JUMP_MISS_LAST:
    case STUB_KICK:
    case STUB_STAC:
    case STUB_CLAC:
    case STUB_PAGES: return !call || bad(v, "a call of a stub that does not come back");
    case STUB_SYSCALL:
    case STUB_QUICK_SEGMENT ... STUB_QUICK_SEGMENTS_LAST:
    case STUB_QUICK_FAR:
    case STUB_SYSRET: return (call && !v->cold) || bad(v, "a branch to a stub that is called from the hot part");
    case STUB_INSN: return call || bad(v, "a branch to a stub that is called");
    case STUB_READ_MISS:
    case STUB_WRITE_MISS:
    case STUB_GROUP_READ_MISS:
    case STUB_GROUP_WRITE_MISS:
    case STUB_READ:
    case STUB_WRITE:
    case STUB_GROUP_READ:
    case STUB_GROUP_WRITE:
    case STUB_RUN_READ:
    case STUB_RUN_WRITE:
    case STUB_RUN_GROUP_READ:
    case STUB_RUN_GROUP_WRITE:
    case STUB_COUNTED:
    case STUB_LINK:
    case STUB_RET_MISS ... STUB_RET_MISS_LAST:
    case STUB_CALL_MISS: return (call && v->cold) || bad(v, "a branch to a stub that is called from the cold part");
    case -1: break;
    default: return bad(v, "a branch to a stub that is C's");
    }
    bool hot  = to >= u->hot && to < u->hot + u->hot_size;
    bool cold = to >= u->cold && to < u->cold + u->cold_size;
    if (call ||
        !(hot ? begins(v->hot_at, (uint64_t)(to - u->hot)) : cold && begins(v->cold_at, (uint64_t)(to - u->cold)))) {
        return bad(v, "a branch to what is no instruction of the unit");
    }
    if (v->cold && hot && v->z.mnemonic != ZYDIS_MNEMONIC_JMP && !is_masked(v)) {
        return bad(v, "a conditional branch out of the cold part");
    }
    if (!v->cold && cold && is_masked(v)) {
        v->masked_at[(to - u->cold) / 8] |= (uint8_t)(1 << (to - u->cold) % 8);
    }
    if (!v->cold && hot && to <= v->at && to != u->hot) {
        return bad(v, "a branch backwards");
    }
    return true;
}

/* The description that RCX has, by the instruction before the call of a miss stub that ends at p. */
static bool site_before(const DbtUnit *u, const uint8_t *p, DbtSite *site)
{
    if (p - u->cold < 15 || p[-15] != 0x48 || p[-14] != 0xb9) {
        return false;
    }
    *site = dbt_site_of(p);
    return true;
}

static unsigned mode_of_entry(unsigned entry)
{
    return entry < DBT_MICROS ? entry / (2 * DBT_MICRO) : (entry - DBT_MICROS) / (2 * DBT_RUNS);
}

static DbtStub stub_for(const DbtSite *site, bool write, bool group)
{
    if (site->flags & SITE_RUN && !(site->flags & SITE_EXEC)) {
        return group ? (write ? STUB_RUN_GROUP_WRITE : STUB_RUN_GROUP_READ) : write ? STUB_RUN_WRITE : STUB_RUN_READ;
    }
    if (site->flags & (SITE_TLB | SITE_EXEC)) {
        return group ? (write ? STUB_GROUP_WRITE : STUB_GROUP_READ) : write ? STUB_WRITE : STUB_READ;
    }
    return group ? (write ? STUB_GROUP_WRITE_MISS : STUB_GROUP_READ_MISS) : write ? STUB_WRITE_MISS : STUB_READ_MISS;
}

/* The slow side of the check that has just ended: asks for the same, and comes back behind it, or to its begin if it
 * looks into the TLB. */
static bool slow_side(DbtVerifier *v, const uint8_t *to, const uint8_t *back)
{
    const DbtUnit *u     = v->u;
    const uint8_t *end   = u->cold + u->cold_size;
    Fact          *f     = &v->checking;
    State          saved = v->s;
    DbtSite        site;

    if (to < u->cold || to >= end) {
        return bad(v, "a check whose slow side is not cold");
    }
    bool page  = v->pending == ZYDIS_MNEMONIC_JNZ;
    v->pending = 0;
    v->cold    = true;
    unsigned n = 0;
    do {
        if (!decode(v, to, end) || !step(v)) {
            return false;
        }
        to += v->z.length;
    } while (v->z.mnemonic != ZYDIS_MNEMONIC_CALL && ++n < 24);
    v->cold    = false;
    bool write = is_write(f->k), run = v->run >= 0, tlb = f->k >= N_MICRO && !run;
    int  stub      = branch_target(v) ? stub_at(v->dbt, branch_target(v)) : -1;
    bool described = site_before(u, to, &site);
    if (described && run) { /* the way back from here has it for that size */
        f->size = MIN(f->size, X86_PAGE_SIZE - (unsigned)site.limit);
    }
    if (!described || (!tlb && site.micro != (run ? DBT_MICROS + (unsigned)v->run : f->k)) ||
        !(site.flags & SITE_RUN) != !run || (!page && site.limit != X86_PAGE_SIZE - f->size) ||
        site.limit >= X86_PAGE_SIZE || site.insn != v->insn || !(site.flags & SITE_TLB) != !tlb) {
        return bad(v, "a slow side whose description is not the check's");
    }
    if (stub != (int)stub_for(&site, write, false) && stub != (int)stub_for(&site, write, true)) {
        return bad(v, "a slow side without its stub");
    }
    const Expr *rax = &v->s.reg[H_RAX];
    if (page ? rax->n || rax->c - f->address.c > site.limit : !expr_same(rax, &f->address)) {
        return bad(v, "a slow side for another address than the check's");
    }
    if (!decode(v, to, end) || v->z.mnemonic != ZYDIS_MNEMONIC_JMP || !branch_target(v)) {
        return bad(v, "a slow side that does not come back");
    }
    const uint8_t *again = branch_target(v);
    if (run) { /* behind the load of the addend */
        if (!decode(v, back, u->hot + u->hot_size)) {
            return false;
        }
        back += v->z.length;
    }
    uint64_t offset = (uint64_t)(again - u->hot);
    bool     retry  = site.flags & SITE_RETRY;
    if (((tlb || page) && !retry) ||
        (retry ? again < u->hot + u->insn_host[v->insn] || again >= back || !begins(v->again_at, offset)
               : again != back)) {
        return bad(v, "a slow side that comes back to the wrong place");
    }
    v->s = saved;
    return true;
}

/* --- the two parts --- */

static bool find_begins(DbtVerifier *v, const uint8_t *start, uint32_t size, uint8_t *bits)
{
    memset(bits, 0, CODE_MAX / 8);
    for (uint32_t at = 0; at < size; at += v->z.length) {
        if (!decode(v, start + at, start + size)) {
            return false;
        }
        bits[at / 8] |= (uint8_t)(1 << at % 8);
    }
    return true;
}

/* A branch forwards within the hot part: the state goes along. */
static bool join_later(DbtVerifier *v, uint32_t offset)
{
    for (unsigned i = 0; i < v->n_joins; i++) {
        if (v->joins[i].offset == offset) {
            meet(v, &v->joins[i].state, &v->s);
            return true;
        }
    }
    if (v->n_joins == MAX_JOINS) {
        return bad(v, "too many branches within the unit");
    }
    v->joins[v->n_joins++] = (Join){ .offset = offset, .state = v->s };
    return true;
}

static bool find_ways_back(DbtVerifier *v)
{
    const DbtUnit *u   = v->u;
    const uint8_t *end = u->cold + u->cold_size;

    DbtStub called = N_STUBS;
    DbtSite site   = { 0 };

    memset(v->back_at, 0, sizeof v->back_at);
    memset(v->again_at, 0, sizeof v->again_at);
    for (const uint8_t *p = u->cold; p < end; p += v->z.length) {
        if (!decode(v, p, end)) {
            return false;
        }
        const uint8_t *to = branch_target(v);
        if (to && v->z.mnemonic != ZYDIS_MNEMONIC_CALL && to >= u->hot && to < u->hot + u->hot_size) {
            uint32_t offset = (uint32_t)(to - u->hot);
            v->back_at[offset / 8] |= (uint8_t)(1 << offset % 8);
            if (called == STUB_COUNTED || (dbt_stub_has_site(called) && site.flags & SITE_RETRY)) {
                v->again_at[offset / 8] |= (uint8_t)(1 << offset % 8);
            }
        }
        called = N_STUBS;
        if (v->z.mnemonic == ZYDIS_MNEMONIC_CALL && to && site_before(u, p + v->z.length, &site)) {
            int stub = stub_at(v->dbt, to);
            called   = stub < 0 ? N_STUBS : (DbtStub)stub;
        }
    }
    return true;
}

/* A call of a look-up: JA must follow. */
static bool look_up(DbtVerifier *v, unsigned stub)
{
    unsigned n     = stub - STUB_TLB;
    bool     write = n & (dbt_tlb_stub(0, true, false, false) - STUB_TLB);
    unsigned k     = N_MICRO + 2 * v->n_lookups + (write ? X86_WRITE : X86_READ);
    if (v->n_lookups++ == MAX_LOOKUPS) {
        return bad(v, "too many look-ups");
    }
    bool host   = n & (dbt_tlb_stub(0, false, true, false) - STUB_TLB);
    Expr addend = expr_root(addend_root(k)), tag = expr_root(ROOT_TAG + k), e = v->s.reg[H_RAX];
    v->pending  = ZYDIS_MNEMONIC_JNBE;
    v->checking = (Fact){ .k = k, .size = 1u << n / 8, .address = e };

    v->s.reg[H_RAX] = host ? sum(v, &e, &addend, 1) : sum(v, &e, &tag, -1);
    v->s.reg[H_RCX] = addend;
    return true;
}

/* The description behind a call of C, which is for that instruction. */
static bool c_call(DbtVerifier *v, const uint8_t *next, const uint8_t *end, unsigned insn)
{
    uint64_t want = (uint64_t)(uintptr_t)v->u | (uint64_t)insn << 56, found;
    if (end - next < 10 || next[0] != 0x48 || next[1] != 0xb9) {
        return bad(v, "a call of C without its description");
    }
    memcpy(&found, next + 2, 8);
    return (found == want && insn < v->u->n && v->u->c_of[insn]) || bad(v, "a call of C for another instruction");
}

static bool hot_part(DbtVerifier *v)
{
    const DbtUnit *u       = v->u;
    const uint8_t *end     = u->hot + u->hot_size;
    bool           reached = true;

    v->insn = 0;
    forget_all(v);
    memset(v->masked_at, 0, sizeof v->masked_at);
    for (const uint8_t *p = u->hot; p < end;) {
        uint32_t offset = (uint32_t)(p - u->hot);
        for (unsigned i = 0; i < v->n_joins; i++) {
            if (v->joins[i].offset == offset) {
                v->fits = (Fits){ 0 };
                if (reached) {
                    meet(v, &v->s, &v->joins[i].state);
                } else {
                    v->s = v->joins[i].state;
                }
                reached     = true;
                v->joins[i] = v->joins[--v->n_joins];
                break;
            }
        }
        if (!reached) {
            forget_all(v);
        }
        while (v->insn + 1 < u->n && u->insn_host[v->insn + 1] <= offset) {
            v->insn++;
        }
        if (offset == u->insn_host[v->insn]) {
            next_insn(v, offset);
        }
        if (begins(v->again_at, offset)) {
            v->s.reg[H_RAX] = fresh(v);
            v->s.reg[H_RCX] = fresh(v);
        }
        if (!decode(v, p, end) || !step(v) || !branch(v)) {
            return false;
        }
        const uint8_t *next = p + v->z.length, *to = branch_target(v);
        bool           jump = v->z.mnemonic == ZYDIS_MNEMONIC_JMP;
        if (v->pending) {
            if (v->z.mnemonic == v->pending && (!slow_side(v, to, next) || !learn(v, &v->checking))) {
                return false;
            }
        } else if (v->z.mnemonic == ZYDIS_MNEMONIC_CALL && stub_at(v->dbt, to) >= STUB_TLB) {
            if (!look_up(v, (unsigned)stub_at(v->dbt, to))) {
                return false;
            }
        } else if (v->z.mnemonic == ZYDIS_MNEMONIC_CALL && stub_at(v->dbt, to) >= STUB_QUICK_SEGMENT &&
                   stub_at(v->dbt, to) <= STUB_QUICK_FAR) {
            v->s.reg[H_RAX] = fresh(v);
            v->s.reg[H_RCX] = fresh(v);
        } else if (v->z.mnemonic == ZYDIS_MNEMONIC_CALL) {
            if (!c_call(v, next, end, v->insn)) {
                return false;
            }
            forget_all(v);
        } else if (to && to > p && to < end && !join_later(v, (uint32_t)(to - u->hot))) {
            return false;
        }
        reached = !jump;
        p       = next;
    }
    return !v->pending || bad(v, "a check without its end");
}

/* What follows a call is its description as well as not. */
static bool is_constant(const DbtVerifier *v)
{
    return v->z.mnemonic == ZYDIS_MNEMONIC_MOV && v->op[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
}

static bool cold_part(DbtVerifier *v)
{
    const DbtUnit *u   = v->u;
    const uint8_t *end = u->cold + u->cold_size;

    bool reached = false;

    v->cold = true;
    forget_all(v);
    for (const uint8_t *p = u->cold; p < end; p += v->z.length) {
        if (begins(v->masked_at, (uint64_t)(p - u->cold)) && !reached) {
            v->s.reg[H_RCX] = expr_root(ROOT_MASKED);
        }
        if (!decode(v, p, end) || !step(v) || !branch(v)) {
            return false;
        }
        if (v->z.mnemonic == ZYDIS_MNEMONIC_CALL) {
            DbtSite        site = { 0 };
            const uint8_t *next = p + v->z.length;
            int            stub = stub_at(v->dbt, branch_target(v));
            if (stub >= 0 && dbt_stub_has_site((DbtStub)stub) &&
                (!site_before(u, next, &site) || mode_of_entry(site.micro) != u->mode || site.insn >= u->n)) {
                return bad(v, "a slow side with a wrong description");
            }
            if (stub == STUB_INSN && !c_call(v, next, end, end - next >= 10 ? next[9] : 0)) {
                return false;
            }
            forget_all(v);
            reached =
                stub != STUB_LINK && stub != STUB_CALL_MISS && (stub < STUB_RET_MISS || stub > STUB_RET_MISS_LAST);
        } else if (v->z.mnemonic == ZYDIS_MNEMONIC_JMP || v->z.mnemonic == ZYDIS_MNEMONIC_UD2) {
            reached = false;
        } else if (v->z.mnemonic != ZYDIS_MNEMONIC_NOP && !is_constant(v)) {
            reached = true;
        }
    }
    v->cold = false;
    return true;
}

/* Displacements that are patched while others run them lie in one cache line, and end a branch. */
static bool exits_and_places(DbtVerifier *v)
{
    const DbtUnit *u     = v->u;
    ptrdiff_t      delta = dbt_writable(v->dbt);

    v->at = u->hot;
    for (unsigned i = 0; i < u->n_exits; i++) {
        const DbtExit *e    = &u->exits[i];
        const uint8_t *site = e->site - delta, *cold = e->cold - delta;
        if (cold < u->cold || cold + 5 > u->cold + u->cold_size || (uintptr_t)cold & 7 ||
            !begins(v->cold_at, (uint64_t)(cold - u->cold))) {
            return bad(v, "an exit whose cold side is in the wrong place");
        }
        uint64_t offset = (uint64_t)(site - u->hot);
        if (e->direct && ((uintptr_t)site % DBT_ALIGN > DBT_ALIGN - 4 || offset + 4 > u->hot_size ||
                          (offset + 4 < u->hot_size && !begins(v->hot_at, offset + 4)))) {
            return bad(v, "an exit that cannot be patched");
        }
    }
    for (unsigned i = 0; i < u->n_places; i++) {
        if (!begins(v->hot_at, u->places[i].host) || u->places[i].insn >= u->n) {
            return bad(v, "a place that is no instruction");
        }
    }
    return true;
}

static bool verify(DbtVerifier *v, const DbtUnit *u)
{
    if (u->hot_size > CODE_MAX || u->cold_size > CODE_MAX) {
        return bad(v, "more code than there can be");
    }
    return find_begins(v, u->hot, u->hot_size, v->hot_at) && find_begins(v, u->cold, u->cold_size, v->cold_at) &&
           find_ways_back(v) && hot_part(v) && cold_part(v) && exits_and_places(v);
}

static void list(const DbtVerifier *v, GString *to, const char *name, const uint8_t *start, uint32_t size)
{
    ZydisFormatter formatter;
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    g_string_append_printf(to, "%s:\n", name);
    for (uint32_t at = 0; at < size;) {
        ZydisDecodedInstruction z;
        ZydisDecodedOperand     op[ZYDIS_MAX_OPERAND_COUNT];
        char                    text[100];
        if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&v->decoder, start + at, size - at, &z, op))) {
            g_string_append_printf(to, "%s %4x  ?\n", start + at == v->at ? "->" : "  ", at);
            return;
        }
        ZydisFormatterFormatInstruction(&formatter, &z, op, z.operand_count_visible, text, sizeof text,
                                        (uint64_t)(uintptr_t)(start + at), NULL);
        g_string_append_printf(to, "%s %4x  %s\n", start + at == v->at ? "->" : "  ", at, text);
        at += z.length;
    }
}

_Noreturn static void complain(const DbtVerifier *v)
{
    const DbtUnit *u    = v->u;
    GString       *text = g_string_new(NULL);
    list(v, text, "hot", u->hot, u->hot_size);
    list(v, text, "cold", u->cold, u->cold_size);
    g_error("the translator's code for %#" G_GINT64_MODIFIER "x has %s\n%sin guest instruction %u", u->rip, v->problem,
            text->str, v->insn);
}

void dbt_verify(Dbt *dbt, const DbtUnit *u)
{
    DbtVerifier *v = dbt->verifier;
    if (!v) {
        return;
    }
    v->dbt       = dbt;
    v->u         = u;
    v->next_root = ROOT_FRESH;
    v->n_joins   = 0;
    v->n_lookups = 0;
    v->pending   = 0;
    v->run       = -1;
    v->cold      = false;
    v->problem   = NULL;
    if (!verify(v, u)) {
        complain(v);
    }
}

void dbt_set_verify(Dbt *dbt, bool on)
{
    g_mutex_lock(&dbt->lock);
    if (!on) {
        g_free(dbt->verifier);
        dbt->verifier = NULL;
    } else if (!dbt->verifier) {
        dbt->verifier = g_new0(DbtVerifier, 1);
        ZydisDecoderInit(&dbt->verifier->decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    }
    g_mutex_unlock(&dbt->lock);
}
