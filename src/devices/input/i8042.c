/* The 8042 keyboard controller: two serial ports for keyboard and mouse, A20 gate, reset line.
 * Specification: Intel 8042 as programmed for the IBM PC/AT (AT technical reference, 1984, keyboard controller) and
 * PS/2 (hardware interface technical reference, 1988: auxiliary device, commands A7h-A9h, D3h, D4h). Machine lock. */

#include "devices/input/i8042.h"

#include "base/trace.h"
#include "devices/input/keys.h"
#include "devices/input/ps2.h"

#include <string.h>

enum {
    STATUS_OBF      = 1 << 0,
    STATUS_SYSTEM   = 1 << 2,
    STATUS_COMMAND  = 1 << 3,
    STATUS_UNLOCKED = 1 << 4,
    STATUS_AUX_OBF  = 1 << 5,
};

enum {
    MODE_KBD_INTERRUPT = 1 << 0,
    MODE_AUX_INTERRUPT = 1 << 1,
    MODE_SYSTEM        = 1 << 2,
    MODE_KBD_DISABLED  = 1 << 4,
    MODE_AUX_DISABLED  = 1 << 5,
    MODE_TRANSLATE     = 1 << 6,
};

enum { OUT_RESET = 1 << 0, OUT_A20 = 1 << 1, OUT_KBD_OBF = 1 << 4, OUT_AUX_OBF = 1 << 5 };

enum {
    CMD_READ_RAM      = 0x20,
    CMD_WRITE_RAM     = 0x60,
    CMD_AUX_DISABLE   = 0xa7,
    CMD_AUX_ENABLE    = 0xa8,
    CMD_AUX_TEST      = 0xa9,
    CMD_SELF_TEST     = 0xaa,
    CMD_KBD_TEST      = 0xab,
    CMD_KBD_DISABLE   = 0xad,
    CMD_KBD_ENABLE    = 0xae,
    CMD_READ_INPUT    = 0xc0,
    CMD_READ_OUTPUT   = 0xd0,
    CMD_WRITE_OUTPUT  = 0xd1,
    CMD_WRITE_KBD_OBF = 0xd2,
    CMD_WRITE_AUX_OBF = 0xd3,
    CMD_WRITE_AUX     = 0xd4,
    CMD_A20_OFF       = 0xdd,
    CMD_A20_ON        = 0xdf,
    CMD_PULSE         = 0xf0,
};

struct I8042 {
    Device      dev;
    uint8_t     ram[32]; /* [0] is the command byte (mode) */
    uint8_t     status, output, outport;
    uint8_t     command; /* waiting for its data byte */
    bool        release; /* translation: F0h came, the next code is a key's release */
    Ps2Keyboard keyboard;
    Ps2Mouse    mouse;
    IrqLine     kbd_irq, aux_irq, a20;
    Region      data_port, command_port;
    /* What comes from monitors and displays; not the guest's state. */
    KeyQueue     keys;
    InputHandler key_input, mouse_input;
};

static void update_irqs(I8042 *s)
{
    bool aux = s->status & STATUS_AUX_OBF, full = s->status & STATUS_OBF;
    s->outport = (uint8_t)((s->outport & ~(OUT_KBD_OBF | OUT_AUX_OBF)) | (full && !aux ? OUT_KBD_OBF : 0) |
                           (full && aux ? OUT_AUX_OBF : 0));
    irq_set(&s->kbd_irq, full && !aux && (s->ram[0] & MODE_KBD_INTERRUPT));
    irq_set(&s->aux_irq, full && aux && (s->ram[0] & MODE_AUX_INTERRUPT));
}

static void put_output(I8042 *s, uint8_t value, bool aux)
{
    s->output = value;
    s->status = (uint8_t)((s->status & ~STATUS_AUX_OBF) | STATUS_OBF | (aux ? STATUS_AUX_OBF : 0));
    update_irqs(s);
}

/* One byte of the keyboard as the host sees it; false: it was only a prefix. */
static bool translate(I8042 *s, uint8_t *value)
{
    if (!(s->ram[0] & MODE_TRANSLATE)) {
        return true;
    }
    if (*value == 0xf0) {
        s->release = true;
        return false;
    }
    if (*value < PS2_TRANSLATED) {
        *value = ps2_translation[*value];
    }
    if (s->release) {
        *value |= 0x80;
        s->release = false;
    }
    return true;
}

/* Fills an empty output buffer from the devices. */
static void poll_devices(I8042 *s)
{
    uint8_t value;
    while (!(s->status & STATUS_OBF) && !(s->ram[0] & MODE_KBD_DISABLED) && ps2_keyboard_read(&s->keyboard, &value)) {
        if (translate(s, &value)) {
            put_output(s, value, false);
        }
    }
    if (!(s->status & STATUS_OBF) && !(s->ram[0] & MODE_AUX_DISABLED) && ps2_mouse_read(&s->mouse, &value)) {
        put_output(s, value, true);
    }
}

static void write_outport(I8042 *s, uint8_t value)
{
    s->outport = value;
    irq_set(&s->a20, (value & OUT_A20) != 0);
    if (!(value & OUT_RESET)) {
        s->dev.platform->request_reset(s->dev.platform, RESET_GUEST);
    }
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
    I8042  *s     = opaque;
    uint8_t value = s->output;
    s->status &= (uint8_t) ~(STATUS_OBF | STATUS_AUX_OBF);
    update_irqs(s);
    poll_devices(s);
    return value;
}

static void data_write(void *opaque, uint64_t offset, uint64_t data, unsigned size)
{
    I8042  *s       = opaque;
    uint8_t value   = (uint8_t)data;
    uint8_t command = s->command;
    s->command      = 0;
    s->status &= (uint8_t)~STATUS_COMMAND;
    if (command >= CMD_WRITE_RAM && command < CMD_WRITE_RAM + 32) {
        s->ram[command & 31] = value;
        update_irqs(s);
    } else if (command == CMD_WRITE_OUTPUT) {
        write_outport(s, value);
    } else if (command == CMD_WRITE_KBD_OBF || command == CMD_WRITE_AUX_OBF) {
        put_output(s, value, command == CMD_WRITE_AUX_OBF);
    } else if (command == CMD_WRITE_AUX) {
        trace(s->dev.platform->log, TRACE_PS2_MOUSE, "val 0x%02x", value);
        ps2_mouse_write(&s->mouse, value);
    } else {
        s->ram[0] &= (uint8_t)~MODE_KBD_DISABLED; /* talking to the keyboard turns its clock on */
        trace(s->dev.platform->log, TRACE_PS2_KEYBOARD, "val 0x%02x", value);
        ps2_keyboard_write(&s->keyboard, value);
    }
    poll_devices(s);
}

static uint64_t status_read(void *opaque, uint64_t offset, unsigned size)
{
    return ((I8042 *)opaque)->status;
}

static void set_mode_bits(I8042 *s, uint8_t set, uint8_t clear)
{
    s->ram[0] = (uint8_t)((s->ram[0] | set) & ~clear);
}

static void self_test(I8042 *s)
{
    s->ram[0] = MODE_KBD_DISABLED | MODE_AUX_DISABLED | MODE_SYSTEM;
    s->status |= STATUS_SYSTEM;
    put_output(s, 0x55, false);
}

static void command_write(void *opaque, uint64_t offset, uint64_t data, unsigned size)
{
    I8042  *s       = opaque;
    uint8_t command = (uint8_t)data;
    s->status |= STATUS_COMMAND;
    s->command = 0;
    if (command < CMD_WRITE_RAM && command >= CMD_READ_RAM && command < CMD_READ_RAM + 32) {
        put_output(s, s->ram[command & 31], false);
    } else if (command >= CMD_WRITE_RAM && command < CMD_WRITE_RAM + 32) {
        s->command = command;
    } else if (command >= CMD_PULSE) {
        if (!(command & OUT_RESET)) { /* bits that are 0 are pulsed; only the reset line goes anywhere */
            s->dev.platform->request_reset(s->dev.platform, RESET_GUEST);
        }
    } else {
        switch (command) {
        case CMD_WRITE_OUTPUT:
        case CMD_WRITE_KBD_OBF:
        case CMD_WRITE_AUX_OBF:
        case CMD_WRITE_AUX: s->command = command; break;
        case CMD_AUX_DISABLE: set_mode_bits(s, MODE_AUX_DISABLED, 0); break;
        case CMD_AUX_ENABLE: set_mode_bits(s, 0, MODE_AUX_DISABLED); break;
        case CMD_KBD_DISABLE: set_mode_bits(s, MODE_KBD_DISABLED, 0); break;
        case CMD_KBD_ENABLE: set_mode_bits(s, 0, MODE_KBD_DISABLED); break;
        case CMD_AUX_TEST:
        case CMD_KBD_TEST: put_output(s, 0, false); break;
        case CMD_SELF_TEST: self_test(s); break;
        case CMD_READ_INPUT:
            put_output(s, 0x80, false); /* keyboard not inhibited */
            break;
        case CMD_READ_OUTPUT: put_output(s, s->outport, false); break;
        case CMD_A20_OFF:
        case CMD_A20_ON:
            write_outport(s, (uint8_t)((s->outport & ~OUT_A20) | (command == CMD_A20_ON ? OUT_A20 : 0)));
            break;
        default: log_print(s->dev.platform->log, LOG_GUEST_ERRORS, "i8042: unknown command %02xh\n", command); break;
        }
    }
    poll_devices(s);
}

static const IoOps data_ops    = { .name = "i8042-data", .access = IO_BYTE, .read = data_read, .write = data_write };
static const IoOps command_ops = {
    .name = "i8042-command", .access = IO_BYTE, .read = status_read, .write = command_write
};

/* --- keys that somebody presses --- */

static bool press_key(void *opaque, uint16_t code, bool down)
{
    I8042 *s = opaque;
    if (!ps2_keyboard_key(&s->keyboard, code, down)) {
        return false;
    }
    poll_devices(s);
    return true;
}

static bool send_keys(void *opaque, const uint16_t *codes, unsigned n, unsigned hold_ms, Error *err)
{
    platform_wake(((I8042 *)opaque)->dev.platform, WAKE_OTHER);
    return key_queue_add(&((I8042 *)opaque)->keys, codes, n, hold_ms) ||
           error_set(err, "%d key combinations wait already", KEYS_WAITING_MAX);
}

static bool key_event(void *opaque, const InputEvent *event)
{
    I8042 *s = opaque;
    platform_wake(s->dev.platform, WAKE_OTHER);
    return key_queue_edge(&s->keys, event->code, event->value);
}

/* --- a mouse that somebody moves --- */

typedef struct MouseButton {
    uint8_t bit;   /* of a report; 0: */
    int     wheel; /* counts of the wheel */
} MouseButton;

static const MouseButton mouse_buttons[] = {
    [INPUT_LEFT] = { PS2_LEFT },     [INPUT_RIGHT] = { PS2_RIGHT },
    [INPUT_MIDDLE] = { PS2_MIDDLE }, [INPUT_SIDE] = { PS2_SIDE },
    [INPUT_EXTRA] = { PS2_EXTRA },   [INPUT_WHEEL_UP] = { 0, -1 },
    [INPUT_WHEEL_DOWN] = { 0, 1 },   [INPUT_WHEEL_LEFT] = {},
    [INPUT_WHEEL_RIGHT] = {},        [INPUT_TOUCH] = {},
};

static bool mouse_event(void *opaque, const InputEvent *event)
{
    I8042 *s = opaque;
    if (event->kind == INPUT_RELATIVE) {
        ps2_mouse_move(&s->mouse, event->code == INPUT_X ? event->value : 0,
                       event->code == INPUT_Y ? -CLAMP(event->value, -INT32_MAX, INT32_MAX) : 0, 0);
        return true;
    }
    const MouseButton *b = &mouse_buttons[event->code];
    if (event->value) {
        platform_wake(s->dev.platform, WAKE_OTHER);
        ps2_mouse_move(&s->mouse, 0, 0, b->wheel);
    }
    ps2_mouse_button(&s->mouse, b->bit, event->value);
    return true;
}

static void mouse_sync(void *opaque)
{
    poll_devices(opaque);
}

static bool i8042_realize(Device *dev, Error *err)
{
    I8042  *s = (I8042 *)dev;
    Memory *m = dev->platform->memory;
    region_init_io(&s->data_port, m, "i8042-data", 1, &data_ops, s);
    region_init_io(&s->command_port, m, "i8042-command", 1, &command_ops, s);
    isa_map_ports(dev, &s->data_port, 0x60);
    isa_map_ports(dev, &s->command_port, 0x64);
    device_add_outputs(dev, "kbd", &s->kbd_irq, 1);
    device_add_outputs(dev, "mouse", &s->aux_irq, 1);
    device_add_outputs(dev, "a20", &s->a20, 1);
    key_queue_init(&s->keys, dev->platform->clocks, press_key, s);
    dev->platform->send_keys = send_keys;
    dev->platform->keyboard  = s;
    s->key_input =
        (InputHandler){ .name = "QEMU PS/2 Keyboard", .kinds = 1u << INPUT_KEY, .opaque = s, .event = key_event };
    s->mouse_input = (InputHandler){ .name   = "QEMU PS/2 Mouse",
                                     .kinds  = 1u << INPUT_BUTTON | 1u << INPUT_RELATIVE,
                                     .opaque = s,
                                     .event  = mouse_event,
                                     .sync   = mouse_sync };
    input_add(&dev->platform->input, &s->key_input);
    input_add(&dev->platform->input, &s->mouse_input);
    return true;
}

static void i8042_unrealize(Device *dev)
{
    I8042 *s = (I8042 *)dev;
    if (dev->platform->keyboard == s) {
        dev->platform->send_keys = NULL;
        dev->platform->keyboard  = NULL;
    }
    key_queue_clear(&s->keys);
    input_remove(&dev->platform->input, &s->key_input);
    input_remove(&dev->platform->input, &s->mouse_input);
    region_unmap(&s->data_port);
    region_unmap(&s->command_port);
    region_destroy(&s->data_port);
    region_destroy(&s->command_port);
}

/* As a PC's firmware finds it, but with interrupts, translation and both devices on: a directly booted kernel finds
 * what firmware would have left. */
static void i8042_reset(Device *dev, ResetKind kind)
{
    I8042 *s = (I8042 *)dev;
    memset(s->ram, 0, sizeof s->ram);
    s->ram[0]  = MODE_KBD_INTERRUPT | MODE_AUX_INTERRUPT | MODE_SYSTEM | MODE_TRANSLATE;
    s->status  = STATUS_COMMAND | STATUS_UNLOCKED | STATUS_SYSTEM;
    s->outport = OUT_RESET | OUT_A20;
    s->output = s->command = 0;
    s->release             = false;
    key_queue_clear(&s->keys);
    ps2_keyboard_reset(&s->keyboard);
    ps2_mouse_reset(&s->mouse);
    irq_set(&s->a20, 1);
    update_irqs(s);
}

static const Field i8042_state[] = {
    FIELD_ARRAY(I8042, ram, "ram"),
    FIELD(I8042, status, "status"),
    FIELD(I8042, output, "output"),
    FIELD(I8042, outport, "outport"),
    FIELD(I8042, command, "command"),
    FIELD(I8042, release, "release"),
    FIELD(I8042, keyboard, "keyboard", .sub = ps2_keyboard_state),
    FIELD(I8042, mouse, "mouse", .sub = ps2_mouse_state),
    {},
};

DEVICE_TYPE(i8042) = {
    .name      = "i8042",
    .help      = "keyboard controller with a PS/2 keyboard and mouse",
    .class     = OBJECT_CLASS_DEVICE,
    .size      = sizeof(I8042),
    .bus       = BUS_ISA,
    .category  = DEVICE_INPUT,
    .internal  = true,
    .state     = i8042_state,
    .realize   = i8042_realize,
    .unrealize = i8042_unrealize,
    .reset     = i8042_reset,
};

I8042 *i8042_create(Platform *platform, IrqPin *a20, Error *err)
{
    I8042 *s      = device_new(platform, "i8042");
    s->kbd_irq.to = platform->isa_irq[1];
    s->aux_irq.to = platform->isa_irq[12];
    s->a20.to     = a20;
    return device_realize(&s->dev, NULL, err) ? s : NULL;
}
