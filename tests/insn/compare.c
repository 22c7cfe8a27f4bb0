/* Comparison of outcomes, and how they are printed. */

#include "insn.h"

#include <string.h>

static const char *const gpr_names[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                           "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15" };

void state_print(const State *s, GString *text)
{
    g_string_append_printf(text, "      flags %" PRIx64 " mxcsr %x fcw %x fsw %x ftw %x\n", s->flags,
                           load_le32(s->fx + 24), load_le16(s->fx), load_le16(s->fx + 2), s->fx[4]);
    for (unsigned i = 0; i < 16; i++) {
        g_string_append_printf(text, "%s%s %" PRIx64 "%s", i % 8 ? " " : "      ", gpr_names[i], s->gpr[i],
                               i % 8 == 7 ? "\n" : "");
    }
}

void instance_print(const Instance *in, const State *s, GString *text)
{
    ZydisFormatter formatter;
    char           line[128];
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    ZydisFormatterFormatInstruction(&formatter, &in->d, in->op, in->d.operand_count_visible, line, sizeof line, in->rip,
                                    NULL);
    g_string_append_printf(text, "    %s   [", line);
    for (unsigned i = 0; i < in->len; i++) {
        g_string_append_printf(text, "%s%02x", i ? " " : "", in->code[i]);
    }
    g_string_append(text, "]\n");
    state_print(s, text);
}

bool crosses_page(const Instance *in, const State *before)
{
    for (unsigned i = 0; i < in->d.operand_count; i++) {
        const ZydisDecodedOperand *op = &in->op[i];
        if (op->type == ZYDIS_OPERAND_TYPE_MEMORY && op->size) {
            uint64_t at =
                operand_address(in, before, op) + (op->mem.segment == ZYDIS_REGISTER_GS ? before->gs_base : 0);
            return (at ^ (at + op->size / 8 - 1)) & ~UINT64_C(0xfff);
        }
    }
    return false;
}

typedef struct Compare {
    GString *text;
    bool     differ;
} Compare;

static void value(Compare *c, const char *name, uint64_t host, uint64_t ours)
{
    if (host != ours) {
        c->differ = true;
        if (c->text) {
            g_string_append_printf(c->text, "      %s: host %#" PRIx64 ", ours %#" PRIx64 "\n", name, host, ours);
        }
    }
}

static void bytes(Compare *c, const char *name, unsigned number, const uint8_t *before, const uint8_t *host,
                  const uint8_t *ours, unsigned len)
{
    if (memcmp(host, ours, len) == 0) {
        return;
    }
    c->differ = true;
    if (!c->text) {
        return;
    }
    const uint8_t *const rows[]  = { before, host, ours };
    static const char   *names[] = { "was", "host", "ours" };
    for (unsigned r = 0; r < 3; r++) {
        g_string_append_printf(c->text, "      %s%u %4s ", name, number, names[r]);
        for (unsigned i = len; i-- > 0;) {
            g_string_append_printf(c->text, "%02x%s", rows[r][i], i % 8 == 0 && i ? "_" : "");
        }
        g_string_append_c(c->text, '\n');
    }
}

static void memory(Compare *c, const State *before, const Outcome *host, const Outcome *ours)
{
    if (memcmp(host->state.data, ours->state.data, DATA_TOTAL) == 0) {
        return;
    }
    unsigned first = 0;
    while (host->state.data[first] == ours->state.data[first]) {
        first++;
    }
    first = MIN(first & ~7u, DATA_TOTAL - 32u);
    if (c->text) {
        g_string_append_printf(c->text, "      memory at %#x:\n", DATA_BASE + first);
    }
    bytes(c, "memory", 0, before->data + first, host->state.data + first, ours->state.data + first, 32);
    c->differ = true;
}

/* Null selectors of data segments may lose their RPL on the way through the host's kernel (SDM 2, IRET). */
static uint16_t selector(unsigned seg, const Outcome *o)
{
    bool data = seg != SEL_CS && seg != SEL_SS;
    return data && !(o->state.sel[seg] & ~3) ? 0 : o->state.sel[seg];
}

bool outcome_compare(Mode mode, const Undefined *u, const State *before, const Outcome *host, const Outcome *ours,
                     GString *text)
{
    Compare c = { text, false };
    /* Compatibility mode does not keep the upper halves. */
    uint64_t gpr_mask = mode == MODE_64 && host->state.sel[SEL_CS] == CS_64 ? ~UINT64_C(0) : 0xffffffff;
    unsigned n_vec    = u->vectors ? 0 : 16;

    if (u->everything) {
        return true;
    }

    value(&c, "exception", (uint64_t)(int64_t)host->vector, (uint64_t)(int64_t)ours->vector);
    if (host->vector == ours->vector) {
        value(&c, "error code", host->error & ~u->error, ours->error & ~u->error);
        value(&c, "cr2", host->cr2 & ~u->cr2, ours->cr2 & ~u->cr2);
    }
    value(&c, "rip", host->state.rip & gpr_mask, ours->state.rip & gpr_mask);
    value(&c, "flags", host->state.flags & 0xfffeffff & ~u->flags & ~UINT64_C(2),
          ours->state.flags & 0xfffeffff & ~u->flags & ~UINT64_C(2));
    for (unsigned i = 0; i < (mode == MODE_64 ? 16 : 8); i++) {
        uint64_t mask = gpr_mask;
        mask &= u->gprs >> i & 1        ? 0
                : u->gprs_low >> i & 1  ? ~UINT64_C(0xffffffff)
                : u->gprs_word >> i & 1 ? ~UINT64_C(0xffff)
                : u->gprs_high >> i & 1 ? UINT64_C(0xffff)
                                        : ~UINT64_C(0);
        value(&c, gpr_names[i], host->state.gpr[i] & mask, ours->state.gpr[i] & mask);
    }
    static const char *const sel_names[N_SEL] = { "es", "cs", "ss", "ds", "fs", "gs" };
    for (unsigned i = 0; i < N_SEL; i++) {
        value(&c, sel_names[i], selector(i, host), selector(i, ours));
    }
    value(&c, "fs base", host->state.fs_base, ours->state.fs_base);
    value(&c, "gs base", host->state.gs_base, ours->state.gs_base);
    const uint8_t *h = host->state.fx, *o = ours->state.fx, *b = before->fx;
    if (!u->fcw) {
        value(&c, "fcw", load_le16(h), load_le16(o));
    }
    value(&c, "fsw", load_le16(h + 2) & ~(unsigned)u->fsw, load_le16(o + 2) & ~(unsigned)u->fsw);
    if (!u->stack) {
        value(&c, "ftw", h[4], o[4]);
    }
    if (!u->fpu_pointers) {
        value(&c, "fop", load_le16(h + 6), load_le16(o + 6));
        value(&c, "fip", load_le64(h + 8) & ~u->fip, load_le64(o + 8) & ~u->fip);
        value(&c, "fdp", load_le64(h + 16) & ~u->fip, load_le64(o + 16) & ~u->fip);
    }
    value(&c, "mxcsr", load_le32(h + 24) & ~u->mxcsr, load_le32(o + 24) & ~u->mxcsr);
    for (unsigned i = 0; i < (u->stack ? 0 : 8); i++) {
        bytes(&c, "st", i, b + 32 + 16 * i, h + 32 + 16 * i, o + 32 + 16 * i, 10);
    }
    for (unsigned i = 0; i < n_vec; i++) {
        bytes(&c, "xmm", i, b + 160 + 16 * i, h + 160 + 16 * i, o + 160 + 16 * i, u->xmm_high >> i & 1 ? 8 : 16);
        bytes(&c, "ymm high ", i, b + 576 + 16 * i, h + 576 + 16 * i, o + 576 + 16 * i, 16);
    }
    if (!u->memory) {
        memory(&c, before, host, ours);
    }
    return !c.differ;
}
