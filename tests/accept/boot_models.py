#!/usr/bin/env python3
"""Boots Debian's kernels on the boards with every CPU model that can run them and checks that they boot clean.

Usage: boot_models.py PROGRAM [--state FILE] [--machines pc,q35,microvm] [--archs amd64,i386] [--models NAME,NAME]
                      [--versions] [--limit SECONDS] [--budget SECONDS]

A run counts once it has passed: the state file keeps the results, and a second start goes on where the first one
stopped. Ends with a line of JSON."""

import argparse
import itertools
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "boot"))
from guest import Boot  # noqa: E402
from results import Results  # noqa: E402
from test_boot import is_expected  # noqa: E402

# Debian's i386 kernel wants a Pentium Pro (CMOV and its like) and 32-bit addresses, its amd64 one long mode.
TOO_OLD = {"amd64": {"486", "pentium", "pentium2", "pentium3", "athlon", "coreduo", "n270", "qemu32", "kvm32", "base", "host"},
           "i386": {"486", "pentium", "base", "host"}}
# What the kernel says about the processor, not about the machine: models are without what microcode brought later, qemu32
# has MCE without MCA, and Debian's i386 kernel knows no remedy for some of AMD's.
OF_THE_MODEL = r"kernel not compiled with CPU_SRSO|data leaks possible|hw-vuln/|vulnerable to RETBleed|Spectre v2 mitigation|Unable to init MCE device"


def models_of(program, versions):
    text = subprocess.run([program, "-cpu", "help"], capture_output=True, text=True, check=True).stdout
    text = text.split("Recognized")[0]
    names = re.findall(r"^  (\S+)  ", text, re.M)
    if versions:
        return [name for name in names if re.search(r"-v\d+$", name) or f"{name}-v1" not in names]
    return [name for name in names if not re.search(r"-v\d+$", name) or f"{name[:-1]}1" not in names or name.startswith("x86-64")]


def check(program, arch, name, machine, limit):
    boot = Boot(program, "check", "-machine", machine, "-cpu", f"{name},check=off", timeout=limit, arch=arch)
    problems = []
    if boot.status != 0:
        problems.append(f"exit status {boot.status}: {boot.messages}")
    if not boot.finished():
        problems.append("the guest's script did not finish: " + " | ".join(boot.lines[-8:]))
    lines = [line for line in boot.values("check-line") + boot.values("check-error")
             if not re.search(OF_THE_MODEL, line) and not is_expected(line, [machine])]
    problems += [f"kernel: {line}" for line in lines]
    return problems, {"seconds": round(boot.seconds, 1), "cpu_seconds": round(max(boot.cpu, default=0), 1), "model": boot.value("check-model")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--state")
    parser.add_argument("--models")
    parser.add_argument("--archs", default="amd64,i386")
    parser.add_argument("--versions", action="store_true", help="every version, not only what a bare name stands for")
    parser.add_argument("--machines", default="pc,q35,microvm")
    parser.add_argument("--limit", type=float, default=240, help="seconds for one run")
    parser.add_argument("--budget", type=float, help="begin no run after so many seconds")
    args = parser.parse_args()
    names = args.models.split(",") if args.models else models_of(args.program, args.versions)
    results, end = Results(args.state), time.monotonic() + (args.budget or float("inf"))
    for machine, arch, name in itertools.product(args.machines.split(","), args.archs.split(","), names):
        if re.sub(r"-v\d+$", "", name) in TOO_OLD[arch]:
            continue
        if time.monotonic() > end:
            print("# no time left")
            break
        run = f"{machine} {arch} {name}"
        if results.wanted(run):
            problems, figures = check(args.program, arch, name, machine, args.limit)
            results.add(run, problems, **figures)
    return results.finish()


if __name__ == "__main__":
    sys.exit(main())
