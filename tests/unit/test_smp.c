/* -smp: what is left out is worked out, what cannot be is refused. Values as the manual's rules give them. */

#include "base/optstr.h"
#include "machine/smp.h"

#include <string.h>

typedef struct Case {
    const char *text;
    bool        old_board; /* sockets before cores */
    SmpConfig   expected;  /* cpus 0: refused */
    const char *error;
} Case;

static const Case cases[] = {
    { "1", false, { 1, 1, 1, 1, 1, 1, 1 }, NULL },
    { "2", false, { 2, 2, 1, 1, 1, 2, 1 }, NULL },
    { "2", true, { 2, 2, 2, 1, 1, 1, 1 }, NULL },
    { "8,sockets=2,cores=2,threads=2,maxcpus=8", false, { 8, 8, 2, 1, 1, 2, 2 }, NULL },
    { "32,sockets=2,dies=2,modules=2,cores=2,threads=2,maxcpus=32", false, { 32, 32, 2, 2, 2, 2, 2 }, NULL },
    { "sockets=2,cores=3", false, { 6, 6, 2, 1, 1, 3, 1 }, NULL },
    { "maxcpus=4", false, { 4, 4, 1, 1, 1, 4, 1 }, NULL },
    { "2,maxcpus=4", false, { 2, 4, 1, 1, 1, 4, 1 }, NULL },
    { "8,threads=2", false, { 8, 8, 1, 1, 1, 4, 2 }, NULL },
    { "8,cores=2", false, { 8, 8, 4, 1, 1, 2, 1 }, NULL },
    { "8,sockets=2,cores=2", false, { 8, 8, 2, 1, 1, 2, 2 }, NULL },
    { "4,clusters=1,books=1,drawers=1", false, { 4, 4, 1, 1, 1, 4, 1 }, NULL },
    { "0", false, { 0 }, "cpus must be at least 1" },
    { "cores=0", false, { 0 }, "cores must be at least 1" },
    { "3,sockets=2", false, { 0 }, "must be maxcpus (3)" },
    { "4,maxcpus=2", false, { 0 }, "" },
    { "16,clusters=2", false, { 0 }, "only clusters=1" },
    { "256", false, { 0 }, "more than this machine can have (255)" },
    { "sockets=65536,cores=65536,threads=65536", false, { 0 }, "" },
    { "4294967295,threads=4294967295", false, { 0 }, "more than this machine" },
};

static void test_cases(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(Error) err    = { 0 };
        SmpConfig smp        = { 0 };
        g_autoptr(Json) json = optstr_parse(cases[i].text, "cpus", &err);
        bool ok              = smp_parse(json, true, !cases[i].old_board, 255, &smp, &err);
        g_test_message("-smp %s: %s", cases[i].text, ok ? "taken" : err.text);
        g_assert_cmpint(ok, ==, cases[i].expected.cpus != 0);
        if (ok) {
            g_assert_cmpmem(&smp, sizeof smp, &cases[i].expected, sizeof smp);
        } else {
            g_assert_nonnull(strstr(err.text, cases[i].error));
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/smp/cases", test_cases);
    return g_test_run();
}
