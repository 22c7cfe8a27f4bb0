/* VMware's backdoor port: a read of port 5658h with 564D5868h in EAX and a command in ECX, which answers in registers.
 * Programs use it to find out that they run in a virtual machine, and how fast its clock is. Commands for the mouse
 * are not built: they answer as unknown ones do.
 * Specification: VMware open-vm-tools, backdoor_def.h; QEMU 7.2's answers (tests/guest/vmport.c). Machine lock; the
 * vCPU that reads is outside its code, so its registers may be changed. */

#include "machine/vmport.h"

#include "base/bytes.h"
#include "cpu/x86/system.h"

#include <pthread.h>

enum { VMPORT = 0x5658, VMPORT_SIZE = 4, MAGIC = 0x564d5868 };

/* Commands. */
enum { GET_VERSION = 10, GET_UUID = 19, GET_RAM_SIZE = 20, GET_HZ = 45, GET_VCPU_INFO = 68 };

enum { RAM_SIZE_MAGIC = 0x1177, VCPU_LEGACY_X2APIC = 1 << 3 };

typedef struct Vmport {
    Device   dev;
    Machine *machine;
    uint32_t version;
    uint8_t  vmx_type;
    bool     report_type, signal_unsupported, commands_v2;
    Region   port;
} Vmport;

/* The vCPU that this thread runs; NULL: another thread reads the port (-qtest, gdb). */
static X86Cpu *reader(const Machine *m)
{
    for (guint i = 0; i < m->cpus->len; i++) {
        X86Cpu *cpu = m->cpus->pdata[i];
        if (cpu->vcpu.has_thread && pthread_equal(cpu->vcpu.thread, pthread_self())) {
            return cpu;
        }
    }
    return NULL;
}

/* What EAX becomes. */
static uint32_t answer(const Vmport *v, X86Cpu *cpu)
{
    const Machine *m     = v->machine;
    uint32_t       magic = (uint32_t)cpu->gpr[X86_RAX], command = (uint32_t)cpu->gpr[X86_RCX];
    uint64_t       hz;

    if (magic != MAGIC) {
        return v->signal_unsupported ? UINT32_MAX : magic;
    }
    switch (command) {
    case GET_VERSION:
        cpu->gpr[X86_RBX] = MAGIC;
        if (v->report_type) {
            cpu->gpr[X86_RCX] = v->vmx_type;
        }
        return v->version;
    case GET_RAM_SIZE: cpu->gpr[X86_RBX] = RAM_SIZE_MAGIC; return (uint32_t)m->config.ram_size;
    case GET_UUID:
        if (!v->commands_v2) {
            break;
        }
        cpu->gpr[X86_RBX] = load_le32(m->config.uuid + 4);
        cpu->gpr[X86_RCX] = load_le32(m->config.uuid + 8);
        cpu->gpr[X86_RDX] = load_le32(m->config.uuid + 12);
        return load_le32(m->config.uuid);
    case GET_HZ:
        if (!v->commands_v2) {
            break;
        }
        hz                = cpu->tsc_hz ? cpu->tsc_hz : x86_host_tsc_hz();
        cpu->gpr[X86_RBX] = (uint32_t)(hz >> 32);
        cpu->gpr[X86_RCX] = APIC_TIMER_HZ;
        return (uint32_t)hz;
    case GET_VCPU_INFO:
        if (!v->commands_v2) {
            break;
        }
        return x86_has(cpu, X86_FEATURE_X2APIC) ? VCPU_LEGACY_X2APIC : 0;
    default: break;
    }
    log_print(m->platform.log, LOG_GUEST_ERRORS | LOG_UNIMP, "vmport: no command %u\n", command);
    return v->signal_unsupported ? UINT32_MAX : magic;
}

static uint64_t vmport_read(void *opaque, uint64_t offset, unsigned size)
{
    const Vmport *v   = opaque;
    X86Cpu       *cpu = offset == 0 && v->machine ? reader(v->machine) : NULL;
    return cpu ? answer(v, cpu) : UINT32_MAX;
}

static void vmport_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static const IoOps vmport_ops = { .name = "vmport", .access = IO_ANY, .read = vmport_read, .write = vmport_write };

static const Field vmport_properties[] = {
    FIELD(Vmport, version, "vmware-vmx-version", .initial = 6, .help = "version that is reported"),
    FIELD(Vmport, vmx_type, "vmware-vmx-type", .initial = 2, .help = "product that is reported; 2 is ESX Server"),
    FIELD(Vmport, report_type, "x-report-vmx-type", .initial = true, .help = "report the product"),
    FIELD(Vmport, signal_unsupported, "x-signal-unsupported-cmd", .initial = true,
          .help = "answer unknown commands with -1"),
    FIELD(Vmport, commands_v2, "x-cmds-v2", .initial = true, .help = "answer UUID, frequency and vCPU information"),
    {},
};

static bool vmport_realize(Device *dev, Error *err)
{
    Vmport *v = (Vmport *)dev;
    region_init_io(&v->port, dev->platform->memory, vmport_ops.name, VMPORT_SIZE, &vmport_ops, v);
    isa_map_ports(dev, &v->port, VMPORT);
    return true;
}

static void vmport_unrealize(Device *dev)
{
    Vmport *v = (Vmport *)dev;
    region_unmap(&v->port);
    region_destroy(&v->port);
}

DEVICE_TYPE(vmport) = {
    .name       = "vmport",
    .class      = OBJECT_CLASS_DEVICE,
    .help       = "VMware backdoor port",
    .size       = sizeof(Vmport),
    .bus        = BUS_ISA,
    .category   = DEVICE_MISC,
    .internal   = true,
    .properties = vmport_properties,
    .realize    = vmport_realize,
    .unrealize  = vmport_unrealize,
};

bool vmport_create(Machine *m, Error *err)
{
    Vmport *v  = device_new(&m->platform, "vmport");
    v->machine = m;
    return device_realize(&v->dev, NULL, err);
}
