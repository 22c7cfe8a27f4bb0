/* Inside of the translator: what its files share. docs/translator.md tells the story.
 *
 *   decode.c     guest bytes to fields            asm.c       host instructions from fields
 *   translate.c  a unit: decoding, liveness, exits  emit*.c     templates
 *   stubs.c      entry, exits, slow paths         cache.c     code memory, units, links, killing
 *   run.c        the vCPU's loop                  slow*.c     what the slow paths call in C
 *   signals.c    host faults in translated code   verify.c    a second look at each unit
 *   runs.c, windows.c, adapt.c  pages side by side, and what sites learn
 *   cells.c      branches to other pages           first.c     code that runs for the first time
 *   trace.c, list.c, perf.c, counters.c           what people see of it
 *
 * Host registers while translated code runs: RSP points at the vCPU's DbtFrame, RAX and RCX are scratch, the others
 * hold guest registers (dbt_host_register); guest R9, R10 and R11 live in the frame. Arithmetic flags are in the host's
 * EFLAGS inside a unit and in the frame at its borders. Vector and x87 registers are the guest's where frame.vectors
 * says so: units that need them load them first.
 *
 * Locks: `lock` of Dbt guards everything but what a vCPU's own thread keeps in its frame. It is a leaf: nothing is
 * waited for with it held. Jump caches are written under it, so that a unit's last traces can be removed at once. */

#ifndef QUERN_ACCEL_DBT_DBT_H
#define QUERN_ACCEL_DBT_DBT_H

#include "accel/dbt/asm.h"
#include "accel/dbt/decode.h"
#include "accel/dbt/pages.h"
#include "accel/dbt/run.h"
#include "base/huge.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/x86.h"
#include "memory/ram.h"

typedef struct DbtWindows DbtWindows;
typedef struct DbtLook    DbtLook;
typedef struct DbtCell    DbtCell;

enum {
    DBT_MODES = X86_N_TLB_MODES,
    DBT_MICRO = 256, /* entries of a micro TLB */
    DBT_LINE  = 4,   /* of them are dropped together: a cache line */
    DBT_RUNS  = 32,  /* entries for runs of pages, in each mode and kind of access */
    /* Entries of jump caches: user programs are large. */
    DBT_JUMPS_USER   = 65536,
    DBT_JUMPS_KERNEL = 16384, /* in each mode */
    DBT_JUMPS        = DBT_JUMPS_USER + (DBT_MODES - 1) * DBT_JUMPS_KERNEL,
    DBT_ALIGN        = 16, /* bytes, of a unit's parts */
    DBT_MAX_INSNS    = 64, /* in a unit */
    DBT_MAX_JCC      = 4,
    DBT_MAX_EXITS    = DBT_MAX_JCC + 2,
    DBT_ADDENDS      = 9,     /* groups of a unit that were looked up in the TLB */
    DBT_COUNTED      = 64,    /* sites that are counted at a time: adapt.c */
    DBT_MISSES       = 1024,  /* of a micro entry, until its site is looked at */
    DBT_RUN_MISSES   = 32,    /* of a run's, until it is looked for again */
    DBT_HEATS        = 16384, /* counters of units' runs */
    DBT_WARM_RUNS    = 8000,  /* of a unit, until it is looked at whether its sites should be checked in line, ... */
    DBT_TRIAL_RUNS   = 2000,  /* ... which takes that many, ... */
    DBT_TRIAL_PER    = 400,   /* ... that are wanted for each flush of the micro TLBs, ... */
    DBT_TRIAL_US     = 16000, /* ... in this time at most */
    DBT_LAST         = 3,
    DBT_CODES        = 64,
    DBT_SIZES        = 11, /* of what look-ups in the TLB check: 1 << n bytes */
    DBT_TLB_KINDS    = 16, /* of stubs for each */
    DBT_NOTED        = 1 << 16,
    DBT_FIRST_BITS   = 20, /* first.c: 1 << of them, two for each place */
    DBT_FIRST_WORDS  = 1 << (DBT_FIRST_BITS - 6),
    DBT_FIRST_MOST   = 1 << (DBT_FIRST_BITS - 3), /* places in use */
};

/* {tag, addend} for one range of linear addresses: host = linear + addend when linear - tag <= size - access size. */
typedef struct DbtMicro {
    uint64_t  tag;
    uintptr_t addend;
} DbtMicro;

/* Of a unit that ran often: does it run densely? */
typedef struct DbtTrial {
    int64_t  began;   /* g_get_monotonic_time(); 0: it has not */
    uint32_t flushed; /* the frame's, then */
} DbtTrial;

/* A run of linear pages that lie side by side in host memory (runs.c): host = linear + addend when linear - start <=
 * last, for the size of the access. Empty ones start where no address is, as micro entries do. */
typedef struct DbtRun {
    uint64_t  start;
    uint64_t  last8, last64; /* of accesses of up to 8 and up to 64 bytes */
    uintptr_t addend;
} DbtRun;

/* Slot of rip: dbt_jump_slot(), or the other one of the same pair, where the stubs of a miss look. Slot 0 is never
 * filled: kicking a vCPU makes every look-up end there. */
typedef struct DbtJump {
    uint64_t       rip;
    const uint8_t *code;
} DbtJump;

/* How often a vCPU went into C, by reason. */
typedef struct DbtCalls {
    uint64_t access, access_run, group, group_failed, insn, insn_ends, link, lookup, ret, kick, fault, rounds, executor,
        unparked, flushes, first;
} DbtCalls;

/* Where a micro entry has missed each DBT_MISSES times: is it always in one run of pages? */
typedef struct DbtSample {
    uint64_t start, last; /* of the run that it was in */
    uint64_t flushes;     /* of the vCPU's TLB until then */
    uint8_t  n, inside;   /* samples; those in the run of the one before, with few flushes in between */
} DbtSample;

enum { DBT_SAMPLES_WANTED = 4 };

/* An access that C has made for translated code, remembered: sites that write beside code come again and again. */
typedef struct DbtAccess {
    const uint8_t *at;
    DbtUnit       *unit;
    uint64_t       resets; /* of the Dbt: units are freed then */
    const DbtLook *look;   /* NULL: the site has a slow side of its own */
    bool           decoded;
    X86Insn        insn;
} DbtAccess;

/* A group that was looked up and lay in two pages, remembered: stacks lie in two pages often enough. */
typedef struct DbtCross {
    const uint8_t *at;
    uint64_t       resets;
    const DbtLook *look;
    DbtUnit       *to;    /* goes on there */
    uint64_t       times; /* that it did */
} DbtCross;

enum { DBT_ACCESSES = 64, DBT_CROSSES = 8192, DBT_CELLS = 1 << 17, DBT_CELL_LISTS = 64 };

/* A page that has been written the slow way because units were made of other bytes of it. */
typedef struct DbtBeside {
    const uint8_t *page;
    uint64_t       left; /* such writes, until it is looked at */
} DbtBeside;

enum { DBT_BESIDES = 64 };

/* Code outside 64-bit mode, for tags of the jump cache: what it is made for, and CS's base, or DBT_REAL_BASE where that
 * is its selector times 16. */
typedef struct DbtCode {
    uint64_t key, base;
} DbtCode;

#define DBT_REAL_BASE UINT64_MAX

/* Numbers of what a site may look into: micro entries, then runs, all modes in one. */
enum { DBT_MICROS = DBT_MODES * 2 * DBT_MICRO, DBT_ENTRIES = DBT_MICROS + DBT_MODES * 2 * DBT_RUNS };

/* A descriptor of the GDT or LDT that a segment register was loaded with, and what is made of it in the ring that runs.
 * It counts as long as the TLB drops nothing, tables and ring stay, and its bytes are the same (quick.c). */
typedef struct DbtDescriptor {
    uint32_t    selector; /* DBT_NO_SELECTOR: none */
    uint8_t     kind;     /* of data that may be loaded: X86SegmentKind, which stubs compare; DBT_NO_KIND: it may not */
    uint8_t     code;     /* code of this ring that may be entered: its X86CodeSize + 1; 0: none */
    uint64_t    raw;
    const void *host; /* where it lies */
    uint64_t    base;
    uint32_t    limit, attr;       /* as X86Segment has them */
    uint64_t    tag_key, tag, key; /* of code: the tag of its units with that key; what segment_key has of it */
} DbtDescriptor;

enum { DBT_DESCRIPTORS = 16, DBT_NO_SELECTOR = 0x10000, DBT_NO_KIND = 0xff };

static inline unsigned dbt_descriptor_slot(uint32_t selector)
{
    return selector >> 3 & (DBT_DESCRIPTORS - 1);
}

/* At RSP. Offsets are in emitted code. */
typedef struct DbtFrame {
    uint64_t r9, r10, r11;
    uint64_t flags;            /* as X86Cpu.arith */
    union {                    /* only read by code */
        _Atomic uint64_t kick; /* DBT_RUN or DBT_KICKED */
        struct {
            uint32_t kernel_mask, user_mask; /* of rip, for the jump caches; none is 0 but when kicked */
        };
    };
    uint64_t fs_base, gs_base;
    uint8_t  vectors; /* X86Cpu.vector_live, where code runs */
    uint64_t addends[DBT_ADDENDS];
    uint64_t tmp[4];                                 /* the stubs' */
    uint64_t keep[4];                                /* the templates': across checks */
    uint8_t  copy[64];                               /* of an operand that lies in two pages */
    uint16_t left[DBT_COUNTED], missed[DBT_COUNTED]; /* executions until a site is judged, and misses meanwhile */
    uint64_t compared;                               /* the memory operand of a CMP; what is shifted: Recipe */
    uint64_t cs_tag, cs_real;                        /* outside 64-bit mode: dbt_take_segments() */
    uint64_t seg_base[X86_N_SEG];                    /* outside 64-bit mode: dbt_take_segments() */
    int64_t  seg_last[X86_N_SEG][DBT_LAST];          /* the last offset that may be that of 1 << n bytes */

    /* Only read by code from here on. */
    const X86TlbEntry *tlb;
    X86Cpu            *cpu;
    uint64_t           host_rsp, host_return, host_saved[6];
    const uint8_t     *from, *to; /* calls into C: where from, where it goes on */
    Dbt               *dbt;

    DbtMicro       micro[DBT_MODES][2][DBT_MICRO]; /* by mode, then X86_READ or X86_WRITE */
    DbtRun         runs[DBT_MODES][2][DBT_RUNS];   /* the same */
    DbtJump        jumps[DBT_JUMPS] __attribute__((aligned(2 * sizeof(DbtJump)))); /* pairs in one line of the cache */
    const uint8_t *cells[DBT_CELLS];

    uint16_t misses[DBT_ENTRIES]; /* of micro entries and runs, counted down by the stubs */
    uint16_t heat[DBT_HEATS];     /* runs left, by where a look-up was called: the same */

    DbtDescriptor descriptors[DBT_DESCRIPTORS]; /* only stubs look at them */

    /* Not known to emitted code. */
    uint8_t  micro_used[DBT_MODES * 2 * DBT_MICRO / DBT_LINE] __attribute__((aligned(8))); /* lines that were filled */
    uint32_t runs_used[DBT_MODES * 2];                                                     /* a bit each */
    uint64_t jump_key[DBT_MODES];  /* of the units that the jump cache leads to */
    uint32_t jump_list[DBT_JUMPS]; /* slots filled since the last flush, by mode like `jumps` */
    unsigned jump_n[DBT_MODES];
    unsigned jump_turn;                             /* which of a pair makes room */
    uint64_t page_filter[DBT_MODES][16];            /* pages with entries in the jump cache */
    uint32_t cell_lists[DBT_MODES][DBT_CELL_LISTS]; /* of cells that are filled */
    uint32_t cell_next[DBT_CELLS];
    bool     jump_local[DBT_MODES]; /* not all of them are global */
    bool     jump_based[DBT_MODES]; /* some are of code whose base is not 0 */
    DbtCode  codes[DBT_CODES];
    unsigned n_codes, last_code;
    DbtCode  code; /* that cs_tag is for */
    uint16_t code_selector;
    uint64_t code_tag;
    uint32_t segment_changes; /* X86Cpu's that code knows */
    bool     descriptors_used;
    uint8_t  descriptors_cpl, descriptors_mode; /* what they count for */
    uint64_t descriptors_gdt, descriptors_ldt;
    uint32_t descriptors_gdt_limit, descriptors_ldt_limit;
    const uint8_t *at;   /* whose slow access may fault now */
    X86Insn        insn; /* that runs in C */
    DbtSample      samples[DBT_MICROS];
    DbtWindows    *windows; /* NULL: none yet */
    DbtTrial      *trials;  /* for each of `heat` */
    uint32_t       flushed; /* how often all micro entries were dropped */
    DbtAccess      accesses[DBT_ACCESSES];
    DbtCross       crosses[DBT_CROSSES];
    DbtBeside      besides[DBT_BESIDES];
    const uint8_t *fault_rip; /* signals.c */
    uint64_t       fault_eflags;
    DbtCalls       calls;
} DbtFrame;

/* No canonical address matches; one that does leads, with whatever addend, to a host address that is not canonical. */
#define DBT_NO_TAG (UINT64_C(1) << 63)

static inline unsigned dbt_n_jumps(unsigned mode)
{
    return mode == X86_TLB_USER ? DBT_JUMPS_USER : DBT_JUMPS_KERNEL;
}

/* Where the mode's jump cache begins. */
static inline unsigned dbt_first_jump(unsigned mode)
{
    return mode == X86_TLB_USER ? 0 : DBT_JUMPS_USER + (mode - 1) * DBT_JUMPS_KERNEL;
}

/* Its low bits, but for one. A checksum spreads them better, and costs more than it saves: recursion 5 %, sqlite 3 %.
 */
static inline unsigned dbt_jump_slot(unsigned mode, uint64_t rip)
{
    return (unsigned)rip / 2 % dbt_n_jumps(mode);
}

/* What an empty slot has: no canonical address; a branch to one that is not must miss too: that belongs to another pair
 * of slots. */
static inline uint64_t dbt_empty_tag(unsigned mode, unsigned slot)
{
    return slot / 2 == dbt_jump_slot(mode, DBT_NO_TAG) / 2 ? DBT_NO_TAG | 1 : DBT_NO_TAG;
}

#define DBT_RUN    ((uint64_t)(2 * (DBT_JUMPS_USER - 1)) << 32 | 2 * (DBT_JUMPS_KERNEL - 1))
#define DBT_KICKED UINT64_C(0)

#define DBT_FRAME(member) ((int32_t)offsetof(DbtFrame, member))

static inline int32_t dbt_mask_offset(unsigned mode)
{
    return mode == X86_TLB_USER ? DBT_FRAME(user_mask) : DBT_FRAME(kernel_mask);
}

static inline int32_t dbt_cell_offset(uint32_t cell)
{
    return DBT_FRAME(cells) + (int32_t)(cell * sizeof(const uint8_t *));
}

/* Where in the frame the jump cache has rip. */
static inline int32_t dbt_jump_offset(unsigned mode, uint64_t rip)
{
    return DBT_FRAME(jumps) + (int32_t)((dbt_first_jump(mode) + dbt_jump_slot(mode, rip)) * sizeof(DbtJump));
}

/* The same of its start. */
static inline int32_t dbt_jumps_offset(unsigned mode)
{
    return DBT_FRAME(jumps) + (int32_t)(dbt_first_jump(mode) * sizeof(DbtJump));
}

/* Stubs: code made once. */
typedef enum DbtStub {
    STUB_ENTER,     /* C calls it */
    STUB_LEAVE,     /* to C, everything saved */
    STUB_READ_MISS, /* RAX = linear, RCX = the site's description */
    STUB_WRITE_MISS,
    STUB_GROUP_READ_MISS, /* the same for a group: what does not fit goes on behind the site */
    STUB_GROUP_WRITE_MISS,
    STUB_READ, /* the same, but the TLB has been looked at, or does not matter */
    STUB_WRITE,
    STUB_GROUP_READ,
    STUB_GROUP_WRITE,
    STUB_RUN_READ, /* a run does not cover it: RCX is the addend afterwards */
    STUB_RUN_WRITE,
    STUB_RUN_GROUP_READ,
    STUB_RUN_GROUP_WRITE,
    STUB_LOOK, /* a called look-up has found nothing: RAX = linear, frame.from, RCX = dbt_look_what() */
    STUB_LOOK_GROUP,
    STUB_COUNTED,   /* a site that is counted has run often enough; RCX = its description */
    STUB_INSN,      /* an instruction in C, and on */
    STUB_VECTORS,   /* a unit that needs the vector registers begins, and they are parked; flags are not kept */
    STUB_LINK,      /* a direct exit that has no link yet */
    STUB_FAR,       /* one to another page, whose cell is empty; behind the call what STUB_INSN has */
    STUB_LOOKUP,    /* RAX = rip of the next unit, by C; flags in the frame */
    STUB_JUMP_MISS, /* by mode: the same when the jump cache's other slot has not got it either */
    STUB_JUMP_MISS_LAST = STUB_JUMP_MISS + DBT_MODES - 1,
    STUB_RET_MISS, /* by mode: the same behind RET and its like, whose target may be bad */
    STUB_RET_MISS_LAST = STUB_RET_MISS + DBT_MODES - 1,
    STUB_CALL_MISS,      /* an indirect call, before anything of it has happened: RAX = its target */
    STUB_KICK,           /* somebody wants the vCPU: RAX = rip */
    STUB_STAC,           /* RAX = rip behind STAC in ring 0, SMAP in force: into units of the mode without it */
    STUB_CLAC,           /* the way back */
    STUB_SYSCALL,        /* called like STUB_INSN, in 64-bit code; RAX = rip behind it */
    STUB_SYSRET,         /* the same */
    STUB_QUICK_SEGMENT,  /* RAX = selector, ECX = ES, DS, FS or GS: EAX = 0 where C has to do it */
    STUB_QUICK_SEGMENTS, /* the same for one register and kind each, by frame.descriptors: dbt_quick_stub() */
    STUB_QUICK_SEGMENTS_LAST = STUB_QUICK_SEGMENTS + 6 * 8 - 1,
    STUB_QUICK_FAR,    /* RAX, ECX: see quick.c; comes back where C has to do it */
    STUB_QUICK_LOOKUP, /* from C: on at the vCPU's rip, and the same when somebody wants the vCPU */
    STUB_QUICK_KICK,
    STUB_PAGES,    /* a unit in two pages, the second of which is not known to be there: RAX = rip */
    STUB_FAULT,    /* a host instruction has faulted: signals.c has filled frame.fault */
    STUB_HOT,      /* a look-up that counts has been called often */
    STUB_HOT_BACK, /* from C, back to there */
    STUB_TLB,      /* look-ups in the TLB, see dbt_tlb_stub() */
    N_STUBS = STUB_TLB + DBT_TLB_KINDS * DBT_SIZES,
} DbtStub;

/* RAX = linear address of 1 << size bytes. Where they are not in the TLB C is called (DbtLook). Afterwards RCX is the
 * addend, and RAX with `host` the host address, else nobody's. `counts`: this call counts the unit's runs. */
static inline DbtStub dbt_tlb_stub(unsigned size, bool write, bool group, bool host, bool counts)
{
    return (DbtStub)(STUB_TLB + (((size * 2 + write) * 2 + group) * 2 + host) * 2 + counts);
}

/* What their miss tells C. */
enum { LOOK_WRITE = 1, LOOK_HOST = 2, LOOK_SIZE = 2 /* shift */ };
static inline unsigned dbt_look_what(unsigned size, bool write, bool host)
{
    return size << LOOK_SIZE | (host ? LOOK_HOST : 0) | (write ? LOOK_WRITE : 0);
}

/* A site's description: goes to the miss stubs in RCX, by the MOV before the call. */
typedef struct DbtSite {
    uint16_t limit; /* page size - access size */
    uint8_t  insn;  /* number in the unit */
    uint8_t  size;
    uint8_t  flags;  /* SITE_* */
    uint8_t  stored; /* what a plain store writes: 0, or SITE_VECTOR or SITE_GPR and a guest register's number */
    uint16_t micro;  /* number of its entry, below DBT_ENTRIES */
} DbtSite;

static inline bool dbt_stub_has_site(DbtStub stub)
{
    return (stub >= STUB_READ_MISS && stub <= STUB_RUN_GROUP_WRITE) || stub == STUB_COUNTED;
}

/* The description that a miss stub was called with, by where it comes back to. */
static inline DbtSite dbt_site_of(const uint8_t *at)
{
    DbtSite site;
    __builtin_memcpy(&site, at - 13, sizeof site);
    return site;
}

/* Where calls of miss stubs come back to: three jumps. */
enum {
    SITE_AGAIN = 0,  /* the access can be made, or tried again */
    SITE_DONE  = 5,  /* C has run the instruction; of a group: on without groups */
    SITE_COPY  = 10, /* SITE_LOAD: the operand is where RAX and RCX say */
};

enum {
    SITE_EXEC  = 1,   /* always by C: misaligned LOCK */
    SITE_ALIGN = 2,   /* misaligned: #GP before anything else */
    SITE_FPU   = 4,   /* an x87 exception that is pending comes before a page fault */
    SITE_LOAD  = 8,   /* the instruction only reads there: what crosses a page can come from a copy */
    SITE_PLAIN = 16,  /* behind the check RCX takes the addend; otherwise RAX is added to */
    SITE_TLB   = 32,  /* the site looks into the TLB, not into a micro entry */
    SITE_RETRY = 64,  /* SITE_AGAIN leads to the check, not behind it */
    SITE_RUN   = 128, /* it looks into a run, and SITE_AGAIN wants the addend in RCX */
};

enum { SITE_VECTOR = 16, SITE_GPR = 32 };

/* How the flags can be made again from registers as they are now: an instruction that changes nothing but flags, after
 * one that prepares RAX. */
typedef enum RecipeKind {
    RECIPE_NONE,
    RECIPE_CMP,  /* CMP reg, rm or imm, as it was */
    RECIPE_TEST, /* TEST reg, rm or imm */
    RECIPE_SUB,  /* reg is a difference: CMP reg + rm or imm, the same */
    RECIPE_ADD,  /* reg is a sum */
    RECIPE_NEG,
    RECIPE_INC, /* reg is what INC has left, CF is in the frame */
    RECIPE_DEC,
    RECIPE_CMP_SLOT,  /* CMP of frame.compared with rm or imm: reg is not used */
    RECIPE_WITH_SLOT, /* CMP of reg with frame.compared */
    RECIPE_SHIFT,     /* frame.compared shifted by imm; reg: how, as ModRM.reg of the shifts has it */
} RecipeKind;

typedef struct Recipe {
    uint8_t  kind, size; /* 1, 2, 4 or 8 bytes */
    uint8_t  reg, rm;    /* guest registers; rm DBT_NO_REG: imm */
    int32_t  imm;
    uint16_t uses; /* guest registers, a bit each */
} Recipe;

static inline bool recipe_has_slot(const Recipe *r)
{
    return r->kind == RECIPE_CMP_SLOT || r->kind == RECIPE_WITH_SLOT;
}

static inline bool recipe_same(const Recipe *a, const Recipe *b)
{
    return a->kind == b->kind &&
           (a->kind == RECIPE_NONE || (a->size == b->size && a->reg == b->reg && a->rm == b->rm && a->imm == b->imm));
}

/* How far the accesses of a unit may lie apart that are checked together (group.c): where a check for all of them
 * fails, since they lie in two pages, the next variant of the unit goes on. */
typedef enum DbtGroups { GROUPS_WIDE, GROUPS_NARROW, GROUPS_NONE } DbtGroups;

/* One way out of a unit to a fixed place in its page. */
typedef struct DbtExit {
    uint64_t        rip;              /* where it leads */
    uint8_t        *site;             /* the branch's displacement in the hot part, writable view */
    uint8_t        *cold;             /* CALL in the cold part */
    uint8_t        *way;              /* to it, in the cold part: where the site leads without a link */
    bool            direct;           /* nothing to be done on the way: the site itself is patched */
    uint8_t         groups;           /* of the unit that it leads to: DbtGroups */
    uint32_t        cell;             /* through which it jumps to another page, by `site`; 0: it does not */
    Recipe          entry;            /* to a unit that finds the flags by this */
    DbtUnit        *to;               /* linked to; of one with a cell: some vCPUs' cells lead there, and to no other */
    DbtUnit        *unit;             /* of which it is */
    struct DbtExit *next_in, **at_in; /* list of to's incoming edges, and what points at this one there */
} DbtExit;

typedef struct DbtRange {
    uint16_t start, len; /* in the page */
} DbtRange;

/* Guest instruction that a host address belongs to. */
typedef struct DbtPlace {
    uint32_t host; /* offset from the unit's hot part */
    uint8_t  insn;
    bool     flags_in_host; /* the guest's flags are in EFLAGS */
    Recipe   recipe;        /* otherwise how they are made, or in the frame */
} DbtPlace;

/* A look-up in the TLB by a stub. Code that has not run often has no slow side for it: what C needs is here. */
struct DbtLook {
    uint32_t host;    /* where the call comes back to: offset from the unit's hot part */
    bool     resumes; /* when C has run the instruction, code goes on behind it; else in another unit */
    uint8_t  groups;  /* of a group: DbtGroups of the unit that goes on where it does not fit */
    DbtSite  site;
    Recipe   recipe; /* how the flags are made; RECIPE_NONE: they are in the frame */
};

/* Fields of a unit's code that depend on where it is, on either side. */
typedef enum RelocKind {
    RELOC_HOT,       /* rel32 to an offset in the hot part */
    RELOC_COLD,      /* rel32 to an offset in the cold part */
    RELOC_STUB,      /* rel32 to a stub */
    RELOC_UNIT,      /* imm64: the unit's address | value */
    RELOC_LINEAR,    /* imm64: a guest address that counts from rip */
    RELOC_JUMP,      /* disp32: the jump cache's slot of rip `value` */
    RELOC_JUMP_CODE, /* the same, its second half */
} RelocKind;

typedef struct Reloc {
    uint32_t at; /* offset of the field */
    bool     in_cold;
    uint8_t  kind;
    uint64_t value;
} Reloc;

struct DbtUnit {
    /* What is looked at of those that are passed by, in one line of the cache: */
    uint64_t       rip;  /* of the first instruction */
    uint64_t       key;  /* mode */
    const uint8_t *host; /* guest memory of the first byte */
    DbtUnit       *hash_next;
    uint8_t       *hot; /* executable view */
    uint16_t       n, len;
    bool           dead;
    uint8_t        groups; /* DbtGroups */
    uint8_t        mode, n_exits;
    uint16_t       range_start, range_len; /* bytes of the page that it depends on */
    Recipe         entry;                  /* flags at its start; RECIPE_NONE: in the frame */

    RamBlock *ram;
    uint64_t  ram_offset;
    uint8_t  *cold; /* executable view */
    uint32_t  hot_size, cold_size;
    uint32_t  page_at; /* where it is in its page's list */
    uint16_t  misfits; /* how often a group's check failed for what its page allows */
    uint8_t   n_c;
    uint8_t  vectors; /* it needs the guest's vector registers: offset in the hot part behind what loads them; 0: not */
    uint16_t n_places, n_looks;
    uint64_t checks;  /* instructions that check an address, a bit each */
    uint64_t may_run; /* those that may look into a run */
    size_t   bytes;   /* of this struct with what follows it: the arrays below */
    Reloc   *relocs;  /* of one that copies are made from: own memory */
    unsigned n_relocs;
    uint16_t *insn_off;  /* n + 1: from rip */
    uint32_t *insn_host; /* n + 1: where each begins in the hot part */
    X86Insn  *c;         /* instructions run in C */
    uint8_t  *c_of;      /* by instruction: number + 1, or 0 */
    DbtPlace *places;
    DbtLook  *looks;
    DbtExit  *incoming;
    DbtUnit  *source_next; /* of those */
    /* One instruction in two pages: the second, CS's base, without which its address is not known, and what stands for
     * the unit in that page's list. */
    const uint8_t *host2;
    uint64_t       base;
    DbtUnit       *second;
    DbtUnit       *stands_for;
    DbtExit       *exits;
};
G_STATIC_ASSERT(offsetof(DbtUnit, ram) == 64);

/* Whose host code is at this offset of the hot part. */
static inline unsigned dbt_insn_at(const DbtUnit *u, uint32_t offset)
{
    unsigned n = 0;
    while (n + 1 < u->n && u->insn_host[n + 1] <= offset) {
        n++;
    }
    return n;
}

/* A list of units by hash_next: the first in the low 48 bits, above it a bit for each that dbt_head_bit() says has been
 * in it, so that most who look in vain need not walk through it. */
typedef uint64_t DbtHead;

static inline DbtUnit *dbt_head_first(DbtHead head)
{
    return (DbtUnit *)(uintptr_t)(head << 16 >> 16);
}

static inline DbtHead dbt_head_bit(const uint8_t *host)
{
    return UINT64_C(1) << (48 + (uintptr_t)host % 16);
}

typedef struct DbtCounters {
    uint64_t units, insns, guest_bytes, hot_bytes, cold_bytes, killed, resets, relocated, besides, judged, judged_tlb,
        judged_run, retried, windows, window_pages;
} DbtCounters;

enum { DBT_HASH = 1 << 19, DBT_SOURCES = 1 << 17, DBT_STUB_SPACE = 64 << 10, DBT_PIECE = HUGE_PAGE };

/* Code memory is used in regions, one after the other; the oldest is emptied when a new one is needed. */
enum { DBT_REGIONS = 8 };

/* Where a unit's parts begin in its region: what is searched lies close together. In pieces, which nobody has to move
 * when more are needed. */
enum { DBT_STARTS = 1024 };
typedef struct DbtStart {
    uint32_t hot, cold;
    DbtUnit *unit;
} DbtStart;

typedef struct DbtRegion {
    uint8_t   *start;                     /* executable view */
    size_t     size, hot_used, cold_used; /* hot from the start, cold from the end */
    GPtrArray *starts;                    /* of DBT_STARTS DbtStart each, in the order of their addresses */
    unsigned   n_units;
    GArray *pages[2]; /* hot, cold: index of the first unit that begins in each page of 4 KiB or later (cold: from the
                         end) */
    HugeArena memory; /* the units and what they have */
} DbtRegion;

struct Dbt {
    GMutex              lock;
    uint8_t            *rx, *rw; /* the two views */
    size_t              size;
    uint8_t            *space; /* addresses that both lie in */
    size_t              space_size;
    bool               *pieces; /* of DBT_PIECE bytes: made a huge page */
    Ahead              *ahead;  /* touches memory before it is needed */
    DbtRegion           regions[DBT_REGIONS];
    unsigned            region; /* in use */
    const uint8_t      *stubs[N_STUBS];
    size_t              stub_size;
    DbtPages            pages;
    GHashTable         *besides; /* pages that were written beside code -> how often that was looked at */
    GHashTable         *misfits; /* first byte of units whose groups did not fit -> how often they were made anew */
    GHashTable         *advice;  /* first byte of instructions that access memory -> adapt.c */
    uint64_t            noted[DBT_NOTED / 64]; /* bits: what is in neither of the two has none */
    uint64_t           *branched;              /* DBT_FIRST_BITS: how often places were branched to; no lock */
    unsigned            n_branched;            /* of them in use, about */
    GPtrArray          *frames;
    DbtCell            *cells; /* DBT_CELLS, the first n_cells of which have been given out */
    uint32_t            n_cells, n_free_cells, free_cell;
    DbtHead            *hash;    /* DBT_HASH lists */
    DbtUnit           **sources; /* DBT_SOURCES lists: units that can be moved, by their code alone */
    DbtCounters         counters;
    DbtCalls            calls; /* of vCPUs that are gone */
    bool                full;  /* a region must be emptied before the next unit */
    RamCodeListener     listener;
    struct DbtScratch  *scratch;            /* of the translation that runs */
    struct DbtVerifier *verifier;           /* NULL: off */
    struct DbtPerf     *perf;               /* perf.c; NULL: nobody wants it */
    bool                no_links, no_jumps; /* -d exec, cpu, nochain: no direct links, nothing in jump caches */
    bool                mixed;              /* dbt_set_mixed() */
    unsigned            first_runs;         /* dbt_set_first() */
    bool                bmi2;               /* of the host */
    DbtWrites           writes;             /* the same */
};

/* What keeps units apart that lie at the same place: everything that decoding and checks depend on. */
static inline uint64_t dbt_key_of(const X86Cpu *cpu)
{
    return cpu->mode_key | cpu->segment_key | (uint64_t)x86_tlb_mode(cpu) << 32 |
           (uint64_t)(cpu->eflags & EFLAGS_DF) << 30;
}

/* What a jump cache is made for. Outside 64-bit mode it is for all code: its tags say for which. */
#define DBT_JUMPS_LEGACY (UINT64_C(1) << 63)

static inline uint64_t dbt_jump_key_of(const X86Cpu *cpu, uint64_t key)
{
    return cpu->code_size == X86_CODE64 ? key : DBT_JUMPS_LEGACY;
}

/* --- cache.c --- */
static inline ptrdiff_t dbt_writable(const Dbt *dbt)
{
    return dbt->rw - dbt->rx;
}

/* A slot for `host` of a table whose place for its page is h: code that lies together runs together, and its slots are
 * in few lines of the cache. */
static inline uint64_t dbt_slot_near(uint64_t h, const uint8_t *host)
{
    return (h >> 32 << 7) + ((uintptr_t)host >> 5 & 127);
}

static inline DbtHead *dbt_hash_slot(Dbt *dbt, const uint8_t *host, uint64_t key, uint64_t rip)
{
    uint64_t h = ((uint64_t)(uintptr_t)host >> X86_PAGE_BITS) * UINT64_C(0x9e3779b97f4a7c15) ^
                 key * UINT64_C(0xc2b2ae3d27d4eb4f) ^ (rip >> X86_PAGE_BITS) * UINT64_C(0x165667b19e3779f9);
    return &dbt->hash[dbt_slot_near(h, host) & (DBT_HASH - 1)];
}

static inline DbtUnit **dbt_source_slot(Dbt *dbt, const uint8_t *host)
{
    uint64_t h = (uint64_t)(uintptr_t)host * UINT64_C(0x9e3779b97f4a7c15);
    return &dbt->sources[h >> 32 & (DBT_SOURCES - 1)];
}

/* By vCPU threads that are inside, without the lock: units are freed only while nobody is. One that is just being
 * killed may be found: it is as if its code had run a moment earlier. */
static inline DbtUnit *dbt_lookup(Dbt *dbt, const uint8_t *host, uint64_t key, uint64_t rip, uint64_t linear,
                                  unsigned groups, const Recipe *entry)
{
    DbtHead  head = __atomic_load_n(dbt_hash_slot(dbt, host, key, rip), __ATOMIC_ACQUIRE);
    DbtUnit *u    = head & dbt_head_bit(host) ? dbt_head_first(head) : NULL;
    while (u && (u->host != host || u->key != key || u->rip != rip || u->groups != groups ||
                 !recipe_same(&u->entry, entry) || (u->host2 && u->base != linear - rip))) {
        u = __atomic_load_n(&u->hash_next, __ATOMIC_ACQUIRE);
    }
    return u;
}

/* Has dbt_kill() begun? Without the lock. What dbt_insert() was given is seen afterwards. */
static inline bool dbt_is_dead(const DbtUnit *u)
{
    return __atomic_load_n(&u->dead, __ATOMIC_ACQUIRE);
}

/* The rest with the lock held. */
bool     dbt_allocate(Dbt *dbt, size_t hot, size_t cold, uint8_t **hot_at, uint8_t **cold_at); /* false: full */
void     dbt_expect_unit(Dbt *dbt); /* a unit is on its way: its memory comes into the cache meanwhile */
void     dbt_insert(Dbt *dbt, DbtUnit *unit);
void     dbt_kill(Dbt *dbt, DbtUnit *unit);
void    *dbt_unit_memory(Dbt *dbt, size_t size);     /* for a unit in the region that the last dbt_allocate() took */
DbtUnit *dbt_unit_clone(Dbt *dbt, const DbtUnit *u); /* there too; not linked to anything, nor inserted */
void     dbt_link(Dbt *dbt, DbtExit *exit, DbtUnit *to);
void     dbt_join_incoming(DbtExit *exit, DbtUnit *to); /* of one that leads nowhere */
void     dbt_unlink(Dbt *dbt, DbtExit *exit);           /* nothing if it is not */
DbtUnit *dbt_unit_at(Dbt *dbt, const uint8_t *code);    /* by address in the executable view; NULL: in none */
void     dbt_empty_region(Dbt *dbt);                    /* nobody runs translated code */

/* Marked bytes [first, last] of the page at `offset` were written: kills the units that depend on them. Takes the lock;
 * a RamCodeListener's function. */
void dbt_ram_written(void *opaque, RamBlock *ram, uint64_t offset, uint64_t first, uint64_t last);

/* --- stubs.c --- */
void dbt_make_stubs(Dbt *dbt);

/* --- translate.c --- */
struct DbtScratch *dbt_scratch_new(void);
void               dbt_scratch_free(struct DbtScratch *s);

/* Where the code is. */
typedef struct DbtFetch {
    uint64_t       rip;
    uint64_t       key;
    const uint8_t *host; /* of the byte at rip */
    RamBlock      *ram;
    uint64_t       ram_offset;
    uint64_t       limit; /* bytes that may be fetched from rip on */
    unsigned       stop;  /* the unit ends after that many at the latest; 0: where it likes. For tests */
    uint64_t       linear;
    unsigned       page_offset; /* of linear */
    /* The second page of one instruction that crosses; host2 NULL: units end at the page's end. */
    const uint8_t *host2;
    RamBlock      *ram2;
    uint64_t       ram_offset2, linear2;
    Recipe         entry;
    unsigned       mode;   /* X86TlbMode */
    unsigned       groups; /* DbtGroups */
} DbtFetch;

/* Makes a unit and inserts it. Lock held. NULL: no instruction fits (it crosses the page), or the memory is full
 * (dbt->full). */
DbtUnit *dbt_translate(Dbt *dbt, X86Cpu *cpu, const DbtFetch *f);

/* --- relocate.c; lock held --- */
static inline bool dbt_may_move(uint64_t rip, unsigned mode)
{
    return mode == X86_TLB_USER && rip >> 32 && !(rip >> 47);
}

/* A copy of a unit of the same code at another rip; NULL: there is none. */
DbtUnit *dbt_relocate(Dbt *dbt, const DbtFetch *f);

/* Puts the fields into a unit's code, which has been copied to its place, `by` bytes of guest memory from where the
 * list was made for. */
void dbt_apply_relocs(Dbt *dbt, DbtUnit *u, const Reloc *relocs, unsigned n, uint64_t by);

/* --- verify.c --- */
void dbt_verify(Dbt *dbt, const DbtUnit *u); /* aborts when the unit is wrong; nothing when off. Lock held */

/* --- frame.c --- */
/* The unit at cpu->rip, found or translated, and in the jump cache if it has wide groups and no entry of its own. NULL:
 * the executor has to run the next instruction, or a region must be emptied first (dbt->full). Raises what fetching
 * raises. Lock not held; parks when it translates. */
DbtUnit *dbt_next_unit(DbtFrame *f, unsigned groups, const Recipe *entry); /* entry: NULL for none */
DbtUnit *dbt_far_unit(DbtFrame *f); /* the same for a cell: not in the jump cache, but flushed with it */

/* --- run.c --- */
/* Translates what dbt_next_unit() has not found. *again: something has changed meanwhile; told: pages, NULL at first,
 * that all vCPUs have been told of by then. Parked; lock not held. */
DbtUnit  *dbt_make_unit(DbtFrame *f, DbtFetch *fetch, const uint8_t *told[2], bool *again);
void      dbt_make_room(DbtFrame *f); /* parked; for dbt->full */
bool      dbt_decode_slow(X86Cpu *cpu, const DbtUnit *u, unsigned n, X86Insn *in);
DbtFrame *dbt_current_frame(void); /* this thread's, NULL outside dbt_loop() */

/* --- quick.c: called by stubs with only some of the guest's registers in X86Cpu --- */
enum { QUICK_JUMP, QUICK_CALL, QUICK_RETURN, QUICK_INT, QUICK_IRET };

/* ECX of STUB_QUICK_FAR: selector (JMP, CALL), operand size, which one. RAX is the offset, how much RET pops besides,
 * or the vector; frame.keep[0] is the address behind the instruction. */
static inline uint32_t dbt_quick_what(unsigned kind, unsigned opsize)
{
    return kind << 24 | opsize << 16;
}

/* The stub that loads a segment register in code that knows what kind of segment it has. */
static inline DbtStub dbt_quick_stub(unsigned seg, unsigned kind)
{
    return (DbtStub)(STUB_QUICK_SEGMENTS + seg * 8 + kind);
}

void           dbt_descriptors_flush(DbtFrame *f);
void           dbt_descriptors_check(DbtFrame *f); /* drops them if ring or tables have changed */
uint64_t       dbt_quick_segment(DbtFrame *f, uint64_t selector, uint64_t seg);
const uint8_t *dbt_quick_far(DbtFrame *f, uint64_t value, uint64_t what);

/* --- frame.c --- */
void dbt_sync_flush(DbtFrame *f); /* takes over cpu->tlb->changes */
void dbt_jumps_flush(DbtFrame *f, unsigned mode);
void dbt_micro_flush(DbtFrame *f, bool writes_only); /* runs too */

/* The jump cache's entry for the vCPU's rip; NULL: it has none. */
DbtJump *dbt_jump_find(DbtFrame *f, unsigned mode);

/* Outside 64-bit mode: bases and limits for code, and cs_tag, which the jump cache has above rip's 32 bits. Whenever C
 * goes back into translated code. In real and virtual-8086 mode cs_real is cs_tag without the selector. */
void dbt_take_segments(DbtFrame *f);
void dbt_take_segment(DbtFrame *f, unsigned seg);            /* of one alone, not CS */
void dbt_take_code(DbtFrame *f, uint64_t key, uint64_t tag); /* of CS, for code of which the tag is known */

/* The code at the vCPU's rip by the jump cache alone. NULL: look properly. */
const uint8_t *dbt_find_quickly(DbtFrame *f);
const uint8_t *dbt_find_tagged(DbtFrame *f, uint64_t tag); /* the same outside 64-bit mode, when cs_tag is right */

/* --- trace.c --- */
void dbt_watch_from(Dbt *dbt, const Log *log);                      /* lock held */
void dbt_watch_entry(DbtFrame *f, const DbtUnit *u);                /* parked; the unit is about to run */
void dbt_watch_copy(const Dbt *dbt, X86Cpu *cpu, const DbtUnit *u); /* by dbt_relocate(); lock held */

#endif
