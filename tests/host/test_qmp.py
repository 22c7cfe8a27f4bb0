#!/usr/bin/env python3
"""QMP on the real program: the protocol, several monitors, run control, queries. test_qmp_devices.py has commands about devices.
Usage: test_qmp.py PROGRAM [NAME...]"""

import json
import os
import random
import re
import socket
import sys
import time

import cases
from qmp import TIMEOUT, Client, Error, VmTests, refused

# Queries about what a machine need not have, and this accelerator has not.
NO_SUCH_THING = ("query-acpi-ospm-status", "query-balloon", "query-sev-capabilities", "query-sev-launch-measure", "query-sgx",
                 "query-sgx-capabilities", "query-vm-generation-id", "x-query-jit", "x-query-opcount", "x-query-usb")


class Tests(VmTests):
    # --- the protocol ---

    def test_greeting(self):
        with self.vm("-machine", "none", negotiate=False) as vm:
            version = vm.qmp.greeting["version"]
            assert version["qemu"] == {"major": 9, "minor": 1, "micro": 50} and isinstance(version["package"], str), version
            assert vm.qmp.greeting["capabilities"] == ["oob"]
            for command in ("query-status", "nosuch"):
                refused(vm.ask, command, "CommandNotFound", "qmp_capabilities")
            refused(vm.ask, "qmp_capabilities", says="'oob'", enable=["nosuch"])
            assert vm.ask("qmp_capabilities") == {}
            refused(vm.ask, "qmp_capabilities", "CommandNotFound", "already")
            assert vm.ask("query-version") == version
            refused(vm.ask, "nosuch", "CommandNotFound", "The command nosuch has not been found")

    def test_requests(self):
        with self.vm("-machine", "none") as vm:
            def error(request, says):
                vm.qmp.send(request)
                m = vm.qmp.message()
                assert m["error"]["class"] == "GenericError" and says in m["error"]["desc"], m
                return m
            for text in ("[]", "1 ", "null ", '"a"', "-1.5e3 ", "[{}]"):
                error(text, "must be a JSON object")
            assert error('{"id": 4}', "lacks member 'execute'")["id"] == 4
            error('{"execute": 1}', "must be a string")
            error('{"execute": "query-status", "arguments": []}', "must be an object")
            error('{"execute": "query-status", "foo": 1}', "'foo' is unexpected")
            error('{"execute": "query-status", "exec-oob": "query-status"}', "clashes")
            error('{"exec-oob": "query-status"}', "not negotiated")
            error('{"execute": "query-status", "arguments": {"x": 1}}', "takes no arguments")
            error('{"execute": "qom-get", "arguments": {"path": "/"}}', "argument 'property' is missing")
            error('{"execute": "qom-get", "arguments": {"path": 1, "property": "type"}}', "argument 'path' takes a string")
            error('{"execute": "qom-get", "arguments": {"pth": "/", "property": "type"}}', "did you mean 'path'?")
            for text in ("{'execute': 'query-status', 'id': {'a': [1, 2.5, null, 'x']}}", '{"execute":\n"query-status"\t,\r\n"id":[]}', '{"execute":"query-st\\u0061tus","id":"ä\\ud83d\\ude00"}'):
                vm.qmp.send(text)
                m = vm.qmp.message()
                assert "return" in m and m["id"] in ({"a": [1, 2.5, None, "x"]}, [], "ä\U0001f600"), m

    def test_bad_json(self):
        """Each piece of nonsense is one error or two, and what comes next is understood."""
        pieces = {
            " foo \n": 1, '{"execute": foo bar}\n': 1, "}\n": 1, "}}]\n": 3, '{"execute":"query-status"]\n': 1, '{"execute":"query-status"}}\n': 1,
            '{"execute":"query-status\n': 1, '{"execute":"query-\x01status"}\n': 2, "@@@\n": 1, '{"execute":"query-name",}\n': 1, '{"a":1,"a":2}': 1,
            "[1,2 3]": 1, '{"execute":"query-name" "id"}': 1, "\x01": 1, "\x7f\n": 1, "{]": 1, "\\\n": 1, '{"id": 1e999}': 1, '{"id": "\\ud800"}': 1, '{"id": "\\x"}': 1, ",": 1, ":": 1,
            "[" * 1025 + "\n": 1, '{"a":' * 1025 + "\n": 2,
        }
        with self.vm("-machine", "none") as vm:
            for text, errors in list(pieces.items()) + [(b"\xff", 1), (b'{"id":"\xc3"}', 1), (b"\xff\xfe\n", 1), (b'{"a":"\xff', 1)]:
                data = text if isinstance(text, bytes) else text.encode()
                vm.qmp.send(data + b'\n{"execute":"query-status","id":"next"}')
                seen = 0
                while True:
                    m = vm.qmp.message()
                    if m.get("id") == "next":
                        assert "return" in m, (text, m)
                        break
                    seen += "error" in m
                    assert "return" in m or m["error"]["class"] == "GenericError", m
                assert 1 <= seen and (seen == errors or len(text) > 1000), (text, seen)

    def test_pieces(self):
        """Byte by byte, and many at once."""
        with self.vm("-machine", "none") as vm:
            for byte in b'{"execute": "query-name", "id": "\xc3\xa4"}':
                vm.qmp.send(bytes([byte]))
            assert vm.qmp.message() == {"return": {}, "id": "ä"}
            n = 2000
            vm.qmp.send("".join(json.dumps({"execute": "query-status", "id": i}) for i in range(n)))
            assert [vm.qmp.message()["id"] for _ in range(n)] == list(range(n))

    def test_too_long(self):
        with self.vm("-machine", "none") as vm:
            vm.qmp.send('{"execute": "query-name", "id": "')
            for _ in range(17):
                vm.qmp.send("x" * (1 << 20))
            vm.qmp.send('"}\n')
            assert "longer than" in vm.qmp.message()["error"]["desc"]
            vm.qmp.send('\n{"execute": "query-name", "id": 1}')
            while vm.qmp.message() != {"return": {}, "id": 1}:
                pass

    def test_pretty(self):
        with self.vm("-machine", "none", monitor="-qmp-pretty", pretty=True) as vm:
            vm.qmp.send('{"execute": "query-kvm"}')
            data = vm.qmp.socket.recv(4096).decode()
            assert data.startswith('{\n    "return": {\n        "') and data.endswith("}\r\n"), data
        path = self.path("m")
        with self.vm("-machine", "none", "-chardev", f"socket,path={path},server=on,wait=off,id=m", "-mon", "m,mode=control,pretty=on"):
            c = Client(path, pretty=True)
            c.close()

    def test_oob(self):
        with self.vm("-machine", "none", oob=True) as vm:
            instances = vm.ask("query-yank", oob=True)
            assert {"type": "chardev", "id": "compat_monitor0"} in instances
            refused(vm.ask, "query-status", says="does not support OOB", oob=True)
            vm.qmp.send('{"exec-oob": "query-yank", "id": 1}{"execute": "query-name", "id": 2}')
            assert {vm.qmp.message()["id"], vm.qmp.message()["id"]} == {1, 2}
            allowed = {n for n, e in vm.qmp.schema.by_name.items() if e.get("allow-oob")}
            assert allowed == {"yank", "query-yank"}, allowed
        path = self.path("mux")
        with self.vm("-chardev", f"socket,path={path},server=on,wait=off,id=m,mux=on", "-mon", "m,mode=control", "-serial", "chardev:m"):
            s = socket.socket(socket.AF_UNIX)
            s.connect(path)
            s.settimeout(TIMEOUT)
            s.sendall(b'\x01c{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}}')
            data = b""
            while b"error" not in data:
                data += s.recv(4096)
            assert b'"capabilities": []' in data, data
            s.close()

    def test_several(self):
        """Events go to all that have negotiated, answers to who asked; clients come and go."""
        second = self.path("second")
        with self.vm("-machine", "none", "-qmp", f"unix:{second},server=on,wait=off", "-S") as vm:
            other, silent = Client(second), None
            vm.ask("cont")
            vm.qmp.event("RESUME")
            other.event("RESUME")
            other.send('{"execute": "query-st')
            other.close()
            assert vm.ask("query-status")["status"] == "running"
            silent = Client(second, negotiate=False)
            vm.ask("stop")
            vm.qmp.event("STOP")
            silent.ask("qmp_capabilities")
            assert not silent.events
            silent.close()
            for data in (b"", b'{"execute"', b"\xff", b'{"execute": "query-qmp-schema"}' * 50, b'{"execute": "qmp_capabilities"}{"execute": "cont"}{"execute": "stop"}{"execute": '):
                c = Client(second, negotiate=False)
                c.send(data)
                c.close()
            assert vm.ask("query-status")["running"] in (True, False)
            vm.ask("quit")
            vm.qmp.event("SHUTDOWN", guest=False, reason="host-qmp-quit")
            assert vm.end()[0] == 0

    def test_disconnects(self):
        """Clients go in the middle of anything: of a request, of its answer, of what it started."""
        second, third, rng = self.path("second"), self.path("third"), random.Random(5)
        requests = [("object-add", {"qom-type": "memory-backend-ram", "id": "m1", "size": 16 << 20, "prealloc": True}), ("device_add", {"driver": "pc-dimm", "id": "d1", "memdev": "m1"}),
                    ("query-qmp-schema", {}), ("chardev-add", {"id": "c1", "backend": {"type": "ringbuf", "data": {}}}), ("stop", {}), ("cont", {}), ("system_reset", {}),
                    ("dump-guest-memory", {"paging": False, "protocol": "file:/dev/null", "detach": True}), ("query-cpu-definitions", {}), ("human-monitor-command", {"command-line": "info mtree"}),
                    ("device_del", {"id": "d1"}), ("object-del", {"id": "m1"}), ("chardev-remove", {"id": "c1"}), ("query-cpu-model-expansion", {"type": "full", "model": {"name": "max"}})]
        lines = b"info registers\ndevice_add pc-dimm,memdev=\tx\ninfo qtree\nstop\nhelp\ncont\nx /100x 0\n"
        with self.vm("-machine", "pc", "-qmp", f"unix:{second},server=on,wait=off", "-monitor", f"unix:{third},server=on,wait=off", base=["-accel", "tcg", "-m", "64M,slots=4,maxmem=1G"]) as vm:
            for _ in range(80):
                human = rng.randrange(4) == 0
                data = lines * 3 if human else b'{"execute": "qmp_capabilities"}' + b"".join(
                    json.dumps({"execute": name, "arguments": arguments}).encode() for name, arguments in rng.choices(requests, k=12))
                s = socket.socket(socket.AF_UNIX)
                s.settimeout(TIMEOUT)
                s.connect(third if human else second)
                s.sendall(data[:rng.randrange(len(data) + 1)])
                for n in range(rng.randrange(4)):
                    try:
                        assert s.recv(rng.choice((1, 100, 4096)))
                    except TimeoutError:
                        assert n, "no greeting"
                    s.settimeout(0.02)  # there need not be more
                if rng.randrange(3) == 0:
                    s.shutdown(rng.choice((socket.SHUT_RD, socket.SHUT_WR)))
                s.close()
                assert vm.ask("query-status")["status"] in ("running", "paused", "prelaunch")
            while vm.ask("query-dump")["status"] == "active":
                time.sleep(0.01)
            vm.ask("cont")
            assert vm.ask("query-status")["running"]
            Client(second).ask("query-name")

    def test_reader_that_sleeps(self):
        """A client that does not read stops being served, and the machine goes on."""
        with self.vm("-machine", "none", base=["-accel", "tcg", "-m", "32M"]) as vm:
            second = self.path("sleeper")
            vm.ask("chardev-add", id="s", backend={"type": "ringbuf", "data": {}})
            vm.qmp.socket.settimeout(2)
            request, sent = b'{"execute": "query-qmp-schema"}' * 100, 0
            try:
                while sent < 64 << 20:
                    sent += vm.qmp.socket.send(request)
            except socket.timeout:
                pass
            assert 0 < sent < 64 << 20, "it took everything"
            vm.qmp.close()
            vm.qmp = Client(vm.path)
            assert vm.ask("query-status")["running"]

    def test_speed(self):
        """5,000 query-status a second on one connection, also when the host is busy: the best of some tries counts."""
        with self.vm("-machine", "none") as vm:
            best = 0
            for _ in range(10):
                n, start = 1000, time.monotonic()
                for _ in range(n):
                    vm.qmp.send(b'{"execute": "query-status"}')
                    vm.qmp.message()
                best = max(best, n / (time.monotonic() - start))
                if best > 5000:
                    break
            print(f"# {best:.0f} query-status a second")
            assert best > 5000

    # --- the run state ---

    def test_run(self):
        with self.vm("-S", "-machine", "pc", base=["-accel", "tcg", "-m", "32M"]) as vm:
            assert vm.ask("query-status") == {"status": "prelaunch", "running": False}
            vm.ask("stop")
            vm.ask("cont")
            vm.qmp.event("RESUME")
            assert vm.ask("query-status") == {"status": "running", "running": True}
            vm.ask("cont")
            vm.ask("stop")
            vm.qmp.event("STOP")
            assert vm.ask("query-status") == {"status": "paused", "running": False}
            vm.ask("system_reset")
            vm.qmp.event("RESET", guest=False, reason="host-qmp-system-reset")
            assert vm.ask("query-status")["status"] == "prelaunch"
            vm.ask("cont")
            vm.ask("system_reset")
            vm.qmp.event("RESET")
            assert vm.ask("query-status")["running"] and not [e for e in vm.qmp.events if e["event"] == "STOP"]
            vm.ask("system_powerdown")
            vm.qmp.event("POWERDOWN")
            refused(vm.ask, "system_wakeup", says="does not sleep")
            vm.ask("inject-nmi")
            vm.ask("rtc-reset-reinjection")
            refused(vm.ask, "x-exit-preconfig", says="only before")
            vm.ask("quit")
            vm.qmp.event("SHUTDOWN", reason="host-qmp-quit")
            assert vm.end() == (0, "")

    def test_set_action(self):
        """-no-shutdown and panics, by QMP: what the guest does becomes events and states."""
        with self.vm("-machine", "pc", "-device", "pvpanic", "-qtest", f"unix:{self.path('qt')},server=on,wait=off") as vm:
            qtest = socket.socket(socket.AF_UNIX)
            qtest.connect(self.path("qt"))
            lines = qtest.makefile("rw")

            def out(port, value, size="b"):
                lines.write(f"out{size} {port} {value}\n")
                lines.flush()
                while not (answer := lines.readline()).startswith("OK"):
                    assert answer.startswith("IRQ"), answer
            vm.ask("set-action", panic="none", shutdown="pause")
            out(0x505, 1)
            vm.qmp.event("GUEST_PANICKED", action="run")
            out(0x505, 2)
            vm.qmp.event("GUEST_CRASHLOADED", action="run")
            vm.ask("set-action", panic="shutdown")
            out(0x505, 1)
            vm.qmp.event("GUEST_PANICKED", action="pause")
            vm.qmp.event("STOP")
            assert vm.ask("query-status")["status"] == "guest-panicked"
            vm.ask("cont")
            vm.qmp.event("RESUME")
            # pvpanic's shutdown; then S4 by the PIIX4, whose ports firmware would have placed at 600h.
            s4 = ((0xcf8, 0x80000b40, "l"), (0xcfc, 0x601, "l"), (0xcf8, 0x80000b80, "l"), (0xcfc, 1, "b"), (0x604, 1 | 2 << 10 | 1 << 13, "w"))
            for event, accesses in (("GUEST_PVSHUTDOWN", ((0x505, 4, "b"),)), ("SUSPEND_DISK", s4)):
                for access in accesses:
                    out(*access)
                vm.qmp.event(event)
                vm.qmp.event("SHUTDOWN", guest=True, reason="guest-shutdown")
                assert vm.ask("query-status")["status"] == "shutdown"
                refused(vm.ask, "cont", says="needs system_reset")
                vm.ask("system_reset")
                vm.qmp.event("RESET")
                vm.ask("cont")
            refused(vm.ask, "set-action", says="did you mean 'pause'?", panic="puse")
            refused(vm.ask, "watchdog-set-action", says="did you mean 'reset'", action="resett")
            vm.ask("watchdog-set-action", action="debug")
            # The clock: at once, then once a second, the last one.
            for year in (0x01, 0x02, 0x03, 0x04):
                out(0x70, 9)
                out(0x71, year)
            first = vm.qmp.event("RTC_CHANGE")
            second = vm.qmp.event("RTC_CHANGE")
            assert "rtc" in vm.ask("qom-get", path=first["data"]["qom-path"], property="type")
            between = second["data"]["offset"] - first["data"]["offset"]
            assert 3 * 365 * 86400 <= between <= 3 * 366 * 86400 + 1, (first, second)
            vm.ask("set-action", shutdown="poweroff", panic="exit-failure")
            out(0x505, 1)
            vm.qmp.event("GUEST_PANICKED", action="poweroff")
            vm.qmp.event("SHUTDOWN", guest=True, reason="guest-panic")
            assert vm.end()[0] == 1
            qtest.close()

    def test_preconfig(self):
        with self.vm("--preconfig", "-machine", "pc", "-S", "-object", "tls-cipher-suites,id=t,priority=NORMAL") as vm:
            refused(vm.ask, "cont", says="only after machine initialization")
            for command in ("query-status", "query-version", "query-machines", "query-hotpluggable-cpus", "query-name", "query-uuid", "query-command-line-options", "query-commands", "query-chardev"):
                vm.ask(command)
            assert vm.ask("qom-get", path="/objects/t", property="type") == "tls-cipher-suites"
            vm.ask("set-action", reboot="shutdown")
            vm.qmp.send('{"execute": "x-exit-preconfig"}{"execute": "query-cpus-fast"}')
            assert vm.qmp.message() == {"return": {}}
            assert len(vm.qmp.message()["return"]) == 1
            refused(vm.ask, "x-exit-preconfig", says="only before")
        with self.vm("--preconfig", "-machine", "pc") as vm:
            vm.ask("quit")
            assert vm.end() == (0, "")
        with self.vm("--preconfig", "-device", "nosuch") as vm:
            vm.ask("x-exit-preconfig")
            status, errors = vm.end()
            assert status == 1 and "nosuch" in errors

    def test_numa(self):
        with self.vm("--preconfig", "-machine", "pc", "-smp", "2", base=["-accel", "qtest", "-m", "64M"]) as vm:
            vm.qmp.ask_with("object-add", {"qom-type": "memory-backend-ram", "id": "a", "size": 32 << 20})
            vm.qmp.ask_with("object-add", {"qom-type": "memory-backend-ram", "id": "b", "size": 32 << 20})
            refused(vm.ask, "set-numa-node", says="no such node", type="cpu", node_id=0, socket_id=0)
            refused(vm.ask, "set-numa-node", says="did you mean 'node'?", type="noed")
            vm.ask("set-numa-node", type="node", nodeid=0, memdev="a")
            vm.ask("set-numa-node", type="node", nodeid=1, memdev="b")
            refused(vm.ask, "set-numa-node", says="already", type="node", nodeid=1)
            for core in (0, 1):
                vm.ask("set-numa-node", type="cpu", node_id=1 - core, core_id=core)
            vm.ask("set-numa-node", type="dist", src=0, dst=1, val=30)
            vm.ask("x-exit-preconfig")
            assert [c["props"]["node-id"] for c in vm.ask("query-cpus-fast")] == [1, 0]
            refused(vm.ask, "set-numa-node", says="only before", type="node")

    def test_compat(self):
        with self.vm("-machine", "none", "-compat", "unstable-input=reject,unstable-output=hide,deprecated-input=reject,deprecated-output=hide") as vm:
            refused(vm.ask, "x-exit-preconfig", says="only before")
            refused(vm.ask, "query-machines", says="Unstable parameter 'compat-props'", compat_props=True)
            assert "x-exit-preconfig" not in vm.qmp.schema.by_name and "MEM_UNPLUG_ERROR" not in vm.qmp.schema.by_name
        with self.vm("--preconfig", "-compat", "unstable-input=reject") as vm:
            refused(vm.ask, "x-exit-preconfig", "CommandNotFound", "Unstable command")
        with self.vm("-machine", "none", "-compat", "unstable-input=crash") as vm:
            try:
                vm.ask("query-machines", compat_props=True)
                raise AssertionError("no crash")
            except (AssertionError, ConnectionError) as e:
                assert "no crash" not in str(e)
            status, errors = vm.end()
            assert status != 0 and "compat-props" in errors, (status, errors)

    # --- queries ---

    def test_schema(self):
        with self.vm("-machine", "none") as vm:
            schema = vm.qmp.schema
            commands = {c["name"] for c in vm.ask("query-commands")}
            assert commands == {n for n, e in schema.by_name.items() if e["meta-type"] == "command"}
            for name, e in schema.by_name.items():
                good = {"command": r"[a-z][a-z0-9_-]*", "event": r"[A-Z_]+", "builtin": r"str|int|bool|number|any|null", "array": r"\[.+\]"}.get(e["meta-type"], r"\d+")
                assert re.fullmatch(good, name), e
            assert schema.by_name["device_add"]["features"] == ["json-cli", "json-cli-hotplug"]

    def test_no_arguments(self):
        """Every query that takes nothing answers as the schema says, on every board."""
        for machine in ("pc", "q35", "microvm", "isapc", "none"):
            with self.vm("-machine", machine) as vm:
                fails = {}
                for name, e in sorted(vm.qmp.schema.by_name.items()):
                    if e["meta-type"] == "command" and name.startswith(("query-", "x-query-")):
                        if all("default" in m for m in vm.qmp.schema.by_name[e["arg-type"]]["members"]):
                            try:
                                vm.ask(name)
                            except Error as error:
                                fails[name] = error
                unexpected = {n: str(e) for n, e in fails.items() if n not in NO_SUCH_THING}
                assert not unexpected, (machine, unexpected)

    def test_absent(self):
        """What there is none of, or what has not begun, is empty, or the error that says so."""
        with self.vm("-machine", "pc") as vm:
            for name in ("query-jobs", "query-block-jobs", "query-block-exports", "query-pr-managers", "query-vcpu-dirty-limit", "query-cryptodev", "query-iothreads"):
                assert vm.ask(name) == [], name
            assert vm.ask("query-migrate") == {} and vm.ask("query-replay") == {"mode": "none", "icount": 0}
            assert vm.ask("query-display-options") == {"type": "none"}
            assert vm.ask("query-sev") == {"enabled": False, "api-major": 0, "api-minor": 0, "build-id": 0, "state": "uninit", "sev-type": "sev", "policy": 0, "handle": 0}
            for name, says in (("query-sev-capabilities", "KVM not enabled"), ("query-sev-launch-measure", "not available"), ("query-sgx", "No EPC regions"),
                               ("query-sgx-capabilities", "not enabled"), ("x-query-usb", "USB support not enabled")):
                refused(vm.ask, name, says=says)
            # Text for people has no carriage returns, and is what HMP says.
            for name in ("irq", "numa", "ramblock", "roms"):
                text = vm.ask(f"x-query-{name}")["human-readable-text"]
                assert text.endswith("\n") and "\r" not in text and vm.qmp.human(f"info {name}").replace("\r\n", "\n") == text, text

    def test_virtio(self):
        """Devices, features, queues, as they stand before a driver comes; a queue that a driver of this test sets up."""
        with self.vm("-machine", "q35", "-device", "virtio-balloon-pci,id=b,addr=5,free-page-reporting=on", "-object", "memory-backend-ram,id=m,size=128M",
                     "-device", "virtio-pmem-pci,id=p,memdev=m", base=["-accel", "qtest", "-m", "32M,maxmem=1G"]) as vm:
            path = "/machine/peripheral/b"
            assert vm.ask("x-query-virtio") == [{"path": path, "name": "virtio-balloon"}, {"path": "/machine/peripheral/p", "name": "virtio-pmem"}]
            status = vm.ask("x-query-virtio-status", path=path)
            names = lambda what: {text.split(":")[0] for part in status[what].values() for text in part}
            assert status["device-id"] == 5 and status["num-vqs"] == 4 and not status["started"] and not status["broken"] and status["status"] == {"statuses": []}, status
            assert {"VIRTIO_F_VERSION_1", "VIRTIO_RING_F_EVENT_IDX", "VIRTIO_BALLOON_F_REPORTING", "VIRTIO_BALLOON_F_STATS_VQ", "VIRTIO_F_ANY_LAYOUT"} <= names("host-features")
            assert not names("guest-features") and not names("backend-features") and "unknown-dev-features" not in status["host-features"]
            queue = vm.ask("x-query-virtio-queue-status", path="p", queue=0)
            assert queue["name"] == "virtio-pmem" and queue["vring-num"] == queue["vring-num-default"] and queue["vring-desc"] == queue["inuse"] == 0
            refused(vm.ask, "x-query-virtio-queue-status", says="queues 0 to 3", path=path, queue=4)
            refused(vm.ask, "x-query-virtio-queue-element", says="not set up", path=path, queue=3)
            refused(vm.ask, "x-query-virtio-vhost-queue-status", says="no vhost back end", path=path, queue=0)
            refused(vm.ask, "x-query-virtio-status", "DeviceNotFound", "nosuch", path="/machine/nosuch")
            refused(vm.ask, "x-query-virtio-status", says="no virtio device", path="/machine")
            text = vm.qmp.human(f"info virtio-status {path}")
            assert "device_name:             virtio-balloon\r\n" in text and "    VIRTIO_BALLOON_F_STATS_VQ: " in text and "num_vqs:                 4\r\n" in text, text
            text = vm.qmp.human(f"info virtio-queue-status {path} 1")
            assert "queue_index:          1\r\n" in text and "vring_num:            128\r\n" in text and "vring_used:           0x0000000000000000\r\n" in text, text
            for name in ("queue-element", "vhost-queue-status"):
                assert vm.qmp.human(f"info virtio-{name} {path} 0").startswith("Error: "), name

    def test_machine(self):
        uuid = "6a2b9b7a-8d1e-4f3c-9f00-0123456789ab"
        with self.vm("-machine", "q35", "-name", "Über", "-uuid", uuid, "-smp", "4,sockets=2,cores=1,threads=2", "-cpu", "qemu64", base=["-accel", "tcg", "-m", "32M"]) as vm:
            assert vm.ask("query-name") == {"name": "Über"} and vm.ask("query-uuid") == {"UUID": uuid}
            assert vm.ask("query-kvm")["enabled"] is False and vm.ask("query-target") == {"arch": "x86_64"}
            machines = {m["name"]: m for m in vm.ask("query-machines", compat_props=True)}
            assert machines["pc-i440fx-9.1"]["alias"] == "pc" and machines["pc-i440fx-9.1"]["is-default"]
            assert machines["pc-q35-9.1"]["cpu-max"] >= 255 and not machines["none"]["acpi"]
            cpus = vm.ask("query-cpus-fast")
            assert [c["cpu-index"] for c in cpus] == [0, 1, 2, 3]
            assert [(c["props"]["socket-id"], c["props"]["core-id"], c["props"]["thread-id"]) for c in cpus] == [(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 0, 1)]
            threads = os.listdir(f"/proc/{vm.process.pid}/task")
            assert len({c["thread-id"] for c in cpus}) == 4 and all(str(c["thread-id"]) in threads for c in cpus)
            for c in cpus:
                assert vm.ask("qom-get", path=c["qom-path"], property="type") == "qemu64-x86_64-cpu"
            places = {json.dumps(c["props"], sort_keys=True): c for c in vm.ask("query-hotpluggable-cpus")}
            assert all(places[json.dumps(c["props"], sort_keys=True)]["qom-path"] == c["qom-path"] for c in cpus)
            assert vm.ask("query-memory-size-summary")["base-memory"] == 32 << 20
            assert vm.ask("query-current-machine") == {"wakeup-suspend-support": True}

    def test_cpu_models(self):
        with self.vm("-machine", "pc", base=["-accel", "tcg"]) as vm:
            models = {m["name"]: m for m in vm.ask("query-cpu-definitions")}
            assert models["qemu64"]["alias-of"] == "qemu64-v1" and models["base"]["static"] and not models["max"]["migration-safe"]
            assert models["host"]["unavailable-features"] == ["kvm"] and models["max"]["unavailable-features"] == []
            types = {t["name"] for t in vm.ask("qom-list-types", implements="x86_64-cpu")}
            assert {m["typename"] for m in models.values()} <= types
            model = vm.ask("query-cpu-model-expansion", type="static", model={"name": "Haswell", "props": {"avx2": False}})["model"]
            assert model["name"] == "base" and model["props"]["avx2"] is False and model["props"]["aes"] is True
            assert vm.ask("query-cpu-model-expansion", type="static", model=model)["model"] == model
            full = vm.ask("query-cpu-model-expansion", type="full", model={"name": "qemu64", "props": {"model-id": "a, b=c", "family": 6}})["model"]
            assert full["name"] == "qemu64" and full["props"]["model-id"] == "a, b=c" and full["props"]["family"] == 6
            expand = lambda says, **m: refused(vm.ask, "query-cpu-model-expansion", says=says, type="full", model=m)
            expand("no CPU model 'nosuch'", name="nosuch")
            expand("no CPU model", name="qemu64,enforce")
            expand("'nosuch'", name="qemu64", props={"nosuch": True})
            expand("takes a boolean", name="qemu64", props={"avx": []})
            expand("takes an object", name="qemu64", props=1)
            expand("no CPU feature or property", name="qemu64", props={"avx=off,sse": True})
            expand("'model.name' is missing")
            refused(vm.ask, "query-cpu-model-expansion", says="'static' or 'full'", type="half", model={"name": "max"})

            def compare(a, b):
                return vm.ask("query-cpu-model-comparison", modela={"name": a}, modelb={"name": b})["result"]
            assert [compare("qemu64", "qemu64"), compare("Nehalem", "Haswell"), compare("Haswell", "Nehalem"), compare("EPYC", "Haswell")] == ["identical", "subset", "superset", "incompatible"]
            base = vm.ask("query-cpu-model-baseline", modela={"name": "Haswell"}, modelb={"name": "Nehalem"})["model"]
            assert base["name"] == "base" and not base["props"]["avx2"] and base["props"]["sse4.2"]
            refused(vm.ask, "query-cpu-model-baseline", says="no CPU model", modela={"name": "Haswell"}, modelb={"name": "x"})

    def test_command_line_options(self):
        with self.vm("-machine", "none") as vm:
            options = {o["option"]: {p["name"]: p for p in o["parameters"]} for o in vm.ask("query-command-line-options")}
            assert options["smp-opts"]["dies"]["type"] == "number" and options["machine"]["hpet"]["type"] == "boolean"
            assert "reconnect" in options["chardev"] and "size" in options["memory"] and "enable" in options["sandbox"]
            assert options["memory"]["size"]["type"] == "size"
            assert [o["option"] for o in vm.ask("query-command-line-options", option="rtc")] == ["rtc"]
            refused(vm.ask, "query-command-line-options", says="no option", option="nosuch")


if __name__ == "__main__":
    sys.exit(cases.run(Tests, 1))
