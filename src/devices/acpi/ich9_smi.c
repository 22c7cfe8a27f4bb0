/* Negotiation of SMI features on q35: firmware reads what there is, writes what it wants, and asks whether that is
 * agreed. What was agreed holds until the next reset, so that nobody after firmware can change it.
 * Specification: QEMU 9.1, docs/specs: fw_cfg files etc/smi/supported-features (64 bits, little-endian),
 * etc/smi/requested-features (the same, writable), etc/smi/features-ok (one byte; reading it agrees). Machine lock. */

#include "devices/acpi/ich9_smi.h"

#include "base/bytes.h"

#include <string.h>

static const char supported_file[] = "etc/smi/supported-features";
static const char requested_file[] = "etc/smi/requested-features";
static const char ok_file[]        = "etc/smi/features-ok";

static uint64_t offered(const Ich9SmiFeatures *smi)
{
    return smi->offer_broadcast ? ICH9_SMI_BROADCAST : 0;
}

static bool set_file(Ich9SmiFeatures *smi, const char *name, uint64_t value, size_t size, Error *err)
{
    uint8_t bytes[8];
    store_le64(bytes, value);
    g_autoptr(GBytes) data = g_bytes_new(bytes, size);
    return fw_cfg_add_file(smi->fw_cfg, name, data, err);
}

/* The guest selects features-ok. */
static void agree(void *opaque)
{
    Ich9SmiFeatures *smi  = opaque;
    g_auto(Error) ignored = { 0 }; /* the file is there */
    size_t         len;
    const uint8_t *wish = fw_cfg_file(smi->fw_cfg, requested_file, &len);

    if (smi->agreed || (load_le64(wish) & ~offered(smi))) {
        return;
    }
    smi->features = load_le64(wish);
    smi->agreed   = true;
    set_file(smi, ok_file, 1, 1, &ignored);
}

bool ich9_smi_offer(Ich9SmiFeatures *smi, FwCfg *fw_cfg, Error *err)
{
    static const uint8_t zeros[8];
    FwCfgFileOps         on_ok  = { .select = agree, .opaque = smi };
    g_autoptr(GBytes) requested = g_bytes_new_static(zeros, 8);
    g_autoptr(GBytes) ok        = g_bytes_new_static(zeros, 1);

    if (!offered(smi)) {
        return true;
    }
    smi->fw_cfg = fw_cfg;
    return set_file(smi, supported_file, offered(smi), 8, err) &&
           fw_cfg_add_file_ops(fw_cfg, requested_file, requested, true, NULL, err) &&
           fw_cfg_add_file_ops(fw_cfg, ok_file, ok, false, &on_ok, err);
}

void ich9_smi_reset(Ich9SmiFeatures *smi)
{
    g_auto(Error) ignored = { 0 }; /* the files are there */

    smi->agreed   = false;
    smi->features = 0;
    if (smi->fw_cfg) {
        set_file(smi, requested_file, 0, 8, &ignored);
        set_file(smi, ok_file, 0, 1, &ignored);
    }
}

bool ich9_smi_post_load(Ich9SmiFeatures *smi, Error *err)
{
    if ((smi->features & ~offered(smi)) || (smi->features && !smi->agreed)) {
        return error_set(err, "SMI features %#llx were not offered", (unsigned long long)smi->features);
    }
    return !smi->fw_cfg || set_file(smi, ok_file, smi->agreed, 1, err);
}
