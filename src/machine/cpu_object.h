/* What management sees of a vCPU in the tree of objects, of type "MODEL-x86_64-cpu": /machine/unattached/device[n] for
 * those of -smp, /machine/peripheral/ID and /machine/peripheral-anon/device[n] for those of -device and device_add. */

#ifndef QUERN_MACHINE_CPU_OBJECT_H
#define QUERN_MACHINE_CPU_OBJECT_H

#include "machine/machine.h"

/* What the type's name has behind the model's. */
#define CPU_TYPE_SUFFIX "-x86_64-cpu"

typedef struct CpuObject {
    Object  obj;
    X86Cpu *cpu; /* borrowed: it goes after this */
    char   *id;  /* NULL: it has none */
    bool    hotplugged;
} CpuObject;

/* Puts the vCPU into the tree, and takes it out again. One that -device made (`added`) may have an id, which nothing
 * else has. Machine lock held. */
CpuObject *cpu_object_add(Machine *m, X86Cpu *cpu, const char *id, bool added);
void       cpu_object_remove(Machine *m, X86Cpu *cpu);

/* NULL: the object is none. */
X86Cpu *cpu_object_cpu(const Object *obj);

/* The vCPU's object; NULL: it has none. */
CpuObject *cpu_object_find(Machine *m, const X86Cpu *cpu);

/* Where the vCPU of an index sits, each part counted within the one above. */
X86Topology cpu_place(const X86Topology *topology, unsigned index);

/* The type of this machine's vCPUs. The caller frees. */
char *cpu_type_name(const Machine *m);

#endif
