/* The encoder: makes x86-64 host instructions out of decoded fields, for thunks and for the translator.
 *
 * Nothing is ever copied from guest bytes. What may be emitted at all stands in one table (encode_table.c), by
 * mnemonic and kind of operand; everything else is refused, so that no guest instruction that acts on Quern itself
 * (system calls, XRSTOR, WRPKRU, segment loads, transactions ...) can reach the host CPU.
 *
 * Specification: Intel SDM volume 2 (December 2023), chapter 2. Pure functions; any thread. */

#ifndef QUERN_CPU_X86_ENCODE_H
#define QUERN_CPU_X86_ENCODE_H

#include <Zydis/Zydis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Register number that stands for "no register" in X86Form's base and index. */
#define X86_FORM_NONE 0xff

/* One instruction. Register numbers are the host's: 0 to 15, of whatever class the instruction wants. All-zero
 * bytes wherever a field is not used, so that forms can be compared and hashed as memory. */
typedef struct X86Form {
    uint16_t mnemonic; /* ZydisMnemonic: the allow-list's key */
    uint8_t  vex;      /* 0 or 1 */
    uint8_t  map;      /* ZydisOpcodeMap: DEFAULT (one byte), 0F, 0F38, 0F3A */
    uint8_t  prefix;   /* mandatory prefix, or 66h as the operand size: 0, 66h, F2h, F3h */
    uint8_t  opcode;
    uint8_t  w, l; /* REX.W or VEX.W; VEX.L (1: 256 bits) */
    uint8_t  has_modrm;
    uint8_t  memory;             /* the r/m operand is memory */
    uint8_t  reg;                /* ModRM.reg: a register or an opcode extension */
    uint8_t  rm;                 /* r/m when it is a register; without ModRM, the register in the opcode */
    uint8_t  vvvv;               /* VEX only; 0 when unused (emitted as 1111b) */
    uint8_t  base, index, scale; /* memory; base and index may be X86_FORM_NONE; scale is 0 to 3 */
    uint8_t  rip_relative;       /* instead of base and index; disp counts from the end of the instruction */
    uint8_t  imm_size;           /* bytes: 0, 1, 2, 4, 8 */
    uint8_t  spare[2];
    int32_t  disp;
    uint64_t imm;
} X86Form;

/* Fills a form from a decoded instruction: opcode, prefixes, W and L, ModRM.reg as extension where no operand uses
 * it, immediates. Registers and the memory operand are for the caller to choose: they come out as 0. The W bit of
 * an instruction decoded outside 64-bit mode is dropped where it would only size a general register.
 * false: an encoding (EVEX, XOP ...) or a prefix that cannot be expressed. */
bool x86_form_from_decoded(X86Form *form, const ZydisDecodedInstruction *decoded, const ZydisDecodedOperand *operands);

/* May this be emitted? Asks the table. */
bool x86_form_allowed(const X86Form *form);

/* Writes the instruction to `out`, which has room for 15 bytes, and returns its length; 0 when the table does not
 * allow it or the fields make no sense. */
size_t x86_encode(const X86Form *form, uint8_t out[15]);

/* A place to emit to. `failed` is sticky: check it once at the end. */
typedef struct X86Emit {
    uint8_t *next, *end;
    bool     failed;
} X86Emit;

void x86_emit(X86Emit *emit, const X86Form *form);

/* The few instructions that surround a thunk's own. Addresses are [base + disp]. */
typedef enum X86Glue {
    X86_GLUE_MOVUPS_LOAD, /* xmm, [m] */
    X86_GLUE_MOVUPS_STORE,
    X86_GLUE_VMOVUPS_LOAD,
    X86_GLUE_VMOVUPS_STORE,
    X86_GLUE_VINSERTF128,  /* ymm[255:128] = [m] */
    X86_GLUE_VEXTRACTF128, /* [m] = ymm[255:128] */
    X86_GLUE_MOVQ_MMX_LOAD,
    X86_GLUE_MOVQ_MMX_STORE,
    X86_GLUE_MOV64_LOAD,
    X86_GLUE_MOV64_STORE,
    X86_GLUE_MOV16_STORE,
    X86_GLUE_MOVZX16_LOAD,
    X86_GLUE_LDMXCSR,
    X86_GLUE_STMXCSR,
    X86_GLUE_FXRSTOR64,
    X86_GLUE_FXSAVE64,
} X86Glue;

void x86_emit_glue(X86Emit *emit, X86Glue what, unsigned reg, unsigned base, int32_t disp);
void x86_emit_ldmxcsr_rip(X86Emit *emit, int32_t disp);
void x86_emit_plain(X86Emit *emit, ZydisMnemonic mnemonic); /* VZEROUPPER, EMMS, FNINIT, LAHF, SAHF, RET */
void x86_emit_seto_al(X86Emit *emit);
void x86_emit_add_al(X86Emit *emit, uint8_t imm);
void x86_emit_mov_eax(X86Emit *emit, uint32_t imm);

#endif
