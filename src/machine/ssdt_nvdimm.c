/* The SSDT about NVDIMMs: the root device with _DSM and _FIT, one device for each slot.
 * Specification: ACPI 6.4 (January 2021), sections 9.20.2 and 6.5.9; QEMU, docs/specs/acpi_nvdimm (2024), for the page.
 */

#include "machine/ssdt_nvdimm.h"

#include "devices/acpi/nvdimm.h"
#include "machine/aml.h"

#include <stdio.h>

enum { OBJECT_PACKAGE = 4, NOTIFY_UPDATE = 0x80, DWORD_PREFIX = 0x0c };

/* UUIDs of _DSM as ToUUID() makes them: of the root, and of modules with Intel's functions. */
static const uint8_t root_uuid[16]   = { 0xa4, 0xe7, 0x10, 0x2f, 0x91, 0x9e, 0xe4, 0x11,
                                         0x89, 0xd3, 0x12, 0x3b, 0x93, 0xf7, 0x5c, 0xba };
static const uint8_t module_uuid[16] = { 0x30, 0xac, 0x09, 0x43, 0x11, 0x0d, 0xe4, 0x11,
                                         0x91, 0x91, 0x08, 0x00, 0x20, 0x0c, 0x9a, 0x66 };

/* The page and the port. */
static void add_registers(Aml *a)
{
    static const AmlFieldUnit port[]    = { { "NTFI", 32 } };
    static const AmlFieldUnit request[] = {
        { "HDLE", 32 }, { "REVS", 32 }, { "FUNC", 32 }, { "FARG", 8 * (NVDIMM_PAGE_SIZE - NVDIMM_ARGUMENT) }
    };
    static const AmlFieldUnit answer[] = { { "RLEN", 32 }, { "ODAT", 8 * (NVDIMM_PAGE_SIZE - NVDIMM_ANSWER) } };
    aml_region(a, "NPIO", AML_REGION_IO, NVDIMM_PORT, NVDIMM_PORT_SIZE);
    aml_field(a, "NPIO", 4, port, G_N_ELEMENTS(port));
    aml_region_at(a, "NRAM", AML_REGION_MEMORY, "\\MEMA", NVDIMM_PAGE_SIZE);
    aml_field(a, "NRAM", 4, request, G_N_ELEMENTS(request));
    aml_field(a, "NRAM", 4, answer, G_N_ELEMENTS(answer));
    aml_mutex(a, "NLCK");
}

/* NCAL(handle, function, argument): the answer as a buffer of its length. */
static void add_call(Aml *a)
{
    aml_method(a, "NCAL", 3, true);
    aml_acquire(a, "NLCK");
    aml_op(a, AML_STORE), aml_op(a, AML_ARG0), aml_path(a, "HDLE");
    aml_op(a, AML_STORE), aml_int(a, 1), aml_path(a, "REVS");
    aml_op(a, AML_STORE), aml_op(a, AML_ARG1), aml_path(a, "FUNC");
    aml_op(a, AML_STORE), aml_op(a, AML_ARG2), aml_path(a, "FARG");
    aml_op(a, AML_STORE), aml_path(a, "\\MEMA"), aml_path(a, "NTFI");
    aml_op(a, AML_STORE), aml_path(a, "RLEN"), aml_op(a, AML_LOCAL0);
    aml_op(a, AML_STORE), aml_path(a, "ODAT"), aml_op(a, AML_LOCAL1);
    aml_release(a, "NLCK");
    aml_op(a, AML_SUBTRACT), aml_op(a, AML_LOCAL0), aml_int(a, NVDIMM_ANSWER), aml_op(a, AML_LOCAL0);
    aml_name(a, "OBUF"), aml_buffer_of(a, AML_LOCAL0);
    aml_op(a, AML_STORE), aml_op(a, AML_LOCAL1), aml_path(a, "OBUF"); /* cuts it */
    aml_op(a, AML_RETURN), aml_path(a, "OBUF");
    aml_end(a);
}

/* NDSM(uuid, revision, function, package, handle): what all _DSM methods do. */
static void add_dsm(Aml *a)
{
    static const uint8_t nothing[1] = { 0 };
    aml_method(a, "NDSM", 5, true);
    aml_op(a, AML_STORE), aml_buffer(a, root_uuid, sizeof root_uuid), aml_op(a, AML_LOCAL0);
    aml_if(a);
    aml_op(a, AML_ARG4);
    aml_op(a, AML_STORE), aml_buffer(a, module_uuid, sizeof module_uuid), aml_op(a, AML_LOCAL0);
    aml_end(a);
    aml_if(a);
    aml_op(a, AML_LNOT), aml_op(a, AML_LAND);
    aml_op(a, AML_LEQUAL), aml_op(a, AML_ARG0), aml_op(a, AML_LOCAL0);
    aml_op(a, AML_LEQUAL), aml_op(a, AML_ARG1), aml_int(a, 1);
    aml_op(a, AML_RETURN), aml_buffer(a, nothing, sizeof nothing);
    aml_end(a);
    aml_op(a, AML_STORE), aml_int(a, 0), aml_op(a, AML_LOCAL1);
    aml_if(a);
    aml_op(a, AML_LEQUAL), aml_op(a, AML_OBJECT_TYPE), aml_op(a, AML_ARG3), aml_int(a, OBJECT_PACKAGE);
    aml_if(a);
    aml_op(a, AML_SIZE_OF), aml_op(a, AML_ARG3);
    aml_op(a, AML_STORE), aml_op(a, AML_DEREF_OF), aml_op(a, AML_INDEX), aml_op(a, AML_ARG3), aml_int(a, 0),
        aml_op(a, AML_ZERO), aml_op(a, AML_LOCAL1);
    aml_end(a);
    aml_end(a);
    aml_op(a, AML_RETURN), aml_path(a, "NCAL"), aml_op(a, AML_ARG4), aml_op(a, AML_ARG2), aml_op(a, AML_LOCAL1);
    aml_end(a);
}

/* The NFIT's structures, piece by piece; again from the beginning when they change meanwhile. */
static void add_fit(Aml *a)
{
    aml_method(a, "NSTA", 1, true);
    aml_op(a, AML_CREATE_DWORD_FIELD), aml_op(a, AML_ARG0), aml_int(a, 0), aml_path(a, "STAU");
    aml_op(a, AML_RETURN), aml_path(a, "STAU");
    aml_end(a);

    aml_method(a, "_FIT", 0, true);
    aml_op(a, AML_STORE), aml_int(a, 0), aml_op(a, AML_LOCAL2);
    aml_op(a, AML_STORE), aml_buffer_of(a, AML_ZERO), aml_op(a, AML_LOCAL3);
    aml_while(a);
    aml_int(a, 1);
    aml_op(a, AML_STORE), aml_path(a, "NCAL"), aml_int(a, NVDIMM_HANDLE_FIT), aml_int(a, NVDIMM_READ_FIT),
        aml_op(a, AML_LOCAL2), aml_op(a, AML_LOCAL0);
    aml_op(a, AML_STORE), aml_path(a, "NSTA"), aml_op(a, AML_LOCAL0), aml_op(a, AML_LOCAL1);
    aml_if(a);
    aml_op(a, AML_LEQUAL), aml_op(a, AML_LOCAL1), aml_int(a, NVDIMM_FIT_CHANGED);
    aml_op(a, AML_STORE), aml_int(a, 0), aml_op(a, AML_LOCAL2);
    aml_op(a, AML_STORE), aml_buffer_of(a, AML_ZERO), aml_op(a, AML_LOCAL3);
    aml_op(a, AML_CONTINUE);
    aml_end(a);
    aml_if(a);
    aml_op(a, AML_LOCAL1);
    aml_op(a, AML_RETURN), aml_op(a, AML_LOCAL3);
    aml_end(a);
    aml_op(a, AML_SUBTRACT), aml_op(a, AML_SIZE_OF), aml_op(a, AML_LOCAL0), aml_int(a, 4), aml_op(a, AML_LOCAL1);
    aml_if(a);
    aml_op(a, AML_LEQUAL), aml_op(a, AML_LOCAL1), aml_int(a, 0);
    aml_op(a, AML_RETURN), aml_op(a, AML_LOCAL3);
    aml_end(a);
    aml_op(a, AML_CONCATENATE), aml_op(a, AML_LOCAL3);
    aml_op(a, AML_MID), aml_op(a, AML_LOCAL0), aml_int(a, 4), aml_op(a, AML_LOCAL1), aml_op(a, AML_ZERO);
    aml_op(a, AML_LOCAL3);
    aml_op(a, AML_ADD), aml_op(a, AML_LOCAL2), aml_op(a, AML_LOCAL1), aml_op(a, AML_LOCAL2);
    aml_end(a);
    /* Compilers that read it back want a method that returns to end with that. */
    aml_op(a, AML_RETURN), aml_op(a, AML_LOCAL3);
    aml_end(a);
}

static void add_dsm_of(Aml *a, unsigned handle)
{
    aml_method(a, "_DSM", 4, false);
    aml_op(a, AML_RETURN), aml_path(a, "NDSM");
    aml_op(a, AML_ARG0), aml_op(a, AML_ARG1), aml_op(a, AML_ARG2), aml_op(a, AML_ARG3), aml_int(a, handle);
    aml_end(a);
}

uint32_t ssdt_nvdimm_build(GByteArray *out, unsigned slots)
{
    static const uint8_t zero[] = { DWORD_PREFIX, 0, 0, 0, 0 };
    Aml                  aml;
    Aml                 *a = &aml;

    aml_init(a, out);
    aml_name(a, "\\MEMA");
    uint32_t page_at = out->len + 1;
    aml_bytes(a, zero, sizeof zero);
    aml_scope(a, "\\_SB_");
    aml_device(a, "NVDR");
    aml_name(a, "_HID"), aml_string(a, "ACPI0012");
    add_registers(a);
    add_call(a);
    add_dsm(a);
    add_fit(a);
    add_dsm_of(a, NVDIMM_HANDLE_ROOT);
    for (unsigned i = 0; i < slots; i++) {
        char name[8];
        snprintf(name, sizeof name, "NV%02X", i & 0xff);
        aml_device(a, name);
        aml_name_int(a, "_ADR", i + 1);
        add_dsm_of(a, i + 1);
        aml_end(a);
    }
    aml_end(a);
    aml_end(a);
    aml_scope(a, "\\_GPE");
    aml_method(a, "_E04", 0, false);
    aml_op(a, AML_NOTIFY), aml_path(a, "\\_SB_.NVDR"), aml_int(a, NOTIFY_UPDATE);
    aml_end(a);
    aml_end(a);
    return page_at;
}
