/* The command line as entries: forms, aliases, absence, help, -readconfig, -set. */

#include "cli/cli.h"

#include <glib/gstdio.h>
#include <string.h>

/* Parses words into a fresh Cli; true on success. */
static bool parse(Cli *cli, Error *err, const char *first, ...)
{
    char   *argv[16] = { (char *)"program", (char *)first };
    int     argc     = first ? 2 : 1;
    va_list more;
    va_start(more, first);
    while (first && (argv[argc] = va_arg(more, char *))) {
        argc++;
    }
    va_end(more);
    cli_init(cli);
    return cli_parse(cli, argc, argv, err);
}

static void test_forms(void)
{
    g_auto(Cli) cli   = { 0 };
    g_auto(Error) err = { 0 };
    g_assert_true(
        parse(&cli, &err, "-nographic", "--m", "1G", "-M", "pc", "-machine", "acpi=off", "-kernel", "a,b", NULL));
    g_assert_true(cli_has(&cli, "nographic"));
    g_assert_cmpstr(cli_text(&cli, "kernel"), ==, "a,b");
    g_autoptr(Json) machine = cli_merged(&cli, "machine");
    g_assert_cmpstr(json_get_string(machine, "type"), ==, "pc");
    g_assert_cmpstr(json_get_string(machine, "acpi"), ==, "off");
    g_autoptr(Json) memory = cli_merged(&cli, "m");
    g_assert_cmpstr(json_get_string(memory, "size"), ==, "1G");
}

static void test_short_for(void)
{
    g_auto(Cli) cli   = { 0 };
    g_auto(Error) err = { 0 };
    g_assert_true(parse(&cli, &err, "-s", "-no-reboot", "-no-shutdown", NULL));
    g_assert_cmpstr(cli_text(&cli, "gdb"), ==, "tcp::1234");
    g_autoptr(Json) action = cli_merged(&cli, "action");
    g_assert_cmpstr(json_get_string(action, "reboot"), ==, "shutdown");
    g_assert_cmpstr(json_get_string(action, "shutdown"), ==, "pause");
}

static void test_absence(void)
{
    g_auto(Cli) cli   = { 0 };
    g_auto(Error) err = { 0 };
    g_assert_true(parse(&cli, &err, "-vga", "none", "-nic", "none", "-parallel", "none", "-sandbox", "off", NULL));
    g_auto(Cli) other = { 0 };
    g_assert_false(parse(&other, &err, "-vga", "std", NULL));
    g_assert_cmpstr(err.text, ==, "-vga std: not supported yet");
}

static void test_errors(void)
{
    static const struct {
        const char *words[2], *text;
    } cases[] = {
        { { "-kernell", NULL }, "-kernell: no such option (did you mean '-kernel'?)" },
        { { "-kernel", NULL }, "-kernel: needs an argument: FILE" },
        { { "-set", "x" }, "-set x: expected" },
        { { "-set", "device.a.b=c" }, "no -device with id 'a'" },
        { { "-netdev", "user,id=n" }, "not supported yet" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(Cli) cli   = { 0 };
        g_auto(Error) err = { 0 };
        g_assert_false(parse(&cli, &err, cases[i].words[0], cases[i].words[1], NULL));
        g_assert_nonnull(strstr(err.text, cases[i].text));
    }
}

static void test_set(void)
{
    g_auto(Cli) cli   = { 0 };
    g_auto(Error) err = { 0 };
    g_assert_true(parse(&cli, &err, "-device", "edu,id=e", "-set", "device.e.dma_mask=1", NULL));
    g_assert_cmpstr(json_get_string(cli_nth(&cli, "device", 0)->json, "dma_mask"), ==, "1");
}

static bool read_config(Cli *cli, const char *text, Error *err)
{
    g_autofree char *path = NULL;
    int              fd   = g_file_open_tmp("quern-XXXXXX", &path, NULL);
    g_assert_true(g_file_set_contents(path, text, -1, NULL));
    cli_init(cli);
    bool ok = cli_read_config(cli, path, err);
    g_close(fd, NULL);
    g_unlink(path);
    return ok;
}

static void test_readconfig(void)
{
    g_auto(Cli) cli   = { 0 };
    g_auto(Error) err = { 0 };
    g_assert_true(read_config(&cli,
                              "# comment\n[machine]\n  type = \"pc\"\n\n[device \"e\"]\n driver = \"edu\"\n"
                              "[smp-opts]\ncpus = \"2\"\n",
                              &err));
    g_assert_cmpstr(json_get_string(cli_nth(&cli, "machine", 0)->json, "type"), ==, "pc");
    g_assert_cmpstr(json_get_string(cli_nth(&cli, "device", 0)->json, "id"), ==, "e");
    g_assert_cmpstr(json_get_string(cli_nth(&cli, "smp", 0)->json, "cpus"), ==, "2");
}

static void test_readconfig_errors(void)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        { "x = \"y\"\n", "line 1: a value before the first [group]" },
        { "[device\n", "line 1: expected [group]" },
        { "[]\n", "line 1: expected [group]" },
        { "[device \"x]\n", "line 1: expected [group]" },
        { "[device]\n\nfoo\n", "line 3: expected KEY = \"VALUE\"" },
        { "[device]\nfoo = bar\n", "line 2: expected KEY = \"VALUE\"" },
        { "\n[devise]\n", "line 2: no group 'devise' (did you mean 'device'?)" },
        { "[netdev \"n\"]\ntype = \"user\"\n", "not supported yet" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(Cli) cli   = { 0 };
        g_auto(Error) err = { 0 };
        g_assert_false(read_config(&cli, cases[i].text, &err));
        g_assert_nonnull(strstr(err.text, cases[i].error));
    }
}

static void test_table(void)
{
    for (const Option *o = cli_options; o->name; o++) {
        g_assert_true(cli_option_find(o->name) == o); /* unique */
        g_assert_true(!o->means || cli_option_find(o->means));
        g_assert_true(o->form == OPTION_FLAG || o->argument || o->means);
        g_assert_true(!o->implied || o->form == OPTION_KEYS);
    }
    g_autofree char *help = cli_help();
    g_assert_nonnull(strstr(help, "-kernel FILE"));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cli/forms", test_forms);
    g_test_add_func("/cli/short-for", test_short_for);
    g_test_add_func("/cli/absence", test_absence);
    g_test_add_func("/cli/errors", test_errors);
    g_test_add_func("/cli/set", test_set);
    g_test_add_func("/cli/readconfig", test_readconfig);
    g_test_add_func("/cli/readconfig-errors", test_readconfig_errors);
    g_test_add_func("/cli/table", test_table);
    return g_test_run();
}
