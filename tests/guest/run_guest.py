#!/usr/bin/env python3
"""Runs a bare-metal program (rt/) and passes its TAP on. Usage: run_guest.py PROGRAM KERNEL [--cpus N] [--append TEXT]
[--timeout S] [-- OPTION...]"""

import argparse
import re
import subprocess
import sys


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("kernel")
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--append", default="")
    parser.add_argument("--timeout", type=float, default=180)
    parser.add_argument("--cpu", default="max")
    own, options = sys.argv[1:], []
    if "--" in own:
        own, options = own[:own.index("--")], own[own.index("--") + 1:]
    args = parser.parse_args(own)
    if "-accel" not in options:
        options = ["-accel", "tcg", *options]  # not whatever suits this host

    command = [args.program, "-nodefaults", "-display", "none", "-no-reboot", "-cpu", args.cpu, "-smp", str(args.cpus), "-m", "128",
               "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-debugcon", "stdio", "-kernel", args.kernel,
               "-append", f"cpus={args.cpus} {args.append}", *options]
    try:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=args.timeout)
        status, out, err = result.returncode, result.stdout, result.stderr
    except subprocess.TimeoutExpired as problem:
        status, out, err = f"still running after {args.timeout} s", problem.stdout or b"", problem.stderr or b""
    text = out.decode(errors="replace")
    sys.stdout.write(text)
    for line in err.decode(errors="replace").splitlines():
        print(f"# {line}")
    # 1: all passed, 3: some have not, which the lines say.
    plan = re.search(r"^1\.\.(\d+)$", text, re.M)
    if status not in (1, 3) or not plan:
        print(f"not ok - the program ended with {status}")
        if not plan:
            print(f"1..{len(re.findall(r'^(not )?ok', text, re.M)) + 1}")
    return 0 if status == 1 else 1


if __name__ == "__main__":
    sys.exit(main())
