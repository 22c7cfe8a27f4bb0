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

/* A stretch of linear addresses, and where it lies; all of it in dumped RAM. */
typedef struct DumpMapping {
    uint64_t linear, physical, size;
} DumpMapping;

struct Dump {
    DumpOptions      options;
    GArray          *blocks;   /* DumpBlock, ascending */
    GArray          *mappings; /* DumpMapping; of options.paging */
    GByteArray      *notes;    /* ELF notes of all vCPUs */
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

/* dump_paging.c: fills d->mappings. */
bool dump_find_mappings(Dump *d, Machine *m, Error *err);

/* dump_pack.c: compresses at most 16 KiB and returns how long it became; out has room for dump_pack_bound(size). */
size_t dump_pack_snappy(uint8_t *out, const uint8_t *in, size_t size);
size_t dump_pack_lzo(uint8_t *out, const uint8_t *in, size_t size);

static inline size_t dump_pack_bound(size_t size)
{
    return size + size / 4 + 64;
}

#endif
