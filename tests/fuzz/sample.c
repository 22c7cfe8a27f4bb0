/* See sample.h. */

#include "sample.h"

static const char *const mode_names[] = { "fast", "", "safe", NULL };

static const Field base_fields[] = {
    FIELD(SampleInner, direct, "base-direct"),
    FIELD(SampleInner, port, "base-port", .max = 1000),
    FIELD(SampleInner, host, "base-host"),
    {},
};

static const Field inner_fields[] = {
    FIELD(SampleInner, direct, "direct"),
    FIELD(SampleInner, port, "port", .alias = "p"),
    FIELD(SampleInner, host, "host"),
    {},
};

static const Field string_element = { .kind = FIELD_STRING, .size = sizeof(char *), .count = 1 };
static const Field number_element = { .kind = FIELD_U32, .size = 4, .count = 1, .max = 100 };

static bool parse_custom(const Field *field, void *member, const Json *value, Error *err)
{
    if (value->kind == JSON_INT) {
        *(uint64_t *)member = (uint64_t)value->integer;
        return true;
    }
    return value->kind == JSON_STRING ? text_parse_uint(value->string, INT64_MAX, member, err)
                                      : error_set(err, "not a number");
}

static Json *print_custom(const Field *field, const void *member)
{
    return json_new_int((int64_t) * (const uint64_t *)member);
}

static const FieldCustom custom_type = { .type_name = "custom", .parse = parse_custom, .print = print_custom };

#define COMMON                                                                                                         \
    FIELDS_OF(Sample, base, base_fields), FIELD(Sample, flag, "flag"), FIELD(Sample, small, "small"),                  \
        FIELD(Sample, level, "level", .min = -5, .max = 5),                                                            \
        FIELD(Sample, power, "power", .max = 1 << 20, .power_of_two = true), FIELD(Sample, wide, "wide"),              \
        FIELD(Sample, deep, "deep"), FIELD(Sample, ratio, "ratio"), FIELD(Sample, path, "path"),                       \
        FIELD(Sample, mode, "mode", .names = mode_names), FIELD(Sample, smm, "smm", .names = on_off_auto_names),       \
        FIELD(Sample, nested, "nested", .sub = inner_fields), FIELD(Sample, any, "any"),                               \
        FIELD(Sample, names, "names", .element = &string_element),                                                     \
        FIELD(Sample, inners, "inners", .sub = inner_fields, .element_size = sizeof(SampleInner)),                     \
        FIELD(Sample, numbers, "numbers", .element = &number_element, .element_size = 4),                              \
        FIELD(Sample, custom, "custom", .custom = &custom_type)

const Field sample_properties[] = {
    COMMON,
    FIELD(Sample, count, "count", .has_offset = 1 + offsetof(Sample, has_count)),
    FIELD(Sample, size, "size", .size_unit = MiB, .text = "128M"),
    FIELD(Sample, dotted_a, "dotted.a"),
    FIELD(Sample, dotted_b, "dotted.b"),
    {},
};

const Field sample_state[] = {
    COMMON,
    FIELD_ARRAY(Sample, array, "array", .sub = inner_fields),
    FIELD(Sample, bytes, "bytes"),
    FIELD_ARRAY(Sample, words, "words"),
    {},
};
