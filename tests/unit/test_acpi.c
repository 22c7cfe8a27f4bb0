/* ACPI tables: lengths, checksums and pointers once placed, and what ACPICA's disassembler makes of the AML. */

#include "machine/acpi.h"
#include "machine/mptable.h"
#include "machine/numa.h"

#include "base/bytes.h"
#include "base/optstr.h"

#include <glib/gstdio.h>
#include <string.h>

static const uint32_t apic_ids[] = { 0, 1, 2, 300 };

static PcHardware sample_hardware(void)
{
    return (PcHardware){ .wiring           = &pc_i440fx_wiring,
                         .cpus             = 4,
                         .apic_ids         = apic_ids,
                         .sockets          = 1,
                         .cores_per_socket = 4,
                         .threads_per_core = 1,
                         .ram_below_4g     = 0xe0000000,
                         .ram_above_4g     = 1ull << 32,
                         .pci32_first      = 0xe0000000,
                         .pci32_last       = 0xfebfffff,
                         .pci64_first      = 0x200000000,
                         .pci64_last       = 0x9ffffffff,
                         .acpi_pm          = true,
                         .s3               = true,
                         .s4               = true,
                         .s3_type          = 1,
                         .s4_type          = 2,
                         .hpet             = true,
                         .hpet_block_id    = 0x8086a201,
                         .pic              = true,
                         .rtc              = true,
                         .i8042            = true,
                         .fw_cfg           = true,
                         .pvpanic_port     = 0x505,
                         .serial           = { 0x3f8, 0x2f8 },
                         .serial_irq       = { 4, 3 },
                         .parallel         = { 0x378 },
                         .parallel_irq     = { 7 } };
}

static PcHardware sample_q35(void)
{
    PcHardware hw      = sample_hardware();
    hw.wiring          = &pc_q35_wiring;
    hw.ram_below_4g    = 0x80000000;
    hw.pci32_low_first = 0x80000000;
    hw.pci32_low_last  = 0xafffffff;
    hw.pci32_first     = 0xc0000000;
    hw.ecam_base       = 0xb0000000;
    hw.ecam_size       = 0x10000000;
    return hw;
}

static PcHardware sample_microvm(void)
{
    static const PcWiring wiring = { 0 };
    PcHardware            hw     = { .wiring                = &wiring,
                                     .cpus                  = 4,
                                     .apic_ids              = apic_ids,
                                     .ram_below_4g          = 0x40000000,
                                     .reduced               = true,
                                     .ged_base              = 0xfea00000,
                                     .ged_irq               = 9,
                                     .virtio_mmio_base      = 0xfeb00000,
                                     .virtio_mmio_slots     = 24,
                                     .virtio_mmio_first_gsi = 24,
                                     .io_apic2_address      = 0xfec10000,
                                     .s5_type               = 5,
                                     .rtc                   = true,
                                     .fw_cfg                = true,
                                     .serial                = { 0x3f8 },
                                     .serial_irq            = { 4 } };
    return hw;
}

/* Places blobs one behind the other and applies the fixups. */
static void place(FirmwareTables *tables, uint64_t base)
{
    for (guint i = 0; i < tables->blobs->len; i++) {
        TableBlob *blob = tables->blobs->pdata[i];
        base            = (base + blob->align - 1) & ~(uint64_t)(blob->align - 1);
        blob->address   = base;
        base += blob->data->len;
    }
    firmware_tables_apply(tables);
}

static const uint8_t *at_address(const FirmwareTables *tables, uint64_t address)
{
    for (guint i = 0; i < tables->blobs->len; i++) {
        const TableBlob *blob = tables->blobs->pdata[i];
        if (address >= blob->address && address - blob->address < blob->data->len) {
            return blob->data->data + (address - blob->address);
        }
    }
    g_assert_not_reached();
}

static const uint8_t *find_table(const FirmwareTables *tables, const TableBlob *rsdp, const char *sig)
{
    const uint8_t *xsdt = at_address(tables, load_le64(rsdp->data->data + 24));
    for (uint32_t at = 36; at < load_le32(xsdt + 4); at += 8) {
        const uint8_t *table = at_address(tables, load_le64(xsdt + at));
        if (memcmp(table, sig, 4) == 0) {
            return table;
        }
    }
    return NULL;
}

static void check_table(const uint8_t *table)
{
    g_assert_cmpuint(table_checksum(table, load_le32(table + 4)), ==, 0);
}

static void test_checksums(void)
{
    g_auto(Error) err      = { 0 };
    PcHardware      hw     = sample_hardware();
    FirmwareTables *tables = firmware_tables_new();
    TableBlob      *rsdp   = acpi_build(tables, &hw, NULL, &err);
    g_assert_nonnull(rsdp);
    place(tables, 0x7fe0000);

    const uint8_t *p = rsdp->data->data;
    g_assert_cmpuint(table_checksum(p, 20), ==, 0);
    g_assert_cmpuint(table_checksum(p, 36), ==, 0);
    const uint8_t *rsdt = at_address(tables, load_le32(p + 16));
    const uint8_t *xsdt = at_address(tables, load_le64(p + 24));
    check_table(rsdt);
    check_table(xsdt);
    g_assert_cmpuint((load_le32(rsdt + 4) - 36) / 4, ==, (load_le32(xsdt + 4) - 36) / 8);
    for (uint32_t i = 0; i < (load_le32(rsdt + 4) - 36) / 4; i++) {
        g_assert_cmpuint(load_le32(rsdt + 36 + 4 * i), ==, load_le64(xsdt + 36 + 8 * i));
        check_table(at_address(tables, load_le32(rsdt + 36 + 4 * i)));
    }
    const uint8_t *fadt = find_table(tables, rsdp, "FACP");
    g_assert_nonnull(fadt);
    g_assert_true(memcmp(at_address(tables, load_le32(fadt + 36)), "FACS", 4) == 0);
    g_assert_cmpuint(load_le32(fadt + 36) % 64, ==, 0);
    const uint8_t *dsdt = at_address(tables, load_le32(fadt + 40));
    g_assert_true(memcmp(dsdt, "DSDT", 4) == 0);
    g_assert_cmpuint(load_le64(fadt + 140), ==, load_le32(fadt + 40));
    check_table(dsdt);
    firmware_tables_free(tables);
}

/* The commands that firmware carries out say the same as firmware_tables_apply(). */
static void test_commands(void)
{
    g_auto(Error) err      = { 0 };
    PcHardware      hw     = sample_hardware();
    FirmwareTables *tables = firmware_tables_new();
    acpi_build(tables, &hw, NULL, &err);
    g_autoptr(GByteArray) commands = firmware_tables_commands(tables);
    g_autoptr(GHashTable) files    = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GPtrArray) copies    = g_ptr_array_new_with_free_func((GDestroyNotify)g_byte_array_unref);

    for (guint i = 0; i < tables->blobs->len; i++) {
        TableBlob  *blob = tables->blobs->pdata[i];
        GByteArray *copy = g_byte_array_new();
        g_byte_array_append(copy, blob->data->data, blob->data->len);
        g_ptr_array_add(copies, copy);
        g_hash_table_insert(files, (char *)blob->file, blob);
    }
    place(tables, 0x100000);
    g_assert_cmpuint(commands->len % 128, ==, 0);
    unsigned allocated = 0;
    for (guint at = 0; at < commands->len; at += 128) {
        const uint8_t *c    = commands->data + at;
        TableBlob     *dest = g_hash_table_lookup(files, c + 4);
        g_assert_nonnull(dest);
        guint index;
        g_ptr_array_find(tables->blobs, dest, &index);
        uint8_t *data = ((GByteArray *)copies->pdata[index])->data;
        switch (load_le32(c)) {
        case 1: allocated++; break;
        case 2: {
            TableBlob *src  = g_hash_table_lookup(files, c + 60);
            uint8_t   *at_p = data + load_le32(c + 116);
            store_le(at_p, load_le(at_p, c[120]) + src->address, c[120]);
            break;
        }
        case 3: data[load_le32(c + 60)] += table_checksum(data + load_le32(c + 64), load_le32(c + 68)); break;
        default: g_assert_not_reached();
        }
    }
    g_assert_cmpuint(allocated, ==, tables->blobs->len);
    for (guint i = 0; i < tables->blobs->len; i++) {
        TableBlob *blob = tables->blobs->pdata[i];
        g_assert_cmpmem(((GByteArray *)copies->pdata[i])->data, blob->data->len, blob->data->data, blob->data->len);
    }
    firmware_tables_free(tables);
}

static void test_user_tables(void)
{
    g_auto(Error) err            = { 0 };
    PcHardware       hw          = sample_hardware();
    g_autofree char *path        = g_build_filename(g_get_tmp_dir(), "quern-test-acpi-XXXXXX", NULL);
    g_autoptr(GPtrArray) options = g_ptr_array_new_with_free_func((GDestroyNotify)json_free);
    int fd                       = g_mkstemp(path);
    g_assert_cmpint(fd, >=, 0);
    g_assert_true(g_file_set_contents(path, "hello", 5, NULL));

    Json *o = json_new_object();
    json_set(o, "sig", json_new_string("SLIC"));
    json_set(o, "oem_id", json_new_string("WIDGET"));
    json_set(o, "rev", json_new_string("3"));
    json_set(o, "data", json_new_format("%s:%s", path, path));
    g_ptr_array_add(options, o);
    FirmwareTables *tables = firmware_tables_new();
    TableBlob      *rsdp   = acpi_build(tables, &hw, options, &err);
    g_assert_nonnull(rsdp);
    place(tables, 0x200000);
    const uint8_t *slic = find_table(tables, rsdp, "SLIC");
    g_assert_nonnull(slic);
    check_table(slic);
    g_assert_cmpuint(load_le32(slic + 4), ==, 46);
    g_assert_cmpuint(slic[8], ==, 3);
    g_assert_true(memcmp(slic + 36, "hellohello", 10) == 0);
    g_assert_true(memcmp(find_table(tables, rsdp, "FACP") + 10, "WIDGET", 6) == 0);
    firmware_tables_free(tables);

    json_set(o, "sig", json_new_string("TOOLONG"));
    tables = firmware_tables_new();
    g_assert_null(acpi_build(tables, &hw, options, &err));
    g_assert_nonnull(strstr(err.text, "sig=TOOLONG"));
    firmware_tables_free(tables);
    g_unlink(path);
}

static bool run(const char *dir, const char *command, char **output)
{
    const char *argv[] = { "/bin/sh", "-c", command, NULL };
    int         status;
    g_assert_true(g_spawn_sync(dir, (char **)argv, NULL, 0, NULL, NULL, output, NULL, &status, NULL));
    return status == 0;
}

/* Disassembles the DSDT and compiles the result again: both must go without complaint. */
static void check_disassembly(PcHardware hw, const char *const *names, const char *const *expected)
{
    g_autofree char *iasl = g_find_program_in_path("iasl");
    if (!iasl) {
        g_test_skip("iasl (acpica-tools) is not installed");
        return;
    }
    g_auto(Error) err       = { 0 };
    FirmwareTables  *tables = firmware_tables_new();
    TableBlob       *rsdp   = acpi_build(tables, &hw, NULL, &err);
    g_autofree char *dir    = g_dir_make_tmp("quern-test-acpi-XXXXXX", NULL);
    place(tables, 0x100000);

    for (bool dsdt = false; !dsdt; names++) {
        const uint8_t *fadt    = find_table(tables, rsdp, "FACP");
        dsdt                   = *names == NULL;
        const uint8_t   *table = dsdt ? at_address(tables, load_le32(fadt + 40)) : find_table(tables, rsdp, *names);
        const char      *name  = dsdt ? "DSDT" : *names;
        g_autofree char *file  = g_strdup_printf("%s/%s.dat", dir, name);
        g_assert_nonnull(table);
        g_assert_true(g_file_set_contents(file, (const char *)table, load_le32(table + 4), NULL));
        g_autofree char *command = g_strdup_printf("iasl -d %s.dat 2>&1", name);
        g_autofree char *output  = NULL;
        if (!run(dir, command, &output) || strstr(output, "rror") || strstr(output, "arning")) {
            g_error("%s", output);
        }
        g_autofree char *said = NULL;
        if (!strcmp(name, "SSDT") &&
            (!run(dir, "iasl -p more SSDT.dsl 2>&1", &said) || !strstr(said, "0 Errors, 0 Warnings"))) {
            g_error("%s", said);
        }
    }
    g_autofree char *output = NULL;
    if (!run(dir, "iasl -p again DSDT.dsl 2>&1", &output) || !strstr(output, "0 Errors, 0 Warnings")) {
        g_error("%s", output);
    }
    g_autofree char *dsl      = NULL;
    g_autofree char *dsl_path = g_build_filename(dir, "DSDT.dsl", NULL);
    g_assert_true(g_file_get_contents(dsl_path, &dsl, NULL, NULL));
    for (; *expected; expected++) {
        if (!strstr(dsl, *expected)) {
            g_error("no %s in the DSDT", *expected);
        }
    }
    g_autofree char *cleanup = g_strdup_printf("rm -r '%s'", dir);
    g_autofree char *ignored = NULL;
    run("/", cleanup, &ignored);
    firmware_tables_free(tables);
}

/* The table about NVDIMMs, beside those of a machine that has them. */
static void test_nvdimms(void)
{
    static const char *const names[]    = { "SSDT", NULL };
    static const char *const expected[] = { "Device (MHPC)", NULL };
    PcHardware               hw         = sample_hardware();
    hw.memory_slots                     = 3;
    hw.nvdimm                           = true;
    check_disassembly(hw, names, expected);
}

static void test_disassembles(void)
{
    static const char *const names[]    = { "FACP", "APIC", "HPET", "WAET", NULL };
    static const char *const expected[] = {
        "Device (PCI0)", "Device (LNKD)", "_S3", "EisaId (\"PNP0B00\")", "Device (COM2)", "Device (C003)",
        "_PRT",          "QWordMemory",   NULL
    };
    check_disassembly(sample_hardware(), names, expected);
}

static void test_q35_disassembles(void)
{
    static const char *const names[]    = { "FACP", "APIC", "HPET", "MCFG", "WAET", NULL };
    static const char *const expected[] = { "EisaId (\"PNP0A08\")",
                                            "Device (LNKH)",
                                            "Device (GSIA)",
                                            "_OSC",
                                            "PRTA",
                                            "_PIC",
                                            "ToUUID (\"33db4d5b-1ff7-401c-9657-7441c03dd766\")",
                                            "Device (DRAC)",
                                            "0x001F0000",
                                            "0xB0000000",
                                            NULL };
    check_disassembly(sample_q35(), names, expected);
}

/* Memory slots: few, and as many as there can be. */
static void test_slots_disassemble(void)
{
    static const char *const names[]    = { "FACP", NULL };
    static const char *const expected[] = { "Device (MHPC)",
                                            "EisaId (\"PNP0C80\")",
                                            "Device (MP02)",
                                            "Method (_OST, 3",
                                            "Method (_EJ0, 1",
                                            "Method (_E03",
                                            NULL };
    static const char *const many[]     = { "Device (MPFF)", NULL };
    PcHardware               hw         = sample_q35();
    hw.hotplug_base                     = 0x200000000;
    hw.hotplug_size                     = 1ull << 32;
    hw.memory_slots                     = 3;
    check_disassembly(hw, names, expected);
    hw              = sample_hardware();
    hw.memory_slots = 256;
    check_disassembly(hw, names, many);
}

static void test_microvm_disassembles(void)
{
    static const char *const names[]    = { "FACP", "APIC", NULL };
    static const char *const expected[] = {
        "Device (GED)",  "\"ACPI0013\"", "Method (_EVT, 1", "Device (PWRB)", "Notify (",
        "Device (VR23)", "\"LNRO0005\"", "0xFEB02E00",      "0x0000002F",    NULL
    };
    check_disassembly(sample_microvm(), names, expected);
}

static void add_numa(NumaConfig *numa, const char *text)
{
    g_auto(Error) err       = { 0 };
    g_autoptr(Json) options = optstr_parse(text, "type", &err);
    if (!numa_add(numa, options, true, &err)) {
        g_error("%s: %s", text, err.text);
    }
}

/* vCPUs that come and go: those that are not there, in the MADT and in the DSDT, and after others have come. */
static void test_cpus(void)
{
    static const char *const names[]    = { "APIC", NULL };
    static const char *const expected[] = { "Method (_E02",  "Method (CSCN", "Method (_OST, 3",
                                            "Device (C003)", "_MAT",         NULL };
    bool                     present[4] = { true, false, true, false };
    g_auto(Error) err                   = { 0 };
    PcHardware      hw                  = sample_hardware();
    FirmwareTables *tables              = firmware_tables_new();
    hw.cpu_hotplug_port                 = 0xaf00;
    hw.present                          = present;
    TableBlob *rsdp                     = acpi_build(tables, &hw, NULL, &err);
    place(tables, 0x100000);
    const uint8_t *madt = find_table(tables, rsdp, "APIC");
    for (unsigned turn = 0; turn < 2; turn++) {
        const uint8_t *entry = madt + 44;
        for (unsigned i = 0; i < 3; i++, entry += 8) {
            g_assert_cmpuint(entry[0], ==, 0);
            g_assert_cmpuint(load_le32(entry + 4), ==, present[i] ? 1 : 2); /* enabled, or can be */
        }
        g_assert_cmpuint(entry[0], ==, 9); /* the APIC ID 300 */
        g_assert_cmpuint(load_le32(entry + 8), ==, present[3] ? 1 : 2);
        check_table(madt);
        present[1] = present[3] = true;
        present[2]              = false;
        g_assert_true(acpi_update_cpus(tables, &hw, true) == tables->blobs->pdata[0]);
    }
    firmware_tables_free(tables);
    check_disassembly(hw, names, expected);
}

/* Nodes above and below 4 GiB, one of which has only vCPUs; all kinds of entries in the HMAT. */
static void test_numa_disassembles(void)
{
    static const char *const names[]    = { "SRAT", "SLIT", "HMAT", NULL };
    static const char *const expected[] = { "Device (PCI0)", NULL };
    static const char *const options[]  = {
         "node,memdev=a,cpus=0",
         "node,memdev=b,cpus=1-2,cpus=3",
         "node,memdev=c,initiator=1",
         "dist,src=0,dst=1,val=20",
         "dist,src=0,dst=2,val=30",
         "dist,src=1,dst=2,val=255",
         "hmat-lb,initiator=0,target=0,hierarchy=memory,data-type=access-latency,latency=15",
         "hmat-lb,initiator=1,target=2,hierarchy=memory,data-type=access-latency,latency=40",
         "hmat-lb,initiator=0,target=0,hierarchy=first-level,data-type=write-bandwidth,bandwidth=3G",
         "hmat-cache,node-id=0,size=10M,level=1,associativity=complex,policy=write-through,line=64",
         "hmat-cache,node-id=0,size=20M,level=2,associativity=none,policy=none,line=64",
    };
    g_auto(Error) err   = { 0 };
    const SmpConfig smp = { .cpus = 4, .max_cpus = 4, .sockets = 4, .dies = 1, .modules = 1, .cores = 1, .threads = 1 };
    NumaConfig     *numa = numa_new(&smp, true);
    PcHardware      hw   = sample_hardware();
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++) {
        add_numa(numa, options[i]);
    }
    g_assert_true(numa_finish(numa, &err));
    numa->nodes[0].size = 3ull << 30;
    numa->nodes[1].size = 1ull << 30; /* half of it above the hole */
    numa->nodes[2].size = (3ull << 30) + (1ull << 29);
    hw.numa             = numa;
    hw.hotplug_base     = 0x200000000;
    hw.hotplug_size     = 1ull << 32;
    check_disassembly(hw, names, expected);

    FirmwareTables *tables = firmware_tables_new();
    TableBlob      *rsdp   = acpi_build(tables, &hw, NULL, &err);
    place(tables, 0x100000);
    const uint8_t *srat = find_table(tables, rsdp, "SRAT"), *slit = find_table(tables, rsdp, "SLIT");
    /* Three vCPUs, one with an ID above 254; 2 + 2 + 1 stretches of memory, one to plug in. */
    g_assert_cmpuint(load_le32(srat + 4), ==, 48 + 3 * 16 + 24 + 6 * 40);
    const uint8_t *range = srat + 48 + 3 * 16 + 24 + 3 * 40;
    g_assert_cmpuint(load_le32(range + 2), ==, 1);
    g_assert_cmphex(load_le64(range + 8), ==, 1ull << 32);
    g_assert_cmphex(load_le64(range + 16), ==, 1ull << 29);
    g_assert_cmphex(load_le64(range + 48), ==, (1ull << 32) + (1ull << 29));
    g_assert_cmphex(load_le32(range + 2 * 40 + 28), ==, 3); /* enabled, hotpluggable */
    g_assert_true(memcmp(slit + 44, "\x0a\x14\x1e\x14\x0a\xff\x1e\xff\x0a", 9) == 0);
    firmware_tables_free(tables);
    numa_free(numa);
}

static void test_mp_table(void)
{
    PcHardware      hw     = sample_hardware();
    FirmwareTables *tables = firmware_tables_new();
    mptable_build(tables, &hw);
    place(tables, 0xf0000);
    const TableBlob *pointer = tables->blobs->pdata[1];
    g_assert_cmpuint(pointer->address % 16, ==, 0);
    g_assert_cmpuint(table_checksum(pointer->data->data, 16), ==, 0);
    const uint8_t *table = at_address(tables, load_le32(pointer->data->data + 4));
    g_assert_true(memcmp(table, "PCMP", 4) == 0);
    g_assert_cmpuint(table_checksum(table, load_le16(table + 4)), ==, 0);

    static const unsigned sizes[] = { 20, 8, 8, 8, 8 };
    unsigned              count = 0, processors = 0, at = 44;
    while (at < load_le16(table + 4)) {
        g_assert_cmpuint(table[at], <, 5);
        processors += table[at] == 0;
        at += sizes[table[at]];
        count++;
    }
    g_assert_cmpuint(at, ==, load_le16(table + 4));
    g_assert_cmpuint(count, ==, load_le16(table + 34));
    g_assert_cmpuint(processors, ==, 3); /* the fourth has an ID that does not fit */
    firmware_tables_free(tables);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/acpi/checksums", test_checksums);
    g_test_add_func("/acpi/numa", test_numa_disassembles);
    g_test_add_func("/acpi/slots", test_slots_disassemble);
    g_test_add_func("/acpi/cpus", test_cpus);
    g_test_add_func("/acpi/commands", test_commands);
    g_test_add_func("/acpi/user-tables", test_user_tables);
    g_test_add_func("/acpi/disassembles", test_disassembles);
    g_test_add_func("/acpi/nvdimms", test_nvdimms);
    g_test_add_func("/acpi/q35-disassembles", test_q35_disassembles);
    g_test_add_func("/acpi/microvm-disassembles", test_microvm_disassembles);
    g_test_add_func("/acpi/mp-table", test_mp_table);
    return g_test_run();
}
