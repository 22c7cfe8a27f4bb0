#!/usr/bin/env python3
"""What can be asked of a running machine about its work: statistics, trace events, one-insn-per-tb.
Usage: test_observe.py PROGRAM [NAME...]"""

import os
import re
import subprocess
import sys
import time

import cases
from qmp import TIMEOUT, VmTests, refused

# cli; inc ax; jmp to it; the reset vector jumps there.
FIRMWARE = b"\xfa\x40\xeb\xfd".ljust(0xfff0, b"\x90") + b"\xe9\x0d\x00".ljust(16, b"\x90")


def kvm_works():
    """Does the host's KVM run anything? Where it only emulates, too."""
    return os.access("/dev/kvm", os.R_OK | os.W_OK)


class Tests(VmTests):
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

    # --- trace events ---

    def run(self, *options):
        """The program with options that end it: what it says, and its exit status."""
        done = subprocess.run([self.program, "-machine", "none", "-nodefaults", "-display", "none", *options], stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT)
        return done.returncode, done.stdout.decode() + done.stderr.decode()

    def test_trace_options(self):
        status, text = self.run("-trace", "help")
        names = [line.split()[0] for line in text.splitlines()]
        assert status == 0 and "runstate_set" in names and "memory_region_ops_read" in names
        patterns = self.path("patterns", b"# comment\n\n  runstate_* # and another\nqdev_reset\n-qdev_*\n")
        log = self.path("log")
        with self.vm("-trace", f"events={patterns}", "-trace", f"enable=handle_qmp*,file={log}", "-d", "trace:ps2*") as vm:
            on = [e["name"] for e in vm.ask("trace-event-get-state", name="*") if e["state"] == "enabled"]
            assert on == ["ps2_write_keyboard", "ps2_write_mouse", "runstate_set", "handle_qmp_command"], on
            vm.ask("stop")
            vm.ask("query-name")
            with open(log) as f:
                lines = f.read().splitlines()
            assert "runstate_set prelaunch -> running" in lines and "runstate_set running -> paused" in lines, lines
            assert lines[-1] == "handle_qmp_command query-name"
        for option, says in (("nosuch", "no trace event 'nosuch'"), ("nosuch*", "no trace event matches 'nosuch*'"), ("runstate_st", "did you mean 'runstate_set'"),
                             ("events=/nosuch/file", "No such file"), ("file=/nosuch/file", "No such file"), ("foo=1", "foo"),
                             (f"events={self.path('wrong', b'runstate_set' + bytes([10]) + b'-nosuch')}", ":2: no trace event 'nosuch'")):
            status, text = self.run("-trace", option)
            assert status == 1 and says in text and text.count("\n") == 1, (option, text)
        status, text = self.run("-D", log, "-trace", f"file={log}")
        assert status == 1 and "another file" in text
        status, text = self.run("-d", "trace:nosuch")
        assert status == 1 and "no trace event 'nosuch'" in text

    def test_trace_events(self):
        """Each of them on a PC; switched by QMP, HMP and the log items."""
        log = self.path("events")
        with self.vm("-D", log, "-device", "virtio-balloon-pci") as vm:
            human = vm.qmp.human

            def traced(*lines):
                before = os.path.getsize(log)
                for line in lines:
                    human(line)
                with open(log) as f:
                    f.seek(before)
                    return [text.split(" ", 1) for text in f.read().splitlines()]
            events = [e["name"] for e in vm.ask("trace-event-get-state", name="*")]
            assert all(e == {"name": e["name"], "state": "disabled", "vcpu": False} for e in vm.ask("trace-event-get-state", name="*"))
            assert human("info trace-events").splitlines() == [f"{name} : state 0" for name in events]
            assert traced("i/b 0x60", "system_reset") == []
            assert human("trace-event * on") == ""
            seen = traced("i/b 0x71", "o/b 0x70 0", "o/b 0x60 0xed", "o/b 0x64 0xd4", "o/b 0x60 0xf2", "o/h 0x510 5", "o/w 0xcf8 0x80000000", "i/w 0xcfc", "o/w 0xcfc 0", "system_reset", "stop")
            for name, says in (("memory_region_ops_read", "name 'rtc"), ("memory_region_ops_write", "value 0xf2 size 1 name 'i8042-data'"), ("ps2_write_keyboard", "val 0xed"),
                               ("ps2_write_mouse", "val 0xf2"), ("fw_cfg_select", "key 0x5, there"), ("pci_cfg_read", "@0x0 -> 0x"), ("pci_cfg_write", "@0x0 <- 0x0"),
                               ("qdev_reset", "mc146818rtc"), ("runstate_set", "running -> paused"), ("handle_qmp_command", "human-monitor-command"),
                               ("monitor_protocol_event_emit", "STOP")):
                assert any(n == name and says in text for n, text in seen), (name, [s for s in seen if s[0] == name])
            vm.ask("trace-event-set-state", name="*", enable=False)
            assert traced("i/b 0x60", "system_reset") == []
            vm.ask("trace-event-set-state", name="*_region_ops_wr?te", enable=True, ignore_unavailable=True)
            assert human("info trace-events memory*") == "memory_region_ops_read : state 0\r\nmemory_region_ops_write : state 1\r\n"
            assert {n for n, _ in traced("i/b 0x60", "o/b 0x70 0")} == {"memory_region_ops_write"}
            assert human("trace-event memory_region_ops_write off") == "" and human("log trace:memory_region_ops_read") == ""
            assert {n for n, _ in traced("i/b 0x60", "o/b 0x70 0")} == {"memory_region_ops_read"}
            assert vm.ask("trace-event-get-state", name="nosuch*") == []
            for ask in (lambda **more: refused(vm.ask, "trace-event-get-state", **more), lambda **more: refused(vm.ask, "trace-event-set-state", enable=True, **more)):
                ask(says="did you mean 'runstate_set'", name="runstate_st")
                ask(says="leave 'vcpu' out", name="runstate_set", vcpu=0)
            assert "no trace event 'x'" in human("trace-event x on") and "'on' or 'off'" in human("trace-event x")
            assert "vcpu" in human("info trace-events * 0")

    def test_kvm_trace(self):
        if not kvm_works():
            return
        log = self.path("kvm")
        with self.vm("-bios", self.path("port.bin", b"\xe4\x80\xeb\xfc".ljust(0xfff0, b"\x90") + b"\xe9\x0d\x00".ljust(16, b"\x90")), "-D", log, "-d", "trace:kvm_run_exit", base=["-accel", "kvm", "-m", "32M"]) as vm:
            self.wait_until(lambda: os.path.getsize(log) > 100)
            vm.ask("trace-event-set-state", name="kvm_run_exit", enable=False)
            with open(log) as f:
                assert "kvm_run_exit cpu_index 0, reason 2\n" in f.read()


if __name__ == "__main__":
    sys.exit(cases.run(Tests, 1))
