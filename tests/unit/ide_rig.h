/* A PC's IDE controller with drives, whose images are in memory: ide.0 has a disk of DISK_SECTORS and one of
 * OTHER_SECTORS, ide.1 a CD-ROM of CD_BLOCKS. Sector n of the first disk begins with n, in 32 bits; so does block n of
 * the CD-ROM. */

#ifndef QUERN_TESTS_IDE_RIG_H
#define QUERN_TESTS_IDE_RIG_H

#include "devices/pci/pci.h"
#include "devices/storage/ide.h"
#include "platform.h"

enum { DISK_SECTORS = 4096, OTHER_SECTORS = 64, CD_BLOCKS = 200, BM_PORTS = 0xc000, IDE_DEVFN = PCI_DEVFN(1, 1) };

typedef struct IdeRig {
    TestPlatform t;
    PciBus      *bus;
    PciDevice   *ide;
    BlockHub    *hub;
    int          images[3]; /* descriptors */
    Device      *drives[3];
    int          opened; /* by the block layer, the last one: that of the CD-ROM */
} IdeRig;

void ide_rig_open(IdeRig *rig);
void ide_rig_close(IdeRig *rig);

/* What firmware does: IDETIM says that the channels are in use, the bus master's at BM_PORTS, and it may be master. */
void ide_rig_configure(IdeRig *rig);

/* Until no request is under way. */
void ide_rig_settle(IdeRig *rig);

/* From now on the host cannot read the CD-ROM's image. */
void ide_rig_break(IdeRig *rig);

#endif
