/* The null back end: takes everything, gives nothing. */

#include "char/char.h"

static ssize_t null_write(Chardev *chr, const uint8_t *buf, size_t len)
{
    return (ssize_t)len;
}

CHAR_TYPE(null) = {
    .name   = "null",
    .parent = "chardev",
    .help   = "takes everything, gives nothing",
    .class  = OBJECT_CLASS_CHARDEV,
    .size   = sizeof(Chardev),
    .write  = null_write,
};
