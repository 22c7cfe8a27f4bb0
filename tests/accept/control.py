#!/usr/bin/env python3
"""Acceptance of "Control: monitors, objects, and memory that grows while the guest runs", line by line, on a fresh clone.
Resumable: steps that passed on this commit are not run again. Each result goes to the log with commit, step, figure and time.

Usage: tests/accept/control.py [--log FILE] [--work DIR] [--quick] [--here] [STEP...]"""

import os
import re
import statistics
import sys

from steps import GUEST, PROGRAM, Failed, build_fuzzers, fuzz, main, step_build, steps_of  # noqa: F401

MACHINES = ("pc", "q35")
FUZZERS = ("json", "qmp", "hmp", "lineedit", "virtio")


def tap(run, command, timeout):
    """Runs a test that prints TAP; how many checks passed, and its output."""
    out = run.sh(command, timeout, check=False)
    plan = re.search(r"^1\.\.(\d+)", out, re.M)
    passed = len(re.findall(r"^ok ", out, re.M))
    if re.search(r"^not ok", out, re.M) or not plan or passed != int(plan[1]) or not passed:
        raise Failed(out[-2000:])
    skipped = re.findall(r"^ok \d+ - (.*) # SKIP", out, re.M)
    return f"{passed - len(skipped)} checks" + (f" ({len(skipped)} skipped: {'; '.join(skipped)[:200]})" if skipped else ""), out


def each(run, test, cases, timeout):
    """A test with each of several argument lists."""
    return ", ".join(f"{name}: {tap(run, [test, PROGRAM, *arguments], timeout)[0]}" for name, arguments in cases.items())


def step_examples(run):
    """Every example of the documents about memory, vCPUs, NUMA nodes and monitors runs as written."""
    return tap(run, ["tests/host/test_examples.py", PROGRAM], 300)[0]


def hotplug(run, *parts):
    return each(run, "tests/boot/test_hotplug.py", {m: ["-machine", m, *(f"only={p}" for p in parts)] for m in MACHINES}, 2000)


def step_hotplug(run):
    """1 GiB to 4 GiB and back with Debian's kernel, all of it used, a fourth module refused, each kind of backend, cold-plugged."""
    return hotplug(run, "hot", "cold")


def step_hotplug_example(run):
    """The hotplug manual's example: 6 GB, a module of 1 GB and one of 256 MB; in 2 MiB pages where the host has some."""
    return hotplug(run, "example")


def step_topology(run):
    """numactl -H and lscpu in the guest show what ten command lines say."""
    return tap(run, ["tests/boot/test_topology.py", PROGRAM], 1500)[0]


def step_tables(run):
    """iasl disassembles every table without a warning."""
    count, out = tap(run, ["tests/host/test_tables.py", PROGRAM, GUEST + "multiboot.elf"], 600)
    if "iasl" in out and "SKIP" in out:
        raise Failed(out)
    return count


def step_memory(run):
    """What cannot be had is refused with the figures; 64 GiB that nobody promises are not touched."""
    count, out = tap(run, ["tests/host/test_memory.py", PROGRAM], 600)
    return f"{count}; {re.search(r'from exec.*', out)[0]}"


def step_bench(run):
    """16 GiB plugged in stall a vCPU for less than 10 ms; a guest with 64 GiB starts in less than 100 ms."""
    figures, out = run.bench("hotplug", 600)
    memory = figures["hotplug"]
    stall, start = max(memory["stall_ms"]), statistics.median(memory["start_ms"])
    if stall >= 10 or start >= 100:
        raise Failed(out)
    return f"{stall:.3f} ms at most of {len(memory['stall_ms'])} times, {start:.1f} ms to the first instruction, {statistics.median(memory['start_mib']):.1f} MiB resident"


def step_qmp(run):
    """All of QMP, among it 5,000 query-status a second and clients that go in the middle of anything."""
    count, out = tap(run, ["tests/host/test_qmp.py", PROGRAM], 900)
    return f"{count} and {tap(run, ['tests/host/test_qmp_devices.py', PROGRAM], 900)[0]}; {re.search(r'[0-9]+ query-status a second', out)[0]}"


def step_hmp(run):
    """All of the human monitor."""
    return tap(run, ["tests/host/test_hmp.py", PROGRAM], 900)[0]


def step_libvirt(run):
    """Debian's libvirt starts, pauses, resets, stops a domain, plugs memory and vCPUs."""
    return each(run, "tests/boot/test_libvirt.py", {m: [m] for m in MACHINES}, 900)


def step_cpus(run):
    """vCPUs come by device_add and go with the guest's consent."""
    return each(run, "tests/boot/test_cpus.py", {m: ["-machine", m] for m in MACHINES}, 1200)


def step_virtio(run):
    """virtio-mem, virtio-pmem, balloons and NVDIMMs with Debian's drivers."""
    cases = {"balloon": ["balloon", "-m", "512M"]}
    for m in MACHINES:
        cases.update({f"mem-{m}": ["mem", "-machine", m], f"pmem-{m}": ["pmem", "-machine", m], f"nvdimm-{m}": ["nvdimm", "-machine", f"{m},nvdimm=on"]})
    return each(run, "tests/boot/test_virtio.py", cases, 1000)


def step_suspend(run):
    """Suspend to RAM, and waking by the monitor."""
    return each(run, "tests/boot/test_suspend.py", {m: ["-machine", m] for m in MACHINES}, 600)


def step_fuzz_build(run):
    """The fuzzers build with libFuzzer, ASan and UBSan."""
    return build_fuzzers(run, FUZZERS)


def fuzz_step(name):
    """Ten minutes of one fuzzer under ASan and UBSan."""
    def step(run):
        seconds, runs = fuzz(run, name, name, r"^stat::number_of_executed_units: *(\d+)", r"ERROR|runtime error|SUMMARY", ["-print_final_stats=1"])
        return f"{seconds} s, {runs[1]} runs"
    return step


for _name in FUZZERS:
    globals()["step_fuzz_" + _name] = fuzz_step(_name)


if __name__ == "__main__":
    sys.exit(main(__doc__, "control", steps_of(dict(globals()))))
