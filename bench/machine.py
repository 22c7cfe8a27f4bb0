"""Runs rows of bench/rows natively or in a VM and collects what the runner prints; notes what else the machine did."""

import os
import re
import resource
import select
import signal
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
GUEST_TOOLS = os.path.join(os.path.dirname(HERE), "tools", "guest")
CLOCK_TOLERANCE = 0.02  # how far the guest's clock may be from the host's, as a share of the time that passed,
CLOCK_DELAY = 0.5  # and how many seconds the lines that tell may be late


def output_of(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def image():
    """The folder that make-image.sh builds."""
    return output_of(os.path.join(HERE, "make-image.sh"))


def kernel():
    return output_of(os.path.join(GUEST_TOOLS, "fetch-kernel.sh"))


def cpu_seconds_of_all():
    """Processor seconds that anything used since boot, those taken by other VMs on the host included."""
    with open("/proc/stat", encoding="ascii") as stat:
        user, nice, system, _, _, irq, softirq, steal = map(int, stat.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def cpu_seconds_of_ours():
    """Processor seconds of this process and of those it has waited for."""
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))


def cpu_seconds_of(pid):
    """Processor seconds of a process that runs, without its children's."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Run:
    """One process run to its end. `lines` are (seconds since exec, text) of its standard output, `cpu` what processor
    time it had used at each, `problem` says why it did not end by itself with status 0, `busy` is how much of one CPU
    other processes used meanwhile."""

    def __init__(self, command, silence, steps=1, cpus=None, watch=None):
        """Kills the process when it prints nothing for `silence` seconds, or when its `steps` take longer than that each.
        `cpus`: where it may run. `watch` is called with each line as it comes."""
        self.watch = watch
        all_before, ours_before = cpu_seconds_of_all(), cpu_seconds_of_ours()
        start = time.monotonic()
        prepare = (lambda: os.sched_setaffinity(0, cpus)) if cpus else None
        messages = tempfile.TemporaryFile()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=messages,
                                   start_new_session=True, preexec_fn=prepare)
        self.lines, self.cpu, self.problem = [], [], None
        try:
            self._read(process, start, silence, steps)
            if self.problem is None:
                status = process.wait(timeout=silence)
                self.problem = f"exit status {status}" if status else None
        except subprocess.TimeoutExpired:
            self.problem = "does not end"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.seconds = time.monotonic() - start
        messages.seek(0)
        self.messages = messages.read().decode(errors="replace").splitlines()
        messages.close()
        process.stdout.close()
        foreign = cpu_seconds_of_all() - all_before - (cpu_seconds_of_ours() - ours_before)
        self.busy = max(0.0, foreign) / self.seconds

    def _read(self, process, start, silence, steps):
        pending = b""
        while True:
            if not select.select([process.stdout], [], [], silence)[0]:
                self.problem = f"nothing printed for {silence:g} s"
                return
            if time.monotonic() - start > silence * (steps + 1):
                self.problem = f"still not done after {silence * (steps + 1):g} s"
                return
            data = os.read(process.stdout.fileno(), 65536)
            at, cpu = time.monotonic() - start, cpu_seconds_of(process.pid)
            *complete, pending = (pending + (data or b"\n")).split(b"\n")
            for line in complete:
                self.lines.append((at, line.decode(errors="replace").rstrip("\r")))
                self.cpu.append(cpu)
                if self.watch:
                    self.watch(self.lines[-1][1])
            if not data:
                return

    def when(self, text):
        """(seconds since exec, processor seconds) at which a line with `text` came, or None."""
        return next(((at, cpu) for (at, line), cpu in zip(self.lines, self.cpu) if text in line), None)

    def explain(self):
        """The problem and the last lines, for a person."""
        return "\n    ".join([self.problem or "it ended early"] + self.messages[-5:] + [line for _, line in self.lines[-5:]])


class Rows(Run):
    """A run of the runner. `rows` maps names to (seconds, processor seconds, checksum), `failed` names to what went
    wrong. Processor seconds are the host's: a VM's process as a whole, natively the programs."""

    def __init__(self, command, names, silence, cpus=None, watch=None, native=False):
        super().__init__(command, silence, len(names), cpus, watch)
        self.rows, self.failed, clocks, begin = {}, {}, [], 0.0
        for (at, line), cpu in zip(self.lines, self.cpu):
            if line.startswith("begin "):
                begin = cpu
            elif match := re.fullmatch(r"row (\S+) ([\d.]+) ([\d.]+) ([0-9a-f]{16})", line):
                used = float(match.group(3)) if native else cpu - begin
                self.rows[match.group(1)] = (float(match.group(2)), used, match.group(4))
            elif match := re.fullmatch(r"failed (\S+) (.*)", line):
                self.failed[match.group(1)] = match.group(2)
            elif match := re.fullmatch(r"clock ([\d.]+)", line):
                clocks.append((at, float(match.group(1))))
        for name in names:
            if name not in self.rows and name not in self.failed:
                self.failed[name] = self.explain()
        self.clock_error = 0.0
        if len(clocks) == 2:
            host, guest = (clocks[1][i] - clocks[0][i] for i in (0, 1))
            if abs(guest - host) > CLOCK_DELAY:
                self.clock_error = guest / host - 1


class System:
    """Where rows run: natively (program is None) or in a VM of `program`."""

    def __init__(self, name, program=None, options=()):
        self.name, self.program, self.options = name, program, list(options)

    def run(self, folder, names, scale, silence, cpus=1, watch=None):
        root = os.path.join(folder, "root")
        if not self.program:
            bench = os.path.join(root, "bench")
            command = [os.path.join(bench, "runner"), "-d", bench, "-s", str(scale), os.path.join(bench, "rows"), ",".join(names)]
            return Rows(command, names, silence, sorted(os.sched_getaffinity(0))[-cpus:], watch, native=True)
        command = self.command(os.path.join(folder, "bench.cpio"), cpus,
                               f"console=ttyS0{'' if watch else ' quiet'} panic=-1 bench_rows={','.join(names)} bench_scale={scale}")
        return Rows(command, names, silence, watch=watch)

    def command(self, initrd, cpus, append):
        return [self.program, *self.options, "-m", "1G", "-cpu", "max", "-smp", str(cpus), "-nographic", "-no-reboot",
                "-kernel", kernel(), "-initrd", initrd, "-append", append]
