/* pci-testdev: low-level I/O tests through a memory BAR and an I/O BAR.
 * Specification: QEMU's docs/specs/pci-testdev: each BAR begins with a header; writing a test number to its first byte
 * selects what the read-only fields describe; a width of 0 ends the list. Machine lock. */

#include "base/bytes.h"
#include "devices/pci/pci.h"

#include <stdio.h>
#include <string.h>

enum { N_TESTS = 3, MEM_BAR_SIZE = 4096, IO_BAR_SIZE = 256, TEST_DATA = 0xfa, NO_TEST = 0xff };

/* Where a BAR's header keeps its members. */
enum {
    HEADER_TEST   = 0,
    HEADER_WIDTH  = 1,
    HEADER_OFFSET = 4,
    HEADER_DATA   = 8,
    HEADER_COUNT  = 12,
    HEADER_NAME   = 16,
    HEADER_SIZE   = 64
};

typedef struct TestBar {
    Region      region;
    const char *kind; /* "mmio", "portio" */
    uint32_t    size;
    uint8_t     test; /* NO_TEST: none selected */
    uint32_t    count;
} TestBar;

typedef struct PciTestDev {
    PciDevice pci;
    TestBar   mem, io;
    uint64_t  membar; /* property: size of BAR 2; 0: none */
    Region    space;
} PciTestDev;

static const char *const test_names[N_TESTS] = { "no-eventfd", "wildcard-eventfd", "datamatch-eventfd" };

/* Each test writes one byte at its own place behind the header. */
static uint32_t test_offset(unsigned test)
{
    return HEADER_SIZE + 8 * test;
}

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned size)
{
    TestBar *bar                 = opaque;
    uint8_t  header[HEADER_SIZE] = { 0 };
    if (bar->test < N_TESTS) {
        header[HEADER_TEST]  = bar->test;
        header[HEADER_WIDTH] = 1;
        store_le32(header + HEADER_OFFSET, test_offset(bar->test));
        store_le32(header + HEADER_DATA, TEST_DATA);
        store_le32(header + HEADER_COUNT, bar->count);
        snprintf((char *)header + HEADER_NAME, HEADER_SIZE - HEADER_NAME, "%s-%s", bar->kind, test_names[bar->test]);
    }
    return offset + size <= HEADER_SIZE ? load_le(header + offset, size) : 0;
}

static void bar_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    TestBar *bar = opaque;
    if (offset == HEADER_TEST) {
        bar->test  = value < N_TESTS ? (uint8_t)value : NO_TEST;
        bar->count = 0;
    } else if (bar->test < N_TESTS && offset == test_offset(bar->test) && (uint8_t)value == TEST_DATA) {
        bar->count++;
    }
}

static const IoOps bar_ops = {
    .name = "pci-testdev", .access = IO_BYTE | IO_WORD | IO_LONG, .read = bar_read, .write = bar_write
};

static uint64_t space_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0;
}

static void space_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static const IoOps space_ops = {
    .name = "pci-testdev-membar", .access = IO_ANY, .read = space_read, .write = space_write
};

static bool testdev_realize(Device *dev, Error *err)
{
    PciTestDev *t = (PciTestDev *)dev;
    if (t->membar && (t->membar < 16 || (t->membar & (t->membar - 1)))) {
        return error_set(err, "membar must be a power of two of at least 16");
    }
    t->mem = (TestBar){ .kind = "mmio", .size = MEM_BAR_SIZE };
    t->io  = (TestBar){ .kind = "portio", .size = IO_BAR_SIZE };
    region_init_io(&t->mem.region, dev->platform->memory, "pci-testdev-mmio", MEM_BAR_SIZE, &bar_ops, &t->mem);
    region_init_io(&t->io.region, dev->platform->memory, "pci-testdev-portio", IO_BAR_SIZE, &bar_ops, &t->io);
    pci_add_bar(&t->pci, 0, PCI_BAR_MEM32, false, &t->mem.region);
    pci_add_bar(&t->pci, 1, PCI_BAR_IO, false, &t->io.region);
    if (t->membar) {
        region_init_io(&t->space, dev->platform->memory, "pci-testdev-membar", t->membar, &space_ops, t);
        pci_add_bar(&t->pci, 2, PCI_BAR_MEM64, true, &t->space);
    }
    return true;
}

static void testdev_unrealize(Device *dev)
{
    PciTestDev *t = (PciTestDev *)dev;
    region_destroy(&t->mem.region);
    region_destroy(&t->io.region);
    if (t->membar) {
        region_destroy(&t->space);
    }
}

static void testdev_reset(Device *dev, ResetKind kind)
{
    PciTestDev *t = (PciTestDev *)dev;
    pci_device_reset(dev, kind);
    t->mem.test = t->io.test = NO_TEST;
    t->mem.count = t->io.count = 0;
}

static const Field testdev_properties[] = {
    PCI_PROPERTIES(PciTestDev, pci),
    FIELD(PciTestDev, membar, "membar", .size_unit = 1,
          .help = "size of a 64-bit memory BAR without anything behind it"),
    {},
};

static const Field testdev_state[] = {
    PCI_STATE(PciTestDev, pci),
    FIELD(PciTestDev, mem.test, "mem-test"),
    FIELD(PciTestDev, mem.count, "mem-count"),
    FIELD(PciTestDev, io.test, "io-test"),
    FIELD(PciTestDev, io.count, "io-count"),
    {},
};

static const PciDeviceInfo testdev_info = { .vendor_id = 0x1b36, .device_id = 0x0005, .class_code = 0x00ff00 };

DEVICE_TYPE(pci_testdev) = {
    .name       = "pci-testdev",
    .help       = "PCI device to test low-level I/O with",
    .class      = OBJECT_CLASS_DEVICE,
    .size       = sizeof(PciTestDev),
    .properties = testdev_properties,
    .bus        = BUS_PCI,
    .category   = DEVICE_MISC,
    .bus_info   = &testdev_info,
    .state      = testdev_state,
    .realize    = testdev_realize,
    .unrealize  = testdev_unrealize,
    .reset      = testdev_reset,
    .post_load  = pci_device_post_load,
};
