/* Bytes that a gdb might send, on a target without anything behind it. */

#include "fuzz.h"

#include "debug/gdb_server.h"

#include <string.h>

typedef struct Fake {
    bool     running;
    unsigned breakpoints;
} Fake;

static unsigned fake_n_cpus(void *opaque)
{
    return 3;
}

static bool fake_is_halted(void *opaque, unsigned cpu)
{
    g_assert(cpu < 3);
    return false;
}

static unsigned fake_register_size(void *opaque, unsigned reg)
{
    g_assert(reg < 20);
    return reg % 2 ? 16 : 4;
}

static void fake_read_register(void *opaque, unsigned cpu, unsigned reg, uint8_t *value)
{
    g_assert(cpu < 3 && reg < 20);
    memset(value, (int)reg, fake_register_size(opaque, reg));
}

static bool fake_write_register(void *opaque, unsigned cpu, unsigned reg, const uint8_t *value)
{
    g_assert(cpu < 3 && reg < 20);
    return value[fake_register_size(opaque, reg) - 1] != 7;
}

static size_t fake_read_memory(void *opaque, unsigned cpu, bool physical, uint64_t addr, void *buf, size_t len)
{
    g_assert(cpu < 3 && !((Fake *)opaque)->running);
    size_t n = addr & 1 ? len : len / 2;
    memset(buf, (int)addr, n);
    return n;
}

static size_t fake_write_memory(void *opaque, unsigned cpu, bool physical, uint64_t addr, const void *buf, size_t len)
{
    unsigned sum = 0;
    for (size_t i = 0; i < len; i++) {
        sum += ((const uint8_t *)buf)[i];
    }
    return sum & 1 ? len : 0;
}

static void fake_insert(void *opaque, uint64_t addr)
{
    ((Fake *)opaque)->breakpoints++;
}

static void fake_remove(void *opaque, uint64_t addr)
{
    g_assert(((Fake *)opaque)->breakpoints--);
}

static uint64_t fake_pc(void *opaque, unsigned cpu)
{
    return 0x1000;
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
    g_assert(actions[0] != GDB_STAY || actions[1] != GDB_STAY || actions[2] != GDB_STAY);
    ((Fake *)opaque)->running = true;
}

static void fake_kill(void *opaque)
{
}

static bool fake_command(void *opaque, const char *line, GString *answer)
{
    g_string_append(answer, line);
    return *line != 'x';
}

static void fake_send(void *opaque, const void *data, size_t len)
{
    const char *text = data;
    g_assert(len == 1 || (text[0] == '$' && len >= 4 && text[len - 3] == '#'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Fake       fake   = {};
    GdbTarget  target = { .opaque            = &fake,
                          .description       = "<target>a description</target>",
                          .n_registers       = 20,
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
    GdbServer *server = gdb_server_new(&target);
    gdb_server_connected(server);
    /* Once as it is, then each line as a packet with the right checksum. */
    gdb_server_take(server, data, size);
    gdb_server_connected(server);
    g_autofree char *text = g_strndup((const char *)data, size);
    g_auto(GStrv) lines   = g_strsplit(text, "\n", 64);
    for (char **line = lines; *line; line++) {
        g_autoptr(GByteArray) packet = g_byte_array_new();
        gdb_packet_append(packet, *line, strlen(*line));
        gdb_server_take(server, packet->data, packet->len);
        if (fake.running && **line & 1) {
            fake.running = false;
            gdb_server_stopped(server, 1, GDB_SIGNAL_TRAP);
        }
    }
    gdb_server_free(server);
    g_assert(!fake.breakpoints);
    return 0;
}
