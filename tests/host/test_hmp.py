#!/usr/bin/env python3
"""The human monitor on the real program: every command, wrong lines, completion and history, on a socket (plain text) and
on a pseudo terminal. Usage: test_hmp.py PROGRAM"""

import json
import os
import re
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time

TIMEOUT = 60
PROMPT = b"(qemu) "


class Vm:
    """A machine with a monitor on a socket."""

    def __init__(self, program, folder, *args, defaults=True):
        self.path = os.path.join(folder, "hmp")
        base = ["-nodefaults", "-display", "none", "-accel", "tcg", "-m", "32M"] if defaults else []
        self.process = subprocess.Popen([program, *base, *args, "-monitor", f"unix:{self.path},server=on,wait=off"])
        self.socket = self.connect()
        self.banner = self.read()

    def connect(self):
        end = time.monotonic() + TIMEOUT
        while True:
            s = socket.socket(socket.AF_UNIX)
            try:
                s.connect(self.path)
                s.settimeout(TIMEOUT)
                return s
            except OSError:
                s.close()
                assert time.monotonic() < end and self.process.poll() is None, "no monitor"
                time.sleep(0.01)

    def read(self):
        data = b""
        while not data.endswith(PROMPT):
            piece = self.socket.recv(65536)
            assert piece, f"end of file after {data}"
            data += piece
        return data

    def raw(self, data):
        self.socket.sendall(data)
        return self.read()

    def run(self, line):
        """What one line answers, without its echo and the prompt."""
        data = self.raw(line.encode() + b"\n")
        echo = line.encode() + b"\r\n"
        assert data.startswith(echo), (line, data)
        text = data[len(echo):-len(PROMPT)].decode(errors="backslashreplace")
        assert "\033" not in text, text
        assert "\n" not in text.replace("\r\n", ""), text
        return text.replace("\r\n", "\n")

    def send(self, data, what):
        """Keys that do not end a line; waits for `what`."""
        self.socket.sendall(data)
        got = b""
        while what not in got:
            piece = self.socket.recv(65536)
            assert piece, f"end of file after {got}"
            got += piece
        return got

    def quit(self):
        self.socket.sendall(b"quit\n")
        assert self.process.wait(TIMEOUT) == 0
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *what):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.socket.close()


def same(vm, cases):
    for line, wanted in cases:
        text = vm.run(line)
        assert text == wanted, f"{line}: {text!r} instead of {wanted!r}"


def matches(vm, cases):
    for line, pattern in cases:
        text = vm.run(line)
        assert re.search(pattern, text), f"{line}: {text!r} has no {pattern!r}"


def help_of(name):
    return f'Try "help {name}" for more information\n'


# --- a machine that stands ---


def expressions(vm):
    same(vm, [
        ("p 1+2*3", "0x7\n"),
        ("print 4+1&1", "0x5\n"),
        ("p/d -1", "-1\n"),
        ("p 5", "5\n"),  # the format stays
        ("p/u -1", "18446744073709551615\n"),
        ("p/o 8", "010\n"),
        ("p/c 65", "'A'\n"),
        ("p/c 10", "'\\n'\n"),
        ("p/c 200", "'\\xc8'\n"),
        ("p/x 0", "0\n"),
        ("p 'a'", "0x61\n"),
        ("p $eip", "0xfff0\n"),
        ("p $pc", "0xfffffff0\n"),
        ("p $cs.base", "0xffff0000\n"),
        ("p $cs", "0xf000\n"),
        ("p $cr0", "0x60000010\n"),
        ("p $rax+$rbx", "0\n"),
        ("p", "unexpected end of expression\n" + help_of("p")),
        ("p $foo", "unknown register\n" + help_of("p")),
        ("p 1 2", "print|p: extraneous characters at the end of line\n" + help_of("p")),
        ("p 1/0", "division by zero\n" + help_of("p")),
        ("p/z 1", "invalid char in format: 'z'\n" + help_of("p")),
    ])


def memory(vm, folder):
    path = os.path.join(folder, "memory")
    same(vm, [
        ("xp/4xw 0x1000", "0000000000001000: 0x00000000 0x00000000 0x00000000 0x00000000\n"),
        ("x/9xb 0x1000", "0000000000001000: 0x00 0x00 0x00 0x00 0x00 0x00 0x00 0x00\n0000000000001008: 0x00\n"),
        ("xp/3dh 0x1000", "0000000000001000:     0     0     0\n"),
        ("xp/3uw 0x1000", "0000000000001000:          0          0          0\n"),
        ("xp/3dg 0x1000", "0000000000001000:                    0                    0\n"
                          "0000000000001010:                    0\n"),
        ("xp/2ob 0x1000", "0000000000001000:   0   0\n"),
        ("xp/2c 0x1000", "0000000000001000: '\\x00' '\\x00'\n"),
        ("xp/0xb 0", ""),
        ("xp/2xw 0xd0000000", "00000000d0000000: Cannot access memory\n"),
        ("xp/i 0xfffffffffff", "0xfffffffffff: unable to read memory\n"),
        ("sum 0x1000 16", "00000\n"),
        ("sum 0xd0000000 0x1000000", "00000\n"),  # nothing is there
        ("gva2gpa 0x12345", "gpa: 0x12345\n"),
        ("gpa2hva 0xd0000000", "Error: No memory is mapped at address 0xd0000000\n"),
        ("gpa2hva 0xfec00000", "Error: Memory at address 0xfec00000 is not RAM\n"),
        ("x", "unexpected end of expression\n" + help_of("x")),
        ("x/4xq 0", "invalid char in format: 'q'\n" + help_of("x")),
        ("sum 0", "unexpected end of expression\n" + help_of("sum")),
    ])
    matches(vm, [
        ("x/2i 0xfffffff0", r"^0xfffffff0:  [0-9a-f ]{24} +\S+"),
        ("gpa2hva 0x1000", r"^Host virtual address for 0x1000 \(pc.ram\) is 0x[0-9a-f]+\n$"),
    ])
    first = vm.run("xp/16xb 0xffff0")
    if vm.run(f"pmemsave 0xffff0 16 {path}") == "":
        data = open(path, "rb").read()
        shown = bytes(int(x, 16) for x in re.findall(r" 0x([0-9a-f]{2})", first))
        assert data == shown, (data, shown)
        same(vm, [("pmemsave 0 16", "pmemsave: filename expected\n" + help_of("pmemsave"))])


def ports(vm):
    same(vm, [
        ("o/b 0x70 0x0f", ""),
        ("o/b 0x71 0x5a", ""),
        ("i/xb 0x71", "portb[0x0071] = 0x5a\n"),
        ("i/w 0x8000", "portl[0x8000] = 0xffffffff\n"),
        ("i/h 0x8000", "portw[0x8000] = 0xffff\n"),
        ("i 1 2 3", "i: extraneous characters at the end of line\n" + help_of("i")),
        ("o/b 0x80", "unexpected end of expression\n" + help_of("o")),
    ])


def registers(vm):
    text = vm.run("info registers")
    assert text.startswith("\nCPU#0\nEAX=00000000 EBX=00000000"), text
    for line in ("EIP=0000fff0 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=0\n",
                 "CS =f000 ffff0000 0000ffff 00009300\n", "EFER=0000000000000000\n",
                 "FCW=0040 FSW=0000 [ST=0] FTW=ff MXCSR=00001f80\n"):
        assert line in text, (line, text)
    text = vm.run("info registers -a")
    assert "\nCPU#0\n" in text and "\nCPU#1\n" in text, text
    assert vm.run("info registers 1").startswith("\nCPU#1\n")
    same(vm, [
        ("info registers 7", "CPU#7 not available\n"),
        ("info registers -z", "registers: unsupported option -z\n" + help_of("info registers")),
        ("info registers x", "invalid char 'x' in expression\n" + help_of("info registers")),
        ("cpu 1", ""),
        ("cpu 7", "invalid CPU index\n"),
        ("cpu -1", "invalid CPU index\n"),
        ("cpu", "unexpected end of expression\n" + help_of("cpu")),
    ])
    assert vm.run("info registers").startswith("\nCPU#1\n")
    vm.run("cpu 0")
    matches(vm, [
        ("info lapic", r"^dumping local APIC state for CPU 0 \n\nLVT0\t 0x000[0-9a-f]{5} active-hi (edge |level)"),
        ("info lapic 1", r"^dumping local APIC state for CPU 1 \n"),
        ("info lapic 9", r"^No CPU available\n$"),
        ("info pic", r"ioapic0: ver=0x20 id=0x00 sel=0x00\n  pin 0  0x0000000000010000 dest=0 vec=0   active-hi edge  "
                     r"masked fixed  physical\n"),
        ("info pic", r"pic0: irr=00 imr=[0-9a-f]{2} isr=00 hprio=0 irq_base=[0-9a-f]{2} rr_sel=0 elcr=00 fnm=0\n"),
        ("info irq", r"not available for ioapic"),
        ("info mem", r"^PG disabled\n$"),
        ("info tlb", r"^PG disabled\n$"),
        ("info jit", r"^Translation buffer state:\ngen code size .*\nTB count  "),
        ("info accelerators", r"\n\* tcg: |^\* tcg: "),
    ])


def trees(vm):
    matches(vm, [
        ("info mtree", r"^address-space: .*\n  0000000000000000-[0-9a-f]{16} \(prio 0, i/o\): "),
        ("info mtree -f", r"^FlatView #0\n AS \""),
        ("info mtree -f -d", r"  Dispatch\n"),
        ("info mtree -o", r"rtc.* owner:\{dev path=/machine/unattached/device\[\d+\]\}"),
        ("info mtree -D", r"\[disabled\]"),
        ("info mtree x", r"extraneous"),
        ("info qtree", r"bus: main-system-bus\n  type System\n(.*\n)*  dev: i440FX-pcihost, id \"\"\n    bus: pci.0\n"
                       r"      type PCI\n(.*\n)*        class Bridge, addr 00:01.3, pci id 8086:7113 \(sub 1af4:1100\)\n"),
        ("info qtree", r"lost_tick_policy = \"discard\"\n"),
        ("info qdm", r"name \"pci-testdev\""),
        ("info qom-tree", r"^/machine \(pc-i440fx-[0-9.]+-machine\)\n  /"),
        ("info qom-tree /objects", r"^/objects \(container\)\n  /pc.ram \(memory-backend-ram\)\n$"),
        ("info qom-tree /nowhere", r"^Path '/nowhere' could not be resolved\.\n$"),
        ("info ramblock", r"pc\.ram .* 0x0000000002000000\n"),
        ("info pci", r"  Bus  0, device   1, function 3:\n    Bridge: PCI device 8086:7113\n      PCI subsystem 1af4:1100\n"),
    ])


def machine(vm):
    same(vm, [
        ("info status", "VM status: paused (prelaunch)\n"),
        ("info name", "tester\n"),
        ("info uuid", "12345678-1234-1234-1234-123456789abc\n"),
        ("info numa", "0 nodes\n"),
        ("info network", ""),
        ("info block", ""),
        ("info block-jobs", "No active jobs\n"),
        ("info snapshots", "no block device can store vmstate for snapshot\n"),
        ("info balloon", "Error: No balloon device has been activated\n"),
        ("info usb", "Error: USB support not enabled\n"),
        ("info vnc", "None\n"),
        ("info spice", "Server: disabled\n"),
        ("info virtio", "No VirtIO devices\n"),
    ])
    matches(vm, [
        ("info version", r"^9\.1\.\d+"),
        ("info kvm", r"^kvm support: "),
        ("info cpus", r"^\* CPU #0: thread_id=\d+\n  CPU #1: thread_id=\d+\n$"),
        ("info memory_size_summary", r"^base memory: 33554432\nplugged memory: 0\n$"),
        ("info memdev", r"^memory backend: \S+\n  size:  33554432\n  merge: true\n"),
        ("info memory-devices", r"^$"),
        ("info chardev", r"(^|\n)compat_monitor0: filename=unix:"),
        ("info roms", r"^(addr=[0-9a-f]{16} size=0x[0-9a-f]{6,} mem=r[oa]m name=\".*\"\n)+$"),
        ("info hotpluggable-cpus", r"^Hotpluggable CPUs:\n  type: \"qemu64-x86_64-cpu\"\n  vcpus_count: \"1\"\n"),
    ])


def lines(vm):
    same(vm, [
        ("", ""),
        ("   ", ""),
        ("foo", "unknown command: 'foo'\n"),
        ("infoo", "unknown command: 'infoo' (did you mean 'info'?)\n"),
        ("conts", "unknown command: 'conts' (did you mean 'cont'?)\n"),
        ("info statuz", "unknown command: 'info statuz' (did you mean 'status'?)\n"),
        ("INFO status", "unknown command: 'INFO' (did you mean 'info'?)\n"),
        ("/", "unknown command: ''\n"),
        ("stop now", "stop|s: extraneous characters at the end of line\n" + help_of("stop")),
        ("info cpus extra", "cpus: extraneous characters at the end of line\n" + help_of("info cpus")),
        ("savevm x", "savevm: not supported yet (snapshots)\n"),
        ("migrate tcp:x", "migrate: not supported yet (migration)\n"),
        ("info rocker x", "info rocker: not supported yet (rocker switches)\n"),
        ("  info   status ", "VM status: paused (prelaunch)\n"),
    ])
    text = vm.run("help")
    names = [line.split()[0] for line in text.splitlines() if " -- " in line]
    assert names == sorted(names) and "quit|q" in names and "x" in names, names
    for name in names:
        assert vm.run("help " + name.split("|")[0]) != "", name
    text = vm.run("info")
    assert text == vm.run("help info")
    for name in [line.split()[1] for line in text.splitlines() if " -- " in line]:
        assert vm.run("help info " + name).startswith(f"info {name} "), name
        vm.run("info " + name)
    same(vm, [("help foo", "unknown command: 'foo'\n"), ("? info foo", "unknown command: 'info foo'\n")])
    long_line = b"p " + b"1" * 5000
    text = vm.raw(long_line + b"\n")
    assert b"the line is too long" in text, text[-200:]
    same(vm, [("p/x 1", "0x1\n")])


def actions(vm, folder):
    log = os.path.join(folder, "log")
    same(vm, [
        ("log", "log: string expected\n" + help_of("log")),
        ("log foo", "Error: no log item 'foo'\n"),
        ("log exec", "Error: exec, cpu and nochain begin when the machine starts: give them with -d\n"),
        (f"logfile {log}", ""),
        ("logfile /nowhere/log", "Error: cannot open log file '/nowhere/log': No such file or directory\n"),
        ("log int,guest_errors", ""),
        ("log none", ""),
        ("boot_set c", "boot device list now set to c\n"),
        ("boot_set cc", "Error: 'c' is there twice\n"),
        ("boot_set z", "Error: 'z' is no drive of a PC: a and b are floppies, c the disk, d the CD-ROM, n the "
                       "network\n"),
        ("trace-event x on", "Error: no trace event 'x'\n"),
        ("trace-event x", "Expected 'on' or 'off'\n" + help_of("trace-event")),
        ("sync-profile", "sync-profile is off\n"),
        ("sync-profile on", "Error: sync-profile on: not supported yet\n"),
        ("one-insn-per-tb off", ""),
        ("one-insn-per-tb on", ""),
        ("one-insn-per-tb off", ""),
        ("mce 0 1 0 0 0 0", "Error: machine-check status 0 is not valid: bit 63 is clear\n"),
        ("mce 9 1 0 0 0 0", "Error: there is no vCPU 9\n"),
        ("mce 0", "unexpected end of expression\n" + help_of("mce")),
        ("sendkey foo", "invalid parameter: foo\n"),
        ("sendkey a-", "invalid parameter: \n"),
        ("sendkey ctrl-alt-delete", ""),
        ("i/xb 0x60", "portb[0x0060] = 0x1d\n"),
        ("i/xb 0x60", "portb[0x0060] = 0x38\n"),
        ("i/xb 0x60", "portb[0x0060] = 0xe0\n"),
        ("i/xb 0x60", "portb[0x0060] = 0x53\n"),
        ("sendkey a -1", "Error: keys can be held for 0 to 60000 ms\n"),
        ("exit_preconfig", "Error: the machine is made already\n"),
        ("gdbserver tcp:127.0.0.1:0", "Waiting for gdb connection on device 'tcp:127.0.0.1:0'\n"),
        ("gdbserver none", "Disabled gdbserver\n"),
        ("watchdog_action", "watchdog_action: string expected\n" + help_of("watchdog_action")),
    ])
    matches(vm, [("log help", r"\nguest_errors  +"), ("help log", r"^Log items"),
                 ("gdbserver foo", r"^Error: Could not open gdbserver on device 'foo': "),
                 ("boot_set", r"string expected")])
    # What a boot order is to firmware: CMOS bytes.
    vm.run("boot_set dcn")
    vm.run("o/b 0x70 0x3d")
    same(vm, [("i/xb 0x71", "portb[0x0071] = 0x23\n")])


def objects(vm):
    same(vm, [
        ("chardev-add null,id=n1", ""),
        ("chardev-add foo,id=n2", "Error: no character device backend 'foo'\n"),
        ("chardev-add", "chardev-add: string expected\n" + help_of("chardev-add")),
        ("chardev-add ringbuf,id=r1,size=64", ""),
        ('ringbuf_write r1 "hello world"', ""),
        ("ringbuf_read r1 5", "hello\n"),
        ("ringbuf_read r1 100", " world\n"),
        ("object_add tls-cipher-suites,id=rng0", ""),
        ("object_add foo,id=x", "Error: no object type 'foo'\n"),
        ("object_del rng0", ""),
        ("qom-list", "/\n"),
        ("chardev-remove n1", ""),
    ])
    matches(vm, [
        ("object_del rng0", r"^Error: .*rng0"),
        ("chardev-remove nn", r"^Error: .*nn"),
        ("ringbuf_read nn 1", r"^Error: .*nn"),
        ("ringbuf_read compat_monitor0 1", r"^Error: .*ring"),
        ("device_add foo", r"^Error: .*foo"),
        ("device_del nobody", r"^Error: .*nobody"),
        ("device_add help", r"name \"pci-testdev\""),
        ("device_add pci-testdev,help", r"addr=<"),
        ("object_add help", r"^List of user creatable objects:\n(.*\n)*  tls-cipher-suites\n"),
        ("object_add tls-cipher-suites,help", r"^tls-cipher-suites options:\n"),
        ("chardev-add help", r"ringbuf"),
        ("qom-list /", r"(^|\n)machine \(child<"),
        ("qom-list /nowhere", r"^Error: "),
        ("qom-get /machine graphics", r"^(true|false)\n$"),
        ("qom-get /machine nothing", r"^Error: "),
        ("qom-set -j /machine graphics {", r"^Error: "),
        ("qom-set /machine", r"string expected"),
        ("closefd nobody", r"^Error: .*nobody"),
        ("getfd x", r"^Error: "),
    ])


def test_standing(program, folder):
    with Vm(program, folder, "-S", "-smp", "2", "-name", "tester", "-uuid", "12345678-1234-1234-1234-123456789abc") as vm:
        assert vm.banner.startswith(b"QEMU 9.1"), vm.banner
        expressions(vm)
        memory(vm, folder)
        ports(vm)
        registers(vm)
        trees(vm)
        machine(vm)
        lines(vm)
        actions(vm, folder)
        objects(vm)
        vm.quit()


# --- a machine that runs ---


def test_running(program, folder):
    with Vm(program, folder) as vm:  # firmware finds nothing to boot from
        same(vm, [("info status", "VM status: running\n")])
        for _ in range(20):
            assert vm.run("info registers").startswith("\nCPU#0\n")
            vm.run("x/4i $pc")
            vm.run("info mem")
        same(vm, [("info status", "VM status: running\n"), ("s", ""), ("info status", "VM status: paused\n"),
                  ("stop", ""), ("c", ""), ("info status", "VM status: running\n"), ("system_reset", ""),
                  ("nmi", ""), ("watchdog_action none", ""), ("sendkey ctrl-alt-delete 1", ""),
                  ("info status", "VM status: running\n")])
        matches(vm, [("system_wakeup", r"^Error: "), ("watchdog_action foo", r"^Error: .*foo")])
        vm.quit()


def test_none(program, folder):
    with Vm(program, folder, "-machine", "none", "-display", "none", defaults=False) as vm:
        for line in ("info registers", "x 0", "cpu 0", "info mem", "gva2gpa 0", "mce 0 0 0 0 0 0", "info lapic"):
            assert vm.run(line) == "Error: No CPU available\n", line
        same(vm, [("info cpus", ""), ("xp/xb 0", "0000000000000000: Cannot access memory\n"), ("info pic", ""),
                  ("sendkey a", "Error: this machine has no keyboard\n"),
                  ("boot_set c", "Error: this machine has no CMOS memory to hold the boot order\n"),
                  ("p $rip", "unknown register\n" + help_of("p"))])
        vm.run("info qtree")
        vm.run("info mtree -f")
        vm.quit()


# --- page tables ---

# What firmware of a few bytes does: loads CR4, CR3, EFER and CR0 from 504h on, and halts.
FIRMWARE_CODE = bytes.fromhex("31c08ed8"      # xor ax,ax; mov ds,ax
                              "66a108050f22e0"  # mov eax,[508h]; mov cr4,eax
                              "66a104050f22d8"  # mov eax,[504h]; mov cr3,eax
                              "66b9800000c066a10c056631d20f30"  # mov ecx,efer; mov eax,[50ch]; xor edx,edx; wrmsr
                              "66a110050f22c0"  # mov eax,[510h]; mov cr0,eax
                              "f4ebfd")         # hlt; jmp
P, W, U, A, D, PS, G, NX = 1, 2, 4, 32, 64, 128, 256, 1 << 63
PE_PG, PSE, PAE, LME_NXE = 0x80000011, 0x10, 0x20, 0x900


class Tables:
    """Page tables from 10000h on."""

    def __init__(self, entry_size):
        self.entry_size, self.pages = entry_size, [bytearray(4096)]

    def put(self, table, index, value):
        at = index * self.entry_size
        self.pages[(table >> 12) - 16][at:at + self.entry_size] = value.to_bytes(self.entry_size, "little")

    def new(self, table, index, rights):
        self.pages.append(bytearray(4096))
        below = (15 + len(self.pages)) << 12
        self.put(table, index, below | rights)
        return below


def low_table(t, table):
    """The first pages, some with fewer rights, and firmware's code."""
    t.put(table, 0, 0x0000 | P | W)
    t.put(table, 1, 0x5000 | P)
    t.put(table, 2, 0x6000 | P | W | U | A | D | G)
    t.put(table, 3, 0x7000 | P | W | U)
    for i in range(16):
        t.put(table, 0xf0 + i, (0xf0 + i) << 12 | P | W | A)


LOW_TLB = [(0x0000, 0x0000, "--------W"), (0x1000, 0x5000, "---------"), (0x2000, 0x6000, "-G-DA--UW"),
           (0x3000, 0x7000, "-------UW")] + [(i << 12, i << 12, "----A---W") for i in range(0xf0, 0x100)]


def tables_32():
    t = Tables(4)
    low_table(t, t.new(0x10000, 0, P | W | U))
    t.put(0x10000, 1, 0x800000 | P | W | PS)
    t.put(0x10000, 1023, 0xc00000 | P | W | U | PS)
    return t, PSE, 0, LOW_TLB + [(0x400000, 0x800000, "--P-----W"), (0xffc00000, 0xc00000, "--P----UW")]


def tables_pae():
    t = Tables(8)
    directory = t.new(0x10000, 0, P)
    low_table(t, t.new(directory, 0, P | W | U))
    t.put(directory, 1, 0x800000 | P | W | PS | NX)
    high = t.new(0x10000, 3, P)
    t.put(high, 511, 0xa00000 | P | PS)
    return t, PAE, 0x800, LOW_TLB + [(0x200000, 0x800000, "X-P-----W"), (0xffe00000, 0xa00000, "--P------")]


def tables_long():
    t = Tables(8)
    pdpt = t.new(0x10000, 0, P | W | U)
    directory = t.new(pdpt, 0, P | W | U)
    low_table(t, t.new(directory, 0, P | W | U))
    t.put(directory, 511, 0x800000 | P | W | PS)
    t.put(pdpt, 1, P | W | PS | NX)  # 1 GiB
    high = t.new(0x10000, 511, P | U)  # without W: nothing below has it
    t.put(t.new(high, 511, P | W | U), 510, 0xc00000 | P | W | U | PS)
    return t, PAE, LME_NXE, LOW_TLB + [
        (0x3fe00000, 0x800000, "--P-----W"), (0x40000000, 0, "X-P-----W"),
        (0xffffffffffc00000, 0xc00000, "--P----UW")]


def stretches(entries, sizes, read_only):
    """What info mem makes of them."""
    out = []
    for linear, _, flags in entries:
        size = sizes.get(linear, 0x1000)
        rights = ("u" if flags[7] == "U" else "-") + "r" + ("w" if flags[8] == "W" and linear not in read_only else "-")
        if out and out[-1][1] == linear and out[-1][2] == rights:
            out[-1][1] += size
        else:
            out.append([linear, linear + size, rights])
    return "".join(f"{a:016x}-{b:016x} {b - a:016x} {r}\n" for a, b, r in out)


def elf_segments(path):
    """(linear address, physical address, size) of what an ELF core has of memory."""
    with open(path, "rb") as f:
        core = f.read()
    at, n = struct.unpack_from("<Q", core, 32)[0], struct.unpack_from("<H", core, 56)[0]
    headers = [struct.unpack_from("<IIQQQQQQ", core, at + 56 * i) for i in range(n)]
    assert all(h[2] + h[5] <= len(core) for h in headers)
    return [(h[3], h[4], h[6]) for h in headers if h[0] == 1]


def test_paging(program, folder):
    firmware = bytearray(65536)
    firmware[:len(FIRMWARE_CODE)] = FIRMWARE_CODE
    firmware[0xfff0:0xfff5] = bytes.fromhex("ea000000f0")
    bios, memory_file = os.path.join(folder, "bios"), os.path.join(folder, "tables")
    open(bios, "wb").write(firmware)
    cases = [(tables_32(), {0x400000: 4 << 20, 0xffc00000: 4 << 20}, []),
             (tables_pae(), {0x200000: 2 << 20, 0xffe00000: 2 << 20}, []),
             (tables_long(), {0x3fe00000: 2 << 20, 0x40000000: 1 << 30, 0xffffffffffc00000: 2 << 20},
              [0xffffffffffc00000])]
    for (tables, cr4, efer, entries), sizes, read_only in cases:
        registers_at_504 = b"".join(x.to_bytes(4, "little") for x in (0x10000, cr4, efer, PE_PG))
        image = bytearray(0x10000 - 0x504)
        image[:16] = registers_at_504
        open(memory_file, "wb").write(bytes(image) + b"".join(tables.pages))
        with Vm(program, folder, "-cpu", "max", "-bios", bios, "-device",
                f"loader,file={memory_file},addr=0x504,force-raw=on") as vm:
            end = time.monotonic() + TIMEOUT
            while "CR0=80000011" not in (text := vm.run("info registers")):
                assert time.monotonic() < end, text
            vm.run("stop")
            wanted = "".join(f"{linear:016x}: {physical:016x} {flags}\n" for linear, physical, flags in entries)
            same(vm, [("info tlb", wanted), ("info mem", stretches(entries, sizes, read_only))])
            core = os.path.join(folder, "core")
            same(vm, [(f"dump-guest-memory -p {core}", "")])
            segments = elf_segments(core)
            for linear, physical, _ in entries:
                if physical < 16 << 20 and not 0xa0000 <= physical < 0x100000:
                    assert any(v <= linear < v + n and p + linear - v == physical for v, p, n in segments), (hex(linear), segments)
            for linear, physical, _ in entries:
                same(vm, [(f"gva2gpa {linear:#x}", f"gpa: {physical:#x}\n" if physical else "gpa: 0\n")])
            same(vm, [("gva2gpa 0x4000", "Unmapped\n"), ("x/xb 0x4000", "0000000000004000: Cannot access memory\n"),
                      ("x/2xb 0xfffff", "00000000000fffff: Cannot access memory\n"),
                      ("x/2xb 0x2fff", "0000000000002fff: 0x00 0x00\n")])
            vm.quit()


def test_wild_tables(program, folder):
    """Tables that lead to themselves: 2^36 pages, of which some are shown."""
    bios, memory_file = os.path.join(folder, "bios"), os.path.join(folder, "tables")
    firmware = bytearray(65536)
    firmware[:len(FIRMWARE_CODE)] = FIRMWARE_CODE
    firmware[0xfff0:0xfff5] = bytes.fromhex("ea000000f0")
    open(bios, "wb").write(firmware)
    image = bytearray(0x11000 - 0x504)
    image[:16] = b"".join(x.to_bytes(4, "little") for x in (0x10000, PAE, LME_NXE, PE_PG))
    image[0x10000 - 0x504:] = b"".join((0x10000 | P | W | A).to_bytes(8, "little") for _ in range(512))
    open(memory_file, "wb").write(image)
    with Vm(program, folder, "-S", "-cpu", "max", "-bios", bios, "-device",
            f"loader,file={memory_file},addr=0x504,force-raw=on") as vm:
        # Code fetches from the tables themselves then: a triple fault resets it. A step is enough to have CR0 set.
        vm.run("c")
        for _ in range(50):
            vm.run("stop")
            if "CR0=8" in vm.run("info registers"):
                begin = time.monotonic()
                text = vm.run("info tlb")
                assert "there is more" in text or text == "PG disabled\n", text[-200:]
                assert time.monotonic() - begin < TIMEOUT
                break
            vm.run("c")
        vm.quit()


# --- keys ---


def test_editing(program, folder):
    with Vm(program, folder, "-S") as vm:
        # Without a terminal: text, backspaces and spaces only.
        text = vm.raw(b"info statos\033[D\033[D\033[3~u\n")
        assert text.endswith(b"VM status: paused (prelaunch)\r\n(qemu) "), text
        assert b"\033" not in text, text
        text = vm.raw(b"\020\n")
        assert b"VM status" in text and b"\033" not in text, text
        text = vm.run("info history")
        assert text == "0: 'info status'\n1: 'info history'\n", text
        vm.send(b"info statu\t", b"info status ")
        assert b"\033" not in vm.send(b"\025info p\t", b"\r\npci       pic       profile   \r\n(qemu) info p")
        vm.raw(b"\025\n")
        vm.quit()


def read_pty(fd, what):
    data, end = b"", time.monotonic() + TIMEOUT
    while what not in data:
        assert select.select([fd], [], [], max(0, end - time.monotonic()))[0], f"no {what} after {data}"
        data += os.read(fd, 4096)
    return data


def test_terminal(program, folder):
    """On a pseudo terminal: escape codes, completion of everything that has names."""
    process = subprocess.Popen([program, "-S", "-nodefaults", "-display", "none", "-accel", "tcg", "-m", "32M", "-smp", "2",
                                "-chardev", "ringbuf,id=buffer", "-device", "pci-testdev,id=tester", "-object",
                                "tls-cipher-suites,id=random", "-monitor", "pty"], stdout=subprocess.PIPE)
    try:
        path = re.search(rb"(/dev/pts/\d+)", process.stdout.readline()).group(1)
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
        os.write(fd, b"\n")
        read_pty(fd, PROMPT)

        def complete(typed, wanted):
            os.write(fd, b"\025" + typed.encode() + b"\t")
            return read_pty(fd, wanted.encode())

        complete("one-i", "one-insn-per-tb ")
        complete("info hotp", "info hotpluggable-cpus ")
        complete("help info hotp", "hotpluggable-cpus ")
        complete("device_del tes", "tester ")
        complete("device_add pci-test", "pci-testdev ")
        complete("device_add pci-testdev,multi", "multifunction=")
        complete("object_del ran", "random ")
        complete("object_add tls-c", "tls-cipher-suites ")
        complete("ringbuf_read buf", "buffer ")
        complete("chardev-remove buf", "buffer ")
        complete("chardev-add ringb", "ringbuf ")
        complete("qom-list /mach", "/machine/")
        complete("qom-get /machine graph", "graphics ")
        complete("sendkey ctrl-alt-dele", "delete ")
        complete("log cpu_r", "cpu_reset ")
        complete("log unimp,cpu_r", "cpu_reset ")
        complete("watchdog_action inj", "inject-nmi ")
        complete("p $cs.b", "cs.base ")
        complete("x/4xb $gs_b", "gs_base ")
        complete("one-insn-per-tb of", "off ")
        complete(f"logfile {folder}/h", "mp-file ")
        assert b"alt       alt_r     \r\n" in complete("sendkey ctrl-al", "(qemu) sendkey ctrl-alt")
        os.write(fd, b"\025info statos\033[D\033[D\033[3~u\n")
        text = read_pty(fd, b"VM status: paused (prelaunch)\r\n(qemu) ")
        assert b"\033[K" in text, text
        os.write(fd, b"\014")
        read_pty(fd, b"\033[2J\033[1;1H(qemu) ")
        os.write(fd, b"quit\n")
        assert process.wait(TIMEOUT) == 0
        os.close(fd)
    finally:
        if process.poll() is None:
            process.kill()
        process.stdout.close()
        process.wait()


def test_mux(program, folder):
    """-serial mon:...: the escape key leads to the monitor and back."""
    path = os.path.join(folder, "mux")
    process = subprocess.Popen([program, "-S", "-nodefaults", "-display", "none", "-accel", "tcg", "-m", "32M",
                                "-serial", f"mon:unix:{path},server=on,wait=off"])
    try:
        end = time.monotonic() + TIMEOUT
        s = socket.socket(socket.AF_UNIX)
        while s.connect_ex(path):
            assert time.monotonic() < end
            time.sleep(0.01)
        s.settimeout(TIMEOUT)

        def until(what):
            data = b""
            while what not in data:
                piece = s.recv(4096)
                assert piece, data
                data += piece
            return data

        s.sendall(b"\001c")
        until(PROMPT)
        s.sendall(b"info status\n")
        until(b"VM status: paused (prelaunch)\r\n(qemu) ")
        s.sendall(b"\001cxyz\001c")
        until(PROMPT)
        s.sendall(b"quit\n")
        assert process.wait(TIMEOUT) == 0
        s.close()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_preconfig(program, folder):
    with Vm(program, folder, "--preconfig", "-S") as vm:
        later = "Command '{}' is not available with --preconfig until after exit_preconfig\n"
        same(vm, [("stop", later.format("stop")), ("info registers", later.format("info registers")),
                  ("info name", ""), ("qom-list", "/\n")])
        vm.run("help")
        vm.run("info status")
        vm.run("exit_preconfig")
        same(vm, [("info status", "VM status: paused (prelaunch)\n"), ("stop", "")])
        assert vm.run("info registers").startswith("\nCPU#0\n")
        vm.quit()


def test_human_monitor_command(program, folder):
    path = os.path.join(folder, "qmp")
    with Vm(program, folder, "-S", "-smp", "2", "-qmp", f"unix:{path},server=on,wait=off") as vm:
        qmp = socket.socket(socket.AF_UNIX)
        qmp.connect(path)
        qmp.settimeout(TIMEOUT)
        stream = qmp.makefile("rw")
        assert "QMP" in json.loads(stream.readline())

        def run(line, **more):
            arguments = {"command-line": line, **more}
            stream.write(json.dumps({"execute": "human-monitor-command", "arguments": arguments}) + "\n")
            stream.flush()
            return json.loads(stream.readline())["return"]

        stream.write('{"execute": "qmp_capabilities"}\n')
        stream.flush()
        assert json.loads(stream.readline()) == {"return": {}}
        assert run("info status") == "VM status: paused (prelaunch)\r\n"
        assert run("info registers", **{"cpu-index": 1}).startswith("\r\nCPU#1\r\n")
        assert run("info registers").startswith("\r\nCPU#0\r\n")
        assert run("foo") == "unknown command: 'foo'\r\n"
        assert run("info history") == "" and run("") == ""
        assert run("p/x 10") == "0xa\r\n" and run("p 10") == "0xa\r\n"
        qmp.close()
        vm.quit()


def test_clients(program, folder):
    """Somebody who goes away in the middle of a line, and one who does not read."""
    with Vm(program, folder, "-S") as vm:
        vm.socket.sendall(b"info sta")
        vm.socket.close()
        vm.socket = vm.connect()
        assert vm.read().endswith(PROMPT)
        same(vm, [("info status", "VM status: paused (prelaunch)\n"), ("info history", "0: 'info status'\n"
                                                                       "1: 'info history'\n")])
        vm.socket.setblocking(False)
        sent = 0
        try:
            while sent < 1 << 20:
                sent += vm.socket.send(b"info qtree\n" * 100)
        except BlockingIOError:
            pass
        vm.socket.close()
        vm.socket = vm.connect()
        assert vm.read().endswith(PROMPT)
        vm.quit()


TESTS = [test_standing, test_running, test_none, test_paging, test_wild_tables, test_editing, test_terminal, test_mux, test_preconfig,
         test_human_monitor_command, test_clients]


def main():
    program, only = sys.argv[1], sys.argv[2:]
    tests = [t for t in TESTS if not only or t.__name__ in only]
    failed = 0
    print(f"1..{len(tests)}", flush=True)
    for number, test in enumerate(tests, 1):
        with tempfile.TemporaryDirectory() as folder:
            open(os.path.join(folder, "hmp-file"), "w").close()
            try:
                test(program, folder)
                print(f"ok {number} - {test.__name__}", flush=True)
            except Exception as e:  # noqa: B902
                failed += 1
                print(f"not ok {number} - {test.__name__}: {type(e).__name__}: {e}", flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
