#!/usr/bin/env python3
"""The cache of unpacked kernels with Debian's: what is decoded once is read the next time, the guest sees no difference.

Usage: test_unpack_cache.py PROGRAM"""

import json
import os
import subprocess
import sys
import tempfile
import time

from guest import cached

LIMIT = 300
DECODED, KEPT = "unpack_kernel decoded", "unpack_kernel taken from the cache"


class Tests:
    def __init__(self, program, folder):
        self.kernel, self.initramfs = cached("fetch-kernel.sh"), cached("make-initramfs.sh")
        self.folder, self.kept = folder, os.path.join(folder, "quern", "unpacked")
        self.command = [program, "-accel", "tcg", "-nographic", "-m", "512M", "-cpu", "max", "-kernel", self.kernel, "-trace", "unpack_kernel"]
        self.environment = dict(os.environ, XDG_CACHE_HOME=folder)

    def files(self):
        return os.listdir(self.kept) if os.path.isdir(self.kept) else []

    def boot(self, expected, machine="pc,unpack-kernel=on"):
        """To power-off, by a script that looks around."""
        done = subprocess.run([*self.command, "-machine", machine, "-initrd", self.initramfs, "-append", "console=ttyS0 quiet script=check"],
                              env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=LIMIT)
        assert done.returncode == 0 and "script-status: 0" in done.stdout, done.stdout[-2000:] + done.stderr
        assert "check-warnings: 0" in done.stdout, done.stdout[-2000:]
        assert done.stderr.splitlines() == [expected], done.stderr

    def start(self, *options):
        process = subprocess.Popen([*self.command, "-machine", "pc,unpack-kernel=on", "-serial", "none", "-monitor", "none", "-qmp", "stdio", *options],
                                   env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process.stdout.readline()
        self.ask(process, "qmp_capabilities")
        return process

    def ask(self, process, command):
        process.stdin.write(json.dumps({"execute": command}) + "\n")
        process.stdin.flush()
        while True:
            line = process.stdout.readline()
            assert line, process.stderr.read()
            if "return" in json.loads(line):
                return

    def wait_for_file(self):
        for _ in range(LIMIT * 20):
            if any(name.endswith(".unpacked") for name in self.files()):
                return
            time.sleep(0.05)
        raise AssertionError(f"no file: {self.files()}")

    def end(self, process, *expected):
        self.ask(process, "quit")
        assert process.wait(LIMIT) == 0
        said = process.stderr.read().splitlines()
        assert said == list(expected), said

    def test_nothing_left(self):
        """An end before the file is complete."""
        self.end(self.start("-S"), DECODED)
        assert not any(name.startswith(".") for name in self.files()), self.files()

    def test_off(self):
        for name in self.files():
            os.remove(os.path.join(self.kept, name))
        self.boot(DECODED, "pc,unpack-kernel=on,unpack-cache=off")
        assert not self.files()

    def test_twice(self):
        """... and it is the same for each machine."""
        process = self.start("-S")
        self.wait_for_file()
        self.end(process, DECODED)
        self.boot(KEPT)
        self.boot(KEPT, "q35,unpack-kernel=on")
        assert len(self.files()) == 1 and os.stat(os.path.join(self.kept, self.files()[0])).st_mode & 0o777 == 0o600

    def test_reset(self):
        process = self.start()
        time.sleep(0.5)
        self.ask(process, "system_reset")
        time.sleep(0.5)
        self.end(process, KEPT, KEPT)

    def test_damaged(self):
        path = os.path.join(self.kept, self.files()[0])
        with open(path, "r+b") as f:
            f.seek(10 << 20)
            byte = f.read(1)[0]
            f.seek(10 << 20)
            f.write(bytes([byte ^ 1]))
        before = os.stat(path).st_ino
        self.boot(DECODED)
        if os.stat(path).st_ino == before:  # the guest was faster than the writer, who gives way to everybody
            process = self.start("-S")
            for _ in range(LIMIT * 20):
                if os.stat(path).st_ino != before:
                    break
                time.sleep(0.05)
            self.end(process, DECODED)
        self.boot(KEPT)

    def test_unusable(self):
        """Nothing that is wrong with the folder is worth a word."""
        os.chmod(self.kept, 0o777)
        self.end(self.start("-S"), DECODED)
        os.chmod(self.kept, 0o700)
        self.end(self.start("-S"), KEPT)
        for name in self.files():
            os.remove(os.path.join(self.kept, name))
        os.rmdir(self.kept)
        open(self.kept, "w").close()
        self.end(self.start("-S"), DECODED)


def main():
    with tempfile.TemporaryDirectory() as folder:
        tests = Tests(os.path.abspath(sys.argv[1]), folder)
        names = [name for name in vars(Tests) if name.startswith("test_")]
        failures = 0
        print(f"1..{len(names)}")
        for i, name in enumerate(names):
            try:
                getattr(tests, name)()
                print(f"ok {i + 1} - {name[5:]}", flush=True)
            except (AssertionError, OSError, subprocess.TimeoutExpired) as e:
                failures += 1
                print("# " + str(e).replace("\n", "\n# "))
                print(f"not ok {i + 1} - {name[5:]}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
