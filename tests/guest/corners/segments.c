/* Segments: limits, types and privilege of loads and of accesses. */

#include "check.h"

/* Attributes of segments of AREA. */
enum {
    RO     = 0x90,
    RW     = 0x92,
    DOWN   = 0x96, /* expand-down, read and write */
    XO     = 0x98,
    XR     = 0x9a,
    XCR    = 0x9e, /* conforming */
    USER   = 0x60,
    BIG    = 0x4000,
    PAGES  = 0x8000,
    ABSENT = 0x80,
};
#define AREA(limit, attributes) SEGMENT(A_AREA, limit, attributes)
#define FS_T1                   "mov $S_T1, %ax\n mov %ax, %fs\n xor %eax, %eax"
#define FS_T1_3                 "mov $S_T1+3, %ax\n mov %ax, %fs\n xor %eax, %eax"

CASE("seg.byte-at-limit", "a byte at the limit is read", "SDM 3, 5.3", R3, FS_T1_3, "movb %fs:0xff, %al", NONE,
     .t1 = AREA(0xff, RW | USER | BIG))
CASE("seg.byte-beyond", "a byte beyond the limit is #GP(0)", "SDM 3, 5.3", R3, FS_T1_3, "movb %fs:0x100, %al", GP(0),
     .t1 = AREA(0xff, RW | USER | BIG))
CASE("seg.word-across", "a word that begins at the limit is #GP(0)", "SDM 3, 5.3", R3, FS_T1_3, "movw %fs:0xff, %ax",
     GP(0), .t1 = AREA(0xff, RW | USER | BIG))
CASE("seg.dword-across", "a doubleword whose last byte is beyond the limit is #GP(0)", "SDM 3, 5.3", R3, FS_T1_3,
     "movl %fs:0xfd, %eax", GP(0), .t1 = AREA(0xff, RW | USER | BIG))
CASE("seg.dword-fits", "a doubleword that ends at the limit is read", "SDM 3, 5.3", R3, FS_T1_3, "movl %fs:0xfc, %eax",
     NONE, .t1 = AREA(0xff, RW | USER | BIG))
CASE("seg.write-across", "a write across the limit is #GP(0)", "SDM 3, 5.3", R3, FS_T1_3, "movl %eax, %fs:0xfd", GP(0),
     .t1 = AREA(0xff, RW | USER | BIG))
CASE("seg.rmw-across", "a read and write across the limit is #GP(0)", "SDM 3, 5.3", R3, FS_T1_3, "incl %fs:0xfd", GP(0),
     .t1 = AREA(0xff, RW | USER | BIG))
CASE("seg.pages-limit", "with G set the limit's low 12 bits are ones", "SDM 3, 3.4.5", R3, FS_T1_3,
     "movb %fs:0x1fff, %al", NONE, .t1 = AREA(1, RW | USER | BIG | PAGES))
CASE("seg.pages-beyond", "with G set, the byte behind the last page is #GP(0)", "SDM 3, 3.4.5", R3, FS_T1_3,
     "movb %fs:0x2000, %al", GP(0), .t1 = AREA(1, RW | USER | BIG | PAGES))
CASE("seg.wrap-offset", "a doubleword at FFFFFFFEh of a 4 GiB segment does not fit below the limit or wraps",
     "SDM 3, 5.3", R3, FS_T1_3, "movl %fs:0xfffffffe, %eax", GP(0),
     .t1 = SEGMENT(A_AREA, 0xfffff, RW | USER | BIG | PAGES))
CASE("seg.base-wraps", "base plus offset wraps at 4 GiB", "SDM 3, 3.4", R3, FS_T1_3 "\n movl $0x5a5a, %ds:A_AREA+0x10",
     "movl %fs:0x20, %eax", VALUE(0x5a5a), .t1 = SEGMENT((u32)A_AREA - 0x10, 0xfffff, RW | USER | BIG | PAGES))
CASE("seg.xmm-across", "a 16-byte access across the limit is #GP(0)", "SDM 3, 5.3", R0, FS_T1, "movups %fs:0xf8, %xmm0",
     GP(0), .t1 = AREA(0xff, RW | BIG))
CASE("seg.x87-across", "an 8-byte load across the limit is #GP(0)", "SDM 3, 5.3", R0, FS_T1, "fldl %fs:0xf9", GP(0),
     .t1 = AREA(0xff, RW | BIG))
CASE("seg.lgdt-across", "LGDT's operand is checked whole", "SDM 3, 5.3", R0, FS_T1, "lgdt %fs:0xfb", GP(0),
     .t1 = AREA(0xff, RW | BIG))
CASE("seg.far-pointer-across", "a far pointer across the limit is #GP(0)", "SDM 3, 5.3", R0, FS_T1, "ljmp *%fs:0xfb",
     GP(0), .t1 = AREA(0xff, RW | BIG))
CASE("seg.cmpxchg8b-across", "CMPXCHG8B across the limit is #GP(0)", "SDM 3, 5.3", R0, FS_T1, "cmpxchg8b %fs:0xf9",
     GP(0), .t1 = AREA(0xff, RW | BIG))
CASE("seg.fnsave-across", "FNSAVE across the limit is #GP(0)", "SDM 3, 5.3", R0, FS_T1, "fnsave %fs:0xa0", GP(0),
     .t1 = AREA(0xff, RW | BIG))
CASE("seg.fxsave-across", "FXSAVE across the limit is #GP(0)", "SDM 3, 5.3", R0, FS_T1, "fxsave %fs:0x10", GP(0),
     .t1 = AREA(0x1ff, RW | BIG))
CASE("seg.bts-outside", "BTS with a register offset is checked where the bit lies", "SDM 2, BTS", R0,
     FS_T1 "\n mov $0x800, %ecx", "bts %ecx, %fs:0", GP(0), .t1 = AREA(0xff, RW | BIG))
CASE("seg.xlat-outside", "XLAT checks its byte", "SDM 2, XLAT", R0, FS_T1 "\n mov $0x100, %ebx", "xlat %fs:(%ebx)",
     GP(0), .t1 = AREA(0xff, RW | BIG))
CASE("seg.lods-outside", "LODS through an override is checked", "SDM 2, LODS", R0, FS_T1 "\n mov $0xfe, %esi",
     "lodsl %fs:(%esi)", GP(0), .t1 = AREA(0xff, RW | BIG))
CASE("seg.stos-outside", "STOS is checked against ES", "SDM 2, STOS", R0,
     "mov $S_T1, %ax\n mov %ax, %es\n mov $0xfe, %edi", "stosl", GP(0), .t1 = AREA(0xff, RW | BIG))
CASE("seg.ds-outside", "DS too", "SDM 3, 5.3", R3, "mov $S_T1+3, %ax\n mov %ax, %ds", "movb 0x100, %al", GP(0),
     .t1 = AREA(0xff, RW | USER | BIG))
CASE("seg.read-only-write", "a write to a read-only segment is #GP(0)", "SDM 3, 5.5", R3, FS_T1_3, "movb %al, %fs:0",
     GP(0), .t1 = AREA(0xff, RO | USER | BIG))
CASE("seg.read-only-rmw", "so is a read and write", "SDM 3, 5.5", R3, FS_T1_3, "orb $0, %fs:0", GP(0),
     .t1 = AREA(0xff, RO | USER | BIG))
CASE("seg.read-only-read", "a read-only segment is read", "SDM 3, 5.5", R3, FS_T1_3, "movb %fs:0, %al", NONE,
     .t1 = AREA(0xff, RO | USER | BIG))
CASE("seg.cmpxchg-read-only", "CMPXCHG needs a writable segment even when it does not exchange", "SDM 3, 5.5", R3,
     FS_T1_3 "\n mov $1, %eax", "cmpxchg %ecx, %fs:0", GP(0), .t1 = AREA(0xff, RO | USER | BIG))
CASE("seg.code-write", "a write through a code segment is #GP(0)", "SDM 3, 5.5", R3, FS_T1_3, "movb %al, %fs:0", GP(0),
     .t1 = AREA(0xff, XR | USER | BIG))
CASE("seg.code-read", "a readable code segment is read", "SDM 3, 5.5", R3, FS_T1_3, "movb %fs:0, %al", NONE,
     .t1 = AREA(0xff, XR | USER | BIG))
CASE("seg.cs-write", "a write through CS is #GP(0)", "SDM 3, 5.5", R3, "", "movb %al, %cs:A_AREA", GP(0))
CASE("seg.null-read", "an access through a null segment is #GP(0)", "SDM 3, 3.4.2", R3, "xor %eax, %eax\n mov %ax, %fs",
     "movb %fs:0, %al", GP(0))
CASE("seg.null-rpl", "a null selector with any RPL may be loaded", "SDM 3, 3.4.2", R3, "mov $3, %ax", "mov %ax, %gs",
     NONE)
CASE("seg.null-es-string", "STOS through a null ES is #GP(0)", "SDM 3, 3.4.2", R3,
     "xor %eax, %eax\n mov %ax, %es\n mov $A_AREA, %edi", "stosb", GP(0))
CASE("seg.null-rep-zero", "REP with a count of 0 makes no access", "SDM 2, REP", R3,
     "xor %eax, %eax\n mov %ax, %es\n xor %ecx, %ecx", "rep stosb", NONE)
CASE("seg.lea-null", "LEA makes no access", "SDM 2, LEA", R3, "xor %eax, %eax\n mov %ax, %fs",
     ".byte 0x64\n lea 5, %eax", VALUE(5))

CASE("down.at-limit", "expand-down: the offset of the limit is outside", "SDM 3, 5.3", R3, FS_T1_3,
     "movb %fs:0xff, %al", GP(0), .t1 = AREA(0xff, DOWN | USER | BIG))
CASE("down.above-limit", "expand-down: above the limit is inside", "SDM 3, 5.3", R3, FS_T1_3, "movb %fs:0x100, %al",
     NONE, .t1 = AREA(0xff, DOWN | USER | BIG))
CASE("down.across-limit", "expand-down: a doubleword that begins at the limit is outside", "SDM 3, 5.3", R3, FS_T1_3,
     "movl %fs:0xff, %eax", GP(0), .t1 = AREA(0xff, DOWN | USER | BIG))
CASE("down.small-top", "expand-down with B clear ends at FFFFh", "SDM 3, 5.3", R3, FS_T1_3, "movb %fs:0xffff, %al",
     NONE, .t1 = AREA(0xff, DOWN | USER))
CASE("down.small-beyond", "expand-down with B clear: 10000h is outside", "SDM 3, 5.3", R3, FS_T1_3,
     "movb %fs:0x10000, %al", GP(0), .t1 = AREA(0xff, DOWN | USER))
CASE("down.small-across", "expand-down with B clear: a word at FFFFh is outside", "SDM 3, 5.3", R3, FS_T1_3,
     "movw %fs:0xffff, %ax", GP(0), .t1 = AREA(0xff, DOWN | USER))
CASE("down.pages", "expand-down with G: below limit * 4096 + 4095 is outside", "SDM 3, 5.3", R3, FS_T1_3,
     "movb %fs:0x1fff, %al", GP(0), .t1 = AREA(1, DOWN | USER | BIG | PAGES))
CASE("down.stack", "a push below an expand-down stack's limit is #SS(0)", "SDM 3, 5.3", R3,
     "mov $S_T1+3, %ax\n mov %ax, %ss\n mov $0x103, %esp", "push %eax", SS(0), .t1 = AREA(0xff, DOWN | USER | BIG))

CASE("stack.limit-push", "a push outside of SS's limit is #SS(0)", "SDM 3, 5.3", R3,
     "mov $S_T1+3, %ax\n mov %ax, %ss\n mov $0x104, %esp", "push %eax", SS(0), .t1 = AREA(0xff, RW | USER | BIG))
CASE("stack.limit-pop", "a pop outside of SS's limit is #SS(0)", "SDM 3, 5.3", R3,
     "mov $S_T1+3, %ax\n mov %ax, %ss\n mov $0xfe, %esp", "pop %eax", SS(0), .t1 = AREA(0xff, RW | USER | BIG))
CASE("stack.limit-ebp", "an access by EBP outside of SS's limit is #SS(0)", "SDM 3, 5.3", R3,
     "mov $S_T1+3, %ax\n mov %ax, %ss\n mov $0x80, %esp\n mov $0x100, %ebp", "movb (%ebp), %al", SS(0),
     .t1 = AREA(0xff, RW | USER | BIG))
CASE("stack.override", "with an override to DS it is #GP(0)", "SDM 3, 5.3", R3,
     "mov $S_T1+3, %ax\n mov %ax, %ds\n mov $0x100, %ebp", "movb %ds:(%ebp), %al", GP(0),
     .t1 = AREA(0xff, RW | USER | BIG))
CASE("stack.ss-override", "an override to SS makes it #SS(0)", "SDM 3, 5.3", R3,
     "mov $S_T1+3, %ax\n mov %ax, %ss\n mov $0x80, %esp", "movb %ss:0x100, %al", SS(0),
     .t1 = AREA(0xff, RW | USER | BIG))
CASE("stack.16-bit-wrap", "with a 16-bit stack a push wraps SP at 64 KiB", "SDM 2, PUSH", R3,
     "mov $S_T1+3, %ax\n mov %ax, %ss\n mov $0x12340002, %esp\n push %ecx\n mov %esp, %eax\n mov $S_UDATA, %cx\n mov "
     "%cx, %ss\n mov $A_STACK, %esp",
     "nop", VALUE(0x1234fffe), .t1 = SEGMENT(A_AREA, 0xfffff, RW | USER))
CASE("stack.pusha-limit", "PUSHA that does not fit is #SS(0)", "SDM 2, PUSHA", R3,
     "mov $S_T1+3, %ax\n mov %ax, %ss\n mov $0x1c, %esp", "pusha", SS(0), .t1 = AREA(0xff, RW | USER | BIG))
CASE("stack.call-limit", "a CALL that cannot push is #SS(0)", "SDM 2, CALL", R3,
     "mov $S_T1+3, %ax\n mov %ax, %ss\n mov $0x106, %esp", "call 1f\n1:", SS(0), .t1 = AREA(0xff, RW | USER | BIG))
CASE("stack.enter-limit", "ENTER whose frame ends outside is #SS(0)", "SDM 2, ENTER", R3,
     "mov $S_T1+3, %ax\n mov %ax, %ss\n mov $0x80, %esp", "enter $0x100, $0", SS(0), .t1 = AREA(0xff, RW | USER | BIG))
CASE("stack.leave-limit", "LEAVE outside is #SS(0)", "SDM 2, LEAVE", R3,
     "mov $S_T1+3, %ax\n mov %ax, %ss\n mov $0x80, %esp\n mov $0x100, %ebp", "leave", SS(0),
     .t1 = AREA(0xff, RW | USER | BIG))

CASE("load.beyond-gdt", "a selector beyond the GDT is #GP(selector)", "SDM 2, MOV", R0, "mov $S_END, %ax",
     "mov %ax, %fs", GP(S_END))
CASE("load.beyond-ldt", "a selector beyond the LDT is #GP(selector)", "SDM 2, MOV", R0, "mov $0x44, %ax",
     "mov %ax, %fs", GP(0x44))
CASE("load.code-execute-only", "an execute-only segment in FS is #GP(selector)", "SDM 2, MOV", R0, "mov $S_T1, %ax",
     "mov %ax, %fs", GP(S_T1), .t1 = AREA(0xff, XO | BIG))
CASE("load.system", "a system descriptor in FS is #GP(selector)", "SDM 2, MOV", R0, "mov $S_TSS, %ax", "mov %ax, %fs",
     GP(S_TSS))
CASE("load.dpl-below-cpl", "a data segment with DPL < CPL is #GP(selector)", "SDM 2, MOV", R3, "mov $S_DATA, %ax",
     "mov %ax, %fs", GP(S_DATA))
CASE("load.rpl", "a data segment with DPL < RPL is #GP(selector)", "SDM 2, MOV", R0, "mov $S_DATA+3, %ax",
     "mov %ax, %fs", GP(S_DATA))
CASE("load.conforming", "a conforming code segment is loaded whatever the privileges", "SDM 3, 5.6", R3,
     "mov $S_CONFORMING+3, %ax", "mov %ax, %fs", NONE)
CASE("load.code-dpl", "a readable code segment that does not conform is checked like data", "SDM 3, 5.6", R3,
     "mov $S_CODE, %ax", "mov %ax, %fs", GP(S_CODE))
CASE("load.absent", "an absent segment is #NP(selector)", "SDM 2, MOV", R0, "mov $S_T1, %ax", "mov %ax, %fs", NP(S_T1),
     .t1 = AREA(0xff, (RW & ~ABSENT) | BIG))
CASE("load.absent-type-first", "type comes before presence", "SDM 2, MOV", R0, "mov $S_T1, %ax", "mov %ax, %fs",
     GP(S_T1), .t1 = AREA(0xff, (XO & ~ABSENT) | BIG))
CASE("load.ss-absent", "an absent stack segment is #SS(selector)", "SDM 2, MOV", R0, "mov $S_T1, %ax", "mov %ax, %ss",
     SS(S_T1), .t1 = AREA(0xff, (RW & ~ABSENT) | BIG))
CASE("load.ss-null", "a null SS is #GP(0)", "SDM 2, MOV", R0, "xor %eax, %eax", "mov %ax, %ss", GP(0))
CASE("load.ss-null-3", "in ring 3 too", "SDM 2, MOV", R3, "mov $3, %eax", "mov %ax, %ss", GP(0))
CASE("load.ss-read-only", "a read-only SS is #GP(selector)", "SDM 2, MOV", R0, "mov $S_T1, %ax", "mov %ax, %ss",
     GP(S_T1), .t1 = AREA(0xff, RO | BIG))
CASE("load.ss-code", "a code segment in SS is #GP(selector)", "SDM 2, MOV", R0, "mov $S_CODE, %ax", "mov %ax, %ss",
     GP(S_CODE))
CASE("load.ss-rpl", "SS with RPL != CPL is #GP(selector)", "SDM 2, MOV", R0, "mov $S_DATA+1, %ax", "mov %ax, %ss",
     GP(S_DATA))
CASE("load.ss-dpl", "SS with DPL != CPL is #GP(selector)", "SDM 2, MOV", R0, "mov $S_UDATA-3, %ax", "mov %ax, %ss",
     GP(S_UDATA - 3))
CASE("load.cs", "MOV to CS is #UD", "SDM 2, MOV", R0, "mov $S_CODE, %ax", ".byte 0x8e, 0xc8", UD)
CASE("load.segment-6", "there is no segment register 6", "SDM 2, MOV", R0, "", ".byte 0x8e, 0xf0", UD)
CASE("load.segment-7-read", "nor 7 to read", "SDM 2, MOV", R0, "", ".byte 0x8c, 0xf8", UD)
CASE("load.pop-absent", "POP FS of an absent segment is #NP, with ESP as it was", "SDM 2, POP", R0,
     "push $S_T1\n mov %esp, %eax", "pop %fs", NP(S_T1), .check_ax = true, .ax = A_STACK - 4,
     .t1 = AREA(0xff, (RW & ~ABSENT) | BIG))
CASE("load.lds-order", "LDS loads nothing when the selector is bad", "SDM 2, LDS", R0,
     "movl $0x1111, A_AREA\n movw $S_END, A_AREA+4\n mov $0x77, %eax", "lds A_AREA, %eax", GP(S_END), .check_ax = true,
     .ax = 0x77)
CASE("load.lss-null", "LSS with a null selector is #GP(0)", "SDM 2, LSS", R0, "movl $0, A_AREA+4", "lss A_AREA, %eax",
     GP(0))

static bool accessed(const Frame *f)
{
    return gdt[S_T1 / 8] >> 40 & 1;
}
static bool not_accessed(const Frame *f)
{
    return !accessed(f);
}
CASE("load.accessed", "a load sets the accessed bit in memory", "SDM 3, 3.4.5.1", R0, "mov $S_T1, %ax", "mov %ax, %fs",
     NONE, .t1 = AREA(0xff, RW | BIG), .after = accessed)
CASE("load.accessed-not", "a load that faults does not", "SDM 3, 3.4.5.1", R0, "mov $S_T1+3, %ax", "mov %ax, %fs",
     GP(S_T1), .t1 = AREA(0xff, RW | BIG), .after = not_accessed)
CASE("load.cached", "the descriptor is cached: changing the table changes nothing", "SDM 3, 3.4.3", R0,
     FS_T1 "\n movl $0, gdt+S_T1\n movl $0, gdt+S_T1+4", "movb %fs:0x80, %al", NONE, .t1 = AREA(0xff, RW | BIG))

/* --- ARPL, LAR, LSL, VERR, VERW --- */

#define ZF_IN_AL "\n setz %al\n movzbl %al, %eax"
CASE("arpl.raises", "ARPL raises the RPL and sets ZF", "SDM 2, ARPL", R3, "mov $0x10, %eax\n mov $3, %cx",
     "arpl %cx, %ax", VALUE(0x13))
CASE("arpl.keeps", "ARPL leaves a higher RPL alone and clears ZF", "SDM 2, ARPL", R3, "mov $0x13, %edx\n mov $2, %cx",
     "arpl %cx, %dx" ZF_IN_AL, VALUE(0))
CASE("arpl.v86", "ARPL in virtual-8086 mode is #UD", "SDM 2, ARPL", V86, "", ".byte 0x63, 0xc8", UD)
CASE("arpl.real", "ARPL in real mode is #UD", "SDM 2, ARPL", REAL, "", ".byte 0x63, 0xc8", FAULT(6))
CASE("lar.value", "LAR gives the attributes; bits 19:16 are undefined", "SDM 2, LAR", R3, "mov $S_UDATA, %ecx",
     "lar %ecx, %eax\n and $0xf0ff00, %eax", VALUE(0x00c0f300))
CASE("lar.privilege", "LAR clears ZF when DPL < CPL", "SDM 2, LAR", R3, "mov $S_DATA, %ecx", "lar %ecx, %ebx" ZF_IN_AL,
     VALUE(0))
CASE("lar.rpl", "LAR clears ZF when DPL < RPL", "SDM 2, LAR", R0, "mov $S_DATA+1, %ecx", "lar %ecx, %ebx" ZF_IN_AL,
     VALUE(0))
CASE("lar.call-gate", "LAR knows call gates", "SDM 2, LAR", R0, "mov $S_T1, %ecx", "lar %ecx, %ebx" ZF_IN_AL, VALUE(1),
     .t1 = GATE(S_CODE, 0, 0x8c))
CASE("lar.interrupt-gate", "LAR does not know interrupt gates", "SDM 2, LAR", R0, "mov $S_T1, %ecx",
     "lar %ecx, %ebx" ZF_IN_AL, VALUE(0), .t1 = GATE(S_CODE, 0, 0x8e))
CASE("lar.null", "LAR of a null selector clears ZF", "SDM 2, LAR", R0, "xor %ecx, %ecx", "lar %ecx, %ebx" ZF_IN_AL,
     VALUE(0))
CASE("lar.absent", "LAR looks at absent segments too", "SDM 2, LAR", R0, "mov $S_T1, %ecx", "lar %ecx, %ebx" ZF_IN_AL,
     VALUE(1), .t1 = AREA(0xff, (RW & ~ABSENT) | BIG))
CASE("lsl.pages", "LSL gives the limit in bytes", "SDM 2, LSL", R3, "mov $S_UDATA, %ecx", "lsl %ecx, %eax",
     VALUE(0xffffffff))
CASE("lsl.16-bit", "a 16-bit LSL gives the low word", "SDM 2, LSL", R0, "mov $S_T1, %ecx\n mov $0x12340000, %eax",
     "lsl %cx, %ax", VALUE(0x1234ffff), .t1 = AREA(0x1ffff, RW | BIG))
CASE("lsl.gate", "LSL does not know gates", "SDM 2, LSL", R0, "mov $S_T1, %ecx", "lsl %ecx, %ebx" ZF_IN_AL, VALUE(0),
     .t1 = GATE(S_CODE, 0, 0x8c))
CASE("lsl.tss", "LSL knows TSSs", "SDM 2, LSL", R0, "mov $S_TSS_DF, %ecx", "lsl %ecx, %eax", VALUE(103))
CASE("verr.execute-only", "VERR of an execute-only segment clears ZF", "SDM 2, VERR", R0, "mov $S_T1, %ecx",
     "verr %cx" ZF_IN_AL, VALUE(0), .t1 = AREA(0xff, XO | BIG))
CASE("verr.conforming", "VERR of a readable conforming segment sets ZF at any CPL", "SDM 2, VERR", R3,
     "mov $S_CONFORMING+3, %ecx", "verr %cx" ZF_IN_AL, VALUE(1))
CASE("verr.absent", "VERR does not look at presence", "SDM 2, VERR", R0, "mov $S_T1, %ecx", "verr %cx" ZF_IN_AL,
     VALUE(1), .t1 = AREA(0xff, (RW & ~ABSENT) | BIG))
CASE("verw.read-only", "VERW of a read-only segment clears ZF", "SDM 2, VERW", R0, "mov $S_T1, %ecx",
     "verw %cx" ZF_IN_AL, VALUE(0), .t1 = AREA(0xff, RO | BIG))
CASE("verw.privilege", "VERW clears ZF when DPL < CPL", "SDM 2, VERW", R3, "mov $S_DATA, %ecx", "verw %cx" ZF_IN_AL,
     VALUE(0))
CASE("verw.code", "VERW of a code segment clears ZF", "SDM 2, VERW", R0, "mov $S_CODE, %ecx", "verw %cx" ZF_IN_AL,
     VALUE(0))

/* --- the same bytes of code at two bases of CS: of an instruction on two pages, the second page is another one --- */

enum { TWO_FIRST = 0x90000, TWO_SECOND = 0x91000, TWO_OTHER = 0x92000, TWO_RIGHTS = 3 };

SNIPPET(
    two_calls, R0,
    "mov $3, %edx\n 1: lcall $S_T1, $0xf00\n mov %eax, %ebx\n lcall $S_T2, $0xf00\n mov %eax, %ecx\n dec %edx\n jnz 1b")

static void map_two(u32 linear, u32 second)
{
    *pte(linear)          = TWO_FIRST | TWO_RIGHTS;
    *pte(linear + 0x1000) = second | TWO_RIGHTS;
    invlpg(linear);
    invlpg(linear + 0x1000);
}

CHECK(two_pages, "seg.two-pages", "an instruction on two pages is what lies there at CS's base", "SDM 3, 3.3")
{
    static const u8 jump[] = { 0xe9, 0xf8, 0, 0, 0 }, move[] = { 0xb8, 0x34, 0x12 }; /* mov eax, imm32 */
    Frame           f = frame_for(R0, (u32)two_calls);
    memcpy((u8 *)mem32(TWO_FIRST) + 0xf00, jump, sizeof jump);
    memcpy((u8 *)mem32(TWO_FIRST) + 0xffd, move, sizeof move);
    *mem32(TWO_SECOND) = 0xcb1111; /* and RET to another segment */
    *mem32(TWO_OTHER)  = 0xcb2222;
    map_two(A_WINDOW + 0x1000, TWO_SECOND);
    map_two(A_WINDOW + 0x4000, TWO_OTHER);
    set_gdt(S_T1, SEGMENT(A_WINDOW + 0x1000, 0xffff, 0x409b));
    set_gdt(S_T2, SEGMENT(A_WINDOW + 0x4000, 0xffff, 0x409b));
    return run(&f) == 3 && f.ebx == 0x11111234 && f.ecx == 0x22221234;
}
