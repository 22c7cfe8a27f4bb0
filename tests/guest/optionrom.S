/* An option ROM that says on the debug console (port E9h) when firmware initializes it and when it is booted from.
 * test_optionrom.py puts the checksum in and a letter in place of the '?'. */

        .equ    SIZE, 512

        .section .text
        .code16
        .globl  start
start:
        .word   0xaa55
        .byte   SIZE / 512
        jmp     init
        .org    24
        .word   0
        .word   pnp - start
        .org    32
pnp:    .ascii  "$PnP"
        .byte   1, 2
        .word   0
        .byte   0
        .byte   0                       /* the sum of the 32 bytes need not be 0 for SeaBIOS; test_optionrom.py sees to it */
        .long   0
        .word   name - start, name - start
        .byte   2, 0, 0x80, 0x74
        .word   0, 0
        .word   boot - start
        .word   0, 0
name:   .asciz  "Test ROM ?"
text_init:
        .asciz  "initialized ?\n"
text_boot:
        .asciz  "booted ?\n"

init:
        pushw   %si
        movw    $(text_init - start), %si
        call    say
        popw    %si
        movw    $0x20, %ax              /* an IPL device is there */
        lret

boot:
        movw    $(text_boot - start), %si
        call    say
        int     $0x18                   /* the next one, please */
        hlt

say:
        movb    %cs:(%si), %al
        incw    %si
        testb   %al, %al
        jz      1f
        outb    %al, $0xe9
        jmp     say
1:      ret
        .org    SIZE - 1
        .byte   0                       /* checksum */

        .section .note.GNU-stack, "", @progbits
