/* GnuTLS, loaded when something needs it and only then. Any thread. */

#ifndef QUERN_OBJECT_GNUTLS_H
#define QUERN_OBJECT_GNUTLS_H

#include "base/error.h"

typedef struct GnutlsFunction {
    void      **function; /* is set */
    const char *name;
} GnutlsFunction;

/* Opens the library and finds functions. The caller gives what it returns to dlclose(). NULL: it is not there. */
void *gnutls_open(const GnutlsFunction *functions, unsigned n, Error *err);

#endif
