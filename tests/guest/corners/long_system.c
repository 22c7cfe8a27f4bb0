/* Long mode: control registers bit by bit, MSRs, machine-check banks, XSAVE's rules, what makes FP and vector
 * instructions fault, privileged instructions, I/O permissions. */

#include "check.h"

static const char *number(const char *prefix, unsigned n)
{
    static char text[48];
    char       *at = text;
    while (*prefix) {
        *at++ = *prefix++;
    }
    if (n >= 10) {
        *at++ = (char)('0' + n / 10);
    }
    *at++ = (char)('0' + n % 10);
    *at   = 0;
    return text;
}

/* One instruction of ring 0; its vector, 3 when it went through. */
static unsigned do_code(const char *code, size_t len, u64 rcx, u64 value, Frame *f)
{
    u8 bytes[16];
    memcpy(bytes, code, len);
    bytes[len] = 0xcc;
    frame_in(L0, bytes, len + 1, f);
    f->rcx = rcx;
    f->rax = value;
    f->rdx = value >> 32;
    return run(f);
}
static unsigned try_wrmsr(u32 msr, u64 value)
{
    Frame f;
    return do_code("\x0f\x30", 2, msr, (u32)value | value >> 32 << 32, &f);
}
static unsigned try_rdmsr(u32 msr, u64 *value)
{
    Frame    f;
    unsigned vector = do_code("\x0f\x32", 2, msr, 0, &f);
    *value          = (u32)f.rax | f.rdx << 32;
    return vector;
}

/* --- control registers: each bit --- */

typedef struct ControlBit {
    u8  bit;
    u32 leaf;
    u8  reg, feature;
} ControlBit;

GROUP(cr4_bits)
{
    static const ControlBit rows[] = {
        { 0, 1, EDX, 1 },   { 1, 1, EDX, 1 },   { 2, 1, EDX, 4 },  { 3, 1, EDX, 2 },   { 4, 1, EDX, 3 },
        { 6, 1, EDX, 7 },   { 7, 1, EDX, 13 },  { 8, 1, EDX, 5 },  { 9, 1, EDX, 24 },  { 10, 1, EDX, 25 },
        { 11, 7, ECX, 2 },  { 13, 1, ECX, 5 },  { 14, 1, ECX, 6 }, { 16, 7, EBX, 0 },  { 17, 1, ECX, 17 },
        { 18, 1, ECX, 26 }, { 19, 7, ECX, 23 }, { 20, 7, EBX, 7 }, { 21, 7, EBX, 20 }, { 22, 7, ECX, 3 },
        { 24, 7, ECX, 31 },
    };
    for (unsigned bit = 0; bit < 64; bit++) {
        bool allowed = false;
        for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            allowed |= rows[i].bit == bit && offered(rows[i].leaf, rows[i].reg, rows[i].feature);
        }
        if (bit == 5 || bit == 12 || bit == 13) { /* PAE must stay, LA57 too; VMXE may have rules of its own */
            continue;
        }
        Frame    f;
        unsigned vector = do_code("\x0f\x22\xe0", 3, 0, saved_cr4 | 1ull << bit, &f);
        bool     set    = READ_CR(4) >> bit & 1;
        WRITE_CR(4, saved_cr4);
        check(allowed ? vector == 3 && set : vector == 13, number("cr4.bit-", bit),
              "CR4 takes what CPUID offers, the rest is #GP(0)", "SDM 3, 2.5");
    }
}
GROUP(cr0_bits)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        if (bit == 0 || bit == 29 || bit == 30 || bit == 31) {
            continue;
        }
        static const u32 known = 0x0005003f;
        Frame            f;
        unsigned         vector = do_code("\x0f\x22\xc0", 3, 0, saved_cr0 | 1ull << bit, &f);
        bool             set    = READ_CR(0) >> bit & 1;
        WRITE_CR(0, saved_cr0);
        check(bit >= 32 ? vector == 13 : vector == 3 && set == (known >> bit & 1), number("cr0.bit-", bit),
              "reserved bits of CR0's lower half stay clear, the upper half is #GP(0)", "SDM 3, 2.5");
    }
}
static bool has_xsave(void)
{
    return offered(1, ECX, 26);
}
GROUP(xcr0_bits)
{
    if (!has_xsave()) {
        return;
    }
    Cpuid offers = cpuid(0xd, 0);
    u64   have   = (u64)offers.d << 32 | offers.a;
    for (unsigned bit = 1; bit < 64; bit++) {
        u64 with = 1ull << bit | 1;
        with |= bit == 2                 ? 2
                : bit == 3               ? 0x18
                : bit == 4               ? 0x18
                : bit >= 5 && bit <= 7   ? 0xe7
                : bit == 17 || bit == 18 ? 0x60000
                                         : 0;
        Frame    f;
        unsigned vector = do_code("\x0f\x01\xd1", 3, 0, with, &f);
        __asm__ volatile("xsetbv" : : "c"(0), "a"((u32)have & 7), "d"(0));
        check((with & ~have) ? vector == 13 : vector == 3, number("xcr0.bit-", bit),
              "XCR0 takes what CPUID offers, the rest is #GP(0)", "SDM 1, 13.3");
    }
}
CASE("xcr0.avx512-part", "parts of AVX-512's state are #GP(0)", "SDM 1, 13.3", L0,
     "xor %ecx, %ecx\n mov $0x27, %eax\n xor %edx, %edx", "xsetbv", GP(0), .when = has_xsave)
CHECK(osxsave, "cr4.osxsave-cpuid", "CPUID shows CR4.OSXSAVE", "SDM 2, CPUID")
{
    if (!has_xsave()) {
        return true;
    }
    WRITE_CR(4, saved_cr4 & ~(1ull << 18));
    bool off = !offered(1, ECX, 27);
    WRITE_CR(4, saved_cr4 | 1ull << 18);
    return off && offered(1, ECX, 27);
}
CASE("cr0.pg-64", "clearing PG in 64-bit mode is #GP(0)", "SDM 2, MOV", L0, "mov %cr0, %rax\n btr $31, %rax",
     "mov %rax, %cr0", GP(0))
CASE("cr0.pe-64", "clearing PE alone too", "SDM 2, MOV", L0, "mov %cr0, %rax\n btr $0, %rax", "mov %rax, %cr0", GP(0))
CASE("cr0.nw", "NW without CD is #GP(0)", "SDM 2, MOV", L0, "mov %cr0, %rax\n bts $29, %rax\n btr $30, %rax",
     "mov %rax, %cr0", GP(0))
CASE("cr4.pae-64", "clearing PAE is #GP(0)", "SDM 2, MOV", L0, "mov %cr4, %rax\n btr $5, %rax", "mov %rax, %cr4", GP(0))
CASE("cr4.la57", "changing LA57 too", "SDM 2, MOV", L0, "mov %cr4, %rax\n btc $12, %rax", "mov %rax, %cr4", GP(0))
CASE("efer.lme", "clearing EFER.LME with paging is #GP(0)", "SDM 3, 2.2.1", L0,
     "mov $0xc0000080, %ecx\n rdmsr\n btr $8, %eax", "wrmsr", GP(0))
CASE("cr.lmsw-64", "LMSW cannot clear PE", "SDM 2, LMSW", L0, "xor %eax, %eax\n lmsw %ax\n mov $6, %ecx\n lmsw %cx",
     "smsw %eax\n and $1, %eax", VALUE(1))
CASE("cr.mov-cr-mod", "MOV CR ignores mod", "SDM 2, MOV", L0, "", ".byte 0x0f, 0x20, 0x00\n and $1, %eax", VALUE(1))
CASE("cr.cr1", "CR1 is #UD", "SDM 2, MOV", L0, "", ".byte 0x0f, 0x20, 0xc8", UD)
CASE("cr.cr9", "CR9 is #UD", "SDM 2, MOV", L0, "", ".byte 0x44, 0x0f, 0x20, 0xc8", UD)
CASE("cr.cr15", "CR15 is #UD", "SDM 2, MOV", L0, "", ".byte 0x44, 0x0f, 0x22, 0xf8", UD)
CASE("cr.cr1-ring3", "also in ring 3", "SDM 2, MOV", L3, "", ".byte 0x0f, 0x20, 0xc8", UD)
CASE("cr.dr8", "DR8 is #UD", "SDM 2, MOV", L0, "", ".byte 0x44, 0x0f, 0x21, 0xc0", UD)
CASE("cr.dr-wide", "MOV DR moves 64 bits without REX.W", "SDM 2, MOV", L0,
     "mov $-1, %rax\n mov %rax, %dr0\n xor %eax, %eax", "mov %dr0, %rax", VALUE(~0ull))

/* --- MSRs --- */

typedef struct MsrRow {
    const char *id, *text, *where;
    u32         msr;
    u64         value;
    bool        allowed;
    bool (*when)(void);
} MsrRow;
static bool has_mca(void)
{
    return offered(1, EDX, 14);
}
static bool has_mtrr(void)
{
    return offered(1, EDX, 12);
}
static bool has_rdtscp(void)
{
    return offered(0x80000001, EDX, 27);
}
static bool has_no_xsaves(void)
{
    return !has_xsave() || cpuid(0xd, 0).a == 0 || !(cpuid(0xd, 1).a & 8);
}
static bool has_no_svm(void)
{
    return !offered(0x80000001, ECX, 2);
}
static const char mca_where[] = "SDM 3, 16.3", mtrr_where[] = "SDM 3, 12.11.2", efer_where[] = "SDM 3, 2.2.1";
GROUP(msr_writes)
{
    static const MsrRow rows[] = {
        { "mca.cap", "MCG_CAP is read-only", mca_where, 0x179, 0x0100010a, false, has_mca },
        { "mca.status", "MCG_STATUS takes RIPV, EIPV and MCIP", mca_where, 0x17a, 7, true, has_mca },
        { "mca.status-reserved", "its reserved bits are #GP(0)", mca_where, 0x17a, 0x10, false, has_mca },
        { "mca.status-clear", "it can be cleared", mca_where, 0x17a, 0, true, has_mca },
        { "mca.ctl", "MC0_CTL takes anything", mca_where, 0x400, ~0ull, true, has_mca },
        { "mca.bank-status", "MC0_STATUS may be cleared", mca_where, 0x401, 0, true, has_mca },
        { "mca.bank-status-set", "and not set", mca_where, 0x401, 1ull << 63, false, has_mca },
        { "mca.bank-addr", "MC0_ADDR may be cleared", mca_where, 0x402, 0, true, has_mca },
        { "mca.bank-addr-set", "and not set", "SDM 3, 16.3.2.3", 0x402, 0x1000, false, has_mca },
        { "mca.bank-misc", "MC0_MISC may be cleared", mca_where, 0x403, 0, true, has_mca },
        { "mca.bank-misc-set", "and not set", "SDM 3, 16.3.2.4", 0x403, 1, false, has_mca },
        { "mtrr64.cap", "MTRRCAP is read-only", mtrr_where, 0xfe, 0x508, false, has_mtrr },
        { "mtrr64.def-type", "MTRR_DEF_TYPE: write-back, enabled", mtrr_where, 0x2ff, 0xc06, true, has_mtrr },
        { "mtrr64.def-reserved", "its reserved bits", mtrr_where, 0x2ff, 0x106, false, has_mtrr },
        { "mtrr64.def-high", "its upper half", mtrr_where, 0x2ff, 1ull << 32 | 6, false, has_mtrr },
        { "mtrr64.def-type-2", "type 2 is reserved", mtrr_where, 0x2ff, 2, false, has_mtrr },
        { "mtrr64.def-type-7", "so is type 7 (UC- is PAT's alone)", mtrr_where, 0x2ff, 7, false, has_mtrr },
        { "mtrr64.fixed", "a fixed one of all types", mtrr_where, 0x268, 0x0605040100060606, true, has_mtrr },
        { "mtrr64.fixed-high", "a bad type in its last byte", mtrr_where, 0x26f, 3ull << 56, false, has_mtrr },
        { "mtrr64.base", "a variable one's base", mtrr_where, 0x20e, 0xf0000006, true, has_mtrr },
        { "mtrr64.base-reserved", "bits 8 to 11 of it", mtrr_where, 0x20e, 0xf0000806, false, has_mtrr },
        { "mtrr64.base-type", "a reserved type", mtrr_where, 0x20e, 0xf0000003, false, has_mtrr },
        { "mtrr64.mask", "its mask", mtrr_where, 0x20f, 0xf0000800, true, has_mtrr },
        { "mtrr64.mask-reserved", "bits 0 to 10 of that", mtrr_where, 0x20f, 0xf0000400, false, has_mtrr },
        { "mtrr64.mask-above", "address bits that are not there", mtrr_where, 0x20f, 1ull << 63 | 0x800, false,
          has_mtrr },
        { "mtrr64.beyond", "there is no ninth", mtrr_where, 0x210, 0, false, has_mtrr },
        { "pat64.all", "PAT takes all types", "SDM 3, 12.12.2", 0x277, 0x0001040506070604, true, NULL },
        { "pat64.type-2", "but 2", "SDM 3, 12.12.2", 0x277, 0x0007040602070406, false, NULL },
        { "pat64.type-3", "and 3", "SDM 3, 12.12.2", 0x277, 0x0307040600070406, false, NULL },
        { "pat64.type-8", "and 8", "SDM 3, 12.12.2", 0x277, 0x0007040600070408, false, NULL },
        { "pat64.reset", "as at reset", "SDM 3, 12.12.4", 0x277, 0x0007040600070406, true, NULL },
        { "efer.bit-1", "EFER's bit 1 is reserved", efer_where, EFER, 0xd03, false, is_intel },
        { "efer.bit-9", "bit 9", efer_where, EFER, 0xf01, false, NULL },
        { "efer.svme", "SVME without SVM", "AMD APM 2, 15.4", EFER, 0x1d01, false, has_no_svm },
        { "efer.high", "bit 32", efer_where, EFER, 1ull << 32 | 0xd01, false, NULL },
        { "msr64.tsc-aux", "TSC_AUX has 32 bits", "SDM 4, table 2-2", 0xc0000103, 0x12345678, true, has_rdtscp },
        { "msr64.tsc-aux-high", "its upper half is reserved", "SDM 4, table 2-2", 0xc0000103, 1ull << 32, false,
          has_rdtscp },
        { "msr64.xss", "XSS without XSAVES is not there", "SDM 1, 13.3", 0xda0, 0, false, has_no_xsaves },
        { "msr64.platform-info", "PLATFORM_INFO is read-only", "SDM 4, table 2-2", 0xce, 0, false, is_intel },
        { "msr64.updt-trig", "BIOS_UPDT_TRIG takes an address", "SDM 3, 10.11.6", 0x79, 0x1000, true, is_intel },
        { "msr64.sign-id", "BIOS_SIGN_ID takes 0", "SDM 3, 10.11.7.1", 0x8b, 0, true, is_intel },
        { "msr64.apic-base-low", "APIC_BASE's low bits are reserved", "SDM 3, 11.4.4", 0x1b, 0xfee00901, false, NULL },
        { "msr64.apic-base-bit-9", "bit 9 too", "SDM 3, 11.4.4", 0x1b, 0xfee00b00, false, NULL },
        { "msr64.none", "what is not there is #GP(0)", "SDM 2, WRMSR", 0x1000000, 0, false, NULL },
        { "msr64.fmask-high", "FMASK's upper half is reserved", "SDM 4, table 2-2", FMASK, 1ull << 63, false, NULL },
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const MsrRow *r = &rows[i];
        if (r->when && !r->when()) {
            continue;
        }
        u64      now;
        unsigned vector = try_wrmsr(r->msr, r->value);
        bool     ok     = vector == (r->allowed ? 3 : 13);
        if (ok && r->allowed && r->msr != 0x79 && r->msr != 0x8b) {
            ok = try_rdmsr(r->msr, &now) == 3 && now == r->value;
        }
        check(ok, r->id, r->text, r->where);
    }
    try_wrmsr(0x2ff, 0);
    try_wrmsr(0x268, 0);
    try_wrmsr(0x20e, 0);
    try_wrmsr(0x20f, 0);
    wrmsr(0x277, 0x0007040600070406);
}
GROUP(msr_reads)
{
    u64 value, before;
    if (has_mca()) {
        u64 count = rdmsr(0x179) & 0xff;
        check(count && try_rdmsr(0x400 + 4 * (u32)count - 1, &value) == 3, "mca.banks",
              "all banks that MCG_CAP counts are there", mca_where);
        check(try_rdmsr(0x400 + 4 * (u32)count, &value) == 13, "mca.banks-beyond", "and no more", mca_where);
    }
    check(try_rdmsr(0x1000000, &value) == 13, "msr64.none-read", "RDMSR of what is not there is #GP(0)",
          "SDM 2, RDMSR");
    check(try_rdmsr(0x79, &value) == 13 || !is_intel(), "msr64.updt-trig-read", "BIOS_UPDT_TRIG cannot be read",
          "SDM 4, table 2-2");
    if (is_intel()) {
        wrmsr(0x8b, 0);
        cpuid(1, 0);
        check(rdmsr(0x8b) >> 32 != 0, "msr64.sign-id-cpuid", "CPUID puts the microcode's revision into BIOS_SIGN_ID",
              "SDM 3, 10.11.7.1");
    } else {
        check(rdmsr(0x8b) != 0, "msr64.patch-level", "the patch level can be read", "AMD BKDG, MSR 8Bh");
    }
    if (offered(7, EBX, 1)) { /* TSC_ADJUST */
        wrmsr(0x3b, 0);
        before = rdtsc();
        wrmsr(0x3b, 1ull << 40);
        value = rdtsc();
        check(value - before >= 1ull << 40 && value - before < 2ull << 40, "tsc.adjust", "TSC_ADJUST moves the TSC",
              "SDM 3, 18.17.3");
        before = rdmsr(0x3b);
        wrmsr(0x10, rdtsc() - (1ull << 40));
        value = rdmsr(0x3b);
        check(before - value >= 1ull << 40 && before - value < (1ull << 40) + (1ull << 36), "tsc.write-adjusts",
              "a write to the TSC shows in TSC_ADJUST", "SDM 3, 18.17.3");
        wrmsr(0x3b, 0);
    }
    if (has_rdtscp()) {
        u32 aux;
        wrmsr(0xc0000103, 0x5a5a);
        __asm__ volatile("rdtscp" : "=c"(aux) : : "eax", "edx");
        check(aux == 0x5a5a, "tsc.rdtscp", "RDTSCP gives TSC_AUX", "SDM 2, RDTSCP");
    }
    if (is_intel()) {
        u64 enable = rdmsr(0x1a0);
        wrmsr(0x1a0, enable | 1ull << 22);
        check(cpuid(0, 0).a <= 3, "msr64.limit-cpuid", "MISC_ENABLE limits CPUID to leaf 3", "SDM 4, table 2-2");
        wrmsr(0x1a0, enable);
        if (offered(1, ECX, 3)) {
            wrmsr(0x1a0, enable & ~(1ull << 18));
            check(!offered(1, ECX, 3), "msr64.monitor-off", "and switches MONITOR off", "SDM 4, table 2-2");
            wrmsr(0x1a0, enable);
        }
        wrmsr(EFER, rdmsr(EFER) & ~(u64)EFER_NXE);
        wrmsr(0x1a0, enable | 1ull << 34);
        check(!offered(0x80000001, EDX, 20), "msr64.xd-disable", "and XD", "SDM 4, table 2-2");
        check(try_wrmsr(EFER, rdmsr(EFER) | EFER_NXE) == 13, "msr64.xd-disable-efer", "then EFER.NXE is #GP(0)",
              "SDM 4, table 2-2");
        wrmsr(0x1a0, enable);
        wrmsr(EFER, rdmsr(EFER) | EFER_NXE);
        check(try_wrmsr(0x3a, 1) == 3, "msr64.feature-lock", "FEATURE_CONTROL can be locked", "SDM 4, table 2-2");
        check(try_wrmsr(0x3a, 1) == 13, "msr64.feature-locked", "once: then writes are #GP(0)", "SDM 4, table 2-2");
        check(rdmsr(0x3a) == 1, "msr64.feature-read", "it reads as it was written", "SDM 4, table 2-2");
    }
}
CASE("msr64.rdmsr-ring3", "RDMSR in ring 3 is #GP(0)", "SDM 2, RDMSR", L3, "mov $0x1b, %ecx", "rdmsr", GP(0))
CASE("msr64.rdmsr-high", "the upper half of RCX does not count", "SDM 2, RDMSR", L0, "movabs $0x123400000277, %rcx",
     "rdmsr", VALUE(0x00070406))
CASE("msr64.wrmsr-high", "nor those of RAX and RDX", "SDM 2, WRMSR", L0,
     "mov $0xc0000102, %ecx\n movabs $0x5555555500001234, %rax\n movabs $0x5555555500000000, %rdx\n wrmsr", "rdmsr",
     VALUE(0x1234))
CASE("msr64.rdmsr-clears", "RDMSR clears the upper halves", "SDM 2, RDMSR", L0,
     "mov $0x277, %ecx\n mov $-1, %rax\n mov $-1, %rdx", "rdmsr\n mov %rdx, %rax", VALUE(0x00070406))

/* --- when FP and vector instructions fault --- */

#define CR0_MP 2ull
#define CR0_EM 4ull
#define CR0_TS 8ull
BEFORE(ts, WRITE_CR(0, saved_cr0 | CR0_TS))
BEFORE(ts_no_mp, WRITE_CR(0, (saved_cr0 & ~CR0_MP) | CR0_TS))
BEFORE(em, WRITE_CR(0, saved_cr0 | CR0_EM))
BEFORE(no_osfxsr, WRITE_CR(4, saved_cr4 & ~0x200ull))
BEFORE(no_osxsave, WRITE_CR(4, saved_cr4 & ~(1ull << 18)))
BEFORE(no_osxmm, WRITE_CR(4, saved_cr4 & ~0x400ull))
BEFORE(
    no_avx, if (has_xsave()) {
        __asm__ volatile("xsetbv" : : "c"(0), "a"(3), "d"(0));
    })
static bool has_avx(void)
{
    return offered(1, ECX, 28) && has_xsave();
}
static bool avx_again(const Frame *f)
{
    __asm__ volatile("xsetbv" : : "c"(0), "a"(7), "d"(0));
    return true;
}
CASE("fp.ts-x87", "x87 with TS is #NM", "SDM 3, 2.5", L3, "", "fld1", NM, .before = ts)
CASE("fp.ts-fwait", "FWAIT with TS and MP", "SDM 3, 2.5", L3, "", "fwait", NM, .before = ts)
CASE("fp.ts-fwait-no-mp", "not without MP", "SDM 3, 2.5", L3, "", "fwait", NONE, .before = ts_no_mp)
CASE("fp.ts-fnstsw", "FNSTSW", "SDM 3, 2.5", L3, "", "fnstsw %ax", NM, .before = ts)
CASE("fp.ts-mmx", "MMX", "SDM 3, 2.5", L3, "", "emms", NM, .before = ts)
CASE("fp.ts-sse", "SSE", "SDM 3, 2.5", L3, "", "movaps %xmm0, %xmm1", NM, .before = ts)
CASE("fp.ts-fxsave", "FXSAVE", "SDM 2, FXSAVE", L3, "", "fxsave (%rdi)", NM, .before = ts)
CASE("fp.ts-ldmxcsr", "LDMXCSR", "SDM 2, LDMXCSR", L3, "", "ldmxcsr (%rdi)", NM, .before = ts)
CASE("fp.ts-xsave", "XSAVE", "SDM 2, XSAVE", L3, "mov $3, %eax", "xsave (%rdi)", NM, .before = ts, .when = has_xsave)
CASE("fp.ts-avx", "AVX", "SDM 2, 2.8", L3, "", "vmovaps %ymm0, %ymm1", NM, .before = ts, .when = has_avx)
CASE("fp.ts-movnti", "MOVNTI is no SSE register's", "SDM 2, MOVNTI", L3, "", "movnti %eax, (%rdi)", NONE, .before = ts)
CASE("fp.ts-prefetch", "nor PREFETCH", "SDM 2, PREFETCHh", L3, "", "prefetcht0 (%rdi)", NONE, .before = ts)
CASE("fp.ts-crc32", "nor CRC32", "SDM 2, CRC32", L3, "", "crc32l %eax, %ecx", NONE, .before = ts)
CASE("fp.ts-order", "#NM comes before the operand's page fault", "SDM 3, table 6-2", L3, "", "fldl 0x1000(%rdi)", NM,
     .before = ts)
CASE("fp.em-x87", "x87 with EM is #NM", "SDM 3, 2.5", L3, "", "fld1", NM, .before = em)
CASE("fp.em-fwait", "FWAIT is not", "SDM 3, 2.5", L3, "", "fwait", NONE, .before = em)
CASE("fp.em-mmx", "MMX is #UD", "SDM 3, 2.5", L3, "", "emms", UD, .before = em)
CASE("fp.em-sse", "SSE is #UD", "SDM 3, 2.5", L3, "", "movaps %xmm0, %xmm1", UD, .before = em)
CASE("fp.em-fxsave", "FXSAVE is #NM", "SDM 2, FXSAVE", L3, "", "fxsave (%rdi)", NM, .before = em)
CASE("fp.em-movnti", "MOVNTI is not touched", "SDM 2, MOVNTI", L3, "", "movnti %eax, (%rdi)", NONE, .before = em)
CASE("fp.em-avx", "AVX is not touched either", "SDM 2, 2.8", L3, "", "vmovaps %ymm0, %ymm1", NONE, .before = em,
     .when = has_avx)
CASE("fp.no-osfxsr", "SSE without OSFXSR is #UD", "SDM 3, 2.5", L3, "", "movaps %xmm0, %xmm1", UD, .before = no_osfxsr)
CASE("fp.no-osfxsr-mmx", "MMX is fine", "SDM 3, 2.5", L3, "", "emms", NONE, .before = no_osfxsr)
CASE("fp.no-osfxsr-ldmxcsr", "LDMXCSR is #UD", "SDM 2, LDMXCSR", L3, "", "ldmxcsr (%rdi)", UD, .before = no_osfxsr)
CASE("fp.no-osfxsr-pause", "PAUSE is not", "SDM 2, PAUSE", L3, "", "pause", NONE, .before = no_osfxsr)
CASE("fp.no-osfxsr-avx", "AVX does not look at OSFXSR", "SDM 2, 2.8", L3, "", "vmovaps %ymm0, %ymm1", NONE,
     .before = no_osfxsr, .when = has_avx)
CASE("fp.no-osxsave", "AVX without OSXSAVE is #UD", "SDM 2, 2.8", L3, "", "vmovaps %ymm0, %ymm1", UD,
     .before = no_osxsave, .when = has_avx)
CASE("fp.no-osxsave-xsave", "XSAVE", "SDM 2, XSAVE", L3, "", "xsave (%rdi)", UD, .before = no_osxsave,
     .when = has_xsave)
CASE("fp.no-osxsave-xgetbv", "XGETBV", "SDM 2, XGETBV", L3, "", "xgetbv", UD, .before = no_osxsave, .when = has_xsave)
CASE("fp.no-osxsave-xsetbv", "XSETBV", "SDM 2, XSETBV", L0, "", "xsetbv", UD, .before = no_osxsave, .when = has_xsave)
CASE("fp.no-avx", "AVX without its bit in XCR0 is #UD", "SDM 2, 2.8", L3, "", "vmovaps %ymm0, %ymm1", UD,
     .before = no_avx, .after = avx_again, .when = has_avx)
CASE("fp.vex-lock", "LOCK before VEX is #UD", "SDM 2, 2.3.2", L3, "", ".byte 0xf0, 0xc5, 0xf8, 0x77", UD,
     .when = has_avx)
CASE("fp.vex-66", "66h before VEX is #UD", "SDM 2, 2.3.2", L3, "", ".byte 0x66, 0xc5, 0xf8, 0x77", UD, .when = has_avx)
CASE("fp.vex-rex", "REX before VEX is #UD", "SDM 2, 2.3.3", L3, "", ".byte 0x40, 0xc5, 0xf8, 0x77", UD, .when = has_avx)
CASE("fp.vex-f3", "F3h before VEX is #UD", "SDM 2, 2.3.2", L3, "", ".byte 0xf3, 0xc5, 0xf8, 0x77", UD, .when = has_avx)
CASE("fp.vex-vvvv", "vvvv that names nothing must be ones", "SDM 2, 2.3.5.6", L3, "", ".byte 0xc5, 0xf0, 0x28, 0xc0",
     UD, .when = has_avx)
CASE("fp.vex-l", "VEX.L of a scalar move to a register of 128 bits", "SDM 2, VMOVD", L3, "",
     ".byte 0xc5, 0xfd, 0x6e, 0xc0", UD, .when = has_avx)
CASE("fp.xm-ud", "an unmasked SIMD exception without OSXMMEXCPT is #UD", "SDM 3, 2.5", L3,
     "movl $0x1f00, (%rdi)\n ldmxcsr (%rdi)\n mov $0x7f800001, %eax\n movd %eax, %xmm0", "addss %xmm0, %xmm0", UD,
     .before = no_osxmm)
CASE("fp.xm", "with it #XM", "SDM 3, 2.5", L3,
     "movl $0x1f00, (%rdi)\n ldmxcsr (%rdi)\n mov $0x7f800001, %eax\n movd %eax, %xmm0", "addss %xmm0, %xmm0",
     FAULT(19))
CASE("fp.mf-64", "#MF before the next x87 instruction", "SDM 1, 8.7", L3,
     "fninit\n movw $0x37b, (%rdi)\n fldcw (%rdi)\n fld1\n fldz\n fdivrp", "fld1", MF)
CASE("fp.mf-mmx", "before MMX", "SDM 3, 12.5", L3, "fninit\n movw $0x37b, (%rdi)\n fldcw (%rdi)\n fld1\n fldz\n fdivrp",
     "emms", MF)
CASE("fp.mf-not-sse", "not before SSE", "SDM 1, 8.7", L3,
     "fninit\n movw $0x37b, (%rdi)\n fldcw (%rdi)\n fld1\n fldz\n fdivrp", "movaps %xmm0, %xmm1\n fninit", NONE)
CASE("fp.mf-not-fxsave", "not before FXSAVE", "SDM 2, FXSAVE", L3,
     "fninit\n movw $0x37b, (%rdi)\n fldcw (%rdi)\n fld1\n fldz\n fdivrp", "fxsave (%rdi)\n fninit", NONE)

#define MXCSR(value) "movl $" value ", (%rdi)\n ldmxcsr (%rdi)\n"
#define PRODUCT                                                                                                        \
    "mulss %xmm1, %xmm0\n movd %xmm0, %eax\n stmxcsr (%rdi)\n mov (%rdi), %ecx\n and $0x3f, %ecx\n shl $24, %rcx\n "   \
    "shl $8, %rcx\n or %rcx, %rax\n" MXCSR("0x1f80")
#define OPERANDS(a, b) "mov $" a ", %eax\n movd %eax, %xmm0\n mov $" b ", %eax\n movd %eax, %xmm1\n"
CASE("fp.denormal", "a denormal operand is reported by DE", "SDM 1, 11.5.2.2", L3,
     MXCSR("0x1f80") OPERANDS("1", "0x3f800000"), PRODUCT, VALUE(0x200000001))
CASE("fp.daz", "with DAZ it is zero, and not reported", "SDM 1, 10.2.3.4", L3,
     MXCSR("0x1fc0") OPERANDS("1", "0x3f800000"), PRODUCT, VALUE(0))
CASE("fp.daz-sign", "of its sign", "SDM 1, 10.2.3.4", L3, MXCSR("0x1fc0") OPERANDS("0x80000001", "0x3f800000"), PRODUCT,
     VALUE(0x80000000))
CASE("fp.underflow", "a tiny product is denormal", "SDM 1, 4.9.1.5", L3,
     MXCSR("0x1f80") OPERANDS("0x00800001", "0x3f000000"), PRODUCT, VALUE(0x3000400000))
CASE("fp.ftz", "with FTZ it is zero, and UE and PE are set", "SDM 1, 10.2.3.3", L3,
     MXCSR("0x9f80") OPERANDS("0x00800001", "0x3f000000"), PRODUCT, VALUE(0x3000000000))
CASE("fp.ftz-unmasked", "an unmasked underflow is #XM, FTZ or not", "SDM 1, 10.2.3.3", L3,
     MXCSR("0x9780") OPERANDS("0x00800001", "0x3f000000"), "mulss %xmm1, %xmm0", FAULT(19))
CASE("fp.mxcsr-back", "the mask again", "SDM 1, 10.2.3", L3, MXCSR("0x1f80"), "nop", NONE)

/* --- XSAVE and FXSAVE --- */

static bool has_xsavec(void)
{
    return has_xsave() && cpuid(0, 0).a >= 0xd && cpuid(0xd, 1).a >> 1 & 1;
}
static bool has_no_xsavec(void)
{
    return has_xsave() && !has_xsavec();
}
static bool has_xsaves(void)
{
    return has_xsave() && cpuid(0, 0).a >= 0xd && cpuid(0xd, 1).a >> 3 & 1;
}
#define ALL "mov $7, %eax\n xor %edx, %edx\n"
CASE("xsave.align", "XSAVE at 32 is #GP(0)", "SDM 2, XSAVE", L3, ALL, "xsave 32(%rdi)", GP(0), .when = has_xsave)
CASE("xsave.bv", "XSAVE sets bits of XSTATE_BV of what it saved, and leaves others", "SDM 1, 13.7", L3,
     "movabs $0x800000000000000, %rcx\n mov %rcx, 0x200(%rdi)\n mov $1, %eax\n xor %edx, %edx",
     "fld1\n xsave (%rdi)\n fninit\n mov 0x200(%rdi), %rax", VALUE(0x800000000000001), .when = has_xsave)
CASE("xsave.keeps", "and does not write the reserved part of the header", "SDM 1, 13.7", L3,
     "movq $0x55, 0x210(%rdi)\n" ALL, "xsave (%rdi)\n mov 0x210(%rdi), %rax", VALUE(0x55), .when = has_xsave)
CASE("xrstor.bv", "XRSTOR with XSTATE_BV beyond XCR0 is #GP(0)", "SDM 1, 13.8", L3, "movq $0x8, 0x200(%rdi)\n" ALL,
     "xrstor (%rdi)", GP(0), .when = has_xsave)
CASE("xrstor.bv-63", "bit 63 of it too", "SDM 1, 13.8", L3,
     "movabs $0x8000000000000000, %rax\n mov %rax, 0x200(%rdi)\n" ALL, "xrstor (%rdi)", GP(0), .when = has_xsave)
CASE("xrstor.compact", "a compacted form without XSAVEC is #GP(0)", "SDM 1, 13.8", L3,
     "movabs $0x8000000000000000, %rax\n mov %rax, 0x208(%rdi)\n" ALL, "xrstor (%rdi)", GP(0), .when = has_no_xsavec)
CASE("xrstor.compact-bad", "one with XSTATE_BV beyond XCOMP_BV is #GP(0)", "SDM 1, 13.8.2", L3,
     "movabs $0x8000000000000000, %rax\n mov %rax, 0x208(%rdi)\n movq $1, 0x200(%rdi)\n" ALL, "xrstor (%rdi)", GP(0),
     .when = has_xsavec)
CASE("xrstor.mxcsr", "reserved bits of MXCSR are #GP(0)", "SDM 1, 13.8.1", L3,
     "movq $2, 0x200(%rdi)\n movl $0x80000000, 24(%rdi)\n" ALL, "xrstor (%rdi)", GP(0), .when = has_xsave)
CASE("xrstor.mxcsr-not-asked", "unless neither SSE nor AVX is asked for", "SDM 1, 13.8.1", L3,
     "movq $2, 0x200(%rdi)\n movl $0x80000000, 24(%rdi)\n mov $1, %eax\n xor %edx, %edx", "xrstor (%rdi)", NONE,
     .when = has_xsave)
CASE("xrstor.xcomp", "XCOMP_BV without its bit 63 must be 0", "SDM 1, 13.8", L3, "movq $1, 0x208(%rdi)\n" ALL,
     "xrstor (%rdi)", GP(0), .when = has_xsave)
CASE("xsaves.ring3", "XSAVES in ring 3 is #GP(0)", "SDM 2, XSAVES", L3, ALL, "xsaves (%rdi)", GP(0), .when = has_xsaves)
CASE("xgetbv.1", "XGETBV of 2 is #GP(0)", "SDM 2, XGETBV", L3, "mov $2, %ecx", "xgetbv", GP(0), .when = has_xsave)
CASE("fxsave.align", "FXSAVE at 8 is #GP(0)", "SDM 2, FXSAVE", L3, "", "fxsave 8(%rdi)", GP(0))
CASE("fxrstor.mxcsr", "FXRSTOR with reserved bits of MXCSR is #GP(0)", "SDM 2, FXRSTOR", L3,
     "fxsave (%rdi)\n movl $0x80000000, 24(%rdi)", "fxrstor (%rdi)", GP(0))

/* --- privileged instructions --- */

static const struct {
    const char *name;
    u8          len;
    const char *code;
} privileged[] = {
    { "hlt", 1, "\xf4" },
    { "cli", 1, "\xfa" },
    { "sti", 1, "\xfb" },
    { "clts", 2, "\x0f\x06" },
    { "invd", 2, "\x0f\x08" },
    { "wbinvd", 2, "\x0f\x09" },
    { "invlpg", 3, "\x0f\x01\x3f" },
    { "lgdt", 3, "\x0f\x01\x17" },
    { "lidt", 3, "\x0f\x01\x1f" },
    { "lmsw", 3, "\x0f\x01\xf0" },
    { "lldt", 3, "\x0f\x00\xd0" },
    { "ltr", 3, "\x0f\x00\xd8" },
    { "rdmsr", 2, "\x0f\x32" },
    { "wrmsr", 2, "\x0f\x30" },
    { "mov-from-cr0", 3, "\x0f\x20\xc0" },
    { "mov-to-cr3", 3, "\x0f\x22\xd8" },
    { "mov-from-cr8", 4, "\x44\x0f\x20\xc0" },
    { "mov-from-dr7", 3, "\x0f\x21\xf8" },
    { "mov-to-dr0", 3, "\x0f\x23\xc0" },
    { "swapgs", 3, "\x0f\x01\xf8" },
    { "sysret", 3, "\x48\x0f\x07" },
    { "in-imm", 2, "\xe4\x80" },
    { "out-imm", 2, "\xe6\x80" },
    { "in-dx", 1, "\xec" },
    { "out-dx", 1, "\xee" },
    { "ins", 1, "\x6c" },
    { "outs", 1, "\x6e" },
    { "rep-ins-none", 2, "\xf3\x6c" },
    { "rdpmc", 2, "\x0f\x33" },
};
GROUP(ring3)
{
    for (unsigned i = 0; i < sizeof privileged / sizeof privileged[0]; i++) {
        static char id[32] = "ring3.";
        memcpy(id + 6, privileged[i].name, 20);
        Frame    f;
        unsigned vector = run_bytes(L3, privileged[i].code, privileged[i].len, &f);
        check(vector == 13 && f.error == 0 && f.rip == A_CODE, id, "it is #GP(0) in ring 3", "SDM 3, 5.9");
    }
}
static bool has_monitor(void)
{
    return offered(1, ECX, 3);
}
BEFORE(umip, WRITE_CR(4, saved_cr4 | CR4_UMIP))
static bool has_umip(void)
{
    return offered(7, ECX, 2);
}
CASE("umip64.sgdt", "with UMIP SGDT in ring 3 is #GP(0)", "SDM 2, SGDT", L3, "", "sgdt (%rdi)", GP(0), .before = umip,
     .when = has_umip)
CASE("umip64.sidt", "SIDT", "SDM 2, SIDT", L3, "", "sidt (%rdi)", GP(0), .before = umip, .when = has_umip)
CASE("umip64.sldt", "SLDT", "SDM 2, SLDT", L3, "", "sldt %rax", GP(0), .before = umip, .when = has_umip)
CASE("umip64.str", "STR", "SDM 2, STR", L3, "", "str %rax", GP(0), .before = umip, .when = has_umip)
CASE("umip64.smsw", "SMSW", "SDM 2, SMSW", L3, "", "smsw %rax", GP(0), .before = umip, .when = has_umip)
CASE("umip64.ring0", "not in ring 0", "SDM 2, SGDT", L0, "", "sgdt (%rdi)", NONE, .before = umip, .when = has_umip)
BEFORE(tsd, WRITE_CR(4, saved_cr4 | CR4_TSD))
CASE("tsd64.rdtsc", "RDTSC with TSD in ring 3 is #GP(0)", "SDM 2, RDTSC", L3, "", "rdtsc", GP(0), .before = tsd)
CASE("tsd64.rdtscp", "RDTSCP", "SDM 2, RDTSCP", L3, "", "rdtscp", GP(0), .before = tsd, .when = has_rdtscp)
CASE("tsd64.ring0", "not in ring 0", "SDM 2, RDTSC", L0, "", "rdtsc", NONE, .before = tsd)
static bool has_smap(void)
{
    return offered(7, EBX, 20);
}
CASE("smap.stac-ring3", "STAC in ring 3 is #UD", "SDM 2, STAC", L3, "", "stac", UD, .when = has_smap)
CASE("ring3.monitor", "MONITOR in ring 3 is #UD", "SDM 2, MONITOR", L3, "mov %rdi, %rax", "monitor", UD,
     .when = has_monitor)
CASE("ring3.mwait", "MWAIT too", "SDM 2, MWAIT", L3, "", "mwait", UD, .when = has_monitor)
CASE("monitor.extensions", "extensions that are not there are #GP(0)", "SDM 2, MONITOR", L0,
     "mov %rdi, %rax\n mov $1, %ecx\n xor %edx, %edx", "monitor", GP(0), .when = has_monitor)

/* --- I/O permissions --- */

/* A TSS with a map, in T1. */
static u8   io_tss[104 + 64] __attribute__((aligned(16)));
static void use_io_tss(u32 limit, u8 byte_10)
{
    memcpy(io_tss, cpus[0].tss, 104);
    memset(io_tss + 104, 0xff, 64);
    io_tss[102]          = 104;
    io_tss[104 + 0x10]   = byte_10; /* ports 80h to 87h */
    *gdt_entry(S_T2)     = SEGMENT((u32)(u64)io_tss, limit, 0x89);
    *gdt_entry(S_T2 + 8) = 0;
    __asm__ volatile("ltr %w0" : : "r"(S_T2));
}
BEFORE(io_allowed, use_io_tss(104 + 63, 0xfe))
BEFORE(io_word_allowed, use_io_tss(104 + 63, 0xfc))
BEFORE(io_limit, use_io_tss(104 + 0x10, 0))
BEFORE(io_limit_fits, use_io_tss(104 + 0x11, 0))
BEFORE(io_last, use_io_tss(104 + 63, 0x7f))
BEFORE(io_nowhere, cpus[0].tss[102] = cpus[0].tss[103] = 0xff)
BEFORE(iopl, f->rflags |= IOPL3)
CASE("io64.allowed", "the map allows a port", "SDM 1, 19.5.2", L3, "", "inb $0x80, %al", NONE, .before = io_allowed)
CASE("io64.word", "a word needs two bits", "SDM 1, 19.5.2", L3, "", "inw $0x80, %ax", GP(0), .before = io_allowed)
CASE("io64.word-allowed", "with both", "SDM 1, 19.5.2", L3, "", "inw $0x80, %ax", NONE, .before = io_word_allowed)
CASE("io64.dword", "a doubleword four", "SDM 1, 19.5.2", L3, "", "inl $0x80, %eax", GP(0), .before = io_word_allowed)
CASE("io64.across", "bits in the next byte count", "SDM 1, 19.5.2", L3, "", "inw $0x87, %ax", GP(0), .before = io_last)
CASE("io64.last", "the byte's last port alone", "SDM 1, 19.5.2", L3, "", "inb $0x87, %al", NONE, .before = io_last)
CASE("io64.limit", "two bytes of the map are read: both must be within the limit", "SDM 1, 19.5.2", L3, "",
     "inb $0x80, %al", GP(0), .before = io_limit)
CASE("io64.limit-fits", "as they are here", "SDM 1, 19.5.2", L3, "", "inb $0x80, %al", NONE, .before = io_limit_fits)
CASE("io64.none", "a map beyond the limit allows nothing", "SDM 1, 19.5.2", L3, "", "inb $0x80, %al", GP(0),
     .before = io_nowhere)
CASE("io64.iopl", "IOPL 3 allows all ports", "SDM 1, 19.5.1", L3, "", "inb $0x80, %al", NONE, .before = iopl)
CASE("io64.iopl-cli", "and CLI", "SDM 1, 19.5.1", L3, "", "cli", NONE, .before = iopl)
CASE("io64.compat", "in compatibility mode too", "SDM 1, 19.5.2", C3, "", "inb $0x80, %al", NONE, .before = io_allowed)
