"""Replicas side by side on one machine, each with as many connections as it may have: what they hold, and what one more costs."""
import os, re, signal, time

import confined
from rounds import Failed

from . import growing, loads, peers, proof, sizing

ROUND = 60              # seconds in which every connection asks once
QUIET = 2.0             # seconds until idle connections cost what they cost
ROOM = 100              # connections that a replica may have besides, for who looks at it: at the last one, an idle one makes room
AT_WORK = 8_192         # connections that have just asked: all of a replica come within a second
LATE = 64               # requests that may be under way at the end


def slab():
    """Bytes of the kernel's own objects: sockets, files, their entries of epoll. Both ends of a connection are in it."""
    return int(re.search(r"^Slab:\s+(\d+)", confined.read("/proc/meminfo"), re.MULTILINE).group(1)) * 1024


def free():
    return int(re.search(r"^MemAvailable:\s+(\d+)", confined.read("/proc/meminfo"), re.MULTILINE).group(1)) * 1024


def new_connections(site, seconds, rounds, say):
    """CPU µs of a connection that is opened, asks once and is closed."""
    server, found = growing.begin("nessen", "small", site), []
    try:
        for number in range(rounds + 1):
            cpu = growing.fast(server, site, seconds, fields=["Connection: close"])
            if number:
                found.append(cpu)
        proof.limits(server)
    finally:
        server.stop()
    say(f"a new connection with one request: {sorted(found)[len(found) // 2]:.1f} us")
    return found


class Replica:
    """A server, and the clients that hold its connections."""

    def __init__(self, site, connections, seconds):
        self.server = growing.begin("nessen", "small", site, MAX_CONNECTIONS=connections + ROOM, MEMORY_BUDGET=sizing.budget(connections, AT_WORK),
                                    IDLE_TIMEOUT="1h")
        self.at_start, self.load = self.server.resident(), None
        try:
            self.load = loads.Paced(self.server.port, connections / ROUND, seconds, connections, "/", connections // growing.SHARE + 1,
                                   asked=True)
        except BaseException:
            self.stop()
            raise

    def stop(self):
        if self.load:
            self.load.__exit__()
        self.server.stop()


def together(replicas):
    """All clients ask, each connection in its turn; what became of it."""
    before = [(replica.server.cpu(), proof.reading(replica.server)) for replica in replicas]
    for replica in replicas:
        replica.load.begin()
    told = [replica.load.told() for replica in replicas]
    cpu = sum(replica.server.cpu() - was for replica, (was, _) in zip(replicas, before))
    if any(one["failed"] or one["answered"] != one["sent"] for one in told):
        raise Failed(f"not all were answered: {told}")
    for replica, (_, was), one in zip(replicas, before, told):
        proof.counted(replica.server, was, one["answered"], LATE)
    return {"answered": sum(one["answered"] for one in told), "cpu": cpu}


def drained(replica):
    """Seconds from SIGTERM to the end of a replica with all its connections idle."""
    begun = time.monotonic()
    replica.server.process.send_signal(signal.SIGTERM)
    code = replica.server.process.wait(timeout=120)
    if code:
        raise Failed(f"a replica with idle connections ended with {code}")
    return time.monotonic() - begun


def measure(site, count, connections, seconds, say):
    """Bytes and times of a fleet; the replicas are there at one time."""
    before, replicas = slab(), []
    try:
        for number in range(count):
            replicas.append(replica := Replica(site, connections, seconds))
            replica.load.__enter__()
            held = proof.series(replica.server, "http_connections_active")
            if held < connections:
                raise Failed(f"replica {number + 1} holds {held:.0f} connections of {connections}")
            say(f"replica {number + 1} of {count}: {(number + 1) * connections} connections, {free() / 2**30:.1f} GiB of the machine are free")
            if free() < 2 << 30:
                raise confined.Missing(f"the machine's memory ends with {(number + 1) * connections} connections: fewer --replicas")
        time.sleep(QUIET)
        kernel = slab() - before
        idle = [replica.server.resident() for replica in replicas]
        found = together(replicas)
        time.sleep(QUIET)
        # Everyone is still there.
        held = sum(proof.series(replica.server, "http_connections_active") for replica in replicas)
        if held < count * connections:
            raise Failed(f"{held:.0f} connections of {count * connections} are left")
        return found | {"replicas": count, "each": connections, "seconds": seconds, "round": ROUND, "start": [replica.at_start for replica in replicas],
                        "idle": idle, "asked": [replica.server.resident() for replica in replicas], "kernel": kernel / 2,
                        "drain": drained(replicas[0])}
    finally:
        for replica in replicas:
            replica.stop()
