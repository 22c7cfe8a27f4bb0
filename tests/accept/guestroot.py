"""Files for the guests of the acceptance tests: a selection from the unpacked Debian packages (tools/guest/make-root.sh)
with the libraries that programs need, written as a cpio archive for the guest or as a folder for the same programs on the
host. Both have the same absolute paths: the guest and the host each run them in a chroot."""

import contextlib
import fcntl
import glob
import os
import shutil
import stat
import struct
import subprocess
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.dirname(os.path.abspath(__file__))
LIBRARIES = "usr/lib/x86_64-linux-gnu"
INTERPRETER = "usr/lib64/ld-linux-x86-64.so.2"
CACHE = os.environ.get("QUERN_CACHE") or os.path.join(
    os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "quern")


def cached(script):
    """The path that a script of tools/guest prints; one at a time, because they fill a shared cache."""
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return subprocess.run([os.path.join(TOP, "tools", "guest", script)], check=True, stdout=subprocess.PIPE,
                              text=True).stdout.strip()


class Selection:
    """A set of files below the root, closed under what they need. Paths are relative to the root, without symbolic links
    in their folders (those of merged /usr are always there)."""

    def __init__(self):
        self.root = cached("make-root.sh")
        self.paths = set()
        self.modules = "usr/lib/modules/" + os.listdir(os.path.join(self.root, "usr/lib/modules"))[0]
        for name in ("bin", "sbin", "lib", "lib64", "tmp", "job", "dev", "proc", "sys"):
            self.paths.add(name)

    def add(self, *names):
        """Programs, libraries, folders with all that is in them, patterns."""
        for name in names:
            found = glob.glob(os.path.join(self.root, name))
            if not found:
                raise FileNotFoundError(f"the packages have no {name}")
            for path in found:
                self._add(os.path.relpath(path, self.root))
        return self

    def add_programs(self, *names):
        return self.add(*("usr/bin/" + name for name in names))

    def add_compiler(self):
        """gcc, to objects and to dynamically linked programs."""
        gcc = "usr/lib/gcc/x86_64-linux-gnu/12/"
        self.add_programs("gcc", "x86_64-linux-gnu-gcc", "as", "x86_64-linux-gnu-as", "ld", "x86_64-linux-gnu-ld",
                          "x86_64-linux-gnu-ld.bfd")
        self.add(gcc + "cc1", gcc + "collect2", gcc + "lto-wrapper", gcc + "liblto_plugin.so", gcc + "libgcc.a", gcc + "libgcc_s.so",
                 gcc + "crt*.o", gcc + "include", LIBRARIES + "/*crt*.o", LIBRARIES + "/libc.so", LIBRARIES + "/libc_nonshared.a",
                 LIBRARIES + "/libm.so*", LIBRARIES + "/libmvec.so*", LIBRARIES + "/libgcc_s.so.1")
        for name in ("*.h", "arpa", "netinet", "asm-generic", "linux/*.h", "x86_64-linux-gnu/asm", "x86_64-linux-gnu/bits", "x86_64-linux-gnu/gnu",
                     "x86_64-linux-gnu/sys"):
            self.add("usr/include/" + name)
        return self

    def _add(self, path):
        folder, name = os.path.split(path)
        path = os.path.join(os.path.relpath(os.path.realpath(os.path.join(self.root, folder)), self.root), name)
        path = os.path.normpath(path)
        if path in self.paths:
            return
        folder = os.path.dirname(path)
        while folder:
            self.paths.add(folder)
            folder = os.path.dirname(folder)
        self.paths.add(path)
        full = os.path.join(self.root, path)
        if os.path.islink(full):
            target = os.readlink(full)
            target = target.lstrip("/") if target.startswith("/") else os.path.join(os.path.dirname(path), target)
            if os.path.lexists(os.path.join(self.root, target)):
                self._add(os.path.normpath(target))
        elif os.path.isdir(full):
            for entry in os.listdir(full):
                if entry != "__pycache__":
                    self._add(os.path.join(path, entry))
        else:
            for library in needed(full):
                if library.startswith("ld-linux"):
                    self._add(INTERPRETER)
                elif os.path.exists(os.path.join(self.root, LIBRARIES, library)):
                    self._add(os.path.join(LIBRARIES, library))

    def write_cpio(self, archive, prefix):
        archive.folder(prefix)
        for path in sorted(self.paths):
            archive.add(os.path.join(prefix, path), os.path.join(self.root, path))

    def populate(self, folder):
        """The same files in a folder, as hard links where that is possible."""
        for path in sorted(self.paths):
            source, target = os.path.join(self.root, path), os.path.join(folder, path)
            if os.path.islink(source):
                os.symlink(os.readlink(source), target)
            elif os.path.isdir(source):
                os.makedirs(target, exist_ok=True)
            else:
                try:
                    os.link(source, target)
                except OSError:
                    shutil.copy2(source, target)


def needed(path):
    """Names of the libraries an ELF file asks for, its interpreter's among them."""
    with open(path, "rb") as f:
        data = f.read()
    if data[:5] != b"\x7fELF\x02":
        return []
    names, loads, dynamic = [], [], None
    offset, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    for i in range(count):
        kind, _, at, address, _, length = struct.unpack_from("<IIQQQQ", data, offset + i * size)
        if kind == 1:
            loads.append((address, at, length))
        elif kind == 2:
            dynamic = (at, length)
        elif kind == 3:
            names.append(os.path.basename(data[at:at + length - 1].decode()))
    if not dynamic:
        return names
    entries = list(struct.iter_unpack("<QQ", data[dynamic[0]:dynamic[0] + dynamic[1]]))
    strings = next((value for tag, value in entries if tag == 5), 0)
    strings = next((at + strings - address for address, at, length in loads if address <= strings < address + length), 0)
    for tag, value in entries:
        if tag == 1:
            names.append(data[strings + value:data.index(b"\0", strings + value)].decode())
    return names


class Cpio:
    """Writes the "newc" format that the kernel unpacks, with fixed times and owners: the same files give the same archive."""

    def __init__(self, stream):
        self.stream, self.next, self.folders = stream, 1, set()

    def _entry(self, name, mode, data=b""):
        name = name.encode() + b"\0"
        fields = (self.next, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        self.next += 1
        header = b"070701" + b"".join(b"%08X" % field for field in fields) + name
        self.stream.write(header + b"\0" * (-len(header) % 4) + data + b"\0" * (-len(data) % 4))

    def folder(self, name):
        if name and name not in self.folders:
            self.folder(os.path.dirname(name))
            self.folders.add(name)
            self._entry(name, stat.S_IFDIR | (0o1777 if os.path.basename(name) == "tmp" else 0o755))

    def data(self, name, data, mode=0o644):
        self.folder(os.path.dirname(name))
        self._entry(name, stat.S_IFREG | mode, data)

    def add(self, name, source):
        if os.path.islink(source):
            self.folder(os.path.dirname(name))
            self._entry(name, stat.S_IFLNK | 0o777, os.readlink(source).encode())
        elif os.path.isdir(source):
            self.folder(name)
        else:
            with open(source, "rb") as f:
                self.data(name, f.read(), 0o755 if os.stat(source).st_mode & 0o100 else 0o644)

    def end(self):
        self._entry("TRAILER!!!", 0)


def write_initrd(path, selection, script, files):
    """The busybox initramfs, the selection below /debian, `files` (name: bytes) in /debian/job, and tests/accept/guest/SCRIPT
    with the common part before it as /scripts/run."""
    with open(path, "wb") as f:
        with open(cached("make-initramfs.sh"), "rb") as base:
            shutil.copyfileobj(base, f)
        f.write(b"\0" * (-f.tell() % 512))
        archive = Cpio(f)
        selection.write_cpio(archive, "debian")
        for name, data in sorted(files.items()):
            executable = data[:4] == b"\x7fELF" or data[:2] == b"#!"
            archive.data("debian/job/" + name, data, 0o755 if executable else 0o644)
        text = b""
        for part in ("common.sh", script):
            with open(os.path.join(HERE, "guest", part), "rb") as source:
                text += source.read()
        archive.data("scripts/run", text, 0o755)
        archive.end()


class Native:
    """The selection on the host, in a folder of its own that a `with` removes. The files go to /job there as in the guest."""

    def __init__(self, selection, files):
        self.selection, self.files = selection, files

    def __enter__(self):
        os.makedirs(CACHE, exist_ok=True)
        self.folder = tempfile.mkdtemp(prefix="native.", dir=CACHE)
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self.selection.populate(self.folder)
            os.chmod(os.path.join(self.folder, "tmp"), 0o1777)
            for name, data in self.files.items():
                with open(self.path(name), "wb") as f:
                    f.write(data)
                os.chmod(self.path(name), 0o755 if data[:4] == b"\x7fELF" or data[:2] == b"#!" else 0o644)
            stack.pop_all()
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, "job", name)

    def read(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def run(self, command, timeout=600):
        """Runs a command of the selection's bash in /job, as the guest's scripts do; returns the status."""
        chroot = ["chroot", self.folder, "/bin/bash", "-c", "cd /job; " + command]
        if os.geteuid():
            chroot = ["unshare", "--user", "--map-root-user", *chroot]
        run = subprocess.run(chroot, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=timeout,
                             stdout=subprocess.DEVNULL)
        self.errors = run.stderr.decode(errors="replace")
        return run.returncode


# What programs see in both places; common.sh has the same.
ENVIRONMENT = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C", "TZ": "UTC", "HOME": "/job", "TMPDIR": "/tmp",
               "PERL_HASH_SEED": "0", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
