"""Runs a class's tests and prints TAP: Tests(program, image, folder) has a method test_NAME for each.

Used as: sys.exit(cases.run(Tests)), with the program, the image and perhaps names of tests on the command line; a class that
needs no image (or more files) says how many there are before the folder: cases.run(Tests, 1)."""

import os
import subprocess
import sys
import tempfile
import traceback


class Started:
    """What a test starts by self.popen() and does not end, because it failed, is ended for it."""

    def __init__(self):
        self.processes = []

    def popen(self, command, **more):
        process = subprocess.Popen(command, **more)
        self.processes.append(process)
        return process

    def clean_up(self):
        for process in self.processes:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                try:
                    if stream:
                        stream.close()
                except BrokenPipeError:  # something that it was to read
                    pass
        self.processes = []


def run(tests_class, files=2):
    failures = 0
    wanted = sys.argv[1 + files:]
    with tempfile.TemporaryDirectory() as tmp:
        tests = tests_class(*(os.path.abspath(p) for p in sys.argv[1:1 + files]), tmp)
        names = [name for name in dir(tests) if name.startswith("test_") and (not wanted or name in wanted or name[5:] in wanted)]
        for number, name in enumerate(names, 1):
            try:
                getattr(tests, name)()
                print(f"ok {number} - {name[5:]}", flush=True)
            except Exception:  # pylint: disable=broad-except
                failures += 1
                print(f"not ok {number} - {name[5:]}\n# " + traceback.format_exc().strip().replace("\n", "\n# "), flush=True)
            clean_up = getattr(tests, "clean_up", None)
            if clean_up:
                clean_up()
        print(f"1..{len(names)}")
    return 1 if failures else 0
