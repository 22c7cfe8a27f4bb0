/* A PC as its firmware tables describe it: plain numbers, so that the builders of tables depend on no device. */

#ifndef QUERN_MACHINE_HARDWARE_H
#define QUERN_MACHINE_HARDWARE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct PcHardware {
    unsigned        cpus;
    const uint32_t *apic_ids; /* of `cpus` vCPUs, boot processor first; borrowed */
    unsigned        sockets, cores_per_socket, threads_per_core;
    uint32_t        cpuid_1_eax, cpuid_1_edx;
    uint8_t         io_apic_id;

    uint64_t ram_below_4g, ram_above_4g; /* from 0 and from 4 GiB on */
    uint64_t pci32_first, pci32_last;    /* window for BARs below 4 GiB */
    uint64_t pci64_first, pci64_last;    /* above RAM; both 0: none */

    bool     acpi_pm; /* PIIX4 power management at 01.3 */
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

/* Where things are on every PC of ours. */
enum {
    PC_LOCAL_APIC = 0xfee00000,
    PC_SCI_IRQ    = 9,
};

/* ISA interrupts that may be level-triggered, active high: PCI links and the SCI. MADT and MP table say so. */
#define PC_LEVEL_IRQS (1u << 5 | 1u << 9 | 1u << 10 | 1u << 11)

/* PIRQ line (0..3) that pin (0..3 for INTA..INTD) of a slot on bus 0 reaches. */
static inline unsigned pc_pirq(unsigned slot, unsigned pin)
{
    return (slot + 3 + pin) & 3;
}

#endif
