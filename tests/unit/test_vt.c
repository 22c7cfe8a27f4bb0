/* The terminal's screen: what stands where after what was written, answers, keys; the vc chardev around it. */

#include "base/optstr.h"
#include "char/vc.h"

#include <string.h>

typedef struct Row {
    const char *what;
    unsigned    cols, rows;
    const char *in, *text;
    int         x, y; /* of the cursor; -1: anywhere */
    const char *answer;
} Row;

#define E    "\033"
#define CSI  "\033["
#define FIVE "1\r\n2\r\n3\r\n4\r\n5"

static const Row rows[] = {
    { "text", 10, 3, "hello\r\nworld", "hello\nworld\n", 5, 1 },
    { "wrapping", 4, 3, "abcdef", "abcd\nef\n", 2, 1 },
    { "the cursor waits in the last column", 4, 3, "abcd", "abcd\n", 3, 0 },
    { "a line feed there does not count twice", 4, 3, "abcd\r\nx", "abcd\nx\n", 1, 1 },
    { "backspace from there", 4, 3, "abcd\bX", "abXd\n", 3, 0 },
    { "no wrapping", 4, 3, CSI "?7labcdef", "abcf\n", 3, 0 },
    { "scrolling", 3, 2, "1\r\n2\r\n3", "2\n3\n", 1, 1 },
    { "line feed keeps the column", 5, 3, "ab\ncd", "ab\n  cd\n", 4, 1 },
    { "newline mode does not", 5, 3, CSI "20hab\ncd", "ab\ncd\n", 2, 1 },
    { "vertical tab and form feed", 5, 4, "a\vb\fc", "a\n b\n  c\n", 3, 2 },
    { "tabs", 20, 1, "a\tb\tc", "a       b       c\n", 17, 0 },
    { "tab stops set and cleared", 20, 1, CSI "3g" CSI "5G" E "H\r\tx\ty", "    x              y\n", 19, 0 },
    { "back tab", 20, 1, "abcdefghij" CSI "Zx" CSI "2Zy", "ybcdefghxj\n", 1, 0 },
    { "bell and others are not seen", 5, 1, "a\a\005\177b", "ab\n", 2, 0 },

    { "cursor address", 10, 5, CSI "3;4Hx", "\n\n   x\n", 4, 2 },
    { "outside", 10, 5, CSI "99;99Hx", "\n\n\n\n         x\n", 9, 4 },
    { "home", 10, 5, "abc" CSI "Hx", "xbc\n", 1, 0 },
    { "zeros are ones", 10, 5, "abc" CSI "0;0fx", "xbc\n", 1, 0 },
    { "up down left right", 10, 5, CSI "3;3H" CSI "Au" CSI "2Bd" CSI "4Dl" CSI "3Cr", "\n  u\n\nl  dr\n", 5, 3 },
    { "next and previous line", 10, 5, CSI "3;3H" CSI "Ea" CSI "2Fb", "\nb\n\na\n", 1, 1 },
    { "column and row", 10, 5,
      CSI "4Ga" CSI "2d"
          "b" CSI "3`c" CSI "2ed",
      "   a\n  c b\n\n   d\n", 4, 3 },
    { "save and restore", 10, 3, "ab" E "7cd\r\n\r\n" E "8X" CSI "s" CSI "H." CSI "u!", ".bX!\n", 4, 0 },
    { "index and reverse index", 5, 3, "a" E "Db" E "Mc" E "Ed", "a c\ndb\n", 1, 1 },
    { "reverse index at the top scrolls", 5, 3, "a\r\nb" CSI "H" E "Mx", "x\na\nb\n", 1, 0 },

    { "erase to the end of the line", 10, 3, "abcdef" CSI "3G" CSI "K", "ab\n", 2, 0 },
    { "to its beginning", 10, 3, "abcdef" CSI "3G" CSI "1K", "   def\n", 2, 0 },
    { "the line", 10, 3, "abcdef" CSI "3G" CSI "2K", "", 2, 0 },
    { "to the end of the screen", 5, 5, FIVE CSI "3;1H" CSI "J", "1\n2\n", 0, 2 },
    { "to its beginning", 5, 5, FIVE CSI "3;1H" CSI "1J", "\n\n\n4\n5\n", 0, 2 },
    { "the screen", 5, 5, FIVE CSI "2J", "", 1, 4 },
    { "characters", 10, 1, "abcdef" CSI "2G" CSI "2X", "a  def\n", 1, 0 },
    { "insert characters", 6, 1, "abcdef" CSI "2G" CSI "2@", "a  bcd\n", 1, 0 },
    { "delete characters", 6, 1, "abcdef" CSI "2G" CSI "2P", "adef\n", 1, 0 },
    { "more than there are", 6, 1, "abcdef" CSI "2G" CSI "99P" CSI "99@" CSI "99X", "a\n", 1, 0 },
    { "insert mode", 6, 1, "abcdef\r" CSI "4hxy" CSI "4lz", "xyzbcd\n", 3, 0 },
    { "insert lines", 5, 5, FIVE CSI "2;3H" CSI "2L", "1\n\n\n2\n3\n", 0, 1 },
    { "delete lines", 5, 5, FIVE CSI "2;3H" CSI "2M", "1\n4\n5\n", 0, 1 },
    { "repeat", 8, 1, "a" CSI "3b", "aaaa\n", 4, 0 },

    { "margins", 5, 5, FIVE CSI "2;4r" CSI "4;1H\nx", "1\n3\n4\nx\n5\n", 1, 3 },
    { "reverse in margins", 5, 5, FIVE CSI "2;4r" CSI "2;1H" E "Mx", "1\nx\n2\n3\n5\n", 1, 1 },
    { "insert lines in margins", 5, 5, FIVE CSI "2;4r" CSI "3;1H" CSI "L", "1\n2\n\n3\n5\n", 0, 2 },
    { "not outside", 5, 5, FIVE CSI "2;4r" CSI "5;1H" CSI "L" CSI "M", "1\n2\n3\n4\n5\n", 0, 4 },
    { "below the margins there is no scrolling", 5, 5, FIVE CSI "2;4r" CSI "5;1H\n\nx", "1\n2\n3\n4\nx\n", 1, 4 },
    { "moving stops at them", 5, 5, CSI "2;4r" CSI "3;1H" CSI "9Ba" CSI "9Ab", "\n b\n\na\n", 2, 1 },
    { "origin mode", 5, 5, CSI "2;4r" CSI "?6hx" CSI "9;1Hy" CSI "?6lz", "z\nx\n\ny\n", 1, 0 },
    { "scroll up and down", 5, 3, "1\r\n2\r\n3" CSI "S" CSI "2T", "\n\n2\n", 1, 2 },
    { "wrong margins", 5, 3, "a" CSI "3;2rb", "ab\n", 2, 0 },

    { "UTF-8", 10, 1, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x84\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x84\x80\n", 3, 0 },
    { "no UTF-8", 10, 1,
      "a\xff"
      "b\xc3"
      "c\xe2\x82\rd",
      "d\xef\xbf\xbd"
      "b\xef\xbf\xbd"
      "c\xef\xbf\xbd\n",
      1, 0 },
    { "wide characters", 5, 2, "a\xe4\xb8\xad\xe6\x96\x87z", "a\xe4\xb8\xad\xe6\x96\x87\nz\n", 1, 1 },
    { "do not fit into the last column", 4, 2, "abc\xe4\xb8\xad", "abc\n\xe4\xb8\xad\n", 2, 1 },
    { "half of one is none", 5, 1, "\xe4\xb8\xad" CSI "2Gx", " x\n", 2, 0 },
    { "the other half", 5, 1, "\xe4\xb8\xad\rx", "x\n", 1, 0 },
    { "shifted as a whole", 6, 1,
      "\xe4\xb8\xad"
      "b\r" CSI "4ha",
      "a\xe4\xb8\xad"
      "b\n",
      1, 0 },
    { "cut by a deletion", 6, 1,
      "a\xe4\xb8\xad"
      "b\r" CSI "2P",
      " b\n", 0, 0 },
    { "shifted over the edge", 3, 1, "a\xe4\xb8\xad\r" CSI "@", " a\n", 0, 0 },
    { "combining ones are left out", 5, 1, "e\xcc\x81x", "ex\n", 2, 0 },
    { "line drawing", 5, 1, E "(0lqk" E "(Bq", "\xe2\x94\x8c\xe2\x94\x80\xe2\x94\x90q\n", 4, 0 },
    { "shift out and in", 5, 1, E ")0\016x\017x", "\xe2\x94\x82x\n", 2, 0 },
    { "the pound sign", 5, 1, E "(A#", "\xc2\xa3\n", 1, 0 },

    { "the alternate screen", 5, 2, "main" CSI "?1049halt" CSI "?1049l!", "main!\n", 4, 0 },
    { "while it is there", 5, 2, "main" CSI "?1049halt", "    a\nlt\n", 2, 1 },
    { "the older one", 5, 2, "main" CSI "?47h" CSI "2J" CSI "Hx" CSI "?47ly", "myin\n", 2, 0 },
    { "reset", 5, 2, "main" CSI "?6h" CSI "4h" CSI "?1049h" E "cx", "x\n", 1, 0 },
    { "soft reset", 5, 3, "a" CSI "2;3r" CSI "?6h" CSI "4h" CSI "!p" CSI "Hb", "b\n", 1, 0 },
    { "alignment", 2, 2, E "#8", "EE\nEE\n", 0, 0 },

    { "titles are skipped", 10, 1, E "]0;title\ax" E "]2;t" E "\\y" E "P1$q" E "\\z" E "_a" E "[1mb", "xyzb\n", 4, 0 },
    { "cancelled", 10, 1, CSI "3\030x" E "\032y", "xy\n", 2, 0 },
    { "controls within sequences", 10, 2,
      "ab" CSI "\r2C"
      "x",
      "abx\n", 3, 0 },
    { "unknown ones", 10, 1, CSI "?99h" CSI "5;6q" CSI "1:2m" CSI ">1m" CSI "z" E "%G" E "q" CSI "1$~x", "x\n", 1, 0 },
    { "too many numbers", 10, 1, CSI "1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1;1Ax", "x\n", 1, 0 },
    { "huge numbers", 10, 2, CSI "99999999999999999999Cx" CSI "4294967297Dy", "y        x\n", 1, 0 },
    { "a newline in the middle of a sequence acts", 10, 2, "a" CSI "\n1;1H", "a\n", 0, 0 },

    { "status", 10, 5, CSI "5n" CSI "2;3H" CSI "6n", "", -1, -1, CSI "0n" CSI "2;3R" },
    { "in origin mode", 10, 5, CSI "2;4r" CSI "?6h" CSI "2;2H" CSI "6n", "", -1, -1, CSI "2;2R" },
    { "who are you", 10, 5, CSI "c" E "Z" CSI ">c" CSI "0c" CSI "1c", "", -1, -1,
      CSI "?6c" CSI "?6c" CSI ">1;10;0c" CSI "?6c" },
};

static void test_screen(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        const Row *r                  = &rows[i];
        Vt        *vt                 = vt_new(r->cols, r->rows);
        g_autoptr(GByteArray) answers = g_byte_array_new();
        unsigned x, y;
        g_test_message("%s", r->what);
        for (const char *p = r->in; *p; p++) {
            vt_write(vt, (const uint8_t *)p, 1, answers);
        }
        g_autofree char *text = vt_text(vt);
        g_assert_cmpstr(text, ==, r->text);
        g_assert_true(vt_cursor(vt, &x, &y));
        if (r->x >= 0) {
            g_assert_cmpuint(x, ==, r->x);
            g_assert_cmpuint(y, ==, r->y);
        }
        g_assert_cmpmem(answers->data, answers->len, r->answer ? r->answer : "", r->answer ? strlen(r->answer) : 0);
        vt_free(vt);
    }
}

static const struct {
    const char *in;
    uint32_t    fg, bg;
    uint8_t     style;
} pens[] = {
    { "", VT_DEFAULT, VT_DEFAULT, 0 },
    { CSI "1;4;31m", 1, VT_DEFAULT, VT_BOLD | VT_UNDERLINE },
    { CSI "1;4;31m" CSI "m", VT_DEFAULT, VT_DEFAULT, 0 },
    { CSI "1;2;3;5;7;8;9m" CSI "22;23;25;27;28m", VT_DEFAULT, VT_DEFAULT, VT_STRUCK },
    { CSI "97;100m", 15, 8, 0 },
    { CSI "32;43m" CSI "39m", VT_DEFAULT, 3, 0 },
    { CSI "38;5;200;48;5;17;1m", 200, 17, VT_BOLD },
    { CSI "38;2;1;2;3;48;2;255;0;128m", VT_RGB | 0x010203, VT_RGB | 0xff0080, 0 },
    { CSI "38;5m", VT_DEFAULT, VT_DEFAULT, 0 },
    { CSI "38;7;1m", VT_DEFAULT, VT_DEFAULT, VT_BOLD },
    { CSI "31;;1m", VT_DEFAULT, VT_DEFAULT, VT_BOLD },
};

static void test_colours(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(pens); i++) {
        Vt *vt                        = vt_new(10, 2);
        g_autoptr(GByteArray) answers = g_byte_array_new();
        vt_write(vt, (const uint8_t *)pens[i].in, strlen(pens[i].in), answers);
        vt_write(vt, (const uint8_t *)"x" CSI "K", 4, answers);
        const VtCell *cell = vt_row(vt, 0);
        g_test_message("%u", i);
        g_assert_cmpuint(cell[0].character, ==, 'x');
        g_assert_cmphex(cell[0].fg, ==, pens[i].fg);
        g_assert_cmphex(cell[0].bg, ==, pens[i].bg);
        g_assert_cmphex(cell[0].style, ==, pens[i].style);
        /* What is erased has the background's colour. */
        g_assert_cmphex(cell[1].bg, ==, pens[i].bg);
        g_assert_cmphex(cell[1].style, ==, 0);
        vt_free(vt);
    }
}

static void test_modes_and_keys(void)
{
    Vt *vt                     = vt_new(10, 2);
    g_autoptr(GByteArray) keys = g_byte_array_new();
    unsigned x, y;
    uint64_t before = vt_changes(vt);
    vt_press(vt, VT_UP, keys);
    vt_press(vt, VT_ENTER, keys);
    vt_press(vt, VT_F1, keys);
    vt_press(vt, VT_F12, keys);
    vt_press(vt, VT_KEYS, keys);
    const char *modes = CSI "?1;25l" CSI "?1h" CSI "20h" CSI "?25l" CSI "?5h\a\a";
    vt_write(vt, (const uint8_t *)modes, strlen(modes), keys);
    g_assert_false(vt_cursor(vt, &x, &y));
    g_assert_true(vt_inverse(vt));
    g_assert_cmpuint(vt_bells(vt), ==, 2);
    g_assert_cmpuint(vt_changes(vt), >, before);
    vt_press(vt, VT_LEFT, keys);
    vt_press(vt, VT_HOME, keys);
    vt_press(vt, VT_BACKSPACE, keys);
    vt_press(vt, VT_ENTER, keys);
    const char *all = CSI "A\r" CSI "11~" CSI "24~" E "OD" CSI "1~\177\r\n";
    g_assert_cmpmem(keys->data, keys->len, all, strlen(all));
    vt_free(vt);
}

/* --- the chardev --- */

typedef struct Ear {
    CharFrontend fe;
    GString     *heard;
    size_t       room;
} Ear;

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

static void test_chardev(void)
{
    g_auto(Error) err = {};
    MachineLock lock;
    machine_lock_init(&lock);
    Loop *loop = loop_new(&lock, &err);
    g_assert_nonnull(loop);
    Object  *root = object_root_new();
    CharHub *hub  = char_hub_new(loop, root);
    machine_lock(&lock);

    g_autoptr(Json) json = optstr_parse("vc,id=v,cols=20,height=64,mux=on", "backend", &err);
    Chardev *chr         = char_create(hub, json, true, &err);
    g_assert_cmpstr(err.text, ==, NULL);
    g_assert_nonnull(char_vc_screen(chr));
    g_assert_cmpuint(vt_cols(char_vc_screen(chr)), ==, 20);
    g_assert_cmpuint(vt_rows(char_vc_screen(chr)), ==, 4);
    Ear ear = { .heard = g_string_new(NULL), .room = 3 };
    ear.fe  = (CharFrontend){ .opaque = &ear, .can_read = ear_can_read, .read = ear_read };
    g_assert_true(char_attach(&ear.fe, chr, &err));

    /* What is written is seen; the answer comes when the front end is not in the middle of it. */
    char_write_all(&ear.fe, "login: " CSI "6n", 11);
    g_assert_cmpuint(ear.heard->len, ==, 0);
    g_autofree char *text = vt_text(char_vc_screen(chr));
    g_assert_cmpstr(text, ==, "login:\n");
    for (int i = 0; i < 1000 && ear.heard->len < 3; i++) {
        loop_step(loop, false);
        g_usleep(1000);
    }
    ear.room = 10000;
    char_accept_input(&ear.fe);
    g_assert_cmpstr(ear.heard->str, ==, CSI "1;8R");

    /* Typing, more than fits. */
    g_string_truncate(ear.heard, 0);
    char_vc_type(chr, "root\r");
    char_vc_press(chr, VT_UP);
    g_assert_cmpstr(ear.heard->str, ==, "root\r" CSI "A");
    ear.room             = 0;
    g_autofree char *big = g_strnfill(10000, 'x');
    char_vc_type(chr, big);
    char_vc_type(chr, big);
    g_string_truncate(ear.heard, 0);
    ear.room = 100000;
    char_accept_input(&ear.fe);
    g_assert_cmpuint(ear.heard->len, >=, 4096);
    g_assert_cmpuint(ear.heard->len, <, 10000);
    g_string_free(ear.heard, true);
    char_detach(&ear.fe);

    g_assert_true(char_remove(hub, "v", &err));
    g_autoptr(Json) null = optstr_parse("null,id=n", "backend", &err);
    g_assert_null(char_vc_screen(char_create(hub, null, true, &err)));
    char_hub_free(hub);
    object_unref(root);
    loop_free(loop);
    machine_unlock(&lock);
    machine_lock_destroy(&lock);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vt/screen", test_screen);
    g_test_add_func("/vt/colours", test_colours);
    g_test_add_func("/vt/modes-and-keys", test_modes_and_keys);
    g_test_add_func("/vt/chardev", test_chardev);
    return g_test_run();
}
