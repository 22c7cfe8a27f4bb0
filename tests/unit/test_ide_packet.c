/* CD-ROMs on an IDE channel: packet commands by PIO and DMA, and their errors. */

#include "base/bytes.h"
#include "ide_driver.h"

#include <string.h>

static void packet(const uint8_t *bytes, unsigned len, uint16_t limit, bool dma)
{
    uint8_t whole[12] = {};
    memcpy(whole, bytes, len);
    put(SECONDARY, ATA_DEVICE, 0);
    put(SECONDARY, ATA_FEATURES, dma);
    put(SECONDARY, ATA_LBA_MID, (uint8_t)limit);
    put(SECONDARY, ATA_LBA_HIGH, (uint8_t)(limit >> 8));
    test_pin_forget(irq_of(SECONDARY));
    put(SECONDARY, ATA_COMMAND, ATA_CMD_PACKET);
    g_assert_cmphex(get(SECONDARY, ATA_STATUS), ==, READY | ATA_DRQ);
    g_assert_cmpint(get(SECONDARY, ATA_COUNT) & 3, ==, ATAPI_CD);
    write_data(SECONDARY, whole, 12);
}

#define PACKET(limit, dma, ...) packet((const uint8_t[]){ __VA_ARGS__ }, sizeof(uint8_t[]){ __VA_ARGS__ }, limit, dma)

/* Reads all data of a packet command; how many bytes came. */
static unsigned packet_data(uint8_t *to)
{
    unsigned len = 0;
    while (settle(SECONDARY) == (READY | ATA_DRQ)) {
        unsigned n = get(SECONDARY, ATA_LBA_MID) | get(SECONDARY, ATA_LBA_HIGH) << 8;
        g_assert_cmpint(get(SECONDARY, ATA_COUNT) & 3, ==, ATAPI_IO);
        read_data(SECONDARY, to + len, n);
        len += n;
    }
    g_assert_cmpint(get(SECONDARY, ATA_COUNT) & 3, ==, ATAPI_IO | ATAPI_CD);
    return len;
}

static void check_sense(uint8_t key, uint8_t asc)
{
    g_assert_cmphex(settle(SECONDARY), ==, READY | ATA_ERR);
    g_assert_cmphex(get(SECONDARY, ATA_ERROR), ==, key << 4 | ATA_ABRT);
    PACKET(0xfffe, false, 0x03, 0, 0, 0, 18);
    g_assert_cmpint(packet_data(data), ==, 18);
    g_assert_cmphex(data[2], ==, key);
    g_assert_cmphex(data[12], ==, asc);
}

static void test_packets(void)
{
    before();
    PACKET(0xfffe, false, 0x00);
    g_assert_cmphex(settle(SECONDARY), ==, READY);
    PACKET(0xfffe, false, 0x12, 0, 0, 0, 96);
    g_assert_cmpint(packet_data(data), ==, 36);
    g_assert_cmpmem(data + 8, 20, "QEMU    QEMU DVD-ROM", 20);
    PACKET(0xfffe, false, 0x25);
    g_assert_cmpint(packet_data(data), ==, 8);
    g_assert_cmpuint(load_be32(data), ==, CD_BLOCKS - 1);
    g_assert_cmpuint(load_be32(data + 4), ==, 2048);
    PACKET(512, false, 0x28, 0, 0, 0, 0, 7, 0, 0, 3); /* in blocks of 512 */
    g_assert_cmpint(packet_data(data), ==, 3 * 2048);
    g_assert_cmpint(irq_of(SECONDARY)->rises, ==, 13);
    check_numbers(data, 7, 3, 2048);
    PACKET(4095, false, 0xa8, 0, 0, 0, 0, 100, 0, 0, 0, 100); /* more than the buffer, and an odd limit */
    g_assert_cmpint(packet_data(data), ==, 100 * 2048);
    check_numbers(data, 100, 100, 2048);
    PACKET(0, false, 0x43, 2, 0, 0, 0, 0, 0, 0, 12); /* table of contents, less than all of it */
    g_assert_cmpint(packet_data(data), ==, 12);
    g_assert_cmpint(load_be16(data), ==, 18);
    PACKET(0, false, 0x46, 0, 0, 0, 0, 0, 0, 1, 0);
    unsigned len = packet_data(data);
    g_assert_cmpint(load_be32(data), ==, len - 4);
    g_assert_cmpint(load_be16(data + 6), ==, 8);
    PACKET(0, false, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8);
    g_assert_cmpint(packet_data(data), ==, 8);
    g_assert_cmpint(data[5], ==, 2);
    PACKET(0, false, 0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 255);
    len = packet_data(data);
    g_assert_cmpint(load_be16(data), ==, len - 2);
    PACKET(0, false, 0x51, 0, 0, 0, 0, 0, 0, 0, 34);
    g_assert_cmpint(packet_data(data), ==, 34);
    PACKET(0, false, 0xbe, 0, 0, 0, 0, 9, 0, 0, 1, 0x10);
    g_assert_cmpint(packet_data(data), ==, 2048);
    check_numbers(data, 9, 1, 2048);
    after();
}

static void test_packet_errors(void)
{
    before();
    PACKET(0xfffe, false, 0xee);
    check_sense(5, 0x20);
    PACKET(0xfffe, false, 0x28, 0, 0, 0, 0, CD_BLOCKS - 1, 0, 0, 2);
    check_sense(5, 0x21);
    PACKET(0xfffe, false, 0xa8, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff);
    check_sense(5, 0x21);
    PACKET(0xfffe, false, 0x28, 0, 0, 0, 0, 1, 0, 0, 0); /* of nothing */
    g_assert_cmphex(settle(SECONDARY), ==, READY);
    put(SECONDARY, ATA_FEATURES, ATAPI_OVERLAP);
    put(SECONDARY, ATA_COMMAND, ATA_CMD_PACKET);
    check_failed(SECONDARY, ATA_ABRT);
    PACKET(0xfffe, false, 0x1e, 0, 0, 0, 1); /* locked */
    PACKET(0xfffe, false, 0x1b, 0, 0, 0, 2);
    check_sense(5, 0x53);
    PACKET(0xfffe, false, 0x1e, 0, 0, 0, 0);
    PACKET(0xfffe, false, 0x1b, 0, 0, 0, 2); /* out */
    g_assert_cmphex(settle(SECONDARY), ==, READY);
    PACKET(0xfffe, false, 0x28, 0, 0, 0, 0, 1, 0, 0, 1);
    check_sense(2, 0x3a);
    put(SECONDARY, ATA_COMMAND, ATA_CMD_DEVICE_RESET); /* which leaves it there */
    PACKET(0xfffe, false, 0x25);
    check_sense(2, 0x3a);
    PACKET(0xfffe, false, 0x1b, 0, 0, 0, 3); /* and in */
    PACKET(0xfffe, false, 0x00);
    check_sense(6, 0x28);
    PACKET(0xfffe, false, 0x00);
    g_assert_cmphex(settle(SECONDARY), ==, READY);
    ide_rig_break(&rig);
    PACKET(0xfffe, false, 0x28, 0, 0, 0, 0, 1, 0, 0, 1);
    check_sense(3, 0x11);
    after();
}

static void test_packet_dma(void)
{
    before();
    prd(0, DATA, 2048, false);
    prd(1, DATA + 0x8000, 0, false);
    prd(2, DATA + 0x20000, 0, false);
    prd(3, DATA + 0x40000, 0, true);
    start_master(1, BM_TO_MEMORY);
    PACKET(0, true, 0x28, 0, 0, 0, 0, 20, 0, 0, 80);
    g_assert_cmphex(settle(SECONDARY), ==, READY);
    g_assert_cmpint(get(SECONDARY, ATA_COUNT) & 3, ==, ATAPI_IO | ATAPI_CD);
    g_assert_cmpint(irq_of(SECONDARY)->rises, ==, 1);
    g_assert_cmpuint(mem_load(&rig.t, DATA, 4), ==, 20);
    g_assert_cmpuint(mem_load(&rig.t, DATA + 0x8000, 4), ==, 21);
    g_assert_cmpuint(mem_load(&rig.t, DATA + 0x20000, 4), ==, 53);
    stop_master(1);
    start_master(1, BM_TO_MEMORY);
    PACKET(0, true, 0x12, 0, 0, 0, 36);
    g_assert_cmphex(settle(SECONDARY), ==, READY);
    g_assert_cmpuint(mem_load(&rig.t, DATA + 8, 4), ==, 0x554d4551);
    stop_master(1);
    prd(0, 0xffff0000, 2048, true);
    start_master(1, BM_TO_MEMORY);
    PACKET(0, true, 0x28, 0, 0, 0, 0, 20, 0, 0, 1);
    g_assert_cmphex(master_status(1) & BM_INT, ==, 0);
    ide_rig_settle(&rig);
    check_sense(11, 0);
    g_assert_cmphex(master_status(1), ==, BM_ERROR | BM_INT);
    after();
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ide/packets", test_packets);
    g_test_add_func("/ide/packet-errors", test_packet_errors);
    g_test_add_func("/ide/packet-dma", test_packet_dma);
    return g_test_run();
}
