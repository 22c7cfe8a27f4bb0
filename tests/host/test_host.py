#!/usr/bin/env python3
"""The host side of character devices on the real program: terminals, escape keys, sockets, pseudo terminals, -qtest.
Usage: test_host.py PROGRAM ECHO

ECHO is a guest that sends back what it gets on its serial port with the case of letters changed (guest/echo.S)."""

import fcntl
import os
import pty
import resource
import select
import signal
import socket
import subprocess
import sys
import termios
import time

import cases

EXIT = ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]
TIMEOUT = 60

# A signal from outside ends the program as it does without a sanitizer.
KEEP_SIGNALS = {name: os.environ.get(name, "") + ":handle_segv=0" for name in ("ASAN_OPTIONS", "TSAN_OPTIONS")}


def read_until(fd, what, timeout=TIMEOUT):
    """Reads from a descriptor until `what` has come; returns all that came."""
    data, end = b"", time.monotonic() + timeout
    while what not in data:
        assert select.select([fd], [], [], max(0, end - time.monotonic()))[0], f"no {what} after {data}"
        piece = os.read(fd, 4096)
        assert piece, f"end of file, no {what} after {data}"
        data += piece
    return data


def read_line(s):
    """Without its newline, and without anything that comes behind it."""
    line = b""
    while not line.endswith(b"\n"):
        byte = s.recv(1)
        assert byte, f"end of file after {line}"
        line += byte
    return line[:-1]


def wait_until(condition, what):
    end = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def connect(path):
    """The socket is there a moment before anybody listens on it."""
    end = time.monotonic() + TIMEOUT
    while True:
        s = socket.socket(socket.AF_UNIX)
        try:
            s.connect(path)
            return s
        except (FileNotFoundError, ConnectionRefusedError):
            s.close()
            assert time.monotonic() < end, f"nobody listens on {path}"
            time.sleep(0.01)


class Terminal:
    """The program in a terminal of its own, whose master is self.fd."""

    def __init__(self, command):
        self.fd, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)

        def own_terminal():
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # tests that crash it on purpose want no core files
            for number in (signal.SIGINT, signal.SIGQUIT):  # shells make their background jobs ignore these
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(command, stdin=self.slave, stdout=self.slave, stderr=self.slave, preexec_fn=own_terminal,
                                        env={**os.environ, **KEEP_SIGNALS})

    def is_raw(self):
        return not termios.tcgetattr(self.slave)[3] & (termios.ICANON | termios.ECHO)

    def type(self, text):
        os.write(self.fd, text)

    def expect(self, what):
        return read_until(self.fd, what)

    def expect_end(self, status):
        code = self.process.wait(timeout=TIMEOUT)
        assert code == status, f"status {code}, not {status}"
        assert termios.tcgetattr(self.slave) == self.before, "the terminal is not as it was"

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.kill()
        self.process.wait()
        os.close(self.fd)
        os.close(self.slave)


class Tests(cases.Started):
    def __init__(self, program, echo, tmp):
        super().__init__()
        self.base = [program, "-accel", "tcg", "-nodefaults", "-display", "none", *EXIT]
        self.guest = [*self.base, "-kernel", echo]
        self.tmp = tmp

    def path(self, name):
        return os.path.join(self.tmp, name)

    def start(self, *options, stdout=subprocess.PIPE, **more):
        return self.popen([*self.guest, *options], stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, **more)

    def finish(self, process, status=1):
        code = process.wait(timeout=TIMEOUT)
        errors = process.stderr.read()
        assert code == status, (code, errors)
        return errors

    def test_stdio_of_a_script(self):
        """Pipes: all input comes back, and the end of the input changes nothing else."""
        text = b"The quick brown fox\n" * 500
        process = self.popen([*self.guest, "-serial", "stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, errors = process.communicate(text + b"Q", timeout=60)
        assert process.returncode == 1, (process.returncode, errors)
        assert out == b"ready\r\n" + text.swapcase(), out[:100]

    def test_terminal_is_restored(self):
        for number, status in ((signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGSEGV, -signal.SIGSEGV), (signal.SIGQUIT, -signal.SIGQUIT)):
            with Terminal([*self.guest, "-serial", "stdio"]) as t:
                t.expect(b"ready\r")
                assert t.is_raw(), "not in raw mode"
                t.process.send_signal(number)
                t.expect_end(status)

    def test_signal_keys(self):
        with Terminal([*self.guest, "-serial", "stdio"]) as t:
            t.expect(b"ready\r")
            t.type(b"\x03")
            t.expect_end(0)
        with Terminal([*self.guest, "-chardev", "stdio,id=c,signal=off", "-serial", "chardev:c"]) as t:
            t.expect(b"ready\r")
            t.type(b"\x03.")
            t.expect(b"\x03.")
            t.type(b"Q")
            t.expect_end(1)

    def test_stopped_and_continued(self):
        """Who stops the program and takes the terminal gives it back with SIGCONT."""
        with Terminal([*self.guest, "-serial", "stdio"]) as t:
            t.expect(b"ready\r")
            t.process.send_signal(signal.SIGSTOP)
            os.waitpid(t.process.pid, os.WUNTRACED)
            termios.tcsetattr(t.slave, termios.TCSANOW, t.before)
            t.process.send_signal(signal.SIGCONT)
            wait_until(t.is_raw, "not in raw mode after SIGCONT")
            t.type(b"aB")
            t.expect(b"Ab")
            t.type(b"Q")
            t.expect_end(1)

    def test_escape_keys(self):
        with Terminal([*self.guest, "-serial", "mon:stdio"]) as t:
            t.expect(b"ready\r")
            t.type(b"aB\x03\x01\x01.")
            t.expect(b"Ab\x03\x01.")
            t.type(b"\x01b.")
            t.expect(b"~.")
            t.type(b"\x01h")
            t.expect(b"C-a x")
            t.type(b"\x01tx\ny")
            t.expect(b"X\r\n[00:00:0")
            t.type(b"\x01x")
            t.expect(b"QEMU: Terminated")
            t.expect_end(0)
        with Terminal([o for o in self.guest if o not in ("-nodefaults", "-display", "none")] + ["-nographic", "-echr", "0x14"]) as t:
            t.expect(b"ready\r")
            t.type(b"\x01.")
            t.expect(b"\x01.")
            t.type(b"\x14x")
            t.expect_end(0)

    def test_pty(self):
        link = self.path("tty")
        process = self.start("-serial", "pty:" + link)
        line = process.stdout.readline().decode()
        name = line.split()[4]
        assert line == f"char device redirected to {name} (label serial0)\n" and name.startswith("/dev/pts/"), line
        assert os.readlink(link) == name
        fd = os.open(link, os.O_RDWR | os.O_NOCTTY)
        os.write(fd, b"aB")
        read_until(fd, b"Ab")
        os.write(fd, b"Q")
        self.finish(process)
        os.close(fd)
        assert not os.path.lexists(link), "the link is still there"

    def test_waiting_server(self):
        path = self.path("wait")
        process = self.start("-serial", f"unix:{path},server=on")
        with connect(path) as s:
            read_until(s.fileno(), b"ready\r\n")  # nothing was said before somebody listened
            s.sendall(b"aB")
            read_until(s.fileno(), b"Ab")
            s.sendall(b"Q")
            errors = self.finish(process)
        assert f"info: QEMU waiting for connection on: disconnected:unix:{path},server=on" in errors.decode(), errors
        assert not os.path.exists(path), "the socket is still there"

    def test_waiting_server_interrupted(self):
        path = self.path("wait2")
        process = self.start("-serial", f"unix:{path},server=on")
        wait_until(lambda: os.path.exists(path), "no socket")
        process.terminate()
        code = process.wait(timeout=TIMEOUT)
        process.stderr.close()
        assert code in (1, -signal.SIGTERM), code

    def test_tcp_comes_and_goes(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        process = self.start("-serial", f"tcp:127.0.0.1:{port},server=on,wait=off")
        for n in range(3):
            end = time.monotonic() + TIMEOUT
            while True:
                try:
                    s = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
                    break
                except ConnectionRefusedError:
                    assert time.monotonic() < end
                    time.sleep(0.01)
            with s:
                s.sendall(f"hello {n}.".encode())
                read_until(s.fileno(), f"HELLO {n}.".encode())
        with socket.create_connection(("127.0.0.1", port)) as s:
            s.sendall(b"Q")
        self.finish(process)

    def test_telnet(self):
        path = self.path("telnet")
        process = self.start("-chardev", f"socket,id=t,path={path},server=on,wait=off,telnet=on", "-serial", "chardev:t")
        with connect(path) as s:
            read_until(s.fileno(), b"\xff\xfb\x01")  # WILL ECHO
            s.sendall(b"a\xff\xf3\xff\xff.")
            read_until(s.fileno(), b"A~\xff\xff.")
            s.sendall(b"Q")
            self.finish(process)

    def test_websocket(self):
        path = self.path("websocket")
        process = self.start("-chardev", f"socket,id=w,path={path},server=on,wait=off,websocket=on", "-serial", "chardev:w")
        with connect(path) as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
                      b"\x82\x82\x01\x02\x03\x04" + bytes((ord("a") ^ 1, ord("B") ^ 2)))
            got = read_until(s.fileno(), b"\r\n\r\n")
            assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in got, got
            frames = got[got.index(b"\r\n\r\n") + 4:]
            if b"b" not in frames:
                frames += read_until(s.fileno(), b"b")
            text = b""
            while frames:  # how many there are depends on what is gathered
                opcode, size = frames[:2]
                assert opcode == 0x82 and len(frames) >= 2 + size > 2, (text, frames)
                text, frames = text + frames[2:2 + size], frames[2 + size:]
            assert b"ready\r\nAb".endswith(text) and text.endswith(b"Ab"), text  # the guest may have begun before
            s.sendall(b"\x82\x81\x01\x02\x03\x04" + bytes((ord("Q") ^ 1,)))
            self.finish(process)

    def test_host_serial_port(self):
        """A terminal stands for the host's port; the guest leaves the divisor at 9600 and sets 8N1."""
        master, slave = pty.openpty()
        process = self.start("-serial", os.ttyname(slave))
        read_until(master, b"ready\r\n")
        iflag, oflag, cflag, lflag, ispeed, ospeed, _ = termios.tcgetattr(slave)
        assert ospeed == termios.B9600 and cflag & termios.CSIZE == termios.CS8 and not cflag & termios.PARENB, (ospeed, cflag)
        assert not lflag & (termios.ICANON | termios.ECHO)
        os.write(master, b"aB")
        read_until(master, b"Ab")
        os.write(master, b"Q")
        self.finish(process)
        os.close(master)
        os.close(slave)

    def test_client_that_tries_again(self):
        path = self.path("again")
        process = self.start("-serial", f"unix:{path},reconnect-ms=50")
        warning = process.stderr.readline()
        assert b"cannot connect" in warning, warning
        for n in range(2):
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(path)
                listener.listen()
                listener.settimeout(TIMEOUT)
                s = listener.accept()[0]
            os.unlink(path)
            with s:
                s.sendall(b"a" + b"Q" * n)
                if n:
                    self.finish(process)
                else:
                    read_until(s.fileno(), b"A")

    def test_hidden_threads(self):
        for model, warned in ("qemu64", True), ("qemu64,+topoext", False), ("max", False), ("max,-topoext", True), ("Nehalem", False):
            process = self.popen([*self.guest, "-serial", "stdio", "-cpu", model, "-smp", "2,threads=2"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            errors = process.communicate(b"Q", timeout=60)[1]
            assert process.returncode == 1 and (b"-smp threads=2: guests take threads" in errors) == warned, (model, process.returncode, errors)

    def test_no_terminal_for_daemons(self):
        process = self.start("-serial", "stdio", "-daemonize")
        assert b"-daemonize gives them up" in self.finish(process)

    def test_logfile_and_file(self):
        out, log, typed = self.path("out"), self.path("log"), self.path("typed")
        with open(typed, "wb") as f:
            f.write(b"xyQ")
        process = self.start("-chardev", f"file,id=f,path={out},input-path={typed},logfile={log}", "-serial", "chardev:f")
        self.finish(process)
        for name in (out, log):
            with open(name, "rb") as f:
                assert f.read() == b"ready\r\nXY"

    def test_back_pressure(self):
        """A reader that stops reading holds the guest up; nothing is lost."""
        path = self.path("slow")
        process = self.start("-serial", f"unix:{path},server=on")
        with connect(path) as s:
            read_until(s.fileno(), b"ready\r\n")
            text, sent, got = bytes(range(0x30, 0x50)) * 32768, 0, b""
            s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            s.setblocking(False)
            end = time.monotonic() + 5
            while sent < len(text) and time.monotonic() < end:
                try:
                    sent += s.send(text[sent:sent + 65536])
                    end = time.monotonic() + 0.5
                except BlockingIOError:
                    time.sleep(0.01)
            s.setblocking(True)
            assert 0 < sent < len(text), sent
            while len(got) < sent:
                assert select.select([s], [], [], TIMEOUT)[0], (len(got), sent)
                got += s.recv(65536)
            assert got == text[:sent].swapcase()
            s.sendall(b"Q")
            self.finish(process)

    def test_qtest(self):
        path = self.path("qtest")
        process = self.popen([*self.base[:1], "-accel", "qtest", *self.base[3:], "-qtest", f"unix:{path},server=on,wait=off", "-qtest-log", self.path("qlog"), "-serial", "null"],
                                   stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        with connect(path) as s:
            s.settimeout(TIMEOUT)

            def ask(line, answer):
                s.sendall(line.encode() + b"\n")
                got = read_line(s).decode()
                assert got == answer, (line, got, answer)

            ask("inb 0x3fd", "OK 0x0060")
            ask("outb 0x3ff 0x5a", "OK")
            ask("inb 0x3ff", "OK 0x005a")
            ask("write 0x1000 4 0x01020304", "OK")
            ask("readl 0x1000", "OK 0x0000000004030201")
            ask("clock_step 1000", "OK 1000")
            ask("irq_intercept_in nobody", "FAIL Unknown device 'nobody'")
            ask("irq_intercept_in ioapic", "OK")
            ask("outb 0x3f9 2", "IRQ raise 4")  # the serial port's transmitter is empty
            assert read_line(s) == b"OK"
            ask("inb 0x3fa", "IRQ lower 4")
            assert read_line(s) == b"OK 0x0002"
            ask("bogus", "FAIL Unknown command 'bogus'")
            s.sendall(b"outb 0xf4 0x10\n")
            errors = self.finish(process, 0x21)
        with open(self.path("qlog")) as f:
            log = f.read()
        assert "[R +" in log and "] inb 0x3fd\n" in log and "] OK 0x0060\n" in log, log
        assert not errors, errors


if __name__ == "__main__":
    sys.exit(cases.run(Tests))
