/* Objects: everything with a name in the tree that management sees (/objects, /machine, /chardevs, ...).
 *
 * An ObjectType describes a kind of object; types register themselves by being placed in a linker section
 * (OBJECT_TYPE, DEVICE_TYPE, ...), so that there is no list to keep. An Object is embedded first in its struct.
 * The tree is changed under the machine lock. */

#ifndef QUERN_OBJECT_OBJECT_H
#define QUERN_OBJECT_OBJECT_H

#include "desc/field.h"

typedef struct Object     Object;
typedef struct ObjectType ObjectType;

typedef enum ObjectClass {
    OBJECT_CLASS_NONE,
    OBJECT_CLASS_USER,    /* -object and object_add create it */
    OBJECT_CLASS_DEVICE,  /* a DeviceType, devices/device.h */
    OBJECT_CLASS_CHARDEV, /* a CharType, char/char.h */
    OBJECT_CLASS_MACHINE,
    OBJECT_CLASS_ACCEL,
    OBJECT_CLASS_CPU,
    OBJECT_CLASS_BUS,
} ObjectClass;

struct ObjectType {
    const char *name;
    const char *parent; /* as QMP's qom-list-types shows it; NULL for "object" */
    const char *help;
    ObjectClass class;
    size_t       size;                           /* of the struct that embeds Object */
    const Field *properties;                     /* settable before completion; later only .live ones. May be NULL */
    bool (*complete)(Object *obj, Error *err);   /* user objects: all properties are set; may be NULL */
    bool (*can_delete)(Object *obj, Error *err); /* user objects: NULL for "always" */
    void (*changed)(Object *obj, const char *property); /* a .live property was set after completion; may be NULL */
    GBytes *(*generate)(Object *obj, Error *err);       /* what -fw_cfg gen_id= gives to the guest; NULL: nothing */
    void (*finalize)(Object *obj);                      /* frees what properties do not own; may be NULL */
};

struct Object {
    const ObjectType *type;
    char             *name; /* NULL while it is not in the tree */
    Object           *parent;
    GPtrArray        *children; /* owned */
    int               refs;
    bool              complete;   /* or realized */
    void (*release)(Object *obj); /* of the class of types (Device ...): after the type's finalize; may be NULL */
};

/* Registers a type: OBJECT_TYPE(rng_random) = { .name = "rng-random", .class = OBJECT_CLASS_USER, ... };
 * The registry is the linker's, constant and in no order. Names are unique within a class. */
#define OBJECT_TYPE(identifier)                                                                                        \
    static const ObjectType        identifier##_type;                                                                  \
    static const ObjectType *const identifier##_entry __attribute__((used, section("quern_types"))) =                  \
        (const ObjectType *)&identifier##_type;                                                                        \
    static const ObjectType identifier##_type

const ObjectType *object_type_find(const char *name); /* of any class but CHARDEV, MACHINE, ACCEL. NULL: unknown */
const ObjectType *object_type_find_class(ObjectClass class, const char *name);
void              object_type_foreach(void (*visit)(const ObjectType *type, void *opaque), void *opaque);

/* The error for a name that object_type_find_class() does not know: "X 'foo': not supported yet" for a name of the
 * surface (object/surface.h), else "no X 'foo' (did you mean 'bar'?)". `what` is X. Returns false. */
bool object_type_unknown(ObjectClass class, const char *what, const char *name, Error *err);

/* Allocates and sets defaults. One reference for the caller. */
void   *object_new(const ObjectType *type);
Object *object_ref(Object *obj);
void    object_unref(Object *obj); /* finalizes at 0: children first */

/* Frees an object that object_new() made and nobody used but to set properties: finalize is not called. */
void object_discard(Object *obj);

/* May `id` name something that a user makes? A letter, then letters, digits, '-', '.' and '_'. */
bool object_check_id(const char *id, Error *err);

/* Puts obj under parent; the tree takes a reference. false when the name is taken. */
bool    object_add_child(Object *parent, const char *name, Object *obj, Error *err);
void    object_remove(Object *obj); /* from its parent; drops the tree's reference */
Object *object_child(const Object *parent, const char *name);
Object *object_container(Object *parent, const char *name); /* finds or makes a plain container */
char   *object_path(const Object *obj);                     /* "/objects/mem0"; the caller frees */

/* "/machine/peripheral/x", or the end of a path ("x", "peripheral/x") that is unique below root. NULL: not found. */
Object *object_resolve(Object *root, const char *path);

/* One property. What is complete changes only in its .live properties. */
bool  object_set(Object *obj, const char *property, const Json *value, bool lenient, Error *err);
Json *object_get(Object *obj, const char *property, Error *err);

/* Root of a fresh tree: containers "objects", "chardevs", "machine". */
Object *object_root_new(void);

/* -object / object-add: {"qom-type": T, "id": I, ...}. Properties are set in the order given. On failure nothing is
 * left behind. */
Object *object_create_user(Object *root, const Json *options, bool lenient, Error *err);
bool    object_delete_user(Object *root, const char *id, Error *err);

#endif
