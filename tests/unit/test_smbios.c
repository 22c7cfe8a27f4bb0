/* SMBIOS tables: structure, entry point, and what -smbios changes. */

#include "machine/smbios.h"

#include "base/bytes.h"
#include "base/optstr.h"
#include "base/text.h"

#include <string.h>

static const uint32_t apic_ids[] = { 0, 1 };

static const SmbiosDefaults defaults = { .manufacturer = "QEMU",
                                         .product      = "Standard PC",
                                         .version      = "pc-test",
                                         .cpu_version  = "pc-test",
                                         .uuid         = { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88 },
                                         .bios         = true };

static bool find_pci(void *opaque, const char *id, uint8_t *devfn)
{
    *devfn = 0x18;
    return strcmp(id, "nic0") == 0;
}

/* Builds with options written as on the command line, separated by '|'. */
static TableBlob *build(FirmwareTables *tables, const char *options, Error *err)
{
    PcHardware hw             = { .cpus             = 2,
                                  .apic_ids         = apic_ids,
                                  .sockets          = 2,
                                  .cores_per_socket = 1,
                                  .threads_per_core = 1,
                                  .ram_below_4g     = 0xc0000000,
                                  .ram_above_4g     = 17 * GiB };
    g_autoptr(GPtrArray) list = g_ptr_array_new_with_free_func((GDestroyNotify)json_free);
    g_auto(GStrv) parts       = g_strsplit(options, "|", -1);
    for (char **p = parts; *p && **p; p++) {
        Json *json = optstr_parse(*p, NULL, err);
        g_assert_nonnull(json);
        g_ptr_array_add(list, json);
    }
    return smbios_build(tables, &hw, &defaults, list, find_pci, NULL, err);
}

/* The n-th structure of a type; NULL: none. Walks all and checks that they end where the tables end. */
static const uint8_t *find(const FirmwareTables *tables, unsigned type, unsigned n, unsigned *count)
{
    const GByteArray *data  = ((TableBlob *)tables->blobs->pdata[0])->data;
    const uint8_t    *found = NULL;
    guint             at    = 0;
    *count                  = 0;
    while (at < data->len) {
        const uint8_t *p = data->data + at;
        if (p[0] == type && n-- == 0) {
            found = p;
        }
        ++*count;
        at += p[1];
        while (at + 1 < data->len && (data->data[at] || data->data[at + 1])) {
            at++;
        }
        at += 2;
    }
    g_assert_cmpuint(at, ==, data->len);
    return found;
}

static const char *string(const uint8_t *structure, unsigned offset)
{
    unsigned    n = structure[offset];
    const char *p = (const char *)structure + structure[1];
    g_assert_cmpuint(n, >, 0);
    while (--n) {
        p += strlen(p) + 1;
    }
    return p;
}

static void test_entry_point(void)
{
    g_auto(Error) err      = { 0 };
    FirmwareTables *tables = firmware_tables_new();
    TableBlob      *anchor = build(tables, "", &err);
    unsigned        count;
    g_assert_nonnull(anchor);
    ((TableBlob *)tables->blobs->pdata[0])->address = 0x7fff000;
    firmware_tables_apply(tables);

    const uint8_t *p = anchor->data->data;
    g_assert_cmpuint(table_checksum(p, p[5]), ==, 0);
    g_assert_cmpuint(table_checksum(p + 16, 15), ==, 0);
    g_assert_cmpuint(load_le32(p + 24), ==, 0x7fff000);
    const uint8_t *last = find(tables, 127, 0, &count);
    g_assert_nonnull(last);
    g_assert_cmpuint(count, ==, load_le16(p + 28));
    const unsigned expected[] = { 0, 1, 3, 4, 16, 17, 19, 32 };
    for (unsigned i = 0; i < G_N_ELEMENTS(expected); i++) {
        g_assert_nonnull(find(tables, expected[i], 0, &count));
    }
    g_assert_null(find(tables, 2, 0, &count));
    g_assert_nonnull(find(tables, 4, 1, &count));
    g_assert_null(find(tables, 4, 2, &count));
    g_assert_nonnull(find(tables, 17, 1, &count)); /* 20 GiB: two modules */
    g_assert_cmpuint(load_le16(find(tables, 17, 0, &count) + 12), ==, 16384);
    g_assert_cmpuint(load_le16(find(tables, 17, 1, &count) + 12), ==, 4096);
    firmware_tables_free(tables);
}

static void test_fields(void)
{
    static const uint8_t uuid[16] = { 0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88 };
    g_auto(Error) err             = { 0 };
    FirmwareTables *tables        = firmware_tables_new();
    unsigned        count;
    if (!build(tables,
               "type=0,vendor=V,release=3.14,uefi=on|type=1,manufacturer=M,,Co,serial=S1|type=1,serial=S2|"
               "type=2,product=board|type=3,asset=A|type=4,sock_pfx=SOCK,processor-id=0x1122334455667788|"
               "type=8,internal_reference=i,port_type=9|type=9,slot_designation=slot,pci_device=nic0|"
               "type=11,value=one,value=two|type=11,value=three|type=17,bank=B|"
               "type=41,designation=net,kind=ethernet,instance=2,pcidev=nic0",
               &err)) {
        g_error("%s", err.text);
    }
    const uint8_t *t = find(tables, 0, 0, &count);
    g_assert_cmpstr(string(t, 4), ==, "V");
    g_assert_cmpuint(t[0x14], ==, 3);
    g_assert_cmpuint(t[0x15], ==, 14);
    g_assert_cmpuint(t[0x13] & 8, ==, 8);
    t = find(tables, 1, 0, &count);
    g_assert_cmpstr(string(t, 4), ==, "M,Co");
    g_assert_cmpstr(string(t, 7), ==, "S2");
    g_assert_cmpmem(t + 8, 16, uuid, 16);
    g_assert_cmpstr(string(find(tables, 2, 0, &count), 5), ==, "board");
    g_assert_cmpstr(string(find(tables, 4, 1, &count), 4), ==, "SOCK 1");
    g_assert_cmpuint(load_le64(find(tables, 4, 0, &count) + 8), ==, 0x1122334455667788);
    g_assert_cmpuint(find(tables, 8, 0, &count)[8], ==, 9);
    g_assert_cmpuint(find(tables, 9, 0, &count)[16], ==, 0x18);
    t = find(tables, 11, 0, &count);
    g_assert_cmpuint(t[4], ==, 3);
    g_assert_cmpstr((const char *)t + t[1], ==, "one");
    t = find(tables, 41, 0, &count);
    g_assert_cmpuint(t[5], ==, 0x85);
    g_assert_cmpuint(t[10], ==, 0x18);
    firmware_tables_free(tables);
}

static void test_errors(void)
{
    static const char *const wrong[][2] = {
        { "type=5", "this type has no fields" },
        { "type=300", "type=" },
        { "type=1,serail=x", "did you mean 'serial'" },
        { "type=1,uuid=zz", "uuid" },
        { "type=0,release=3", "MAJOR.MINOR" },
        { "vendor=x", "needs file=FILE or type=NUMBER" },
        { "type=9,pci_device=nobody", "no PCI device" },
        { "type=11,colour=red", "no such field" },
        { "type=11,path=/nonexistent/file", "/nonexistent/file" },
        { "file=/nonexistent/file", "/nonexistent/file" },
        { "type=41,kind=teapot", "kind" },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_auto(Error) err      = { 0 };
        FirmwareTables *tables = firmware_tables_new();
        g_assert_null(build(tables, wrong[i][0], &err));
        if (!err.text || !strstr(err.text, wrong[i][1])) {
            g_error("-smbios %s: '%s' does not mention '%s'", wrong[i][0], err.text, wrong[i][1]);
        }
        firmware_tables_free(tables);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/smbios/entry-point", test_entry_point);
    g_test_add_func("/smbios/fields", test_fields);
    g_test_add_func("/smbios/errors", test_errors);
    return g_test_run();
}
