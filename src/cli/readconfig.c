/* -readconfig: options from a file.
 *
 *     [device "nic0"]
 *       driver = "e1000"
 *
 * Sections name option groups (machine, memory, smp-opts, device, chardev ...), optionally with an id; values stand
 * in double quotes. '#' starts a comment line. Main thread. */

#include "cli/cli.h"

#include "base/file.h"

#include <stdio.h>
#include <string.h>

enum { MAX_CONFIG = 1 << 20 };

static bool bad_line(Error *err, const char *path, int line, const char *what)
{
    return error_set(err, "-readconfig %s: line %d: %s", path, line, what);
}

/* [group] or [group "id"] */
static bool parse_section(char *line, char **group, Json **json)
{
    size_t len = strlen(line);
    if (len < 3 || line[len - 1] != ']') {
        return false;
    }
    line[len - 1] = 0;
    char *name    = g_strstrip(line + 1);
    char *quote   = strchr(name, '"');
    *json         = json_new_object();
    if (quote) {
        char *end = strrchr(quote + 1, '"');
        if (!end || end[1]) {
            return false;
        }
        *end = 0;
        json_set(*json, "id", json_new_string(quote + 1));
        *quote = 0;
    }
    *group = g_strdup(g_strstrip(name));
    return **group != 0;
}

/* key = "value" */
static bool parse_value(char *line, Json *json)
{
    char *equals = strchr(line, '=');
    if (!equals) {
        return false;
    }
    *equals      = 0;
    char  *key   = g_strstrip(line);
    char  *value = g_strstrip(equals + 1);
    size_t len   = strlen(value);
    if (!*key || len < 2 || value[0] != '"' || value[len - 1] != '"') {
        return false;
    }
    value[len - 1] = 0;
    json_set(json, key, json_new_string(value + 1));
    return true;
}

static bool finish_section(Cli *cli, char **group, Json **json, Error *err)
{
    if (!*group) {
        return true;
    }
    g_autofree char *name  = g_steal_pointer(group);
    Json            *value = g_steal_pointer(json);
    return cli_add_group(cli, name, value, err);
}

bool cli_read_config(Cli *cli, const char *path, Error *err)
{
    size_t           len;
    g_autofree char *text = file_read(path, &len, err);
    if (!text) {
        return error_prefix(err, "-readconfig %s: ", path);
    }
    if (len > MAX_CONFIG || memchr(text, 0, len)) {
        return error_set(err, "-readconfig %s: not a configuration file (binary, or larger than 1 MiB)", path);
    }
    g_auto(GStrv) lines    = g_strsplit(text, "\n", -1);
    g_autofree char *group = NULL;
    g_autoptr(Json) json   = NULL;
    int section_line       = 0;
    for (int i = 0; lines[i]; i++) {
        char *line = g_strstrip(lines[i]);
        if (!*line || *line == '#') {
            continue;
        }
        if (*line == '[') {
            if (!finish_section(cli, &group, &json, err)) {
                return error_prefix(err, "-readconfig %s: line %d: ", path, section_line);
            }
            section_line = i + 1;
            if (!parse_section(line, &group, &json)) {
                return bad_line(err, path, i + 1, "expected [group] or [group \"id\"]");
            }
        } else if (!group) {
            return bad_line(err, path, i + 1, "a value before the first [group]");
        } else if (!parse_value(line, json)) {
            return bad_line(err, path, i + 1, "expected KEY = \"VALUE\"");
        }
    }
    if (!finish_section(cli, &group, &json, err)) {
        return error_prefix(err, "-readconfig %s: line %d: ", path, section_line);
    }
    return true;
}
