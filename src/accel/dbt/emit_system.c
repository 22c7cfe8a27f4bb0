/* Templates of system instructions that only look at, or change, a few members of X86Cpu: interrupt flag, segment bases
 * and selectors, time. The vCPU's address comes from the frame; the verifier knows which members code may touch.
 *
 * What decides whether they may run (CPL, code size) is part of the unit's key, and known when translating. */

#include "accel/dbt/emit.h"

#define CPU_AT(member) asm_at(H_RCX, (int32_t)offsetof(X86Cpu, member))

static void load_cpu(Asm *a)
{
    asm_load(a, H_RCX, asm_frame(DBT_FRAME(cpu)));
}

/* Before host code that changes EFLAGS in a template that leaves the guest's alone. */
static void spoil_flags(Tr *t)
{
    if (t->s->live[t->i + 1] || t->s->insns[t->i].faults) {
        flags_save(t);
        return;
    }
    t->fl_mem      = true; /* nobody wants them */
    t->fl_reg      = false;
    t->recipe.kind = RECIPE_NONE;
}

/* op dword [cpu.eflags], imm: 1 is OR, 4 is AND. */
static void change_eflags(Asm *a, unsigned ext, uint32_t imm)
{
    asm_emit(a, &(Enc){ .op       = 0x81,
                        .reg      = (uint8_t)ext,
                        .memory   = true,
                        .mem      = CPU_AT(eflags),
                        .imm      = (int32_t)imm,
                        .imm_size = 4 });
}

static void emit_cli(Tr *t)
{
    spoil_flags(t);
    load_cpu(&t->hot);
    change_eflags(&t->hot, 4, ~(uint32_t)EFLAGS_IF);
}

/* When nothing waits: what comes later kicks. The shadow ends when somebody looks for requests behind the next
 * instruction (slow.c): the unit has one. */
static void emit_sti(Tr *t)
{
    Asm *a = &t->hot;
    spoil_flags(t);
    load_cpu(a);
    asm_emit(a, &(Enc){ .op = 0x83, .reg = 7, .memory = true, .mem = CPU_AT(vcpu.requests), .imm_size = 1 });
    asm_jcc(a, CC_NZ, 0);
    reloc(t, false, RELOC_COLD, emit_rest_by_c(t, false));
    change_eflags(a, 1, EFLAGS_IF);
    asm_emit(
        a, &(Enc){ .op = 0xc6, .memory = true, .mem = CPU_AT(interrupt_shadow), .imm = X86_SHADOW_STI, .imm_size = 1 });
}

static void emit_swapgs(Tr *t)
{
    Asm *a = &t->hot;
    load_cpu(a);
    asm_load(a, H_RAX, CPU_AT(kernel_gs_base));
    asm_store(a, asm_frame(DBT_FRAME(keep[0])), H_RAX);
    asm_load(a, H_RAX, asm_frame(DBT_FRAME(gs_base)));
    asm_store(a, CPU_AT(kernel_gs_base), H_RAX);
    asm_load(a, H_RAX, asm_frame(DBT_FRAME(keep[0])));
    asm_store(a, CPU_AT(seg[X86_GS].base), H_RAX);
    asm_store(a, asm_frame(DBT_FRAME(gs_base)), H_RAX);
}

/* MOV r, segment register. */
static void emit_rdseg(Tr *t, const DbtInsn *in)
{
    Asm     *a   = &t->hot;
    unsigned own = dbt_host_register[in->rm];
    load_cpu(a);
    asm_emit(a, &(Enc){ .map    = 1,
                        .op     = 0xb7,
                        .reg    = H_RAX,
                        .memory = true,
                        .mem    = asm_at(H_RCX, (int32_t)(offsetof(X86Cpu, seg) + in->reg * sizeof(X86Segment) +
                                                       offsetof(X86Segment, selector))) });
    if (in->opsize > 2) {
        write_guest(t, in->rm, H_RAX);
        return;
    }
    Enc e = { .prefix = 0x66, .op = 0x89, .reg = H_RAX, .rm = (uint8_t)own };
    if (own == H_NONE) {
        e.memory = true;
        e.mem    = guest_slot(in->rm);
    }
    asm_emit(a, &e);
}

/* RDFSBASE and its like: to C where CR4 does not allow them, or what is written may not be canonical. */
static void emit_base(Tr *t, const DbtInsn *in)
{
    Asm    *a    = &t->hot;
    bool    gs   = in->reg & 1;
    HostMem base = asm_frame(gs ? DBT_FRAME(gs_base) : DBT_FRAME(fs_base));

    spoil_flags(t);
    load_cpu(a);
    asm_emit(
        a,
        &(Enc){
            .op = 0xf7, .memory = true, .mem = CPU_AT(cr4), .imm = (int64_t)CR4_FSGSBASE, .imm_size = 4 }); /* test */
    asm_jcc(a, CC_Z, 0);
    uint32_t c = emit_rest_by_c(t, true);
    reloc(t, false, RELOC_COLD, c);
    if (in->reg < 2) {
        asm_rm(a, in->opsize == 8, 0x8b, H_RAX, base);
        write_guest(t, in->rm, H_RAX);
        return;
    }
    asm_rr(a, in->opsize == 8, 0x8b, H_RAX, read_guest(t, in->rm, H_RAX));
    if (in->opsize == 8) {
        asm_mov(a, H_RCX, H_RAX);
        asm_emit(a, &(Enc){ .w = true, .op = 0xc1, .reg = 4, .rm = H_RCX, .imm = 16, .imm_size = 1 });
        asm_emit(a, &(Enc){ .w = true, .op = 0xc1, .reg = 7, .rm = H_RCX, .imm = 16, .imm_size = 1 });
        asm_rr(a, true, 0x3b, H_RCX, H_RAX);
        asm_jcc(a, CC_NZ, 0);
        reloc(t, false, RELOC_COLD, c);
        load_cpu(a);
    }
    asm_store(a, gs ? CPU_AT(seg[X86_GS].base) : CPU_AT(seg[X86_FS].base), H_RAX);
    asm_store(a, base, H_RAX);
}

static void emit_rdtsc(Tr *t, const DbtInsn *in)
{
    Asm     *a = &t->hot;
    uint32_t c = 0;
    spoil_flags(t);
    load_cpu(a);
    asm_emit(a, &(Enc){ .op = 0x80, .reg = 7, .memory = true, .mem = CPU_AT(tsc_plain), .imm_size = 1 });
    asm_jcc(a, CC_Z, 0);
    c = emit_rest_by_c(t, true);
    reloc(t, false, RELOC_COLD, c);
    if (!t->mode.kernel) {
        asm_emit(
            a,
            &(Enc){ .op = 0xf7, .reg = 0, .memory = true, .mem = CPU_AT(cr4), .imm = (int64_t)CR4_TSD, .imm_size = 4 });
        asm_jcc(a, CC_NZ, 0);
        reloc(t, false, RELOC_COLD, c);
    }
    if (in->map == 2) { /* RDTSCP waits for what comes before it */
        asm_rm(a, false, 0x8b, H_R10, CPU_AT(tsc_aux));
        asm_8(a, 0x0f);
        asm_8(a, 0xae);
        asm_8(a, 0xe8); /* lfence */
    }
    asm_8(a, 0x0f);
    asm_8(a, 0x31); /* RDX is the guest's own */
    asm_emit(a, &(Enc){ .w = true, .op = 0xc1, .reg = 4, .rm = H_RDX, .imm = 32, .imm_size = 1 });
    asm_rr(a, true, 0x0b, H_RDX, H_RAX);
    asm_rm(a, true, 0x03, H_RDX, CPU_AT(tsc_offset));
    asm_mov32(a, H_R9, H_RDX);
    asm_emit(a, &(Enc){ .w = true, .op = 0xc1, .reg = 5, .rm = H_RDX, .imm = 32, .imm_size = 1 });
}

void emit_rflags(Tr *t)
{
    Asm *a = &t->hot;
    flags_sync(t, a);
    t->fl_mem = true;
    t->fl_reg = false;
    asm_emit(a, &(Enc){ .map = 1, .op = 0xb6, .reg = H_RAX, .memory = true, .mem = asm_frame(DBT_FRAME(flags)) });
    load_cpu(a);
    asm_emit(a, &(Enc){ .op = 0xc1, .reg = 4, .rm = H_RAX, .imm = 11, .imm_size = 1 }); /* OF */
    asm_rm(a, false, 0x0b, H_RAX, CPU_AT(eflags));
    asm_emit(a, &(Enc){ .map = 1, .op = 0xb6, .reg = H_RCX, .memory = true, .mem = asm_frame(DBT_FRAME(flags) + 1) });
    asm_rr(a, false, 0x0b, H_RAX, H_RCX);
    asm_ri(a, false, 4, H_RAX, (int32_t) ~(uint32_t)(EFLAGS_VM | EFLAGS_RF));
}

/* The mode of accesses is another afterwards. */
static void emit_smap(Tr *t, const DbtInsn *in)
{
    flags_sync(t, &t->hot);
    t->fl_mem = true;
    t->fl_reg = false;
    put_linear(t, false, H_RAX, insn_rip(t, t->i) + in->len);
    asm_jmp(&t->hot, 0);
    reloc(t, false, RELOC_STUB, in->t == T_STAC ? STUB_STAC : STUB_CLAC);
}

void emit_system(Tr *t, const DbtInsn *in)
{
    switch (in->t) {
    case T_CLI: emit_cli(t); break;
    case T_STI: emit_sti(t); break;
    case T_SWAPGS: emit_swapgs(t); break;
    case T_STAC:
    case T_CLAC: emit_smap(t, in); break;
    case T_BASE: emit_base(t, in); break;
    case T_RDSEG: emit_rdseg(t, in); break;
    case T_RDTSC: emit_rdtsc(t, in); break;
    default: t->failed = true; break;
    }
}
