/* What one host instruction does, as the verifier sees it: sums of unknowns in registers and in words of the frame,
 * what checks have shown, operands in guest memory and in the frame (verify.c has the rules).
 *
 * Lock of the Dbt held. */

#include "accel/dbt/verify_insn.h"

#include "cpu/x86/encode.h"

bool verify_bad(DbtVerifier *v, const char *problem)
{
    if (!v->problem) {
        v->problem = problem;
    }
    return false;
}

bool verify_begins(const uint8_t *bits, uint64_t offset)
{
    return offset < CODE_MAX && bits[offset / 8] >> (offset % 8) & 1;
}

/* --- sums --- */

Expr verify_fresh(DbtVerifier *v)
{
    return expr_root(v->next_root++);
}

Expr verify_sum(DbtVerifier *v, const Expr *a, const Expr *b, int64_t times)
{
    Expr e;
    return expr_sum(a, b, times, &e) ? e : verify_fresh(v);
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

bool verify_is_write(unsigned k)
{
    return (k < N_MICRO ? k / DBT_MICRO % 2 : (k - N_MICRO) % 2) == X86_WRITE;
}

/* Entries of one look-up share the addend. */
uint32_t verify_addend_root(unsigned k)
{
    return ROOT_ADDEND + (k < N_MICRO ? k : N_MICRO + (k - N_MICRO) / 2 * 2);
}

/* --- states --- */

void verify_forget_all(DbtVerifier *v)
{
    v->fits = (Fits){ 0 };
    for (unsigned i = 0; i < 16; i++) {
        v->s.reg[i] = verify_fresh(v);
    }
    for (unsigned i = 0; i < N_SLOTS; i++) {
        v->s.slot[i] = i == offsetof(DbtFrame, tlb) / 8 ? expr_root(ROOT_TLB) : verify_fresh(v);
    }
    v->s.n_facts = 0;
}

/* Nothing else goes from one guest instruction to the next in scratch registers and words. */
void verify_next_insn(DbtVerifier *v, uint32_t offset)
{
    v->fits         = (Fits){ 0 };
    v->s.reg[H_RAX] = verify_fresh(v);
    /* But for an addend in RCX, unless slow paths that have run the instruction in C come in here. */
    if (entry_in(&v->s.reg[H_RCX], ROOT_ADDEND, 1) < 0 || v->back_at[offset / 8] >> offset % 8 & 1) {
        v->s.reg[H_RCX] = verify_fresh(v);
    }
    for (unsigned i = offsetof(DbtFrame, flags) / 8; i < FRAME_OWN / 8; i++) {
        if (i < offsetof(DbtFrame, fs_base) / 8 || i >= offsetof(DbtFrame, tmp) / 8) {
            v->s.slot[i] = verify_fresh(v);
        }
    }
}

void verify_meet(DbtVerifier *v, State *s, const State *other)
{
    for (unsigned i = 0; i < 16; i++) {
        s->reg[i] = expr_same(&s->reg[i], &other->reg[i]) ? s->reg[i] : verify_fresh(v);
    }
    for (unsigned i = 0; i < N_SLOTS; i++) {
        s->slot[i] = expr_same(&s->slot[i], &other->slot[i]) ? s->slot[i] : verify_fresh(v);
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

bool verify_learn(DbtVerifier *v, const Fact *f)
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
            v->s.reg[i] = verify_fresh(v);
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
        e = verify_sum(v, &e, &v->s.reg[gpr_of(o->mem.base)], 1);
    }
    if (o->mem.index != ZYDIS_REGISTER_NONE) {
        e = verify_sum(v, &e, &v->s.reg[gpr_of(o->mem.index)], o->mem.scale);
    }
    return e;
}

bool verify_is_frame(const ZydisDecodedOperand *o)
{
    return o->type == ZYDIS_OPERAND_TYPE_MEMORY && o->mem.base == ZYDIS_REGISTER_RSP;
}

/* The followed word that an operand is; -1: another place, or a part. */
static int slot_of(const ZydisDecodedOperand *o)
{
    uint64_t at = (uint64_t)o->mem.disp.value;
    return verify_is_frame(o) && o->mem.index == ZYDIS_REGISTER_NONE && at % 8 == 0 && at / 8 < N_SLOTS && o->size == 64
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
        return verify_fresh(v);
    }
    switch (at.c) {
    case offsetof(X86TlbEntry, read): return expr_root(ROOT_TAG + entry + X86_READ);
    case offsetof(X86TlbEntry, write): return expr_root(ROOT_TAG + entry + X86_WRITE);
    case offsetof(X86TlbEntry, addend): return expr_root(verify_addend_root(entry));
    default: return verify_fresh(v);
    }
}

/* Which run's member the operand is; -1: none. */
static int run_of(const ZydisDecodedOperand *o, size_t member)
{
    uint64_t at = (uint64_t)o->mem.disp.value - offsetof(DbtFrame, runs);
    return verify_is_frame(o) && o->mem.index == ZYDIS_REGISTER_NONE && o->size == 64 && at < N_RUNS * sizeof(DbtRun) &&
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
    return verify_fresh(v);
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
            return verify_bad(v, "an index into the frame that is none into the jump cache");
        }
        return true;
    }
    for (unsigned i = 0; jump && i < v->u->n_exits; i++) {
        const DbtExit *e = &v->u->exits[i];
        if (e->cell && at == (uint64_t)dbt_cell_offset(e->cell) &&
            v->at + v->z.length - 4 == e->site - dbt_writable(v->dbt)) {
            return true;
        }
    }
    if (jump) {
        return (inside(at, size, table, table_end) && (at - table) % sizeof(DbtJump) == 8) ||
               verify_bad(v, "a jump through what is no jump cache");
    }
    if (v->z.attributes & ZYDIS_ATTRIB_HAS_LOCK) {
        return verify_bad(v, "LOCK on the frame");
    }
    if (writes(o)) {
        return inside(at, size, 0, offsetof(DbtFrame, kick)) ||
               inside(at, size, offsetof(DbtFrame, fs_base), offsetof(DbtFrame, vectors)) ||
               inside(at, size, offsetof(DbtFrame, addends), FRAME_OWN) ||
               verify_bad(v, "a write to the frame outside of what code may write");
    }
    return inside(at, size, 0, offsetof(DbtFrame, cpu) + sizeof(X86Cpu *)) ||
           inside(at, size, offsetof(DbtFrame, micro), offsetof(DbtFrame, micro) + N_MICRO * sizeof(DbtMicro)) ||
           inside(at, size, offsetof(DbtFrame, runs), offsetof(DbtFrame, runs) + N_RUNS * sizeof(DbtRun)) ||
           inside(at, size, table, table_end) || verify_bad(v, "a read of the frame outside of what code may read");
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
        return dbt_cpu_member(e.c, size, writes(o)) ||
               verify_bad(v, "an access to the vCPU's state that is none of code's");
    }
    if (entry_of_look_up(&e) >= 0) {
        return (!writes(o) && inside(e.c, size, 0, sizeof(X86TlbEntry))) ||
               verify_bad(v, "an access beside the TLB's entry");
    }
    if (expr_same_terms(&e, &tlb)) {
        return (!writes(o) && inside(e.c, size, 0, X86_TLB_SIZE * sizeof(X86TlbEntry))) ||
               verify_bad(v, "an access beside the TLB");
    }
    if (v->cold) {
        return verify_bad(v, "guest memory in the cold part");
    }
    if (k < 0) {
        return verify_bad(v, "an address without an addend");
    }
    if (k >= N_MICRO && covered_by_write(&v->s, (unsigned)k)) {
        k += X86_WRITE;
    }
    if ((k < N_MICRO && (unsigned)k / (2 * DBT_MICRO) != v->u->mode) || (writes(o) && !verify_is_write((unsigned)k))) {
        return verify_bad(v, "the addend of another mode, or of reads for a write");
    }
    Expr addend = expr_root(verify_addend_root((unsigned)k));
    e           = verify_sum(v, &e, &addend, -1);
    if (is_bit_test(v->z.mnemonic) && v->op[1].type == ZYDIS_OPERAND_TYPE_REGISTER) {
        e = verify_sum(v, &e, &v->s.slot[offsetof(DbtFrame, keep[0]) / 8], 1);
    }
    return covered(&v->s, (unsigned)k, &e, size) || verify_bad(v, "an access that no check covers");
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
            return verify_bad(v, "RSP as an operand");
        }
        if (o->type != ZYDIS_OPERAND_TYPE_MEMORY || (hidden && v->z.mnemonic == ZYDIS_MNEMONIC_CALL)) {
            continue;
        }
        if (o->mem.type != ZYDIS_MEMOP_TYPE_MEM && o->mem.type != ZYDIS_MEMOP_TYPE_AGEN) {
            return verify_bad(v, "an addressing form of no template");
        }
        if ((o->mem.base != ZYDIS_REGISTER_NONE && ZydisRegisterGetClass(o->mem.base) != ZYDIS_REGCLASS_GPR64) ||
            (o->mem.index != ZYDIS_REGISTER_NONE && ZydisRegisterGetClass(o->mem.index) != ZYDIS_REGCLASS_GPR64) ||
            o->mem.segment == ZYDIS_REGISTER_FS || o->mem.segment == ZYDIS_REGISTER_GS) {
            if (o->mem.type == ZYDIS_MEMOP_TYPE_MEM) {
                return verify_bad(v, "an address of no template");
            }
            continue;
        }
        if (o->mem.type == ZYDIS_MEMOP_TYPE_AGEN) {
            if (v->z.mnemonic != ZYDIS_MNEMONIC_LEA || o->mem.base == ZYDIS_REGISTER_RSP) {
                return verify_bad(v, "an address of the frame");
            }
            continue;
        }
        if (!(verify_is_frame(o) ? frame_operand(v, o) : guest_operand(v, o))) {
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
        return verify_bad(v, "a prefix of no template");
    }
    if (dbt_verify_integer[v->z.mnemonic]) {
        return true;
    }
    if (v->cold || !v->u->vectors || v->at < v->u->hot + v->u->vectors) {
        return verify_bad(v, "a vector instruction where the registers may not be loaded");
    }
    switch (v->z.mnemonic) {
    case ZYDIS_MNEMONIC_RET:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_FXRSTOR64: return verify_bad(v, "an instruction of thunks only");
    default:
        return (x86_form_from_decoded(&form, &v->z, v->op) && x86_form_allowed(&form)) ||
               verify_bad(v, "an instruction that is not on the list");
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
        return verify_fresh(v);
    }
    return verify_is_frame(o) ? frame_value(v, o) : tlb_value(v, o);
}

/* What a guest's register has then. Those of strings have the addend too, for as long as they run. */
static Expr kept(DbtVerifier *v, const Expr *e)
{
    unsigned most = EXPR_KEPT + (entry_in(e, ROOT_ADDEND, 1) >= 0);
    return e->n > most ? verify_fresh(v) : *e;
}

static void set_value(DbtVerifier *v, const ZydisDecodedOperand *o, const Expr *e)
{
    if (is_whole(o)) {
        unsigned reg  = (unsigned)gpr_of(o->reg.value);
        v->s.reg[reg] = reg == H_RAX || reg == H_RCX ? *e : kept(v, e);
    } else if (slot_of(o) >= 0) {
        int  slot       = slot_of(o);
        bool guest      = slot <= (int)(offsetof(DbtFrame, r11) / 8);
        v->s.slot[slot] = guest ? kept(v, e) : *e;
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
        e     = whole ? address_of(v, from) : verify_fresh(v);
        known = whole;
        break;
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
        e     = value_of(v, to);
        a     = value_of(v, from);
        e     = verify_sum(v, &e, &a, v->z.mnemonic == ZYDIS_MNEMONIC_ADD ? 1 : -1);
        known = whole;
        break;
    case ZYDIS_MNEMONIC_INC:
    case ZYDIS_MNEMONIC_DEC:
        e     = value_of(v, to);
        e     = verify_sum(v, &e, &one, v->z.mnemonic == ZYDIS_MNEMONIC_INC ? 1 : -1);
        known = whole;
        break;
    case ZYDIS_MNEMONIC_AND:
        if (to->type == ZYDIS_OPERAND_TYPE_REGISTER && gpr_of(to->reg.value) == H_RCX && to->size == 32 &&
            verify_is_frame(from) && from->mem.index == ZYDIS_REGISTER_NONE &&
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
            v->s.reg[gpr_of(o->reg.value)] = verify_fresh(v);
        } else if (verify_is_frame(o)) {
            for (uint64_t at = (uint64_t)o->mem.disp.value / 8;
                 at <= ((uint64_t)o->mem.disp.value + o->size / 8 - 1) / 8; at++) {
                if (at < N_SLOTS) {
                    v->s.slot[at] = verify_fresh(v);
                }
            }
        }
    }
}

bool verify_decode(DbtVerifier *v, const uint8_t *at, const uint8_t *end)
{
    v->at = at;
    return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&v->decoder, at, (size_t)(end - at), &v->z, v->op)) ||
           verify_bad(v, "bytes that are no instruction");
}

/* REP MOVS and STOS on memory that checks cover, no farther than the page's end. */
static bool string_operand(DbtVerifier *v, unsigned reg, unsigned size, bool write)
{
    Expr e = v->s.reg[reg], host = e; /* both have the same place in the page */
    int  k = entry_in(&e, ROOT_ADDEND, 1);
    if (k >= N_MICRO && covered_by_write(&v->s, (unsigned)k)) {
        k += X86_WRITE;
    }
    if (k < 0 || (k < N_MICRO && (unsigned)k / (2 * DBT_MICRO) != v->u->mode) ||
        (write && !verify_is_write((unsigned)k))) {
        return verify_bad(v, "a string without the addend for it");
    }
    Expr addend       = expr_root(verify_addend_root((unsigned)k));
    e                 = verify_sum(v, &e, &addend, -1);
    v->s.reg[reg]     = verify_fresh(v);
    const Expr *count = &v->s.reg[H_RCX];
    bool        fits  = fits_cover(&v->fits, &e, count, size) || fits_cover(&v->fits, &host, count, size);
    return (covered(&v->s, (unsigned)k, &e, size) && fits) || verify_bad(v, "a string that no check covers");
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
        return verify_bad(v, "a string instruction of no template");
    }
    if (!string_operand(v, H_RDI, v->op[0].size / 8, true) ||
        (move && !string_operand(v, H_RSI, v->op[0].size / 8, false))) {
        return false;
    }
    v->s.reg[H_RCX] = verify_fresh(v);
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
                              .address = verify_sum(v, &v->s.reg[gpr_of(to->reg.value)], &start, 1) };
        v->pending  = ZYDIS_MNEMONIC_JNBE;
        v->run      = n;
        return true;
    }
    if (v->run >= 0 && v->z.mnemonic != ZYDIS_MNEMONIC_JNBE) {
        bool addend = v->z.mnemonic == ZYDIS_MNEMONIC_MOV && is_whole(to) && gpr_of(to->reg.value) == H_RCX &&
                      run_of(from, offsetof(DbtRun, addend)) == v->run;
        v->run = -1;
        if (addend) {
            v->s.reg[H_RCX] = expr_root(verify_addend_root(v->checking.k));
        }
        return addend;
    }
    return false;
}

/* Everything about an instruction but where it branches. */
bool verify_step(DbtVerifier *v)
{
    if (is_string(v)) {
        return string(v);
    }
    fits_step(&v->fits, &v->z, v->op, v->s.reg);
    if (!allowed(v) || !operands(v)) {
        return false;
    }
    if (v->pending && v->z.mnemonic != v->pending) {
        return verify_bad(v, "a comparison with a tag, and no branch behind it");
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
                return verify_bad(v, "a check for a strange size");
            }
            Expr tag    = expr_root(ROOT_TAG + (uint32_t)k);
            v->pending  = ZYDIS_MNEMONIC_JNBE;
            v->checking = (Fact){ .k       = (unsigned)k,
                                  .size    = X86_PAGE_SIZE - (unsigned)limit,
                                  .address = verify_sum(v, &e, &tag, 1) };
        }
    }
    if (v->z.mnemonic != ZYDIS_MNEMONIC_CALL) { /* its caller knows what comes back */
        transfer(v);
    }
    return true;
}
