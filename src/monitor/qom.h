/* The tree of objects as management sees it: types by QEMU's names, and properties of every node. Machine lock held. */

#ifndef QUERN_MONITOR_QOM_H
#define QUERN_MONITOR_QOM_H

#include "monitor/monitor.h"

/* By an absolute path, or the end of one that is unique. NULL: DeviceNotFound. */
Object *qom_find(Machine *m, const char *path, Error *err);

/* "pc-q35-9.1-machine", "chardev-socket", "qemu64-x86_64-cpu", "edu". The caller frees. */
char *qom_type_name(Machine *m, const Object *obj);

/* [{"name", "type", "description"?, "default-value"?}]: its properties, its children (child<TYPE>) and links. */
Json *qom_list(Machine *m, Object *obj);

Json *qom_get(Machine *m, Object *obj, const char *property, Error *err);
bool  qom_set(Machine *m, Object *obj, const char *property, const Json *value, Error *err);

/* Types by those names. An entry of the type registry, a model of vCPUs, or a base type that others have. */
typedef struct QomType {
    char             *name;
    const char       *parent; /* NULL: "object" itself */
    bool              abstract;
    const ObjectType *type;      /* NULL: a base type or a CPU model */
    char             *cpu_model; /* NULL: none */
} QomType;

GPtrArray *qom_types(void); /* QomType *, freed with the array */

/* Is `type` of that kind: its name, one of its bases, or an interface of it ("user-creatable")? */
bool qom_type_is(GPtrArray *types, const QomType *type, const char *kind);

const QomType *qom_type_find(GPtrArray *types, const char *name);

/* What can be set on objects of a type, as device-list-properties tells it. */
Json *qom_type_properties(Machine *m, const QomType *type, Error *err);

#endif
