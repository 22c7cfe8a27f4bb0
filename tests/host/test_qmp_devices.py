#!/usr/bin/env python3
"""QMP on the real program: objects, devices, chardevs, descriptors, memory and dumps of it, keys. test_qmp.py has the rest.
Usage: test_qmp_devices.py PROGRAM [NAME...]"""

import base64
import json
import os
import socket
import struct
import sys
import time
import zlib

import cases
from qmp import TIMEOUT, Client, Error, VmTests, refused


class Tests(VmTests):
    # --- objects ---

    def test_qom(self):
        with self.vm("-machine", "q35", "-device", "pcie-root-port,id=rp", "-chardev", "null,id=n") as vm:
            children = lambda path: {p["name"]: p["type"] for p in vm.ask("qom-list", path=path)}
            assert children("/")["machine"] == "child<pc-q35-9.1-machine>"
            assert children("/machine/peripheral") == {"type": "string", "rp": "child<pcie-root-port>"}
            assert children("/chardevs")["n"] == "child<chardev-null>"
            get = lambda path, p: vm.ask("qom-get", path=path, property=p)
            assert get("/machine", "smm") in ("auto", "on", "off") and get("/machine", "peripheral") == "/machine/peripheral"
            assert get("/machine/peripheral/rp", "realized") is True and get("/machine/peripheral/rp", "hotplugged") is False
            assert get("peripheral/rp", "type") == "pcie-root-port"
            assert get("/machine/unattached/device[0]", "unavailable-features") == [] and get("/machine/unattached/device[0]", "sse2") is True
            assert get("/machine/unattached/device[0]", "feature-words")[0]["cpuid-register"] in ("EAX", "EBX", "ECX", "EDX")

            def walk(path):
                n = 1
                for p in vm.ask("qom-list", path=path):
                    if p["type"].startswith("child<"):
                        n += walk(path.rstrip("/") + "/" + p["name"])
                    else:
                        get(path, p["name"])  # can be read
                return n
            assert walk("/") > 20
            for command in ("qom-list", "qom-get", "qom-set"):
                extra = {"qom-list": {}, "qom-get": {"property": "type"}, "qom-set": {"property": "type", "value": 1}}[command]
                refused(vm.ask, command, "DeviceNotFound", "no object", path="/nosuch", **extra)
                refused(vm.ask, command, "DeviceNotFound", path="", **extra)
            refused(vm.ask, "qom-get", says="did you mean 'smm'?", path="/machine", property="smn")
            refused(vm.ask, "qom-set", says="cannot be changed any more", path="/machine", property="smm", value="off")
            refused(vm.ask, "qom-set", says="cannot be set", path="/machine/peripheral/rp", property="realized", value=False)
            refused(vm.ask, "qom-set", says="no property", path="/machine/peripheral/rp", property="nosuch", value=False)

    def test_types(self):
        with self.vm("-machine", "none") as vm:
            types = {t["name"]: t for t in vm.ask("qom-list-types")}
            assert types["edu"]["parent"] == "pci-device" and "pci-device" not in types and "pc-q35-9.1-machine" in types
            everything = {t["name"]: t for t in vm.ask("qom-list-types", abstract=True)}
            assert everything["pci-device"]["abstract"] and set(types) < set(everything)
            assert all(t.get("parent") in everything or name == "object" for name, t in everything.items())
            machines = {t["name"] for t in vm.ask("qom-list-types", implements="machine")}
            assert "microvm-machine" in machines and "edu" not in machines
            for name in types:
                vm.ask("qom-list-properties", typename=name)
            props = {p["name"]: p for p in vm.ask("device-list-properties", typename="edu")}
            assert props["multifunction"] == {"name": "multifunction", "type": "bool", "default-value": False, "description": props["multifunction"]["description"]}
            assert len(vm.ask("device-list-properties", typename="max-x86_64-cpu")) > 200
            refused(vm.ask, "device-list-properties", "DeviceNotFound", "no device type", typename="nosuch")
            refused(vm.ask, "device-list-properties", says="no device type", typename="tls-cipher-suites")
            refused(vm.ask, "device-list-properties", says="abstract", typename="pci-device")

    def test_objects(self):
        with self.vm("-machine", "none") as vm:
            make = lambda **more: vm.qmp.ask_with("object-add", {k.replace("_", "-"): v for k, v in more.items()})
            make(qom_type="tls-cipher-suites", id="t", priority="NORMAL")
            assert vm.ask("qom-get", path="/objects/t", property="priority") == "NORMAL"
            bad = lambda says, **more: refused(lambda command, **a: make(**a), "object-add", says=says, **more)
            bad("already", qom_type="tls-cipher-suites", id="t", priority="NORMAL")
            bad("no object type", qom_type="nosuch", id="u")
            bad("not supported yet", qom_type="rng-egd", id="u")
            bad("'qom-type' is missing", id="u")
            bad("'id' is missing", qom_type="tls-cipher-suites")
            bad("cannot be an id", qom_type="tls-cipher-suites", id="1")
            bad("no property", qom_type="tls-cipher-suites", id="u", nosuch=1)
            bad("takes a string", qom_type="tls-cipher-suites", id="u", priority=1)
            vm.ask("object-del", id="t")
            refused(vm.ask, "object-del", says="'t'", id="t")

    # --- devices ---

    def test_devices(self):
        with self.vm("-machine", "q35", "-device", "pcie-root-port,id=rp", "-device", "edu,bus=rp") as vm:
            buses = vm.ask("query-pci")
            assert [b["bus"] for b in buses] == [0]
            devices = {(d["slot"], d["function"]): d for d in buses[0]["devices"]}
            assert devices[0, 0]["class_info"] == {"class": 0x600, "desc": "Host bridge"} and devices[31, 0]["id"]["vendor"] == 0x8086
            port = [d for d in devices.values() if d["qdev_id"] == "rp"][0]
            assert port["pci_bridge"]["devices"][0]["id"]["device"] == 0x11e8
            assert port["pci_bridge"]["devices"][0]["regions"][0] == {"bar": 0, "type": "memory", "address": -1, "size": 1 << 20, "prefetch": False, "mem_type_64": False}
            refused(vm.ask, "device_add", says="cannot be plugged into a running machine", driver="edu", id="e")
            refused(vm.ask, "device_add", says="did you mean", driver="edo", id="e")
            refused(vm.ask, "device_add", says="'driver' is missing", id="e")
            refused(vm.ask, "device_add", says="takes a string", driver=1)
            refused(vm.ask, "device_del", says="cannot be unplugged", id="rp")
            refused(vm.ask, "device_del", "DeviceNotFound", "no device 'nosuch'", id="nosuch")
            refused(vm.ask, "device_del", "DeviceNotFound", id="/machine/peripheral/nosuch")
            refused(vm.ask, "device_del", says="is no device", id="/machine")

    def test_memory_devices(self):
        """A DIMM goes in; the guest, which does not run, is asked to let go of it."""
        with self.vm("-machine", "q35", base=["-accel", "qtest", "-m", "32M,slots=2,maxmem=1G"]) as vm:
            vm.qmp.ask_with("object-add", {"qom-type": "memory-backend-ram", "id": "m", "size": 128 << 20})
            assert {b["id"]: b["size"] for b in vm.ask("query-memdev")}["m"] == 128 << 20
            vm.qmp.ask_with("device_add", {"driver": "pc-dimm", "id": "d", "memdev": "m"})
            (dimm,) = vm.ask("query-memory-devices")
            assert dimm["type"] == "dimm" and dimm["data"]["id"] == "d" and dimm["data"]["hotplugged"], dimm
            assert vm.ask("query-memory-size-summary") == {"base-memory": 32 << 20, "plugged-memory": 128 << 20}
            assert [(s["slot-type"], s.get("device")) for s in vm.ask("query-acpi-ospm-status")] == [("DIMM", "d"), ("DIMM", None), ("CPU", None)]
            refused(vm.ask, "object-del", says="in use", id="m")
            refused(vm.ask, "device_add", says="in use already", driver="pc-dimm", id="e", memdev="m")
            refused(vm.ask, "object-add", says="takes a size in bytes", id="n", size="1G", qom_type="memory-backend-ram")
            vm.ask("device_del", id="d")
            assert vm.ask("qom-get", path="/machine/peripheral/d", property="hotplugged") is True

    # --- character devices ---

    def test_chardevs(self):
        with self.vm("-machine", "pc", "-chardev", "null,id=s0", "-serial", "chardev:s0", "-chardev", "null,mux=on,id=mx", "-serial", "chardev:mx") as vm:
            add = lambda id, type, **data: vm.ask("chardev-add", id=id, backend={"type": type, "data": data})
            bad = lambda says, id, type, **data: refused(vm.ask, "chardev-add", says=says, id=id, backend={"type": type, "data": data})
            names = {b["name"] for b in vm.ask("query-chardev-backends")}
            assert {"socket", "pty", "null", "ringbuf", "memory", "file", "udp", "vc"} <= names
            unix = lambda name: {"type": "unix", "data": {"path": self.path(name)}}
            inet = lambda port: {"type": "inet", "data": {"host": "127.0.0.1", "port": port}}
            assert os.path.exists(add("pty", "pty")["pty"])
            add("null", "null")
            add("ring", "ringbuf", size=16)
            add("listen", "socket", addr=unix("listen"), server=True)
            add("client", "socket", addr=unix("listen"), server=False)
            add("tcp", "socket", addr=inet("0"))
            add("udp", "udp", remote=inet("7777"), local=inet("0"))
            add("file", "file", out=self.path("file"), append=True)
            add("vc", "vc", cols=80, rows=24)
            add("m", "mux", chardev="null")
            listed = {c["label"]: c for c in vm.ask("query-chardev")}
            assert listed["s0"]["frontend-open"] and not listed["ring"]["frontend-open"] and listed["pty"]["filename"].startswith("pty:/dev/")
            assert listed["listen"]["filename"].endswith(f"unix:{self.path('listen')},server=on")
            bad("already", "null", "null")
            bad("no character device backend 'nosuch'", "x", "nosuch")
            bad("not supported yet", "x", "braille")
            bad("'out' is missing", "x", "file")
            bad("no argument 'foo'", "x", "null", foo=1)
            bad("address of type 'foo'", "x", "socket", addr={"type": "foo", "data": {}})
            bad("'addr' is missing", "x", "socket", server=True)
            bad("'port' is missing", "x", "socket", addr={"type": "inet", "data": {"host": "127.0.0.1"}})
            bad("address of type 'unix'", "x", "udp", remote=unix("u"))
            bad("no file descriptor is named", "x", "socket", addr={"type": "fd", "data": {"str": "nosuch"}}, server=False)
            bad("No such file", "x", "file", out="/nonexistent/file")
            bad("a power of two", "x", "ringbuf", size=3)
            bad("is no id", "1x", "null")
            refused(vm.ask, "chardev-add", says="'backend.type' is missing", id="x", backend={"data": {}})
            refused(vm.ask, "chardev-add", says="'data' is missing", id="x", backend={"type": "null"})
            refused(vm.ask, "chardev-add", says="an object is expected", id="x", backend=1)
            # A descriptor that getfd has named becomes a chardev.
            ours, theirs = socket.socketpair()
            vm.ask("getfd", fdname="pair", fds=[theirs.fileno()])
            add("fd", "socket", addr={"type": "fd", "data": {"str": "pair"}}, server=False)
            theirs.close()
            vm.ask("yank", instances=[{"type": "chardev", "id": "fd"}])
            assert ours.recv(1) == b""
            ours.close()
            refused(vm.ask, "yank", "DeviceNotFound", "no connection", instances=[{"type": "chardev", "id": "null"}])
            refused(vm.ask, "yank", says="'instances'")
            for name in ("m", "null", "ring", "client", "listen", "tcp", "udp", "file", "vc", "pty", "fd"):
                vm.ask("chardev-remove", id=name)
            refused(vm.ask, "chardev-remove", says="no chardev 'null'", id="null")
            refused(vm.ask, "chardev-remove", says="in use", id="s0")
            vm.ask("chardev-send-break", id="s0")
            vm.ask("chardev-send-break", id="mx")
            refused(vm.ask, "chardev-send-break", says="no chardev", id="nosuch")
            change = lambda id, type, **data: vm.ask("chardev-change", id=id, backend={"type": type, "data": data})
            change("s0", "ringbuf")
            assert {c["label"]: c for c in vm.ask("query-chardev")}["s0"] == {"label": "s0", "filename": "ringbuf", "frontend-open": True}
            vm.ask("ringbuf-write", device="s0", data="x")
            for says, id, type, data in (("no chardev", "nosuch", "null", {}), ("shared by a mux", "mx", "null", {}), ("shared by a mux", "mx-base", "null", {}), ("No such file", "s0", "file", {"out": "/nonexistent/x"})):
                refused(vm.ask, "chardev-change", says=says, id=id, backend={"type": type, "data": data})
            assert vm.ask("ringbuf-read", device="s0", size=9) == "x"
            refused(vm.ask, "chardev-change", says="below a monitor: not supported yet", id="compat_monitor0", backend={"type": "null", "data": {}})

    def test_waiting_server(self):
        """A server that waits for somebody holds up its own monitor only, and no other one can take it away."""
        for how in ("connect", "quit"):
            second, path = self.path("second-" + how), self.path("waits-" + how)
            with self.vm("-machine", "none", "-qmp", f"unix:{second},server=on,wait=off") as vm:
                backend = {"type": "socket", "data": {"addr": {"type": "unix", "data": {"path": path}}, "server": True, "wait": True}}
                vm.qmp.send(json.dumps({"execute": "chardev-add", "id": 1, "arguments": {"id": "w", "backend": backend}}))
                other = Client(second)
                while not any(c["label"] == "w" for c in other.ask("query-chardev")):
                    time.sleep(0.01)
                refused(other.ask, "chardev-remove", says="still being opened", id="w")
                refused(other.ask, "chardev-change", says="still being opened", id="w", backend={"type": "null", "data": {}})
                refused(other.ask, "chardev-add", says="already", id="w", backend={"type": "null", "data": {}})
                if how == "connect":
                    s = socket.socket(socket.AF_UNIX)
                    s.connect(path)
                    assert vm.qmp.message() == {"return": {}, "id": 1}
                    s.close()
                else:
                    other.ask("quit")
                    assert vm.end()[0] == 0
                other.close()

    def test_ringbuf(self):
        with self.vm("-machine", "none", "-chardev", "ringbuf,id=r,size=16", "-chardev", "null,id=n") as vm:
            read = lambda size, **more: vm.ask("ringbuf-read", device="r", size=size, **more)
            write = lambda data, **more: vm.ask("ringbuf-write", device="r", data=data, **more)
            write("hello")
            assert [read(3), read(3, format="base64"), read(1)] == ["hel", base64.b64encode(b"lo").decode(), ""]
            write(base64.b64encode(b"\xff\xc3\xa4\0").decode(), format="base64")
            assert base64.b64decode(read(99, format="base64")) == b"\xff\xc3\xa4\0"
            write("0123456789abcdefXYZ")
            assert read(99) == "3456789abcdefXYZ"
            write(base64.b64encode(b"a\xffb").decode(), format="base64")
            assert read(99) == "a\ufffdb"
            refused(vm.ask, "ringbuf-read", says="'size' takes 1", device="r", size=0)
            refused(vm.ask, "ringbuf-read", says="is no ring buffer", device="n", size=1)
            refused(vm.ask, "ringbuf-write", says="no chardev", device="x", data="")
            refused(vm.ask, "ringbuf-write", says="not base64", device="r", data="???", format="base64")
            refused(vm.ask, "ringbuf-write", says="'utf8' or 'base64'", device="r", data="", format="hex")

    # --- descriptors ---

    def test_fds(self):
        with self.vm("-machine", "none") as vm, open(self.path("target"), "wb") as file, open(self.path("target"), "rb") as reader:
            vm.ask("getfd", fdname="a", fds=[file.fileno()])
            vm.ask("closefd", fdname="a")
            refused(vm.ask, "closefd", says="no file descriptor is named 'a'", fdname="a")
            refused(vm.ask, "getfd", says="no file descriptor came", fdname="a")
            refused(vm.ask, "getfd", says="begins with no digit", fdname="1", fds=[file.fileno()])
            added = vm.ask("add-fd", fds=[file.fileno()], opaque="rdwr:x")
            again = vm.ask("add-fd", fds=[reader.fileno()], fdset_id=added["fdset-id"])
            assert again["fdset-id"] == added["fdset-id"]
            other = vm.ask("add-fd", fds=[file.fileno()])
            assert other["fdset-id"] != added["fdset-id"]
            sets = {s["fdset-id"]: s["fds"] for s in vm.ask("query-fdsets")}
            assert sets[added["fdset-id"]] == [{"fd": added["fd"], "opaque": "rdwr:x"}, {"fd": again["fd"]}]
            vm.ask("pmemsave", val=0, size=100, filename=f"/dev/fdset/{added['fdset-id']}")
            assert os.path.getsize(self.path("target")) == 100
            vm.ask("remove-fd", fdset_id=added["fdset-id"], fd=added["fd"])
            refused(vm.ask, "remove-fd", says="no descriptor", fdset_id=added["fdset-id"], fd=added["fd"])
            vm.ask("remove-fd", fdset_id=added["fdset-id"])
            refused(vm.ask, "remove-fd", says="no fd set", fdset_id=added["fdset-id"])
            refused(vm.ask, "add-fd", says="no file descriptor came")
            refused(vm.ask, "add-fd", says="takes 0", fdset_id=-1)
            before = len(os.listdir(f"/proc/{vm.process.pid}/fd"))
            vm.ask("query-name", fds=[file.fileno()] * 5)  # nobody takes them
            vm.ask("query-name", fds=[file.fileno()])
            vm.qmp.close()
            vm.qmp = Client(vm.path)
            assert len(os.listdir(f"/proc/{vm.process.pid}/fd")) == before

    # --- memory ---

    def test_memsave(self):
        with self.vm("-machine", "pc", "-device", "loader,addr=0x10000,data=0x1122334455667788,data-len=8", "-S", base=["-accel", "tcg", "-m", "32M"]) as vm:
            out = self.path("memory")
            vm.ask("pmemsave", val=0x10000, size=8, filename=out)
            with open(out, "rb") as f:
                assert f.read() == struct.pack("<Q", 0x1122334455667788)
            vm.ask("memsave", val=0xfffe, size=4, filename=out, cpu_index=0)
            with open(out, "rb") as f:
                assert f.read() == b"\0\0\x88\x77"
            vm.ask("pmemsave", val=0, size=0, filename=out)
            refused(vm.ask, "pmemsave", says="0x2000000 there is no memory", val=(32 << 20) - 4, size=8, filename=out)
            refused(vm.ask, "pmemsave", says="beyond the last address", val=1 << 63, size=(1 << 63) + 1, filename=out)
            refused(vm.ask, "pmemsave", says="takes", val=-1, size=8, filename=out)
            refused(vm.ask, "memsave", says="no vCPU has index 7", val=0, size=8, filename=out, cpu_index=7)
            refused(vm.ask, "memsave", says="No such file", val=0, size=8, filename="/nonexistent/x")
            said = vm.ask("human-monitor-command", command_line=f"memsave 0xfffffffffffffff0 8 {out}")
            assert not said and os.path.getsize(out) == 8, said  # an address like a kernel's, with its highest bit

    def read_elf(self, core):
        """{guest-physical address: memory}, and the notes."""
        headers = [struct.unpack_from("<IIQQQQQQ", core, 64 + 56 * i) for i in range(struct.unpack_from("<H", core, 56)[0])]
        pieces = [core[h[2]:h[2] + h[5]] for h in headers]
        assert [h[0] for h in headers] == [4] + [1] * (len(headers) - 1) and len(pieces[-1]) == headers[-1][5]
        return {h[4]: piece for h, piece in zip(headers[1:], pieces[1:])}, pieces[0]

    def read_kdump(self, data, flag=1):
        """{page number: contents} of a compressed dump, and its notes. Contents are None where they are compressed by something else
        than zlib (`flag` 1)."""
        assert data[:8] == b"KDUMP   " and struct.unpack_from("<i", data, 8)[0] == 6
        block, sub, bitmap = struct.unpack_from("<iiI", data, 428)
        notes, size = struct.unpack_from("<QQ", data, block + 48)
        last = struct.unpack_from("<Q", data, block + 96)[0]
        bits = data[(1 + sub + bitmap // 2) * block:(1 + sub + bitmap) * block]
        pages, at = {}, (1 + sub + bitmap) * block
        for pfn in range(last):
            if bits[pfn // 8] >> pfn % 8 & 1:
                offset, length, flags = struct.unpack_from("<qII", data, at)
                at += 24
                page = data[offset:offset + length]
                assert flags in (0, flag) and 0 < length <= 4096
                pages[pfn] = page if not flags else zlib.decompress(page) if flag == 1 else None
        return pages, data[notes:notes + size]

    def test_dump(self):
        with self.vm("-machine", "pc", "-smp", "2", "-device", "loader,addr=0x10000,data=0x1122334455667788,data-len=8", "-S", base=["-accel", "tcg", "-m", "32M"]) as vm:
            out = self.path("core")
            assert vm.ask("query-dump")["status"] == "none"
            assert {"elf", "kdump-zlib", "kdump-raw-snappy", "kdump-lzo"} <= set(vm.ask("query-dump-guest-memory-capability")["formats"])
            vm.ask("dump-guest-memory", paging=False, protocol=f"file:{out}")
            vm.qmp.event("DUMP_COMPLETED")
            assert vm.ask("query-status")["status"] == "prelaunch"
            with open(out, "rb") as f:
                core = f.read()
            assert core[:5] == b"\x7fELF\2" and struct.unpack_from("<H", core, 16)[0] == 4
            ram, notes = self.read_elf(core)
            assert ram[0][0x10000:0x10008] == struct.pack("<Q", 0x1122334455667788) and max(a + len(m) for a, m in ram.items()) == 32 << 20
            assert notes.count(b"CORE\0") == 2 and notes.count(b"QEMU\0") == 2
            vm.ask("cont")
            vm.ask("dump-guest-memory", paging=False, protocol=f"file:{out}")
            vm.qmp.event("DUMP_COMPLETED")
            assert vm.ask("query-status")["running"]
            vm.ask("stop")
            vm.ask("dump-guest-memory", paging=False, protocol=f"file:{out}")
            with open(out, "rb") as f:
                ram, notes = self.read_elf(f.read())
            # The same as a compressed dump, plain, and in the flattened form into a pipe.
            vm.ask("dump-guest-memory", paging=False, protocol=f"file:{out}", format="kdump-raw-zlib")
            with open(out, "rb") as f:
                plain = f.read()
            pages, knotes = self.read_kdump(plain)
            for start, memory in ram.items():
                for pfn in range(start >> 12, (start + len(memory)) >> 12):
                    assert pages.pop(pfn) == memory[(pfn << 12) - start:(pfn + 1 << 12) - start], pfn
            assert not pages and knotes.count(b"CORE\0") == 2
            # Other ways to compress the pages: those that are not compressed are the same.
            for name, flag in (("lzo", 2), ("snappy", 4)):
                vm.ask("dump-guest-memory", paging=False, protocol=f"file:{out}", format=f"kdump-raw-{name}")
                with open(out, "rb") as f:
                    other, _ = self.read_kdump(f.read(), flag)
                packed = [n for n in other if other[n] is None]
                zlib_pages = self.read_kdump(plain)[0]
                assert packed and all(other[n] in (None, zlib_pages[n]) for n in zlib_pages) and other.keys() == zlib_pages.keys()
            read_end, write_end = os.pipe()
            vm.ask("getfd", fdname="pipe", fds=[write_end])
            os.close(write_end)
            vm.ask("dump-guest-memory", paging=False, protocol="fd:pipe", format="kdump-zlib", detach=True)
            vm.qmp.events.clear()
            with os.fdopen(read_end, "rb") as f:
                flat = f.read()
            vm.qmp.event("DUMP_COMPLETED")
            assert flat[:13] == b"makedumpfile\0" and struct.unpack_from(">QQ", flat, 16) == (1, 1)
            image, at = bytearray(), 4096
            while (piece := struct.unpack_from(">qq", flat, at)) != (-1, -1):
                offset, size = piece
                image.extend(bytes(max(0, offset + size - len(image))))
                image[offset:offset + size] = flat[at + 16:at + 16 + size]
                at += 16 + size
            assert at + 16 == len(flat) and self.read_kdump(bytes(image))[0].keys() == self.read_kdump(plain)[0].keys()
            assert vm.ask("query-dump")["status"] == "completed" and vm.ask("query-status")["status"] == "paused"

    def test_dump_errors(self):
        with self.vm("-machine", "pc", base=["-accel", "tcg", "-m", "64M"]) as vm:
            out = self.path("part")
            dump = lambda **more: {"paging": False, "protocol": f"file:{out}", **more}
            vm.ask("dump-guest-memory", **dump(begin=0x10000, length=0x2000))
            vm.qmp.event("DUMP_COMPLETED")
            assert 0x2000 < os.path.getsize(out) < 0x4000
            for says, more in (("paging=true is for format elf only", {"paging": True, "format": "kdump-lzo"}), ("file:PATH or fd:NAME", {"protocol": "fole:x"}), ("is named 'x'", {"protocol": "fd:x"}), ("not supported yet", {"format": "win-dmp"}),
                               ("go together", {"begin": 0}), ("'length'", {"begin": 0, "length": 0}), ("'length'", {"begin": 1, "length": (1 << 64) - 1}), ("elf only", {"begin": 0, "length": 1, "format": "kdump-zlib"}),
                               ("no guest memory", {"begin": 1 << 40, "length": 4096}), ("No such file", {"protocol": "file:/nonexistent/x"}), ("did you mean", {"format": "kdump-zlip"})):
                refused(vm.ask, "dump-guest-memory", says=says, **dump(**more))
            assert vm.ask("query-status")["running"]
            # One at a time; the machine stands meanwhile.
            read_end, write_end = os.pipe()
            vm.ask("getfd", fdname="pipe", fds=[write_end])
            os.close(write_end)
            vm.ask("dump-guest-memory", paging=False, protocol="fd:pipe", detach=True)
            refused(vm.ask, "dump-guest-memory", says="a dump is being written", **dump())
            refused(vm.ask, "cont", says="dump of its memory")
            assert vm.ask("query-dump")["status"] == "active" and not vm.ask("query-status")["running"]
            os.close(read_end)  # nobody takes it
            vm.qmp.event("DUMP_COMPLETED", error="writing the dump: Broken pipe")
            assert vm.ask("query-dump")["status"] == "failed" and vm.ask("query-status")["running"]

    def test_dump_and_quit(self):
        """Nobody takes the dump, the client goes, the program ends all the same."""
        for how in ("quit", "signal"):
            with self.vm("-machine", "pc", base=["-accel", "tcg", "-m", "64M"]) as vm:
                read_end, write_end = os.pipe()
                vm.ask("getfd", fdname="pipe", fds=[write_end])
                vm.ask("dump-guest-memory", paging=False, protocol="fd:pipe", detach=True, format="kdump-zlib")
                vm.qmp.close()
                vm.qmp = Client(vm.path)
                assert vm.ask("query-dump")["status"] == "active"
                if how == "quit":
                    vm.ask("quit")
                else:
                    vm.process.terminate()
                assert vm.end()[0] == 0
                os.close(read_end)
                os.close(write_end)

    # --- the rest ---

    def test_human(self):
        with self.vm("-machine", "pc") as vm:
            assert "running" in vm.qmp.human("info status")
            assert vm.qmp.human("") == ""
            assert "unknown command" in vm.qmp.human("nosuch")
            refused(vm.ask, "human-monitor-command", says="no vCPU has index 3", command_line="info registers", cpu_index=3)

    def test_add_client(self):
        """A connection that somebody else has accepted reaches the serial port."""
        path = self.path("listens")
        with self.vm("-chardev", f"socket,id=c,path={path},server=on,wait=off", "-device", "isa-serial,chardev=c",
                     "-chardev", "null,id=n") as vm:
            ours, theirs = socket.socketpair()
            vm.ask("getfd", fds=[theirs.fileno()], fdname="conn")
            theirs.close()
            refused(vm.ask, "add_client", says="no file descriptor is named 'x'", protocol="c", fdname="x")
            refused(vm.ask, "add_client", says="nosuch", protocol="nosuch", fdname="conn")
            refused(vm.ask, "add_client", says="no listening socket", protocol="n", fdname="conn")
            refused(vm.ask, "add_client", says="not for chardevs", protocol="c", fdname="conn", tls=True)
            refused(vm.ask, "add_client", says="not supported yet", protocol="vnc", fdname="conn")
            with open(os.devnull) as null:
                vm.ask("getfd", fds=[null.fileno()], fdname="null")
            refused(vm.ask, "add_client", says="takes a stream socket", protocol="c", fdname="null")
            vm.ask("add_client", protocol="c", fdname="conn")
            refused(vm.ask, "closefd", says="'conn'", fdname="conn")
            vm.qmp.human("o/b 0x3f8 0x41")
            ours.settimeout(TIMEOUT)
            assert ours.recv(10) == b"A"
            more, theirs = socket.socketpair()
            vm.ask("getfd", fds=[theirs.fileno()], fdname="conn")
            theirs.close()
            refused(vm.ask, "add_client", says="has a client already", protocol="c", fdname="conn")
            ours.close()
            end = time.monotonic() + TIMEOUT
            while True:
                try:
                    vm.ask("add_client", protocol="c", fdname="conn")
                    break
                except Error:  # the end of the first one has not been seen yet
                    assert time.monotonic() < end
                    time.sleep(0.01)
            vm.qmp.human("o/b 0x3f8 0x42")
            more.settimeout(TIMEOUT)
            assert more.recv(10) == b"B"
            more.close()

    def test_generation_id(self):
        with self.vm("-machine", "none") as vm:
            refused(vm.ask, "query-vm-generation-id", says="device not found")

    def test_trace(self):
        with self.vm("-machine", "none") as vm:
            assert vm.ask("trace-event-get-state", name="nosuch*") == []
            refused(vm.ask, "trace-event-get-state", says="no trace event 'nosuch'", name="nosuch")
            refused(vm.ask, "trace-event-set-state", says="no trace event 'nosuch'", name="nosuch", enable=True)
            vm.ask("trace-event-set-state", name="*", enable=True)

    def test_keys(self):
        with self.vm("-machine", "pc") as vm:
            key = lambda name: {"type": "qcode", "data": name}
            vm.ask("send-key", keys=[key("ctrl"), key("alt"), key("delete")])
            vm.ask("send-key", keys=[{"type": "number", "data": 0x1c}], hold_time=10)
            refused(vm.ask, "send-key", says="no key 'nosuch'", keys=[key("nosuch")])
            refused(vm.ask, "send-key", says="0 to 255", keys=[{"type": "number", "data": 256}])
            refused(vm.ask, "send-key", says="at most 16", keys=[key("a")] * 17)
            refused(vm.ask, "send-key", says="no key", keys=[1])
            refused(vm.ask, "send-key", says="'hold-time'", keys=[key("a")], hold_time=-1)
            refused(vm.ask, "send-key", says="'keys' is missing")
        with self.vm("-machine", "none") as vm:
            refused(vm.ask, "send-key", says="no keyboard", keys=[key("a")])


if __name__ == "__main__":
    sys.exit(cases.run(Tests, 1))
