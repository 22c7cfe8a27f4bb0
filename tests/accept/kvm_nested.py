#!/usr/bin/env python3
"""Runs the KVM tests where the host has no /dev/kvm: Debian's qemu-system-x86_64 emulates a machine with AMD's SVM, Debian's
kernel in it has a true /dev/kvm, and the tests run there, on this tree as it is built. The guest sees the host's files
through 9p, read-only.

The tests are those that tests/skips lets off for want of /dev/kvm, and guest-accels. The last line is "N passed, N failed";
the exit status is 0 only if all passed and skipped nothing but what KNOWN names.

Usage: tests/accept/kvm_nested.py [--build DIR] [--limit SECONDS] [--verbose] [TEST...]"""

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from guestroot import TOP, Cpio

sys.path.insert(0, os.path.join(TOP, "tests", "boot"))
from guest import cached  # noqa: E402

PEER = "/usr/bin/qemu-system-x86_64"
# One thread for both CPUs: with a thread for each, both stood still for minutes in two of three runs (QEMU 7.2). The TSC is
# one too then, but Linux does not believe it of AMD's CPUs without being told, and its KVM then keeps no guest's offset.
MACHINE = ["-accel", "tcg,thread=single", "-cpu", "max", "-smp", "2", "-m", "2G", "-nodefaults", "-display", "none", "-no-reboot",
           "-serial", "stdio", "-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"]
APPEND = "console=ttyS0 loglevel=3 panic=-1 script=nested tsc=reliable mitigations=off watchdog_thresh=60"
# In the order of their needs.
MODULES = [f"drivers/virtio/{name}" for name in ("virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci")]
MODULES += ["net/9p/9pnet", "net/9p/9pnet_virtio", "fs/netfs/netfs", "fs/fscache/fscache", "fs/9p/9p", "drivers/crypto/ccp/ccp",
            "virt/lib/irqbypass", "arch/x86/kvm/kvm", "arch/x86/kvm/kvm-amd"]
# What may be skipped in there, and why.
KNOWN = {"/kvm/breakpoints": "QEMU's SVM lets no debug register and no INT3 stop a guest, whoever asks KVM for it",
         "without_access": "root's /dev/kvm cannot be withheld from who cannot see the tree"}
# What the tests write goes to /dev/shm: nothing of the host's is hidden.
SCRIPT = """#!/bin/sh
for module in {modules}; do insmod /modules/$module.ko || exit 1; done
[ -c /dev/kvm ] || exit 1
mkdir /host
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro host /host || exit 1
mount --bind /dev /host/dev
mount --bind /dev/pts /host/dev/pts
mkdir -p /dev/shm
mount -t tmpfs tmpfs /host/dev/shm
mount -t proc proc /host/proc
mount -t sysfs sysfs /host/sys
cp /tests /host/dev/shm/tests
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C HOME=/dev/shm TMPDIR=/dev/shm PYTHONDONTWRITEBYTECODE=1 chroot /host /bin/sh /dev/shm/tests </dev/null
"""


def tests_of(build, names):
    """Those that need /dev/kvm, as meson runs them."""
    wanted = {"guest-accels"}
    with open(os.path.join(TOP, "tests", "skips"), encoding="ascii") as lines:
        wanted |= {line.split()[0] for line in lines if "/dev/kvm" in line and not line.startswith("#")}
    listed = subprocess.run(["meson", "introspect", "--tests", build], check=True, capture_output=True, text=True, timeout=60).stdout
    tests = [test for test in json.loads(listed) if test["name"] in wanted and (not names or test["name"] in names)]
    missing = (set(names) or wanted) - {test["name"] for test in tests}
    if missing:
        raise LookupError(f"{build} has no such KVM test: {', '.join(sorted(missing))}")
    return tests


def write_initrd(path, build, tests):
    modules, names = cached("fetch-modules.sh", *MODULES), [os.path.basename(module) for module in MODULES]
    # Each marker has a line of its own, whatever a test has left on the last one.
    jobs = "".join(f"printf '\\nnested-begin: {t['name']}\\n'; timeout -k 5 {t['timeout']} {shlex.join(t['cmd'])} 2>&1; "
                   f"printf '\\nnested-end: {t['name']} %s\\n' $?\n" for t in tests)
    with open(path, "wb") as f:
        with open(cached("make-initramfs.sh"), "rb") as base:
            shutil.copyfileobj(base, f)
        f.write(b"\0" * (-f.tell() % 512))
        archive = Cpio(f)
        for name in names:
            archive.add(f"modules/{name}.ko", os.path.join(modules, name + ".ko"))
        archive.data("tests", f"cd {shlex.quote(build)}\n{jobs}".encode())
        archive.data("scripts/nested", SCRIPT.format(modules=" ".join(names)).encode(), 0o755)
        archive.end()


def run_guest(build, tests, limit, verbose):
    """{test: (status, its lines, seconds)} and all lines of the console."""
    results, console, begin, mine = {}, [], 0.0, []
    with tempfile.TemporaryDirectory(prefix="quern-nested.") as work:
        initrd = os.path.join(work, "initrd")
        write_initrd(initrd, build, tests)
        # timeout(1), in a group with QEMU, ends it even when nobody is left to kill it.
        command = ["timeout", "-k", "5", str(limit), PEER, *MACHINE, "-kernel", cached("fetch-kernel.sh"), "-initrd", initrd, "-append", APPEND]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            for line in process.stdout:
                line = line.decode(errors="replace").rstrip("\r\n")
                console.append(line)
                if verbose:
                    print("# " + line, flush=True)
                word, _, rest = line.partition(": ")
                if word == "nested-begin":
                    begin, mine = time.monotonic(), []
                elif word == "nested-end":
                    name, status = rest.split()
                    results[name] = int(status), mine, time.monotonic() - begin
                else:
                    mine.append(line)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return results, console


def judge(status, lines):
    """What is wrong, if anything; the number of checks that passed; the known ones that were skipped."""
    checks, wrong, known = 0, [], []
    plan = next((int(m[1]) for m in (re.match(r"1\.\.(\d+)", line) for line in lines) if m), 0)
    for line in lines:
        m = re.match(r"(not )?ok (?:\d+ )?(?:- )?(\S+)(.*)", line)
        if not m:
            continue
        if m[1] or ("# SKIP" in line and m[2] not in KNOWN):
            wrong.append(line)
        elif "# SKIP" in line:
            known.append(m[2])
        else:
            checks += 1
    if status:
        wrong.append(f"status {status}" + (" (out of time)" if status == 124 else ""))
    if not plan or checks + len(known) + sum(bool(re.match("(not )?ok ", line)) for line in wrong) != plan:
        wrong.append(f"{checks} of {plan} checks passed")
    return wrong, checks, known


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(TOP, "build"), help="the build whose tests to run (default: build)")
    parser.add_argument("--limit", type=float, default=1200, help="seconds for everything (default: %(default)g)")
    parser.add_argument("--verbose", action="store_true", help="show the console")
    parser.add_argument("tests", nargs="*", help="default: all that need /dev/kvm")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if not os.access(PEER, os.X_OK):
        print(f"kvm_nested: {PEER}: not there; install qemu-system-x86", file=sys.stderr)
        return 2
    build = os.path.abspath(args.build)
    try:
        tests = tests_of(build, args.tests)
    except (LookupError, subprocess.CalledProcessError) as problem:
        print(f"kvm_nested: {problem}; is the tree built? make build guest", file=sys.stderr)
        return 2
    results, console = run_guest(build, tests, args.limit, args.verbose)
    failed = 0
    for name in (test["name"] for test in tests):
        status, lines, seconds = results.get(name, (None, [], 0))
        wrong, checks, known = judge(status, lines) if name in results else (["did not run, or did not end"], 0, [])
        failed += bool(wrong)
        print(f"{'not ok' if wrong else 'ok'} - {name}: " + ("; ".join(wrong) if wrong else f"{checks} checks in {seconds:.1f} s") +
              "".join(f"; without {skip}: {KNOWN[skip]}" for skip in known))
        if wrong:
            print("".join(f"# {line}\n" for line in (lines or console)[-40:]), end="")
    print(f"{len(tests) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
