/* The lines of the device-test protocol, on a target that is 256 ports and 64 KiB of memory. */

#include "debug/qtest_protocol.h"

#include <string.h>

typedef struct Fake {
    QTestTarget   target;
    QTestProtocol protocol;
    GString      *sent, *log;
    uint8_t       ports[256], memory[65536];
    int64_t       now;
    char         *intercepted;
} Fake;

static uint64_t fake_load(void *opaque, bool io, uint64_t addr, unsigned size)
{
    Fake    *f     = opaque;
    uint64_t value = 0;
    memcpy(&value, io ? &f->ports[addr % 248] : &f->memory[addr % 65528], size);
    return value;
}

static void fake_store(void *opaque, bool io, uint64_t addr, uint64_t value, unsigned size)
{
    Fake *f = opaque;
    memcpy(io ? &f->ports[addr % 248] : &f->memory[addr % 65528], &value, size);
}

static void fake_read(void *opaque, uint64_t addr, void *buf, size_t len)
{
    Fake *f = opaque;
    for (size_t i = 0; i < len; i++) {
        ((uint8_t *)buf)[i] = f->memory[(addr + i) % 65536];
    }
}

static void fake_write(void *opaque, uint64_t addr, const void *buf, size_t len)
{
    Fake *f = opaque;
    for (size_t i = 0; i < len; i++) {
        f->memory[(addr + i) % 65536] = ((const uint8_t *)buf)[i];
    }
}

static bool fake_clock_step(void *opaque, int64_t ns, int64_t *now, Error *err)
{
    *now = ((Fake *)opaque)->now += ns < 0 ? 1000 : ns;
    return true;
}

static bool fake_clock_set(void *opaque, int64_t ns, int64_t *now, Error *err)
{
    Fake *f = opaque;
    if (ns < f->now) {
        return error_set(err, "too late");
    }
    *now = f->now = ns;
    return true;
}

static bool fake_intercept(void *opaque, bool inputs, const char *path, const char *group, Error *err)
{
    Fake *f = opaque;
    g_free(f->intercepted);
    f->intercepted = g_strdup_printf("%s %s %s", inputs ? "in" : "out", path, group ? group : "-");
    return strcmp(path, "nobody") != 0 || error_set(err, "Unknown device");
}

static bool fake_set_irq_in(void *opaque, const char *path, const char *group, unsigned n, int level, Error *err)
{
    Fake *f = opaque;
    g_free(f->intercepted);
    f->intercepted = g_strdup_printf("%s %s %u %d", path, group ? group : "-", n, level);
    qtest_protocol_send_irq(&f->protocol, (int)n, level);
    return true;
}

static void fake_send(void *opaque, const char *line)
{
    g_string_append(((Fake *)opaque)->sent, line);
}

static void fake_log(void *opaque, char direction, const char *line)
{
    g_string_append_printf(((Fake *)opaque)->log, "%c%.40s\n", direction, line);
}

static void setup(Fake *f, gconstpointer unused)
{
    f->sent   = g_string_new(NULL);
    f->log    = g_string_new(NULL);
    f->target = (QTestTarget){ .opaque     = f,
                               .load       = fake_load,
                               .store      = fake_store,
                               .read       = fake_read,
                               .write      = fake_write,
                               .clock_step = fake_clock_step,
                               .clock_set  = fake_clock_set,
                               .intercept  = fake_intercept,
                               .set_irq_in = fake_set_irq_in,
                               .send       = fake_send,
                               .log        = fake_log };
    qtest_protocol_init(&f->protocol, &f->target);
}

static void teardown(Fake *f, gconstpointer unused)
{
    qtest_protocol_clear(&f->protocol);
    g_string_free(f->sent, true);
    g_string_free(f->log, true);
    g_free(f->intercepted);
}

/* `answer` is a pattern. */
static void check(Fake *f, const char *line, const char *answer)
{
    g_string_truncate(f->sent, 0);
    qtest_protocol_take(&f->protocol, (const uint8_t *)line, strlen(line));
    qtest_protocol_take(&f->protocol, (const uint8_t *)"\n", 1);
    if (!g_pattern_match_simple(answer, f->sent->str)) {
        g_error("'%.60s' says '%s', not '%s'", line, f->sent->str, answer);
    }
}

static void test_access(Fake *f, gconstpointer unused)
{
    check(f, "outb 0x70 0x112", "OK\n");
    check(f, "inb 0x70", "OK 0x0012\n");
    check(f, "outl 16 0x12345678", "OK\n");
    check(f, "inw 18", "OK 0x1234\n");
    check(f, "inl 0x10", "OK 0x12345678\n");
    check(f, "writeq 0x100 0x1122334455667788", "OK\n");
    check(f, "readb 0x100\r", "OK 0x0000000000000088\n");
    check(f, "readl 0x104", "OK 0x0000000011223344\n");
    check(f, "read 0x100 4", "OK 0x88776655\n");
    check(f, "b64read 0x100 4", "OK iHdmVQ==\n");
    check(f, "write 0x200 3 0xaAbBcC", "OK\n");
    check(f, "b64write 0x203 3 AQID", "OK\n");
    check(f, "read 0x200 6", "OK 0xaabbcc010203\n");
    check(f, "memset 0x200 5000 0x5a", "OK\n");
    check(f, "read 0x1586 4", "OK 0x5a5a0000\n");
    check(f, "endianness", "OK little\n");
}

static void test_clock_and_pins(Fake *f, gconstpointer unused)
{
    check(f, "clock_step", "OK 1000\n");
    check(f, "clock_step 5", "OK 1005\n");
    check(f, "clock_set 9000", "OK 9000\n");
    check(f, "clock_set 5", "FAIL too late\n");
    check(f, "clock_step -1", "FAIL time: *\n");
    check(f, "irq_intercept_in ioapic", "OK\n");
    g_assert_cmpstr(f->intercepted, ==, "in ioapic -");
    check(f, "irq_intercept_out_named dev name", "OK\n");
    g_assert_cmpstr(f->intercepted, ==, "out dev name");
    check(f, "irq_intercept_out nobody", "FAIL Unknown device\n");
    check(f, "set_irq_in dev unnamed-gpio-in 3 1", "IRQ raise 3\nOK\n");
    g_assert_cmpstr(f->intercepted, ==, "dev - 3 1");
    check(f, "set_irq_in dev named 3 0", "IRQ lower 3\nOK\n");
    g_assert_cmpstr(f->intercepted, ==, "dev named 3 0");
    check(f, "set_irq_in dev named x 0", "FAIL pin: *\n");
}

static void test_garbage(Fake *f, gconstpointer unused)
{
    check(f, "", "");
    check(f, "  \t ", "");
    check(f, "inx 1", "FAIL Unknown command 'inx' (did you mean 'in?'?)\n");
    check(f, "inb", "FAIL inb takes 1 words, not 0\n");
    check(f, "inb 1 2", "FAIL inb takes 1 words, not 2\n");
    check(f, "a b c d e f g h i j k l", "FAIL Unknown command*\n");
    check(f, "inb 0x10000", "FAIL address: *\n");
    check(f, "inb zz", "FAIL address: *\n");
    check(f, "read 0 0", "FAIL size: *\n");
    check(f, "read 0 0xffffffffffffffff", "FAIL size: *\n");
    check(f, "read 0xffffffffffffffff 2", "FAIL size: *\n");
    check(f, "read 0xffffffffffffffff 1", "OK 0x00\n");
    check(f, "write 0 2 0x11", "FAIL data: *\n");
    check(f, "write 0 1 11", "FAIL data: *\n");
    check(f, "write 0 1 0x1g", "FAIL data: *\n");
    check(f, "b64write 0 4 AQID", "FAIL data: *\n");

    g_string_truncate(f->sent, 0);
    qtest_protocol_take(&f->protocol, (const uint8_t *)"in\0b 1\ninb 1", 12);
    g_assert_true(g_str_has_prefix(f->sent->str, "FAIL the line"));
    g_string_truncate(f->sent, 0);
    qtest_protocol_take(&f->protocol, (const uint8_t *)"\nendianness\n", 12);
    g_assert_cmpstr(f->sent->str, ==, "OK 0x0000\nOK little\n");

    /* A line without an end takes a bounded amount of memory. */
    g_autofree char *chunk = g_strnfill(1 << 20, 'x');
    g_string_truncate(f->sent, 0);
    for (int i = 0; i < 40; i++) {
        qtest_protocol_take(&f->protocol, (const uint8_t *)chunk, 1 << 20);
    }
    g_assert_cmpuint(f->protocol.line->allocated_len, <, 128 << 20);
    qtest_protocol_take(&f->protocol, (const uint8_t *)"\nendianness\n", 12);
    g_assert_true(g_str_has_prefix(f->sent->str, "FAIL the line"));
    g_assert_true(g_str_has_suffix(f->sent->str, "\nOK little\n"));
}

static void test_log(Fake *f, gconstpointer unused)
{
    check(f, "endianness", "OK little\n");
    g_assert_cmpstr(f->log->str, ==, "Rendianness\nSOK little\n");
}

#define TEST(name, function) g_test_add("/qtest/" name, Fake, NULL, setup, function, teardown)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("access", test_access);
    TEST("clock", test_clock_and_pins);
    TEST("garbage", test_garbage);
    TEST("log", test_log);
    return g_test_run();
}
