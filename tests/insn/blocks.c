/* Runs random blocks natively and in Quern, each from several states and twice from each, so that code is new to Quern
 * once and known later; and drops what a difference does not need. */

#include "block.h"

#include <string.h>

enum { STATES = 3 };

typedef struct Bench {
    Block       block;
    bool        dropped[BLOCK_ITEMS];
    State       states[STATES];
    Outcome     host, ours;
    BlockTotals counts;
} Bench;

static unsigned below(GRand *random, unsigned n)
{
    return (unsigned)g_rand_int_range(random, 0, (gint32)n);
}

static bool chance(GRand *random, unsigned one_in)
{
    return below(random, one_in) == 0;
}

/* Other values in some registers, and pointers to other places: branches go other ways, accesses fault elsewhere. */
static void vary(State *s, const Block *b, GRand *random)
{
    uint64_t base = b->mode == MODE_16 ? 0 : DATA_BASE;
    *s            = b->before;
    for (unsigned i = 0; i < (b->mode == MODE_64 ? 16 : 8); i++) {
        bool points = s->gpr[i] - base < DATA_TOTAL;
        if (points && chance(random, 6)) {
            s->gpr[i] = base + state_place(16, random);
        } else if (points && chance(random, 3)) {
            s->gpr[i] += 8 * below(random, 64) - 256;
        } else if (!points && chance(random, 2)) {
            s->gpr[i] = state_integer(random);
        }
        if (b->mode != MODE_64) {
            s->gpr[i] = (uint32_t)s->gpr[i];
        }
    }
    if (!native_takes_stack(s)) {
        s->gpr[4] = b->before.gpr[4];
    }
    s->flags ^= g_rand_int(random) & 0x8d5;
    for (unsigned i = 0; i < 64; i++) {
        s->data[below(random, DATA_SIZE)] = (uint8_t)below(random, 256);
    }
}

/* --- what need not agree --- */

/* The item that an outcome stopped at. */
static bool find_instance(const Bench *t, const Code *code, const unsigned *offset, const Outcome *o, Form *form,
                          Instance *in)
{
    for (unsigned i = 0; i < t->block.n; i++) {
        const Item *item = &t->block.items[i];
        if (!t->dropped[i] && o->state.rip - code->rip == offset[i]) {
            memset(in, 0, sizeof *in);
            memcpy(in->code, item->code, item->len);
            in->len = item->len;
            in->rip = o->state.rip;
            if (!form_decode(code->mode, in->code, in->len, &in->d, in->op)) {
                return false;
            }
            *form    = item->form ? *item->form : (Form){ .mode = code->mode, .mnemonic = (uint16_t)in->d.mnemonic };
            in->form = form;
            return true;
        }
    }
    return false;
}

/* AddressSanitizer has memory natively where the guest has none; it lies low, where 32-bit addresses reach it. */
static bool is_sanitizers(uint64_t address)
{
#if defined(__SANITIZE_ADDRESS__)
    return address + 64 >= UINT64_C(0x7fff8000) && address < UINT64_C(0x10007fff8000);
#else
    return false;
#endif
}

static Undefined block_undefined(const Bench *t, const Code *code, const unsigned *offset)
{
    Undefined u = { .fip = UINT64_C(0xffff) << 48 };
    Form      form;
    Instance  in;

    const Outcome *const ends[2] = { &t->host, &t->ours };
    for (unsigned i = 0; i < 2; i++) {
        if (ends[i]->vector != NO_FAULT && find_instance(t, code, offset, ends[i], &form, &in)) {
            u = undefined_mask(&in, NULL, &t->host, &t->ours);
            if (t->host.state.rip == t->ours.state.rip || u.everything) {
                break;
            }
        }
    }
    /* Hosts keep the pointers of all instructions, or only of those that raise something when they run (CPUID 7.0,
     * EBX bit 6); an exception that FLDCW unmasks later makes the difference. */
    u.fpu_pointers = true;
    u.everything |= t->ours.vector == 14 && is_sanitizers(t->ours.cr2);
    /* Far from the test's memory, the kernel hides what it has mapped, and so does the guest. */
    uint64_t cr2 = t->host.cr2;
    if (t->host.vector == 14 && cr2 - (DATA_BASE - 0x10000) > DATA_TOTAL + 0x20000 &&
        cr2 - (CODE_BASE - 0x1000) > CODE_SIZE + 0x2000) {
        u.error |= 1;
    }
    return u;
}

/* --- running --- */

static bool is_same(const Bench *t, unsigned number, const Code *code, const unsigned *offset, GString *text)
{
    Undefined u = block_undefined(t, code, offset);
    return outcome_compare(code->mode, &u, &t->states[number], &t->host, &t->ours, text);
}

/* One state: natively, in Quern, once more in Quern. */
static bool run_state(Bench *t, unsigned number, const Code *code, const unsigned *offset, GString *text)
{
    bool same = true;
    native_run(code, &t->states[number], &t->host);
    if (t->host.vector == HANGS) {
        return true;
    }
    t->counts.faults += t->host.vector != NO_FAULT;
    for (unsigned warm = 0; same && warm < 2; warm++) {
        executor_run(code, &t->states[number], &t->ours);
        t->counts.runs++;
        same = is_same(t, number, code, offset, NULL);
        if (!same) { /* some hosts end a run by #GP when an interrupt comes while RSP is not canonical */
            native_run(code, &t->states[number], &t->host);
            same = is_same(t, number, code, offset, NULL);
        }
        if (!same && text) {
            g_string_append_printf(text, "    from state %u, %s run:\n", number, warm ? "second" : "first");
            state_print(&t->states[number], text);
            is_same(t, number, code, offset, text);
        }
    }
    return same;
}

static bool run_block(Bench *t, GString *text)
{
    Code     code;
    unsigned offset[BLOCK_ITEMS + 1];

    block_layout(&t->block, t->dropped, &code, offset);
    for (unsigned i = 0; i < STATES; i++) {
        if (!run_state(t, i, &code, offset, text)) {
            return false;
        }
    }
    return true;
}

/* Drops items, or groups of them, as long as the rest differs too. */
static void minimize(Bench *t)
{
    Block *b       = &t->block;
    bool   changed = true;
    if (b->loops) {
        uint8_t loops = b->loops;
        b->loops      = 0;
        if (run_block(t, NULL)) {
            b->loops = loops;
        }
    }
    for (unsigned round = 0; changed && round < 8; round++) {
        changed = false;
        for (unsigned i = 0; i < b->n; i++) {
            bool saved[BLOCK_ITEMS];
            if (t->dropped[i]) {
                continue;
            }
            memcpy(saved, t->dropped, sizeof saved);
            for (unsigned j = 0; j < b->n; j++) {
                t->dropped[j] |= j == i || (b->items[i].group && b->items[j].group == b->items[i].group);
            }
            if (run_block(t, NULL)) {
                memcpy(t->dropped, saved, sizeof saved);
            } else {
                changed = true;
            }
        }
    }
}

static void print_block(const Bench *t, GString *text)
{
    Code           code;
    unsigned       offset[BLOCK_ITEMS + 1];
    ZydisFormatter formatter;

    block_layout(&t->block, t->dropped, &code, offset);
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    for (unsigned at = 0; at < code.len;) {
        ZydisDecodedInstruction d;
        ZydisDecodedOperand     op[ZYDIS_MAX_OPERAND_COUNT];
        char                    line[128] = "?";
        uint64_t                rip       = code.rip + at;
        if (!form_decode(code.mode, code.bytes + at, MIN(code.len - at, 15u), &d, op)) {
            break;
        }
        ZydisFormatterFormatInstruction(&formatter, &d, op, d.operand_count_visible, line, sizeof line, rip, NULL);
        g_string_append_printf(text, "    %08" PRIx64 "  %-44s [", rip, line);
        for (unsigned i = 0; i < d.length; i++) {
            g_string_append_printf(text, "%s%02x", i ? " " : "", code.bytes[at + i]);
        }
        g_string_append(text, "]\n");
        at += d.length;
    }
    if (t->block.loops) {
        g_string_append_printf(text, "    %u times\n", t->block.loops);
    }
}

void blocks_run(Mode mode, const BlockOptions *o, FILE *to, BlockTotals *totals)
{
    static const char *const names[N_MODES] = { "64", "32", "16" };
    Bench                   *t              = g_new0(Bench, 1);
    BlockForms               forms;

    block_forms_init(&forms, mode, o->only);
    if (!forms.common->len && !forms.integer->len && !forms.x87->len && !forms.vector->len) {
        g_printerr("insn-test: no form of mode %s matches\n", names[mode]);
        totals->differences++;
    } else {
        for (int k = o->first; k < o->first + o->blocks; k++) {
            guint32 seeds[3] = { (guint32)o->seed, (guint32)mode, (guint32)k };
            GRand  *random   = g_rand_new_with_seed_array(seeds, 3);
            block_random(&t->block, &forms, random);
            memset(t->dropped, 0, sizeof t->dropped);
            t->states[0] = t->block.before;
            for (unsigned i = 1; i < STATES; i++) {
                vary(&t->states[i], &t->block, random);
            }
            g_rand_free(random);
            t->counts.blocks++;
            t->counts.instructions += t->block.n;
            if (!run_block(t, NULL)) {
                GString *text = g_string_new(NULL);
                t->counts.differences++;
                g_string_append_printf(text, "block differs; again: --mode %s --seed %d --first %d --blocks 1\n",
                                       names[mode], o->seed, k);
                if (o->minimize) {
                    minimize(t);
                }
                print_block(t, text);
                run_block(t, text);
                fputs(text->str, to);
                if (t->counts.differences <= 5) {
                    fputs(text->str, stdout);
                }
                g_string_free(text, TRUE);
            }
        }
    }
    totals->blocks += t->counts.blocks;
    totals->instructions += t->counts.instructions;
    totals->runs += t->counts.runs;
    totals->faults += t->counts.faults;
    totals->differences += t->counts.differences;
    block_forms_free(&forms);
    g_free(t);
}
