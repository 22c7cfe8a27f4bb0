/* Units as text: the guest's instructions, what the translator has found out about them, and the host code with names
 * for everything that is not the guest's: the frame's members, stubs, micro TLB entries, jump cache slots, labels.
 *
 * Lock of the Dbt held, or the unit is otherwise known to stay. */

#include "accel/dbt/trace.h"
#include "accel/dbt/verify.h"

#include <Zydis/Zydis.h>

#include <inttypes.h>

/* --- names --- */

const char *dbt_stub_name(DbtStub stub)
{
    if (stub >= STUB_QUICK_SEGMENTS && stub <= STUB_QUICK_SEGMENTS_LAST) {
        stub = STUB_QUICK_SEGMENT;
    }
    static const char *const names[] = {
        [STUB_ENTER]                            = "enter",
        [STUB_LEAVE]                            = "leave",
        [STUB_READ_MISS]                        = "read_miss",
        [STUB_WRITE_MISS]                       = "write_miss",
        [STUB_GROUP_READ_MISS]                  = "group_read_miss",
        [STUB_GROUP_WRITE_MISS]                 = "group_write_miss",
        [STUB_READ]                             = "read",
        [STUB_WRITE]                            = "write",
        [STUB_GROUP_READ]                       = "group_read",
        [STUB_GROUP_WRITE]                      = "group_write",
        [STUB_RUN_READ]                         = "run_read",
        [STUB_RUN_WRITE]                        = "run_write",
        [STUB_RUN_GROUP_READ]                   = "run_group_read",
        [STUB_RUN_GROUP_WRITE]                  = "run_group_write",
        [STUB_LOOK]                             = "look",
        [STUB_LOOK_GROUP]                       = "look_group",
        [STUB_COUNTED]                          = "counted",
        [STUB_INSN]                             = "insn",
        [STUB_VECTORS]                          = "vectors",
        [STUB_LINK]                             = "link",
        [STUB_FAR]                              = "far",
        [STUB_LOOKUP]                           = "lookup",
        [STUB_JUMP_MISS... STUB_JUMP_MISS_LAST] = "jump_miss",
        [STUB_RET_MISS... STUB_RET_MISS_LAST]   = "ret_miss",
        [STUB_CALL_MISS]                        = "call_miss",
        [STUB_KICK]                             = "kick",
        [STUB_STAC]                             = "stac",
        [STUB_CLAC]                             = "clac",
        [STUB_SYSCALL]                          = "syscall",
        [STUB_SYSRET]                           = "sysret",
        [STUB_QUICK_SEGMENT]                    = "quick_segment",
        [STUB_QUICK_FAR]                        = "quick_far",
        [STUB_QUICK_LOOKUP]                     = "quick_lookup",
        [STUB_QUICK_KICK]                       = "quick_kick",
        [STUB_PAGES]                            = "pages",
        [STUB_FAULT]                            = "fault",
        [STUB_HOT]                              = "hot",
        [STUB_HOT_BACK]                         = "hot_back",
    };
    G_STATIC_ASSERT(G_N_ELEMENTS(names) == STUB_TLB);
    static const char *const kinds[DBT_TLB_KINDS] = {
        "tlb_read",        "tlb_read_counted",        "tlb_read_host",        "tlb_read_host_counted",
        "tlb_read_group",  "tlb_read_group_counted",  "tlb_read_group_host",  "tlb_read_group_host_counted",
        "tlb_write",       "tlb_write_counted",       "tlb_write_host",       "tlb_write_host_counted",
        "tlb_write_group", "tlb_write_group_counted", "tlb_write_group_host", "tlb_write_group_host_counted"
    };
    return stub < STUB_TLB ? names[stub] : kinds[(stub - STUB_TLB) % DBT_TLB_KINDS];
}

typedef struct FrameName {
    const char *name;
    uint16_t    offset, size;
    bool        array; /* of 8-byte members */
} FrameName;

#define MEMBER(m)                                                                                                      \
    {                                                                                                                  \
#m, offsetof(DbtFrame, m), sizeof(((DbtFrame *)0)->m), false                                                   \
    }
#define ARRAY(m)                                                                                                       \
    {                                                                                                                  \
#m, offsetof(DbtFrame, m), sizeof(((DbtFrame *)0)->m), true                                                    \
    }

static const FrameName frame_names[] = {
    MEMBER(r9),        MEMBER(r10),     MEMBER(r11),     MEMBER(flags),   ARRAY(tmp),          ARRAY(keep),
    MEMBER(copy),      ARRAY(addends),  MEMBER(left),    MEMBER(missed),  MEMBER(kernel_mask), MEMBER(user_mask),
    MEMBER(tlb),       MEMBER(fs_base), MEMBER(gs_base), MEMBER(cpu),     MEMBER(host_rsp),    MEMBER(host_return),
    ARRAY(host_saved), MEMBER(from),    MEMBER(to),      MEMBER(dbt),     MEMBER(compared),    MEMBER(cs_tag),
    MEMBER(cs_real),   ARRAY(seg_base), ARRAY(seg_last), MEMBER(vectors),
};

static const char *const template_names[] = {
    [T_OTHER] = "OTHER",     [T_GEN] = "GEN",         [T_MOVI] = "MOVI",
    [T_LEA] = "LEA",         [T_PUSH] = "PUSH",       [T_PUSHI] = "PUSHI",
    [T_PUSHM] = "PUSHM",     [T_POP] = "POP",         [T_LEAVE] = "LEAVE",
    [T_CALL] = "CALL",       [T_CALLI] = "CALLI",     [T_RET] = "RET",
    [T_JMP] = "JMP",         [T_JMPI] = "JMPI",       [T_JCC] = "JCC",
    [T_LOOP] = "LOOP",       [T_PUSHSEG] = "PUSHSEG", [T_STSEG] = "STSEG",
    [T_SETSEG] = "SETSEG",   [T_POPSEG] = "POPSEG",   [T_LSEG] = "LSEG",
    [T_FAR] = "FAR",         [T_FARQ] = "FARQ",       [T_SEGC] = "SEGC",
    [T_SEGQ] = "SEGQ",       [T_SHCL] = "SHCL",       [T_SHDCL] = "SHDCL",
    [T_MULDIV] = "MULDIV",   [T_XCHG] = "XCHG",       [T_CMPXCHG] = "CMPXCHG",
    [T_EXTEND] = "EXTEND",   [T_SPREAD] = "SPREAD",   [T_BITMEM] = "BITMEM",
    [T_BSWAP] = "BSWAP",     [T_FLAG] = "FLAG",       [T_NOP] = "NOP",
    [T_FENCE] = "FENCE",     [T_STRING] = "STRING",   [T_CMPXCHG16] = "CMPXCHG16",
    [T_REP] = "REP",         [T_CLI] = "CLI",         [T_STI] = "STI",
    [T_SWAPGS] = "SWAPGS",   [T_STAC] = "STAC",       [T_CLAC] = "CLAC",
    [T_SYSCALL] = "SYSCALL", [T_SYSRET] = "SYSRET",   [T_BASE] = "BASE",
    [T_RDSEG] = "RDSEG",     [T_RDTSC] = "RDTSC",     [T_BMI] = "BMI",
    [T_VECTOR] = "VECTOR",   [T_X87] = "X87",         [T_C] = "C",
};
G_STATIC_ASSERT(G_N_ELEMENTS(template_names) == T_C + 1);

/* --- instructions --- */

typedef struct Text {
    ZydisDecoder   decoder;
    ZydisFormatter formatter;
} Text;

static void text_init(Text *t, X86CodeSize size)
{
    static const ZydisMachineMode modes[]  = { ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_MACHINE_MODE_LEGACY_32,
                                               ZYDIS_MACHINE_MODE_LONG_64 };
    static const ZydisStackWidth  stacks[] = { ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32, ZYDIS_STACK_WIDTH_64 };
    ZydisDecoderInit(&t->decoder, modes[size], stacks[size]);
    ZydisFormatterInit(&t->formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    ZydisFormatterSetProperty(&t->formatter, ZYDIS_FORMATTER_PROP_HEX_UPPERCASE, false);
    ZydisFormatterSetProperty(&t->formatter, ZYDIS_FORMATTER_PROP_ADDR_PADDING_ABSOLUTE, ZYDIS_PADDING_DISABLED);
    ZydisFormatterSetProperty(&t->formatter, ZYDIS_FORMATTER_PROP_ADDR_PADDING_RELATIVE, ZYDIS_PADDING_DISABLED);
    ZydisFormatterSetProperty(&t->formatter, ZYDIS_FORMATTER_PROP_DISP_PADDING, ZYDIS_PADDING_DISABLED);
    ZydisFormatterSetProperty(&t->formatter, ZYDIS_FORMATTER_PROP_IMM_PADDING, ZYDIS_PADDING_DISABLED);
}

/* One instruction; its length, 0 when there is none. */
static unsigned put_guest(GString *out, const Text *t, const uint8_t *bytes, unsigned len, uint64_t rip)
{
    ZydisDecodedInstruction z;
    ZydisDecodedOperand     op[ZYDIS_MAX_OPERAND_COUNT];
    char                    text[128];
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&t->decoder, bytes, len, &z, op)) ||
        !ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&t->formatter, &z, op, z.operand_count_visible, text, sizeof text,
                                                      rip, NULL))) {
        g_string_append(out, "(bad)");
        return 0;
    }
    g_string_append(out, text);
    return z.length;
}

void dbt_list_guest(GString *out, X86CodeSize code_size, const uint8_t *bytes, unsigned len, uint64_t rip)
{
    Text t;
    text_init(&t, code_size);
    for (unsigned off = 0; off < len;) {
        g_string_append(out, off ? "; " : "");
        unsigned n = put_guest(out, &t, bytes + off, len - off, rip + off);
        off        = n ? off + n : len;
    }
}

/* --- ops --- */

static void put_flags(GString *out, unsigned flags)
{
    static const char letters[] = "CPAZSO";
    for (unsigned i = 6; i-- > 0;) {
        if (flags >> i & 1) {
            g_string_append_c(out, letters[i]);
        }
    }
    if (!flags) {
        g_string_append_c(out, '-');
    }
}

static void put_group(GString *out, const Tr *t, unsigned i, unsigned group, int64_t off, const char *what)
{
    if (group) {
        const Group *g = &t->s->groups[group - 1];
        g_string_append_printf(out, " %s=%u%s at %" PRId64 " of %" PRId64, what, group,
                               g->first == i ? " (checks)" : "", off - g->lo, g->hi - g->lo);
    }
}

void dbt_list_ops(GString *out, const Tr *t)
{
    Text text;
    text_init(&text, t->mode.code == 8 ? X86_CODE64 : t->mode.code == 4 ? X86_CODE32 : X86_CODE16);
    for (unsigned i = 0; i < t->n; i++) {
        const DbtInsn *in    = &t->s->insns[i];
        const uint8_t *bytes = t->s->page + t->f->page_offset + in->off;
        g_string_append_printf(out, " %2u %#" PRIx64 ": %-7s ", i, t->f->linear + in->off,
                               in->t <= T_C && template_names[in->t] ? template_names[in->t] : "?");
        put_guest(out, &text, bytes, in->len, t->f->linear + in->off);
        g_string_append(out, "  | reads ");
        put_flags(out, in->read);
        g_string_append(out, " writes ");
        put_flags(out, in->write);
        g_string_append(out, " live ");
        put_flags(out, t->s->live[i + 1]);
        if (in->faults) {
            g_string_append(out, " may leave");
        }
        put_group(out, t, i, t->s->operand_group[i], t->s->access_off[i], "group");
        put_group(out, t, i, t->s->stack_group[i], t->s->stack_off[i], "stack-group");
        g_string_append_c(out, '\n');
    }
}

/* --- host code --- */

typedef struct Listing {
    GString       *out;
    const Dbt     *dbt;
    const DbtUnit *u;
    unsigned       flags;
    Text           host, guest;
    uint16_t      *label[2]; /* by offset in the hot, the cold part: number, or 0 */
    unsigned       n_labels;
    uint16_t       letter[DBT_MODES * 2 * DBT_MICRO]; /* of micro entries, from 1, in the order of their appearance */
    unsigned       n_letters;
    DbtStub        called;  /* by the instruction before; N_STUBS: none */
    DbtStub        next;    /* by the one behind */
    bool           rcx_cpu; /* RCX has been loaded with the vCPU's address */
} Listing;

static int in_part(const DbtUnit *u, uint64_t address)
{
    if (address - (uintptr_t)u->hot < u->hot_size) {
        return 0;
    }
    return address - (uintptr_t)u->cold < u->cold_size ? 1 : -1;
}

static uint32_t part_size(const DbtUnit *u, unsigned part)
{
    return part ? u->cold_size : u->hot_size;
}

static const uint8_t *part_start(const DbtUnit *u, unsigned part)
{
    return part ? u->cold : u->hot;
}

static DbtStub stub_at(const Dbt *dbt, uint64_t address)
{
    for (unsigned i = 0; i < N_STUBS; i++) {
        if ((uintptr_t)dbt->stubs[i] == address) {
            return (DbtStub)i;
        }
    }
    return N_STUBS;
}

static void put_rip(const Listing *l, uint64_t rip)
{
    if (l->flags & DBT_LIST_ADDRESSES) {
        g_string_append_printf(l->out, "guest %#" PRIx64, rip);
    } else {
        g_string_append_printf(l->out, "guest %+" PRId64, (int64_t)(rip - l->u->rip));
    }
}

static void put_target(Listing *l, uint64_t address)
{
    int     part = in_part(l->u, address);
    DbtStub stub = stub_at(l->dbt, address);
    if (part >= 0) {
        g_string_append_printf(l->out, "L%u", l->label[part][address - (uintptr_t)part_start(l->u, (unsigned)part)]);
    } else if (stub != N_STUBS) {
        g_string_append_printf(l->out, "%s", dbt_stub_name(stub));
        if (stub >= STUB_TLB) {
            g_string_append_printf(l->out, "(%u)", 1u << (stub - STUB_TLB) / DBT_TLB_KINDS);
        }
    } else if (address == (uintptr_t)l->u->hot + l->u->hot_size) {
        g_string_append(l->out, "behind the unit"); /* slow paths that do not come back have that */
    } else {
        for (unsigned i = 0; i < l->u->n_exits; i++) {
            const DbtExit *e = &l->u->exits[i];
            if (e->to && address - (uintptr_t)e->to->hot <= e->to->vectors) {
                g_string_append(l->out, "unit of ");
                put_rip(l, e->rip);
                return;
            }
        }
        g_string_append_printf(l->out, "%#" PRIx64, address);
    }
}

static void put_micro(Listing *l, uint32_t offset)
{
    static const char *const fixed[] = { "fs", "gs", "rsp", "rsp1", "rsp2", "rsp3" }; /* emit.h */

    unsigned    n = offset / (unsigned)sizeof(DbtMicro), index = n % DBT_MICRO;
    const char *access = n / DBT_MICRO & 1 ? "write" : "read";
    const char *member = offset % sizeof(DbtMicro) ? "addend" : "tag";
    if (l->flags & DBT_LIST_ADDRESSES) {
        g_string_append_printf(l->out, "%s[%u].%s(mode %u)", access, index, member, n / (2 * DBT_MICRO));
    } else if (index < G_N_ELEMENTS(fixed)) {
        g_string_append_printf(l->out, "%s(%s).%s", access, fixed[index], member);
    } else {
        if (!l->letter[n]) {
            l->letter[n] = (uint16_t)++l->n_letters;
        }
        g_string_append_printf(l->out, "%s(%c).%s", access, 'a' + (l->letter[n] - 1) % 26, member);
    }
}

static void put_run(Listing *l, uint32_t offset)
{
    static const char *const members[] = { "start", "last8", "last64", "addend" };
    unsigned                 n         = offset / (unsigned)sizeof(DbtRun);
    g_string_append_printf(l->out, "%s run", n / DBT_RUNS & 1 ? "write" : "read");
    if (l->flags & DBT_LIST_ADDRESSES) {
        g_string_append_printf(l->out, "[%u](mode %u)", n % DBT_RUNS, n / (2 * DBT_RUNS));
    }
    g_string_append_printf(l->out, ".%s", members[offset % sizeof(DbtRun) / 8]);
}

static void put_jump(Listing *l, uint32_t offset, bool indexed)
{
    const char *member = offset % sizeof(DbtJump) ? "code" : "rip";
    unsigned    slot   = offset / (unsigned)sizeof(DbtJump);
    unsigned    mode   = slot < DBT_JUMPS_USER ? 0 : 1 + (slot - DBT_JUMPS_USER) / DBT_JUMPS_KERNEL;
    g_string_append(l->out, "jumps");
    if (l->flags & DBT_LIST_ADDRESSES) {
        g_string_append_printf(l->out, "(mode %u)", mode);
    }
    if (!indexed && l->flags & DBT_LIST_ADDRESSES) {
        g_string_append_printf(l->out, "[%u]", slot - dbt_first_jump(mode));
    } else if (!indexed) {
        g_string_append(l->out, "[slot]"); /* of the address in RAX */
    }
    g_string_append_printf(l->out, ".%s", member);
}

static void put_cell(Listing *l, uint32_t cell)
{
    for (unsigned i = 0; i < l->u->n_exits; i++) {
        if (l->u->exits[i].cell == cell) {
            g_string_append_printf(l->out, "cells[exit %u]", i);
        }
    }
}

/* Somewhere in the vCPU's frame. */
static void put_frame(Listing *l, const ZydisDecodedOperand *op)
{
    uint32_t at    = (uint32_t)op->mem.disp.value;
    bool     index = op->mem.index != ZYDIS_REGISTER_NONE;
    g_string_append_printf(l->out, "%u[frame.", op->size);
    if (at - offsetof(DbtFrame, micro) < sizeof(((DbtFrame *)0)->micro)) {
        put_micro(l, at - (uint32_t)offsetof(DbtFrame, micro));
    } else if (at - offsetof(DbtFrame, runs) < sizeof(((DbtFrame *)0)->runs)) {
        put_run(l, at - (uint32_t)offsetof(DbtFrame, runs));
    } else if (at - offsetof(DbtFrame, jumps) < sizeof(((DbtFrame *)0)->jumps)) {
        put_jump(l, at - (uint32_t)offsetof(DbtFrame, jumps), index);
    } else if (at - offsetof(DbtFrame, cells) < sizeof(((DbtFrame *)0)->cells)) {
        put_cell(l, (at - (uint32_t)offsetof(DbtFrame, cells)) / 8);
    } else {
        const FrameName *n = NULL;
        for (unsigned i = 0; i < G_N_ELEMENTS(frame_names); i++) {
            if (at - frame_names[i].offset < frame_names[i].size) {
                n = &frame_names[i];
            }
        }
        unsigned into = n ? at - n->offset : at;
        g_string_append(l->out, n ? n->name : "?");
        if (n && n->array) {
            g_string_append_printf(l->out, "[%u]", into / 8);
            into %= 8;
        }
        if (into) {
            g_string_append_printf(l->out, "+%u", into);
        }
    }
    if (index) {
        g_string_append_printf(l->out, " + %s*%u", ZydisRegisterGetString(op->mem.index), op->mem.scale);
    }
    g_string_append_c(l->out, ']');
}

/* What an immediate of 8 bytes stands for. */
static bool put_meaning(Listing *l, uint64_t value)
{
    DbtSite site;
    memcpy(&site, &value, 8);
    if (dbt_stub_has_site(l->next)) {
        g_string_append_printf(l->out, "site(insn %u, size %u, limit %u%s%s%s%s%s)", site.insn, site.size, site.limit,
                               site.flags & SITE_LOAD ? ", load" : "", site.flags & SITE_EXEC ? ", exec" : "",
                               site.flags & SITE_ALIGN ? ", align" : "", site.flags & SITE_FPU ? ", fpu" : "",
                               site.flags & SITE_TLB ? ", tlb" : "");
        return true;
    }
    switch (l->called) {
    case STUB_RET_MISS ... STUB_RET_MISS_LAST:
        g_string_append_printf(l->out, "site(insn %u, undo %d)", site.insn, site.limit - site.size);
        return true;
    case STUB_SYSCALL:
    case STUB_SYSRET:
    case STUB_INSN: g_string_append_printf(l->out, "unit(insn %u)", (unsigned)(value >> 56)); return true;
    case STUB_FAR: g_string_append_printf(l->out, "unit(exit %u)", (unsigned)(value >> 56)); return true;
    default: break;
    }
    uint64_t second = (l->u->rip | X86_PAGE_MASK) + 1;
    if (l->u->host2 && value == (uintptr_t)l->u->host2 - second && !(l->flags & DBT_LIST_ADDRESSES)) {
        g_string_append(l->out, "addend of the second page");
        return true;
    }
    return false;
}

static void put_operand(Listing *l, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *op, uint64_t at)
{
    char text[128];
    if (op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE && op->imm.is_relative) {
        put_target(l, at + z->length + (uint64_t)op->imm.value.s);
    } else if (op->type == ZYDIS_OPERAND_TYPE_MEMORY && op->mem.base == ZYDIS_REGISTER_RSP) {
        put_frame(l, op);
    } else if (op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE && z->raw.imm[0].size == 64 &&
               put_meaning(l, op->imm.value.u)) {
        return;
    } else if (op->type == ZYDIS_OPERAND_TYPE_MEMORY && z->mnemonic != ZYDIS_MNEMONIC_LEA) {
        ZydisFormatterFormatOperand(&l->host.formatter, z, op, text, sizeof text, at, NULL);
        const char *bracket = strchr(text, '[');
        const char *member  = l->rcx_cpu && op->mem.base == ZYDIS_REGISTER_RCX
                                  ? dbt_cpu_member((uint64_t)op->mem.disp.value, op->size / 8, false)
                                  : NULL;
        if (member) {
            g_string_append_printf(l->out, "%u[cpu.%s]", op->size, member);
            return;
        }
        g_string_append_printf(l->out, "%u%s", op->size, bracket ? bracket : text);
    } else {
        ZydisFormatterFormatOperand(&l->host.formatter, z, op, text, sizeof text, at, NULL);
        g_string_append(l->out, text);
    }
}

static void put_host(Listing *l, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *op, uint64_t at)
{
    if (l->flags & DBT_LIST_ADDRESSES) {
        g_string_append_printf(l->out, "%#" PRIx64 ":", at);
    }
    g_string_append_printf(l->out, "    %s%s%s%s", z->attributes & ZYDIS_ATTRIB_HAS_LOCK ? "lock " : "",
                           z->attributes & ZYDIS_ATTRIB_HAS_REP ? "rep " : "",
                           z->attributes & ZYDIS_ATTRIB_HAS_REPNE ? "repne " : "", ZydisMnemonicGetString(z->mnemonic));
    for (unsigned i = 0; i < z->operand_count_visible; i++) {
        g_string_append(l->out, i ? ", " : " ");
        put_operand(l, z, &op[i], at);
    }
    for (unsigned i = 0; i < l->u->n_exits; i++) {
        const DbtExit *e = &l->u->exits[i];
        if ((uintptr_t)(e->cold - dbt_writable(l->dbt)) == at) {
            g_string_append(l->out, "    # to ");
            put_rip(l, e->rip);
            g_string_append(l->out, e->groups == GROUPS_NARROW ? ", narrow"
                                    : e->groups == GROUPS_NONE ? ", plain"
                                                               : "");
        }
    }
    g_string_append_c(l->out, '\n');
    bool loads = z->operand_count_visible && op[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
                 (op[0].reg.value == ZYDIS_REGISTER_RCX || op[0].reg.value == ZYDIS_REGISTER_ECX) &&
                 op[0].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    if (loads) {
        l->rcx_cpu = z->mnemonic == ZYDIS_MNEMONIC_MOV && op[1].type == ZYDIS_OPERAND_TYPE_MEMORY &&
                     op[1].mem.base == ZYDIS_REGISTER_RSP && op[1].mem.disp.value == DBT_FRAME(cpu);
    }
    l->called = N_STUBS;
    if (z->mnemonic == ZYDIS_MNEMONIC_CALL && op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        l->called = stub_at(l->dbt, at + z->length + (uint64_t)op[0].imm.value.s);
    }
}

static bool decode_at(const Listing *l, unsigned part, uint32_t off, ZydisDecodedInstruction *z,
                      ZydisDecodedOperand *op)
{
    return ZYAN_SUCCESS(
        ZydisDecoderDecodeFull(&l->host.decoder, part_start(l->u, part) + off, part_size(l->u, part) - off, z, op));
}

/* Marks where branches lead to, then numbers them in the order of the code. */
static void find_labels(Listing *l)
{
    ZydisDecodedInstruction z;
    ZydisDecodedOperand     op[ZYDIS_MAX_OPERAND_COUNT];
    for (unsigned part = 0; part < 2; part++) {
        for (uint32_t off = 0; off < part_size(l->u, part) && decode_at(l, part, off, &z, op); off += z.length) {
            if (op[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && op[0].imm.is_relative) {
                uint64_t to = (uintptr_t)part_start(l->u, part) + off + z.length + (uint64_t)op[0].imm.value.s;
                int      in = in_part(l->u, to);
                if (in >= 0) {
                    l->label[in][to - (uintptr_t)part_start(l->u, (unsigned)in)] = 1;
                }
            }
        }
    }
    for (unsigned part = 0; part < 2; part++) {
        for (uint32_t off = 0; off < part_size(l->u, part); off++) {
            if (l->label[part][off]) {
                l->label[part][off] = (uint16_t)++l->n_labels;
            }
        }
    }
}

/* The stub that the instruction there calls; N_STUBS: none. */
static DbtStub called_at(const Listing *l, unsigned part, uint32_t off)
{
    ZydisDecodedInstruction z;
    ZydisDecodedOperand     op[ZYDIS_MAX_OPERAND_COUNT];
    if (off >= part_size(l->u, part) || !decode_at(l, part, off, &z, op) || z.mnemonic != ZYDIS_MNEMONIC_CALL) {
        return N_STUBS;
    }
    return stub_at(l->dbt, (uintptr_t)part_start(l->u, part) + off + z.length + (uint64_t)op[0].imm.value.s);
}

static void put_boundary(Listing *l, unsigned n)
{
    const DbtUnit *u = l->u;
    uint8_t        buf[16];
    unsigned       off = u->insn_off[n], len = MIN(u->insn_off[n + 1] - off, 15u), first = len;
    if (u->host2) {
        first = MIN(len, X86_PAGE_SIZE - (unsigned)(u->ram_offset & X86_PAGE_MASK));
        ram_copy_out(buf + first, u->host2, len - first);
    }
    ram_copy_out(buf, u->host + off, first);
    g_string_append(l->out, "  ");
    put_rip(l, u->rip + off);
    g_string_append(l->out, ": ");
    put_guest(l->out, &l->guest, buf, len, u->rip + off);
    g_string_append_c(l->out, '\n');
}

static void put_part(Listing *l, unsigned part)
{
    ZydisDecodedInstruction z;
    ZydisDecodedOperand     op[ZYDIS_MAX_OPERAND_COUNT];
    unsigned                n = 0;
    l->called                 = N_STUBS;
    for (uint32_t off = 0; off < part_size(l->u, part); off += z.length) {
        while (!part && n < l->u->n && l->u->insn_host[n] <= off) {
            put_boundary(l, n++);
        }
        if (!part && n == l->u->n && l->u->insn_host[n] == off) {
            g_string_append(l->out, "  end\n");
            n++;
        }
        if (l->label[part][off]) {
            g_string_append_printf(l->out, "  L%u:\n", l->label[part][off]);
        }
        if (!decode_at(l, part, off, &z, op)) {
            g_string_append(l->out, "    (bad)\n");
            return;
        }
        l->next = called_at(l, part, off + z.length);
        put_host(l, &z, op, (uintptr_t)part_start(l->u, part) + off);
    }
}

void dbt_list_code(GString *out, const Dbt *dbt, const DbtUnit *u, X86CodeSize code_size, unsigned flags)
{
    Listing l = { .out = out, .dbt = dbt, .u = u, .flags = flags };
    text_init(&l.host, X86_CODE64);
    text_init(&l.guest, code_size);
    l.label[0] = g_new0(uint16_t, u->hot_size + 1);
    l.label[1] = g_new0(uint16_t, u->cold_size + 1);
    find_labels(&l);
    put_part(&l, 0);
    if (u->cold_size) {
        g_string_append(out, "  slow:\n");
        put_part(&l, 1);
    }
    g_free(l.label[0]);
    g_free(l.label[1]);
}
