/* Bytes that a QMP client might send, to a machine with a vCPU and some character devices. What comes back is JSON, an
 * object a message. The first byte says in pieces of what size they come.
 *
 * While an input runs no descriptor can be opened, so that no command leaves anything behind. */

#include "fuzz.h"

#include "base/json_stream.h"
#include "machine/machine.h"
#include "machine/runstate.h"
#include "monitor/monitor.h"

#include <string.h>
#include <sys/resource.h>

enum { RING_BYTES = 16 << 20, PIECE_MAX = 512, STEPS = 8 };

static Chardev *make_chardev(Machine *m, const char *text)
{
    g_auto(Error) err       = { 0 };
    g_autoptr(Json) options = json_parse(text, strlen(text), &err);
    Chardev *chr            = char_create(m->chars, options, false, &err);
    g_assert(chr);
    return chr;
}

static Machine *make_machine(Log *log)
{
    g_auto(Error) err     = { 0 };
    const char *qtest     = "{\"accel\": \"qtest\"}";
    g_autoptr(Json) accel = json_parse(qtest, strlen(qtest), &err);
    Machine *m            = machine_new(machine_type_find("none", &err), NULL, false, log, &err);
    g_assert(m);
    AccelHost host        = run_state_accel_host(m);
    m->config.ram_size    = 1 << 20;
    m->config.cpu_model   = g_strdup("qemu64");
    m->config.no_defaults = true;
    m->config.smp =
        (SmpConfig){ .cpus = 1, .max_cpus = 1, .sockets = 1, .dies = 1, .modules = 1, .cores = 1, .threads = 1 };
    m->accel = accel_new(accel, false, m->platform.lock, m->platform.clocks, &host, &err);
    g_assert(m->accel && machine_build(m, &err) && machine_finish(m, &err));
    machine_reset(m, RESET_COLD);
    return m;
}

/* Every message is an object on a line of its own. */
static void check_output(Chardev *chr, JsonStream *stream)
{
    g_autoptr(GByteArray) data = g_byte_array_new();
    char_ringbuf_take(chr, RING_BYTES, data);
    for (size_t done = 0, used; done < data->len; done += used) {
        g_auto(Error) err       = { 0 };
        JsonStreamResult result = json_stream_feed(stream, data->data + done, data->len - done, &used, &err);
        g_assert(result != JSON_STREAM_ERROR);
        if (result == JSON_STREAM_VALUE) {
            size_t      len;
            const char *text        = json_stream_text(stream, &len);
            g_autoptr(Json) message = json_parse(text, len, &err);
            g_assert(message && message->kind == JSON_OBJECT);
        }
    }
}

static void feed(Machine *m, Chardev *chr, JsonStream *stream, const void *data, size_t size, size_t piece)
{
    for (size_t done = 0; done < size && !m->exit_requested;) {
        size_t n = MIN(MIN(size - done, piece), char_can_read(chr));
        if (!n) {
            return;
        }
        char_push(chr, (const uint8_t *)data + done, n);
        check_output(chr, stream);
        done += n;
    }
}

static rlim_t limit_files(rlim_t limit)
{
    struct rlimit r;
    getrlimit(RLIMIT_NOFILE, &r);
    rlim_t before = r.rlim_cur;
    r.rlim_cur    = limit;
    setrlimit(RLIMIT_NOFILE, &r);
    return before;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const CompatPolicy policy;
    static const char         hello[] = "{\"execute\": \"qmp_capabilities\", \"arguments\": {\"enable\": [\"oob\"]}}";
    MonitorOptions            options = { .mode = MONITOR_CONTROL };
    g_auto(Error) err                 = { 0 };
    Log      log                      = { .file = fopen("/dev/null", "w") };
    Machine *m                        = make_machine(&log);
    Chardev *chr = make_chardev(m, "{\"backend\": \"ringbuf\", \"id\": \"m\", \"size\": 16777216}");
    make_chardev(m, "{\"backend\": \"ringbuf\", \"id\": \"r\", \"size\": 64}");
    make_chardev(m, "{\"backend\": \"null\", \"id\": \"x\", \"mux\": true}");
    char_hub_forbid_stdio(m->chars, "a fuzzer has no use for it");
    Monitors *monitors = monitors_new(m, &policy);
    g_assert(monitors_add(monitors, chr, &options, &err));
    JsonStream *stream = json_stream_new(RING_BYTES);
    monitors_start(monitors);

    rlim_t before = limit_files(3);
    feed(m, chr, stream, hello, sizeof hello - 1, sizeof hello);
    if (size) {
        feed(m, chr, stream, data + 1, size - 1, 1 + data[0] * 2);
        for (unsigned i = 0; i < STEPS; i++) {
            loop_step(m->platform.loop, false);
        }
        check_output(chr, stream);
    }
    limit_files(before);

    monitors_free(monitors);
    json_stream_free(stream);
    machine_free(m);
    fclose(log.file);
    return 0;
}
