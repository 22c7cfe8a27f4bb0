#!/usr/bin/env python3
"""Acceptance of "The whole CPU", line by line, on a fresh clone. Resumable: steps that passed on this commit are not run
again. Each result goes to the log with commit, step, figure and time.

Usage: tests/accept/whole_cpu.py [--log FILE] [--work DIR] [--quick] [--here] [STEP...]"""

import json
import os
import re
import sys

from steps import GUEST, PROGRAM, Failed, build_fuzzers, fuzz, main, step_build, steps_of  # noqa: F401

MODES = ("64", "32", "16", "real", "v86", "segments")  # of tests/fuzz/fuzz_dbt.c
MACHINES = ("pc", "q35", "microvm")
CORNERS = (("corners-legacy.elf", "1"), ("corners-long.elf", "2"))
PEER = "/usr/bin/qemu-system-x86_64"


def step_fuzz_build(run):
    """The fuzzer of the translator builds with libFuzzer, ASan and UBSan."""
    return build_fuzzers(run, ["dbt"])


def insn_test(run, options):
    """One run of insn-test: its last line."""
    report = os.path.join(run.clone, "build", "report.txt")
    out = run.sh(["build/tests/insn/insn-test", "--report", report, *options], 4 * 3600, check=False)
    last = out.strip().splitlines()[-1] if out.strip() else "nothing"
    if not re.search(r" 0 differences", last):
        raise Failed(out[-2000:])
    return last.removeprefix("insn-test: ")


def step_instructions(run):
    """At least 99 % of the forms that count are compared, in all modes, executor and translator: no differences."""
    texts = []
    for runner in ("step", "dbt", "dbt-mixed"):
        text = insn_test(run, ["--runner", runner, "--seed", "2", "--count", "12" if run.quick else "600"])
        share = re.search(r"([\d.]+) % of", text)
        if not share or float(share[1]) < 99:
            raise Failed(text)
        texts.append(f"{runner}: {text}")
    return "; ".join(texts)


def step_blocks(run):
    """Random blocks with branches, faults and stores into their own code: no differences."""
    return "; ".join(runner + ": " + insn_test(run, ["--runner", runner, "--seed", "2", "--minimize", "--blocks", "2000" if run.quick else "150000"])
                     for runner in ("run", "dbt", "dbt-mixed"))


def step_corners(run):
    """At least 400 checks of corners of the architecture, translated and one instruction at a time."""
    counts = []
    for options in ([], ["--", "-accel", "tcg,one-insn-per-tb=on"]):
        checks = 0
        for name, cpus in CORNERS:
            out = run.sh(["tests/guest/run_guest.py", PROGRAM, GUEST + name, "--cpus", cpus, *options], 400)
            if re.search(r"^not ok", out, re.M):
                raise Failed(out[-1500:])
            checks += len(re.findall(r"^ok", out, re.M))
        counts.append(checks)
    if min(counts) < 400:
        raise Failed(f"{counts} checks")
    return f"{counts[0]} checks translated, {counts[1]} one instruction at a time"


def step_corners_peers(run):
    """The same programs in Debian's QEMU and in Bochs: where they differ, disagreements.txt has the manual's paragraph."""
    out = run.sh(["tests/guest/corners/peers.py"], 3600, check=False)
    texts = re.findall(r"^# (\w+ in \w+: .*)", out, re.M)
    if not re.search(r"^# 0 disagreements without a citation, 0 checks fail in ours", out, re.M) or len(texts) != 4:
        raise Failed(out[-2000:])
    return "; ".join(texts)


def models(run, arch, machine):
    """Debian's kernel boots clean with every model that can run it."""
    state = os.path.join(run.clone, "build", f"models-{arch}-{machine}.json")
    short = ["--models", "qemu64,max"] if run.quick and arch == "amd64" else ["--models", "qemu32"] if run.quick else []
    out = run.sh(["tests/accept/boot_models.py", PROGRAM, "--state", state, "--archs", arch, "--machines", machine, *short], 4 * 3600, check=False)
    result = json.loads(out.strip().splitlines()[-1])
    if result["failed"]:
        raise Failed(out[-2000:])
    return f"{result['runs']} on {machine}"


def step_models_amd64(run):
    """Debian's amd64 kernel on pc, q35 and microvm."""
    return ", ".join(models(run, "amd64", machine) for machine in MACHINES)


def step_models_i386(run):
    """Debian's i386 kernel on pc, q35 and microvm."""
    return ", ".join(models(run, "i386", machine) for machine in MACHINES)


def step_xen(run):
    """Xen 4.17 starts Debian's kernel as its first domain."""
    state = os.path.join(run.clone, "build", "xen.json")
    short = ["--models", "max", "--cpus", "2"] if run.quick else []
    out = run.sh(["tests/accept/boot_xen.py", PROGRAM, "--state", state, *short], 4 * 3600, check=False)
    result = json.loads(out.strip().splitlines()[-1])
    if result["failed"]:
        raise Failed(out[-2000:])
    return f"{result['runs']} runs"


def step_cpuid_models(run):
    """CPUID of every model that Debian's QEMU has too, with and without a topology."""
    texts = []
    for options in ([], ["--topology"]):
        out = run.sh(["tests/accept/cpuid_models.py", PROGRAM, GUEST + "cpuid.elf", "--peer", PEER, *options], 3600, check=False)
        result = json.loads(out.strip().splitlines()[-1])
        if result["differences"]:
            raise Failed(out[-2000:])
        texts.append(f"{result['models']} models{' with a topology' if options else ''}")
    return "; ".join(texts)


def fuzz_step(mode):
    """Random bytes as guest code of one mode, for ten minutes, executor against translator, under ASan and UBSan."""
    def step(run):
        seconds, counts = fuzz(run, "dbt", mode, r"^(\d+) inputs, (\d+) compared.*", r"ERROR|different|not implemented", ["-max_len=160"],
                               ["FUZZ_DBT_MODE=" + mode, "FUZZ_DBT_STATS=1"])
        return f"{seconds} s: {counts[0]}"
    return step


for _mode in MODES:
    globals()["step_fuzz_" + _mode] = fuzz_step(_mode)


if __name__ == "__main__":
    sys.exit(main(__doc__, "whole-cpu", steps_of(dict(globals()))))
