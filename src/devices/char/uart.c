/* 16550A UART.
 * Specification: National Semiconductor PC16550D data sheet (June 1995).
 * Under the machine lock; timers fire on the main loop.
 *
 * Characters are sent as fast as the other side takes them, whatever the divisor says. While it takes none the
 * transmitter stays busy, as with hardware flow control. The divisor sets the host's line, and how long the receiver
 * waits before it tells of characters below its trigger level. */

#include "devices/char/uart.h"

#include <string.h>

enum {
    RBR = 0, /* read; THR when written; DLL with LCR_DLAB */
    IER = 1, /* DLM with LCR_DLAB */
    IIR = 2, /* FCR when written */
    LCR = 3,
    MCR = 4,
    LSR = 5,
    MSR = 6,
    SCR = 7,

    IER_RDI  = 0x01, /* received data */
    IER_THRI = 0x02, /* transmitter empty */
    IER_RLSI = 0x04, /* line status */
    IER_MSI  = 0x08, /* modem status */

    IIR_NONE = 0x01,
    IIR_MSI  = 0x00,
    IIR_THRI = 0x02,
    IIR_RDI  = 0x04,
    IIR_RLSI = 0x06,
    IIR_CTI  = 0x0c, /* character time-out */
    IIR_FIFO = 0xc0,

    FCR_ENABLE     = 0x01,
    FCR_CLEAR_RCVR = 0x02,
    FCR_CLEAR_XMIT = 0x04,
    FCR_DMA        = 0x08,
    FCR_TRIGGER    = 0xc0,

    LCR_BITS   = 0x03,
    LCR_STOP   = 0x04,
    LCR_PARITY = 0x08,
    LCR_EVEN   = 0x10,
    LCR_STICK  = 0x20,
    LCR_BREAK  = 0x40,
    LCR_DLAB   = 0x80,

    MCR_DTR  = 0x01,
    MCR_RTS  = 0x02,
    MCR_OUT1 = 0x04,
    MCR_OUT2 = 0x08,
    MCR_LOOP = 0x10,

    LSR_DR    = 0x01,
    LSR_OE    = 0x02,
    LSR_PE    = 0x04,
    LSR_FE    = 0x08,
    LSR_BI    = 0x10,
    LSR_THRE  = 0x20,
    LSR_TEMT  = 0x40,
    LSR_FIFOE = 0x80,
    LSR_CHAR  = LSR_PE | LSR_FE | LSR_BI, /* belong to one character */

    MSR_DCTS = 0x01,
    MSR_DDSR = 0x02,
    MSR_TERI = 0x04,
    MSR_DDCD = 0x08,
    MSR_CTS  = 0x10,
    MSR_DSR  = 0x20,
    MSR_RI   = 0x40,
    MSR_DCD  = 0x80,

    DELTAS = MSR_DCTS | MSR_DDSR | MSR_TERI | MSR_DDCD,

    MODEM_POLL    = 10, /* ms */
    TIMEOUT_CHARS = 4,
};

/* --- queues --- */

static void fifo_clear(UartFifo *f)
{
    f->head = f->count = 0;
}

static void fifo_push(UartFifo *f, uint16_t c)
{
    f->data[(f->head + f->count++) % UART_FIFO] = c;
}

static uint16_t fifo_front(const UartFifo *f)
{
    return f->data[f->head];
}

static uint16_t fifo_pop(UartFifo *f)
{
    uint16_t c = f->data[f->head];
    f->head    = (uint8_t)((f->head + 1) % UART_FIFO);
    f->count--;
    return c;
}

static unsigned fifo_room(const Uart *u, const UartFifo *f)
{
    return (u->fcr & FCR_ENABLE ? UART_FIFO : 1) - (unsigned)f->count;
}

static unsigned trigger_level(const Uart *u)
{
    static const uint8_t levels[] = { 1, 4, 8, 14 };
    return u->fcr & FCR_ENABLE ? levels[u->fcr >> 6] : 1;
}

/* --- interrupts --- */

static uint8_t line_status(const Uart *u)
{
    uint8_t lsr = u->lsr;
    if (u->receive.count) {
        lsr |= LSR_DR | (fifo_front(&u->receive) >> 8 & LSR_CHAR);
        for (unsigned i = 0; u->fcr & FCR_ENABLE && i < u->receive.count; i++) {
            if (u->receive.data[(u->receive.head + i) % UART_FIFO] >> 8) {
                lsr |= LSR_FIFOE;
            }
        }
    }
    return lsr;
}

/* The most urgent source (data sheet, table III). */
static uint8_t interrupt_source(const Uart *u)
{
    if (u->ier & IER_RLSI && line_status(u) & (LSR_OE | LSR_CHAR)) {
        return IIR_RLSI;
    }
    if (u->ier & IER_RDI && u->receive.count >= trigger_level(u)) {
        return IIR_RDI;
    }
    if (u->ier & IER_RDI && u->timeout_pending) {
        return IIR_CTI;
    }
    if (u->ier & IER_THRI && u->thre_pending) {
        return IIR_THRI;
    }
    if (u->ier & IER_MSI && u->msr & DELTAS) {
        return IIR_MSI;
    }
    return IIR_NONE;
}

static void update_irq(Uart *u)
{
    irq_set(&u->irq, interrupt_source(u) != IIR_NONE);
}

/* --- line and modem --- */

/* Bits of a character with start, parity and stop bits. */
static unsigned frame_bits(const Uart *u)
{
    return 1 + 5 + (u->lcr & LCR_BITS) + (u->lcr & LCR_PARITY ? 1 : 0) + (u->lcr & LCR_STOP ? 2 : 1);
}

static void update_line(Uart *u)
{
    if (!u->divisor) {
        return;
    }
    CharLine line = {
        .baud      = MAX(u->baudbase / u->divisor, 1),
        .parity    = !(u->lcr & LCR_PARITY) ? 'N'
                     : u->lcr & LCR_STICK   ? (u->lcr & LCR_EVEN ? 'S' : 'M')
                     : u->lcr & LCR_EVEN    ? 'E'
                                            : 'O',
        .data_bits = (uint8_t)(5 + (u->lcr & LCR_BITS)),
        .stop_bits = u->lcr & LCR_STOP ? 2 : 1,
    };
    char_gather_flush(&u->out);
    char_set_line(&u->fe, &line);
}

/* Takes new values of the four lines, and notes which have changed. */
static void set_msr_lines(Uart *u, uint8_t lines)
{
    uint8_t changed = (uint8_t)((u->msr ^ lines) & 0xf0);
    uint8_t delta   = changed >> 4;
    if (changed & MSR_RI && lines & MSR_RI) {
        delta &= (uint8_t)~MSR_TERI; /* only its end counts */
    }
    u->msr = (uint8_t)(lines | (u->msr & DELTAS) | delta);
    update_irq(u);
}

static uint8_t outside_lines(Uart *u)
{
    unsigned lines;
    if (!u->has_modem || !char_get_modem(&u->fe, &lines)) {
        return MSR_DCD | MSR_DSR | MSR_CTS;
    }
    return (uint8_t)((lines & CHAR_CTS ? MSR_CTS : 0) | (lines & CHAR_DSR ? MSR_DSR : 0) |
                     (lines & CHAR_RI ? MSR_RI : 0) | (lines & CHAR_DCD ? MSR_DCD : 0));
}

static void update_modem_inputs(Uart *u)
{
    if (u->mcr & MCR_LOOP) {
        set_msr_lines(u, (uint8_t)((u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) |
                                   (u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0)));
    } else {
        set_msr_lines(u, outside_lines(u));
    }
}

static void poll_modem(void *opaque)
{
    Uart *u = opaque;
    update_modem_inputs(u);
    if (u->ier & IER_MSI) {
        timer_set(&u->poll, clock_now(u->clocks, REALTIME_CLOCK) + MODEM_POLL * NS_PER_MS);
    }
}

/* --- receiver --- */

static void start_timeout(Uart *u)
{
    u->timeout_pending = false;
    if (u->fcr & FCR_ENABLE && u->receive.count) {
        int64_t bit = NS_PER_SECOND * MAX(u->divisor, 1) / u->baudbase;
        timer_set(&u->timeout, clock_now(u->clocks, VIRTUAL_CLOCK) + bit * frame_bits(u) * TIMEOUT_CHARS);
    } else {
        timer_cancel(&u->timeout);
    }
}

static void timeout_due(void *opaque)
{
    Uart *u = opaque;
    if (u->receive.count) {
        u->timeout_pending = true;
        update_irq(u);
    }
}

static void receive(Uart *u, uint16_t c)
{
    if (fifo_room(u, &u->receive)) {
        fifo_push(&u->receive, c);
    } else {
        u->lsr |= LSR_OE;
        if (!(u->fcr & FCR_ENABLE)) {
            fifo_clear(&u->receive); /* the new character takes the old one's place */
            fifo_push(&u->receive, c);
        }
    }
}

static void take_break(Uart *u)
{
    if (u->break_waiting && fifo_room(u, &u->receive)) {
        u->break_waiting = false;
        receive(u, LSR_BI << 8);
        start_timeout(u);
    }
}

static size_t uart_can_read(void *opaque)
{
    Uart *u = opaque;
    return u->mcr & MCR_LOOP || u->break_waiting ? 0 : fifo_room(u, &u->receive);
}

static void uart_take(void *opaque, const uint8_t *buf, size_t len)
{
    Uart *u = opaque;
    if (u->received) {
        u->received(u->owner);
    }
    for (size_t i = 0; i < len; i++) {
        receive(u, buf[i]);
    }
    start_timeout(u);
    update_irq(u);
}

static void uart_event(void *opaque, CharEvent event)
{
    Uart *u = opaque;
    if (event == CHAR_BREAK && !(u->mcr & MCR_LOOP)) {
        u->break_waiting = true;
        take_break(u);
        update_irq(u);
    }
}

/* --- transmitter --- */

/* Sends what can be sent. */
static void transmit(Uart *u)
{
    while (u->transmit.count) {
        uint8_t c = (uint8_t)fifo_front(&u->transmit);
        if (u->mcr & MCR_LOOP) {
            receive(u, c);
            start_timeout(u);
        } else if (!char_gather_put(&u->out, c)) {
            return; /* uart_writable() goes on */
        }
        fifo_pop(&u->transmit);
    }
    if (!(u->lsr & LSR_THRE)) {
        u->lsr |= LSR_THRE | LSR_TEMT;
        u->thre_pending = true;
    }
}

static void uart_writable(void *opaque)
{
    Uart *u = opaque;
    char_gather_flush(&u->out);
    transmit(u);
    update_irq(u);
}

static void write_thr(Uart *u, uint8_t value)
{
    if (fifo_room(u, &u->transmit)) {
        fifo_push(&u->transmit, value);
    } else if (!(u->fcr & FCR_ENABLE)) {
        u->transmit.data[u->transmit.head] = value;
    }
    u->lsr &= (uint8_t) ~(LSR_THRE | LSR_TEMT);
    u->thre_pending = false;
    transmit(u);
}

/* --- registers --- */

static void write_ier(Uart *u, uint8_t value)
{
    uint8_t turned_on = (uint8_t)(value & ~u->ier);
    u->ier            = value & 0x0f;
    if (turned_on & IER_THRI && u->lsr & LSR_THRE) {
        u->thre_pending = true;
    }
    if (turned_on & IER_MSI && u->has_modem) {
        poll_modem(u);
    } else if (!(u->ier & IER_MSI)) {
        timer_cancel(&u->poll);
    }
}

static void write_fcr(Uart *u, uint8_t value)
{
    bool switched = (value ^ u->fcr) & FCR_ENABLE;
    if (switched || (value & FCR_ENABLE && value & FCR_CLEAR_RCVR)) {
        fifo_clear(&u->receive);
        start_timeout(u);
    }
    if (switched || (value & FCR_ENABLE && value & FCR_CLEAR_XMIT)) {
        fifo_clear(&u->transmit);
        transmit(u); /* finds it empty */
    }
    /* Without the enable bit the others are not programmed. */
    u->fcr = value & FCR_ENABLE ? value & (FCR_ENABLE | FCR_DMA | FCR_TRIGGER) : 0;
    take_break(u);
    char_accept_input(&u->fe);
}

static void write_lcr(Uart *u, uint8_t value)
{
    uint8_t changed = (uint8_t)(value ^ u->lcr);
    u->lcr          = value;
    if (changed & (LCR_BITS | LCR_STOP | LCR_PARITY | LCR_EVEN | LCR_STICK)) {
        update_line(u);
    }
    if (changed & LCR_BREAK) {
        u->breaking = value & LCR_BREAK;
        if (u->mcr & MCR_LOOP) {
            if (u->breaking) {
                receive(u, LSR_BI << 8);
                start_timeout(u);
            }
        } else {
            char_gather_flush(&u->out);
            char_set_break(&u->fe, u->breaking);
        }
    }
}

/* In loop mode the outputs are off. */
static void update_modem_outputs(Uart *u)
{
    uint8_t mcr = u->mcr & MCR_LOOP ? 0 : u->mcr;
    char_gather_flush(&u->out);
    char_set_modem(&u->fe, (mcr & MCR_RTS ? CHAR_RTS : 0) | (mcr & MCR_DTR ? CHAR_DTR : 0));
}

static void write_mcr(Uart *u, uint8_t value)
{
    uint8_t changed = (uint8_t)(value ^ u->mcr);
    u->mcr          = value & 0x1f;
    if (changed & (MCR_DTR | MCR_RTS | MCR_LOOP)) {
        update_modem_outputs(u);
    }
    update_modem_inputs(u);
    if (changed & MCR_LOOP) {
        char_accept_input(&u->fe);
        transmit(u);
    }
}

static uint8_t read_rbr(Uart *u)
{
    uint8_t c = 0;
    if (u->receive.count) {
        c = (uint8_t)fifo_pop(&u->receive);
    }
    start_timeout(u);
    take_break(u);
    char_accept_input(&u->fe);
    return c;
}

/* Kernels read it before each character that they write: only errors, which end with this, can change the interrupt. */
static uint8_t read_lsr(Uart *u)
{
    uint8_t lsr = line_status(u);
    if (lsr & (LSR_OE | LSR_CHAR)) {
        u->lsr &= (uint8_t)~LSR_OE;
        if (u->receive.count) {
            u->receive.data[u->receive.head] &= 0xff;
        }
        update_irq(u);
    }
    return lsr;
}

uint8_t uart_read(Uart *u, unsigned reg)
{
    uint8_t value = 0;
    bool    dlab  = u->lcr & LCR_DLAB;
    switch (reg) {
    case RBR: value = dlab ? (uint8_t)u->divisor : read_rbr(u); break;
    case IER: return dlab ? (uint8_t)(u->divisor >> 8) : u->ier;
    case IIR:
        value = interrupt_source(u);
        if (value == IIR_THRI) {
            u->thre_pending = false;
        }
        value |= u->fcr & FCR_ENABLE ? IIR_FIFO : 0;
        break;
    case LCR: return u->lcr;
    case MCR: return u->mcr;
    case LSR: return read_lsr(u);
    case MSR:
        if (u->has_modem && !(u->mcr & MCR_LOOP)) {
            update_modem_inputs(u);
        }
        value = u->msr;
        u->msr &= (uint8_t)~DELTAS;
        break;
    case SCR: return u->scr;
    }
    update_irq(u);
    return value;
}

void uart_write(Uart *u, unsigned reg, uint8_t value)
{
    bool dlab = u->lcr & LCR_DLAB;
    switch (reg) {
    case RBR:
        if (dlab) {
            u->divisor = (uint16_t)((u->divisor & 0xff00) | value);
            update_line(u);
        } else {
            write_thr(u, value);
        }
        break;
    case IER:
        if (dlab) {
            u->divisor = (uint16_t)((u->divisor & 0x00ff) | value << 8);
            update_line(u);
        } else {
            write_ier(u, value);
        }
        break;
    case IIR: write_fcr(u, value); break;
    case LCR: write_lcr(u, value); break;
    case MCR: write_mcr(u, value); break;
    case LSR:
    case MSR: break; /* factory tests only */
    case SCR: u->scr = value; break;
    }
    update_irq(u);
}

/* --- life --- */

bool uart_realize(Uart *u, CharHub *hub, const char *chardev, Clocks *clocks, Error *err)
{
    u->fe = (CharFrontend){
        .opaque = u, .can_read = uart_can_read, .read = uart_take, .event = uart_event, .writable = uart_writable
    };
    u->clocks = clocks;
    timer_init(&u->timeout, clocks, VIRTUAL_CLOCK, timeout_due, u);
    timer_init(&u->poll, clocks, REALTIME_CLOCK, poll_modem, u);
    char_gather_init(&u->out, &u->fe, clocks);
    uart_reset(u);
    if (!char_attach_id(&u->fe, hub, chardev, err)) {
        return false;
    }
    unsigned lines;
    u->has_modem = char_get_modem(&u->fe, &lines);
    u->msr       = outside_lines(u);
    char_take_focus(&u->fe);
    return true;
}

void uart_unrealize(Uart *u)
{
    timer_cancel(&u->timeout);
    timer_cancel(&u->poll);
    char_gather_clear(&u->out);
    char_detach(&u->fe);
}

void uart_reset(Uart *u)
{
    if (u->breaking) {
        char_set_break(&u->fe, false);
    }
    if (u->mcr & (MCR_DTR | MCR_RTS)) {
        char_set_modem(&u->fe, 0); /* master reset clears MCR: the other side sees the lines go */
    }
    timer_cancel(&u->timeout);
    timer_cancel(&u->poll);
    u->ier = u->fcr = u->lcr = u->mcr = u->scr = 0;
    u->lsr                                     = LSR_THRE | LSR_TEMT;
    u->msr                                     = outside_lines(u);
    u->divisor                                 = 12; /* 9600 */
    fifo_clear(&u->receive);
    fifo_clear(&u->transmit);
    u->thre_pending = u->timeout_pending = u->breaking = u->break_waiting = false;
    update_irq(u);
    char_accept_input(&u->fe);
}

void uart_loaded(Uart *u)
{
    bool pending = u->timeout_pending;
    update_line(u);
    update_modem_outputs(u);
    start_timeout(u);
    u->timeout_pending = pending;
    if (u->ier & IER_MSI && u->has_modem) {
        poll_modem(u);
    }
    transmit(u);
    update_irq(u);
    char_accept_input(&u->fe);
}

static bool fifo_ok(void *owner, Error *err)
{
    UartFifo *f = owner;
    if (f->head >= UART_FIFO || f->count > UART_FIFO) {
        return error_set(err, "a queue's head %u or count %u is out of range", f->head, f->count);
    }
    return true;
}

static const Field fifo_state[] = { FIELD_ARRAY(UartFifo, data, "data"),
                                    FIELD(UartFifo, head, "head"),
                                    FIELD(UartFifo, count, "count", .validate = fifo_ok),
                                    {} };

const Field uart_state[] = { FIELD(Uart, ier, "ier"),
                             FIELD(Uart, fcr, "fcr"),
                             FIELD(Uart, lcr, "lcr"),
                             FIELD(Uart, mcr, "mcr"),
                             FIELD(Uart, msr, "msr"),
                             FIELD(Uart, scr, "scr"),
                             FIELD(Uart, lsr, "lsr"),
                             FIELD(Uart, divisor, "divisor"),
                             FIELD(Uart, receive, "receive", .sub = fifo_state),
                             FIELD(Uart, transmit, "transmit", .sub = fifo_state),
                             FIELD(Uart, thre_pending, "thre-pending"),
                             FIELD(Uart, timeout_pending, "timeout-pending"),
                             FIELD(Uart, breaking, "breaking"),
                             FIELD(Uart, break_waiting, "break-waiting"),
                             {} };
