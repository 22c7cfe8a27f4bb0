/* -smbios: the options that give fields of SMBIOS structures, or whole ones from a file.
 * Specification: DMTF DSP0134, System Management BIOS 3.6.0 (2022). */

#include "machine/smbios_private.h"

#include "base/file.h"
#include "base/text.h"
#include "desc/field.h"

#include <string.h>

enum { STRUCT_HEADER = 4 };

static const char *const type41_kinds[] = { "",           "other", "unknown", "video", "scsi", "ethernet",
                                            "token-ring", "sound", "pata",    "sata",  "sas",  NULL };

static const Field type0_fields[] = { FIELD(SmbiosType0, vendor, "vendor", .help = "vendor of the BIOS"),
                                      FIELD(SmbiosType0, version, "version", .help = "its version"),
                                      FIELD(SmbiosType0, date, "date", .help = "its date, mm/dd/yyyy"),
                                      FIELD(SmbiosType0, release, "release", .help = "its release, major.minor"),
                                      FIELD(SmbiosType0, uefi, "uefi", .help = "say that UEFI is supported"),
                                      {} };

static const Field type1_fields[] = { FIELD(SmbiosType1, manufacturer, "manufacturer",
                                            .help = "manufacturer of the system"),
                                      FIELD(SmbiosType1, product, "product", .help = "product name"),
                                      FIELD(SmbiosType1, version, "version", .help = "version"),
                                      FIELD(SmbiosType1, serial, "serial", .help = "serial number"),
                                      FIELD(SmbiosType1, uuid, "uuid", .help = "UUID; instead of -uuid"),
                                      FIELD(SmbiosType1, sku, "sku", .help = "SKU number"),
                                      FIELD(SmbiosType1, family, "family", .help = "product family"),
                                      {} };

static const Field type2_fields[] = { FIELD(SmbiosType2, manufacturer, "manufacturer",
                                            .help = "manufacturer of the base board"),
                                      FIELD(SmbiosType2, product, "product", .help = "product name"),
                                      FIELD(SmbiosType2, version, "version", .help = "version"),
                                      FIELD(SmbiosType2, serial, "serial", .help = "serial number"),
                                      FIELD(SmbiosType2, asset, "asset", .help = "asset tag"),
                                      FIELD(SmbiosType2, location, "location", .help = "location in the chassis"),
                                      {} };

static const Field type3_fields[] = { FIELD(SmbiosType3, manufacturer, "manufacturer",
                                            .help = "manufacturer of the chassis"),
                                      FIELD(SmbiosType3, version, "version", .help = "version"),
                                      FIELD(SmbiosType3, serial, "serial", .help = "serial number"),
                                      FIELD(SmbiosType3, asset, "asset", .help = "asset tag"),
                                      FIELD(SmbiosType3, sku, "sku", .help = "SKU number"),
                                      {} };

static const Field type4_fields[] = {
    FIELD(SmbiosType4, sock_pfx, "sock_pfx", .text = "CPU", .help = "socket designation, a number is appended"),
    FIELD(SmbiosType4, manufacturer, "manufacturer", .help = "manufacturer of the processor"),
    FIELD(SmbiosType4, version, "version", .help = "version"),
    FIELD(SmbiosType4, max_speed, "max-speed", .initial = 2000, .help = "MHz"),
    FIELD(SmbiosType4, current_speed, "current-speed", .initial = 2000, .help = "MHz"),
    FIELD(SmbiosType4, serial, "serial", .help = "serial number"),
    FIELD(SmbiosType4, asset, "asset", .help = "asset tag"),
    FIELD(SmbiosType4, part, "part", .help = "part number"),
    FIELD(SmbiosType4, family, "processor-family", .initial = 1, .help = "processor family"),
    FIELD(SmbiosType4, id, "processor-id", .has_offset = 1 + offsetof(SmbiosType4, has_id),
          .help = "processor ID, 64 bits"),
    {}
};

static const Field type8_fields[] = {
    FIELD(SmbiosType8, internal_reference, "internal_reference", .help = "internal designator"),
    FIELD(SmbiosType8, external_reference, "external_reference", .help = "external designator"),
    FIELD(SmbiosType8, connector_type, "connector_type", .help = "external connector type"),
    FIELD(SmbiosType8, port_type, "port_type", .help = "port type"),
    {}
};

static const Field type9_fields[] = {
    FIELD(SmbiosType9, slot_designation, "slot_designation", .help = "designation of the slot"),
    FIELD(SmbiosType9, slot_type, "slot_type", .help = "slot type"),
    FIELD(SmbiosType9, slot_data_bus_width, "slot_data_bus_width", .help = "data bus width"),
    FIELD(SmbiosType9, current_usage, "current_usage", .help = "current usage"),
    FIELD(SmbiosType9, slot_length, "slot_length", .help = "slot length"),
    FIELD(SmbiosType9, slot_id, "slot_id", .help = "slot ID"),
    FIELD(SmbiosType9, characteristics1, "slot_characteristics1", .help = "characteristics 1"),
    FIELD(SmbiosType9, characteristics2, "slot_characteristics12", .alias = "slot_characteristics2",
          .help = "characteristics 2"),
    FIELD(SmbiosType9, pci_device, "pci_device", .help = "id of the PCI device in the slot"),
    {}
};

static const Field type17_fields[] = {
    FIELD(SmbiosType17, loc_pfx, "loc_pfx", .text = "DIMM", .help = "device locator, a number is appended"),
    FIELD(SmbiosType17, bank, "bank", .help = "bank locator"),
    FIELD(SmbiosType17, manufacturer, "manufacturer", .help = "manufacturer of the memory"),
    FIELD(SmbiosType17, serial, "serial", .help = "serial number"),
    FIELD(SmbiosType17, asset, "asset", .help = "asset tag"),
    FIELD(SmbiosType17, part, "part", .help = "part number"),
    FIELD(SmbiosType17, speed, "speed", .help = "MT/s"),
    {}
};

static const Field type41_fields[] = {
    FIELD(SmbiosType41, designation, "designation", .help = "what the device is called"),
    FIELD(SmbiosType41, kind, "kind", .names = type41_kinds, .initial = 1, .help = "kind of device"),
    FIELD(SmbiosType41, instance, "instance", .initial = 1, .help = "instance of its kind"),
    FIELD(SmbiosType41, pcidev, "pcidev", .help = "id of a PCI device on the root bus"),
    {}
};

size_t smbios_structure_size(const uint8_t *data, size_t len)
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

static bool read_file(SmbiosSettings *s, const char *path, Error *err)
{
    size_t           len;
    g_autofree char *contents = file_read(path, &len, err);

    if (!contents) {
        return error_prefix(err, "-smbios file=: ");
    }
    if (len > SMBIOS_MAX_TABLES || smbios_structure_size((const uint8_t *)contents, len) == 0) {
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

static bool add_oem_value(SmbiosSettings *s, const char *value, size_t len, Error *err)
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
static bool read_oem_values(SmbiosSettings *s, const Json *values, bool is_path, Error *err)
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
        size_t           len;
        g_autofree char *contents = file_read(one->string, &len, err);
        if (!contents) {
            return error_prefix(err, "-smbios type=11,path=: ");
        }
        if (!add_oem_value(s, contents, len, err)) {
            return false;
        }
    }
    return true;
}

static bool read_oem_strings(SmbiosSettings *s, const Json *options, Error *err)
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

bool smbios_settings_read(SmbiosSettings *s, const Json *options, Error *err)
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

    SmbiosType8  t8  = { 0 };
    SmbiosType9  t9  = { 0 };
    SmbiosType41 t41 = { 0 };
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

void smbios_settings_init(SmbiosSettings *s)
{
    *s = (SmbiosSettings){ .t8          = g_array_new(FALSE, FALSE, sizeof(SmbiosType8)),
                           .t9          = g_array_new(FALSE, FALSE, sizeof(SmbiosType9)),
                           .t41         = g_array_new(FALSE, FALSE, sizeof(SmbiosType41)),
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

void smbios_settings_clear(SmbiosSettings *s)
{
    fields_clear(type0_fields, &s->t0);
    fields_clear(type1_fields, &s->t1);
    fields_clear(type2_fields, &s->t2);
    fields_clear(type3_fields, &s->t3);
    fields_clear(type4_fields, &s->t4);
    fields_clear(type17_fields, &s->t17);
    clear_list(s->t8, type8_fields, sizeof(SmbiosType8));
    clear_list(s->t9, type9_fields, sizeof(SmbiosType9));
    clear_list(s->t41, type41_fields, sizeof(SmbiosType41));
    g_ptr_array_unref(s->oem_strings);
    g_ptr_array_unref(s->files);
}
