#!/usr/bin/env python3
"""Socket chardevs on the real program, with clients and servers that speak telnet and WebSocket by the book and against it.
Usage: test_sockets.py PROGRAM ECHO [NAME...]

ECHO is a guest that sends back what it gets on its serial port with the case of letters changed (guest/echo.S)."""

import base64
import hashlib
import os
import socket
import struct
import subprocess
import sys
import time

import cases

from test_host import EXIT, TIMEOUT, connect, wait_until

IAC, DONT, DO, WONT, WILL, SB, AYT, BRK, DM, SE = 255, 254, 253, 252, 251, 250, 246, 243, 242, 240
BINARY, ECHO, SGA = 0, 1, 3


def receive(s, n):
    data = b""
    while len(data) < n:
        piece = s.recv(n - len(data))
        assert piece, f"end of file after {data}"
        data += piece
    return data


def receive_until(s, what):
    data = b""
    while not data.endswith(what):
        piece = s.recv(1)
        assert piece, f"end of file, no {what} after {data}"
        data += piece
    return data


def expect(s, what):
    got = receive(s, len(what))
    assert got == what, f"{got}, not {what}"


def expect_end(s):
    got = s.recv(100)
    assert got == b"", f"{got} instead of the end"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def dial(address, family=socket.AF_INET):
    """Connects as soon as somebody listens."""
    end = time.monotonic() + TIMEOUT
    while True:
        s = socket.socket(family)
        s.settimeout(TIMEOUT)
        try:
            s.connect(address)
            return s
        except ConnectionRefusedError:
            s.close()
            assert time.monotonic() < end, f"nobody listens on {address}"
            time.sleep(0.01)


class WebSocket:
    """A client as RFC 6455 describes it."""

    def __init__(self, s):
        self.s = s
        self.buffer = b""

    def open(self, *more):
        key = base64.b64encode(os.urandom(16)).decode()
        self.s.sendall("\r\n".join(["GET /console HTTP/1.1", "Host: localhost", "Upgrade: websocket", "Connection: keep-alive, Upgrade",
                                    f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", *more, "", ""]).encode())
        answer = receive_until(self.s, b"\r\n\r\n").decode()
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
        assert answer.startswith("HTTP/1.1 101 ") and f"Sec-WebSocket-Accept: {accept}\r\n" in answer, answer
        return answer

    @staticmethod
    def frame(opcode, data, fin=True, masked=True):
        head = bytes([opcode | (0x80 if fin else 0)])
        flag = 0x80 if masked else 0
        if len(data) < 126:
            head += bytes([flag | len(data)])
        elif len(data) < 65536:
            head += bytes([flag | 126]) + struct.pack(">H", len(data))
        else:
            head += bytes([flag | 127]) + struct.pack(">Q", len(data))
        if not masked:
            return head + data
        mask = os.urandom(4)
        return head + mask + bytes(b ^ mask[i & 3] for i, b in enumerate(data))

    def send(self, opcode, data, **flags):
        self.s.sendall(self.frame(opcode, data, **flags))

    def next(self):
        """(opcode, payload) of the next frame; the server's are never masked or fragmented."""
        first, second = receive(self.s, 2)
        assert first & 0x80 and not first & 0x70 and not second & 0x80, (first, second)
        n = second
        if second == 126:
            n = struct.unpack(">H", receive(self.s, 2))[0]
            assert n >= 126
        elif second == 127:
            n = struct.unpack(">Q", receive(self.s, 8))[0]
            assert n >= 65536
        return first & 15, receive(self.s, n)

    def read(self, n):
        """n bytes of data, in however many frames."""
        while len(self.buffer) < n:
            opcode, data = self.next()
            assert opcode == 2, (opcode, data)
            self.buffer += data
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data


class Tests(cases.Started):
    def __init__(self, program, echo, tmp):
        super().__init__()
        self.guest = [program, "-accel", "tcg", "-nodefaults", "-display", "none", *EXIT, "-kernel", echo]
        self.tmp = tmp

    def path(self, name):
        return os.path.join(self.tmp, name)

    def start(self, *options, **more):
        return self.popen([*self.guest, *options], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)

    def finish(self, process, status=1):
        code = process.wait(timeout=TIMEOUT)
        errors = process.stderr.read().decode()
        assert code == status, (code, errors)
        return errors

    # --- addresses ---

    def test_ipv6(self):
        port = free_port()
        process = self.start("-serial", f"tcp:[::1]:{port},server=on,nodelay")
        with dial(("::1", port), socket.AF_INET6) as s:
            s.sendall(b"aQ")
            expect(s, b"ready\r\nA")
        self.finish(process)

    def test_to(self):
        """to=: the next free port is taken, and named."""
        with socket.socket() as busy:
            busy.bind(("127.0.0.1", 0))
            busy.listen()
            port = busy.getsockname()[1]
            process = self.start("-chardev", f"socket,id=c,host=127.0.0.1,port={port},to={min(port + 50, 65535)},server=on", "-serial", "chardev:c")
            line = process.stderr.readline().decode()
            assert "QEMU waiting for connection on: disconnected:tcp:127.0.0.1:" in line, line
            got = int(line.rsplit(":", 1)[1].split(",")[0])
            assert port < got <= port + 50, (port, got)
            with dial(("127.0.0.1", got)) as s:
                expect(s, b"ready\r\n")
                s.sendall(b"Q")
                self.finish(process)

    def test_only_one_family(self):
        port = free_port()
        process = self.start("-serial", f"tcp:localhost:{port},server=on,wait=off,ipv4=on")
        with dial(("127.0.0.1", port)) as s:
            with socket.socket(socket.AF_INET6) as other:
                assert other.connect_ex(("::1", port)) != 0
            s.sendall(b"Q")
            self.finish(process)

    def test_abstract(self):
        """The name ends where it ends, or is padded with zeros to the full length."""
        for tight in (True, False):
            name = f"quern-test-{os.getpid()}-{tight}"
            process = self.start("-chardev", f"socket,id=a,path={name},abstract=on,tight={'on' if tight else 'off'},server=on", "-serial", "chardev:a")
            address = b"\0" + name.encode()
            with dial(address if tight else address.ljust(108, b"\0"), socket.AF_UNIX) as s:
                with socket.socket(socket.AF_UNIX) as wrong:
                    assert wrong.connect_ex(address.ljust(108, b"\0") if tight else address) != 0
                s.sendall(b"aQ")
                expect(s, b"ready\r\nA")
            self.finish(process)

    def test_abstract_client(self):
        address = f"quern-test-{os.getpid()}-client"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("\0" + address)
            listener.listen()
            process = self.start("-chardev", f"socket,id=a,path={address},abstract=on", "-serial", "chardev:a")
            with listener.accept()[0] as s:
                expect(s, b"ready\r\n")
                s.sendall(b"Q")
                self.finish(process)

    def test_inherited(self):
        """fd=: a connected socket, and a listening one."""
        mine, theirs = socket.socketpair()
        with mine, theirs:
            process = self.start("-chardev", f"socket,id=f,fd={theirs.fileno()}", "-serial", "chardev:f", pass_fds=[theirs.fileno()])
            theirs.close()
            expect(mine, b"ready\r\n")
            mine.sendall(b"Q")
            self.finish(process)
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            process = self.start("-chardev", f"socket,id=f,fd={listener.fileno()},server=on", "-serial", "chardev:f", pass_fds=[listener.fileno()])
            with dial(listener.getsockname()) as s:
                expect(s, b"ready\r\n")
                s.sendall(b"Q")
                self.finish(process)

    def test_old_words(self):
        """server,nowait and the like, as scripts of many years have them."""
        port = free_port()
        process = self.start("-serial", f"tcp:127.0.0.1:{port},server,nowait,nodelay")
        with dial(("127.0.0.1", port)) as s:
            s.sendall(b"aQ")
            receive_until(s, b"A")  # "ready" may have been said to nobody
        self.finish(process)

    def test_udp(self):
        """The net console, with a source port of its own."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            s.settimeout(TIMEOUT)
            s.bind(("127.0.0.1", 0))
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
            probe.close()
            process = self.start("-serial", f"udp:127.0.0.1:{s.getsockname()[1]}@127.0.0.1:{port}")
            text = b""
            while b"ready\r\n" not in text:
                data, sender = s.recvfrom(1000)
                text += data
            assert sender == ("127.0.0.1", port), sender
            s.sendto(b"aQ", sender)
            assert s.recvfrom(1000)[0] == b"A"
            self.finish(process)

    # --- telnet ---

    GREETING = bytes([IAC, WILL, ECHO, IAC, WILL, SGA, IAC, WILL, BINARY, IAC, DO, BINARY])

    def telnet(self, *more):
        port = free_port()
        process = self.start("-serial", f"telnet:127.0.0.1:{port},server=on", *more)
        s = dial(("127.0.0.1", port))
        expect(s, self.GREETING + b"ready\r\n")
        return process, s

    def test_telnet_client_that_agrees(self):
        process, s = self.telnet()
        with s:
            s.sendall(bytes([IAC, DO, ECHO, IAC, DO, SGA, IAC, DO, BINARY, IAC, WILL, BINARY, IAC, WILL, SGA]) + b"a\r\0\xff\xff.")
            expect(s, bytes([IAC, DO, SGA]) + b"A\r\0\xff\xff.")
            s.sendall(bytes([IAC, BRK, IAC, AYT]) + b".")
            got = receive_until(s, b".")
            assert b"~" in got and b"[Yes]" in got, got
            s.sendall(b"Q")
            self.finish(process)

    def test_telnet_client_that_refuses(self):
        """Terminal type and window size are offered, all that the server wants is refused: text mode."""
        process, s = self.telnet()
        with s:
            s.sendall(bytes([IAC, WILL, 24, IAC, WILL, 31, IAC, DO, 5, IAC, DONT, ECHO, IAC, DONT, SGA, IAC, DONT, BINARY, IAC, WONT, BINARY]))
            expect(s, bytes([IAC, DONT, 24, IAC, DONT, 31, IAC, WONT, 5]))
            s.sendall(b"a\r\0b.")
            expect(s, b"A\r\0B.")
            s.sendall(bytes([IAC, SB, 24, 0]) + b"xterm" + bytes([IAC, IAC, IAC, SE]) + b"c.")
            expect(s, b"C.")
            s.sendall(b"Q")
            self.finish(process)

    def test_telnet_synch(self):
        """The urgent data mark stays in the stream, so that what follows is not taken for a command."""
        process, s = self.telnet()
        with s:
            s.sendall(bytes([IAC]))
            s.send(bytes([DM]), socket.MSG_OOB)
            s.sendall(b"abc.")
            expect(s, b"ABC.")
            s.sendall(b"Q")
            self.finish(process)

    def test_telnet_connections_one_after_another(self):
        """Nothing of the first one's state is left: it ended in the middle of a command."""
        process, s = self.telnet()
        port = s.getpeername()[1]
        with s:
            s.sendall(bytes([IAC, DONT, BINARY, IAC, WONT, BINARY]) + b"a.")
            expect(s, b"A.")
            s.sendall(bytes([IAC, SB, 1]))
        with dial(("127.0.0.1", port)) as s:
            expect(s, self.GREETING)
            s.sendall(b"b\r.")
            expect(s, b"B\r.")
            s.sendall(b"Q")
            self.finish(process)

    def test_telnet_calling(self):
        """Without server=on the program is the telnet client."""
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            process = self.start("-serial", f"telnet:127.0.0.1:{listener.getsockname()[1]}")
            with listener.accept()[0] as s:
                s.settimeout(TIMEOUT)
                expect(s, bytes([IAC, WILL, BINARY, IAC, DO, BINARY]))
                s.sendall(bytes([IAC, WILL, ECHO, IAC, DO, ECHO, IAC, WILL, SGA, IAC, DO, BINARY]) + b"a.")
                got = receive_until(s, b"A.")
                for answer in ([IAC, DO, ECHO], [IAC, WONT, ECHO], [IAC, DO, SGA]):
                    assert bytes(answer) in got, got
                s.sendall(b"Q")
                self.finish(process)

    def test_busybox_telnet(self):
        """Somebody else's client."""
        port = free_port()
        process = self.start("-serial", f"telnet:127.0.0.1:{port},server=on,wait=off")
        dial(("127.0.0.1", port)).close()
        client = self.popen(["busybox", "telnet", "127.0.0.1", str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        client.stdin.write(b"hello\n")
        client.stdin.flush()
        text = b""
        while b"HELLO" not in text:
            piece = os.read(client.stdout.fileno(), 1000)
            assert piece, text
            text += piece
        client.stdin.write(b"Q")
        client.stdin.close()
        self.finish(process)
        client.kill()
        client.wait()
        client.stdout.close()

    # --- WebSocket ---

    def websocket(self, wait="off"):
        port = free_port()
        process = self.start("-serial", f"websocket:127.0.0.1:{port},server=on,wait={wait}")
        return process, WebSocket(dial(("127.0.0.1", port)))

    def test_websocket(self):
        process, w = self.websocket("on")
        with w.s:
            answer = w.open("Sec-WebSocket-Protocol: chat, binary", "Origin: http://localhost")
            assert "Sec-WebSocket-Protocol: binary\r\n" in answer, answer
            assert w.read(7) == b"ready\r\n"
            w.send(2, b"abc.")
            assert w.read(4) == b"ABC."
            w.send(1, "text, too.".encode())
            assert w.read(10) == b"TEXT, TOO."
            # A message in fragments, with pings and a pong among them, and frames of all three lengths.
            w.send(2, b"frag", fin=False)
            w.send(9, b"are you there")
            w.send(0, b"", fin=False)
            w.send(10, b"nobody asked")
            w.send(0, b"ment.")
            got, pong = b"", None
            while got != b"FRAGMENT.":
                opcode, data = w.next()
                if opcode == 10:
                    pong = data
                else:
                    assert opcode == 2, opcode
                    got += data
            assert pong == b"are you there", pong
            for n in (126, 5000, 70000):
                text = bytes(0x61 + i % 26 for i in range(n))
                w.send(2, text)
                assert w.read(n) == text.upper()
            # Byte by byte.
            for byte in w.frame(2, b"slow."):
                w.s.sendall(bytes([byte]))
            assert w.read(5) == b"SLOW."
            w.send(8, struct.pack(">H", 1000) + b"bye")
            assert w.next() == (8, struct.pack(">H", 1000))
            expect_end(w.s)
        # The next one comes in, and is told when the machine ends.
        with dial(self.address_of(process)) as s:
            w = WebSocket(s)
            w.open()
            w.send(2, b"Q")
            self.finish(process)
            assert w.next() == (8, struct.pack(">H", 1001))
            expect_end(s)

    @staticmethod
    def address_of(process):
        """What -serial websocket:HOST:PORT of its command line says."""
        with open(f"/proc/{process.pid}/cmdline", "rb") as f:
            for word in f.read().split(b"\0"):
                if word.startswith(b"websocket:"):
                    host, port = word.decode().split(":")[1:3]
                    return host, int(port.split(",")[0])
        raise AssertionError("no -serial websocket:")

    def test_websocket_wrong_frames(self):
        """Each ends the connection with the code that says why, although more is on its way; the next client is served."""
        process, w = self.websocket()
        w.s.close()
        f = WebSocket.frame
        wrong = [
            (f(2, b"no mask", masked=False), 1002),
            (f(0, b"continues nothing"), 1002),
            (f(2, b"", fin=False) + f(2, b"another"), 1002),
            (f(3, b"unknown"), 1002),
            (f(11, b"unknown"), 1002),
            (f(9, b"x", fin=False), 1002),
            (f(9, b"x" * 126), 1002),
            (f(0x42, b"reserved bit"), 1002),
            (b"\x82\xfe\x00\x05", 1002),
            (b"\x82\xff" + b"\xff" * 8, 1002),
            (f(1, b"\xff"), 1007),
            (f(1, b"\xc3", fin=False) + f(0, b"x"), 1007),
            (f(8, b"\x03"), 1002),
            (f(8, struct.pack(">H", 1005)), 1002),
        ]
        for data, code in wrong:
            with dial(self.address_of(process)) as s:
                w = WebSocket(s)
                w.open()
                s.sendall(data + bytes(4) + os.urandom(20000))
                opcode, answer = w.next()
                while opcode == 2:
                    opcode, answer = w.next()  # the guest is still getting ready
                assert (opcode, answer) == (8, struct.pack(">H", code)), (opcode, answer, data, code)
                expect_end(s)
        with dial(self.address_of(process)) as s:
            w = WebSocket(s)
            w.open()
            w.send(2, b"Q")
            self.finish(process)

    def test_websocket_wrong_requests(self):
        process, w = self.websocket()
        w.s.close()
        good = ["GET / HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"]
        wrong = [
            ([*good[:5], "Sec-WebSocket-Version: 12"], "426"),
            ([*good[:2], *good[3:]], "426"),
            ([*good[:4], *good[5:]], "400"),
            ([good[0], *good[2:]], "400"),
            (["POST / HTTP/1.1", *good[1:]], "400"),
            (["GET / HTTP/1.0", *good[1:]], "400"),
            ([*good, "Sec-WebSocket-Protocol: chat"], "400"),
            ([*good, "X: " + "y" * 9000], "400"),
            (["\x16\x03\x01 this is TLS", *good[1:]], "400"),
        ]
        for lines, status in wrong:
            with dial(self.address_of(process)) as s:
                s.sendall("\r\n".join([*lines, "", ""]).encode())
                answer = receive_until(s, b"\r\n\r\n").decode()
                assert answer.startswith(f"HTTP/1.1 {status} "), (lines, answer)
                assert status != "426" or "Sec-WebSocket-Version: 13" in answer, answer
                expect_end(s)
        with dial(self.address_of(process)) as s:
            w = WebSocket(s)
            w.open()
            w.send(2, b"Q")
            self.finish(process)

    def test_websocket_waits_for_the_handshake(self):
        """wait=on: a connection alone does not start the machine."""
        port = free_port()
        process = self.start("-serial", f"websocket:127.0.0.1:{port},server=on")
        with dial(("127.0.0.1", port)) as s:
            s.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert receive_until(s, b"\r\n\r\n").startswith(b"HTTP/1.1 400")
        with dial(("127.0.0.1", port)) as s:
            w = WebSocket(s)
            w.open()
            assert w.read(7) == b"ready\r\n"
            w.send(2, b"Q")
            self.finish(process)

    def test_websocket_unix(self):
        path = self.path("ws")
        process = self.start("-chardev", f"socket,id=w,path={path},server=on,wait=off,websocket=on", "-serial", "chardev:w")
        with connect(path) as s:
            s.settimeout(TIMEOUT)
            w = WebSocket(s)
            w.open()
            w.send(2, b"Q")
            self.finish(process)
        wait_until(lambda: not os.path.exists(path), "the socket is still there")


if __name__ == "__main__":
    sys.exit(cases.run(Tests))
