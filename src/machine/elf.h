/* ELF files of 32 and 64 bits, read with suspicion. */

#ifndef QUERN_MACHINE_ELF_H
#define QUERN_MACHINE_ELF_H

#include "base/error.h"

#include <stdint.h>

typedef struct ElfSegment {
    uint32_t type; /* ELF_PT_* */
    uint64_t offset, file_size;
    uint64_t physical, memory_size;
    uint64_t virtual;
    uint64_t align;
} ElfSegment;

enum { ELF_PT_LOAD = 1, ELF_PT_NOTE = 4 };
enum { ELF_MACHINE_386 = 3, ELF_MACHINE_X86_64 = 62 };

typedef struct ElfFile {
    const uint8_t *data; /* borrowed; NULL: only the headers have been there */
    size_t         size;
    bool           is64;
    uint16_t       machine;
    uint64_t       entry;
    ElfSegment    *segments;
    unsigned       n_segments;
} ElfFile;

/* Do the first bytes say that this is ELF? */
bool elf_detect(const uint8_t *data, size_t size);

/* Reads headers. What it accepts is little-endian, x86, and its segments lie inside the file, do not wrap around and
 * are not larger in the file than in memory. elf_close() frees; `data` must stay. */
bool elf_open(ElfFile *elf, const uint8_t *data, size_t size, Error *err);
void elf_close(ElfFile *elf);

/* The same where only the first `size` bytes of a file are there: the program headers must be among them, and segments
 * lie within file_size. `data` need not stay; elf->data is NULL, and elf_find_note() has nothing to look into. */
bool elf_open_start(ElfFile *elf, const uint8_t *data, size_t size, uint64_t file_size, Error *err);

/* The descriptor of the first note of that name and type in the note segments; NULL: none. */
const uint8_t *elf_find_note(const ElfFile *elf, const char *name, uint32_t type, size_t *len);

/* The same in `size` bytes of notes, which are those of a segment of this alignment. */
const uint8_t *elf_find_note_in(const uint8_t *notes, uint64_t size, uint64_t align, const char *name, uint32_t type,
                                size_t *len);

#endif
