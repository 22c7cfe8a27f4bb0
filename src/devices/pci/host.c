/* See host.h. Specification: PCI Local Bus Specification 3.0; the rest is the bridges'. Under the machine lock. */

#include "devices/pci/host.h"
#include "devices/pci/internal.h"

#include <string.h>

/* --- the bridge --- */

const Field pci_host_state[] = { FIELD(PciHost, ports.confadd, "confadd"), {} };

bool pci_host_realize(PciHost *host, const char *bus, Error *err)
{
    Platform *p = host->dev.platform;
    region_init_container(&host->pci_memory, p->memory, "pci", UINT64_MAX);
    region_map(p->system_memory, 0, &host->pci_memory, -1);
    region_init_container(&host->smram, p->memory, "smram", UINT64_C(1) << 32);
    host->bus = pci_bus_new(p, bus, &host->dev, &host->pci_memory, p->system_io, p->system_memory, NULL);
    pci_config_ports_init(&host->ports, p, host->bus);
    return true;
}

void pci_host_unrealize(Device *dev)
{
    PciHost *host = (PciHost *)dev;
    pci_config_ports_destroy(&host->ports);
    pci_bus_free(host->bus);
    region_unmap(&host->pci_memory);
    region_destroy(&host->pci_memory);
    region_destroy(&host->smram);
}

void pci_host_reset(Device *dev, ResetKind kind)
{
    ((PciHost *)dev)->ports.confadd = 0;
}

PciHost *pci_host_create(Platform *platform, const char *type, const char *function, Region *ram, Error *err)
{
    PciHost *host = device_new(platform, type);
    host->ram     = ram;
    if (!device_realize(&host->dev, NULL, err)) {
        return NULL;
    }
    PciHostFunction *f = device_new(platform, function);
    f->host            = host;
    f->pci.addr        = 1 + PCI_DEVFN(0, 0);
    if (!device_realize(&f->pci.dev, pci_bus_base(host->bus), err)) {
        return NULL;
    }
    host->function = f;
    return host;
}

/* --- function 00.0 --- */

void pci_host_function_init(PciHostFunction *f, uint16_t status, uint8_t pam_reg, uint8_t smram_reg)
{
    uint8_t *wmask = f->pci.wmask;
    f->pam_reg     = pam_reg;
    f->smram_reg   = smram_reg;
    pci_put16(&f->pci, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    pci_put16(&f->pci, PCI_STATUS, status);
    memset(wmask + PCI_COMMAND, 0, 2);
    wmask[PCI_COMMAND + 1] = PCI_COMMAND_SERR >> 8;
    wmask[pam_reg]         = PAM_FIRST_MASK;
    memset(wmask + pam_reg + 1, PAM_MASK, PAM_REGISTERS - 1);
    f->pci.config[smram_reg] = SMRAM_C_BASE_SEG;
    wmask[smram_reg]         = SMRAM_D_OPEN | SMRAM_D_CLS | SMRAM_D_LCK | SMRAM_G_SMRAME;
    pam_init(&f->pam, f->pci.dev.platform, f->host->ram, &f->host->pci_memory, &f->host->smram);
}

void pci_host_function_update(PciHostFunction *f)
{
    pam_update(&f->pam, f->pci.config + f->pam_reg, f->pci.config[f->smram_reg]);
}

void pci_host_function_write(PciHostFunction *f, const char *who, unsigned offset, uint32_t value, unsigned size)
{
    uint8_t *smram = &f->pci.config[f->smram_reg], old = *smram;
    pci_config_store_default(&f->pci, offset, value, size);
    if (offset <= f->smram_reg && f->smram_reg < offset + size) {
        *smram = pam_smram_written(&f->pam, who, old, *smram);
    }
}
