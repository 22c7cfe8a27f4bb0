/* Groups: accesses of a unit off the same base value, within a few hundred bytes, are checked once, by the first of
 * them for the whole range. The others only load the addend.
 *
 * Base values are followed through MOV, ADD, SUB, LEA, INC, DEC, PUSH, POP and LEAVE as (root, offset). Outside 64-bit
 * mode that holds of their low 16 or 32 bits; there the first check leaves the host address of the range in the frame,
 * which the others count from, whatever their base register has become (emit_mem.c). A check for the
 * range that fails for reasons of its own (it crosses a page, one of the others must fault, the page is clean) goes on
 * in the unit's variant with narrow groups, and from there in the plain one, which has none. While a group is open
 * nobody else refills its micro entry, and slow paths that have dropped entries do not come back into the unit
 * (slow.c).
 *
 * Lock of the Dbt held. */

#include "accel/dbt/emit.h"

enum { ROOT_CONSTANT = -1, ROOT_NONE = -2 };

/* What is to be done for a template. */
enum {
    IS_OPERAND = 1, /* its memory operand may be grouped */
    IS_STACK   = 2, /* it pushes or pops */
    IS_CLOSING = 4, /* anything may happen there, or another base comes: groups end */
};

static const uint8_t traits[T_C + 1] = {
    [T_OTHER] = IS_CLOSING,  [T_GEN] = IS_OPERAND,  [T_PUSH] = IS_STACK,     [T_PUSHI] = IS_STACK,
    [T_PUSHM] = IS_STACK,    [T_POP] = IS_STACK,    [T_LEAVE] = IS_STACK,    [T_CALL] = IS_STACK,
    [T_RET] = IS_STACK,      [T_JMPI] = IS_OPERAND, [T_SHCL] = IS_OPERAND,   [T_SHDCL] = IS_OPERAND,
    [T_MULDIV] = IS_OPERAND, [T_BMI] = IS_OPERAND,  [T_VECTOR] = IS_OPERAND, [T_SETSEG] = IS_CLOSING,
    [T_POPSEG] = IS_CLOSING, [T_LSEG] = IS_CLOSING, [T_SEGC] = IS_CLOSING,   [T_SEGQ] = IS_CLOSING,
    [T_SWAPGS] = IS_CLOSING, [T_BASE] = IS_CLOSING, [T_C] = IS_CLOSING,      [T_CALLI] = IS_OPERAND | IS_STACK,
};

/* The low `bits` of a register are those of root + off. */
typedef struct Sym {
    int     root;
    uint8_t bits;
    int64_t off;
} Sym;

typedef struct Syms {
    Sym      reg[16];
    int      next;
    uint16_t changed; /* registers, a bit each */
} Syms;

static Sym fresh(Syms *s)
{
    return (Sym){ .root = s->next++, .bits = 64 };
}

/* --- following values --- */

static void written(Syms *s, unsigned reg)
{
    if (reg < 16) {
        s->reg[reg] = fresh(s);
        s->changed |= (uint16_t)(1u << reg);
    }
}

static unsigned whole(unsigned reg)
{
    return reg >= DBT_HIGH ? reg - DBT_HIGH : reg;
}

/* What is known of a register that changes in `size` bytes. */
static void cut(Sym *sym, unsigned size)
{
    sym->bits = (uint8_t)MIN(sym->bits, 8 * size);
}

static void add(Syms *s, unsigned reg, int64_t by, unsigned size)
{
    s->reg[reg].off += by;
    s->changed |= (uint16_t)(1u << reg);
    cut(&s->reg[reg], size);
}

/* Are results of that size followed? In 64-bit code others have a register's upper half cleared. */
static bool follows(const Tr *t, unsigned size)
{
    return t->mode.code == 8 ? size == 8 : size == 2 || size == 4;
}

/* Is this `op reg, imm` with that opcode extension, or INC, DEC? Changes the offset then. */
static bool add_constant(Syms *s, const DbtInsn *in)
{
    if (!in->ext || is_high(in->rm)) {
        return false;
    }
    if ((in->op == 0x81 || in->op == 0x83) && (in->reg == 0 || in->reg == 5)) {
        add(s, in->rm, in->reg ? -in->imm : in->imm, in->opsize);
        return true;
    }
    if (in->op == 0xff && in->reg < 2) {
        add(s, in->rm, in->reg ? -1 : 1, in->opsize);
        return true;
    }
    return false;
}

static void follow_gen(Syms *s, const DbtInsn *in, const Tr *t)
{
    if (!in->memory && !in->map && follows(t, in->opsize)) {
        if (in->op == 0x89 || in->op == 0x8b) {
            unsigned from = in->op == 0x89 ? in->reg : in->rm, to = in->op == 0x89 ? in->rm : in->reg;
            s->reg[to] = s->reg[from];
            s->changed |= (uint16_t)(1u << to);
            cut(&s->reg[to], in->opsize);
            return;
        }
        if (add_constant(s, in)) {
            return;
        }
    }
    if (in->access & G_RM_W && !in->memory) {
        written(s, whole(in->rm));
    }
    if (in->access & G_REG_W && !in->ext) {
        written(s, whole(in->reg));
    }
}

static void follow(Syms *s, const DbtInsn *in, const Tr *t)
{
    unsigned stack = t->mode.stack;

    switch (in->t) {
    case T_GEN: follow_gen(s, in, t); return;
    case T_LEA:
        if (follows(t, in->opsize) && follows(t, in->addrsize) && in->base != DBT_NO_REG && in->index == DBT_NO_REG) {
            Sym base        = s->reg[in->base];
            s->reg[in->reg] = (Sym){ base.root, base.bits, base.off + in->disp };
            s->changed |= (uint16_t)(1u << in->reg);
            cut(&s->reg[in->reg], MIN(in->opsize, in->addrsize));
        } else {
            written(s, in->reg);
        }
        return;
    case T_PUSH:
    case T_PUSHI:
    case T_PUSHM:
    case T_CALL:
    case T_CALLI: add(s, X86_RSP, -(int64_t)in->opsize, stack); return;
    case T_POP:
        add(s, X86_RSP, in->opsize, stack);
        written(s, in->rm);
        return;
    case T_LEAVE:
        s->reg[X86_RSP] = s->reg[X86_RBP];
        add(s, X86_RSP, in->opsize, stack);
        written(s, X86_RBP);
        return;
    case T_LOOP:
        if (in->op == 0xe2) {
            written(s, X86_RCX);
        }
        return;
    case T_PUSHSEG: add(s, X86_RSP, -(int64_t)in->opsize, stack); return;
    case T_POPSEG: add(s, X86_RSP, in->opsize, stack); return;
    case T_SEGQ:
        if (!(in->access & G_RM_R)) {
            add(s, X86_RSP, in->opsize, stack);
        } else if (in->access & G_REG_W) {
            written(s, in->reg);
        }
        return;
    case T_LSEG: written(s, in->reg); return;
    case T_STSEG:
    case T_SETSEG:
    case T_JCC:
    case T_JMP:
    case T_NOP:
    case T_FENCE:
    case T_FLAG: return;
    case T_MOVI:
    case T_BSWAP: written(s, whole(in->rm)); return;
    case T_BMI: written(s, in->reg); return;
    case T_SHCL:
    case T_SHDCL:
        if (!in->memory) {
            written(s, whole(in->rm));
        }
        return;
    case T_RET: add(s, X86_RSP, in->opsize + in->imm, stack); return;
    case T_JMPI: return;
    case T_STRING:
        if (in->op < 0xac) {
            add(s, X86_RDI, in->opsize, in->addrsize);
        }
        if (in->op < 0xaa || in->op >= 0xac) {
            add(s, X86_RSI, in->opsize, in->addrsize);
        }
        if (in->op >= 0xac) {
            written(s, X86_RAX);
        }
        return;
    case T_REP:
        written(s, X86_RDI);
        written(s, X86_RCX);
        if (in->op < 0xaa) {
            written(s, X86_RSI);
        }
        return;
    case T_CLI:
    case T_STI:
    case T_STAC:
    case T_CLAC:
    case T_SWAPGS: return;
    case T_BASE:
        if (in->reg < 2) {
            written(s, in->rm);
        }
        return;
    case T_RDSEG: written(s, in->rm); return;
    case T_RDTSC:
        written(s, X86_RAX);
        written(s, X86_RDX);
        if (in->map == 2) {
            written(s, X86_RCX);
        }
        return;
    case T_XCHG:
        written(s, whole(in->reg));
        written(s, whole(in->rm));
        return;
    case T_BITMEM: return;
    case T_EXTEND: written(s, X86_RAX); return;
    case T_SPREAD: written(s, X86_RDX); return;
    case T_MULDIV:
        written(s, X86_RAX);
        written(s, X86_RDX);
        return;
    case T_VECTOR: {
        const Vec *v = &t->s->vec[in->extra];
        for (unsigned i = 0; i < 4; i++) {
            if (v->spec.kind[i] == X86_THUNK_GPR && v->spec.written >> i & 1) {
                written(s, v->number[i]);
            }
        }
        if (v->spec.flags & X86_THUNK_RCX_OUT) {
            written(s, X86_RCX);
        }
        return;
    }
    default:
        for (unsigned i = 0; i < 16; i++) {
            written(s, i);
        }
        return;
    }
}

/* --- forming --- */

typedef struct Access {
    int     root, index_root;
    uint8_t scale, seg, size, addrsize;
    bool    write;
    int64_t off;
} Access;

static bool same_key(const Group *g, const Access *a)
{
    return g->root == a->root && g->index_root == a->index_root && g->scale == a->scale && g->seg == a->seg &&
           g->addrsize == a->addrsize;
}

static uint8_t join(Tr *t, const Access *a, unsigned i)
{
    for (unsigned k = t->first_open; k < t->n_groups; k++) {
        Group  *g  = &t->s->groups[k];
        int64_t lo = MIN(g->lo, a->off), hi = MAX(g->hi, a->off + a->size);
        if (same_key(g, a) && hi - lo <= t->range_max && (!t->split_groups || g->write == a->write)) {
            g->lo = lo;
            g->hi = hi;
            g->n++;
            g->last = (uint8_t)i;
            g->write |= a->write;
            return (uint8_t)(k + 1);
        }
    }
    if (t->n_groups == MAX_GROUPS) {
        return 0;
    }
    t->s->groups[t->n_groups] = (Group){ .root       = a->root,
                                         .index_root = a->index_root,
                                         .scale      = a->scale,
                                         .seg        = a->seg,
                                         .addrsize   = a->addrsize,
                                         .write      = a->write,
                                         .lo         = a->off,
                                         .hi         = a->off + a->size,
                                         .n          = 1,
                                         .first      = (uint8_t)i,
                                         .last       = (uint8_t)i };
    t->n_groups++;
    return (uint8_t)t->n_groups;
}

static bool is_jump(const DbtInsn *in)
{
    return in->t == T_CALLI || in->t == T_JMPI;
}

/* What bases and limits an access has, for comparison: flat segments are one. */
static uint8_t segment_of(const MemSpec *m)
{
    return m->based || m->seg == X86_FS || m->seg == X86_GS ? (uint8_t)(m->seg + 1) : 0;
}

/* The memory operand, as far as it can be grouped. */
static bool operand_access(const Tr *t, const Syms *s, const DbtInsn *in, Access *a)
{
    bool xchg = in->t == T_GEN && in->map == 0 && (in->op == 0x86 || in->op == 0x87);
    if (in->lock || xchg || (t->mode.code == 8 && in->addrsize != 8)) {
        return false;
    }
    bool write = in->access & G_RM_W || in->t == T_SHCL;
    if (in->t == T_VECTOR) {
        const Vec *v = &t->s->vec[in->extra];
        write        = v->spec.memory_write;
    }
    bool whole = in->t == T_BMI || in->t == T_MULDIV || is_jump(in);
    if (whole) {
        write = false;
    }
    MemSpec m = operand_spec(t, in, in->rm_size, write);
    *a        = (Access){ .index_root = ROOT_NONE,
                          .seg        = segment_of(&m),
                          .addrsize   = m.addrsize,
                          .size       = whole ? MAX(in->opsize, in->rm_size) : in->rm_size,
                          .write      = write };
    if (m.constant) {
        a->root = ROOT_CONSTANT;
        a->off  = (int64_t)m.linear;
        return true;
    }
    if ((m.base != DBT_NO_REG && s->reg[m.base].bits < 8 * m.addrsize) ||
        (m.index != DBT_NO_REG && s->reg[m.index].bits < 8 * m.addrsize)) {
        return false;
    }
    a->root = ROOT_NONE;
    a->off  = m.disp;
    if (m.base != DBT_NO_REG) {
        a->root = s->reg[m.base].root;
        a->off += s->reg[m.base].off;
    }
    if (m.index != DBT_NO_REG) {
        a->index_root = s->reg[m.index].root;
        a->scale      = m.scale;
        a->off += s->reg[m.index].off * (1 << m.scale);
    }
    return true;
}

static bool stack_access(const Tr *t, const Syms *s, const DbtInsn *in, Access *a)
{
    bool     write = in->t != T_POP && in->t != T_RET && in->t != T_LEAVE;
    unsigned reg   = in->t == T_LEAVE ? X86_RBP : X86_RSP;
    int      at    = write ? -(int)in->opsize : 0;
    MemSpec  m     = stack_spec(t, in);
    *a             = (Access){ .root       = s->reg[reg].root,
                               .index_root = ROOT_NONE,
                               .seg        = segment_of(&m),
                               .addrsize   = m.addrsize,
                               .size       = in->opsize,
                               .write      = write,
                               .off        = s->reg[reg].off + at };
    return s->reg[reg].bits >= 8 * m.addrsize;
}

/* Each group its own micro entry, as long as it is open. Outside 64-bit mode a word of the frame too. */
static void choose_entries(Tr *t)
{
    unsigned used = 0;
    for (unsigned k = 0; k < t->n_groups; k++) {
        Group *g = &t->s->groups[k];
        if (g->n < 2) {
            continue;
        }
        bool clash = true;
        for (unsigned tries = 0; clash && tries < 16; tries++) {
            clash = false;
            for (unsigned j = 0; j < k && !clash; j++) {
                const Group *o = &t->s->groups[j];
                clash          = o->n >= 2 && o->micro == g->micro && o->write == g->write && o->first <= g->last &&
                        g->first <= o->last;
            }
            if (clash) {
                g->micro = (uint8_t)micro_next(g->micro);
            }
        }
        g->host = t->mode.code != 8;
        if (clash || (g->host && used == DBT_ADDENDS)) {
            g->n = 0;
        } else {
            used++;
        }
    }
}

void find_groups(Tr *t, DbtGroups how)
{
    Syms s = { .next = 16 };
    for (unsigned i = 0; i < 16; i++) {
        s.reg[i] = (Sym){ .root = (int)i, .bits = 64 };
    }
    t->n_groups = t->first_open = 0;
    t->range_max                = how == GROUPS_WIDE ? RANGE_WIDE : RANGE_NARROW;
    for (unsigned i = 0; i < t->n; i++) {
        const DbtInsn *in  = &t->s->insns[i];
        unsigned       has = traits[in->t];
        Access         a;
        t->s->operand_group[i] = t->s->stack_group[i] = 0;
        if (has & IS_CLOSING) {
            t->first_open = t->n_groups;
        }
        t->i = i;
        if (in->memory && has & IS_OPERAND && operand_access(t, &s, in, &a)) {
            unsigned before        = t->n_groups;
            t->s->operand_group[i] = join(t, &a, i);
            t->s->access_off[i]    = a.off;
            if (t->n_groups > before) {
                t->s->groups[before].micro = (uint8_t)micro_of_operand(t, in);
            }
        }
        /* An operand that C has to fetch takes the whole instruction with it, and a check that others count on. */
        if (has & IS_STACK && !(in->t == T_PUSHM && in->memory) && stack_access(t, &s, in, &a)) {
            unsigned before      = t->n_groups;
            t->s->stack_group[i] = join(t, &a, i);
            t->s->stack_off[i]   = a.off;
            if (t->n_groups > before) {
                t->s->groups[before].micro = (uint8_t)micro_of_stack(t, in);
            }
        }
        s.changed = 0;
        follow(&s, in, t);
        t->s->writes[i] = s.changed;
    }
    choose_entries(t);
    if (how == GROUPS_NONE) {
        memset(t->s->operand_group, 0, sizeof t->s->operand_group);
        memset(t->s->stack_group, 0, sizeof t->s->stack_group);
        t->n_groups = 0;
        return;
    }
    for (unsigned i = 0; i < t->n; i++) {
        DbtInsn *in    = &t->s->insns[i];
        bool     stack = traits[in->t] & IS_STACK;
        if (!in->memory && !stack) {
            continue;
        }
        uint8_t *slot[2] = { &t->s->operand_group[i], &t->s->stack_group[i] };
        bool     checks  = false;
        for (unsigned k = 0; k < 2; k++) {
            if (*slot[k] && t->s->groups[*slot[k] - 1].n < 2) {
                *slot[k] = 0;
            }
        }
        /* What is covered by somebody else's check does not fault. */
        if (in->memory && in->t != T_LEA && in->t != T_NOP) {
            checks |= !*slot[0] || t->s->groups[*slot[0] - 1].first == i;
        }
        if (stack) {
            checks |= !*slot[1] || t->s->groups[*slot[1] - 1].first == i;
        }
        bool divides = in->t == T_MULDIV && in->reg >= 6;
        if (in->t != T_C && !checks && !divides) {
            in->faults = false;
        }
    }
}
