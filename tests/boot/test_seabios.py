#!/usr/bin/env python3
"""Runs Debian's SeaBIOS from the reset vector to its "No bootable device" and checks what it found on the way:
shadowing (PAM), fw_cfg with DMA, PCI, power management, ACPI tables, timers, the keyboard controller.

Usage: test_seabios.py PROGRAM [ACCELERATOR [MACHINE]]"""

import os
import subprocess
import sys
import tempfile
import time

FOLDER = "/usr/share/seabios/"
LIMIT = 90
LAST = "No bootable device."
EXPECTED = ["Found QEMU fw_cfg", "QEMU fw_cfg DMA interface supported", "Relocating init from", LAST]
PCI = ["Moving pm_base to 0x600", "Found 2 cpu(s) max supported 2 cpu(s)", "ACPI: parse DSDT", "PS2 keyboard initialized"]
ON = {
    "pc": ("bios-256k.bin", [*PCI, "PCI: init bdf=00:01.3 id=8086:7113"]),
    "q35": ("bios-256k.bin", [*PCI, "PCIe: using q35 mmconfig at 0xb0000000", "PCI: init bdf=00:1f.3 id=8086:2930",
                              "00000000b0000000 - 00000000c0000000 = 2 RESERVED"]),
    "microvm": ("bios-microvm.bin", ["Found 2 cpu(s) max supported 2 cpu(s)", "ACPI: parse DSDT", "Detected non-PCI system",
                                     "ACPI: virtio-mmio device VR07 at 0xfeb00e00, irq 31"]),
    "isapc": ("bios.bin", ["Detected non-PCI system", "PS2 keyboard initialized"]),
}

# Under KVM it takes the paravirtual clock's word for the frequency of the TSC.
EXPECTED_UNDER = {"tcg": "Using pmtimer, ioport 0x608", "kvm": "Copying SMBIOS"}


def main():
    accel = sys.argv[2] if len(sys.argv) > 2 else "tcg"
    machine = sys.argv[3] if len(sys.argv) > 3 else "pc"
    if accel == "kvm" and not os.access("/dev/kvm", os.R_OK | os.W_OK):
        print("1..0 # SKIP /dev/kvm is missing or may not be opened")
        return 0
    image, expected = ON[machine]
    expected = [*EXPECTED, *expected]
    if machine in ("pc", "q35"):
        expected.append(EXPECTED_UNDER[accel])
    image = FOLDER + image
    if not os.path.exists(image):
        print("1..0 # SKIP " + image + " is missing (package seabios)")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        log = os.path.join(folder, "debugcon")
        begin = time.monotonic()
        process = subprocess.Popen(
            [sys.argv[1], "-accel", accel, "-machine", machine, "-nodefaults", "-display", "none", "-m", "128",
             "-smp", "1" if machine == "isapc" else "2", "-bios", image,
             "-chardev", "file,id=log,path=" + log, "-device", "isa-debugcon,iobase=0x402,chardev=log"],
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        text = ""
        while LAST not in text and process.poll() is None and time.monotonic() < begin + LIMIT:
            time.sleep(0.1)
            if os.path.exists(log):
                with open(log, encoding="utf-8", errors="replace") as file:
                    text = file.read()
        seconds = time.monotonic() - begin
        process.terminate()
        errors = process.communicate()[1]
    missing = [line for line in expected if line not in text]
    print(f"# {seconds:.1f} s")
    for line in missing:
        print("# missing: " + line)
    if missing:
        print("# " + (text[-1500:] + errors).replace("\n", "\n# "))
    print("not ok 1 - seabios" if missing else "ok 1 - seabios")
    print("1..1")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
