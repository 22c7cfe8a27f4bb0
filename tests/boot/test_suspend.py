#!/usr/bin/env python3
"""Debian's kernel sleeps (suspend to RAM) and is woken by the monitor, by the alarm of its clock, by the power button, by
a key. Usage: test_suspend.py PROGRAM [OPTION...]"""

import select
import sys
import threading
import time

from test_hotplug import Checks, Machine

SLEEP = "echo mem >/sys/power/state; echo slept: $?"


class Sleeper(Machine):
    def sleep(self, command=SLEEP):
        """The guest goes to sleep in the middle of a command; what the command says comes after waking. Its console is read
        meanwhile: a socket takes no more than some hundred single bytes, and then a guest waits for its serial port."""
        self.marks += 1
        self.said = b""
        self.console.sendall(f"{command}; echo d''one-{self.marks}.\n".encode())
        asleep = threading.Event()
        reader = threading.Thread(target=self.read_until, args=(asleep,))
        reader.start()
        try:
            self.qmp.event("SUSPEND")
        finally:
            asleep.set()
            reader.join()

    def read_until(self, asleep):
        while not asleep.is_set():
            if select.select([self.console], [], [], 0.05)[0]:
                self.said += self.console.recv(65536)

    def woken(self):
        mark = f"done-{self.marks}.".encode()
        while mark not in self.said:
            data = self.console.recv(65536)
            if not data:
                raise RuntimeError("the console is gone: " + self.said.decode(errors="replace"))
            self.said += data
        return b"slept: 0" in self.said

    def status(self):
        return self.command("query-status")["status"]


def main():
    program, options = sys.argv[1], sys.argv[2:]
    t = Checks()
    m = Sleeper(program, "-m", "256M", "-smp", "2", *options)
    try:
        t.check(m.command("query-current-machine")["wakeup-suspend-support"], "the machine says that it can be woken")
        states = m.run("cat /sys/power/state")
        t.check("mem" in states.split(), "the guest may sleep", states)
        m.run("echo kept >/tmp/file; (while sleep 1; do echo tick >>/tmp/ticks; done) & true")
        try:
            m.command("system_wakeup")
            t.check(False, "waking what does not sleep is refused")
        except Exception as problem:  # pylint: disable=broad-except
            t.check("does not sleep" in str(problem), "waking what does not sleep is refused", problem)

        m.sleep()
        t.check(m.status() == "suspended" and not m.command("query-status")["running"], "it sleeps", m.status())
        time.sleep(0.5)
        m.command("system_wakeup")
        t.check(m.event("WAKEUP") is not None and m.woken(), "system_wakeup wakes it")
        t.check(m.status() == "running" and m.run("cat /tmp/file; nproc").split() == ["kept", "2"], "its memory and its vCPUs are as they were")

        m.sleep()
        m.command("stop")
        t.check(m.status() == "paused" and m.event("STOP") is not None, "somebody pauses it in its sleep")
        m.command("cont")
        t.check(m.status() == "suspended" and m.event("RESUME") is not None, "and lets it go on sleeping")
        m.command("system_powerdown")
        t.check(m.event("WAKEUP") is not None and m.woken(), "the power button wakes it")

        m.sleep("echo +3 >/sys/class/rtc/rtc0/wakealarm; " + SLEEP)
        t.check(m.event("WAKEUP") is not None and m.woken(), "the clock's alarm wakes it")

        m.sleep()
        m.command("send-key", keys=[{"type": "qcode", "data": "shift"}])
        t.check(m.event("WAKEUP") is not None and m.woken(), "a key wakes it")

        before, now = m.run("sleep 2; wc -l </tmp/ticks"), m.run("sleep 2; wc -l </tmp/ticks")
        t.check(int(now.split()[-1]) > int(before.split()[-1]), "its clocks tick", f"{before}, {now}")

        m.sleep()
        m.command("system_reset")
        m.wait_for(b"# ")
        t.check(m.status() == "running", "a reset ends the sleep too")
    except Exception as problem:  # pylint: disable=broad-except
        t.check(False, "no step fails", f"{type(problem).__name__}: {problem}")
    finally:
        m.close()
    print(f"1..{t.n}")
    return t.failed != 0


if __name__ == "__main__":
    sys.exit(main())
