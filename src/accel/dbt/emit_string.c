/* Templates of string instructions, DF = 0: one step of MOVS, STOS or LODS, and REP MOVS and REP STOS within a page. */

#include "accel/dbt/emit.h"

static MemSpec source(const Tr *t, const DbtInsn *in)
{
    MemSpec m = { .base     = X86_RSI,
                  .index    = DBT_NO_REG,
                  .seg      = t->mode.code == 8 ? (uint8_t)X86_DS : in->seg,
                  .addrsize = in->addrsize,
                  .size     = in->opsize };
    segment_spec(t, &m);
    return m;
}

static MemSpec destination(const Tr *t, const DbtInsn *in)
{
    MemSpec m = {
        .base = X86_RDI, .index = DBT_NO_REG, .seg = X86_ES, .addrsize = in->addrsize, .size = in->opsize, .write = true
    };
    segment_spec(t, &m);
    return m;
}

/* One step of MOVS, STOS or LODS, upwards. The value waits in the frame while the second address is checked. */
void emit_string(Tr *t, const DbtInsn *in)
{
    Asm     *a    = &t->hot;
    unsigned size = in->opsize;
    bool     load = in->op < 0xaa || in->op >= 0xac, store = in->op < 0xac, both = load && store;
    MemSpec  from = source(t, in), to = destination(t, in);
    Enc mv = { .prefix = size == 2 ? 0x66 : 0, .w = size == 8, .op = size == 1 ? 0x8a : 0x8b, .byte_reg = size == 1 };

    mv.memory = true;
    if (load) {
        Operand o = check(t, &from);
        mv.mem    = o.mem;
        mv.reg    = both ? o.free : H_R9;
        asm_emit(a, &mv);
        if (both) {
            asm_store(a, asm_frame(DBT_FRAME(keep[1])), o.free);
        }
    }
    if (store) {
        Operand o = check(t, &to);
        mv.op     = size == 1 ? 0x88 : 0x89;
        mv.mem    = o.mem;
        mv.reg    = H_R9;
        if (both) {
            asm_load(a, o.free, asm_frame(DBT_FRAME(keep[1])));
            mv.reg = o.free;
        }
        asm_emit(a, &mv);
        put_sized(a, in->addrsize, 0x8d, H_RDI, asm_at(H_RDI, (int)size)); /* lea */
    }
    if (load) {
        put_sized(a, in->addrsize, 0x8d, H_RSI, asm_at(H_RSI, (int)size));
    }
}

static const uint8_t shifts[9] = { [2] = 1, [4] = 2, [8] = 3 };

/* Elements from there on in the page: fewer than in `count`, and C does all. RAX is used. */
static void put_fits(Tr *t, unsigned at, unsigned count, unsigned size, uint32_t c)
{
    Asm *a = &t->hot;

    asm_mov32(a, H_RAX, at);
    asm_ri(a, false, 1, H_RAX, -X86_PAGE_SIZE);
    asm_emit(a, &(Enc){ .op = 0xf7, .reg = 3, .rm = H_RAX });
    if (size > 1) {
        asm_emit(a, &(Enc){ .op = 0xc1, .reg = 5, .rm = H_RAX, .imm = shifts[size], .imm_size = 1 });
    }
    asm_rr(a, true, 0x3b, count, H_RAX);
    asm_jcc(a, CC_A, 0);
    reloc(t, false, RELOC_COLD, c);
}

/* The first element's check, with the addend in RCX and in keep[]. What is not canonical faults here, while the
 * registers are still the guest's. */
static void put_rep_check(Tr *t, const MemSpec *m, unsigned keep)
{
    Asm    *a = &t->hot;
    Operand o = check(t, m);
    asm_emit(a, &(Enc){ .op = 0x38, .reg = H_RAX, .memory = true, .mem = o.mem, .byte_reg = true });
    asm_store(a, asm_frame(DBT_FRAME(keep[0]) + 8 * (int)keep), H_RCX);
}

static void put_host_rep(Asm *a, const DbtInsn *in)
{
    asm_8(a, 0xf3);
    if (in->opsize == 2 || in->opsize == 8) {
        asm_8(a, in->opsize == 2 ? 0x66 : 0x48);
    }
    asm_8(a, in->op);
}

/* REP MOVS and STOS by the host's own, when all of it lies in one page on each side. 64-bit code. */
static void emit_rep64(Tr *t, const DbtInsn *in)
{
    Asm    *a    = &t->hot;
    bool    move = in->op < 0xaa;
    MemSpec from = source(t, in), to = destination(t, in);

    from.no_copy = true;
    flags_save(t);
    asm_rr(a, true, 0x85, H_R10, H_R10);
    asm_jcc(a, CC_Z, 0);
    uint32_t skip = asm_offset(a);
    if (move) {
        put_rep_check(t, &from, 0);
    }
    put_rep_check(t, &to, 1);
    uint32_t c = emit_rest_by_c(t, false);
    if (move) {
        put_fits(t, H_RSI, H_R10, in->opsize, c);
    }
    put_fits(t, H_RDI, H_R10, in->opsize, c);
    if (move) {
        asm_rm(a, true, 0x03, H_RSI, asm_frame(DBT_FRAME(keep[0])));
    } else {
        asm_mov(a, H_RAX, H_R9);
    }
    asm_rm(a, true, 0x03, H_RDI, asm_frame(DBT_FRAME(keep[1])));
    asm_mov(a, H_RCX, H_R10);
    put_host_rep(a, in);
    if (move) {
        asm_rm(a, true, 0x2b, H_RSI, asm_frame(DBT_FRAME(keep[0])));
    }
    asm_rm(a, true, 0x2b, H_RDI, asm_frame(DBT_FRAME(keep[1])));
    asm_mov(a, H_R10, H_RCX);
    if (!a->full) {
        int32_t rel = (int32_t)(asm_offset(a) - skip);
        memcpy(a->start + skip - 4, &rel, 4);
    }
}

/* One side of emit_rep_based(): the guest's register is in frame.keep[reg] meanwhile, the host address in keep[host].
 */
typedef struct Side {
    MemSpec m;
    uint8_t guest; /* its register, the same on the host */
    int32_t reg, host;
} Side;

/* The first element's check, and its host address into the frame. */
static void put_side_check(Tr *t, const Side *s)
{
    MemSpec m = s->m;
    m.scratch = true;
    check(t, &m);
    asm_store(&t->hot, asm_frame(s->host), H_RCX);
}

/* The guest's register to the frame, the host address into it. */
static void put_side_in(Tr *t, const Side *s)
{
    asm_store(&t->hot, asm_frame(s->reg), s->guest);
    asm_load(&t->hot, s->guest, asm_frame(s->host));
}

/* RCX elements end before `last`, the last offset that an element may have, or in frame.seg_last; else C. */
static void put_ends_before(Tr *t, const Side *s, bool in_frame, uint32_t last, uint32_t c)
{
    Asm     *a = &t->hot;
    unsigned n = shifts[s->m.size];

    put_load(a, s->m.addrsize, H_RAX, asm_frame(s->reg));
    asm_emit(a, &(Enc){ .w = true, .op = 0xf7, .reg = 3, .rm = H_RAX }); /* neg */
    if (in_frame) {
        asm_rm(a, true, 0x03, H_RAX, asm_frame(DBT_FRAME(seg_last) + 8 * (int32_t)(DBT_LAST * s->m.seg + n)));
    } else {
        asm_ri(a, s->m.addrsize == 2, 0, H_RAX, (int32_t)last); /* negative where not even the first one fits */
    }
    if (n) {
        asm_emit(a, &(Enc){ .w = true, .op = 0xc1, .reg = 7, .rm = H_RAX, .imm = n, .imm_size = 1 }); /* sar */
    }
    asm_ri(a, true, 0, H_RAX, 1);
    asm_rr(a, true, 0x3b, H_RCX, H_RAX);
    asm_jcc(a, CC_G, 0);
    reloc(t, false, RELOC_COLD, c);
}

static void put_side_fits(Tr *t, const Side *s, uint32_t c)
{
    put_fits(t, s->guest, H_RCX, s->m.size, c);
    if (!s->m.based) {
        return;
    }
    bool limit = s->m.kind == X86_SEGMENT_LIMIT;
    if (limit) {
        put_ends_before(t, s, true, 0, c);
    }
    if (s->m.addrsize == 2 || s->m.kind == X86_SEGMENT_64K) {
        put_ends_before(t, s, false, 0x10000u - s->m.size, c);
    } else if (!limit) {
        put_ends_before(t, s, false, 0u - s->m.size, c);
    }
}

/* The guest's register again, moved on as far as the host's is. */
static void put_side_out(Tr *t, const Side *s)
{
    Asm *a = &t->hot;
    asm_rm(a, true, 0x2b, s->guest, asm_frame(s->host));
    if (s->m.addrsize == 2) {
        asm_load(a, H_RAX, asm_frame(s->reg));
        asm_emit(a, &(Enc){ .prefix = 0x66, .op = 0x03, .reg = H_RAX, .rm = s->guest });
        asm_mov(a, s->guest, H_RAX);
    } else {
        asm_rm(a, false, 0x03, s->guest, asm_frame(s->reg));
    }
}

/* The same outside 64-bit mode, where neither may reach the end of its segment either. */
static void emit_rep_based(Tr *t, const DbtInsn *in)
{
    Asm  *a    = &t->hot;
    bool  move = in->op < 0xaa, word = in->addrsize == 2;
    Side  sides[2] = { { .guest = X86_RSI, .reg = DBT_FRAME(keep[2]), .host = DBT_FRAME(keep[0]) },
                       { .guest = X86_RDI, .reg = DBT_FRAME(keep[3]), .host = DBT_FRAME(keep[1]) } };
    Side *first = move ? sides : sides + 1, *end = sides + 2;

    sides[0].m         = source(t, in);
    sides[0].m.no_copy = true;
    sides[1].m         = destination(t, in);
    flags_save(t);
    asm_emit(a, &(Enc){ .prefix = word ? 0x66 : 0, .op = 0x85, .reg = H_R10, .rm = H_R10 });
    asm_jcc(a, CC_Z, 0);
    uint32_t skip = asm_offset(a);
    for (Side *s = first; s < end; s++) {
        put_side_check(t, s);
    }
    for (Side *s = first; s < end; s++) {
        put_side_in(t, s);
    }
    uint32_t c = asm_offset(&t->cold);
    for (Side *s = first; s < end; s++) {
        asm_load(&t->cold, s->guest, asm_frame(s->reg));
    }
    emit_rest_by_c(t, false);
    asm_emit(a, &(Enc){ .map = word, .op = word ? 0xb7 : 0x8b, .reg = H_RCX, .rm = H_R10 });
    for (Side *s = first; s < end; s++) {
        put_side_fits(t, s, c);
    }
    if (!move) {
        asm_mov(a, H_RAX, H_R9);
    }
    put_host_rep(a, in);
    for (Side *s = first; s < end; s++) {
        put_side_out(t, s);
    }
    asm_emit(a, &(Enc){ .prefix = word ? 0x66 : 0, .op = 0x8b, .reg = H_R10, .rm = H_RCX });
    if (!a->full) {
        int32_t rel = (int32_t)(asm_offset(a) - skip);
        memcpy(a->start + skip - 4, &rel, 4);
    }
}

void emit_rep(Tr *t, const DbtInsn *in)
{
    if (t->mode.code == 8) {
        emit_rep64(t, in);
    } else {
        emit_rep_based(t, in);
    }
}
