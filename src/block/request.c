/* Requests: from a device through the workers' queue and back to the main loop.
 *
 * A request is in the list of its user from block_submit() to `done`. The mutex guards the queue, the list of what is
 * done and the state of requests; the lists of users belong to the machine lock. The main loop is woken up by an
 * eventfd, once for all that is done meanwhile. */

#include "block/hub.h"

#include "base/checked.h"
#include "base/signals.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST_QUEUED = 1, REQUEST_RUNNING, REQUEST_DONE, REQUEST_HELD };

/* --- workers --- */

static int carry_out(const BlockRequest *r)
{
    BlockNode *n     = r->user->node;
    int        error = 0;
    switch (r->op) {
    case BLOCK_READ: return block_node_readv(n, r->offset, r->iov, r->n_iov);
    case BLOCK_WRITE: error = block_node_writev(n, r->offset, r->iov, r->n_iov); break;
    case BLOCK_ZERO: error = block_node_zero(n, r->offset, r->size, n->o.discard >= BLOCK_DISCARD_UNMAP); break;
    case BLOCK_DISCARD: return block_node_discard(n, r->offset, r->size);
    case BLOCK_FLUSH: return block_node_flush(n);
    }
    return !error && r->fua ? block_node_flush(n) : error;
}

/* Mutex held. */
static void put_done(BlockHub *hub, BlockRequest *r, int error)
{
    r->error        = error;
    r->state        = REQUEST_DONE;
    r->queued       = NULL;
    *hub->done_last = r;
    hub->done_last  = &r->queued;
    if (!hub->told) {
        hub->told = true;
        while (write(hub->wake_fd, &(uint64_t){ 1 }, sizeof(uint64_t)) < 0 && errno == EINTR) {
        }
    }
    pthread_cond_broadcast(&hub->finished);
}

static void *worker(void *opaque)
{
    BlockHub *hub = opaque;
    thread_set_name("block");
    pthread_mutex_lock(&hub->mutex);
    for (;;) {
        while (!hub->first && !hub->closing) {
            hub->n_idle++;
            pthread_cond_wait(&hub->work, &hub->mutex);
            hub->n_idle--;
        }
        BlockRequest *r = hub->first;
        if (!r) {
            break;
        }
        hub->first = r->queued;
        hub->last  = hub->first ? hub->last : &hub->first;
        r->state   = REQUEST_RUNNING;
        pthread_mutex_unlock(&hub->mutex);
        int error = carry_out(r);
        pthread_mutex_lock(&hub->mutex);
        put_done(hub, r, error);
    }
    pthread_mutex_unlock(&hub->mutex);
    return NULL;
}

/* Another thread when all are busy. Signals are for other threads. Mutex held. False: there is none at all. */
static bool add_worker(BlockHub *hub)
{
    sigset_t before;
    signals_hold(&before);
    hub->n_workers += pthread_create(&hub->workers[hub->n_workers], NULL, worker, hub) == 0;
    signals_let(&before);
    return hub->n_workers;
}

static void enqueue(BlockHub *hub, BlockRequest *r)
{
    pthread_mutex_lock(&hub->mutex);
    r->state   = REQUEST_QUEUED;
    r->queued  = NULL;
    *hub->last = r;
    hub->last  = &r->queued;
    if (hub->n_idle) {
        pthread_cond_signal(&hub->work);
    } else if (hub->n_workers < BLOCK_MAX_WORKERS && !add_worker(hub)) {
        hub->first = NULL; /* nobody else is in the queue: there never was a thread */
        hub->last  = &hub->first;
        put_done(hub, r, EAGAIN);
    }
    pthread_mutex_unlock(&hub->mutex);
}

/* --- what is done --- */

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static void unlink_request(BlockRequest *r)
{
    if (r->next) {
        r->next->prev = r->prev;
    }
    if (r->prev) {
        r->prev->next = r->next;
    } else {
        r->user->requests = r->next;
    }
}

/* Is this error the machine's affair rather than the guest's? Sets what the guest sees. */
static bool holds_machine(BlockRequest *r, int *error)
{
    BlockUser   *u      = r->user;
    BlockOnError policy = r->op == BLOCK_READ ? u->on_read_error : u->on_write_error;
    if (policy == BLOCK_ERROR_IGNORE) {
        *error = 0;
    }
    if (!u->hub->host.stop || (policy != BLOCK_ERROR_STOP && (policy != BLOCK_ERROR_ENOSPC || *error != ENOSPC))) {
        return false;
    }
    r->state = REQUEST_HELD;
    u->hub->host.stop(u->hub->host.opaque, u, r->op, *error);
    return true;
}

static void count(const BlockRequest *r, int error)
{
    BlockStats *s = &r->user->stats;
    if (error) {
        (error == EINVAL || error == ENOMEDIUM ? s->invalid : s->failed)[r->op]++;
        return;
    }
    s->operations[r->op]++;
    s->bytes[r->op] += r->op == BLOCK_FLUSH ? 0 : r->size;
    s->time_ns[r->op] += (uint64_t)(now_ns() - r->since);
    if (r->op == BLOCK_WRITE || r->op == BLOCK_ZERO) {
        s->highest = MAX(s->highest, r->offset + r->size);
    }
}

static void complete(BlockRequest *r)
{
    int error = r->error;
    count(r, error);
    if (!error || error == ENOMEDIUM || error == EINVAL || !holds_machine(r, &error)) {
        unlink_request(r);
        r->done(r, error);
    }
}

/* The first request that is done, of `user` only if it is not NULL. */
static BlockRequest *take_done(BlockHub *hub, const BlockUser *user)
{
    pthread_mutex_lock(&hub->mutex);
    BlockRequest **at = &hub->done_first;
    while (*at && user && (*at)->user != user) {
        at = &(*at)->queued;
    }
    BlockRequest *r = *at;
    if (r && !(*at = r->queued)) {
        hub->done_last = at;
    }
    pthread_mutex_unlock(&hub->mutex);
    return r;
}

static void wake_main(void *opaque, unsigned events)
{
    BlockHub     *hub = opaque;
    BlockRequest *r;
    uint64_t      count;
    pthread_mutex_lock(&hub->mutex);
    hub->told = read(hub->wake_fd, &count, sizeof count) < 0 && errno == EINTR;
    pthread_mutex_unlock(&hub->mutex);
    while ((r = take_done(hub, NULL))) {
        complete(r);
    }
}

bool block_workers_init(BlockHub *hub, Error *err)
{
    pthread_mutex_init(&hub->mutex, NULL);
    pthread_cond_init(&hub->work, NULL);
    pthread_cond_init(&hub->finished, NULL);
    hub->last      = &hub->first;
    hub->done_last = &hub->done_first;
    hub->wake_fd   = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (hub->wake_fd < 0) {
        return error_set_errno(err, errno, "cannot make an eventfd");
    }
    hub->wake = loop_watch(hub->loop, hub->wake_fd, LOOP_READ, wake_main, hub);
    return true;
}

void block_workers_end(BlockHub *hub)
{
    pthread_mutex_lock(&hub->mutex);
    hub->closing = true;
    pthread_cond_broadcast(&hub->work);
    pthread_mutex_unlock(&hub->mutex);
    for (unsigned i = 0; i < hub->n_workers; i++) {
        pthread_join(hub->workers[i], NULL);
    }
    if (hub->wake_fd >= 0) {
        loop_unwatch(hub->wake);
        close(hub->wake_fd);
    }
    pthread_mutex_destroy(&hub->mutex);
    pthread_cond_destroy(&hub->work);
    pthread_cond_destroy(&hub->finished);
}

/* --- submitting --- */

static int check_request(const BlockUser *user, const BlockRequest *r)
{
    uint64_t total = 0;
    if (!user->node) {
        return ENOMEDIUM;
    }
    if (r->op != BLOCK_READ && r->op != BLOCK_FLUSH && !user->writable) {
        return EACCES;
    }
    for (unsigned i = 0; i < r->n_iov && (r->op == BLOCK_READ || r->op == BLOCK_WRITE); i++) {
        total += r->iov[i].iov_len;
    }
    bool data = r->op == BLOCK_READ || r->op == BLOCK_WRITE;
    return r->op != BLOCK_FLUSH && (!range_fits(r->offset, r->size, block_user_size(user)) ||
                                    ((r->offset | r->size) & (BLOCK_SECTOR - 1)) || (data && total != r->size))
               ? EINVAL
               : 0;
}

void block_submit(BlockUser *user, BlockRequest *r)
{
    BlockHub *hub = user->hub;
    r->user       = user;
    r->since      = now_ns();
    r->prev       = NULL;
    r->next       = user->requests;
    if (r->next) {
        r->next->prev = r;
    }
    user->requests = r;
    r->fua |= !user->write_cache;
    int error = check_request(user, r);
    if (!error) {
        enqueue(hub, r);
        return;
    }
    pthread_mutex_lock(&hub->mutex);
    put_done(hub, r, error);
    pthread_mutex_unlock(&hub->mutex);
}

static void submit_one(BlockUser *user, BlockRequest *r, BlockOp op, uint64_t offset, void *buf, size_t size)
{
    r->op     = op;
    r->offset = offset;
    r->size   = size;
    r->one    = (struct iovec){ .iov_base = buf, .iov_len = size };
    r->iov    = &r->one;
    r->n_iov  = 1;
    block_submit(user, r);
}

void block_read(BlockUser *user, BlockRequest *r, uint64_t offset, void *buf, size_t size)
{
    submit_one(user, r, BLOCK_READ, offset, buf, size);
}

void block_write(BlockUser *user, BlockRequest *r, uint64_t offset, const void *buf, size_t size)
{
    submit_one(user, r, BLOCK_WRITE, offset, (void *)(uintptr_t)buf, size);
}

/* --- waiting --- */

/* Takes the user's requests out of the queue, waits for those that are carried out, forgets that they are done. Mutex
 * held. */
static void withdraw(BlockHub *hub, const BlockUser *user)
{
    for (BlockRequest **at = &hub->first; *at;) {
        if ((*at)->user == user) {
            *at = (*at)->queued;
        } else {
            at = &(*at)->queued;
        }
    }
    for (hub->last = &hub->first; *hub->last; hub->last = &(*hub->last)->queued) {
    }
    for (const BlockRequest *r = user->requests; r;) {
        if (r->state == REQUEST_RUNNING) {
            pthread_cond_wait(&hub->finished, &hub->mutex);
            r = user->requests;
        } else {
            r = r->next;
        }
    }
    for (BlockRequest **at = &hub->done_first; *at;) {
        if ((*at)->user == user) {
            *at = (*at)->queued;
        } else {
            at = &(*at)->queued;
        }
    }
    for (hub->done_last = &hub->done_first; *hub->done_last; hub->done_last = &(*hub->done_last)->queued) {
    }
}

void block_cancel(BlockUser *user)
{
    BlockHub *hub = user->hub;
    if (!user->requests) {
        return;
    }
    pthread_mutex_lock(&hub->mutex);
    withdraw(hub, user);
    pthread_mutex_unlock(&hub->mutex);
    BlockRequest *next = user->requests;
    user->requests     = NULL;
    for (BlockRequest *r; (r = next);) {
        next = r->next;
        r->done(r, ECANCELED);
    }
}

/* Are there requests that will be done by themselves? */
static bool has_pending(const BlockUser *user)
{
    for (const BlockRequest *r = user->requests; r; r = r->next) {
        if (r->state != REQUEST_HELD) {
            return true;
        }
    }
    return false;
}

bool block_has_held(const BlockUser *user)
{
    for (const BlockRequest *r = user->requests; r; r = r->next) {
        if (r->state == REQUEST_HELD) {
            return true;
        }
    }
    return false;
}

void block_drain(BlockUser *user)
{
    BlockHub *hub = user->hub;
    while (hub && has_pending(user)) {
        BlockRequest *r = take_done(hub, user);
        if (r) {
            complete(r);
            continue;
        }
        pthread_mutex_lock(&hub->mutex);
        bool wait = true;
        for (const BlockRequest *each = user->requests; each; each = each->next) {
            wait &= each->state != REQUEST_DONE;
        }
        if (wait) {
            pthread_cond_wait(&hub->finished, &hub->mutex);
        }
        pthread_mutex_unlock(&hub->mutex);
    }
}

void block_hub_drain(BlockHub *hub)
{
    for (BlockUser *u = hub->users; u; u = u->next) {
        block_drain(u);
    }
}

void block_hub_retry(BlockHub *hub)
{
    for (BlockUser *u = hub->users; u; u = u->next) {
        for (BlockRequest *r = u->requests; r; r = r->next) {
            if (r->state == REQUEST_HELD) {
                enqueue(hub, r);
            }
        }
    }
}
