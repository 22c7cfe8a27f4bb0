/* Guest-physical address spaces.
 *
 * A Region is RAM, ROM, a ROM device, I/O or a container; regions nest, overlap by priority and are aliased. An
 * AddressSpace flattens the tree below its root into a sorted map, published with RCU: readers (vCPUs, DMA) take
 * no lock. The tree itself changes under the machine lock, inside memory_begin()/memory_commit().
 *
 * I/O callbacks run under the machine lock unless the region says `lockless`; they see only offsets inside the
 * region, and sizes and alignments that their IoOps declares: the bus splits or widens the rest. */

#ifndef QUERN_MEMORY_MEMORY_H
#define QUERN_MEMORY_MEMORY_H

#include "base/error.h"
#include "base/log.h"
#include "loop/lock.h"

#include <stdint.h>
#include <sys/types.h>

typedef struct Region       Region;
typedef struct AddressSpace AddressSpace;
typedef struct RamBlock     RamBlock;
typedef struct Memory       Memory; /* all address spaces of one machine */

typedef enum MemResult {
    MEM_OK,
    MEM_UNMAPPED, /* nothing there: reads as all ones, writes are dropped */
    MEM_REFUSED,  /* the device refused the access (size, alignment, read-only) */
    MEM_NOT_RAM,  /* dma_*: the address reaches a device */
} MemResult;

/* Sizes are bits: a handler that takes 1 and 4 bytes says IO_BYTE | IO_LONG. */
enum { IO_BYTE = 1, IO_WORD = 2, IO_LONG = 4, IO_QUAD = 8, IO_ANY = 15 };

/* How an access meets `access` and `unaligned`. It is cut into the largest pieces that the callbacks take, low
 * address first. A read that is smaller than every size (or not aligned to it) reads the unit around it and takes
 * its bytes out. A write like that is refused, unless `accept` names its size: then the unit is written with the
 * bytes in their place and zeros in the others. An access is refused before the first callback or not at all. */
typedef struct IoOps {
    const char *name;
    uint8_t     access;    /* IO_* sizes the callbacks take; the bus splits larger and (reads) widens smaller ones */
    uint8_t     accept;    /* IO_* sizes a guest may use; 0 = all. Others read as ones and are dropped, and logged */
    bool        unaligned; /* callbacks also take accesses that are not aligned to their size */
    bool        lockless;  /* callbacks run without the machine lock, on any thread, several at a time */
    bool        dma_safe;  /* callbacks start no DMA and raise no interrupt: other devices' DMA may reach them */
    uint64_t (*read)(void *opaque, uint64_t offset, unsigned size);
    void (*write)(void *opaque, uint64_t offset, uint64_t value, unsigned size);
} IoOps;

typedef enum RegionKind {
    REGION_CONTAINER,
    REGION_RAM,
    REGION_ROM,
    REGION_ROM_DEVICE,
    REGION_IO,
    REGION_ALIAS
} RegionKind;

/* Embedded in its owner; the fields are memory.c's. Sizes may be 2^64 (UINT64_MAX then means 2^64). */
struct Region {
    Memory      *memory;
    const char  *name; /* must outlive the region */
    RegionKind   kind;
    bool         enabled, readonly, rom_mode, mapped;
    int          priority;
    uint64_t     addr, size; /* addr: offset inside the parent */
    RamBlock    *ram;
    uint64_t     ram_offset;
    const IoOps *ops;
    void        *opaque;
    Region      *alias;
    uint64_t     alias_offset;
    Region      *parent;
    GPtrArray   *children;  /* by priority, highest first; among equals the one mapped last */
    unsigned     n_aliases; /* regions that are aliases of this one */
    unsigned     n_spaces;  /* address spaces that have it as their root */

    _Atomic unsigned callbacks; /* that run now, see access.c */
};

/* One machine's memory: the lock under which I/O callbacks run. `lock` is borrowed. */
Memory *memory_new(MachineLock *lock);
void    memory_free(Memory *memory); /* all regions and address spaces are gone by then */

/* Where accesses that are refused are told (LOG_GUEST_ERRORS). Borrowed; NULL, as at first, for nowhere. */
void memory_set_log(Memory *memory, const Log *log);

void region_init_container(Region *r, Memory *m, const char *name, uint64_t size);
void region_init_io(Region *r, Memory *m, const char *name, uint64_t size, const IoOps *ops, void *opaque);
/* RAM and ROM take a reference of `ram` and show [offset, offset + size) of it. */
void region_init_ram(Region *r, Memory *m, const char *name, RamBlock *ram, uint64_t offset, uint64_t size);
void region_init_rom(Region *r, Memory *m, const char *name, RamBlock *ram, uint64_t offset, uint64_t size);
/* Reads see the RAM while rom_mode is on; writes, and reads while it is off, go to ops. */
void region_init_rom_device(Region *r, Memory *m, const char *name, RamBlock *ram, const IoOps *ops, void *opaque);
void region_init_alias(Region *r, Memory *m, const char *name, Region *target, uint64_t offset, uint64_t size);

/* The region must not be mapped, be the root of an address space, or have aliases or children. Afterwards no
 * callback of it runs, but for one that this thread is in: the machine lock, which the caller holds, is given up
 * while callbacks on other threads end. Changes that a memory_begin holds back are published first. */
void region_destroy(Region *r);

/* Tree changes: machine lock held, from I/O callbacks too. Outside begin/commit each call publishes by itself;
 * pairs of begin and commit nest. Never inside an RCU section. Any region but an alias may have children; they
 * are clipped to it and hide what it shows itself. */
void memory_begin(Memory *m);
void memory_commit(Memory *m);
void region_map(Region *parent, uint64_t addr, Region *r, int priority);
void region_unmap(Region *r);
void region_set_enabled(Region *r, bool enabled);
void region_set_addr(Region *r, uint64_t addr);
void region_set_size(Region *r, uint64_t size);
void region_set_readonly(Region *r, bool readonly);
void region_set_rom_mode(Region *r, bool rom_mode);
void region_set_alias_offset(Region *r, uint64_t offset);

/* An address space shows the tree below `root`. `name` must outlive it. Machine lock held for both. */
AddressSpace *address_space_new(Memory *m, Region *root, const char *name);
void          address_space_free(AddressSpace *as);
const char   *address_space_name(const AddressSpace *as);

/* Called with the machine lock held after a new map of `as` was published and before the old one is freed.
 * The translator and KVM stop using old host addresses here (kick, flush, wait for every vCPU). When one commit
 * changes several address spaces, all are published before the first listener is called. Not called for a commit
 * that leaves this address space as it was. */
typedef struct MemoryListener {
    void (*changed)(struct MemoryListener *self, AddressSpace *as);
    void *opaque;
} MemoryListener;

void address_space_add_listener(AddressSpace *as, MemoryListener *listener);
void address_space_remove_listener(AddressSpace *as, MemoryListener *listener);

/* What is at `addr`: for TLB fills. A result is valid until the next map is published (listeners say so). */
typedef struct MemTarget {
    Region   *region;     /* NULL: unmapped */
    uint8_t  *host;       /* RAM or ROM in read mode: host address of `addr`; else NULL */
    RamBlock *ram;        /* with host */
    uint64_t  ram_offset; /* with host: offset of `addr` inside ram */
    uint64_t  offset;     /* inside region, for region_read/region_write */
    uint64_t  len;        /* bytes from addr on that lie in the same stretch of the map (2^64 shows as 2^64 - 1) */
    bool      writable;   /* host may be written (after ram_block_written() rules) */
} MemTarget;

/* Any thread. Who keeps the result beyond an RCU section holds the machine lock or listens. */

MemTarget address_space_lookup(AddressSpace *as, uint64_t addr);

/* One access of 1, 2, 4 or 8 bytes to a region that lookup returned. Takes the machine lock when the region
 * needs it, also when this thread holds it already. Reads of what cannot be read are all ones. The caller sees to
 * it that the region is still there (by holding the machine lock since the lookup, say); who cannot uses
 * address_space_load and _store, which look again once they have the lock. */
MemResult region_read(Region *r, uint64_t offset, unsigned size, uint64_t *value);
MemResult region_write(Region *r, uint64_t offset, unsigned size, uint64_t value);

/* A CPU-side access of any size and alignment to whatever is there: RAM, ROM (writes dropped) or devices.
 * Any thread. Crosses borders. What fails does not stop the rest; the result is that of the first part that
 * failed. For debuggers, qtest and loaders use address_space_poke to write ROM too. */
MemResult address_space_read(AddressSpace *as, uint64_t addr, void *buf, size_t len);
MemResult address_space_write(AddressSpace *as, uint64_t addr, const void *buf, size_t len);

/* Writes RAM and ROM alike, and nothing else. For loaders and debuggers. MEM_NOT_RAM if something else is there,
 * MEM_UNMAPPED if nothing is; then no byte is written. */
MemResult address_space_poke(AddressSpace *as, uint64_t addr, const void *buf, size_t len);

/* Port and word access of 1, 2, 4 or 8 bytes with exactly one callback where the device takes the size; all ones
 * where nothing can be read. Little-endian. Any thread. */
uint64_t address_space_load(AddressSpace *as, uint64_t addr, unsigned size);
void     address_space_store(AddressSpace *as, uint64_t addr, uint64_t value, unsigned size);

/* Writes the tree, or the flat maps, as text (info mtree). Machine lock held. */
typedef struct MemoryDump {
    bool flat;
    bool dispatch;                                              /* with flat: also how a map is searched */
    bool disabled;                                              /* the tree with regions that are switched off */
    void (*owner)(const Region *r, GString *out, void *opaque); /* appends whose a region is; may be NULL */
    void *opaque;
} MemoryDump;
void memory_dump(Memory *m, GString *out, const MemoryDump *dump);

#endif
