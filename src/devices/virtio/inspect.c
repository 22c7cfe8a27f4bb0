/* Virtio for monitors: names of bits, and what stands in a ring. See virtio.h; nothing is changed here.
 * Specification: VIRTIO 1.2, sections 2.1 (status), 2.7 (split rings) and 6 (features). Machine lock.
 *
 * What a ring says is the guest's word: loops have a bound, and where it leads out of memory is an error of the
 * command that asked. */

#include "base/bytes.h"
#include "devices/virtio/virtio.h"

const VirtioBit virtio_feature_bits[] = {
    { VIRTIO_F_NOTIFY_ON_EMPTY, "VIRTIO_F_NOTIFY_ON_EMPTY", "an interrupt when a ring runs empty (legacy)" },
    { VIRTIO_F_ANY_LAYOUT, "VIRTIO_F_ANY_LAYOUT", "buffers may be cut up at will (legacy)" },
    { VIRTIO_F_INDIRECT_DESC, "VIRTIO_RING_F_INDIRECT_DESC", "buffers may have descriptor tables" },
    { VIRTIO_F_EVENT_IDX, "VIRTIO_RING_F_EVENT_IDX", "either side says from when on to notify it" },
    { VIRTIO_F_VERSION_1, "VIRTIO_F_VERSION_1", "as version 1 of the specification has it" },
    { VIRTIO_F_RING_PACKED, "VIRTIO_F_RING_PACKED", "packed rings" },
    { VIRTIO_F_RING_RESET, "VIRTIO_F_RING_RESET", "single queues can be reset" },
    {},
};

const VirtioBit virtio_status_bits[] = {
    { VIRTIO_ACKNOWLEDGE, "VIRTIO_CONFIG_S_ACKNOWLEDGE", "the guest has found the device" },
    { VIRTIO_DRIVER, "VIRTIO_CONFIG_S_DRIVER", "the guest has a driver for it" },
    { VIRTIO_FEATURES_OK, "VIRTIO_CONFIG_S_FEATURES_OK", "features are agreed on" },
    { VIRTIO_DRIVER_OK, "VIRTIO_CONFIG_S_DRIVER_OK", "the driver is ready" },
    { VIRTIO_NEEDS_RESET, "VIRTIO_CONFIG_S_NEEDS_RESET", "the device waits for a reset" },
    { VIRTIO_FAILED, "VIRTIO_CONFIG_S_FAILED", "the guest has given up" },
    {},
};

const VirtioBit virtq_desc_bits[] = {
    { VIRTQ_DESC_NEXT, "next", "another one follows" },
    { VIRTQ_DESC_WRITE, "write", "the device writes" },
    { VIRTQ_DESC_INDIRECT, "indirect", "a table of descriptors" },
    { VIRTQ_DESC_AVAIL, "avail", "packed: made available" },
    { VIRTQ_DESC_USED, "used", "packed: used" },
    {},
};

static bool look(const VirtQueue *q, uint64_t addr, void *to, size_t len, Error *err)
{
    return dma_read(q->device->dma, addr, to, len) == MEM_OK ||
           error_set(err, "%s: queue %u is not in memory", q->device->kind->name, q->index);
}

/* A chain in a table of n descriptors at `table`, from number `at` on. A descriptor that is a table of its own (at the
 * first level only) goes on there. */
static bool walk(const VirtQueue *q, uint64_t table, unsigned n, unsigned at, bool inside, GArray *descs, Error *err)
{
    for (unsigned budget = n; budget; budget--) {
        uint8_t raw[VIRTQ_DESC_SIZE];
        if (at >= n) {
            return error_set(err, "%s: a chain of queue %u leads out of its table", q->device->kind->name, q->index);
        }
        if (!look(q, table + (uint64_t)VIRTQ_DESC_SIZE * at, raw, sizeof raw, err)) {
            return false;
        }
        VirtDesc d = { load_le64(raw), load_le32(raw + 8), load_le16(raw + 12) };
        unsigned m = d.len / VIRTQ_DESC_SIZE;
        if (d.flags & VIRTQ_DESC_INDIRECT && !inside && m && m <= VIRTIO_QUEUE_MAX) {
            return walk(q, d.addr, m, 0, true, descs, err);
        }
        g_array_append_val(descs, d);
        if (!(d.flags & VIRTQ_DESC_NEXT)) {
            break;
        }
        at = load_le16(raw + 14);
    }
    return true;
}

bool virtqueue_inspect(const VirtQueue *q, int position, VirtElement *element, Error *err)
{
    const VirtioDevice *v = q->device;
    uint8_t             avail[4], used[4], head[2];
    *element = (VirtElement){ .descs = g_array_new(false, false, sizeof(VirtDesc)) };
    if (!q->enabled) {
        return error_set(err, "%s: queue %u is not set up", v->kind->name, q->index);
    }
    if (virtio_has(v, VIRTIO_F_RING_PACKED)) {
        return error_set_unsupported(err, "looking into packed rings");
    }
    unsigned at = (position < 0 ? q->avail : (unsigned)position) % q->size;
    if (!look(q, q->driver, avail, sizeof avail, err) || !look(q, q->device_area, used, sizeof used, err) ||
        !look(q, q->driver + 4 + 2u * at, head, sizeof head, err)) {
        return false;
    }
    element->head        = load_le16(head);
    element->avail_flags = load_le16(avail);
    element->avail_index = load_le16(avail + 2);
    element->used_flags  = load_le16(used);
    element->used_index  = load_le16(used + 2);
    return walk(q, q->desc, q->size, element->head, false, element->descs, err);
}

void virt_element_clear(VirtElement *element)
{
    g_clear_pointer(&element->descs, g_array_unref);
}
