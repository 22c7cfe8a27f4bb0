/* Choosing the accelerator. */

#include "cli/choose.h"

#include "machine/runstate.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* What only the software that runs each instruction can log. */
enum {
    LOG_OF_INSTRUCTIONS =
        LOG_IN_ASM | LOG_INT | LOG_MMU | LOG_EXEC | LOG_CPU | LOG_OP | LOG_OUT_ASM | LOG_NOCHAIN | LOG_JIT
};

/* Options that are the translator's, as properties of -accel tcg. */
static const char *const tcg_options[] = { "perfmap", "jitdump" };

static void free_json(void *json)
{
    json_free(json);
}

static bool is_listed(const GPtrArray *wanted, const char *name)
{
    for (guint i = 0; i < wanted->len; i++) {
        const char *other = json_get_string(wanted->pdata[i], "accel");
        if (other && strcmp(other, name) == 0) {
            return true;
        }
    }
    return false;
}

static void want(GPtrArray *wanted, const char *name)
{
    if (!is_listed(wanted, name)) {
        Json *options = json_new_object();
        json_set(options, "accel", json_new_string(name));
        g_ptr_array_add(wanted, options);
    }
}

/* -accel and -enable-kvm in their order, then -machine accel=. */
static GPtrArray *listed_accels(const Cli *cli, const Machine *m)
{
    GPtrArray *wanted = g_ptr_array_new_with_free_func(free_json);
    for (size_t i = 0; cli_nth(cli, "accel", i); i++) {
        g_ptr_array_add(wanted, json_copy(cli_nth(cli, "accel", i)->json));
    }
    g_auto(GStrv) names = m->accel_name ? g_strsplit(m->accel_name, ":", -1) : NULL;
    for (char **name = names; name && *name; name++) {
        want(wanted, *name);
    }
    return wanted;
}

static bool blame(const Json *options, Error *err)
{
    const char *name = json_get_string(options, "accel");
    return error_prefix(err, "-accel%s%s: ", name ? " " : "", name ? name : "");
}

/* What the machine's options say about KVM, and files by the names they are opened by. */
static bool complete(const Cli *cli, const Machine *m, Json *options, bool cpu_pm, Error *err)
{
    const char *name = json_get_string(options, "accel");
    for (size_t i = 0; name && strcmp(name, "tcg") == 0 && i < G_N_ELEMENTS(tcg_options); i++) {
        if (cli_has(cli, tcg_options[i]) && !json_get(options, tcg_options[i])) {
            json_set(options, tcg_options[i], json_new_string("on"));
        }
    }
    if (name && strchr(name, ':')) {
        return error_set(err, "one accelerator an option: give -accel several times, or -machine accel=%s", name);
    }
    if (!name || strcmp(name, "kvm") != 0) {
        return true;
    }
    if (m->kernel_irqchip && !json_get(options, "kernel-irqchip")) {
        json_set(options, "kernel-irqchip", json_new_string(m->kernel_irqchip));
    }
    if (cpu_pm && !json_get(options, "cpu-pm")) {
        json_set(options, "cpu-pm", json_new_string("on"));
    }
    const char *device = json_get_string(options, "device");
    if (device) {
        char *path = cli_path(cli, device, O_RDWR, err);
        if (!path) {
            return error_prefix(err, "device=: ");
        }
        json_set(options, "device", json_new_string(path));
        g_free(path);
    }
    return true;
}

static bool check_irqchip(const Machine *m, const GPtrArray *wanted, Error *err)
{
    const char *value = m->kernel_irqchip;
    if (!value || strcmp(value, "off") == 0 || is_listed(wanted, "kvm")) {
        return true;
    }
    return error_set(err, "-machine kernel-irqchip=%s: only with -accel kvm", value);
}

/* Without any option. */
static void want_what_suits(const Cli *cli, const Machine *m, GPtrArray *wanted)
{
    const char      *name = "tcg";
    g_autofree char *why  = NULL;
    if (log_on(m->platform.log, LOG_OF_INSTRUCTIONS)) {
        why = g_strdup("-d asks for what only it can tell");
    } else if (cli_has(cli, "perfmap") || cli_has(cli, "jitdump")) {
        why = g_strdup("-perfmap and -jitdump are about translated code");
    } else if (accel_suits("kvm", &why)) {
        name = "kvm";
        want(wanted, "kvm");
        why = g_strdup("it runs at the speed of the hardware here; -accel tcg takes the translator");
    }
    want(wanted, "tcg");
    if (isatty(STDERR_FILENO)) {
        info_report("running on %s: %s", name, why);
    }
}

static bool tools_fit(const Cli *cli, const Machine *m, const char *name, bool cpu_pm, Error *err)
{
    if (cpu_pm && strcmp(name, "kvm") != 0) {
        return error_set(err, "-overcommit cpu-pm=on: only with -accel kvm");
    }
    for (size_t i = 0; strcmp(name, "tcg") != 0 && i < G_N_ELEMENTS(tcg_options); i++) {
        if (cli_has(cli, tcg_options[i])) {
            return error_set(err, "-%s is about translated code: it needs -accel tcg", tcg_options[i]);
        }
    }
    return strcmp(name, "tcg") == 0 || strcmp(name, "qtest") == 0 || !log_on(m->platform.log, LOG_OF_INSTRUCTIONS) ||
           error_set(err, "-d in_asm, op, out_asm, int, mmu, exec, cpu, nochain and jit need -accel tcg");
}

/* Mistakes are errors also where another accelerator would follow. */
static bool check_all(const Cli *cli, const Machine *m, const GPtrArray *wanted, bool cpu_pm, Error *err)
{
    for (guint i = 0; i < wanted->len; i++) {
        Json *options = wanted->pdata[i];
        if (!complete(cli, m, options, cpu_pm, err) || !accel_check(options, true, err)) {
            return blame(options, err);
        }
    }
    return check_irqchip(m, wanted, err);
}

bool choose_accel(const Cli *cli, Machine *m, bool cpu_pm, Error *err)
{
    AccelHost host              = run_state_accel_host(m);
    g_autoptr(GPtrArray) wanted = listed_accels(cli, m);
    if (!wanted->len) {
        if (!check_irqchip(m, wanted, err)) {
            return false;
        }
        want_what_suits(cli, m, wanted);
    }
    if (!check_all(cli, m, wanted, cpu_pm, err)) {
        return false;
    }
    for (guint i = 0; i < wanted->len && !m->accel; i++) {
        const char *name = json_get_string(wanted->pdata[i], "accel");
        error_clear(err);
        if (tools_fit(cli, m, name, cpu_pm, err)) {
            m->accel = accel_new(wanted->pdata[i], true, m->platform.lock, m->platform.clocks, &host, err);
        }
        if (!m->accel) {
            blame(wanted->pdata[i], err);
            if (i + 1 < wanted->len) {
                warn_report("%s; trying %s", err->text, json_get_string(wanted->pdata[i + 1], "accel"));
            }
        }
    }
    return m->accel != NULL;
}
