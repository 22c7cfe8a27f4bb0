/* Memory backends: user-creatable objects that are a stretch of host memory for guests (memory-backend-ram, -file,
 * -memfd, -shm). The machine's RAM lies in one or several of them, memory devices show one each. Machine lock. */

#ifndef QUERN_MEMORY_BACKEND_H
#define QUERN_MEMORY_BACKEND_H

#include "memory/ram.h"
#include "object/object.h"

typedef enum HostMemPolicy { HOST_MEM_DEFAULT, HOST_MEM_PREFERRED, HOST_MEM_BIND, HOST_MEM_INTERLEAVE } HostMemPolicy;

typedef struct MemoryBackend {
    Object     obj;
    uint64_t   size;
    bool       share, prealloc, merge, dump, reserve, canonical_name;
    bool       has_merge, has_dump;
    uint32_t   prealloc_threads;
    GPtrArray *host_nodes; /* GUINT_TO_POINTER each; NULL: none */
    int        policy;     /* HostMemPolicy */
    char      *absent_text;

    /* memory-backend-file */
    char     *mem_path;
    uint64_t  align, offset;
    bool      readonly, discard_data, pmem;
    OnOffAuto rom;

    /* memory-backend-memfd */
    bool     hugetlb, seal;
    uint64_t hugetlbsize;

    RamBlock *ram;  /* once it is complete */
    char     *user; /* who shows it to the guest ("the machine's RAM", "device 'dimm1'"); NULL: nobody */
} MemoryBackend;

/* By id or path. NULL with an error when there is none, or when it is another kind of object. */
MemoryBackend *memory_backend_find(Object *root, const char *id, Error *err);

/* Takes it for one user; a backend has one at most, and cannot be deleted meanwhile. `writable`: the guest is to write
 * there, which a backend of read-only memory cannot offer. false: it is in use. */
bool memory_backend_take(MemoryBackend *backend, bool writable, const char *user, Error *err);
void memory_backend_release(MemoryBackend *backend);

/* Guests see it as ROM. */
bool memory_backend_is_rom(const MemoryBackend *backend);

/* What -machine mem-merge= and dump-guest-core= say, for backends that do not say it themselves. */
void memory_backend_set_defaults(MemoryBackend *backend, bool merge, bool dump);

/* All of them, in the order they were made. */
void memory_backends_foreach(Object *root, void (*visit)(MemoryBackend *backend, void *opaque), void *opaque);

extern const char *const host_mem_policy_names[];

#endif
