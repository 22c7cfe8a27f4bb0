/* The names of devices and objects that QEMU 9.1 has for x86-64 and Quern may not have yet. A wrong name is told from
 * one that is still to come. Types that are registered are found before this is asked. */

#ifndef QUERN_OBJECT_SURFACE_H
#define QUERN_OBJECT_SURFACE_H

#include "object/object.h"

bool surface_has(ObjectClass class, const char *name);

/* A type that -device does not make, but -global may name: parts of boards, and abstract bases. */
bool surface_has_internal(const char *name);

struct NameMatch;
void surface_match_names(ObjectClass class, struct NameMatch *match);
void surface_match_internal(struct NameMatch *match);

/* For tests: are the lists sorted, and no name there twice? */
bool surface_is_sorted(void);

#endif
