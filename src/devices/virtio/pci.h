/* Virtio over PCI: a function that shows a virtio device. See pci.c.
 *
 * A device type embeds VirtioPci first and its virtio device behind it, has .bus_info = a VirtioPciInfo, and calls
 * virtio_pci_realize() when the virtio device is ready (virtio_init()). */

#ifndef QUERN_DEVICES_VIRTIO_PCI_H
#define QUERN_DEVICES_VIRTIO_PCI_H

#include "devices/pci/pci.h"
#include "devices/virtio/virtio.h"

/* What the name of a type promises. */
typedef enum VirtioPciFlavour { VIRTIO_PCI_GENERIC, VIRTIO_PCI_TRANSITIONAL, VIRTIO_PCI_MODERN } VirtioPciFlavour;

typedef struct VirtioPciInfo {
    PciDeviceInfo    pci; /* first */
    VirtioPciFlavour flavour;
} VirtioPciInfo;

typedef struct VirtioPci {
    PciDevice     pci; /* first */
    VirtioDevice *virtio;

    /* properties */
    OnOffAuto disable_legacy;
    bool      disable_modern, page_per_vq;
    uint32_t  vectors; /* UINT32_MAX: as many as suit */
    bool      absent_flag, absent_true;
    char     *absent_text;

    bool    legacy, modern;
    uint8_t window; /* offset of the capability that leads to BARs, 0: none */
    Region  ports, msix, bar, common, isr, device, notify;
} VirtioPci;

extern const Field virtio_pci_properties[], virtio_pci_generic_properties[]; /* the latter: disable-legacy, -modern */
extern const Field virtio_pci_state[];

/* The bits of PciDeviceInfo that all have; realize fills in the rest. */
#define VIRTIO_PCI_INFO(flavour_)                                                                                      \
    {                                                                                                                  \
        .pci     = { .vendor_id     = 0x1af4,                                                                          \
                     .device_id     = 0x1040,                                                                          \
                     .interrupt_pin = 1,                                                                               \
                     .config_read   = virtio_pci_config_read,                                                          \
                     .config_write  = virtio_pci_config_write },                                                        \
        .flavour = flavour_                                                                                            \
    }

uint32_t virtio_pci_config_read(PciDevice *pci, unsigned offset, unsigned size);
void     virtio_pci_config_write(PciDevice *pci, unsigned offset, uint32_t value, unsigned size);

bool virtio_pci_realize(VirtioPci *proxy, VirtioDevice *v, Error *err);
void virtio_pci_unrealize(VirtioPci *proxy); /* before virtio_exit() */
void virtio_pci_reset(Device *dev, ResetKind kind);
bool virtio_pci_post_load(Device *dev, Error *err);

#endif
