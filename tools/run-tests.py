#!/usr/bin/env python3
"""Runs the tests with meson and counts them. The last line is "N passed, N failed, N skipped".

A test may be skipped only when tests/skips names it, with a reason; any other skip counts as a failure."""

import argparse
import json
import os
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def allowed_skips():
    skips = {}
    with open(os.path.join(TOP, "tests", "skips")) as lines:
        for line in lines:
            line = line.strip()
            if line and not line.startswith("#"):
                name, _, reason = line.partition(" ")
                skips[name] = reason.strip()
    return skips


# What builds with a sanitizer run; boots take too long there.
SANITIZED_SUITES = ["unit", "insn", "guest", "cmdline", "debug", "fuzz"]

# The first finding ends a program, with a status that no test expects.
SANITIZERS = {
    "ASAN_OPTIONS": "halt_on_error=1:abort_on_error=1:detect_leaks=1",
    "UBSAN_OPTIONS": "halt_on_error=1:abort_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:abort_on_error=1:second_deadlock_stack=1",
}


def run(build, options, tests, env=None):
    """Builds, runs and returns meson's exit status and one (name, result) for each test."""
    subprocess.run(["ninja", "-C", build], check=True, stdout=subprocess.DEVNULL)
    log = os.path.join(build, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.unlink(log)
    command = ["meson", "test", "-C", build, "--no-rebuild", "--print-errorlogs", "--num-processes", str(os.cpu_count())]
    status = subprocess.run(command + options + tests, env={**os.environ, **(env or {})}).returncode
    if not os.path.exists(log):
        return status, []  # none of these tests is in these suites
    with open(log) as lines:
        return status, [(t["name"].split(" / ")[-1], t["result"]) for t in map(json.loads, lines)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", help="folder of the build whose tests to run")
    parser.add_argument("--sanitized", action="append", default=[], help="folder of a build with a sanitizer; may be repeated")
    parser.add_argument("--long", action="store_true", help="the long tests as well")
    parser.add_argument("tests", nargs="*", help="only these")
    args = parser.parse_args()

    not_long = [] if args.long else ["--no-suite", "long"]
    results, broken = [], False
    if args.build:
        status, results = run(args.build, not_long, args.tests)
        broken = status not in (0, 1)
    for build in args.sanitized:
        suites = [o for suite in SANITIZED_SUITES for o in ("--suite", suite)]
        status, more = run(build, [*suites, "--no-suite", "long"], args.tests, SANITIZERS)
        results += [(f"{name} ({build})", result) for name, result in more]
        broken |= bool(more) and status not in (0, 1)

    skips = allowed_skips()
    passed = failed = skipped = 0
    for name, result in results:
        if result in ("OK", "EXPECTEDFAIL"):
            passed += 1
        elif result == "SKIP" and name.split()[0] in skips:
            print(f"skipped: {name}: {skips[name.split()[0]]}")
            skipped += 1
        else:
            print(f"failed: {name}: {result}")
            failed += 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed or broken else 0


if __name__ == "__main__":
    sys.exit(main())
