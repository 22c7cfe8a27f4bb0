/* The main program of a fuzz target without libFuzzer: runs the inputs in files and folders, then mutations of them.
 *
 *     fuzz_X [--mutations N] [--seed S] [--max-size BYTES] FILE-OR-FOLDER...
 *
 * Mutations depend on the seed and the inputs alone, so that a failure comes again. Before each input runs it is
 * kept in memory; when the program dies by a signal, the handler writes it to "crash-input" in the current folder. */

#include "fuzz.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Input {
    uint8_t *data;
    size_t   size;
} Input;

/* For the signal handler: what runs now. */
static const uint8_t *running_data;
static size_t         running_size;

static void died(int number)
{
    static const char text[] = "the input is in the file crash-input\n";
    int               fd     = open("crash-input", O_CREAT | O_TRUNC | O_WRONLY, 0666);
    if (fd >= 0 && write(fd, running_data, running_size) == (ssize_t)running_size) {
        (void)!write(2, text, sizeof text - 1);
    }
    signal(number, SIG_DFL);
    raise(number);
}

static void run(const uint8_t *data, size_t size)
{
    /* A copy of exactly that size: reads beyond it are seen by sanitizers. */
    uint8_t *copy = g_memdup2(data, size);
    running_data  = data;
    running_size  = size;
    LLVMFuzzerTestOneInput(copy ? copy : (const uint8_t *)"", size);
    g_free(copy);
}

static int compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void load(GArray *inputs, const char *path)
{
    g_autoptr(GError) error = NULL;
    if (g_file_test(path, G_FILE_TEST_IS_DIR)) {
        /* In the order of the names, which is the same everywhere. */
        g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
        g_autoptr(GDir) dir        = g_dir_open(path, 0, &error);
        for (const char *name; dir && (name = g_dir_read_name(dir));) {
            g_ptr_array_add(names, g_build_filename(path, name, NULL));
        }
        g_ptr_array_sort(names, compare_names);
        for (unsigned i = 0; i < names->len; i++) {
            load(inputs, g_ptr_array_index(names, i));
        }
        return;
    }
    Input input;
    gsize size;
    if (!g_file_get_contents(path, (char **)&input.data, &size, &error)) {
        fprintf(stderr, "%s\n", error->message);
        exit(1);
    }
    input.size = size;
    g_array_append_val(inputs, input);
}

/* Small numbers and borders of number ranges, in both byte orders, are where parsers break. */
static void put_interesting(GRand *rand, uint8_t *at, size_t room)
{
    static const uint64_t values[] = { 0,      1,          0x7f,       0x80,       0xff,      0x7fff,    0x8000,
                                       0xffff, 0x7fffffff, 0x80000000, 0xffffffff, INT64_MAX, UINT64_MAX };
    uint64_t              value    = values[g_rand_int_range(rand, 0, G_N_ELEMENTS(values))];
    size_t                size     = (size_t)1 << g_rand_int_range(rand, 0, 4);
    value                          = g_rand_boolean(rand) ? GUINT64_SWAP_LE_BE(value) >> (64 - 8 * size) : value;
    memcpy(at, &value, MIN(size, room));
}

/* Changes one thing. `other` is what pieces are taken from. */
static void mutate(GRand *rand, GByteArray *b, const Input *other, size_t max_size)
{
    size_t at = b->len ? (size_t)g_rand_int_range(rand, 0, (int)b->len) : 0;
    switch (g_rand_int_range(rand, 0, 8)) {
    case 0: /* flip a bit */
        if (b->len) {
            b->data[at] ^= 1 << g_rand_int_range(rand, 0, 8);
        }
        break;
    case 1: /* any byte */
        if (b->len) {
            b->data[at] = (uint8_t)g_rand_int(rand);
        }
        break;
    case 2: /* a byte the input has elsewhere: keeps to the language */
        if (b->len) {
            b->data[at] = b->data[g_rand_int_range(rand, 0, (int)b->len)];
        }
        break;
    case 3:
        if (b->len) {
            put_interesting(rand, b->data + at, b->len - at);
        }
        break;
    case 4: /* take a stretch away */
        if (b->len) {
            g_byte_array_remove_range(b, (guint)at, (guint)g_rand_int_range(rand, 1, (int)(b->len - at) + 1));
        }
        break;
    case 5: /* cut off */ g_byte_array_set_size(b, (guint)at); break;
    default: /* insert or append a stretch of another input */
        if (other->size) {
            size_t from = (size_t)g_rand_int_range(rand, 0, (int)other->size);
            size_t n    = (size_t)g_rand_int_range(rand, 1, (int)MIN(other->size - from, 64) + 1);
            size_t tail = b->len - at;
            g_byte_array_set_size(b, (guint)(b->len + n));
            memmove(b->data + at + n, b->data + at, tail);
            memcpy(b->data + at, other->data + from, n);
        }
        break;
    }
    if (b->len > max_size) {
        g_byte_array_set_size(b, (guint)max_size);
    }
}

static void run_mutations(GArray *inputs, long count, unsigned seed, size_t max_size)
{
    GRand *rand = g_rand_new_with_seed(seed);
    for (long i = 0; i < count; i++) {
        const Input *input      = &g_array_index(inputs, Input, g_rand_int_range(rand, 0, (int)inputs->len));
        g_autoptr(GByteArray) b = g_byte_array_new();
        g_byte_array_append(b, input->data, (guint)MIN(input->size, max_size));
        for (int changes = g_rand_int_range(rand, 1, 6); changes; changes--) {
            mutate(rand, b, &g_array_index(inputs, Input, g_rand_int_range(rand, 0, (int)inputs->len)), max_size);
        }
        run(b->data, b->len);
    }
    g_rand_free(rand);
}

int main(int argc, char **argv)
{
    long     mutations = 0;
    unsigned seed      = 1;
    size_t   max_size  = 1 << 16;
    GArray  *inputs    = g_array_new(FALSE, FALSE, sizeof(Input));

    for (int i = 1; i < argc; i++) {
        if (i + 1 < argc && strcmp(argv[i], "--mutations") == 0) {
            mutations = strtol(argv[++i], NULL, 0);
        } else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0) {
            seed = (unsigned)strtoul(argv[++i], NULL, 0);
        } else if (i + 1 < argc && strcmp(argv[i], "--max-size") == 0) {
            max_size = strtoul(argv[++i], NULL, 0);
        } else {
            load(inputs, argv[i]);
        }
    }
    if (!inputs->len) {
        fprintf(stderr, "no inputs\n");
        return 1;
    }
    static const int signals[] = { SIGABRT, SIGTRAP, SIGSEGV, SIGBUS, SIGFPE, SIGILL };
    for (unsigned i = 0; i < G_N_ELEMENTS(signals); i++) {
        signal(signals[i], died);
    }
    for (unsigned i = 0; i < inputs->len; i++) {
        run(g_array_index(inputs, Input, i).data, g_array_index(inputs, Input, i).size);
    }
    run_mutations(inputs, mutations, seed, max_size);
    printf("%u inputs, %ld mutations\n", inputs->len, mutations);
    for (unsigned i = 0; i < inputs->len; i++) {
        g_free(g_array_index(inputs, Input, i).data);
    }
    g_array_free(inputs, TRUE);
    return 0;
}
