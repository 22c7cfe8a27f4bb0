#!/usr/bin/env python3
"""The guest's clock against the host's over a minute, and what an idle guest costs. Usage: test_time.py PROGRAM [OPTION...]"""

import sys

from guest import Boot


def main():
    program, options = sys.argv[1], sys.argv[2:]
    problems = []

    boot = Boot(program, "clock", "-cpu", "max", *options)
    first, last = boot.find("clock-start"), boot.find("clock-end")
    if first is None or last is None:
        problems.append("no clock lines:\n" + "\n".join(boot.lines[-10:]))
    else:
        guest = float(boot.value("clock-end")) - float(boot.value("clock-start"))
        host = boot.times[last] - boot.times[first]
        print(f"# guest {guest:.2f} s, host {host:.3f} s")
        # /proc/uptime counts hundredths; a line takes milliseconds to come out.
        if abs(guest - host) > 0.001 * host + 0.02:
            problems.append(f"{(guest / host - 1) * 100:.3f} % off")

    boot = Boot(program, "idle", "-cpu", "max", *options)
    first, last = boot.find("idle-start"), boot.find("idle-end")
    if first is None or last is None:
        problems.append("no idle lines:\n" + "\n".join(boot.lines[-10:]))
    else:
        share = (boot.cpu[last] - boot.cpu[first]) / (boot.times[last] - boot.times[first])
        print(f"# idle: {share * 100:.2f} % of a core")
        if share >= 0.01:
            problems.append(f"an idle guest uses {share * 100:.2f} % of a core")

    for problem in problems:
        print("# " + problem.replace("\n", "\n# "))
    print("not ok 1 - time" if problems else "ok 1 - time")
    print("1..1")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
