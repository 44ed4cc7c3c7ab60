"""What the parts share: verdicts, servers, requests."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

TARGET = os.environ.get("CARGO_TARGET_DIR", "target")
BINARY = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(TARGET, "release", "nessen"))
PATIENCE = 10  # seconds
STATUS = ["--output", os.devnull, "--write-out", "%{http_version} %{http_code}"]
PROTOCOLS = [("1.1", "--http1.1"), ("2", "--http2-prior-knowledge")]

failures = []


def check(what, holds, found=""):
    print(f"  {'ok  ' if holds else 'FAIL'} {what} {found}".rstrip(), flush=True)
    if not holds:
        failures.append(what)


def installed(program):
    """Whether there is such a program. Where all are required, a missing one is a failure."""
    if shutil.which(program):
        return True
    if os.environ.get("NESSEN_REQUIRE_ALL"):
        check(f"{program} is installed", False)
    else:
        print(f"  SKIPPED: {program} is not installed")
    return False


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(what, holds, pause=0.01):
    begun = time.monotonic()
    while not holds():
        if time.monotonic() - begun > PATIENCE:
            sys.exit(f"waited {PATIENCE} s in vain: {what}")
        time.sleep(pause)


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    except ConnectionRefusedError:
        return False


class Program:
    """A program that listens on a port of this machine, until the block is left."""

    def __init__(self, command, port, **options):
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.output = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT, **options
        )

    def __enter__(self):
        try:
            wait_until(f"{self.process.args[0]} listens", self.is_up)
        except BaseException:
            self.end()
            print(self.text())
            raise
        return self

    def is_up(self):
        if self.process.poll() is not None:
            sys.exit(f"{self.process.args[0]} ended with {self.process.returncode}:\n{self.text()}")
        return listens(self.port)

    def __exit__(self, *_):
        self.end()

    def end(self, with_signal=signal.SIGTERM):
        """Ends it, and answers its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
        try:
            return self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def text(self):
        self.output.flush()
        with open(f"/proc/self/fd/{self.output.fileno()}") as again:
            return again.read()


class Nessen(Program):
    """The binary, with these arguments and this environment, and none besides."""

    def __init__(self, *arguments, **settings):
        port = free_port()
        settings = {"HOST": "127.0.0.1", "PORT": str(port), "LOG_FORMAT": "json", "DRAIN_DELAY": "0", **settings}
        super().__init__([BINARY, *arguments], port, env=settings)

    def lines(self):
        """What it has logged so far. The last line may still be on its way."""
        return [json.loads(line) for line in self.text().splitlines(keepends=True) if line.endswith("\n")]

    def wait_line(self, **fields):
        """The first line that has all of these."""
        found = []

        def there():
            found[:] = [line for line in self.lines() if fields.items() <= line.items()]
            return bool(found)

        wait_until(f"a log line with {fields}", there)
        return found[0]


def curl(*arguments, body=None):
    command = ["curl", "--silent", "--show-error", "--noproxy", "*", "--path-as-is", "--max-time", "10", *arguments]
    return subprocess.run(command, input=body, capture_output=True).stdout.decode(errors="replace")


def status(url, *arguments):
    """The status alone, as text; 000 where there was no answer."""
    return curl("--output", os.devnull, "--write-out", "%{http_code}", *arguments, url)


def nessen(*arguments, **options):
    """A command of the binary that ends by itself."""
    return subprocess.run([BINARY, *arguments], capture_output=True, text=True, env={}, timeout=30, **options)


def check_metrics(metrics):
    if installed("promtool"):
        lint = subprocess.run(["promtool", "check", "metrics"], input=metrics, capture_output=True, text=True)
        check("promtool has nothing to say of /metrics", lint.returncode == 0, lint.stderr + lint.stdout)
