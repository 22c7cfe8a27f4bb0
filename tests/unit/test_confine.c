/* -sandbox: what each filter does to the calls that it is about. In children, because filters stay. */

#include "cli/confine.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

typedef enum Deed {
    DEED_NOTHING,
    DEED_MOUNT,
    DEED_LDT,
    DEED_SETUID,
    DEED_SETSID,
    DEED_FORK,
    DEED_EXEC,
    DEED_THREAD,
    DEED_NICE,
    DEED_AFFINITY,
} Deed;

typedef struct Case {
    const char *sandbox;
    Deed        deed;
    int         signal; /* 0: it works, or fails as expected */
} Case;

static const Case cases[] = {
    { "on", DEED_NOTHING, 0 },
    { "on", DEED_MOUNT, SIGSYS },
    { "on", DEED_LDT, SIGSYS },
    { "on,obsolete=deny", DEED_LDT, SIGSYS },
    { "on,obsolete=allow", DEED_LDT, 0 },
    { "on", DEED_SETUID, 0 },
    { "on", DEED_FORK, 0 },
    { "on", DEED_THREAD, 0 },
    { "on,elevateprivileges=deny", DEED_SETUID, SIGSYS },
    { "on,elevateprivileges=deny", DEED_SETSID, SIGSYS },
    { "on,elevateprivileges=allow", DEED_SETUID, 0 },
    { "on,elevateprivileges=children", DEED_SETUID, 0 },
    { "on,spawn=deny", DEED_FORK, SIGSYS },
    { "on,spawn=deny", DEED_EXEC, SIGSYS },
    { "on,spawn=deny", DEED_THREAD, 0 },
    { "on,spawn=allow", DEED_FORK, 0 },
    { "on,resourcecontrol=deny", DEED_NICE, 0 },
    { "on,resourcecontrol=deny", DEED_AFFINITY, 0 },
    { "off", DEED_FORK, 0 },
};

static gpointer in_thread(gpointer argument)
{
    return GINT_TO_POINTER(42);
}

static int act(Deed deed)
{
    char *const arguments[] = { (char *)"true", NULL };
    switch (deed) {
    case DEED_NOTHING: return 0;
    case DEED_MOUNT: return mount("none", "/nonexistent", "tmpfs", 0, NULL) < 0 ? 0 : 1;
    case DEED_LDT: return syscall(SYS_modify_ldt, 0, NULL, 0UL) < 0 ? 1 : 0;
    case DEED_SETSID: return setsid() < 0;
    case DEED_SETUID: return setuid(getuid());
    case DEED_FORK: {
        int   status;
        pid_t pid = fork();
        if (pid == 0) {
            _exit(0);
        }
        return pid > 0 && waitpid(pid, &status, 0) == pid ? 0 : 1;
    }
    case DEED_EXEC: return execv("/bin/true", arguments);
    case DEED_THREAD: return GPOINTER_TO_INT(g_thread_join(g_thread_new("t", in_thread, NULL))) == 42 ? 0 : 1;
    case DEED_NICE: return setpriority(PRIO_PROCESS, 0, 1) < 0 && errno == EPERM ? 0 : 1;
    case DEED_AFFINITY: {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(0, &set);
        return sched_setaffinity(0, sizeof set, &set) < 0 && errno == EPERM ? 0 : 1;
    }
    }
    return 1;
}

/* In a child: reads the options, loads the filter, does it. */
_Noreturn static void run(const Case *c)
{
    g_auto(Cli) cli   = { 0 };
    g_auto(Error) err = { 0 };
    char *argv[]      = { (char *)"quern", (char *)"-sandbox", (char *)c->sandbox, NULL };
    cli_init(&cli);
    if (!cli_parse(&cli, 3, argv, &err)) {
        _exit(2);
    }
    Confine *confine = confine_new(&cli, &err);
    if (!confine || !confine_start(confine, &err) || !confine_enter(confine, &err)) {
        _exit(3);
    }
    _exit(act(c->deed));
}

static void test_filters(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        int   status;
        pid_t pid = fork();
        if (pid == 0) {
            run(&cases[i]);
        }
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_test_message("-sandbox %s, deed %d: status %x", cases[i].sandbox, cases[i].deed, (unsigned)status);
        g_assert_cmpint(WIFSIGNALED(status) ? WTERMSIG(status) : 0, ==, cases[i].signal);
        if (!cases[i].signal) {
            g_assert_cmpint(WEXITSTATUS(status), ==, 0);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/confine/filters", test_filters);
    return g_test_run();
}
