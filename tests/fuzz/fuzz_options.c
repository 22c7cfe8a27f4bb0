/* The command line: lines of the input are its words. A line "%" begins the contents of a configuration file, which is
 * given with -readconfig. */

#include "fuzz.h"

#include "cli/cli.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { MAX_WORDS = 64 };

/* -readconfig with a name would read files of the host, some of which never end. */
static bool reads_files(const char *word)
{
    return g_str_has_suffix(word, "-readconfig");
}

static void parse(int argc, char **argv)
{
    g_auto(Error) err = { 0 };
    g_auto(Cli) cli   = { 0 };
    cli_init(&cli);
    bool ok = cli_parse(&cli, argc, argv, &err);
    fuzz_check_error(ok, &err);
    for (unsigned i = 0; ok && i < cli.entries->len; i++) {
        const CliEntry *entry = g_ptr_array_index(cli.entries, i);
        g_assert(entry->option && !entry->option->means);
        g_assert(cli_has(&cli, entry->option->name));
        if (entry->option->form == OPTION_KEYS) {
            g_assert(entry->json && entry->json->kind == JSON_OBJECT);
            g_autoptr(Json) merged = cli_merged(&cli, entry->option->name);
            g_assert(merged && merged->n >= entry->json->n);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text            = g_strndup((const char *)data, size);
    char            *argv[MAX_WORDS] = { (char *)"qemu-system-x86_64" };
    int              argc = 1, fd = -1;
    char             path[32];

    for (char *word = text, *next; word && argc < MAX_WORDS - 2; word = next) {
        next = strchr(word, '\n');
        if (next) {
            *next++ = '\0';
        }
        if (!strcmp(word, "%")) {
            fd = memfd_create("config", MFD_CLOEXEC);
            if (next && write(fd, next, strlen(next)) != (ssize_t)strlen(next)) {
                g_assert_not_reached();
            }
            g_snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
            argv[argc++] = (char *)"-readconfig";
            argv[argc++] = path;
            break;
        }
        if (!reads_files(word)) {
            argv[argc++] = word;
        }
    }
    parse(argc, argv);
    if (fd >= 0) {
        close(fd);
    }
    return 0;
}
