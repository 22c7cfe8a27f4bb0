/* Entry of the boot vCPU (multiboot 1) and of the others (SIPI), exception stubs, run(). See rt.h. */
        .set    MAGIC, 0x1badb002
        .set    FLAGS, 3
        .section .multiboot, "a"
        .align  4
        .long   MAGIC, FLAGS, -(MAGIC + FLAGS)

        .equ    STACK_SIZE, 0x8000      /* as in rt.c: stacks are aligned to it, a Cpu pointer is at their low end */
        .equ    CPU_RETURN, 8

        .text
        .code32
        .globl  _start
_start:
        cli
        cld
        movl    %ebx, multiboot_info
        movl    $pdpt + 7, pml4
        movl    $pd0 + 7, pdpt
        movl    $pd0, %edi
        movl    $0x83, %eax             /* supervisor, 2 MiB */
1:      movl    %eax, (%edi)
        addl    $8, %edi
        addl    $0x200000, %eax
        cmpl    $0x40000083, %eax
        jne     1b
        movl    $pd3 + 7, pdpt + 24
        movl    $0xfee00093, pd3 + 0xfee00000 / 0x200000 * 8 % 4096
        lgdt    boot_gdt_pointer
        xorl    %ebx, %ebx
        jmp     long_mode

        /* ebx: number of this vCPU */
long_mode:
        movl    $0x20, %eax             /* PAE */
        movl    %eax, %cr4
        movl    $pml4, %eax
        movl    %eax, %cr3
        movl    $0xc0000080, %ecx
        rdmsr
        orl     $0x901, %eax            /* NXE, LME, SCE */
        wrmsr
        movl    $0x80010033, %eax       /* PG, WP, NE, ET, MP, PE */
        movl    %eax, %cr0
        ljmp    $8, $1f
        .code64
1:      movl    $0x10, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        xorl    %eax, %eax
        movl    %eax, %fs
        movl    %eax, %gs
        movl    %ebx, %edi
        leal    1(%rbx), %esp
        imull   $STACK_SIZE, %esp
        addl    $main_stacks, %esp
        call    rt_main
        ud2

        /* Copied to 8000h, in real mode. */
        .globl  trampoline, trampoline_end
        .code16
trampoline:
        cli
        xorw    %ax, %ax
        movw    %ax, %ds
        lgdtl   trampoline_gdt - trampoline + 0x8000
        movl    %cr0, %eax
        orl     $1, %eax
        movl    %eax, %cr0
        ljmpl   $0x18, $from_trampoline
        .align  4
trampoline_gdt:
        .word   39
        .long   boot_gdt
trampoline_end:
        .code32
from_trampoline:
        movw    $0x10, %ax
        movw    %ax, %ds
        movl    $1, %ebx
        lock xaddl %ebx, next_cpu
        jmp     long_mode
        .code64

/* --- exceptions --- */

        .align  16
        .globl  stubs
stubs:
        .set    n, 0
        .rept   256
        .align  16
        .if     !(n == 8 || (n >= 10 && n <= 14) || n == 17)
        pushq   $0
        .endif
        pushq   $n
        jmp     common
        .set    n, n + 1
        .endr

common:
        pushq   %rax
        pushq   %rcx
        pushq   %rdx
        pushq   %rbx
        pushq   %rbp
        pushq   %rsi
        pushq   %rdi
        pushq   %r8
        pushq   %r9
        pushq   %r10
        pushq   %r11
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        cld
        movq    %rsp, %rdi
        movq    %rsp, %rsi
        andq    $-STACK_SIZE, %rsi
        movq    (%rsi), %rsi
        movq    %rsi, %rbx
        call    trap
        testl   %eax, %eax
        jnz     1f
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %r11
        popq    %r10
        popq    %r9
        popq    %r8
        popq    %rdi
        popq    %rsi
        popq    %rbp
        popq    %rbx
        popq    %rdx
        popq    %rcx
        popq    %rax
        addq    $16, %rsp
        iretq
1:      movq    CPU_RETURN(%rbx), %rsp  /* run() returns the vector */
        decl    %eax
        popfq
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbp
        popq    %rbx
        ret

/* unsigned enter(Frame *f, Cpu *cpu) */
        .globl  enter
enter:
        pushq   %rbx
        pushq   %rbp
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        pushfq
        movq    %rsp, CPU_RETURN(%rsi)
        movl    $0x38 + 3, %eax
        movl    %eax, %ds
        movl    %eax, %es
        pushq   168(%rdi)               /* ss, rsp, rflags, cs, rip */
        pushq   160(%rdi)
        pushq   152(%rdi)
        pushq   144(%rdi)
        pushq   136(%rdi)
        movq    0(%rdi), %r15
        movq    8(%rdi), %r14
        movq    16(%rdi), %r13
        movq    24(%rdi), %r12
        movq    32(%rdi), %r11
        movq    40(%rdi), %r10
        movq    48(%rdi), %r9
        movq    56(%rdi), %r8
        movq    72(%rdi), %rsi
        movq    80(%rdi), %rbp
        movq    88(%rdi), %rbx
        movq    96(%rdi), %rdx
        movq    104(%rdi), %rcx
        movq    112(%rdi), %rax
        movq    64(%rdi), %rdi
        iretq

/* int attempt_(void (*function)(void *), void *argument, Cpu *cpu) */
        .globl  attempt_
attempt_:
        pushq   %rbx
        pushq   %rbp
        pushq   %r12
        pushq   %r13
        pushq   %r14
        pushq   %r15
        pushfq
        movq    %rsp, CPU_RETURN(%rdx)
        movq    %rdi, %rax
        movq    %rsi, %rdi
        subq    $8, %rsp
        andq    $-16, %rsp
        movq    CPU_RETURN(%rdx), %rbp
        call    *%rax
        movq    %rbp, %rsp
        movl    $-1, %eax
        popfq
        popq    %r15
        popq    %r14
        popq    %r13
        popq    %r12
        popq    %rbp
        popq    %rbx
        ret

        .data
        .align  8
boot_gdt:
        .quad   0
        .quad   0x00af9a000000ffff
        .quad   0x00cf92000000ffff
        .quad   0x00cf9a000000ffff
        .quad   0
boot_gdt_pointer:
        .word   39
        .long   boot_gdt
        .globl  multiboot_info, next_cpu
        .align  4
multiboot_info:
        .long   0
next_cpu:
        .long   1

        .bss
        .align  4096
        .globl  pml4, pdpt, pd0, pd3
pml4:   .skip   4096
pdpt:   .skip   4096
pd0:    .skip   4096
pd3:    .skip   4096
        .align  STACK_SIZE
        .globl  main_stacks, trap_stacks
main_stacks:
        .skip   8 * STACK_SIZE
trap_stacks:
        .skip   8 * STACK_SIZE

        .section .note.GNU-stack, "", @progbits
