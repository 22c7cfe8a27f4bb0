/* ELF files. Specification: System V ABI, chapters 4 and 5 (2013), x86-64 and i386 supplements. */

#include "machine/elf.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <string.h>

enum {
    EI_CLASS   = 4,
    EI_DATA    = 5,
    EI_VERSION = 6,
    CLASS_32   = 1,
    CLASS_64   = 2,
    LSB        = 1,
    EHDR32     = 52,
    EHDR64     = 64,
    PHDR32     = 32,
    PHDR64     = 56,
    NOTE_WORDS = 12,  /* name size, descriptor size, type */
    MAX_PHDRS  = 512, /* no kernel comes near; bounds the work a file can make */
};

bool elf_detect(const uint8_t *data, size_t size)
{
    return size >= 4 && memcmp(data, "\177ELF", 4) == 0;
}

static ElfSegment read_segment(const uint8_t *p, bool is64)
{
    if (is64) {
        return (ElfSegment){ .type        = load_le32(p),
                             .offset      = load_le64(p + 8),
                             .virtual     = load_le64(p + 16),
                             .physical    = load_le64(p + 24),
                             .file_size   = load_le64(p + 32),
                             .memory_size = load_le64(p + 40),
                             .align       = load_le64(p + 48) };
    }
    return (ElfSegment){ .type        = load_le32(p),
                         .offset      = load_le32(p + 4),
                         .virtual     = load_le32(p + 8),
                         .physical    = load_le32(p + 12),
                         .file_size   = load_le32(p + 16),
                         .memory_size = load_le32(p + 20),
                         .align       = load_le32(p + 28) };
}

static bool check_segment(const ElfSegment *s, unsigned n, uint64_t size, Error *err)
{
    uint64_t end;

    if (s->type != ELF_PT_LOAD && s->type != ELF_PT_NOTE) {
        return true;
    }
    if (!range_fits(s->offset, s->file_size, size)) {
        return error_set(err, "ELF segment %u lies outside the file (truncated?)", n);
    }
    if (s->type == ELF_PT_LOAD && (s->file_size > s->memory_size || !checked_add(s->physical, s->memory_size, &end))) {
        return error_set(err, "ELF segment %u has impossible sizes", n);
    }
    return true;
}

bool elf_open(ElfFile *elf, const uint8_t *data, size_t size, Error *err)
{
    bool ok   = elf_open_start(elf, data, size, size, err);
    elf->data = data;
    return ok;
}

bool elf_open_start(ElfFile *elf, const uint8_t *data, size_t size, uint64_t file_size, Error *err)
{
    *elf = (ElfFile){ .size = size };

    if (!elf_detect(data, size) || size < EHDR32) {
        return error_set(err, "not an ELF file");
    }
    elf->is64 = data[EI_CLASS] == CLASS_64;
    if ((data[EI_CLASS] != CLASS_32 && !elf->is64) || data[EI_DATA] != LSB || data[EI_VERSION] != 1 ||
        size < (elf->is64 ? EHDR64 : EHDR32)) {
        return error_set(err, "an ELF file, but neither 32 nor 64 bits little-endian");
    }
    elf->machine = load_le16(data + 18);
    if (elf->machine != ELF_MACHINE_386 && elf->machine != ELF_MACHINE_X86_64) {
        return error_set(err, "an ELF file for another architecture (machine %u)", elf->machine);
    }
    elf->entry          = elf->is64 ? load_le64(data + 24) : load_le32(data + 24);
    uint64_t table      = elf->is64 ? load_le64(data + 32) : load_le32(data + 28);
    unsigned entry_size = load_le16(data + (elf->is64 ? 54 : 42));
    unsigned n          = load_le16(data + (elf->is64 ? 56 : 44));
    if (n > MAX_PHDRS || (n && entry_size < (elf->is64 ? PHDR64 : PHDR32))) {
        return error_set(err, "%u ELF program headers of %u bytes", n, entry_size);
    }
    if (!range_fits(table, (uint64_t)n * entry_size, size)) {
        return error_set(err, "ELF program headers lie outside the file (truncated?)");
    }
    elf->segments = g_new0(ElfSegment, n + 1);
    for (unsigned i = 0; i < n; i++) {
        elf->segments[i] = read_segment(data + table + (uint64_t)i * entry_size, elf->is64);
        if (!check_segment(&elf->segments[i], i, file_size, err)) {
            elf_close(elf);
            return false;
        }
    }
    elf->n_segments = n;
    return true;
}

void elf_close(ElfFile *elf)
{
    g_free(elf->segments);
    elf->segments   = NULL;
    elf->n_segments = 0;
}

/* Notes are aligned to 4 bytes, in segments that say so to 8. */
const uint8_t *elf_find_note_in(const uint8_t *notes, uint64_t size, uint64_t align, const char *name, uint32_t type,
                                size_t *len)
{
    size_t want = strlen(name) + 1;

    align = align == 8 ? 8 : 4;
    for (uint64_t at = 0; range_fits(at, NOTE_WORDS, size);) {
        uint32_t name_size = load_le32(notes + at);
        uint32_t desc_size = load_le32(notes + at + 4);
        uint32_t note_type = load_le32(notes + at + 8);
        uint64_t name_at   = at + NOTE_WORDS;
        uint64_t desc_at   = align_up(name_at + name_size, align);
        if (!range_fits(name_at, name_size, size) || !range_fits(desc_at, desc_size, size)) {
            return NULL;
        }
        if (note_type == type && name_size == want && memcmp(notes + name_at, name, want) == 0) {
            *len = desc_size;
            return notes + desc_at;
        }
        at = align_up(desc_at + desc_size, align);
    }
    return NULL;
}

const uint8_t *elf_find_note(const ElfFile *elf, const char *name, uint32_t type, size_t *len)
{
    for (unsigned i = 0; i < elf->n_segments; i++) {
        const ElfSegment *s = &elf->segments[i];
        if (s->type == ELF_PT_NOTE) {
            const uint8_t *found = elf_find_note_in(elf->data + s->offset, s->file_size, s->align, name, type, len);
            if (found) {
                return found;
            }
        }
    }
    return NULL;
}
