/* The IDE controller, its drives and a driver that does whatever the input says: registers, data, packets, tables of
 * the bus masters, resets in the middle, saving and loading (also of damaged states).
 *
 * Each operation is a byte and its operands; when the input is used up, it is over. Commands and tables also come
 * whole, so that most inputs reach what is behind them. */

#include "fuzz_device.h"

#include "../unit/ide_rig.h"
#include "base/bytes.h"

#include <string.h>

enum { MAX_OPERATIONS = 500, TABLE = 0x1000, PRDS = 32, BURST = 300 };

static const uint16_t bases[]    = { 0x1f0, 0x170 };
static const uint8_t  commands[] = {
     ATA_CMD_NOP,
     ATA_CMD_DEVICE_RESET,
     ATA_CMD_READ,
     ATA_CMD_READ_EXT,
     ATA_CMD_READ_DMA_EXT,
     ATA_CMD_READ_MULTIPLE,
     ATA_CMD_WRITE,
     ATA_CMD_WRITE_EXT,
     ATA_CMD_WRITE_DMA_EXT,
     ATA_CMD_WRITE_MULTIPLE,
     ATA_CMD_VERIFY_EXT,
     ATA_CMD_DIAGNOSTIC,
     ATA_CMD_SET_GEOMETRY,
     ATA_CMD_PACKET,
     ATA_CMD_IDENTIFY_PACKET,
     ATA_CMD_SMART,
     ATA_CMD_SET_MULTIPLE,
     ATA_CMD_READ_DMA,
     ATA_CMD_WRITE_DMA,
     ATA_CMD_FLUSH,
     ATA_CMD_IDENTIFY,
     ATA_CMD_SET_FEATURES,
     ATA_CMD_READ_NATIVE,
     ATA_CMD_WRITE_DMA_FUA,
     ATA_CMD_DATA_SET,
     ATA_CMD_CHECK_POWER,
     ATA_CMD_READ_NATIVE_EXT,
     ATA_CMD_STANDBY_NOW,
     ATA_CMD_SEEK,
};
static const uint32_t places[] = { 0x10000, 0x20000, TABLE, TEST_RAM_SIZE - 512, 0xfffffff0, 0x80000000 };

static void put(IdeRig *rig, uint16_t base, unsigned reg, uint64_t value)
{
    out8(&rig->t, (uint16_t)(base + reg), (uint8_t)value);
}

static void send_command(IdeRig *rig, uint16_t base, Input *in)
{
    uint8_t what = (uint8_t)take(in, 1), device = (uint8_t)take(in, 1);
    put(rig, base, ATA_DEVICE, device);
    for (unsigned reg = ATA_FEATURES; reg <= ATA_LBA_HIGH && what & 0x80; reg++) {
        put(rig, base, reg, take(in, 1)); /* of 48 bits the upper half */
    }
    for (unsigned reg = ATA_FEATURES; reg <= ATA_LBA_HIGH; reg++) {
        put(rig, base, reg, take(in, 1));
    }
    put(rig, base, ATA_COMMAND, commands[what % G_N_ELEMENTS(commands)]);
}

static void send_packet(IdeRig *rig, uint16_t base, Input *in)
{
    uint8_t bytes[12];
    put(rig, base, ATA_DEVICE, 0);
    put(rig, base, ATA_FEATURES, take(in, 1));
    put(rig, base, ATA_LBA_MID, take(in, 1));
    put(rig, base, ATA_LBA_HIGH, take(in, 1));
    put(rig, base, ATA_COMMAND, ATA_CMD_PACKET);
    store_le64(bytes, take(in, 8));
    store_le32(bytes + 8, (uint32_t)take(in, 4));
    for (unsigned n = 0; n < 12; n += 4) {
        out32(&rig->t, base, load_le32(bytes + n));
    }
}

static void make_table(IdeRig *rig, Input *in)
{
    unsigned n = (unsigned)take(in, 1) % PRDS + 1;
    for (unsigned i = 0; i < n; i++) {
        uint8_t  where = (uint8_t)take(in, 1);
        uint16_t count = (uint16_t)take(in, 2);
        mem_store(&rig->t, TABLE + 8 * i, places[where % G_N_ELEMENTS(places)] + (where >> 3), 4);
        mem_store(&rig->t, TABLE + 8 * i + 4, count | (uint32_t)take(in, 1) << 24, 4);
    }
}

static void start_master(IdeRig *rig, unsigned channel, uint8_t how)
{
    uint16_t base = (uint16_t)(BM_PORTS + 8 * channel);
    out8(&rig->t, base, 0);
    out8(&rig->t, base + 2, 6);
    out32(&rig->t, base + 4, how & 0x80 ? (uint32_t)how << 16 : TABLE);
    out8(&rig->t, base, (how & 8) | 1);
}

static void operate(IdeRig *rig, Input *in)
{
    uint8_t  what = (uint8_t)take(in, 1);
    unsigned ch = what >> 4 & 1, size = 1u << (what >> 6) % 3;
    uint16_t base = bases[ch];
    switch (what & 15) {
    case 0: {
        uint16_t port = (uint16_t)(base + take(in, 1) % 8);
        address_space_store(rig->t.p.io_space, port, take(in, size), size);
        break;
    }
    case 1: address_space_load(rig->t.p.io_space, (uint16_t)(base + take(in, 1) % 8), size); break;
    case 2: put(rig, base, 0x206, take(in, 1)); break;
    case 3: in8(&rig->t, (uint16_t)(base + 0x206)); break;
    case 4:
    case 5: send_command(rig, base, in); break;
    case 6: send_packet(rig, base, in); break;
    case 7: make_table(rig, in); break;
    case 8: start_master(rig, ch, (uint8_t)take(in, 1)); break;
    case 9: {
        uint16_t port = (uint16_t)(BM_PORTS + take(in, 1) % 16);
        address_space_store(rig->t.p.io_space, port, take(in, size), size);
        break;
    }
    case 10: address_space_load(rig->t.p.io_space, (uint16_t)(BM_PORTS + take(in, 1) % 16), size); break;
    case 11:
        for (unsigned n = (unsigned)take(in, 1) * 8 % BURST + 1; n; n--) {
            address_space_load(rig->t.p.io_space, base, size);
        }
        break;
    case 12:
        for (unsigned n = (unsigned)take(in, 1) * 8 % BURST + 1; n; n--) {
            address_space_store(rig->t.p.io_space, base, n, size);
        }
        break;
    case 13: {
        Device  *devices[] = { &rig->ide->dev, rig->drives[0], rig->drives[1], rig->drives[2] };
        uint16_t at        = (uint16_t)take(in, 2);
        save_and_load(devices[what >> 4 & 3], at, what & 0x40 ? (uint8_t)take(in, 1) : 0);
        break;
    }
    case 14:
        if (what & 0x20) {
            devices_reset(&rig->t.p, RESET_WARM);
            ide_rig_configure(rig);
        } else {
            pci_bus_config_write(rig->bus, 0, IDE_DEVFN, what & 0x10 ? 0x40 : PCI_COMMAND, (uint32_t)take(in, 2), 2);
        }
        break;
    default:
        if (what & 0x40) {
            loop_step(rig->t.p.loop, false);
        } else {
            ide_rig_settle(rig);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    IdeRig *rig = g_new(IdeRig, 1);
    Input   in  = { data, data + size };
    ide_rig_open(rig);
    for (unsigned n = 0; in.at < in.end && n < MAX_OPERATIONS; n++) {
        operate(rig, &in);
    }
    ide_rig_close(rig);
    g_free(rig);
    return 0;
}
