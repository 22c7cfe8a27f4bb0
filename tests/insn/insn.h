/* Instruction tests: the host CPU is the oracle. Every form of every instruction is run natively and by the plain
 * executor from the same state, and everything they leave behind is compared.
 *
 *   forms.c      walks the opcode maps, names the forms, makes instances of them
 *   omitted.c    which forms are left out, and why; which the host is not asked about
 *   oracle.c     what those do, written from the manuals
 *   segments.c   descriptors and selectors
 *   guise.c      real and virtual-8086 mode
 *   undefined.c  what the architecture leaves undefined, and is not compared
 *   state.c      random and boundary states
 *   compare.c    comparison of outcomes
 *   native.c     runs code on the host
 *   executor.c   runs it in Quern
 *   resident.c   the translator, with a frame that stays
 *   block.c      random blocks of several instructions
 *   blocks.c     runs them, and makes those that differ small
 *   main.c       options and the report
 *
 * One thread; the process's signals and a few fixed low addresses belong to the test. */

#ifndef QUERN_TESTS_INSN_H
#define QUERN_TESTS_INSN_H

#include "base/bytes.h"

#include <Zydis/Zydis.h>
#include <asm/ldt.h>
#include <glib.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

/* --- where things are, natively and in the guest ---
 * Low addresses, so that all modes reach them. 16-bit code sees them through segments with these bases. */
enum {
    CODE_BASE  = 0x10000000, /* two pages; the code ends in them */
    CODE_SIZE  = 0x2000,
    DATA_BASE  = 0x20000000, /* DATA_SIZE bytes that can be written, then one page that can be read, then nothing */
    DATA_SIZE  = 0x2000,
    RO_BASE    = DATA_BASE + DATA_SIZE,
    DATA_END   = RO_BASE + 0x1000,
    DATA_TOTAL = DATA_END - DATA_BASE,
    LOOP_BASE  = DATA_BASE + 0x100000, /* one page, for the counter of loops */
};

/* Selectors: Linux's of ring 3, and the test's LDT. */
enum {
    CS_64    = 0x33,
    CS_32    = 0x23,
    SS_64    = 0x2b,
    LDT_CODE = 1,
    LDT_DATA = 2,
    N_LDT    = 8,
    CS_16    = LDT_CODE << 3 | 7,
    DS_16    = LDT_DATA << 3 | 7,
};

/* Numbers of segment registers in State.sel. */
enum { SEL_ES, SEL_CS, SEL_SS, SEL_DS, SEL_FS, SEL_GS, N_SEL };

typedef enum Mode { MODE_64, MODE_32, MODE_16, N_MODES } Mode;

enum { N_EXTENDED = 832 }; /* bytes of XSAVE image: legacy, header, AVX */

typedef struct State {
    uint64_t gpr[16]; /* in the order of their numbers */
    uint64_t rip;     /* as code sees it: an offset */
    uint64_t flags;
    uint64_t gs_base, fs_base;
    uint16_t sel[N_SEL];
    uint8_t  fx[N_EXTENDED] __attribute__((aligned(64)));
    uint8_t  data[DATA_TOTAL];
} State;

enum {
    NO_FAULT        = -1,
    SYSCALL_ENTERED = 0xf0, /* the kernel's entry point was reached */
    HANGS           = 999   /* natively: a block that patches itself may loop for ever */
};

/* What runs: bytes, and behind them the breakpoint that ends the run. */
typedef struct Code {
    Mode     mode;
    bool     step;     /* one instruction that may go anywhere: the trap flag ends it */
    bool     segments; /* selectors and bases may change */
    bool     no_umip;  /* in the guest */
    uint8_t  loops;    /* value of the byte at LOOP_BASE */
    uint64_t rip;      /* as code sees it */
    unsigned len;
    uint8_t  bytes[512];
} Code;

/* How an instance ended: the state after it, or at a fault. */
typedef struct Outcome {
    State    state;
    int      vector; /* exception, or NO_FAULT */
    uint32_t error;
    uint64_t cr2;
} Outcome;

/* --- forms --- */

typedef enum Oracle {
    ORACLE_HOST,
    ORACLE_MANUAL, /* oracle_run() */
} Oracle;

enum { MAP_3DNOW = 4 };

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
    bool        outside; /* and it is not for any guest */
    Oracle      oracle;
    bool        alone; /* not in blocks */
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

/* Decides whether and how a form is tested: omitted, outside, oracle, alone. */
void form_judge(Form *form, const ZydisDecodedInstruction *d, const ZydisDecodedOperand *op);

/* --- segments --- */

extern const struct user_desc test_ldt[N_LDT]; /* entry 0 is absent */
uint64_t                      ldt_descriptor(const struct user_desc *d);

/* Can it change or show selectors and bases? */
bool touches_segments(const ZydisDecodedInstruction *d, const ZydisDecodedOperand *op);

/* Puts selectors and far pointers where the instruction finds them. */
void segments_place(State *s, Instance *in, GRand *random);

/* --- the other oracle --- */

/* What the instruction does by the manual, of forms that the host is not asked about. false: the state is one that it
 * does not know. */
bool oracle_run(const Instance *in, const Code *code, const State *before, Outcome *after);

/* Nothing but a fault without, or with an error code of 0. */
void oracle_fault(const State *before, int vector, Outcome *after);

/* --- states --- */

/* Fills a state for this instance: every register random, its memory operands inside the test's data (or, now and
 * then, where they fault). false: the operands cannot be placed; try another instance. */
bool state_random(State *s, const Instance *in, GRand *random);

/* Does a memory operand lie on two pages? */
bool crosses_page(const Instance *in, const State *before);

/* A random value of a register, as instructions find interesting. */
uint64_t state_integer(GRand *random);

/* Fills all registers: those of `n_gprs` general ones, flags, x87 and vector state. Clears the rest, but for data. */
void state_registers(State *s, Mode mode, GRand *random);

/* Fills the data with values of all kinds. */
void state_data(State *s, GRand *random);

/* An offset from DATA_BASE for an operand of `size` bytes: mostly where it can be read and written. */
unsigned state_place(unsigned size, GRand *random);

/* The linear address of a memory operand in this state; 16-bit code: the offset. Without FS and GS. */
uint64_t operand_address(const Instance *in, const State *s, const ZydisDecodedOperand *op);
/* Which bits of its registers an address uses. */
uint64_t operand_mask(const Instance *in, const ZydisDecodedOperand *op);

/* Rewrites the displacement in the code. false: there is none. */
bool instance_set_displacement(Instance *in, uint64_t value);

/* --- comparison --- */

/* What need not agree. Set by undefined_mask(). */
typedef struct Undefined {
    uint64_t flags; /* bits of RFLAGS */
    uint16_t fsw;   /* bits of the x87 status word */
    bool     fcw;   /* the x87 control word */
    uint32_t mxcsr;
    bool     fpu_pointers; /* FIP, FDP, FOP and their selectors */
    uint64_t cr2;          /* bits of the faulting address */
    uint32_t error;        /* bits of the error code */
    uint64_t fip;          /* bits of FIP and FDP */
    uint16_t gprs;         /* bit mask of registers */
    uint16_t gprs_low;     /* the same; bits 32 to 63 count */
    uint16_t gprs_word;    /* the same; bits 16 to 63 count */
    uint16_t gprs_high;    /* the same; bits 0 to 15 count */
    bool     memory;       /* data */
    bool     vectors;      /* XMM and YMM */
    uint16_t xmm_high;     /* bit mask of XMM registers: bits 0 to 63 count */
    bool     stack;        /* x87 registers and tags */
    bool     everything;
} Undefined;

/* `before` may be NULL: of an instruction inside a block nothing is known but how the block ended. */
Undefined undefined_mask(const Instance *in, const State *before, const Outcome *native, const Outcome *ours);

/* Does a memory operand lie on two pages? */
bool crosses_page(const Instance *in, const State *before);

/* Compares; appends one line for each difference to `text` (may be NULL). Returns whether they agree. */
bool outcome_compare(Mode mode, const Undefined *u, const State *before, const Outcome *native, const Outcome *ours,
                     GString *text);

void state_print(const State *s, GString *text);
void instance_print(const Instance *in, const State *s, GString *text);

/* --- runners --- */

/* Maps memory, makes segments, installs signal handlers. After executor_init(): SIGFPE is shared with its thunks. */
void native_init(void);
bool native_has_mode(Mode mode);
bool native_has_segments(void); /* of the test's own, in its LDT */
void native_run(const Code *code, const State *before, Outcome *after);

/* Whether INT of it is not a fault on the host: a system call, or what a hypervisor offers. */
bool native_answers_int(uint8_t vector);

/* Whether the host can be interrupted with this RSP. */
bool native_takes_stack(const State *s);

uint64_t native_fs_base(void);
bool     native_has_fsgsbase(void);
void     native_free(void);

/* How Quern runs the code. */
typedef enum Runner {
    RUNNER_STEP,      /* x86_step(), instruction by instruction */
    RUNNER_RUN,       /* x86_run() */
    RUNNER_DBT,       /* the translator */
    RUNNER_DBT_MIXED, /* the same with all ways to look up addresses side by side: dbt_set_mixed() */
    RUNNER_DBT_FIRST, /* the same with code that is new left to the executor: dbt_set_first() */
    N_RUNNERS
} Runner;

extern const char *const runner_names[N_RUNNERS];

void executor_init(Runner runner);
void executor_run(const Code *code, const State *before, Outcome *after);
void executor_free(void);

/* Real mode: is this where the executor has the handlers of exceptions? What goes there would be taken for one. */
bool executor_is_handler(uint16_t cs, uint64_t rip);

/* What the guest's descriptor registers and CR0 hold, and where SYSCALL leads. */
typedef struct ExecutorSystem {
    uint64_t gdt_base, idt_base, cr0, entry;
    uint16_t gdt_limit, idt_limit, ldt, tr, syscall_cs;
    uint64_t syscall_mask;
    bool     amd;
} ExecutorSystem;

ExecutorSystem executor_system(void);

/* What the guest is for 16-bit code. */
typedef enum Guise { GUISE_NONE, GUISE_V86, GUISE_REAL, N_GUISES } Guise;

/* From now on only 16-bit code is run, in that mode. */
void executor_set_guise(Guise guise);

typedef enum Expect {
    EXPECT_SAME, /* as in protected mode */
    EXPECT_UD,
    EXPECT_GP,
    EXPECT_PARAGRAPHS, /* guise_run() */
    EXPECT_NOTHING,    /* left out */
} Expect;

Expect guise_expects(Guise guise, const Instance *in, const char **why);
bool   guise_run(const Instance *in, const State *before, Outcome *after); /* false: a state it does not know */
void   guise_undefined(Guise guise, const Instance *in, Undefined *u);

/* The code of one instance. */
void instance_code(const Instance *in, Code *code);

/* --- blocks --- */

typedef struct BlockOptions {
    int         blocks, first, seed;
    bool        minimize;
    const char *only; /* glob on mnemonics, or NULL */
} BlockOptions;

typedef struct BlockTotals {
    uint64_t blocks, instructions, runs, faults, differences;
} BlockTotals;

/* Runs the blocks of a mode; reports to `to`, and what differs to stdout. */
void blocks_run(Mode mode, const BlockOptions *o, FILE *to, BlockTotals *totals);

#endif
