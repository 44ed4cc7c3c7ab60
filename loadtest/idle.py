#!/usr/bin/env python3
"""Resident memory of one idle keep-alive connection, after one request on it.

    cargo build --release && python3 loadtest/idle.py [CONNECTIONS]

The connections come at a pace, and those that are counted come after as many that are not, so that
the allocator's first growth is not taken for theirs. Needs as many descriptors: `ulimit -n`.
"""
import os
import resource
import socket
import subprocess
import sys
import time

BINARY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "target", "release", "nessen")
COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 3500
REQUEST = b"GET /badge/a/b.svg HTTP/1.1\r\nHost: localhost\r\n\r\n"


def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def wave(port, count, held):
    for number in range(count):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(REQUEST)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        held.append(connection)
        if number % 200 == 199:
            time.sleep(0.3)
    time.sleep(1)


def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {"HOST": "127.0.0.1", "PORT": str(port), "LOG_FORMAT": "json", "ACCESS_LOG": "off",
           "MAX_CONNECTIONS_PER_IP": "0", "DRAIN_DELAY": "0"}
    server = subprocess.Popen([BINARY], env=env, stdout=subprocess.PIPE)
    try:
        while b"listening" not in server.stdout.readline():
            pass
        at_start = resident(server.pid)
        held = []
        wave(port, COUNT, held)
        before = resident(server.pid)
        wave(port, COUNT, held)
        after = resident(server.pid)
        print(f"resident at start: {at_start} KiB")
        print(f"one idle connection: {(after - before) / COUNT:.2f} KiB "
              f"(connections {COUNT + 1} to {2 * COUNT}: {before} to {after} KiB)")
    finally:
        server.terminate()
        server.wait()


main()
