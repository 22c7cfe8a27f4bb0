/* The translator's decoder: what it accepts must be the same to Zydis. The first byte of the input chooses the mode,
 * the second how many of the bytes that follow may be looked at. */

#include "fuzz.h"

#include "../dbt/check_decode.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t bytes[16] = { 0 };
    char    why[256];
    bool    accepted;
    if (size < 3) {
        return 0;
    }
    memcpy(bytes, data + 2, MIN(size - 2, sizeof bytes));
    DbtMode     mode = check_decode_mode(data[0]);
    const char *bad  = check_decode(&mode, bytes, data[1] % 2 ? 15 : data[1] / 2 % 16, why, &accepted);
    if (bad) {
        g_error("%s", bad);
    }
    return 0;
}
