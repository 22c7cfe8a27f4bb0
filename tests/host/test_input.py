#!/usr/bin/env python3
"""Keys and mice on the real program: input-send-event, query-mice, HMP's mouse commands, and what the guest reads.
Usage: test_input.py PROGRAM [NAME...]"""

import os
import sys
import time

import cases
from qmp import VmTests, refused

DATA, COMMAND = 0x60, 0x64
FULL, FROM_MOUSE = 1, 0x20


class Guest:
    """Port accesses as a guest makes them, by HMP's i and o."""

    def __init__(self, vm):
        self.human = vm.qmp.human

    def read(self, port):
        return int(self.human(f"i/b {port:#x}").split("=")[1], 16)

    def write(self, port, value):
        assert self.human(f"o/b {port:#x} {value:#x}") == ""

    def take(self, mouse):
        """All bytes that wait, which are the mouse's or the keyboard's."""
        data = []
        while (status := self.read(COMMAND)) & FULL:
            assert bool(status & FROM_MOUSE) == mouse, (status, data)
            data.append(self.read(DATA))
            assert len(data) < 200
        return data

    def tell_mouse(self, *values):
        """Commands and their arguments; the answers but for acknowledgements."""
        answer = []
        for value in values:
            self.write(COMMAND, 0xd4)
            self.write(DATA, value)
            data = self.take(True)
            assert data[0] == 0xfa, data
            answer += data[1:]
        return answer

    def quiet(self):
        """No interrupts, no translation."""
        self.write(COMMAND, 0x60)
        self.write(DATA, 0x04)


def move(axis, value):
    return {"type": "rel", "data": {"axis": axis, "value": value}}


def button(name, down):
    return {"type": "btn", "data": {"button": name, "down": down}}


def key(name, down):
    return {"type": "key", "data": {"key": {"type": "qcode", "data": name}, "down": down}}


class Tests(VmTests):
    def test_mice(self):
        with self.vm() as vm:
            assert vm.ask("query-mice") == [{"name": "QEMU PS/2 Mouse", "index": 2, "current": True, "absolute": False}]
            assert vm.qmp.human("info mice") == "* Mouse #2: QEMU PS/2 Mouse\r\n"
        with self.vm("-machine", "pc,i8042=off") as vm:
            assert vm.ask("query-mice") == []
            assert vm.qmp.human("info mice") == "No mouse devices connected\r\n"
            for line in ("mouse_move 1 1", "mouse_button 1", "mouse_button 0"):
                assert "this machine has no mouse" in vm.qmp.human(line), line
            for event, kind in ((move("x", 1), "rel"), (button("left", True), "btn"), (key("a", True), "key")):
                refused(vm.ask, "input-send-event", events=[event], says=f"type '{kind}'")
        with self.vm("-chardev", "msmouse,id=m", "-device", "isa-serial,chardev=m") as vm:
            def current():
                return [(m["name"], m["index"]) for m in vm.ask("query-mice") if m["current"]]
            assert len(vm.ask("query-mice")) == 2 and current() == [("QEMU Microsoft Mouse", 1)]
            assert vm.qmp.human("mouse_set 3") == "" and current() == [("QEMU PS/2 Mouse", 3)]
            for wrong in (0, 2, 4, -1):  # 2 is the keyboard
                assert f"no mouse has index {max(wrong, 0)}" in vm.qmp.human(f"mouse_set {wrong}")
            assert current() == [("QEMU PS/2 Mouse", 3)]

    def test_serial_mouse(self):
        """Its way to the guest: power by DTR and RTS, an introduction, packets of three bytes. The guest sleeps."""
        firmware = os.path.join(self.folder, "hlt.bin")
        with open(firmware, "wb") as f:
            f.write(bytes(0xfff0) + b"\xfa\xf4\xeb\xfc" + bytes(12))
        with self.vm("-chardev", "msmouse,id=m", "-device", "isa-serial,chardev=m", "-bios", firmware, base=["-accel", "tcg", "-m", "32M"]) as vm:
            guest = Guest(vm)

            def take():
                data = []
                while guest.read(0x3fd) & 1:
                    data.append(guest.read(0x3f8))
                return data
            guest.write(0x3fa, 1)
            assert vm.qmp.human("mouse_move 1 1") == "" and take() == []  # without power
            guest.write(0x3fc, 3)
            introduction = []
            end = time.monotonic() + 30
            while not introduction or introduction[-1] != ord(")"):
                introduction += take()
                assert time.monotonic() < end, introduction
            assert bytes(introduction).startswith(b"M3(")
            assert vm.qmp.human("mouse_move 1 -1") == "" and take() == [0x4c, 0x01, 0x3f]
            assert vm.qmp.human("mouse_button 5") == "" and take() == [0x70, 0, 0]
            vm.ask("input-send-event", events=[button("right", False), move("x", 3), button("touch", True), button("wheel-up", True)])
            assert take() == [0x60, 3, 0]

    def test_mouse_reports(self):
        with self.vm() as vm:
            guest, human = Guest(vm), vm.qmp.human
            guest.quiet()
            assert human("mouse_move 1 1") == "" and guest.take(True) == []  # nobody has asked
            assert guest.tell_mouse(0xf2) == [0]
            guest.tell_mouse(0xf4)
            assert guest.take(True) == []
            assert human("mouse_move 3 5") == "" and guest.take(True) == [0x28, 3, 0xfb]
            assert human("mouse_move -3 -5 1") == "" and guest.take(True) == [0x18, 0xfd, 5]
            assert human("mouse_move 0 0 1") == "" and guest.take(True) == []  # no wheel yet
            assert human("mouse_button 7") == "" and guest.take(True) == [0x0f, 0, 0]
            assert human("mouse_button 7") == "" and guest.take(True) == []
            assert human("mouse_button 4") == "" and guest.take(True) == [0x0a, 0, 0]
            assert guest.tell_mouse(0xe9)[0] == 0x21
            assert human("mouse_button 0") == "" and guest.take(True) == [0x08, 0, 0]
            # More than a report holds, and what comes while one is not taken.
            assert human("mouse_move 300 -700") == ""
            assert guest.take(True) == [0x08, 255, 255, 0x08, 45, 255, 0x08, 0, 190]
            for _ in range(3):
                human("mouse_move 0x10 -1")
            assert guest.take(True) == [0x08, 16, 1, 0x08, 32, 2]
            human("mouse_move 100000 0")
            assert len(guest.take(True)) == 3 * -(-4096 // 255)
            # A command ends a report that was begun.
            human("mouse_move 1 0")
            human("mouse_move 1 0")
            assert guest.read(DATA) == 8
            guest.write(COMMAND, 0xd4)
            guest.write(DATA, 0xf5)
            assert guest.take(True) == [1, 0xfa]  # the controller held one byte already
            assert human("mouse_move 1 0") == "" and guest.take(True) == []
            # Scaling in stream mode; remote mode.
            guest.tell_mouse(0xe7, 0xf4)
            for step, told in ((1, 1), (2, 1), (3, 3), (4, 6), (5, 9), (6, 12), (-2, 0xff), (-100, 0x38)):
                human(f"mouse_move {step} 0")
                assert guest.take(True) == [0x18 if step < 0 else 8, told, 0], step
            guest.tell_mouse(0xf0)
            human("mouse_move 2 0")
            assert guest.take(True) == []
            assert guest.tell_mouse(0xeb) == [8, 2, 0]
            assert guest.tell_mouse(0xeb) == [8, 0, 0]

    def test_wheel(self):
        with self.vm() as vm:
            guest, human = Guest(vm), vm.qmp.human
            guest.quiet()
            guest.tell_mouse(0xf3, 200, 0xf3, 100, 0xf3, 80)
            assert guest.tell_mouse(0xf2) == [3]
            guest.tell_mouse(0xf4)
            assert human("mouse_move 3 5 1") == "" and guest.take(True) == [0x28, 3, 0xfb, 0xff]
            assert human("mouse_move 0 0 -1") == "" and guest.take(True) == [8, 0, 0, 1]
            vm.ask("input-send-event", events=[button("side", True)])
            assert guest.take(True) == []
            guest.tell_mouse(0xf3, 200, 0xf3, 200, 0xf3, 80)
            assert guest.tell_mouse(0xf2) == [4]
            guest.tell_mouse(0xf4)
            vm.ask("input-send-event", events=[button("extra", True), button("wheel-up", True), button("wheel-up", False), move("y", -1)])
            assert guest.take(True) == [8, 0, 1, 0x3f]
            vm.ask("input-send-event", events=[button("side", False), button("extra", False)])
            assert guest.take(True) == [8, 0, 0, 0]
            vm.ask("input-send-event", events=[button(n, d) for n in ("wheel-left", "wheel-right", "touch") for d in (True, False)])
            assert guest.take(True) == []
            guest.tell_mouse(0xff)
            assert guest.tell_mouse(0xf2) == [0]

    def test_keys(self):
        with self.vm() as vm:
            guest = Guest(vm)
            guest.quiet()
            vm.ask("input-send-event", events=[key("shift", True), key("a", True), key("a", False), key("shift", False)])
            assert guest.take(False) == [0x12, 0x1c, 0xf0, 0x1c, 0xf0, 0x12]
            vm.ask("input-send-event", events=[{"type": "key", "data": {"key": {"type": "number", "data": 0x1e}, "down": True}}])
            assert guest.take(False) == [0x1c]
            vm.ask("input-send-event", events=[])
            vm.ask("input-send-event", head=0, events=[])
            refused(vm.ask, "input-send-event", says="too many events", events=[key("a", True)] * 100)

    def test_mistakes(self):
        with self.vm() as vm:
            for event, says in (({"type": "key"}, "'key' and 'down'"), ({"type": "foo"}, "one of key, btn, rel, abs"), ({}, "'type'"),
                                (key("nosuch", True), "no key 'nosuch'"), (button("nosuch", True), "one of left, middle"), (move("z", 1), "one of x, y"),
                                (move("x", 1 << 40), "'value' is a number"), (move("x", "1"), "'value' is a number"), (button("left", 1), "true or false"),
                                ({"type": "rel", "data": {"axis": "x", "value": 1, "more": 1}}, "'axis' and 'value'"),
                                ({"type": "abs", "data": {"axis": "x", "value": -1}}, "from 0 to 32767")):
                refused(vm.ask, "input-send-event", says=says, events=[event])
                refused(vm.ask, "input-send-event", says="event 1: ", events=[move("x", 1), event])
            refused(vm.ask, "input-send-event", says="at most 256", events=[move("x", 0)] * 257)
            refused(vm.ask, "input-send-event", says="no device hears events of type 'abs'", events=[{"type": "abs", "data": {"axis": "x", "value": 1}}])
            refused(vm.ask, "input-send-event", kind="DeviceNotFound", says="'d'", device="d", events=[])
            refused(vm.ask, "input-send-event", says="needs 'device'", head=1, events=[])
            refused(vm.ask, "input-send-event", says="'events' is missing")
            for line, says in (("mouse_move a 1", "dx"), ("mouse_move 1", "string expected"), ("mouse_move 1 --1", "dy"), ("mouse_move 99999999999 1", "dx"),
                               ("mouse_button 8", "0 to 7"), ("mouse_button -1", "0 to 7"), ("mouse_button", "expression"), ("mouse_set", "expression")):
                assert says in vm.qmp.human(line), (line, vm.qmp.human(line))
            vm.ask("stop")
            refused(vm.ask, "input-send-event", says="does not run", events=[move("x", 1)])
            for line in ("mouse_move 1 1", "mouse_button 1"):
                assert "does not run" in vm.qmp.human(line)


if __name__ == "__main__":
    sys.exit(cases.run(Tests, 1))
