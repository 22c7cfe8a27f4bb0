"""Start-up: from exec to the first guest instruction of a multiboot kernel, and memory resident beyond guest RAM."""

import re
import statistics
import subprocess
import time


def start_once(command):
    """Milliseconds until the kernel's first byte on the debug console, and KiB resident then, without guest RAM."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        first = process.stdout.read(1)
        elapsed = (time.perf_counter() - begin) * 1000
        resident = resident_kib(process.pid)
    finally:
        process.kill()
        process.wait()
    if first != b"!":
        raise RuntimeError(f"{command[0]} did not start the kernel")
    return elapsed, resident


def resident_kib(pid):
    """Resident memory apart from mappings of exactly the guest's RAM size (64 MiB)."""
    total, size = 0, 0
    with open(f"/proc/{pid}/smaps") as smaps:
        for line in smaps:
            if match := re.match(r"Size: +(\d+) kB", line):
                size = int(match.group(1))
            elif (match := re.match(r"Rss: +(\d+) kB", line)) and not 65536 <= size <= 65536 + 2048:
                total += int(match.group(1))
    return total


def measure(program, kernel, runs=15):
    command = [program, "-accel", "tcg", "-nodefaults", "-display", "none", "-m", "64M", "-kernel", kernel, "-debugcon", "stdio"]
    results = [start_once(command) for _ in range(runs)]
    return statistics.median(r[0] for r in results), statistics.median(r[1] for r in results)


def report(program, peer, kernel):
    print("start-up of a multiboot kernel (-nodefaults -display none)")
    figures = {}
    for name, path in (("quern", program), ("qemu-tcg", peer)):
        if path:
            figures[name] = measure(path, kernel)
            print(f"  {name:10} {figures[name][0]:8.1f} ms to the first instruction, {figures[name][1] / 1024:7.1f} MiB resident beyond RAM")
    if len(figures) == 2:
        print(f"  ratio      {figures['quern'][0] / figures['qemu-tcg'][0]:8.2f}")
    return figures
