/* The balloon: guest memory that its driver lends back to the host. See balloon.c. Machine lock. */

#ifndef QUERN_DEVICES_VIRTIO_BALLOON_H
#define QUERN_DEVICES_VIRTIO_BALLOON_H

#include "devices/virtio/virtio.h"

enum { BALLOON_STATS = 10 }; /* tags that have names */

typedef struct VirtioBalloon {
    VirtioDevice virtio; /* first */

    /* properties */
    bool    deflate_on_oom, page_poison, free_page_reporting, absent_flag;
    int64_t polling_interval; /* seconds; 0: statistics are not asked for */

    uint32_t    num_pages, actual, poison_val; /* configuration space; pages of 4 KiB */
    uint64_t    stats[BALLOON_STATS];          /* UINT64_MAX: the guest does not say */
    int64_t     stats_time;                    /* seconds since 1970; 0: there are none yet */
    VirtBuffer *stats_buffer;                  /* the driver's, to be given back when new ones are wanted */
    Timer       stats_timer;
} VirtioBalloon;

/* Asks the guest to leave itself no more than that many bytes. */
void virtio_balloon_set_target(VirtioBalloon *b, uint64_t bytes);

/* What it has left itself. */
uint64_t virtio_balloon_actual(const VirtioBalloon *b);

#endif
