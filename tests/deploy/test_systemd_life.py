"""Nessen under its units: the filter lets it live, and it speaks with systemd as they say."""

import os
import re
import signal
import socket
import subprocess

import pytest

from support import tools
from support.server import Nessen
from support.units import SERVICE, UNITS, directives, one

# What a life of the server does: files, names, a proxy, a check, a reload, a drain.
LIFE = """
[[route]]
path = "/files"
root = "{folder}"

[[route]]
path = "/unknown"
upstream = "http://nessen.example:1"
connect_timeout = "200ms"

[[check]]
name = "application"
tcp = "{application}"
"""


class Notices:
    """The socket that systemd would read what a service says of itself from."""

    def __init__(self, folder):
        self.path = f"{folder}/notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(10)

    def wait(self, state):
        while True:
            lines = self.socket.recv(4096).decode().splitlines()
            if state in lines:
                return lines


@pytest.fixture
def notices(tmp_path):
    heard = Notices(tmp_path)
    yield heard
    heard.socket.close()


@pytest.fixture
def trace(tmp_path, binary, nessen, notices):
    """The system calls of one life, with the environment of the unit."""
    strace = tools.need("strace")
    application = nessen(DRAIN_DELAY="0s")
    (tmp_path / "page.txt").write_text("a page\n")
    config = tmp_path / "nessen.toml"
    config.write_text(LIFE.format(folder=tmp_path, application=application.address))
    trace = tmp_path / "trace"
    # -D: strace is the grandchild, and the process started here Nessen itself.
    server = Nessen(strace, ["-D", "-f", "-o", trace, binary, "--config", config], {
        "UPSTREAM": f"http://localhost:{application.address.rpartition(':')[2]}",
        "NOTIFY_SOCKET": notices.path, "WATCHDOG_USEC": "1000000", "DRAIN_DELAY": "0s",
    })
    try:
        server.wait_listening()
        statuses = [server.get(path)[0] for path in ("/files/page.txt", "/unknown", "/health", "/metrics", "/version")]
        assert statuses == [200, 502, 200, 200, 200]
        assert server.get("/", method="POST", body=b"x" * 100_000)[0] in (404, 405)
        server.signal(signal.SIGHUP)
        server.wait_line(lambda line: "configuration reloaded" in line)
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        # The tracer ends last, and with it the pipe.
        server.reader.join(10)
    finally:
        server.kill()
    text = trace.read_text()
    assert "exit_group" in text
    return text


def expand(names, known):
    """The system calls of groups and names, groups within groups too."""
    calls = set()
    for name in names:
        calls |= expand(known[name], known) if name.startswith("@") else {name}
    return calls


def allowed_calls():
    """What SystemCallFilter= leaves, in the order in which it is written."""
    known, group = {}, None
    for line in tools.run(tools.need("systemd-analyze"), "syscall-filter", "--no-pager").stdout.splitlines():
        if line.startswith("@"):
            group = known.setdefault(line.strip(), [])
        elif line.startswith("    ") and not line.strip().startswith("#"):
            group.append(line.strip())
        elif line.strip() == "":
            group = []
    calls = set()
    for value in directives(SERVICE)["SystemCallFilter"]:
        named = expand(value.lstrip("~").split(), known)
        calls = calls - named if value.startswith("~") else calls | named
    return calls


def test_the_filter_allows_what_nessen_calls(trace):
    called = set(re.findall(r"^\d+ +(?:<\.\.\. )?([a-z_0-9]+)(?:\(| resumed)", trace, re.MULTILINE))
    assert {"execve", "epoll_wait", "accept4", "prlimit64"} <= called, "the trace was understood"
    assert called - allowed_calls() == set()


def test_the_filter_refuses_what_it_never_calls():
    assert allowed_calls() & {"mount", "ptrace", "setuid", "chown", "bpf", "setrlimit", "kexec_load", "keyctl"} == set()


def test_its_sockets_and_memory_are_allowed(trace):
    families = set(re.findall(r"\bsocket(?:pair)?\((AF_\w+)", trace))
    assert {"AF_INET", "AF_UNIX"} <= families, "the trace was understood"
    assert families <= set(one("RestrictAddressFamilies").split())
    # MemoryDenyWriteExecute: nothing both written and run, and nothing made executable later.
    mapped = re.findall(r"\b(mmap|mprotect)\([^,]*, [^,]*, ([A-Z_|]+)", trace)
    assert mapped, "the trace was understood"
    for call, protection in mapped:
        assert "PROT_EXEC" not in protection or (call == "mmap" and "PROT_WRITE" not in protection)


def test_it_takes_its_listener_and_tells_its_state(tmp_path, binary, notices):
    """As systemd starts it: Type=notify, WatchdogSec, and nessen.socket under its name."""
    activate = tools.need("systemd-socket-activate")
    name = directives(UNITS / "nessen.socket")["FileDescriptorName"][0]
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = free.getsockname()
    given = {"NOTIFY_SOCKET": notices.path, "WATCHDOG_USEC": "1000000", "DRAIN_DELAY": "0s", "PORT": "1"}
    passed = [f"--setenv={key}={value}" for key, value in given.items()]
    command = [activate, f"--listen=127.0.0.1:{address[1]}", f"--fdname={name}", *passed, str(binary)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        # It waits for a connection before it starts the service; until it listens there is none.
        while "Listening on" not in process.stdout.readline():
            assert process.poll() is None
        with socket.create_connection(address, timeout=10) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: nessen\r\nConnection: close\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200 "), "the connection that waited is answered"
        notices.wait("READY=1")
        notices.wait("WATCHDOG=1")
        process.send_signal(signal.SIGHUP)
        assert any(line.startswith("MONOTONIC_USEC=") for line in notices.wait("RELOADING=1")), "for notify-reload"
        notices.wait("READY=1")
        process.send_signal(signal.SIGTERM)
        notices.wait("STOPPING=1")
        assert process.wait(10) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


# As systemd does it: descriptor 3, and the process that it is meant for.
HAND_OVER = 'exec 3<&"$0"; LISTEN_PID=$$; export LISTEN_PID; exec "$@"'


def test_connections_wait_in_the_socket_while_the_service_is_replaced(binary):
    name = directives(UNITS / "nessen.socket")["FileDescriptorName"][0]
    given = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": name, "DRAIN_DELAY": "0s", "PORT": "1", "PATH": os.environ["PATH"]}
    request = b"GET / HTTP/1.1\r\nHost: nessen\r\nConnection: close\r\n\r\n"
    with socket.create_server(("127.0.0.1", 0)) as held:

        def start():
            number = held.fileno()
            command = ["bash", "-c", HAND_OVER, str(number), str(binary)]
            return subprocess.Popen(command, pass_fds=[number], env=given, stdout=subprocess.DEVNULL)

        def ask():
            client = socket.create_connection(held.getsockname(), timeout=10)
            client.sendall(request)
            return client

        for _ in range(3):
            # Made while nothing runs, answered by what is started next.
            with ask() as client:
                process = start()
                try:
                    assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
                    process.send_signal(signal.SIGTERM)
                    assert process.wait(10) == 0
                finally:
                    if process.poll() is None:
                        process.kill()
                    process.wait()
