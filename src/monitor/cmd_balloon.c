/* The balloon: QMP's balloon, query-balloon and BALLOON_CHANGE, HMP's balloon and "info balloon". */

#include "devices/virtio/balloon.h"
#include "monitor/command.h"
#include "monitor/hmp_command.h"

#include <inttypes.h>

static VirtioBalloon *find_balloon(Machine *m, Error *err)
{
    VirtioBalloon *b = m->platform.balloon;
    if (!b) {
        error_set_class(err, ERROR_DEVICE_NOT_ACTIVE, "No balloon device has been activated");
    }
    return b;
}

/* --- QMP --- */

typedef struct BalloonArgs {
    int64_t value;
} BalloonArgs;

static const Field balloon_args[] = {
    FIELD(BalloonArgs, value, "value", .required = true, .help = "bytes that the guest is to leave itself"),
    {},
};

static bool balloon(Monitor *mon, void *args, Json **result, Error *err)
{
    VirtioBalloon *b     = find_balloon(mon->machine, err);
    int64_t        value = ((BalloonArgs *)args)->value;
    if (!b) {
        return false;
    }
    if (value <= 0) {
        return error_set(err, "argument 'value': a size of more than 0 bytes is needed");
    }
    virtio_balloon_set_target(b, (uint64_t)value);
    return true;
}

static const Field balloon_info[]      = { QMP_INT("actual"), {} };
static const Field balloon_info_result = QMP_OBJECT("", balloon_info);

static bool query_balloon(Monitor *mon, void *args, Json **result, Error *err)
{
    const VirtioBalloon *b = find_balloon(mon->machine, err);
    if (!b) {
        return false;
    }
    *result = json_new_object();
    json_set(*result, "actual", json_new_uint(virtio_balloon_actual(b)));
    return true;
}

MONITOR_COMMANDS(balloon) = {
    { .name      = "balloon",
      .args      = balloon_args,
      .args_size = sizeof(BalloonArgs),
      .help      = "asks the guest for memory",
      .run       = balloon },
    { .name   = "query-balloon",
      .result = &balloon_info_result,
      .help   = "how much memory the balloon leaves the guest",
      .run    = query_balloon },
    {},
};

MONITOR_EVENTS(balloon) = {
    { .name = "BALLOON_CHANGE", .data = balloon_info, .limited = true },
    {},
};

/* --- HMP --- */

static bool cmd_balloon(Hmp *h, Error *err)
{
    Json *args = json_new_object();
    json_set(args, "value", json_new_int(hmp_number(h, "value")));
    return hmp_do(h, "balloon", args, err);
}

static bool info_balloon(Hmp *h, Error *err)
{
    const VirtioBalloon *b = find_balloon(h->machine, err);
    if (b) {
        hmp_print(h, "balloon: actual=%" PRIu64 "\n", virtio_balloon_actual(b) >> 20);
    }
    return b != NULL;
}

HMP_COMMANDS(balloon) = {
    { .name   = "balloon",
      .params = "target",
      .help   = "asks the guest to leave itself no more than that many MiB",
      .args   = { { "value", HMP_SIZE } },
      .run    = cmd_balloon },
    {},
};

HMP_INFO(balloon) = {
    { .name = "balloon", .help = "how much memory the balloon leaves the guest", .run = info_balloon },
    {},
};
