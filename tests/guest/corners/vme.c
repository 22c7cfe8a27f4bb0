/* The virtual-8086 mode extensions (CR4.VME) and protected-mode virtual interrupts (CR4.PVI). */

#include "check.h"

#define VME_ON WRITE_CR(4, READ_CR(4) | 1)
#define PVI_ON WRITE_CR(4, READ_CR(4) | 2)
BEFORE(vme, VME_ON; memset(tss.rest, 0xff, 32))
BEFORE(pvi, PVI_ON)
BEFORE(vme_vif, vme(f); f->eflags |= VIF)
BEFORE(vme_vip, vme(f); f->eflags |= VIP)
BEFORE(pvi_vif, pvi(f); f->eflags |= VIF)
BEFORE(pvi_vip, pvi(f); f->eflags |= VIP)
/* INT 80h is redirected to 900:0. */
BEFORE(redirected, VME_ON; memset(tss.rest, 0xff, 32); tss.rest[0x10] = 0xfe; *mem32(4 * 0x80) = 0x09000000;
       *mem32(0x9000) = 0xcccccc90)
BEFORE(redirected_iopl3, redirected(f); f->eflags |= IOPL3 | IF)
BEFORE(redirected_vif, redirected(f); f->eflags |= VIF | TF)
BEFORE(redirected_iret, redirected(f); *mem32(0x9000) = 0xcf)
BEFORE(no_vme, tss.rest[0x10] = 0xfe)
AFTER(vif_set, (f->eflags & (VIF | IF)) == VIF)
AFTER(vif_clear, (f->eflags & (VIF | IF)) == 0)
AFTER(went_900, f->cs == 0x900 && f->eip == 2 && (f->eflags & VM) && f->esp == A_STACK_TOP16 - 6)
AFTER(if_clear, f->cs == 0x900 && !(f->eflags & (IF | TF)))
AFTER(pushed_vif,
      f->cs == 0x900 && (*mem16(A_STACK16_BASE + A_STACK_TOP16 - 2) & 0x3200) == 0x3200 && !(f->eflags & VIF))
AFTER(pushed_no_if, f->cs == 0x900 && (*mem16(A_STACK16_BASE + A_STACK_TOP16 - 2) & 0x3200) == 0x3000)

CASE("vme.cli", "CLI clears VIF", "SDM 3, 21.3.3", V86, "", "cli", NONE, .before = vme_vif, .after = vif_clear)
CASE("vme.sti", "STI sets VIF", "SDM 3, 21.3.3", V86, "", "sti", NONE, .before = vme, .after = vif_set)
CASE("vme.sti-vip", "STI with VIP is #GP(0)", "SDM 2, STI", V86, "", "sti", GP(0), .before = vme_vip)
CASE("vme.cli-vip", "CLI with VIP is not", "SDM 2, CLI", V86, "", "cli", NONE, .before = vme_vip)
CASE("vme.pushf", "PUSHF shows VIF as IF and IOPL 3", "SDM 2, PUSHF", V86, "", "pushf\n pop %ax", VALUE(0x3202),
     .before = vme_vif)
CASE("vme.pushf-clear", "with VIF clear IF is clear", "SDM 2, PUSHF", V86, "", "pushf\n pop %ax", VALUE(0x3002),
     .before = vme)
CASE("vme.pushfd", "PUSHFD is #GP(0)", "SDM 2, PUSHF", V86, "", "pushfl", GP(0), .before = vme)
CASE("vme.popf", "POPF moves IF to VIF", "SDM 2, POPF", V86, "pushw $0x0203", "popf", NONE, .before = vme,
     .after = vif_set)
CASE("vme.popf-clear", "both ways", "SDM 2, POPF", V86, "pushw $0x0003", "popf", NONE, .before = vme_vif,
     .after = vif_clear)
CASE("vme.popf-iopl", "IOPL stays as it is", "SDM 2, POPF", V86, "pushw $0x3003", "popf\n cli\n hlt", .vector = 13,
     .error = 0, .at = AT_ANY, .before = vme, .after = vif_clear)
CASE("vme.popf-tf", "POPF that would set TF is #GP(0)", "SDM 2, POPF", V86, "pushw $0x0103", "popf", GP(0),
     .before = vme)
CASE("vme.popf-vip", "POPF that would set IF with VIP is #GP(0)", "SDM 2, POPF", V86, "pushw $0x0203", "popf", GP(0),
     .before = vme_vip)
CASE("vme.popfd", "POPFD is #GP(0)", "SDM 2, POPF", V86, "pushl $2", "popfl", GP(0), .before = vme)
CASE("vme.iret", "IRET moves IF to VIF", "SDM 2, IRET", V86, "pushw $0x0202\n push %cs\n push $1f-case_code_here",
     "iretw\n 1:", NONE, .before = vme, .after = vif_set)
CASE("vme.iret-vip", "IRET that would set IF with VIP is #GP(0)", "SDM 2, IRET", V86,
     "pushw $0x0202\n push %cs\n push $1f-case_code_here", "iretw\n 1:", GP(0), .before = vme_vip)
CASE("vme.iret-tf", "IRET that would set TF is #GP(0)", "SDM 2, IRET", V86,
     "pushw $0x0102\n push %cs\n push $1f-case_code_here", "iretw\n 1:", GP(0), .before = vme)
CASE("vme.iretd", "IRETD is #GP(0)", "SDM 2, IRET", V86, "", "iretl", GP(0), .before = vme)
CASE("vme.iopl3", "with IOPL 3 CLI and STI change IF itself", "SDM 3, 21.3.3", V86, "", "cli", NONE,
     .flags = IOPL3 | VIF, .before = vme, .after = vif_set)
CASE("vme.int-bit-set", "INT n with its bit set and IOPL below 3 is #GP(0)", "SDM 3, table 21-2", V86, "", "int $0x80",
     GP(0), .before = vme)
CASE("vme.int-redirected", "with its bit clear it goes to the program's own handler", "SDM 3, table 21-2", V86, "",
     "int $0x80", .vector = 3, .at = AT_ANY, .before = redirected, .after = went_900)
CASE("vme.int-redirected-vif", "IF of the pushed image is VIF, IOPL 3; VIF and TF are cleared", "SDM 3, 21.3.3.4", V86,
     "", "int $0x80", .vector = 3, .at = AT_ANY, .before = redirected_vif, .after = pushed_vif)
CASE("vme.int-redirected-clear", "or clear", "SDM 3, 21.3.3.4", V86, "", "int $0x80", .vector = 3, .at = AT_ANY,
     .before = redirected, .after = pushed_no_if)
CASE("vme.int-redirected-iopl3", "with IOPL 3 IF is cleared", "SDM 3, 21.3.2", V86, "", "int $0x80", .vector = 3,
     .at = AT_ANY, .before = redirected_iopl3, .after = if_clear)
CASE("vme.int-iopl3", "with IOPL 3 and its bit set it goes to ring 0", "SDM 3, table 21-2", V86, "", "int $0x80",
     TRAP(0x80), .flags = IOPL3, .before = vme)
CASE("vme.int-iret", "and IRET comes back", "SDM 3, 21.3.3", V86, "", "int $0x80\n mov $7, %ax", VALUE(7),
     .before = redirected_iret)
CASE("vme.int3", "INT3 is not redirected", "SDM 3, 21.3.2", V86, "", "int3", TRAP(3), .before = redirected)
CASE("vme.off", "without CR4.VME the bitmap means nothing", "SDM 3, table 21-2", V86, "", "int $0x80", GP(0),
     .before = no_vme)
CASE("pvi.cli", "CLI in ring 3 clears VIF", "SDM 3, 21.4", R3, "", "cli", NONE, .before = pvi_vif, .after = vif_clear)
CASE("pvi.sti", "STI sets it", "SDM 3, 21.4", R3, "", "sti", NONE, .before = pvi, .after = vif_set)
CASE("pvi.sti-vip", "with VIP #GP(0)", "SDM 3, 21.4", R3, "", "sti", GP(0), .before = pvi_vip)
CASE("pvi.ring1", "only in ring 3", "SDM 2, CLI", R1, "", "cli", GP(0), .before = pvi)
CASE("pvi.pushf", "PUSHF is as ever", "SDM 3, 21.4", R3, "", "pushfw\n popw %ax", VALUE(2), .before = pvi_vif)
CASE("pvi.popf", "POPF changes neither IF nor VIF", "SDM 3, 21.4", R3, "push $0x202", "popf", NONE, .before = pvi,
     .after = vif_clear)
CASE("pvi.v86", "PVI does nothing in virtual-8086 mode", "SDM 3, 21.4", V86, "", "cli", GP(0), .before = pvi)
CASE("pvi.iopl3", "with IOPL 3 IF is changed", "SDM 3, 21.4", R3, "", "cli", NONE, .flags = IOPL3 | VIF, .before = pvi,
     .after = vif_set)
