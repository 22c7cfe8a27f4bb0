#!/usr/bin/env python3
"""libvirt runs Debian's kernel in Quern: probes what the program can do, then defines, starts, suspends, resumes, resets,
changes, shuts down and destroys a domain. Usage: test_libvirt.py PROGRAM MACHINE"""

import gzip
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET

import guest
from libvirt import Console, Libvirt

NAME = "quern"
MODULES = ["drivers/acpi/button", "drivers/input/evdev"]

# Errors that libvirt may get, and why each is right. Anything else that it asks has to be answered.
EXPECTED = [
    # It asks for the properties of every device it knows of, where QEMU lists the type or not.
    ("device-list-properties", "DeviceNotFound", "no device type"),
    # What Hyper-V's interface could offer, and there is none yet.
    ("query-cpu-model-expansion", "GenericError", "hv-passthrough"),
    # others() has it save the domain, and there is no migration yet.
    ("migrate-set-parameters", "CommandNotFound", "has not been found"),
]


def domain(libvirt, machine):
    kernel, initramfs = libvirt.files
    return f"""<domain type='qemu'>
  <name>{NAME}</name>
  <memory unit='MiB'>256</memory>
  <maxMemory slots='4' unit='MiB'>2048</maxMemory>
  <vcpu current='1'>2</vcpu>
  <cpu><numa><cell id='0' cpus='0-1' memory='256' unit='MiB'/></numa></cpu>
  <os>
    <type arch='x86_64' machine='{machine}'>hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{initramfs}</initrd>
    <cmdline>console=ttyS0 quiet script=managed</cmdline>
  </os>
  <features><acpi/><apic/></features>
  <devices>
    <emulator>{libvirt.program}</emulator>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    <serial type='pty'/>
    <console type='pty'/>
  </devices>
</domain>
"""


def make_initramfs(folder):
    """The usual one, and behind it the modules for the power button."""
    modules = guest.cached("fetch-modules.sh", *MODULES)
    os.mkdir(os.path.join(folder, "modules"))
    for name in MODULES:
        # "evdev" before "button" does not matter: neither needs the other.
        file = os.path.basename(name) + ".ko"
        with open(os.path.join(modules, file), "rb") as source, open(os.path.join(folder, "modules", file), "wb") as copy:
            copy.write(source.read())
    names = "\n".join(["modules"] + [f"modules/{os.path.basename(n)}.ko" for n in MODULES])
    archive = subprocess.run(["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"], cwd=folder, input=names.encode(), stdout=subprocess.PIPE, check=True).stdout
    whole = os.path.join(folder, "initramfs")
    with open(guest.cached("make-initramfs.sh"), "rb") as usual, open(whole, "wb") as out:
        out.write(usual.read() + gzip.compress(archive))
    return whole


class Test:
    def __init__(self, libvirt, machine):
        self.libvirt, self.machine = libvirt, machine
        self.n = self.failed = 0
        self.console = None

    def check(self, ok, name, more=""):
        self.n += 1
        self.failed += not ok
        print(f"{'ok' if ok else 'not ok'} {self.n} - {name}")
        if not ok:
            print(f"# {more}".replace("\n", "\n# "))
        sys.stdout.flush()

    def state(self):
        return self.libvirt.virsh("domstate", NAME)

    def becomes(self, state, timeout=120):
        end = time.monotonic() + timeout
        while self.state() != state and time.monotonic() < end:
            time.sleep(0.2)
        return self.state() == state

    def mib(self):
        return int(self.console.run("sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo").split()[-1]) >> 10

    def restart_console(self):
        if self.console:
            self.console.close()
        self.console = Console(self.libvirt, NAME)

    # --- steps ---

    def probe(self):
        text = self.libvirt.virsh("domcapabilities", "--emulatorbin", self.libvirt.program, "--machine", self.machine)
        caps = ET.fromstring(text)
        self.check(caps.findtext("path") == self.libvirt.program and caps.findtext("arch") == "x86_64" and caps.findtext("domain") in ("qemu", "kvm"),
                   "the program is probed", text)
        models = [m for m in caps.iter("mode") if m.get("name") in ("maximum", "host-model", "custom") and m.get("supported") == "yes"]
        self.check(len(models) == 3, "CPU models", text)
        usable = [m.text for m in caps.iter("model") if m.get("usable") == "yes"]
        self.check("qemu64" in usable and len(usable) > 10, f"{len(usable)} of them are usable here", text)
        self.check("<capabilities>" in self.libvirt.virsh("capabilities"), "capabilities of the host")

    def start(self):
        self.libvirt.virsh("define", self.libvirt.write("domain.xml", domain(self.libvirt, self.machine)))
        self.check(self.state() == "shut off", "defined")
        self.libvirt.virsh("start", NAME, "--paused")
        self.check(self.state() == "paused", "started, and paused")
        self.console = Console(self.libvirt, NAME)
        self.libvirt.virsh("resume", NAME)
        said = self.console.wait_for("guest-ready")
        self.check("event" in self.console.wait_for("\n"), "the console is shown, and the guest has its power button", said)
        self.check(self.console.run("nproc") == "1", "one vCPU")

    def pause(self):
        self.libvirt.virsh("suspend", NAME)
        self.check(self.state() == "paused", "suspended")
        before = self.libvirt.virsh("domstats", NAME, "--vcpu")
        time.sleep(0.5)
        # "time" of a vCPU's thread is what it has run.
        times = [[line for line in text.splitlines() if line.strip().endswith(".time") or ".time=" in line] for text in (before, self.libvirt.virsh("domstats", NAME, "--vcpu"))]
        self.check(times[0] == times[1] and len(times[0]) == 1, "no vCPU runs", str(times))
        self.libvirt.virsh("resume", NAME)
        self.check(self.state() == "running" and self.console.run("echo still here") == "still here", "resumed")

    def reset(self):
        self.console.run("touch /tmp/before")
        self.libvirt.virsh("reset", NAME)
        self.console.wait_for("guest-ready")
        self.console.wait_for("\n")
        self.check(self.console.run("ls /tmp") == "", "reset: it boots again")

    def memory(self):
        before = self.mib()
        dimm = self.libvirt.write("dimm.xml", "<memory model='dimm'><target><size unit='MiB'>256</size><node>0</node></target></memory>")
        self.libvirt.virsh("attach-device", NAME, dimm, "--live")
        online = "for f in /sys/devices/system/memory/memory*/state; do grep -q offline $f && echo online_movable >$f; done 2>/dev/null"
        now = 0
        for _ in range(50):
            self.console.run(online)
            now = self.mib()
            if now > before + 200:
                break
            time.sleep(0.2)
        self.check(before + 200 < now <= before + 256, "a memory device is attached, and the guest uses it", f"{before} MiB, then {now}")
        live = ET.fromstring(self.libvirt.virsh("dumpxml", NAME))
        found = live.find("devices/memory")
        self.check(found is not None and live.findtext("memory") == str(512 << 10), "the domain has it", ET.tostring(live).decode())
        self.libvirt.virsh("detach-device", NAME, dimm, "--live")
        gone = False
        for _ in range(50):
            gone = ET.fromstring(self.libvirt.virsh("dumpxml", NAME)).find("devices/memory") is None
            if gone:
                break
            time.sleep(0.2)
        self.check(gone and self.mib() == before, "detached, and the guest has let it go", f"{before} MiB, now {self.mib()}")

    def vcpus(self):
        text = self.libvirt.virsh("vcpucount", NAME)
        self.check([line.split()[-1] for line in text.splitlines()] == ["2", "2", "1", "1"], "vCPUs are counted", text)
        self.libvirt.virsh("setvcpus", NAME, "2", "--live")
        online = "for f in /sys/devices/system/cpu/cpu*/online; do grep -q 0 $f && echo 1 >$f; done; nproc"
        now = ""
        for _ in range(50):
            now = self.console.run(online).split()[-1]
            if now == "2":
                break
            time.sleep(0.2)
        info = self.libvirt.virsh("vcpuinfo", NAME)
        self.check(now == "2" and info.count("State:          running") == 2, "one more is plugged in, and runs", f"{now}\n{info}")
        self.libvirt.virsh("setvcpus", NAME, "1", "--live")
        for _ in range(50):
            now = self.console.run("nproc").split()[-1]
            if now == "1":
                break
            time.sleep(0.2)
        text = self.libvirt.virsh("vcpucount", NAME, "--current", "--live")
        self.check(now == "1" and text == "1", "and taken out again", f"{now}, {text}")

    def others(self):
        self.libvirt.virsh("send-key", NAME, "KEY_LEFTCTRL", "KEY_A")
        self.libvirt.virsh("inject-nmi", NAME)
        text = self.console.run("sed -n 's/^ *NMI: *\\([0-9]*\\).*/nmis: \\1/p' /proc/interrupts")
        self.check("nmis: 1" in text and self.state() == "running", "keys and an NMI", text)
        core = self.libvirt.path("core")
        self.libvirt.virsh("dump", NAME, core, "--memory-only", "--live")
        with open(core, "rb") as f:
            self.check(f.read(4) == b"\x7fELF" and os.path.getsize(core) > 250 << 20, "a dump of its memory")
        os.unlink(core)
        code, text = self.libvirt.virsh("managedsave", NAME, ok=False)
        self.check(code != 0 and self.becomes("running"), "what cannot be done leaves it running", text)

    def shutdown(self):
        self.libvirt.virsh("shutdown", NAME, "--mode", "acpi")
        self.console.wait_for("guest-button")
        self.check(self.becomes("shut off"), "the power button shuts it down", self.state())
        self.console.close()

    def destroy(self):
        self.libvirt.virsh("start", NAME)
        self.check(self.state() == "running", "started again")
        self.libvirt.virsh("destroy", NAME)
        self.check(self.state() == "shut off", "destroyed")
        self.libvirt.virsh("undefine", NAME)
        self.check(NAME not in self.libvirt.virsh("list", "--all"), "undefined")

    def errors(self):
        bad = []
        for command, arguments, reply in self.libvirt.replies():
            error = reply.get("error")
            if error and not any(command == c and error["class"] == k and words in error["desc"] for c, k, words in EXPECTED):
                bad.append(f"{command} {arguments}: {error}")
        self.check(not bad, "every question of libvirt's is answered", "\n".join(bad))
        said = [line for line in self.libvirt.guest_log(NAME).splitlines() if "qemu-system-x86_64: " in line and "info: ended by signal 15" not in line]
        self.check(not said, "the program complains of nothing", "\n".join(said))


def main():
    program, machine = sys.argv[1], sys.argv[2]
    with tempfile.TemporaryDirectory() as folder:
        libvirt = Libvirt(program, guest.cached("fetch-kernel.sh"), make_initramfs(folder))
    test = Test(libvirt, machine)
    try:
        for step in (test.probe, test.start, test.pause, test.reset, test.memory, test.vcpus, test.others, test.shutdown, test.destroy, test.errors):
            step()
    except Exception as problem:  # pylint: disable=broad-except
        test.check(False, "no step fails", f"{type(problem).__name__}: {problem}\n{libvirt.guest_log(NAME)[-3000:]}")
    finally:
        if test.console:
            try:
                test.console.close()
            except OSError:
                pass
        libvirt.close()
    print(f"1..{test.n}")
    return test.failed != 0


if __name__ == "__main__":
    sys.exit(main())
