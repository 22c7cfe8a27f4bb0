/* isa-parallel: a PC's parallel port (LPT1 to LPT3).
 * Specification: IEEE 1284-1994; IBM PC/AT technical reference, parallel printer adapter: data, status and control
 * registers; Intel 82091AA data sheet (1994), section 5: direction bit, EPP registers and their time-out bit.
 *
 * On a stream it is in the compatibility mode that printers take: a byte goes to the chardev when the guest sets
 * strobe; the port is busy while the chardev takes no more. On a parallel port of the host the guest's registers are
 * the host's, with EPP. Machine lock. */

#include "char/char.h"
#include "devices/device.h"

#include <string.h>

enum { LPT_PORTS = 3, PARALLEL_PORTS = 8 };
#define BY_INDEX UINT32_MAX

enum { REG_DATA, REG_STATUS, REG_CONTROL, REG_EPP_ADDRESS, REG_EPP_DATA };

enum {
    STATUS_READY   = 0x80, /* not BUSY */
    STATUS_ACK     = 0x40, /* low while a byte is acknowledged */
    STATUS_SELECT  = 0x10,
    STATUS_ERROR   = 0x08, /* low: error */
    STATUS_FIXED   = 0x07, /* not wired; read as ones */
    STATUS_TIMEOUT = 0x01, /* with EPP: nobody answered the last cycle */
};

enum {
    CONTROL_STROBE    = 0x01,
    CONTROL_AUTOFEED  = 0x02,
    CONTROL_INIT      = 0x04,
    CONTROL_SELECT    = 0x08,
    CONTROL_INTERRUPT = 0x10,
    CONTROL_REVERSE   = CHAR_PORT_REVERSE,
    CONTROL_FIXED     = 0xc0
};

static const struct {
    uint16_t port;
    uint8_t  irq;
} lpt_ports[LPT_PORTS] = { { 0x378, 7 }, { 0x278, 7 }, { 0x3bc, 7 } };

typedef struct IsaParallel {
    Device       dev;
    char        *chardev;
    uint32_t     index, iobase, irq_number;
    uint8_t      data, control;
    uint8_t      pending; /* strobed and not taken yet */
    bool         busy;
    bool         timeout; /* EPP */
    IrqLine      irq;
    CharFrontend fe;
    Region       ports;
} IsaParallel;

static const Field parallel_properties[] = {
    FIELD(IsaParallel, chardev, "chardev", .help = "id of the chardev it is connected to"),
    FIELD(IsaParallel, index, "index", .initial = BY_INDEX,
          .help = "0 to 2 for LPT1 to LPT3; 4294967295: the next one"),
    FIELD(IsaParallel, iobase, "iobase", .initial = BY_INDEX, .help = "first port; 4294967295: by index"),
    FIELD(IsaParallel, irq_number, "irq", .initial = 7, .min = 0, .max = 15, .help = "ISA interrupt"),
    {},
};

static const Field parallel_state[] = {
    FIELD(IsaParallel, data, "data"), FIELD(IsaParallel, control, "control"), FIELD(IsaParallel, pending, "pending"),
    FIELD(IsaParallel, busy, "busy"), FIELD(IsaParallel, timeout, "timeout"), {},
};

/* Hands the pending byte over; when it is taken the printer acknowledges. */
static void parallel_send(IsaParallel *p)
{
    if (p->busy && char_write(&p->fe, &p->pending, 1) != 0) {
        p->busy = false;
        if (p->control & CONTROL_INTERRUPT) {
            irq_pulse(&p->irq);
        }
    }
}

static void parallel_writable(void *opaque)
{
    parallel_send(opaque);
}

static size_t parallel_can_read(void *opaque)
{
    return 0;
}

static uint64_t parallel_read(void *opaque, uint64_t offset, unsigned size)
{
    const IsaParallel *p = opaque;
    switch (offset) {
    case REG_DATA: return p->data;
    case REG_STATUS: return STATUS_ACK | STATUS_SELECT | STATUS_ERROR | STATUS_FIXED | (p->busy ? 0 : STATUS_READY);
    case REG_CONTROL: return p->control | CONTROL_FIXED;
    default: return 0xff;
    }
}

static void parallel_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    IsaParallel *p   = opaque;
    uint8_t      old = p->control;
    switch (offset) {
    case REG_DATA: p->data = (uint8_t)value; break;
    case REG_CONTROL:
        p->control = (uint8_t)value & (uint8_t)~CONTROL_FIXED;
        if ((value & CONTROL_STROBE) && !(old & CONTROL_STROBE) && !p->busy) {
            p->pending = p->data;
            p->busy    = true;
            parallel_send(p);
        }
        break;
    default: break;
    }
}

static const IoOps parallel_ops = {
    .name = "parallel", .access = IO_BYTE, .read = parallel_read, .write = parallel_write
};

/* --- on a parallel port of the host --- */

/* EPP drives strobe, autofeed and select itself: software must have them off, and the direction right. */
static bool epp_ready(const IsaParallel *p, bool out)
{
    uint8_t lines = CONTROL_STROBE | CONTROL_AUTOFEED | CONTROL_SELECT | CONTROL_INIT | (out ? CONTROL_REVERSE : 0);
    return (p->control & lines) == CONTROL_INIT;
}

static uint8_t port_get(IsaParallel *p, CharPort what)
{
    uint8_t value = 0xff;
    return char_port(&p->fe, what, &value) ? value : 0xff;
}

static void port_put(IsaParallel *p, CharPort what, uint8_t value)
{
    char_port(&p->fe, what, &value);
}

static uint8_t epp_read(IsaParallel *p, CharPort what)
{
    uint8_t value = 0xff;
    if (epp_ready(p, false) && !char_port(&p->fe, what, &value)) {
        p->timeout = true;
        value      = 0xff;
    }
    return value;
}

static void epp_write(IsaParallel *p, CharPort what, uint8_t value)
{
    if (epp_ready(p, true) && !char_port(&p->fe, what, &value)) {
        p->timeout = true;
    }
}

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size)
{
    IsaParallel *p = opaque;
    switch (offset) {
    case REG_DATA: return p->control & CONTROL_REVERSE ? port_get(p, CHAR_PORT_READ_DATA) : p->data;
    case REG_STATUS:
        return (port_get(p, CHAR_PORT_READ_STATUS) & ~(unsigned)STATUS_TIMEOUT) | (p->timeout ? STATUS_TIMEOUT : 0);
    case REG_CONTROL: return p->control | CONTROL_FIXED;
    case REG_EPP_ADDRESS: return epp_read(p, CHAR_PORT_READ_EPP_ADDRESS);
    default: return epp_read(p, CHAR_PORT_READ_EPP_DATA);
    }
}

static void port_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    IsaParallel *p = opaque;
    switch (offset) {
    case REG_DATA:
        p->data = (uint8_t)value;
        port_put(p, CHAR_PORT_WRITE_DATA, p->data);
        break;
    case REG_STATUS: p->timeout = false; break; /* some chips want a 1 there, some a 0 */
    case REG_CONTROL:
        p->control = (uint8_t)value & (uint8_t)~CONTROL_FIXED;
        port_put(p, CHAR_PORT_WRITE_CONTROL, p->control);
        break;
    case REG_EPP_ADDRESS: epp_write(p, CHAR_PORT_WRITE_EPP_ADDRESS, (uint8_t)value); break;
    default: epp_write(p, CHAR_PORT_WRITE_EPP_DATA, (uint8_t)value); break;
    }
}

/* EPP data is four ports wide; a wide access is so many cycles. */
static const IoOps port_ops = { .name = "parallel", .access = IO_BYTE, .read = port_read, .write = port_write };

static void parallel_event(void *opaque, CharEvent event)
{
    IsaParallel *p = opaque;
    if (event == CHAR_INTERRUPT && p->control & CONTROL_INTERRUPT) {
        irq_pulse(&p->irq);
    }
}

static void update_port(IsaParallel *p)
{
    if (char_is_port(&p->fe)) {
        port_put(p, CHAR_PORT_WRITE_DATA, p->data);
        port_put(p, CHAR_PORT_WRITE_CONTROL, p->control);
    }
}

/* --- life --- */

static void note_index(Device *dev, void *used)
{
    if (strcmp(dev->obj.type->name, "isa-parallel") == 0 && ((IsaParallel *)dev)->index < LPT_PORTS) {
        ((bool *)used)[((IsaParallel *)dev)->index] = true;
    }
}

static bool parallel_realize(Device *dev, Error *err)
{
    IsaParallel *p        = (IsaParallel *)dev;
    Platform    *platform = dev->platform;
    if (p->index == BY_INDEX) {
        bool used[LPT_PORTS] = {};
        devices_foreach(platform, note_index, used);
        for (p->index = 0; p->index < LPT_PORTS && used[p->index]; p->index++) {
        }
    }
    if (p->index >= LPT_PORTS && p->iobase == BY_INDEX) {
        return error_set(err, "there are only %d parallel ports with usual addresses: give iobase", LPT_PORTS);
    }
    if (p->iobase == BY_INDEX) {
        p->iobase = lpt_ports[p->index].port;
    }
    if (p->iobase > 0x10000 - PARALLEL_PORTS) {
        return error_set(err, "iobase 0x%x reaches beyond port 0xffff", p->iobase);
    }
    p->irq.to        = platform->isa_irq[p->irq_number];
    p->fe.opaque     = p;
    p->fe.takes_port = true;
    p->fe.event      = parallel_event;
    p->fe.can_read   = parallel_can_read;
    p->fe.writable   = parallel_writable;
    if (!char_attach_id(&p->fe, platform->chars, p->chardev, err)) {
        return false;
    }
    device_add_outputs(dev, NULL, &p->irq, 1);
    region_init_io(&p->ports, platform->memory, "parallel", PARALLEL_PORTS,
                   char_is_port(&p->fe) ? &port_ops : &parallel_ops, p);
    isa_map_ports(dev, &p->ports, (uint16_t)p->iobase);
    return true;
}

static void parallel_unrealize(Device *dev)
{
    IsaParallel *p = (IsaParallel *)dev;
    char_detach(&p->fe);
    region_unmap(&p->ports);
    region_destroy(&p->ports);
}

static void parallel_reset(Device *dev, ResetKind kind)
{
    IsaParallel *p = (IsaParallel *)dev;
    p->data        = 0;
    p->control     = CONTROL_INIT | CONTROL_SELECT;
    p->pending     = 0;
    p->busy = p->timeout = false;
    update_port(p);
}

static bool parallel_post_load(Device *dev, Error *err)
{
    parallel_send((IsaParallel *)dev);
    update_port((IsaParallel *)dev);
    return true;
}

DEVICE_TYPE(parallel) = {
    .name       = "isa-parallel",
    .help       = "parallel port",
    .class      = OBJECT_CLASS_DEVICE,
    .size       = sizeof(IsaParallel),
    .properties = parallel_properties,
    .state      = parallel_state,
    .bus        = BUS_ISA,
    .category   = DEVICE_INPUT,
    .realize    = parallel_realize,
    .unrealize  = parallel_unrealize,
    .reset      = parallel_reset,
    .post_load  = parallel_post_load,
};
