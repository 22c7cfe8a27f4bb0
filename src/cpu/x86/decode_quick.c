/* Common integer instructions of 64-bit code, decoded without Zydis: an instruction is split into the bits that choose
 * its handler (its form) and its operands. What a form's handler wants is found out by decoding it properly, once: with
 * other register numbers and another immediate, whatever changes along is an operand.
 *
 * Specification: Intel SDM 2, chapter 2 and appendix A (December 2023). vCPU thread; part of the hot set. */

#include "cpu/x86/cache.h"

/* What follows an opcode, and what it is. 0: not decoded here. */
enum {
    M     = 0x01, /* ModRM */
    GROUP = 0x03, /* whose reg is part of the opcode */
    LOW   = 0x04, /* the low bits are a register */
    B     = 0x08, /* registers of 8 bits, which depend on whether there is a REX */
    I8    = 0x10,
    IZ    = 0x20, /* 16 or 32 bits */
    IV    = 0x30, /* as wide as the operand */
    REL8  = 0x40,
    REL32 = 0x50,
    IMM   = 0x70,
    PLAIN = 0x80, /* nothing follows */
};

#define ALU(first)                                                                                                     \
    [first] = M | B, [(first) + 1] = M, [(first) + 2] = M | B, [(first) + 3] = M, [(first) + 4] = I8, [(first) + 5] = IZ

static const uint8_t one_byte[256] = {
    ALU(0x00),
    ALU(0x08),
    ALU(0x10),
    ALU(0x18),
    ALU(0x20),
    ALU(0x28),
    ALU(0x30),
    ALU(0x38),
    [0x50 ... 0x5f] = LOW,    /* PUSH, POP */
    [0x63]          = M,      /* MOVSXD */
    [0x68]          = IZ,     /* PUSH */
    [0x69]          = M | IZ, /* IMUL */
    [0x6a]          = I8,
    [0x6b]          = M | I8,
    [0x70 ... 0x7f] = REL8, /* Jcc */
    [0x80]          = GROUP | B | I8,
    [0x81]          = GROUP | IZ,
    [0x83]          = GROUP | I8,
    [0x84]          = M | B, /* TEST */
    [0x85]          = M,
    [0x86]          = M | B, /* XCHG */
    [0x87]          = M,
    [0x88]          = M | B, /* MOV */
    [0x89]          = M,
    [0x8a]          = M | B,
    [0x8b]          = M,
    [0x8d]          = M,     /* LEA */
    [0x98 ... 0x99] = PLAIN, /* CDQE, CQO */
    [0xa8]          = I8,    /* TEST */
    [0xa9]          = IZ,
    [0xb0 ... 0xb7] = LOW | B | I8, /* MOV */
    [0xb8 ... 0xbf] = LOW | IV,
    [0xc0]          = GROUP | B | I8, /* shifts */
    [0xc1]          = GROUP | I8,
    [0xc3]          = PLAIN,          /* RET */
    [0xc6]          = GROUP | B | I8, /* MOV */
    [0xc7]          = GROUP | IZ,
    [0xc9]          = PLAIN,     /* LEAVE */
    [0xd0]          = GROUP | B, /* shifts */
    [0xd1]          = GROUP,
    [0xd2]          = GROUP | B,
    [0xd3]          = GROUP,
    [0xe8 ... 0xe9] = REL32, /* CALL, JMP */
    [0xeb]          = REL8,
    [0xf6]          = GROUP | B, /* TEST (which has an immediate), NOT ... IDIV */
    [0xf7]          = GROUP,
    [0xfe]          = GROUP | B, /* INC, DEC */
    [0xff]          = GROUP,     /* and CALL, JMP, PUSH */
};

static const uint8_t two_byte[256] = {
    [0x1f]          = M,     /* NOP */
    [0x40 ... 0x4f] = M,     /* CMOVcc */
    [0x80 ... 0x8f] = REL32, /* Jcc */
    [0x90 ... 0x9f] = M | B, /* SETcc */
    [0xa3 ... 0xa4] = M,     /* BT, SHLD */
    [0xab]          = M,     /* BTS */
    [0xaf]          = M,     /* IMUL */
    [0xb0]          = M | B, /* CMPXCHG */
    [0xb1]          = M,
    [0xb3]          = M,     /* BTR */
    [0xb6]          = M | B, /* MOVZX */
    [0xb7]          = M,
    [0xba]          = GROUP | I8, /* BT ... */
    [0xbb ... 0xbd] = M,          /* BTC, BSF, BSR */
    [0xbe]          = M | B,      /* MOVSX */
    [0xbf]          = M,
    [0xc0]          = M | B, /* XADD */
    [0xc1]          = M,
    [0xc8 ... 0xcf] = LOW, /* BSWAP */
};

enum {
    MAP_0F       = 0x100,
    KEY_66       = 0x200,
    KEY_W        = 0x400,
    KEY_REX      = 0x800,
    KEY_REGISTER = 0x1000,
    KEY_SAME     = 0x2000,
    KEY_EXT      = 14
};

typedef struct Split {
    uint32_t key; /* the form */
    uint8_t  what;
    uint8_t  seg; /* override, or X86_DS */
    uint8_t  rex; /* 0: there is none */
    uint8_t  opcode_at, modrm_at, imm_at, len;
    uint8_t  reg, rm; /* of ModRM with REX; rm also of LOW */
} Split;

/* Where a register operand's number comes from; _8: as 8-bit registers are kept. */
enum { FIXED, FROM_REG, FROM_REG_8, FROM_RM, FROM_RM_8 };

static unsigned imm_size(uint8_t what, uint32_t key)
{
    switch (what & IMM) {
    case I8:
    case REL8: return 1;
    case IZ: return key & KEY_66 && !(key & KEY_W) ? 2 : 4;
    case IV: return key & KEY_W ? 8 : key & KEY_66 ? 2 : 4;
    case REL32: return 4;
    default: return 0;
    }
}

/* false: nothing for here. */
static bool split(const uint8_t *p, Split *s)
{
    unsigned at = 0;

    s->key = 0;
    s->rex = 0;
    s->seg = X86_DS;
    for (;; at++) {
        if (p[at] == 0x66 && !(s->key & KEY_66)) {
            s->key |= KEY_66;
        } else if ((p[at] & 0xfe) == 0x64 && s->seg == X86_DS) {
            s->seg = p[at] == 0x64 ? X86_FS : X86_GS;
        } else {
            break;
        }
    }
    if ((p[at] & 0xf0) == 0x40) {
        s->rex = p[at++];
        s->key |= s->rex & 8 ? KEY_W : 0;
    }
    s->opcode_at = (uint8_t)at;
    uint8_t op   = p[at++];
    s->what      = one_byte[op];
    if (op == 0x0f) {
        op      = p[at++];
        s->what = two_byte[op];
        s->key |= MAP_0F;
    }
    bool lea = op == 0x8d && !(s->key & MAP_0F); /* has no segment */
    if (!s->what || (s->key & KEY_66 && (s->what & IMM) >= REL8) || (lea && s->seg != X86_DS)) {
        return false;
    }
    s->key |= (s->what & LOW ? op & 0xf8u : op) | (s->what & B && s->rex ? KEY_REX : 0u);
    s->rm       = (uint8_t)((op & 7) | (s->rex & 1) << 3);
    s->reg      = 0;
    s->modrm_at = 0;
    if (s->what & M) {
        uint8_t  modrm = p[at];
        unsigned mod = modrm >> 6, rm = modrm & 7, reg = modrm >> 3 & 7;
        s->modrm_at = (uint8_t)at++;
        s->reg      = (uint8_t)(reg | (s->rex & 4) << 1);
        s->rm       = (uint8_t)(rm | (s->rex & 1) << 3);
        if (mod == 3) {
            bool clear = s->reg == s->rm && (op & 0xfc) == 0x30; /* XOR of the same has a handler of its own */
            s->key |= KEY_REGISTER | (clear ? KEY_SAME : 0u);
        } else {
            bool no_base = mod == 0 && (rm == 5 || (rm == 4 && (p[at] & 7) == 5));
            at += (rm == 4) + (mod == 1 ? 1u : mod == 2 || no_base ? 4u : 0u);
        }
        if ((s->what & GROUP) == GROUP) {
            s->key |= (uint32_t)reg << KEY_EXT;
            if ((op & 0xfe) == 0xf6 && !(s->key & MAP_0F) && reg < 2) {
                s->what |= op & 1 ? IZ : I8;
            }
        }
    }
    s->imm_at = (uint8_t)at;
    s->len    = (uint8_t)(at + imm_size(s->what, s->key));
    return s->len <= 15;
}

static uint8_t register_of(uint8_t from, uint8_t fixed, const Split *s)
{
    unsigned n = from == FROM_REG || from == FROM_REG_8 ? s->reg : s->rm;
    switch (from) {
    case FROM_REG:
    case FROM_RM: return (uint8_t)n;
    case FROM_REG_8:
    case FROM_RM_8: return (uint8_t)(n >= 4 && !s->rex ? 8 * (n - 4) + 1 : 8 * n);
    default: return fixed;
    }
}

static int64_t number_at(const uint8_t *p, unsigned size)
{
    switch (size) {
    case 1: return (int8_t)*p;
    case 2: return (int16_t)x86_guest_get16(p);
    case 4: return (int32_t)x86_guest_get32(p);
    default: return (int64_t)x86_guest_get64(p);
    }
}

/* The memory operand, as x86_decode_memory() has it. */
static void put_memory(const uint8_t *p, const Split *s, X86Insn *in)
{
    unsigned mod = p[s->modrm_at] >> 6, rm = p[s->modrm_at] & 7;
    unsigned at = s->modrm_at + 1u, size = mod == 1 ? 1 : mod == 2 ? 4 : 0;

    if (rm == 4) {
        unsigned sib = p[at++], index = (sib >> 3 & 7) | (s->rex & 2) << 2;
        in->base  = (uint8_t)((sib & 7) | (s->rex & 1) << 3);
        in->index = index == X86_RSP ? X86_NO_REG : (uint8_t)index;
        in->scale = index == X86_RSP ? 0 : (uint8_t)(sib >> 6);
        if (mod == 0 && (sib & 7) == 5) {
            in->base = X86_NO_REG;
            size     = 4;
        }
    } else if (mod == 0 && rm == 5) {
        in->base = X86_RIP;
        size     = 4;
    } else {
        in->base = s->rm;
    }
    in->disp = size ? number_at(p + at, size) : 0;
    if (in->base == X86_RIP) {
        in->disp += s->len;
    }
    in->seg     = s->seg != X86_DS ? s->seg : in->base == X86_RSP || in->base == X86_RBP ? X86_SS : X86_DS;
    in->address = s->seg != X86_DS ? X86_ADDRESS_BASED : X86_ADDRESS_PLAIN;
}

static void put_insn(const X86QuickForm *f, const Split *s, const uint8_t *p, X86Insn *in)
{
    *in = (X86Insn){
        .run      = f->run,
        .flags    = f->flags,
        .len      = s->len,
        .opsize   = f->opsize,
        .addrsize = 8,
        .base     = X86_NO_REG,
        .index    = X86_NO_REG,
        .seg      = X86_DS,
        .reg      = register_of(f->reg_from, f->reg, s),
        .rm       = register_of(f->rm_from, f->rm, s),
        .reg3     = f->reg3,
        .aux      = f->aux,
    };
    if (s->what & M && !(s->key & KEY_REGISTER)) {
        put_memory(p, s, in);
    }
    unsigned size = imm_size(s->what, s->key);
    in->imm       = f->imm;
    if (size) {
        uint64_t v   = (uint64_t)number_at(p + s->imm_at, size);
        bool     rel = (s->what & IMM) >= REL8;
        in->imm      = rel ? v + s->len : f->imm_signed || size == 8 ? v : v & (UINT64_MAX >> (64 - 8 * size));
    }
}

/* --- finding out --- */

enum { PROBES = 2 };

static const uint8_t probe_reg[PROBES] = { 6, 5 }, probe_rm[PROBES] = { 3, 7 };

/* The same form with other operands: as bytes and split. */
static void make_probe(const uint8_t *p, const Split *s, unsigned n, uint8_t *bytes, Split *as)
{
    bool group = (s->what & GROUP) == GROUP;
    for (unsigned i = 0; i < X86_QUICK_BYTES; i++) {
        bytes[i] = p[i];
    }
    uint8_t *rex   = s->rex ? bytes + s->opcode_at - 1 : NULL;
    uint8_t *modrm = s->modrm_at ? bytes + s->modrm_at : NULL;
    unsigned rm    = s->key & KEY_SAME ? probe_reg[n] : probe_rm[n];
    if (modrm && !group) {
        *modrm = (uint8_t)((*modrm & 0xc7) | probe_reg[n] << 3);
        if (rex) {
            *rex &= 0xfb;
        }
    }
    if (modrm && s->key & KEY_REGISTER) {
        *modrm = (uint8_t)((*modrm & 0xf8) | rm);
    }
    if (s->what & LOW) {
        uint8_t *op = bytes + s->opcode_at + (s->key & MAP_0F ? 1 : 0);
        *op         = (uint8_t)((*op & 0xf8) | rm);
    }
    if (rex && (s->key & KEY_REGISTER || s->what & LOW)) {
        *rex &= 0xfe;
    }
    for (unsigned i = s->imm_at; i < s->len; i++) {
        bytes[i] = i + 1u == s->len ? 0x80 : 0;
    }
    split(bytes, as);
}

static uint8_t source_of(uint8_t a, uint8_t b, const Split probes[PROBES])
{
    static const uint8_t sources[] = { FROM_REG, FROM_RM, FROM_REG_8, FROM_RM_8 };
    for (unsigned i = 0; i < sizeof sources && a != b; i++) {
        if (register_of(sources[i], 0, &probes[0]) == a && register_of(sources[i], 0, &probes[1]) == b) {
            return sources[i];
        }
    }
    return FIXED;
}

static bool same_insn(const X86Insn *a, const X86Insn *b)
{
    return a->run == b->run && a->disp == b->disp && a->imm == b->imm && a->extra == b->extra &&
           a->rip_offset == b->rip_offset && a->address == b->address && a->flags == b->flags && a->len == b->len &&
           a->opsize == b->opsize && a->addrsize == b->addrsize && a->base == b->base && a->index == b->index &&
           a->scale == b->scale && a->seg == b->seg && a->reg == b->reg && a->rm == b->rm && a->reg3 == b->reg3 &&
           a->prefixes == b->prefixes && a->aux == b->aux;
}

/* Any other answer than what the decoder says makes the form one that is not decoded here. */
static void learn(X86Cpu *cpu, const uint8_t *p, const Split *s, X86QuickForm *f)
{
    X86Insn in[PROBES], real, quick;
    Split   as[PROBES];
    uint8_t bytes[X86_QUICK_BYTES] = { 0 };
    bool    ok                     = true;

    x86_park(cpu);
    for (unsigned n = 0; n < PROBES; n++) {
        make_probe(p, s, n, bytes, &as[n]);
        ok &= as[n].key == s->key && x86_decode_insn(cpu, bytes, X86_QUICK_BYTES - 1, 0, &in[n]) == DECODE_OK;
    }
    ok &= x86_decode_insn(cpu, p, X86_QUICK_BYTES - 1, 0, &real) == DECODE_OK && !(real.flags & X86_INSN_PARKED) &&
          !(real.flags & X86_INSN_ENDS && !(real.flags & X86_INSN_TRANSFER));
    if (ok) {
        *f = (X86QuickForm){
            .run        = real.run,
            .key        = s->key,
            .flags      = real.flags,
            .opsize     = real.opsize,
            .aux        = real.aux,
            .imm        = (uint8_t)real.imm,
            .reg        = real.reg,
            .rm         = real.rm,
            .reg3       = real.reg3,
            .reg_from   = source_of(in[0].reg, in[1].reg, as),
            .rm_from    = source_of(in[0].rm, in[1].rm, as),
            .imm_signed = in[0].imm >> 63,
        };
        put_insn(f, s, p, &quick);
        ok = same_insn(&quick, &real);
        for (unsigned n = 0; n < PROBES && ok; n++) {
            make_probe(p, s, n, bytes, &as[n]);
            put_insn(f, &as[n], bytes, &quick);
            ok = same_insn(&quick, &in[n]);
        }
    }
    if (!ok) {
        *f = (X86QuickForm){ .run = NULL, .key = s->key };
    }
}

bool x86_decode_quick(X86Cpu *cpu, const uint8_t *bytes, X86Insn *in)
{
    uint8_t p[X86_QUICK_BYTES] = { 0 };
    Split   s;

    for (unsigned i = 0; i < X86_QUICK_BYTES; i += 8) {
        x86_guest_put64(p + i, x86_guest_get64(bytes + i));
    }
    if (!split(p, &s)) {
        return false;
    }
    X86QuickForm *f = &cpu->cache->forms[s.key * UINT64_C(0x9e3779b97f4a7c15) >> (64 - X86_QUICK_BITS)];
    if (f->key != s.key || !f->known) {
        X86QuickForm *other = &cpu->cache->forms[(f - cpu->cache->forms) ^ 1];
        f                   = f->known && (other->key == s.key || !other->known) ? other : f;
        if (f->key != s.key || !f->known) {
            learn(cpu, p, &s, f);
            f->known = true;
        }
    }
    if (!f->run) {
        return false;
    }
    put_insn(f, &s, p, in);
    return true;
}
