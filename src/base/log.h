/* The -d log: what the guest does, for people who debug it.
 *
 * One Log per machine, reached through whoever is logging (Platform, X86Cpu). Writing is safe from any thread.
 * The test for an item is one load, so that logging that is off costs nothing worth measuring. */

#ifndef QUERN_BASE_LOG_H
#define QUERN_BASE_LOG_H

#include "base/error.h"

#include <stdint.h>
#include <stdio.h>

typedef enum LogItem {
    LOG_IN_ASM       = 1 << 0,  /* guest code as it is decoded */
    LOG_INT          = 1 << 1,  /* interrupts and exceptions */
    LOG_CPU_RESET    = 1 << 2,  /* CPU state before each reset */
    LOG_GUEST_ERRORS = 1 << 3,  /* what a guest should not do */
    LOG_UNIMP        = 1 << 4,  /* what Quern does not implement */
    LOG_MMU          = 1 << 5,  /* page walks and faults */
    LOG_EXEC         = 1 << 6,  /* each block before it runs */
    LOG_CPU          = 1 << 7,  /* CPU state before each block */
    LOG_JIT          = 1 << 8,  /* the translator's counters, at the end */
    LOG_OP           = 1 << 9,  /* what the translator makes of a unit's instructions */
    LOG_OUT_ASM      = 1 << 10, /* the host code of a unit */
    LOG_NOCHAIN      = 1 << 11, /* writes nothing: units are not linked to each other */
} LogItem;

typedef struct LogRange {
    uint64_t first, last;
} LogRange;

typedef struct Log {
    uint32_t  items; /* LogItem bits; fixed once vCPUs run */
    FILE     *file;  /* stderr unless -D */
    bool      close_file;
    LogRange *ranges; /* -dfilter; n_ranges of them, none for "everything" */
    size_t    n_ranges;
    uint64_t  traced; /* bits 1 << TraceId (trace.h), atomic: they change at any time */
} Log;

static inline bool log_on(const Log *log, uint32_t items)
{
    return __builtin_expect(log->items & items, 0) != 0;
}

/* Is this guest address inside -dfilter? True without a filter. */
bool log_in_range(const Log *log, uint64_t address);

/* Writes when one of `items` is on. The text carries its own newline. */
void log_print(const Log *log, uint32_t items, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* Several log_print calls that must not be torn apart by other threads stand between these two. */
void log_lock(const Log *log);
void log_unlock(const Log *log);

/* Parses "in_asm,int,trace:NAME"; "help" is for the caller (log_print_help). Fails naming the unknown item. */
bool log_parse_items(Log *log, const char *text, Error *err);
void log_print_help(FILE *to);

/* The n-th item's name, of those that are supported; NULL: there are no more. */
const char *log_item_name(size_t n);

/* Opens the -D file; "%d" in the name becomes the process id. */
bool log_open_file(Log *log, const char *path, Error *err);

/* Adds -dfilter ranges: start+size, start-size, start..end, comma-separated, C-style numbers. */
bool log_parse_filter(Log *log, const char *text, Error *err);

/* Closes the file and frees the filter. Nothing is logged any more. */
void log_close(Log *log);

#endif
