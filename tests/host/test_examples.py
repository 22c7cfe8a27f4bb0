#!/usr/bin/env python3
"""Runs the documented examples of examples.txt, which says how it is written. Usage: test_examples.py PROGRAM [ID...]"""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile

from qmp import TIMEOUT, Client

LIST = os.path.join(os.path.dirname(os.path.abspath(__file__)), "examples.txt")
PROGRAM_NAME = "qemu-system-x86_64"
PORT = 4444
FOLDERS = ("/hugetlbfs", "/mnt/hugepages-1GB", "/mnt/hugepages-1G", "/mnt/hugepages-2MB")


class Example:
    """A command line, or with `typed` a line for the monitor of the one before, and what is expected of it."""

    def __init__(self, name, text):
        self.name, self.text = name, text
        self.typed = text.removeprefix("(qemu) ") if text.startswith("(qemu)") else None
        self.more, self.less, self.refused, self.prints = [], "", None, []
        self.kvm = self.greeting = False
        self.disks = []

    def expect(self, line):
        command, arrow, words = line.partition(" =>")
        if command == "refused" and arrow:
            self.refused = words.strip()
        elif arrow:
            self.prints.append((command, words.split()))
        elif line in ("kvm", "greeting"):
            setattr(self, line, True)
        elif line.startswith("with "):
            self.more = shlex.split(line[5:])
        elif line.startswith("disk "):
            self.disks.append(line[5:].split())
        elif line.startswith("without "):
            self.less = line[8:]
        else:
            raise ValueError(f"{LIST}: {line}")

    def options(self, folder, port):
        words = shlex.split(self.text.replace(self.less, "") if self.less else self.text)
        if words.pop(0) != PROGRAM_NAME:
            raise ValueError(f"{LIST}: {self.text}")
        for name in FOLDERS:
            os.makedirs(folder + name, exist_ok=True)
        place = lambda w: re.sub(r"(?<=mem-path=)/[\w/-]+", lambda m: folder + m[0], w)  # noqa: E731
        return [re.sub(rf"\b{PORT}\b", str(port), place(w)) for w in words] + self.more


def make_disks(folder, disks):
    """Images of 64 MiB: NAME FORMAT."""
    for name, image_format in disks:
        path = os.path.join(folder, name)
        if image_format == "raw":
            with open(path, "wb") as f:
                f.truncate(64 << 20)
        else:
            subprocess.run(["qemu-img", "create", "-q", "-f", image_format, path, "64M"], check=True)


def read_list():
    examples = []
    with open(LIST, encoding="ascii") as f:
        for line in f.read().splitlines():
            if line.startswith("\t"):
                examples[-1].expect(line.strip())
            elif line and not line.startswith("#"):
                examples.append(Example(*line.split("\t")))
    return examples


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Machine:
    """The program running an example, with a QMP monitor of ours besides."""

    def __init__(self, program, example):
        self.folder = tempfile.TemporaryDirectory()
        self.port = free_port()
        path = os.path.join(self.folder.name, "qmp-of-the-test")
        make_disks(self.folder.name, example.disks)
        self.process = subprocess.Popen([program, *example.options(self.folder.name, self.port), "-display", "none", "-serial", "null", "-qmp", f"unix:{path},server=on,wait=off"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=self.folder.name)
        self.qmp = None
        try:
            if example.refused is None:
                self.qmp = Client(path)
        except BaseException:
            self.close()
            raise

    def refusal(self):
        said = self.process.communicate(timeout=TIMEOUT)[1]
        assert self.process.returncode == 1 and said.count("\n") == 1, (self.process.returncode, said)
        return said

    def human(self, line):
        """A line of the human monitor, whose folders are made ours."""
        for name in FOLDERS:
            line = re.sub(rf"(?<=mem-path=){name}$", self.folder.name + name, line)
        return self.qmp.human(line)

    def close(self):
        if self.qmp:
            self.qmp.close()
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate(timeout=TIMEOUT)
        self.folder.cleanup()


def contains(text, words):
    """Are the words in the text, one after the other, whatever the space between them?"""
    return " ".join(words) in " ".join(text.split())


def run(program, example, machine):
    """Runs one, on the machine of the one before when it is a line for the monitor; the machine then."""
    if example.typed is None:
        if machine:
            machine.close()
        machine = Machine(program, example)
    else:
        said = machine.human(example.typed)
        assert "rror" not in said and (said == "" or example.typed.startswith("info")), said
    if example.refused is not None:
        said = machine.refusal()
        assert example.refused in said, said
        return machine
    status = machine.qmp.ask("query-status")
    assert status == {"status": "running", "running": True}, status
    for command, words in example.prints:
        said = machine.human(command)
        assert contains(said, words) if words else not said.strip(), f"{command}: {said}"
    if example.greeting:
        with socket.create_connection(("127.0.0.1", machine.port), TIMEOUT) as s:
            text = ""
            while text.count("{") == 0 or text.count("{") != text.count("}"):
                piece = s.recv(4096)
                assert piece, text
                text += piece.decode()
            assert "version" in json.loads(text)["QMP"], text
            assert ("\n    " in text) == ("pretty=on" in example.text), text
    return machine


def main():
    program, chosen = os.path.abspath(sys.argv[1]), sys.argv[2:]
    failed, number, machine = 0, 0, None
    for example in read_list():
        if chosen and example.name not in chosen:
            continue
        number += 1
        name = f"{example.name}: {example.text}".replace("#", "")[:150]
        if example.kvm and not os.access("/dev/kvm", os.R_OK | os.W_OK):
            print(f"ok {number} - {name} # SKIP no /dev/kvm")
            continue
        try:
            machine = run(program, example, machine)
            print(f"ok {number} - {name}", flush=True)
        except Exception as problem:  # pylint: disable=broad-except
            failed += 1
            print(f"# {type(problem).__name__}: {problem}".replace("\n", "\n# ") + f"\nnot ok {number} - {name}", flush=True)
    if machine:
        machine.close()
    print(f"1..{number}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
