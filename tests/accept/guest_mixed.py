#!/usr/bin/env python3
"""A mixed load for half an hour (--minutes) on two vCPUs: compiles, sqlite, fork and exec storms, TCP over the guest's
loopback and compressors at once. Every job's result is compared with the host's, the kernel's log stays clean, and the
emulator's memory does not grow: the guest touches all its memory first, so what its process gains later is the emulator's.

The accepted way is a build with AddressSanitizer and UndefinedBehaviorSanitizer, whose findings fail the test:
    tests/accept/guest_mixed.py --program build-asan/qemu-system-x86_64
The limit counts from exec; a sanitized build needs minutes to boot and to finish jobs. Memory is not judged with --quick:
caches are still filling then (Debian's QEMU gains 1 GiB so)."""

import re
import sys

import generate
import guestlib
import guestroot
from guest_forkstorm import build
from guest_native_compare import SQL
from guestjobs import digest, native_results
from guestlib import Failed, Guest

JOBS = ("compile", "sqlite", "storm", "tcp", "pack")


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as f:
        found = re.search(r"^VmRSS:\s+(\d+) kB", f.read(), re.M)
    return int(found.group(1)) / 1024 if found else 0.0


def median(values):
    return sorted(values)[len(values) // 2] if values else 0.0


def run(test, seconds, lines, growth_limit):
    selection = guestroot.Selection().add_programs("bash", "sqlite3", "true", "gzip", "xz", "rm").add_compiler()
    files = {"program.c": generate.c_source(lines, 7), "script.sql": SQL.encode(), "rows": generate.table(1500, 8), "text": generate.text(200000, 9)}
    expected = native_results(selection, files, {"compile": "gcc -w -O2 -c program.c -o compile.out",
                                                 "sqlite": "rm -f /tmp/t.db; sqlite3 -batch /tmp/t.db <script.sql >sqlite.out",
                                                 "pack": "gzip -6nc text >pack.out"})
    expected["text"] = files["text"]
    files["expected"] = "".join(f"{name} {digest(data)}\n" for name, data in expected.items()).encode()
    files.update({"storm": build("storm.c"), "tcp": build("tcp.c"), "env": f"seconds={seconds}\n".encode()})

    samples = []  # since the memory was touched: (seconds, MiB)
    console = []

    def sample(now, pid):
        if any(line.startswith("filled: ") for line in console):
            samples.append((now, resident_mib(pid)))

    guest = Guest(test, selection, "mixed.sh", files, smp=2, on_sample=sample, sample_every=2.0, on_line=console.append)
    counts = {name: int(r.get("count", 0)) for name, r in guest.records("total").items()}
    # The first third warms caches up. Then the medians of the first and the last part are compared.
    steady = [mib for now, mib in samples if now - samples[0][0] > (samples[-1][0] - samples[0][0]) / 3]
    part = max(len(steady) // 5, 1)
    growth = median(steady[-part:]) - median(steady[:part])
    figures = {"jobs": counts, "rss-mib": {"filled": round(samples[0][1], 1) if samples else None, "steady": round(median(steady[:part]), 1),
                                           "end": round(median(steady[-part:]), 1), "peak": round(max((m for _, m in samples), default=0.0), 1)},
               "growth-mib": round(growth, 1), "samples": len(samples), "boot-to-end": round(guest.seconds, 1)}
    problems = guest.values("problem")
    problems += [f"{name} never ended" for name in JOBS if not counts.get(name)]
    if growth > growth_limit:
        problems.append(f"the emulator's memory grew by {growth:.1f} MiB")
    if len(samples) < 10:
        problems.append(f"only {len(samples)} samples of its memory")
    if problems:
        raise Failed(f"{len(problems)} problems: " + "; ".join(problems[:20]), **figures)
    guest.check_kernel()
    return figures


def main():
    test = guestlib.Test("guest_mixed", __doc__, limit=5400)
    test.parser.add_argument("--minutes", type=float, default=30.0)
    test.parser.add_argument("--growth", type=float, default=32.0, help="MiB that the emulator may grow after warming up (%(default)g)")
    args = test.parse()
    if args.quick:
        test.step("quick", run, test, 40, 150, float("inf"))
    else:
        test.step("mixed", run, test, int(args.minutes * 60), 400, args.growth)
    return test.finish()


if __name__ == "__main__":
    sys.exit(main())
