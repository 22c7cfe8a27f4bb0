#!/usr/bin/env python3
"""Up to 255 vCPUs start, with APIC IDs by topology. Usage: test_manycpus.py PROGRAM KERNEL"""

import subprocess
import sys

# -smp, vCPUs, highest APIC ID
CASES = [
    ("4", 4, 3),
    ("255", 255, 254),
    ("48,sockets=2,dies=2,modules=2,cores=3,threads=2", 48, 0x3d),
    ("240,sockets=2,dies=2,modules=2,cores=15,threads=2", 240, 0xfd),
    ("9,sockets=3,cores=3", 9, 0x0a),
]


def main():
    program, kernel = sys.argv[1:3]
    failed = False
    for number, (smp, cpus, highest) in enumerate(CASES, 1):
        command = [program, "-accel", "tcg", "-nodefaults", "-display", "none", "-cpu", "max", "-m", "128", "-smp", smp, "-device",
                   "isa-debug-exit,iobase=0xf4,iosize=4", "-debugcon", "stdio", "-kernel", kernel, "-append", f"cpus={cpus}"]
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        wanted = f"cpus {cpus:08x} highest {highest:08x}\n"
        ok = result.stdout == wanted and result.returncode == 1
        failed |= not ok
        print(f"{'ok' if ok else 'not ok'} {number} - -smp {smp}")
        if not ok:
            print(f"# wanted {wanted!r}, got {result.stdout!r}, status {result.returncode}: {result.stderr!r}")
    print(f"1..{len(CASES)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
