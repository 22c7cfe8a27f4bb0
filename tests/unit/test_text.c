/* base/text and base/error. */

#include "base/text.h"

#include <errno.h>
#include <string.h>

static void test_sizes(void)
{
    static const struct {
        const char *text;
        uint64_t    unit, bytes;
    } good[] = {
        { "512", 1, 512 },
        { "512", MiB, 512 * MiB },
        { "4G", MiB, 4 * GiB },
        { "4g", 1, 4 * GiB },
        { "6GB", MiB, 6 * GiB },
        { "6GiB", 1, 6 * GiB },
        { "1.5M", 1, 3 * MiB / 2 },
        { "0.5", MiB, MiB / 2 },
        { "2.25k", 1, 2304 },
        { "10B", MiB, 10 },
        { "10b", 1, 10 },
        { "0x1000", 1, 4096 },
        { "0x10", MiB, 16 * MiB },
        { "16E", 0, 0 },
        { "15E", 1, 15 * (UINT64_C(1) << 60) },
        { "0", 1, 0 },
        { "18446744073709551615", 1, UINT64_MAX },
        { "1T", 1, TiB },
        { "1P", 1, 1024 * TiB },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        g_auto(Error) err = { 0 };
        uint64_t bytes;
        bool     ok = text_parse_size(good[i].text, good[i].unit, &bytes, &err);
        if (good[i].unit) {
            g_assert_cmpstr(err.text, ==, NULL);
            g_assert_cmpuint(bytes, ==, good[i].bytes);
        } else {
            g_assert_false(ok);
        }
    }
    static const char *const bad[] = {
        "",    "x",     "4Q",    "4Gx",    "4 G",  " 4",   "-1",    "+1",
        "1.",  "1.5",   ".5",    "1e3",    "1.5B", "0x",   "0x10G", "18446744073709551616",
        "16E", "16.5E", "1..5M", "1.5.5M", "4Gi",  "1,5M", "1e3M",  "1.e3M",
        "nan", "inf",   "4BB"
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_auto(Error) err = { 0 };
        uint64_t bytes    = 77;
        if (text_parse_size(bad[i], 1, &bytes, &err)) {
            g_test_message("'%s' was taken for %" G_GUINT64_FORMAT, bad[i], bytes);
            g_test_fail();
        } else {
            g_autofree char *text = g_strdup_printf("'%s' is not a size (examples: 512M, 4G)", bad[i]);
            g_assert_cmpstr(err.text, ==, text);
            g_assert_cmpuint(bytes, ==, 77);
        }
    }
}

static void test_format_size(void)
{
    static const struct {
        uint64_t    bytes;
        const char *text;
    } cases[] = {
        { 0, "0 B" },         { 512, "512 B" },           { 1024, "1 KiB" },        { 1536, "1.5 KiB" },
        { 4 * GiB, "4 GiB" }, { 1023 * MiB, "1023 MiB" }, { UINT64_MAX, "16 EiB" }, { 100 * MiB, "100 MiB" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text = text_format_size(cases[i].bytes);
        g_assert_cmpstr(text, ==, cases[i].text);
    }
}

static void test_numbers(void)
{
    g_auto(Error) err = { 0 };
    uint64_t u;
    int64_t  i;
    bool     b;
    g_assert_true(text_parse_uint("18446744073709551615", UINT64_MAX, &u, &err) && u == UINT64_MAX);
    g_assert_true(text_parse_uint("0xFf", 255, &u, &err) && u == 255);
    g_assert_true(text_parse_uint("017", 255, &u, &err) && u == 15);
    g_assert_true(text_parse_uint("0", 0, &u, &err) && u == 0);
    g_assert_true(text_parse_int("-9223372036854775808", INT64_MIN, INT64_MAX, &i, &err) && i == INT64_MIN);
    g_assert_true(text_parse_int("-0x10", -16, 0, &i, &err) && i == -16);
    static const char *const bad[] = { "",
                                       "x",
                                       "1x",
                                       " 1",
                                       "1 ",
                                       "+1",
                                       "--1",
                                       "0x",
                                       "08",
                                       "0x-1",
                                       "-1",
                                       "1.0",
                                       "256",
                                       "18446744073709551616",
                                       "99999999999999999999" };
    for (size_t k = 0; k < G_N_ELEMENTS(bad); k++) {
        g_assert_false(text_parse_uint(bad[k], 255, &u, &err));
        error_clear(&err);
    }
    g_assert_false(text_parse_int("9223372036854775808", INT64_MIN, INT64_MAX, &i, &err));
    error_clear(&err);
    g_assert_false(text_parse_int("-9223372036854775809", INT64_MIN, INT64_MAX, &i, &err));
    error_clear(&err);
    g_assert_false(text_parse_int("5", -4, 4, &i, &err));
    g_assert_cmpstr(err.text, ==, "'5' is out of range (-4 to 4)");
    error_clear(&err);
    g_assert_true(text_parse_bool("yes", &b, &err) && b);
    g_assert_true(text_parse_bool("off", &b, &err) && !b);
    g_assert_false(text_parse_bool("On", &b, &err));
    g_assert_cmpstr(err.text, ==, "'On' is neither 'on' nor 'off'");
}

static void test_uuid(void)
{
    g_auto(Error) err = { 0 };
    uint8_t uuid[16];
    g_assert_true(text_parse_uuid("550e8400-E29B-41d4-a716-446655440000", uuid, &err));
    g_assert_cmpuint(uuid[0], ==, 0x55);
    g_assert_cmpuint(uuid[4], ==, 0xE2);
    g_assert_cmpuint(uuid[15], ==, 0);
    static const char *const bad[] = { "",
                                       "550e8400",
                                       "550e8400-e29b-41d4-a716-44665544000",
                                       "550e8400-e29b-41d4-a716-4466554400000",
                                       "550e8400ee29b-41d4-a716-446655440000",
                                       "550e8400-e29b-41d4-a716-44665544000g",
                                       "{50e8400-e29b-41d4-a716-446655440000" };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_assert_false(text_parse_uuid(bad[i], uuid, &err));
        error_clear(&err);
    }
}

static void check_nearest(const char *word, const char *expected)
{
    static const char *const names[] = {
        "netdev", "mac", "drive", "virtio-net-pci", "virtio-blk-pci", "lost_tick_policy", "memory-backend-file",
        "e1000",  "on",  "off"
    };
    NameMatch match = { .word = word };
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        text_match_name(&match, names[i]);
    }
    g_assert_cmpstr(match.best, ==, expected);
}

static void test_nearest(void)
{
    check_nearest("netdve", "netdev");
    check_nearest("NETDEV", "netdev");
    check_nearest("virtio-net", "virtio-net-pci");
    check_nearest("virtio_net_pci", "virtio-net-pci");
    check_nearest("lost-tick-policy", "lost_tick_policy");
    check_nearest("memory-backend-fiel", "memory-backend-file");
    check_nearest("e100", "e1000");
    check_nearest("xyzzy", NULL);
    check_nearest("", NULL);
    check_nearest("x", NULL);
    g_autofree char *word = g_strnfill(300, 'a');
    check_nearest(word, NULL);
    char      buffer[128];
    NameMatch none = { .word = "x" }, some = { .word = "x", .best = "y" };
    g_assert_cmpstr(text_did_you_mean(&none, buffer), ==, "");
    g_assert_cmpstr(text_did_you_mean(&some, buffer), ==, " (did you mean 'y'?)");
}

static void test_glob(void)
{
    g_assert_true(text_glob("*", ""));
    g_assert_true(text_glob("", ""));
    g_assert_true(text_glob("a*c", "abbc"));
    g_assert_true(text_glob("a?c", "abc"));
    g_assert_true(text_glob("*a*b*", "xxaxxbxx"));
    g_assert_true(text_glob("kvm_*", "kvm_"));
    g_assert_true(text_glob("*ab", "aab"));
    g_assert_false(text_glob("a?c", "ac"));
    g_assert_false(text_glob("a", "ab"));
    g_assert_false(text_glob("*ab", "aba"));
    g_assert_false(text_glob("", "a"));
    g_assert_false(text_glob("?", ""));
}

static void test_errors(void)
{
    g_auto(Error) err = { 0 }, other = { 0 };
    g_assert_false(error_set(&err, "no %s", "way"));
    g_assert_cmpint(err.kind, ==, ERROR_GENERIC);
    error_prefix(&err, "-x %d: ", 3);
    g_assert_cmpstr(err.text, ==, "-x 3: no way");
    error_move(&other, &err);
    g_assert_false(error_is_set(&err));
    g_assert_cmpstr(other.text, ==, "-x 3: no way");
    error_set_errno(&err, ENOENT, "cannot open '%s'", "f");
    g_assert_cmpstr(err.text, ==, "cannot open 'f': No such file or directory");
    error_clear(&err);
    error_set_class(&err, ERROR_DEVICE_NOT_FOUND, "gone");
    error_prefix(&err, "x: ");
    g_assert_cmpint(err.kind, ==, ERROR_DEVICE_NOT_FOUND);
    error_clear(&err);
    error_set_unsupported(&err, "-%s", "xyz");
    g_assert_cmpstr(err.text, ==, "-xyz: not supported yet");
    error_clear(&err);
    error_set(&err, "'%.3s...' is \033 long", "\u00e4\u00e4\u00e4");
    g_assert_cmpstr(err.text, ==, "'\u00e4\ufffd...' is ? long");
    error_prefix(&err, "\xff: ");
    g_assert_cmpstr(err.text, ==, "\ufffd: '\u00e4\ufffd...' is ? long");
}

static void test_messages(void)
{
    if (g_test_subprocess()) {
        g_auto(Error) err = { 0 };
        message_set_options("prog", false, NULL);
        error_set(&err, "it is broken");
        error_report(&err);
        g_assert_false(error_is_set(&err));
        warn_report("take %s", "care");
        message_set_options("prog", true, "guest");
        info_report("hello");
        return;
    }
    g_test_trap_subprocess(NULL, 0, 0);
    g_test_trap_assert_passed();
    g_test_trap_assert_stderr("prog: it is broken\nprog: warning: take care\n"
                              "20*-*-*T*:*:*.*Z guest prog: info: hello\n");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/text/sizes", test_sizes);
    g_test_add_func("/text/format-size", test_format_size);
    g_test_add_func("/text/numbers", test_numbers);
    g_test_add_func("/text/uuid", test_uuid);
    g_test_add_func("/text/nearest", test_nearest);
    g_test_add_func("/text/glob", test_glob);
    g_test_add_func("/error/values", test_errors);
    g_test_add_func("/error/messages", test_messages);
    return g_test_run();
}
