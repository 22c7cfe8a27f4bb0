/* What management sees of a vCPU in the tree of objects: /machine/unattached/device[n], of type "MODEL-x86_64-cpu". */

#ifndef QUERN_MACHINE_CPU_OBJECT_H
#define QUERN_MACHINE_CPU_OBJECT_H

#include "machine/machine.h"

typedef struct CpuObject {
    Object  obj;
    X86Cpu *cpu; /* borrowed: it goes after this */
} CpuObject;

/* Puts the vCPU into the tree, and takes it out again. Machine lock held. */
void cpu_object_add(Machine *m, X86Cpu *cpu);
void cpu_object_remove(Machine *m, X86Cpu *cpu);

/* NULL: the object is none. */
X86Cpu *cpu_object_cpu(const Object *obj);

/* The vCPU's object; NULL: it has none. */
Object *cpu_object_find(Machine *m, const X86Cpu *cpu);

/* Where the vCPU of an index sits, each part counted within the one above. */
X86Topology cpu_place(const X86Topology *topology, unsigned index);

#endif
