/* The object tls-cipher-suites: the cipher suites that the host's policy allows, in order, for firmware to keep to
 * (-fw_cfg gen_id=). GnuTLS is loaded only when somebody asks.
 * Specification: QEMU 9.1 manual, tls-cipher-suites; UEFI 2.10, 28.10.2 (EFI_TLS_CIPHER: two bytes, as IANA lists
 * them). Machine lock. */

#include "object/gnutls.h"
#include "object/object.h"

#include <dlfcn.h>
#include <gnutls/gnutls.h>

enum { MAX_SUITES = 1024 };

typedef struct TlsCiphers {
    Object obj;
    char  *priority; /* NULL: GnuTLS's default */
    char  *absent_text;
    bool   absent_flag;
} TlsCiphers;

typedef struct Gnutls {
    void                                               *library;
    __typeof__(gnutls_priority_init)                   *init;
    __typeof__(gnutls_priority_deinit)                 *deinit;
    __typeof__(gnutls_priority_get_cipher_suite_index) *get_index;
    __typeof__(gnutls_cipher_suite_info)               *info;
    __typeof__(gnutls_strerror)                        *explain;
} Gnutls;

static bool load(Gnutls *g, Error *err)
{
    const GnutlsFunction functions[] = {
        { (void **)&g->init, "gnutls_priority_init" },
        { (void **)&g->deinit, "gnutls_priority_deinit" },
        { (void **)&g->get_index, "gnutls_priority_get_cipher_suite_index" },
        { (void **)&g->info, "gnutls_cipher_suite_info" },
        { (void **)&g->explain, "gnutls_strerror" },
    };
    g->library = gnutls_open(functions, G_N_ELEMENTS(functions), err);
    return g->library != NULL;
}

static void collect(const Gnutls *g, gnutls_priority_t priority, GByteArray *out)
{
    for (unsigned i = 0; i < MAX_SUITES; i++) {
        unsigned      index;
        unsigned char id[2];
        int           result = g->get_index(priority, i, &index);
        if (result == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE) {
            break;
        }
        if (result == 0 && g->info(index, id, NULL, NULL, NULL, NULL)) {
            g_byte_array_append(out, id, sizeof id);
        }
    }
}

static GBytes *tls_ciphers_generate(Object *obj, Error *err)
{
    const TlsCiphers *t = (const TlsCiphers *)obj;
    Gnutls            g;
    gnutls_priority_t priority;
    const char       *where = NULL;

    if (!load(&g, err)) {
        return NULL;
    }
    GByteArray *out    = g_byte_array_new();
    int         result = g.init(&priority, t->priority, &where);
    if (result < 0) {
        error_set(err, "priority=%s: %s%s%s", t->priority, g.explain(result), where && *where ? ", at " : "",
                  where ? where : "");
    } else {
        collect(&g, priority, out);
        g.deinit(priority);
    }
    dlclose(g.library);
    GBytes *bytes = g_byte_array_free_to_bytes(out);
    if (result < 0) {
        g_bytes_unref(bytes);
        return NULL;
    }
    return bytes;
}

/* Mistakes show where the object is made. */
static bool tls_ciphers_complete(Object *obj, Error *err)
{
    g_autoptr(GBytes) bytes = tls_ciphers_generate(obj, err);
    return bytes != NULL;
}

static const Field tls_ciphers_properties[] = {
    FIELD(TlsCiphers, priority, "priority", .help = "priority string of GnuTLS; its default policy when not given"),
    FIELD(TlsCiphers, absent_text, "dir", .unsupported = true, .help = "directory with credentials"),
    FIELD(TlsCiphers, absent_text, "endpoint", .unsupported = true, .help = "client or server"),
    FIELD(TlsCiphers, absent_flag, "verify-peer", .unsupported = true, .help = "check the other side's credentials"),
    {},
};

OBJECT_TYPE(tls_cipher_suites) = {
    .name       = "tls-cipher-suites",
    .parent     = "tls-creds",
    .class      = OBJECT_CLASS_USER,
    .help       = "cipher suites that the host's policy allows",
    .size       = sizeof(TlsCiphers),
    .properties = tls_ciphers_properties,
    .complete   = tls_ciphers_complete,
    .generate   = tls_ciphers_generate,
};
