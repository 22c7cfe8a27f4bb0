# An option ROM that starts the kernel in fw_cfg's items: four parts to their addresses by DMA, then Linux's 16-bit entry,
# or a 32-bit one, for which it writes firmware's memory map to where the kernel looks for it. Firmware calls its boot
# entry vector when its turn in the boot order comes. optionrom.c fills in the 32-bit entry and the checksums.
#
# Specifications: Plug and Play BIOS Specification 1.0A, 3.2; QEMU, docs/specs/fw_cfg (DMA); Linux Documentation/arch/
# x86/boot.rst; ACPI 6.4, 15.1 (INT 15h, E820h).

.set SIZE, 1024
.set DMA_PORT, 0x514
.set DMA_READ, 0x02
.set DMA_SELECT_READ, 0x0a
.set DMA_ERROR, 0x01
.set STACK_TOP, 0xfff0                  # in the segment of the setup code: heap and stack follow it

# Keys.
.set KERNEL_ADDR, 0x07
.set KERNEL_SIZE, 0x08
.set KERNEL_DATA, 0x11
.set INITRD_ADDR, 0x0a
.set INITRD_SIZE, 0x0b
.set INITRD_DATA, 0x12
.set CMDLINE_ADDR, 0x13
.set CMDLINE_SIZE, 0x14
.set CMDLINE_DATA, 0x15
.set SETUP_ADDR, 0x16
.set SETUP_SIZE, 0x17
.set SETUP_DATA, 0x18

#define AT(label) (label - linuxboot_start)

    .section .rodata.linuxboot, "a"
    .balign 16
    .code16
    .globl linuxboot_start, linuxboot_end, linuxboot_entry
linuxboot_start:
    .word 0xaa55
    .byte SIZE / 512
    lret                                # nothing to initialize
    .skip 6 - (. - linuxboot_start)
    .byte 0                             # checksum
    .skip 24 - (. - linuxboot_start)
    .word 0                             # no PCI data
    .word AT(pnp)
    .balign 16
pnp:
    .ascii "$PnP"
    .byte 1, 2                          # revision, length in units of 16 bytes
    .word 0                             # no other header
    .byte 0
    .byte 0                             # checksum
    .long 0
    .word AT(maker), AT(product)
    .byte 2, 0, 0x80                    # a device that can be booted
    .byte 0x74                          # for initial program load
    .word 0, 0
    .word AT(boot)
    .word 0, 0
maker:
    .asciz "Quern"
product:
    .asciz "Kernel loader"
failure:
    .asciz "fw_cfg failed\r\n"

    .balign 8
linuxboot_entry:                        # LinuxbootEntry of optionrom.c
entry:      .long 0                     # 0: Linux's 16-bit entry
entry_eax:  .long 0
entry_ebx:  .long 0
map:        .long 0                     # where entries of E820h go, every MAP_STRIDE bytes
map_max:    .long 0                     # how many there is room for
map_length: .long 0                     # where their number goes, times
map_unit:   .long 0
.set MAP_STRIDE, 24

    .balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff            # accessed: a ROM cannot be marked so
    .quad 0x00cf93000000ffff
gdt_end:

boot:
    cli
    cld
    pushw %cs
    popw %ds
    xorw %ax, %ax
    movw %ax, %ss
    movl $0x7c00, %esp
    subw $24, %sp                       # request of 16 bytes, a result of 4
    movw %sp, %bp

    movw $AT(parts), %si
next_part:
    lodsw                               # key of the address
    testw %ax, %ax
    jz start_kernel
    call read_number
    movl %ebx, %edi
    lodsw                               # of the size
    call read_number
    movl %ebx, %ecx
    lodsw                               # of the data
    testl %ecx, %ecx
    jz next_part
    call read_item
    jmp next_part

parts:
    .word SETUP_ADDR, SETUP_SIZE, SETUP_DATA
    .word CMDLINE_ADDR, CMDLINE_SIZE, CMDLINE_DATA
    .word INITRD_ADDR, INITRD_SIZE, INITRD_DATA
    .word KERNEL_ADDR, KERNEL_SIZE, KERNEL_DATA
    .word 0

start_kernel:
    cmpl $0, AT(entry)
    jne start_protected
    movw $SETUP_ADDR, %ax
    call read_number
    shrl $4, %ebx
    movw %bx, %ds
    movw %bx, %es
    movw %bx, %fs
    movw %bx, %gs
    movw %bx, %ss
    movl $STACK_TOP, %esp
    addw $0x20, %bx                     # behind the boot sector
    pushw %bx
    pushw $0
    lret

start_protected:
    movl AT(map), %edi
    call point_at
    movl $0, 20(%bp)                    # entries so far
    xorl %ebx, %ebx
1:  movl 20(%bp), %eax
    cmpl AT(map_max), %eax
    jae 2f
    movl $0xe820, %eax
    movl $0x534d4150, %edx
    movl $20, %ecx
    int $0x15
    jc 2f
    cmpl $0x534d4150, %eax
    jne 2f
    incl 20(%bp)
    addw $MAP_STRIDE, %di
    testl %ebx, %ebx
    jnz 1b
2:  movl 20(%bp), %eax
    mull AT(map_unit)
    movl AT(map_length), %edi
    call point_at
    movl %eax, %es:(%di)

    movw $0x2401, %ax                   # A20, if it is not open yet
    int $0x15
    cli
    xorl %edi, %edi
    movw %cs, %di
    shll $4, %edi
    leal AT(gdt)(%edi), %eax
    movw $AT(gdt_end) - AT(gdt) - 1, (%bp)
    movl %eax, 2(%bp)
    leal AT(protected)(%edi), %eax
    movl %eax, 8(%bp)
    movw $8, 12(%bp)
    movl AT(entry), %ecx
    movl AT(entry_eax), %esi
    movl AT(entry_ebx), %ebx
    lgdtl (%bp)
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmpl *8(%bp)

    .code32
protected:
    movl $16, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl %eax, %ss
    movl %esi, %eax
    jmp *%ecx
    .code16

# ES:DI = address EDI
point_at:
    pushl %edi
    shrl $4, %edi
    movw %di, %es
    popl %edi
    andl $15, %edi
    ret

# EBX = 32-bit item AX
read_number:
    pushl %edi
    pushl %ecx
    leaw 16(%bp), %di
    movzwl %di, %edi
    movl $4, %ecx
    call read_item
    movl 16(%bp), %ebx
    popl %ecx
    popl %edi
    ret

# ECX bytes of item AX to address EDI
read_item:
    shll $16, %eax
    movw $DMA_SELECT_READ, %ax
    bswapl %eax
    movl %eax, (%bp)
    movl %ecx, %eax
    bswapl %eax
    movl %eax, 4(%bp)
    movl $0, 8(%bp)
    movl %edi, %eax
    bswapl %eax
    movl %eax, 12(%bp)
    movw $DMA_PORT, %dx
    xorl %eax, %eax
    outl %eax, %dx
    movzwl %bp, %eax
    bswapl %eax
    addw $4, %dx
    outl %eax, %dx
1:  movl (%bp), %eax
    bswapl %eax
    testb $DMA_ERROR, %al
    jnz 2f
    testl %eax, %eax
    jnz 1b
    ret

2:  movw $AT(failure), %si
3:  lodsb
    testb %al, %al
    jz 4f
    movb $0x0e, %ah
    xorw %bx, %bx
    int $0x10
    jmp 3b
4:  hlt
    jmp 4b

    .org SIZE, 0
linuxboot_end:

    .section .note.GNU-stack, "", @progbits
