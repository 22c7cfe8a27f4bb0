/* Memory functions and printing for programs in any mode: no 64-bit division, which 32-bit code would need a library
 * for. */

#include "text.h"

#ifdef __i386__
typedef u32 Natural;
#else
typedef u64 Natural;
#endif

void *memset(void *to, int value, size_t len)
{
    void *at = to;
    __asm__ volatile("rep stosb" : "+D"(at), "+c"(len) : "a"(value) : "memory");
    return to;
}

void *memcpy(void *to, const void *from, size_t len)
{
    void *at = to;
    __asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(len) : : "memory");
    return to;
}

int memcmp(const void *a, const void *b, size_t len)
{
    const u8 *x = a, *y = b;
    for (size_t i = 0; i < len; i++) {
        if (x[i] != y[i]) {
            return x[i] - y[i];
        }
    }
    return 0;
}

void put_char(char c)
{
    outb(0xe9, (u8)c);
    while (!(inb(0x3fd) & 0x20)) { /* ones where there is no serial port */
    }
    outb(0x3f8, (u8)c); /* for emulators without a debug console */
}

void put_number(u64 value, unsigned base)
{
    char     digits[24];
    unsigned n = 0;
    do {
        if (base == 16) {
            digits[n++] = "0123456789abcdef"[value % 16];
            value >>= 4;
        } else {
            digits[n++] = (char)('0' + (Natural)value % 10);
            value       = (Natural)value / 10;
        }
    } while (value);
    while (n) {
        put_char(digits[--n]);
    }
}

/* %s %c %d %u %x, with l or ll for 64 bits. */
void print_v(const char *format, va_list list)
{
    for (; *format; format++) {
        if (*format != '%') {
            put_char(*format);
            continue;
        }
        bool wide = false;
        format++;
        while (*format == 'l') {
            wide = true;
            format++;
        }
        switch (*format) {
        case 's':
            for (const char *s = va_arg(list, const char *); *s; s++) {
                put_char(*s);
            }
            break;
        case 'c': put_char((char)va_arg(list, int)); break;
        case 'd': {
            int64_t value = wide ? va_arg(list, int64_t) : va_arg(list, int);
            if (value < 0) {
                put_char('-');
            }
            put_number(value < 0 ? -(u64)value : (u64)value, 10);
            break;
        }
        case 'u': put_number(wide ? va_arg(list, u64) : va_arg(list, u32), 10); break;
        case 'x': put_number(wide ? va_arg(list, u64) : va_arg(list, u32), 16); break;
        default: put_char(*format); break;
        }
    }
}
