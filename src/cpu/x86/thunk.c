/* The thunk cache: see thunk.h.
 *
 * Calling convention of a thunk: System V, (op0, op1, op2, op3, cpu) in RDI, RSI, RDX, RCX, R8; it uses no stack but
 * its return address. Operand n lives in host register XMMn+1, YMMn+1 or MMn+1; a general register in RAX.
 *
 * Signals are per process: x86_vector_init() installs one SIGFPE handler, which acts only when RIP lies in the
 * cache. It then continues at the cache's fault exit, which keeps MXCSR for the guest and returns 1 to the thunk's
 * caller. x87 exceptions never become signals: no waiting x87 instruction runs after the one in the thunk.
 *
 * The process runs with MXCSR = 1F80h and the x87 control word = 037Fh, as the ABI says; every exit restores them.
 *
 * The lock guards the cache while thunks are added; code that has been published is never changed. */

#include "cpu/x86/thunk.h"

#include "cpu/x86/insn.h"

#include <cpuid.h>
#include <errno.h>
#include <glib.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

enum {
    CACHE_SIZE    = 32 << 20, /* all forms that exist, with all immediates, need about 12 MiB */
    THUNK_MAX     = 512,      /* bytes of code in one thunk; far more than any needs */
    THUNK_ALIGN   = 32,
    HOST_MXCSR    = 0x1f80,
    OFFSET_MXCSR  = 0, /* in the cache: the constant that LDMXCSR reads */
    OFFSET_FAULT  = 64,
    OFFSET_THUNKS = 128,
};

enum { HOST_RAX = 0, HOST_RCX = 1, HOST_RDX = 2, HOST_RSI = 6, HOST_RDI = 7, HOST_R8 = 8 };

#define CPU_GPR(n) ((int32_t)(offsetof(X86Cpu, gpr) + 8 * (n)))
#define CPU_XSAVE  ((int32_t)offsetof(X86Cpu, xsave))
#define CPU_MXCSR  (CPU_XSAVE + XSAVE_MXCSR)
#define CPU_XMM0   (CPU_XSAVE + XSAVE_XMM)
#define CPU_ARITH  ((int32_t)offsetof(X86Cpu, arith))
#define UPPER_HALF (XSAVE_YMM - XSAVE_XMM)

typedef struct X86Thunks {
    uint8_t     *rw, *rx;
    size_t       used;
    GHashTable  *by_spec; /* &X86Thunk.spec -> X86Thunk */
    bool         host_avx;
    X86ThunkCode fldenv, normalize;
    GMutex       lock;
} X86Thunks;

static const uint8_t argument_register[4] = { HOST_RDI, HOST_RSI, HOST_RDX, HOST_RCX };

/* The process's cache: written once by x86_vector_init(), read by the signal handler. */
static X86Thunks *_Atomic process_thunks;
static struct sigaction   previous_sigfpe;

static X86Thunks *thunks(void)
{
    return atomic_load_explicit(&process_thunks, memory_order_acquire);
}

/* --- code ------------------------------------------------------------------------------------------------------- */

static void emit_operand_loads(X86Emit *e, const X86ThunkSpec *spec)
{
    X86Glue load = spec->form.vex ? X86_GLUE_VMOVUPS_LOAD : X86_GLUE_MOVUPS_LOAD;
    for (unsigned i = 0; i < 4; i++) {
        unsigned base = argument_register[i];
        switch (spec->kind[i]) {
        case X86_THUNK_XMM: x86_emit_glue(e, load, i + 1, base, 0); break;
        case X86_THUNK_YMM:
            x86_emit_glue(e, load, i + 1, base, 0);
            x86_emit_glue(e, X86_GLUE_VINSERTF128, i + 1, base, UPPER_HALF);
            break;
        case X86_THUNK_MMX: x86_emit_glue(e, X86_GLUE_MOVQ_MMX_LOAD, i + 1, base, 0); break;
        case X86_THUNK_GPR: x86_emit_glue(e, X86_GLUE_MOV64_LOAD, HOST_RAX, base, 0); break;
        default: break;
        }
    }
    if (spec->flags & X86_THUNK_XMM0_IN) {
        x86_emit_glue(e, load, 0, HOST_R8, CPU_XMM0);
    }
    if (spec->flags & X86_THUNK_LENGTHS) {
        x86_emit_glue(e, X86_GLUE_MOV64_LOAD, HOST_RAX, HOST_R8, CPU_GPR(X86_RAX));
        x86_emit_glue(e, X86_GLUE_MOV64_LOAD, HOST_RDX, HOST_R8, CPU_GPR(X86_RDX));
    }
}

/* A VEX instruction has cleared the upper half of a 128-bit result in the host's register, so both are stored. */
static void emit_vector_store(X86Emit *e, const X86ThunkSpec *spec, unsigned reg, unsigned base, int32_t disp)
{
    if (spec->form.vex) {
        x86_emit_glue(e, X86_GLUE_VMOVUPS_STORE, reg, base, disp);
        x86_emit_glue(e, X86_GLUE_VEXTRACTF128, reg, base, disp + UPPER_HALF);
    } else {
        x86_emit_glue(e, X86_GLUE_MOVUPS_STORE, reg, base, disp);
    }
}

static void emit_operand_stores(X86Emit *e, const X86ThunkSpec *spec)
{
    if (spec->flags & X86_THUNK_XMM0_OUT) {
        emit_vector_store(e, spec, 0, HOST_R8, CPU_XMM0);
    }
    if (spec->flags & X86_THUNK_RCX_OUT) {
        x86_emit_glue(e, X86_GLUE_MOV64_STORE, HOST_RCX, HOST_R8, CPU_GPR(X86_RCX));
    }
    for (unsigned i = 0; i < 4; i++) {
        unsigned base = argument_register[i];
        if (!(spec->written >> i & 1)) {
            continue;
        }
        switch (spec->kind[i]) {
        case X86_THUNK_XMM:
        case X86_THUNK_YMM: emit_vector_store(e, spec, i + 1, base, 0); break;
        case X86_THUNK_MMX: x86_emit_glue(e, X86_GLUE_MOVQ_MMX_STORE, i + 1, base, 0); break;
        case X86_THUNK_GPR: x86_emit_glue(e, X86_GLUE_MOV64_STORE, HOST_RAX, base, 0); break;
        default: break;
        }
    }
}

static void emit_flags_load(X86Emit *e)
{
    x86_emit_glue(e, X86_GLUE_MOVZX16_LOAD, HOST_RAX, HOST_R8, CPU_ARITH);
    x86_emit_add_al(e, 127); /* OF from AL; SAHF leaves it */
    x86_emit_plain(e, ZYDIS_MNEMONIC_SAHF);
}

static void emit_flags_store(X86Emit *e)
{
    x86_emit_plain(e, ZYDIS_MNEMONIC_LAHF);
    x86_emit_seto_al(e);
    x86_emit_glue(e, X86_GLUE_MOV16_STORE, HOST_RAX, HOST_R8, CPU_ARITH);
}

static void emit_host_mxcsr(const X86Thunks *t, X86Emit *e)
{
    /* RIP-relative, counted from the end of LDMXCSR [rip+disp32]: 0F AE /2 and four bytes. */
    x86_emit_ldmxcsr_rip(e, (int32_t)((t->rw + OFFSET_MXCSR) - (e->next + 7)));
}

static void emit_return(X86Emit *e, unsigned value)
{
    x86_emit_mov_eax(e, value);
    x86_emit_plain(e, ZYDIS_MNEMONIC_RET);
}

static void emit_vector(const X86Thunks *t, X86Emit *e, const X86ThunkSpec *spec, const X86Form *form)
{
    bool mmx = false;
    for (unsigned i = 0; i < 4; i++) {
        mmx |= spec->kind[i] == X86_THUNK_MMX;
    }
    emit_operand_loads(e, spec);
    if (spec->flags & X86_THUNK_MXCSR) {
        x86_emit_glue(e, X86_GLUE_LDMXCSR, 0, HOST_R8, CPU_MXCSR);
    }
    x86_emit(e, form);
    if (spec->flags & X86_THUNK_MXCSR) {
        x86_emit_glue(e, X86_GLUE_STMXCSR, 0, HOST_R8, CPU_MXCSR);
        emit_host_mxcsr(t, e);
    }
    emit_operand_stores(e, spec);
    if (spec->flags & X86_THUNK_FLAGS) {
        emit_flags_store(e);
    }
    if (spec->form.vex) {
        x86_emit_plain(e, ZYDIS_MNEMONIC_VZEROUPPER);
    }
    if (mmx) {
        x86_emit_plain(e, ZYDIS_MNEMONIC_EMMS);
    }
    emit_return(e, 0);
}

/* FXRSTOR and FXSAVE carry XMM0 to XMM15 and MXCSR along, which the instruction between does not change. */
static void emit_x87(const X86Thunks *t, X86Emit *e, const X86ThunkSpec *spec, const X86Form *form)
{
    x86_emit_glue(e, X86_GLUE_FXRSTOR64, 0, HOST_R8, CPU_XSAVE);
    if (spec->flags & X86_THUNK_FLAGS) {
        emit_flags_load(e);
    }
    if (form) {
        x86_emit(e, form);
    }
    if (spec->flags & X86_THUNK_FLAGS) {
        emit_flags_store(e);
    }
    x86_emit_glue(e, X86_GLUE_FXSAVE64, 0, HOST_R8, CPU_XSAVE);
    x86_emit_plain(e, ZYDIS_MNEMONIC_FNINIT);
    emit_host_mxcsr(t, e);
    emit_return(e, 0);
}

/* Decodes what the encoder made: it must be the instruction that was asked for, and touch no memory but its operand. */
static bool verify(const X86Form *form)
{
    uint8_t                 code[15];
    size_t                  len = x86_encode(form, code);
    ZydisDecoder            decoder;
    ZydisDecodedInstruction in;
    ZydisDecodedOperand     operands[ZYDIS_MAX_OPERAND_COUNT];

    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    if (!len || !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code, len, &in, operands)) || in.length != len ||
        in.mnemonic != form->mnemonic) {
        return false;
    }
    for (unsigned i = 0; i < in.operand_count; i++) {
        const ZydisDecodedOperand *o = &operands[i];
        if (o->type == ZYDIS_OPERAND_TYPE_MEMORY &&
            (!form->memory || o->visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT || o->size > 8 * X86_THUNK_BUFFER ||
             o->mem.type != ZYDIS_MEMOP_TYPE_MEM || o->mem.index != ZYDIS_REGISTER_NONE || o->mem.disp.value != 0 ||
             (o->mem.segment != ZYDIS_REGISTER_DS && o->mem.segment != ZYDIS_REGISTER_SS))) {
            return false;
        }
    }
    return true;
}

/* Puts the host's registers into the form. */
static bool assign_registers(X86Form *form, const X86ThunkSpec *spec)
{
    for (unsigned i = 0; i < 4; i++) {
        uint8_t reg = 0;
        switch (spec->kind[i]) {
        case X86_THUNK_NONE: continue;
        case X86_THUNK_MEMORY_OPERAND:
            form->base  = spec->flags & X86_THUNK_X87 ? HOST_RDI : argument_register[i];
            form->index = X86_FORM_NONE;
            continue;
        case X86_THUNK_GPR: reg = HOST_RAX; break;
        default: reg = (uint8_t)(i + 1); break;
        }
        switch (spec->encoding[i]) {
        case ZYDIS_OPERAND_ENCODING_MODRM_REG: form->reg = reg; break;
        case ZYDIS_OPERAND_ENCODING_MODRM_RM: form->rm = reg; break;
        case ZYDIS_OPERAND_ENCODING_NDSNDD: form->vvvv = reg; break;
        case ZYDIS_OPERAND_ENCODING_IS4: form->imm = (form->imm & 0x0f) | (uint64_t)reg << 4; break;
        default: return false;
        }
    }
    return true;
}

/* Called with the lock held. Returns where the code is in the executable view, or NULL. */
static X86ThunkCode build(X86Thunks *t, const X86ThunkSpec *spec, const X86Form *form)
{
    size_t start = (t->used + THUNK_ALIGN - 1) & ~(size_t)(THUNK_ALIGN - 1);
    if (start + THUNK_MAX > CACHE_SIZE) {
        return NULL;
    }
    X86Emit e = { .next = t->rw + start, .end = t->rw + start + THUNK_MAX };
    if (spec->flags & X86_THUNK_X87) {
        emit_x87(t, &e, spec, form);
    } else {
        emit_vector(t, &e, spec, form);
    }
    if (e.failed) {
        return NULL;
    }
    t->used = (size_t)(e.next - t->rw);
    return (X86ThunkCode)(uintptr_t)(t->rx + start);
}

/* --- cache ------------------------------------------------------------------------------------------------------ */

static guint spec_hash(gconstpointer key)
{
    const uint8_t *p    = key;
    uint32_t       hash = 2166136261u;
    for (size_t i = 0; i < sizeof(X86ThunkSpec); i++) {
        hash = (hash ^ p[i]) * 16777619u;
    }
    return hash;
}

static gboolean spec_equal(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, sizeof(X86ThunkSpec)) == 0;
}

const X86Thunk *x86_thunk_get(const X86ThunkSpec *spec)
{
    X86Thunks *t = thunks();

    g_mutex_lock(&t->lock);
    X86Thunk *thunk = g_hash_table_lookup(t->by_spec, spec);
    if (!thunk && (!spec->form.vex || t->host_avx)) {
        X86Form      form = spec->form;
        X86ThunkCode code = assign_registers(&form, spec) && verify(&form) ? build(t, spec, &form) : NULL;
        if (code) {
            thunk       = g_new0(X86Thunk, 1);
            thunk->code = code;
            thunk->spec = *spec;
            g_hash_table_insert(t->by_spec, &thunk->spec, thunk);
        }
    }
    g_mutex_unlock(&t->lock);
    return thunk;
}

X86ThunkStats x86_thunk_stats(void)
{
    X86Thunks *t = thunks();
    g_mutex_lock(&t->lock);
    X86ThunkStats stats = { .thunks = g_hash_table_size(t->by_spec), .bytes = t->used };
    g_mutex_unlock(&t->lock);
    return stats;
}

void x86_thunk_fldenv(X86Cpu *cpu, const uint8_t image[28])
{
    thunks()->fldenv((void *)image, NULL, NULL, NULL, cpu);
}

void x86_thunk_normalize(X86Cpu *cpu)
{
    thunks()->normalize(NULL, NULL, NULL, NULL, cpu);
}

/* --- set-up ----------------------------------------------------------------------------------------------------- */

static void on_sigfpe(int number, siginfo_t *info, void *context)
{
    X86Thunks  *t   = thunks();
    ucontext_t *uc  = context;
    uintptr_t   rip = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];

    if (t && rip - (uintptr_t)t->rx < CACHE_SIZE) {
        uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)(t->rx + OFFSET_FAULT);
        return;
    }
    /* Not a guest's: whoever was here before decides, or the process dies of it. */
    if (previous_sigfpe.sa_flags & SA_SIGINFO && previous_sigfpe.sa_sigaction) {
        previous_sigfpe.sa_sigaction(number, info, context);
    } else if (previous_sigfpe.sa_handler != SIG_DFL && previous_sigfpe.sa_handler != SIG_IGN) {
        previous_sigfpe.sa_handler(number);
    } else {
        signal(number, SIG_DFL);
        if (info->si_code <= 0) { /* sent by a process: returning would not raise it again */
            raise(number);
        }
    }
}

/* AVX that the kernel has enabled, too. */
static bool host_has_avx(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_AVX)) {
        return false;
    }
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 6) == 6;
}

static int code_memory(void)
{
    int fd = -1;
#ifdef MFD_EXEC
    fd = memfd_create("quern-thunks", MFD_CLOEXEC | MFD_EXEC);
#endif
    if (fd < 0) {
        fd = memfd_create("quern-thunks", MFD_CLOEXEC);
    }
    if (fd >= 0 && ftruncate(fd, CACHE_SIZE) != 0) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static bool map_cache(X86Thunks *t, Error *err)
{
    int fd = code_memory();
    if (fd < 0) {
        return error_set_errno(err, errno, "cannot create %d MiB of memory for thunks", CACHE_SIZE >> 20);
    }
    t->rw    = mmap(NULL, CACHE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    t->rx    = mmap(NULL, CACHE_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    int code = errno;
    close(fd);
    if (t->rw == MAP_FAILED || t->rx == MAP_FAILED) {
        return error_set_errno(err, code, "cannot map executable memory for thunks");
    }
    return true;
}

static void build_fixed_code(X86Thunks *t)
{
    uint32_t mxcsr = HOST_MXCSR;
    memcpy(t->rw + OFFSET_MXCSR, &mxcsr, sizeof mxcsr);

    X86Emit e = { .next = t->rw + OFFSET_FAULT, .end = t->rw + OFFSET_THUNKS };
    x86_emit_glue(&e, X86_GLUE_STMXCSR, 0, HOST_R8, CPU_MXCSR);
    emit_host_mxcsr(t, &e);
    if (t->host_avx) {
        x86_emit_plain(&e, ZYDIS_MNEMONIC_VZEROUPPER);
    }
    x86_emit_plain(&e, ZYDIS_MNEMONIC_EMMS);
    emit_return(&e, 1);
    g_assert(!e.failed);

    t->used           = OFFSET_THUNKS;
    X86ThunkSpec spec = { .flags = X86_THUNK_X87 };
    X86Form      form = {
             .mnemonic  = ZYDIS_MNEMONIC_FLDENV,
             .map       = ZYDIS_OPCODE_MAP_DEFAULT,
             .opcode    = 0xd9,
             .has_modrm = 1,
             .memory    = 1,
             .reg       = 4,
             .base      = HOST_RDI,
             .index     = X86_FORM_NONE,
    };
    t->fldenv    = build(t, &spec, &form);
    t->normalize = build(t, &spec, NULL);
    g_assert(t->fldenv && t->normalize);
}

bool x86_vector_init(Error *err)
{
    static GMutex once;
    bool          ok = true;

    g_mutex_lock(&once);
    if (!thunks()) {
        X86Thunks *t = g_new0(X86Thunks, 1);
        t->host_avx  = host_has_avx();
        ok           = map_cache(t, err);
        if (ok) {
            t->by_spec = g_hash_table_new(spec_hash, spec_equal);
            g_mutex_init(&t->lock);
            build_fixed_code(t);
            atomic_store_explicit(&process_thunks, t, memory_order_release);
            struct sigaction action = { .sa_sigaction = on_sigfpe, .sa_flags = SA_SIGINFO | SA_ONSTACK };
            sigemptyset(&action.sa_mask);
            sigaction(SIGFPE, &action, &previous_sigfpe);
        } else {
            g_free(t);
        }
    }
    g_mutex_unlock(&once);
    return ok;
}
