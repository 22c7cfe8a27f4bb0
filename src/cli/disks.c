/* -blockdev, -drive, and what is short for -drive: -hda to -hdd, -cdrom. Main thread, machine lock held. */

#include "cli/disks.h"

#include <string.h>

CLI_KEYS(drive_options, "drive");

/* -hda and its like, by the place that they stand for. */
static const struct {
    const char *option, *index, *media;
} shorts[] = {
    { "hda", "0", "disk" }, { "hdb", "1", "disk" },    { "hdc", "2", "disk" },
    { "hdd", "3", "disk" }, { "cdrom", "2", "cdrom" },
};

static Json *short_drive(const char *option, const char *path)
{
    for (size_t i = 0; i < G_N_ELEMENTS(shorts); i++) {
        if (!strcmp(shorts[i].option, option)) {
            Json *j = json_new_object();
            json_add(j, "file", json_new_string(path));
            json_add(j, "index", json_new_string(shorts[i].index));
            json_add(j, "media", json_new_string(shorts[i].media));
            return j;
        }
    }
    return NULL;
}

static bool add_drives(const Cli *cli, BlockHub *hub, Error *err)
{
    bool snapshot = cli_has(cli, "snapshot");
    for (guint i = 0; i < cli->entries->len; i++) {
        const CliEntry *entry = cli->entries->pdata[i];
        const char     *name  = entry->option->name;
        g_autoptr(Json) json  = !strcmp(name, "drive") ? json_copy(entry->json)
                                : entry->text          ? short_drive(name, entry->text)
                                                       : NULL;
        if (json && snapshot && !json_get(json, "snapshot")) {
            json_set(json, "snapshot", json_new_string("on"));
        }
        if (json && !drive_add(hub, json, true, err)) {
            return cli_blame(entry, err);
        }
    }
    return true;
}

/* Nodes first: drives refer to them. */
bool disks_make(const Cli *cli, Machine *m, Error *err)
{
    for (size_t i = 0; cli_nth(cli, "blockdev", i); i++) {
        const CliEntry *entry = cli_nth(cli, "blockdev", i);
        if (!block_add_node(m->block, entry->json, true, err)) {
            return cli_blame(entry, err);
        }
    }
    return add_drives(cli, m->block, err);
}
