#!/usr/bin/env python3
"""Looks at the objects of the hot set (src/cpu/x86/park.h): none may use a vector or x87 register, and each calls only
others of them and what tools/hot-symbols.txt allows, with a reason. A function that calls a "parked" symbol must park.

    check-hot.py [--stamp FILE] [--symbols FILE] ARCHIVE...

The archives are thin ones, as meson makes them.
"""

import argparse
import os
import re
import subprocess
import sys

REGISTERS = re.compile(r"%([xyzt]mm\d+|mm[0-7]|st\b|k[0-7]\b)")
# All x87 instructions begin with f, and no others.
MNEMONICS = re.compile(r"^(f[a-z0-9]+|emms|v?(ld|st)mxcsr|vzero(upper|all)|xsave\w*|xrstor\w*)$")
KINDS = {"data", "abort", "parked", "outside", "insn"}
PARK = {"x86_park_slow", "x86_park"}


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def read_symbols(path):
    """name -> kind; and the instructions that some object may have: (object, mnemonic)."""
    symbols, instructions = {}, set()
    with open(path) as f:
        for number, line in enumerate(f, 1):
            line = line.split("#")[0].split(None, 2)
            if not line:
                continue
            if len(line) < 3 or line[0] not in KINDS:
                sys.exit(f"{path}:{number}: wants: {'|'.join(sorted(KINDS))} SYMBOL REASON")
            if line[0] == "insn":
                instructions.add(tuple(line[1].split(":")))
            else:
                symbols[line[1]] = line[0]
    return symbols, instructions



def check(path, symbols, instructions, defined, used):
    wrong, called, function = [], {}, "?"
    name = os.path.basename(path)
    for line in run("objdump", "-drw", "--no-show-raw-insn", path).splitlines():
        header = re.match(r"^[0-9a-f]+ <(.+)>:$", line)
        if header:
            function = header[1]
            continue
        reloc = re.search(r"R_X86_64_\w+\s+([\w.]+)", line)
        if reloc:
            # The parts that gcc splits off belong to their function.
            called.setdefault(function.split(".")[0], set()).add(reloc[1])
        local = re.search(r"\s(?:call|jmp)\s+[0-9a-f]+ <(\w+)>", line)
        if local:
            called.setdefault(function.split(".")[0], set()).add(local[1])
        insn = re.match(r"^\s+[0-9a-f]+:\s+(?:(?:lock|rep\w*|bnd|notrack|data16)\s+)*(\S+)(.*)$", line)
        if not insn or insn[1].startswith("R_X86"):
            continue
        if REGISTERS.search(insn[2].split("#")[0]) or MNEMONICS.match(insn[1]):
            if not any(o in name and insn[1] == m for o, m in instructions):
                wrong.append(f"{name}: {function}: {insn[1]}{insn[2]}: vector or x87 registers are the guest's here")
    for line in run("nm", "-u", path).splitlines():
        symbol = line.split()[-1]
        used.add(symbol)
        if symbol not in defined and symbol not in symbols:
            wrong.append(f"{name}: calls {symbol}, which is neither hot nor in hot-symbols.txt")
    for function, names in called.items():
        parked = sorted(n for n in names if symbols.get(n) == "parked" and n not in defined)
        if parked and not PARK & names:
            wrong.append(f"{name}: {function}: calls {parked[0]} without x86_park()")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stamp", help="file to write when all is well")
    parser.add_argument("--symbols", default=os.path.join(os.path.dirname(__file__), "hot-symbols.txt"))
    parser.add_argument("archives", nargs="+", metavar="ARCHIVE")
    args = parser.parse_args()

    symbols, instructions = read_symbols(args.symbols)
    defined, used, wrong, objects = set(), set(), [], []
    for archive in args.archives:
        for member in run("ar", "t", archive).split():
            objects.append(member if os.path.exists(member) else os.path.join(os.path.dirname(archive), member))
    for path in objects:
        defined.update(line.split()[-1] for line in run("nm", "--defined-only", path).splitlines())
    for path in objects:
        wrong += check(path, symbols, instructions, defined, used)
    for symbol in sorted({s for s, kind in symbols.items() if kind != "data"} - used):
        wrong.append(f"hot-symbols.txt: nothing uses {symbol} any more")
    for line in wrong:
        print(line, file=sys.stderr)
    if not wrong and args.stamp:
        with open(args.stamp, "w"):
            pass
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
