#!/usr/bin/env python3
"""Bare-metal programs: a ROM at the reset vector and a multiboot kernel. Usage: test_programs.py PROGRAM ROM MULTIBOOT"""

import os
import struct
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


# Firmware that starts the kernel, and writes to the debug console too.
FIRMWARE = ["-m", "64", "-bios", "/usr/share/seabios/bios-256k.bin"]


def multiboot_starts(program, kernel, *options):
    result = run(program, *options, "-kernel", kernel, "-append", "one two", "-debugcon", "stdio")
    assert result.returncode == 1, (result.returncode, result.stderr)
    assert result.stdout.endswith(f"!{kernel} one two\n".encode()), result.stdout
    assert options or result.stdout.startswith(b"!"), result.stdout


def multiboot_modules(program, kernel, tmp, *options):
    paths = [os.path.join(tmp, name) for name in ("first", "second")]
    for path, text in zip(paths, ("1st", "2nd")):
        with open(path, "w") as f:
            f.write(text)
    result = run(program, *options, "-kernel", kernel, "-initrd", f"{paths[0]} a,,b c,{paths[1]}", "-debugcon", "stdio")
    assert result.returncode == 1, (result.returncode, result.stderr)
    assert result.stdout[result.stdout.index(b"!" + kernel.encode()):] == f"!{kernel} \n{paths[0]} a,b c\n1\n{paths[1]}\n2\n".encode(), result.stdout


def multiboot_kludge(program, tmp, *firmware):
    """No ELF file: the header says where the file goes, what of it, and how much behind it is cleared."""
    load, header_at, length = 0x200000, 64, 0x100
    cleared = load + length  # where the file goes on with other bytes, which must not be there
    code = (b"\x3d\x02\xb0\xad\x2b"  # cmp eax, 2badb002h
            b"\x75\x0d"              # jne fail
            b"\x83\x3d" + struct.pack("<I", cleared) + b"\x00"  # cmp dword [cleared], 0
            b"\x75\x04"              # jne fail
            b"\x30\xc0\xeb\x02"      # xor al, al; jmp end
            b"\xb0\x01"              # fail: mov al, 1
            b"\xe6\xf4\xf4\xeb\xfd")  # end: out 0f4h, al; hlt
    flags = 1 << 16 | 3
    for load_end, bss_end, status in ((load + length, load + 0x3000, 1), (load + length, 0, 1), (0, 0, 3)):
        header = struct.pack("<8I", 0x1badb002, flags, -(0x1badb002 + flags) & 0xffffffff, load + header_at, load, load_end, bss_end,
                             load + header_at + 32)
        image = (b"\xcc" * header_at + header + code).ljust(length, b"\xcc") + b"\xff" * 256
        path = os.path.join(tmp, "kludge")
        with open(path, "wb") as f:
            f.write(image)
        result = run(program, *firmware, "-kernel", path)
        assert result.returncode == status, (load_end, bss_end, result.returncode, result.stderr)


def main():
    program, rom, kernel = (os.path.abspath(p) for p in sys.argv[1:4])
    failures = 0
    with tempfile.TemporaryDirectory() as tmp:
        tests = [("rom says hello", lambda: rom_says_hello(program, rom, tmp)),
                 ("multiboot starts", lambda: multiboot_starts(program, kernel)),
                 ("multiboot modules", lambda: multiboot_modules(program, kernel, tmp)),
                 ("multiboot without ELF", lambda: multiboot_kludge(program, tmp))]
        if os.path.exists(FIRMWARE[-1]):
            tests += [("multiboot by firmware", lambda: multiboot_starts(program, kernel, *FIRMWARE)),
                      ("multiboot by firmware on q35", lambda: multiboot_starts(program, kernel, "-machine", "q35", *FIRMWARE)),
                      ("multiboot modules by firmware", lambda: multiboot_modules(program, kernel, tmp, *FIRMWARE)),
                      ("multiboot without ELF by firmware", lambda: multiboot_kludge(program, tmp, *FIRMWARE))]
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
