/* base/optstr: option strings to JSON. */

#include "base/optstr.h"

#include <string.h>

static void check(const char *text, const char *implied, const char *expected)
{
    g_auto(Error) err    = { 0 };
    g_autoptr(Json) json = optstr_parse(text, implied, &err);
    g_assert_cmpstr(err.text, ==, NULL);
    g_autofree char *out = json_print(json, false);
    g_assert_cmpstr(out, ==, expected);
}

static void test_plain(void)
{
    check("", NULL, "{}");
    check("", "driver", "{}");
    check("e1000,netdev=n0", "driver", "{\"driver\": \"e1000\", \"netdev\": \"n0\"}");
    check("driver=e1000,x", "driver", "{\"driver\": \"e1000\", \"x\": \"on\"}");
    check("a=1,b=2", NULL, "{\"a\": \"1\", \"b\": \"2\"}");
    check("flag", NULL, "{\"flag\": \"on\"}");
    check("flag,noflag", NULL, "{\"flag\": \"on\", \"noflag\": \"on\"}");
    check("a=", NULL, "{\"a\": \"\"}");
    check("a=b=c", NULL, "{\"a\": \"b=c\"}");
    check("a=1,", NULL, "{\"a\": \"1\"}");
    check("help", "driver", "{\"driver\": \"help\"}");
    check("e1000,help", "driver", "{\"driver\": \"e1000\", \"help\": \"on\"}");
}

static void test_commas(void)
{
    check("a=x,,y,b=,,", NULL, "{\"a\": \"x,y\", \"b\": \",\"}");
    check("x,,y,b=1", "file", "{\"file\": \"x,y\", \"b\": \"1\"}");
    check("x,,y=z,b=1", "file", "{\"file\": \"x,y=z\", \"b\": \"1\"}");
    check("a=,,,,,b=1", NULL, "{\"a\": \",,\", \"b\": \"1\"}");
    g_autoptr(GString) out = g_string_new("a=");
    optstr_append_escaped(out, "x,y,,");
    g_assert_cmpstr(out->str, ==, "a=x,,y,,,,");
    check(out->str, NULL, "{\"a\": \"x,y,,\"}");
}

static void test_nested(void)
{
    check("a.b=1,a.c=2,d=3", NULL, "{\"a\": {\"b\": \"1\", \"c\": \"2\"}, \"d\": \"3\"}");
    check("a.b.c.d", NULL, "{\"a\": {\"b\": {\"c\": {\"d\": \"on\"}}}}");
    check("s.0=x,s.1=y", NULL, "{\"s\": [\"x\", \"y\"]}");
    check("s.1=y,s.0=x", NULL, "{\"s\": [\"x\", \"y\"]}");
    check("s.0.host=x,s.0.port=1,s.1.host=y", NULL, "{\"s\": [{\"host\": \"x\", \"port\": \"1\"}, {\"host\": \"y\"}]}");
    check("0=a,1=b", NULL, "{\"0\": \"a\", \"1\": \"b\"}");
    check("s.00=x", NULL, "{\"s\": {\"00\": \"x\"}}");
    check("s.0=x,s.k=y", NULL, "{\"s\": {\"0\": \"x\", \"k\": \"y\"}}");
    check("m.0.0=a,m.0.1=b,m.1.0=c", NULL, "{\"m\": [[\"a\", \"b\"], [\"c\"]]}");
}

static void test_repeats(void)
{
    g_auto(Error) err    = { 0 };
    g_autoptr(Json) json = optstr_parse("a=1,a=2,a=3,b.c=1,b.c=2", NULL, &err);
    g_autofree char *out = json_print(json, false);
    g_assert_cmpstr(out, ==, "{\"a\": [\"1\", \"2\", \"3\"], \"b\": {\"c\": [\"1\", \"2\"]}}");
    g_assert_true(json_get(json, "a")->repeat);
    g_assert_false(json_get(json, "b")->repeat);
    check("file=a,file.locking=off", NULL, "{\"file\": {\"\": \"a\", \"locking\": \"off\"}}");
    check("file.locking=off,file=a", NULL, "{\"file\": {\"locking\": \"off\", \"\": \"a\"}}");
    check("f=a,f=b,f.x=1", NULL, "{\"f\": {\"\": [\"a\", \"b\"], \"x\": \"1\"}}");
}

static void test_json(void)
{
    check("{\"driver\": \"e1000\", \"x\": [1, {\"y\": null}]}", "driver",
          "{\"driver\": \"e1000\", \"x\": [1, {\"y\": null}]}");
    check("{}", NULL, "{}");
}

static void refuse(const char *text, const char *implied, const char *expected)
{
    g_auto(Error) err = { 0 };
    g_assert_null(optstr_parse(text, implied, &err));
    g_assert_cmpstr(err.text, ==, expected);
}

static void test_errors(void)
{
    refuse("=x", NULL, "a name is missing before '=x'");
    refuse("a=1,=x", NULL, "a name is missing before '=x'");
    refuse("a..b=1", NULL, "'a..b' is not a valid option name");
    refuse(".a=1", NULL, "'.a' is not a valid option name");
    refuse("a.=1", NULL, "'a.' is not a valid option name");
    refuse(",a=1", NULL, "a name is missing before ','");
    refuse("s.0=x,s.2=y", NULL, "list 's' has 2 elements, but none is 's.1'");
    refuse("t.s.1=x", NULL, "list 't.s' has 1 elements, but none is 't.s.0'");
    refuse("{\"a\": }", NULL, "JSON: line 1, column 7: '}' where a value should be");
    g_autoptr(GString) deep = g_string_new("a");
    for (int i = 0; i < 40; i++) {
        g_string_append(deep, ".a");
    }
    g_auto(Error) err = { 0 };
    g_assert_null(optstr_parse(deep->str, NULL, &err));
    g_assert_true(g_str_has_suffix(err.text, "has more than 32 levels"));
}

static void test_mutations(void)
{
    static const char alphabet[] = "ab.01=,{}\"";
    g_autoptr(GRand) rand        = g_rand_new_with_seed(3);
    for (int round = 0; round < 50000; round++) {
        char text[20];
        int  len = g_rand_int_range(rand, 0, sizeof text);
        for (int i = 0; i < len; i++) {
            text[i] = alphabet[g_rand_int_range(rand, 0, sizeof alphabet - 1)];
        }
        text[len]            = 0;
        g_auto(Error) err    = { 0 };
        g_autoptr(Json) json = optstr_parse(text, round & 1 ? "x" : NULL, &err);
        g_assert_true(!json == error_is_set(&err));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/optstr/plain", test_plain);
    g_test_add_func("/optstr/commas", test_commas);
    g_test_add_func("/optstr/nested", test_nested);
    g_test_add_func("/optstr/repeats", test_repeats);
    g_test_add_func("/optstr/json", test_json);
    g_test_add_func("/optstr/errors", test_errors);
    g_test_add_func("/optstr/mutations", test_mutations);
    return g_test_run();
}
