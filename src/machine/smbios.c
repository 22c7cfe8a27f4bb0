/* SMBIOS tables. Specification: DMTF DSP0134, System Management BIOS 3.6.0 (2022); the entry point is that of 2.8,
 * which every guest reads. */

#include "machine/smbios.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"
#include "desc/field.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum {
    STRUCT_HEADER = 4,
    MAX_TABLES    = 0xffff,
    DIMM_MIB      = 16 << 10, /* RAM is shown as modules of 16 GiB */
    ANCHOR_SIZE   = 31,
    NO_HANDLE     = 0xfffe,
};

typedef struct Type0 {
    char *vendor, *version, *date, *release;
    bool  uefi, given;
} Type0;

typedef struct Type1 {
    char *manufacturer, *product, *version, *serial, *uuid, *sku, *family;
} Type1;

typedef struct Type2 {
    char *manufacturer, *product, *version, *serial, *asset, *location;
    bool  given;
} Type2;

typedef struct Type3 {
    char *manufacturer, *version, *serial, *asset, *sku;
} Type3;

typedef struct Type4 {
    char    *sock_pfx, *manufacturer, *version, *serial, *asset, *part;
    uint16_t max_speed, current_speed, family;
    uint64_t id;
    bool     has_id;
} Type4;

typedef struct Type8 {
    char   *external_reference, *internal_reference;
    uint8_t connector_type, port_type;
} Type8;

typedef struct Type9 {
    char    *slot_designation, *pci_device;
    uint8_t  slot_type, slot_data_bus_width, current_usage, slot_length, characteristics1, characteristics2;
    uint16_t slot_id;
} Type9;

typedef struct Type17 {
    char    *loc_pfx, *bank, *manufacturer, *serial, *asset, *part;
    uint16_t speed;
} Type17;

typedef struct Type41 {
    char   *designation, *pcidev;
    uint8_t kind, instance;
} Type41;

static const char *const type41_kinds[] = { "",           "other", "unknown", "video", "scsi", "ethernet",
                                            "token-ring", "sound", "pata",    "sata",  "sas",  NULL };

static const Field type0_fields[] = { FIELD(Type0, vendor, "vendor", .help = "vendor of the BIOS"),
                                      FIELD(Type0, version, "version", .help = "its version"),
                                      FIELD(Type0, date, "date", .help = "its date, mm/dd/yyyy"),
                                      FIELD(Type0, release, "release", .help = "its release, major.minor"),
                                      FIELD(Type0, uefi, "uefi", .help = "say that UEFI is supported"),
                                      {} };

static const Field type1_fields[] = { FIELD(Type1, manufacturer, "manufacturer", .help = "manufacturer of the system"),
                                      FIELD(Type1, product, "product", .help = "product name"),
                                      FIELD(Type1, version, "version", .help = "version"),
                                      FIELD(Type1, serial, "serial", .help = "serial number"),
                                      FIELD(Type1, uuid, "uuid", .help = "UUID; instead of -uuid"),
                                      FIELD(Type1, sku, "sku", .help = "SKU number"),
                                      FIELD(Type1, family, "family", .help = "product family"),
                                      {} };

static const Field type2_fields[] = { FIELD(Type2, manufacturer, "manufacturer",
                                            .help = "manufacturer of the base board"),
                                      FIELD(Type2, product, "product", .help = "product name"),
                                      FIELD(Type2, version, "version", .help = "version"),
                                      FIELD(Type2, serial, "serial", .help = "serial number"),
                                      FIELD(Type2, asset, "asset", .help = "asset tag"),
                                      FIELD(Type2, location, "location", .help = "location in the chassis"),
                                      {} };

static const Field type3_fields[] = { FIELD(Type3, manufacturer, "manufacturer", .help = "manufacturer of the chassis"),
                                      FIELD(Type3, version, "version", .help = "version"),
                                      FIELD(Type3, serial, "serial", .help = "serial number"),
                                      FIELD(Type3, asset, "asset", .help = "asset tag"),
                                      FIELD(Type3, sku, "sku", .help = "SKU number"),
                                      {} };

static const Field type4_fields[] = {
    FIELD(Type4, sock_pfx, "sock_pfx", .text = "CPU", .help = "socket designation, a number is appended"),
    FIELD(Type4, manufacturer, "manufacturer", .help = "manufacturer of the processor"),
    FIELD(Type4, version, "version", .help = "version"),
    FIELD(Type4, max_speed, "max-speed", .initial = 2000, .help = "MHz"),
    FIELD(Type4, current_speed, "current-speed", .initial = 2000, .help = "MHz"),
    FIELD(Type4, serial, "serial", .help = "serial number"),
    FIELD(Type4, asset, "asset", .help = "asset tag"),
    FIELD(Type4, part, "part", .help = "part number"),
    FIELD(Type4, family, "processor-family", .initial = 1, .help = "processor family"),
    FIELD(Type4, id, "processor-id", .has_offset = 1 + offsetof(Type4, has_id), .help = "processor ID, 64 bits"),
    {}
};

static const Field type8_fields[] = {
    FIELD(Type8, internal_reference, "internal_reference", .help = "internal designator"),
    FIELD(Type8, external_reference, "external_reference", .help = "external designator"),
    FIELD(Type8, connector_type, "connector_type", .help = "external connector type"),
    FIELD(Type8, port_type, "port_type", .help = "port type"),
    {}
};

static const Field type9_fields[] = {
    FIELD(Type9, slot_designation, "slot_designation", .help = "designation of the slot"),
    FIELD(Type9, slot_type, "slot_type", .help = "slot type"),
    FIELD(Type9, slot_data_bus_width, "slot_data_bus_width", .help = "data bus width"),
    FIELD(Type9, current_usage, "current_usage", .help = "current usage"),
    FIELD(Type9, slot_length, "slot_length", .help = "slot length"),
    FIELD(Type9, slot_id, "slot_id", .help = "slot ID"),
    FIELD(Type9, characteristics1, "slot_characteristics1", .help = "characteristics 1"),
    FIELD(Type9, characteristics2, "slot_characteristics12", .alias = "slot_characteristics2",
          .help = "characteristics 2"),
    FIELD(Type9, pci_device, "pci_device", .help = "id of the PCI device in the slot"),
    {}
};

static const Field type17_fields[] = {
    FIELD(Type17, loc_pfx, "loc_pfx", .text = "DIMM", .help = "device locator, a number is appended"),
    FIELD(Type17, bank, "bank", .help = "bank locator"),
    FIELD(Type17, manufacturer, "manufacturer", .help = "manufacturer of the memory"),
    FIELD(Type17, serial, "serial", .help = "serial number"),
    FIELD(Type17, asset, "asset", .help = "asset tag"),
    FIELD(Type17, part, "part", .help = "part number"),
    FIELD(Type17, speed, "speed", .help = "MT/s"),
    {}
};

static const Field type41_fields[] = {
    FIELD(Type41, designation, "designation", .help = "what the device is called"),
    FIELD(Type41, kind, "kind", .names = type41_kinds, .initial = 1, .help = "kind of device"),
    FIELD(Type41, instance, "instance", .initial = 1, .help = "instance of its kind"),
    FIELD(Type41, pcidev, "pcidev", .help = "id of a PCI device on the root bus"),
    {}
};

/* All -smbios options together. */
typedef struct Settings {
    Type0      t0;
    Type1      t1;
    Type2      t2;
    Type3      t3;
    Type4      t4;
    Type17     t17;
    GArray    *t8, *t9, *t41; /* of Type8, Type9, Type41 */
    GPtrArray *oem_strings;   /* char *: type 11 */
    GPtrArray *files;         /* GBytes *: file= */
    bool       replaced[256]; /* types that a file= gave */
    bool       has_fields[256];
} Settings;

/* The tables being written. */
typedef struct Builder {
    GByteArray     *out;
    uint32_t        start;     /* of the structure under construction */
    uint32_t        formatted; /* its bytes before the strings, once they have begun */
    unsigned        n_strings;
    GString        *strings;
    unsigned        count, max_size;
    const Settings *settings;
} Builder;

static void put(Builder *b, uint64_t value, unsigned size)
{
    uint8_t buf[8];
    store_le(buf, value, size);
    g_byte_array_append(b->out, buf, size);
}

/* A string number; 0 when there is no string. */
static void put_string(Builder *b, const char *text)
{
    if (!text || !*text || b->n_strings == 255) {
        put(b, 0, 1);
        return;
    }
    g_string_append_len(b->strings, text, (gssize)strlen(text) + 1);
    put(b, ++b->n_strings, 1);
}

/* false: a file= took this type's place. */
static bool begin(Builder *b, unsigned type, unsigned handle)
{
    if (b->settings->replaced[type]) {
        return false;
    }
    b->start     = b->out->len;
    b->n_strings = 0;
    g_string_truncate(b->strings, 0);
    put(b, type, 1);
    put(b, 0, 1);
    put(b, handle, 2);
    return true;
}

static void end(Builder *b)
{
    uint32_t len = b->out->len - b->start;
    assert(len <= 255);
    b->out->data[b->start + 1] = (uint8_t)len;
    g_byte_array_append(b->out, (const uint8_t *)b->strings->str, (guint)b->strings->len);
    put(b, 0, b->n_strings ? 1 : 2);
    b->max_size = MAX(b->max_size, b->out->len - b->start);
    b->count++;
}

static void put_uuid(Builder *b, const uint8_t text_order[16])
{
    put(b, load_be32(text_order), 4);
    put(b, load_be16(text_order + 4), 2);
    put(b, load_be16(text_order + 6), 2);
    g_byte_array_append(b->out, text_order + 8, 8);
}

static bool add_bios(Builder *b, const Settings *s, const SmbiosDefaults *d, Error *err)
{
    unsigned major = 0, minor = 0;

    if (!(s->t0.given || d->bios) || !begin(b, 0, 0)) {
        return true;
    }
    if (s->t0.release) {
        uint64_t numbers[2]   = { 0 };
        g_auto(GStrv) parts   = g_strsplit(s->t0.release, ".", -1);
        g_auto(Error) ignored = { 0 };
        if (g_strv_length(parts) != 2 || !text_parse_uint(parts[0], 255, &numbers[0], &ignored) ||
            !text_parse_uint(parts[1], 255, &numbers[1], &ignored)) {
            return error_set(err, "-smbios type=0,release=%s: not of the form MAJOR.MINOR, each up to 255",
                             s->t0.release);
        }
        major = (unsigned)numbers[0];
        minor = (unsigned)numbers[1];
    }
    put_string(b, s->t0.vendor ? s->t0.vendor : "Quern");
    put_string(b, s->t0.version ? s->t0.version : "1.0");
    put(b, 0xe800, 2); /* starting segment */
    put_string(b, s->t0.date ? s->t0.date : "01/01/2024");
    put(b, 0, 1);                           /* ROM size: 64 KiB */
    put(b, 1 << 3, 8);                      /* characteristics are not supported */
    put(b, 0, 1);                           /* extension 1 */
    put(b, 0x14 | (s->t0.uefi ? 8 : 0), 1); /* extension 2: virtual machine, targeted content distribution */
    put(b, major, 1);
    put(b, minor, 1);
    put(b, 0xffff, 2); /* no embedded controller */
    end(b);
    return true;
}

static bool add_system(Builder *b, const Settings *s, const SmbiosDefaults *d, Error *err)
{
    uint8_t uuid[16];

    if (!begin(b, 1, 0x100)) {
        return true;
    }
    memcpy(uuid, d->uuid, 16);
    if (s->t1.uuid && !text_parse_uuid(s->t1.uuid, uuid, err)) {
        return error_prefix(err, "-smbios type=1,uuid=: ");
    }
    put_string(b, s->t1.manufacturer ? s->t1.manufacturer : d->manufacturer);
    put_string(b, s->t1.product ? s->t1.product : d->product);
    put_string(b, s->t1.version ? s->t1.version : d->version);
    put_string(b, s->t1.serial);
    put_uuid(b, uuid);
    put(b, 6, 1); /* woken by the power switch */
    put_string(b, s->t1.sku);
    put_string(b, s->t1.family);
    end(b);
    return true;
}

static void add_board(Builder *b, const Settings *s, const SmbiosDefaults *d)
{
    if (!s->t2.given || !begin(b, 2, 0x200)) {
        return;
    }
    put_string(b, s->t2.manufacturer ? s->t2.manufacturer : d->manufacturer);
    put_string(b, s->t2.product ? s->t2.product : d->product);
    put_string(b, s->t2.version ? s->t2.version : d->version);
    put_string(b, s->t2.serial);
    put_string(b, s->t2.asset);
    put(b, 1, 1); /* hosting board */
    put_string(b, s->t2.location);
    put(b, 0x300, 2); /* chassis */
    put(b, 0x0a, 1);  /* motherboard */
    put(b, 0, 1);
    end(b);
}

static void add_chassis(Builder *b, const Settings *s, const SmbiosDefaults *d)
{
    if (!begin(b, 3, 0x300)) {
        return;
    }
    put_string(b, s->t3.manufacturer ? s->t3.manufacturer : d->manufacturer);
    put(b, 1, 1); /* other */
    put_string(b, s->t3.version ? s->t3.version : d->version);
    put_string(b, s->t3.serial);
    put_string(b, s->t3.asset);
    put(b, 3, 1); /* boot-up, power and thermal state: safe */
    put(b, 3, 1);
    put(b, 3, 1);
    put(b, 2, 1); /* security: unknown */
    put(b, 0, 4);
    put(b, 0, 1); /* height */
    put(b, 0, 1); /* power cords */
    put(b, 0, 1); /* contained elements, and the size of one */
    put(b, 0, 1);
    put_string(b, s->t3.sku);
    end(b);
}

static void add_processor(Builder *b, const Settings *s, const SmbiosDefaults *d, const PcHardware *hw, unsigned n)
{
    unsigned threads = hw->cores_per_socket * hw->threads_per_core;

    if (!begin(b, 4, 0x400 + n)) {
        return;
    }
    g_autofree char *socket = g_strdup_printf("%s %u", s->t4.sock_pfx, n);
    put_string(b, socket);
    put(b, 3, 1); /* central processor */
    put(b, s->t4.family > 0xfd ? 0xfe : s->t4.family, 1);
    put_string(b, s->t4.manufacturer ? s->t4.manufacturer : d->manufacturer);
    put(b, s->t4.has_id ? s->t4.id : hw->cpuid_1_eax | (uint64_t)hw->cpuid_1_edx << 32, 8);
    put_string(b, s->t4.version ? s->t4.version : d->cpu_version);
    put(b, 0, 1); /* voltage */
    put(b, 0, 2); /* external clock */
    put(b, s->t4.max_speed, 2);
    put(b, s->t4.current_speed, 2);
    put(b, 0x41, 1);   /* populated, enabled */
    put(b, 1, 1);      /* upgrade: other */
    put(b, 0xffff, 2); /* no cache tables */
    put(b, 0xffff, 2);
    put(b, 0xffff, 2);
    put_string(b, s->t4.serial);
    put_string(b, s->t4.asset);
    put_string(b, s->t4.part);
    put(b, MIN(hw->cores_per_socket, 255), 1);
    put(b, MIN(hw->cores_per_socket, 255), 1);
    put(b, MIN(threads, 255), 1);
    put(b, 2, 2); /* characteristics: unknown */
    put(b, s->t4.family, 2);
    put(b, hw->cores_per_socket, 2);
    put(b, hw->cores_per_socket, 2);
    put(b, threads, 2);
    end(b);
}

static bool find_pci_device(const char *option, const char *id, SmbiosFindPci find, void *opaque, uint8_t *devfn,
                            Error *err)
{
    if (!find || !find(opaque, id, devfn)) {
        return error_set(err, "-smbios %s=%s: no PCI device of that id on the root bus", option, id);
    }
    return true;
}

static bool add_slots(Builder *b, const Settings *s, SmbiosFindPci find, void *opaque, Error *err)
{
    for (guint i = 0; i < s->t9->len; i++) {
        const Type9 *t = &g_array_index(s->t9, Type9, i);
        uint8_t      devfn;
        if (!begin(b, 9, 0x900 + i)) {
            return true;
        }
        if (t->pci_device && !find_pci_device("type=9,pci_device", t->pci_device, find, opaque, &devfn, err)) {
            return false;
        }
        put_string(b, t->slot_designation);
        put(b, t->slot_type, 1);
        put(b, t->slot_data_bus_width, 1);
        put(b, t->current_usage, 1);
        put(b, t->slot_length, 1);
        put(b, t->slot_id, 2);
        put(b, t->characteristics1, 1);
        put(b, t->characteristics2, 1);
        put(b, t->pci_device ? 0 : 0xffff, 2); /* segment, bus, device and function */
        put(b, t->pci_device ? 0 : 0xff, 1);
        put(b, t->pci_device ? devfn : 0xff, 1);
        end(b);
    }
    return true;
}

static void add_connectors(Builder *b, const Settings *s)
{
    for (guint i = 0; i < s->t8->len; i++) {
        const Type8 *t = &g_array_index(s->t8, Type8, i);
        if (!begin(b, 8, 0x800 + i)) {
            return;
        }
        put_string(b, t->internal_reference);
        put(b, 0, 1);
        put_string(b, t->external_reference);
        put(b, t->connector_type, 1);
        put(b, t->port_type, 1);
        end(b);
    }
}

static void add_oem_strings(Builder *b, const Settings *s)
{
    if (!s->oem_strings->len || !begin(b, 11, 0xe00)) {
        return;
    }
    put(b, s->oem_strings->len, 1);
    for (guint i = 0; i < s->oem_strings->len; i++) {
        g_string_append_len(b->strings, s->oem_strings->pdata[i], (gssize)strlen(s->oem_strings->pdata[i]) + 1);
        b->n_strings++;
    }
    end(b);
}

static void add_memory(Builder *b, const Settings *s, const PcHardware *hw)
{
    uint64_t ram_mib = (hw->ram_below_4g + hw->ram_above_4g) / MiB;
    uint64_t dimms   = MAX(1, (ram_mib + DIMM_MIB - 1) / DIMM_MIB);

    if (begin(b, 16, 0x1000)) {
        put(b, 1, 1); /* location: other */
        put(b, 3, 1); /* system memory */
        put(b, 6, 1); /* multi-bit ECC */
        bool large = ram_mib * 1024 >= 0x80000000;
        put(b, large ? 0x80000000 : ram_mib * 1024, 4);
        put(b, NO_HANDLE, 2);
        put(b, MIN(dimms, 0xffff), 2);
        put(b, large ? ram_mib * MiB : 0, 8);
        end(b);
    }
    for (uint64_t i = 0; i < MIN(dimms, 0x200); i++) {
        uint64_t mib = i + 1 < dimms ? DIMM_MIB : ram_mib - i * DIMM_MIB;
        if (!begin(b, 17, (unsigned)(0x1100 + i))) {
            break;
        }
        g_autofree char *locator = g_strdup_printf("%s %u", s->t17.loc_pfx, (unsigned)i);
        put(b, 0x1000, 2);
        put(b, NO_HANDLE, 2);
        put(b, 0xffff, 2); /* widths: unknown */
        put(b, 0xffff, 2);
        put(b, mib < 0x7fff ? mib : 0x7fff, 2);
        put(b, 9, 1); /* DIMM */
        put(b, 0, 1);
        put_string(b, locator);
        put_string(b, s->t17.bank);
        put(b, 7, 1); /* RAM */
        put(b, 2, 2); /* other */
        put(b, s->t17.speed, 2);
        put_string(b, s->t17.manufacturer ? s->t17.manufacturer : "QEMU");
        put_string(b, s->t17.serial);
        put_string(b, s->t17.asset);
        put_string(b, s->t17.part);
        put(b, 0, 1); /* attributes */
        put(b, mib < 0x7fff ? 0 : mib, 4);
        put(b, s->t17.speed, 2);
        put(b, 0, 2); /* voltages: unknown */
        put(b, 0, 2);
        put(b, 0, 2);
        end(b);
    }
    const uint64_t areas[2][2] = { { 0, hw->ram_below_4g }, { 4 * GiB, hw->ram_above_4g } };
    for (unsigned i = 0; i < 2; i++) {
        uint64_t first = areas[i][0], last = first + areas[i][1] - 1;
        if (!areas[i][1] || !begin(b, 19, 0x1300 + i)) {
            continue;
        }
        bool large = last >> 10 >= 0xffffffff;
        put(b, large ? 0xffffffff : first >> 10, 4);
        put(b, large ? 0xffffffff : last >> 10, 4);
        put(b, 0x1000, 2);
        put(b, 1, 1); /* partition width */
        put(b, large ? first : 0, 8);
        put(b, large ? last : 0, 8);
        end(b);
    }
}

static bool add_onboard(Builder *b, const Settings *s, SmbiosFindPci find, void *opaque, Error *err)
{
    for (guint i = 0; i < s->t41->len; i++) {
        const Type41 *t     = &g_array_index(s->t41, Type41, i);
        uint8_t       devfn = 0;
        if (!begin(b, 41, 0x2900 + i)) {
            return true;
        }
        if (t->pcidev && !find_pci_device("type=41,pcidev", t->pcidev, find, opaque, &devfn, err)) {
            return false;
        }
        put_string(b, t->designation);
        put(b, 0x80 | t->kind, 1); /* enabled */
        put(b, t->instance, 1);
        put(b, 0, 2);
        put(b, 0, 1);
        put(b, devfn, 1);
        end(b);
    }
    return true;
}

/* Length of the structure at `data`, strings included; 0 when it does not fit. */
static size_t structure_size(const uint8_t *data, size_t len)
{
    if (len < STRUCT_HEADER || data[1] < STRUCT_HEADER || data[1] > len) {
        return 0;
    }
    for (size_t at = data[1]; at + 2 <= len; at++) {
        if (data[at] == 0 && data[at + 1] == 0) {
            return at + 2;
        }
    }
    return 0;
}

static bool read_file(Settings *s, const char *path, Error *err)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *contents;
    gsize            len;

    if (!g_file_get_contents(path, &contents, &len, &error)) {
        return error_set(err, "-smbios file=: %s", error->message);
    }
    if (len > MAX_TABLES || structure_size((const uint8_t *)contents, len) == 0) {
        return error_set(err, "-smbios file=%s: not one complete SMBIOS structure with its strings", path);
    }
    uint8_t type = (uint8_t)contents[0];
    if (s->has_fields[type]) {
        return error_set(err, "-smbios file=%s: type %u was already given by its fields", path, type);
    }
    s->replaced[type] = true;
    g_ptr_array_add(s->files, g_bytes_new_take(g_steal_pointer(&contents), len));
    return true;
}

static bool add_oem_value(Settings *s, const char *value, size_t len, Error *err)
{
    if (memchr(value, 0, len)) {
        return error_set(err, "-smbios type=11: a string with a NUL byte in it");
    }
    if (len == 0) {
        return error_set(err, "-smbios type=11: an empty string");
    }
    if (s->oem_strings->len == 255) {
        return error_set(err, "-smbios type=11: more than 255 strings");
    }
    g_ptr_array_add(s->oem_strings, g_strndup(value, len));
    return true;
}

/* One value, or all of a key that was repeated. */
static bool read_oem_values(Settings *s, const Json *values, bool is_path, Error *err)
{
    const Json *one = values;
    size_t      n   = 1;

    if (values->kind == JSON_LIST) {
        n = values->n;
    }
    for (size_t i = 0; i < n; i++) {
        if (values->kind == JSON_LIST) {
            one = values->items[i];
        }
        if (one->kind != JSON_STRING) {
            return error_set(err, "-smbios type=11: %s is no text", is_path ? "path" : "value");
        }
        if (!is_path) {
            if (!add_oem_value(s, one->string, strlen(one->string), err)) {
                return false;
            }
            continue;
        }
        g_autoptr(GError) error   = NULL;
        g_autofree char *contents = NULL;
        gsize            len;
        if (!g_file_get_contents(one->string, &contents, &len, &error)) {
            return error_set(err, "-smbios type=11,path=: %s", error->message);
        }
        if (!add_oem_value(s, contents, len, err)) {
            return false;
        }
    }
    return true;
}

static bool read_oem_strings(Settings *s, const Json *options, Error *err)
{
    for (size_t i = 0; i < options->n; i++) {
        bool is_path = strcmp(options->keys[i], "path") == 0;
        if (strcmp(options->keys[i], "type") == 0) {
            continue;
        }
        if (!is_path && strcmp(options->keys[i], "value") != 0) {
            return error_set(err, "-smbios type=11,%s=: no such field (value and path are)", options->keys[i]);
        }
        if (!read_oem_values(s, options->items[i], is_path, err)) {
            return false;
        }
    }
    return true;
}

static bool read_options(Settings *s, const Json *options, Error *err)
{
    static const char *const skip[] = { "type", NULL };
    const char              *file   = json_get_string(options, "file");
    const char              *text   = json_get_string(options, "type");
    uint64_t                 type;

    if (file) {
        if (options->n != 1) {
            return error_set(err, "-smbios file=%s: a file goes without other fields", file);
        }
        return read_file(s, file, err);
    }
    if (!text) {
        return error_set(err, "-smbios: needs file=FILE or type=NUMBER");
    }
    if (!text_parse_uint(text, 255, &type, err)) {
        return error_prefix(err, "-smbios type=: ");
    }

    Type8  t8  = { 0 };
    Type9  t9  = { 0 };
    Type41 t41 = { 0 };
    struct {
        unsigned     type;
        const Field *fields;
        void        *into;
        GArray      *list; /* each option is one more */
    } types[] = {
        { 0, type0_fields, &s->t0, NULL }, { 1, type1_fields, &s->t1, NULL },    { 2, type2_fields, &s->t2, NULL },
        { 3, type3_fields, &s->t3, NULL }, { 4, type4_fields, &s->t4, NULL },    { 8, type8_fields, &t8, s->t8 },
        { 9, type9_fields, &t9, s->t9 },   { 17, type17_fields, &s->t17, NULL }, { 41, type41_fields, &t41, s->t41 },
    };
    if (s->replaced[type]) {
        return error_set(err, "-smbios type=%s: a file already gave this type", text);
    }
    s->has_fields[type] = true;
    if (type == 11) {
        return read_oem_strings(s, options, err);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(types); i++) {
        if (types[i].type != type) {
            continue;
        }
        if (types[i].list) {
            fields_init(types[i].fields, types[i].into);
        }
        bool ok = fields_parse(types[i].fields, types[i].into, options, true, skip, err);
        if (types[i].list) { /* the list owns it now, good or not */
            g_array_append_vals(types[i].list, types[i].into, 1);
        }
        s->t0.given |= type == 0;
        s->t2.given |= type == 2;
        return ok || error_prefix(err, "-smbios type=%s: ", text);
    }
    return error_set(err, "-smbios type=%s: this type has no fields (0, 1, 2, 3, 4, 8, 9, 11, 17 and 41 have)", text);
}

static void settings_init(Settings *s)
{
    *s = (Settings){ .t8          = g_array_new(FALSE, FALSE, sizeof(Type8)),
                     .t9          = g_array_new(FALSE, FALSE, sizeof(Type9)),
                     .t41         = g_array_new(FALSE, FALSE, sizeof(Type41)),
                     .oem_strings = g_ptr_array_new_with_free_func(g_free),
                     .files       = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref) };
    fields_init(type0_fields, &s->t0);
    fields_init(type1_fields, &s->t1);
    fields_init(type2_fields, &s->t2);
    fields_init(type3_fields, &s->t3);
    fields_init(type4_fields, &s->t4);
    fields_init(type17_fields, &s->t17);
}

static void clear_list(GArray *list, const Field *fields, size_t size)
{
    for (guint i = 0; i < list->len; i++) {
        fields_clear(fields, list->data + i * size);
    }
    g_array_unref(list);
}

static void settings_clear(Settings *s)
{
    fields_clear(type0_fields, &s->t0);
    fields_clear(type1_fields, &s->t1);
    fields_clear(type2_fields, &s->t2);
    fields_clear(type3_fields, &s->t3);
    fields_clear(type4_fields, &s->t4);
    fields_clear(type17_fields, &s->t17);
    clear_list(s->t8, type8_fields, sizeof(Type8));
    clear_list(s->t9, type9_fields, sizeof(Type9));
    clear_list(s->t41, type41_fields, sizeof(Type41));
    g_ptr_array_unref(s->oem_strings);
    g_ptr_array_unref(s->files);
}

static bool add_structures(Builder *b, const Settings *s, const PcHardware *hw, const SmbiosDefaults *d,
                           SmbiosFindPci find_pci, void *opaque, Error *err)
{
    for (guint i = 0; i < s->files->len; i++) {
        gsize          len;
        const uint8_t *data = g_bytes_get_data(s->files->pdata[i], &len);
        len                 = structure_size(data, len);
        g_byte_array_append(b->out, data, (guint)len);
        b->max_size = MAX(b->max_size, (unsigned)len);
        b->count++;
    }
    if (!add_bios(b, s, d, err) || !add_system(b, s, d, err)) {
        return false;
    }
    add_board(b, s, d);
    add_chassis(b, s, d);
    for (unsigned i = 0; i < MIN(hw->sockets, 0x400); i++) {
        add_processor(b, s, d, hw, i);
    }
    add_connectors(b, s);
    if (!add_slots(b, s, find_pci, opaque, err)) {
        return false;
    }
    add_oem_strings(b, s);
    add_memory(b, s, hw);
    if (begin(b, 32, 0x2000)) { /* boot information: no errors detected */
        put(b, 0, 6);
        put(b, 0, 1);
        end(b);
    }
    if (!add_onboard(b, s, find_pci, opaque, err)) {
        return false;
    }
    if (begin(b, 127, 0x7f00)) {
        end(b);
    }
    if (b->out->len > MAX_TABLES) {
        return error_set(err, "-smbios: the tables have %u bytes, 65535 is the most there can be", b->out->len);
    }
    return true;
}

/* The 31-byte entry point: "_SM_" with a checksum, and within it "_DMI_" with its own. */
static TableBlob *add_anchor(FirmwareTables *tables, const TableBlob *structures, const Builder *b)
{
    TableBlob *anchor = firmware_tables_add(tables, SMBIOS_ANCHOR_FILE, 16, TABLE_ZONE_FSEG, TABLE_RESERVED);
    g_byte_array_set_size(anchor->data, ANCHOR_SIZE);
    uint8_t *p = anchor->data->data;
    memset(p, 0, ANCHOR_SIZE);
    memcpy(p, "_SM_", 4);
    p[5] = ANCHOR_SIZE;
    p[6] = 2;
    p[7] = 8;
    store_le16(p + 8, (uint16_t)b->max_size);
    memcpy(p + 16, "_DMI_", 5);
    store_le16(p + 22, (uint16_t)b->out->len);
    store_le16(p + 28, (uint16_t)b->count);
    p[30] = 0x28;
    firmware_tables_pointer(tables, anchor, 24, 4, structures);
    firmware_tables_checksum(tables, anchor, 21, 16, 15);
    firmware_tables_checksum(tables, anchor, 4, 0, ANCHOR_SIZE);
    return anchor;
}

TableBlob *smbios_build(FirmwareTables *tables, const PcHardware *hw, const SmbiosDefaults *defaults,
                        const GPtrArray *options, SmbiosFindPci find_pci, void *opaque, Error *err)
{
    TableBlob *structures = firmware_tables_add(tables, SMBIOS_TABLES_FILE, 16, TABLE_ZONE_HIGH, TABLE_RESERVED);
    TableBlob *anchor     = NULL;
    Settings   s;
    bool       ok = true;

    settings_init(&s);
    for (guint i = 0; options && ok && i < options->len; i++) {
        ok = read_options(&s, options->pdata[i], err);
    }
    Builder b = { .out = structures->data, .strings = g_string_new(NULL), .settings = &s };
    if (ok && add_structures(&b, &s, hw, defaults, find_pci, opaque, err)) {
        anchor = add_anchor(tables, structures, &b);
    }
    g_string_free(b.strings, TRUE);
    settings_clear(&s);
    return anchor;
}
