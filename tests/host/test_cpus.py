#!/usr/bin/env python3
"""vCPUs that come and go, by QMP and the device-test protocol: places, refusals, the registers that ACPI's methods use, a
hostile guest at them, and every accelerator. Usage: test_cpus.py PROGRAM MANYCPUS-IMAGE [NAME...]"""

import os
import random
import socket
import sys
import tempfile
import time
import traceback

from qmp import Error, Vm

MIB = 1 << 20
PORTS = {"pc": 0xaf00, "q35": 0xcd8}
TWO_BY_TWO = ["-smp", "1,sockets=2,cores=2,maxcpus=4"]


ACCELS = ["tcg", "tcg,one-insn-per-tb=on"] + [f"kvm,kernel-irqchip={kind}" for kind in ("on", "off", "split") if os.access("/dev/kvm", os.R_OK | os.W_OK)]


class Guest:
    """Reads and writes ports as the guest would."""

    def __init__(self, path, base):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(path)
        self.answers = self.socket.makefile("r")
        self.base = base

    def tell(self, line):
        self.socket.sendall((line + "\n").encode())
        answer = self.answers.readline().split()
        assert answer and answer[0] == "OK", (line, answer)
        return int(answer[1], 16) if len(answer) > 1 else None

    def read(self, offset, size="l"):
        return self.tell(f"in{size} {self.base + offset:#x}")

    def write(self, offset, value, size="l"):
        self.tell(f"out{size} {self.base + offset:#x} {value:#x}")

    def use_modern(self):
        for offset, size in ((0, "l"), (0, "l"), (5, "b")):
            self.write(offset, 0, size)
        assert self.read(0) == 0

    def flags(self, cpu):
        self.write(0, cpu)
        return self.read(4, "b")

    def say(self, cpu, event, status):
        """What _OST does."""
        self.write(0, cpu)
        for command, value in ((1, event), (2, status)):
            self.write(5, command, "b")
            self.write(8, value)


class Tests:
    def __init__(self, program, image, folder):
        self.program, self.image, self.folder = program, image, folder

    def vm(self, *options, accel="qtest", machine="pc", cpu="max"):
        path = os.path.join(self.folder, "qtest")
        return Vm(self.program, self.folder, "-accel", accel, "-machine", machine, "-m", "32M", "-cpu", cpu, "-qtest",
                  f"unix:{path},server=on,wait=off", "-qtest-log", "/dev/null", *options)

    def guest(self, machine="pc"):
        return Guest(os.path.join(self.folder, "qtest"), PORTS[machine])

    def test_examples(self):
        """Rows SMP-* and NUMA-* of the manual's examples."""
        initiator = ["-machine", "hmat=on", "-m", "2G,slots=2,maxmem=4G", "-object", "memory-backend-ram,size=1G,id=m0", "-object", "memory-backend-ram,size=1G,id=m1",
                     "-numa", "node,nodeid=0,memdev=m0", "-numa", "node,nodeid=1,memdev=m1,initiator=0", "-smp", "2,sockets=2,maxcpus=2",
                     "-numa", "cpu,node-id=0,socket-id=0", "-numa", "cpu,node-id=0,socket-id=1"]
        by_place = ["-M", "pc", "-smp", "1,sockets=2,maxcpus=2", "-numa", "node,nodeid=0", "-numa", "node,nodeid=1", "-numa", "cpu,node-id=0,socket-id=0",
                    "-numa", "cpu,node-id=1,socket-id=1"]
        rows = [("SMP-TOPO-PC", ["-smp", "8,sockets=2,cores=2,threads=2,maxcpus=8"], 8, 8), ("SMP-TOPO-PC", ["-smp", "32,sockets=2,dies=2,modules=2,cores=2,threads=2,maxcpus=32"], 32, 32),
                ("SMP-INFER", ["-smp", "2"], 2, 2), ("NUMA-NODE-CPUS", ["-smp", "6", "-numa", "node,cpus=0-2,cpus=5"], 6, 6), ("NUMA-CPU", by_place, 1, 2),
                ("NUMA-INITIATOR", initiator, 2, 2)]
        for name, options, present, possible in rows:
            with Vm(self.program, self.folder, "-accel", "qtest", *options) as vm:
                places = vm.ask("query-hotpluggable-cpus")
                assert len(vm.ask("query-cpus-fast")) == present and len(places) == possible, name
                assert sum("qom-path" in p for p in places) == present, name
                if name == "NUMA-CPU":
                    assert {p["props"]["socket-id"]: p["props"]["node-id"] for p in places} == {0: 0, 1: 1}, places
                assert vm.ask("human-monitor-command", command_line="info hotpluggable-cpus").count("type:") == possible, name  # SMP-HOTPLUG
        for words, options in (("clusters > 1 not supported", "16,sockets=2,clusters=2,cores=2,threads=2,maxcpus=16"), ("must be greater than zero", "cpus=0")):
            vm = Vm(self.program, self.folder, "-accel", "qtest", "-smp", options)
            status, errors = vm.end()
            assert status == 1 and words in errors, errors

    def test_refused(self):
        """Each refusal is one error, and nothing has changed."""
        full = {"driver": "max-x86_64-cpu", "id": "c", "socket-id": 1, "core-id": 0, "thread-id": 0}
        cases = [("property 'driver' is missing", {"driver": None}), ("are of type 'max-x86_64-cpu'", {"driver": "qemu64-x86_64-cpu"}),
                 ("are of type 'max-x86_64-cpu'", {"driver": "nosuch-x86_64-cpu"}), ("socket-id= is missing", {"socket-id": None}), ("core-id= is missing", {"core-id": None}),
                 ("thread-id= is missing", {"thread-id": None}), ("socket-id=2: there are sockets 0 to 1", {"socket-id": 2}), ("core-id=2: there are cores 0 to 1", {"core-id": 2}),
                 ("thread-id=1: there are threads 0 to 0", {"thread-id": 1}), ("die-id=1: there are dies 0 to 0", {"die-id": 1}),
                 ("module-id=1: there are modules 0 to 0", {"module-id": 1}), ("vCPU 0 is in that place already", {"socket-id": 0}),
                 ("node-id=0: there are no NUMA nodes", {"node-id": 0}), ("that place has the APIC ID 2", {"apic-id": 7}),
                 ("did you mean 'core-id'", {"core_idd": 0}), ("the same in all vCPUs: -cpu MODEL,avx=", {"avx": False}), ("sits on no bus", {"bus": "pci.0"}),
                 ("'id' takes a string", {"id": 5}), ("there is a device with id 'there' already", {"id": "there"}), ("", {"id": "1x"})]
        with self.vm(*TWO_BY_TWO, "-device", "edu,id=there") as vm:
            before = vm.ask("query-hotpluggable-cpus"), vm.ask("query-cpus-fast"), vm.ask("qom-list", path="/machine/peripheral")
            for words, change in cases:
                options = {k: v for k, v in {**full, **change}.items() if v is not None}
                try:
                    vm.qmp.ask_with("device_add", options)
                    raise AssertionError(f"{change} is accepted")
                except Error as problem:
                    assert words in problem.text and "\n" not in problem.text, (change, problem.text)
                assert before == (vm.ask("query-hotpluggable-cpus"), vm.ask("query-cpus-fast"), vm.ask("qom-list", path="/machine/peripheral")), change
            for words, what in (("the boot processor cannot be unplugged", "/machine/unattached/device[0]"), ("no device", "c")):
                try:
                    vm.ask("device_del", id=what)
                    raise AssertionError(f"device_del {what} is accepted")
                except Error as problem:
                    assert words in problem.text, problem.text
        for words, machine, options in (("all vCPUs that there can be are there: 2", "pc", ["-smp", "2"]), ("has no vCPUs but those of -smp", "microvm", []),
                                        ("without ACPI the guest does not hear", "q35,acpi=off", ["-smp", "1,maxcpus=2"])):
            with self.vm(*options, machine=machine) as vm:
                try:
                    vm.qmp.ask_with("device_add", {"driver": "max-x86_64-cpu", "socket-id": 0, "core-id": 1, "thread-id": 0})
                    raise AssertionError(f"{machine} accepts it")
                except Error as problem:
                    assert words in problem.text, problem.text

    def test_places(self):
        """vCPUs of the command line, with gaps; everything goes by the index."""
        with self.vm("-smp", "1,sockets=2,dies=2,cores=2,maxcpus=8", "-device", "max-x86_64-cpu,socket-id=1,die-id=1,core-id=0,thread-id=0,id=six",
                     "-device", '{"driver":"max-x86_64-cpu","apic-id":3}', "-numa", "node,cpus=0-3", "-numa", "node,cpus=4-7", machine="q35") as vm:
            cpus = {c["cpu-index"]: c for c in vm.ask("query-cpus-fast")}
            assert list(cpus) == [0, 3, 6], cpus
            assert [cpus[n]["qom-path"] for n in (0, 3, 6)] == ["/machine/unattached/device[0]", "/machine/peripheral-anon/device[0]", "/machine/peripheral/six"], cpus
            assert cpus[6]["props"] == {"socket-id": 1, "die-id": 1, "core-id": 0, "thread-id": 0, "node-id": 1}, cpus
            there = {c["qom-path"]: c["props"] for c in vm.ask("query-hotpluggable-cpus") if "qom-path" in c}
            assert there == {c["qom-path"]: c["props"] for c in cpus.values()}, there
            get = lambda name: vm.ask("qom-get", path="/machine/peripheral/six", property=name)
            assert (get("type"), get("hotplugged"), get("hotpluggable"), get("apic-id"), get("die-id"), get("node-id")) == ("max-x86_64-cpu", False, True, 6, 1, 1)
            assert vm.ask("qom-get", path="/machine/unattached/device[0]", property="hotpluggable") is False
            say = lambda line: vm.ask("human-monitor-command", command_line=line)
            say("cpu 6")
            assert [line.split(":")[0] for line in say("info cpus").splitlines()] == ["* CPU #0", "  CPU #3", "  CPU #6"], say("info cpus")
            assert "CPU#6" in say("info registers 6") and "not available" in say("info registers 1")
            assert [line for line in say("info registers -a").splitlines() if line.startswith("CPU#")] == ["CPU#0", "CPU#3", "CPU#6"]
            assert {"node 0 cpus: 0 3", "node 1 cpus: 6"} <= set(say("info numa").splitlines()), say("info numa")
            assert vm.ask("human-monitor-command", command_line="info registers", cpu_index=6).strip().startswith("CPU#6")
            for command in ("memsave", "human-monitor-command"):
                try:
                    vm.ask(command, **({"val": 0, "size": 1, "filename": "/dev/null", "cpu_index": 1} if command == "memsave" else {"command_line": "info registers", "cpu_index": 1}))
                    raise AssertionError(command)
                except Error as problem:
                    assert "no vCPU has index 1" in problem.text, problem.text
            # The last free place, as libvirt asks for it: all of the place's properties.
            for n in range(5):
                place = next(c for c in vm.ask("query-hotpluggable-cpus") if "qom-path" not in c)
                vm.qmp.ask_with("device_add", {"driver": place["type"], "id": f"vcpu{n}", **place["props"]})
            assert [c["cpu-index"] for c in vm.ask("query-cpus-fast")] == list(range(8))
            assert get("hotplugged") is False and vm.ask("qom-get", path="/machine/peripheral/vcpu0", property="hotplugged") is True

    def test_preconfig(self):
        """Places are known before there is a machine, and have nodes then."""
        with self.vm("--preconfig", "-smp", "1,sockets=2,maxcpus=2") as vm:
            places = vm.ask("query-hotpluggable-cpus")
            assert len(places) == 2 and all("qom-path" not in p for p in places), places
            for n, place in enumerate(places):
                vm.ask("set-numa-node", type="node", nodeid=n)
                vm.qmp.ask_with("set-numa-node", {"type": "cpu", "node-id": n, **place["props"]})
            vm.ask("x-exit-preconfig")
            free = next(p for p in vm.ask("query-hotpluggable-cpus") if "qom-path" not in p)
            assert free["props"]["node-id"] == 0, free
            try:
                vm.qmp.ask_with("device_add", {"driver": free["type"], **free["props"], "node-id": 1})
                raise AssertionError("in the wrong node")
            except Error as problem:
                assert "-numa has put that place into node 0" in problem.text, problem.text
            vm.qmp.ask_with("device_add", {"driver": free["type"], **free["props"]})
            assert len(vm.ask("query-cpus-fast")) == 2

    def test_registers(self):
        """The interface of QEMU's docs/specs/acpi_cpu_hotplug, step by step."""
        for machine in ("pc", "q35"):
            with self.vm("-smp", "2,cores=2,sockets=2,maxcpus=4", machine=machine) as vm:
                guest = self.guest(machine)
                assert [guest.read(n, "b") for n in (0, 1, 31)] == [3, 0, 0]  # the older bitmap
                guest.write(0, 1)
                assert guest.read(0, "b") == 3 and guest.read(0) == 3
                guest.use_modern()
                count, present = 0, 0
                while True:  # "Enumerate CPUs present/non present CPUs"
                    present += guest.read(4, "b") & 1
                    count += 1
                    guest.write(0, count)
                    if guest.read(8) == 0:
                        break
                assert (count, present) == (4, 2), (count, present)
                guest.write(0, 0)
                gpe = (lambda: guest.tell("inb 0xafe0")) if machine == "pc" else lambda: 4
                vm.qmp.ask_with("device_add", {"driver": "max-x86_64-cpu", "id": "c3", "socket-id": 1, "core-id": 1, "thread-id": 0})
                assert gpe() & 4 and guest.flags(3) == 3 and guest.flags(2) == 0
                guest.write(0, 0)
                guest.write(5, 0, "b")  # "Get a cpu with pending event"
                assert guest.read(4, "b") & 6 == 2 and guest.read(8) == 3
                guest.write(4, 2, "b")
                assert guest.read(4, "b") == 1
                guest.write(5, 3, "b")
                assert (guest.read(8), guest.read(0)) == (3, 0)
                guest.say(3, 1, 0)
                ost = vm.qmp.event("ACPI_DEVICE_OST")["data"]["info"]
                assert ost == {"device": "c3", "slot": "3", "slot-type": "CPU", "source": 1, "status": 0}, ost
                # It is asked back, says no, is asked again, and lets go.
                vm.ask("device_del", id="c3")
                assert guest.flags(3) == 5
                try:
                    vm.ask("device_del", id="c3")
                    raise AssertionError("asked twice")
                except Error as problem:
                    assert "has been asked to give vCPU 3 back already" in problem.text, problem.text
                guest.write(4, 4, "b")
                guest.say(3, 3, 0x84)
                guest.say(3, 3, 1)
                refusal = vm.qmp.event("DEVICE_UNPLUG_GUEST_ERROR")["data"]
                assert refusal == {"device": "c3", "path": "/machine/peripheral/c3"}, refusal
                vm.ask("device_del", id="c3")
                vm.ask("system_reset")  # forgets it
                vm.qmp.event("RESET")
                assert guest.flags(3) == 1
                vm.ask("device_del", id="c3")
                guest.flags(3)
                guest.write(4, 8, "b")
                assert guest.flags(3) == 0
                deleted = vm.qmp.event("DEVICE_DELETED")["data"]
                assert deleted == {"device": "c3", "path": "/machine/peripheral/c3"}, deleted
                assert [c["cpu-index"] for c in vm.ask("query-cpus-fast")] == [0, 1]
                # One of -smp goes too, by its path or because the guest wants it; the boot processor does not.
                vm.ask("device_del", id="/machine/unattached/device[1]") if machine == "pc" else None
                for cpu in (0, 1):
                    guest.flags(cpu)
                    guest.write(4, 8, "b")
                assert "device" not in vm.qmp.event("DEVICE_DELETED")["data"]
                assert [c["cpu-index"] for c in vm.ask("query-cpus-fast")] == [0] and guest.flags(0) == 1
                assert [s["slot-type"] for s in vm.ask("query-acpi-ospm-status")] == ["CPU"] * 4
                # No such slot: reads are 0, writes nothing.
                guest.write(0, 4)
                guest.write(5, 3, "b")
                assert (guest.read(4, "b"), guest.read(8)) == (0, 0)

    def test_hostile(self):
        """A guest that writes anything to the registers, while somebody plugs and unplugs."""
        rng = random.Random(5)
        with self.vm("-smp", "2,maxcpus=8") as vm:
            guest = self.guest()
            guest.use_modern()
            for _ in range(80):
                for _ in range(40):
                    size = rng.choice("bwl")
                    port = rng.randrange(32) & -{"b": 1, "w": 2, "l": 4}[size]
                    if rng.randrange(4) == 0:
                        guest.read(port, size)
                    elif rng.randrange(3) == 0:
                        guest.write(0, rng.randrange(9))
                    else:
                        guest.write(port, rng.getrandbits(32) >> rng.randrange(32) & (1 << {"b": 8, "w": 16, "l": 32}[size]) - 1, size)
                n = rng.randrange(1, 8)
                try:
                    if rng.randrange(2):
                        vm.qmp.ask_with("device_add", {"driver": "max-x86_64-cpu", "id": f"c{n}", "socket-id": 0, "core-id": n, "thread-id": 0})
                    else:
                        vm.ask("device_del", id=f"c{n}")
                except Error:
                    pass
            cpus = [c["cpu-index"] for c in vm.ask("query-cpus-fast")]
            places = vm.ask("query-hotpluggable-cpus")
            assert cpus[0] == 0 and cpus == sorted(set(cpus)) and sum("qom-path" in p for p in places) == len(cpus) and len(places) == 8

    def test_threads(self):
        """vCPUs come and go while firmware runs on the first one, with every accelerator that runs code."""
        for accel in ACCELS:
            with self.vm("-smp", "1,maxcpus=3", "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny", accel=accel, cpu="qemu64") as vm:
                guest = self.guest()
                guest.use_modern()
                for turn in range(6):
                    if turn == 3:
                        vm.ask("stop")
                    for n in (1, 2):
                        vm.qmp.ask_with("device_add", {"driver": "qemu64-x86_64-cpu", "id": f"c{n}", "socket-id": 0, "core-id": n, "thread-id": 0})
                    threads = os.listdir(f"/proc/{vm.process.pid}/task")
                    cpus = vm.ask("query-cpus-fast")
                    assert len(cpus) == 3 and all(str(c["thread-id"]) in threads for c in cpus), (accel, cpus)
                    if turn == 4:
                        vm.ask("cont")
                    elif turn == 5:
                        vm.ask("system_reset")
                        vm.qmp.event("RESET")
                    for n in (2, 1):
                        guest.flags(n)
                        guest.write(4, 8, "b")
                        assert vm.qmp.event("DEVICE_DELETED")["data"]["device"] == f"c{n}", accel
                    gone = {str(c["thread-id"]) for c in cpus[1:]}
                    for _ in range(100):
                        if not gone & set(os.listdir(f"/proc/{vm.process.pid}/task")):
                            break
                        time.sleep(0.02)
                    else:
                        raise AssertionError(f"{accel}: a thread is left")
                assert vm.ask("query-status")["status"] == "running", accel

    def test_start(self):
        """The guest's INIT and SIPI start vCPUs that came late, and those that have come again."""
        COUNT = 0x8f00
        for accel in ACCELS:
            said = os.path.join(self.folder, "said")
            with self.vm("-smp", "1,maxcpus=4", "-S", "-kernel", self.image, "-append", "cpus=4", "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
                         "-debugcon", f"file:{said}", accel=accel, cpu="qemu64") as vm:
                guest = self.guest()
                guest.use_modern()
                plug = lambda n: vm.qmp.ask_with("device_add", {"driver": "qemu64-x86_64-cpu", "id": f"c{n}", "socket-id": 0, "core-id": n, "thread-id": 0})
                plug(1)
                plug(3)
                vm.ask("cont")
                until = time.monotonic() + 25
                while guest.tell(f"readl {COUNT:#x}") != 3:
                    assert time.monotonic() < until, f"{accel}: vCPUs do not start: {guest.tell(f'readl {COUNT:#x}')}"
                    time.sleep(0.02)
                for n in (1, 3):
                    guest.flags(n)
                    guest.write(4, 8, "b")
                    vm.qmp.event("DEVICE_DELETED")
                for n in (1, 2, 3):
                    plug(n)
                vm.ask("system_reset")
                status, errors = vm.end()
                with open(said) as f:
                    text = f.read()
                assert status == 1 and text == "cpus 00000004 highest 00000003\n", (accel, status, text, errors)


def main():
    names = sys.argv[3:] or [name for name in dir(Tests) if name.startswith("test_")]
    failed = 0
    for number, name in enumerate(names, 1):
        with tempfile.TemporaryDirectory() as folder:
            try:
                getattr(Tests(os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), folder), name)()
                print(f"ok {number} - {name[5:]}", flush=True)
            except Exception:  # pylint: disable=broad-except
                failed += 1
                print("# " + traceback.format_exc().strip().replace("\n", "\n# "))
                print(f"not ok {number} - {name[5:]}", flush=True)
    print(f"1..{len(names)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
