/* The pair of 8259A interrupt controllers of a PC. See i8259.c. */

#ifndef QUERN_DEVICES_IRQ_I8259_H
#define QUERN_DEVICES_IRQ_I8259_H

#include "devices/device.h"

typedef struct I8259 I8259; /* "isa-i8259" */

/* Which word the next write to port 1 is. */
enum { I8259_EXPECT_OCW1, I8259_EXPECT_ICW2, I8259_EXPECT_ICW3, I8259_EXPECT_ICW4 };

/* The state of one chip. */
typedef struct I8259Chip {
    uint8_t irr, isr, imr;
    uint8_t lines;  /* levels of the inputs */
    uint8_t elcr;   /* 1: level-triggered */
    uint8_t icw1;   /* while it initializes */
    uint8_t expect; /* I8259_EXPECT_* */
    uint8_t base;   /* vector of input 0, ICW2 */
    uint8_t icw4;
    uint8_t lowest;   /* input of lowest priority */
    bool    read_isr; /* OCW3: port 0 reads ISR rather than IRR */
    bool    poll;     /* the next read is a poll */
    bool    special_mask;
    bool    rotate_aeoi;
} I8259Chip;

/* Makes the pair at 20h and A0h, ELCR at 4D0h, with its output on `intr` (LINT0 of the boot processor; may be
 * NULL). Inputs: unnamed group of 16; input 2 is the cascade and does nothing. */
I8259  *i8259_create(Platform *platform, IrqPin *intr, Error *err);
IrqPin *i8259_input(I8259 *pic, unsigned irq);

/* The INTA cycles: the vector of the highest request, which goes into service. Spurious: vector 7 (or 15) of the
 * controller. Machine lock held. */
uint8_t i8259_ack(I8259 *pic);

/* Is INTR high? */
bool i8259_pending(const I8259 *pic);

/* ELCR as one 16-bit value, and setting it (what firmware does for PIRQs in direct boot). */
uint16_t i8259_get_elcr(const I8259 *pic);
void     i8259_set_elcr(I8259 *pic, uint16_t elcr);

/* Controllers that run elsewhere, in the host's kernel: from now on inputs go there, and this pair only keeps the state
 * while the machine stands. NULL: back to this one. Levels of inputs (`lines`) are kept here in any case, and are not
 * changed by i8259_set_chip(). n: 0 master, 1 slave. Machine lock held. */
void      i8259_set_external(I8259 *pic, void (*set_input)(void *opaque, unsigned input, int level), void *opaque);
I8259Chip i8259_get_chip(const I8259 *pic, unsigned n);
void      i8259_set_chip(I8259 *pic, unsigned n, const I8259Chip *chip);

#endif
