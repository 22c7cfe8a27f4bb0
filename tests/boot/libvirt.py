"""A libvirt daemon of the test's own, in a folder of its own: nothing of the system's is read or changed. It runs in session
mode, as root's test under another user; neither systemd nor namespaces are needed."""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import tempfile
import termios
import time

OVERFLOW_USER = 65534  # "nobody": libvirt as root would use the system's own folders


def find(name):
    path = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")
    if not path:
        raise RuntimeError(f"no {name}; Debian: libvirt-daemon-system, libvirt-clients")
    return path


class Libvirt:
    """The daemon; virsh() speaks to it. `program` is copied into the folder, where the daemon's user can reach it."""

    def __init__(self, program, *files):
        self.folder = tempfile.mkdtemp(prefix="lv", dir="/tmp")  # short: sockets have long paths below it
        os.chmod(self.folder, 0o755)
        self.as_user = {"user": OVERFLOW_USER, "group": OVERFLOW_USER, "extra_groups": []} if os.getuid() == 0 else {}
        self.log = self.path("libvirtd.log")
        self.environment = {"PATH": self.path("bin"), "LC_ALL": "C", "HOME": self.path("home"), "XDG_RUNTIME_DIR": self.path("run"),
                            "XDG_CONFIG_HOME": self.path("config"), "XDG_CACHE_HOME": self.path("cache"), "XDG_DATA_HOME": self.path("data")}
        for key, value in os.environ.items():
            if key.endswith("SAN_OPTIONS"):
                self.environment[key] = value
        for folder in ("bin", "home", "run", "config/libvirt", "cache", "data"):
            os.makedirs(self.path(folder))
        self.program = self.take(program)
        os.symlink(self.program, self.path("bin/qemu-system-x86_64"))  # what libvirt finds without <emulator>, and all it finds
        self.files = [self.take(f) for f in files]
        self.write("libvirtd.conf", f'log_filters="1:qemu.qemu_monitor 2:qemu 3:*"\nlog_outputs="1:file:{self.log}"\n')
        # No log daemon: it would outlive the test.
        self.write("config/libvirt/qemu.conf", 'stdio_handler = "file"\n')
        self.give(self.folder)
        self.output = open(self.path("libvirtd.out"), "w+b")
        self.daemon = subprocess.Popen([find("libvirtd"), "-f", self.path("libvirtd.conf"), "-p", self.path("libvirtd.pid")], env=self.environment,
                                       stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output, **self.as_user)
        socket = self.path("run/libvirt/libvirt-sock")
        for _ in range(600):
            if os.path.exists(socket) or self.daemon.poll() is not None:
                break
            time.sleep(0.05)
        if self.daemon.poll() is not None or not os.path.exists(socket):
            raise RuntimeError("libvirtd does not start: " + open(self.path("libvirtd.out"), errors="replace").read())
        self.virsh_command = [find("virsh"), "-c", f"qemu:///session?socket={socket}"]

    def path(self, name):
        return os.path.join(self.folder, name)

    def give(self, top):
        """To the daemon's user."""
        if self.as_user:
            for folder, _, names in os.walk(top):
                for name in [folder] + [os.path.join(folder, n) for n in names]:
                    os.chown(name, OVERFLOW_USER, OVERFLOW_USER, follow_symlinks=False)

    def take(self, file):
        copy = self.path(os.path.basename(file))
        shutil.copy(file, copy)
        return copy

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        return self.path(name)

    def virsh(self, *arguments, timeout=120, ok=True):
        """What virsh prints. With ok=False: (exit status, text)."""
        done = subprocess.run([*self.virsh_command, *arguments], env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=timeout, text=True, check=False, **self.as_user)
        text = done.stdout.strip()
        if not ok:
            return done.returncode, text
        if done.returncode:
            raise RuntimeError(f"virsh {' '.join(arguments)}: {text}")
        return text

    def replies(self):
        """[(command, arguments, reply)] of everything that the daemon has asked the program's monitors."""
        asked, answers = {}, []
        with open(self.log, errors="replace") as f:
            for line in f:
                m = re.search(r"QEMU_MONITOR_SEND_MSG: mon=(\S+) msg=(\{.*\})", line)
                if m:
                    request = json.loads(m.group(2))
                    asked[m.group(1), request["id"]] = request
                m = re.search(r"QEMU_MONITOR_RECV_REPLY: mon=(\S+) reply=(\{.*\})", line)
                if m:
                    reply = json.loads(m.group(2))
                    request = asked.pop((m.group(1), reply.get("id")), None)
                    if request:
                        answers.append((request["execute"], request.get("arguments", {}), reply))
        return answers

    def guest_log(self, name):
        """What the program has said on standard error."""
        path = self.path(f"cache/libvirt/qemu/log/{name}.log")
        return open(path, errors="replace").read() if os.path.exists(path) else ""

    def close(self):
        for name in self.virsh("list", "--name", ok=False)[1].split():
            self.virsh("destroy", name, ok=False)
        self.daemon.terminate()
        try:
            self.daemon.wait(30)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()
        self.output.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Console:
    """`virsh console` on a pseudo terminal."""

    def __init__(self, libvirt, domain):
        self.fd, slave = pty.openpty()
        attributes = termios.tcgetattr(slave)
        attributes[3] &= ~(termios.ECHO | termios.ICANON)
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        if libvirt.as_user:
            os.fchown(slave, OVERFLOW_USER, OVERFLOW_USER)
        self.process = subprocess.Popen([*libvirt.virsh_command, "console", domain, "--force"], env=libvirt.environment, stdin=slave, stdout=slave,
                                        stderr=slave, start_new_session=True, **libvirt.as_user)
        os.close(slave)
        self.marks = 0
        self.seen = b""
        self.wait_for("Escape character", 60)

    def wait_for(self, text, timeout=300):
        """What came up to and with `text`, which is taken."""
        end, text = time.monotonic() + timeout, text.encode()
        while text not in self.seen:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise TimeoutError(f"the console does not say {text!r}; it said {self.seen[-2000:]!r}")
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            if not data:
                raise RuntimeError(f"the console has ended; it said {self.seen[-2000:]!r}")
            self.seen += data
        got, self.seen = self.seen.split(text, 1)
        return (got + text).decode(errors="replace").replace("\r", "")

    def run(self, command, timeout=300):
        """What the guest's shell prints for a command."""
        self.marks += 1
        mark = f"done-{self.marks}."
        os.write(self.fd, f"{command}; echo d''one-{self.marks}.\n".encode())
        return self.wait_for(mark, timeout).split(mark)[0].strip()

    def close(self):
        os.close(self.fd)
        self.process.terminate()
        self.process.wait()
