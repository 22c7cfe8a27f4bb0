/* The command line: what the user typed, as an ordered list of entries that the start-up code asks questions of.
 *
 * Every option of the surface is in one table (options.c). An option that is not built yet is known all the same:
 * it says so and the program ends with status 1, unless its value asks for absence ("-vga none"). */

#ifndef QUERN_CLI_CLI_H
#define QUERN_CLI_CLI_H

#include "desc/field.h"

typedef enum OptionForm {
    OPTION_FLAG, /* takes no argument */
    OPTION_TEXT, /* takes text as it is */
    OPTION_KEYS, /* takes key=value pairs or a JSON object */
} OptionForm;

typedef struct Option {
    const char *name; /* without the dash */
    OptionForm  form;
    const char *argument; /* synopsis for help; NULL for flags */
    const char *help;     /* NULL: not listed (alias, or not built) */
    const char *implied;  /* first key of OPTION_KEYS; NULL for none */
    const char *group;    /* name in -readconfig and -set; NULL: the option's own */
    const char *means;    /* this option is short for that one ... */
    const char *meaning;  /* ... with this argument; NULL: the same argument */
    bool        missing;  /* not built yet */
    const char *absent;   /* missing, but these values (separated by '|') ask for nothing and work */
    const char *section;  /* starts a section of the help text */
} Option;

typedef struct CliEntry {
    const Option *option;
    char         *text; /* as typed; NULL for flags */
    Json         *json; /* OPTION_KEYS only; owned */
} CliEntry;

typedef struct Cli {
    GPtrArray *entries; /* CliEntry *, in order */
} Cli;

void cli_init(Cli *cli);
void cli_clear(Cli *cli);

/* Parses argv[1..]. -readconfig files are read and -set changes applied on the way. false: one clear line. */
bool cli_parse(Cli *cli, int argc, char **argv, Error *err);

/* Adds one option as if it had been typed; `text` may be NULL for flags. */
bool cli_add(Cli *cli, const char *name, const char *text, Error *err);

/* Adds an entry from a configuration file: takes `json`. */
bool cli_add_group(Cli *cli, const char *group, Json *json, Error *err);

bool        cli_has(const Cli *cli, const char *name);
const char *cli_text(const Cli *cli, const char *name); /* the last one's text, or NULL */

/* Members of all entries of that name in one object, later ones winning; repeated keys stay lists. NULL when the
 * option was not given. The caller frees. */
Json *cli_merged(const Cli *cli, const char *name);

/* The n-th entry of that name, or NULL. */
const CliEntry *cli_nth(const Cli *cli, const char *name, size_t n);

/* The path to open for `path`: itself, or for /dev/fdset/N the descriptor that -add-fd put into that set and that is
 * open for what `flags` (O_RDONLY, O_WRONLY, O_RDWR) says. NULL when there is none. The caller frees. */
char *cli_path(const Cli *cli, const char *path, int flags, Error *err);

/* Puts "-name text: " in front of an error. Returns false. */
bool cli_blame(const CliEntry *entry, Error *err);

/* The whole -h text of what is built. */
char *cli_help(void);

/* Reads an INI file of option groups into cli (readconfig.c). */
bool cli_read_config(Cli *cli, const char *path, Error *err);

const Option       *cli_option_find(const char *name);
const Option       *cli_option_find_group(const char *group);
extern const Option cli_options[]; /* ends with an empty name */

/* What keys an option takes, for query-command-line-options: CLI_KEYS(rtc_options, "rtc") beside the table, with the
 * name that the option has in -readconfig. The linker collects them. */
typedef struct CliKeys {
    const char  *group;
    const Field *table;
} CliKeys;

#define CLI_KEYS(identifier, group_name)                                                                               \
    static const CliKeys        identifier##_keys = { .group = (group_name), .table = (identifier) };                  \
    static const CliKeys *const identifier##_keys_entry __attribute__((used, section("quern_keys"))) =                 \
        &identifier##_keys

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Cli, cli_clear)

#endif
