"""Attacks by HTTP/1.1."""
from .engine import Connection

HOST = b"Host: localhost\r\n"
MIB = 1 << 20


class Idle(Connection):
    """Every other one never says a word; the rest ask once and stay."""

    ticks = False

    def begin(self):
        if self.number % 2:
            self.send(b"GET /favicon.svg HTTP/1.1\r\n" + HOST + b"\r\n")


class SlowHead(Connection):
    """A head of which a byte comes each second."""

    def begin(self):
        self.send(b"GET /favicon.svg HTTP/1.1\r\n" + HOST + b"X-Slow: ")

    def tick(self):
        self.send(b"a")


class BigSlowHead(SlowHead):
    """The same, behind 14 KiB of fields."""

    def begin(self):
        self.send(b"GET /favicon.svg HTTP/1.1\r\n" + HOST + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 1024) for n in range(14)) + b"X-Slow: ")


class SlowBody(Connection):
    """A body of which a byte comes each second, by length and by chunks in turn."""

    piece = b"a"

    def begin(self):
        framing = b"Transfer-Encoding: chunked" if self.number % 2 else b"Content-Length: 1000000"
        self.send(b"POST /echo HTTP/1.1\r\n" + HOST + framing + b"\r\n\r\n")

    def tick(self):
        self.send(b"%x\r\n%s\r\n" % (len(self.piece), self.piece) if self.number % 2 else self.piece)


class PacedBody(SlowBody):
    """The same just above the lowest rate that is allowed."""

    piece = b"a" * 600


class HeldUpload(Connection):
    """A body of 1 MiB that comes at once, but for its last byte."""

    ticks = False
    request = b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % MIB + bytes(MIB - 1)

    def begin(self):
        self.send(self.request)


class UnreadEcho(Connection):
    """1 MiB that is to be sent back, to somebody who takes a byte of it each second."""

    reads, receive_buffer = False, 2048
    request = b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % MIB + bytes(MIB)

    def begin(self):
        self.send(self.request)

    def tick(self):
        if not self.out:
            self.read(1)


class SlowRead(Connection):
    """A file of 10 MiB, read just above the lowest rate that is allowed."""

    reads, receive_buffer = False, 2048

    def begin(self):
        self.send(b"GET /large HTTP/1.1\r\n" + HOST + b"\r\n")

    def tick(self):
        self.read(600)


class Churn(Connection):
    """Connections that ask once and go: by a reset, or before the answer."""

    ticks = False

    def begin(self):
        self.send(b"GET /favicon.svg HTTP/1.1\r\n" + HOST + b"\r\n")
        if self.number % 2:
            self.end(by_us=True)

    def received(self, data):
        self.end(by_us=True)


class Flood(Connection):
    """Requests as fast as they are answered."""

    ticks = False
    batch = b"GET /favicon.svg HTTP/1.1\r\n" + HOST + b"\r\n"

    def begin(self):
        self.send(self.batch)

    def received(self, data):
        # An answer or a part of one: whoever floods does not care.
        self.send(self.batch)


class Pipelined(Flood):
    """Sixteen requests at a time, as fast as they are answered."""

    batch = Flood.batch * 16

    def received(self, data):
        if not self.out:
            self.send(self.batch)
