/* BIOS services in real mode for kernels that are started without firmware. */

#ifndef QUERN_MACHINE_BIOS16_H
#define QUERN_MACHINE_BIOS16_H

#include "machine/boot.h"

#include <stddef.h>
#include <stdint.h>

enum { BIOS16_SIZE = 2048, BIOS16_VECTORS_SIZE = 1024 };

/* Fills in the image whose place is the last 2 KiB below 1 MiB, and the interrupt vectors at address 0. */
void bios16_make(uint8_t image[BIOS16_SIZE], uint8_t vectors[BIOS16_VECTORS_SIZE], const MemoryMap *map);

#endif
