#!/usr/bin/env python3
"""Boots Debian's kernel to a script and checks what the guest sees.

Usage: test_boot.py PROGRAM LIMIT_SECONDS CPUS [--i386] [OPTION...]"""

import sys

from guest import Boot


def is_expected(line, options):
    """microvm has no PCI, and Debian's kernel calls that fatal."""
    return any(option.startswith("microvm") for option in options) and "PCI: Fatal: No config space access function found" in line


def main():
    program, limit, cpus, options = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    arch = "i386" if "--i386" in options else "amd64"
    options = [option for option in options if option != "--i386"]
    boot = Boot(program, "check", "-smp", str(cpus), *options, timeout=limit * 2, arch=arch)
    problems = []
    if boot.status != 0:
        problems.append(f"exit status {boot.status}: {boot.messages}")
    if not boot.finished():
        problems.append("the guest's script did not finish; the last lines were:\n" + "\n".join(boot.lines[-15:]))
    else:
        if boot.value("check-cpus") != str(cpus):
            problems.append(f"the guest sees {boot.value('check-cpus')} CPUs")
        if not 420000 < int(boot.value("check-memory-kib")) < 512 * 1024:
            problems.append(f"the guest sees {boot.value('check-memory-kib')} KiB")
        if boot.value("check-warnings") != "0":
            problems.append("kernel warnings:\n" + "\n".join(boot.values("check-line")))
        clock = "hyperv_clocksource_tsc_page"
        if any("hv-time" in option for option in options) and boot.value("check-clocksource") != clock:
            problems.append(f"the clocksource is {boot.value('check-clocksource')}, not {clock}")
        errors = [line for line in boot.values("check-error") if not is_expected(line, options)]
        if errors:
            problems.append("kernel errors:\n" + "\n".join(errors))
    if boot.seconds > limit:
        problems.append(f"took {boot.seconds:.1f} s, the limit is {limit:.0f} s")
    print(f"# {boot.seconds:.1f} s; {boot.value('check-model')}; clocksource {boot.value('check-clocksource')}")
    for problem in problems:
        print("# " + problem.replace("\n", "\n# "))
    print("not ok 1 - boot" if problems else "ok 1 - boot")
    print("1..1")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
