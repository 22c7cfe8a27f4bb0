/* What the tests of IDE share: the driver's side of ide_rig.h's controller and drives. One machine at a time. */

#ifndef QUERN_TESTS_IDE_DRIVER_H
#define QUERN_TESTS_IDE_DRIVER_H

#include "ide_rig.h"

enum {
    PRIMARY   = 0x1f0,
    SECONDARY = 0x170,
    CONTROL   = 0x206,
    TABLE     = 0x1000,
    DATA      = 0x10000,
    READY     = ATA_DRDY | ATA_DSC
};
enum { BM_START = 1, BM_TO_MEMORY = 8, BM_ACTIVE = 1, BM_ERROR = 2, BM_INT = 4 };

extern IdeRig  rig;
extern uint8_t data[IDE_BUFFER * 4]; /* what a test reads or writes */

void before(void);
void after(void);

/* A channel's register, by its base. */
uint8_t  get(uint16_t base, unsigned reg);
void     put(uint16_t base, unsigned reg, uint8_t value);
TestPin *irq_of(uint16_t base);

/* Status when the drive has done what it can; that takes the interrupt back. */
uint8_t settle(uint16_t base);

/* To drive 0 of the channel, with an address of 28 or 48 bits; its interrupts are counted from here. */
void command28(uint16_t base, uint8_t command, uint8_t count, uint32_t lba);
void command48(uint16_t base, uint8_t command, uint16_t count, uint64_t lba);

/* By PIO, 16 bits at a time; 32 bits at a time. */
void read_data(uint16_t base, uint8_t *to, unsigned bytes);
void write_data(uint16_t base, const uint8_t *from, unsigned bytes);

void check_failed(uint16_t base, uint8_t error);

/* Do `count` blocks of `size` bytes begin with first, first + 1 ...? */
void check_numbers(const uint8_t *from, uint32_t first, unsigned count, unsigned size);

/* The bus masters: entry n of the table that both use; how: BM_TO_MEMORY or 0. */
void    prd(unsigned n, uint32_t addr, uint16_t count, bool last);
void    start_master(unsigned channel, uint8_t how);
uint8_t master_status(unsigned channel);
void    stop_master(unsigned channel);

#endif
