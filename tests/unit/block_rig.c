/* See block_rig.h. */

#include "block_rig.h"

#include "base/optstr.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int open_path(void *opaque, const char *path, int flags, int mode)
{
    return open(path, flags, mode);
}

static void stop(void *opaque, const BlockUser *user, BlockOp op, int error)
{
    BlockRig *rig  = opaque;
    rig->last_stop = error;
    rig->stops++;
}

void block_rig_setup(BlockRig *rig)
{
    g_auto(Error) err = {};
    *rig              = (BlockRig){ .folder = g_dir_make_tmp("quern-block-XXXXXX", NULL) };
    machine_lock_init(&rig->lock);
    machine_lock(&rig->lock);
    rig->loop      = loop_new(&rig->lock, &err);
    BlockHost host = { .open = open_path, .stop = stop, .opaque = rig };
    rig->hub       = block_hub_new(rig->loop, &host, &err);
    g_assert_nonnull(rig->hub);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    return remove(path);
}

void block_rig_teardown(BlockRig *rig)
{
    block_detach(&rig->user);
    block_hub_free(rig->hub);
    loop_free(rig->loop);
    machine_unlock(&rig->lock);
    machine_lock_destroy(&rig->lock);
    nftw(rig->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    g_free(rig->folder);
}

const char *block_rig_path(BlockRig *rig, const char *name)
{
    g_autofree char *path = g_build_filename(rig->folder, name, NULL);
    return g_intern_string(path);
}

void block_rig_make_file(BlockRig *rig, const char *name, uint64_t size, uint8_t fill)
{
    int fd = open(block_rig_path(rig, name), O_CREAT | O_TRUNC | O_WRONLY, 0600);
    g_assert_cmpint(fd, >=, 0);
    g_autofree uint8_t *data = g_malloc(MAX(size, 1));
    memset(data, fill, size);
    g_assert_cmpint(write(fd, data, size), ==, (ssize_t)size);
    close(fd);
}

static char *fill_in(BlockRig *rig, const char *text)
{
    g_auto(GStrv) parts     = g_strsplit(text, "@", -1);
    g_autofree char *folder = g_strconcat(rig->folder, "/", NULL);
    return g_strjoinv(folder, parts);
}

Drive *block_rig_drive(BlockRig *rig, const char *text, Error *err)
{
    g_autofree char *filled = fill_in(rig, text);
    g_autoptr(Json) options = optstr_parse(filled, NULL, err);
    return options ? drive_add(rig->hub, options, true, err) : NULL;
}

void block_rig_refuse(BlockRig *rig, const char *text, const char *words)
{
    g_auto(Error) err = {};
    if (block_rig_drive(rig, text, &err)) {
        g_error("not refused: %s", text);
    }
    if (!strstr(err.text, words)) {
        g_error("%s: '%s' is not in '%s'", text, words, err.text);
    }
}

void block_rig_attach(BlockRig *rig, const char *text)
{
    g_auto(Error) err     = {};
    g_autofree char *full = g_strconcat("if=none,id=d0,", text, NULL);
    if (!block_rig_drive(rig, full, &err) ||
        !block_attach(&rig->user, rig->hub, "d0", BLOCK_WRITES_IF_CAN, "the test", &err)) {
        g_error("%s: %s", text, err.text);
    }
}

static void done(BlockRequest *r, int error)
{
    *(int *)r->opaque = error;
}

int block_rig_run(BlockRig *rig, BlockOp op, uint64_t offset, void *buf, uint64_t size)
{
    int          result = -1;
    struct iovec iov    = { .iov_base = buf, .iov_len = size };
    BlockRequest r      = {
             .op = op, .offset = offset, .size = size, .iov = &iov, .n_iov = 1, .done = done, .opaque = &result
    };
    block_submit(&rig->user, &r);
    g_assert_cmpint(result, ==, -1);
    while (result == -1) {
        loop_step(rig->loop, true);
    }
    return result;
}

int block_rig_program(BlockRig *rig, const char *const *argv)
{
    g_autoptr(GPtrArray) args = g_ptr_array_new_with_free_func(g_free);
    int status;
    for (size_t i = 0; argv[i]; i++) {
        g_ptr_array_add(args, fill_in(rig, argv[i]));
    }
    g_ptr_array_add(args, NULL);
    if (!g_spawn_sync(NULL, (char **)args->pdata, NULL,
                      G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, NULL,
                      NULL, &status, NULL)) {
        return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}
