/* 8259A pair: priorities, initialization, end of interrupt, special modes, cascade, ELCR. */

#include "devices/irq/gates.h"
#include "devices/irq/i8259.h"
#include "platform.h"

typedef struct Rig {
    TestPlatform t;
    TestPin      intr;
    I8259       *pic;
} Rig;

static void init_chips(Rig *r, uint8_t icw4)
{
    static const uint8_t words[][2] = { { 0x20, 0x11 }, { 0x21, 0x30 }, { 0x21, 0x04 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(words); i++) {
        out8(&r->t, words[i][0], words[i][1]);
    }
    out8(&r->t, 0x21, icw4);
    out8(&r->t, 0xa0, 0x11);
    out8(&r->t, 0xa1, 0x38);
    out8(&r->t, 0xa1, 0x02);
    out8(&r->t, 0xa1, icw4 & 0x0f); /* fully nested is the master's */
}

static void open_rig(Rig *r)
{
    g_auto(Error) err = {};
    test_platform_open(&r->t);
    test_pin_init(&r->intr);
    bus_new(BUS_ISA, NULL, NULL, &r->t.p);
    r->pic = i8259_create(&r->t.p, &r->intr.pin, &err);
    g_assert_nonnull(r->pic);
    devices_reset(&r->t.p, RESET_COLD);
    init_chips(r, 0x01);
}

static void close_rig(Rig *r)
{
    test_platform_close(&r->t);
}

static void set(Rig *r, unsigned irq, int level)
{
    irq_set(&(IrqLine){ i8259_input(r->pic, irq) }, level);
}

static void pulse(Rig *r, unsigned irq)
{
    set(r, irq, 1);
    set(r, irq, 0);
}

static uint8_t isr(Rig *r, uint16_t port)
{
    out8(&r->t, port, 0x0b);
    return in8(&r->t, port);
}

static uint8_t irr(Rig *r, uint16_t port)
{
    out8(&r->t, port, 0x0a);
    return in8(&r->t, port);
}

static void test_priority(void)
{
    Rig r;
    open_rig(&r);
    g_assert_false(i8259_pending(r.pic));
    pulse(&r, 5);
    pulse(&r, 3);
    g_assert_cmpint(r.intr.level, ==, 1);
    g_assert_cmphex(irr(&r, 0x20), ==, 0x28);
    g_assert_cmphex(i8259_ack(r.pic), ==, 0x33);
    g_assert_cmphex(isr(&r, 0x20), ==, 0x08);
    g_assert_cmpint(r.intr.level, ==, 0); /* 5 waits for 3 */
    pulse(&r, 1);                         /* 1 does not */
    g_assert_cmphex(i8259_ack(r.pic), ==, 0x31);
    out8(&r.t, 0x20, 0x20); /* non-specific: the highest in service */
    g_assert_cmphex(isr(&r, 0x20), ==, 0x08);
    out8(&r.t, 0x20, 0x63); /* specific */
    g_assert_cmphex(isr(&r, 0x20), ==, 0);
    g_assert_cmphex(i8259_ack(r.pic), ==, 0x35);
    close_rig(&r);
}

static void test_mask_and_spurious(void)
{
    Rig r;
    open_rig(&r);
    out8(&r.t, 0x21, 0xff);
    g_assert_cmphex(in8(&r.t, 0x21), ==, 0xff);
    pulse(&r, 4);
    g_assert_cmpint(r.intr.level, ==, 0);
    g_assert_cmphex(irr(&r, 0x20), ==, 0x10); /* latched all the same */
    out8(&r.t, 0x21, 0);
    g_assert_cmpint(r.intr.level, ==, 1);
    g_assert_cmphex(i8259_ack(r.pic), ==, 0x34);
    g_assert_cmphex(i8259_ack(r.pic), ==, 0x37); /* nothing asks: spurious, and nothing in service for it */
    g_assert_cmphex(isr(&r, 0x20), ==, 0x10);
    close_rig(&r);
}

static void test_cascade(void)
{
    Rig r;
    open_rig(&r);
    pulse(&r, 12);
    pulse(&r, 3);
    g_assert_cmphex(i8259_ack(r.pic), ==, 0x3c); /* slave's inputs rank as input 2 */
    g_assert_cmphex(isr(&r, 0x20), ==, 0x04);
    g_assert_cmphex(isr(&r, 0xa0), ==, 0x10);
    g_assert_cmpint(r.intr.level, ==, 0);
    pulse(&r, 8); /* higher on the slave, but the master is at input 2 */
    g_assert_cmpint(r.intr.level, ==, 0);
    out8(&r.t, 0xa0, 0x20);
    out8(&r.t, 0x20, 0x20);
    g_assert_cmphex(i8259_ack(r.pic), ==, 0x38);
    out8(&r.t, 0xa0, 0x20);
    out8(&r.t, 0x20, 0x20);
    g_assert_cmphex(i8259_ack(r.pic), ==, 0x33);
    /* Special fully nested: a higher slave input interrupts a lower one. */
    init_chips(&r, 0x11);
    pulse(&r, 12);
    g_assert_cmphex(i8259_ack(r.pic), ==, 0x3c);
    pulse(&r, 8);
    g_assert_cmphex(i8259_ack(r.pic), ==, 0x38);
    close_rig(&r);
}

static void test_rotation(void)
{
    Rig r;
    open_rig(&r);
    out8(&r.t, 0x20, 0xc3); /* set priority: 3 is lowest, 4 highest */
    pulse(&r, 0);
    pulse(&r, 4);
    pulse(&r, 3);
    g_assert_cmphex(i8259_ack(r.pic), ==, 0x34);
    out8(&r.t, 0x20, 0xa0); /* rotate on non-specific EOI: 4 becomes lowest */
    g_assert_cmphex(i8259_ack(r.pic), ==, 0x30);
    out8(&r.t, 0x20, 0xe0); /* rotate on specific EOI 0: 1 is highest */
    g_assert_cmphex(i8259_ack(r.pic), ==, 0x33);
    out8(&r.t, 0x20, 0x20);
    pulse(&r, 0);
    pulse(&r, 1);
    g_assert_cmphex(i8259_ack(r.pic), ==, 0x31);
    close_rig(&r);
}

static void test_auto_eoi(void)
{
    Rig r;
    open_rig(&r);
    init_chips(&r, 0x03);
    out8(&r.t, 0x20, 0x80); /* rotate in automatic EOI mode */
    pulse(&r, 2 + 1);
    pulse(&r, 6);
    g_assert_cmphex(i8259_ack(r.pic), ==, 0x33);
    g_assert_cmphex(isr(&r, 0x20), ==, 0);
    pulse(&r, 3);
    g_assert_cmphex(i8259_ack(r.pic), ==, 0x36); /* 3 went to the end */
    out8(&r.t, 0x20, 0x00);                      /* no more rotation */
    g_assert_cmphex(i8259_ack(r.pic), ==, 0x33);
    close_rig(&r);
}

static void test_special_mask(void)
{
    Rig r;
    open_rig(&r);
    pulse(&r, 1);
    g_assert_cmphex(i8259_ack(r.pic), ==, 0x31);
    pulse(&r, 5);
    g_assert_cmpint(r.intr.level, ==, 0);
    out8(&r.t, 0x20, 0x68); /* set special mask mode */
    out8(&r.t, 0x21, 0x02); /* 1 masked: no longer in the way */
    g_assert_cmphex(i8259_ack(r.pic), ==, 0x35);
    out8(&r.t, 0x20, 0x20); /* non-specific EOI passes the masked one over */
    g_assert_cmphex(isr(&r, 0x20), ==, 0x02);
    out8(&r.t, 0x20, 0x48); /* off */
    pulse(&r, 5);
    g_assert_cmpint(r.intr.level, ==, 0);
    close_rig(&r);
}

static void test_poll(void)
{
    Rig r;
    open_rig(&r);
    out8(&r.t, 0x20, 0x0c);
    g_assert_cmphex(in8(&r.t, 0x20), ==, 0);
    pulse(&r, 6);
    out8(&r.t, 0x20, 0x0c);
    g_assert_cmphex(in8(&r.t, 0x20), ==, 0x86);
    g_assert_cmphex(in8(&r.t, 0x20), ==, 0); /* one read only, then IRR again */
    g_assert_cmphex(isr(&r, 0x20), ==, 0x40);
    close_rig(&r);
}

static void test_elcr(void)
{
    Rig r;
    open_rig(&r);
    out8(&r.t, 0x4d0, 0xff);
    out8(&r.t, 0x4d1, 0xff);
    g_assert_cmphex(in8(&r.t, 0x4d0), ==, 0xf8);
    g_assert_cmphex(in8(&r.t, 0x4d1), ==, 0xde);
    g_assert_cmphex(i8259_get_elcr(r.pic), ==, 0xdef8);
    set(&r, 5, 1);
    g_assert_cmphex(i8259_ack(r.pic), ==, 0x35);
    out8(&r.t, 0x20, 0x20);
    g_assert_cmpint(r.intr.level, ==, 1); /* still high: asks again */
    set(&r, 5, 0);
    g_assert_cmpint(r.intr.level, ==, 0); /* withdrawn */
    /* Edge: the level asks once. */
    i8259_set_elcr(r.pic, 0);
    set(&r, 5, 1);
    g_assert_cmphex(i8259_ack(r.pic), ==, 0x35);
    out8(&r.t, 0x20, 0x20);
    g_assert_cmpint(r.intr.level, ==, 0);
    /* A slave that withdraws its request takes back the master's. */
    i8259_set_elcr(r.pic, 1 << 11);
    set(&r, 11, 1);
    g_assert_cmpint(r.intr.level, ==, 1);
    set(&r, 11, 0);
    g_assert_cmpint(r.intr.level, ==, 0);
    close_rig(&r);
}

static IrqHearing hearing(Rig *r, unsigned irq)
{
    return irq_hearing(&(IrqLine){ i8259_input(r->pic, irq) }, NULL);
}

static void count_call(void *opaque)
{
    ++*(unsigned *)opaque;
}

/* Who waits for an edge to be taken hears of it once. */
static void test_taken(void)
{
    Rig      r;
    unsigned calls = 0;
    IrqTaken taken = { count_call, &calls };
    open_rig(&r);
    for (unsigned irq = 0; irq < 16; irq += 8) {
        IrqLine line = { i8259_input(r.pic, irq) };
        calls        = 0;
        g_assert_cmpint(irq_hearing(&line, &taken), ==, IRQ_HEARS);
        pulse(&r, irq);
        i8259_ack(r.pic);
        g_assert_cmpuint(calls, ==, 0); /* it had not to wait */
        pulse(&r, irq);
        g_assert_cmpint(irq_hearing(&line, &taken), ==, IRQ_WAITS);
        g_assert_cmpint(irq_hearing(&line, NULL), ==, IRQ_WAITS);
        pulse(&r, 1);
        out8(&r.t, 0xa0, 0x20);
        out8(&r.t, 0x20, 0x20);
        g_assert_cmpuint(calls, ==, 0);
        i8259_ack(r.pic);
        i8259_ack(r.pic);
        g_assert_cmpuint(calls, ==, irq ? 0 : 1); /* IRQ 1 ranks between them */
        out8(&r.t, 0x20, 0x20);
        out8(&r.t, 0x20, 0x20);
        i8259_ack(r.pic);
        g_assert_cmpuint(calls, ==, 1);
        out8(&r.t, 0xa0, 0x20);
        out8(&r.t, 0x20, 0x20);
        pulse(&r, irq);
        i8259_ack(r.pic);
        g_assert_cmpuint(calls, ==, 1);
        out8(&r.t, 0xa0, 0x20);
        out8(&r.t, 0x20, 0x20);
    }
    close_rig(&r);
}

static void test_hearing(void)
{
    Rig r;
    open_rig(&r);
    g_assert_cmpint(hearing(&r, 0), ==, IRQ_HEARS);
    pulse(&r, 0);
    g_assert_cmpint(hearing(&r, 0), ==, IRQ_WAITS);
    i8259_ack(r.pic); /* one in service, another may wait */
    g_assert_cmpint(hearing(&r, 0), ==, IRQ_HEARS);
    out8(&r.t, 0x21, 1);
    g_assert_cmpint(hearing(&r, 0), ==, IRQ_DEAF);
    g_assert_cmpint(hearing(&r, 8), ==, IRQ_HEARS);
    out8(&r.t, 0x21, 4); /* the cascade */
    g_assert_cmpint(hearing(&r, 8), ==, IRQ_DEAF);
    IrqSplit split;
    TestPin  other;
    test_pin_init(&other);
    irq_split_init(&split, i8259_input(r.pic, 8), &other.pin);
    other.hearing = IRQ_WAITS;
    g_assert_cmpint(irq_hearing(&(IrqLine){ &split.in }, NULL), ==, IRQ_WAITS);
    out8(&r.t, 0x21, 0); /* who hears counts */
    g_assert_cmpint(irq_hearing(&(IrqLine){ &split.in }, NULL), ==, IRQ_HEARS);
    irq_split_init(&split, NULL, NULL);
    g_assert_cmpint(irq_hearing(&(IrqLine){ &split.in }, NULL), ==, IRQ_DEAF);
    close_rig(&r);
}

static void test_icw1(void)
{
    Rig r;
    open_rig(&r);
    out8(&r.t, 0x21, 0x55);
    pulse(&r, 3);
    set(&r, 4, 1);
    out8(&r.t, 0x20, 0x12);                /* single, no ICW4 */
    g_assert_cmphex(irr(&r, 0x20), ==, 0); /* edges start anew, even of inputs that are high */
    out8(&r.t, 0x21, 0x47);
    out8(&r.t, 0x21, 0x0f); /* OCW1 at once */
    g_assert_cmphex(in8(&r.t, 0x21), ==, 0x0f);
    set(&r, 4, 0);
    set(&r, 4, 1);
    g_assert_cmphex(i8259_ack(r.pic), ==, 0x44); /* low bits of ICW2 do not count */
    close_rig(&r);
}

static void test_state(void)
{
    Rig r;
    open_rig(&r);
    Device *dev = (Device *)r.pic;
    device_type(dev)->reset(dev, RESET_COLD);
    GByteArray *fresh = test_saved(dev);
    init_chips(&r, 0x03);
    out8(&r.t, 0x21, 0x12);
    out8(&r.t, 0x20, 0xc5);
    out8(&r.t, 0x4d1, 0x08);
    pulse(&r, 3);
    pulse(&r, 11);
    g_assert_cmpint(r.intr.level, ==, 1);
    test_save_load(dev);
    g_assert_cmpint(r.intr.level, ==, 1);
    g_assert_cmphex(in8(&r.t, 0x4d1), ==, 0x08);
    test_reset_is(dev, fresh);
    g_assert_cmpint(r.intr.level, ==, 0);
    close_rig(&r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/i8259/priority", test_priority);
    g_test_add_func("/i8259/mask", test_mask_and_spurious);
    g_test_add_func("/i8259/cascade", test_cascade);
    g_test_add_func("/i8259/rotation", test_rotation);
    g_test_add_func("/i8259/auto-eoi", test_auto_eoi);
    g_test_add_func("/i8259/special-mask", test_special_mask);
    g_test_add_func("/i8259/poll", test_poll);
    g_test_add_func("/i8259/elcr", test_elcr);
    g_test_add_func("/i8259/hearing", test_hearing);
    g_test_add_func("/i8259/taken", test_taken);
    g_test_add_func("/i8259/icw1", test_icw1);
    g_test_add_func("/i8259/state", test_state);
    return g_test_run();
}
