"""Runs a class's tests and prints TAP: Tests(program, image, folder) has a method test_NAME for each.

Used as: sys.exit(cases.run(Tests)), with the program, the image and perhaps names of tests on the command line."""

import os
import subprocess
import sys
import tempfile


def run(tests_class):
    failures = 0
    with tempfile.TemporaryDirectory() as tmp:
        tests = tests_class(*(os.path.abspath(p) for p in sys.argv[1:3]), tmp)
        names = [name for name in dir(tests) if name.startswith("test_") and (len(sys.argv) < 4 or name in sys.argv[3:])]
        for number, name in enumerate(names, 1):
            try:
                getattr(tests, name)()
                print(f"ok {number} - {name[5:]}", flush=True)
            except (AssertionError, OSError, subprocess.TimeoutExpired) as problem:
                failures += 1
                text = f"{type(problem).__name__}: {problem}".replace("\n", "\n# ")
                print(f"not ok {number} - {name[5:]}\n# {text}", flush=True)
            clean_up = getattr(tests, "clean_up", None)
            if clean_up:
                clean_up()
        print(f"1..{len(names)}")
    return 1 if failures else 0
