/* The machine of the monitors' fuzz targets: see monitor_vm.h. */

#include "monitor_vm.h"

#include "debug/gdbstub.h"
#include "machine/runstate.h"

#include <string.h>

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

static rlim_t limit_files(rlim_t limit)
{
    struct rlimit r;
    getrlimit(RLIMIT_NOFILE, &r);
    rlim_t before = r.rlim_cur;
    r.rlim_cur    = limit;
    setrlimit(RLIMIT_NOFILE, &r);
    return before;
}

void monitor_vm_begin(MonitorVm *vm, MonitorMode mode)
{
    static const CompatPolicy policy;
    MonitorOptions            options = { .mode = mode };
    g_auto(Error) err                 = { 0 };

    *vm         = (MonitorVm){ .log.file = fopen("/dev/null", "w") };
    vm->machine = make_machine(&vm->log);
    vm->chr     = make_chardev(vm->machine, "{\"backend\": \"ringbuf\", \"id\": \"m\", \"size\": 16777216}");
    make_chardev(vm->machine, "{\"backend\": \"ringbuf\", \"id\": \"r\", \"size\": 64}");
    make_chardev(vm->machine, "{\"backend\": \"null\", \"id\": \"x\", \"mux\": true}");
    char_hub_forbid_stdio(vm->machine->chars, "a fuzzer has no use for it");
    vm->monitors = monitors_new(vm->machine, &policy);
    g_assert(monitors_add(vm->monitors, vm->chr, &options, &err));
    monitors_start(vm->monitors);
    vm->files = limit_files(3);
}

void monitor_vm_feed(MonitorVm *vm, const void *data, size_t size, size_t piece, MonitorVmCheck *check, void *opaque)
{
    for (size_t done = 0; done < size && !vm->machine->exit_requested;) {
        size_t n = MIN(MIN(size - done, piece), char_can_read(vm->chr));
        if (!n) {
            return;
        }
        char_push(vm->chr, (const uint8_t *)data + done, n);
        check(vm->chr, opaque);
        done += n;
    }
}

void monitor_vm_settle(MonitorVm *vm, unsigned steps, MonitorVmCheck *check, void *opaque)
{
    for (unsigned i = 0; i < steps; i++) {
        loop_step(vm->machine->platform.loop, false);
    }
    check(vm->chr, opaque);
}

void monitor_vm_end(MonitorVm *vm)
{
    limit_files(vm->files);
    monitors_free(vm->monitors);
    g_clear_pointer(&vm->machine->gdb, gdb_stub_free);
    machine_free(vm->machine);
    fclose(vm->log.file);
}
