/* See ide_rig.h. */

#include "ide_rig.h"

#include "base/bytes.h"
#include "base/optstr.h"
#include "devices/pci/i440fx.h"
#include "devices/storage/piix3_ide.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const struct {
    const char *type, *bus, *options;
    unsigned    blocks, block;
} drives[] = {
    { "ide-hd", "ide.0", "if=none,format=raw,id=d0", DISK_SECTORS, 512 },
    { "ide-hd", "ide.0", "if=none,format=raw,id=d1", OTHER_SECTORS, 512 },
    { "ide-cd", "ide.1", "if=none,format=raw,media=cdrom,id=d2", CD_BLOCKS, 2048 },
};

static int open_image(void *opaque, const char *path, int flags, int mode)
{
    IdeRig *rig        = opaque;
    return rig->opened = open(path, flags, mode);
}

void ide_rig_break(IdeRig *rig)
{
    int ends[2];
    g_assert_cmpint(pipe(ends), ==, 0);
    dup2(ends[0], rig->opened);
    close(ends[0]);
    close(ends[1]);
}

static int make_image(unsigned blocks, unsigned block)
{
    int                 fd   = memfd_create("image", MFD_CLOEXEC);
    g_autofree uint8_t *data = g_malloc0((size_t)blocks * block);
    for (unsigned n = 0; n < blocks; n++) {
        store_le32(data + (size_t)n * block, n);
    }
    g_assert_cmpint(write(fd, data, (size_t)blocks * block), ==, (ssize_t)blocks * block);
    return fd;
}

static void add_drive(IdeRig *rig, unsigned n)
{
    g_auto(Error) err       = {};
    rig->images[n]          = make_image(drives[n].blocks, drives[n].block);
    g_autofree char *text   = g_strdup_printf("%s,file=/proc/self/fd/%d", drives[n].options, rig->images[n]);
    g_autoptr(Json) options = optstr_parse(text, NULL, &err);
    if (!drive_add(rig->hub, options, true, &err)) {
        g_error("%s: %s", text, err.text);
    }
    g_autofree char *id   = g_strdup_printf("d%u", n);
    g_autoptr(Json) drive = json_new_string(id);
    rig->drives[n]        = device_new(&rig->t.p, drives[n].type);
    if (!object_set(&rig->drives[n]->obj, "drive", drive, false, &err) ||
        !device_realize(rig->drives[n], bus_find(&rig->t.p, BUS_IDE, drives[n].bus, &err), &err)) {
        g_error("%s: %s", text, err.text);
    }
}

void ide_rig_open(IdeRig *rig)
{
    g_auto(Error) err = {};
    *rig              = (IdeRig){};
    Platform *p       = &rig->t.p;
    test_platform_open(&rig->t);
    rig->t.log.items = 0;
    rig->hub = p->block = block_hub_new(p->loop, &(BlockHost){ .open = open_image, .opaque = rig }, &err);
    g_assert_nonnull(rig->hub);
    rig->bus = i440fx_create(p, &rig->t.ram_region, &err)->bus;
    rig->ide = piix3_ide_create(p, rig->bus, IDE_DEVFN, &err);
    g_assert_nonnull(rig->ide);
    for (unsigned n = 0; n < G_N_ELEMENTS(drives); n++) {
        add_drive(rig, n);
    }
    devices_reset(p, RESET_COLD);
    ide_rig_configure(rig);
}

void ide_rig_close(IdeRig *rig)
{
    devices_free(&rig->t.p);
    block_hub_free(rig->hub);
    for (unsigned n = 0; n < G_N_ELEMENTS(drives); n++) {
        close(rig->images[n]);
    }
    test_platform_close(&rig->t);
}

void ide_rig_configure(IdeRig *rig)
{
    pci_bus_config_write(rig->bus, 0, IDE_DEVFN, PIIX3_IDETIM, (uint32_t)PIIX3_IDETIM_IDE << 16 | PIIX3_IDETIM_IDE, 4);
    pci_bus_config_write(rig->bus, 0, IDE_DEVFN, PCI_BAR0 + 16, BM_PORTS, 4);
    pci_bus_config_write(rig->bus, 0, IDE_DEVFN, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MASTER, 2);
}

void ide_rig_settle(IdeRig *rig)
{
    block_hub_drain(rig->hub);
}
