/* Dumps of guest memory: what there is to dump, and ELF cores.
 * Specification: ELF-64 Object File Format 1.5. */

#include "machine/dump_private.h"

#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 1 << 20, BLOCKS_MAX = 4096, POLL_MS = 100 };

/* --- what there is --- */

static void add_block(Dump *d, uint64_t start, const MemTarget *t, uint64_t size)
{
    uint64_t skip = 0, end = start + size;
    if (d->options.has_range) {
        uint64_t begin = d->options.begin, last = begin + d->options.length; /* checked: no overflow */
        skip = begin > start ? begin - start : 0;
        end  = MIN(end, last);
        if (start + skip >= end) {
            return;
        }
    }
    DumpBlock block = {
        .start = start + skip, .size = end - start - skip, .ram = ram_block_ref(t->ram), .offset = t->ram_offset + skip
    };
    g_array_append_val(d->blocks, block);
    d->total += block.size;
}

/* Goes through the map of guest-physical memory. */
static void find_blocks(Dump *d, AddressSpace *as)
{
    uint64_t addr = 0;
    for (unsigned i = 0; i < BLOCKS_MAX; i++) {
        MemTarget t = address_space_lookup(as, addr);
        if (t.host && t.writable && t.region->kind == REGION_RAM) {
            add_block(d, addr, &t, t.len);
        }
        if (!t.len || addr + t.len < addr) {
            break;
        }
        addr += t.len;
    }
}

static void clear_block(void *block)
{
    ram_block_unref(((DumpBlock *)block)->ram);
}

Dump *dump_new(Machine *m, const DumpOptions *options, Error *err)
{
    Dump *d     = g_new0(Dump, 1);
    d->options  = *options;
    d->blocks   = g_array_new(false, false, sizeof(DumpBlock));
    d->notes    = g_byte_array_new();
    d->mappings = g_array_new(false, false, sizeof(DumpMapping));
    g_array_set_clear_func(d->blocks, clear_block);
    struct stat st;
    d->is_file = fstat(options->fd, &st) == 0 && S_ISREG(st.st_mode);
    find_blocks(d, m->platform.memory_space);
    if (!d->blocks->len) {
        error_set(err, options->has_range ? "no guest memory lies in that range" : "the guest has no memory");
        dump_free(d);
        return NULL;
    }
    if (options->paging && !dump_find_mappings(d, m, err)) {
        dump_free(d);
        return NULL;
    }
    d->n_cpus = m->cpus->len;
    for (guint i = 0; i < m->cpus->len; i++) {
        const X86Cpu *cpu = m->cpus->pdata[i];
        d->long_mode |= cpu->long_mode;
        dump_add_prstatus(d->notes, cpu);
    }
    for (guint i = 0; i < m->cpus->len; i++) {
        dump_add_state(d->notes, m->cpus->pdata[i]);
    }
    return d;
}

void dump_free(Dump *d)
{
    if (d) {
        close(d->options.fd);
        g_array_unref(d->blocks);
        g_array_unref(d->mappings);
        g_byte_array_unref(d->notes);
        g_free(d);
    }
}

void dump_cancel(Dump *d)
{
    atomic_store_explicit(&d->cancelled, true, memory_order_relaxed);
}

uint64_t dump_total(const Dump *d)
{
    return d->total;
}

uint64_t dump_completed(const Dump *d)
{
    return atomic_load_explicit(&d->completed, memory_order_relaxed);
}

/* --- writing --- */

/* Waits a moment until a pipe or socket takes PIPE_BUF bytes without blocking. */
static bool wait_for_room(Dump *d)
{
    struct pollfd p = { .fd = d->options.fd, .events = POLLOUT };
    return poll(&p, 1, POLL_MS) > 0;
}

bool dump_write_all(Dump *d, const void *data, size_t len, Error *err)
{
    const uint8_t *p = data;
    while (len) {
        if (atomic_load_explicit(&d->cancelled, memory_order_relaxed)) {
            return error_set(err, "writing the dump: cancelled");
        }
        if (!d->is_file && !wait_for_room(d)) {
            continue;
        }
        ssize_t n = write(d->options.fd, p, d->is_file ? len : MIN(len, PIPE_BUF));
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
            continue;
        }
        if (n <= 0) {
            return error_set_errno(err, n < 0 ? errno : ENOSPC, "writing the dump");
        }
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static bool write_blocks(Dump *d, Error *err)
{
    g_autofree uint8_t *buffer = g_malloc(CHUNK);
    for (guint i = 0; i < d->blocks->len; i++) {
        const DumpBlock *b = &g_array_index(d->blocks, DumpBlock, i);
        for (uint64_t done = 0; done < b->size;) {
            size_t n = MIN(b->size - done, CHUNK);
            ram_copy_out(buffer, b->ram->host + b->offset + done, n);
            if (!dump_write_all(d, buffer, n, err)) {
                return false;
            }
            done += n;
            atomic_fetch_add_explicit(&d->completed, n, memory_order_relaxed);
        }
    }
    return true;
}

/* Where a physical address lies in the file, the RAM of which begins at `base`. */
static uint64_t file_offset(const Dump *d, uint64_t base, uint64_t physical)
{
    for (guint i = 0; i < d->blocks->len; i++) {
        const DumpBlock *b = &g_array_index(d->blocks, DumpBlock, i);
        if (physical - b->start < b->size) {
            return base + (physical - b->start);
        }
        base += b->size;
    }
    g_assert_not_reached();
}

static bool write_segment(Dump *d, uint64_t offset, uint64_t linear, uint64_t physical, uint64_t size, Error *err)
{
    Elf64_Phdr load = {
        .p_type = PT_LOAD, .p_offset = offset, .p_paddr = physical, .p_vaddr = linear, .p_filesz = size, .p_memsz = size
    };
    return dump_write_all(d, &load, sizeof load, err);
}

/* One for each stretch of RAM, at its physical address, or what page tables map; several may be of the same RAM. */
static bool write_segments(Dump *d, uint64_t base, Error *err)
{
    uint64_t offset = base;
    for (guint i = 0; !d->mappings->len && i < d->blocks->len; i++) {
        const DumpBlock *b = &g_array_index(d->blocks, DumpBlock, i);
        if (!write_segment(d, offset, b->start, b->start, b->size, err)) {
            return false;
        }
        offset += b->size;
    }
    for (guint i = 0; i < d->mappings->len; i++) {
        const DumpMapping *m = &g_array_index(d->mappings, DumpMapping, i);
        if (!write_segment(d, file_offset(d, base, m->physical), m->linear, m->physical, m->size, err)) {
            return false;
        }
    }
    return true;
}

/* Header, one segment of notes, those of RAM; then what they are about. When there are too many for the header, the one
 * section header has their number. */
bool dump_write_elf(Dump *d, Error *err)
{
    uint32_t   n      = 1 + (d->mappings->len ? d->mappings->len : d->blocks->len);
    bool       many   = n >= PN_XNUM;
    Elf64_Ehdr header = {
        .e_ident     = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
        .e_type      = ET_CORE,
        .e_machine   = d->long_mode ? EM_X86_64 : EM_386,
        .e_version   = EV_CURRENT,
        .e_phoff     = sizeof header + (many ? sizeof(Elf64_Shdr) : 0),
        .e_ehsize    = sizeof header,
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum     = (uint16_t)MIN(n, PN_XNUM),
        .e_shoff     = many ? sizeof header : 0,
        .e_shentsize = many ? sizeof(Elf64_Shdr) : 0,
        .e_shnum     = many,
    };
    Elf64_Shdr section = { .sh_type = SHT_NULL, .sh_info = n };
    uint64_t   offset  = header.e_phoff + (uint64_t)n * sizeof(Elf64_Phdr);
    Elf64_Phdr notes   = { .p_type = PT_NOTE, .p_offset = offset, .p_filesz = d->notes->len, .p_memsz = d->notes->len };
    return dump_write_all(d, &header, sizeof header, err) &&
           (!many || dump_write_all(d, &section, sizeof section, err)) &&
           dump_write_all(d, &notes, sizeof notes, err) && write_segments(d, offset + d->notes->len, err) &&
           dump_write_all(d, d->notes->data, d->notes->len, err) && write_blocks(d, err);
}

bool dump_write(Dump *d, Error *err)
{
    return d->options.format == DUMP_ELF ? dump_write_elf(d, err) : dump_write_kdump(d, err);
}
