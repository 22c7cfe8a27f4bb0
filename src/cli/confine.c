/* -sandbox, -run-with, -runas and -overcommit.
 *
 * The filter names what Quern never needs; the rest goes through. A call that only an intruder makes ends the process,
 * one that libraries try for better speed fails. It is a second line: the first is that guests cannot get here.
 * Specification: QEMU 9.1 invocation manual; Linux, seccomp(2), clone(2), prctl(2). Main thread. */

#include "cli/confine.h"

#include "base/signals.h"
#include "base/text.h"
#include "desc/field.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef enum Rule { RULE_DENY, RULE_ALLOW, RULE_CHILDREN } Rule;

typedef struct SandboxOptions {
    bool enable;
    bool have_obsolete, have_elevate, have_spawn, have_resource;
    int  obsolete, elevate, spawn, resource;
} SandboxOptions;

typedef struct RunOptions {
    bool  async_teardown;
    char *chroot, *user;
} RunOptions;

typedef struct OvercommitOptions {
    bool mem_lock, cpu_pm;
} OvercommitOptions;

static const char *const rules[]       = { "deny", "allow", NULL };
static const char *const rules_three[] = { "deny", "allow", "children", NULL };

static const Field sandbox_options[] = {
    FIELD(SandboxOptions, enable, "enable", .help = "filters system calls"),
    FIELD(SandboxOptions, obsolete, "obsolete", .names = rules,
          .has_offset = 1 + offsetof(SandboxOptions, have_obsolete), .help = "system calls that nobody needs any more"),
    FIELD(SandboxOptions, elevate, "elevateprivileges", .names = rules_three, .initial = RULE_ALLOW,
          .has_offset = 1 + offsetof(SandboxOptions, have_elevate), .help = "set*uid and set*gid calls"),
    FIELD(SandboxOptions, spawn, "spawn", .names = rules, .initial = RULE_ALLOW,
          .has_offset = 1 + offsetof(SandboxOptions, have_spawn), .help = "fork and execve"),
    FIELD(SandboxOptions, resource, "resourcecontrol", .names = rules, .initial = RULE_ALLOW,
          .has_offset = 1 + offsetof(SandboxOptions, have_resource), .help = "process affinity and scheduler priority"),
    {},
};
CLI_KEYS(sandbox_options, "sandbox");

static const Field run_options[] = {
    FIELD(RunOptions, async_teardown, "async-teardown", .help = "another process frees the memory at the end"),
    FIELD(RunOptions, chroot, "chroot", .help = "directory that becomes the root before the guest starts"),
    FIELD(RunOptions, user, "user", .help = "user name, or UID:GID, to run as"),
    {},
};
CLI_KEYS(run_options, "run-with");

static const Field overcommit_options[] = {
    FIELD(OvercommitOptions, mem_lock, "mem-lock", .help = "locks all memory"),
    FIELD(OvercommitOptions, cpu_pm, "cpu-pm", .help = "lets the guest manage the host's idle states"),
    {},
};
CLI_KEYS(overcommit_options, "overcommit");

struct Confine {
    SandboxOptions    sandbox;
    RunOptions        run;
    OvercommitOptions overcommit;
    bool              has_user;
    const char       *said;  /* "-runas X", "-run-with user=X" without X: for errors */
    const char       *given; /* X, borrowed */
    uid_t             uid;
    gid_t             gid;
    char             *user; /* with the supplementary groups of that name */
};

/* --- options --- */

static bool parse(const Cli *cli, const char *name, const Field *fields, void *to, Error *err)
{
    fields_init(fields, to);
    g_autoptr(Json) json = cli_merged(cli, name);
    return !json || fields_parse(fields, to, json, true, NULL, err) || error_prefix(err, "-%s: ", name);
}

/* "name" or "uid:gid"; 4294967295 means "none" to the kernel. */
static bool find_user(Confine *c, const char *said, const char *text, Error *err)
{
    g_auto(GStrv) ids = g_strsplit(text, ":", 0);
    uint64_t uid, gid;
    c->has_user = true;
    c->said     = said;
    c->given    = text;
    if (g_strv_length(ids) == 2 && g_ascii_isdigit(ids[0][0])) {
        if (!text_parse_uint(ids[0], UINT32_MAX - 1, &uid, err) ||
            !text_parse_uint(ids[1], UINT32_MAX - 1, &gid, err)) {
            return error_prefix(err, "%s%s: ", said, text);
        }
        c->uid = (uid_t)uid;
        c->gid = (gid_t)gid;
        return true;
    }
    const struct passwd *user = getpwnam(text);
    if (!user) {
        return error_set(err, "%s%s: User \"%s\" doesn't exist (give a name that the host knows, or UID:GID)", said,
                         text, text);
    }
    c->uid  = user->pw_uid;
    c->gid  = user->pw_gid;
    c->user = g_strdup(text);
    return true;
}

/* Rules for a filter that is off would be ignored. */
static bool check_sandbox(const SandboxOptions *o, Error *err)
{
    const char *rule = o->have_obsolete   ? "obsolete"
                       : o->have_elevate  ? "elevateprivileges"
                       : o->have_spawn    ? "spawn"
                       : o->have_resource ? "resourcecontrol"
                                          : NULL;
    return o->enable || !rule ||
           error_set(err, "-sandbox: %s has no effect while the sandbox is off: -sandbox on,%s=...", rule, rule);
}

static bool read_options(Confine *c, const Cli *cli, Error *err)
{
    const char *runas = cli_text(cli, "runas");
    if (!parse(cli, "sandbox", sandbox_options, &c->sandbox, err) || !check_sandbox(&c->sandbox, err) ||
        !parse(cli, "run-with", run_options, &c->run, err) ||
        !parse(cli, "overcommit", overcommit_options, &c->overcommit, err)) {
        return false;
    }
    if (runas && c->run.user) {
        return error_set(err, "-runas and -run-with user= say the same; give one of them");
    }
    if (runas) {
        return find_user(c, "-runas ", runas, err);
    }
    return !c->run.user || find_user(c, "-run-with user=", c->run.user, err);
}

Confine *confine_new(const Cli *cli, Error *err)
{
    Confine *c = g_new0(Confine, 1);
    if (!read_options(c, cli, err)) {
        confine_free(c);
        return NULL;
    }
    return c;
}

void confine_free(Confine *c)
{
    if (c) {
        fields_clear(run_options, &c->run);
        g_free(c->user);
        g_free(c);
    }
}

bool confine_changes_files(const Confine *c)
{
    return c->has_user || c->run.chroot;
}

bool confine_wants_cpu_pm(const Confine *c)
{
    return c->overcommit.cpu_pm;
}

/* --- asynchronous teardown --- */

/* Shares the memory, and with it errno of the thread that made it: only calls that succeed. */
static int wait_for_parent(void *argument)
{
    sigset_t        all;
    pid_t           parent  = *(const pid_t *)argument;
    struct timespec timeout = { .tv_sec = 3600 };
    char            name[16];
    g_snprintf(name, sizeof name, "cleanup/%d", (int)parent);
    prctl(PR_SET_NAME, name);
    prctl(PR_SET_PDEATHSIG, SIGHUP);
    sigfillset(&all);
    syscall(SYS_close_range, 0, ~0U, 0);
    while (getppid() == parent) {
        syscall(SYS_rt_sigtimedwait, &all, NULL, &timeout, (size_t)8);
    }
    _exit(0);
}

bool confine_start(Confine *c, Error *err)
{
    enum { STACK = 64 << 10 };
    static pid_t parent; /* outlives this frame: the other process reads it */
    if (!c->run.async_teardown) {
        return true;
    }
    void *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) {
        return error_set_errno(err, errno, "-run-with async-teardown: no memory for a stack");
    }
    parent = getpid();
    /* All signals stay blocked there, so that what is meant for the process group does not end it early. */
    sigset_t before;
    signals_hold(&before);
    int pid   = clone(wait_for_parent, (char *)stack + STACK, CLONE_VM, &parent);
    int error = errno;
    signals_let(&before);
    return pid > 0 || error_set_errno(err, error, "-run-with async-teardown: cannot make the process");
}

/* --- root and user --- */

static bool change_root(const Confine *c, Error *err)
{
    const char *to = c->run.chroot;
    return !to || (chroot(to) == 0 && chdir("/") == 0) || error_set_errno(err, errno, "-run-with chroot=%s", to);
}

static bool change_user(const Confine *c, Error *err)
{
    if (!c->has_user) {
        return true;
    }
    int groups = c->user ? initgroups(c->user, c->gid) : setgroups(1, &c->gid);
    if (groups < 0 || setgid(c->gid) < 0 || setuid(c->uid) < 0) {
        return error_set_errno(err, errno, "%s%s: cannot become user %u, group %u%s", c->said, c->given,
                               (unsigned)c->uid, (unsigned)c->gid, errno == EPERM ? " (only root can)" : "");
    }
    /* The way back must be closed. */
    return c->uid == 0 || setuid(0) < 0 || error_set(err, "dropping privileges failed");
}

/* --- the filter --- */

/* What no emulator needs, with every filter. */
static const char *const never[] = {
    "reboot",
    "swapon",
    "swapoff",
    "syslog",
    "mount",
    "umount2",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "pivot_root",
    "chroot",
    "acct",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "sethostname",
    "setdomainname",
    "iopl",
    "ioperm",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "bpf",
    "add_key",
    "request_key",
    "keyctl",
    "quotactl",
    "vhangup",
    "unshare",
    "setns",
    NULL,
};
static const char *const obsolete[] = {
    "_sysctl",          "uselib",     "ustat",         "sysfs",          "create_module", "get_kernel_syms",
    "query_module",     "nfsservctl", "getpmsg",       "putpmsg",        "afs_syscall",   "tuxcall",
    "security",         "vserver",    "epoll_ctl_old", "epoll_wait_old", "modify_ldt",    "lookup_dcookie",
    "remap_file_pages", NULL,
};
static const char *const elevating[] = {
    "setuid",   "setgid",    "setreuid", "setregid", "setresuid", "setresgid", "setfsuid",
    "setfsgid", "setgroups", "setpgid",  "setsid",   "capset",    NULL,
};
static const char *const spawning[]  = { "fork", "vfork", "execve", "execveat", NULL };
static const char *const resources[] = {
    "setpriority", "sched_setparam", "sched_setscheduler", "sched_setaffinity", "sched_setattr", "ioprio_set", NULL,
};

static int deny(scmp_filter_ctx filter, const char *const *names, uint32_t action)
{
    for (; *names; names++) {
        int number = seccomp_syscall_resolve_name(*names);
        int result = number == __NR_SCMP_ERROR || number < 0 ? 0 : seccomp_rule_add(filter, action, number, 0);
        if (result < 0) {
            return result;
        }
    }
    return 0;
}

/* Threads are made by clone() with CLONE_THREAD; clone3() hides its flags, so libraries are to go without it. */
static int deny_processes(scmp_filter_ctx filter)
{
    int result = deny(filter, spawning, SCMP_ACT_KILL_PROCESS);
    result     = result ? result
                        : seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, SCMP_SYS(clone), 1,
                                           SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, 0));
    return result ? result : seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
}

static int fill(scmp_filter_ctx filter, const SandboxOptions *o)
{
    int result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
    result     = result ? result : deny(filter, never, SCMP_ACT_KILL_PROCESS);
    if (!result && o->obsolete == RULE_DENY) {
        result = deny(filter, obsolete, SCMP_ACT_KILL_PROCESS);
    }
    if (!result && o->elevate == RULE_DENY) {
        result = deny(filter, elevating, SCMP_ACT_KILL_PROCESS);
    }
    if (!result && o->spawn == RULE_DENY) {
        result = deny_processes(filter);
    }
    if (!result && o->resource == RULE_DENY) {
        result = deny(filter, resources, SCMP_ACT_ERRNO(EPERM));
    }
    return result;
}

static bool load_filter(const SandboxOptions *o, Error *err)
{
    if (!o->enable) {
        return true;
    }
    /* elevateprivileges=children: what is started from here cannot have more than this process. */
    if (o->elevate != RULE_ALLOW && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        return error_set_errno(err, errno, "-sandbox: cannot give up new privileges");
    }
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int             result = filter ? fill(filter, o) : -ENOMEM;
    result                 = result ? result : seccomp_load(filter);
    seccomp_release(filter);
    return result == 0 || error_set_errno(err, -result, "-sandbox: cannot load the system call filter");
}

bool confine_enter(Confine *c, Error *err)
{
    if (c->overcommit.mem_lock && mlockall(MCL_CURRENT | MCL_FUTURE) < 0) {
        return error_set_errno(err, errno, "-overcommit mem-lock=on: cannot lock memory (see ulimit -l)");
    }
    return change_root(c, err) && change_user(c, err) && load_filter(&c->sandbox, err);
}
