#!/usr/bin/env python3
"""Boots Xen 4.17 with Debian's kernel as its first domain on boards, numbers of vCPUs and CPU models, with some work in it.

Usage: boot_xen.py PROGRAM [--state FILE] [--machines pc,q35] [--cpus 1,2] [--models NAME,NAME] [--limit SECONDS]

A combination counts once it has passed: the state file keeps the results, and a second start goes on where the first one
stopped. Ends with a line of JSON."""

import argparse
import itertools
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "boot"))
from results import Results  # noqa: E402
from test_xen import check  # noqa: E402

MODELS = "max,qemu64,kvm64,core2duo,Nehalem,Haswell,Skylake-Server,SapphireRapids,Opteron_G5,EPYC,EPYC-Milan,EPYC-Genoa"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--state")
    parser.add_argument("--machines", default="pc,q35")
    parser.add_argument("--cpus", default="1,2")
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--limit", type=float, default=300, help="seconds for one run")
    args = parser.parse_args()
    results = Results(args.state)
    for machine, cpus, model in itertools.product(args.machines.split(","), args.cpus.split(","), args.models.split(",")):
        name = f"{machine} {cpus} {model}"
        if results.wanted(name):
            problems, boot = check(args.program, int(cpus), "-machine", machine, "-cpu", f"{model},check=off", timeout=args.limit)
            results.add(name, problems, seconds=round(boot.seconds, 1), cpu_seconds=round(max(boot.cpu, default=0), 1))
    return results.finish()


if __name__ == "__main__":
    sys.exit(main())
