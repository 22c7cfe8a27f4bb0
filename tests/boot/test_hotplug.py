#!/usr/bin/env python3
"""Plugs memory into Debian's kernel and takes it out again, by QMP. Usage: test_hotplug.py PROGRAM [OPTION...] [only=PART...]

The guest's shell is on the serial port; the host types commands there."""

import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "host"))

import guest
from qmp import Client

GIB = 1 << 30
ONLINE = "for f in /sys/devices/system/memory/memory*/state; do grep -q offline $f && echo online_movable >$f; done 2>/dev/null"


class Machine:
    """Debian's kernel with a shell on its console, and a QMP session. `prepare` is called with it before the guest is up."""

    def __init__(self, program, *options, accel="tcg", append="", prepare=None):
        self.dir = tempfile.TemporaryDirectory()
        qmp, console = os.path.join(self.dir.name, "qmp"), os.path.join(self.dir.name, "console")
        self.process = subprocess.Popen(
            [program, "-nodefaults", "-display", "none", "-no-reboot", "-accel", accel, "-cpu", "max", "-machine", "unpack-kernel=on",
             "-kernel", guest.cached("fetch-kernel.sh"), "-initrd", guest.cached("make-initramfs.sh"), "-append", f"console=ttyS0 quiet {append}",
             "-qmp", f"unix:{qmp},server=on,wait=off", "-chardev", f"socket,id=console,path={console},server=on,wait=off", "-serial", "chardev:console", *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.watchdog = threading.Timer(1000, self.process.kill)
        self.watchdog.start()
        for _ in range(400):
            if self.process.poll() is not None or (os.path.exists(qmp) and os.path.exists(console)):
                break
            time.sleep(0.05)
        if self.process.poll() is not None:
            raise RuntimeError(self.process.stderr.read())
        self.marks = 0
        try:
            self.qmp = Client(qmp)
            self.console = socket.socket(socket.AF_UNIX)
            self.console.settimeout(400)
            self.console.connect(console)
            if prepare:
                prepare(self)
            self.wait_for_shell()
        except BaseException:
            self.close()
            raise

    def wait_for_shell(self):
        self.console.sendall(b"\n")
        self.wait_for(b"# ")
        self.run("stty -echo")

    def command(self, name, **arguments):
        return self.qmp.ask_with(name, arguments)

    def event(self, name):
        """The next event of that name; None: it does not come."""
        try:
            return self.qmp.event(name)
        except (AssertionError, TimeoutError):
            return None

    def wait_for(self, text):
        got = b""
        while text not in got:
            data = self.console.recv(4096)
            if not data:
                raise RuntimeError("the console is gone: " + got.decode(errors="replace"))
            got += data
        return got

    def run(self, command):
        """What the guest's shell prints for a command."""
        self.marks += 1
        mark = f"done-{self.marks}."
        self.console.sendall(f"{command}; echo d''one-{self.marks}.\n".encode())
        text = self.wait_for(mark.encode()).decode(errors="replace").replace("\r", "").split(mark)[0].strip()
        return re.sub(r"^(\w+:\S*#\s*)+", "", text)  # the prompt comes when the shell likes

    def mib(self):
        return int(self.run("sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo").split()[-1]) >> 10

    def grows_to(self, low, high):
        """Waits until the guest has that many MiB, putting new memory to use."""
        for _ in range(100):
            self.run(ONLINE)
            if low <= self.mib() <= high:
                return True
            time.sleep(0.2)
        return False

    def close(self):
        self.watchdog.cancel()
        self.process.kill()
        self.process.wait()
        self.dir.cleanup()


class Checks:
    def __init__(self):
        self.n = self.failed = 0

    def check(self, ok, name, more=""):
        self.n += 1
        self.failed += not ok
        print(f"{'ok' if ok else 'not ok'} {self.n} - {name}")
        if not ok:
            print(f"# {more}".replace("\n", "\n# "))
        sys.stdout.flush()

    def refused(self, machine, words, name, command, **arguments):
        """The command fails with these words, and nothing has changed."""
        before = machine.command("query-memory-devices")
        try:
            machine.command(command, **arguments)
            self.check(False, name, "it is accepted")
        except Exception as problem:  # pylint: disable=broad-except
            after = machine.command("query-memory-devices")
            self.check(words in str(problem) and before == after, name, f"{problem}; {before} {after}")


def add(machine, n, size=GIB, kind="ram", dimm=None, **more):
    machine.command("object-add", **{"qom-type": f"memory-backend-{kind}", "id": f"mem{n}", "size": size, **more})
    machine.command("device_add", driver="pc-dimm", id=f"dimm{n}", memdev=f"mem{n}", **(dimm or {}))


def hot(checks, program, options, folder):
    """1 GiB to 4 GiB, and back."""
    m = Machine(program, "-m", "1G,slots=3,maxmem=4G", *options)
    try:
        start = m.mib()
        checks.check(800 < start < 1024, "1 GiB at the start", start)
        checks.refused(m, "no memory backend 'mem1'", "no backend", "device_add", driver="pc-dimm", id="dimm1", memdev="mem1")
        add(m, 1)
        checks.check(m.grows_to(start + 1000, start + 1024), "1 GiB more", m.mib())
        checks.refused(m, "is in use already", "the backend is used", "device_add", driver="pc-dimm", id="dimm2", memdev="mem1")
        checks.refused(m, "is in use", "a backend that is used is not deleted", "object-del", id="mem1")
        m.command("object-add", **{"qom-type": "memory-backend-ram", "id": "odd", "size": 3 << 19})
        checks.refused(m, "no multiple of 2 MiB", "odd size", "device_add", driver="pc-dimm", id="dimm2", memdev="odd")
        m.command("object-del", id="odd")
        m.command("object-add", **{"qom-type": "memory-backend-ram", "id": "big", "size": 3 * GIB})
        checks.refused(m, "no room for 3 GiB: of 3 GiB", "over maxmem", "device_add", driver="pc-dimm", id="dimm2", memdev="big")
        m.command("object-del", id="big")
        m.command("object-add", **{"qom-type": "memory-backend-memfd", "id": "mem2", "size": GIB})
        for words, name, more in (("there is a device with id 'dimm1' already", "id taken", {"id": "dimm1"}),
                                  ("slot=0: it is in use", "slot taken", {"slot": 0}), ("slot=3: there are slots 0 to 2", "no such slot", {"slot": 3}),
                                  ("it has to be a multiple of", "odd address", {"addr": 0x180001000}),
                                  ("memory devices lie at", "address outside", {"addr": 0x40000000}),
                                  ("slot 0 has memory", "address in use", {"addr": 0x100000000}), ("there are nodes 0 to 0", "no such node", {"node": 1})):
            checks.refused(m, words, name, "device_add", **{"driver": "pc-dimm", "id": "dimm2", "memdev": "mem2", **more})
        m.command("device_add", driver="pc-dimm", id="dimm2", memdev="mem2", slot=2)
        add(m, 3, kind="file", **{"mem-path": folder})
        checks.check(m.grows_to(start + 3000, start + 3072), "three modules: 4 GiB", m.mib())
        checks.refused(m, "all 3 memory slots are in use", "no fourth one", "device_add", driver="pc-dimm", id="dimm4", memdev="mem3")
        used = m.run("mkdir -p /t && mount -t tmpfs -o size=3300m t /t && dd if=/dev/zero of=/t/all bs=1M count=3200 2>&1 | tail -1; "
                     "cp /bin/busybox /t/busybox && /t/busybox md5sum /bin/busybox /t/busybox; rm /t/all")
        sums = [line.split()[0] for line in used.splitlines() if "busybox" in line]
        checks.check("3200" in used and len(sums) == 2 and sums[0] == sums[1], "all of it can be used", used)
        devices = {d["data"]["id"]: d["data"] for d in m.command("query-memory-devices")}
        checks.check({n: (d["slot"], d["size"], d["hotplugged"]) for n, d in devices.items()} ==
                     {"dimm1": (0, GIB, True), "dimm2": (2, GIB, True), "dimm3": (1, GIB, True)}, "query-memory-devices", devices)
        checks.check(m.command("query-memory-size-summary") == {"base-memory": GIB, "plugged-memory": 3 * GIB}, "query-memory-size-summary")
        m.run("umount /t")
        for n in (3, 1):
            m.command("device_del", id=f"dimm{n}")
            deleted = m.event("DEVICE_DELETED")
            checks.check(deleted and deleted["data"].get("device") == f"dimm{n}", f"dimm{n} is given back", deleted)
            m.command("object-del", id=f"mem{n}")
        checks.check(m.grows_to(start + 1000, start + 1024), "2 GiB are left", m.mib())
        add(m, 1, kind="shm")
        checks.check(m.grows_to(start + 2000, start + 2048), "a module in the empty slot", m.mib())
        # Memory that the kernel uses for itself cannot go.
        add(m, 3)
        time.sleep(1)
        m.run(ONLINE.replace("online_movable", "online_kernel"))
        m.run("mkdir -p /k && mount -t tmpfs k /k && for i in $(seq 20000); do : >/k/$i; done")
        m.command("device_del", id="dimm3")
        event = m.event("DEVICE_UNPLUG_GUEST_ERROR")
        gone = event is None and any(d["data"]["id"] == "dimm3" for d in m.command("query-memory-devices"))
        checks.check(event is not None or not gone, "a refusal is told, or the kernel could do without", event)
        checks.check(m.run("dmesg -r | grep '^<[0-3]>' | grep -v -i offline") == "", "no errors in the guest's log", m.run("dmesg -r | grep '^<[0-3]>'"))
    finally:
        m.close()


def cold(checks, program, options, folder):
    """Modules that are there at the start, beside empty slots."""
    m = Machine(program, "-m", "600M,slots=4,maxmem=4G", "-object", f"memory-backend-file,id=mem1,size=1G,mem-path={folder}", "-device", "pc-dimm,id=dimm1,memdev=mem1",
                "-object", f"memory-backend-file,id=mem2,size=256M,mem-path={folder}", "-device", "pc-dimm,id=dimm2,memdev=mem2", *options)
    try:
        checks.check(m.grows_to(1600, 1880), "two modules at the start", m.mib())
        devices = {d["data"]["id"]: d["data"] for d in m.command("query-memory-devices")}
        checks.check([devices[n]["hotplugged"] for n in ("dimm1", "dimm2")] == [False, False], "they were not plugged in later", devices)
        add(m, 3, GIB // 2)
        checks.check(m.grows_to(2100, 2392), "one more", m.mib())
        m.command("device_del", id="dimm2")
        checks.check(m.event("DEVICE_DELETED") is not None, "one is given back")
    finally:
        m.close()


def huge_pages(size):
    """A folder of 2 MiB pages with room for `size` bytes; or None."""
    try:
        with open("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", encoding="ascii") as f:
            if int(f.read()) * (2 << 20) < size:
                return None
        with open("/proc/mounts", encoding="utf-8") as f:
            mounts = [line.split() for line in f]
    except OSError:
        return None
    return next((m[1] for m in mounts if m[2] == "hugetlbfs" and "pagesize=1024M" not in m[3] and os.access(m[1], os.W_OK)), None)


def example(checks, program, options, folder):
    """The example of the hotplug manual: 6 GB of RAM, modules of 1 GB and 256 MB from the start, 2 GB more later. Twice where
    the host has 2 MiB pages to spare: they are for the modules then."""
    plain = os.path.join(folder, "hugepages-1G"), os.path.join(folder, "hugepages-2MB")
    for path in plain:
        os.mkdir(path)
    huge = huge_pages(GIB + GIB // 4)
    for first, second in [plain] + ([(huge, huge)] if huge else []):
        pages = "2 MiB pages" if first == huge else "files"
        m = Machine(program, "-m", "6GB,slots=4,maxmem=10G", "-object", f"memory-backend-file,id=mem1,size=1G,mem-path={first}", "-device", "pc-dimm,id=dimm1,memdev=mem1",
                    "-object", f"memory-backend-file,id=mem2,size=256M,mem-path={second}", "-device", "pc-dimm,id=dimm2,memdev=mem2", *options)
        try:
            all_of_it = 6 * 1024 + 1024 + 256
            checks.check(m.grows_to(all_of_it - 300, all_of_it), f"{pages}: 7.25 GiB at the start", m.mib())
            checks.check(m.command("query-memory-size-summary") == {"base-memory": 6 * GIB, "plugged-memory": GIB + GIB // 4}, f"{pages}: query-memory-size-summary")
            free = m.run("sed -n 's/^MemFree: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo")
            checks.check(int(free.split()[-1]) > 6800 << 10, f"{pages}: it is free", free)
            # More than a fifth of what is there, and the kernel takes movable memory first: the modules.
            used = m.run("mkdir -p /t && mount -t tmpfs -o size=1500m t /t && dd if=/dev/zero of=/t/all bs=1M count=1300 2>&1 | tail -1; "
                         "cat /t/all | md5sum; umount /t")
            checks.check("72214008be35f6ee48439c112a4fe1c0" in used, f"{pages}: 1300 MiB of it can be used", used)
            if first == huge:
                with open(f"/proc/{m.process.pid}/status", encoding="ascii") as f:
                    there = int(f.read().split("HugetlbPages:")[1].split()[0])
                checks.check(1200 << 10 <= there <= 1280 << 10, f"{pages}: they are the modules", there)
            for n in (3, 4):
                add(m, n)
            checks.check(m.grows_to(all_of_it + 2048 - 300, all_of_it + 2048), f"{pages}: 2 GiB more", m.mib())
            m.command("object-add", **{"qom-type": "memory-backend-ram", "id": "mem5", "size": GIB // 4})
            checks.refused(m, "all 4 memory slots are in use", f"{pages}: no fifth one", "device_add", driver="pc-dimm", id="dimm5", memdev="mem5")
            checks.check(m.run("dmesg -r | grep '^<[0-3]>'") == "", f"{pages}: no errors in the guest's log", m.run("dmesg -r | grep '^<[0-3]>'"))
        finally:
            m.close()


def main():
    program, options = sys.argv[1], [o for o in sys.argv[2:] if not o.startswith("only=")]
    only = [o[5:] for o in sys.argv[2:] if o.startswith("only=")]
    checks = Checks()
    with tempfile.TemporaryDirectory() as folder:
        for part in (hot, cold, example):
            if not only or part.__name__ in only:
                part(checks, program, options, folder)
    print(f"1..{checks.n}")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
