"""The drain of the five services of docs/migrating.md: what is in flight is finished, within their
own variables, and the exit code says so."""

import json
import socket
import threading
import time

import pytest
from support import pod
from support.migration import NAMES, each, migration  # noqa: F401
from support.waiting import eventually


def connect(server):
    host, port = server.address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=15)


def closed(server):
    """Whether the listener is closed: the drain delay is over."""
    try:
        connect(server).close()
    except ConnectionRefusedError:
        return True
    return False


def read_to_the_end(connection):
    received = b""
    while data := connection.recv(65536):
        received += data
    return received.decode()


class Held:
    """A request that the application holds back until it may be released, and its answer."""

    def __init__(self, server, app):
        self.answer = None

        def ask():
            try:
                self.answer = server.get("/hold", timeout=60)
            except OSError as error:
                self.answer = error

        self.thread = threading.Thread(target=ask, daemon=True)
        self.thread.start()
        assert app.held.acquire(timeout=10), "the request did not reach the application"

    def end(self):
        self.thread.join(30)
        return self.answer


@each(*NAMES)
def test_a_replaced_pod_serves_on_and_finishes_what_is_in_flight(migration):
    server = migration.proxying()
    probes, held = pod.probes(migration.container), Held(server, migration.app)
    began = time.monotonic()
    server.signal()
    eventually(lambda: server.get(probes["readinessProbe"])[0] == 503, "not ready")
    assert server.get(probes["livenessProbe"])[0] == 200
    status, headers, _ = server.get("/late")
    assert (status, headers["Connection"]) == (200, "close"), "served within the delay, told to go elsewhere"
    eventually(lambda: closed(server), "the listener closes")
    assert time.monotonic() - began > 4, "DRAIN_DELAY is 5 s"
    assert held.answer is None
    migration.app.release.set()
    assert held.end()[0] == 200
    assert server.wait(5) == 0


@pytest.mark.parametrize(
    "migration, variable, value",
    [(name, "SHUTDOWN_TIMEOUT", "1000") for name in NAMES if name != "talos"]
    + [("talos", "SHUTDOWN_DRAIN_TIMEOUT_SECONDS", "1")],
    indirect=["migration"],
)
def test_what_outlasts_the_drain_is_cut_off_and_the_exit_code_says_so(migration, variable, value):
    server = migration.proxying(DRAIN_DELAY="0", **{variable: value})
    held = Held(server, migration.app)
    began = time.monotonic()
    server.signal()
    assert server.wait(10) == 3
    assert 1 <= time.monotonic() - began < 3
    assert isinstance(held.end(), OSError), "a connection that ends, not an answer"


@each("talos")
def test_the_gate_answers_server_shutting_down_while_the_process_lives(migration):
    """talos: once the gate is active new requests get 503 SERVER_SHUTTING_DOWN, and liveness goes on."""
    # More connections than the burst, all from one client.
    server = migration.serve(DRAIN_DELAY="0", RATE_LIMIT_ENABLED="false")
    held = Held(server, migration.app)
    open_ones = [kept_with_half_a_head(server) for _ in range(100)]
    server.signal()
    eventually(lambda: closed(server), "the listener closes")
    assert server.get("/health/live", admin=True)[0] == 200
    assert server.get("/health/ready", admin=True)[0] == 503

    # For a moment what was on its way is served.
    answers = iter(open_ones)
    head, _, body = eventually(lambda: refused(next(answers)), "a request is refused").partition("\r\n\r\n")
    assert "connection: close" in head.lower()
    assert json.loads(body)["code"] == "SERVER_SHUTTING_DOWN"
    for connection in open_ones:
        connection.close()
    migration.app.release.set()
    assert held.end()[0] == 200
    assert server.wait(5) == 0


def kept_with_half_a_head(server):
    """A connection that has had an answer, and on which the next request has begun."""
    connection = connect(server)
    connection.sendall(b"GET /first HTTP/1.1\r\nHost: talos.example.com\r\n\r\n")
    assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    connection.sendall(b"GET /late HTTP/1.1\r\n")
    return connection


def refused(connection):
    """Ends the head; the answer, if it is a 503."""
    connection.sendall(b"Host: talos.example.com\r\n\r\n")
    answer = read_to_the_end(connection)
    return answer if answer.startswith("HTTP/1.1 503 ") else None
