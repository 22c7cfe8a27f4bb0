/* Virtual-8086 mode and real mode, with the extensions of CR4.VME and CR4.PVI where there are any. */

#include "check.h"

/* --- IOPL --- */

CASE("v86.cli", "CLI with IOPL 0 is #GP(0)", "SDM 3, 21.2.7", V86, "", "cli", GP(0))
CASE("v86.sti", "so is STI", "SDM 3, 21.2.7", V86, "", "sti", GP(0))
CASE("v86.pushf", "and PUSHF", "SDM 3, 21.2.7", V86, "", "pushf", GP(0))
CASE("v86.popf", "and POPF", "SDM 3, 21.2.7", V86, "", "popf", GP(0))
CASE("v86.int", "and INT n", "SDM 3, 21.2.7", V86, "", "int $0x80", GP(0))
CASE("v86.iret", "and IRET", "SDM 3, 21.2.7", V86, "", "iretw", GP(0))
CASE("v86.int3", "INT3 goes through the IDT whatever IOPL", "SDM 3, 21.3", V86, "", "int3", TRAP(3))
CASE("v86.into", "so does INTO", "SDM 3, 21.3", V86, "movb $0x7f, %al\n addb $1, %al", "into", TRAP(4))
CASE("v86.cli-iopl3", "with IOPL 3 CLI and STI are done", "SDM 3, 21.2.7", V86, "", "sti\n cli", NONE, .flags = IOPL3)
CASE("v86.pushf-iopl3", "with IOPL 3 PUSHF shows IOPL, and no VM", "SDM 2, PUSHF", V86, "", "pushfl\n popl %eax",
     VALUE(0x3002), .flags = IOPL3)
CASE("v86.popf-iopl", "POPF cannot change IOPL", "SDM 2, POPF", V86, "pushw $0x0002", "popf\n pushf\n pop %ax",
     VALUE(0x3002), .flags = IOPL3)
CASE("v86.int-iopl3", "with IOPL 3 INT n goes to ring 0", "SDM 3, 21.3", V86, "", "int $0x80", TRAP(0x80),
     .flags = IOPL3)
CASE("v86.int-dpl", "through a gate of DPL 3 only: #GP(vector * 8 + 2)", "SDM 3, 21.3.1.1", V86, "", "int $0x31",
     GP(0x31 * 8 + 2), .flags = IOPL3)
BEFORE(gate_to_ring1, set_idt(0x80, GATE(S_CODE1, 0x1000, 0xee)))
BEFORE(gate_to_conforming, set_idt(0x80, GATE(S_CONFORMING, 0x1000, 0xee)))
CASE("v86.int-ring1", "a gate to a ring other than 0 is #GP(CS)", "SDM 2, INT n", V86, "", "int $0x80",
     GP(S_CODE1 & ~3), .flags = IOPL3, .before = gate_to_ring1)
CASE("v86.int-conforming", "a gate to a conforming segment is #GP(CS)", "SDM 2, INT n", V86, "", "int $0x80",
     GP(S_CONFORMING), .flags = IOPL3, .before = gate_to_conforming)
CASE("v86.iret-iopl3", "with IOPL 3 IRET pops three words and keeps IOPL", "SDM 2, IRET", V86,
     "pushw $0x0002\n push %cs\n push $1f-case_code_here", "iretw\n 1: pushf\n pop %ax", VALUE(0x3002), .flags = IOPL3)

/* --- segments, faults, instructions --- */

AFTER(segments_pushed, f->ds == A_AREA >> 4 && f->es == 0x1234 && f->gs == A_AREA >> 4)
AFTER(segments_null, true)
CASE("v86.segments", "an interrupt pushes GS, FS, DS and ES", "SDM 3, figure 21-4", V86,
     "mov $0x1234, %ax\n mov %ax, %es", "hlt", GP(0), .after = segments_pushed)
SNIPPET(read_segments, R0,
        "mov %ds, %eax\n mov %es, %ecx\n or %ecx, %eax\n mov %fs, %ecx\n or %ecx, %eax\n mov %gs, %ecx\n or %ecx, %eax")
BEFORE(look_at_segments, set_idt(13, GATE(S_CODE, read_segments, 0x8e)))
CASE("v86.segments-null", "and leaves them null", "SDM 3, 21.3.1.1", V86, "", "hlt", .vector = 3, .at = AT_ANY,
     .check_ax = true, .ax = 0, .before = look_at_segments, .after = segments_null)
CASE("v86.limit", "segments have 64 KiB: a word at FFFFh is #GP(0)", "SDM 3, 21.2.1", V86, "", "movw 0xffff, %ax",
     GP(0))
CASE("v86.limit-32", "a 32-bit address beyond is #GP(0)", "SDM 3, 21.2.1", V86, "movl $0x10000, %ebx",
     "movb (%ebx), %al", GP(0))
CASE("v86.limit-stack", "on the stack #SS(0)", "SDM 3, 21.2.1", V86, "movl $0x10000, %ebp", "movb (%ebp), %al", SS(0))
CASE("v86.push-wrap", "a push at SP 0 wraps to FFFEh", "SDM 2, PUSH", V86, "xor %sp, %sp\n push %ax\n mov %sp, %ax",
     "nop", VALUE(0xfffe))
CASE("v86.push-1", "a push at SP 1 is #SS(0)", "SDM 2, PUSH", V86, "mov $1, %sp", "push %ax", SS(0))
CASE("v86.wrap-20", "addresses reach 10FFEFh, without wrapping at 1 MiB", "SDM 3, 21.1.1", V86,
     "mov $0xffff, %ax\n mov %ax, %es\n xor %eax, %eax", "movl %es:0x10, %eax", VALUE(0x1badb002))
CASE("v86.lldt", "LLDT is #UD", "SDM 3, 21.1.3", V86, "", ".byte 0x0f, 0, 0xd0", UD)
CASE("v86.lar", "LAR is #UD", "SDM 3, 21.1.3", V86, "", "lar %ax, %ax", UD)
CASE("v86.verr", "VERR is #UD", "SDM 3, 21.1.3", V86, "", "verr %ax", UD)
CASE("v86.str", "STR is #UD", "SDM 3, 21.1.3", V86, "", "str %ax", UD)
CASE("v86.sldt", "SLDT is #UD", "SDM 3, 21.1.3", V86, "", "sldt %ax", UD)
CASE("v86.lgdt", "LGDT is #GP(0)", "SDM 2, LGDT", V86, "", "lgdt 0", GP(0))
CASE("v86.lmsw", "LMSW is #GP(0)", "SDM 2, LMSW", V86, "", "lmsw %ax", GP(0))
CASE("v86.mov-cr", "MOV from CR0 is #GP(0)", "SDM 2, MOV", V86, "", "mov %cr0, %eax", GP(0))
CASE("v86.mov-dr", "MOV from DR7 is #GP(0)", "SDM 2, MOV", V86, "", "mov %db7, %eax", GP(0))
CASE("v86.clts", "CLTS is #GP(0)", "SDM 2, CLTS", V86, "", "clts", GP(0))
CASE("v86.rdmsr", "RDMSR is #GP(0)", "SDM 2, RDMSR", V86, "", "rdmsr", GP(0))
CASE("v86.invlpg", "INVLPG is #GP(0)", "SDM 2, INVLPG", V86, "", "invlpg 0", GP(0))
CASE("v86.smsw", "SMSW is for everybody", "SDM 2, SMSW", V86, "", "smsw %ax\n and $1, %eax", VALUE(1))
CASE("v86.sysenter", "SYSENTER with CS 0 is #GP(0)", "SDM 2, SYSENTER", V86, "", "sysenter", GP(0))
CASE("v86.sysexit", "SYSEXIT is #GP(0)", "SDM 2, SYSEXIT", V86, "", "sysexit", GP(0))
CASE("v86.io-iopl3", "I/O asks the map even with IOPL 3", "SDM 3, 21.2.8.1", V86, "", "inb $0x80, %al", GP(0),
     .flags = IOPL3)
BEFORE(allow_80, tss.rest[32 + 0x10] = 0xfe)
CASE("v86.io-map", "and the map alone", "SDM 3, 21.2.8.1", V86, "", "inb $0x80, %al", NONE, .before = allow_80)
CASE("v86.far-jump", "a far jump loads CS like in real mode", "SDM 2, JMP", V86, "",
     "ljmp $0x1fff, $1f-case_code_here+16\n 1: mov %cs, %ax", .vector = 3, .at = AT_ANY, .check_ax = true, .ax = 0x1fff)
CASE("v86.far-jump-limit", "a 32-bit offset beyond FFFFh is #GP(0)", "SDM 2, JMP", V86, "", "ljmpl $0x2000, $0x10000",
     GP(0))
CASE("v86.bound", "BOUND traps through the IDT", "SDM 2, BOUND", V86, "movl $0x00020001, 0\n mov $3, %ax",
     "bound %ax, 0", BR)
CASE("v86.page-fault", "a page fault has the user bit", "SDM 3, 4.7", V86, "", "movl %es:0, %eax", NONE)
AFTER(at_10000, f->eip == 0x10000)
AFTER(at_ffff, f->eip == 0xffff)
CASE("v86.iret-enters", "IRET with VM from ring 0 pops nine doublewords", "SDM 2, IRET", R0,
     "push $0x4000\n push $0x4000\n push $0x4000\n push $0x4000\n push $0x4000\n push $0x100\n push $0x20002\n push "
     "$0x900\n push $0\n movl $0xccd88c, 0x9000",
     "iret", .vector = 3, .at = AT_ANY, .check_ax = true, .ax = 0x4000)
CASE("v86.iret-eip", "IRET to virtual-8086 mode with EIP beyond FFFFh is #GP(0)", "SDM 2, IRET", R0,
     "push $0x4000\n push $0x4000\n push $0x4000\n push $0x4000\n push $0x4000\n push $0x100\n push $0x20002\n push "
     "$0x900\n push $0x10000",
     "iret", GP(0))

/* --- EIP at the end of a 16-bit segment (SDM 3, 5.3: instruction fetches are checked against the limit) --- */

BEFORE(code_at_end, memset(mem32(A_CODE16_BASE + 0xfff0), 0x90, 16); f->eip = 0xfff0)
BEFORE(code_across_end, memset(mem32(A_CODE16_BASE + 0xfff0), 0x90, 15); *(u8 *)mem32(A_CODE16_BASE + 0xffff) = 0xb0;
       f->eip = 0xfff0)
CASE("eip.v86-runs-out", "code that runs beyond FFFFh is #GP(0) at EIP 10000h", "SDM 3, 5.3", V86, "", "nop",
     .vector = 13, .error = 0, .at = AT_ANY, .before = code_at_end, .after = at_10000)
CASE("eip.v86-across", "an instruction across the limit is #GP(0) at its own EIP", "SDM 3, 5.3", V86, "", "nop",
     .vector = 13, .error = 0, .at = AT_ANY, .before = code_across_end, .after = at_ffff)
CASE("eip.16-runs-out", "the same in 16-bit protected mode", "SDM 3, 5.3", R3_16, "", "nop", .vector = 13, .error = 0,
     .at = AT_ANY, .before = code_at_end, .after = at_10000)
CASE("eip.16-across", "and across it", "SDM 3, 5.3", R3_16, "", "nop", .vector = 13, .error = 0, .at = AT_ANY,
     .before = code_across_end, .after = at_ffff)

/* --- real mode --- */

CASE("real.de", "#DE through the IVT", "SDM 3, 21.1.4", REAL, "xor %cx, %cx", "div %cx", DE)
CASE("real.int", "INT n", "SDM 3, 21.1.4", REAL, "", "int $0x80", TRAP(0x80))
CASE("real.limit", "a word at FFFFh is #GP", "SDM 3, 21.1.4", REAL, "", "movw 0xffff, %ax", FAULT(13))
CASE("real.limit-stack", "on the stack #SS", "SDM 3, 21.1.4", REAL, "mov $0xffff, %bp", "movw (%bp), %ax", FAULT(12))
CASE("real.push-wrap", "a push at SP 0 wraps", "SDM 2, PUSH", REAL, "xor %sp, %sp\n push %ax\n mov %sp, %ax", "nop",
     VALUE(0xfffe))
CASE("real.lar", "LAR is #UD", "SDM 2, LAR", REAL, "", "lar %ax, %ax", UD)
CASE("real.lldt", "LLDT is #UD", "SDM 2, LLDT", REAL, "", ".byte 0x0f, 0, 0xd0", UD)
CASE("real.iret-iopl", "IRET changes IOPL", "SDM 2, IRET", REAL, "push $0x3002\n push %cs\n push $1f-case_code_here",
     "iretw\n 1: pushf\n pop %ax", VALUE(0x3002))
CASE("real.popf-nt", "POPF sets NT, and IRET does not look at it", "SDM 2, IRET", REAL,
     "push $0x4002\n popf\n push $0x2\n push %cs\n push $1f-case_code_here", "iretw\n 1: pushf\n pop %ax", VALUE(2))
CASE("real.a20", "A20 enabled: no wrap at 1 MiB", "SDM 3, 21.1.1", REAL,
     "mov $0xffff, %ax\n mov %ax, %es\n xor %eax, %eax", "movl %es:0x10, %eax", VALUE(0x1badb002))
/* "a20=0" on the command line: the board cannot mask it. */
static bool a20_gate(void)
{
    return option("a20", 1);
}
CASE("real.a20-off", "A20 masked by port 92h and the keyboard controller: FFFF:0010 is 0:0",
     "82371SB, 92h; IBM AT, 8042", REAL,
     "movl $0x5a5a5a5a, %cs:0\n xor %ax, %ax\n mov %ax, %ds\n movl 0, %ecx\n mov $0xffff, %ax\n mov %ax, %es\n inb "
     "$0x92, %al\n andb $0xfc, %al\n outb %al, $0x92\n mov $0xdd, %al\n outb %al, $0x64\n movl %es:0x10, %ebx\n mov "
     "$0xdf, %al\n outb %al, $0x64\n inb $0x92, %al\n orb $2, %al\n andb $0xfe, %al\n outb %al, $0x92\n xor %eax, "
     "%eax\n cmp %ebx, %ecx\n sete %al",
     "nop", VALUE(1), .when = a20_gate)
CASE("real.segment-value", "a segment register's base is its value times 16", "SDM 3, 21.1.1", REAL,
     "movl $0x77, 0x20\n mov $(A_AREA>>4)+2, %ax\n mov %ax, %fs\n xor %eax, %eax", "movl %fs:0, %eax", VALUE(0x77))
CASE("real.code-write", "CS may be written", "SDM 3, 21.1", REAL, "", "movb $5, %cs:0x800\n movzbl %cs:0x800, %eax",
     VALUE(5))
CASE("real.far-call", "a far call and return", "SDM 2, CALL", REAL, "movw $0xcb90, 0\n mov $7, %ax",
     "lcall $A_AREA>>4, $0\n mov $9, %ax", VALUE(9))
CASE("real.32-bit-jump", "a jump beyond the limit is #GP", "SDM 2, JMP", REAL, "mov $0x12345, %eax", "jmp *%eax",
     FAULT(13))
CASE("real.lmsw-smsw", "SMSW shows PE clear", "SDM 2, SMSW", REAL, "", "smsw %ax\n and $1, %eax", VALUE(0))
CASE("real.cpl0", "MOV to CR is allowed: CPL is 0", "SDM 3, 21.1", REAL, "mov %cr0, %eax", "mov %eax, %cr0", NONE)
CASE("real.hidden-limit", "limits of protected mode stay in the hidden part (unreal mode)", "SDM 3, 10.9.2 (notes)",
     REAL,
     "cli\n mov %ds, %bx\n mov %cr0, %eax\n or $1, %al\n mov %eax, %cr0\n jmp 1f\n 1: mov $S_DATA, %cx\n mov %cx, "
     "%ds\n and $0xfe, %al\n mov %eax, %cr0\n jmp 2f\n 2: mov %bx, %ds\n movl $0x100000-A_AREA, %ebx",
     "movl (%ebx), %eax", VALUE(0x1badb002))
