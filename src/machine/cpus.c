/* The vCPUs of a machine: models and APIC IDs from -cpu and -smp, local APICs, and each vCPU's own view of memory.
 *
 * A view is system memory with the local APIC's 4 KiB over it, at the address IA32_APIC_BASE says, and SMRAM over it
 * while the vCPU is in SMM, and with A20 masked even megabytes in the place of odd ones. Machine lock held; APICs
 * signal from any thread. */

#include "machine/machine.h"

#include "cpu/x86/mem.h"
#include "cpu/x86/system.h"
#include "machine/cpu_object.h"
#include "memory/ram.h"

enum {
    BASE_X2APIC    = 1 << 10,
    BASE_ENABLE    = 1 << 11,
    APIC_PRIORITY  = 2,
    SMRAM_PRIORITY = 1,
    A20_PRIORITY   = 1,
    A20_MEGABYTES  = 8, /* 1, 3, ... 15 */
    MEGABYTE       = 1 << 20,
};

typedef struct CpuView {
    Machine *machine;
    X86Cpu  *cpu;
    Region   root, system, smram;
    Region   a20, a20_megabytes[A20_MEGABYTES]; /* over system while A20 is masked */
    bool     has_smram;
    int (*ack_extint)(void *opaque);
    void          *opaque;
    MemoryListener listener;
} CpuView;

/* ---- What the local APIC asks of its CPU ---- */

/* An INIT is done with when wait_for_sipi is set, a SIPI when it is clear. */
static bool waits_for_sipi(X86Cpu *cpu)
{
    uint32_t requests = vcpu_requests(&cpu->vcpu);
    return cpu->wait_for_sipi && !(requests & X86_REQUEST_SIPI);
}

static void apic_signal(void *opaque, ApicSignal what, uint8_t vector)
{
    static const uint32_t bits[] = { [APIC_SIGNAL_INTR] = X86_REQUEST_INTR,
                                     [APIC_SIGNAL_NMI]  = X86_REQUEST_NMI,
                                     [APIC_SIGNAL_SMI]  = X86_REQUEST_SMI,
                                     [APIC_SIGNAL_INIT] = X86_REQUEST_INIT,
                                     [APIC_SIGNAL_SIPI] = X86_REQUEST_SIPI };
    X86Cpu               *cpu    = opaque;

    /* What counts is the state when it comes: only a CPU that waits for a SIPI (or has an INIT to take before) accepts
     * one. Until then NMIs are blocked, and none is kept: what a SIPI starts needs no interrupt table (MP specification
     * 1.4, B.4.2). */
    if (what == APIC_SIGNAL_SIPI) {
        uint32_t requests = vcpu_requests(&cpu->vcpu);
        if (!cpu->wait_for_sipi && !(requests & X86_REQUEST_INIT)) {
            return;
        }
        cpu->sipi_vector = vector; /* vcpu_request() makes it visible */
    } else if (what == APIC_SIGNAL_NMI && waits_for_sipi(cpu)) {
        return;
    } else if (what == APIC_SIGNAL_INIT) {
        vcpu_request_done(&cpu->vcpu, X86_REQUEST_SIPI); /* one that has not been taken is none any more */
    }
    vcpu_request(&cpu->vcpu, bits[what]);
    if (what == APIC_SIGNAL_NMI && waits_for_sipi(cpu)) {
        vcpu_request_done(&cpu->vcpu, X86_REQUEST_NMI); /* it has taken an INIT meanwhile */
    }
}

static uint64_t apic_read_tsc(void *opaque)
{
    return x86_rdtsc(opaque);
}

static int64_t apic_tsc_to_ns(void *opaque, uint64_t tsc)
{
    return x86_tsc_to_ns(opaque, tsc);
}

/* ---- The view ---- */

static void place_apic(void *opaque)
{
    CpuView *view   = opaque;
    Region  *region = apic_region(view->cpu->apic);
    uint64_t base   = apic_get_base(view->cpu->apic);

    machine_lock(view->cpu->vcpu.lock);
    memory_begin(view->machine->platform.memory);
    region_set_enabled(region, (base & BASE_ENABLE) && !(base & BASE_X2APIC));
    region_set_addr(region, base & ~UINT64_C(0xfff));
    memory_commit(view->machine->platform.memory);
    machine_unlock(view->cpu->vcpu.lock);
}

static void show_smram(void *opaque, bool smm)
{
    CpuView *view = opaque;

    if (view->has_smram) {
        machine_lock(view->cpu->vcpu.lock);
        region_set_enabled(&view->smram, smm);
        machine_unlock(view->cpu->vcpu.lock);
    }
}

static void make_a20(CpuView *view)
{
    Memory *memory = view->machine->platform.memory;
    region_init_container(&view->a20, memory, "cpu-a20", 2 * A20_MEGABYTES * MEGABYTE);
    region_set_enabled(&view->a20, false);
    for (unsigned i = 0; i < A20_MEGABYTES; i++) {
        Region *megabyte = &view->a20_megabytes[i];
        region_init_alias(megabyte, memory, "cpu-a20-megabyte", view->machine->platform.system_memory,
                          (uint64_t)2 * i * MEGABYTE, MEGABYTE);
        region_map(&view->a20, (uint64_t)(2 * i + 1) * MEGABYTE, megabyte, 0);
    }
    region_map(&view->root, 0, &view->a20, A20_PRIORITY);
}

static void remove_a20(CpuView *view)
{
    region_unmap(&view->a20);
    for (unsigned i = 0; i < A20_MEGABYTES; i++) {
        region_unmap(&view->a20_megabytes[i]);
        region_destroy(&view->a20_megabytes[i]);
    }
    region_destroy(&view->a20);
}

static bool a20_is_open(const Machine *m)
{
    bool open = false;
    for (unsigned i = 0; i < N_A20_GATES; i++) {
        open |= m->a20_open[i];
    }
    return open;
}

/* A20M# is the same pin of all processors. */
static void set_a20_gate(void *opaque, int n, int level)
{
    Machine *m     = opaque;
    m->a20_open[n] = level;
    memory_begin(m->platform.memory);
    for (guint i = 0; i < m->cpus->len; i++) {
        CpuView *view = ((X86Cpu *)m->cpus->pdata[i])->board;
        region_set_enabled(&view->a20, !a20_is_open(m));
    }
    memory_commit(m->platform.memory);
}

IrqPin *machine_a20_gate(Machine *m, A20Gate gate)
{
    m->a20_gates[gate] = (IrqPin){ .set = set_a20_gate, .opaque = m, .n = (int)gate };
    return &m->a20_gates[gate];
}

/* FERR# of the boot processor, and IGNNE# for all of them. */
static void ferr_changed(void *opaque, bool asserted)
{
    CpuView *view = opaque;
    machine_lock(view->cpu->vcpu.lock);
    irq_set(&view->machine->ferr, asserted);
    machine_unlock(view->cpu->vcpu.lock);
}

static void set_ignne(void *opaque, int n, int level)
{
    Machine *m = opaque;
    for (guint i = 0; i < m->cpus->len; i++) {
        X86Cpu *cpu = m->cpus->pdata[i];
        if (atomic_exchange(&cpu->ignne, level != 0) != (level != 0)) {
            vcpu_request(&cpu->vcpu, VCPU_REQUEST_YIELD); /* it may wait for that */
        }
    }
}

void machine_connect_ferr(Machine *m, IrqPin *ferr)
{
    m->ferr.to = ferr;
}

/* The map of a vCPU's view has changed: host addresses from the old one must not be used any more. */
static void view_changed(MemoryListener *self, AddressSpace *as)
{
    CpuView *view = self->opaque;

    if (view->cpu->vcpu.group) {
        vcpu_flush_all(view->cpu->vcpu.group, NULL);
    }
}

static int ack_extint(void *opaque)
{
    CpuView *view   = opaque;
    int      vector = -1;

    if (view->ack_extint) {
        machine_lock(view->cpu->vcpu.lock);
        vector = view->ack_extint(view->opaque);
        machine_unlock(view->cpu->vcpu.lock);
    }
    return vector;
}

static void remove_smram(CpuView *view)
{
    if (view->has_smram) {
        region_unmap(&view->smram);
        region_destroy(&view->smram);
        view->has_smram = false;
    }
}

/* What the board has said last. */
static void connect(CpuView *view)
{
    Machine *m       = view->machine;
    view->ack_extint = m->cpu_board.ack_extint;
    view->opaque     = m->cpu_board.opaque;
    remove_smram(view);
    if (m->cpu_board.smram) {
        region_init_alias(&view->smram, m->platform.memory, "cpu-smram", m->cpu_board.smram, 0, UINT64_C(1) << 32);
        region_set_enabled(&view->smram, false);
        region_map(&view->root, 0, &view->smram, SMRAM_PRIORITY);
        view->has_smram = true;
    }
}

static CpuView *view_new(Machine *m, X86Cpu *cpu)
{
    CpuView *view   = g_new0(CpuView, 1);
    Memory  *memory = m->platform.memory;

    view->machine = m;
    view->cpu     = cpu;
    region_init_container(&view->root, memory, "cpu-memory", UINT64_MAX);
    region_init_alias(&view->system, memory, "cpu-system", m->platform.system_memory, 0, UINT64_MAX);
    memory_begin(memory);
    region_map(&view->root, 0, &view->system, 0);
    make_a20(view);
    region_map(&view->root, apic_get_base(cpu->apic) & ~UINT64_C(0xfff), apic_region(cpu->apic), APIC_PRIORITY);
    memory_commit(memory);
    cpu->vcpu.memory = address_space_new(memory, &view->root, "cpu-memory");
    cpu->vcpu.io     = m->platform.io_space;
    cpu->board       = view;
    view->listener   = (MemoryListener){ .changed = view_changed, .opaque = view };
    address_space_add_listener(cpu->vcpu.memory, &view->listener);
    cpu->ack_extint = ack_extint;
    if (cpu->bsp) {
        cpu->ferr_changed = ferr_changed;
    }
    cpu->smm_changed = show_smram;
    apic_on_base_change(cpu->apic, place_apic, view);
    connect(view);
    return view;
}

static void view_free(CpuView *view)
{
    address_space_remove_listener(view->cpu->vcpu.memory, &view->listener);
    address_space_free(view->cpu->vcpu.memory);
    region_unmap(apic_region(view->cpu->apic));
    region_unmap(&view->system);
    region_destroy(&view->system);
    remove_a20(view);
    remove_smram(view);
    region_destroy(&view->root);
    g_free(view);
}

/* ---- Making and freeing ---- */

static void cpu_free(X86Cpu *cpu)
{
    if (cpu->board) {
        view_free(cpu->board);
    }
    if (cpu->apic) {
        apic_free(cpu->apic);
    }
    vcpu_destroy(&cpu->vcpu);
    g_aligned_free(cpu);
}

X86Cpu *machine_cpu(const Machine *m, int64_t index)
{
    for (guint i = 0; i < m->cpus->len; i++) {
        X86Cpu *cpu = m->cpus->pdata[i];
        if (cpu->vcpu.index == index) {
            return cpu;
        }
    }
    return NULL;
}

static void insert(Machine *m, X86Cpu *cpu)
{
    guint at = 0;
    while (at < m->cpus->len && ((X86Cpu *)m->cpus->pdata[at])->vcpu.index < cpu->vcpu.index) {
        at++;
    }
    g_ptr_array_insert(m->cpus, (gint)at, cpu);
}

static bool make_cpu(Machine *m, X86Cpu *cpu, Error *err)
{
    unsigned index = (unsigned)cpu->vcpu.index;
    uint32_t id    = x86_apic_id(&m->topology, index);
    ApicHost host  = { .signal = apic_signal, .read_tsc = apic_read_tsc, .tsc_to_ns = apic_tsc_to_ns, .opaque = cpu };

    cpu->vcpu.clocks   = m->platform.clocks;
    cpu->vcpu.lock     = m->platform.lock;
    cpu->vcpu.log      = m->platform.log;
    cpu->random_seeded = m->platform.have_seed;
    cpu->random_state  = m->platform.random_seed + index * UINT64_C(0xd1342543de82ef95); /* far apart */
    if (!x86_cpu_init(cpu, m->cpu_model, &m->topology, id, err)) {
        return false;
    }
    cpu->apic = apic_new(m->apic_bus, m->platform.memory, id, index == 0, &host);
    view_new(m, cpu);
    return accel_add_vcpu(m->accel, cpu, err);
}

X86Cpu *machine_add_cpu(Machine *m, unsigned index, Error *err)
{
    X86Cpu *cpu = g_aligned_alloc0(1, sizeof *cpu, 64);
    vcpu_init(&cpu->vcpu);
    cpu->vcpu.index = (int)index;
    if (!make_cpu(m, cpu, err)) {
        cpu_free(cpu);
        return NULL;
    }
    insert(m, cpu);
    return cpu;
}

void machine_start_late_cpu(Machine *m, X86Cpu *cpu)
{
    X86Cpu *first = m->cpus->pdata[0];
    apic_reset(cpu->apic, false);
    x86_reset(cpu, false);
    x86_tsc_follow(cpu, first);
    region_set_enabled(&((CpuView *)cpu->board)->a20, !a20_is_open(m));
    atomic_store(&cpu->ignne, atomic_load(&first->ignne));
}

void machine_remove_cpu(Machine *m, X86Cpu *cpu)
{
    g_ptr_array_remove(m->cpus, cpu);
    if (cpu->vcpu.group) {
        accel_remove_vcpu(m->accel, cpu);
    }
    cpu_free(cpu);
}

/* AMD's processors show threads by leaf 8000001Eh, and nowhere else: with HTT and CmpLegacy all are cores (APM 3,
 * appendix E.5). */
static void warn_of_hidden_threads(const Machine *m)
{
    const X86Model *model = m->cpu_model;
    if (m->topology.threads > 1 && model->kind == X86_VENDOR_AMD &&
        !x86_words_have(model->features, X86_FEATURE_TOPOEXT)) {
        warn_report("-smp threads=%u: guests take threads of CPU model '%s' for cores, because it has no topoext (add "
                    "+topoext)",
                    m->topology.threads, model->name);
    }
}

bool machine_add_cpus(Machine *m, Error *err)
{
    m->ignne             = (IrqPin){ .set = set_ignne, .opaque = m };
    const SmpConfig *smp = &m->config.smp;

    m->cpu_model = x86_model_parse(m->config.cpu_model ? m->config.cpu_model : machine_type(m)->default_cpu,
                                   accel_hypervisor(m->accel), err);
    if (!m->cpu_model) {
        return error_prefix(err, "-cpu %s: ", m->config.cpu_model ? m->config.cpu_model : "");
    }
    m->topology = (X86Topology){ .sockets = MAX(smp->sockets, 1),
                                 .dies    = MAX(smp->dies, 1),
                                 .modules = MAX(smp->modules, 1),
                                 .cores   = MAX(smp->cores, 1),
                                 .threads = MAX(smp->threads, 1) };
    warn_of_hidden_threads(m);
    for (unsigned i = 0; i < MAX(smp->cpus, 1); i++) {
        X86Cpu *cpu = machine_add_cpu(m, i, err);
        if (!cpu) {
            return error_prefix(err, "vCPU %u: ", i);
        }
        cpu_object_add(m, cpu, NULL, false);
    }
    return true;
}

void machine_remove_cpus(Machine *m)
{
    while (m->cpus->len) {
        X86Cpu *cpu = m->cpus->pdata[m->cpus->len - 1];
        cpu_object_remove(m, cpu);
        machine_remove_cpu(m, cpu);
    }
}

void machine_reset_cpus(Machine *m)
{
    for (guint i = 0; i < m->cpus->len; i++) {
        X86Cpu *cpu = m->cpus->pdata[i];
        apic_reset(cpu->apic, false);
        x86_reset(cpu, false);
    }
}

void machine_connect_cpus(Machine *m, int (*ack)(void *opaque), void *opaque, Region *smram)
{
    m->cpu_board = (CpuBoard){ .ack_extint = ack, .opaque = opaque, .smram = smram };
    for (guint i = 0; i < m->cpus->len; i++) {
        connect(((X86Cpu *)m->cpus->pdata[i])->board);
    }
}
