/* See park_calls.h. */

#include "park_calls.h"

#include "guest.h"

#include "cpu/x86/ops.h"

static void park_for_sanitizer(X86Cpu *cpu)
{
    if (X86_ALWAYS_PARK) {
        x86_park(cpu);
    }
}

int park_call(X86Cpu *cpu, void (*call)(X86Cpu *cpu), bool *live)
{
    x86_unpark(cpu);
    park_for_sanitizer(cpu);
    int thrown = x86_setjmp(cpu->fault_exit);
    if (!thrown) {
        call(cpu);
    }
    *live = cpu->vector_live;
    x86_park(cpu);
    return thrown;
}

int park_insn(X86Cpu *cpu, const X86Insn *in, bool *live)
{
    x86_unpark(cpu);
    park_for_sanitizer(cpu);
    int thrown = x86_setjmp(cpu->fault_exit);
    if (!thrown) {
        cpu->insn = in;
        x86_insn_run(cpu, in);
    }
    cpu->insn = NULL;
    *live     = cpu->vector_live;
    x86_park(cpu);
    return thrown;
}

void park_x87(X86Cpu *cpu)
{
    __asm__ volatile("fld1\n\tfstp %st(0)");
}

uint64_t park_xinuse(X86Cpu *cpu)
{
    uint32_t a = 0xd, b, c = 1, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    if (!(a & 4)) {
        return UINT64_MAX;
    }
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(1));
    return a;
}

/* --- memory --- */

static void walk(X86Cpu *cpu)
{
    x86_tlb_flush(cpu, true);
    for (unsigned i = 0; i < 64; i++) {
        x86_load(cpu, GUEST_DATA + 0x1000 * i, 8);
    }
}

static void walk_for_write(X86Cpu *cpu)
{
    x86_tlb_flush(cpu, true);
    for (unsigned i = 0; i < 64; i++) {
        x86_store(cpu, GUEST_DATA + 0x1000 * i, i, 4);
    }
}

static void load_absent(X86Cpu *cpu)
{
    x86_load(cpu, PARK_ABSENT, 8);
}

static void store_readonly(X86Cpu *cpu)
{
    x86_store(cpu, PARK_READONLY, 0, 1);
}

static void not_canonical(X86Cpu *cpu)
{
    x86_load(cpu, UINT64_C(0x800000000000), 8);
}

static void cross_pages(X86Cpu *cpu)
{
    x86_store(cpu, PARK_TWO + 0xffd, 0x1122334455667788, 8);
    if (x86_load(cpu, PARK_TWO + 0xffd, 8) != 0x1122334455667788) {
        x86_raise(cpu, X86_UD);
    }
}

static void many_bytes(X86Cpu *cpu)
{
    uint64_t bytes[512];
    x86_load_bytes(cpu, PARK_TWO + 8, bytes, 4096);
    x86_store_bytes(cpu, PARK_TWO + 8, bytes, 4096);
    x86_load_bytes(cpu, PARK_TWO + 0xff1, bytes, 32);
    x86_probe_write(cpu, PARK_TWO, 4096);
}

static void write_code(X86Cpu *cpu)
{
    x86_store(cpu, PARK_CODE + 8, 0x90, 1);
    x86_store_bytes(cpu, PARK_CODE + 32, &(uint64_t){ 0 }, 8);
}

static void device(X86Cpu *cpu)
{
    x86_load(cpu, PARK_DEVICE, 4);
    x86_store(cpu, PARK_DEVICE, 0, 4);
}

static void port(X86Cpu *cpu)
{
    x86_io_store(cpu, cpu->vcpu.io, 0x80, 1, 1);
}

static void split_lock(X86Cpu *cpu)
{
    X86Rmw    rmw;
    uint64_t *at = x86_rmw_begin(cpu, PARK_TWO + 0x3e, 8, true, false, &rmw);
    __builtin_memset(at, 0, 8);
    x86_rmw_end(cpu, &rmw);
}

static void system_access(X86Cpu *cpu)
{
    x86_store_system(cpu, GUEST_DATA, x86_load_system(cpu, GUEST_GDT + 8, 8), 8);
    x86_store_cpl(cpu, PARK_USER, x86_load_cpl(cpu, PARK_USER, 4, 3), 4, 3);
}

/* --- TLB --- */

static void flushes(X86Cpu *cpu)
{
    walk(cpu);
    x86_tlb_flush_page(cpu, GUEST_DATA);
    x86_tlb_flush_page(cpu, PARK_TWO);
    for (unsigned i = 0; i < 4; i++) {
        x86_invpcid(cpu, i, 0, GUEST_DATA);
    }
    x86_tlb_drop(cpu);
}

static void load_cr3(X86Cpu *cpu)
{
    for (unsigned i = 0; i < 8; i++) {
        x86_write_cr(cpu, 3, x86_read_cr(cpu, 3));
        x86_load(cpu, GUEST_DATA, 8);
    }
}

static void control_registers(X86Cpu *cpu)
{
    uint64_t cr0 = x86_read_cr(cpu, 0), cr4 = x86_read_cr(cpu, 4);
    x86_write_cr(cpu, 0, cr0 ^ CR0_WP);
    x86_write_cr(cpu, 0, cr0);
    x86_clts(cpu);
    x86_write_cr(cpu, 4, cr4 ^ CR4_PGE);
    x86_write_cr(cpu, 4, cr4);
    x86_write_cr(cpu, 8, 3);
    x86_write_cr(cpu, 8, x86_read_cr(cpu, 8) & 0);
    x86_write_dr(cpu, 0, GUEST_DATA + 0x800);
    x86_write_dr(cpu, 7, 0x000d0401);
    x86_load(cpu, GUEST_DATA + 0x100, 8);
    x86_write_dr(cpu, 7, 0x400);
}

static void bad_cr4(X86Cpu *cpu)
{
    x86_write_cr(cpu, 4, UINT64_C(1) << 40);
}

static void read_xcr0(X86Cpu *cpu)
{
    x86_xgetbv(cpu, 0);
    x86_xgetbv(cpu, 1);
}

/* --- MSRs, time --- */

static void msrs(X86Cpu *cpu)
{
    static const uint32_t plain[] = { 0xc0000080, 0xc0000081, 0xc0000082, 0xc0000084, 0xc0000100,
                                      0xc0000101, 0xc0000102, 0x174,      0x175,      0x277 };
    for (unsigned i = 0; i < sizeof plain / sizeof *plain; i++) {
        x86_wrmsr(cpu, plain[i], x86_rdmsr(cpu, plain[i]));
    }
    x86_rdmsr(cpu, 0x10);
    x86_tsc_now(cpu);
}

static void set_tsc(X86Cpu *cpu)
{
    x86_wrmsr(cpu, 0x10, x86_rdmsr(cpu, 0x10));
}

static void no_msr(X86Cpu *cpu)
{
    x86_wrmsr(cpu, 0x12345, 0);
}

/* --- segments and transfers --- */

static void segments(X86Cpu *cpu)
{
    for (unsigned seg = X86_SS; seg <= X86_GS; seg++) {
        x86_load_segment(cpu, seg, GUEST_DS);
    }
    x86_load_segment(cpu, X86_FS, 0);
    uint32_t value;
    x86_lar(cpu, GUEST_CS64, &value);
    x86_lsl(cpu, GUEST_CS32, &value);
    x86_verw(cpu, GUEST_DS);
    x86_lldt(cpu, 0);
    x86_far_jump(cpu, GUEST_CS64, GUEST_CODE, 8);
    x86_far_call(cpu, GUEST_CS64, GUEST_CODE, 8, 1);
    x86_far_return(cpu, 8, 0);
}

static void bad_segment(X86Cpu *cpu)
{
    x86_load_segment(cpu, X86_DS, 0xfff8);
}

static void fast_calls(X86Cpu *cpu)
{
    for (unsigned i = 0; i < 2; i++) {
        cpu->gpr[X86_RCX] = GUEST_CODE;
        x86_sysret(cpu, 8);
        x86_syscall(cpu, GUEST_CODE);
        cpu->gpr[X86_RDX] = GUEST_CODE;
        cpu->gpr[X86_RCX] = GUEST_STACK;
        if (cpu->sysenter_cs) {
            x86_sysexit(cpu, 8);
            x86_sysenter(cpu);
        }
    }
}

static void deliveries(X86Cpu *cpu)
{
    static const X86Event events[] = { X86_EVENT_EXCEPTION, X86_EVENT_EXTERNAL, X86_EVENT_ICEBP };
    for (unsigned i = 0; i < sizeof events / sizeof *events; i++) {
        x86_deliver(cpu, events[i], X86_GP, i == 0, 0, GUEST_CODE);
        cpu->gpr[X86_RSP] += i == 0 ? 8 : 0;
        x86_iret(cpu, 8);
    }
    /* From ring 3 and back. */
    cpu->gpr[X86_RCX] = GUEST_CODE;
    cpu->gpr[X86_R11] = EFLAGS_IF;
    x86_sysret(cpu, 8);
    x86_deliver(cpu, X86_EVENT_EXCEPTION, X86_PF, true, 4, GUEST_CODE);
    cpu->gpr[X86_RSP] += 8;
    x86_iret(cpu, 8);
    x86_deliver(cpu, X86_EVENT_EXTERNAL, 0x40, false, 0, GUEST_CODE);
}

/* The stack is not there: #PF while delivering, and #DF, which is not there either: shutdown. */
static void triple_fault(X86Cpu *cpu)
{
    cpu->gpr[X86_RSP] = PARK_ABSENT + 8;
    x86_deliver(cpu, X86_EVENT_EXCEPTION, X86_GP, true, 0, GUEST_CODE);
}

static void bad_iret(X86Cpu *cpu)
{
    cpu->gpr[X86_RSP] = GUEST_DATA;
    x86_store(cpu, GUEST_DATA + 8, 0xfff8, 8);
    x86_iret(cpu, 8);
}

static void nmi(X86Cpu *cpu)
{
    vcpu_request_self(&cpu->vcpu, X86_REQUEST_NMI | X86_REQUEST_INTR);
    x86_take_interrupt(cpu);
    x86_set_eflags(cpu, EFLAGS_IF, EFLAGS_IF);
    x86_take_interrupt(cpu);
}

static void software(X86Cpu *cpu)
{
    x86_raise_software(cpu, X86_EVENT_SOFTWARE, 0x80);
}

#define CALL(f, v, p)                                                                                                  \
    {                                                                                                                  \
#f, f, v, p                                                                                                    \
    }
const ParkCall park_calls[] = {
    CALL(walk, -1, false),
    CALL(walk_for_write, -1, false),
    CALL(load_absent, X86_PF, false),
    CALL(store_readonly, X86_PF, false),
    CALL(not_canonical, X86_GP, false),
    CALL(cross_pages, -1, false),
    CALL(many_bytes, -1, false),
    CALL(write_code, -1, false),
    CALL(device, -1, true),
    CALL(port, -1, true),
    CALL(split_lock, -1, true),
    CALL(system_access, -1, false),
    CALL(flushes, -1, true),
    CALL(load_cr3, -1, false),
    CALL(control_registers, -1, false),
    CALL(bad_cr4, X86_GP, false),
    CALL(read_xcr0, -1, true),
    CALL(msrs, -1, true),
    CALL(set_tsc, -1, true),
    CALL(no_msr, X86_GP, true),
    CALL(segments, -1, false),
    CALL(bad_segment, X86_GP, false),
    CALL(fast_calls, -1, false),
    CALL(deliveries, -1, false),
    CALL(triple_fault, -1, true),
    CALL(bad_iret, X86_GP, false),
    CALL(nmi, -1, true),
    CALL(software, 0, false),
};
const size_t n_park_calls = sizeof park_calls / sizeof *park_calls;
