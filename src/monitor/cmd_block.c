/* QMP and HMP about drives and the nodes of the block layer. Members and events are those of QEMU 9.1. */

#include "monitor/command.h"
#include "monitor/hmp_command.h"

#include <string.h>

/* --- what is shown of images, nodes and drives --- */

static const char *const detect_names[]    = { "off", "on", "unmap", NULL };
static const char *const io_status_names[] = { "ok", "failed", "nospace", NULL };

static const Field qcow2_info[]    = { QMP_STRING("compat"),          QMP_STRING("compression-type"),
                                       QMP_INT("refcount-bits"),      QMP_MAYBE_BOOL("lazy-refcounts"),
                                       QMP_MAYBE_BOOL("corrupt"),     QMP_MAYBE_BOOL("extended-l2"),
                                       QMP_MAYBE_STRING("data-file"), {} };
static const Field specific_info[] = { QMP_STRING("type"), QMP_OBJECT("data", qcow2_info), {} };

static const Field image_info[] = { QMP_STRING("filename"),
                                    QMP_STRING("format"),
                                    QMP_INT("virtual-size"),
                                    QMP_MAYBE_INT("actual-size"),
                                    QMP_MAYBE_BOOL("dirty-flag"),
                                    QMP_MAYBE_INT("cluster-size"),
                                    QMP_MAYBE_BOOL("encrypted"),
                                    QMP_MAYBE_STRING("backing-filename"),
                                    QMP_MAYBE_STRING("full-backing-filename"),
                                    QMP_MAYBE_STRING("backing-filename-format"),
                                    QMP_MAYBE_ANY("backing-image"), /* one like this */
                                    QMP_MAYBE_OBJECT("format-specific", specific_info),
                                    {} };
static const Field cache_info[] = { QMP_BOOL("writeback"), QMP_BOOL("direct"), QMP_BOOL("no-flush"), {} };
static const Field node_info[]  = { QMP_STRING("file"),
                                    QMP_MAYBE_STRING("node-name"),
                                    QMP_BOOL("ro"),
                                    QMP_STRING("drv"),
                                    QMP_MAYBE_STRING("backing_file"),
                                    QMP_INT("backing_file_depth"),
                                    QMP_BOOL("encrypted"),
                                    QMP_ENUM("detect_zeroes", detect_names),
                                    QMP_INT("bps"),
                                    QMP_INT("bps_rd"),
                                    QMP_INT("bps_wr"),
                                    QMP_INT("iops"),
                                    QMP_INT("iops_rd"),
                                    QMP_INT("iops_wr"),
                                    QMP_OBJECT("cache", cache_info),
                                    QMP_INT("write_threshold"),
                                    QMP_OBJECT("image", image_info),
                                    {} };
static const Field nodes_result = QMP_LIST("", node_info);

static const Field block_info[] = { QMP_STRING("device"),
                                    QMP_MAYBE_STRING("qdev"),
                                    QMP_STRING("type"),
                                    QMP_BOOL("removable"),
                                    QMP_BOOL("locked"),
                                    QMP_MAYBE_OBJECT("inserted", node_info),
                                    QMP_MAYBE_BOOL("tray_open"),
                                    QMP_MAYBE_ENUM("io-status", io_status_names),
                                    {} };
static const Field block_result = QMP_LIST("", block_info);

#define COUNTS(n)                                                                                                      \
    QMP_INT(n "_bytes"), QMP_INT(n "_operations"), QMP_INT(n "_total_time_ns"), QMP_INT(n "_merged"),                  \
        QMP_INT("failed_" n "_operations"), QMP_INT("invalid_" n "_operations")

static const Field stats_counts[] = { COUNTS("rd"),
                                      COUNTS("wr"),
                                      COUNTS("unmap"),
                                      COUNTS("zone_append"),
                                      QMP_INT("flush_operations"),
                                      QMP_INT("flush_total_time_ns"),
                                      QMP_INT("failed_flush_operations"),
                                      QMP_INT("wr_highest_offset"),
                                      QMP_BOOL("account_invalid"),
                                      QMP_BOOL("account_failed"),
                                      QMP_LIST_OF("timed_stats", &qmp_int),
                                      {} };
static const Field stats_info[]   = { QMP_MAYBE_STRING("device"),
                                      QMP_MAYBE_STRING("qdev"),
                                      QMP_MAYBE_STRING("node-name"),
                                      QMP_OBJECT("stats", stats_counts),
                                      {} };
static const Field stats_result   = QMP_LIST("", stats_info);

typedef struct BlockArgs {
    bool wanted;
} BlockArgs;

static const Field flat_args[] = { FIELD(BlockArgs, wanted, "flat", .help = "without what lies below"), {} };
static const Field node_args[] = { FIELD(BlockArgs, wanted, "query-nodes", .help = "of nodes, not of devices"), {} };

static bool query_block(Monitor *mon, void *args, Json **result, Error *err)
{
    *result = block_query_drives(mon->machine->block);
    return true;
}

static bool query_nodes(Monitor *mon, void *args, Json **result, Error *err)
{
    *result = block_query_nodes(mon->machine->block, ((BlockArgs *)args)->wanted);
    return true;
}

static bool query_stats(Monitor *mon, void *args, Json **result, Error *err)
{
    *result = block_query_stats(mon->machine->block, ((BlockArgs *)args)->wanted);
    return true;
}

/* --- nodes --- */

typedef struct NodeArgs {
    char *node_name;
} NodeArgs;

static const Field del_args[] = { FIELD(NodeArgs, node_name, "node-name", .required = true, .help = "name of the node"),
                                  {} };
static const Field add_args[] = { QMP_STRING("driver"), QMP_MAYBE_STRING("node-name"), {} };

static bool blockdev_add(Monitor *mon, void *args, Json **result, Error *err)
{
    return block_add_node(mon->machine->block, args, false, err) != NULL;
}

static bool blockdev_del(Monitor *mon, void *args, Json **result, Error *err)
{
    return block_remove_node(mon->machine->block, ((NodeArgs *)args)->node_name, err);
}

/* --- media --- */

static const char *const read_only_modes[] = { "retain", "read-only", "read-write", NULL };

typedef struct MediumArgs {
    char *device, *id, *node_name, *filename, *format;
    bool  force;
    int   read_only_mode;
} MediumArgs;

#define DEVICE_ARGS                                                                                                    \
    FIELD(MediumArgs, device, "device", .help = "id of the drive"),                                                    \
        FIELD(MediumArgs, id, "id", .help = "id or path of the device")

static const Field eject_args[]  = { DEVICE_ARGS,
                                     FIELD(MediumArgs, force, "force", .help = "also when the guest has locked it"),
                                     {} };
static const Field device_args[] = { DEVICE_ARGS, {} };
static const Field id_args[]     = { FIELD(MediumArgs, id, "id", .required = true, .help = "id or path of the device"),
                                     {} };
static const Field insert_args[] = { FIELD(MediumArgs, id, "id", .required = true, .help = "id or path of the device"),
                                     FIELD(MediumArgs, node_name, "node-name", .required = true,
                                           .help = "node to put in"),
                                     {} };
static const Field change_args[] = {
    DEVICE_ARGS,
    FIELD(MediumArgs, filename, "filename", .required = true, .help = "path of the image"),
    FIELD(MediumArgs, format, "format", .help = "its format; guessed when not given"),
    FIELD(MediumArgs, force, "force", .help = "also when the guest has locked the tray"),
    FIELD(MediumArgs, read_only_mode, "read-only-mode", .names = read_only_modes, .help = "may it be written"),
    {}
};

static BlockUser *find_removable(Monitor *mon, const MediumArgs *a, Error *err)
{
    if (!a->device == !a->id) {
        error_set(err, "give one of 'device' and 'id'");
        return NULL;
    }
    return block_find_removable(mon->machine->block, a->id ? a->id : a->device, err);
}

static bool eject(Monitor *mon, void *args, Json **result, Error *err)
{
    const MediumArgs *a = args;
    BlockUser        *u = find_removable(mon, a, err);
    return u && block_eject(u, a->force, err);
}

static bool open_tray(Monitor *mon, void *args, Json **result, Error *err)
{
    const MediumArgs *a   = args;
    BlockUser        *u   = find_removable(mon, a, err);
    g_auto(Error) ignored = {}; /* that the guest has been asked is no failure */
    return u && (block_open_tray(u, a->force, &ignored) || true);
}

static bool close_tray(Monitor *mon, void *args, Json **result, Error *err)
{
    BlockUser *u = find_removable(mon, args, err);
    if (u) {
        block_close_tray(u);
    }
    return u != NULL;
}

static bool remove_medium(Monitor *mon, void *args, Json **result, Error *err)
{
    BlockUser *u = find_removable(mon, args, err);
    return u && block_remove_medium(u, err);
}

static bool insert_medium(Monitor *mon, void *args, Json **result, Error *err)
{
    const MediumArgs *a = args;
    BlockUser        *u = find_removable(mon, a, err);
    BlockNode        *n = block_find_node(mon->machine->block, a->node_name);
    return u && (n ? block_insert_medium(u, n, err) : error_set(err, "there is no node '%s'", a->node_name));
}

static bool change_medium(Monitor *mon, void *args, Json **result, Error *err)
{
    const MediumArgs *a = args;
    BlockUser        *u = find_removable(mon, a, err);
    if (u && a->read_only_mode == 2) {
        return error_set(err, "read-only-mode=read-write: %s cannot write", u->name);
    }
    return u && block_change_medium(u, a->filename, a->format, a->force, err);
}

MONITOR_COMMANDS(block) = {
    { .name      = "eject",
      .args      = eject_args,
      .args_size = sizeof(MediumArgs),
      .help      = "opens a drive and takes the medium out",
      .run       = eject },
    { .name      = "blockdev-open-tray",
      .args      = eject_args,
      .args_size = sizeof(MediumArgs),
      .help      = "opens a drive's tray, or asks the guest to if it has locked it",
      .run       = open_tray },
    { .name      = "blockdev-close-tray",
      .args      = device_args,
      .args_size = sizeof(MediumArgs),
      .help      = "closes a drive's tray",
      .run       = close_tray },
    { .name      = "blockdev-remove-medium",
      .args      = id_args,
      .args_size = sizeof(MediumArgs),
      .help      = "takes the medium out of an open drive",
      .run       = remove_medium },
    { .name      = "blockdev-insert-medium",
      .args      = insert_args,
      .args_size = sizeof(MediumArgs),
      .help      = "puts a node into an open drive",
      .run       = insert_medium },
    { .name      = "blockdev-change-medium",
      .args      = change_args,
      .args_size = sizeof(MediumArgs),
      .help      = "changes a drive's medium",
      .run       = change_medium },
    { .name   = "query-block",
      .result = &block_result,
      .flags  = COMMAND_PRECONFIG,
      .help   = "drives, and devices that have a node of the block layer",
      .run    = query_block },
    { .name      = "query-named-block-nodes",
      .args      = flat_args,
      .args_size = sizeof(BlockArgs),
      .result    = &nodes_result,
      .flags     = COMMAND_PRECONFIG,
      .help      = "nodes of the block layer",
      .run       = query_nodes },
    { .name      = "query-blockstats",
      .args      = node_args,
      .args_size = sizeof(BlockArgs),
      .result    = &stats_result,
      .flags     = COMMAND_PRECONFIG,
      .help      = "what drives have read and written",
      .run       = query_stats },
    { .name  = "blockdev-add",
      .args  = add_args,
      .flags = COMMAND_PRECONFIG | COMMAND_FREE_ARGUMENTS,
      .help  = "makes a node of the block layer, as -blockdev does",
      .run   = blockdev_add },
    { .name      = "blockdev-del",
      .args      = del_args,
      .args_size = sizeof(NodeArgs),
      .flags     = COMMAND_PRECONFIG,
      .help      = "takes such a node away",
      .run       = blockdev_del },
    {},
};

static const char *const operations[] = { "read", "write", NULL };
static const char *const actions[]    = { "ignore", "report", "stop", NULL };

static const Field error_data[] = { QMP_STRING("qom-path"),        QMP_STRING("device"),
                                    QMP_MAYBE_STRING("node-name"), QMP_ENUM("operation", operations),
                                    QMP_ENUM("action", actions),   QMP_MAYBE_BOOL("nospace"),
                                    QMP_STRING("reason"),          {} };

static const Field tray_data[] = { QMP_STRING("device"), QMP_STRING("id"), QMP_BOOL("tray-open"), {} };

MONITOR_EVENTS(block) = {
    { .name = "DEVICE_TRAY_MOVED", .data = tray_data },
    { .name = "BLOCK_IO_ERROR", .data = error_data },
    {},
};

/* --- HMP --- */

static const char *cache_mode(const Json *cache)
{
    const Json *writeback = json_get(cache, "writeback"), *direct = json_get(cache, "direct");
    if (json_get(cache, "no-flush")->boolean) {
        return writeback->boolean ? direct->boolean ? "writeback, direct, ignore flushes" : "writeback, ignore flushes"
                                  : "writethrough, ignore flushes";
    }
    return writeback->boolean ? direct->boolean ? "writeback, direct" : "writeback"
           : direct->boolean  ? "writethrough, direct"
                              : "writethrough";
}

static void print_inserted(GString *out, const Json *node)
{
    const char *backing = json_get_string(node, "backing_file");
    g_string_append_printf(out, ": %s (%s%s)\n", json_get_string(node, "file"), json_get_string(node, "drv"),
                           json_get(node, "ro")->boolean ? ", read-only" : "");
    if (backing) {
        g_string_append_printf(out, "    Backing file:     %s (chain depth: %d)\n", backing,
                               (int)json_get(node, "backing_file_depth")->integer);
    }
}

static void print_drive(GString *out, const Json *drive)
{
    const char *device = json_get_string(drive, "device"), *qdev = json_get_string(drive, "qdev");
    const Json *node = json_get(drive, "inserted"), *tray = json_get(drive, "tray_open");
    g_string_append(out, *device ? device : qdev ? qdev : "");
    if (node) {
        g_string_append_printf(out, " (%s)", json_get_string(node, "node-name"));
        print_inserted(out, node);
    } else {
        g_string_append(out, ": [not inserted]\n");
    }
    if (qdev) {
        g_string_append_printf(out, "    Attached to:      %s\n", qdev);
    }
    if (json_get(drive, "removable")->boolean) {
        g_string_append_printf(out, "    Removable device: %slocked, tray %s\n",
                               json_get(drive, "locked")->boolean ? "" : "not ",
                               tray && tray->boolean ? "open" : "closed");
    }
    if (node) {
        g_string_append_printf(out, "    Cache mode:       %s\n", cache_mode(json_get(node, "cache")));
    }
}

static bool info_block(Hmp *h, Error *err)
{
    const char *name  = hmp_text(h, "device");
    bool        nodes = hmp_given(h, "nodes"), found = false;
    g_autoptr(Json) list = nodes ? block_query_nodes(h->machine->block, false) : block_query_drives(h->machine->block);
    for (size_t i = 0; i < list->n; i++) {
        const Json *j    = list->items[i];
        const char *id   = json_get_string(j, nodes ? "node-name" : "device");
        const char *node = nodes ? id : json_get_string(json_get(j, "inserted"), "node-name");
        if (name && strcmp(id, name) != 0 && (!node || strcmp(node, name) != 0)) {
            continue;
        }
        g_string_append(h->out, found ? "\n" : "");
        found = true;
        if (nodes) {
            g_string_append(h->out, id);
            print_inserted(h->out, j);
            g_string_append_printf(h->out, "    Cache mode:       %s\n", cache_mode(json_get(j, "cache")));
        } else {
            print_drive(h->out, j);
        }
        if (hmp_given(h, "verbose")) {
            const Json      *image = json_get(nodes ? j : json_get(j, "inserted"), "image");
            g_autofree char *text  = image ? json_print(image, true) : NULL;
            g_string_append_printf(h->out, "%s%s", text ? text : "", text ? "\n" : "");
        }
    }
    return !name || found || error_set(err, "there is no drive and no node '%s'", name);
}

static bool info_blockstats(Hmp *h, Error *err)
{
    static const char *const counts[] = { "rd_bytes",         "wr_bytes",           "rd_operations",
                                          "wr_operations",    "flush_operations",   "wr_total_time_ns",
                                          "rd_total_time_ns", "flush_total_time_ns" };
    g_autoptr(Json) list              = block_query_stats(h->machine->block, false);
    for (size_t i = 0; i < list->n; i++) {
        const Json *j = list->items[i], *stats = json_get(j, "stats");
        const char *id = json_get_string(j, "device");
        g_string_append_printf(h->out, "%s:", *id ? id : json_get_string(j, "node-name"));
        for (size_t k = 0; k < G_N_ELEMENTS(counts); k++) {
            g_string_append_printf(h->out, " %s=%" G_GINT64_FORMAT, counts[k], json_get(stats, counts[k])->integer);
        }
        g_string_append_c(h->out, '\n');
    }
    return true;
}

static bool cmd_eject(Hmp *h, Error *err)
{
    BlockUser *u = block_find_removable(h->machine->block, hmp_text(h, "device"), err);
    return u && block_eject(u, hmp_given(h, "force"), err);
}

static bool cmd_change(Hmp *h, Error *err)
{
    BlockUser  *u    = block_find_removable(h->machine->block, hmp_text(h, "device"), err);
    const char *mode = hmp_text(h, "read-only-mode");
    if (u && mode && strcmp(mode, "retain") != 0 && strcmp(mode, "read-only") != 0) {
        return error_set(err, "%s: %s", mode,
                         strcmp(mode, "read-write") ? "the modes are retain, read-only and read-write"
                                                    : "this drive cannot write");
    }
    return u && block_change_medium(u, hmp_text(h, "filename"), hmp_text(h, "format"), hmp_given(h, "force"), err);
}

HMP_COMMANDS(block) = {
    { .name   = "eject",
      .params = "[-f] device",
      .help   = "opens a drive and takes the medium out (-f: also when the guest has locked it)",
      .run    = cmd_eject,
      .args   = { { "force", HMP_FLAG, .letter = 'f' }, { "device", HMP_STRING } } },
    { .name   = "change",
      .params = "[-f] device filename [format [read-only-mode]]",
      .help   = "changes a drive's medium (-f: also when the guest has locked it)",
      .run    = cmd_change,
      .args   = { { "force", HMP_FLAG, .letter = 'f' },
                  { "device", HMP_STRING },
                  { "filename", HMP_STRING },
                  { "format", HMP_STRING, .optional = true },
                  { "read-only-mode", HMP_STRING, .optional = true } } },
    {},
};

HMP_INFO(block) = {
    { .name   = "block",
      .params = "[-n] [-v] [device]",
      .help   = "drives, or with -n nodes of the block layer",
      .run    = info_block,
      .args   = { { "nodes", HMP_FLAG, .letter = 'n' },
                  { "verbose", HMP_FLAG, .letter = 'v' },
                  { "device", HMP_STRING, .optional = true } } },
    { .name = "blockstats", .help = "what drives have read and written", .run = info_blockstats },
    {},
};
