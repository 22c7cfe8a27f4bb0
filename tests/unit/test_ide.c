/* The IDE controller and its disks, by their registers: PIO, DMA with tables good and bad, errors, resets. */

#include "base/bytes.h"
#include "devices/storage/piix3_ide.h"
#include "ide_driver.h"
#include "walk.h"

#include <unistd.h>

static void read_image(unsigned image, uint64_t offset, void *to, size_t size)
{
    g_assert_cmpint(pread(rig.images[image], to, size, (off_t)offset), ==, (ssize_t)size);
}

/* ---- What they are ---- */

static void test_identify(void)
{
    before();
    command28(PRIMARY, ATA_CMD_IDENTIFY, 0, 0);
    g_assert_cmpint(irq_of(PRIMARY)->rises, ==, 1);
    g_assert_cmphex(settle(PRIMARY), ==, READY | ATA_DRQ);
    g_assert_cmpint(irq_of(PRIMARY)->level, ==, 0);
    read_data(PRIMARY, data, 512);
    g_assert_cmphex(get(PRIMARY, ATA_STATUS), ==, READY);
    g_assert_cmpmem(data + 54, 14, "EQUMH RADDSI K", 14);
    g_assert_cmpmem(data + 20, 8, "MQ0000 1", 8);
    g_assert_cmpuint(load_le32(data + 120), ==, DISK_SECTORS);
    g_assert_cmpuint(load_le64(data + 200), ==, DISK_SECTORS);
    put(PRIMARY, ATA_DEVICE, ATA_DEVICE_DEV); /* the other one */
    put(PRIMARY, ATA_COMMAND, ATA_CMD_IDENTIFY);
    read_data(PRIMARY, data, 512);
    g_assert_cmpuint(load_le32(data + 120), ==, OTHER_SECTORS);
    put(SECONDARY, ATA_COMMAND, ATA_CMD_IDENTIFY);
    check_failed(SECONDARY, ATA_ABRT);
    g_assert_cmphex(get(SECONDARY, ATA_LBA_MID) | get(SECONDARY, ATA_LBA_HIGH) << 8, ==, ATAPI_SIGNATURE);
    put(SECONDARY, ATA_COMMAND, ATA_CMD_IDENTIFY_PACKET);
    g_assert_cmphex(settle(SECONDARY), ==, READY | ATA_DRQ);
    read_data(SECONDARY, data, 512);
    g_assert_cmphex(load_le16(data), ==, 0x85c0);
    g_assert_cmpmem(data + 54, 12, "EQUMD DVR-MO", 12);
    after();
}

/* A place without a drive: the other one answers, with a status of 0. */
static void test_absent(void)
{
    before();
    put(SECONDARY, ATA_DEVICE, ATA_DEVICE_DEV);
    g_assert_cmphex(get(SECONDARY, ATA_STATUS), ==, 0);
    put(SECONDARY, ATA_COUNT, 0x55);
    g_assert_cmphex(get(SECONDARY, ATA_COUNT), ==, 0x55);
    put(SECONDARY, ATA_COMMAND, ATA_CMD_IDENTIFY);
    g_assert_cmphex(settle(SECONDARY), ==, 0);
    after();
}

static void test_configuration(void)
{
    before();
    put(PRIMARY, ATA_COUNT, 0x12);
    pci_bus_config_write(rig.bus, 0, IDE_DEVFN, PCI_COMMAND, 0, 2);
    pci_bus_config_write(rig.bus, 0, IDE_DEVFN, PIIX3_IDETIM, 0xa307, 2);
    g_assert_cmphex(get(PRIMARY, ATA_COUNT), ==, 0x12); /* whatever those say */
    g_assert_cmphex(in8(&rig.t, BM_PORTS), ==, 0xff);
    g_assert_cmphex(pci_bus_config_read(rig.bus, 0, IDE_DEVFN, 0, 4), ==, 0x70108086);
    g_assert_cmphex(pci_bus_config_read(rig.bus, 0, IDE_DEVFN, 8, 4), ==, 0x01018000);
    g_assert_cmphex(pci_bus_config_read(rig.bus, 0, IDE_DEVFN, 0x40, 4), ==, 0x8000a307);
    after();
}

/* ---- PIO ---- */

static void test_read(void)
{
    before();
    command28(PRIMARY, ATA_CMD_READ, 3, 5);
    for (unsigned n = 0; n < 3; n++) {
        g_assert_cmphex(settle(PRIMARY), ==, READY | ATA_DRQ);
        read_data(PRIMARY, data + 512 * n, 512);
    }
    g_assert_cmphex(get(PRIMARY, ATA_STATUS), ==, READY);
    g_assert_cmpint(irq_of(PRIMARY)->rises, ==, 3);
    check_numbers(data, 5, 3, 512);
    g_assert_cmpint(get(PRIMARY, ATA_LBA_LOW), ==, 7);
    g_assert_cmpint(get(PRIMARY, ATA_COUNT), ==, 0);
    g_assert_cmphex(in16(&rig.t, PRIMARY), ==, 0); /* nothing left */

    command28(PRIMARY, ATA_CMD_READ_MULTIPLE, 20, 100); /* blocks of 16 sectors */
    g_assert_cmphex(settle(PRIMARY), ==, READY | ATA_DRQ);
    read_data(PRIMARY, data, 16 * 512);
    g_assert_cmphex(get(PRIMARY, ATA_STATUS), ==, READY | ATA_DRQ);
    read_data(PRIMARY, data + 16 * 512, 4 * 512);
    g_assert_cmphex(get(PRIMARY, ATA_STATUS), ==, READY);
    g_assert_cmpint(irq_of(PRIMARY)->rises, ==, 2);
    check_numbers(data, 100, 20, 512);

    command48(PRIMARY, ATA_CMD_READ_EXT, 300, 1000); /* more than the buffer */
    for (unsigned n = 0; n < 300; n++) {
        g_assert_cmphex(settle(PRIMARY), ==, READY | ATA_DRQ);
        read_data(PRIMARY, data, 512);
        g_assert_cmpuint(load_le32(data), ==, 1000 + n);
    }
    g_assert_cmphex(get(PRIMARY, ATA_STATUS), ==, READY);
    g_assert_cmpint(irq_of(PRIMARY)->rises, ==, 300);

    command28(PRIMARY, ATA_CMD_READ, 0, 0); /* 256 */
    for (unsigned n = 0; n < 256; n++) {
        g_assert_cmphex(settle(PRIMARY), ==, READY | ATA_DRQ);
        read_data(PRIMARY, data, 512);
    }
    g_assert_cmphex(get(PRIMARY, ATA_STATUS), ==, READY);
    after();
}

static void test_cylinders(void)
{
    before();
    put(PRIMARY, ATA_DEVICE, 2); /* head */
    put(PRIMARY, ATA_COUNT, 1);
    put(PRIMARY, ATA_LBA_LOW, 4); /* sector */
    put(PRIMARY, ATA_LBA_MID, 1); /* cylinder */
    put(PRIMARY, ATA_LBA_HIGH, 0);
    put(PRIMARY, ATA_COMMAND, ATA_CMD_READ);
    g_assert_cmphex(settle(PRIMARY), ==, READY | ATA_DRQ);
    read_data(PRIMARY, data, 512);
    g_assert_cmpuint(load_le32(data), ==, (1 * 16 + 2) * 63 + 3);
    g_assert_cmpint(get(PRIMARY, ATA_LBA_LOW), ==, 4);
    g_assert_cmphex(get(PRIMARY, ATA_DEVICE), ==, ATA_DEVICE_OBSOLETE | 2);
    put(PRIMARY, ATA_DEVICE, 3); /* four heads of 10 sectors from now on */
    put(PRIMARY, ATA_COUNT, 10);
    put(PRIMARY, ATA_COMMAND, ATA_CMD_SET_GEOMETRY);
    g_assert_cmphex(settle(PRIMARY), ==, READY);
    put(PRIMARY, ATA_COUNT, 1);
    put(PRIMARY, ATA_COMMAND, ATA_CMD_READ);
    settle(PRIMARY);
    read_data(PRIMARY, data, 512);
    g_assert_cmpuint(load_le32(data), ==, (1 * 4 + 3) * 10 + 3);
    put(PRIMARY, ATA_LBA_LOW, 0); /* there is no sector 0 */
    put(PRIMARY, ATA_COUNT, 1);
    put(PRIMARY, ATA_COMMAND, ATA_CMD_READ);
    check_failed(PRIMARY, ATA_IDNF);
    put(PRIMARY, ATA_LBA_LOW, 11); /* nor one of 11 */
    put(PRIMARY, ATA_COMMAND, ATA_CMD_VERIFY);
    check_failed(PRIMARY, ATA_IDNF);
    after();
}

static void test_write(void)
{
    before();
    for (unsigned n = 0; n < 32 * 512; n++) {
        data[n] = (uint8_t)(n * 7 + n / 512);
    }
    command28(PRIMARY, ATA_CMD_WRITE, 2, 10);
    g_assert_cmpint(irq_of(PRIMARY)->rises, ==, 0); /* not before the first data */
    g_assert_cmphex(get(PRIMARY, ATA_STATUS), ==, READY | ATA_DRQ);
    write_data(PRIMARY, data, 512);
    g_assert_cmphex(settle(PRIMARY), ==, READY | ATA_DRQ);
    write_data(PRIMARY, data + 512, 512);
    g_assert_cmphex(settle(PRIMARY), ==, READY);
    g_assert_cmpint(irq_of(PRIMARY)->rises, ==, 2);
    read_image(0, 10 * 512, data + 32768, 1024);
    g_assert_cmpmem(data, 1024, data + 32768, 1024);

    command48(PRIMARY, ATA_CMD_WRITE_MULTIPLE_EXT, 17, 40);
    write_data(PRIMARY, data, 16 * 512);
    g_assert_cmphex(settle(PRIMARY), ==, READY | ATA_DRQ);
    write_data(PRIMARY, data + 16 * 512, 512);
    g_assert_cmphex(settle(PRIMARY), ==, READY);
    read_image(0, 40 * 512, data + 32768, 17 * 512);
    g_assert_cmpmem(data, 17 * 512, data + 32768, 17 * 512);
    command28(PRIMARY, ATA_CMD_FLUSH, 0, 0);
    g_assert_cmphex(settle(PRIMARY), ==, READY);
    after();
}

static void test_no_interrupts(void)
{
    before();
    put(PRIMARY, CONTROL, ATA_NIEN);
    command28(PRIMARY, ATA_CMD_IDLE_NOW, 0, 0);
    g_assert_cmpint(irq_of(PRIMARY)->rises, ==, 0);
    g_assert_cmphex(get(PRIMARY, CONTROL), ==, READY); /* the alternate status takes nothing back */
    put(PRIMARY, CONTROL, 0);
    g_assert_cmpint(irq_of(PRIMARY)->level, ==, 1);
    g_assert_cmphex(get(PRIMARY, ATA_STATUS), ==, READY);
    g_assert_cmpint(irq_of(PRIMARY)->level, ==, 0);
    after();
}

/* ---- Errors, features ---- */

static void test_errors(void)
{
    static const uint8_t none[] = { 0x00, 0x03, 0x26, 0x87, 0xa0, 0xa1, 0xf9, 0xff, ATA_CMD_DEVICE_RESET };
    before();
    for (unsigned i = 0; i < sizeof none; i++) {
        command28(PRIMARY, none[i], 0, 0);
        g_assert_cmpint(irq_of(PRIMARY)->rises, ==, 1);
        check_failed(PRIMARY, ATA_ABRT);
    }
    command28(PRIMARY, ATA_CMD_READ, 2, DISK_SECTORS - 1);
    check_failed(PRIMARY, ATA_IDNF);
    g_assert_cmpuint(get(PRIMARY, ATA_LBA_LOW) | get(PRIMARY, ATA_LBA_MID) << 8, ==, DISK_SECTORS);
    command28(PRIMARY, ATA_CMD_WRITE, 1, DISK_SECTORS);
    check_failed(PRIMARY, ATA_IDNF);
    command48(PRIMARY, ATA_CMD_READ_EXT, 1, UINT64_C(1) << 47 | 3);
    check_failed(PRIMARY, ATA_IDNF);
    put(PRIMARY, CONTROL, ATA_HOB);
    g_assert_cmphex(get(PRIMARY, ATA_LBA_HIGH), ==, 0x80);
    command48(PRIMARY, ATA_CMD_READ_DMA_EXT, 0, 0); /* 65536 */
    check_failed(PRIMARY, ATA_IDNF);
    command28(PRIMARY, ATA_CMD_VERIFY, 0, 3000);
    g_assert_cmphex(settle(PRIMARY), ==, READY);
    g_assert_cmpint(irq_of(PRIMARY)->rises, ==, 1);
    command28(PRIMARY, ATA_CMD_SET_MULTIPLE, 3, 0);
    check_failed(PRIMARY, ATA_ABRT);
    command28(PRIMARY, ATA_CMD_SET_MULTIPLE, 0, 0);
    g_assert_cmphex(settle(PRIMARY), ==, READY);
    command28(PRIMARY, ATA_CMD_READ_MULTIPLE, 1, 0);
    check_failed(PRIMARY, ATA_ABRT);
    command28(PRIMARY, ATA_CMD_SEEK, 0, DISK_SECTORS);
    check_failed(PRIMARY, ATA_IDNF);
    command28(PRIMARY, ATA_CMD_READ_NATIVE, 0, 0);
    g_assert_cmphex(settle(PRIMARY), ==, READY);
    g_assert_cmpuint(get(PRIMARY, ATA_LBA_LOW) | get(PRIMARY, ATA_LBA_MID) << 8, ==, DISK_SECTORS - 1);
    after();
}

static void set_feature(uint8_t feature, uint8_t count)
{
    put(PRIMARY, ATA_FEATURES, feature);
    command28(PRIMARY, ATA_CMD_SET_FEATURES, count, 0);
}

static uint16_t identify_word(unsigned word)
{
    command28(PRIMARY, ATA_CMD_IDENTIFY, 0, 0);
    read_data(PRIMARY, data, 512);
    return load_le16(data + 2 * word);
}

static void test_features(void)
{
    before();
    g_assert_cmphex(identify_word(88), ==, 0x203f);
    set_feature(ATA_SET_TRANSFER_MODE, ATA_MODE_MULTIWORD | 2);
    g_assert_cmphex(settle(PRIMARY), ==, READY);
    g_assert_cmphex(identify_word(88), ==, 0x003f);
    g_assert_cmphex(identify_word(63), ==, 0x0407);
    set_feature(ATA_SET_TRANSFER_MODE, ATA_MODE_ULTRA | 6);
    check_failed(PRIMARY, ATA_ABRT);
    g_assert_cmphex(identify_word(85) & 0x20, ==, 0x20);
    set_feature(ATA_CLEAR_WRITE_CACHE, 0);
    g_assert_cmphex(settle(PRIMARY), ==, READY);
    g_assert_cmphex(identify_word(85) & 0x20, ==, 0);
    set_feature(0x42, 0);
    check_failed(PRIMARY, ATA_ABRT);
    put(PRIMARY, ATA_FEATURES, SMART_STATUS);
    command28(PRIMARY, ATA_CMD_SMART, 0, SMART_KEY << 8);
    g_assert_cmphex(settle(PRIMARY), ==, READY);
    g_assert_cmphex(get(PRIMARY, ATA_LBA_MID) | get(PRIMARY, ATA_LBA_HIGH) << 8, ==, SMART_KEY);
    put(PRIMARY, ATA_FEATURES, SMART_READ_DATA);
    command28(PRIMARY, ATA_CMD_SMART, 0, SMART_KEY << 8);
    read_data(PRIMARY, data, 512);
    uint8_t sum = 0;
    for (unsigned n = 0; n < 512; n++) {
        sum += data[n];
    }
    g_assert_cmpint(sum, ==, 0);
    put(PRIMARY, ATA_FEATURES, SMART_READ_DATA);
    command28(PRIMARY, ATA_CMD_SMART, 0, 0);
    check_failed(PRIMARY, ATA_ABRT);
    command28(PRIMARY, ATA_CMD_STANDBY_NOW, 0, 0);
    command28(PRIMARY, ATA_CMD_CHECK_POWER, 0, 0);
    g_assert_cmphex(get(PRIMARY, ATA_COUNT), ==, 0);
    after();
}

/* ---- DMA ---- */

static void test_dma_read(void)
{
    before();
    prd(0, DATA, 512, false);
    prd(1, DATA + 600, 1024, false);
    prd(2, DATA + 4096, 1, false); /* bit 0 does not count: 64 KiB, of which 512 are used */
    command28(PRIMARY, ATA_CMD_READ_DMA, 4, 20);
    ide_rig_settle(&rig);
    g_assert_cmphex(get(PRIMARY, CONTROL) & ATA_BSY, ==, ATA_BSY); /* waits for the master */
    start_master(0, BM_TO_MEMORY);
    g_assert_cmphex(master_status(0), ==, BM_ACTIVE | BM_INT); /* the table has more room than was needed */
    g_assert_cmphex(settle(PRIMARY), ==, READY);
    stop_master(0);
    g_assert_cmphex(master_status(0), ==, BM_INT);
    dma_read(rig.t.p.memory_space, DATA, data, 8192);
    g_assert_cmpuint(load_le32(data), ==, 20);
    g_assert_cmpuint(load_le32(data + 600), ==, 21);
    g_assert_cmpuint(load_le32(data + 600 + 512), ==, 22);
    g_assert_cmpuint(load_le32(data + 4096), ==, 23);

    prd(0, DATA, 0, true); /* 64 KiB, exactly, and the master first */
    start_master(0, BM_TO_MEMORY);
    command48(PRIMARY, ATA_CMD_READ_DMA_EXT, 128, 200);
    g_assert_cmphex(settle(PRIMARY), ==, READY);
    g_assert_cmphex(master_status(0), ==, BM_INT);
    dma_read(rig.t.p.memory_space, DATA, data, 65536);
    check_numbers(data, 200, 128, 512);
    stop_master(0);
    after();
}

static void test_dma_large(void)
{
    before();
    for (unsigned n = 0; n < 16; n++) { /* 1 MiB: eight buffers */
        prd(n, 0x100000 + (n << 16), 0, n == 15);
    }
    start_master(0, BM_TO_MEMORY);
    command48(PRIMARY, ATA_CMD_READ_DMA_EXT, 2048, 1000);
    ide_rig_settle(&rig);
    g_assert_cmphex(master_status(0), ==, BM_INT);
    g_assert_cmpint(irq_of(PRIMARY)->rises, ==, 1);
    g_assert_cmphex(settle(PRIMARY), ==, READY);
    for (unsigned n = 0; n < 2048; n++) {
        g_assert_cmpuint(mem_load(&rig.t, 0x100000 + 512 * n, 4), ==, 1000 + n);
    }
    stop_master(0);
    start_master(0, 0);
    command48(PRIMARY, ATA_CMD_WRITE_DMA_FUA, 2048, 2000);
    ide_rig_settle(&rig);
    g_assert_cmphex(settle(PRIMARY), ==, READY);
    for (unsigned n = 0; n < 2048; n += 100) {
        uint8_t number[4];
        read_image(0, (2000 + n) * 512, number, 4);
        g_assert_cmpuint(load_le32(number), ==, 1000 + n);
    }
    after();
}

/* A table that is too short: the drive waits until there is another one. */
static void test_dma_short(void)
{
    before();
    prd(0, DATA, 512, true);
    start_master(0, BM_TO_MEMORY);
    command28(PRIMARY, ATA_CMD_READ_DMA, 2, 30);
    ide_rig_settle(&rig);
    g_assert_cmphex(master_status(0), ==, 0);
    g_assert_cmphex(get(PRIMARY, CONTROL) & ATA_BSY, ==, ATA_BSY);
    g_assert_cmpint(irq_of(PRIMARY)->rises, ==, 0);
    stop_master(0);
    prd(0, DATA + 512, 512, true);
    start_master(0, BM_TO_MEMORY);
    g_assert_cmphex(settle(PRIMARY), ==, READY);
    dma_read(rig.t.p.memory_space, DATA, data, 1024);
    check_numbers(data, 30, 2, 512);
    after();
}

static void check_dma_error(void)
{
    command28(PRIMARY, ATA_CMD_READ_DMA, 255, 30);
    ide_rig_settle(&rig);
    g_assert_cmphex(master_status(0), ==, BM_ERROR | BM_INT);
    check_failed(PRIMARY, ATA_ABRT);
    stop_master(0);
}

static void test_dma_hostile(void)
{
    before();
    for (unsigned n = 0; n < 12000; n++) { /* no end, and each entry takes 2 bytes */
        prd(n, 0x100000, 2, false);
    }
    start_master(0, BM_TO_MEMORY);
    check_dma_error();
    prd(0, TEST_RAM_SIZE - 256, 512, true); /* runs out of memory */
    start_master(0, BM_TO_MEMORY);
    check_dma_error();
    prd(0, 0xfffffffe, 0, true); /* and beyond 4 GiB */
    start_master(0, BM_TO_MEMORY);
    check_dma_error();
    start_master(0, BM_TO_MEMORY); /* a table that is not in memory */
    stop_master(0);
    out32(&rig.t, BM_PORTS + 4, 0xfffffffc);
    out8(&rig.t, BM_PORTS, BM_START | BM_TO_MEMORY);
    check_dma_error();
    out32(&rig.t, BM_PORTS + 4, TABLE + 3); /* the lower bits are not there */
    g_assert_cmphex(in32(&rig.t, BM_PORTS + 4), ==, TABLE);
    prd(0, DATA, 0, true); /* bus mastering is off */
    pci_bus_config_write(rig.bus, 0, IDE_DEVFN, PCI_COMMAND, PCI_COMMAND_IO, 2);
    start_master(0, BM_TO_MEMORY);
    check_dma_error();
    command28(PRIMARY, ATA_CMD_WRITE_DMA, 1, 30);
    start_master(0, 0);
    check_failed(PRIMARY, ATA_ABRT);
    uint8_t number[4];
    read_image(0, 30 * 512, number, 4);
    g_assert_cmpuint(load_le32(number), ==, 30);
    pci_bus_config_write(rig.bus, 0, IDE_DEVFN, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MASTER, 2);
    prd(0, TABLE, 4096, false); /* the table itself is written over: with sector numbers and zeros */
    start_master(0, BM_TO_MEMORY);
    command28(PRIMARY, ATA_CMD_READ_DMA, 0, 0);
    ide_rig_settle(&rig);
    put(PRIMARY, CONTROL, ATA_SRST);
    put(PRIMARY, CONTROL, 0);
    g_assert_cmphex(settle(PRIMARY), ==, READY);
    after();
}

static void check_trim(uint64_t range, uint8_t error)
{
    dma_write(rig.t.p.memory_space, DATA, &(uint64_t[64]){ 5 | UINT64_C(3) << 48, 0, range }, 512);
    prd(0, DATA, 512, true);
    start_master(0, 0);
    put(PRIMARY, ATA_FEATURES, 0);
    put(PRIMARY, ATA_FEATURES, ATA_TRIM);
    command48(PRIMARY, ATA_CMD_DATA_SET, 1, 0);
    g_assert_cmphex(settle(PRIMARY), ==, READY | (error ? ATA_ERR : 0));
    g_assert_cmphex(get(PRIMARY, ATA_ERROR), ==, error);
    stop_master(0);
}

static void test_trim(void)
{
    before();
    check_trim(100 | UINT64_C(50) << 48, 0);
    check_trim(DISK_SECTORS | UINT64_C(1) << 48, ATA_IDNF);
    check_trim(DISK_SECTORS - 1, 0); /* of nothing */
    put(PRIMARY, ATA_FEATURES, 2);
    command48(PRIMARY, ATA_CMD_DATA_SET, 1, 0);
    check_failed(PRIMARY, ATA_ABRT);
    after();
}

/* ---- Resets ---- */

static void test_reset(void)
{
    before();
    command28(PRIMARY, ATA_CMD_READ, 8, 0);
    put(PRIMARY, CONTROL, ATA_SRST); /* a request is under way */
    g_assert_cmphex(get(PRIMARY, CONTROL) & ATA_BSY, ==, ATA_BSY);
    put(PRIMARY, CONTROL, 0);
    put(PRIMARY, ATA_COUNT, 0x77); /* nobody hears that */
    g_assert_cmphex(get(PRIMARY, CONTROL) & ATA_BSY, ==, ATA_BSY);
    g_assert_cmphex(settle(PRIMARY), ==, READY);
    g_assert_cmpint(get(PRIMARY, ATA_COUNT), ==, 1);
    g_assert_cmpint(get(PRIMARY, ATA_ERROR), ==, 1);
    g_assert_cmpint(irq_of(PRIMARY)->level, ==, 0);

    command28(PRIMARY, ATA_CMD_READ, 8, 0); /* the machine is reset meanwhile */
    devices_reset(&rig.t.p, RESET_WARM);
    ide_rig_configure(&rig);
    g_assert_cmphex(get(PRIMARY, CONTROL) & ATA_BSY, ==, ATA_BSY);
    g_assert_cmphex(settle(PRIMARY), ==, READY);
    command28(PRIMARY, ATA_CMD_WRITE, 1, 0); /* in the middle of data */
    write_data(PRIMARY, data, 256);
    put(PRIMARY, CONTROL, ATA_SRST);
    put(PRIMARY, CONTROL, 0);
    g_assert_cmphex(settle(PRIMARY), ==, READY);

    put(SECONDARY, ATA_COMMAND, ATA_CMD_PACKET);
    g_assert_cmphex(get(SECONDARY, ATA_STATUS), ==, READY | ATA_DRQ);
    put(SECONDARY, ATA_COMMAND, ATA_CMD_DEVICE_RESET);
    g_assert_cmphex(get(SECONDARY, ATA_STATUS), ==, 0);
    g_assert_cmphex(get(SECONDARY, ATA_LBA_MID) | get(SECONDARY, ATA_LBA_HIGH) << 8, ==, ATAPI_SIGNATURE);

    put(PRIMARY, ATA_DEVICE, ATA_DEVICE_DEV);
    test_pin_forget(irq_of(PRIMARY));
    put(PRIMARY, ATA_COMMAND, ATA_CMD_DIAGNOSTIC);
    g_assert_cmphex(get(PRIMARY, ATA_STATUS), ==, READY);
    g_assert_cmphex(get(PRIMARY, ATA_DEVICE), ==, ATA_DEVICE_OBSOLETE);
    g_assert_cmpint(get(PRIMARY, ATA_ERROR), ==, 1);
    g_assert_cmpint(irq_of(PRIMARY)->rises, ==, 1);
    after();
}

static void test_state(void)
{
    g_auto(Error) err = {};
    before();
    command28(PRIMARY, ATA_CMD_READ, 3, 50);
    settle(PRIMARY);
    read_data(PRIMARY, data, 100);
    g_autoptr(GByteArray) controller = test_saved(&rig.ide->dev);
    g_autoptr(GByteArray) disk       = test_saved(rig.drives[0]);
    devices_reset(&rig.t.p, RESET_COLD);
    g_assert_true(device_load(&rig.ide->dev, controller->data, controller->len, &err));
    g_assert_true(device_load(rig.drives[0], disk->data, disk->len, &err));
    read_data(PRIMARY, data + 100, 412);
    for (unsigned n = 1; n < 3; n++) {
        g_assert_cmphex(settle(PRIMARY), ==, READY | ATA_DRQ);
        read_data(PRIMARY, data + 512 * n, 512);
    }
    g_assert_cmphex(get(PRIMARY, ATA_STATUS), ==, READY);
    check_numbers(data, 50, 3, 512);
    for (unsigned n = 0; n < 3; n++) {
        test_save_load(rig.drives[n]);
    }
    after();
}

/* ---- Damaged states ---- */

static Platform *open_machine(void)
{
    IdeRig *r = g_new(IdeRig, 1);
    ide_rig_open(r);
    return &r->t.p;
}

static void close_machine(Platform *platform)
{
    ide_rig_close((IdeRig *)platform);
    g_free(platform);
}

static void test_walk(void)
{
    static const WalkMachine machine = { open_machine, close_machine };
    walk_board(&machine, NULL);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ide/identify", test_identify);
    g_test_add_func("/ide/absent", test_absent);
    g_test_add_func("/ide/configuration", test_configuration);
    g_test_add_func("/ide/read", test_read);
    g_test_add_func("/ide/cylinders", test_cylinders);
    g_test_add_func("/ide/write", test_write);
    g_test_add_func("/ide/no-interrupts", test_no_interrupts);
    g_test_add_func("/ide/errors", test_errors);
    g_test_add_func("/ide/features", test_features);
    g_test_add_func("/ide/dma-read", test_dma_read);
    g_test_add_func("/ide/dma-large", test_dma_large);
    g_test_add_func("/ide/dma-short", test_dma_short);
    g_test_add_func("/ide/dma-hostile", test_dma_hostile);
    g_test_add_func("/ide/trim", test_trim);
    g_test_add_func("/ide/reset", test_reset);
    g_test_add_func("/ide/state", test_state);
    g_test_add_func("/ide/walk", test_walk);
    return g_test_run();
}
