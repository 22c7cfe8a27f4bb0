/* Templates of string instructions, DF = 0, in 64-bit mode: one step of MOVS, STOS or LODS, and REP MOVS and REP STOS
 * within a page. */

#include "accel/dbt/emit.h"

/* One step of MOVS, STOS or LODS, upwards. The value waits in the frame while the second address is checked. */
void emit_string(Tr *t, const DbtInsn *in)
{
    Asm     *a    = &t->hot;
    unsigned size = in->opsize;
    bool     load = in->op < 0xaa || in->op >= 0xac, store = in->op < 0xac, both = load && store;
    MemSpec  from = { .base = X86_RSI, .index = DBT_NO_REG, .seg = X86_DS, .addrsize = 8, .size = (uint8_t)size };
    MemSpec  to   = {
           .base = X86_RDI, .index = DBT_NO_REG, .seg = X86_ES, .addrsize = 8, .size = (uint8_t)size, .write = true
    };
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
        asm_lea(a, true, H_RDI, asm_at(H_RDI, (int)size));
    }
    if (load) {
        asm_lea(a, true, H_RSI, asm_at(H_RSI, (int)size));
    }
}

/* Elements from there on in the page: fewer than RCX, and C does all. RAX is used. */
static void put_fits(Tr *t, unsigned at, unsigned size, uint32_t c)
{
    static const uint8_t shifts[9] = { [2] = 1, [4] = 2, [8] = 3 };
    Asm                 *a         = &t->hot;

    asm_mov32(a, H_RAX, at);
    asm_ri(a, false, 1, H_RAX, -X86_PAGE_SIZE);
    asm_emit(a, &(Enc){ .op = 0xf7, .reg = 3, .rm = H_RAX });
    if (size > 1) {
        asm_emit(a, &(Enc){ .op = 0xc1, .reg = 5, .rm = H_RAX, .imm = shifts[size], .imm_size = 1 });
    }
    asm_rr(a, true, 0x3b, H_R10, H_RAX);
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

/* REP MOVS and STOS by the host's own, when all of it lies in one page on each side. */
void emit_rep(Tr *t, const DbtInsn *in)
{
    Asm    *a    = &t->hot;
    bool    move = in->op < 0xaa;
    MemSpec from = {
        .base = X86_RSI, .index = DBT_NO_REG, .seg = X86_DS, .addrsize = 8, .size = in->opsize, .no_copy = true
    };
    MemSpec to = {
        .base = X86_RDI, .index = DBT_NO_REG, .seg = X86_ES, .addrsize = 8, .size = in->opsize, .write = true
    };

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
        put_fits(t, H_RSI, in->opsize, c);
    }
    put_fits(t, H_RDI, in->opsize, c);
    if (move) {
        asm_rm(a, true, 0x03, H_RSI, asm_frame(DBT_FRAME(keep[0])));
    } else {
        asm_mov(a, H_RAX, H_R9);
    }
    asm_rm(a, true, 0x03, H_RDI, asm_frame(DBT_FRAME(keep[1])));
    asm_mov(a, H_RCX, H_R10);
    asm_8(a, 0xf3);
    if (in->opsize == 2 || in->opsize == 8) {
        asm_8(a, in->opsize == 2 ? 0x66 : 0x48);
    }
    asm_8(a, in->op);
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
