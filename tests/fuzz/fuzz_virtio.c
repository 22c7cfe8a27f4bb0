/* Virtio devices and a driver that does whatever the input says: registers of each transport, rings and buffers in
 * memory, configuration space, notifications, time, resets, saving and loading (also of damaged states).
 *
 * The first byte chooses device and transport. Then each operation is a byte and its operands; when the input is used
 * up, it is over. Rings lie where "set up" puts them unless the input moves them, so that most inputs reach them. */

#include "fuzz_device.h"

#include "../unit/platform.h"
#include "base/bytes.h"
#include "base/optstr.h"
#include "base/text.h"
#include "devices/memory/memdevs.h"
#include "devices/pci/i440fx.h"
#include "devices/virtio/balloon.h"
#include "devices/virtio/mmio.h"
#include "devices/virtio/pci.h"

enum {
    BAR4           = (int)0xe0000000,
    BAR1           = (int)0xe1000000,
    PORTS          = 0xc000,
    PLACE          = (int)0xfeb00000,
    RINGS          = 0x10000,
    RING_SIZE      = 0x4000,
    SIZE           = 8,
    MAX_OPERATIONS = 2000,
};

typedef struct Fuzz {
    TestPlatform  t;
    PciDevice    *pci; /* NULL: memory-mapped */
    Device       *dev;
    VirtioDevice *v;
    bool          legacy;
    int64_t       time_left;
    uint16_t      avail[8];
} Fuzz;

static const char *const devices[] = {
    "virtio-balloon-pci,free-page-reporting=on,guest-stats-polling-interval=1",
    "virtio-balloon-pci,packed=on,free-page-reporting=on",
    "virtio-balloon-pci,disable-modern=on,vectors=0",
    "virtio-balloon-device,packed=on",
    "virtio-balloon-device,free-page-reporting=on",
    "virtio-mem-pci,memdev=m,requested-size=8M,block-size=1M",
    "virtio-mem-pci,memdev=m,requested-size=16M,packed=on",
    "virtio-pmem-pci,memdev=m",
};

static void build(Fuzz *f, unsigned which)
{
    g_auto(Error) err = {};
    *f                = (Fuzz){ .time_left = 20 * NS_PER_SECOND };
    Platform   *p     = &f->t.p;
    const char *text  = devices[which % G_N_ELEMENTS(devices)];
    test_platform_open(&f->t);
    p->ram_size = TEST_RAM_SIZE;
    f->legacy   = which >= 128 || strstr(text, "disable-modern");
    i440fx_create(p, &f->t.ram_region, &err);
    if (!f->legacy) {
        device_add_global(p, "virtio-mmio", "force-legacy", "off", &err);
    }
    virtio_mmio_create(p, 0, (uint32_t)PLACE, NULL, &err);
    p->memory_devices       = memory_devices_new(p, 4 * GiB, GiB, 64 * MiB, 0, 1);
    g_autoptr(Json) backend = optstr_parse("memory-backend-ram,id=m,size=16M", "qom-type", &err);
    object_create_user(p->objects, backend, true, &err);
    g_autoptr(Json) options = optstr_parse(text, "driver", &err);
    f->dev                  = device_create(p, options, true, &err);
    g_assert(!error_is_set(&err));
    f->pci = device_type(f->dev)->bus == BUS_PCI ? (PciDevice *)f->dev : NULL;
    f->v   = f->pci ? ((VirtioPci *)f->pci)->virtio : &p->balloon->virtio;
    f->legacy &= !f->v->kind->modern_only;
    devices_reset(p, RESET_COLD);
}

static void configure(Fuzz *f)
{
    if (f->pci) {
        pci_config_write(f->pci, PCI_BAR0 + 16, (uint32_t)BAR4, 4);
        pci_config_write(f->pci, PCI_BAR0 + 4, (uint32_t)BAR1, 4);
        pci_config_write(f->pci, PCI_BAR0, PORTS, 4);
        pci_config_write(f->pci, PCI_COMMAND, 7, 2);
    }
}

/* As a driver does it, through the functions that the transports call. */
static void set_up(Fuzz *f, uint64_t features)
{
    VirtioDevice *v = f->v;
    virtio_write_status(v, 0, f->legacy);
    virtio_write_status(v, 3, f->legacy);
    features = (features | VIRTIO_F_VERSION_1) & virtio_features(v, f->legacy);
    for (v->guest_feature_select = 0; v->guest_feature_select < 2; v->guest_feature_select++) {
        virtio_write_features(v, (uint32_t)(features >> (32 * v->guest_feature_select)), f->legacy);
    }
    virtio_write_status(v, 11, f->legacy);
    for (unsigned i = 0; i < v->n_queues; i++) {
        VirtQueue *q   = &v->queues[i];
        uint64_t   at  = RINGS + RING_SIZE * i;
        q->desc        = at;
        q->driver      = at + 0x1000;
        q->device_area = at + 0x2000;
        virtqueue_set_size(q, SIZE);
        virtqueue_enable(q);
    }
    virtio_write_status(v, 15, f->legacy);
    memset(f->avail, 0, sizeof f->avail);
    memset(f->t.ram->host + RINGS, 0, RING_SIZE * v->n_queues);
}

/* A descriptor with operands that are near something: rings, page lists, nothing. */
static void write_desc(Fuzz *f, Input *in, unsigned q)
{
    bool     packed = virtio_has(f->v, VIRTIO_F_RING_PACKED);
    uint8_t *p      = f->t.ram->host + RINGS + RING_SIZE * q + 16 * (take(in, 1) % SIZE);
    uint64_t addr = take(in, 3), len = take(in, 2);
    uint16_t flags = (uint16_t)take(in, 2), next = (uint16_t)take(in, 1);
    store_le64(p, flags & 0x100 ? addr << 40 : addr);
    store_le32(p + 8, (uint32_t)(flags & 0x200 ? len << 16 : len));
    store_le16(p + 12, packed ? next : flags & 7);
    store_le16(p + 14, packed ? flags & 0x8087 : next);
}

static void operate(Fuzz *f, Input *in)
{
    static const unsigned sizes[] = { 1, 2, 4, 8 };
    uint8_t               what    = (uint8_t)take(in, 1);
    unsigned              size = sizes[what >> 6], q = (what >> 4 & 3) % f->v->n_queues;
    uint64_t              at;
    switch (what & 15) {
    case 0:
        at = take(in, 2) & 0x3fff;
        mem_store(&f->t, (f->pci ? (uint32_t)BAR4 : (uint32_t)PLACE) + at, take(in, size), size);
        break;
    case 1: mem_load(&f->t, (f->pci ? (uint32_t)BAR4 : (uint32_t)PLACE) + (take(in, 2) & 0x3fff), size); break;
    case 2:
        at = take(in, 1) & 63;
        address_space_store(f->t.p.io_space, PORTS + at, take(in, 4), MIN(size, 4));
        break;
    case 3: address_space_load(f->t.p.io_space, PORTS + (take(in, 1) & 63), MIN(size, 4)); break;
    case 4:
        if (f->pci) {
            at = take(in, 1) & ~3u;
            pci_config_write(f->pci, (unsigned)at, (uint32_t)take(in, 4), 4);
            pci_config_read(f->pci, (unsigned)at, 4);
        }
        break;
    case 5: set_up(f, take(in, 6)); break;
    case 6:
    case 7:
    case 8: write_desc(f, in, q); break;
    case 9:
    case 10: { /* make available, notify */
        uint8_t *ring = f->t.ram->host + RINGS + RING_SIZE * q + 0x1000;
        store_le16(ring + 4 + 2 * (f->avail[q] % SIZE), (uint16_t)(take(in, 1) % (SIZE + 1)));
        store_le16(ring + 2, ++f->avail[q]);
        virtio_notify(f->v, q);
        break;
    }
    case 11: virtio_notify(f->v, (unsigned)take(in, 1)); break;
    case 12:
        at = take(in, 3) % (TEST_RAM_SIZE - 8);
        mem_store(&f->t, at, take(in, 8), 8);
        break;
    case 13: {
        int64_t ns = (int64_t)take(in, 4);
        if (ns <= f->time_left) {
            f->time_left -= ns;
            test_step(&f->t, ns);
        }
        loop_step(f->t.p.loop, false);
        break;
    }
    case 14: {
        uint16_t where = (uint16_t)take(in, 2);
        save_and_load(f->dev, where, (uint8_t)take(in, 1));
        break;
    }
    default:
        if (what & 16) {
            devices_reset(&f->t.p, RESET_WARM);
            configure(f);
        } else if (f->t.p.balloon) {
            virtio_balloon_set_target(f->t.p.balloon, take(in, 4));
        } else {
            g_auto(Error) err    = {};
            g_autoptr(Json) size = json_new_uint(take(in, 1) * MiB);
            bool ok              = object_set(&f->dev->obj, "requested-size", size, true, &err);
            fuzz_check_error(ok, &err);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Fuzz    *f  = g_new(Fuzz, 1);
    Input    in = { data, data + size };
    unsigned n  = 0;
    build(f, (unsigned)take(&in, 1));
    configure(f);
    set_up(f, UINT64_MAX);
    while (in.at < in.end && n++ < MAX_OPERATIONS) {
        operate(f, &in);
    }
    MemoryDevices *all = f->t.p.memory_devices;
    devices_free(&f->t.p);
    f->t.p.memory_devices = NULL;
    memory_devices_free(all);
    test_platform_close(&f->t);
    g_free(f);
    return 0;
}
