"""A QMP client for tests. Every answer and every event is held against query-qmp-schema, and so are the arguments of
commands that succeed."""

import array
import json
import os
import socket
import subprocess
import sys
import time

TIMEOUT = 60


class Error(Exception):
    """What a command answered: (class, description)."""

    def __init__(self, error):
        super().__init__(f"{error['class']}: {error['desc']}")
        self.kind, self.text = error["class"], error["desc"]


class Schema:
    def __init__(self, entries):
        self.by_name = {}
        for e in entries:
            assert e["name"] not in self.by_name, f"two entries {e['name']}"
            self.by_name[e["name"]] = e
        for e in entries:  # everything that is named is there
            for name in [e.get("arg-type"), e.get("ret-type"), e.get("element-type")] + [m["type"] for m in e.get("members", []) if "type" in m] + [v["type"] for v in e.get("variants", [])]:
                assert name is None or name in self.by_name, (e, name)

    def check(self, name, value, where):
        e = self.by_name[name]
        getattr(self, "check_" + e["meta-type"])(e, value, where)

    def check_builtin(self, e, value, where):
        kinds = {"string": str, "int": int, "number": (int, float), "boolean": bool, "null": type(None)}
        kind = kinds.get(e["json-type"])
        assert kind is None or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool))), f"{where}: {value!r} is no {e['json-type']}"

    def check_enum(self, e, value, where):
        assert value in e["values"] and e["values"] == [m["name"] for m in e["members"]], f"{where}: {value!r} is none of {e['values']}"

    def check_array(self, e, value, where):
        assert isinstance(value, list), f"{where}: {value!r} is no list"
        for i, item in enumerate(value):
            self.check(e["element-type"], item, f"{where}[{i}]")

    def check_object(self, e, value, where):
        assert isinstance(value, dict), f"{where}: {value!r} is no object"
        members = list(e["members"])
        if "tag" in e:
            variant = [v["type"] for v in e["variants"] if v["case"] == value[e["tag"]]]
            assert variant, f"{where}: no variant {value[e['tag']]!r}"
            members += self.by_name[variant[0]]["members"]
        by_name = {m["name"]: m for m in members}
        for key, item in value.items():
            assert key in by_name, f"{where}: {key!r} is not in the schema"
            self.check(by_name[key]["type"], item, f"{where}.{key}")
        for m in members:
            assert "default" in m or m["name"] in value, f"{where}: {m['name']!r} is missing"


class Client:
    def __init__(self, path, negotiate=True, oob=False, pretty=False):
        end = time.monotonic() + TIMEOUT
        while True:
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(path)
                break
            except (FileNotFoundError, ConnectionRefusedError):
                self.socket.close()
                assert time.monotonic() < end, f"nobody listens on {path}"
                time.sleep(0.01)
        self.socket.settimeout(TIMEOUT)
        self.data = ""
        self.events = []
        self.pretty = pretty
        self.schema = None
        self.greeting = self.receive()["QMP"]
        if negotiate:
            self.ask("qmp_capabilities", **({"enable": ["oob"]} if oob else {}))
            self.schema = Schema(self.ask("query-qmp-schema"))

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def receive(self):
        """The next message of whatever kind."""
        decoder = json.JSONDecoder()
        while True:
            text = self.data.lstrip()
            if text and (self.pretty or "\n" in text):
                try:
                    value, used = decoder.raw_decode(text)
                    self.data = text[used:]
                    return value
                except json.JSONDecodeError:
                    pass
            piece = self.socket.recv(1 << 16)
            assert piece, f"end of file after {self.data!r}"
            self.data += piece.decode("ascii")

    def message(self):
        """The next message that is no event; events are kept."""
        while True:
            m = self.receive()
            if "event" not in m:
                return m
            self.keep(m)

    def keep(self, event):
        assert isinstance(event["timestamp"]["seconds"], int) and 0 <= event["timestamp"]["microseconds"] < 1000000, event
        if self.schema:
            self.schema.check(self.schema.by_name[event["event"]]["arg-type"], event.get("data", {}), event["event"])
        self.events.append(event)

    def ask(self, command, oob=False, fds=(), **arguments):
        """Runs a command; '_' in the names of arguments stands for '-'. Raises Error."""
        return self.ask_with(command, {k.replace("_", "-"): v for k, v in arguments.items()}, oob, fds)

    def ask_with(self, command, arguments, oob=False, fds=()):
        request = {"exec-oob" if oob else "execute": command, "id": [command, len(arguments)]}
        if arguments:
            request["arguments"] = arguments
        data = json.dumps(request).encode()
        if fds:
            self.socket.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
        else:
            self.send(data)
        m = self.message()
        assert m.get("id") == request["id"], (request, m)
        if "error" in m:
            assert set(m) == {"error", "id"} and set(m["error"]) == {"class", "desc"} and m["error"]["desc"], m
            raise Error(m["error"])
        if self.schema:
            entry = self.schema.by_name[command]
            assert entry["meta-type"] == "command"
            self.schema.check(entry["ret-type"], m["return"], command)
            if command != "device_add":  # they take more than the schema says
                self.schema.check(entry["arg-type"], arguments, f"arguments of {command}")
        return m["return"]

    def event(self, name, **data):
        """Waits for an event, which is taken out, as are those before it."""
        end = time.monotonic() + TIMEOUT
        while True:
            while self.events:
                e = self.events.pop(0)
                if e["event"] == name:
                    for key, value in data.items():
                        assert e["data"].get(key.replace("_", "-")) == value, e
                    return e
            assert time.monotonic() < end, f"no event {name}"
            m = self.receive()
            assert "event" in m, m
            self.keep(m)

    def human(self, line):
        return self.ask("human-monitor-command", command_line=line)


class Vm:
    """The program with one QMP monitor (more with clients()); a context."""

    def __init__(self, program, folder, *options, monitor="-qmp", **more):
        self.path = os.path.join(folder, "qmp")
        self.process = subprocess.Popen([program, "-nodefaults", "-display", "none", monitor, f"unix:{self.path},server=on,wait=off", *options],
                                        stdin=subprocess.DEVNULL, stdout=sys.stderr, stderr=subprocess.PIPE)
        self.more = more

    def __enter__(self):
        self.qmp = Client(self.path, **self.more)
        return self

    def ask(self, command, **arguments):
        return self.qmp.ask(command, **arguments)

    def end(self):
        """The exit status, and what was said on standard error."""
        errors = self.process.communicate(timeout=TIMEOUT)[1].decode()
        return self.process.returncode, errors

    def __exit__(self, kind, value, trace):
        self.qmp.close()
        if self.process.poll() is None:
            self.process.terminate()
        try:
            errors = self.process.communicate(timeout=TIMEOUT)[1].decode()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        if kind:
            print(f"# standard error: {errors!r}")


def refused(ask, command, kind="GenericError", says="", **arguments):
    """The command fails, with that class, and the text has those words."""
    try:
        answer = ask(command, **arguments)
    except Error as e:
        assert e.kind == kind and says in e.text, f"{command} {arguments}: {e}"
        assert "\n" not in e.text
        return e.text
    raise AssertionError(f"{command} {arguments} answered {answer}")


class VmTests:
    """For cases.run(..., 1): tests that start the program as they need it, each in a folder of its own."""

    BASE = ["-accel", "qtest", "-m", "32M"]

    def __init__(self, program, folder):
        self.program, self.folder, self.count = program, folder, 0

    def vm(self, *options, base=BASE, **more):
        self.count += 1
        folder = os.path.join(self.folder, str(self.count))
        os.mkdir(folder)
        return Vm(self.program, folder, *base, *options, **more)

    def path(self, name, data=None):
        """Of a file in the folder of all tests; with that content, if any is given."""
        path = os.path.join(self.folder, name)
        if data is not None:
            with open(path, "wb") as f:
                f.write(data)
        return path
