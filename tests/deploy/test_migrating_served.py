"""The five services of docs/migrating.md on the real binary, each under its own manifest's environment:
probes, limits, rate limits, and what passes through to the application."""

import http.client
import json
import socket
import time

import pytest
from support import pod
from support.migration import NAMES, PROXIED, each, migration  # noqa: F401
from support.waiting import eventually

ALERTS = {
    "version": "4",
    "groupKey": '{}:{alertname="PodCrashLooping", cluster="eu-1", namespace="shop"}',
    "truncatedAlerts": 0,
    "status": "firing",
    "receiver": "tarka",
    "groupLabels": {"alertname": "PodCrashLooping", "cluster": "eu-1", "namespace": "shop"},
    "commonLabels": {"alertname": "PodCrashLooping", "severity": "critical"},
    "commonAnnotations": {"summary": "pod restarts — größer als 5 in 10m"},
    "externalURL": "http://alertmanager.monitoring:9093",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "PodCrashLooping", "pod": "shop-0", "severity": "critical"},
            "annotations": {"description": "back-off \"restarting\" <container> & so on"},
            "startsAt": "2026-11-21T10:00:00.000Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus:9090/graph?g0.expr=rate%28x%5B5m%5D%29",
            "fingerprint": "8a7a5d9b6f0c1d2e",
        }
    ],
}


@each(*NAMES)
def test_every_probe_of_the_manifest_is_answered(migration):
    """By Nessen: the application, too, answers everything."""
    server = migration.serve()
    for path in pod.probes(migration.container).values():
        status, _, text = server.get(path)
        assert (status, json.loads(text)["state"]) == (200, "RUNNING"), path


@each(*PROXIED)
def test_not_ready_while_the_application_says_that_it_is_not(migration):
    """By the very path that the application's own container is probed on."""
    (app,) = pod.pod_spec(migration.manifest)["initContainers"]
    migration.app.unready.add(pod.probes(app)["readinessProbe"])
    server = migration.serve(status=503)
    probes = pod.probes(migration.container)
    eventually(lambda: "503" in server.get(probes["readinessProbe"])[2], "it tells what the application says")
    assert server.get(probes["livenessProbe"])[0] == 200


@each(*PROXIED)
def test_what_the_application_answers_on_operators_paths_stays_its_own(migration):
    server = migration.serve()
    assert server.get("/metrics")[2] == "app_metric 1\n"
    for path in ("/version", "/api/health"):
        assert json.loads(server.get(path)[2]) == {"app": path}
    assert "http_requests_total" in server.get("/metrics", admin=True)[2]
    assert json.loads(server.get("/version", admin=True)[2])["version"]


@each("talos")
def test_without_a_port_for_operators_they_are_nessens_on_the_services_port(migration):
    server = migration.serve(without=("ADMIN_PORT", "NESSEN_ADMIN_HOST"))
    version = json.loads(server.get("/version")[2])
    assert {"version", "revision", "build_time"} <= version.keys(), version
    assert "http_requests_total" in server.get("/metrics")[2]
    assert not migration.app.asked("/version") and not migration.app.asked("/metrics")


# Limits, in the units of the documents.


@pytest.mark.parametrize(
    ("migration", "limit", "path"),
    [("nessen", 1048576, "/echo"), ("tracehound", 1048576, "/api"), ("tarka", 10485760, "/alerts")],
    indirect=["migration"],
)
def test_a_body_of_the_limit_passes_and_one_byte_more_is_413(migration, limit, path):
    server = migration.serve()
    assert str(limit) in (migration.values.get(name) for name in ("MAX_BODY_SIZE", "TRACEHOUND_MAX_PAYLOAD_SIZE"))
    assert server.get(path, method="POST", body=b"x" * limit)[0] == 200
    status, _, text = server.get(path, method="POST", body=b"x" * (limit + 1))
    assert (status, json.loads(text)["code"]) == (413, "BODY_TOO_LARGE")
    # A body whose length is not told in advance, too.
    status, _, text = server.get(path, method="POST", body=iter([b"x" * (limit + 1)]), headers={"Transfer-Encoding": "chunked"})
    assert (status, json.loads(text)["code"]) == (413, "BODY_TOO_LARGE")


@each("nessen")
def test_the_url_may_have_as_many_bytes_as_it_says(migration):
    server = migration.serve()
    limit = 8192
    assert migration.values["MAX_URL_LENGTH"] == str(limit)
    assert server.get("/?" + "x" * (limit - 2))[0] == 200
    assert server.get("/?" + "x" * (limit - 1))[0] == 414


@each("nessen")
def test_the_headers_may_have_as_many_bytes_as_it_says(migration):
    server = migration.serve()
    limit = 16384
    assert migration.values["MAX_HEADER_SIZE"] == str(limit)
    assert server.get("/", headers={"X-Long": "x" * (limit - 1024)})[0] == 200
    assert server.get("/", headers={"X-Long": "x" * limit})[0] == 431


@each("nessen", "talos")
def test_the_request_timeout_counts_milliseconds(migration):
    """A hundredth of what the manifest says, and an application that does not answer."""
    timeout = int(migration.values["REQUEST_TIMEOUT"]) // 100
    server = migration.proxying(REQUEST_TIMEOUT=timeout)
    began = time.monotonic()
    status, _, text = server.get("/hold")
    assert (status, json.loads(text)["code"]) == (504, "UPSTREAM_TIMEOUT")
    assert timeout / 1000 <= time.monotonic() - began < timeout / 1000 + 2


@each("tracehound")
def test_the_rate_limit_of_the_config_map_holds(migration):
    server = migration.serve()
    allowed = int(migration.values["TRACEHOUND_RATE_LIMIT_MAX_REQUESTS"])
    per_second = allowed / (int(migration.values["TRACEHOUND_RATE_LIMIT_WINDOW_MS"]) / 1000)
    connection = http.client.HTTPConnection(server.address)

    def ask(client):
        connection.request("GET", "/", headers={"X-Forwarded-For": client})
        answer = connection.getresponse()
        return answer, answer.read()

    began, count = time.monotonic(), 0
    while (answer := ask("203.0.113.1"))[0].status == 200:
        count += 1
    assert allowed <= count <= allowed + (time.monotonic() - began) * per_second + 1
    assert answer[0].status == 429 and json.loads(answer[1])["code"] == "RATE_LIMITED"
    block = int(migration.values["TRACEHOUND_RATE_LIMIT_BLOCK_MS"]) // 1000
    assert block - 5 <= int(answer[0].headers["Retry-After"]) <= block
    assert answer[0].headers["RateLimit-Policy"] and answer[0].headers["RateLimit"]
    # The same proxy, another client.
    assert ask("203.0.113.2")[0].status == 200
    eventually(lambda: "nessen_rate_limit_blocked_sources 1\n" in server.get("/metrics", admin=True)[2], "one is blocked")
    # Probes are never refused.
    assert server.get("/readyz", headers={"X-Forwarded-For": "203.0.113.1"})[0] == 200


# What passes through.


@each("tarka")
def test_alertmanagers_payload_reaches_the_receiver_byte_for_byte(migration):
    server = migration.serve()
    body = json.dumps(ALERTS, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "Alertmanager/0.28.1"}
    status, answered, text = server.get("/alerts", method="POST", body=body, headers=headers)
    assert (status, json.loads(text)) == (200, {"app": "/alerts"})
    ((method, path, got, received),) = migration.app.asked("/alerts")
    assert (method, path, received) == ("POST", "/alerts", body)
    assert {name: got[name] for name in headers} == headers
    assert got["Content-Length"] == str(len(body)) and got["Host"] == server.address


@each("talos")
def test_a_trace_goes_on_through_nessen(migration):
    server = migration.serve()
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert server.get("/mcp/x", headers={"traceparent": trace})[0] == 200
    ((_, _, got, _),) = migration.app.asked("/mcp/x")
    # The same trace, with Nessen's span between.
    assert got["traceparent"].split("-")[1] == trace.split("-")[1] and got["traceparent"] != trace


@each("traversion")
def test_websockets_pass_and_are_counted(migration):
    server = migration.serve()
    host, port = server.address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(
            b"GET /ws HTTP/1.1\r\nHost: ws.traversion.company.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        assert head.startswith(b"HTTP/1.1 101 ") and b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
        client.sendall(b"\x81\x85\x00\x00\x00\x00hello")
        assert client.recv(4096) == b"\x81\x85\x00\x00\x00\x00hello"
        assert "nessen_tunnels_active 1\n" in server.get("/metrics", admin=True)[2]
    eventually(lambda: "nessen_tunnels_active 0\n" in server.get("/metrics", admin=True)[2], "the tunnel ends")
