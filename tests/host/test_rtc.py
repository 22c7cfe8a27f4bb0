#!/usr/bin/env python3
"""-rtc on the real program, by the device-test protocol: what the clock says at the start and what drives it.
Usage: test_rtc.py PROGRAM"""

import datetime
import os
import subprocess
import sys
import time

SECOND = 10**9


class Machine:
    def __init__(self, program, *options, zone="UTC"):
        self.process = subprocess.Popen([program, "-accel", "qtest", "-nodefaults", "-display", "none", "-qtest", "stdio", "-qtest-log", "/dev/null",
                                         *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env={**os.environ, "TZ": zone})

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().split()[1:]

    def register(self, n):
        self.ask(f"outb 0x70 {n}")
        return int(self.ask("inb 0x71")[0], 16)

    def time(self):
        """Read twice, for the case that it changes between two registers."""
        seen = None
        for _ in range(10):
            values = [self.register(n) for n in (0x32, 9, 8, 7, 4, 2, 0)]
            if values == seen:
                break
            seen = values
        century, year, month, day, hour, minute, second = (int(f"{value:02x}") for value in values)
        return datetime.datetime(100 * century + year, month, day, hour, minute, second)

    def step(self, seconds):
        self.ask(f"clock_step {seconds * SECOND}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def near(a, b, seconds=5):
    return abs((a - b).total_seconds()) <= seconds


def check(program):
    utc = datetime.datetime.utcnow
    with Machine(program) as m:
        yield "utc is the default", near(m.time(), utc())
    with Machine(program, "-rtc", "base=localtime", zone="XYZ-05:30") as m:
        yield "local time", near(m.time(), utc() + datetime.timedelta(hours=5, minutes=30))
    with Machine(program, "-rtc", "base=2006-06-17T16:01:21,clock=vm") as m:
        yield "a date with a time", near(m.time(), datetime.datetime(2006, 6, 17, 16, 1, 21), 1)
        m.step(3600)
        yield "clock=vm follows the virtual clock", near(m.time(), datetime.datetime(2006, 6, 17, 17, 1, 21), 1)
    with Machine(program, "-rtc", "2006-06-17") as m:
        yield "a date, and the first key may be left out", near(m.time(), datetime.datetime(2006, 6, 17))
        m.step(3600)
        yield "clock=host does not follow the virtual clock", near(m.time(), datetime.datetime(2006, 6, 17), 10)
    with Machine(program, "-rtc", "base=2000-02-29,clock=rt") as m:
        m.step(3600)
        time.sleep(1.2)
        now = m.time()
        yield "clock=rt follows the host's", now != datetime.datetime(2000, 2, 29) and near(now, datetime.datetime(2000, 2, 29), 10)
    with Machine(program, "-rtc", "base=1999-12-31T23:59:59,clock=vm,driftfix=slew") as m:
        m.step(2)
        yield "the turn of a century", m.time() == datetime.datetime(2000, 1, 1, 0, 0, 1)
    for drift, expected in (("slew", range(100, 201)), ("none", range(0, 5))):
        with Machine(program, "-rtc", f"base=2020-01-01,clock=vm,driftfix={drift}") as m:
            # 1024 interrupts a second that nobody takes: with slew they come later, one for each read of register C.
            m.ask("outb 0x70 0xb")
            m.ask("outb 0x71 0x42")
            m.step(1)
            taken = sum(bool(m.register(0xc) & 0x40) for _ in range(200))
            yield f"lost interrupts with driftfix={drift}", taken in expected


def main():
    results = list(check(sys.argv[1]))
    for n, (name, good) in enumerate(results, 1):
        print(f"{'ok' if good else 'not ok'} {n} - {name}")
    print(f"1..{len(results)}")
    return 0 if all(good for _, good in results) else 1


if __name__ == "__main__":
    sys.exit(main())
