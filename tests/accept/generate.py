"""Deterministic inputs for the in-guest tests: C programs, text, numbers, bytes. The same arguments give the same bytes
everywhere: the numbers come from a generator of our own, not from Python's."""


class Numbers:
    """xorshift64*: small, and the same in every version of Python."""

    def __init__(self, seed):
        self.state = seed * 2 + 1

    def next(self):
        x = self.state
        x ^= x >> 12
        x = (x ^ (x << 25)) & 0xFFFFFFFFFFFFFFFF
        x ^= x >> 27
        self.state = x
        return (x * 0x2545F4914F6CDD1D & 0xFFFFFFFFFFFFFFFF) >> 16

    def below(self, n):
        return self.next() % n

    def pick(self, choices):
        return choices[self.below(len(choices))]


INTEGERS = ("int8_t", "uint8_t", "int16_t", "uint16_t", "int32_t", "uint32_t", "int64_t", "uint64_t")


def expression(r, names, depth):
    """An integer expression without undefined behaviour: unsigned, shifts below the width, divisors never 0."""
    if depth == 0 or r.below(5) == 0:
        return r.pick(names) if r.below(3) else f"0x{r.next() >> r.below(40):x}ull"
    a, b = expression(r, names, depth - 1), expression(r, names, depth - 1)
    return r.pick([f"({a} + {b})", f"({a} - {b})", f"({a} * {b})", f"({a} ^ {b})", f"({a} & {b})", f"({a} | {b})", f"({a} / ({b} | 1))",
                   f"({a} % ({b} | 3))", f"({a} << {r.below(64)})", f"({a} >> {r.below(64)})", f"({a} < {b} ? {a} : {b})", f"(~{a})",
                   f"(uint64_t)__builtin_popcountll({a})", f"(uint64_t)({r.pick(INTEGERS)})({a})"])


def function(r, number):
    """One function: locals, a loop over an array, a switch, floating point, calls of earlier functions."""
    lines = [f"uint64_t f{number}(uint64_t a, uint64_t b, uint64_t *v, double *d, size_t n)", "{",
             f"    uint64_t c = {r.next()}u, e = b ^ {r.next()}u, s = 0;"]
    names = ["(uint64_t)a", "b", "c", "e", "s"]
    for _ in range(2 + r.below(5)):
        lines.append(f"    {r.pick(['a', 'b', 'c', 'e'])} {r.pick(['=', '+=', '^=', '-='])} {expression(r, names, 3)};")
    kind = r.below(4)
    if kind == 0:
        lines += ["    for (size_t i = 0; i < n; i++)", f"        v[i] = (v[i] ^ c) * {r.next() | 1}u + (v[i] >> {1 + r.below(60)});"]
    elif kind == 1:
        lines += ["    for (size_t i = 0; i < n; i++) {", f"        d[i] = d[i] * {1 + r.below(1000)}.{r.below(1000):03d} - {r.below(100)}.5;",
                  f"        s += d[i] > {r.below(100000)}.25 ? v[i] : (uint64_t)i;", "    }"]
    elif kind == 2:
        lines += [f"    int32_t w[{8 + r.below(56)}];", "    for (size_t i = 0; i < sizeof w / sizeof *w; i++)",
                  f"        w[i] = (int32_t)((uint32_t)i * {r.below(1 << 31)}u ^ (uint32_t)a);",
                  "    for (size_t i = 0; i < sizeof w / sizeof *w; i++)", "        s += (uint32_t)w[i] > 77u ? (uint64_t)w[i] : 3u;"]
    else:
        lines += [f"    switch ({r.pick(names)} % {7 + r.below(9)}u) {{"]
        for case in range(4 + r.below(4)):
            lines += [f"    case {case}:", f"        s ^= {expression(r, names, 2)};", "        break;" if r.below(4) else "        /* fall through */"]
        lines += ["    default:", f"        s += {expression(r, names, 2)};", "    }"]
    if number and r.below(3):
        lines += [f"    if ({expression(r, names, 1)} & {1 << r.below(20)}u)", f"        s += f{r.below(number)}(c, e, v, d, n / 2);"]
    if r.below(3) == 0:
        lines += [f"    struct record r = {{ (uint32_t)a, \"name{number}\", d[0] + (double)(uint32_t)c, {{ (uint8_t)b, {r.below(256)} }} }};",
                  "    s += record_hash(&r);"]
    return lines + [f"    return {expression(r, names + ['s'], 2)} + s;", "}", ""]


def c_source(lines, seed, main=False):
    """A C file of exactly so many lines. With main, a program that prints what its functions compute."""
    r = Numbers(seed)
    text = ["#include <math.h>", "#include <stdint.h>", "#include <stdio.h>", "#include <stdlib.h>", "#include <string.h>", "",
            "struct record {", "    uint32_t id;", "    char name[16];", "    double weight;", "    uint8_t tail[2];", "};", "",
            "static uint64_t record_hash(const struct record *r)", "{", "    uint64_t h = r->id;", "    for (const char *p = r->name; *p; p++)",
            "        h = h * 31 + (uint8_t)*p;", "    return h ^ (uint64_t)(fabs(r->weight) < 1e18 ? fabs(r->weight) : 7) ^ r->tail[1];", "}", ""]
    number, end = 0, []
    if main:
        end = ["int main(void)", "{", "    uint64_t v[64], h = 0;", "    double d[64];", "    for (int i = 0; i < 64; i++) {",
               "        v[i] = (uint64_t)i * 0x9E3779B97F4A7C15u;", "        d[i] = i * 0.75;", "    }",
               "    for (size_t i = 0; i < sizeof all / sizeof *all; i++)", "        h = h * 31 + all[i](h, i, v, d, 64);",
               '    printf("%016llx %.17g\\n", (unsigned long long)h, d[3]);', "    return 0;", "}"]
    while True:
        more = function(r, number)
        table = ["static uint64_t (*const all[])(uint64_t, uint64_t, uint64_t *, double *, size_t) = {"] + [
            f"    f{i}," for i in range(number + 1)] + ["};", ""] if main else []
        if len(text) + len(more) + len(table) + len(end) > lines:
            break
        text += more
        number += 1
    table = ["static uint64_t (*const all[])(uint64_t, uint64_t, uint64_t *, double *, size_t) = {"] + [
        f"    f{i}," for i in range(number)] + ["};", ""] if main else []
    text += table + end
    text += [f"/* {i} */" for i in range(lines - len(text))]
    return ("\n".join(text) + "\n").encode()


WORDS = ("the of and to in is page table walk segment limit fault trap vector mask shift carry zero sign parity overflow adjust "
         "control flag register memory cache line tag entry miss hit flush store load fence order clock timer tick host guest").split()


def text(size, seed):
    """Lines of words and numbers, in size bytes or a little more."""
    r, out, total = Numbers(seed), [], 0
    while total < size:
        line = " ".join(r.pick(WORDS) if r.below(4) else str(r.below(100000)) for _ in range(3 + r.below(10)))
        out.append(line)
        total += len(line) + 1
    return ("\n".join(out) + "\n").encode()


def table(rows, seed):
    """Rows of "key number real word"."""
    r = Numbers(seed)
    return "".join(f"k{r.below(rows)} {r.below(1 << 31) - (1 << 30)} {r.below(10**9) / 1000 - 500000:.3f} {r.pick(WORDS)}\n"
                   for _ in range(rows)).encode()


def binary(size, seed):
    r, out = Numbers(seed), bytearray()
    while len(out) < size:
        out += r.next().to_bytes(6, "little")
    return bytes(out[:size])
