/* The 16550A UART, as devices embed it. Machine lock held. */

#ifndef QUERN_DEVICES_CHAR_UART_H
#define QUERN_DEVICES_CHAR_UART_H

#include "char/gather.h"
#include "desc/field.h"
#include "devices/irq.h"
#include "loop/loop.h"
#include "memory/memory.h"

enum { UART_FIFO = 16, UART_PORTS = 8 };

/* A queue of characters; line-status bits of each in the upper byte. */
typedef struct UartFifo {
    uint16_t data[UART_FIFO];
    uint8_t  head, count;
} UartFifo;

typedef struct Uart {
    CharFrontend fe;
    CharGather   out;
    IrqLine      irq;
    Clocks      *clocks;
    uint32_t     baudbase; /* input clock divided by 16, 115200 on a PC; not 0 */

    uint8_t  ier, fcr, lcr, mcr, msr, scr;
    uint8_t  lsr; /* OE and the transmitter's bits; the others come from the receiver's queue */
    uint16_t divisor;
    UartFifo receive, transmit;
    void (*received)(void *opaque); /* something came in; the owner's, may be NULL */
    void *owner;
    bool  thre_pending;    /* the transmitter became empty and nobody has looked since */
    bool  timeout_pending; /* characters lie in the queue and none came or went for a while */
    bool  breaking;        /* what is sent is a break */
    bool  break_waiting;   /* one came while there was no room: it would not have been so fast on a wire */
    Timer timeout;         /* until timeout_pending */
    Timer poll;            /* of the other side's modem lines, while the guest wants to hear of them */
    bool  has_modem;       /* the chardev has modem lines */
} Uart;

extern const Field uart_state[];

/* Connects it to the chardev of that id (NULL: to none). */
bool uart_realize(Uart *u, CharHub *hub, const char *chardev, Clocks *clocks, Error *err);
void uart_unrealize(Uart *u);
void uart_reset(Uart *u);
void uart_loaded(Uart *u); /* state was loaded: timers and line parameters follow */

/* One byte at register 0 to 7. */
uint8_t uart_read(Uart *u, unsigned reg);
void    uart_write(Uart *u, unsigned reg, uint8_t value);

#endif
