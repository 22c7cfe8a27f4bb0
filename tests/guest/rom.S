/* A 64 KiB firmware image: real mode from f000:fff0. Says hello on the debug console and the first serial port,
 * and ends the machine with 0x21 on isa-debug-exit (status (0x21 << 1) | 1). */
        .code16
        .globl  start
start:
        cld
        movw    %cs, %ax
        movw    %ax, %ds
        movw    $0x3fb, %dx             /* COM1: divisor 1, 8N1 */
        movb    $0x80, %al
        outb    %al, %dx
        movw    $0x3f8, %dx
        movb    $1, %al
        outb    %al, %dx
        incw    %dx
        xorb    %al, %al
        outb    %al, %dx
        movw    $0x3fb, %dx
        movb    $3, %al
        outb    %al, %dx
        movw    $message, %si
1:      lodsb
        testb   %al, %al
        jz      3f
        outb    %al, $0xe9
        movb    %al, %bl
        movw    $0x3fd, %dx             /* wait for the transmitter */
2:      inb     %dx, %al
        testb   $0x20, %al
        jz      2b
        movw    $0x3f8, %dx
        movb    %bl, %al
        outb    %al, %dx
        jmp     1b
3:      movw    $0xf4, %dx
        movb    $0x21, %al
        outb    %al, %dx
4:      hlt
        jmp     4b

message:
        .asciz  "hello from f000:fff0\n"

        .org    0xfff0
        ljmp    $0xf000, $start
        .org    0x10000 - 1
        .byte   0
