#!/usr/bin/env python3
"""Memory by QMP and the device-test protocol, without a guest: backends of all kinds, refusals, a hostile guest at the
registers of memory slots while modules come and go, and what a large guest costs. Usage: test_memory.py PROGRAM"""

import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time

from qmp import Error, Vm

SLOTS = ["-m", "512M,slots=8,maxmem=8G"]
MIB = 1 << 20


def plug(vm, n, kind="ram", size=64 * MIB, **more):
    vm.qmp.ask_with("object-add", {"qom-type": f"memory-backend-{kind}", "id": f"m{n}", "size": size, **more})
    vm.qmp.ask_with("device_add", {"driver": "pc-dimm", "id": f"d{n}", "memdev": f"m{n}"})


def test_kinds(program, folder):
    """Every kind of backend can be plugged in, also in the strictest sandbox."""
    kinds = [("ram", {}), ("ram", {"share": True, "reserve": False}), ("memfd", {"prealloc": True}),
             ("shm", {"prealloc": True, "prealloc-threads": 2}), ("file", {"mem-path": folder, "share": True, "discard-data": True}),
             ("file", {"mem-path": os.path.join(folder, "file"), "offset": 4096, "align": 2 * MIB})]
    with Vm(program, folder, "-accel", "qtest", *SLOTS, "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny") as vm:
        for n, (kind, more) in enumerate(kinds):
            plug(vm, n, kind, **more)
        devices = vm.ask("query-memory-devices")
        assert [d["data"]["size"] for d in devices] == [64 * MIB] * 6, devices
        assert vm.ask("query-memory-size-summary") == {"base-memory": 512 * MIB, "plugged-memory": 6 * 64 * MIB}
        assert {b["id"] for b in vm.ask("query-memdev")} == {"pc.ram", "m0", "m1", "m2", "m3", "m4", "m5"}
        assert [s["slot-type"] for s in vm.ask("query-acpi-ospm-status")] == ["DIMM"] * 8 + ["CPU"]
        assert os.path.getsize(os.path.join(folder, "file")) == 64 * MIB + 4096


def test_refused(program, folder):
    """A refusal leaves no object behind."""
    with Vm(program, folder, "-accel", "qtest", *SLOTS) as vm:
        # Where the host's address space is short (ThreadSanitizer), it does not come as far as allocating.
        for words, kind, more in (("cannot reserve", "ram", {"size": 1 << 50}), ("cannot (allocate|reserve)", "ram", {"size": 1 << 46, "reserve": False, "prealloc": True}),
                                  ("cannot open", "file", {"mem-path": "/nonexistent/x"}), ("share=off", "shm", {"share": False})):
            try:
                vm.qmp.ask_with("object-add", {"qom-type": f"memory-backend-{kind}", "id": "m", "size": MIB, **more})
                raise AssertionError(f"{kind} {more} is accepted")
            except Error as problem:
                assert re.search(words, problem.text), problem
        assert [b["id"] for b in vm.ask("query-memdev")] == ["pc.ram"]


def test_too_much(program, folder):
    """RAM that the host does not promise is refused at the start, with the figures; reserve=off has it start."""
    with open("/proc/sys/vm/overcommit_memory", encoding="ascii") as f:
        mode = int(f.read())
    if mode == 1:
        return
    with open("/proc/meminfo", encoding="ascii") as f:
        meminfo = {name: int(rest.split()[0]) << 10 for name, rest in (line.split(":") for line in f)}
    there = meminfo["CommitLimit"] if mode == 2 else meminfo["MemTotal"] + meminfo["SwapTotal"]
    size = (there >> 30) + 2
    for options in (["-m", f"{size}G"], ["-m", f"{size}G", "-object", f"memory-backend-ram,id=all,size={size}G", "-machine", "memory-backend=all"],
                    ["-m", f"size={size << 10},slots=2,maxmem={size * 2}G"]):
        done = subprocess.run([program, "-accel", "qtest", "-display", "none", *options], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        said = re.fullmatch(rf"qemu-system-x86_64: -[^\n]*: cannot reserve {size} GiB of guest memory: [^\n]* ([\d.]+) GiB[^\n]*\n", done.stderr)
        assert done.returncode == 1 and said, (done.returncode, done.stderr)
        assert mode == 2 or abs(float(said[1]) - there / (1 << 30)) < 0.01, (done.stderr, there)
    with Vm(program, folder, "-accel", "qtest", "-m", f"{size}G", "-object", f"memory-backend-ram,id=all,size={size}G,reserve=off", "-machine", "memory-backend=all") as vm:
        assert vm.ask("query-memory-size-summary")["base-memory"] == size << 30


def test_hostile(program, folder):
    """A guest that writes anything to the registers, while somebody plugs and unplugs."""
    path = os.path.join(folder, "qtest")
    rng = random.Random(11)
    with Vm(program, folder, "-accel", "qtest", "-qtest", f"unix:{path},server=on,wait=off", "-qtest-log", "/dev/null", *SLOTS) as vm:
        guest = socket.socket(socket.AF_UNIX)
        guest.connect(path)
        guest.settimeout(60)
        answers = guest.makefile("r")
        for n in range(6):
            vm.qmp.ask_with("object-add", {"qom-type": "memory-backend-ram", "id": f"m{n}", "size": 2 * MIB << n})
        for _ in range(60):
            lines = []
            for _ in range(200):
                port, value = 0xa00 + rng.randrange(0x18), rng.getrandbits(32) >> rng.randrange(32)
                size = rng.choice("bwl")
                port &= -{"b": 1, "w": 2, "l": 4}[size]
                kind = rng.randrange(4)
                if kind == 0:
                    lines.append(f"in{size} {port:#x}")
                elif kind == 1:
                    lines.append(f"outl 0xa00 {rng.randrange(9):#x}")
                else:
                    lines.append(f"out{size} {port:#x} {value & (1 << {'b': 8, 'w': 16, 'l': 32}[size]) - 1:#x}")
            guest.sendall("".join(line + "\n" for line in lines).encode())
            assert all(answers.readline().startswith("OK") for _ in lines)
            n = rng.randrange(6)
            try:
                if rng.randrange(2):
                    vm.qmp.ask_with("device_add", {"driver": "pc-dimm", "id": f"d{n}", "memdev": f"m{n}"})
                else:
                    vm.ask("device_del", id=f"d{n}")
            except Error:
                pass
        there = {d["data"]["memdev"] for d in vm.ask("query-memory-devices")}
        for n in range(6):
            try:
                vm.ask("object-del", id=f"m{n}")
                assert f"/objects/m{n}" not in there
            except Error:
                assert f"/objects/m{n}" in there


def test_large(program, folder):
    """64 GiB that nobody promises: started in no time, and nothing of it is touched."""
    best = 60
    for _ in range(5):
        start = time.monotonic()
        with Vm(program, folder, "-accel", "qtest", "-m", "64G", "-object", "memory-backend-ram,id=all,size=64G,reserve=off", "-machine", "memory-backend=all") as vm:
            best = min(best, time.monotonic() - start)
            with open(f"/proc/{vm.process.pid}/status") as f:
                rss = int(f.read().split("VmRSS:")[1].split()[0])
            assert rss < 64 << 10, f"{rss} KiB"
    print(f"# from exec to QMP's greeting {best * 1000:.0f} ms, {rss >> 10} MiB resident")
    assert best < 2, best  # 100 ms on a quiet host


def main():
    failed = 0
    tests = [test_kinds, test_refused, test_too_much, test_hostile, test_large]
    for number, test in enumerate(tests, 1):
        with tempfile.TemporaryDirectory() as folder:
            try:
                test(sys.argv[1], folder)
                print(f"ok {number} - {test.__doc__.splitlines()[0]}")
            except Exception as problem:  # pylint: disable=broad-except
                failed += 1
                print(f"# {type(problem).__name__}: {problem}\nnot ok {number} - {test.__doc__.splitlines()[0]}")
    print(f"1..{len(tests)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
