/* Vector instructions in translated code: the encoder's form of them, with the guest's own vector registers and a
 * checked memory operand. A unit that has some looks at its start whether the registers are the guest's: whoever has
 * parked them need not load them again for code without. What the encoder's allow-list lacks, and what blocks now
 * (CR0.TS ...), is C's. */

#include "accel/dbt/emit.h"

#include "cpu/x86/cache.h"
#include "cpu/x86/vector.h"

bool vector_decode(Tr *t, const uint8_t *bytes, unsigned avail, DbtInsn *in)
{
    ZydisDecodedInstruction z;
    ZydisDecodedOperand     op[ZYDIS_MAX_OPERAND_COUNT];
    Vec                    *v = &t->s->vec[t->n_vec];

    bool reads_flags = false, x87;
    if (t->mode.code != 8 || !x86_decode_raw(t->cpu, bytes, avail, &z, op)) {
        return false;
    }
    x87 = x86_fpu_inline(t->cpu, &z, op, &v->spec, &reads_flags);
    if (!x87 && !x86_vector_inline(t->cpu, &z, op, &v->spec, v->number)) {
        return false;
    }
    v->x87 = x87;
    memset(in, 0, sizeof *in);
    in->t        = T_VECTOR;
    in->len      = z.length;
    in->base     = DBT_NO_REG;
    in->index    = DBT_NO_REG;
    in->seg      = DBT_NO_REG;
    in->addrsize = (uint8_t)(z.address_width / 8);
    in->opsize   = 8;
    if (v->spec.memory_size) {
        const ZydisDecodedOperand *m = &op[v->spec.memory_operand];
        X86Insn                    x = { .len = z.length };
        x86_decode_memory(t->cpu, &x, &z, m);
        in->memory       = true;
        in->faults       = true;
        in->rip_relative = x.base == X86_RIP;
        in->base         = x.base < 16 ? x.base : DBT_NO_REG;
        in->index        = x.index < 16 ? x.index : DBT_NO_REG;
        in->scale        = x.scale;
        in->seg          = x.seg;
        in->disp         = (int32_t)(in->rip_relative ? x.disp - z.length : x.disp);
        in->rm_size      = v->spec.memory_size;
    }
    if (v->spec.flags & X86_THUNK_FLAGS) {
        in->read  = reads_flags ? FL_ALL : 0;
        in->write = reads_flags ? 0 : FL_ALL;
    }
    in->raises = x87 || v->spec.mmx_enter || v->spec.form.mnemonic == ZYDIS_MNEMONIC_EMMS ||
                 v->spec.flags & X86_THUNK_MXCSR || v->spec.memory_size >= 16;
    in->extra = (uint8_t)t->n_vec++;
    return true;
}

void emit_vectors_load(Tr *t)
{
    Asm *a = &t->hot;
    asm_emit(a, &(Enc){ .op = 0x80, .reg = 7, .memory = true, .mem = asm_frame(DBT_FRAME(vectors)), .imm_size = 1 });
    put_cold_branch(t, CC_Z);
    asm_call(&t->cold, 0);
    reloc(t, true, RELOC_STUB, STUB_VECTORS);
    asm_jmp(&t->cold, 0);
    reloc(t, true, RELOC_HOT, asm_offset(a));
    t->vectors = (uint8_t)asm_offset(a);
}

/* Of moves of a whole vector register to memory: DbtSite.stored. */
static uint8_t stored_register(const Vec *v, const DbtInsn *in)
{
    switch (v->spec.form.mnemonic) {
    case ZYDIS_MNEMONIC_MOVUPS:
    case ZYDIS_MNEMONIC_MOVUPD:
    case ZYDIS_MNEMONIC_MOVDQU:
    case ZYDIS_MNEMONIC_VMOVUPS:
    case ZYDIS_MNEMONIC_VMOVUPD:
    case ZYDIS_MNEMONIC_VMOVDQU: break;
    default: return 0;
    }
    if (!v->spec.memory_write || in->rm_size < 16) {
        return 0;
    }
    for (unsigned i = 0; i < 4; i++) {
        if (v->spec.kind[i] != X86_THUNK_NONE && v->spec.kind[i] != X86_THUNK_MEMORY_OPERAND) {
            return (uint8_t)(SITE_VECTOR + v->number[i]);
        }
    }
    return 0;
}

void emit_vector(Tr *t, const DbtInsn *in)
{
    const Vec *v    = &t->s->vec[in->extra];
    X86Form    form = v->spec.form;
    Asm       *a    = &t->hot;
    unsigned   free = H_RAX, store_guest = DBT_NO_REG, store_host = 0;

    form.index = X86_FORM_NONE;
    form.base  = X86_FORM_NONE;
    if (in->memory) {
        MemSpec m  = operand_spec(t, in, in->rm_size, v->spec.memory_write);
        m.scratch  = v->spec.flags & X86_THUNK_LENGTHS;
        m.aligned  = v->spec.aligned;
        m.fpu      = v->x87 || v->spec.mmx_enter;
        m.stored   = stored_register(v, in);
        Operand o  = check(t, &m);
        form.base  = o.mem.base;
        form.index = o.mem.index == H_NONE ? X86_FORM_NONE : o.mem.index;
        form.scale = o.mem.scale;
        form.disp  = o.mem.disp;
        free       = o.free;
    }
    for (unsigned i = 0; i < 4; i++) {
        uint8_t reg = v->number[i];
        switch (v->spec.kind[i]) {
        case X86_THUNK_NONE:
        case X86_THUNK_MEMORY_OPERAND: continue;
        case X86_THUNK_GPR: {
            unsigned guest = reg;
            bool     write = v->spec.written >> i & 1;
            unsigned host  = dbt_host_register[guest];
            if (host == H_NONE) {
                host = free;
                if (!write) {
                    asm_load(a, host, guest_slot(guest));
                }
            }
            if (write) {
                store_guest = guest;
                store_host  = host;
            }
            reg = (uint8_t)host;
            break;
        }
        default: break;
        }
        switch (v->spec.encoding[i]) {
        case ZYDIS_OPERAND_ENCODING_MODRM_REG: form.reg = reg; break;
        case ZYDIS_OPERAND_ENCODING_MODRM_RM: form.rm = reg; break;
        case ZYDIS_OPERAND_ENCODING_NDSNDD: form.vvvv = reg; break;
        case ZYDIS_OPERAND_ENCODING_IS4: form.imm = (form.imm & 0x0f) | (uint64_t)reg << 4; break;
        default: t->failed = true; return;
        }
    }
    if (v->spec.flags & X86_THUNK_LENGTHS) {
        asm_mov(a, H_RAX, H_R9); /* RDX is the guest's own */
    }
    if (in->read) {
        flags_need(t);
    }
    if (in->raises) {
        place(t);
    }
    uint8_t code[15];
    size_t  len = x86_encode(&form, code);
    if (!len) {
        t->failed = true;
        return;
    }
    for (size_t i = 0; i < len; i++) {
        asm_8(a, code[i]);
    }
    if (store_guest != DBT_NO_REG && dbt_host_register[store_guest] == H_NONE) {
        asm_store(a, guest_slot(store_guest), store_host);
    }
    if (v->spec.flags & X86_THUNK_RCX_OUT) {
        asm_mov32(a, H_R10, H_RCX);
    }
    if (in->write) {
        flags_written(t);
    }
}
