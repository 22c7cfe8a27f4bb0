#!/usr/bin/env python3
"""IDE disks and CD-ROMs with Debian's drivers: what the guest writes is on the host's image, and the other way round.

Usage: test_disks.py PROGRAM [PART...]"""

import hashlib
import os
import shutil
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from test_hotplug import Checks
from test_virtio import Machine

MIB = 1 << 20
BLOCK = 2048
DRIVERS = ("ata_piix", "sd_mod", "sr_mod", "isofs", "ext4", "crc32c_generic")
os.environ["PATH"] += ":/sbin:/usr/sbin"


def both(number, size):
    return number.to_bytes(size, "little") + number.to_bytes(size, "big")


def record(name, block, size, folder):
    """A directory's record (ECMA-119, 9.1)."""
    body = b"\0" + both(block, 4) + both(size, 4) + bytes([126, 11, 29, 0, 0, 0, 0]) + bytes([2 if folder else 0, 0, 0]) + both(1, 2) + bytes([len(name)]) + name
    body += b"" if len(name) % 2 else b"\0"
    return bytes([len(body) + 1]) + body


def make_iso(path, data):
    """ISO 9660 with one file, FILE.BIN, from block 20 on."""
    blocks = 20 + (len(data) + BLOCK - 1) // BLOCK
    root = record(b"\0", 19, BLOCK, True)
    volume = bytearray(BLOCK)
    volume[:7] = b"\x01CD001\x01"
    volume[8:72] = b"LINUX".ljust(32) + b"QUERN".ljust(32)
    volume[80:88] = both(blocks, 4)
    volume[120:132] = both(1, 2) + both(1, 2) + both(BLOCK, 2)
    volume[132:144] = both(10, 4) + struct.pack("<I", 18)
    volume[156:190] = root
    volume[881] = 1
    with open(path, "wb") as f:
        f.write(bytes(16 * BLOCK) + volume + b"\xffCD001\x01".ljust(BLOCK, b"\0") + b"\x01\0\x13\0\0\0\x01\0\0\0".ljust(BLOCK, b"\0"))
        f.write((root + record(b"\1", 19, BLOCK, True) + record(b"FILE.BIN;1", 20, len(data), False)).ljust(BLOCK, b"\0"))
        f.write(data.ljust((blocks - 20) * BLOCK, b"\0"))


def make_disk(folder, data):
    """A raw disk with ext4 and a file on it."""
    path, files = os.path.join(folder, "disk.img"), os.path.join(folder, "files")
    os.mkdir(files)
    with open(os.path.join(files, "given"), "wb") as f:
        f.write(data)
    subprocess.run(["mkfs.ext4", "-q", "-d", files, path, "96M"], check=True)
    return path


def on_disk(path, name):
    """A file of the ext4 on a raw image."""
    return subprocess.run(["debugfs", "-R", f"cat {name}", path], check=True, capture_output=True).stdout


def digest(data):
    return hashlib.md5(data).hexdigest()


def power_off(m):
    m.console.sendall(b"sync; poweroff -f\n")
    m.process.wait(timeout=100)


def use_disk(checks, m, name, data, written="/m/written"):
    """Reads what is on /dev/sda, mounted at /m; writes and reads back 24 MiB, whose digest it returns."""
    m.run("mkdir -p /m; mount -t ext4 /dev/sda /m")
    checks.check(digest(data) in m.run("md5sum /m/given"), f"{name}: a file reads as it is on the host")
    m.run(f"dd if=/dev/urandom of={written} bs=1M count=24 2>/dev/null; sync")
    told = m.run(f"md5sum {written}").split()[0]
    m.run("umount /m; echo 3 >/proc/sys/vm/drop_caches; mount -t ext4 /dev/sda /m")
    checks.check(told in m.run(f"md5sum {written}"), f"{name}: what was written reads back", told)
    m.run("umount /m")
    return told


def attribute(m, path):
    return m.run(f"cat {path}").strip()


def part_raw(checks, program, folder, data):
    disk, iso = make_disk(folder, data), os.path.join(folder, "cd.iso")
    make_iso(iso, data)
    m = Machine(program, "-m", "256M", "-drive", f"file={disk},format=raw,cache=writeback", "-cdrom", iso, load=DRIVERS)
    try:
        checks.check(m.eventually(lambda: "sda" in m.run("ls /sys/block") and "sr0" in m.run("ls /sys/block")), "the disk and the CD-ROM are found")
        log = m.run("dmesg")
        for text in ("ata1.00: ATA-7: QEMU HARDDISK, 2.5+, max UDMA/100", "ata2.00: ATAPI: QEMU DVD-ROM, 2.5+, max UDMA/100"):
            checks.check(text in log, f"the log has '{text}'", "\n".join(line for line in log.splitlines() if "ata" in line))
        modes = m.run("cat /sys/class/ata_device/dev*.0/xfer_mode")
        checks.check(modes.split() == ["XFER_MW_DMA_2", "XFER_MW_DMA_2"], "both use DMA, as fast as a PIIX3 can", modes)
        checks.check(attribute(m, "/sys/block/sda/size") == str(96 * MIB // 512), "its size")
        checks.check("write back" in attribute(m, "/sys/class/scsi_disk/0:0:0:0/cache_type"), "its write cache")
        told = use_disk(checks, m, "raw", data)
        m.run("mkdir -p /c; mount -t iso9660 -o ro /dev/sr0 /c")
        checks.check(digest(data) in m.run("md5sum /c/file.bin"), "a file on the CD-ROM", m.run("ls -l /c; dmesg | tail -5"))
        m.run("umount /c")
        m.run("echo 1 >/sys/block/sr0/device/delete; echo 1 >/sys/block/sda/device/delete; echo '- - -' >/sys/class/scsi_host/host0/scan")
        checks.check(m.eventually(lambda: "sda" in m.run("ls /sys/block")), "the disk is found again after it was put to sleep", m.run("dmesg | tail"))
        checks.check(m.complaints() == "", "no errors in the guest's log", m.complaints())
        power_off(m)
    finally:
        m.close()
    checks.check(digest(on_disk(disk, "written")) == told, "what was written is on the host's image")
    checks.check(subprocess.run(["e2fsck", "-fn", disk], capture_output=True, check=False).returncode == 0, "the host finds the file system sound")


def part_qcow2(checks, program, folder, data):
    raw, disk = make_disk(folder, data), os.path.join(folder, "disk.qcow2")
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, disk], check=True)
    m = Machine(program, "-m", "256M", "-hda", disk, load=DRIVERS)
    try:
        checks.check(m.eventually(lambda: "sda" in m.run("ls /sys/block")), "the qcow2 disk is found")
        told = use_disk(checks, m, "qcow2", data)
        checks.check(m.complaints() == "", "no errors in the guest's log", m.complaints())
        power_off(m)
    finally:
        m.close()
    subprocess.run(["qemu-img", "check", "-q", disk], check=True)
    subprocess.run(["qemu-img", "convert", "-O", "raw", disk, raw], check=True)
    checks.check(digest(on_disk(raw, "written")) == told, "what was written is on the host's qcow2 image")


def part_pio(checks, program, folder, data):
    """Without DMA, and without a bus master (isa-ide's drivers are the same)."""
    disk, iso = make_disk(folder, data), os.path.join(folder, "cd.iso")
    make_iso(iso, data[:MIB])
    m = Machine(program, "-m", "256M", "-drive", f"file={disk},format=raw,cache=writethrough", "-cdrom", iso)
    try:
        m.run(f"/modules/load scsi_mod; insmod /modules/libata.ko dma=0; /modules/load {' '.join(DRIVERS)}")
        checks.check(m.eventually(lambda: "sda" in m.run("ls /sys/block") and "sr0" in m.run("ls /sys/block")), "PIO: both are found")
        modes = m.run("cat /sys/class/ata_device/dev*.0/xfer_mode")
        checks.check(modes.split() == ["XFER_PIO_4", "XFER_PIO_4"], "PIO: neither uses DMA", modes)
        checks.check("write through" in attribute(m, "/sys/class/scsi_disk/0:0:0:0/cache_type"), "PIO: no write cache")
        told = use_disk(checks, m, "PIO", data)
        checks.check(digest(data[:MIB]) in m.run("mkdir -p /c; mount -t iso9660 -o ro /dev/sr0 /c; md5sum /c/file.bin"), "PIO: a file on the CD-ROM", m.run("dmesg | tail -5"))
        checks.check(m.complaints() == "", "PIO: no errors in the guest's log", m.complaints())
        power_off(m)
    finally:
        m.close()
    checks.check(digest(on_disk(disk, "written")) == told, "PIO: what was written is on the host's image")


def part_media(checks, program, folder, data):
    """Another disc while the guest runs; a disk whose image stays as it is (-snapshot)."""
    disk, first, second = make_disk(folder, data), os.path.join(folder, "1.iso"), os.path.join(folder, "2.iso")
    other = data[::-1]
    make_iso(first, data[:MIB])
    make_iso(second, other)
    with open(disk, "rb") as f:
        before = digest(f.read())
    m = Machine(program, "-m", "256M", "-snapshot", "-drive", f"file={disk},format=raw", "-cdrom", first, load=DRIVERS)
    mount = "mkdir -p /c; mount -t iso9660 -o ro /dev/sr0 /c && md5sum /c/file.bin"
    try:
        checks.check(m.eventually(lambda: "sr0" in m.run("ls /sys/block")), "media: the drive is found")
        checks.check(digest(data[:MIB]) in m.run(mount), "media: the first disc")
        checks.refused(m, "the guest has locked the tray", "a disc in use stays", "eject", device="ide1-cd0")
        checks.check(digest(data[:MIB]) in m.run("echo 3 >/proc/sys/vm/drop_caches; md5sum /c/file.bin"), "media: it does")
        m.run("umount /c")
        m.command("blockdev-change-medium", device="ide1-cd0", filename=second, format="raw")
        checks.check(digest(other) in m.run(mount), "media: the second disc", m.run("dmesg | tail -5"))
        m.run("umount /c")
        m.command("eject", device="ide1-cd0")
        checks.check("file.bin" not in m.run(mount + " 2>/dev/null"), "media: none")
        m.command("blockdev-change-medium", device="ide1-cd0", filename=first, format="raw")
        checks.check(digest(data[:MIB]) in m.run(mount), "media: the first one again", m.run("dmesg | tail -5"))
        use_disk(checks, m, "snapshot", data)
        power_off(m)
    finally:
        m.close()
    with open(disk, "rb") as f:
        checks.check(digest(f.read()) == before, "snapshot: the image is as it was")


PARTS = {"raw": part_raw, "qcow2": part_qcow2, "pio": part_pio, "media": part_media}


def main():
    if not shutil.which("mkfs.ext4") or not shutil.which("debugfs"):
        print("1..0 # SKIP mkfs.ext4 or debugfs is missing (package e2fsprogs)")
        return 0
    checks, data = Checks(), os.urandom(9 * MIB + 1234)
    for part in sys.argv[2:] or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            PARTS[part](checks, sys.argv[1], folder, data)
    print(f"1..{checks.n}")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
