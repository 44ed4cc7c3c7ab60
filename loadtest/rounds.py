"""What the scripts that measure share: servers on one core, load on another, and what a server has taken."""
import argparse, os, re, socket, subprocess, time

import confined, counters

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]
PATIENCE = 10.0  # seconds until a server answers


class Failed(Exception):
    """A request failed, or something was not as it has to be for the figures to mean anything."""


# What ends a case without a figure, and not the others.
ENDS = (Failed, OSError, confined.Missing, counters.Unreadable)


def whole(low, high):
    """For an argument: a whole number from one to the other."""
    def check(text):
        if not (text.isdecimal() and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(f"{text}: allowed is {low} to {high}")
        return int(text)
    return check


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port, path="/", fields="", patience=5.0):
    """The status of one GET and its answer, head and body; OSError where there is none."""
    with socket.create_connection(("127.0.0.1", port), timeout=patience) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n".encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    if not answer.startswith(b"HTTP/1.1 "):
        raise OSError(f"no answer of HTTP/1.1: {answer[:40]}")
    return int(answer[9:12]), answer.decode("utf-8", "replace")


def pin(core):
    """For a child, between fork and exec."""
    def now():
        os.sched_setaffinity(0, {core})
        confined.raise_files()
    return now


class Server:
    """A process on one core that listens on a port."""

    def __init__(self, name, command, port, env=None, stdout=subprocess.DEVNULL, core=SERVER_CORE, http1=True, errors=None):
        self.name, self.port, self.errors = name, port, errors
        self.process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=errors or subprocess.DEVNULL,
                                        preexec_fn=pin(core))
        until = time.monotonic() + PATIENCE
        while not self.answers(http1):
            if self.process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise Failed(f"{name} did not start: {self.said()}")
            time.sleep(0.001)

    def answers(self, http1):
        try:
            if http1:
                ask(self.port)
            else:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            return True
        except OSError:
            return False

    def said(self):
        """The end of what it wrote to its standard error."""
        return confined.read(self.errors.name, "").strip()[-500:] if self.errors else "it wrote to nobody"

    def cpu(self):
        """Seconds of CPU that its threads have taken, by the kernel's own clock of the process, in nanoseconds: the ticks of
        /proc/PID/stat are of 10 ms."""
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def resident(self):
        """Bytes."""
        return int(re.search(r"^VmRSS:\s+(\d+)", confined.read(f"/proc/{self.process.pid}/status"), re.MULTILINE).group(1)) * 1024

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
