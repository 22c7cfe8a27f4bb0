/* The x86 registers as gdb numbers them.
 * Specification: "Debugging with GDB" (GDB 13), appendix G.5.9 (i386 features); the FXSAVE image as Intel SDM 1,
 * section 10.5. */

#include "debug/gdb_registers.h"

#include "base/bytes.h"
#include "devices/irq/apic.h"

#include <string.h>

typedef enum RegKind {
    KIND_GPR,
    KIND_RIP,
    KIND_EFLAGS,
    KIND_SEG,
    KIND_ST,
    KIND_FPU, /* n: offset in the FXSAVE image */
    KIND_FTAG,
    KIND_XMM,
    KIND_MXCSR,
    KIND_YMMH,
    KIND_SEG_BASE,
    KIND_FIELD, /* n: offset in X86Cpu of a uint64_t */
    KIND_CR8,
} RegKind;

typedef struct Register {
    const char *name;
    uint8_t     size;
    RegKind     kind;
    uint32_t    n;
    const char *type;  /* in the description */
    const char *group; /* gdb's; NULL: by the type */
    bool        read_only;
} Register;

typedef struct Feature {
    const char     *name;
    const char     *types; /* definitions, as XML */
    const Register *registers;
    unsigned        count;
} Feature;

enum { FCW = 0, FSW = 2, FTW = 4, FOP = 6, FIP = 8, FCS = 12, FDP = 16, FDS = 20 };

#define GPR(name, n)                                                                                                   \
    {                                                                                                                  \
        name, 8, KIND_GPR, n, "int64", NULL, false                                                                     \
    }
#define SEG(name, n)                                                                                                   \
    {                                                                                                                  \
        name, 4, KIND_SEG, n, "int32", NULL, false                                                                     \
    }
#define ST(n)                                                                                                          \
    {                                                                                                                  \
        "st" #n, 10, KIND_ST, n, "i387_ext", NULL, false                                                               \
    }
#define FPU(name, n)                                                                                                   \
    {                                                                                                                  \
        name, 4, KIND_FPU, n, "int", "float", false                                                                    \
    }
#define XMM(n)                                                                                                         \
    {                                                                                                                  \
        "xmm" #n, 16, KIND_XMM, n, "vec128", NULL, false                                                               \
    }
#define YMMH(n)                                                                                                        \
    {                                                                                                                  \
        "ymm" #n "h", 16, KIND_YMMH, n, "uint128", NULL, false                                                         \
    }
#define FIELD64(name, member, type, read_only)                                                                         \
    {                                                                                                                  \
        name, 8, KIND_FIELD, offsetof(X86Cpu, member), type, NULL, read_only                                           \
    }

static const Register core_registers[] = {
    GPR("rax", X86_RAX),
    GPR("rbx", X86_RBX),
    GPR("rcx", X86_RCX),
    GPR("rdx", X86_RDX),
    GPR("rsi", X86_RSI),
    GPR("rdi", X86_RDI),
    { "rbp", 8, KIND_GPR, X86_RBP, "data_ptr", NULL, false },
    { "rsp", 8, KIND_GPR, X86_RSP, "data_ptr", NULL, false },
    GPR("r8", X86_R8),
    GPR("r9", X86_R9),
    GPR("r10", X86_R10),
    GPR("r11", X86_R11),
    GPR("r12", X86_R12),
    GPR("r13", X86_R13),
    GPR("r14", X86_R14),
    GPR("r15", X86_R15),
    { "rip", 8, KIND_RIP, 0, "code_ptr", NULL, false },
    { "eflags", 4, KIND_EFLAGS, 0, "x86_eflags", NULL, false },
    SEG("cs", X86_CS),
    SEG("ss", X86_SS),
    SEG("ds", X86_DS),
    SEG("es", X86_ES),
    SEG("fs", X86_FS),
    SEG("gs", X86_GS),
    ST(0),
    ST(1),
    ST(2),
    ST(3),
    ST(4),
    ST(5),
    ST(6),
    ST(7),
    FPU("fctrl", FCW),
    FPU("fstat", FSW),
    { "ftag", 4, KIND_FTAG, 0, "int", "float", false },
    FPU("fiseg", FCS),
    FPU("fioff", FIP),
    FPU("foseg", FDS),
    FPU("fooff", FDP),
    FPU("fop", FOP),
};

static const Register sse_registers[] = {
    XMM(0),
    XMM(1),
    XMM(2),
    XMM(3),
    XMM(4),
    XMM(5),
    XMM(6),
    XMM(7),
    XMM(8),
    XMM(9),
    XMM(10),
    XMM(11),
    XMM(12),
    XMM(13),
    XMM(14),
    XMM(15),
    { "mxcsr", 4, KIND_MXCSR, 0, "x86_mxcsr", "vector", false },
};

static const Register avx_registers[] = {
    YMMH(0), YMMH(1), YMMH(2),  YMMH(3),  YMMH(4),  YMMH(5),  YMMH(6),  YMMH(7),
    YMMH(8), YMMH(9), YMMH(10), YMMH(11), YMMH(12), YMMH(13), YMMH(14), YMMH(15),
};

static const Register base_registers[] = {
    { "fs_base", 8, KIND_SEG_BASE, X86_FS, "int64", NULL, false },
    { "gs_base", 8, KIND_SEG_BASE, X86_GS, "int64", NULL, false },
};

static const Register system_registers[] = {
    FIELD64("k_gs_base", kernel_gs_base, "int64", false),
    FIELD64("cr0", cr0, "x86_cr0", true),
    FIELD64("cr2", cr2, "int64", false),
    FIELD64("cr3", cr3, "int64", true),
    FIELD64("cr4", cr4, "x86_cr4", true),
    { "cr8", 8, KIND_CR8, 0, "int64", NULL, true },
    FIELD64("efer", efer, "x86_efer", true),
};

#define BIT(name, n) "<field name=\"" name "\" start=\"" #n "\" end=\"" #n "\"/>"

static const Feature features[] = {
    { "org.gnu.gdb.i386.core",
      "<flags id=\"x86_eflags\" size=\"4\">" BIT("CF", 0) BIT("", 1) BIT("PF", 2) BIT("AF", 4) BIT("ZF", 6) BIT("SF", 7)
          BIT("TF", 8) BIT("IF", 9) BIT("DF", 10) BIT("OF", 11) BIT("NT", 14) BIT("RF", 16) BIT("VM", 17) BIT("AC", 18)
              BIT("VIF", 19) BIT("VIP", 20) BIT("ID", 21) "</flags>",
      core_registers, G_N_ELEMENTS(core_registers) },
    { "org.gnu.gdb.i386.sse",
      "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/><vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
      "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/><vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
      "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/><vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
      "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
      "<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/>"
      "<field name=\"v4_int32\" type=\"v4i32\"/><field name=\"v2_int64\" type=\"v2i64\"/>"
      "<field name=\"uint128\" type=\"uint128\"/></union>"
      "<flags id=\"x86_mxcsr\" size=\"4\">" BIT("IE", 0) BIT("DE", 1) BIT("ZE", 2) BIT("OE", 3) BIT("UE", 4)
          BIT("PE", 5) BIT("DAZ", 6) BIT("IM", 7) BIT("DM", 8) BIT("ZM", 9) BIT("OM", 10) BIT("UM", 11) BIT("PM", 12)
              BIT("FZ", 15) "</flags>",
      sse_registers, G_N_ELEMENTS(sse_registers) },
    { "org.gnu.gdb.i386.avx", "", avx_registers, G_N_ELEMENTS(avx_registers) },
    { "org.gnu.gdb.i386.segments", "", base_registers, G_N_ELEMENTS(base_registers) },
    { "org.quern.x86.system",
      "<flags id=\"x86_cr0\" size=\"8\">" BIT("PE", 0) BIT("MP", 1) BIT("EM", 2) BIT("TS", 3) BIT("ET", 4) BIT("NE", 5)
          BIT("WP", 16) BIT("AM", 18) BIT("NW", 29) BIT("CD", 30)
              BIT("PG", 31) "</flags>"
                            "<flags id=\"x86_cr4\" size=\"8\">" BIT("VME", 0) BIT("PVI", 1) BIT("TSD", 2) BIT("DE", 3)
                                BIT("PSE", 4) BIT("PAE", 5) BIT("MCE", 6) BIT("PGE", 7) BIT("PCE", 8) BIT("OSFXSR", 9)
                                    BIT("OSXMMEXCPT", 10) BIT("UMIP", 11) BIT("LA57", 12) BIT("VMXE", 13)
                                        BIT("SMXE", 14) BIT("FSGSBASE", 16) BIT("PCIDE", 17) BIT("OSXSAVE", 18)
                                            BIT("SMEP", 20) BIT("SMAP", 21)
                                                BIT("PKE", 22) "</flags>"
                                                               "<flags id=\"x86_efer\" size=\"8\">" BIT("SCE", 0)
                                                                   BIT("LME", 8) BIT("LMA", 10) BIT("NXE", 11)
                                                                       BIT("SVME", 12) BIT("FFXSR", 14) "</flags>",
      system_registers, G_N_ELEMENTS(system_registers) },
};

static const Register *find_register(unsigned reg)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(features); i++) {
        if (reg < features[i].count) {
            return &features[i].registers[reg];
        }
        reg -= features[i].count;
    }
    return NULL;
}

unsigned gdb_x86_register_count(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(features); i++) {
        n += features[i].count;
    }
    return n;
}

unsigned gdb_x86_register_size(unsigned reg)
{
    return find_register(reg)->size;
}

/* --- x87 --- */

static unsigned fpu_field_size(uint32_t offset)
{
    return offset == FIP || offset == FDP ? 4 : 2;
}

static uint8_t *st_image(X86Cpu *cpu, unsigned n)
{
    return cpu->xsave + XSAVE_ST + 16 * n;
}

/* The two-bit tags that FXSAVE leaves out, made from the values (SDM 1, table 10-4). */
static uint16_t full_tags(X86Cpu *cpu)
{
    uint8_t  used = cpu->xsave[FTW];
    unsigned top  = load_le16(cpu->xsave + FSW) >> 11 & 7;
    uint16_t tags = 0;
    for (unsigned physical = 0; physical < 8; physical++) {
        const uint8_t *st       = st_image(cpu, (physical - top) & 7);
        uint64_t       mantissa = load_le64(st);
        unsigned       exponent = load_le16(st + 8) & 0x7fff, tag;
        if (!(used >> physical & 1)) {
            tag = 3;
        } else if (exponent == 0 && mantissa == 0) {
            tag = 1;
        } else if (exponent == 0 || exponent == 0x7fff || !(mantissa >> 63)) {
            tag = 2;
        } else {
            tag = 0;
        }
        tags |= (uint16_t)(tag << 2 * physical);
    }
    return tags;
}

static void set_full_tags(X86Cpu *cpu, uint16_t tags)
{
    uint8_t used = 0;
    for (unsigned i = 0; i < 8; i++) {
        used |= (uint8_t)(((tags >> 2 * i & 3) != 3) << i);
    }
    cpu->xsave[FTW] = used;
}

/* --- reading and writing --- */

void gdb_x86_read_register(X86Cpu *cpu, unsigned reg, uint8_t *value)
{
    const Register *r = find_register(reg);
    switch (r->kind) {
    case KIND_GPR: store_le64(value, cpu->gpr[r->n]); break;
    case KIND_RIP: store_le64(value, cpu->rip); break;
    case KIND_EFLAGS: store_le32(value, (uint32_t)x86_get_eflags(cpu)); break;
    case KIND_SEG: store_le32(value, cpu->seg[r->n].selector); break;
    case KIND_ST: memcpy(value, st_image(cpu, r->n), 10); break;
    case KIND_FPU: store_le32(value, (uint32_t)load_le(cpu->xsave + r->n, fpu_field_size(r->n))); break;
    case KIND_FTAG: store_le32(value, full_tags(cpu)); break;
    case KIND_XMM: memcpy(value, x86_xmm(cpu, r->n), 16); break;
    case KIND_MXCSR: memcpy(value, cpu->xsave + XSAVE_MXCSR, 4); break;
    case KIND_YMMH: memcpy(value, x86_ymm_high(cpu, r->n), 16); break;
    case KIND_SEG_BASE: store_le64(value, cpu->seg[r->n].base); break;
    case KIND_FIELD: store_le64(value, *(const uint64_t *)(const void *)((const char *)cpu + r->n)); break;
    case KIND_CR8: store_le64(value, cpu->apic ? apic_get_tpr(cpu->apic) : 0); break;
    }
}

/* Only real and virtual-8086 mode know what a selector alone means. */
static bool write_selector(X86Cpu *cpu, unsigned seg, uint32_t value)
{
    if (value > UINT16_MAX || (cpu->cr0 & CR0_PE && !(cpu->eflags & EFLAGS_VM))) {
        return value == cpu->seg[seg].selector;
    }
    cpu->seg[seg].selector = (uint16_t)value;
    cpu->seg[seg].base     = (uint64_t)value << 4;
    x86_update_mode(cpu);
    return true;
}

bool gdb_x86_write_register(X86Cpu *cpu, unsigned reg, const uint8_t *value)
{
    const Register *r       = find_register(reg);
    uint8_t         now[16] = {};
    gdb_x86_read_register(cpu, reg, now);
    if (memcmp(now, value, r->size) == 0) {
        return true;
    }
    if (r->read_only) {
        return false;
    }
    switch (r->kind) {
    case KIND_GPR: cpu->gpr[r->n] = load_le64(value); break;
    case KIND_RIP: cpu->rip = load_le64(value); break;
    case KIND_EFLAGS: {
        /* VM would need other segments; the reserved bits are what they are. */
        uint64_t mask = EFLAGS_ARITH | EFLAGS_TF | EFLAGS_IF | EFLAGS_DF | EFLAGS_IOPL | EFLAGS_NT | EFLAGS_RF |
                        EFLAGS_AC | EFLAGS_VIF | EFLAGS_VIP | EFLAGS_ID;
        x86_set_eflags(cpu, load_le32(value), mask);
        x86_update_mode(cpu);
        break;
    }
    case KIND_SEG: return write_selector(cpu, r->n, load_le32(value));
    case KIND_ST: memcpy(st_image(cpu, r->n), value, 10); break;
    case KIND_FPU: store_le(cpu->xsave + r->n, load_le32(value), fpu_field_size(r->n)); break;
    case KIND_FTAG: set_full_tags(cpu, (uint16_t)load_le32(value)); break;
    case KIND_XMM: memcpy(x86_xmm(cpu, r->n), value, 16); break;
    case KIND_MXCSR: store_le32(cpu->xsave + XSAVE_MXCSR, load_le32(value) & 0xffff); break;
    case KIND_YMMH: memcpy(x86_ymm_high(cpu, r->n), value, 16); break;
    case KIND_SEG_BASE:
        cpu->seg[r->n].base = load_le64(value);
        x86_update_mode(cpu);
        break;
    case KIND_FIELD: *(uint64_t *)(void *)((char *)cpu + r->n) = load_le64(value); break;
    case KIND_CR8: return false;
    }
    return true;
}

/* --- the description --- */

char *gdb_x86_description(void)
{
    GString *xml = g_string_new("<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\"><target>"
                                "<architecture>i386:x86-64</architecture>");
    for (unsigned i = 0; i < G_N_ELEMENTS(features); i++) {
        const Feature *f = &features[i];
        g_string_append_printf(xml, "<feature name=\"%s\">%s", f->name, f->types);
        for (unsigned k = 0; k < f->count; k++) {
            const Register *r = &f->registers[k];
            g_string_append_printf(xml, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\"", r->name, r->size * 8u, r->type);
            if (r->group) {
                g_string_append_printf(xml, " group=\"%s\"", r->group);
            }
            g_string_append(xml, "/>");
        }
        g_string_append(xml, "</feature>");
    }
    g_string_append(xml, "</target>");
    return g_string_free(xml, false);
}
