/* Kernel loaders: bzImage, ELF with a PVH note, multiboot, and unpacking. The first byte of the input holds options,
 * the rest is the file. */

#include "fuzz.h"

#include "base/sanitize.h"
#include "base/text.h"
#include "machine/boot.h"

#include <string.h>
#include <sys/mman.h>

#if WITH_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

enum { WITH_UNPACK = 1, WITH_APPEND = 2, LITTLE_RAM = 4, INTO_RAM = 8 };

enum { RAM_SIZE = 64 << 20 };

static uint8_t *ram_at(void *opaque, uint64_t addr, uint64_t *len)
{
    g_assert(addr < RAM_SIZE && *len <= RAM_SIZE - addr);
    return (uint8_t *)opaque + addr;
}

static void ram_written(void *opaque, uint64_t addr, uint64_t len)
{
    g_assert(addr <= RAM_SIZE && len <= RAM_SIZE - addr);
}

/* All pieces lie in RAM, no two of different kinds overlap, and their data can be read. */
static void check_image(const BootImage *image)
{
    g_assert(image->protocol);
    g_assert(memory_map_is_ram(image->map, image->gdt, BOOT_GDT_SIZE));
    for (guint i = 0; i < image->pieces->len; i++) {
        const BootPiece *p   = &g_array_index(image->pieces, BootPiece, i);
        unsigned         sum = 0;
        g_assert(memory_map_is_ram(image->map, p->addr, p->size));
        g_assert(p->len <= p->size);
        for (guint j = 0; j < i; j++) {
            const BootPiece *q = &g_array_index(image->pieces, BootPiece, j);
            g_assert(strcmp(p->what, q->what) == 0 || p->addr >= q->addr + q->size || q->addr >= p->addr + p->size);
        }
        for (uint64_t at = 0; p->data && at < p->len; at++) {
            sum += ((volatile const uint8_t *)p->data)[at];
        }
        (void)sum;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size) {
        return 0;
    }
    unsigned flags      = *data++;
    g_auto(Error) err   = { 0 };
    BootOptions options = { .kernel = "kernel", .rsdp = 0xf0000, .unpack = flags & WITH_UNPACK };
    MemoryMap   map     = { 0 };
    uint64_t    ram     = flags & LITTLE_RAM ? 2 * MiB : 64 * MiB;
    options.append      = flags & WITH_APPEND ? "console=ttyS0 panic=-1" : NULL;
    uint8_t *memory     = NULL;
    BootRam  into;
    if (flags & INTO_RAM) {
        memory = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        g_assert(memory != MAP_FAILED);
        into        = (BootRam){ ram_at, ram_written, memory, .untouched = true };
        options.ram = &into;
    }
    memory_map_add(&map, 0, ram, MEMORY_RAM);
    memory_map_add(&map, 0x9fc00, 0x400, MEMORY_RESERVED);
    memory_map_add(&map, 0xa0000, 0x60000, MEMORY_RESERVED);
    memory_map_add(&map, ram - 0x20000, 0x20000, MEMORY_ACPI);

    /* What follows the file in its last page is out of bounds too. */
    BootFile   *file = boot_file_from_memory("kernel", data, --size);
    const void *end  = file->data + size;
    size_t      rest = -size % 4096;
    ASAN_POISON_MEMORY_REGION(end, rest);
    BootImage *image = boot_load_file(file, &options, &map, &err);
    if (image) {
        check_image(image);
    }
    if (image && memory) {
        g_auto(Error) again = { 0 };
        g_assert(boot_image_unpack(image, &into, &again));
    }
    ASAN_UNPOISON_MEMORY_REGION(end, rest);
    boot_image_free(image);
    if (memory) {
        munmap(memory, RAM_SIZE);
    }
    fuzz_check_error(image != NULL, &err);
    return 0;
}
