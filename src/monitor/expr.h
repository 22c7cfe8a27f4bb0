/* Arithmetic as people type it in the human monitor: "$rip + 2 * (0x10 - 'a')".
 *
 * 64-bit integers; C's numbers, characters in quotes, $registers, + - (loosest), & | ^, * / % (tightest), unary
 * + - ~, parentheses. Blanks are allowed anywhere. Division is signed. */

#ifndef QUERN_MONITOR_EXPR_H
#define QUERN_MONITOR_EXPR_H

#include "base/error.h"

#include <stdint.h>

/* The value of a register, by its name without the '$'. false: there is none of that name. */
typedef bool ExprRegister(void *opaque, const char *name, int64_t *value);

/* Evaluates the expression at *text, which then points behind it and the blanks that follow. An operator that no
 * operand follows is not part of it if a blank comes before it, so that "16 /tmp/file" is 16. `get_register` may be
 * NULL. */
bool expr_parse(const char **text, ExprRegister *get_register, void *opaque, int64_t *value, Error *err);

#endif
