/* desc/field: one table parses, prints, describes. */

#include "base/optstr.h"
#include "base/text.h"
#include "desc/field.h"

#include <stdio.h>
#include <string.h>

typedef enum Mode { MODE_FAST, MODE_HOLE, MODE_SAFE, MODE_EXACT } Mode;

typedef struct Cache {
    bool     direct;
    uint32_t lines;
} Cache;

typedef struct Base {
    char   *addr;
    int32_t bootindex;
} Base;

typedef struct Port {
    char    *name;
    uint16_t number;
} Port;

typedef struct Thing {
    Base       base;
    bool       flag, has_count;
    uint8_t    small;
    int8_t     level;
    uint32_t   count;
    uint64_t   ram, wide;
    double     ratio;
    char      *path, *secret;
    Mode       mode;
    OnOffAuto  smm;
    Cache      cache;
    Json      *any;
    GPtrArray *names, *ports, *numbers;
    uint8_t    mac[3];
    uint32_t   built;
    bool       future;
    uint64_t   flat_a, flat_b;
} Thing;

static const char *const mode_names[] = { "fast", "", "safe", "exact", NULL };

static const Field base_fields[] = {
    FIELD(Base, addr, "addr", .help = "where it sits"),
    FIELD(Base, bootindex, "bootindex", .initial = -1, .help = "place in the boot order"),
    {},
};

static const Field cache_fields[] = {
    FIELD(Cache, direct, "direct"),
    FIELD(Cache, lines, "lines", .initial = 4, .min = 1, .max = 64, .power_of_two = true, .help = "number of lines"),
    {},
};

static const Field port_fields[] = {
    FIELD(Port, name, "name", .required = true),
    FIELD(Port, number, "number", .initial = 80),
    {},
};

static const Field string_element = { .kind = FIELD_STRING, .size = sizeof(char *), .count = 1 };
static const Field number_element = { .kind = FIELD_U32, .size = 4, .count = 1, .max = 100 };

static bool parse_mac(const Field *field, void *member, const Json *value, Error *err)
{
    uint8_t *mac = member;
    if (value->kind != JSON_STRING || sscanf(value->string, "%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2]) != 3) {
        return error_set(err, "not a MAC address");
    }
    return true;
}

static Json *print_mac(const Field *field, const void *member)
{
    const uint8_t *mac = member;
    return json_new_format("%02x:%02x:%02x", mac[0], mac[1], mac[2]);
}

static const FieldCustom mac_type = { .type_name = "mac", .parse = parse_mac, .print = print_mac };

static const Field thing_fields[] = {
    FIELDS_OF(Thing, base, base_fields),
    FIELD(Thing, flag, "flag", .initial = true, .help = "a flag"),
    FIELD(Thing, small, "small", .alias = "little"),
    FIELD(Thing, level, "level", .min = -5, .max = 5),
    FIELD(Thing, count, "count", .has_offset = 1 + offsetof(Thing, has_count)),
    FIELD(Thing, ram, "ram", .size_unit = MiB, .text = "128M", .min = (int64_t)MiB, .max = 4 * GiB),
    FIELD(Thing, wide, "wide"),
    FIELD(Thing, ratio, "ratio", .text = "0.5"),
    FIELD(Thing, path, "path", .text = "/dev/null", .help = "a file"),
    FIELD(Thing, secret, "secret", .write_only = true),
    FIELD(Thing, mode, "mode", .names = mode_names, .initial = MODE_SAFE, .help = "how"),
    FIELD(Thing, smm, "smm", .names = on_off_auto_names),
    FIELD(Thing, cache, "cache", .sub = cache_fields),
    FIELD(Thing, any, "any"),
    FIELD(Thing, names, "names", .element = &string_element),
    FIELD(Thing, ports, "ports", .sub = port_fields, .element_size = sizeof(Port)),
    FIELD(Thing, numbers, "numbers", .element = &number_element, .element_size = 4),
    FIELD(Thing, mac, "mac", .custom = &mac_type, .text = "52:54:00"),
    FIELD(Thing, built, "built", .read_only = true, .initial = 7),
    FIELD(Thing, future, "future", .unsupported = true),
    FIELD(Thing, flat_a, "throttling.a"),
    FIELD(Thing, flat_b, "throttling.b"),
    {},
};

static void thing_init(Thing *t)
{
    memset(t, 0xA5, sizeof *t);
    fields_init(thing_fields, t);
}

static bool parse(Thing *t, const char *text, Error *err)
{
    g_autoptr(Json) json = optstr_parse(text, "path", err);
    return json && fields_parse(thing_fields, t, json, *text != '{', NULL, err);
}

static void accept(Thing *t, const char *text)
{
    g_auto(Error) err = { 0 };
    bool ok           = parse(t, text, &err);
    g_assert_cmpstr(err.text, ==, NULL);
    g_assert_true(ok);
}

static void refuse(const char *text, const char *expected)
{
    Thing t;
    g_auto(Error) err = { 0 };
    thing_init(&t);
    bool ok = parse(&t, text, &err);
    g_assert_false(ok);
    g_assert_cmpstr(err.text, ==, expected);
    fields_clear(thing_fields, &t);
}

static void test_defaults(void)
{
    Thing t;
    thing_init(&t);
    g_assert_true(t.flag);
    g_assert_false(t.has_count);
    g_assert_cmpuint(t.ram, ==, 128 * MiB);
    g_assert_cmpfloat(t.ratio, ==, 0.5);
    g_assert_cmpstr(t.path, ==, "/dev/null");
    g_assert_cmpint(t.mode, ==, MODE_SAFE);
    g_assert_cmpint(t.base.bootindex, ==, -1);
    g_assert_cmpuint(t.cache.lines, ==, 4);
    g_assert_cmpuint(t.mac[1], ==, 0x54);
    g_assert_cmpuint(t.built, ==, 7);
    g_assert_null(t.names);
    g_assert_null(t.base.addr);
    fields_clear(thing_fields, &t);
    g_assert_null(t.path);
}

static void test_lenient(void)
{
    Thing t;
    thing_init(&t);
    accept(&t, "/x,,y,flag=off,little=0x10,level=-5,count=7,ram=512,wide=18446744073709551615,ratio=2.5,mode=exact,"
               "smm=on,cache.direct=on,cache.lines=16,names=a,names=b,ports.0.name=p,ports.1.name=q,ports.1.number=1,"
               "numbers=3,mac=1:2:3,addr=04.0,bootindex=2,any.k=v,future=off,throttling.a=1,throttling.b=2,secret=s");
    g_assert_cmpstr(t.path, ==, "/x,y");
    g_assert_false(t.flag);
    g_assert_cmpuint(t.small, ==, 16);
    g_assert_cmpint(t.level, ==, -5);
    g_assert_true(t.has_count);
    g_assert_cmpuint(t.count, ==, 7);
    g_assert_cmpuint(t.ram, ==, 512 * MiB);
    g_assert_cmpuint(t.wide, ==, UINT64_MAX);
    g_assert_cmpint(t.mode, ==, MODE_EXACT);
    g_assert_cmpint(t.smm, ==, ON_OFF_AUTO_ON);
    g_assert_true(t.cache.direct);
    g_assert_cmpuint(t.cache.lines, ==, 16);
    g_assert_cmpuint(t.names->len, ==, 2);
    g_assert_cmpstr(t.names->pdata[1], ==, "b");
    g_assert_cmpuint(t.ports->len, ==, 2);
    g_assert_cmpuint(((Port *)t.ports->pdata[0])->number, ==, 80);
    g_assert_cmpuint(*(uint32_t *)t.numbers->pdata[0], ==, 3);
    g_assert_cmpuint(t.mac[2], ==, 3);
    g_assert_cmpstr(t.base.addr, ==, "04.0");
    g_assert_cmpint(t.base.bootindex, ==, 2);
    g_assert_cmpstr(json_get_string(t.any, "k"), ==, "v");
    g_assert_cmpuint(t.flat_b, ==, 2);

    /* Again: what was owned is replaced; of repeated scalars the last counts; a bare key is "on". */
    accept(&t, "path=a,path=b,flag,names=z,ports.0.name=r,mode=fast,any=1");
    g_assert_cmpstr(t.path, ==, "b");
    g_assert_true(t.flag);
    g_assert_cmpuint(t.names->len, ==, 1);
    g_assert_cmpuint(t.ports->len, ==, 1);
    fields_clear(thing_fields, &t);
}

static void test_strict(void)
{
    Thing t;
    thing_init(&t);
    accept(&t, "{'flag': false, 'small': 255, 'ram': 1048576, 'ratio': 1, 'path': 'p', 'mode': 'fast',"
               " 'cache': {'direct': true}, 'cache.lines': 2, 'names': ['x'], 'ports': [{'name': 'n'}],"
               " 'any': [1], 'mac': '4:5:6', 'throttling.a': 3, 'throttling': {'b': 4}, 'bootindex': -7}");
    g_assert_cmpuint(t.ram, ==, MiB);
    g_assert_cmpuint(t.small, ==, 255);
    g_assert_true(t.cache.direct);
    g_assert_cmpuint(t.cache.lines, ==, 2);
    g_assert_cmpuint(t.flat_a, ==, 3);
    g_assert_cmpuint(t.flat_b, ==, 4);
    g_assert_cmpint(t.base.bootindex, ==, -7);
    fields_clear(thing_fields, &t);
}

static void test_errors(void)
{
    refuse("pathh=x", "no property 'pathh' (did you mean 'path'?)");
    refuse("adr=1", "no property 'adr' (did you mean 'addr'?)");
    refuse("zzzzz=1", "no property 'zzzzz'");
    refuse("cache.dircet=on", "no property 'cache.dircet' (did you mean 'cache.direct'?)");
    refuse("cach.direct=on", "no property 'cach' (did you mean 'cache'?)");
    refuse("throttling.c=1", "no property 'throttling.c' (did you mean 'throttling.a'?)");
    refuse("flag=maybe", "property 'flag': 'maybe' is neither 'on' nor 'off'");
    refuse("small=256", "property 'small' takes 0 to 255, not 256");
    refuse("small=-1", "property 'small' takes 0 to 255, not -1");
    refuse("small=x", "property 'small': 'x' is not a number (decimal, or hexadecimal with 0x)");
    refuse("level=6", "property 'level' takes -5 to 5, not 6");
    refuse("ram=5G", "property 'ram' takes 1 MiB to 4 GiB, not 5 GiB");
    refuse("ram=4Q", "property 'ram': '4Q' is not a size (examples: 512M, 4G)");
    refuse("cache.lines=3", "property 'cache.lines' takes a power of two, not 3");
    refuse("cache.lines=0", "property 'cache.lines' takes 1 to 64, not 0");
    refuse("cache=on", "property 'cache' takes values by name ('cache.direct=' ...)");
    refuse("mode=fats", "property 'mode' takes 'fast', 'safe' or 'exact', not 'fats' (did you mean 'fast'?)");
    refuse("mode=", "property 'mode' takes 'fast', 'safe' or 'exact', not ''");
    refuse("smm=x", "property 'smm' takes 'auto', 'on' or 'off', not 'x'");
    refuse("mac=x", "property 'mac': not a MAC address");
    refuse("built=1", "property 'built' is read-only");
    refuse("future=on", "future=on: not supported yet");
    refuse("ports.0.number=1", "property 'ports.0.name' is missing");
    refuse("ports.0.name=a,ports.1.nam=b", "no property 'ports.1.nam' (did you mean 'ports.1.name'?)");
    refuse("numbers=3,numbers=101", "property 'numbers.1' takes 0 to 100, not 101");
    refuse("ratio=1x", "property 'ratio': '1x' is not a number");
    refuse("path.x=1", "no property 'path.x' (did you mean 'path'?)");
    refuse("{'flag': 'on'}", "property 'flag' takes a boolean, not a string");
    refuse("{'small': '1'}", "property 'small' takes an integer, not a string");
    refuse("{'small': 1.0}", "property 'small' takes an integer, not a number");
    refuse("{'ram': '1G'}", "property 'ram' takes a size in bytes, not a string");
    refuse("{'path': 1}", "property 'path' takes a string, not an integer");
    refuse("{'path': null}", "property 'path' takes a string, not null");
    refuse("{'mode': 1}", "property 'mode' takes a string, not an integer");
    refuse("{'cache': 1}", "property 'cache' takes an object, not an integer");
    refuse("{'cache': {'lines': 'x'}}", "property 'cache.lines' takes an integer, not a string");
    refuse("{'names': 'x'}", "property 'names' takes a list, not a string");
    refuse("{'names': [1]}", "property 'names.0' takes a string, not an integer");
    refuse("{'ports': [1]}", "property 'ports.0' takes an object, not an integer");
}

static void test_required(void)
{
    Port port;
    g_auto(Error) err     = { 0 };
    g_autoptr(Json) empty = json_new_object();
    fields_init(port_fields, &port);
    g_assert_false(fields_parse(port_fields, &port, empty, true, NULL, &err));
    g_assert_cmpstr(err.text, ==, "property 'name' is missing");
    error_clear(&err);
    static const char *const skip[] = { "driver", NULL };
    json_set(empty, "driver", json_new_string("x"));
    json_set(empty, "name", json_new_string("n"));
    g_assert_true(fields_parse(port_fields, &port, empty, true, skip, &err));
    fields_clear(port_fields, &port);
}

/* A value beside members of the same name: -drive file=x,file.locking=off. */
static void test_value_and_members(void)
{
    typedef struct Drive {
        char *file, *locking;
    } Drive;
    static const Field drive_fields[] = {
        FIELD(Drive, file, "file"),
        FIELD(Drive, locking, "file.locking"),
        {},
    };
    Drive drive;
    g_auto(Error) err    = { 0 };
    g_autoptr(Json) json = optstr_parse("file=a.img,file.locking=off", NULL, &err);
    fields_init(drive_fields, &drive);
    g_assert_true(fields_parse(drive_fields, &drive, json, true, NULL, &err));
    g_assert_cmpstr(drive.file, ==, "a.img");
    g_assert_cmpstr(drive.locking, ==, "off");
    fields_clear(drive_fields, &drive);
}

static void test_set_get(void)
{
    Thing t;
    g_auto(Error) err    = { 0 };
    g_autoptr(Json) nine = json_new_string("8");
    thing_init(&t);
    g_assert_true(fields_set(thing_fields, &t, "cache.lines", nine, true, &err));
    g_autoptr(Json) lines = fields_get(thing_fields, &t, "cache.lines", &err);
    g_assert_cmpint(lines->integer, ==, 8);
    g_autoptr(Json) addr = fields_get(thing_fields, &t, "addr", &err);
    g_assert_cmpstr(addr->string, ==, "");
    g_autoptr(Json) mode = fields_get(thing_fields, &t, "mode", &err);
    g_assert_cmpstr(mode->string, ==, "safe");
    g_autoptr(Json) flat = fields_get(thing_fields, &t, "throttling.a", &err);
    g_assert_cmpint(flat->integer, ==, 0);
    g_assert_null(fields_get(thing_fields, &t, "mod", &err));
    g_assert_cmpstr(err.text, ==, "no property 'mod' (did you mean 'mode'?)");
    error_clear(&err);
    g_assert_null(fields_get(thing_fields, &t, "secret", &err));
    g_assert_cmpstr(err.text, ==, "property 'secret' cannot be read");
    error_clear(&err);
    g_assert_false(fields_set(thing_fields, &t, "cache.nope", nine, true, &err));
    fields_clear(thing_fields, &t);
}

/* What is printed parses strictly into the same. */
static void test_print(void)
{
    Thing t, again;
    thing_init(&t);
    thing_init(&again);
    accept(&t, "names=a,names=b,ports.0.name=p,numbers=9,count=1,any.x=1,level=-1,secret=hidden,cache.direct=on");
    g_autoptr(Json) json = fields_print(thing_fields, &t);
    g_assert_null(json_get(json, "secret"));
    g_assert_nonnull(json_get(json, "count"));
    json_remove(json, "built");
    g_auto(Error) err = { 0 };
    fields_parse(thing_fields, &again, json, false, NULL, &err);
    g_assert_cmpstr(err.text, ==, NULL);
    json_set(json, "built", json_new_int(7));
    g_autoptr(Json) second = fields_print(thing_fields, &again);
    g_assert_true(json_equal(json, second));
    fields_clear(thing_fields, &t);
    fields_clear(thing_fields, &again);
}

static void test_help(void)
{
    g_autoptr(GString) help = g_string_new(NULL);
    fields_print_help(thing_fields, help);
    static const char *const lines[] = {
        "  addr=<str>              - where it sits\n",
        "  bootindex=<int32>       - place in the boot order (default: -1)\n",
        "  cache.direct=<bool>     - (default: off)\n",
        "  cache.lines=<uint32>    - number of lines (default: 4)\n",
        "  count=<uint32>\n",
        "  flag=<bool>             - a flag (default: on)\n",
        "  mac=<mac>               - (default: 52:54:00)\n",
        "  mode=<fast/safe/exact>  - how (default: safe)\n",
        "  names=<list<str>>\n",
        "  numbers=<list<uint32>>\n",
        "  path=<str>              - a file (default: /dev/null)\n",
        "  ports=<list<object>>\n",
        "  ram=<size>              - (default: 134217728)\n",
        "  ratio=<number>          - (default: 0.5)\n",
        "  smm=<on/off/auto>       - (default: auto)\n",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(lines); i++) {
        if (!strstr(help->str, lines[i])) {
            g_test_message("%s not in\n%s", lines[i], help->str);
            g_test_fail();
        }
    }
    g_assert_null(strstr(help->str, "future"));
    g_assert_null(strstr(help->str, "built"));
    g_autoptr(Json) list  = fields_describe(cache_fields);
    g_autofree char *text = json_print(list, false);
    g_assert_cmpstr(text, ==,
                    "[{\"name\": \"direct\", \"type\": \"bool\", \"default-value\": false}, {\"name\": \"lines\", "
                    "\"type\": \"uint32\", \"description\": \"number of lines\", \"default-value\": 4}]");
    g_autoptr(Json) all = fields_describe(thing_fields);
    g_assert_cmpuint(all->n, ==, 21);
}

static void test_find(void)
{
    g_assert_nonnull(fields_find(thing_fields, "bootindex"));
    g_assert_nonnull(fields_find(thing_fields, "little"));
    g_assert_null(fields_find(thing_fields, "nothing"));
    g_assert_null(fields_find(NULL, "x"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/field/defaults", test_defaults);
    g_test_add_func("/field/lenient", test_lenient);
    g_test_add_func("/field/strict", test_strict);
    g_test_add_func("/field/errors", test_errors);
    g_test_add_func("/field/required", test_required);
    g_test_add_func("/field/value-and-members", test_value_and_members);
    g_test_add_func("/field/set-get", test_set_get);
    g_test_add_func("/field/print", test_print);
    g_test_add_func("/field/help", test_help);
    g_test_add_func("/field/find", test_find);
    return g_test_run();
}
