/* Monitors: the machine's controls on character devices. A monitor is for programs (QMP, mode "control") or for people
 * (HMP, mode "readline"). Any number of them, on any chardev.
 *
 * Everything here runs on the main loop under the machine lock; events may come from a vCPU's thread that holds it. */

#ifndef QUERN_MONITOR_MONITOR_H
#define QUERN_MONITOR_MONITOR_H

#include "char/output.h"
#include "machine/machine.h"

typedef struct Monitor    Monitor;
typedef struct Monitors   Monitors; /* all of a machine */
typedef struct QmpSession QmpSession;
typedef struct HmpSession HmpSession;

typedef enum MonitorMode { MONITOR_READLINE, MONITOR_CONTROL } MonitorMode;

/* -mon, -monitor, -qmp, -qmp-pretty */
typedef struct MonitorOptions {
    char *chardev;
    char *id;   /* for -set to name it by */
    int   mode; /* MonitorMode */
    bool  pretty, has_pretty;
} MonitorOptions;

extern const Field monitor_options[]; /* of MonitorOptions, as -mon takes them */

/* -compat: what becomes of deprecated and of unstable parts of QMP. */
typedef enum CompatInput { COMPAT_ACCEPT, COMPAT_REJECT, COMPAT_CRASH } CompatInput;

typedef struct CompatPolicy {
    int deprecated_input, unstable_input;   /* CompatInput */
    int deprecated_output, unstable_output; /* 1: hide */
} CompatPolicy;

extern const Field compat_options[]; /* of CompatPolicy */

struct Monitor {
    Monitors    *all;
    Machine     *machine;
    MonitorMode  mode;
    bool         pretty; /* control only */
    CharFrontend fe;
    CharOutput   out;
    bool         stuck;     /* the client does not read: that it misses something was said once */
    GString     *captured;  /* no chardev: output is kept here for human-monitor-command; NULL otherwise */
    GByteArray  *unread;    /* what came while the monitors did not read */
    GHashTable  *fds;       /* getfd: name -> descriptor */
    unsigned     cpu_index; /* HMP's "cpu" */
    QmpSession  *qmp;       /* of mode control */
    HmpSession  *hmp;       /* of mode readline */
};

/* `policy` is copied. The machine is borrowed and lives longer; it need not be built yet. */
Monitors *monitors_new(Machine *m, const CompatPolicy *policy);
void      monitors_free(Monitors *all); /* NULL is fine */

/* A monitor on a chardev. Until monitors_start() nothing is read. */
bool monitors_add(Monitors *all, Chardev *chr, const MonitorOptions *options, Error *err);

/* From now on monitors read: the machine stands, or --preconfig waits for orders. And not any more, for a while. */
void monitors_start(Monitors *all);
void monitors_hold(Monitors *all);
bool monitors_started(const Monitors *all);

/* --preconfig: only commands that say so are carried out, until x-exit-preconfig. */
void monitors_set_preconfig(Monitors *all, bool on);
bool monitors_preconfig(const Monitors *all);

const CompatPolicy *monitors_policy(const Monitors *all);
Machine            *monitors_machine(Monitors *all);
void                monitors_foreach(Monitors *all, void (*visit)(Monitor *mon, void *opaque), void *opaque);

/* An event of the table of events (monitor/events.h) to all QMP monitors. Takes `data`, NULL for none. */
void monitors_emit(Monitors *all, const char *event, Json *data);

/* Output of either mode: queued, and sent as the other end takes it. As it is: whether a line ends with "\n" or "\r\n"
 * is the session's business. */
void monitor_write(Monitor *mon, const char *text, size_t len);
void monitor_print(Monitor *mon, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* A monitor without a chardev, whose output is kept: for human-monitor-command. The text is the caller's. */
Monitor *monitor_new_captured(Monitors *all);
char    *monitor_free_captured(Monitor *mon);

/* Is the chardev shared by a mux? */
bool monitor_on_mux(const Monitor *mon);

/* Runs a command of the QMP table by its name, as HMP does: arguments (borrowed, may be NULL) are checked by the
 * command's table. The result is the caller's; NULL: an error. */
Json *monitor_command(Monitor *mon, const char *name, const Json *arguments, Error *err);

#endif
