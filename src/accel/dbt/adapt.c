/* What is learnt of units while they run, and changes how they are translated the next time.
 *
 * Groups that do not fit: dbt_note_misfit().
 *
 * Pages that are written where no code lies: dbt_note_beside().
 *
 * Sites whose micro entry misses: an access that goes through many pages in turn had better look into the TLB itself
 * than have its micro entry refilled, each time with a branch that is predicted wrongly. By number of misses alone that
 * cannot be told, so a site that has missed often is translated anew to be counted, and judged by the ratio of misses
 * to executions. One whose misses all were among a few pages tries a run of them (runs.c) before the TLB, and is judged
 * again. What is decided is kept by the instruction's place in RAM: units that hold the same instruction, and
 * copies of a unit for other processes, find it there. Where kicks find a site again and again, a run is tried again.
 *
 * vCPU threads, parked. */

#include "accel/dbt/adapt.h"

enum { KNOWN_MAX = 1 << 17 };

/* --- groups --- */

/* A group whose range is not all as its widest access wants it (a page that is only read, a clean one) fails every
 * time: the unit is made anew, first with reads and writes in groups of their own, then without groups. */
void dbt_note_misfit(DbtFrame *f, const uint8_t *at)
{
    enum { ENOUGH = 32, LEVELS = 2, KNOWN_MAX = 1 << 16 };
    Dbt *dbt = f->dbt;
    g_mutex_lock(&dbt->lock);
    DbtUnit *u = dbt_unit_at(dbt, at);
    if (u && !u->dead && ++u->misfits == ENOUGH) {
        uintptr_t level = (uintptr_t)g_hash_table_lookup(dbt->misfits, u->host);
        if (level < LEVELS && g_hash_table_size(dbt->misfits) < KNOWN_MAX) {
            g_hash_table_insert(dbt->misfits, (gpointer)u->host, (gpointer)(level + 1));
            dbt_set_noted(dbt, u->host);
            dbt_kill(dbt, u);
        }
    }
    g_mutex_unlock(&dbt->lock);
}

/* --- data beside code --- */

/* Mostly the code is that of a program that has gone, and its memory has been given to another as data. Code that is
 * still wanted is made again, and the more often that happens the longer such writes are borne. */
bool dbt_note_beside(DbtFrame *f, RamBlock *ram, uint64_t offset)
{
    enum { KNOWN_MAX = 1 << 16, LEVELS = 12, SHIFT = 2, WRITES = 24 };
    Dbt       *dbt   = f->dbt;
    uint8_t   *page  = ram->host + offset;
    DbtBeside *b     = dbt_beside(f, page);
    bool       often = b->page == page;

    g_mutex_lock(&dbt->lock);
    uintptr_t level = (uintptr_t)g_hash_table_lookup(dbt->besides, page);
    if (often) {
        dbt->counters.besides++;
        level += level < LEVELS;
        if (level == 1 && g_hash_table_size(dbt->besides) == KNOWN_MAX) {
            g_hash_table_remove_all(dbt->besides);
        }
        g_hash_table_insert(dbt->besides, page, (gpointer)level);
    }
    g_mutex_unlock(&dbt->lock);
    *b = (DbtBeside){ .page = page, .left = (uint64_t)WRITES << SHIFT * level };
    if (often) {
        dbt_ram_written(dbt, ram, offset, 0, X86_PAGE_MASK);
    }
    return often;
}

/* --- sites --- */

enum {
    RUNS        = 256,  /* of a site that are counted */
    ENOUGH      = 64,   /* so that another site of the unit can be judged too */
    PERCENT     = 10,   /* of misses, for the TLB to be better */
    RUN_PERCENT = 3,    /* the same for a run, which cost more */
    RUN_SOON    = 48,   /* times that a run may miss DBT_RUN_MISSES times before it is judged, */
    RUN_LATE    = 1024, /* and after that, with RUN_SLOW times as many misses each */
    RUN_SLOW    = 8,
    LOOK_SOON   = 2,  /* of those times, before a window is made, */
    LOOK_AGAIN  = 16, /* and before it is made again: a program touches the pages of an array one after the other */
    LOOK_LATE   = 64, /* and before others are */
    PATIENCE = 64, /* times that a site judged to be better off with its micro entry may miss DBT_MISSES times more */
    SAMPLES  = 8,  /* that find a site looking into the TLB until a run is tried again, and twice as many each time, */
    RETRIES  = 8,  /* so often */
};

/* What is known of an instruction, in the table's pointers. All 0: nothing. */
typedef union Note {
    gpointer pointer;
    struct {
        uint32_t advice : 3, /* DbtAdvice */
            side : 1,        /* with ADVICE_COUNT: a run of pages is worth trying */
            times : 28;      /* it has missed so often for that: DBT_MISSES or DBT_RUN_MISSES times each */
        uint16_t samples;    /* with ADVICE_TLB */
        uint16_t retries;
    };
} Note;
G_STATIC_ASSERT(sizeof(Note) == sizeof(gpointer));

static Note known(const Dbt *dbt, const uint8_t *insn)
{
    return (Note){ .pointer = dbt_is_noted(dbt, insn) ? g_hash_table_lookup(dbt->advice, insn) : NULL };
}

/* false: there is no room. */
static bool note(Dbt *dbt, const uint8_t *insn, Note n)
{
    if (g_hash_table_size(dbt->advice) >= KNOWN_MAX && !known(dbt, insn).pointer) {
        return false;
    }
    g_hash_table_insert(dbt->advice, (gpointer)insn, n.pointer);
    dbt_set_noted(dbt, insn);
    return true;
}

/* It begins anew as that. */
static bool advise(Dbt *dbt, const uint8_t *insn, DbtAdvice advice)
{
    return note(dbt, insn, (Note){ .advice = advice, .retries = known(dbt, insn).retries });
}

DbtAdvice dbt_advice(const Dbt *dbt, const uint8_t *insn)
{
    Note n = known(dbt, insn);
    if (!n.pointer && dbt->mixed) {
        return (DbtAdvice)(dbt_count_slot(insn) % (ADVICE_COUNT_RUN + 1));
    }
    return (DbtAdvice)n.advice;
}

void dbt_set_mixed(Dbt *dbt, bool on)
{
    g_mutex_lock(&dbt->lock);
    dbt->mixed = on;
    g_mutex_unlock(&dbt->lock);
}

static bool count(DbtFrame *f, const uint8_t *insn, DbtAdvice as, bool side)
{
    unsigned slot   = dbt_count_slot(insn);
    f->left[slot]   = RUNS;
    f->missed[slot] = 0;
    return note(f->dbt, insn, (Note){ .advice = as, .side = side, .retries = known(f->dbt, insn).retries });
}

/* The unit, and all that have instructions of it, at whatever address: a loop's first pass is often in another unit
 * than the rest, and says nothing about it. */
static void make_anew(Dbt *dbt, const DbtUnit *u)
{
    const uint8_t *start = u->host, *end = start + u->len;
    DbtPage       *page = dbt_pages_find(&dbt->pages, start);
    for (unsigned k = page->n; k-- > 0;) {
        DbtUnit *i = page->units[k].unit;
        if (i->host < end && start < i->host + i->len && !i->dead) {
            dbt_kill(dbt, i);
            k = MIN(k, page->n);
        }
    }
}

bool dbt_note_missed(DbtFrame *f, const uint8_t *at, const DbtSite *site, bool side)
{
    Dbt *dbt  = f->dbt;
    bool anew = false;

    g_mutex_lock(&dbt->lock);
    DbtUnit *u = dbt_unit_at(dbt, at);
    if (u && !u->dead) {
        const uint8_t *insn = u->host + u->insn_off[site->insn];
        Note           n    = known(dbt, insn);
        switch ((DbtAdvice)n.advice) {
        case ADVICE_NONE:
        case ADVICE_HOT:
            for (unsigned i = 0; i < u->n; i++) {
                DbtAdvice other = dbt_advice(dbt, u->host + u->insn_off[i]);
                if (u->checks >> i & 1 && (other == ADVICE_NONE || other == ADVICE_HOT)) {
                    anew |= count(f, u->host + u->insn_off[i], ADVICE_COUNT, side);
                }
            }
            break;
        case ADVICE_MICRO:
            if (++n.times == PATIENCE) {
                anew = count(f, insn, ADVICE_COUNT, side);
            } else {
                note(dbt, insn, n);
            }
            break;
        case ADVICE_TLB:
            if (site->flags & SITE_TLB) { /* it goes across pages */
                count(f, insn, ADVICE_COUNT, side);
            }
            anew = true; /* else this unit does not do it yet */
            break;
        case ADVICE_RUN: anew = true; break;
        case ADVICE_COUNT:
        case ADVICE_COUNT_RUN: break;
        }
        if (anew) {
            make_anew(dbt, u);
        }
    }
    g_mutex_unlock(&dbt->lock);
    return anew;
}

bool dbt_note_run(DbtFrame *f, const uint8_t *at, const DbtSite *site, bool *look)
{
    Dbt *dbt  = f->dbt;
    bool anew = false;

    f->misses[site->micro] = DBT_RUN_MISSES;
    g_mutex_lock(&dbt->lock);
    DbtUnit *u = dbt_unit_at(dbt, at);
    if (u && !u->dead) {
        const uint8_t *insn = u->host + u->insn_off[site->insn];
        Note           n    = known(dbt, insn);
        switch ((DbtAdvice)n.advice) {
        case ADVICE_RUN:
            n.times++;
            f->misses[site->micro] *= n.times > RUN_SOON ? RUN_SLOW : 1;
            *look = n.times == LOOK_SOON || n.times == LOOK_AGAIN || n.times % LOOK_LATE == 0;
            anew  = n.times == RUN_SOON || n.times == RUN_LATE;
            if (anew) {
                count(f, insn, ADVICE_COUNT_RUN, false);
            } else {
                note(dbt, insn, n);
            }
            break;
        case ADVICE_TLB: anew = true; break; /* this unit does not do it yet */
        case ADVICE_NONE:
        case ADVICE_COUNT:
        case ADVICE_MICRO:
        case ADVICE_HOT:
        case ADVICE_COUNT_RUN: break;
        }
        if (anew) {
            make_anew(dbt, u);
        }
    }
    g_mutex_unlock(&dbt->lock);
    return anew;
}

/* Looks into the TLB, where a run may do better now: a site is judged while a program begins, when its arrays are not
 * there yet. true: is to be tried. */
static bool take_sample(Dbt *dbt, const uint8_t *insn)
{
    Note n = known(dbt, insn);
    if (n.advice != ADVICE_TLB || n.retries == RETRIES) {
        return false;
    }
    bool again = ++n.samples == SAMPLES << n.retries;
    if (again) {
        n = (Note){ .advice = ADVICE_RUN, .retries = (uint16_t)(n.retries + 1) };
        dbt->counters.retried++;
    }
    note(dbt, insn, n);
    return again;
}

void dbt_note_sample(DbtFrame *f, const uint8_t *host)
{
    enum { UNITS = 64 }; /* that are looked at */
    Dbt *dbt = f->dbt;
    g_mutex_lock(&dbt->lock);
    const DbtPage *page = dbt_pages_find(&dbt->pages, host);
    const DbtUnit *anew = NULL;
    unsigned       left = UNITS;
    for (unsigned k = page ? page->n : 0; k-- > 0 && left-- && !anew;) {
        const DbtUnit *u = page->units[k].unit;
        for (unsigned i = 0; u->host <= host && host < u->host + u->len && i < u->n; i++) {
            if (u->checks & u->may_run & UINT64_C(1) << i && take_sample(dbt, u->host + u->insn_off[i])) {
                anew = u;
            }
        }
    }
    if (anew) {
        make_anew(dbt, anew);
    }
    g_mutex_unlock(&dbt->lock);
}

static bool is_counted(DbtAdvice advice)
{
    return advice == ADVICE_COUNT || advice == ADVICE_COUNT_RUN;
}

/* From a micro entry to a run of pages if there may be one, or to the TLB, and from a run to the TLB. */
static void judge(DbtFrame *f, const DbtUnit *u, unsigned i, unsigned runs)
{
    const uint8_t *insn  = u->host + u->insn_off[i];
    Note           n     = known(f->dbt, insn);
    bool           run   = n.advice == ADVICE_COUNT_RUN;
    bool           often = f->missed[dbt_count_slot(insn)] * 100u >= runs * (run ? RUN_PERCENT : PERCENT);
    if (run && !often) {
        note(f->dbt, insn, (Note){ .advice = ADVICE_RUN, .times = RUN_SOON, .retries = n.retries });
    } else if (!run && often && n.side && u->may_run >> i & 1) {
        advise(f->dbt, insn, ADVICE_RUN);
        f->dbt->counters.judged_run++;
        often = false;
    } else {
        advise(f->dbt, insn, often ? ADVICE_TLB : ADVICE_MICRO);
    }
    f->dbt->counters.judged++;
    f->dbt->counters.judged_tlb += often;
}

void dbt_note_hot(DbtFrame *f, const uint8_t *at)
{
    Dbt *dbt = f->dbt;
    g_mutex_lock(&dbt->lock);
    DbtUnit *u = dbt_unit_at(dbt, at);
    if (u && !u->dead) {
        bool anew = false;
        for (unsigned i = 0; i < u->n; i++) {
            const uint8_t *insn = u->host + u->insn_off[i];
            if (u->checks >> i & 1 && !known(dbt, insn).pointer) {
                anew |= advise(dbt, insn, ADVICE_HOT);
            }
        }
        if (anew) {
            dbt_kill(dbt, u); /* that alone: those that it shares code with may stay cold */
        }
    }
    g_mutex_unlock(&dbt->lock);
}

bool dbt_note_counted(DbtFrame *f, const uint8_t *at)
{
    Dbt    *dbt  = f->dbt;
    DbtSite site = dbt_site_of(at);
    bool    anew = false;

    g_mutex_lock(&dbt->lock);
    DbtUnit *u = dbt_unit_at(dbt, at);
    if (u && !u->dead) {
        const uint8_t *insn = u->host + u->insn_off[site.insn];
        if (is_counted(dbt_advice(dbt, insn))) {
            judge(f, u, site.insn, RUNS);
        }
        for (unsigned i = 0; i < u->n; i++) {
            const uint8_t *other = u->host + u->insn_off[i];
            unsigned       left  = f->left[dbt_count_slot(other)];
            if (is_counted(dbt_advice(dbt, other)) && left <= RUNS - ENOUGH) {
                judge(f, u, i, RUNS - left);
            }
        }
        make_anew(dbt, u);
        anew = true;
    }
    g_mutex_unlock(&dbt->lock);
    return anew;
}
