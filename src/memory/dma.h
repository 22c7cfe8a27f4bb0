/* DMA: how devices reach guest memory. RAM and ROM only, and regions marked dma_safe; an access that touches one of
 * those takes the machine lock (unless all of it is RAM). */

#ifndef QUERN_MEMORY_DMA_H
#define QUERN_MEMORY_DMA_H

#include "memory/memory.h"

/* Reads len bytes at guest-physical addr into buf. An address that reaches a device or nothing at all fails with
 * MEM_NOT_RAM or MEM_UNMAPPED and leaves buf untouched. Any thread; takes no lock. Crosses region borders. For at
 * most some MiB at a time: the map cannot change meanwhile. */
MemResult dma_read(AddressSpace *as, uint64_t addr, void *buf, size_t len);

/* Writes; fails like dma_read, before the first byte is written. ROM is MEM_REFUSED. */
MemResult dma_write(AddressSpace *as, uint64_t addr, const void *buf, size_t len);

#endif
