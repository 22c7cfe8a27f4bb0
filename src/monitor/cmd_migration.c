/* Capabilities of migration, which management asks for and sets before it does anything else. There is no migration
 * yet: "events" can be on, and then has nothing to tell; the others are refused. Main loop, machine lock held. */

#include "monitor/command.h"

#include <string.h>

/* QEMU 9.1's names, for the schema. */
static const char *const capability_names[]  = { "xbzrle",
                                                 "rdma-pin-all",
                                                 "auto-converge",
                                                 "zero-blocks",
                                                 "events",
                                                 "postcopy-ram",
                                                 "x-colo",
                                                 "release-ram",
                                                 "return-path",
                                                 "pause-before-switchover",
                                                 "multifd",
                                                 "dirty-bitmaps",
                                                 "postcopy-blocktime",
                                                 "late-block-activate",
                                                 "x-ignore-shared",
                                                 "validate-uuid",
                                                 "background-snapshot",
                                                 "zero-copy-send",
                                                 "postcopy-preempt",
                                                 "switchover-ack",
                                                 "dirty-limit",
                                                 "mapped-ram",
                                                 NULL };
static const Field       capability_info[]   = { QMP_ENUM("capability", capability_names), QMP_BOOL("state"), {} };
static const Field       capabilities_result = QMP_LIST("", capability_info);

static bool query_migrate_capabilities(Monitor *mon, void *args, Json **result, Error *err)
{
    Json *events = json_new_object();
    json_add(events, "capability", json_new_string("events"));
    json_add(events, "state", json_new_bool(mon->machine->migration_events));
    *result = json_new_list();
    json_append(*result, events);
    return true;
}

typedef struct Capability {
    int  name;
    bool state;
} Capability;

typedef struct CapabilitiesArgs {
    GPtrArray *list; /* Capability * */
} CapabilitiesArgs;

static const Field capability_args[] = {
    FIELD(Capability, name, "capability", .names = capability_names, .required = true, .help = "which one"),
    FIELD(Capability, state, "state", .required = true, .help = "on or off"),
    {},
};
static const Field set_args[] = {
    FIELD(CapabilitiesArgs, list, "capabilities", .sub = capability_args, .element_size = sizeof(Capability),
          .required = true, .help = "those that change"),
    {},
};

static bool migrate_set_capabilities(Monitor *mon, void *args, Json **result, Error *err)
{
    const CapabilitiesArgs *a      = args;
    bool                    events = mon->machine->migration_events;
    for (guint i = 0; i < a->list->len; i++) {
        const Capability *c = a->list->pdata[i];
        if (!strcmp(capability_names[c->name], "events")) {
            events = c->state;
        } else if (c->state) {
            return error_set_unsupported(err, "migration capability '%s'", capability_names[c->name]);
        }
    }
    mon->machine->migration_events = events;
    return true;
}

MONITOR_COMMANDS(migration) = {
    { .name   = "query-migrate-capabilities",
      .result = &capabilities_result,
      .help   = "what migration can do",
      .run    = query_migrate_capabilities },
    { .name      = "migrate-set-capabilities",
      .args      = set_args,
      .args_size = sizeof(CapabilitiesArgs),
      .help      = "what migration is to do",
      .run       = migrate_set_capabilities },
    {},
};
