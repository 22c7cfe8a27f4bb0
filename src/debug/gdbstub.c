/* -gdb: the GDB server between a chardev and a machine. Main loop; machine lock held. */

#include "debug/gdbstub.h"

#include "char/output.h"
#include "cpu/x86/mem.h"
#include "debug/gdb_registers.h"
#include "debug/gdb_server.h"

#include <string.h>

enum { INPUT_CHUNK = 4096, PAGE = 4096 };

struct GdbStub {
    Machine         *machine;
    CharFrontend     fe;
    CharOutput       out;
    GdbTarget        target;
    GdbServer       *server;
    RunStateListener listener;
    char            *description;
    const GdbAction *actions; /* while resuming */
};

/* --- CPUs --- */

static X86Cpu *cpu_of(GdbStub *g, unsigned cpu)
{
    return machine_cpu(g->machine, cpu);
}

static unsigned target_n_cpus(void *opaque)
{
    const GPtrArray *cpus = ((GdbStub *)opaque)->machine->cpus;
    return cpus->len ? (unsigned)((const X86Cpu *)cpus->pdata[cpus->len - 1])->vcpu.index + 1 : 0;
}

static bool target_has_cpu(void *opaque, unsigned cpu)
{
    return cpu_of(opaque, cpu) != NULL;
}

static bool target_is_halted(void *opaque, unsigned cpu)
{
    X86Cpu *c = cpu_of(opaque, cpu);
    return c && (c->vcpu.halted || c->wait_for_sipi);
}

static unsigned target_register_size(void *opaque, unsigned reg)
{
    return gdb_x86_register_size(reg);
}

static void target_read_register(void *opaque, unsigned cpu, unsigned reg, uint8_t *value)
{
    X86Cpu *c = cpu_of(opaque, cpu);
    if (c) {
        gdb_x86_read_register(c, reg, value);
    }
}

static bool target_write_register(void *opaque, unsigned cpu, unsigned reg, const uint8_t *value)
{
    X86Cpu *c = cpu_of(opaque, cpu);
    return c && gdb_x86_write_register(c, reg, value);
}

static uint64_t target_program_counter(void *opaque, unsigned cpu)
{
    X86Cpu *c = cpu_of(opaque, cpu);
    return !c ? 0 : c->code_size == X86_CODE64 ? c->rip : (uint32_t)(c->seg[X86_CS].base + c->rip);
}

/* --- memory --- */

/* Goes through a range page by page, as far as it is mapped. */
static size_t access_memory(GdbStub *g, unsigned cpu, bool physical, uint64_t addr, uint8_t *in, const uint8_t *out,
                            size_t len)
{
    X86Cpu *c    = cpu_of(g, cpu);
    size_t  done = 0;
    while (c && done < len) {
        uint64_t at    = addr + done;
        size_t   chunk = MIN(len - done, PAGE - at % PAGE);
        if (!physical && !x86_debug_translate(c, at, &at)) {
            break;
        }
        MemResult result;
        if (in) {
            result = address_space_read(c->vcpu.memory, at, in + done, chunk);
        } else {
            result = address_space_poke(c->vcpu.memory, at, out + done, chunk);
            if (result == MEM_NOT_RAM) {
                result = address_space_write(c->vcpu.memory, at, out + done, chunk);
            }
        }
        if (result == MEM_UNMAPPED) {
            break;
        }
        done += chunk;
    }
    return done;
}

static size_t target_read_memory(void *opaque, unsigned cpu, bool physical, uint64_t addr, void *buf, size_t len)
{
    return access_memory(opaque, cpu, physical, addr, buf, NULL, len);
}

static size_t target_write_memory(void *opaque, unsigned cpu, bool physical, uint64_t addr, const void *buf, size_t len)
{
    return access_memory(opaque, cpu, physical, addr, NULL, buf, len);
}

/* --- run control --- */

static void target_insert_breakpoint(void *opaque, uint64_t addr)
{
    GdbStub *g = opaque;
    accel_breakpoint(g->machine->accel, addr, true);
}

static void target_remove_breakpoint(void *opaque, uint64_t addr)
{
    GdbStub *g = opaque;
    accel_breakpoint(g->machine->accel, addr, false);
}

static bool target_is_running(void *opaque)
{
    return ((GdbStub *)opaque)->machine->state == RUN_STATE_RUNNING;
}

static void target_stop(void *opaque)
{
    GdbStub *g = opaque;
    if (target_is_running(g)) {
        machine_pause(g->machine, RUN_STATE_PAUSED);
    }
}

static VcpuResume action_of(void *opaque, Vcpu *cpu)
{
    static const VcpuResume actions[] = { [GDB_STAY] = VCPU_STAY, [GDB_CONTINUE] = VCPU_RUN, [GDB_STEP] = VCPU_STEP };
    return actions[((GdbStub *)opaque)->actions[cpu->index]];
}

static void target_resume(void *opaque, const GdbAction *actions)
{
    GdbStub *g = opaque;
    g->actions = actions;
    machine_resume_each(g->machine, action_of, g);
}

static void target_kill(void *opaque)
{
    Machine *m = ((GdbStub *)opaque)->machine;
    m->platform.request_shutdown(&m->platform, SHUTDOWN_HOST_REQUEST, 0);
}

static void state_changed(RunStateListener *listener, RunState state)
{
    GdbStub *g   = (GdbStub *)((char *)listener - offsetof(GdbStub, listener));
    unsigned cpu = g->machine->debug_vcpu ? (unsigned)g->machine->debug_vcpu->index : 0;
    switch (state) {
    case RUN_STATE_RUNNING:
    case RUN_STATE_PRELAUNCH: break;
    case RUN_STATE_DEBUG: gdb_server_stopped(g->server, cpu, GDB_SIGNAL_TRAP); break;
    case RUN_STATE_SUSPENDED:
    case RUN_STATE_PAUSED: gdb_server_stopped(g->server, cpu, GDB_SIGNAL_INT); break;
    case RUN_STATE_SHUTDOWN: gdb_server_stopped(g->server, cpu, GDB_SIGNAL_QUIT); break;
    case RUN_STATE_GUEST_PANICKED:
    case RUN_STATE_WATCHDOG:
    case RUN_STATE_IO_ERROR:
    case RUN_STATE_INTERNAL_ERROR: gdb_server_stopped(g->server, cpu, GDB_SIGNAL_ABORT); break;
    }
}

/* --- monitor commands --- */

static void command_help(GdbStub *g, GString *answer);

static void command_status(GdbStub *g, GString *answer)
{
    g_string_printf(answer, "VM status: %s\n", run_state_name(g->machine->state));
}

static void command_reset(GdbStub *g, GString *answer)
{
    g->machine->platform.request_reset(&g->machine->platform, RESET_HOST);
}

static void command_quit(GdbStub *g, GString *answer)
{
    target_kill(g);
}

static const struct {
    const char *name;
    const char *help;
    void (*run)(GdbStub *g, GString *answer);
} commands[] = {
    { "help", "this list", command_help },
    { "info status", "is the machine running?", command_status },
    { "system_reset", "resets the machine", command_reset },
    { "quit", "ends the emulator", command_quit },
};

static void command_help(GdbStub *g, GString *answer)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++) {
        g_string_append_printf(answer, "%-13s %s\n", commands[i].name, commands[i].help);
    }
}

static bool target_command(void *opaque, const char *line, GString *answer)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (strcmp(line, commands[i].name) == 0) {
            commands[i].run(opaque, answer);
            return true;
        }
    }
    return false;
}

static void target_send(void *opaque, const void *data, size_t len)
{
    char_output_append(&((GdbStub *)opaque)->out, data, len);
}

/* --- the chardev --- */

static size_t gdb_can_read(void *opaque)
{
    return char_output_is_full(&((GdbStub *)opaque)->out) ? 0 : INPUT_CHUNK;
}

static void gdb_read(void *opaque, const uint8_t *buf, size_t len)
{
    gdb_server_take(((GdbStub *)opaque)->server, buf, len);
}

/* Breakpoints change only while no vCPU runs. */
static void disconnected(GdbStub *g)
{
    bool was_running = g->machine->state == RUN_STATE_RUNNING;
    target_stop(g);
    gdb_server_disconnected(g->server);
    if (was_running) {
        machine_resume(g->machine);
    }
}

static void gdb_event(void *opaque, CharEvent event)
{
    GdbStub *g = opaque;
    if (event == CHAR_OPENED) {
        char_output_drop(&g->out);
        target_stop(g);
        gdb_server_connected(g->server);
    } else if (event == CHAR_CLOSED) {
        char_output_drop(&g->out);
        disconnected(g);
    }
}

static void gdb_writable(void *opaque)
{
    char_output_flush(&((GdbStub *)opaque)->out);
}

char *gdb_stub_device(const char *device)
{
    /* gdb comes and goes, and has much to say in small packets. */
    if (g_str_has_prefix(device, "tcp:")) {
        return g_strconcat(device, ",wait=off,nodelay=on,server=on", NULL);
    }
    return g_strdup(device);
}

GdbStub *gdb_stub_new(Machine *m, Chardev *chr, Error *err)
{
    GdbStub *g     = g_new0(GdbStub, 1);
    g->machine     = m;
    g->description = gdb_x86_description();
    g->target      = (GdbTarget){ .opaque            = g,
                                  .description       = g->description,
                                  .n_registers       = gdb_x86_register_count(),
                                  .n_cpus            = target_n_cpus,
                                  .has_cpu           = target_has_cpu,
                                  .is_halted         = target_is_halted,
                                  .register_size     = target_register_size,
                                  .read_register     = target_read_register,
                                  .write_register    = target_write_register,
                                  .read_memory       = target_read_memory,
                                  .write_memory      = target_write_memory,
                                  .insert_breakpoint = target_insert_breakpoint,
                                  .remove_breakpoint = target_remove_breakpoint,
                                  .program_counter   = target_program_counter,
                                  .is_running        = target_is_running,
                                  .stop              = target_stop,
                                  .resume            = target_resume,
                                  .kill              = target_kill,
                                  .command           = target_command,
                                  .send              = target_send };
    g->fe          = (CharFrontend){
                 .opaque = g, .can_read = gdb_can_read, .read = gdb_read, .event = gdb_event, .writable = gdb_writable
    };
    g->listener = (RunStateListener){ .changed = state_changed };
    char_output_init(&g->out, &g->fe);
    g->server = gdb_server_new(&g->target);
    machine_add_state_listener(m, &g->listener);
    if (!char_attach(&g->fe, chr, err)) {
        gdb_stub_free(g);
        return NULL;
    }
    return g;
}

void gdb_stub_free(GdbStub *g)
{
    if (char_is_open(&g->fe)) {
        gdb_server_exited(g->server, g->machine->exit_code);
    }
    char_detach(&g->fe);
    target_stop(g);
    machine_remove_state_listener(g->machine, &g->listener);
    gdb_server_free(g->server);
    char_output_clear(&g->out);
    g_free(g->description);
    g_free(g);
}
