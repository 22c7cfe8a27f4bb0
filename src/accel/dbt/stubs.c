/* Code made once: the way in and out of translated code, and between it and C.
 *
 * All calls into C have one shape: the guest's registers go to X86Cpu, C gets the frame, a value and the address it was
 * called from, and answers with the address where translated code goes on (STUB_LEAVE for the way out). frame.tmp[0]
 * is RAX then. The first part of the miss stubs looks into the TLB of the mode without C; look-ups are that alone. */

#include "accel/dbt/slow.h"

#include "accel/dbt/emit.h"
#include "cpu/x86/tlb.h"

#define CPU_AT(member) asm_at(H_RAX, (int32_t)offsetof(X86Cpu, member))

enum { GPR_IN_FRAME = 9, N_IN_FRAME = 3 };

static HostMem gpr_at(unsigned guest)
{
    return asm_at(H_RAX, (int32_t)(offsetof(X86Cpu, gpr) + 8 * guest));
}

extern const uint8_t dbt_host_register[16];

/* Flags, byte by byte, as they are stored: a wider load would wait for both stores to leave the store buffer. */
static void put_flags_copy(Asm *a, HostMem from, HostMem to)
{
    for (unsigned i = 0; i < 2; i++) {
        asm_emit(a, &(Enc){ .map = 1, .op = 0xb6, .reg = H_RCX, .memory = true, .mem = from });
        asm_emit(a, &(Enc){ .op = 0x88, .reg = H_RCX, .memory = true, .mem = to });
        from.disp++;
        to.disp++;
    }
}

/* RAX = the vCPU afterwards; RCX is used. */
static void put_save(Asm *a)
{
    asm_load(a, H_RAX, asm_frame(DBT_FRAME(cpu)));
    for (unsigned g = 0; g < 16; g++) {
        if (dbt_host_register[g] != H_NONE) {
            asm_store(a, gpr_at(g), dbt_host_register[g]);
        } else {
            asm_load(a, H_RCX, asm_frame((int32_t)(8 * (g - GPR_IN_FRAME))));
            asm_store(a, gpr_at(g), H_RCX);
        }
    }
    put_flags_copy(a, asm_frame(DBT_FRAME(flags)), CPU_AT(arith));
}

static void put_restore(Asm *a)
{
    asm_load(a, H_RAX, asm_frame(DBT_FRAME(cpu)));
    put_flags_copy(a, CPU_AT(arith), asm_frame(DBT_FRAME(flags)));
    asm_load(a, H_RCX, CPU_AT(seg[X86_FS].base));
    asm_store(a, asm_frame(DBT_FRAME(fs_base)), H_RCX);
    asm_load(a, H_RCX, CPU_AT(seg[X86_GS].base));
    asm_store(a, asm_frame(DBT_FRAME(gs_base)), H_RCX);
    asm_load(a, H_RCX, CPU_AT(tlb_entries));
    asm_store(a, asm_frame(DBT_FRAME(tlb)), H_RCX);
    for (unsigned g = 0; g < 16; g++) {
        if (dbt_host_register[g] != H_NONE) {
            asm_load(a, dbt_host_register[g], gpr_at(g));
        } else {
            asm_load(a, H_RCX, gpr_at(g));
            asm_store(a, asm_frame((int32_t)(8 * (g - GPR_IN_FRAME))), H_RCX);
        }
    }
}

static void put_jump_frame(Asm *a, int32_t offset)
{
    asm_emit(a, &(Enc){ .op = 0xff, .reg = 4, .memory = true, .mem = asm_frame(offset) });
}

static void put_c(Asm *a, const void *function)
{
    asm_mov_imm64(a, H_RAX, (uint64_t)(uintptr_t)function);
    asm_emit(a, &(Enc){ .op = 0xff, .reg = 2, .rm = H_RAX });
}

static void put_here(const Asm *a, uint8_t *branch)
{
    int32_t rel = (int32_t)(a->p - branch);
    memcpy(branch - 4, &rel, 4);
}

/* With sanitizers C is instrumented, and must not be called with the vector state live (cpu/x86/park.h): it is parked
 * and loaded around each call if the code has it, the frame `d` bytes above RSP. */
static void put_park(Asm *a, int32_t d, void (*how)(X86Cpu *cpu))
{
    if (X86_ALWAYS_PARK) {
        asm_emit(
            a, &(Enc){ .op = 0x80, .reg = 7, .memory = true, .mem = asm_frame(d + DBT_FRAME(vectors)), .imm_size = 1 });
        asm_jcc(a, CC_Z, 0);
        uint8_t *parked = a->p;
        asm_load(a, H_RDI, asm_frame(d + DBT_FRAME(cpu)));
        put_c(a, (const void *)how);
        put_here(a, parked);
    }
}

/* RAX is the value; frame.from the address called from (or 0); what C gets as its last: `last`, or frame.tmp[1]. */
static void put_call_last(Asm *a, const void *function, int last)
{
    asm_store(a, asm_frame(DBT_FRAME(tmp[0])), H_RAX);
    put_save(a);
    put_park(a, 0, x86_park_slow);
    asm_mov(a, H_RDI, H_RSP);
    asm_load(a, H_RSI, asm_frame(DBT_FRAME(tmp[0])));
    asm_load(a, H_RDX, asm_frame(DBT_FRAME(from)));
    if (last < 0) {
        asm_load(a, H_RCX, asm_frame(DBT_FRAME(tmp[1])));
    } else {
        asm_mov_imm(a, H_RCX, (unsigned)last);
    }
    put_c(a, function);
    asm_store(a, asm_frame(DBT_FRAME(to)), H_RAX);
    put_park(a, 0, x86_unpark);
    put_restore(a);
    asm_load(a, H_RAX, asm_frame(DBT_FRAME(tmp[0])));
    asm_load(a, H_RCX, asm_frame(DBT_FRAME(tmp[1])));
    put_jump_frame(a, DBT_FRAME(to));
}

static void put_call(Asm *a, const void *function, unsigned last)
{
    put_call_last(a, function, (int)last);
}

/* RCX is C's last. */
static void put_call_what(Asm *a, const void *function)
{
    asm_store(a, asm_frame(DBT_FRAME(tmp[1])), H_RCX);
    put_call_last(a, function, -1);
}

/* pop [rsp + from]: RSP is the frame's address again. */
static void put_pop_from(Asm *a)
{
    asm_emit(a, &(Enc){ .op = 0x8f, .memory = true, .mem = asm_frame(DBT_FRAME(from)) });
}

/* put_call() in a stub that is called; frame.from is where. */
static void put_call_from(Asm *a, const void *function)
{
    put_pop_from(a);
    put_call(a, function, 0);
}

/* To another stub, one that is made already; cc: -1 for always. */
static void put_to_stub(const Dbt *dbt, Asm *a, int cc, DbtStub stub)
{
    int32_t rel = (int32_t)(dbt->stubs[stub] - (a->p - dbt_writable(dbt)));
    if (cc < 0) {
        asm_jmp(a, rel - 5);
    } else {
        asm_jcc(a, (unsigned)cc, rel - 6);
    }
}

static const uint8_t callee_saved[6] = { H_RBX, H_RBP, H_R12, H_R13, H_R14, H_R15 };

/* void enter(DbtFrame *frame, const uint8_t *code) */
static void put_enter(Asm *a)
{
    asm_8(a, 0x58); /* pop rax: the frame lies just above, and what is below it is used */
    asm_store(a, asm_at(H_RDI, DBT_FRAME(host_return)), H_RAX);
    for (unsigned i = 0; i < 6; i++) {
        asm_store(a, asm_at(H_RDI, DBT_FRAME(host_saved[0]) + 8 * (int)i), callee_saved[i]);
    }
    asm_store(a, asm_at(H_RDI, DBT_FRAME(host_rsp)), H_RSP);
    asm_mov(a, H_RSP, H_RDI);
    asm_store(a, asm_frame(DBT_FRAME(to)), H_RSI);
    put_restore(a);
    put_jump_frame(a, DBT_FRAME(to));
}

static void put_leave(Asm *a)
{
    put_park(a, 0, x86_park_slow);
    for (unsigned i = 0; i < 6; i++) {
        asm_load(a, callee_saved[i], asm_frame(DBT_FRAME(host_saved[0]) + 8 * (int)i));
    }
    asm_load(a, H_RAX, asm_frame(DBT_FRAME(host_return)));
    asm_load(a, H_RSP, asm_frame(DBT_FRAME(host_rsp)));
    asm_emit(a, &(Enc){ .op = 0xff, .reg = 4, .rm = H_RAX });
}

typedef enum Miss { MISS_MICRO, MISS_RUN, MISS_TLB } Miss;

/* RAX = linear address, RCX = DbtSite. Unless it is the TLB that has missed: looks there, and its entry goes into the
 * micro entry, or for a run into RCX. RDX and RBX wait in the frame meanwhile. */
static void put_miss(Asm *a, bool write, bool group, Miss what)
{
    enum { D = 8 }; /* the return address */
    int32_t  tag     = (int32_t)(write ? offsetof(X86TlbEntry, write) : offsetof(X86TlbEntry, read));
    HostMem  counter = { .base = H_RSP, .index = H_RCX, .scale = 1, .disp = D + DBT_FRAME(misses) };
    HostMem  entry   = { .base = H_RSP, .index = H_RCX, .disp = D + DBT_FRAME(micro) };
    uint8_t *miss[2] = { NULL }, *often = NULL;

    if (what != MISS_TLB) {
        asm_store(a, asm_frame(D + DBT_FRAME(tmp[1])), H_RDX);
        asm_store(a, asm_frame(D + DBT_FRAME(tmp[2])), H_RBX);
        asm_mov32(a, H_RDX, H_RAX);
        asm_emit(a, &(Enc){ .op = 0xc1, .reg = 5, .rm = H_RDX, .imm = X86_PAGE_BITS - 5, .imm_size = 1 });
        asm_ri(a, false, 4, H_RDX, (X86_TLB_SIZE - 1) << 5);
        asm_rm(a, true, 0x03, H_RDX, asm_frame(D + DBT_FRAME(tlb)));
        asm_mov(a, H_RBX, H_RAX);
        asm_rm(a, true, 0x2b, H_RBX, asm_at(H_RDX, tag));
        asm_ri(a, true, 7, H_RBX, X86_PAGE_MASK);
        asm_jcc(a, CC_A, 0);
        miss[0] = a->p;
        asm_emit(a, &(Enc){ .prefix = 0x66, .op = 0x39, .reg = H_RCX, .rm = H_RBX }); /* cmp bx, cx: the limit */
        asm_jcc(a, CC_A, 0);
        miss[1] = a->p;
        asm_emit(a, &(Enc){ .w = true, .op = 0xc1, .reg = 5, .rm = H_RCX, .imm = 48, .imm_size = 1 });
        asm_emit(a, &(Enc){ .prefix = 0x66, .op = 0xff, .reg = 1, .memory = true, .mem = counter });
        asm_jcc(a, CC_Z, 0);
        often = a->p;
        if (what == MISS_RUN) {
            asm_load(a, H_RCX, asm_at(H_RDX, (int32_t)offsetof(X86TlbEntry, addend)));
        } else {
            asm_emit(a, &(Enc){ .op = 0xc1, .reg = 4, .rm = H_RCX, .imm = 4, .imm_size = 1 });
            asm_load(a, H_RBX, asm_at(H_RDX, tag));
            asm_store(a, entry, H_RBX);
            asm_load(a, H_RBX, asm_at(H_RDX, (int32_t)offsetof(X86TlbEntry, addend)));
            entry.disp += (int32_t)offsetof(DbtMicro, addend);
            asm_store(a, entry, H_RBX);
            asm_emit(a, &(Enc){ .op = 0xc1, .reg = 5, .rm = H_RCX, .imm = 6, .imm_size = 1 });
            asm_emit(a, &(Enc){ .op       = 0xc6,
                                .memory   = true,
                                .mem      = { .base = H_RSP, .index = H_RCX, .disp = D + DBT_FRAME(micro_used) },
                                .imm      = 1,
                                .imm_size = 1 });
        }
        asm_load(a, H_RDX, asm_frame(D + DBT_FRAME(tmp[1])));
        asm_load(a, H_RBX, asm_frame(D + DBT_FRAME(tmp[2])));
        asm_8(a, 0xc3);
        put_here(a, miss[0]);
        put_here(a, miss[1]);
        put_here(a, often);
        asm_load(a, H_RDX, asm_frame(D + DBT_FRAME(tmp[1])));
        asm_load(a, H_RBX, asm_frame(D + DBT_FRAME(tmp[2])));
    }
    put_pop_from(a);
    put_call(a, group ? (const void *)dbt_slow_group : (const void *)dbt_slow_access, write);
}

/* --- changes of mode: STAC, CLAC, SYSCALL, SYSRET ---
 *
 * As the executor does them (x86_syscall() ...), when nothing is out of the ordinary; the rest is C's. RDX is in
 * frame.tmp[1] meanwhile, RCX is the vCPU. */

#define RCX_AT(member) asm_at(H_RCX, (int32_t)offsetof(X86Cpu, member))

typedef struct Slow {
    uint8_t *branch[8];
    unsigned n;
} Slow;

static void put_slow_if(Asm *a, Slow *s, unsigned cc)
{
    asm_jcc(a, cc, 0);
    s->branch[s->n++] = a->p;
}

static void put_slow_here(Asm *a, const Slow *s)
{
    for (unsigned i = 0; i < s->n; i++) {
        put_here(a, s->branch[i]);
    }
    asm_load(a, H_RDX, asm_frame(DBT_FRAME(tmp[1])));
}

/* op dword [mem], imm: 0 ADD, 1 OR, 4 AND, 6 XOR. */
static void put_change32(Asm *a, unsigned ext, HostMem mem, uint32_t imm)
{
    asm_emit(a,
             &(Enc){ .op = 0x81, .reg = (uint8_t)ext, .memory = true, .mem = mem, .imm = (int32_t)imm, .imm_size = 4 });
}

static void put_test32(Asm *a, HostMem mem, uint32_t imm)
{
    asm_emit(a, &(Enc){ .op = 0xf7, .memory = true, .mem = mem, .imm = (int32_t)imm, .imm_size = 4 });
}

static void put_store32(Asm *a, HostMem mem, uint32_t imm)
{
    asm_emit(a, &(Enc){ .op = 0xc7, .memory = true, .mem = mem, .imm = (int32_t)imm, .imm_size = 4 });
}

static void put_shift(Asm *a, bool left, unsigned reg, unsigned by)
{
    asm_emit(
        a, &(Enc){ .w = true, .op = 0xc1, .reg = left ? 4 : 5, .rm = (uint8_t)reg, .imm = (int64_t)by, .imm_size = 1 });
}

/* The TLB of that mode: RDX is used. Slow where there is none yet; nothing has been changed then. */
static void put_find_tlb(Asm *a, Slow *s, X86TlbMode to)
{
    asm_load(a, H_RDX, RCX_AT(tlb));
    asm_load(a, H_RDX, asm_at(H_RDX, (int32_t)offsetof(X86Tlb, current)));
    asm_load(a, H_RDX, asm_at(H_RDX, (int32_t)(offsetof(TlbContext, tables) + to * sizeof(TlbTable *))));
    asm_rr(a, true, 0x85, H_RDX, H_RDX);
    put_slow_if(a, s, CC_Z);
    asm_store(a, RCX_AT(tlb_entries), H_RDX);
    asm_store(a, asm_frame(DBT_FRAME(tlb)), H_RDX);
    asm_load(a, H_RDX, RCX_AT(tlb));
    put_store32(a, asm_at(H_RDX, (int32_t)offsetof(X86Tlb, mode)), to);
}

/* On at rip = RAX in another mode, by its jump cache if that is of units with the key in RDX. */
static void put_go_on(const Dbt *dbt, Asm *a, X86TlbMode mode)
{
    HostMem entry = { .base = H_RSP, .index = H_RCX, .scale = 3, .disp = dbt_jumps_offset(mode) };
    asm_rm(a, true, 0x3b, H_RDX, asm_frame(DBT_FRAME(jump_key) + 8 * (int32_t)mode));
    asm_load(a, H_RDX, asm_frame(DBT_FRAME(tmp[1])));
    put_to_stub(dbt, a, CC_NZ, STUB_LOOKUP);
    asm_mov32(a, H_RCX, H_RAX);
    asm_rm(a, false, 0x23, H_RCX, asm_frame(dbt_mask_offset(mode)));
    asm_rm(a, true, 0x3b, H_RAX, entry);
    put_to_stub(dbt, a, CC_NZ, STUB_JUMP_MISS + mode);
    entry.disp += (int32_t)offsetof(DbtJump, code);
    asm_emit(a, &(Enc){ .op = 0xff, .reg = 4, .memory = true, .mem = entry });
}

/* RAX = rip. */
static void put_smap(const Dbt *dbt, Asm *a, bool open)
{
    X86TlbMode from = open ? X86_TLB_KERNEL_SMAP : X86_TLB_KERNEL_OPEN;
    X86TlbMode to   = open ? X86_TLB_KERNEL_OPEN : X86_TLB_KERNEL_SMAP;
    Slow       slow = { .n = 0 };

    asm_store(a, asm_frame(DBT_FRAME(tmp[1])), H_RDX);
    asm_load(a, H_RCX, asm_frame(DBT_FRAME(cpu)));
    put_test32(a, RCX_AT(cr4), CR4_SMAP);
    put_slow_if(a, &slow, CC_Z);
    put_find_tlb(a, &slow, to);
    put_change32(a, open ? 1 : 4, RCX_AT(eflags), open ? EFLAGS_AC : ~(uint32_t)EFLAGS_AC);
    asm_load(a, H_RDX, asm_frame(DBT_FRAME(jump_key) + 8 * (int32_t)from)); /* of the unit that runs */
    asm_mov_imm64(a, H_RCX, (uint64_t)(from ^ to) << 32);
    asm_rr(a, true, 0x33, H_RDX, H_RCX);
    put_go_on(dbt, a, to);

    put_slow_here(a, &slow);
    put_call(a, (const void *)dbt_slow_smap, open);
}

/* Arithmetic flags from RFLAGS in EDX into the frame. RAX and RDX are used. */
static void put_arith(Asm *a)
{
    asm_mov32(a, H_RAX, H_RDX);
    put_shift(a, false, H_RAX, 11);
    asm_ri(a, false, 4, H_RAX, 1);
    asm_ri(a, false, 4, H_RDX, EFLAGS_CF | EFLAGS_PF | EFLAGS_AF | EFLAGS_ZF | EFLAGS_SF);
    asm_ri(a, false, 1, H_RDX, EFLAGS_ONE);
    put_shift(a, true, H_RDX, 8);
    asm_rr(a, false, 0x0b, H_RAX, H_RDX);
    asm_store(a, asm_frame(DBT_FRAME(flags)), H_RAX);
}

/* A flat segment for SYSCALL and SYSRET: the selector in DX plus `add`, RPL and DPL. RDX is kept. */
static void put_flat(Asm *a, unsigned seg, unsigned add, unsigned cpl, uint32_t attr)
{
    int32_t at = (int32_t)(offsetof(X86Cpu, seg) + seg * sizeof(X86Segment));
    asm_emit(a, &(Enc){ .w = true, .op = 0xc7, .memory = true, .mem = asm_at(H_RCX, at), .imm_size = 4 });
    put_store32(a, asm_at(H_RCX, at + (int32_t)offsetof(X86Segment, limit)), UINT32_MAX);
    put_store32(a, asm_at(H_RCX, at + (int32_t)offsetof(X86Segment, attr)),
                SEG_P | SEG_S | SEG_G | cpl << SEG_DPL_SHIFT | attr);
    if (add) {
        asm_lea(a, false, H_RDX, asm_at(H_RDX, (int32_t)add));
    }
    asm_emit(a, &(Enc){ .prefix = 0x66,
                        .op     = 0x89,
                        .reg    = H_RDX,
                        .memory = true,
                        .mem    = asm_at(H_RCX, at + (int32_t)offsetof(X86Segment, selector)) });
}

/* RDX = the selector's bits from STAR, RPL too. */
static void put_selector(Asm *a, unsigned shift, unsigned cpl)
{
    asm_load(a, H_RDX, RCX_AT(star));
    put_shift(a, false, H_RDX, shift);
    asm_ri(a, false, 4, H_RDX, 0xfffc);
    if (cpl) {
        asm_ri(a, false, 1, H_RDX, (int32_t)cpl);
    }
}

static void put_new_ring(Asm *a, unsigned cpl)
{
    asm_emit(a, &(Enc){ .op = 0xc6, .memory = true, .mem = RCX_AT(cpl), .imm = (int64_t)cpl, .imm_size = 1 });
    asm_emit(a, &(Enc){ .op = 0xc6, .memory = true, .mem = RCX_AT(interrupt_shadow), .imm_size = 1 });
    put_change32(a, 6, RCX_AT(mode_key), 3 << X86_MODE_KEY_CPL);
}

/* From 64-bit code in ring 3 to such in ring 0 where SMAP is in force. RAX = rip behind it, flags in the frame. */
static void put_syscall(const Dbt *dbt, Asm *a)
{
    Slow slow = { .n = 0 };

    put_pop_from(a);
    asm_store(a, asm_frame(DBT_FRAME(tmp[1])), H_RDX);
    asm_load(a, H_RCX, asm_frame(DBT_FRAME(cpu)));
    put_test32(a, RCX_AT(efer), EFER_SCE);
    put_slow_if(a, &slow, CC_Z);
    put_test32(a, RCX_AT(cr4), CR4_SMAP);
    put_slow_if(a, &slow, CC_Z);
    put_test32(a, asm_at(H_RCX, (int32_t)offsetof(X86Cpu, star) + 4), 3); /* an RPL that SS would have */
    put_slow_if(a, &slow, CC_NZ);
    asm_load(a, H_RDX, RCX_AT(sfmask));
    asm_emit(a, &(Enc){ .op = 0xf7, .reg = 2, .rm = H_RDX }); /* not edx */
    asm_rm(a, false, 0x23, H_RDX, RCX_AT(eflags));
    asm_emit(a, &(Enc){ .op = 0xf7, .rm = H_RDX, .imm = EFLAGS_AC | EFLAGS_DF | EFLAGS_TF, .imm_size = 4 }); /* test */
    put_slow_if(a, &slow, CC_NZ);
    put_find_tlb(a, &slow, X86_TLB_KERNEL_SMAP);

    asm_mov(a, H_R10, H_RAX); /* RCX */
    /* R11 = RFLAGS, without RF */
    asm_emit(a, &(Enc){ .map = 1, .op = 0xb6, .reg = H_RAX, .memory = true, .mem = asm_frame(DBT_FRAME(flags)) });
    put_shift(a, true, H_RAX, 11);
    asm_emit(a, &(Enc){ .map = 1, .op = 0xb6, .reg = H_RDX, .memory = true, .mem = asm_frame(DBT_FRAME(flags) + 1) });
    asm_rr(a, false, 0x0b, H_RAX, H_RDX);
    asm_rm(a, false, 0x0b, H_RAX, RCX_AT(eflags));
    asm_ri(a, false, 4, H_RAX, ~EFLAGS_RF);
    asm_store(a, asm_frame(DBT_FRAME(r11)), H_RAX);
    /* and what is left of them */
    asm_load(a, H_RDX, RCX_AT(sfmask));
    asm_emit(a, &(Enc){ .op = 0xf7, .reg = 2, .rm = H_RDX });
    asm_rr(a, false, 0x23, H_RDX, H_RAX);
    asm_mov32(a, H_RAX, H_RDX);
    asm_ri(a, false, 4, H_RAX, ~EFLAGS_ARITH);
    asm_ri(a, false, 1, H_RAX, EFLAGS_ONE);
    asm_rm(a, false, 0x89, H_RAX, RCX_AT(eflags));
    put_arith(a);

    put_selector(a, 32, 0);
    put_flat(a, X86_CS, 0, 0, SEG_CODE | SEG_R | SEG_A | SEG_L);
    put_flat(a, X86_SS, 8, 0, SEG_W | SEG_A | SEG_DB);
    put_new_ring(a, 0);
    asm_load(a, H_RAX, RCX_AT(lstar));
    asm_rm(a, false, 0x8b, H_RDX, RCX_AT(mode_key));
    asm_mov_imm64(a, H_RCX, (uint64_t)X86_TLB_KERNEL_SMAP << 32);
    asm_rr(a, true, 0x0b, H_RDX, H_RCX);
    put_go_on(dbt, a, X86_TLB_KERNEL_SMAP);

    put_slow_here(a, &slow);
    put_call(a, (const void *)dbt_slow_insn, 0);
}

/* The way back, to 64-bit code. */
static void put_sysret(const Dbt *dbt, Asm *a)
{
    enum { RESTORED = 0x3c7fd7 };
    Slow slow = { .n = 0 };

    put_pop_from(a);
    asm_store(a, asm_frame(DBT_FRAME(tmp[1])), H_RDX);
    asm_load(a, H_RCX, asm_frame(DBT_FRAME(cpu)));
    put_test32(a, RCX_AT(efer), EFER_SCE);
    put_slow_if(a, &slow, CC_Z);
    asm_emit(a, &(Enc){ .op = 0x83, .reg = 7, .memory = true, .mem = RCX_AT(vcpu.requests), .imm_size = 1 });
    put_slow_if(a, &slow, CC_NZ); /* IF may come */
    put_test32(a, asm_frame(DBT_FRAME(r11)), EFLAGS_AC | EFLAGS_DF | EFLAGS_TF);
    put_slow_if(a, &slow, CC_NZ);
    asm_mov(a, H_RDX, H_R10);
    put_shift(a, true, H_RDX, 16);
    asm_emit(a, &(Enc){ .w = true, .op = 0xc1, .reg = 7, .rm = H_RDX, .imm = 16, .imm_size = 1 });
    asm_rr(a, true, 0x3b, H_RDX, H_R10);
    put_slow_if(a, &slow, CC_NZ);
    put_find_tlb(a, &slow, X86_TLB_USER);

    asm_rm(a, false, 0x8b, H_RDX, asm_frame(DBT_FRAME(r11)));
    asm_mov32(a, H_RAX, H_RDX);
    asm_ri(a, false, 4, H_RAX, RESTORED & ~EFLAGS_ARITH);
    asm_ri(a, false, 1, H_RAX, EFLAGS_ONE);
    asm_rm(a, false, 0x89, H_RAX, RCX_AT(eflags));
    put_arith(a);

    put_selector(a, 48, 3);
    put_flat(a, X86_SS, 8, 3, SEG_W | SEG_A | SEG_DB);
    put_flat(a, X86_CS, 8, 3, SEG_CODE | SEG_R | SEG_A | SEG_L);
    put_new_ring(a, 3);
    asm_mov(a, H_RAX, H_R10);
    asm_rm(a, false, 0x8b, H_RDX, RCX_AT(mode_key));
    put_go_on(dbt, a, X86_TLB_USER);

    put_slow_here(a, &slow);
    put_call(a, (const void *)dbt_slow_insn, 0);
}
#undef RCX_AT

/* RAX = rip, which is not in its slot of the jump cache: perhaps it is in the other one of the pair, which lies in the
 * same line of the host's cache. Else C. */
static void put_jump_miss(Asm *a, unsigned mode, const void *function)
{
    HostMem other = { .base = H_RSP, .index = H_RCX, .scale = 3, .disp = dbt_jumps_offset(mode) };

    asm_emit(a,
             &(Enc){ .op = 0x83, .reg = 7, .memory = true, .mem = asm_frame(DBT_FRAME(kernel_mask)), .imm_size = 1 });
    asm_jcc(a, CC_Z, 0);
    uint8_t *kicked = a->p;
    asm_mov32(a, H_RCX, H_RAX);
    asm_ri(a, false, 4, H_RCX, (int32_t)(2 * (dbt_n_jumps(mode) - 1)));
    asm_ri(a, false, 6, H_RCX, 2); /* xor */
    asm_rm(a, true, 0x3b, H_RAX, other);
    asm_jcc(a, CC_NZ, 0);
    uint8_t *miss = a->p;
    other.disp += (int32_t)offsetof(DbtJump, code);
    asm_emit(a, &(Enc){ .op = 0xff, .reg = 4, .memory = true, .mem = other });
    put_here(a, kicked);
    put_here(a, miss);
    put_call(a, function, 0);
}

static void put_tlb(const Dbt *dbt, Asm *a, unsigned size, bool write, bool group, bool host, bool counts)
{
    enum { D = 8 }; /* the return address */
    int32_t  tag = (int32_t)(write ? offsetof(X86TlbEntry, write) : offsetof(X86TlbEntry, read));
    uint8_t *hot = NULL, *miss;

    if (counts) {
        HostMem heat = { .base = H_RSP, .index = H_RCX, .disp = D + DBT_FRAME(heat) };
        asm_rm(a, false, 0x8b, H_RCX, asm_frame(0));
        asm_ri(a, false, 4, H_RCX, (DBT_HEATS - 1) * 2);
        asm_emit(a, &(Enc){ .prefix = 0x66, .op = 0xff, .reg = 1, .memory = true, .mem = heat });
        asm_jcc(a, CC_Z, 0);
        hot = a->p;
    }
    if (host) {
        asm_store(a, asm_frame(D + DBT_FRAME(tmp[0])), H_RAX);
    }
    asm_mov32(a, H_RCX, H_RAX);
    asm_emit(a, &(Enc){ .op = 0xc1, .reg = 5, .rm = H_RCX, .imm = X86_PAGE_BITS - 5, .imm_size = 1 });
    asm_ri(a, false, 4, H_RCX, (X86_TLB_SIZE - 1) << 5);
    asm_rm(a, true, 0x03, H_RCX, asm_frame(D + DBT_FRAME(tlb)));
    asm_rm(a, true, 0x2b, H_RAX, asm_at(H_RCX, tag));
    asm_ri(a, true, 7, H_RAX, X86_PAGE_SIZE - (1 << size));
    asm_jcc(a, CC_A, 0);
    miss = a->p;
    asm_load(a, H_RCX, asm_at(H_RCX, (int32_t)offsetof(X86TlbEntry, addend)));
    if (host) {
        asm_load(a, H_RAX, asm_frame(D + DBT_FRAME(tmp[0])));
        asm_lea(a, true, H_RAX, (HostMem){ .base = H_RAX, .index = H_RCX });
    }
    asm_8(a, 0xc3);
    put_here(a, miss);
    asm_rm(a, true, 0x03, H_RAX, asm_at(H_RCX, tag));
    put_pop_from(a);
    asm_mov_imm(a, H_RCX, dbt_look_what(size, write, host));
    put_to_stub(dbt, a, -1, group ? STUB_LOOK_GROUP : STUB_LOOK);
    if (counts) {
        put_here(a, hot);
        put_to_stub(dbt, a, -1, STUB_HOT);
    }
}

/* --- helpers that need few of the guest's registers --- */

/* Guest registers in host registers that C does not keep. */
static const uint8_t changed[] = { X86_RAX, X86_RCX, X86_RDX, X86_RSP, X86_RSI, X86_RDI, X86_R8 };

static HostMem changed_at(unsigned i)
{
    return asm_at(H_RCX, (int32_t)(offsetof(X86Cpu, gpr) + 8 * changed[i]));
}

/* They go to X86Cpu, from a stub that is called, and RCX points there; the frame lies `d` bytes above RSP. */
static void put_save_changed(Asm *a, int32_t d)
{
    asm_load(a, H_RCX, asm_frame(d + DBT_FRAME(cpu)));
    for (unsigned i = 0; i < sizeof changed; i++) {
        asm_store(a, changed_at(i), dbt_host_register[changed[i]]);
    }
}

static void put_load_changed(Asm *a, int32_t d)
{
    asm_load(a, H_RCX, asm_frame(d + DBT_FRAME(cpu)));
    for (unsigned i = 0; i < sizeof changed; i++) {
        asm_load(a, dbt_host_register[changed[i]], changed_at(i));
    }
}

/* The helper may change them. RAX and RCX are its arguments. `far`: it answers where to go on, and 0 to come back here.
 */
static void put_quick(Asm *a, const void *function, bool far)
{
    enum { D = 16 }; /* the return address, and what keeps the stack aligned */
    HostMem first = asm_frame(D + DBT_FRAME(tmp[0])), second = asm_frame(D + DBT_FRAME(tmp[1]));

    asm_lea(a, true, H_RSP, asm_frame(-8));
    asm_store(a, first, H_RAX);
    asm_store(a, second, H_RCX);
    put_save_changed(a, D);
    put_park(a, D, x86_park_slow);
    asm_load(a, H_RSI, first);
    asm_load(a, H_RDX, second);
    asm_lea(a, true, H_RDI, asm_frame(D));
    put_c(a, function);
    if (X86_ALWAYS_PARK) {
        asm_store(a, first, H_RAX);
        put_park(a, D, x86_unpark);
        asm_load(a, H_RAX, first);
    }
    put_load_changed(a, D);
    asm_lea(a, true, H_RSP, asm_frame(8));
    if (far) {
        asm_rr(a, true, 0x85, H_RAX, H_RAX);
        asm_jcc(a, CC_Z, 0);
        uint8_t *back = a->p;
        asm_lea(a, true, H_RSP, asm_frame(8));
        asm_emit(a, &(Enc){ .op = 0xff, .reg = 4, .rm = H_RAX });
        put_here(a, back);
    }
    asm_8(a, 0xc3);
}

/* The guest's vector registers come into the host's. */
static void put_vectors(Asm *a)
{
    enum { D = 16 };
    asm_lea(a, true, H_RSP, asm_frame(-8));
    put_save_changed(a, D);
    asm_mov(a, H_RDI, H_RCX);
    put_c(a, (const void *)x86_unpark);
    put_load_changed(a, D);
    asm_emit(a,
             &(Enc){ .op = 0xc6, .memory = true, .mem = asm_frame(D + DBT_FRAME(vectors)), .imm = 1, .imm_size = 1 });
    asm_lea(a, true, H_RSP, asm_frame(8));
    asm_8(a, 0xc3);
}

/* RAX = selector, for a register that has a segment of that kind: by the descriptor that was loaded before, if nothing
 * has changed. Else by the helper. */
static void put_quick_segment(const Dbt *dbt, Asm *a, unsigned seg, unsigned kind)
{
    enum { D = 8, SHIFT = 3 };
    G_STATIC_ASSERT(sizeof(DbtDescriptor) == 1 << (3 + SHIFT));
    int32_t  cpu_seg = (int32_t)(offsetof(X86Cpu, seg) + seg * sizeof(X86Segment));
    HostMem  first   = { .base = H_RSP, .index = H_RCX, .scale = SHIFT, .disp = D + DBT_FRAME(descriptors) };
    HostMem  rdx     = asm_frame(D + DBT_FRAME(tmp[1]));
    uint8_t *miss[3] = { NULL };
#define AT(member) asm_at(H_RCX, (int32_t)offsetof(DbtDescriptor, member))

    /* In ES or DS one of 4 GiB may make code flat; nobody is sure of what is of no kind. */
    bool none = !(kind & X86_SEGMENT_LIMIT) || ((kind & X86_SEGMENT_LIMIT) == X86_SEGMENT_4G && seg <= X86_DS);
    if (!none) {
        asm_mov32(a, H_RCX, H_RAX);
        asm_ri(a, false, 4, H_RCX, (DBT_DESCRIPTORS - 1) << 3);
        asm_rm(a, false, 0x3b, H_RAX, first);
        asm_jcc(a, CC_NZ, 0);
        miss[0] = a->p;
        asm_lea(a, true, H_RCX, first);
        asm_emit(a,
                 &(Enc){ .op = 0x80, .reg = 7, .memory = true, .mem = AT(kind), .imm = (int64_t)kind, .imm_size = 1 });
        asm_jcc(a, CC_NZ, 0);
        miss[1] = a->p;
        asm_load(a, H_RAX, AT(host));
        asm_load(a, H_RAX, asm_at(H_RAX, 0));
        asm_rm(a, true, 0x3b, H_RAX, AT(raw));
        asm_rm(a, false, 0x8b, H_RAX, AT(selector));
        asm_jcc(a, CC_NZ, 0);
        miss[2] = a->p;
        asm_store(a, rdx, H_RDX);
        asm_load(a, H_RDX, asm_frame(D + DBT_FRAME(cpu)));
        put_sized(a, 2, 0x89, H_RAX, asm_at(H_RDX, cpu_seg + (int32_t)offsetof(X86Segment, selector)));
        asm_load(a, H_RAX, AT(base));
        asm_store(a, asm_at(H_RDX, cpu_seg + (int32_t)offsetof(X86Segment, base)), H_RAX);
        asm_store(a, asm_frame(D + DBT_FRAME(seg_base) + 8 * (int32_t)seg), H_RAX);
        asm_load(a, H_RAX, AT(limit)); /* and the attributes */
        asm_store(a, asm_at(H_RDX, cpu_seg + (int32_t)offsetof(X86Segment, limit)), H_RAX);
        asm_mov32(a, H_RAX, H_RAX);
        for (unsigned n = 0; n < DBT_LAST; n++) {
            if (n) {
                asm_lea(a, true, H_RAX, asm_at(H_RAX, -(1 << (n - 1))));
            }
            asm_store(a, asm_frame(D + DBT_FRAME(seg_last) + 8 * (int32_t)(DBT_LAST * seg + n)), H_RAX);
        }
        asm_load(a, H_RDX, rdx);
        asm_mov_imm(a, H_RAX, 1);
        asm_8(a, 0xc3);
        for (unsigned i = 0; i < 3; i++) {
            put_here(a, miss[i]);
        }
    }
    asm_mov_imm(a, H_RCX, seg);
    put_to_stub(dbt, a, -1, STUB_QUICK_SEGMENT);
#undef AT
}

/* Into a stub that wants rip in RAX. */
static void put_with_rip(const Dbt *dbt, Asm *a, DbtStub stub)
{
    asm_load(a, H_RAX, asm_frame(DBT_FRAME(cpu)));
    asm_load(a, H_RAX, CPU_AT(rip));
    put_to_stub(dbt, a, -1, stub);
}

static void put_stub(const Dbt *dbt, Asm *a, DbtStub stub)
{
    if (stub >= STUB_TLB) {
        unsigned n = (unsigned)(stub - STUB_TLB);
        put_tlb(dbt, a, n / DBT_TLB_KINDS, n & 8, n & 4, n & 2, n & 1);
        return;
    }
    switch (stub) {
    case STUB_ENTER: put_enter(a); break;
    case STUB_LEAVE: put_leave(a); break;
    case STUB_READ_MISS: put_miss(a, false, false, MISS_MICRO); break;
    case STUB_WRITE_MISS: put_miss(a, true, false, MISS_MICRO); break;
    case STUB_GROUP_READ_MISS: put_miss(a, false, true, MISS_MICRO); break;
    case STUB_GROUP_WRITE_MISS: put_miss(a, true, true, MISS_MICRO); break;
    case STUB_READ: put_miss(a, false, false, MISS_TLB); break;
    case STUB_WRITE: put_miss(a, true, false, MISS_TLB); break;
    case STUB_GROUP_READ: put_miss(a, false, true, MISS_TLB); break;
    case STUB_GROUP_WRITE: put_miss(a, true, true, MISS_TLB); break;
    case STUB_RUN_READ: put_miss(a, false, false, MISS_RUN); break;
    case STUB_RUN_WRITE: put_miss(a, true, false, MISS_RUN); break;
    case STUB_RUN_GROUP_READ: put_miss(a, false, true, MISS_RUN); break;
    case STUB_RUN_GROUP_WRITE: put_miss(a, true, true, MISS_RUN); break;
    case STUB_LOOK: put_call_what(a, (const void *)dbt_slow_look); break;
    case STUB_LOOK_GROUP: put_call_what(a, (const void *)dbt_slow_look_group); break;
    case STUB_COUNTED: put_call_from(a, (const void *)dbt_slow_counted); break;
    case STUB_HOT: put_call_from(a, (const void *)dbt_slow_hot); break;
    case STUB_HOT_BACK: /* into the look-up that does not count, as if called from there */
        asm_emit(a, &(Enc){ .op = 0xff, .reg = 6, .memory = true, .mem = asm_frame(DBT_FRAME(from)) });
        put_jump_frame(a, 8 + DBT_FRAME(tmp[3]));
        break;
    case STUB_INSN: put_call_from(a, (const void *)dbt_slow_insn); break;
    case STUB_VECTORS: put_vectors(a); break;
    case STUB_LINK: put_call_from(a, (const void *)dbt_slow_link); break;
    case STUB_FAR: put_call_from(a, (const void *)dbt_slow_far); break;
    case STUB_LOOKUP: put_call(a, (const void *)dbt_slow_lookup, 0); break;
    case STUB_JUMP_MISS ... STUB_JUMP_MISS_LAST:
        put_jump_miss(a, stub - STUB_JUMP_MISS, (const void *)dbt_slow_lookup);
        break;
    case STUB_RET_MISS ... STUB_RET_MISS_LAST:
        put_pop_from(a);
        put_jump_miss(a, stub - STUB_RET_MISS, (const void *)dbt_slow_ret);
        break;
    case STUB_CALL_MISS: put_call_from(a, (const void *)dbt_slow_call); break;
    case STUB_KICK: put_call(a, (const void *)dbt_slow_kick, 0); break;
    case STUB_STAC:
    case STUB_CLAC: put_smap(dbt, a, stub == STUB_STAC); break;
    case STUB_SYSCALL: put_syscall(dbt, a); break;
    case STUB_SYSRET: put_sysret(dbt, a); break;
    case STUB_QUICK_SEGMENTS ... STUB_QUICK_SEGMENTS_LAST:
        put_quick_segment(dbt, a, (unsigned)(stub - STUB_QUICK_SEGMENTS) / 8,
                          (unsigned)(stub - STUB_QUICK_SEGMENTS) % 8);
        break;
    case STUB_QUICK_SEGMENT: put_quick(a, (const void *)dbt_quick_segment, false); break;
    case STUB_QUICK_FAR: put_quick(a, (const void *)dbt_quick_far, true); break;
    case STUB_QUICK_LOOKUP: put_with_rip(dbt, a, STUB_LOOKUP); break;
    case STUB_QUICK_KICK: put_with_rip(dbt, a, STUB_KICK); break;
    case STUB_PAGES: put_call(a, (const void *)dbt_slow_pages, 0); break;
    case STUB_FAULT: put_call(a, (const void *)dbt_slow_fault, 0); break;
    case STUB_TLB:
    case N_STUBS: break;
    }
}

void dbt_make_stubs(Dbt *dbt)
{
    enum { ALIGN = 64 };
    size_t used = 0;
    for (unsigned i = 0; i < N_STUBS; i++) {
        Asm a = { .start = dbt->rw + used, .p = dbt->rw + used, .end = dbt->rw + DBT_STUB_SPACE };
        put_stub(dbt, &a, (DbtStub)i);
        g_assert(!a.full);
        dbt->stubs[i] = dbt->rx + used;
        used          = (used + asm_offset(&a) + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    }
    dbt->stub_size = used;
}
