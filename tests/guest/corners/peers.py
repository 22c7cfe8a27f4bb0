#!/usr/bin/env python3
"""Runs the corner programs in Debian's Bochs and qemu-system-x86_64 (TCG), and lists each check whose result there is not ours:
what they did, and why ours is right, from disagreements.txt. Fails when a disagreement is not in that table, or ours has a
check that fails. Usage: peers.py [--build DIR] [--peer bochs|qemu] [--program legacy|long] [--show CHECK] [--all]"""

import argparse
import fnmatch
import os
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PROGRAMS = {"legacy": 1, "long": 2}  # and how many vCPUs
STALL = 40  # seconds without output: the peer hangs
START = 200  # and before the first

BOCHS_RC = """
config_interface: textconfig
display_library: term
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model={cpu}, count={cpus}, ips=10000000, reset_on_triple_fault=0
memory: guest=128, host=128
floppya: 1_44={floppy}, status=inserted
boot: floppy
com1: enabled=1, mode=file, dev={serial}
speaker: enabled=0
log: {log}
panic: action=fatal
error: action=report
"""


def make_floppy(elf, tmp, command):
    """A floppy disk that does what a multiboot loader would, with a command line."""
    sector, image = os.path.join(tmp, "boot"), os.path.join(tmp, "image")
    subprocess.run(["gcc", "-m32", "-nostdlib", "-nostartfiles", "-static", "-no-pie", "-Wl,--build-id=none,-Ttext=0,--oformat=binary",
                    "-o", sector, os.path.join(HERE, "floppy.S")], check=True)
    subprocess.run(["objcopy", "-O", "binary", elf, image], check=True)
    with open(sector, "rb") as f:
        boot = bytearray(f.read()[:512])
    with open(image, "rb") as f:
        code = f.read()
    with open(elf, "rb") as f:
        head = f.read(28)
    sectors = (len(code) + 511) // 512
    assert sectors * 512 <= 0x80000, "too large for the loader"
    text = command.encode() + b"\0"
    assert 380 + len(text) <= 500
    boot[380:380 + len(text)] = text
    boot[500:502] = struct.pack("<H", sectors)
    boot[504:508] = head[24:28]
    path = os.path.join(tmp, "floppy.img")
    with open(path, "wb") as f:
        f.write((bytes(boot) + code).ljust(1474560, b"\0"))
    return path


def run_bochs(elf, cpus, command, cpu):
    with tempfile.TemporaryDirectory() as tmp:
        rc, log, serial, commands = (os.path.join(tmp, name) for name in ("bochsrc", "log", "serial", "commands"))
        with open(rc, "w") as f:
            f.write(BOCHS_RC.format(cpu=cpu, cpus=cpus, floppy=make_floppy(elf, tmp, command), log=log, serial=serial))
        with open(commands, "w") as f:  # for its debugger
            f.write("c\nq\n")
        open(serial, "w").close()
        master, slave = pty.openpty()  # its terminal display wants a terminal
        process = subprocess.Popen(["bochs", "-q", "-f", rc, "-rc", commands], stdin=slave, stdout=slave, stderr=slave,
                                   env={**os.environ, "TERM": "vt100"})
        os.close(slave)
        size, since = 0, time.monotonic()
        while process.poll() is None and time.monotonic() < since + (STALL if size else START):
            try:
                if select.select([master], [], [], 0.1)[0]:
                    os.read(master, 65536)
            except OSError:
                break
            now = os.path.getsize(serial)
            if now != size:
                size, since = now, time.monotonic()
        process.kill()
        process.wait()
        os.close(master)
        with open(serial, errors="replace") as f:
            return f.read()


def run_qemu(elf, cpus, command, cpu, program="/usr/bin/qemu-system-x86_64"):
    process = subprocess.Popen([program, "-accel", "tcg", "-nodefaults", "-display", "none", "-no-reboot", "-cpu", cpu, "-smp", str(cpus),
                                "-m", "128", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-debugcon", "stdio", "-kernel", elf,
                                "-append", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    text = b""
    while select.select([process.stdout], [], [], STALL)[0]:
        piece = os.read(process.stdout.fileno(), 65536)
        if not piece:
            break
        text += piece
    process.kill()
    process.wait()
    return text.decode(errors="replace")


class Results:
    """What one peer made of one program: by check, "ok", "skip" or what it did."""

    def __init__(self):
        self.checks = {}
        self.twice = set()

    def add(self, text):
        """Reads one run's output. Returns the number of the case in which it stopped, or None at the end."""
        case, name, last = None, None, None
        lines = text.splitlines()
        details = []
        for line in lines:
            if match := re.match(r"# case (\d+) (\S+)", line):
                case, name, details = int(match[1]), match[2], []
            elif match := re.match(r"(ok|not ok) (\d+) - (\S+): (.*)", line):
                if match[2] == "0":
                    break  # an unexpected exception
                last = match[3]
                if last in self.checks:
                    self.twice.add(last)
                self.checks[last] = "skip" if "# SKIP" in line else "ok" if match[1] == "ok" else "; ".join(details) or "not ok"
                details = []
            elif line.startswith("# "):
                if last and self.checks[last] == "not ok":
                    self.checks[last] = line[2:]
                else:
                    details.append(line[2:])
            elif line.startswith("1.."):
                return None
        if case is None:
            raise SystemExit(f"the program does not start:\n{text[-2000:]}")
        if self.checks.get(name) in (None, "ok", "not ok") or name == last:
            self.checks[name] = "the machine stops"
        return case


def results_of(run, elf, cpus, cpu):
    results, start = Results(), 0
    while True:
        stopped = results.add(run(elf, cpus, f"cpus={cpus} trace=1 from={start}", cpu))
        if stopped is None:
            return results
        print(f"# {os.path.basename(elf)}: stops in case {stopped}", file=sys.stderr)
        start = stopped + 1


def read_table(path):
    rows = []
    with open(path) as f:
        for number, line in enumerate(f, 1):
            if line.strip() and not line.startswith("#"):
                fields = [field.strip() for field in line.split("|")]
                if len(fields) != 4 or not all(fields):
                    raise SystemExit(f"{path}:{number}: not `check | peer | paragraph | sentence`")
                rows.append((number, *fields))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--peer", choices=["bochs", "qemu"])
    parser.add_argument("--program", choices=list(PROGRAMS))
    parser.add_argument("--bochs-cpu", default="corei7_skylake_x")
    parser.add_argument("--qemu-cpu", default="max")
    parser.add_argument("--all", action="store_true", help="agreeing checks too")
    args = parser.parse_args()
    table = read_table(os.path.join(HERE, "disagreements.txt"))
    used, uncited, failed = set(), 0, 0
    ours_program = os.path.join(args.build, "qemu-system-x86_64")
    for program, cpus in PROGRAMS.items():
        if args.program not in (None, program):
            continue
        elf = os.path.join(args.build, f"tests/guest/corners-{program}.elf")
        ours = results_of(lambda *a: run_qemu(*a, program=ours_program), elf, cpus, "max")
        for check in ours.twice:
            print(f"{check}: two checks of that name")
            failed += 1
        for check, result in ours.checks.items():
            if result not in ("ok", "skip"):
                print(f"{check}: ours fails: {result}")
                failed += 1
        for peer, run, cpu in ("bochs", run_bochs, args.bochs_cpu), ("qemu", run_qemu, args.qemu_cpu):
            if args.peer not in (None, peer):
                continue
            theirs = results_of(run, elf, cpus, cpu)
            agree = differ = missing = 0
            for check in {**ours.checks, **theirs.checks}:
                mine, other = ours.checks.get(check), theirs.checks.get(check)
                if other in (None, "skip"):
                    missing += 1
                    continue
                if other == "ok":
                    agree += 1
                    if args.all:
                        print(f"{check} | {peer} | agrees")
                    continue
                differ += 1
                row = next((r for r in table if r[2] == peer and fnmatch.fnmatchcase(check, r[1])), None)
                if row:
                    used.add(row[0])
                    print(f"{check} | ours: {mine or 'not for our model'} | {peer}: {other} | {row[3]}: {row[4]}")
                else:
                    uncited += 1
                    print(f"{check} | ours: {mine or 'not for our model'} | {peer}: {other} | NO CITATION")
            print(f"# {program} in {peer}: {agree} checks agree, {differ} differ, {missing} are not for it or were not reached")
    if args.peer is None and args.program is None:
        for row in table:
            if row[0] not in used:
                print(f"# disagreements.txt:{row[0]}: {row[1]} in {row[2]}: they agree now")
    print(f"# {uncited} disagreements without a citation, {failed} checks fail in ours")
    return 1 if uncited or failed else 0


if __name__ == "__main__":
    sys.exit(main())
