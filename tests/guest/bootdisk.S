/* A boot sector that reads and writes its disk by INT 13h and says on COM1 what came of it. test_disks.py puts it on a
 * disk, whose sectors 1, 1000 and 1001 hold text and sector 2000 nothing; or on a CD-ROM, whose block 30 holds text.
 * Ends by isa-debug-exit at port 501h. */

        .equ    COM1, 0x3f8
        .equ    BUFFER, 0x8000
        .equ    OTHER, 0x9000
        .equ    SECTOR, 512

        .section .text
        .code16
        .globl  start
start:
        cli
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        sti
        cld
        movb    %dl, drive
        movw    $text_boot, %si
        call    say
        movb    drive, %al
        call    say_hex
        call    end_line
        cmpb    $0xe0, drive
        jae     cd

        movw    $0x0201, %ax            /* one sector at cylinder 0, head 0, sector 2 */
        movw    $0x0002, %cx
        movb    drive, %dl
        xorb    %dh, %dh
        movw    $BUFFER, %bx
        int     $0x13
        jc      failed
        call    say_buffer

        movb    $2, packet + 2          /* two sectors from 1000 on */
        movw    $1000, packet + 8
        movb    $0x42, %ah
        call    call_packet
        call    say_buffer
        movw    $BUFFER + SECTOR, %si
        call    say

        movb    $1, packet + 2          /* the first one to 2000, and back to another place */
        movw    $2000, packet + 8
        movw    $0x4300, %ax
        call    call_packet
        movw    $OTHER, packet + 4
        movb    $0x42, %ah
        call    call_packet
        movw    $BUFFER, %si
        movw    $OTHER, %di
        movw    $SECTOR / 2, %cx
        repe    cmpsw
        jne     failed
        movw    $text_written, %si
        call    say

        movb    $0x08, %ah              /* geometry */
        movb    drive, %dl
        int     $0x13
        jc      failed
        pushw   %cx
        movb    %dh, %al
        call    say_hex
        popw    %ax
        pushw   %ax
        call    say_hex
        popw    %ax
        movb    %ah, %al
        call    say_hex
        call    end_line
        jmp     done

cd:     movb    $1, packet + 2
        movw    $30, packet + 8
        movb    $0x42, %ah
        call    call_packet
        call    say_buffer
done:   movw    $text_done, %si
        call    say
        movb    $0, %al
        jmp     exit
failed: pushw   %ax
        movw    $text_failed, %si
        call    say
        popw    %ax
        movb    %ah, %al
        call    say_hex
        call    end_line
        movb    $1, %al
exit:   movw    $0x501, %dx
        outb    %al, %dx
1:      hlt
        jmp     1b

call_packet:
        movw    $packet, %si
        movb    drive, %dl
        int     $0x13
        jc      failed
        ret

say_buffer:
        movw    $BUFFER, %si
say:    lodsb
        testb   %al, %al
        jz      1f
        call    put
        jmp     say
1:      ret

say_hex:
        movb    %al, %ah
        shrb    $4, %al
        call    digit
        movb    %ah, %al
        andb    $15, %al
digit:  cmpb    $10, %al
        sbbb    $0x69, %al              /* 0 to 15 becomes a digit */
        das
put:    pushw   %dx
        pushw   %ax
        movw    $COM1 + 5, %dx
1:      inb     %dx, %al
        testb   $0x20, %al
        jz      1b
        popw    %ax
        movw    $COM1, %dx
        outb    %al, %dx
        popw    %dx
        ret
end_line:
        movb    $'\n', %al
        jmp     put

drive:  .byte   0
packet: .byte   16, 0
        .word   1, BUFFER, 0
        .quad   0
text_boot:
        .asciz  "booted from "
text_written:
        .asciz  "written and read\n"
text_done:
        .asciz  "done\n"
text_failed:
        .asciz  "failed "
        .org    510
        .word   0xaa55

        .section .note.GNU-stack, "", @progbits
