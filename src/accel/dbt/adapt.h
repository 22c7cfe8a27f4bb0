/* What is learnt of units while they run: see adapt.c. */

#ifndef QUERN_ACCEL_DBT_ADAPT_H
#define QUERN_ACCEL_DBT_ADAPT_H

#include "accel/dbt/dbt.h"

typedef enum DbtAdvice {
    ADVICE_NONE,
    ADVICE_COUNT, /* count how often it runs and how often its micro entry misses */
    ADVICE_MICRO,
    ADVICE_TLB,       /* it misses so often that it had better look into the TLB itself */
    ADVICE_HOT,       /* its unit runs often: a micro entry, until it is found to miss */
    ADVICE_RUN,       /* it goes through many pages: they may lie side by side */
    ADVICE_COUNT_RUN, /* as that, and counted */
} DbtAdvice;

DbtAdvice              dbt_advice(const Dbt *dbt, const uint8_t *insn); /* lock held */
static inline unsigned dbt_count_slot(const uint8_t *insn)              /* in frame.left and frame.missed */
{
    return (unsigned)((uintptr_t)insn * UINT64_C(0x9e3779b97f4a7c15) >> 58) % DBT_COUNTED;
}

static inline DbtBeside *dbt_beside(DbtFrame *f, const uint8_t *page)
{
    return &f->besides[(uintptr_t)page * UINT64_C(0x9e3779b97f4a7c15) >> 32 & (DBT_BESIDES - 1)];
}

/* Parked, lock not held. `at`: where the site's call comes back to. true: the unit is gone, and made anew next time. */
void dbt_note_misfit(DbtFrame *f, const uint8_t *at); /* a group's range cannot be checked at once */
/* A page with code in it is written, and dbt_beside() is not the page's or has counted down to 0: true for that. */
bool dbt_note_beside(DbtFrame *f, RamBlock *ram, uint64_t offset);
/* A micro entry has missed DBT_SAMPLES_WANTED times DBT_MISSES times; `side`: always in one run of pages. */
bool dbt_note_missed(DbtFrame *f, const uint8_t *at, const DbtSite *site, bool side);
/* A run has missed DBT_RUN_MISSES times; *look: it is worth while to make a window. */
bool dbt_note_run(DbtFrame *f, const uint8_t *at, const DbtSite *site, bool *look);
bool dbt_note_counted(DbtFrame *f, const uint8_t *at);
/* A kick has found the vCPU at the guest's code there: some of it runs often. Parked, lock not held. */
void dbt_note_sample(DbtFrame *f, const uint8_t *host);
/* May something be noted about the guest's code there? Lock held. */
static inline uint64_t dbt_noted_bit(const uint8_t *insn)
{
    return (uintptr_t)insn * UINT64_C(0x9e3779b97f4a7c15) >> 48;
}

static inline bool dbt_is_noted(const Dbt *dbt, const uint8_t *insn)
{
    return dbt->noted[dbt_noted_bit(insn) / 64] >> dbt_noted_bit(insn) % 64 & 1;
}

static inline void dbt_set_noted(Dbt *dbt, const uint8_t *insn)
{
    dbt->noted[dbt_noted_bit(insn) / 64] |= UINT64_C(1) << dbt_noted_bit(insn) % 64;
}

void dbt_note_hot(DbtFrame *f, const uint8_t *at); /* a look-up has been called often: from there */

#endif
