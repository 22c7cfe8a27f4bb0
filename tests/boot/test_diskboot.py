#!/usr/bin/env python3
"""SeaBIOS boots from IDE disks and CD-ROMs; what boots reads and writes them by INT 13h (tests/guest/bootdisk.S).

Usage: test_diskboot.py PROGRAM BOOT-SECTOR [MACHINE]"""

import os
import struct
import subprocess
import sys
import tempfile
import time

FOLDER = "/usr/share/seabios/"
OVMF = "/usr/share/ovmf/OVMF.fd"
LIMIT = 60
SECTOR, BLOCK = 512, 2048
TEXTS = {1: b"sector one\n", 1000: b"sector 1000\n", 1001: b"sector 1001\n"}
READ = ["sector one", "sector 1000", "sector 1001", "written and read"]


def make_disk(path, boot, size):
    with open(path, "wb") as f:
        f.truncate(size)
        f.write(boot)
        for n, text in TEXTS.items():
            f.seek(n * SECTOR)
            f.write(text + b"\0")


def make_cd(path, boot, blocks=40):
    """As the El Torito specification has it: a boot record that leads to a catalogue, which leads to the image."""
    image = bytearray(blocks * BLOCK)

    def put(block, data, at=0):
        image[block * BLOCK + at:block * BLOCK + at + len(data)] = data

    put(16, b"\x01CD001\x01\0" + b"LINUX".ljust(32) + b"TEST".ljust(32) + bytes(8) + struct.pack("<I", blocks) + struct.pack(">I", blocks))
    put(17, b"\0CD001\x01" + b"EL TORITO SPECIFICATION".ljust(32, b"\0"))
    put(17, struct.pack("<I", 19), 0x47)
    put(18, b"\xffCD001\x01")
    validation = bytearray(b"\x01\0\0\0" + b"TEST".ljust(24, b"\0") + b"\0\0\x55\xaa")
    validation[28:30] = struct.pack("<H", -sum(struct.unpack("<16H", validation)) & 0xffff)
    put(19, validation + struct.pack("<BBHBBHI", 0x88, 0, 0, 0, 0, 4, 20))
    put(20, boot)
    put(30, b"block thirty\n\0")
    with open(path, "wb") as f:
        f.write(image)


def run(program, machine, *options):
    """What was said on the serial port, and the exit status."""
    image = FOLDER + ("bios.bin" if machine == "isapc" else "bios-256k.bin")
    process = subprocess.Popen([program, "-accel", "tcg", "-machine", machine, "-nodefaults", "-display", "none", "-m", "64", "-bios", image, "-serial", "stdio",
                                "-no-reboot", "-boot", "reboot-timeout=0", "-device", "isa-debug-exit,iobase=0x501,iosize=1", *options],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        out, errors = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        out, errors = process.communicate()
        errors += b"(time is up)"
    # SeaBIOS says things of its own before, with escape codes.
    lines = [line.strip() for line in out.decode(errors="replace").replace("\x1b", "\n").splitlines()]
    begin = next((i for i, line in enumerate(lines) if "booted from" in line), len(lines))
    return [line[line.find("booted"):] if i == 0 else line for i, line in enumerate(lines[begin:])], process.returncode, errors.decode(errors="replace")


def edk2_finds(program, disk):
    """Does edk2 (OVMF) offer a disk that it cannot boot from in its shell?"""
    with tempfile.NamedTemporaryFile("w+", errors="replace") as log:
        process = subprocess.Popen([program, "-accel", "tcg", "-nodefaults", "-display", "none", "-m", "256", "-bios", OVMF, "-serial", "file:" + log.name,
                                    "-drive", f"file={disk},format=raw"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end, found = time.monotonic() + 2 * LIMIT, False
        while not found and process.poll() is None and time.monotonic() < end:
            time.sleep(0.2)
            log.seek(0)
            found = "Pci(0x1,0x1)/Ata(0x0)" in log.read()
        process.kill()
        process.wait()
    return found


def main():
    program, machine = sys.argv[1], sys.argv[3] if len(sys.argv) > 3 else "pc"
    if not os.path.exists(FOLDER):
        print("1..0 # SKIP " + FOLDER + " is missing (package seabios)")
        return 0
    with open(sys.argv[2], "rb") as f:
        boot = f.read()
    number = failures = 0
    with tempfile.TemporaryDirectory() as folder:
        disk, other, large, cd = (os.path.join(folder, name) for name in ("disk", "other", "large", "cd.iso"))
        make_disk(disk, boot, 10 << 20)
        make_disk(other, bytes(SECTOR), 10 << 20)
        make_disk(large, boot, 40 << 30)
        make_cd(cd, boot)
        # Options, the drive's number, what is read, the geometry (heads - 1, sectors and cylinder bits, cylinders - 1).
        cases = {
            "a disk": (["-hda", disk], "80", READ, "0F3F12" if machine == "pc" else None),
            "a disk of 40 GiB": (["-drive", f"file={large},format=raw"], "80", READ, "FEFFFE" if machine == "pc" else None),
            "a disk on the second channel": (["-hdd", disk], "80", READ, None),
            "a CD-ROM": (["-cdrom", cd], "E0", ["block thirty"], None),
            "a CD-ROM beside a disk": (["-hda", other, "-cdrom", cd, "-boot", "order=d"], "E0", ["block thirty"], None),
            "a device": (["-drive", f"if=none,id=d,file={disk},format=raw", "-device", "ide-hd,drive=d,bus=ide.1,unit=1"], "80", READ, None),
        }
        if machine == "pc":
            cases["in order of bootindex"] = (["-hda", other, "-drive", f"if=none,id=d,file={cd},format=raw,media=cdrom",
                                               "-device", "ide-cd,drive=d,bus=ide.1,bootindex=1", "-drive", f"if=none,id=e,file={disk},format=raw",
                                               "-device", "ide-hd,drive=e,bus=ide.0,unit=1,bootindex=0"], "80", READ, None)
        for name, (options, drive, texts, geometry) in cases.items():
            lines, status, errors = run(program, machine, *options)
            good = status == 1 and lines and lines[0] == "booted from " + drive and lines[1:1 + len(texts)] == texts and lines[-1] == "done"
            good = good and (geometry is None or geometry in lines)
            number += 1
            failures += not good
            print(f"{'ok' if good else 'not ok'} {number} - {machine}: {name}")
            if not good:
                print(f"# {status}\n# " + ("\n".join(lines) + "\n" + errors).replace("\n", "\n# "))
        with open(disk, "rb") as f:
            f.seek(2000 * SECTOR)
            good = f.read(len(TEXTS[1000])) == TEXTS[1000]
        number += 1
        failures += not good
        print(f"{'ok' if good else 'not ok'} {number} - {machine}: what was written is in the file")
        if machine == "pc":
            number += 1
            if os.path.exists(OVMF):
                good = edk2_finds(program, other)
                failures += not good
                print(f"{'ok' if good else 'not ok'} {number} - edk2 finds a disk")
            else:
                print(f"ok {number} - edk2 finds a disk # SKIP {OVMF} is missing (package ovmf)")
    print(f"1..{number}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
