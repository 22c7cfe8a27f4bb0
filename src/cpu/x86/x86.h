/* The x86 CPU: its architectural state and the names of its bits.
 *
 * Specification: Intel SDM volumes 1 to 4 (December 2023), AMD APM volumes 1 to 5 where a model is AMD's.
 * The state belongs to the vCPU's thread while it runs; others look at it through vcpu_run_on(). */

#ifndef QUERN_CPU_X86_X86_H
#define QUERN_CPU_X86_X86_H

#include "cpu/vcpu.h"
#include "cpu/x86/jump.h"

typedef struct X86Cpu   X86Cpu;
typedef struct X86Model X86Model;
typedef struct X86Tlb   X86Tlb;   /* mmu.c */
typedef struct X86Cache X86Cache; /* exec.c: decoded blocks */
typedef struct Apic     Apic;     /* devices/irq/apic.h */

enum {
    X86_RAX,
    X86_RCX,
    X86_RDX,
    X86_RBX,
    X86_RSP,
    X86_RBP,
    X86_RSI,
    X86_RDI,
    X86_R8,
    X86_R9,
    X86_R10,
    X86_R11,
    X86_R12,
    X86_R13,
    X86_R14,
    X86_R15,
    X86_NO_REG, /* its slot always reads 0 */
    X86_RIP,    /* its slot is cpu->rip: base of RIP-relative operands */
    X86_N_GPR
};

enum { X86_ES, X86_CS, X86_SS, X86_DS, X86_FS, X86_GS, X86_N_SEG };

/* Exception vectors (SDM 3, 6.3.1). */
typedef enum X86Vector {
    X86_DE       = 0,
    X86_DB       = 1,
    X86_NMI      = 2,
    X86_BP       = 3,
    X86_OF       = 4,
    X86_BR       = 5,
    X86_UD       = 6,
    X86_NM       = 7,
    X86_DF       = 8,
    X86_TS       = 10,
    X86_NP       = 11,
    X86_SS_FAULT = 12,
    X86_GP       = 13,
    X86_PF       = 14,
    X86_MF       = 16,
    X86_AC       = 17,
    X86_MC       = 18,
    X86_XM       = 19,
} X86Vector;

enum {
    EFLAGS_CF    = 1 << 0,
    EFLAGS_ONE   = 1 << 1,
    EFLAGS_PF    = 1 << 2,
    EFLAGS_AF    = 1 << 4,
    EFLAGS_ZF    = 1 << 6,
    EFLAGS_SF    = 1 << 7,
    EFLAGS_TF    = 1 << 8,
    EFLAGS_IF    = 1 << 9,
    EFLAGS_DF    = 1 << 10,
    EFLAGS_OF    = 1 << 11,
    EFLAGS_IOPL  = 3 << 12,
    EFLAGS_NT    = 1 << 14,
    EFLAGS_RF    = 1 << 16,
    EFLAGS_VM    = 1 << 17,
    EFLAGS_AC    = 1 << 18,
    EFLAGS_VIF   = 1 << 19,
    EFLAGS_VIP   = 1 << 20,
    EFLAGS_ID    = 1 << 21,
    EFLAGS_ARITH = EFLAGS_CF | EFLAGS_PF | EFLAGS_AF | EFLAGS_ZF | EFLAGS_SF | EFLAGS_OF,
};

#define CR0_PE UINT64_C(0x00000001)
#define CR0_MP UINT64_C(0x00000002)
#define CR0_EM UINT64_C(0x00000004)
#define CR0_TS UINT64_C(0x00000008)
#define CR0_ET UINT64_C(0x00000010)
#define CR0_NE UINT64_C(0x00000020)
#define CR0_WP UINT64_C(0x00010000)
#define CR0_AM UINT64_C(0x00040000)
#define CR0_NW UINT64_C(0x20000000)
#define CR0_CD UINT64_C(0x40000000)
#define CR0_PG UINT64_C(0x80000000)

#define CR4_VME        UINT64_C(0x00000001)
#define CR4_PVI        UINT64_C(0x00000002)
#define CR4_TSD        UINT64_C(0x00000004)
#define CR4_DE         UINT64_C(0x00000008)
#define CR4_PSE        UINT64_C(0x00000010)
#define CR4_PAE        UINT64_C(0x00000020)
#define CR4_MCE        UINT64_C(0x00000040)
#define CR4_PGE        UINT64_C(0x00000080)
#define CR4_PCE        UINT64_C(0x00000100)
#define CR4_OSFXSR     UINT64_C(0x00000200)
#define CR4_OSXMMEXCPT UINT64_C(0x00000400)
#define CR4_UMIP       UINT64_C(0x00000800)
#define CR4_LA57       UINT64_C(0x00001000)
#define CR4_FSGSBASE   UINT64_C(0x00010000)
#define CR4_PCIDE      UINT64_C(0x00020000)
#define CR4_OSXSAVE    UINT64_C(0x00040000)
#define CR4_SMEP       UINT64_C(0x00100000)
#define CR4_SMAP       UINT64_C(0x00200000)

#define DR6_BD       UINT64_C(0x00002000)
#define DR6_BS       UINT64_C(0x00004000)
#define DR6_BT       UINT64_C(0x00008000)
#define DR6_WRITABLE UINT64_C(0x0000e00f)
#define DR6_FIXED    UINT64_C(0xffff0ff0) /* read as ones; also the value at reset */
#define DR7_LE       UINT64_C(0x00000100)
#define DR7_GD       UINT64_C(0x00002000)
#define DR7_WRITABLE UINT64_C(0xffff23ff)
#define DR7_FIXED    UINT64_C(0x00000400)

#define EFER_SCE   UINT64_C(0x0001)
#define EFER_LME   UINT64_C(0x0100)
#define EFER_LMA   UINT64_C(0x0400)
#define EFER_NXE   UINT64_C(0x0800)
#define EFER_FFXSR UINT64_C(0x4000)
#define EFER_AIBRS UINT64_C(0x200000)

/* Segment attributes: bits 8 to 23 of a descriptor's second word, limit bits masked out, and "unusable". */
enum {
    SEG_TYPE      = 0xf,
    SEG_A         = 1,
    SEG_W         = 2,
    SEG_R         = 2,
    SEG_E         = 4,
    SEG_C         = 4,
    SEG_CODE      = 8,
    SEG_S         = 1 << 4,
    SEG_DPL_SHIFT = 5,
    SEG_DPL       = 3 << 5,
    SEG_P         = 1 << 7,
    SEG_AVL       = 1 << 12,
    SEG_L         = 1 << 13,
    SEG_DB        = 1 << 14,
    SEG_G         = 1 << 15,
    SEG_UNUSABLE  = 1 << 16,
};

typedef struct X86Segment {
    uint64_t base;
    uint32_t limit; /* in bytes, granularity applied */
    uint32_t attr;  /* SEG_* */
    uint16_t selector;
} X86Segment;

typedef struct X86Table {
    uint64_t base;
    uint16_t limit;
} X86Table;

/* vcpu.requests bits of an x86 CPU. */
enum {
    X86_REQUEST_INTR = VCPU_REQUEST_CPU << 0, /* the local APIC or the PIC may have an interrupt */
    X86_REQUEST_NMI  = VCPU_REQUEST_CPU << 1,
    X86_REQUEST_SMI  = VCPU_REQUEST_CPU << 2,
    X86_REQUEST_INIT = VCPU_REQUEST_CPU << 3,
    X86_REQUEST_SIPI = VCPU_REQUEST_CPU << 4,
    X86_REQUEST_MCE  = VCPU_REQUEST_CPU << 5,
};

/* The XSAVE area in standard format (SDM 1, 13.4): legacy FXSAVE image, header, AVX component. The live FP and
 * vector state of the guest while the plain executor runs. */
enum {
    XSAVE_LEGACY = 0,
    XSAVE_MXCSR  = 24,
    XSAVE_ST     = 32,
    XSAVE_XMM    = 160,
    XSAVE_HEADER = 512,
    XSAVE_YMM    = 576,
    XSAVE_SIZE   = 832
};

#define XCR0_X87 UINT64_C(1)
#define XCR0_SSE UINT64_C(2)
#define XCR0_AVX UINT64_C(4)

/* What holds interrupts off for one instruction. MOV SS and POP SS hold debug exceptions off too, STI does not
 * (SDM 3, 6.8.3). */
typedef enum X86Shadow { X86_SHADOW_NONE, X86_SHADOW_STI, X86_SHADOW_SS } X86Shadow;

/* X86Cpu.mode_key: where CPL is in it. */
enum { X86_MODE_KEY_CPL = 5 };

/* X86Cpu.segment_key: what code outside 64-bit mode may count on of a segment. */
typedef enum X86SegmentKind {
    X86_SEGMENT_OTHER, /* anything, in particular expand-down or unusable ones */
    X86_SEGMENT_64K,   /* readable data or code, limit FFFFh */
    X86_SEGMENT_4G,
    X86_SEGMENT_LIMIT,        /* some other limit, not expand-down */
    X86_SEGMENT_WRITABLE = 4, /* added to the others */
} X86SegmentKind;

/* Mode of execution of the current code segment. */
typedef enum X86CodeSize { X86_CODE16, X86_CODE32, X86_CODE64 } X86CodeSize;

/* Registers of Microsoft's hypervisor interface (hyperv.h). */
typedef struct X86Hyperv {
    _Atomic uint64_t guest_os, hypercall, reference_tsc; /* of the partition: the first vCPU's count, any reads them */
    uint64_t         assist_page;
} X86Hyperv;

struct X86Cpu {
    Vcpu vcpu; /* first */

    union {
        uint64_t gpr[X86_N_GPR];
        struct {
            uint64_t gpr_before_rip[X86_RIP];
            uint64_t rip; /* while a block runs: of its first instruction; see x86_insn_rip() in insn.h */
        };
    };
    /* Arithmetic flags as LAHF and SETO leave them in AX: AH = SF ZF 0 AF 0 PF 1 CF, AL = OF (0 or 1). The other
     * flags are in eflags, whose arithmetic bits are 0. Use x86_get_eflags()/x86_set_eflags(). */
    uint16_t arith;
    uint32_t eflags;

    X86Segment seg[X86_N_SEG];
    X86Segment ldt, tr;
    X86Table   gdt, idt;
    uint64_t   cr0, cr2, cr3, cr4, efer, xcr0, xss;
    uint8_t    cr8;   /* of a CPU without a local APIC; else the APIC's TPR */
    uint64_t   dr[8]; /* 4 and 5 unused */

    /* Derived by x86_update_mode() from cr0, cr4, efer, eflags, seg[] after any change to them. */
    uint8_t     cpl;
    X86CodeSize code_size;
    bool        long_mode; /* EFER.LMA */
    bool flat; /* CS, DS, ES and SS have base 0 and limit 4 GiB, DS, ES and SS are usable and writable, CS is readable;
                * or 64-bit mode */
    uint8_t  stack_size;      /* 2, 4 or 8: width of the stack pointer */
    uint32_t mode_key;        /* unlike for any two states between which decoded code must not be reused, nor the right
                               * to fetch it: at least CPL, code_size, stack_size, flat, PE, VM, TS, EM, MP, OSFXSR, OSXSAVE */
    uint32_t segment_changes; /* how often they were derived, or GDT or LDT loaded */
    uint64_t segment_key; /* the same of segments, for code that knows their kinds and CS's limit; 0 in 64-bit mode. The
                           * bits that mode_key and its users leave: see seg.c */

    bool        smm;
    bool        nmi_blocked;
    uint8_t     interrupt_shadow; /* X86Shadow: no interrupt before the next instruction ends */
    bool        in_shutdown;
    uint32_t    resets, power_ons; /* how often x86_reset() ran, and how often it was more than INIT */
    uint8_t     sipi_vector;       /* with X86_REQUEST_SIPI */
    atomic_bool wait_for_sipi;     /* after INIT on an application processor; its thread writes it */
    int         pending_vector;    /* exception being delivered, -1 if none: for #DF */
    uint64_t    exit_detail;       /* of the last X86Exit: what is missing ... */

    uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t pat, tsc_aux, misc_enable, spec_ctrl, smbase;
    uint64_t mtrr_def_type, mtrr_fixed[11], mtrr_base[8], mtrr_mask[8];
    uint64_t mcg_status, mcg_ctl, mc_bank[10][4];
    bool     mce_fatal; /* with X86_REQUEST_MCE: it cannot be reported, the processor shuts down */
    uint64_t feature_control, smi_count;
    uint64_t syscfg, hwcr, de_cfg, nb_cfg; /* AMD's models */
    uint64_t clock_modulation, therm_interrupt;

    /* Guest TSC = ticks of the host's TSC (or of the virtual clock) at the guest's frequency + tsc_offset, or
     * tsc_frozen_at while the machine stands still: see tsc.c. */
    int64_t  tsc_offset;
    uint64_t tsc_adjust, tsc_frozen_at;
    bool     tsc_frozen, tsc_from_clock;
    bool     tsc_plain; /* runs at the host's frequency: the host's TSC + tsc_offset */

    X86Hyperv hyperv;

    uint64_t monitor_address; /* armed by MONITOR; 0 = not armed */
    bool     monitor_armed;

    uint8_t  xsave[XSAVE_SIZE] __attribute__((aligned(64)));
    uint16_t fpu_cs, fpu_ds; /* selectors that go with FIP and FDP, whose 64-bit offsets are in xsave */

    /* x87 errors with CR0.NE = 0 (fpu_error.c). While ferr is set, instructions run one by one in the executor. */
    bool        ferr;        /* FERR# is asserted */
    uint8_t     fpu_ignored; /* FSW's exceptions that are hidden from the instruction that runs, by IGNNE# */
    atomic_bool ignne;       /* IGNNE#, the board's: any thread */
    void (*ferr_changed)(void *opaque,
                         bool  asserted); /* tells the board; vCPU thread. NULL: the pin is not connected */

    /* Where the vector and FP state is: see park.h. */
    bool     vector_live;
    bool     park_quick;             /* vectors by moves when the x87 is not in use */
    uint32_t park_mask, unpark_mask; /* XCR0_* components to save and to restore */
    /* Translates host addresses of x87 instruction and operand, as they were just parked, into the guest's, and writes
     * these to xsave. NULL: they become 0. Called with the state parked. */
    void (*map_fpu_pointers)(X86Cpu *cpu, uint64_t host_fip, uint64_t host_fdp);

    const X86Model *model;
    uint32_t        features[32]; /* guest CPUID words, by X86FeatureWord of cpuid.h */
    uint64_t        tsc_hz;
    unsigned        phys_bits, lin_bits;
    uint32_t        apic_id;
    bool            bsp;      /* boot processor: runs after reset, does not wait for SIPI */
    uint64_t        n_events; /* delivered so far, for the log */

    const struct X86Topology *topology;

    Apic     *apic;
    X86Tlb   *tlb;
    X86Cache *cache;

    /* Where x86_raise*() goes: x86_longjmp() with X86_THROW_*. Armed by x86_run(), and by x86_deliver() for itself. */
    X86Jump fault_exit;
    struct {
        X86Vector vector;
        bool      has_error;
        uint32_t  error;
    } fault; /* set by x86_raise*() before it jumps; CR2 and DR6 have their new values already */

    /* The executor's own hot state. */
    const struct X86Insn *insn;        /* being executed, for precise faults; NULL outside instructions */
    const struct X86Insn *insn_end;    /* the block stops when it gets here; slow paths move it nearer */
    struct X86TlbEntry   *tlb_entries; /* TLB of the current mode: x86_tlb_select() */
    uint8_t               branch;      /* how the last block ended: X86_BRANCH_* of ops.h */
    uint8_t               exit_wanted; /* X86Exit + 1 that the instruction asks for */

    /* Asks the board for the vector of an ExtINT (8259); machine lock taken inside. -1: none after all. */
    int (*ack_extint)(void *opaque);
    /* Tells the board that the CPU entered or left SMM, so that its view of memory follows; vCPU thread. May be NULL.
     */
    void (*smm_changed)(void *opaque, bool smm);
    void *board;

    uint64_t random_state;  /* RDRAND and RDSEED ... */
    bool     random_seeded; /* ... follow -seed */
};

/* segment_key's bits. */
enum {
    X86_SEGMENT_KEY_FIRST     = 17, /* ES, SS, DS, FS, GS: 3 bits each */
    X86_SEGMENT_KEY_CS        = 34,
    X86_SEGMENT_KEY_LIMIT     = 41, /* of CS, as a descriptor has it, and its G: 21 bits */
    X86_SEGMENT_KEY_ODD_LIMIT = 62, /* no descriptor could have it */
};

/* What it has of CS. */
#define X86_SEGMENT_KEY_CODE                                                                                           \
    (UINT64_C(7) << X86_SEGMENT_KEY_CS | UINT64_C(0x1fffff) << X86_SEGMENT_KEY_LIMIT |                                 \
     UINT64_C(1) << X86_SEGMENT_KEY_ODD_LIMIT)

static inline unsigned x86_segment_key_shift(unsigned seg)
{
    return seg == X86_CS   ? X86_SEGMENT_KEY_CS
           : seg == X86_ES ? X86_SEGMENT_KEY_FIRST
                           : X86_SEGMENT_KEY_FIRST + 3 * (seg - 1);
}

/* The X86SegmentKind of a segment with X86_SEGMENT_WRITABLE; outside 64-bit mode. */
static inline unsigned x86_segment_kind(uint64_t segment_key, unsigned seg)
{
    return segment_key >> x86_segment_key_shift(seg) & 7;
}

static inline X86Cpu *x86_cpu(Vcpu *cpu)
{
    return (X86Cpu *)cpu;
}

static inline void *x86_xmm(X86Cpu *cpu, unsigned n)
{
    return cpu->xsave + XSAVE_XMM + 16 * n;
}

static inline void *x86_ymm_high(X86Cpu *cpu, unsigned n)
{
    return cpu->xsave + XSAVE_YMM + 16 * n;
}

/* RFLAGS as the guest sees it. */
static inline uint64_t x86_get_eflags(const X86Cpu *cpu)
{
    return cpu->eflags | ((cpu->arith >> 8) & (EFLAGS_CF | EFLAGS_PF | EFLAGS_AF | EFLAGS_ZF | EFLAGS_SF)) |
           EFLAGS_ONE | (cpu->arith & 1 ? EFLAGS_OF : 0);
}

/* Sets the flags in `mask` from `value`; the caller calls x86_update_mode() when VM, AC, TF or IOPL may change. */
static inline void x86_set_eflags(X86Cpu *cpu, uint64_t value, uint64_t mask)
{
    uint64_t now = (x86_get_eflags(cpu) & ~mask) | (value & mask);
    cpu->arith   = (uint16_t)((now & (EFLAGS_CF | EFLAGS_PF | EFLAGS_AF | EFLAGS_ZF | EFLAGS_SF)) << 8 | 0x200 |
                            (now & EFLAGS_OF ? 1 : 0));
    cpu->eflags  = (uint32_t)(now & ~(uint64_t)EFLAGS_ARITH) | EFLAGS_ONE;
}

/* What a jump to fault_exit brings. */
enum {
    X86_THROW_FAULT    = 1, /* cpu->fault */
    X86_THROW_MISSING  = 2, /* exit_detail is set */
    X86_THROW_SOFTWARE = 3, /* cache->software_event, software_vector */
    X86_THROW_FERR     = 4, /* the instruction waits: an x87 error is reported through FERR# */
};

/* Raise an exception in the guest from inside x86_run(): do not return. State must be as before the instruction,
 * apart from what the architecture lets an instruction leave behind (string instructions' progress). */
_Noreturn void x86_raise(X86Cpu *cpu, X86Vector vector); /* no error code, or 0 where it has one */
_Noreturn void x86_raise_error(X86Cpu *cpu, X86Vector vector, uint32_t code);
_Noreturn void x86_raise_page_fault(X86Cpu *cpu, uint64_t address, uint32_t code);

/* Stops the VM: a form that Quern does not implement yet. `what` must be a literal. Never silently wrong. */
_Noreturn void x86_raise_missing(X86Cpu *cpu, const char *what);

/* Recomputes the derived members and calls x86_tlb_select(). */
void x86_update_mode(X86Cpu *cpu);

#endif
