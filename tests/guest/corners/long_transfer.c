/* Long mode: transfers between segments and rings by gates, interrupts, IRET and the fast system calls, and
 * compatibility mode. */

#include "check.h"

AFTER(accessed, *gdt_entry(S_T1) >> 40 & 1)

/* --- call gates of 64 bits --- */

BEFORE(gate_here, *gdt_entry(S_T1) = GATE(CS64, A_CODE + 0x800, 0xec); *gdt_entry(S_T1 + 8) = 0;
       memcpy((void *)(code_page + 0x800), "\x48\x8b\x44\x24\x18\xcc", 6); map(A_CODE, code_page, P | W);
       map(A_CODE, code_page, P | W | (f->cs & 3 ? U : 0)))
BEFORE(gate_upper, gate_here(f); *gdt_entry(S_T1 + 8) = 1ull << 40)
BEFORE(gate_high, gate_here(f); *gdt_entry(S_T1 + 8) = 0x8000)
BEFORE(gate_cs32, gate_here(f); *gdt_entry(S_T1) = GATE(CS32, A_CODE + 0x800, 0xec))
BEFORE(gate_16, gate_here(f); *gdt_entry(S_T1) = GATE(CS64, A_CODE + 0x800, 0xe4))
BEFORE(gate_task, gate_here(f); *gdt_entry(S_T1) = GATE(CS64, 0, 0xe5))
#define CALL_GATE   "movl $0, (%rdi)\n movl $S_T1, 4(%rdi)\n", "lcall *(%rdi)"
#define CALL_GATE32 "movl $0, (%edi)\n movl $S_T1, 4(%edi)\n", "lcall *(%edi)"
AFTER(ss_null, (f->ss & ~3ull) == 0 && f->cs == CS64)
CASE("gate64.inner", "a call gate to ring 0: SS becomes null, the old SS is on the stack", "SDM 3, 5.8.5.1", L3,
     CALL_GATE, LANDS, .check_ax = true, .ax = UDS, .before = gate_here, .after = ss_null)
CASE("gate64.upper-type", "type bits in the gate's upper half are #GP(gate)", "SDM 3, 5.8.3.1", L3, CALL_GATE, GP(S_T1),
     .before = gate_upper)
CASE("gate64.canonical", "an offset that is not canonical is #GP(0)", "SDM 2, CALL", L3, CALL_GATE, GP(0),
     .before = gate_high)
CASE("gate64.cs32", "a target that is no 64-bit segment is #GP(target)", "SDM 2, CALL", L3, CALL_GATE, GP(CS32),
     .before = gate_cs32)
CASE("gate64.type-16", "a 16-bit call gate is #GP(gate)", "SDM 3, 5.8.3.1", L3, CALL_GATE, GP(S_T1), .before = gate_16)
CASE("gate64.task", "a task gate is #GP(gate)", "SDM 3, 8.7", L3, CALL_GATE, GP(S_T1), .before = gate_task)

/* A call gate of DPL 3 in S_T1 to `selector` at `offset`. */
static void call_gate(u16 selector, u64 offset)
{
    *gdt_entry(S_T1)     = GATE(selector, offset, 0xec);
    *gdt_entry(S_T1 + 8) = offset >> 32;
}
CODE(report_sp, "mov %rsp, %rax")
CODE(report_cs, "mov %cs, %eax")
CODE(report_ss, "mov %ss, %eax")
CODE(report_return, "mov (%rsp), %rax")
CODE(report_return_cs, "mov 8(%rsp), %rax")
CODE(return_far, "lretq")
CODE(return_far_16, "lretq $16")
static void set_rsp0(u64 rsp)
{
    memcpy(cpus[0].tss + 4, &rsp, 8);
}
#define SP0 ((u64)A_AREA + 0x800)
static void rsp0_in_area(u64 flags)
{
    map(A_AREA, area_page, P | W | flags);
    set_rsp0(SP0);
}
static void use_tss_limit(u32 limit)
{
    *gdt_entry(TSS) = (*gdt_entry(TSS) & ~0xffffull & ~(2ull << 40)) | limit;
    __asm__ volatile("ltr %w0" : : "r"(TSS));
}
#define REPORTS(x)  LANDS, .check_ax = true, .ax = (x)
#define CODE64(dpl) SEGMENT(0, 0xfffff, 0xa09a | (dpl) << 5)
#define DATA32(dpl) SEGMENT(0, 0xfffff, 0xc092 | (dpl) << 5)

BEFORE(gate_sp, call_gate(CS64, (u64)report_sp); rsp0_in_area(U))
BEFORE(gate_sp_16, gate_sp(f); set_rsp0(SP0 - 4))
BEFORE(gate_return_cs, call_gate(CS64, (u64)report_return_cs))
BEFORE(gate_ss, call_gate(CS64, (u64)report_ss))
BEFORE(gate_back, call_gate(CS64, (u64)return_far))
BEFORE(gate_parameters, call_gate(CS64, (u64)report_sp); *gdt_entry(S_T1) |= 31ull << 32; rsp0_in_area(U))
BEFORE(gate_dpl0, call_gate(CS64, (u64)report_sp); *gdt_entry(S_T1) &= ~(0x60ull << 40))
BEFORE(gate_absent, call_gate(CS64, (u64)report_sp); *gdt_entry(S_T1) &= ~(0x80ull << 40))
BEFORE(gate_null, call_gate(0, (u64)report_sp))
BEFORE(gate_data, call_gate(DS64, (u64)report_sp))
BEFORE(gate_beyond, call_gate(0xf8, (u64)report_sp))
BEFORE(gate_target_absent, call_gate(S_T2, (u64)report_sp); *gdt_entry(S_T2) = CODE64(0) & ~(0x80ull << 40))
BEFORE(gate_target_l_d, call_gate(S_T2, (u64)report_sp); *gdt_entry(S_T2) = CODE64(0) | 0x40ull << 48)
BEFORE(gate_conforming, call_gate(S_T2, HANDLER); *gdt_entry(S_T2) = CODE64(0) | 4ull << 40;
       put_handler(report_cs, SIZE_OF(report_cs)))
BEFORE(gate_rsp0_bad, call_gate(CS64, (u64)report_sp); set_rsp0(0x900000000000))
BEFORE(gate_rsp0_absent, call_gate(CS64, (u64)report_sp); set_rsp0(A_HOLE + 0x800))
BEFORE(gate_rsp0_read_only, call_gate(CS64, (u64)report_sp); map(A_HOLE, area_page, P); set_rsp0(A_HOLE + 0x800))
/* IST1 is beyond the limit as well: #TS itself is taken on RSP0. */
BEFORE(gate_tss_limit, call_gate(S_T2 + 1, (u64)report_sp); *gdt_entry(S_T2) = CODE64(1); without_ist(10);
       use_tss_limit(18))
BEFORE(gate_ring1, put_handler(report_ss, SIZE_OF(report_ss)); call_gate(S_T2 + 1, HANDLER);
       *gdt_entry(S_T2) = CODE64(1); rsp0_in_area(U); memcpy(cpus[0].tss + 12, cpus[0].tss + 4, 8))
BEFORE(gate_at_end, *gdt_entry(0x98) = GATE(CS64, report_sp, 0xec))
AFTER(rsp_kept, f->rsp == STACK_TOP)
CASE("gate64.stack", "it pushes SS, RSP, CS and RIP at RSP0, without aligning it", "SDM 3, 5.8.5.1", L3, CALL_GATE,
     REPORTS(SP0 - 36), .before = gate_sp_16)
CASE("gate64.return-cs", "the return CS has the caller's RPL", "SDM 3, 5.8.5", L3, CALL_GATE, REPORTS(UCS64),
     .before = gate_return_cs)
CASE("gate64.same-ring", "within the ring it pushes CS and RIP on the same stack", "SDM 3, 5.8.5.1", L0, CALL_GATE,
     REPORTS(STACK_TOP - 16), .before = gate_sp)
CASE("gate64.same-ring-ss", "and keeps SS", "SDM 3, 5.8.5.1", L0, CALL_GATE, REPORTS(DS64), .before = gate_ss)
CASE("gate64.compat", "from compatibility mode it leads to 64-bit code", "SDM 3, 5.8.3.1", C3, CALL_GATE32,
     REPORTS(SP0 - 32), .before = gate_sp)
CASE("gate64.compat-back", "and a 64-bit far RET back", "SDM 3, 5.8.6", C3,
     "movl $0, (%edi)\n movl $S_T1, 4(%edi)\n mov %esp, %ebx", "lcall *(%edi)\n mov %esp, %eax\n sub %ebx, %eax",
     VALUE(0), .before = gate_back)
CASE("gate64.back", "a far RET from ring 0 to ring 3", "SDM 3, 5.8.6", L3, "movl $0, (%rdi)\n movl $S_T1, 4(%rdi)",
     "lcall *(%rdi)\n mov %rsp, %rax", VALUE(STACK_TOP), .before = gate_back)
CASE("gate64.parameters", "the count of parameters means nothing", "SDM 3, 5.8.3.1", L3, CALL_GATE, REPORTS(SP0 - 32),
     .before = gate_parameters)
CASE("gate64.dpl", "DPL below CPL is #GP(gate)", "SDM 2, CALL", L3, CALL_GATE, GP(S_T1), .before = gate_dpl0)
CASE("gate64.rpl", "DPL below RPL too", "SDM 2, CALL", L0, "movl $0, (%rdi)\n movl $S_T1+3, 4(%rdi)", "lcall *(%rdi)",
     GP(S_T1), .before = gate_dpl0)
CASE("gate64.absent", "an absent gate is #NP(gate)", "SDM 2, CALL", L3, CALL_GATE, NP(S_T1), .before = gate_absent)
CASE("gate64.null", "a null target is #GP(0)", "SDM 2, CALL", L3, CALL_GATE, GP(0), .before = gate_null)
CASE("gate64.data", "a data segment is #GP(target)", "SDM 2, CALL", L3, CALL_GATE, GP(DS64), .before = gate_data)
CASE("gate64.beyond", "a target beyond the GDT #GP(target)", "SDM 2, CALL", L3, CALL_GATE, GP(0xf8),
     .before = gate_beyond)
CASE("gate64.target-absent", "an absent one #NP(target)", "SDM 2, CALL", L3, CALL_GATE, NP(S_T2),
     .before = gate_target_absent)
CASE("gate64.target-l-d", "one with L and D #GP(target)", "SDM 2, CALL", L3, CALL_GATE, GP(S_T2),
     .before = gate_target_l_d)
CASE("gate64.conforming", "a conforming one keeps the ring", "SDM 3, 5.8.4", L3, CALL_GATE, REPORTS(S_T2 + 3),
     .before = gate_conforming)
CASE("gate64.rsp0-canonical", "an RSP0 that is not canonical is #SS(0)", "SDM 2, CALL", L3, CALL_GATE, SS(0),
     .before = gate_rsp0_bad, .after = rsp_kept)
CASE("gate64.rsp0-absent", "a page fault on the new stack leaves everything as it was", "SDM 3, 6.5", L3, CALL_GATE,
     PAGE_FAULT(2, A_HOLE + 0x7f8), .before = gate_rsp0_absent, .after = rsp_kept)
CASE("gate64.rsp0-read-only", "a write-protected one too", "SDM 3, 4.7", L3, CALL_GATE, PAGE_FAULT(3, A_HOLE + 0x7f8),
     .before = gate_rsp0_read_only, .after = rsp_kept)
CASE("gate64.tss-limit", "a TSS that ends within RSP1 is #TS(TSS)", "SDM 2, CALL", L3, CALL_GATE, TS(0x58),
     .before = gate_tss_limit)
CASE("gate64.ring1", "to ring 1: SS is a null selector with RPL 1", "SDM 3, 5.8.5.1", L3, CALL_GATE, REPORTS(1),
     .before = gate_ring1)
CASE("gate64.half", "a gate whose upper half is beyond the limit is #GP(gate)", "SDM 3, 5.8.3.1", L3,
     "movl $0, (%rdi)\n movl $0x98, 4(%rdi)", "lcall *(%rdi)", GP(0x98), .before = gate_at_end)
CASE("gate64.jmp", "JMP through a gate within the ring", "SDM 2, JMP", L0, "movl $0, (%rdi)\n movl $S_T1, 4(%rdi)",
     "ljmp *(%rdi)", REPORTS(STACK_TOP), .before = gate_sp)
CASE("gate64.jmp-inner", "to an inner ring is #GP(target)", "SDM 2, JMP", L3, "movl $0, (%rdi)\n movl $S_T1, 4(%rdi)",
     "ljmp *(%rdi)", GP(CS64), .before = gate_sp)
CASE("far64.tss", "JMP to a TSS is #GP(TSS)", "SDM 3, 8.7", L0, "movl $0, (%rdi)\n movl $S_TSS, 4(%rdi)",
     "ljmp *(%rdi)", GP(0x58))
CASE("far64.call-tss", "CALL too", "SDM 3, 8.7", L0, "movl $0, (%rdi)\n movl $S_TSS, 4(%rdi)", "lcall *(%rdi)",
     GP(0x58))
CASE("far64.ldt", "JMP to an LDT's descriptor", "SDM 2, JMP", L0, "movl $0, (%rdi)\n movl $S_T1, 4(%rdi)",
     "ljmp *(%rdi)", GP(S_T1), .t1 = SEGMENT(0, 0xff, 0x82))
CASE("far64.null", "to a null selector #GP(0)", "SDM 2, JMP", L0, "movl $0, (%rdi)\n movl $0, 4(%rdi)", "ljmp *(%rdi)",
     GP(0))
CASE("far64.data", "to data #GP(selector)", "SDM 2, JMP", L0, "movl $0, (%rdi)\n movl $S_DS64, 4(%rdi)", "ljmp *(%rdi)",
     GP(0x10))
CASE("far64.outer", "to an outer ring #GP(selector)", "SDM 2, JMP", L0, "movl $0, (%rdi)\n movl $S_UCS64, 4(%rdi)",
     "ljmp *(%rdi)", GP(0x40))
CASE("far64.absent", "to an absent segment #NP(selector)", "SDM 2, JMP", L0, "movl $0, (%rdi)\n movl $S_T1, 4(%rdi)",
     "ljmp *(%rdi)", NP(S_T1), .t1 = SEGMENT(0, 0xfffff, 0xa01a))
CASE("far64.l-d", "to one with L and D #GP(selector)", "SDM 2, JMP", L0, "movl $0, (%rdi)\n movl $S_T1, 4(%rdi)",
     "ljmp *(%rdi)", GP(S_T1), .t1 = SEGMENT(0, 0xfffff, 0xe09a))
CASE("far64.to-compat", "to 32-bit code: compatibility mode", "SDM 2, JMP", L0,
     "lea 1f(%rip), %rax\n mov %eax, (%rdi)\n movl $S_CS32, 4(%rdi)\n mov $0x7fffffff, %eax",
     "ljmp *(%rdi)\n 1: .byte 0x40", VALUE(0x80000000))
CASE("far64.compat-limit", "its limit counts", "SDM 2, JMP", L0, "movl $0x1000, (%rdi)\n movl $S_T1, 4(%rdi)",
     "ljmp *(%rdi)", GP(0), .t1 = SEGMENT(0, 0xfff, 0x409a))
CASE("far64.no-limit", "that of a 64-bit segment does not", "SDM 3, 5.3.1", L0,
     "lea 1f(%rip), %rax\n mov %eax, (%rdi)\n movl $S_T1, 4(%rdi)\n mov $7, %eax", "ljmp *(%rdi)\n 1: nop", VALUE(7),
     .t1 = SEGMENT(0, 0, 0x209a))
CASE("far64.base-ignored", "nor its base", "SDM 3, 3.4.4", L0,
     "lea 1f(%rip), %rax\n mov %eax, (%rdi)\n movl $S_T1, 4(%rdi)\n mov $7, %eax", "ljmp *(%rdi)\n 1: nop", VALUE(7),
     .t1 = SEGMENT(0x10000, 0xfffff, 0xa09a))
CASE("far64.accessed", "a far JMP sets the accessed bit", "SDM 3, 3.4.5.1", L0,
     "lea 1f(%rip), %rax\n mov %eax, (%rdi)\n movl $S_T1, 4(%rdi)", "ljmp *(%rdi)\n 1: nop", NONE, .t1 = CODE64(0),
     .after = accessed)
CASE("far64.call", "a far CALL with a 32-bit operand pushes eight bytes", "SDM 2, CALL", L0,
     "lea 1f(%rip), %rax\n mov %eax, (%rdi)\n movl $S_CS64, 4(%rdi)", "lcall *(%rdi)\n 1: mov %rsp, %rax",
     VALUE(STACK_TOP - 8))
CASE("far64.call-64", "one with REX.W sixteen", "SDM 2, CALL", L0,
     "lea 1f(%rip), %rax\n mov %rax, (%rdi)\n movl $S_CS64, 8(%rdi)", "rex.w lcall *(%rdi)\n 1: mov %rsp, %rax",
     VALUE(STACK_TOP - 16), .when = is_intel)
CASE("far64.call-fault", "a CALL whose second push faults leaves RSP alone", "SDM 3, 6.5", L0,
     "lea 1f(%rip), %rax\n mov %eax, (%rdi)\n movl $S_CS64, 4(%rdi)\n mov $A_STACK+4, %esp\n mov %rsp, %rax",
     "lcall *(%rdi)\n 1:", .vector = 14, .error = 2, .at = AT_INSN, .check_cr2 = true, .address = A_STACK - 4,
     .check_ax = true, .ax = A_STACK + 4)
CASE("retf64.outer", "a far RET to ring 3", "SDM 2, RET", L0,
     "push $S_UDS\n push $STACK_TOP-0x100\n push $S_UCS64\n lea 1f(%rip), %rax\n push %rax",
     "lretq\n 1: mov %rsp, %rax", VALUE(STACK_TOP - 0x100), .before = user_pages)
CASE("retf64.release", "with parameters: released on both stacks", "SDM 2, RET", L0,
     "push $S_UDS\n push $STACK_TOP-0x100\n push $0\n push $0\n push $S_UCS64\n lea 1f(%rip), %rax\n push %rax",
     "lretq $16\n 1: mov %rsp, %rax", VALUE(STACK_TOP - 0xf0), .before = user_pages)
CASE("retf64.null-ss", "to ring 3 with a null SS #GP(0)", "SDM 2, RET", L0,
     "push $3\n push $STACK_TOP\n push $S_UCS64\n push $A_CODE", "lretq", GP(0))
CASE("retf64.null-ss-1", "to ring 1 with a null SS of RPL 1", "SDM 2, RET", L0,
     "push $1\n push $STACK_TOP\n push $S_T1+1\n lea 1f(%rip), %rax\n push %rax", "lretq\n 1: mov %ss, %eax", VALUE(1),
     .t1 = CODE64(1))
CASE("retf64.null-ss-rpl", "of another RPL, but for 3, it goes through, too", "SDM 2, RET", L0,
     "push $2\n push $STACK_TOP\n push $S_T1+1\n lea 1f(%rip), %rax\n push %rax", "lretq\n 1: mov %ss, %eax", VALUE(2),
     .t1 = CODE64(1))
CASE("retf64.null-ss-3", "one of RPL 3 is #GP(0)", "SDM 2, RET", L0,
     "push $3\n push $STACK_TOP\n push $S_T1+1\n push $A_CODE", "lretq", GP(0), .t1 = CODE64(1))
CASE("retf64.null-ss-compat", "to compatibility mode in ring 1 #GP(0)", "SDM 2, RET", L0,
     "push $1\n push $STACK_TOP\n push $S_T1+1\n push $A_CODE", "lretq", GP(0), .t1 = SEGMENT(0, 0xfffff, 0xc0ba))
CASE("retf64.null-cs", "to a null CS #GP(0)", "SDM 2, RET", L0, "push $0\n push $A_CODE", "lretq", GP(0))
CASE("retf64.inner", "to an inner ring #GP(selector)", "SDM 2, RET", L3, "push $S_CS64\n push $A_CODE", "lretq", GP(8))
CASE("retf64.ss-dpl", "SS's DPL must be CS's RPL: #GP(SS)", "SDM 2, RET", L0,
     "push $S_T1+3\n push $STACK_TOP\n push $S_UCS64\n push $A_CODE", "lretq", GP(S_T1), .t1 = DATA32(0))
CASE("retf64.32", "a 32-bit one pops doublewords", "SDM 2, RET", L0,
     "lea 1f(%rip), %rax\n sub $8, %rsp\n mov %eax, (%rsp)\n movl $S_CS64, 4(%rsp)", "lretl\n 1: mov %rsp, %rax",
     VALUE(STACK_TOP))

/* --- interrupts and IRET --- */

CASE("int64.align", "the frame is pushed at RSP aligned to 16", "SDM 3, 6.14.2", L0, "sub $3, %rsp", "int3", TRAP(3))
CASE("iret64.ss-null", "IRET to ring 0 with a null SS", "SDM 3, 6.14.3", L0,
     "mov %rsp, %rbx\n push $0\n push %rbx\n push $2\n push $S_CS64\n lea 1f(%rip), %rax\n push %rax",
     "iretq\n 1: mov %ss, %eax", VALUE(0))
CASE("iret64.ss-null-3", "to ring 3 it is #GP(0)", "SDM 2, IRET", L0,
     "push $0\n push $0\n push $2\n push $S_UCS64\n push $0", "iretq", GP(0))
CASE("iret64.ss-null-compat", "to a compatibility-mode segment too", "SDM 2, IRET", L0,
     "push $0\n push $0\n push $2\n push $S_CS32\n push $0", "iretq", GP(0))
CASE("iret64.nt", "IRET with NT is #GP(0)", "SDM 2, IRET", L0,
     "push $0x4002\n popfq\n push $0\n push $0\n push $2\n push $S_CS64\n push $0", "iretq", GP(0))
CASE("iret64.vm", "VM in the image is ignored", "SDM 2, IRET", L0,
     "mov %rsp, %rbx\n push $S_DS64\n push %rbx\n push $0x20002\n push $S_CS64\n lea 1f(%rip), %rax\n push %rax",
     "iretq\n 1: mov %cs, %eax", VALUE(CS64))
CASE("iret64.same-ring-rsp", "SS:RSP are popped always", "SDM 3, 6.14.3", L0,
     "push $S_DS64\n push $A_STACK+0x300\n push $2\n push $S_CS64\n lea 1f(%rip), %rax\n push %rax",
     "iretq\n 1: mov %rsp, %rax", VALUE(A_STACK + 0x300))
CASE("iret64.ds", "IRET to ring 3 makes a DS of ring 0 null", "SDM 2, IRET", L3, "", "int $0x80", TRAP(0x80))
CASE("int64.ist", "a software interrupt through a gate of DPL 0 in ring 3", "SDM 2, INT n", L3, "", "int $0x31",
     GP(0x31 * 8 + 2))
BEFORE(idt_task, *idt_entry(0x80) = GATE(CS64, A_CODE, 0xe5))
BEFORE(idt_cs32, *idt_entry(0x80) = GATE(CS32, A_CODE, 0xee))
CASE("int64.task-gate", "a task gate in the IDT is #GP(vector * 8 + 2)", "SDM 3, 6.14.1", L0, "", "int $0x80",
     GP(0x80 * 8 + 2), .before = idt_task)
CASE("int64.cs32", "a gate to a 32-bit segment is #GP(target)", "SDM 3, 6.14.1", L0, "", "int $0x80", GP(CS32),
     .before = idt_cs32)
static void use_ist(unsigned vector, const u8 *to, unsigned ist, u64 top)
{
    set_gate(vector, (u64)to, ist, 3);
    if (ist) {
        set_ist(&cpus[0], ist, top);
    }
}
static void use_idt_limit(u16 limit)
{
    struct {
        u16 limit;
        u64 base;
    } __attribute__((packed)) p = { limit, (u64)idt_entry(0) };
    __asm__ volatile("lidt %0" : : "m"(p));
}
static void gate_type(unsigned vector, u8 attributes)
{
    *idt_entry(vector) = (*idt_entry(vector) & ~(0xffull << 40)) | (u64)attributes << 40;
}
static void gate_to(unsigned vector, u16 selector)
{
    *idt_entry(vector) = (*idt_entry(vector) & ~(0xffffull << 16)) | (u32)selector << 16;
}
#define TOP ((u64)A_AREA + 0xc00)
CODE(report_error, "mov (%rsp), %rax")
CODE(report_flags, "mov 16(%rsp), %rax")
CODE(report_old_rsp, "mov 24(%rsp), %rax")
CODE(report_old_ss, "mov 32(%rsp), %rax")
CODE(report_own_flags, "pushfq\n pop %rax")
CODE(report_error_rip, "mov 8(%rsp), %rax")
BEFORE(ist_2, use_ist(0x80, report_sp, 2, TOP))
BEFORE(ist_7, use_ist(0x80, report_sp, 7, TOP))
BEFORE(ist_unaligned, use_ist(0x80, report_sp, 3, TOP + 13))
BEFORE(ist_bad, use_ist(0x80, report_sp, 2, 0x900000000000))
BEFORE(ist_absent, use_ist(0x80, report_sp, 2, A_HOLE + 0x800))
BEFORE(ist_limit, use_ist(0x80, report_sp, 7, TOP); use_tss_limit(0x5a))
BEFORE(ist_6_limit, use_ist(0x80, report_sp, 6, TOP); use_tss_limit(0x5b))
BEFORE(ist_upper, use_ist(0x80, report_sp, 2, TOP); idt_entry(0x80)[1] |= ~0ull << 32)
BEFORE(rsp0_used, set_gate(0x80, (u64)report_sp, 0, 3); rsp0_in_area(U))
BEFORE(rsp0_unaligned, set_gate(0x80, (u64)report_sp, 0, 3); rsp0_in_area(U); set_rsp0(SP0 + 7))
BEFORE(rsp0_bad_int, set_gate(0x80, (u64)report_sp, 0, 3); set_rsp0(0x900000000000))
BEFORE(rsp0_bad_ud, set_gate(6, (u64)report_sp, 0, 0); set_rsp0(0x900000000000))
BEFORE(rsp0_absent_int, set_gate(0x80, (u64)report_sp, 0, 3); set_rsp0(A_HOLE + 0x800))
BEFORE(rsp1_limit, set_gate(0x80, (u64)report_sp, 0, 3); gate_to(0x80, S_T2); *gdt_entry(S_T2) = CODE64(1);
       without_ist(10); use_tss_limit(18))
BEFORE(int_old_rsp, set_gate(0x80, (u64)report_old_rsp, 0, 3))
BEFORE(int_old_ss, set_gate(0x80, (u64)report_old_ss, 0, 3))
BEFORE(int_ss, set_gate(0x80, (u64)report_ss, 0, 3))
BEFORE(int_flags, set_gate(0x80, (u64)report_flags, 0, 3))
BEFORE(int_own_flags, set_gate(0x80, (u64)report_own_flags, 0, 3); f->rflags |= IF | TF | NT)
BEFORE(trap_own_flags, set_gate(0x80, (u64)report_own_flags, 0, 3); gate_type(0x80, 0xef); f->rflags |= IF)
BEFORE(ud_flags, set_gate(6, (u64)report_flags, 0, 0))
BEFORE(gp_error, set_gate(13, (u64)report_error, 0, 0))
BEFORE(gp_error_rip, set_gate(13, (u64)report_error_rip, 0, 0))
BEFORE(int_absent, gate_type(0x80, 0x6e))
BEFORE(int_absent_dpl, gate_type(0x80, 0x0e))
BEFORE(int_type_0, gate_type(0x80, 0xe0))
BEFORE(int_16, gate_type(0x80, 0xe6))
BEFORE(int_call_gate, gate_type(0x80, 0xec))
BEFORE(int_null, gate_to(0x80, 0))
BEFORE(int_data, gate_to(0x80, DS64))
BEFORE(int_outer, gate_to(0x80, UCS64))
BEFORE(int_target_absent, gate_to(0x80, S_T1); *gdt_entry(S_T1) = CODE64(0) & ~(0x80ull << 40))
BEFORE(int_target_l_d, gate_to(0x80, S_T1); *gdt_entry(S_T1) = CODE64(0) | 0x40ull << 48)
BEFORE(int_bad_offset, idt_entry(0x80)[1] = 0x8000)
BEFORE(int_conforming, put_handler(report_cs, SIZE_OF(report_cs)); set_gate(0x80, HANDLER, 0, 3); gate_to(0x80, S_T1);
       *gdt_entry(S_T1) = CODE64(0) | 4ull << 40)
BEFORE(int_limit, use_idt_limit(0x80 * 16 + 14))
BEFORE(int_limit_fits, use_idt_limit(0x80 * 16 + 15))
BEFORE(ud_absent, gate_type(6, 0x0e))
BEFORE(ud_null, gate_to(6, 0))
BEFORE(ud_target_absent, gate_to(6, S_T1); *gdt_entry(S_T1) = CODE64(0) & ~(0x80ull << 40))
BEFORE(de_absent, gate_type(0, 0x0e))
BEFORE(pf_absent, gate_type(14, 0x0e))
BEFORE(gp_absent_then_pf, gate_type(13, 0x8e); set_gate(13, (u64)report_sp, 2, 0); set_ist(&cpus[0], 2, A_HOLE + 0x800))
BEFORE(pf_on_pf, set_gate(14, (u64)report_sp, 2, 0); set_ist(&cpus[0], 2, A_HOLE + 0x800))
BEFORE(pf_on_np, gate_type(0x80, 0x6e); set_gate(11, (u64)report_sp, 2, 0); set_ist(&cpus[0], 2, A_HOLE + 0x800))
BEFORE(pf_on_ud, set_gate(6, (u64)report_sp, 2, 0); set_ist(&cpus[0], 2, A_HOLE + 0x800))
CASE("int64.ist-2", "a gate's IST index names the stack, within a ring too", "SDM 3, 6.14.5", L0, "", "int $0x80",
     REPORTS(TOP - 40), .before = ist_2)
CASE("int64.ist-7", "up to IST7", "SDM 3, 6.14.5", L3, "", "int $0x80", REPORTS(TOP - 40), .before = ist_7)
CASE("int64.ist-unaligned", "it is aligned to 16", "SDM 3, 6.14.2", L0, "", "int $0x80", REPORTS(TOP - 40),
     .before = ist_unaligned)
CASE("int64.ist-canonical", "one that is not canonical is #SS(0)", "SDM 2, INT n", L0, "", "int $0x80", SS(0),
     .before = ist_bad)
CASE("int64.ist-absent", "an absent page is a page fault of the supervisor at INT", "SDM 3, 6.14.5", L3, "",
     "int $0x80", PAGE_FAULT(2, A_HOLE + 0x7f8), .before = ist_absent, .after = rsp_kept)
CASE("int64.ist-limit", "a TSS that ends before it is #TS(TSS)", "SDM 2, INT n", L0, "", "int $0x80", TS(0x58),
     .before = ist_limit)
CASE("int64.ist-limit-fits", "one that ends behind it is long enough", "SDM 3, 8.7", L0, "", "int $0x80",
     REPORTS(TOP - 40), .before = ist_6_limit)
CASE("int64.ist-upper", "the gate's last doubleword is ignored", "SDM 3, 6.14.1", L0, "", "int $0x80",
     REPORTS(TOP - 40), .before = ist_upper)
CASE("int64.rsp0", "without IST an inner ring's stack is RSP0", "SDM 3, 6.14.4", L3, "", "int $0x80", REPORTS(SP0 - 40),
     .before = rsp0_used)
CASE("int64.rsp0-unaligned", "aligned as well", "SDM 3, 6.14.2", L3, "", "int $0x80", REPORTS(SP0 - 40),
     .before = rsp0_unaligned)
CASE("int64.rsp0-canonical", "not canonical: #SS(0)", "SDM 2, INT n", L3, "", "int $0x80", SS(0),
     .before = rsp0_bad_int)
CASE("int64.rsp0-canonical-ext", "with EXT when a fault was delivered", "SDM 3, 6.13", L3, "", "ud2", SS(1),
     .before = rsp0_bad_ud)
CASE("int64.rsp0-absent", "absent: a page fault at INT", "SDM 3, 6.14.4", L3, "", "int $0x80",
     PAGE_FAULT(2, A_HOLE + 0x7f8), .before = rsp0_absent_int, .after = rsp_kept)
CASE("int64.rsp1-limit", "a TSS that ends within RSP1: #TS(TSS)", "SDM 2, INT n", L3, "", "int $0x80", TS(0x58),
     .before = rsp1_limit)
CASE("int64.old-rsp", "RSP is pushed as it was", "SDM 3, 6.14.2", L0, "sub $3, %rsp", "int $0x80",
     REPORTS(STACK_TOP - 3), .before = int_old_rsp)
CASE("int64.old-ss", "and SS, within a ring too", "SDM 3, 6.14.2", L0, "", "int $0x80", REPORTS(DS64),
     .before = int_old_ss)
CASE("int64.ss-null", "SS becomes null when the ring changes", "SDM 3, 6.14.4", L3, "", "int $0x80", REPORTS(0),
     .before = int_ss)
CASE("int64.ss-kept", "and stays when it does not", "SDM 3, 6.14.4", L0, "", "int $0x80", REPORTS(DS64),
     .before = int_ss)
CASE("int64.pushed-flags", "INT pushes RFLAGS without RF", "SDM 3, 18.3.1.1", L0, "stc", "int $0x80", REPORTS(3),
     .before = int_flags)
CASE("int64.pushed-rf", "a fault pushes them with RF", "SDM 3, 18.3.1.1", L0, "stc", "ud2", REPORTS(0x10003),
     .before = ud_flags)
CASE("int64.own-flags", "IF, TF, NT and RF are clear behind an interrupt gate", "SDM 3, 6.12.1.3", L0, "", "int $0x80",
     REPORTS(2), .before = int_own_flags)
CASE("int64.trap-gate", "a trap gate leaves IF", "SDM 3, 6.12.1.3", L0, "", "int $0x80", REPORTS(0x202),
     .before = trap_own_flags)
CASE("int64.error", "error codes are pushed in eight bytes", "SDM 3, 6.14.2", L0, "mov $0xf8, %eax", "mov %ax, %es",
     REPORTS(0xf8), .before = gp_error)
CASE("int64.error-rip", "below the frame", "SDM 3, 6.14.2", L0, "mov $0xf8, %eax", "mov %ax, %es", REPORTS(A_CODE + 5),
     .before = gp_error_rip)
CASE("int64.absent", "an absent gate is #NP(vector * 8 + 2)", "SDM 2, INT n", L3, "", "int $0x80", NP(0x402),
     .before = int_absent)
CASE("int64.absent-dpl", "DPL comes before presence", "SDM 2, INT n", L3, "", "int $0x80", GP(0x402),
     .before = int_absent_dpl)
CASE("int64.type-0", "a gate of type 0 is #GP(vector * 8 + 2)", "SDM 3, 6.14.1", L0, "", "int $0x80", GP(0x402),
     .before = int_type_0)
CASE("int64.type-16", "so is a 16-bit one", "SDM 3, 6.14.1", L0, "", "int $0x80", GP(0x402), .before = int_16)
CASE("int64.type-call", "and a call gate", "SDM 3, 6.14.1", L0, "", "int $0x80", GP(0x402), .before = int_call_gate)
CASE("int64.null", "a null target is #GP(0)", "SDM 2, INT n", L0, "", "int $0x80", GP(0), .before = int_null)
CASE("int64.data", "data is #GP(target)", "SDM 2, INT n", L0, "", "int $0x80", GP(DS64), .before = int_data)
CASE("int64.outer", "an outer ring is #GP(target)", "SDM 2, INT n", L0, "", "int $0x80", GP(0x40), .before = int_outer)
CASE("int64.target-absent", "an absent target is #NP(target)", "SDM 2, INT n", L0, "", "int $0x80", NP(S_T1),
     .before = int_target_absent)
CASE("int64.target-l-d", "L with D is #GP(target)", "SDM 3, 6.14.1", L0, "", "int $0x80", GP(S_T1),
     .before = int_target_l_d)
CASE("int64.offset", "an offset that is not canonical is #GP(0)", "SDM 2, INT n", L0, "", "int $0x80", GP(0),
     .before = int_bad_offset)
CASE("int64.conforming", "a conforming target keeps the ring", "SDM 3, 6.12.1.1", L3, "", "int $0x80",
     REPORTS(S_T1 + 3), .before = int_conforming)
CASE("int64.limit", "a gate of which one byte is beyond the IDT's limit is #GP(vector * 8 + 2)", "SDM 2, INT n", L0, "",
     "int $0x80", GP(0x402), .before = int_limit)
CASE("int64.limit-fits", "one that ends at it is there", "SDM 2, INT n", L0, "", "int $0x80", TRAP(0x80),
     .before = int_limit_fits)
CASE("int64.limit-order", "the limit comes before the DPL", "SDM 2, INT n", L3, "", "int $0x81", GP(0x40a),
     .before = int_limit_fits)
CASE("int64.int1", "INT1 does not look at the DPL", "SDM 2, INT n", L3, "", ".byte 0xf1", TRAP(1))
CASE("int64.int-3-long", "CD 03 is INT 3", "SDM 2, INT n", L3, "", ".byte 0xcd, 3", TRAP(3))
CASE("int64.int-high", "INT n of an exception with an error code pushes none", "SDM 3, 6.4.2", L0, "mov $7, %eax",
     "int $13", REPORTS(A_CODE + 7), .before = gp_error)
CASE("fault64.ext-idt", "an absent gate of a fault: #NP with EXT", "SDM 3, 6.13", L0, "", "ud2", NP(6 * 8 + 3),
     .before = ud_absent)
CASE("fault64.ext-null", "a null target: #GP(EXT)", "SDM 3, 6.13", L0, "", "ud2", GP(1), .before = ud_null)
CASE("fault64.ext-target", "an absent target: #NP(target + EXT)", "SDM 3, 6.13", L0, "", "ud2", NP(S_T1 + 1),
     .before = ud_target_absent)
CASE("fault64.double-de", "#DE and #NP are a double fault", "SDM 3, table 6-5", L0, "xor %ecx, %ecx", "div %ecx",
     DOUBLE, .before = de_absent)
CASE("fault64.double-pf-np", "a page fault and #NP", "SDM 3, table 6-5", L0, "mov $A_HOLE, %ecx", "mov (%rcx), %eax",
     DOUBLE, .before = pf_absent)
CASE("fault64.double-pf-pf", "two page faults", "SDM 3, table 6-5", L0, "mov $A_HOLE, %ecx", "mov (%rcx), %eax", DOUBLE,
     .before = pf_on_pf)
CASE("fault64.double-gp-pf", "#GP and a page fault are served one after the other", "SDM 3, table 6-5", L0,
     "mov $0xf8, %eax", "mov %ax, %es", PAGE_FAULT(2, A_HOLE + 0x7f8), .before = gp_absent_then_pf)
CASE("fault64.int-np-pf", "so is a page fault behind #NP of INT n", "SDM 3, table 6-5", L3, "", "int $0x80",
     PAGE_FAULT(2, A_HOLE + 0x7f8), .before = pf_on_np)
CASE("fault64.ud-pf", "and one behind #UD", "SDM 3, table 6-5", L3, "", "ud2", PAGE_FAULT(2, A_HOLE + 0x7f8),
     .before = pf_on_ud)
AFTER(cr2_second, cpus[0].cr2 == A_HOLE + 0x7f8)
CASE("fault64.double-cr2", "CR2 is that of the second page fault", "SDM 3, 6.15 (#DF)", L0, "mov $A_HOLE+0x123, %ecx",
     "mov (%rcx), %eax", DOUBLE, .before = pf_on_pf, .after = cr2_second)

AFTER(in_ring1, f->cs == S_T1 + 1 && f->ss == 0)
#define IRET_FRAME(ss, rsp, flags, cs, rip) "push $" ss "\n push $" rsp "\n push $" flags "\n push $" cs "\n" rip
#define RIP_1                               "lea 1f(%rip), %rax\n push %rax\n"
#define OUTER(flags)                        IRET_FRAME("S_UDS", "STACK_TOP", flags, "S_UCS64", RIP_1)
CASE("iret64.outer", "IRET to ring 3", "SDM 2, IRET", L0, OUTER("2"), "iretq\n 1: mov %cs, %eax", VALUE(UCS64),
     .before = user_pages)
CASE("iret64.to-compat", "to compatibility mode", "SDM 2, IRET", L0,
     IRET_FRAME("S_UDS", "STACK_TOP", "2", "S_UCS32", RIP_1) "mov $0, %eax", "iretq\n 1: .byte 0x40", VALUE(1),
     .before = user_pages)
CASE("iret64.32", "IRETD pops doublewords, SS and ESP too", "SDM 2, IRET", L0,
     "lea 1f(%rip), %rax\n sub $24, %rsp\n mov %eax, (%rsp)\n movl $S_CS64, 4(%rsp)\n movl $2, 8(%rsp)\n movl "
     "$STACK_TOP, 12(%rsp)\n"
     "movl $S_DS64, 16(%rsp)",
     "iretl\n 1: mov %rsp, %rax", VALUE(STACK_TOP))
CASE("iret64.16", "IRETW pops words", "SDM 2, IRET", L0,
     "sub $16, %rsp\n movw $0x1000, (%rsp)\n movw $S_T1, 2(%rsp)\n movw $2, 4(%rsp)\n movw $0x500, 6(%rsp)\n movw "
     "$S_DS64, 8(%rsp)",
     "iretw", .vector = 14, .error = 0x10, .at = AT_ANY, .check_cr2 = true, .address = 0x60001000,
     .t1 = SEGMENT(0x60000000, 0xfffff, 0xc09a))
CASE("iret64.null-cs", "a null CS is #GP(0)", "SDM 2, IRET", L0, IRET_FRAME("S_DS64", "STACK_TOP", "2", "0", RIP_1),
     "iretq\n 1:", GP(0))
CASE("iret64.data", "data is #GP(CS)", "SDM 2, IRET", L0, IRET_FRAME("S_DS64", "STACK_TOP", "2", "S_DS64", RIP_1),
     "iretq\n 1:", GP(0x10))
CASE("iret64.beyond", "a CS beyond the GDT is #GP(CS)", "SDM 2, IRET", L0,
     IRET_FRAME("S_DS64", "STACK_TOP", "2", "0xf8", RIP_1), "iretq\n 1:", GP(0xf8))
CASE("iret64.system", "a TSS is #GP(CS)", "SDM 2, IRET", L0, IRET_FRAME("S_DS64", "STACK_TOP", "2", "S_TSS", RIP_1),
     "iretq\n 1:", GP(0x58))
CASE("iret64.inner", "an inner ring is #GP(CS)", "SDM 2, IRET", L3,
     IRET_FRAME("S_DS64", "STACK_TOP", "2", "S_CS64", RIP_1), "iretq\n 1:", GP(8))
CASE("iret64.rpl-dpl", "DPL must be RPL", "SDM 2, IRET", L0, IRET_FRAME("S_UDS", "STACK_TOP", "2", "S_CS64+3", RIP_1),
     "iretq\n 1:", GP(8))
CASE("iret64.conforming-dpl", "DPL of a conforming segment must not be above RPL", "SDM 2, IRET", L0,
     IRET_FRAME("S_DS64", "STACK_TOP", "2", "S_T1", RIP_1), "iretq\n 1:", GP(S_T1), .t1 = CODE64(3) | 4ull << 40)
CASE("iret64.absent", "an absent CS is #NP(CS)", "SDM 2, IRET", L0,
     IRET_FRAME("S_DS64", "STACK_TOP", "2", "S_T1", RIP_1), "iretq\n 1:", NP(S_T1), .t1 = CODE64(0) & ~(0x80ull << 40))
CASE("iret64.l-d", "L with D is #GP(CS)", "SDM 2, IRET", L0, IRET_FRAME("S_DS64", "STACK_TOP", "2", "S_T1", RIP_1),
     "iretq\n 1:", GP(S_T1), .t1 = CODE64(0) | 0x40ull << 48)
CASE("iret64.compat-limit", "EIP beyond the limit of a 32-bit segment is #GP(0)", "SDM 2, IRET", L0,
     IRET_FRAME("S_DS64", "STACK_TOP", "2", "S_T1", "push $0x1000\n"), "iretq", GP(0), .t1 = SEGMENT(0, 0xfff, 0x409a))
CASE("iret64.ss-rpl", "SS's RPL must be CS's: #GP(SS)", "SDM 2, IRET", L0,
     IRET_FRAME("S_UDS-1", "STACK_TOP", "2", "S_UCS64", RIP_1), "iretq\n 1:", GP(0x38))
CASE("iret64.ss-dpl", "and DPL", "SDM 2, IRET", L0, IRET_FRAME("S_DS64+3", "STACK_TOP", "2", "S_UCS64", RIP_1),
     "iretq\n 1:", GP(0x10))
CASE("iret64.ss-same-ring", "within the ring too", "SDM 2, IRET", L0,
     IRET_FRAME("S_UDS", "STACK_TOP", "2", "S_CS64", RIP_1), "iretq\n 1:", GP(0x38))
CASE("iret64.ss-read-only", "SS must be writable", "SDM 2, IRET", L0,
     IRET_FRAME("S_T1", "STACK_TOP", "2", "S_CS64", RIP_1), "iretq\n 1:", GP(S_T1), .t1 = SEGMENT(0, 0xfffff, 0xc090))
CASE("iret64.ss-code", "code is #GP(SS)", "SDM 2, IRET", L0, IRET_FRAME("S_CS64", "STACK_TOP", "2", "S_CS64", RIP_1),
     "iretq\n 1:", GP(8))
CASE("iret64.ss-absent", "an absent one is #SS(SS)", "SDM 2, IRET", L0,
     IRET_FRAME("S_T1", "STACK_TOP", "2", "S_CS64", RIP_1), "iretq\n 1:", SS(S_T1), .t1 = DATA32(0) & ~(0x80ull << 40))
CASE("iret64.order", "CS is checked before SS", "SDM 2, IRET", L0,
     IRET_FRAME("0xf8", "STACK_TOP", "2", "S_DS64", RIP_1), "iretq\n 1:", GP(0x10))
CASE("iret64.ss-null-1", "to ring 1 with a null SS of RPL 1", "SDM 2, IRET", L0,
     IRET_FRAME("1", "STACK_TOP", "2", "S_T1+1", RIP_1), "iretq\n 1: mov %ss, %eax", VALUE(1), .t1 = CODE64(1))
CASE("iret64.ss-null-rpl", "of RPL 0: the ring is CS's", "SDM 2, IRET", L0,
     IRET_FRAME("0", "STACK_TOP", "2", "S_T1+1", RIP_1), "iretq\n 1: mov %cr0, %rax", .vector = 13, .error = 0,
     .at = AT_ANY, .t1 = CODE64(1), .after = in_ring1)
CASE("iret64.ring1-int", "an interrupt in ring 1 pushes it", "SDM 3, 6.14.4", L0,
     IRET_FRAME("1", "STACK_TOP", "2", "S_T1+1", RIP_1), "iretq\n 1: int $0x80", REPORTS(1), .t1 = CODE64(1),
     .before = int_old_ss)
AFTER(frame_kept, f->rsp == STACK_TOP - 40)
CASE("iret64.fault-rsp", "an IRET that faults leaves RSP", "SDM 3, 6.5", L0,
     IRET_FRAME("S_DS64", "0", "2", "0xf8", RIP_1), "iretq\n 1:", GP(0xf8), .after = frame_kept)
CASE("iret64.pop-fault", "a page fault of a pop comes before the checks", "SDM 3, table 6-2", L0,
     "mov $A_AREA+0xff0, %esp", "iretq", PAGE_FAULT(0, A_AREA + PAGE))
CASE("iret64.flags", "in ring 0 IRET loads all flags", "SDM 2, IRET", L0,
     IRET_FRAME("S_DS64", "STACK_TOP", "0x3c7ed7&~0x20000", "S_CS64", RIP_1),
     "iretq\n 1: pushfq\n pop %rax\n push $2\n popfq", VALUE(0x3c7ed7 & ~0x20000))
CASE("iret64.flags-3", "in ring 3 neither IOPL nor IF", "SDM 2, IRET", L3,
     IRET_FRAME("S_UDS", "STACK_TOP", "0x3203", "S_UCS64", RIP_1), "iretq\n 1: pushfq\n pop %rax", VALUE(3))
CASE("iret64.flags-vip", "nor VIF and VIP", "SDM 2, IRET", L3,
     IRET_FRAME("S_UDS", "STACK_TOP", "0x180003", "S_UCS64", RIP_1), "iretq\n 1: pushfq\n pop %rax", VALUE(3))
CASE("iret64.reserved", "reserved bits of the image mean nothing", "SDM 2, IRET", L0,
     "push $S_DS64\n push $STACK_TOP\n movabs $0xffffffffffc08028, %rax\n push %rax\n push $S_CS64\n" RIP_1,
     "iretq\n 1: pushfq\n pop %rax", VALUE(2))
CASE("iret64.fs-dropped", "FS of ring 0 becomes null on the way to ring 3", "SDM 2, IRET", L0,
     "mov $S_DS64, %eax\n mov %ax, %fs\n" OUTER("2"), "iretq\n 1: mov %fs, %eax", VALUE(0), .before = user_pages)
CASE("iret64.fs-kept", "one of DPL 3 stays", "SDM 2, IRET", L0, "mov $S_UDS, %eax\n mov %ax, %fs\n" OUTER("2"),
     "iretq\n 1: mov %fs, %eax", VALUE(UDS), .before = user_pages)
CASE("iret64.tf", "TF in the image traps behind the next instruction", "SDM 3, 18.3.1.4", L0,
     IRET_FRAME("S_DS64", "STACK_TOP", "0x102", "S_CS64", RIP_1), "iretq\n 1: nop", TRAP(1))
CASE("iret64.compat-same", "in compatibility mode IRET within the ring pops three", "SDM 2, IRET", C0,
     "push $2\n push $S_CS32\n push $1f - case_code_here + A_CODE", "iret\n 1: mov %esp, %eax", VALUE(STACK_TOP))
CASE("iret64.compat-outer", "to an outer ring five", "SDM 2, IRET", C0,
     "push $S_UDS\n push $STACK_TOP-0x100\n push $2\n push $S_UCS32\n push $1f - case_code_here + A_CODE",
     "iret\n 1: mov %esp, %eax", VALUE(STACK_TOP - 0x100), .before = user_pages)
CASE("iret64.compat-to-64", "from compatibility mode to 64-bit code", "SDM 2, IRET", C0,
     "push $2\n push $S_CS64\n push $1f - case_code_here + A_CODE", "iret\n 1: .byte 0x48, 0xc7, 0xc0, 7, 0, 0, 0",
     VALUE(7))
CASE("iret64.compat-vm", "VM in the image does not lead to virtual-8086 mode", "SDM 2, IRET", C0,
     "push $0x20002\n push $S_CS32\n push $1f - case_code_here + A_CODE", "iret\n 1: mov %cs, %eax", VALUE(CS32))
