/* The MultiProcessor table. Specification: Intel MultiProcessor Specification 1.4 (1997), chapter 4. */

#include "machine/mptable.h"

#include "base/bytes.h"
#include "devices/irq/ioapic.h"

#include <string.h>

enum { MP_PROCESSOR = 0, MP_BUS = 1, MP_IO_APIC = 2, MP_IO_INTERRUPT = 3, MP_LOCAL_INTERRUPT = 4 };
enum { MP_INT = 0, MP_NMI = 1, MP_EXTINT = 3 };
enum { BUS_PCI_ID = 0, BUS_ISA_ID = 1 };
enum { FLAGS_CONFORM = 0, FLAGS_LEVEL_HIGH = 0x0d };
enum { TABLE_HEADER = 44, POINTER_SIZE = 16 };

static void put(GByteArray *out, uint64_t value, unsigned size)
{
    uint8_t buf[8];
    store_le(buf, value, size);
    g_byte_array_append(out, buf, size);
}

static void put_text(GByteArray *out, const char *text, unsigned len)
{
    g_byte_array_append(out, (const uint8_t *)text, len);
}

static void add_interrupt(GByteArray *o, unsigned entry, unsigned type, unsigned flags, unsigned bus, unsigned irq,
                          unsigned apic, unsigned pin, unsigned *count)
{
    put(o, entry, 1);
    put(o, type, 1);
    put(o, flags, 2);
    put(o, bus, 1);
    put(o, irq, 1);
    put(o, apic, 1);
    put(o, pin, 1);
    ++*count;
}

/* The I/O APIC's input of a pin of a slot on bus 0. */
static unsigned pci_interrupt(const PcWiring *w, unsigned slot, unsigned pin)
{
    unsigned pirq = w->pirq(slot, pin);
    if (w->sci_devfn && slot == w->sci_devfn >> 3 && pin == 0) {
        return PC_SCI_IRQ;
    }
    return w->first_gsi ? w->first_gsi + pirq : w->irqs[pirq];
}

void mptable_build(FirmwareTables *tables, const PcHardware *hw)
{
    TableBlob  *table   = firmware_tables_add(tables, "mptable", 16, TABLE_ZONE_FSEG, TABLE_RESERVED);
    TableBlob  *pointer = firmware_tables_add(tables, "mp-pointer", 16, TABLE_ZONE_FSEG, TABLE_RESERVED);
    GByteArray *o       = table->data;
    unsigned    count   = 0;

    put_text(o, "PCMP", 4);
    put(o, 0, 2); /* length */
    put(o, 4, 1); /* specification 1.4 */
    put(o, 0, 1); /* checksum */
    put_text(o, "QUERN   ", 8);
    put_text(o, "PC          ", 12);
    put(o, 0, 4); /* no OEM table */
    put(o, 0, 2);
    put(o, 0, 2); /* entries */
    put(o, PC_LOCAL_APIC, 4);
    put(o, 0, 4); /* no extended table */

    for (unsigned i = 0; i < hw->cpus; i++) {
        if (hw->apic_ids[i] > 254 || !hardware_has_cpu(hw, i)) {
            continue;
        }
        put(o, MP_PROCESSOR, 1);
        put(o, hw->apic_ids[i], 1);
        put(o, 0x14, 1);           /* version of the local APIC */
        put(o, i == 0 ? 3 : 1, 1); /* enabled, boot processor */
        put(o, hw->cpuid_1_eax, 4);
        put(o, hw->cpuid_1_edx, 4);
        put(o, 0, 8);
        count++;
    }
    if (hw->wiring->pci) {
        put(o, MP_BUS, 1);
        put(o, BUS_PCI_ID, 1);
        put_text(o, "PCI   ", 6);
        count++;
    }
    put(o, MP_BUS, 1);
    put(o, BUS_ISA_ID, 1);
    put_text(o, "ISA   ", 6);
    put(o, MP_IO_APIC, 1);
    put(o, hw->io_apic_id, 1);
    put(o, 0x11, 1);
    put(o, 1, 1); /* enabled */
    put(o, IOAPIC_ADDRESS, 4);
    count += 2;

    for (unsigned slot = 1; slot < 32 && hw->wiring->pci; slot++) {
        for (unsigned pin = 0; pin < 4; pin++) {
            add_interrupt(o, MP_IO_INTERRUPT, MP_INT, FLAGS_LEVEL_HIGH, BUS_PCI_ID, slot << 2 | pin, hw->io_apic_id,
                          pci_interrupt(hw->wiring, slot, pin), &count);
        }
    }
    unsigned level = hw->wiring->pci ? 1u << PC_SCI_IRQ : 0;
    for (unsigned i = 0; i < hw->wiring->n_pirqs; i++) {
        level |= 1u << hw->wiring->irqs[i];
    }
    for (unsigned irq = 0; irq < 16; irq++) {
        if (irq == 2) {
            continue; /* the cascade; pin 2 is the timer's */
        }
        add_interrupt(o, MP_IO_INTERRUPT, MP_INT, level >> irq & 1 ? FLAGS_LEVEL_HIGH : FLAGS_CONFORM, BUS_ISA_ID, irq,
                      hw->io_apic_id, irq == 0 ? 2 : irq, &count);
    }
    add_interrupt(o, MP_LOCAL_INTERRUPT, MP_EXTINT, FLAGS_CONFORM, BUS_ISA_ID, 0, hw->apic_ids[0], 0, &count);
    add_interrupt(o, MP_LOCAL_INTERRUPT, MP_NMI, FLAGS_CONFORM, BUS_ISA_ID, 0, 0xff, 1, &count);

    store_le16(o->data + 4, (uint16_t)o->len);
    store_le16(o->data + 34, (uint16_t)count);
    firmware_tables_checksum(tables, table, 7, 0, o->len);

    GByteArray *p = pointer->data;
    put_text(p, "_MP_", 4);
    put(p, 0, 4);
    put(p, 1, 1); /* one paragraph */
    put(p, 4, 1);
    put(p, 0, 1); /* checksum */
    put(p, 0, 5); /* a configuration table is there; virtual wire mode */
    firmware_tables_pointer(tables, pointer, 4, 4, table);
    firmware_tables_checksum(tables, pointer, 10, 0, POINTER_SIZE);
}
