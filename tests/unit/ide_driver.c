/* See ide_driver.h. */

#include "ide_driver.h"

#include "base/bytes.h"

IdeRig  rig;
uint8_t data[IDE_BUFFER * 4];

void before(void)
{
    ide_rig_open(&rig);
}

void after(void)
{
    ide_rig_close(&rig);
}

uint8_t get(uint16_t base, unsigned reg)
{
    return in8(&rig.t, (uint16_t)(base + reg));
}

void put(uint16_t base, unsigned reg, uint8_t value)
{
    out8(&rig.t, (uint16_t)(base + reg), value);
}

TestPin *irq_of(uint16_t base)
{
    return &rig.t.isa[base == PRIMARY ? 14 : 15];
}

uint8_t settle(uint16_t base)
{
    ide_rig_settle(&rig);
    return get(base, ATA_STATUS);
}

void command28(uint16_t base, uint8_t command, uint8_t count, uint32_t lba)
{
    put(base, ATA_DEVICE, (uint8_t)(ATA_DEVICE_OBSOLETE | ATA_DEVICE_LBA | lba >> 24));
    put(base, ATA_COUNT, count);
    put(base, ATA_LBA_LOW, (uint8_t)lba);
    put(base, ATA_LBA_MID, (uint8_t)(lba >> 8));
    put(base, ATA_LBA_HIGH, (uint8_t)(lba >> 16));
    test_pin_forget(irq_of(base));
    put(base, ATA_COMMAND, command);
}

void command48(uint16_t base, uint8_t command, uint16_t count, uint64_t lba)
{
    put(base, ATA_DEVICE, ATA_DEVICE_OBSOLETE | ATA_DEVICE_LBA);
    put(base, ATA_COUNT, (uint8_t)(count >> 8));
    put(base, ATA_LBA_LOW, (uint8_t)(lba >> 24));
    put(base, ATA_LBA_MID, (uint8_t)(lba >> 32));
    put(base, ATA_LBA_HIGH, (uint8_t)(lba >> 40));
    put(base, ATA_COUNT, (uint8_t)count);
    put(base, ATA_LBA_LOW, (uint8_t)lba);
    put(base, ATA_LBA_MID, (uint8_t)(lba >> 8));
    put(base, ATA_LBA_HIGH, (uint8_t)(lba >> 16));
    test_pin_forget(irq_of(base));
    put(base, ATA_COMMAND, command);
}

void read_data(uint16_t base, uint8_t *to, unsigned bytes)
{
    for (unsigned n = 0; n < bytes; n += 2) {
        store_le16(to + n, in16(&rig.t, base));
    }
}

void write_data(uint16_t base, const uint8_t *from, unsigned bytes)
{
    for (unsigned n = 0; n < bytes; n += 4) {
        out32(&rig.t, base, load_le32(from + n));
    }
}

void check_failed(uint16_t base, uint8_t error)
{
    g_assert_cmphex(settle(base), ==, READY | ATA_ERR);
    g_assert_cmphex(get(base, ATA_ERROR), ==, error);
}

void check_numbers(const uint8_t *from, uint32_t first, unsigned count, unsigned size)
{
    for (unsigned n = 0; n < count; n++) {
        g_assert_cmpuint(load_le32(from + (size_t)n * size), ==, first + n);
    }
}

void prd(unsigned n, uint32_t addr, uint16_t count, bool last)
{
    mem_store(&rig.t, TABLE + 8 * n, addr, 4);
    mem_store(&rig.t, TABLE + 8 * n + 4, count | (last ? 0x80000000u : 0), 4);
}

void start_master(unsigned channel, uint8_t how)
{
    uint16_t base = (uint16_t)(BM_PORTS + 8 * channel);
    out32(&rig.t, base + 4, TABLE);
    out8(&rig.t, base + 2, BM_ERROR | BM_INT);
    out8(&rig.t, base, how);
    out8(&rig.t, base, how | BM_START);
}

uint8_t master_status(unsigned channel)
{
    return in8(&rig.t, (uint16_t)(BM_PORTS + 8 * channel + 2));
}

void stop_master(unsigned channel)
{
    out8(&rig.t, (uint16_t)(BM_PORTS + 8 * channel), 0);
}
