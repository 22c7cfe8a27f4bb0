/* Checked memory operands, and where flags and registers are.
 *
 * A check compares the linear address with a micro TLB entry that is chosen when translating, by code region and base
 * register, so that its load does not wait for the address:
 *
 *     lea rax, ea;  sub rax, [tag];  cmp rax, 4096 - size;  ja slow;  mov rcx, [addend]
 *
 * The access then goes to [base + rcx + disp]: the checked value is on nobody's way. Operands whose registers are in the
 * frame, or with a segment base or cut address, have the address itself in RAX instead. */

#include "accel/dbt/emit.h"

const uint8_t dbt_host_register[16] = { H_R9, H_R10, H_RDX,  H_RBX,  H_R11, H_RBP, H_RSI, H_RDI,
                                        H_R8, H_NONE, H_NONE, H_NONE, H_R12, H_R13, H_R14, H_R15 };

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
    uint32_t end = asm_offset(in_cold ? &t->cold : &t->hot);
    t->s->relocs[t->n_relocs++] =
        (Reloc){ .at = end - (kind == RELOC_UNIT ? 8 : 4), .in_cold = in_cold, .kind = (uint8_t)kind, .value = value };
}

void place(Tr *t)
{
    if (t->n_places == MAX_PLACES) {
        t->failed = true;
        return;
    }
    t->s->places[t->n_places++] =
        (DbtPlace){ .host = asm_offset(&t->hot), .insn = (uint8_t)t->i, .flags_in_host = t->fl_reg };
}

/* --- flags --- */

static void put_flags_save(Asm *a)
{
    asm_8(a, 0x9f);                                                                             /* lahf */
    asm_emit(a, &(Enc){ .map = 1, .op = 0x90, .rm = H_RAX });                                   /* seto al */
    asm_emit(a, &(Enc){ .prefix = 0x66, .op = 0x89, .memory = true, .mem = asm_frame(DBT_FRAME(flags)) });
}

static void put_flags_load(Asm *a)
{
    asm_emit(a, &(Enc){ .map = 1, .op = 0xb7, .memory = true, .mem = asm_frame(DBT_FRAME(flags)) }); /* movzx eax */
    asm_8(a, 0x04);                                                                                  /* add al, 127 */
    asm_8(a, 127);
    asm_8(a, 0x9e); /* sahf */
}

void flags_save(Tr *t)
{
    if (t->fl_reg && !t->fl_mem) {
        put_flags_save(&t->hot);
        t->fl_mem = true;
    }
    t->fl_reg = false;
}

void flags_need(Tr *t)
{
    if (!t->fl_reg) {
        put_flags_load(&t->hot);
        t->fl_reg = true;
    }
}

void flags_written(Tr *t)
{
    t->fl_reg = true;
    t->fl_mem = false;
}

/* --- registers --- */

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

/* --- addresses --- */

MemSpec operand_spec(const Tr *t, const DbtInsn *in, unsigned size, bool write)
{
    MemSpec m = { .base     = in->base,
                  .index    = in->index,
                  .scale    = in->scale,
                  .seg      = in->seg,
                  .addrsize = in->addrsize,
                  .disp     = in->disp,
                  .size     = (uint8_t)size,
                  .write    = write };
    if (in->rip_relative) {
        m.linear = insn_rip(t, t->i) + in->len + (uint64_t)(int64_t)in->disp;
    } else if (in->base == DBT_NO_REG && in->index == DBT_NO_REG) {
        m.linear = (uint64_t)(int64_t)in->disp;
    } else {
        return m;
    }
    m.constant = true;
    if (in->addrsize == 4) {
        m.linear = (uint32_t)m.linear;
    }
    return m;
}

/* RAX = the linear address. EFLAGS may change. */
static void put_address(Asm *a, const MemSpec *m)
{
    bool wide = m->addrsize == 8;
    if (m->constant) {
        asm_mov_imm(a, H_RAX, m->linear);
    } else {
        HostMem ea = { .base = H_NONE, .index = H_NONE, .scale = m->scale, .disp = m->disp };
        if (m->base != DBT_NO_REG) {
            ea.base = dbt_host_register[m->base];
            if (ea.base == H_NONE) {
                asm_load(a, H_RAX, guest_slot(m->base));
                ea.base = H_RAX;
            }
        }
        if (m->index != DBT_NO_REG) {
            ea.index = dbt_host_register[m->index];
            if (ea.index == H_NONE) {
                asm_load(a, H_RCX, guest_slot(m->index));
                ea.index = H_RCX;
            }
        }
        if (ea.index == H_NONE && !ea.disp && ea.base != H_NONE) {
            if (ea.base != H_RAX || !wide) {
                asm_rr(a, wide, 0x8b, H_RAX, ea.base);
            }
        } else {
            asm_lea(a, wide, H_RAX, ea);
        }
    }
    if (m->seg == X86_FS || m->seg == X86_GS) {
        asm_rm(a, true, 0x03, H_RAX, asm_frame(m->seg == X86_FS ? DBT_FRAME(fs_base) : DBT_FRAME(gs_base)));
    }
    if (m->bit_offset) {
        asm_rm(a, wide, 0x03, H_RAX, asm_frame(DBT_FRAME(keep[0])));
    }
}

/* Which micro entry: what is accessed through the same base register in the same piece of code shares one. */
static unsigned micro_index(const Tr *t, const MemSpec *m)
{
    if (m->seg == X86_FS || m->seg == X86_GS) {
        return m->seg - X86_FS;
    }
    if (m->base == X86_RSP) {
        return 2;
    }
    uint64_t h = m->constant ? (m->linear >> 12) * 0x2545f491u : (insn_rip(t, t->i) >> 8) * 0x9e3779b1u;
    h ^= m->constant ? 0x5bd1e995u : (uint64_t)m->base * 0x85ebca6bu ^ (uint64_t)m->index * 0xc2b2ae35u;
    h *= UINT64_C(0x9e3779b97f4a7c15);
    return 3 + (unsigned)(h >> 40) % (DBT_MICRO - 3);
}

/* The slow side of a check, in the cold part: address in RAX, the stub, and back. */
static void put_slow(Tr *t, const MemSpec *m, unsigned micro, unsigned flags, bool address, uint32_t back)
{
    Asm    *a    = &t->cold;
    DbtSite site = { .limit = (uint16_t)(X86_PAGE_SIZE - m->size),
                     .micro = (uint16_t)micro,
                     .insn  = (uint8_t)t->i,
                     .size  = m->size,
                     .flags = (uint8_t)(flags | (m->aligned ? SITE_ALIGN : 0)) };
    uint64_t bits;
    memcpy(&bits, &site, 8);
    if (address) {
        put_address(a, m);
    }
    asm_call(a, 0);
    reloc(t, true, RELOC_STUB, m->write ? STUB_WRITE_MISS : STUB_READ_MISS);
    asm_mov_imm64(a, H_RCX, bits);
    asm_jmp(a, 0);
    reloc(t, true, RELOC_HOT, back);
    asm_jmp(a, 0); /* DONE: to the tail that emit_insn() puts */
    if (t->n_tails == MAX_TAILS) {
        t->failed = true;
        return;
    }
    t->tails[t->n_tails++] = asm_offset(a);
}

Operand check(Tr *t, const MemSpec *m)
{
    Asm     *a     = &t->hot;
    unsigned index = micro_index(t, m);
    unsigned micro = (t->f->mode * 2 + m->write) * DBT_MICRO + index;
    int32_t  entry = DBT_FRAME(micro) + (int32_t)(micro * sizeof(DbtMicro));
    unsigned base  = m->constant || m->base == DBT_NO_REG ? H_NONE : dbt_host_register[m->base];
    unsigned idx   = m->constant || m->index == DBT_NO_REG ? H_NONE : dbt_host_register[m->index];
    bool     plain = !m->constant && base != H_NONE && (m->index == DBT_NO_REG || idx != H_NONE) && m->addrsize == 8 &&
                 m->seg != X86_FS && m->seg != X86_GS && !m->locked && !m->scratch && !m->bit_offset;

    flags_save(t);
    put_address(a, m);
    if (m->locked && m->size > 1) {
        asm_8(a, 0xa8); /* test al, size - 1 */
        asm_8(a, m->size - 1u);
        asm_jcc(a, CC_NZ, 0);
        reloc(t, false, RELOC_COLD, asm_offset(&t->cold));
        put_slow(t, m, micro, SITE_EXEC, false, asm_offset(a));
    }
    unsigned compare = plain ? H_RAX : H_RCX;
    if (!plain) {
        asm_mov(a, H_RCX, H_RAX);
    }
    asm_rm(a, true, 0x2b, compare, asm_frame(entry));
    if (compare == H_RAX) {
        asm_8(a, 0x48);
        asm_8(a, 0x3d);
        asm_32(a, X86_PAGE_SIZE - m->size);
    } else {
        asm_emit(a, &(Enc){ .w = true, .op = 0x81, .reg = 7, .rm = H_RCX, .imm = X86_PAGE_SIZE - m->size, .imm_size = 4 });
    }
    asm_jcc(a, CC_A, 0);
    reloc(t, false, RELOC_COLD, asm_offset(&t->cold));
    put_slow(t, m, micro, 0, plain, asm_offset(a));

    if (!plain) {
        asm_rm(a, true, 0x03, H_RAX, asm_frame(entry + 8));
        if (m->scratch) {
            asm_mov(a, H_RCX, H_RAX);
            return (Operand){ .mem = asm_at(H_RCX, 0), .free = H_RAX };
        }
        return (Operand){ .mem = asm_at(H_RAX, 0), .free = H_RCX };
    }
    asm_load(a, H_RCX, asm_frame(entry + 8));
    if (idx == H_NONE) {
        return (Operand){ .mem = { .base = (uint8_t)base, .index = H_RCX, .disp = m->disp }, .free = H_RAX };
    }
    asm_rr(a, true, 0x03, H_RCX, base);
    return (Operand){ .mem = { .base = H_RCX, .index = (uint8_t)idx, .scale = m->scale, .disp = m->disp },
                      .free = H_RAX };
}
