/* A multiboot 1 kernel that takes interrupts by every way there is on a PC, starts a second processor and resets the
 * machine once. Says what worked on the debug console and ends the machine with 0 on isa-debug-exit (status 1). What
 * does not come is waited for without end: the caller has a time limit. Needs -smp 2. With -device pc-testdev it takes
 * level-triggered interrupts as well.
 *
 * Without IRET, and with simple instructions only: a KVM that emulates has few. */
        .set    MAGIC, 0x1badb002
        .set    FLAGS, 3
        .set    LAPIC, 0xfee00000
        .set    IOAPIC, 0xfec00000
        .set    TRAMPOLINE, 0x7000      /* where the second processor begins */
        .set    AP_FLAG, 0x6000
        .set    PASS, 0x60              /* byte of CMOS RAM: has the machine been reset? */
        .section .multiboot, "a"
        .align  4
        .long   MAGIC, FLAGS, -(MAGIC + FLAGS)

        .macro  SAY text
        call    say
        .asciz  "\text"
        .endm

        .macro  GATE vector, handler
        movl    $\handler, %eax
        movw    %ax, idt + \vector * 8
        movw    $8, idt + \vector * 8 + 2
        movw    $0x8e00, idt + \vector * 8 + 4
        shrl    $16, %eax
        movw    %ax, idt + \vector * 8 + 6
        .endm

        .macro  REDIRECT pin, low       /* an I/O APIC entry, to the boot processor */
        movl    $0x11 + 2 * \pin, IOAPIC
        movl    $0, IOAPIC + 0x10
        movl    $0x10 + 2 * \pin, IOAPIC
        movl    $\low, IOAPIC + 0x10
        .endm

        .macro  RETURN                  /* EAX, EIP, CS, EFLAGS are on the stack */
        movl    4(%esp), %eax
        xchgl   %eax, 12(%esp)
        movl    %eax, 8(%esp)
        popl    %eax
        addl    $4, %esp
        popfl
        ret
        .endm

        .text
        .code32
        .globl  _start
_start:
        movl    $stack_top, %esp
        cld
        lgdt    gdt_pointer
        ljmp    $8, $1f
1:      movw    $16, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        GATE    0x20, on_pic
        GATE    0x41, on_local
        GATE    0x42, on_level
        lidt    idt_pointer

        /* --- the 8254 by way of the 8259, 1 kHz --- */
        movl    $pic_setup, %esi
2:      xorl    %edx, %edx
        lodsb
        movb    %al, %dl
        testb   %al, %al
        jz      3f
        lodsb
        outb    %al, %dx
        jmp     2b
3:      movl    $3, %ebx
        call    wait_for_count
        SAY     "8259\n"

        /* --- the same by way of the I/O APIC: pin 2, edge --- */
        movb    $0xff, %al
        outb    %al, $0x21
        movl    $0, count
        movl    $0x1ff, LAPIC + 0xf0
        REDIRECT 2, 0x41
        movl    $3, %ebx
        call    wait_for_count
        REDIRECT 2, 0x10041
        SAY     "I/O APIC\n"

        /* --- level: comes again after each EOI until the device is served --- */
        movw    $0xe0, %dx              /* the test device's register */
        movb    $0x35, %al
        outb    %al, %dx
        inb     %dx, %al
        cmpb    $0x35, %al
        jne     4f
        movl    $0, count
        REDIRECT 5, 0x8042
        movw    $0x2005, %dx
        movb    $1, %al
        outb    %al, %dx
        movl    $4, %ebx
        call    wait_for_count
        REDIRECT 5, 0x10042
        SAY     "level\n"
4:

        /* --- the local APIC's timer, periodic, and an interrupt to itself --- */
        movl    $0, count
        movl    $0x0b, LAPIC + 0x3e0    /* by 1 */
        movl    $0x20041, LAPIC + 0x320
        movl    $2000000, LAPIC + 0x380
        movl    $3, %ebx
        call    wait_for_count
        movl    $0x10041, LAPIC + 0x320
        movl    $0, LAPIC + 0x380
        SAY     "timer\n"
        movl    $0, count
        movl    $0x44041, LAPIC + 0x300
        movl    $1, %ebx
        call    wait_for_count
        SAY     "self\n"

        /* --- a message as devices send them: none here, so by the APIC bus: physical, to 0 --- */
        movl    $0, count
        movl    $0, LAPIC + 0x310
        movl    $0x4041, LAPIC + 0x300
        movl    $1, %ebx
        call    wait_for_count
        SAY     "message\n"

        /* --- the second processor --- */
        movl    $trampoline, %esi
        movl    $TRAMPOLINE, %edi
        movl    $trampoline_end - trampoline, %ecx
4:      lodsb
        stosb
        decl    %ecx
        jnz     4b
        movl    $0, AP_FLAG
        movl    $0xc4500, LAPIC + 0x300 /* INIT to all others */
        movl    $20000, %ecx
5:      decl    %ecx
        jnz     5b
        movl    $0xc4600 + TRAMPOLINE / 4096, LAPIC + 0x300
6:      pause
        cmpl    $0x1234, AP_FLAG
        jne     6b
        SAY     "second processor\n"

        /* --- reset, once --- */
        movb    $PASS, %al
        outb    %al, $0x70
        inb     $0x71, %al
        cmpb    $0x77, %al
        je      finish
        movb    $0x77, %al
        outb    %al, $0x71
        SAY     "reset\n"
        movw    $0xcf9, %dx
        movb    $2, %al
        outb    %al, %dx
        movb    $6, %al
        outb    %al, %dx
8:      hlt
        jmp     8b

finish: xorl    %eax, %eax
        movw    $0xf4, %dx
        outb    %al, %dx
9:      hlt
        jmp     9b

/* Halts until EBX interrupts were counted. A halt without an interrupt would be for good. */
wait_for_count:
        cli
        cmpl    %ebx, count
        jae     1f
        sti
        hlt
        jmp     wait_for_count
1:      ret

/* Says what stands behind the call. */
say:    popl    %esi
1:      lodsb
        testb   %al, %al
        jz      2f
        outb    %al, $0xe9
        jmp     1b
2:      jmp     *%esi

on_pic: pushl   %eax
        incl    count
        movb    $0x20, %al
        outb    %al, $0x20
        RETURN

on_local:
        pushl   %eax
        incl    count
        movl    $0, LAPIC + 0xb0
        RETURN

on_level:
        pushl   %eax
        pushl   %edx
        incl    count
        cmpl    $4, count
        jb      1f
        movw    $0x2005, %dx
        xorb    %al, %al
        outb    %al, %dx
1:      movl    $0, LAPIC + 0xb0
        popl    %edx
        RETURN

        .code16
trampoline:
        cli
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    $0x1234, AP_FLAG
1:      hlt
        jmp     1b
trampoline_end:

pic_setup:
        .byte   0x20, 0x11, 0x21, 0x20, 0x21, 4, 0x21, 1, 0x21, 0xfe
        .byte   0xa0, 0x11, 0xa1, 0x28, 0xa1, 2, 0xa1, 1, 0xa1, 0xff
        .byte   0x43, 0x34, 0x40, 0xa9, 0x40, 4, 0       /* 1193 ticks of 1193182 Hz */

        .align  8
gdt:    .quad   0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdt_pointer:
        .word   23
        .long   gdt
idt_pointer:
        .word   0x80 * 8 - 1
        .long   idt

        .bss
        .align  16
count:  .skip   16
idt:    .skip   0x80 * 8
        .skip   4096
stack_top:
