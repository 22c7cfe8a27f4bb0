/* Accelerators that the surface knows and Quern does not have. */

#include "accel/accel.h"

#define MISSING(identifier, accel, why)                                                                                \
    ACCEL_TYPE(identifier) = {                                                                                         \
        .name = accel, .parent = "accel", .class = OBJECT_CLASS_ACCEL, .size = sizeof(Accel), .missing = why           \
    }

MISSING(xen, "xen", "Xen's device model");
MISSING(hvf, "hvf", "the hypervisor of macOS");
MISSING(nvmm, "nvmm", "the hypervisor of NetBSD");
MISSING(whpx, "whpx", "the hypervisor of Windows");
