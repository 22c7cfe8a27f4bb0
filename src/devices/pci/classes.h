/* Names of classes of PCI functions. */

#ifndef QUERN_DEVICES_PCI_CLASSES_H
#define QUERN_DEVICES_PCI_CLASSES_H

#include <stdint.h>

/* What people call it, by class and subclass (0200h: "Ethernet controller"); NULL: no name. */
const char *pci_class_name(uint16_t code);

#endif
