/* Names of the surface, see surface.h. Sorted as strcmp() sorts.
 * Specification: QEMU 9.1's answers to -device help and -object help, and its manual. */

#include "object/surface.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>

/* clang-format off */
static const char *const surface_devices[] = {
    "AC97", "AMDVI-PCI", "ES1370", "VGA", "ac97", "acpi-erst", "adlib", "ahci", "am53c974", "amd-iommu", "ati-vga",
    "bochs-display", "canokey", "ccid-card-emulated", "ccid-card-passthru", "cirrus-vga", "cs4231a", "ctucan_pci",
    "cxl-downstream", "cxl-rp", "cxl-switch-mailbox-cci", "cxl-type3", "cxl-upstream", "dc390", "e1000",
    "e1000-82540em", "e1000-82544gc", "e1000-82545em", "e1000e", "edu", "emmc", "es1370", "floppy", "guest-loader",
    "gus", "hda-duplex", "hda-micro", "hda-output", "hv-balloon", "hv-syndbg", "hyperv-testdev", "i2c-ddc",
    "i2c-echo", "i6300esb", "i8042", "i82550", "i82551", "i82557a", "i82557b", "i82557c", "i82558a", "i82558b",
    "i82559a", "i82559b", "i82559c", "i82559er", "i82562", "i82801", "i82801b11-bridge", "ib700", "ich9-ahci",
    "ich9-intel-hda", "ich9-usb-ehci1", "ich9-usb-ehci2", "ich9-usb-uhci1", "ich9-usb-uhci2", "ich9-usb-uhci3",
    "ich9-usb-uhci4", "ich9-usb-uhci5", "ich9-usb-uhci6", "ide-cd", "ide-cf", "ide-hd", "igb", "intel-hda",
    "intel-iommu", "ioh3420", "ipmi-bmc-extern", "ipmi-bmc-sim", "ipoctal232", "isa-applesmc", "isa-cirrus-vga",
    "isa-debug-exit", "isa-debugcon", "isa-fdc", "isa-ide", "isa-ipmi-bt", "isa-ipmi-kcs", "isa-parallel",
    "isa-serial", "isa-vga", "ivshmem-doorbell", "ivshmem-plain", "kvaser_pci", "loader", "lsi", "lsi53c810",
    "lsi53c895a", "mc146818rtc", "megasas", "megasas-gen2", "mioe3680_pci", "mptsas1068", "ne2k_isa", "ne2k_pci",
    "nec-usb-xhci", "nvdimm", "nvme", "nvme-ns", "nvme-subsys", "pc-dimm", "pc-testdev", "pci-bridge",
    "pci-bridge-seat", "pci-ipmi-bt", "pci-ipmi-kcs", "pci-ohci", "pci-serial", "pci-serial-2x", "pci-serial-4x",
    "pci-testdev", "pcie-pci-bridge", "pcie-root-port", "pcm3680_pci", "pcnet", "piix3-ide", "piix3-usb-uhci",
    "piix4-ide", "piix4-usb-uhci", "pvpanic", "pvpanic-pci", "pvrdma", "pvscsi", "pxb", "pxb-cxl", "pxb-pcie",
    "qemu-xhci", "qxl", "qxl-vga", "ramfb", "rocker", "rtl8139", "sb16", "scsi-block", "scsi-cd", "scsi-generic",
    "scsi-hd", "sd-card", "sdhci-pci", "secondary-vga", "sgx-epc", "smbus-ipmi", "tpci200", "tpm-crb", "tpm-tis",
    "tulip", "u2f-emulated", "u2f-passthru", "ufs", "ufs-lu", "usb-audio", "usb-bot", "usb-braille", "usb-ccid",
    "usb-ehci", "usb-host", "usb-hub", "usb-kbd", "usb-mouse", "usb-mtp", "usb-net", "usb-redir", "usb-serial",
    "usb-storage", "usb-tablet", "usb-uas", "usb-wacom-tablet", "vfio-pci", "vfio-pci-igd-lpc-bridge",
    "vfio-pci-nohotplug", "vhost-scsi", "vhost-scsi-pci", "vhost-scsi-pci-non-transitional",
    "vhost-scsi-pci-transitional", "vhost-user-blk", "vhost-user-blk-pci", "vhost-user-blk-pci-non-transitional",
    "vhost-user-blk-pci-transitional", "vhost-user-device", "vhost-user-device-pci", "vhost-user-fs-device",
    "vhost-user-fs-pci", "vhost-user-gpio-device", "vhost-user-gpio-pci", "vhost-user-gpu", "vhost-user-gpu-pci",
    "vhost-user-i2c-device", "vhost-user-i2c-pci", "vhost-user-input", "vhost-user-input-pci", "vhost-user-rng",
    "vhost-user-rng-pci", "vhost-user-scmi", "vhost-user-scmi-pci", "vhost-user-scsi", "vhost-user-scsi-pci",
    "vhost-user-scsi-pci-non-transitional", "vhost-user-scsi-pci-transitional", "vhost-user-snd",
    "vhost-user-snd-pci", "vhost-user-vga", "vhost-user-vsock-device", "vhost-user-vsock-pci",
    "vhost-user-vsock-pci-non-transitional", "vhost-vdpa-device", "vhost-vdpa-device-pci",
    "vhost-vdpa-device-pci-non-transitional", "vhost-vdpa-device-pci-transitional", "vhost-vsock-device",
    "vhost-vsock-pci", "vhost-vsock-pci-non-transitional", "virtconsole", "virtio-9p", "virtio-9p-device",
    "virtio-9p-pci", "virtio-9p-pci-non-transitional", "virtio-9p-pci-transitional", "virtio-balloon",
    "virtio-balloon-device", "virtio-balloon-pci", "virtio-balloon-pci-non-transitional",
    "virtio-balloon-pci-transitional", "virtio-blk", "virtio-blk-device", "virtio-blk-pci",
    "virtio-blk-pci-non-transitional", "virtio-blk-pci-transitional", "virtio-crypto-device", "virtio-crypto-pci",
    "virtio-gpu", "virtio-gpu-device", "virtio-gpu-gl", "virtio-gpu-gl-device", "virtio-gpu-gl-pci",
    "virtio-gpu-pci", "virtio-gpu-rutabaga", "virtio-gpu-rutabaga-device", "virtio-gpu-rutabaga-pci",
    "virtio-input-host", "virtio-input-host-device", "virtio-input-host-pci", "virtio-iommu", "virtio-iommu-device",
    "virtio-iommu-pci", "virtio-keyboard", "virtio-keyboard-device", "virtio-keyboard-pci", "virtio-mem",
    "virtio-mem-pci", "virtio-mouse", "virtio-mouse-device", "virtio-mouse-pci", "virtio-multitouch-device",
    "virtio-multitouch-pci", "virtio-net", "virtio-net-device", "virtio-net-pci", "virtio-net-pci-non-transitional",
    "virtio-net-pci-transitional", "virtio-pmem", "virtio-pmem-pci", "virtio-rng", "virtio-rng-device",
    "virtio-rng-pci", "virtio-rng-pci-non-transitional", "virtio-rng-pci-transitional", "virtio-scsi",
    "virtio-scsi-device", "virtio-scsi-pci", "virtio-scsi-pci-non-transitional", "virtio-scsi-pci-transitional",
    "virtio-serial", "virtio-serial-device", "virtio-serial-pci", "virtio-serial-pci-non-transitional",
    "virtio-serial-pci-transitional", "virtio-sound", "virtio-sound-device", "virtio-sound-pci", "virtio-tablet",
    "virtio-tablet-device", "virtio-tablet-pci", "virtio-vga", "virtio-vga-gl", "virtio-vga-rutabaga",
    "virtserialport", "vmbus-bridge", "vmcoreinfo", "vmgenid", "vmmouse", "vmware-svga", "vmxnet3",
    "x-pci-proxy-dev", "x3130-upstream", "xen-pci-passthrough", "xen-platform", "xen-pvdevice", "xio3130-downstream",
};

static const char *const surface_internal[] = {
    "ACPI_GED", "ICH9-LPC", "ICH9-SMB", "PIIX3", "PIIX4_PM", "SysBusFdc", "apic", "apic-common", "cfi.pflash01",
    "cpu", "device", "fw_cfg", "fw_cfg_io", "fw_cfg_mem", "hda-codec", "hpet", "i2c-slave", "i440FX",
    "i440FX-pcihost", "i8257", "ich9-smbus", "ide-device", "ioapic", "ioapic-common", "isa-device", "isa-i8259",
    "isa-pcspk", "isa-pit", "kvm-apic", "kvm-i8259", "kvm-ioapic", "kvm-pit", "kvmclock", "kvmvapic", "mch",
    "megasas-base", "migration", "pci-device", "pcie-port", "pcie-slot", "piix4-isa", "port92", "pxb-host",
    "q35-pcihost", "scsi-device", "scsi-disk", "scsi-disk-base", "smbus-eeprom", "sysbus-device", "usb-device",
    "vfio-pci-base", "vhost-user-base", "vhost-user-fs", "virtio-blk-pci-base", "virtio-device",
    "virtio-net-pci-base", "virtio-pci", "virtio-serial-bus", "vmport", "x86-cpu", "x86_64-cpu",
};

static const char *const surface_objects[] = {
    "acpi-generic-initiator", "authz-list", "authz-list-file", "authz-listfile", "authz-pam", "authz-simple",
    "can-bus", "can-host-socketcan", "colo-compare", "cryptodev-backend", "cryptodev-backend-builtin",
    "cryptodev-backend-lkcf", "cryptodev-vhost-user", "dbus-vmstate", "filter-buffer", "filter-dump",
    "filter-mirror", "filter-redirector", "filter-replay", "filter-rewriter", "input-barrier", "input-linux",
    "iommufd", "iothread", "main-loop", "memory-backend-epc", "memory-backend-file", "memory-backend-memfd",
    "memory-backend-ram", "memory-backend-shm", "pr-manager-helper", "qtest", "rng-builtin", "rng-egd", "rng-random",
    "secret_keyring", "sev-guest", "sev-snp-guest", "thread-context", "throttle-group",
    "tls-cipher-suites", "tls-creds-anon", "tls-creds-psk", "tls-creds-x509", "x-remote-object",
    "x-vfio-user-server",
};

static const char *const surface_cpus[] = {
    "486-v1-x86_64-cpu", "486-x86_64-cpu", "Broadwell-IBRS-x86_64-cpu", "Broadwell-noTSX-IBRS-x86_64-cpu",
    "Broadwell-noTSX-x86_64-cpu", "Broadwell-v1-x86_64-cpu", "Broadwell-v2-x86_64-cpu", "Broadwell-v3-x86_64-cpu",
    "Broadwell-v4-x86_64-cpu", "Broadwell-x86_64-cpu", "Cascadelake-Server-noTSX-x86_64-cpu",
    "Cascadelake-Server-v1-x86_64-cpu", "Cascadelake-Server-v2-x86_64-cpu", "Cascadelake-Server-v3-x86_64-cpu",
    "Cascadelake-Server-v4-x86_64-cpu", "Cascadelake-Server-v5-x86_64-cpu", "Cascadelake-Server-x86_64-cpu",
    "Conroe-v1-x86_64-cpu", "Conroe-x86_64-cpu", "Cooperlake-v1-x86_64-cpu", "Cooperlake-v2-x86_64-cpu",
    "Cooperlake-x86_64-cpu", "Denverton-v1-x86_64-cpu", "Denverton-v2-x86_64-cpu", "Denverton-v3-x86_64-cpu",
    "Denverton-x86_64-cpu", "Dhyana-v1-x86_64-cpu", "Dhyana-v2-x86_64-cpu", "Dhyana-x86_64-cpu",
    "EPYC-Genoa-v1-x86_64-cpu", "EPYC-Genoa-x86_64-cpu", "EPYC-IBPB-x86_64-cpu", "EPYC-Milan-v1-x86_64-cpu",
    "EPYC-Milan-v2-x86_64-cpu", "EPYC-Milan-x86_64-cpu", "EPYC-Rome-v1-x86_64-cpu", "EPYC-Rome-v2-x86_64-cpu",
    "EPYC-Rome-v3-x86_64-cpu", "EPYC-Rome-v4-x86_64-cpu", "EPYC-Rome-x86_64-cpu", "EPYC-v1-x86_64-cpu",
    "EPYC-v2-x86_64-cpu", "EPYC-v3-x86_64-cpu", "EPYC-v4-x86_64-cpu", "EPYC-x86_64-cpu",
    "GraniteRapids-v1-x86_64-cpu", "GraniteRapids-x86_64-cpu", "Haswell-IBRS-x86_64-cpu",
    "Haswell-noTSX-IBRS-x86_64-cpu", "Haswell-noTSX-x86_64-cpu", "Haswell-v1-x86_64-cpu", "Haswell-v2-x86_64-cpu",
    "Haswell-v3-x86_64-cpu", "Haswell-v4-x86_64-cpu", "Haswell-x86_64-cpu", "Icelake-Server-noTSX-x86_64-cpu",
    "Icelake-Server-v1-x86_64-cpu", "Icelake-Server-v2-x86_64-cpu", "Icelake-Server-v3-x86_64-cpu",
    "Icelake-Server-v4-x86_64-cpu", "Icelake-Server-v5-x86_64-cpu", "Icelake-Server-v6-x86_64-cpu",
    "Icelake-Server-v7-x86_64-cpu", "Icelake-Server-x86_64-cpu", "IvyBridge-IBRS-x86_64-cpu",
    "IvyBridge-v1-x86_64-cpu", "IvyBridge-v2-x86_64-cpu", "IvyBridge-x86_64-cpu", "KnightsMill-v1-x86_64-cpu",
    "KnightsMill-x86_64-cpu", "Nehalem-IBRS-x86_64-cpu", "Nehalem-v1-x86_64-cpu", "Nehalem-v2-x86_64-cpu",
    "Nehalem-x86_64-cpu", "Opteron_G1-v1-x86_64-cpu", "Opteron_G1-x86_64-cpu", "Opteron_G2-v1-x86_64-cpu",
    "Opteron_G2-x86_64-cpu", "Opteron_G3-v1-x86_64-cpu", "Opteron_G3-x86_64-cpu", "Opteron_G4-v1-x86_64-cpu",
    "Opteron_G4-x86_64-cpu", "Opteron_G5-v1-x86_64-cpu", "Opteron_G5-x86_64-cpu", "Penryn-v1-x86_64-cpu",
    "Penryn-x86_64-cpu", "SandyBridge-IBRS-x86_64-cpu", "SandyBridge-v1-x86_64-cpu", "SandyBridge-v2-x86_64-cpu",
    "SandyBridge-x86_64-cpu", "SapphireRapids-v1-x86_64-cpu", "SapphireRapids-v2-x86_64-cpu",
    "SapphireRapids-v3-x86_64-cpu", "SapphireRapids-x86_64-cpu", "SierraForest-v1-x86_64-cpu",
    "SierraForest-x86_64-cpu", "Skylake-Client-IBRS-x86_64-cpu", "Skylake-Client-noTSX-IBRS-x86_64-cpu",
    "Skylake-Client-v1-x86_64-cpu", "Skylake-Client-v2-x86_64-cpu", "Skylake-Client-v3-x86_64-cpu",
    "Skylake-Client-v4-x86_64-cpu", "Skylake-Client-x86_64-cpu", "Skylake-Server-IBRS-x86_64-cpu",
    "Skylake-Server-noTSX-IBRS-x86_64-cpu", "Skylake-Server-v1-x86_64-cpu", "Skylake-Server-v2-x86_64-cpu",
    "Skylake-Server-v3-x86_64-cpu", "Skylake-Server-v4-x86_64-cpu", "Skylake-Server-v5-x86_64-cpu",
    "Skylake-Server-x86_64-cpu", "Snowridge-v1-x86_64-cpu", "Snowridge-v2-x86_64-cpu", "Snowridge-v3-x86_64-cpu",
    "Snowridge-v4-x86_64-cpu", "Snowridge-x86_64-cpu", "Westmere-IBRS-x86_64-cpu", "Westmere-v1-x86_64-cpu",
    "Westmere-v2-x86_64-cpu", "Westmere-x86_64-cpu", "athlon-v1-x86_64-cpu", "athlon-x86_64-cpu", "base-x86_64-cpu",
    "core2duo-v1-x86_64-cpu", "core2duo-x86_64-cpu", "coreduo-v1-x86_64-cpu", "coreduo-x86_64-cpu",
    "host-x86_64-cpu", "kvm32-v1-x86_64-cpu", "kvm32-x86_64-cpu", "kvm64-v1-x86_64-cpu", "kvm64-x86_64-cpu",
    "max-x86_64-cpu", "n270-v1-x86_64-cpu", "n270-x86_64-cpu", "pentium-v1-x86_64-cpu", "pentium-x86_64-cpu",
    "pentium2-v1-x86_64-cpu", "pentium2-x86_64-cpu", "pentium3-v1-x86_64-cpu", "pentium3-x86_64-cpu",
    "phenom-v1-x86_64-cpu", "phenom-x86_64-cpu", "qemu32-v1-x86_64-cpu", "qemu32-x86_64-cpu", "qemu64-v1-x86_64-cpu",
    "qemu64-x86_64-cpu",
};
/* clang-format on */

typedef struct NameList {
    ObjectClass class; /* NONE for what only -global may name */
    const char *const *names;
    size_t             n;
} NameList;

static const NameList lists[] = {
    { OBJECT_CLASS_DEVICE, surface_devices, G_N_ELEMENTS(surface_devices) },
    { OBJECT_CLASS_USER, surface_objects, G_N_ELEMENTS(surface_objects) },
    { OBJECT_CLASS_CPU, surface_cpus, G_N_ELEMENTS(surface_cpus) },
    { OBJECT_CLASS_NONE, surface_internal, G_N_ELEMENTS(surface_internal) },
};

static const NameList *find_list(ObjectClass class)
{
    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
        if (lists[i].class == class) {
            return &lists[i];
        }
    }
    return NULL;
}

static int compare(const void *key, const void *element)
{
    return strcmp(key, *(const char *const *)element);
}

bool surface_has(ObjectClass class, const char *name)
{
    const NameList *list = find_list(class);
    return list && bsearch(name, list->names, list->n, sizeof *list->names, compare);
}

bool surface_has_internal(const char *name)
{
    return surface_has(OBJECT_CLASS_NONE, name);
}

void surface_match_names(ObjectClass class, NameMatch *match)
{
    const NameList *list = find_list(class);
    for (size_t i = 0; list && i < list->n; i++) {
        text_match_name(match, list->names[i]);
    }
}

void surface_match_internal(NameMatch *match)
{
    surface_match_names(OBJECT_CLASS_NONE, match);
}

bool surface_is_sorted(void)
{
    for (size_t i = 0; i < G_N_ELEMENTS(lists); i++) {
        for (size_t j = 1; j < lists[i].n; j++) {
            if (strcmp(lists[i].names[j - 1], lists[i].names[j]) >= 0) {
                return false;
            }
        }
    }
    return true;
}
