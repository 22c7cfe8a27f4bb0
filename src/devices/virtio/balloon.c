/* The traditional memory balloon, with statistics and free page reporting.
 * Specification: VIRTIO 1.2, section 5.5; property names and events as QEMU 9.1 has them. Machine lock.
 *
 * Pages that the driver puts into the balloon, and those that it reports as free, go back to the host at once and come
 * again as zeros when the guest touches them: nothing has to be done when it takes them out. What a block of memory
 * cannot give back (pieces of huge pages, ROM) stays. */

#include "devices/virtio/balloon.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "devices/memory/memdevs.h"
#include "devices/virtio/mmio.h"
#include "devices/virtio/pci.h"
#include "memory/ram.h"

#define F_MUST_TELL_HOST (UINT64_C(1) << 0)
#define F_STATS_VQ       (UINT64_C(1) << 1)
#define F_DEFLATE_ON_OOM (UINT64_C(1) << 2)
#define F_PAGE_POISON    (UINT64_C(1) << 4)
#define F_PAGE_REPORTING (UINT64_C(1) << 5)

enum {
    INFLATE_QUEUE   = 0,
    DEFLATE_QUEUE   = 1,
    STATS_QUEUE     = 2,
    REPORTING_QUEUE = 3,
    QUEUE_SIZE      = 128,
    REPORTING_SIZE  = 32,

    CONFIG_NUM_PAGES = 0, /* configuration space */
    CONFIG_ACTUAL    = 4,
    CONFIG_HINT_ID   = 8,
    CONFIG_POISON    = 12,
    CONFIG_SIZE      = 16,

    PAGE_SHIFT    = 12,
    PFNS_AT_ONCE  = 256,
    STAT_SIZE     = 10, /* tag (2), value (8) */
    STATS_AT_ONCE = 64, /* what is further behind is not looked at */

    BALLOON_CLASS = 0x00ff00,
    BALLOON_PCI   = 0x1002, /* its transitional device ID */
};

#define PAGE (UINT64_C(1) << PAGE_SHIFT)

static const char *const stat_names[BALLOON_STATS] = {
    "stat-swap-in",      "stat-swap-out",         "stat-major-faults", "stat-minor-faults", "stat-free-memory",
    "stat-total-memory", "stat-available-memory", "stat-disk-caches",  "stat-htlb-pgalloc", "stat-htlb-pgfail",
};

static VirtioBalloon *balloon_of(VirtioDevice *v)
{
    return (VirtioBalloon *)v;
}

static Platform *platform_of(const VirtioBalloon *b)
{
    return b->virtio.dev->platform;
}

/* ---- Giving memory back ---- */

/* What lies at [addr, addr + len) of the guest's memory. */
static void discard(VirtioBalloon *b, uint64_t addr, uint64_t len)
{
    while (len) {
        MemTarget t    = address_space_lookup(platform_of(b)->memory_space, addr);
        uint64_t  part = MIN(len, t.len);
        if (t.ram && t.writable) {
            uint64_t unit = t.ram->page_size, first = align_up(t.ram_offset, unit),
                     end = align_down(t.ram_offset + part, unit);
            if (first < end) {
                ram_block_discard(t.ram, first, end - first);
            }
        }
        addr += part;
        len -= part;
        if (!part) {
            return;
        }
    }
}

/* Numbers of pages, those that lie side by side at once. */
static void inflate(VirtioBalloon *b, const VirtBuffer *buffer)
{
    uint8_t  raw[PFNS_AT_ONCE * 4];
    size_t   n;
    uint64_t first = 0, end = 0;
    for (uint64_t at = 0; (n = virtbuffer_read(&b->virtio, buffer, at, raw, sizeof raw)) >= 4; at += n & ~(size_t)3) {
        for (size_t i = 0; i + 4 <= n; i += 4) {
            uint64_t page = load_le32(raw + i);
            if (page == end && end > first) {
                end++;
            } else if (page + 1 == first) {
                first--;
            } else {
                discard(b, first << PAGE_SHIFT, (end - first) << PAGE_SHIFT);
                first = page;
                end   = page + 1;
            }
        }
    }
    discard(b, first << PAGE_SHIFT, (end - first) << PAGE_SHIFT);
}

/* Stretches of free memory. The driver wants its poison to be there when it takes them again: zeros only are ours. */
static void report(VirtioBalloon *b, const VirtBuffer *buffer)
{
    if (virtio_has(&b->virtio, F_PAGE_POISON) && b->poison_val) {
        return;
    }
    for (unsigned i = 0; i < buffer->n_in; i++) {
        const VirtSegment *s = &buffer->segments[buffer->n_out + i];
        discard(b, s->addr, s->len);
    }
}

/* ---- Statistics ---- */

static void forget_stats(VirtioBalloon *b)
{
    for (unsigned i = 0; i < BALLOON_STATS; i++) {
        b->stats[i] = UINT64_MAX;
    }
    b->stats_time = 0;
}

static void take_stats(VirtioBalloon *b, const VirtBuffer *buffer)
{
    uint8_t raw[STATS_AT_ONCE * STAT_SIZE];
    size_t  n = virtbuffer_read(&b->virtio, buffer, 0, raw, sizeof raw);
    for (unsigned i = 0; i < BALLOON_STATS; i++) {
        b->stats[i] = UINT64_MAX;
    }
    for (size_t i = 0; i + STAT_SIZE <= n; i += STAT_SIZE) {
        uint16_t tag = load_le16(raw + i);
        if (tag < BALLOON_STATS) {
            b->stats[tag] = load_le64(raw + i + 2);
        }
    }
    b->stats_time = clock_now(platform_of(b)->clocks, HOST_CLOCK) / NS_PER_SECOND;
}

/* A buffer comes back with statistics; new ones are asked for by giving it to the driver. */
static void ask_for_stats(void *opaque)
{
    VirtioBalloon *b      = opaque;
    VirtBuffer    *buffer = g_steal_pointer(&b->stats_buffer);
    if (buffer && virtio_is_running(&b->virtio)) {
        virtqueue_push(&b->virtio.queues[STATS_QUEUE], buffer, 0);
    } else {
        b->stats_buffer = buffer;
    }
    if (b->polling_interval) {
        timer_set(&b->stats_timer,
                  clock_now(platform_of(b)->clocks, VIRTUAL_CLOCK) + b->polling_interval * NS_PER_SECOND);
    }
}

static void set_polling(VirtioBalloon *b)
{
    timer_cancel(&b->stats_timer);
    if (b->polling_interval) {
        ask_for_stats(b);
    }
}

/* ---- The virtio device ---- */

static unsigned balloon_config_size(const VirtioDevice *v)
{
    return CONFIG_SIZE;
}

static uint64_t balloon_features(const VirtioDevice *v)
{
    const VirtioBalloon *b = (const VirtioBalloon *)v;
    return F_STATS_VQ | (b->deflate_on_oom ? F_DEFLATE_ON_OOM : 0) | (b->page_poison ? F_PAGE_POISON : 0) |
           (b->free_page_reporting ? F_PAGE_REPORTING : 0);
}

static void balloon_read_config(VirtioDevice *v, uint8_t *config)
{
    const VirtioBalloon *b = balloon_of(v);
    store_le32(config + CONFIG_NUM_PAGES, b->num_pages);
    store_le32(config + CONFIG_ACTUAL, b->actual);
    store_le32(config + CONFIG_HINT_ID, 0);
    store_le32(config + CONFIG_POISON, b->poison_val);
}

static void balloon_write_config(VirtioDevice *v, const uint8_t *config)
{
    VirtioBalloon *b   = balloon_of(v);
    uint32_t       was = b->actual;
    b->actual          = load_le32(config + CONFIG_ACTUAL);
    b->poison_val      = virtio_has(v, F_PAGE_POISON) ? load_le32(config + CONFIG_POISON) : 0;
    if (b->actual != was) {
        Json *data = json_new_object();
        json_set(data, "actual", json_new_uint(virtio_balloon_actual(b)));
        platform_emit(platform_of(b), "BALLOON_CHANGE", data);
    }
}

static void balloon_notify(VirtioDevice *v, VirtQueue *q)
{
    VirtioBalloon *b = balloon_of(v);
    VirtBuffer    *buffer;
    while ((buffer = virtqueue_pop(q))) {
        if (q->index == STATS_QUEUE) {
            if (b->stats_buffer) { /* one is all there should be */
                virtqueue_push(q, g_steal_pointer(&b->stats_buffer), 0);
            }
            take_stats(b, buffer);
            b->stats_buffer = buffer;
            continue;
        }
        if (q->index == INFLATE_QUEUE) {
            inflate(b, buffer);
        } else if (q->index == REPORTING_QUEUE) {
            report(b, buffer);
        }
        virtqueue_push(q, buffer, 0);
    }
}

static void balloon_reset(VirtioDevice *v)
{
    VirtioBalloon *b = balloon_of(v);
    g_clear_pointer(&b->stats_buffer, virtbuffer_drop);
    b->actual = b->poison_val = 0;
    forget_stats(b);
}

static const VirtioBit balloon_bits[] = {
    { F_MUST_TELL_HOST, "VIRTIO_BALLOON_F_MUST_TELL_HOST", "the host hears of pages before they are used again" },
    { F_STATS_VQ, "VIRTIO_BALLOON_F_STATS_VQ", "statistics of the guest's memory" },
    { F_DEFLATE_ON_OOM, "VIRTIO_BALLOON_F_DEFLATE_ON_OOM", "the guest takes pages back when it has no others" },
    { F_PAGE_POISON, "VIRTIO_BALLOON_F_PAGE_POISON", "the guest fills free pages with a pattern" },
    { F_PAGE_REPORTING, "VIRTIO_BALLOON_F_REPORTING", "the guest tells of free pages" },
    {},
};

static const VirtioKind balloon_kind = {
    .name            = "virtio-balloon",
    .id              = VIRTIO_ID_BALLOON,
    .class_code      = BALLOON_CLASS,
    .transitional_id = BALLOON_PCI,
    .config_size     = balloon_config_size,
    .features        = balloon_features,
    .feature_bits    = balloon_bits,
    .read_config     = balloon_read_config,
    .write_config    = balloon_write_config,
    .notify          = balloon_notify,
    .reset           = balloon_reset,
};

static bool balloon_init(VirtioBalloon *b, Device *dev, Error *err)
{
    static const uint16_t sizes[] = { QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE, REPORTING_SIZE };
    if (dev->platform->balloon) {
        return error_set(err, "there is a balloon already");
    }
    timer_init(&b->stats_timer, dev->platform->clocks, VIRTUAL_CLOCK, ask_for_stats, b);
    virtio_init(&b->virtio, &balloon_kind, dev, b->free_page_reporting ? 4 : 3, sizes);
    dev->platform->balloon = b;
    return true;
}

/* Once the transport is there. */
static void balloon_start(VirtioBalloon *b)
{
    set_polling(b);
}

static void balloon_exit(VirtioBalloon *b)
{
    timer_cancel(&b->stats_timer);
    platform_of(b)->balloon = NULL;
    virtio_exit(&b->virtio);
}

/* ---- For management ---- */

static uint64_t all_memory(const VirtioBalloon *b)
{
    const Platform *p = platform_of(b);
    return p->ram_size + (p->memory_devices ? memory_devices_plugged(p->memory_devices) : 0);
}

void virtio_balloon_set_target(VirtioBalloon *b, uint64_t bytes)
{
    uint64_t all = all_memory(b);
    b->num_pages = (uint32_t)MIN((all - MIN(bytes, all)) / PAGE, (uint64_t)UINT32_MAX);
    virtio_config_changed(&b->virtio);
}

uint64_t virtio_balloon_actual(const VirtioBalloon *b)
{
    uint64_t all = all_memory(b);
    return all - MIN(all, (uint64_t)b->actual << PAGE_SHIFT);
}

/* ---- Properties and saved state ---- */

static Json *print_stats(const Field *field, const void *member)
{
    const VirtioBalloon *b     = (const VirtioBalloon *)((const char *)member - offsetof(VirtioBalloon, stats));
    Json                *value = json_new_object(), *stats = json_new_object();
    for (unsigned i = 0; i < BALLOON_STATS; i++) {
        json_set(stats, stat_names[i], json_new_uint(b->stats[i]));
    }
    json_set(value, "stats", stats);
    json_set(value, "last-update", json_new_int(b->stats_time));
    return value;
}

static bool parse_stats(const Field *field, void *member, const Json *value, Error *err)
{
    return error_set(err, "only the guest sets its statistics");
}

static const FieldCustom stats_field = { .type_name = "guest statistics", .parse = parse_stats, .print = print_stats };

static const Field balloon_properties[] = {
    FIELDS_OF(VirtioBalloon, virtio, virtio_properties),
    FIELD(VirtioBalloon, deflate_on_oom, "deflate-on-oom", .help = "the guest may take memory back when it runs out"),
    FIELD(VirtioBalloon, free_page_reporting, "free-page-reporting", .help = "the guest tells which memory is free"),
    FIELD(VirtioBalloon, absent_flag, "free-page-hint", .unsupported = true,
          .help = "the guest tells what need not be migrated"),
    FIELD(VirtioBalloon, page_poison, "page-poison", .initial = true,
          .help = "the guest tells what it fills free memory with"),
    FIELD(VirtioBalloon, polling_interval, "guest-stats-polling-interval", .min = 0, .max = UINT32_MAX, .live = true,
          .help = "seconds from one update of guest-stats to the next; 0: none"),
    { .name      = "guest-stats",
      .kind      = FIELD_CUSTOM,
      .offset    = offsetof(VirtioBalloon, stats),
      .size      = sizeof(((VirtioBalloon *)0)->stats),
      .count     = 1,
      .custom    = &stats_field,
      .read_only = true,
      .help      = "what the guest says of its memory" },
    {},
};

static const Field balloon_state[] = {
    FIELDS_OF(VirtioBalloon, virtio, virtio_state),
    FIELD(VirtioBalloon, num_pages, "num-pages"),
    FIELD(VirtioBalloon, actual, "actual"),
    FIELD(VirtioBalloon, poison_val, "poison-val"),
    {},
};

/* ---- On PCI ---- */

typedef struct BalloonPci {
    VirtioPci     proxy; /* first */
    VirtioBalloon balloon;
} BalloonPci;

static bool balloon_pci_realize(Device *dev, Error *err)
{
    BalloonPci *b = (BalloonPci *)dev;
    if (!balloon_init(&b->balloon, dev, err)) {
        return false;
    }
    if (!virtio_pci_realize(&b->proxy, &b->balloon.virtio, err)) {
        virtio_pci_unrealize(&b->proxy);
        balloon_exit(&b->balloon);
        return false;
    }
    balloon_start(&b->balloon);
    return true;
}

static void balloon_pci_unrealize(Device *dev)
{
    BalloonPci *b = (BalloonPci *)dev;
    virtio_pci_unrealize(&b->proxy);
    balloon_exit(&b->balloon);
}

static void balloon_pci_changed(Object *obj, const char *property)
{
    set_polling(&((BalloonPci *)obj)->balloon);
}

static const Field balloon_pci_properties[] = {
    FIELDS_OF(BalloonPci, proxy, virtio_pci_properties),
    FIELDS_OF(BalloonPci, proxy, virtio_pci_generic_properties),
    FIELDS_OF(BalloonPci, balloon, balloon_properties),
    {},
};

static const Field balloon_flavour_properties[] = {
    FIELDS_OF(BalloonPci, proxy, virtio_pci_properties),
    FIELDS_OF(BalloonPci, balloon, balloon_properties),
    {},
};

static const Field balloon_pci_state[] = {
    FIELDS_OF(BalloonPci, proxy, virtio_pci_state),
    FIELDS_OF(BalloonPci, balloon, balloon_state),
    {},
};

static const VirtioPciInfo generic_info      = VIRTIO_PCI_INFO(VIRTIO_PCI_GENERIC);
static const VirtioPciInfo transitional_info = VIRTIO_PCI_INFO(VIRTIO_PCI_TRANSITIONAL);
static const VirtioPciInfo modern_info       = VIRTIO_PCI_INFO(VIRTIO_PCI_MODERN);

#define BALLOON_PCI_TYPE(identifier, suffix, other, table, flavour, text)                                              \
    DEVICE_TYPE(identifier) = {                                                                                        \
        .name       = "virtio-balloon-pci" suffix,                                                                     \
        .alias      = other,                                                                                           \
        .help       = text,                                                                                            \
        .class      = OBJECT_CLASS_DEVICE,                                                                             \
        .size       = sizeof(BalloonPci),                                                                              \
        .properties = table,                                                                                           \
        .changed    = balloon_pci_changed,                                                                             \
        .bus        = BUS_PCI,                                                                                         \
        .category   = DEVICE_MISC,                                                                                     \
        .bus_info   = &flavour.pci,                                                                                    \
        .state      = balloon_pci_state,                                                                               \
        .realize    = balloon_pci_realize,                                                                             \
        .unrealize  = balloon_pci_unrealize,                                                                           \
        .reset      = virtio_pci_reset,                                                                                \
        .post_load  = virtio_pci_post_load,                                                                            \
    }

BALLOON_PCI_TYPE(balloon_pci, "", "virtio-balloon", balloon_pci_properties, generic_info, "memory balloon");
BALLOON_PCI_TYPE(balloon_pci_transitional, "-transitional", NULL, balloon_flavour_properties, transitional_info,
                 "memory balloon for drivers of virtio 0.9 and 1.0");
BALLOON_PCI_TYPE(balloon_pci_modern, "-non-transitional", NULL, balloon_flavour_properties, modern_info,
                 "memory balloon for drivers of virtio 1.0");

/* ---- In a place of virtio-mmio ---- */

typedef struct BalloonMmio {
    Device        dev; /* first */
    VirtioBalloon balloon;
} BalloonMmio;

static bool balloon_mmio_realize(Device *dev, Error *err)
{
    BalloonMmio *b = (BalloonMmio *)dev;
    if (!balloon_init(&b->balloon, dev, err)) {
        return false;
    }
    virtio_mmio_attach(dev, &b->balloon.virtio);
    balloon_start(&b->balloon);
    return true;
}

static void balloon_mmio_unrealize(Device *dev)
{
    virtio_mmio_detach(dev);
    balloon_exit(&((BalloonMmio *)dev)->balloon);
}

static void balloon_mmio_reset(Device *dev, ResetKind kind)
{
    virtio_mmio_reset(dev);
}

static void balloon_mmio_changed(Object *obj, const char *property)
{
    set_polling(&((BalloonMmio *)obj)->balloon);
}

static const Field balloon_mmio_properties[] = { FIELDS_OF(BalloonMmio, balloon, balloon_properties), {} };
static const Field balloon_mmio_state[]      = { FIELDS_OF(BalloonMmio, balloon, balloon_state), {} };

DEVICE_TYPE(balloon_mmio) = {
    .name       = "virtio-balloon-device",
    .parent     = "virtio-device",
    .help       = "memory balloon",
    .class      = OBJECT_CLASS_DEVICE,
    .size       = sizeof(BalloonMmio),
    .properties = balloon_mmio_properties,
    .changed    = balloon_mmio_changed,
    .bus        = BUS_VIRTIO,
    .category   = DEVICE_MISC,
    .state      = balloon_mmio_state,
    .realize    = balloon_mmio_realize,
    .unrealize  = balloon_mmio_unrealize,
    .reset      = balloon_mmio_reset,
    .post_load  = virtio_mmio_post_load,
};
