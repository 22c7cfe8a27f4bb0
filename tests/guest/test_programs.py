#!/usr/bin/env python3
"""Bare-metal programs: a ROM at the reset vector and a multiboot kernel. Usage: test_programs.py PROGRAM ROM MULTIBOOT"""

import os
import subprocess
import sys
import tempfile

EXIT = ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]


def run(program, *options):
    command = [program, "-accel", "tcg", "-nodefaults", "-display", "none", *EXIT, *options]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)


def rom_says_hello(program, rom, tmp):
    serial = os.path.join(tmp, "serial")
    result = run(program, "-bios", rom, "-debugcon", "stdio", "-serial", "file:" + serial)
    assert result.returncode == (0x21 << 1) | 1, (result.returncode, result.stderr)
    assert result.stdout == b"hello from f000:fff0\n", result.stdout
    with open(serial, "rb") as f:
        text = f.read()
    assert text == b"hello from f000:fff0\n", text


def multiboot_starts(program, kernel):
    result = run(program, "-kernel", kernel, "-append", "one two", "-debugcon", "stdio")
    assert result.returncode == 1, (result.returncode, result.stderr)
    assert result.stdout == f"!{kernel} one two\n".encode(), result.stdout


def multiboot_modules(program, kernel, tmp):
    paths = [os.path.join(tmp, name) for name in ("first", "second")]
    for path, text in zip(paths, ("1st", "2nd")):
        with open(path, "w") as f:
            f.write(text)
    result = run(program, "-kernel", kernel, "-initrd", f"{paths[0]} a,,b c,{paths[1]}", "-debugcon", "stdio")
    assert result.returncode == 1, (result.returncode, result.stderr)
    assert result.stdout == f"!{kernel} \n{paths[0]} a,b c\n1\n{paths[1]}\n2\n".encode(), result.stdout


def main():
    program, rom, kernel = (os.path.abspath(p) for p in sys.argv[1:4])
    failures = 0
    with tempfile.TemporaryDirectory() as tmp:
        tests = [("rom says hello", lambda: rom_says_hello(program, rom, tmp)),
                 ("multiboot starts", lambda: multiboot_starts(program, kernel)),
                 ("multiboot modules", lambda: multiboot_modules(program, kernel, tmp))]
        for number, (name, test) in enumerate(tests, 1):
            try:
                test()
                print(f"ok {number} - {name}")
            except (AssertionError, subprocess.TimeoutExpired) as problem:
                failures += 1
                print(f"not ok {number} - {name}\n# {problem}")
        print(f"1..{len(tests)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
