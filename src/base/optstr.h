/* Option strings: "driver,key=value,nested.key=value,list.0=x,flag".
 *
 * Parsed into a Json object whose leaves are all strings, so that options, JSON on the command line and QMP
 * meet in one shape before the Field tables (desc/field.h) give them types.
 *
 *   ",,"            a literal comma inside a value
 *   first value     goes to the implied key when it has no '='
 *   bare key        "on";  a bare "nokey" is not special
 *   a.b=1           object a with member b
 *   a=x,a.b=1       object a whose member "" is x
 *   a.0=x,a.1=y     list a
 *   a=x,a=y         Json list with `repeat` set: a list Field takes all, any other Field the last */

#ifndef QUERN_BASE_OPTSTR_H
#define QUERN_BASE_OPTSTR_H

#include "base/json.h"

/* Parses `text`, or, when it starts with '{', the JSON object in it. `implied` may be NULL. NULL on error. */
Json *optstr_parse(const char *text, const char *implied, Error *err);

/* Writes one value with its commas doubled. */
void optstr_append_escaped(GString *out, const char *value);

#endif
