/* Interrupt lines: a wire from an output of one device to an input pin of another.
 *
 * The receiver owns IrqPins (usually an array made by device_add_inputs); a sender holds an IrqLine that points
 * at one, or at nothing. Levels: 0 or 1 (a few pins carry numbers). Machine lock held unless the pin says. */

#ifndef QUERN_DEVICES_IRQ_H
#define QUERN_DEVICES_IRQ_H

/* What would become of an edge that came now. Timers ask: beats that a busy host kept the guest from taking come later
 * instead of falling into one. */
typedef enum IrqHearing {
    IRQ_HEARS, /* it is heard, or nobody knows */
    IRQ_WAITS, /* an earlier one has not been taken yet: it would be lost in that */
    IRQ_DEAF,  /* masked: it would be lost */
} IrqHearing;

/* Hears once when the earlier edge has been taken, on the thread of the vCPU that did, with or without the machine
 * lock. Spurious calls are possible, and where the host's kernel delivers interrupts none comes. */
typedef struct IrqTaken {
    void (*call)(void *opaque);
    void *opaque;
} IrqTaken;

typedef struct IrqPin {
    void (*set)(void *opaque, int n, int level);
    void *opaque;
    int   n;
    IrqHearing (*hearing)(void *opaque, int n, const IrqTaken *taken); /* NULL: IRQ_HEARS */
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

/* With IRQ_WAITS, `taken` will be called; it lives as long as the machine. NULL: nobody wants to hear. */
static inline IrqHearing irq_hearing(const IrqLine *line, const IrqTaken *taken)
{
    return line->to && line->to->hearing ? line->to->hearing(line->to->opaque, line->to->n, taken) : IRQ_HEARS;
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
