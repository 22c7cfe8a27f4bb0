/* -qtest: the device-test protocol between a chardev and a machine. Main loop; machine lock held. */

#include "debug/qtest.h"

#include "char/output.h"
#include "debug/qtest_protocol.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { INPUT_CHUNK = 65536, PINS_MAX = 256 };

struct QTest {
    Machine      *machine;
    CharFrontend  fe;
    CharOutput    out;
    QTestTarget   target;
    QTestProtocol protocol;
    FILE         *log; /* NULL: none */
    gint64        began;
    Device       *intercepted; /* one device at a time */
    bool          inputs;
    int           levels[PINS_MAX];
};

/* --- what the protocol acts on --- */

static uint64_t target_load(void *opaque, bool io, uint64_t addr, unsigned size)
{
    Platform *p = &((QTest *)opaque)->machine->platform;
    return address_space_load(io ? p->io_space : p->memory_space, addr, size);
}

static void target_store(void *opaque, bool io, uint64_t addr, uint64_t value, unsigned size)
{
    Platform *p = &((QTest *)opaque)->machine->platform;
    address_space_store(io ? p->io_space : p->memory_space, addr, value, size);
}

static void target_read(void *opaque, uint64_t addr, void *buf, size_t len)
{
    memset(buf, 0xff, len);
    address_space_read(((QTest *)opaque)->machine->platform.memory_space, addr, buf, len);
}

static void target_write(void *opaque, uint64_t addr, const void *buf, size_t len)
{
    address_space_write(((QTest *)opaque)->machine->platform.memory_space, addr, buf, len);
}

static bool check_clock(QTest *q, Error *err)
{
    return strcmp(q->machine->accel->obj.type->name, "qtest") == 0 ||
           error_set(err, "the clock runs by itself: -accel qtest gives it to the test");
}

static bool target_clock_step(void *opaque, int64_t ns, int64_t *now, Error *err)
{
    QTest  *q      = opaque;
    Clocks *clocks = q->machine->platform.clocks;
    if (!check_clock(q, err)) {
        return false;
    }
    int64_t time = clock_now(clocks, VIRTUAL_CLOCK);
    if (ns < 0) {
        int64_t deadline = clock_next_deadline(clocks, VIRTUAL_CLOCK);
        ns               = deadline > time ? deadline - time : 0;
    }
    if (ns > INT64_MAX - time) {
        return error_set(err, "the time is beyond the end of the clock");
    }
    *now = clock_step(clocks, ns);
    return true;
}

static bool target_clock_set(void *opaque, int64_t ns, int64_t *now, Error *err)
{
    QTest  *q    = opaque;
    int64_t time = clock_now(q->machine->platform.clocks, VIRTUAL_CLOCK);
    if (ns < time) {
        return error_set(err, "it is %" G_GINT64_FORMAT " already", time);
    }
    return target_clock_step(opaque, ns - time, now, err);
}

typedef struct TypeSearch {
    const char *name;
    Device     *found;
    unsigned    count;
} TypeSearch;

static void match_type(Device *dev, void *opaque)
{
    TypeSearch *search = opaque;
    if (strcmp(dev->obj.type->name, search->name) == 0) {
        search->found = dev;
        search->count++;
    }
}

/* By path in the object tree, or by its type when there is one of it: tests say "ioapic". */
static Device *find_device(QTest *q, const char *path, Error *err)
{
    Platform  *p      = &q->machine->platform;
    Object    *obj    = object_resolve(p->objects, path);
    TypeSearch search = { .name = path };
    if (!obj) {
        devices_foreach(p, match_type, &search);
        obj = search.count == 1 ? &search.found->obj : NULL;
    }
    if (!obj || obj->type->class != OBJECT_CLASS_DEVICE) {
        error_set(err, "Unknown device '%s'", path);
        return NULL;
    }
    return (Device *)obj;
}

static void pin_changed(void *opaque, int n, int level)
{
    QTest *q = opaque;
    if (n >= 0 && n < PINS_MAX && q->levels[n] != level) {
        q->levels[n] = level;
        qtest_protocol_send_irq(&q->protocol, n, level);
    }
}

static bool target_intercept(void *opaque, bool inputs, const char *path, const char *group, Error *err)
{
    QTest  *q   = opaque;
    Device *dev = find_device(q, path, err);
    if (!dev) {
        return false;
    }
    if (q->intercepted) {
        return (q->intercepted == dev && q->inputs == inputs) || error_set(err, "IRQ intercept already enabled");
    }
    bool ok = inputs ? device_intercept_inputs(dev, group, pin_changed, q)
                     : device_intercept_outputs(dev, group, pin_changed, q);
    if (!ok) {
        return error_set(err, "'%s' has no such pins", path);
    }
    q->intercepted = dev;
    q->inputs      = inputs;
    return true;
}

static bool target_set_irq_in(void *opaque, const char *path, const char *group, unsigned n, int level, Error *err)
{
    Device *dev = find_device(opaque, path, err);
    if (!dev) {
        return false;
    }
    IrqPin *pin = device_find_input(dev, group, n);
    if (!pin) {
        return error_set(err, "'%s' has no such pin", path);
    }
    pin->set(pin->opaque, pin->n, level);
    return true;
}

static void target_send(void *opaque, const char *line)
{
    char_output_append(&((QTest *)opaque)->out, line, strlen(line));
}

static void target_log(void *opaque, char direction, const char *line)
{
    QTest *q = opaque;
    if (q->log) {
        fprintf(q->log, "[%c +%.6f] %s\n", direction, (double)(g_get_monotonic_time() - q->began) / G_USEC_PER_SEC,
                line);
    }
}

/* --- the chardev --- */

static size_t qtest_can_read(void *opaque)
{
    return char_output_is_full(&((QTest *)opaque)->out) ? 0 : INPUT_CHUNK;
}

static void qtest_read(void *opaque, const uint8_t *buf, size_t len)
{
    QTest *q = opaque;
    qtest_protocol_take(&q->protocol, buf, len);
    if (q->log) {
        fflush(q->log);
    }
}

static void qtest_event(void *opaque, CharEvent event)
{
    QTest *q = opaque;
    if (event == CHAR_CLOSED) {
        char_output_drop(&q->out);
        g_string_truncate(q->protocol.line, 0);
    }
}

static void qtest_writable(void *opaque)
{
    char_output_flush(&((QTest *)opaque)->out);
}

QTest *qtest_new(Machine *m, Chardev *chr, const char *log_path, Error *err)
{
    QTest *q   = g_new0(QTest, 1);
    q->machine = m;
    q->began   = g_get_monotonic_time();
    q->target  = (QTestTarget){ .opaque     = q,
                                .load       = target_load,
                                .store      = target_store,
                                .read       = target_read,
                                .write      = target_write,
                                .clock_step = target_clock_step,
                                .clock_set  = target_clock_set,
                                .intercept  = target_intercept,
                                .set_irq_in = target_set_irq_in,
                                .send       = target_send,
                                .log        = target_log };
    q->fe      = (CharFrontend){
             .opaque = q, .can_read = qtest_can_read, .read = qtest_read, .event = qtest_event, .writable = qtest_writable
    };
    char_output_init(&q->out, &q->fe);
    qtest_protocol_init(&q->protocol, &q->target);
    /* Without -qtest-log the log goes to standard error, as tests expect. */
    if (!log_path) {
        q->log = stderr;
    } else if (strcmp(log_path, "none") != 0 && !(q->log = fopen(log_path, "we"))) {
        error_set_errno(err, errno, "-qtest-log %s", log_path);
        qtest_free(q);
        return NULL;
    }
    if (!char_attach(&q->fe, chr, err)) {
        qtest_free(q);
        return NULL;
    }
    return q;
}

void qtest_free(QTest *q)
{
    char_detach(&q->fe);
    if (q->log && q->log != stderr) {
        fclose(q->log);
    }
    qtest_protocol_clear(&q->protocol);
    char_output_clear(&q->out);
    g_free(q);
}
