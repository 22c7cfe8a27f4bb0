/* Checks of the processor's corners: one framework for the program in long mode (over ../rt) and the one in legacy
 * modes (legacy.c). A check has an id, a sentence, and the paragraph of the manual that says so; each is one line of
 * TAP.
 *
 * CASE() runs a piece of code in some mode up to the instruction under test and compares what that raises:
 *
 *     CASE("seg.byte-beyond", "a byte beyond the limit is #GP(0)", "SDM 3, 5.3", R3, FS_T1, "movb %fs:0x1000, %al",
 * GP(0), .t1 = SEGMENT(0x50000, 0xfff, UDATA_SEG))
 *
 * Ids are unique: peers.py compares by them. "trace=1" on the command line says which case begins, "from=N" leaves the
 * first N out.
 *
 * CHECK() is a function that returns whether all is well, and GROUP() a function that calls check() for each line. */

#ifndef QUERN_TESTS_GUEST_CORNERS_CHECK_H
#define QUERN_TESTS_GUEST_CORNERS_CHECK_H

#ifdef __i386__
#include "legacy.h"
#define FRAME_IP(f)    ((f)->eip)
#define FRAME_AX(f)    ((f)->eax)
#define FRAME_FLAGS(f) ((f)->eflags)
#else
#include "long.h"
#define FRAME_IP(f)    ((f)->rip)
#define FRAME_AX(f)    ((f)->rax)
#define FRAME_FLAGS(f) ((f)->rflags)
#endif

/* A segment descriptor: attributes as in bits 40 to 55 of it, limit as it stands there. */
#define SEGMENT(base, limit, attributes)                                                                               \
    ((u64)((limit)&0xffff) | (u64)((u32)(base)&0xffffff) << 16 | (u64)((attributes)&0xff) << 40 |                      \
     (u64)((limit) >> 16 & 0xf) << 48 | (u64)((attributes) >> 12 & 0xf) << 52 | (u64)((u32)(base) >> 24) << 56)
#define GATE(selector, offset, attributes)                                                                             \
    ((u64)((Word)(offset)&0xffff) | (u64)(selector) << 16 | (u64)(attributes) << 40 |                                  \
     (u64)((u32)(Word)(offset) >> 16) << 48)
#define GATE_N(selector, offset, attributes, n) (GATE(selector, offset, attributes) | (u64)(n) << 32)

enum { AT_INSN, AT_END, AT_ANY, AT_BREAK /* behind the INT3 that ends the code */ };

typedef struct Case {
    const char *id, *text, *where;
    bool (*run)(void);   /* CHECK() */
    void (*group)(void); /* GROUP() */
    const u8 *code, *insn, *end;
    Word      ax;             /* with check_ax: EAX or RAX afterwards */
    Word      address;        /* with check_cr2 */
    u64       t1, t2, t3, t4; /* descriptors in the slots T1 to T4 */
    void (*before)(Frame *f);
    bool (*after)(const Frame *f);
    bool (*when)(void); /* skipped unless it says true */
    u32  error, flags;  /* flags: set on entry */
    u8   mode, vector, at;
    bool check_ax, check_cr2, any_error;
} __attribute__((aligned(8))) Case;

#define CASE_AGAIN(n, ...) CASE_(n, __VA_ARGS__)
#define CASE(...)          CASE_AGAIN(__COUNTER__, __VA_ARGS__)
#define CASE_(n, id_, text_, where_, mode_, setup_, insn_, ...)                                                        \
    __asm__(".pushsection .text\n" CODE_##mode_ ".set case_code_here, .\ncase_" #n "_code:\n" setup_ "\ncase_" #n      \
                                                "_insn:\n" insn_ "\ncase_" #n "_end:\nint3\n" CODE_OWN ".popsection"); \
    extern const u8   case_##n##_code[], case_##n##_insn[], case_##n##_end[];                                          \
    static const Case case_##n __attribute__((section("cases"), used, aligned(8))) = { .id    = id_,                   \
                                                                                       .text  = text_,                 \
                                                                                       .where = where_,                \
                                                                                       .mode  = mode_,                 \
                                                                                       .code  = case_##n##_code,       \
                                                                                       .insn  = case_##n##_insn,       \
                                                                                       .end   = case_##n##_end,        \
                                                                                       __VA_ARGS__ };

#define CHECK(name, id_, text_, where_)                                                                                \
    static bool       name(void);                                                                                      \
    static const Case check_##name __attribute__((                                                                     \
        section("cases"), used, aligned(8))) = { .id = id_, .text = text_, .where = where_, .run = name };             \
    static bool       name(void)
#define GROUP(name)                                                                                                    \
    static void       name(void);                                                                                      \
    static const Case group_##name                                                                                     \
        __attribute__((section("cases"), used, aligned(8))) = { .id = #name, .group = name };                          \
    static void name(void)

/* What is expected: at which place follows from the vector. */
#define LANDS            .vector = 3, .at = AT_ANY /* at an INT3 somewhere else */
#define NONE             .vector = 3, .at = AT_BREAK
#define VALUE(x)         .vector = 3, .at = AT_BREAK, .check_ax = true, .ax = (x)
#define FAULT(v)         .vector = (v), .at = AT_INSN
#define FAULT_E(v, e)    .vector = (v), .error = (e), .at = AT_INSN
#define DE               FAULT(0)
#define TRAP(v)          .vector = (v), .at = AT_END
#define BR               FAULT(5)
#define DOUBLE           .vector = 8, .at = AT_INSN
#define UD               FAULT(6)
#define NM               FAULT(7)
#define TS(e)            FAULT_E(10, e)
#define NP(e)            FAULT_E(11, e)
#define SS(e)            FAULT_E(12, e)
#define GP(e)            FAULT_E(13, e)
#define PAGE_FAULT(e, a) .vector = 14, .error = (e), .at = AT_INSN, .check_cr2 = true, .address = (a)
#define MF               FAULT(16)
#define ALIGN            FAULT_E(17, 0)

/* Something to be done before the case is run, and what is to hold afterwards. */
#define BEFORE(name, ...)                                                                                              \
    static void name(Frame *f)                                                                                         \
    {                                                                                                                  \
        __VA_ARGS__;                                                                                                   \
    }
#define AFTER(name, ...)                                                                                               \
    static bool name(const Frame *f)                                                                                   \
    {                                                                                                                  \
        return __VA_ARGS__;                                                                                            \
    }

/* Reports one check of a group. */
bool check(bool ok, const char *id, const char *text, const char *where);
/* All cases; returns how many failed. Prints the plan. */
unsigned run_checks(void);

/* Given by each program: a frame for the case (its code where it can run), and the entry's linear address. */
void case_frame(const Case *c, Frame *f, Word *start);
/* Tables, control registers and MSRs as each case, check and group finds them. */
void case_tables(const Case *c);

#endif
