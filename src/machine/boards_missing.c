/* Boards that people name and Quern does not build yet: -machine says so instead of not knowing them. */

#include "machine/machine.h"

#define MISSING(identifier, type_name)                                                                                 \
    MACHINE_TYPE(identifier) = {                                                                                       \
        .name    = type_name,                                                                                          \
        .class   = OBJECT_CLASS_MACHINE,                                                                               \
        .size    = sizeof(Machine),                                                                                    \
        .missing = "not built yet",                                                                                    \
    };
#define MISSING_ALIAS(identifier, type_name, other)                                                                    \
    MACHINE_TYPE(identifier) = {                                                                                       \
        .name    = type_name,                                                                                          \
        .class   = OBJECT_CLASS_MACHINE,                                                                               \
        .size    = sizeof(Machine),                                                                                    \
        .alias   = other,                                                                                              \
        .missing = "not built yet",                                                                                    \
    };
/* clang-format off */
#define VERSIONS(V) \
    V(2, 4) V(2, 5) V(2, 6) V(2, 7) V(2, 8) V(2, 9) V(2, 10) V(2, 11) V(2, 12) V(3, 0) V(3, 1) V(4, 0) V(4, 1) \
    V(4, 2) V(5, 0) V(5, 1) V(5, 2) V(6, 0) V(6, 1) V(6, 2) V(7, 0) V(7, 1) V(7, 2) V(8, 0) V(8, 1) V(8, 2) V(9, 0)
/* clang-format on */
#define I440FX(a, b) MISSING(i440fx_##a##_##b, "pc-i440fx-" #a "." #b)
#define Q35(a, b)    MISSING(q35_##a##_##b, "pc-q35-" #a "." #b)

VERSIONS(I440FX)
VERSIONS(Q35)
MISSING(q35_4_0_1, "pc-q35-4.0.1")
MISSING(x_remote, "x-remote")
MISSING_ALIAS(xenfv_4_2, "xenfv-4.2", "xenfv")
MISSING(xenfv_3_1, "xenfv-3.1")
MISSING(xenpv, "xenpv")
MISSING(xenpvh, "xenpvh")
