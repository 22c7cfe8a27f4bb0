/* Boot sector for emulators without multiboot (peers.py): loads the image that follows it on a 1.44 MB floppy disk to
 * 1 MiB and jumps to its entry, as a multiboot loader would. The fields from `command` on are filled in by peers.py. */

        .equ    BUFFER, 0x10000

        .code16
        .globl  _start
_start:
        cli
        cld
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %ss
        movw    $0x7c00, %sp
        movw    $(BUFFER >> 4), %bx
        movw    %bx, %es
        movw    $1, %si                 /* sector */
1:      movw    %si, %ax
        movb    $36, %cl
        divb    %cl                     /* cylinder, rest */
        movb    %al, %ch
        movb    %ah, %al
        xorb    %ah, %ah
        movb    $18, %cl
        divb    %cl                     /* head, sector */
        movb    %al, %dh
        movb    %ah, %cl
        incb    %cl
        xorb    %dl, %dl
        xorw    %bx, %bx
        movw    $0x0201, %ax
        int     $0x13
        jc      1b
        movw    %es, %ax
        addw    $0x20, %ax
        movw    %ax, %es
        incw    %si
        cmpw    sectors + 0x7c00 - _start, %si
        jbe     1b
        movw    $0x3fb, %dx             /* 8 bits */
        movb    $3, %al
        outb    %al, %dx
        inb     $0x92, %al
        orb     $2, %al
        outb    %al, $0x92
        lgdtl   (pointer - _start + 0x7c00)
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpl   $8, $(1f - _start + 0x7c00)
        .code32
1:      movw    $16, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movzwl  sectors - _start + 0x7c00, %ecx
        shll    $7, %ecx
        movl    $BUFFER, %esi
        movl    $0x100000, %edi
        rep     movsl
        movl    $(information - _start + 0x7c00), %ebx
        jmp     *(entry - _start + 0x7c00)
        .align  8
gdt:    .quad   0, 0x00cf9b000000ffff, 0x00cf93000000ffff
pointer:
        .word   23
        .long   gdt - _start + 0x7c00
        .org    360
information:                            /* multiboot's: only a command line */
        .long   4, 0, 0, 0, command - _start + 0x7c00
command:
        .org    500
sectors:
        .word   0
        .org    504
entry:  .long   0
        .org    510
        .word   0xaa55
        .section .note.GNU-stack, "", @progbits
