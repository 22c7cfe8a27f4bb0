/* The firmware configuration device: blobs that firmware and guests read by number or by file name. See fw_cfg.c. */

#ifndef QUERN_DEVICES_MISC_FW_CFG_H
#define QUERN_DEVICES_MISC_FW_CFG_H

#include "devices/device.h"

typedef struct FwCfg FwCfg; /* "fw_cfg_io" at 510h, 511h and 514h; property dma_enabled */

/* Selectors, docs/specs/fw_cfg of QEMU and what firmware for the PC asks for. */
enum {
    FW_CFG_SIGNATURE      = 0x00,
    FW_CFG_ID             = 0x01,
    FW_CFG_UUID           = 0x02,
    FW_CFG_RAM_SIZE       = 0x03,
    FW_CFG_NOGRAPHIC      = 0x04,
    FW_CFG_NB_CPUS        = 0x05,
    FW_CFG_MACHINE_ID     = 0x06,
    FW_CFG_KERNEL_ADDR    = 0x07,
    FW_CFG_KERNEL_SIZE    = 0x08,
    FW_CFG_KERNEL_CMDLINE = 0x09,
    FW_CFG_INITRD_ADDR    = 0x0a,
    FW_CFG_INITRD_SIZE    = 0x0b,
    FW_CFG_BOOT_DEVICE    = 0x0c,
    FW_CFG_NUMA           = 0x0d,
    FW_CFG_BOOT_MENU      = 0x0e,
    FW_CFG_MAX_CPUS       = 0x0f,
    FW_CFG_KERNEL_ENTRY   = 0x10,
    FW_CFG_KERNEL_DATA    = 0x11,
    FW_CFG_INITRD_DATA    = 0x12,
    FW_CFG_CMDLINE_ADDR   = 0x13,
    FW_CFG_CMDLINE_SIZE   = 0x14,
    FW_CFG_CMDLINE_DATA   = 0x15,
    FW_CFG_SETUP_ADDR     = 0x16,
    FW_CFG_SETUP_SIZE     = 0x17,
    FW_CFG_SETUP_DATA     = 0x18,
    FW_CFG_FILE_DIR       = 0x19,
    FW_CFG_FILE_FIRST     = 0x20,
    FW_CFG_ARCH_LOCAL     = 0x8000, /* x86: +0 ACPI tables, +1 SMBIOS, +2 IRQ0 override, +3 e820, +4 HPET */
    FW_CFG_ACPI_TABLES    = 0x8000,
    FW_CFG_SMBIOS_ENTRIES = 0x8001,
    FW_CFG_IRQ0_OVERRIDE  = 0x8002,
    FW_CFG_E820_TABLE     = 0x8003,
    FW_CFG_HPET           = 0x8004,
};

FwCfg *fw_cfg_create(Platform *platform, Error *err);

/* Sets item `key` (replacing what was there). Takes a reference of `data`. Integers are stored little-endian,
 * strings with their final NUL. */
void fw_cfg_add_bytes(FwCfg *fw, uint16_t key, GBytes *data);
void fw_cfg_add_data(FwCfg *fw, uint16_t key, const void *data, size_t len); /* copies */
void fw_cfg_add_string(FwCfg *fw, uint16_t key, const char *text);
void fw_cfg_add_i16(FwCfg *fw, uint16_t key, uint16_t value);
void fw_cfg_add_i32(FwCfg *fw, uint16_t key, uint32_t value);
void fw_cfg_add_i64(FwCfg *fw, uint16_t key, uint64_t value);

/* Adds a named file (55 characters at most), or replaces the contents of one that is there. Keys are given in the
 * order of the names, so add files before the guest runs. Fails when the name is too long or the directory full. */
bool fw_cfg_add_file(FwCfg *fw, const char *name, GBytes *data, Error *err);

/* The same with a say: `select` is called when the guest selects the file and may replace its contents
 * (fw_cfg_add_file with the same name and length); a `writable` file takes DMA writes into a buffer of the device's,
 * whose bytes `written` is told about. Either may be NULL. Contents of writable files go with saved state. */
typedef struct FwCfgFileOps {
    void (*select)(void *opaque);
    void (*written)(void *opaque, const uint8_t *data, size_t offset, size_t len);
    void *opaque;
} FwCfgFileOps;
bool fw_cfg_add_file_ops(FwCfg *fw, const char *name, GBytes *data, bool writable, const FwCfgFileOps *ops, Error *err);

/* Contents of a file as the guest sees them now; NULL: no such file. Borrowed until it is changed. */
const uint8_t *fw_cfg_file(const FwCfg *fw, const char *name, size_t *len);

/* Number of files and the n-th one's name and key in directory order: for tests and "info". */
unsigned    fw_cfg_n_files(const FwCfg *fw);
const char *fw_cfg_file_name(const FwCfg *fw, unsigned n, uint16_t *key);

#endif
