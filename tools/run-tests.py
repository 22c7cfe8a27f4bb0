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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--long", action="store_true", help="the long tests as well")
    parser.add_argument("tests", nargs="*", help="only these")
    args = parser.parse_args()

    command = ["meson", "test", "-C", args.build, "--no-rebuild", "--print-errorlogs", "--num-processes", str(os.cpu_count())]
    if not args.long:
        command += ["--no-suite", "long"]
    log = os.path.join(args.build, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.unlink(log)
    subprocess.run(["ninja", "-C", args.build], check=True, stdout=subprocess.DEVNULL)
    status = subprocess.run(command + args.tests).returncode

    skips = allowed_skips()
    passed = failed = skipped = 0
    with open(log) as lines:
        for line in lines:
            test = json.loads(line)
            name, result = test["name"].split(" / ")[-1], test["result"]
            if result in ("OK", "EXPECTEDFAIL"):
                passed += 1
            elif result == "SKIP" and name in skips:
                print(f"skipped: {name}: {skips[name]}")
                skipped += 1
            else:
                print(f"failed: {name}: {result}")
                failed += 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not passed or status not in (0, 1) else 0


if __name__ == "__main__":
    sys.exit(main())
