"""What a request costs and what is resident while one thing grows: connections, header fields, routes, clients, series."""
import time, typing

import confined
from rounds import Failed

from . import loads, peers, proof

RATE = 20_000        # requests a second of the paced load
BURST = 16           # of them at a time: a server that is woken for each costs what its sleep does
SHARE = 200          # connections of one address
SPARE = 500          # descriptors of the server for all else
SETTLED = 0.6        # seconds until connections that are idle cost what they cost
SPREAD = 100         # routes that are asked in turn where their number grows
STRIDE = 7919        # a prime: all of 10^n are asked, none beside the one before

# Requests are made before the load begins, and sent in turn.
TURNS = """
function init(arguments)
  local kind, count, total = arguments[1], tonumber(arguments[2]), tonumber(arguments[3])
  requests = {}
  for n = 0, count - 1 do
    local path, fields = "/", {}
    if kind == "routes" then
      path = "/r" .. math.floor(n * total / count)
    else
      fields["X-Forwarded-For"] = string.format("10.%%d.%%d.%%d", math.floor(n / 65536), math.floor(n / 256) %% 256, n %% 256)
    end
    fields["Host"] = "localhost"
    requests[n] = wrk.format("GET", path, fields)
  end
  at, size = 0, count
end
function request()
  at = (at + %d) %% size
  return requests[at]
end
""" % STRIDE


class Curve(typing.NamedTuple):
    name: str
    what: str            # of the horizontal axis
    points: tuple
    peers: tuple
    measure: typing.Callable    # (site, peer, points) -> a point each

    def up_to(self, most):
        return [point for point in self.points if point <= most] or [self.points[0]]


def fast(server, site, seconds, script=None, fields=(), arguments=(), connections=16):
    """CPU µs of a request."""
    before = proof.reading(server) if server.ours else None
    cpu = server.cpu()
    told = loads.fast(f"http://127.0.0.1:{server.port}/", "get", connections, seconds, script, fields, arguments)
    cpu = server.cpu() - cpu
    if told["errors"] or told["refused"] or not told["requests"]:
        raise Failed(f"{server.name}: {told}")
    if before:
        proof.counted(server, before, told["requests"], connections)
    # What the connections of the load held is given back.
    time.sleep(0.1)
    return cpu / told["requests"] * 1e6


def begin(peer, role, site, **settings):
    begun = time.monotonic()
    server = peers.start(peer, role, site, **settings)
    server.ours, server.took = peer in peers.OURS, (time.monotonic() - begun) * 1000
    return server


def most():
    """Connections that a process has descriptors for."""
    return confined.files() - SPARE


def connections(site, peer, points):
    for count in points:
        count = min(count, most())
        # nginx closes idle connections when it has fewer than a sixteenth free.
        server = begin(peer, "small", site, MAX_CONNECTIONS=most() if peer == "nessen" else most() * 8 // 7)
        try:
            start, before = server.resident(), proof.reading(server) if server.ours else None
            # Every connection has its turn, and the larger half of the time is not their first.
            seconds = max(1.0, 2.0 * count / RATE)
            with loads.Paced(server.port, RATE, seconds, count, "/", count // SHARE + 1, BURST) as load:
                cpu = server.cpu()
                told = load.go()
                cpu = server.cpu() - cpu
                if told["failed"] or told["answered"] != told["sent"]:
                    raise Failed(f"{server.name}, {count} connections: {told}")
                time.sleep(SETTLED)
                resident = server.resident()
                if before:
                    proof.counted(server, before, told["answered"], 0)
                    if proof.series(server, "http_connections_active") < count:
                        raise Failed(f"{server.name} does not hold {count} connections")
        finally:
            server.stop()
        yield {"at": count, "cpu": cpu / told["answered"] * 1e6, "resident": resident, "start": start, "p99": told["p99"]}


def headers(site, peer, points):
    server = begin(peer, "small", site)
    try:
        for count in points:
            # wrk sends Host of itself.
            fields = [f"X-Field-{number:02}: a value of some bytes" for number in range(count - 1)]
            start = server.resident()
            yield {"at": count, "cpu": fast(server, site, 1, fields=fields), "resident": server.resident(), "start": start}
    finally:
        server.stop()


def routed(site, peer, total, asked, scrapes=False):
    """A server with so many routes, of which `asked` are asked in turn."""
    table = "".join(f'[[route]]\npath="/r{number}"\nrespond={{status=200,body="{peers.TEXT}"}}\n' for number in range(total))
    locations = "".join(f'location /r{number} {{ return 200 "{peers.TEXT}"; }}\n' for number in range(total))
    server = begin(peer, "small", site, routes=table, locations="location / { return 200; }\n" + locations, total=total)
    try:
        start = server.resident()
        cpu = fast(server, site, 1, site.put("turns.lua", TURNS), arguments=["routes", str(asked), str(total)])
        return {"cpu": cpu, "resident": server.resident(), "start": start, "took": server.took} | (scraped(server) if scrapes else {})
    finally:
        server.stop()


def scraped(server, times=3):
    """What a scrape of /metrics costs: milliseconds of CPU, and lines."""
    cpu = server.cpu()
    for _ in range(times):
        lines = len(proof.text(server).splitlines())
    return {"scrape": (server.cpu() - cpu) / times * 1000, "lines": lines}


def routes(site, peer, points):
    for count in points:
        yield {"at": count} | routed(site, peer, count, min(count, SPREAD))


def series(site, peer, points):
    for count in points:
        yield {"at": count} | routed(site, peer, max(points), count, scrapes=True)


def clients(site, peer, points):
    before = "set_real_ip_from 127.0.0.1; real_ip_header X-Forwarded-For;"
    for count in points:
        server = begin(peer, "limited", site, before=before, TRUSTED_PROXIES="127.0.0.1", RATE_LIMIT_MAX_KEYS=200_000)
        try:
            start, script, arguments = server.resident(), site.put("turns.lua", TURNS), ["clients", str(count)]
            if count > 1000:
                # All of them are there before it counts.
                fast(server, site, 1 + count // 30_000, script, arguments=arguments)
            cpu = fast(server, site, 1, script, arguments=arguments)
            if server.ours and proof.series(server, "nessen_rate_limit_keys") < count:
                raise Failed(f"{server.name} does not track {count} clients")
            yield {"at": count, "cpu": cpu, "resident": server.resident(), "start": start}
        finally:
            server.stop()


BOTH = ("nessen", "nginx")
def alternately(curve, site, names, points):
    """(peer, point) of each in turn: what the machine does meanwhile meets them all."""
    under_way = {name: curve.measure(site, name, points) for name in names}
    try:
        while under_way:
            for name in list(under_way):
                point = next(under_way[name], None)
                if point is None:
                    del under_way[name]
                else:
                    yield name, point
    finally:
        for measuring in under_way.values():
            measuring.close()


CURVES = (
    Curve("connections", "open connections, asked in turn", (10, 100, 1000, 5000, 10_000, 20_000), BOTH, connections),
    Curve("headers", "header fields of a request", (1, 2, 5, 10, 20, 50, 100), BOTH, headers),
    Curve("routes", "routes", (1, 10, 100, 1000, 10_000), ("nessen", "library", "nginx"), routes),
    Curve("clients", "clients tracked by the rate limit", (10, 100, 1000, 10_000, 100_000), BOTH, clients),
    Curve("series", "routes that were asked, of as many as a file may have", (10, 100, 1000, 10_000), ("nessen",), series),
)
BY_NAME = {curve.name: curve for curve in CURVES}
