"""A mixed load: fast clients by wrk and h2load, large bodies, and all the slow ones, beside probes."""

import asyncio
import contextlib
import re
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from support.client import ask

NEARLY_1_MIB = 1000 * 1024
POST = f'wrk.method = "POST"\nwrk.path = "/echo"\nwrk.body = string.rep("x", {NEARLY_1_MIB})\n'
REASONS = ("headers_timeout", "body_too_slow", "overloaded")


class Mixed:
    """Slow heads, slow bodies that hold what they have sent, readers that do not read; each comes again when
    it is thrown out."""

    SLOW = {"head": 40, "body": 40, "trickle": 30, "reader": 30}

    def __init__(self, port):
        self.port, self.slow_connections = port, 0
        self.probes, self.outputs = [], []

    def run(self, seconds):
        self.end = time.monotonic() + seconds
        url = f"http://127.0.0.1:{self.port}/"
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder, "post.lua")
            script.write_text(POST)
            commands = [
                ["wrk", "-t1", "-c64", f"-d{seconds}", "-H", "Accept-Encoding: gzip", url],
                ["wrk", "-t1", "-c16", f"-d{seconds}", "-s", str(script), url],
                ["h2load", "-c16", "-m32", f"-D{seconds}", url],
            ]
            running = [subprocess.Popen(it, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for it in commands]
            slow = threading.Thread(target=lambda: asyncio.run(self._slow_clients()), daemon=True)
            slow.start()
            try:
                self._probe_until_the_end()
                self.outputs = [process.communicate(timeout=60)[0] for process in running]
            finally:
                for process in running:
                    process.kill()
            slow.join(60)

    def _probe_until_the_end(self):
        """As an orchestrator does, once a second."""
        while time.monotonic() < self.end:
            start = time.monotonic()
            try:
                status = ask(self.port, "/health", timeout=10).status
            except OSError as error:
                status = str(error)
            self.probes.append((status, time.monotonic() - start))
            time.sleep(max(0, start + 1 - time.monotonic()))

    async def _slow_clients(self):
        each = [getattr(self, f"_{kind}") for kind, count in self.SLOW.items() for _ in range(count)]
        with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.gather(*map(self._again_and_again, each)), self.end - time.monotonic())

    async def _again_and_again(self, kind):
        while True:
            with contextlib.suppress(OSError):
                # A small window, so that what is not read stays with the server.
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1024)
                self.slow_connections += 1
                try:
                    await kind(reader, writer)
                finally:
                    writer.close()
            await asyncio.sleep(0.2)

    async def _send_slowly(self, reader, writer, piece):
        while not reader.at_eof():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(1)

    async def _head(self, reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        await self._send_slowly(reader, writer, b"X-Slow: 1\r\n")

    async def _body(self, reader, writer):
        """Nearly all of it at once, and the rest just fast enough to be allowed."""
        writer.write(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (1024 * 1024))
        writer.write(bytes(NEARLY_1_MIB - 64 * 1024))
        await self._send_slowly(reader, writer, bytes(1024))

    async def _trickle(self, reader, writer):
        writer.write(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n")
        await self._send_slowly(reader, writer, b"x")

    async def _reader(self, _reader, writer):
        """Asks for a megabyte back, and does not take it."""
        writer.write(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % NEARLY_1_MIB)
        writer.write(bytes(NEARLY_1_MIB))
        await asyncio.sleep(20)

    def answered(self):
        """Requests of the fast clients that were served: 2xx."""
        served = 0
        for output in self.outputs:
            of_wrk, of_h2load = re.search(r"(\d+) requests in", output), re.search(r"status codes: (\d+) 2xx", output)
            not_served = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
            served += int((of_wrk or of_h2load).group(1)) - (int(not_served.group(1)) if not_served else 0)
        return served

    def refused(self):
        """How often each reason was given."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=10) as answer:
            lines = re.findall(r'^nessen_rejections_total\{reason="(\w+)"\} (\d+)$', answer.read().decode(), re.M)
        return {reason: int(count) for reason, count in lines if count != "0"}

    def report(self):
        times = sorted(seconds for _, seconds in self.probes)
        return (
            f"{self.answered()} requests of fast clients served, {self.slow_connections} slow connections; "
            f"{len(times)} probes, {self.missed().count(True)} missed, the slowest {times[-1] * 1000:.0f} ms; refused: {self.refused()}"
        )

    def missed(self):
        """Of each probe whether it failed."""
        return [status != 200 for status, _ in self.probes]

    def must_have_been_felt(self):
        """A load that nobody noticed shows nothing."""
        assert self.answered() > 1000, self.outputs
        refused = self.refused()
        assert not (missing := [reason for reason in REASONS if not refused.get(reason)]), (missing, refused)


def peak_memory(pid):
    """The most that a process was resident, in bytes; None where the engine's processes are not to be seen."""
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        return int(found.group(1)) * 1024 if found else None
    return None
