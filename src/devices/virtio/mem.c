/* virtio-mem: memory in blocks that the guest plugs and unplugs by itself, as much as it is asked to have.
 * Specification: VIRTIO 1.2, section 5.15; property names and the event as QEMU 9.1 has them. Machine lock.
 *
 * All of the backend is mapped into the guest's address space from the start. A bitmap says which blocks are plugged;
 * those that are not have been given back to the host. The driver's reset leaves blocks as they are, the machine's
 * unplugs them all. */

#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"
#include "devices/memory/memdevs.h"
#include "devices/virtio/pci.h"
#include "memory/ram.h"

#include <inttypes.h>
#include <sys/stat.h>

#define F_ACPI_PXM               (UINT64_C(1) << 0)
#define F_UNPLUGGED_INACCESSIBLE (UINT64_C(1) << 1)

enum {
    CONFIG_BLOCK_SIZE = 0, /* configuration space */
    CONFIG_NODE       = 8,
    CONFIG_ADDR       = 16,
    CONFIG_REGION     = 24,
    CONFIG_USABLE     = 32,
    CONFIG_PLUGGED    = 40,
    CONFIG_REQUESTED  = 48,
    CONFIG_SIZE       = 56,

    REQUEST_SIZE  = 24, /* type (2), address at 8 (8), blocks at 16 (2) */
    RESPONSE_SIZE = 10, /* type (2), state at 8 (2) */

    PLUG       = 0,
    UNPLUG     = 1,
    UNPLUG_ALL = 2,
    STATE      = 3,

    ACK   = 0,
    NACK  = 1,
    BUSY  = 2,
    ERROR = 3,

    PLUGGED   = 0,
    UNPLUGGED = 1,
    MIXED     = 2,

    QUEUE_SIZE = 128,
    MEM_CLASS  = 0x00ff00,
    WORD       = 64,
};

#define BLOCK_MIN     MiB
#define BLOCK_USUAL   (2 * MiB)
#define USABLE_EXTENT (256 * MiB) /* beyond what is requested, so that drivers need not fill each gap */

typedef struct VirtioMem {
    VirtioDevice virtio; /* first */
    MemoryDevice memory; /* .usable: bytes that are plugged */

    /* properties */
    uint64_t  requested, block_size;
    bool      prealloc, absent_flag;
    OnOffAuto unplugged_inaccessible;

    bool      complete; /* realized */
    uint64_t  usable_region;
    uint64_t *plugged; /* one bit a block */
    uint64_t  n_blocks;
} VirtioMem;

typedef struct MemPci {
    VirtioPci proxy; /* first */
    VirtioMem mem;
} MemPci;

static VirtioMem *mem_of(VirtioDevice *v)
{
    return (VirtioMem *)v;
}

/* ---- Blocks ---- */

static bool block_plugged(const VirtioMem *m, uint64_t n)
{
    return m->plugged[n / WORD] >> (n % WORD) & 1;
}

static void mark(VirtioMem *m, uint64_t first, uint64_t n, bool plugged)
{
    for (uint64_t i = first; i < first + n; i++) {
        uint64_t bit = UINT64_C(1) << (i % WORD), *word = &m->plugged[i / WORD];
        *word = plugged ? *word | bit : *word & ~bit;
    }
}

/* How many of them are plugged. */
static uint64_t count(const VirtioMem *m, uint64_t first, uint64_t n)
{
    uint64_t sum = 0;
    for (uint64_t i = first; i < first + n; i++) {
        sum += block_plugged(m, i);
    }
    return sum;
}

static void tell_size(VirtioMem *m)
{
    Device          *dev  = m->virtio.dev;
    Json            *data = json_new_object();
    g_autofree char *path = object_path(&dev->obj);
    if (dev->id) {
        json_set(data, "id", json_new_string(dev->id));
    }
    json_set(data, "size", json_new_uint(m->memory.usable));
    json_set(data, "qom-path", json_new_string(path));
    platform_emit(dev->platform, "MEMORY_DEVICE_SIZE_CHANGE", data);
}

/* The part of the region that the driver may plug: it does not shrink under what is plugged there. */
static void resize_usable(VirtioMem *m, bool shrink)
{
    uint64_t usable = m->requested ? MIN(m->memory.size, m->requested + USABLE_EXTENT) : 0;
    if (usable > m->usable_region || shrink) {
        m->usable_region = usable;
    }
}

static void unplug_all(VirtioMem *m)
{
    for (uint64_t i = 0; i < m->n_blocks; i++) { /* runs of blocks that are plugged */
        uint64_t end = i;
        while (end < m->n_blocks && block_plugged(m, end)) {
            end++;
        }
        if (end > i) {
            ram_block_discard(m->memory.backend->ram, i * m->block_size, (end - i) * m->block_size);
            i = end;
        }
    }
    memset(m->plugged, 0, (m->n_blocks + WORD - 1) / WORD * sizeof(uint64_t));
    if (m->memory.usable) {
        m->memory.usable = 0;
        tell_size(m);
    }
    resize_usable(m, true);
}

/* ---- Requests ---- */

/* Blocks that lie in the part of the region which the driver may use. */
static bool find_blocks(const VirtioMem *m, uint64_t addr, uint16_t n, uint64_t *first)
{
    uint64_t offset = addr - m->memory.addr; /* wraps below it: then it does not fit */
    if (addr % m->block_size || !n || !range_fits(offset, n * m->block_size, m->usable_region)) {
        return false;
    }
    *first = offset / m->block_size;
    return true;
}

static uint16_t plug(VirtioMem *m, uint64_t first, uint16_t n)
{
    uint64_t bytes = n * m->block_size;
    if (count(m, first, n)) {
        return ERROR;
    }
    if (m->memory.usable + bytes > m->requested) {
        return NACK;
    }
    if (m->prealloc && !ram_block_populate_range(m->memory.backend->ram, first * m->block_size, bytes)) {
        ram_block_discard(m->memory.backend->ram, first * m->block_size, bytes);
        return BUSY;
    }
    mark(m, first, n, true);
    m->memory.usable += bytes;
    tell_size(m);
    return ACK;
}

static uint16_t unplug(VirtioMem *m, uint64_t first, uint16_t n)
{
    uint64_t bytes = n * m->block_size;
    if (count(m, first, n) != n) {
        return ERROR;
    }
    if (!ram_block_discard(m->memory.backend->ram, first * m->block_size, bytes)) {
        return BUSY;
    }
    mark(m, first, n, false);
    m->memory.usable -= bytes;
    tell_size(m);
    return ACK;
}

static void serve(VirtioMem *m, const uint8_t *request, uint8_t *response)
{
    uint64_t first = 0;
    uint16_t type = load_le16(request), n = load_le16(request + 16), answer = ERROR;
    if (type == UNPLUG_ALL) {
        unplug_all(m);
        answer = ACK;
    } else if (type <= STATE && find_blocks(m, load_le64(request + 8), n, &first)) {
        uint64_t plugged = count(m, first, n);
        switch (type) {
        case PLUG: answer = plug(m, first, n); break;
        case UNPLUG: answer = unplug(m, first, n); break;
        default: answer = ACK; store_le16(response + 8, plugged == n ? PLUGGED : plugged ? MIXED : UNPLUGGED);
        }
    }
    store_le16(response, answer);
}

/* ---- The virtio device ---- */

static unsigned mem_config_size(const VirtioDevice *v)
{
    return CONFIG_SIZE;
}

/* Memory that is not plugged reads as zeros, which costs pages of the host where it has no shared one for that. */
static uint64_t mem_features(const VirtioDevice *v)
{
    const VirtioMem *m            = (const VirtioMem *)v;
    const RamBlock  *ram          = m->memory.backend->ram;
    bool             inaccessible = m->unplugged_inaccessible == ON_OFF_AUTO_AUTO ? ram->shared || ram->fd >= 0
                                                                                  : m->unplugged_inaccessible == ON_OFF_AUTO_ON;
    return F_ACPI_PXM | (inaccessible ? F_UNPLUGGED_INACCESSIBLE : 0);
}

static void mem_read_config(VirtioDevice *v, uint8_t *config)
{
    const VirtioMem *m = mem_of(v);
    memset(config, 0, CONFIG_SIZE);
    store_le64(config + CONFIG_BLOCK_SIZE, m->block_size);
    store_le16(config + CONFIG_NODE, (uint16_t)m->memory.node);
    store_le64(config + CONFIG_ADDR, m->memory.addr);
    store_le64(config + CONFIG_REGION, m->memory.size);
    store_le64(config + CONFIG_USABLE, m->usable_region);
    store_le64(config + CONFIG_PLUGGED, m->memory.usable);
    store_le64(config + CONFIG_REQUESTED, m->requested);
}

static void mem_notify(VirtioDevice *v, VirtQueue *q)
{
    VirtBuffer *b;
    while ((b = virtqueue_pop(q))) {
        uint8_t request[REQUEST_SIZE] = { 0 }, response[RESPONSE_SIZE] = { 0 };
        if (b->in_len < RESPONSE_SIZE || b->out_len < REQUEST_SIZE) {
            virtio_break(v, "a request is too short");
            virtbuffer_drop(b);
            return;
        }
        if (virtbuffer_read(v, b, 0, request, sizeof request) == sizeof request) {
            serve(mem_of(v), request, response);
            virtbuffer_write(v, b, 0, response, sizeof response);
        }
        virtqueue_push(q, b, sizeof response);
    }
}

static const VirtioBit mem_bits[] = {
    { F_ACPI_PXM, "VIRTIO_MEM_F_ACPI_PXM", "the device says which node it belongs to" },
    { F_UNPLUGGED_INACCESSIBLE, "VIRTIO_MEM_F_UNPLUGGED_INACCESSIBLE", "blocks that are not plugged are not touched" },
    {},
};

static const VirtioKind mem_kind = {
    .name         = "virtio-mem",
    .id           = VIRTIO_ID_MEM,
    .class_code   = MEM_CLASS,
    .modern_only  = true,
    .config_size  = mem_config_size,
    .features     = mem_features,
    .feature_bits = mem_bits,
    .read_config  = mem_read_config,
    .notify       = mem_notify,
};

/* ---- Properties and saved state ---- */

static bool check_requested(const VirtioMem *m, uint64_t size, Error *err)
{
    if (size > m->memory.size) {
        g_autofree char *wanted = text_format_size(size), *has = text_format_size(m->memory.size);
        return error_set(err, "requested-size=%s: the memory backend has %s", wanted, has);
    }
    if (size % m->block_size) {
        g_autofree char *wanted = text_format_size(size), *unit = text_format_size(m->block_size);
        return error_set(err, "requested-size=%s: it has to be a multiple of block-size=%s", wanted, unit);
    }
    return true;
}

static bool parse_requested(const Field *field, void *member, const Json *value, Error *err)
{
    VirtioMem *m = (VirtioMem *)((char *)member - offsetof(VirtioMem, requested));
    uint64_t   size;
    if (value->kind == JSON_INT && value->integer >= 0) {
        size = (uint64_t)value->integer;
    } else if (value->kind == JSON_UINT) {
        size = value->uinteger;
    } else if (value->kind != JSON_STRING) {
        return error_set(err, "not a size");
    } else if (!text_parse_size(value->string, 1, &size, err)) {
        return false;
    }
    if (m->complete && !check_requested(m, size, err)) {
        return false;
    }
    m->requested = size;
    return true;
}

static Json *print_requested(const Field *field, const void *member)
{
    return json_new_uint(*(const uint64_t *)member);
}

static const FieldCustom requested_field = { .type_name = "size", .parse = parse_requested, .print = print_requested };

static const Field mem_properties[] = {
    FIELDS_OF(VirtioMem, virtio, virtio_properties),
    FIELD(VirtioMem, memory.memdev, "memdev", .required = true, .help = "memory backend that it shows"),
    FIELD(VirtioMem, memory.addr, "memaddr", .help = "guest-physical address; 0: wherever there is room"),
    FIELD(VirtioMem, memory.node, "node", .help = "NUMA node"),
    FIELD(VirtioMem, memory.usable, "size", .read_only = true, .help = "bytes that the guest has"),
    FIELD(VirtioMem, requested, "requested-size", .custom = &requested_field, .live = true,
          .help = "bytes that the guest is to have"),
    FIELD(VirtioMem, block_size, "block-size", .size_unit = 1, .help = "unit of plugging; 0: 2 MiB, or a huge page"),
    FIELD(VirtioMem, prealloc, "prealloc", .help = "have the host give memory when it is plugged"),
    FIELD(VirtioMem, unplugged_inaccessible, "unplugged-inaccessible", .names = on_off_auto_names,
          .help = "the guest must not read what is not plugged; auto: where that would cost memory"),
    FIELD(VirtioMem, absent_flag, "dynamic-memslots", .unsupported = true, .help = "map memory as it is needed"),
    {},
};

/* Which blocks are plugged: 64 at a time, in hexadecimal. */
static Json *print_plugged(const Field *field, const void *member)
{
    const VirtioMem *m    = (const VirtioMem *)((const char *)member - offsetof(VirtioMem, plugged));
    GString         *text = g_string_new(NULL);
    for (uint64_t i = 0; m->plugged && i < (m->n_blocks + WORD - 1) / WORD; i++) {
        g_string_append_printf(text, "%016" PRIx64, m->plugged[i]);
    }
    Json *value = json_new_string(text->str);
    g_string_free(text, true);
    return value;
}

static bool parse_plugged(const Field *field, void *member, const Json *value, Error *err)
{
    VirtioMem *m     = (VirtioMem *)((char *)member - offsetof(VirtioMem, plugged));
    uint64_t   words = (m->n_blocks + WORD - 1) / WORD;
    if (value->kind != JSON_STRING || strlen(value->string) != 16 * words) {
        return error_set(err, "not the state of %" PRIu64 " blocks", m->n_blocks);
    }
    for (uint64_t i = 0; i < words; i++) {
        char word[17] = { 0 }, *end;
        memcpy(word, value->string + 16 * i, 16);
        m->plugged[i] = g_ascii_strtoull(word, &end, 16);
        if (end != word + 16) {
            return error_set(err, "not the state of blocks");
        }
    }
    return true;
}

static const FieldCustom plugged_field = { .type_name = "blocks", .parse = parse_plugged, .print = print_plugged };

static const Field mem_state[] = {
    FIELDS_OF(VirtioMem, virtio, virtio_state),
    FIELD(VirtioMem, requested, "requested-size", .custom = &requested_field),
    FIELD(VirtioMem, usable_region, "usable-region"),
    { .name   = "plugged",
      .kind   = FIELD_CUSTOM,
      .offset = offsetof(VirtioMem, plugged),
      .size   = sizeof(uint64_t *),
      .count  = 1,
      .custom = &plugged_field },
    {},
};

/* ---- Life ---- */

static bool check_blocks(VirtioMem *m, const MemoryBackend *backend, Error *err)
{
    uint64_t least = MAX(BLOCK_MIN, backend->ram->page_size);
    if (!m->block_size) {
        m->block_size = MAX(BLOCK_USUAL, backend->ram->page_size);
    }
    if (!is_power_of_two(m->block_size) || m->block_size < least) {
        g_autofree char *unit = text_format_size(least);
        return error_set(err, "block-size=: it has to be a power of two, and %s at least", unit);
    }
    if (backend->size % m->block_size) {
        g_autofree char *unit = text_format_size(m->block_size);
        return error_set(err, "block-size=%s: the size of memory backend '%s' is no multiple of it", unit,
                         m->memory.memdev);
    }
    return true;
}

/* Memory that is there already goes back: nothing is plugged. */
static void start_empty(const RamBlock *ram, const MemoryBackend *backend)
{
    struct stat st;
    if (backend->prealloc || (ram->fd >= 0 && fstat(ram->fd, &st) == 0 && st.st_blocks)) {
        ram_block_discard(backend->ram, 0, backend->ram->size);
    }
}

static bool mem_init(VirtioMem *m, Device *dev, Error *err)
{
    static const uint16_t sizes[] = { QUEUE_SIZE };
    MemoryBackend        *backend = memory_backend_find(dev->platform->objects, m->memory.memdev, err);
    if (!backend) {
        return error_prefix(err, "memdev=: ");
    }
    m->memory.dev  = dev;
    m->memory.kind = MEMORY_VIRTIO_MEM;
    if (!check_blocks(m, backend, err)) {
        return false;
    }
    m->memory.size = backend->size;
    if (!check_requested(m, m->requested, err) || !memory_device_plug(&m->memory, 0, m->block_size, err)) {
        return false;
    }
    start_empty(backend->ram, backend);
    m->memory.usable = 0;
    m->n_blocks      = m->memory.size / m->block_size;
    m->plugged       = g_new0(uint64_t, (m->n_blocks + WORD - 1) / WORD);
    resize_usable(m, true);
    virtio_init(&m->virtio, &mem_kind, dev, 1, sizes);
    m->complete = true;
    return true;
}

static void mem_exit(VirtioMem *m)
{
    m->complete = false;
    virtio_exit(&m->virtio);
    memory_device_unplug(&m->memory);
    g_clear_pointer(&m->plugged, g_free);
}

static bool mem_pci_realize(Device *dev, Error *err)
{
    MemPci *m = (MemPci *)dev;
    if (!mem_init(&m->mem, dev, err)) {
        return false;
    }
    if (!virtio_pci_realize(&m->proxy, &m->mem.virtio, err)) {
        virtio_pci_unrealize(&m->proxy);
        mem_exit(&m->mem);
        return false;
    }
    return true;
}

static void mem_pci_unrealize(Device *dev)
{
    MemPci *m = (MemPci *)dev;
    virtio_pci_unrealize(&m->proxy);
    mem_exit(&m->mem);
}

static void mem_pci_reset(Device *dev, ResetKind kind)
{
    virtio_pci_reset(dev, kind);
    unplug_all(&((MemPci *)dev)->mem);
}

static bool mem_pci_post_load(Device *dev, Error *err)
{
    VirtioMem *m = &((MemPci *)dev)->mem;
    if (!check_requested(m, m->requested, err)) {
        return false;
    }
    if (m->usable_region > m->memory.size || m->usable_region % m->block_size) {
        return error_set(err, "a usable region that is not possible");
    }
    if (m->n_blocks % WORD && m->plugged[m->n_blocks / WORD] >> (m->n_blocks % WORD)) {
        return error_set(err, "blocks are plugged that do not exist");
    }
    m->memory.usable = count(m, 0, m->n_blocks) * m->block_size;
    return virtio_pci_post_load(dev, err);
}

static void mem_pci_changed(Object *obj, const char *property)
{
    VirtioMem *m = &((MemPci *)obj)->mem;
    resize_usable(m, !m->memory.usable);
    virtio_config_changed(&m->virtio);
}

static const Field mem_pci_properties[] = {
    FIELDS_OF(MemPci, proxy, virtio_pci_properties),
    FIELDS_OF(MemPci, mem, mem_properties),
    {},
};

static const Field mem_pci_state[] = {
    FIELDS_OF(MemPci, proxy, virtio_pci_state),
    FIELDS_OF(MemPci, mem, mem_state),
    {},
};

static const VirtioPciInfo mem_pci_info = VIRTIO_PCI_INFO(VIRTIO_PCI_GENERIC);

DEVICE_TYPE(mem_pci) = {
    .name       = "virtio-mem-pci",
    .help       = "memory that the guest plugs as it is asked to",
    .class      = OBJECT_CLASS_DEVICE,
    .size       = sizeof(MemPci),
    .properties = mem_pci_properties,
    .changed    = mem_pci_changed,
    .bus        = BUS_PCI,
    .category   = DEVICE_MISC,
    .bus_info   = &mem_pci_info.pci,
    .state      = mem_pci_state,
    .realize    = mem_pci_realize,
    .unrealize  = mem_pci_unrealize,
    .reset      = mem_pci_reset,
    .post_load  = mem_pci_post_load,
};
