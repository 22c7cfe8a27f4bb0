/* Entry (multiboot 1), exception stubs of protected and real mode, run(), the task of double faults. See legacy.h. */

        .equ    SAVE, 0x600             /* the Frame of what was raised last, in the order of legacy.h */
        .equ    RETURN, 0x700           /* ESP of run() */
        .equ    REAL_AT, 0x8000         /* where the real-mode part is copied to */

        .equ    F_EDI, 0
        .equ    F_EAX, 24
        .equ    F_VECTOR, 28
        .equ    F_ERROR, 32
        .equ    F_EIP, 36
        .equ    F_CS, 40
        .equ    F_EFLAGS, 44
        .equ    F_ESP, 48
        .equ    F_SS, 52
        .equ    F_ES, 56
        .equ    F_DS, 60
        .equ    F_FS, 64
        .equ    F_GS, 68

        .section .multiboot, "a"
        .align  4
        .long   0x1badb002, 3, -(0x1badb002 + 3)

        .text
        .code32
        .globl  _start
_start:
        cli
        cld
        movl    $own_stack_end, %esp
        movl    %ebx, multiboot_info
        lgdt    gdt_pointer
        ljmp    $8, $1f
1:      movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        xorl    %eax, %eax
        movw    %ax, %fs
        movw    %ax, %gs
        movl    $real, %esi
        movl    $REAL_AT, %edi
        movl    $(real_end - real), %ecx
        rep     movsb
        call    legacy_main
        hlt

/* --- protected mode --- */

        .align  16
        .globl  stubs
stubs:
        .set    n, 0
        .rept   256
        .align  16
        .if     !(n == 8 || (n >= 10 && n <= 14) || n == 17)
        pushl   $0
        .endif
        pushl   $n
        jmp     common
        .set    n, n + 1
        .endr

common:
        pushal
        pushl   %ds
        pushl   %es
        pushl   %fs
        pushl   %gs
        movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movl    $0, SAVE + F_GS         /* selectors are stored in 16 bits */
        popl    SAVE + F_GS
        popl    SAVE + F_FS
        popl    SAVE + F_ES
        popl    SAVE + F_DS
        popl    SAVE + 0                /* EDI */
        popl    SAVE + 4
        popl    SAVE + 8
        popl    SAVE + F_ESP
        popl    SAVE + 12               /* EBX */
        popl    SAVE + 16
        popl    SAVE + 20
        popl    SAVE + F_EAX
        popl    SAVE + F_VECTOR
        popl    SAVE + F_ERROR
        popl    SAVE + F_EIP
        popl    SAVE + F_CS
        popl    SAVE + F_EFLAGS
        testl   $0x20000, SAVE + F_EFLAGS
        jnz     1f
        testb   $3, SAVE + F_CS
        jz      2f
        popl    SAVE + F_ESP
        popl    SAVE + F_SS
        jmp     back
1:      popl    SAVE + F_ESP
        popl    SAVE + F_SS
        popl    SAVE + F_ES
        popl    SAVE + F_DS
        popl    SAVE + F_FS
        popl    SAVE + F_GS
        jmp     back
2:      movl    %esp, SAVE + F_ESP
        movl    %ss, %eax
        movl    %eax, SAVE + F_SS

/* Returns from run(), in protected mode with good DS and ES. IRET ends the blocking of NMIs. */
back:
        movw    $0x10, %ax
        movw    %ax, %ss
        movl    RETURN, %esp
        xorl    %eax, %eax
        movw    %ax, %fs
        movw    %ax, %gs
        pushl   $2
        pushl   $8
        pushl   $1f
        iretl
1:      movl    20(%esp), %edi
        movl    $SAVE, %esi
        movl    $18, %ecx
        rep     movsl
        popl    %edi
        popl    %esi
        popl    %ebx
        popl    %ebp
        movl    SAVE + F_VECTOR, %eax
        ret

/* unsigned enter_frame(Frame *f, unsigned real) */
        .globl  enter_frame
enter_frame:
        pushl   %ebp
        pushl   %ebx
        pushl   %esi
        pushl   %edi
        movl    %esp, RETURN
        movl    20(%esp), %ebx
        cmpl    $0, 24(%esp)
        jnz     enter_real
        testl   $0x20000, F_EFLAGS(%ebx)
        jnz     enter_vm
        movl    F_CS(%ebx), %eax
        testb   $3, %al
        jz      1f
        pushl   F_SS(%ebx)
        pushl   F_ESP(%ebx)
        jmp     2f
1:      movl    F_SS(%ebx), %eax
        movl    %eax, %ss
        movl    F_ESP(%ebx), %esp
2:      pushl   F_EFLAGS(%ebx)
        pushl   F_CS(%ebx)
        pushl   F_EIP(%ebx)
        movl    F_FS(%ebx), %eax
        movl    %eax, %fs
        movl    F_GS(%ebx), %eax
        movl    %eax, %gs
        movl    F_ES(%ebx), %eax
        movl    %eax, %es
        pushl   F_DS(%ebx)
        jmp     3f
enter_vm:
        pushl   F_GS(%ebx)
        pushl   F_FS(%ebx)
        pushl   F_DS(%ebx)
        pushl   F_ES(%ebx)
        pushl   F_SS(%ebx)
        pushl   F_ESP(%ebx)
        pushl   F_EFLAGS(%ebx)
        pushl   F_CS(%ebx)
        pushl   F_EIP(%ebx)
        pushl   $0
3:      movl    0(%ebx), %edi
        movl    4(%ebx), %esi
        movl    8(%ebx), %ebp
        movl    16(%ebx), %edx
        movl    20(%ebx), %ecx
        movl    F_EAX(%ebx), %eax
        movl    12(%ebx), %ebx
        popl    %ds
        iretl

/* A double fault, in its own task: what it interrupted is in the main task's segment. */
        .globl  double_fault
double_fault:
        pushl   $2                      /* no nested task */
        popfl
        clts
        popl    %eax                    /* the error code */
        movl    %eax, SAVE + F_ERROR
        movl    $8, SAVE + F_VECTOR
        call    double_fault_state
        jmp     back

/* --- real mode --- */

enter_real:
        movl    %ebx, %esi              /* the frame, where 16-bit code reaches it */
        movl    $SAVE, %edi
        movl    $18, %ecx
        rep     movsl
        movl    %cr0, %eax
        andl    $0x7fffffff, %eax
        movl    %eax, %cr0
        lidt    REAL_AT + (real_idt - real)
        ljmp    $0xa8, $(to_real - real + REAL_AT)

        .globl  real, real_end, real_stubs
real:
        .code16
to_real:
        movw    $0x60, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    %ax, %fs
        movw    %ax, %gs
        movl    %cr0, %eax
        andb    $0xfe, %al
        movl    %eax, %cr0
        ljmp    $0, $(1f - real + REAL_AT)
1:      xorw    %ax, %ax
        movw    %ax, %ds
        movw    SAVE + F_SS, %ss
        movl    SAVE + F_ESP, %esp
        pushw   SAVE + F_EFLAGS
        pushw   SAVE + F_CS
        pushw   SAVE + F_EIP
        movw    SAVE + F_ES, %es
        movw    SAVE + F_FS, %fs
        movw    SAVE + F_GS, %gs
        movl    SAVE + 0, %edi
        movl    SAVE + 4, %esi
        movl    SAVE + 8, %ebp
        movl    SAVE + 12, %ebx
        movl    SAVE + 16, %edx
        movl    SAVE + 20, %ecx
        movl    SAVE + F_EAX, %eax
        movw    SAVE + F_DS, %ds
        iretw

        .align  8
real_stubs:
        .set    n, 0
        .rept   256
        pushw   $n
        jmp     real_common
        .align  8
        .set    n, n + 1
        .endr

real_common:
        pushal
        pushw   %ds
        pushw   %es
        pushw   %fs
        pushw   %gs
        xorl    %eax, %eax
        movw    %ax, %ds
        movw    %ax, %es
        movw    $SAVE, %di
        movw    $18, %cx
        cld
        rep     stosl
        popw    SAVE + F_GS
        popw    SAVE + F_FS
        popw    SAVE + F_ES
        popw    SAVE + F_DS
        popl    SAVE + 0
        popl    SAVE + 4
        popl    SAVE + 8
        popl    SAVE + F_ESP
        popl    SAVE + 12
        popl    SAVE + 16
        popl    SAVE + 20
        popl    SAVE + F_EAX
        popw    SAVE + F_VECTOR
        popw    SAVE + F_EIP
        popw    SAVE + F_CS
        popw    SAVE + F_EFLAGS
        movl    %esp, SAVE + F_ESP
        movw    %ss, SAVE + F_SS
        lgdtl   (gdt_pointer_low - real + REAL_AT)
        lidtl   (idt_pointer_low - real + REAL_AT)
        movl    %cr0, %eax
        orl     $0x80000001, %eax
        movl    %eax, %cr0
        ljmpl   $8, $from_real
        .align  4
real_idt:
        .word   0x3ff
        .long   0
gdt_pointer_low:
        .word   0xaf
        .long   gdt
idt_pointer_low:
        .word   0x7ff
        .long   idt
real_end:
        .code32
from_real:
        movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        jmp     back

        .globl  gdt_pointer
gdt_pointer:
        .word   0xaf                    /* S_END - 1 */
        .long   gdt
        .globl  idt_pointer
idt_pointer:
        .word   0x7ff
        .long   idt

        .data
        .align  16
        .globl  gdt
gdt:
        .quad   0
        .quad   0x00cf9b000000ffff
        .quad   0x00cf93000000ffff
        .skip   8 * 19

        .bss
        .globl  multiboot_info
        .align  4
multiboot_info:
        .skip   4
        .align  4096
        .skip   0x8000
own_stack_end:

        .section .note.GNU-stack, "", @progbits
