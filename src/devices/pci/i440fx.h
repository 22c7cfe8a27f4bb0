/* The 82441FX host bridge: "i440FX-pcihost", with the function "i440FX" at 00.0 and the bus "pci.0". See i440fx.c. */

#ifndef QUERN_DEVICES_PCI_I440FX_H
#define QUERN_DEVICES_PCI_I440FX_H

#include "devices/pci/host.h"

/* As pci_host_create() says. */
PciHost *i440fx_create(Platform *platform, Region *ram, Error *err);

#endif
