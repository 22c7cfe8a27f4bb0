/* What lies at A0000h to FFFFFh of a PC: RAM or PCI memory, as a host bridge's PAM and SMRAM registers say.
 *
 * The 82441FX and the MCH of the Q35 have the same registers at different places: seven PAM bytes and one SMRAM byte.
 * Embedded in the bridge. Machine lock held. */

#ifndef QUERN_DEVICES_PCI_PAM_H
#define QUERN_DEVICES_PCI_PAM_H

#include "devices/device.h"

enum { PAM_SEGMENTS = 13, PAM_REGISTERS = 7, PAM_FIRST_MASK = 0x30, PAM_MASK = 0x33 };

/* The SMRAM register. */
enum {
    SMRAM_C_BASE_SEG = 0x02, /* the only segment there is: A0000h */
    SMRAM_G_SMRAME   = 0x08,
    SMRAM_D_LCK      = 0x10,
    SMRAM_D_CLS      = 0x20,
    SMRAM_D_OPEN     = 0x40,
};

/* A stretch of C0000h to FFFFFh whose reads and writes go to DRAM or to PCI, each as its attributes say. */
typedef struct PamSegment {
    struct Pam *pam;
    uint32_t    base, size;
    uint8_t     reg, shift; /* its attributes: bits shift and shift + 1 of PAM register reg */
    Region      ram;        /* alias of RAM: read-only for reads alone */
    Region      pci;        /* alias of PCI memory */
    Region      split;      /* reads from PCI, writes to RAM: while firmware copies itself */
    int         mode;       /* attributes that are in force, -1: none */
} PamSegment;

typedef struct Pam {
    Platform     *platform;
    Region       *ram_region;
    PamSegment    segments[PAM_SEGMENTS];
    Region        hole;       /* hides RAM where PCI is shown and nothing is there */
    Region        vga;        /* PCI memory at A0000h */
    Region        smram_open; /* RAM there, for everybody */
    Region        smram_low;  /* RAM at A0000h, in the view of SMM */
    Region        pci_root, pci_window;
    AddressSpace *pci_space; /* PCI memory alone, for PamSegment.split */
} Pam;

/* `ram` is the region of RAM that starts at address 0, `pci_memory` what PCI shows, `smram` a container: what SMM sees
 * over the usual view. All borrowed. */
void pam_init(Pam *pam, Platform *platform, Region *ram, Region *pci_memory, Region *smram);
void pam_destroy(Pam *pam);

/* Makes true what the registers say. */
void pam_update(Pam *pam, const uint8_t registers[PAM_REGISTERS], uint8_t smram);

/* What a write leaves in the SMRAM register, which locks itself. `who` names the bridge in the log. */
uint8_t pam_smram_written(const Pam *pam, const char *who, uint8_t old, uint8_t value);

#endif
