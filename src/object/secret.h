/* Secrets that users make (-object secret): passwords and keys, for what names them by id. Machine lock held. */

#ifndef QUERN_OBJECT_SECRET_H
#define QUERN_OBJECT_SECRET_H

#include "object/object.h"

/* The plain bytes of the secret `id` among the objects below root; they belong to it and go with it. A 0 byte that
 * does not count follows. */
const uint8_t *secret_find(Object *root, const char *id, size_t *len, Error *err);

#endif
