/* BIOS services in real mode: the machine's figures and the interrupt vectors for bios16.S, which has the code and
 * names the specifications. Nothing here keeps state. */

#include "machine/bios16.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"

#include <assert.h>
#include <string.h>

extern const uint8_t bios16_start[], bios16_end[];
extern const uint8_t bios16_ranges[], bios16_below_16m[], bios16_above_16m[];
extern const uint8_t bios16_nothing[], bios16_irq_master[], bios16_irq_slave[], bios16_timer[], bios16_video[],
    bios16_equipment[], bios16_memory[], bios16_disk[], bios16_serial[], bios16_system[], bios16_keyboard[],
    bios16_printer[], bios16_restart[], bios16_clock[];

enum { SEGMENT = 0xf000, RANGE_SIZE = 20 };

/* Vectors in order; those in between do nothing. */
static const struct {
    uint8_t        first, last;
    const uint8_t *handler; /* NULL: a pointer to a table that does not exist, or free for programs */
} vectors_of[] = {
    { 0x08, 0x08, bios16_timer },
    { 0x09, 0x0f, bios16_irq_master },
    { 0x10, 0x10, bios16_video },
    { 0x11, 0x11, bios16_equipment },
    { 0x12, 0x12, bios16_memory },
    { 0x13, 0x13, bios16_disk },
    { 0x14, 0x14, bios16_serial },
    { 0x15, 0x15, bios16_system },
    { 0x16, 0x16, bios16_keyboard },
    { 0x17, 0x17, bios16_printer },
    { 0x18, 0x19, bios16_restart },
    { 0x1a, 0x1a, bios16_clock },
    { 0x1d, 0x1f, NULL }, /* video parameters, diskette parameters, characters */
    { 0x41, 0x41, NULL }, /* fixed disk parameters */
    { 0x43, 0x43, NULL }, /* characters */
    { 0x46, 0x46, NULL }, /* fixed disk parameters */
    { 0x60, 0x67, NULL },
    { 0x70, 0x77, bios16_irq_slave },
};

static uint16_t offset_of(const uint8_t *label)
{
    return (uint16_t)(0x10000 - BIOS16_SIZE + (label - bios16_start));
}

static void set_vector(uint8_t *vectors, unsigned n, const uint8_t *handler)
{
    store_le16(vectors + 4 * n, handler ? offset_of(handler) : 0);
    store_le16(vectors + 4 * n + 2, handler ? SEGMENT : 0);
}

/* RAM without a gap from `from`, up to `max` bytes. */
static uint64_t ram_from(const MemoryMap *map, uint64_t from, uint64_t max)
{
    for (unsigned i = 0; i < map->n; i++) {
        const MemoryRange *r = &map->ranges[i];
        if (r->kind == MEMORY_RAM && from >= r->addr && from - r->addr < r->len) {
            return MIN(r->len - (from - r->addr), max);
        }
    }
    return 0;
}

void bios16_make(uint8_t image[BIOS16_SIZE], uint8_t vectors[BIOS16_VECTORS_SIZE], const MemoryMap *map)
{
    assert(bios16_end - bios16_start == BIOS16_SIZE);
    memcpy(image, bios16_start, BIOS16_SIZE);
    uint8_t *range = image + (bios16_ranges - bios16_start);
    store_le16(range, (uint16_t)map->n);
    range += 2;
    for (unsigned i = 0; i < map->n; i++, range += RANGE_SIZE) {
        store_le64(range, map->ranges[i].addr);
        store_le64(range + 8, map->ranges[i].len);
        store_le32(range + 16, map->ranges[i].kind);
    }
    store_le16(image + (bios16_below_16m - bios16_start), (uint16_t)(ram_from(map, MiB, 15 * MiB) / KiB));
    store_le16(image + (bios16_above_16m - bios16_start),
               (uint16_t)(ram_from(map, 16 * MiB, 0xffff * 64 * KiB) / (64 * KiB)));

    for (unsigned n = 0; n < 256; n++) {
        set_vector(vectors, n, bios16_nothing);
    }
    for (unsigned i = 0; i < sizeof vectors_of / sizeof vectors_of[0]; i++) {
        for (unsigned n = vectors_of[i].first; n <= vectors_of[i].last; n++) {
            set_vector(vectors, n, vectors_of[i].handler);
        }
    }
}
