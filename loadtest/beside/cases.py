"""The cases that are measured as fast as a server answers, in interleaved rounds: CPU per request, and requests per second."""
import time, typing

from rounds import Failed

from . import loads, peers, proof

ALL = ("nessen", "library", "nginx", "haproxy", "hyper", "axum", "node")


class Case(typing.NamedTuple):
    """`subjects` are measured beside the other peers; each has a row of its own."""

    name: str
    what: str
    peers: tuple
    role: str = "small"
    path: str = "/"
    kind: str = "get"           # get, post or http2
    connections: int = 64
    log: str = None             # file or pipe
    refused: str = None         # the reason for which all are
    settings: dict = {}         # of Nessen

    @property
    def at_once(self):
        return self.connections * (loads.STREAMS if self.kind == "http2" else 1)

    @property
    def subjects(self):
        return [name for name in peers.OURS if name in self.peers]


PROXIES, BASIC = ("nessen", "nginx", "haproxy"), ("nessen", "library", "nginx", "haproxy", "hyper")
CASES = (
    Case("small", "small answer, 64 connections", ALL),
    Case("one", "small answer, 1 connection", BASIC, connections=1),
    Case("thousand", "small answer, 1000 connections", BASIC, connections=1000, settings={"MAX_CONNECTIONS_PER_IP": 2000}),
    Case("log-file", "small answer, JSON access log to a file", ("nessen", "nginx"), log="file"),
    Case("log-buffered", "the same, nginx with `buffer=64k flush=1s`", ("nessen", "nginx buffered"), log="file"),
    Case("log-pipe", "small answer, JSON access log to a pipe", ("nessen", "nginx"), log="pipe"),
    Case("404", "404", PROXIES, "404", "/nothing", refused="not_found"),
    Case("limited", "small answer, rate limit on", ("nessen", "nginx"), "limited"),
    Case("proxy-get", "proxy, small GET", PROXIES, "proxy"),
    Case("proxy-post", "proxy, POST of 16 KiB", PROXIES, "proxy", "/post", kind="post"),
    Case("proxy-large", "proxy, answer of 1 MiB", PROXIES, "proxy", "/1m"),
    Case("file-1k", "file of 1 KiB", ("nessen", "nginx"), "files", "/1k"),
    Case("file-100k", "file of 100 KiB", ("nessen", "nginx"), "files", "/100k"),
    Case("file-10m", "file of 10 MiB", ("nessen", "nginx"), "files", "/10m"),
    Case("http2", "small answer, HTTP/2, 16 connections of 10 streams", ("nessen", "library", "nginx", "haproxy", "hyper", "axum"), "http2",
         kind="http2", connections=16),
)
BY_NAME = {case.name: case for case in CASES}


class Running:
    """A peer in a case, and what its rounds have cost."""

    def __init__(self, name, case, site):
        self.name, self.case, self.site = name, case, site
        self.runs, self.requests, self.dropped, self.ours = [], 0, 0, name in peers.OURS
        self.log = peers.Log(case.log, site.folder, f"{name} {case.name}".replace(" ", "-")) if case.log else None
        self.server = peers.start(name, case.role, site, self.log, **(case.settings if self.ours else {}))
        self.url = f"http://127.0.0.1:{self.server.port}{case.path}"
        self.script = site.put("post.lua", loads.POST) if case.kind == "post" else None

    def round(self, seconds, counts=True):
        """The load for so long. It is an error where a request is: figures of failures mean nothing."""
        case, server = self.case, self.server
        before = proof.reading(server) if self.ours else None
        forwarded = peers.asked(self.site.app) if case.role == "proxy" else None
        cpu, begun = server.cpu(), time.monotonic()
        told = loads.fast(self.url, case.kind, case.connections, seconds, self.script)
        cpu, taken = server.cpu() - cpu, time.monotonic() - begun
        requests = told["requests"]
        if not requests or told["errors"] or told["refused"] != (requests if case.role == "404" else 0):
            raise Failed(f"{case.name}: {server.name}: {told}")
        if before:
            proof.counted(server, before, requests, case.at_once, case.refused)
        if forwarded:
            self.went_through(forwarded, requests)
        self.requests += requests
        if self.log:
            time.sleep(0.2)
            self.log.turn()
        if counts:
            self.runs.append({"cpu": cpu / requests * 1e6, "rate": told["rate"], "busy": cpu / taken, "requests": requests})

    def went_through(self, before, requests):
        connections, answered = (now - then for now, then in zip(peers.asked(self.site.app), before))
        if answered < requests:
            raise Failed(f"{self.server.name}: the upstream saw {answered} of {requests} requests")
        # The upstream's own to itself are among them.
        if connections > 3 * self.case.connections:
            raise Failed(f"{self.server.name} opened {connections} connections to the upstream for {requests} requests")

    def held(self):
        """At the end: limits were on, and every request is in the log, or counted as dropped from it."""
        if self.ours:
            if self.case.log:
                self.dropped = int(proof.series(self.server, "nessen_log_lines_dropped_total"))
            proof.limits(self.server)
        elif self.case.role == "limited":
            proof.passed(self.server)
        if self.log:
            self.log.settle(self.requests - self.dropped)
        self.server.stop()
        if self.log:
            lines, self.log = self.log.end(), None
            if lines + self.dropped < self.requests:
                raise Failed(f"{self.server.name}: {lines} lines of log and {self.dropped} dropped for {self.requests} requests")

    def stop(self):
        self.server.stop()
        if self.log:
            self.log.end()


def measure(case, names, site, rounds, seconds, warm, say):
    """{peer: {"runs": [...], "dropped": lines, "requests": number}}; every round begins with another peer."""
    running = []
    try:
        for name in names:
            running.append(Running(name, case, site))
        for peer in running if warm else ():
            peer.round(1, counts=False)
        for number in range(rounds):
            turn = number % len(running)
            for peer in running[turn:] + running[:turn]:
                peer.round(seconds)
            say(f"{case.name}: round {number + 1} of {rounds}")
        for peer in running:
            peer.held()
    finally:
        for peer in running:
            peer.stop()
    return {peer.name: {"runs": peer.runs, "dropped": peer.dropped, "requests": peer.requests} for peer in running}
