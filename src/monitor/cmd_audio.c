/* query-audiodevs. Main loop, machine lock held. */

#include "audio/audio.h"
#include "monitor/command.h"

static const char *const driver_names[] = { "none", NULL };
static const char *const format_names[] = { "u8", "s8", "u16", "s16", "u32", "s32", "f32", NULL };

static const Field stream_info[] = { QMP_MAYBE_BOOL("mixing-engine"), QMP_MAYBE_BOOL("fixed-settings"),
                                     QMP_MAYBE_INT("frequency"),      QMP_MAYBE_INT("channels"),
                                     QMP_MAYBE_INT("voices"),         QMP_MAYBE_ENUM("format", format_names),
                                     QMP_MAYBE_INT("buffer-length"),  {} };
static const Field none_info[]   = { QMP_MAYBE_OBJECT("in", stream_info), QMP_MAYBE_OBJECT("out", stream_info), {} };
static const Field base_info[]   = {
      QMP_STRING("id"), QMP_ENUM("driver", driver_names), QMP_MAYBE_INT("timer-period"), {}
};
static const QmpVariant drivers[] = { { "none", none_info }, {} };
static const QmpUnion   audiodev  = {
       .custom = QMP_UNION_CUSTOM, .base = base_info, .tag = "driver", .variants = drivers
};
static const Field audiodev_element = {
    .name = "", .kind = FIELD_JSON, .size = sizeof(Json *), .count = 1, .custom = &audiodev.custom
};
static const Field audiodevs_result = QMP_LIST_OF("", &audiodev_element);

static bool query_audiodevs(Monitor *mon, void *args, Json **result, Error *err)
{
    *result = audio_describe(mon->machine->audio);
    return true;
}

MONITOR_COMMANDS(audio) = {
    { .name   = "query-audiodevs",
      .result = &audiodevs_result,
      .help   = "host ends of sound cards",
      .run    = query_audiodevs },
    {},
};
