/* The order in which firmware tries what it can boot from. Machine lock held.
 * Specification: SeaBIOS 1.16, docs/Runtime_config (bootorder, the CMOS bytes that the emulator sets). */

#include "machine/bootorder.h"

#include <string.h>

bool boot_order_cmos(const char *letters, uint8_t *first_two, uint8_t *third, Error *err)
{
    enum { MOST = 3 };
    static const struct {
        char    letter;
        uint8_t code;
    } drives[]          = { { 'a', 1 }, { 'b', 1 }, { 'c', 2 }, { 'd', 3 }, { 'n', 4 } };
    uint8_t codes[MOST] = { 0 };

    for (size_t i = 0; letters[i]; i++) {
        size_t k = 0;
        while (k < G_N_ELEMENTS(drives) && drives[k].letter != letters[i]) {
            k++;
        }
        if (k == G_N_ELEMENTS(drives)) {
            bool whole = (gint32)g_utf8_get_char_validated(letters + i, -1) > 0;
            return error_set(
                err, "'%.*s' is no drive of a PC: a and b are floppies, c the disk, d the CD-ROM, n the network",
                whole ? (int)(g_utf8_next_char(letters + i) - (letters + i)) : 1, whole ? letters + i : "?");
        }
        if (i == MOST) {
            return error_set(err, "a PC remembers three drives at most");
        }
        if (memchr(letters, letters[i], i)) {
            return error_set(err, "'%c' is there twice", letters[i]);
        }
        codes[i] = drives[k].code;
    }
    *first_two = (uint8_t)(codes[0] | codes[1] << 4);
    *third     = (uint8_t)(codes[2] << 4);
    return true;
}

typedef struct BootEntry {
    int   index;
    char *path;
} BootEntry;

static void clear_entry(gpointer entry)
{
    g_free(((BootEntry *)entry)->path);
}

void boot_order_clear(BootOrder *order)
{
    g_clear_pointer(&order->entries, g_array_unref);
}

bool boot_order_add(BootOrder *order, int index, const char *path, Error *err)
{
    if (index < 0) {
        return true;
    }
    if (!order->entries) {
        order->entries = g_array_new(FALSE, FALSE, sizeof(BootEntry));
        g_array_set_clear_func(order->entries, clear_entry);
    }
    guint at = 0;
    for (; at < order->entries->len; at++) {
        const BootEntry *e = &g_array_index(order->entries, BootEntry, at);
        if (e->index == index) {
            return error_set(err, "bootindex=%d is that of %s already", index, e->path);
        }
        if (e->index > index) {
            break;
        }
    }
    BootEntry entry = { .index = index, .path = g_strdup(path) };
    g_array_insert_val(order->entries, at, entry);
    return true;
}

GBytes *boot_order_file(const BootOrder *order, bool strict)
{
    if (!order->entries) {
        return NULL;
    }
    GString *text = g_string_new(NULL);
    for (guint i = 0; i < order->entries->len; i++) {
        g_string_append_printf(text, "%s%s", i ? "\n" : "", g_array_index(order->entries, BootEntry, i).path);
    }
    if (strict) {
        g_string_append(text, "\nHALT");
    }
    gsize len = text->len + 1;
    return g_bytes_new_take(g_string_free(text, FALSE), len);
}
