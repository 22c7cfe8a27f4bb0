/* The -d log, see log.h. Settings change before vCPUs run; writing is safe from any thread (stdio's lock). */

#include "base/log.h"

#include "base/text.h"
#include "base/trace.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

typedef struct LogName {
    const char *name;
    uint32_t    item; /* 0: known, but not supported yet */
    const char *help;
} LogName;

static const LogName log_names[] = {
    { "in_asm", LOG_IN_ASM, "guest instructions as they are decoded" },
    { "jit", LOG_JIT, "the translator's counters, when the machine ends" },
    { "int", LOG_INT, "interrupts and exceptions" },
    { "cpu_reset", LOG_CPU_RESET, "CPU state before each reset" },
    { "guest_errors", LOG_GUEST_ERRORS, "what a guest should not do" },
    { "unimp", LOG_UNIMP, "what is not implemented" },
    { "mmu", LOG_MMU, "page walks and faults" },
    { "exec", LOG_EXEC, "each block before it runs" },
    { "cpu", LOG_CPU, "CPU state before each block" },
    { "nochain", LOG_NOCHAIN, "translated blocks are not linked to each other" },
    { "out_asm", LOG_OUT_ASM, "host code that the translator has made" },
    { "op", LOG_OP, "what the translator makes of each guest instruction" },
    { "op_opt" },
    { "op_ind" },
    { "op_plugin" },
    { "pcall" },
    { "page" },
    { "plugin" },
    { "strace" },
    { "fpu" },
    { "vpu" },
    { "tid" },
    { "invalid_mem" },
};

static FILE *log_file(const Log *log)
{
    return log->file ? log->file : stderr;
}

bool log_in_range(const Log *log, uint64_t address)
{
    for (size_t i = 0; i < log->n_ranges; i++) {
        if (address >= log->ranges[i].first && address <= log->ranges[i].last) {
            return true;
        }
    }
    return log->n_ranges == 0;
}

void log_print(const Log *log, uint32_t items, const char *format, ...)
{
    if (!log_on(log, items)) {
        return;
    }
    va_list args;
    va_start(args, format);
    vfprintf(log_file(log), format, args);
    va_end(args);
}

void log_lock(const Log *log)
{
    flockfile(log_file(log));
}

void log_unlock(const Log *log)
{
    fflush(log_file(log));
    funlockfile(log_file(log));
}

static bool parse_item(Log *log, const char *name, uint32_t *item, Error *err)
{
    if (!strcmp(name, "all")) {
        for (size_t i = 0; i < G_N_ELEMENTS(log_names); i++) {
            *item |= log_names[i].item;
        }
        return true;
    }
    if (g_str_has_prefix(name, "trace:")) {
        return trace_set(log, name + strlen("trace:"), true, err);
    }
    NameMatch match = { .word = name };
    for (size_t i = 0; i < G_N_ELEMENTS(log_names); i++) {
        if (!strcmp(name, log_names[i].name)) {
            *item = log_names[i].item;
            return *item || error_set_unsupported(err, "log item '%s'", name);
        }
        if (log_names[i].item) {
            text_match_name(&match, log_names[i].name);
        }
    }
    char hint[128];
    return error_set(err, "no log item '%s'%s", name, text_did_you_mean(&match, hint));
}

bool log_parse_items(Log *log, const char *text, Error *err)
{
    g_auto(GStrv) names = g_strsplit(text, ",", -1);
    uint32_t items      = 0;
    if (!*names) {
        return parse_item(log, "", &items, err);
    }
    for (char **name = names; *name; name++) {
        uint32_t item = 0;
        if (!parse_item(log, *name, &item, err)) {
            return false;
        }
        items |= item;
    }
    log->items |= items;
    return true;
}

const char *log_item_name(size_t n)
{
    for (size_t i = 0; i < G_N_ELEMENTS(log_names); i++) {
        if (log_names[i].item && n-- == 0) {
            return log_names[i].name;
        }
    }
    return NULL;
}

void log_print_help(FILE *to)
{
    fputs("Log items (comma separated):\n", to);
    for (size_t i = 0; i < G_N_ELEMENTS(log_names); i++) {
        if (log_names[i].item) {
            fprintf(to, "%-15s %s\n", log_names[i].name, log_names[i].help);
        }
    }
    fprintf(to, "%-15s %s\n", "trace:PATTERN", "trace events (-trace help)");
    fprintf(to, "%-15s %s\n", "all", "all of them but trace events");
}

bool log_open_file(Log *log, const char *path, Error *err)
{
    g_autofree char *name   = g_strdup(path);
    const char      *number = strchr(path, '%');
    if (number && (number[1] != 'd' || strchr(number + 2, '%'))) {
        return error_set(err, "a %% can only be that of one %%d, which stands for the process id");
    }
    if (number) {
        g_free(name);
        name = g_strdup_printf("%.*s%ld%s", (int)(number - path), path, (long)getpid(), number + 2);
    }
    FILE *file = fopen(name, "we");
    if (!file) {
        return error_set_errno(err, errno, "cannot open log file '%s'", name);
    }
    setvbuf(file, NULL, _IOLBF, 0);
    if (log->close_file) {
        fclose(log->file);
    }
    log->file       = file;
    log->close_file = true;
    return true;
}

/* start+size, start-size (the size bytes up to start), start..end */
static bool parse_range(const char *text, LogRange *range, Error *err)
{
    const char *dots = strstr(text, "..");
    const char *operator= dots ? dots : text + strcspn(text, "+-");
    uint64_t value;
    if (operator== text || !* operator) {
        return error_set(err, "'%s' is not an address range (start+size, start-size or start..end)", text);
    }
    g_autofree char *start = g_strndup(text, (size_t)(operator- text));
    if (!text_parse_uint(start, UINT64_MAX, &range->first, err) ||
        !text_parse_uint(operator+(dots ? 2 : 1), UINT64_MAX, &value, err)) {
        return error_prefix(err, "address range '%s': ", text);
    }
    if (dots) {
        range->last = value;
    } else if (!value) {
        return error_set(err, "address range '%s' is empty", text);
    } else if (*operator== '+') {
        range->last = value - 1 > UINT64_MAX - range->first ? UINT64_MAX : range->first + (value - 1);
    } else {
        range->last  = range->first;
        range->first = value - 1 > range->last ? 0 : range->last - (value - 1);
    }
    if (range->first > range->last) {
        return error_set(err, "address range '%s' is empty", text);
    }
    return true;
}

bool log_parse_filter(Log *log, const char *text, Error *err)
{
    g_auto(GStrv) items = g_strsplit(text, ",", -1);
    if (!*items) {
        return error_set(err, "an address range is missing");
    }
    for (char **item = items; *item; item++) {
        LogRange range;
        if (!parse_range(*item, &range, err)) {
            return false;
        }
        log->ranges                  = g_renew(LogRange, log->ranges, log->n_ranges + 1);
        log->ranges[log->n_ranges++] = range;
    }
    return true;
}

void log_close(Log *log)
{
    if (log->close_file) {
        fclose(log->file);
    }
    g_free(log->ranges);
    *log = (Log){ 0 };
}
