/* Virtio devices, whatever the transport: features, status, configuration space, queues.
 * Specification: Virtual I/O Device (VIRTIO) 1.2 (2022), chapters 2 and 3; names as there.
 *
 * A kind of device embeds VirtioDevice first in its struct and describes itself by a VirtioKind; a transport
 * (virtio-pci, virtio-mmio) is the Device that the struct is embedded in. What a driver does wrong with a ring marks
 * the device DEVICE_NEEDS_RESET: until the driver resets it, it does nothing more.
 *
 * Machine lock held throughout. Rings lie in RAM, and DMA reaches nothing else, so that no device is entered again by
 * what it does itself. */

#ifndef QUERN_DEVICES_VIRTIO_VIRTIO_H
#define QUERN_DEVICES_VIRTIO_VIRTIO_H

#include "devices/device.h"
#include "memory/dma.h"

enum {
    VIRTIO_ID_BALLOON = 5,
    VIRTIO_ID_MEM     = 24,
    VIRTIO_ID_PMEM    = 27,
};

/* Device status */
enum {
    VIRTIO_ACKNOWLEDGE = 1,
    VIRTIO_DRIVER      = 2,
    VIRTIO_DRIVER_OK   = 4,
    VIRTIO_FEATURES_OK = 8,
    VIRTIO_NEEDS_RESET = 64,
    VIRTIO_FAILED      = 128,
};

/* Feature bits that do not depend on the kind of device */
#define VIRTIO_F_NOTIFY_ON_EMPTY (UINT64_C(1) << 24) /* of the legacy interface */
#define VIRTIO_F_ANY_LAYOUT      (UINT64_C(1) << 27) /* of the legacy interface */
#define VIRTIO_F_INDIRECT_DESC   (UINT64_C(1) << 28)
#define VIRTIO_F_EVENT_IDX       (UINT64_C(1) << 29)
#define VIRTIO_F_VERSION_1       (UINT64_C(1) << 32)
#define VIRTIO_F_RING_PACKED     (UINT64_C(1) << 34)
#define VIRTIO_F_RING_RESET      (UINT64_C(1) << 40)

enum {
    VIRTIO_QUEUE_MAX    = 1024, /* entries of a queue, and segments of a buffer */
    VIRTIO_NO_VECTOR    = 0xffff,
    VIRTIO_LEGACY_ALIGN = 4096,
};

/* Descriptors of rings: 16 bytes, and their flags */
enum {
    VIRTQ_DESC_SIZE     = 16,
    VIRTQ_DESC_NEXT     = 1 << 0,
    VIRTQ_DESC_WRITE    = 1 << 1,
    VIRTQ_DESC_INDIRECT = 1 << 2,
    VIRTQ_DESC_AVAIL    = 1 << 7, /* packed rings */
    VIRTQ_DESC_USED     = 1 << 15,
};

/* Interrupt status */
enum { VIRTIO_ISR_QUEUE = 1, VIRTIO_ISR_CONFIG = 2 };

typedef struct VirtioDevice VirtioDevice;
typedef struct VirtQueue    VirtQueue;

/* A stretch of guest memory, not checked yet. */
typedef struct VirtSegment {
    uint64_t addr;
    uint32_t len;
} VirtSegment;

/* A buffer that the driver made available: what the device reads, then what it writes. Owned by who popped it until it
 * is pushed or dropped. */
typedef struct VirtBuffer {
    uint16_t    id;    /* the ring's name for it */
    uint16_t    slots; /* of a packed ring that it takes */
    unsigned    n_out, n_in;
    uint64_t    out_len, in_len;
    VirtSegment segments[]; /* n_out, then n_in */
} VirtBuffer;

struct VirtQueue {
    VirtioDevice *device;
    unsigned      index;
    uint16_t      max_size;

    /* What the driver set. */
    uint16_t size, vector;
    bool     enabled;
    uint64_t desc, driver, device_area; /* descriptor area; driver area or available ring; device area or used ring */
    uint32_t pfn, legacy_align;         /* of the legacy interface */

    /* Where we are. Packed rings: positions in the ring with their wrap counters. */
    uint16_t avail, used;
    bool     avail_wrap, used_wrap;
    uint16_t signalled; /* used as of the last interrupt decision */
    bool     signalled_valid;
    uint16_t in_flight; /* buffers that are popped and not pushed; packed: their slots */
    bool     more;      /* work was left because the budget was used up */
};

/* What a feature bit or a bit of the status is called. Tables end with an empty one. */
typedef struct VirtioBit {
    uint64_t    bit;
    const char *name, *help;
} VirtioBit;

/* What a kind of device is. */
typedef struct VirtioKind {
    const char      *name; /* as in "virtio-balloon" */
    uint16_t         id;
    uint32_t         class_code;                                  /* for PCI; 24 bits */
    bool             modern_only;                                 /* has no legacy interface */
    uint16_t         transitional_id;                             /* PCI's, with the legacy interface */
    const VirtioBit *feature_bits;                                /* names of those of its own */
    unsigned (*config_size)(const VirtioDevice *v);               /* of configuration space, fixed when it is made */
    uint64_t (*features)(const VirtioDevice *v);                  /* offered, beside those of rings */
    void (*read_config)(VirtioDevice *v, uint8_t *config);        /* fills in config_size bytes */
    void (*write_config)(VirtioDevice *v, const uint8_t *config); /* as the driver changed them; NULL: read-only */
    void (*status)(VirtioDevice *v);               /* the driver's status or features changed; may be NULL */
    void (*notify)(VirtioDevice *v, VirtQueue *q); /* buffers may be there: take as many as virtqueue_pop() gives */
    void (*reset)(VirtioDevice *v);                /* forgets all buffers and what was negotiated; may be NULL */
} VirtioKind;

/* What a transport does for a device. */
typedef struct VirtioTransport {
    void (*interrupt)(VirtioDevice *v, uint8_t isr, uint16_t vector); /* VIRTIO_ISR_* */
} VirtioTransport;

struct VirtioDevice {
    const VirtioKind      *kind;
    const VirtioTransport *transport;
    Device                *dev; /* the transport's */
    AddressSpace          *dma; /* set by the transport */
    unsigned               n_queues;
    VirtQueue             *queues;
    unsigned               config_size;
    uint8_t               *config; /* scratch for reads and writes */

    /* properties */
    bool indirect_desc, event_idx, notify_on_empty, any_layout, packed, queue_reset;

    /* saved */
    uint64_t guest_features;
    uint8_t  status, isr;
    bool     legacy;     /* the driver speaks the legacy interface */
    uint32_t generation; /* of configuration space */
    uint16_t config_vector;
    uint32_t feature_select, guest_feature_select, queue_select;

    Timer    later; /* goes on where a budget ended */
    unsigned budget;
};

extern const Field virtio_properties[]; /* of every virtio device: FIELDS_OF(T, virtio, virtio_properties) */
extern const Field virtio_state[];

/* A device of `n` queues of `sizes` entries, embedded in `dev`. To be undone by virtio_exit(). */
void virtio_init(VirtioDevice *v, const VirtioKind *kind, Device *dev, unsigned n, const uint16_t *sizes);
void virtio_exit(VirtioDevice *v);
void virtio_reset(VirtioDevice *v);
bool virtio_post_load(VirtioDevice *v, Error *err);

/* ---- For kinds of devices ---- */

static inline bool virtio_has(const VirtioDevice *v, uint64_t feature)
{
    return v->guest_features & feature;
}

static inline bool virtio_is_running(const VirtioDevice *v)
{
    return (v->status & (VIRTIO_DRIVER_OK | VIRTIO_NEEDS_RESET)) == VIRTIO_DRIVER_OK;
}

/* Configuration space has changed: tells the driver. */
void virtio_config_changed(VirtioDevice *v);

/* The driver broke the rules: says so in the log, and stops the device until it is reset. Returns false. */
bool virtio_break(VirtioDevice *v, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* The next buffer, or NULL. Gives a limited number for each notification, and has notify() called again later when
 * there may be more. */
VirtBuffer *virtqueue_pop(VirtQueue *q);
/* Gives it back to the driver with the first `written` bytes of its device-writable part filled; then tells the driver,
 * if it wants to know. Frees it. */
void virtqueue_push(VirtQueue *q, VirtBuffer *b, uint32_t written);
/* Frees one that the ring does not know any more (after a reset). */
void virtbuffer_drop(VirtBuffer *b);

/* Copies from what the device reads, or to what it writes, from `at` on. How many bytes were copied: fewer at the end
 * of the buffer. Segments that are no RAM break the device: 0. */
size_t virtbuffer_read(VirtioDevice *v, const VirtBuffer *b, uint64_t at, void *to, size_t len);
size_t virtbuffer_write(VirtioDevice *v, const VirtBuffer *b, uint64_t at, const void *from, size_t len);

/* ---- For transports ---- */

uint64_t   virtio_features(const VirtioDevice *v, bool legacy);
uint32_t   virtio_read_features(const VirtioDevice *v, bool legacy);
void       virtio_write_features(VirtioDevice *v, uint32_t value, bool legacy);
void       virtio_write_status(VirtioDevice *v, uint8_t status, bool legacy);
uint32_t   virtio_read_config(VirtioDevice *v, uint64_t offset, unsigned size);
void       virtio_write_config(VirtioDevice *v, uint64_t offset, uint32_t value, unsigned size);
VirtQueue *virtio_selected(VirtioDevice *v); /* NULL: there is no such queue */
void       virtio_notify(VirtioDevice *v, unsigned queue);
void       virtqueue_set_size(VirtQueue *q, uint32_t size);
void       virtqueue_set_half(uint64_t *address, bool high, uint32_t value); /* of a ring's address */
void       virtqueue_enable(VirtQueue *q);
void       virtqueue_reset(VirtQueue *q);
void       virtqueue_set_pfn(VirtQueue *q, uint32_t pfn, uint32_t page); /* legacy: enables it, 0 resets it */

/* ring.c: reads, and decides about interrupts. */
bool virtqueue_wants_interrupt(VirtQueue *q);

/* ---- For monitors: inspect.c; looks and changes nothing ---- */

extern const VirtioBit virtio_feature_bits[]; /* of rings and transports */
extern const VirtioBit virtio_status_bits[];
extern const VirtioBit virtq_desc_bits[];

typedef struct VirtDesc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags; /* VIRTQ_DESC_* */
} VirtDesc;

/* A buffer as it stands in a split ring. */
typedef struct VirtElement {
    uint16_t head;                     /* its first descriptor, as the available ring names it */
    uint16_t avail_flags, avail_index; /* of the available ring */
    uint16_t used_flags, used_index;   /* of the used ring */
    GArray  *descs;                    /* VirtDesc, at most VIRTIO_QUEUE_MAX; of a table, those of the table */
} VirtElement;

/* What entry `position` of the available ring, modulo its size, leads to; -1: the entry that comes next. Clear
 * *element with virt_element_clear() in any case. */
bool virtqueue_inspect(const VirtQueue *q, int position, VirtElement *element, Error *err);
void virt_element_clear(VirtElement *element);

#endif
