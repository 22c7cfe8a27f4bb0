/* Virtio devices: features, status, configuration space, setting up queues. See virtio.h; ring.c has the rings. */

#include "devices/virtio/virtio.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/trace.h"

enum { BUDGET = 256 }; /* buffers that one notification takes at most */

#define LEGACY_FEATURES (VIRTIO_F_NOTIFY_ON_EMPTY | VIRTIO_F_ANY_LAYOUT)

/* ---- Life ---- */

static void go_on(void *opaque)
{
    VirtioDevice *v = opaque;
    for (unsigned i = 0; i < v->n_queues; i++) {
        if (v->queues[i].more) {
            virtio_notify(v, i);
        }
    }
}

void virtio_init(VirtioDevice *v, const VirtioKind *kind, Device *dev, unsigned n, const uint16_t *sizes)
{
    v->kind        = kind;
    v->dev         = dev;
    v->n_queues    = n;
    v->queues      = g_new0(VirtQueue, n);
    v->config_size = kind->config_size(v);
    v->config      = g_malloc0(v->config_size);
    for (unsigned i = 0; i < n; i++) {
        g_assert(sizes[i] && sizes[i] <= VIRTIO_QUEUE_MAX && is_power_of_two(sizes[i]));
        v->queues[i] = (VirtQueue){ .device = v, .index = i, .max_size = sizes[i] };
    }
    timer_init(&v->later, dev->platform->clocks, VIRTUAL_CLOCK, go_on, v);
    if (!dev->platform->virtio) {
        dev->platform->virtio = g_ptr_array_new();
    }
    g_ptr_array_add(dev->platform->virtio, v);
    virtio_reset(v);
}

void virtio_exit(VirtioDevice *v)
{
    virtio_reset(v);
    g_ptr_array_remove(v->dev->platform->virtio, v);
    g_clear_pointer(&v->queues, g_free);
    g_clear_pointer(&v->config, g_free);
}

void virtqueue_reset(VirtQueue *q)
{
    *q = (VirtQueue){ .device       = q->device,
                      .index        = q->index,
                      .max_size     = q->max_size,
                      .size         = q->max_size,
                      .vector       = VIRTIO_NO_VECTOR,
                      .avail_wrap   = true,
                      .used_wrap    = true,
                      .legacy_align = VIRTIO_LEGACY_ALIGN };
}

void virtio_reset(VirtioDevice *v)
{
    if (v->kind->reset) {
        v->kind->reset(v);
    }
    timer_cancel(&v->later);
    for (unsigned i = 0; i < v->n_queues; i++) {
        virtqueue_reset(&v->queues[i]);
    }
    v->guest_features = 0;
    v->legacy         = false;
    v->status = v->isr = 0;
    v->config_vector   = VIRTIO_NO_VECTOR;
    v->feature_select = v->guest_feature_select = v->queue_select = 0;
    v->generation                                                 = 0;
}

bool virtio_break(VirtioDevice *v, const char *format, ...)
{
    if (!(v->status & VIRTIO_NEEDS_RESET)) {
        va_list args;
        va_start(args, format);
        g_autofree char *text = g_strdup_vprintf(format, args);
        va_end(args);
        log_print(v->dev->platform->log, LOG_GUEST_ERRORS, "%s: %s; it waits for a reset\n", v->kind->name, text);
        v->status |= VIRTIO_NEEDS_RESET;
        if (virtio_has(v, VIRTIO_F_VERSION_1) && v->status & VIRTIO_DRIVER_OK) {
            v->isr |= VIRTIO_ISR_CONFIG;
            v->transport->interrupt(v, VIRTIO_ISR_CONFIG, v->config_vector);
        }
    }
    return false;
}

/* ---- Features and status ---- */

uint64_t virtio_features(const VirtioDevice *v, bool legacy)
{
    uint64_t f = v->kind->features(v) | (v->indirect_desc ? VIRTIO_F_INDIRECT_DESC : 0) |
                 (v->event_idx ? VIRTIO_F_EVENT_IDX : 0);
    if (legacy) {
        f |= (v->notify_on_empty ? VIRTIO_F_NOTIFY_ON_EMPTY : 0) | (v->any_layout ? VIRTIO_F_ANY_LAYOUT : 0);
        return (uint32_t)f;
    }
    return f | VIRTIO_F_VERSION_1 | (v->packed ? VIRTIO_F_RING_PACKED : 0) | (v->queue_reset ? VIRTIO_F_RING_RESET : 0);
}

uint32_t virtio_read_features(const VirtioDevice *v, bool legacy)
{
    uint64_t f = virtio_features(v, legacy);
    return v->feature_select == 0 ? (uint32_t)f : v->feature_select == 1 ? (uint32_t)(f >> 32) : 0;
}

void virtio_write_features(VirtioDevice *v, uint32_t value, bool legacy)
{
    unsigned shift = 32 * v->guest_feature_select;
    bool     late  = v->status & (VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
    for (unsigned i = 0; i < v->n_queues; i++) {
        late |= v->queues[i].enabled; /* its layout depends on them */
    }
    if (v->guest_feature_select > 1 || late) {
        return;
    }
    v->guest_features = (v->guest_features & ~(UINT64_C(0xffffffff) << shift)) | (uint64_t)value << shift;
    v->legacy         = legacy;
    if (legacy) { /* it has no way to refuse what was not offered */
        v->guest_features &= virtio_features(v, true);
    }
    if (legacy && v->kind->status) {
        v->kind->status(v);
    }
}

static bool features_fit(const VirtioDevice *v)
{
    return !(v->guest_features & ~virtio_features(v, false)) && virtio_has(v, VIRTIO_F_VERSION_1);
}

void virtio_write_status(VirtioDevice *v, uint8_t status, bool legacy)
{
    trace(v->dev->platform->log, TRACE_VIRTIO_STATUS, "%s val 0x%x", v->kind->name, status);
    if (!status) {
        virtio_reset(v);
        return;
    }
    bool agreed = v->status & VIRTIO_FEATURES_OK && !v->legacy;
    if (!legacy && status & VIRTIO_FEATURES_OK && !agreed && !features_fit(v)) {
        log_print(v->dev->platform->log, LOG_GUEST_ERRORS, "%s: the driver wants features 0x%llx that do not fit\n",
                  v->kind->name, (unsigned long long)v->guest_features);
        status &= ~VIRTIO_FEATURES_OK;
    }
    if (!legacy && !(status & VIRTIO_FEATURES_OK)) {
        status &= ~VIRTIO_DRIVER_OK;
    }
    if (legacy) { /* whatever the other interface was told */
        v->guest_features &= virtio_features(v, true);
    }
    v->legacy   = legacy;
    bool starts = status & VIRTIO_DRIVER_OK && !(v->status & VIRTIO_DRIVER_OK);
    v->status   = (status & ~VIRTIO_NEEDS_RESET) | (v->status & VIRTIO_NEEDS_RESET);
    if (v->kind->status) {
        v->kind->status(v);
    }
    for (unsigned i = 0; starts && i < v->n_queues; i++) {
        virtio_notify(v, i); /* what came before it was ready */
    }
}

/* ---- Configuration space ---- */

uint32_t virtio_read_config(VirtioDevice *v, uint64_t offset, unsigned size)
{
    if (!range_fits(offset, size, v->config_size)) {
        return size == 4 ? UINT32_MAX : (1u << (8 * size)) - 1;
    }
    v->kind->read_config(v, v->config);
    return (uint32_t)load_le(v->config + offset, size);
}

void virtio_write_config(VirtioDevice *v, uint64_t offset, uint32_t value, unsigned size)
{
    if (!v->kind->write_config || !range_fits(offset, size, v->config_size)) {
        return;
    }
    v->kind->read_config(v, v->config);
    store_le(v->config + offset, value, size);
    v->kind->write_config(v, v->config);
}

void virtio_config_changed(VirtioDevice *v)
{
    v->generation++;
    if (virtio_is_running(v)) {
        v->isr |= VIRTIO_ISR_CONFIG;
        v->transport->interrupt(v, VIRTIO_ISR_CONFIG, v->config_vector);
    }
}

/* ---- Queues ---- */

VirtQueue *virtio_selected(VirtioDevice *v)
{
    return v->queue_select < v->n_queues ? &v->queues[v->queue_select] : NULL;
}

void virtqueue_set_size(VirtQueue *q, uint32_t size)
{
    bool packed = virtio_has(q->device, VIRTIO_F_RING_PACKED);
    if (q->enabled || !size || size > q->max_size || (!packed && !is_power_of_two(size))) {
        log_print(q->device->dev->platform->log, LOG_GUEST_ERRORS, "%s: queue %u cannot have %u entries\n",
                  q->device->kind->name, q->index, size);
        return;
    }
    q->size = (uint16_t)size;
}

void virtqueue_set_half(uint64_t *address, bool high, uint32_t value)
{
    *address = high ? (*address & UINT32_MAX) | (uint64_t)value << 32 : (*address & ~(uint64_t)UINT32_MAX) | value;
}

void virtqueue_enable(VirtQueue *q)
{
    VirtioDevice *v           = q->device;
    bool          packed      = virtio_has(v, VIRTIO_F_RING_PACKED);
    uint64_t      device_unit = 4, driver_unit = packed ? 4 : 2;
    if (q->enabled) {
        return;
    }
    if (q->desc % 16 || q->driver % driver_unit || q->device_area % device_unit) {
        virtio_break(v, "queue %u is not aligned", q->index);
        return;
    }
    if (!packed && !is_power_of_two(q->size)) {
        virtio_break(v, "queue %u has %u entries, which is no power of two", q->index, q->size);
        return;
    }
    q->enabled = true;
}

/* The layout of the legacy interface: all in a row, the used ring at the next page. */
void virtqueue_set_pfn(VirtQueue *q, uint32_t pfn, uint32_t page)
{
    if (!pfn) {
        uint16_t vector = q->vector;
        uint32_t align  = q->legacy_align;
        virtqueue_reset(q);
        q->vector       = vector;
        q->legacy_align = align;
        return;
    }
    if (q->enabled) {
        return;
    }
    q->pfn         = pfn;
    q->desc        = (uint64_t)pfn * page;
    q->driver      = q->desc + 16u * q->size;
    q->device_area = align_up(q->driver + 6 + 2u * q->size, q->legacy_align);
    virtqueue_enable(q);
}

void virtio_notify(VirtioDevice *v, unsigned queue)
{
    VirtQueue *q    = queue < v->n_queues ? &v->queues[queue] : NULL;
    bool       runs = virtio_is_running(v) ||
                (!(v->status & VIRTIO_NEEDS_RESET) && !virtio_has(v, VIRTIO_F_VERSION_1) && v->status & VIRTIO_DRIVER);
    if (!q || !q->enabled || !runs) {
        return;
    }
    trace(v->dev->platform->log, TRACE_VIRTIO_KICK, "%s queue %u", v->kind->name, queue);
    q->more   = false;
    v->budget = BUDGET;
    v->kind->notify(v, q);
}

/* ---- Properties and saved state ---- */

const Field virtio_properties[] = {
    FIELD(VirtioDevice, indirect_desc, "indirect_desc", .initial = true, .help = "buffers may have descriptor tables"),
    FIELD(VirtioDevice, event_idx, "event_idx", .initial = true, .help = "either side says from when on to notify it"),
    FIELD(VirtioDevice, notify_on_empty, "notify_on_empty", .initial = true,
          .help = "legacy: an interrupt when the available ring is empty"),
    FIELD(VirtioDevice, any_layout, "any_layout", .initial = true, .help = "legacy: buffers may be cut up at will"),
    FIELD(VirtioDevice, packed, "packed", .help = "offer packed rings"),
    FIELD(VirtioDevice, queue_reset, "queue_reset", .initial = true, .help = "offer to reset single queues"),
    {},
};

static const Field queue_state[] = {
    FIELD(VirtQueue, size, "size"),
    FIELD(VirtQueue, vector, "vector"),
    FIELD(VirtQueue, enabled, "enabled"),
    FIELD(VirtQueue, desc, "desc"),
    FIELD(VirtQueue, driver, "driver"),
    FIELD(VirtQueue, device_area, "device"),
    FIELD(VirtQueue, pfn, "pfn"),
    FIELD(VirtQueue, legacy_align, "legacy-align"),
    FIELD(VirtQueue, avail, "avail"),
    FIELD(VirtQueue, used, "used"),
    FIELD(VirtQueue, avail_wrap, "avail-wrap"),
    FIELD(VirtQueue, used_wrap, "used-wrap"),
    FIELD(VirtQueue, signalled, "signalled"),
    FIELD(VirtQueue, signalled_valid, "signalled-valid"),
    {},
};

/* The queues as a list, one object each. Buffers that a device holds go back to the ring: it pops them again
 * (and gives all back in the order in which they came). */
static Json *print_queues(const Field *field, const void *member)
{
    const VirtioDevice *v    = (const VirtioDevice *)((const uint8_t *)member - offsetof(VirtioDevice, queues));
    Json               *list = json_new_list();
    for (unsigned i = 0; v->queues && i < v->n_queues; i++) {
        VirtQueue q = v->queues[i];
        if (virtio_has(v, VIRTIO_F_RING_PACKED) && q.in_flight > q.avail) {
            q.avail      = (uint16_t)(q.avail + q.size - q.in_flight);
            q.avail_wrap = !q.avail_wrap;
        } else {
            q.avail = (uint16_t)(q.avail - q.in_flight);
        }
        json_append(list, fields_print(queue_state, &q));
    }
    return list;
}

static bool parse_queues(const Field *field, void *member, const Json *value, Error *err)
{
    VirtioDevice *v = (VirtioDevice *)((uint8_t *)member - offsetof(VirtioDevice, queues));
    if (value->kind != JSON_LIST || value->n != v->n_queues) {
        return error_set(err, "not the state of %u queues", v->n_queues);
    }
    for (unsigned i = 0; i < v->n_queues; i++) {
        VirtQueue *q = &v->queues[i];
        virtqueue_reset(q);
        if (!fields_parse(queue_state, q, value->items[i], false, NULL, err)) {
            return error_prefix(err, "queue %u: ", i);
        }
    }
    return true;
}

static const FieldCustom queues_field = { .type_name = "virtqueues", .parse = parse_queues, .print = print_queues };

const Field virtio_state[] = {
    FIELD(VirtioDevice, guest_features, "guest-features"),
    FIELD(VirtioDevice, status, "status"),
    FIELD(VirtioDevice, isr, "isr"),
    FIELD(VirtioDevice, legacy, "legacy"),
    FIELD(VirtioDevice, generation, "generation"),
    FIELD(VirtioDevice, config_vector, "config-vector"),
    FIELD(VirtioDevice, feature_select, "feature-select"),
    FIELD(VirtioDevice, guest_feature_select, "guest-feature-select"),
    FIELD(VirtioDevice, queue_select, "queue-select"),
    { .name   = "queues",
      .kind   = FIELD_CUSTOM,
      .offset = offsetof(VirtioDevice, queues),
      .size   = sizeof(VirtQueue *),
      .count  = 1,
      .custom = &queues_field },
    {},
};

static bool queue_fits(const VirtQueue *q, bool packed)
{
    bool fits = q->size && q->size <= q->max_size && q->legacy_align && is_power_of_two(q->legacy_align);
    if (packed) {
        fits = fits && q->avail < q->size && q->used < q->size;
    }
    return fits && (!q->enabled || ((packed || is_power_of_two(q->size)) && !(q->desc % 16) &&
                                    !(q->driver % (packed ? 4 : 2)) && !(q->device_area % 4)));
}

bool virtio_post_load(VirtioDevice *v, Error *err)
{
    bool packed = virtio_has(v, VIRTIO_F_RING_PACKED);
    bool agreed = v->legacy || v->status & (VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
    if (agreed && (v->legacy ? v->guest_features & ~virtio_features(v, true) : !features_fit(v))) {
        return error_set(err, "features that are not offered here");
    }
    for (unsigned i = 0; i < v->n_queues; i++) {
        if (!queue_fits(&v->queues[i], packed)) {
            return error_set(err, "queue %u is not possible", i);
        }
    }
    if (v->kind->status) {
        v->kind->status(v);
    }
    for (unsigned i = 0; i < v->n_queues; i++) {
        v->queues[i].more = v->queues[i].enabled;
    }
    timer_set(&v->later, clock_now(v->dev->platform->clocks, VIRTUAL_CLOCK));
    return true;
}
