#!/usr/bin/env python3
"""Every crypto module of Debian's kernel (kernel/crypto, kernel/arch/x86/crypto, kernel/lib/crypto) loads with its self test
in a guest with -cpu max, and tcrypt passes. What counts: modprobe's status for each module, the selftest lines of
/proc/crypto, tcrypt's result for each mode, and no "alg: ..." complaint in the kernel's log.

tcrypt refuses to stay loaded by design (EAGAIN). Its modes for algorithms that Debian does not build (ABSENT) end with an error
and ENOENT in the log: expected, and nothing else is. Debian's QEMU passes all of this in 80 s."""

import os
import re
import sys

import guestlib
import guestroot
from guestlib import Failed, Guest

FOLDERS = ("kernel/crypto", "kernel/arch/x86/crypto", "kernel/lib/crypto")
# tcrypt's modes below 200 are tests, those above measure speed.
MODES = range(1, 200)
# What tcrypt tests and Debian does not build.
ABSENT = {"anubis", "arc4", "aria", "khazad", "polyval", "seed", "sm3", "sm4", "tea", "xeta", "xtea"}
# Modules that load only for who has their hardware or asks for something: name: why.
REFUSED = {"tcrypt": "refuses by design"}
# With --quick: one of each kind, the vector ones first.
QUICK = ["aesni_intel", "chacha_x86_64", "poly1305_x86_64", "sha1_ssse3", "sha256_ssse3", "sha512_ssse3", "ghash_clmulni_intel",
         "curve25519_x86_64", "serpent_avx2", "camellia_aesni_avx2", "twofish_avx_x86_64", "crct10dif_pclmul", "crc32_pclmul",
         "nhpoly1305_avx2", "blake2b_generic", "sha3_generic", "ecdh_generic", "libchacha20poly1305"]
QUICK_MODES = [1, 2, 6, 10, 12, 35, 45, 56]


def modules(selection):
    names = []
    for folder in FOLDERS:
        for where, _, files in os.walk(os.path.join(selection.root, selection.modules, folder)):
            names += [name[:-3].replace("-", "_") for name in files if name.endswith(".ko")]
    return sorted(names)


def run(test, names, modes):
    selection = guestroot.Selection().add("usr/bin/bash", "usr/bin/kmod", "usr/sbin/modprobe")
    selection.add(selection.modules + "/modules.*", *(selection.modules + "/" + folder for folder in FOLDERS),
                  selection.modules + "/kernel/lib/*.ko", *(selection.modules + "/kernel/lib/" + f for f in ("raid6", "lz4", "zstd", "math")))
    names = [name for name in names or modules(selection) if name not in REFUSED] if names != [] else []
    lines = {"modules": "".join(f"{name}\n" for name in names).encode(), "modes": "".join(f"{m}\n" for m in modes).encode()}
    guest = Guest(test, selection, "crypto.sh", lines)

    problems = []
    loaded = guest.records("module")
    if len(loaded) != len(names):
        problems.append(f"{len(loaded)} of {len(names)} modules answered")
    problems += [f"{name}: {text}" for name in loaded if loaded[name]["result"] != "loaded"
                 for text in guest.values("module") if text.startswith(name + " ")]
    algorithms = guest.records("algorithm")
    problems += [f"{name}: selftest {a['selftest']}" for name, a in algorithms.items() if a["selftest"] != "passed"]

    absent, excused, mode = set(), set(), None
    for line in guest.values("kernel-log"):
        line = re.sub(r"^\[ *[\d.]+\] ", "", line)
        if line.startswith("tcrypt-mode: "):
            mode = line.split()[1]
        missing = re.match(r"alg: .*(?:transform for (\S+): -2|self-tests for (\S+) using \S+ failed \(rc=-2\))$", line)
        name = missing and (missing.group(1) or missing.group(2))
        if name and set(re.findall(r"[a-z0-9]+", name)) & ABSENT:
            absent.add(name)
            excused.add(mode)
        elif re.search(r"alg: |tcrypt: |self-?test", line, re.I) and not re.search(r"\) passed$|: pass$|No test for", line):
            if not (line == "tcrypt: one or more tests failed!" and mode in excused):
                problems.append(line)
    ran = guest.records("mode")
    if len(ran) != len(modes):
        problems.append(f"{len(ran)} of {len(modes)} modes answered")
    problems += [f"tcrypt mode {mode}: {text}" for mode in ran if ran[mode]["result"] != "passed" and mode not in excused
                 for text in guest.values("mode") if text.startswith(mode + " ")]
    figures = {"modules": len(loaded), "modes": len(ran), "algorithms": len(algorithms), "not-in-kernel": len(absent),
               "slowest": max(((int(r["hundredths"]) / 100, n) for n, r in [*loaded.items(), *ran.items()]), default=None),
               "boot-to-end": round(guest.seconds, 1)}
    if problems:
        raise Failed(f"{len(problems)} problems: " + "; ".join(problems[:40]), **figures)
    guest.check_kernel()
    return figures


def main():
    test = guestlib.Test("guest_crypto", __doc__, limit=3600)
    args = test.parse()
    if args.quick:
        test.step("quick", run, test, QUICK, QUICK_MODES)
    else:
        test.step("modules", run, test, None, [])
        for first in range(MODES.start, MODES.stop, 50):
            modes = range(first, min(first + 50, MODES.stop))
            test.step(f"tcrypt-{modes.start}-{modes.stop - 1}", run, test, [], modes)
    return test.finish()


if __name__ == "__main__":
    sys.exit(main())
