/* Instructions with rules of their own: BCD, BOUND, ENTER, LOCK, REP and its restarts, alignment, x87 environments and
 * exceptions, invalid encodings. */

#include "check.h"

#define FLAGS_IN_HIGH "\n pushf\n pop %ecx\n and $0x11, %ecx\n shl $16, %ecx\n or %ecx, %eax"

/* --- BCD: flags CF and AF in bits 16 and 20 --- */

CASE("bcd.daa", "DAA after 79h + 35h", "SDM 2, DAA", R3, "mov $0x79, %eax\n add $0x35, %al", "daa" FLAGS_IN_HIGH,
     VALUE(0x00110014))
CASE("bcd.daa-carry", "DAA of 9Ah carries", "SDM 2, DAA", R3, "mov $0x9a, %eax\n test %eax, %eax", "daa" FLAGS_IN_HIGH,
     VALUE(0x00110000))
CASE("bcd.das", "DAS after 35h - 47h", "SDM 2, DAS", R3, "mov $0x35, %eax\n sub $0x47, %al", "das" FLAGS_IN_HIGH,
     VALUE(0x00110088))
CASE("bcd.aaa", "AAA carries into AH", "SDM 2, AAA", R3, "mov $0x010f, %eax\n test %eax, %eax", "aaa" FLAGS_IN_HIGH,
     VALUE(0x00110205))
CASE("bcd.aaa-fa", "AAA of FAh adds to AX: AH takes two", "SDM 2, AAA", R3, "mov $0x00fa, %eax\n test %eax, %eax",
     "aaa", VALUE(0x0200))
CASE("bcd.aas", "AAS borrows from AH", "SDM 2, AAS", R3, "mov $0x020b, %eax\n test %eax, %eax", "aas" FLAGS_IN_HIGH,
     VALUE(0x00110105))
CASE("bcd.aam", "AAM divides by its operand", "SDM 2, AAM", R3, "mov $0x4f, %eax", "aam", VALUE(0x0709))
CASE("bcd.aam-16", "AAM with base 16", "SDM 2, AAM", R3, "mov $0x4f, %eax", "aam $16", VALUE(0x040f))
CASE("bcd.aam-zero", "AAM with base 0 is #DE", "SDM 2, AAM", R3, "", "aam $0", DE)
CASE("bcd.aad", "AAD multiplies AH", "SDM 2, AAD", R3, "mov $0x0709, %eax", "aad", VALUE(79))
CASE("bcd.salc", "SALC sets AL from CF", "AMD APM 3 (undocumented)", R3, "stc", ".byte 0xd6", VALUE(0xff))

/* Pages of the window: 1 absent, 2 writable, 3 absent, 4 read-only. */
static void two_pages(Frame *f)
{
    *pte(A_WINDOW + 0x2000) = 0x90007;
    *pte(A_WINDOW + 0x3000) = 0;
    *pte(A_WINDOW + 0x4000) = 0x91005; /* read-only */
    WRITE_CR(3, page_directory);
    memset(mem32(0x90000), 0, 0x2000);
}
/* --- DIV, BOUND, ENTER --- */

CASE("div.overflow", "a quotient that does not fit is #DE", "SDM 2, DIV", R3, "mov $1, %edx\n mov $1, %ecx", "div %ecx",
     DE)
CASE("div.idiv-min", "IDIV of -80000000h by -1 is #DE", "SDM 2, IDIV", R3,
     "mov $0x80000000, %eax\n cltd\n mov $-1, %ecx", "idiv %ecx", DE, .check_ax = true, .ax = 0x80000000)
CASE("bound.inside", "BOUND inside", "SDM 2, BOUND", R3, "movl $-5, A_AREA\n movl $5, A_AREA+4\n mov $5, %eax",
     "bound %eax, A_AREA", NONE)
CASE("bound.above", "BOUND above is #BR at the instruction", "SDM 2, BOUND", R3,
     "movl $-5, A_AREA\n movl $5, A_AREA+4\n mov $6, %eax", "bound %eax, A_AREA", BR)
CASE("bound.below", "the comparison is signed", "SDM 2, BOUND", R3,
     "movl $-5, A_AREA\n movl $5, A_AREA+4\n mov $-6, %eax", "bound %eax, A_AREA", BR)
CASE("bound.register", "BOUND with a register is #UD", "SDM 2, BOUND", R3, "", ".byte 0x62, 0xc1", UD)
CASE("enter.level-1", "ENTER of level 1 pushes the frame pointer itself", "SDM 2, ENTER", R3, "mov $A_AREA, %ebp",
     "enter $8, $1\n mov (%ebp), %eax\n cmp $A_AREA, %eax\n jne 1f\n mov -4(%ebp), %eax\n sub %ebp, %eax\n 1:",
     VALUE(0))
CASE("enter.level-3", "ENTER of level 3 copies two pointers", "SDM 2, ENTER", R3,
     "movl $0x111, A_AREA+0xfc\n movl $0x222, A_AREA+0xf8\n mov $A_AREA+0x100, %ebp",
     "enter $0, $3\n mov -4(%ebp), %eax\n shl $12, %eax\n add -8(%ebp), %eax", VALUE(0x111222))
CASE("enter.level-mod", "the level counts modulo 32", "SDM 2, ENTER", R3, "mov %esp, %edx",
     "enter $4, $32\n mov %edx, %eax\n sub %esp, %eax", VALUE(8))
AFTER(ebp_kept, f->ebp == A_AREA && f->esp == A_WINDOW + 0x2810)
CASE("enter.restart", "a page fault leaves ESP and EBP as they were", "SDM 2, ENTER", R3,
     "mov $A_AREA, %ebp\n mov $A_WINDOW+0x3010-0x1000+0x800, %esp", "enter $0x1000, $0", .vector = 14,
     .any_error = true, .at = AT_INSN, .before = two_pages, .after = ebp_kept)
CASE("enter.16", "ENTER with a 16-bit operand in a 32-bit stack", "SDM 2, ENTER", R3,
     "mov $0x12345678, %ebp\n mov %esp, %edx", ".byte 0x66, 0xc8, 0, 0, 0\n mov %edx, %eax\n sub %esp, %eax", VALUE(2))
CASE("leave.page-fault", "LEAVE whose pop faults keeps ESP", "SDM 2, LEAVE", R3,
     "mov $A_WINDOW+0x1000, %ebp\n mov %esp, %eax", "leave", PAGE_FAULT(4, A_WINDOW + 0x1000), .check_ax = true,
     .ax = A_STACK)
CASE("pop.page-fault-memory", "POP to memory that faults keeps ESP", "SDM 2, POP", R3, "push $1\n mov %esp, %eax",
     "popl A_WINDOW+0x1000", PAGE_FAULT(6, A_WINDOW + 0x1000), .check_ax = true, .ax = A_STACK - 4)
AFTER(esp_kept, f->esp == A_STACK - 4)
CASE("call.page-fault-target", "CALL to an absent page: pushed, and the fault is the target's", "SDM 2, CALL", R3, "",
     "call A_WINDOW+0x1000", .vector = 14, .error = 4, .at = AT_ANY, .check_cr2 = true, .address = A_WINDOW + 0x1000,
     .after = esp_kept)
CASE("xchg.page-fault", "XCHG with memory that faults changes nothing", "SDM 2, XCHG", R3, "mov $7, %eax",
     "xchg %eax, A_WINDOW+0x1000", PAGE_FAULT(6, A_WINDOW + 0x1000), .check_ax = true, .ax = 7)
CASE("cmpxchg.page-fault", "CMPXCHG faults as a write even when it does not exchange", "SDM 2, CMPXCHG", R3,
     "mov $7, %eax", "cmpxchg %ecx, A_WINDOW+0x1000", PAGE_FAULT(6, A_WINDOW + 0x1000))

/* --- LOCK and lengths --- */

CASE("lock.mov", "LOCK MOV is #UD", "SDM 2, LOCK", R3, "", ".byte 0xf0\n mov %eax, A_AREA", UD)
CASE("lock.register", "LOCK ADD to a register is #UD", "SDM 2, LOCK", R3, "", ".byte 0xf0\n add %eax, %ecx", UD)
CASE("lock.cmp", "LOCK CMP is #UD", "SDM 2, LOCK", R3, "", ".byte 0xf0\n cmp %eax, A_AREA", UD)
CASE("lock.bt", "LOCK BT is #UD", "SDM 2, LOCK", R3, "", ".byte 0xf0\n bt %eax, A_AREA", UD)
CASE("lock.nop", "LOCK NOP is #UD", "SDM 2, LOCK", R3, "", ".byte 0xf0, 0x90", UD)
CASE("lock.load", "LOCK ADD from memory is #UD", "SDM 2, LOCK", R3, "", ".byte 0xf0\n add A_AREA, %eax", UD)
CASE("lock.add", "LOCK ADD to memory is done", "SDM 2, LOCK", R3, "", "lock addl $5, A_AREA\n mov A_AREA, %eax",
     VALUE(5))
CASE("lock.split", "across two cache lines too", "SDM 3, 9.1.2.2", R3, "",
     "lock addl $0x12345678, A_AREA+0x3e\n mov A_AREA+0x3e, %eax", VALUE(0x12345678))
CASE("lock.read-only", "into a page that cannot be written it faults as a write", "SDM 3, 4.7", R3, "",
     "lock xaddl %eax, A_WINDOW+0x1000", PAGE_FAULT(6, A_WINDOW + 0x1000))
CASE("length.16", "16 bytes are #GP(0)", "SDM 2, 2.3.11", R3, "", ".fill 15, 1, 0x66\n .byte 0x90", GP(0))
CASE("length.15", "15 are fine", "SDM 2, 2.3.11", R3, "", ".fill 14, 1, 0x66\n .byte 0x90", NONE)
CASE("ud.ud2", "UD2", "SDM 2, UD", R3, "", "ud2", UD)
CASE("ud.ud1", "UD1", "SDM 2, UD", R3, "", ".byte 0x0f, 0xb9, 0xc0", UD)
CASE("ud.ud0", "UD0", "SDM 2, UD", R3, "", ".byte 0x0f, 0xff, 0xc0", UD)
CASE("ud.lea-register", "LEA of a register", "SDM 2, LEA", R3, "", ".byte 0x8d, 0xc0", UD)
CASE("ud.les-register", "LES of a register in virtual-8086 mode, where there is no VEX", "SDM 2, LES", V86, "",
     ".byte 0xc4, 0xc0", UD)
CASE("ud.mov-c6", "group 11 with reg other than 0", "SDM 2, A.4", R3, "", ".byte 0xc6, 0xc8, 0", UD)
CASE("ud.pop-8f", "group 1A with reg other than 0", "SDM 2, A.4", R3, "", ".byte 0x8f, 0x48, 0", UD)
CASE("ud.fe-7", "group 4 with reg 7", "SDM 2, A.4", R3, "", ".byte 0xfe, 0xf8", UD)
CASE("ud.ff-7", "group 5 with reg 7", "SDM 2, A.4", R3, "", ".byte 0xff, 0xf8", UD)
CASE("ud.far-register", "a far call of a register", "SDM 2, CALL", R3, "", ".byte 0xff, 0xd8", UD)
CASE("ud.cr1", "CR1", "SDM 2, MOV", R0, "", ".byte 0x0f, 0x20, 0xc8", UD)
CASE("ud.cr5", "CR5", "SDM 2, MOV", R0, "", ".byte 0x0f, 0x20, 0xe8", UD)
CASE("ud.cr-mod", "MOV CR ignores mod", "SDM 2, MOV", R0, "", ".byte 0x0f, 0x20, 0x00\n and $1, %eax", VALUE(1))
CASE("ud.rsm", "RSM outside of SMM", "SDM 2, RSM", R0, "", "rsm", UD)
CASE("ud.swapgs", "SWAPGS outside of 64-bit mode", "SDM 2, SWAPGS", R0, "", ".byte 0x0f, 1, 0xf8", UD)
CASE("ud.clac", "CLAC in ring 3", "SDM 2, CLAC", R3, "", ".byte 0x0f, 1, 0xca", UD)

/* --- REP --- */

#define REP_STATE(name, si, di, cx) AFTER(name, f->esi == (si) && f->edi == (di) && f->ecx == (cx))
REP_STATE(movs_dest, A_AREA + 8, A_WINDOW + 0x3000, 2)
REP_STATE(movs_dest_ro, A_AREA, A_WINDOW + 0x4000, 4)
REP_STATE(movs_source, A_WINDOW + 0x3000, A_AREA + 8, 2)
REP_STATE(movs_split, A_AREA + 8, A_WINDOW + 0x2ffe, 2)
REP_STATE(stos_state, 0, A_WINDOW + 0x3000, 2)
REP_STATE(stos_back, 0, A_WINDOW + 0x1ffc, 1)
REP_STATE(cmps_state, A_AREA + 8, A_WINDOW + 0x3000, 2)
REP_STATE(lods_state, A_WINDOW + 0x3000, 0, 2)
REP_STATE(ins_state, 0, A_WINDOW + 0x3000, 2)
CASE("rep.movs-destination", "REP MOVS stopped by its destination can go on", "SDM 2, REP", R3,
     "mov $A_AREA, %esi\n mov $A_WINDOW+0x2ff8, %edi\n mov $4, %ecx", "rep movsl", PAGE_FAULT(6, A_WINDOW + 0x3000),
     .before = two_pages, .after = movs_dest)
CASE("rep.movs-read-only", "by a read-only page", "SDM 2, REP", R3,
     "mov $A_AREA, %esi\n mov $A_WINDOW+0x4000, %edi\n mov $4, %ecx", "rep movsl", PAGE_FAULT(7, A_WINDOW + 0x4000),
     .before = two_pages, .after = movs_dest_ro)
CASE("rep.movs-source", "by its source", "SDM 2, REP", R3,
     "mov $A_WINDOW+0x2ff8, %esi\n mov $A_AREA, %edi\n mov $4, %ecx", "rep movsl", PAGE_FAULT(4, A_WINDOW + 0x3000),
     .before = two_pages, .after = movs_source)
CASE("rep.movs-split", "an element on two pages is written whole or not at all", "SDM 2, REP", R3,
     "movl $-1, A_AREA+8\n mov $A_AREA, %esi\n mov $A_WINDOW+0x2ff6, %edi\n mov $4, %ecx", "rep movsl",
     PAGE_FAULT(6, A_WINDOW + 0x3000), .before = two_pages, .after = movs_split)
CASE("rep.stos", "REP STOS", "SDM 2, REP", R3, "mov $A_WINDOW+0x2ff8, %edi\n mov $4, %ecx", "rep stosl",
     PAGE_FAULT(6, A_WINDOW + 0x3000), .before = two_pages, .after = stos_state)
CASE("rep.stos-down", "downwards", "SDM 2, REP", R3, "std\n mov $A_WINDOW+0x2008, %edi\n mov $4, %ecx", "rep stosl",
     PAGE_FAULT(6, A_WINDOW + 0x1ffc), .before = two_pages, .after = stos_back)
CASE("rep.cmps", "REPE CMPS", "SDM 2, REP", R3, "mov $A_AREA, %esi\n mov $A_WINDOW+0x2ff8, %edi\n mov $4, %ecx",
     "repe cmpsl", PAGE_FAULT(4, A_WINDOW + 0x3000), .before = two_pages, .after = cmps_state)
CASE("rep.lods", "REP LODS", "SDM 2, REP", R3, "mov $A_WINDOW+0x2ff8, %esi\n mov $4, %ecx", "rep lodsl",
     PAGE_FAULT(4, A_WINDOW + 0x3000), .before = two_pages, .after = lods_state)
CASE("rep.scas", "REPNE SCAS", "SDM 2, REP", R3, "mov $1, %eax\n mov $A_WINDOW+0x2ff8, %edi\n mov $4, %ecx",
     "repne scasl", PAGE_FAULT(4, A_WINDOW + 0x3000), .before = two_pages, .after = stos_state)
CASE("rep.ins", "REP INS", "SDM 2, REP", R0, "mov $0x80, %edx\n mov $A_WINDOW+0x2ff8, %edi\n mov $4, %ecx", "rep insl",
     PAGE_FAULT(2, A_WINDOW + 0x3000), .before = two_pages, .after = ins_state)
REP_STATE(limit_state, A_AREA + 8, 0x100, 2)
CASE("rep.movsw-order", "the source is read before the destination's limit is looked at", "SDM 2, MOVS (operation)", R3,
     "mov $S_T1+3, %ax\n mov %ax, %es\n mov $A_WINDOW+0x3000, %esi\n mov $0xff, %edi\n mov $4, %ecx", "rep movsw",
     PAGE_FAULT(4, A_WINDOW + 0x3000), .t1 = SEGMENT(A_AREA, 0xff, 0x40f2), .before = two_pages)
CASE("rep.movsw-order-limits", "a source beyond its limit comes before an absent destination",
     "SDM 2, MOVS (operation)", R3,
     "mov $S_T1+3, %ax\n mov %ax, %ds\n mov $A_WINDOW+0x3000, %edi\n mov $0xff, %esi\n mov $4, %ecx", "rep movsw",
     GP(0), .t1 = SEGMENT(A_AREA, 0xff, 0x40f2), .before = two_pages)
CASE("rep.movs-limit", "REP MOVS stopped by a limit", "SDM 2, REP", R3,
     "mov $S_T1+3, %ax\n mov %ax, %es\n mov $A_AREA, %esi\n mov $0xf8, %edi\n mov $4, %ecx", "rep movsl", GP(0),
     .t1 = SEGMENT(A_AREA + 0x100, 0xff, 0x40f2), .after = limit_state)
CASE("rep.movs-16-wrap", "16-bit SI wraps within the segment", "SDM 2, MOVS", V86,
     "mov $0xfffe, %si\n xor %di, %di\n mov $2, %cx", "rep movsw\n mov %si, %ax", VALUE(2))
CASE("rep.movs-16-across", "a word at FFFFh is #GP(0), before the write", "SDM 2, MOVS", V86,
     "mov $0xffff, %si\n mov $2, %cx", "rep movsw", GP(0))
CASE("rep.count-16", "with a 16-bit address CX counts", "SDM 2, REP", V86, "movl $0x10002, %ecx\n xor %di, %di",
     "rep stosb\n mov %di, %ax", VALUE(2))
CASE("rep.jecxz", "JCXZ looks at CX alone", "SDM 2, Jcc", R3, "mov $0x10000, %ecx\n mov $1, %eax",
     "jcxz 1f\n mov $2, %eax\n 1:", VALUE(1))

/* --- alignment checks: CR0.AM, EFLAGS.AC, CPL 3 --- */

BEFORE(am, WRITE_CR(0, READ_CR(0) | 0x40000); f->eflags |= AC)
BEFORE(am_no_ac, WRITE_CR(0, READ_CR(0) | 0x40000))
BEFORE(ac_no_am, f->eflags |= AC)
CASE("ac.word", "a word at an odd address is #AC(0)", "SDM 3, 6.15 (17)", R3, "", "movw A_AREA+1, %ax", ALIGN,
     .before = am)
CASE("ac.dword", "a doubleword at 2", "SDM 3, 6.15 (17)", R3, "", "movl A_AREA+2, %eax", ALIGN, .before = am)
CASE("ac.write", "a write", "SDM 3, 6.15 (17)", R3, "", "movl %eax, A_AREA+2", ALIGN, .before = am)
CASE("ac.aligned", "an aligned one is fine", "SDM 3, 6.15 (17)", R3, "", "movl A_AREA+4, %eax", NONE, .before = am)
CASE("ac.ring0", "in ring 0 nothing is checked", "SDM 3, 6.15 (17)", R0, "", "movl A_AREA+2, %eax", NONE, .before = am)
CASE("ac.am-clear", "nor with AM clear", "SDM 3, 6.15 (17)", R3, "", "movl A_AREA+2, %eax", NONE, .before = ac_no_am)
CASE("ac.ac-clear", "nor with AC clear", "SDM 3, 6.15 (17)", R3, "", "movl A_AREA+2, %eax", NONE, .before = am_no_ac)
CASE("ac.push", "a push at an odd ESP", "SDM 3, 6.15 (17)", R3, "dec %esp", "push %eax", ALIGN, .before = am)
CASE("ac.movs", "MOVS", "SDM 3, 6.15 (17)", R3, "mov $A_AREA+1, %esi\n mov $A_AREA+8, %edi", "movsl", ALIGN,
     .before = am)
CASE("ac.fld64", "an 8-byte x87 load at 4", "SDM 3, table 6-7", R3, "", "fldl A_AREA+4", ALIGN, .before = am)
CASE("ac.fld80", "an 80-bit one needs 8", "SDM 3, table 6-7", R3, "", "fldt A_AREA+4", ALIGN, .before = am)
CASE("ac.far-pointer", "a 48-bit pointer needs 4", "SDM 3, table 6-7", R3, "movw $S_UDATA, A_AREA+6",
     "les A_AREA+2, %eax", ALIGN, .before = am)
CASE("ac.fnstenv", "FNSTENV needs 4", "SDM 3, table 6-7", R3, "", "fnstenv A_AREA+2", ALIGN, .before = am)
CASE("ac.lock", "a locked access", "SDM 3, 6.15 (17)", R3, "", "lock incl A_AREA+1", ALIGN, .before = am)
CASE("ac.handler", "delivery makes no check: the frame of ring 0 may be odd", "SDM 3, 6.15 (17)", R3, "", "ud2", UD,
     .before = am)
CASE("ac.v86", "in virtual-8086 mode it is checked", "SDM 3, 6.15 (17)", V86, "", "movw 1, %ax", ALIGN, .before = am)

/* --- x87: unavailable, exceptions, environments --- */

BEFORE(em, WRITE_CR(0, READ_CR(0) | 4))
BEFORE(ts, WRITE_CR(0, READ_CR(0) | 8))
BEFORE(ts_no_mp, WRITE_CR(0, (READ_CR(0) | 8) & ~2u))
#define PENDING                                                                                                        \
    "fninit\n movl $0x33b, A_AREA\n fldcw A_AREA\n fld1\n fldz\n fdivrp\n" /* zero divide unmasked and pending */
CASE("x87.em", "x87 with EM is #NM", "SDM 3, table 2-2", R3, "", "fld1", NM, .before = em)
CASE("x87.em-fwait", "FWAIT with EM alone is not", "SDM 3, table 2-2", R3, "", "fwait", NONE, .before = em)
CASE("x87.ts", "x87 with TS is #NM", "SDM 3, table 2-2", R3, "", "fnop", NM, .before = ts)
CASE("x87.ts-fwait", "FWAIT with TS and MP is #NM", "SDM 3, table 2-2", R3, "", "fwait", NM, .before = ts)
CASE("x87.ts-fwait-mp", "without MP not", "SDM 3, table 2-2", R3, "", "fwait", NONE, .before = ts_no_mp)
CASE("x87.ts-fninit", "FNINIT with TS too", "SDM 3, table 2-2", R3, "", "fninit", NM, .before = ts)
CASE("x87.sse-em", "SSE with EM is #UD", "SDM 3, table 2-2", R3, "", "movaps %xmm0, %xmm1", UD, .before = em)
CASE("x87.sse-ts", "SSE with TS is #NM", "SDM 3, table 2-2", R3, "", "movaps %xmm0, %xmm1", NM, .before = ts)
CASE("x87.mmx-em", "MMX with EM is #UD", "SDM 3, table 2-2", R3, "", "movd %eax, %mm0", UD, .before = em)
CASE("x87.fxsave-em", "FXSAVE with EM is #NM", "SDM 2, FXSAVE", R3, "", "fxsave A_AREA", NM, .before = em)
CASE("x87.fxsave-align", "FXSAVE at 8 is #GP(0)", "SDM 2, FXSAVE", R3, "", "fxsave A_AREA+8", GP(0))
CASE("x87.mf", "a pending exception is #MF at the next waiting instruction", "SDM 1, 8.7", R3, PENDING, "fld1", MF)
CASE("x87.mf-fwait", "at FWAIT", "SDM 1, 8.7", R3, PENDING, "fwait", MF)
CASE("x87.mf-mmx", "at an MMX instruction", "SDM 3, 12.5", R3, PENDING, "emms", MF)
CASE("x87.mf-not-fnstsw", "not at FNSTSW", "SDM 1, 8.7", R3, PENDING, "fnstsw %ax\n and $0x8084, %eax", VALUE(0x8084))
CASE("x87.mf-not-fnclex", "not at FNCLEX, which clears it", "SDM 1, 8.7", R3, PENDING, "fnclex\n fld1\n fninit", NONE)
CASE("x87.mf-not-sse", "not at SSE instructions", "SDM 1, 8.7", R3, PENDING, "movaps %xmm0, %xmm1\n fninit", NONE)
CASE("x87.mf-fnsave", "not at FNSAVE", "SDM 1, 8.7", R3, PENDING, "fnsave A_AREA+0x10\n fld1\n fninit", NONE)
CASE("x87.fnstenv-masks", "FNSTENV masks all exceptions", "SDM 2, FSTENV", R3, PENDING,
     "fnstenv A_AREA\n fnstcw A_AREA+0x40\n fninit\n movzwl A_AREA+0x40, %eax", VALUE(0x37f))
CASE(
    "x87.store-unmasked", "FIST of an unmasked invalid operation stores nothing", "SDM 1, 8.5.1", R3,
    "fninit\n movl $0x33e, A_AREA\n fldcw A_AREA\n movl $0x7f7f7f7f, A_AREA+4\n flds A_AREA+4\n movl $0x1234, A_AREA+8",
    "fistpl A_AREA+8\n fninit\n mov A_AREA+8, %eax", VALUE(0x1234))
CASE("x87.store-fault", "whose page fault comes first", "SDM 1, 8.5.1; SDM 3, table 6-2", R3, "fninit\n fld1",
     "fistpl A_WINDOW+0x1000", PAGE_FAULT(6, A_WINDOW + 0x1000))
#define INVALID_UNMASKED "fninit\n movl $0x33e, A_AREA\n fldcw A_AREA\n movl $0x7f7f7f7f, A_AREA+4\n flds A_AREA+4"
CASE("x87.store-unmasked-fault", "also before an unmasked invalid operation, which would store nothing",
     "SDM 3, table 6-2: page faults come before x87 exceptions", R3, INVALID_UNMASKED, "fistpl A_WINDOW+0x4000",
     PAGE_FAULT(7, A_WINDOW + 0x4000), .before = two_pages)
CASE("x87.store-unmasked-limit", "so does a limit", "SDM 3, table 6-2", R3,
     "mov $S_T1+3, %eax\n mov %ax, %fs\n" INVALID_UNMASKED, "fistpl %fs:0xfd", GP(0),
     .t1 = SEGMENT(A_AREA, 0xff, 0x40f2))
CASE("x87.env-32", "32-bit protected format: FIP, CS and opcode", "SDM 1, figure 8-9", R3, "fninit\n",
     "1: flds A_AREA\n fnstenv A_AREA+0x10\n fninit\n movl $1b, %eax\n sub A_AREA+0x1c, %eax", VALUE(0))
CASE("x87.env-32-dp", "and FDP", "SDM 1, figure 8-9", R3, "fninit\n",
     "flds A_AREA+4\n fnstenv A_AREA+0x10\n fninit\n movl A_AREA+0x24, %eax", VALUE(A_AREA + 4))
CASE("x87.env-16", "16-bit protected format", "SDM 1, figure 8-11", R3, "fninit\n",
     ".byte 0x66\n fnstenv A_AREA+0x10\n movzwl A_AREA+0x14, %eax", VALUE(0xffff))
CASE("x87.env-real-32", "32-bit real format: linear addresses in two pieces", "SDM 1, figure 8-10", V86, "fninit\n",
     "flds 4\n .byte 0x66\n fnstenv 0x10\n fninit\n movzwl 0x24, %eax\n movl 0x28, %ecx\n shl $4, %ecx\n and "
     "$0xffff0000, %ecx\n add %ecx, %eax",
     VALUE(A_AREA + 4))
CASE("x87.env-real-16", "16-bit real format", "SDM 1, figure 8-12", V86, "fninit\n",
     "flds 4\n fnstenv 0x10\n fninit\n movzwl 0x1a, %eax\n movzwl 0x1c, %ecx\n shl $4, %ecx\n and $0xf0000, %ecx\n add "
     "%ecx, %eax",
     VALUE(A_AREA + 4))
CASE("x87.fldenv-pending", "FLDENV of an unmasked exception makes it pending", "SDM 2, FLDENV", R3,
     "fninit\n fnstenv A_AREA\n movb $0x3b, A_AREA\n movb $4, A_AREA+4\n fldenv A_AREA", "fld1", MF)
CASE("x87.tags", "FNSAVE's tag word: valid, zero, special, empty", "SDM 1, 8.1.7", R3, "fninit\n fldz\n fld1",
     "fnstenv A_AREA\n movzwl A_AREA+8, %eax", VALUE(0x4fff))
