/* Trace events: what the machine does, event by event, in the -d log. They are switched one by one, also while the
 * machine runs (-trace, -d trace:NAME, HMP's trace-event, QMP's trace-event-set-state).
 *
 * An event is a row of TRACE_EVENTS and a call of trace(). Which are on stands in the Log; one that is off costs a load
 * and a test. Any thread. */

#ifndef QUERN_BASE_TRACE_H
#define QUERN_BASE_TRACE_H

#include "base/log.h"

/* Names as QEMU has them where it has such an event. */
#define TRACE_EVENTS(X)                                                                                                \
    X(TRACE_REGION_READ, "memory_region_ops_read", "a guest reads a register of a device")                             \
    X(TRACE_REGION_WRITE, "memory_region_ops_write", "a guest writes a register of a device")                          \
    X(TRACE_PCI_READ, "pci_cfg_read", "a guest reads PCI configuration space")                                         \
    X(TRACE_PCI_WRITE, "pci_cfg_write", "a guest writes PCI configuration space")                                      \
    X(TRACE_VIRTIO_KICK, "virtio_queue_notify", "a driver has put something into a queue")                             \
    X(TRACE_VIRTIO_NOTIFY, "virtio_notify", "a virtio device interrupts because of a queue")                           \
    X(TRACE_VIRTIO_STATUS, "virtio_set_status", "a driver writes a virtio device's status")                            \
    X(TRACE_PS2_KEYBOARD, "ps2_write_keyboard", "a byte for the PS/2 keyboard")                                        \
    X(TRACE_PS2_MOUSE, "ps2_write_mouse", "a byte for the PS/2 mouse")                                                 \
    X(TRACE_FW_CFG_SELECT, "fw_cfg_select", "an item of fw_cfg is selected")                                           \
    X(TRACE_PIC, "pic_set_irq", "a pin of the 8259 pair changes")                                                      \
    X(TRACE_IOAPIC, "ioapic_set_irq", "a pin of the I/O APIC changes")                                                 \
    X(TRACE_DEVICE_RESET, "qdev_reset", "a device is reset")                                                           \
    X(TRACE_UNPACK_KERNEL, "unpack_kernel", "unpack-kernel=on has put a kernel into RAM, with the way it took")        \
    X(TRACE_RUN_STATE, "runstate_set", "the machine's state changes")                                                  \
    X(TRACE_QMP_COMMAND, "handle_qmp_command", "a QMP client sends a command")                                         \
    X(TRACE_QMP_EVENT, "monitor_protocol_event_emit", "QMP clients get an event")                                      \
    X(TRACE_KVM_EXIT, "kvm_run_exit", "KVM hands a vCPU back")

typedef enum TraceId {
#define TRACE_ID(id, name, help) id,
    TRACE_EVENTS(TRACE_ID)
#undef TRACE_ID
        TRACE_COUNT,
} TraceId;

static inline bool trace_on(const Log *log, TraceId id)
{
    return log && __builtin_expect(__atomic_load_n(&log->traced, __ATOMIC_RELAXED) >> id & 1, 0);
}

void trace_print(const Log *log, TraceId id, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* One line: the event's name and what the format makes; the arguments are looked at only when the event is on. */
#define trace(log, id, ...)                                                                                            \
    do {                                                                                                               \
        const Log *trace_log_ = (log);                                                                                 \
        if (trace_on(trace_log_, id)) {                                                                                \
            trace_print(trace_log_, id, __VA_ARGS__);                                                                  \
        }                                                                                                              \
    } while (0)

const char *trace_name(TraceId id);
void        trace_switch(Log *log, TraceId id, bool on);

/* Does the pattern (* and ?) match it? */
bool trace_matches(const char *pattern, TraceId id);

/* A name that is no pattern has to be one. */
bool trace_check(const char *pattern, Error *err);

/* All that match: at least one has to. */
bool trace_set(Log *log, const char *pattern, bool on, Error *err);

/* A file of patterns, one a line; "-" before one switches off, "#" begins a comment. */
bool trace_read_file(Log *log, const char *path, Error *err);

void trace_print_help(GString *out);

#endif
