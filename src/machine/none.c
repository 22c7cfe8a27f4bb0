/* The board none: nothing but RAM, when -m asks for it, and a vCPU, when -cpu does. Machine lock held. */

#include "machine/machine.h"

typedef struct NoneBoard {
    Region ram;
} NoneBoard;

static bool build(Machine *m, Error *err)
{
    const MachineConfig *c = &m->config;

    if (c->kernel || c->initrd || c->append) {
        return error_set(err,
                         "-kernel: the machine 'none' has nothing that starts one (-device loader fills memory in)");
    }
    if (c->bios) {
        return error_set(err, "-bios: the machine 'none' has no place for firmware");
    }
    if (c->boot.given) {
        return error_set(err, "-boot: the machine 'none' has no firmware to tell");
    }
    if ((c->option_roms && c->option_roms->len) || (c->fw_cfg && c->fw_cfg->len)) {
        return error_set(err, "-%s: the machine 'none' has no fw_cfg device",
                         c->fw_cfg && c->fw_cfg->len ? "fw_cfg" : "option-rom");
    }
    if (c->ram_size) {
        NoneBoard *board = g_new0(NoneBoard, 1);
        m->board         = board;
        machine_init_ram_region(m, &board->ram, "ram", 0, c->ram_size);
        region_map(m->platform.system_memory, 0, &board->ram, 0);
    }
    AccelBoard board = { .memory = m->platform.memory_space, .apics = m->apic_bus };
    return accel_attach(m->accel, &board, err) || error_prefix(err, "-accel: ");
}

static void reset(Machine *m, ResetKind kind)
{
}

static void detach(Machine *m)
{
    if (m->accel) {
        accel_detach(m->accel);
    }
}

static void none_free(Machine *m)
{
    NoneBoard *board = m->board;

    if (board) {
        machine_destroy_ram_region(&board->ram);
        g_free(board);
    }
    m->board = NULL;
}

static const Field properties[] = {
    FIELD(Machine, accel_name, "accel", .help = "accelerators to try, separated by colons"),
    FIELD(Machine, graphics, "graphics", .initial = true, .help = "displays; off with -nographic"),
    FIELD(Machine, firmware, "firmware", .help = "firmware image, as -bios"),
    FIELD(Machine, dump_guest_core, "dump-guest-core", .initial = true, .help = "guest RAM in core dumps"),
    FIELD(Machine, mem_merge, "mem-merge", .initial = true, .help = "let the host merge equal pages"),
    FIELD(Machine, kernel_irqchip, "kernel-irqchip", .alias = "kernel_irqchip",
          .help = "as -accel kvm,kernel-irqchip="),
    FIELD(Machine, absent_flag, "usb", .unsupported = true, .help = "USB controller on the board"),
    FIELD(Machine, absent_flag, "suppress-vmdesc", .unsupported = true, .help = "migration without description"),
    FIELD(Machine, absent_text, "memory-encryption", .unsupported = true, .help = "memory encryption object"),
    FIELD(Machine, absent_text, "confidential-guest-support", .unsupported = true, .help = "confidential guest object"),
    FIELD(Machine, memory_backend, "memory-backend", .help = "memory backend object for RAM"),
    {},
};

MACHINE_TYPE(none) = {
    .name       = "none",
    .help       = "empty machine",
    .class      = OBJECT_CLASS_MACHINE,
    .size       = sizeof(Machine),
    .properties = properties,
    .max_cpus   = 1,
    .no_acpi    = true,
    .ram_id     = "ram",
    .build      = build,
    .reset      = reset,
    .detach     = detach,
    .free       = none_free,
};
