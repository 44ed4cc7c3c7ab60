"""The systemd units: known directives, a hardened service, and a filter that lets Nessen live."""

import os
import re
import shutil
import signal
import socket
import subprocess

import pytest

from support import tools
from support.server import Nessen
from support.settings import MARGIN, drain, effective, seconds

UNITS = tools.ROOT / "deploy/systemd"
SERVICE = UNITS / "nessen.service"
# systemd's own scale of 0 to 10, times ten; what is left is the network that a server is for.
EXPOSURE = 15


def directives(path):
    """{"TimeoutStopSec": ["45s"], ...}: of one that stands several times, every value."""
    found = {}
    for line in path.read_text().splitlines():
        if line and line[0] not in "#;[":
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def one(name):
    values = directives(SERVICE)[name]
    assert len(values) == 1, name
    return values[0]


def environment():
    """nessen.env, as systemd reads it."""
    return {name: values[0] for name, values in directives(UNITS / "nessen.env").items()}


@pytest.fixture
def installed(tmp_path, binary):
    """A root with the units where their comments say, beside systemd's own."""
    systemd = next((path for path in ("/usr/lib/systemd", "/lib/systemd") if os.path.isdir(path)), None)
    if systemd is None:
        tools.absent("systemd's units are not installed")
    shutil.copytree(f"{systemd}/system", tmp_path / "usr/lib/systemd/system", symlinks=True)
    for folder in ("etc/systemd/system", "etc/nessen", "usr/local/bin", "bin"):
        (tmp_path / folder).mkdir(parents=True)
    for unit in ("nessen.service", "nessen.socket"):
        shutil.copy(UNITS / unit, tmp_path / "etc/systemd/system")
    shutil.copy(UNITS / "nessen.env", tmp_path / "etc/nessen")
    shutil.copy(binary, tmp_path / "usr/local/bin/nessen")
    shutil.copy("/bin/kill", tmp_path / "bin")
    return tmp_path


def test_systemd_knows_every_directive(installed):
    analyze = tools.need("systemd-analyze")
    done = tools.run(analyze, "verify", f"--root={installed}", "--man=no", "nessen.service", "nessen.socket")
    # An unknown key is only warned of.
    assert [line for line in (done.stdout + done.stderr).splitlines() if "nessen" in line] == []


def test_the_service_is_closed_but_for_its_network():
    analyze = tools.need("systemd-analyze")
    tools.run(analyze, "security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", SERVICE)
    assert one("CapabilityBoundingSet") == "" and one("AmbientCapabilities") == ""


def test_the_environment_is_known_and_the_drain_fits_before_the_kill(binary):
    values = effective(binary, environment())
    assert seconds(one("TimeoutStopSec")) >= drain(values) + MARGIN
    assert one("EnvironmentFile") == "/etc/nessen/nessen.env", "a path without -: a missing file is an error"
    assert one("KillSignal") == "SIGTERM"


def test_the_listener_is_the_port_of_the_environment(binary):
    listener = directives(UNITS / "nessen.socket")
    assert listener["ListenStream"] == [effective(binary, environment())["server.port"]]
    assert listener["FileDescriptorName"] == ["http"]


def test_what_cannot_get_better_is_not_started_again(binary):
    prevented = set(one("RestartPreventExitStatus").split())
    usage = tools.run(binary, "serve", "--no-such-flag", check=False)
    wrong = tools.run(binary, "serve", check=False, env={"PORT": "no number"})
    assert {str(usage.returncode), str(wrong.returncode)} == {"2", "78"}
    assert prevented == {"2", "3", "78"}
    assert "SuccessExitStatus" not in directives(SERVICE), "work that was cut off is no success"


def test_a_reload_is_checked_before_it_is_asked_for():
    assert directives(SERVICE)["ExecReload"] == ["/usr/local/bin/nessen check", "/bin/kill -HUP $MAINPID"]


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
            client.sendall(b"GET /health HTTP/1.1\r\nHost: nessen\r\nConnection: close\r\n\r\n")
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
