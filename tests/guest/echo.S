/* A multiboot 1 kernel: says "ready" on COM1, then sends back what it receives there, letters in the other case. A
 * break comes back as '~'. 'Q' ends the machine through isa-debug-exit with 0 (status 1). Waits with interrupts, so
 * that halting and waking up are part of what is tested. Without the UART's queues, because to switch them on throws
 * away what was typed before. */
        .set    MAGIC, 0x1badb002
        .set    FLAGS, 3
        .set    COM1, 0x3f8
        .section .multiboot, "a"
        .align  4
        .long   MAGIC, FLAGS, -(MAGIC + FLAGS)

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

        movl    $interrupt, %eax        /* vector 0x24: IRQ 4 */
        movw    %ax, idt + 0x24 * 8
        movw    $8, idt + 0x24 * 8 + 2
        movw    $0x8e00, idt + 0x24 * 8 + 4
        shrl    $16, %eax
        movw    %ax, idt + 0x24 * 8 + 6
        lidt    idt_pointer

        movl    $pic_setup, %esi        /* both 8259: vectors 20h and 28h, all masked but IRQ 4 */
2:      xorl    %edx, %edx
        lodsb
        movb    %al, %dl
        testb   %al, %al
        jz      3f
        lodsb
        outb    %al, %dx
        jmp     2b
3:      movw    $COM1 + 3, %dx
        movb    $3, %al
        outb    %al, %dx
        movw    $COM1 + 4, %dx
        movb    $0x0b, %al
        outb    %al, %dx
        movw    $COM1 + 1, %dx          /* received data, line status */
        movb    $5, %al
        outb    %al, %dx
        movl    $ready, %esi
4:      lodsb
        testb   %al, %al
        jz      5f
        call    send
        jmp     4b
5:      sti
        hlt
        jmp     5b

interrupt:
        movw    $COM1 + 5, %dx
        inb     %dx, %al
        orb     status, %al
        movb    $0, status
        testb   $0x10, %al              /* break */
        jz      1f
        movw    $COM1, %dx
        inb     %dx, %al
        movb    $'~', %al
        call    send
        jmp     interrupt
1:      testb   $1, %al
        jz      3f
        movw    $COM1, %dx
        inb     %dx, %al
        cmpb    $'Q', %al
        je      finish
        movb    %al, %ah
        orb     $0x20, %ah
        subb    $'a', %ah
        cmpb    $25, %ah
        ja      2f
        xorb    $0x20, %al
2:      call    send
        jmp     interrupt
3:      movb    $0x20, %al              /* end of interrupt */
        outb    %al, $0x20
        iret

finish: xorl    %eax, %eax
        movw    $0xf4, %dx
        outb    %al, %dx
4:      hlt
        jmp     4b

send:   movb    %al, %cl
        movw    $COM1 + 5, %dx
1:      inb     %dx, %al
        movb    %al, %ch                /* reading clears a break: keep it for the receiver */
        andb    $0x10, %ch
        orb     %ch, status
        testb   $0x20, %al
        jz      1b
        movw    $COM1, %dx
        movb    %cl, %al
        outb    %al, %dx
        ret

ready:  .asciz  "ready\r\n"
pic_setup:
        .byte   0x20, 0x11, 0x21, 0x20, 0x21, 4, 0x21, 1, 0x21, 0xef
        .byte   0xa0, 0x11, 0xa1, 0x28, 0xa1, 2, 0xa1, 1, 0xa1, 0xff, 0

        .align  8
gdt:    .quad   0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdt_pointer:
        .word   23
        .long   gdt
idt_pointer:
        .word   0x30 * 8 - 1
        .long   idt

        .bss
status: .skip   1
        .align  16
idt:    .skip   0x30 * 8
        .skip   4096
stack_top:
