/* What the executor, the MMU, the local APIC and the clock do for x86_stub.h. */

#include "x86_stub.h"

#include "cpu/x86/insn.h"
#include "cpu/x86/quick.h"
#include "devices/irq/apic.h"

volatile int     stub_vector;
volatile int64_t stub_code;
static Stub     *stub;

/* --- exec.c --- */

static bool has_error_code(X86Vector vector)
{
    return vector == X86_DF || (vector >= X86_TS && vector <= X86_PF) || vector == X86_AC;
}

void x86_raise(X86Cpu *cpu, X86Vector vector)
{
    cpu->fault.vector    = vector;
    cpu->fault.has_error = has_error_code(vector);
    cpu->fault.error     = 0;
    x86_longjmp(cpu->fault_exit, X86_THROW_FAULT);
}

void x86_raise_error(X86Cpu *cpu, X86Vector vector, uint32_t code)
{
    cpu->fault.vector    = vector;
    cpu->fault.has_error = true;
    cpu->fault.error     = code;
    x86_longjmp(cpu->fault_exit, X86_THROW_FAULT);
}

void x86_raise_page_fault(X86Cpu *cpu, uint64_t address, uint32_t code)
{
    cpu->cr2 = address;
    x86_raise_error(cpu, X86_PF, code);
}

void x86_raise_missing(X86Cpu *cpu, const char *what)
{
    cpu->exit_detail = (uintptr_t)what;
    x86_longjmp(cpu->fault_exit, X86_THROW_MISSING);
}

void x86_fpu_reset(X86Cpu *cpu)
{
    memset(cpu->xsave, 0, sizeof cpu->xsave);
}

/* --- mmu.c --- */

static uint8_t *at(X86Cpu *cpu, uint64_t linear, unsigned size, unsigned code)
{
    for (unsigned i = 0; i < size; i += size - 1 ? size - 1 : 1) {
        uint64_t a = linear + i;
        if (a >= STUB_MEMORY || stub->missing[a >> 12]) {
            x86_raise_page_fault(cpu, a, code);
        }
    }
    return stub->memory + linear;
}

uint64_t x86_load_cpl(X86Cpu *cpu, uint64_t linear, unsigned size, unsigned cpl)
{
    uint64_t value = 0;
    memcpy(&value, at(cpu, linear, size, cpl == 3 ? 4 : 0), size);
    return value;
}

void x86_store_cpl(X86Cpu *cpu, uint64_t linear, uint64_t value, unsigned size, unsigned cpl)
{
    memcpy(at(cpu, linear, size, cpl == 3 ? 6 : 2), &value, size);
}

uint64_t x86_load_system(X86Cpu *cpu, uint64_t linear, unsigned size)
{
    return x86_load_cpl(cpu, linear, size, 0);
}

void x86_store_system(X86Cpu *cpu, uint64_t linear, uint64_t value, unsigned size)
{
    x86_store_cpl(cpu, linear, value, size, 0);
}

void x86_tlb_flush(X86Cpu *cpu, bool global_too)
{
    stub->flushes++;
}

void x86_tlb_drop(X86Cpu *cpu)
{
    stub->flushes++;
}

void x86_tlb_select(X86Cpu *cpu)
{
}

void x86_debug_changed(X86Cpu *cpu)
{
}

void x86_load_cr3(X86Cpu *cpu, uint64_t value)
{
    cpu->cr3 = value & ~(UINT64_C(1) << 63);
}

uint64_t address_space_load(AddressSpace *as, uint64_t addr, unsigned size)
{
    return stub_get(stub, (uint32_t)addr, size);
}

MemResult address_space_read(AddressSpace *as, uint64_t addr, void *buf, size_t len)
{
    g_assert_cmpuint(addr + len, <=, STUB_MEMORY);
    memcpy(buf, stub->memory + addr, len);
    return MEM_OK;
}

MemResult address_space_write(AddressSpace *as, uint64_t addr, const void *buf, size_t len)
{
    if (addr > STUB_MEMORY - len) {
        return MEM_UNMAPPED;
    }
    memcpy(stub->memory + addr, buf, len);
    return MEM_OK;
}

/* --- quick.c, quick_legacy.c: there is no TLB --- */

bool x86_quick_deliver(X86Cpu *cpu, unsigned vector, bool software, bool has_error, uint32_t error, uint64_t rip,
                       uint64_t flags)
{
    return false;
}

bool x86_quick_iret(X86Cpu *cpu)
{
    return false;
}

bool x86_quick_far(X86Cpu *cpu, uint16_t selector, uint64_t offset, unsigned size, uint64_t next)
{
    return false;
}

bool x86_quick_far_return(X86Cpu *cpu, unsigned size, unsigned pop_bytes)
{
    return false;
}

bool x86_quick_iret_legacy(X86Cpu *cpu, unsigned size)
{
    return false;
}

/* --- vcpu.c, clock.c --- */

void vcpu_request(Vcpu *cpu, uint32_t bits)
{
    atomic_fetch_or(&cpu->requests, bits);
}

void vcpu_run_on(Vcpu *cpu, void (*call)(Vcpu *cpu, void *opaque), void *opaque)
{
    call(cpu, opaque);
}

unsigned vcpu_group_size(const VcpuGroup *group)
{
    return 1;
}

Vcpu *vcpu_group_get(const VcpuGroup *group, unsigned index)
{
    return &stub->cpu->vcpu;
}

int64_t clock_now(const Clocks *clocks, ClockKind kind)
{
    return stub->now;
}

/* --- apic.c --- */

uint64_t apic_get_base(const Apic *apic)
{
    return stub->apic_base;
}

bool apic_set_base(Apic *apic, uint64_t value, unsigned phys_bits)
{
    bool ok = !(value >> phys_bits) && !(value & 0x2ff);
    if (ok) {
        stub->apic_base = value;
    }
    return ok;
}

bool apic_read_msr(Apic *apic, uint32_t index, uint64_t *value)
{
    *value = 0;
    return stub->apic_base & APIC_BASE_X2APIC;
}

bool apic_write_msr(Apic *apic, uint32_t index, uint64_t value)
{
    return stub->apic_base & APIC_BASE_X2APIC;
}

uint64_t apic_get_tsc_deadline(const Apic *apic)
{
    return stub->deadline;
}

void apic_set_tsc_deadline(Apic *apic, uint64_t value)
{
    stub->deadline = value;
}

void apic_tsc_changed(Apic *apic)
{
}

bool apic_set_eoi(Apic *apic)
{
    return true;
}

bool apic_get_icr(Apic *apic, uint64_t *value)
{
    *value = 0;
    return true;
}

bool apic_set_icr(Apic *apic, uint64_t value)
{
    return true;
}

uint8_t apic_get_task_priority(const Apic *apic)
{
    return (uint8_t)(stub->tpr << 4);
}

bool apic_set_task_priority(Apic *apic, uint8_t tpr)
{
    stub->tpr = tpr >> 4;
    return true;
}

uint8_t apic_get_tpr(const Apic *apic)
{
    return stub->tpr;
}

void apic_set_tpr(Apic *apic, uint8_t cr8)
{
    stub->tpr = cr8;
}

void apic_set_tpr_quietly(Apic *apic, uint8_t cr8)
{
    stub->tpr = cr8;
}

bool apic_write_msr_quickly(Apic *apic, uint32_t index, uint64_t value)
{
    return false;
}

bool apic_has_vector(const Apic *apic)
{
    return stub->apic_vector != -1;
}

int apic_take_vector(Apic *apic)
{
    int vector        = stub->apic_vector;
    stub->apic_vector = -1;
    return vector;
}

void apic_reset(Apic *apic, bool init_only)
{
    stub->apic_base = 0xfee00000 | APIC_BASE_ENABLE | APIC_BASE_BSP;
}

/* --- */

Stub *stub_new(const char *model)
{
    g_auto(Error) err = { 0 };
    Stub *s           = g_new0(Stub, 1);
    stub              = s;
    s->memory         = g_malloc0(STUB_MEMORY);
    s->cpu            = aligned_alloc(64, (sizeof(X86Cpu) + 63) & ~(size_t)63);
    memset(s->cpu, 0, sizeof *s->cpu);
    s->cpu->tlb      = (X86Tlb *)s; /* never looked into here */
    s->cpu->apic     = (Apic *)s;
    s->cpu->vcpu.log = &s->log;
    s->log.file      = stderr;
    s->apic_vector   = -1;
    s->topology      = (X86Topology){ 1, 1, 1, 1, 1 };
    s->model         = x86_model_parse(model, NULL, &err);
    g_assert_cmpstr(err.text, ==, NULL);
    bool ok = x86_cpu_init(s->cpu, s->model, &s->topology, 0, &err);
    g_assert_true(ok);
    x86_reset(s->cpu, false);
    return s;
}

void stub_free(Stub *s)
{
    x86_model_free(s->model);
    free(s->cpu);
    g_free(s->memory);
    g_free(s);
    stub = NULL;
}
