#!/usr/bin/env python3
"""Writes the data of the benchmark's whole programs into a folder: the same bytes on every machine.

Usage: data.py FOLDER"""

import os
import subprocess
import sys

TEXT_BYTES = 4 << 20
FUNCTIONS = 220


class Random:
    """Xorshift64, so that the bytes do not depend on Python's version."""

    def __init__(self):
        self.state = 88172645463325252

    def below(self, n):
        x = self.state
        x ^= x << 13 & 0xFFFFFFFFFFFFFFFF
        x ^= x >> 7
        x ^= x << 17 & 0xFFFFFFFFFFFFFFFF
        self.state = x
        return (x >> 11) % n


def text():
    """Lines of made-up words, frequent ones first as in a language, with numbers and dates between."""
    random = Random()
    syllables = "ka lo mi ter an so ver du ni est rap or quin el pas tu ri gan sche bo".split()
    words = ["".join(syllables[random.below(20)] for _ in range(1 + random.below(4))) for _ in range(6000)]
    lines, size = [], 0
    while size < TEXT_BYTES:
        line = []
        for _ in range(4 + random.below(10)):
            kind = random.below(24)
            if kind == 0:
                line.append(str(random.below(1000000)))
            elif kind == 1:
                line.append(f"{2000 + random.below(30)}-{1 + random.below(12):02}-{1 + random.below(28):02}")
            else:
                line.append(words[random.below(1 + random.below(1 + random.below(len(words))))])
        lines.append(" ".join(line))
        size += len(lines[-1]) + 1
    return "\n".join(lines)[: TEXT_BYTES - 1] + "\n"


STRUCTS = """typedef unsigned long u64;
typedef unsigned int u32;
typedef unsigned char u8;
typedef struct Item { struct Item *next; u64 key; u32 flags, count; double weight; char name[24]; } Item;
typedef struct Table { Item *slots[256]; u64 used, limit; const char *title; } Table;
extern void *allocate(u64 size);
extern int report(const char *format, ...);
"""

BODIES = ("""u64 f{n}(Table *t, u64 key)
{{
    u64 hash = key * {a}u ^ key >> {s};
    for (Item *i = t->slots[hash & 255]; i; i = i->next) {{
        if (i->key == key && (i->flags & {m}u) != {b}u)
            return i->count + f{p}(t, i->key ^ {c}u);
        if (i->weight > {s}.5)
            i->weight -= (double)i->count * 0.{b};
    }}
    return hash % {d};
}}
""", """u64 f{n}(Table *t, u64 key)
{{
    u32 state = {a}u, sum = 0;
    for (u32 i = 0; i < {d}; i++) {{
        switch (state % {s}) {{
        case 0: state += key + i; break;
        case 1: state ^= state << {s}; sum += i; break;
        case 2: state = state * {c}u + {b}; break;
        case 3: if (t->used > i) sum += t->slots[i & 255] ? 1 : {m}; break;
        case {s} - 1: return sum + f{p}(t, state);
        default: state -= {b}; sum ^= state >> 3;
        }}
    }}
    return report("{w} %u of %lu\\n", sum, t->limit);
}}
""", """u64 f{n}(Table *t, u64 key)
{{
    double a[{s}], total = {b}.25;
    for (int i = 0; i < {s}; i++)
        a[i] = (double)(key >> i) * {c}.0 / (i + 1);
    for (int i = 1; i < {s}; i++)
        for (int j = 0; j < i; j++)
            total += a[i] * a[j] - (a[i] > a[j] ? {m}.0 : a[j]);
    return total > {d}.0 ? (u64)total : f{p}(t, key + 1);
}}
""", """u64 f{n}(Table *t, u64 key)
{{
    Item *item = allocate(sizeof(Item)), **slot = &t->slots[key % {s}];
    const char *from = "{w} {a}";
    u8 *to = (u8 *)item->name;
    while (*from && to < (u8 *)item->name + sizeof(item->name) - 1)
        *to++ = (u8)(*from++ ^ (key & {m} ? 0 : 32));
    *to = 0;
    item->key = key; item->flags = {b}u; item->count = (u32)(key / {d} + 1); item->weight = item->count * 1.5;
    while (*slot && (*slot)->key < key)
        slot = &(*slot)->next;
    item->next = *slot;
    *slot = item;
    return ++t->used > t->limit ? f{p}(t, t->used) : key;
}}
""")


def source():
    """One C file, already preprocessed, of small functions that call each other."""
    random = Random()
    parts = [STRUCTS, "u64 f0(Table *t, u64 key)\n{\n    return t->used + key;\n}\n"]
    for n in range(1, FUNCTIONS):
        parts.append(BODIES[random.below(len(BODIES))].format(
            n=n, p=random.below(n), a=random.below(1 << 31), b=1 + random.below(99), c=1 + random.below(9999),
            d=100 + random.below(900), m=random.below(64), s=5 + random.below(19), w="item" + str(random.below(500))))
    return "".join(parts)


def main():
    folder = sys.argv[1]
    for name, content in (("text", text()), ("unit.i", source())):
        with open(os.path.join(folder, name), "w", encoding="ascii") as f:
            f.write(content)
    with open(os.path.join(folder, "text"), "rb") as plain, open(os.path.join(folder, "text.lzma"), "wb") as packed:
        subprocess.run(["xz", "--format=lzma", "-6", "-c"], stdin=plain, stdout=packed, check=True)


if __name__ == "__main__":
    sys.exit(main())
