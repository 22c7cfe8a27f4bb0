/* See rt.h. */

#include "rt.h"

enum { STACK_SIZE = 0x8000 };

Cpu      cpus[MAX_CPUS];
unsigned n_cpus = 1;

extern u8            stubs[], main_stacks[], trap_stacks[], trampoline[], trampoline_end[];
extern u32           next_cpu;
extern const Test    __start_tests[], __stop_tests[];
static u64           idt[512] __attribute__((aligned(16)));
static u64           window_pd[512] __attribute__((aligned(4096)));
static u64           window_pt[WINDOW_SIZE / PAGE] __attribute__((aligned(4096)));
static const Test   *current;
static unsigned      failures;
static const char   *skipped;
static volatile bool print_lock;
static u8            signature[24] = "Quern's "; /* by which test_leak.py finds the guest's memory */

unsigned enter(Frame *f, Cpu *cpu);
int      attempt_(void (*function)(void *), void *argument, Cpu *cpu);
unsigned trap(Frame *f, Cpu *cpu);
void     rt_main(unsigned index);

/* --- text --- */

static void lock_print(void)
{
    while (__atomic_test_and_set(&print_lock, __ATOMIC_ACQUIRE)) {
        pause_();
    }
}

static void unlock_print(void)
{
    __atomic_clear(&print_lock, __ATOMIC_RELEASE);
}

void print(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    lock_print();
    print_v(format, list);
    unlock_print();
    va_end(list);
}

/* Only the first few of a test are shown. */
void expect_(bool ok, const char *file, int line, const char *format, ...)
{
    if (ok) {
        return;
    }
    va_list list;
    va_start(list, format);
    lock_print();
    if (failures++ < 12) {
        const char *name = file;
        for (; *file; file++) {
            name = *file == '/' ? file + 1 : name;
        }
        for (const char *s = "# "; *s; s++) {
            put_char(*s);
        }
        while (*name) {
            put_char(*name++);
        }
        put_char(':');
        put_number((u64)line, 10);
        put_char(':');
        put_char(' ');
        print_v(format, list);
        put_char('\n');
    }
    unlock_print();
    va_end(list);
}

void equal_(u64 got, u64 want, const char *file, int line, const char *what)
{
    expect_(got == want, file, line, "%s is %lx, not %lx", what, got, want);
}

void skip(const char *why)
{
    skipped = why;
}

/* --- exceptions --- */

Cpu *this_cpu(void)
{
    u32 id = n_cpus > 1 ? apic_read(APIC_ID) >> 24 : cpus[0].apic_id;
    for (unsigned i = 0; i < n_cpus; i++) {
        if (cpus[i].apic_id == id) {
            return &cpus[i];
        }
    }
    return &cpus[0];
}

static _Noreturn void stray(const Cpu *cpu, const Frame *f)
{
    print("not ok 0 - unexpected exception\n# cpu %u vector %lu error %lx rip %lx cs %lx flags %lx rsp %lx cr2 %lx in "
          "%s\n",
          cpu->index, f->vector, f->error, f->rip, f->cs, f->rflags, f->rsp, cpu->cr2,
          current ? current->name : "start");
    finish(2);
}

/* Called by the stubs. 0: go on with *f; else run() ends with the vector, plus 1. */
unsigned trap(Frame *f, Cpu *cpu)
{
    if (f->vector >= 32 && f->vector != 0x80) {
        cpu->n_irqs[f->vector]++;
        if (cpu->irq) {
            cpu->irq(cpu, f);
        }
        apic_write(APIC_EOI, 0);
        return 0;
    }
    cpu->cr2 = READ_CR(2);
    cpu->n_traps++;
    if (cpu->hook && cpu->hook(cpu, f)) {
        return 0;
    }
    if (!cpu->frame) {
        stray(cpu, f);
    }
    *cpu->frame = *f;
    cpu->frame  = NULL;
    return (unsigned)f->vector + 1;
}

Frame frame_at(u64 rip, u64 rsp, bool user)
{
    return (Frame){ .rip = rip, .rsp = rsp, .cs = user ? UCS64 : CS64, .ss = user ? UDS : DS64, .rflags = 2 };
}

unsigned run(Frame *f)
{
    Cpu *cpu   = this_cpu();
    cpu->frame = f;
    return enter(f, cpu);
}

int attempt(void (*function)(void *), void *argument)
{
    static Frame frames[MAX_CPUS];
    Cpu         *cpu = this_cpu();
    cpu->frame       = &frames[cpu->index];
    int vector       = attempt_(function, argument, cpu);
    cpu->frame       = NULL;
    return vector;
}

void set_gate(unsigned vector, u64 to, unsigned ist, unsigned dpl)
{
    idt[2 * vector] =
        (to & 0xffff) | CS64 << 16 | (u64)ist << 32 | (u64)(0x8e | dpl << 5) << 40 | (to >> 16 & 0xffff) << 48;
    idt[2 * vector + 1] = to >> 32;
}

void reset_gate(unsigned vector)
{
    set_gate(vector, (u64)stubs + 16ull * vector, 1, vector == 3 || vector == 4 || vector == 0x80 ? 3 : 0);
}

void set_ist(Cpu *cpu, unsigned n, u64 top)
{
    memcpy(cpu->tss + 36 + 8 * (n - 1), &top, 8);
}

void set_segment(Cpu *cpu, unsigned selector, u32 base, u32 limit, u32 attributes)
{
    cpu->gdt[selector / 8] = (u64)(limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)(attributes & 0xff) << 40 |
                             (u64)(limit >> 16 & 0xf) << 48 | (u64)(attributes >> 12 & 0xf) << 52 |
                             (u64)(base >> 24) << 56;
}

static void set_cpu_tables(Cpu *cpu)
{
    struct {
        u16 limit;
        u64 base;
    } __attribute__((packed)) pointer;
    u64 tss = (u64)cpu->tss;

    cpu->gdt[CS64 / 8]  = 0x00af9b000000ffff;
    cpu->gdt[DS64 / 8]  = 0x00cf93000000ffff;
    cpu->gdt[CS32 / 8]  = 0x00cf9b000000ffff;
    cpu->gdt[UCS32 / 8] = 0x00cffb000000ffff;
    cpu->gdt[UDS / 8]   = 0x00cff3000000ffff;
    cpu->gdt[UCS64 / 8] = 0x00affb000000ffff;
    set_segment(cpu, CS16, 0, 0xffff, SEG_CODE16);
    set_segment(cpu, DS16, 0, 0xffff, SEG_DATA16);
    set_segment(cpu, UCS16, 0, 0xffff, SEG_UCODE16);
    set_segment(cpu, UDS16, 0, 0xffff, SEG_UDATA16);
    cpu->gdt[TSS / 8]     = 103 | (tss & 0xffffff) << 16 | 0x89ull << 40 | (tss >> 24 & 0xff) << 56;
    cpu->gdt[TSS / 8 + 1] = tss >> 32;
    /* Every exception goes to the same stack, wherever RSP points. */
    u64 stack                    = (u64)trap_stacks + STACK_SIZE * (cpu->index + 1ull);
    *(u64 *)(stack - STACK_SIZE) = (u64)cpu;
    memcpy(cpu->tss + 4, &stack, 8);
    memcpy(cpu->tss + 36, &stack, 8);
    cpu->tss[102] = 104;

    pointer.limit = sizeof cpu->gdt - 1;
    pointer.base  = (u64)cpu->gdt;
    __asm__ volatile("lgdt %0" : : "m"(pointer));
    pointer.limit = sizeof idt - 1;
    pointer.base  = (u64)idt;
    __asm__ volatile("lidt %0" : : "m"(pointer));
    __asm__ volatile("ltr %w0" : : "r"((u32)TSS));
    __asm__ volatile("mov %0, %%ss" : : "r"((u32)DS64));
    u64 extended = cpuid(1, 0).c & 1u << 26 ? 1ull << 18 : 0;
    WRITE_CR(4, 0x620 | extended); /* PAE, OSFXSR, OSXMMEXCPT, OSXSAVE */
    if (extended) {
        __asm__ volatile("xsetbv" : : "c"(0), "a"(cpuid(0xd, 0).a & 7), "d"(0));
    }
    __asm__ volatile("fninit");
    apic_write(APIC_SVR, 0x1ff);
}

/* --- pages --- */

u64 *pte(u64 linear)
{
    return &window_pt[(linear - WINDOW) / PAGE];
}

void map(u64 linear, u64 physical, u64 flags)
{
    *pte(linear) = physical | flags;
    invlpg(linear);
}

u64 page(void)
{
    static u64 next = 0x2000000;
    u64        at   = __atomic_fetch_add(&next, PAGE, __ATOMIC_RELAXED);
    memset((void *)at, 0, PAGE);
    return at;
}

u64 put(u64 to, const void *code, size_t len)
{
    memcpy((void *)to, code, len);
    return to + len;
}

static void map_window(void)
{
    pdpt[WINDOW >> 30] = (u64)window_pd | P | W | U;
    for (unsigned i = 0; i < WINDOW_SIZE >> 21; i++) {
        window_pd[i] = (u64)(window_pt + 512 * i) | P | W | U;
    }
}

/* --- other vCPUs --- */

void send_ipi(unsigned index, u32 command)
{
    apic_write(APIC_ICR + 0x10, cpus[index].apic_id << 24);
    apic_write(APIC_ICR, command);
    while (apic_read(APIC_ICR) & 1 << 12) {
        pause_();
    }
}

static _Noreturn void wait_for_work(Cpu *cpu)
{
    WRITE(cpu->up, true);
    for (;;) {
        void (*work)(Cpu *) = READ(cpu->work);
        if (work) {
            work(cpu);
            __atomic_store_n(&cpu->work, NULL, __ATOMIC_RELEASE);
        } else {
            __asm__ volatile("sti\n hlt\n cli" : : : "memory"); /* smp_go() sends an interrupt */
        }
    }
}

void smp_start(void)
{
    unsigned wanted = (unsigned)option("cpus", 1);
    if (n_cpus == wanted) {
        return;
    }
    n_cpus = wanted;
    memcpy((void *)0x8000, trampoline, (size_t)(trampoline_end - trampoline));
    apic_write(APIC_ICR, 0xc4500); /* INIT to all others */
    for (u64 until = rdtsc() + 20000000; rdtsc() < until;) {
        pause_();
    }
    apic_write(APIC_ICR, 0xc4608);
    for (unsigned i = 1; i < wanted; i++) {
        while (!READ(cpus[i].up)) {
            pause_();
        }
    }
}

void smp_go(unsigned index, void (*work)(Cpu *cpu))
{
    __atomic_store_n(&cpus[index].work, work, __ATOMIC_SEQ_CST);
    send_ipi(index, 0xf0);
}

void smp_wait(unsigned index)
{
    while (__atomic_load_n(&cpus[index].work, __ATOMIC_ACQUIRE)) {
        pause_();
    }
}

/* One measurement. Returns by how many ticks it may be wrong: the host may have had other work where it began or ended.
 */
static u64 measure_tsc(u64 *hz)
{
    outb(0x61, (inb(0x61) & ~2) | 1); /* gate on, speaker off */
    outb(0x43, 0xb0);                 /* channel 2, mode 0, both bytes */
    outb(0x42, 59659 & 0xff);         /* 50 ms */
    u64 before = rdtsc();
    outb(0x42, 59659 >> 8);
    u64  from = rdtsc(), look = from, last;
    bool out;
    do {
        last = look;
        look = rdtsc();
        out  = inb(0x61) & 0x20;
    } while (!out);
    u64 now = rdtsc();
    *hz     = (now - from) * 20;
    return (from - before) + (now - last);
}

u64 tsc_hz(void)
{
    static u64 best;
    u64        error = ~0ull, hz = 0;
    for (unsigned i = 0; !best && i < 20 && error > hz / 1000; i++) { /* 2 % of what was measured */
        u64 next, wrong = measure_tsc(&next);
        if (wrong < error) {
            error = wrong;
            hz    = next;
        }
    }
    best = best ? best : hz;
    return best;
}

/* --- start --- */

static void run_tests(void)
{
    unsigned n = 0, bad = 0;
    for (const Test *t = __start_tests; t < __stop_tests; t++) {
        current      = t;
        failures     = 0;
        skipped      = NULL;
        cpus[0].hook = NULL;
        cpus[0].irq  = NULL;
        t->run();
        bad += failures != 0;
        print("%s %u - %s%s%s\n", failures ? "not ok" : "ok", ++n, t->name, skipped ? " # SKIP " : "",
              skipped ? skipped : "");
    }
    print("1..%u\n", n);
    if (option("hold", 0)) { /* somebody looks at memory now */
        memcpy(signature + 8, "here it is", 10);
        print("# hold %lx\n", (u64)signature);
        for (;;) {
            __asm__ volatile("hlt");
        }
    }
    finish(bad ? 1 : 0);
}

void rt_main(unsigned index)
{
    Cpu *cpu     = &cpus[index];
    cpu->self    = cpu;
    cpu->index   = index;
    cpu->apic_id = apic_read(APIC_ID) >> 24;
    if (index) {
        set_cpu_tables(cpu);
        wait_for_work(cpu);
    }
    for (unsigned i = 0; i < 256; i++) {
        reset_gate(i);
    }
    map_window();
    set_cpu_tables(cpu);
    outb(0x21, 0xff); /* the PIC stays silent */
    outb(0xa1, 0xff);
    run_tests();
}
