/* The state after power-on and after INIT.
 *
 * Specification: Intel SDM 3, table 10-1 (December 2023). The vCPU is outside, machine lock held; or, for INIT, it is
 * its own thread. */

#include "cpu/x86/hyperv.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/mem.h"
#include "cpu/x86/msr.h"
#include "cpu/x86/segment.h"
#include "devices/irq/apic.h"

#define PAT_AT_RESET UINT64_C(0x0007040600070406)

static void reset_msrs(X86Cpu *cpu)
{
    cpu->star = cpu->lstar = cpu->cstar = cpu->sfmask = cpu->kernel_gs_base = 0;
    cpu->sysenter_cs = cpu->sysenter_esp = cpu->sysenter_eip = 0;
    cpu->pat                                                 = PAT_AT_RESET;
    cpu->tsc_aux                                             = 0;
    cpu->spec_ctrl                                           = 0;
    cpu->smbase                                              = 0x30000;
    cpu->feature_control                                     = 0;
    cpu->xcr0                                                = XCR0_X87;
    cpu->smi_count                                           = 0;
    cpu->xss                                                 = 0;
    cpu->misc_enable = MISC_ENABLE_FAST_STRINGS | MISC_ENABLE_BTS_UNAVAIL | MISC_ENABLE_PEBS_UNAVAIL;
    if (x86_words_have(cpu->model->features, X86_FEATURE_MONITOR)) {
        cpu->misc_enable |= MISC_ENABLE_MONITOR;
        cpu->features[X86_FEATURE_MONITOR / 32] |= 1u << X86_FEATURE_MONITOR % 32;
    }
    cpu->syscfg = 0;
    cpu->hwcr   = cpu->model->kind == X86_VENDOR_AMD ? HWCR_TSC_FREQ_SEL : 0;
    cpu->de_cfg = 0;
    cpu->nb_cfg = 0;

    cpu->clock_modulation = cpu->therm_interrupt = 0;

    cpu->mtrr_def_type = 0;
    memset(cpu->mtrr_fixed, 0, sizeof cpu->mtrr_fixed);
    memset(cpu->mtrr_base, 0, sizeof cpu->mtrr_base);
    memset(cpu->mtrr_mask, 0, sizeof cpu->mtrr_mask);

    cpu->mcg_status = 0;
    cpu->mcg_ctl    = UINT64_MAX;
    memset(cpu->mc_bank, 0, sizeof cpu->mc_bank);
    for (unsigned i = 0; i < G_N_ELEMENTS(cpu->mc_bank); i++) {
        cpu->mc_bank[i][0] = UINT64_MAX;
    }

    /* The TSC starts from 0 only while all vCPUs stand still, so that they stay in step. */
    cpu->tsc_adjust = 0;
    if (cpu->tsc_frozen) {
        cpu->tsc_frozen_at = 0;
    }
}

static void reset_segments(X86Cpu *cpu)
{
    for (unsigned i = 0; i < X86_N_SEG; i++) {
        cpu->seg[i] = (X86Segment){ .limit = 0xffff, .attr = SEG_P | SEG_S | SEG_W | SEG_A };
    }
    cpu->seg[X86_CS].selector = 0xf000;
    cpu->seg[X86_CS].base     = 0xffff0000;
    cpu->ldt                  = (X86Segment){ .limit = 0xffff, .attr = SEG_P | SYS_LDT };
    cpu->tr                   = (X86Segment){ .limit = 0xffff, .attr = SEG_P | SYS_TSS_BUSY };
    cpu->gdt                  = (X86Table){ .limit = 0xffff };
    cpu->idt                  = (X86Table){ .limit = 0xffff };
}

void x86_reset(X86Cpu *cpu, bool init_only)
{
    if (log_on(cpu->vcpu.log, LOG_CPU_RESET)) {
        g_autoptr(GString) text = g_string_new(NULL);
        x86_dump(cpu, text);
        x86_dump_vectors(cpu, text);
        log_print(cpu->vcpu.log, LOG_CPU_RESET, "CPU Reset (CPU %d)\n%s", cpu->vcpu.index, text->str);
    }
    cpu->resets++;
    cpu->power_ons += !init_only;
    if (cpu->smm) {
        cpu->smm = false;
        if (cpu->smm_changed) {
            cpu->smm_changed(cpu->board, false);
        }
    }
    memset(cpu->gpr, 0, sizeof cpu->gpr);
    cpu->gpr[X86_RDX] = x86_cpu_signature(cpu);
    cpu->rip          = 0xfff0;
    cpu->eflags       = 0;
    x86_set_eflags(cpu, 0, UINT64_MAX);
    cpu->cr0 = CR0_ET | (init_only ? cpu->cr0 & (CR0_CD | CR0_NW) : CR0_CD | CR0_NW);
    cpu->cr2 = cpu->cr4 = cpu->efer = 0;
    cpu->cr8                        = 0;
    reset_segments(cpu);
    memset(cpu->dr, 0, sizeof cpu->dr);
    cpu->dr[6] = DR6_FIXED;
    cpu->dr[7] = DR7_FIXED;

    cpu->nmi_blocked      = false;
    cpu->interrupt_shadow = X86_SHADOW_NONE;
    cpu->in_shutdown      = false;
    cpu->pending_vector   = -1;
    cpu->monitor_armed    = false;
    cpu->monitor_address  = 0;
    cpu->insn             = NULL;
    if (!init_only) {
        vcpu_request_done(&cpu->vcpu, ~(uint32_t)(VCPU_REQUEST_CPU - 1)); /* of a machine that is no more */
        reset_msrs(cpu);
        x86_fpu_reset(cpu);
        x86_hv_reset(cpu);
        cpu->mce_fatal   = false;
        cpu->ferr        = false; /* the board resets its side itself */
        cpu->fpu_ignored = 0;
        atomic_store(&cpu->ignne, false);
    }
    if (cpu->apic) {
        apic_reset(cpu->apic, init_only);
    }
    cpu->wait_for_sipi = !cpu->bsp;
    cpu->vcpu.halted   = cpu->wait_for_sipi;

    cpu->cr3 = 0;
    if (cpu->tlb) {
        x86_tlb_flush(cpu, true);
        x86_debug_changed(cpu);
        x86_update_mode(cpu);
    }
}
