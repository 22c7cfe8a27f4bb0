/* The steps of loading an ELF kernel by its PVH entry, for pvh.c and for who has no whole file (packed.c). */

#ifndef QUERN_MACHINE_PVH_H
#define QUERN_MACHINE_PVH_H

#include "machine/boot.h"
#include "machine/elf.h"

/* The entry that a note segment of this alignment names; false: none that can be used. */
bool pvh_find_entry(const uint8_t *notes, uint64_t size, uint64_t align, uint64_t *entry);

/* Adds a piece for each segment to load. Where there are headers only (elf_open_start) it is one of the packed file. */
bool pvh_add_segments(BootImage *image, const ElfFile *elf, Error *err);

/* The rest, when the segments are in: initrd, and what the kernel is told. */
bool pvh_finish(BootImage *image, uint64_t entry, const BootOptions *options, Error *err);

#endif
