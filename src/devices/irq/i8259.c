/* The pair of 8259A programmable interrupt controllers of a PC, as the PIIX3 has them.
 * Specifications: Intel 8259A data sheet, order 231468-003 (December 1988); Intel 82371SB (PIIX3) data sheet, order
 * 290550-002, section 2.5.3 (ELCR in place of LTIM, 8086 mode only).
 * Under the machine lock. */

#include "devices/irq/i8259.h"

#include "base/trace.h"

enum { MASTER, SLAVE, N_CHIPS };

enum {
    ICW1        = 1 << 4, /* port 0: this bit makes it ICW1 */
    ICW1_IC4    = 1 << 0,
    ICW1_SNGL   = 1 << 1,
    OCW3        = 1 << 3, /* port 0: this bit, without ICW1's, makes it OCW3 */
    OCW3_RIS    = 1 << 0,
    OCW3_RR     = 1 << 1,
    OCW3_P      = 1 << 2,
    OCW3_SMM    = 1 << 5,
    OCW3_ESMM   = 1 << 6,
    OCW2_EOI    = 1 << 5,
    OCW2_SL     = 1 << 6,
    OCW2_R      = 1 << 7,
    ICW4_UPM    = 1 << 0,
    ICW4_AEOI   = 1 << 1,
    ICW4_SFNM   = 1 << 4,
    POLL_I      = 1 << 7,
    CASCADE     = 2,
    SPURIOUS    = 7,
    NO_REQUEST  = 8,
    ELCR_MASTER = 0xf8, /* IRQ 0, 1 and 2 are edge-triggered always */
    ELCR_SLAVE  = 0xde, /* and so are 8 and 13 */
};

enum {
    EXPECT_OCW1 = I8259_EXPECT_OCW1,
    EXPECT_ICW2 = I8259_EXPECT_ICW2,
    EXPECT_ICW3 = I8259_EXPECT_ICW3,
    EXPECT_ICW4 = I8259_EXPECT_ICW4,
};

typedef I8259Chip Chip;

struct I8259 {
    Device          dev;
    Chip            chips[N_CHIPS];
    bool            intr; /* level of the output */
    IrqLine         out;
    Region          ports[N_CHIPS], elcr_ports;
    const IrqTaken *taken[16]; /* by input: who waits until a pending edge is taken; NULL: nobody */
    void (*external)(void *opaque, unsigned input, int level); /* where inputs go instead */
    void *external_opaque;
};

/* ---- Priorities ---- */

/* 0: highest. */
static unsigned rank_of(const Chip *c, unsigned input)
{
    return (input - c->lowest - 1) & 7;
}

/* The input of highest rank among `bits`, or NO_REQUEST. */
static unsigned highest(const Chip *c, uint8_t bits)
{
    for (unsigned rank = 0; rank < 8; rank++) {
        unsigned input = (c->lowest + 1 + rank) & 7;
        if (bits >> input & 1) {
            return input;
        }
    }
    return NO_REQUEST;
}

/* The request that interrupts now: unmasked, and of higher rank than all in service. */
static unsigned request_of(const Chip *c, bool master)
{
    uint8_t  in_service = c->isr;
    unsigned input      = highest(c, c->irr & ~c->imr);
    if (c->special_mask) {
        in_service &= ~c->imr;
    }
    if (master && c->icw4 & ICW4_SFNM) {
        in_service &= ~(1 << CASCADE); /* the slave decides among its own */
    }
    unsigned busy = highest(c, in_service);
    return input != NO_REQUEST && busy != NO_REQUEST && rank_of(c, input) >= rank_of(c, busy) ? NO_REQUEST : input;
}

static void chip_set_line(Chip *c, unsigned input, bool level)
{
    uint8_t bit = (uint8_t)(1 << input);
    if (c->elcr & bit) {
        c->irr = level ? c->irr | bit : c->irr & ~bit;
    } else if (level && !(c->lines & bit)) {
        c->irr |= bit;
    }
    c->lines = level ? c->lines | bit : c->lines & ~bit;
}

/* Carries the slave's output to the master and the master's to the CPU. */
static void update(I8259 *pic)
{
    bool  slave  = request_of(&pic->chips[SLAVE], false) != NO_REQUEST;
    Chip *master = &pic->chips[MASTER];
    /* The cascade input follows the slave: a request that the slave withdrew must not stay latched. */
    master->irr   = (uint8_t)((master->irr & ~(1 << CASCADE)) | slave << CASCADE);
    master->lines = (uint8_t)((master->lines & ~(1 << CASCADE)) | slave << CASCADE);
    bool intr     = request_of(master, true) != NO_REQUEST;
    if (intr != pic->intr && !pic->external) {
        pic->intr = intr;
        irq_set(&pic->out, intr);
    }
}

/* A request goes into service: the second INTA, or a poll. */
static void take(Chip *c, unsigned input)
{
    uint8_t bit = (uint8_t)(1 << input);
    if (c->icw4 & ICW4_AEOI) {
        if (c->rotate_aeoi) {
            c->lowest = (uint8_t)input;
        }
    } else {
        c->isr |= bit;
    }
    if (!(c->elcr & bit)) {
        c->irr &= ~bit;
    }
}

/* Whoever waits for an input of this chip that has none pending any more. */
static void tell_taken(I8259 *pic, unsigned n)
{
    for (unsigned input = 0; input < 8; input++) {
        const IrqTaken *taken = pic->taken[8 * n + input];
        if (taken && !(pic->chips[n].irr >> input & 1)) {
            pic->taken[8 * n + input] = NULL;
            taken->call(taken->opaque);
        }
    }
}

uint8_t i8259_ack(I8259 *pic)
{
    Chip    *master = &pic->chips[MASTER], *slave = &pic->chips[SLAVE];
    unsigned input = request_of(master, true);
    uint8_t  vector;
    if (input == NO_REQUEST) {
        return master->base + SPURIOUS;
    }
    take(master, input);
    if (input == CASCADE) {
        unsigned second = request_of(slave, false);
        if (second != NO_REQUEST) {
            take(slave, second);
        }
        vector = (uint8_t)(slave->base + (second == NO_REQUEST ? SPURIOUS : second));
    } else {
        vector = (uint8_t)(master->base + input);
    }
    update(pic);
    tell_taken(pic, input == CASCADE ? SLAVE : MASTER);
    return vector;
}

bool i8259_pending(const I8259 *pic)
{
    return pic->intr;
}

/* ---- Command words ---- */

static void write_icw1(Chip *c, uint8_t value)
{
    /* The edge sense circuit starts anew: an input must rise again. What is level-triggered stays requested. */
    c->irr          = c->lines & c->elcr;
    c->imr          = 0;
    c->isr          = 0;
    c->lowest       = 7;
    c->special_mask = false;
    c->read_isr     = false;
    c->poll         = false;
    c->icw1         = value;
    c->icw4         = 0;
    c->rotate_aeoi  = false;
    c->expect       = EXPECT_ICW2;
}

static void write_ocw2(Chip *c, uint8_t value)
{
    unsigned input = value & OCW2_SL ? value & 7u : highest(c, c->special_mask ? c->isr & ~c->imr : c->isr);
    if (!(value & OCW2_EOI)) {
        if (value & OCW2_SL) {
            if (value & OCW2_R) {
                c->lowest = (uint8_t)input; /* set priority; without R it is a no-operation */
            }
        } else {
            c->rotate_aeoi = value & OCW2_R;
        }
        return;
    }
    if (input != NO_REQUEST) {
        c->isr &= ~(1 << input);
        if (value & OCW2_R) {
            c->lowest = (uint8_t)input;
        }
    }
}

static void write_ocw3(Chip *c, uint8_t value)
{
    if (value & OCW3_P) {
        c->poll = true;
    } else if (value & OCW3_RR) {
        c->read_isr = value & OCW3_RIS;
    }
    if (value & OCW3_ESMM) {
        c->special_mask = value & OCW3_SMM;
    }
}

static void write_port1(I8259 *pic, Chip *c, uint8_t value)
{
    switch (c->expect) {
    case EXPECT_ICW2:
        c->base   = value & 0xf8;
        c->expect = c->icw1 & ICW1_SNGL ? (c->icw1 & ICW1_IC4 ? EXPECT_ICW4 : EXPECT_OCW1) : EXPECT_ICW3;
        break;
    case EXPECT_ICW3: /* the cascade is wired to input 2 */
        c->expect = c->icw1 & ICW1_IC4 ? EXPECT_ICW4 : EXPECT_OCW1;
        break;
    case EXPECT_ICW4:
        if (!(value & ICW4_UPM)) {
            log_print(pic->dev.platform->log, LOG_GUEST_ERRORS, "i8259: MCS-80/85 mode does not exist here\n");
        }
        c->icw4   = value;
        c->expect = EXPECT_OCW1;
        break;
    default: c->imr = value;
    }
}

static void chip_write(I8259 *pic, Chip *c, uint64_t offset, uint8_t value)
{
    if (offset) {
        write_port1(pic, c, value);
    } else if (value & ICW1) {
        write_icw1(c, value);
    } else if (value & OCW3) {
        write_ocw3(c, value);
    } else {
        write_ocw2(c, value);
    }
    update(pic);
}

static uint8_t chip_read(I8259 *pic, Chip *c, uint64_t offset)
{
    if (c->poll) {
        unsigned input = request_of(c, c == &pic->chips[MASTER]);
        c->poll        = false;
        if (input == NO_REQUEST) {
            return 0;
        }
        take(c, input);
        update(pic);
        return (uint8_t)(POLL_I | input);
    }
    return offset ? c->imr : c->read_isr ? c->isr : c->irr;
}

static uint64_t master_read(void *opaque, uint64_t offset, unsigned size)
{
    I8259 *pic = opaque;
    return chip_read(pic, &pic->chips[MASTER], offset);
}

static void master_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    I8259 *pic = opaque;
    chip_write(pic, &pic->chips[MASTER], offset, (uint8_t)value);
}

static uint64_t slave_read(void *opaque, uint64_t offset, unsigned size)
{
    I8259 *pic = opaque;
    return chip_read(pic, &pic->chips[SLAVE], offset);
}

static void slave_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    I8259 *pic = opaque;
    chip_write(pic, &pic->chips[SLAVE], offset, (uint8_t)value);
}

static const IoOps chip_ops[N_CHIPS] = {
    { .name = "pic", .access = IO_BYTE, .read = master_read, .write = master_write },
    { .name = "pic", .access = IO_BYTE, .read = slave_read, .write = slave_write },
};

/* ---- ELCR ---- */

static void set_elcr(Chip *c, uint8_t value)
{
    uint8_t to_level = value & ~c->elcr;
    c->elcr          = value;
    c->irr           = (c->irr & ~to_level) | (c->lines & to_level);
}

static uint64_t elcr_read(void *opaque, uint64_t offset, unsigned size)
{
    const I8259 *pic = opaque;
    return pic->chips[offset].elcr;
}

static void elcr_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    I8259 *pic = opaque;
    set_elcr(&pic->chips[offset], (uint8_t)value & (offset == MASTER ? ELCR_MASTER : ELCR_SLAVE));
    update(pic);
}

static const IoOps elcr_ops = { .name = "elcr", .access = IO_BYTE, .read = elcr_read, .write = elcr_write };

uint16_t i8259_get_elcr(const I8259 *pic)
{
    return (uint16_t)(pic->chips[MASTER].elcr | pic->chips[SLAVE].elcr << 8);
}

void i8259_set_elcr(I8259 *pic, uint16_t elcr)
{
    elcr_write(pic, MASTER, elcr & 0xff, 1);
    elcr_write(pic, SLAVE, elcr >> 8, 1);
}

/* ---- External ---- */

void i8259_set_external(I8259 *pic, void (*set_input)(void *opaque, unsigned input, int level), void *opaque)
{
    pic->external        = set_input;
    pic->external_opaque = opaque;
}

I8259Chip i8259_get_chip(const I8259 *pic, unsigned n)
{
    return pic->chips[n];
}

void i8259_set_chip(I8259 *pic, unsigned n, const I8259Chip *chip)
{
    uint8_t lines        = pic->chips[n].lines;
    pic->chips[n]        = *chip;
    pic->chips[n].lines  = lines;
    pic->chips[n].lowest = chip->lowest & 7;
}

/* ---- The device ---- */

static void set_input(void *opaque, int n, int level)
{
    I8259 *pic = opaque;
    if (n == CASCADE) {
        return;
    }
    trace(pic->dev.platform->log, TRACE_PIC, "irq %d level %d", n, level);
    if (pic->external) {
        Chip   *c   = &pic->chips[n / 8];
        uint8_t bit = (uint8_t)(1 << n % 8);
        c->lines    = level ? c->lines | bit : c->lines & ~bit;
        pic->external(pic->external_opaque, (unsigned)n, level);
    } else {
        chip_set_line(&pic->chips[n / 8], (unsigned)n % 8, level);
        update(pic);
    }
}

static const Field chip_state[] = {
    FIELD(Chip, irr, "irr"),
    FIELD(Chip, isr, "isr"),
    FIELD(Chip, imr, "imr"),
    FIELD(Chip, lines, "lines"),
    FIELD(Chip, elcr, "elcr"),
    FIELD(Chip, icw1, "icw1"),
    FIELD(Chip, expect, "expect", .max = EXPECT_ICW4),
    FIELD(Chip, base, "base"),
    FIELD(Chip, icw4, "icw4"),
    FIELD(Chip, lowest, "lowest", .max = 7),
    FIELD(Chip, read_isr, "read-isr"),
    FIELD(Chip, poll, "poll"),
    FIELD(Chip, special_mask, "special-mask"),
    FIELD(Chip, rotate_aeoi, "rotate-aeoi"),
    {},
};

static const Field i8259_state[] = { FIELD_ARRAY(I8259, chips, "chips", .sub = chip_state), {} };

static IrqHearing input_hearing(void *opaque, int n, const IrqTaken *taken)
{
    I8259      *pic = opaque;
    const Chip *c   = &pic->chips[n / 8];
    uint8_t     bit = (uint8_t)(1 << n % 8);

    if (pic->external || c->elcr & bit) {
        return IRQ_HEARS;
    }
    if (c->imr & bit || (n >= 8 && pic->chips[MASTER].imr & 1 << CASCADE)) {
        return IRQ_DEAF;
    }
    if (!(c->irr & bit)) {
        return IRQ_HEARS;
    }
    pic->taken[n] = taken ? taken : pic->taken[n];
    return IRQ_WAITS;
}

static bool i8259_realize(Device *dev, Error *err)
{
    static const uint16_t ports[N_CHIPS] = { 0x20, 0xa0 };
    I8259                *pic            = (I8259 *)dev;
    for (int n = 0; n < N_CHIPS; n++) {
        region_init_io(&pic->ports[n], dev->platform->memory, "pic", 2, &chip_ops[n], pic);
        isa_map_ports(dev, &pic->ports[n], ports[n]);
    }
    region_init_io(&pic->elcr_ports, dev->platform->memory, "elcr", 2, &elcr_ops, pic);
    isa_map_ports(dev, &pic->elcr_ports, 0x4d0);
    device_add_inputs(dev, NULL, 16, set_input);
    device_inputs_hear(dev, NULL, input_hearing);
    device_add_outputs(dev, NULL, &pic->out, 1);
    return true;
}

static void i8259_unrealize(Device *dev)
{
    I8259  *pic       = (I8259 *)dev;
    Region *regions[] = { &pic->ports[MASTER], &pic->ports[SLAVE], &pic->elcr_ports };
    for (unsigned i = 0; i < G_N_ELEMENTS(regions); i++) {
        region_unmap(regions[i]);
        region_destroy(regions[i]);
    }
}

/* Inputs keep the levels that their devices drive. */
static void i8259_reset(Device *dev, ResetKind kind)
{
    I8259 *pic = (I8259 *)dev;
    for (int n = 0; n < N_CHIPS; n++) {
        pic->chips[n] = (Chip){ .lines = pic->chips[n].lines, .lowest = 7 };
    }
    update(pic);
}

static bool i8259_post_load(Device *dev, Error *err)
{
    I8259 *pic = (I8259 *)dev;
    pic->chips[MASTER].elcr &= ELCR_MASTER;
    pic->chips[SLAVE].elcr &= ELCR_SLAVE;
    for (int n = 0; n < N_CHIPS; n++) {
        pic->chips[n].base &= 0xf8;
    }
    update(pic);
    return true;
}

DEVICE_TYPE(i8259) = {
    .name      = "isa-i8259",
    .parent    = "isa-device",
    .class     = OBJECT_CLASS_DEVICE,
    .help      = "pair of 8259A interrupt controllers",
    .size      = sizeof(I8259),
    .bus       = BUS_ISA,
    .category  = DEVICE_MISC,
    .internal  = true,
    .state     = i8259_state,
    .realize   = i8259_realize,
    .unrealize = i8259_unrealize,
    .reset     = i8259_reset,
    .post_load = i8259_post_load,
};

I8259 *i8259_create(Platform *platform, IrqPin *intr, Error *err)
{
    I8259 *pic  = device_new(platform, "isa-i8259");
    pic->out.to = intr;
    return device_realize(&pic->dev, NULL, err) ? pic : NULL;
}

IrqPin *i8259_input(I8259 *pic, unsigned irq)
{
    return device_input(&pic->dev, NULL, irq);
}
