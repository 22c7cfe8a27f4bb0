/* virtio-pmem: memory that is a file, written back when the guest asks for a flush.
 * Specification: VIRTIO 1.2, section 5.19. Machine lock.
 *
 * The file is synchronized by a thread of its own for each batch of requests, so that neither vCPUs nor the main loop
 * wait for a disk. A batch answers what was asked before it began. */

#include "base/bytes.h"
#include "devices/memory/memdevs.h"
#include "devices/virtio/pci.h"
#include "memory/ram.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum {
    CONFIG_START = 0, /* configuration space */
    CONFIG_BYTES = 8,
    CONFIG_SIZE  = 16,

    FLUSH         = 0,
    REQUEST_SIZE  = 4,
    RESPONSE_SIZE = 4,
    DONE          = 0,
    FAILED        = 1,

    QUEUE_SIZE = 128,
    PMEM_CLASS = 0x00ff00,
};

typedef struct Flush Flush;

typedef struct VirtioPmem {
    VirtioDevice virtio; /* first */
    MemoryDevice memory;
    GPtrArray   *waiting; /* VirtBuffer * */
    Flush       *flush;   /* that is under way; NULL: none */
} VirtioPmem;

/* The thread's; freed on the main loop when it is over. */
struct Flush {
    VirtioPmem *pmem;    /* NULL: it is gone */
    GPtrArray  *buffers; /* VirtBuffer *: to be answered */
    Loop       *loop;
    int         fd; /* of its own */
    bool        ok;
};

typedef struct PmemPci {
    VirtioPci  proxy; /* first */
    VirtioPmem pmem;
} PmemPci;

static VirtioPmem *pmem_of(VirtioDevice *v)
{
    return (VirtioPmem *)v;
}

/* ---- Flushing ---- */

static void answer(VirtioPmem *p, VirtBuffer *b, bool ok)
{
    uint8_t response[RESPONSE_SIZE];
    store_le32(response, ok ? DONE : FAILED);
    virtbuffer_write(&p->virtio, b, 0, response, sizeof response);
    virtqueue_push(&p->virtio.queues[0], b, sizeof response);
}

static void begin_flush(VirtioPmem *p);

static void flush_over(void *opaque)
{
    Flush      *f = opaque;
    VirtioPmem *p = f->pmem;
    if (p) {
        p->flush = NULL;
        for (guint i = 0; i < f->buffers->len; i++) {
            answer(p, f->buffers->pdata[i], f->ok);
        }
        begin_flush(p);
    }
    g_ptr_array_unref(f->buffers);
    close(f->fd);
    g_free(f);
}

static gpointer flush_file(gpointer opaque)
{
    Flush *f = opaque;
    thread_set_name("pmem flush");
    f->ok = fdatasync(f->fd) == 0;
    loop_defer(f->loop, flush_over, f);
    return NULL;
}

static void begin_flush(VirtioPmem *p)
{
    const RamBlock *ram = p->memory.backend->ram;
    if (p->flush || !p->waiting->len) {
        return;
    }
    int fd = ram->fd >= 0 && ram->shared ? fcntl(ram->fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (fd < 0) { /* there is no file that the memory goes to, or we cannot have it */
        g_autoptr(GPtrArray) buffers = g_steal_pointer(&p->waiting);
        p->waiting                   = g_ptr_array_new();
        for (guint i = 0; i < buffers->len; i++) {
            answer(p, buffers->pdata[i], ram->fd < 0 || !ram->shared);
        }
        return;
    }
    Flush *f   = g_new0(Flush, 1);
    *f         = (Flush){ .pmem = p, .buffers = p->waiting, .loop = p->virtio.dev->platform->loop, .fd = fd };
    p->waiting = g_ptr_array_new();
    p->flush   = f;
    g_thread_unref(g_thread_new("pmem flush", flush_file, f));
}

/* ---- The virtio device ---- */

static unsigned pmem_config_size(const VirtioDevice *v)
{
    return CONFIG_SIZE;
}

static uint64_t pmem_features(const VirtioDevice *v)
{
    return 0;
}

static void pmem_read_config(VirtioDevice *v, uint8_t *config)
{
    const VirtioPmem *p = pmem_of(v);
    store_le64(config + CONFIG_START, p->memory.addr);
    store_le64(config + CONFIG_BYTES, p->memory.size);
}

static void pmem_notify(VirtioDevice *v, VirtQueue *q)
{
    VirtioPmem *p = pmem_of(v);
    VirtBuffer *b;
    while ((b = virtqueue_pop(q))) {
        uint8_t request[REQUEST_SIZE] = { 0xff };
        if (b->out_len < REQUEST_SIZE || b->in_len < RESPONSE_SIZE) {
            virtio_break(v, "a request is too short");
            virtbuffer_drop(b);
            return;
        }
        if (virtbuffer_read(v, b, 0, request, sizeof request) == sizeof request && load_le32(request) == FLUSH) {
            g_ptr_array_add(p->waiting, b);
        } else {
            answer(p, b, false);
        }
    }
    begin_flush(p);
}

static void drop_all(GPtrArray *buffers)
{
    for (guint i = 0; i < buffers->len; i++) {
        virtbuffer_drop(buffers->pdata[i]);
    }
    g_ptr_array_set_size(buffers, 0);
}

static void pmem_reset(VirtioDevice *v)
{
    VirtioPmem *p = pmem_of(v);
    drop_all(p->waiting);
    if (p->flush) {
        drop_all(p->flush->buffers);
    }
}

static const VirtioKind pmem_kind = {
    .name        = "virtio-pmem",
    .id          = VIRTIO_ID_PMEM,
    .class_code  = PMEM_CLASS,
    .modern_only = true,
    .config_size = pmem_config_size,
    .features    = pmem_features,
    .read_config = pmem_read_config,
    .notify      = pmem_notify,
    .reset       = pmem_reset,
};

/* ---- Life ---- */

static void pmem_exit(VirtioPmem *p)
{
    virtio_exit(&p->virtio);
    if (p->flush) {
        p->flush->pmem = NULL;
    }
    g_clear_pointer(&p->waiting, g_ptr_array_unref);
    memory_device_unplug(&p->memory);
}

static bool pmem_pci_realize(Device *dev, Error *err)
{
    static const uint16_t sizes[] = { QUEUE_SIZE };
    PmemPci              *m       = (PmemPci *)dev;
    VirtioPmem           *p       = &m->pmem;
    p->memory.dev                 = dev;
    p->memory.kind                = MEMORY_VIRTIO_PMEM;
    if (!memory_device_plug(&p->memory, 0, 0, err)) {
        return false;
    }
    p->waiting = g_ptr_array_new();
    virtio_init(&p->virtio, &pmem_kind, dev, 1, sizes);
    if (!virtio_pci_realize(&m->proxy, &p->virtio, err)) {
        virtio_pci_unrealize(&m->proxy);
        pmem_exit(p);
        return false;
    }
    return true;
}

static void pmem_pci_unrealize(Device *dev)
{
    PmemPci *m = (PmemPci *)dev;
    virtio_pci_unrealize(&m->proxy);
    pmem_exit(&m->pmem);
}

static const Field pmem_properties[] = {
    FIELDS_OF(VirtioPmem, virtio, virtio_properties),
    FIELD(VirtioPmem, memory.memdev, "memdev", .required = true, .help = "memory backend that it shows"),
    FIELD(VirtioPmem, memory.addr, "memaddr", .help = "guest-physical address; 0: wherever there is room"),
    {},
};

static const Field pmem_pci_properties[] = {
    FIELDS_OF(PmemPci, proxy, virtio_pci_properties),
    FIELDS_OF(PmemPci, pmem, pmem_properties),
    {},
};

static const Field pmem_state[]     = { FIELDS_OF(VirtioPmem, virtio, virtio_state), {} };
static const Field pmem_pci_state[] = {
    FIELDS_OF(PmemPci, proxy, virtio_pci_state),
    FIELDS_OF(PmemPci, pmem, pmem_state),
    {},
};

static const VirtioPciInfo pmem_pci_info = VIRTIO_PCI_INFO(VIRTIO_PCI_GENERIC);

DEVICE_TYPE(pmem_pci) = {
    .name       = "virtio-pmem-pci",
    .help       = "persistent memory that is a file",
    .class      = OBJECT_CLASS_DEVICE,
    .size       = sizeof(PmemPci),
    .properties = pmem_pci_properties,
    .bus        = BUS_PCI,
    .category   = DEVICE_STORAGE,
    .bus_info   = &pmem_pci_info.pci,
    .state      = pmem_pci_state,
    .realize    = pmem_pci_realize,
    .unrealize  = pmem_pci_unrealize,
    .reset      = virtio_pci_reset,
    .post_load  = virtio_pci_post_load,
};
