/* What the tests of guest-physical memory share: an address space, and a device in it. */

#ifndef QUERN_TESTS_MEMORY_RIG_H
#define QUERN_TESTS_MEMORY_RIG_H

#include "memory/memory.h"
#include "memory/ram.h"

/* A machine with one address space of 2^64 bytes; everything under the machine lock unless a test says otherwise. */
typedef struct Rig {
    MachineLock   lock;
    Memory       *memory;
    Region        root;
    AddressSpace *as;
} Rig;

/* A device that remembers the accesses it gets as text: "r4@10 w2@8=1234 ". Reads give offset bytes. */
typedef struct Probe {
    Region   region;
    IoOps    ops;
    GString *seen;
    Rig     *rig;
    void (*inside)(struct Probe *p); /* called from within callbacks */
} Probe;

void rig_open(Rig *rig);
void rig_close(Rig *rig);

RamBlock *ram_new(uint64_t size);
/* Unmaps it, if it is mapped, and destroys it. */
void region_drop(Region *r);

/* The first and last address of what is at addr, and its region. */
void expect_range(Rig *rig, uint64_t addr, Region *r, uint64_t offset, uint64_t len);

void probe_open(Probe *p, Rig *rig, uint64_t size, unsigned access, unsigned accept, bool unaligned);
void probe_close(Probe *p);
/* The accesses since it was asked last. */
void expect_seen(Probe *p, const char *text);

#endif
