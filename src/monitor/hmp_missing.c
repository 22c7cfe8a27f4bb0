/* HMP: commands that QEMU 9.1 has and Quern has not yet, each with what it waits for. A wrong name is told from one
 * that is still to come. */

#include "monitor/hmp_command.h"

#include <string.h>

typedef struct Missing {
    const char *why;
    const char *names; /* separated by blanks */
} Missing;

static const Missing commands[] = {
    { "block devices",
      "block_job_cancel block_job_complete block_job_pause block_job_resume block_job_set_speed block_resize "
      "block_set_io_throttle block_stream commit drive_add drive_backup drive_del drive_mirror "
      "nbd_server_add nbd_server_remove nbd_server_start nbd_server_stop qemu-io snapshot_blkdev "
      "snapshot_blkdev_internal snapshot_delete_blkdev_internal" },
    { "snapshots", "savevm loadvm delvm" },
    { "migration",
      "migrate migrate_cancel migrate_continue migrate_incoming migrate_pause migrate_recover migrate_set_capability "
      "migrate_set_parameter migrate_start_postcopy client_migrate_info announce_self x_colo_lost_heartbeat "
      "calc_dirty_rate set_vcpu_dirty_limit cancel_vcpu_dirty_limit" },
    { "network cards", "hostfwd_add hostfwd_remove netdev_add netdev_del set_link" },
    { "displays", "screendump set_password expire_password" },
    { "audio", "wavcapture stopcapture" },
    { "record and replay", "replay_break replay_delete_break replay_seek" },
    { "PCI Express error reporting", "pcie_aer_inject_error" },
    { "device trees", "dumpdtb" },
    { "Xen", "xen-event-inject xen-event-list" },
};

static const Missing infos[] = {
    { "migration", "migrate_capabilities migrate_parameters dirty_rate" },
    { "rocker switches", "rocker rocker-of-dpa-flows rocker-of-dpa-groups rocker-ports" },
};

static void for_each(bool info, void (*visit)(const char *name, const char *why, void *opaque), void *opaque)
{
    const Missing *table = info ? infos : commands;
    size_t         n     = info ? G_N_ELEMENTS(infos) : G_N_ELEMENTS(commands);
    for (size_t i = 0; i < n; i++) {
        g_auto(GStrv) names = g_strsplit(table[i].names, " ", -1);
        for (char **name = names; *name; name++) {
            visit(*name, table[i].why, opaque);
        }
    }
}

typedef struct Search {
    const char *name, *why;
} Search;

static void compare(const char *name, const char *why, void *opaque)
{
    Search *s = opaque;
    if (strcmp(name, s->name) == 0) {
        s->why = why;
    }
}

const char *hmp_missing(bool info, const char *name)
{
    Search s = { .name = name };
    for_each(info, compare, &s);
    return s.why;
}

typedef struct Visit {
    void (*visit)(const char *name, void *opaque);
    void *opaque;
} Visit;

static void pass_on(const char *name, const char *why, void *opaque)
{
    const Visit *v = opaque;
    v->visit(name, v->opaque);
}

void hmp_missing_foreach(bool info, void (*visit)(const char *name, void *opaque), void *opaque)
{
    Visit v = { .visit = visit, .opaque = opaque };
    for_each(info, pass_on, &v);
}
