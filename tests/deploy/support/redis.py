"""A Redis of its own, on a port of its own."""

import socket
import subprocess
import time

from support import pod, tools


class Redis:
    """One redis-server on loopback, that keeps nothing."""

    def __init__(self, folder):
        self.port = pod.free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        command = [tools.need("redis-server"), "--bind", "127.0.0.1", "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, "--save", "", "--dir", str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while self.ask("PING") != "+PONG":
            assert time.monotonic() < deadline and self.process.poll() is None, "redis-server does not start"
            time.sleep(0.02)

    def ask(self, line):
        """The first line of the answer to an inline command; None where there is none."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(line.encode() + b"\r\n")
                return connection.makefile().readline().strip()
        except OSError:
            return None

    def stop(self):
        self.process.kill()
        self.process.wait()
