#!/usr/bin/env python3
"""Measures Quern against native execution and Debian's QEMU (TCG), side by side in one run, and prints ratios.

What is measured: startup (to the first guest instruction), hotplug (how long vCPUs stand still), boot (Debian's kernel to /init), rows (the programs of
bench/rows), smp (parallel jobs on two vCPUs against one), segments (16-bit code and segments that are not flat). Absolute
times mean little; medians of all rounds count.

One row quickly: bench/run.py rows --rows sieve --rounds 1 --busy-repeats 0 --systems native,quern"""

import argparse
import json
import os
import shlex
import shutil
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import boot  # noqa: E402
import hotplug  # noqa: E402
import machine  # noqa: E402
import measure  # noqa: E402
import segments  # noqa: E402
import startup  # noqa: E402

PARTS = ("startup", "hotplug", "boot", "rows", "smp", "segments")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} (default: all)")
    parser.add_argument("--program", default="build/qemu-system-x86_64", help="Quern (default: %(default)s)")
    parser.add_argument("--peer", default=shutil.which("qemu-system-x86_64", path="/usr/bin"), help="QEMU (default: %(default)s)")
    parser.add_argument("--accel-args", default="-accel tcg", help="Quern's accelerator and other options (default: '%(default)s')")
    parser.add_argument("--systems", default="native,quern,tcg", help="where to run (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each system runs, in turn (default: %(default)s)")
    parser.add_argument("--rows", help="only these rows, separated by commas")
    parser.add_argument("--group", help=f"only the rows of these groups: {', '.join(measure.GROUPS)}")
    parser.add_argument("--scale", type=float, default=1, help="multiplies the rows' work (0.05: a twentieth)")
    parser.add_argument("--busy-limit", type=float, default=0.1, help="share of a CPU that others may use in a run (default: %(default)s)")
    parser.add_argument("--busy-repeats", type=int, default=3, help="how often a disturbed run is repeated (default: %(default)s)")
    parser.add_argument("--cpu-time", action="store_true", help="compare processor time on the host instead of time passed: "
                        "rough figures on a machine that is busy; rows then need 0.2 s and do not count what they wait for")
    parser.add_argument("--silence", type=float, default=300, help="seconds without output after which a run has failed (default: %(default)s)")
    parser.add_argument("--verbose", action="store_true", help="show each line of each run as it comes, the guest kernel's too")
    parser.add_argument("--json", metavar="FILE", help="write everything measured to FILE")
    args = parser.parse_args()
    if args.cpu_time:
        if not args.parts or set(args.parts) - {"rows", "boot", "segments"}:
            parser.error("--cpu-time is for the parts rows, boot and segments (always processor time); name them")
        args.busy_repeats = 0
    args.parts = args.parts or list(PARTS)
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"no part '{unknown.pop()}' (there are {', '.join(PARTS)})")
    if unknown := set(args.systems.split(",")) - {"native", "quern", "tcg"}:
        parser.error(f"no system '{unknown.pop()}' (there are native, quern, tcg)")
    if args.rounds < 1 or args.scale <= 0:
        parser.error("--rounds and --scale must be positive")
    return parser, args


def chosen_rows(parser, args):
    """The rows to run, without those of "smp"."""
    rows = [r for r in measure.row_list() if r[1] != "smp"]
    for option, value, column in (("--rows", args.rows, 0), ("--group", args.group, 1)):
        if value:
            wanted = value.split(",")
            if unknown := [w for w in wanted if w not in (r[column] for r in rows)]:
                parser.error(f"{option}: bench/rows has no '{unknown[0]}'")
            rows = [r for r in rows if r[column] in wanted]
    if not rows:
        parser.error("no row is in both --rows and --group")
    return rows


def say(line):
    print(line, flush=True)


def measure_rows(systems, rows, folder, args):
    m = measure.Measurement(folder, [name for name, _ in rows], args, say)
    say(f"{len(rows)} rows (-m 1G -cpu max -smp 1), {args.rounds} rounds" + (f", work times {args.scale:g}" if args.scale != 1 else "") +
        (", processor time" if args.cpu_time else ""))
    for number in range(1, args.rounds + 1):
        for system in systems:
            m.round(system, number)
    table, means = measure.report_rows(m, systems, rows, say)
    return m, {"rows": table, "means": means, "runs": m.runs}


def measure_smp(systems, folder, args):
    rows = [r for r in measure.row_list() if r[1] == "smp"]
    m = measure.Measurement(folder, [name for name, _ in rows], args, say)
    say(f"parallel jobs of two threads on -smp 2 against -smp 1, {args.rounds} rounds")
    for number in range(1, args.rounds + 1):
        for system in systems:
            for cpus in (1, 2):
                m.round(system, number, cpus, f"{system.name}-{cpus}")
    return m, {"smp": measure.report_smp(m, systems, rows, say), "runs": m.runs}


def main():
    parser, args = parse()
    rows = chosen_rows(parser, args)
    options = shlex.split(args.accel_args)
    known = {"native": machine.System("native"), "quern": machine.System("quern", args.program, options),
             "tcg": machine.System("tcg", args.peer, ["-accel", "tcg"])}
    systems = [known[name] for name in args.systems.split(",")]
    for system in systems:
        if system.name != "native" and not (system.program and os.access(system.program, os.X_OK)):
            parser.error(f"{system.name}: there is no program {system.program} (make, or tools/setup.sh bench)")
    machines = [s for s in systems if s.program]
    results, problems, notes = {"args": vars(args)}, [], []

    kernels = os.path.join(os.path.dirname(os.path.abspath(args.program)), "tests", "guest")
    if "startup" in args.parts:
        results["startup"] = startup.report(args.program, args.peer if known["tcg"] in systems else None, os.path.join(kernels, "multiboot.elf"))
    if "hotplug" in args.parts:
        results["hotplug"], failed = hotplug.report(args.program, kernels, say)
        problems += failed
    folder = machine.image() if set(args.parts) - {"startup", "hotplug", "segments"} else None
    if "boot" in args.parts:
        results["boot"], failed = boot.report(machines, folder, args, say)
        problems += failed
    for part, measured in (("rows", lambda: measure_rows(systems, rows, folder, args)), ("smp", lambda: measure_smp(systems, folder, args))):
        if part in args.parts:
            m, results[part] = measured()
            problems += m.problems
            notes += m.notes
    if "segments" in args.parts:
        results["segments"], failed = segments.report(machines, args, say)
        problems += failed
    for note in notes:
        say(f"note: {note}")
    for problem in problems:
        say(f"PROBLEM: {problem}")
    if args.json:
        with open(args.json, "w", encoding="ascii") as out:
            json.dump({**results, "notes": notes, "problems": problems}, out, indent=1)
            out.write("\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
