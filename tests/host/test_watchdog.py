#!/usr/bin/env python3
"""What -action watchdog= makes of the ICH9's watchdog, driven by the device-test protocol. Usage: test_watchdog.py PROGRAM"""

import subprocess
import sys

PMBASE = 0x600


class Guest:
    """q35 with its power management at 600h and the watchdog about to fire."""

    def __init__(self, program, *options):
        self.process = subprocess.Popen([program, "-accel", "qtest", "-machine", "q35", "-nodefaults", "-display", "none", "-qtest", "stdio",
                                         "-qtest-log", "/dev/null", *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        for command in ("outl 0xcf8 0x8000f840", f"outl 0xcfc {PMBASE + 1}", "outl 0xcf8 0x8000f844", "outb 0xcfc 0x80",
                        f"outw {PMBASE + 0x72} 2", f"outw {PMBASE + 0x60} 1"):
            self.ask(command)

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def fire(self):
        return self.ask("clock_step 4000000000")

    def was_reset(self):
        self.ask("outl 0xcf8 0x8000f840")
        return self.ask("inl 0xcfc") == "OK 0x0001"

    def end(self):
        """Exit status and what it said; of a program that goes on it is the status after its input has ended."""
        out, errors = self.process.communicate(timeout=30)
        return self.process.returncode, errors


def check(program):
    def reset():
        guest = Guest(program)
        guest.fire()
        assert guest.was_reset()
        guest.process.kill()

    def goes_on(action):
        def run():
            guest = Guest(program, "-watchdog-action", action)
            guest.fire()
            assert not guest.was_reset()
            pressed = int(guest.ask(f"inw {PMBASE}").split()[1], 16) & 0x100
            assert bool(pressed) == (action == "shutdown"), pressed
            guest.process.terminate()
            errors = guest.end()[1]
            assert ("watchdog: timer fired" in errors) == (action == "debug"), errors
        return run

    def ends(*options):
        def run():
            guest = Guest(program, *options)
            guest.fire()
            status, errors = guest.end()
            assert (status, errors) == (0, ""), (status, errors)
        return run

    yield "reset is the default", reset
    for action in ("none", "pause", "debug", "shutdown", "inject-nmi"):
        yield action, goes_on(action)
    yield "poweroff", ends("-action", "watchdog=poweroff")
    yield "reset with -no-reboot", ends("-no-reboot")
    yield "poweroff is not held up by shutdown=pause", ends("-action", "watchdog=poweroff,shutdown=pause")


def main():
    failures = number = 0
    for name, run in check(sys.argv[1]):
        number += 1
        try:
            run()
            print(f"ok {number} - {name}", flush=True)
        except (AssertionError, OSError, ValueError, IndexError, subprocess.TimeoutExpired) as problem:
            failures += 1
            print(f"not ok {number} - {name}\n# {problem!r}", flush=True)
    print(f"1..{number}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
