/* Inside the block layer: the hub. */

#ifndef QUERN_BLOCK_HUB_H
#define QUERN_BLOCK_HUB_H

#include "block/driver.h"

#include <pthread.h>

enum { BLOCK_MAX_WORKERS = 16 };

struct BlockHub {
    Loop      *loop;
    BlockHost  host;
    BlockNode *nodes;  /* all there are, youngest first */
    GPtrArray *drives; /* Drive *, in order */
    BlockUser *users;
    unsigned   names_made; /* "#blockNNN" */

    /* Work for the threads: guarded by mutex. */
    pthread_mutex_t mutex;
    pthread_cond_t  work;     /* there is some, or `closing` */
    pthread_cond_t  finished; /* a request was carried out */
    BlockRequest   *first, **last;
    BlockRequest   *done_first, **done_last;
    pthread_t       workers[BLOCK_MAX_WORKERS];
    unsigned        n_workers, n_idle;
    bool            closing;
    bool            told; /* the main loop has been woken up */
    int             wake_fd;
    Source         *wake;
};

/* request.c */
bool block_has_held(const BlockUser *user); /* a request, because the machine has stopped for its error */
bool block_workers_init(BlockHub *hub, Error *err);
void block_workers_end(BlockHub *hub);

/* drive.c */
void drives_free(BlockHub *hub);

#endif
