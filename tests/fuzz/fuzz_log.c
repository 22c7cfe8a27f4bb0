/* -d and -dfilter: the first line of the input is the list of items, the second the filter. */

#include "fuzz.h"

#include "base/log.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_auto(Error) err     = { 0 };
    g_autofree char *text = g_strndup((const char *)data, size);
    char            *line = strchr(text, '\n');
    Log              log  = { 0 };
    if (line) {
        *line   = '\0';
        bool ok = log_parse_filter(&log, line + 1, &err);
        fuzz_check_error(ok, &err);
        for (size_t i = 0; i < log.n_ranges; i++) {
            g_assert(log.ranges[i].first <= log.ranges[i].last);
            g_assert(log_in_range(&log, log.ranges[i].first) && log_in_range(&log, log.ranges[i].last));
        }
    }
    bool ok = log_parse_items(&log, text, &err);
    fuzz_check_error(ok, &err);
    log_close(&log);
    return 0;
}
