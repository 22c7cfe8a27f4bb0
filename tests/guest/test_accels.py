#!/usr/bin/env python3
"""The same bare-metal programs under every accelerator. Usage: test_accels.py PROGRAM ROM MULTIBOOT INTERRUPTS

Each run has a time limit: some hosts' KVM only emulates."""

import os
import subprocess
import sys

ACCELS = ["tcg", "kvm", "kvm,kernel-irqchip=split", "kvm,kernel-irqchip=off", "kvm,dirty-ring-size=1024"]
STEPS = ["8259", "I/O APIC", "level", "timer", "self", "message", "second processor"]


def run(program, accel, *options):
    command = [program, "-accel", accel, "-cpu", "kvm64,check=off", "-nodefaults", "-display", "none", "-device",
               "isa-debug-exit,iobase=0xf4,iosize=4", "-debugcon", "stdio", *options]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)


def rom(program, accel, image):
    result = run(program, accel, "-bios", image)
    assert result.returncode == (0x21 << 1) | 1 and result.stdout == b"hello from f000:fff0\n", result


def multiboot(program, accel, kernel):
    result = run(program, accel, "-kernel", kernel, "-append", "one two")
    assert result.returncode == 1 and result.stdout == f"!{kernel} one two\n".encode(), result


def interrupts(program, accel, kernel):
    """A KVM that emulates need not tell of EOIs of level-triggered interrupts, which split needs."""
    level = "split" not in accel
    result = run(program, accel, "-smp", "2", "-kernel", kernel, *(["-device", "pc-testdev"] if level else []))
    steps = [step for step in STEPS if level or step != "level"]
    assert result.returncode == 1 and result.stdout.decode().splitlines() == steps + ["reset"] + steps, result


def why_no_kvm(program, image):
    """None, or the line with which -accel kvm ends."""
    result = run(program, "kvm", "-bios", image)
    line = result.stderr.decode().strip()
    return line if result.returncode == 1 and "-accel kvm: " in line else None


def main():
    program, *images = (os.path.abspath(p) for p in sys.argv[1:5])
    no_kvm = why_no_kvm(program, images[0])
    failures = number = 0
    for accel in ACCELS:
        for test, image in zip((rom, multiboot, interrupts), images):
            number += 1
            name = f"{number} - {test.__name__} under {accel}"
            if no_kvm and accel.startswith("kvm"):
                print(f"ok {name} # SKIP {no_kvm}")
                continue
            try:
                test(program, accel, image)
                print(f"ok {name}")
            except (AssertionError, subprocess.TimeoutExpired) as problem:
                failures += 1
                print(f"not ok {name}\n# {problem}")
    print(f"1..{number}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
