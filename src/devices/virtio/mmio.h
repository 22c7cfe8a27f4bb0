/* A place for a virtio device on a machine without PCI. See mmio.c. */

#ifndef QUERN_DEVICES_VIRTIO_MMIO_H
#define QUERN_DEVICES_VIRTIO_MMIO_H

#include "devices/device.h"

typedef struct VirtioMmio VirtioMmio; /* "virtio-mmio", with the bus "virtio-mmio-bus.N" */

enum { VIRTIO_MMIO_SIZE = 0x200 };

/* Makes place number n at `base`. */
VirtioMmio *virtio_mmio_create(Platform *platform, unsigned n, uint64_t base, IrqPin *irq, Error *err);

#endif
