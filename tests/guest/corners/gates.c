/* Far transfers: JMP, CALL and RET between segments and rings, call gates, interrupt gates, INT n and IRET, with every
 * fault in order. */

#include "check.h"

enum { CODE_XO = 0xc098, CODE_XR = 0xc09a, CODE_CONF = 0xc09e, DPL1 = 0x20, DPL3 = 0x60, GATE32 = 0x8c, GATE16 = 0x84 };
#define FLAT(attributes) SEGMENT(0, 0xfffff, attributes)

/* --- far JMP --- */

CASE("jmp.null", "a far jump to a null selector is #GP(0)", "SDM 2, JMP", R0, "", "ljmp $3, $0", GP(0))
CASE("jmp.beyond", "beyond the GDT: #GP(selector)", "SDM 2, JMP", R0, "", "ljmp $S_END, $0", GP(S_END))
CASE("jmp.data", "to a data segment: #GP(selector)", "SDM 2, JMP", R0, "", "ljmp $S_DATA, $0", GP(S_DATA))
CASE("jmp.absent", "to an absent code segment: #NP(selector)", "SDM 2, JMP", R0, "", "ljmp $S_T1, $0", NP(S_T1),
     .t1 = FLAT(CODE_XR & ~0x80))
CASE("jmp.absent-dpl", "privilege comes before presence", "SDM 2, JMP", R0, "", "ljmp $S_T1, $0", GP(S_T1),
     .t1 = FLAT((CODE_XR & ~0x80) | DPL3))
CASE("jmp.limit", "an offset beyond the new segment's limit: #GP(0)", "SDM 2, JMP", R0, "", "ljmp $S_T1, $0x1000",
     GP(0), .t1 = SEGMENT(0, 0xfff, 0x409a))
CASE("jmp.dpl-above", "a segment that does not conform needs DPL = CPL", "SDM 2, JMP", R3, "", "ljmp $S_CODE, $0",
     GP(S_CODE))
CASE("jmp.rpl", "RPL above CPL: #GP(selector)", "SDM 2, JMP", R0, "", "ljmp $S_CODE+1, $1f\n1:", GP(S_CODE))
CASE("jmp.rpl-below", "RPL below CPL is fine, and becomes CPL", "SDM 2, JMP", R3, "",
     "ljmp $S_UCODE-3, $1f\n1: mov %cs, %eax", VALUE(S_UCODE))
CASE("jmp.conforming", "a conforming segment of ring 0 is entered from ring 3, at CPL 3", "SDM 3, 5.8.1.2", R3, "",
     "ljmp $S_CONFORMING, $1f\n1: mov %cs, %eax", VALUE(S_CONFORMING + 3))
CASE("jmp.conforming-dpl", "a conforming segment needs DPL <= CPL", "SDM 3, 5.8.1.2", R0, "",
     "ljmp $S_T1, $1f\n1:", GP(S_T1), .t1 = FLAT(CODE_CONF | DPL3))
CASE("jmp.accessed", "the new code segment's accessed bit is set", "SDM 3, 3.4.5.1", R0, "",
     "ljmp $S_T1, $1f\n1: movzbl gdt+S_T1+5, %eax\n ljmp $S_CODE, $2f\n2:", VALUE(0x9b), .t1 = FLAT(CODE_XR))
CASE("jmp.interrupt-gate", "an interrupt gate in the GDT: #GP(selector)", "SDM 2, JMP", R0, "", "ljmp $S_T1, $0",
     GP(S_T1), .t1 = GATE(S_CODE, 0, 0x8e))
CASE("jmp.ldt-descriptor", "an LDT's descriptor: #GP(selector)", "SDM 2, JMP", R0, "", "ljmp $S_LDT, $0", GP(S_LDT))
CASE("jmp.16-bit-offset", "with a 16-bit operand the offset has 16 bits", "SDM 2, JMP", R0, "",
     ".byte 0x66, 0xea, 0, 0x10\n .word S_T1", GP(0), .t1 = SEGMENT(0, 0xfff, 0x409a))
CASE("jmp.memory", "the pointer in memory is read before anything is checked", "SDM 2, JMP", R3,
     "xor %eax, %eax\n mov %ax, %fs", "ljmp *%fs:0", GP(0))

/* --- call gates --- */

SNIPPET(gate_target, R0, "mov (%esp), %eax\n")
SNIPPET(gate_parameters, R0, "mov 12(%esp), %eax\n shl $16, %eax\n add 8(%esp), %eax\n")
SNIPPET(gate_esp, R0, "mov %esp, %eax\n")
SNIPPET(gate_return, R0, "lret $8\n")
SNIPPET(gate_stack, R0, "mov 16(%esp), %eax\n sub $A_STACK, %eax\n shl $16, %eax\n mov 20(%esp), %ax\n")
SNIPPET(gate_cs, R0, "mov 4(%esp), %eax\n shl $16, %eax\n mov %cs, %ax\n")
SNIPPET(gate_16, R0, "mov 2(%esp), %eax\n") /* CS, then the parameter above */
SNIPPET(gate_flags, R0, "pushf\n pop %eax\n")
#define TO(code, type) GATE(S_CODE, &(code), (type) | DPL3)

static void gate_to(const u8 *code, u32 attributes, unsigned parameters)
{
    set_gdt(S_T1, GATE_N(S_CODE, code, attributes, parameters));
}
BEFORE(to_target, gate_to(gate_target, GATE32 | DPL3, 0))
BEFORE(to_target_dpl0, gate_to(gate_target, GATE32, 0))
BEFORE(to_parameters, gate_to(gate_parameters, GATE32 | DPL3, 2))
BEFORE(to_esp, gate_to(gate_esp, GATE32 | DPL3, 31))
BEFORE(to_esp16, gate_to(gate_esp, GATE16 | DPL3, 3); set_gdt(S_CODE, 0x00cf9b000000ffff); /* a 16-bit offset */
       memcpy(mem32(0x9000), gate_esp, (size_t)(gate_esp_end - gate_esp));
       set_gdt(S_T1, GATE_N(S_CODE, 0x9000, GATE16 | DPL3, 3)))
BEFORE(to_return, gate_to(gate_return, GATE32 | DPL3, 2))
BEFORE(to_stack, gate_to(gate_stack, GATE32 | DPL3, 2))
BEFORE(to_cs, gate_to(gate_cs, GATE32 | DPL3, 0))
BEFORE(to_flags, gate_to(gate_flags, GATE32 | DPL3, 0))
BEFORE(to_target16, memcpy(mem32(0x9000), gate_16, (size_t)(gate_16_end - gate_16));
       set_gdt(S_T1, GATE_N(S_CODE, 0x9000, GATE16 | DPL3, 1)))
BEFORE(to_absent, gate_to(gate_target, (GATE32 & ~0x80) | DPL3, 0))
BEFORE(to_null, set_gdt(S_T1, GATE(0, gate_target, GATE32 | DPL3)))
BEFORE(to_null_rpl, set_gdt(S_T1, GATE(3, gate_target, GATE32 | DPL3)))
BEFORE(to_data, set_gdt(S_T1, GATE(S_DATA, gate_target, GATE32 | DPL3)))
BEFORE(to_beyond, set_gdt(S_T1, GATE(S_END, gate_target, GATE32 | DPL3)))
BEFORE(to_absent_code, set_gdt(S_T1, GATE(S_T2, gate_target, GATE32 | DPL3)))
BEFORE(to_user_code, set_gdt(S_T1, GATE(S_UCODE, gate_target, GATE32 | DPL3)))
BEFORE(to_conforming, set_gdt(S_T1, GATE(S_CONFORMING, gate_cs, GATE32 | DPL3)))
BEFORE(to_ring1, set_gdt(S_T1, GATE(S_CODE1, gate_cs, GATE32 | DPL3)))
BEFORE(to_rpl, set_gdt(S_T1, GATE(S_CODE + 3, gate_cs, GATE32 | DPL3)))
BEFORE(ss1_null, to_ring1(f); tss.ss1 = 0)
BEFORE(ss1_rpl, to_ring1(f); tss.ss1 = S_DATA1 + 1)
BEFORE(ss1_dpl, to_ring1(f); tss.ss1 = S_UDATA - 2)
BEFORE(ss1_code, to_ring1(f); tss.ss1 = S_CODE1)
BEFORE(ss1_read_only, to_ring1(f); tss.ss1 = S_T2 + 1)
BEFORE(ss1_beyond, to_ring1(f); tss.ss1 = S_END + 1)
BEFORE(ss1_small, to_ring1(f); tss.ss1 = S_T2 + 1; tss.esp1 = 0x10d)
BEFORE(ss1_small_parameters, set_gdt(S_T1, GATE_N(S_CODE1, gate_cs, GATE32 | DPL3, 2)); tss.ss1 = S_T2 + 1;
       tss.esp1 = 0x10c)
BEFORE(esp1_absent, to_ring1(f); tss.esp1 = A_WINDOW + 0x1000)
BEFORE(tss_short, to_ring1(f); set_gdt(S_TSS, SEGMENT(&tss, 0xf, 0x89)); __asm__ volatile("ltr %w0" : : "r"(S_TSS)))
BEFORE(target_limit, set_gdt(S_T1, GATE(S_T2, 0x1000, GATE32 | DPL3)))

static bool in_ring0(const Frame *f)
{
    return (f->cs & 3) == 0 && (f->ss & 3) == 0;
}
static bool esp_moved(const Frame *f)
{
    return f->esp == A_STACK_TRAP - 4 * 4 - 31 * 4 && f->ss == S_DATA;
}
static bool esp_moved16(const Frame *f)
{
    return f->esp == A_STACK_TRAP - 4 * 2 - 3 * 2;
}
#define ENDS_AT(label) .vector = 3, .at = AT_ANY, .check_ax = true, .ax = (label)

CASE("gate.same-ring", "a call gate to the same ring pushes EIP and CS", "SDM 3, 5.8.4", R0, "", "lcall $S_T1, $0",
     LANDS, .before = to_cs, .check_ax = true, .ax = S_CODE << 16 | S_CODE)
CASE("gate.inner-ring", "a call gate to ring 0 changes CPL and stack", "SDM 3, 5.8.5", R3, "", "lcall $S_T1, $0", LANDS,
     .before = to_target, .after = in_ring0)
CASE("gate.saves-cs", "the caller's CS is pushed", "SDM 3, 5.8.5", R3, "", "lcall $S_T1, $0", LANDS, .before = to_cs,
     .check_ax = true, .ax = (u32)S_UCODE << 16 | S_CODE)
CASE("gate.parameters", "parameters are copied, in order", "SDM 3, 5.8.5", R3, "push $0x1111\n push $0x2222",
     "lcall $S_T1, $0", LANDS, .before = to_parameters, .check_ax = true, .ax = 0x11112222)
CASE("gate.parameters-31", "up to 31 of them", "SDM 3, 5.8.5", R3, "sub $124, %esp", "lcall $S_T1, $0", LANDS,
     .before = to_esp, .after = esp_moved)
CASE("gate.parameters-16", "a 16-bit gate counts words", "SDM 3, 5.8.5", R3, "", "lcall $S_T1, $0", LANDS,
     .before = to_esp16, .after = esp_moved16)
CASE("gate.word-parameter", "and copies words", "SDM 3, 5.8.5", R3, "push $0x12345678", "lcall $S_T1, $0", LANDS,
     .before = to_target16, .check_ax = true, .ax = 0x5678 << 16 | S_UCODE)
CASE("gate.caller-stack", "the caller's ESP and SS lie above the parameters", "SDM 3, 5.8.5", R3,
     "push $1\n push $2\n add $8, %esp", "lcall $S_T1, $0", LANDS, .before = to_stack, .check_ax = true, .ax = S_UDATA)
CASE("gate.flags", "flags do not change", "SDM 3, 5.8.5", R3, "stc", "lcall $S_T1, $0", LANDS, .before = to_flags,
     .check_ax = true, .ax = 0x47 & ~0x44)
CASE("gate.offset-ignored", "the offset of the instruction is ignored", "SDM 3, 5.8.3", R3, "",
     "lcall $S_T1, $0xffffffff", LANDS, .before = to_target, .after = in_ring0)
CASE("gate.returns", "RET n releases parameters on both stacks", "SDM 3, 5.8.6", R3, "push $1\n push $2",
     "lcall $S_T1, $0\n mov %esp, %eax", VALUE(A_STACK), .before = to_return)
CASE("gate.dpl", "the gate's DPL is checked against CPL", "SDM 3, 5.8.4", R3, "", "lcall $S_T1, $0", GP(S_T1),
     .before = to_target_dpl0)
CASE("gate.rpl", "and against RPL", "SDM 3, 5.8.4", R0, "", "lcall $S_T1+3, $0", GP(S_T1), .before = to_target_dpl0)
CASE("gate.absent", "an absent gate is #NP(gate)", "SDM 2, CALL", R3, "", "lcall $S_T1, $0", NP(S_T1),
     .before = to_absent)
CASE("gate.null-target", "a gate with a null selector is #GP(0)", "SDM 2, CALL", R3, "", "lcall $S_T1, $0", GP(0),
     .before = to_null)
CASE("gate.null-target-rpl", "whatever its RPL", "SDM 2, CALL", R3, "", "lcall $S_T1, $0", GP(0), .before = to_null_rpl)
CASE("gate.data-target", "a gate to a data segment is #GP(target)", "SDM 2, CALL", R3, "", "lcall $S_T1, $0",
     GP(S_DATA), .before = to_data)
CASE("gate.target-beyond", "a gate to beyond the GDT is #GP(target)", "SDM 2, CALL", R3, "", "lcall $S_T1, $0",
     GP(S_END), .before = to_beyond)
CASE("gate.target-absent", "a gate to an absent segment is #NP(target)", "SDM 2, CALL", R3, "", "lcall $S_T1, $0",
     NP(S_T2), .before = to_absent_code, .t2 = FLAT(CODE_XR & ~0x80))
CASE("gate.target-outer", "a gate to an outer ring is #GP(target)", "SDM 2, CALL", R0, "", "lcall $S_T1, $0",
     GP(S_UCODE & ~3), .before = to_user_code)
CASE("gate.conforming", "a gate to a conforming segment keeps CPL and stack", "SDM 3, 5.8.4", R3, "", "lcall $S_T1, $0",
     LANDS, .before = to_conforming, .check_ax = true, .ax = (u32)S_UCODE << 16 | (S_CONFORMING + 3))
CASE("gate.ring1", "a gate to ring 1 takes its stack", "SDM 3, 5.8.5", R3, "", "lcall $S_T1, $0", LANDS,
     .before = to_ring1, .check_ax = true, .ax = (u32)S_UCODE << 16 | S_CODE1)
CASE("gate.rpl-ignored", "the RPL of the selector in the gate is ignored", "SDM 3, 5.8.3", R3, "", "lcall $S_T1, $0",
     LANDS, .before = to_rpl, .check_ax = true, .ax = (u32)S_UCODE << 16 | S_CODE)
CASE("gate.jmp-inner", "JMP by a gate cannot change the ring", "SDM 3, 5.8.4", R3, "", "ljmp $S_T1, $0", GP(S_CODE),
     .before = to_target)
CASE("gate.jmp-same", "JMP by a gate within a ring pushes nothing", "SDM 3, 5.8.4", R0, "push $0x4321",
     "ljmp $S_T1, $0", LANDS, .before = to_target, .check_ax = true, .ax = 0x4321)
CASE("gate.jmp-conforming", "JMP by a gate to a conforming segment of ring 0 keeps CPL", "SDM 3, 5.8.4", R3,
     "push $0x66\n push $0", "ljmp $S_T1, $0", LANDS, .before = to_conforming, .check_ax = true,
     .ax = 0x66 << 16 | (S_CONFORMING + 3))
CASE("gate.target-limit", "an offset beyond the target's limit is #GP(0)", "SDM 2, CALL", R3, "", "lcall $S_T1, $0",
     GP(0), .before = target_limit, .t2 = SEGMENT(0, 0xfff, 0x409a))
CASE("gate.ss1-null", "a null SS1 is #TS(0)", "SDM 2, CALL", R3, "", "lcall $S_T1, $0", TS(0), .before = ss1_null)
CASE("gate.ss1-rpl", "RPL of SS1 other than the new CPL: #TS(SS1)", "SDM 2, CALL", R3, "", "lcall $S_T1, $0",
     TS(S_DATA1 & ~3), .before = ss1_rpl)
CASE("gate.ss1-dpl", "DPL of SS1 other than the new CPL: #TS(SS1)", "SDM 2, CALL", R3, "", "lcall $S_T1, $0",
     TS(S_UDATA - 3), .before = ss1_dpl)
CASE("gate.ss1-code", "SS1 of a code segment: #TS(SS1)", "SDM 2, CALL", R3, "", "lcall $S_T1, $0", TS(S_CODE1 & ~3),
     .before = ss1_code)
CASE("gate.ss1-read-only", "read-only SS1: #TS(SS1)", "SDM 2, CALL", R3, "", "lcall $S_T1, $0", TS(S_T2),
     .before = ss1_read_only, .t2 = FLAT(0xc0b0))
CASE("gate.ss1-beyond", "SS1 beyond the GDT: #TS(SS1)", "SDM 2, CALL", R3, "", "lcall $S_T1, $0", TS(S_END),
     .before = ss1_beyond)
CASE("gate.ss1-absent", "absent SS1: #SS(SS1)", "SDM 2, CALL", R3, "", "lcall $S_T1, $0", SS(S_T2),
     .before = ss1_read_only, .t2 = FLAT(0xc032))
CASE("gate.ss1-limit", "no room on the new stack: #SS(SS1)", "SDM 2, CALL", R3, "", "lcall $S_T1, $0", SS(S_T2),
     .before = ss1_small, .t2 = SEGMENT(A_AREA, 0xff, 0x40b2))
CASE("gate.ss1-limit-parameters", "no room for the parameters: #SS(SS1)", "SDM 2, CALL", R3, "", "lcall $S_T1, $0",
     SS(S_T2), .before = ss1_small_parameters, .t2 = SEGMENT(A_AREA, 0xff, 0x40b2))
CASE("gate.esp1-page-fault", "a page fault on the new stack is taken with the old state, as a supervisor's write",
     "SDM 3, 4.7", R3, "", "lcall $S_T1, $0", PAGE_FAULT(2, A_WINDOW + 0xffc), .before = esp1_absent)
CASE("gate.tss-short", "a TSS too short for SS1 is #TS(TSS)", "SDM 2, CALL", R3, "", "lcall $S_T1, $0", TS(S_TSS),
     .before = tss_short)

/* --- RET --- */

CASE("retf.same-ring", "RETF within the ring", "SDM 2, RET", R0, "push $S_CODE\n push $1f", "lret\n 1: mov %esp, %eax",
     VALUE(A_STACK))
CASE("retf.null", "RETF to a null CS is #GP(0)", "SDM 2, RET", R0, "push $3\n push $0", "lret", GP(0))
CASE("retf.data", "RETF to a data segment is #GP(selector)", "SDM 2, RET", R0, "push $S_DATA\n push $0", "lret",
     GP(S_DATA))
CASE("retf.inner", "RETF to an inner ring is #GP(selector)", "SDM 2, RET", R3, "push $S_CODE\n push $0", "lret",
     GP(S_CODE))
CASE("retf.absent", "RETF to an absent segment is #NP(selector)", "SDM 2, RET", R0, "push $S_T1\n push $0", "lret",
     NP(S_T1), .t1 = FLAT(CODE_XR & ~0x80))
CASE("retf.dpl", "RETF to a segment with DPL != RPL is #GP(selector)", "SDM 2, RET", R0, "push $S_CODE+3\n push $0",
     "lret", GP(S_CODE))
CASE("retf.outer", "RETF to ring 3 loads SS:ESP", "SDM 2, RET", R0,
     "push $S_UDATA\n push $A_STACK-0x100\n push $S_UCODE\n push $1f", "lret\n 1: mov %esp, %eax",
     VALUE(A_STACK - 0x100))
CASE("retf.outer-ds", "data segments of ring 0 become null on the way to ring 3", "SDM 2, RET", R0,
     "push $S_UDATA\n push $A_STACK-0x100\n push $S_UCODE\n push $1f\n mov $S_DATA, %ax\n mov %ax, %fs",
     "lret\n 1: mov %fs, %eax", VALUE(0))
CASE("retf.outer-conforming", "conforming code segments stay", "SDM 2, RET", R0,
     "push $S_UDATA\n push $A_STACK-0x100\n push $S_UCODE\n push $1f\n mov $S_CONFORMING, %ax\n mov %ax, %fs",
     "lret\n 1: mov %fs, %eax", VALUE(S_CONFORMING))
CASE("retf.outer-user-ds", "data segments of ring 3 stay", "SDM 2, RET", R0,
     "push $S_UDATA\n push $A_STACK-0x100\n push $S_UCODE\n push $1f\n mov $S_UDATA, %ax\n mov %ax, %fs",
     "lret\n 1: mov %fs, %eax", VALUE(S_UDATA))
CASE("retf.outer-ss-null", "a null SS for ring 3 is #GP(0)", "SDM 2, RET", R0,
     "push $0\n push $A_STACK-0x100\n push $S_UCODE\n push $0", "lret", GP(0))
CASE("retf.outer-ss-rpl", "SS with another RPL than CS: #GP(SS)", "SDM 2, RET", R0,
     "push $S_UDATA-1\n push $A_STACK-0x100\n push $S_UCODE\n push $0", "lret", GP(S_UDATA - 3))
CASE("retf.outer-ss-dpl", "SS with DPL other than CS's RPL: #GP(SS)", "SDM 2, RET", R0,
     "push $S_DATA+3\n push $A_STACK-0x100\n push $S_UCODE\n push $0", "lret", GP(S_DATA))
CASE("retf.outer-ss-absent", "absent SS: #SS(SS)", "SDM 2, RET", R0,
     "push $S_T1+3\n push $A_STACK-0x100\n push $S_UCODE\n push $0", "lret", SS(S_T1), .t1 = FLAT(0xc072))
CASE("retf.limit", "EIP beyond the limit: #GP(0)", "SDM 2, RET", R0, "push $S_T1\n push $0x1000", "lret", GP(0),
     .t1 = SEGMENT(0, 0xfff, 0x409a))
CASE("retf.pop-limit", "a pop outside of the stack: #SS(0)", "SDM 2, RET", R3,
     "mov $S_T1+3, %ax\n mov %ax, %ss\n mov $0xfc, %esp", "lret", SS(0), .t1 = SEGMENT(A_AREA, 0xff, 0x40f2))
CASE("ret.limit", "near RET beyond the limit: #GP(0), with ESP as it was", "SDM 2, RET", R0,
     "ljmp $S_T1, $1f\n 1: push $-1\n mov %esp, %eax", "ret", GP(0), .t1 = SEGMENT(0, 0x1ff, 0xc09a), .check_ax = true,
     .ax = A_STACK - 4)

/* --- interrupts --- */

CASE("int.dpl", "INT n through a gate of DPL 0 from ring 3: #GP(vector * 8 + 2)", "SDM 2, INT n", R3, "", "int $0x30",
     GP(0x30 * 8 + 2))
CASE("int.absent", "INT n through an absent gate: #NP(vector * 8 + 2)", "SDM 2, INT n", R0,
     "movl $0, idt+0x31*8+4\n movl $0x0e00, idt+0x31*8+4", "int $0x31", NP(0x31 * 8 + 2))
CASE("int.absent-dpl", "DPL comes before presence", "SDM 2, INT n", R3, "movl $0x0e00, idt+0x31*8+4", "int $0x31",
     GP(0x31 * 8 + 2))
CASE("int.type", "a gate of no known type: #GP(vector * 8 + 2)", "SDM 2, INT n", R0, "movl $0x8c00, idt+0x31*8+4",
     "int $0x31", GP(0x31 * 8 + 2))
CASE("int.null", "a gate with a null selector: #GP(0)", "SDM 2, INT n", R0, "movw $0, idt+0x31*8+2", "int $0x31", GP(0))
CASE("int.data", "a gate to a data segment: #GP(target)", "SDM 2, INT n", R0, "movw $S_DATA, idt+0x31*8+2", "int $0x31",
     GP(S_DATA))
CASE("int.outer", "a gate to an outer ring: #GP(target)", "SDM 2, INT n", R0, "movw $S_UCODE, idt+0x31*8+2",
     "int $0x31", GP(S_UCODE & ~3))
CASE("int.target-absent", "a gate to an absent segment: #NP(target)", "SDM 2, INT n", R0, "movw $S_T1, idt+0x31*8+2",
     "int $0x31", NP(S_T1), .t1 = FLAT(CODE_XR & ~0x80))
CASE("int3.dpl", "INT3 looks at the gate's DPL as well", "SDM 2, INT n", R3, "movw $0x8e00, idt+3*8+4", "int3",
     GP(3 * 8 + 2))
CASE("int1.dpl", "INT1 does not look at the gate's DPL", "SDM 2, INT n", R3, "", ".byte 0xf1", TRAP(1))
CASE("into.taken", "INTO with OF is a trap", "SDM 2, INT n", R3, "movb $0x7f, %al\n addb $1, %al", "into", TRAP(4))
CASE("into.not-taken", "INTO without OF does nothing", "SDM 2, INT n", R3, "xor %eax, %eax", "into", NONE)
CASE("int.ext-hardware", "a fault of a hardware exception's delivery has EXT set", "SDM 3, 6.13", R0,
     "movw $S_T1, idt+6*8+2", "ud2", NP(S_T1 + 1), .t1 = FLAT(CODE_XR & ~0x80))
CASE("int.ext-idt", "and so has one whose own gate is absent", "SDM 3, 6.13", R0, "movl $0x0e00, idt+6*8+4", "ud2",
     NP(6 * 8 + 2 + 1))
CASE("int.ext-de", "a contributory one makes it a double fault", "SDM 3, table 6-5", R0,
     "movl $0x0e00, idt+0*8+4\n xor %ecx, %ecx", "div %ecx", .vector = 8, .at = AT_INSN)
CASE("int.page-fault-second", "a page fault while #GP is delivered is delivered by itself", "SDM 3, table 6-5", R3,
     "movl $A_WINDOW+0x2000, tss+4\n", "hlt", .vector = 8, .at = AT_INSN)
static bool saved_rf(const Frame *f)
{
    return f->eflags & RF;
}
CASE("int.task-gate-rf", "a fault by a task gate saves EFLAGS with RF", "SDM 3, 18.3.1.1", R0,
     "movl $0x00008500, idt+6*8+4\n movw $S_TSS_DF, idt+6*8+2", "ud2", .vector = 8, .any_error = true, .at = AT_ANY,
     .after = saved_rf)
CASE("int.ss0-null", "a null SS0 for an interrupt and for its #TS: a double fault", "SDM 2, INT n", R3,
     "movl $0, tss+8", "int $0x80", .vector = 8, .at = AT_INSN)
CASE("int.trap-gate-if", "a trap gate leaves IF set", "SDM 3, 6.12.1.3", R0,
     "movb $0x8f, idt+0x31*8+5\n movl $1f, %eax\n movw %ax, idt+0x31*8\n shr $16, %eax\n movw %ax, idt+0x31*8+6\n push "
     "$0x202\n popf",
     "int $0x31\n 1: pushf\n pop %eax\n cli\n and $0x200, %eax", VALUE(0x200))
CASE("int.gate-if", "an interrupt gate clears IF", "SDM 3, 6.12.1.3", R0,
     "movl $1f, %eax\n movw %ax, idt+0x31*8\n shr $16, %eax\n movw %ax, idt+0x31*8+6\n push $0x202\n popf",
     "int $0x31\n 1: pushf\n pop %eax\n cli\n and $0x200, %eax", VALUE(0))
CASE("int.gate-tf-nt", "TF, NT and RF are clear in the handler", "SDM 3, 6.12.1.3", R0,
     "movl $1f, %eax\n movw %ax, idt+0x31*8\n shr $16, %eax\n movw %ax, idt+0x31*8+6\n push $0x4002\n popf",
     "int $0x31\n 1: pushf\n pop %eax\n and $0x14100, %eax", VALUE(0))
CASE("int.pushed-nt", "the pushed image has NT", "SDM 3, 6.12.1.3", R0,
     "movl $1f, %eax\n movw %ax, idt+0x31*8\n shr $16, %eax\n movw %ax, idt+0x31*8+6\n push $0x4002\n popf",
     "int $0x31\n 1: mov 8(%esp), %eax", VALUE(0x4002))
CASE("int.16-bit-gate", "a 16-bit gate pushes words", "SDM 3, 6.12.1", R0,
     "movb $0x86, idt+0x31*8+5\n movl $0x9000, idt+0x31*8\n movw $S_CODE, idt+0x31*8+2\n movl $0xccccc389, 0x9000\n "
     "movl $0xcccce089, 0x9000\n mov %esp, %eax",
     "int $0x31", LANDS, .check_ax = true, .ax = A_STACK - 6)
CASE(
    "int.conforming", "a gate to a conforming segment keeps the ring", "SDM 3, 6.12.1.1", R3,
    "movw $S_CONFORMING, idt+0x80*8+2\n movl $1f, %eax\n movw %ax, idt+0x80*8\n shr $16, %eax\n movw %ax, idt+0x80*8+6",
    "int $0x80\n 1: mov %cs, %eax", VALUE(S_CONFORMING + 3))
CASE("int.rf-fault", "a fault pushes EFLAGS with RF", "SDM 3, 18.3.1.1", R0,
     "movl $1f, %eax\n movw %ax, idt+6*8\n shr $16, %eax\n movw %ax, idt+6*8+6",
     "ud2\n 1: mov 8(%esp), %eax\n and $0x10000, %eax", VALUE(RF))
CASE("int.rf-trap", "INT n pushes it without", "SDM 3, 18.3.1.1", R0,
     "movl $1f, %eax\n movw %ax, idt+0x31*8\n shr $16, %eax\n movw %ax, idt+0x31*8+6",
     "int $0x31\n 1: mov 8(%esp), %eax\n and $0x10000, %eax", VALUE(0))

/* --- IRET --- */

CASE("iret.same", "IRET within the ring", "SDM 2, IRET", R0, "push $2\n push $S_CODE\n push $1f",
     "iret\n 1: mov %esp, %eax", VALUE(A_STACK))
CASE("iret.null", "IRET to a null CS is #GP(0)", "SDM 2, IRET", R0, "push $2\n push $0\n push $0", "iret", GP(0))
CASE("iret.data", "IRET to a data segment is #GP(selector)", "SDM 2, IRET", R0, "push $2\n push $S_DATA\n push $0",
     "iret", GP(S_DATA))
CASE("iret.inner", "IRET to an inner ring is #GP(selector)", "SDM 2, IRET", R3, "push $2\n push $S_CODE\n push $0",
     "iret", GP(S_CODE))
CASE("iret.absent", "IRET to an absent segment is #NP(selector)", "SDM 2, IRET", R0, "push $2\n push $S_T1\n push $0",
     "iret", NP(S_T1), .t1 = FLAT(CODE_XR & ~0x80))
CASE("iret.limit", "IRET beyond the limit is #GP(0)", "SDM 2, IRET", R0, "push $2\n push $S_T1\n push $0x1000", "iret",
     GP(0), .t1 = SEGMENT(0, 0xfff, 0x409a))
CASE("iret.outer-null-ss", "IRET to ring 3 with a null SS is #GP(0)", "SDM 2, IRET", R0,
     "push $3\n push $0\n push $2\n push $S_UCODE\n push $0", "iret", GP(0))
CASE("iret.outer-ss-rpl", "SS's RPL must be CS's: #GP(SS)", "SDM 2, IRET", R0,
     "push $S_DATA\n push $0\n push $2\n push $S_UCODE\n push $0", "iret", GP(S_DATA))
CASE("iret.outer-ss-read-only", "SS must be writable: #GP(SS)", "SDM 2, IRET", R0,
     "push $S_T1+3\n push $0\n push $2\n push $S_UCODE\n push $0", "iret", GP(S_T1), .t1 = FLAT(0xc0f0))
CASE("iret.outer-ss-absent", "absent SS: #SS(SS)", "SDM 2, IRET", R0,
     "push $S_T1+3\n push $0\n push $2\n push $S_UCODE\n push $0", "iret", SS(S_T1), .t1 = FLAT(0xc072))
CASE("iret.outer-order", "CS is checked before SS", "SDM 2, IRET", R0,
     "push $0\n push $0\n push $2\n push $S_T1+3\n push $0", "iret", NP(S_T1), .t1 = FLAT(0xc07a))
CASE("iret.outer-ds", "IRET to ring 3 makes DS of ring 0 null", "SDM 2, IRET", R0,
     "push $S_UDATA\n push $A_STACK\n push $2\n push $S_UCODE\n push $1f", "iret\n 1: mov %ds, %eax", VALUE(0))
CASE("iret.16-bit", "a 16-bit IRET pops words", "SDM 2, IRET", R0,
     "movl $0x9000, %ebx\n movl $0xccccccf4, 0x9000\n movb $0xcc, 0x9000\n pushw $2\n pushw $S_CODE\n pushw $0x9000",
     "iretw", LANDS)
CASE("iret.iopl-ring3", "IRET in ring 3 does not change IOPL", "SDM 2, IRET", R3,
     "push $0x3002\n push $S_UCODE\n push $1f", "iret\n 1: pushf\n pop %eax\n and $0x3000, %eax", VALUE(0))
CASE("iret.if-ring3", "nor IF with IOPL 0", "SDM 2, IRET", R3, "push $0x202\n push $S_UCODE\n push $1f",
     "iret\n 1: pushf\n pop %eax\n and $0x200, %eax", VALUE(0))
CASE("iret.if-iopl3", "IF with IOPL 3 it does", "SDM 2, IRET", R3, "push $0x202\n push $S_UCODE\n push $1f",
     "iret\n 1: pushf\n pop %eax\n cli\n and $0x200, %eax", VALUE(0x200), .flags = IOPL3)
CASE("iret.vm-ring3", "IRET in ring 3 does not set VM", "SDM 2, IRET", R3, "push $0x20002\n push $S_UCODE\n push $1f",
     "iret\n 1: mov %cs, %eax", VALUE(S_UCODE))
CASE("iret.rf", "IRET restores RF, which PUSHF does not show", "SDM 2, PUSHF", R0,
     "push $0x10002\n push $S_CODE\n push $1f", "iret\n 1: pushf\n pop %eax", VALUE(2))
CASE("iret.high-flags", "a 16-bit IRET leaves AC and ID alone", "SDM 2, IRET", R0,
     "push $0x240002\n popf\n movb $0x90, 0x9000\n movl $0xcc589c66, 0x9001\n movb $0xcc, 0x9000\n pushw $2\n pushw "
     "$S_CODE\n pushw $0x9000",
     "iretw", LANDS)
CASE("popf.iopl-ring3", "POPF in ring 3 does not change IOPL", "SDM 2, POPF", R3, "push $0x3002",
     "popf\n pushf\n pop %eax", VALUE(2))
CASE("popf.vip", "POPF does not change VIF and VIP", "SDM 2, POPF", R0, "push $0x180002", "popf\n pushf\n pop %eax",
     VALUE(2))
CASE("popf.reserved", "bit 1 reads as one, bits 3, 5, 15 and 22 to 31 as zeros", "SDM 1, 3.4.3", R0, "push $0xffc08028",
     "popf\n pushf\n pop %eax", VALUE(2))
CASE("popf.16-bit", "a 16-bit POPF leaves the upper half alone", "SDM 2, POPF", R0, "push $0x240002\n popf\n pushw $2",
     "popfw\n pushf\n pop %eax", VALUE(0x240002))
