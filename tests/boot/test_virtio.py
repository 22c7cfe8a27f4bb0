#!/usr/bin/env python3
"""Virtio devices and persistent memory with Debian's drivers, by QMP. Usage: test_virtio.py PROGRAM PART [OPTION...]

The guest's shell is on the serial port; the host types commands there. Modules come in a second archive behind the
initramfs (tools/guest/make-modules.sh)."""

import os
import re
import shutil
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import guest
import test_hotplug
from test_hotplug import Checks

MIB = 1 << 20
GIB = 1 << 30


class Machine(test_hotplug.Machine):
    """Debian's kernel with modules that `load` names."""

    def __init__(self, program, *options, load=()):
        with tempfile.NamedTemporaryFile(suffix=".cpio.gz") as both:
            for part in ("make-initramfs.sh", "make-modules.sh"):
                with open(guest.cached(part), "rb") as f:
                    shutil.copyfileobj(f, both)
            both.flush()
            super().__init__(program, "-initrd", both.name, *options)
        if load:
            self.run(f"/modules/load {' '.join(load)}")

    def run(self, command):
        return super().run(command).replace("quern:/root#", "").strip()

    def rss(self):
        """MiB that the process has in memory."""
        with open(f"/proc/{self.process.pid}/smaps_rollup") as f:
            return int(re.search(r"^Rss: *(\d+) kB", f.read(), re.M).group(1)) >> 10

    def eventually(self, question, seconds=30):
        for _ in range(seconds * 5):
            if question():
                return True
            time.sleep(0.2)
        return False

    def complaints(self):
        return self.run("dmesg -r | grep '^<[0-3]>' | grep -v 'PCI: Fatal: No config'")


FILL = ("mkdir -p /t && mount -t tmpfs -o size=90% t /t; dd if=/dev/urandom of=/t/r bs=1M count=1 2>/dev/null; "
        "for i in $(seq {n}); do cat /t/r >>/t/all; done; rm -f /t/all; umount /t")


def balloon_one(checks, program, name, device, options=(), memory="512M"):
    m = Machine(program, "-m", memory, "-device", device, *options, load=("virtio_pci", "virtio_mmio", "virtio_balloon"))
    try:
        all_of_it = m.command("query-balloon")["actual"]
        checks.check(all_of_it == 512 * MIB, f"{name}: all memory at the start", all_of_it)
        m.run(FILL.format(n=300))
        full, before = m.rss(), m.mib()
        m.command("balloon", value=160 * MIB)
        checks.check(m.eventually(lambda: m.command("query-balloon")["actual"] == 160 * MIB), f"{name}: the guest gives memory back", m.command("query-balloon"))
        event = m.event("BALLOON_CHANGE")
        checks.check(event is not None and 160 * MIB <= event["data"]["actual"] < 512 * MIB, f"{name}: BALLOON_CHANGE", event)
        small = m.rss()
        checks.check(small < full - 200, f"{name}: the process has given it to the host", (full, small))
        checks.check(m.mib() < before - 300, f"{name}: the guest has less", (before, m.mib()))
        m.command("balloon", value=512 * MIB)
        checks.check(m.eventually(lambda: m.command("query-balloon")["actual"] == 512 * MIB), f"{name}: the guest takes it again", m.command("query-balloon"))
        sums = m.run("mkdir -p /t; mount -t tmpfs t /t; dd if=/dev/zero of=/t/z bs=1M count=200 2>/dev/null; md5sum </t/z; rm /t/z; cp /bin/busybox /t; /t/busybox md5sum /t/busybox /bin/busybox; rm /t/*")
        words = sums.split()
        checks.check("3566de3a97906edb98d004d6b947ae9b" in words and words.count(words[2]) == 2, f"{name}: its memory is sound", sums)
        checks.check(m.complaints() == "", f"{name}: no errors in the guest's log", m.complaints())
        return m
    except BaseException:
        m.close()
        raise


def statistics(checks, m):
    """Of a balloon with id b0."""
    path = "/machine/peripheral/b0"
    checks.check(set(m.command("qom-get", path=path, property="guest-stats")) == {"stats", "last-update"}, "statistics before they are asked for")
    m.command("qom-set", path=path, property="guest-stats-polling-interval", value=1)
    stats = lambda: m.command("qom-get", path=path, property="guest-stats")
    checks.check(m.eventually(lambda: stats()["last-update"] > time.time() - 100), "statistics come", stats())
    total = stats()["stats"]["stat-total-memory"]
    checks.check(total >> 20 == m.mib(), "they say how much memory there is", stats())
    first = stats()["last-update"]
    checks.check(m.eventually(lambda: stats()["last-update"] > first), "they come again", stats())
    checks.check(m.command("qom-get", path=path, property="guest-stats-polling-interval") == 1, "the interval can be read")
    m.command("qom-set", path=path, property="guest-stats-polling-interval", value=0)
    try:
        m.command("qom-set", path=path, property="guest-stats-polling-interval", value=-1)
        checks.check(False, "a negative interval is refused")
    except Exception as problem:  # pylint: disable=broad-except
        checks.check("guest-stats-polling-interval" in str(problem), "a negative interval is refused", problem)
    checks.check(m.command("human-monitor-command", **{"command-line": "info balloon"}).strip() == "balloon: actual=512", "info balloon")


def reporting(checks, program, options):
    m = Machine(program, "-m", "512M", "-device", "virtio-balloon-pci,free-page-reporting=on", *options, load=("virtio_pci", "virtio_balloon"))
    try:
        m.run(FILL.format(n=300))
        high = m.rss()
        checks.check(m.eventually(lambda: m.rss() < high - 60, 60), "free pages are reported and go back to the host", (high, m.rss()))
        checks.check(m.complaints() == "", "reporting: no errors in the guest's log", m.complaints())
    finally:
        m.close()


def balloon(checks, program, options):
    for name, device, more in (("pc", "virtio-balloon-pci,id=b0", ()),
                               ("q35, packed", "virtio-balloon-pci-non-transitional,packed=on", ("-machine", "q35")),
                               ("legacy", "virtio-balloon,disable-modern=on", ()),
                               ("microvm, legacy", "virtio-balloon-device", ("-machine", "microvm")),
                               ("microvm", "virtio-balloon-device,packed=on", ("-machine", "microvm", "-global", "virtio-mmio.force-legacy=off")),
                               ("shared memory, no MSI-X", "virtio-balloon-pci-transitional,vectors=0,event_idx=off",
                                ("-object", "memory-backend-memfd,id=ram,size=512M", "-machine", "memory-backend=ram"))):
        m = balloon_one(checks, program, name, device, (*more, *options))
        if name == "pc":
            statistics(checks, m)
        m.close()
    reporting(checks, program, options)


def main():
    program, part, options = sys.argv[1], sys.argv[2], sys.argv[3:]
    checks = Checks()
    {"balloon": balloon}[part](checks, program, options)
    print(f"1..{checks.n}")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
