/* Back ends that the surface knows and Quern does not have yet. */

#include "char/char.h"

#define MISSING(identifier, backend, why, ...)                                                                         \
    CHAR_TYPE(identifier) = { .name    = backend,                                                                      \
                              .parent  = "chardev",                                                                    \
                              .class   = OBJECT_CLASS_CHARDEV,                                                         \
                              .size    = sizeof(Chardev),                                                              \
                              .missing = why,                                                                          \
                              __VA_ARGS__ }

MISSING(wctablet, "wctablet", "Wacom serial tablet");
MISSING(braille, "braille", "Braille display");
MISSING(spicevmc, "spicevmc", "SPICE channel");
MISSING(spiceport, "spiceport", "SPICE port");
MISSING(vdagent, "qemu-vdagent", "clipboard agent");
MISSING(dbus, "dbus", "D-Bus display");
MISSING(hub, "hub", "one front end on several back ends");
MISSING(console, "console", "Windows console");
MISSING(testdev, "testdev", "test device");
