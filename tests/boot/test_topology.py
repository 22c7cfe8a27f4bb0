#!/usr/bin/env python3
"""Topologies and NUMA nodes of the command line as lscpu and numactl of Debian's packages show them in a guest.
Usage: test_topology.py PROGRAM [NUMBER...]: all command lines, or those."""

import os
import re
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "accept"))

import guestroot
from guest import Boot


def ram(*sizes):
    return [text for n, size in enumerate(sizes) for text in ("-object", f"memory-backend-ram,id=m{n},size={size}M")]


def numa(*texts):
    return [word for text in texts for word in ("-numa", text)]


class Case:
    """A command line and what the guest has to see: `shape` is sockets, dies, modules, cores, threads; `present` the indices of
    vCPUs that are there; for each node its vCPUs' indices and MiB, as the kernel numbers them; distances row by row."""

    def __init__(self, name, options, shape, nodes=None, distances=None, present=None):
        self.name, self.options, self.shape = name, options, shape
        self.total = 1
        for n in shape:
            self.total *= n
        self.present = present or list(range(self.total))
        self.nodes = nodes or [(self.present, 512)]
        self.distances = distances or [[10 if i == k else 20 for i in range(len(self.nodes))] for k in range(len(self.nodes))]

    def place(self, index):
        """Socket, and which core of all, of a vCPU."""
        threads, per_socket = self.shape[4], self.total // self.shape[0]
        return index // per_socket, index // threads


CASES = [
    Case("one socket by default", ["-smp", "4"], (1, 1, 1, 4, 1)),
    Case("two sockets, two nodes", ["-smp", "8,sockets=2,cores=2,threads=2", *ram(256, 256), *numa("node,memdev=m0", "node,memdev=m1")], (2, 1, 1, 2, 2),
         [([0, 1, 2, 3], 256), ([4, 5, 6, 7], 256)]),
    Case("four nodes, one a die", ["-machine", "q35", "-smp", "8,sockets=2,dies=2,cores=2", *ram(128, 128, 128, 128), *numa(*(f"node,memdev=m{n}" for n in range(4))),
                                   *numa(*(f"cpu,node-id={n},socket-id={n // 2},die-id={n % 2}" for n in range(4)), "dist,src=0,dst=1,val=12", "dist,src=2,dst=3,val=12",
                                         *(f"dist,src={a},dst={b},val=30" for a in (0, 1) for b in (2, 3)))], (2, 2, 1, 2, 1),
         [([0, 1], 128), ([2, 3], 128), ([4, 5], 128), ([6, 7], 128)], [[10, 12, 30, 30], [12, 10, 30, 30], [30, 30, 10, 12], [30, 30, 12, 10]]),
    Case("nodes of single vCPUs", ["-smp", "6", *ram(192, 320), *numa("node,nodeid=0,memdev=m0,cpus=0-2,cpus=5", "node,nodeid=1,memdev=m1,cpus=3-4")], (1, 1, 1, 6, 1),
         [([0, 1, 2, 5], 192), ([3, 4], 320)]),
    Case("distances in each direction", ["-smp", "3,sockets=3", *ram(192, 160, 160), *numa(*(f"node,memdev=m{n}" for n in range(3)), *(
        f"dist,src={a},dst={b},val={20 + 3 * a + b}" for a in range(3) for b in range(3) if a != b))], (3, 1, 1, 1, 1),
         [([0], 192), ([1], 160), ([2], 160)], [[10, 21, 22], [23, 10, 25], [26, 27, 10]]),
    Case("a node without vCPUs, HMAT", ["-machine", "q35,hmat=on", "-smp", "2,threads=2", *ram(256, 256), *numa(
        "node,nodeid=0,memdev=m0,cpus=0-1", "node,nodeid=1,memdev=m1,initiator=0", "dist,src=0,dst=1,val=40",
        *(f"hmat-lb,initiator=0,target={n},hierarchy=memory,data-type=access-{kind}" for n in (0, 1) for kind in (f"latency,latency={5 + n}", f"bandwidth,bandwidth={200 - n}M")))],
         (1, 1, 1, 1, 2), [([0, 1], 256), ([], 256)], [[10, 40], [40, 10]]),
    Case("microvm", ["-machine", "microvm", "-smp", "4,sockets=2,cores=2", *ram(256, 256), *numa("node,memdev=m0", "node,memdev=m1", "dist,src=0,dst=1,val=17")],
         (2, 1, 1, 2, 1), [([0, 1], 256), ([2, 3], 256)], [[10, 17], [17, 10]]),
    Case("dies and modules", ["-machine", "q35", "-smp", "16,sockets=2,dies=2,modules=2,threads=2"], (2, 2, 2, 1, 2)),
    Case("places without vCPUs", ["-cpu", "max", "-smp", "2,sockets=2,cores=3,maxcpus=6", "-device", "max-x86_64-cpu,socket-id=1,core-id=1,thread-id=0", *ram(256, 256), *numa(
        "node,memdev=m0", "node,memdev=m1")], (2, 1, 1, 3, 1), [([0, 1], 256), ([4], 256)], present=[0, 1, 4]),
    Case("threads of max", ["-cpu", "max", "-smp", "4,cores=2,threads=2"], (1, 1, 1, 2, 2)),
    Case("AMD's leaves", ["-cpu", "EPYC-Rome,check=off", "-smp", "8,sockets=2,cores=2,threads=2", *ram(320, 192), *numa("node,memdev=m0,cpus=0-3", "node,memdev=m1,cpus=4-7")],
         (2, 1, 1, 2, 2), [([0, 1, 2, 3], 320), ([4, 5, 6, 7], 192)]),
]


def groups(pairs):
    """Which CPUs share a value: numbers of cores and sockets are not compared themselves."""
    shared = {}
    for cpu, value in pairs:
        shared.setdefault(value, set()).add(cpu)
    return sorted(map(sorted, shared.values()))


def compare(case, boot):
    problems = []

    def expect(what, wanted, got):
        if wanted != got:
            problems.append(f"{what}: {wanted} expected, not {got}")

    numbers = {index: n for n, index in enumerate(case.present)}  # the kernel counts those that are there
    rows = [[int(text or 0) for text in line.split(",")] for line in boot.values("lscpu")]
    expect("vCPUs", sorted(numbers.values()), [row[0] for row in rows])
    expect("cores", groups((numbers[i], case.place(i)[1]) for i in case.present), groups((row[0], row[1]) for row in rows))
    expect("sockets", groups((numbers[i], case.place(i)[0]) for i in case.present), groups((row[0], row[2]) for row in rows))
    expect("nodes of vCPUs", {numbers[i]: n for n, (cpus, _) in enumerate(case.nodes) for i in cpus}, {row[0]: row[3] for row in rows})
    summary = dict(line.split("=", 1) for line in boot.values("summary") if "=" in line)
    expect("threads in a core", str(case.shape[4]), summary.get("Thread(s) per core"))
    expect("sockets in all", str(len({case.place(i)[0] for i in case.present})), summary.get("Socket(s)"))
    text = "\n".join(boot.values("numactl"))
    expect("nodes", str(len(case.nodes)), (re.findall(r"^available: (\d+) nodes", text, re.M) or [None])[0])
    for n, (cpus, size) in enumerate(case.nodes):
        found = re.search(rf"^node {n} cpus:([ \d]*)$", text, re.M)
        expect(f"node {n}", sorted(numbers[i] for i in cpus), found and sorted(map(int, found.group(1).split())))
        found = re.search(rf"^node {n} size: (\d+) MB$", text, re.M)
        if not found or not size - 70 <= int(found.group(1)) <= size:  # the kernel keeps some
            problems.append(f"node {n}: {size} MiB expected, not {found and found.group(1)}")
    table = [[int(word) for word in line.split(":")[1].split()] for line in text.splitlines() if re.match(r" *\d+: ", line)]
    expect("distances", case.distances, table)
    expect("complaints", [], boot.values("complaint"))
    return problems


def main():
    program, chosen = sys.argv[1], {int(text) for text in sys.argv[2:]}
    selection = guestroot.Selection().add_programs("bash", "lscpu", "numactl")
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        initrd = os.path.join(folder, "initrd")
        guestroot.write_initrd(initrd, selection, "topology.sh", {})
        for number, case in enumerate(CASES, 1):
            if chosen and number not in chosen:
                continue
            boot = Boot(program, "run", "-machine", "unpack-kernel=on", "-cpu", "Skylake-Client,check=off", *case.options, "-initrd", initrd, memory="512M", append="quiet mitigations=off", timeout=240)
            problems = compare(case, boot)
            if not boot.finished() or boot.status != 0:
                problems.append(f"status {boot.status} {boot.messages}; the last lines:\n" + "\n".join(boot.lines[-10:]))
            for problem in problems:
                print("# " + problem.replace("\n", "\n# "))
            print(f"{'not ok' if problems else 'ok'} {number} - {case.name}", flush=True)
            failed += bool(problems)
    print(f"1..{len(chosen or CASES)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
