/* Devices: a PC's chips and cards, and a guest that does to them whatever the input says. Ports, device memory, PCI
 * configuration, time, interrupt acknowledges, resets, saving and loading of states (also damaged ones).
 *
 * Each operation is a byte and its operands; when the input is used up, it is over. Time goes on by at most a tenth of
 * a second an operation and ten seconds in all, so that an input's length bounds the work. */

#include "fuzz_device.h"

#include "../unit/platform.h"
#include "devices/acpi/piix4_pm.h"
#include "devices/input/i8042.h"
#include "devices/irq/gates.h"
#include "devices/irq/i8259.h"
#include "devices/irq/ioapic.h"
#include "devices/misc/fw_cfg.h"
#include "devices/misc/port92.h"
#include "devices/pci/piix3.h"
#include "devices/timer/hpet.h"
#include "devices/timer/i8254.h"
#include "devices/timer/mc146818rtc.h"

enum { N_CPUS = 2, EDU_BAR = 0xe0000000, TEST_BAR = 0xe0200000, TEST_IO = 0xc000, MAX_OPERATIONS = 3000 };

typedef struct Pc {
    TestPlatform t;
    ApicBus     *bus;
    Apic        *apics[N_CPUS];
    PciHost     *host;
    I8259       *pic;
    IoApic      *ioapic;
    IrqSplit     splits[16];
    IrqPin       lint0;
    int64_t      time_left;
    unsigned     operations;
} Pc;

/* ---- The machine ---- */

static void on_signal(void *opaque, ApicSignal what, uint8_t vector)
{
}

static uint64_t read_tsc(void *opaque)
{
    return (uint64_t)clock_now(((Pc *)opaque)->t.p.clocks, VIRTUAL_CLOCK) * 2;
}

static int64_t tsc_to_ns(void *opaque, uint64_t tsc)
{
    return (int64_t)(tsc / 2);
}

static void set_lint0(void *opaque, int n, int level)
{
    apic_set_lint(((Pc *)opaque)->apics[0], 0, level);
}

static void send_msi(Platform *p, uint64_t address, uint32_t data)
{
    apic_bus_send_msi(((Pc *)p)->bus, address, data);
}

static Device *add(Pc *pc, const char *type, uint8_t devfn)
{
    g_auto(Error) err = {};
    Device *dev       = device_new(&pc->t.p, type);
    if (devfn) {
        ((PciDevice *)dev)->addr = 1u + devfn;
    }
    g_assert(device_realize(dev, NULL, &err));
    return dev;
}

static void build(Pc *pc)
{
    g_auto(Error) err = {};
    *pc               = (Pc){ .time_left = 10 * NS_PER_SECOND };
    Platform *p       = &pc->t.p;
    test_platform_open(&pc->t);
    p->send_msi = send_msi;
    pc->bus     = apic_bus_new(p->clocks, p->log);
    for (unsigned i = 0; i < N_CPUS; i++) {
        ApicHost host = { on_signal, read_tsc, tsc_to_ns, pc };
        pc->apics[i]  = apic_new(pc->bus, p->memory, i, i == 0, &host);
    }
    pc->lint0     = (IrqPin){ set_lint0, pc, 0 };
    pc->host      = i440fx_create(p, &pc->t.ram_region, &err);
    Piix3 *bridge = piix3_create(p, pc->host, &err);
    pc->pic       = i8259_create(p, &pc->lint0, &err);
    pc->ioapic    = ioapic_create(p, pc->bus, 0, &err);
    for (unsigned n = 0; n < 24; n++) {
        p->gsi[n] = ioapic_input(pc->ioapic, n);
    }
    for (unsigned n = 0; n < 16; n++) {
        irq_split_init(&pc->splits[n], i8259_input(pc->pic, n), p->gsi[n ? n : 2]);
        p->isa_irq[n] = &pc->splits[n].in;
    }
    Hpet    *hpet  = hpet_create(p, &err);
    RtcSetup setup = { .clock = VIRTUAL_CLOCK, .start = 1700000000, .slew = true };
    i8254_create(p, hpet_legacy_input(hpet, 0), &err);
    rtc_create(p, &setup, hpet_legacy_input(hpet, 1), &err);
    piix4_pm_create(p, pc->host->bus, PCI_DEVFN(1, 3), piix3_sci_input(bridge), NULL, &err);
    i8042_create(p, NULL, &err);
    port92_create(p, NULL, &err);
    port80_create(p, &err);
    FwCfg *fw              = fw_cfg_create(p, &err);
    g_autoptr(GBytes) file = g_bytes_new_static("0123456789abcdef", 16);
    fw_cfg_add_file(fw, "etc/read", file, &err);
    fw_cfg_add_file_ops(fw, "etc/write", file, true, NULL, &err);
    g_assert(!error_is_set(&err));
    add(pc, "edu", PCI_DEVFN(3, 0));
    add(pc, "pci-testdev", PCI_DEVFN(4, 0));
    add(pc, "pc-testdev", 0);
    add(pc, "pvpanic", 0);
    add(pc, "isa-debug-exit", 0);
    devices_reset(p, RESET_COLD);
}

/* What firmware would have done, so that inputs need not: BARs, PM ports, an enabled local APIC. */
static void configure(Pc *pc)
{
    PciBus *bus = pc->host->bus;
    pci_bus_config_write(bus, 0, PCI_DEVFN(3, 0), PCI_BAR0, EDU_BAR, 4);
    pci_bus_config_write(bus, 0, PCI_DEVFN(3, 0), PCI_COMMAND, 7, 2);
    pci_bus_config_write(bus, 0, PCI_DEVFN(4, 0), PCI_BAR0, TEST_BAR, 4);
    pci_bus_config_write(bus, 0, PCI_DEVFN(4, 0), PCI_BAR0 + 4, TEST_IO, 4);
    pci_bus_config_write(bus, 0, PCI_DEVFN(4, 0), PCI_COMMAND, 7, 2);
    piix4_pm_set_bases((Piix4Pm *)pci_bus_device(bus, PCI_DEVFN(1, 3)), PIIX4_PM_BASE, PIIX4_SMBUS_BASE);
    for (unsigned i = 0; i < N_CPUS; i++) {
        region_write(apic_region(pc->apics[i]), 0xf0, 4, 0x1ff);
    }
}

static void tear_down(Pc *pc)
{
    devices_free(&pc->t.p);
    for (unsigned i = 0; i < N_CPUS; i++) {
        apic_free(pc->apics[i]);
    }
    apic_bus_free(pc->bus);
    test_platform_close(&pc->t);
}

/* ---- Operations ---- */

static const uint16_t ports[] = {
    0x20,  0x21,   0xa0,   0xa1,    0x4d0,       0x4d1, 0x40,  0x41,  0x42,  0x43,   0x61,   0x60,   0x64,
    0x70,  0x71,   0x80,   0x92,    0xb2,        0xb3,  0xe0,  0xe4,  0xed,  0xf0,   0x501,  0x505,  0x510,
    0x511, 0x514,  0x518,  0xcf8,   0xcf9,       0xcfc, 0xcfe, 0x600, 0x602, 0x604,  0x605,  0x608,  0x700,
    0x702, 0x2000, 0x200a, TEST_IO, TEST_IO + 4, 0x16,  0x100, 0x200, 0x300, 0xb100, 0xafe0, 0xafe2,
};

static const uint32_t windows[] = {
    HPET_ADDRESS, HPET_ADDRESS + 0x100, IOAPIC_ADDRESS, EDU_BAR, EDU_BAR + 0x80,
    TEST_BAR,     0xff000000,           0xf0000,        0xa0000, 0x1000,
};

static const unsigned sizes[] = { 1, 2, 4, 8 };

static uint64_t take_address(Input *in)
{
    uint64_t window = windows[take(in, 1) % G_N_ELEMENTS(windows)];
    return window + take(in, 2) % 0x1000;
}

static Device *pick_device(Pc *pc, unsigned n)
{
    return pc->t.p.devices->pdata[n % pc->t.p.devices->len];
}

static void save_and_load_apic(Apic *apic, uint16_t at, uint8_t flip)
{
    g_auto(Error) err           = {};
    g_autoptr(GByteArray) state = g_byte_array_new();
    apic_save(apic, state);
    if (flip && state->len) {
        state->data[at % state->len] ^= flip;
    }
    bool ok = apic_load(apic, state->data, state->len, &err);
    g_assert(ok || flip);
    fuzz_check_error(ok, &err);
    if (!ok) {
        apic_reset(apic, false);
    }
}

/* The guest takes its interrupts. */
static void run_cpu(Pc *pc, unsigned n, bool eoi)
{
    int vector = apic_take_vector(pc->apics[n]);
    g_assert(vector == -1 || vector == APIC_EXTINT || (vector >= 16 && vector < 256));
    if (vector == APIC_EXTINT && i8259_pending(pc->pic)) {
        i8259_ack(pc->pic);
    } else if (vector >= 0 && eoi) {
        region_write(apic_region(pc->apics[n]), 0xb0, 4, 0);
    }
}

static void operate(Pc *pc, Input *in)
{
    uint8_t  what = (uint8_t)take(in, 1);
    unsigned size = sizes[what >> 6];
    Apic    *apic = pc->apics[what >> 5 & 1];
    uint64_t value;
    switch (what & 15) {
    case 0:
    case 1: {
        uint16_t port = ports[take(in, 1) % G_N_ELEMENTS(ports)];
        address_space_store(pc->t.p.io_space, port, take(in, MIN(size, 4)), MIN(size, 4));
        break;
    }
    case 2: address_space_load(pc->t.p.io_space, ports[take(in, 1) % G_N_ELEMENTS(ports)], MIN(size, 4)); break;
    case 3: {
        uint64_t addr = take_address(in);
        mem_store(&pc->t, addr, take(in, size), size);
        break;
    }
    case 4: mem_load(&pc->t, take_address(in), size); break;
    case 5: {
        unsigned slot = what >> 4 & 3, offset = (unsigned)take(in, 1) & ~3u;
        uint8_t  fn = slot == 1 && take(in, 1) & 1 ? 3 : 0;
        pci_bus_config_write(pc->host->bus, 0, PCI_DEVFN(slot == 2 ? 4 : slot, fn), offset, (uint32_t)take(in, 4), 4);
        break;
    }
    case 6: out32(&pc->t, 0xcf8, (uint32_t)take(in, 4)); break;
    case 7: {
        uint64_t offset = take(in, 1) << 4 & 0xff0;
        region_write(apic_region(apic), offset, 4, take(in, 4));
        break;
    }
    case 8: region_read(apic_region(apic), take(in, 1) << 4 & 0xff0, 4, &value); break;
    case 9: {
        uint32_t msr = 0x800 + (uint32_t)take(in, 1);
        apic_write_msr(apic, msr, take(in, 8));
        break;
    }
    case 10: apic_set_base(apic, take(in, 5), 40); break;
    case 11:
        apic_set_tsc_deadline(apic, read_tsc(pc) + take(in, 4));
        apic_tsc_changed(apic);
        break;
    case 12: {
        int64_t ns = (int64_t)(take(in, 4) % (NS_PER_SECOND / 10));
        if (ns <= pc->time_left) {
            pc->time_left -= ns;
            test_step(&pc->t, ns);
        }
        break;
    }
    case 13:
        for (unsigned n = 0; n < 16; n++) {
            run_cpu(pc, n % N_CPUS, what & 16);
        }
        break;
    case 14: {
        uint16_t at = (uint16_t)take(in, 2);
        if (what & 32) {
            save_and_load_apic(pc->apics[what >> 4 & 1], at, (uint8_t)take(in, 1));
        } else {
            Device *dev = pick_device(pc, (unsigned)take(in, 1));
            save_and_load(dev, at, (uint8_t)take(in, 1));
        }
        break;
    }
    default:
        if (what & 16) {
            devices_reset(&pc->t.p, RESET_WARM);
            configure(pc);
        } else {
            irq_set(&(IrqLine){ pc->t.p.gsi[take(in, 1) % 24] }, what >> 5 & 1);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Pc   *pc = g_new(Pc, 1);
    Input in = { data, data + size };
    build(pc);
    configure(pc);
    while (in.at < in.end && pc->operations++ < MAX_OPERATIONS) {
        operate(pc, &in);
    }
    tear_down(pc);
    g_free(pc);
    return 0;
}
