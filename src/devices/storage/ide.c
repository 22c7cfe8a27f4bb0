/* An IDE channel. See ide.h.
 * Specification: ATA/ATAPI-6 (T13/1410D revision 3b): registers in chapter 7, protocols in chapter 9; when nobody or
 * only one drive is there, section 9.16. Machine lock. */

#include "devices/storage/ide.h"

#include "devices/storage/bmdma.h"

#include <errno.h>
#include <string.h>

enum { STATUS_BUSY = ATA_BSY | ATA_DRDY | ATA_DSC, STATUS_READY = ATA_DRDY | ATA_DSC, DIAGNOSTIC_PASSED = 1 };

static IdeDrive *active_drive(const IdeChannel *c)
{
    return c->drives[c->active];
}

/* Nobody may write registers now. */
static bool is_busy(const IdeChannel *c)
{
    return c->phase != IDE_IDLE || c->stale || c->reset_due || (c->control & ATA_SRST);
}

/* ---- Interrupts ---- */

static void update_irq(IdeChannel *c, bool before)
{
    bool now = c->interrupt && !(c->control & ATA_NIEN);
    if (now && !before && c->dma) {
        bmdma_note_interrupt(c->dma);
    }
    irq_set(&c->irq, now);
}

static void set_interrupt(IdeChannel *c, bool on)
{
    bool before  = c->interrupt && !(c->control & ATA_NIEN);
    c->interrupt = on;
    update_irq(c, before);
}

/* ---- Steps of a command ---- */

static void finish(IdeDrive *d, uint8_t error)
{
    IdeChannel *c = d->channel;
    c->phase      = IDE_IDLE;
    d->error      = error;
    d->status     = STATUS_READY | (error ? ATA_ERR : 0);
}

void ide_complete(IdeDrive *d, uint8_t error)
{
    finish(d, error);
    set_interrupt(d->channel, true);
}

void ide_rest(IdeDrive *d)
{
    finish(d, 0);
}

static void step(IdeChannel *c, int error)
{
    IdeDrive *d     = active_drive(c);
    IdePhase  phase = c->phase;
    c->phase        = IDE_WORK;
    d->status       = STATUS_BUSY;
    ide_drive_kind(d)->step(d, phase, error);
}

static void offer_block(IdeDrive *d, IdePhase pio, uint32_t block, bool interrupt)
{
    IdeChannel *c = d->channel;
    c->phase      = pio;
    c->block_end  = c->pos + MIN(block, c->end - c->pos);
    d->status     = STATUS_READY | ATA_DRQ;
    if (interrupt) {
        set_interrupt(c, true);
    }
}

void ide_offer(IdeDrive *d, IdePhase pio, uint32_t len, uint32_t block, bool interrupt)
{
    IdeChannel *c = d->channel;
    g_assert(len && block && len <= IDE_BUFFER);
    c->pos = 0;
    c->end = len;
    offer_block(d, pio, block, interrupt);
}

void ide_next_block(IdeDrive *d, uint32_t block)
{
    offer_block(d, IDE_PIO_IN, block, true);
}

void ide_transfer(IdeDrive *d, IdePhase dma, uint32_t len)
{
    IdeChannel *c = d->channel;
    g_assert(len && len <= IDE_BUFFER);
    c->phase = dma;
    c->pos   = 0;
    c->end = c->block_end = len;
    ide_channel_run_dma(c);
}

/* Whatever the bus master cannot take now stays here until it runs again, or the drive is reset. */
void ide_channel_run_dma(IdeChannel *c)
{
    if ((c->phase != IDE_DMA_IN && c->phase != IDE_DMA_OUT) || !c->dma) {
        return;
    }
    uint32_t moved = 0;
    bool     ok    = bmdma_move(c->dma, c->phase == IDE_DMA_IN, c->buffer + c->pos, c->end - c->pos, &moved);
    c->pos += moved;
    if (!ok || c->pos == c->end) {
        step(c, ok ? 0 : EFAULT);
    }
}

void ide_request_begin(IdeDrive *d)
{
    IdeChannel *c = d->channel;
    g_assert(!c->in_flight);
    c->phase     = IDE_WORK;
    c->in_flight = true;
    d->status    = STATUS_BUSY;
}

/* ---- Reset ---- */

void ide_set_signature(IdeDrive *d)
{
    bool packet    = ide_drive_kind(d)->packet;
    d->count[0]    = 1;
    d->lba_low[0]  = 1;
    d->lba_mid[0]  = packet ? ATAPI_SIGNATURE & 0xff : 0;
    d->lba_high[0] = packet ? ATAPI_SIGNATURE >> 8 : 0;
    d->device      = 0;
    d->error       = DIAGNOSTIC_PASSED;
}

static void reset_drive(IdeDrive *d, bool power_on)
{
    ide_drive_kind(d)->reset(d, power_on);
    ide_set_signature(d);
    d->status = ide_drive_kind(d)->packet ? 0 : STATUS_READY;
}

static void leave_reset(IdeChannel *c)
{
    c->reset_due = false;
    for (unsigned n = 0; n < IDE_DRIVES; n++) {
        if (c->drives[n]) {
            reset_drive(c->drives[n], false);
        }
    }
}

static void forget_command(IdeChannel *c)
{
    c->stale = c->in_flight;
    c->phase = IDE_IDLE;
}

void ide_forget(IdeDrive *d)
{
    IdeChannel *c = d->channel;
    if (c->phase != IDE_IDLE && active_drive(c) == d) {
        forget_command(c);
    }
}

static void mark_busy(IdeChannel *c)
{
    for (unsigned n = 0; n < IDE_DRIVES; n++) {
        if (c->drives[n]) {
            c->drives[n]->status = STATUS_BUSY;
        }
    }
}

/* SRST comes. Drives leave the reset when it has gone and no request has the buffer. */
static void enter_reset(IdeChannel *c)
{
    forget_command(c);
    mark_busy(c);
    c->selected = 0;
    set_interrupt(c, false);
}

void ide_request_end(IdeChannel *c, int error)
{
    c->in_flight = false;
    if (!c->stale) {
        step(c, error);
        return;
    }
    c->stale = false;
    if (c->reset_due) {
        leave_reset(c);
    }
}

void ide_channel_reset(IdeChannel *c)
{
    forget_command(c);
    c->selected = c->control = c->active = c->command = 0;
    c->pos = c->block_end = c->end = 0;
    c->reset_due                   = c->stale;
    set_interrupt(c, false);
}

/* DeviceType.reset of drives. */
void ide_drive_reset(Device *dev, ResetKind kind)
{
    IdeDrive   *d = (IdeDrive *)dev;
    IdeChannel *c = d->channel;
    ide_forget(d);
    reset_drive(d, true);
    memset(d->features, 0, sizeof d->features);
    d->count[1] = d->lba_low[1] = d->lba_mid[1] = d->lba_high[1] = 0;
    if (c->stale) {
        c->reset_due = true;
        d->status    = STATUS_BUSY;
    }
}

/* DEVICE RESET, the packet command: one drive alone, at any time. */
static void reset_packet_drive(IdeChannel *c, IdeDrive *d)
{
    ide_forget(d);
    set_interrupt(c, false);
    if (c->stale) {
        c->reset_due = true;
        d->status    = STATUS_BUSY;
    } else {
        reset_drive(d, false);
    }
}

/* ---- Registers ---- */

static void diagnose(IdeChannel *c)
{
    for (unsigned n = 0; n < IDE_DRIVES; n++) {
        if (c->drives[n]) {
            ide_set_signature(c->drives[n]);
            c->drives[n]->status = ide_drive_kind(c->drives[n])->packet ? 0 : STATUS_READY;
        }
    }
    c->selected = 0;
    set_interrupt(c, true);
}

static void write_command(IdeChannel *c, uint8_t command)
{
    IdeDrive *d = c->drives[c->selected];
    if (d && command == ATA_CMD_DEVICE_RESET && ide_drive_kind(d)->packet && !c->reset_due &&
        !(c->control & ATA_SRST)) {
        reset_packet_drive(c, d);
        return;
    }
    if (is_busy(c)) {
        return;
    }
    if (command == ATA_CMD_DIAGNOSTIC) {
        diagnose(c);
        return;
    }
    if (!d) {
        return;
    }
    set_interrupt(c, false);
    c->active  = c->selected;
    c->command = command;
    c->phase   = IDE_WORK;
    d->status  = STATUS_BUSY;
    d->error   = 0;
    ide_drive_kind(d)->command(d, command);
}

static void push(uint8_t reg[2], uint8_t value)
{
    reg[1] = reg[0];
    reg[0] = value;
}

/* Both drives hear what is written. */
static void write_register(IdeChannel *c, unsigned offset, uint8_t value)
{
    if (is_busy(c)) {
        return;
    }
    c->control &= (uint8_t)~ATA_HOB;
    if (offset == ATA_DEVICE) {
        c->selected = (value & ATA_DEVICE_DEV) != 0;
    }
    for (unsigned n = 0; n < IDE_DRIVES; n++) {
        IdeDrive *d = c->drives[n];
        if (!d) {
            continue;
        }
        switch (offset) {
        case ATA_FEATURES: push(d->features, value); break;
        case ATA_COUNT: push(d->count, value); break;
        case ATA_LBA_LOW: push(d->lba_low, value); break;
        case ATA_LBA_MID: push(d->lba_mid, value); break;
        case ATA_LBA_HIGH: push(d->lba_high, value); break;
        case ATA_DEVICE: d->device = value & (ATA_DEVICE_LBA | ATA_DEVICE_HEAD); break;
        default: break;
        }
    }
}

/* One drive alone answers for the other, whose status is 0. */
static uint8_t read_register(const IdeChannel *c, unsigned offset)
{
    const IdeDrive *d      = c->drives[c->selected];
    const IdeDrive *answer = d ? d : c->drives[!c->selected];
    bool            hob    = c->control & ATA_HOB;
    if (!answer) {
        return 0;
    }
    switch (offset) {
    case ATA_ERROR: return answer->error;
    case ATA_COUNT: return answer->count[hob];
    case ATA_LBA_LOW: return answer->lba_low[hob];
    case ATA_LBA_MID: return answer->lba_mid[hob];
    case ATA_LBA_HIGH: return answer->lba_high[hob];
    case ATA_DEVICE: return answer->device | ATA_DEVICE_OBSOLETE | (c->selected ? ATA_DEVICE_DEV : 0);
    default: return d ? d->status : 0;
    }
}

static bool moves_data(const IdeChannel *c, IdePhase phase)
{
    return c->phase == phase && c->selected == c->active && c->pos < c->block_end;
}

static uint32_t read_data(IdeChannel *c, unsigned size)
{
    uint8_t bytes[4] = { 0 };
    if (!moves_data(c, IDE_PIO_IN)) {
        return 0;
    }
    uint32_t n = MIN(size, c->block_end - c->pos);
    memcpy(bytes, c->buffer + c->pos, n);
    c->pos += n;
    if (c->pos == c->block_end) {
        step(c, 0);
    }
    return bytes[0] | bytes[1] << 8 | bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void write_data(IdeChannel *c, uint32_t value, unsigned size)
{
    if (!moves_data(c, IDE_PIO_OUT)) {
        return;
    }
    uint8_t  bytes[4] = { (uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24) };
    uint32_t n        = MIN(size, c->block_end - c->pos);
    memcpy(c->buffer + c->pos, bytes, n);
    c->pos += n;
    if (c->pos == c->block_end) {
        step(c, 0);
    }
}

/* The data port takes words and double words; elsewhere those are neighbouring registers. */
static uint64_t command_read(void *opaque, uint64_t offset, unsigned size)
{
    IdeChannel *c     = opaque;
    uint64_t    value = 0;
    if (offset == ATA_DATA) {
        return read_data(c, size);
    }
    for (unsigned n = 0; n < size; n++) {
        value |= (uint64_t)read_register(c, (unsigned)offset + n) << 8 * n;
        if (offset + n == ATA_STATUS) {
            set_interrupt(c, false);
        }
    }
    return value;
}

static void command_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    IdeChannel *c = opaque;
    if (offset == ATA_DATA) {
        write_data(c, (uint32_t)value, size);
        return;
    }
    for (unsigned n = 0; n < size; n++) {
        uint8_t byte = (uint8_t)(value >> 8 * n);
        if (offset + n == ATA_COMMAND) {
            write_command(c, byte);
        } else {
            write_register(c, (unsigned)offset + n, byte);
        }
    }
}

static uint64_t control_read(void *opaque, uint64_t offset, unsigned size)
{
    return read_register(opaque, ATA_STATUS);
}

static void control_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    IdeChannel *c       = opaque;
    bool        before  = c->interrupt && !(c->control & ATA_NIEN);
    uint8_t     changed = c->control ^ (uint8_t)value;
    c->control          = value & (ATA_NIEN | ATA_SRST | ATA_HOB);
    if (changed & ATA_SRST) {
        if (c->control & ATA_SRST) {
            enter_reset(c);
        } else if (c->stale) {
            c->reset_due = true;
        } else {
            leave_reset(c);
        }
    }
    update_irq(c, before);
}

static const IoOps command_ops = {
    .name = "ide-command", .access = IO_BYTE | IO_WORD | IO_LONG, .read = command_read, .write = command_write
};
static const IoOps control_ops = {
    .name = "ide-control", .access = IO_BYTE, .read = control_read, .write = control_write
};

/* ---- The bus ---- */

static bool bus_plug(Bus *bus, Device *dev, Error *err)
{
    IdeChannel *c    = bus->data;
    IdeDrive   *d    = (IdeDrive *)dev;
    unsigned    unit = d->unit != UINT32_MAX ? d->unit : c->drives[0] ? 1 : 0;
    if (unit >= IDE_DRIVES) {
        return error_set(err, "unit=%u: bus '%s' has the units 0 and 1", unit, bus->name);
    }
    if (c->drives[unit]) {
        return error_set(err, "unit %u of bus '%s' is taken", unit, bus->name);
    }
    d->unit         = unit;
    d->channel      = c;
    c->drives[unit] = d;
    return true;
}

static void bus_unplug(Bus *bus, Device *dev)
{
    IdeChannel *c = bus->data;
    IdeDrive   *d = (IdeDrive *)dev;
    ide_forget(d);
    c->drives[d->unit] = NULL;
}

void ide_channel_init(IdeChannel *c, Device *owner, const char *bus, const IrqLine *irq, BmDma *dma)
{
    c->owner       = owner;
    c->irq         = *irq;
    c->dma         = dma;
    c->bus         = bus_new(BUS_IDE, bus, owner, owner->platform);
    c->bus->data   = c;
    c->bus->room   = IDE_DRIVES;
    c->bus->plug   = bus_plug;
    c->bus->unplug = bus_unplug;
    region_init_io(&c->command_ports, owner->platform->memory, "ide-command", 8, &command_ops, c);
    region_init_io(&c->control_port, owner->platform->memory, "ide-control", 1, &control_ops, c);
}

void ide_channel_destroy(IdeChannel *c)
{
    ide_channel_unmap(c);
    region_destroy(&c->command_ports);
    region_destroy(&c->control_port);
}

void ide_channel_map(IdeChannel *c, uint16_t command, uint16_t control)
{
    if (!c->command_ports.mapped) {
        isa_map_ports(c->owner, &c->command_ports, command);
        isa_map_ports(c->owner, &c->control_port, control);
    }
}

void ide_channel_unmap(IdeChannel *c)
{
    if (c->command_ports.mapped) {
        region_unmap(&c->command_ports);
        region_unmap(&c->control_port);
    }
}

/* ---- Saved state ---- */

static bool has_data(const void *owner)
{
    const IdeChannel *c = owner;
    return c->phase != IDE_IDLE && c->phase != IDE_WORK;
}

const Field ide_channel_state[] = {
    FIELD(IdeChannel, selected, "selected", .min = 0, .max = 1),
    FIELD(IdeChannel, control, "control"),
    FIELD(IdeChannel, interrupt, "interrupt"),
    FIELD(IdeChannel, active, "active", .min = 0, .max = 1),
    FIELD(IdeChannel, command, "command"),
    FIELD(IdeChannel, phase, "phase", .min = 0, .max = N_IDE_PHASES - 1),
    FIELD(IdeChannel, pos, "pos", .min = 0, .max = IDE_BUFFER),
    FIELD(IdeChannel, block_end, "block-end", .min = 0, .max = IDE_BUFFER),
    FIELD(IdeChannel, end, "end", .min = 0, .max = IDE_BUFFER),
    FIELD_ARRAY(IdeChannel, buffer, "buffer", .needed = has_data),
    {},
};

/* Machines are saved when no request is under way: a state that says otherwise ends the command. */
bool ide_channel_post_load(IdeChannel *c, Error *err)
{
    if (c->pos > c->block_end || c->block_end > c->end) {
        return error_set(err, "a buffer that ends before it begins");
    }
    c->stale = c->in_flight;
    c->control &= ATA_NIEN | ATA_SRST | ATA_HOB;
    c->reset_due = c->stale && !(c->control & ATA_SRST);
    if (c->phase != IDE_IDLE && !active_drive(c)) {
        c->phase = IDE_IDLE;
    }
    if (c->phase == IDE_WORK || c->stale) {
        c->phase = IDE_IDLE;
        if (active_drive(c)) {
            finish(active_drive(c), ATA_ABRT);
            c->interrupt = true;
        }
    }
    return true;
}

const Field ide_drive_state[] = {
    FIELD_ARRAY(IdeDrive, features, "features"),
    FIELD_ARRAY(IdeDrive, count, "count"),
    FIELD_ARRAY(IdeDrive, lba_low, "lba-low"),
    FIELD_ARRAY(IdeDrive, lba_mid, "lba-mid"),
    FIELD_ARRAY(IdeDrive, lba_high, "lba-high"),
    FIELD(IdeDrive, device, "device"),
    FIELD(IdeDrive, error, "error"),
    FIELD(IdeDrive, status, "status"),
    {},
};
