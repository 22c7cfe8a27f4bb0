/* ACPI tables of a PC.
 * Specification: ACPI 6.4 (January 2021), chapter 5; HPET table: IA-PC HPET 1.0a; WAET: Microsoft, Windows ACPI
 * Emulated Devices Table (2009). */

#include "machine/acpi.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/file.h"
#include "desc/field.h"
#include "devices/acpi/ged.h"
#include "devices/irq/ioapic.h"
#include "devices/timer/hpet.h"
#include "machine/acpi_numa.h"
#include "machine/ssdt_nvdimm.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum { PAGE_SIZE = 4096 };

enum {
    HEADER_SIZE     = 36,
    HEADER_LENGTH   = 4,
    HEADER_CHECKSUM = 9,
    HEADER_OEM_ID   = 10,
    HEADER_OEM_TID  = 16,
    HEADER_OEM_REV  = 24,
    HEADER_CREATOR  = 28,
    HEADER_CRE_REV  = 32,
    FADT_SIZE       = 276,
    FACS_SIZE       = 64,
    RSDP_SIZE       = 36,
    MAX_USER_TABLE  = 16 << 20,
};

/* What guests and drivers know these machines by. */
static const char oem_id[]       = "BOCHS ";
static const char oem_table_id[] = "BXPC    ";
static const char creator_id[]   = "BXPC";

/* One -acpitable. */
typedef struct AcpiTableOptions {
    char    *sig, *oem_id, *oem_table_id, *asl_compiler_id, *data, *file;
    uint8_t  rev;
    uint32_t oem_rev, asl_compiler_rev;
    bool     has_rev, has_oem_rev, has_asl_compiler_rev;
} AcpiTableOptions;

static const Field acpi_table_fields[] = {
    FIELD(AcpiTableOptions, sig, "sig", .help = "signature, four characters"),
    FIELD(AcpiTableOptions, rev, "rev", .has_offset = 1 + offsetof(AcpiTableOptions, has_rev), .help = "revision"),
    FIELD(AcpiTableOptions, oem_id, "oem_id", .help = "OEM, at most six characters"),
    FIELD(AcpiTableOptions, oem_table_id, "oem_table_id", .help = "OEM's table, at most eight characters"),
    FIELD(AcpiTableOptions, oem_rev, "oem_rev", .has_offset = 1 + offsetof(AcpiTableOptions, has_oem_rev),
          .help = "OEM's revision"),
    FIELD(AcpiTableOptions, asl_compiler_id, "asl_compiler_id", .help = "creator, at most four characters"),
    FIELD(AcpiTableOptions, asl_compiler_rev, "asl_compiler_rev",
          .has_offset = 1 + offsetof(AcpiTableOptions, has_asl_compiler_rev), .help = "creator's revision"),
    FIELD(AcpiTableOptions, data, "data", .help = "files with the table's body, separated by colons"),
    FIELD(AcpiTableOptions, file, "file", .help = "files with the whole table, separated by colons"),
    {}
};

/* A table being appended to a blob. */
typedef struct Builder {
    FirmwareTables *tables;
    TableBlob      *blob;
    GArray         *offsets;   /* uint32_t: tables that the RSDT lists */
    char            oem_id[7]; /* of RSDT, XSDT and FADT: a SLIC table changes them */
    char            oem_table_id[9];
} Builder;

static void put(GByteArray *out, uint64_t value, unsigned size)
{
    uint8_t buf[8];
    store_le(buf, value, size);
    g_byte_array_append(out, buf, size);
}

static void put_text(GByteArray *out, const char *text, size_t len)
{
    char buf[8] = { 0 };
    assert(len <= sizeof buf);
    memcpy(buf, text, strnlen(text, len));
    g_byte_array_append(out, (const uint8_t *)buf, (guint)len);
}

static void put_header(GByteArray *out, const char *sig, unsigned rev, const char *oem, const char *oem_table)
{
    put_text(out, sig, 4);
    put(out, 0, 4);
    put(out, rev, 1);
    put(out, 0, 1);
    put_text(out, oem, 6);
    put_text(out, oem_table, 8);
    put(out, 1, 4);
    put_text(out, creator_id, 4);
    put(out, 1, 4);
}

/* Tables start at multiples of 8 so that their 64-bit members are aligned. */
static uint32_t table_begin(Builder *b, const char *sig, unsigned rev)
{
    while (b->blob->data->len % 8) {
        put(b->blob->data, 0, 1);
    }
    uint32_t at = b->blob->data->len;
    put_header(b->blob->data, sig, rev, oem_id, oem_table_id);
    return at;
}

/* Pointers into the table are registered by now. */
static void table_end(Builder *b, uint32_t at, bool listed)
{
    uint32_t len = b->blob->data->len - at;
    store_le32(b->blob->data->data + at + HEADER_LENGTH, len);
    firmware_tables_checksum(b->tables, b->blob, at + HEADER_CHECKSUM, at, len);
    if (listed) {
        g_array_append_val(b->offsets, at);
    }
}

static void set_oem_ids(const Builder *b, uint32_t at)
{
    memcpy(b->blob->data->data + at + HEADER_OEM_ID, b->oem_id, 6);
    memcpy(b->blob->data->data + at + HEADER_OEM_TID, b->oem_table_id, 8);
}

static void put_gas(GByteArray *out, uint64_t address, unsigned bits, unsigned access)
{
    put(out, address ? 1 : 0, 1); /* system I/O */
    put(out, address ? bits : 0, 1);
    put(out, 0, 1);
    put(out, address ? access : 0, 1);
    put(out, address, 8);
}

enum {
    FADT_WBINVD         = 1 << 0,
    FADT_PROC_C1        = 1 << 2,
    FADT_PWR_BUTTON     = 1 << 4, /* set: no fixed power button */
    FADT_SLP_BUTTON     = 1 << 5, /* set: no fixed sleep button */
    FADT_RTC_S4         = 1 << 7,
    FADT_RESET_REG      = 1 << 10,
    FADT_APIC_CLUSTER   = 1 << 18,
    FADT_HW_REDUCED     = 1 << 20,
    BOOT_LEGACY_DEVICES = 1 << 0,
    BOOT_8042           = 1 << 1,
    BOOT_NO_VGA         = 1 << 2,
    BOOT_NO_CMOS        = 1 << 5,
};

static void add_fadt(Builder *b, const PcHardware *hw, const TableBlob *facs, uint32_t dsdt)
{
    GByteArray *o  = b->blob->data;
    uint32_t    at = table_begin(b, "FACP", 6);
    set_oem_ids(b, at);

    const PcWiring *w     = hw->wiring;
    unsigned        pm    = hw->acpi_pm ? w->pm_base : 0;
    unsigned        gpe0  = hw->acpi_pm ? w->gpe0_base : 0;
    unsigned        flags = FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_RTC_S4 | FADT_RESET_REG |
                     (hw->acpi_pm ? 0 : FADT_PWR_BUTTON) | (hw->cpus > 8 ? FADT_APIC_CLUSTER : 0);
    unsigned arch =
        BOOT_LEGACY_DEVICES | (hw->i8042 ? BOOT_8042 : 0) | (hw->vga ? 0 : BOOT_NO_VGA) | (hw->rtc ? 0 : BOOT_NO_CMOS);

    uint32_t facs_at = o->len;
    put(o, 0, 4); /* FIRMWARE_CTRL */
    uint32_t dsdt_at = o->len;
    put(o, dsdt, 4);
    put(o, 0, 1);
    put(o, 0, 1); /* Preferred_PM_Profile: unspecified */
    put(o, PC_SCI_IRQ, 2);
    put(o, hw->acpi_pm ? w->smi_cmd : 0, 4);
    put(o, hw->acpi_pm ? w->acpi_enable : 0, 1);
    put(o, hw->acpi_pm ? w->acpi_disable : 0, 1);
    put(o, 0, 1); /* S4BIOS_REQ */
    put(o, 0, 1); /* PSTATE_CNT */
    put(o, pm, 4);
    put(o, 0, 4);
    put(o, pm ? pm + 4 : 0, 4);
    put(o, 0, 4);
    put(o, 0, 4);
    put(o, pm ? pm + 8 : 0, 4);
    put(o, gpe0, 4);
    put(o, 0, 4);
    put(o, 4, 1); /* PM1_EVT_LEN */
    put(o, 2, 1); /* PM1_CNT_LEN */
    put(o, 0, 1);
    put(o, 4, 1); /* PM_TMR_LEN */
    put(o, pm ? w->gpe0_len : 0, 1);
    put(o, 0, 1);
    put(o, 0, 1);
    put(o, 0, 1);     /* CST_CNT */
    put(o, 0xfff, 2); /* P_LVL2_LAT, P_LVL3_LAT: no C2, no C3 */
    put(o, 0xfff, 2);
    put(o, 0, 2); /* FLUSH_SIZE, FLUSH_STRIDE: WBINVD works */
    put(o, 0, 2);
    put(o, 0, 1); /* DUTY_OFFSET, DUTY_WIDTH */
    put(o, 0, 1);
    put(o, 0, 1);                  /* DAY_ALRM */
    put(o, 0, 1);                  /* MON_ALRM */
    put(o, hw->rtc ? 0x32 : 0, 1); /* CENTURY */
    put(o, arch, 2);
    put(o, 0, 1);
    put(o, flags, 4);
    put_gas(o, 0xcf9, 8, 1); /* RESET_REG */
    put(o, 0x0f, 1);         /* RESET_VALUE: full reset */
    put(o, 0, 2);            /* ARM_BOOT_ARCH */
    put(o, 4, 1);            /* minor version */
    put(o, 0, 8);            /* X_FIRMWARE_CTRL: FIRMWARE_CTRL is the one */
    uint32_t x_dsdt_at = o->len;
    put(o, dsdt, 8);
    put_gas(o, pm, 32, 2);
    put_gas(o, 0, 0, 0);
    put_gas(o, pm ? pm + 4 : 0, 16, 2);
    put_gas(o, 0, 0, 0);
    put_gas(o, 0, 0, 0);
    put_gas(o, pm ? pm + 8 : 0, 32, 3);
    put_gas(o, gpe0, w->gpe0_len * 8u, 1);
    put_gas(o, 0, 0, 0);
    put_gas(o, 0, 0, 0); /* SLEEP_CONTROL_REG, SLEEP_STATUS_REG */
    put_gas(o, 0, 0, 0);
    put(o, 0, 8); /* hypervisor vendor */
    assert(o->len - at == FADT_SIZE);

    firmware_tables_pointer(b->tables, b->blob, facs_at, 4, facs);
    firmware_tables_pointer(b->tables, b->blob, dsdt_at, 4, b->blob);
    firmware_tables_pointer(b->tables, b->blob, x_dsdt_at, 8, b->blob);
    table_end(b, at, true);
}

static void put_memory_byte(GByteArray *out, uint64_t address)
{
    put(out, 0, 1); /* system memory */
    put(out, 8, 1);
    put(out, 0, 1);
    put(out, 1, 1);
    put(out, address, 8);
}

/* Without fixed hardware nearly all of it is 0. */
static void add_reduced_fadt(Builder *b, const PcHardware *hw, uint32_t dsdt)
{
    enum { DSDT = 40, ARCH = 109, FLAGS = 112, RESET = 116, RESET_VALUE = 128, MINOR = 131, X_DSDT = 140, SLEEP = 244 };
    GByteArray *o      = b->blob->data;
    uint32_t    at     = table_begin(b, "FACP", 6);
    unsigned    arch   = (hw->i8042 ? BOOT_8042 : 0) | (hw->vga ? 0 : BOOT_NO_VGA) | (hw->rtc ? 0 : BOOT_NO_CMOS);
    uint8_t    *fields = NULL;

    set_oem_ids(b, at);
    g_byte_array_set_size(o, at + FADT_SIZE);
    fields = o->data + at;
    memset(fields + HEADER_SIZE, 0, FADT_SIZE - HEADER_SIZE);
    store_le32(fields + DSDT, dsdt);
    store_le16(fields + ARCH, (uint16_t)arch);
    store_le32(fields + FLAGS, FADT_HW_REDUCED | FADT_RESET_REG | FADT_WBINVD);
    fields[RESET_VALUE] = GED_RESET_VALUE;
    fields[MINOR]       = 4;
    store_le64(fields + X_DSDT, dsdt);

    static const struct {
        uint16_t at, reg;
    } registers[] = { { RESET, GED_RESET }, { SLEEP, GED_SLEEP_CTL }, { SLEEP + 12, GED_SLEEP_STS } };
    for (unsigned i = 0; i < G_N_ELEMENTS(registers); i++) {
        g_autoptr(GByteArray) gas = g_byte_array_new();
        put_memory_byte(gas, hw->ged_base + registers[i].reg);
        memcpy(fields + registers[i].at, gas->data, gas->len);
    }
    firmware_tables_pointer(b->tables, b->blob, at + DSDT, 4, b->blob);
    firmware_tables_pointer(b->tables, b->blob, at + X_DSDT, 8, b->blob);
    table_end(b, at, true);
}

static void add_io_apic(GByteArray *o, unsigned id, uint64_t address, unsigned first_gsi)
{
    put(o, 1, 1);
    put(o, 12, 1);
    put(o, id, 1);
    put(o, 0, 1);
    put(o, address, 4);
    put(o, first_gsi, 4);
}

/* The MADT: types of entries, flags of processors. */
enum { LAPIC = 0, OVERRIDE = 2, LAPIC_NMI = 4, X2APIC = 9, X2APIC_NMI = 10 };
enum { MADT_FIRST = 44, MADT_ENABLED = 1 << 0, MADT_ONLINE_CAPABLE = 1 << 1 };

static void add_madt(Builder *b, const PcHardware *hw)
{
    GByteArray *o  = b->blob->data;
    uint32_t    at = table_begin(b, "APIC", 5);
    bool        x2 = false;

    put(o, PC_LOCAL_APIC, 4);
    put(o, hw->pic, 4); /* PCAT_COMPAT: there are two 8259 */
    for (unsigned i = 0; i < hw->cpus; i++) {
        uint32_t id = hw->apic_ids[i];
        if (id < 255 && i < 255) {
            put(o, LAPIC, 1);
            put(o, 8, 1);
            put(o, i, 1);
            put(o, id, 1);
            put(o, hardware_has_cpu(hw, i) ? MADT_ENABLED : MADT_ONLINE_CAPABLE, 4);
        } else {
            x2 = true;
            put(o, X2APIC, 1);
            put(o, 16, 1);
            put(o, 0, 2);
            put(o, id, 4);
            put(o, hardware_has_cpu(hw, i) ? MADT_ENABLED : MADT_ONLINE_CAPABLE, 4);
            put(o, i, 4);
        }
    }
    add_io_apic(o, hw->io_apic_id, IOAPIC_ADDRESS, 0);
    if (hw->io_apic2_address) {
        add_io_apic(o, hw->io_apic_id + 1u, hw->io_apic2_address, IOAPIC_PINS);
    }
    /* Hardware-reduced: devices tell in the DSDT which interrupts they have. */
    for (unsigned irq = 0; irq < 16 && !hw->reduced; irq++) {
        bool level = PC_LEVEL_IRQS >> irq & 1;
        if (irq != 0 && !level) {
            continue;
        }
        put(o, OVERRIDE, 1);
        put(o, 10, 1);
        put(o, 0, 1); /* ISA */
        put(o, irq, 1);
        put(o, irq == 0 ? 2 : irq, 4);
        put(o, level ? 0x0d : 0, 2); /* level, active high; or as the bus has it */
    }

    put(o, LAPIC_NMI, 1); /* of all CPUs: LINT1 */
    put(o, 6, 1);
    put(o, 0xff, 1);
    put(o, 0, 2);
    put(o, 1, 1);
    if (x2) {
        put(o, X2APIC_NMI, 1);
        put(o, 12, 1);
        put(o, 0, 2);
        put(o, 0xffffffff, 4);
        put(o, 1, 1);
        put(o, 0, 3);
    }
    table_end(b, at, true);
}

static void add_hpet(Builder *b, const PcHardware *hw)
{
    GByteArray *o  = b->blob->data;
    uint32_t    at = table_begin(b, "HPET", 1);

    put(o, hw->hpet_block_id, 4);
    put(o, 0, 4); /* system memory, 0 bits wide as the HPET specification has it */
    put(o, HPET_ADDRESS, 8);
    put(o, 0, 1); /* number */
    put(o, 0, 2); /* minimum tick */
    put(o, 0, 1); /* no page protection */
    table_end(b, at, true);
}

/* Where configuration space is memory-mapped (PCI Firmware Specification 3.3, section 4.1.2). */
static void add_mcfg(Builder *b, const PcHardware *hw)
{
    GByteArray *o  = b->blob->data;
    uint32_t    at = table_begin(b, "MCFG", 1);
    put(o, 0, 8);
    put(o, hw->ecam_base, 8);
    put(o, 0, 2); /* segment */
    put(o, 0, 1); /* first bus */
    put(o, (hw->ecam_size >> 20) - 1, 1);
    put(o, 0, 4);
    table_end(b, at, true);
}

static void add_numa(Builder *b, const PcHardware *hw)
{
    GByteArray *o  = b->blob->data;
    uint32_t    at = table_begin(b, "SRAT", 3);
    acpi_srat(o, hw);
    table_end(b, at, true);
    if (hw->numa->have_distances) {
        at = table_begin(b, "SLIT", 1);
        acpi_slit(o, hw);
        table_end(b, at, true);
    }
    if (hw->numa->hmat) {
        at = table_begin(b, "HMAT", 2);
        acpi_hmat(o, hw);
        table_end(b, at, true);
    }
}

/* Where methods about NVDIMMs put what they ask. */
#define NVDIMM_FILE "etc/acpi/nvdimm-mem"

static void add_nvdimm(Builder *b, const PcHardware *hw)
{
    TableBlob *page = firmware_tables_add(b->tables, NVDIMM_FILE, PAGE_SIZE, TABLE_ZONE_HIGH, TABLE_NVS);
    g_byte_array_set_size(page->data, PAGE_SIZE);
    memset(page->data->data, 0, PAGE_SIZE);
    uint32_t at      = table_begin(b, "SSDT", 1);
    uint32_t page_at = ssdt_nvdimm_build(b->blob->data, hw->memory_slots);
    firmware_tables_pointer(b->tables, b->blob, page_at, 4, page);
    table_end(b, at, true);
    if (hw->nfit) {
        at = table_begin(b, "NFIT", 1);
        put(b->blob->data, 0, 4);
        g_byte_array_append(b->blob->data, hw->nfit->data, hw->nfit->len);
        table_end(b, at, true);
    }
}

/* Reading the PM timer once is enough: there is no chipset bug to work around. */
static void add_waet(Builder *b)
{
    uint32_t at = table_begin(b, "WAET", 1);
    put(b->blob->data, 2, 4);
    table_end(b, at, true);
}

/* Appends the files of a colon-separated list. */
static bool append_files(GByteArray *out, const char *list, Error *err)
{
    g_auto(GStrv) files = g_strsplit(list, ":", -1);
    for (char **f = files; *f; f++) {
        size_t           len;
        g_autofree char *contents = file_read(*f, &len, err);
        if (!contents) {
            return false;
        }
        if (len > MAX_USER_TABLE || out->len + len > MAX_USER_TABLE) {
            return error_set(err, "'%s': a table of more than 16 MiB", *f);
        }
        g_byte_array_append(out, (const uint8_t *)contents, (guint)len);
    }
    return true;
}

static bool set_header_text(uint8_t *header, unsigned offset, size_t size, const char *option, const char *text,
                            char fill, Error *err)
{
    size_t len = text ? strlen(text) : 0;
    if (len > size) {
        return error_set(err, "%s=%s: more than %zu characters", option, text, size);
    }
    if (text) {
        for (size_t i = 0; i < size; i++) {
            header[offset + i] = (uint8_t)(i < len ? text[i] : fill);
        }
    }
    return true;
}

static bool build_user_table(GByteArray *table, const AcpiTableOptions *opt, Error *err)
{
    if (!opt->data == !opt->file) {
        return error_set(err, opt->data ? "both data= and file=" : "neither data= nor file= says what is in the table");
    }
    if (opt->data) {
        put_header(table, "QERN", 1, oem_id, oem_table_id);
    }
    if (!append_files(table, opt->data ? opt->data : opt->file, err)) {
        return false;
    }
    if (table->len < HEADER_SIZE) {
        return error_set(err, "file=%s: shorter than a table header of %d bytes", opt->file, HEADER_SIZE);
    }
    if (opt->file && load_le32(table->data + HEADER_LENGTH) != table->len) {
        warn_report("-acpitable file=%s: the header says %u bytes, the file has %u", opt->file,
                    load_le32(table->data + HEADER_LENGTH), table->len);
    }
    if (opt->sig && strlen(opt->sig) != 4) {
        return error_set(err, "sig=%s: a signature has four characters", opt->sig);
    }
    uint8_t *h = table->data;
    if (!set_header_text(h, 0, 4, "sig", opt->sig, ' ', err) ||
        !set_header_text(h, HEADER_OEM_ID, 6, "oem_id", opt->oem_id, 0, err) ||
        !set_header_text(h, HEADER_OEM_TID, 8, "oem_table_id", opt->oem_table_id, 0, err) ||
        !set_header_text(h, HEADER_CREATOR, 4, "asl_compiler_id", opt->asl_compiler_id, 0, err)) {
        return false;
    }
    if (opt->has_rev) {
        h[8] = opt->rev;
    }
    if (opt->has_oem_rev) {
        store_le32(h + HEADER_OEM_REV, opt->oem_rev);
    }
    if (opt->has_asl_compiler_rev) {
        store_le32(h + HEADER_CRE_REV, opt->asl_compiler_rev);
    }
    return true;
}

static bool add_user_table(Builder *b, const Json *options, Error *err)
{
    AcpiTableOptions opt        = { 0 };
    g_autoptr(GByteArray) table = g_byte_array_new();

    fields_init(acpi_table_fields, &opt);
    bool ok = fields_parse(acpi_table_fields, &opt, options, true, NULL, err) && build_user_table(table, &opt, err);
    fields_clear(acpi_table_fields, &opt);
    if (!ok) {
        return error_prefix(err, "-acpitable: ");
    }
    while (b->blob->data->len % 8) {
        put(b->blob->data, 0, 1);
    }
    uint32_t at = b->blob->data->len;
    g_byte_array_append(b->blob->data, table->data, table->len);
    b->blob->data->data[at + HEADER_CHECKSUM] = 0;
    table_end(b, at, true);
    if (memcmp(table->data, "SLIC", 4) == 0) { /* Windows compares these with the SLIC's */
        memcpy(b->oem_id, table->data + HEADER_OEM_ID, 6);
        memcpy(b->oem_table_id, table->data + HEADER_OEM_TID, 8);
    }
    return true;
}

/* RSDT or XSDT: entries of 4 or 8 bytes. */
static uint32_t add_root_table(Builder *b, const char *sig, unsigned entry_size)
{
    uint32_t at = table_begin(b, sig, 1);
    set_oem_ids(b, at);
    for (guint i = 0; i < b->offsets->len; i++) {
        uint32_t entry_at = b->blob->data->len;
        put(b->blob->data, g_array_index(b->offsets, uint32_t, i), entry_size);
        firmware_tables_pointer(b->tables, b->blob, entry_at, entry_size, b->blob);
    }
    table_end(b, at, false);
    return at;
}

static TableBlob *add_rsdp(Builder *b, uint32_t rsdt, uint32_t xsdt)
{
    TableBlob  *blob = firmware_tables_add(b->tables, ACPI_RSDP_FILE, 16, TABLE_ZONE_FSEG, TABLE_RESERVED);
    GByteArray *o    = blob->data;

    put_text(o, "RSD PTR ", 8);
    put(o, 0, 1);
    put_text(o, b->oem_id, 6);
    put(o, 2, 1);
    put(o, rsdt, 4);
    put(o, RSDP_SIZE, 4);
    put(o, xsdt, 8);
    put(o, 0, 1);
    put(o, 0, 3);
    firmware_tables_pointer(b->tables, blob, 16, 4, b->blob);
    firmware_tables_pointer(b->tables, blob, 24, 8, b->blob);
    firmware_tables_checksum(b->tables, blob, 8, 0, 20);
    firmware_tables_checksum(b->tables, blob, 32, 0, RSDP_SIZE);
    return blob;
}

static TableBlob *add_facs(FirmwareTables *tables)
{
    TableBlob *facs = firmware_tables_add(tables, ACPI_FACS_FILE, 64, TABLE_ZONE_HIGH, TABLE_NVS);
    put_text(facs->data, "FACS", 4);
    put(facs->data, FACS_SIZE, 4);
    g_byte_array_set_size(facs->data, FACS_SIZE);
    memset(facs->data->data + 8, 0, FACS_SIZE - 8);
    facs->data->data[32] = 2; /* version */
    return facs;
}

TableBlob *acpi_build(FirmwareTables *tables, const PcHardware *hw, const GPtrArray *user, Error *err)
{
    Builder b = { .tables  = tables,
                  .blob    = firmware_tables_add(tables, ACPI_TABLES_FILE, 64, TABLE_ZONE_HIGH, TABLE_ACPI),
                  .offsets = g_array_new(FALSE, FALSE, sizeof(uint32_t)) };
    memcpy(b.oem_id, oem_id, 6);
    memcpy(b.oem_table_id, oem_table_id, 8);

    TableBlob *facs = hw->reduced ? NULL : add_facs(tables);
    uint32_t   dsdt = table_begin(&b, "DSDT", 2);
    dsdt_build(b.blob->data, hw);
    table_end(&b, dsdt, false);

    /* Users' tables come first in memory because a SLIC has a say in the FADT; the list starts with the FADT. */
    bool ok = true;
    for (guint i = 0; user && ok && i < user->len; i++) {
        ok = add_user_table(&b, user->pdata[i], err);
    }
    TableBlob *rsdp = NULL;
    if (ok) {
        GArray *users = b.offsets;
        b.offsets     = g_array_new(FALSE, FALSE, sizeof(uint32_t));
        if (hw->reduced) {
            add_reduced_fadt(&b, hw, dsdt);
        } else {
            add_fadt(&b, hw, facs, dsdt);
        }
        add_madt(&b, hw);
        if (hw->hpet) {
            add_hpet(&b, hw);
        }
        if (hw->ecam_size) {
            add_mcfg(&b, hw);
        }
        if (hw->numa) {
            add_numa(&b, hw);
        }
        if (hw->nvdimm) {
            add_nvdimm(&b, hw);
        }
        if (hw->acpi_pm) {
            add_waet(&b);
        }
        g_array_append_vals(b.offsets, users->data, users->len);
        g_array_unref(users);
        uint32_t rsdt = add_root_table(&b, "RSDT", 4);
        uint32_t xsdt = add_root_table(&b, "XSDT", 8);
        rsdp          = add_rsdp(&b, rsdt, xsdt);
    }
    g_array_unref(b.offsets);
    return rsdp;
}

/* Tables follow one another; of two with the same name the last is ours, not the user's. */
static uint8_t *find_madt(const TableBlob *blob)
{
    uint8_t *found = NULL;
    uint32_t at    = 0;
    while (blob->data->len - at >= HEADER_SIZE) {
        uint8_t *table = blob->data->data + at;
        uint32_t len   = load_le32(table + HEADER_LENGTH);
        if (len < HEADER_SIZE || len > blob->data->len - at) {
            break;
        }
        found = memcmp(table, "APIC", 4) == 0 ? table : found;
        at    = MIN((at + len + 7) & ~7u, blob->data->len);
    }
    return found;
}

const TableBlob *acpi_update_cpus(FirmwareTables *tables, const PcHardware *hw, bool applied)
{
    const TableBlob *blob  = tables->blobs->pdata[0];
    uint8_t         *madt  = find_madt(blob);
    uint32_t         len   = madt ? load_le32(madt + HEADER_LENGTH) : 0;
    unsigned         index = 0;
    for (uint32_t at = MADT_FIRST; at + 2 <= len && index < hw->cpus; at += madt[at + 1]) {
        if (madt[at] == LAPIC || madt[at] == X2APIC) {
            uint32_t flags = hardware_has_cpu(hw, index++) ? MADT_ENABLED : MADT_ONLINE_CAPABLE;
            store_le32(madt + at + (madt[at] == LAPIC ? 4 : 8), flags);
        }
    }
    if (madt && applied) {
        madt[HEADER_CHECKSUM] = 0;
        madt[HEADER_CHECKSUM] = table_checksum(madt, len);
    }
    return blob;
}
