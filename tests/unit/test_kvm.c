/* KVM on a machine of the test's own, with guests of a few bytes that also an emulating KVM runs: state there and back,
 * kicks, the memory map, written pages, routes and eventfds. Skipped where /dev/kvm cannot be opened. */

#include "accel/kvm/kvm.h"

#include "base/bytes.h"
#include "cpu/x86/system.h"
#include "loop/loop.h"
#include "memory/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RAM_SIZE = 4 << 20, CODE = 0x8000, DATA = 0x100000, WINDOW = 0x1000000, PORT = 0x80, EVENT_PORT = 0x90 };

typedef struct Fixture {
    MachineLock      lock;
    Loop            *loop;
    Log              log;
    Memory          *memory;
    Region           root, ram, window, io_root, port;
    RamBlock        *block;
    AddressSpace    *as, *io;
    ApicBus         *apics;
    Accel           *accel;
    X86Cpu          *cpu, *second;
    X86Model        *model;
    X86Topology      topology;
    unsigned         failures, steps;
    _Atomic unsigned writes;  /* to PORT */
    bool             toggles; /* each moves the window */
    uint64_t         last;
} Fixture;

/* --- the machine --- */

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0x5a;
}

static void port_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Fixture *f = opaque;
    f->last    = value;
    f->writes++;
    if (f->toggles && f->window.mapped) {
        region_unmap(&f->window);
    } else if (f->toggles) {
        region_map(&f->root, WINDOW, &f->window, 0);
    }
}

static const IoOps port_ops = { .name = "port", .access = IO_ANY, .read = port_read, .write = port_write };

static void host_failed(void *opaque, Vcpu *cpu, const char *why)
{
    g_test_message("%s", why);
    ((Fixture *)opaque)->failures++;
}

static void host_shutdown(void *opaque, Vcpu *cpu)
{
    host_failed(opaque, cpu, "shutdown");
}

static void host_debug(void *opaque, Vcpu *cpu)
{
    ((Fixture *)opaque)->steps++;
}

static void signal_cpu(void *opaque, ApicSignal what, uint8_t vector)
{
    X86Cpu *cpu = opaque;
    vcpu_request(&cpu->vcpu, what == APIC_SIGNAL_NMI ? X86_REQUEST_NMI : X86_REQUEST_INTR);
}

static uint64_t read_tsc(void *opaque)
{
    return x86_rdtsc(opaque);
}

static int64_t tsc_to_ns(void *opaque, uint64_t tsc)
{
    return x86_tsc_to_ns(opaque, tsc);
}

static Accel *new_accel(Fixture *f, const char *options, Error *err)
{
    AccelHost host       = { .failed = host_failed, .shutdown = host_shutdown, .debug = host_debug, .opaque = f };
    g_autoptr(Json) json = json_new_object();
    g_auto(GStrv) pairs  = g_strsplit(options, ",", -1);
    json_set(json, "accel", json_new_string("kvm"));
    for (char **p = pairs; *p && **p; p++) {
        g_auto(GStrv) pair = g_strsplit(*p, "=", 2);
        json_set(json, pair[0], json_new_string(pair[1]));
    }
    return accel_new(json, true, &f->lock, loop_clocks(f->loop), &host, err);
}

static X86Cpu *add_cpu(Fixture *f, uint32_t id)
{
    g_auto(Error) err = {};
    X86Cpu  *cpu      = g_aligned_alloc0(1, sizeof *cpu, 64);
    ApicHost host     = { .signal = signal_cpu, .read_tsc = read_tsc, .tsc_to_ns = tsc_to_ns, .opaque = cpu };
    vcpu_init(&cpu->vcpu);
    cpu->vcpu.index  = (int)id;
    cpu->vcpu.clocks = loop_clocks(f->loop);
    cpu->vcpu.lock   = &f->lock;
    cpu->vcpu.log    = &f->log;
    cpu->vcpu.memory = f->as;
    cpu->vcpu.io     = f->io;
    g_assert_true(x86_cpu_init(cpu, f->model, &f->topology, id, &err));
    cpu->apic = apic_new(f->apics, f->memory, id, id == 0, &host);
    g_assert_true(accel_add_vcpu(f->accel, cpu, &err));
    x86_reset(cpu, false);
    cpu->vcpu.stopped = false;
    return cpu;
}

static void free_cpu(X86Cpu *cpu)
{
    apic_free(cpu->apic);
    vcpu_destroy(&cpu->vcpu);
    g_aligned_free(cpu);
}

static void send_msi(void *opaque, uint64_t address, uint32_t data)
{
    kvm_send_msi(opaque, address, data);
}

static void setup(Fixture *f, gconstpointer options)
{
    g_auto(Error) err = {};
    machine_lock_init(&f->lock);
    machine_lock(&f->lock);
    f->log.file = stderr;
    f->loop     = loop_new(&f->lock, &err);
    f->memory   = memory_new(&f->lock);
    f->block    = ram_block_new("ram", RAM_SIZE, &err);
    g_assert_nonnull(f->block);
    region_init_container(&f->root, f->memory, "system", UINT64_MAX);
    region_init_ram(&f->ram, f->memory, "ram", f->block, 0, RAM_SIZE);
    region_map(&f->root, 0, &f->ram, 0);
    region_init_alias(&f->window, f->memory, "window", &f->ram, DATA, 0x10000);
    region_init_container(&f->io_root, f->memory, "io", 0x10000);
    region_init_io(&f->port, f->memory, "port", 4, &port_ops, f);
    region_map(&f->io_root, PORT, &f->port, 0);
    f->as    = address_space_new(f->memory, &f->root, "memory");
    f->io    = address_space_new(f->memory, &f->io_root, "I/O");
    f->apics = apic_bus_new(loop_clocks(f->loop), &f->log);
    f->accel = new_accel(f, options ? options : "", &err);
    g_assert_cmpstr(err.text, ==, NULL);
    f->topology = (X86Topology){ 1, 1, 1, 2, 1 };
    f->model    = x86_model_parse("host,check=off", accel_hypervisor(f->accel), &err);
    g_assert_cmpstr(err.text, ==, NULL);
    f->cpu = add_cpu(f, 0);
    kvm_memory_attach(kvm_of(f->accel)->memory, f->as);
    if (kvm_local_apic_inside(kvm_of(f->accel))) {
        apic_bus_set_sink(f->apics, send_msi, f->accel);
    }
}

static void teardown(Fixture *f, gconstpointer options)
{
    g_assert_cmpuint(f->failures, ==, 0);
    accel_shutdown(f->accel);
    accel_detach(f->accel);
    free_cpu(f->cpu);
    if (f->second) {
        free_cpu(f->second);
    }
    x86_model_free(f->model);
    accel_free(f->accel);
    apic_bus_free(f->apics);
    address_space_free(f->as);
    address_space_free(f->io);
    Region *regions[] = { &f->window, &f->ram, &f->port };
    for (unsigned i = 0; i < G_N_ELEMENTS(regions); i++) {
        if (regions[i]->mapped) {
            region_unmap(regions[i]);
        }
        region_destroy(regions[i]);
    }
    region_destroy(&f->root);
    region_destroy(&f->io_root);
    ram_block_unref(f->block);
    memory_free(f->memory);
    loop_free(f->loop);
    machine_unlock(&f->lock);
    machine_lock_destroy(&f->lock);
}

/* --- running --- */

/* Flat 32-bit code. */
static void set_code_at(Fixture *f, X86Cpu *cpu, uint64_t at, const void *code, size_t len)
{
    memcpy(f->block->host + at, code, len);
    for (unsigned i = 0; i < X86_N_SEG; i++) {
        uint32_t type = i == X86_CS ? SEG_CODE | SEG_R | SEG_A : SEG_W | SEG_A;
        cpu->seg[i]   = (X86Segment){ .limit    = UINT32_MAX,
                                      .attr     = type | SEG_S | SEG_P | SEG_DB | SEG_G,
                                      .selector = i == X86_CS ? 8 : 16 };
    }
    cpu->cr0           = CR0_PE | CR0_ET | CR0_NE;
    cpu->vcpu.halted   = false;
    cpu->wait_for_sipi = false;
    cpu->rip           = at;
    x86_update_mode(cpu);
}

static void set_code(Fixture *f, const void *code, size_t len)
{
    set_code_at(f, f->cpu, CODE, code, len);
}

static void let_run(Fixture *f, unsigned us)
{
    int depth = machine_lock_drop(&f->lock);
    g_usleep(us);
    machine_lock_restore(&f->lock, depth);
}

/* Until the guest has written to PORT that often. */
static void run_until(Fixture *f, unsigned writes)
{
    gint64 until = g_get_monotonic_time() + 20 * G_USEC_PER_SEC;
    accel_resume_all(f->accel);
    while (f->writes < writes) {
        g_assert_cmpuint(f->failures, ==, 0);
        g_assert_cmpint(g_get_monotonic_time(), <, until);
        let_run(f, 200);
    }
    accel_pause_all(f->accel);
}

/* --- state --- */

/* Values that no two registers share. */
static void fill(X86Cpu *cpu)
{
    uint64_t n = 1;
    for (unsigned i = 0; i < 16; i++) {
        cpu->gpr[i] = UINT64_C(0x1122334455660000) + n++;
    }
    cpu->rip = 0x123456;
    x86_set_eflags(cpu, EFLAGS_CF | EFLAGS_PF | EFLAGS_SF | EFLAGS_OF | EFLAGS_DF | EFLAGS_ID, UINT64_MAX);
    for (unsigned i = 0; i < X86_N_SEG; i++) {
        bool code   = i == X86_CS;
        cpu->seg[i] = (X86Segment){ .base  = code ? 0 : UINT64_C(0x1000) * n,
                                    .limit = UINT32_MAX,
                                    .attr = (code ? SEG_CODE | SEG_R | SEG_L : SEG_W | SEG_DB) | SEG_A | SEG_S | SEG_P |
                                            SEG_G | SEG_AVL,
                                    .selector = (uint16_t)(8 * (n + 1)) };
        n += 2;
    }
    cpu->ldt  = (X86Segment){ .base = 0x5000, .limit = 0x77, .attr = SEG_P | 2, .selector = 0x90 };
    cpu->tr   = (X86Segment){ .base = 0x6000, .limit = 0x67, .attr = SEG_P | 0xb, .selector = 0xa0 };
    cpu->gdt  = (X86Table){ .base = 0x7000, .limit = 0xff };
    cpu->idt  = (X86Table){ .base = 0x9000, .limit = 0xfff };
    cpu->cr0  = CR0_PE | CR0_PG | CR0_WP | CR0_NE | CR0_ET | CR0_MP;
    cpu->cr2  = 0xdead1000;
    cpu->cr3  = 0x10000;
    cpu->cr4  = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_DE;
    cpu->efer = EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE;
    for (unsigned i = 0; i < 4; i++) {
        cpu->dr[i] = 0x400000 + n++;
    }
    cpu->dr[6]          = DR6_FIXED | DR6_BS;
    cpu->star           = UINT64_C(0x0010000800000000) | n++;
    cpu->lstar          = 0x200000 + n++;
    cpu->cstar          = 0x200000 + n++;
    cpu->sfmask         = 0x700;
    cpu->kernel_gs_base = 0x300000 + n++;
    cpu->sysenter_cs    = 8;
    cpu->sysenter_esp   = 0x300000 + n++;
    cpu->sysenter_eip   = 0x300000 + n++;
    cpu->pat            = UINT64_C(0x0007010600070406);
    cpu->mtrr_base[1]   = 0x80000000 | 6;
    cpu->mtrr_mask[1]   = 0xf0000000 | 0x800;
    cpu->mtrr_fixed[3]  = UINT64_C(0x0606060606060606);
    cpu->mtrr_def_type  = 0xc06;
    x86_update_mode(cpu);
}

static void fill_vectors(X86Cpu *cpu)
{
    for (unsigned i = 0; i < 256; i++) {
        cpu->xsave[XSAVE_XMM + i] = (uint8_t)(i * 7 + 1);
        cpu->xsave[XSAVE_YMM + i] = x86_has(cpu, X86_FEATURE_AVX) ? (uint8_t)(i * 11 + 3) : 0;
    }
    for (unsigned i = 0; i < 8; i++) {
        store_le64(cpu->xsave + XSAVE_ST + 16 * i, UINT64_C(0x8000000000000000) + i);
        store_le16(cpu->xsave + XSAVE_ST + 16 * i + 8, (uint16_t)(0x3fff + i));
    }
    store_le16(cpu->xsave, 0x27f);
    store_le16(cpu->xsave + 2, 0x3800);
    cpu->xsave[4] = 0xff;
    store_le32(cpu->xsave + XSAVE_MXCSR, 0x1fa0);
}

static void differs(const char *what, uint64_t before, uint64_t after)
{
    g_error("%s: 0x%" PRIx64 ", then 0x%" PRIx64, what, before, after);
}

#define SAME(member) (before.member == f->cpu->member ? (void)0 : differs(#member, before.member, f->cpu->member))

static void compare_segment(const X86Segment *a, const X86Segment *b)
{
    g_assert_cmphex(a->base, ==, b->base);
    g_assert_cmphex(a->limit, ==, b->limit);
    g_assert_cmphex(a->attr, ==, b->attr);
    g_assert_cmphex(a->selector, ==, b->selector);
}

static void compare(Fixture *f, const X86Cpu *then)
{
    X86Cpu before = *then;
    for (unsigned i = 0; i < 16; i++) {
        SAME(gpr[i]);
    }
    SAME(rip);
    SAME(arith);
    SAME(eflags);
    for (unsigned i = 0; i < X86_N_SEG; i++) {
        compare_segment(&before.seg[i], &f->cpu->seg[i]);
    }
    compare_segment(&before.ldt, &f->cpu->ldt);
    compare_segment(&before.tr, &f->cpu->tr);
    SAME(gdt.base), SAME(gdt.limit), SAME(idt.base), SAME(idt.limit);
    SAME(cr0), SAME(cr2), SAME(cr3), SAME(cr4), SAME(efer), SAME(xcr0);
    for (unsigned i = 0; i < 8; i++) {
        if (i != 4 && i != 5) {
            SAME(dr[i]);
        }
        SAME(mtrr_base[i]);
        SAME(mtrr_mask[i]);
    }
    for (unsigned i = 0; i < 11; i++) {
        SAME(mtrr_fixed[i]);
    }
    SAME(star), SAME(lstar), SAME(cstar), SAME(sfmask), SAME(kernel_gs_base), SAME(sysenter_cs), SAME(sysenter_esp);
    SAME(sysenter_eip), SAME(pat), SAME(mtrr_def_type), SAME(misc_enable), SAME(tsc_adjust);
    SAME(nmi_blocked), SAME(interrupt_shadow), SAME(wait_for_sipi), SAME(vcpu.halted);
    g_assert_cmpmem(before.xsave, XSAVE_MXCSR + 4, f->cpu->xsave, XSAVE_MXCSR + 4);
    g_assert_cmpmem(before.xsave + XSAVE_ST, 416 - XSAVE_ST, f->cpu->xsave + XSAVE_ST, 416 - XSAVE_ST);
    g_assert_cmpmem(before.xsave + XSAVE_YMM, 256, f->cpu->xsave + XSAVE_YMM, 256);
}

static void round_trip(Fixture *f)
{
    KvmVcpu *k      = kvm_vcpu(f->cpu);
    X86Cpu  *before = g_memdup2(f->cpu, sizeof *f->cpu);
    if (!kvm_state_put(k)) {
        g_error("%s", k->failure);
    }
    /* Everything that is compared comes from the kernel. */
    memset(f->cpu->gpr, 0xee, 16 * sizeof f->cpu->gpr[0]);
    memset(f->cpu->xsave, 0xee, sizeof f->cpu->xsave);
    memset(f->cpu->dr, 0xee, sizeof f->cpu->dr);
    memset(f->cpu->seg, 0xee, sizeof f->cpu->seg);
    f->cpu->lstar = f->cpu->pat = f->cpu->cr3 = f->cpu->rip = 0xee;
    if (!kvm_state_get(k)) {
        g_error("%s", k->failure);
    }
    compare(f, before);
    g_free(before);
}

static void fill_virtual_8086(X86Cpu *cpu)
{
    x86_reset(cpu, true);
    cpu->cr0 = CR0_PE | CR0_NE | CR0_ET;
    x86_set_eflags(cpu, EFLAGS_VM | EFLAGS_IOPL, UINT64_MAX);
    for (unsigned i = 0; i < X86_N_SEG; i++) {
        cpu->seg[i] = (X86Segment){ .base     = 0x1000 * (i + 1),
                                    .limit    = 0xffff,
                                    .attr     = SEG_P | SEG_S | SEG_W | SEG_A | SEG_DPL,
                                    .selector = (uint16_t)(0x100 * (i + 1)) };
    }
    x86_update_mode(cpu);
}

/* An emulating KVM may drop the flag. */
static bool keeps_virtual_8086(const Fixture *f)
{
    struct kvm_regs regs = {};
    KvmVcpu        *k    = kvm_vcpu(f->cpu);
    g_assert_true(kvm_state_put(k));
    g_assert_true(kvm_ioctl(k->fd, KVM_GET_REGS, &regs) == 0);
    return regs.rflags & EFLAGS_VM;
}

/* AMD's processors have one bit for both shadows, and KVM says of it that it is either. */
static bool has_two_shadows(Fixture *f)
{
    struct kvm_vcpu_events events = {};
    KvmVcpu               *k      = kvm_vcpu(f->cpu);
    f->cpu->interrupt_shadow      = X86_SHADOW_STI;
    g_assert_true(kvm_state_put(k));
    g_assert_true(kvm_ioctl(k->fd, KVM_GET_VCPU_EVENTS, &events) == 0);
    return events.interrupt.shadow == KVM_X86_SHADOW_INT_STI;
}

static void test_state(Fixture *f, gconstpointer options)
{
    round_trip(f); /* as reset leaves it */
    fill(f->cpu);
    fill_vectors(f->cpu);
    round_trip(f);
    round_trip(f);
    fill_virtual_8086(f->cpu);
    if (keeps_virtual_8086(f)) {
        round_trip(f);
    } else {
        g_test_message("this KVM knows no virtual-8086 mode");
    }
    x86_reset(f->cpu, false);
    round_trip(f);
    f->cpu->vcpu.halted = kvm_local_apic_inside(kvm_of(f->accel));
    f->cpu->nmi_blocked = true;
    round_trip(f);
    f->cpu->vcpu.halted = false;
    for (unsigned shadow = X86_SHADOW_NONE; shadow <= X86_SHADOW_SS; shadow++) {
        if (shadow == X86_SHADOW_STI && !has_two_shadows(f)) {
            g_assert_true(kvm_state_get(kvm_vcpu(f->cpu)));
            g_assert_cmpuint(f->cpu->interrupt_shadow, ==, X86_SHADOW_SS); /* which holds more back */
            continue;
        }
        f->cpu->interrupt_shadow = (uint8_t)shadow;
        round_trip(f);
    }
}

static void test_lapic(Fixture *f, gconstpointer options)
{
    Apic   *apic = f->cpu->apic;
    uint8_t before[APIC_PAGE_SIZE], after[APIC_PAGE_SIZE];
    region_write(apic_region(apic), 0xf0, 4, 0x1ff);
    region_write(apic_region(apic), 0x350, 4, 0x8700);
    region_write(apic_region(apic), 0x360, 4, 0x400);
    region_write(apic_region(apic), 0x80, 4, 0x20);
    region_write(apic_region(apic), 0xd0, 4, 0x01000000);
    region_write(apic_region(apic), 0x320, 4, 0x10030);
    region_write(apic_region(apic), 0x380, 4, 0x7fffffff);
    apic_get_page(apic, before);
    g_assert_true(kvm_state_put(kvm_vcpu(f->cpu)));
    g_assert_true(kvm_state_get(kvm_vcpu(f->cpu)));
    apic_get_page(apic, after);
    for (unsigned reg = 0; reg < APIC_PAGE_SIZE; reg += 16) {
        bool goes_on = reg == APIC_PAGE_CURRENT_COUNT || reg == 0x30; /* counting; version */
        if (!goes_on && load_le32(before + reg) != load_le32(after + reg)) {
            g_error("APIC register %03x: %08x, then %08x", reg, load_le32(before + reg), load_le32(after + reg));
        }
    }
    g_assert_cmphex(apic_get_base(apic), ==, 0xfee00900);
}

/* --- running and stopping --- */

/* again: inc ecx; jmp again */
static const uint8_t endless[] = { 0x41, 0xeb, 0xfd };

static void test_kick(Fixture *f, gconstpointer options)
{
    set_code(f, endless, sizeof endless);
    uint64_t last = 0;
    for (unsigned i = 0; i < 200; i++) {
        accel_resume_all(f->accel);
        if (i % 2) {
            let_run(f, i % 7 * 50);
        }
        gint64 from = g_get_monotonic_time();
        accel_pause_all(f->accel);
        g_assert_cmpint(g_get_monotonic_time() - from, <, 5 * G_USEC_PER_SEC);
    }
    last = f->cpu->gpr[X86_RCX];
    g_assert_cmpuint(last, >, 0);
    accel_resume_all(f->accel);
    for (unsigned i = 0; i < 200; i++) {
        vcpu_exclusive_begin(f->accel->group, NULL);
        vcpu_exclusive_end(f->accel->group, NULL);
        vcpu_flush_all(f->accel->group, NULL);
    }
    gint64 until = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
    for (;;) {
        let_run(f, 1000);
        accel_pause_all(f->accel);
        if (f->cpu->gpr[X86_RCX] > last) {
            break;
        }
        g_assert_cmpint(g_get_monotonic_time(), <, until);
        accel_resume_all(f->accel);
    }
}

static VcpuResume step_all(void *opaque, Vcpu *cpu)
{
    return VCPU_STEP;
}

static void test_step(Fixture *f, gconstpointer options)
{
    set_code(f, endless, sizeof endless);
    for (unsigned i = 1; i <= 4; i++) {
        gint64 until = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
        accel_resume_each(f->accel, step_all, NULL);
        while (f->steps < i) {
            g_assert_cmpint(g_get_monotonic_time(), <, until);
            let_run(f, 200);
        }
        accel_pause_all(f->accel);
        g_assert_cmphex(f->cpu->gpr[X86_RCX], ==, (i + 1) / 2);
        g_assert_cmphex(f->cpu->rip, ==, i % 2 ? CODE + 1 : CODE);
    }
}

static VcpuResume run_each(void *opaque, Vcpu *cpu)
{
    return VCPU_RUN;
}

/* Does KVM itself, in a VM of its own that Quern's code has no part in, stop at debug registers and at INT3? On SVM
 * that QEMU 7.2 emulates it does neither. */
static bool has_breakpoints(void)
{
    static const uint8_t code[] = { 0x90, 0x90, 0xf4 }; /* the second NOP becomes an INT3, for who has stopped there */
    g_auto(Error) err           = {};
    int      fd = kvm_open("/dev/kvm", &err), vm = fd >= 0 ? kvm_create_vm(fd, &err) : -1;
    int      vcpu = kvm_ioctl(vm, KVM_CREATE_VCPU, NULL), size = kvm_ioctl(fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
    uint8_t *ram = mmap(NULL, CODE * 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(vcpu >= 0 && size > 0 && ram != MAP_FAILED);
    struct kvm_run *run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
    g_assert_true(run != MAP_FAILED);
    memcpy(ram + CODE, code, sizeof code);
    struct kvm_userspace_memory_region slot = { .memory_size = CODE * 2, .userspace_addr = (uintptr_t)ram };
    struct kvm_sregs                   sregs;
    struct kvm_regs                    regs    = { .rip = CODE, .rflags = EFLAGS_ONE };
    struct kvm_guest_debug             at_nop  = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP };
    struct kvm_guest_debug             at_int3 = { .control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP };
    const struct kvm_debug_exit_arch  *stop    = &run->debug.arch;
    at_nop.arch.debugreg[0]                    = CODE + 1;
    at_nop.arch.debugreg[7]                    = DR7_FIXED | 2;
    g_assert_true(kvm_ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot) == 0);
    g_assert_true(kvm_ioctl(vcpu, KVM_GET_SREGS, &sregs) == 0);
    sregs.cs.base = sregs.cs.selector = 0; /* real mode */
    g_assert_true(kvm_ioctl(vcpu, KVM_SET_SREGS, &sregs) == 0 && kvm_ioctl(vcpu, KVM_SET_REGS, &regs) == 0);
    bool has = kvm_ioctl(vcpu, KVM_SET_GUEST_DEBUG, &at_nop) == 0 && kvm_ioctl(vcpu, KVM_RUN, NULL) == 0 &&
               run->exit_reason == KVM_EXIT_DEBUG && stop->pc == CODE + 1;
    if (has) {
        ram[CODE + 1] = 0xcc;
        has           = kvm_ioctl(vcpu, KVM_SET_GUEST_DEBUG, &at_int3) == 0 && kvm_ioctl(vcpu, KVM_RUN, NULL) == 0 &&
              run->exit_reason == KVM_EXIT_DEBUG && stop->pc == CODE + 1 && stop->exception == X86_BP;
    }
    munmap(run, (size_t)size);
    close(vcpu);
    close(vm);
    close(fd);
    munmap(ram, CODE * 2);
    return has;
}

/* Six instructions with a breakpoint each: more than there are debug registers. Memory is as it was when the machine
 * stands. */
static void test_breakpoints(Fixture *f, gconstpointer options)
{
    static const uint8_t code[] = { 0x41, 0x41, 0x41, 0x41, 0x41, 0x41, 0xeb, 0xfe };
    if (!has_breakpoints()) {
        g_test_skip("KVM does not stop at breakpoints here");
        return;
    }
    set_code(f, code, sizeof code);
    for (unsigned i = 1; i <= 6; i++) {
        accel_breakpoint(f->accel, CODE + i, true);
    }
    for (unsigned i = 1; i <= 6; i++) {
        gint64 until = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
        accel_resume_each(f->accel, run_each, NULL);
        while (f->steps < i) {
            g_assert_cmpuint(f->failures, ==, 0);
            g_assert_cmpint(g_get_monotonic_time(), <, until);
            let_run(f, 200);
        }
        accel_pause_all(f->accel);
        g_assert_cmphex(f->cpu->rip, ==, CODE + i);
        g_assert_cmpuint(f->cpu->gpr[X86_RCX], ==, i);
        g_assert_cmpmem(f->block->host + CODE, sizeof code, code, sizeof code);
        accel_breakpoint(f->accel, CODE + i, false); /* as a debugger goes on from one */
    }
}

/* mov edx, 0x80; in al, dx; mov bl, al; mov al, 7; out dx, al; rep outsb of 5 bytes at DATA; hlt */
static const uint8_t port_io[] = { 0xba, PORT, 0, 0, 0,    0xec, 0x88, 0xc3, 0xb0, 7,    0xee, 0xb9,
                                   5,    0,    0, 0, 0xbe, 0,    0,    0x10, 0,    0xf3, 0x6e, 0xf4 };

static void test_port_io(Fixture *f, gconstpointer options)
{
    memcpy(f->block->host + DATA, "abcde", 5);
    set_code(f, port_io, sizeof port_io);
    run_until(f, 6);
    g_assert_cmphex(f->cpu->gpr[X86_RBX] & 0xff, ==, 0x5a);
    g_assert_cmphex(f->last, ==, 'e');
    g_assert_cmphex(f->cpu->gpr[X86_RCX], ==, 0);
}

/* mov eax, 1; cpuid; mov esi, eax; mov eax, 0x40000000; cpuid; mov ecx, edx; mov edx, PORT; out dx, al; hlt */
static const uint8_t identify[] = { 0xb8, 1,    0,    0,    0,    0x0f, 0xa2, 0x89, 0xc6, 0xb8, 0,    0,   0,
                                    0x40, 0x0f, 0xa2, 0x89, 0xd1, 0xba, PORT, 0,    0,    0,    0xee, 0xf4 };

/* The guest sees the model's CPUID. Not the features: an emulating KVM may add what it cannot hide. */
static void test_cpuid(Fixture *f, gconstpointer options)
{
    set_code(f, identify, sizeof identify);
    run_until(f, 1);
    g_assert_cmphex(f->cpu->gpr[X86_RSI], ==, x86_cpu_signature(f->cpu));
    g_assert_cmphex(f->cpu->gpr[X86_RBX], ==, 0x4b4d564b);
    g_assert_cmphex(f->cpu->gpr[X86_RCX], ==, 0x4d);
}

/* again: mov eax, [WINDOW]; inc ecx; jmp again */
static const uint8_t reader[] = { 0xa1, 0, 0, 0, 1, 0x41, 0xeb, 0xf8 };

/* A mapping comes and goes while the guest reads there, and code runs beside it. */
static void test_map(Fixture *f, gconstpointer options)
{
    set_code(f, reader, sizeof reader);
    accel_resume_all(f->accel);
    for (unsigned i = 0; i < 40; i++) {
        region_map(&f->root, WINDOW, &f->window, 0);
        let_run(f, 100);
        region_set_readonly(&f->window, i % 2);
        let_run(f, 100);
        region_unmap(&f->window);
        let_run(f, 100);
    }
    accel_pause_all(f->accel);
    g_assert_cmpuint(f->cpu->gpr[X86_RCX], >, 0);
    store_le32(f->block->host + DATA, 0x12345678);
    region_map(&f->root, WINDOW, &f->window, 0);
    accel_resume_all(f->accel);
    gint64 until = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
    do {
        let_run(f, 2000);
        accel_pause_all(f->accel);
        g_assert_cmpint(g_get_monotonic_time(), <, until);
        accel_resume_all(f->accel);
    } while (f->cpu->gpr[X86_RAX] != 0x12345678);
    accel_pause_all(f->accel);
}

/* mov edx, PORT; again: out dx, al; jmp again */
static const uint8_t toggler[] = { 0xba, PORT, 0, 0, 0, 0xee, 0xeb, 0xfd };

/* A vCPU changes the map, again and again, while another one runs where it changes, and a third thread stops both. */
static void test_map_by_vcpu(Fixture *f, gconstpointer options)
{
    f->second  = add_cpu(f, 1);
    f->toggles = true;
    set_code_at(f, f->cpu, CODE, toggler, sizeof toggler);
    set_code_at(f, f->second, CODE + 0x100, reader, sizeof reader);
    gint64 until = g_get_monotonic_time() + 30 * G_USEC_PER_SEC;
    while (f->writes < 300) {
        accel_resume_all(f->accel);
        let_run(f, 5000);
        accel_pause_all(f->accel);
        g_assert_cmpuint(f->failures, ==, 0);
        g_assert_cmpint(g_get_monotonic_time(), <, until);
    }
    g_assert_cmpuint(f->second->gpr[X86_RCX], >, 0);
}

/* Writes a byte to each of 8 pages from DATA on, then to PORT. */
static const uint8_t writer[] = { 0xbf, 0,    0, 0x10, 0,    0xb9, 8,    0,    0,    0, 0xc6, 0x07, 1,    0x81, 0xc7,
                                  0,    0x10, 0, 0,    0x49, 0x75, 0xf4, 0xba, PORT, 0, 0,    0,    0xee, 0xf4 };

static unsigned dirty_pages(const Fixture *f, uint64_t from, unsigned n)
{
    unsigned dirty = 0;
    for (unsigned i = 0; i < n; i++) {
        dirty += f->block->pages[from / RAM_PAGE_SIZE + i].dirty & 1;
    }
    return dirty;
}

static void test_dirty(Fixture *f, gconstpointer options)
{
    g_auto(Error) err       = {};
    f->block->dirty_clients = 1;
    g_assert_true(accel_dirty_log(f->accel, f->block, true, &err));
    set_code(f, writer, sizeof writer);
    run_until(f, 1);
    accel_dirty_sync(f->accel, f->block);
    g_assert_cmpuint(dirty_pages(f, DATA, 8), ==, 8);
    g_assert_cmpuint(dirty_pages(f, DATA + 8 * RAM_PAGE_SIZE, 16), ==, 0);
    for (unsigned i = 0; i < 8; i++) {
        f->block->pages[DATA / RAM_PAGE_SIZE + i].dirty = 0;
    }
    accel_dirty_sync(f->accel, f->block);
    g_assert_cmpuint(dirty_pages(f, DATA, 8), ==, 0);
    set_code(f, writer, sizeof writer);
    run_until(f, 2);
    g_assert_true(accel_dirty_log(f->accel, f->block, false, &err)); /* tells what it knows */
    g_assert_cmpuint(dirty_pages(f, DATA, 8), ==, 8);
    f->block->dirty_clients = 0;
}

/* --- interrupts and eventfds --- */

static bool requested(const Fixture *f, unsigned vector)
{
    uint8_t page[APIC_PAGE_SIZE];
    g_assert_true(kvm_state_get(kvm_vcpu(f->cpu)));
    apic_get_page(f->cpu->apic, page);
    return load_le32(page + 0x200 + vector / 32 * 16) >> vector % 32 & 1;
}

static void enable_lapic(Fixture *f)
{
    region_write(apic_region(f->cpu->apic), 0xf0, 4, 0x1ff);
    g_assert_true(kvm_state_put(kvm_vcpu(f->cpu)));
}

static void wait_for_request(const Fixture *f, unsigned vector)
{
    gint64 until = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
    while (!requested(f, vector)) {
        g_assert_cmpint(g_get_monotonic_time(), <, until);
        g_usleep(200);
    }
}

static void test_messages(Fixture *f, gconstpointer options)
{
    g_auto(Error) err = {};
    Kvm     *kvm      = kvm_of(f->accel);
    uint64_t one      = 1;
    int      fd       = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    enable_lapic(f);
    g_assert_false(requested(f, 0x51));
    apic_bus_send_msi(f->apics, 0xfee00000, 0x51);
    wait_for_request(f, 0x51);

    int gsi = kvm_msi_gsi_new(kvm, 0xfee00000, 0x61, &err), other = kvm_msi_gsi_new(kvm, 0xfee00000, 0x71, &err);
    g_assert_cmpint(gsi, >=, KVM_GSI_MSI);
    g_assert_cmpint(other, >, gsi);
    g_assert_true(kvm_irqfd_add(kvm, gsi, fd, -1, &err));
    g_assert_cmpint(write(fd, &one, sizeof one), ==, sizeof one);
    wait_for_request(f, 0x61);
    g_assert_true(kvm_msi_gsi_update(kvm, gsi, 0xfee00000, 0x62, &err));
    g_assert_cmpint(write(fd, &one, sizeof one), ==, sizeof one);
    wait_for_request(f, 0x62);
    g_assert_false(requested(f, 0x71));
    kvm_irqfd_remove(kvm, gsi, fd);
    kvm_msi_gsi_free(kvm, gsi);
    g_assert_cmpint(kvm_msi_gsi_new(kvm, 0xfee00000, 0x63, &err), ==, gsi);
    g_assert_false(kvm_irqfd_add(kvm, gsi, -1, -1, &err));
    g_assert_nonnull(err.text);
    close(fd);
}

/* What came while the machine stood is not lost when it goes on, nor when its state was looked at. */
static void test_message_while_paused(Fixture *f, gconstpointer options)
{
    enable_lapic(f);
    set_code(f, endless, sizeof endless);
    accel_resume_all(f->accel);
    let_run(f, 1000);
    accel_pause_all(f->accel);
    apic_bus_send_msi(f->apics, 0xfee00000, 0x52);
    accel_resume_all(f->accel);
    let_run(f, 1000);
    accel_pause_all(f->accel);
    g_assert_true(requested(f, 0x52));
}

/* mov edx, EVENT_PORT; mov eax, 5; out dx, eax; out dx, al; mov edx, PORT; out dx, al; hlt */
static const uint8_t poster[] = { 0xba, EVENT_PORT, 0,    0,    0, 0xb8, 5, 0,    0,   0,
                                  0xef, 0xee,       0xba, PORT, 0, 0,    0, 0xee, 0xf4 };

static void test_ioeventfd(Fixture *f, gconstpointer options)
{
    g_auto(Error) err = {};
    Kvm       *kvm    = kvm_of(f->accel);
    int        any = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), matched = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    KvmIoEvent bytes = { .address = EVENT_PORT, .port = true, .size = 1, .fd = any };
    KvmIoEvent fives = { .address = EVENT_PORT, .port = true, .size = 4, .match = true, .value = 5, .fd = matched };
    uint64_t   count = 0;
    g_assert_true(kvm_ioeventfd_add(kvm, &bytes, &err));
    g_assert_true(kvm_ioeventfd_add(kvm, &fives, &err));
    set_code(f, poster, sizeof poster);
    run_until(f, 1);
    g_assert_cmpint(read(any, &count, sizeof count), ==, sizeof count);
    g_assert_cmpuint(count, ==, 1);
    g_assert_cmpint(read(matched, &count, sizeof count), ==, sizeof count);
    g_assert_cmpuint(count, ==, 1);
    kvm_ioeventfd_remove(kvm, &bytes);
    kvm_ioeventfd_remove(kvm, &fives);
    set_code(f, poster, sizeof poster);
    run_until(f, 2);
    g_assert_cmpint(read(any, &count, sizeof count), <, 0);
    close(any);
    close(matched);
}

/* --- the TSC --- */

/* An emulating KVM may give guests the host's counter, whatever it was asked for. */
static bool has_own_tsc(const Fixture *f)
{
    uint64_t               wanted = 12345, offset = wanted;
    struct kvm_device_attr attribute = { .group = KVM_VCPU_TSC_CTRL,
                                         .attr  = KVM_VCPU_TSC_OFFSET,
                                         .addr  = (uintptr_t)&offset };
    int                    fd        = kvm_vcpu(f->cpu)->fd;
    return kvm_ioctl(fd, KVM_SET_DEVICE_ATTR, &attribute) == 0 && !(offset = 0) &&
           kvm_ioctl(fd, KVM_GET_DEVICE_ATTR, &attribute) == 0 && offset == wanted;
}

static void test_tsc(Fixture *f, gconstpointer options)
{
    if (!has_own_tsc(f)) {
        g_test_message("this KVM cannot offset the TSC");
        return;
    }
    x86_set_tsc(f->cpu, 1000000000);
    set_code(f, endless, sizeof endless);
    uint64_t last = 1000000000;
    for (unsigned i = 0; i < 3; i++) {
        accel_resume_all(f->accel);
        let_run(f, 5000);
        accel_pause_all(f->accel);
        uint64_t now = x86_rdtsc(f->cpu);
        g_assert_cmpuint(now, >, last + f->cpu->tsc_hz / 1000 * 4);
        g_assert_cmpuint(now, <, last + f->cpu->tsc_hz * 5);
        last = now;
        let_run(f, 5000);
        g_assert_cmpuint(x86_rdtsc(f->cpu), ==, now);
    }
}

/* --- the probe --- */

static void test_probe(void)
{
    g_autofree char *why  = NULL;
    gint64           from = g_get_monotonic_time();
    bool             fast = kvm_probe(&why);
    g_assert_cmpint(g_get_monotonic_time() - from, <, 2 * G_USEC_PER_SEC);
    g_assert_true(fast == (why == NULL));
    g_test_message("%s", why ? why : "at hardware speed");
}

int main(int argc, char **argv)
{
    g_auto(Error) err = {};
    g_test_init(&argc, &argv, NULL);
    int fd = kvm_open("/dev/kvm", &err);
    if (fd < 0) {
        printf("1..0 # SKIP %s\n", err.text);
        return 0;
    }
    close(fd);
#define TEST(name, options, function) g_test_add("/kvm/" name, Fixture, options, setup, function, teardown)
    TEST("state/on", "kernel-irqchip=on", test_state);
    TEST("state/split", "kernel-irqchip=split", test_state);
    TEST("state/off", "kernel-irqchip=off", test_state);
    TEST("lapic/on", "kernel-irqchip=on", test_lapic);
    TEST("lapic/split", "kernel-irqchip=split", test_lapic);
    TEST("kick/on", "kernel-irqchip=on", test_kick);
    TEST("kick/off", "kernel-irqchip=off", test_kick);
    TEST("step", NULL, test_step);
    TEST("breakpoints", NULL, test_breakpoints);
    TEST("cpuid", NULL, test_cpuid);
    TEST("port-io", NULL, test_port_io);
    TEST("map", NULL, test_map);
    TEST("map-by-vcpu/on", "kernel-irqchip=on", test_map_by_vcpu);
    TEST("map-by-vcpu/off", "kernel-irqchip=off", test_map_by_vcpu);
    TEST("dirty/bitmap", NULL, test_dirty);
    TEST("dirty/ring", "dirty-ring-size=1024", test_dirty);
    TEST("messages/on", "kernel-irqchip=on", test_messages);
    TEST("messages/split", "kernel-irqchip=split", test_messages);
    TEST("message-while-paused", NULL, test_message_while_paused);
    TEST("ioeventfd", NULL, test_ioeventfd);
    TEST("tsc", NULL, test_tsc);
    g_test_add_func("/kvm/probe", test_probe);
    return g_test_run();
}
