"""What the in-guest acceptance tests (guest_*.py) share: their command line, running a guest to power-off with a time limit,
its console's lines and its process's memory, and a record of the steps that passed, so that a run that was stopped goes on
where it was.

The last line on stdout is a JSON object: test, verdict ("passed", "failed", "unfinished"), program, seconds and for each step
its verdict and figures. Exit status: 0 passed, 1 failed, 2 cannot run, 3 out of time (run it again to go on)."""

import argparse
import hashlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time

import guestroot
from guestroot import TOP

PEER = "/usr/bin/qemu-system-x86_64"
# What a healthy kernel does not say. User programs that crash say "segfault at" or "traps:".
BAD = (r"WARNING:|BUG:|Call Trace|Oops|UBSAN|segfault at|traps: |general protection|invalid opcode|soft lockup|"
       r"detected stall|self-detected|blocked for more than|Kernel panic|unhandled|No irq handler")
PATIENCE = "watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=300"
SANITIZER = re.compile(r"runtime error:|Sanitizer")


class Failed(Exception):
    """A check did not hold; figures of the step may come along."""

    def __init__(self, text, **figures):
        super().__init__(text)
        self.figures = figures


class OutOfTime(Exception):
    pass


def cut(messages, most=3000):
    """What went wrong is said first, and how it ended last."""
    return messages if len(messages) <= most else f"{messages[: most - 500]}[...]{messages[-500:]}"


class Guest:
    """One boot to power-off. `lines` are the console's."""

    def __init__(self, test, selection, script, files, smp=1, on_sample=None, sample_every=10.0, on_line=None, options=(), append=""):
        self.lines, self.seconds, self.test, self.on_line = [], 0.0, test, on_line
        limit = test.left()
        with tempfile.TemporaryDirectory(prefix="quern-guest.") as work:
            initrd, errors = os.path.join(work, "initrd"), os.path.join(work, "stderr")
            guestroot.write_initrd(initrd, selection, script, files)
            words = ["console=ttyS0", "loglevel=8" if test.args.verbose else "loglevel=3", "panic=-1", "log_buf_len=8M", "script=run",
                     *([PATIENCE] if test.args.slow else []), append]
            command = [test.program, "-nographic", "-no-reboot", "-m", "1G", "-smp", str(smp), "-cpu", "max", *test.extra, *options,
                       "-kernel", guestroot.cached("fetch-kernel.sh"), "-initrd", initrd,
                       "-append", " ".join(words).strip()]
            environment = {"ASAN_OPTIONS": "halt_on_error=1:abort_on_error=1:detect_leaks=1:quarantine_size_mb=32",
                           "UBSAN_OPTIONS": "halt_on_error=1:abort_on_error=1:print_stacktrace=1", **os.environ}
            start = time.monotonic()
            with open(errors, "wb") as error_file:
                self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=error_file,
                                                env=environment)
            self.last = start
            self.stopped = None
            reader = threading.Thread(target=self._read)
            reader.start()
            sampled = start
            try:
                while self.process.poll() is None:
                    now = time.monotonic()
                    if now - start > limit:
                        self.stopped = OutOfTime(f"no end after {now - start:.0f} s")
                    elif now - self.last > test.args.quiet:
                        self.stopped = Failed(f"the console has been silent for {test.args.quiet:.0f} s")
                    if self.stopped:
                        break
                    if on_sample and now - sampled >= sample_every:
                        sampled = now
                        on_sample(now - start, self.process.pid)
                    try:
                        self.process.wait(0.5)
                    except subprocess.TimeoutExpired:
                        pass
            finally:
                if self.process.poll() is None:
                    self.process.kill()
                self.status = self.process.wait()
                reader.join()
            self.seconds = time.monotonic() - start
            with open(errors, errors="replace") as f:
                self.messages = f.read()
            test.keep_console(self.lines)
        if self.stopped:
            self.stopped.args = (f"{self.stopped}; the last lines: {self.tail()}",)
            raise self.stopped
        if SANITIZER.search(self.messages):
            raise Failed("the emulator's sanitizer: " + self.messages[-3000:])
        if self.status != 0 or self.value("script-status") != "0":
            raise Failed(f"exit status {self.status}, script status {self.value('script-status')}; {cut(self.messages)}; "
                         f"the last lines: {self.tail()}")

    def _read(self):
        for line in self.process.stdout:
            self.last = time.monotonic()
            line = line.decode(errors="replace").rstrip("\r\n")
            self.lines.append(line)
            if self.on_line:
                self.on_line(line)
            if self.test.args.verbose:
                print(f"# [{self.last - self.test.start:.1f}] {line}", flush=True)

    def tail(self):
        return " | ".join([line for line in self.lines if not line.startswith("alive: ")][-12:])[-2500:]

    def values(self, name):
        """The texts after "NAME: " in the guest's output."""
        return [m.group(1) for m in (re.match(rf"{re.escape(name)}: ?(.*)", line) for line in self.lines) if m]

    def value(self, name):
        return next(iter(self.values(name)), None)

    def records(self, name):
        """Lines "NAME: WORD key=value key=value ..." as {WORD: {key: value}}."""
        found = {}
        for text in self.values(name):
            words = text.split()
            if words:
                found[words[0]] = dict(word.split("=", 1) for word in words[1:] if "=" in word)
        return found

    def check_kernel(self, allowed=None):
        """Fails for what the kernel should not have said (common.sh's kernel_log printed its log)."""
        if self.value("kernel-log-end") is None:
            raise Failed("the kernel's log did not come out; the last lines: " + self.tail())
        bad = [line for line in self.values("kernel-log") if re.search(BAD, line) and not (allowed and re.search(allowed, line))]
        if bad:
            raise Failed(f"the kernel's log has {len(bad)} bad lines: " + " | ".join(bad[:20]))


class Test:
    """A test's command line, steps and verdict."""

    def __init__(self, name, doc, limit):
        self.name, self.steps = name, {}
        self.parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
        add = self.parser.add_argument
        add("--program", default=os.path.join(TOP, "build", "qemu-system-x86_64"), help="the emulator (default: build's)")
        add("--args", default="", help="more options for it, as one string")
        add("--peer", action="store_true", help=f"run Debian's {PEER} -accel tcg instead, for comparison")
        add("--quick", action="store_true", help="a short form")
        add("--limit", type=float, default=limit, help="seconds for the whole test (default: %(default)g)")
        add("--quiet", type=float, default=300.0, help="seconds without a line on the console that count as dead (%(default)g)")
        add("--slow", action="store_true", help="give the guest's watchdogs minutes: for the plain executor and busy hosts")
        add("--state", help=f"where passed steps are recorded (default: build/accept/{name}.json)")
        add("--fresh", action="store_true", help="run steps that have passed again")
        add("--verbose", action="store_true", help="show the console")

    def parse(self):
        self.args = self.parser.parse_args()
        # Who ends the test ends its guest too and leaves no folder behind.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        self.start = time.monotonic()
        self.program = PEER if self.args.peer else self.args.program
        self.extra = shlex.split(self.args.args)
        if "-accel" not in self.extra:
            self.extra = ["-accel", "tcg", *self.extra]  # not whatever suits this host
        if not os.access(self.program, os.X_OK):
            print(f"{self.name}: {self.program}: not there" + ("; install qemu-system-x86" if self.args.peer else "; run make"),
                  file=sys.stderr)
            sys.exit(2)
        self.state_file = self.args.state or os.path.join(TOP, "build", "accept", self.name + ".json")
        digest = hashlib.sha256(repr((self.extra, self._mode())).encode())
        folder = os.path.dirname(os.path.abspath(__file__))
        sources = [os.path.join(folder, f) for f in (self.name + ".py", "guestlib.py", "guestroot.py")]
        sources += [os.path.join(folder, "guest", f) for f in sorted(os.listdir(os.path.join(folder, "guest")))]
        for path in [self.program, *sources]:
            with open(path, "rb") as f:
                digest.update(hashlib.sha256(f.read()).digest())
        self.key = digest.hexdigest()[:16]
        self.state = {}
        try:
            with open(self.state_file) as f:
                self.state = json.load(f)
        except (OSError, ValueError):
            pass
        return self.args

    def _mode(self):
        """The options that change what is tested."""
        skip = {"program", "args", "peer", "limit", "quiet", "slow", "state", "fresh", "verbose"}
        return sorted((k, v) for k, v in vars(self.args).items() if k not in skip)

    def left(self):
        left = self.args.limit - (time.monotonic() - self.start)
        if left <= 0:
            raise OutOfTime(f"the limit of {self.args.limit:.0f} s is over")
        return left

    def keep_console(self, lines):
        """The last guest's console lies beside the state file."""
        os.makedirs(os.path.dirname(os.path.abspath(self.state_file)), exist_ok=True)
        with open(os.path.splitext(self.state_file)[0] + ".console", "w") as f:
            f.write("\n".join(lines) + "\n")

    def step(self, name, function, *arguments):
        """Runs function(*arguments), which returns figures or raises Failed, unless it has passed before."""
        done = self.state.get(self.key, {}).get(name)
        if done is not None and not self.args.fresh:
            self.steps[name] = {"verdict": "passed", "before": True, **done}
            print(f"{self.name}: {name}: passed before", flush=True)
            return
        begin = time.monotonic()
        try:
            figures = function(*arguments) or {}
            figures["seconds"] = round(time.monotonic() - begin, 1)
            result = {"verdict": "passed", **figures}
            self.state.setdefault(self.key, {})[name] = figures
            self._save()
        except Failed as problem:
            result = {"verdict": "failed", **problem.figures, "why": str(problem)}
        except OutOfTime as problem:
            result = {"verdict": "unfinished", "why": str(problem)}
        except (subprocess.SubprocessError, LookupError, ValueError, OSError) as problem:
            result = {"verdict": "failed", "why": f"{type(problem).__name__}: {problem}"}
        self.steps[name] = result
        print(f"{self.name}: {name}: " + result["verdict"] + "".join(f"; {k} {v}" for k, v in result.items() if k != "verdict"), flush=True)

    def _save(self):
        os.makedirs(os.path.dirname(os.path.abspath(self.state_file)), exist_ok=True)
        new = self.state_file + ".new"
        with open(new, "w") as f:
            json.dump(self.state, f, indent=1)
        os.replace(new, self.state_file)

    def finish(self):
        verdicts = {step["verdict"] for step in self.steps.values()}
        verdict = next((v for v in ("failed", "unfinished") if v in verdicts), "passed")
        print(json.dumps({"test": self.name, "verdict": verdict, "program": self.program, "args": self.extra, "quick": self.args.quick,
                          "seconds": round(time.monotonic() - self.start, 1), "steps": self.steps}), flush=True)
        return {"passed": 0, "failed": 1, "unfinished": 3}[verdict]
