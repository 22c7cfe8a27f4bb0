"""16-bit code and segments with bases and limits: bench/kernels/segments.S in Quern and in QEMU (TCG).

The kernel runs its rows by itself and writes a line before and after each; times are the processor time that the
process has used in between, of all its threads. What a row computes must be the same everywhere."""

import os
import select
import statistics
import subprocess
import tempfile
import time

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "kernels")
COMPILER = ("gcc", "-std=gnu17", "-O2", "-march=i686", "-mno-sse", "-ffreestanding", "-fno-pie", "-fno-stack-protector",
            "-fcf-protection=none", "-fno-asynchronous-unwind-tables", "-fno-jump-tables", "-fno-tree-loop-distribute-patterns",
            "-Wall", "-Wextra", "-Werror", "-c")
OPTIONS = ("-nodefaults", "-display", "none", "-m", "64M", "-debugcon", "stdio")
MAX_SECONDS = 300  # of one run


def build(folder):
    """The kernel, made in `folder`."""
    source, parts = os.path.join(HERE, "segments.c"), [os.path.join(folder, name) for name in ("start.o", "work32.o", "work16.o")]
    kernel = os.path.join(folder, "segments.elf")
    for command in (("gcc", "-m32", "-c", os.path.join(HERE, "segments.S"), "-o", parts[0]),
                    COMPILER + ("-m32", "-DWORK=work", "-DPLACE=", source, "-o", parts[1]),
                    COMPILER + ("-m16", "-DWORK=work16", '-DPLACE=__attribute__((section(".text16")))', source, "-o", parts[2]),
                    ("ld", "-m", "elf_i386", "--no-warn-execstack", "--no-warn-rwx-segments", "--build-id=none", "-T",
                     os.path.join(HERE, "segments.ld"), "-o", kernel, *parts)):
        subprocess.run(command, check=True)
    return kernel


def processor_seconds(pid):
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/schedstat", encoding="ascii") as stat:
                total += int(stat.read().split()[0])
        except OSError:
            pass  # it has ended
    return total / 1e9


def run_once(command):
    """{row: (processor seconds, checksum)} in the order of the rows."""
    rows, begin, pending, end = {}, 0.0, b"", time.monotonic() + MAX_SECONDS
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        while True:
            if not select.select([process.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
                raise RuntimeError(f"{command[0]}: still not done after {MAX_SECONDS} s")
            data = os.read(process.stdout.fileno(), 4096)
            if not data:
                raise RuntimeError(f"{command[0]} ended early")
            now = processor_seconds(process.pid)
            *lines, pending = (pending + data).split(b"\n")
            for line in lines:
                kind, *words = line.decode().split()
                if kind == "D":
                    return rows
                if kind == "E":
                    rows[words[0]] = (now - begin, words[1])
                begin = now
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def report(systems, args, say):
    """Prints the least time of each row on each system and the ratios, and returns them, and what went wrong."""
    problems, runs = [], {s.name: [] for s in systems}
    with tempfile.TemporaryDirectory() as folder:
        kernel = build(folder)
        for _ in range(args.rounds):
            for system in systems:
                runs[system.name].append(run_once([system.program, *system.options, *OPTIONS, "-kernel", kernel]))
    say(f"16-bit code and segments, processor seconds, the least of {args.rounds} rounds")
    table, ratios = {}, []
    for row in runs[systems[0].name][0]:
        times = {name: min(rows[row][0] for rows in rounds) for name, rounds in runs.items()}
        if len({rows[row][1] for rounds in runs.values() for rows in rounds}) != 1:
            problems.append(f"segments, {row}: the systems do not compute the same")
        text = "".join(f" {name} {seconds:7.3f}" for name, seconds in times.items())
        if len(times) == 2:
            ratios.append(times["tcg"] / times["quern"])
            text += f"   {ratios[-1]:6.2f} times TCG's speed"
        say(f"  {row:16}{text}")
        table[row] = times
    if ratios:
        say(f"  {'geometric mean':16} {statistics.geometric_mean(ratios):6.2f}, least {min(ratios):.2f}")
    return table, problems
