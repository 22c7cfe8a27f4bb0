/* "help" as a value: prints lists and property tables. Main thread, before the machine exists. */

#include "cli/start.h"

#include "accel/accel.h"
#include "audio/audio.h"
#include "base/trace.h"
#include "char/char.h"
#include "cpu/x86/cpuid.h"
#include "devices/device.h"
#include "machine/machine.h"
#include "monitor/cpu_model.h"

#include <stdio.h>
#include <string.h>

static bool is_help(const char *value)
{
    return value && (!strcmp(value, "help") || !strcmp(value, "?"));
}

static bool print(GString *out)
{
    fputs(out->str, stdout);
    g_string_free(out, TRUE);
    return true;
}

static void print_user_object(const ObjectType *type, void *out)
{
    if (type->class == OBJECT_CLASS_USER) {
        g_string_append_printf(out, "  %-24s %s\n", type->name, type->help ? type->help : "");
    }
}

/* One entry's answer; false without an error when it asks for none. */
static bool answer_entry(const CliEntry *entry, Error *err)
{
    const char *name = entry->option->name;
    const char *first =
        entry->json && entry->option->implied ? json_get_string(entry->json, entry->option->implied) : NULL;
    GString *out = NULL;
    if (!strcmp(name, "h")) {
        g_autofree char *text = cli_help();
        fputs(text, stdout);
        return true;
    }
    if (!strcmp(name, "version")) {
        puts("QEMU emulator version 9.1.50 (Quern " QUERN_VERSION ")\n"
             "Quern is free software under the MIT license; see https://spdx.org/licenses/MIT.html");
        return true;
    }
    if (!strcmp(name, "device") && entry->json && json_get(entry->json, "help") && first) {
        out = g_string_new(NULL);
        if (!cpu_model_device_type_help(first, out, err)) {
            g_string_free(out, TRUE);
            return false;
        }
        return print(out);
    }
    if (!strcmp(name, "chardev") && entry->json && json_get(entry->json, "help") && first) {
        out = g_string_new(NULL);
        if (!char_print_type_help(first, out, err)) {
            g_string_free(out, TRUE);
            return false;
        }
        return print(out);
    }
    if (!strcmp(name, "accel") && entry->json && json_get(entry->json, "help") && first) {
        out = g_string_new(NULL);
        if (!accel_print_type_help(first, out, err)) {
            g_string_free(out, TRUE);
            return false;
        }
        return print(out);
    }
    if (!strcmp(name, "machine") && entry->json && json_get(entry->json, "help") && first) {
        const MachineType *type = machine_type_find(first, err);
        if (!type) {
            return false;
        }
        out = g_string_new(NULL);
        g_string_append_printf(out, "%s options:\n", type->name);
        fields_print_help(type->properties, out);
        return print(out);
    }
    if (!is_help(first ? first : entry->text)) {
        return false;
    }
    out = g_string_new(NULL);
    if (!strcmp(name, "machine")) {
        machine_print_help(out);
    } else if (!strcmp(name, "cpu")) {
        g_string_free(out, TRUE);
        x86_model_print_help(stdout);
        return true;
    } else if (!strcmp(name, "accel")) {
        accel_print_help(out);
    } else if (!strcmp(name, "device")) {
        cpu_model_device_help(out);
    } else if (!strcmp(name, "chardev")) {
        char_print_help(out);
    } else if (!strcmp(name, "audiodev")) {
        audio_print_help(out);
    } else if (!strcmp(name, "display") || !strcmp(name, "vga")) {
        g_string_append_printf(out, "Available %s:\nnone\n", *name == 'd' ? "display types" : "graphics cards");
    } else if (!strcmp(name, "object")) {
        g_string_append(out, "List of user creatable objects:\n");
        object_type_foreach(print_user_object, out);
    } else if (!strcmp(name, "d")) {
        log_print_help(stdout);
    } else if (!strcmp(name, "trace")) {
        trace_print_help(out);
    } else if (!strcmp(name, "L")) {
        machine_print_firmware_dirs(out);
    } else {
        g_string_free(out, TRUE);
        return false;
    }
    return print(out);
}

bool start_answer_help(const Cli *cli, Error *err)
{
    for (guint i = 0; i < cli->entries->len; i++) {
        if (answer_entry(cli->entries->pdata[i], err)) {
            return true;
        }
        if (error_is_set(err)) {
            return cli_blame(cli->entries->pdata[i], err);
        }
    }
    return false;
}
