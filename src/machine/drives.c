/* Drives of the command line on a PC's IDE channels, and what firmware hears of them: CMOS bytes, the order of booting.
 * Specification: IBM PC AT Technical Reference for CMOS types and geometries; SeaBIOS 1.16, docs/Runtime_config, for
 * the order and the byte that says how to translate. Machine lock held. */

#include "devices/storage/ide_disk.h"
#include "machine/pc.h"

enum {
    CMOS_DISK_TYPES = 0x12, /* 15: look at the other bytes */
    CMOS_DISK_TYPE  = 0x19, /* of disk 0, of disk 1 */
    CMOS_GEOMETRY   = 0x1b, /* of disk 0; of disk 1 behind */
    CMOS_TRANSLATE  = 0x39, /* two bits a drive, four drives */
    TYPE_EXTENDED   = 15,
    TYPE_OWN        = 47,
    GEOMETRY_SIZE   = 9,
    N_CHANNELS      = 2,
};

/* The CD-ROM that is there when nobody says anything about drives. */
static bool add_default_cd(Machine *m, Error *err)
{
    if (m->config.no_defaults || m->config.no_default_cd || drive_at(m->block, DRIVE_IDE, 1, 0)) {
        return true;
    }
    g_autoptr(Json) cd = json_new_object();
    json_set(cd, "if", json_new_string("ide"));
    json_set(cd, "index", json_new_string("2"));
    json_set(cd, "media", json_new_string("cdrom"));
    return drive_add(m->block, cd, true, err) != NULL;
}

static bool make_drive(Platform *p, Bus *bus, const Drive *drive, Error *err)
{
    Device *dev          = device_new(p, drive->cdrom ? "ide-cd" : "ide-hd");
    g_autoptr(Json) name = json_new_string(drive->id);
    g_autoptr(Json) unit = json_new_int(drive->unit);
    if (!object_set(&dev->obj, "drive", name, false, err) || !object_set(&dev->obj, "unit", unit, false, err)) {
        object_unref(&dev->obj);
        return false;
    }
    return device_realize(dev, bus, err);
}

bool pc_make_drives(PcBoard *pc, Error *err)
{
    Machine *m = pc->machine;
    if (!m->block) {
        return true;
    }
    if (!add_default_cd(m, err)) {
        return false;
    }
    for (unsigned i = 0; i < N_CHANNELS * IDE_DRIVES; i++) {
        unsigned         channel = i / IDE_DRIVES;
        const Drive     *drive   = drive_at(m->block, DRIVE_IDE, channel, i % IDE_DRIVES);
        g_autofree char *name    = g_strdup_printf("ide.%u", channel);
        Bus             *bus     = drive ? bus_find(&m->platform, BUS_IDE, name, err) : NULL;
        if (drive && (!bus || !make_drive(&m->platform, bus, drive, err))) {
            return error_prefix(err, "drive '%s': ", drive->id);
        }
    }
    return true;
}

static void refuse_drive(Drive *drive, void *opaque)
{
    const Drive **found = opaque;
    if (drive->interface == DRIVE_IDE && !*found) {
        *found = drive;
    }
}

bool pc_refuse_drives(PcBoard *pc, Error *err)
{
    const Drive *found = NULL;
    if (pc->machine->block) {
        drive_foreach(pc->machine->block, refuse_drive, &found);
    }
    return !found ||
           error_set_unsupported(err, "drive '%s': disks and CD-ROMs on this machine's AHCI controller", found->id);
}

/* ---- What firmware hears ---- */

typedef struct Search {
    PcBoard *pc;
    uint8_t  types, translate;
    Error   *err;
    bool     failed;
} Search;

static unsigned channel_of(const IdeDrive *d)
{
    const Bus *bus = d->dev.bus;
    guint      n   = 0;
    return bus->owner && g_ptr_array_find(bus->owner->buses, bus, &n) ? n : 0;
}

static void put_geometry(const PcBoard *pc, const IdeDisk *disk)
{
    unsigned      n          = disk->d.unit;
    const uint8_t geometry[] = {
        (uint8_t)disk->cylinders,
        (uint8_t)(disk->cylinders >> 8),
        (uint8_t)disk->heads,
        0xff, /* no write precompensation */
        0xff,
        (uint8_t)(0xc0 | (disk->heads > 8 ? 8 : 0)), /* no retries */
        (uint8_t)disk->cylinders,                    /* landing zone */
        (uint8_t)(disk->cylinders >> 8),
        (uint8_t)disk->track,
    };
    rtc_set_cmos(pc->rtc, (uint8_t)(CMOS_DISK_TYPE + n), TYPE_OWN);
    for (unsigned i = 0; i < GEOMETRY_SIZE; i++) {
        rtc_set_cmos(pc->rtc, (uint8_t)(CMOS_GEOMETRY + GEOMETRY_SIZE * n + i), geometry[i]);
    }
}

static void note_disk(Search *s, const IdeDisk *disk)
{
    unsigned channel = channel_of(&disk->d), unit = disk->d.unit;
    if (channel == 0) {
        put_geometry(s->pc, disk);
        s->types |= (uint8_t)(TYPE_EXTENDED << (unit ? 0 : 4));
    }
    s->translate |= (uint8_t)(disk->translation << 2 * ((channel * IDE_DRIVES + unit) & 3));
}

/* What firmware calls the drive: the path of its controller, channel, unit. */
static char *boot_path(const IdeDrive *d)
{
    const Device    *owner = d->dev.bus->owner;
    g_autofree char *where = NULL;
    if (owner && owner->bus->kind == BUS_PCI) {
        uint8_t devfn = ((const PciDevice *)owner)->devfn;
        where         = PCI_FUNC(devfn) ? g_strdup_printf("/pci@i0cf8/ide@%x,%x", PCI_SLOT(devfn), PCI_FUNC(devfn))
                                        : g_strdup_printf("/pci@i0cf8/ide@%x", PCI_SLOT(devfn));
    } else {
        where = g_strdup("/isa/ide@01f0");
    }
    return g_strdup_printf("%s/drive@%x/disk@%x", where, channel_of(d), d->unit);
}

static void note_drive(Device *dev, void *opaque)
{
    Search *s = opaque;
    if (device_type(dev)->bus != BUS_IDE || s->failed) {
        return;
    }
    IdeDrive        *d    = (IdeDrive *)dev;
    g_autofree char *path = boot_path(d);
    s->failed             = !boot_order_add(&s->pc->boot_order, d->bootindex, path, s->err);
    if (!s->failed && s->pc->rtc && !ide_drive_kind(d)->packet) {
        note_disk(s, (IdeDisk *)d);
    }
}

bool pc_describe_drives(PcBoard *pc, Error *err)
{
    Search s = { .pc = pc, .err = err };
    devices_foreach(&pc->machine->platform, note_drive, &s);
    if (pc->rtc) {
        rtc_set_cmos(pc->rtc, CMOS_DISK_TYPES, s.types);
        rtc_set_cmos(pc->rtc, CMOS_TRANSLATE, s.translate);
    }
    return !s.failed;
}
