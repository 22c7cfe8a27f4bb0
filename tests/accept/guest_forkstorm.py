#!/usr/bin/env python3
"""A storm of fork and exec of dynamically linked programs under address space randomization: 2,000 of each program, all with
the right exit status, each at addresses of its own. Prints execs per second.

What it is for besides: a translator must not translate shared library code anew for each process. When the emulator knows
"-d jit" (lines "jit NAME VALUE" in the log at exit), the storm runs in two lengths, and the difference is what one exec costs
in each counter; --counter NAME=MAX fails if a counter grows by more than MAX an exec.

Debian's QEMU passes, with 15 to 40 execs per second; it has no counters."""

import os
import re
import subprocess
import sys
import tempfile

import guestlib
import guestroot
from guestlib import Failed, Guest

PROGRAMS = ("self", "/usr/bin/true", "/usr/bin/bash")
HERE = os.path.dirname(os.path.abspath(__file__))


def build(source, options=""):
    """A helper of tests/accept/guest, compiled by the packages' gcc, dynamically linked against their C library."""
    with open(os.path.join(HERE, "guest", source), "rb") as f:
        files = {source: f.read()}
    with guestroot.Native(guestroot.Selection().add("usr/bin/bash").add_compiler(), files) as native:
        if native.run(f"gcc -std=gnu17 -Wall -Wextra -Werror -O2 {source} -o program {options}"):
            raise Failed(f"{source} does not build: {native.errors}")
        return native.read("program")


def has_counters(program):
    run = subprocess.run([program, "-d", "help"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    return re.search(r"^\s*jit\b", run.stdout + run.stderr, re.M) is not None


def read_counters(path):
    """{NAME: VALUE} of the lines "jit NAME VALUE"; the last of a name counts."""
    with open(path, errors="replace") as f:
        return {m.group(1): float(m.group(2)) for m in re.finditer(r"^jit (\S+) ([\d.]+)\s*$", f.read(), re.M)}


def storm(test, count, processes, smp):
    """One boot: {program: figures}, counters."""
    files = {"storm": build("storm.c"), "programs": "".join(p + "\n" for p in PROGRAMS).encode(),
             "env": f"count={count}\nprocesses={processes}\n".encode()}
    selection = guestroot.Selection().add("usr/bin/bash", "usr/bin/true")
    with tempfile.TemporaryDirectory(prefix="quern-jit.") as work:
        log = os.path.join(work, "jit")
        counting = has_counters(test.program)
        guest = Guest(test, selection, "forkstorm.sh", files, smp=smp, options=["-d", "jit", "-D", log] if counting else ())
        counters = read_counters(log) if counting else {}
    results, problems = guest.records("storm"), []
    if guest.value("aslr") != "2":
        problems.append(f"randomize_va_space is {guest.value('aslr')}")
    for program in PROGRAMS:
        r = results.get(program)
        if not r or r.get("status") != "0" or r.get("failed") != "0" or r.get("execs") != str(count):
            problems.append(f"{program}: {r}; {guest.values('storm-error')[:5]}")
    # Of 28 random bits, two among thousands may be the same.
    if "self" in results and int(results["self"].get("bases", count)) < count * 0.99:
        problems.append(f"{results['self']['bases']} different addresses in {count} processes")
    if problems:
        raise Failed("; ".join(problems))
    guest.check_kernel()
    return {p: round(count / float(r["seconds"]), 1) for p, r in results.items()}, counters


def run(test, count, processes, smp, limits):
    rates, more = storm(test, count, processes, smp)
    figures = {"execs-per-second": rates, "execs": count * len(PROGRAMS)}
    if more:
        few = storm(test, count // 4, processes, smp)[1]
        execs = (count - count // 4) * len(PROGRAMS)
        figures["counters"] = more
        figures["counters-per-exec"] = {name: round((value - few.get(name, 0.0)) / execs, 3) for name, value in more.items()}
        over = [f"{name} grows by {figures['counters-per-exec'][name]} an exec, the limit is {limit}"
                for name, limit in limits.items() if figures["counters-per-exec"].get(name, float("inf")) > limit]
        if over:
            raise Failed("; ".join(over), **figures)
    elif limits:
        raise Failed("this emulator has no counters (-d jit)", **figures)
    return figures


def main():
    test = guestlib.Test("guest_forkstorm", __doc__, limit=3600)
    test.parser.add_argument("--count", type=int, default=2000, help="execs of each program (default: %(default)d)")
    test.parser.add_argument("--counter", action="append", default=[], metavar="NAME=MAX", help="the most a counter may grow by an exec")
    args = test.parse()
    limits = {name: float(limit) for name, limit in (text.split("=") for text in args.counter)}
    count = 100 if args.quick else args.count
    test.step("one-cpu", run, test, count, 1, 1, limits)
    if not args.quick:
        test.step("two-cpus", run, test, count, 3, 2, limits)
    return test.finish()


if __name__ == "__main__":
    sys.exit(main())
