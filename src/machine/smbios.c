/* SMBIOS tables; what -smbios says about them is in smbios_options.c. Specification: DMTF DSP0134, System Management
 * BIOS 3.6.0 (2022); the entry point is that of 2.8, which every guest reads. */

#include "machine/smbios_private.h"

#include "base/bytes.h"
#include "base/text.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum {
    DIMM_MIB    = 16 << 10, /* RAM is shown as modules of 16 GiB */
    ANCHOR_SIZE = 31,
    NO_HANDLE   = 0xfffe,
};

/* The tables being written. */
typedef struct Builder {
    GByteArray           *out;
    uint32_t              start;     /* of the structure under construction */
    uint32_t              formatted; /* its bytes before the strings, once they have begun */
    unsigned              n_strings;
    GString              *strings;
    unsigned              count, max_size;
    const SmbiosSettings *settings;
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

static bool add_bios(Builder *b, const SmbiosSettings *s, const SmbiosDefaults *d, Error *err)
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

static bool add_system(Builder *b, const SmbiosSettings *s, const SmbiosDefaults *d, Error *err)
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

static void add_board(Builder *b, const SmbiosSettings *s, const SmbiosDefaults *d)
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

static void add_chassis(Builder *b, const SmbiosSettings *s, const SmbiosDefaults *d)
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

static void add_processor(Builder *b, const SmbiosSettings *s, const SmbiosDefaults *d, const PcHardware *hw,
                          unsigned n)
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

static bool add_slots(Builder *b, const SmbiosSettings *s, SmbiosFindPci find, void *opaque, Error *err)
{
    for (guint i = 0; i < s->t9->len; i++) {
        const SmbiosType9 *t = &g_array_index(s->t9, SmbiosType9, i);
        uint8_t            devfn;
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

static void add_connectors(Builder *b, const SmbiosSettings *s)
{
    for (guint i = 0; i < s->t8->len; i++) {
        const SmbiosType8 *t = &g_array_index(s->t8, SmbiosType8, i);
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

static void add_oem_strings(Builder *b, const SmbiosSettings *s)
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

static void add_memory(Builder *b, const SmbiosSettings *s, const PcHardware *hw)
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

static bool add_onboard(Builder *b, const SmbiosSettings *s, SmbiosFindPci find, void *opaque, Error *err)
{
    for (guint i = 0; i < s->t41->len; i++) {
        const SmbiosType41 *t     = &g_array_index(s->t41, SmbiosType41, i);
        uint8_t             devfn = 0;
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

static bool add_structures(Builder *b, const SmbiosSettings *s, const PcHardware *hw, const SmbiosDefaults *d,
                           SmbiosFindPci find_pci, void *opaque, Error *err)
{
    for (guint i = 0; i < s->files->len; i++) {
        gsize          len;
        const uint8_t *data = g_bytes_get_data(s->files->pdata[i], &len);
        len                 = smbios_structure_size(data, len);
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
    if (b->out->len > SMBIOS_MAX_TABLES) {
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
    TableBlob     *structures = firmware_tables_add(tables, SMBIOS_TABLES_FILE, 16, TABLE_ZONE_HIGH, TABLE_RESERVED);
    TableBlob     *anchor     = NULL;
    SmbiosSettings s;
    bool           ok = true;

    smbios_settings_init(&s);
    for (guint i = 0; options && ok && i < options->len; i++) {
        ok = smbios_settings_read(&s, options->pdata[i], err);
    }
    Builder b = { .out = structures->data, .strings = g_string_new(NULL), .settings = &s };
    if (ok && add_structures(&b, &s, hw, defaults, find_pci, opaque, err)) {
        anchor = add_anchor(tables, structures, &b);
    }
    g_string_free(b.strings, TRUE);
    smbios_settings_clear(&s);
    return anchor;
}
