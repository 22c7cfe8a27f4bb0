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

MONITOR_COMMANDS(block) = {
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
