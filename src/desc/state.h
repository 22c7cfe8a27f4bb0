/* Saved state: walks a Field table and writes members in Quern's own format, and back.
 *
 * Keyed by field name, sized, big-endian: a loader skips what it does not know and leaves at its reset value what is
 * absent. Never host pointers. Timers save their deadline. Every loaded value is validated before it is used. */

#ifndef QUERN_DESC_STATE_H
#define QUERN_DESC_STATE_H

#include "desc/field.h"

/* Appends the fields of `object` to `out`. */
void state_save(const Field *table, const void *object, GByteArray *out);

/* Loads from `data`; false with an error that names the field. The object may then be half loaded: reset it. */
bool state_load(const Field *table, void *object, const uint8_t *data, size_t len, Error *err);

#endif
