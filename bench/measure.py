"""Measures rows in several systems in turn and reports ratios: to native time, and to the peer's speed."""

import math
import os
import statistics

from machine import CLOCK_TOLERANCE

HERE = os.path.dirname(os.path.abspath(__file__))
GROUPS = ("integer", "fp-simd", "kernel", "whole")

# What each group's geometric mean is to reach: time as a multiple of native at most, speed relative to TCG at least.
FLOORS = {"integer": (1.6, 3), "fp-simd": (1.35, 10), "kernel": (None, 2), "whole": (2.7, 2.8)}


def row_list():
    """[(name, group)] of bench/rows, in its order."""
    with open(os.path.join(HERE, "rows"), encoding="ascii") as lines:
        return [tuple(line.split()[:2]) for line in lines if line.strip() and not line.startswith("#")]


class Measurement:
    """`seconds[system][row]` are the times of all rounds, `problems` the lines that make the run a failure."""

    def __init__(self, folder, names, args, say):
        self.folder, self.names, self.args, self.say = folder, names, args, say
        self.seconds, self.checksums, self.problems, self.notes, self.runs = {}, {}, [], [], []

    def round(self, system, number, cpus=1, label=None):
        """Runs all rows once in `system`; again while the machine was busy with something else, but not for ever."""
        label = label or system.name
        for attempt in range(1 + self.args.busy_repeats):
            run = system.run(self.folder, self.names, self.args.scale, self.args.silence, cpus,
                             (lambda line: self.say(f"    {line}")) if self.args.verbose else None)
            self.runs.append({"system": label, "round": number, "attempt": attempt, "busy": run.busy, "seconds": run.seconds,
                              "clock_error": run.clock_error, "rows": run.rows, "failed": run.failed})
            self.say(f"  round {number} {label}: {run.seconds:.1f} s" + (f", others used {run.busy:.0%} of a CPU" if run.busy > 0.01 else ""))
            if run.busy <= self.args.busy_limit or run.failed:
                break
        else:
            self.notes.append(f"{label}, round {number}: the machine stayed busy (others used {run.busy:.0%} of a CPU)")
        self._take(label, number, run)

    def _take(self, label, number, run):
        for what in dict.fromkeys(run.failed.values()):
            self._problem(f"{label}: {', '.join(name for name in run.failed if run.failed[name] == what)} failed: {what}")
        if abs(run.clock_error) > CLOCK_TOLERANCE:
            self._problem(f"{label}, round {number}: its clock differs from the host's by {run.clock_error:+.1%}")
        for name, (wall, cpu, checksum) in run.rows.items():
            seconds = max(cpu, 0.001) if self.args.cpu_time else wall
            self.seconds.setdefault(label, {}).setdefault(name, []).append(seconds)
            first = self.checksums.setdefault(name, (checksum, label))
            if checksum != first[0]:
                self._problem(f"{label}: {name} printed something else ({checksum}) than {first[1]} did ({first[0]})")

    def _problem(self, text):
        if text not in self.problems:
            self.problems.append(text)

    def median(self, label, name):
        times = self.seconds.get(label, {}).get(name)
        return statistics.median(times) if times else None

    def spread(self, label, name):
        """Largest minus smallest time, as a share of the median."""
        times = self.seconds.get(label, {}).get(name)
        return (max(times) - min(times)) / statistics.median(times) if times else None


def quotient(a, b):
    return a / b if a and b else None


def geometric_mean(values):
    values = [v for v in values if v]
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def text(value, form, width):
    return format("-" if value is None else format(value, form), f">{width}")


def floor_text(group, means):
    """What of a group's floors is missed, for its line of the report."""
    most, least = FLOORS.get(group, (None, None))
    missed = [f"{name} {bound}" for name, bound, value, sign in (("at most", most, means["quern_to_native"], 1),
                                                                ("at least", least, means["speed_to_tcg"], -1))
              if bound and value and (value - bound) * sign > 0]
    return "          wanted: " + ", ".join(missed) if missed else ""


def report_rows(m, systems, rows, say):
    """Prints the table and returns it as [{row, group, native, ...}] and {group: means}."""
    names = [s.name for s in systems]
    say(f"{'row':14}{'native s':>9}{'quern x':>9}{'tcg x':>8}{'speed/tcg':>10}   spread: {' '.join(names)}")
    table, means = [], {}
    for name, group in rows:
        native, quern, peer = (m.median(system, name) for system in ("native", "quern", "tcg"))
        entry = {"row": name, "group": group, "native": native, "quern": quern, "tcg": peer, "quern_to_native": quotient(quern, native),
                 "tcg_to_native": quotient(peer, native), "speed_to_tcg": quotient(peer, quern),
                 "spread": {system: m.spread(system, name) for system in names}}
        table.append(entry)
        say(f"{name:14}{text(native, '.3f', 9)}{text(entry['quern_to_native'], '.2f', 9)}{text(entry['tcg_to_native'], '.2f', 8)}"
            f"{text(entry['speed_to_tcg'], '.2f', 10)}          " + " ".join(text(m.spread(s, name), ".0%", 5) for s in names))
    say("geometric means")
    for group in [g for g in GROUPS if any(e["group"] == g for e in table)] + ["all"]:
        of_group = [e for e in table if group in (e["group"], "all")]
        means[group] = {key: geometric_mean(e[key] for e in of_group) for key in ("quern_to_native", "tcg_to_native", "speed_to_tcg")}
        say(f"{group:14}{'':9}{text(means[group]['quern_to_native'], '.2f', 9)}{text(means[group]['tcg_to_native'], '.2f', 8)}"
            f"{text(means[group]['speed_to_tcg'], '.2f', 10)}{floor_text(group, means[group])}")
    slower = [e["row"] for e in table if e["speed_to_tcg"] and e["speed_to_tcg"] < 1]
    if slower:
        say("slower than TCG: " + ", ".join(slower))
    return table, means


def report_smp(m, systems, rows, say):
    """How many times faster two vCPUs do the jobs than one."""
    say(f"{'job':14}" + "".join(f"{s.name:>10}" for s in systems) + "   (times faster on two CPUs than on one)")
    table = []
    for name, _ in rows:
        gains = {s.name: quotient(m.median(f"{s.name}-1", name), m.median(f"{s.name}-2", name)) for s in systems}
        seconds = {f"{s.name}-{n}": m.median(f"{s.name}-{n}", name) for s in systems for n in (1, 2)}
        table.append({"row": name, "gain": gains, "seconds": seconds})
        say(f"{name:14}" + "".join(text(gains[s.name], ".2f", 10) for s in systems))
    return table
