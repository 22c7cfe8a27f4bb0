/* A machine of nothing but memory, clock and wires, for tests of single devices. */

#ifndef QUERN_TESTS_UNIT_PLATFORM_H
#define QUERN_TESTS_UNIT_PLATFORM_H

#include "devices/device.h"
#include "memory/dma.h"
#include "memory/ram.h"

enum { TEST_RAM_SIZE = 4 << 20 };

/* One wire's end: what arrived. */
typedef struct TestPin {
    IrqPin          pin;
    int             level;
    unsigned        rises, falls;
    IrqHearing      hearing; /* what it says of an edge */
    bool            latches; /* a rise has it wait until test_pin_take() */
    const IrqTaken *taken;   /* who wants to know when that changes */
} TestPin;

/* Everything is under the machine lock, which test_platform_open() takes. The virtual clock is manual, at 0. */
typedef struct TestPlatform {
    Platform    p; /* first */
    MachineLock lock;
    Log         log;
    Region      memory_root, io_root;
    RamBlock   *ram;
    Region      ram_region; /* TEST_RAM_SIZE bytes at 0 */
    TestPin     isa[16], gsi[24];

    unsigned      resets, shutdowns, suspends, wakeups, panics, watchdogs, nmis;
    ShutdownCause shutdown_cause;
    int           exit_code;
    unsigned      msis;
    uint64_t      msi_address;
    uint32_t      msi_data;
} TestPlatform;

void test_platform_open(TestPlatform *t);
void test_platform_close(TestPlatform *t); /* unrealizes all devices */

/* A wire of its own. */
void test_pin_init(TestPin *pin);
void test_pin_forget(TestPin *pin); /* counts from 0 again */
void test_pin_take(TestPin *pin);   /* the edge that waited is taken: whoever asked hears of it */

uint8_t  in8(TestPlatform *t, uint16_t port);
uint16_t in16(TestPlatform *t, uint16_t port);
uint32_t in32(TestPlatform *t, uint16_t port);
void     out8(TestPlatform *t, uint16_t port, uint8_t value);
void     out16(TestPlatform *t, uint16_t port, uint16_t value);
void     out32(TestPlatform *t, uint16_t port, uint32_t value);
uint64_t mem_load(TestPlatform *t, uint64_t addr, unsigned size);
void     mem_store(TestPlatform *t, uint64_t addr, uint64_t value, unsigned size);

void test_step(TestPlatform *t, int64_t ns);

/* Saves the device, resets it, loads what was saved, saves again: both are the same. */
void test_save_load(Device *dev);

/* After a reset the device is as after a reset at start: compares saved states. */
GByteArray *test_saved(Device *dev);
void        test_reset_is(Device *dev, GByteArray *fresh); /* takes fresh */

#endif
