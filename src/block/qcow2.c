/* The qcow2 format. */

#include "block/driver.h"

typedef struct Qcow2 {
    BlockNode node;
} Qcow2;

static const Field qcow2_options[] = { BLOCK_NODE_OPTIONS(Qcow2, node), {} };

static bool qcow2_probe(const uint8_t *head, size_t len)
{
    return len >= 8 && !memcmp(head, "QFI\xfb", 4);
}

static bool qcow2_open(BlockNode *n, Error *err)
{
    return error_set_unsupported(err, "qcow2");
}

const BlockDriver block_qcow2 = {
    .name = "qcow2", .size = sizeof(Qcow2), .options = qcow2_options, .open = qcow2_open, .probe = qcow2_probe
};
