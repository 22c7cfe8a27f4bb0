/* object: types, the tree, objects that users make. */

#include "base/optstr.h"
#include "object/object.h"
#include "object/surface.h"

#include <string.h>

typedef struct Source {
    Object  obj;
    char   *path;
    int32_t rate;
    bool    keep;
} Source;

static int finalized;

static const Field source_properties[] = {
    FIELD(Source, path, "path", .text = "/dev/zero"),
    FIELD(Source, rate, "rate", .initial = 5, .live = true),
    FIELD(Source, keep, "keep"),
    {},
};

static bool source_complete(Object *obj, Error *err)
{
    Source *source = (Source *)obj;
    return source->rate >= 0 || error_set(err, "a negative rate");
}

static bool source_can_delete(Object *obj, Error *err)
{
    return !((Source *)obj)->keep;
}

static void source_changed(Object *obj, const char *property)
{
    g_assert_cmpstr(property, ==, "rate");
    ((Source *)obj)->keep = true;
}

static void source_finalize(Object *obj)
{
    g_assert_nonnull(((Source *)obj)->path); /* properties are cleared later */
    finalized++;
}

OBJECT_TYPE(test_source) = {
    .name       = "test-source",
    .class      = OBJECT_CLASS_USER,
    .size       = sizeof(Source),
    .properties = source_properties,
    .complete   = source_complete,
    .can_delete = source_can_delete,
    .changed    = source_changed,
    .finalize   = source_finalize,
};

static Object *create(Object *root, const char *text, Error *err)
{
    g_autoptr(Json) options = optstr_parse(text, "qom-type", err);
    return options ? object_create_user(root, options, true, err) : NULL;
}

static void test_create(void)
{
    g_auto(Error) err = { 0 };
    Object *root      = object_root_new();
    Source *a         = (Source *)create(root, "test-source,id=a,path=/x,rate=7", &err);
    g_assert_cmpstr(err.text, ==, NULL);
    g_assert_cmpstr(a->path, ==, "/x");
    g_assert_cmpint(a->rate, ==, 7);
    g_assert_true(a->obj.complete);
    g_autofree char *path = object_path(&a->obj);
    g_assert_cmpstr(path, ==, "/objects/a");

    static const char *const bad[][2] = {
        { "test-source,id=a", "there is an object with id 'a' already" },
        { "test-source", "property 'id' is missing" },
        { "id=b", "property 'qom-type' is missing" },
        { "test-source,id=1b", "'1b' cannot be an id (a letter, then letters, digits, '-', '.' or '_')" },
        { "test-source,id=b/c", "'b/c' cannot be an id (a letter, then letters, digits, '-', '.' or '_')" },
        { "test-sorce,id=b", "no object type 'test-sorce' (did you mean 'test-source'?)" },
        { "filter-replay,id=b", "object type 'filter-replay': not supported yet" },
        { "test-source,id=b,pat=x", "no property 'pat' (did you mean 'path'?)" },
        { "test-source,id=b,rate=-1", "a negative rate" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        error_clear(&err);
        g_assert_null(create(root, bad[i][0], &err));
        g_assert_cmpstr(err.text, ==, bad[i][1]);
    }
    error_clear(&err);
    g_assert_null(object_resolve(root, "/objects/b"));

    g_assert_false(object_delete_user(root, "b", &err));
    g_assert_cmpstr(err.text, ==, "no object with id 'b'");
    error_clear(&err);
    finalized = 0;
    g_assert_true(object_delete_user(root, "a", &err));
    g_assert_cmpint(finalized, ==, 1);
    create(root, "test-source,id=a,keep=on", &err);
    g_assert_false(object_delete_user(root, "a", &err));
    g_assert_cmpstr(err.text, ==, "object 'a' is in use");
    object_unref(root);
    g_assert_cmpint(finalized, ==, 2);
}

static void test_properties(void)
{
    g_auto(Error) err     = { 0 };
    Object *root          = object_root_new();
    Object *a             = create(root, "test-source,id=a", &err);
    g_autoptr(Json) nine  = json_new_int(9);
    g_autoptr(Json) other = json_new_string("/y");
    g_assert_true(object_set(a, "rate", nine, false, &err));
    g_assert_true(((Source *)a)->keep);
    g_assert_false(object_set(a, "path", other, false, &err));
    g_assert_cmpstr(err.text, ==, "property 'path' cannot be changed any more");
    error_clear(&err);
    g_assert_false(object_set(a, "pth", other, false, &err));
    g_assert_cmpstr(err.text, ==, "no property 'pth' (did you mean 'path'?)");
    error_clear(&err);
    g_autoptr(Json) rate = object_get(a, "rate", &err);
    g_assert_cmpint(rate->integer, ==, 9);
    object_unref(root);
}

static void test_tree(void)
{
    g_auto(Error) err = { 0 };
    Object *root      = object_root_new();
    Object *machine   = object_resolve(root, "/machine");
    Object *outer     = object_container(machine, "unattached");
    Object *inner     = object_container(outer, "device[0]");
    g_assert_true(object_container(machine, "unattached") == outer);
    g_assert_true(object_resolve(root, "/machine/unattached/device[0]") == inner);
    g_assert_true(object_resolve(root, "device[0]") == inner);
    g_assert_true(object_resolve(root, "unattached/device[0]") == inner);
    g_assert_true(object_resolve(root, "/") == root);
    g_assert_null(object_resolve(root, ""));
    g_assert_null(object_resolve(root, "/machine/none"));
    g_assert_null(object_resolve(root, "/machine//"));
    object_container(object_container(root, "objects"), "device[0]");
    g_assert_null(object_resolve(root, "device[0]"));
    g_assert_true(object_resolve(root, "unattached/device[0]") == inner);

    Object *extra = object_new(object_type_find("container"));
    g_assert_false(object_add_child(machine, "unattached", extra, &err));
    g_assert_cmpstr(err.text, ==, "there is a 'unattached' in /machine already");
    object_unref(extra);

    /* A removed object lives on while somebody holds it. */
    object_ref(inner);
    object_remove(inner);
    g_assert_null(inner->parent);
    g_assert_null(object_child(outer, "device[0]"));
    g_autofree char *path = object_path(inner);
    g_assert_cmpstr(path, ==, "/");
    object_unref(inner);
    object_unref(root);
}

static void check_type(const ObjectType *type, void *opaque)
{
    GHashTable      *seen = opaque;
    g_autofree char *key  = g_strdup_printf("%d/%s", type->class, type->name);
    g_assert_nonnull(type->name);
    if (!g_hash_table_add(seen, g_steal_pointer(&key))) {
        g_test_message("two types '%s' of one class", type->name);
        g_test_fail();
    }
}

static void test_types(void)
{
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    object_type_foreach(check_type, seen);
    g_assert_true(object_type_find("test-source") == &test_source_type);
    g_assert_null(object_type_find_class(OBJECT_CLASS_DEVICE, "test-source"));
    g_assert_null(object_type_find("nothing"));
    g_auto(Error) err = { 0 };
    object_type_unknown(OBJECT_CLASS_DEVICE, "device", "virtio-net-pci", &err);
    g_assert_cmpstr(err.text, ==, "device 'virtio-net-pci': not supported yet");
    error_clear(&err);
    object_type_unknown(OBJECT_CLASS_DEVICE, "device", "virtio-net-pic", &err);
    g_assert_cmpstr(err.text, ==, "no device 'virtio-net-pic' (did you mean 'virtio-net-pci'?)");
}

/* bsearch needs sorted lists: every name must be found. */
static void test_surface(void)
{
    static const char *const devices[] = { "AC97", "ac97",           "e1000",      "virtio-blk", "xio3130-downstream",
                                           "VGA",  "isa-debug-exit", "usb-tablet", "nvme",       "i6300esb",
                                           "sb16", "pc-dimm" };
    for (size_t i = 0; i < G_N_ELEMENTS(devices); i++) {
        g_assert_true(surface_has(OBJECT_CLASS_DEVICE, devices[i]));
    }
    g_assert_false(surface_has(OBJECT_CLASS_DEVICE, "e10000"));
    g_assert_true(surface_has(OBJECT_CLASS_USER, "rng-builtin"));
    g_assert_true(surface_has(OBJECT_CLASS_USER, "throttle-group"));
    g_assert_true(surface_has(OBJECT_CLASS_CPU, "EPYC-x86_64-cpu"));
    g_assert_false(surface_has(OBJECT_CLASS_CHARDEV, "null"));
    g_assert_true(surface_has_internal("ide-device"));
    g_assert_true(surface_has_internal("PIIX4_PM"));
    g_assert_false(surface_has_internal("e1000"));
    g_assert_true(surface_is_sorted());
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/object/create", test_create);
    g_test_add_func("/object/properties", test_properties);
    g_test_add_func("/object/tree", test_tree);
    g_test_add_func("/object/types", test_types);
    g_test_add_func("/object/surface", test_surface);
    return g_test_run();
}
