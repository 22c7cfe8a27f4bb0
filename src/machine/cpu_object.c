/* What management sees of a vCPU in the tree of objects. Machine lock held. */

#include "machine/cpu_object.h"

OBJECT_TYPE(cpu_object) = {
    .name   = "x86_64-cpu",
    .parent = "x86_64-cpu",
    .help   = "a vCPU",
    .class  = OBJECT_CLASS_CPU,
    .size   = sizeof(CpuObject),
};

static Object *unattached(Machine *m)
{
    return object_container(object_container(m->platform.objects, "machine"), "unattached");
}

void cpu_object_add(Machine *m, X86Cpu *cpu)
{
    Object    *parent = unattached(m);
    CpuObject *node   = object_new(&cpu_object_type);
    node->cpu         = cpu;
    for (guint n = parent->children->len; !node->obj.parent; n++) {
        g_auto(Error) taken   = { 0 };
        g_autofree char *name = g_strdup_printf("device[%u]", n);
        object_add_child(parent, name, &node->obj, &taken);
    }
    node->obj.complete = true;
    object_unref(&node->obj); /* the tree holds it */
}

X86Cpu *cpu_object_cpu(const Object *obj)
{
    return obj->type == &cpu_object_type ? ((const CpuObject *)obj)->cpu : NULL;
}

Object *cpu_object_find(Machine *m, const X86Cpu *cpu)
{
    Object *parent = unattached(m);
    for (guint i = 0; i < parent->children->len; i++) {
        if (cpu_object_cpu(parent->children->pdata[i]) == cpu) {
            return parent->children->pdata[i];
        }
    }
    return NULL;
}

void cpu_object_remove(Machine *m, X86Cpu *cpu)
{
    Object *obj = cpu_object_find(m, cpu);
    if (obj) {
        object_remove(obj);
    }
}

X86Topology cpu_place(const X86Topology *t, unsigned index)
{
    X86Topology place;
    place.threads = index % t->threads;
    index /= t->threads;
    place.cores = index % t->cores;
    index /= t->cores;
    place.modules = index % t->modules;
    index /= t->modules;
    place.dies    = index % t->dies;
    place.sockets = index / t->dies;
    return place;
}
