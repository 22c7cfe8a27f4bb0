/* Commands of the human monitor: tables that the linker collects, and what their functions work with.
 *
 *     HMP_COMMANDS(run) = {
 *         { .name = "stop|s", .help = "pauses the machine", .run = cmd_stop },
 *         {},
 *     };
 *
 * HMP_INFO tables are the same for what follows "info". Functions write to h->out with "\n"; an error becomes a line
 * "Error: ...". Main loop, machine lock held. */

#ifndef QUERN_MONITOR_HMP_COMMAND_H
#define QUERN_MONITOR_HMP_COMMAND_H

#include "monitor/args.h"
#include "monitor/hmp.h"
#include "monitor/lineedit.h"

typedef struct Hmp        Hmp;
typedef struct HmpCommand HmpCommand;

struct HmpCommand {
    const char *name;   /* with its other names: "help|?" */
    const char *params; /* as help shows them; NULL: none */
    const char *help;
    bool        preconfig; /* also before the machine is made */
    HmpArg      args[HMP_ARGS_MAX];
    bool (*run)(Hmp *h, Error *err);
    bool (*more_help)(Hmp *h); /* "help NAME" says this instead; may be NULL */
};

/* One command that is being carried out. */
struct Hmp {
    Monitor          *mon;
    Machine          *machine;
    HmpSession       *session; /* NULL: for human-monitor-command */
    const HmpCommand *command;
    HmpArgs           args;
    GString          *out;
};

#define HMP_TABLE(identifier, section_name)                                                                            \
    static const HmpCommand        identifier##_hmp[];                                                                 \
    static const HmpCommand *const identifier##_hmp_entry __attribute__((used, section(section_name))) =               \
        identifier##_hmp;                                                                                              \
    static const HmpCommand identifier##_hmp[]

#define HMP_COMMANDS(identifier) HMP_TABLE(identifier, "quern_hmp")
#define HMP_INFO(identifier)     HMP_TABLE(identifier##_info, "quern_hmp_info")

/* Tables of commands, for dispatch, help and completion. */
const HmpCommand *hmp_command_find(bool info, const char *name);
void              hmp_commands_foreach(bool info, void (*visit)(const HmpCommand *c, void *opaque), void *opaque);

/* Calls visit for each of the names in "help|?". */
void hmp_names_foreach(const HmpCommand *c, void (*visit)(const char *name, void *opaque), void *opaque);

/* What QEMU 9.1 has beyond the tables. NULL: no such name; else why it is not there. */
const char *hmp_missing(bool info, const char *name);
void        hmp_missing_foreach(bool info, void (*visit)(const char *name, void *opaque), void *opaque);

/* Arguments by name. Text is NULL and numbers are 0 when they were not given. */
const char *hmp_text(const Hmp *h, const char *name);
int64_t     hmp_number(const Hmp *h, const char *name);
bool        hmp_given(const Hmp *h, const char *name);

void hmp_print(Hmp *h, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Runs a QMP command with the arguments of a JSON object that it takes over (NULL: none). The result is the caller's;
 * NULL: an error. */
Json *hmp_qmp(Hmp *h, const char *name, Json *arguments, Error *err);
/* The same when only success counts. */
bool hmp_do(Hmp *h, const char *name, Json *arguments, Error *err);

/* The monitor's current vCPU ("cpu"); NULL: there is none, with an error. */
X86Cpu *hmp_cpu(Hmp *h, Error *err);

/* Between these two no vCPU runs, and what X86Cpu and its local APIC hold is the state of the vCPUs. The run state
 * stays what it is for everybody else. `opaque` of the first is for the second. */
typedef struct HmpPause {
    bool was_running;
} HmpPause;
HmpPause hmp_pause(Machine *m);
void     hmp_unpause(Machine *m, HmpPause pause);

/* hmp_registers.c: for expressions; opaque is an Hmp. */
ExprRegister hmp_register;
void         hmp_registers_complete(const char *prefix, LineCompletion *c);

/* hmp_complete.c */
void hmp_complete(Monitor *mon, const char *text, LineCompletion *c);

/* hmp_keys.c */
void hmp_keys_foreach(void (*visit)(const char *name, void *opaque), void *opaque);

#endif
