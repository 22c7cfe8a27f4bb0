/* What management sees of a vCPU in the tree of objects. Machine lock held. */

#include "machine/cpu_object.h"

#include <string.h>

static void finalize(Object *obj)
{
    g_free(((CpuObject *)obj)->id);
}

OBJECT_TYPE(cpu_object) = {
    .name     = "x86_64-cpu",
    .parent   = "x86_64-cpu",
    .help     = "a vCPU",
    .class    = OBJECT_CLASS_CPU,
    .size     = sizeof(CpuObject),
    .finalize = finalize,
};

static Object *container(Machine *m, const char *name)
{
    return object_container(object_container(m->platform.objects, "machine"), name);
}

CpuObject *cpu_object_add(Machine *m, X86Cpu *cpu, const char *id, bool added)
{
    Object    *parent = container(m, id ? "peripheral" : added ? "peripheral-anon" : "unattached");
    CpuObject *node   = object_new(&cpu_object_type);
    node->cpu         = cpu;
    node->id          = g_strdup(id);
    node->hotplugged  = m->platform.started;
    for (guint n = parent->children->len; !node->obj.parent; n++) {
        g_auto(Error) taken   = { 0 };
        g_autofree char *name = id ? g_strdup(id) : g_strdup_printf("device[%u]", n);
        bool             ok   = object_add_child(parent, name, &node->obj, &taken);
        g_assert(ok || !id);
    }
    node->obj.complete = true;
    object_unref(&node->obj); /* the tree holds it */
    return node;
}

X86Cpu *cpu_object_cpu(const Object *obj)
{
    return obj->type == &cpu_object_type ? ((const CpuObject *)obj)->cpu : NULL;
}

CpuObject *cpu_object_find(Machine *m, const X86Cpu *cpu)
{
    static const char *const places[] = { "unattached", "peripheral", "peripheral-anon" };
    for (unsigned p = 0; p < G_N_ELEMENTS(places); p++) {
        Object *parent = container(m, places[p]);
        for (guint i = 0; i < parent->children->len; i++) {
            if (cpu_object_cpu(parent->children->pdata[i]) == cpu) {
                return parent->children->pdata[i];
            }
        }
    }
    return NULL;
}

void cpu_object_remove(Machine *m, X86Cpu *cpu)
{
    CpuObject *node = cpu_object_find(m, cpu);
    if (node) {
        object_remove(&node->obj);
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

char *cpu_type_name(const Machine *m)
{
    const char      *text  = m->config.cpu_model ? m->config.cpu_model : machine_type(m)->default_cpu;
    g_autofree char *model = text ? g_strndup(text, strcspn(text, ",")) : g_strdup("qemu64");
    return g_strconcat(model, CPU_TYPE_SUFFIX, NULL);
}
