/* secret: passwords and keys from the command line and from files, encrypted ones. And audio devices, which are as
 * small. */

#include "audio/audio.h"
#include "base/optstr.h"
#include "object/secret.h"

#include <glib/gstdio.h>
#include <string.h>

/* Key of the bytes 0 to 31, initial vector of the bytes a0 to af (hexadecimal); made with openssl enc. */
#define KEY   "secret,id=key,format=base64,data=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define IV    "iv=oKGio6SlpqeoqaqrrK2urw=="
#define SHORT "agVmoiJU2NXwRs1MV6hdaQ=="
#define WHOLE "zhzzpOO4exObo8/xCs41tgbZay4YS/Irc9MbpL4U2Mk="

static Object *make(Object *root, const char *text, Error *err)
{
    g_autoptr(Json) options = optstr_parse(text, "qom-type", err);
    return options ? object_create_user(root, options, true, err) : NULL;
}

static void expect(Object *root, const char *text, const char *id, const char *plain, size_t n)
{
    g_auto(Error) err = { 0 };
    size_t len        = 0;
    make(root, text, &err);
    g_assert_cmpstr(err.text, ==, NULL);
    const uint8_t *bytes = secret_find(root, id, &len, &err);
    g_assert_cmpstr(err.text, ==, NULL);
    g_assert_cmpmem(bytes, len, plain, n);
    g_assert_cmpint(bytes[len], ==, 0);
}

static void test_plain(void)
{
    Object *root = object_root_new();
    expect(root, "secret,id=a,data=letmein", "a", "letmein", 7);
    expect(root, "secret,id=b,format=base64,data=AAECAw==", "b", "\0\1\2\3", 4);
    expect(root, "secret,id=c,data=", "c", "", 0);
    g_auto(Error) err      = { 0 };
    g_autoptr(Json) value  = object_get(object_child(object_container(root, "objects"), "a"), "data", &err);
    g_autofree char *shown = value ? json_print(value, false) : NULL;
    g_assert_true(!shown || !strstr(shown, "letmein"));
    object_unref(root);
}

static void test_file(void)
{
    g_autofree char *dir = g_dir_make_tmp("quern-XXXXXX", NULL);
    g_autofree char *raw = g_build_filename(dir, "raw", NULL), *text = g_build_filename(dir, "text", NULL);
    g_autofree char *a    = g_strdup_printf("secret,id=a,file=%s", raw);
    g_autofree char *b    = g_strdup_printf("secret,id=b,format=base64,file=%s", text);
    Object          *root = object_root_new();
    g_assert_true(g_file_set_contents(raw, "\0x\xff", 3, NULL) && g_file_set_contents(text, "QUJD\nREU=\n", -1, NULL));
    expect(root, a, "a", "\0x\xff", 3);
    expect(root, b, "b", "ABCDE", 5);
    object_unref(root);
    g_unlink(raw);
    g_unlink(text);
    g_rmdir(dir);
}

static void test_encrypted(void)
{
    Object *root      = object_root_new();
    g_auto(Error) err = { 0 };
    g_assert_nonnull(make(root, KEY, &err));
    expect(root, "secret,id=a,keyid=key,format=base64,data=" SHORT "," IV, "a", "letmein", 7);
    expect(root, "secret,id=b,keyid=key,format=base64,data=" WHOLE "," IV, "b", "0123456789abcdef", 16);
    object_unref(root);
}

static void test_errors(void)
{
    static const char *const bad[][2] = {
        { "secret,id=a", "it needs data= or file=" },
        { "secret,id=a,data=x,file=/y", "data= and file= exclude each other" },
        { "secret,id=a,file=/no/such/file", "No such file" },
        { "secret,id=a,file=/dev/zero", "at most" },
        { "secret,id=a,format=base64,data=AAE", "no valid base64" },
        { "secret,id=a,format=base64,data=A!==", "no valid base64" },
        { "secret,id=a,data=x,keyid=key", "keyid= needs iv=" },
        { "secret,id=a,data=x," IV, "iv= needs keyid=" },
        { "secret,id=a,data=x,keyid=key," IV, "has to be format=base64" },
        { "secret,id=a,format=base64,data=" SHORT ",keyid=no," IV, "no secret 'no'" },
        { "secret,id=a,format=base64,data=" SHORT ",keyid=small," IV, "a key has 32 bytes, not 5" },
        { "secret,id=a,format=base64,data=" SHORT ",keyid=a," IV, "no secret" },
        { "secret,id=a,format=base64,data=" SHORT ",keyid=key,iv=AAEC", "has 16 bytes, not 3" },
        { "secret,id=a,format=base64,data=AAEC,keyid=key," IV, "multiple of 16 bytes, not 3" },
        { "secret,id=a,format=base64,data=AAECAwQFBgcICQoLDA0ODw==,keyid=key," IV, "no valid padding" },
    };
    Object *root      = object_root_new();
    g_auto(Error) err = { 0 };
    g_assert_nonnull(make(root, KEY, &err));
    g_assert_nonnull(make(root, "secret,id=small,data=12345", &err));
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_auto(Error) problem = { 0 };
        g_assert_null(make(root, bad[i][0], &problem));
        if (!strstr(problem.text, bad[i][1])) {
            g_error("%s: %s", bad[i][0], problem.text);
        }
        g_assert_null(object_child(object_container(root, "objects"), "a"));
    }
    size_t len;
    g_assert_null(secret_find(root, "none", &len, &err));
    object_unref(root);
}

static void test_audio(void)
{
    g_auto(Error) err = { 0 };
    AudioHub *hub     = audio_hub_new();
    g_autoptr(Json) options =
        optstr_parse("none,id=a,timer-period=500,in.frequency=8000,out.fixed-settings=off", "driver", &err);
    g_assert_true(audio_create(hub, options, true, &err));
    g_assert_false(audio_create(hub, options, true, &err));
    g_autoptr(Json) list   = audio_describe(hub);
    g_autofree char *shown = json_print(list, false);
    g_assert_cmpint(list->n, ==, 1);
    g_assert_nonnull(strstr(shown, "\"frequency\": 8000"));
    g_assert_nonnull(strstr(shown, "\"timer-period\": 500"));
    g_assert_nonnull(strstr(shown, "\"driver\": \"none\""));
    g_assert_null(strstr(shown, "voices"));
    audio_hub_free(hub);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/secret/plain", test_plain);
    g_test_add_func("/secret/file", test_file);
    g_test_add_func("/secret/encrypted", test_encrypted);
    g_test_add_func("/secret/errors", test_errors);
    g_test_add_func("/audio/devices", test_audio);
    return g_test_run();
}
