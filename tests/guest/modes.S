/* A 64 KiB firmware image that goes through every mode of the processor and takes every kind of fault on the way:
 * real mode, 32-bit protected mode in rings 0 and 3, tasks, virtual-8086 mode, long mode in rings 0 and 3,
 * compatibility mode, and at last a triple fault. Writes a line for each step to the debug console (port E9h): its
 * name, and vector and error code of what it raised. test_programs.py knows what the lines must be. */

        .equ    BASE, 0xf0000           /* where the image lies; 16-bit offsets are less that */

        /* Low memory. */
        .equ    RESUME, 0x600           /* where the exception handlers go on, and with which stack */
        .equ    RESUME_SP, 0x608
        .equ    GDT, 0x1000
        .equ    IDT, 0x2000
        .equ    IDT64, 0x3000
        .equ    TSS, 0x4000
        .equ    TSS_B, 0x4200
        .equ    TSS_DF, 0x4400
        .equ    TSS64, 0x4600
        .equ    STACK0, 0x7000
        .equ    STACK3, 0x7800
        .equ    STACK_B, 0x7c00
        .equ    IST1, 0x8000
        .equ    STACK_TSS, 0x9000
        .equ    PML4, 0x10000
        .equ    PDPT, 0x11000
        .equ    PD, 0x12000
        .equ    PT, 0x13000             /* of the 2 MiB from WINDOW on */
        .equ    WINDOW, 0x200000

        /* Pages of the window. */
        .equ    PAGE_RO, WINDOW         /* supervisor, read-only */
        .equ    PAGE_NX, WINDOW + 0x1000
        .equ    PAGE_NONE, WINDOW + 0x2000
        .equ    PAGE_RESERVED, WINDOW + 0x3000
        .equ    PAGE_USER, WINDOW + 0x4000      /* user, writable, executable */
        .equ    PAGE_USER_STACK, WINDOW + 0x5000
        .equ    PAGE_KERNEL, WINDOW + 0x6000    /* supervisor, writable */

        /* Selectors. */
        .equ    CODE32, 0x08
        .equ    DATA, 0x10
        .equ    CODE16, 0x18
        .equ    DATA16, 0x20
        .equ    USER32, 0x28 + 3        /* SYSRET's base: 32-bit code, data, 64-bit code */
        .equ    USER_DATA, 0x30 + 3
        .equ    USER64, 0x38 + 3
        .equ    CODE64, 0x40
        .equ    DATA64, 0x48
        .equ    ABSENT, 0x50
        .equ    SMALL, 0x58             /* data, 4 KiB */
        .equ    TSS_SEL, 0x60
        .equ    TSS_B_SEL, 0x68
        .equ    TSS_DF_SEL, 0x70
        .equ    TASK_B, 0x78            /* task gate */
        .equ    CALL_GATE, 0x80 + 3
        .equ    TSS64_SEL, 0x88         /* two slots */
        .equ    GDT_END, 0x98

        .macro  TEST name, resume
        call    say
        .asciz  "\name"
        movl    $\resume, RESUME
        movl    %esp, RESUME_SP
        .endm

        .macro  SAY text
        call    say
        .asciz  "\text"
        .endm

        .macro  NONE                    /* nothing was raised */
        call    say
        .asciz  " none\n"
        .endm

/* --- real mode --- */

        .code16
        .globl  start
start:
        cld
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $STACK0, %sp
        /* IVT: every vector to its stub */
        xorw    %di, %di
        movw    $(stubs16 - start), %ax
        movw    $32, %cx
1:      movw    %ax, (%di)
        movw    $0xf000, 2(%di)
        addw    $8, %ax
        addw    $4, %di
        loop    1b
        movw    $(service16 - start), 4 * 0x21
        movw    $0xf000, 4 * 0x21 + 2

        .macro  TEST16 name, resume
        movw    $(1f - start), %si
        call    say16
        jmp     2f
1:      .asciz  "\name"
2:      movw    $(\resume - start), RESUME
        movw    %sp, RESUME_SP
        .endm

        TEST16  "real int", 3f
        int     $0x21
3:      TEST16  "real de", 3f
        xorw    %cx, %cx
        divw    %cx
3:      TEST16  "real ud", 3f
        ud2
3:      TEST16  "real bound", 3f
        movl    $0, 0x610
        movw    $1, %ax
        boundw  %ax, 0x610
3:      TEST16  "real limit", 3f
        movw    0xffff, %ax
        movb    $'\n', %al
        outb    %al, $0xe9
3:      TEST16  "real lldt", 3f
        lldt    %ax
3:      TEST16  "real step", 3f
        pushfw
        popw    %ax
        orw     $0x100, %ax
        pushw   %ax
        popfw
        nop
        nop

3:      jmp     to_protected

/* Pops what the stub and the processor pushed, prints the vector and goes on at RESUME. */
common16:
        popw    %bx
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    $(text_v - start), %si
        call    say16
        movb    %bl, %al
        call    hex8_16
        movb    $'\n', %al
        outb    %al, $0xe9
        movw    RESUME_SP, %sp
        jmp     *RESUME

service16:
        movw    $(text_service - start), %si
        call    say16
        iretw

say16:
        movb    %cs:(%si), %al
        incw    %si
        testb   %al, %al
        jz      1f
        outb    %al, $0xe9
        jmp     say16
1:      ret

hex8_16:
        pushw   %ax
        shrb    $4, %al
        call    1f
        popw    %ax
        andb    $15, %al
1:      addb    $'0', %al
        cmpb    $'9', %al
        jbe     2f
        addb    $('a' - '0' - 10), %al
2:      outb    %al, $0xe9
        ret

text_v:
        .asciz  " v="
text_service:
        .asciz  " service\n"

        .align  8
stubs16:
        .set    n, 0
        .rept   32
        pushw   $n
        jmp     common16
        .align  8
        .set    n, n + 1
        .endr

/* --- to protected mode --- */

to_protected:
        cli
        movw    $(gdt_image - start), %si
        movw    $GDT, %di
        movw    $GDT_END, %cx
        rep     movsb %cs:(%si), %es:(%di)
        lgdtl   %cs:(gdt_pointer - start)
        movl    %cr0, %eax
        orl     $1, %eax
        movl    %eax, %cr0
        ljmpl   $CODE32, $protected

        .align  8
gdt_pointer:
        .word   GDT_END - 1
        .long   GDT
idt_pointer:
        .word   0x40 * 8 - 1
        .long   IDT
idt64_pointer:
        .word   0x40 * 16 - 1
        .long   IDT64
no_idt:
        .word   0
        .long   0

        .macro  DESCRIPTOR base, limit, high /* high: bits 8 to 23 without the limit's */
        .word   (\limit) & 0xffff
        .word   (\base) & 0xffff
        .byte   (\base) >> 16 & 0xff
        .byte   (\high) & 0xff
        .byte   ((\high) >> 8 & 0xf0) | ((\limit) >> 16 & 0xf)
        .byte   (\base) >> 24 & 0xff
        .endm

        .align  8
gdt_image:
        .quad   0
        DESCRIPTOR 0, 0xfffff, 0xc09a
        DESCRIPTOR 0, 0xfffff, 0xc092
        DESCRIPTOR 0xf0000, 0xffff, 0x009a
        DESCRIPTOR 0, 0xffff, 0x0092
        DESCRIPTOR 0, 0xfffff, 0xc0fa
        DESCRIPTOR 0, 0xfffff, 0xc0f2
        DESCRIPTOR 0, 0xfffff, 0xa0fa
        DESCRIPTOR 0, 0xfffff, 0xa09a
        DESCRIPTOR 0, 0xfffff, 0xc092
        DESCRIPTOR 0, 0xfffff, 0xc012
        DESCRIPTOR 0, 0xfff, 0x0092
        DESCRIPTOR TSS, 0x69, 0x0089
        DESCRIPTOR TSS_B, 0x67, 0x0089
        DESCRIPTOR TSS_DF, 0x67, 0x0089
        .word   0, TSS_B_SEL, 0xe500, 0 /* task gate, DPL 3 */
        .word   gate_entry - start, CODE32, 0xec02, BASE >> 16 /* call gate, DPL 3, two parameters */
        DESCRIPTOR TSS64, 0x67, 0x0089
        .quad   0

/* --- protected mode --- */

        .code32
protected:
        movw    $DATA, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    %ax, %fs
        movw    %ax, %gs
        movl    $STACK0, %esp
        /* IDT: 32 exceptions, 30h like them with DPL 0, 31h absent, 3Fh the system call */
        xorl    %ecx, %ecx
        movl    $stubs32, %eax
1:      movl    %eax, %edx
        andl    $0xffff, %edx
        orl     $(CODE32 << 16), %edx
        movl    %edx, IDT(, %ecx, 8)
        movl    %eax, %edx
        movw    $0x8e00, %dx
        movl    %edx, IDT + 4(, %ecx, 8)
        addl    $16, %eax
        incl    %ecx
        cmpl    $0x31, %ecx
        jb      1b
        movb    $0xee, IDT + 3 * 8 + 5
        movb    $0xee, IDT + 4 * 8 + 5
        movl    $(CODE32 << 16), IDT + 0x31 * 8
        movl    $0x0e00, IDT + 0x31 * 8 + 4
        movl    $(CODE32 << 16), %eax
        movw    $(system_call32 - start), %ax
        movl    %eax, IDT + 0x3f * 8
        movl    $(BASE | 0xee00), IDT + 0x3f * 8 + 4
        lidtl   idt_pointer
        movl    $STACK_TSS, TSS + 4
        movl    $DATA, TSS + 8
        movl    $0x00680000, TSS + 0x64 /* the I/O bitmap: ports 0 to 7, all but 2 forbidden */
        movw    $0xfffb, TSS + 0x68
        movw    $TSS_SEL, %ax
        ltr     %ax

        TEST    "de", 3f
        xorl    %ecx, %ecx
        divl    %ecx
        NONE
3:      TEST    "ud", 3f
        ud2
3:      TEST    "bp", 3f
        int3
3:      TEST    "into", 3f
        movb    $0x7f, %al
        incb    %al
        into
        NONE
3:      TEST    "null ss", 3f
        xorl    %eax, %eax
        movw    %ax, %ss
        NONE
3:      TEST    "beyond gdt", 3f
        movw    $GDT_END, %ax
        movw    %ax, %es
        NONE
3:      TEST    "ldt selector", 3f
        movw    $0x0f, %ax
        movw    %ax, %es
        NONE
3:      TEST    "absent ds", 3f
        movw    $ABSENT, %ax
        movw    %ax, %es
        NONE
3:      TEST    "absent ss", 3f
        movw    $ABSENT, %ax
        movw    %ax, %ss
        NONE
3:      TEST    "limit", 3f
        movw    $SMALL, %ax
        movw    %ax, %es
        movb    %es:0xfff, %al
        movw    %es:0xfff, %ax
        NONE
3:      TEST    "null ds", 3f
        xorl    %eax, %eax
        movw    %ax, %es
        movb    %es:0, %al
        NONE
3:      TEST    "write code", 3f
        movb    %al, %cs:0x600
        NONE
3:      TEST    "int absent", 3f
        int     $0x31
        NONE
3:      TEST    "int beyond idt", 3f
        int     $0x40
        NONE
3:      TEST    "jump to data", 3f
        ljmpl   $DATA, $0
        NONE
3:      TEST    "jump to ring 3", 3f
        ljmpl   $USER32, $0
        NONE
3:      TEST    "jump to own task", 3f
        ljmpl   $TSS_SEL, $0
        NONE
3:      TEST    "ltr busy", 3f
        movw    $TSS_SEL, %ax
        ltr     %ax
        NONE
3:      TEST    "lldt of a tss", 3f
        movw    $TSS_B_SEL, %ax
        lldt    %ax
        NONE
3:      TEST    "cr0 nw without cd", 3f
        movl    $0x20000011, %eax
        movl    %eax, %cr0
        NONE
3:      TEST    "cr4 reserved", 3f
        movl    $0x8000, %eax
        movl    %eax, %cr4
        NONE
3:      TEST    "wrmsr unknown", 3f
        movl    $0x12345, %ecx
        wrmsr
        NONE
3:      TEST    "efer reserved", 3f
        movl    $0xc0000080, %ecx
        movl    $2, %eax
        xorl    %edx, %edx
        wrmsr
        NONE
3:      TEST    "single step", 3f
        pushfl
        orl     $0x100, (%esp)
        popfl
        nop
        NONE
3:      movl    %dr6, %eax
        call    print_dr6
        TEST    "code breakpoint", 3f
        movl    $4f, %eax
        movl    %eax, %dr0
        movl    $0x402, %eax
        movl    %eax, %dr7
4:      nop
        NONE
3:      movl    %dr6, %eax
        call    print_dr6
        TEST    "data breakpoint", 3f
        movl    $0x610, %eax
        movl    %eax, %dr1
        movl    $0x00d00408, %eax       /* DR1: write, 4 bytes */
        movl    %eax, %dr7
        movl    0x610, %eax
        movl    %eax, 0x612
        NONE
3:      movl    %dr6, %eax
        call    print_dr6
        TEST    "general detect", 3f
        movl    $0x2400, %eax
        movl    %eax, %dr7
        movl    %dr0, %eax
        NONE
3:      movl    %dr6, %eax
        call    print_dr6

/* --- ring 3 --- */

        .macro  RING3 to                /* IRET to ring 3 */
        pushl   $USER_DATA
        pushl   $STACK3
        pushl   $2
        pushl   $USER32
        pushl   $\to
        iretl
        .endm

        TEST    "user hlt", 3f
        RING3   user_hlt
3:      TEST    "user cli", 3f
        RING3   user_cli
3:      TEST    "user port 1", 3f
        RING3   user_port1
3:      TEST    "user port 2", 3f
        RING3   user_port2
3:      TEST    "user gate of ring 0", 3f
        RING3   user_int30
3:      TEST    "user loads ring 0 data", 3f
        RING3   user_data0
3:      TEST    "user mov cr", 3f
        RING3   user_cr
3:      TEST    "user call gate", 3f
        RING3   user_gate
3:      TEST    "user returns inward", 3f
        RING3   user_inward
3:

/* --- tasks --- */

        movl    $task_b, TSS_B + 0x20
        movl    $2, TSS_B + 0x24
        movl    $STACK_B, TSS_B + 0x38
        movl    $DATA, TSS_B + 0x48
        movl    $CODE32, TSS_B + 0x4c
        movl    $DATA, TSS_B + 0x50
        movl    $DATA, TSS_B + 0x54
        TEST    "call task", 3f
        movl    $0x1234, %ebp
        lcall   $TASK_B, $0
        cmpl    $0x1234, %ebp
        jne     3f
        movl    %cr0, %eax
        testl   $8, %eax                /* TS */
        jz      3f
        clts
        SAY     " back\n"
3:      TEST    "double fault task", 3f
        movl    $task_df, TSS_DF + 0x20
        movl    $2, TSS_DF + 0x24
        movl    $STACK_B, TSS_DF + 0x38
        movl    $DATA, TSS_DF + 0x48
        movl    $CODE32, TSS_DF + 0x4c
        movl    $DATA, TSS_DF + 0x50
        movl    $DATA, TSS_DF + 0x54
        pushl   IDT + 13 * 8 + 4
        movl    $(TSS_DF_SEL << 16), IDT + 8 * 8
        movl    $0x8500, IDT + 8 * 8 + 4
        movb    $0, IDT + 13 * 8 + 5
        movl    $0x5678, %ebp
        movw    $GDT_END, %ax
        movw    %ax, %es
        NONE
df_resume:
3:      movb    $0x8e, IDT + 13 * 8 + 5

/* --- virtual-8086 mode --- */

        .macro  VM86 to, flags
        pushl   $0                      /* GS, FS, DS, ES */
        pushl   $0
        pushl   $0
        pushl   $0
        pushl   $0                      /* SS, ESP */
        pushl   $STACK3
        pushl   $(0x20002 | \flags)
        pushl   $0xf000
        pushl   $(\to - start)
        iretl
        .endm

        TEST    "v86 int", 3f
        VM86    v86_int, 0
3:      TEST    "v86 int with iopl 3", 3f
        VM86    v86_int, 0x3000
3:      TEST    "v86 hlt", 3f
        VM86    v86_hlt, 0x3000
3:      TEST    "v86 cli", 3f
        VM86    v86_cli, 0
3:      TEST    "v86 limit", 3f
        VM86    v86_limit, 0
3:      TEST    "v86 lldt", 3f
        VM86    v86_lldt, 0
3:      jmp     to_long

/* --- handlers of the 32-bit part --- */

system_call32:
        movw    $DATA, %ax
        movw    %ax, %ds
        movw    %ax, %es
        SAY     " system call, cs="
        movl    4(%esp), %eax
        call    hex16
        call    newline
        movl    RESUME_SP, %esp
        jmp     *RESUME

/* Through the call gate, with two parameters. */
gate_entry:
        pushl   %ds
        movw    $DATA, %ax
        movw    %ax, %ds
        SAY     " gate "
        movl    16(%esp), %eax
        call    hex16
        movl    12(%esp), %eax
        call    hex16
        popl    %ds
        lretl   $8

task_b:
        SAY     " task b"
        pushfl
        popl    %eax
        testl   $0x4000, %eax           /* NT */
        jz      1f
        SAY     " nested"
1:      iretl
        jmp     task_b

task_df:
        popl    %eax                    /* error code */
        SAY     " df e="
        call    hex16
        SAY     " ebp="
        movl    TSS + 0x3c, %eax
        call    hex16
        call    newline
        /* Back by hand into the interrupted task, behind the instruction. */
        movl    $df_resume, TSS + 0x20
        movl    RESUME_SP, %eax
        movl    %eax, TSS + 0x38
        movl    $DATA, TSS + 0x48
        iretl

print_dr6:
        pushl   %eax
        SAY     "dr6 "
        popl    %eax
        call    hex16
        xorl    %eax, %eax
        movl    %eax, %dr7
        movl    %eax, %dr6

newline:
        movb    $'\n', %al
        outb    %al, $0xe9
        ret

/* Prints the text behind the call. */
say:
        xchgl   %esi, (%esp)
        pushl   %eax
1:      movb    %cs:(%esi), %al
        incl    %esi
        testb   %al, %al
        jz      2f
        outb    %al, $0xe9
        jmp     1b
2:      popl    %eax
        xchgl   %esi, (%esp)
        ret

hex16:
        pushl   %eax
        movb    %ah, %al
        call    hex8
        popl    %eax
hex8:
        pushl   %eax
        shrb    $4, %al
        call    1f
        popl    %eax
        andb    $15, %al
1:      addb    $'0', %al
        cmpb    $'9', %al
        jbe     2f
        addb    $('a' - '0' - 10), %al
2:      outb    %al, $0xe9
        ret

common32:
        movw    $DATA, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %fs
        movw    %ax, %gs
        popl    %ebx                    /* vector, error code, EIP, CS, EFLAGS */
        popl    %ecx
        popl    %edx
        popl    %ebp
        popl    %edi
        SAY     " v="
        movb    %bl, %al
        call    hex8
        SAY     " e="
        movl    %ecx, %eax
        call    hex16
        SAY     " cs="
        movl    %ebp, %eax
        call    hex16
        testl   $0x20000, %edi
        jz      1f
        SAY     " vm"
1:      call    newline
        movl    RESUME_SP, %esp
        jmp     *RESUME

        .align  16
stubs32:
        .set    n, 0
        .rept   0x31
        .if     n != 8 && (n < 10 || n > 14) && n != 17
        pushl   $0
        .endif
        pushl   $n
        jmp     common32
        .align  16
        .set    n, n + 1
        .endr

/* --- ring 3, 32 bits --- */

user_hlt:
        hlt
user_cli:
        cli
user_port1:
        inb     $1, %al
user_port2:
        inb     $2, %al
        int     $0x3f
user_int30:
        int     $0x30
user_data0:
        movw    $DATA, %ax
        movw    %ax, %ds
user_cr:
        movl    %cr3, %eax
user_gate:
        pushl   $0x1111
        pushl   $0x2222
        lcall   $CALL_GATE, $0
        int     $0x3f
user_inward:
        pushl   $CODE32
        pushl   $0
        lretl

/* --- virtual-8086 code --- */

        .code16
v86_int:
        int     $0x3f
v86_hlt:
        hlt
v86_cli:
        cli
v86_limit:
        movw    0xffff, %ax
v86_lldt:
        lldt    %ax

/* --- to long mode --- */

        .code32
to_long:
        /* PML4 -> PDPT -> PD: 1 GiB in 2 MiB pages, supervisor; the window in 4 KiB pages; the last GiB for the ROM. */
        xorl    %eax, %eax
        movl    $PML4, %edi
        movl    $(4096 * 5 / 4), %ecx
        rep     stosl
        movl    $(PDPT | 7), PML4
        movl    $(PD | 7), PDPT
        movl    $0x83, %eax
        xorl    %ecx, %ecx
1:      movl    %eax, PD(, %ecx, 8)
        addl    $WINDOW, %eax
        incl    %ecx
        cmpl    $512, %ecx
        jb      1b
        movl    $(PT | 7), PD + 8
        movl    $(PAGE_RO | 1), PT
        movl    $(PAGE_NX | 3), PT + 8
        movl    $0x80000000, PT + 12
        movl    $(PAGE_RESERVED | 3), PT + 24
        movl    $0x00080000, PT + 28    /* bit 51: beyond the physical address */
        movl    $(PAGE_USER | 7), PT + 32
        movl    $(PAGE_USER_STACK | 7), PT + 40
        movl    $(PAGE_KERNEL | 3), PT + 48
        movl    $PML4, %eax
        movl    %eax, %cr3
        movl    $0x620, %eax            /* PAE, OSFXSR, OSXMMEXCPT */
        movl    %eax, %cr4
        movl    $0xc0000080, %ecx
        movl    $0x901, %eax            /* NXE, LME, SCE */
        xorl    %edx, %edx
        wrmsr
        movl    %cr0, %eax
        orl     $0x80010000, %eax       /* PG, WP: compatibility mode from here */
        movl    %eax, %cr0
        ljmpl   $CODE64, $long_mode

        .code64
        .macro  TEST64 name, resume
        call    say64
        .asciz  "\name"
        movl    $\resume, %eax
        movq    %rax, RESUME
        movq    %rsp, RESUME_SP
        .endm

        .macro  SAY64 text
        call    say64
        .asciz  "\text"
        .endm

        .macro  NONE64
        call    say64
        .asciz  " none\n"
        .endm

long_mode:
        movw    $DATA64, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    $STACK0, %esp
        xorl    %ecx, %ecx
        movl    $stubs64, %eax
        movl    $IDT64, %edi
1:      movl    %eax, %edx
        andl    $0xffff, %edx
        orl     $(CODE64 << 16), %edx
        movl    %edx, (%rdi)
        movl    %eax, %edx
        movw    $0x8e00, %dx
        movl    %edx, 4(%rdi)
        movq    $0, 8(%rdi)
        addl    $16, %eax
        addl    $16, %edi
        incl    %ecx
        cmpl    $32, %ecx
        jb      1b
        movb    $1, IDT64 + 8 * 16 + 4  /* #DF: IST 1 */
        movl    $(CODE64 << 16), %eax
        movw    $(system_call64 - start), %ax
        movl    %eax, IDT64 + 0x3f * 16
        movl    $(BASE | 0xee00), IDT64 + 0x3f * 16 + 4
        movq    $0, IDT64 + 0x3f * 16 + 8
        lidt    idt64_pointer(%rip)
        movq    $STACK_TSS, TSS64 + 4
        movq    $IST1, TSS64 + 0x24
        movw    $0x68, TSS64 + 0x66
        movw    $TSS64_SEL, %ax
        ltr     %ax

        TEST64  "64 ud", 3f
        ud2
3:      TEST64  "64 bp", 3f
        int3
3:      TEST64  "64 lme while paging", 3f
        movl    $0xc0000080, %ecx
        movl    $0x801, %eax
        xorl    %edx, %edx
        wrmsr
        NONE64
3:      TEST64  "64 paging off", 3f
        movq    %cr0, %rax
        btrq    $31, %rax
        movq    %rax, %cr0
        NONE64
3:      TEST64  "64 pae off", 3f
        movl    $0x600, %eax
        movq    %rax, %cr4
        NONE64
3:      TEST64  "64 cr8", 3f
        movl    $16, %eax
        movq    %rax, %cr8
        NONE64
3:      TEST64  "64 not canonical", 3f
        movq    $1, %rbx
        shlq    $47, %rbx
        movb    (%rbx), %al
        NONE64
3:      TEST64  "64 stack not canonical", 3f
        movq    %rbx, %rsp
        pushq   %rax
        NONE64
3:      TEST64  "64 jump not canonical", 3f
        movq    $1, %rbx
        shlq    $47, %rbx
        jmp     *%rbx
3:      TEST64  "64 lstar not canonical", 3f
        movl    $0xc0000082, %ecx
        xorl    %eax, %eax
        movl    $0x8000, %edx
        wrmsr
        NONE64
3:      TEST64  "64 read absent", 3f
        movb    PAGE_NONE + 5, %al
        NONE64
3:      TEST64  "64 write absent", 3f
        movb    %al, PAGE_NONE + 6
        NONE64
3:      TEST64  "64 write read-only", 3f
        movb    PAGE_RO, %al
        movb    %al, PAGE_RO
        NONE64
3:      TEST64  "64 execute nx", 3f
        movl    $PAGE_NX, %eax
        jmp     *%rax
3:      TEST64  "64 reserved bit", 3f
        movb    PAGE_RESERVED, %al
        NONE64
3:      TEST64  "64 accessed and dirty", 3f
        movb    PAGE_KERNEL, %al
        movb    PT + 48, %al
        andb    $0x60, %al
        call    hex8_64
        movb    %al, PAGE_KERNEL
        movb    PT + 48, %al
        andb    $0x60, %al
        call    hex8_64
        call    newline64
3:      TEST64  "64 smep", 3f
        movb    $0xc3, PAGE_USER        /* RET */
        movl    $PAGE_USER, %ecx
        call    *%rcx
        movl    $0x100620, %eax
        movq    %rax, %cr4
        call    *%rcx
        NONE64
3:      TEST64  "64 smap", 3f
        movl    $0x300620, %eax
        movq    %rax, %cr4
        stac
        movb    PAGE_USER, %al
        clac
        movb    PAGE_USER, %al
        NONE64
3:      TEST64  "64 smap write", 3f
        movb    %al, PAGE_USER
        NONE64
3:      movl    $0x620, %eax
        movq    %rax, %cr4

/* --- ring 3, 64 bits --- */

        movl    $0xc0000081, %ecx       /* STAR, LSTAR, FMASK */
        xorl    %eax, %eax
        movl    $(CODE64 | ((USER32 - 0) << 16)), %edx
        wrmsr
        movl    $0xc0000082, %ecx
        movl    $syscall_entry, %eax
        xorl    %edx, %edx
        wrmsr
        movl    $0xc0000084, %ecx
        movl    $0x200, %eax
        wrmsr
        movl    $user64_code, %esi
        movl    $PAGE_USER, %edi
        movl    $(user64_end - user64_code), %ecx
        rep     movsb

        .macro  RING3_64 to
        pushq   $USER_DATA
        pushq   $(PAGE_USER_STACK + 0xff8)
        pushq   $0x202
        pushq   $USER64
        pushq   $(PAGE_USER + \to - user64_code)
        iretq
        .endm

        TEST64  "64 user syscall", 3f
        RING3_64 user64_syscall
3:      TEST64  "64 user reads kernel", 3f
        RING3_64 user64_read
3:      TEST64  "64 user writes kernel", 3f
        RING3_64 user64_write
3:      TEST64  "64 user executes kernel", 3f
        RING3_64 user64_execute
3:      TEST64  "64 user wrmsr", 3f
        RING3_64 user64_wrmsr
3:      TEST64  "64 user swapgs", 3f
        RING3_64 user64_swapgs
3:      TEST64  "64 user compatibility", 3f
        RING3_64 user64_compat
3:      TEST64  "64 iret to ring 0 from ring 3", 3f
        RING3_64 user64_iret
3:      TEST64  "64 null ss to ring 3", 3f
        pushq   $3
        pushq   $(PAGE_USER_STACK + 0xff8)
        pushq   $0x202
        pushq   $USER64
        pushq   $PAGE_USER
        iretq
        NONE64
3:      TEST64  "64 compatibility mode", 3f
        pushq   $CODE32
        movl    $compat, %eax
        pushq   %rax
        lretq
3:      TEST64  "64 double fault", 3f
        movl    $PAGE_NONE + 0x800, %esp
        movb    PAGE_NONE, %al
        NONE64
3:      TEST64  "64 page fault in page fault", 3f
        xorl    %eax, %eax
        movq    %rax, IDT64 + 14 * 16   /* selector 0: #GP while delivering #PF */
        movb    PAGE_NONE, %al
        NONE64
3:      SAY64   "triple fault\n"
        lidt    no_idt(%rip)
        ud2
1:      hlt
        jmp     1b

syscall_entry:
        movl    $STACK0, %esp
        SAY64   " syscall"
        testl   $0x200, %r11d           /* IF in R11, not in RFLAGS */
        jz      1f
        pushfq
        popq    %rax
        testl   $0x200, %eax
        jnz     1f
        SAY64   " ok"
1:      movl    $(PAGE_USER_STACK + 0xff8), %esp
        sysretq

/* From ring 3 by INT 3Fh, out of 64-bit or compatibility mode. */
system_call64:
        SAY64   " system call, cs="
        movq    8(%rsp), %rax
        call    hex16_64
        call    newline64
        movq    RESUME_SP, %rsp
        jmp     *RESUME

common64:
        popq    %rbx
        popq    %rcx
        popq    %rdx
        popq    %rbp
        popq    %rdi
        movw    $DATA64, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        SAY64   " v="
        movb    %bl, %al
        call    hex8_64
        SAY64   " e="
        movl    %ecx, %eax
        call    hex16_64
        SAY64   " cs="
        movl    %ebp, %eax
        call    hex16_64
        cmpb    $14, %bl
        jne     1f
        SAY64   " cr2="
        movq    %cr2, %rax
        movq    %rax, %rbx
        shrq    $16, %rax
        call    hex16_64
        movq    %rbx, %rax
        call    hex16_64
1:      call    newline64
        movq    RESUME_SP, %rsp
        jmp     *RESUME

newline64:
        movb    $'\n', %al
        outb    %al, $0xe9
        ret

say64:
        xchgq   %rsi, (%rsp)
        pushq   %rax
1:      movb    (%rsi), %al
        incq    %rsi
        testb   %al, %al
        jz      2f
        outb    %al, $0xe9
        jmp     1b
2:      popq    %rax
        xchgq   %rsi, (%rsp)
        ret

hex16_64:
        pushq   %rax
        movb    %ah, %al
        call    hex8_64
        popq    %rax
hex8_64:
        pushq   %rax
        shrb    $4, %al
        call    1f
        popq    %rax
        andb    $15, %al
1:      addb    $'0', %al
        cmpb    $'9', %al
        jbe     2f
        addb    $('a' - '0' - 10), %al
2:      outb    %al, $0xe9
        ret

        .align  16
stubs64:
        .set    n, 0
        .rept   32
        .if     n != 8 && (n < 10 || n > 14) && n != 17
        pushq   $0
        .endif
        pushq   $n
        jmp     common64
        .align  16
        .set    n, n + 1
        .endr

user64_code:
user64_syscall:
        movl    $0x77, %ebx
        syscall
        int     $0x3f
user64_read:
        movb    PAGE_KERNEL, %al
user64_write:
        movb    %al, PAGE_RO
user64_execute:
        movl    $PAGE_KERNEL, %eax
        jmp     *%rax
user64_wrmsr:
        wrmsr
user64_swapgs:
        swapgs
user64_compat:
        pushq   $USER32
        leaq    1f(%rip), %rax
        pushq   %rax
        lretq
        .code32
1:      int     $0x3f
        .code64
user64_iret:
        pushq   $0
        pushq   $0
        pushq   $2
        pushq   $CODE64
        pushq   $0
        iretq
user64_end:

        .code32
compat:
        movw    $DATA, %ax              /* a 32-bit segment, a 32-bit stack */
        movw    %ax, %ss
        pushl   $0x1234
        popl    %eax
        cmpl    $0x1234, %eax
        jne     1f
        int     $0x3f
1:      ud2

        .code16
        .org    0xfff0
        ljmp    $0xf000, $(start - start)
        .org    0x10000 - 1
        .byte   0
