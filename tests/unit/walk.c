/* See walk.h. */

#include "walk.h"

#include "base/optstr.h"

#include <string.h>

/* Damaged states tried on each device. */
#define MUTATIONS 200

static const WalkNeed *find_need(const WalkNeed *needs, const char *type)
{
    static const WalkNeed nothing;
    for (; needs && needs->type; needs++) {
        if (!strcmp(needs->type, type)) {
            return needs;
        }
    }
    return &nothing;
}

static GByteArray *saved(Device *dev)
{
    GByteArray *out = g_byte_array_new();
    device_save(dev, out);
    return out;
}

static void reset(Device *dev)
{
    if (device_type(dev)->reset) {
        device_type(dev)->reset(dev, RESET_COLD);
    }
}

static void check_same(Device *dev, const char *when, const GByteArray *expected)
{
    g_autoptr(GByteArray) now = saved(dev);
    if (now->len != expected->len || memcmp(now->data, expected->data, now->len)) {
        g_test_message("device '%s': its state is another %s", dev->obj.type->name, when);
        g_test_fail();
    }
}

/* A hostile state is refused or leads to a device that works and can be reset. */
static void load_damaged(Device *dev, const GByteArray *state, bool keeps_state)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(g_str_hash(dev->obj.type->name));
    for (int i = 0; i < MUTATIONS && state->len > 4; i++) {
        g_auto(Error) err       = { 0 };
        g_autofree uint8_t *bad = g_memdup2(state->data, state->len);
        for (int n = g_rand_int_range(rand, 1, 4); n > 0; n--) {
            bad[g_rand_int_range(rand, 4, (gint32)state->len)] = (uint8_t)g_rand_int_range(rand, 0, 256);
        }
        bool ok = device_load(dev, bad, state->len, &err);
        g_assert_true(ok != error_is_set(&err));
        if (ok) {
            g_autoptr(GByteArray) now = saved(dev);
            g_assert_true(device_load(dev, now->data, now->len, &err));
            check_same(dev, "when what it saved is loaded", now);
        }
        reset(dev);
    }
    if (!keeps_state) {
        check_same(dev, "after a reset", state);
    }
}

static void walk_device(Device *dev, const WalkNeed *need)
{
    g_auto(Error) err = { 0 };
    reset(dev);
    g_autoptr(GByteArray) fresh = saved(dev);
    reset(dev);
    check_same(dev, "after a second reset", fresh);
    if (!device_load(dev, fresh->data, fresh->len, &err)) {
        g_test_message("%s", err.text);
        g_test_fail();
        return;
    }
    check_same(dev, "when what it saved is loaded", fresh);
    load_damaged(dev, fresh, need->keeps_state);
}

static char *memory_map(Platform *platform)
{
    GString *text = g_string_new(NULL);
    memory_dump(platform->memory, text, &(MemoryDump){ .flat = false });
    memory_dump(platform->memory, text, &(MemoryDump){ .flat = true });
    return g_string_free(text, FALSE);
}

static void walk_type(const WalkMachine *machine, const DeviceType *type, const WalkNeed *need)
{
    g_auto(Error) err = { 0 };
    g_autofree char *text =
        g_strdup_printf("%s,id=walked%s%s", type->name, need->options ? "," : "", need->options ? need->options : "");
    g_autoptr(Json) options = optstr_parse(text, "driver", &err);
    Platform        *p      = machine->open();
    g_autofree char *before = memory_map(p);
    Device          *dev    = device_create(p, options, true, &err);
    if (need->refused) {
        if (dev || !strstr(err.text, need->refused)) {
            g_test_message("-device %s is not refused: %s", text, err.text);
            g_test_fail();
        }
    } else if (dev) {
        walk_device(dev, need);
        device_unrealize(dev);
        g_autofree char *after = memory_map(p);
        if (strcmp(before, after)) {
            g_test_message("device '%s' left something mapped:\n%s", type->name, after);
            g_test_fail();
        }
    } else {
        g_test_message("-device %s: %s", text, err.text);
        g_test_fail();
    }
    machine->close(p);
}

static void collect(const ObjectType *type, void *opaque)
{
    if (type->class == OBJECT_CLASS_DEVICE && !((const DeviceType *)type)->internal) {
        g_ptr_array_add(opaque, (gpointer)type);
    }
}

void walk_types(const WalkMachine *machine, const WalkNeed *needs)
{
    g_autoptr(GPtrArray) types = g_ptr_array_new();
    object_type_foreach(collect, types);
    for (guint i = 0; i < types->len; i++) {
        const DeviceType *type = types->pdata[i];
        g_test_message("device '%s'", type->name);
        walk_type(machine, type, find_need(needs, type->name));
    }
}

static void visit(Device *dev, void *opaque)
{
    g_test_message("part '%s'", dev->obj.type->name);
    walk_device(dev, find_need(opaque, dev->obj.type->name));
}

void walk_board(const WalkMachine *machine, const WalkNeed *needs)
{
    Platform *p = machine->open();
    devices_foreach(p, visit, (void *)needs);
    machine->close(p);
}
