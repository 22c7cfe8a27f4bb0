/* The device guest-loader: puts a guest's kernel into memory for a hypervisor that -kernel starts, and tells it where
 * by the device tree. Our boards have none, as no x86 board has, so it says what to do instead. Specification: QEMU 9.1
 * manual, "Guest Loader". */

#include "devices/device.h"

typedef struct GuestLoader {
    Device   dev;
    uint64_t addr;
    char    *kernel, *bootargs, *initrd;
} GuestLoader;

static const Field guest_loader_properties[] = {
    FIELD(GuestLoader, addr, "addr", .help = "where to put the file"),
    FIELD(GuestLoader, kernel, "kernel", .help = "kernel of the guest"),
    FIELD(GuestLoader, bootargs, "bootargs", .help = "its command line"),
    FIELD(GuestLoader, initrd, "initrd", .help = "initial RAM disk of the guest"),
    {},
};

static bool guest_loader_realize(Device *dev, Error *err)
{
    return error_set(err, "x86 machines have no device tree to tell the hypervisor where the guest is; multiboot "
                          "passes it as a module: -kernel HYPERVISOR -initrd \"KERNEL ARGUMENTS,INITRD\"");
}

DEVICE_TYPE(guest_loader) = {
    .name       = "guest-loader",
    .help       = "Guest Loader",
    .class      = OBJECT_CLASS_DEVICE,
    .size       = sizeof(GuestLoader),
    .properties = guest_loader_properties,
    .bus        = BUS_NONE,
    .category   = DEVICE_MISC,
    .realize    = guest_loader_realize,
};
