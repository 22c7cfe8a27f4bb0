/* What a fuzz target defines and may use. */

#ifndef QUERN_FUZZ_H
#define QUERN_FUZZ_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

/* libFuzzer's entry point, called once an input: must not leak, keep state, or write anywhere but to memory. A
 * property that does not hold ends in g_assert. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An error is set if and only if the call failed, and is one line. Clears it. */
static inline void fuzz_check_error(bool ok, Error *err)
{
    g_assert(ok != error_is_set(err));
    if (!ok) {
        g_assert(*err->text);
        for (const char *p = err->text; *p; p++) {
            g_assert(*p != '\n' && *p != '\r');
        }
    }
    error_clear(err);
}

#endif
