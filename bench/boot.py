"""Boot of Debian's kernel: from exec to the first line of /init, and from "Linux version" to it."""

import os
import statistics

from machine import Run

FIRST, LAST = "Linux version", "first line of /init"
# The early console shows "Linux version" when it is printed, not when the serial driver starts.
APPEND = "console=ttyS0 earlyprintk=ttyS0 panic=-1"


def boot_once(system, options, folder, silence):
    """(seconds from exec, seconds from the kernel's first line), or the run when it did not get there."""
    command = system.command(os.path.join(folder, "boot.cpio.gz"), 1, APPEND) + options
    run = Run(command, silence)
    first, last = run.when(FIRST), run.when(LAST)
    return (last, last - first) if first is not None and last is not None else run


def report(systems, folder, args, say):
    """Prints the medians of all rounds and returns them, and what went wrong."""
    unpack = ["-machine", "pc,unpack-kernel=on"]
    cases = []
    for system in systems:
        cases.append((system.name, system, []))
        if system.name == "quern":
            cases.append(("quern, unpack-kernel=on", system, unpack))
    times, problems = {name: [] for name, _, _ in cases}, []
    for _ in range(args.rounds):
        for name, system, options in cases:
            result = boot_once(system, options, folder, args.silence)
            if isinstance(result, Run):
                problems.append(f"boot, {name}: {result.explain()}")
            else:
                times[name].append(result)
    say("boot of Debian's kernel (-m 1G -cpu max): seconds to the first line of /init")
    say(f"{'':26}{'from exec':>10}{'of TCG':>8}{'from Linux version':>20}{'of TCG':>8}")
    figures = {name: [statistics.median(column) for column in zip(*t)] for name, t in times.items() if t}
    peer = figures.get("tcg")
    for name, (whole, kernel) in figures.items():
        share = [f"{value / base:8.0%}" for value, base in zip((whole, kernel), peer)] if peer else ["", ""]
        say(f"{name:26}{whole:10.2f}{share[0]:8}{kernel:20.2f}{share[1]:8}")
    return figures, problems
