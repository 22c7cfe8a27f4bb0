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


def look_at(checks, m, name, packed):
    """The balloon as x-query-virtio and its kin show it, after it was blown up."""
    path = m.command("x-query-virtio")[0]["path"]
    status = m.command("x-query-virtio-status", path=path)
    bits = {text.split(":")[0] for text in status["status"]["statuses"]}
    legacy = "VIRTIO_F_VERSION_1" not in str(status["guest-features"])
    checks.check(status["started"] and {"VIRTIO_CONFIG_S_DRIVER", "VIRTIO_CONFIG_S_DRIVER_OK"} <= bits and ("VIRTIO_CONFIG_S_FEATURES_OK" in bits) != legacy, f"{name}: its status", status)
    queue = m.command("x-query-virtio-queue-status", path=path, queue=0)
    checks.check(queue["vring-num"] == 128 and len({queue["vring-" + part] for part in ("desc", "avail", "used")} - {0}) == 3 and queue["used-idx"] == queue["last-avail-idx"] > 0, f"{name}: its first queue", queue)
    try:
        element = m.command("x-query-virtio-queue-element", path=path, queue=0, index=0)
        checks.check(not packed and element["descs"][0]["len"] % 4 == 0 and 0 < element["descs"][0]["len"] <= 1024 and element["descs"][0]["addr"] < 512 * MIB and element["used"]["idx"] == element["avail"]["idx"] == queue["used-idx"],
                     f"{name}: a buffer of it", element)
    except Exception as problem:  # pylint: disable=broad-except
        checks.check(packed and "packed rings" in str(problem), f"{name}: a buffer of it", problem)


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
        look_at(checks, m, name, "packed" in name + device)
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


ONLINE = test_hotplug.ONLINE


def mem_size(m, name):
    return next(d["data"] for d in m.command("query-memory-devices") if d["data"]["id"] == name)["size"]


def mem(checks, program, options):
    """Blocks come and go as requested, their memory with them."""
    m = Machine(program, "-m", "600M,maxmem=4G", "-object", "memory-backend-ram,id=mem0,size=2G,reserve=off", "-device", "virtio-mem-pci,id=vm0,memdev=mem0,requested-size=256M",
                "-object", "memory-backend-memfd,id=mem1,size=512M", "-device", "virtio-mem-pci,id=vm1,memdev=mem1,block-size=4M", *options)
    try:
        m.run("echo online_movable >/sys/devices/system/memory/auto_online_blocks")
        before = m.mib()
        m.run("/modules/load virtio_pci virtio_mem")
        checks.check(m.eventually(lambda: mem_size(m, "vm0") == 256 * MIB), "what is requested at the start is plugged", m.command("query-memory-devices"))
        checks.check(m.eventually(lambda: m.mib() > before + 200), "the guest has it", (before, m.mib()))
        path = "/machine/peripheral/vm0"
        while m.event("MEMORY_DEVICE_SIZE_CHANGE"):
            pass
        m.command("qom-set", path=path, property="requested-size", value=GIB)
        checks.check(m.eventually(lambda: mem_size(m, "vm0") == GIB), "more is plugged", mem_size(m, "vm0"))
        event = m.event("MEMORY_DEVICE_SIZE_CHANGE")
        checks.check(event and event["data"]["id"] == "vm0" and event["data"]["qom-path"] == path and event["data"]["size"] > 256 * MIB, "MEMORY_DEVICE_SIZE_CHANGE", event)
        m.command("qom-set", path="/machine/peripheral/vm1", property="requested-size", value="128M")
        checks.check(m.eventually(lambda: mem_size(m, "vm1") == 128 * MIB), "of the other device too", mem_size(m, "vm1"))
        start = before
        checks.check(m.eventually(lambda: m.mib() > start + 1100), "the guest has it all", m.mib())
        low = m.rss()
        m.run("mkdir -p /t && mount -t tmpfs -o size=1400m t /t && dd if=/dev/urandom of=/t/r bs=1M count=1; for i in $(seq 1200); do cat /t/r >>/t/all; done")
        high = m.rss()
        checks.check(high > low + 1000, "it can be used", (low, high))
        m.run("rm /t/all; umount /t; sync; echo 3 >/proc/sys/vm/drop_caches")
        info = {d["data"]["id"]: d["data"] for d in m.command("query-memory-devices")}
        checks.check(info["vm0"]["max-size"] == 2 * GIB and info["vm0"]["block-size"] == 2 * MIB and info["vm1"]["block-size"] == 4 * MIB and
                     info["vm0"]["requested-size"] == GIB and info["vm0"]["memdev"] == "/objects/mem0", "query-memory-devices", info)
        text = m.command("human-monitor-command", **{"command-line": "info memory-devices"})
        checks.check('Memory device [virtio-mem]: "vm0"' in text and "memaddr: 0x" in text, "info memory-devices", text)
        for value, words in ((3 * GIB, "the memory backend has 2 GiB"), (MIB, "it has to be a multiple of block-size=2 MiB"), ("x", "not a size")):
            try:
                m.command("qom-set", path=path, property="requested-size", value=value)
                checks.check(False, f"requested-size={value} is refused")
            except Exception as problem:  # pylint: disable=broad-except
                checks.check(words in str(problem), f"requested-size={value} is refused", problem)
        m.command("qom-set", path=path, property="requested-size", value=0)
        m.command("qom-set", path="/machine/peripheral/vm1", property="requested-size", value=0)
        checks.check(m.eventually(lambda: mem_size(m, "vm0") == 0 and mem_size(m, "vm1") == 0, 90), "all of it is given back", m.command("query-memory-devices"))
        checks.check(m.rss() < high - 900, "and the host has it", (high, m.rss()))
        checks.check(m.complaints() == "", "no errors in the guest's log", m.complaints())
        m.command("qom-set", path=path, property="requested-size", value=64 * MIB)
        checks.check(m.eventually(lambda: mem_size(m, "vm0") == 64 * MIB), "some of it comes again", mem_size(m, "vm0"))
    finally:
        m.close()


def pmem(checks, program, options):
    """A file that the guest writes through a file system."""
    with tempfile.NamedTemporaryFile() as backing:
        backing.truncate(64 * MIB)
        m = Machine(program, "-m", "512M,maxmem=2G", "-object", f"memory-backend-file,id=mem0,size=64M,share=on,mem-path={backing.name}",
                    "-device", "virtio-pmem-pci,id=p0,memdev=mem0", *options, load=("virtio_pci", "nd_pmem", "virtio_pmem"))
        try:
            checks.check(m.eventually(lambda: m.run("cat /sys/block/pmem0/size") == "131072"), "the guest has a disk of that size", m.run("ls /sys/block /sys/bus/nd/devices"))
            data = m.command("query-memory-devices")[0]
            checks.check(data["type"] == "virtio-pmem" and data["data"]["size"] == 64 * MIB and data["data"]["memdev"] == "/objects/mem0", "query-memory-devices", data)
            m.run("echo persistent words | dd of=/dev/pmem0 bs=4096 seek=100 conv=sync,fsync 2>&1")
            backing.seek(100 * 4096)
            checks.check(backing.read(16) == b"persistent words", "what it writes is in the file")
            out = m.run("dd if=/dev/zero of=/dev/pmem0 bs=1M count=8 conv=fsync 2>&1; echo status $?")
            checks.check("status 0" in out and "error" not in out, "flushes are answered", out)
            checks.check(m.complaints() == "", "no errors in the guest's log", m.complaints())
        finally:
            m.close()


def nvdimm(checks, program, options):
    """One from the start with labels, one plugged in later."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = os.path.join(folder, "first"), os.path.join(folder, "second")
        common = ("-m", "512M,slots=3,maxmem=4G", *options)
        start = ("-object", f"memory-backend-file,id=mem1,size=66M,share=on,mem-path={first}", "-device", "nvdimm,id=nv1,memdev=mem1,label-size=128K,uuid=12345678-1234-1234-1234-123456789abc")
        m = Machine(program, *common, *start, load=("nfit", "nd_pmem"))
        try:
            checks.check(m.eventually(lambda: "nmem0" in m.run("ls /sys/bus/nd/devices")), "the guest sees it", m.run("ls /sys/bus/nd/devices; dmesg | grep -i nfit"))
            serial = m.run("cat /sys/bus/nd/devices/nmem0/nfit/serial")
            checks.check(serial.startswith("0x") and "12345678" in serial + "".join(reversed([serial[2:][i:i + 2] for i in range(0, 8, 2)])), "its serial number", serial)
            commands = m.run("cat /sys/bus/nd/devices/nmem0/commands")
            checks.check(all(c in commands for c in ("get_size", "get_data", "set_data")), "its methods for labels", commands)
            region = m.run("cat /sys/bus/nd/devices/region0/size")
            checks.check(region == str(64 * MIB), "its size without labels", region)
            data = m.command("query-memory-devices")[0]
            checks.check(data["type"] == "nvdimm" and data["data"]["size"] == 64 * MIB and data["data"]["slot"] == 0, "query-memory-devices", data)
            # A namespace of its own makes labels; they reach the file's end.
            said = m.run("ndctl disable-region all; ndctl init-labels nmem0; ndctl enable-region all; ndctl create-namespace -m raw -s 32M -n words 2>&1; ndctl list -N")
            checks.check('"size":33554432' in said, "ndctl makes a namespace", said)
            with open(first, "rb") as f:
                f.seek(66 * MIB - 128 * 1024)
                labels = f.read()
            checks.check(b"NAMESPACE_INDEX" in labels, "labels are written at the end of the file")
            block = m.run("ls /sys/block | grep pmem | head -1")
            m.run(f"echo persistent words | dd of=/dev/{block} bs=4096 seek=100 conv=sync,fsync 2>&1")
            with open(first, "rb") as f:
                checks.check(b"persistent words" in f.read(), "what it writes is in the file", block)
            # Plugged in while it runs.
            m.command("object-add", **{"qom-type": "memory-backend-file", "id": "mem2", "size": 64 * MIB, "share": True, "mem-path": second})
            m.command("device_add", driver="nvdimm", id="nv2", memdev="mem2")
            checks.check(m.eventually(lambda: '"nmem1"' in m.run("ndctl list -D")), "one more is plugged in", m.run("ndctl list -D; dmesg | tail -5"))
            try:
                m.command("device_del", id="nv2")
                checks.check(False, "unplugging is refused")
            except Exception as problem:  # pylint: disable=broad-except
                checks.check("cannot be unplugged" in str(problem), "unplugging is refused", problem)
            checks.check(m.complaints() == "", "no errors in the guest's log", m.complaints())
        finally:
            m.close()
        # Again: labels and data are still there.
        m = Machine(program, *common, *start, "-machine", "nvdimm-persistence=cpu", load=("nfit", "nd_pmem"))
        try:
            checks.check(m.eventually(lambda: "33554432" in m.run("cat /sys/bus/nd/devices/namespace0.*/size").split()), "the namespace is there after a restart", m.run("ls /sys/bus/nd/devices; cat /sys/bus/nd/devices/namespace*/size"))
            block = m.run("ls /sys/block | grep pmem | head -1")
            words = m.run(f"dd if=/dev/{block} bs=4096 skip=100 count=1 2>/dev/null | head -1")
            checks.check("persistent words" in words, "and what was written", words)
            checks.check(m.run("cat /sys/bus/nd/devices/region0/persistence_domain") == "cpu_cache", "nvdimm-persistence=cpu", m.run("cat /sys/bus/nd/devices/region0/persistence_domain"))
        finally:
            m.close()


def main():
    program, part, options = sys.argv[1], sys.argv[2], sys.argv[3:]
    checks = Checks()
    {"balloon": balloon, "mem": mem, "pmem": pmem, "nvdimm": nvdimm}[part](checks, program, options)
    print(f"1..{checks.n}")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
