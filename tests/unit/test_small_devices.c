/* The small devices: isa-debug-exit, pvpanic, port 92h, 80h and F0h, pc-testdev, edu, pci-testdev. */

#include "base/optstr.h"
#include "devices/misc/coprocessor.h"
#include "devices/misc/port92.h"
#include "devices/pci/piix3.h"
#include "platform.h"

#include <string.h>

typedef struct Rig {
    TestPlatform t;
    PciHost     *host;
} Rig;

static void open_rig(Rig *r)
{
    g_auto(Error) err = {};
    test_platform_open(&r->t);
    r->host = i440fx_create(&r->t.p, &r->t.ram_region, &err);
    g_assert_nonnull(piix3_create(&r->t.p, r->host, &err));
}

static Device *add(Rig *r, const char *options)
{
    g_auto(Error) err    = {};
    g_autoptr(Json) json = optstr_parse(options, "driver", &err);
    Device *dev          = device_create(&r->t.p, json, true, &err);
    g_assert_nonnull(dev);
    devices_reset(&r->t.p, RESET_COLD);
    return dev;
}

static void test_debug_exit(void)
{
    g_auto(Error) err    = {};
    g_autoptr(Json) json = optstr_parse("isa-debug-exit,iobase=0xfffe,iosize=4", "driver", &err);
    Rig r;
    open_rig(&r);
    g_assert_null(device_create(&r.t.p, json, true, &err));
    g_assert_nonnull(strstr(err.text, "beyond port 0xffff"));
    add(&r, "isa-debug-exit,iobase=0xf4,iosize=4");
    out32(&r.t, 0xf4, 0x21);
    g_assert_cmpuint(r.t.shutdowns, ==, 1);
    g_assert_cmpint(r.t.exit_code, ==, 0x43);
    g_assert_cmpint(r.t.shutdown_cause, ==, SHUTDOWN_GUEST_EXIT);
    test_platform_close(&r.t);
}

static void test_pvpanic(void)
{
    Rig r;
    open_rig(&r);
    add(&r, "pvpanic,events=1");
    g_assert_cmphex(in8(&r.t, 0x505), ==, 1);
    out8(&r.t, 0x505, 2); /* not offered */
    g_assert_cmpuint(r.t.panics, ==, 0);
    out8(&r.t, 0x505, 1);
    g_assert_cmpuint(r.t.panics, ==, 1);
    test_platform_close(&r.t);
}

static void test_port92(void)
{
    g_auto(Error) err = {};
    TestPin a20;
    Rig     r;
    open_rig(&r);
    test_pin_init(&a20);
    Port92 *port = port92_create(&r.t.p, &a20.pin, &err);
    error_clear(&err);
    g_assert_true(port80_create(&r.t.p, &err));
    devices_reset(&r.t.p, RESET_COLD);
    g_assert_cmphex(in8(&r.t, 0x92), ==, 2);
    out8(&r.t, 0x92, 0);
    g_assert_cmpint(a20.level, ==, 0);
    test_save_load((Device *)port);
    out8(&r.t, 0x92, 3);
    g_assert_cmpuint(r.t.resets, ==, 1);
    out8(&r.t, 0x92, 3); /* only the change counts */
    g_assert_cmpuint(r.t.resets, ==, 1);
    out8(&r.t, 0x80, 0x5a);
    g_assert_cmphex(in8(&r.t, 0x80), ==, 0x5a);
    out8(&r.t, 0xed, 0);
    test_platform_close(&r.t);
}

static void test_coprocessor(void)
{
    g_auto(Error) err = {};
    TestPin irq, ignne;
    Rig     r;
    open_rig(&r);
    test_pin_init(&irq);
    test_pin_init(&ignne);
    r.t.p.isa_irq[13] = &irq.pin;
    IrqPin *ferr      = coprocessor_create(&r.t.p, &ignne.pin, &err);
    IrqLine line      = { .to = ferr };
    error_clear(&err);
    devices_reset(&r.t.p, RESET_COLD);
    out8(&r.t, 0xf0, 0); /* no error: nothing to ignore */
    g_assert_true(irq.level == 0 && ignne.level == 0);
    irq_set(&line, 1);
    g_assert_true(irq.level == 1 && ignne.level == 0);
    out8(&r.t, 0xf0, 0);
    g_assert_true(irq.level == 0 && ignne.level == 1);
    irq_set(&line, 0);
    g_assert_true(irq.level == 0 && ignne.level == 0);
    irq_set(&line, 1); /* the interrupt stays when the error goes */
    irq_set(&line, 0);
    g_assert_cmpint(irq.level, ==, 1);
    out8(&r.t, 0xf0, 0);
    g_assert_true(irq.level == 0 && ignne.level == 0);
    irq_set(&line, 1);
    devices_reset(&r.t.p, RESET_COLD);
    g_assert_true(irq.level == 0 && ignne.level == 0);
    test_platform_close(&r.t);
}

static void test_pc_testdev(void)
{
    Rig r;
    open_rig(&r);
    Device *dev = add(&r, "pc-testdev");
    out32(&r.t, 0xe0, 0x12345678);
    g_assert_cmphex(in8(&r.t, 0xe1), ==, 0x56);
    out16(&r.t, 0xe2, 0xabcd);
    g_assert_cmphex(in32(&r.t, 0xe0), ==, 0xabcd5678);
    out8(&r.t, 0x2005, 1);
    g_assert_cmpint(r.t.gsi[5].level, ==, 1);
    out8(&r.t, 0x2005, 0);
    g_assert_cmpint(r.t.gsi[5].level, ==, 0);
    mem_store(&r.t, 0xff000010, 0x1122334455667788, 8);
    g_assert_cmphex(mem_load(&r.t, 0xff000014, 4), ==, 0x11223344);
    test_save_load(dev);
    test_platform_close(&r.t);
}

/* Maps BAR 0 of slot 4 at F0000000h and turns memory, I/O and bus mastering on. */
static PciDevice *add_pci(Rig *r, const char *options)
{
    PciDevice *pci = (PciDevice *)add(r, options);
    pci_config_write(pci, PCI_BAR0, 0xf0000000, 4);
    pci_config_write(pci, PCI_COMMAND, 7, 2);
    return pci;
}

static uint64_t reg(unsigned offset)
{
    return 0xf0000000 + offset;
}

static void test_edu_registers(void)
{
    Rig r;
    open_rig(&r);
    PciDevice *edu = add_pci(&r, "edu,addr=4");
    g_assert_cmphex(mem_load(&r.t, reg(0), 4), ==, 0x010000ed);
    g_assert_cmphex(mem_load(&r.t, reg(0), 8), ==, UINT64_MAX); /* only 32 bits here */
    mem_store(&r.t, reg(4), 0x0f0f0f0f, 4);
    g_assert_cmphex(mem_load(&r.t, reg(4), 4), ==, 0xf0f0f0f0);
    mem_store(&r.t, reg(0x20), 0x80, 4);
    mem_store(&r.t, reg(8), 10, 4);
    g_assert_cmphex(mem_load(&r.t, reg(0x20), 4), ==, 0x81);
    test_step(&r.t, NS_PER_MS);
    g_assert_cmpuint(mem_load(&r.t, reg(8), 4), ==, 3628800);
    g_assert_cmphex(mem_load(&r.t, reg(0x24), 4), ==, 1);
    g_assert_true(edu->irq_asserted);
    mem_store(&r.t, reg(0x64), 1, 4);
    g_assert_false(edu->irq_driven);
    mem_store(&r.t, reg(8), 0xffffffff, 4); /* no loop of four billion rounds */
    test_step(&r.t, NS_PER_MS);
    g_assert_cmpuint(mem_load(&r.t, reg(8), 4), ==, 0);
    mem_store(&r.t, reg(8), 5, 4);
    test_save_load((Device *)edu); /* while it computes */
    test_step(&r.t, NS_PER_MS);
    g_assert_cmpuint(mem_load(&r.t, reg(8), 4), ==, 120);
    test_platform_close(&r.t);
}

static void edu_dma(Rig *r, uint64_t src, uint64_t dst, uint64_t count, uint64_t command)
{
    mem_store(&r->t, reg(0x80), src, 8);
    mem_store(&r->t, reg(0x88), dst, 8);
    mem_store(&r->t, reg(0x90), count, 8);
    mem_store(&r->t, reg(0x98), command, 8);
    g_assert_cmphex(mem_load(&r->t, reg(0x98), 8) & 1, ==, 1);
    test_step(&r->t, NS_PER_MS);
    g_assert_cmphex(mem_load(&r->t, reg(0x98), 8) & 1, ==, 0);
}

static void test_edu_dma(void)
{
    Rig r;
    open_rig(&r);
    add_pci(&r, "edu,addr=4");
    mem_store(&r.t, 0x10000, 0xdeadbeefcafef00d, 8);
    edu_dma(&r, 0x10000, 0x40000, 8, 1);
    edu_dma(&r, 0x40000, 0x20000, 8, 1 | 2 | 4);
    g_assert_cmphex(mem_load(&r.t, 0x20000, 8), ==, 0xdeadbeefcafef00d);
    g_assert_cmphex(mem_load(&r.t, reg(0x24), 4), ==, 0x100);
    /* What does not fit into the device's buffer, or wraps, moves nothing. */
    mem_store(&r.t, 0x20000, 0, 8);
    edu_dma(&r, 0x40ffc, 0x20000, 8, 1 | 2);
    edu_dma(&r, 0x3ffff, 0x20000, 8, 1 | 2);
    edu_dma(&r, 0x40000, 0x20000, UINT64_MAX, 1 | 2);
    edu_dma(&r, UINT64_MAX - 3, 0x20000, 8, 1 | 2);
    g_assert_cmphex(mem_load(&r.t, 0x20000, 8), ==, 0);
    /* Its own registers are no memory. */
    edu_dma(&r, 0x40000, 0xf0000004, 4, 1 | 2);
    test_platform_close(&r.t);
}

static void test_edu_msi(void)
{
    Rig r;
    open_rig(&r);
    PciDevice *edu = add_pci(&r, "edu,addr=4");
    unsigned   msi = pci_find_capability(edu, PCI_CAP_MSI);
    g_assert_cmpuint(msi, !=, 0);
    pci_config_write(edu, msi + 4, 0xfee00000, 4);
    pci_config_write(edu, msi + 12, 0x4041, 2);
    pci_config_write(edu, msi + 2, 1, 2);
    mem_store(&r.t, reg(0x60), 2, 4);
    g_assert_cmpuint(r.t.msis, ==, 1);
    g_assert_cmphex(r.t.msi_data, ==, 0x4041);
    g_assert_false(edu->irq_driven);
    test_platform_close(&r.t);
}

static void test_pci_testdev(void)
{
    Rig r;
    open_rig(&r);
    PciDevice *dev = add_pci(&r, "pci-testdev,addr=4");
    g_assert_cmphex(mem_load(&r.t, reg(1), 1), ==, 0);
    for (unsigned test = 0; test < 3; test++) {
        mem_store(&r.t, reg(0), test, 1);
        g_assert_cmphex(mem_load(&r.t, reg(1), 1), ==, 1);
        uint32_t offset = (uint32_t)mem_load(&r.t, reg(4), 4), data = (uint32_t)mem_load(&r.t, reg(8), 4);
        for (unsigned i = 0; i < 5; i++) {
            mem_store(&r.t, reg(offset), data, 1);
        }
        g_assert_cmpuint(mem_load(&r.t, reg(12), 4), ==, 5);
        g_assert_cmpint((int)mem_load(&r.t, reg(16), 1), ==, 'm');
    }
    mem_store(&r.t, reg(0), 3, 1);
    g_assert_cmphex(mem_load(&r.t, reg(1), 1), ==, 0); /* the list ends */
    test_save_load((Device *)dev);
    test_platform_close(&r.t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/small-devices/debug-exit", test_debug_exit);
    g_test_add_func("/small-devices/pvpanic", test_pvpanic);
    g_test_add_func("/small-devices/port92", test_port92);
    g_test_add_func("/small-devices/coprocessor", test_coprocessor);
    g_test_add_func("/small-devices/pc-testdev", test_pc_testdev);
    g_test_add_func("/small-devices/edu-registers", test_edu_registers);
    g_test_add_func("/small-devices/edu-dma", test_edu_dma);
    g_test_add_func("/small-devices/edu-msi", test_edu_msi);
    g_test_add_func("/small-devices/pci-testdev", test_pci_testdev);
    return g_test_run();
}
