#!/usr/bin/env python3
"""A guest that loops in whatever way is stopped by the monitor, and goes on. Usage: test_kick.py PROGRAM

The loops are 16-bit code in a ROM of 64 KiB. Nothing in them leaves translated code by itself: no device, no interrupt, no
stack that goes on to another page."""

import sys
import time

import cases
from qmp import VmTests

SIZE, START, FAR = 0x10000, 0x100, 0x2000  # of the ROM; where a loop begins; in another page


def relative(here, to):
    return (to - here & 0xffff).to_bytes(2, "little")


def call(here, to):
    return b"\xe8" + relative(here + 3, to)


def jump(here, to):
    return b"\xe9" + relative(here + 3, to)


def jump_if_zero(here, to):
    return b"\x0f\x84" + relative(here + 4, to)


def far(to):
    return to.to_bytes(2, "little") + b"\x00\xf0"


# What lies where. SS:SP is 0:7000 less a word, AX is 0.
LOOPS = {
    "JMP to itself": {START: b"\xeb\xfe"},
    "JMP between pages": {START: jump(START, FAR), FAR: jump(FAR, START)},
    "INC AX; OR AX, 1; JNZ": {START: b"\x40\x83\xc8\x01\x75\xfa"},
    "TEST AX, AX; JNZ; JZ": {START: b"\x85\xc0\x75\xfc\x74\xfa"},
    "JZ between pages": {START: b"\x85\xc0" + jump_if_zero(START + 2, FAR), FAR: b"\x85\xc0" + jump_if_zero(FAR + 2, START)},
    "INC CX; INC CX; LOOP": {START: b"\x41\x41\xe2\xfc\xeb\xfa"},
    "XOR CX, CX; JCXZ": {START: b"\x31\xc9\xe3\xfc"},
    "POP AX; CALL": {START: b"\x58" + call(START + 1, START)},
    "POP AX; CALL between pages": {START: b"\x58" + call(START + 1, FAR), FAR: b"\x58" + call(FAR + 1, START)},
    "POP AX; CALL BX": {START: b"\x58\xbb" + START.to_bytes(2, "little") + b"\xff\xd3"},
    "CALL; JMP, and RET": {START: call(START, 2 * START) + b"\xeb\xfb", 2 * START: b"\xc3"},
    "PUSH; RET": {START: b"\x68" + START.to_bytes(2, "little") + b"\xc3"},
    "JMP BX": {START: b"\xbb" + START.to_bytes(2, "little") + b"\xff\xe3"},
    "JMP FAR": {START: b"\xea" + far(START)},
    "ADD SP, 4; CALL FAR": {START: b"\x83\xc4\x04\x9a" + far(START)},
    "PUSH CS; PUSH; RETF": {START: b"\x0e\x68" + START.to_bytes(2, "little") + b"\xcb"},
    "PUSHF; PUSH CS; PUSH; IRET": {START: b"\x9c\x0e\x68" + START.to_bytes(2, "little") + b"\xcf"},
    "INT 80h; ADD SP, 6": {START: b"\xc7\x06\x00\x02" + START.to_bytes(2, "little") + b"\xc7\x06\x02\x02\x00\xf0\x83\xc4\x06\xcd\x80"},
    "REP STOSB; JMP": {START: b"\x31\xff\xb9\x00\x01\xf3\xaa\xeb\xf7"},
}


def image(parts):
    rom = bytearray(b"\xf4" * SIZE)  # HLT
    # xor ax, ax; mov ss, ax; mov ds, ax; mov es, ax; mov sp, 7000h; push ax
    begin = bytes.fromhex("31c0 8ed0 8ed8 8ec0 bc0070 50")
    for at, code in {0: begin + jump(len(begin), START), **parts, 0xfff0: bytes.fromhex("ea000000f0")}.items():
        rom[at:at + len(code)] = code
    return bytes(rom)


class Tests(VmTests):
    def stops(self, *options):
        for name, parts in LOOPS.items():
            with self.vm("-machine", "pc", "-bios", self.path("rom", image(parts)), base=options) as vm:
                for _ in range(3):
                    time.sleep(0.05)
                    vm.ask("stop")
                    registers = vm.qmp.human("info registers")
                    assert "CS =f000" in registers and "HLT=0" in registers, f"{name}: {registers}"
                    vm.ask("cont")
                vm.ask("quit")
                assert vm.end() == (0, ""), name

    def test_translated(self):
        self.stops("-accel", "tcg")

    def test_one_by_one(self):
        self.stops("-accel", "tcg,one-insn-per-tb=on")


if __name__ == "__main__":
    sys.exit(cases.run(Tests, 1))
