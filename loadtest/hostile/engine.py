"""Many hostile connections in one process: opened at a pace, driven by readiness and a tick a second,
opened again when the server has had enough of them, counted, and over after so many seconds.
"""
import collections, errno, resource, select, socket, struct, time

RST_ON_CLOSE = struct.pack("ii", 1, 0)
IP_BIND_ADDRESS_NO_PORT = 24  # Linux: the port is chosen at connect, from all that are free for the pair
IN, OUT, HUP, RDHUP, ERR = select.EPOLLIN, select.EPOLLOUT, select.EPOLLHUP, select.EPOLLRDHUP, select.EPOLLERR
SLICES = 20  # a tick reaches a twentieth of the connections at a time


class Connection:
    """One hostile client. It is opened again when it ends, as long as the attack lasts."""

    reads = True        # whether it takes what comes as it comes
    receive_buffer = 0  # bytes, for those who do not read
    ticks = True        # whether `tick` does anything
    again = True        # whether it comes again after its end

    def __init__(self, engine, number):
        self.engine, self.number = engine, number
        self.socket, self.out, self.open, self.mask = None, b"", False, 0
        self.said = None

    # What an attack is made of.

    def begin(self):
        """The connection is there."""

    def tick(self):
        """About a second has passed."""

    def received(self, data):
        """Something was read."""

    def drained(self):
        """Everything that was to be sent is with the system."""

    # What it does that with.

    def send(self, data):
        if self.out:
            self.out = memoryview(bytes(self.out) + data)
            return
        self.out = memoryview(data)
        self.flush()

    def flush(self):
        try:
            while self.out:
                sent = self.socket.send(self.out[:1 << 18])
                self.engine.sent += sent
                self.out = self.out[sent:]
        except BlockingIOError:
            pass
        except OSError:
            return self.end()
        self.watch()
        if not self.out:
            self.drained()

    def read(self, most=65536):
        """Bytes that have come, or None; the end of the connection is dealt with."""
        try:
            data = self.socket.recv(most)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            self.end()
            return None
        self.engine.read += len(data)
        if self.said is None:
            self.said = data[9:12].decode("ascii", "replace") if data[:5] == b"HTTP/" else "frames"
            self.engine.answers[self.said] += 1
        return data

    def watch(self):
        mask = RDHUP | (IN if self.reads else 0) | (OUT if self.out or not self.open else 0)
        if mask != self.mask:
            self.engine.epoll.modify(self.socket.fileno(), mask)
            self.mask = mask

    def start(self):
        engine = self.engine
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RST_ON_CLOSE)
        if self.receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        self.socket.bind((engine.sources[self.number % len(engine.sources)], 0))
        self.out, self.open, self.said, self.mask = b"", False, None, OUT | RDHUP
        result = self.socket.connect_ex(engine.target)
        if result not in (0, errno.EINPROGRESS):
            self.socket.close()
            self.socket = None
            engine.failed[errno.errorcode.get(result, str(result))] += 1
            engine.waiting.append(self)
            return
        engine.by_fd[self.socket.fileno()] = self
        engine.epoll.register(self.socket.fileno(), self.mask)

    def end(self, by_us=False):
        if self.socket is None:
            return
        engine = self.engine
        if self.open:
            engine.open -= 1
            engine.ended["by the attack" if by_us else "by the server"] += 1
        del engine.by_fd[self.socket.fileno()]
        self.socket.close()
        self.socket, self.open, self.out = None, False, b""
        if self.again:
            engine.waiting.append(self)

    def ready(self, events):
        if not self.open:
            error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error or events & (ERR | HUP):
                self.engine.failed[errno.errorcode.get(error, "closed")] += 1
                return self.end()
            self.open = True
            self.engine.opened += 1
            self.engine.open += 1
            self.engine.peak = max(self.engine.peak, self.engine.open)
            self.mask = -1
            self.watch()
            self.begin()
            return
        if events & IN and self.reads:
            data = self.read()
            if data:
                self.received(data)
        elif events & (ERR | HUP | RDHUP):
            return self.end()
        if self.socket is not None and events & OUT and self.out:
            self.flush()


class Engine:
    """Runs `count` connections of `kind` from `sources` to `target`."""

    def __init__(self, kind, target, sources, count, pace=4000, again_pace=2000):
        self.target, self.sources = target, sources
        self.pace, self.again_pace = pace, again_pace
        self.epoll, self.by_fd = select.epoll(), {}
        self.waiting = collections.deque()
        self.open = self.opened = self.peak = self.sent = self.read = 0
        self.failed, self.ended, self.answers = collections.Counter(), collections.Counter(), collections.Counter()
        self.connections = [kind(self, number) for number in range(count)]
        self.waiting.extend(self.connections)

    def run(self, seconds, ramped=lambda: None):
        """Opens all, tells `ramped`, and goes on for so many seconds."""
        begun = last = time.monotonic()
        until, slice_at, slice_number, allowance = None, begun, 0, 0.0
        started = 0
        while until is None or time.monotonic() < until:
            for fd, events in self.epoll.poll(0.005 if self.waiting else 0.02, 4096):
                connection = self.by_fd.get(fd)
                if connection is not None:
                    connection.ready(events)
            now = time.monotonic()
            pace = self.pace if until is None else self.again_pace
            allowance = min(allowance + (now - last) * pace, pace / 10)
            last = now
            while self.waiting and allowance >= 1:
                allowance -= 1
                started += 1
                self.waiting.popleft().start()
            if until is None and (started >= len(self.connections) or now - begun > 6):
                until = now + seconds
                ramped()
            if now >= slice_at:
                # Late by more than a few slices, time that is lost is not made up for.
                slice_at = max(slice_at + 1 / SLICES, now - 1)
                for connection in self.connections[slice_number::SLICES]:
                    if connection.open and connection.ticks:
                        connection.tick()
                slice_number = (slice_number + 1) % SLICES
        held = self.open
        return {"opened": self.opened, "peak": self.peak, "held": held, "sent": self.sent, "read": self.read,
                "failed": dict(self.failed), "ended": dict(self.ended), "answers": dict(self.answers)}


def descriptors(wanted):
    """Raises this process's limit as far as it goes; what is reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in (max(hard, wanted), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            return most
        except (ValueError, OSError):
            continue
    return soft
