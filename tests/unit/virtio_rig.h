/* What the tests of virtio share: the driver's side of a device over PCI, and the balloon as the device behind it. */

#ifndef QUERN_TESTS_VIRTIO_RIG_H
#define QUERN_TESTS_VIRTIO_RIG_H

#include "devices/pci/i440fx.h"
#include "devices/virtio/balloon.h"
#include "devices/virtio/pci.h"
#include "platform.h"

enum {
    BAR4   = (int)0xe0000000,
    BAR1   = (int)0xe1000000,
    PORTS  = 0xc000,
    PLACE  = (int)0xfeb00000,
    COMMON = 0,
    ISR    = 0x1000,
    CONFIG = 0x2000,
    NOTIFY = 0x3000,

    RING  = 0x10000, /* queue n: descriptors, driver area, device area at RING + n * 0x4000 */
    AVAIL = 0x1000,
    USED  = 0x2000,
    LIST  = 0x80000, /* of page numbers */
    TABLE = 0x90000, /* an indirect one */
    PAGES = 0x200000,
    SIZE  = 8,

    NEXT     = 1,
    WRITE    = 2,
    INDIRECT = 4,
};

typedef struct Driver {
    TestPlatform  t;
    PciHost      *host;
    PciDevice    *pci;
    Device       *dev;
    VirtioDevice *v;
    uint16_t      avail[4];
} Driver;

/* A machine without devices; one that `text` describes, as after -device; a balloon over PCI, with options. */
void    driver_open_platform(Driver *d);
Device *driver_create(Driver *d, const char *text);
void    driver_open_pci(Driver *d, const char *options);
void    driver_close(Driver *d);
void    driver_reset(Driver *d); /* everything, and BARs and rings as the driver wants them */

/* The common configuration structure, and the status in it. */
uint64_t driver_get(Driver *d, unsigned at, unsigned size);
void     driver_set(Driver *d, unsigned at, uint64_t value, unsigned size);
bool     driver_is_broken(Driver *d);

/* Takes all features but `without`, sets up queues of SIZE entries, and starts. */
void driver_start(Driver *d, uint64_t without, bool packed);

/* Guest memory; a descriptor of a split ring in the table at `table`; making one available; telling the device; how
 * many it has used. */
uint8_t *driver_ram(Driver *d, uint64_t at);
void     driver_desc(Driver *d, uint64_t table, unsigned n, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next);
void     driver_offer(Driver *d, unsigned q, uint16_t head);
void     driver_notify(Driver *d, unsigned q);
uint16_t driver_used(Driver *d, unsigned q);

/* Numbers of pages for the balloon: filling sixteen pages and listing n numbers at LIST; are those of balloon_pages,
 * and no others, empty now. */
enum { N_BALLOON_PAGES = 8 };
extern const uint32_t balloon_pages[N_BALLOON_PAGES];
void                  balloon_fill(Driver *d, const uint32_t *pages, unsigned n);
void                  balloon_check(Driver *d);

#endif
