"""Runs the Debian kernel with the test initramfs in Quern and collects what it prints. Used by the boot tests."""

import os
import re
import subprocess
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def cached(script):
    return subprocess.run([os.path.join(TOP, "tools", "guest", script)], check=True, capture_output=True, text=True).stdout.strip()


class Boot:
    """One run of a guest script to power-off. `lines` are the console's, `seconds` the wall time, `status` the exit status."""

    def __init__(self, program, script, *options, memory="512M", append="", timeout=600):
        command = [program, "-nographic", "-m", memory, "-kernel", cached("fetch-kernel.sh"), "-initrd",
                   cached("make-initramfs.sh"), "-append", f"console=ttyS0 script={script} {append}".strip(), *options]
        start = time.monotonic()
        run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout)
        self.seconds = time.monotonic() - start
        self.status = run.returncode
        self.lines = run.stdout.decode(errors="replace").replace("\r", "").splitlines()
        self.messages = run.stderr.decode(errors="replace").splitlines()

    def value(self, name):
        """The text after "NAME: " in the guest's output, or None."""
        for line in self.lines:
            match = re.match(rf"{re.escape(name)}: ?(.*)", line)
            if match:
                return match.group(1)
        return None

    def values(self, name):
        return [m.group(1) for m in (re.match(rf"{re.escape(name)}: ?(.*)", line) for line in self.lines) if m]
