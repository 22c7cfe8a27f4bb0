/* Segment registers: the descriptor tables that host and guest have in common, and operands that name their entries.
 *
 * The host's GDT is the kernel's. Of it ring 3 sees three descriptors, which the guest has at the same places; all
 * others are of ring 0, or absent, and so are the guest's. The LDT is the test's. */

#include "insn.h"

#include <string.h>

const struct user_desc test_ldt[N_LDT] = {
    [1] = { .entry_number = 1, .base_addr = CODE_BASE, .limit = 0xffff, .contents = 2 },
    [2] = { .entry_number = 2, .base_addr = DATA_BASE, .limit = 0xffff },
    [3] = { .entry_number = 3, .limit = 0xfffff, .limit_in_pages = 1, .seg_32bit = 1, .read_exec_only = 1 },
    [4] = { .entry_number   = 4,
            .limit          = 0xfffff,
            .limit_in_pages = 1,
            .seg_32bit      = 1,
            .read_exec_only = 1,
            .contents       = 2 },
    [5] = { .entry_number = 5, .limit = 0xfff, .seg_32bit = 1, .contents = 3, .seg_not_present = 1 },
    [6] = { .entry_number = 6, .base_addr = 0x1000, .limit = 0x1000, .seg_32bit = 1, .contents = 1, .useable = 1 },
    [7] = { .entry_number = 7, .limit = 0xffff, .seg_not_present = 1 },
};

/* The descriptor that Linux makes of it. */
uint64_t ldt_descriptor(const struct user_desc *d)
{
    uint64_t type = 1 | (uint64_t)!d->read_exec_only << 1 | (uint64_t)d->contents << 2;
    uint64_t attr = type | 0x70 | (uint64_t)!d->seg_not_present << 7 | (uint64_t)d->useable << 12 |
                    (uint64_t)d->seg_32bit << 14 | (uint64_t)d->limit_in_pages << 15;
    return (d->limit & 0xffff) | (uint64_t)(d->base_addr & 0xffffff) << 16 | (attr & 0xff) << 40 |
           (uint64_t)(d->limit >> 16) << 48 | (attr >> 12) << 52 | (uint64_t)(d->base_addr >> 24) << 56;
}

static unsigned below(GRand *random, unsigned n)
{
    return (unsigned)g_rand_int_range(random, 0, (gint32)n);
}

static uint16_t a_selector(GRand *random)
{
    static const uint16_t list[] = {
        CS_64,      CS_32,      SS_64,      CS_16,      DS_16,      SS_64,      CS_64,          CS_32, CS_16,
        DS_16,      3 << 3 | 7, 4 << 3 | 7, 5 << 3 | 7, 6 << 3 | 7, 7 << 3 | 7, N_LDT << 3 | 7, /* LDT, and behind it */
        0,          3,          1,          0x10,       0x13,       0x43,       0x63, /* null, the kernel's, empty */
        CS_64 & ~3, SS_64 & ~3, DS_16 & ~3, 0x83,       0xfffb, /* ring 0 asked for; behind the GDT */
    };
    return list[below(random, G_N_ELEMENTS(list))];
}

/* Where control may go: only the next instruction's address counts, nothing is run there. */
static uint64_t an_offset(GRand *random)
{
    switch (below(random, 4)) {
    case 0: return below(random, 0x8000);
    case 1: return CODE_BASE + below(random, CODE_SIZE);
    case 2: return CODE_BASE;
    default: return state_integer(random);
    }
}

static bool is_iret(const ZydisDecodedInstruction *d)
{
    return d->mnemonic == ZYDIS_MNEMONIC_IRET || d->mnemonic == ZYDIS_MNEMONIC_IRETD ||
           d->mnemonic == ZYDIS_MNEMONIC_IRETQ;
}

static bool is_far(const ZydisDecodedInstruction *d)
{
    return d->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
}

static bool loads_pointer(const ZydisDecodedInstruction *d)
{
    return d->mnemonic == ZYDIS_MNEMONIC_LDS || d->mnemonic == ZYDIS_MNEMONIC_LES ||
           d->mnemonic == ZYDIS_MNEMONIC_LFS || d->mnemonic == ZYDIS_MNEMONIC_LGS || d->mnemonic == ZYDIS_MNEMONIC_LSS;
}

static bool is_base(const ZydisDecodedInstruction *d)
{
    return d->mnemonic == ZYDIS_MNEMONIC_RDFSBASE || d->mnemonic == ZYDIS_MNEMONIC_RDGSBASE ||
           d->mnemonic == ZYDIS_MNEMONIC_WRFSBASE || d->mnemonic == ZYDIS_MNEMONIC_WRGSBASE;
}

static bool names_segment(const ZydisDecodedInstruction *d, const ZydisDecodedOperand *op)
{
    for (unsigned i = 0; i < d->operand_count; i++) {
        if (op[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            ZydisRegisterGetClass(op[i].reg.value) == ZYDIS_REGCLASS_SEGMENT &&
            op[i].visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN) {
            return true;
        }
    }
    return false;
}

bool touches_segments(const ZydisDecodedInstruction *d, const ZydisDecodedOperand *op)
{
    return loads_pointer(d) || is_base(d) || is_far(d) || is_iret(d) || names_segment(d, op);
}

static bool takes_selector(const ZydisDecodedInstruction *d, const ZydisDecodedOperand *op)
{
    bool asks = d->mnemonic == ZYDIS_MNEMONIC_LAR || d->mnemonic == ZYDIS_MNEMONIC_LSL ||
                d->mnemonic == ZYDIS_MNEMONIC_VERR || d->mnemonic == ZYDIS_MNEMONIC_VERW;
    return asks || (touches_segments(d, op) && !is_base(d));
}

/* Slots of the frame that IRET and far RET pop: RIP, CS, then RFLAGS, RSP, SS. */
static void fill_frame(State *s, const Instance *in, uint64_t at, GRand *random)
{
    unsigned size = in->d.operand_width / 8;
    if (at + 5 * size > DATA_TOTAL) {
        return;
    }
    uint64_t flags = (g_rand_int(random) & 0x40cd5) | 0x102; /* steps go on */
    if (at % size) {
        flags &= ~UINT64_C(0x40000); /* Linux takes the #AC that IRET then raises for one of a split lock */
    }
    uint64_t slots[5] = { an_offset(random), a_selector(random), flags, DATA_BASE + below(random, DATA_SIZE),
                          a_selector(random) };
    for (unsigned i = 0; i < (is_iret(&in->d) ? 5 : 2); i++) {
        store_le(s->data + at + i * size, slots[i], size);
    }
}

void segments_place(State *s, Instance *in, GRand *random)
{
    if (!takes_selector(&in->d, in->op)) {
        return;
    }
    for (unsigned i = 0; i < in->d.operand_count; i++) {
        ZydisDecodedOperand *op = &in->op[i];
        if (op->type == ZYDIS_OPERAND_TYPE_POINTER) {
            unsigned size = in->d.operand_width / 8;
            store_le(in->code + in->len - 2, a_selector(random), 2);
            store_le(in->code + in->len - 2 - size, an_offset(random), size);
            form_decode(in->form->mode, in->code, in->len, &in->d, in->op);
        } else if (op->type == ZYDIS_OPERAND_TYPE_REGISTER && op->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT &&
                   op->actions & ZYDIS_OPERAND_ACTION_MASK_READ && op->reg.value >= ZYDIS_REGISTER_AX &&
                   op->reg.value <= ZYDIS_REGISTER_R15) {
            unsigned reg = (unsigned)ZydisRegisterGetId(op->reg.value);
            s->gpr[reg]  = (s->gpr[reg] & ~UINT64_C(0xffff)) | a_selector(random);
        } else if (op->type == ZYDIS_OPERAND_TYPE_MEMORY && op->actions & ZYDIS_OPERAND_ACTION_MASK_READ) {
            uint64_t at = operand_address(in, s, op) - (in->form->mode == MODE_16 ? 0 : (unsigned)DATA_BASE) +
                          (op->mem.segment == ZYDIS_REGISTER_GS ? s->gs_base : 0);
            unsigned size = op->size / 8;
            if (at >= DATA_TOTAL - 64) {
                continue;
            }
            if (op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN && (is_iret(&in->d) || is_far(&in->d))) {
                fill_frame(s, in, at, random);
            } else if (op->visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN && (is_far(&in->d) || loads_pointer(&in->d))) {
                store_le(s->data + at, an_offset(random), size - 2);
                store_le(s->data + at + size - 2, a_selector(random), 2);
            } else {
                store_le(s->data + at, a_selector(random), 2);
            }
        }
    }
}
