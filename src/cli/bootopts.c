/* Options about what a guest boots: -boot, -kernel and what goes with it, -bios, -option-rom, -fw_cfg; -uuid and -seed.
 * Main thread, machine lock held. */

#include "cli/bootopts.h"

#include "base/bytes.h"
#include "base/file.h"
#include "base/text.h"

#include <fcntl.h>
#include <string.h>

typedef struct FwCfgOptions {
    char *name, *file, *string, *gen_id;
} FwCfgOptions;

static const Field fw_cfg_options[] = {
    FIELD(FwCfgOptions, name, "name", .required = true, .help = "name of the fw_cfg file"),
    FIELD(FwCfgOptions, file, "file", .help = "host file with its contents"),
    FIELD(FwCfgOptions, string, "string", .help = "its contents, without a final NUL"),
    FIELD(FwCfgOptions, gen_id, "gen_id", .help = "object that generates its contents"),
    {},
};
CLI_KEYS(fw_cfg_options, "fw_cfg");

typedef struct OptionRomOptions {
    char   *romfile;
    int64_t bootindex;
} OptionRomOptions;

static const Field option_rom_options[] = {
    FIELD(OptionRomOptions, romfile, "romfile", .required = true, .help = "file with the ROM"),
    FIELD(OptionRomOptions, bootindex, "bootindex", .initial = -1, .min = -1, .max = INT32_MAX,
          .help = "place in the boot order"),
    {},
};
CLI_KEYS(option_rom_options, "option-rom");

typedef struct BootOptionsText {
    char   *order, *once, *splash;
    bool    menu, strict;
    int64_t splash_time, reboot_timeout;
} BootOptionsText;

static const Field boot_options[] = {
    FIELD(BootOptionsText, order, "order", .help = "drives in order"),
    FIELD(BootOptionsText, once, "once", .help = "the same for the first boot only"),
    FIELD(BootOptionsText, menu, "menu", .help = "firmware offers a menu"),
    FIELD(BootOptionsText, splash, "splash", .help = "picture that it shows: JPEG, or BMP of 24 bits"),
    FIELD(BootOptionsText, splash_time, "splash-time", .initial = -1, .min = -1, .max = UINT16_MAX,
          .help = "for how many milliseconds, and how long the menu is offered"),
    FIELD(BootOptionsText, reboot_timeout, "reboot-timeout", .initial = -1, .min = -1, .max = UINT16_MAX,
          .help = "milliseconds to a new try when nothing boots; -1: never"),
    FIELD(BootOptionsText, strict, "strict", .help = "tries nothing without a bootindex"),
    {},
};

/* The file that an option names, as a whole. */
static char *read_path(const Cli *cli, const char *text, size_t *len, Error *err)
{
    g_autofree char *path = cli_path(cli, text, O_RDONLY, err);
    return path ? file_read(path, len, err) : NULL;
}

static void free_fw_cfg_blob(gpointer data)
{
    FwCfgBlob *blob = data;
    g_free(blob->name);
    g_free(blob->gen_id);
    g_clear_pointer(&blob->data, g_bytes_unref);
    g_free(blob);
}

static bool configure_fw_cfg(const Cli *cli, MachineConfig *c, Error *err)
{
    c->fw_cfg = g_ptr_array_new_with_free_func(free_fw_cfg_blob);
    for (size_t i = 0; cli_nth(cli, "fw_cfg", i); i++) {
        const CliEntry *entry = cli_nth(cli, "fw_cfg", i);
        FwCfgOptions    o;
        fields_init(fw_cfg_options, &o);
        bool ok = fields_parse(fw_cfg_options, &o, entry->json, true, NULL, err);
        if (ok && !!o.file + !!o.string + !!o.gen_id != 1) {
            ok = error_set(err, "give one of file=, string= and gen_id=");
        } else if (ok && strlen(o.name) > 55) {
            ok = error_set(err, "the name is longer than 55 characters");
        }
        for (guint k = 0; ok && k < c->fw_cfg->len; k++) {
            if (!strcmp(((FwCfgBlob *)c->fw_cfg->pdata[k])->name, o.name)) {
                ok = error_set(err, "an earlier -fw_cfg has the name '%s' already", o.name);
            }
        }
        char  *data = NULL;
        size_t len  = 0;
        if (ok && o.file) {
            data = read_path(cli, o.file, &len, err);
            ok   = data != NULL;
        } else if (ok && o.string) {
            data = g_strdup(o.string);
            len  = strlen(data);
        }
        if (ok) {
            if (!g_str_has_prefix(o.name, "opt/")) {
                warn_report("-fw_cfg name=%s: names that do not start with opt/ may clash with the machine's own",
                            o.name);
            }
            FwCfgBlob *blob = g_new0(FwCfgBlob, 1);
            *blob           = (FwCfgBlob){ .name   = g_strdup(o.name),
                                           .data   = o.gen_id ? NULL : g_bytes_new_take(data, len),
                                           .gen_id = g_strdup(o.gen_id) };
            g_ptr_array_add(c->fw_cfg, blob);
        }
        fields_clear(fw_cfg_options, &o);
        if (!ok) {
            return cli_blame(entry, err);
        }
    }
    return true;
}

static void free_option_rom(gpointer data)
{
    OptionRom *rom = data;
    g_free(rom->file);
    g_free(rom);
}

static bool configure_option_roms(const Cli *cli, MachineConfig *c, Error *err)
{
    c->option_roms = g_ptr_array_new_with_free_func(free_option_rom);
    for (size_t i = 0; cli_nth(cli, "option-rom", i); i++) {
        const CliEntry  *entry = cli_nth(cli, "option-rom", i);
        OptionRomOptions o;
        fields_init(option_rom_options, &o);
        bool             ok   = fields_parse(option_rom_options, &o, entry->json, true, NULL, err);
        g_autofree char *path = ok ? cli_path(cli, o.romfile, O_RDONLY, err) : NULL;
        if (path) {
            OptionRom *rom = g_new0(OptionRom, 1);
            *rom           = (OptionRom){ .file = g_steal_pointer(&path), .bootindex = (int)o.bootindex };
            g_ptr_array_add(c->option_roms, rom);
        } else {
            ok = false;
        }
        fields_clear(option_rom_options, &o);
        if (!ok) {
            return cli_blame(entry, err);
        }
    }
    return true;
}

/* Firmware shows what it can decode, and nothing else. */
static const char *splash_kind(const uint8_t *data, gsize len)
{
    enum { BMP_BITS = 28 };
    if (len > 3 && data[0] == 0xff && data[1] == 0xd8 && data[2] == 0xff) {
        return "bootsplash.jpg";
    }
    if (len > BMP_BITS + 2 && data[0] == 'B' && data[1] == 'M' && load_le16(data + BMP_BITS) == 24) {
        return "bootsplash.bmp";
    }
    return NULL;
}

static bool read_splash(const Cli *cli, const char *text, BootConfig *boot, Error *err)
{
    size_t len;
    char  *data = read_path(cli, text, &len, err);

    if (!data) {
        return false;
    }
    boot->splash      = g_bytes_new_take(data, len);
    boot->splash_file = splash_kind((const uint8_t *)data, len);
    return boot->splash_file || error_set(err, "'%s' is neither a JPEG picture nor a BMP picture of 24 bits", text);
}

static bool configure_boot(const Cli *cli, BootConfig *boot, Error *err)
{
    g_autoptr(Json) json = cli_merged(cli, "boot");
    BootOptionsText o;

    fields_init(boot_options, &o);
    bool ok              = !json || fields_parse(boot_options, &o, json, true, NULL, err);
    boot->given          = json != NULL;
    boot->order          = g_steal_pointer(&o.order);
    boot->once           = g_steal_pointer(&o.once);
    boot->menu           = o.menu;
    boot->strict         = o.strict;
    boot->splash_time    = (int)o.splash_time;
    boot->reboot_timeout = (int)o.reboot_timeout;
    ok                   = ok && (!o.splash || read_splash(cli, o.splash, boot, err) || error_prefix(err, "splash: "));
    fields_clear(boot_options, &o);
    return ok || error_prefix(err, "-boot: ");
}

/* The file that an option names; NULL when it was not given. */
static bool take_path(const Cli *cli, const char *option, char **path, Error *err)
{
    const char *text = cli_text(cli, option);
    *path            = text ? cli_path(cli, text, O_RDONLY, err) : NULL;
    return *path || !text || error_prefix(err, "-%s: ", option);
}

static bool configure_kernel(const Cli *cli, MachineConfig *c, Error *err)
{
    c->append = g_strdup(cli_text(cli, "append"));
    if (!take_path(cli, "kernel", &c->kernel, err) || !take_path(cli, "initrd", &c->initrd, err) ||
        !take_path(cli, "bios", &c->bios, err)) {
        return false;
    }
    if (cli_has(cli, "dtb")) {
        return error_set(err, "-dtb %s: x86 machines describe themselves by ACPI and take no device tree",
                         cli_text(cli, "dtb"));
    }
    if (!c->kernel && (c->initrd || c->append)) {
        return error_set(err, "-%s needs a -kernel", c->initrd ? "initrd" : "append");
    }
    return true;
}

static bool configure_identity(const Cli *cli, Platform *platform, MachineConfig *c, Error *err)
{
    const char *uuid = cli_text(cli, "uuid");
    if (uuid) {
        c->have_uuid = true;
        if (!text_parse_uuid(uuid, c->uuid, err)) {
            return error_prefix(err, "-uuid %s: ", uuid);
        }
    }
    const char *seed = cli_text(cli, "seed");
    if (seed) {
        platform->have_seed = true;
        if (!text_parse_uint(seed, UINT64_MAX, &platform->random_seed, err)) {
            return error_prefix(err, "-seed %s: ", seed);
        }
    }
    return true;
}

bool bootopts_configure(const Cli *cli, Platform *platform, MachineConfig *c, Error *err)
{
    return configure_fw_cfg(cli, c, err) && configure_option_roms(cli, c, err) && configure_kernel(cli, c, err) &&
           configure_boot(cli, &c->boot, err) && configure_identity(cli, platform, c, err);
}
