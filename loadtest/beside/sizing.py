"""How many replicas, and how large: arithmetic over what `bench` and `fleet` have measured, and the tables of docs/sizing.md.

Every constant of the server is that of docs/CONFIGURATION.md ("Memory"), which a test holds against `nessen check`.
"""
from math import ceil
from statistics import median

import page
from confined import MIB

from . import report

WAITING, WORKING = 8 << 10, 72 << 10    # bytes that limits.memory charges a connection, and one at work besides
PROCESS = 16 * MIB                      # what the process itself takes
PROBES = 64 * (40 << 10)                # set aside for connections of probes
IN_FLIGHT = 1024                        # limits.max_in_flight
PRESSURE = 3 / 4                        # of the shared memory: beyond it, idle connections are let go
SHARE = 0.7                             # of a container's limit that is limits.memory, and the process
STEP = 64 * MIB                         # container limits come in these
HPA_CPU, HPA_CONNECTIONS = 0.7, 0.7     # what a replica is to be at, of its CPU request and its connections
EACH = 20_000                           # connections of a replica at most
LIFE = 600                              # seconds that a connection lives
LOADS = (("a minute", 60), ("in 10 s", 10), ("a second", 1))
FLEETS = (10_000, 100_000, 1_000_000)


def budget(connections, in_flight=IN_FLIGHT):
    """limits.memory for so many connections that all stay, with so many at work."""
    return ceil((connections * WAITING + in_flight * WORKING) / PRESSURE) + PROBES


def container(connections, kernel):
    """The memory limit of the container: what `limits.memory = auto` takes as much of, and not less than the process and what the
    kernel holds for it. The kernel's part is charged to the container too."""
    bound = budget(connections) + PROCESS
    return ceil(max(bound / SHARE, bound + connections * kernel) / STEP) * STEP


def replicas(connections, every, cpu):
    """(by connections, by CPU, in all): so many that each is at its target, and one more, which is being replaced or has failed.

    `every`: seconds between two requests of a connection. `cpu`: seconds of a request, and of a new connection."""
    by_connections = ceil(connections / (EACH * HPA_CONNECTIONS))
    by_cpu = ceil(busy(connections, every, cpu) / HPA_CPU)
    return by_connections, by_cpu, max(by_connections, by_cpu, 2) + 1


def busy(connections, every, cpu):
    """Cores."""
    request, new = cpu
    return connections / every * request + connections / LIFE * new


def measured(bench, fleet):
    """Seconds of CPU and bytes of memory, from the results of both commands."""
    def micro(case):
        values = report.runs(bench, case, "nessen", "cpu")
        if not values:
            raise LookupError(f"loadtest/bench has not measured {case} yet")
        return median(values) / 1e6

    new, small = median(fleet["new"]) / 1e6, micro("small")
    log = max(0.0, micro("log-file") - small)
    return {"small": small, "log": log, "proxied": micro("proxy-get") + log, "new": max(0.0, new - small), "start": median(fleet["start"]),
            "idle": sum(fleet["idle"]) / fleet["replicas"], "asked": sum(fleet["asked"]) / fleet["replicas"],
            "kernel": fleet["kernel"] / fleet["replicas"] / fleet["each"], "request": fleet["cpu"] / fleet["answered"]}


def grouped(number):
    return f"{number:,.0f}".replace(",", " ")


def measured_table(bench, fleet):
    seen, all_ = measured(bench, fleet), fleet["replicas"] * fleet["each"]
    mib = lambda bytes_: f"{bytes_ / MIB:.1f} MiB"
    return "\n".join(page.table(("what", "measured", "by"), [
        ("a small answer", f"{seen['small'] * 1e6:.1f} µs of CPU", "`bench --only small`"),
        ("its line of the JSON access log", f"{seen['log'] * 1e6:.1f} µs", "`bench --only log-file`, less that"),
        ("a request through the proxy, with its line", f"{seen['proxied'] * 1e6:.1f} µs", "`bench --only proxy-get`, and the line"),
        ("a connection that is opened and closed", f"{seen['new'] * 1e6:.1f} µs", "`fleet`: one request each, less the request"),
        ("replicas at a time", f"{fleet['replicas']}", "`fleet`"),
        ("connections of each, and of all", f"{grouped(fleet['each'])}, {grouped(all_)}", "`fleet`"),
        ("resident at the start", mib(seen["start"]), "`fleet`, median"),
        ("resident with all connections idle", f"{mib(seen['idle'])} each, {fleet['replicas'] * seen['idle'] / 2**30:.2f} GiB in all", "`fleet`, mean"),
        (f"resident after {grouped(fleet['answered'])} of them have asked again", f"{mib(seen['asked'])} each", "`fleet`, mean"),
        ("what the kernel holds for a connection", f"{seen['kernel'] / 1024:.2f} KiB", "`fleet`: half of what its slabs grew by, for both ends are here"),
        (f"requests while all are open, each connection once in {fleet['round']} s",
         f"{grouped(fleet['answered'])} in {fleet['seconds']} s, none failed", "`fleet`"),
        ("CPU of one of them", f"{seen['request'] * 1e6:.1f} µs: most connections were parked and are built up again",
         f"`fleet`: {fleet['replicas']} replicas share one core with other processes"),
        ("from SIGTERM to the end of a replica", f"{fleet['drain']:.1f} s", "`fleet`: all its connections idle"),
    ]))


def fleet_table(bench, fleet):
    seen = measured(bench, fleet)
    size, rows = container(EACH, seen["kernel"]), []
    for connections in FLEETS:
        for what, every in LOADS:
            by_connections, by_cpu, all_ = replicas(connections, every, (seen["proxied"], seen["new"]))
            rows.append((grouped(connections), f"one {what}", grouped(connections / every),
                         f"{busy(connections, every, (seen['proxied'], seen['new'])):.2f}", f"{by_connections}", f"{by_cpu}", f"**{all_}**",
                         f"{all_ * size / 2**30:.1f} GiB"))
    return "\n".join(page.table(("connections", "requests of each", "requests/s", "cores busy", "replicas by connections", "by CPU", "replicas", "memory limits in all"), rows))


def replica_table(bench, fleet):
    kernel = measured(bench, fleet)["kernel"]
    rows = [(grouped(each), f"{ceil(budget(each) / MIB)}MiB", f"{container(each, kernel) // MIB}Mi", grouped(each * HPA_CONNECTIONS))
            for each in (2_000, 5_000, 10_000, EACH, 50_000)]
    return "\n".join(page.table(("limits.max_connections", "limits.memory at least", "memory limit of the container", "HPA: connections of a pod"), rows))


def sections(bench, fleet):
    return {"measured": measured_table(bench, fleet), "replica": replica_table(bench, fleet), "fleets": fleet_table(bench, fleet)}
