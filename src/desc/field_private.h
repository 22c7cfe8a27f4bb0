/* What the files of desc/ share: members as numbers, ranges, places. */

#ifndef QUERN_DESC_FIELD_PRIVATE_H
#define QUERN_DESC_FIELD_PRIVATE_H

#include "desc/field.h"

/* Wide enough for every integer field, signed or not. */
typedef __int128 WideInt;

static inline void *field_member(const Field *field, const void *object)
{
    return (char *)object + field->offset;
}

static inline bool field_is_integer(const Field *field)
{
    return !field->custom && field->kind >= FIELD_U8 && field->kind <= FIELD_I64;
}

/* Elements of a list that are pointers themselves. */
static inline bool field_element_is_pointer(const Field *list)
{
    return list->element && !list->element->custom &&
           (list->element->kind == FIELD_STRING || list->element->kind == FIELD_JSON);
}

/* Where element i of a list is: what .element with offset 0, or .sub, describes. */
void *field_list_element(const Field *list, GPtrArray *array, guint i);

/* Makes an element with defaults, and frees one. */
gpointer field_element_new(const Field *list);
void     field_element_free(const Field *list, gpointer element);
void     field_list_free(const Field *list, GPtrArray *array); /* NULL is fine */

WideInt field_load_int(const Field *field, const void *member);
void    field_store_int(const Field *field, void *member, WideInt value);

/* The values that the type and .min and .max allow. */
void field_int_range(const Field *field, WideInt *low, WideInt *high);

/* "takes 1 to 8, not 9", with no name in front. */
bool field_check_int(const Field *field, WideInt value, Error *err);

/* Index of a value of an enumeration, -1 for none. */
int field_find_name(const Field *field, const char *name);

/* The field `name` in `table` and the FIELDS_OF tables inside it. *object becomes the struct it is a member of. */
const Field *field_locate(const Field *table, void **object, const char *name);

/* Default value as text; NULL when there is none worth showing. The caller frees. */
char *field_default_text(const Field *field);

void field_init(const Field *field, void *object);
void field_clear(const Field *field, void *object);

Json *field_print(const Field *field, const void *object);

#endif
