#!/usr/bin/env python3
"""Measures Quern against Debian's QEMU (TCG) side by side and prints ratios. Absolute times mean little."""

import argparse
import os
import shutil
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import boot  # noqa: E402
import startup  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", default="build/qemu-system-x86_64")
    parser.add_argument("--peer", default=shutil.which("qemu-system-x86_64", path="/usr/bin"))
    parser.add_argument("rows", nargs="*", help="startup, boot (default: all)")
    args = parser.parse_args()
    kernel = os.path.join(os.path.dirname(os.path.abspath(args.program)), "tests", "guest", "multiboot.elf")
    if not args.rows or "startup" in args.rows:
        startup.report(args.program, args.peer, kernel)
    if not args.rows or "boot" in args.rows:
        boot.report(args.program, args.peer)


if __name__ == "__main__":
    sys.exit(main())
