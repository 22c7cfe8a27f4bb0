#!/usr/bin/env python3
"""Boots Debian's kernel with NUMA nodes and topologies from the command line and compares what it makes of them.

Usage: test_numa.py PROGRAM [NUMBER...]: all command lines, or those."""

import sys

from guest import Boot


def ram(*sizes):
    return [text for n, size in enumerate(sizes) for text in ("-object", f"memory-backend-ram,id=m{n},size={size}")]


def node(text):
    return ["-numa", f"node,{text}"]


def numa(text):
    return ["-numa", text]


# What it is, memory, options, lines that must be there. In "kib" a node has at least what is said (the kernel keeps some).
CASES = [
    ("two sockets are two nodes", "512M", ["-smp", "4,sockets=2,cores=2", *ram("256M", "256M"), *node("nodeid=0,memdev=m0"), *node("nodeid=1,memdev=m1")],
     {"numa-node-0": "cpus=0-1 distance=10,20 kib>150000", "numa-node-1": "cpus=2-3 distance=20,10 kib>200000",
      "numa-cpu-3": "package=1 die=* core=1 threads=3 cores=2-3"}),
    ("vCPUs by index", "512M", ["-smp", "6", *ram("256M", "256M"), *node("nodeid=0,memdev=m0,cpus=0-2,cpus=5"), *node("nodeid=1,memdev=m1,cpus=3-4")],
     {"numa-node-0": "cpus=0-2,5 distance=10,20 kib>150000", "numa-node-1": "cpus=3-4 distance=20,10 kib>200000"}),
    ("vCPUs by place", "512M", ["-smp", "4,sockets=2,cores=2", *ram("128M", "384M"), *node("memdev=m0"), *node("memdev=m1"),
                                *numa("cpu,node-id=1,socket-id=0"), *numa("cpu,node-id=0,socket-id=1")],
     # The kernel counts nodes as it meets them: the first vCPU's is its node 0.
     {"numa-node-0": "cpus=0-1 distance=10,20 kib>300000", "numa-node-1": "cpus=2-3 distance=20,10 kib>40000"}),
    ("distances in one direction", "768M", ["-smp", "3,sockets=3", *ram("256M", "256M", "256M"), *node("memdev=m0"), *node("memdev=m1"), *node("memdev=m2"),
                                            *numa("dist,src=0,dst=1,val=21"), *numa("dist,src=0,dst=2,val=31"), *numa("dist,src=1,dst=2,val=41")],
     {"numa-node-0": "cpus=0 distance=10,21,31 kib>150000", "numa-node-1": "cpus=1 distance=21,10,41 kib>200000",
      "numa-node-2": "cpus=2 distance=31,41,10 kib>200000"}),
    ("distances in both directions", "512M", ["-smp", "2,sockets=2", *ram("256M", "256M"), *node("memdev=m0"), *node("memdev=m1"),
                                              *numa("dist,src=0,dst=1,val=15"), *numa("dist,src=1,dst=0,val=25")],
     {"numa-node-0": "cpus=0 distance=10,15 kib>150000", "numa-node-1": "cpus=1 distance=25,10 kib>200000"}),
    ("a node without vCPUs, with its HMAT", "512M", ["-machine", "hmat=on", "-smp", "2", *ram("256M", "256M"), *node("nodeid=0,memdev=m0,cpus=0-1"),
                                                     *node("nodeid=1,memdev=m1,initiator=0"),
                                                     *numa("hmat-lb,initiator=0,target=0,hierarchy=memory,data-type=access-latency,latency=5"),
                                                     *numa("hmat-lb,initiator=0,target=0,hierarchy=memory,data-type=access-bandwidth,bandwidth=200M"),
                                                     *numa("hmat-lb,initiator=0,target=1,hierarchy=memory,data-type=access-latency,latency=10"),
                                                     *numa("hmat-lb,initiator=0,target=1,hierarchy=memory,data-type=access-bandwidth,bandwidth=100M"),
                                                     *numa("hmat-cache,node-id=0,size=10K,level=1,associativity=direct,policy=write-back,line=8"),
                                                     *numa("hmat-cache,node-id=1,size=10K,level=1,associativity=direct,policy=write-back,line=8")],
     {"numa-node-0": "cpus=0-1 distance=10,20 kib>150000", "numa-node-1": "cpus= distance=20,10 kib>200000",
      "numa-hmat-0": {"access0/initiators/read_latency=5", "access0/initiators/read_bandwidth=200", "memory_side_cache/index1/size=10240"},
      "numa-hmat-1": {"access0/initiators/read_latency=10", "access0/initiators/read_bandwidth=100", "memory_side_cache/index1/size=10240"}}),
    ("q35", "512M", ["-machine", "q35", "-smp", "4,sockets=2,cores=1,threads=2", *ram("128M", "384M"), *node("memdev=m0"), *node("memdev=m1")],
     {"numa-node-0": "cpus=0-1 distance=10,20 kib>40000", "numa-node-1": "cpus=2-3 distance=20,10 kib>300000",
      "numa-cpu-1": "package=0 die=* core=0 threads=0-1 cores=0-1"}),
    ("above 4 GiB", "5G", ["-smp", "2,sockets=2", *ram("2G", "3G"), *node("memdev=m0"), *node("memdev=m1")],
     {"numa-node-0": "cpus=0 distance=10,20 kib>1900000", "numa-node-1": "cpus=1 distance=20,10 kib>3000000"}),
    ("dies", "512M", ["-smp", "8,sockets=2,dies=2,cores=1,threads=2", *ram("256M", "256M"), *node("memdev=m0"), *node("memdev=m1")],
     {"numa-node-0": "cpus=0-3 distance=10,20 kib>150000", "numa-cpu-3": "package=0 die=1 core=* threads=2-3 cores=0-3"}),
    ("microvm", "512M", ["-machine", "microvm", "-smp", "2,sockets=2", *ram("256M", "256M"), *node("memdev=m0"), *node("memdev=m1")],
     {"numa-node-0": "cpus=0 distance=10,20 kib>150000", "numa-node-1": "cpus=1 distance=20,10 kib>200000"}),
    ("one backend in place of -m", None, ["-object", "memory-backend-memfd,id=mem,size=320M,prealloc=on", "-machine", "memory-backend=mem"],
     {"numa-node-0": "cpus=0 distance=10 kib>240000"}),
]


def matches(wanted, got):
    """Is `got` as wanted? "kib>N" is a lower bound, "X=*" anything, a set has to be part of the lines."""
    if isinstance(wanted, set):
        return wanted <= set(got)
    if len(got) != 1:
        return False
    for want, have in zip(wanted.split(), got[0].split()):
        if want.startswith("kib>") and have.startswith("kib="):
            if int(have[4:]) <= int(want[4:]):
                return False
        elif want != have and not (want.endswith("=*") and have.startswith(want[:-1])):
            return False
    return len(wanted.split()) == len(got[0].split())


def main():
    program, chosen = sys.argv[1], {int(text) for text in sys.argv[2:]}
    failed = 0
    for number, (name, memory, options, lines) in enumerate(CASES, 1):
        if chosen and number not in chosen:
            continue
        options = ["-machine", "unpack-kernel=on", "-cpu", "Skylake-Client,check=off", *options]
        boot = Boot(program, "numa", *options, memory=memory, append="mitigations=off", timeout=240)
        problems = [f"{key}: {wanted} expected, not {boot.values(key)}" for key, wanted in lines.items() if not matches(wanted, boot.values(key))]
        if not boot.finished() or boot.status != 0:
            problems.append(f"status {boot.status} {boot.messages}; the last lines:\n" + "\n".join(boot.lines[-10:]))
        problems += [line for line in boot.values("numa-error") if "PCI: Fatal" not in line]
        problems += [line for line in boot.values("numa-dmesg") if "Bug" in line or "rror" in line or "arn" in line]
        for problem in problems:
            print("# " + problem.replace("\n", "\n# "))
        print(f"{'not ok' if problems else 'ok'} {number} - {name}")
        failed += bool(problems)
        sys.stdout.flush()
    print(f"1..{len(CASES)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
