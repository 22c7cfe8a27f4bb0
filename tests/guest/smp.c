/* Several vCPUs: TLB shoot-down, memory order, atomics.
 *
 * "seconds=N" on the command line: how long the torture goes on (default 2). */

#include "rt/rt.h"

enum { AT = WINDOW + 0x10000, CODE_AT = WINDOW + 0x20000, SHOOT = 0x50 };

/* --- TLB shoot-down --- */

static u64           shot_pages[2];
static volatile bool stop;
static volatile u64  acked;      /* by the interrupt handler: how many invalidations it has seen */
static volatile u64  generation; /* of the mapping: page generation % 2 is mapped */
static volatile u64  wrong, looked;

static void invalidate(Cpu *cpu, Frame *f)
{
    if (f->vector != SHOOT) {
        return; /* smp_go()'s, late */
    }
    invlpg(AT);
    __atomic_fetch_add(&acked, 1, __ATOMIC_SEQ_CST);
}

/* Reads without an end. The value is never older than what was mapped before the last acknowledged shoot-down. */
static void look(Cpu *cpu)
{
    cpu->irq = invalidate;
    invlpg(AT); /* what another test had there */
    __asm__ volatile("sti");
    while (!stop) {
        u64 seen  = __atomic_load_n(&acked, __ATOMIC_SEQ_CST);
        u64 value = READ(*(u64 *)(u64)AT);
        u64 now   = __atomic_load_n(&generation, __ATOMIC_SEQ_CST);
        /* the generation changes, the mapping, and at last the acknowledgement: what is not changing is exact */
        if (now == seen && __atomic_load_n(&acked, __ATOMIC_SEQ_CST) == seen && value != now % 2) {
            wrong++;
        }
        if (value > 1) {
            wrong++;
        }
        looked++;
    }
    __asm__ volatile("cli");
    cpu->irq = NULL;
}

TEST(shootdown, "TLB shoot-down: the old mapping is not used after the acknowledgement")
{
    smp_start();
    if (n_cpus < 2) {
        skip("one vCPU");
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        shot_pages[i]         = page();
        *(u64 *)shot_pages[i] = i;
    }
    stop  = false;
    wrong = looked = acked = generation = 0;
    map(AT, shot_pages[0], P | W);
    smp_go(1, look);
    while (looked < 100) {
        pause_();
    }
    u64 end = after_ms(2000);
    for (u64 i = 1; i <= 5000 && (i < 50 || rdtsc() < end); i++) {
        __atomic_store_n(&generation, i, __ATOMIC_SEQ_CST);
        *pte(AT) = shot_pages[i % 2] | P | W;
        send_ipi(1, SHOOT);
        while (acked != i) {
            pause_();
        }
        /* From now on the other vCPU must not see the old page: it may be given to somebody else. */
        WRITE(*(u64 *)shot_pages[(i + 1) % 2], 0xdead);
        for (unsigned j = 0; j < i % 100; j++) {
            pause_();
        }
        WRITE(*(u64 *)shot_pages[(i + 1) % 2], (i + 1) % 2);
    }
    stop = true;
    smp_wait(1);
    print("# looked %lu times\n", looked);
    equal(wrong, 0);
}

/* The same for code: after the acknowledgement the other vCPU runs the new page. */
static void call_code(Cpu *cpu)
{
    cpu->irq = invalidate;
    invlpg(AT); /* what another test had there */
    __asm__ volatile("sti");
    while (!stop) {
        u64 seen = __atomic_load_n(&acked, __ATOMIC_SEQ_CST);
        u32 value;
        __asm__ volatile("call *%1" : "=a"(value) : "r"((u64)AT) : "memory", "cc");
        u64 now = __atomic_load_n(&generation, __ATOMIC_SEQ_CST);
        if ((now == seen && __atomic_load_n(&acked, __ATOMIC_SEQ_CST) == seen && value != now % 2) || value > 1) {
            wrong++;
        }
        looked++;
    }
    __asm__ volatile("cli");
    cpu->irq = NULL;
}

TEST(shootdown_code, "shoot-down of a code page")
{
    smp_start();
    if (n_cpus < 2) {
        skip("one vCPU");
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        shot_pages[i]               = page();
        *(u8 *)shot_pages[i]        = 0xb8; /* mov $i, %eax; ret */
        *(u32 *)(shot_pages[i] + 1) = i;
        *(u8 *)(shot_pages[i] + 5)  = 0xc3;
    }
    stop  = false;
    wrong = looked = acked = generation = 0;
    map(AT, shot_pages[0], P | W);
    smp_go(1, call_code);
    while (looked < 100) {
        pause_();
    }
    u64 end = after_ms(2000);
    for (u64 i = 1; i <= 2000 && (i < 50 || rdtsc() < end); i++) {
        __atomic_store_n(&generation, i, __ATOMIC_SEQ_CST);
        *pte(AT) = shot_pages[i % 2] | P | W;
        send_ipi(1, SHOOT);
        while (acked != i) {
            pause_();
        }
        for (unsigned j = 0; j < i % 100; j++) {
            pause_();
        }
    }
    stop = true;
    smp_wait(1);
    equal(wrong, 0);
}

/* --- memory order: only what TSO allows (SDM 3, 8.2) --- */

static struct {
    volatile u32 x __attribute__((aligned(64)));
    volatile u32 y __attribute__((aligned(64)));
    volatile u32 turn __attribute__((aligned(64)));
    volatile u32 done __attribute__((aligned(64)));
    volatile u32 r1, r2;
} litmus;
static volatile unsigned litmus_kind;
enum { ROUNDS = 20000 };
enum { MESSAGE, STORE_BUFFER_FENCED, LOAD_BUFFER, STORE_BUFFER_LOCKED, N_KINDS };

static void second_half(Cpu *cpu)
{
    for (u32 round = 1; round <= ROUNDS; round++) {
        while (litmus.turn != round && litmus.turn != ROUNDS + 1) {
        }
        if (litmus.turn == ROUNDS + 1) {
            break;
        }
        u32 a = 0, b = 0;
        switch (litmus_kind) {
        case MESSAGE: /* reads the flag, then the data */
            a         = litmus.y;
            b         = litmus.x;
            litmus.r2 = a == round && b != round;
            break;
        case STORE_BUFFER_FENCED:
            litmus.y = round;
            __asm__ volatile("mfence" : : : "memory");
            litmus.r2 = litmus.x != round;
            break;
        case STORE_BUFFER_LOCKED:
            __asm__ volatile("xchgl %0, %1" : "=r"(a) : "m"(litmus.y), "0"(round) : "memory");
            litmus.r2 = litmus.x != round;
            break;
        default: /* reads y, then writes x */
            a         = litmus.y;
            litmus.x  = round;
            litmus.r2 = a == round;
            break;
        }
        __asm__ volatile("mfence" : : : "memory");
        litmus.done = round;
    }
}

TEST(order, "message passing, store buffers, load buffers")
{
    smp_start();
    if (n_cpus < 2) {
        skip("one vCPU");
        return;
    }
    for (unsigned kind = MESSAGE; kind < N_KINDS; kind++) {
        litmus_kind = kind;
        litmus.x = litmus.y = litmus.turn = litmus.done = 0;
        smp_go(1, second_half);
        u64 bad = 0, end = after_ms(1000);
        u32 round;
        for (round = 1; round <= ROUNDS && rdtsc() < end; round++) {
            u32 mine    = 0, old;
            litmus.turn = round;
            switch (kind) {
            case MESSAGE:
                litmus.x = round;
                litmus.y = round;
                break;
            case STORE_BUFFER_FENCED:
                litmus.x = round;
                __asm__ volatile("mfence" : : : "memory");
                mine = litmus.y != round;
                break;
            case STORE_BUFFER_LOCKED:
                old = round;
                __asm__ volatile("xchgl %0, %1" : "+r"(old) : "m"(litmus.x) : "memory");
                mine = litmus.y != round;
                break;
            default:
                old      = litmus.x;
                litmus.y = round;
                mine     = old == round;
                break;
            }
            while (litmus.done != round) {
            }
            bad += kind == MESSAGE ? litmus.r2 : mine && litmus.r2;
        }
        litmus.turn = ROUNDS + 1;
        smp_wait(1);
        print("# kind %u: %u rounds\n", kind, round - 1);
        expect(bad == 0, "kind %u: %lu forbidden outcomes", kind, bad);
    }
}

/* --- torture --- */

typedef struct Shared {
    /* what all vCPUs count up, each in its own way; `split` lies on two lines, `far` on two pages */
    volatile u64 add, xadd, cmpxchg, inc, sub;
    volatile u32 ticket_next, ticket_owner;
    volatile u64 by_ticket;
    volatile u32 spin;
    volatile u64 by_spin[8];
    volatile u32 byte_lock;
    u64          wide[2] __attribute__((aligned(16)));
    volatile u64 bits[64];
    volatile u64 bit_wins;
    u8           lines[256] __attribute__((aligned(64)));
    volatile u16 words[4];
    volatile u8  bytes[8];
} Shared;

static Shared       shared __attribute__((aligned(4096)));
static volatile u64 turns[MAX_CPUS];
static volatile u64 errors;
enum { FAR = WINDOW + 0x40000 }; /* two pages */

static void with_ticket(void)
{
    u32 mine = __atomic_fetch_add(&shared.ticket_next, 1, __ATOMIC_SEQ_CST);
    for (u32 n = 0; shared.ticket_owner != mine; n++) {
        pause_();
    }
    shared.by_ticket++;
    shared.ticket_owner = mine + 1; /* a plain store releases it */
}

static void with_spinlock(u64 turn)
{
    u32 taken = 1;
    for (;;) {
        __asm__ volatile("xchgl %0, %1" : "+r"(taken), "+m"(shared.spin) : : "memory");
        if (!taken) {
            break;
        }
        while (shared.spin) {
            pause_();
        }
    }
    u64 first = shared.by_spin[0];
    for (unsigned i = 0; i < 8; i++) {
        if (shared.by_spin[i] != first) {
            errors++;
        }
        shared.by_spin[i] = first + 1;
    }
    shared.spin = 0;
}

/* A 128-bit counter: the high half is the complement of the low one. */
static void count_wide(void)
{
    u64 low = shared.wide[0], high = shared.wide[1];
    u8  done;
    do {
        u64 next = low + 1, next_high = ~next;
        __asm__ volatile("lock cmpxchg16b %1\n setz %0"
                         : "=q"(done), "+m"(shared.wide), "+a"(low), "+d"(high)
                         : "b"(next), "c"(next_high)
                         : "memory", "cc");
        if (!done && high != ~low) {
            errors++;
        }
    } while (!done);
}

static void count_by_bit(unsigned bit)
{
    bool was;
    __asm__ volatile("lock btsq %2, %1" : "=@ccc"(was), "+m"(shared.bits) : "r"((u64)bit) : "memory");
    if (!was) {
        __atomic_fetch_add(&shared.bit_wins, 1, __ATOMIC_RELAXED);
        __asm__ volatile("lock btrq %2, %1" : "=@ccc"(was), "+m"(shared.bits) : "r"((u64)bit) : "memory");
        if (!was) {
            errors++;
        }
        __atomic_fetch_sub(&shared.bit_wins, 1, __ATOMIC_RELAXED);
    }
}

static u64 deadline, next_note; /* vCPU 0 looks after the time */

static void torture(Cpu *cpu)
{
    u64 turn = 0;
    invlpg(FAR);
    invlpg(FAR + PAGE);
    while (!stop) {
        for (unsigned i = 0; i < 50; i++) {
            __asm__ volatile("lock addq $1, %0" : "+m"(shared.add) : : "cc");
            u64 one = 1;
            __asm__ volatile("lock xaddq %0, %1" : "+r"(one), "+m"(shared.xadd) : : "cc");
            __asm__ volatile("lock incq %0" : "+m"(shared.inc) : : "cc");
            __asm__ volatile("lock subq $3, %0" : "+m"(shared.sub) : : "cc");
            u64 old = shared.cmpxchg;
            while (!__atomic_compare_exchange_n(&shared.cmpxchg, &old, old + 5, false, __ATOMIC_SEQ_CST,
                                                __ATOMIC_SEQ_CST)) {
            }
            __asm__ volatile("lock addb $1, %0" : "+m"(shared.bytes[1]) : : "cc");
            __asm__ volatile("lock addw $1, %0" : "+m"(shared.words[1]) : : "cc");
            if (i % 10 == 0) { /* handed over in turn, so slow where vCPUs outnumber cores */
                with_ticket();
            }
            with_spinlock(turn);
            count_wide();
            count_by_bit((unsigned)(turn + i) % 200);
        }
        /* On two cache lines, and on two pages. */
        __asm__ volatile("lock addq $1, %0" : "+m"(*(u64 *)(shared.lines + 60)) : : "cc");
        __asm__ volatile("lock incl %0" : "+m"(*(u32 *)(shared.lines + 126)) : : "cc");
        __asm__ volatile("lock addq $1, %0" : "+m"(*(u64 *)(u64)(FAR + PAGE - 3)) : : "cc");
        __asm__ volatile("lock addl $1, %0" : "+m"(*(u32 *)(u64)(FAR + 5)) : : "cc");
        turn++;
        if (cpu->index == 0) {
            u64 now = rdtsc();
            if (now >= next_note) {
                next_note += 60 * tsc_hz();
                print("# %lu turns of the lock so far\n", shared.by_ticket);
            }
            stop = now >= deadline;
        }
    }
    turns[cpu->index] = turn;
}

TEST(atomics, "atomic operations and locks on all vCPUs lose nothing")
{
    smp_start();
    if (n_cpus < 2) {
        skip("one vCPU");
        return;
    }
    u64 seconds = option("seconds", 2);
    memset(&shared, 0, sizeof shared);
    shared.wide[1] = ~0ull;
    errors         = 0;
    stop           = false;
    u64 first      = page();
    (void)page();
    map(FAR + PAGE, first, P | W);
    map(FAR, page(), P | W);
    u64 hz    = tsc_hz();
    deadline  = rdtsc() + seconds * hz;
    next_note = rdtsc() + 60 * hz;
    for (unsigned i = 1; i < n_cpus; i++) {
        smp_go(i, torture);
    }
    torture(&cpus[0]);
    u64 all = turns[0];
    for (unsigned i = 1; i < n_cpus; i++) {
        smp_wait(i);
        all += turns[i];
    }
    print("# %lu turns on %u vCPUs\n", all, n_cpus);
    expect(all > 0, "nothing was done");
    equal(shared.add, 50 * all);
    equal(shared.xadd, 50 * all);
    equal(shared.inc, 50 * all);
    equal(shared.sub, -150 * all);
    equal(shared.cmpxchg, 250 * all);
    equal(shared.by_ticket, 5 * all);
    equal(shared.by_spin[7], 50 * all);
    equal(shared.wide[0], 50 * all);
    equal(shared.wide[1], ~(50 * all));
    equal(shared.bit_wins, 0);
    equal(shared.words[1], (50 * all) & 0xffff);
    equal(shared.words[0] | shared.words[2], 0);
    equal(shared.bytes[1], (50 * all) & 0xff);
    equal(shared.bytes[0] | shared.bytes[2], 0);
    equal(*(u64 *)(shared.lines + 60), all);
    equal(*(u32 *)(shared.lines + 126), (u32)all);
    equal(*(u64 *)(u64)(FAR + PAGE - 3), all);
    equal(*(u32 *)(u64)(FAR + 5), (u32)all);
    equal(errors, 0);
}

/* IPIs back and forth, with HLT between: none is lost. */
static void ack(Cpu *cpu, Frame *f)
{
    if (f->vector == SHOOT) {
        __atomic_fetch_add(&acked, 1, __ATOMIC_SEQ_CST);
    }
}

static void sleeper(Cpu *cpu)
{
    cpu->irq = ack;
    while (!stop) {
        __asm__ volatile("sti\n hlt\n cli");
    }
    cpu->irq = NULL;
}

TEST(wakeups, "IPIs wake a halted vCPU, each of them")
{
    smp_start();
    if (n_cpus < 2) {
        skip("one vCPU");
        return;
    }
    stop  = false;
    acked = 0;
    smp_go(1, sleeper);
    while (!READ(cpus[1].irq)) {
        pause_(); /* until it counts */
    }
    u64 end = after_ms(2000);
    for (u64 i = 1; i <= 3000 && (i < 50 || rdtsc() < end); i++) {
        send_ipi(1, SHOOT);
        while (acked < i) {
            pause_();
        }
        equal(acked, i);
    }
    stop = true;
    send_ipi(1, SHOOT);
    smp_wait(1);
}
