#!/usr/bin/env python3
"""The same bare-metal programs under every accelerator. Usage: test_accels.py PROGRAM ROM MULTIBOOT INTERRUPTS

Each run has a time limit: some hosts' KVM only emulates."""

import os
import pty
import re
import subprocess
import sys

ACCELS = ["tcg", "kvm", "kvm,kernel-irqchip=split", "kvm,kernel-irqchip=off", "kvm,dirty-ring-size=1024", "kvm,cpu-pm=on"]
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


def without_access(program, accel, image):
    """Somebody who may not open /dev/kvm is told why, and how to change that."""
    if os.geteuid() == 0:
        # Modes of device files do not hold root up. Who nobody is may not see the program either.
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        if os.path.exists("/dev/kvm") and os.stat("/dev/kvm").st_mode & 0o006:
            return "everybody may open /dev/kvm"
        if subprocess.run([*command, "test", "-x", program]).returncode:
            return "nobody may not start the program"
    elif os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "this user may open /dev/kvm"
    else:
        command = []
    result = subprocess.run([*command, program, "-accel", accel], stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    line = r"qemu-system-x86_64: -accel kvm: /dev/kvm (does not exist: |belongs to group |may be opened by its owner only; sudo )[^\n]*\n"
    assert result.returncode == 1 and re.fullmatch(line, result.stderr.decode()), result
    return None


def says_which(program, accel, image):
    """Without -accel a terminal hears which accelerator runs; with one, or without a terminal, nobody hears anything."""
    command = [program, "-nodefaults", "-display", "none", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-cpu", "max,check=off", "-kernel", image]
    for extra, pattern in (([], rb"qemu-system-x86_64: info: running on (tcg|kvm): [^\n]+\r\n"), (["-accel", accel], b"")):
        main_end, other_end = pty.openpty()
        result = subprocess.run([*command, *extra], stdin=subprocess.DEVNULL, stderr=other_end, timeout=60)
        os.close(other_end)
        try:
            text = os.read(main_end, 4096)
        except OSError:
            text = b""
        os.close(main_end)
        assert result.returncode == 1 and re.fullmatch(pattern, text), (result, text)
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert result.returncode == 1 and result.stderr == b"", result
    return None


def why_no_kvm(program, image):
    """None, or the line with which -accel kvm ends."""
    result = run(program, "kvm", "-bios", image)
    line = result.stderr.decode().strip()
    return line if result.returncode == 1 and "-accel kvm: " in line else None


def report(name, test):
    try:
        skipped = test()
        print(f"ok {name}" + (f" # SKIP {skipped}" if skipped else ""))
        return True
    except (AssertionError, subprocess.TimeoutExpired) as problem:
        print(f"not ok {name}\n# {problem}")
        return False


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
            failures += not report(name, lambda: test(program, accel, image))
    for test, accel, image in ((without_access, "kvm", None), (says_which, "tcg", images[1])):
        number += 1
        failures += not report(f"{number} - {test.__name__}", lambda: test(program, accel, image))
    print(f"1..{number}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
