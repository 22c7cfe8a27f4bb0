/* The allow-list of the encoder, by mnemonic. */

#ifndef QUERN_CPU_X86_ENCODE_TABLE_H
#define QUERN_CPU_X86_ENCODE_TABLE_H

#include <Zydis/Zydis.h>
#include <stdint.h>

enum {
    X86_EMIT_REGISTER = 1, /* without a memory operand */
    X86_EMIT_MEMORY   = 2,
    X86_EMIT_OPCODES  = 4, /* only the opcodes that x86_emit_opcodes lists */
};

extern const uint8_t x86_emit_table[ZYDIS_MNEMONIC_MAX_VALUE + 1];

/* Mnemonics that mean more than one may emit (MOV also loads segment and control registers). Ends with mnemonic 0. */
typedef struct X86EmitOpcode {
    uint16_t mnemonic;
    uint8_t  map; /* ZydisOpcodeMap */
    uint8_t  opcode;
} X86EmitOpcode;

extern const X86EmitOpcode x86_emit_opcodes[];

#endif
