/* Names of classes of PCI functions: see classes.h.
 * Specification: PCI Code and ID Assignment Specification 1.11, the names people know them by. */

#include "devices/pci/classes.h"

#include <stddef.h>

static const struct {
    uint16_t    code;
    const char *name;
} classes[] = {
    { 0x0001, "VGA controller" },
    { 0x0100, "SCSI controller" },
    { 0x0101, "IDE controller" },
    { 0x0102, "Floppy controller" },
    { 0x0104, "RAID controller" },
    { 0x0106, "SATA controller" },
    { 0x0107, "SAS controller" },
    { 0x0108, "NVMe controller" },
    { 0x0180, "Storage controller" },
    { 0x0200, "Ethernet controller" },
    { 0x0280, "Network controller" },
    { 0x0300, "VGA controller" },
    { 0x0380, "Display controller" },
    { 0x0400, "Video controller" },
    { 0x0401, "Audio controller" },
    { 0x0403, "Audio controller" },
    { 0x0500, "RAM controller" },
    { 0x0600, "Host bridge" },
    { 0x0601, "ISA bridge" },
    { 0x0604, "PCI bridge" },
    { 0x0680, "Bridge" },
    { 0x0700, "Serial port" },
    { 0x0701, "Parallel port" },
    { 0x0780, "Communication controller" },
    { 0x0800, "PIC" },
    { 0x0801, "DMA controller" },
    { 0x0805, "SD host controller" },
    { 0x0880, "System peripheral" },
    { 0x0900, "Keyboard" },
    { 0x0c03, "USB controller" },
    { 0x0c04, "Fibre channel" },
    { 0x0c05, "SMBus" },
    { 0x1180, "Signal processing controller" },
};

const char *pci_class_name(uint16_t code)
{
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        if (classes[i].code == code) {
            return classes[i].name;
        }
    }
    return NULL;
}
