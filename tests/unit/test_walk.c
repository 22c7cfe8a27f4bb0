/* The walk over every device type, on a machine with an ISA and a PCI bus. */

#include "devices/pci/i440fx.h"
#include "devices/virtio/mmio.h"
#include "platform.h"
#include "walk.h"

static const WalkNeed needs[] = {
    { .type = "ide-cd", .refused = "there is no IDE bus" }, /* test_ide.c */
    { .type = "ide-hd", .refused = "there is no IDE bus" },
    { .type = "guest-loader", .refused = "x86 machines have no device tree" },
    { .type    = "pc-dimm",
      .options = "memdev=x",
      .refused = "this machine takes no memory devices" }, /* test_memdevs.c */
    { .type = "loader", .options = "addr=0x1000,data=0,data-len=1" },
    { .type = "nvdimm", .options = "memdev=x", .refused = "this machine takes no memory devices" },
    { .type = "virtio-mem-pci", .options = "memdev=x", .refused = "no memory backend 'x'" }, /* test_virtio_mem.c */
    { .type = "virtio-pmem-pci", .options = "memdev=x", .refused = "this machine takes no memory devices" },
    {},
};

/* Parts of boards that stand by themselves. */
static const char *const parts[] = { "isa-i8259", "isa-pit", "port92", "port80", "i8042" };

static Platform *open_machine(void)
{
    TestPlatform *t   = g_new0(TestPlatform, 1);
    g_auto(Error) err = { 0 };
    test_platform_open(t);
    bus_new(BUS_ISA, "isa.0", NULL, &t->p);
    i440fx_create(&t->p, &t->ram_region, &err);
    for (size_t i = 0; i < G_N_ELEMENTS(parts); i++) {
        if (!device_realize(device_new(&t->p, parts[i]), NULL, &err)) {
            g_error("%s: %s", parts[i], err.text);
        }
    }
    if (!virtio_mmio_create(&t->p, 0, 0xfeb00000, NULL, &err)) {
        g_error("%s", err.text);
    }
    return &t->p;
}

static void close_machine(Platform *platform)
{
    test_platform_close((TestPlatform *)platform);
    g_free(platform);
}

static const WalkMachine machine = { open_machine, close_machine };

static void test_types(void)
{
    walk_types(&machine, needs);
}

static void test_board(void)
{
    walk_board(&machine, needs);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/walk/types", test_types);
    g_test_add_func("/walk/board", test_board);
    return g_test_run();
}
