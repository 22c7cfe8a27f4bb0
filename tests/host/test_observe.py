#!/usr/bin/env python3
"""What can be asked of a running machine about its work: statistics, trace events, one-insn-per-tb.
Usage: test_observe.py PROGRAM [NAME...]"""

import os
import re
import subprocess
import sys
import tempfile
import time
import traceback

from qmp import TIMEOUT, Error, Vm

BASE = ["-accel", "qtest", "-m", "32M"]
# cli; inc ax; jmp to it; the reset vector jumps there.
FIRMWARE = b"\xfa\x40\xeb\xfd".ljust(0xfff0, b"\x90") + b"\xe9\x0d\x00".ljust(16, b"\x90")


def kvm_works():
    """Does the host's KVM run anything? Where it only emulates, too."""
    return os.access("/dev/kvm", os.R_OK | os.W_OK)


def refused(ask, *arguments, kind="GenericError", says="", **named):
    try:
        answer = ask(*arguments, **named)
    except Error as e:
        assert e.kind == kind and says in e.text and "\n" not in e.text, e
        return
    raise AssertionError(f"{arguments} {named} answered {answer}")


class Tests:
    def __init__(self, program, folder):
        self.program, self.folder, self.count = program, folder, 0

    def vm(self, *options, base=BASE):
        self.count += 1
        folder = os.path.join(self.folder, str(self.count))
        os.mkdir(folder)
        return Vm(self.program, folder, *base, *options)

    def path(self, name, data=None):
        path = os.path.join(self.folder, name)
        if data is not None:
            with open(path, "wb") as f:
                f.write(data)
        return path

    # --- statistics ---

    def test_no_statistics(self):
        for accel in ("qtest", "tcg"):
            with self.vm("-accel", accel, "-m", "32M", "-S", base=[]) as vm:
                for target in ("vm", "vcpu", "cryptodev"):
                    assert vm.ask("query-stats", target=target) == []
                    assert vm.qmp.human(f"info stats {target}") == ""
                assert vm.ask("query-stats", target="vcpu", vcpus=["/machine"], providers=[{"provider": "kvm", "names": ["exits"]}]) == []
                assert vm.ask("query-stats-schemas") == [] and vm.ask("query-stats-schemas", provider="kvm") == []
                refused(vm.ask, "query-stats", says="'target' is missing")
                refused(vm.ask, "query-stats", says="'target'", target="foo")
                refused(vm.ask, "query-stats", says="goes with target 'vcpu'", target="vm", vcpus=[])
                refused(vm.ask, "query-stats", says="providers.0.provider", target="vm", providers=[{"provider": "foo"}])
                refused(vm.ask, "query-stats-schemas", says="'provider'", provider="foo")
                assert "no statistics of 'foo'" in vm.qmp.human("info stats foo")
                assert "no provider 'foo'" in vm.qmp.human("info stats vm * foo")
                assert "string expected" in vm.qmp.human("info stats")

    def test_kvm_statistics(self):
        if not kvm_works():
            return
        with self.vm("-smp", "2", "-S", base=["-accel", "kvm", "-m", "32M"]) as vm:
            schemas = vm.ask("query-stats-schemas")
            assert [(s["provider"], s["target"]) for s in schemas] == [("kvm", "vm"), ("kvm", "vcpu")]
            assert vm.ask("query-stats-schemas", provider="cryptodev") == []
            of_vm, of_vcpu = ({s["name"]: s for s in e["stats"]} for e in schemas)
            assert of_vm["remote_tlb_flush"] == {"name": "remote_tlb_flush", "type": "cumulative", "exponent": 0}
            assert of_vcpu["halt_poll_success_ns"] == {"name": "halt_poll_success_ns", "type": "cumulative", "unit": "seconds", "base": 10, "exponent": -9}
            everything, = vm.ask("query-stats", target="vm")
            assert [s["name"] for s in everything["stats"]] == list(of_vm) and "qom-path" not in everything
            paths = [c["qom-path"] for c in vm.ask("query-cpus-fast")]
            vcpus = vm.ask("query-stats", target="vcpu")
            assert [v["qom-path"] for v in vcpus] == paths
            for v in vcpus:
                assert [s["name"] for s in v["stats"]] == list(of_vcpu)
                for s in v["stats"]:
                    schema = of_vcpu[s["name"]]
                    kind = list if schema["type"].endswith("histogram") else bool if schema.get("unit") == "boolean" else int
                    assert isinstance(s["value"], kind), s
            one = vm.ask("query-stats", target="vcpu", vcpus=paths[1:], providers=[{"provider": "cryptodev"}, {"provider": "kvm", "names": ["exits", "nosuch"]}])
            assert [(v["qom-path"], [s["name"] for s in v["stats"]]) for v in one] == [(paths[1], ["exits"])]
            assert vm.ask("query-stats", target="vcpu", vcpus=["/nosuch"]) == []
            assert vm.ask("query-stats", target="vm", providers=[{"provider": "cryptodev"}]) == []
            assert vm.qmp.human("info stats vm").startswith("provider: kvm\r\n    ")
            assert re.fullmatch(r"    halt_poll_success_ns \(cumulative, ns\): \d+\r\n    exits \(cumulative\): \d+\r\n|    exits \(cumulative\): \d+\r\n    halt_poll_success_ns \(cumulative, ns\): \d+\r\n",
                                vm.qmp.human("info stats vcpu exits,halt_poll_success_ns kvm"))

    # --- one-insn-per-tb ---

    def rounds(self, vm):
        return int(re.search(r"rounds +(\d+)", vm.qmp.human("info jit"))[1])

    def wait_until(self, condition):
        end = time.monotonic() + TIMEOUT
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.01)

    def test_one_insn_per_tb(self):
        """Switched on, each instruction takes a turn of the run loop; switched off, the loop is translated again."""
        with self.vm("-bios", self.path("loop.bin", FIRMWARE), "-smp", "2", base=["-accel", "tcg", "-m", "32M"]) as vm:
            human = vm.qmp.human

            def goes_on():
                before = human("print $rax")
                self.wait_until(lambda: human("print $rax") != before)
            goes_on()
            for _ in range(3):
                assert human("one-insn-per-tb on") == ""
                goes_on()
                before = self.rounds(vm)
                self.wait_until(lambda: self.rounds(vm) > before + 1000)
                assert human("one-insn-per-tb off") == ""
                goes_on()
                before, count = self.rounds(vm), 20
                for _ in range(count):  # asking takes a few turns itself
                    self.rounds(vm)
                assert self.rounds(vm) < before + 100 * count
            vm.ask("stop")
            assert human("one-insn-per-tb") == ""
            vm.ask("cont")
            goes_on()
            assert "'on' or 'off'" in human("one-insn-per-tb foo")
        with self.vm("-bios", self.path("loop.bin"), base=["-accel", "tcg,one-insn-per-tb=on", "-m", "32M"]) as vm:
            for line in ("one-insn-per-tb off", "one-insn-per-tb on"):
                assert vm.qmp.human(line) == ""
                before = vm.qmp.human("print $rax")
                self.wait_until(lambda: vm.qmp.human("print $rax") != before)
        with self.vm() as vm:
            assert "accelerator tcg" in vm.qmp.human("one-insn-per-tb on")


def main():
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        tests = Tests(os.path.abspath(sys.argv[1]), folder)
        names = [n for n in dir(tests) if n.startswith("test_") and (len(sys.argv) < 3 or n[5:] in sys.argv[2:])]
        for number, name in enumerate(names, 1):
            try:
                getattr(tests, name)()
                print(f"ok {number} - {name[5:]}", flush=True)
            except Exception:
                failures += 1
                print(f"not ok {number} - {name[5:]}\n# " + traceback.format_exc().replace("\n", "\n# "), flush=True)
        print(f"1..{len(names)}")
    return 1 if failures else 0


sys.exit(main())
