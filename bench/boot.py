"""Boot: Debian's kernel from exec to the end of a script in the initramfs."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests", "boot"))
from guest import Boot  # noqa: E402


def report(program, peer):
    print("Debian kernel to a script in /init and power-off (-m 512M -cpu max)")
    for name, path, options in (("quern", program, ["-machine", "pc"]), ("quern, unpack-kernel", program, ["-machine", "pc,unpack-kernel=on"]),
                                ("qemu-tcg", peer, ["-accel", "tcg"])):
        if path:
            boot = Boot(path, "check", "-cpu", "max", *options)
            print(f"  {name:22} {boot.seconds:7.1f} s" + ("" if boot.value("script-status") == "0" else "  (did not finish)"))
