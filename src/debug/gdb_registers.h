/* The x86 registers as gdb numbers them: always those of a 64-bit CPU, whatever mode it is in.
 * The vCPU is stopped; machine lock held. */

#ifndef QUERN_DEBUG_GDB_REGISTERS_H
#define QUERN_DEBUG_GDB_REGISTERS_H

#include "cpu/x86/x86.h"

unsigned gdb_x86_register_count(void);
unsigned gdb_x86_register_size(unsigned reg); /* bytes, at most 16 */
void     gdb_x86_read_register(X86Cpu *cpu, unsigned reg, uint8_t *value);

/* False for what cannot be changed, unless it is unchanged. */
bool gdb_x86_write_register(X86Cpu *cpu, unsigned reg, const uint8_t *value);

/* target.xml. The caller frees. */
char *gdb_x86_description(void);

#endif
