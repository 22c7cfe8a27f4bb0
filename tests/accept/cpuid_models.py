#!/usr/bin/env python3
"""What CPUID says under each CPU model, in Quern and in Debian's QEMU (--peer), and where they differ.

Usage: cpuid_models.py PROGRAM CPUID_ELF [--peer PROGRAM] [--models NAME,NAME] [--topology]

Every model that both know runs tests/guest/cpuid.S. Bits that the peer or Quern does not offer, and leaves in which
they differ by design, are masked (see ALLOWED); what is left is a difference. Ends with a line of JSON."""

import argparse
import json
import re
import subprocess
import sys

ALL = 0xffffffff
# Leaf: bits of EAX, EBX, ECX, EDX that may differ. Features differ in what each can offer; they are compared with the
# model's list by unit tests.
ALLOWED = {
    0x00000001: (0, 0xffffff00, ALL, ALL),                    # features, CLFLUSH size, threads (1 where QEMU says 0)
    0x00000002: (ALL, ALL, ALL, ALL),                         # descriptors: Quern's point at leaf 4
    0x00000005: (ALL, ALL, ALL, ALL),                         # MONITOR
    0x00000006: (ALL, ALL, ALL, ALL),
    0x00000007: (ALL, ALL, ALL, ALL),
    0x0000000d: (ALL, ALL, ALL, ALL),
    0x00000012: (ALL, ALL, ALL, ALL),
    0x00000014: (ALL, ALL, ALL, ALL),
    0x00000015: (ALL, ALL, ALL, ALL),
    0x00000016: (ALL, ALL, ALL, ALL),
    0x80000001: (ALL, 0, ALL, ALL),                           # EAX: reserved on Intel's processors
    0x80000008: (0xff00, ALL, ALL, 0),                        # LA57
    0x8000000a: (ALL, ALL, ALL, ALL),                         # SVM
    0x8000001d: (1 << 8, 0, 0, 0),                            # QEMU 7.2 leaves "self-initializing" out for L2
    0x80000021: (ALL, ALL, ALL, ALL),
}
INTEL_ONLY_AMD = (0x80000005, 0x80000006)  # QEMU shows AMD's leaves on Intel's models as well


def models_of(program):
    text = subprocess.run([program, "-cpu", "help"], capture_output=True, text=True, check=True).stdout
    return re.findall(r"^\s*(?:x86 )?(\S+-v\d+)\s", text, re.M)


def dump(program, elf, model, options):
    command = [program, "-accel", "tcg", "-M", "pc", "-nodefaults", "-display", "none", "-cpu", f"{model},check=off", "-m", "32",
               "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-debugcon", "stdio", "-kernel", elf, *options]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    if result.returncode != 1:
        raise RuntimeError(f"{program} -cpu {model}: status {result.returncode}: {result.stderr.strip()}")
    leaves = {}
    for line in result.stdout.splitlines():
        leaf, subleaf, *registers = (int(word, 16) for word in line.split())
        leaves[leaf, subleaf] = registers
    return leaves


def compare(model, ours, theirs, topology):
    differences = []
    intel = ours[0, 0][1] == 0x756e6547
    for key in sorted(set(ours) | set(theirs)):
        leaf = key[0]
        # Leaf 4 is Intel's: QEMU 7.2 fills it for Hygon.
        if 0x40000000 <= leaf < 0x80000000 or leaf in (INTEL_ONLY_AMD if intel else (4,)):
            continue
        # Beyond the highest leaf of one of them: levels follow the features that are offered.
        if key not in ours or key not in theirs:
            continue
        if leaf in (0, 0x80000000):
            theirs[key][0] = ours[key][0]
        allowed = list(ALLOWED.get(leaf, (0,) * 4))
        if topology and leaf in (4, 0x8000001d):
            allowed[0] |= 0xffffc000  # counts of IDs, which QEMU 7.2 does not round up to a power of 2
        for name, mine, other, mask in zip(("eax", "ebx", "ecx", "edx"), ours[key], theirs[key], allowed):
            if (mine ^ other) & ~mask:
                differences.append(f"{model}: {leaf:08x}.{key[1]} {name}: {mine:08x}, peer {other:08x}")
    return differences


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("elf")
    parser.add_argument("--peer")
    parser.add_argument("--models")
    parser.add_argument("--topology", action="store_true")
    args = parser.parse_args()
    names = args.models.split(",") if args.models else models_of(args.program)
    if args.peer:
        known = set(models_of(args.peer))
        names = [name for name in names if name in known]
    options = ["-smp", "12,sockets=2,cores=3,threads=2"] if args.topology else []
    differences = []
    for name in names:
        ours = dump(args.program, args.elf, name, options)
        if args.peer:
            differences += compare(name, ours, dump(args.peer, args.elf, name, options), args.topology)
    for line in differences:
        print(line)
    print(json.dumps({"models": len(names), "differences": len(differences)}))
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
