/* Runs tests/guest/modes.S, which goes through every mode of the processor and takes every kind of fault, and compares
 * what it writes to the debug console with tests/guest/modes.txt. Usage: test-x86_modes IMAGE EXPECTED */

#include "guest.h"

typedef struct Console {
    Region   region;
    GString *text;
} Console;

static uint64_t console_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0xe9;
}

static void console_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Console *c = opaque;
    g_string_append_c(c->text, (char)value);
}

static const IoOps console_ops = { .name = "console", .access = IO_BYTE, .read = console_read, .write = console_write };

static const char *image_path, *expected_path;

static void test_modes(void)
{
    g_autofree char *image = NULL, *expected = NULL;
    gsize            size;
    g_autoptr(GError) error         = NULL;
    g_auto(Error) err               = { 0 };
    static const X86Topology single = { 1, 1, 1, 1, 1 };

    g_assert_true(g_file_get_contents(image_path, &image, &size, &error));
    g_assert_cmpuint(size, ==, 0x10000);
    g_assert_true(g_file_get_contents(expected_path, &expected, NULL, &error));

    Guest  *g       = guest_new(1);
    X86Cpu *cpu     = g->cpus[0];
    Console console = { .text = g_string_new(NULL) };
    machine_lock(&g->lock);
    region_init_io(&console.region, g->memory, "console", 1, &console_ops, &console);
    region_map(&g->io_root, 0xe9, &console.region, 0);
    machine_unlock(&g->lock);

    X86Model *model = x86_model_parse("max", NULL, &err);
    g_assert_nonnull(model);
    g_assert_true(x86_cpu_init(cpu, model, &single, 0, &err));
    x86_reset(cpu, false);
    cpu->seg[X86_CS].base = 0xf0000; /* no ROM below 4 GiB here */
    guest_poke(g, 0xf0000, image, size);

    X86Exit exit = guest_run(g, 0);
    if (exit == X86_EXIT_MISSING) {
        g_test_message("missing: %s", (const char *)(uintptr_t)cpu->exit_detail);
    }
    g_auto(GStrv) got  = g_strsplit(console.text->str, "\n", -1);
    g_auto(GStrv) want = g_strsplit(expected, "\n", -1);
    for (unsigned i = 0; want[i] || got[i]; i++) {
        if (g_strcmp0(got[i], want[i]) != 0) {
            g_test_message("line %u: got '%s', want '%s'", i + 1, got[i] ? got[i] : "(end)",
                           want[i] ? want[i] : "(end)");
            g_test_fail();
        }
        if (!want[i] || !got[i]) {
            break;
        }
    }
    g_assert_cmpint(exit, ==, X86_EXIT_SHUTDOWN);

    machine_lock(&g->lock);
    region_unmap(&console.region);
    region_destroy(&console.region);
    machine_unlock(&g->lock);
    g_string_free(console.text, TRUE);
    x86_model_free(model);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (argc != 3) {
        g_printerr("usage: %s IMAGE EXPECTED\n", argv[0]);
        return 2;
    }
    image_path    = argv[1];
    expected_path = argv[2];
    g_test_add_func("/x86-modes/all", test_modes);
    return g_test_run();
}
