"""What acceptance scripts share: a fresh clone, steps that log commit, figure and time, and are not run again on a commit they
passed on."""

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = "build/qemu-system-x86_64"
GUEST = "build/tests/guest/"


class Failed(Exception):
    pass


class Run:
    """What a step gets: the clone, and whether everything is to be short."""

    def __init__(self, clone, quick):
        self.clone, self.quick = clone, quick

    def sh(self, command, timeout, check=True):
        try:
            run = subprocess.run(command, cwd=self.clone, shell=isinstance(command, str), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, timeout=timeout, text=True, errors="replace")
        except subprocess.TimeoutExpired as late:
            out = late.stdout.decode(errors="replace") if isinstance(late.stdout, bytes) else late.stdout or ""
            raise Failed(f"{command}: not done after {timeout} s: ...{out[-1000:]}") from None
        if check and run.returncode:
            raise Failed(f"{command}: status {run.returncode}: ...{run.stdout[-1500:]}")
        return run.stdout

    def bench(self, part, timeout, *options):
        """Runs one part of the benchmark; its figures."""
        figures = os.path.join(self.clone, "build", f"bench-{part}.json")
        short = ["--rounds", "1"] if self.quick else []
        out = self.sh(["bench/run.py", part, "--program", PROGRAM, "--json", figures, *short, *options], timeout)
        with open(figures, encoding="ascii") as f:
            return json.load(f), out


def step_build(run):
    """The clone builds, with its guests."""
    start = time.monotonic()
    run.sh(["make", "build", "guest"], 1800)
    return f"{time.monotonic() - start:.0f} s"


def build_fuzzers(run, names):
    """Fuzzers with libFuzzer, ASan and UBSan."""
    start = time.monotonic()
    if not os.path.exists(os.path.join(run.clone, "build-fuzz")):
        run.sh("CC=clang meson setup build-fuzz -Dfuzz=true", 300)
    run.sh(["ninja", "-C", "build-fuzz", *(f"tests/fuzz/fuzz_{name}" for name in names)], 3600)
    return f"{time.monotonic() - start:.0f} s"


def fuzz(run, name, part, done, wrong, options=(), environment=()):
    """Ten minutes of a fuzzer under ASan and UBSan; `part` names what it finds. Its output is to match `done`, and nowhere
    `wrong`. Seconds, and the match."""
    build_fuzzers(run, [name])
    seconds = 20 if run.quick else 600
    folder = os.path.join(run.clone, "build-fuzz", "found-" + part)
    os.makedirs(folder, exist_ok=True)
    out = run.sh(["env", *environment, f"build-fuzz/tests/fuzz/fuzz_{name}", *options, f"-max_total_time={seconds}", f"-artifact_prefix={folder}/", folder,
                  "tests/fuzz/corpus/" + name], seconds + 600, check=False)
    with open(folder + ".log", "w", encoding="utf-8") as f:
        f.write(out)
    match = re.search(done, out, re.M)
    if not match or re.search(wrong, out):
        raise Failed(out[-2000:])
    return seconds, match


def steps_of(module):
    """The functions step_NAME of a module, by name and in its order."""
    return {name[5:]: function for name, function in module.items() if name.startswith("step_")}


def main(doc, name, steps):
    """Runs the steps named on the command line, or all; the log is accept-NAME.log."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", default=os.path.join(TOP, "build", f"accept-{name}.log"))
    parser.add_argument("--work", default=os.path.join(TOP, "build", "accept"), help="where the fresh clone goes")
    parser.add_argument("--quick", action="store_true", help="short forms, to try the script itself; logged as such, and never as passed")
    parser.add_argument("--here", action="store_true", help="in this tree as it is, not in a clone; logged as such, and never as passed")
    parser.add_argument("steps", nargs="*", choices=[[], *steps], help="default: all")
    args = parser.parse_args()

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=TOP, capture_output=True, text=True, check=True).stdout.strip()
    clone = TOP if args.here else os.path.join(args.work, commit)
    if not os.path.exists(clone):
        os.makedirs(args.work, exist_ok=True)
        subprocess.run(["git", "clone", "-q", TOP, clone], check=True)
    run = Run(clone, args.quick)
    if not os.path.exists(os.path.join(clone, PROGRAM)) and args.steps and "build" not in args.steps:
        steps["build"](run)
    proven = ""
    if os.path.exists(args.log):
        with open(args.log, encoding="utf-8") as f:
            proven = f.read()
    failed = False
    for step in args.steps or steps:
        if f"{commit} {step} passed" in proven:
            continue
        start = time.monotonic()
        try:
            result = ("quick: " if args.quick else "here: " if args.here else "passed: ") + steps[step](run)
        except (Failed, subprocess.SubprocessError, OSError, KeyError, TypeError, ValueError) as problem:
            failed, result = True, f"failed: {type(problem).__name__ + ': ' if not isinstance(problem, Failed) else ''}{problem}"
        line = f"{commit} {step} {result} [{datetime.datetime.now():%Y-%m-%d %H:%M}, {time.monotonic() - start:.0f} s]"
        print(line, flush=True)
        os.makedirs(os.path.dirname(args.log), exist_ok=True)
        with open(args.log, "a", encoding="utf-8") as log:
            log.write(line.replace("\n", " | ") + "\n")
    return 1 if failed else 0
