/* Instruction tests: the host CPU is the oracle. Every form of every instruction is run natively and by the plain
 * executor from the same state, and everything they leave behind is compared.
 *
 *   forms.c      walks the opcode maps, names the forms, makes instances of them
 *   omitted.c    which forms are left out, and why
 *   undefined.c  what the architecture leaves undefined, and is not compared
 *   state.c      random and boundary states; comparison
 *   native.c     runs an instance on the host
 *   executor.c   runs it in Quern
 *   main.c       options and the report
 *
 * One thread; the process's signals and a few fixed low addresses belong to the test. */

#ifndef QUERN_TESTS_INSN_H
#define QUERN_TESTS_INSN_H

#include "base/bytes.h"

#include <Zydis/Zydis.h>
#include <glib.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

/* --- where things are, natively and in the guest ---
 * Low addresses, so that all modes reach them. 16-bit code sees them through segments with these bases. */
enum {
    CODE_BASE  = 0x10000000, /* one page; the instruction ends in it */
    DATA_BASE  = 0x20000000, /* DATA_SIZE bytes that can be written, then one page that can be read, then nothing */
    DATA_SIZE  = 0x2000,
    RO_BASE    = DATA_BASE + DATA_SIZE,
    DATA_END   = RO_BASE + 0x1000,
    DATA_TOTAL = DATA_END - DATA_BASE,
};

typedef enum Mode { MODE_64, MODE_32, MODE_16, N_MODES } Mode;

enum { N_EXTENDED = 832 }; /* bytes of XSAVE image: legacy, header, AVX */

typedef struct State {
    uint64_t gpr[16]; /* in the order of their numbers */
    uint64_t rip;     /* as code sees it: an offset */
    uint64_t flags;
    uint64_t gs_base;
    uint8_t  fx[N_EXTENDED] __attribute__((aligned(64)));
    uint8_t  data[DATA_TOTAL];
} State;

enum { NO_FAULT = -1 };

/* How an instance ended: the state after it, or at a fault. */
typedef struct Outcome {
    State    state;
    int      vector; /* exception, or NO_FAULT */
    uint32_t error;
    uint64_t cr2;
} Outcome;

/* --- forms --- */

/* What the bytes of an instance are made of. */
typedef struct Form {
    char    *name; /* as in the report: "addps xmm, m128" with encoding */
    uint16_t mnemonic;
    Mode     mode;
    uint8_t  vex, map, prefix, opcode, w, l, lock;
    bool     has_modrm, memory;
    int8_t   ext; /* fixed ModRM.reg, or -1 */
    int8_t   rm;  /* fixed ModRM.rm, or -1 */
    int8_t   opreg;
    char    *key; /* what makes it this form and no other */
    /* Results. */
    uint64_t    count, faults, differences;
    const char *omitted; /* reason, or NULL */
} Form;

typedef struct Instance {
    const Form             *form;
    uint8_t                 code[15];
    uint8_t                 len;
    uint64_t                rip;
    ZydisDecodedInstruction d;
    ZydisDecodedOperand     op[ZYDIS_MAX_OPERAND_COUNT];
    bool                    branch; /* single-stepped, because it may go anywhere */
} Instance;

/* All forms of a mode, in opcode order; `filter` (NULL: all) is a glob on mnemonics. The array owns them. */
GPtrArray *forms_walk(Mode mode, const char *filter);

/* Makes one instance with random registers, addressing, immediates and ignored bits. false: none found this time. */
bool form_instance(const Form *form, GRand *random, Instance *out);

/* Decodes as the mode says, with Zydis's known mistakes repaired. */
bool form_decode(Mode mode, const uint8_t *code, unsigned len, ZydisDecodedInstruction *d, ZydisDecodedOperand *op);

/* The reason why a form is not tested, or NULL. */
const char *form_omitted(const Form *form, const ZydisDecodedInstruction *d, const ZydisDecodedOperand *op);

/* --- states --- */

/* Fills a state for this instance: every register random, its memory operands inside the test's data (or, now and
 * then, where they fault). false: the operands cannot be placed; try another instance. */
bool state_random(State *s, const Instance *in, GRand *random);

/* Does a memory operand lie on two pages? */
bool crosses_page(const Instance *in, const State *before);

/* What need not agree. Set by undefined_mask(). */
typedef struct Undefined {
    uint64_t flags;        /* bits of RFLAGS */
    uint16_t fsw;          /* bits of the x87 status word */
    bool     fpu_pointers; /* FIP, FDP, FOP and their selectors */
    uint64_t cr2;          /* bits of the faulting address */
    uint32_t error;        /* bits of the error code */
    uint64_t fip;          /* bits of FIP and FDP */
    uint16_t gprs;         /* bit mask of registers */
    bool     everything;
} Undefined;

Undefined undefined_mask(const Instance *in, const State *before, const Outcome *native);

/* Compares; appends one line for each difference to `text` (may be NULL). Returns whether they agree. */
bool outcome_compare(const Instance *in, const State *before, const Outcome *native, const Outcome *ours,
                     GString *text);

void instance_print(const Instance *in, const State *s, GString *text);

/* --- runners --- */

/* Maps memory, makes segments, installs signal handlers. After executor_init(): SIGFPE is shared with its thunks. */
void native_init(void);
bool native_has_mode(Mode mode);
void native_run(const Instance *in, const State *before, Outcome *after);
void native_free(void);

void executor_init(void);
void executor_run(const Instance *in, const State *before, Outcome *after);
void executor_free(void);

#endif
