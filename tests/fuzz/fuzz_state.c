/* Saved state. What loads saves as something that loads again and saves the same. */

#include "desc/state.h"
#include "fuzz.h"
#include "sample.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_auto(Error) err = { 0 };
    Sample sample     = { 0 };
    bool   ok         = state_load(sample_state, &sample, data, size, &err);
    fuzz_check_error(ok, &err);
    g_autoptr(GByteArray) first = g_byte_array_new();
    state_save(sample_state, &sample, first);
    if (ok) {
        g_autoptr(GByteArray) second = g_byte_array_new();
        Sample again                 = { 0 };
        ok                           = state_load(sample_state, &again, first->data, first->len, &err);
        if (!ok) {
            g_error("%s", err.text);
        }
        state_save(sample_state, &again, second);
        g_assert(first->len == second->len && !memcmp(first->data, second->data, first->len));
        fields_clear(sample_state, &again);
    }
    fields_clear(sample_state, &sample);
    return 0;
}
