/* What the translator learns while code runs: memory that is written beside code, and accesses across pages. */

#include "../unit/guest.h"
#include "accel/dbt/adapt.h"
#include "accel/dbt/trace.h"
#include "cpu/x86/vector.h"

enum { PAGE = 4096, OTHER = GUEST_DATA + 0x800 };

typedef struct Fixture {
    Guest *guest;
    Dbt   *dbt;
} Fixture;

/* loop: mov [rbx], rax; inc rax; cmp rax, rcx; jne loop; hlt */
static const uint8_t store_code[] = { 0x48, 0x89, 0x03, 0x48, 0xff, 0xc0, 0x48, 0x39, 0xc8, 0x75, 0xf5, 0xf4 };
/* loop: movq [rbx], xmm0; inc rax; cmp rax, rcx; jne loop; hlt: a store that C does not make by itself */
static const uint8_t vector_code[] = { 0x66, 0x0f, 0xd6, 0x03, 0x48, 0xff, 0xc0, 0x48, 0x39, 0xc8, 0x75, 0xf4, 0xf4 };
/* mov rdx, [rbx]; hlt */
static const uint8_t other_code[] = { 0x48, 0x8b, 0x13, 0xf4 };

/* loop: mov rdx, [rbx]; dec rcx; jnz loop; hlt */
static const uint8_t load_code[] = { 0x48, 0x8b, 0x13, 0x48, 0xff, 0xc9, 0x75, 0xf8, 0xf4 };
/* The same with mov rax, cr3; mov cr3, rax in each turn. */
static const uint8_t flush_code[] = { 0x48, 0x8b, 0x13, 0x0f, 0x20, 0xd8, 0x0f, 0x22,
                                      0xd8, 0x48, 0xff, 0xc9, 0x75, 0xf2, 0xf4 };
/* The same with mov eax, 100000; again: dec eax; jnz again: what takes 16 us or more. */
static const uint8_t sparse_code[] = { 0x48, 0x8b, 0x13, 0xb8, 0xa0, 0x86, 0x01, 0x00, 0xff,
                                       0xc8, 0x75, 0xfc, 0x48, 0xff, 0xc9, 0x75, 0xef, 0xf4 };

static void setup(Fixture *f, gconstpointer unused)
{
    g_auto(Error) err = { 0 };
    g_assert_true(x86_vector_init(&err));
    f->guest = guest_new(1);
    f->dbt   = dbt_new(16 << 20, &err);
    g_assert_nonnull(f->dbt);
}

static void teardown(Fixture *f, gconstpointer unused)
{
    guest_free(f->guest);
    dbt_free(f->dbt);
}

static uint64_t counter(Fixture *f, const char *name)
{
    uint64_t value = UINT64_MAX;
    g_assert_true(dbt_counter(f->dbt, name, &value));
    return value;
}

/* With the vCPU as it is but for these. */
static void go_on(Fixture *f, unsigned n, uint64_t at, uint64_t rbx, uint64_t times)
{
    X86Cpu *cpu       = f->guest->cpus[n];
    cpu->rip          = at;
    cpu->gpr[X86_RBX] = rbx;
    cpu->gpr[X86_RCX] = times;
    vcpu_enter(&cpu->vcpu);
    g_assert_cmpint(dbt_run(f->dbt, cpu), ==, X86_EXIT_HALT);
    vcpu_leave(&cpu->vcpu);
}

static void run_on(Fixture *f, unsigned n, uint64_t at, uint64_t rbx, uint64_t times)
{
    guest_set_mode(f->guest, n, GUEST_LONG64, 0);
    go_on(f, n, at, rbx, times);
}

static void run(Fixture *f, uint64_t at, uint64_t rbx, uint64_t times)
{
    run_on(f, 0, at, rbx, times);
}

/* A unit whose look-ups are called is made anew when it runs often, densely, and long from one flush to the next. */
static void test_hot(Fixture *f, gconstpointer unused)
{
    guest_poke(f->guest, GUEST_CODE, load_code, sizeof load_code);
    run(f, GUEST_CODE, GUEST_DATA, DBT_WARM_RUNS);
    g_assert_cmpuint(counter(f, "killed"), ==, 0);
    run(f, GUEST_CODE, GUEST_DATA, DBT_WARM_RUNS + DBT_TRIAL_RUNS + 100); /* counters are the run's */
    g_assert_cmpuint(counter(f, "killed"), ==, 1);

    guest_poke(f->guest, OTHER, flush_code, sizeof flush_code);
    run(f, OTHER, GUEST_DATA, 4 * (DBT_WARM_RUNS + DBT_TRIAL_RUNS));
    g_assert_cmpuint(counter(f, "killed"), ==, 1);

    guest_poke(f->guest, OTHER, sparse_code, sizeof sparse_code);
    uint64_t killed = counter(f, "killed"); /* flush_code's too, by now */
    run(f, OTHER, GUEST_DATA, DBT_WARM_RUNS + DBT_TRIAL_RUNS + 100);
    g_assert_cmpuint(counter(f, "killed"), ==, killed);
}

/* A page that held code and is data now loses its units after a few slow stores. Where the code is still used, it
 * takes more of them each time. */
static void test_beside(Fixture *f, gconstpointer unused)
{
    enum { TIMES = 20000, ROUNDS = 6, ENOUGH = 5 /* then they are more than TIMES */ };
    X86Cpu *cpu = f->guest->cpus[0];
    guest_poke(f->guest, GUEST_CODE, store_code, sizeof store_code);
    guest_poke(f->guest, OTHER, other_code, sizeof other_code);

    for (unsigned i = 1; i <= ROUNDS; i++) {
        uint64_t before = counter(f, "slow-access-run");
        run(f, OTHER, GUEST_DATA, 0);
        g_assert_cmpuint(cpu->gpr[X86_RDX], ==, i == 1 ? 0 : TIMES - 1);
        run(f, GUEST_CODE, GUEST_DATA, TIMES);
        g_assert_cmpuint(counter(f, "pages-beside"), ==, MIN(i, (unsigned)ENOUGH));
        uint64_t slow = counter(f, "slow-access-run") - before;
        g_assert_cmpuint(slow, >=, MIN(12u << 2 * (i - 1), TIMES / 2));
        g_assert_cmpuint(slow, <=, MIN(36u << 2 * (i - 1), TIMES + 16u));
    }
}

/* The bytes of the code itself: at once, and that counts for nothing. */
static void test_over(Fixture *f, gconstpointer unused)
{
    X86Cpu *cpu = f->guest->cpus[0];
    guest_poke(f->guest, GUEST_CODE, store_code, sizeof store_code);
    for (unsigned i = 0; i < 8; i++) {
        guest_poke(f->guest, OTHER, other_code, sizeof other_code);
        run(f, OTHER, GUEST_DATA, 0);
        run(f, GUEST_CODE, OTHER - 4, 1000);
        g_assert_cmpuint(f->guest->host[OTHER], ==, 0); /* the upper half of 999 */
        g_assert_cmpuint(cpu->gpr[X86_RAX], ==, 1000);
    }
    g_assert_cmpuint(counter(f, "pages-beside"), ==, 0);
}

/* A vCPU has marked a page as code, but the others have not been told yet: who translates of it tells them. */
static void test_marked(Fixture *f, gconstpointer unused)
{
    enum { SEEN = 7, HLT = 0xf4 };
    Guest   *guest = guest_new(2);
    Fixture  two   = { .guest = guest, .dbt = f->dbt };
    X86Cpu  *cpu = guest->cpus[0], *writer = guest->cpus[1];
    uint64_t seen = SEEN;

    guest_poke(guest, GUEST_CODE, store_code, sizeof store_code);
    guest_poke(guest, OTHER, other_code, sizeof other_code);
    guest_poke(guest, GUEST_DATA + PAGE, &seen, sizeof seen);
    run_on(&two, 1, GUEST_CODE, OTHER + 64, 1); /* may write to the page from now on */
    ram_block_mark_code(guest->block, OTHER, 1);
    run_on(&two, 0, OTHER, GUEST_DATA + PAGE, 0);
    g_assert_cmpuint(cpu->gpr[X86_RDX], ==, SEEN);

    writer->gpr[X86_RAX] = HLT;
    go_on(&two, 1, GUEST_CODE, OTHER, HLT + 1);
    run_on(&two, 0, OTHER, GUEST_DATA + PAGE, 0);
    g_assert_cmpuint(cpu->gpr[X86_RDX], ==, 0);
    guest_free(guest);
}

/* A store that goes across two pages each time finds both in one run of pages before long. */
static void test_across(Fixture *f, gconstpointer unused)
{
    enum { TIMES = 1000000 };
    X86Cpu *cpu = f->guest->cpus[0];
    guest_poke(f->guest, GUEST_CODE, vector_code, sizeof vector_code);
    run(f, GUEST_CODE, GUEST_DATA + PAGE - 4, TIMES);
    g_assert_cmpuint(cpu->gpr[X86_RAX], ==, TIMES);
    g_assert_cmpuint(counter(f, "slow-access"), <, TIMES / 20);

    guest_poke(f->guest, GUEST_CODE + PAGE, store_code, sizeof store_code);
    run(f, GUEST_CODE + PAGE, GUEST_DATA + 3 * PAGE - 1, TIMES);
    uint64_t value;
    memcpy(&value, f->guest->host + GUEST_DATA + 3 * PAGE - 1, 8);
    g_assert_cmpuint(value, ==, TIMES - 1);
    g_assert_cmpuint(counter(f, "slow-access"), <, TIMES / 10);
}

/* Stores that lie in two pages in code that is new: what goes on there is found by what was found before, and after a
 * while the way there is a jump. */
static void test_crosses(Fixture *f, gconstpointer unused)
{
    enum { TIMES = 20000 };
    /* loop: mov [rbx], rax; mov [rbx + 8], rax; inc rax; cmp rax, rcx; jne loop; hlt */
    static const uint8_t code[] = { 0x48, 0x89, 0x03, 0x48, 0x89, 0x43, 0x08, 0x48,
                                    0xff, 0xc0, 0x48, 0x39, 0xc8, 0x75, 0xf1, 0xf4 };
    guest_poke(f->guest, GUEST_CODE, code, sizeof code);
    run(f, GUEST_CODE, GUEST_DATA + PAGE - 8, TIMES);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t value;
        memcpy(&value, f->guest->host + GUEST_DATA + PAGE - 8 + 8 * i, 8);
        g_assert_cmpuint(value, ==, TIMES - 1);
    }
    g_assert_cmpuint(counter(f, "slow-group"), >=, 100);
    g_assert_cmpuint(counter(f, "slow-group"), <, 1000);
    g_assert_cmpuint(counter(f, "slow-group-failed"), ==, 0);
}

/* A site that goes to and fro between far pages looks into the TLB. Where kicks find it again and again, a run is tried
 * once more, each time later. */
static void test_retry(Fixture *f, gconstpointer unused)
{
    enum { TIMES = 500000, MOST = 100 };
    /* loop: mov [rbx], rax; xor rbx, 0x200000; inc rax; cmp rax, rcx; jne loop; hlt */
    static const uint8_t code[]    = { 0x48, 0x89, 0x03, 0x48, 0x81, 0xf3, 0x00, 0x00, 0x20, 0x00,
                                       0x48, 0xff, 0xc0, 0x48, 0x39, 0xc8, 0x75, 0xee, 0xf4 };
    g_autofree DbtFrame *frame     = g_new0(DbtFrame, 1);
    const uint8_t       *where     = f->guest->host + GUEST_CODE + 3;
    unsigned             needed[2] = { 0 };

    frame->dbt = f->dbt;
    guest_poke(f->guest, GUEST_CODE, code, sizeof code);
    for (unsigned i = 0; i < 2; i++) {
        uint64_t judged = counter(f, "sites-tlb");
        run(f, GUEST_CODE, GUEST_DATA, TIMES);
        g_assert_cmpuint(counter(f, "sites-tlb"), >, judged);
        while (counter(f, "sites-retried") == i && needed[i] < MOST) {
            dbt_note_sample(frame, where);
            needed[i]++;
        }
    }
    g_assert_cmpuint(needed[0], >, 1);
    g_assert_cmpuint(needed[1], >, needed[0]);
    g_assert_cmpuint(needed[1], <, MOST);
}

/* Branches to other pages: they follow when the code there is written, and when the page is another one. */
static void test_far(Fixture *f, gconstpointer unused)
{
    enum { LARGE = 2 << 20, HERE = 4 * LARGE, THERE = 5 * LARGE, OTHER_PAGE = 6 * LARGE, PRESENT = 0x83 };
    /* invlpg [rbx]; jmp THERE */
    static const uint8_t go[] = { 0x0f, 0x01, 0x3b, 0xe9, 0xf8, 0xff, 0x1f, 0x00 };
    /* mov eax, 1; hlt */
    uint8_t code[] = { 0xb8, 1, 0, 0, 0, 0xf4 };
    X86Cpu *cpu    = f->guest->cpus[0];

    guest_poke(f->guest, HERE, go, sizeof go);
    for (unsigned round = 1; round <= 3; round++) {
        code[1] = (uint8_t)round;
        guest_poke(f->guest, THERE, code, sizeof code);
        code[1] = (uint8_t)(round + 100);
        guest_poke(f->guest, OTHER_PAGE, code, sizeof code);
        for (unsigned i = 0; i < 4; i++) {
            bool     moved = i & 1;
            uint64_t entry = (moved ? OTHER_PAGE : THERE) | PRESENT;
            guest_set_mode(f->guest, 0, GUEST_LONG64, 0);
            guest_poke(f->guest, GUEST_TABLES + 2 * PAGE + THERE / LARGE * 8, &entry, sizeof entry);
            cpu->rip          = HERE;
            cpu->gpr[X86_RBX] = THERE;
            vcpu_enter(&cpu->vcpu);
            g_assert_cmpint(dbt_run(f->dbt, cpu), ==, X86_EXIT_HALT);
            vcpu_leave(&cpu->vcpu);
            g_assert_cmpuint(cpu->gpr[X86_RAX], ==, round + (moved ? 100 : 0));
        }
    }
}

/* A loop over two pages jumps through its cells: C is asked once for each. */
static void test_cells(Fixture *f, gconstpointer unused)
{
    enum { TIMES = 100000, AT = GUEST_CODE + 16 /* the first slot of the jump cache is never filled */ };
    /* loop: inc rax; jmp other; other: cmp rax, rcx; jne loop; hlt */
    static const uint8_t here[]  = { 0x48, 0xff, 0xc0, 0xe9, 0xf8, 0x0f, 0x00, 0x00 };
    static const uint8_t there[] = { 0x48, 0x39, 0xc8, 0x0f, 0x85, 0xf7, 0xef, 0xff, 0xff, 0xf4 };
    guest_poke(f->guest, AT, here, sizeof here);
    guest_poke(f->guest, AT + PAGE, there, sizeof there);
    run(f, AT, 0, TIMES);
    g_assert_cmpuint(f->guest->cpus[0]->gpr[X86_RAX], ==, TIMES);
    g_assert_cmpuint(counter(f, "lookup"), <, 20);

    f->dbt->n_cells = DBT_CELLS; /* none are left: by the jump cache */
    guest_poke(f->guest, AT, here, sizeof here);
    guest_poke(f->guest, AT + PAGE, there, sizeof there);
    run(f, AT, 0, TIMES);
    g_assert_cmpuint(f->guest->cpus[0]->gpr[X86_RAX], ==, TIMES);
    g_assert_cmpuint(counter(f, "lookup"), <, 40);
}

/* The memory for code is full when a unit needs its variant without groups: the unit itself is still found. */
static void test_full(Fixture *f, gconstpointer unused)
{
    /* mov [rbx], rcx; mov [rbx + 8], rcx; hlt */
    static const uint8_t two_stores[] = { 0x48, 0x89, 0x0b, 0x48, 0x89, 0x4b, 0x08, 0xf4 };
    guest_poke(f->guest, GUEST_CODE, two_stores, sizeof two_stores);
    run(f, GUEST_CODE, GUEST_DATA, 5);
    f->dbt->full = true;
    run(f, GUEST_CODE, GUEST_DATA + PAGE - 8, 7);
    g_assert_cmpuint(f->guest->host[GUEST_DATA + PAGE - 8], ==, 7);
    g_assert_cmpuint(f->guest->host[GUEST_DATA + PAGE], ==, 7);
    g_assert_false(f->dbt->full);
    g_assert_cmpuint(counter(f, "emptied"), ==, 1);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/dbt/adapt/hot", Fixture, NULL, setup, test_hot, teardown);
    g_test_add("/dbt/adapt/beside", Fixture, NULL, setup, test_beside, teardown);
    g_test_add("/dbt/adapt/over", Fixture, NULL, setup, test_over, teardown);
    g_test_add("/dbt/adapt/marked", Fixture, NULL, setup, test_marked, teardown);
    g_test_add("/dbt/adapt/across", Fixture, NULL, setup, test_across, teardown);
    g_test_add("/dbt/adapt/crosses", Fixture, NULL, setup, test_crosses, teardown);
    g_test_add("/dbt/adapt/retry", Fixture, NULL, setup, test_retry, teardown);
    g_test_add("/dbt/adapt/far", Fixture, NULL, setup, test_far, teardown);
    g_test_add("/dbt/adapt/cells", Fixture, NULL, setup, test_cells, teardown);
    g_test_add("/dbt/adapt/full", Fixture, NULL, setup, test_full, teardown);
    return g_test_run();
}
