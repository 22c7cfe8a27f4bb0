/* Virtqueues: split and packed rings. See virtio.h.
 * Specification: VIRTIO 1.2, sections 2.7 (split) and 2.8 (packed).
 *
 * All that is read from a ring is the guest's word: indices, chains and lengths are checked, loops have a bound, and a
 * field is read once. */

#include "devices/virtio/virtio.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/trace.h"

enum {
    /* split: flags of the available ring; packed: of the driver's event suppression */
    AVAIL_NO_INTERRUPT = 1,
    EVENT_DISABLE      = 1,
    EVENT_DESC         = 2,
    EVENT_WRAP         = 1 << 15,
};

#define BUFFER_BYTES_MAX (UINT64_C(1) << 32)

typedef struct Desc {
    uint64_t addr;
    uint32_t len;
    uint16_t id; /* packed; split: next */
    uint16_t flags;
} Desc;

/* Stores before it are seen by vCPUs before loads after it are made. */
static inline void full_barrier(void)
{
    __asm__ volatile("lock; orq $0, -64(%%rsp)" : : : "memory", "cc");
}

static bool ring_read(VirtQueue *q, uint64_t addr, void *to, size_t len)
{
    return dma_read(q->device->dma, addr, to, len) == MEM_OK ||
           virtio_break(q->device, "queue %u is not in memory", q->index);
}

static bool ring_write(VirtQueue *q, uint64_t addr, const void *from, size_t len)
{
    return dma_write(q->device->dma, addr, from, len) == MEM_OK ||
           virtio_break(q->device, "queue %u is not in memory", q->index);
}

static bool read16(VirtQueue *q, uint64_t addr, uint16_t *value)
{
    uint8_t raw[2];
    if (!ring_read(q, addr, raw, sizeof raw)) {
        return false;
    }
    *value = load_le16(raw);
    return true;
}

static bool write16(VirtQueue *q, uint64_t addr, uint16_t value)
{
    uint8_t raw[2];
    store_le16(raw, value);
    return ring_write(q, addr, raw, sizeof raw);
}

static bool is_packed(const VirtQueue *q)
{
    return virtio_has(q->device, VIRTIO_F_RING_PACKED);
}

static bool read_desc(VirtQueue *q, uint64_t table, unsigned n, bool packed, Desc *d)
{
    uint8_t raw[VIRTQ_DESC_SIZE];
    if (!ring_read(q, table + (uint64_t)VIRTQ_DESC_SIZE * n, raw, sizeof raw)) {
        return false;
    }
    uint16_t a = load_le16(raw + 12), b = load_le16(raw + 14);
    *d = (Desc){ load_le64(raw), load_le32(raw + 8), packed ? a : b, packed ? b : a };
    return true;
}

/* ---- Collecting a buffer ---- */

typedef struct Collector {
    VirtQueue  *q;
    unsigned    n, n_out;
    uint64_t    out_len, in_len;
    VirtSegment segments[VIRTIO_QUEUE_MAX];
} Collector;

static bool collect(Collector *c, const Desc *d)
{
    VirtioDevice *v     = c->q->device;
    bool          write = d->flags & VIRTQ_DESC_WRITE;
    if (c->n == VIRTIO_QUEUE_MAX) {
        return virtio_break(v, "queue %u has a chain without an end", c->q->index);
    }
    if (!write && c->n > c->n_out) {
        return virtio_break(v, "queue %u has a chain with parts to read behind those to write", c->q->index);
    }
    if (d->addr > UINT64_MAX - d->len) {
        return virtio_break(v, "queue %u has a buffer beyond the end of memory", c->q->index);
    }
    c->segments[c->n++] = (VirtSegment){ d->addr, d->len };
    c->n_out += !write;
    *(write ? &c->in_len : &c->out_len) += d->len;
    return c->out_len + c->in_len <= BUFFER_BYTES_MAX ||
           virtio_break(v, "queue %u has a buffer of over 4 GiB", c->q->index);
}

/* A descriptor that stands for a table of its own. */
static bool collect_indirect(Collector *c, const Desc *d, bool packed)
{
    VirtQueue    *q = c->q;
    VirtioDevice *v = q->device;
    unsigned      n = d->len / VIRTQ_DESC_SIZE;
    if (!virtio_has(v, VIRTIO_F_INDIRECT_DESC) || !d->len || d->len % VIRTQ_DESC_SIZE || n > VIRTIO_QUEUE_MAX ||
        d->addr > UINT64_MAX - d->len || c->n || (!packed && d->flags & VIRTQ_DESC_NEXT)) {
        return virtio_break(v, "queue %u has a bad indirect descriptor", q->index);
    }
    unsigned at = 0;
    for (unsigned i = 0; i < n; i++) {
        Desc inner;
        if (!read_desc(q, d->addr, at, packed, &inner)) {
            return false;
        }
        if (inner.flags & VIRTQ_DESC_INDIRECT) {
            return virtio_break(v, "queue %u has an indirect descriptor inside another", q->index);
        }
        if (!collect(c, &inner)) {
            return false;
        }
        if (packed) {
            at++;
        } else if (!(inner.flags & VIRTQ_DESC_NEXT)) {
            return true;
        } else if (inner.id >= n) {
            return virtio_break(v, "queue %u has a chain that leads out of its table", q->index);
        } else {
            at = inner.id;
        }
    }
    return packed || virtio_break(v, "queue %u has a chain without an end", q->index);
}

static VirtBuffer *make_buffer(const Collector *c, uint16_t id, uint16_t slots)
{
    VirtBuffer *b = g_malloc(sizeof *b + c->n * sizeof *b->segments);
    *b            = (VirtBuffer){
                   .id = id, .slots = slots, .n_out = c->n_out, .n_in = c->n - c->n_out, .out_len = c->out_len, .in_len = c->in_len
    };
    memcpy(b->segments, c->segments, c->n * sizeof *b->segments);
    return b;
}

/* ---- Split rings ---- */

static uint64_t used_event_at(const VirtQueue *q)
{
    return q->driver + 4 + 2u * q->size;
}

static uint64_t avail_event_at(const VirtQueue *q)
{
    return q->device_area + 4 + 8u * q->size;
}

/* Is there a buffer? Asks for a notification when there is none. */
static bool split_ready(VirtQueue *q)
{
    uint16_t index = 0;
    for (int again = 0; again < 2; again++) {
        if (!read16(q, q->driver + 2, &index)) {
            return false;
        }
        if ((uint16_t)(index - q->avail) > q->size) {
            return virtio_break(q->device, "queue %u says it has %u buffers", q->index, (uint16_t)(index - q->avail));
        }
        if (index != q->avail) {
            return true;
        }
        if (!virtio_has(q->device, VIRTIO_F_EVENT_IDX) || !write16(q, avail_event_at(q), q->avail)) {
            return false;
        }
        full_barrier(); /* either we see a buffer that comes now, or the driver sees that it has to notify */
    }
    return false;
}

static VirtBuffer *split_pop(VirtQueue *q)
{
    VirtioDevice *v = q->device;
    Collector     c;
    uint16_t      head;
    c.q = q;
    c.n = c.n_out = 0;
    c.out_len = c.in_len = 0;
    if (!split_ready(q)) {
        return NULL;
    }
    if (q->in_flight >= q->size) {
        virtio_break(v, "queue %u has more buffers than entries", q->index);
        return NULL;
    }
    if (!read16(q, q->driver + 4 + 2u * (q->avail % q->size), &head)) {
        return NULL;
    }
    unsigned at = head;
    for (unsigned budget = q->size;; budget--) {
        Desc d;
        if (at >= q->size || !budget) {
            virtio_break(v, "queue %u has a chain %s", q->index, budget ? "that leads out of it" : "without an end");
            return NULL;
        }
        if (!read_desc(q, q->desc, at, false, &d) ||
            !(d.flags & VIRTQ_DESC_INDIRECT ? collect_indirect(&c, &d, false) : collect(&c, &d))) {
            return NULL;
        }
        if (d.flags & VIRTQ_DESC_INDIRECT || !(d.flags & VIRTQ_DESC_NEXT)) {
            break;
        }
        at = d.id;
    }
    q->avail++;
    q->in_flight++;
    return make_buffer(&c, head, 1);
}

static bool split_push(VirtQueue *q, const VirtBuffer *b, uint32_t written)
{
    uint8_t raw[8];
    store_le32(raw, b->id);
    store_le32(raw + 4, written);
    if (!ring_write(q, q->device_area + 4 + 8u * (q->used % q->size), raw, sizeof raw)) {
        return false;
    }
    q->used++;
    q->in_flight--;
    return write16(q, q->device_area + 2, q->used);
}

static bool split_wants(VirtQueue *q)
{
    VirtioDevice *v     = q->device;
    uint16_t      old   = q->signalled, event, flags, index;
    bool          valid = q->signalled_valid;
    q->signalled        = q->used;
    q->signalled_valid  = true;
    if (virtio_has(v, VIRTIO_F_NOTIFY_ON_EMPTY) && !q->in_flight && read16(q, q->driver + 2, &index) &&
        index == q->avail) {
        return true;
    }
    if (virtio_has(v, VIRTIO_F_EVENT_IDX)) {
        return read16(q, used_event_at(q), &event) &&
               (!valid || (uint16_t)(q->used - event - 1) < (uint16_t)(q->used - old));
    }
    return read16(q, q->driver, &flags) && !(flags & AVAIL_NO_INTERRUPT);
}

/* ---- Packed rings ---- */

static bool desc_is_available(uint16_t flags, bool wrap)
{
    return !!(flags & VIRTQ_DESC_AVAIL) == wrap && !!(flags & VIRTQ_DESC_USED) != wrap;
}

static void advance(const VirtQueue *q, uint16_t *at, bool *wrap, unsigned by)
{
    unsigned next = *at + by;
    if (next >= q->size) {
        next -= q->size;
        *wrap = !*wrap;
    }
    *at = (uint16_t)next;
}

/* The first descriptor of a buffer, its flags read before the rest. */
static bool packed_ready(VirtQueue *q)
{
    uint16_t flags = 0;
    for (int again = 0; again < 2; again++) {
        if (!read16(q, q->desc + (uint64_t)VIRTQ_DESC_SIZE * q->avail + 14, &flags)) {
            return false;
        }
        if (desc_is_available(flags, q->avail_wrap)) {
            return true;
        }
        if (!virtio_has(q->device, VIRTIO_F_EVENT_IDX)) {
            return false;
        }
        uint8_t raw[4];
        store_le16(raw, (uint16_t)(q->avail | (q->avail_wrap ? EVENT_WRAP : 0)));
        store_le16(raw + 2, EVENT_DESC);
        if (!ring_write(q, q->device_area, raw, sizeof raw)) {
            return false;
        }
        full_barrier();
    }
    return false;
}

static VirtBuffer *packed_pop(VirtQueue *q)
{
    VirtioDevice *v = q->device;
    Collector     c;
    Desc          d;
    c.q = q;
    c.n = c.n_out = 0;
    c.out_len = c.in_len = 0;
    if (!packed_ready(q)) {
        return NULL;
    }
    uint16_t at    = q->avail;
    bool     wrap  = q->avail_wrap;
    unsigned slots = 0;
    do {
        if (++slots + q->in_flight > q->size) {
            virtio_break(v, "queue %u has a chain without an end", q->index);
            return NULL;
        }
        if (!read_desc(q, q->desc, at, true, &d)) {
            return NULL;
        }
        bool indirect = d.flags & VIRTQ_DESC_INDIRECT;
        if (!(indirect ? collect_indirect(&c, &d, true) : collect(&c, &d))) {
            return NULL;
        }
        advance(q, &at, &wrap, 1);
        if (indirect) {
            break;
        }
    } while (d.flags & VIRTQ_DESC_NEXT);
    q->avail      = at;
    q->avail_wrap = wrap;
    q->in_flight  = (uint16_t)(q->in_flight + slots);
    return make_buffer(&c, d.id, (uint16_t)slots);
}

static bool packed_push(VirtQueue *q, const VirtBuffer *b, uint32_t written)
{
    uint64_t at    = q->desc + (uint64_t)VIRTQ_DESC_SIZE * q->used;
    uint16_t flags = q->used_wrap ? VIRTQ_DESC_AVAIL | VIRTQ_DESC_USED : 0;
    uint8_t  raw[6];
    store_le32(raw, written);
    store_le16(raw + 4, b->id);
    if (!ring_write(q, at + 8, raw, sizeof raw) ||
        !write16(q, at + 14, (uint16_t)(flags | (b->n_in ? VIRTQ_DESC_WRITE : 0)))) {
        return false;
    }
    advance(q, &q->used, &q->used_wrap, b->slots);
    q->in_flight = (uint16_t)(q->in_flight - b->slots);
    return true;
}

static bool packed_wants(VirtQueue *q)
{
    uint8_t  raw[4];
    uint16_t old   = q->signalled;
    bool     valid = q->signalled_valid;
    q->signalled   = q->used;
    if (!ring_read(q, q->driver, raw, sizeof raw)) {
        return false;
    }
    uint16_t event = load_le16(raw), flags = load_le16(raw + 2) & 3;
    q->signalled_valid = true;
    if (flags != EVENT_DESC || !virtio_has(q->device, VIRTIO_F_EVENT_IDX) || !valid) {
        return flags != EVENT_DISABLE;
    }
    /* Positions on a line: what lies in the other lap is one ring behind. */
    uint16_t now = q->used, want = (uint16_t)(event & ~EVENT_WRAP);
    if (!!(event & EVENT_WRAP) != q->used_wrap) {
        want = (uint16_t)(want - q->size);
    }
    if (old > now) { /* we came around since */
        old = (uint16_t)(old - q->size);
    }
    return (uint16_t)(now - want - 1) < (uint16_t)(now - old);
}

/* ---- Both ---- */

VirtBuffer *virtqueue_pop(VirtQueue *q)
{
    VirtioDevice *v = q->device;
    if (!q->enabled || v->status & VIRTIO_NEEDS_RESET) {
        return NULL;
    }
    if (!v->budget) {
        q->more = true;
        timer_set(&v->later, clock_now(v->dev->platform->clocks, VIRTUAL_CLOCK));
        return NULL;
    }
    v->budget--;
    return is_packed(q) ? packed_pop(q) : split_pop(q);
}

bool virtqueue_wants_interrupt(VirtQueue *q)
{
    full_barrier(); /* either the driver sees our used buffer, or we see that it wants an interrupt */
    return is_packed(q) ? packed_wants(q) : split_wants(q);
}

void virtqueue_push(VirtQueue *q, VirtBuffer *b, uint32_t written)
{
    VirtioDevice *v = q->device;
    if (q->enabled && !(v->status & VIRTIO_NEEDS_RESET) && q->in_flight &&
        (is_packed(q) ? packed_push(q, b, written) : split_push(q, b, written)) && virtqueue_wants_interrupt(q)) {
        v->isr |= VIRTIO_ISR_QUEUE;
        trace(v->dev->platform->log, TRACE_VIRTIO_NOTIFY, "%s queue %u", v->kind->name, (unsigned)(q - v->queues));
        v->transport->interrupt(v, VIRTIO_ISR_QUEUE, q->vector);
    }
    g_free(b);
}

void virtbuffer_drop(VirtBuffer *b)
{
    g_free(b);
}

/* Walks the segments [first, first + n) for bytes [at, at + len). */
static size_t copy(VirtioDevice *v, const VirtSegment *s, unsigned n, uint64_t at, uint8_t *bytes, size_t len,
                   bool write)
{
    size_t done = 0;
    for (unsigned i = 0; i < n && done < len; i++) {
        if (at >= s[i].len) {
            at -= s[i].len;
            continue;
        }
        size_t    part = MIN(len - done, (size_t)(s[i].len - at));
        MemResult r    = write ? dma_write(v->dma, s[i].addr + at, bytes + done, part)
                               : dma_read(v->dma, s[i].addr + at, bytes + done, part);
        if (r != MEM_OK) {
            virtio_break(v, "a buffer is not in memory");
            return 0;
        }
        done += part;
        at = 0;
    }
    return done;
}

size_t virtbuffer_read(VirtioDevice *v, const VirtBuffer *b, uint64_t at, void *to, size_t len)
{
    return copy(v, b->segments, b->n_out, at, to, len, false);
}

size_t virtbuffer_write(VirtioDevice *v, const VirtBuffer *b, uint64_t at, const void *from, size_t len)
{
    return copy(v, b->segments + b->n_out, b->n_in, at, (uint8_t *)from, len, true);
}
