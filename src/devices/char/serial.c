/* isa-serial: a 16550A UART at the ports and interrupts of a PC's COM1 to COM4. */

#include "devices/char/uart.h"
#include "devices/device.h"

#include <string.h>

enum { COM_PORTS = 4 };
#define BY_INDEX UINT32_MAX

static const struct {
    uint16_t port;
    uint8_t  irq;
} com_ports[COM_PORTS] = { { 0x3f8, 4 }, { 0x2f8, 3 }, { 0x3e8, 4 }, { 0x2e8, 3 } };

typedef struct IsaSerial {
    Device   dev;
    char    *chardev;
    uint32_t index, iobase, irq;
    bool     wakeup;
    Uart     uart;
    Region   ports;
} IsaSerial;

static const Field serial_properties[] = {
    FIELD(IsaSerial, chardev, "chardev", .help = "id of the chardev it is connected to"),
    FIELD(IsaSerial, index, "index", .initial = BY_INDEX, .help = "0 to 3 for COM1 to COM4; 4294967295: the next one"),
    FIELD(IsaSerial, iobase, "iobase", .initial = BY_INDEX, .help = "first port; 4294967295: by index"),
    FIELD(IsaSerial, irq, "irq", .initial = BY_INDEX, .help = "ISA interrupt; 4294967295: by index"),
    FIELD(IsaSerial, uart.baudbase, "baudbase", .initial = 115200, .min = 1, .max = UINT32_MAX,
          .help = "input clock divided by 16"),
    FIELD(IsaSerial, wakeup, "wakeup", .help = "input wakes a sleeping machine up"),
    {}
};

static const Field serial_state[] = { FIELD(IsaSerial, uart, "uart", .sub = uart_state), {} };

static uint64_t serial_read(void *opaque, uint64_t offset, unsigned size)
{
    return uart_read(&((IsaSerial *)opaque)->uart, (unsigned)offset);
}

static void serial_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    uart_write(&((IsaSerial *)opaque)->uart, (unsigned)offset, (uint8_t)value);
}

static const IoOps serial_ops = { .name = "serial", .access = IO_BYTE, .read = serial_read, .write = serial_write };

/* Which COM ports exist already. */
static void note_index(Device *dev, void *used)
{
    if (strcmp(dev->obj.type->name, "isa-serial") == 0) {
        uint32_t index = ((IsaSerial *)dev)->index;
        if (index < COM_PORTS) {
            ((bool *)used)[index] = true;
        }
    }
}

static void wake(void *serial)
{
    platform_wake(((IsaSerial *)serial)->dev.platform, WAKE_OTHER);
}

static bool serial_realize(Device *dev, Error *err)
{
    IsaSerial *s = (IsaSerial *)dev;
    Platform  *p = dev->platform;
    if (s->index == BY_INDEX) {
        bool used[COM_PORTS] = {};
        devices_foreach(p, note_index, used);
        for (s->index = 0; s->index < COM_PORTS && used[s->index]; s->index++) {
        }
    }
    if (s->index >= COM_PORTS && (s->iobase == BY_INDEX || s->irq == BY_INDEX)) {
        return error_set(err, "there are only %d serial ports with usual addresses: give iobase and irq", COM_PORTS);
    }
    if (s->iobase == BY_INDEX) {
        s->iobase = com_ports[s->index].port;
    }
    if (s->irq == BY_INDEX) {
        s->irq = com_ports[s->index].irq;
    }
    if (s->iobase > 0x10000 - UART_PORTS) {
        return error_set(err, "iobase 0x%x reaches beyond port 0xffff", s->iobase);
    }
    if (s->irq >= G_N_ELEMENTS(p->isa_irq)) {
        return error_set(err, "irq %u is no ISA interrupt (0 to 15)", s->irq);
    }
    s->uart.irq.to   = p->isa_irq[s->irq];
    s->uart.received = s->wakeup ? wake : NULL;
    s->uart.owner    = s;
    if (!uart_realize(&s->uart, p->chars, s->chardev, p->clocks, err)) {
        return false;
    }
    device_add_outputs(dev, NULL, &s->uart.irq, 1);
    region_init_io(&s->ports, p->memory, "serial", UART_PORTS, &serial_ops, s);
    isa_map_ports(dev, &s->ports, (uint16_t)s->iobase);
    return true;
}

static void serial_unrealize(Device *dev)
{
    IsaSerial *s = (IsaSerial *)dev;
    uart_unrealize(&s->uart);
    region_unmap(&s->ports);
    region_destroy(&s->ports);
}

static void serial_reset(Device *dev, ResetKind kind)
{
    uart_reset(&((IsaSerial *)dev)->uart);
}

static bool serial_post_load(Device *dev, Error *err)
{
    uart_loaded(&((IsaSerial *)dev)->uart);
    return true;
}

DEVICE_TYPE(serial) = {
    .name       = "isa-serial",
    .help       = "16550A serial port",
    .class      = OBJECT_CLASS_DEVICE,
    .size       = sizeof(IsaSerial),
    .properties = serial_properties,
    .state      = serial_state,
    .bus        = BUS_ISA,
    .category   = DEVICE_INPUT,
    .realize    = serial_realize,
    .unrealize  = serial_unrealize,
    .reset      = serial_reset,
    .post_load  = serial_post_load,
};
