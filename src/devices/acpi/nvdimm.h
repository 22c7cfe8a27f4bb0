/* NVDIMMs as ACPI sees them: the structures of the NFIT, and the port behind the _DSM and _FIT methods. See nvdimm.c.
 * Machine lock. */

#ifndef QUERN_DEVICES_ACPI_NVDIMM_H
#define QUERN_DEVICES_ACPI_NVDIMM_H

#include "devices/memory/memdevs.h"

enum {
    NVDIMM_PORT      = 0xa18, /* 32 bits: the address of a page with a request */
    NVDIMM_PORT_SIZE = 4,
    NVDIMM_PAGE_SIZE = 4096,
    NVDIMM_GPE       = 4,

    /* The page: a request, then in its place the answer. */
    NVDIMM_HANDLE   = 0, /* 32 bits each */
    NVDIMM_REVISION = 4,
    NVDIMM_FUNCTION = 8,
    NVDIMM_ARGUMENT = 12,
    NVDIMM_LENGTH   = 0, /* of the answer with this */
    NVDIMM_ANSWER   = 4,

    NVDIMM_HANDLE_ROOT = 0, /* modules have 1 + slot */
    NVDIMM_HANDLE_FIT  = 0x10000,
    NVDIMM_READ_FIT    = 1,
    NVDIMM_FIT_CHANGED = 0x100,

    /* Platform capabilities: what reaches the modules when power is lost */
    NVDIMM_PERSISTENCE_CPU      = 3, /* what is in the caches, and in the memory controller */
    NVDIMM_PERSISTENCE_MEM_CTRL = 2, /* what is in the memory controller */
};

typedef struct AcpiNvdimm AcpiNvdimm; /* "acpi-nvdimm" */

/* Makes the port; modules that come later raise NVDIMM_GPE. `capabilities`: NVDIMM_PERSISTENCE_*, 0 for none. */
AcpiNvdimm *acpi_nvdimm_create(Platform *platform, unsigned capabilities, void (*raise_gpe)(void *opaque, unsigned n),
                               void *opaque, Error *err);

/* Appends the structures of the NFIT for what is plugged in now. */
void acpi_nvdimm_fit(const AcpiNvdimm *n, GByteArray *out);

#endif
