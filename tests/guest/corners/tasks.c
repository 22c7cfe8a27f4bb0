/* Hardware task switches: 32 and 16-bit TSSs, task gates, nesting, busy bits, the debug trap, and faults on the way,
 * which belong to the old task up to the commit point and to the new one behind it. */

#include "check.h"

static Tss   tss_b;
static Tss16 tss_s;

/* What the other task does. */
SNIPPET(task_report, R0, "str %eax")
SNIPPET(task_iret, R0, "1: inc %edx\n iret\n jmp 1b")
SNIPPET(task_flags, R0, "pushf\n pop %eax")
SNIPPET(task_cr0, R0, "mov %cr0, %eax\n clts")
SNIPPET(task_esp, R0, "mov %esp, %eax")
SNIPPET(task_pop, R0, "pop %eax")
SNIPPET(task_gs, R0, "mov %gs, %eax")
SNIPPET(task_dr7, R0, "mov %db7, %eax")
SNIPPET(task_ldt, R0, "sldt %eax")

#define AVAILABLE32 0x89
#define AVAILABLE16 0x81

/* T1: the other task's TSS, T2: a task gate for it. */
static void other(const u8 *code)
{
    memset(&tss_b, 0, sizeof tss_b);
    tss_b.cr3    = (u32)page_directory;
    tss_b.eip    = (u32)code;
    tss_b.eflags = 2;
    tss_b.esp    = A_STACK1;
    tss_b.esp0   = A_STACK1;
    tss_b.ss0    = S_DATA;
    tss_b.cs     = S_CODE;
    tss_b.ss = tss_b.ds = tss_b.es = S_DATA;
    set_gdt(S_T1, SEGMENT(&tss_b, 103, AVAILABLE32));
    set_gdt(S_T2, GATE(S_T1, 0, 0x85 | 0x60));
}
static void other16(const u8 *code, size_t len)
{
    memset(&tss_s, 0, sizeof tss_s);
    memcpy(mem32(0x9000), code, len);
    tss_s.ip    = 0x9000;
    tss_s.flags = 2;
    tss_s.sp    = 0x7000;
    tss_s.cs    = S_CODE;
    tss_s.ss    = S_STACK16;
    tss_s.ds = tss_s.es = S_DATA;
    set_gdt(S_T1, SEGMENT(&tss_s, sizeof tss_s - 1, AVAILABLE16));
}
#define BUSY(selector) ((gdt[(selector) / 8] >> 41 & 1) != 0)
BEFORE(to_report, other(task_report))
BEFORE(to_iret, other(task_iret))
BEFORE(to_flags, other(task_flags); tss_b.eflags = 0x0cc6)
BEFORE(to_flags_plain, other(task_flags))
BEFORE(to_cr0, other(task_cr0))
BEFORE(to_esp, other(task_esp))
BEFORE(to_gs, other(task_gs); tss_b.gs = S_UDATA)
BEFORE(to_gs_null, other(task_gs); tss_b.gs = 3)
BEFORE(to_dr7, other(task_dr7); WRITE_DR(7, 0x755))
BEFORE(to_ldt, other(task_ldt); tss_b.ldt = S_LDT)
BEFORE(to_ring3, other(task_report); tss_b.cs = S_UCODE; tss_b.ss = S_UDATA; tss_b.ds = tss_b.es = S_UDATA)
BEFORE(to_trap, other(task_report); tss_b.trap_iomap = 1)
BEFORE(to_busy, other(task_report); set_gdt(S_T1, SEGMENT(&tss_b, 103, AVAILABLE32 | 2)))
BEFORE(to_absent, other(task_report); set_gdt(S_T1, SEGMENT(&tss_b, 103, AVAILABLE32 & ~0x80)))
BEFORE(to_short, other(task_report); set_gdt(S_T1, SEGMENT(&tss_b, 102, AVAILABLE32)))
BEFORE(to_short16, other16(task_report, 8); set_gdt(S_T1, SEGMENT(&tss_s, 42, AVAILABLE16)))
BEFORE(to_gate_absent, other(task_report); set_gdt(S_T2, GATE(S_T1, 0, 0x05 | 0x60)))
BEFORE(to_gate_dpl0, other(task_report); set_gdt(S_T2, GATE(S_T1, 0, 0x85)))
BEFORE(to_gate_null, other(task_report); set_gdt(S_T2, GATE(0, 0, 0xe5)))
BEFORE(to_gate_local, other(task_report); set_gdt(S_T2, GATE(S_T1 + 4, 0, 0xe5)))
BEFORE(to_gate_data, other(task_report); set_gdt(S_T2, GATE(S_DATA, 0, 0xe5)))
BEFORE(to_bad_cs_null, other(task_report); tss_b.cs = 0)
BEFORE(to_bad_cs_data, other(task_report); tss_b.cs = S_DATA)
BEFORE(to_bad_cs_dpl, other(task_report); tss_b.cs = S_CODE1 & ~3; tss_b.ss = S_DATA)
BEFORE(to_bad_cs_absent, other(task_report); tss_b.cs = S_T3)
BEFORE(to_bad_ss_null, other(task_report); tss_b.cs = S_UCODE; tss_b.ss = 0)
BEFORE(to_bad_ss_code, other(task_report); tss_b.cs = S_UCODE; tss_b.ss = S_UCODE)
BEFORE(to_bad_ss_rpl, other(task_report); tss_b.cs = S_UCODE; tss_b.ss = S_UDATA - 1)
BEFORE(to_bad_ss_dpl, other(task_report); tss_b.cs = S_UCODE; tss_b.ss = S_DATA + 3)
BEFORE(to_bad_ss_absent, other(task_report); tss_b.cs = S_UCODE; tss_b.ss = S_T3 + 3)
BEFORE(to_bad_ds_system, other(task_report); tss_b.ds = S_TSS)
BEFORE(to_bad_ds_absent, other(task_report); tss_b.ds = S_T3)
BEFORE(to_bad_ds_beyond, other(task_report); tss_b.gs = S_END)
BEFORE(to_bad_ldt, other(task_report); tss_b.cs = S_UCODE; tss_b.ss = S_UDATA; tss_b.ldt = S_DATA)
BEFORE(to_bad_ldt_absent, other(task_report); tss_b.cs = S_UCODE; tss_b.ss = S_UDATA; tss_b.ldt = S_T3)
BEFORE(to_bad_ldt_local, other(task_report); tss_b.cs = S_UCODE; tss_b.ss = S_UDATA; tss_b.ldt = S_LDT + 4)
BEFORE(to_bad_eip, other(task_report); tss_b.cs = S_T3; tss_b.eip = 0x1000)
BEFORE(to_v86, other(task_report); tss_b.eflags = 0x20002; tss_b.cs = 0x900; tss_b.eip = 0;
       tss_b.ss = tss_b.ds = tss_b.es = tss_b.fs = tss_b.gs = 0x4000; *mem32(0x9000) = 0xccd88c)
BEFORE(to_error, other(task_pop); set_idt(13, GATE(S_T1, 0, 0x85)))
BEFORE(to_error_ext, other(task_report); set_idt(6, GATE(S_T1, 0, 0x85));
       set_gdt(S_T1, SEGMENT(&tss_b, 103, AVAILABLE32 & ~0x80)))
BEFORE(to_int, other(task_iret); set_idt(0x80, GATE(S_T1, 0, 0xe5)))
BEFORE(to_int_busy, other(task_iret); set_idt(0x80, GATE(S_T1, 0, 0xe5));
       set_gdt(S_T1, SEGMENT(&tss_b, 103, AVAILABLE32 | 2)))
BEFORE(to_16, other16(task_report, 8))
BEFORE(to_16_iret, other16(task_iret, 8))
BEFORE(to_paged, other(task_report); set_gdt(S_T1, SEGMENT(A_WINDOW + 0x1000, 103, AVAILABLE32)))
BEFORE(link_bad, other(task_report); tss.link = S_DATA)
BEFORE(link_available, other(task_report); tss.link = S_T1)
BEFORE(link_null, tss.link = 0)
BEFORE(link_busy, other(task_report); set_gdt(S_T1, SEGMENT(&tss_b, 103, AVAILABLE32 | 2)); tss.link = S_T1)
BEFORE(link_local, other(task_report); tss.link = S_T1 + 4)

AFTER(both_busy, BUSY(S_TSS) && BUSY(S_T1))
AFTER(only_new_busy, !BUSY(S_TSS) && BUSY(S_T1))
AFTER(only_old_busy, BUSY(S_TSS) && !BUSY(S_T1))
AFTER(linked, tss_b.link == S_TSS)
AFTER(not_linked, tss_b.link == 0)
AFTER(saved, tss.ebx == 0x11223344 && tss.cs == S_CODE && tss.eip != 0 && tss.esp == A_STACK)
AFTER(in_ring3, f->cs == S_UCODE && f->ss == S_UDATA)
AFTER(trapped, (READ_DR(6) & 0xe00f) == 0x8000 && f->eip == (u32)task_report && f->cs == S_CODE)
AFTER(in_new_task, f->eip == (u32)task_report && BUSY(S_T1))
AFTER(in_v86, (f->eflags & VM) && f->cs == 0x900)
AFTER(nt_saved_clear, !(tss_b.eflags & NT) && tss_b.eip != 0)
AFTER(high_halves, f->ebx >> 16 == 0xffff)
#define REPORTS .vector = 3, .at = AT_ANY

CASE("task.jmp-tss", "JMP to a TSS switches", "SDM 3, 8.3", R0, "", "ljmp $S_T1, $0", REPORTS, .before = to_report,
     .check_ax = true, .ax = S_T1, .after = only_new_busy)
CASE("task.call-tss", "CALL to a TSS switches, and both are busy", "SDM 3, 8.3", R0, "", "lcall $S_T1, $0", REPORTS,
     .before = to_report, .check_ax = true, .ax = S_T1, .after = both_busy)
CASE("task.call-link", "CALL writes the link", "SDM 3, 8.4", R0, "", "lcall $S_T1, $0", REPORTS, .before = to_report,
     .after = linked)
CASE("task.jmp-link", "JMP does not", "SDM 3, 8.4", R0, "", "ljmp $S_T1, $0", REPORTS, .before = to_report,
     .after = not_linked)
CASE("task.call-nt", "CALL sets NT in the new task", "SDM 3, 8.4", R0, "", "lcall $S_T1, $0", REPORTS,
     .before = to_flags_plain, .check_ax = true, .ax = NT | 2)
CASE("task.jmp-nt", "JMP leaves NT to the TSS", "SDM 3, 8.4", R0, "push $0x4002\n popf", "ljmp $S_T1, $0", REPORTS,
     .before = to_flags_plain, .check_ax = true, .ax = 2)
CASE("task.flags", "flags come from the TSS", "SDM 3, 8.3", R0, "", "ljmp $S_T1, $0", REPORTS, .before = to_flags,
     .check_ax = true, .ax = 0xcc6)
CASE("task.ts", "CR0.TS is set", "SDM 3, 8.3", R0, "", "ljmp $S_T1, $0", REPORTS, .before = to_cr0, .check_ax = true,
     .ax = 0x8001003b)
CASE("task.esp", "ESP comes from the TSS", "SDM 3, 8.3", R0, "", "ljmp $S_T1, $0", REPORTS, .before = to_esp,
     .check_ax = true, .ax = A_STACK1)
CASE("task.gs", "GS comes from the TSS", "SDM 3, 8.3", R0, "", "ljmp $S_T1, $0", REPORTS, .before = to_gs,
     .check_ax = true, .ax = S_UDATA)
CASE("task.gs-null", "a null selector is fine there", "SDM 3, 8.3", R0, "", "ljmp $S_T1, $0", REPORTS,
     .before = to_gs_null, .check_ax = true, .ax = 3)
CASE("task.ldt", "the LDT comes from the TSS", "SDM 3, 8.3", R0, "", "ljmp $S_T1, $0", REPORTS, .before = to_ldt,
     .check_ax = true, .ax = S_LDT)
CASE("task.dr7-local", "local breakpoints are disabled", "SDM 3, 18.2.4", R0, "", "ljmp $S_T1, $0", REPORTS,
     .before = to_dr7, .check_ax = true, .ax = 0x600)
CASE("task.saved", "the old task's registers are saved", "SDM 3, 8.3", R0, "mov $0x11223344, %ebx", "ljmp $S_T1, $0",
     REPORTS, .before = to_report, .after = saved)
CASE("task.ring3", "a task may begin in ring 3", "SDM 3, 8.3", R0, "", "ljmp $S_T1, $0", REPORTS, .before = to_ring3,
     .after = in_ring3)
CASE("task.v86", "or in virtual-8086 mode", "SDM 3, 21.2.4", R0, "", "ljmp $S_T1, $0", REPORTS, .before = to_v86,
     .after = in_v86)
CASE("task.iret", "IRET comes back and frees the task", "SDM 3, 8.4", R0, "", "lcall $S_T1, $0\n str %eax",
     VALUE(S_TSS), .before = to_iret, .after = only_old_busy)
CASE("task.iret-nt", "IRET saves the nested task's flags with NT clear", "SDM 3, 8.4", R0, "", "lcall $S_T1, $0", NONE,
     .before = to_iret, .after = nt_saved_clear)
CASE("task.iret-resumes", "the next CALL goes on behind the IRET", "SDM 3, 8.4", R0, "",
     "lcall $S_T1, $0\n lcall $S_T1, $0\n mov tss_b_edx, %eax\n mov (%eax), %eax", VALUE(2), .before = to_iret)
CASE("task.trap", "the T bit traps with DR6.BT before the task's first instruction", "SDM 3, 18.3.1.5", R0, "",
     "ljmp $S_T1, $0", .vector = 1, .at = AT_ANY, .before = to_trap, .after = trapped)
CASE("task.gate", "a task gate switches", "SDM 3, 8.3", R0, "", "ljmp $S_T2, $0", REPORTS, .before = to_report,
     .check_ax = true, .ax = S_T1)
CASE("task.gate-ring3", "from ring 3 too, when its DPL says so", "SDM 3, 8.2.5", R3, "", "ljmp $S_T2, $0", REPORTS,
     .before = to_report, .check_ax = true, .ax = S_T1)
CASE("task.gate-dpl", "otherwise #GP(gate)", "SDM 3, 8.2.5", R3, "", "ljmp $S_T2, $0", GP(S_T2), .before = to_gate_dpl0)
CASE("task.tss-dpl", "a TSS of DPL 0 from ring 3: #GP(TSS)", "SDM 3, 8.2.2", R3, "", "ljmp $S_T1, $0", GP(S_T1),
     .before = to_report)
CASE("task.gate-absent", "an absent gate: #NP(gate)", "SDM 2, JMP", R0, "", "ljmp $S_T2, $0", NP(S_T2),
     .before = to_gate_absent)
CASE("task.gate-null", "a gate with a null selector: #GP(0)", "SDM 2, JMP", R0, "", "ljmp $S_T2, $0", GP(0),
     .before = to_gate_null)
CASE("task.gate-local", "a gate with an LDT selector: #GP(TSS)", "SDM 2, JMP", R0, "", "ljmp $S_T2, $0", GP(S_T1 + 4),
     .before = to_gate_local)
CASE("task.gate-data", "a gate to what is no TSS: #GP(selector)", "SDM 2, JMP", R0, "", "ljmp $S_T2, $0", GP(S_DATA),
     .before = to_gate_data)
CASE("task.busy", "JMP to a busy TSS: #GP(TSS)", "SDM 3, 8.4", R0, "", "ljmp $S_T1, $0", GP(S_T1), .before = to_busy)
CASE("task.absent", "an absent TSS: #NP(TSS)", "SDM 3, table 8-1", R0, "", "ljmp $S_T1, $0", NP(S_T1),
     .before = to_absent)
CASE("task.short", "a TSS with a limit below 67h: #TS(TSS)", "SDM 3, table 8-1", R0, "", "ljmp $S_T1, $0", TS(S_T1),
     .before = to_short)
CASE("task.short-16", "a 16-bit one below 2Bh: #TS(TSS)", "SDM 3, table 8-1", R0, "", "ljmp $S_T1, $0", TS(S_T1),
     .before = to_short16)
CASE("task.paged-out", "a page fault on the new TSS belongs to the old task", "SDM 3, 8.3", R0, "", "ljmp $S_T1, $0",
     .vector = 14, .at = AT_INSN, .any_error = true, .before = to_paged)
CASE("task.cs-null", "a null CS: #TS(0), in the new task", "SDM 3, table 8-1", R0, "", "ljmp $S_T1, $0", .vector = 10,
     .error = 0, .at = AT_ANY, .before = to_bad_cs_null, .after = in_new_task)
CASE("task.cs-data", "a data segment in CS: #TS(CS)", "SDM 3, table 8-1", R0, "", "ljmp $S_T1, $0", .vector = 10,
     .error = S_DATA, .at = AT_ANY, .before = to_bad_cs_data, .after = in_new_task)
CASE("task.cs-dpl", "CS with DPL != RPL: #TS(CS)", "SDM 3, table 8-1", R0, "", "ljmp $S_T1, $0", .vector = 10,
     .error = S_CODE1 & ~3, .at = AT_ANY, .before = to_bad_cs_dpl, .after = in_new_task)
CASE("task.cs-absent", "an absent CS: #NP(CS)", "SDM 3, table 8-1", R0, "", "ljmp $S_T1, $0", .vector = 11,
     .error = S_T3, .at = AT_ANY, .before = to_bad_cs_absent, .after = in_new_task, .t3 = SEGMENT(0, 0xfffff, 0xc01a))
CASE("task.ss-null", "a null SS: #TS(0)", "SDM 3, table 8-1", R0, "", "ljmp $S_T1, $0", .vector = 10, .error = 0,
     .at = AT_ANY, .before = to_bad_ss_null, .after = in_new_task)
CASE("task.ss-code", "a code segment in SS: #TS(SS)", "SDM 3, table 8-1", R0, "", "ljmp $S_T1, $0", .vector = 10,
     .error = S_UCODE & ~3, .at = AT_ANY, .before = to_bad_ss_code, .after = in_new_task)
CASE("task.ss-rpl", "SS's RPL other than CPL: #TS(SS)", "SDM 3, table 8-1", R0, "", "ljmp $S_T1, $0", .vector = 10,
     .error = S_UDATA & ~3, .at = AT_ANY, .before = to_bad_ss_rpl, .after = in_new_task)
CASE("task.ss-dpl", "SS's DPL other than CPL: #TS(SS)", "SDM 3, table 8-1", R0, "", "ljmp $S_T1, $0", .vector = 10,
     .error = S_DATA, .at = AT_ANY, .before = to_bad_ss_dpl, .after = in_new_task)
CASE("task.ss-absent", "an absent SS: #SS(SS)", "SDM 3, table 8-1", R0, "", "ljmp $S_T1, $0", .vector = 12,
     .error = S_T3, .at = AT_ANY, .before = to_bad_ss_absent, .after = in_new_task, .t3 = SEGMENT(0, 0xfffff, 0xc072))
CASE("task.ldt-type", "an LDT selector of something else: #TS(LDT)", "SDM 3, table 8-1", R0, "", "ljmp $S_T1, $0",
     .vector = 10, .error = S_DATA, .at = AT_ANY, .before = to_bad_ldt, .after = in_new_task)
CASE("task.ldt-absent", "an absent LDT: #TS(LDT)", "SDM 3, table 8-1", R0, "", "ljmp $S_T1, $0", .vector = 10,
     .error = S_T3, .at = AT_ANY, .before = to_bad_ldt_absent, .after = in_new_task, .t3 = SEGMENT(0, 0xff, 0x02))
CASE("task.ldt-local", "an LDT selector into the LDT: #TS(LDT)", "SDM 3, table 8-1", R0, "", "ljmp $S_T1, $0",
     .vector = 10, .error = S_LDT + 4, .at = AT_ANY, .before = to_bad_ldt_local, .after = in_new_task)
CASE("task.ds-system", "a system descriptor in DS: #TS(DS)", "SDM 3, table 8-1", R0, "", "ljmp $S_T1, $0", .vector = 10,
     .error = S_TSS, .at = AT_ANY, .before = to_bad_ds_system, .after = in_new_task)
CASE("task.ds-absent", "an absent DS: #NP(DS)", "SDM 3, table 8-1", R0, "", "ljmp $S_T1, $0", .vector = 11,
     .error = S_T3, .at = AT_ANY, .before = to_bad_ds_absent, .after = in_new_task, .t3 = SEGMENT(0, 0xfffff, 0xc012))
CASE("task.gs-beyond", "GS beyond the GDT: #TS(GS)", "SDM 3, table 8-1", R0, "", "ljmp $S_T1, $0", .vector = 10,
     .error = S_END, .at = AT_ANY, .before = to_bad_ds_beyond, .after = in_new_task)
CASE("task.eip-limit", "EIP beyond CS's limit: #GP(0), in the new task", "SDM 3, table 8-1", R0, "", "ljmp $S_T1, $0",
     .vector = 13, .error = 0, .at = AT_ANY, .before = to_bad_eip, .t3 = SEGMENT(0, 0xfff, 0x409a))
CASE("task.int", "an interrupt by a task gate, and IRET from it", "SDM 3, 6.12.2", R3, "", "int $0x80\n str %eax",
     VALUE(S_TSS), .before = to_int)
CASE("task.int-busy", "a task gate to a busy task: #GP(TSS)", "SDM 3, 6.12.2", R3, "", "int $0x80", GP(S_T1),
     .before = to_int_busy)
CASE("task.int-error-code", "the error code is pushed on the new task's stack", "SDM 3, 6.13", R3, "", "hlt", REPORTS,
     .before = to_error, .check_ax = true, .ax = 0)
CASE("task.int-ext", "a fault of the switch has EXT set when it is a hardware exception's", "SDM 3, 6.13", R3, "",
     "ud2", NP(S_T1 + 1), .before = to_error_ext)
CASE("task.16", "a switch to a 16-bit TSS", "SDM 3, 8.6", R0, "", "ljmp $S_T1, $0", REPORTS, .before = to_16,
     .check_ax = true, .ax = S_T1)
CASE("task.16-high-halves", "general registers' upper halves become ones", "SDM 3, 8.6 (implementations)", R0,
     "mov $0x12345678, %ebx", "ljmp $S_T1, $0", REPORTS, .before = to_16, .after = high_halves)
CASE("task.16-iret", "and back", "SDM 3, 8.6", R0, "mov $0x12345678, %ebx", "lcall $S_T1, $0\n mov %ebx, %eax",
     VALUE(0x12345678), .before = to_16_iret)
CASE("task.link-data", "IRET with a link to what is no TSS: #TS(link)", "SDM 3, table 8-1", R0, "push $0x4002\n popf",
     "iret", TS(S_DATA), .before = link_bad)
CASE("task.link-available", "IRET to a task that is not busy: #TS(link)", "SDM 3, table 8-1", R0, "push $0x4002\n popf",
     "iret", TS(S_T1), .before = link_available)
CASE("task.link-null", "IRET with a null link: #TS(0)", "SDM 3, table 8-1", R0, "push $0x4002\n popf", "iret", TS(0),
     .before = link_null)
CASE("task.link-local", "IRET with a link into the LDT: #TS(link)", "SDM 3, table 8-1", R0, "push $0x4002\n popf",
     "iret", TS(S_T1 + 4), .before = link_local)
CASE("task.link-busy", "IRET to a busy task switches; it stays busy, the old one does not", "SDM 3, 8.4", R0,
     "push $0x4002\n popf", "iret", REPORTS, .before = link_busy, .after = only_new_busy)
CASE("task.ltr-available", "LTR of an available TSS makes it busy", "SDM 2, LTR", R0, "mov $S_T1, %ax", "ltr %ax", NONE,
     .before = to_report, .after = both_busy)
CASE("task.ltr-busy", "LTR of a busy TSS: #GP(TSS)", "SDM 2, LTR", R0, "mov $S_TSS, %ax", "ltr %ax", GP(S_TSS))
CASE("task.ltr-null", "LTR of a null selector: #GP(0)", "SDM 2, LTR", R0, "xor %eax, %eax", "ltr %ax", GP(0))
CASE("task.ltr-local", "LTR of a selector in the LDT: #GP(selector)", "SDM 2, LTR", R0, "mov $4, %ax", "ltr %ax", GP(4))
CASE("task.ltr-absent", "LTR of an absent TSS: #NP(selector)", "SDM 2, LTR", R0, "mov $S_T1, %ax", "ltr %ax", NP(S_T1),
     .before = to_absent)
CASE("task.ltr-ring3", "LTR in ring 3: #GP(0)", "SDM 2, LTR", R3, "mov $S_TSS, %ax", "ltr %ax", GP(0))
CASE("task.lldt-null", "LLDT of a null selector is fine, and LDT selectors then fault", "SDM 2, LLDT", R0,
     "xor %eax, %eax\n lldt %ax\n mov $4, %ax", "mov %ax, %fs", GP(4))
CASE("task.lldt-type", "LLDT of another type: #GP(selector)", "SDM 2, LLDT", R0, "mov $S_DATA, %ax", "lldt %ax",
     GP(S_DATA))
CASE("task.lldt-absent", "LLDT of an absent LDT: #NP(selector)", "SDM 2, LLDT", R0, "mov $S_T1, %ax", "lldt %ax",
     NP(S_T1), .t1 = SEGMENT(0, 0xff, 0x02))
CASE("task.str-ring3", "STR is for everybody without UMIP", "SDM 2, STR", R3, "", "str %eax", VALUE(S_TSS))

/* I/O permissions. */
BEFORE(allow_80, tss.rest[32 + 0x10] = 0xfe)
BEFORE(allow_7f, tss.rest[32 + 0xf] = 0x7f)
BEFORE(allow_7f_80, tss.rest[32 + 0xf] = 0x7f; tss.rest[32 + 0x10] = 0xfe)
BEFORE(map_outside, tss.trap_iomap = 0xffff0000)
BEFORE(map_end, set_gdt(S_TSS, SEGMENT(&tss, offsetof(Tss, rest) + 32 + 0x10, 0x89)); tss.rest[32 + 0x10] = 0;
       __asm__ volatile("ltr %w0"
                        :
                        : "r"(S_TSS)))
CASE("io.denied", "IN with its bit set is #GP(0)", "SDM 1, 19.5.2", R3, "", "inb $0x80, %al", GP(0))
CASE("io.allowed", "IN with its bit clear is done", "SDM 1, 19.5.2", R3, "", "inb $0x80, %al", NONE, .before = allow_80)
CASE("io.word-half", "a word needs both bits", "SDM 1, 19.5.2", R3, "", "inw $0x7f, %ax", GP(0), .before = allow_7f)
CASE("io.word", "which may lie in two bytes", "SDM 1, 19.5.2", R3, "", "inw $0x7f, %ax", NONE, .before = allow_7f_80)
CASE("io.outside", "a map base beyond the limit allows nothing", "SDM 1, 19.5.2", R3, "", "inb $0x80, %al", GP(0),
     .before = map_outside)
CASE("io.last-byte", "two bytes of the map are read always: the last one needs another behind it", "SDM 1, 19.5.2", R3,
     "", "inb $0x80, %al", GP(0), .before = map_end)
CASE("io.iopl", "with CPL <= IOPL the map is not asked", "SDM 1, 19.5.1", R3, "", "inb $0x80, %al", NONE,
     .flags = IOPL3)
CASE("io.ins", "INS and OUTS are checked too", "SDM 1, 19.5.2", R3, "mov $0x81, %dx\n mov $A_AREA, %edi", "insb", GP(0))
CASE("io.ins-order", "the permission comes before the memory operand", "SDM 2, INS", R3,
     "mov $0x81, %dx\n mov $A_WINDOW+0x1000, %edi", "insb", GP(0))
CASE("io.cli", "CLI in ring 3 with IOPL 0 is #GP(0)", "SDM 2, CLI", R3, "", "cli", GP(0))
CASE("io.sti", "so is STI", "SDM 2, STI", R3, "", "sti", GP(0))
CASE("io.cli-iopl", "with IOPL 3 they are done", "SDM 2, CLI", R3, "", "sti\n cli", NONE, .flags = IOPL3)

u32 *const tss_b_edx = &tss_b.edx;
