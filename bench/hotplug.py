"""Memory that grows: how long vCPUs stand still while 16 GiB are plugged in, and what a start with 64 GiB costs.

A bare-metal guest (tests/guest/gaps.c) watches its TSC and a device's register. It is asked before and after each
object-add and device_add, and as often without one: what the host takes for other work shows there too. What counts is
what happened while the vCPU's thread did not wait for a CPU."""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "host"))
from qmp import Client  # noqa: E402

GIB = 1 << 30
TIMEOUT = 60
WAITED = 0.2  # milliseconds that a vCPU's thread may have waited for a CPU in a measurement that counts
ENOUGH = 4  # of these are enough


class Guest:
    """The guest program, with a QMP monitor and its serial port."""

    def __init__(self, program, kernel, options):
        self.folder = tempfile.TemporaryDirectory()
        qmp, serial = (os.path.join(self.folder.name, name) for name in ("qmp", "serial"))
        self.process = subprocess.Popen(
            [program, "-accel", "tcg", "-nodefaults", "-display", "none", "-kernel", kernel, "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
             "-qmp", f"unix:{qmp},server=on,wait=off", "-chardev", f"socket,id=serial,path={serial},server=on,wait=off", "-serial", "chardev:serial", *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.data = b""
        try:
            self.qmp = Client(qmp)
            self.serial = socket.socket(socket.AF_UNIX)
            self.serial.settimeout(TIMEOUT)
            self.serial.connect(serial)
            self.hz = self.numbers("# hz ")[0]
            self.thread = self.qmp.ask("query-cpus-fast")[0]["thread-id"]
        except BaseException:
            self.close()
            raise

    def numbers(self, start):
        """The numbers of the next line that begins like that."""
        while True:
            line, end, rest = self.data.partition(b"\n")
            if end:
                self.data = rest
                if line.decode().startswith(start):
                    return [int(n) for n in line[len(start):].split()]
                continue
            piece = self.serial.recv(4096)
            if not piece:
                raise RuntimeError("the guest has ended")
            self.data += piece

    def longest(self):
        """Milliseconds it did not run or an access took, at most, since the last question."""
        self.serial.sendall(b".")
        return 1000 * max(self.numbers("# longest ")) / self.hz

    def waited(self):
        """Milliseconds that the vCPU's thread has waited for a CPU so far."""
        with open(f"/proc/{self.process.pid}/task/{self.thread}/schedstat", encoding="ascii") as f:
            return int(f.read().split()[1]) / 1e6

    def during(self, action):
        """(The longest stall, how long its thread waited for a CPU) while action() runs; milliseconds."""
        self.longest()
        before = self.waited()
        action()
        return self.longest(), self.waited() - before

    def close(self):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


def plug(program, kernel, count, size):
    """What during() says of `count` modules plugged in, and of as much time without each."""
    guest = Guest(program, kernel, ["-m", f"128M,slots={count},maxmem={count * size // GIB + 1}G"])

    def add(n):
        guest.qmp.ask_with("object-add", {"qom-type": "memory-backend-ram", "id": f"m{n}", "size": size, "reserve": False})
        guest.qmp.ask_with("device_add", {"driver": "pc-dimm", "id": f"d{n}", "memdev": f"m{n}"})
    try:
        plugged, quiet = [], []
        for n in range(count):
            begin = time.monotonic()
            plugged.append(guest.during(lambda: add(n)))  # pylint: disable=cell-var-from-loop
            seconds = time.monotonic() - begin
            quiet.append(guest.during(lambda: time.sleep(seconds)))  # pylint: disable=cell-var-from-loop
        return plugged, quiet
    finally:
        guest.close()


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(status.read().split("VmRSS:")[1].split()[0]) / 1024


def start(program, kernel, memory):
    """Milliseconds from exec to the first instruction of a multiboot kernel, and MiB resident then."""
    begin = time.perf_counter()
    process = subprocess.Popen([program, "-accel", "tcg", "-nodefaults", "-display", "none", "-kernel", kernel, "-debugcon", "stdio", "-m", memory,
                                "-object", f"memory-backend-ram,id=all,size={memory},reserve=off", "-machine", "memory-backend=all"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        first = process.stdout.read(1)
        return (time.perf_counter() - begin) * 1000, resident(process.pid) if first == b"!" else None
    finally:
        process.kill()
        process.wait()


def report(program, kernels, say, modules=32, runs=15):
    """Prints all of it; the figures and what went wrong."""
    say("memory: 16 GiB plugged in, and 64 GiB at the start")
    figures, problems = {}, []
    for name, text, values in zip(("stall_ms", "quiet_ms"), ("16 GiB more", "as long without"), plug(program, os.path.join(kernels, "gaps.elf"), modules, 16 * GIB)):
        count = [stall for stall, waited in values if waited <= WAITED]
        note = f"; {modules - len(count)} more in which it waited for a CPU do not count" if len(count) < modules else ""
        if len(count) < ENOUGH:
            count, note = [stall for stall, _ in values], "; THE HOST WAS BUSY: it waited for a CPU"
        figures[name] = count
        say(f"  {text:15} the vCPU stands still for {max(count):.3f} ms at most, {statistics.median(count):.3f} ms in the median, "
            f"{min(count):.3f} ms at least ({len(count)} times{note})")
    starts = [start(program, os.path.join(kernels, "multiboot.elf"), "64G") for _ in range(runs)]
    figures["start_ms"], figures["start_mib"] = [ms for ms, _ in starts], [mib for _, mib in starts if mib is not None]
    if len(figures["start_mib"]) < runs:
        problems.append("64 GiB: the kernel did not start")
    else:
        say(f"  {'64 GiB, a start':15} {statistics.median(figures['start_ms']):.1f} ms to the first instruction, {statistics.median(figures['start_mib']):.1f} MiB resident")
    return figures, problems
