/* Memory backends: see backend.h.
 * Specification: QEMU 9.1 invocation manual, "Generic object creation"; Linux man pages mmap(2), memfd_create(2),
 * shm_open(3), mbind(2). Machine lock. */

#include "memory/backend.h"

#include "base/checked.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/mempolicy.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_HOST_NODES = 128 };

const char *const host_mem_policy_names[] = { "default", "preferred", "bind", "interleave", NULL };

/* ---- host-nodes=: a number, a range "0-3", or a list of those ---- */

static bool add_nodes(GPtrArray *list, uint64_t first, uint64_t last, Error *err)
{
    if (first > last || last >= MAX_HOST_NODES) {
        return error_set(err, "host nodes are 0 to %d", MAX_HOST_NODES - 1);
    }
    for (uint64_t n = first; n <= last; n++) {
        if (!g_ptr_array_find(list, GUINT_TO_POINTER(n), NULL)) {
            g_ptr_array_add(list, GUINT_TO_POINTER(n));
        }
    }
    return true;
}

static bool add_node_text(GPtrArray *list, const char *text, Error *err)
{
    const char      *dash  = strchr(text, '-');
    g_autofree char *start = g_strndup(text, dash ? (size_t)(dash - text) : strlen(text));
    uint64_t         first, last;
    if (!text_parse_uint(start, UINT32_MAX, &first, err)) {
        return false;
    }
    last = first;
    return (!dash || text_parse_uint(dash + 1, UINT32_MAX, &last, err)) && add_nodes(list, first, last, err);
}

static bool add_node_value(GPtrArray *list, const Json *value, Error *err)
{
    switch (value->kind) {
    case JSON_STRING: return add_node_text(list, value->string, err);
    case JSON_INT: return add_nodes(list, (uint64_t)value->integer, (uint64_t)value->integer, err);
    default: return error_set(err, "takes numbers of host nodes, not %s", json_kind_name(value->kind));
    }
}

static void clear_nodes(const Field *field, void *member)
{
    g_clear_pointer((GPtrArray **)member, g_ptr_array_unref);
}

static bool parse_nodes(const Field *field, void *member, const Json *value, Error *err)
{
    GPtrArray *list = g_ptr_array_new();
    bool       ok   = true;
    if (value->kind == JSON_LIST) {
        for (size_t i = 0; ok && i < value->n; i++) {
            ok = add_node_value(list, value->items[i], err);
        }
    } else if (value->kind != JSON_NULL) {
        ok = add_node_value(list, value, err);
    }
    if (!ok) {
        g_ptr_array_unref(list);
        return false;
    }
    clear_nodes(field, member);
    *(GPtrArray **)member = list;
    return true;
}

static Json *print_nodes(const Field *field, const void *member)
{
    const GPtrArray *nodes = *(GPtrArray *const *)member;
    Json            *list  = json_new_list();
    for (guint i = 0; nodes && i < nodes->len; i++) {
        json_append(list, json_new_int(GPOINTER_TO_UINT(nodes->pdata[i])));
    }
    return list;
}

static const Field node_number = { .kind = FIELD_U16, .size = sizeof(uint16_t), .count = 1 }; /* for introspection */

static const FieldCustom nodes_field = {
    .type_name = "list<uint16>", .parse = parse_nodes, .print = print_nodes, .clear = clear_nodes
};

/* ---- Properties ---- */

#define BACKEND_PROPERTIES(share_default)                                                                              \
    FIELD(MemoryBackend, size, "size", .size_unit = 1, .required = true, .min = 1, .max = INT64_MAX,                   \
          .help = "bytes of memory"),                                                                                  \
        FIELD(MemoryBackend, share, "share", .initial = (share_default), .help = "other processes may share it"),      \
        FIELD(MemoryBackend, prealloc, "prealloc", .help = "have the host give all of it at once"),                    \
        FIELD(MemoryBackend, prealloc_threads, "prealloc-threads", .min = 0, .max = 1024,                              \
              .help = "threads for that; 0: as many as suit the host"),                                                \
        FIELD(MemoryBackend, absent_text, "prealloc-context", .unsupported = true, .help = "thread-context object"),   \
        FIELD(MemoryBackend, merge, "merge", .initial = true, .has_offset = 1 + offsetof(MemoryBackend, has_merge),    \
              .help = "let the host merge equal pages"),                                                               \
        FIELD(MemoryBackend, dump, "dump", .initial = true, .has_offset = 1 + offsetof(MemoryBackend, has_dump),       \
              .help = "in core dumps"),                                                                                \
        FIELD(MemoryBackend, reserve, "reserve", .initial = true, .help = "have the host promise the memory"),         \
        FIELD(MemoryBackend, host_nodes, "host-nodes", .custom = &nodes_field, .element = &node_number,                \
              .help = "NUMA nodes of the host"),                                                                       \
        FIELD(MemoryBackend, policy, "policy", .names = host_mem_policy_names, .help = "how those are used"),          \
        FIELD(MemoryBackend, canonical_name, "x-use-canonical-path-for-ramblock-id", .initial = true,                  \
              .help = "name the memory by its object's path, not its id")

static const Field ram_properties[] = { BACKEND_PROPERTIES(false), {} };

static const Field file_properties[] = {
    BACKEND_PROPERTIES(false),
    FIELD(MemoryBackend, mem_path, "mem-path", .required = true,
          .help = "the file, or a directory for one without a name"),
    FIELD(MemoryBackend, align, "align", .size_unit = 1, .help = "alignment of the host address"),
    FIELD(MemoryBackend, offset, "offset", .size_unit = 1, .max = INT64_MAX, .min = 0,
          .help = "where it begins in the file"),
    FIELD(MemoryBackend, discard_data, "discard-data", .help = "the contents need not reach the file at the end"),
    FIELD(MemoryBackend, pmem, "pmem", .unsupported = true, .help = "the file is persistent memory"),
    FIELD(MemoryBackend, readonly, "readonly", .help = "open the file for reading only"),
    FIELD(MemoryBackend, rom, "rom", .names = on_off_auto_names, .help = "the guest sees ROM; auto: as readonly"),
    {},
};

static const Field memfd_properties[] = {
    BACKEND_PROPERTIES(true),
    FIELD(MemoryBackend, hugetlb, "hugetlb", .help = "of huge pages"),
    FIELD(MemoryBackend, hugetlbsize, "hugetlbsize", .size_unit = 1, .help = "size of those; 0: the host's default"),
    FIELD(MemoryBackend, seal, "seal", .initial = true, .help = "nobody can change the file's length"),
    {},
};

static const Field shm_properties[] = { BACKEND_PROPERTIES(true), {} };

/* ---- Making the memory ---- */

static bool bind_nodes(const MemoryBackend *b, Error *err)
{
    static const int modes[] = {
        [HOST_MEM_DEFAULT]    = MPOL_DEFAULT,
        [HOST_MEM_PREFERRED]  = MPOL_PREFERRED,
        [HOST_MEM_BIND]       = MPOL_BIND,
        [HOST_MEM_INTERLEAVE] = MPOL_INTERLEAVE,
    };
    unsigned long mask[MAX_HOST_NODES / 64 + 1] = { 0 };
    if (b->policy == HOST_MEM_DEFAULT) {
        return true;
    }
    for (guint i = 0; i < b->host_nodes->len; i++) {
        unsigned n = GPOINTER_TO_UINT(b->host_nodes->pdata[i]);
        mask[n / 64] |= 1ul << n % 64;
    }
    if (syscall(SYS_mbind, b->ram->host, b->ram->size, modes[b->policy], mask, (unsigned long)MAX_HOST_NODES + 1,
                MPOL_MF_STRICT | MPOL_MF_MOVE) == 0) {
        return true;
    }
    return error_set_errno(err, errno, "host-nodes=, policy=%s: the host does not bind memory to these NUMA nodes",
                           host_mem_policy_names[b->policy]);
}

static bool check_common(const MemoryBackend *b, Error *err)
{
    bool nodes = b->host_nodes && b->host_nodes->len;
    if (b->policy == HOST_MEM_DEFAULT && nodes) {
        return error_set(err, "host-nodes= needs a policy= other than default (bind, preferred or interleave)");
    }
    if (b->policy != HOST_MEM_DEFAULT && !nodes) {
        return error_set(err, "policy=%s needs host-nodes=", host_mem_policy_names[b->policy]);
    }
    return true;
}

/* With the memory there is of what the type made. */
static bool map_memory(MemoryBackend *b, int fd, Error *err)
{
    g_autofree char *path = object_path(&b->obj);
    RamSpec          spec = { .name      = b->canonical_name ? path : b->obj.name,
                              .size      = b->size,
                              .fd        = fd,
                              .fd_offset = b->offset,
                              .align     = b->align,
                              .shared    = b->share,
                              .readonly  = b->readonly && (b->share || b->rom != ON_OFF_AUTO_OFF),
                              .reserve   = b->reserve };

    b->ram = ram_block_map(&spec, err);
    if (!b->ram) {
        return false;
    }
    ram_block_advise(b->ram, b->dump, b->merge);
    if (!bind_nodes(b, err) || (b->prealloc && !ram_block_populate(b->ram, b->prealloc_threads, err))) {
        g_clear_pointer(&b->ram, ram_block_unref);
        return false;
    }
    return true;
}

static bool ram_complete(Object *obj, Error *err)
{
    MemoryBackend *b = (MemoryBackend *)obj;
    return check_common(b, err) && map_memory(b, -1, err);
}

/* ---- memory-backend-file ---- */

/* A file without a name in a directory. */
static int open_unnamed(const char *dir)
{
    g_autofree char *path = g_build_filename(dir, "quern-memory.XXXXXX", NULL);
    int              fd   = mkostemp(path, O_CLOEXEC);
    if (fd >= 0) {
        unlink(path);
    }
    return fd;
}

static int open_file(MemoryBackend *b, bool *created)
{
    *created = false;
    if (b->readonly) {
        return open(b->mem_path, O_RDONLY | O_CLOEXEC);
    }
    int fd = open(b->mem_path, O_RDWR | O_CLOEXEC);
    if (fd < 0 && errno == EISDIR) {
        fd       = open_unnamed(b->mem_path);
        *created = false;
        return fd;
    }
    if (fd < 0 && errno == ENOENT) {
        fd       = open(b->mem_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        *created = fd >= 0;
    }
    return fd;
}

/* Makes an empty file as long as it has to be; one with contents has to be long enough. */
static bool size_file(MemoryBackend *b, int fd, Error *err)
{
    struct stat st;
    uint64_t    end;
    if (!checked_add(b->offset, b->size, &end) || end > INT64_MAX) {
        return error_set(err, "offset= and size= reach beyond what a file can hold");
    }
    if (fstat(fd, &st) < 0) {
        return error_set_errno(err, errno, "'%s'", b->mem_path);
    }
    if (!S_ISREG(st.st_mode)) {
        return S_ISCHR(st.st_mode) || error_set(err, "'%s' is neither a file nor a directory", b->mem_path);
    }
    if ((uint64_t)st.st_size >= end) {
        return true;
    }
    if (st.st_size || b->readonly) {
        g_autofree char *has = text_format_size((uint64_t)st.st_size), *wanted = text_format_size(end);
        return error_set(err, "'%s' has %s, but offset= and size= ask for %s", b->mem_path, has, wanted);
    }
    return ftruncate(fd, (off_t)end) == 0 || error_set_errno(err, errno, "cannot make '%s' longer", b->mem_path);
}

static bool check_file(const MemoryBackend *b, Error *err)
{
    if (b->align && (!is_power_of_two(b->align) || b->align > GiB)) {
        return error_set(err, "align= is a power of two up to 1 GiB");
    }
    if (b->offset % RAM_PAGE_SIZE) {
        return error_set(err, "offset= is a multiple of the page size, 4 KiB");
    }
    if (b->readonly && b->share && b->rom == ON_OFF_AUTO_OFF) {
        return error_set(
            err, "rom=off: a file that is shared and read-only cannot be writable memory (share=off makes a copy)");
    }
    if (b->discard_data && !b->share) {
        return error_set(err, "discard-data=on: with share=off nothing reaches the file anyhow");
    }
    return true;
}

static bool file_complete(Object *obj, Error *err)
{
    MemoryBackend *b = (MemoryBackend *)obj;
    bool           created;
    if (!check_common(b, err) || !check_file(b, err)) {
        return false;
    }
    int fd = open_file(b, &created);
    if (fd < 0) {
        return error_set_errno(err, errno, "cannot open mem-path=%s", b->mem_path);
    }
    bool ok = size_file(b, fd, err) && map_memory(b, fd, err);
    close(fd); /* the block has one of its own */
    if (!ok && created) {
        unlink(b->mem_path);
    }
    return ok;
}

/* ---- memory-backend-memfd, memory-backend-shm ---- */

static bool memfd_complete(Object *obj, Error *err)
{
    MemoryBackend *b     = (MemoryBackend *)obj;
    unsigned       flags = MFD_CLOEXEC | (b->seal ? MFD_ALLOW_SEALING : 0) | (b->hugetlb ? MFD_HUGETLB : 0);
    if (!check_common(b, err)) {
        return false;
    }
    if (b->hugetlbsize && !b->hugetlb) {
        return error_set(err, "hugetlbsize= needs hugetlb=on");
    }
    if (b->hugetlbsize && (!is_power_of_two(b->hugetlbsize) || b->size % b->hugetlbsize)) {
        return error_set(err, "hugetlbsize= is a power of two, and size= a multiple of it");
    }
    if (b->hugetlbsize) {
        flags |= (unsigned)__builtin_ctzll(b->hugetlbsize) << MFD_HUGE_SHIFT;
    }
    int fd = memfd_create("quern-memory", flags);
    if (fd < 0) {
        return error_set_errno(err, errno, "cannot make memory%s",
                               b->hugetlb ? " of huge pages of that size (/sys/kernel/mm/hugepages has those there are)"
                                          : "");
    }
    bool ok = ftruncate(fd, (off_t)b->size) == 0 || error_set_errno(err, errno, "cannot make memory of that size");
    if (ok && b->seal && fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0) {
        ok = error_set_errno(err, errno, "seal=on: cannot seal it");
    }
    ok = ok && map_memory(b, fd, err);
    close(fd);
    return ok;
}

static bool shm_complete(Object *obj, Error *err)
{
    MemoryBackend *b = (MemoryBackend *)obj;
    if (!check_common(b, err)) {
        return false;
    }
    if (!b->share) {
        return error_set(err, "share=off: POSIX shared memory is always shared; memory-backend-ram is not");
    }
    g_autofree char *name = g_strdup_printf("/quern-%d-%08x", (int)getpid(), g_random_int());
    int              fd   = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0) {
        return error_set_errno(err, errno, "cannot make POSIX shared memory");
    }
    shm_unlink(name);
    bool ok = ftruncate(fd, (off_t)b->size) == 0 || error_set_errno(err, errno, "cannot make memory of that size");
    ok      = ok && map_memory(b, fd, err);
    close(fd);
    return ok;
}

/* ---- Life ---- */

static bool can_delete(Object *obj, Error *err)
{
    const MemoryBackend *b = (const MemoryBackend *)obj;
    return !b->user || error_set(err, "object '%s' is in use: %s", obj->name, b->user);
}

static void finalize(Object *obj)
{
    MemoryBackend *b = (MemoryBackend *)obj;
    if (b->ram && b->discard_data) {
        madvise(b->ram->host, b->ram->size, MADV_REMOVE);
    }
    if (b->ram) {
        ram_block_retire(b->ram);
    }
    g_clear_pointer(&b->ram, ram_block_unref);
    g_clear_pointer(&b->user, g_free);
}

#define BACKEND_TYPE(identifier, type_name, text)                                                                      \
    OBJECT_TYPE(identifier) = {                                                                                        \
        .name       = type_name,                                                                                       \
        .parent     = "memory-backend",                                                                                \
        .help       = text,                                                                                            \
        .class      = OBJECT_CLASS_USER,                                                                               \
        .size       = sizeof(MemoryBackend),                                                                           \
        .properties = identifier##_properties,                                                                         \
        .complete   = identifier##_complete,                                                                           \
        .can_delete = can_delete,                                                                                      \
        .finalize   = finalize,                                                                                        \
    }

BACKEND_TYPE(ram, "memory-backend-ram", "guest memory: anonymous memory of the host");
BACKEND_TYPE(file, "memory-backend-file", "guest memory: a file, or huge pages");
BACKEND_TYPE(memfd, "memory-backend-memfd", "guest memory: a file in memory without a name");
BACKEND_TYPE(shm, "memory-backend-shm", "guest memory: POSIX shared memory");

/* ---- For users ---- */

static MemoryBackend *as_backend(Object *obj)
{
    return obj && obj->type->finalize == finalize ? (MemoryBackend *)obj : NULL;
}

MemoryBackend *memory_backend_find(Object *root, const char *id, Error *err)
{
    Object *obj = *id == '/' ? object_resolve(root, id) : object_child(object_container(root, "objects"), id);
    if (!obj) {
        error_set(err, "no memory backend '%s'", id);
    } else if (!as_backend(obj)) {
        error_set(err, "object '%s' is of type %s, not a memory backend", id, obj->type->name);
    }
    return as_backend(obj);
}

bool memory_backend_is_rom(const MemoryBackend *b)
{
    return b->rom == ON_OFF_AUTO_ON || (b->rom == ON_OFF_AUTO_AUTO && b->readonly);
}

bool memory_backend_take(MemoryBackend *b, bool writable, const char *user, Error *err)
{
    if (b->user) {
        return error_set(err, "memory backend '%s' is in use already: %s", b->obj.name, b->user);
    }
    if (writable && (memory_backend_is_rom(b) || b->ram->readonly)) {
        return error_set(err, "memory backend '%s' is read-only", b->obj.name);
    }
    b->user = g_strdup(user);
    return true;
}

void memory_backend_release(MemoryBackend *b)
{
    g_clear_pointer(&b->user, g_free);
}

void memory_backend_set_defaults(MemoryBackend *b, bool merge, bool dump)
{
    b->merge = b->has_merge ? b->merge : merge;
    b->dump  = b->has_dump ? b->dump : dump;
    ram_block_advise(b->ram, b->dump, b->merge);
}

void memory_backends_foreach(Object *root, void (*visit)(MemoryBackend *backend, void *opaque), void *opaque)
{
    const GPtrArray *objects = object_container(root, "objects")->children;
    for (guint i = 0; i < objects->len; i++) {
        MemoryBackend *b = as_backend(objects->pdata[i]);
        if (b) {
            visit(b, opaque);
        }
    }
}
