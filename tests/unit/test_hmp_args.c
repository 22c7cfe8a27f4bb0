/* monitor/expr and monitor/args: what people type behind a command's name. */

#include "monitor/args.h"

#include <string.h>

static bool get_register(void *opaque, const char *name, int64_t *value)
{
    *value = strcmp(name, "rip") ? 7 : 0x1000;
    return !strcmp(name, "rip") || !strcmp(name, "cs.base");
}

static void test_values(void)
{
    static const struct {
        const char *text;
        int64_t     value;
    } good[] = {
        { "0", 0 },
        { "1+2*3", 7 },
        { "(1 + 2) * 3", 9 },
        { "8-2-1", 5 },
        { "8-2|1", 5 }, /* + and - are the loosest */
        { "4+1&1", 5 },
        { "4*3&1", 0 },
        { "1|2&4", 0 }, /* & | ^ are equals */
        { "1^3", 2 },
        { "7&3", 3 },
        { "0x10", 16 },
        { "010", 8 },
        { "-1", -1 },
        { "- - 1", 1 },
        { "~1", -2 },
        { "+5", 5 },
        { "-6/2", -3 },
        { "-7%3", -1 },
        { "7/-2", -3 },
        { "5%3", 2 },
        { "18446744073709551615", -1 },
        { "0x8000000000000000/-1", INT64_MIN },
        { "0x8000000000000000%-1", 0 },
        { "0x7fffffffffffffff+1", INT64_MIN },
        { "'a'", 'a' },
        { "' '+1", 33 },
        { "$rip+1", 0x1001 },
        { "$cs.base * 2", 14 },
        { "((((((1))))))", 1 },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        g_auto(Error) err = { 0 };
        const char *text  = good[i].text;
        int64_t     value;
        if (!expr_parse(&text, get_register, NULL, &value, &err) || *text || value != good[i].value) {
            g_error("'%s': %" G_GINT64_FORMAT ", %s, '%s' is left", good[i].text, value, err.text, text);
        }
    }
}

static void test_wrong_values(void)
{
    static const struct {
        const char *text, *error;
    } bad[] = {
        { "", "unexpected end of expression" },
        { "1+", "unexpected end of expression" },
        { "1 + ", "unexpected end of expression" },
        { "(1", "')' expected" },
        { "x", "invalid char 'x' in expression" },
        { "\xc3\xa4", "invalid char '\xc3\xa4' in expression" },
        { "\xff", "invalid char '?' in expression" },
        { "1/0", "division by zero" },
        { "1%0", "division by zero" },
        { "99999999999999999999", "number too large" },
        { "$foo", "unknown register" },
        { "$", "unknown register" },
        { "'", "character constant expected" },
        { "'ab'", "missing terminating ' character" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_auto(Error) err = { 0 };
        const char *text  = bad[i].text;
        int64_t     value;
        g_assert_false(expr_parse(&text, get_register, NULL, &value, &err));
        g_assert_cmpstr(err.text, ==, bad[i].error);
    }
    g_auto(Error) err     = { 0 };
    g_autofree char *deep = g_strnfill(4000, '(');
    const char      *text = deep;
    int64_t          value;
    g_assert_false(expr_parse(&text, NULL, NULL, &value, &err));
    g_assert_cmpstr(err.text, ==, "the expression is nested too deeply");
}

/* What follows an expression is not part of it when it cannot be. */
static void test_ends(void)
{
    static const struct {
        const char *text;
        int64_t     value;
        const char *rest;
    } cases[] = {
        { "16 /tmp/file", 16, "/tmp/file" },
        { "16 / 2", 8, "" },
        { "16 /2", 8, "" },
        { "1 2", 1, "2" },
        { "1<<4", 1, "<<4" },
        { "08", 0, "8" },
        { "0x", 0, "x" },
        { "1)", 1, ")" },
        { "1 -x", 1, "-x" },
        { "1 -1", 0, "" },
        { "2 \"f\"", 2, "\"f\"" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(Error) err = { 0 };
        const char *text  = cases[i].text;
        int64_t     value;
        g_assert_true(expr_parse(&text, NULL, NULL, &value, &err));
        g_assert_cmpint(value, ==, cases[i].value);
        g_assert_cmpstr(text, ==, cases[i].rest);
    }
}

/* --- arguments --- */

static const HmpArg dump_table[] = { { "paging", HMP_FLAG, .letter = 'p' },
                                     { "zlib", HMP_FLAG, .letter = 'z' },
                                     { "format", HMP_VALUE, .letter = 'f' },
                                     { "file", HMP_FILE },
                                     { "begin", HMP_INT64, .optional = true },
                                     { "length", HMP_INT32, .optional = true },
                                     {} };
static const HmpArg x_table[]    = { { "fmt", HMP_FORMAT }, { "addr", HMP_INT64 }, {} };
static const HmpArg set_table[]  = { { "path", HMP_STRING }, { "rest", HMP_REST }, {} };
static const HmpArg mem_table[]  = { { "size", HMP_SIZE }, { "on", HMP_ON_OFF, .optional = true }, {} };

static bool parse(const HmpArg *table, const char *text, HmpArgs *args, Error *err)
{
    HmpParse p = { .command = "cmd", .table = table, .last = { 1, 'x', 4 }, .get_register = get_register };
    *args      = (HmpArgs){ 0 };
    return hmp_args_parse(&p, text, args, err);
}

static void test_words(void)
{
    g_auto(Error) err = { 0 };
    HmpArgs args;
    g_assert_true(parse(dump_table, " -z -p \"a b\\n\\\"c\\\\\" 0x10 + 1  2 ", &args, &err));
    g_assert_true(args.values[0].given && args.values[1].given && !args.values[2].given);
    g_assert_cmpstr(args.values[3].text, ==, "a b\n\"c\\");
    g_assert_cmpint(args.values[4].number, ==, 17);
    g_assert_cmpint(args.values[5].number, ==, 2);
    hmp_args_clear(&args);
    g_assert_true(parse(dump_table, "-pz -f elf /x", &args, &err));
    g_assert_true(args.values[0].given && args.values[1].given && !args.values[4].given);
    g_assert_cmpstr(args.values[2].text, ==, "elf");
    hmp_args_clear(&args);
    g_assert_true(parse(set_table, "/machine  a  b c ", &args, &err));
    g_assert_cmpstr(args.values[1].text, ==, "a  b c");
    hmp_args_clear(&args);
    g_assert_true(parse(mem_table, "16 off", &args, &err));
    g_assert_cmpint(args.values[0].number, ==, 16 << 20);
    g_assert_true(args.values[1].given && !args.values[1].number);
    hmp_args_clear(&args);
    g_assert_true(parse(mem_table, "1G", &args, &err));
    g_assert_cmpint(args.values[0].number, ==, 1 << 30);
    g_assert_false(args.values[1].given);
    hmp_args_clear(&args);
}

static void test_formats(void)
{
    static const struct {
        const char *text;
        HmpFormat   format;
        int64_t     addr;
    } cases[] = {
        { "0", { 1, 'x', 4 }, 0 },          { "/4 1", { 4, 'x', 4 }, 1 },   { "/3xb 2", { 3, 'x', 1 }, 2 },
        { "/i $rip", { 1, 'i', 4 }, 4096 }, { "/bd 2", { 1, 'd', 1 }, 2 },  { " /8cg 2", { 8, 'c', 8 }, 2 },
        { "/4c 0", { 4, 'c', 1 }, 0 },      { "/0xh 0", { 0, 'x', 2 }, 0 }, { "/ 5", { 1, 'x', 4 }, 5 },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(Error) err = { 0 };
        HmpArgs args;
        g_assert_true(parse(x_table, cases[i].text, &args, &err));
        g_assert_cmpuint(args.format.count, ==, cases[i].format.count);
        g_assert_cmpint(args.format.format, ==, cases[i].format.format);
        g_assert_cmpuint(args.format.size, ==, cases[i].format.size);
        g_assert_cmpint(args.values[1].number, ==, cases[i].addr);
        hmp_args_clear(&args);
    }
}

static void test_wrong_arguments(void)
{
    static const struct {
        const HmpArg *table;
        const char   *text, *error;
    } cases[] = {
        { dump_table, "", "cmd: filename expected" },
        { dump_table, "-p", "cmd: filename expected" },
        { dump_table, "-x f", "cmd: unsupported option -x" },
        { dump_table, "-zx f", "cmd: unsupported option -x" },
        { dump_table, "- f", "cmd: an option is missing after '-'" },
        { dump_table, "-f", "cmd: -f needs a value" },
        { dump_table, "f 1 2 3", "cmd: extraneous characters at the end of line" },
        { dump_table, "f 1 0x100000000", "cmd: 'length' has 32 bits" },
        { dump_table, "\"f", "cmd: unterminated string" },
        { dump_table, "\"f\\", "cmd: unsupported escape sequence in a string" },
        { dump_table, "\"\\q\"", "cmd: unsupported escape sequence in a string" },
        { set_table, "a", "cmd: string expected" },
        { set_table, "", "cmd: string expected" },
        { x_table, "/4q 0", "invalid char in format: 'q'" },
        { x_table, "/-1xb 0", "invalid char in format: '-'" },
        { x_table, "/9999999x 0", "at most 1048576 items at a time" },
        { x_table, "/4", "unexpected end of expression" },
        { x_table, "1 2", "cmd: extraneous characters at the end of line" },
        { mem_table, "", "cmd: size expected" },
        { mem_table, "4Q", "cmd: '4Q' is not a size (examples: 512M, 4G)" },
        { mem_table, "9E on", "cmd: the size is too large" },
        { mem_table, "1 maybe", "Expected 'on' or 'off'" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(Error) err = { 0 };
        HmpArgs args;
        g_assert_false(parse(cases[i].table, cases[i].text, &args, &err));
        g_assert_cmpstr(err.text, ==, cases[i].error);
        hmp_args_clear(&args);
    }
}

static void test_locate(void)
{
    static const struct {
        const HmpArg *table;
        const char   *text, *name; /* NULL: none */
        size_t        start;
        unsigned      before;
    } cases[] = {
        { dump_table, "", "file", 0, 0 },         { dump_table, " fi", "file", 1, 0 },
        { dump_table, " -p fi", "file", 4, 1 },   { dump_table, " -", NULL, 0, 0 },
        { dump_table, " -p", NULL, 0, 0 },        { dump_table, " file 1", "begin", 6, 1 },
        { dump_table, " f 1 2", "length", 5, 2 }, { dump_table, " f 1 2 ", NULL, 0, 3 },
        { x_table, " $r", "addr", 1, 0 },         { set_table, " p x y", "rest", 3, 1 },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GPtrArray) before = g_ptr_array_new_with_free_func(g_free);
        size_t        start;
        const HmpArg *arg = hmp_args_locate(cases[i].table, cases[i].text, &start, before);
        g_assert_cmpstr(arg ? arg->name : NULL, ==, cases[i].name);
        if (arg) {
            g_assert_cmpuint(start, ==, cases[i].start);
            g_assert_cmpuint(before->len, ==, cases[i].before);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/expr/values", test_values);
    g_test_add_func("/expr/wrong", test_wrong_values);
    g_test_add_func("/expr/ends", test_ends);
    g_test_add_func("/args/words", test_words);
    g_test_add_func("/args/formats", test_formats);
    g_test_add_func("/args/wrong", test_wrong_arguments);
    g_test_add_func("/args/locate", test_locate);
    return g_test_run();
}
