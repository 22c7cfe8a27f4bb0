#!/usr/bin/env python3
"""Acceptance of "First boot", line by line, on a fresh clone. Resumable: steps that passed on this commit are not run
again. Each result goes to the log with commit, step, figure and time.

Usage: tests/accept/first-boot.py [--log FILE] [--work DIR] [STEP...]"""

import argparse
import datetime
import os
import pty
import re
import select
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FUZZ = ["fuzz_options", "fuzz_json", "fuzz_loader"]  # the loader's covers the multiboot header


class Failed(Exception):
    pass


def sh(command, cwd, timeout, check=True):
    run = subprocess.run(command, cwd=cwd, shell=isinstance(command, str), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, timeout=timeout, text=True, errors="replace")
    if check and run.returncode:
        raise Failed(f"{command}: status {run.returncode}: ...{run.stdout[-1500:]}")
    return run.stdout


class Terminal:
    """A program on a pseudo terminal, to be typed at."""

    def __init__(self, command, cwd):
        self.pid, self.fd = pty.fork()
        if not self.pid:
            os.chdir(cwd)
            os.execvp(command[0], command)
        self.text = ""

    def expect(self, pattern, timeout):
        end = time.monotonic() + timeout
        while not re.search(pattern, self.text):
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise Failed(f"no '{pattern}' in: ...{self.text[-800:]}")
            try:
                self.text += os.read(self.fd, 65536).decode(errors="replace")
            except OSError:
                raise Failed(f"ended before '{pattern}': ...{self.text[-800:]}") from None
        text, self.text = self.text, ""
        return text

    def send(self, line):
        os.write(self.fd, line.encode() + b"\n")

    def status(self, timeout):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    os.read(self.fd, 65536)
                except OSError:
                    pass
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
        raise Failed("did not end")


def step_run(clone):
    """`make run` reaches a shell in which things look right, and poweroff ends it with status 0."""
    start = time.monotonic()
    terminal = Terminal(["make", "run"], clone)
    terminal.expect(r"quern:/root# ", 900)
    elapsed = time.monotonic() - start
    for command, pattern in (("cat /proc/cpuinfo", r"model name"), ("free", r"Mem: +4\d{5}"), ("dmesg | head -n 3", r"Linux version 6\.1"),
                             ("dmesg | grep -c -e WARNING: -e BUG: -e 'Call Trace'", r"\n0\r")):
        terminal.send(command)
        terminal.expect(pattern, 30)
        terminal.expect(r"quern:/root# ", 30)
    terminal.send("poweroff")
    status = terminal.status(60)
    if status:
        raise Failed(f"status {status}")
    return f"shell after {elapsed:.0f} s, poweroff status 0"


def step_test(clone):
    start = time.monotonic()
    out = sh(["make", "test"], clone, 3600, check=False)
    elapsed = time.monotonic() - start
    last = out.strip().splitlines()[-1]
    if not re.fullmatch(r"make.*|\d+ passed, 0 failed, \d+ skipped", last) or " 0 failed" not in out or elapsed > 900:
        raise Failed(f"{last} after {elapsed:.0f} s: {out[-1500:]}")
    return f"{last}; {elapsed:.0f} s"


def step_boots(clone):
    figures = []
    for machine, limit in (("pc", 180), ("pc,unpack-kernel=on", 60)):
        for cpu in ("qemu64", "max"):
            for smp in ("1", "2"):
                out = sh(["tests/boot/test_boot.py", "build/qemu-system-x86_64", str(limit), smp, "-cpu", cpu, "-machine", machine], clone, 600)
                figures.append(f"{machine} {cpu} smp{smp}: " + re.search(r"# ([\d.]+ s)", out).group(1))
    return "; ".join(figures)


def step_time(clone):
    out = sh(["tests/boot/test_time.py", "build/qemu-system-x86_64", "-machine", "pc,unpack-kernel=on"], clone, 900)
    return "; ".join(line[2:] for line in out.splitlines() if line.startswith("# "))


def step_instructions(clone):
    report = os.path.join(clone, "build", "instructions.txt")
    sh(["build/tests/insn/insn-test", "--report", report, "--count", "200"], clone, 3600)
    with open(report) as f:
        return f.read().strip().splitlines()[-1]


def step_programs(clone):
    sh(["tests/guest/test_programs.py", "build/qemu-system-x86_64", "build/tests/guest/rom.bin", "build/tests/guest/multiboot.elf"], clone, 300)
    sh(["tests/debug/test_gdb.py", "build/qemu-system-x86_64", "build/tests/guest/multiboot.elf"], clone, 600)
    return "ROM, isa-debug-exit and gdb hold"


def step_startup(clone):
    out = sh(["bench/run.py", "startup"], clone, 300)
    ms, mib = re.search(r"quern +([\d.]+) ms.* ([\d.]+) MiB", out).groups()
    if float(ms) >= 15 or float(mib) >= 20:
        raise Failed(out)
    return f"{ms} ms, {mib} MiB"


def step_wrong(clone):
    out = sh(["tests/cmdline/test_wrong.py", "build/qemu-system-x86_64"], clone, 300)
    return f"{out.count('ok ')} wrong command lines"


def step_fuzz(clone):
    build = os.path.join(clone, "build-fuzz")
    if not os.path.exists(build):
        sh("CC=clang meson setup build-fuzz -Dfuzz=true", clone, 300)
    sh(["ninja", "-C", build], clone, 1800)
    figures = []
    for target in FUZZ:
        corpus = os.path.join(build, "corpus-" + target)
        os.makedirs(corpus, exist_ok=True)
        out = sh([os.path.join(build, "tests", "fuzz", target), corpus, os.path.join(clone, "tests", "fuzz", "corpus", target[5:]),
                  "-max_total_time=600", "-print_final_stats=1", "-artifact_prefix=" + build + "/"], clone, 900)
        figures.append(f"{target}: {re.search(r'number_of_executed_units: (.*)', out).group(1)} runs")
    return "; ".join(figures)


STEPS = {name[5:]: function for name, function in list(globals().items()) if name.startswith("step_")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", default=os.path.join(TOP, "build", "accept-first-boot.log"))
    parser.add_argument("--work", default=os.path.join(TOP, "build", "accept"), help="where the fresh clone goes")
    parser.add_argument("steps", nargs="*", choices=[[], *STEPS], help="default: all")
    args = parser.parse_args()

    commit = sh(["git", "rev-parse", "--short", "HEAD"], TOP, 10).strip()
    clone = os.path.join(args.work, commit)
    if not os.path.exists(clone):
        os.makedirs(args.work, exist_ok=True)
        sh(["git", "clone", "-q", TOP, clone], TOP, 60)
    proven = open(args.log).read() if os.path.exists(args.log) else ""
    failed = False
    for name in args.steps or STEPS:
        if f"{commit} {name} passed" in proven:
            continue
        try:
            result = "passed: " + STEPS[name](clone)
        except (Failed, subprocess.TimeoutExpired, AttributeError) as problem:
            failed, result = True, f"failed: {problem}"
        line = f"{commit} {name} {result} [{datetime.datetime.now():%Y-%m-%d %H:%M}]"
        print(line, flush=True)
        with open(args.log, "a") as log:
            log.write(line.replace("\n", " | ") + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
