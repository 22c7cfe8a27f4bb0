/* Makes random blocks. Each instance is placed by what the instructions before it have left in the registers, for
 * which they run natively one after the other while the block is made: memory operands then lie where the test's
 * memory is, although registers change all the time. Which instruction faults is chosen on the way. */

#include "block.h"

#include <string.h>

static unsigned below(GRand *random, unsigned n)
{
    return (unsigned)g_rand_int_range(random, 0, (gint32)n);
}

static bool chance(GRand *random, unsigned one_in)
{
    return below(random, one_in) == 0;
}

/* --- which forms ------------------------------------------------------------------------------------------------ */

#define M(m) ZYDIS_MNEMONIC_##m

/* What most of any program is. */
static const uint16_t common[] = { M(MOV),   M(MOVZX), M(MOVSX),  M(MOVSXD), M(LEA), M(ADD), M(SUB),  M(CMP),
                                   M(TEST),  M(AND),   M(OR),     M(XOR),    M(INC), M(DEC), M(PUSH), M(POP),
                                   M(SHL),   M(SHR),   M(SAR),    M(IMUL),   M(NEG), M(NOT), M(ADC),  M(SBB),
                                   M(CMOVZ), M(SETNZ), M(CMOVNB), M(SETB),   M(CDQ), M(CQO), M(XCHG), M(BT) };

/* Tested alone only. */
static const uint16_t left_out[] = {
    M(INT3), /* ends the block */
    M(DAA),        M(DAS),      M(AAA),      M(AAS),      M(AAM),
    M(AAD),                                                            /* undefined flags that are not the host's */
    M(FXSAVE),     M(FXSAVE64), M(FNSAVE),   M(FNSTENV),               /* store FIP, whose width varies */
    M(XSAVE),      M(XSAVE64),  M(XSAVEC),   M(XSAVEC64), M(XSAVEOPT), /* RAX chooses components that guests lack */
    M(XSAVEOPT64), M(XRSTOR),   M(XRSTOR64), M(XSAVES),   M(XSAVES64),
    M(ROL),        M(ROR), /* OF after more than one step: see undefined.c; those by one are rare */
};

static bool is_one_of(uint16_t mnemonic, const uint16_t *list, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (list[i] == mnemonic) {
            return true;
        }
    }
    return false;
}

static bool may_branch(const ZydisDecodedInstruction *d)
{
    return d->meta.category == ZYDIS_CATEGORY_CALL || d->meta.category == ZYDIS_CATEGORY_COND_BR ||
           d->meta.category == ZYDIS_CATEGORY_UNCOND_BR || d->meta.category == ZYDIS_CATEGORY_RET;
}

static void sort_form(BlockForms *f, Form *form, GRand *random)
{
    Instance in;
    if (form->omitted || form->alone || is_one_of(form->mnemonic, left_out, G_N_ELEMENTS(left_out)) ||
        !form_instance(form, random, &in) || may_branch(&in.d)) {
        return;
    }
    for (unsigned i = 0; i < in.d.operand_count; i++) {
        if (in.op[i].type == ZYDIS_OPERAND_TYPE_MEMORY && in.op[i].mem.type == ZYDIS_MEMOP_TYPE_VSIB) {
            return; /* its indexes would be anything */
        }
    }
    bool legacy = !form->vex && form->map <= 1 &&
                  (in.d.meta.isa_ext == ZYDIS_ISA_EXT_BASE || in.d.meta.isa_ext == ZYDIS_ISA_EXT_LONGMODE);
    if (is_one_of(form->mnemonic, common, G_N_ELEMENTS(common))) {
        g_ptr_array_add(f->common, form);
    } else if (in.d.meta.isa_ext == ZYDIS_ISA_EXT_X87 || in.d.meta.isa_ext == ZYDIS_ISA_EXT_MMX) {
        g_ptr_array_add(f->x87, form);
    } else if (legacy || in.d.meta.isa_ext == ZYDIS_ISA_EXT_BMI1 || in.d.meta.isa_ext == ZYDIS_ISA_EXT_BMI2) {
        g_ptr_array_add(f->integer, form);
    } else {
        g_ptr_array_add(f->vector, form);
    }
}

void block_forms_init(BlockForms *f, Mode mode, const char *filter)
{
    GRand *random = g_rand_new_with_seed(1);
    f->mode       = mode;
    f->all        = forms_walk(mode, filter);
    f->common     = g_ptr_array_new();
    f->integer    = g_ptr_array_new();
    f->x87        = g_ptr_array_new();
    f->vector     = g_ptr_array_new();
    for (unsigned i = 0; i < f->all->len; i++) {
        sort_form(f, g_ptr_array_index(f->all, i), random);
    }
    g_rand_free(random);
}

void block_forms_free(BlockForms *f)
{
    g_ptr_array_unref(f->common);
    g_ptr_array_unref(f->integer);
    g_ptr_array_unref(f->x87);
    g_ptr_array_unref(f->vector);
    g_ptr_array_unref(f->all);
}

/* --- layout ----------------------------------------------------------------------------------------------------- */

static unsigned put_loop(const Block *b, uint8_t *at, unsigned offset)
{
    unsigned n = 0;
    at[n++]    = 0xfe; /* dec byte [LOOP_BASE] */
    if (b->mode == MODE_64) {
        at[n++] = 0x0c;
        at[n++] = 0x25;
    } else {
        at[n++] = 0x0d;
    }
    store_le32(at + n, LOOP_BASE);
    n += 4;
    at[n++] = 0x0f; /* jnz */
    at[n++] = 0x85;
    store_le32(at + n, (uint32_t) - (offset + n + 4));
    return n + 4;
}

void block_layout(const Block *b, const bool *dropped, Code *code, unsigned offset[BLOCK_ITEMS + 1])
{
    unsigned at = 0;

    *code = (Code){ .mode = b->mode, .rip = b->rip, .loops = b->loops };
    for (unsigned i = 0; i < b->n; i++) {
        offset[i] = at;
        at += dropped && dropped[i] ? 0 : b->items[i].len;
    }
    offset[b->n] = at;
    for (unsigned i = 0; i < b->n; i++) {
        const Item *item  = &b->items[i];
        uint8_t    *bytes = code->bytes + offset[i];
        if (dropped && dropped[i]) {
            continue;
        }
        memcpy(bytes, item->code, item->len);
        uint64_t next = b->rip + offset[i] + item->len;
        uint64_t to   = item->fixup == FIX_DATA ? item->target : b->rip + offset[item->to] + item->to_offset;
        if (item->fixup != FIX_NONE) {
            store_le(bytes + item->at, item->fixup == FIX_ABSOLUTE ? to : to - next, item->size);
        }
    }
    if (b->loops) {
        at += put_loop(b, code->bytes + at, at);
    }
    code->len = at;
    g_assert(at <= sizeof code->bytes);
}

/* --- generation ------------------------------------------------------------------------------------------------- */

typedef struct Generator {
    Block            *b;
    const BlockForms *forms;
    GRand            *random;
    State             now;     /* before the next item */
    unsigned          bytes;   /* so far */
    uint32_t          touched; /* general registers that an item has used, whose first value is settled */
    bool              calls;
    uint32_t          code; /* those that hold addresses of code, and not what `now` says */
    unsigned          weights[4];
    unsigned          one_fault_in; /* of the instructions that would fault */
    unsigned          groups;
    int               patch_after; /* items until the one that is patched; -1: none wanted */
    unsigned          patch_from, patch_group;
} Generator;

static uint64_t data_base(Mode mode)
{
    return mode == MODE_16 ? 0 : DATA_BASE;
}

static bool is_gpr(ZydisRegister reg)
{
    ZydisRegisterClass class = ZydisRegisterGetClass(reg);
    return class >= ZYDIS_REGCLASS_GPR8 && class <= ZYDIS_REGCLASS_GPR64;
}

static unsigned gpr_number(ZydisRegister reg)
{
    unsigned id = (unsigned)ZydisRegisterGetId(reg);
    return reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH ? (unsigned)(reg - ZYDIS_REGISTER_AH) : id;
}

static Item *add_item(Generator *g, const uint8_t *code, unsigned len, unsigned group)
{
    Item *item  = &g->b->items[g->b->n++];
    *item       = (Item){ .len = (uint8_t)len, .group = group };
    item->inner = group && g->b->n > 1 && g->b->items[g->b->n - 2].group == group;
    memcpy(item->code, code, len);
    g->bytes += len;
    return item;
}

/* mov reg, value */
static void add_load(Generator *g, unsigned reg, uint64_t value)
{
    uint8_t  code[10];
    unsigned n = 0;
    if (g->b->mode == MODE_16) {
        code[n++] = 0x66;
    } else if (g->b->mode == MODE_64) {
        code[n++] = (uint8_t)(0x48 | reg >> 3);
    }
    code[n++]     = (uint8_t)(0xb8 | (reg & 7));
    unsigned wide = g->b->mode == MODE_64 ? 8 : 4;
    store_le(code + n, value, wide);
    add_item(g, code, n + wide, 0);
    g->now.gpr[reg] = g->b->mode == MODE_64 ? value : (uint32_t)value;
    g->touched |= 1u << reg;
}

static uint64_t gs_base(const Generator *g, const ZydisDecodedOperand *op)
{
    return op->mem.segment == ZYDIS_REGISTER_GS && g->b->mode == MODE_64 ? g->now.gs_base : 0;
}

static bool inside(const Generator *g, uint64_t address, unsigned size)
{
    return address - data_base(g->b->mode) < DATA_SIZE && address + size - data_base(g->b->mode) <= DATA_SIZE;
}

static bool fits(uint64_t value, unsigned bits)
{
    return bits >= 64 || (value + (UINT64_C(1) << (bits - 1))) >> bits == 0;
}

/* Puts one memory operand somewhere. */
static bool place(Generator *g, Instance *in, unsigned n)
{
    ZydisDecodedOperand *op   = &in->op[n];
    unsigned             size = MAX(op->size / 8, 1);
    uint64_t             gs   = gs_base(g, op);
    uint64_t             a    = operand_address(in, &g->now, op);
    bool                 here = inside(g, a + gs, size);

    if (here && (chance(g->random, 2) || op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN)) {
        return true;
    }
    uint64_t mask   = operand_mask(in, op);
    uint64_t target = data_base(g->b->mode) + state_place(MIN(size, 1024u), g->random) - gs;
    uint64_t delta  = (target - a) & mask;
    uint64_t disp   = (uint64_t)op->mem.disp.value + delta;
    if (op->visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN && in->d.raw.disp.size &&
        (fits(disp, in->d.raw.disp.size) || mask >> in->d.raw.disp.size == 0)) {
        return instance_set_displacement(in, disp) && operand_address(in, &g->now, &in->op[n]) == (target & mask);
    }
    if (here) {
        return true;
    }
    if (!is_gpr(op->mem.base) || (is_gpr(op->mem.index) && (op->mem.index == ZYDIS_REGISTER_AL ||
                                                            gpr_number(op->mem.index) == gpr_number(op->mem.base)))) {
        return false;
    }
    unsigned base  = gpr_number(op->mem.base);
    uint64_t value = (g->now.gpr[base] & ~mask) | ((g->now.gpr[base] + delta) & mask);
    if (!(g->touched >> base & 1)) {
        g->now.gpr[base] = g->b->before.gpr[base] = value;
        return true;
    }
    if (op->mem.base == ZYDIS_REGISTER_RIP || g->b->n + 4 > BLOCK_ITEMS) {
        return false;
    }
    unsigned bytes = g->bytes;
    add_load(g, base, value);
    in->rip += g->bytes - bytes;
    return true;
}

/* A base that points near the data already: code uses the same pointers again and again. */
static bool has_good_base(const Generator *g, const Instance *in)
{
    for (unsigned i = 0; i < in->d.operand_count_visible; i++) {
        const ZydisDecodedOperand *op = &in->op[i];
        if (op->type == ZYDIS_OPERAND_TYPE_MEMORY && is_gpr(op->mem.base)) {
            uint64_t value = g->now.gpr[gpr_number(op->mem.base)] - data_base(g->b->mode) + 0x1000;
            return value < 0x5000;
        }
    }
    return true;
}

static uint32_t registers_of(const Instance *in)
{
    uint32_t used = 0;
    for (unsigned i = 0; i < in->d.operand_count; i++) {
        const ZydisDecodedOperand *op      = &in->op[i];
        const ZydisRegister        regs[3] = { op->reg.value, op->mem.base, op->mem.index };
        unsigned first = op->type == ZYDIS_OPERAND_TYPE_REGISTER ? 0 : op->type == ZYDIS_OPERAND_TYPE_MEMORY ? 1 : 3;
        for (unsigned r = first; r < (first ? 3 : 1); r++) {
            if (is_gpr(regs[r])) {
                used |= 1u << gpr_number(regs[r]);
            }
        }
    }
    return used;
}

/* Does it read a register that holds an address of code? Where code lies is not known yet. */
static bool uses_code(const Generator *g, const Instance *in)
{
    return registers_of(in) & g->code;
}

static const Form *choose_form(const Generator *g)
{
    GPtrArray *const lists[4] = { g->forms->common, g->forms->integer, g->forms->x87, g->forms->vector };
    for (;;) {
        unsigned at = below(g->random, g->weights[0] + g->weights[1] + g->weights[2] + g->weights[3]), i = 0;
        while (at >= g->weights[i]) {
            at -= g->weights[i++];
        }
        if (lists[i]->len) {
            return g_ptr_array_index(lists[i], below(g->random, lists[i]->len));
        }
    }
}

static bool place_all(Generator *g, Instance *in)
{
    for (unsigned i = 0; i < in->d.operand_count; i++) {
        if (in->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY && in->op[i].mem.type != ZYDIS_MEMOP_TYPE_AGEN &&
            !place(g, in, i)) {
            return false;
        }
    }
    return true;
}

static bool try_instance(Generator *g)
{
    static Outcome after;
    Instance       in;
    Code           code;

    if (!form_instance(choose_form(g), g->random, &in)) {
        return false;
    }
    if ((in.form->mnemonic == ZYDIS_MNEMONIC_POPF || in.form->mnemonic == ZYDIS_MNEMONIC_POPFQ ||
         in.form->mnemonic == ZYDIS_MNEMONIC_POPFD) &&
        !chance(g->random, 8)) {
        return false; /* half of them would end the block by TF */
    }
    if (uses_code(g, &in) || (!has_good_base(g, &in) && !chance(g->random, 8))) {
        return false;
    }
    in.rip = g->b->rip + g->bytes;
    if (in.d.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE) &&
        (uint32_t)g->now.gpr[1] > 64 && !chance(g->random, 8)) {
        unsigned bytes = g->bytes;
        add_load(g, 1, below(g->random, 64));
        in.rip += g->bytes - bytes;
    }
    if (!place_all(g, &in)) {
        return false;
    }
    instance_code(&in, &code);
    code.step  = false;
    g->now.rip = in.rip;
    native_run(&code, &g->now, &after);
    if (after.vector == NO_FAULT) {
        g->now = after.state;
    } else if (!chance(g->random, g->one_fault_in)) {
        return false;
    } /* else the rest of the block is for other states */
    g->touched |= registers_of(&in);

    Item *item = add_item(g, in.code, in.len, 0);
    item->form = in.form;
    for (unsigned i = 0; i < in.d.operand_count; i++) {
        if (in.op[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
            (in.op[i].mem.base == ZYDIS_REGISTER_RIP || in.op[i].mem.base == ZYDIS_REGISTER_EIP)) {
            item->fixup  = FIX_DATA;
            item->at     = in.d.raw.disp.offset;
            item->size   = in.d.raw.disp.size / 8;
            item->target = in.rip + in.len + (uint64_t)in.op[i].mem.disp.value;
        }
    }
    return true;
}

static void add_instance(Generator *g)
{
    static State saved;
    for (unsigned attempt = 0; attempt < 400; attempt++) {
        uint64_t first[16];
        unsigned n = g->b->n, bytes = g->bytes;
        uint32_t touched = g->touched;
        saved            = g->now;
        memcpy(first, g->b->before.gpr, sizeof first);
        if (try_instance(g)) {
            return;
        }
        g->now = saved;
        memcpy(g->b->before.gpr, first, sizeof first);
        g->b->n    = n;
        g->bytes   = bytes;
        g->touched = touched;
    }
}

/* --- what is not an instance --- */

static Item *add_forward(Generator *g, const uint8_t *code, unsigned len, unsigned at, unsigned size, unsigned group)
{
    Item *item  = add_item(g, code, len, group);
    item->fixup = FIX_CODE;
    item->at    = (uint8_t)at;
    item->size  = (uint8_t)size;
    item->to    = g->b->n + 1 + below(g->random, 5); /* cut to the block in the end */
    return item;
}

/* A register that may be lost, not RSP. */
static unsigned scratch(Generator *g)
{
    unsigned reg = below(g->random, g->b->mode == MODE_64 ? 16 : 8);
    return reg == 4 ? 0 : reg;
}

/* The address of a later item in a register, and a jump, or a push and a return, to it. */
static void add_indirect(Generator *g)
{
    unsigned group = ++g->groups, reg = scratch(g);
    if (g->b->mode == MODE_64) {
        add_forward(
            g, (const uint8_t[]){ (uint8_t)(0x48 | (reg & 8) >> 1), 0x8d, (uint8_t)(5 | (reg & 7) << 3), 0, 0, 0, 0 },
            7, 3, 4, group);
    } else {
        Item *load  = add_forward(g, (const uint8_t[]){ (uint8_t)(0xb8 | reg), 0, 0, 0, 0 }, 5, 1, 4, group);
        load->fixup = FIX_ABSOLUTE;
    }
    Item *load = &g->b->items[g->b->n - 1];
    g->touched |= 1u << reg;
    g->code |= 1u << reg;
    load->to += 2;
    unsigned rex = g->b->mode == MODE_64 && reg > 7;
    if (chance(g->random, 2)) { /* jmp reg; call reg would push */
        uint8_t jump[3] = { 0x41, 0xff, (uint8_t)(0xe0 | (reg & 7)) };
        add_item(g, jump + !rex, 2 + rex, group);
    } else {
        uint8_t push[2] = { 0x41, (uint8_t)(0x50 | (reg & 7)) };
        add_item(g, push + !rex, 1 + rex, group);
        add_item(g, (const uint8_t[]){ 0xc3 }, 1, group);
    }
}

/* What CALL leaves: whoever pops it has an address of code, which in a second round would be a pointer. */
static void note_call(Generator *g)
{
    unsigned size = g->b->mode == MODE_64 ? 8 : g->b->mode == MODE_32 ? 4 : 2;
    uint64_t mask = size == 8 ? ~UINT64_C(0) : (UINT64_C(1) << (8 * size)) - 1;
    uint64_t rsp  = (g->now.gpr[4] & ~mask) | ((g->now.gpr[4] - size) & mask);
    uint64_t at   = (rsp & mask) - data_base(g->b->mode);
    if (at < DATA_SIZE - 8) {
        store_le(g->now.data + at, g->b->rip + g->bytes, size);
        g->now.gpr[4] = rsp;
    }
    g->calls = true;
}

static void add_branch(Generator *g)
{
    unsigned near = g->b->mode == MODE_16 ? 2 : 4;
    unsigned cc   = below(g->random, 16);

    switch (below(g->random, 12)) {
    default: add_forward(g, (const uint8_t[]){ (uint8_t)(0x70 | cc), 0 }, 2, 1, 1, 0); break;
    case 0:
    case 1: add_forward(g, (const uint8_t[6]){ 0x0f, (uint8_t)(0x80 | cc) }, 2 + near, 2, near, 0); break;
    case 2: add_forward(g, (const uint8_t[]){ 0xeb, 0 }, 2, 1, 1, 0); break;
    case 3: /* loopne, loope, loop, jrcxz */
        add_forward(g, (const uint8_t[]){ (uint8_t)(0xe0 | (cc & 3)), 0 }, 2, 1, 1, 0);
        g->touched |= 1u << 1;
        break;
    case 4:
        add_forward(g, (const uint8_t[5]){ 0xe8 }, 1 + near, 1, near, 0);
        note_call(g);
        break;
    case 5:
    case 6:
        if (g->b->mode != MODE_16) {
            add_indirect(g);
        }
        break;
    }
}

/* A store to the immediate of an instruction that follows at once or later. */
static void add_patch(Generator *g)
{
    uint8_t code[10] = { 0xc7, 0x05 }; /* mov dword [address], imm32 */
    store_le32(code + 6, g_rand_int(g->random));
    g->patch_group = ++g->groups;
    g->patch_from  = g->b->n;
    g->patch_after = (int)below(g->random, 4);
    Item *item     = add_item(g, code, 10, g->patch_group);
    item->fixup    = g->b->mode == MODE_64 ? FIX_CODE : FIX_ABSOLUTE;
    item->at       = 2;
    item->size     = 4;
}

static void add_patched(Generator *g)
{
    unsigned reg     = scratch(g) & 3;
    uint8_t  code[6] = { 0x81, (uint8_t)(0xc0 | reg) }; /* add reg, imm32 */
    store_le32(code + 2, g_rand_int(g->random));
    g->b->items[g->patch_from].to        = g->b->n;
    g->b->items[g->patch_from].to_offset = 2;
    Item *item                           = add_item(g, code, 6, g->patch_group);
    item->inner                          = false;
    g->touched |= 1u << reg;
    g->now.gpr[reg] = (uint32_t)g->now.gpr[reg] + load_le32(code + 2);
    g->patch_after  = -1;
}

/* --- the whole --- */

static void random_profile(Generator *g)
{
    static const unsigned profiles[][4] = {
        { 70, 15, 3, 12 }, { 70, 15, 3, 12 }, { 90, 10, 0, 0 },   { 30, 50, 5, 15 },
        { 25, 5, 60, 10 }, { 25, 5, 5, 65 },  { 40, 20, 10, 30 },
    };
    memcpy(g->weights, profiles[below(g->random, G_N_ELEMENTS(profiles))], sizeof g->weights);
    g->one_fault_in    = chance(g->random, 3) ? 1000000 : 12;
    g->patch_after     = -1;
    GPtrArray *lists[] = { g->forms->common, g->forms->integer, g->forms->x87, g->forms->vector };
    unsigned   sum     = 0;
    for (unsigned i = 0; i < 4; i++) { /* a filter may leave only some */
        sum += lists[i]->len ? g->weights[i] : 0;
    }
    for (unsigned i = 0; i < 4 && !sum; i++) {
        g->weights[i] = lists[i]->len != 0;
    }
}

static void random_pointers(Generator *g)
{
    State   *s    = &g->b->before;
    unsigned n    = g->b->mode == MODE_64 ? 16 : 8;
    uint64_t base = data_base(g->b->mode);

    for (unsigned i = 0; i < (g->b->mode == MODE_64 ? 5 : 3); i++) {
        unsigned reg = below(g->random, n);
        s->gpr[reg]  = base + 256 + (below(g->random, DATA_SIZE - 1024) & (chance(g->random, 4) ? ~0u : ~15u));
        g->touched |= 1u << reg;
    }
    s->gpr[4] = base + 256 + (below(g->random, DATA_SIZE - 1024) & ~7u);
    if (chance(g->random, 10)) {
        s->gpr[4] = base + 0x1000 + below(g->random, 32) - 16;
    }
    g->touched |= 1u << 4;
}

/* Branches lead to what exists and may be jumped to. */
static void settle_branches(Block *b)
{
    for (unsigned i = 0; i < b->n; i++) {
        Item *item = &b->items[i];
        if (item->fixup != FIX_CODE && item->fixup != FIX_ABSOLUTE) {
            continue;
        }
        while (item->to < b->n && b->items[item->to].inner) {
            item->to++;
        }
        item->to = MIN(item->to, b->n);
    }
}

void block_random(Block *b, const BlockForms *forms, GRand *random)
{
    Generator g      = { .b = b, .forms = forms, .random = random };
    unsigned  wanted = 2 + below(random, BLOCK_INSNS - 1);

    b->mode  = forms->mode;
    b->n     = 0;
    b->loops = forms->mode != MODE_16 && chance(random, 3) ? (uint8_t)(2 + below(random, 6)) : 0;
    b->rip   = below(random, CODE_SIZE - 600);
    if (chance(random, 3)) { /* across the border of pages */
        b->rip = 0x1000 - below(random, 120);
    }
    b->rip += forms->mode == MODE_16 ? 0 : CODE_BASE;
    state_registers(&b->before, b->mode, random);
    if (!chance(random, 24)) {
        b->before.flags &= ~UINT64_C(0x40000);
    }
    state_data(&b->before, random);
    b->before.gs_base = b->mode == MODE_64 ? below(random, 0x1000) * 16 : 0;
    b->before.rip     = b->rip;
    random_profile(&g);
    random_pointers(&g);
    g.now = b->before;
    for (unsigned i = 0; i < wanted && b->n + 8 < BLOCK_ITEMS && g.bytes < 400; i++) {
        if (g.patch_after == 0) {
            add_patched(&g);
        } else if (b->mode != MODE_16 && g.patch_after < 0 && chance(random, 60)) {
            add_patch(&g);
            continue;
        }
        g.patch_after -= g.patch_after > 0;
        if (i && i + 1 < wanted && chance(random, 6)) {
            add_branch(&g);
        } else {
            add_instance(&g);
        }
    }
    if (g.patch_after >= 0) {
        add_patched(&g);
    }
    if (g.code || g.calls) {
        b->loops = 0; /* these registers would be pointers in the second round */
    }
    settle_branches(b);
}
