/* The GDB server's packets, on a target of two made-up CPUs with four registers and a page of memory. */

#include "debug/gdb_server.h"

#include <string.h>

enum { MEMORY = 4096, CPUS = 2, REGISTERS = 4 };

typedef struct Fake {
    GdbTarget  target;
    GdbServer *server;
    GString   *sent;
    uint64_t   registers[CPUS][REGISTERS];
    uint8_t    memory[MEMORY];
    bool       running, killed, last_physical;
    GdbAction  actions[CPUS];
    GArray    *breakpoints;
} Fake;

static unsigned fake_n_cpus(void *opaque)
{
    return CPUS;
}

static bool fake_is_halted(void *opaque, unsigned cpu)
{
    return cpu == 1;
}

static unsigned fake_register_size(void *opaque, unsigned reg)
{
    return reg == 3 ? 4 : 8;
}

static void fake_read_register(void *opaque, unsigned cpu, unsigned reg, uint8_t *value)
{
    memcpy(value, &((Fake *)opaque)->registers[cpu][reg], 8);
}

static bool fake_write_register(void *opaque, unsigned cpu, unsigned reg, const uint8_t *value)
{
    memcpy(&((Fake *)opaque)->registers[cpu][reg], value, fake_register_size(opaque, reg));
    return reg != 2;
}

static size_t fake_read_memory(void *opaque, unsigned cpu, bool physical, uint64_t addr, void *buf, size_t len)
{
    Fake  *f         = opaque;
    size_t n         = addr >= MEMORY ? 0 : MIN(len, MEMORY - addr);
    f->last_physical = physical;
    memcpy(buf, f->memory + (n ? addr : 0), n);
    return n;
}

static size_t fake_write_memory(void *opaque, unsigned cpu, bool physical, uint64_t addr, const void *buf, size_t len)
{
    size_t n = addr >= MEMORY ? 0 : MIN(len, MEMORY - addr);
    memcpy(((Fake *)opaque)->memory + (n ? addr : 0), buf, n);
    return n;
}

static void fake_insert(void *opaque, uint64_t addr)
{
    Fake *f = opaque;
    g_assert_false(f->running);
    g_array_append_val(f->breakpoints, addr);
}

static void fake_remove(void *opaque, uint64_t addr)
{
    Fake *f = opaque;
    for (guint i = 0; i < f->breakpoints->len; i++) {
        if (g_array_index(f->breakpoints, uint64_t, i) == addr) {
            g_array_remove_index(f->breakpoints, i);
            return;
        }
    }
    g_assert_not_reached();
}

static uint64_t fake_pc(void *opaque, unsigned cpu)
{
    return ((Fake *)opaque)->registers[cpu][0];
}

static bool fake_is_running(void *opaque)
{
    return ((Fake *)opaque)->running;
}

static void fake_stop(void *opaque)
{
    ((Fake *)opaque)->running = false;
}

static void fake_resume(void *opaque, const GdbAction *actions)
{
    Fake *f    = opaque;
    f->running = true;
    memcpy(f->actions, actions, sizeof f->actions);
}

static void fake_kill(void *opaque)
{
    ((Fake *)opaque)->killed = true;
}

static bool fake_command(void *opaque, const char *line, GString *answer)
{
    g_string_append(answer, strcmp(line, "hi") == 0 ? "ho\n" : "");
    return strcmp(line, "hi") == 0 || strcmp(line, "quiet") == 0;
}

static void fake_send(void *opaque, const void *data, size_t len)
{
    g_string_append_len(((Fake *)opaque)->sent, data, (gssize)len);
}

static void setup(Fake *f, gconstpointer unused)
{
    f->sent        = g_string_new(NULL);
    f->breakpoints = g_array_new(false, false, sizeof(uint64_t));
    f->target      = (GdbTarget){ .opaque            = f,
                                  .description       = "<target>0123456789</target>",
                                  .n_registers       = REGISTERS,
                                  .n_cpus            = fake_n_cpus,
                                  .is_halted         = fake_is_halted,
                                  .register_size     = fake_register_size,
                                  .read_register     = fake_read_register,
                                  .write_register    = fake_write_register,
                                  .read_memory       = fake_read_memory,
                                  .write_memory      = fake_write_memory,
                                  .insert_breakpoint = fake_insert,
                                  .remove_breakpoint = fake_remove,
                                  .program_counter   = fake_pc,
                                  .is_running        = fake_is_running,
                                  .stop              = fake_stop,
                                  .resume            = fake_resume,
                                  .kill              = fake_kill,
                                  .command           = fake_command,
                                  .send              = fake_send };
    f->server      = gdb_server_new(&f->target);
    gdb_server_connected(f->server);
}

static void teardown(Fake *f, gconstpointer unused)
{
    f->running = false;
    gdb_server_free(f->server);
    g_assert_cmpuint(f->breakpoints->len, ==, 0);
    g_array_free(f->breakpoints, true);
    g_string_free(f->sent, true);
}

static void take(Fake *f, const void *data, size_t len)
{
    g_string_truncate(f->sent, 0);
    gdb_server_take(f->server, data, len);
}

static void take_packet(Fake *f, const void *data, size_t len)
{
    g_autoptr(GByteArray) packet = g_byte_array_new();
    gdb_packet_append(packet, data, len);
    take(f, packet->data, packet->len);
}

/* Sends a packet; the answer is an acknowledgement and `answer` (NULL: the acknowledgement only). */
static void check(Fake *f, const char *packet, const char *answer)
{
    g_autoptr(GByteArray) expected = g_byte_array_new();
    g_byte_array_append(expected, (const uint8_t *)"+", 1);
    if (answer) {
        gdb_packet_append(expected, answer, strlen(answer));
    }
    g_byte_array_append(expected, (const uint8_t *)"", 1);
    take_packet(f, packet, strlen(packet));
    g_assert_cmpstr(f->sent->str, ==, (const char *)expected->data);
}

static void test_frames(Fake *f, gconstpointer unused)
{
    take(f, "$qC#b4", 6);
    g_assert_cmpstr(f->sent->str, ==, "+$QC01#f5");
    take(f, "-", 1);
    g_assert_cmpstr(f->sent->str, ==, "$QC01#f5");
    take(f, "+junk$qC#b5", 11);
    g_assert_cmpstr(f->sent->str, ==, "-");
    take(f, "$qC#zz", 6);
    g_assert_cmpstr(f->sent->str, ==, "-");
    g_autofree char *big = g_strnfill(GDB_PACKET_MAX + 1, 'm');
    take_packet(f, big, GDB_PACKET_MAX + 1);
    g_assert_cmpstr(f->sent->str, ==, "-");
    check(f, "vMustReplyEmpty", "");
    check(f, "", "");
    check(f, "QStartNoAckMode", "OK");
    take(f, "$qC#b4", 6);
    g_assert_cmpstr(f->sent->str, ==, "$QC01#f5");
    take(f, "-$qC#00", 7);
    g_assert_cmpstr(f->sent->str, ==, "");
}

static void test_registers(Fake *f, gconstpointer unused)
{
    f->registers[0][0] = 0x1122334455667788;
    f->registers[1][3] = 0xabcdef01;
    check(f, "g", "88776655443322110000000000000000000000000000000000000000");
    check(f, "p0", "8877665544332211");
    check(f, "p4", "E14");
    check(f, "p", "E14");
    check(f, "Hg2", "OK");
    check(f, "p3", "01efcdab");
    check(f, "P3=78563412", "OK");
    g_assert_cmphex(f->registers[1][3], ==, 0x12345678);
    check(f, "P3=7856341", "E22");
    check(f, "P9=00", "E22");
    check(f, "P2=0000000000000000", "E22");
    check(f, "G0100000000000000", "OK");
    g_assert_cmphex(f->registers[1][0], ==, 1);
    check(f, "G01", "E22");
    check(f, "Hg3", "E22");
    check(f, "Hg0", "OK");
    check(f, "qC", "QC02");
    check(f, "H", "E22");
}

static void test_memory(Fake *f, gconstpointer unused)
{
    memcpy(f->memory + 0x10, "\x01\x23\xff", 3);
    check(f, "m10,3", "0123ff");
    check(f, "m10,0", "");
    check(f, "mfff,2", "00");
    check(f, "m1000,1", "E14");
    check(f, "m10", "E22");
    check(f, "m11111111111111111,1", "E22");
    check(f, "M20,2:beef", "OK");
    g_assert_cmpmem(f->memory + 0x20, 2, "\xbe\xef", 2);
    check(f, "M20,2:bee", "E22");
    check(f, "Mfff,2:beef", "E14");
    check(f, "M20,ffffffffffffffff:00", "E22");
    take_packet(f, "X30,4:#$}\0", 10);
    g_assert_cmpstr(f->sent->str, ==, "+$OK#9a");
    g_assert_cmpmem(f->memory + 0x30, 4, "#$}\0", 4);
    check(f, "X30,4:abc", "E22");
    check(f, "X30,0:", "OK");
    g_assert_false(f->last_physical);
    check(f, "qqemu.PhyMemMode", "0");
    check(f, "Qqemu.PhyMemMode:1", "OK");
    check(f, "qqemu.PhyMemMode", "1");
    check(f, "m10,1", "01");
    g_assert_true(f->last_physical);
    check(f, "Qqemu.PhyMemMode:x", "E22");
}

static void test_run(Fake *f, gconstpointer unused)
{
    check(f, "?", "T05thread:01;");
    check(f, "vCont?", "vCont;c;C;s;S");
    check(f, "c", NULL);
    g_assert_true(f->running);
    take(f, "\003", 1);
    g_assert_false(f->running);
    g_assert_nonnull(strstr(f->sent->str, "$T02thread:01;#"));
    check(f, "vCont;s:2;c", NULL);
    g_assert_cmpint(f->actions[0], ==, GDB_CONTINUE);
    g_assert_cmpint(f->actions[1], ==, GDB_STEP);
    f->running = false;
    g_string_truncate(f->sent, 0);
    gdb_server_stopped(f->server, 1, GDB_SIGNAL_TRAP);
    g_assert_nonnull(strstr(f->sent->str, "$T05thread:02;#"));
    g_string_truncate(f->sent, 0);
    gdb_server_stopped(f->server, 1, GDB_SIGNAL_TRAP); /* gdb waits no more */
    g_assert_cmpstr(f->sent->str, ==, "");

    check(f, "Hc1", "OK");
    check(f, "s", NULL);
    g_assert_cmpint(f->actions[0], ==, GDB_STEP);
    g_assert_cmpint(f->actions[1], ==, GDB_STAY);
    /* A packet while it runs stops it. */
    check(f, "qC", "QC02");
    g_assert_false(f->running);
    check(f, "C05", NULL);
    g_assert_cmpint(f->actions[1], ==, GDB_CONTINUE);
    f->running = false;
    check(f, "vCont;x", "");
    check(f, "vCont", "E22");
    check(f, "vCont;c:9", "E22");
    check(f, "vCont;C", "E22");
    check(f, "vContinue", "E22");
    check(f, "c1000", "E22");
    g_assert_false(f->running);
    check(f, "D", "OK");
    g_assert_true(f->running);
    f->running = false;
    check(f, "k", NULL);
    g_assert_true(f->killed);
    f->killed = false;
    check(f, "vKill;1", "OK");
    g_assert_true(f->killed);
    g_string_truncate(f->sent, 0);
    gdb_server_exited(f->server, 3);
    g_assert_cmpstr(f->sent->str, ==, "$W03#ba");
}

static void test_breakpoints(Fake *f, gconstpointer unused)
{
    check(f, "Z0,1000,1", "OK");
    check(f, "Z0,1000,1", "OK");
    check(f, "Z1,1000,1", "OK");
    check(f, "Z0,2000,1", "OK");
    g_assert_cmpuint(f->breakpoints->len, ==, 2);
    check(f, "z0,1000,1", "OK");
    g_assert_cmpuint(f->breakpoints->len, ==, 2);
    check(f, "z0,1000,1", "E22");
    check(f, "Z2,1000,4", "");
    check(f, "z4,1000,4", "");
    check(f, "Z0;1000", "E22");
    check(f, "Z", "");

    /* Only who asked hears which breakpoint it was, and not after a step. */
    f->registers[0][0] = 0x2000;
    check(f, "c", NULL);
    f->running = false;
    g_string_truncate(f->sent, 0);
    gdb_server_stopped(f->server, 0, GDB_SIGNAL_TRAP);
    g_assert_nonnull(strstr(f->sent->str, "$T05thread:01;#"));
    check(f, "qSupported:swbreak+;hwbreak+;vContSupported+",
          "PacketSize=4000;qXfer:features:read+;vContSupported+;QStartNoAckMode+;swbreak+;hwbreak+");
    check(f, "c", NULL);
    f->running = false;
    g_string_truncate(f->sent, 0);
    gdb_server_stopped(f->server, 0, GDB_SIGNAL_TRAP);
    g_assert_nonnull(strstr(f->sent->str, "$T05thread:01;swbreak:;#"));
    check(f, "s", NULL);
    f->running = false;
    g_string_truncate(f->sent, 0);
    gdb_server_stopped(f->server, 0, GDB_SIGNAL_TRAP);
    g_assert_nonnull(strstr(f->sent->str, "$T05thread:01;#"));

    gdb_server_disconnected(f->server);
    g_assert_cmpuint(f->breakpoints->len, ==, 0);
}

static void test_queries(Fake *f, gconstpointer unused)
{
    check(f, "qXfer:features:read:target.xml:0,8", "m<target>");
    check(f, "qXfer:features:read:target.xml:8,100", "l0123456789</target>");
    check(f, "qXfer:features:read:target.xml:1b,100", "l");
    check(f, "qXfer:features:read:target.xml:1c,100", "E01");
    check(f, "qXfer:features:read:other.xml:0,100", "E00");
    check(f, "qXfer:features:read:target.xml:0", "E01");
    check(f, "qfThreadInfo", "m01,02");
    check(f, "qsThreadInfo", "l");
    check(f, "qThreadExtraInfo,2",
          "435055233120"
          "5b68616c7465645d");
    check(f, "qThreadExtraInfo,3", "E22");
    check(f, "T2", "OK");
    check(f, "T3", "E22");
    check(f, "qAttached", "1");
    check(f, "qCRC:0,1", "");
    check(f, "qRcmd,6869", "686f0a");
    check(f, "qRcmd,7175696574", "OK");
    check(f, "qRcmd,6", "E22");
    check(f, "qqemu.sstep", "0x7");
    check(f, "Qqemu.sstep=7", "OK");
    check(f, "Qqemu.sstep=1", "E22");
}

#define TEST(name, function) g_test_add("/gdb/" name, Fake, NULL, setup, function, teardown)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("frames", test_frames);
    TEST("registers", test_registers);
    TEST("memory", test_memory);
    TEST("run", test_run);
    TEST("breakpoints", test_breakpoints);
    TEST("queries", test_queries);
    return g_test_run();
}
