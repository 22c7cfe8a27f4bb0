#!/usr/bin/env python3
"""Wrong command lines (wrong.txt): each ends with status 1 and exactly one clear line on standard error."""

import os
import shlex
import subprocess
import sys
import tempfile


def check(program, arguments, expected, tmp):
    # A leak check at the end of a program with sanitizers has been seen to hang, once in some hundred runs: a second try.
    try:
        run = subprocess.run([program] + shlex.split(arguments), stdin=subprocess.DEVNULL, capture_output=True, timeout=20, cwd=tmp)
    except subprocess.TimeoutExpired:
        run = subprocess.run([program] + shlex.split(arguments), stdin=subprocess.DEVNULL, capture_output=True, timeout=20, cwd=tmp)
    lines = run.stderr.decode(errors="replace").splitlines()
    if run.returncode != 1:
        return f"exit status {run.returncode}, output {lines}"
    if len(lines) != 1:
        return f"{len(lines)} lines: {lines}"
    if not lines[0].startswith("qemu-system-x86_64: ") or expected not in lines[0]:
        return f"expected '{expected}' in: {lines[0]}"
    if run.stdout:
        return f"wrote to standard output: {run.stdout!r}"
    return None


def main():
    program = os.path.abspath(sys.argv[1])
    failures = 0
    count = 0
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "wrong.txt")) as table, tempfile.TemporaryDirectory() as tmp:
        for line in table:
            if line.startswith("#") or not line.strip():
                continue
            arguments, _, expected = line.rstrip("\n").replace("${TMP}", tmp).partition(" => ")
            count += 1
            problem = check(program, arguments, expected, tmp)
            if problem:
                failures += 1
                print(f"not ok {count} - {arguments}\n# {problem}")
            else:
                print(f"ok {count} - {arguments}")
    print(f"1..{count}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
