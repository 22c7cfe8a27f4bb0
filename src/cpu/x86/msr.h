/* Bits of model-specific registers, and the register table for those who walk it (saved state, tests). */

#ifndef QUERN_CPU_X86_MSR_H
#define QUERN_CPU_X86_MSR_H

#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>

#define APIC_BASE_BSP    UINT64_C(0x100)
#define APIC_BASE_X2APIC UINT64_C(0x400)
#define APIC_BASE_ENABLE UINT64_C(0x800)

#define MISC_ENABLE_FAST_STRINGS UINT64_C(0x00000001)
#define MISC_ENABLE_BTS_UNAVAIL  UINT64_C(0x00000800)
#define MISC_ENABLE_PEBS_UNAVAIL UINT64_C(0x00001000)
#define MISC_ENABLE_MONITOR      UINT64_C(0x00040000)
#define MISC_ENABLE_LIMIT_CPUID  UINT64_C(0x00400000)
#define MISC_ENABLE_XD_DISABLE   UINT64_C(0x400000000)

#define FEATURE_CONTROL_LOCKED UINT64_C(1)

/* AMD */
#define HWCR_MC_STATUS_WRITE UINT64_C(0x00040000)
#define HWCR_TSC_FREQ_SEL    UINT64_C(0x01000000)

/* The n'th row of the table: its first register, how many follow each other, and their names. NULL after the last. */
const char *x86_msr_row(size_t n, uint32_t *first, uint32_t *count);

#endif
