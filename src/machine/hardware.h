/* A PC as its firmware tables describe it: plain numbers, so that the builders of tables depend on no device. */

#ifndef QUERN_MACHINE_HARDWARE_H
#define QUERN_MACHINE_HARDWARE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* What a chipset fixes: constants of its registers, and how the pins of PCI slots on bus 0 reach interrupts. */
typedef struct PcWiring {
    bool     pci;     /* there is a PCI bus */
    bool     express; /* it is PCI Express, with memory-mapped configuration space */
    uint16_t pm_base; /* PM1 events +0, control +4, timer +8 */
    uint16_t gpe0_base;
    uint8_t  gpe0_len;
    uint8_t  smi_cmd, acpi_enable, acpi_disable;

    unsigned (*pirq)(unsigned slot, unsigned pin); /* PIRQ line of a pin, 0..3 for INTA..INTD */
    uint8_t  n_pirqs;                              /* 4 or 8 */
    uint8_t  irqs[8];                              /* ISA interrupts of the PIRQs, as direct boot routes them */
    uint8_t  first_gsi;        /* PIRQs have inputs of the I/O APIC of their own from here on; 0: none */
    uint8_t  sci_devfn;        /* function whose pin A is the SCI; 0: none */
    uint8_t  isa_devfn;        /* the ISA bridge; its routing registers are at 60h and 68h */
    uint8_t  pm_devfn;         /* the power management function; 0: it is the bridge's */
    uint16_t cpu_hotplug_port; /* of vCPUs that come and go, where power management is */
} PcWiring;

extern const PcWiring pc_i440fx_wiring, pc_q35_wiring;

typedef struct PcHardware {
    const PcWiring *wiring;
    unsigned        cpus;             /* that there can be */
    const uint32_t *apic_ids;         /* of them, boot processor first; borrowed */
    const bool     *present;          /* which of them are there; NULL: all; borrowed */
    uint16_t        cpu_hotplug_port; /* registers of those that come and go; 0: none do */
    unsigned        sockets, cores_per_socket, threads_per_core;
    uint32_t        cpuid_1_eax, cpuid_1_edx;
    uint8_t         io_apic_id;

    uint64_t ram_below_4g, ram_above_4g;      /* from 0 and from 4 GiB on */
    uint64_t pci32_first, pci32_last;         /* window for BARs below 4 GiB */
    uint64_t pci32_low_first, pci32_low_last; /* another one, which only firmware uses; both 0: none */
    uint64_t pci64_first, pci64_last;         /* above RAM; both 0: none */
    uint64_t ecam_base, ecam_size;            /* memory-mapped configuration space; 0: none */

    const struct NumaConfig *numa;                       /* NULL: there are no nodes; borrowed */
    uint64_t                 hotplug_base, hotplug_size; /* where memory devices may lie; size 0: nowhere */
    unsigned                 memory_slots;               /* for memory devices */
    bool                     nvdimm;                     /* they may be persistent */
    const GByteArray        *nfit;                       /* structures of the NFIT; NULL: there are none; borrowed */

    /* Hardware-reduced ACPI: events, sleep and reset by a generic event device. */
    bool     reduced;
    uint64_t ged_base;
    uint8_t  ged_irq;
    uint64_t virtio_mmio_base; /* places for virtio devices, 200h bytes each */
    unsigned virtio_mmio_slots, virtio_mmio_first_gsi;
    uint64_t io_apic2_address; /* a second I/O APIC with interrupts from 24 on; 0: none */

    bool     acpi_pm; /* the chipset's power management is there */
    bool     s3, s4;
    uint8_t  s3_type, s4_type, s5_type;
    bool     hpet;
    uint32_t hpet_block_id;
    bool     pic, rtc, i8042, fw_cfg, vga;
    uint16_t pvpanic_port; /* 0: none */
    uint16_t serial[4];    /* port numbers; 0: none */
    uint8_t  serial_irq[4];
    uint16_t parallel[3];
    uint8_t  parallel_irq[3];
} PcHardware;

static inline bool hardware_has_cpu(const PcHardware *hw, unsigned n)
{
    return !hw->present || hw->present[n];
}

/* Where things are on every PC of ours. */
enum {
    PC_LOCAL_APIC = 0xfee00000,
    PC_SCI_IRQ    = 9,
};

/* ISA interrupts that may be level-triggered, active high: PCI links and the SCI. MADT and MP table say so. */
#define PC_LEVEL_IRQS (1u << 5 | 1u << 9 | 1u << 10 | 1u << 11)

#endif
