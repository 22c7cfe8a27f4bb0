/* Linear pages that lie side by side in host memory, or are made to: see runs.c and windows.c. */

#ifndef QUERN_ACCEL_DBT_RUNS_H
#define QUERN_ACCEL_DBT_RUNS_H

#include "accel/dbt/dbt.h"

/* --- runs.c --- */
void dbt_runs_flush(DbtFrame *f, bool writes_only);
void dbt_runs_flush_page(DbtFrame *f, uint64_t page);

/* The longest run around an address, as far as the TLB knows its pages; empty when it does not know that one. */
DbtRun dbt_run_around(DbtFrame *f, uint64_t linear, bool write);
void   dbt_run_find(DbtFrame *f, unsigned entry, uint64_t linear, bool write); /* that into an entry */

/* The pages around an address that the TLB knows, wherever they lie: a window could show them. */
DbtRun dbt_run_possible(DbtFrame *f, uint64_t linear, bool write);

/* --- windows.c: pages that do not lie side by side are mapped that way a second time --- */
enum { DBT_WINDOW_PAGES = 64, DBT_WINDOWS = 32 };

typedef struct DbtWindow {
    uint64_t       start; /* linear */
    unsigned       n;     /* pages; 0: unused */
    uint8_t       *host;
    const uint8_t *pages[DBT_WINDOW_PAGES]; /* where they lie, as X86TlbPage.host */
    RamBlock      *ram;                     /* a reference: all are its */
} DbtWindow;

struct DbtWindows {
    uint8_t  *area;
    unsigned  next;
    DbtWindow window[DBT_WINDOWS];
};

/* Makes a window of what is possible around an address, if that is better than the run there. Parked, lock not held;
 * true: others may have run meanwhile. */
bool dbt_window_make(DbtFrame *f, uint64_t linear, bool write);
void dbt_windows_free(DbtFrame *f);

#endif
