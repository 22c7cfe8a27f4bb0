/* qcow2: a new, empty image. Specification: see qcow2.h. */

#include "block/qcow2.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <errno.h>
#include <string.h>

enum { BITS = 16, CLUSTER = 1 << BITS, REFTABLE_CLUSTER = 1, BLOCK_CLUSTER, L1_CLUSTER };

/* Header, table of counts, one block of counts, L1 table: a cluster each, but for the last, which may have more. */
int qcow2_create(BlockNode *file, uint64_t size)
{
    uint64_t reach = (uint64_t)CLUSTER * (CLUSTER / 8), l1_size = (size + reach - 1) / reach;
    uint64_t clusters = L1_CLUSTER + MAX((l1_size * 8 + CLUSTER - 1) >> BITS, 1);
    if (l1_size > QCOW2_MAX_L1_BYTES / 8) {
        return EFBIG;
    }
    g_autofree uint8_t *image = g_malloc0(clusters << BITS);
    store_be32(image, QCOW2_MAGIC);
    store_be32(image + 4, 3);
    store_be32(image + 20, BITS);
    store_be64(image + 24, size);
    store_be32(image + 36, (uint32_t)l1_size);
    store_be64(image + 40, (uint64_t)L1_CLUSTER << BITS);
    store_be64(image + 48, (uint64_t)REFTABLE_CLUSTER << BITS);
    store_be32(image + 56, 1);
    store_be32(image + 96, 4);
    store_be32(image + 100, QCOW2_V3_HEADER);
    store_be64(image + (REFTABLE_CLUSTER << BITS), (uint64_t)BLOCK_CLUSTER << BITS);
    for (uint64_t i = 0; i < clusters; i++) {
        store_be16(image + (BLOCK_CLUSTER << BITS) + i * 2, 1);
    }
    return block_node_write(file, 0, image, clusters << BITS);
}
