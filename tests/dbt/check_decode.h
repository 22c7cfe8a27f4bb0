/* The translator's decoder against Zydis: for its unit test and its fuzz target. */

#ifndef QUERN_TESTS_CHECK_DECODE_H
#define QUERN_TESTS_CHECK_DECODE_H

#include "accel/dbt/decode.h"

#include <glib.h>

/* `bytes` has 16. NULL: the decoder leaves them to others, or Zydis sees the same instruction: length, LOCK, operands
 * with their sizes and accesses, immediates, flags. Otherwise what differs, in `why`. *accepted: it has decoded them.
 */
const char *check_decode(const DbtMode *mode, const uint8_t bytes[16], unsigned avail, char why[256], bool *accepted);

/* One of the modes that the translator meets, with all or some features, by number. */
DbtMode check_decode_mode(unsigned number);

#endif
