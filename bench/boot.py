"""Boot of Debian's kernel: from exec to the first line of /init, and from "Linux version" to it."""

import os
import statistics

from machine import Run

FIRST, LAST = "Linux version", "first line of /init"
# The early console shows "Linux version" when it is printed, not when the serial driver starts.
APPEND = "console=ttyS0 earlyprintk=ttyS0 panic=-1"
# Says whether the kernel came from the cache of an earlier start.
UNPACK = ["-machine", "pc,unpack-kernel=on", "-trace", "unpack_kernel"]
SOURCES = ("decoded", "taken from the cache")


def boot_once(command, args, say):
    """(seconds from exec, seconds from the kernel's first line) and where an unpacked kernel came from (one of SOURCES or None),
    or the run when it did not get there."""
    watch = (lambda line: say(f"    {line}")) if args.verbose else None
    for _ in range(1 + args.busy_repeats):
        run = Run(command, args.silence, watch=watch)
        first, last = run.when(FIRST), run.when(LAST)
        if not first or not last:
            return run
        if run.busy <= args.busy_limit:
            break
    clock = 1 if args.cpu_time else 0
    source = next((s for s in SOURCES for line in run.messages if "unpack_kernel" in line and s in line), None)
    return (last[clock], last[clock] - first[clock]), source


def report(systems, folder, args, say):
    """Prints the medians of all rounds and returns them, and what went wrong."""
    initrd = os.path.join(folder, "boot.cpio.gz")
    commands = {}
    for system in systems:
        commands[system.name] = system.command(initrd, 1, APPEND)
        if system.name == "quern":
            commands["quern, unpack-kernel=on"] = system.command(initrd, 1, APPEND) + UNPACK
    times, problems, sources = {name: [] for name in commands}, [], []
    for _ in range(args.rounds):
        for name, command in commands.items():
            result = boot_once(command, args, say)
            if isinstance(result, Run):
                problems.append(f"boot, {name}: {result.explain()}")
            else:
                times[name].append(result[0])
                sources.append(result[1])
    say(f"boot of Debian's kernel (-m 1G -cpu max): {'processor ' if args.cpu_time else ''}seconds to the first line of /init")
    say(f"{'':26}{'from exec':>10}{'of TCG':>8}{'from Linux version':>20}{'of TCG':>8}")
    figures = {name: [statistics.median(column) for column in zip(*t)] for name, t in times.items() if t}
    peer = figures.get("tcg")
    for name, (whole, kernel) in figures.items():
        share = [f"{value / base:8.0%}" for value, base in zip((whole, kernel), peer)] if peer else ["", ""]
        say(f"{name:26}{whole:10.2f}{share[0]:8}{kernel:20.2f}{share[1]:8}")
    if any(sources):
        say("    the unpacked kernel: " + ", ".join(f"{sources.count(source)} times {source}" for source in SOURCES))
    return figures, problems
