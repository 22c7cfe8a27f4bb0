#!/usr/bin/env python3
"""-seed makes RDRAND and RDSEED repeatable. Usage: test_seed.py PROGRAM KERNEL (guest/random.c)"""

import re
import subprocess
import sys


def numbers(program, kernel, *options):
    run = subprocess.run([program, "-accel", "tcg", "-nodefaults", "-display", "none", "-no-reboot", "-cpu", "max", "-smp", "2", "-m", "128",
                          "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-debugcon", "stdio", "-kernel", kernel, "-append", "cpus=2",
                          *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    match = re.search(r"^# random (.*)$", run.stdout, re.M)
    return match.group(1).split() if match else None


def main():
    program, kernel = sys.argv[1:3]
    plain = [numbers(program, kernel) for _ in range(2)]
    if not plain[0]:
        print("1..1\nok 1 - no RDRAND on this host # SKIP")
        return 0
    same = [numbers(program, kernel, "-seed", "12345") for _ in range(2)]
    other = numbers(program, kernel, "-seed", "12346")
    checks = {
        "without -seed runs differ": plain[0] != plain[1],
        "the same seed, the same numbers": same[0] == same[1],
        "another seed, other numbers": not set(same[0]) & set(other),
        "vCPUs differ": len(set(same[0])) == len(same[0]) == 5,
    }
    for n, (name, good) in enumerate(checks.items(), 1):
        print(f"{'ok' if good else 'not ok'} {n} - {name}")
    if not all(checks.values()):
        print(f"# {plain} {same} {other}")
    print(f"1..{len(checks)}")
    return 0 if all(checks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
