/* Audio devices and their settings.
 *
 * Specification: QEMU 9.1 invocation manual, "-audiodev"; QMP reference, "Audiodev". */

#include "audio/audio.h"

#include "base/text.h"
#include "object/object.h"

#include <string.h>

static const char *const format_names[] = { "u8", "s8", "u16", "s16", "u32", "s32", "f32", NULL };

enum { FORMAT_S16 = 3 };

/* One direction: what the host's side runs at. Times are in microseconds. */
typedef struct AudioStream {
    bool     mixing_engine, fixed_settings, has_fixed_settings;
    uint32_t frequency, channels, voices, buffer_length;
    int      format;
    bool     has_frequency, has_channels, has_format, has_voices, has_buffer_length;
} AudioStream;

typedef struct Audiodev {
    char       *id;
    uint32_t    timer_period;
    bool        has_timer_period;
    AudioStream in, out;
} Audiodev;

struct AudioHub {
    GPtrArray *devs; /* Audiodev * */
};

#define HAS(member) .has_offset = 1 + offsetof(AudioStream, has_##member)

static const Field stream_options[] = {
    FIELD(AudioStream, mixing_engine, "mixing-engine", .initial = true, .help = "sounds are mixed and converted here"),
    FIELD(AudioStream, fixed_settings, "fixed-settings", .initial = true, HAS(fixed_settings),
          .help = "the host's side runs at the settings below, whatever the guest chooses"),
    FIELD(AudioStream, frequency, "frequency", .initial = 44100, .min = 1, .max = 1000000, HAS(frequency),
          .help = "samples a second"),
    FIELD(AudioStream, channels, "channels", .initial = 2, .min = 1, .max = 16, HAS(channels), .help = "2: stereo"),
    FIELD(AudioStream, voices, "voices", .initial = 1, .min = 1, .max = 1024, HAS(voices),
          .help = "sounds at the same time"),
    FIELD(AudioStream, format, "format", .names = format_names, .initial = FORMAT_S16, HAS(format),
          .help = "of a sample"),
    FIELD(AudioStream, buffer_length, "buffer-length", .initial = 10000, .min = 1, .max = 10000000, HAS(buffer_length),
          .help = "microseconds of sound in the buffer"),
    {},
};

const Field audiodev_options[] = {
    FIELD(Audiodev, id, "id", .required = true, .help = "name for the sound cards to refer to"),
    FIELD(Audiodev, timer_period, "timer-period", .initial = 10000, .min = 1, .max = 10000000,
          .has_offset = 1 + offsetof(Audiodev, has_timer_period), .help = "microseconds between two looks at it"),
    FIELD(Audiodev, in, "in", .sub = stream_options, .help = "recording"),
    FIELD(Audiodev, out, "out", .sub = stream_options, .help = "playback"),
    {},
};

static const struct {
    const char *name, *help;
    bool        missing;
} drivers[] = {
    { "none", "drops what is played, records silence", false },
    { "alsa", NULL, true },
    { "dbus", NULL, true },
    { "jack", NULL, true },
    { "oss", NULL, true },
    { "pa", NULL, true },
    { "pipewire", NULL, true },
    { "sdl", NULL, true },
    { "sndio", NULL, true },
    { "spice", NULL, true },
    { "wav", NULL, true },
};

static bool check_driver(const char *name, Error *err)
{
    NameMatch match = { .word = name };
    for (size_t i = 0; i < G_N_ELEMENTS(drivers); i++) {
        if (!strcmp(drivers[i].name, name)) {
            return !drivers[i].missing || error_set_unsupported(err, "audio driver '%s'", name);
        }
        text_match_name(&match, drivers[i].name);
    }
    char hint[128];
    return error_set(err, "no audio driver '%s'%s", name, text_did_you_mean(&match, hint));
}

/* Settings that say nothing together. */
static bool check_stream(const AudioStream *s, const char *name, Error *err)
{
    if (!s->mixing_engine && s->has_fixed_settings && s->fixed_settings) {
        return error_set(err, "%s.fixed-settings=on needs %s.mixing-engine=on", name, name);
    }
    if (!s->fixed_settings && (s->has_frequency || s->has_channels || s->has_format)) {
        return error_set(err, "%s.frequency, %s.channels and %s.format need %s.fixed-settings=on", name, name, name,
                         name);
    }
    return true;
}

static void free_dev(gpointer opaque)
{
    fields_clear(audiodev_options, opaque);
    g_free(opaque);
}

AudioHub *audio_hub_new(void)
{
    AudioHub *hub = g_new0(AudioHub, 1);
    hub->devs     = g_ptr_array_new_with_free_func(free_dev);
    return hub;
}

void audio_hub_free(AudioHub *hub)
{
    g_ptr_array_unref(hub->devs);
    g_free(hub);
}

static bool check_id(const AudioHub *hub, const char *id, Error *err)
{
    for (guint i = 0; i < hub->devs->len; i++) {
        const Audiodev *other = hub->devs->pdata[i];
        if (!strcmp(other->id, id)) {
            return error_set(err, "there is an audio device with id '%s' already", id);
        }
    }
    return object_check_id(id, err);
}

bool audio_create(AudioHub *hub, const Json *options, bool lenient, Error *err)
{
    static const char *const own[]  = { "driver", NULL };
    const char              *driver = json_get_string(options, "driver");
    if (!driver) {
        return error_set(err, json_get(options, "driver")
                                  ? "property 'driver' takes a string"
                                  : "property 'driver' is missing ('-audiodev help' lists them)");
    }
    if (!check_driver(driver, err)) {
        return false;
    }
    Audiodev *dev = g_new0(Audiodev, 1);
    fields_init(audiodev_options, dev);
    if (!fields_parse(audiodev_options, dev, options, lenient, own, err) || !check_id(hub, dev->id, err) ||
        !check_stream(&dev->in, "in", err) || !check_stream(&dev->out, "out", err)) {
        free_dev(dev);
        return false;
    }
    g_ptr_array_add(hub->devs, dev);
    return true;
}

Json *audio_describe(const AudioHub *hub)
{
    Json *list = json_new_list();
    for (guint i = 0; i < hub->devs->len; i++) {
        Json *j = fields_print(audiodev_options, hub->devs->pdata[i]);
        json_add(j, "driver", json_new_string("none"));
        json_append(list, j);
    }
    return list;
}

void audio_print_help(GString *out)
{
    g_string_append(out, "Available audio drivers:\n");
    for (size_t i = 0; i < G_N_ELEMENTS(drivers); i++) {
        if (!drivers[i].missing) {
            g_string_append_printf(out, "%s\n", drivers[i].name);
        }
    }
}
