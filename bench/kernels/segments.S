/* The benchmark of 16-bit code and of segments with bases and limits: a multiboot 1 kernel that runs each row of its
 * table in one of five modes and writes a line to the debug console before and after it:
 *
 *     B name
 *     E name checksum
 *
 * and a D at the end. bench/segments.py measures the time between the two. The 16-bit rows are the same code in real mode, in
 * virtual-8086 mode and in 16-bit protected mode; where its segments are it finds in SEL_*. */

        .set    MAGIC, 0x1badb002
        .set    FLAGS, 3

        /* Linear addresses. */
        .equ    CODE, 0x10000           /* of the 16-bit code: also its segment */
        .equ    FAR_CODE, 0x10100       /* the same code, 256 bytes on */
        .equ    DATA, 0x20000
        .equ    EXTRA, 0x30000
        .equ    STACK, 0x40000
        .equ    TSS_AT, 0x280000
        .equ    AREA32, 0x300000        /* of the 32-bit rows' data segment */
        .equ    AREA_SIZE, 0x100000

        /* Offsets in the data segment. */
        .equ    SEL_EXTRA, 0            /* selectors of the mode that runs */
        .equ    SEL_DATA, 2
        .equ    FAR_POINTER, 4          /* to far_add */
        .equ    POINTER, 8              /* into the extra segment */
        .equ    COUNT, 12
        .equ    ARRAY, 0x100

        /* Selectors. */
        .equ    CODE32, 0x08
        .equ    DATA32, 0x10
        .equ    CODE16, 0x18
        .equ    FAR16, 0x20
        .equ    DATA16, 0x28
        .equ    EXTRA16, 0x30
        .equ    STACK16, 0x38
        .equ    BASED32, 0x40           /* data at AREA32, limit AREA_SIZE - 1 */
        .equ    TSS, 0x48
        .equ    REAL_CODE, 0x50
        .equ    REAL_DATA, 0x58
        .equ    TLS32, 0x60             /* data at AREA32, no limit: as threads of 32-bit programs have it */

        .section .code16, "ax"
        .globl  code16
code16:
        .fill   0x100, 1, 0xcc          /* what far code is behind */

        .section .multiboot, "a"
        .align  4
        .long   MAGIC, FLAGS, -(MAGIC + FLAGS)

        .text
        .code32
        .globl  _start
_start:
        cli
        cld
        movl    $stack_top, %esp
        lgdt    gdt_pointer
        lidt    idt_pointer
        ljmp    $CODE32, $1f
1:      movl    $DATA32, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    $TLS32, %eax
        movl    %eax, %fs
        movl    %eax, %gs
        movl    $code16, %esi           /* 16-bit code to where real mode reaches it */
        movl    $CODE, %edi
        movl    $code16_size, %ecx
        rep     movsb
        movw    $DATA32, TSS_AT + 8     /* ss0; the rest is 0 */
        movl    $TSS, %eax
        ltr     %ax

        movl    $rows, %ebx
next_row:
        movl    (%ebx), %esi            /* name */
        testl   %esi, %esi
        jz      finish
        movb    $'B', %al
        call    say_row
        call    *4(%ebx)
        movl    %eax, %ebp
        movl    $DATA32, %edx
        movl    %edx, %ds
        movl    %edx, %es
        movb    $'E', %al
        call    say_row
        addl    $16, %ebx
        jmp     next_row
finish:
        movb    $'D', %al               /* who reads it ends the machine */
        outb    %al, $0xe9
        movb    $'\n', %al
        outb    %al, $0xe9
2:      hlt
        jmp     2b

/* AL, the row's name and, at the end, EBP. */
say_row:
        movb    %al, %ah
        outb    %al, $0xe9
        movb    $' ', %al
        outb    %al, $0xe9
        movl    (%ebx), %esi
1:      lodsb
        testb   %al, %al
        jz      2f
        outb    %al, $0xe9
        jmp     1b
2:      cmpb    $'E', %ah
        jne     5f
        movb    $' ', %al
        outb    %al, $0xe9
        movl    $8, %ecx
3:      roll    $4, %ebp
        movl    %ebp, %eax
        andl    $15, %eax
        addl    $'0', %eax
        cmpl    $'9', %eax
        jbe     4f
        addl    $'a' - '0' - 10, %eax
4:      outb    %al, $0xe9
        decl    %ecx
        jnz     3b
5:      movb    $'\n', %al
        outb    %al, $0xe9
        ret

/* --- 32-bit rows --- */

/* Code of the compiler whose data and stack are in segments with a base and a limit. */
row_based32:
        pushal
        movl    %esp, saved_esp
        movl    12(%ebx), %ecx
        movl    $BASED32, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    $AREA_SIZE, %esp
        pushl   %ecx
        pushl   $0x1000
        call    work
        movl    %eax, %ebp
        movl    $DATA32, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    saved_esp, %esp
        movl    %ebp, 28(%esp)
        popal
        ret

/* Flat segments but for GS, which has what a thread calls its own. */
row_tls32:
        movl    12(%ebx), %ecx
        xorl    %eax, %eax
        movl    $0, %gs:0x10
1:      movl    %gs:0x10, %edx
        addl    %ecx, %edx
        movl    %edx, %gs:0x10
        movl    %edx, %edi
        andl    $0xfc, %edi
        addl    %edx, %gs:0x100(%edi)
        xorl    %gs:0x104(%edi), %eax
        decl    %ecx
        jnz     1b
        ret

/* --- 16-bit rows: from 32-bit protected mode into the mode and back, with the number of the work in BP --- */

prepare16:                              /* ax = selector of the far code, cx = extra, dx = data */
        movw    %cx, DATA + SEL_EXTRA
        movw    %dx, DATA + SEL_DATA
        movw    $far_add - code16 - (FAR_CODE - CODE), DATA + FAR_POINTER
        movw    %ax, DATA + FAR_POINTER + 2
        movw    $0x40, DATA + POINTER
        movw    %cx, DATA + POINTER + 2
        movw    12(%ebx), %ax
        movw    %ax, DATA + COUNT
        movl    8(%ebx), %ebp
        ret

row_real:
        pushal
        movl    $FAR_CODE >> 4, %eax
        movl    $EXTRA >> 4, %ecx
        movl    $DATA >> 4, %edx
        call    prepare16
        movl    %esp, saved_esp
        ljmp    $REAL_CODE, $1f - code16
        .pushsection .code16, "ax"
        .code16
1:      movw    $REAL_DATA, %ax         /* limits of 64 KiB */
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    %ax, %fs
        movw    %ax, %gs
        movl    %cr0, %eax
        andb    $0xfe, %al
        movl    %eax, %cr0
        ljmp    $CODE >> 4, $1f - code16
1:      movw    $DATA >> 4, %ax
        movw    %ax, %ds
        movw    $STACK >> 4, %ax
        movw    %ax, %ss
        movw    $0xfffe, %sp
        lidtl   %cs:(real_idt - code16)
        xorw    %ax, %ax
        movw    %ax, %es
        movw    $service - code16, %es:4 * 0x60
        movw    $CODE >> 4, %es:4 * 0x60 + 2
        call    *%cs:(works - code16)(%bp)
        movl    %eax, %ebp
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmpl   $CODE32, $back_from_real
        .popsection
        .code32
back_from_real:
        movl    $DATA32, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    %eax, %ss
        movl    $TLS32, %eax
        movl    %eax, %fs
        movl    %eax, %gs
        lidt    idt_pointer
        movl    saved_esp, %esp
        movl    %ebp, 28(%esp)
        popal
        ret

row_v86:
        pushal
        movl    $FAR_CODE >> 4, %eax
        movl    $EXTRA >> 4, %ecx
        movl    $DATA >> 4, %edx
        call    prepare16
        movl    %esp, saved_esp
        movl    %esp, TSS_AT + 4
        pushl   $0                      /* gs, fs */
        pushl   $0
        pushl   $DATA >> 4
        pushl   $0
        pushl   $STACK >> 4
        pushl   $0xfffe
        pushl   $0x23002                /* VM, IOPL 3 */
        pushl   $CODE >> 4
        pushl   $1f - code16
        iretl
        .pushsection .code16, "ax"
        .code16
1:      call    *%cs:(works - code16)(%bp)
        int     $0x61
        .popsection
        .code32
        .globl  service_leave
service_leave:
        movl    %eax, %ebp
        movl    $DATA32, %eax
        movl    %eax, %ds
        movl    %eax, %es
        movl    $TLS32, %eax
        movl    %eax, %fs
        movl    %eax, %gs
        movl    saved_esp, %esp
        movl    %ebp, 28(%esp)
        popal
        ret

/* INT 60h of virtual-8086 mode. */
        .globl  service32
service32:
        addl    $3, %esi
        iretl

row_prot16:
        pushal
        movl    $FAR16, %eax
        movl    $EXTRA16, %ecx
        movl    $DATA16, %edx
        call    prepare16
        movl    %esp, saved_esp
        movl    $DATA16, %eax
        movl    %eax, %ds
        movl    $STACK16, %eax
        movl    %eax, %ss
        movl    $0xfffe, %esp
        ljmp    $CODE16, $1f - code16
        .pushsection .code16, "ax"
        .code16
1:      call    *%cs:(works - code16)(%bp)
        movl    %eax, %ebp
        ljmpl   $CODE32, $back_from_real
        .popsection
        .code32

/* --- the work of the 16-bit rows: BP is 2 * its number; the checksum goes to EAX --- */

        .section .code16, "ax"
        .code16
works:
        .word   sort - code16, sieve - code16, calls - code16, copy - code16, far_calls - code16, ints - code16, compiled - code16
        .align  4
real_idt:
        .word   0x3ff
        .long   0

/* Sorting 400 words that fall, by insertion: branches that are easy to predict. */
sort:
        movw    COUNT, %bp
1:      xorw    %si, %si
        movw    $400, %cx
2:      movw    %cx, ARRAY(%si)
        addw    $2, %si
        loop    2b
        movw    $2, %bx
3:      movw    ARRAY(%bx), %ax
        movw    %bx, %si
4:      movw    ARRAY - 2(%si), %dx
        cmpw    %ax, %dx
        jbe     5f
        movw    %dx, ARRAY(%si)
        subw    $2, %si
        jnz     4b
5:      movw    %ax, ARRAY(%si)
        addw    $2, %bx
        cmpw    $800, %bx
        jb      3b
        decw    %bp
        jnz     1b
        xorl    %eax, %eax
        xorw    %si, %si
6:      rolw    $1, %ax
        addw    ARRAY(%si), %ax
        addw    $2, %si
        cmpw    $800, %si
        jb      6b
        ret

/* The sieve of Eratosthenes with a byte for each of 60000 numbers. */
sieve:
        movw    SEL_EXTRA, %es
        movw    COUNT, %bp
1:      xorw    %di, %di
        movw    $60000, %cx
2:      movb    $1, %es:(%di)
        incw    %di
        loop    2b
        movw    $2, %bx
3:      cmpb    $0, %es:(%bx)
        je      5f
        movw    %bx, %ax
        mulw    %ax
        movw    %ax, %di
4:      movb    $0, %es:(%di)
        addw    %bx, %di
        jc      5f
        cmpw    $60000, %di
        jb      4b
5:      incw    %bx
        cmpw    $245, %bx
        jb      3b
        decw    %bp
        jnz     1b
        xorl    %eax, %eax
        xorw    %di, %di
6:      movb    %es:(%di), %dl
        xorb    %dh, %dh
        addw    %dx, %ax
        incw    %di
        cmpw    $60000, %di
        jb      6b
        ret

/* Fibonacci by recursion, with arguments and locals in frames. */
calls:
        movw    COUNT, %bx
        xorl    %eax, %eax
1:      pushw   %bx
        pushw   $18
        call    fibonacci
        addw    $2, %sp
        popw    %bx
        decw    %bx
        jnz     1b
        movzwl  %ax, %eax
        ret
fibonacci:
        pushw   %bp
        movw    %sp, %bp
        subw    $2, %sp
        movw    4(%bp), %ax
        cmpw    $2, %ax
        jb      1f
        decw    %ax
        pushw   %ax
        call    fibonacci
        addw    $2, %sp
        movw    %ax, -2(%bp)
        movw    4(%bp), %ax
        subw    $2, %ax
        pushw   %ax
        call    fibonacci
        addw    $2, %sp
        addw    -2(%bp), %ax
1:      leavew
        ret

/* String instructions: short and long copies, fills, and loops of LODS and STOS. */
copy:
        movw    COUNT, %bp
        movw    SEL_EXTRA, %es
        xorl    %edx, %edx
1:      movw    %bp, %ax
        xorw    %di, %di
        movw    $4096, %cx
        rep     stosb
        movw    $8, %bx
2:      movw    $ARRAY, %si
        movw    $0x2000, %di
        movw    %bx, %cx
        rep     movsw
        addw    $24, %bx
        cmpw    $512, %bx
        jb      2b
        movw    $ARRAY, %si
        movw    $0x4000, %di
        movw    $512, %cx
3:      lodsb
        xorb    %dl, %al
        addb    %al, %dl
        stosb
        loop    3b
        movw    $ARRAY, %si
        movw    $0x2000, %di
        movw    $64, %cx
        repe    cmpsb
        addw    %cx, %dx
        decw    %bp
        jnz     1b
        movl    %edx, %eax
        ret

/* Far calls and returns, LES, and loads of ES. */
far_calls:
        xorl    %eax, %eax
1:      movw    $10000, %cx
2:      lesw    POINTER, %di
        pushw   %es:(%di)
        pushw   %cx
        lcallw  *FAR_POINTER
        lesw    POINTER, %di
        movw    %ax, %es:(%di)
        movw    SEL_DATA, %es
        movw    %ax, %es:ARRAY
        loop    2b
        decw    COUNT
        jnz     1b
        ret
far_add:
        pushw   %bp
        movw    %sp, %bp
        movw    8(%bp), %ax
        addw    6(%bp), %ax
        popw    %bp
        lretw   $4

/* INT and IRET. */
ints:
        xorl    %esi, %esi
1:      movw    $10000, %cx
2:      int     $0x60
        loop    2b
        decw    COUNT
        jnz     1b
        movl    %esi, %eax
        ret
service:
        addl    $3, %esi
        iretw

/* The compiler's, as firmware has it: 32-bit operands and addresses in 16-bit code. */
compiled:
        movzwl  COUNT, %ecx
        pushw   %ds
        movzwl  %sp, %esp
        movw    %ss, %ax
        movw    %ax, %ds
        movw    %ax, %es
        pushl   %ecx
        pushl   $0x1000
        calll   work16
        addl    $8, %esp
        popw    %ds
        ret

/* --- tables --- */

        .section .rodata
        .macro  ROW name, run, work, count
        .long   1f, \run, 2 * (\work), \count
        .pushsection .rodata.names
1:      .asciz  "\name"
        .popsection
        .endm
        .align  4
rows:
        /*      name, mode, work, how often */
        ROW     real-sort, row_real, 0, 1500
        ROW     real-sieve, row_real, 1, 1500
        ROW     real-calls, row_real, 2, 4000
        ROW     real-copy, row_real, 3, 30000
        ROW     real-far, row_real, 4, 800
        ROW     real-int, row_real, 5, 300
        ROW     real-compiled, row_real, 6, 800
        ROW     prot16-sort, row_prot16, 0, 1500
        ROW     prot16-sieve, row_prot16, 1, 1500
        ROW     prot16-calls, row_prot16, 2, 4000
        ROW     prot16-copy, row_prot16, 3, 30000
        ROW     prot16-far, row_prot16, 4, 800
        ROW     v86-sort, row_v86, 0, 1500
        ROW     v86-calls, row_v86, 2, 4000
        ROW     v86-copy, row_v86, 3, 30000
        ROW     v86-far, row_v86, 4, 800
        ROW     v86-int, row_v86, 5, 300
        ROW     based32, row_based32, 0, 800
        ROW     tls32, row_tls32, 0, 120000000
        .long   0

        .data
        .align  8
        .macro  SEGMENT base, limit, type, flags
        .quad   ((\limit) & 0xffff) | (((\base) & 0xffffff) << 16) | ((\type) << 40) | ((((\limit) >> 16) & 0xf) << 48) | ((\flags) << 52)
        .endm
gdt:
        .quad   0
        SEGMENT 0, 0xfffff, 0x9b, 0xc           /* CODE32 */
        SEGMENT 0, 0xfffff, 0x93, 0xc           /* DATA32 */
        SEGMENT CODE, 0x7fff, 0x9b, 0           /* CODE16 */
        SEGMENT FAR_CODE, 0x6fff, 0x9b, 0       /* FAR16 */
        SEGMENT DATA, 0xbfff, 0x93, 0           /* DATA16 */
        SEGMENT EXTRA, 0xefff, 0x93, 0          /* EXTRA16 */
        SEGMENT STACK, 0xffff, 0x93, 0          /* STACK16 */
        SEGMENT AREA32, (AREA_SIZE - 1), 0x93, 4        /* BASED32 */
        SEGMENT TSS_AT, 0x67, 0x89, 0       /* TSS */
        SEGMENT CODE, 0xffff, 0x9b, 0           /* REAL_CODE */
        SEGMENT 0, 0xffff, 0x93, 0              /* REAL_DATA */
        SEGMENT AREA32, 0xfffff, 0x93, 0xc      /* TLS32 */
gdt_end:
gdt_pointer:
        .word   gdt_end - gdt - 1
        .long   gdt
        .align  8
idt:
        .fill   0x60, 8, 0
        .word   service32_low, CODE32, 0xee00, service32_high
        .word   leave_low, CODE32, 0xee00, leave_high
idt_end:
idt_pointer:
        .word   idt_end - idt - 1
        .long   idt

        .bss
        .align  4096
saved_esp:
        .skip   4
        .align  16
        .skip   16384
stack_top:
