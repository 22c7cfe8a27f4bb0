/* Direct boot: what a kernel loader hands to the board.
 *
 * A loader reads a kernel file and makes a BootImage: pieces of memory to fill at every reset, and the state the boot
 * processor starts in. Loaders are nearly pure: they see files and the map of guest RAM, not the machine. The board
 * writes the pieces and sets the registers (direct.c). Every file is hostile: see tests/unit/test_loader.c. */

#ifndef QUERN_MACHINE_BOOT_H
#define QUERN_MACHINE_BOOT_H

#include "base/error.h"
#include "machine/kernelcache.h"

#include <stdint.h>

/* ---- The memory map as an operating system gets it ---- */

typedef enum MemoryKind { MEMORY_RAM = 1, MEMORY_RESERVED = 2, MEMORY_ACPI = 3, MEMORY_NVS = 4 } MemoryKind;

typedef struct MemoryRange {
    uint64_t   addr, len;
    MemoryKind kind;
} MemoryRange;

enum { MEMORY_MAP_MAX = 32 };

typedef struct MemoryMap {
    MemoryRange ranges[MEMORY_MAP_MAX]; /* sorted, without overlap */
    unsigned    n;
} MemoryMap;

/* Adds a range; the part of RAM that it covers, if it is not RAM itself, is cut out. */
void memory_map_add(MemoryMap *map, uint64_t addr, uint64_t len, MemoryKind kind);

/* Is all of [addr, addr + len) RAM? */
bool memory_map_is_ram(const MemoryMap *map, uint64_t addr, uint64_t len);

/* ---- Files ---- */

/* A file mapped for reading. The pages come in as they are touched and cost nothing afterwards. */
typedef struct BootFile {
    char          *path;
    int            fd;
    const uint8_t *data;
    size_t         size;
    uint8_t       *memory; /* anonymous memory in place of the mapping: data points at it */
} BootFile;

BootFile *boot_file_open(const char *path, Error *err);
BootFile *boot_file_from_memory(const char *path, const void *data, size_t size); /* copies; for tests */
BootFile *boot_file_new(const char *path, size_t size, Error *err);               /* memory to be filled in */
void      boot_file_close(BootFile *file);                                        /* NULL is fine */

/* Guest RAM, for loaders that write to it themselves what is too much to keep beside it. The map has said before that
 * the addresses are RAM. */
typedef struct BootRam {
    /* The host memory of *len bytes from `addr` on, or of the first *len of them. */
    uint8_t *(*at)(void *opaque, uint64_t addr, uint64_t *len);
    void (*written)(void *opaque, uint64_t addr, uint64_t len);
    void *opaque;
    bool  untouched; /* nothing has been written since the host gave it: its pages become real when touched */
} BootRam;

/* ---- The image ---- */

typedef enum BootEntry {
    BOOT_ENTRY_LONG64,     /* 64-bit mode, paging identity-mapped up to 4 GiB, selectors 10h and 18h */
    BOOT_ENTRY_PROTECTED32 /* protected mode, flat 4 GiB segments, no paging */
} BootEntry;

/* Memory to fill. What is not filled is only kept free of other pieces. */
typedef struct BootPiece {
    const char    *what; /* "kernel", "initrd" ...: constant */
    uint64_t       addr, size;
    const uint8_t *data; /* `len` bytes, owned by the image or one of its files; NULL: in the packed file ... */
    uint64_t       len;
    uint64_t       offset; /* ... from here on, and in guest RAM already (packed.c) */
    bool           zero;   /* the rest of `size` is cleared */
    bool           random; /* filled with random bytes instead, new ones at every reset */
} BootPiece;

typedef struct BootImage {
    const MemoryMap *map; /* borrowed */
    GArray          *pieces;
    GPtrArray       *owned;  /* g_malloc'd memory that pieces point into */
    GPtrArray       *files;  /* BootFile *, owned */
    const uint8_t   *packed; /* in one of them: what boot_image_unpack() unpacks; NULL: nothing */
    size_t           packed_len;
    KernelCache     *cache;    /* borrowed; NULL: none */
    bool             was_kept; /* the last time it came from there: nothing was decoded */
    const char      *protocol; /* "Linux", "PVH", "multiboot": constant */
    BootEntry        entry_mode;
    uint64_t         entry;
    uint64_t         rax, rbx, rsi;
    uint64_t         map_at, map_length_at; /* the memory map that the kernel is told, entries of 24 bytes ... */
    unsigned         map_room, map_unit;    /* ... and its length, which is counted in so many for each */
    uint64_t         gdt, page_tables; /* reserved for the board to fill in: 128 bytes; 6 pages (64-bit entry only) */
} BootImage;

enum { BOOT_GDT_SIZE = 64, BOOT_PAGE_TABLES_SIZE = 6 * 4096 };

BootImage *boot_image_new(const MemoryMap *map);
void       boot_image_free(BootImage *image);

/* Adds a piece at a fixed address. Fails when it is not in RAM or in the way of a piece of another `what`. */
bool boot_image_add(BootImage *image, const BootPiece *piece, Error *err);

/* The same for a segment of an ELF file. Linkers like to put the file's own headers in front of a kernel that begins
 * at 1 MiB, where a PC has ROMs: that part is left out. */
bool boot_image_add_segment(BootImage *image, const BootPiece *segment, Error *err);

/* Finds `size` free bytes in [min, max) and adds a piece there; piece->addr is set. `top` looks from the top. */
bool boot_image_place(BootImage *image, BootPiece *piece, uint64_t align, uint64_t min, uint64_t max, bool top,
                      Error *err);

/* Memory that lives as long as the image, zeroed. */
void *boot_image_alloc(BootImage *image, size_t size);

/* What the command line says about the kernel. Strings are borrowed. */
typedef struct BootOptions {
    const char    *kernel, *initrd, *append;
    uint64_t       rsdp;   /* address of the RSDP; 0: none */
    bool           unpack; /* -machine unpack-kernel=on */
    KernelCache   *cache;  /* where it is kept, and taken from the next time; outlives the image; NULL: nowhere */
    const BootRam *ram;    /* where a packed kernel is unpacked to at once; NULL: into memory of the image's */
    /* For firmware to start: what the kernel is told lies at this address or above (0: anywhere), with room for so many
     * entries of the memory map. */
    uint64_t info_min;
    unsigned map_room;
} BootOptions;

/* Recognizes the kernel and loads it by its protocol. NULL with an error that begins with the option. */
BootImage *boot_load(const BootOptions *options, const MemoryMap *map, Error *err);

/* The same with files already open (kernel is consumed). */
BootImage *boot_load_file(BootFile *kernel, const BootOptions *options, const MemoryMap *map, Error *err);

/* ---- The protocols: each false with an error on failure. `kernel` belongs to the image already. ---- */

bool linux_detect(const BootFile *kernel);
bool linux_load(BootImage *image, const BootFile *kernel, const BootOptions *options, Error *err);

/* The compressed ELF file inside a bzImage; error when there is none or its compression is unknown. */
bool linux_payload(const BootFile *kernel, const uint8_t **payload, size_t *len, Error *err);

/* A bzImage in the parts that its 16-bit entry wants, for firmware to load: `ram` is the end of RAM below 4 GiB. The
 * entry is 32 bytes behind setup_addr's segment. linux16_clear() gives it all back. */
typedef struct Linux16 {
    BootFile      *file, *initrd; /* initrd NULL: none */
    uint8_t       *setup;
    size_t         setup_size;
    char          *cmdline;
    const uint8_t *kernel; /* in `file` */
    size_t         kernel_size;
    uint64_t       setup_addr, cmdline_addr, kernel_addr, initrd_addr;
} Linux16;
bool linux16_load(Linux16 *parts, const BootOptions *options, uint64_t ram, Error *err);
void linux16_clear(Linux16 *parts);

bool multiboot_detect(const BootFile *kernel);
bool multiboot_load(BootImage *image, const BootFile *kernel, const BootOptions *options, Error *err);

/* An ELF file that carries the PHYS32_ENTRY note. */
bool pvh_detect(const BootFile *kernel);
bool pvh_load(BootImage *image, const BootFile *kernel, const BootOptions *options, Error *err);

/* A bzImage whose compressed part is an ELF file that carries the PHYS32_ENTRY note. */
bool packed_load(BootImage *image, const BootFile *kernel, const BootOptions *options, Error *err);

/* Unpacks it again into RAM that has been in use, for a reset. Nothing happens when there is nothing packed. The error
 * names the option. */
bool boot_image_unpack(BootImage *image, const BootRam *ram, Error *err);

#endif
