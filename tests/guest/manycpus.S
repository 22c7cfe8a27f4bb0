/* Starts every processor there is by INIT and SIPI to all others, and prints how many came and the highest APIC ID, in
 * hexadecimal: "cpus 000000ff highest 000000fe". Each counts itself in real mode and halts. The debug console gets the
 * line; isa-debug-exit ends it. The number to wait for comes on the command line: "cpus=255". */

        .set    MAGIC, 0x1badb002
        .set    APIC, 0xfee00000
        .set    TRAMPOLINE, 0x8000      /* vector 8 */
        .set    COUNT, 0x8f00
        .set    HIGHEST, 0x8f04

        .section .multiboot, "a"
        .balign 4
        .long   MAGIC, 0, -MAGIC

        .text
        .code32
        .globl  _start
_start:
        mov     $stack_top, %esp
        cld
        xor     %ebp, %ebp              /* the number that is wanted */
        mov     16(%ebx), %esi          /* the command line */
        call    number
        mov     $ap_start, %esi
        mov     $TRAMPOLINE, %edi
        mov     $ap_end - ap_start, %ecx
        rep movsb
        movl    $1, COUNT               /* this one */
        movl    $0, HIGHEST
        orl     $0x1ff, APIC + 0xf0
        movl    $0x000c4500, APIC + 0x300       /* INIT to all others */
        call    delay
        movl    $0x000c4608, APIC + 0x300       /* SIPI */
        mov     $3000, %ecx             /* times 10 ms */
1:      cmp     COUNT, %ebp
        jbe     2f
        call    delay
        loop    1b
2:      mov     $cpus_text, %esi
        call    print
        mov     COUNT, %eax
        call    hex
        mov     $highest_text, %esi
        call    print
        mov     HIGHEST, %eax
        call    hex
        mov     $'\n', %al
        outb    %al, $0xe9
        mov     $0xf4, %edx
        xor     %eax, %eax
        outl    %eax, %dx
3:      hlt
        jmp     3b

/* EBP = the decimal number behind "cpus=" in ESI. */
number:
        lodsb
        test    %al, %al
        jz      2f
        cmp     $'=', %al
        jne     number
1:      lodsb
        sub     $'0', %al
        cmp     $9, %al
        ja      2f
        movzx   %al, %eax
        imul    $10, %ebp
        add     %eax, %ebp
        jmp     1b
2:      ret

/* About 10 ms by channel 2 of the PIT. */
delay:
        inb     $0x61, %al
        and     $0xfc, %al
        outb    %al, $0x61
        mov     $0xb0, %al
        outb    %al, $0x43
        mov     $0x9c, %al
        outb    %al, $0x42
        mov     $0x2e, %al
        outb    %al, $0x42
        inb     $0x61, %al
        or      $1, %al
        outb    %al, $0x61
1:      pause
        inb     $0x61, %al
        test    $0x20, %al
        jz      1b
        ret

print:
        lodsb
        test    %al, %al
        jz      1f
        outb    %al, $0xe9
        jmp     print
1:      ret

hex:
        mov     $8, %ecx
1:      rol     $4, %eax
        push    %eax
        and     $15, %eax
        movb    digits(%eax), %al
        outb    %al, $0xe9
        pop     %eax
        loop    1b
        ret

        .code16
ap_start:
        xor     %ax, %ax
        mov     %ax, %ds
        mov     $1, %eax
        cpuid
        shr     $24, %ebx               /* the APIC ID */
        movw    $HIGHEST, %si
1:      mov     (%si), %eax
        cmp     %eax, %ebx
        jbe     2f
        lock cmpxchg %ebx, (%si)
        jnz     1b
2:      movw    $COUNT, %si
        lock incl (%si)
3:      cli
        hlt
        jmp     3b
ap_end:
        .code32

digits: .ascii  "0123456789abcdef"
cpus_text: .asciz "cpus "
highest_text: .asciz " highest "

        .bss
        .balign 16
        .skip   4096
stack_top:
