#!/usr/bin/env python3
"""Plugs vCPUs into Debian's kernel and takes them out again, by QMP. Usage: test_cpus.py PROGRAM [OPTION... only=PART...]

The guest's shell is on the serial port; the host types commands there."""

import re
import sys
import time

from test_hotplug import Checks, Machine

CPU = "/sys/devices/system/cpu"
TYPE = "max-x86_64-cpu"


def present(m):
    return m.run(f"cat {CPU}/present").split()[-1]


def grows_to(m, count):
    """Waits until the guest has that many vCPUs, putting new ones to use."""
    for _ in range(100):
        m.run(f"for f in {CPU}/cpu[0-9]*/online; do grep -q 0 $f && echo 1 >$f; done 2>/dev/null")
        if int(m.run("nproc").split()[-1]) == count:
            return True
        time.sleep(0.2)
    return False


def add(m, name, socket=0, core=0, thread=0, kind=TYPE):
    m.command("device_add", driver=kind, id=name, **{"socket-id": socket, "core-id": core, "thread-id": thread})


def work_on(m, cpu):
    """The guest computes the same there as on the first one."""
    sums = [m.run(f"taskset {1 << n:x} md5sum /bin/busybox").split()[-2] for n in (0, cpu)]
    return sums[0] == sums[1] and len(sums[0]) == 32


def quiet(m):
    return m.run("dmesg -r | grep '^<[0-3]>'")


def hot(checks, program, options):
    """One vCPU to four, and back."""
    m = Machine(program, "-m", "512M", "-smp", "1,sockets=2,cores=2,maxcpus=4", *options)
    try:
        checks.check((m.run(f"cat {CPU}/possible").split()[-1], present(m)) == ("0-3", "0"), "one of four at the start", m.run(f"cat {CPU}/possible {CPU}/present"))
        add(m, "c3", 1, 1)
        checks.check(grows_to(m, 2), "a second one, in the other socket", m.run("nproc"))
        checks.check(work_on(m, 1), "it computes")
        topology = m.run(f"cat {CPU}/cpu1/topology/physical_package_id {CPU}/cpu1/topology/core_id; sed -n 's/^apicid.*: //p' /proc/cpuinfo").split()
        checks.check(topology[-4:] == ["1", "1", "0", "3"], "it is where it was put", topology)
        add(m, "c1", 0, 1)
        add(m, "c2", 1, 0)
        checks.check(grows_to(m, 4), "four", m.run("nproc"))
        m.run("for i in 1 2 3 4 5 6 7 8; do md5sum /bin/busybox >/tmp/sum$i & done; wait")
        sums = m.run("cat /tmp/sum* | sort | uniq -c").split()
        checks.check(sums[-3:-2] == ["8"], "all at once", sums)
        ids = [c["cpu-index"] for c in m.command("query-cpus-fast")]
        checks.check(ids == [0, 1, 2, 3], "query-cpus-fast", ids)
        checks.refused(m, "all vCPUs that there can be are there: 4", "no fifth one", "device_add", driver=TYPE, id="c5", **{"socket-id": 0, "core-id": 0, "thread-id": 0})
        for name in ("c3", "c1"):
            m.command("device_del", id=name)
            deleted = m.event("DEVICE_DELETED")
            checks.check(deleted and deleted["data"].get("device") == name, f"{name} is given back", deleted)
        checks.check(grows_to(m, 2), "two are left", m.run("nproc"))
        add(m, "again", 1, 1)
        checks.check(grows_to(m, 3) and work_on(m, 1), "one comes back", m.run("nproc"))
        # What the guest's administrator ejects goes as well.
        m.run(f"for c in {CPU}/cpu[1-9]*; do grep -q 3 $c/topology/core_cpus_list 2>/dev/null; done; n=$(sed -n 's/^processor.*: //p' /proc/cpuinfo | tail -1); "
              f"echo 1 >{CPU}/cpu$n/firmware_node/eject")
        deleted = m.event("DEVICE_DELETED")
        checks.check(deleted and grows_to(m, 2), "the guest ejects one by itself", f"{deleted} {m.run('nproc')}")
        checks.check(quiet(m) == "", "no errors in the guest's log", quiet(m))
        left = m.run("nproc").split()[-1]
        m.command("system_reset")
        m.event("RESET")
        m.wait_for(b"# ")
        m.wait_for_shell()
        found = m.run("nproc; dmesg | grep -c hot-added").split()[-2:]
        checks.check(found == [left, "0"], "after a reset they are there from the start", found)
    finally:
        m.close()


def refusing(checks, program, options):
    """The last vCPU that is online stays. Linux takes the first one offline on Intel's processors only."""
    m = Machine(program, "-m", "512M", "-smp", "1,maxcpus=2", "-cpu", "Nehalem", *options, append="cpu0_hotplug")
    try:
        add(m, "c1", 0, 1, kind="Nehalem-x86_64-cpu")
        checks.check(grows_to(m, 2), "two", m.run("nproc"))
        m.run(f"echo 0 >{CPU}/cpu0/online")
        checks.check(m.run("nproc").split()[-1] == "1", "the first one is offline", m.run(f"cat {CPU}/online"))
        m.command("device_del", id="c1")
        refusal = m.event("DEVICE_UNPLUG_GUEST_ERROR")
        checks.check(refusal and refusal["data"] == {"device": "c1", "path": "/machine/peripheral/c1"}, "the guest refuses", refusal)
        status = {s.get("device"): s for s in m.command("query-acpi-ospm-status")}["c1"]
        checks.check(status["source"] in (3, 0x103) and status["status"] not in (0, 0x84), "query-acpi-ospm-status", status)
        m.run(f"echo 1 >{CPU}/cpu0/online")
        m.command("device_del", id="c1")
        checks.check(m.event("DEVICE_DELETED") is not None, "it goes when another one is there")
    finally:
        m.close()


def early(checks, program, options):
    """vCPUs of the command line, and one that comes before the guest runs."""
    def prepare(m):
        add(m, "later", 0, 2)
        m.command("cont")
    m = Machine(program, "-m", "512M", "-smp", "1,maxcpus=4", "-device", f"{TYPE},socket-id=0,core-id=3,thread-id=0,id=c3", "-S", *options, prepare=prepare)
    try:
        checks.check(re.fullmatch(r"[23]", m.run("nproc").split()[-1]) is not None, "one of -device is there from the start", m.run("nproc"))
        checks.check(grows_to(m, 3), "so is one that came before the guest ran", m.run("nproc"))
        m.command("device_del", id="c3")
        checks.check(m.event("DEVICE_DELETED") is not None and grows_to(m, 2), "one of -device is given back")
    finally:
        m.close()


def executor(checks, program, options):
    """The same with the plain executor, which takes its time: on one board."""
    if "q35" in options:
        return
    m = Machine(program, "-m", "512M", "-smp", "1,maxcpus=2", *options, accel="tcg,one-insn-per-tb=on")
    try:
        add(m, "c1", 0, 1)
        checks.check(grows_to(m, 2) and work_on(m, 1), "plain executor: one comes", m.run("nproc"))
        m.command("device_del", id="c1")
        checks.check(m.event("DEVICE_DELETED") is not None and present(m) == "0", "plain executor: it goes")
    finally:
        m.close()


def main():
    program, options, only = sys.argv[1], [o for o in sys.argv[2:] if not o.startswith("only=")], [o[5:] for o in sys.argv[2:] if o.startswith("only=")]
    checks = Checks()
    for part in (hot, refusing, early, executor):
        if not only or part.__name__ in only:
            part(checks, program, options)
    print(f"1..{checks.n}")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
