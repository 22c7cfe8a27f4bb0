#!/usr/bin/env python3
"""gdb attaches, breaks, steps, reads and writes, and detaches. Usage: test_gdb.py PROGRAM MULTIBOOT

First a bare-metal kernel with symbols, then Debian's kernel at a fixed address (nokaslr)."""

import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "boot"))
from guest import cached  # noqa: E402


class Machine:
    """Quern with a gdb socket, stopped at its first instruction; killed at the end when it still runs."""

    def __init__(self, program, *options, accel="tcg"):
        self.tmp = tempfile.TemporaryDirectory()
        self.socket = os.path.join(self.tmp.name, "gdb")
        self.process = subprocess.Popen([program, "-accel", accel, "-nodefaults", "-display", "none", "-S", "-gdb", f"unix:{self.socket},server=on,wait=off", *options],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def gdb(self, *commands, symbols=None, timeout=120):
        arguments = ["gdb", "-nx", "-batch", *(["--symbols=" + symbols] if symbols else []), "-ex", "set architecture i386:x86-64"]
        for command in (f"target remote {self.socket}", *commands):
            arguments += ["-ex", command]
        while not os.path.exists(self.socket):
            if self.process.poll() is not None:
                raise AssertionError(self.process.stderr.read())
        run = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout)
        return run.stdout.decode() + run.stderr.decode()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.kill()
        self.process.communicate()
        self.tmp.cleanup()


def expect(text, *patterns):
    for pattern in patterns:
        assert re.search(pattern, text, re.MULTILINE), f"no '{pattern}' in:\n{text}"


def bare_metal(program, kernel, accel="tcg"):
    with Machine(program, "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel", kernel, accel=accel) as machine:
        # gdb wants symbols of the target's own architecture, which is always the 64-bit one.
        symbols = os.path.join(machine.tmp.name, "symbols")
        subprocess.run(["objcopy", "-O", "elf64-x86-64", kernel, symbols], check=True)
        text = machine.gdb("break finish", "continue", "info registers rip rdi", "stepi", "print/x $rax", "set var $rdx = 7",
                           "print $rdx", "x/4xb &finish", "delete", "detach", symbols=symbols)
        expect(text, r"Breakpoint 1, .*finish", r"^rdi +0x0 ", r"\$1 = 0x0", r"\$2 = 7", r"<finish>:.*0x89", r"[Dd]etach")
        assert machine.process.wait(timeout=30) == 1, "after detach the kernel ends the machine"


def numbers_with_gaps(program):
    """A thread's number is its vCPU's, also where some vCPUs are not there."""
    with Machine(program, "-smp", "1,maxcpus=4", "-device", "qemu64-x86_64-cpu,socket-id=0,core-id=2,thread-id=0") as machine:
        text = machine.gdb("info threads", "thread 2", "info registers rip", "detach")
        expect(text, r"1 +Thread 1 \(CPU#0", r"2 +Thread 3 \(CPU#2 \[halted", r"^rip +0xfff0")
        assert "CPU#1" not in text and "CPU#3" not in text, text


def debian_kernel(program):
    """startup_64 is at its physical link address when nothing moves the kernel; after detach the boot goes on."""
    with Machine(program, "-m", "512M", "-cpu", "max", "-machine", "pc,unpack-kernel=on", "-kernel", cached("fetch-kernel.sh"),
                 "-serial", "stdio", "-append", "nokaslr earlyprintk=serial console=ttyS0") as machine:
        text = machine.gdb("break *0x1000000", "continue", "info registers rip cr0 cs", "stepi", "stepi", "info registers rip", "delete", "detach")
        expect(text, r"Breakpoint 1, 0x0*1000000 in", r"^rip +0x1000000 ", r"^cr0 .*PG", r"[Dd]etach")
        for line in machine.process.stdout:
            if b"Linux version" in line:
                return
        raise AssertionError("the kernel did not go on after detach")


def main():
    program, kernel = (os.path.abspath(p) for p in sys.argv[1:3])
    failures = 0
    tests = [("bare metal", lambda: bare_metal(program, kernel)), ("numbers with gaps", lambda: numbers_with_gaps(program)), ("debian kernel", lambda: debian_kernel(program))]
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        tests.append(("bare metal under kvm", lambda: bare_metal(program, kernel, "kvm")))
    for number, (name, test) in enumerate(tests, 1):
        try:
            test()
            print(f"ok {number} - {name}")
        except (AssertionError, subprocess.TimeoutExpired) as problem:
            failures += 1
            print(f"not ok {number} - {name}\n# " + str(problem).replace("\n", "\n# "))
    print(f"1..{len(tests)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
