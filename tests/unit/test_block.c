/* The block layer on raw files: drives and what they refuse, requests, cancelling, errors that stop the machine, locks.
 */

#include "block/hub.h"
#include "block_rig.h"

#include "base/optstr.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static void setup(BlockRig *rig, gconstpointer unused)
{
    block_rig_setup(rig);
    block_rig_make_file(rig, "a.img", 64 * KiB, 0xaa);
}

static void teardown(BlockRig *rig, gconstpointer unused)
{
    block_rig_teardown(rig);
}

static void test_read_write(BlockRig *rig, gconstpointer options)
{
    uint8_t buf[4096], back[4096];
    block_rig_attach(rig, options);
    g_assert_cmpint(block_user_size(&rig->user), ==, 64 * KiB);
    g_assert_cmpint(block_rig_run(rig, BLOCK_READ, 512, buf, 1024), ==, 0);
    g_assert_true(buf[0] == 0xaa && buf[1023] == 0xaa);
    for (size_t i = 0; i < sizeof buf; i++) {
        buf[i] = (uint8_t)(i * 7 + i / 256);
    }
    g_assert_cmpint(block_rig_run(rig, BLOCK_WRITE, 60 * KiB, buf, sizeof buf), ==, 0);
    g_assert_cmpint(block_rig_run(rig, BLOCK_WRITE, 1536, buf, 512), ==, 0);
    g_assert_cmpint(block_rig_run(rig, BLOCK_FLUSH, 0, NULL, 0), ==, 0);
    g_assert_cmpint(block_rig_run(rig, BLOCK_READ, 60 * KiB, back, sizeof back), ==, 0);
    g_assert_cmpint(memcmp(buf, back, sizeof buf), ==, 0);
    g_assert_cmpint(block_rig_run(rig, BLOCK_READ, 1024, back, 1536), ==, 0);
    g_assert_true(back[511] == 0xaa && !memcmp(back + 512, buf, 512) && back[1024] == 0xaa);
    g_assert_cmpint(block_rig_run(rig, BLOCK_ZERO, 4096, NULL, 8192), ==, 0);
    g_assert_cmpint(block_rig_run(rig, BLOCK_READ, 8192, back, sizeof back), ==, 0);
    g_assert_true(block_is_zero(back, sizeof back));
    g_assert_cmpint(block_rig_run(rig, BLOCK_READ, 12288, back, 512), ==, 0);
    g_assert_cmpint(back[0], ==, 0xaa);
    /* What lies outside, or between sectors. */
    g_assert_cmpint(block_rig_run(rig, BLOCK_READ, 64 * KiB, back, 512), ==, EINVAL);
    g_assert_cmpint(block_rig_run(rig, BLOCK_WRITE, 64 * KiB - 512, back, 1024), ==, EINVAL);
    g_assert_cmpint(block_rig_run(rig, BLOCK_READ, UINT64_MAX - 511, back, 512), ==, EINVAL);
    g_assert_cmpint(block_rig_run(rig, BLOCK_READ, 256, back, 512), ==, EINVAL);
}

static void test_discard(BlockRig *rig, gconstpointer options)
{
    uint8_t back[512];
    bool    unmap = strstr(options, "unmap");
    block_rig_attach(rig, options);
    g_assert_cmpint(block_rig_run(rig, BLOCK_DISCARD, 0, NULL, 32 * KiB), ==, 0);
    g_assert_cmpint(block_rig_run(rig, BLOCK_READ, 4096, back, 512), ==, 0);
    g_assert_cmpint(back[0], ==, unmap ? 0 : 0xaa);
}

static void test_detect_zeroes(BlockRig *rig, gconstpointer unused)
{
    g_autofree uint8_t *zeros = g_malloc0(64 * KiB);
    struct stat         st;
    block_rig_attach(rig, "file=@a.img,format=raw,discard=unmap,detect-zeroes=unmap");
    g_assert_cmpint(block_rig_run(rig, BLOCK_WRITE, 0, zeros, 64 * KiB), ==, 0);
    g_assert_cmpint(stat(block_rig_path(rig, "a.img"), &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 64 * KiB);
    g_assert_cmpint(st.st_blocks, ==, 0);
}

/* A last sector that is not all there reads as zeros at its end, and can be written. */
static void test_odd_size(BlockRig *rig, gconstpointer unused)
{
    uint8_t buf[512];
    block_rig_make_file(rig, "odd.img", 1000, 0x55);
    block_rig_attach(rig, "file=@odd.img,format=raw");
    g_assert_cmpint(block_user_size(&rig->user), ==, 1024);
    g_assert_cmpint(block_rig_run(rig, BLOCK_READ, 512, buf, 512), ==, 0);
    g_assert_true(buf[487] == 0x55 && buf[488] == 0 && buf[511] == 0);
    memset(buf, 0x77, sizeof buf);
    g_assert_cmpint(block_rig_run(rig, BLOCK_WRITE, 512, buf, 512), ==, 0);
    memset(buf, 0, sizeof buf);
    g_assert_cmpint(block_rig_run(rig, BLOCK_READ, 512, buf, 512), ==, 0);
    g_assert_cmpint(buf[511], ==, 0x77);
}

static void test_read_only(BlockRig *rig, gconstpointer options)
{
    uint8_t buf[512] = { 0 };
    block_rig_attach(rig, options);
    g_assert_false(rig->user.writable);
    g_assert_cmpint(block_rig_run(rig, BLOCK_READ, 0, buf, 512), ==, 0);
    g_assert_cmpint(block_rig_run(rig, BLOCK_WRITE, 0, buf, 512), ==, EACCES);
    g_assert_cmpint(block_rig_run(rig, BLOCK_ZERO, 0, NULL, 512), ==, EACCES);
    g_assert_cmpint(block_rig_run(rig, BLOCK_DISCARD, 0, NULL, 512), ==, EACCES);
    g_assert_cmpint(block_rig_run(rig, BLOCK_FLUSH, 0, NULL, 0), ==, 0);
}

/* A guest must not make the host believe in another format. */
static void test_forged_header(BlockRig *rig, gconstpointer format)
{
    uint8_t          buf[1024] = "QFI\xfb\0\0\0\3";
    g_autofree char *options   = g_strconcat("file=@a.img", format, NULL);
    int              expected  = *(const char *)format ? 0 : EPERM;
    block_rig_attach(rig, options);
    g_assert_cmpint(block_rig_run(rig, BLOCK_WRITE, 0, buf, 512), ==, expected);
    g_assert_cmpint(block_rig_run(rig, BLOCK_WRITE, 0, buf, 1024), ==, expected);
    g_assert_cmpint(block_rig_run(rig, BLOCK_WRITE, 512, buf, 512), ==, 0);
    buf[0] = 'X';
    g_assert_cmpint(block_rig_run(rig, BLOCK_WRITE, 0, buf, 1024), ==, 0);
}

/* What is written is read back, and is gone afterwards. Others may read the image meanwhile, and do the same. */
static void test_snapshot(BlockRig *rig, gconstpointer unused)
{
    g_auto(Error) err = {};
    uint8_t buf[4096], back[4096];
    memset(buf, 0x77, sizeof buf);
    block_rig_attach(rig, "file=@a.img,format=raw,snapshot=on");
    g_assert_true(rig->user.writable);
    g_assert_cmpint(block_rig_run(rig, BLOCK_WRITE, 1024, buf, sizeof buf), ==, 0);
    g_assert_cmpint(block_rig_run(rig, BLOCK_FLUSH, 0, NULL, 0), ==, 0);
    g_assert_cmpint(block_rig_run(rig, BLOCK_READ, 1536, back, sizeof back), ==, 0);
    g_assert_true(back[0] == 0x77 && back[3583] == 0x77 && back[3584] == 0xaa);
    block_rig_refuse(rig, "file=@a.img,format=raw", "kept from writers");
    Drive *second = block_rig_drive(rig, "file=@a.img,format=raw,snapshot=on", &err);
    g_assert_cmpint(block_node_read(second->node, 1024, back, sizeof back), ==, 0);
    g_assert_true(back[0] == 0xaa && !memcmp(back, back + 1, sizeof back - 1));
    /* A CD-ROM takes no writes in any case. */
    block_rig_make_file(rig, "b.img", 4096, 0);
    g_assert_false(block_rig_drive(rig, "file=@b.img,format=raw,snapshot=on,media=cdrom", &err)->node->writable);
    g_autofree char *contents = NULL;
    gsize            len;
    g_assert_true(g_file_get_contents(block_rig_path(rig, "a.img"), &contents, &len, NULL));
    g_assert_true(len == 64 * KiB && contents[1024] == (char)0xaa && !memcmp(contents, contents + 1, len - 1));
}

/* --- many requests at once --- */

enum { MANY = 200 };

typedef struct Many {
    BlockRequest r[MANY];
    uint8_t      buf[MANY][512];
    unsigned     done, cancelled;
} Many;

static void count(BlockRequest *r, int error)
{
    Many *m = r->opaque;
    m->done++;
    m->cancelled += error == ECANCELED;
    g_assert_true(!error || error == ECANCELED);
}

static void submit_many(BlockRig *rig, Many *m, bool write)
{
    m->done = m->cancelled = 0;
    for (unsigned i = 0; i < MANY; i++) {
        BlockRequest *r = &m->r[i];
        *r              = (BlockRequest){ .done = count, .opaque = m };
        if (write) {
            memset(m->buf[i], (int)i, 512);
            block_write(&rig->user, r, (i % 128) * 512, m->buf[i], 512);
        } else {
            block_read(&rig->user, r, (i % 128) * 512, m->buf[i], 512);
        }
    }
}

static void test_many(BlockRig *rig, gconstpointer unused)
{
    g_autofree Many *m = g_new0(Many, 1);
    block_rig_attach(rig, "file=@a.img,format=raw");
    for (unsigned round = 0; round < 20; round++) {
        submit_many(rig, m, false);
        while (m->done < MANY) {
            loop_step(rig->loop, true);
        }
        g_assert_cmpint(m->cancelled, ==, 0);
        submit_many(rig, m, false);
        block_drain(&rig->user);
        g_assert_cmpint(m->done, ==, MANY);
        submit_many(rig, m, true);
        if (round & 1) {
            loop_step(rig->loop, false);
        }
        block_cancel(&rig->user);
        g_assert_cmpint(m->done, ==, MANY);
        g_assert_null(rig->user.requests);
    }
    submit_many(rig, m, true);
    block_detach(&rig->user);
    g_assert_cmpint(m->done, ==, MANY);
    loop_step(rig->loop, false); /* the wake-up for what nobody waits for any more */
}

/* --- errors of the host --- */

/* A limit on the size of files is as good as a full disk: EFBIG, which only werror=stop holds the machine for. */
static void test_stop(BlockRig *rig, gconstpointer policy)
{
    struct rlimit    before, small = { .rlim_cur = 64 * KiB };
    uint8_t          buf[1024] = { 1 };
    g_autofree char *options   = g_strconcat("file=@odd.img,format=raw,werror=", policy, NULL);
    Many            *m         = g_new0(Many, 1);
    block_rig_make_file(rig, "odd.img", 64 * KiB + 1, 0x55); /* the last sector lies beyond the limit */
    block_rig_attach(rig, options);
    g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &before), ==, 0);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &small), ==, 0);
    if (strcmp(policy, "stop") != 0) {
        int error = block_rig_run(rig, BLOCK_WRITE, 64 * KiB, buf, 512);
        g_assert_cmpint(error, ==, strcmp(policy, "ignore") ? EFBIG : 0);
        g_assert_cmpint(rig->stops, ==, 0);
    } else {
        m->r[0] = (BlockRequest){ .done = count, .opaque = m };
        block_write(&rig->user, &m->r[0], 64 * KiB, buf, 512);
        while (!rig->stops) {
            loop_step(rig->loop, true);
        }
        g_assert_cmpint(rig->last_stop, ==, EFBIG);
        block_drain(&rig->user); /* does not wait for it */
        block_hub_retry(rig->hub);
        while (rig->stops < 2) {
            loop_step(rig->loop, true);
        }
        g_assert_cmpint(m->done, ==, 0);
        setrlimit(RLIMIT_FSIZE, &before);
        block_hub_retry(rig->hub);
        block_drain(&rig->user);
        g_assert_cmpint(m->done, ==, 1);
        g_assert_cmpint(m->cancelled, ==, 0);
    }
    setrlimit(RLIMIT_FSIZE, &before);
    g_free(m);
}

/* --- drives --- */

static void test_places(BlockRig *rig, gconstpointer unused)
{
    g_auto(Error) err = {};
    for (char c = 'b'; c < 'h'; c++) {
        g_autofree char *name = g_strdup_printf("%c.img", c);
        block_rig_make_file(rig, name, 4096, 0);
    }
    Drive *a = block_rig_drive(rig, "file=@a.img,format=raw", &err);
    Drive *d = block_rig_drive(rig, "file=@d.img,format=raw,index=3", &err);
    Drive *c = block_rig_drive(rig, "file=@c.img,media=cdrom,format=raw,bus=1", &err);
    Drive *b = block_rig_drive(rig, "file=@b.img,format=raw,id=disk-b,cache=none,file.locking=off", &err);
    Drive *e = block_rig_drive(rig, "media=cdrom", &err);
    g_assert_true(a && b && c && d && e);
    g_assert_cmpstr(a->id, ==, "ide0-hd0");
    g_assert_cmpstr(b->id, ==, "disk-b");
    g_assert_cmpstr(c->id, ==, "ide1-cd0");
    g_assert_cmpstr(d->id, ==, "ide1-hd1");
    g_assert_true(drive_at(rig->hub, DRIVE_IDE, 0, 0) == a && drive_at(rig->hub, DRIVE_IDE, 0, 1) == b);
    g_assert_true(drive_at(rig->hub, DRIVE_IDE, 1, 0) == c && drive_at(rig->hub, DRIVE_IDE, 1, 1) == d);
    g_assert_true(e->bus == 2 && e->unit == 0 && !e->node && e->cdrom);
    g_assert_true(!c->node->writable && b->node->o.direct && b->write_cache && a->node->writable);
    block_rig_refuse(rig, "file=@e.img,format=raw,index=1",
                     "drive 'disk-b' is at index=1 (bus=0,unit=1) of if=ide already");
    block_rig_refuse(rig, "file=@e.img,format=raw,index=1,unit=0", "say the same");
    block_rig_refuse(rig, "file=@e.img,format=raw,bus=0", "bus=0: all 2 units are taken");
    block_rig_refuse(rig, "file=@e.img,format=raw,bus=0,unit=2", "units 0 to 1");
    block_rig_refuse(rig, "file=@e.img,format=raw,if=none,id=disk-b", "there is a drive of that name already");
    block_rig_refuse(rig, "file=@e.img,format=raw,if=none,node-name=disk-b", "a drive with that id already");
    g_assert_false(drives_check_used(rig->hub, &err));
    g_assert_nonnull(strstr(err.text, "drive 'ide0-hd0': the machine has no place for it: if=ide, bus=0, unit=0"));
    error_clear(&err);
    /* One user a drive; an empty one is no error. */
    BlockUser second = { 0 };
    g_assert_true(block_attach(&rig->user, rig->hub, "ide0-hd0", BLOCK_WRITES, "first", &err));
    g_assert_false(block_attach(&second, rig->hub, "ide0-hd0", BLOCK_READS, "second", &err));
    g_assert_nonnull(strstr(err.text, "drive 'ide0-hd0' is in use by first already"));
    error_clear(&err);
    g_assert_false(block_attach(&second, rig->hub, "ide1-cd0", BLOCK_WRITES, "second", &err));
    g_assert_nonnull(strstr(err.text, "'ide1-cd0' is read-only, and second is not"));
    error_clear(&err);
    g_assert_false(block_attach(&second, rig->hub, "zz", BLOCK_WRITES, "second", &err));
    g_assert_nonnull(strstr(err.text, "no drive and no block node 'zz'"));
    g_assert_true(block_attach(&second, rig->hub, e->id, BLOCK_READS, "second", &err) && !second.node);
    g_assert_cmpint(block_user_size(&second), ==, 0);
    block_detach(&second);
    block_detach(&second);
}

static void test_refused(BlockRig *rig, gconstpointer unused)
{
    static const struct {
        const char *text, *words;
    } wrong[] = {
        { "file=@none.img", "there is no such file" },
        { "file=@no/none.img", "there is no folder" },
        { "file=@", "is a folder, not an image" },
        { "file=/dev/null", "neither a regular file nor a disk" },
        { "file=@a.img,format=qcow2", "is no qcow2 image" },
        { "file=@a.img,format=qcow", "block driver 'qcow': not supported yet" },
        { "file=@a.img,format=rawx", "no block driver 'rawx' (did you mean 'raw'?)" },
        { "file=@a.img,fromat=raw", "no property 'fromat' (did you mean 'format'?)" },
        { "file=@a.img,file.lockin=off", "no property 'lockin' (did you mean 'locking'?)" },
        { "file=@a.img,lazy-refcounts=on,format=raw", "no property 'lazy-refcounts'" },
        { "file=nbd://localhost", "block driver 'nbd': not supported yet" },
        { "file=json:{}", "'json:' as a file name: not supported yet" },
        { "file=xx:yy", "a file of that name is written ./xx:yy" },
        { "file=@a.img,if=virtio", "if=virtio: not supported yet" },
        { "file=@a.img,if=idee", "idee" },
        { "file=@a.img,bps=1000", "not supported yet" },
        { "file=@a.img,throttling.bps-total=1000", "throttling: not supported yet" },
        { "file=@a.img,aio=native", "aio=native: not supported yet" },
        { "file=@a.img,cache=fast", "cache=fast: the modes are" },
        { "file=@a.img,cache.direct=maybe", "maybe" },
        { "file=@a.img,rerror=enospc", "rerror=enospc: reading needs no space" },
        { "file=@a.img,media=cdrom,readonly=off", "a CD-ROM cannot be written" },
        { "file=@a.img,force-share=on", "force-share=on needs read-only=on" },
        { "file=@a.img,detect-zeroes=unmap,format=raw", "detect-zeroes=unmap needs discard=unmap" },
        { "format=raw", "format= needs a file=" },
        { "file=@a.img,format=raw,driver=raw", "say the same" },
        { "file=@a.img,file.filename=x", "say the same" },
        { "file=@a.img,format=raw,offset=512", "not supported yet" },
        { "file=@a.img,id=1x", "cannot be an id" },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        block_rig_refuse(rig, wrong[i].text, wrong[i].words);
    }
    g_assert_null(block_find_node(rig->hub, "#block000"));
}

/* --- nodes --- */

static BlockNode *add_node(BlockRig *rig, const char *text, Error *err)
{
    g_autofree char *full   = g_strdup_printf(text, rig->folder);
    g_autoptr(Json) options = optstr_parse(full, "driver", err);
    return block_add_node(rig->hub, options, true, err);
}

static void refuse_node(BlockRig *rig, const char *text, const char *words)
{
    g_auto(Error) err = {};
    g_assert_null(add_node(rig, text, &err));
    if (!strstr(err.text, words)) {
        g_error("%s: '%s' is not in '%s'", text, words, err.text);
    }
}

static void test_nodes(BlockRig *rig, gconstpointer unused)
{
    g_auto(Error) err = {};
    uint8_t buf[512];
    g_assert_nonnull(add_node(rig, "driver=file,node-name=f,filename=%s/a.img", &err));
    refuse_node(rig, "driver=raw,node-name=f,file=f", "there is a node of that name already");
    refuse_node(rig, "driver=raw,file=f", "property 'node-name' is missing");
    refuse_node(rig, "driver=raw,node-name=r", "property 'file' is missing");
    refuse_node(rig, "driver=raw,node-name=r,file=g", "file=g: there is no node of that name");
    refuse_node(rig, "driver=raw,node-name=r,file.driver=file,file.filename=%s/a.img",
                "locked for writing by this program");
    refuse_node(rig, "node-name=r,file=f", "property 'driver' is missing");
    refuse_node(rig, "driver=file,node-name=r", "property 'filename' is missing");
    g_assert_nonnull(add_node(rig, "raw,node-name=r,file=f", &err));
    refuse_node(rig, "driver=raw,node-name=r2,file=f", "node 'f' is in use by node 'r' already, which writes it");
    g_assert_false(block_remove_node(rig->hub, "f", &err));
    g_assert_nonnull(strstr(err.text, "node 'f' is in use by node 'r'"));
    error_clear(&err);
    g_assert_true(block_attach(&rig->user, rig->hub, "r", BLOCK_WRITES, "disk", &err));
    g_assert_cmpint(block_rig_run(rig, BLOCK_READ, 0, buf, 512), ==, 0);
    g_assert_false(block_remove_node(rig->hub, "r", &err));
    g_assert_nonnull(strstr(err.text, "node 'r' is in use by disk"));
    error_clear(&err);
    g_assert_false(block_remove_node(rig->hub, "q", &err));
    block_detach(&rig->user);
    g_assert_true(block_remove_node(rig->hub, "r", &err) || error_is_set(&err));
    error_clear(&err);
    g_assert_true(block_remove_node(rig->hub, "f", &err));
    g_assert_nonnull(
        add_node(rig, "driver=raw,node-name=r,read-only=on,file.driver=file,file.filename=%s/a.img", &err));
    g_assert_nonnull(add_node(rig, "driver=file,node-name=f,read-only=on,filename=%s/a.img", &err));
    refuse_node(rig, "driver=raw,node-name=w,file=f", "the node below is read-only");
}

/* --- media --- */

static struct {
    bool     open, locked;
    unsigned asked, changes, moves;
} tray;

static bool tray_is_open(const BlockUser *user)
{
    return tray.open;
}

static bool tray_is_locked(const BlockUser *user)
{
    return tray.locked;
}

static void tray_move(BlockUser *user, bool open)
{
    tray.open = open;
    tray.moves++;
    block_tray_moved(user, open);
}

static void tray_ask(BlockUser *user)
{
    tray.asked++;
}

static void tray_changed(BlockUser *user)
{
    g_assert_true(tray.open && !user->requests);
    tray.changes++;
}

static const BlockTray fake_tray = { .is_open   = tray_is_open,
                                     .is_locked = tray_is_locked,
                                     .move      = tray_move,
                                     .ask_eject = tray_ask,
                                     .changed   = tray_changed };

static void test_media(BlockRig *rig, gconstpointer unused)
{
    g_auto(Error) err = {};
    uint8_t          buf[512];
    g_autofree char *b = g_strdup(block_rig_path(rig, "b.img"));
    memset(&tray, 0, sizeof tray);
    block_rig_make_file(rig, "b.img", 8192, 0xbb);
    g_assert_nonnull(block_rig_drive(rig, "media=cdrom,index=2", &err));
    g_assert_true(block_attach(&rig->user, rig->hub, "ide1-cd0", BLOCK_READS, "ide-cd", &err));
    g_assert_null(block_find_removable(rig->hub, "ide1-cd0", &err));
    g_assert_nonnull(strstr(err.text, "the medium of ide-cd cannot be changed"));
    error_clear(&err);
    g_assert_null(block_find_removable(rig->hub, "ide1-cd1", &err));
    error_clear(&err);
    rig->user.tray = &fake_tray;
    BlockUser *u   = block_find_removable(rig->hub, "ide1-cd0", &err);
    g_assert_true(u == &rig->user && !u->node);
    /* What cannot be opened changes nothing. */
    g_assert_false(block_change_medium(u, "/nowhere", NULL, false, &err));
    g_assert_nonnull(strstr(err.text, "there is no such file"));
    error_clear(&err);
    g_assert_true(!tray.moves && !tray.open);
    g_assert_true(block_change_medium(u, b, NULL, false, &err));
    g_assert_true(tray.moves == 2 && !tray.open && tray.changes == 1);
    g_assert_cmpint(block_user_size(u), ==, 8192);
    g_assert_cmpint(block_rig_run(rig, BLOCK_READ, 0, buf, 512), ==, 0);
    g_assert_cmpint(buf[0], ==, 0xbb);
    g_assert_cmpint(block_rig_run(rig, BLOCK_WRITE, 0, buf, 512), ==, EACCES);
    /* Locked: the guest is asked; by force it opens all the same. */
    tray.locked = true;
    g_assert_false(block_eject(u, false, &err));
    g_assert_nonnull(strstr(err.text, "the guest has locked the tray of ide-cd"));
    error_clear(&err);
    g_assert_true(tray.asked == 1 && !tray.open && u->node);
    g_assert_false(block_remove_medium(u, &err));
    error_clear(&err);
    g_assert_true(block_eject(u, true, &err));
    g_assert_true(tray.open && !u->node && tray.changes == 2 && !drive_find(rig->hub, "ide1-cd0")->node);
    g_assert_cmpint(block_rig_run(rig, BLOCK_READ, 0, buf, 512), ==, ENOMEDIUM);
    g_assert_null(rig->hub->nodes);
    /* A node that is there. */
    BlockNode *n = add_node(rig, "driver=file,node-name=n,read-only=on,filename=%s/b.img", &err);
    g_assert_true(block_insert_medium(u, n, &err));
    g_assert_false(block_insert_medium(u, n, &err));
    g_assert_nonnull(strstr(err.text, "there is a medium in ide-cd already"));
    error_clear(&err);
    block_close_tray(u);
    g_assert_false(block_remove_node(rig->hub, "n", &err));
    error_clear(&err);
    g_assert_true(block_eject(u, true, &err) && block_remove_node(rig->hub, "n", &err));
}

/* --- locks --- */

static void test_locks(BlockRig *rig, gconstpointer unused)
{
    g_auto(Error) err = {};
    g_assert_nonnull(block_rig_drive(rig, "file=@a.img,format=raw,id=w", &err));
    block_rig_refuse(rig, "file=@a.img,format=raw", "the image is locked for writing by this program itself");
    block_rig_refuse(rig, "file=@a.img,format=raw,readonly=on",
                     "the image is locked for writing by this program itself");
    g_assert_nonnull(block_rig_drive(rig, "file=@a.img,format=raw,readonly=on,force-share=on", &err));
    g_assert_nonnull(block_rig_drive(rig, "file=@a.img,format=raw,file.locking=off", &err));
    /* Other programs see the locks too. */
    int with = block_rig_program(rig, (const char *[]){ "qemu-io", "-f", "raw", "-c", "read 0 512", "@a.img", NULL });
    int without = block_rig_program(
        rig, (const char *[]){ "qemu-io", "-U", "-r", "-f", "raw", "-c", "read 0 512", "@a.img", NULL });
    g_assert_true(with != 0 && (without == 0 || without == -1));
    block_rig_make_file(rig, "b.img", 4096, 0);
    g_assert_nonnull(block_rig_drive(rig, "file=@b.img,format=raw,readonly=on", &err));
    g_assert_nonnull(block_rig_drive(rig, "file=@b.img,format=raw,readonly=on", &err));
    block_rig_refuse(rig, "file=@b.img,format=raw", "kept from writers by this program");
}

/* auto-read-only=on: others may read the file until somebody writes it, and again when nobody does any more. */
static void test_auto_read_only(BlockRig *rig, gconstpointer unused)
{
    g_auto(Error) err    = {};
    uint8_t     buf[512] = { 1 };
    const char *other    = "file=@a.img,format=raw,readonly=on,if=none";
    g_assert_nonnull(add_node(rig, "driver=file,node-name=f,auto-read-only=on,filename=%s/a.img", &err));
    g_assert_false(block_find_node(rig->hub, "f")->writable);
    g_assert_nonnull(block_rig_drive(rig, "file=@a.img,format=raw,readonly=on,id=r,file.locking=off", &err));
    g_assert_true(block_attach(&rig->user, rig->hub, "f", BLOCK_WRITES, "disk", &err));
    g_assert_cmpint(block_rig_run(rig, BLOCK_WRITE, 0, buf, 512), ==, 0);
    block_rig_refuse(rig, other, "locked for writing by this program");
    block_detach(&rig->user);
    g_assert_false(block_find_node(rig->hub, "f")->writable);
    g_assert_nonnull(block_rig_drive(rig, other, &err));
    g_assert_false(block_attach(&rig->user, rig->hub, "f", BLOCK_WRITES, "disk", &err));
    g_assert_nonnull(strstr(err.text, "kept from writers by this program"));
    error_clear(&err);
    g_assert_true(block_attach(&rig->user, rig->hub, "f", BLOCK_READS, "cd", &err));
    g_assert_cmpint(block_rig_run(rig, BLOCK_READ, 0, buf, 512), ==, 0);
    g_assert_cmpint(buf[0], ==, 1);
}

/* Another process that has the image is named. */
static void test_lock_holder(BlockRig *rig, gconstpointer unused)
{
    g_autofree char *path   = g_strdup(block_rig_path(rig, "a.img"));
    char            *argv[] = { "qemu-io", "-f", "raw", path, NULL };
    GPid             pid;
    int              in;
    if (!g_spawn_async_with_pipes(NULL, argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL, NULL, NULL, &pid,
                                  &in, NULL, NULL, NULL)) {
        g_test_skip("no qemu-io");
        return;
    }
    g_autofree char *words = g_strdup_printf("the image is locked for writing by process %d (qemu-io", (int)pid);
    struct flock     l     = { .l_type = F_UNLCK };
    int              fd    = open(path, O_RDONLY);
    for (unsigned i = 0; i < 1000 && l.l_type != F_RDLCK; i++) { /* until it has its locks */
        g_usleep(10000);
        l = (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 101, .l_len = 1 };
        g_assert_cmpint(fcntl(fd, F_OFD_GETLK, &l), ==, 0);
    }
    close(fd);
    g_auto(Error) err = {};
    BlockNode *n      = add_node(rig, "driver=file,node-name=n,filename=%s/a.img", &err);
    if (n || !strstr(err.text, words)) {
        g_error("'%s' is not in '%s'", words, n ? "no error" : err.text);
    }
    close(in); /* ends it */
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, data, function) g_test_add("/block/" name, BlockRig, data, setup, function, teardown)
    ADD("read-write", "file=@a.img,format=raw", test_read_write);
    ADD("read-write/direct", "file=@a.img,format=raw,cache=none", test_read_write);
    ADD("read-write/through", "file=@a.img,format=raw,cache=directsync", test_read_write);
    ADD("read-write/detect", "file=@a.img,format=raw,detect-zeroes=on", test_read_write);
    ADD("discard/ignore", "file=@a.img,format=raw", test_discard);
    ADD("discard/unmap", "file=@a.img,format=raw,discard=unmap", test_discard);
    ADD("detect-zeroes", NULL, test_detect_zeroes);
    ADD("odd-size", NULL, test_odd_size);
    ADD("read-only", "file=@a.img,format=raw,readonly=on", test_read_only);
    ADD("read-only/cdrom", "file=@a.img,media=cdrom", test_read_only);
    ADD("forged-header/guessed", "", test_forged_header);
    ADD("forged-header/given", ",format=raw", test_forged_header);
    ADD("snapshot", NULL, test_snapshot);
    ADD("many", NULL, test_many);
    ADD("error/report", "report", test_stop);
    ADD("error/enospc", "enospc", test_stop);
    ADD("error/ignore", "ignore", test_stop);
    ADD("error/stop", "stop", test_stop);
    ADD("drives/places", NULL, test_places);
    ADD("drives/refused", NULL, test_refused);
    ADD("nodes", NULL, test_nodes);
    ADD("media", NULL, test_media);
    ADD("locks", NULL, test_locks);
    ADD("auto-read-only", NULL, test_auto_read_only);
    ADD("locks/holder", NULL, test_lock_holder);
    return g_test_run();
}
