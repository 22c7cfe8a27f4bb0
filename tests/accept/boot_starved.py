#!/usr/bin/env python3
"""Boots Debian's kernel through its check of the timer while the program is stopped most of the time, as on a busy host, or beside
busy loops of a higher priority on the same CPU.

Usage: boot_starved.py PROGRAM [--runs N] [--on SECONDS] [--off SECONDS] [--machine OPTIONS] [--beside LOOPS]

A run is "clean", "warned" (the I/O APIC's timer was taken for broken, another way was found), or "stopped". Ends with a
line of JSON; fails when a run has stopped."""

import argparse
import collections
import json
import os
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "boot"))
from guest import cached  # noqa: E402

BEGIN, END = b"NR_IRQS", b"pid_max"
WARNED, STOPPED = b"8254 timer not connected", b"timer doesn't work"


class Starver(threading.Thread):
    """Stops and continues a process from begin() to end()."""

    def __init__(self, pid, on, off):
        super().__init__()
        self.pid, self.on, self.off = pid, on, off
        self.wanted, self.over = threading.Event(), threading.Event()

    def run(self):
        self.wanted.wait()
        while not self.over.is_set():
            os.kill(self.pid, signal.SIGSTOP)
            time.sleep(self.off)
            os.kill(self.pid, signal.SIGCONT)
            self.over.wait(self.on)

    def end(self):
        self.over.set()
        self.wanted.set()
        self.join()


class Loops:
    """Busy loops on one CPU, which the program shares with them at a lower priority."""

    def __init__(self, n):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        self.all = [subprocess.Popen(["nice", "-n", "5", sys.executable, "-c", "while True: pass"]) for _ in range(n)]

    def end(self):
        for loop in self.all:
            loop.kill()
            loop.wait()


def boot(program, on, off, machine, beside, limit=300):
    process = subprocess.Popen([*(["nice", "-n", "12"] if beside else []), program, "-accel", "tcg", "-machine", machine, "-m", "512M", "-cpu", "qemu64", "-nographic", "-kernel",
                                cached("fetch-kernel.sh"), "-initrd", cached("make-initramfs.sh"), "-append",
                                "console=ttyS0 earlyprintk=ttyS0 script=check"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    starver = Starver(process.pid, on, off)
    starver.start()
    watchdog = threading.Timer(limit, process.kill)
    watchdog.start()
    result = "stopped"
    warned = False
    for line in process.stdout:
        if BEGIN in line and not beside:
            starver.wanted.set()
        warned |= WARNED in line
        if END in line:
            result = "warned" if warned else "clean"
        if END in line or STOPPED in line:
            break
    starver.end()
    watchdog.cancel()
    process.kill()
    process.communicate()
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--runs", type=int, default=6)
    parser.add_argument("--on", type=float, default=0.01)
    parser.add_argument("--off", type=float, default=0.04)
    parser.add_argument("--machine", default="pc,unpack-kernel=on")
    parser.add_argument("--beside", type=int, default=0)
    args = parser.parse_args()
    results = collections.Counter()
    loops = Loops(args.beside) if args.beside else None
    try:
        for _ in range(args.runs):
            result = boot(args.program, args.on, args.off, args.machine, args.beside)
            print(result, flush=True)
            results[result] += 1
    finally:
        if loops:
            loops.end()
    print(json.dumps({"runs": args.runs, **results}))
    return 1 if results["stopped"] else 0


if __name__ == "__main__":
    sys.exit(main())
