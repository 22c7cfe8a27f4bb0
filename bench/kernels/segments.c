/* Code of the compiler for bench/kernels/segments.S, made for 32-bit and for 16-bit code: a table of CRCs, a sort and a
 * recursion, with all data in `area` and on the stack. Nothing may need an address of its own. */

unsigned WORK(unsigned *area, unsigned rounds);

static __attribute__((noinline)) PLACE unsigned depth(unsigned *area, unsigned n)
{
    unsigned local[4] = { n, area[n & 255], 1, 2 };
    if (n == 0) {
        return 1;
    }
    local[n & 3] += depth(area, n - 1);
    return local[0] + local[1] + local[2] + local[3];
}

static __attribute__((noinline)) PLACE void make_table(unsigned *table)
{
    for (unsigned i = 0; i < 256; i++) {
        unsigned c = i;
        for (unsigned k = 0; k < 8; k++) {
            c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
        }
        table[i] = c;
    }
}

static __attribute__((noinline)) PLACE void sort(unsigned *a, unsigned n)
{
    for (unsigned gap = n / 2; gap; gap /= 2) {
        for (unsigned i = gap; i < n; i++) {
            unsigned v = a[i], k = i;
            for (; k >= gap && a[k - gap] > v; k -= gap) {
                a[k] = a[k - gap];
            }
            a[k] = v;
        }
    }
}

PLACE unsigned WORK(unsigned *area, unsigned rounds)
{
    enum { N = 2000 };
    unsigned *a = area + 256, crc = 0, x = 1;

    make_table(area);
    for (unsigned r = 0; r < rounds; r++) {
        for (unsigned i = 0; i < N; i++) {
            x    = x * 1664525u + 1013904223u;
            a[i] = (N - i) << 16 | x >> 16; /* branches that are easy to predict */
        }
        sort(a, N);
        for (unsigned i = 0; i < 4 * N; i++) {
            crc = area[(crc ^ a[i / 4] >> 8 * (i & 3)) & 255] ^ crc >> 8;
        }
        for (unsigned i = 0; i < 20; i++) {
            crc += depth(area, 60);
        }
    }
    return crc;
}
