/* The verifier's state, and what one host instruction does to it: shared by verify.c and verify_insn.c, which see. Lock
 * of the Dbt held. */

#ifndef QUERN_ACCEL_DBT_VERIFY_INSN_H
#define QUERN_ACCEL_DBT_VERIFY_INSN_H

#include "accel/dbt/dbt.h"
#include "accel/dbt/verify.h"

#include <Zydis/Zydis.h>

enum {
    N_SLOTS     = offsetof(DbtFrame, cpu) / 8, /* words of the frame that are followed */
    N_MICRO     = DBT_MICROS,
    N_RUNS      = DBT_ENTRIES - DBT_MICROS,
    MAX_LOOKUPS = 3 * DBT_MAX_INSNS,         /* MOVS makes two, far transfers more */
    N_ENTRIES   = N_MICRO + 2 * MAX_LOOKUPS, /* with those of look-ups: for reads, for writes */
    MAX_FACTS   = 2 * DBT_MAX_INSNS,         /* a group may be open from the first instruction to the last */
    MAX_JOINS   = 16,
    CODE_MAX    = 64 << 10,
    RANGE_MAX   = 1024,                    /* bytes that one check covers */
    FRAME_OWN   = offsetof(DbtFrame, tlb), /* code may write below, but for `kick` */
};

/* Unknowns. */
enum {
    ROOT_TAG    = 0x10000,
    ROOT_ADDEND = 0x20000, /* of look-ups: for reads and writes the same, an even number */
    ROOT_MASKED = 0x30000,
    ROOT_TLB,
    ROOT_CPU,
    ROOT_INDEX = 0x40000, /* into the TLB, one of each look-up */
    ROOT_RUN   = 0x48000, /* where a run starts */
    ROOT_FRESH = 0x50000,
};

/* [address, address + size) is checked for entry k. */
typedef struct Fact {
    unsigned k, size;
    Expr     address;
} Fact;

typedef struct State {
    Expr     reg[16], slot[N_SLOTS];
    Fact     facts[MAX_FACTS];
    unsigned n_facts;
} State;

typedef struct Join {
    uint32_t offset;
    State    state;
} Join;

typedef struct DbtVerifier {
    ZydisDecoder   decoder;
    const Dbt     *dbt;
    const DbtUnit *u;
    uint8_t        hot_at[CODE_MAX / 8], cold_at[CODE_MAX / 8]; /* bits: where instructions begin */
    uint8_t        back_at[CODE_MAX / 8]; /* bits: where the cold part comes back to in the hot one */
    State          s;
    Join           joins[MAX_JOINS];
    unsigned       n_joins;
    uint8_t        masked_at[CODE_MAX / 8]; /* bits: the hot part branches there with ROOT_MASKED in RCX */
    uint8_t        again_at[CODE_MAX / 8];  /* bits: where it comes back to to try again */
    uint32_t       next_root;
    unsigned       n_lookups;
    bool           cold;
    unsigned       insn; /* the guest's, at hand */
    /* CMP with a tag in it: a branch must follow. */
    ZydisMnemonic pending; /* JA, or JNE where the page is known; 0: none */
    Fact          checking;
    int           run; /* what is checked is in that run: its addend must be loaded next; -1: not */
    Fits          fits;

    const uint8_t          *at; /* instruction at hand */
    ZydisDecodedInstruction z;
    ZydisDecodedOperand     op[ZYDIS_MAX_OPERAND_COUNT];
    const char             *problem;
} DbtVerifier;

/* Always false: the first problem stays. */
bool verify_bad(DbtVerifier *v, const char *problem);
/* Is the bit of that offset set? */
bool verify_begins(const uint8_t *bits, uint64_t offset);
/* An unknown of its own. */
Expr verify_fresh(DbtVerifier *v);
/* a + times * b */
Expr verify_sum(DbtVerifier *v, const Expr *a, const Expr *b, int64_t times);
/* Is entry k for writes? */
bool verify_is_write(unsigned k);
/* The unknown that the addend of entry k is. */
uint32_t verify_addend_root(unsigned k);
/* Nothing is known but what never changes. */
void verify_forget_all(DbtVerifier *v);
/* The state where the next guest instruction begins, in the hot part. */
void verify_next_insn(DbtVerifier *v, uint32_t offset);
/* *s = what is true in both. */
void verify_meet(DbtVerifier *v, State *s, const State *other);
/* Takes note of what a check has shown; false: too many. */
bool verify_learn(DbtVerifier *v, const Fact *f);
/* A word of the frame? */
bool verify_is_frame(const ZydisDecodedOperand *o);
/* v->z, v->op: the instruction at `at`; false: none. */
bool verify_decode(DbtVerifier *v, const uint8_t *at, const uint8_t *end);
/* What the instruction at hand does that is no branch; false: it must not be there. */
bool verify_step(DbtVerifier *v);

#endif
