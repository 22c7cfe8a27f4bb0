/* The PC board's own part, shared by the files that build and start it (pc.c,
 * pc_i440fx.c, pc_q35.c, firmware.c, direct.c).
 * Machine lock held. */

#ifndef QUERN_MACHINE_PC_H
#define QUERN_MACHINE_PC_H

#include "base/ahead.h"
#include "devices/acpi/memory_hotplug.h"
#include "devices/acpi/nvdimm.h"
#include "devices/acpi/pm1.h"
#include "devices/input/i8042.h"
#include "devices/irq/gates.h"
#include "devices/irq/i8259.h"
#include "devices/irq/ioapic.h"
#include "devices/misc/fw_cfg.h"
#include "devices/pci/host.h"
#include "devices/timer/hpet.h"
#include "devices/timer/i8254.h"
#include "devices/timer/mc146818rtc.h"
#include "machine/boot.h"
#include "machine/bootorder.h"
#include "machine/hardware.h"
#include "machine/machine.h"
#include "machine/pcisetup.h"
#include "machine/tables.h"
#include "memory/ram.h"

typedef struct PcBoard PcBoard;

/* What differs between the chipsets. */
typedef struct PcChipset {
    const PcWiring *wiring;
    const char     *bios;        /* default firmware */
    bool            bios_in_ram; /* its end is copied below 1 MiB, where there is nothing but RAM */
    bool            no_ioapic;
    bool            no_control_ports;           /* 80h, 92h */
    uint64_t        max_low_ram;                /* RAM of up to this size lies below the PCI hole as a whole; */
    uint64_t        big_low_ram;                /* of more this much */
    bool (*make)(PcBoard *pc, Error *err);      /* host and ISA bridge: bus, pci_memory, smram, isa_bus */
    bool (*make_rest)(PcBoard *pc, Error *err); /* what comes after interrupt controllers and timers */
    void (*choose_windows)(PcBoard *pc);        /* hw.pci32_*; may be NULL: up to the end of the hole */
    void (*describe)(PcBoard *pc);              /* power management in hw, where it is not PM1's; may be NULL */
    void (*set_up)(PcBoard *pc);                /* direct boot: registers as firmware leaves them */
    void (*raise_gpe)(void *pc, unsigned n);    /* a general purpose event of `pm`; NULL: there are none */
    bool (*smi_to_all)(PcBoard *pc);            /* firmware wants SMIs on all processors; NULL: never */
} PcChipset;

struct PcBoard {
    Machine         *machine;
    const PcChipset *chipset;
    Region           ram_low, ram_high; /* below and above 4 GiB */
    IrqPin           lint0;             /* the 8259's output, on the boot processor */
    IrqPin           smi[2];            /* to the boot processor, to all */
    IrqSplit         isa[16];

    IoApic *ioapic2; /* NULL: none */
    void   *ged;     /* Ged *; NULL: ACPI is not hardware-reduced */

    /* The chipset's. */
    void    *bridge, *pm; /* pm NULL: no power management */
    AcpiPm1 *pm1;         /* pm's */
    PciBus  *bus;
    Region  *pci_memory;
    Region  *smram; /* NULL: none */

    I8259  *pic; /* NULL: pic=off */
    IoApic *ioapic;
    Hpet   *hpet;
    Rtc    *rtc;
    FwCfg  *fw_cfg;

    Region    bios_high, bios_low; /* below 4 GiB, and its last 128 KiB below 1 MiB */
    RamBlock *bios;

    AcpiNvdimm *nvdimm; /* NULL: machine nvdimm=off */
    GByteArray *nfit;

    PcHardware      hw;
    uint32_t       *apic_ids; /* hw's, and which vCPUs were there when the tables were made */
    bool            present[CPU_SLOTS_MAX];
    PciWindows      windows;
    FirmwareTables *acpi, *smbios, *mp; /* NULL: there are none */
    BootOrder       boot_order;

    /* Direct boot. */
    MemoryMap    map;
    BootImage   *boot;
    KernelCache *kernel_cache; /* NULL: none, or not asked for yet */
    bool         ran_before;   /* RAM is not all zeros any more */
    Ahead       *ahead;        /* touches what the kernel is going to use; NULL: nobody does */
};

static inline PcBoard *pc_board(const Machine *m)
{
    return m->board;
}

/* Does the board start the kernel itself, without firmware? */
static inline bool pc_direct_boot(const Machine *m)
{
    return m->config.kernel && !m->config.bios;
}

/* pc.c: the parts of a MachineType that boards share; pc_build() is for their own build. */
bool pc_build(Machine *m, const PcChipset *chipset, Error *err);
bool pc_finish(Machine *m, Error *err);
void pc_reset(Machine *m, ResetKind kind);
void pc_detach(Machine *m);
bool pc_check_cpu(Machine *m, Error *err);
void pc_cpus_changed(Machine *m);
void pc_free(Machine *m);
/* For PcChipset.make: bus, PCI memory and the view of SMM are the bridge's. */
void pc_use_host(PcBoard *pc, PciHost *host);

/* drives.c: devices on "ide.0" and "ide.1" for the drives of the command line; on a board without such channels they
 * are refused. When all devices are there, what firmware hears of them. */
bool pc_make_drives(PcBoard *pc, Error *err);
bool pc_refuse_drives(PcBoard *pc, Error *err);
bool pc_describe_drives(PcBoard *pc, Error *err);

/* Properties that all boards of machines with CPUs have. */
#define BOARD_PROPERTIES                                                                                               \
    FIELD(Machine, accel_name, "accel", .help = "accelerators to try, separated by colons"),                           \
        FIELD(Machine, acpi, "acpi", .names = on_off_auto_names, .help = "ACPI tables and power management"),          \
        FIELD(Machine, smm, "smm", .names = on_off_auto_names, .help = "system management mode"),                      \
        FIELD(Machine, usb, "usb", .help = "USB controller on the board"),                                             \
        FIELD(Machine, graphics, "graphics", .initial = true, .help = "displays; off with -nographic"),                \
        FIELD(Machine, firmware, "firmware", .help = "firmware image, as -bios"),                                      \
        FIELD(Machine, unpack_kernel, "unpack-kernel",                                                                 \
              .help = "take the kernel out of a bzImage on the host and enter it by PVH: faster, without KASLR"),      \
        FIELD(Machine, unpack_cache, "unpack-cache", .initial = true,                                                  \
              .has_offset = 1 + offsetof(Machine, have_unpack_cache),                                                  \
              .help       = "keep what unpack-kernel=on unpacks in $XDG_CACHE_HOME/quern/unpacked for the next start"),      \
        FIELD(Machine, dump_guest_core, "dump-guest-core", .initial = true, .help = "guest RAM in core dumps"),        \
        FIELD(Machine, mem_merge, "mem-merge", .initial = true, .help = "let the host merge equal pages"),             \
        FIELD(Machine, kernel_irqchip, "kernel-irqchip", .alias = "kernel_irqchip",                                    \
              .help = "as -accel kvm,kernel-irqchip="),                                                                \
        FIELD(Machine, absent_flag, "suppress-vmdesc", .unsupported = true, .help = "migration without description"),  \
        FIELD(Machine, absent_text, "memory-encryption", .unsupported = true, .help = "memory encryption object"),     \
        FIELD(Machine, absent_text, "confidential-guest-support", .unsupported = true,                                 \
              .help = "confidential guest object"),                                                                    \
        FIELD(Machine, memory_backend, "memory-backend", .help = "memory backend object for RAM"),                     \
        FIELD(Machine, absent_text, "x-oem-id", .unsupported = true, .help = "OEM of ACPI tables"),                    \
        FIELD(Machine, absent_text, "x-oem-table-id", .unsupported = true, .help = "OEM's name of ACPI tables")

/* ... and those with the usual devices of a PC. */
#define PC_PROPERTIES                                                                                                  \
    BOARD_PROPERTIES, FIELD(Machine, vmport, "vmport", .names = on_off_auto_names, .help = "VMware backdoor port"),    \
        FIELD(Machine, pic, "pic", .names = on_off_auto_names, .help = "8259 interrupt controllers"),                  \
        FIELD(Machine, pit, "pit", .names = on_off_auto_names, .help = "8254 timer"),                                  \
        FIELD(Machine, hpet, "hpet", .initial = true, .help = "high precision event timers"),                          \
        FIELD(Machine, i8042, "i8042", .initial = true, .help = "keyboard controller"),                                \
        FIELD(Machine, fd_bootchk, "fd-bootchk", .initial = true, .help = "firmware checks boot sectors of floppies"), \
        FIELD(Machine, nvdimm, "nvdimm", .help = "take NVDIMMs"),                                                      \
        FIELD(Machine, nvdimm_persistence, "nvdimm-persistence",                                                       \
              .help = "what reaches NVDIMMs when power is lost: cpu (caches, too) or mem-ctrl"),                       \
        FIELD(Machine, hmat, "hmat", .help = "ACPI HMAT: what -numa says of latencies, bandwidths and caches"),        \
        FIELD(Machine, absent_text, "max-ram-below-4g", .unsupported = true, .help = "where the PCI hole begins"),     \
        FIELD(Machine, absent_text, "smbios-entry-point-type", .unsupported = true, .help = "32 or 64")

/* pc.c: an SMI to the boot processor or to all, for chipsets; NULL: this machine has no SMM. */
IrqPin *pc_smi_pin(PcBoard *pc, bool all);

/* firmware.c: loads and maps -bios, or the default firmware. */
bool pc_load_bios(PcBoard *pc, Error *err);

/* firmware.c: copies the end of the firmware into RAM where the board has no other way to show it. At reset. */
void pc_copy_bios(PcBoard *pc);

/* firmware.c: exports a blob that has changed once more. */
void pc_export_again(PcBoard *pc, const TableBlob *blob);

/* firmware.c: fills fw_cfg in; `tables` are exported for firmware when there is no direct boot. */
bool pc_fill_fw_cfg(PcBoard *pc, Error *err);

/* optionrom.c: -option-rom, and a kernel given beside -bios. */
bool pc_add_option_roms(PcBoard *pc, Error *err);
bool pc_add_firmware_kernel(PcBoard *pc, Error *err);

/* The user's cache of unpacked kernels, for -machine unpack-kernel=on; NULL: none is to be used, or can be. */
KernelCache *pc_kernel_cache(PcBoard *pc);

/* direct.c: places the tables in RAM and loads the kernel. */
bool pc_prepare_direct_boot(PcBoard *pc, Error *err);

/* direct.c, for chipsets: a register of function `devfn` of bus 0. */
void pc_config(PcBoard *pc, uint8_t devfn, unsigned reg, uint32_t value, unsigned size);

/* direct.c, for chipsets: C0000h to FFFFFh shows RAM, read-only. `pam0` is the first PAM register of the host bridge.
 */
void pc_show_shadow_ram(PcBoard *pc, unsigned pam0);

/* direct.c: puts all of it into RAM, and the chipset and the vCPUs into the state that firmware would leave. */
void pc_start_direct_boot(PcBoard *pc);

/* direct.c: the same for a guest that wakes from S3, whose RAM is left alone. */
void pc_wake_direct_boot(PcBoard *pc);

#endif
