/* Decoded blocks: runs of instructions that lie in one page (or one instruction that lies in two), found by where they
 * are in memory and the mode they were decoded for. They hold no linear addresses, so that every mapping of the page
 * shares them.
 *
 * A block is valid while the code generation of its pages stands where it stood. A stale one is compared with memory
 * again before it is thrown away: much that is written lies only near code. One cache a vCPU; its thread. */

#ifndef QUERN_CPU_X86_CACHE_H
#define QUERN_CPU_X86_CACHE_H

#include "cpu/x86/ops.h"

#include "memory/ram.h"

enum { CACHE_BLOCK_INSNS = 64 };

typedef struct Block Block;

/* A successor found before. Links inside a page hold always; others while the epoch stands and at that address. */
typedef struct BlockLink {
    Block   *to;
    uint64_t epoch; /* CACHE_ALWAYS, or x86_tlb_epoch() */
    uint64_t rip;
} BlockLink;

#define CACHE_ALWAYS UINT64_C(0)

struct Block {
    BlockLink      links[2]; /* X86_BRANCH_NEXT and _TAKEN */
    const RamPage *pages[2]; /* the same twice when the block lies in one */
    uint32_t       gens[2];
    uint32_t       mode_key;
    uint16_t       n, len; /* instructions, bytes */
    bool           two_pages;
    bool           volatile_code; /* not from RAM: used once */
    const uint8_t *host, *host2;  /* of the first byte; of the second page */
    RamBlock      *ram[2];
    uint64_t       ram_offset[2];
    Block         *hash_next;
    const uint8_t *bytes; /* as they were decoded */
    X86Insn        insns[];
};

typedef struct JumpEntry {
    uint64_t linear, epoch;
    Block   *block;
    uint32_t mode_key;
} JumpEntry;

enum { CACHE_JUMP_SIZE = 4096, CACHE_HASH_SIZE = 1 << 16 };

typedef struct Decoders {
    ZydisDecoder decoder;
    bool         ready;
} Decoders;

/* What decode_quick.c knows of instructions that differ in their operands only. */
typedef struct X86QuickForm {
    X86Handler run; /* NULL: they are left to x86_decode_insn() */
    uint32_t   key;
    bool       known, imm_signed;
    uint8_t    flags, opsize, aux;
    uint8_t    imm; /* where the instruction has none that is encoded: of shifts by 1 */
    uint8_t    reg, rm, reg3, reg_from, rm_from;
} X86QuickForm;

enum { X86_QUICK_BITS = 10, X86_QUICK_BYTES = 16 };

struct X86Cache {
    JumpEntry    jumps[CACHE_JUMP_SIZE];
    Block       *hash[CACHE_HASH_SIZE];
    Decoders     decoders[4][3]; /* kind of code, stack width */
    X86QuickForm forms[1 << X86_QUICK_BITS];
    GPtrArray   *chunks;  /* memory of the blocks */
    GPtrArray   *rams;    /* RamBlock *: those that blocks lie in, a reference each */
    unsigned     chunk;   /* in use */
    size_t       used;    /* of that chunk */
    uint64_t     resets;  /* how often all blocks were thrown away */
    RamPage      no_page; /* for code that is not in RAM */
    Block       *current; /* while it runs */

    GArray *breakpoints; /* the debugger's, linear addresses; changed while the vCPU is outside */

    /* What x86_raise_software() leaves. */
    X86Event software_event;
    unsigned software_vector;

    bool     one_insn;     /* x86_step() */
    bool     single_insns; /* x86_set_one_insn() */
    bool     one_block;    /* the run loop's rounds end after one block */
    bool     no_step_trap; /* this instruction ends without a single-step trap */
    uint32_t request_mask; /* requests that can be taken now; INTR only if IF is set too */
    unsigned pauses;       /* PAUSE instructions so far */
    uint32_t attention;    /* ATTENTION_*: the next block needs more than running it */
};

enum {
    ATTENTION_EXIT  = 1, /* cpu->exit_wanted */
    ATTENTION_TRAP  = 2, /* data breakpoints hit */
    ATTENTION_STEP  = 4, /* TF or RF: one instruction at a time */
    ATTENTION_BREAK = 8, /* instruction breakpoints */
};

/* Requests that wait and can be taken now. */
static inline uint32_t x86_requests_due(const X86Cpu *cpu)
{
    uint32_t requests = vcpu_requests(&cpu->vcpu) & cpu->cache->request_mask;
    return cpu->eflags & EFLAGS_IF ? requests : requests & ~(uint32_t)X86_REQUEST_INTR;
}

static inline bool block_fresh(const Block *b)
{
    return b->gens[0] == atomic_load_explicit(&b->pages[0]->code_gen, memory_order_acquire) &&
           b->gens[1] == atomic_load_explicit(&b->pages[1]->code_gen, memory_order_acquire);
}

/* Has the block that is running changed itself? */
static inline bool x86_code_changed(const X86Cpu *cpu)
{
    return cpu->cache->current && !block_fresh(cpu->cache->current);
}

/* The block at cpu->rip, found or decoded. Raises what fetching it raises. */
Block *block_find(X86Cpu *cpu);

static inline uint64_t x86_linear_rip(const X86Cpu *cpu)
{
    return cpu->code_size == X86_CODE64 ? cpu->rip : (uint32_t)(cpu->seg[X86_CS].base + cpu->rip);
}

/* The executor: runs blocks until something needs the outer loop, `max` instructions of the first. Parked. */
void x86_run_blocks(X86Cpu *cpu, unsigned max);

/* Decodes one instruction that is the `offset`th byte of its block from up to 15 bytes. */
typedef enum DecodeResult { DECODE_OK, DECODE_MORE /* bytes are needed */ } DecodeResult;
DecodeResult x86_decode_insn(X86Cpu *cpu, const uint8_t *bytes, unsigned len, unsigned offset, X86Insn *in);

/* The same for common instructions of 64-bit code that begin a block and lie in X86_QUICK_BYTES bytes of guest memory,
 * much faster; false: ask x86_decode_insn(). Part of the hot set; parks now and then. */
bool x86_decode_quick(X86Cpu *cpu, const uint8_t *bytes, X86Insn *in);

/* Zydis alone, in the decoder of the current mode, for the translator; false: no instruction. `op` has room for
 * ZYDIS_MAX_OPERAND_COUNT. */
bool x86_decode_raw(X86Cpu *cpu, const uint8_t *bytes, unsigned len, ZydisDecodedInstruction *z,
                    ZydisDecodedOperand *op);

/* Fills in the memory operand; in->len and rip_offset are set, and addrsize as far as it counts. */
void x86_decode_memory(const X86Cpu *cpu, X86Insn *in, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *op);

/* Writes instructions to the log (-d in_asm): `len` bytes of code of the current mode at a linear address. */
void x86_log_code(X86Cpu *cpu, const uint8_t *bytes, unsigned len, uint64_t linear);

/* Writes to the log that a block of `n` instructions at cpu->rip is about to run (-d exec, cpu). */
void x86_log_entry(X86Cpu *cpu, unsigned n);

#endif
