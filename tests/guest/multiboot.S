/* A multiboot 1 kernel: checks the magic, prints the command line and the modules' strings on the debug console, and
 * ends the machine with 0 on isa-debug-exit (status 1), or with 1 when the magic is wrong. */
        .set    MAGIC, 0x1badb002
        .set    FLAGS, 3                /* page-aligned modules, memory map */
        .section .multiboot, "a"
        .align  4
        .long   MAGIC, FLAGS, -(MAGIC + FLAGS)

        .text
        .code32
        .globl  _start
_start:
        movb    $'!', %cl               /* the first thing any instruction here does: start-up time ends with it */
        xchgb   %al, %cl
        outb    %al, $0xe9
        xchgb   %al, %cl
        movl    $stack_top, %esp
        cld
        cmpl    $0x2badb002, %eax
        movl    $1, %edi
        jne     finish
        movl    %ebx, %ebp
        testl   $4, (%ebp)              /* command line */
        jz      1f
        movl    16(%ebp), %esi
        call    print_line
1:      testl   $8, (%ebp)              /* modules: count at 20, table at 24 */
        jz      3f
        movl    20(%ebp), %ecx
        movl    24(%ebp), %ebx
2:      jecxz   3f
        movl    8(%ebx), %esi
        call    print_line
        movl    (%ebx), %esi            /* the first byte of its contents */
        movb    (%esi), %al
        outb    %al, $0xe9
        movb    $'\n', %al
        outb    %al, $0xe9
        addl    $16, %ebx
        decl    %ecx
        jmp     2b
3:      xorl    %edi, %edi
finish:
        .globl  finish
        movl    %edi, %eax
        movw    $0xf4, %dx
        outb    %al, %dx
4:      hlt
        jmp     4b

print_line:
        .globl  print_line
        lodsb
        testb   %al, %al
        jz      1f
        outb    %al, $0xe9
        jmp     print_line
1:      movb    $'\n', %al
        outb    %al, $0xe9
        ret

        .bss
        .align  16
        .skip   4096
stack_top:
