# The services of a BIOS in real mode that kernels started without firmware still call: the memory map, the sizes of
# memory, the clock; all else answers that there is no such function or device. The image ends at 1 MiB, runs in
# segment F000h and is read-only memory to the guest where the chipset has that.
#
# Specifications: IBM PS/2 and PC BIOS Interface Technical Reference (1991); ACPI 6.4, 15.1 for INT 15h E820h; AMD,
# BIOS and Kernel Developer's Guide for EC00h; Phoenix, System BIOS for IBM PCs (1991) for the fixed addresses.

.set SIZE, 0x800
.set ORIGIN, 0x10000 - SIZE             # offset in the segment
.set SMAP, 0x534d4150
.set MAX_RANGES, 32
.set CARRY, 1
.set ZERO, 0x40
.set BIOS_DATA, 0x40

#define AT(label) (label - bios16_start + ORIGIN)

    .section .rodata.bios16, "a"
    .balign 16
    .code16
    .globl bios16_start, bios16_end
    .globl bios16_ranges, bios16_below_16m, bios16_above_16m
    .globl bios16_nothing, bios16_irq_master, bios16_irq_slave, bios16_timer, bios16_video, bios16_equipment
    .globl bios16_memory, bios16_disk, bios16_serial, bios16_system, bios16_keyboard, bios16_printer, bios16_restart
    .globl bios16_clock

bios16_start:

# The machine's: filled in by bios16.c.
bios16_ranges:
    .word 0                             # how many there are
ranges:
    .skip 20 * MAX_RANGES
bios16_below_16m:
    .word 0                             # KiB from 1 MiB to 16 MiB
bios16_above_16m:
    .word 0                             # units of 64 KiB from 16 MiB

# ---- Endings: the flags that the caller gets are on the stack ----

unsupported:
    movb $0x86, %ah
failed:
    pushw %bp
    movw %sp, %bp
    orw $CARRY, 6(%bp)
    popw %bp
    iret

succeeded:
    pushw %bp
    movw %sp, %bp
    andw $~CARRY, 6(%bp)
    popw %bp
    iret

# ---- Hardware interrupts ----

bios16_timer:
    pushw %ax
    pushw %ds
    movw $BIOS_DATA, %ax
    movw %ax, %ds
    incl 0x6c
    popw %ds
    popw %ax
    int $0x1c
bios16_irq_master:
    pushw %ax
    movb $0x20, %al
    outb %al, $0x20
    popw %ax
bios16_nothing:
    iret

bios16_irq_slave:
    pushw %ax
    movb $0x20, %al
    outb %al, $0xa0
    outb %al, $0x20
    popw %ax
    iret

# ---- Services ----

# INT 10h. There is a screen of 80 columns that nobody sees; there are no VESA modes (AX stays what it was).
bios16_video:
    cmpb $0x0f, %ah
    je 1f
    cmpb $0x03, %ah
    jne 2f
    movw $0x0607, %cx                   # lines of the cursor
    xorw %dx, %dx                       # where it is
    iret
1:  movw $0x5003, %ax
    movb $0, %bh
2:  iret

# INT 11h
bios16_equipment:
    pushw %ds
    movw $BIOS_DATA, %ax
    movw %ax, %ds
    movw 0x10, %ax
    popw %ds
    iret

# INT 12h
bios16_memory:
    pushw %ds
    movw $BIOS_DATA, %ax
    movw %ax, %ds
    movw 0x13, %ax
    popw %ds
    iret

# INT 13h. Resetting works; there are no drives.
bios16_disk:
    testb %ah, %ah
    jz succeeded
    cmpb $0x08, %ah
    jne 1f
    movb $0, %dl
1:  movb $0x01, %ah
    jmp failed

# INT 14h: time-out.
bios16_serial:
    movb $0x80, %ah
    iret

# INT 15h
bios16_system:
    cmpw $0xe820, %ax
    je memory_map
    cmpw $0xe801, %ax
    je memory_sizes
    cmpw $0xec00, %ax                   # which modes the caller will use
    je done
    cmpb $0x88, %ah
    je extended_memory
    cmpb $0x24, %ah
    je gate_a20
    jmp unsupported
done:
    movb $0, %ah
    jmp succeeded

memory_map:
    cmpl $SMAP, %edx
    jne unsupported
    cmpl $20, %ecx
    jb unsupported
    movzwl %cs:AT(bios16_ranges), %eax
    cmpl %eax, %ebx
    jae unsupported
    pushw %si
    pushw %di
    pushw %ds
    pushw %cs
    popw %ds
    imulw $20, %bx, %si
    addw $AT(ranges), %si
    movw $10, %cx
    cld
    rep movsw
    popw %ds
    popw %di
    popw %si
    movl $20, %ecx
    incl %ebx
    cmpl %eax, %ebx
    jb 1f
    xorl %ebx, %ebx                     # that was the last
1:  movl $SMAP, %eax
    jmp succeeded

memory_sizes:
    movw %cs:AT(bios16_below_16m), %ax
    movw %cs:AT(bios16_above_16m), %bx
    movw %ax, %cx
    movw %bx, %dx
    jmp succeeded

# In KiB from 1 MiB on; 63 MiB is all that programs of that age expect.
extended_memory:
    movw %cs:AT(bios16_above_16m), %ax
    cmpw $(63 - 15) * 16, %ax
    jbe 1f
    movw $(63 - 15) * 16, %ax
1:  shlw $6, %ax
    addw %cs:AT(bios16_below_16m), %ax
    jmp succeeded

# The line is open while the keyboard controller or port 92h says so.
gate_a20:
    cmpb $0x01, %al
    jbe 1f
    cmpb $0x02, %al
    je 2f
    cmpb $0x03, %al
    jne unsupported
    movw $3, %bx                        # both can
    jmp done
1:  pushw %dx
    movb %al, %dl
    shlb $1, %al
    orb $0xdd, %al                      # DDh or DFh
    outb %al, $0x64
    inb $0x92, %al
    shlb $1, %dl
    andb $0xfc, %al
    orb %dl, %al
    outb %al, $0x92
    popw %dx
    shrb $1, %al
    andb $1, %al
    jmp done
2:  pushw %ds                           # does 1004F0h show 0004F0h?
    pushw %es
    pushw %dx
    movw $0, %dx
    movw %dx, %ds
    decw %dx
    movw %dx, %es
    movw %es:0x500, %dx
    notw 0x4f0
    cmpw %es:0x500, %dx
    sete %al
    notw 0x4f0
    popw %dx
    popw %es
    popw %ds
    jmp done

# INT 16h: no key comes.
bios16_keyboard:
    testb $0xee, %ah                    # 00h, 10h: read; 01h, 11h: look
    jnz 2f
    testb $1, %ah
    jnz 1f
    xorw %ax, %ax
    iret
1:  pushw %bp
    movw %sp, %bp
    orw $ZERO, 6(%bp)
    popw %bp
    iret
2:  testb $0xed, %ah                    # 02h, 12h: shift keys
    jnz 3f
    xorw %ax, %ax
3:  iret

# INT 17h: time-out.
bios16_printer:
    movb $0x01, %ah
    iret

# INT 1Ah: ticks since midnight.
bios16_clock:
    testb %ah, %ah
    jnz unsupported
    pushw %ds
    movw $BIOS_DATA, %ax
    movw %ax, %ds
    movw 0x6c, %dx
    movw 0x6e, %cx
    xorw %ax, %ax
    popw %ds
    jmp succeeded

# The processor without a way to raise an exception resets the machine.
bios16_restart:
    lidtl %cs:AT(no_idt)
    int3
no_idt:
    .skip 6

# ---- Fixed addresses ----

    .org SIZE - 16, 0xff
    .byte 0xea                          # F000:FFF0, the reset vector
    .word AT(bios16_restart), 0xf000
    .ascii "01/01/24"
    .byte 0xff
    .byte 0xfc                          # a PC/AT
    .byte 0
bios16_end:

    .section .note.GNU-stack, "", @progbits
