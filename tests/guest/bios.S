/* A multiboot kernel that goes back to real mode and calls the BIOS services that are there without firmware. Jumps to
 * the reset vector once on the way. Writes TAP to the debug console (port E9h); run with 128 MiB, and with
 * -action reboot=reset for the second half. */

        .equ    MAGIC, 0x1badb002
        .equ    FLAGS, 2
        .equ    LOW, 0x8000             /* where the 16-bit code goes */
        .equ    MARK, 0x600             /* survives a reset */
        .equ    BUFFER, 0x700
        .equ    STACK, 0x7c00
        .equ    SMAP, 0x534d4150
        .equ    TESTS, 24

#define AT(label) (label - low + LOW)

        .section .text
        .globl  start, _start
        .long   MAGIC, FLAGS, -(MAGIC + FLAGS)

_start:
start:
        cli
        cld
        movl    $low, %esi
        movl    $LOW, %edi
        movl    $(low_end - low), %ecx
        rep     movsb
        lgdtl   gdt_pointer
        ljmpl   $8, $AT(low)

        .align  8
gdt:    .quad   0
        .quad   0x00009a000000ffff      /* 16-bit code and data, 64 KiB from 0 */
        .quad   0x000092000000ffff
gdt_pointer:
        .word   23
        .long   gdt

        .code16
low:
        movw    $16, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %fs
        movw    %ax, %gs
        movw    %ax, %ss
        lidtl   AT(idt_pointer)
        movl    %cr0, %eax
        andb    $0xfe, %al
        movl    %eax, %cr0
        ljmpw   $0, $AT(real)
idt_pointer:
        .word   0x3ff
        .long   0
number: .word   0

        .macro  CHECK cond, name
        set\cond %al
        movw    $AT(1f), %si
        call    report
        jmp     2f
1:      .asciz  "\name"
2:
        .endm

        /* Is the carry flag as it should be, and \reg == \value? */
        .macro  CARRY_AND value, reg, name
        setc    %bh
        cmpw    \value, \reg
        sete    %bl
        andb    %bh, %bl
        cmpb    $1, %bl
        CHECK   e, "\name"
        .endm

real:
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $STACK, %sp
        cmpl    $0x51554552, MARK
        je      2f
        movl    $0x51554552, MARK
        ljmpw   $0xf000, $0xfff0
2:      movw    $AT(plan), %si
        call    say
        cmpl    $0x51554552, MARK
        CHECK   e, "F000:FFF0 resets the machine"

        /* Memory map: RAM in BP as MiB, number of entries in the first word behind the buffer. */
        xorl    %ebx, %ebx
        xorl    %ebp, %ebp
        movw    $0, BUFFER + 20
        movw    $BUFFER, %di
next:   movl    $0xe820, %eax
        movl    $SMAP, %edx
        movl    $24, %ecx
        stc
        int     $0x15
        jc      last
        cmpl    $SMAP, %eax
        jne     last
        cmpl    $20, %ecx
        jne     last
        testw   %bp, %bp
        jnz     1f
        cmpl    $0, BUFFER
        jne     last
        cmpl    $0x9fc00, BUFFER + 8
        jne     last
1:      incw    BUFFER + 20
        cmpl    $1, BUFFER + 16
        jne     1f
        addl    BUFFER + 8, %ebp
1:      testl   %ebx, %ebx
        jnz     next
last:   testl   %ebx, %ebx
        CHECK   z, "INT 15h E820h ends"
        cmpw    $5, BUFFER + 20
        CHECK   ae, "INT 15h E820h has ranges"
        shrl    $20, %ebp
        cmpw    $127, %bp
        CHECK   e, "INT 15h E820h has all of RAM"
        movl    $0xe820, %eax
        movl    $SMAP, %edx
        movl    $20, %ecx
        movl    $1000, %ebx
        clc
        int     $0x15
        CHECK   c, "INT 15h E820h: no such continuation"
        movl    $0xe820, %eax
        movl    $SMAP, %edx
        movl    $19, %ecx
        xorl    %ebx, %ebx
        clc
        int     $0x15
        CHECK   c, "INT 15h E820h: buffer too small"
        movl    $0xe820, %eax
        xorl    %edx, %edx
        movl    $20, %ecx
        clc
        int     $0x15
        CARRY_AND $0x8620, %ax, "INT 15h E820h: no signature"

        movw    $0xe801, %ax
        int     $0x15
        pushw   %bx
        cmpw    $0x3c00, %ax
        CHECK   e, "INT 15h E801h: 15 MiB below 16 MiB"
        popw    %bx
        cmpw    $(112 * 16), %bx
        setbe   %al
        cmpw    $(111 * 16), %bx
        setae   %ah
        cmpw    $0x0101, %ax
        CHECK   e, "INT 15h E801h: 112 MiB above, but for tables"
        movb    $0x88, %ah
        int     $0x15
        cmpw    $0xfc00, %ax
        CHECK   e, "INT 15h 88h: 63 MiB at most"
        movw    $0xec00, %ax
        movw    $2, %bx
        stc
        int     $0x15
        CHECK   nc, "INT 15h EC00h"
        movb    $0xc0, %ah
        movb    $0, %al
        clc
        int     $0x15
        CARRY_AND $0x8600, %ax, "INT 15h C0h: not there"

        movw    $0x2400, %ax
        int     $0x15
        movw    $0xffff, %ax
        movw    %ax, %fs
        movw    $0x1234, BUFFER
        cmpw    $0x1234, %fs:BUFFER + 16
        CHECK   e, "INT 15h 2400h: address line 20 is off"
        movw    $0x2401, %ax
        int     $0x15
        movw    $0x2402, %ax
        int     $0x15
        cmpb    $1, %al
        CHECK   e, "INT 15h 2402h: address line 20 is on"
        movw    $0x4321, BUFFER
        cmpw    $0x4321, %fs:BUFFER + 16
        CHECK   ne, "INT 15h 2401h: address line 20 is on"

        int     $0x11
        cmpw    %ax, 0x410
        CHECK   e, "INT 11h"
        int     $0x12
        cmpw    $639, %ax
        CHECK   e, "INT 12h"
        movw    $0x0855, %ax
        movw    $0x0080, %dx
        clc
        int     $0x13
        CARRY_AND $0x0155, %ax, "INT 13h 08h: no drive"
        movw    $0x0000, %ax
        stc
        int     $0x13
        CHECK   nc, "INT 13h 00h"
        movb    $0x01, %ah
        int     $0x16
        CHECK   z, "INT 16h 01h: no key"
        movb    $0x02, %ah
        int     $0x16
        cmpb    $0, %al
        CHECK   e, "INT 16h 02h: no shift key"
        movb    $0x0f, %ah
        int     $0x10
        cmpw    $0x5003, %ax
        CHECK   e, "INT 10h 0Fh: text of 80 columns"

        movb    $0, %ah
        int     $0x1a
        movw    %dx, %bp
        movw    $100, %bx
1:      sti
        hlt
        cli
        movb    $0, %ah
        int     $0x1a
        cmpw    %bp, %dx
        jne     2f
        decw    %bx
        jnz     1b
2:      cmpw    %bp, %dx
        CHECK   ne, "INT 1Ah 00h: the timer's interrupt counts"
        movw    $0x02ff, %ax
        clc
        int     $0x1a
        CARRY_AND $0x86ff, %ax, "INT 1Ah 02h: not there"
        cmpb    $TESTS, AT(number)
        movb    $0, %al
        je      1f
        incw    %ax
1:      outb    %al, $0xf4
2:      hlt
        jmp     2b

plan:   .ascii  "1.."
        .byte   '0' + TESTS / 10, '0' + TESTS % 10
        .asciz  "\n"
text_not:
        .asciz  "not "
text_ok:
        .asciz  "ok "

/* AL: passed? SI: name */
report:
        pushw   %ax
        pushw   %bx
        pushw   %si
        testb   %al, %al
        jnz     1f
        movw    $AT(text_not), %si
        call    say
        jmp     2f
1:      incw    AT(number)
2:      movw    $AT(text_ok), %si
        call    say
        popw    %si
        call    say
        movb    $'\n', %al
        outb    %al, $0xe9
        popw    %bx
        popw    %ax
        ret

say:
        lodsb
        testb   %al, %al
        jz      1f
        outb    %al, $0xe9
        jmp     say
1:      ret
low_end:

        .section .note.GNU-stack, "", @progbits
