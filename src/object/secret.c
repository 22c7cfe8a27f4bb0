/* The object secret: a password or a key from the command line or a file, as it is or in base64, and it may be
 * encrypted with another secret (AES-256 in CBC mode with PKCS #7 padding; key of 32 bytes). It is decrypted once, when
 * it is made; what was given is forgotten then.
 *
 * Specification: QEMU 9.1 manual, "-object secret". Machine lock held. */

#include "object/secret.h"

#include "object/gnutls.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <string.h>
#include <unistd.h>

enum { KEY_BYTES = 32, BLOCK_BYTES = 16, MAX_BYTES = 1 << 20 };

typedef enum SecretFormat { SECRET_RAW, SECRET_BASE64 } SecretFormat;
static const char *const format_names[] = { "raw", "base64", NULL };

typedef struct Secret {
    Object   obj;
    int      format;
    char    *data, *file, *key_id, *iv;
    uint8_t *plain; /* `size` bytes and a 0 byte */
    size_t   size;
} Secret;

static const Secret *find(const Object *container, const char *id, Error *err)
{
    Object *obj = object_child(container, id);
    if (!obj || strcmp(obj->type->name, "secret") != 0 || !obj->complete) {
        error_set(err, obj ? "object '%s' is no secret" : "no secret '%s'", id);
        return NULL;
    }
    return (const Secret *)obj;
}

const uint8_t *secret_find(Object *root, const char *id, size_t *len, Error *err)
{
    const Secret *s = find(object_container(root, "objects"), id, err);
    if (!s) {
        return NULL;
    }
    *len = s->size;
    return s->plain;
}

/* Frees bytes and leaves none of them in memory. */
static void wipe(uint8_t *bytes, size_t size)
{
    if (bytes) {
        explicit_bzero(bytes, size);
        g_free(bytes);
    }
}

/* Takes a string away and leaves nothing of it in memory. */
static void forget(char **text)
{
    if (*text) {
        wipe((uint8_t *)*text, strlen(*text));
        *text = NULL;
    }
}

/* At most MAX_BYTES from a file, with a 0 byte behind. */
static uint8_t *read_file(const char *path, size_t *size, Error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        error_set_errno(err, errno, "file=%s", path);
        return NULL;
    }
    uint8_t *bytes = g_malloc(MAX_BYTES + 2);
    ssize_t  got   = 0;
    for (*size = 0; *size <= MAX_BYTES; *size += (size_t)got) {
        got = TEMP_FAILURE_RETRY(read(fd, bytes + *size, MAX_BYTES + 1 - *size));
        if (got <= 0) {
            break;
        }
    }
    int code = errno;
    close(fd);
    if (got < 0 || *size > MAX_BYTES) {
        wipe(bytes, *size);
        got < 0 ? error_set_errno(err, code, "file=%s", path)
                : error_set(err, "file=%s: a secret has at most %d bytes", path, MAX_BYTES);
        return NULL;
    }
    bytes[*size] = 0;
    return bytes;
}

/* Base64, blanks and line ends apart; a 0 byte follows. `text` ends with one too. */
static uint8_t *decode(const char *text, size_t size, const char *what, size_t *len, Error *err)
{
    gsize    n     = 0;
    uint8_t *bytes = g_malloc(size + 4);
    gint     state = 0;
    guint    save  = 0;
    bool     valid = strlen(text) == size &&
                 strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/= \t\r\n") == size;
    if (valid) {
        n = g_base64_decode_step(text, size, bytes, &state, &save);
    }
    if (!valid || state) { /* state: the last group is not whole */
        wipe(bytes, n);
        error_set(err, "%s is no valid base64", what);
        return NULL;
    }
    bytes[n] = 0;
    *len     = n;
    return bytes;
}

typedef struct Cipher {
    void                           *library;
    __typeof__(gnutls_cipher_init) *init;
    int (*decrypt)(gnutls_cipher_hd_t handle, const void *in, size_t in_len, void *out, size_t out_len);
    __typeof__(gnutls_cipher_deinit) *deinit;
    __typeof__(gnutls_strerror)      *explain;
} Cipher;

static bool decrypt_with(const Cipher *c, const Secret *key, uint8_t *iv, uint8_t *bytes, size_t size, Error *err)
{
    gnutls_cipher_hd_t   handle;
    const gnutls_datum_t k = { key->plain, KEY_BYTES }, v = { iv, BLOCK_BYTES };
    int                  result = c->init(&handle, GNUTLS_CIPHER_AES_256_CBC, &k, &v);
    if (result >= 0) {
        result = c->decrypt(handle, bytes, size, bytes, size);
        c->deinit(handle);
    }
    return result >= 0 || error_set(err, "cannot decrypt it: %s", c->explain(result));
}

/* Length without the padding: its last byte says how long it is, and all of it is that byte. */
static bool strip_padding(const uint8_t *bytes, size_t *size, Error *err)
{
    unsigned pad = *size ? bytes[*size - 1] : 0;
    bool     ok  = pad >= 1 && pad <= BLOCK_BYTES && pad <= *size;
    for (unsigned i = 1; ok && i <= pad; i++) {
        ok = bytes[*size - i] == pad;
    }
    *size -= ok ? pad : 0;
    return ok || error_set(err, "decrypted it has no valid padding: wrong key or iv");
}

/* Decrypts s->plain where it stands. */
static bool decrypt(Secret *s, Error *err)
{
    Cipher               c;
    const GnutlsFunction functions[] = {
        { (void **)&c.init, "gnutls_cipher_init" },
        { (void **)&c.decrypt, "gnutls_cipher_decrypt2" },
        { (void **)&c.deinit, "gnutls_cipher_deinit" },
        { (void **)&c.explain, "gnutls_strerror" },
    };
    const Secret *key = find(s->obj.parent, s->key_id, err);
    if (!key) {
        return error_prefix(err, "keyid=: ");
    }
    if (key->size != KEY_BYTES) {
        return error_set(err, "keyid=%s: a key has %d bytes, not %zu", s->key_id, KEY_BYTES, key->size);
    }
    size_t              iv_size = 0;
    g_autofree uint8_t *iv      = decode(s->iv, strlen(s->iv), "iv", &iv_size, err);
    if (!iv) {
        return false;
    }
    if (iv_size != BLOCK_BYTES) {
        return error_set(err, "iv=: an initial vector has %d bytes, not %zu", BLOCK_BYTES, iv_size);
    }
    if (!s->size || s->size % BLOCK_BYTES) {
        return error_set(err, "what is encrypted has a multiple of %d bytes, not %zu", BLOCK_BYTES, s->size);
    }
    if (!(c.library = gnutls_open(functions, G_N_ELEMENTS(functions), err))) {
        return false;
    }
    bool ok = decrypt_with(&c, key, iv, s->plain, s->size, err) && strip_padding(s->plain, &s->size, err);
    dlclose(c.library);
    if (ok) {
        s->plain[s->size] = 0;
    }
    return ok;
}

static bool check(const Secret *s, Error *err)
{
    if (!s->data == !s->file) {
        return error_set(err, s->data ? "data= and file= exclude each other" : "it needs data= or file=");
    }
    if (!s->key_id != !s->iv) {
        return error_set(err, s->iv ? "iv= needs keyid=" : "keyid= needs iv=");
    }
    return !s->key_id || s->format == SECRET_BASE64 || !s->data ||
           error_set(err, "what is encrypted has to be format=base64 in data=");
}

static bool take(Secret *s, Error *err)
{
    size_t   size  = 0;
    uint8_t *given = s->file ? read_file(s->file, &size, err) : (uint8_t *)g_strdup(s->data);
    if (!given) {
        return false;
    }
    if (!s->file) {
        size = strlen(s->data);
    }
    s->plain = given;
    s->size  = size;
    if (s->format == SECRET_BASE64) {
        s->plain = decode((const char *)given, size, s->file ? "what is in the file" : "data", &s->size, err);
        wipe(given, size);
    }
    return s->plain && (!s->key_id || decrypt(s, err));
}

static bool secret_complete(Object *obj, Error *err)
{
    Secret *s  = (Secret *)obj;
    bool    ok = check(s, err) && take(s, err);
    forget(&s->data);
    return ok;
}

static void secret_finalize(Object *obj)
{
    Secret *s = (Secret *)obj;
    wipe(s->plain, s->size);
    forget(&s->data);
}

static const Field secret_properties[] = {
    FIELD(Secret, data, "data", .write_only = true, .help = "the secret itself; others on the host may see it"),
    FIELD(Secret, file, "file", .help = "file that holds it"),
    FIELD(Secret, format, "format", .names = format_names, .help = "how it is written"),
    FIELD(Secret, key_id, "keyid", .help = "secret with the key of 32 bytes that it is encrypted with (AES-256-CBC)"),
    FIELD(Secret, iv, "iv", .help = "initial vector of 16 bytes, in base64"),
    {},
};

OBJECT_TYPE(secret) = {
    .name       = "secret",
    .parent     = "secret_common",
    .class      = OBJECT_CLASS_USER,
    .help       = "a password or a key",
    .size       = sizeof(Secret),
    .properties = secret_properties,
    .complete   = secret_complete,
    .finalize   = secret_finalize,
};
