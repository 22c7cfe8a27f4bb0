/* The block cache: finding blocks by linear address and by memory, building them, checking stale ones.
 *
 * Code is marked in its RAM pages before it is read for good: whoever writes it afterwards bumps the generation, and
 * nobody still has a fast way to write it without being seen. vCPU thread, inside x86_run(). */

#include "cpu/x86/cache.h"

enum { CHUNK_SIZE = 1 << 20, MAX_CHUNKS = 128, MAX_BLOCK_BYTES = CACHE_BLOCK_INSNS * ZYDIS_MAX_INSTRUCTION_LENGTH };

/* --- memory --- */

/* Blocks that lie about look at the pages of RAM that may have been unplugged meanwhile. */
static void note_ram(X86Cache *c, RamBlock *ram)
{
    if (ram && !g_ptr_array_find(c->rams, ram, NULL)) {
        g_ptr_array_add(c->rams, ram_block_ref(ram));
    }
}

static void forget_rams(X86Cache *c)
{
    for (guint i = 0; i < c->rams->len; i++) {
        ram_block_unref(c->rams->pdata[i]);
    }
    g_ptr_array_set_size(c->rams, 0);
}

static void reset(X86Cache *c)
{
    forget_rams(c);
    memset(c->jumps, 0, sizeof c->jumps);
    memset(c->hash, 0, sizeof c->hash);
    c->chunk = 0;
    c->used  = 0;
    c->resets++;
}

static void *allocate(X86Cache *c, size_t size)
{
    size = (size + 15) & ~(size_t)15;
    if (c->used + size > CHUNK_SIZE) {
        if (c->chunk + 1 == MAX_CHUNKS) {
            reset(c);
        } else {
            c->chunk++;
            c->used = 0;
        }
    }
    if (c->chunk == c->chunks->len) {
        g_ptr_array_add(c->chunks, g_malloc(CHUNK_SIZE));
    }
    void *p = (uint8_t *)g_ptr_array_index(c->chunks, c->chunk) + c->used;
    c->used += size;
    return p;
}

bool x86_exec_init(X86Cpu *cpu, Error *err)
{
    X86Cache *c     = g_new0(X86Cache, 1);
    c->chunks       = g_ptr_array_new_with_free_func(g_free);
    c->rams         = g_ptr_array_new();
    c->breakpoints  = g_array_new(false, false, sizeof(uint64_t));
    c->request_mask = UINT32_MAX;
    cpu->cache      = c;
    x86_park_init(cpu);
    return x86_vector_init(err) && (cpu->tlb || x86_tlb_init(cpu, err));
}

void x86_exec_free(X86Cpu *cpu)
{
    if (cpu->cache) {
        forget_rams(cpu->cache);
        g_ptr_array_free(cpu->cache->rams, true);
        g_ptr_array_free(cpu->cache->chunks, true);
        g_array_free(cpu->cache->breakpoints, true);
        g_free(cpu->cache);
        cpu->cache = NULL;
    }
    x86_tlb_free(cpu);
}

/* --- finding --- */

static Block **hash_slot(X86Cache *c, const uint8_t *host, uint32_t mode_key)
{
    uint64_t h = (uint64_t)(uintptr_t)host ^ (uint64_t)mode_key << 20;
    h *= UINT64_C(0x9e3779b97f4a7c15);
    return &c->hash[h >> 48];
}

static Block *hash_find(X86Cache *c, const uint8_t *host, uint32_t mode_key)
{
    Block *b = *hash_slot(c, host, mode_key);
    while (b && (b->host != host || b->mode_key != mode_key)) {
        b = b->hash_next;
    }
    return b;
}

static void hash_remove(X86Cache *c, Block *b)
{
    Block **at = hash_slot(c, b->host, b->mode_key);
    while (*at && *at != b) {
        at = &(*at)->hash_next;
    }
    if (*at) {
        *at = b->hash_next;
    }
}

/* --- tracking --- */

static unsigned first_len(const Block *b)
{
    return b->two_pages ? X86_PAGE_SIZE - (unsigned)(b->ram_offset[0] & X86_PAGE_MASK) : b->len;
}

/* Makes writes to the block's bytes visible as generations. Returns false when others may have run meanwhile: what was
 * found by address has to be looked up again. */
static bool mark(X86Cpu *cpu, Block *b)
{
    bool     fresh = false;
    unsigned first = first_len(b);

    if (ram_block_mark_code(b->ram[0], b->ram_offset[0], first)) {
        fresh = true;
        x86_tlb_forbid_writes(cpu, b->host - (b->ram_offset[0] & X86_PAGE_MASK));
    }
    if (b->two_pages && ram_block_mark_code(b->ram[1], b->ram_offset[1], b->len - first)) {
        fresh = true;
        x86_tlb_forbid_writes(cpu, b->host2);
    }
    if (fresh && vcpu_group_size(cpu->vcpu.group) > 1) {
        uint64_t epoch = cpu->tlb ? x86_tlb_epoch(cpu) : 0;
        vcpu_flush_all(cpu->vcpu.group, &cpu->vcpu);
        x86_take_flush_request(cpu);
        return epoch == x86_tlb_epoch(cpu);
    }
    return true;
}

static void take_gens(Block *b)
{
    b->gens[0] = atomic_load_explicit(&b->pages[0]->code_gen, memory_order_acquire);
    b->gens[1] = atomic_load_explicit(&b->pages[1]->code_gen, memory_order_acquire);
}

/* Nobody who still points at the block takes it for fresh again. */
static void discard(X86Cache *c, Block *b)
{
    hash_remove(c, b);
    b->pages[0] = b->pages[1] = &c->no_page;
    b->gens[0] = b->gens[1] = 1;
}

static bool bytes_match(const Block *b)
{
    uint8_t  now[MAX_BLOCK_BYTES];
    unsigned first = first_len(b);

    ram_copy_out(now, b->host, first);
    if (b->two_pages) {
        ram_copy_out(now + first, b->host2, b->len - first);
    }
    return memcmp(now, b->bytes, b->len) == 0;
}

/* --- building --- */

/* Where code comes from. */
typedef struct Fetch {
    uint64_t   linear;
    X86TlbPage page;  /* of the first byte; a copy */
    unsigned   left;  /* bytes to the end of that page */
    uint64_t   limit; /* bytes to the end of the code segment */
} Fetch;

/* Reads `n` bytes at `at` from the start: RAM, or one byte after the other from whatever else is there. */
static void fetch_bytes(X86Cpu *cpu, const X86TlbPage *page, unsigned offset, uint8_t *to, unsigned n)
{
    if (page->host) {
        ram_copy_out(to, page->host + offset, n);
        return;
    }
    for (unsigned i = 0; i < n; i++) {
        to[i] = (uint8_t)x86_io_load(cpu, cpu->vcpu.memory, page->physical + offset + i, 1);
    }
}

typedef struct Draft {
    X86Insn    insns[CACHE_BLOCK_INSNS];
    uint8_t    bytes[MAX_BLOCK_BYTES];
    unsigned   n, len;
    bool       two_pages;
    X86TlbPage second;
} Draft;

static void raise_limit(X86Cpu *cpu, const X86Insn *in)
{
    x86_raise(cpu, X86_GP);
}

/* Decodes from f on into the draft: up to the end of the page, or one instruction that crosses it. */
static void decode_block(X86Cpu *cpu, const Fetch *f, Draft *d, unsigned max)
{
    unsigned start = (unsigned)(f->linear & X86_PAGE_MASK);

    d->n = d->len = 0;
    d->two_pages  = false;
    while (d->n < max) {
        X86Insn *in = &d->insns[d->n];
        uint8_t  buf[ZYDIS_MAX_INSTRUCTION_LENGTH];
        unsigned in_page = f->left - d->len;
        unsigned have    = MIN(in_page, (unsigned)sizeof buf);
        bool     limited = f->limit - d->len < sizeof buf;
        if (limited) {
            have = MIN(have, (unsigned)(f->limit - d->len));
        }
        fetch_bytes(cpu, &f->page, start + d->len, buf, have);
        DecodeResult r = have ? x86_decode_insn(cpu, buf, have, d->len, in) : DECODE_MORE;

        if (r == DECODE_MORE) {
            if (d->n) {
                return; /* starts the next block */
            }
            unsigned more = (unsigned)sizeof buf - have;
            if (limited) {
                more = MIN(more, (unsigned)(f->limit - have));
            }
            if (have == in_page && more) {
                /* The page of the rest: its fault is this instruction's. */
                uint64_t next = f->linear + in_page;
                if (cpu->code_size != X86_CODE64) {
                    next = (uint32_t)next;
                }
                d->second    = *x86_translate(cpu, x86_tlb_mode(cpu), next, X86_FETCH);
                d->two_pages = true;
                fetch_bytes(cpu, &d->second, 0, buf + have, more);
                have += more;
                r = x86_decode_insn(cpu, buf, have, 0, in);
            }
            if (r == DECODE_MORE) {
                /* The segment's limit cuts it off. */
                *in = (X86Insn){ .run = raise_limit, .len = 1, .flags = X86_INSN_ENDS | X86_INSN_PARKED };
            }
        }

        memcpy(d->bytes + d->len, buf, in->len);
        d->len += in->len;
        d->n++;
        if (d->two_pages && d->len <= in_page) {
            d->two_pages = false; /* it did not need the second page after all */
        }
        if ((in->flags & X86_INSN_ENDS) || d->two_pages || d->len >= f->left || d->len >= f->limit) {
            return;
        }
    }
}

static Block *block_from(X86Cpu *cpu, const Fetch *f, const Draft *d)
{
    X86Cache *c = cpu->cache;
    Block    *b = allocate(c, sizeof(Block) + d->n * sizeof(X86Insn) + d->len);

    *b = (Block){
        .mode_key      = cpu->mode_key,
        .n             = (uint16_t)d->n,
        .len           = (uint16_t)d->len,
        .two_pages     = d->two_pages,
        .pages         = { &c->no_page, &c->no_page },
        .volatile_code = true,
    };
    memcpy(b->insns, d->insns, d->n * sizeof(X86Insn));
    uint8_t *bytes = (uint8_t *)&b->insns[d->n];
    memcpy(bytes, d->bytes, d->len);
    b->bytes = bytes;
    if (!f->page.host || (d->two_pages && !d->second.host)) {
        return b;
    }

    unsigned start   = (unsigned)(f->linear & X86_PAGE_MASK);
    b->volatile_code = false;
    b->host          = f->page.host + start;
    b->ram[0]        = f->page.ram;
    b->ram_offset[0] = f->page.ram_offset + start;
    b->pages[0]      = ram_block_page(b->ram[0], b->ram_offset[0]);
    note_ram(c, b->ram[0]);
    b->pages[1] = b->pages[0];
    if (d->two_pages) {
        b->host2         = d->second.host;
        b->ram[1]        = d->second.ram;
        b->ram_offset[1] = d->second.ram_offset;
        b->pages[1]      = ram_block_page(b->ram[1], b->ram_offset[1]);
        note_ram(c, b->ram[1]);
    }
    return b;
}

/* Is the second page of a block where it was when the block was made? Raises the fault of fetching it. */
static bool second_page_matches(X86Cpu *cpu, const Block *b, uint64_t linear)
{
    uint64_t next = (linear | X86_PAGE_MASK) + 1;
    if (cpu->code_size != X86_CODE64) {
        next = (uint32_t)next;
    }
    return x86_translate(cpu, x86_tlb_mode(cpu), next, X86_FETCH)->host == b->host2;
}

Block *block_find(X86Cpu *cpu)
{
    X86Cache *c      = cpu->cache;
    uint64_t  rip    = cpu->rip;
    uint64_t  linear = rip;
    uint64_t  limit  = UINT64_MAX;

    if (cpu->code_size != X86_CODE64) {
        const X86Segment *cs = &cpu->seg[X86_CS];
        if (rip > cs->limit) {
            x86_raise(cpu, X86_GP);
        }
        linear = (uint32_t)(cs->base + rip);
        limit  = (uint64_t)cs->limit - rip + 1;
    } else if (x86_canonical(cpu, linear)) {
        limit = x86_code_room(cpu, linear);
    }
    JumpEntry *j = &c->jumps[(linear ^ linear >> 12) % CACHE_JUMP_SIZE];
    if (j->linear == linear && j->epoch == x86_tlb_epoch(cpu) && j->mode_key == cpu->mode_key && j->block &&
        block_fresh(j->block) && j->block->len <= limit) {
        return j->block;
    }

    if (cpu->code_size == X86_CODE64 && !x86_canonical(cpu, linear)) {
        x86_raise(cpu, X86_GP);
    }
    for (;;) {
        Fetch f = { .linear = linear, .left = X86_PAGE_SIZE - (linear & X86_PAGE_MASK), .limit = limit };
        f.page  = *x86_translate(cpu, x86_tlb_mode(cpu), linear, X86_FETCH);

        Block *b = NULL;
        if (f.page.host) {
            b = hash_find(c, f.page.host + (linear & X86_PAGE_MASK), cpu->mode_key);
        }
        if (b && b->len > limit) {
            b = NULL; /* decode what the limit leaves */
        } else if (b && ((b->two_pages && !second_page_matches(cpu, b, linear)) || b->ram[0] != f.page.ram)) {
            hash_remove(c, b);
            b = NULL;
        } else if (b && !block_fresh(b)) {
            take_gens(b); /* before the mark: a write after this makes the block stale again */
            bool still = mark(cpu, b);
            if (!still || !bytes_match(b)) {
                discard(c, b);
                b = NULL;
            }
            if (!still) {
                continue;
            }
        }
        if (!b) {
            Draft d;
            decode_block(cpu, &f, &d, CACHE_BLOCK_INSNS);
            b = block_from(cpu, &f, &d);
            if (log_on(cpu->vcpu.log, LOG_IN_ASM)) {
                x86_log_code(cpu, b->bytes, b->len, linear);
            }
            if (b->volatile_code) {
                return b;
            }
            take_gens(b);
            if (!mark(cpu, b)) {
                continue;
            }
            if (!bytes_match(b)) {
                continue; /* written while it was decoded */
            }
            if (limit < (uint64_t)b->len + ZYDIS_MAX_INSTRUCTION_LENGTH) {
                return b; /* made for this limit: others must not find it */
            }
            Block **slot = hash_slot(c, b->host, b->mode_key);
            b->hash_next = *slot;
            *slot        = b;
        }
        *j = (JumpEntry){ .linear = linear, .epoch = x86_tlb_epoch(cpu), .block = b, .mode_key = cpu->mode_key };
        return b;
    }
}
