/* A place for a virtio device on a machine without PCI, with the bus "virtio-mmio-bus.N". See mmio.c. */

#ifndef QUERN_DEVICES_VIRTIO_MMIO_H
#define QUERN_DEVICES_VIRTIO_MMIO_H

#include "devices/virtio/virtio.h"

typedef struct VirtioMmio VirtioMmio; /* "virtio-mmio" */

enum { VIRTIO_MMIO_SIZE = 0x200 };

/* Makes place number n at `base`. */
VirtioMmio *virtio_mmio_create(Platform *platform, unsigned n, uint64_t base, IrqPin *irq, Error *err);

/* For devices on such a bus: shows `v`, which is embedded in dev, and the reverse; both in the device's life between
 * virtio_init() and virtio_exit(). */
void virtio_mmio_attach(Device *dev, VirtioDevice *v);
void virtio_mmio_detach(Device *dev);
void virtio_mmio_reset(Device *dev); /* virtio_reset(), and the interrupt's level */
bool virtio_mmio_post_load(Device *dev, Error *err);

#endif
