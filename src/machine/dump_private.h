/* What the writers of dumps share. */

#ifndef QUERN_MACHINE_DUMP_PRIVATE_H
#define QUERN_MACHINE_DUMP_PRIVATE_H

#include "machine/dump.h"
#include "memory/ram.h"

/* A stretch of guest RAM. */
typedef struct DumpBlock {
    uint64_t  start, size; /* guest-physical; whole pages unless has_range cut it */
    RamBlock *ram;         /* a reference */
    uint64_t  offset;
} DumpBlock;

struct Dump {
    DumpOptions      options;
    GArray          *blocks; /* DumpBlock, ascending */
    GByteArray      *notes;  /* ELF notes of all vCPUs */
    bool             long_mode;
    unsigned         n_cpus;
    uint64_t         total;
    _Atomic uint64_t completed;
    bool             is_file; /* writing does not block for long */
    atomic_bool      cancelled;
};

bool dump_write_elf(Dump *d, Error *err);
bool dump_write_kdump(Dump *d, Error *err);

/* write() all of it. */
bool dump_write_all(Dump *d, const void *data, size_t len, Error *err);

/* dump_notes.c: registers of a vCPU, as NT_PRSTATUS and as QEMU's own note. */
void dump_add_prstatus(GByteArray *notes, const X86Cpu *cpu);
void dump_add_state(GByteArray *notes, const X86Cpu *cpu);

#endif
