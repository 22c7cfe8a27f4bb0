/* Prints every CPUID leaf to the debug console (port E9h), a line each: leaf, subleaf, EAX, EBX, ECX and EDX in
 * hexadecimal. Leaves are those up to the highest that leaves 0, 40000000h and 80000000h name, six subleaves of those
 * that have any. 32-bit code of an 80386 otherwise, so that every CPU model runs it, in QEMU as well. Ends with the
 * device isa-debug-exit. */

        .section .multiboot, "a"
        .balign 4
        .long   0x1badb002, 0, -0x1badb002

        .text
        .globl  _start
_start:
        mov     $stack_top, %esp
        xor     %eax, %eax
        call    range
        mov     $0x40000000, %eax
        call    range
        mov     $0x80000000, %eax
        call    range
        mov     $0xf4, %edx
        xor     %eax, %eax
        outl    %eax, %dx
1:      hlt
        jmp     1b

/* All leaves from EAX on. */
range:
        mov     %eax, %esi              /* the leaf */
        xor     %ecx, %ecx
        cpuid
        mov     %esi, %edx              /* the highest one: at most 63 more, and nothing where there is no range */
        and     $0xc0000000, %edx
        mov     %eax, %ecx
        and     $0xc0000000, %ecx
        cmp     %ecx, %edx
        jne     3f
        mov     %eax, highest
1:      call    leaf
        inc     %esi
        cmp     highest, %esi
        ja      3f
        mov     %esi, %eax
        and     $0xff, %eax
        cmp     $0x3f, %eax
        jbe     1b
3:      ret

/* Leaf ESI. */
leaf:
        xor     %edi, %edi              /* the subleaf */
1:      mov     %esi, %eax
        mov     %edi, %ecx
        cpuid
        mov     %eax, result
        mov     %ebx, result + 4
        mov     %ecx, result + 8
        mov     %edx, result + 12
        mov     %esi, %eax
        call    hex
        mov     %edi, %eax
        call    hex
        mov     result, %eax
        call    hex
        mov     result + 4, %eax
        call    hex
        mov     result + 8, %eax
        call    hex
        mov     result + 12, %eax
        call    hex
        mov     $'\n', %al
        outb    %al, $0xe9
        mov     $with_subleaves, %ebx
2:      mov     (%ebx), %eax
        add     $4, %ebx
        cmp     $-1, %eax
        je      3f
        cmp     %esi, %eax
        jne     2b
        inc     %edi
        cmp     $6, %edi
        jb      1b
3:      ret

/* EAX and a space. */
hex:
        mov     $8, %ecx
1:      rol     $4, %eax
        push    %eax
        and     $15, %eax
        movb    digits(%eax), %al
        outb    %al, $0xe9
        pop     %eax
        loop    1b
        mov     $' ', %al
        outb    %al, $0xe9
        ret

        .balign 4
with_subleaves:
        .long   4, 7, 0xb, 0xd, 0xf, 0x10, 0x12, 0x14, 0x1f, 0x8000001d, 0x80000026, -1
digits: .ascii  "0123456789abcdef"

        .bss
        .balign 16
highest: .skip  4
result: .skip   16
        .skip   4096
stack_top:
