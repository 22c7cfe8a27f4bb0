/* A unit on its way: which host registers are the guest's, where rip is, and what is noted beside the code:
 * relocations, places where the host may fault, and branches whose way goes on at the unit's end.
 *
 * Lock of the Dbt held. */

#include "accel/dbt/emit.h"

enum { JRCXZ = 0xe3 };

/* --- registers --- */

const uint8_t dbt_host_register[16] = { H_R9, H_R10,  H_RDX,  H_RBX,  H_R11, H_RBP, H_RSI, H_RDI,
                                        H_R8, H_NONE, H_NONE, H_NONE, H_R12, H_R13, H_R14, H_R15 };

unsigned read_guest(Tr *t, unsigned guest, unsigned scratch)
{
    unsigned host = dbt_host_register[guest];
    if (host == H_NONE) {
        asm_load(&t->hot, scratch, guest_slot(guest));
        return scratch;
    }
    return host;
}

void write_guest(Tr *t, unsigned guest, unsigned host)
{
    unsigned own = dbt_host_register[guest];
    if (own == H_NONE) {
        asm_store(&t->hot, guest_slot(guest), host);
    } else if (own != host) {
        asm_mov(&t->hot, own, host);
    }
}

/* --- rip --- */

uint64_t insn_rip(const Tr *t, unsigned i)
{
    return t->f->rip + (i < t->n ? t->s->insns[i].off : t->len);
}

int page_offset(const Tr *t, uint64_t rip)
{
    uint64_t linear = rip + (t->f->linear - t->f->rip);
    if (t->mode.code != 8) {
        linear = (uint32_t)linear;
    }
    return (linear ^ t->f->linear) >> X86_PAGE_BITS ? -1 : (int)(linear & X86_PAGE_MASK);
}

/* --- notes --- */

void reloc(Tr *t, bool in_cold, RelocKind kind, uint64_t value)
{
    if (t->n_relocs == MAX_RELOCS) {
        t->failed = true;
        return;
    }
    uint32_t end                = asm_offset(in_cold ? &t->cold : &t->hot);
    t->s->relocs[t->n_relocs++] = (Reloc){ .at      = end - (kind == RELOC_UNIT || kind == RELOC_LINEAR ? 8 : 4),
                                           .in_cold = in_cold,
                                           .kind    = (uint8_t)kind,
                                           .value   = value };
}

/* A short branch with that opcode, if it seems to reach the unit's end. */
static bool put_short_branch(Tr *t, uint8_t op)
{
    /* Of an instruction on average, of a way, of what ends a unit: where that is too little, all is done once more. */
    enum { AN_INSN = 16, A_WAY = 5, AN_END = 48 };
    unsigned left = (t->n - 1 - t->i) * AN_INSN + t->n_shorts * A_WAY + AN_END;
    if (t->no_shorts || left > INT8_MAX || t->n_shorts == G_N_ELEMENTS(t->s->shorts)) {
        return false;
    }
    asm_8(&t->hot, op);
    asm_8(&t->hot, 0);
    t->s->shorts[t->n_shorts++] = (ShortWay){ asm_offset(&t->hot), asm_offset(&t->cold) };
    return true;
}

void put_cold_branch(Tr *t, unsigned cc)
{
    if (!put_short_branch(t, (uint8_t)(0x70 | cc))) {
        asm_jcc(&t->hot, cc, 0);
        reloc(t, false, RELOC_COLD, asm_offset(&t->cold));
    }
}

void put_cold_rcxz(Tr *t)
{
    if (!put_short_branch(t, JRCXZ)) {
        asm_8(&t->hot, JRCXZ);
        asm_8(&t->hot, 0);
        t->rcxz_way = (ShortWay){ asm_offset(&t->hot), asm_offset(&t->cold) };
    }
}

void put_rcxz_way(Tr *t, bool falls)
{
    Asm     *a   = &t->hot;
    ShortWay way = t->rcxz_way;
    if (!way.from || a->full) {
        return;
    }
    if (falls) {
        asm_8(a, 0xeb); /* jmp past it */
        asm_8(a, 5);
    }
    a->start[way.from - 1] = (uint8_t)(asm_offset(a) - way.from);
    asm_jmp(a, 0);
    reloc(t, false, RELOC_COLD, way.to);
    t->rcxz_way.from = 0;
}

void emit_short_ways(Tr *t)
{
    Asm *a = &t->hot;
    for (unsigned i = 0; i < t->n_shorts && !a->full; i++) {
        uint32_t rel = asm_offset(a) - t->s->shorts[i].from;
        if (rel > INT8_MAX) {
            t->no_shorts = t->failed = true;
            return;
        }
        a->start[t->s->shorts[i].from - 1] = (uint8_t)rel;
        asm_jmp(a, 0);
        reloc(t, false, RELOC_COLD, t->s->shorts[i].to);
    }
}

void put_linear(Tr *t, bool in_cold, unsigned reg, uint64_t value)
{
    Asm *a = in_cold ? &t->cold : &t->hot;
    if (t->movable) {
        asm_mov_imm64(a, reg, value);
        reloc(t, in_cold, RELOC_LINEAR, value);
    } else {
        asm_mov_imm(a, reg, value);
    }
}

void place(Tr *t)
{
    if (t->n_places == MAX_PLACES) {
        t->failed = true;
        return;
    }
    t->s->places[t->n_places++] = (DbtPlace){ .host          = asm_offset(&t->hot),
                                              .insn          = (uint8_t)t->i,
                                              .flags_in_host = t->fl_reg,
                                              .recipe        = t->fl_reg || t->fl_mem ? (Recipe){ 0 } : t->recipe };
}
