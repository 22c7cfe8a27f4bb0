/* Interrupt lines: a wire from an output of one device to an input pin of another.
 *
 * The receiver owns IrqPins (usually an array made by device_add_inputs); a sender holds an IrqLine that points
 * at one, or at nothing. Levels: 0 or 1 (a few pins carry numbers). Machine lock held unless the pin says. */

#ifndef QUERN_DEVICES_IRQ_H
#define QUERN_DEVICES_IRQ_H

typedef struct IrqPin {
    void (*set)(void *opaque, int n, int level);
    void *opaque;
    int   n;
} IrqPin;

typedef struct IrqLine {
    IrqPin *to;
} IrqLine;

static inline void irq_set(const IrqLine *line, int level)
{
    if (line->to) {
        line->to->set(line->to->opaque, line->to->n, level);
    }
}

static inline void irq_raise(const IrqLine *line)
{
    irq_set(line, 1);
}

static inline void irq_lower(const IrqLine *line)
{
    irq_set(line, 0);
}

static inline void irq_pulse(const IrqLine *line)
{
    irq_set(line, 1);
    irq_set(line, 0);
}

#endif
