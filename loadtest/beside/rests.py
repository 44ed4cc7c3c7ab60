"""What is not told by requests as fast as they are answered: the wait at a fixed rate, idle connections, the start, sizes."""
import os, shutil, socket, subprocess, time

import siege
from rounds import LOAD_CORE, SERVER_CORE, Failed, ask

from . import loads, peers, proof

CROWD = 250     # connections from one address: fewer than limits.max_connections_per_ip
PACE = 1000     # idle connections a second
QUIET = 1.5     # seconds until an idle connection costs what it costs


def latency(rate, names, site, rounds, seconds, say):
    """{peer: {"runs": [...]}}: what requests wait at a fixed rate, over 64 connections."""
    servers, runs = {}, {name: [] for name in names}
    try:
        for name in names:
            servers[name] = peers.start(name, "small", site)
            # What else the machine does would take a turn of milliseconds on its core now and then.
            siege.ahead(servers[name].process.pid)
        for number in range(rounds + 1):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                with loads.Paced(servers[name].port, rate, seconds if number else 1, 64) as load:
                    told = load.go()
                if told["failed"] or told["answered"] != told["sent"]:
                    raise Failed(f"{servers[name].name} at {rate} requests/s: {told}")
                if number:
                    runs[name].append(told)
            say(f"{rate} requests/s: round {number} of {rounds}")
        for name in set(names) & set(peers.OURS):
            if proof.reading(servers[name])["requests"] < sum(run["answered"] for run in runs[name]):
                raise Failed(f"{servers[name].name} did not count every request")
            proof.limits(servers[name])
    finally:
        for server in servers.values():
            server.stop()
    return {name: {"runs": runs[name]} for name in names}


class Idle:
    """Connections that have each asked once, from as many addresses as a limit on one client wants."""

    def __init__(self, port):
        self.port, self.held = port, []

    def grow(self, count, quiet):
        begun = time.monotonic()
        for number in range(count):
            source = f"127.0.1.{len(self.held) // CROWD + 1}"
            connection = socket.create_connection(("127.0.0.1", self.port), timeout=5, source_address=(source, 0))
            self.held.append(connection)
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            got = connection.recv(4096)
            if not got.startswith(b"HTTP/1.1 200"):
                raise Failed(f"connection {len(self.held)} is answered {got[:40]}")
            time.sleep(max(0.0, begun + (number + 1) / PACE - time.monotonic()))
        time.sleep(quiet)

    def close(self):
        for connection in self.held:
            connection.close()


def idle(names, site, count, quiet, say):
    """{peer: {"start", "before", "after", "count"}}: bytes resident. The first connections are not in the difference: they
    are what the allocator grows for."""
    found, first = {}, max(1, count // 7)
    for name in names:
        server = peers.start(name, "small", site)
        connections = Idle(server.port)
        try:
            time.sleep(0.3)
            at_start = server.resident()
            connections.grow(first, quiet)
            before = server.resident()
            connections.grow(count, quiet)
            after = server.resident()
            if name == "nessen":
                if proof.series(server, "http_connections_active") < first + count:
                    raise Failed(f"{server.name} holds fewer connections than were opened")
                proof.limits(server)
        finally:
            connections.close()
            server.stop()
        found[name] = {"start": at_start, "before": before, "after": after, "count": count, "first": first}
        say(f"idle: {server.name}: {(after - before) / count / 1024:.2f} KiB")
    return found


def starts(names, site, times, say):
    """{peer: {"runs": milliseconds from before the process is there to the first 200}}."""
    found = {name: [] for name in names}
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CORE})
    for number in range(times):
        for name in names:
            path = "/ready" if name in peers.OURS else "/"
            found[name].append(time_to_first(name, path, site))
    os.sched_setaffinity(0, before)
    say("start: " + ", ".join(f"{peers.LABELS[name]} {sorted(all_)[len(all_) // 2]:.1f} ms" for name, all_ in found.items()))
    return {name: {"runs": all_} for name, all_ in found.items()}


def time_to_first(name, path, site):
    command, env, port = peers.command(name, "small", site)
    process, begun = None, time.monotonic()
    try:
        process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=site.errors,
                                   preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}))
        while time.monotonic() < begun + 10:
            try:
                if ask(port, path)[0] == 200:
                    return (time.monotonic() - begun) * 1000
            except OSError:
                if process.poll() is not None:
                    break
            time.sleep(0.0002)
        raise Failed(f"{peers.LABELS[name]} did not start")
    finally:
        if process:
            process.kill()
            process.wait()


def sizes(binary, image):
    """Bytes of the binary and of the image, or why there is no image to look at."""
    found = {"binary": os.path.getsize(binary)}
    if not shutil.which("docker"):
        return found | {"why": "docker is not installed"}
    told = subprocess.run(["docker", "image", "inspect", "--format", "{{.Size}}", image], capture_output=True, text=True)
    if told.returncode == 0:
        return found | {"image": int(told.stdout), "name": image}
    engine = subprocess.run(["docker", "info"], capture_output=True).returncode == 0
    return found | {"why": f"there is no image {image} (docker build -t {image} .)" if engine else "no Docker engine answers"}


