/* What the verifier's files share: sums of unknowns, and the instructions that templates may emit beside those of the
 * encoder's allow-list. */

#ifndef QUERN_ACCEL_DBT_VERIFY_H
#define QUERN_ACCEL_DBT_VERIFY_H

#include <Zydis/Zydis.h>
#include <stdbool.h>
#include <stdint.h>

/* A guest's register with more than EXPR_KEPT terms is an unknown of its own: an address has two of them, an addend,
 * and an operand's offset. */
enum { EXPR_KEPT = 4, EXPR_TERMS = 12 };

typedef struct Term {
    uint32_t root; /* which unknown */
    int64_t  times;
} Term;

/* c + the terms' sum modulo 2^64; roots rise, no term is 0. */
typedef struct Expr {
    unsigned n;
    uint64_t c;
    Term     term[EXPR_TERMS];
} Expr;

static inline Expr expr_constant(uint64_t c)
{
    return (Expr){ .c = c };
}

static inline Expr expr_root(uint32_t root)
{
    return (Expr){ .n = 1, .term = { { root, 1 } } };
}

bool expr_sum(const Expr *a, const Expr *b, int64_t times, Expr *to); /* a + b * times; false: too many terms */
bool expr_same_terms(const Expr *a, const Expr *b);
bool expr_same(const Expr *a, const Expr *b);

/* How far a string instruction goes. After
 *
 *     mov eax, A;  or eax, -4096;  neg eax;  shr eax, n;  cmp COUNT, rax;  ja elsewhere
 *
 * COUNT elements of 2^n bytes from A on lie in one page. */
typedef struct Fit {
    Expr     address, count;
    unsigned shift;
} Fit;

typedef struct Fits {
    unsigned stage; /* instructions of the sequence so far */
    Fit      fit;   /* that it leads to */
    Fit      known[2];
    unsigned n;
} Fits;

/* Sees each instruction before what it does to `reg`. */
void fits_step(Fits *f, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *op, const Expr *reg);
bool fits_cover(const Fits *f, const Expr *address, const Expr *count, unsigned size);

/* The member of X86Cpu that `size` bytes at this offset lie in; NULL: code may not read, or write, there. */
const char *dbt_cpu_member(uint64_t offset, unsigned size, bool write);

/* By mnemonic: may be emitted for integer code and branches. */
extern const uint8_t dbt_verify_integer[ZYDIS_MNEMONIC_MAX_VALUE + 1];

#endif
