/* Firmware images, and what fw_cfg tells firmware about the machine. Machine lock held.
 * Specification: QEMU, docs/specs/fw_cfg (2024), and the items SeaBIOS 1.16 and edk2 look up by name. */

#include "machine/pc.h"

#include "base/bytes.h"
#include "base/text.h"
#include "machine/acpi.h"
#include "machine/numa.h"
#include "machine/smbios.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BIOS_UNIT = 64 << 10, BIOS_MAX = 16 << 20, BIOS_LOW_MAX = 128 << 10 };

/* ---- The image ---- */

static bool read_bios(PcBoard *pc, const char *path, Error *err)
{
    struct stat st;
    int         fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) < 0) {
        int code = errno;
        if (fd >= 0) {
            close(fd);
        }
        return error_set_errno(err, code, "cannot open '%s'", path);
    }
    if (st.st_size < BIOS_UNIT || st.st_size > BIOS_MAX || st.st_size % BIOS_UNIT) {
        close(fd);
        return error_set(err, "'%s' has %lld bytes: firmware comes in multiples of 64 KiB up to 16 MiB", path,
                         (long long)st.st_size);
    }
    pc->bios     = ram_block_new("pc.bios", (uint64_t)st.st_size, err);
    ssize_t got  = pc->bios ? pread(fd, pc->bios->host, (size_t)st.st_size, 0) : -1;
    int     code = errno;
    close(fd);
    if (!pc->bios) {
        return false;
    }
    return got == st.st_size || error_set_errno(err, got < 0 ? code : EIO, "cannot read '%s'", path);
}

bool pc_load_bios(PcBoard *pc, Error *err)
{
    Machine         *m    = pc->machine;
    Memory          *mem  = m->platform.memory;
    Region          *high = pc->pci_memory ? pc->pci_memory : m->platform.system_memory;
    g_autofree char *path = machine_find_firmware(m, m->config.bios ? m->config.bios : pc->chipset->bios, err);

    if (!path || !read_bios(pc, path, err)) {
        return error_prefix(err, m->config.bios ? "-bios: " : "default firmware: ");
    }
    uint64_t size = pc->bios->size, low = MIN(size, BIOS_LOW_MAX);
    region_init_rom(&pc->bios_high, mem, "pc.bios", pc->bios, 0, size);
    region_init_alias(&pc->bios_low, mem, "isa-bios", &pc->bios_high, size - low, low);
    memory_begin(mem);
    region_map(high, 4 * GiB - size, &pc->bios_high, 0);
    if (!pc->chipset->bios_in_ram) {
        region_map(high, MiB - low, &pc->bios_low, 1);
    }
    memory_commit(mem);
    return true;
}

void pc_copy_bios(PcBoard *pc)
{
    uint64_t low = pc->bios ? MIN(pc->bios->size, BIOS_LOW_MAX) : 0;

    if (low && pc->chipset->bios_in_ram) { /* the first backend has 1 MiB at least */
        uint64_t  at, left;
        RamBlock *ram = machine_ram_at(pc->machine, MiB - low, &at, &left);
        memcpy(ram->host + at, pc->bios->host + pc->bios->size - low, low);
        ram_block_written(ram, at, low);
    }
}

/* ---- fw_cfg ---- */

static bool add_file(PcBoard *pc, const char *name, GByteArray *data, Error *err)
{
    g_autoptr(GBytes) bytes = g_byte_array_free_to_bytes(data);
    return fw_cfg_add_file(pc->fw_cfg, name, bytes, err);
}

static void put(GByteArray *out, uint64_t value, unsigned size)
{
    uint8_t buf[8];
    store_le(buf, value, size);
    g_byte_array_append(out, buf, size);
}

static bool add_e820(PcBoard *pc, Error *err)
{
    GByteArray *o = g_byte_array_new();
    put(o, 0, 8);
    put(o, pc->hw.ram_below_4g, 8);
    put(o, MEMORY_RAM, 4);
    if (pc->hw.ram_above_4g) {
        put(o, 4 * GiB, 8);
        put(o, pc->hw.ram_above_4g, 8);
        put(o, MEMORY_RAM, 4);
    }
    return add_file(pc, "etc/e820", o, err);
}

/* Where 64-bit BARs may begin: above memory devices. */
static bool add_reserved_end(PcBoard *pc, Error *err)
{
    GByteArray *o = g_byte_array_new();
    put(o, pc->hw.hotplug_base + pc->hw.hotplug_size, 8);
    return add_file(pc, "etc/reserved-memory-end", o, err);
}

/* Bytes 3 and 4: S3 and S4, with the SLP_TYP value; bit 7 says that the guest may use the state. */
static bool add_system_states(PcBoard *pc, Error *err)
{
    const uint8_t states[6] = { 0x80,
                                0,
                                0,
                                (uint8_t)(pc->hw.s3_type | (pc->hw.s3 ? 0x80 : 0)),
                                (uint8_t)(pc->hw.s4_type | (pc->hw.s4 ? 0x80 : 0)),
                                0x80 };
    GByteArray   *o         = g_byte_array_new();
    g_byte_array_append(o, states, sizeof states);
    return add_file(pc, "etc/system-states", o, err);
}

static bool add_blob(PcBoard *pc, const TableBlob *blob, Error *err)
{
    GByteArray *copy = g_byte_array_new();
    g_byte_array_append(copy, blob->data->data, blob->data->len);
    return add_file(pc, blob->file, copy, err);
}

static bool add_blobs(PcBoard *pc, const FirmwareTables *tables, Error *err)
{
    for (guint i = 0; i < tables->blobs->len; i++) {
        if (!add_blob(pc, tables->blobs->pdata[i], err)) {
            return false;
        }
    }
    return true;
}

void pc_export_again(PcBoard *pc, const TableBlob *blob)
{
    g_auto(Error) ignored = { 0 }; /* the file is there */
    add_blob(pc, blob, &ignored);
}

/* Firmware relocates the ACPI tables by the list and the SMBIOS tables by their anchor; the MP table it makes. */
static bool add_tables(PcBoard *pc, Error *err)
{
    if (pc->acpi &&
        (!add_blobs(pc, pc->acpi, err) || !add_file(pc, "etc/table-loader", firmware_tables_commands(pc->acpi), err))) {
        return false;
    }
    return add_blobs(pc, pc->smbios, err);
}

static void add_hpet_item(PcBoard *pc)
{
    uint8_t item[1 + 15] = { 0 };
    size_t  len          = 1;
    if (pc->hpet) {
        item[0] = 1;
        store_le32(item + 1, pc->hw.hpet_block_id);
        store_le64(item + 5, HPET_ADDRESS);
        len = sizeof item;
    }
    fw_cfg_add_data(pc->fw_cfg, FW_CFG_HPET, item, len);
}

/* The number of nodes, then the node of each APIC ID, then the size of each node's memory. */
static void add_numa_item(PcBoard *pc, unsigned apic_limit)
{
    const NumaConfig   *numa  = pc->hw.numa;
    unsigned            nodes = numa ? numa->n : 0;
    size_t              len   = (1 + apic_limit + nodes) * sizeof(uint64_t);
    g_autofree uint8_t *item  = g_malloc0(len);
    store_le64(item, nodes);
    for (unsigned i = 0; numa && i < pc->hw.cpus; i++) {
        store_le64(item + (1 + pc->apic_ids[i]) * sizeof(uint64_t), (uint64_t)numa->cpu_node[i]);
    }
    for (unsigned i = 0; i < nodes; i++) {
        store_le64(item + (1 + apic_limit + i) * sizeof(uint64_t), numa->nodes[i].size);
    }
    fw_cfg_add_data(pc->fw_cfg, FW_CFG_NUMA, item, len);
}

/* -fw_cfg gen_id= */
static GBytes *generate(Machine *m, const char *id, Error *err)
{
    Object *obj = object_child(object_container(m->platform.objects, "objects"), id);

    if (!obj) {
        error_set(err, "gen_id=%s: no object with that id", id);
        return NULL;
    }
    if (!obj->type->generate) {
        error_set(err, "gen_id=%s: objects of type %s do not generate fw_cfg files (tls-cipher-suites does)", id,
                  obj->type->name);
        return NULL;
    }
    GBytes *bytes = obj->type->generate(obj, err);
    if (!bytes) {
        error_prefix(err, "gen_id=%s: ", id);
    }
    return bytes;
}

/* -boot, but for what is in CMOS RAM. */
static bool add_boot_files(PcBoard *pc, Error *err)
{
    const BootConfig *boot  = &pc->machine->config.boot;
    g_autoptr(GBytes) order = boot_order_file(&pc->boot_order, boot->strict);
    GByteArray *fail = g_byte_array_new(), *menu = g_byte_array_new();

    put(fail, (uint32_t)boot->reboot_timeout, 4);
    put(menu, (uint16_t)boot->splash_time, 2);
    bool ok = add_file(pc, "etc/boot-fail-wait", fail, err);
    if (boot->splash_time >= 0) {
        ok = ok && add_file(pc, "etc/boot-menu-wait", menu, err);
    } else {
        g_byte_array_unref(menu);
    }
    return ok && (!boot->splash || fw_cfg_add_file(pc->fw_cfg, boot->splash_file, boot->splash, err)) &&
           (!order || fw_cfg_add_file(pc->fw_cfg, "bootorder", order, err));
}

bool pc_fill_fw_cfg(PcBoard *pc, Error *err)
{
    Machine             *m     = pc->machine;
    const MachineConfig *c     = &m->config;
    FwCfg               *fw    = pc->fw_cfg;
    unsigned             limit = pc->apic_ids[pc->hw.cpus - 1] + 1;

    fw_cfg_add_data(fw, FW_CFG_UUID, c->uuid, sizeof c->uuid);
    fw_cfg_add_i64(fw, FW_CFG_RAM_SIZE, c->ram_size);
    fw_cfg_add_i16(fw, FW_CFG_NOGRAPHIC, !m->graphics);
    fw_cfg_add_i16(fw, FW_CFG_NB_CPUS, (uint16_t)m->cpus->len);
    fw_cfg_add_i16(fw, FW_CFG_MAX_CPUS, (uint16_t)limit);
    fw_cfg_add_i16(fw, FW_CFG_BOOT_MENU, c->boot.menu);
    fw_cfg_add_i32(fw, FW_CFG_IRQ0_OVERRIDE, 1);
    add_hpet_item(pc);
    add_numa_item(pc, limit);
    if (pc->hw.hotplug_size && !add_reserved_end(pc, err)) {
        return false;
    }
    if (!add_e820(pc, err) || !add_system_states(pc, err) || (!pc_direct_boot(m) && !add_tables(pc, err))) {
        return false;
    }
    for (guint i = 0; c->fw_cfg && i < c->fw_cfg->len; i++) {
        const FwCfgBlob *blob   = c->fw_cfg->pdata[i];
        g_autoptr(GBytes) bytes = blob->data ? g_bytes_ref(blob->data) : generate(m, blob->gen_id, err);
        if (!bytes || !fw_cfg_add_file(fw, blob->name, bytes, err)) {
            return error_prefix(err, "-fw_cfg name=%s: ", blob->name);
        }
    }
    if ((c->kernel && !pc_direct_boot(m) && !pc_add_firmware_kernel(pc, err)) || !pc_add_option_roms(pc, err)) {
        return false;
    }
    return add_boot_files(pc, err);
}
