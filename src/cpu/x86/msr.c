/* Model-specific registers: one table of all that exist.
 *
 * Specification: Intel SDM 4, table 2-2 (December 2023); AMD APM 2, appendix A. vCPU thread, or any thread while the
 * vCPU is stopped. What is not in the table, or not offered by the CPU model, is #GP and a guest_errors line. Hot set
 * (park.h).
 */

#include "cpu/x86/msr.h"
#include "cpu/x86/hyperv.h"
#include "cpu/x86/mem.h"
#include "cpu/x86/system.h"
#include "devices/irq/apic.h"

#include <stddef.h>

typedef struct Msr Msr;
typedef bool (*MsrGet)(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t *value);
typedef bool (*MsrSet)(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t value);

enum { ON_INTEL = 1 << X86_VENDOR_INTEL, ON_AMD = 1 << X86_VENDOR_AMD, ON_ALL = 7 };
enum { NEEDS_NOTHING = UINT16_MAX };

struct Msr {
    uint32_t    index, count; /* count registers from index on */
    const char *name;
    uint16_t    feature; /* X86Feature or NEEDS_NOTHING */
    uint8_t     vendors;
    uint16_t    member;   /* offset of a uint64_t in X86Cpu, count of them; for the plain getter and setter */
    uint64_t    reserved; /* bits that must not be set; what a constant reads as */
    MsrGet      get;
    MsrSet      set;
};

/* --- getters and setters that many share --- */

static uint64_t *member_of(X86Cpu *cpu, const Msr *msr, uint32_t index)
{
    return (uint64_t *)((char *)cpu + msr->member) + (index - msr->index);
}

static bool get_member(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t *value)
{
    *value = *member_of(cpu, msr, index);
    return true;
}

static bool set_member(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t value)
{
    if (value & msr->reserved) {
        return false;
    }
    *member_of(cpu, msr, index) = value;
    return true;
}

static bool set_canonical_member(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t value)
{
    if (!x86_canonical(cpu, value)) {
        return false;
    }
    *member_of(cpu, msr, index) = value;
    return true;
}

static bool get_constant(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t *value)
{
    *value = msr->reserved;
    return true;
}

/* Read-only registers that system software writes back what it read. */
static bool set_constant(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t value)
{
    return value == msr->reserved;
}

static bool refuse_get(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t *value)
{
    return false;
}

static bool refuse_set(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t value)
{
    return false;
}

/* --- time and interrupts --- */

static bool get_tsc(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t *value)
{
    *value = x86_tsc_now(cpu);
    return true;
}

static bool set_tsc(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t value)
{
    x86_park(cpu);
    cpu->tsc_adjust += value - x86_rdtsc(cpu);
    x86_set_tsc(cpu, value);
    return true;
}

static bool set_tsc_adjust(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t value)
{
    x86_park(cpu);
    uint64_t delta  = value - cpu->tsc_adjust;
    cpu->tsc_adjust = value;
    if (delta) {
        x86_set_tsc(cpu, x86_rdtsc(cpu) + delta);
    }
    return true;
}

static bool get_apic_base(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t *value)
{
    x86_park(cpu);
    *value = cpu->apic ? apic_get_base(cpu->apic) : 0;
    return cpu->apic != NULL;
}

static bool set_apic_base(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t value)
{
    x86_park(cpu);
    if (!cpu->apic || ((value & APIC_BASE_X2APIC) && !x86_has(cpu, X86_FEATURE_X2APIC))) {
        return false;
    }
    return apic_set_base(cpu->apic, value, cpu->phys_bits);
}

static bool get_tsc_deadline(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t *value)
{
    x86_park(cpu);
    *value = cpu->apic ? apic_get_tsc_deadline(cpu->apic) : 0;
    return cpu->apic != NULL;
}

static bool set_tsc_deadline(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t value)
{
    x86_park(cpu);
    if (cpu->apic) {
        apic_set_tsc_deadline(cpu->apic, value);
    }
    return cpu->apic != NULL;
}

static bool get_x2apic(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t *value)
{
    x86_park(cpu);
    return cpu->apic && apic_read_msr(cpu->apic, index, value);
}

static bool set_x2apic(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t value)
{
    if (cpu->apic && apic_write_msr_quickly(cpu->apic, index, value)) {
        if (apic_has_vector(cpu->apic)) {
            vcpu_request_self(&cpu->vcpu, X86_REQUEST_INTR);
        }
        return true;
    }
    x86_park(cpu);
    return cpu->apic && apic_write_msr(cpu->apic, index, value);
}

static bool get_hyperv(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t *value)
{
    x86_park(cpu);
    return x86_hv_get_msr(cpu, index, value);
}

static bool set_hyperv(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t value)
{
    x86_park(cpu);
    return x86_hv_set_msr(cpu, index, value);
}

/* --- memory types --- */

static bool is_memory_type(uint8_t type, bool uc_minus)
{
    return type == 0 || type == 1 || (type >= 4 && type <= 6) || (type == 7 && uc_minus);
}

static bool are_memory_types(uint64_t value, bool uc_minus)
{
    for (unsigned i = 0; i < 8; i++) {
        if (!is_memory_type((uint8_t)(value >> 8 * i), uc_minus)) {
            return false;
        }
    }
    return true;
}

static bool set_pat(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t value)
{
    cpu->pat = are_memory_types(value, true) ? value : cpu->pat;
    return cpu->pat == value;
}

/* 200h PHYSBASE0, 201h PHYSMASK0, 202h PHYSBASE1 ... */
static uint64_t *variable_mtrr(X86Cpu *cpu, uint32_t index)
{
    unsigned n = (index - 0x200) / 2;
    return index & 1 ? &cpu->mtrr_mask[n] : &cpu->mtrr_base[n];
}

static bool get_variable_mtrr(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t *value)
{
    *value = *variable_mtrr(cpu, index);
    return true;
}

static bool set_variable_mtrr(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t value)
{
    uint64_t reserved = cpu->phys_bits >= 64 ? 0 : ~UINT64_C(0) << cpu->phys_bits;
    bool     bad      = index & 1 ? value & 0x7ff : (value & 0xf00) || !is_memory_type((uint8_t)value, false);
    if (bad || (value & reserved)) {
        return false;
    }
    *variable_mtrr(cpu, index) = value;
    return true;
}

static const uint16_t fixed_mtrrs[] = { 0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f };

static unsigned fixed_mtrr(uint32_t index)
{
    unsigned n = 0;
    while (fixed_mtrrs[n] != index) {
        n++;
    }
    return n;
}

/* AMD: bits 3 and 4 of each byte, RdMem and WrMem, hide unless SYSCFG.MtrrFixDramModEn. */
#define SYSCFG_FIX_DRAM_EN     UINT64_C(0x00040000)
#define SYSCFG_FIX_DRAM_MOD_EN UINT64_C(0x00080000)
#define FIXED_MTRR_DRAM_BITS   UINT64_C(0x1818181818181818)

static bool get_fixed_mtrr(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t *value)
{
    *value = cpu->mtrr_fixed[fixed_mtrr(index)];
    if (!(cpu->syscfg & SYSCFG_FIX_DRAM_MOD_EN)) {
        *value &= ~FIXED_MTRR_DRAM_BITS;
    }
    return true;
}

static bool set_fixed_mtrr(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t value)
{
    uint64_t *fixed = &cpu->mtrr_fixed[fixed_mtrr(index)];
    uint64_t  dram  = *fixed & FIXED_MTRR_DRAM_BITS;
    if (cpu->syscfg & SYSCFG_FIX_DRAM_MOD_EN) {
        dram = value & FIXED_MTRR_DRAM_BITS;
        value &= ~FIXED_MTRR_DRAM_BITS;
    }
    if (!are_memory_types(value, false)) {
        return false;
    }
    *fixed = value | dram;
    return true;
}

static bool set_mtrr_default(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t value)
{
    if ((value & msr->reserved) || !is_memory_type((uint8_t)value, false)) {
        return false;
    }
    cpu->mtrr_def_type = value;
    return true;
}

/* --- machine check --- */

static bool get_mc_bank(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t *value)
{
    *value = cpu->mc_bank[(index - 0x400) / 4][index & 3];
    return true;
}

static bool set_mc_bank(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t value)
{
    /* MCi_STATUS, MCi_ADDR and MCi_MISC are only ever cleared (SDM 3, 16.3.2), unless AMD's HWCR.McStatusWrEn lets
     * software make up an error. */
    if ((index & 3) != 0 && value && !(cpu->hwcr & HWCR_MC_STATUS_WRITE)) {
        return false;
    }
    cpu->mc_bank[(index - 0x400) / 4][index & 3] = value;
    return true;
}

/* --- speculation --- */

static uint64_t spec_ctrl_known(const X86Cpu *cpu)
{
    bool     intel = x86_has(cpu, X86_FEATURE_SPEC_CTRL);
    uint64_t bits  = 0;
    bits |= intel || x86_has(cpu, X86_FEATURE_IBRS) ? 1 : 0;
    bits |= intel || x86_has(cpu, X86_FEATURE_STIBP) || x86_has(cpu, X86_FEATURE_AMD_STIBP) ? 2 : 0;
    bits |= x86_has(cpu, X86_FEATURE_SSBD) || x86_has(cpu, X86_FEATURE_AMD_SSBD) ? 4 : 0;
    bits |= x86_has(cpu, X86_FEATURE_AMD_PSFD) ? 0x80 : 0;
    return bits;
}

static bool get_spec_ctrl(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t *value)
{
    *value = cpu->spec_ctrl;
    return spec_ctrl_known(cpu) != 0;
}

static bool set_spec_ctrl(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t value)
{
    uint64_t known = spec_ctrl_known(cpu);
    if (!known || (value & ~known)) {
        return false;
    }
    cpu->spec_ctrl = value;
    return true;
}

/* Nothing is predicted across guests or modes here, so that the barrier has nothing to do. */
static bool set_pred_cmd(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t value)
{
    uint64_t known = x86_has(cpu, X86_FEATURE_SPEC_CTRL) || x86_has(cpu, X86_FEATURE_IBPB) ? 1 : 0;
    known |= x86_has(cpu, X86_FEATURE_SBPB) ? 0x80 : 0;
    return known && !(value & ~known);
}

static bool set_flush_cmd(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t value)
{
    return !(value & ~UINT64_C(1));
}

static bool get_arch_capabilities(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t *value)
{
    *value = cpu->features[X86_WORD_ARCH_CAPS_LOW] | (uint64_t)cpu->features[X86_WORD_ARCH_CAPS_HIGH] << 32;
    return true;
}

/* --- EFER and what surrounds it --- */

static bool set_efer(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t value)
{
    return x86_write_efer(cpu, value);
}

static bool get_segment_base(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t *value)
{
    *value = cpu->seg[index == 0xc0000100 ? X86_FS : X86_GS].base;
    return true;
}

static bool set_segment_base(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t value)
{
    if (!x86_canonical(cpu, value)) {
        return false;
    }
    cpu->seg[index == 0xc0000100 ? X86_FS : X86_GS].base = value;
    return true;
}

static bool has_tsc_aux(const X86Cpu *cpu)
{
    return x86_has(cpu, X86_FEATURE_RDTSCP) || x86_has(cpu, X86_FEATURE_RDPID);
}

static bool get_tsc_aux(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t *value)
{
    *value = cpu->tsc_aux;
    return has_tsc_aux(cpu);
}

static bool set_tsc_aux(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t value)
{
    if (!has_tsc_aux(cpu) || value >> 32) {
        return false;
    }
    cpu->tsc_aux = value;
    return true;
}

static bool set_misc_enable(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t value)
{
    uint64_t writable = MISC_ENABLE_FAST_STRINGS | MISC_ENABLE_LIMIT_CPUID;
    writable |= x86_words_have(cpu->model->features, X86_FEATURE_MONITOR) ? MISC_ENABLE_MONITOR : 0;
    writable |= x86_has(cpu, X86_FEATURE_NX) ? MISC_ENABLE_XD_DISABLE : 0;
    if ((value ^ cpu->misc_enable) & ~writable) {
        return false;
    }
    /* MONITOR and MWAIT follow their bit at once: CPUID and the decoder look at the feature. */
    if ((value ^ cpu->misc_enable) & MISC_ENABLE_MONITOR) {
        cpu->features[X86_FEATURE_MONITOR / 32] ^= 1u << X86_FEATURE_MONITOR % 32;
    }
    cpu->misc_enable = value;
    return true;
}

static bool set_feature_control(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t value)
{
    if ((cpu->feature_control & FEATURE_CONTROL_LOCKED) || (value & msr->reserved)) {
        return false;
    }
    cpu->feature_control = value;
    return true;
}

static bool get_platform_info(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t *value)
{
    *value = MIN(cpu->tsc_hz / 100000000, 255) << 8; /* ratio of the TSC to 100 MHz */
    return true;
}

/* The microcode's revision, as QEMU's CPUs report it. Writing 0 before CPUID is how Intel's is asked for. */
static bool get_patch_level(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t *value)
{
    *value = cpu->model->ucode_rev                ? cpu->model->ucode_rev
             : cpu->model->kind == X86_VENDOR_AMD ? 0x01000065
                                                  : UINT64_C(0x100000000);
    return true;
}

/* It is never hot; writing clears what was logged. */
static bool get_therm_status(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t *value)
{
    *value = 0;
    return true;
}

static bool accept_set(X86Cpu *cpu, const Msr *msr, uint32_t index, uint64_t value)
{
    return true;
}

/* Bits 24 to 27 of port CF8h: Linux switches them on and then asks the host bridge. */
#define NB_CFG_EXTENDED_CF8 (UINT64_C(1) << 46)

/* --- the table, by index --- */

#define MEMBER(m)    .member = offsetof(X86Cpu, m), .get = get_member, .set = set_member
#define CANONICAL(m) .member = offsetof(X86Cpu, m), .get = get_member, .set = set_canonical_member
#define CONSTANT(v)  .reserved = (v), .get = get_constant, .set = set_constant
#define CALLS(g, s)  .get = (g), .set = (s)
#define ANY          NEEDS_NOTHING, ON_ALL
#define INTEL        NEEDS_NOTHING, ON_INTEL
#define AMD          NEEDS_NOTHING, ON_AMD
#define WITH(f)      X86_FEATURE_##f, ON_ALL

static const Msr msrs[] = {
    { 0x00000000, 2, "P5_MC_ADDR, P5_MC_TYPE", ANY, CONSTANT(0) },
    { 0x00000010, 1, "TSC", WITH(TSC), CALLS(get_tsc, set_tsc) },
    { 0x00000017, 1, "PLATFORM_ID", INTEL, CONSTANT(0) },
    { 0x0000001b, 1, "APIC_BASE", WITH(APIC), CALLS(get_apic_base, set_apic_base) },
    { 0x0000002a, 1, "EBL_CR_POWERON", INTEL, CONSTANT(0) },
    { 0x0000002c, 1, "EBC_FREQUENCY_ID", INTEL, CONSTANT(1 << 24) },
    { 0x00000034, 1, "SMI_COUNT", INTEL, .member = offsetof(X86Cpu, smi_count), .get = get_member, .set = refuse_set },
    { 0x0000003a, 1, "FEATURE_CONTROL", INTEL, .reserved = ~UINT64_C(1), .member = offsetof(X86Cpu, feature_control),
      .get = get_member, .set = set_feature_control },
    { 0x0000003b, 1, "TSC_ADJUST", WITH(TSC_ADJUST), .member = offsetof(X86Cpu, tsc_adjust), .get = get_member,
      .set = set_tsc_adjust },
    { 0x00000048, 1, "SPEC_CTRL", ANY, CALLS(get_spec_ctrl, set_spec_ctrl) },
    { 0x00000049, 1, "PRED_CMD", ANY, CALLS(refuse_get, set_pred_cmd) },
    { 0x00000079, 1, "BIOS_UPDT_TRIG", ANY, CALLS(refuse_get, accept_set) },
    { 0x0000008b, 1, "BIOS_SIGN_ID", ANY, CALLS(get_patch_level, accept_set) },
    { 0x000000ce, 1, "PLATFORM_INFO", INTEL, CALLS(get_platform_info, refuse_set) },
    { 0x000000fe, 1, "MTRRCAP", WITH(MTRR), .reserved = 0x508, .get = get_constant, .set = refuse_set },
    { 0x0000010a, 1, "ARCH_CAPABILITIES", WITH(ARCH_CAPABILITIES), CALLS(get_arch_capabilities, refuse_set) },
    { 0x0000010b, 1, "FLUSH_CMD", WITH(FLUSH_L1D), CALLS(refuse_get, set_flush_cmd) },
    { 0x00000174, 1, "SYSENTER_CS", WITH(SEP), MEMBER(sysenter_cs) },
    { 0x00000175, 1, "SYSENTER_ESP", WITH(SEP), CANONICAL(sysenter_esp) },
    { 0x00000176, 1, "SYSENTER_EIP", WITH(SEP), CANONICAL(sysenter_eip) },
    { 0x00000179, 1, "MCG_CAP", WITH(MCA), .reserved = 0x0100010a, .get = get_constant, .set = refuse_set },
    { 0x0000017a, 1, "MCG_STATUS", WITH(MCA), MEMBER(mcg_status), .reserved = ~UINT64_C(7) },
    { 0x0000017b, 1, "MCG_CTL", WITH(MCA), MEMBER(mcg_ctl) },
    { 0x0000019a, 1, "CLOCK_MODULATION", WITH(ACPI), MEMBER(clock_modulation), .reserved = ~UINT64_C(0x1f) },
    { 0x0000019b, 1, "THERM_INTERRUPT", WITH(ACPI), MEMBER(therm_interrupt), .reserved = ~UINT64_C(0x1ffff17) },
    { 0x0000019c, 1, "THERM_STATUS", WITH(ACPI), CALLS(get_therm_status, accept_set) },
    { 0x000001a0, 1, "MISC_ENABLE", ANY, .member = offsetof(X86Cpu, misc_enable), .get = get_member,
      .set = set_misc_enable },
    { 0x000001d9, 1, "DEBUGCTL", ANY, CONSTANT(0) },
    { 0x000001db, 4, "LASTBRANCH, LASTINT", ANY, CONSTANT(0) },
    { 0x00000200, 16, "MTRR_PHYSBASE, MTRR_PHYSMASK", WITH(MTRR), CALLS(get_variable_mtrr, set_variable_mtrr) },
    { 0x00000250, 1, "MTRR_FIX64K", WITH(MTRR), CALLS(get_fixed_mtrr, set_fixed_mtrr) },
    { 0x00000258, 2, "MTRR_FIX16K", WITH(MTRR), CALLS(get_fixed_mtrr, set_fixed_mtrr) },
    { 0x00000268, 8, "MTRR_FIX4K", WITH(MTRR), CALLS(get_fixed_mtrr, set_fixed_mtrr) },
    { 0x00000277, 1, "PAT", WITH(PAT), .member = offsetof(X86Cpu, pat), .get = get_member, .set = set_pat },
    { 0x000002ff, 1, "MTRR_DEF_TYPE", WITH(MTRR), .reserved = ~UINT64_C(0xcff),
      .member = offsetof(X86Cpu, mtrr_def_type), .get = get_member, .set = set_mtrr_default },
    { 0x00000400, 40, "MCi_CTL, MCi_STATUS, MCi_ADDR, MCi_MISC", WITH(MCA), CALLS(get_mc_bank, set_mc_bank) },
    { 0x000006e0, 1, "TSC_DEADLINE", WITH(TSC_DEADLINE), CALLS(get_tsc_deadline, set_tsc_deadline) },
    { 0x00000800, 64, "x2APIC", WITH(X2APIC), CALLS(get_x2apic, set_x2apic) },
    { 0x40000000, 3, "Hyper-V: GUEST_OS_ID, HYPERCALL, VP_INDEX", ANY, CALLS(get_hyperv, set_hyperv) },
    { 0x40000010, 1, "Hyper-V: VP_RUNTIME", ANY, CALLS(get_hyperv, set_hyperv) },
    { 0x40000020, 4, "Hyper-V: TIME_REF_COUNT, REFERENCE_TSC, frequencies", ANY, CALLS(get_hyperv, set_hyperv) },
    { 0x40000070, 4, "Hyper-V: EOI, ICR, TPR, VP_ASSIST_PAGE", ANY, CALLS(get_hyperv, set_hyperv) },
    { 0xc0000080, 1, "EFER", ANY, .member = offsetof(X86Cpu, efer), .get = get_member, .set = set_efer },
    { 0xc0000081, 1, "STAR", WITH(SYSCALL), MEMBER(star) },
    { 0xc0000082, 1, "LSTAR", WITH(LM), CANONICAL(lstar) },
    { 0xc0000083, 1, "CSTAR", WITH(LM), CANONICAL(cstar) },
    { 0xc0000084, 1, "FMASK", WITH(LM), MEMBER(sfmask), .reserved = ~UINT64_C(0xffffffff) },
    { 0xc0000100, 2, "FS_BASE, GS_BASE", WITH(LM), CALLS(get_segment_base, set_segment_base) },
    { 0xc0000102, 1, "KERNEL_GS_BASE", WITH(LM), CANONICAL(kernel_gs_base) },
    { 0xc0000103, 1, "TSC_AUX", ANY, CALLS(get_tsc_aux, set_tsc_aux) },
    /* Every AMD processor has these four counters. They count nothing and say so: what is written does not stay. */
    { 0xc0010000, 8, "PERFEVTSEL, PERFCTR", AMD, CONSTANT(0) },
    { 0xc0010010, 1, "SYSCFG", AMD, MEMBER(syscfg), .reserved = ~UINT64_C(0x007c0000) },
    { 0xc0010015, 1, "HWCR", AMD, MEMBER(hwcr), .reserved = ~UINT64_C(0x43040159) },
    { 0xc001001f, 1, "NB_CFG", AMD, MEMBER(nb_cfg), .reserved = ~NB_CFG_EXTENDED_CF8 },
    { 0xc0010055, 1, "INT_PENDING_MSG", AMD, CONSTANT(0) },
    { 0xc0010058, 1, "MMIO_CFG_BASE", AMD, CONSTANT(0) },
    { 0xc0010112, 2, "SMM_ADDR, SMM_MASK", AMD, CONSTANT(0) },
    /* No erratum is told of. */
    { 0xc0010140, 2, "OSVW_ID_LENGTH, OSVW_STATUS", WITH(OSVW), CONSTANT(0) },
    { 0xc0011020, 1, "LS_CFG", AMD, CONSTANT(0) },
    { 0xc0011022, 1, "DC_CFG", AMD, CONSTANT(0) },
    { 0xc0011029, 1, "DE_CFG", AMD, MEMBER(de_cfg), .reserved = ~UINT64_C(2) },
    { 0xc001102a, 1, "BU_CFG2", AMD, CONSTANT(0) },
};

static const Msr *find(const X86Cpu *cpu, uint32_t index)
{
    size_t low = 0, high = sizeof msrs / sizeof msrs[0];
    while (low < high) {
        size_t     middle = (low + high) / 2;
        const Msr *msr    = &msrs[middle];
        if (index < msr->index) {
            high = middle;
        } else if (index - msr->index >= msr->count) {
            low = middle + 1;
        } else {
            bool offered = msr->feature == NEEDS_NOTHING || x86_has(cpu, (X86Feature)msr->feature);
            return offered && (msr->vendors >> cpu->model->kind & 1) ? msr : NULL;
        }
    }
    return NULL;
}

const char *x86_msr_row(size_t n, uint32_t *first, uint32_t *count)
{
    if (n >= sizeof msrs / sizeof msrs[0]) {
        return NULL;
    }
    *first = msrs[n].index;
    *count = msrs[n].count;
    return msrs[n].name;
}

bool x86_get_msr(X86Cpu *cpu, uint32_t index, uint64_t *value)
{
    const Msr *msr = find(cpu, index);
    return msr && msr->get(cpu, msr, index, value);
}

bool x86_set_msr(X86Cpu *cpu, uint32_t index, uint64_t value)
{
    const Msr *msr = find(cpu, index);
    return msr && msr->set(cpu, msr, index, value);
}

uint64_t x86_rdmsr(X86Cpu *cpu, uint32_t index)
{
    uint64_t value = 0;
    x86_check_cpl0(cpu);
    if (!x86_get_msr(cpu, index, &value)) {
        x86_park(cpu);
        log_print(cpu->vcpu.log, LOG_GUEST_ERRORS, "CPU %d: RDMSR of %08x: no such register\n", cpu->vcpu.index, index);
        x86_raise_error(cpu, X86_GP, 0);
    }
    return value;
}

void x86_wrmsr(X86Cpu *cpu, uint32_t index, uint64_t value)
{
    x86_check_cpl0(cpu);
    const Msr *msr = find(cpu, index);
    if (!msr || !msr->set(cpu, msr, index, value)) {
        x86_park(cpu);
        log_print(cpu->vcpu.log, LOG_GUEST_ERRORS, "CPU %d: WRMSR of %08x (%s): %016" PRIx64 " refused\n",
                  cpu->vcpu.index, index, msr ? msr->name : "no such register", value);
        x86_raise_error(cpu, X86_GP, 0);
    }
}
