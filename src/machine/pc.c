/* What the boards of PCs have in common: RAM, interrupt controllers, timers, ISA devices, firmware tables. The chipsets
 * are in pc_i440fx.c and pc_q35.c.
 *
 * So much of RAM as the chipset says lies below the PCI hole, the rest above 4 GiB. Machine lock
 * held. */

#include "machine/pc.h"

#include "base/text.h"
#include "cpu/x86/system.h"
#include "devices/misc/coprocessor.h"
#include "devices/misc/port92.h"
#include "machine/acpi.h"
#include "machine/cpuplug.h"
#include "machine/mptable.h"
#include "machine/numa.h"
#include "machine/smbios.h"
#include "machine/vmport.h"

#include <string.h>
#include <time.h>

enum { IO_APIC_ID = 0, PCI32_LAST = 0xfebfffff, CMOS_CPUS = 0x5f };

/* Room above RAM for 64-bit BARs that do not fit below 4 GiB. */
#define PCI64_SIZE (32 * GiB)

/* ---- Memory ---- */

static void map_ram(PcBoard *pc)
{
    Platform *p     = &pc->machine->platform;
    uint64_t  size  = pc->machine->config.ram_size;
    uint64_t  below = size < pc->chipset->max_low_ram ? size : pc->chipset->big_low_ram;

    pc->hw.ram_below_4g = below;
    pc->hw.ram_above_4g = size - below;
    machine_init_ram_region(pc->machine, &pc->ram_low, "ram-below-4g", 0, below);
    region_map(p->system_memory, 0, &pc->ram_low, 0);
    if (size > below) {
        machine_init_ram_region(pc->machine, &pc->ram_high, "ram-above-4g", below, size - below);
        region_map(p->system_memory, 4 * GiB, &pc->ram_high, 0);
    }
}

static unsigned nvdimm_capabilities(const Machine *m)
{
    return !m->nvdimm_persistence                      ? 0
           : strcmp(m->nvdimm_persistence, "cpu") == 0 ? NVDIMM_PERSISTENCE_CPU
                                                       : NVDIMM_PERSISTENCE_MEM_CTRL;
}

static bool check_nvdimm(const Machine *m, Error *err)
{
    const char *p = m->nvdimm_persistence;
    if (p && strcmp(p, "cpu") != 0 && strcmp(p, "mem-ctrl") != 0) {
        return error_set(err, "-machine nvdimm-persistence=%s: it is cpu or mem-ctrl", p);
    }
    if (m->nvdimm && m->acpi == ON_OFF_AUTO_OFF) {
        return error_set(err, "-machine nvdimm=on: guests hear of NVDIMMs by ACPI, and this machine has acpi=off");
    }
    return !p || m->nvdimm || error_set(err, "-machine nvdimm-persistence=%s: it needs nvdimm=on", p);
}

static bool check_unpack_cache(const Machine *m, Error *err)
{
    return !m->have_unpack_cache || m->unpack_kernel ||
           error_set(err, "-machine unpack-cache=%s: it needs unpack-kernel=on", m->unpack_cache ? "on" : "off");
}

/* Are there general purpose events? */
static bool has_events(const PcBoard *pc)
{
    return pc->pm && pc->chipset->raise_gpe;
}

static bool make_nvdimm(PcBoard *pc, Error *err)
{
    Machine *m = pc->machine;
    if (!m->nvdimm) {
        return true;
    }
    m->platform.memory_devices->nvdimms = true;
    pc->nvdimm = acpi_nvdimm_create(&m->platform, nvdimm_capabilities(m), pc->chipset->raise_gpe, pc, err);
    return pc->nvdimm != NULL;
}

/* Memory devices lie above RAM, each where huge pages of 1 GiB can have it. */
static bool make_room_for_memory(PcBoard *pc, Error *err)
{
    Machine             *m    = pc->machine;
    const MachineConfig *c    = &m->config;
    const X86Cpu        *cpu  = m->cpus->pdata[0];
    PcHardware          *hw   = &pc->hw;
    uint64_t             room = c->max_ram ? c->max_ram - c->ram_size : 0;

    if (!room) {
        return true;
    }
    hw->hotplug_base = (4 * GiB + hw->ram_above_4g + GiB - 1) & ~(GiB - 1);
    hw->hotplug_size = ((room + GiB - 1) & ~(GiB - 1)) + c->ram_slots * GiB;
    hw->memory_slots = (unsigned)c->ram_slots;
    uint64_t end     = UINT64_C(1) << MIN(cpu->phys_bits, 52);
    if (hw->hotplug_base >= end || hw->hotplug_size > end - hw->hotplug_base) {
        return error_set(
            err,
            "-m maxmem=: memory devices would lie beyond the %u address bits of the CPU model (-cpu MODEL,phys-bits=)",
            cpu->phys_bits);
    }
    m->platform.memory_devices = memory_devices_new(&m->platform, hw->hotplug_base, hw->hotplug_size, room,
                                                    hw->memory_slots, c->numa ? c->numa->n : 1);
    return !has_events(pc) ||
           (memory_hotplug_create(&m->platform, pc->chipset->raise_gpe, pc, err) && make_nvdimm(pc, err));
}

static void choose_windows(PcBoard *pc)
{
    const X86Cpu *cpu = pc->machine->cpus->pdata[0];
    uint64_t      top = (4 * GiB + pc->hw.ram_above_4g + GiB - 1) & ~(GiB - 1);
    uint64_t      end = UINT64_C(1) << MIN(cpu->phys_bits, 52);
    PcHardware   *hw  = &pc->hw;

    if (hw->hotplug_size) {
        top = hw->hotplug_base + hw->hotplug_size;
    }
    hw->pci32_last = PCI32_LAST;
    if (pc->chipset->choose_windows) {
        pc->chipset->choose_windows(pc);
    }
    if (end >= top && end - top >= PCI64_SIZE) {
        hw->pci64_first = top;
        hw->pci64_last  = top + PCI64_SIZE - 1;
    }
    pc->windows = (PciWindows){ .io_first    = 0xc000,
                                .io_last     = 0xffff,
                                .mem_first   = hw->pci32_first,
                                .mem_last    = hw->pci32_last,
                                .mem64_first = hw->pci64_first,
                                .mem64_last  = hw->pci64_last };
}

/* ---- vCPUs ---- */

/* All that there can be have their numbers from the start. */
static void number_cpus(PcBoard *pc)
{
    Machine *m      = pc->machine;
    pc->hw.cpus     = MAX(m->config.smp.max_cpus, m->cpus->len);
    pc->apic_ids    = g_new0(uint32_t, pc->hw.cpus);
    pc->hw.apic_ids = pc->apic_ids;
    for (unsigned i = 0; i < pc->hw.cpus; i++) {
        pc->apic_ids[i] = x86_apic_id(&m->topology, i);
    }
}

static bool make_cpu_hotplug(PcBoard *pc, Error *err)
{
    CpuHotplugSetup setup = { .port       = pc->chipset->wiring->cpu_hotplug_port,
                              .n_slots    = pc->hw.cpus,
                              .apic_ids   = pc->apic_ids,
                              .raise_gpe  = pc->chipset->raise_gpe,
                              .gpe_opaque = pc };
    if (!pc->pm || !setup.raise_gpe) {
        return true;
    }
    pc->hw.cpu_hotplug_port = setup.port;
    return machine_make_cpu_hotplug(pc->machine, &setup, err);
}

/* Is it another set than before? */
static bool note_cpus(PcBoard *pc)
{
    bool changed   = false;
    pc->hw.present = pc->present;
    for (unsigned i = 0; i < pc->hw.cpus; i++) {
        bool there = machine_cpu(pc->machine, i) != NULL;
        changed |= there != pc->present[i];
        pc->present[i] = there;
    }
    return changed;
}

void pc_cpus_changed(Machine *m)
{
    PcBoard *pc = pc_board(m);
    if (pc->rtc) {
        rtc_set_cmos(pc->rtc, CMOS_CPUS, (uint8_t)(m->cpus->len - 1));
    }
    if (pc->fw_cfg) {
        fw_cfg_add_i16(pc->fw_cfg, FW_CFG_NB_CPUS, (uint16_t)m->cpus->len);
    }
}

/* SMIs would find no handler of theirs in a vCPU that comes after firmware has gone. */
bool pc_check_cpu(Machine *m, Error *err)
{
    PcBoard *pc = pc_board(m);
    return !pc->chipset->smi_to_all || !pc->chipset->smi_to_all(pc) ||
           error_set_unsupported(err, "plugging in a vCPU while firmware has SMIs sent to all of them");
}

/* The next guest finds in the tables what is there now. */
static void update_tables(PcBoard *pc)
{
    if (pc->acpi && note_cpus(pc)) {
        const TableBlob *blob = acpi_update_cpus(pc->acpi, &pc->hw, pc->boot != NULL);
        if (!pc->boot) {
            pc_export_again(pc, blob);
        }
    }
}

/* ---- Interrupts ---- */

static void set_lint0(void *opaque, int n, int level)
{
    PcBoard *pc  = opaque;
    X86Cpu  *bsp = pc->machine->cpus->pdata[0];
    apic_set_lint(bsp->apic, 0, level);
}

static int ack_extint(void *opaque)
{
    PcBoard *pc = opaque;
    return pc->pic && i8259_pending(pc->pic) ? i8259_ack(pc->pic) : -1;
}

static bool pc_has_smm(const Machine *m)
{
    return m->smm != ON_OFF_AUTO_OFF && !accel_type(m->accel)->no_smm;
}

/* Pin 0: to the boot processor; pin 1: to all. */
static void send_smi(void *opaque, int n, int level)
{
    PcBoard *pc = opaque;
    for (guint i = 0; level && i < (n ? pc->machine->cpus->len : 1); i++) {
        vcpu_request(&((X86Cpu *)pc->machine->cpus->pdata[i])->vcpu, X86_REQUEST_SMI);
    }
}

IrqPin *pc_smi_pin(PcBoard *pc, bool all)
{
    pc->smi[all] = (IrqPin){ .set = send_smi, .opaque = pc, .n = all };
    return pc_has_smm(pc->machine) ? &pc->smi[all] : NULL;
}

/* ISA interrupts go to the 8259 and to the I/O APIC: the timer to its pin 2, because pin 0 hears the 8259 on real
 * boards; the cascade (IRQ 2) goes nowhere. */
static bool make_interrupt_controllers(PcBoard *pc, Error *err)
{
    Platform *p = &pc->machine->platform;

    if (pc->machine->pic != ON_OFF_AUTO_OFF) {
        pc->lint0 = (IrqPin){ .set = set_lint0, .opaque = pc };
        pc->pic   = i8259_create(p, &pc->lint0, err);
        if (!pc->pic) {
            return false;
        }
    }
    if (!pc->chipset->no_ioapic) {
        pc->ioapic = ioapic_create(p, pc->machine->apic_bus, IO_APIC_ID, err);
        if (!pc->ioapic) {
            return false;
        }
    }
    for (unsigned i = 0; pc->ioapic && i < IOAPIC_PINS; i++) {
        p->gsi[i] = ioapic_input(pc->ioapic, i);
    }
    for (unsigned i = 0; i < 16; i++) {
        if (i != 2) {
            irq_split_init(&pc->isa[i], pc->pic ? i8259_input(pc->pic, i) : NULL, p->gsi[i == 0 ? 2 : i]);
            p->isa_irq[i] = &pc->isa[i].in;
        }
    }
    machine_connect_cpus(pc->machine, ack_extint, pc, pc->smram);
    AccelBoard board = {
        .memory = p->memory_space, .apics = pc->machine->apic_bus, .pic = pc->pic, .ioapic = pc->ioapic
    };
    return accel_attach(pc->machine->accel, &board, err) || error_prefix(err, "-accel: ");
}

/* ---- Devices ---- */

static bool make_timers(PcBoard *pc, Error *err)
{
    Machine         *m     = pc->machine;
    Platform        *p     = &m->platform;
    const RtcConfig *rtc   = &m->config.rtc;
    RtcSetup         setup = { .clock = rtc->clock, .start = rtc->start, .slew = rtc->slew };

    if (m->hpet) {
        pc->hpet = hpet_create(p, err);
        if (!pc->hpet) {
            return false;
        }
    }
    if (m->pit != ON_OFF_AUTO_OFF && !i8254_create(p, pc->hpet ? hpet_legacy_input(pc->hpet, 0) : p->isa_irq[0], err)) {
        return false;
    }
    if (!rtc->fixed) {
        time_t    now = time(NULL);
        struct tm local;
        setup.start = now;
        if (rtc->local && localtime_r(&now, &local)) {
            setup.start += local.tm_gmtoff;
        }
    }
    if (m->rtc == ON_OFF_AUTO_OFF) {
        return true;
    }
    pc->rtc = rtc_create(p, &setup, pc->hpet ? hpet_legacy_input(pc->hpet, 1) : p->isa_irq[8], err);
    return pc->rtc != NULL;
}

/* An ISA device with a chardev, as -serial and -debugcon make them. */
static bool make_char_device(PcBoard *pc, const char *type, Chardev *chr, int index, Error *err)
{
    Device *dev = device_new(&pc->machine->platform, type);
    bool    ok  = true;

    if (chr) {
        g_autoptr(Json) id = json_new_string(chr->id);
        ok                 = object_set(&dev->obj, "chardev", id, false, err);
    }
    if (ok && index >= 0) {
        g_autoptr(Json) n = json_new_int(index);
        ok                = object_set(&dev->obj, "index", n, false, err);
    }
    if (!ok) {
        object_unref(&dev->obj);
        return false;
    }
    return device_realize(dev, NULL, err);
}

static bool has_vmport(const PcBoard *pc)
{
    const Machine *m = pc->machine;
    if (pc->chipset->no_control_ports || accel_type(m->accel)->no_io_registers) {
        return false;
    }
    return m->vmport == ON_OFF_AUTO_AUTO ? m->i8042 : m->vmport == ON_OFF_AUTO_ON;
}

static bool make_isa_devices(PcBoard *pc, Error *err)
{
    Machine  *m = pc->machine;
    Platform *p = &m->platform;

    if (m->i8042 && !i8042_create(p, machine_a20_gate(m, A20_KEYBOARD), err)) {
        return false;
    }
    if (has_vmport(pc) && !vmport_create(m, err)) {
        return false;
    }
    if (!pc->chipset->no_control_ports) {
        if (!port92_create(p, machine_a20_gate(m, A20_PORT92), err) || !port80_create(p, err)) {
            return false;
        }
        IrqPin *ferr = coprocessor_create(p, &m->ignne, err);
        if (!ferr) {
            return false;
        }
        machine_connect_ferr(m, ferr);
    }
    for (int i = 0; i < (int)G_N_ELEMENTS(m->config.serial); i++) {
        if (m->config.serial_present[i] && !make_char_device(pc, "isa-serial", m->config.serial[i], i, err)) {
            return error_prefix(err, "serial port %d: ", i);
        }
    }
    for (int i = 0; i < (int)G_N_ELEMENTS(m->config.parallel); i++) {
        if (m->config.parallel_present[i] && !make_char_device(pc, "isa-parallel", m->config.parallel[i], i, err)) {
            return error_prefix(err, "parallel port %d: ", i);
        }
    }
    if (m->config.debugcon && !make_char_device(pc, "isa-debugcon", m->config.debugcon, -1, err)) {
        return error_prefix(err, "-debugcon: ");
    }
    pc->fw_cfg = fw_cfg_create(p, err);
    return pc->fw_cfg != NULL;
}

/* CMOS bytes that firmware for PCs looks for. */
static void fill_cmos(PcBoard *pc)
{
    const PcHardware *hw = &pc->hw;
    struct {
        uint8_t  index, bytes;
        uint64_t value;
    } const entries[] = {
        { 0x15, 2, 640 }, /* base memory in KiB */
        { 0x17, 2, MIN((hw->ram_below_4g - MIN(hw->ram_below_4g, MiB)) / KiB, 0xffff) },
        { 0x30, 2, MIN((hw->ram_below_4g - MIN(hw->ram_below_4g, MiB)) / KiB, 0xffff) },
        { 0x34, 2, MIN((hw->ram_below_4g - MIN(hw->ram_below_4g, 16 * MiB)) / (64 * KiB), 0xffff) },
        { 0x5b, 3, MIN(hw->ram_above_4g / (64 * KiB), 0xffffff) },
        { CMOS_CPUS, 1, pc->machine->cpus->len - 1 },
        { 0x10, 1, 0 },                                /* no floppy drives */
        { 0x14, 1, 2 | (pc->machine->i8042 ? 4 : 0) }, /* coprocessor, PS/2 mouse */
    };

    for (unsigned i = 0; pc->rtc && i < G_N_ELEMENTS(entries); i++) {
        for (unsigned b = 0; b < entries[i].bytes; b++) {
            rtc_set_cmos(pc->rtc, (uint8_t)(entries[i].index + b), (uint8_t)(entries[i].value >> (8 * b)));
        }
    }
}

/* The letters of -boot. NULL stands for disk, floppy, CD-ROM. */
static bool set_boot_order(PcBoard *pc, const char *letters, Error *err)
{
    uint8_t first_two, third;

    if (!boot_order_cmos(letters ? letters : "cad", &first_two, &third, err)) {
        return false;
    }
    if (pc->rtc) {
        rtc_set_cmos(pc->rtc, CMOS_BOOT_12, first_two);
        rtc_set_cmos(pc->rtc, CMOS_BOOT_3, third | (pc->machine->fd_bootchk ? 0 : CMOS_NO_FLOPPY_CHECK));
    }
    return true;
}

static bool set_first_boot_order(PcBoard *pc, Error *err)
{
    const BootConfig *boot = &pc->machine->config.boot;

    if (!pc->rtc && (boot->order || boot->once)) {
        return error_set(err, "-boot %s=: firmware reads the order in the RTC's CMOS RAM, and this machine has no RTC",
                         boot->order ? "order" : "once");
    }
    return (set_boot_order(pc, boot->order, err) || error_prefix(err, "-boot order=%s: ", boot->order)) &&
           (!boot->once || set_boot_order(pc, boot->once, err) || error_prefix(err, "-boot once=%s: ", boot->once));
}

static bool refuse_missing(const Machine *m, Error *err)
{
    const struct {
        bool        asked;
        const char *what;
    } missing[] = {
        { m->vmport == ON_OFF_AUTO_ON && accel_type(m->accel)->no_io_registers,
          "-machine vmport=on with this accelerator" },
        { m->usb, "-machine usb=on" },
        { m->smm == ON_OFF_AUTO_ON && accel_type(m->accel)->no_smm, "-machine smm=on with this accelerator" },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(missing); i++) {
        if (missing[i].asked) {
            return error_set_unsupported(err, "%s", missing[i].what);
        }
    }
    return true;
}

bool pc_build(Machine *m, const PcChipset *chipset, Error *err)
{
    Platform *p  = &m->platform;
    PcBoard  *pc = g_new0(PcBoard, 1);

    m->board      = pc;
    pc->machine   = m;
    pc->chipset   = chipset;
    pc->hw.wiring = chipset->wiring;
    number_cpus(pc);
    if (!refuse_missing(m, err) || !check_nvdimm(m, err) || !check_unpack_cache(m, err)) {
        return false;
    }
    memory_begin(p->memory);
    map_ram(pc);
    bool ok = chipset->make(pc, err);
    memory_commit(p->memory);
    if (!ok || !make_interrupt_controllers(pc, err) || !make_timers(pc, err) || !make_isa_devices(pc, err) ||
        !chipset->make_rest(pc, err) || !make_cpu_hotplug(pc, err) || !make_room_for_memory(pc, err)) {
        return false;
    }
    choose_windows(pc);
    fill_cmos(pc);
    return set_first_boot_order(pc, err) && (pc_direct_boot(m) || pc_load_bios(pc, err));
}

/* ---- Tables ---- */

static uint64_t get_number(Device *dev, const char *property)
{
    g_auto(Error) ignored = { 0 };
    g_autoptr(Json) value = object_get(&dev->obj, property, &ignored);
    return value && value->kind == JSON_INT ? (uint64_t)value->integer : 0;
}

/* Devices that the DSDT lists because no operating system would find them. */
static void note_isa_device(Device *dev, void *opaque)
{
    PcHardware *hw   = opaque;
    const char *type = dev->obj.type->name;

    if (strcmp(type, "isa-serial") == 0) {
        uint64_t port = get_number(dev, "iobase"), irq = get_number(dev, "irq");
        for (unsigned i = 0; i < 4; i++) {
            static const uint16_t usual[4] = { 0x3f8, 0x2f8, 0x3e8, 0x2e8 };
            if (port == usual[i]) {
                hw->serial[i]     = (uint16_t)port;
                hw->serial_irq[i] = (uint8_t)irq;
            }
        }
    } else if (strcmp(type, "isa-parallel") == 0) {
        uint64_t port = get_number(dev, "iobase"), irq = get_number(dev, "irq");
        for (unsigned i = 0; i < 3; i++) {
            static const uint16_t usual[3] = { 0x378, 0x278, 0x3bc };
            if (port == usual[i]) {
                hw->parallel[i]     = (uint16_t)port;
                hw->parallel_irq[i] = (uint8_t)irq;
            }
        }
    } else if (strcmp(type, "pvpanic") == 0) {
        hw->pvpanic_port = (uint16_t)get_number(dev, "ioport");
    }
}

void pc_use_host(PcBoard *pc, PciHost *host)
{
    pc->bus        = host->bus;
    pc->pci_memory = &host->pci_memory;
    pc->smram      = &host->smram;
}

static void describe_hardware(PcBoard *pc)
{
    Machine    *m  = pc->machine;
    PcHardware *hw = &pc->hw;

    note_cpus(pc);
    X86CpuidLeaf id      = x86_cpuid(m->cpus->pdata[0], 1, 0);
    hw->sockets          = m->topology.sockets;
    hw->cores_per_socket = m->topology.dies * m->topology.modules * m->topology.cores;
    hw->threads_per_core = m->topology.threads;
    hw->cpuid_1_eax      = id.eax;
    hw->cpuid_1_edx      = id.edx;
    hw->io_apic_id       = IO_APIC_ID;
    hw->acpi_pm          = pc->pm != NULL;
    hw->numa             = m->config.numa;
    hw->reduced          = pc->ged != NULL;
    if (pc->pm1) {
        hw->s3      = pm1_has_s3(pc->pm1);
        hw->s4      = pm1_has_s4(pc->pm1);
        hw->s3_type = PM1_S3_TYPE;
        hw->s4_type = pc->pm1->s4_val;
        hw->s5_type = PM1_S5_TYPE;
    }
    if (pc->chipset->describe) {
        pc->chipset->describe(pc);
    }
    hw->hpet = pc->hpet != NULL;
    if (pc->hpet) {
        hw->hpet_block_id = hpet_block_id(pc->hpet);
    }
    hw->pic    = pc->pic != NULL;
    hw->rtc    = pc->rtc != NULL;
    hw->i8042  = m->i8042;
    hw->fw_cfg = true;
    hw->nvdimm = pc->nvdimm != NULL;
    if (pc->nvdimm) {
        pc->nfit = g_byte_array_new();
        acpi_nvdimm_fit(pc->nvdimm, pc->nfit);
        hw->nfit = pc->nfit->len ? pc->nfit : NULL;
    }
    devices_foreach(&m->platform, note_isa_device, hw);
}

static bool find_pci_device(void *opaque, const char *id, uint8_t *devfn)
{
    PcBoard *pc  = opaque;
    Object  *obj = object_resolve(pc->machine->platform.objects, id);

    if (!obj || obj->type->class != OBJECT_CLASS_DEVICE || !pc->bus || ((Device *)obj)->bus != pci_bus_base(pc->bus)) {
        return false;
    }
    *devfn = ((PciDevice *)obj)->devfn;
    return true;
}

static bool build_tables(PcBoard *pc, Error *err)
{
    Machine       *m        = pc->machine;
    SmbiosDefaults defaults = { .manufacturer = "QEMU",
                                .product      = machine_type(m)->help,
                                .version      = machine_type(m)->name,
                                .cpu_version  = machine_type(m)->name,
                                .bios         = pc_direct_boot(m) };

    if (m->config.have_uuid) {
        memcpy(defaults.uuid, m->config.uuid, sizeof defaults.uuid);
    }
    describe_hardware(pc);
    if (m->hmat && (!m->config.numa || !(pc->pm || pc->ged))) {
        return error_set(err, "-machine hmat=on: the HMAT is about nodes: it needs -numa and ACPI");
    }
    if (pc->pm || pc->ged) {
        pc->acpi = firmware_tables_new();
        if (!acpi_build(pc->acpi, &pc->hw, m->config.acpi_tables, err)) {
            return false;
        }
    } else if (m->config.acpi_tables && m->config.acpi_tables->len) {
        return error_set(err, "-acpitable: this machine has acpi=off");
    }
    pc->smbios = firmware_tables_new();
    if (!smbios_build(pc->smbios, &pc->hw, &defaults, m->config.smbios, find_pci_device, pc, err)) {
        return false;
    }
    if (pc->ioapic) {
        pc->mp = firmware_tables_new();
        mptable_build(pc->mp, &pc->hw);
    }
    return true;
}

bool pc_finish(Machine *m, Error *err)
{
    PcBoard *pc = pc_board(m);
    return pc_describe_drives(pc, err) && build_tables(pc, err) && pc_fill_fw_cfg(pc, err) &&
           (!pc_direct_boot(m) || pc_prepare_direct_boot(pc, err));
}

void pc_reset(Machine *m, ResetKind kind)
{
    enum { SHUTDOWN_STATUS = 0x0f, RESUME = 0xfe }; /* in CMOS: how SeaBIOS is told */
    PcBoard *pc = pc_board(m);
    if (kind == RESET_WAKE) {
        if (pc->boot) {
            pc_wake_direct_boot(pc);
        } else if (pc->rtc) {
            rtc_set_cmos(pc->rtc, SHUTDOWN_STATUS, RESUME);
        }
        return;
    }
    update_tables(pc);
    if (pc->boot) {
        pc_start_direct_boot(pc);
    } else {
        pc_copy_bios(pc);
    }
    if (pc->ran_before && pc->machine->config.boot.once) {
        set_boot_order(pc, m->config.boot.order, NULL);
        g_clear_pointer(&m->config.boot.once, g_free);
    }
    pc->ran_before = true;
}

static void unmap(Region *r)
{
    if (r->memory) {
        if (r->mapped) {
            region_unmap(r);
        }
        region_destroy(r);
    }
}

void pc_detach(Machine *m)
{
    PcBoard *pc = pc_board(m);

    if (pc) {
        machine_connect_cpus(m, NULL, NULL, NULL);
        accel_detach(m->accel);
        unmap(&pc->bios_low);
        unmap(&pc->bios_high);
    }
}

void pc_free(Machine *m)
{
    PcBoard *pc = pc_board(m);

    if (!pc) {
        return;
    }
    g_clear_pointer(&m->platform.memory_devices, memory_devices_free);
    machine_destroy_ram_region(&pc->ram_high);
    machine_destroy_ram_region(&pc->ram_low);
    ram_block_unref(pc->bios);
    ahead_free(pc->ahead);
    boot_image_free(pc->boot);
    kernel_cache_free(pc->kernel_cache);
    boot_order_clear(&pc->boot_order);
    firmware_tables_free(pc->acpi);
    firmware_tables_free(pc->smbios);
    firmware_tables_free(pc->mp);
    g_clear_pointer(&pc->nfit, g_byte_array_unref);
    g_free(pc->apic_ids);
    g_free(pc);
    m->board = NULL;
}
