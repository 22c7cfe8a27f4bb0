/* The server side of the GDB remote serial protocol.
 * Specification: "Debugging with GDB" (GDB 13), appendix E; the qemu.* packets as QEMU's documentation describes them.
 *
 * Threads are CPUs, numbered from 1. All-stop mode only. */

#include "debug/gdb_server.h"

#include <string.h>

typedef struct Breakpoint {
    uint64_t addr;
    char     type; /* '0' software, '1' hardware: all the same to us */
} Breakpoint;

struct GdbServer {
    const GdbTarget *target;
    GdbFrame         frame;
    GByteArray      *last; /* packet sent last, for when it got lost */
    bool             no_ack;
    bool             running;  /* gdb waits for a stop reply */
    bool             physical; /* memory packets take physical addresses */
    bool             wants_swbreak, wants_hwbreak;
    unsigned         cpu;          /* of g, p, m: set by Hg */
    unsigned         step_cpu;     /* of c and s: set by Hc */
    bool             step_cpu_any; /* Hc0 or Hc-1 */
    unsigned         stop_cpu;
    int              stop_signal;
    bool             stop_at_breakpoint;
    GArray          *breakpoints;
    GdbAction        actions[GDB_CPUS_MAX];
};

GdbServer *gdb_server_new(const GdbTarget *target)
{
    GdbServer *s   = g_new0(GdbServer, 1);
    s->target      = target;
    s->last        = g_byte_array_new();
    s->breakpoints = g_array_new(false, false, sizeof(Breakpoint));
    return s;
}

/* --- breakpoints --- */

static bool address_is_used(GdbServer *s, uint64_t addr)
{
    for (guint i = 0; i < s->breakpoints->len; i++) {
        if (g_array_index(s->breakpoints, Breakpoint, i).addr == addr) {
            return true;
        }
    }
    return false;
}

static void insert_breakpoint(GdbServer *s, char type, uint64_t addr)
{
    for (guint i = 0; i < s->breakpoints->len; i++) {
        Breakpoint *b = &g_array_index(s->breakpoints, Breakpoint, i);
        if (b->addr == addr && b->type == type) {
            return;
        }
    }
    if (!address_is_used(s, addr)) {
        s->target->insert_breakpoint(s->target->opaque, addr);
    }
    Breakpoint b = { .addr = addr, .type = type };
    g_array_append_val(s->breakpoints, b);
}

static void remove_breakpoint(GdbServer *s, guint index)
{
    uint64_t addr = g_array_index(s->breakpoints, Breakpoint, index).addr;
    g_array_remove_index_fast(s->breakpoints, index);
    if (!address_is_used(s, addr)) {
        s->target->remove_breakpoint(s->target->opaque, addr);
    }
}

static void remove_all_breakpoints(GdbServer *s)
{
    while (s->breakpoints->len) {
        remove_breakpoint(s, s->breakpoints->len - 1);
    }
}

/* --- sending --- */

static void send_packet(GdbServer *s, const void *data, size_t len)
{
    g_byte_array_set_size(s->last, 0);
    gdb_packet_append(s->last, data, len);
    s->target->send(s->target->opaque, s->last->data, s->last->len);
}

static void send_text(GdbServer *s, const char *text)
{
    send_packet(s, text, strlen(text));
}

static void send_stop(GdbServer *s)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_string_printf(text, "T%02xthread:%02x;", (unsigned)s->stop_signal, s->stop_cpu + 1);
    if (s->stop_at_breakpoint) {
        uint64_t pc = s->target->program_counter(s->target->opaque, s->stop_cpu);
        for (guint i = 0; i < s->breakpoints->len; i++) {
            Breakpoint *b = &g_array_index(s->breakpoints, Breakpoint, i);
            if (b->addr == pc && (b->type == '0' ? s->wants_swbreak : s->wants_hwbreak)) {
                g_string_append(text, b->type == '0' ? "swbreak:;" : "hwbreak:;");
                break;
            }
        }
    }
    send_packet(s, text->str, text->len);
}

void gdb_server_stopped(GdbServer *s, unsigned cpu, int signal)
{
    if (!s->running) {
        return;
    }
    s->running            = false;
    s->stop_cpu           = cpu;
    s->cpu                = cpu;
    s->stop_signal        = signal;
    s->stop_at_breakpoint = signal == GDB_SIGNAL_TRAP && s->actions[cpu] == GDB_CONTINUE;
    send_stop(s);
}

void gdb_server_exited(GdbServer *s, int status)
{
    g_autofree char *text = g_strdup_printf("W%02x", (unsigned)status & 0xff);
    send_text(s, text);
}

/* --- threads --- */

static unsigned n_cpus(const GdbServer *s)
{
    return MIN(s->target->n_cpus(s->target->opaque), GDB_CPUS_MAX);
}

static bool has_cpu(const GdbServer *s, unsigned cpu)
{
    return cpu < n_cpus(s) && (!s->target->has_cpu || s->target->has_cpu(s->target->opaque, cpu));
}

/* Reads a thread id: *any for 0 and -1, else *cpu. */
static bool take_thread(const GdbServer *s, const char **text, unsigned *cpu, bool *any)
{
    uint64_t n;
    *any = true;
    if (strncmp(*text, "-1", 2) == 0) {
        *text += 2;
        return true;
    }
    if (!gdb_hex_number(text, &n) || (n && !has_cpu(s, (unsigned)MIN(n - 1, GDB_CPUS_MAX)))) {
        return false;
    }
    if (n) {
        *any = false;
        *cpu = (unsigned)n - 1;
    }
    return true;
}

/* --- run control --- */

static void resume(GdbServer *s)
{
    s->running = true;
    s->target->resume(s->target->opaque, s->actions);
}

static void set_all_actions(GdbServer *s, GdbAction action)
{
    for (unsigned i = 0; i < GDB_CPUS_MAX; i++) {
        s->actions[i] = action;
    }
}

/* c [addr], s [addr], C sig[;addr], S sig[;addr] */
static void do_continue(GdbServer *s, const char *args)
{
    char     kind = args[-1];
    uint64_t addr;
    if (kind == 'C' || kind == 'S') {
        if (!gdb_hex_number(&args, &addr)) {
            send_text(s, "E22");
            return;
        }
        args += *args == ';';
    }
    if (*args) {
        /* Only gdbs of old give an address. */
        send_text(s, "E22");
        return;
    }
    if (kind == 'c' || kind == 'C') {
        set_all_actions(s, GDB_CONTINUE);
    } else {
        set_all_actions(s, GDB_STAY);
        s->actions[s->step_cpu_any ? s->cpu : s->step_cpu] = GDB_STEP;
    }
    resume(s);
}

/* vCont;action[:thread]... : the leftmost action that names a thread counts. */
static void do_vcont(GdbServer *s, const char *args)
{
    if (*args == '?') {
        send_text(s, "vCont;c;C;s;S");
        return;
    }
    static const GdbAction undecided = (GdbAction)-1;
    set_all_actions(s, undecided);
    unsigned count = n_cpus(s);
    while (*args == ';') {
        args++;
        char      kind = *args;
        uint64_t  signal;
        bool      any = true, with_signal = kind == 'C' || kind == 'S';
        unsigned  cpu    = 0;
        GdbAction action = kind == 'c' || kind == 'C' ? GDB_CONTINUE : GDB_STEP;
        if (!kind || !strchr("cCsS", kind)) {
            send_text(s, "");
            return;
        }
        args++;
        if (with_signal && !gdb_hex_number(&args, &signal)) {
            send_text(s, "E22");
            return;
        }
        if (*args == ':') {
            args++;
            if (!take_thread(s, &args, &cpu, &any)) {
                send_text(s, "E22");
                return;
            }
        }
        for (unsigned i = 0; i < count; i++) {
            if (s->actions[i] == undecided && (any || i == cpu)) {
                s->actions[i] = action;
            }
        }
    }
    if (*args) {
        send_text(s, "E22");
        return;
    }
    bool some = false;
    for (unsigned i = 0; i < GDB_CPUS_MAX; i++) {
        s->actions[i] = s->actions[i] == undecided ? GDB_STAY : s->actions[i];
        some |= s->actions[i] != GDB_STAY;
    }
    if (!some) {
        send_text(s, "E22");
        return;
    }
    resume(s);
}

static void do_detach(GdbServer *s, const char *args)
{
    remove_all_breakpoints(s);
    send_text(s, "OK");
    set_all_actions(s, GDB_CONTINUE);
    s->target->resume(s->target->opaque, s->actions);
}

static void do_kill(GdbServer *s, const char *args)
{
    s->target->kill(s->target->opaque);
}

static void do_vkill(GdbServer *s, const char *args)
{
    send_text(s, "OK");
    s->target->kill(s->target->opaque);
}

static void do_why_stopped(GdbServer *s, const char *args)
{
    remove_all_breakpoints(s);
    s->stop_at_breakpoint = false;
    send_stop(s);
}

/* --- registers --- */

static void append_register(GdbServer *s, GString *out, unsigned reg)
{
    uint8_t value[GDB_REGISTER_MAX] = {};
    s->target->read_register(s->target->opaque, s->cpu, reg, value);
    gdb_hex_append(out, value, s->target->register_size(s->target->opaque, reg));
}

static void do_read_registers(GdbServer *s, const char *args)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (unsigned reg = 0; reg < s->target->n_registers; reg++) {
        append_register(s, text, reg);
    }
    send_packet(s, text->str, text->len);
}

static void do_write_registers(GdbServer *s, const char *args)
{
    bool ok = true;
    for (unsigned reg = 0; reg < s->target->n_registers && *args; reg++) {
        uint8_t value[GDB_REGISTER_MAX];
        if (!gdb_hex_bytes(&args, value, s->target->register_size(s->target->opaque, reg))) {
            ok = false;
            break;
        }
        ok &= s->target->write_register(s->target->opaque, s->cpu, reg, value);
    }
    send_text(s, ok ? "OK" : "E22");
}

static void do_read_register(GdbServer *s, const char *args)
{
    uint64_t reg;
    g_autoptr(GString) text = g_string_new(NULL);
    if (gdb_hex_number(&args, &reg) && reg < s->target->n_registers) {
        append_register(s, text, (unsigned)reg);
    } else {
        g_string_assign(text, "E14");
    }
    send_packet(s, text->str, text->len);
}

static void do_write_register(GdbServer *s, const char *args)
{
    uint64_t reg;
    uint8_t  value[GDB_REGISTER_MAX];
    bool     ok = gdb_hex_number(&args, &reg) && *args++ == '=' && reg < s->target->n_registers &&
              gdb_hex_bytes(&args, value, s->target->register_size(s->target->opaque, (unsigned)reg)) &&
              s->target->write_register(s->target->opaque, s->cpu, (unsigned)reg, value);
    send_text(s, ok ? "OK" : "E22");
}

/* --- memory --- */

static bool take_range(const char **args, uint64_t *addr, uint64_t *len)
{
    return gdb_hex_number(args, addr) && *(*args)++ == ',' && gdb_hex_number(args, len);
}

static void do_read_memory(GdbServer *s, const char *args)
{
    uint64_t addr, len;
    uint8_t  buf[GDB_PACKET_MAX / 2];
    if (!take_range(&args, &addr, &len)) {
        send_text(s, "E22");
        return;
    }
    len        = MIN(len, sizeof buf);
    size_t got = s->target->read_memory(s->target->opaque, s->cpu, s->physical, addr, buf, len);
    if (!got && len) {
        send_text(s, "E14");
        return;
    }
    g_autoptr(GString) text = g_string_new(NULL);
    gdb_hex_append(text, buf, got);
    send_packet(s, text->str, text->len);
}

static void write_memory(GdbServer *s, uint64_t addr, const void *buf, size_t len)
{
    bool ok = s->target->write_memory(s->target->opaque, s->cpu, s->physical, addr, buf, len) == len;
    send_text(s, ok ? "OK" : "E14");
}

/* M addr,len:hex */
static void do_write_memory(GdbServer *s, const char *args)
{
    uint64_t addr, len;
    uint8_t  buf[GDB_PACKET_MAX / 2];
    if (!take_range(&args, &addr, &len) || *args++ != ':' || len > sizeof buf || !gdb_hex_bytes(&args, buf, len)) {
        send_text(s, "E22");
        return;
    }
    write_memory(s, addr, buf, len);
}

/* X addr,len:bytes */
static void do_write_binary(GdbServer *s, const char *args)
{
    uint64_t addr, len;
    if (!take_range(&args, &addr, &len) || *args++ != ':' || len != s->frame.len - (size_t)(args - s->frame.data)) {
        send_text(s, "E22");
        return;
    }
    write_memory(s, addr, args, len);
}

/* Z type,addr,kind and z */
static void do_breakpoint(GdbServer *s, const char *args)
{
    bool     insert = args[-1] == 'Z';
    char     type   = *args;
    uint64_t addr;
    if (type != '0' && type != '1') {
        send_text(s, ""); /* watchpoints: gdb steps instead */
        return;
    }
    args++;
    if (*args++ != ',' || !gdb_hex_number(&args, &addr)) {
        send_text(s, "E22");
        return;
    }
    if (insert) {
        insert_breakpoint(s, type, addr);
        send_text(s, "OK");
        return;
    }
    for (guint i = 0; i < s->breakpoints->len; i++) {
        Breakpoint *b = &g_array_index(s->breakpoints, Breakpoint, i);
        if (b->addr == addr && b->type == type) {
            remove_breakpoint(s, i);
            send_text(s, "OK");
            return;
        }
    }
    send_text(s, "E22");
}

/* --- threads and queries --- */

static void do_set_thread(GdbServer *s, const char *args)
{
    char     kind = *args;
    bool     any;
    unsigned cpu = 0;
    if (!kind) {
        send_text(s, "E22");
        return;
    }
    args++;
    if (!take_thread(s, &args, &cpu, &any)) {
        send_text(s, "E22");
        return;
    }
    if (kind == 'g') {
        s->cpu = any ? s->cpu : cpu;
    } else if (kind == 'c') {
        s->step_cpu     = cpu;
        s->step_cpu_any = any;
    } else {
        send_text(s, "E22");
        return;
    }
    send_text(s, "OK");
}

static void do_is_alive(GdbServer *s, const char *args)
{
    unsigned cpu;
    bool     any;
    send_text(s, take_thread(s, &args, &cpu, &any) && !any ? "OK" : "E22");
}

static void do_supported(GdbServer *s, const char *args)
{
    s->wants_swbreak = strstr(args, "swbreak+") != NULL;
    s->wants_hwbreak = strstr(args, "hwbreak+") != NULL;

    g_autofree char *text =
        g_strdup_printf("PacketSize=%x;qXfer:features:read+;vContSupported+;QStartNoAckMode+%s%s", GDB_PACKET_MAX,
                        s->wants_swbreak ? ";swbreak+" : "", s->wants_hwbreak ? ";hwbreak+" : "");
    send_text(s, text);
}

static void do_no_ack(GdbServer *s, const char *args)
{
    send_text(s, "OK");
    s->no_ack = true;
}

/* qXfer:features:read:ANNEX:OFFSET,LENGTH */
static void do_features(GdbServer *s, const char *args)
{
    uint64_t offset, len;
    if (strncmp(args, "target.xml:", 11) != 0) {
        send_text(s, "E00");
        return;
    }
    args += 11;
    size_t total = strlen(s->target->description);
    if (!take_range(&args, &offset, &len) || offset > total) {
        send_text(s, "E01");
        return;
    }
    len                     = MIN(len, GDB_PACKET_MAX / 2);
    bool more               = total - offset > len;
    g_autoptr(GString) text = g_string_new(more ? "m" : "l");
    g_string_append_len(text, s->target->description + offset, (gssize)MIN(len, total - offset));
    send_packet(s, text->str, text->len);
}

static void do_threads(GdbServer *s, const char *args)
{
    g_autoptr(GString) text = g_string_new("m");
    for (unsigned i = 0; i < n_cpus(s); i++) {
        if (has_cpu(s, i)) {
            g_string_append_printf(text, "%s%02x", text->len > 1 ? "," : "", i + 1);
        }
    }
    send_packet(s, text->str, text->len);
}

static void do_more_threads(GdbServer *s, const char *args)
{
    send_text(s, "l");
}

static void do_thread_info(GdbServer *s, const char *args)
{
    unsigned cpu;
    bool     any;
    if (!take_thread(s, &args, &cpu, &any) || any) {
        send_text(s, "E22");
        return;
    }
    const char      *state = s->target->is_halted(s->target->opaque, cpu) ? "halted" : "running";
    g_autofree char *info  = g_strdup_printf("CPU#%u [%s]", cpu, state);

    g_autoptr(GString) text = g_string_new(NULL);
    gdb_hex_append(text, info, strlen(info));
    send_packet(s, text->str, text->len);
}

static void do_current_thread(GdbServer *s, const char *args)
{
    g_autofree char *text = g_strdup_printf("QC%02x", s->cpu + 1);
    send_text(s, text);
}

static void do_attached(GdbServer *s, const char *args)
{
    send_text(s, "1");
}

static void do_command(GdbServer *s, const char *args)
{
    size_t           len  = strlen(args) / 2;
    g_autofree char *line = g_malloc0(len + 1);
    if (strlen(args) % 2 || !gdb_hex_bytes(&args, line, len)) {
        send_text(s, "E22");
        return;
    }
    g_autoptr(GString) answer = g_string_new(NULL), text = g_string_new(NULL);
    if (!s->target->command(s->target->opaque, line, answer)) {
        g_string_assign(answer, "unknown command; 'help' lists what there is\n");
    }
    gdb_hex_append(text, answer->str, MIN(answer->len, GDB_PACKET_MAX / 2 - 1));
    send_text(s, text->len ? text->str : "OK");
}

/* Steps run with interrupts held off and timers stopped (bits 1 and 2), and nothing else is offered. */
static void do_step_bits(GdbServer *s, const char *args)
{
    send_text(s, "ENABLE=1,NOIRQ=2,NOTIMER=4");
}

static void do_step_get(GdbServer *s, const char *args)
{
    send_text(s, "0x7");
}

static void do_step_set(GdbServer *s, const char *args)
{
    uint64_t bits;
    args += strncmp(args, "0x", 2) == 0 ? 2 : 0;
    send_text(s, gdb_hex_number(&args, &bits) && bits == 7 ? "OK" : "E22");
}

static void do_physical_get(GdbServer *s, const char *args)
{
    send_text(s, s->physical ? "1" : "0");
}

static void do_physical_set(GdbServer *s, const char *args)
{
    s->physical = *args == '1';
    send_text(s, *args == '0' || *args == '1' ? "OK" : "E22");
}

static void do_nothing(GdbServer *s, const char *args)
{
    send_text(s, "");
}

static void do_extended(GdbServer *s, const char *args)
{
    send_text(s, "OK");
}

/* The first that is a prefix of the packet counts; `args` is what follows it. */
static const struct {
    const char *prefix;
    void (*run)(GdbServer *s, const char *args);
} commands[] = {
    { "!", do_extended },
    { "?", do_why_stopped },
    { "g", do_read_registers },
    { "G", do_write_registers },
    { "p", do_read_register },
    { "P", do_write_register },
    { "m", do_read_memory },
    { "M", do_write_memory },
    { "X", do_write_binary },
    { "c", do_continue },
    { "C", do_continue },
    { "s", do_continue },
    { "S", do_continue },
    { "vCont", do_vcont },
    { "vKill;", do_vkill },
    { "D", do_detach },
    { "k", do_kill },
    { "H", do_set_thread },
    { "T", do_is_alive },
    { "Z", do_breakpoint },
    { "z", do_breakpoint },
    { "qSupported", do_supported },
    { "QStartNoAckMode", do_no_ack },
    { "qXfer:features:read:", do_features },
    { "qfThreadInfo", do_threads },
    { "qsThreadInfo", do_more_threads },
    { "qThreadExtraInfo,", do_thread_info },
    { "qCRC", do_nothing },
    { "qC", do_current_thread },
    { "qAttached", do_attached },
    { "qRcmd,", do_command },
    { "qqemu.sstepbits", do_step_bits },
    { "qqemu.sstep", do_step_get },
    { "Qqemu.sstep=", do_step_set },
    { "qqemu.PhyMemMode", do_physical_get },
    { "Qqemu.PhyMemMode:", do_physical_set },
};

static void run_packet(GdbServer *s)
{
    const char *data = s->frame.data;
    for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++) {
        size_t len = strlen(commands[i].prefix);
        if (strncmp(data, commands[i].prefix, len) == 0) {
            commands[i].run(s, data + len);
            return;
        }
    }
    send_text(s, "");
}

/* --- the connection --- */

void gdb_server_connected(GdbServer *s)
{
    s->frame.state  = GDB_FRAME_IDLE;
    s->no_ack       = false;
    s->running      = false;
    s->physical     = false;
    s->cpu          = 0;
    s->step_cpu_any = true;
    s->stop_cpu     = 0;
    s->stop_signal  = GDB_SIGNAL_TRAP;
    g_byte_array_set_size(s->last, 0);
}

void gdb_server_disconnected(GdbServer *s)
{
    s->running = false;
    remove_all_breakpoints(s);
}

void gdb_server_take(GdbServer *s, const uint8_t *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        switch (gdb_frame_take(&s->frame, data[i])) {
        case GDB_INPUT_NONE:
        case GDB_INPUT_ACK: break;
        case GDB_INPUT_NACK:
            if (!s->no_ack && s->last->len) {
                s->target->send(s->target->opaque, s->last->data, s->last->len);
            }
            break;
        case GDB_INPUT_BAD:
            if (!s->no_ack) {
                s->target->send(s->target->opaque, "-", 1);
            }
            break;
        case GDB_INPUT_INTERRUPT:
            s->target->stop(s->target->opaque);
            gdb_server_stopped(s, has_cpu(s, s->stop_cpu) ? s->stop_cpu : 0, GDB_SIGNAL_INT);
            break;
        case GDB_INPUT_PACKET:
            if (!s->no_ack) {
                s->target->send(s->target->opaque, "+", 1);
            }
            if (s->target->is_running(s->target->opaque)) {
                /* Nothing can be answered about what runs. */
                s->running = false;
                s->target->stop(s->target->opaque);
            }
            run_packet(s);
            break;
        }
    }
}

void gdb_server_free(GdbServer *s)
{
    remove_all_breakpoints(s);
    g_array_free(s->breakpoints, true);
    g_byte_array_unref(s->last);
    g_free(s);
}
