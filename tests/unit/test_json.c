/* base/json: parser, printer, lookups. */

#include "base/json.h"

#include <math.h>
#include <string.h>

static Json *parse(const char *text)
{
    g_auto(Error) err = { 0 };
    Json *json        = json_parse(text, strlen(text), &err);
    if (!json) {
        g_test_message("%s: %s", text, err.text);
    }
    g_assert_nonnull(json);
    g_assert_false(error_is_set(&err));
    return json;
}

static void round_trip(const char *text, const char *expected)
{
    g_autoptr(Json) json    = parse(text);
    g_autofree char *out    = json_print(json, false);
    g_autofree char *pretty = json_print(json, true);
    g_autoptr(Json) again   = parse(pretty);
    g_autoptr(Json) copy    = json_copy(json);
    g_assert_cmpstr(out, ==, expected);
    g_assert_true(json_equal(json, again));
    g_assert_true(json_equal(json, copy));
}

static void test_values(void)
{
    round_trip(" null ", "null");
    round_trip("true", "true");
    round_trip("false", "false");
    round_trip("0", "0");
    round_trip("-0", "0");
    round_trip("-9223372036854775808", "-9223372036854775808");
    round_trip("9223372036854775807", "9223372036854775807");
    round_trip("9223372036854775808", "9223372036854775808");
    round_trip("18446744073709551615", "18446744073709551615");
    round_trip("18446744073709551616", "1.8446744073709552e+19");
    round_trip("1.0", "1.0");
    round_trip("0.1", "0.1");
    round_trip("1e300", "1e+300");
    round_trip("-2.5E-3", "-0.0025");
    round_trip("[]", "[]");
    round_trip("{ }", "{}");
    round_trip("[1,[2 , {}],\"x\"]", "[1, [2, {}], \"x\"]");
    round_trip("{'a':1,\"b\":{'c':'d\"'}}", "{\"a\": 1, \"b\": {\"c\": \"d\\\"\"}}");
    round_trip("\"\\u00e9\\ud83d\\ude00\\n\\/\\\\\\u0001\"", "\"\xC3\xA9\xF0\x9F\x98\x80\\n/\\\\\\u0001\"");
}

static void test_kinds(void)
{
    g_autoptr(Json) json = parse("[1, 18446744073709551615, 1.0, -1]");
    g_assert_cmpint(json->items[0]->kind, ==, JSON_INT);
    g_assert_cmpint(json->items[1]->kind, ==, JSON_UINT);
    g_assert_cmpuint(json->items[1]->uinteger, ==, UINT64_MAX);
    g_assert_cmpint(json->items[2]->kind, ==, JSON_DOUBLE);
    g_assert_cmpint(json->items[3]->integer, ==, -1);
}

static void refuse(const char *text, size_t len, const char *expected)
{
    g_auto(Error) err    = { 0 };
    g_autoptr(Json) json = json_parse(text, len, &err);
    g_assert_null(json);
    g_assert_cmpstr(err.text, ==, expected);
}

static void test_errors(void)
{
    static const char *const cases[][2] = {
        { "", "line 1, column 1: the text ends where a value should be" },
        { "[1,\n  x]", "line 2, column 3: 'x' where a value should be" },
        { "[1 2]", "line 1, column 4: '2' where ',' or ']' should be" },
        { "[1,]", "line 1, column 4: ']' where a value should be" },
        { "{\"a\":1,}", "line 1, column 8: '}' where a member name in quotes should be" },
        { "{\"a\" 1}", "line 1, column 6: '1' where ':' should be" },
        { "{\"a\":1,\"a\":2}", "line 1, column 8: a second member 'a'" },
        { "1 1", "line 1, column 3: '1' where the end of the text should be" },
        { "01", "line 1, column 1: a number with a leading zero" },
        { "-", "line 1, column 2: the text ends where a digit should be" },
        { "1.", "line 1, column 3: the text ends where a digit should be" },
        { "1e999", "line 1, column 1: a number too large for a double" },
        { "truex", "line 1, column 1: 't' where a value should be" },
        { "nul", "line 1, column 1: 'n' where a value should be" },
        { "\"abc", "line 1, column 5: the text ends inside a string" },
        { "\"a\tb\"", "line 1, column 3: control character 09 inside a string" },
        { "\"\\q\"", "line 1, column 3: 'q' where one of \" \\ / b f n r t u should be" },
        { "\"\\u0000\"", "line 1, column 8: \\u0000 is not allowed in a string" },
        { "\"\\ud800x\"", "line 1, column 8: half a surrogate pair" },
        { "\"\\udc00\"", "line 1, column 8: half a surrogate pair" },
        { "\"\xC3\xA9\xFF\"", "line 1, column 3: a string that is not UTF-8" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        refuse(cases[i][0], strlen(cases[i][0]), cases[i][1]);
    }
    refuse("\"a\0b\"", 5, "line 1, column 3: control character 00 inside a string");
}

static void test_depth(void)
{
    g_autoptr(GString) deep = g_string_new(NULL);
    for (int i = 0; i < 1024; i++) {
        g_string_append_c(deep, '[');
    }
    for (int i = 0; i < 1024; i++) {
        g_string_append_c(deep, ']');
    }
    json_free(parse(deep->str));
    g_string_prepend_c(deep, '[');
    g_string_append_c(deep, ']');
    refuse(deep->str, deep->len, "line 1, column 1025: nested more than 1024 levels deep");
}

static void test_members(void)
{
    g_autoptr(Json) object = json_new_object();
    for (int i = 0; i < 40; i++) {
        g_autofree char *key = g_strdup_printf("k%d", i);
        json_set(object, key, json_new_int(i));
    }
    g_assert_cmpuint(object->n, ==, 40);
    json_set(object, "k7", json_new_string("seven"));
    g_assert_cmpuint(object->n, ==, 40);
    g_assert_cmpstr(json_get_string(object, "k7"), ==, "seven");
    g_assert_null(json_get_string(object, "k8"));
    g_assert_cmpint(json_get(object, "k39")->integer, ==, 39);
    g_assert_true(json_remove(object, "k0"));
    g_assert_false(json_remove(object, "k0"));
    g_assert_cmpstr(object->keys[0], ==, "k1");
    g_autoptr(Json) taken = json_take(object, "k39");
    g_assert_cmpint(taken->integer, ==, 39);
    g_assert_cmpuint(object->n, ==, 38);
    for (int i = 0; i < 40; i++) {
        g_autofree char *key = g_strdup_printf("n%d", i);
        json_set(object, key, json_new_null());
    }
    g_autofree char *text = json_print(object, true);
    g_autoptr(Json) again = parse(text);
    g_assert_true(json_equal(object, again));
    json_set(again, "n3", json_new_bool(true));
    g_assert_false(json_equal(object, again));
    g_assert_null(json_get(NULL, "x"));
    g_assert_null(json_get(taken, "x"));
}

/* More members than the parser looks through one by one. */
static void test_many_duplicates(void)
{
    g_autoptr(GString) text = g_string_new("{");
    for (int i = 0; i < 100; i++) {
        g_string_append_printf(text, "\"m%d\": %d, ", i, i);
    }
    g_string_append(text, "\"m50\": 1}");
    g_auto(Error) err = { 0 };
    g_assert_null(json_parse(text->str, text->len, &err));
    g_assert_true(g_str_has_suffix(err.text, "a second member 'm50'"));
}

static void test_print_odd(void)
{
    g_autoptr(Json) bytes = json_new_string("a\xFF\x7F\x1B");
    g_autofree char *text = json_print(bytes, false);
    g_assert_cmpstr(text, ==, "\"a\xEF\xBF\xBD\\u007f\\u001b\"");
    g_autoptr(Json) nan = json_new_double(NAN);
    g_autofree char *no = json_print(nan, false);
    g_assert_cmpstr(no, ==, "null");
    g_autoptr(Json) made = json_new_format("%d-%s", 4, "x");
    g_assert_cmpstr(made->string, ==, "4-x");
}

/* Mutations of valid text: no crash, and what parses prints and parses again as the same. */
static void test_mutations(void)
{
    static const char seed[] = "{\"execute\": \"a\\u00e9\", 'b': [1, -2.5e3, true, null, {\"x\": \"\\ud83d\\ude00\"}]}";
    g_autoptr(GRand) rand    = g_rand_new_with_seed(7);
    for (int round = 0; round < 20000; round++) {
        char   text[sizeof seed];
        size_t len = sizeof seed - 1;
        memcpy(text, seed, sizeof seed);
        for (int i = g_rand_int_range(rand, 1, 4); i > 0; i--) {
            text[g_rand_int_range(rand, 0, (gint32)len)] = (char)g_rand_int_range(rand, 0, 256);
        }
        g_auto(Error) err    = { 0 };
        g_autoptr(Json) json = json_parse(text, len - (size_t)g_rand_int_range(rand, 0, 3), &err);
        g_assert_true(!json == error_is_set(&err));
        if (json) {
            g_autofree char *out  = json_print(json, false);
            g_autoptr(Json) again = parse(out);
            g_assert_true(json_equal(json, again));
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/json/values", test_values);
    g_test_add_func("/json/kinds", test_kinds);
    g_test_add_func("/json/errors", test_errors);
    g_test_add_func("/json/depth", test_depth);
    g_test_add_func("/json/members", test_members);
    g_test_add_func("/json/many-duplicates", test_many_duplicates);
    g_test_add_func("/json/print-odd", test_print_odd);
    g_test_add_func("/json/mutations", test_mutations);
    return g_test_run();
}
