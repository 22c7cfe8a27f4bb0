/* base/log: items, filter, file. */

#include "base/log.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

static void test_items(void)
{
    Log log           = { 0 };
    g_auto(Error) err = { 0 };
    g_assert_true(log_parse_items(&log, "int,cpu_reset", &err));
    g_assert_cmpuint(log.items, ==, LOG_INT | LOG_CPU_RESET);
    g_assert_true(log_on(&log, LOG_INT | LOG_MMU));
    g_assert_false(log_on(&log, LOG_MMU));
    g_assert_true(log_parse_items(&log, "mmu", &err));
    g_assert_cmpuint(log.items, ==, LOG_INT | LOG_CPU_RESET | LOG_MMU);
    static const char *const bad[][2] = {
        { "int,mnu", "no log item 'mnu' (did you mean 'mmu'?)" },
        { "", "no log item ''" },
        { "op_opt", "log item 'op_opt': not supported yet" },
        { "trace:nosuch_*", "no trace event matches 'nosuch_*'" },
        { "trace:runstate_se", "no trace event 'runstate_se' (did you mean 'runstate_set'?)" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        Log none = { 0 };
        g_assert_false(log_parse_items(&none, bad[i][0], &err));
        g_assert_cmpstr(err.text, ==, bad[i][1]);
        g_assert_cmpuint(none.items, ==, 0);
        error_clear(&err);
    }
    log_close(&log);
}

static void test_filter(void)
{
    Log log           = { 0 };
    g_auto(Error) err = { 0 };
    g_assert_true(log_in_range(&log, 5));
    g_assert_true(log_parse_filter(&log, "0x8000..0x8fff,0xffffffc000080000+0x200,0x20000-0x100", &err));
    g_assert_cmpuint(log.n_ranges, ==, 3);
    g_assert_true(log_in_range(&log, 0x8000));
    g_assert_true(log_in_range(&log, 0x8fff));
    g_assert_false(log_in_range(&log, 0x9000));
    g_assert_true(log_in_range(&log, 0xffffffc0000801ff));
    g_assert_false(log_in_range(&log, 0xffffffc000080200));
    g_assert_true(log_in_range(&log, 0x20000));
    g_assert_true(log_in_range(&log, 0x1ff01));
    g_assert_false(log_in_range(&log, 0x1ff00));
    log_close(&log);
    g_assert_true(log_parse_filter(&log, "0xffffffffffffff00+0x1000,16-32", &err));
    g_assert_true(log_in_range(&log, UINT64_MAX));
    g_assert_true(log_in_range(&log, 0));
    static const char *const bad[] = { "", "5", "5+", "+5", "x+5", "5+x", "5..4", "5+0", "5-0", "1..2,", "..", "1.2" };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_assert_false(log_parse_filter(&log, bad[i], &err));
        error_clear(&err);
    }
    log_close(&log);
}

static void test_file(void)
{
    Log log               = { 0 };
    g_auto(Error) err     = { 0 };
    g_autofree char *dir  = g_dir_make_tmp("quern-log-XXXXXX", NULL);
    g_autofree char *name = g_build_filename(dir, "log-%d.txt", NULL);
    g_autofree char *real = g_strdup_printf("%s/log-%ld.txt", dir, (long)getpid());
    g_assert_true(log_open_file(&log, name, &err));
    log_print(&log, LOG_INT, "off\n");
    log_parse_items(&log, "int", &err);
    log_lock(&log);
    log_print(&log, LOG_INT, "on %d\n", 1);
    log_print(&log, LOG_MMU, "off\n");
    log_unlock(&log);
    log_close(&log);
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(real, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "on 1\n");
    g_unlink(real);
    g_rmdir(dir);
    g_assert_false(log_open_file(&log, name, &err));
    g_assert_nonnull(strstr(err.text, "cannot open log file"));
}

static void test_help(void)
{
    char  *text = NULL;
    size_t len;
    FILE  *to = open_memstream(&text, &len);
    log_print_help(to);
    fclose(to);
    g_assert_nonnull(strstr(text, "guest_errors "));
    g_assert_nonnull(strstr(text, "out_asm "));
    g_assert_null(strstr(text, "op_opt"));
    free(text);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/log/items", test_items);
    g_test_add_func("/log/filter", test_filter);
    g_test_add_func("/log/file", test_file);
    g_test_add_func("/log/help", test_help);
    return g_test_run();
}
