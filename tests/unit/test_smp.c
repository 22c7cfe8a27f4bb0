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
    { "8,dies=2", false, { 8, 8, 1, 2, 1, 4, 1 }, NULL },
    { "8,dies=2,cores=2", false, { 8, 8, 2, 2, 1, 2, 1 }, NULL },
    { "8,modules=2,threads=2", false, { 8, 8, 1, 1, 2, 2, 2 }, NULL },
    { "8,modules=2,threads=2", true, { 8, 8, 2, 1, 2, 1, 2 }, NULL },
    { "sockets=2,dies=2,modules=2,cores=2,threads=2", false, { 32, 32, 2, 2, 2, 2, 2 }, NULL },
    { "3,maxcpus=8,sockets=2", false, { 3, 8, 2, 1, 1, 4, 1 }, NULL },
    { "3,maxcpus=8,sockets=2", true, { 3, 8, 2, 1, 1, 4, 1 }, NULL },
    { "4,sockets=4", false, { 4, 4, 4, 1, 1, 1, 1 }, NULL },
    { "4,sockets=1,cores=2", true, { 4, 4, 1, 1, 1, 2, 2 }, NULL },
    { "255", false, { 255, 255, 1, 1, 1, 255, 1 }, NULL },
    { "0", false, { 0 }, "Invalid CPU topology: CPU topology parameters must be greater than zero: cpus is 0" },
    { "cores=0", false, { 0 }, "Invalid CPU topology: CPU topology parameters must be greater than zero: cores is 0" },
    { "2,clusters=0", false, { 0 }, "must be greater than zero: clusters is 0" },
    { "3,sockets=2",
      false,
      { 0 },
      "Invalid CPU topology: product of the hierarchy must match maxcpus: sockets (2) * "
      "dies (1) * modules (1) * cores (1) * threads (1) != maxcpus (3)" },
    { "4,maxcpus=2",
      false,
      { 0 },
      "Invalid CPU topology: maxcpus must be equal to or greater than smp: sockets (1) * "
      "dies (1) * modules (1) * cores (2) * threads (1) == maxcpus (2) < smp_cpus (4)" },
    { "16,clusters=2", false, { 0 }, "clusters > 1 not supported by this machine's CPU topology" },
    { "16,books=2", false, { 0 }, "books > 1 not supported by this machine's CPU topology" },
    { "16,drawers=2", false, { 0 }, "drawers > 1 not supported by this machine's CPU topology" },
    { "256", false, { 0 }, "Invalid SMP CPUs 256. The max CPUs supported by machine 'pc' is 255" },
    { "sockets=65536,cores=65536,threads=65536", false, { 0 }, "" },
    { "4294967295,threads=4294967295", false, { 0 }, "Invalid SMP CPUs 4294967295" },
};

static void test_cases(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(Error) err    = { 0 };
        SmpConfig smp        = { 0 };
        g_autoptr(Json) json = optstr_parse(cases[i].text, "cpus", &err);
        bool ok              = smp_parse(json, true, !cases[i].old_board, 255, "pc", &smp, &err);
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
