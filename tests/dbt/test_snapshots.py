#!/usr/bin/env python3
"""The host code that the translator emits, per guest instruction, against what has been reviewed.

    test_snapshots.py EMIT            compares (TAP), and shows what differs as a unified diff
    test_snapshots.py EMIT --update   writes snapshots/ anew: look at `git diff` then

insns-64.txt and insns-32.txt list the instructions, one or several (with ;) a line, as GNU as takes them in Intel syntax,
or as bytes (".byte 0x48, ..."). In front of a bar may stand options for emit.c. Lines with # are sections."""

import difflib
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
LISTS = ("64", "32")


def read_list(bits):
    """Sections and (options, text)."""
    with open(os.path.join(HERE, f"insns-{bits}.txt")) as file:
        for line in file:
            line = line.strip()
            if line.startswith("#"):
                yield line
            elif line:
                options, _, text = line.rpartition("|")
                yield options.strip(), text.strip()


def assemble(bits, items):
    source = [".intel_syntax noprefix", f".code{bits}"]
    source += [f"item{n}: {text}" for n, (_, text) in enumerate(items)] + [f"item{len(items)}:"]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "insns")
        with open(path + ".s", "w") as file:
            file.write("\n".join(source) + "\n")
        subprocess.run(["as", f"--{bits}", "-mindex-reg", "-o", path + ".o", path + ".s"], check=True)
        subprocess.run(["objcopy", "-O", "binary", "-j", ".text", path + ".o", path + ".bin"], check=True)
        symbols = subprocess.run(["nm", path + ".o"], check=True, capture_output=True, text=True).stdout
        at = {name: int(value, 16) for value, _, name in (line.split() for line in symbols.splitlines())}
        with open(path + ".bin", "rb") as file:
            code = file.read()
    return [code[at[f"item{n}"]:at[f"item{n + 1}"]] for n in range(len(items))]


def shorten(text):
    """Leaves out what all have: the way to the next instruction, and padding."""
    lines = [line for line in text.splitlines() if not re.match(r"    nop\b", line)]
    if "  end" in lines:
        end = lines.index("  end")
        slow = lines.index("  slow:") if "  slow:" in lines else len(lines)
        rest = lines[slow + 1:]
        if rest and rest[-1].startswith("    call link"):
            rest = rest[:-2]
        label = [line for line in lines[end + 1:end + 2] if re.fullmatch(r"  L\d+:", line)]
        lines = lines[:end] + label + (["  slow:"] + rest if rest else [])
    return lines


def render(emit, bits):
    entries = list(read_list(bits))
    items = [entry for entry in entries if isinstance(entry, tuple)]
    codes = assemble(bits, items)
    request = "".join(f"{bits} {options}|{code.hex(' ')}\n" for (options, _), code in zip(items, codes))
    run = subprocess.run([emit], input=request, capture_output=True, text=True, timeout=120)
    if run.returncode:
        raise SystemExit(f"{emit} ended with {run.returncode}: {run.stderr}")
    answers = re.split(r"^\.\n", run.stdout, flags=re.M)
    out, n = [], 0
    for entry in entries:
        if isinstance(entry, str):
            out += [entry, ""]
            continue
        options, text = entry
        out.append(f"{options + ' | ' if options else ''}{text}    [{codes[n].hex(' ')}]")
        out += shorten(answers[n]) + [""]
        n += 1
    return [line + "\n" for line in out]


def main():
    emit = os.path.abspath(sys.argv[1])
    update = "--update" in sys.argv[2:]
    check = subprocess.run([emit, "--check"], capture_output=True, text=True)
    if check.returncode == 77:
        print(f"1..0 # SKIP {check.stdout.strip()}")
        return 0
    failures = 0
    for number, bits in enumerate(LISTS, 1):
        path = os.path.join(HERE, "snapshots", f"insns-{bits}.txt")
        new = render(emit, bits)
        if update:
            with open(path, "w") as file:
                file.writelines(new)
            continue
        with open(path) as file:
            old = file.readlines()
        if new == old:
            print(f"ok {number} - insns-{bits}")
            continue
        failures += 1
        print(f"not ok {number} - insns-{bits}")
        for line in difflib.unified_diff(old, new, f"reviewed/insns-{bits}.txt", f"emitted/insns-{bits}.txt", n=4):
            print("# " + line.rstrip("\n"))
        print("# after review: tests/dbt/test_snapshots.py BUILD/tests/dbt/dbt-emit --update")
    if not update:
        print(f"1..{len(LISTS)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
