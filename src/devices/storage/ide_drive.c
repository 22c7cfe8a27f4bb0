/* What drives of IDE channels have in common: properties, and the way to the block layer. See ide.h. Machine lock. */

#include "base/text.h"
#include "devices/storage/ide.h"

#include <inttypes.h>
#include <string.h>

enum { ON_ERROR_AUTO = 4 };
static const char *const on_error_names[] = {
    [BLOCK_ERROR_REPORT] = "report", [BLOCK_ERROR_IGNORE] = "ignore", [BLOCK_ERROR_STOP] = "stop",
    [BLOCK_ERROR_ENOSPC] = "enospc", [ON_ERROR_AUTO] = "auto",        NULL
};

#define ABSENT_SIZE(name, text) FIELD(IdeDrive, absent_number, name, .size_unit = 1, .unsupported = true, .help = text)
#define ABSENT_CHOICE(name, text)                                                                                      \
    FIELD(IdeDrive, absent_choice, name, .names = on_off_auto_names, .unsupported = true, .help = text)

const Field ide_drive_properties[] = {
    FIELD(IdeDrive, drive, "drive", .help = "drive or block node that it shows"),
    FIELD(IdeDrive, unit, "unit", .initial = UINT32_MAX, .help = "place on the bus: 0 or 1"),
    FIELD(IdeDrive, serial, "serial", .help = "serial number"),
    FIELD(IdeDrive, model, "model", .help = "model number"),
    FIELD(IdeDrive, ver, "ver", .text = "2.5+", .help = "firmware revision"),
    FIELD(IdeDrive, wwn, "wwn", .help = "world wide name"),
    FIELD(IdeDrive, bootindex, "bootindex", .initial = -1, .min = -1, .max = INT32_MAX,
          .help = "place in the order of booting"),
    FIELD(IdeDrive, write_cache, "write-cache", .names = on_off_auto_names, .help = "says that it has a write cache"),
    FIELD(IdeDrive, logical_block_size, "logical_block_size", .size_unit = 1, .help = "bytes of a sector: 512"),
    FIELD(IdeDrive, physical_block_size, "physical_block_size", .size_unit = 1,
          .help = "what it says of its physical sectors"),
    FIELD(IdeDrive, rerror, "rerror", .names = on_error_names, .initial = ON_ERROR_AUTO,
          .help = "what becomes of the host's read errors"),
    FIELD(IdeDrive, werror, "werror", .names = on_error_names, .initial = ON_ERROR_AUTO,
          .help = "what becomes of the host's write errors"),
    FIELD(IdeDrive, discard_granularity, "discard_granularity", .size_unit = 1, .initial = UINT32_MAX,
          .unsupported = true, .help = "bytes that are discarded together"),
    FIELD(IdeDrive, absent_flag, "win2k-install-hack", .unsupported = true,
          .help = "is slow to write, which the setup of Windows 2000 needs"),
    FIELD(IdeDrive, absent_flag, "share-rw", .unsupported = true, .help = "others may write the image too"),
    ABSENT_SIZE("min_io_size", "smallest request that is fast"),
    ABSENT_SIZE("opt_io_size", "best size of requests"),
    ABSENT_CHOICE("account-invalid", "counts invalid requests"),
    ABSENT_CHOICE("account-failed", "counts failed requests"),
    ABSENT_CHOICE("backend_defaults", "sizes are those of the host's device"),
    {},
};

/* ---- Strings ---- */

void ide_put_string(uint8_t *identify, unsigned word, unsigned words, const char *text)
{
    size_t len = strlen(text);
    for (unsigned n = 0; n < 2 * words; n++) {
        identify[2 * word + (n ^ 1)] = n < len ? (uint8_t)text[n] : ' ';
    }
}

static bool check_text(const char *name, const char *text, size_t most, Error *err)
{
    size_t len = text ? strlen(text) : 0;
    if (len > most) {
        return error_set(err, "%s=: at most %zu characters, not %zu", name, most, len);
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] < ' ' || text[i] > '~') {
            return error_set(err, "%s=: ASCII characters only", name);
        }
    }
    return true;
}

/* QM00001 is the first drive of ide.0, QM00003 of ide.1. */
static void set_default_texts(IdeDrive *d, const char *model)
{
    if (!d->serial) {
        const Bus  *bus = d->dev.bus;
        const char *dot = strrchr(bus->name, '.');
        unsigned    n   = dot ? (unsigned)g_ascii_strtoull(dot + 1, NULL, 10) : 0;
        d->serial       = g_strdup_printf("QM%05u", n * IDE_DRIVES + d->unit + 1);
    }
    if (!d->model) {
        d->model = g_strdup(model);
    }
}

/* ---- The block layer ---- */

static bool check_sizes(const IdeDrive *d, Error *err)
{
    uint64_t physical = d->physical_block_size;
    if (d->logical_block_size && d->logical_block_size != IDE_SECTOR) {
        return error_set(err, "logical_block_size=%" PRIu64 ": IDE drives have sectors of 512 bytes",
                         d->logical_block_size);
    }
    if (physical && (physical < IDE_SECTOR || physical > 2 << 20 || (physical & (physical - 1)))) {
        return error_set(err, "physical_block_size=%" PRIu64 ": a power of two between 512 and 2M", physical);
    }
    return true;
}

bool ide_drive_attach(IdeDrive *d, BlockAccess access, const char *model, Error *err)
{
    const char *type = device_type(&d->dev)->name;
    if (!check_sizes(d, err) || !check_text("serial", d->serial, 20, err) || !check_text("model", d->model, 40, err) ||
        !check_text("ver", d->ver, 8, err)) {
        return false;
    }
    set_default_texts(d, model);
    if (d->drive && *d->drive) {
        g_autofree char *name = d->dev.id ? g_strdup_printf("%s '%s'", type, d->dev.id) : g_strdup(type);
        if (!d->dev.platform->block) {
            return error_set(err, "drive=%s: there are no drives", d->drive);
        }
        if (!block_attach(&d->user, d->dev.platform->block, d->drive, access, name, err)) {
            return error_prefix(err, "drive=%s: ", d->drive);
        }
        d->user.owner = &d->dev.obj;
    }
    if (d->write_cache != ON_OFF_AUTO_AUTO) {
        d->user.write_cache = d->write_cache == ON_OFF_AUTO_ON;
    }
    if (d->rerror != ON_ERROR_AUTO) {
        d->user.on_read_error = d->rerror;
    }
    if (d->werror != ON_ERROR_AUTO) {
        d->user.on_write_error = d->werror;
    }
    return true;
}

void ide_drive_detach(IdeDrive *d)
{
    ide_forget(d);
    block_detach(&d->user);
}

static void request_done(BlockRequest *r, int error)
{
    IdeDrive *d = r->opaque;
    ide_request_end(d->channel, error);
}

static bool fits(const IdeDrive *d, uint64_t offset, uint32_t size)
{
    uint64_t whole = block_user_size(&d->user);
    return size && size <= IDE_BUFFER && size <= whole && offset <= whole - size;
}

static BlockRequest *begin(IdeDrive *d)
{
    d->request = (BlockRequest){ .done = request_done, .opaque = d };
    ide_request_begin(d);
    return &d->request;
}

bool ide_drive_read(IdeDrive *d, uint64_t offset, uint32_t size)
{
    if (!fits(d, offset, size)) {
        return false;
    }
    block_read(&d->user, begin(d), offset, d->channel->buffer, size);
    return true;
}

bool ide_drive_write(IdeDrive *d, uint64_t offset, uint32_t size, bool fua)
{
    if (!fits(d, offset, size)) {
        return false;
    }
    BlockRequest *r = begin(d);
    r->fua          = fua;
    block_write(&d->user, r, offset, d->channel->buffer, size);
    return true;
}

void ide_drive_flush(IdeDrive *d)
{
    BlockRequest *r = begin(d);
    r->op           = BLOCK_FLUSH;
    block_submit(&d->user, r);
}

void ide_drive_discard(IdeDrive *d, uint64_t offset, uint64_t size)
{
    BlockRequest *r = begin(d);
    r->op           = BLOCK_DISCARD;
    r->offset       = offset;
    r->size         = size;
    block_submit(&d->user, r);
}
