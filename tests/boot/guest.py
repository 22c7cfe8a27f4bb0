"""Runs the Debian kernel with the test initramfs in Quern and collects what it prints. Used by the boot tests."""

import os
import re
import subprocess
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def cached(script, *arguments):
    return subprocess.run([os.path.join(TOP, "tools", "guest", script), *arguments], check=True, capture_output=True, text=True).stdout.strip()


class Boot:
    """One run of a guest script to power-off; with `xen` in its first domain. `lines` are the console's, `times` when each came and `cpu` how much
    processor time the process had used then, `seconds` the wall time, `status` the exit status."""

    def __init__(self, program, script, *options, memory="512M", append="", timeout=600, arch="amd64", xen=False):
        kernel, initramfs = cached("fetch-kernel.sh", arch), cached("make-initramfs.sh", arch)
        command = [program, "-accel", "tcg", "-nographic", *(["-m", memory] if memory else [])]
        if xen:
            command += ["-kernel", cached("fetch-xen.sh"), "-initrd", f"{kernel} console=hvc0 script={script},{initramfs}",
                        "-append", f"console=com1 com1=115200,8n1 loglvl=all guest_loglvl=all noreboot {append}".strip()]
        else:
            command += ["-kernel", kernel, "-initrd", initramfs, "-append", f"console=ttyS0 script={script} {append}".strip()]
        command += options
        start = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        watchdog = threading.Timer(timeout, process.kill)
        watchdog.start()
        self.lines, self.times, self.cpu = [], [], []
        for line in process.stdout:
            self.times.append(time.monotonic() - start)
            self.cpu.append(cpu_seconds(process.pid))
            self.lines.append(line.decode(errors="replace").rstrip("\r\n"))
        self.messages = process.stderr.read().decode(errors="replace").splitlines()
        self.status = process.wait()
        watchdog.cancel()
        self.seconds = time.monotonic() - start

    def find(self, name):
        """Index of the first line "NAME..." or None."""
        return next((i for i, line in enumerate(self.lines) if line.startswith(name)), None)

    def value(self, name):
        """The text after "NAME: " in the guest's output, without a message of the kernel's that came in between; or None."""
        text = next(iter(self.values(name)), None)
        return text if text is None else re.sub(r"\[ *\d+\.\d{6}\] .*", "", text)

    def finished(self):
        """Has the script ended well? A message, also of a hypervisor's, may follow on the same line."""
        return re.match(r"0(?!\d)", self.value("script-status") or "") is not None

    def values(self, name):
        return [m.group(1) for m in (re.match(rf"{re.escape(name)}: ?(.*)", line) for line in self.lines) if m]


def cpu_seconds(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
