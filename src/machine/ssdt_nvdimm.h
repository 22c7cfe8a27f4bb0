/* The SSDT about NVDIMMs. */

#ifndef QUERN_MACHINE_SSDT_NVDIMM_H
#define QUERN_MACHINE_SSDT_NVDIMM_H

#include <glib.h>
#include <stdint.h>

/* Appends what follows the table's header. Returns where in `out` the address of the page for requests goes (4 bytes).
 */
uint32_t ssdt_nvdimm_build(GByteArray *out, unsigned slots);

#endif
