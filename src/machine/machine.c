/* The machine as a whole: types of boards, making and freeing one, reset. Main thread, machine lock held. */

#include "machine/machine.h"

#include "base/text.h"
#include "machine/loader.h"
#include "machine/numa.h"
#include "machine/runstate.h"

#include <string.h>
#include <unistd.h>

/* ---- Types ---- */

typedef struct TypeSearch {
    const char        *name;
    const MachineType *found;
    GPtrArray         *all;
    NameMatch          match;
} TypeSearch;

static void visit_type(const ObjectType *type, void *opaque)
{
    TypeSearch        *search = opaque;
    const MachineType *mt     = (const MachineType *)type;

    if (type->class != OBJECT_CLASS_MACHINE) {
        return;
    }
    if (search->all) {
        g_ptr_array_add(search->all, (void *)mt);
        return;
    }
    if (search->name ? strcmp(type->name, search->name) == 0 || (mt->alias && strcmp(mt->alias, search->name) == 0)
                     : mt->is_default) {
        search->found = mt;
    }
    if (search->name) {
        text_match_name(&search->match, type->name);
        if (mt->alias) {
            text_match_name(&search->match, mt->alias);
        }
    }
}

const MachineType *machine_type_find(const char *name, Error *err)
{
    TypeSearch search = { .name = name, .match = { .word = name } };
    char       hint[128];

    object_type_foreach(visit_type, &search);
    if (!search.found) {
        error_set(err, "no machine type '%s'%s; -machine help lists them", name ? name : "",
                  text_did_you_mean(&search.match, hint));
        return NULL;
    }
    if (search.found->missing) {
        error_set_unsupported(err, "machine type '%s'", name);
        return NULL;
    }
    return search.found;
}

static gint compare_types(gconstpointer a, gconstpointer b)
{
    const MachineType *x = *(const MachineType *const *)a, *y = *(const MachineType *const *)b;
    return strcmp(x->name, y->name);
}

void machine_print_help(GString *out)
{
    TypeSearch search = { .all = g_ptr_array_new() };

    object_type_foreach(visit_type, &search);
    g_ptr_array_sort(search.all, compare_types);
    g_string_append(out, "Supported machines are:\n");
    for (guint i = 0; i < search.all->len; i++) {
        const MachineType *mt = search.all->pdata[i];
        if (mt->missing) {
            continue;
        }
        if (mt->alias) {
            g_string_append_printf(out, "%-20s %s (alias of %s)\n", mt->alias, mt->help, mt->name);
        }
        g_string_append_printf(out, "%-20s %s%s\n", mt->name, mt->help, mt->is_default ? " (default)" : "");
    }
    g_ptr_array_unref(search.all);
}

/* ---- Making one ---- */

static void send_msi(Platform *p, uint64_t address, uint32_t data)
{
    apic_bus_send_msi(((Machine *)p)->apic_bus, address, data);
}

static void add_spaces(Platform *p)
{
    p->system_memory = g_new0(Region, 1);
    p->system_io     = g_new0(Region, 1);
    region_init_container(p->system_memory, p->memory, "system", UINT64_MAX);
    region_init_container(p->system_io, p->memory, "io", 0x10000);
    p->memory_space = address_space_new(p->memory, p->system_memory, "memory");
    p->io_space     = address_space_new(p->memory, p->system_io, "I/O");
}

Machine *machine_new(const MachineType *type, const Json *options, bool lenient, Log *log, Error *err)
{
    Machine  *m = object_new((const ObjectType *)type);
    Platform *p = &m->platform;

    p->lock = g_new0(MachineLock, 1);
    machine_lock_init(p->lock);
    machine_lock(p->lock);
    m->config.boot = (BootConfig){ .splash_time = -1, .reboot_timeout = -1 };
    m->cpus        = g_ptr_array_new();
    p->log         = log;
    p->objects     = object_root_new();
    p->loop        = loop_new(p->lock, err);
    if (!p->loop) {
        machine_free(m);
        return NULL;
    }
    p->clocks = loop_clocks(p->loop);
    p->memory = memory_new(p->lock);
    memory_set_log(p->memory, log);
    add_spaces(p);
    m->apic_bus = apic_bus_new(p->clocks, log);
    p->send_msi = send_msi;
    m->chars    = char_hub_new(p->loop, p->objects);
    m->audio    = audio_hub_new();
    p->chars    = m->chars;
    char_hub_set_input(m->chars, &p->input);
    run_state_init(m);
    if (!machine_make_storage(m, err)) {
        machine_free(m);
        return NULL;
    }
    if (options && !fields_parse(type->properties, m, options, lenient, NULL, err)) {
        machine_free(m);
        return NULL;
    }
    return m;
}

static void config_clear(MachineConfig *c)
{
    GPtrArray **lists[] = { &c->fw_cfg, &c->option_roms, &c->smbios, &c->acpi_tables, &c->firmware_dirs };
    char      **texts[] = { &c->cpu_model, &c->kernel,     &c->initrd,    &c->append,  &c->bios,
                            &c->name,      &c->boot.order, &c->boot.once, &c->mem_path };

    for (unsigned i = 0; i < G_N_ELEMENTS(lists); i++) {
        g_clear_pointer(lists[i], g_ptr_array_unref);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_clear_pointer(texts[i], g_free);
    }
    g_clear_pointer(&c->numa, numa_free);
    g_clear_pointer(&c->boot.splash, g_bytes_unref);
}

/* The other way round: what uses something goes before it. */
void machine_free(Machine *m)
{
    Platform *p = &m->platform;

    if (m->accel) {
        accel_shutdown(m->accel);
    }
    if (p->memory) {
        if (machine_type(m)->detach) {
            machine_type(m)->detach(m);
        }
        devices_free(p);
        machine_remove_cpus(m);
        if (machine_type(m)->free) {
            machine_type(m)->free(m);
        }
        g_clear_pointer(&m->apic_bus, apic_bus_free);
        address_space_free(p->memory_space);
        address_space_free(p->io_space);
        region_destroy(p->system_memory);
        region_destroy(p->system_io);
        g_free(p->system_memory);
        g_free(p->system_io);
        memory_free(p->memory);
    }
    g_clear_pointer(&m->accel, accel_free);
    machine_free_ram(m);
    g_clear_pointer(&m->cpu_model, x86_model_free);
    machine_free_storage(m);
    g_clear_pointer(&m->chars, char_hub_free);
    g_clear_pointer(&m->audio, audio_hub_free);
    g_clear_pointer(&p->loop, loop_free);
    g_clear_pointer(&p->objects, object_unref);
    g_ptr_array_unref(m->cpus);
    config_clear(&m->config);
    MachineLock *lock = p->lock;
    object_unref(&p->root);
    machine_unlock(lock);
    machine_lock_destroy(lock);
    g_free(lock);
}

static bool add_compat_properties(Machine *m, Error *err)
{
    const CompatProperty *c = machine_type(m)->compat;
    for (; c && c->type; c++) {
        if (!device_add_global(&m->platform, c->type, c->property, c->value, err)) {
            return false;
        }
    }
    return true;
}

bool machine_build(Machine *m, Error *err)
{
    MachineConfig *c = &m->config;

    if (!c->bios && m->firmware) {
        c->bios = g_strdup(m->firmware);
    }
    if (!add_compat_properties(m, err) || !machine_make_ram(m, err)) {
        return false;
    }
    bool no_cpus = !machine_type(m)->default_cpu && !c->cpu_model;
    return (no_cpus || machine_add_cpus(m, err)) && machine_type(m)->build(m, err);
}

bool machine_finish(Machine *m, Error *err)
{
    return !machine_type(m)->finish || machine_type(m)->finish(m, err);
}

void machine_reset(Machine *m, ResetKind kind)
{
    devices_reset(&m->platform, kind);
    machine_reset_cpus(m);
    machine_type(m)->reset(m, kind);
    if (kind != RESET_WAKE) {
        loaders_set_start(m);
    }
}

/* ---- Firmware files ---- */

static const char *const builtin_firmware_dirs[] = { "/usr/share/quern", "/usr/share/seabios", "/usr/share/qemu",
                                                     "/usr/share/OVMF",  "/usr/lib/ipxe/qemu", NULL };

void machine_print_firmware_dirs(GString *out)
{
    for (unsigned i = 0; builtin_firmware_dirs[i]; i++) {
        g_string_append_printf(out, "%s\n", builtin_firmware_dirs[i]);
    }
}

static bool is_readable_file(const char *path)
{
    return access(path, R_OK) == 0 && !g_file_test(path, G_FILE_TEST_IS_DIR);
}

static char *try_firmware(const char *dir, const char *name)
{
    char *path = g_build_filename(dir, name, NULL);
    if (is_readable_file(path)) {
        return path;
    }
    g_free(path);
    return NULL;
}

char *machine_find_firmware(Machine *m, const char *name, Error *err)
{
    char *path = NULL;

    if (is_readable_file(name)) {
        return g_strdup(name);
    }
    for (guint i = 0; !path && m->config.firmware_dirs && i < m->config.firmware_dirs->len; i++) {
        path = try_firmware(m->config.firmware_dirs->pdata[i], name);
    }
    for (unsigned i = 0; !path && builtin_firmware_dirs[i]; i++) {
        path = try_firmware(builtin_firmware_dirs[i], name);
    }
    if (!path) {
        error_set(err,
                  "no firmware '%s' here, in the directories that -L names, or where Debian's seabios, ovmf and "
                  "ipxe-qemu packages put theirs",
                  name);
    }
    return path;
}
