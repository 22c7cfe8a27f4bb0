/* See memory_rig.h. */

#include "memory_rig.h"

#include <string.h>

void rig_open(Rig *rig)
{
    *rig = (Rig){ 0 };
    machine_lock_init(&rig->lock);
    machine_lock(&rig->lock);
    rig->memory = memory_new(&rig->lock);
    region_init_container(&rig->root, rig->memory, "root", UINT64_MAX);
    rig->as = address_space_new(rig->memory, &rig->root, "space");
}

void rig_close(Rig *rig)
{
    address_space_free(rig->as);
    region_destroy(&rig->root);
    memory_free(rig->memory);
    machine_unlock(&rig->lock);
    machine_lock_destroy(&rig->lock);
}

RamBlock *ram_new(uint64_t size)
{
    g_auto(Error) err = { 0 };
    RamBlock *ram     = ram_block_new("ram", size, &err);
    g_assert_nonnull(ram);
    return ram;
}

void region_drop(Region *r)
{
    if (r->mapped) {
        region_unmap(r);
    }
    region_destroy(r);
}

/* The first and last address of what is at addr, and its region. */
void expect_range(Rig *rig, uint64_t addr, Region *r, uint64_t offset, uint64_t len)
{
    MemTarget t = address_space_lookup(rig->as, addr);
    g_assert_true(t.region == r);
    g_assert_cmphex(t.offset, ==, offset);
    g_assert_cmphex(t.len, ==, len);
}

static uint64_t probe_read(void *opaque, uint64_t offset, unsigned size)
{
    Probe *p = opaque;
    g_string_append_printf(p->seen, "r%u@%x ", size, (unsigned)offset);
    g_assert_true(p->ops.lockless || machine_lock_held(&p->rig->lock));
    if (p->inside) {
        p->inside(p);
    }
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; i++) {
        value |= ((offset + i) & 0xff) << (8 * i); /* more bytes than asked for: the bus cuts them off */
    }
    return value;
}

static void probe_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Probe *p = opaque;
    g_string_append_printf(p->seen, "w%u@%x=%" G_GINT64_MODIFIER "x ", size, (unsigned)offset, value);
    g_assert_true(p->ops.lockless || machine_lock_held(&p->rig->lock));
    if (p->inside) {
        p->inside(p);
    }
}

void probe_open(Probe *p, Rig *rig, uint64_t size, unsigned access, unsigned accept, bool unaligned)
{
    *p     = (Probe){ .rig = rig, .seen = g_string_new(NULL) };
    p->ops = (IoOps){ .name      = "probe",
                      .access    = (uint8_t)access,
                      .accept    = (uint8_t)accept,
                      .unaligned = unaligned,
                      .read      = probe_read,
                      .write     = probe_write };
    region_init_io(&p->region, rig->memory, "probe", size, &p->ops, p);
}

void probe_close(Probe *p)
{
    if (p->region.memory) {
        region_drop(&p->region);
    }
    g_string_free(p->seen, TRUE);
}

void expect_seen(Probe *p, const char *text)
{
    g_assert_cmpstr(p->seen->str, ==, text);
    g_string_truncate(p->seen, 0);
}
