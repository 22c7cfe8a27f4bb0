/* Commands that write guest memory to files: memsave, pmemsave, dump-guest-memory. */

#include "cpu/x86/mem.h"
#include "machine/dump.h"
#include "memory/ram.h"
#include "monitor/command.h"
#include "monitor/dumping.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { PAGE = 4096 };

/* --- memsave, pmemsave --- */

typedef struct SaveArgs {
    uint64_t val, size;
    char    *filename;
    int64_t  cpu_index;
    bool     has_cpu_index;
} SaveArgs;

#define SAVE_FIELDS                                                                                                    \
    FIELD(SaveArgs, val, "val", .required = true, .help = "first address"),                                            \
        FIELD(SaveArgs, size, "size", .required = true, .help = "bytes"),                                              \
        FIELD(SaveArgs, filename, "filename", .required = true, .help = "file to write")

static const Field pmemsave_args[] = { SAVE_FIELDS, {} };
static const Field memsave_args[]  = {
     SAVE_FIELDS,
     FIELD(SaveArgs, cpu_index, "cpu-index", .has_offset = 1 + offsetof(SaveArgs, has_cpu_index),
           .help = "whose page tables count (default: the first vCPU's)"),
     {},
};

/* A byte that is no RAM ends it: devices are not read. `cpu` NULL: addresses are physical. */
static bool save_range(Monitor *mon, X86Cpu *cpu, const SaveArgs *a, int fd, Error *err)
{
    AddressSpace *as = cpu ? cpu->vcpu.memory : mon->machine->platform.memory_space;
    uint8_t       page[PAGE];
    for (uint64_t done = 0; done < a->size;) {
        uint64_t at = a->val + done, physical = at;
        size_t   n = MIN(a->size - done, PAGE - at % PAGE);
        if (cpu && !x86_debug_translate(cpu, at, &physical)) {
            return error_set(err, "address 0x%" G_GINT64_MODIFIER "x is not mapped", at);
        }
        MemTarget t = address_space_lookup(as, physical);
        if (!t.host || t.len < n) {
            return error_set(err, "at address 0x%" G_GINT64_MODIFIER "x there is no memory", at);
        }
        ram_copy_out(page, t.host, n);
        for (size_t written = 0; written < n;) {
            ssize_t w = write(fd, page + written, n - written);
            if (w < 0 && errno != EINTR) {
                return error_set_errno(err, errno, "%s", a->filename);
            }
            written += w > 0 ? (size_t)w : 0;
        }
        done += n;
    }
    return true;
}

static bool save(Monitor *mon, X86Cpu *cpu, const SaveArgs *a, Error *err)
{
    if (a->size && a->val + a->size - 1 < a->val) {
        return error_set(err, "the range goes beyond the last address");
    }
    int fd = char_hub_open(mon->machine->chars, a->filename, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0) {
        return error_set_errno(err, errno, "%s", a->filename);
    }
    bool ok = save_range(mon, cpu, a, fd, err);
    close(fd);
    return ok;
}

static bool pmemsave(Monitor *mon, void *args, Json **result, Error *err)
{
    return save(mon, NULL, args, err);
}

static bool memsave(Monitor *mon, void *args, Json **result, Error *err)
{
    const SaveArgs *a   = args;
    X86Cpu         *cpu = machine_cpu(mon->machine, a->cpu_index);
    if (!cpu) {
        return error_set(err, "no vCPU has index %" G_GINT64_FORMAT, a->cpu_index);
    }
    return save(mon, cpu, a, err);
}

/* --- dump-guest-memory --- */

enum { STATUS_NONE, STATUS_ACTIVE, STATUS_COMPLETED, STATUS_FAILED };
static const char *const status_names[] = { "none", "active", "completed", "failed", NULL };

struct Dumping {
    Monitors *all;
    Dump     *dump; /* the last one; NULL: none was */
    GThread  *thread;
    int       status;
    bool      was_running;
    bool      failed; /* what the thread says, with `error` */
    Error     error;
    uint64_t  total, completed; /* of one that is over */
};

Dumping *dumping_new(Monitors *all)
{
    Dumping *d = g_new0(Dumping, 1);
    d->all     = all;
    return d;
}

/* A regular file is written to its end, or as far as it is; who takes nothing from a pipe does not hold us up. */
void dumping_free(Dumping *d)
{
    if (d->thread) {
        dump_cancel(d->dump);
        g_thread_join(d->thread);
    }
    dump_free(d->dump);
    error_clear(&d->error);
    g_free(d);
}

static Json *describe(const Dumping *d)
{
    Json *info = json_new_object();
    json_add(info, "status", json_new_string(status_names[d->status]));
    json_add(info, "completed", json_new_uint(d->dump ? dump_completed(d->dump) : d->completed));
    json_add(info, "total", json_new_uint(d->dump ? dump_total(d->dump) : d->total));
    return info;
}

/* The vCPUs go on, and management hears of it. */
static void finish(Dumping *d)
{
    Machine *m      = monitors_machine(d->all);
    Json    *data   = json_new_object();
    d->status       = d->failed ? STATUS_FAILED : STATUS_COMPLETED;
    d->total        = dump_total(d->dump);
    d->completed    = dump_completed(d->dump);
    m->being_dumped = false;
    g_clear_pointer(&d->dump, dump_free);
    json_add(data, "result", describe(d));
    if (d->failed) {
        json_add(data, "error", json_new_string(d->error.text));
    }
    if (d->was_running && m->state == RUN_STATE_PAUSED) {
        machine_resume(m);
    }
    monitors_emit(d->all, "DUMP_COMPLETED", data);
}

static void thread_is_done(void *opaque)
{
    Dumping *d = opaque;
    g_thread_join(g_steal_pointer(&d->thread));
    finish(d);
}

static gpointer write_in_thread(gpointer opaque)
{
    Dumping *d = opaque;
    thread_set_name("dump");
    d->failed = !dump_write(d->dump, &d->error);
    loop_defer(monitors_machine(d->all)->platform.loop, thread_is_done, d);
    return NULL;
}

static const char *const format_names[] = {
    "elf",     "kdump-zlib", "kdump-lzo", "kdump-snappy", "kdump-raw-zlib", "kdump-raw-lzo", "kdump-raw-snappy",
    "win-dmp", NULL
};
enum { FORMAT_RAW = 4, FORMAT_WINDOWS = 7 }; /* those from FORMAT_RAW on are DUMP_KDUMP_ZLIB ... once more */

typedef struct DumpArgs {
    bool     paging, detach, has_begin, has_length;
    char    *protocol;
    uint64_t begin, length;
    int      format;
} DumpArgs;

static const Field dump_args[] = {
    FIELD(DumpArgs, paging, "paging", .required = true, .help = "also where the guest's page tables have it"),
    FIELD(DumpArgs, protocol, "protocol", .required = true, .help = "file:PATH, or fd:NAME of a named descriptor"),
    FIELD(DumpArgs, detach, "detach", .help = "return at once; DUMP_COMPLETED comes at the end"),
    FIELD(DumpArgs, begin, "begin", .has_offset = 1 + offsetof(DumpArgs, has_begin), .help = "first physical address"),
    FIELD(DumpArgs, length, "length", .has_offset = 1 + offsetof(DumpArgs, has_length), .help = "bytes from there"),
    FIELD(DumpArgs, format, "format", .names = format_names, .help = "of the file (default elf)"),
    {},
};

static int open_target(Monitor *mon, const char *protocol, Error *err)
{
    gpointer    key, fd;
    const char *name = strchr(protocol, ':');
    if (g_str_has_prefix(protocol, "file:")) {
        int file = char_hub_open(mon->machine->chars, name + 1, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (file < 0) {
            error_set_errno(err, errno, "%s", name + 1);
        }
        return file;
    }
    if (!g_str_has_prefix(protocol, "fd:")) {
        error_set(err, "argument 'protocol' is file:PATH or fd:NAME, not '%s'", protocol);
        return -1;
    }
    if (!g_hash_table_steal_extended(mon->fds, name + 1, &key, &fd)) {
        error_set(err, "no file descriptor is named '%s'; getfd gives names", name + 1);
        return -1;
    }
    g_free(key);
    return GPOINTER_TO_INT(fd);
}

static bool check_dump(const Dumping *d, const DumpArgs *a, Error *err)
{
    if (d->status == STATUS_ACTIVE) {
        return error_set(err, "a dump is being written; query-dump tells how far it is");
    }
    if (a->paging && a->format) {
        return error_set(err, "paging=true is for format elf only");
    }
    if (a->has_begin != a->has_length) {
        return error_set(err, "arguments 'begin' and 'length' go together");
    }
    if (a->has_begin && (!a->length || a->begin + a->length - 1 < a->begin || a->begin + a->length == 0)) {
        return error_set(err, "argument 'length' takes the range beyond the last address, or is 0");
    }
    if (a->has_begin && a->format) {
        return error_set(err, "begin and length are for format elf only");
    }
    if (a->format == FORMAT_WINDOWS) {
        return error_set_unsupported(err, "format '%s'", format_names[a->format]);
    }
    return true;
}

static bool dump_guest_memory(Monitor *mon, void *args, Json **result, Error *err)
{
    DumpArgs *a = args;
    Machine  *m = mon->machine;
    Dumping  *d = monitors_dumping(mon->all);
    int       fd;
    if (!check_dump(d, a, err) || (fd = open_target(mon, a->protocol, err)) < 0) {
        return false;
    }
    bool        raw     = a->format >= FORMAT_RAW;
    DumpOptions options = { .fd        = fd,
                            .format    = (DumpFormat)(raw ? a->format - FORMAT_RAW + DUMP_KDUMP_ZLIB : a->format),
                            .raw       = raw,
                            .paging    = a->paging,
                            .has_range = a->has_begin,
                            .begin     = a->begin,
                            .length    = a->length };
    d->was_running      = m->state == RUN_STATE_RUNNING;
    if (d->was_running) {
        machine_pause(m, RUN_STATE_PAUSED);
    }
    error_clear(&d->error);
    d->dump = dump_new(m, &options, err);
    if (!d->dump) {
        if (d->was_running) {
            machine_resume(m);
        }
        return false;
    }
    d->status       = STATUS_ACTIVE;
    m->being_dumped = true;
    if (a->detach) {
        d->thread = g_thread_new("dump", write_in_thread, d);
        return true;
    }
    d->failed = !dump_write(d->dump, &d->error);
    finish(d);
    return !d->failed || error_set(err, "%s", d->error.text);
}

static const Field dump_info[] = { QMP_ENUM("status", status_names), QMP_INT("completed"), QMP_INT("total"), {} };
static const Field dump_result = QMP_OBJECT("", dump_info);

static bool query_dump(Monitor *mon, void *args, Json **result, Error *err)
{
    *result = describe(monitors_dumping(mon->all));
    return true;
}

static const Field format_element    = QMP_ENUM("", format_names);
static const Field capability_info[] = { QMP_LIST_OF("formats", &format_element), {} };
static const Field capability_result = QMP_OBJECT("", capability_info);

static bool query_dump_guest_memory_capability(Monitor *mon, void *args, Json **result, Error *err)
{
    *result    = json_new_object();
    Json *list = json_add(*result, "formats", json_new_list());
    for (size_t i = 0; i < FORMAT_WINDOWS; i++) {
        json_append(list, json_new_string(format_names[i]));
    }
    return true;
}

MONITOR_COMMANDS(dump) = {
    { .name      = "memsave",
      .args      = memsave_args,
      .args_size = sizeof(SaveArgs),
      .help      = "writes memory to a file",
      .run       = memsave },
    { .name      = "pmemsave",
      .args      = pmemsave_args,
      .args_size = sizeof(SaveArgs),
      .help      = "writes physical memory to a file",
      .run       = pmemsave },
    { .name      = "dump-guest-memory",
      .args      = dump_args,
      .args_size = sizeof(DumpArgs),
      .help      = "writes all memory and registers to a file for a debugger",
      .run       = dump_guest_memory },
    { .name = "query-dump", .result = &dump_result, .help = "how far the dump is", .run = query_dump },
    { .name   = "query-dump-guest-memory-capability",
      .result = &capability_result,
      .help   = "formats of dumps",
      .run    = query_dump_guest_memory_capability },
    {},
};

static const Field completed_data[] = { QMP_OBJECT("result", dump_info), QMP_MAYBE_STRING("error"), {} };

MONITOR_EVENTS(dump) = {
    { .name = "DUMP_COMPLETED", .data = completed_data },
    {},
};
