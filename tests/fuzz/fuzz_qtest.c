/* Lines of the device-test protocol, on a target without anything behind it. */

#include "fuzz.h"

#include "debug/qtest_protocol.h"

#include <string.h>

static uint64_t fake_load(void *opaque, bool io, uint64_t addr, unsigned size)
{
    g_assert(size == 1 || size == 2 || size == 4 || (size == 8 && !io));
    g_assert(!io || addr <= UINT16_MAX);
    return addr;
}

static void fake_store(void *opaque, bool io, uint64_t addr, uint64_t value, unsigned size)
{
    g_assert(size == 8 || value >> (8 * size) == 0);
}

static void fake_read(void *opaque, uint64_t addr, void *buf, size_t len)
{
    g_assert(len && addr + (len - 1) >= addr);
    memset(buf, 0xa5, len);
}

static void fake_write(void *opaque, uint64_t addr, const void *buf, size_t len)
{
    g_assert(len && addr + (len - 1) >= addr);
}

static bool fake_clock(void *opaque, int64_t ns, int64_t *now, Error *err)
{
    *now = ns;
    return ns & 1 || error_set(err, "no");
}

static bool fake_intercept(void *opaque, bool inputs, const char *path, const char *group, Error *err)
{
    return inputs || error_set(err, "no");
}

static bool fake_set_irq_in(void *opaque, const char *path, const char *group, unsigned n, int level, Error *err)
{
    return n <= INT32_MAX;
}

/* Each line of the input has at most one answer, which is one line. */
static void fake_send(void *opaque, const char *line)
{
    ++*(size_t *)opaque;
    g_assert(g_str_has_prefix(line, "OK") || g_str_has_prefix(line, "FAIL "));
    g_assert(strchr(line, '\n') == line + strlen(line) - 1);
}

static void fake_log(void *opaque, char direction, const char *line)
{
    g_assert(!strchr(line, '\n'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t        answers = 0, lines = 0;
    QTestTarget   target = { .opaque     = &answers,
                             .load       = fake_load,
                             .store      = fake_store,
                             .read       = fake_read,
                             .write      = fake_write,
                             .clock_step = fake_clock,
                             .clock_set  = fake_clock,
                             .intercept  = fake_intercept,
                             .set_irq_in = fake_set_irq_in,
                             .send       = fake_send,
                             .log        = fake_log };
    QTestProtocol protocol;
    qtest_protocol_init(&protocol, &target);
    qtest_protocol_take(&protocol, data, size / 2);
    qtest_protocol_take(&protocol, data + size / 2, size - size / 2);
    for (size_t i = 0; i < size; i++) {
        lines += data[i] == '\n';
    }
    g_assert(answers <= lines);
    qtest_protocol_clear(&protocol);
    return 0;
}
