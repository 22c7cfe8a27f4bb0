/* A writer of ACPI Machine Language.
 *
 * AML is prefix code: an operator, then its operands. The writer therefore only appends; the few constructs that
 * carry a length (scopes, methods, packages, buffers) are opened by one call and closed by aml_end(), which puts the
 * length in. Operators whose operands follow are written by aml_op().
 *
 *     aml_device(&a, "RTC_");
 *         aml_name(&a, "_HID"), aml_eisaid(&a, "PNP0B00");
 *     aml_end(&a);
 *
 * A wrong sequence of calls is a bug of ours: assert() where the writer can see it. Plain memory, no lock. */

#ifndef QUERN_MACHINE_AML_H
#define QUERN_MACHINE_AML_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct Aml {
    GByteArray *out; /* borrowed */
    struct {
        uint32_t at;        /* where the PkgLength goes */
        uint32_t size_word; /* resource templates: where the buffer's size is, 0 otherwise */
    } open[16];
    unsigned depth;
} Aml;

/* Operators that take their operands in the order they are written after them (ACPI 6.4, 20.2.5). */
typedef enum AmlOp {
    AML_ZERO               = 0x00, /* also "no target" */
    AML_ONE                = 0x01,
    AML_LOCAL0             = 0x60,
    AML_ARG0               = 0x68,
    AML_ARG1               = 0x69,
    AML_ARG3               = 0x6b,
    AML_LOCAL1             = 0x61,
    AML_ARG2               = 0x6a,
    AML_ARG4               = 0x6c,
    AML_LOCAL2             = 0x62,
    AML_LOCAL3             = 0x63,
    AML_STORE              = 0x70, /* value, target */
    AML_ADD                = 0x72, /* a, b, target */
    AML_CONCATENATE        = 0x73, /* a, b, target */
    AML_SUBTRACT           = 0x74,
    AML_INCREMENT          = 0x75,
    AML_SHIFT_LEFT         = 0x79, /* value, bits, target */
    AML_AND                = 0x7b,
    AML_OR                 = 0x7d,
    AML_CREATE_DWORD_FIELD = 0x8a, /* buffer, byte index, name */
    AML_CREATE_QWORD_FIELD = 0x8f,
    AML_LNOT               = 0x92,
    AML_LAND               = 0x90,
    AML_NOTIFY             = 0x86, /* object, value */
    AML_DEREF_OF           = 0x83,
    AML_SIZE_OF            = 0x87,
    AML_INDEX              = 0x88, /* object, index, target */
    AML_OBJECT_TYPE        = 0x8e,
    AML_MID                = 0x9e, /* source, index, length, target */
    AML_CONTINUE           = 0x9f,
    AML_LEQUAL             = 0x93,
    AML_LLESS              = 0x95,
    AML_RETURN             = 0xa4,
    AML_ONES               = 0xff,
} AmlOp;

void aml_init(Aml *a, GByteArray *out);

/* Names are paths as in ASL: "PCI0", "\\_SB_.PCI0.ISA_", "^PRQ0"; segments are padded to four letters. */
void aml_path(Aml *a, const char *path);
void aml_op(Aml *a, AmlOp op);
void aml_int(Aml *a, uint64_t value);
void aml_string(Aml *a, const char *text);
void aml_eisaid(Aml *a, const char *id); /* "PNP0A03" as its compressed number */
void aml_bytes(Aml *a, const void *bytes, size_t len);
void aml_buffer(Aml *a, const void *bytes, size_t len); /* at most 63 bytes */
void aml_buffer_of(Aml *a, AmlOp size);                 /* of zeros */
void aml_name(Aml *a, const char *name);                /* Name(name, ...): the value follows */
void aml_name_int(Aml *a, const char *name, uint64_t value);

/* Closed by aml_end(). */
void aml_scope(Aml *a, const char *path);
void aml_device(Aml *a, const char *name);
void aml_method(Aml *a, const char *name, unsigned args, bool serialized);
void aml_package(Aml *a, unsigned elements); /* at most 255 */
void aml_if(Aml *a);                         /* predicate and body follow */
void aml_else(Aml *a);                       /* right after the end of an if */
void aml_while(Aml *a);                      /* predicate and body follow */
void aml_end(Aml *a);

/* A mutex, and taking it (for as long as it takes) and giving it back. */
void aml_mutex(Aml *a, const char *name);
void aml_acquire(Aml *a, const char *name);
void aml_release(Aml *a, const char *name);

/* OperationRegion and its Field with units in the order of the bits; a unit with an empty name is padding. */
enum { AML_REGION_MEMORY = 0, AML_REGION_IO = 1, AML_REGION_PCI = 2 };
typedef struct AmlFieldUnit {
    const char *name;
    uint32_t    bits;
} AmlFieldUnit;
void aml_region(Aml *a, const char *name, unsigned space, uint64_t offset, uint64_t len);
void aml_region_at(Aml *a, const char *name, unsigned space, const char *offset, uint64_t len); /* a named integer */
void aml_field(Aml *a, const char *region, unsigned access_bytes, const AmlFieldUnit *units, size_t n);
/* ... where a write of one unit leaves zeros in the others of its access. */
void aml_field_zeros(Aml *a, const char *region, unsigned access_bytes, const AmlFieldUnit *units, size_t n);

/* ResourceTemplate, closed by aml_end_resources(). Between them only these (ACPI 6.4, 6.4.2 and 6.4.3). */
void aml_resources(Aml *a);
void aml_end_resources(Aml *a);
void aml_res_io(Aml *a, uint16_t base, uint8_t len); /* fixed, 16 bits decoded */
void aml_res_irq(Aml *a, unsigned irq);              /* edge, active high, exclusive */
void aml_res_memory32(Aml *a, uint32_t base, uint32_t len, bool writable);
void aml_res_interrupts(Aml *a, const uint32_t *gsi, unsigned n); /* level, active high, shared */
void aml_res_event(Aml *a, uint32_t gsi);                         /* edge, active high, exclusive */
void aml_res_bus(Aml *a, uint16_t first, uint16_t last);
void aml_res_io_window(Aml *a, uint16_t first, uint16_t last);
void aml_res_memory64(
    Aml *a); /* cacheable memory of its own: the lowest address (byte 14), the highest (22), size (38) */
void aml_res_memory_window(Aml *a, uint64_t first, uint64_t last, bool cacheable); /* 32 bits where it fits */

#endif
