/* The allow-list of the encoder, by mnemonic. */

#ifndef QUERN_CPU_X86_ENCODE_TABLE_H
#define QUERN_CPU_X86_ENCODE_TABLE_H

#include <Zydis/Zydis.h>
#include <stdint.h>

enum { X86_EMIT_REGISTER = 1 /* without a memory operand */, X86_EMIT_MEMORY = 2 };

extern const uint8_t x86_emit_table[ZYDIS_MNEMONIC_MAX_VALUE + 1];

#endif
