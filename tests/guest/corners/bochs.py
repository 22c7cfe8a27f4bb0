#!/usr/bin/env python3
"""Runs a bare-metal program in Bochs, from a floppy disk made for it, and prints what it writes to the first serial port. For
comparison only: Bochs is not needed to build or test. Usage: bochs.py PROGRAM.elf [--cpu MODEL] [--cpus N] [--timeout S]"""

import argparse
import os
import pty
import select
import struct
import subprocess
import sys
import tempfile
import time

RC = """
config_interface: textconfig
display_library: term
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model={cpu}, count={cpus}, ips=50000000, reset_on_triple_fault=0
memory: guest=128, host=128
floppya: 1_44={floppy}, status=inserted
boot: floppy
com1: enabled=1, mode=file, dev={serial}
speaker: enabled=0
log: {log}
panic: action=fatal
error: action=report
"""


def floppy(elf, tmp):
    sector = os.path.join(tmp, "boot")
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "floppy.S")
    subprocess.run(["gcc", "-m32", "-nostdlib", "-nostartfiles", "-static", "-no-pie", "-Wl,--build-id=none,-Ttext=0,--oformat=binary",
                    "-o", sector, source], check=True)
    image = os.path.join(tmp, "image")
    subprocess.run(["objcopy", "-O", "binary", elf, image], check=True)
    with open(sector, "rb") as f:
        boot = bytearray(f.read()[:512])
    with open(image, "rb") as f:
        code = f.read()
    with open(elf, "rb") as f:
        head = f.read(28)
    sectors = (len(code) + 511) // 512
    assert sectors * 512 <= 0x80000, "too large for the loader"
    boot[502:510] = struct.pack("<HHI", sectors, 0, struct.unpack_from("<I", head, 24)[0])
    path = os.path.join(tmp, "floppy.img")
    with open(path, "wb") as f:
        f.write((bytes(boot) + code).ljust(1474560, b"\0"))
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("elf")
    parser.add_argument("--cpu", default="corei7_skylake_x")
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=120)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as tmp:
        rc, log, serial = (os.path.join(tmp, name) for name in ("bochsrc", "log", "serial"))
        with open(rc, "w") as f:
            f.write(RC.format(cpu=args.cpu, cpus=args.cpus, floppy=floppy(args.elf, tmp), log=log, serial=serial))
        commands = os.path.join(tmp, "commands") # for its debugger
        with open(commands, "w") as f:
            f.write("c\nq\n")
        # Its terminal display wants a terminal.
        master, slave = pty.openpty()
        process = subprocess.Popen(["bochs", "-q", "-f", rc, "-rc", commands], stdin=slave, stdout=slave, stderr=slave,
                                   env={**os.environ, "TERM": "vt100"})
        os.close(slave)
        until = time.monotonic() + args.timeout
        while process.poll() is None and time.monotonic() < until:
            try:
                if select.select([master], [], [], 0.2)[0]:
                    os.read(master, 65536)
            except OSError:
                break
        process.kill()
        process.wait()
        with open(serial, errors="replace") as f:
            text = f.read()
        print(text, end="")
        if "\n1.." not in text:
            print("# it did not come to its end; the log's last lines:")
            with open(log, errors="replace") as f:
                print("".join(f"# {line}" for line in [l for l in f.readlines() if "PANIC" in l or ">>" in l or "e[" in l or "p[" in l]))


if __name__ == "__main__":
    sys.exit(main())
