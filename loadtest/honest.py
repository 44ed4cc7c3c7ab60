"""Honest clients of a server, and probes, at a fixed pace: what they wait for their answers.

    python3 loadtest/honest.py HOST PORT [--gets-only]

They are few, so that the waiting is the server's: about 110 requests and 20 probes a second, from
addresses of their own. Each line on standard input ends a period, and is answered by one of JSON about
it. Where the process may, it runs before all others on its core: what is measured is then not how
long it waits behind a load on the same core.
"""
import collections, errno, gc, heapq, json, os, re, select, socket, sys, time

GET = b"GET /favicon.svg HTTP/1.1\r\nHost: localhost\r\n%s\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1024\r\n\r\n" + b"n" * 1024
CLOSE = b"Connection: close\r\n"
USERS, PROBES = "127.0.1.1", "127.0.1.2"
PATIENCE = 5.0  # seconds
PROMISE = 50.0  # milliseconds for a probe


class Client:
    """A connection, kept or new for each request, that asks every `every` seconds."""

    def __init__(self, crowd, kind, address, request, every, kept=True):
        self.crowd, self.kind, self.address, self.request = crowd, kind, address, request
        self.every, self.kept = every, kept
        self.socket, self.connected, self.reused = None, False, False
        self.since, self.due, self.got, self.needed = None, collections.deque(), b"", None

    def ask(self, now, late=0.0):
        """It is time for a request: at once, or behind the one that has no answer yet. A client that comes `late`
        stood still itself: meanwhile the server may have let go of a connection that was idle."""
        if late > 0.3 and self.since is None and self.socket is not None:
            self.close()
        if self.since is not None:
            self.due.append(now)
            return
        self.since, self.got, self.needed = now, b"", None
        if self.socket is None:
            self.connect()
        elif self.connected:
            self.reused = True
            self.write()

    def connect(self):
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.bind((self.address, 0))
        self.connected = self.reused = False
        if self.socket.connect_ex(self.crowd.target) not in (0, errno.EINPROGRESS):
            return self.fail("no connection")
        self.crowd.by_fd[self.socket.fileno()] = self
        self.crowd.epoll.register(self.socket.fileno(), select.EPOLLOUT)

    def write(self):
        try:
            self.socket.sendall(self.request)
        except OSError as error:
            self.fail(f"write: {errno.errorcode.get(error.errno, error)}")

    def ready(self):
        if not self.connected:
            if error := self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return self.fail(f"connect: {errno.errorcode.get(error, error)}")
            self.connected = True
            self.crowd.epoll.modify(self.socket.fileno(), select.EPOLLIN)
            if self.since is not None:
                self.write()
            return
        try:
            data = self.socket.recv(65536)
        except OSError as error:
            data = error
        if not data or isinstance(data, OSError):
            if self.since is None:
                return self.close()  # A kept connection that ends between requests is no loss.
            what = "closed" if not data else errno.errorcode.get(data.errno, str(data))
            return self.fail(f"{what} {'within the answer' if self.got else 'unanswered'}{', kept' if self.reused else ', new'}")
        if self.since is None:
            return self.close()
        self.got += data
        self.look()

    def look(self):
        if self.needed is None:
            head, end, _ = self.got.partition(b"\r\n\r\n")
            if not end:
                return
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            self.needed = len(head) + 4 + int(length.group(1)) if length else -1
        if self.needed < 0 and not self.got.endswith(b"0\r\n\r\n") or len(self.got) < self.needed:
            return
        status, last = self.got[9:12], b"\r\nconnection: close" in self.got.lower()
        waited = (time.monotonic() - self.since) * 1000
        if status == b"200":
            self.crowd.period[self.kind].waits.append(waited)
        elif code := re.search(rb'"code":"([A-Z0-9_]+)"', self.got) if status in (b"503", b"429") else None:
            how = "kept" if self.reused else "new"
            self.crowd.period[self.kind].refused[f"{int(status)} {code.group(1).decode().lower()}, {how} {self.request[:4].decode().strip()}"] += 1
        else:
            self.crowd.period[self.kind].failed[f"status {status.decode('ascii', 'replace')}"] += 1
        self.over(close=last or not self.kept)

    def over(self, close):
        self.since = None
        if close:
            self.close()
        if self.due:
            # It has waited since it was due, and not since it could be sent.
            asked = self.due.popleft()
            self.ask(asked)

    def fail(self, why):
        self.crowd.period[self.kind].failed[why] += 1
        self.close()
        self.over(close=False)

    def close(self):
        if self.socket is not None:
            self.crowd.by_fd.pop(self.socket.fileno(), None)
            self.socket.close()
            self.socket, self.connected = None, False


class Period:
    def __init__(self):
        self.waits, self.failed, self.refused = [], collections.Counter(), collections.Counter()

    def told(self):
        waits = sorted(self.waits)
        at = lambda share: waits[max(0, -(-len(waits) * share // 100) - 1)] if waits else None
        return {"answered": len(waits), "p50": at(50), "p99": at(99), "max": at(100), "failed": dict(self.failed),
                "refused": dict(self.refused), "late": sum(wait >= PROMISE for wait in waits)}


class Crowd:
    def __init__(self, target, gets_only):
        self.target, self.epoll, self.by_fd, self.due = target, select.epoll(), {}, []
        self.clients = []
        self.renew()
        get, post = GET % b"", GET % b"" if gets_only else POST
        for _ in range(8):
            self.add(Client(self, "users", USERS, get, 0.1))
        for _ in range(2):
            self.add(Client(self, "users", USERS, post, 0.1))
        # Idle for longer than it takes to be let go of.
        for _ in range(5):
            self.add(Client(self, "users", USERS, get, 1.5))
        self.add(Client(self, "users", USERS, GET % CLOSE, 0.2, kept=False))
        for path in (b"/health", b"/ready"):
            self.add(Client(self, "probes", PROBES, b"GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % (path, CLOSE), 0.1, kept=False))

    def renew(self):
        self.period = {"users": Period(), "probes": Period()}

    def add(self, client):
        self.clients.append(client)
        # Spread over the second, each with a beat of its own.
        heapq.heappush(self.due, (time.monotonic() + client.every * (len(self.clients) * 0.618 % 1), len(self.clients) - 1))

    def run(self):
        self.epoll.register(0, select.EPOLLIN)
        while True:
            now = time.monotonic()
            while self.due[0][0] <= now:
                at, number = heapq.heappop(self.due)
                self.clients[number].ask(now, now - at)
                heapq.heappush(self.due, (max(at + self.clients[number].every, now - 1), number))
            for client in self.clients:
                if client.since is not None and now - client.since > PATIENCE:
                    client.due.clear()
                    client.fail("no answer within 5 s")
            for fd, _ in self.epoll.poll(max(0.0, self.due[0][0] - time.monotonic())):
                if fd == 0:
                    if not os.read(0, 4096):
                        return
                    # Who waits at this moment is not forgotten: it counts where its answer comes.
                    told = {kind: period.told() for kind, period in self.period.items()}
                    self.renew()
                    print(json.dumps(told), flush=True)
                elif client := self.by_fd.get(fd):
                    client.ready()


def first_on_its_core():
    """Whether the process may run before others."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        return True
    except (OSError, AttributeError):
        return False


if __name__ == "__main__":
    gc.disable()
    print(json.dumps({"first": first_on_its_core()}), flush=True)
    Crowd((sys.argv[1], int(sys.argv[2])), "--gets-only" in sys.argv).run()
