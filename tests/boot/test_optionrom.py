#!/usr/bin/env python3
"""Option ROMs in Debian's SeaBIOS: each runs, and they are booted from in the order of their bootindex.

Usage: test_optionrom.py PROGRAM ROM"""

import os
import subprocess
import sys
import tempfile
import time

FIRMWARE = "/usr/share/seabios/bios-256k.bin"
LIMIT = 60
# Options in order, what the debug console shows, in order.
CASES = {
    "in order of bootindex": (["a.rom,bootindex=2", "romfile=b.rom,bootindex=1", "c.rom,bootindex=0"],
                              ["booted c", "booted b", "booted a"]),
    "without bootindex": (["a.rom"], ["booted a"]),
    "those only that have one": (["a.rom", "b.rom,bootindex=0"], ["booted b"]),
}


def patched(image, letter):
    image = bytearray(image.replace(b"?", letter.encode()))
    image[32 + 9] = -sum(image[32:64]) & 0xff
    image[-1] = -sum(image) & 0xff
    return bytes(image)


def run(program, machine, folder, roms, strict):
    options = [option for rom in roms for option in ("-option-rom", rom)]
    log = os.path.join(folder, "log")
    with open(log, "wb"):
        pass
    process = subprocess.Popen([program, "-accel", "tcg", "-machine", machine, "-nodefaults", "-display", "none", "-m", "64", "-bios", FIRMWARE,
                                "-debugcon", "file:" + log, "-L", folder, "-no-reboot",
                                "-boot", "reboot-timeout=0,strict=on" if strict else "reboot-timeout=0", *options],
                               stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    end, text = time.monotonic() + LIMIT, ""
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.1)
        with open(log, encoding="utf-8", errors="replace") as file:
            text = file.read()
    process.terminate()
    return text, process.communicate()[1]


def main():
    program = sys.argv[1]
    if not os.path.exists(FIRMWARE):
        print(f"1..0 # SKIP {FIRMWARE} is missing (package seabios)")
        return 0
    number = failures = 0
    with tempfile.TemporaryDirectory() as folder, open(sys.argv[2], "rb") as file:
        image = file.read()
        for letter in "abc":
            with open(os.path.join(folder, letter + ".rom"), "wb") as file:
                file.write(patched(image, letter))
        for machine in ("pc", "q35"):
            for name, (roms, booted) in CASES.items():
                text, errors = run(program, machine, folder, roms, len(booted) < len(roms))
                lines = text.splitlines()
                expected = ["initialized " + rom[rom.index(".rom") - 1] for rom in roms]
                good = all(line in lines for line in expected) and [line for line in lines if line.startswith("booted")] == booted
                number += 1
                failures += not good
                print(f"{'ok' if good else 'not ok'} {number} - {machine}: {name}")
                if not good:
                    print("# " + (text + errors).replace("\n", "\n# "))
    print(f"1..{number}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
