/* What smbios.c and smbios_options.c share: the settings of -smbios. */

#ifndef QUERN_MACHINE_SMBIOS_PRIVATE_H
#define QUERN_MACHINE_SMBIOS_PRIVATE_H

#include "machine/smbios.h"

enum { SMBIOS_MAX_TABLES = 0xffff };

typedef struct SmbiosType0 {
    char *vendor, *version, *date, *release;
    bool  uefi, given;
} SmbiosType0;

typedef struct SmbiosType1 {
    char *manufacturer, *product, *version, *serial, *uuid, *sku, *family;
} SmbiosType1;

typedef struct SmbiosType2 {
    char *manufacturer, *product, *version, *serial, *asset, *location;
    bool  given;
} SmbiosType2;

typedef struct SmbiosType3 {
    char *manufacturer, *version, *serial, *asset, *sku;
} SmbiosType3;

typedef struct SmbiosType4 {
    char    *sock_pfx, *manufacturer, *version, *serial, *asset, *part;
    uint16_t max_speed, current_speed, family;
    uint64_t id;
    bool     has_id;
} SmbiosType4;

typedef struct SmbiosType8 {
    char   *external_reference, *internal_reference;
    uint8_t connector_type, port_type;
} SmbiosType8;

typedef struct SmbiosType9 {
    char    *slot_designation, *pci_device;
    uint8_t  slot_type, slot_data_bus_width, current_usage, slot_length, characteristics1, characteristics2;
    uint16_t slot_id;
} SmbiosType9;

typedef struct SmbiosType17 {
    char    *loc_pfx, *bank, *manufacturer, *serial, *asset, *part;
    uint16_t speed;
} SmbiosType17;

typedef struct SmbiosType41 {
    char   *designation, *pcidev;
    uint8_t kind, instance;
} SmbiosType41;

/* All -smbios options together. */
typedef struct SmbiosSettings {
    SmbiosType0  t0;
    SmbiosType1  t1;
    SmbiosType2  t2;
    SmbiosType3  t3;
    SmbiosType4  t4;
    SmbiosType17 t17;
    GArray      *t8, *t9, *t41; /* of SmbiosType8, SmbiosType9, SmbiosType41 */
    GPtrArray   *oem_strings;   /* char *: type 11 */
    GPtrArray   *files;         /* GBytes *: file= */
    bool         replaced[256]; /* types that a file= gave */
    bool         has_fields[256];
} SmbiosSettings;

/* With the defaults; smbios_settings_clear() frees what is in it. */
void smbios_settings_init(SmbiosSettings *s);
void smbios_settings_clear(SmbiosSettings *s);
/* Takes one -smbios option in. */
bool smbios_settings_read(SmbiosSettings *s, const Json *options, Error *err);

/* Length of the structure at `data`, strings included; 0 when it does not fit. */
size_t smbios_structure_size(const uint8_t *data, size_t len);

#endif
