/* Long mode: LOCK on every opcode, opcodes that are not there, alignment checks. */

#include "check.h"

/* Runs prefix, opcode bytes, ModRM and zeros for the rest; true when that was #UD. */
static bool is_ud(const u8 *opcode, unsigned len, u8 modrm)
{
    u8    code[16] = { 0xf0 };
    Frame f        = frame_at(A_CODE, STACK_TOP, true);
    memcpy(code + 1, opcode, len);
    code[1 + len] = modrm;
    memcpy((void *)code_page, code, sizeof code);
    f.rdi = A_AREA;
    return run(&f) == 6 && f.rip == A_CODE;
}

/* Read-modify-write instructions whose destination is memory (SDM 2, LOCK): by opcode a bit for each ModRM.reg. */
static u8 lockable_1(u8 op)
{
    if (op < 0x38) {
        return (op & 7) < 2 ? 0xff : 0; /* ADD to XOR */
    }
    switch (op) {
    case 0x80:
    case 0x81:
    case 0x83: return 0x7f;
    case 0x86:
    case 0x87: return 0xff;
    case 0xf6:
    case 0xf7: return 1 << 2 | 1 << 3;
    case 0xfe:
    case 0xff: return 1 << 0 | 1 << 1;
    default: return 0;
    }
}
static u8 lockable_2(u8 op)
{
    switch (op) {
    case 0xab:
    case 0xb3:
    case 0xbb:
    case 0xb0:
    case 0xb1:
    case 0xc0:
    case 0xc1: return 0xff;
    case 0xba: return 1 << 5 | 1 << 6 | 1 << 7;
    case 0xc7: return 1 << 1;
    default: return 0;
    }
}
/* Not opcodes of their own. */
static bool is_prefix(u8 op)
{
    return op == 0x0f || op == 0x26 || op == 0x2e || op == 0x36 || op == 0x3e || (op >= 0x40 && op <= 0x4f) ||
           (op >= 0x64 && op <= 0x67) || op == 0xf0 || op == 0xf2 || op == 0xf3;
}
static const char *id_of(const char *prefix, u8 op)
{
    static char text[32];
    char       *at = text;
    while (*prefix) {
        *at++ = *prefix++;
    }
    *at++ = "0123456789abcdef"[op >> 4];
    *at++ = "0123456789abcdef"[op & 15];
    *at   = 0;
    return text;
}
static const char where[] = "SDM 2, LOCK";
BEFORE(second_page, map(A_AREA + PAGE, stack_page, P | W | U); memset((void *)stack_page, 0, 16))

static void opcodes(const char *prefix, const char *others, const char *registers, u8 (*lockable)(u8), unsigned len,
                    bool (*leave_out)(u8))
{
    unsigned bad_others = 0, bad_registers = 0;
    Frame    f;
    frame_in(L3, "", 0, &f);
    for (unsigned op = 0; op < 256; op++) {
        u8 code[2] = { 0x0f, (u8)op };
        if (leave_out((u8)op)) {
            continue;
        }
        u8   want = lockable((u8)op);
        bool ok   = true;
        for (unsigned reg = 0; reg < 8; reg++) {
            bool ud = is_ud(code + 2 - len, len, (u8)(0x07 | reg << 3));
            if (ud == (want >> reg & 1)) {
                ok = false;
                print("# %s%x /%u: %s\n", prefix, op, reg, ud ? "#UD" : "not #UD");
            }
            if (!is_ud(code + 2 - len, len, (u8)(0xc1 | reg << 3))) {
                bad_registers++;
                print("# %s%x /%u with a register is not #UD\n", prefix, op, reg);
            }
        }
        if (want) {
            check(ok, id_of(prefix, (u8)op), "LOCK is allowed with those of its forms that read and write memory",
                  where);
        } else {
            bad_others += !ok;
        }
    }
    check(!bad_others, others, "and #UD with all other opcodes", where);
    check(!bad_registers, registers, "and with registers", where);
}
/* MOV CR: CR8 on AMD's processors; 38h and 3Ah lead to other maps. */
static bool leave_out_2(u8 op)
{
    return op == 0x20 || op == 0x22 || op == 0x38 || op == 0x3a;
}
GROUP(lock)
{
    opcodes("lock64.", "lock64.others", "lock64.registers", lockable_1, 1, is_prefix);
    opcodes("lock64.0f", "lock64.0f-others", "lock64.0f-registers", lockable_2, 2, leave_out_2);
}
CASE("lock64.0f38", "MOVBE is not lockable", "SDM 2, LOCK", L3, "", ".byte 0xf0, 0x0f, 0x38, 0xf1, 0x07", UD)
CASE("lock64.order", "LOCK's #UD comes before a page fault", "SDM 3, table 6-2", L3, "",
     ".byte 0xf0, 0x8b, 0x87, 0, 0x10, 0, 0", UD)
CASE("lock64.ring3-hlt", "and before #GP of a privileged instruction", "SDM 3, table 6-2", L3, "", ".byte 0xf0, 0xf4",
     UD)
CASE("lock64.split", "a locked access across two lines", "SDM 3, 9.1.2.2", L3, "",
     "lock addq $5, 0x3c(%rdi)\n mov 0x3c(%rdi), %rax", VALUE(5))
CASE("lock64.split-pages", "and across two pages", "SDM 3, 9.1.2.2", L3, "",
     "lock addq $5, 0xffc(%rdi)\n mov 0xffc(%rdi), %rax", VALUE(5), .before = second_page)
CASE("lock64.cmpxchg8b-split", "CMPXCHG8B across two lines", "SDM 3, 9.1.2.2", L3,
     "xor %eax, %eax\n xor %edx, %edx\n mov $7, %ebx\n xor %ecx, %ecx",
     "lock cmpxchg8b 0x3c(%rdi)\n mov 0x3c(%rdi), %rax", VALUE(7))
AFTER(rax_kept, f->rax == 9)
CASE("lock64.cmpxchg-fault", "a CMPXCHG that faults leaves RAX", "SDM 3, 6.5", L3, "mov $9, %eax",
     "lock cmpxchg %rcx, 0x1000(%rdi)", PAGE_FAULT(6, A_AREA + PAGE), .after = rax_kept)
CASE("lock64.xacquire", "XACQUIRE of a locked instruction is ignored", "SDM 2, XACQUIRE", L3, "",
     ".byte 0xf2, 0xf0\n addl $3, (%rdi)\n mov (%rdi), %eax", VALUE(3))

/* --- opcodes that 64-bit mode does not have --- */

GROUP(opcodes_gone)
{
    static const u8 gone[] = { 0x06, 0x07, 0x0e, 0x16, 0x17, 0x1e, 0x1f, 0x27, 0x2f, 0x37,
                               0x3f, 0x60, 0x61, 0x82, 0x9a, 0xce, 0xd4, 0xd5, 0xd6, 0xea };
    for (unsigned i = 0; i < sizeof gone; i++) {
        u8    code[16] = { gone[i] };
        Frame f;
        check(run_bytes(L3, code, sizeof code, &f) == 6 && f.rip == A_CODE, id_of("gone64.", gone[i]),
              "it is #UD in 64-bit mode", "SDM 2, A.3");
    }
    static const u8 undefined[][2] = {
        { 0x0f, 0x04 }, { 0x0f, 0x0a }, { 0x0f, 0x0b }, { 0x0f, 0x24 }, { 0x0f, 0x25 }, { 0x0f, 0x26 }, { 0x0f, 0x27 },
        { 0x0f, 0x36 }, { 0x0f, 0x39 }, { 0x0f, 0x3b }, { 0x0f, 0x3c }, { 0x0f, 0x3d }, { 0x0f, 0x3e }, { 0x0f, 0x3f },
        { 0x0f, 0x7a }, { 0x0f, 0x7b }, { 0x0f, 0xa6 }, { 0x0f, 0xa7 }, { 0x0f, 0xb9 }, { 0x0f, 0xff },
    };
    for (unsigned i = 0; i < sizeof undefined / sizeof undefined[0]; i++) {
        u8    code[16] = { undefined[i][0], undefined[i][1], 0xc0 };
        Frame f;
        check(run_bytes(L3, code, sizeof code, &f) == 6 && f.rip == A_CODE, id_of("undefined.0f", undefined[i][1]),
              "it is #UD", "SDM 2, A.3");
    }
    static const u8 groups[][2] = {
        { 0xfe, 2 }, { 0xfe, 7 }, { 0xff, 7 }, { 0x8f, 1 }, { 0x8f, 7 }, { 0xc6, 1 }, { 0xc7, 1 }, { 0xc7, 7 },
    };
    for (unsigned i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        u8       code[16] = { groups[i][0], (u8)(0x07 | groups[i][1] << 3) };
        Frame    f;
        unsigned vector = run_bytes(L3, code, sizeof code, &f);
        check(vector == 6,
              id_of((const char *const[]){ "", "group64.1-", "group64.2-", "", "", "", "", "group64.7-" }[groups[i][1]],
                    groups[i][0]),
              "ModRM.reg that the group does not have is #UD", "SDM 2, A.4");
    }
}

/* --- alignment checks --- */

#define AM WRITE_CR(0, saved_cr0 | 1 << 18)
BEFORE(ac, AM; f->rflags |= AC)
BEFORE(ac_no_am, f->rflags |= AC)
BEFORE(am_no_ac, AM)
#define ACS(id, text, code)  CASE("ac64." id, text, "SDM 3, table 6-7", L3, "", code, ALIGN, .before = ac)
#define FINE(id, text, code) CASE("ac64." id, text, "SDM 3, table 6-7", L3, "", code, NONE, .before = ac)
ACS("word", "a word at an odd address", "mov 1(%rdi), %ax")
ACS("dword", "a doubleword at 2", "mov 2(%rdi), %eax")
ACS("qword", "a quadword at 4", "mov 4(%rdi), %rax")
ACS("write", "a write", "mov %rax, 4(%rdi)")
ACS("rmw", "a read and write", "incl 2(%rdi)")
ACS("lock", "a locked one", "lock incl 2(%rdi)")
CASE("ac64.push", "a push", "SDM 3, table 6-7", L3, "lea 0x104(%rdi), %rsp", "push %rax", ALIGN, .before = ac)
ACS("movq", "MMX", "movq 4(%rdi), %mm0")
ACS("movsd", "a double in SSE", "movsd 4(%rdi), %xmm0")
ACS("movss", "a single", "movss 2(%rdi), %xmm0")
ACS("fld", "FLD of a double", "fldl 4(%rdi)")
ACS("fldt", "FLD of an extended double at 4", "fldt 4(%rdi)")
ACS("cmpxchg8b", "CMPXCHG8B", "cmpxchg8b 4(%rdi)")
CASE("ac64.stos", "STOS", "SDM 3, table 6-7", L3, "inc %rdi", "stosw", ALIGN, .before = ac)
ACS("bts", "BTS", "btsl $1, 2(%rdi)")
ACS("movnti", "MOVNTI", "movnti %eax, 2(%rdi)")
ACS("xchg", "XCHG", "xchg %eax, 2(%rdi)")
FINE("byte", "bytes are always aligned", "mov 1(%rdi), %al")
FINE("aligned", "aligned ones are fine", "mov 8(%rdi), %rax")
FINE("fldt-8", "an extended double needs 8", "fldt 8(%rdi)")
FINE("prefetch", "PREFETCH is not checked", "prefetcht0 1(%rdi)")
FINE("lea", "nor LEA", "lea 1(%rdi), %rax")
CASE("ac64.no-am", "not without CR0.AM", "SDM 3, 2.5", L3, "", "mov 1(%rdi), %ax", NONE, .before = ac_no_am)
CASE("ac64.no-ac", "not without RFLAGS.AC", "SDM 3, 2.5", L3, "", "mov 1(%rdi), %ax", NONE, .before = am_no_ac)
CASE("ac64.ring0", "not in ring 0", "SDM 3, 6.15 (#AC)", L0, "", "mov 1(%rdi), %ax", NONE, .before = ac)
CASE("ac64.compat", "in compatibility mode", "SDM 3, 6.15 (#AC)", C3, "", "mov 1(%edi), %ax", ALIGN, .before = ac)
CASE("ac64.popf", "POPF that sets AC", "SDM 3, 6.15 (#AC)", L3, "push $0x40002\n popfq", "mov 1(%rdi), %ax", ALIGN,
     .before = am_no_ac)
CASE("ac64.canonical", "#GP of a bad address comes first", "SDM 3, table 6-2", L3, BAD, "mov 1(%rbx), %rax", GP(0),
     .before = ac)
CASE("ac64.movaps", "MOVAPS at 8 stays #GP(0)", "SDM 2, MOVAPS", L3, "", "movaps 8(%rdi), %xmm0", GP(0), .before = ac)
CASE("ac64.int", "what the processor pushes is not checked", "SDM 3, 6.15 (#AC)", L3, "lea 1(%rdi), %rsp", "int $0x80",
     TRAP(0x80), .before = ac)
