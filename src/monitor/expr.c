/* Arithmetic in the human monitor. See expr.h. */

#include "monitor/expr.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 64, NAME_MAX_LENGTH = 31 };

typedef struct Expr {
    const char   *at;
    ExprRegister *get_register;
    void         *opaque;
    unsigned      depth;
    Error        *err;
} Expr;

static bool parse_sum(Expr *e, int64_t *value);

static void skip_blanks(Expr *e)
{
    while (isspace((unsigned char)*e->at)) {
        e->at++;
    }
}

static bool begins_operand(char c)
{
    return isdigit((unsigned char)c) || (c && strchr("$('+-~", c));
}

/* Takes one of `operators`; 0: none of them is next. */
static char take_operator(Expr *e, const char *operators)
{
    char c = *e->at;
    if (!c || !strchr(operators, c)) {
        return 0;
    }
    bool apart = isspace((unsigned char)e->at[-1]);
    if (apart && e->at[1] && !isspace((unsigned char)e->at[1]) && !begins_operand(e->at[1])) {
        return 0;
    }
    e->at++;
    return c;
}

static bool parse_character(Expr *e, int64_t *value)
{
    char c = e->at[1];
    if (!c) {
        return error_set(e->err, "character constant expected");
    }
    if (e->at[2] != '\'') {
        return error_set(e->err, "missing terminating ' character");
    }
    *value = (unsigned char)c;
    e->at += 3;
    return true;
}

static bool parse_register(Expr *e, int64_t *value)
{
    char     name[NAME_MAX_LENGTH + 1];
    unsigned n = 0;
    for (e->at++; isalnum((unsigned char)*e->at) || (*e->at && strchr("_.", *e->at)); e->at++) {
        if (n < NAME_MAX_LENGTH) {
            name[n++] = *e->at;
        }
    }
    name[n] = 0;
    if (!e->get_register || !e->get_register(e->opaque, name, value)) {
        return error_set(e->err, "unknown register");
    }
    return true;
}

static bool parse_number(Expr *e, int64_t *value)
{
    char *end;
    if (!*e->at) {
        return error_set(e->err, "unexpected end of expression");
    }
    if (!isdigit((unsigned char)*e->at)) {
        gunichar c  = g_utf8_get_char_validated(e->at, -1);
        bool     ok = c != (gunichar)-1 && c != (gunichar)-2 && !g_unichar_iscntrl(c);
        return error_set(e->err, "invalid char '%.*s' in expression", ok ? (int)(g_utf8_next_char(e->at) - e->at) : 1,
                         ok ? e->at : "?");
    }
    errno  = 0;
    *value = (int64_t)strtoull(e->at, &end, 0);
    if (errno == ERANGE) {
        return error_set(e->err, "number too large");
    }
    e->at = end;
    return true;
}

static bool parse_unary(Expr *e, int64_t *value)
{
    skip_blanks(e);
    char c = *e->at;
    if (c == '$' || c == '\'') {
        return c == '$' ? parse_register(e, value) : parse_character(e, value);
    }
    if (!c || !strchr("+-~(", c)) {
        return parse_number(e, value);
    }
    if (++e->depth > DEPTH_MAX) {
        return error_set(e->err, "the expression is nested too deeply");
    }
    e->at++;
    if (c == '(') {
        if (!parse_sum(e, value)) {
            return false;
        }
        if (*e->at != ')') {
            return error_set(e->err, "')' expected");
        }
        e->at++;
    } else {
        if (!parse_unary(e, value)) {
            return false;
        }
        *value = c == '-' ? (int64_t)(0 - (uint64_t)*value) : c == '~' ? ~*value : *value;
    }
    e->depth--;
    return true;
}

static bool apply(Expr *e, char op, int64_t *left, int64_t right)
{
    uint64_t a = (uint64_t)*left, b = (uint64_t)right;
    if ((op == '/' || op == '%') && right == 0) {
        return error_set(e->err, "division by zero");
    }
    switch (op) {
    case '+': a += b; break;
    case '-': a -= b; break;
    case '&': a &= b; break;
    case '|': a |= b; break;
    case '^': a ^= b; break;
    case '*': a *= b; break;
    /* The quotient of the least number and -1 does not fit. */
    case '/': a = right == -1 ? 0 - a : (uint64_t)(*left / right); break;
    case '%': a = right == -1 ? 0 : (uint64_t)(*left % right); break;
    default: g_assert_not_reached();
    }
    *left = (int64_t)a;
    return true;
}

static bool parse_level(Expr *e, unsigned level, int64_t *value)
{
    static const char *const operators[] = { "+-", "&|^", "*/%" };
    if (level == G_N_ELEMENTS(operators)) {
        if (!parse_unary(e, value)) {
            return false;
        }
        skip_blanks(e);
        return true;
    }
    if (!parse_level(e, level + 1, value)) {
        return false;
    }
    char op;
    while ((op = take_operator(e, operators[level]))) {
        int64_t right;
        if (!parse_level(e, level + 1, &right) || !apply(e, op, value, right)) {
            return false;
        }
    }
    return true;
}

static bool parse_sum(Expr *e, int64_t *value)
{
    return parse_level(e, 0, value);
}

bool expr_parse(const char **text, ExprRegister *get_register, void *opaque, int64_t *value, Error *err)
{
    Expr e  = { .at = *text, .get_register = get_register, .opaque = opaque, .err = err };
    bool ok = parse_sum(&e, value);
    *text   = e.at;
    return ok;
}
