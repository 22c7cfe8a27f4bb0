#!/usr/bin/env python3
"""-fw_cfg and -boot on the real program, by the device-test protocol: files, strings, what objects generate; what firmware finds of
-boot in fw_cfg and in CMOS RAM. Usage: test_fw_cfg.py PROGRAM"""

import os
import struct
import subprocess
import sys
import tempfile

DIRECTORY = 0x19


class Machine:
    def __init__(self, program, *options):
        self.process = subprocess.Popen([program, "-accel", "qtest", "-nodefaults", "-display", "none", "-qtest", "stdio", "-qtest-log", "/dev/null",
                                         *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().split()[1:]

    def item(self, key, length):
        self.ask(f"outw 0x510 {key}")
        return bytes(int(self.ask("inb 0x511")[0], 16) for _ in range(length))

    def files(self):
        """Key and length by name."""
        count = struct.unpack(">I", self.item(DIRECTORY, 4))[0]
        listing = self.item(DIRECTORY, 4 + 64 * count)[4:]
        return {entry[8:].rstrip(b"\0").decode(): struct.unpack(">IH", entry[:6])[::-1] for entry in
                (listing[64 * i:64 * i + 64] for i in range(count))}

    def file(self, name):
        return self.item(*self.files()[name])

    def cmos(self, index):
        self.ask(f"outb 0x70 {index}")
        return int(self.ask("inb 0x71")[0], 16)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()


def check(program, folder):
    path = os.path.join(folder, "a,b")
    contents = b"zero\0inside" * 50
    with open(path, "wb") as f:
        f.write(contents)
    escaped = path.replace(",", ",,")
    one = "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CIPHER-ALL:+AES-128-GCM"
    with Machine(program, "-fw_cfg", f"name=opt/file,file={escaped}", "-fw_cfg", "opt/string,string=one,,two", "-fw_cfg", "name=opt/empty,string=",
                 "-object", f"tls-cipher-suites,id=one,priority={one}", "-object", "tls-cipher-suites,id=all,priority=NORMAL",
                 "-fw_cfg", "name=opt/one,gen_id=one", "-fw_cfg", "name=etc/edk2/https/ciphers,gen_id=all") as m:
        yield "a file", m.file("opt/file") == contents
        yield "a string, without its NUL", m.file("opt/string") == b"one,two"
        yield "an empty string", m.files()["opt/empty"][1] == 0
        yield "one cipher suite", m.file("opt/one") == b"\x13\x01"
        suites = m.file("etc/edk2/https/ciphers")
        listed = [suites[i:i + 2] for i in range(0, len(suites), 2)]
        yield "the default cipher suites", b"\x13\x02" in listed and b"\xc0\x2f" in listed and len(set(listed)) == len(listed)
        names = list(m.files())
        yield "files come in the order of their names", names == sorted(names)


def check_boot(program, folder):
    """Values as Debian's QEMU has them."""
    order = {(): (0x12, 0x30), ("dc",): (0x23, 0), ("order=ndb",): (0x34, 0x10), ("menu=on", "order="): (0, 0), ("once=n,order=a",): (0x04, 0),
             ("strict=on",): (0x12, 0x30)}
    for options, expected in order.items():
        for machine in ("pc", "q35", "isapc"):
            with Machine(program, "-machine", machine, *(text for option in options for text in ("-boot", option))) as m:
                got = m.cmos(0x3d), m.cmos(0x38)
                yield f"{machine}: order of {' '.join(options) or 'no -boot'}: {got}", got == expected
    with Machine(program, "-boot", "once=d", "-machine", "pc,fd-bootchk=off") as m:
        got = [m.cmos(0x3d), m.cmos(0x38)]
        m.ask("outb 0xcf9 0x02")
        m.ask("outb 0xcf9 0x06")
        got += [m.cmos(0x3d), m.cmos(0x38)]
        yield f"once=d, then reset: {got}", got == [0x03, 0x01, 0x12, 0x31]
    with Machine(program) as m:
        files = m.files()
        yield "nothing asked for", m.item(0x0e, 2) == b"\0\0" and m.file("etc/boot-fail-wait") == b"\xff" * 4 and "etc/boot-menu-wait" not in files
    for name, contents in (("bootsplash.bmp", b"BM" + bytes(26) + b"\x18" + bytes(30)), ("bootsplash.jpg", b"\xff\xd8\xff\xe0" + bytes(30))):
        path = os.path.join(folder, "splash")
        with open(path, "wb") as f:
            f.write(contents)
        with Machine(program, "-boot", f"menu=on,splash={path},splash-time=5000", "-boot", "reboot-timeout=1000,strict=on") as m:
            yield name, m.file(name) == contents
            yield name + ": menu and times", (m.item(0x0e, 2), m.file("etc/boot-menu-wait"), m.file("etc/boot-fail-wait")) == (
                b"\1\0", struct.pack("<H", 5000), struct.pack("<I", 1000))
            yield name + ": strict, and no order", "bootorder" not in m.files()


def main():
    with tempfile.TemporaryDirectory() as folder:
        results = [*check(sys.argv[1], folder), *check_boot(sys.argv[1], folder)]
    for n, (name, good) in enumerate(results, 1):
        print(f"{'ok' if good else 'not ok'} {n} - {name}")
    print(f"1..{len(results)}")
    return 0 if all(good for _, good in results) else 1


if __name__ == "__main__":
    sys.exit(main())
