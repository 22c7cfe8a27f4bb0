#!/usr/bin/env python3
"""The ACPI tables of whole machines: found in the guest's memory as an operating system finds them, sums checked, and
read by ACPICA's disassembler without a word of complaint; the DSDT also goes through its compiler again.
Usage: test_tables.py PROGRAM MULTIBOOT-IMAGE [NUMBER...]"""

import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile

from qmp import Vm


def ram(*sizes):
    return [text for n, size in enumerate(sizes) for text in ("-object", f"memory-backend-ram,id=m{n},size={size},reserve=off")]


def numa(*texts):
    return [word for text in texts for word in ("-numa", text)]


TWO = [*ram("256M", "256M"), "-m", "512M", *numa("node,memdev=m0", "node,memdev=m1")]
FAR = numa("dist,src=0,dst=1,val=21", "dist,src=1,dst=0,val=31")
HMAT = ["-machine", "hmat=on", "-m", "512M", *ram("256M", "256M"), *numa(
    "node,nodeid=0,memdev=m0,cpus=0-1", "node,nodeid=1,memdev=m1,initiator=0",
    *(f"hmat-lb,initiator=0,target={t},hierarchy={h},data-type={k},{v}" for t in (0, 1) for h in ("memory", "first-level") for k, v in (
        ("access-latency", f"latency={5 + t}"), ("read-latency", f"latency={7 + t}"), ("access-bandwidth", f"bandwidth={200 - t}M"), ("write-bandwidth", f"bandwidth={100 - t}M"))),
    "hmat-cache,node-id=0,size=10K,level=1,associativity=direct,policy=write-back,line=8", "hmat-cache,node-id=0,size=20K,level=2,associativity=complex,policy=write-through,line=64",
    "hmat-cache,node-id=1,size=10K,level=1,associativity=none,policy=none,line=8")]
SLOTS = ["-m", "512M,slots=5,maxmem=4G"]
MORE = ["-smp", "2,sockets=2,cores=2,threads=2,maxcpus=8"]
DIMM = ["-object", "memory-backend-ram,id=d,size=128M", "-device", "pc-dimm,memdev=d,node=1"]

# Machine, options, tables beside FACP, APIC and DSDT, words that the disassembled tables have.
CASES = [
    ("pc", [], "HPET WAET", {"DSDT": ["PNP0A03", "CSCN", "_E02"]}),
    ("pc", ["-machine", "hpet=off"], "WAET", {}),
    ("pc", ["-machine", "vmport=off,i8042=off,pit=off", "-device", "pvpanic", "-parallel", "null"], "HPET WAET", {"DSDT": ["QEMU0001"]}),
    ("pc", MORE, "HPET WAET", {"DSDT": ["_EJ0", "_OST", "_MAT", "C007"], "APIC": ["Processor Enabled : 0", "Processor Enabled : 1"]}),
    ("pc", ["-smp", "200,maxcpus=255"], "HPET WAET", {"DSDT": ["C0FE"]}),
    ("pc", ["-smp", "3,sockets=3,cores=85,maxcpus=255", "-cpu", "max"], "HPET WAET", {"APIC": ["Local x2APIC"]}),
    ("pc", [*TWO, "-smp", "2,sockets=2"], "HPET WAET SRAT", {"DSDT": ["_PXM"]}),
    ("pc", [*TWO, *FAR, "-smp", "3,sockets=2,cores=2,maxcpus=4"], "HPET WAET SRAT SLIT", {"SLIT": ["0A 15"]}),
    ("pc", [*HMAT, "-smp", "2"], "HPET WAET SRAT HMAT", {"HMAT": ["Memory Side Cache"]}),
    ("pc", SLOTS, "HPET WAET SRAT", {"DSDT": ["MP04", "PNP0C80", "_E03"]}),
    ("pc", [*TWO, *DIMM, "-m", "512M,slots=256,maxmem=8G", *MORE[:1], "2,sockets=2,maxcpus=2"], "HPET WAET SRAT", {"SRAT": ["Hot Pluggable : 1"]}),
    ("q35", [], "HPET WAET MCFG", {"DSDT": ["PNP0A08", "CSCN", "_E02"]}),
    ("q35", MORE, "HPET WAET MCFG", {"DSDT": ["_EJ0", "_OST", "_MAT", "C007"]}),
    ("q35", ["-smp", "1,sockets=2,dies=2,modules=2,cores=2,threads=2,maxcpus=32", "-device", "pcie-root-port,id=p,chassis=1"], "HPET WAET MCFG", {}),
    ("q35", [*TWO, *FAR, "-smp", "2,sockets=2"], "HPET WAET MCFG SRAT SLIT", {}),
    ("q35", [*HMAT, "-smp", "2"], "HPET WAET MCFG SRAT HMAT", {}),
    ("q35", [*HMAT, *FAR, *DIMM, "-m", "512M,slots=3,maxmem=4G", "-smp", "2,sockets=2,cores=2,maxcpus=4", *numa("cpu,node-id=0,socket-id=1")],
     "HPET WAET MCFG SRAT SLIT HMAT", {"DSDT": ["_E02", "_E03"]}),
    ("microvm", [], "", {"DSDT": ["ACPI0013"]}),
    ("microvm", ["-smp", "4,sockets=2"], "", {"DSDT": ["C003"]}),
    ("microvm", [*TWO, *FAR, "-smp", "2,sockets=2"], "SRAT SLIT", {"DSDT": ["_PXM"]}),
]


class Memory:
    """The guest's memory, by the device-test protocol."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        self.socket.connect(path)
        self.answers = self.socket.makefile("r")

    def read(self, at, size):
        self.socket.sendall(f"read {at:#x} {size:#x}\n".encode())
        answer = self.answers.readline().split()
        assert answer[0] == "OK", answer
        return bytes.fromhex(answer[1][2:])

    def table(self, at):
        table = self.read(at, struct.unpack_from("<I", self.read(at, 8), 4)[0])
        assert sum(table) & 0xff == 0, f"{table[:4]}: its sum is not 0"
        return table

    def tables(self):
        low = self.read(0xe0000, 0x20000)
        at = next(i for i in range(0, len(low), 16) if low[i:i + 8] == b"RSD PTR ")
        rsdp = low[at:at + 36]
        assert sum(rsdp) & 0xff == 0 and sum(rsdp[:20]) & 0xff == 0, "RSDP"
        rsdt, xsdt = self.table(struct.unpack_from("<I", rsdp, 16)[0]), self.table(struct.unpack_from("<Q", rsdp, 24)[0])
        entries = [e[0] for e in struct.iter_unpack("<Q", xsdt[36:])]
        assert entries == [e[0] for e in struct.iter_unpack("<I", rsdt[36:])], "RSDT and XSDT differ"
        found = {t[:4].decode(): t for t in map(self.table, entries)}
        assert len(found) == len(entries), entries
        found["DSDT"] = self.table(struct.unpack_from("<Q", found["FACP"], 140)[0])
        return {**found, "RSDT": rsdt, "XSDT": xsdt}


def quietly(folder, *command):
    """Runs iasl; what it complains of."""
    done = subprocess.run(["iasl", *command], cwd=folder, capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    bad = [line for line in lines if re.search(r"error|warning|invalid|unknown|could not", line, re.I) and "0 Errors, 0 Warnings" not in line]
    return bad or ([] if done.returncode == 0 else lines)


def run(program, image, case, folder):
    machine, options, names, words = case
    path = os.path.join(folder, "qtest")
    kernel = [] if "-kernel" in options else ["-kernel", image]
    with Vm(program, folder, "-accel", "qtest", "-machine", machine, "-qtest", f"unix:{path},server=on,wait=off", "-qtest-log", "/dev/null", *kernel, *options):
        tables = Memory(path).tables()
    assert set(tables) == {"FACP", "APIC", "DSDT", "RSDT", "XSDT", *names.split()}, sorted(tables)
    for name, data in tables.items():
        with open(os.path.join(folder, f"{name}.dat"), "wb") as f:
            f.write(data)
    # One by one: together they would be taken for what is outside the DSDT.
    for name in tables:
        bad = quietly(folder, "-d", f"{name}.dat")
        assert not bad, f"{name}: {bad}"
        with open(os.path.join(folder, f"{name}.dsl"), encoding="latin-1") as f:
            text = f.read()
        assert not re.search(r"unknown|invalid|\*\*\*", text, re.I), f"{name}: {[line for line in text.splitlines() if re.search(r'unknown|invalid|[*]{3}', line, re.I)]}"
        for word in words.get(name, []):
            assert word in text, f"no {word} in {name}"
    bad = quietly(folder, "-p", "again", "DSDT.dsl")
    assert not bad, f"DSDT, compiled again: {bad}"


def main():
    chosen = [int(n) for n in sys.argv[3:]] or range(1, len(CASES) + 1)
    if not shutil.which("iasl"):
        print("1..0 # SKIP iasl (acpica-tools) is not installed")
        return 0
    failed = 0
    for number in chosen:
        with tempfile.TemporaryDirectory() as folder:
            case = CASES[number - 1]
            name = " ".join((case[0], *case[1]))[:140]
            try:
                run(os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2]), case, folder)
                print(f"ok {number} - {name}", flush=True)
            except Exception as problem:  # pylint: disable=broad-except
                failed += 1
                print(f"# {type(problem).__name__}: {problem}".replace("\n", "\n# ") + f"\nnot ok {number} - {name}", flush=True)
    print(f"1..{len(CASES)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
