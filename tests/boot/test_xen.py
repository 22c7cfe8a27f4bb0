#!/usr/bin/env python3
"""Boots Xen by multiboot with Debian's kernel as its first domain, does some work there and checks what both say.

Usage: test_xen.py PROGRAM LIMIT_SECONDS CPUS [OPTION...]"""

import re
import sys

from guest import Boot

# What Xen says about every processor of this kind in a virtual machine.
XEN_HARMLESS = r"If not running virtualised, please report a bug|xenoprof: "
XEN_BAD = r"\(XEN\).*\b(panic|warning|error|failed|fault|bug|unable|cannot|lost|stuck|timed out|unstable)\b"
# What dom0's kernel says about the processor, not about the machine: models are without what microcode brought later, and
# of several processors that are not Intel's and have no invariant TSC it trusts none.
OF_THE_MODEL = r"data leaks possible|hw-vuln/|vulnerable to RETBleed|Spectre v2 mitigation|TSC unstable due to TSCs unsynchronized"


def check(program, cpus, *options, timeout=300):
    """(what is wrong, the Boot)"""
    boot = Boot(program, "dom0", "-smp", str(cpus), *options, memory="1G", append="dom0_mem=640M", timeout=timeout, xen=True)
    problems = []
    if boot.status != 0:
        problems.append(f"exit status {boot.status}: {boot.messages}")
    problems += [line for line in boot.lines if re.search(XEN_BAD, line, re.I) and not re.search(XEN_HARMLESS, line)]
    if not boot.finished():
        return [*problems, "the script in dom0 did not finish; the last lines were:\n" + "\n".join(boot.lines[-15:])], boot
    if not any("*** Building a PV Dom0 ***" in line for line in boot.lines):
        problems.append("Xen does not say that it builds a PV dom0")
    expected = {"check-cpus": str(cpus), "dom0-hypervisor": "xen 4.17", "dom0-work": "right"}
    problems += [f"{name}: {boot.value(name)}, expected {value}" for name, value in expected.items() if boot.value(name) != value]
    said = [line for name in ("check-line", "check-error", "dom0-fork", "dom0-line") for line in boot.values(name)]
    problems += ["dom0: " + line for line in said if not re.search(OF_THE_MODEL, line)]
    if not any("Entering ACPI S5 state" in line for line in boot.lines):
        problems.append("Xen has not powered off by ACPI")
    return problems, boot


def main():
    program, limit, cpus, options = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    problems, boot = check(program, cpus, *options, timeout=limit * 2)
    if boot.seconds > limit:
        problems.append(f"took {boot.seconds:.1f} s, the limit is {limit:.0f} s")
    print(f"# {boot.seconds:.1f} s; {boot.value('check-model')}; clocksource {boot.value('check-clocksource')}")
    for problem in problems:
        print("# " + problem.replace("\n", "\n# "))
    print("not ok 1 - xen" if problems else "ok 1 - xen")
    print("1..1")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
