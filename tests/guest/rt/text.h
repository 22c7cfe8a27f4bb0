/* Integer types, memory functions and printing for bare-metal programs of 32 and 64 bits. */

#ifndef QUERN_TESTS_GUEST_RT_TEXT_H
#define QUERN_TESTS_GUEST_RT_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t  u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

void *memset(void *to, int value, size_t len);
void *memcpy(void *to, const void *from, size_t len);
int   memcmp(const void *a, const void *b, size_t len);

/* To the debug console, without a lock. */
void put_char(char c);
void put_number(u64 value, unsigned base); /* base 10 or 16; in 32-bit programs base 10 prints 32 bits */
/* %s %c %d %u %x, with l or ll for 64 bits. */
void print_v(const char *format, va_list list);

static inline void outb(u16 port, u8 value)
{
    __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}
static inline u8 inb(u16 port)
{
    u8 value;
    __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}

#endif
