/* Loads GnuTLS. */

#include "object/gnutls.h"

#include <dlfcn.h>
#include <stddef.h>

void *gnutls_open(const GnutlsFunction *functions, unsigned n, Error *err)
{
    void *library = dlopen("libgnutls.so.30", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        error_set(err, "it needs GnuTLS (Debian: libgnutls30): %s", dlerror());
        return NULL;
    }
    for (unsigned i = 0; i < n; i++) {
        *functions[i].function = dlsym(library, functions[i].name);
        if (!*functions[i].function) {
            dlclose(library);
            error_set(err, "this GnuTLS has no %s", functions[i].name);
            return NULL;
        }
    }
    return library;
}
