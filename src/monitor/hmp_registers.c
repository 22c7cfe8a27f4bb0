/* HMP: registers of vCPUs and of interrupt controllers.
 * Specification: Intel SDM 3, chapter 11 (local APIC), 82093AA and 8259A data sheets. Layouts are those that tools
 * which read QEMU's output know. */

#include "cpu/x86/system.h"
#include "devices/irq/i8259.h"
#include "devices/irq/ioapic.h"
#include "monitor/hmp_command.h"

#include "base/bytes.h"

#include <inttypes.h>
#include <string.h>

/* --- registers in expressions --- */

typedef enum RegisterKind {
    REG_U64,
    REG_U32,
    REG_U16,
    REG_SEGMENT,
    REG_BASE,
    REG_LIMIT,
    REG_EFLAGS,
    REG_PC,
    REG_TPR
} RegisterKind;

typedef struct RegisterName {
    const char  *name;
    RegisterKind kind;
    uint32_t     offset; /* in X86Cpu */
} RegisterName;

#define GPR(name, n)                                                                                                   \
    {                                                                                                                  \
        name, REG_U64, offsetof(X86Cpu, gpr[n])                                                                        \
    }
#define FIELD_REG(name, member)                                                                                        \
    {                                                                                                                  \
        name, REG_U64, offsetof(X86Cpu, member)                                                                        \
    }
#define SEGMENT(name, member)                                                                                          \
    { name, REG_SEGMENT, offsetof(X86Cpu, member) }, { name ".base", REG_BASE, offsetof(X86Cpu, member) },             \
    {                                                                                                                  \
        name ".limit", REG_LIMIT, offsetof(X86Cpu, member)                                                             \
    }
#define TABLE(name, member)                                                                                            \
    { name ".base", REG_U64, offsetof(X86Cpu, member.base) },                                                          \
    {                                                                                                                  \
        name ".limit", REG_U16, offsetof(X86Cpu, member.limit)                                                         \
    }

static const RegisterName register_names[] = {
    GPR("eax", X86_RAX),
    GPR("ecx", X86_RCX),
    GPR("edx", X86_RDX),
    GPR("ebx", X86_RBX),
    GPR("esp", X86_RSP),
    GPR("sp", X86_RSP),
    GPR("ebp", X86_RBP),
    GPR("fp", X86_RBP),
    GPR("esi", X86_RSI),
    GPR("edi", X86_RDI),
    GPR("rax", X86_RAX),
    GPR("rcx", X86_RCX),
    GPR("rdx", X86_RDX),
    GPR("rbx", X86_RBX),
    GPR("rsp", X86_RSP),
    GPR("rbp", X86_RBP),
    GPR("rsi", X86_RSI),
    GPR("rdi", X86_RDI),
    GPR("r8", X86_R8),
    GPR("r9", X86_R9),
    GPR("r10", X86_R10),
    GPR("r11", X86_R11),
    GPR("r12", X86_R12),
    GPR("r13", X86_R13),
    GPR("r14", X86_R14),
    GPR("r15", X86_R15),
    { "eflags", REG_EFLAGS, 0 },
    { "rflags", REG_EFLAGS, 0 },
    FIELD_REG("eip", rip),
    { "pc", REG_PC, 0 },
    FIELD_REG("rip", rip),
    SEGMENT("cs", seg[X86_CS]),
    SEGMENT("ds", seg[X86_DS]),
    SEGMENT("es", seg[X86_ES]),
    SEGMENT("ss", seg[X86_SS]),
    SEGMENT("fs", seg[X86_FS]),
    SEGMENT("gs", seg[X86_GS]),
    SEGMENT("ldt", ldt),
    SEGMENT("tr", tr),
    TABLE("gdt", gdt),
    TABLE("idt", idt),
    { "fs_base", REG_BASE, offsetof(X86Cpu, seg[X86_FS]) },
    { "gs_base", REG_BASE, offsetof(X86Cpu, seg[X86_GS]) },
    FIELD_REG("k_gs_base", kernel_gs_base),
    FIELD_REG("cr0", cr0),
    FIELD_REG("cr2", cr2),
    FIELD_REG("cr3", cr3),
    FIELD_REG("cr4", cr4),
    { "cr8", REG_TPR, 0 },
    FIELD_REG("efer", efer),
    FIELD_REG("xcr0", xcr0),
    FIELD_REG("dr0", dr[0]),
    FIELD_REG("dr1", dr[1]),
    FIELD_REG("dr2", dr[2]),
    FIELD_REG("dr3", dr[3]),
    FIELD_REG("dr6", dr[6]),
    FIELD_REG("dr7", dr[7]),
    { "mxcsr", REG_U32, offsetof(X86Cpu, xsave) + XSAVE_MXCSR },
    { "fctrl", REG_U16, offsetof(X86Cpu, xsave) },
    { "fstat", REG_U16, offsetof(X86Cpu, xsave) + 2 },
};

static uint64_t register_value(X86Cpu *cpu, const RegisterName *r)
{
    const uint8_t    *at      = (const uint8_t *)cpu + r->offset;
    const X86Segment *segment = (const X86Segment *)(const void *)at;
    switch (r->kind) {
    case REG_U64: return load_le64(at);
    case REG_U32: return load_le32(at);
    case REG_U16: return load_le16(at);
    case REG_SEGMENT: return segment->selector;
    case REG_BASE: return segment->base;
    case REG_LIMIT: return segment->limit;
    case REG_EFLAGS: return x86_get_eflags(cpu);
    case REG_PC: return cpu->code_size == X86_CODE64 ? cpu->rip : (uint32_t)(cpu->seg[X86_CS].base + cpu->rip);
    case REG_TPR: return cpu->apic ? apic_get_tpr(cpu->apic) : cpu->cr8;
    }
    g_assert_not_reached();
}

bool hmp_register(void *opaque, const char *name, int64_t *value)
{
    Hmp *h            = opaque;
    g_auto(Error) err = { 0 };
    X86Cpu *cpu       = hmp_cpu(h, &err);
    for (unsigned i = 0; cpu && i < G_N_ELEMENTS(register_names); i++) {
        if (strcmp(name, register_names[i].name) == 0) {
            HmpPause pause = hmp_pause(h->machine);
            *value         = (int64_t)register_value(cpu, &register_names[i]);
            hmp_unpause(h->machine, pause);
            return true;
        }
    }
    return false;
}

void hmp_registers_complete(const char *prefix, LineCompletion *c)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(register_names); i++) {
        line_completion_add(c, prefix, register_names[i].name);
    }
}

/* --- info registers --- */

static void dump_cpu(Hmp *h, X86Cpu *cpu)
{
    hmp_print(h, "\nCPU#%d\n", cpu->vcpu.index);
    x86_dump(cpu, h->out);
    x86_dump_vectors(cpu, h->out);
}

static bool info_registers(Hmp *h, Error *err)
{
    X86Cpu *cpu = hmp_cpu(h, err);
    if (!cpu) {
        return false;
    }
    GPtrArray *cpus = h->machine->cpus;
    bool       all  = hmp_given(h, "all");
    if (hmp_given(h, "vcpu")) {
        cpu = machine_cpu(h->machine, hmp_number(h, "vcpu"));
    }
    if (!all && !cpu) {
        hmp_print(h, "CPU#%" PRId64 " not available\n", hmp_number(h, "vcpu"));
        return true;
    }
    HmpPause pause = hmp_pause(h->machine);
    for (guint i = 0; i < (all ? cpus->len : 1); i++) {
        dump_cpu(h, all ? cpus->pdata[i] : cpu);
    }
    hmp_unpause(h->machine, pause);
    return true;
}

/* --- info lapic --- */

enum {
    PAGE_TPR     = 0x80,
    PAGE_APR     = 0x90,
    PAGE_PPR     = 0xa0,
    PAGE_LDR     = 0xd0,
    PAGE_DFR     = 0xe0,
    PAGE_SVR     = 0xf0,
    PAGE_ISR     = 0x100,
    PAGE_TMR     = 0x180,
    PAGE_IRR     = 0x200,
    PAGE_ESR     = 0x280,
    PAGE_ICR     = 0x300,
    PAGE_ICR2    = 0x310,
    PAGE_TIMER   = 0x320,
    PAGE_THERMAL = 0x330,
    PAGE_PERF    = 0x340,
    PAGE_LINT0   = 0x350,
    PAGE_LINT1   = 0x360,
    PAGE_ERROR   = 0x370,
    PAGE_INITIAL = 0x380,
    PAGE_CURRENT = 0x390,
    PAGE_DIVIDE  = 0x3e0,

    LVT_PENDING  = 1 << 12,
    LVT_LOW      = 1 << 13,
    LVT_LEVEL    = 1 << 15,
    LVT_MASKED   = 1 << 16,
    DELIVERY_NMI = 4,

    ICR_LOGICAL = 1 << 11,
    ICR_ASSERT  = 1 << 14,

    BASE_X2APIC = 1 << 10,
};

static const char *const delivery_names[] = { "Fixed", "Lowest", "SMI", "...", "NMI", "INIT", "...", "ExtINT" };

static void dump_lvt(Hmp *h, const char *name, uint32_t lvt, bool timer)
{
    static const char *const timer_modes[] = { "one-shot", "periodic", "tsc-deadline", "..." };
    unsigned                 delivery      = lvt >> 8 & 7;
    hmp_print(h, "%s\t 0x%08x %s %-5s %-6s %-7s %-12s %-6s", name, lvt, lvt & LVT_LOW ? "active-lo" : "active-hi",
              lvt & LVT_LEVEL ? "level" : "edge", lvt & LVT_MASKED ? "masked" : "", lvt & LVT_PENDING ? "pending" : "",
              timer ? timer_modes[lvt >> 17 & 3] : "", delivery_names[delivery]);
    if (delivery != DELIVERY_NMI) {
        hmp_print(h, " (vec %u)", lvt & 0xff);
    }
    hmp_print(h, "\n");
}

static bool page_bit(const uint8_t *page, unsigned reg, unsigned vector)
{
    return load_le32(page + reg + vector / 32 * 16) >> vector % 32 & 1;
}

static void dump_vectors_of(Hmp *h, const char *name, const uint8_t *page, unsigned reg)
{
    bool any = false;
    hmp_print(h, "%s\t ", name);
    for (unsigned v = 0; v < 256; v++) {
        if (page_bit(page, reg, v)) {
            hmp_print(h, "%u%s ", v, page_bit(page, PAGE_TMR, v) ? "(level)" : "");
            any = true;
        }
    }
    hmp_print(h, any ? "\n" : "(none)\n");
}

static void dump_icr(Hmp *h, const uint8_t *page, bool x2apic)
{
    static const char *const shorthands[] = { "no-shorthand", "self", "all-self", "all" };
    uint32_t                 icr = load_le32(page + PAGE_ICR), icr2 = load_le32(page + PAGE_ICR2);
    unsigned                 shorthand = icr >> 18 & 3;
    hmp_print(h, "ICR\t 0x%08x %s %s %s %s\n", icr, icr & ICR_LOGICAL ? "logical" : "physical",
              icr & LVT_LEVEL ? "level" : "edge", icr & ICR_ASSERT ? "assert" : "de-assert", shorthands[shorthand]);
    hmp_print(h, "ICR2\t 0x%08x", icr2);
    if (shorthand == 0) {
        uint32_t destination = x2apic ? icr2 : icr2 >> 24;
        hmp_print(h, icr & ICR_LOGICAL ? " mask %08x (%sAPIC ID)" : " cpu %u (%sAPIC ID)", destination,
                  x2apic ? "X2" : "");
    }
    hmp_print(h, "\n");
}

static void dump_apic(Hmp *h, X86Cpu *cpu)
{
    uint8_t page[APIC_PAGE_SIZE];
    apic_get_page(cpu->apic, page);
    bool     x2apic = apic_get_base(cpu->apic) & BASE_X2APIC;
    uint32_t svr = load_le32(page + PAGE_SVR), divide = load_le32(page + PAGE_DIVIDE);
    unsigned shift = (divide & 3) | (divide >> 1 & 4);

    hmp_print(h, "dumping local APIC state for CPU %-2u\n\n", (unsigned)cpu->vcpu.index);
    dump_lvt(h, "LVT0", load_le32(page + PAGE_LINT0), false);
    dump_lvt(h, "LVT1", load_le32(page + PAGE_LINT1), false);
    dump_lvt(h, "LVTPC", load_le32(page + PAGE_PERF), false);
    dump_lvt(h, "LVTERR", load_le32(page + PAGE_ERROR), false);
    dump_lvt(h, "LVTTHMR", load_le32(page + PAGE_THERMAL), false);
    dump_lvt(h, "LVTT", load_le32(page + PAGE_TIMER), true);
    hmp_print(h, "Timer\t DCR=0x%x (divide by %u) initial_count = %u current_count = %u\n", divide,
              1u << ((shift + 1) & 7), load_le32(page + PAGE_INITIAL), load_le32(page + PAGE_CURRENT));
    hmp_print(h, "SPIV\t 0x%08x APIC %s, focus=%s, spurious vec %u\n", svr, svr & 0x100 ? "enabled" : "disabled",
              svr & 0x200 ? "on" : "off", svr & 0xff);
    dump_icr(h, page, x2apic);
    hmp_print(h, "ESR\t 0x%08x\n", load_le32(page + PAGE_ESR));
    dump_vectors_of(h, "ISR", page, PAGE_ISR);
    dump_vectors_of(h, "IRR", page, PAGE_IRR);
    hmp_print(h, "\nAPR 0x%02x TPR 0x%02x DFR 0x%02x LDR 0x%02x PPR 0x%02x\n", load_le32(page + PAGE_APR),
              load_le32(page + PAGE_TPR), load_le32(page + PAGE_DFR) >> 28,
              x2apic ? load_le32(page + PAGE_LDR) : load_le32(page + PAGE_LDR) >> 24, load_le32(page + PAGE_PPR));
}

static bool info_lapic(Hmp *h, Error *err)
{
    X86Cpu *cpu = hmp_cpu(h, err);
    if (!cpu) {
        return false;
    }
    if (hmp_given(h, "apic-id")) {
        int64_t id = hmp_number(h, "apic-id");
        cpu        = NULL;
        for (unsigned i = 0; i < h->machine->cpus->len; i++) {
            X86Cpu *c = h->machine->cpus->pdata[i];
            cpu       = c->apic_id == id ? c : cpu;
        }
    }
    if (!cpu || !cpu->apic) {
        hmp_print(h, "No CPU available\n");
        return true;
    }
    HmpPause pause = hmp_pause(h->machine);
    dump_apic(h, cpu);
    hmp_unpause(h->machine, pause);
    return true;
}

/* --- info pic, info irq --- */

typedef struct Controllers {
    Hmp     *h;
    unsigned n_ioapics;
} Controllers;

static void dump_bits(Hmp *h, const char *name, uint32_t bits)
{
    hmp_print(h, "%s", name);
    for (unsigned i = 0; i < IOAPIC_PINS; i++) {
        if (bits >> i & 1) {
            hmp_print(h, "%u ", i);
        }
    }
    hmp_print(h, bits ? "\n" : "(none)\n");
}

static void dump_ioapic(Hmp *h, unsigned n, const IoApic *io)
{
    static const char *const deliveries[] = { "fixed", "lowest", "SMI", "...", "NMI", "INIT", "...", "extINT" };
    IoApicState              s            = ioapic_get_state(io);
    uint32_t                 remote       = 0;
    hmp_print(h, "ioapic%u: ver=0x20 id=0x%02x sel=0x%02x", n, s.apic_id >> 24 & 15, s.ioregsel);
    if (s.ioregsel >= 0x10) {
        hmp_print(h, " (redir[%u])", (s.ioregsel - 0x10) >> 1);
    }
    hmp_print(h, "\n");
    for (unsigned i = 0; i < IOAPIC_PINS; i++) {
        uint64_t e = s.rte[i];
        remote |= (uint32_t)(e >> 14 & 1) << i;
        hmp_print(h, "  pin %-2u 0x%016" PRIx64 " dest=%x vec=%-3u %s %-5s %-6s %-6s %s\n", i, e, (unsigned)(e >> 56),
                  (unsigned)(e & 0xff), e & LVT_LOW ? "active-lo" : "active-hi", e & LVT_LEVEL ? "level" : "edge",
                  e & LVT_MASKED ? "masked" : "", deliveries[e >> 8 & 7], e & ICR_LOGICAL ? "logical" : "physical");
    }
    dump_bits(h, "  IRR      ", ioapic_get_lines(io));
    dump_bits(h, "  Remote IRR ", remote);
}

static void dump_pic(Hmp *h, const I8259 *pic)
{
    for (int n = 1; n >= 0; n--) {
        I8259Chip c = i8259_get_chip(pic, (unsigned)n);
        hmp_print(h, "pic%d: irr=%02x imr=%02x isr=%02x hprio=%d irq_base=%02x rr_sel=%d elcr=%02x fnm=%d\n", n, c.irr,
                  c.imr, c.isr, (c.lowest + 1) & 7, c.base, c.read_isr, c.elcr, c.icw4 >> 4 & 1);
    }
}

static void dump_if_ioapic(Device *dev, void *opaque)
{
    Controllers *c = opaque;
    if (strcmp(dev->obj.type->name, "ioapic") == 0) {
        dump_ioapic(c->h, c->n_ioapics++, (const IoApic *)dev);
    }
}

static void dump_if_pic(Device *dev, void *opaque)
{
    if (strcmp(dev->obj.type->name, "isa-i8259") == 0) {
        dump_pic(((Controllers *)opaque)->h, (const I8259 *)dev);
    }
}

static bool info_pic(Hmp *h, Error *err)
{
    Controllers c     = { .h = h };
    HmpPause    pause = hmp_pause(h->machine);
    devices_foreach(&h->machine->platform, dump_if_ioapic, &c);
    devices_foreach(&h->machine->platform, dump_if_pic, &c);
    hmp_unpause(h->machine, pause);
    return true;
}

static void deny_statistics(Device *dev, void *opaque)
{
    if (!strcmp(dev->obj.type->name, "ioapic") || !strcmp(dev->obj.type->name, "isa-i8259")) {
        hmp_print(opaque, "IRQ statistics not available for %s.\n", dev->obj.type->name);
    }
}

static bool info_irq(Hmp *h, Error *err)
{
    devices_foreach(&h->machine->platform, deny_statistics, h);
    return true;
}

HMP_INFO(registers) = {
    { .name   = "registers",
      .params = "[-a|vcpu]",
      .help   = "registers of the current vCPU, of another one, or of all (-a)",
      .args = { { "all", HMP_FLAG, .letter = 'a' }, { "vcpu", HMP_INT32, .optional = true, .words = HMP_WORDS_CPUS } },
      .run  = info_registers },
    { .name   = "lapic",
      .params = "[apic-id]",
      .help   = "local APIC of the current vCPU, or of the one with that ID",
      .args   = { { "apic-id", HMP_INT32, .optional = true } },
      .run    = info_lapic },
    { .name = "pic", .help = "I/O APICs and 8259 interrupt controllers", .run = info_pic },
    { .name = "irq", .help = "how often interrupts came, where that is counted", .run = info_irq },
    {},
};
