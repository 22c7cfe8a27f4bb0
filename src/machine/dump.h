/* Dumps of guest memory for debuggers: ELF cores, and makedumpfile's compressed format. */

#ifndef QUERN_MACHINE_DUMP_H
#define QUERN_MACHINE_DUMP_H

#include "machine/machine.h"

typedef enum DumpFormat { DUMP_ELF, DUMP_KDUMP_ZLIB, DUMP_KDUMP_LZO, DUMP_KDUMP_SNAPPY } DumpFormat;

/* What to write. `fd` is taken. */
typedef struct DumpOptions {
    DumpFormat format;
    bool       raw;    /* kdump: not flattened, for a file that can be sought in */
    bool       paging; /* ELF: segments as the guest's page tables have it */
    int        fd;
    bool       has_range; /* only guest-physical [begin, begin + length) */
    uint64_t   begin, length;
} DumpOptions;

typedef struct Dump Dump;

/* Looks at memory and vCPUs, which stand and go on standing until dump_free(). NULL on error; fd is closed then. */
Dump *dump_new(Machine *m, const DumpOptions *options, Error *err);

/* Writes it all. Any thread, once; no lock needed. */
bool dump_write(Dump *d, Error *err);

/* Makes dump_write() fail soon. Any thread. */
void dump_cancel(Dump *d);

void     dump_free(Dump *d);            /* NULL is fine; closes fd */
uint64_t dump_total(const Dump *d);     /* bytes of guest memory */
uint64_t dump_completed(const Dump *d); /* any thread */

#endif
