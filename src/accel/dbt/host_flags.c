/* Which flags the host's instructions overwrite where the manuals leave them undefined. Most processors give all flags
 * of MUL a value of their own and leave those of DIV alone; AMD's family 1Ah does it the other way round for some. What
 * is left alone shows the instruction before: whoever wants exactly what the host does has to bring those flags along.
 *
 * Specification: Intel SDM 2 and AMD APM 3, MUL, IMUL, DIV, IDIV, LZCNT, TZCNT: undefined flags. No lock. */

#include "accel/dbt/decode.h"

#include <glib.h>

/* The flags that `text` leaves with RAX = a and RCX = c, when it finds RFLAGS = flags. */
#define DEFINE_TRY(name, text)                                                                                         \
    static uint64_t name(uint64_t a, uint64_t c, uint64_t flags)                                                       \
    {                                                                                                                  \
        __asm__ volatile("lea -128(%%rsp), %%rsp\n\t"                                                                  \
                         "xor %%edx, %%edx\n\t"                                                                        \
                         "push %[flags]\n\t"                                                                           \
                         "popfq\n\t" text "\n\t"                                                                       \
                         "pushfq\n\t"                                                                                  \
                         "pop %[flags]\n\t"                                                                            \
                         "lea 128(%%rsp), %%rsp"                                                                       \
                         : [flags] "+r"(flags), "+a"(a)                                                                \
                         : "c"(c)                                                                                      \
                         : "rdx", "cc", "memory");                                                                     \
        return flags;                                                                                                  \
    }

DEFINE_TRY(try_mul, "mul %%rcx")
DEFINE_TRY(try_mul8, "mul %%cl")
DEFINE_TRY(try_imul, "imul %%rcx, %%rax")
DEFINE_TRY(try_div, "div %%rcx")
DEFINE_TRY(try_idiv, "idiv %%ecx")
DEFINE_TRY(try_tzcnt, "tzcnt %%rcx, %%rax")
DEFINE_TRY(try_lzcnt, "lzcnt %%rcx, %%rax")

/* The status flags that do not depend on those before, whatever the operands are. */
static uint8_t overwritten(uint64_t (*try)(uint64_t a, uint64_t c, uint64_t flags))
{
    enum { STATUS = 0x8d5, FIXED = 0x202 };
    static const struct {
        uint16_t rflags;
        uint8_t  fl;
    } flags[] = { { 0x1, FL_CF }, { 0x4, FL_PF }, { 0x10, FL_AF }, { 0x40, FL_ZF }, { 0x80, FL_SF }, { 0x800, FL_OF } };
    static const uint64_t operands[][2] = {
        { 0, 1 }, { 7, 3 }, { 0x12345678, 0x9abc }, { 0x7fffffff, 0x10 }, { 0x55555555, 0x7fffffff }, { 0x7ffffffe, 2 }
    };
    uint64_t left = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(operands); i++) {
        uint64_t a = operands[i][0], c = operands[i][1];
        left |= (try(a, c, FIXED) ^ try(a, c, FIXED | STATUS)) & STATUS;
    }
    unsigned kept = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(flags); i++) {
        kept |= left & flags[i].rflags ? flags[i].fl : 0;
    }
    return (uint8_t)(FL_ALL & ~kept);
}

DbtWrites dbt_host_writes(void)
{
    return (DbtWrites){ .mul   = overwritten(try_mul) & overwritten(try_mul8) & overwritten(try_imul),
                        .div   = overwritten(try_div) & overwritten(try_idiv),
                        .tzcnt = overwritten(try_tzcnt),
                        .lzcnt = overwritten(try_lzcnt) };
}
