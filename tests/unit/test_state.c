/* desc/state: save, load, compare; hostile data. */

#include "base/bytes.h"
#include "desc/state.h"

#include <string.h>

typedef struct Inner {
    uint16_t port;
    char    *label;
} Inner;

typedef enum Mode { MODE_A, MODE_B, MODE_C } Mode;

typedef struct All {
    Inner      base;
    bool       flag;
    uint8_t    u8;
    uint16_t   u16;
    uint32_t   u32;
    uint64_t   u64;
    int8_t     i8;
    int16_t    i16;
    int32_t    i32;
    int64_t    i64;
    double     ratio;
    char      *text, *empty, *none;
    Json      *any, *nothing;
    Mode       mode;
    Inner      one, two[3];
    uint32_t   words[4];
    bool       bits[3];
    uint8_t    bytes[9], raw[5];
    GPtrArray *names, *inners, *numbers, *absent;
    uint64_t   custom;
    uint32_t   index, extra;
} All;

static const char *const mode_names[] = { "a", "b", "c", NULL };

static const Field inner_fields[] = { FIELD(Inner, port, "port", .max = 1000), FIELD(Inner, label, "label"), {} };
static const Field base_fields[]  = { FIELD(Inner, port, "base-port"), FIELD(Inner, label, "base-label"), {} };

static const Field string_element = { .kind = FIELD_STRING, .size = sizeof(char *), .count = 1 };
static const Field number_element = { .kind = FIELD_U32, .size = 4, .count = 1 };

static bool parse_custom(const Field *field, void *member, const Json *value, Error *err)
{
    return value->kind == JSON_INT ? (*(uint64_t *)member = (uint64_t)value->integer, true)
                                   : error_set(err, "no integer");
}

static Json *print_custom(const Field *field, const void *member)
{
    return json_new_int((int64_t) * (const uint64_t *)member);
}

static const FieldCustom custom_type = { .type_name = "x", .parse = parse_custom, .print = print_custom };

static bool validate_index(void *owner, Error *err)
{
    return ((All *)owner)->index < 4 || error_set(err, "beyond the words");
}

static bool has_extra(const void *owner)
{
    return ((const All *)owner)->extra != 0;
}

static const Field all_fields[] = {
    FIELDS_OF(All, base, base_fields),
    FIELD(All, flag, "flag"),
    FIELD(All, u8, "u8"),
    FIELD(All, u16, "u16"),
    FIELD(All, u32, "u32"),
    FIELD(All, u64, "u64"),
    FIELD(All, i8, "i8"),
    FIELD(All, i16, "i16"),
    FIELD(All, i32, "i32"),
    FIELD(All, i64, "i64", .min = -5, .max = INT64_MAX),
    FIELD(All, ratio, "ratio"),
    FIELD(All, text, "text"),
    FIELD(All, empty, "empty"),
    FIELD(All, none, "none"),
    FIELD(All, any, "any"),
    FIELD(All, nothing, "nothing"),
    FIELD(All, mode, "mode", .names = mode_names),
    FIELD(All, one, "one", .sub = inner_fields),
    FIELD_ARRAY(All, two, "two", .sub = inner_fields),
    FIELD_ARRAY(All, words, "words"),
    FIELD_ARRAY(All, bits, "bits"),
    FIELD_ARRAY(All, bytes, "bytes"),
    FIELD(All, raw, "raw"),
    FIELD(All, names, "names", .element = &string_element),
    FIELD(All, inners, "inners", .sub = inner_fields, .element_size = sizeof(Inner)),
    FIELD(All, numbers, "numbers", .element = &number_element, .element_size = 4),
    FIELD(All, absent, "absent", .element = &string_element),
    FIELD(All, custom, "custom", .custom = &custom_type),
    FIELD(All, index, "index", .validate = validate_index),
    FIELD(All, extra, "extra", .needed = has_extra),
    {},
};

static Inner *new_inner(uint16_t port, const char *label)
{
    Inner *inner = g_new(Inner, 1);
    *inner       = (Inner){ port, g_strdup(label) };
    return inner;
}

static void fill(All *a)
{
    *a = (All){
        .base    = { 7, g_strdup("base") },
        .flag    = true,
        .u8      = 0xFE,
        .u16     = 0xFEDC,
        .u32     = 0xFEDCBA98,
        .u64     = UINT64_MAX,
        .i8      = -128,
        .i16     = -30000,
        .i32     = INT32_MIN,
        .i64     = -5,
        .ratio   = -0.1,
        .text    = g_strdup("t\xFF"),
        .empty   = g_strdup(""),
        .any     = json_new_string("j"),
        .mode    = MODE_C,
        .one     = { 1, g_strdup("o") },
        .two     = { { 1, NULL }, { 2, g_strdup("") }, { 1000, g_strdup("z") } },
        .words   = { 1, 2, 3, UINT32_MAX },
        .bits    = { true, false, true },
        .bytes   = { 1, 2, 3, 4, 5, 6, 7, 8, 9 },
        .raw     = { 9, 8, 7, 6, 5 },
        .names   = g_ptr_array_new(),
        .inners  = g_ptr_array_new(),
        .numbers = g_ptr_array_new(),
        .custom  = 99,
        .index   = 3,
    };
    g_ptr_array_add(a->names, g_strdup("n1"));
    g_ptr_array_add(a->names, g_strdup("n2"));
    g_ptr_array_add(a->inners, new_inner(3, "i"));
    uint32_t *number = g_new(uint32_t, 1);
    *number          = 42;
    g_ptr_array_add(a->numbers, number);
}

static void test_round_trip(void)
{
    All a, b = { 0 };
    g_auto(Error) err          = { 0 };
    g_autoptr(GByteArray) data = g_byte_array_new(), again = g_byte_array_new();
    g_assert_true(fields_check(all_fields, sizeof(All), true, &err));
    fill(&a);
    state_save(all_fields, &a, data);
    bool ok = state_load(all_fields, &b, data->data, data->len, &err);
    g_assert_cmpstr(err.text, ==, NULL);
    g_assert_true(ok);
    state_save(all_fields, &b, again);
    g_assert_cmpmem(data->data, data->len, again->data, again->len);
    g_autoptr(Json) before = fields_print(all_fields, &a);
    g_autoptr(Json) after  = fields_print(all_fields, &b);
    json_remove(after, "absent"); /* NULL and an empty list are one */
    g_assert_true(json_equal(before, after));
    g_assert_cmpstr(b.text, ==, "t\xFF");
    g_assert_cmpstr(b.empty, ==, "");
    g_assert_null(b.none);
    g_assert_null(b.nothing);
    g_assert_cmpuint(b.words[3], ==, UINT32_MAX);
    g_assert_cmpint(b.i32, ==, INT32_MIN);
    g_assert_cmpuint(b.two[2].port, ==, 1000);
    g_assert_null(b.two[0].label);

    /* Over what is there already, and with a field that is needed now. */
    a.extra = 5;
    g_byte_array_set_size(data, 0);
    state_save(all_fields, &a, data);
    g_assert_true(state_load(all_fields, &b, data->data, data->len, &err));
    g_assert_cmpuint(b.extra, ==, 5);
    fields_clear(all_fields, &a);
    fields_clear(all_fields, &b);
}

/* A reader with other fields: unknown ones are skipped, absent ones stay, widths may differ. */
static void test_other_version(void)
{
    typedef struct Old {
        uint8_t  gone, index;
        uint64_t wide;
    } Old;
    typedef struct New {
        uint32_t index, added;
        uint16_t wide;
    } New;
    static const Field old_fields[] = {
        FIELD(Old, gone, "gone"), FIELD(Old, index, "index"), FIELD(Old, wide, "wide"), {}
    };
    static const Field new_fields[] = {
        FIELD(New, index, "index"), FIELD(New, added, "added"), FIELD(New, wide, "width", .alias = "wide"), {}
    };
    g_auto(Error) err          = { 0 };
    g_autoptr(GByteArray) data = g_byte_array_new();
    Old old                    = { 1, 200, 300 };
    New new                    = { .added = 7 };
    state_save(old_fields, &old, data);
    g_assert_true(state_load(new_fields, &new, data->data, data->len, &err));
    g_assert_cmpuint(new.index, ==, 200);
    g_assert_cmpuint(new.added, ==, 7);
    g_assert_cmpuint(new.wide, ==, 300);
    old.wide = 65536;
    g_byte_array_set_size(data, 0);
    state_save(old_fields, &old, data);
    g_assert_false(state_load(new_fields, &new, data->data, data->len, &err));
    g_assert_cmpstr(err.text, ==, "field 'width': takes 0 to 65535, not 65536");
}

/* One field `name` with `tag` and the bytes of `value`, loaded into an empty All. */
static void refuse(const char *name, char tag, const char *value, size_t len, const char *expected)
{
    g_autoptr(GByteArray) data = g_byte_array_new();
    g_auto(Error) err          = { 0 };
    All     all                = { 0 };
    uint8_t n                  = (uint8_t)strlen(name), size[4];
    store_be32(size, (uint32_t)len);
    g_byte_array_append(data, &n, 1);
    g_byte_array_append(data, (const uint8_t *)name, n);
    g_byte_array_append(data, (const uint8_t *)&tag, 1);
    g_byte_array_append(data, size, 4);
    g_byte_array_append(data, (const uint8_t *)value, (guint)len);
    bool ok = state_load(all_fields, &all, data->data, data->len, &err);
    g_assert_cmpstr(err.text, ==, expected);
    g_assert_false(ok);
    fields_clear(all_fields, &all);
}

static void test_refused(void)
{
    refuse("flag", 'b', "\2", 1, "field 'flag': not a boolean");
    refuse("flag", 'u', "\1", 1, "field 'flag': a value of another kind");
    refuse("u8", 'u', "\1\0", 2, "field 'u8': takes 0 to 255, not 256");
    refuse("u8", 'u', "\1\0\0", 3, "field 'u8': a value of 3 bytes");
    refuse("i64", 'i', "\xFA", 1, "field 'i64': takes -5 to 9223372036854775807, not -6");
    refuse("ratio", 'd', "\1", 1, "field 'ratio': a value of 1 bytes");
    refuse("text", 's', "ab", 2, "field 'text': a string that does not end where it should");
    refuse("text", 's', "a\0b\0", 4, "field 'text': a string that does not end where it should");
    refuse("any", 'j', "{", 1, "field 'any': line 1, column 2: the text ends where a member name in quotes should be");
    refuse("mode", 'u', "\3", 1, "field 'mode': no value has number 3");
    refuse("one", 'o', "\4port", 5, "field 'one': the state is cut off");
    refuse("one", 'o', "\4portu\0\0\0\2\x04\0", 12, "field 'one': field 'port': takes 0 to 1000, not 1024");
    refuse("words", 'l', "\0\0\0\3", 4, "field 'words': an array that has not 4 elements");
    refuse("words", 'l', "\0\0\0\4", 4, "field 'words': an array that is cut off");
    refuse("words", 'l', "\0\0\0\4\0\0\0\1\1\0\0\0\1\1\0\0\0\1\1\0\0\0\1\1x", 25, "field 'words': a value of 1 bytes");
    refuse("bytes", 'x', "12345678", 8, "field 'bytes': a value of 8 bytes");
    refuse("names", 'l', "\xFF\xFF\xFF\xFF", 4, "field 'names': a list that is cut off");
    refuse("names", 'l', "\0\0\0\1\0\0\0\2a", 9, "field 'names': a list that is cut off");
    refuse("inners", 'l', "\0\0\0\1\0\0\0\1\5", 9, "field 'inners': element 0: the state is cut off");
    refuse("custom", 'c', "\"x\"", 3, "field 'custom': no integer");
    refuse("index", 'u', "\4", 1, "field 'index': beyond the words");
}

/* Damaged state: never a crash; what loads is valid. */
static void test_mutations(void)
{
    g_autoptr(GByteArray) data = g_byte_array_new();
    g_autoptr(GRand) rand      = g_rand_new_with_seed(11);
    All a;
    fill(&a);
    state_save(all_fields, &a, data);
    fields_clear(all_fields, &a);
    unsigned loaded = 0;
    for (int round = 0; round < 20000; round++) {
        g_autofree uint8_t *bad = g_memdup2(data->data, data->len);
        size_t              len = data->len;
        g_auto(Error) err       = { 0 };
        All b                   = { 0 };
        if (round % 8 == 0) {
            len = (size_t)g_rand_int_range(rand, 0, (gint32)len);
        }
        for (int i = g_rand_int_range(rand, 0, 4); i > 0 && len; i--) {
            bad[g_rand_int_range(rand, 0, (gint32)len)] = (uint8_t)g_rand_int_range(rand, 0, 256);
        }
        /* An exact copy, so that a sanitizer sees a byte read too far. */
        g_autofree uint8_t *exact = g_memdup2(bad, len);
        if (state_load(all_fields, &b, exact, len, &err)) {
            loaded++;
            g_assert_cmpuint(b.index, <, 4);
            g_assert_cmpuint(b.mode, <=, MODE_C);
            g_assert_cmpuint(b.one.port, <=, 1000);
        } else {
            g_assert_true(error_is_set(&err));
        }
        fields_clear(all_fields, &b);
    }
    g_assert_cmpuint(loaded, >, 100);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/state/round-trip", test_round_trip);
    g_test_add_func("/state/other-version", test_other_version);
    g_test_add_func("/state/refused", test_refused);
    g_test_add_func("/state/mutations", test_mutations);
    return g_test_run();
}
