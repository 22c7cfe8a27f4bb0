/* The tables of QMP commands and events, and the stream of JSON that sessions read. */

#include "base/json_stream.h"
#include "monitor/command.h"

#include <string.h>

typedef struct Names {
    GHashTable *seen;
    unsigned    n;
} Names;

static void check_member_features(const MonitorCommand *c)
{
    for (const MemberFeature *f = c->member_features; f && f->member; f++) {
        g_assert_nonnull(fields_find(c->args, f->member));
        g_assert_true(!strcmp(f->feature, "deprecated") || !strcmp(f->feature, "unstable"));
    }
}

static void check_command(const MonitorCommand *c, void *opaque)
{
    Names *names      = opaque;
    g_auto(Error) err = { 0 };
    g_test_message("%s", c->name);
    g_assert_true(g_hash_table_add(names->seen, (gpointer)c->name));
    g_assert_true(c->run && c->help && *c->help);
    g_assert_true(monitor_command_find(c->name) == c);
    if (c->args_size && !fields_check(c->args, c->args_size, false, &err)) {
        g_error("%s: %s", c->name, err.text);
    }
    g_assert_true(!c->args_size || c->args);
    g_assert_true(!c->result || (c->result->name && !*c->result->name));
    check_member_features(c);
    names->n++;
}

static void test_commands(void)
{
    Names names = { .seen = g_hash_table_new(g_str_hash, g_str_equal) };
    monitor_commands_foreach(check_command, &names);
    g_assert_cmpuint(names.n, >, 60);
    g_assert_null(monitor_command_find("nosuch"));
    g_assert_null(monitor_command_find(""));
    g_hash_table_unref(names.seen);
}

static void check_event(const MonitorEvent *e, void *opaque)
{
    Names *names = opaque;
    g_test_message("%s", e->name);
    g_assert_true(g_hash_table_add(names->seen, (gpointer)e->name));
    g_assert_true(monitor_event_find(e->name) == e);
    g_assert_true(!e->key || (e->limited && fields_find(e->data, e->key)));
    names->n++;
}

static void test_events(void)
{
    Names names = { .seen = g_hash_table_new(g_str_hash, g_str_equal) };
    monitor_events_foreach(check_event, &names);
    g_assert_cmpuint(names.n, >, 10);
    g_assert_null(monitor_event_find("NOSUCH"));
    g_hash_table_unref(names.seen);
}

/* "value|value|!|": what a stream is cut into, errors as "!". In pieces of `piece` bytes. */
static char *cut(const char *data, size_t len, size_t piece, size_t limit)
{
    JsonStream *s   = json_stream_new(limit);
    GString    *out = g_string_new(NULL);
    for (size_t done = 0, used; done < len; done += used) {
        g_auto(Error) err = { 0 };
        size_t n          = MIN(piece, len - done), size;
        switch (json_stream_feed(s, (const uint8_t *)data + done, n, &used, &err)) {
        case JSON_STREAM_MORE: g_assert_cmpuint(used, ==, n); break;
        case JSON_STREAM_VALUE:
            g_string_append_printf(out, "%s|", json_stream_text(s, &size));
            g_assert_cmpuint(size, ==, strlen(json_stream_text(s, &size)));
            break;
        case JSON_STREAM_ERROR:
            g_assert_true(error_is_set(&err));
            g_string_append(out, "!|");
            break;
        }
    }
    json_stream_free(s);
    return g_string_free(out, FALSE);
}

static void test_stream(void)
{
    static const struct {
        const char *data, *expected;
    } cases[] = {
        { "{\"a\": [1, {}]} {}\n[]", "{\"a\": [1, {}]}|{}|[]|" },
        { "12 -3.5e+7 true\"x\"null ", "12|-3.5e+7|true|\"x\"|null|" },
        { "12{}", "12|{}|" },
        { "{'}': \"]\\\"{\"}", "{'}': \"]\\\"{\"}|" },
        { "}]:,", "}|]|:|,|" },
        { "{]", "{]|" },
        { "@@@\n{}", "!|{}|" },
        { "@ x y {}", "!|{}|" },
        { "{\"a\n{}", "!|{}|" },
        { "{\"a\tb\"}{}", "!|}|{}|" },
        { "\xff\xff{}", "!|!|{}|" },
        { "{\"a\": \x01\x02\n1 ", "!|!|1|" },
        { "\"12345678901234567890\" 1 ", "!|" },
        { "[1, 2", "" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        for (size_t piece = 1; piece < 40; piece += 7) {
            g_autofree char *got = cut(cases[i].data, strlen(cases[i].data), piece, 20);
            g_assert_cmpstr(got, ==, cases[i].expected);
        }
    }
    g_autofree char *deep = g_strnfill(1024, '['), *deeper = g_strnfill(1025, '[');
    g_autofree char *one = cut(deep, 1024, 100, 5000), *two = cut(deeper, 1025, 100, 5000);
    g_assert_cmpstr(one, ==, "");
    g_assert_cmpstr(two, ==, "!|");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/monitor/commands", test_commands);
    g_test_add_func("/monitor/events", test_events);
    g_test_add_func("/monitor/stream", test_stream);
    return g_test_run();
}
