#!/usr/bin/env python3
"""-sandbox, -run-with, -runas, -overcommit on the real program: what /proc says about it, and what a machine still does.

Usage: test_confine.py PROGRAM KERNEL    (KERNEL: the multiboot program that echoes what COM1 gets)"""

import os
import subprocess
import sys
import tempfile
import time

failures = []
count = 0


def check(name, ok, detail=""):
    global count
    count += 1
    print(f"{'ok' if ok else 'not ok'} {count} - {name}")
    if not ok:
        failures.append(name)
        print("# " + str(detail).replace("\n", "\n# "))


class Guest:
    """A machine that has booted: it has said "ready"."""

    def __init__(self, program, kernel, *options):
        self.process = subprocess.Popen(
            [program, "-accel", "tcg", "-nodefaults", "-display", "none", "-m", "32", "-serial", "stdio", "-device",
             "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel", kernel, *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        self.ready = self.read(b"ready")

    def read(self, what, seconds=60):
        text, end = b"", time.monotonic() + seconds
        while what not in text and time.monotonic() < end:
            byte = self.process.stdout.read(1)
            if not byte:
                break
            text += byte
        return what in text

    def status(self, field):
        with open(f"/proc/{self.process.pid}/status") as f:
            return next((line.split(":", 1)[1].split() for line in f if line.startswith(field + ":")), None)

    def tasks(self, field):
        values = set()
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{task}/status") as f:
                values |= {line.split(":", 1)[1].strip() for line in f if line.startswith(field + ":")}
        return values

    def end(self):
        """The guest still answers, and ends the machine."""
        self.process.stdin.write(b"a")
        answered = self.read(b"A", 20)
        self.process.stdin.write(b"Q")
        try:
            status = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        return answered and status == 1


def cleanup_of(pid):
    for other in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{other}/comm") as f:
                if f.read().strip() == f"cleanup/{pid}"[:15]:
                    return int(other)
        except OSError:
            pass
    return None


def main():
    program, kernel = sys.argv[1:3]
    strict = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
    for text in ("on", strict, "on,obsolete=allow,elevateprivileges=children,spawn=deny"):
        guest = Guest(program, kernel, "-sandbox", text, "-smp", "2")
        seccomp, more = guest.tasks("Seccomp"), guest.tasks("NoNewPrivs")
        check(f"-sandbox {text}: runs, filtered in every thread", guest.ready and seccomp == {"2"} and more == {"1"}, (seccomp, more))
        check(f"-sandbox {text}: ends by itself", guest.end(), guest.process.stderr.read())
    guest = Guest(program, kernel, "-sandbox", "off")
    check("-sandbox off: no filter", guest.ready and guest.tasks("Seccomp") == {"0"})
    check("-sandbox off: ends by itself", guest.end())

    guest = Guest(program, kernel, "-run-with", "async-teardown=on")
    cleanup = cleanup_of(guest.process.pid)
    check("async-teardown: there is a process for it", guest.ready and cleanup is not None)
    check("async-teardown: ends by itself", guest.end())
    end = time.monotonic() + 10
    while cleanup and os.path.exists(f"/proc/{cleanup}") and time.monotonic() < end:
        try:
            with open(f"/proc/{cleanup}/stat") as f:
                if f.read().rsplit(")", 1)[1].split()[0] == "Z":
                    break
        except OSError:
            break
        time.sleep(0.05)
    check("async-teardown: the other process ends as well", time.monotonic() < end)

    if os.geteuid() == 0:
        with tempfile.TemporaryDirectory() as root:
            os.chmod(root, 0o755)
            guest = Guest(program, kernel, "-run-with", f"chroot={root},user=65534:65534", "-sandbox", "on")
            where = os.readlink(f"/proc/{guest.process.pid}/root")
            check("-run-with: root directory and user", guest.ready and where == root and guest.status("Uid") == ["65534"] * 4 and
                  guest.status("Gid") == ["65534"] * 4 and guest.status("Groups") == ["65534"],
                  (where, guest.status("Uid"), guest.status("Groups")))
            check("-run-with: ends by itself", guest.end(), guest.process.stderr.read())
        guest = Guest(program, kernel, "-runas", "nobody")
        check("-runas: the user", guest.ready and guest.status("Uid") == ["65534"] * 4)
        check("-runas: ends by itself", guest.end())
        guest = Guest(program, kernel, "-overcommit", "mem-lock=on")
        locked = guest.status("VmLck")
        check("-overcommit mem-lock=on: memory is locked", guest.ready and int(locked[0]) >= 32 * 1024, locked)
        check("-overcommit mem-lock=on: ends by itself", guest.end())
    print(f"1..{count}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
