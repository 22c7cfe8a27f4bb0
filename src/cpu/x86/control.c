/* Control and debug registers, XCR0, flag privileges and the I/O permission rules.
 *
 * Specification: Intel SDM 3, 2.5 to 2.6, 4.1 to 4.4, 10.8.5 and 18.2; SDM 1, 19.5 (December 2023). vCPU thread.
 * Every check comes before the first change. Hot set (park.h). */

#include "cpu/x86/cpuid.h"
#include "cpu/x86/fpu.h"
#include "cpu/x86/mem.h"
#include "cpu/x86/msr.h"
#include "cpu/x86/segment.h"
#include "cpu/x86/system.h"
#include "devices/irq/apic.h"

void x86_check_cpl0(X86Cpu *cpu)
{
    if (cpu->cpl != 0) {
        x86_raise_error(cpu, X86_GP, 0);
    }
}

void x86_check_umip(X86Cpu *cpu)
{
    if ((cpu->cr4 & CR4_UMIP) && cpu->cpl != 0) {
        x86_raise_error(cpu, X86_GP, 0);
    }
}

static _Noreturn void raise_gp(X86Cpu *cpu)
{
    x86_raise_error(cpu, X86_GP, 0);
}

/* --- CR0, CR3, CR4, CR8 --- */

uint64_t x86_read_cr(X86Cpu *cpu, unsigned n)
{
    x86_check_cpl0(cpu);
    switch (n) {
    case 0: return cpu->cr0;
    case 2: return cpu->cr2;
    case 3: return cpu->cr3;
    case 4: return cpu->cr4;
    case 8: return cpu->apic ? apic_get_tpr(cpu->apic) : cpu->cr8;
    default: x86_raise(cpu, X86_UD);
    }
}

static uint64_t address_bits_above(const X86Cpu *cpu)
{
    return cpu->phys_bits >= 64 ? 0 : ~UINT64_C(0) << cpu->phys_bits;
}

/* PAE paging: #GP when a present page-directory-pointer entry has reserved bits set. */
static void check_pdptes(X86Cpu *cpu, uint64_t cr3)
{
    uint64_t reserved = address_bits_above(cpu) | UINT64_C(0x1e6);
    for (unsigned i = 0; i < 4; i++) {
        x86_park(cpu);
        uint64_t entry = address_space_load(cpu->vcpu.memory, (cr3 & 0xffffffe0) + 8 * i, 8);
        if ((entry & 1) && (entry & reserved)) {
            raise_gp(cpu);
        }
    }
}

static bool pae_paging(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
    return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(efer & EFER_LMA);
}

#define CR0_KNOWN (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)

static void write_cr0(X86Cpu *cpu, uint64_t value)
{
    if (value >> 32) {
        raise_gp(cpu);
    }
    value            = (value & CR0_KNOWN) | CR0_ET;
    uint64_t changed = value ^ cpu->cr0;
    uint64_t efer    = cpu->efer;
    if (((value & CR0_PG) && !(value & CR0_PE)) || ((value & CR0_NW) && !(value & CR0_CD))) {
        raise_gp(cpu);
    }
    if (changed & CR0_PG) {
        if (value & CR0_PG) {
            if (efer & EFER_LME) {
                bool tss16 = !(cpu->tr.attr & SEG_UNUSABLE) && (cpu->tr.attr & SEG_TYPE) < SYS_TSS_AVAILABLE;
                if (!(cpu->cr4 & CR4_PAE) || (cpu->seg[X86_CS].attr & SEG_L) || tss16) {
                    raise_gp(cpu);
                }
                efer |= EFER_LMA;
            }
        } else {
            if (cpu->code_size == X86_CODE64 || (cpu->cr4 & CR4_PCIDE)) {
                raise_gp(cpu);
            }
            efer &= ~EFER_LMA;
        }
    }
    if (pae_paging(value, cpu->cr4, efer) && (changed & (CR0_PG | CR0_CD | CR0_NW))) {
        check_pdptes(cpu, cpu->cr3);
    }
    cpu->cr0  = value;
    cpu->efer = efer;
    if (changed & (CR0_PG | CR0_WP | CR0_PE)) {
        x86_tlb_flush(cpu, true);
    }
    x86_update_mode(cpu);
}

static void write_cr3(X86Cpu *cpu, uint64_t value)
{
    if (cpu->long_mode) {
        uint64_t reserved = address_bits_above(cpu);
        if (cpu->cr4 & CR4_PCIDE) {
            reserved &= ~(UINT64_C(1) << 63);
        }
        if (value & reserved) {
            raise_gp(cpu);
        }
    } else {
        value = (uint32_t)value;
        if (pae_paging(cpu->cr0, cpu->cr4, cpu->efer)) {
            check_pdptes(cpu, value);
        }
    }
    x86_load_cr3(cpu, value);
}

/* The bits of CR4 that this CPU's features bring with them. */
static uint64_t cr4_known(const X86Cpu *cpu)
{
    static const struct {
        uint64_t   bits;
        X86Feature feature;
    } rows[] = {
        { CR4_VME | CR4_PVI, X86_FEATURE_VME },
        { CR4_TSD, X86_FEATURE_TSC },
        { CR4_DE, X86_FEATURE_DE },
        { CR4_PSE, X86_FEATURE_PSE },
        { CR4_PAE, X86_FEATURE_PAE },
        { CR4_MCE, X86_FEATURE_MCE },
        { CR4_PGE, X86_FEATURE_PGE },
        { CR4_OSFXSR, X86_FEATURE_FXSR },
        { CR4_OSXMMEXCPT, X86_FEATURE_SSE },
        { CR4_UMIP, X86_FEATURE_UMIP },
        { CR4_LA57, X86_FEATURE_LA57 },
        { CR4_FSGSBASE, X86_FEATURE_FSGSBASE },
        { CR4_PCIDE, X86_FEATURE_PCID },
        { CR4_OSXSAVE, X86_FEATURE_XSAVE },
        { CR4_SMEP, X86_FEATURE_SMEP },
        { CR4_SMAP, X86_FEATURE_SMAP },
    };
    uint64_t known = CR4_PCE;
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (x86_has(cpu, rows[i].feature)) {
            known |= rows[i].bits;
        }
    }
    return known;
}

static uint64_t efer_known(const X86Cpu *cpu)
{
    uint64_t known = x86_has(cpu, X86_FEATURE_LM) ? EFER_LMA | EFER_LME : 0;
    known |= x86_has(cpu, X86_FEATURE_SYSCALL) ? EFER_SCE : 0;
    known |= x86_has(cpu, X86_FEATURE_NX) && !(cpu->misc_enable & MISC_ENABLE_XD_DISABLE) ? EFER_NXE : 0;
    known |= x86_has(cpu, X86_FEATURE_FXSR_OPT) ? EFER_FFXSR : 0;
    known |= x86_has(cpu, X86_FEATURE_AUTO_IBRS) ? EFER_AIBRS : 0;
    return known;
}

bool x86_write_efer(X86Cpu *cpu, uint64_t value)
{
    value            = (value & ~EFER_LMA) | (cpu->efer & EFER_LMA); /* LMA follows CR0.PG only */
    uint64_t changed = value ^ cpu->efer;
    if ((value & ~(efer_known(cpu) | EFER_LMA)) || ((changed & EFER_LME) && (cpu->cr0 & CR0_PG))) {
        return false;
    }
    cpu->efer = value;
    if (changed & EFER_NXE) {
        x86_tlb_flush(cpu, true);
    }
    x86_update_mode(cpu);
    return true;
}

bool x86_valid_control(const X86Cpu *cpu, uint64_t cr0, uint64_t cr3, uint64_t cr4, uint64_t efer)
{
    bool     lma          = efer & EFER_LMA;
    uint64_t cr3_reserved = lma ? address_bits_above(cpu) & ~(UINT64_C(1) << 63) : ~UINT64_C(0xffffffff);
    if ((cr0 & ~CR0_KNOWN) || ((cr0 & CR0_PG) && !(cr0 & CR0_PE)) || ((cr0 & CR0_NW) && !(cr0 & CR0_CD))) {
        return false;
    }
    if ((cr4 & ~cr4_known(cpu)) || (efer & ~efer_known(cpu)) || (cr3 & cr3_reserved)) {
        return false;
    }
    return lma == ((cr0 & CR0_PG) && (efer & EFER_LME)) && (lma ? cr4 & CR4_PAE : !(cr4 & CR4_PCIDE));
}

static void write_cr4(X86Cpu *cpu, uint64_t value)
{
    uint64_t changed = value ^ cpu->cr4;
    if (value & ~cr4_known(cpu)) {
        raise_gp(cpu);
    }
    if (cpu->long_mode && (!(value & CR4_PAE) || (changed & CR4_LA57))) {
        raise_gp(cpu);
    }
    if ((value & changed & CR4_PCIDE) && (!cpu->long_mode || (cpu->cr3 & 0xfff))) {
        raise_gp(cpu);
    }
    if (pae_paging(cpu->cr0, value, cpu->efer) && (changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP))) {
        check_pdptes(cpu, cpu->cr3);
    }
    cpu->cr4 = value;
    if (changed & (CR4_PAE | CR4_PSE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_LA57)) {
        x86_tlb_flush(cpu, true);
    }
    x86_update_mode(cpu);
}

static void write_cr8(X86Cpu *cpu, uint64_t value)
{
    if (value & ~UINT64_C(0xf)) {
        raise_gp(cpu);
    }
    if (!cpu->apic) {
        cpu->cr8 = (uint8_t)value;
        return;
    }
    apic_set_tpr_quietly(cpu->apic, (uint8_t)value);
    if (apic_has_vector(cpu->apic)) {
        vcpu_request_self(&cpu->vcpu, X86_REQUEST_INTR);
    }
}

void x86_write_cr(X86Cpu *cpu, unsigned n, uint64_t value)
{
    x86_check_cpl0(cpu);
    switch (n) {
    case 0: write_cr0(cpu, value); break;
    case 2: cpu->cr2 = value; break;
    case 3: write_cr3(cpu, value); break;
    case 4: write_cr4(cpu, value); break;
    case 8: write_cr8(cpu, value); break;
    default: x86_raise(cpu, X86_UD);
    }
}

void x86_lmsw(X86Cpu *cpu, uint16_t value)
{
    x86_check_cpl0(cpu);
    /* PE can be set but not cleared. */
    uint64_t low = CR0_PE | CR0_MP | CR0_EM | CR0_TS;
    write_cr0(cpu, (cpu->cr0 & ~(low & ~CR0_PE)) | (value & low));
}

void x86_clts(X86Cpu *cpu)
{
    x86_check_cpl0(cpu);
    cpu->cr0 &= ~CR0_TS;
    x86_update_mode(cpu);
}

/* --- debug registers --- */

/* The register that MOV DRn means; raises what stands in the way. */
static unsigned need_debug_register(X86Cpu *cpu, unsigned n)
{
    if (n > 7 || ((n == 4 || n == 5) && (cpu->cr4 & CR4_DE))) {
        x86_raise(cpu, X86_UD);
    }
    x86_check_cpl0(cpu);
    if (cpu->dr[7] & DR7_GD) {
        cpu->dr[6] |= DR6_BD;
        cpu->eflags |= EFLAGS_RF; /* general detect is a fault: its handler finds RF set in the pushed flags */
        x86_raise(cpu, X86_DB);
    }
    return n == 4 || n == 5 ? n + 2 : n;
}

uint64_t x86_read_dr(X86Cpu *cpu, unsigned n)
{
    return cpu->dr[need_debug_register(cpu, n)];
}

void x86_write_dr(X86Cpu *cpu, unsigned n, uint64_t value)
{
    n = need_debug_register(cpu, n);
    if (n >= 6 && value >> 32) {
        raise_gp(cpu);
    }
    switch (n) {
    case 6: cpu->dr[6] = (value & DR6_WRITABLE) | DR6_FIXED; break;
    case 7: cpu->dr[7] = (value & DR7_WRITABLE) | DR7_FIXED; break;
    default: cpu->dr[n] = value;
    }
    if (n != 6) {
        x86_debug_changed(cpu);
    }
}

/* --- XCR0 --- */

static void check_xsave_enabled(X86Cpu *cpu)
{
    if (!(cpu->cr4 & CR4_OSXSAVE)) {
        x86_raise(cpu, X86_UD);
    }
}

void x86_xsetbv(X86Cpu *cpu, uint32_t index, uint64_t value)
{
    check_xsave_enabled(cpu);
    x86_check_cpl0(cpu);
    uint64_t offered   = XCR0_X87 | XCR0_SSE | (x86_has(cpu, X86_FEATURE_AVX) ? XCR0_AVX : 0);
    bool     avx_alone = (value & XCR0_AVX) && !(value & XCR0_SSE);
    if (index != 0 || (value & ~offered) || !(value & XCR0_X87) || avx_alone) {
        raise_gp(cpu);
    }
    cpu->xcr0 = value;
    x86_update_mode(cpu);
}

uint64_t x86_xgetbv(X86Cpu *cpu, uint32_t index)
{
    check_xsave_enabled(cpu);
    if (index == 0) {
        return cpu->xcr0;
    }
    if (index != 1 || !x86_has(cpu, X86_FEATURE_XGETBV1)) {
        raise_gp(cpu);
    }
    x86_park(cpu);
    uint64_t inuse = x86_xinuse(cpu);
    if (load_le32(cpu->xsave + XSAVE_MXCSR) != 0x1f80) {
        inuse |= XCR0_SSE; /* MXCSR counts here, unlike for XSAVE */
    }
    return cpu->xcr0 & inuse;
}

/* --- flags and I/O permission --- */

uint64_t x86_popf_mask(const X86Cpu *cpu, unsigned opsize)
{
    uint64_t mask = EFLAGS_ARITH | EFLAGS_TF | EFLAGS_DF | EFLAGS_NT;
    unsigned iopl = (cpu->eflags & EFLAGS_IOPL) >> 12;
    if (cpu->cpl == 0) {
        mask |= EFLAGS_IOPL;
    }
    if (cpu->cpl <= iopl) {
        mask |= EFLAGS_IF;
    }
    if (opsize != 2) {
        mask |= EFLAGS_AC | EFLAGS_ID;
    }
    return mask;
}

bool x86_set_virtual_flags(X86Cpu *cpu, uint16_t flags)
{
    if ((flags & EFLAGS_TF) || ((flags & EFLAGS_IF) && (cpu->eflags & EFLAGS_VIP))) {
        return false;
    }
    x86_set_eflags(cpu, flags, x86_popf_mask(cpu, 2));
    cpu->eflags = flags & EFLAGS_IF ? cpu->eflags | EFLAGS_VIF : cpu->eflags & ~(uint32_t)EFLAGS_VIF;
    return true;
}

void x86_check_io(X86Cpu *cpu, uint16_t port, unsigned size)
{
    unsigned iopl = (cpu->eflags & EFLAGS_IOPL) >> 12;
    if (!(cpu->cr0 & CR0_PE) || (cpu->cpl <= iopl && !(cpu->eflags & EFLAGS_VM))) {
        return;
    }
    unsigned type = cpu->tr.attr & SEG_TYPE;
    if ((cpu->tr.attr & SEG_UNUSABLE) || (type != SYS_TSS_AVAILABLE && type != SYS_TSS_BUSY) || cpu->tr.limit < 103) {
        raise_gp(cpu);
    }
    uint32_t at = (uint32_t)x86_load_system(cpu, cpu->tr.base + 0x66, 2) + port / 8;
    if (at + 1 > cpu->tr.limit) {
        raise_gp(cpu);
    }
    uint32_t bits = (uint32_t)x86_load_system(cpu, cpu->tr.base + at, 2);
    if (bits >> (port & 7) & ((1u << size) - 1)) {
        raise_gp(cpu);
    }
}
