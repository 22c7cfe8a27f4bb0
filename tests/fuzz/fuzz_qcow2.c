/* qcow2 images: four bytes that say which requests come, then the file. It is opened and, if that works, read, written,
 * zeroed, trimmed and flushed; then opened again. Its backing file, whatever its name, is a small raw one. */

#include "fuzz.h"

#include "base/optstr.h"
#include "block/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAX_IMAGE = 256 << 10, REQUESTS = 16, LARGEST = 64 << 10 };

typedef struct Files {
    int image, backing;
} Files;

/* No path of the host's is opened. */
static int open_path(void *opaque, const char *path, int flags, int mode)
{
    const Files *f = opaque;
    char         fd[32];
    g_snprintf(fd, sizeof fd, "/proc/self/fd/%d", !strcmp(path, "/image") ? f->image : f->backing);
    return open(fd, flags & ~O_DIRECT, mode);
}

static int make_file(const void *data, size_t size)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    g_assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    return fd;
}

static uint32_t draw(uint32_t *state, uint32_t below)
{
    *state = *state * 1664525 + 1013904223;
    return (uint32_t)(((uint64_t)*state * below) >> 32);
}

/* At the beginning, at the end, or anywhere. */
static uint64_t draw_offset(uint32_t *state, uint64_t sectors)
{
    uint32_t some = (uint32_t)MIN(sectors, 64);
    switch (draw(state, 3)) {
    case 0: return draw(state, some);
    case 1: return sectors - 1 - draw(state, some);
    default: return ((uint64_t)draw(state, UINT32_MAX) << 20 ^ draw(state, UINT32_MAX)) % sectors;
    }
}

static void use(BlockNode *n, uint32_t state)
{
    static uint8_t buf[LARGEST], again[LARGEST];
    uint64_t       sectors = n->size / BLOCK_SECTOR;
    for (unsigned i = 0; i < REQUESTS && sectors; i++) {
        uint64_t offset = draw_offset(&state, sectors) * BLOCK_SECTOR;
        size_t   len    = (1 + draw(&state, LARGEST / BLOCK_SECTOR - 1)) * BLOCK_SECTOR;
        len             = (size_t)MIN(len, n->size - offset);
        switch (draw(&state, 6)) {
        case 0:
            if (!block_node_read(n, offset, buf, len) && !block_node_read(n, offset, again, len)) {
                g_assert(!memcmp(buf, again, len));
            }
            break;
        case 1: block_node_zero(n, offset, len, state & 1); break;
        case 2: block_node_discard(n, offset, len); break;
        case 3: block_node_flush(n); break;
        default:
            memset(buf, (int)i, len);
            len = MIN(len, BLOCK_SECTOR);
            if (!block_node_write(n, offset, buf, len)) { /* one sector reads back whatever shares its cluster */
                g_assert(!block_node_read(n, offset, again, len) && !memcmp(buf, again, len));
            }
            break;
        }
    }
}

static void open_and_use(BlockHub *hub, const char *more, uint32_t state)
{
    g_auto(Error) err     = {};
    g_autofree char *text = g_strconcat("driver=qcow2,node-name=q,file.driver=file,file.filename=/image,discard=unmap,"
                                        "l2-cache-size=1,file.locking=off",
                                        more, NULL);
    g_autoptr(Json) options = optstr_parse(text, NULL, &err);
    BlockNode *n            = block_add_node(hub, options, true, &err);
    bool       ok           = n != NULL;
    fuzz_check_error(ok, &err);
    if (ok) {
        use(n, state);
        g_assert(block_remove_node(hub, "q", &err));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool quiet;
    if (!quiet) { /* corrupt images are warned of; what finds bugs writes to the descriptor */
        FILE *nowhere = fopen("/dev/null", "w");
        stderr        = nowhere ? nowhere : stderr;
        quiet         = true;
    }
    if (size < 4 || size > MAX_IMAGE) {
        return 0;
    }
    static const uint8_t backing[3000] = { [0 ... 2999] = 0xbb };
    uint32_t             state;
    memcpy(&state, data, sizeof state);
    Files       f     = { make_file(data + 4, size - 4), make_file(backing, sizeof backing) };
    MachineLock lock  = { 0 };
    g_auto(Error) err = {};
    machine_lock_init(&lock);
    machine_lock(&lock);
    Loop     *loop = loop_new(&lock, &err);
    BlockHost host = { .open = open_path, .opaque = &f };
    BlockHub *hub  = block_hub_new(loop, &host, &err);
    open_and_use(hub, "", state);
    open_and_use(hub, ",read-only=on", state + 1);
    block_hub_free(hub);
    loop_free(loop);
    machine_unlock(&lock);
    machine_lock_destroy(&lock);
    close(f.image);
    close(f.backing);
    return 0;
}
