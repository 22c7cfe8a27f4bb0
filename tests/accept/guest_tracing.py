#!/usr/bin/env python3
"""What patches a running kernel's code, switched through tracefs, debugfs and sysctl under load (digests, fork and exec, a
shell's loop, files; each checks its own results): the function and graph tracers on all functions, on one and on groups;
kprobes on entries, inside functions (INT3, then optimized to jumps, and back) and on returns; all trace events; scheduler
statistics, delay accounting and the preemption model (static keys and static calls), the kernel's own test of static keys;
BPF programs through the kernel's JIT (test_bpf). With one vCPU and with two.

Tracers and probes must see exactly as many calls as a program makes, and the kernel's log stays clean.

Debian's QEMU passes with one vCPU. With two it gets no further than turning the function tracer on: patching 45,000 places
takes minutes, in which both vCPUs are reported as stuck. The plain executor passes, on a busy host only with --slow: the
kernel does not schedule while it patches, and its watchdog barks after 20 s."""

import sys

import guestlib
import guestroot
from guest_forkstorm import build
from guestlib import Failed, Guest

STEPS = ("function", "graph", "kprobes", "events", "keys")


def run(test, smp, steps, rounds, probes, loops=5, workers="compute fork shell files", bpf=""):
    selection = guestroot.Selection().add("usr/bin/bash", "usr/bin/kmod", "usr/sbin/modprobe", "usr/sbin/rmmod")
    selection.add(selection.modules + "/modules.*", selection.modules + "/kernel/lib/test_*.ko")
    files = {"calls": build("calls.c"),
             "env": f"rounds={rounds}\nsteps='{' '.join(steps)}'\nprobes={probes}\nloops={loops}\nworkers='{workers}'\nbpf='{bpf}'\n".encode()}
    guest = Guest(test, selection, "tracing.sh", files, smp=smp)
    done = guest.records("step")
    figures = {"seconds-each": {name: int(r["hundredths"]) / 100 for name, r in done.items()}, "probes": guest.values("probes"),
               "bpf": guest.values("bpf"), "boot-to-end": round(guest.seconds, 1)}
    problems = guest.values("problem") + guest.values("problem-line")
    if len(done) != rounds * len(steps):
        problems.append(f"{len(done)} of {rounds * len(steps)} steps were done")
    if problems:
        raise Failed(f"{len(problems)} problems: " + "; ".join(problems[:20]), **figures)
    guest.check_kernel()
    return figures


def main():
    test = guestlib.Test("guest_tracing", __doc__, limit=3600)
    test.parser.add_argument("--rounds", type=int, default=5)
    test.parser.add_argument("--cpus", type=int, default=2, help="vCPUs with --quick and --only (default: %(default)d)")
    test.parser.add_argument("--only", choices=[*STEPS, "bpf"], help="one kind of patching, once")
    args = test.parse()
    if args.only:
        test.step(args.only, run, test, args.cpus, [args.only], 1, 12, 1, "fork shell")
    elif args.quick:
        test.step("quick", run, test, args.cpus, STEPS, 1, 12, 1, "fork shell")
    else:
        test.step("one-cpu", run, test, 1, STEPS, args.rounds, 150)
        test.step("two-cpus", run, test, 2, STEPS, args.rounds, 150)
        test.step("bpf", run, test, 2, ["bpf"], 1, 0, 1, "fork shell")
    return test.finish()


if __name__ == "__main__":
    sys.exit(main())
