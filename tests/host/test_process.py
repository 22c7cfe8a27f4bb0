#!/usr/bin/env python3
"""Options about the process and about what happens to it: -daemonize, -pidfile, -name, -D, -msg, -add-fd, -action, -watchdog-action.
Usage: test_process.py PROGRAM ECHO [NAME...]

ECHO is a guest that sends back what it gets on its serial port with the case of letters changed (guest/echo.S)."""

import os
import re
import signal
import socket
import subprocess
import sys
import time

import cases

from test_host import EXIT, TIMEOUT, connect, read_line, read_until, wait_until


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


class QTest:
    """The program under -accel qtest, and its protocol."""

    def __init__(self, program, path, *options):
        self.process = subprocess.Popen([program, "-accel", "qtest", "-nodefaults", "-display", "none", "-qtest", f"unix:{path},server=on,wait=off", *options],
                                        stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.s = connect(path)
        self.s.settimeout(TIMEOUT)

    def ask(self, line):
        self.s.sendall(line.encode() + b"\n")
        while True:
            answer = read_line(self.s).decode()
            if not answer.startswith("IRQ"):
                assert answer.startswith("OK"), (line, answer)
                return answer[3:]

    def end(self):
        """(status, what was said); ended by us if it goes on."""
        try:
            code = self.process.wait(1)
        except subprocess.TimeoutExpired:
            self.process.terminate()
            code = None
            self.process.wait(TIMEOUT)
        self.s.close()
        errors = self.process.stderr.read().decode()
        self.process.stderr.close()
        return code, errors


class Tests(cases.Started):
    def __init__(self, program, echo, tmp):
        super().__init__()
        self.program = program
        self.base = [program, "-accel", "tcg", "-nodefaults", "-display", "none", *EXIT]
        self.guest = [*self.base, "-kernel", echo]
        self.tmp = tmp

    def path(self, name):
        return os.path.join(self.tmp, name)

    def run(self, *options, **more):
        return subprocess.run([*self.guest, *options], stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, **more)

    def test_daemonize(self):
        """When the command returns, everything is there: pid file, socket, log; the daemon has let go of all."""
        pidfile, path, log = self.path("pid"), self.path("serial"), self.path("log")
        run = self.run("-daemonize", "-pidfile", pidfile, "-serial", f"unix:{path},server=on,wait=off", "-D", log, "-d", "cpu_reset", cwd=self.tmp)
        assert run.returncode == 0 and not run.stdout and not run.stderr, run
        with open(pidfile) as f:
            pid = int(f.read())
        try:
            assert alive(pid) and os.getsid(pid) == pid, "no session of its own"
            assert os.readlink(f"/proc/{pid}/cwd") == "/"
            assert {os.readlink(f"/proc/{pid}/fd/{n}") for n in range(3)} == {"/dev/null"}
            assert os.path.exists(log)
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(path)
                s.sendall(b"aB.")
                read_until(s.fileno(), b"Ab.")
                again = self.run("-daemonize", "-pidfile", pidfile, "-serial", "null")
                assert again.returncode == 1 and b"another process holds it" in again.stderr, again
                os.kill(pid, signal.SIGTERM)
            wait_until(lambda: not alive(pid), "it goes on")
        finally:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        assert not os.path.exists(pidfile) and not os.path.exists(path)

    def test_daemonize_fails(self):
        for options, message in ((["-serial", "file:/no/such/place"], b"No such file or directory"), (["-kernel", "/no/such/kernel"], b"/no/such/kernel"),
                                 (["-pidfile", "/no/such/place"], b"-pidfile /no/such/place"), (["-run-with", "chroot=/no/such/place"], b"chroot=/no/such/place")):
            run = self.run("-daemonize", *options)
            assert run.returncode == 1 and message in run.stderr and run.stderr.count(b"\n") == 1, (options, run)

    def test_daemonize_with_pty(self):
        """The terminal's name is told before the parent goes."""
        pidfile = self.path("pid2")
        run = self.run("-daemonize", "-pidfile", pidfile, "-serial", "pty")
        assert run.returncode == 0, run
        name = run.stdout.decode().split()[4]
        with open(pidfile) as f:
            pid = int(f.read())
        fd = os.open(name, os.O_RDWR | os.O_NOCTTY)
        os.write(fd, b"aB.")
        read_until(fd, b"Ab.")
        os.write(fd, b"Q")
        wait_until(lambda: not alive(pid), "it goes on")
        os.close(fd)

    def test_pidfile_in_an_fd_set(self):
        with open(self.path("set"), "w+") as f:
            process = self.popen([*self.guest, "-add-fd", f"fd={f.fileno()},set=1", "-pidfile", "/dev/fdset/1", "-serial", "stdio"],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[f.fileno()])
            # Opened for reading and writing: an fd set gives what was put in, and a pid file is written only.
            _, errors = process.communicate(b"Q", TIMEOUT)
            assert process.returncode == 1 and b"cannot create it: Permission denied" in errors, errors
        with open(self.path("set"), "w") as f:
            process = self.popen([*self.guest, "-add-fd", f"fd={f.fileno()},set=1", "-pidfile", "/dev/fdset/1", "-serial", "stdio"],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[f.fileno()])
            process.communicate(b"Q", TIMEOUT)
            assert process.returncode == 1
        with open(self.path("set")) as f:
            assert int(f.read()) == process.pid

    def test_names(self):
        process = self.popen([*self.guest, "-name", "Gast,process=qemu:Gast-with-a-long-name,debug-threads=on", "-smp", "2", "-serial", "stdio"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        read_until(process.stdout.fileno(), b"ready")
        names = {}
        for task in os.listdir(f"/proc/{process.pid}/task"):
            with open(f"/proc/{process.pid}/task/{task}/comm") as f:
                names[int(task)] = f.read().strip()
        process.communicate(b"Q", TIMEOUT)
        assert names[process.pid] == "qemu:Gast-with-a-long-name"[:15], names
        assert sum(name.startswith("CPU ") for name in names.values()) == 2, names

    def test_mem_prealloc(self):
        """All of it is there from the beginning."""
        def resident(*options):
            process = self.popen([*self.guest, "-m", "96", "-serial", "stdio", *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            read_until(process.stdout.fileno(), b"ready")
            with open(f"/proc/{process.pid}/status") as f:
                size = next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))
            process.communicate(b"Q", TIMEOUT)
            return size

        before, after = resident(), resident("-mem-prealloc")
        assert after - before >= 60 << 10, (before, after)

    def test_log_file(self):
        """%d is the process id."""
        process = self.popen([*self.guest, "-D", self.path("log-%d.txt"), "-d", "cpu_reset", "-serial", "stdio"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.communicate(b"Q", TIMEOUT)
        with open(self.path(f"log-{process.pid}.txt")) as f:
            assert "CPU Reset" in f.read()

    def test_messages(self):
        path = self.path("none")
        run = self.run("-msg", "timestamp=on,guest-name=on", "-name", "Gast", "-chardev", f"socket,id=a,path={path}")
        assert run.returncode == 1, run
        assert re.fullmatch(rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{6}}Z Gast qemu-system-x86_64: -chardev .*{path}.*\n", run.stderr.decode()), run.stderr

    def test_vc(self):
        """Nobody sees it, but a log file does."""
        log = self.path("vc")
        process = self.popen([*self.guest, "-chardev", f"vc,id=v,cols=80,rows=25,logfile={log}", "-serial", "chardev:v"],
                                   stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wait_until(lambda: os.path.exists(log) and os.path.getsize(log) == 7, "nothing was written")
        process.terminate()
        process.communicate(timeout=TIMEOUT)
        with open(log, "rb") as f:
            assert f.read() == b"ready\r\n"

    # --- the ICH9's watchdog ---

    def watchdog(self, *options):
        """A q35 whose guest starts the watchdog and forgets it; then what it ends with, and PM1's status before."""
        q = QTest(self.program, self.path("qtest"), "-machine", "q35", *options)
        for register, value in ((0x40, 0x601), (0x44, 0x80), (0xf0, 0xfed1c001)):  # PMBASE, ACPI_CNTL, RCBA
            q.ask(f"outl 0xcf8 {0x8000f800 + register:#x}")
            q.ask(f"outl 0xcfc {value:#x}")
        q.ask("writel 0xfed1f410 0")  # GCS: reboots are allowed
        q.ask("outw 0x672 4")
        q.ask("outw 0x660 1")
        q.ask("clock_step 3000000000")
        status = None
        try:
            q.ask("clock_step 3000000000")
            status = int(q.ask("inw 0x600"), 16), int(q.ask("inw 0x666"), 16)
        except (AssertionError, ConnectionError):
            pass
        return (*q.end(), status)

    def test_watchdog(self):
        code, errors, status = self.watchdog("-watchdog-action", "poweroff")
        assert code == 0, (code, errors)
        code, errors, status = self.watchdog("-action", "watchdog=poweroff,shutdown=pause")
        assert code == 0, (code, errors)
        code, errors, status = self.watchdog("-no-reboot")
        assert code == 0, (code, errors)
        code, errors, status = self.watchdog("-watchdog-action", "debug")
        assert code is None and "watchdog: timer fired" in errors, (code, errors)
        code, errors, status = self.watchdog("-action", "watchdog=none")
        assert code is None and status[1] & 2 and not status[0] & 0x100, (code, errors, status)
        code, errors, status = self.watchdog("-action", "watchdog=shutdown")
        assert code is None and status[0] & 0x100, (code, errors, status)
        code, errors, status = self.watchdog("-watchdog-action", "pause")
        assert code is None, (code, errors)
        code, errors, status = self.watchdog("-watchdog-action", "inject-nmi")
        assert code is None, (code, errors)
        code, errors, status = self.watchdog()
        assert code is None, (code, errors)


if __name__ == "__main__":
    sys.exit(cases.run(Tests))
