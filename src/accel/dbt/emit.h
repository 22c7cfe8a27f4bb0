/* A unit on its way: what translate.c and the templates share. Lock of the Dbt held. */

#ifndef QUERN_ACCEL_DBT_EMIT_H
#define QUERN_ACCEL_DBT_EMIT_H

#include "accel/dbt/adapt.h"
#include "cpu/x86/encode.h"
#include "cpu/x86/thunk.h"

enum { HOT_MAX = 24 << 10, COLD_MAX = 48 << 10, MAX_RELOCS = 2048, MAX_PLACES = 512, MAX_LOOKS = 3 * DBT_MAX_INSNS };

/* A vector instruction: its form without registers, and its operands. */
typedef struct Vec {
    X86ThunkSpec spec;
    uint8_t      number[4];
    bool         x87;
} Vec;

typedef struct DraftExit {
    uint64_t rip;
    uint32_t site, cold, way;
    bool     direct, far;
    uint8_t  groups;
    Recipe   entry;
} DraftExit;

/* A branch with a short displacement that ends at `from` of the hot part, on its way to `to` of the cold part. */
typedef struct ShortWay {
    uint32_t from, to;
} ShortWay;

/* A conditional way out, put behind the unit's last instruction. */
typedef struct LaterExit {
    uint64_t rip;
    uint32_t from; /* behind the branch to it */
    bool     near, save, fl_reg;
    Recipe   recipe;
} LaterExit;

/* Accesses that are checked together: see group.c. */
typedef struct Group {
    int     root, index_root;
    uint8_t scale, seg, addrsize, micro;
    uint8_t n, first, last; /* accesses; instructions */
    bool    write, checked;
    bool    host;   /* outside 64-bit mode: the addend is the host address of lo ... */
    bool    stored; /* ... which is in the frame too, not in RCX alone */
    int32_t addend; /* in the frame, once it is checked */
    int64_t lo, hi; /* offsets from root */
} Group;

enum { MAX_GROUPS = 32, RANGE_WIDE = 512, RANGE_NARROW = 64 }; /* bytes */

/* Slow paths of the instruction at hand, which end behind it. */
enum { MAX_TAILS = 8 };

typedef struct DbtScratch {
    uint8_t   hot[HOT_MAX], cold[COLD_MAX];
    DbtInsn   insns[DBT_MAX_INSNS];
    X86Insn   c[DBT_MAX_INSNS];
    Vec       vec[DBT_MAX_INSNS];
    Group     groups[MAX_GROUPS];
    uint8_t   operand_group[DBT_MAX_INSNS], stack_group[DBT_MAX_INSNS]; /* number + 1, or 0 */
    uint16_t  writes[DBT_MAX_INSNS];                                    /* guest registers, a bit each */
    int64_t   access_off[DBT_MAX_INSNS];                                /* of the operand from its group's root */
    int64_t   stack_off[DBT_MAX_INSNS];
    Reloc     relocs[MAX_RELOCS];
    DbtPlace  places[MAX_PLACES];
    DbtLook   looks[MAX_LOOKS];
    uint8_t   page[X86_PAGE_SIZE + 32];  /* the guest page, as far as it was looked at: code_at() */
    uint8_t   live[DBT_MAX_INSNS + 1];   /* flags that are needed before an instruction */
    uint8_t   live_taken[DBT_MAX_INSNS]; /* at a branch's target */
    uint32_t  tails[MAX_TAILS];
    DraftExit exits[DBT_MAX_EXITS + MAX_GROUPS];
    LaterExit later[DBT_MAX_EXITS];
    ShortWay  shorts[DBT_MAX_INSNS];
} DbtScratch;

typedef struct Tr {
    Dbt            *dbt;
    X86Cpu         *cpu;
    const DbtFetch *f;
    DbtMode         mode;
    DbtScratch     *s;
    Asm             hot, cold;
    unsigned        n, n_c, n_vec, n_relocs, n_places, n_looks, n_exits;
    unsigned        len;            /* bytes of the unit */
    uint32_t        copied;         /* parts of scratch's page */
    bool            fl_reg, fl_mem; /* the guest's flags are in EFLAGS, in the frame */
    Recipe          recipe;         /* or can be made so; RECIPE_NONE: not */
    uint32_t        part_at;        /* in the hot part: where EFLAGS have all of them but CF */
    unsigned        i;              /* instruction at hand */
    unsigned        n_groups, first_open;
    int64_t         range_max;
    bool            split_groups; /* reads and writes in groups of their own */
    int32_t         rsp_due;      /* what the guest's RSP is more than R11: see rsp_settle() */
    int32_t         rcx_entry;    /* the addend in the frame that RCX has; 0: none */
    unsigned        n_addends;    /* of frame.addends in use */
    uint64_t        checks;       /* instructions that check an address, a bit each */
    uint64_t        may_run;      /* those that may look into a run */
    bool            counts;       /* one of its look-ups counts runs */
    bool            cells;        /* there are enough for all exits */
    uint8_t         vectors;      /* as DbtUnit's */
    unsigned        n_tails;
    unsigned        first_look; /* of the instruction at hand */
    unsigned        n_later;
    unsigned        n_shorts;
    bool            no_shorts;              /* one was too far from the end */
    ShortWay        rcxz_way;               /* put_cold_rcxz()'s, whose rest is to come; from 0: none */
    unsigned        range_start, range_end; /* in the page */
    bool            failed;
    bool            movable; /* a copy may serve the same code at another rip: see relocate.c */
} Tr;

/* Where a checked operand is. */
typedef struct Operand {
    HostMem mem;
    uint8_t free; /* scratch register that mem does not use */
} Operand;

/* What to check. */
typedef struct MemSpec {
    uint8_t  base, index, scale, seg, addrsize; /* guest registers */
    bool     constant;                          /* address is `linear` */
    bool     rip_based;                         /* which counts from rip */
    bool     scratch;                           /* for templates that need RAX: the operand comes out as [RCX] */
    bool     locked;                            /* misaligned: C */
    bool     bit_offset;                        /* frame.keep[0] is added */
    bool     aligned;                           /* misaligned: #GP */
    bool     fpu;                               /* a pending x87 exception comes first */
    bool     no_copy;   /* the operand cannot come from a copy: its address is used in other ways too */
    uint8_t  stored;    /* as DbtSite's */
    uint8_t  group;     /* number + 1, or 0 */
    int64_t  group_off; /* from the group's root */
    bool     write;
    bool     ready; /* RAX has the linear address */
    bool     based; /* a segment with a base and a limit: emit_segment.c */
    uint8_t  kind;  /* with based: X86SegmentKind */
    uint8_t  size;
    int32_t  disp;
    uint64_t linear;
} MemSpec;

/* Host register of a guest register, H_NONE for R9 to R11, which are in the frame. */
extern const uint8_t  dbt_host_register[16];
static inline HostMem guest_slot(unsigned guest)
{
    return asm_frame((int32_t)(8 * (guest - 9)));
}

/* AH to BH? */
static inline bool is_high(unsigned reg)
{
    return reg >= DBT_HIGH;
}

/* --- emit_flags.c --- */
void flags_save(Tr *t); /* before host code that changes EFLAGS: the frame has them afterwards */
void flags_need(Tr *t); /* into EFLAGS; changes RAX */
void flags_written(Tr *t);
void flags_sync(Tr *t, Asm *a);              /* the frame has them: for what leaves; EFLAGS and RAX change */
bool flags_keep(Tr *t, const DbtInsn *in);   /* before an instruction; true: it spoils the recipe, and nobody minds */
void flags_forget(Tr *t);                    /* after one that has */
void flags_recipe(Tr *t, const DbtInsn *in); /* after one that has written flags */
bool flags_by_inc(const Tr *t, const DbtInsn *in); /* INC, DEC that need no flags before: its recipe will do */
void flags_inc(Tr *t, const DbtInsn *in);          /* behind it */
void flags_need_for(Tr *t, uint8_t read);          /* these only; nothing is said about EFLAGS afterwards */
/* Does it read flags, or leave some alone that somebody wants? Then EFLAGS need the guest's before it. */
bool needs_flags(const Tr *t, const DbtInsn *in);
void note_flags(Tr *t, const DbtInsn *in); /* behind it: flags_written() if it writes any */

/* --- emit_notes.c --- */
unsigned read_guest(Tr *t, unsigned guest, unsigned scratch); /* host register that has it: its own or scratch */
void     write_guest(Tr *t, unsigned guest, unsigned host);   /* nothing when host is its own */
uint64_t insn_rip(const Tr *t, unsigned i);
int      page_offset(const Tr *t, uint64_t rip); /* where rip is in the unit's page; -1: in another page */
void     reloc(Tr *t, bool in_cold, RelocKind kind, uint64_t value);    /* for the 4 or 8 bytes just emitted */
void     put_linear(Tr *t, bool in_cold, unsigned reg, uint64_t value); /* reg = a constant that counts from rip */
void     place(Tr *t); /* the host instruction that follows may fault */
/* A conditional branch to where the cold part goes on: a short one where it seems to reach the unit's end, where
 * emit_short_ways() puts the rest of the way. What runs is shorter by four bytes. */
void put_cold_branch(Tr *t, unsigned cc);
/* The same, when RCX is 0: EFLAGS stay. Where the end is too far, put_rcxz_way() puts the rest behind the branch that
 * follows, if that has not been done: what branches need not jump over it. `falls`: the branch may fall through. */
void put_cold_rcxz(Tr *t);
void put_rcxz_way(Tr *t, bool falls);
void emit_short_ways(Tr *t); /* behind emit_later_exits() */

/* --- emit_mem.c --- */
Operand check(Tr *t, const MemSpec *m);
MemSpec operand_spec(const Tr *t, const DbtInsn *in, unsigned size, bool write);
MemSpec stack_spec(const Tr *t, const DbtInsn *in); /* of PUSH, POP, CALL, RET, LEAVE */

/* Micro entries' numbers by what is accessed. The stack has several, by offset from where RSP was at the unit's start:
 * frames lie in two pages often enough. */
enum { MICRO_FS, MICRO_GS, MICRO_STACK, MICRO_STACKS = 4, MICRO_HASHED = MICRO_STACK + MICRO_STACKS, MICRO_WINDOW = 6 };
unsigned micro_of_operand(const Tr *t, const DbtInsn *in);
unsigned micro_of_stack(const Tr *t, const DbtInsn *in);
unsigned micro_next(unsigned index); /* another one */

/* --- group.c --- */
void find_groups(Tr *t, DbtGroups how);

/* --- emit.c: one template each --- */
bool leaves_rcx(const Tr *t, const DbtInsn *in); /* RCX, but for what a check leaves there */
void rsp_settle(Tr *t);                          /* pushes and pops in a row change RSP once: now */
void emit_insn(Tr *t, const DbtInsn *in);
bool emit_can(const DbtInsn *in); /* false: C has to run this form */

/* --- emit_gen.c --- */
Enc  enc_of(const DbtInsn *in); /* without its operands */
void emit_gen(Tr *t, const DbtInsn *in);

/* --- emit_flow.c --- */
void     emit_flow(Tr *t, const DbtInsn *in);
void     put_dispatch(Tr *t, int undo); /* RAX = where to, as the jump cache has it; flags are saved */
void     emit_exit(Tr *t, uint64_t rip, int cc, uint8_t live); /* cc: -1 for always */
void     emit_later_exits(Tr *t);                              /* at the unit's end */
void     emit_c(Tr *t);
void     put_c_call(Tr *t, bool in_cold, DbtStub stub);
void     emit_c_by(Tr *t, DbtStub stub);
uint32_t emit_rest_by_c(Tr *t, bool comes_back);             /* offset in the cold part */
void     emit_page_check(Tr *t);                             /* is the unit's second page where it was? */
uint32_t emit_group_exit(Tr *t, uint64_t rip, DbtGroups to); /* to that variant: offset in the cold part */

/* --- emit_segment.c --- */
void segment_spec(const Tr *t, MemSpec *m); /* fills `based` and `kind` */
void put_offset(Tr *t, const MemSpec *m);   /* RAX = the offset in its segment, zero-extended; RCX is used */
/* Compares the offset of `size` bytes with the limit; the condition beyond it, or -1: it cannot be. */
int  put_limit(Tr *t, const MemSpec *m, unsigned size);
void put_base(Tr *t, const MemSpec *m);                                       /* RAX = the linear address */
void put_load(Asm *a, unsigned size, unsigned reg, HostMem mem);              /* of 2 (zero-extended), 4 or 8 bytes */
void emit_lea16(Tr *t, const DbtInsn *in);                                    /* 16-bit result or address */
void put_sized(Asm *a, unsigned size, uint8_t op, unsigned reg, HostMem mem); /* op with 2, 4 or 8 bytes */
void sp_add(Tr *t, int by); /* to the guest's stack pointer, in its width; no flags change */
void emit_loop(Tr *t, const DbtInsn *in);
bool needs_target_check(const Tr *t, const DbtInsn *in);
void put_target_check(Tr *t, const DbtInsn *in); /* RAX = a near branch's target: C when it is beyond CS's limit */

/* --- emit_far.c --- */
void emit_segment(Tr *t, const DbtInsn *in);
void emit_far(Tr *t, const DbtInsn *in);
void emit_quick(Tr *t, const DbtInsn *in);

/* --- emit_string.c --- */
void emit_string(Tr *t, const DbtInsn *in);
void emit_rep(Tr *t, const DbtInsn *in);

/* --- emit_system.c --- */
void emit_system(Tr *t, const DbtInsn *in);
void emit_rflags(Tr *t); /* RAX = what PUSHF pushes; RCX is used */

/* --- emit_vector.c --- */
bool vector_decode(Tr *t, const uint8_t *bytes, unsigned avail, DbtInsn *in);
void emit_vector(Tr *t, const DbtInsn *in);
void emit_vectors_load(Tr *t); /* at the start of a unit that has some */

#endif
