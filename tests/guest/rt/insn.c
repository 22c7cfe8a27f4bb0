/* See insn.h. */

#include "insn.h"

extern u32 multiboot_info; /* filled in at the entry */

Word option(const char *name, Word otherwise)
{
    const u32 *info = (const u32 *)(Word)multiboot_info;
    if (!info || !(info[0] & 4)) {
        return otherwise;
    }
    for (const char *line = (const char *)(Word)info[4]; *line; line++) {
        const char *a = line, *b = name;
        while (*b && *a == *b) {
            a++, b++;
        }
        if (!*b && *a == '=') {
            Word value = 0;
            for (a++; *a >= '0' && *a <= '9'; a++) {
                value = value * 10 + (Word)(*a - '0');
            }
            return value;
        }
    }
    return otherwise;
}

void finish(int status)
{
    while (!(inb(0x3fd) & 0x40)) { /* until the last character has left; ones where there is no serial port */
    }
    outb(0xf4, (u8)status);
    for (const char *s = "Shutdown"; *s; s++) {
        outb(0x8900, (u8)*s); /* Bochs */
    }
    for (;;) {
        __asm__ volatile("hlt");
    }
}
