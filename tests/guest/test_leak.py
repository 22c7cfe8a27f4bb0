#!/usr/bin/env python3
"""No address of the host shows in the guest's memory or registers. Runs leak.c's program, which stores FP state in every
way and then holds; looks through all of its memory for values that lie in one of the emulator's mappings.

Usage: test_leak.py PROGRAM KERNEL [OPTION...]"""

import re
import select
import subprocess
import sys
import time

SIGNATURE = b"Quern's here it is"
MIB = 48


def mappings(pid):
    with open(f"/proc/{pid}/maps") as lines:
        for line in lines:
            m = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ *(.*)", line)
            yield int(m[1], 16), int(m[2], 16), m[3], m[4]


def guest_memory(pid, address):
    """The guest's RAM: the mapping that has the signature at the guest-physical address."""
    with open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for start, end, rights, _ in mappings(pid):
            # The largest ones are a sanitizer's shadow.
            if rights.startswith("rw") and MIB << 20 <= end - start < 1 << 36:
                for base in range(start, end - (MIB << 20) + 1, 2 << 20):
                    memory.seek(base + address)
                    if memory.read(len(SIGNATURE)) == SIGNATURE:
                        memory.seek(base)
                        return memory.read(MIB << 20)
    return None


def leaks(pid, ram):
    """Offsets and values of 64-bit words, at any offset, that lie in a mapping of the process. Those of user space have a
    first byte of 55h, 56h or 7Fh and zeros above it on this architecture."""
    areas = [(start, end, name) for start, end, _, name in mappings(pid) if start >= 1 << 40 and end - start < 1 << 36]
    found = []
    for m in re.finditer(rb"(?=(.....[\x55\x56\x7e\x7f]\x00\x00))", ram, re.S):
        value = int.from_bytes(m[1], "little")
        found += [(m.start(), value, name) for start, end, name in areas if start <= value < end]
    return found


def run(command):
    guest = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        text, end, hold = b"", time.monotonic() + 150, None
        while not hold:
            left = end - time.monotonic()
            if left <= 0 or not select.select([guest.stdout], [], [], left)[0]:
                return text, None, "the guest did not get to its end"
            data = guest.stdout.read1(65536)
            if not data:
                return text, None, f"the program ended with {guest.wait()}"
            text += data
            hold = re.search(rb"^# hold ([0-9a-f]+)\n", text, re.M)
        ram = guest_memory(guest.pid, int(hold[1], 16))
        if ram is None:
            return text, None, "the guest's memory was not found in the process"
        return text, leaks(guest.pid, ram), None
    finally:
        guest.kill()
        guest.wait()


def main():
    program, kernel, *options = sys.argv[1:]
    text, found, problem = run([program, "-nodefaults", "-display", "none", "-cpu", "max", "-m", str(MIB), "-debugcon", "stdio",
                                "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel", kernel, "-append", "hold=1", *options])
    for line in text.decode(errors="replace").splitlines():
        print("# " + line)
    bad = problem is not None or bool(found) or b"not ok" in text
    print(f"{'not ' if bad else ''}ok 1 - no host address in {MIB} MiB of guest memory")
    if problem:
        print("# " + problem)
    for offset, value, name in (found or [])[:20]:
        print(f"# at {offset:#x}: {value:#x}, in {name or 'an anonymous mapping'}")
    print("1..1")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
