/* HMP: the monitor for people: sessions, dispatch and help. Main loop, machine lock held. */

#include "monitor/hmp.h"

#include "base/text.h"
#include "monitor/hmp_command.h"

#include <ctype.h>
#include <string.h>
#include <unistd.h>

enum { READ_BYTES = 512, OUTPUT_MAX = 64 << 20, NAME_LENGTH_MAX = 64 };

/* What a monitor remembers between lines. */
struct HmpSession {
    Monitor  *mon;
    LineEdit *editor;
    HmpFormat format; /* of x and others that was last used */
    bool      greeted;
};

static const HmpFormat first_format = { .count = 1, .format = 'x', .size = 4 };

/* --- tables --- */

extern const HmpCommand *const __start_quern_hmp[];
extern const HmpCommand *const __stop_quern_hmp[];
extern const HmpCommand *const __start_quern_hmp_info[];
extern const HmpCommand *const __stop_quern_hmp_info[];

void hmp_commands_foreach(bool info, void (*visit)(const HmpCommand *c, void *opaque), void *opaque)
{
    const HmpCommand *const *first = info ? __start_quern_hmp_info : __start_quern_hmp;
    const HmpCommand *const *end   = info ? __stop_quern_hmp_info : __stop_quern_hmp;
    for (const HmpCommand *const *table = first; table < end; table++) {
        for (const HmpCommand *c = *table; c->name; c++) {
            visit(c, opaque);
        }
    }
}

void hmp_names_foreach(const HmpCommand *c, void (*visit)(const char *name, void *opaque), void *opaque)
{
    g_auto(GStrv) names = g_strsplit(c->name, "|", -1);
    for (char **name = names; *name; name++) {
        visit(*name, opaque);
    }
}

typedef struct Search {
    const char       *name;
    const HmpCommand *candidate, *found;
} Search;

static void compare_name(const char *name, void *opaque)
{
    Search *s = opaque;
    if (strcmp(name, s->name) == 0) {
        s->found = s->candidate;
    }
}

static void compare_command(const HmpCommand *c, void *opaque)
{
    Search *s    = opaque;
    s->candidate = c;
    hmp_names_foreach(c, compare_name, s);
}

const HmpCommand *hmp_command_find(bool info, const char *name)
{
    Search s = { .name = name };
    hmp_commands_foreach(info, compare_command, &s);
    return s.found;
}

static void collect_name(const char *name, void *opaque)
{
    g_ptr_array_add(opaque, g_strdup(name));
}

static void collect_names(const HmpCommand *c, void *opaque)
{
    hmp_names_foreach(c, collect_name, opaque);
}

static void print_unknown(Hmp *h, bool info, const char *name)
{
    NameMatch   match   = { .word = name };
    const char *missing = hmp_missing(info, name), *prefix = info ? "info " : "";
    char        hint[128];
    if (missing) {
        hmp_print(h, "%s%s: not supported yet (%s)\n", prefix, name, missing);
        return;
    }
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    hmp_commands_foreach(info, collect_names, names);
    for (guint i = 0; i < names->len; i++) {
        text_match_name(&match, names->pdata[i]);
    }
    hmp_print(h, "unknown command: '%s%s'%s\n", prefix, name, text_did_you_mean(&match, hint));
}

/* --- for commands --- */

static const HmpValue *value_of(const Hmp *h, const char *name)
{
    for (unsigned i = 0; h->command->args[i].kind != HMP_END; i++) {
        if (strcmp(h->command->args[i].name, name) == 0) {
            return &h->args.values[i];
        }
    }
    g_assert_not_reached();
}

const char *hmp_text(const Hmp *h, const char *name)
{
    return value_of(h, name)->text;
}

int64_t hmp_number(const Hmp *h, const char *name)
{
    return value_of(h, name)->number;
}

bool hmp_given(const Hmp *h, const char *name)
{
    return value_of(h, name)->given;
}

void hmp_print(Hmp *h, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_string_append_vprintf(h->out, format, args);
    va_end(args);
}

Json *hmp_qmp(Hmp *h, const char *name, Json *arguments, Error *err)
{
    g_autoptr(Json) owned = arguments;
    return monitor_command(h->mon, name, owned, err);
}

bool hmp_do(Hmp *h, const char *name, Json *arguments, Error *err)
{
    g_autoptr(Json) result = hmp_qmp(h, name, arguments, err);
    return result != NULL;
}

X86Cpu *hmp_cpu(Hmp *h, Error *err)
{
    GPtrArray *cpus = h->machine->cpus;
    if (!cpus || cpus->len == 0) {
        error_set(err, "No CPU available");
        return NULL;
    }
    X86Cpu *cpu = machine_cpu(h->machine, h->mon->cpu_index);
    if (!cpu) { /* it has gone */
        h->mon->cpu_index = 0;
        cpu               = cpus->pdata[0];
    }
    return cpu;
}

HmpPause hmp_pause(Machine *m)
{
    HmpPause pause = { .was_running = m->state == RUN_STATE_RUNNING };
    if (pause.was_running) {
        accel_pause_all(m->accel);
    }
    return pause;
}

/* A debugger may have some of them stand, or step. */
static VcpuResume as_before(void *opaque, Vcpu *cpu)
{
    return cpu->stopped ? VCPU_STAY : cpu->single_step ? VCPU_STEP : VCPU_RUN;
}

void hmp_unpause(Machine *m, HmpPause pause)
{
    /* Requests that came meanwhile stop and start vCPUs themselves. */
    if (pause.was_running && !m->shutdown_requested && !m->reset_requested && !m->pause_requested) {
        accel_resume_each(m->accel, as_before, NULL);
    }
}

/* --- output --- */

static void write_text(Monitor *mon, const char *text, size_t len)
{
    g_autoptr(GString) lines = g_string_sized_new(len + len / 16);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r')) {
            g_string_append_c(lines, '\r');
        }
        g_string_append_c(lines, text[i]);
    }
    monitor_write(mon, lines->str, lines->len);
}

/* --- dispatch --- */

/* Takes the name of a command off *line: up to a blank or a slash. NULL: too long for any. */
static char *take_name(const char **line)
{
    const char *p = *line;
    while (*p && *p != '/' && !isspace((unsigned char)*p)) {
        p++;
    }
    char *name = g_utf8_make_valid(*line, p - *line);
    *line      = p;
    return name;
}

static void skip_blanks(const char **line)
{
    while (isspace((unsigned char)**line)) {
        (*line)++;
    }
}

static void run_command(Hmp *h, const HmpCommand *c, const char *typed, const char *line)
{
    g_auto(Error) err = { 0 };
    HmpFormat last;
    h->command     = c;
    last           = h->session ? h->session->format : first_format;
    HmpParse parse = { .command = c->name, .table = c->args, .last = last, .get_register = hmp_register, .opaque = h };
    if (!hmp_args_parse(&parse, line, &h->args, &err)) {
        hmp_print(h, "%s\nTry \"help %s\" for more information\n", err.text, typed);
    } else {
        if (h->session && h->args.format.count) {
            h->session->format = h->args.format;
        }
        if (!c->run(h, &err)) {
            hmp_print(h, "Error: %s\n", err.text);
        }
    }
    hmp_args_clear(&h->args);
}

static void dispatch(Hmp *h, const char *line)
{
    bool info = false;
    skip_blanks(&line);
    if (!*line) {
        return;
    }
    g_autofree char  *name  = take_name(&line);
    g_autofree char  *typed = g_strdup(name);
    const HmpCommand *c     = hmp_command_find(false, name);
    if (c && strcmp(name, "info") == 0) {
        const char *rest = line;
        skip_blanks(&rest);
        g_autofree char *sub = take_name(&rest);
        if (*sub) {
            info = true;
            line = rest;
            c    = hmp_command_find(true, sub);
            g_free(typed);
            typed = g_strdup_printf("info %s", sub);
            g_free(name);
            name = g_steal_pointer(&sub);
        }
    }
    if (!c) {
        print_unknown(h, info, name);
    } else if (!c->preconfig && monitors_preconfig(h->mon->all)) {
        hmp_print(h, "Command '%s' is not available with --preconfig until after exit_preconfig\n", typed);
    } else {
        run_command(h, c, typed, line);
    }
}

void hmp_execute(Monitor *mon, const char *line)
{
    Hmp h = { .mon = mon, .machine = mon->machine, .session = mon->hmp, .out = g_string_new(NULL) };
    dispatch(&h, line);
    write_text(mon, h.out->str, MIN(h.out->len, (size_t)OUTPUT_MAX));
    g_string_free(h.out, TRUE);
}

bool hmp_info(Monitor *mon, const char *name, GString *out, Error *err)
{
    Hmp h = { .mon = mon, .machine = mon->machine, .command = hmp_command_find(true, name), .out = out };
    return h.command->run(&h, err);
}

/* --- sessions --- */

static void editor_write(void *opaque, const char *text, size_t len)
{
    monitor_write(((HmpSession *)opaque)->mon, text, len);
}

static void editor_line(void *opaque, const char *text)
{
    hmp_execute(((HmpSession *)opaque)->mon, text);
}

static void editor_complete(void *opaque, const char *text, LineCompletion *c)
{
    hmp_complete(((HmpSession *)opaque)->mon, text, c);
}

HmpSession *hmp_session_new(Monitor *mon)
{
    HmpSession  *s    = g_new0(HmpSession, 1);
    LineEditHost host = { .write = editor_write, .line = editor_line, .complete = editor_complete, .opaque = s };
    s->mon            = mon;
    s->editor         = lineedit_new(&host, "(qemu) ");
    s->format         = first_format;
    return s;
}

void hmp_session_free(HmpSession *s)
{
    if (s) {
        lineedit_free(s->editor);
        g_free(s);
    }
}

/* Terminals: where stdio is one, and what is nothing else. */
static bool is_terminal(const Monitor *mon)
{
    static const char *const always[] = { "pty", "serial", "vc" };
    const Chardev           *chr      = mon->fe.chr;
    if (!chr) {
        return false;
    }
    if (strcmp(chr->obj.type->name, "stdio") == 0) {
        return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(always); i++) {
        if (strcmp(chr->obj.type->name, always[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void greet(HmpSession *s)
{
    lineedit_reset(s->editor);
    lineedit_set_terminal(s->editor, is_terminal(s->mon));
    monitor_print(s->mon, "QEMU 9.1.50 monitor - type 'help' for more information\r\n");
    lineedit_show(s->editor);
    s->greeted = true;
}

void hmp_session_opened(HmpSession *s)
{
    if (!monitor_on_mux(s->mon)) {
        greet(s);
    }
}

void hmp_session_closed(HmpSession *s)
{
    lineedit_reset(s->editor);
    s->greeted = false;
}

void hmp_session_focused(HmpSession *s, bool in)
{
    if (!in) {
        return;
    }
    if (s->greeted) {
        monitor_print(s->mon, "\r\n");
        lineedit_show(s->editor);
    } else {
        greet(s);
    }
}

size_t hmp_session_can_read(const HmpSession *s)
{
    return READ_BYTES;
}

void hmp_session_read(HmpSession *s, const uint8_t *buf, size_t len)
{
    lineedit_take(s->editor, buf, len);
}

/* --- help, info, history --- */

typedef struct Sorted {
    GPtrArray *list;
} Sorted;

static void add_command(const HmpCommand *c, void *opaque)
{
    g_ptr_array_add(opaque, (void *)c);
}

static int compare_commands(gconstpointer a, gconstpointer b)
{
    return strcmp((*(const HmpCommand *const *)a)->name, (*(const HmpCommand *const *)b)->name);
}

static void print_help(Hmp *h, bool info, const HmpCommand *c)
{
    hmp_print(h, "%s%s %s -- %s\n", info ? "info " : "", c->name, c->params ? c->params : "", c->help);
}

static void print_help_of_all(Hmp *h, bool info)
{
    g_autoptr(GPtrArray) list = g_ptr_array_new();
    hmp_commands_foreach(info, add_command, list);
    g_ptr_array_sort(list, compare_commands);
    for (unsigned i = 0; i < list->len; i++) {
        print_help(h, info, list->pdata[i]);
    }
}

static bool cmd_help(Hmp *h, Error *err)
{
    const char *text = hmp_text(h, "name");
    bool        info = false;
    if (!text) {
        print_help_of_all(h, false);
        return true;
    }
    g_autofree char *name = take_name(&text);
    skip_blanks(&text);
    if (strcmp(name, "info") == 0) {
        if (!*text) {
            print_help_of_all(h, true);
            return true;
        }
        info = true;
        g_free(name);
        name = take_name(&text);
    }
    const HmpCommand *c = hmp_command_find(info, name);
    if (!c) {
        print_unknown(h, info, name);
    } else if (!c->more_help || !c->more_help(h)) {
        print_help(h, info, c);
    }
    return true;
}

static bool cmd_info(Hmp *h, Error *err)
{
    print_help_of_all(h, true);
    return true;
}

static bool info_history(Hmp *h, Error *err)
{
    const char *line;
    for (unsigned i = 0; h->session && (line = lineedit_history(h->session->editor, i)); i++) {
        hmp_print(h, "%u: '%s'\n", i, line);
    }
    return true;
}

HMP_COMMANDS(help) = {
    { .name      = "help|?",
      .params    = "[cmd]",
      .help      = "lists all commands, or says what one does",
      .preconfig = true,
      .args      = { { "name", HMP_REST, .optional = true, .words = HMP_WORDS_COMMANDS } },
      .run       = cmd_help },
    { .name      = "info",
      .params    = "[subcommand]",
      .help      = "shows one part of the machine's state",
      .preconfig = true,
      .run       = cmd_info },
    {},
};

HMP_INFO(help) = {
    { .name = "history", .help = "lines that were typed here", .preconfig = true, .run = info_history },
    {},
};
