/* Character devices: the hub, short forms, the mux, back ends on loopback sockets, files and pseudo terminals. */

#include "char/address.h"
#include "char/char.h"
#include "char/fdset.h"

#include "base/optstr.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

typedef struct Fixture {
    MachineLock lock;
    Loop       *loop;
    Object     *root;
    CharHub    *hub;
    char       *dir;
} Fixture;

/* A front end that remembers. */
typedef struct Ear {
    CharFrontend fe;
    GString     *heard;
    GString     *events;
    size_t       room;
    unsigned     writable;
} Ear;

static void setup(Fixture *f, gconstpointer unused)
{
    g_auto(Error) err = {};
    machine_lock_init(&f->lock);
    f->loop = loop_new(&f->lock, &err);
    g_assert_null(err.text);
    f->root = object_root_new();
    f->hub  = char_hub_new(f->loop, f->root);
    f->dir  = g_dir_make_tmp("quern-char-XXXXXX", NULL);
    machine_lock(&f->lock);
}

static void teardown(Fixture *f, gconstpointer unused)
{
    char_hub_free(f->hub);
    object_unref(f->root);
    loop_free(f->loop);
    machine_unlock(&f->lock);
    machine_lock_destroy(&f->lock);
    GDir       *dir = g_dir_open(f->dir, 0, NULL);
    const char *name;
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(f->dir, name, NULL);
        g_unlink(path);
    }
    g_dir_close(dir);
    g_rmdir(f->dir);
    g_free(f->dir);
}

static size_t ear_can_read(void *opaque)
{
    return ((Ear *)opaque)->room;
}

static void ear_read(void *opaque, const uint8_t *buf, size_t len)
{
    Ear *e = opaque;
    g_assert_cmpuint(len, <=, e->room);
    e->room -= len;
    g_string_append_len(e->heard, (const char *)buf, (gssize)len);
}

static void ear_event(void *opaque, CharEvent event)
{
    static const char letters[] = {
        [CHAR_OPENED] = 'O', [CHAR_CLOSED] = 'C', [CHAR_BREAK] = 'B', [CHAR_MUX_IN] = 'I', [CHAR_MUX_OUT] = 'U'
    };
    g_string_append_c(((Ear *)opaque)->events, letters[event]);
}

static void ear_writable(void *opaque)
{
    ((Ear *)opaque)->writable++;
}

static void ear_init(Ear *e, Chardev *chr)
{
    g_auto(Error) err = {};
    *e                = (Ear){ .heard = g_string_new(NULL), .events = g_string_new(NULL), .room = 100000 };
    e->fe             = (CharFrontend){
                    .opaque = e, .can_read = ear_can_read, .read = ear_read, .event = ear_event, .writable = ear_writable
    };
    g_assert_true(char_attach(&e->fe, chr, &err));
}

static void ear_clear(Ear *e)
{
    char_detach(&e->fe);
    g_string_free(e->heard, true);
    g_string_free(e->events, true);
}

static Chardev *make(Fixture *f, const char *options)
{
    g_auto(Error) err    = {};
    g_autoptr(Json) json = optstr_parse(options, "backend", &err);
    g_assert_nonnull(json);
    Chardev *chr = char_create(f->hub, json, true, &err);
    g_assert_cmpstr(err.text, ==, NULL);
    g_assert_nonnull(chr);
    return chr;
}

static void make_fails(Fixture *f, const char *options, const char *pattern)
{
    g_auto(Error) err    = {};
    g_autoptr(Json) json = optstr_parse(options, "backend", &err);
    g_assert_nonnull(json);
    g_assert_null(char_create(f->hub, json, true, &err));
    if (!g_pattern_match_simple(pattern, err.text)) {
        g_error("'%s' says '%s', not '%s'", options, err.text, pattern);
    }
}

#define WAIT_FOR(f, condition)                                                                                         \
    do {                                                                                                               \
        gint64 until = g_get_monotonic_time() + 5 * G_USEC_PER_SEC;                                                    \
        while (!(condition)) {                                                                                         \
            g_assert_cmpint(g_get_monotonic_time(), <, until);                                                         \
            loop_step((f)->loop, false);                                                                               \
            g_usleep(1000);                                                                                            \
        }                                                                                                              \
    } while (0)

static void test_options(Fixture *f, gconstpointer unused)
{
    make_fails(f, "nul,id=a", "*nul*did you mean 'null'*");
    make_fails(f, "null", "no id given");
    make_fails(f, "braille,id=a", "*braille*not supported yet*");
    make_fails(f, "vc,id=a,cols=80,width=640", "width and cols*");
    make_fails(f, "vc,id=a,height=15", "15 pixels are too few: *16");
    make_fails(f, "vc,id=a,rows=1000", "*rows*256*");
    make_fails(f, "null,id=a,size=1", "*size*");
    make_fails(f, "null,id=1a", "*'1a' is no id*");
    make_fails(f, "null,id=a,logappend=on", "*logfile*");
    make_fails(f, "file,id=a", "*path*");
    make_fails(f, "file,id=a,path=/nonexistent/x", "path=/nonexistent/x: *");
    make_fails(f, "ringbuf,id=a,size=1000", "*");
    make_fails(f, "socket,id=a", "one of path*");
    make_fails(f, "socket,id=a,path=x,port=1", "*exclude*");
    make_fails(f, "socket,id=a,port=70000,server=on", "*70000*65535*");
    make_fails(f, "socket,id=a,port=1,wait=off", "*server=on*");
    make_fails(f, "socket,id=a,port=1,server=on,reconnect-ms=1", "reconnect-ms is for clients*");
    make_fails(f, "socket,id=a,port=1,tls-creds=x", "*tls-creds*not supported yet*");
    make_fails(f, "socket,id=a,port=1,tls-authz=x", "*tls-authz*not supported yet*");
    make_fails(f, "socket,id=a,port=1,tn3270=on", "*tn3270*not supported yet*");
    make_fails(f, "socket,id=a,port=1,to=5", "to is for servers*");
    make_fails(f, "socket,id=a,path=x,to=5,server=on", "to is for TCP*");
    make_fails(f, "socket,id=a,path=x,ipv4=on", "ipv4 is for TCP*");
    make_fails(f, "socket,id=a,fd=7,ipv6=off", "ipv6 is for TCP*");
    make_fails(f, "socket,id=a,path=x,nodelay=on", "nodelay is for TCP*");
    make_fails(f, "socket,id=a,port=1,abstract=on", "abstract is for unix*");
    make_fails(f, "socket,id=a,path=x,tight=off", "tight is for abstract*");
    make_fails(f, "socket,id=a,port=1,websocket=on", "websocket is for servers*");
    make_fails(f, "socket,id=a,port=1,server=on,websocket=on,telnet=on", "*exclude*");
    make_fails(f, "socket,id=a,host=127.0.0.1,server=on", "no port*");
    make_fails(f, "socket,id=a,port=no-such-service,host=127.0.0.1", "127.0.0.1:no-such-service:*");
    make_fails(f, "socket,id=a,port=1,ipv4=off,ipv6=off", "*nothing to use*");
    make_fails(f, "socket,id=a,host=127.0.0.1,port=1,ipv4=off", "127.0.0.1:1: *");
    make_fails(f, "socket,id=a,host=127.0.0.1,port=100,to=50,server=on", "to=50 is below port 100");
    make_fails(f, "socket,id=a,fd=x", "*fd*");
    make_fails(f, "socket,id=a,fd=0,reconnect-ms=5", "*fd*connect*");
    make_fails(f, "socket,id=a,port=1,reconnect=-1", "*reconnect*");
    make_fails(f, "udp,id=a", "*port*");
    make_fails(f, "mux,id=a,chardev=b", "no chardev 'b'");

    g_autofree char *x127 = g_strnfill(127, 'x');
    g_autofree char *fits = g_strdup_printf("null,id=%s", x127), *too_long = g_strdup_printf("null,id=%sx", x127);
    make(f, fits);
    make_fails(f, too_long, "*1 to 127*");

    make(f, "null,id=a");
    make_fails(f, "null,id=a", "there is a chardev 'a' already");
    g_auto(Error) err = {};
    g_assert_null(char_find(f->hub, "aa", &err));
    g_assert_cmpint(err.kind, ==, ERROR_GENERIC);
    error_clear(&err);

    Chardev *chr = char_find(f->hub, "a", &err);
    Ear      ear;
    ear_init(&ear, chr);
    g_assert_false(char_remove(f->hub, "a", &err));
    error_clear(&err);
    CharFrontend second = {};
    g_assert_false(char_attach(&second, chr, &err));
    error_clear(&err);
    ear_clear(&ear);
    g_assert_true(char_remove(f->hub, "a", &err));
}

static void check_short(Fixture *f, const char *text, const char *description)
{
    g_auto(Error) err = {};
    Chardev *chr      = char_create_short(f->hub, "s", text, NULL, &err);
    g_assert_cmpstr(err.text, ==, NULL);
    g_autofree char *is = char_describe(chr);
    g_assert_cmpstr(is, ==, description);
    g_assert_true(char_remove(f->hub, "s", &err));
}

static void short_fails(Fixture *f, const char *text, const char *pattern)
{
    g_auto(Error) err = {};
    g_assert_null(char_create_short(f->hub, "s", text, NULL, &err));
    g_assert_nonnull(err.text);
    if (!g_pattern_match_simple(pattern, err.text)) {
        g_error("'%s' says '%s', not '%s'", text, err.text, pattern);
    }
}

static void test_short(Fixture *f, gconstpointer unused)
{
    g_auto(Error) err = {};
    bool monitor      = true;
    g_assert_null(char_create_short(f->hub, "s", "none", &monitor, &err));
    g_assert_null(err.text);
    g_assert_false(monitor);

    check_short(f, "null", "null");
    check_short(f, "vc", "vc:100Cx37C");
    check_short(f, "vc:80Cx24C", "vc:80Cx24C");
    check_short(f, "vc:640x24C", "vc:80Cx24C");
    check_short(f, "vc,rows=10", "vc:100Cx10C");
    check_short(f, "ringbuf,size=4K", "ringbuf");
    check_short(f, "udp:127.0.0.1:4555@127.0.0.1:0", "udp:127.0.0.1:4555");
    check_short(f, "udp:[::1]:4555", "udp:[::1]:4555");
    g_autofree char *file = g_strdup_printf("file:%s/a,b=c", f->dir);
    check_short(f, file, "file");
    g_autofree char *name = g_strdup_printf("%s/sock", f->dir);
    g_autofree char *text = g_strdup_printf("unix:%s,server,nowait", name);
    g_autofree char *is   = g_strdup_printf("disconnected:unix:%s,server=on", name);
    check_short(f, text, is);
    g_assert_false(g_file_test(name, G_FILE_TEST_EXISTS));

    Chardev *named = make(f, "null,id=n");
    g_assert_true(char_create_short(f->hub, "s", "chardev:n", NULL, &err) == named);
    Chardev *mux = char_create_short(f->hub, "m", "mon:null", &monitor, &err);
    g_assert_nonnull(mux);
    g_assert_true(monitor);
    g_assert_nonnull(char_find(f->hub, "m-base", &err));
    g_assert_true(char_remove(f->hub, "m", &err));
    g_assert_null(char_find(f->hub, "m-base", &err));
    error_clear(&err);

    short_fails(f, "stdoi", "*did you mean 'stdio'*");
    short_fails(f, "tcpp::1", "*did you mean 'tcp:'*");
    short_fails(f, "", "*no such*");
    short_fails(f, "tcp:localhost", "HOST:PORT*");
    short_fails(f, "tcp::", "*no port*");
    short_fails(f, "tcp:[::1:4", "*]*");
    short_fails(f, "tcp::1,sever=on", "*did you mean 'server'*");
    short_fails(f, "udp:a:1@b", "HOST:PORT*");
    short_fails(f, "vc:80Cx", "WIDTHxHEIGHT*");
    short_fails(f, "vc:80x24C,x", "WIDTHxHEIGHT*");
    short_fails(f, "vc:Cx24C", "WIDTHxHEIGHT*");
    short_fails(f, "null:x", "null takes nothing*");
    short_fails(f, "COM1", "COM1*Windows*");
    short_fails(f, "con:", "con:*Windows*");
    short_fails(f, "mon:chardev:x", "mon: needs a device*");
    short_fails(f, "mon:none", "mon: needs a device*");
    short_fails(f, "file:", "a path is missing");
    check_short(f, "/dev/null", "serial");
    make_fails(f, "serial,id=t,path=/proc/version", "path=/proc/version*");
    short_fails(f, "chardev:zz", "no chardev 'zz'");
    short_fails(f, "websocket:127.0.0.1:1", "websocket is for servers*");
}

static void quit_called(void *opaque)
{
    ++*(unsigned *)opaque;
}

/* A mux between two ears and one end of a socket pair. */
static void test_mux(Fixture *f, gconstpointer unused)
{
    g_auto(Error) err = {};
    int pair[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    g_autofree char *text  = g_strdup_printf("socket,id=m,mux=on,fd=%d", pair[0]);
    Chardev         *mux   = make(f, text);
    unsigned         quits = 0, saves = 0;
    char_hub_on_quit(f->hub, quit_called, &quits);

    Ear one, two, rest[2];
    ear_init(&one, mux);
    ear_init(&two, mux);
    ear_init(&rest[0], mux);
    ear_init(&rest[1], mux);
    CharFrontend fifth = {};
    g_assert_false(char_attach(&fifth, mux, &err));
    error_clear(&err);
    ear_clear(&rest[0]);
    ear_clear(&rest[1]);
    g_assert_cmpstr(one.events->str, ==, "O");

    /* The first has the focus; Ctrl-A C moves it round. */
    g_assert_cmpint(write(pair[1], "a\001cb\001cc\001\001", 9), ==, 9);
    WAIT_FOR(f, one.heard->len == 3);
    g_assert_cmpstr(one.heard->str, ==, "ac\001");
    g_assert_cmpstr(two.heard->str, ==, "b");
    g_assert_cmpstr(one.events->str, ==, "OUI");
    g_assert_cmpstr(two.events->str, ==, "OIU");
    char_take_focus(&two.fe);
    g_assert_cmpint(write(pair[1], "\001b\001x\001z.", 7), ==, 7);
    WAIT_FOR(f, two.heard->len == 2);
    g_assert_cmpstr(two.events->str, ==, "OIUIB");
    g_assert_cmpuint(quits, ==, 1);
    char buf[2048];
    g_assert_cmpint(read(pair[1], buf, sizeof buf), ==, 18);
    g_assert_true(memcmp(buf, "QEMU: Terminated\r\n", 18) == 0);

    g_assert_cmpint(write(pair[1], "\001s", 2), ==, 2);
    WAIT_FOR(f, recv(pair[1], buf, sizeof buf, MSG_DONTWAIT) > 0);
    char_hub_on_save(f->hub, quit_called, &saves);
    g_assert_cmpint(write(pair[1], "\001s", 2), ==, 2);
    WAIT_FOR(f, saves == 1);
    g_assert_cmpint(write(pair[1], "\001h", 2), ==, 2);
    ssize_t n;
    WAIT_FOR(f, (n = recv(pair[1], buf, sizeof buf - 1, MSG_DONTWAIT)) > 0);
    buf[n] = 0;
    g_assert_nonnull(strstr(buf, "C-a x"));

    /* Time stamps, at the beginning of each line. */
    g_assert_cmpint(write(pair[1], "\001t", 2), ==, 2);
    loop_step(f->loop, true);
    g_assert_cmpint(char_write(&one.fe, "x\ny", 3), ==, 3);
    g_assert_cmpint(char_write(&two.fe, "z\nA\n", 4), ==, 4);
    n      = read(pair[1], buf, sizeof buf - 1);
    buf[n] = 0;
    g_assert_true(g_regex_match_simple("^x\n\\[00:00:00\\.\\d{3}\\] yz\n\\[00:00:00\\.\\d{3}\\] A\n$", buf, 0, 0));

    /* A front end that does not read holds the input up, but not the escape keys before the buffer is full. */
    two.room = 0;
    char_hub_set_escape(f->hub, 0x14);
    memset(buf, 'q', sizeof buf);
    g_assert_cmpint(write(pair[1], buf, 500), ==, 500);
    g_assert_cmpint(write(pair[1], "\024x", 2), ==, 2);
    WAIT_FOR(f, quits == 2);
    g_assert_cmpint(write(pair[1], buf, 2000), ==, 2000);
    for (int i = 0; i < 10; i++) {
        loop_step(f->loop, false);
    }
    g_assert_cmpuint(two.heard->len, ==, 2);
    two.room = 100000;
    char_accept_input(&two.fe);
    WAIT_FOR(f, two.heard->len == 2502);

    close(pair[1]);
    WAIT_FOR(f, strcmp(one.events->str, "OUIUC") == 0);
    ear_clear(&one);
    ear_clear(&two);
}

static void test_ringbuf(Fixture *f, gconstpointer unused)
{
    Chardev *chr = make(f, "ringbuf,id=r,size=8");
    Ear      ear;
    ear_init(&ear, chr);
    g_autoptr(GByteArray) got = g_byte_array_new();
    char_write(&ear.fe, "abc", 3);
    g_assert_true(char_ringbuf_take(chr, 2, got));
    g_assert_cmpmem(got->data, got->len, "ab", 2);
    g_assert_true(char_ringbuf_put(chr, "0123456789", 10));
    g_byte_array_set_size(got, 0);
    g_assert_true(char_ringbuf_take(chr, 100, got));
    g_assert_cmpmem(got->data, got->len, "23456789", 8);
    g_assert_true(char_is_ringbuf(chr));
    g_assert_false(char_ringbuf_take(make(f, "null,id=n"), 1, got));
    ear_clear(&ear);
}

static char *contents(const char *path)
{
    char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    return text;
}

static void test_file_and_log(Fixture *f, gconstpointer unused)
{
    g_autofree char *out = g_strdup_printf("%s/out", f->dir), *in = g_strdup_printf("%s/in", f->dir),
                    *log = g_strdup_printf("%s/log", f->dir);
    g_assert_true(g_file_set_contents(in, "typed", -1, NULL));
    g_assert_true(g_file_set_contents(log, "old ", -1, NULL));
    g_autofree char *text = g_strdup_printf("file,id=a,path=%s,input-path=%s,logfile=%s,logappend=on", out, in, log);
    Chardev         *chr  = make(f, text);
    Ear              ear;
    ear_init(&ear, chr);
    WAIT_FOR(f, ear.heard->len == 5);
    char_write_all(&ear.fe, "hello", 5);
    g_autofree char *written = contents(out), *logged = contents(log);
    g_assert_cmpstr(written, ==, "hello");
    g_assert_cmpstr(logged, ==, "old hello");
    ear_clear(&ear);
}

static void test_fdset(Fixture *f, gconstpointer unused)
{
    g_auto(Error) err = {};
    int pipes[2];
    g_assert_cmpint(pipe(pipes), ==, 0);
    g_assert_false(char_hub_add_fd(f->hub, 1, 2, NULL, &err));
    error_clear(&err);
    g_assert_false(char_hub_add_fd(f->hub, 9999, 2, NULL, &err));
    error_clear(&err);
    g_assert_true(char_hub_add_fd(f->hub, pipes[1], 2, "out", &err));
    g_assert_cmpint(char_hub_open(f->hub, "/dev/fdset/3", O_WRONLY, 0), ==, -1);
    g_assert_cmpint(errno, ==, ENOENT);
    g_assert_cmpint(char_hub_open(f->hub, "/dev/fdset/2", O_RDONLY, 0), ==, -1);
    g_assert_cmpint(errno, ==, EACCES);
    Chardev *chr = make(f, "file,id=a,path=/dev/fdset/2");
    Ear      ear;
    ear_init(&ear, chr);
    char_write_all(&ear.fe, "x", 1);
    char c;
    g_assert_cmpint(read(pipes[0], &c, 1), ==, 1);
    close(pipes[0]);
    close(pipes[1]);
    ear_clear(&ear);
}

static void test_pipe(Fixture *f, gconstpointer unused)
{
    g_autofree char *path = g_strdup_printf("%s/p", f->dir), *in = g_strconcat(path, ".in", NULL),
                    *out  = g_strconcat(path, ".out", NULL);
    g_autofree char *text = g_strdup_printf("pipe,id=a,path=%s", path);
    make_fails(f, text, "*mkfifo*");
    g_assert_cmpint(mkfifo(in, 0600), ==, 0);
    make_fails(f, text, "*p.out*");
    g_assert_cmpint(mkfifo(out, 0600), ==, 0);
    Chardev *chr = make(f, text);
    Ear      ear;
    ear_init(&ear, chr);
    int w = open(in, O_WRONLY), r = open(out, O_RDONLY);
    g_assert_cmpint(write(w, "in", 2), ==, 2);
    WAIT_FOR(f, ear.heard->len == 2);
    /* Back pressure: the pipe fills up, and the front end hears when there is room again. */
    char   buf[4096] = {};
    size_t sent      = 0;
    for (ssize_t n; (n = char_write(&ear.fe, buf, sizeof buf)) > 0;) {
        sent += (size_t)n;
    }
    g_assert_cmpuint(sent, >=, 4096);
    for (size_t got = 0; got < sent;) {
        got += (size_t)read(r, buf, sizeof buf);
    }
    WAIT_FOR(f, ear.writable == 1);
    close(w);
    close(r);
    ear_clear(&ear);
}

static void test_pty(Fixture *f, gconstpointer unused)
{
    /* Its line on standard output would be none of TAP's. */
    int stdout_copy = dup(1), nowhere = open("/dev/null", O_WRONLY);
    fflush(stdout);
    dup2(nowhere, 1);
    g_autofree char *link = g_strdup_printf("%s/tty", f->dir), *text = g_strdup_printf("pty,id=a,path=%s", link);
    Chardev         *chr = make(f, text);
    dup2(stdout_copy, 1);
    close(stdout_copy);
    close(nowhere);
    Ear ear;
    ear_init(&ear, chr);
    g_assert_cmpint(char_write(&ear.fe, "nobody", 6), ==, 6);
    int tty = open(link, O_RDWR | O_NOCTTY);
    g_assert_cmpint(tty, >=, 0);
    g_assert_cmpint(char_write(&ear.fe, "hi\n", 3), ==, 3);
    char buf[16];
    g_assert_cmpint(read(tty, buf, sizeof buf), ==, 3);
    g_assert_cmpint(write(tty, "yo\r", 3), ==, 3);
    WAIT_FOR(f, ear.heard->len == 3);
    g_assert_cmpstr(ear.heard->str, ==, "yo\r");
    close(tty);
    WAIT_FOR(f, strcmp(ear.events->str, "OC") == 0);
    tty = open(link, O_RDWR | O_NOCTTY);
    WAIT_FOR(f, strcmp(ear.events->str, "OCO") == 0);
    close(tty);
    ear_clear(&ear);
    g_auto(Error) err = {};
    g_assert_true(char_remove(f->hub, "a", &err));
    g_assert_false(g_file_test(link, G_FILE_TEST_IS_SYMLINK));
}

static int connect_unix(const char *path)
{
    g_auto(Error) err = {};
    int fd            = socket_connect(&(SocketAddress){ .path = path }, &err);
    g_assert_cmpstr(err.text, ==, NULL);
    return fd;
}

static void test_unix_server(Fixture *f, gconstpointer unused)
{
    g_autofree char *path = g_strdup_printf("%s/s", f->dir);
    g_autofree char *text = g_strdup_printf("socket,id=a,path=%s,server=on,wait=off", path);
    Chardev         *chr  = make(f, text);
    Ear              ear;
    ear_init(&ear, chr);
    g_assert_cmpint(char_write(&ear.fe, "nobody", 6), ==, 6);
    int first = connect_unix(path), second = connect_unix(path);
    WAIT_FOR(f, char_is_open(&ear.fe));

    /* What comes before the end is not lost when the front end is slow. */
    ear.room = 0;
    g_assert_cmpint(write(first, "late", 4), ==, 4);
    close(first);
    for (int i = 0; i < 5; i++) {
        loop_step(f->loop, false);
    }
    g_assert_cmpstr(ear.events->str, ==, "O");
    ear.room = 2;
    char_accept_input(&ear.fe);
    WAIT_FOR(f, ear.heard->len == 2);
    ear.room = 100;
    char_accept_input(&ear.fe);
    /* Then the second one has its turn. */
    WAIT_FOR(f, strcmp(ear.events->str, "OCO") == 0);
    g_assert_cmpstr(ear.heard->str, ==, "late");
    g_assert_cmpint(char_write(&ear.fe, "x", 1), ==, 1);
    char c;
    g_assert_cmpint(read(second, &c, 1), ==, 1);

    /* Back pressure. */
    static char big[1 << 20];
    ssize_t     n = char_write(&ear.fe, big, sizeof big);
    g_assert_cmpint(n, >, 0);
    g_assert_cmpint(n, <, (ssize_t)sizeof big);
    for (ssize_t got = 0; got < n;) {
        ssize_t k = read(second, big, sizeof big);
        g_assert_cmpint(k, >, 0);
        got += k;
    }
    WAIT_FOR(f, ear.writable == 1);
    close(second);
    WAIT_FOR(f, strcmp(ear.events->str, "OCOC") == 0);
    ear_clear(&ear);

    /* An old socket is replaced, anything else is not. */
    g_auto(Error) err = {};
    g_assert_true(char_remove(f->hub, "a", &err));
    g_assert_true(g_file_set_contents(path, "x", 1, NULL));
    make_fails(f, text, "*is no socket*");
}

static void test_tcp(Fixture *f, gconstpointer unused)
{
    Chardev         *server  = make(f, "socket,id=s,host=127.0.0.1,port=0,server=on,wait=off,nodelay=on");
    g_autofree char *name    = char_describe(server);
    g_auto(GStrv) parts      = g_strsplit_set(name, ":,", 0);
    g_autofree char *text    = g_strdup_printf("socket,id=c,host=127.0.0.1,port=%s", parts[3]);
    g_autofree char *busy    = g_strdup_printf("socket,id=b,host=127.0.0.1,port=%s,server=on,wait=off", parts[3]);
    g_autofree char *busy_to = g_strdup_printf("%s,to=65535", busy);
    g_assert_true(g_str_has_prefix(name, "disconnected:tcp:127.0.0.1:"));
    g_assert_true(g_str_has_suffix(name, ",server=on"));
    make_fails(f, busy, "cannot listen on *in use*");
    make(f, busy_to);
    Chardev *client = make(f, text);
    Ear      a, b;
    ear_init(&a, server);
    ear_init(&b, client);
    g_assert_cmpstr(b.events->str, ==, "O");
    char_write_all(&b.fe, "ping", 4);
    WAIT_FOR(f, a.heard->len == 4);
    char_write_all(&a.fe, "pong", 4);
    WAIT_FOR(f, b.heard->len == 4);
    g_free(g_steal_pointer(&name));
    name = char_describe(server);
    g_assert_true(g_pattern_match_simple("tcp:127.0.0.1:*,server=on <-> 127.0.0.1:*", name));
    ear_clear(&b);
    g_auto(Error) err = {};
    g_assert_true(char_remove(f->hub, "c", &err));
    WAIT_FOR(f, strcmp(a.events->str, "OC") == 0);
    ear_clear(&a);
    make_fails(f, "socket,id=x,host=127.0.0.1,port=1", "cannot connect to 127.0.0.1:1: *");
}

/* A client that tries again: no server at first, then one that goes away and comes back. */
static void test_reconnect(Fixture *f, gconstpointer unused)
{
    g_autofree char *path = g_strdup_printf("%s/r", f->dir);
    g_autofree char *text = g_strdup_printf("socket,id=a,path=%s,reconnect-ms=10", path);
    Chardev         *chr  = make(f, text);
    Ear              ear;
    ear_init(&ear, chr);
    for (int round = 0; round < 2; round++) {
        g_auto(Error) err = {};
        GArray *fds       = socket_listen(&(SocketAddress){ .path = path }, &err);
        g_assert_nonnull(fds);
        int fd = g_array_index(fds, int, 0), peer;
        g_array_free(fds, true);
        WAIT_FOR(f, char_is_open(&ear.fe));
        WAIT_FOR(f, (peer = accept(fd, NULL, NULL)) >= 0);
        close(fd);
        g_assert_cmpint(write(peer, "x", 1), ==, 1);
        WAIT_FOR(f, ear.heard->len == (size_t)round + 1);
        close(peer);
        WAIT_FOR(f, !char_is_open(&ear.fe));
    }
    g_assert_cmpstr(ear.events->str, ==, "OCOC");
    ear_clear(&ear);
    make_fails(f, "socket,id=b,port=1,reconnect=1,reconnect-ms=5", "*exclude*");
}

/* The thread that connects while the main one waits for it. */
static gpointer connect_soon(gpointer path)
{
    g_usleep(20000);
    int *fd = g_new(int, 1);
    *fd     = connect_unix(path);
    return fd;
}

static void test_wait(Fixture *f, gconstpointer unused)
{
    g_autofree char *path   = g_strdup_printf("%s/w", f->dir);
    g_autofree char *text   = g_strdup_printf("socket,id=a,path=%s,server=on", path);
    GThread         *thread = g_thread_new("connect", connect_soon, path);
    Chardev         *chr    = make(f, text);
    g_assert_true(chr->is_open);
    int *fd = g_thread_join(thread);
    close(*fd);
    g_free(fd);
    g_auto(Error) err = {};
    g_assert_true(char_remove(f->hub, "a", &err));

    /* A signal ends the wait. */
    loop_defer(f->loop, (void (*)(void *))char_hub_cancel_waits, f->hub);
    make_fails(f, text, "interrupted*");
}

static void test_udp(Fixture *f, gconstpointer unused)
{
    int                fd  = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in in  = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t          len = sizeof in;
    g_assert_cmpint(bind(fd, (struct sockaddr *)&in, len), ==, 0);
    g_assert_cmpint(getsockname(fd, (struct sockaddr *)&in, &len), ==, 0);
    g_autofree char *text = g_strdup_printf("udp,id=u,host=127.0.0.1,port=%d,localaddr=127.0.0.1", ntohs(in.sin_port));
    Chardev         *chr  = make(f, text);
    Ear              ear;
    ear_init(&ear, chr);
    ear.room = 3;
    char_write_all(&ear.fe, "out", 3);
    char buf[16];
    g_assert_cmpint(recvfrom(fd, buf, sizeof buf, 0, (struct sockaddr *)&in, &len), ==, 3);
    g_assert_cmpint(sendto(fd, "answer", 6, 0, (struct sockaddr *)&in, len), ==, 6);
    WAIT_FOR(f, ear.heard->len == 3);
    ear.room = 100;
    char_accept_input(&ear.fe);
    g_assert_cmpstr(ear.heard->str, ==, "answer");
    close(fd);
    ear_clear(&ear);
}

#define TEST(name, function) g_test_add("/char/" name, Fixture, NULL, setup, function, teardown)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("options", test_options);
    TEST("short", test_short);
    TEST("mux", test_mux);
    TEST("ringbuf", test_ringbuf);
    TEST("file", test_file_and_log);
    TEST("fdset", test_fdset);
    TEST("pipe", test_pipe);
    TEST("pty", test_pty);
    TEST("unix-server", test_unix_server);
    TEST("tcp", test_tcp);
    TEST("reconnect", test_reconnect);
    TEST("wait", test_wait);
    TEST("udp", test_udp);
    return g_test_run();
}
