#!/usr/bin/env python3
"""Debian's gcc compiles a generated C file of 10,000 lines with -O2 inside a guest; the object file equals, byte for byte,
that of the same compiler on the host. Both run the same files under the same paths. With --quick 700 lines.

Debian's QEMU passes: about 20 times native time."""

import sys

import generate
import guestjobs
import guestlib
import guestroot


def run(test, lines, seed):
    selection = guestroot.Selection().add("usr/bin/bash").add_compiler()
    files = {"program.c": generate.c_source(lines, seed)}
    assert files["program.c"].count(b"\n") == lines
    return guestjobs.compare(test, selection, files, {"object": "gcc -O2 -w -c program.c -o object.out"})


def main():
    test = guestlib.Test("guest_compile", __doc__, limit=1800)
    test.parser.add_argument("--lines", type=int, default=10000)
    test.parser.add_argument("--seed", type=int, default=1)
    args = test.parse()
    test.step("compile", run, test, 700 if args.quick else args.lines, args.seed)
    return test.finish()


if __name__ == "__main__":
    sys.exit(main())
