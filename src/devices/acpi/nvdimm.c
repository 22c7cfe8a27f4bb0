/* NVDIMMs as ACPI sees them: the NFIT's structures, _DSM with label areas, _FIT.
 * Specification: ACPI 6.4 (January 2021), sections 5.2.25 and 9.20; QEMU, docs/specs/acpi_nvdimm (2024), for the page
 * by which methods ask; "Intel Optane PMem DSM Interface" (revision 1.8), functions 4 to 6, for labels. Machine lock.
 *
 * A method fills in a page of memory, which firmware keeps free for it, and writes its address to the port; the answer
 * is there when that is over. */

#include "devices/acpi/nvdimm.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "memory/dma.h"
#include "memory/ram.h"

enum {
    /* Structures of the NFIT */
    FIT_SPA          = 0,
    FIT_MAP          = 1,
    FIT_CONTROL      = 4,
    FIT_CAPABILITIES = 7,

    SPA_PROXIMITY     = 2,      /* flags: the domain is valid */
    SPA_MEMORY        = 0x8008, /* write-back, non-volatile */
    MAP_NOT_ARMED     = 1 << 3,
    CONTROL_VENDOR    = 0x8086,
    CONTROL_DEVICE    = 1,
    CONTROL_INTERFACE = 0x0301, /* byte addressable, without energy source of its own */
    CONTROL_SERIAL    = 0x123456,

    /* _DSM of modules */
    DSM_REVISION   = 1,
    DSM_QUERY      = 0,
    DSM_LABEL_SIZE = 4,
    DSM_LABEL_READ = 5,
    DSM_LABEL_SET  = 6,
    DSM_LABELS     = 1 << DSM_QUERY | 1 << DSM_LABEL_SIZE | 1 << DSM_LABEL_READ | 1 << DSM_LABEL_SET,

    STATUS_SUCCESS       = 0,
    STATUS_NOT_SUPPORTED = 1,
    STATUS_NO_DEVICE     = 2,
    STATUS_INVALID       = 3,

    /* What a page has room for beside lengths, offsets and status */
    TRANSFER_MAX = NVDIMM_PAGE_SIZE - NVDIMM_ARGUMENT - 8,
    FIT_MAX      = NVDIMM_PAGE_SIZE - NVDIMM_ANSWER - 4,
};

static const uint8_t pmem_guid[16] = { 0x79, 0xd3, 0xf0, 0x66, 0xf3, 0xb4, 0x74, 0x40,
                                       0xac, 0x43, 0x0d, 0x33, 0x18, 0xb7, 0x8c, 0xdb };

struct AcpiNvdimm {
    Device   dev;
    Region   port;
    unsigned capabilities;
    bool     fit_changed; /* since it was read from its beginning */
    void (*raise_gpe)(void *opaque, unsigned n);
    void *opaque;
};

static MemoryDevices *slots_of(const AcpiNvdimm *n)
{
    return n->dev.platform->memory_devices;
}

/* ---- The NFIT's structures ---- */

static void put(GByteArray *out, uint64_t value, unsigned size)
{
    uint8_t buf[8];
    store_le(buf, value, size);
    g_byte_array_append(out, buf, size);
}

static void put_zeros(GByteArray *out, unsigned n)
{
    while (n--) {
        put(out, 0, 1);
    }
}

static uint32_t serial_of(const Dimm *d)
{
    return d->have_uuid ? load_be32(d->uuid) : (uint32_t)(CONTROL_SERIAL + d->memory.slot);
}

static void put_module(GByteArray *o, const Dimm *d)
{
    const MemoryDevice *m     = &d->memory;
    uint16_t            index = (uint16_t)(m->slot + 1); /* of each structure; 0 is none */

    put(o, FIT_SPA, 2);
    put(o, 56, 2);
    put(o, index, 2);
    put(o, SPA_PROXIMITY, 2);
    put(o, 0, 4);
    put(o, m->node, 4);
    g_byte_array_append(o, pmem_guid, sizeof pmem_guid);
    put(o, m->addr, 8);
    put(o, m->size, 8);
    put(o, SPA_MEMORY, 8);

    put(o, FIT_MAP, 2);
    put(o, 48, 2);
    put(o, index, 4); /* handle */
    put(o, index, 2); /* physical id */
    put(o, 0, 2);     /* region id */
    put(o, index, 2); /* SPA */
    put(o, index, 2); /* control region */
    put(o, m->size, 8);
    put(o, 0, 8); /* offset */
    put(o, 0, 8); /* device address */
    put(o, 0, 2); /* not interleaved */
    put(o, 1, 2);
    put(o, d->unarmed ? MAP_NOT_ARMED : 0, 2);
    put(o, 0, 2);

    put(o, FIT_CONTROL, 2);
    put(o, 32, 2);
    put(o, index, 2);
    put(o, CONTROL_VENDOR, 2);
    put(o, CONTROL_DEVICE, 2);
    put(o, 1, 2);        /* revision */
    put_zeros(o, 6 + 6); /* subsystem, manufacturing, reserved */
    put(o, serial_of(d), 4);
    put(o, CONTROL_INTERFACE, 2);
    put(o, 0, 2); /* block control windows */
}

static void put_capabilities(GByteArray *o, unsigned capabilities)
{
    put(o, FIT_CAPABILITIES, 2);
    put(o, 16, 2);
    put(o, 1, 1); /* the highest bit that counts */
    put_zeros(o, 3);
    put(o, capabilities, 4);
    put(o, 0, 4);
}

static Dimm *module_in(const AcpiNvdimm *n, unsigned slot)
{
    MemoryDevice *m = slot < MEMORY_SLOTS_MAX ? slots_of(n)->slots[slot] : NULL;
    return m && m->kind == MEMORY_NVDIMM ? (Dimm *)m->dev : NULL;
}

void acpi_nvdimm_fit(const AcpiNvdimm *n, GByteArray *out)
{
    for (unsigned i = 0; i < slots_of(n)->n_slots; i++) {
        const Dimm *d = module_in(n, i);
        if (d) {
            put_module(out, d);
        }
    }
    if (n->capabilities) {
        put_capabilities(out, n->capabilities);
    }
}

/* ---- Requests ---- */

/* The answer's bytes, to be written behind its length. */
static void answer_status(GByteArray *out, uint32_t status)
{
    put(out, status, 4);
}

static void read_fit(AcpiNvdimm *n, const uint8_t *page, GByteArray *out)
{
    uint32_t offset           = load_le32(page + NVDIMM_ARGUMENT);
    g_autoptr(GByteArray) fit = g_byte_array_new();
    acpi_nvdimm_fit(n, fit);
    if (!offset) {
        n->fit_changed = false;
    }
    if (n->fit_changed) {
        answer_status(out, NVDIMM_FIT_CHANGED);
    } else if (offset > fit->len) {
        answer_status(out, STATUS_INVALID);
    } else {
        answer_status(out, STATUS_SUCCESS);
        g_byte_array_append(out, fit->data + offset, MIN(fit->len - offset, (guint)FIT_MAX));
    }
}

/* Labels lie behind what the guest sees, at the end of the backend. */
static uint8_t *labels_of(const Dimm *d)
{
    const MemoryBackend *b = d->memory.backend;
    return b->ram->host + (b->size - d->label_size);
}

static void access_labels(const Dimm *d, const uint8_t *page, bool write, GByteArray *out)
{
    uint32_t offset = load_le32(page + NVDIMM_ARGUMENT), length = load_le32(page + NVDIMM_ARGUMENT + 4);
    if (length > TRANSFER_MAX || !range_fits(offset, length, d->label_size) ||
        (write && d->memory.backend->ram->readonly)) {
        answer_status(out, STATUS_INVALID);
        return;
    }
    answer_status(out, STATUS_SUCCESS);
    if (write) {
        memcpy(labels_of(d) + offset, page + NVDIMM_ARGUMENT + 8, length);
    } else {
        g_byte_array_append(out, labels_of(d) + offset, length);
    }
}

static void serve_module(const Dimm *d, uint32_t function, const uint8_t *page, GByteArray *out)
{
    if (function == DSM_QUERY) {
        put(out, d && d->label_size ? DSM_LABELS : 0, 4);
    } else if (!d) {
        answer_status(out, STATUS_NO_DEVICE);
    } else if (!d->label_size) {
        answer_status(out, STATUS_NOT_SUPPORTED);
    } else if (function == DSM_LABEL_SIZE) {
        answer_status(out, STATUS_SUCCESS);
        put(out, d->label_size, 4);
        put(out, MIN(d->label_size, (uint64_t)TRANSFER_MAX), 4);
    } else if (function == DSM_LABEL_READ || function == DSM_LABEL_SET) {
        access_labels(d, page, function == DSM_LABEL_SET, out);
    } else {
        answer_status(out, STATUS_NOT_SUPPORTED);
    }
}

static void serve(AcpiNvdimm *n, const uint8_t *page, GByteArray *out)
{
    uint32_t handle = load_le32(page + NVDIMM_HANDLE), function = load_le32(page + NVDIMM_FUNCTION);
    if (load_le32(page + NVDIMM_REVISION) != DSM_REVISION) {
        answer_status(out, STATUS_NOT_SUPPORTED);
    } else if (handle == NVDIMM_HANDLE_FIT && function == NVDIMM_READ_FIT) {
        read_fit(n, page, out);
    } else if (handle == NVDIMM_HANDLE_FIT || handle == NVDIMM_HANDLE_ROOT) {
        answer_status(out, function == DSM_QUERY ? 0 : STATUS_NOT_SUPPORTED); /* the root has no functions */
    } else {
        serve_module(module_in(n, handle - 1), function, page, out);
    }
}

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0;
}

static void port_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    AcpiNvdimm   *n     = opaque;
    AddressSpace *space = n->dev.platform->memory_space;
    uint8_t       page[NVDIMM_PAGE_SIZE], length[4];
    if (dma_read(space, value, page, sizeof page) != MEM_OK) {
        log_print(n->dev.platform->log, LOG_GUEST_ERRORS, "acpi-nvdimm: a request that is not in memory\n");
        return;
    }
    g_autoptr(GByteArray) out = g_byte_array_new();
    serve(n, page, out);
    g_assert(out->len && out->len <= NVDIMM_PAGE_SIZE - NVDIMM_ANSWER);
    store_le32(length, NVDIMM_ANSWER + out->len);
    dma_write(space, value + NVDIMM_LENGTH, length, sizeof length);
    dma_write(space, value + NVDIMM_ANSWER, out->data, out->len);
}

static const IoOps port_ops = {
    .name = "acpi-nvdimm", .access = IO_LONG, .accept = IO_LONG, .read = port_read, .write = port_write
};

/* ---- Life ---- */

static void plugged(void *opaque)
{
    AcpiNvdimm *n  = opaque;
    n->fit_changed = true;
    if (n->dev.platform->started) {
        n->raise_gpe(n->opaque, NVDIMM_GPE);
    }
}

static bool nvdimm_realize(Device *dev, Error *err)
{
    AcpiNvdimm *n = (AcpiNvdimm *)dev;
    region_init_io(&n->port, dev->platform->memory, port_ops.name, NVDIMM_PORT_SIZE, &port_ops, n);
    isa_map_ports(dev, &n->port, NVDIMM_PORT);
    slots_of(n)->nvdimm_plugged = plugged;
    slots_of(n)->nvdimm_opaque  = n;
    return true;
}

static void nvdimm_unrealize(Device *dev)
{
    AcpiNvdimm *n = (AcpiNvdimm *)dev;
    region_unmap(&n->port);
    region_destroy(&n->port);
    slots_of(n)->nvdimm_plugged = NULL;
}

static void nvdimm_reset(Device *dev, ResetKind kind)
{
    ((AcpiNvdimm *)dev)->fit_changed = false;
}

static const Field nvdimm_state[] = { FIELD(AcpiNvdimm, fit_changed, "fit-changed"), {} };

DEVICE_TYPE(acpi_nvdimm) = {
    .name      = "acpi-nvdimm",
    .parent    = "device",
    .help      = "NVDIMMs, for ACPI",
    .class     = OBJECT_CLASS_DEVICE,
    .size      = sizeof(AcpiNvdimm),
    .bus       = BUS_ISA,
    .category  = DEVICE_MISC,
    .internal  = true,
    .state     = nvdimm_state,
    .realize   = nvdimm_realize,
    .unrealize = nvdimm_unrealize,
    .reset     = nvdimm_reset,
};

AcpiNvdimm *acpi_nvdimm_create(Platform *platform, unsigned capabilities, void (*raise_gpe)(void *opaque, unsigned n),
                               void *opaque, Error *err)
{
    AcpiNvdimm *n   = device_new(platform, "acpi-nvdimm");
    n->capabilities = capabilities;
    n->raise_gpe    = raise_gpe;
    n->opaque       = opaque;
    return device_realize(&n->dev, NULL, err) ? n : NULL;
}
