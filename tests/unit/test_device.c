/* devices: life cycle, buses, tree, globals, help, pins; and a walk over every registered device type. */

#include "base/optstr.h"
#include "devices/device.h"
#include "object/surface.h"

#include <string.h>

/* ---- A small device and a controller with a bus ---- */

typedef struct Lamp {
    Device  dev;
    char   *colour;
    uint8_t level;
    bool    fail;
    int     realized, resets;
    IrqLine out[2];
    int     heard[2];
} Lamp;

static GString *trail; /* what happened, in order */

static const Field lamp_properties[] = {
    FIELD(Lamp, colour, "colour", .text = "white", .help = "what it looks like"),
    FIELD(Lamp, level, "level", .initial = 3, .max = 9, .help = "brightness"),
    FIELD(Lamp, fail, "fail"),
    {},
};

static const Field lamp_state[] = { FIELD(Lamp, level, "level", .max = 9), {} };

static void lamp_input(void *dev, int n, int level)
{
    ((Lamp *)dev)->heard[n] = level;
}

static bool lamp_realize(Device *dev, Error *err)
{
    Lamp *lamp = (Lamp *)dev;
    device_add_inputs(dev, NULL, 2, lamp_input);
    device_add_outputs(dev, "out", lamp->out, 2);
    if (lamp->fail) {
        return error_set(err, "the bulb is broken");
    }
    lamp->realized++;
    g_string_append_printf(trail, "+%s ", dev->obj.name);
    return true;
}

static void lamp_unrealize(Device *dev)
{
    ((Lamp *)dev)->realized--;
    g_string_append_printf(trail, "-%s ", dev->obj.name);
}

static void lamp_reset(Device *dev, ResetKind kind)
{
    ((Lamp *)dev)->resets++;
    g_string_append_printf(trail, "%s%s ", kind == RESET_COLD ? "!" : "~", dev->obj.name);
}

static bool lamp_post_load(Device *dev, Error *err)
{
    return ((Lamp *)dev)->level != 8 || error_set(err, "too hot");
}

DEVICE_TYPE(test_lamp) = {
    .name          = "test-lamp",
    .parent        = "test-base",
    .class         = OBJECT_CLASS_DEVICE,
    .help          = "a lamp",
    .size          = sizeof(Lamp),
    .properties    = lamp_properties,
    .bus           = BUS_I2C,
    .category      = DEVICE_DISPLAY,
    .alias         = "test-light",
    .hotplug       = true,
    .state         = lamp_state,
    .state_version = 2,
    .realize       = lamp_realize,
    .unrealize     = lamp_unrealize,
    .reset         = lamp_reset,
    .post_load     = lamp_post_load,
};

typedef struct Controller {
    Device dev;
    Bus   *bus;
} Controller;

static bool refuse_seven(Bus *bus, Device *dev, Error *err)
{
    return bus->devices->len < 7 || error_set(err, "bus '%s' is full", bus->name);
}

static void note_unplug(Bus *bus, Device *dev)
{
    g_string_append_printf(trail, "unplug(%s) ", dev->obj.name);
}

static bool controller_realize(Device *dev, Error *err)
{
    Controller *controller  = (Controller *)dev;
    controller->bus         = bus_new(BUS_I2C, NULL, dev, dev->platform);
    controller->bus->plug   = refuse_seven;
    controller->bus->unplug = note_unplug;
    return true;
}

DEVICE_TYPE(test_controller) = {
    .name     = "test-controller",
    .class    = OBJECT_CLASS_DEVICE,
    .size     = sizeof(Controller),
    .category = DEVICE_BRIDGE,
    .realize  = controller_realize,
};

DEVICE_TYPE(test_internal) = {
    .name     = "test-internal",
    .class    = OBJECT_CLASS_DEVICE,
    .size     = sizeof(Device),
    .internal = true,
};

static void platform_begin(Platform *p)
{
    *p    = (Platform){ .objects = object_root_new() };
    trail = g_string_new(NULL);
}

static void platform_end(Platform *p)
{
    devices_free(p);
    object_unref(p->objects);
    g_string_free(trail, TRUE);
}

static Device *create(Platform *p, const char *text, Error *err)
{
    g_autoptr(Json) options = optstr_parse(text, "driver", err);
    return options ? device_create(p, options, true, err) : NULL;
}

static void refuse(Platform *p, const char *text, const char *expected)
{
    g_auto(Error) err = { 0 };
    guint devices = p->devices ? p->devices->len : 0, buses = p->buses ? p->buses->len : 0;
    g_assert_null(create(p, text, &err));
    g_assert_cmpstr(err.text, ==, expected);
    g_assert_cmpuint(p->devices ? p->devices->len : 0, ==, devices);
    g_assert_cmpuint(p->buses ? p->buses->len : 0, ==, buses);
}

static void check_path(Object *obj, const char *expected)
{
    g_autofree char *path = object_path(obj);
    g_assert_cmpstr(path, ==, expected);
}

static void test_create(void)
{
    Platform p;
    g_auto(Error) err = { 0 };
    platform_begin(&p);
    refuse(&p, "test-lamp", "device 'test-lamp': there is no i2c-bus bus");
    Device *controller = create(&p, "test-controller,id=c0", &err);
    Device *second     = create(&p, "test-controller", &err);
    Lamp   *a          = (Lamp *)create(&p, "test-lamp,id=a,level=5", &err);
    Lamp   *b          = (Lamp *)create(&p, "test-light,bus=i2c.1", &err);
    g_assert_cmpstr(err.text, ==, NULL);
    g_assert_cmpuint(a->level, ==, 5);
    g_assert_cmpstr(a->dev.bus->name, ==, "c0.0");
    g_assert_true(b->dev.bus == ((Controller *)second)->bus);
    check_path(&a->dev.obj, "/machine/peripheral/a");
    check_path(&b->dev.obj, "/machine/peripheral-anon/device[1]");
    check_path(&a->dev.bus->obj, "/machine/peripheral/c0/c0.0");
    g_assert_true(bus_find(&p, BUS_I2C, "c0", &err) == a->dev.bus);
    g_assert_true(bus_find(&p, BUS_I2C, "c0/c0.0", &err) == a->dev.bus);

    refuse(&p, "test-lamp,id=a", "there is a device with id 'a' already");
    refuse(&p, "test-lamp,id=0a", "'0a' cannot be an id (a letter, then letters, digits, '-', '.' or '_')");
    refuse(&p, "test-lamp,colur=red", "no property 'colur' (did you mean 'colour'?)");
    refuse(&p, "test-lamp,level=10", "property 'level' takes 0 to 9, not 10");
    refuse(&p, "test-lamp,bus=c1.0", "no bus 'c1.0' (did you mean 'c0.0'?)");
    refuse(&p, "test-lamp,fail=on", "the bulb is broken");
    refuse(&p, "test-lamp,fail=on,id=b", "the bulb is broken");
    refuse(&p, "test-controller,bus=c0.0", "device 'test-controller' sits on no bus");
    refuse(&p, "test-internal", "device 'test-internal' is part of the board and cannot be added");
    refuse(&p, "test-lmap", "no device 'test-lmap' (did you mean 'test-lamp'?)");
    refuse(&p, "vmware-svga", "device 'vmware-svga': not supported yet");
    refuse(&p, "id=x", "property 'driver' is missing");

    g_string_truncate(trail, 0);
    devices_reset(&p, RESET_COLD);
    devices_reset(&p, RESET_WARM);
    g_assert_cmpstr(trail->str, ==, "!a !device[1] ~a ~device[1] ");

    /* The machine runs now. */
    refuse(&p, "test-controller,id=c9", "device 'test-controller' cannot be plugged into a running machine");
    g_string_truncate(trail, 0);
    create(&p, "test-lamp,id=late", &err);
    g_assert_cmpstr(trail->str, ==, "+late !late ");

    /* What sits on a device's bus goes before it. */
    g_string_truncate(trail, 0);
    device_unrealize(controller);
    g_assert_cmpstr(trail->str, ==, "-late unplug(late) -a unplug(a) ");
    g_assert_null(object_resolve(p.objects, "/machine/peripheral/c0"));
    g_assert_cmpuint(p.devices->len, ==, 2);
    g_assert_cmpuint(p.buses->len, ==, 1);
    platform_end(&p);
}

static void test_board_devices(void)
{
    Platform p;
    g_auto(Error) err = { 0 };
    platform_begin(&p);
    Bus *main = bus_new(BUS_I2C, NULL, NULL, &p);
    g_assert_cmpstr(main->name, ==, "i2c.0");
    check_path(&main->obj, "/machine/i2c.0");
    main->plug = refuse_seven;
    Lamp *lamp = device_new(&p, "test-lamp");
    g_assert_cmpstr(lamp->colour, ==, "white");
    lamp->level = 7;
    g_assert_true(device_realize(&lamp->dev, NULL, &err));
    check_path(&lamp->dev.obj, "/machine/unattached/device[0]");
    g_autoptr(Json) one = json_new_int(1);
    g_assert_false(object_set(&lamp->dev.obj, "level", one, false, &err));
    g_assert_cmpstr(err.text, ==, "property 'level' cannot be changed any more");
    error_clear(&err);

    Controller *wrong = device_new(&p, "test-controller");
    g_assert_false(device_realize(&wrong->dev, main, &err));
    g_assert_cmpstr(err.text, ==, "device 'test-controller' sits on no bus");
    error_clear(&err);
    for (int i = 1; i < 7; i++) {
        g_assert_true(device_realize(device_new(&p, "test-lamp"), main, &err));
    }
    g_assert_false(device_realize(device_new(&p, "test-lamp"), main, &err));
    g_assert_cmpstr(err.text, ==, "bus 'i2c.0' is full");
    g_assert_cmpuint(main->devices->len, ==, 7);
    platform_end(&p);
}

static void test_globals(void)
{
    Platform p;
    g_auto(Error) err = { 0 };
    platform_begin(&p);
    bus_new(BUS_I2C, NULL, NULL, &p);
    g_assert_true(device_add_global(&p, "test-lamp", "level", "1", &err));
    g_assert_true(device_add_global(&p, "test-base", "level", "2", &err));
    g_assert_true(device_add_global(&p, "test-light", "colour", "red", &err));
    g_assert_true(device_add_global(&p, "ide-device", "serial", "S1", &err));
    g_assert_true(device_add_global(&p, "virtio-gpu-pci", "xres", "640", &err));
    static const char *const bad[][4] = {
        { "test-lamp", "levle", "1", "no property 'levle' (did you mean 'level'?)" },
        { "test-lamp", "level", "x", "property 'level': 'x' is not a number (decimal, or hexadecimal with 0x)" },
        { "test-lmap", "level", "1", "no device 'test-lmap' (did you mean 'test-lamp'?)" },
        { "ide-device", "win2k-install-hack", "on", "win2k-install-hack=on: not supported yet" },
        { "test-base", "nope", "1", "no device of type 'test-base' has a property 'nope'" },
        { "PIIX4_MP", "x", "1", "no device 'PIIX4_MP' (did you mean 'PIIX4_PM'?)" },
        { "EPYC-x86_64-cpu", "x", "1", "properties of CPU type 'EPYC-x86_64-cpu': not supported yet" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_assert_false(device_add_global(&p, bad[i][0], bad[i][1], bad[i][2], &err));
        g_assert_cmpstr(err.text, ==, bad[i][3]);
        error_clear(&err);
    }
    Lamp *lamp = (Lamp *)create(&p, "test-lamp", &err);
    g_assert_cmpuint(lamp->level, ==, 2);
    g_assert_cmpstr(lamp->colour, ==, "red");
    lamp = (Lamp *)create(&p, "test-lamp,level=4", &err);
    g_assert_cmpuint(lamp->level, ==, 4);
    platform_end(&p);
}

static void test_help(void)
{
    g_autoptr(GString) out = g_string_new(NULL);
    g_auto(Error) err      = { 0 };
    device_print_help(out);
    g_assert_nonnull(strstr(out->str, "name \"test-lamp\", bus i2c-bus, alias \"test-light\", desc \"a lamp\"\n"));
    g_assert_nonnull(strstr(out->str, "name \"test-controller\"\n"));
    g_assert_null(strstr(out->str, "test-internal"));
    g_assert_true(strstr(out->str, "Controller/Bridge/Hub devices:") < strstr(out->str, "Display devices:"));
    g_string_truncate(out, 0);
    g_assert_true(device_print_type_help("test-light", out, &err));
    g_assert_cmpstr(out->str, ==,
                    "test-lamp options:\n"
                    "  colour=<str>            - what it looks like (default: white)\n"
                    "  fail=<bool>             - (default: off)\n"
                    "  level=<uint8>           - brightness (default: 3)\n");
    g_string_truncate(out, 0);
    g_assert_true(device_print_type_help("test-controller", out, &err));
    g_assert_cmpstr(out->str, ==, "There are no options for test-controller.\n");
    g_assert_false(device_print_type_help("e1001", out, &err));
}

typedef struct Heard {
    int n, level, calls;
} Heard;

static void hear(void *opaque, int n, int level)
{
    Heard *heard = opaque;
    *heard       = (Heard){ n, level, heard->calls + 1 };
}

static void test_pins(void)
{
    Platform p;
    g_auto(Error) err = { 0 };
    platform_begin(&p);
    bus_new(BUS_I2C, NULL, NULL, &p);
    Lamp *from      = (Lamp *)create(&p, "test-lamp", &err);
    Lamp *to        = (Lamp *)create(&p, "test-lamp", &err);
    from->out[1].to = device_input(&to->dev, NULL, 0);
    irq_raise(&from->out[1]);
    g_assert_cmpint(to->heard[0], ==, 1);

    Heard in = { 0 }, out = { 0 };
    g_assert_true(device_intercept_inputs(&to->dev, NULL, hear, &in));
    g_assert_true(device_intercept_outputs(&from->dev, "out", hear, &out));
    g_assert_false(device_intercept_outputs(&from->dev, NULL, hear, &out));
    g_assert_false(device_intercept_inputs(&to->dev, NULL, hear, &in));
    irq_lower(&from->out[1]);
    g_assert_cmpint(to->heard[0], ==, 0);
    g_assert_cmpint(in.n, ==, 0);
    g_assert_cmpint(in.calls, ==, 1);
    g_assert_cmpint(out.n, ==, 1);
    g_assert_cmpint(out.level, ==, 0);
    irq_raise(&from->out[0]); /* leads nowhere, is heard all the same */
    g_assert_cmpint(out.calls, ==, 2);
    platform_end(&p);
}

static void test_state(void)
{
    Platform p;
    g_auto(Error) err          = { 0 };
    g_autoptr(GByteArray) data = g_byte_array_new();
    platform_begin(&p);
    bus_new(BUS_I2C, NULL, NULL, &p);
    Lamp *lamp  = (Lamp *)create(&p, "test-lamp,id=l", &err);
    lamp->level = 6;
    device_save(&lamp->dev, data);
    lamp->level = 0;
    g_assert_true(device_load(&lamp->dev, data->data, data->len, &err));
    g_assert_cmpuint(lamp->level, ==, 6);
    g_assert_false(device_load(&lamp->dev, data->data, data->len - 1, &err));
    g_assert_cmpstr(err.text, ==, "state of /machine/peripheral/l: the state is cut off");
    error_clear(&err);
    data->data[data->len - 1] = 10;
    g_assert_false(device_load(&lamp->dev, data->data, data->len, &err));
    g_assert_cmpstr(err.text, ==, "state of /machine/peripheral/l: field 'level': takes 0 to 9, not 10");
    error_clear(&err);
    data->data[data->len - 1] = 8;
    g_assert_false(device_load(&lamp->dev, data->data, data->len, &err));
    g_assert_cmpstr(err.text, ==, "state of /machine/peripheral/l: too hot");
    error_clear(&err);
    data->data[3] = 3;
    g_assert_false(device_load(&lamp->dev, data->data, data->len, &err));
    g_assert_cmpstr(err.text, ==, "state of /machine/peripheral/l: version 3 is newer than what is known here (2)");
    platform_end(&p);
}

/* ---- Every registered type ---- */

static void check_type(const ObjectType *type, void *opaque)
{
    GHashTable *names = opaque;
    g_auto(Error) err = { 0 };
    if (type->properties && !fields_check(type->properties, type->size, false, &err)) {
        g_test_message("type '%s': properties: %s", type->name, err.text);
        g_test_fail();
        error_clear(&err);
    }
    if (type->class != OBJECT_CLASS_DEVICE) {
        return;
    }
    const DeviceType *device = (const DeviceType *)type;
    if (device->state && !fields_check(device->state, type->size, true, &err)) {
        g_test_message("device '%s': state: %s", type->name, err.text);
        g_test_fail();
    }
    if (type->size < sizeof(Device) || (device->bus == BUS_PCI && !device->bus_info) ||
        (unsigned)device->category >= N_DEVICE_CATEGORIES || !g_hash_table_add(names, (gpointer)type->name) ||
        (device->alias && !g_hash_table_add(names, (gpointer)device->alias))) {
        g_test_message("device '%s' is not well described", type->name);
        g_test_fail();
    }
    /* QEMU's words for what it has too; what only Quern has is named for tests here. */
    if (!device->internal && !g_str_has_prefix(type->name, "test-") && !surface_has(OBJECT_CLASS_DEVICE, type->name)) {
        g_test_message("device '%s' is not of the surface", type->name);
        g_test_fail();
    }
}

static void test_all_types(void)
{
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    object_type_foreach(check_type, names);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/device/create", test_create);
    g_test_add_func("/device/board", test_board_devices);
    g_test_add_func("/device/globals", test_globals);
    g_test_add_func("/device/help", test_help);
    g_test_add_func("/device/pins", test_pins);
    g_test_add_func("/device/state", test_state);
    g_test_add_func("/device/all-types", test_all_types);
    return g_test_run();
}
