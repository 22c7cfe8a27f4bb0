/* Wiring between interrupt lines. Under the machine lock. */

#include "devices/irq/gates.h"

#include <stddef.h>

static void split_set(void *opaque, int n, int level)
{
    IrqSplit *split = opaque;
    irq_set(&split->out[0], level);
    irq_set(&split->out[1], level);
}

static IrqHearing split_hearing(void *opaque, int n, const IrqTaken *taken)
{
    IrqSplit  *split = opaque;
    IrqHearing first = split->out[0].to ? irq_hearing(&split->out[0], taken) : IRQ_DEAF;
    IrqHearing other = split->out[1].to ? irq_hearing(&split->out[1], taken) : IRQ_DEAF;
    return first == IRQ_DEAF ? other : other == IRQ_DEAF || first < other ? first : other;
}

void irq_split_init(IrqSplit *split, IrqPin *first, IrqPin *second)
{
    *split = (IrqSplit){ .in = { split_set, split, 0, split_hearing }, .out = { { first }, { second } } };
}

static void or_set(void *opaque, int n, int level)
{
    IrqOr  *gate   = opaque;
    uint8_t before = gate->levels;
    gate->levels   = (uint8_t)((before & ~(1 << n)) | (level ? 1 << n : 0));
    if (!before != !gate->levels) {
        irq_set(&gate->out, gate->levels != 0);
    }
}

void irq_or_init(IrqOr *gate, IrqPin *out)
{
    *gate = (IrqOr){ .out = { out } };
    for (int n = 0; n < (int)(sizeof gate->in / sizeof gate->in[0]); n++) {
        gate->in[n] = (IrqPin){ or_set, gate, n };
    }
}
