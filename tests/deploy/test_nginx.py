"""nginx/: the configuration itself, and how it serves: Debian's nginx before the binary, on loopback."""

import base64
import contextlib
import gzip
import json
import re
import select
import socket
import ssl
import time

import pytest
import yaml

from support.client import ask, read_answer, spellings
from support.client_nginx import Nginx, Recorder, copy
from support.tools import ROOT, need, run

ADDED = {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "strict-origin-when-cross-origin"}
PLAIN_AND_TLS = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


@pytest.fixture
def before(tmp_path):
    """nginx before these addresses."""
    running = []

    def start(*addresses):
        running.append(Nginx(tmp_path, [addresses[at % len(addresses)] for at in range(3)]).__enter__())
        return running[0]

    yield start
    for nginx in running:
        nginx.__exit__()


def value(conf, directive):
    """What a directive is set to, with time and size as numbers."""
    found = re.search(rf"^\s*{directive} (\S+);", (ROOT / "nginx" / conf).read_text(), re.M).group(1)
    number, unit = re.fullmatch(r"(\d+)([smhk]?)", found).groups()
    factor = {"": 1, "s": 1, "k": 1024, "m": 2**20 if "size" in directive else 60, "h": 3600}[unit]
    return int(number) * factor


def default(key):
    """The default of one of Nessen's keys, the same way."""
    page = (ROOT / "docs/CONFIGURATION.md").read_text()
    text = re.search(rf"^\| `{re.escape(key)}`[^|]*\|[^|]*\| `([^`]+)`", page, re.M).group(1)
    number, unit = re.fullmatch(r"(\d+)(\w*)", text).groups()
    return int(number) * {"": 1, "s": 1, "m": 60, "h": 3600, "KiB": 1024, "MiB": 2**20}[unit]


@PLAIN_AND_TLS
def test_nginx_takes_the_configuration_without_a_word(tmp_path, tls):
    done = run(need("nginx"), "-t", "-c", copy(tmp_path, tls=tls))
    # Since 1.25.1 nginx would have http2 otherwise, which earlier ones do not know.
    said = [line for line in done.stderr.splitlines() if "[" in line and '"listen ... http2"' not in line]
    assert said == []


@PLAIN_AND_TLS
def test_gixy_finds_nothing(tmp_path, tls):
    done = run(need("gixy"), copy(tmp_path, tls=tls))
    assert "No issues found" in done.stdout, done.stdout


def test_shellcheck_finds_nothing():
    run(need("shellcheck"), "nginx/healthcheck.sh")


def test_nginx_is_the_one_to_end_a_kept_connection():
    assert value("snippets/upstream.conf", "keepalive_timeout") < default("limits.idle_timeout")
    assert value("snippets/upstream.conf", "keepalive_requests") < default("limits.max_requests_per_connection")
    # An age is give or take 10 %.
    assert value("snippets/upstream.conf", "keepalive_time") < default("limits.max_connection_age") * 0.9


def test_the_limits_of_nginx_are_the_wider_ones():
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["nessen-1"]["environment"]
    assert compose["MAX_BODY_SIZE"] == "${MAX_BODY_SIZE:-1MiB}"
    assert value("nginx.conf", "client_max_body_size") > 2**20
    waits = value("snippets/proxy.conf", "proxy_read_timeout")
    for key in ("limits.request_timeout", "upstream.read_timeout", "upstream.tunnel_idle_timeout"):
        assert waits > default(key), key


def test_security_headers_are_there_once_whoever_answers(site):
    nginx = site()
    for target, status in (("/", 200), ("/nowhere", 404), ("/metrics", 403)):
        answer = ask(nginx.port, target)
        assert answer.status == status
        assert {name: answer.every(name) for name in ADDED} == {name: [text] for name, text in ADDED.items()}
        assert answer.every("Server") == ["nginx"] and answer.every("Strict-Transport-Security") == []


def test_what_comes_with_the_answer_is_left_as_it_is(site):
    answer = ask(site(NESSEN_SECURITY_HEADERS_FRAME_OPTIONS="SAMEORIGIN").port)
    assert answer.every("X-Frame-Options") == ["SAMEORIGIN"]


@pytest.mark.parametrize("path", ["/metrics", "/version", "/api/health", "/ready", "/readyz", "/health/ready"])
def test_operators_pages_are_closed_however_they_are_spelled(site, nessen, path):
    assert nessen().get(path)[0] == 200, "there is no such page to close"
    nginx = site()
    told = {target: ask(nginx.port, target).status for target in spellings(path)}
    assert not {target: status for target, status in told.items() if status not in (400, 403, 404)}
    assert told[path] == 403


def test_what_only_looks_like_them_is_the_applications(site):
    nginx = site()
    for target in ("/metrics-of-ours", "/version/2", "/api/healthy", "/x/metrics"):
        assert ask(nginx.port, target).every("X-App"), target
    assert ask(nginx.port, "/health").status == 200


def test_text_is_compressed_where_the_client_takes_it(site):
    nginx = site()
    packed = ask(nginx.port, "/page", headers=[("Accept-Encoding", "gzip")])
    assert packed.every("Content-Encoding") == ["gzip"] and packed.every("Vary") == ["Accept-Encoding"]
    plain = ask(nginx.port, "/page")
    assert plain.every("Content-Encoding") == [] and gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < len(plain.body) / 10


def test_a_body_is_refused_by_nessen_with_its_reason_and_far_beyond_by_nginx(site):
    nginx = site()
    refused = ask(nginx.port, "/echo", "POST", body=bytes(3 * 2**19))
    assert refused.status == 413 and json.loads(refused.body)["code"] == "BODY_TOO_LARGE"
    walled = ask(nginx.port, "/echo", "POST", headers=[("Content-Length", str(3 * 2**20))])
    assert walled.status == 413 and b"nginx" in walled.body
    assert ask(nginx.port, "/echo", "POST", body=bytes(2**20)).status == 200
    assert ask(nginx.port, "/" + "x" * 9000).status == 414


def test_one_client_is_bounded_in_requests(site):
    nginx = site()
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=30) as connection:
        answers = []
        for _ in range(600):
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answers.append(read_answer(connection))
    refused = [answer for answer in answers if answer.status == 429]
    assert len(answers) - len(refused) >= 200, "the burst is not let through"
    assert refused and all(answer.every("Retry-After") == ["1"] for answer in refused)


def test_one_client_is_bounded_in_connections(site):
    nginx, bound = site(), 128
    with contextlib.ExitStack() as opened:
        waiting = []
        for _ in range(bound + 20):
            waiting.append(opened.enter_context(socket.create_connection(("127.0.0.1", nginx.port), timeout=30)))
            waiting[-1].sendall(b"GET /slow?seconds=30 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        refused, deadline = set(), time.monotonic() + 25
        while len(refused) < 20 and time.monotonic() < deadline:
            for connection in select.select(set(waiting) - refused, [], [], 1)[0]:
                assert read_answer(connection).status == 429
                refused.add(connection)
        assert len(refused) == 20


def test_a_websocket_passes(site):
    nginx = site()
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=10) as connection:
        key = base64.b64encode(bytes(16)).decode()
        fields = f"Upgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}"
        connection.sendall(f"GET /socket HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n\r\n".encode())
        reading = connection.makefile("rb")
        assert reading.readline().startswith(b"HTTP/1.1 101 ")
        while reading.readline().strip():
            pass
        # A masked text frame, whose mask is nought.
        connection.sendall(b"\x81\x85\0\0\0\0hello")
        assert reading.read(7) == b"\x81\x05hello"


def test_events_come_when_they_happen(site):
    nginx = site()
    with socket.create_connection(("127.0.0.1", nginx.port), timeout=10) as connection:
        connection.sendall(b"GET /events?count=30 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        read = b""
        while b"id: 1\n" not in read:
            read += connection.recv(65536)
        assert b"id: 29\n" not in read


def test_a_download_larger_than_every_buffer_arrives(site):
    assert len(ask(site().port, "/download?bytes=50000000").body) == 50_000_000


def test_a_request_is_told_what_nginx_knows_and_nothing_that_the_client_claims(before):
    with Recorder() as upstream:
        nginx = before(upstream.address)
        claimed = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Request-Id")
        upgrade = [("Upgrade", "h2c"), ("Connection", "Upgrade, HTTP2-Settings"), ("HTTP2-Settings", "AAMAAABk")]
        ask(nginx.port, "/x/..//a%2fb?q=1", headers=[*((name, "claimed") for name in claimed), *upgrade])
    head = upstream.heads[0]
    fields = dict(line.split(": ", 1) for line in head[1:])
    assert head[0] == "GET /x/..//a%2fb?q=1 HTTP/1.1"
    assert fields["X-Forwarded-For"] == fields["X-Real-IP"] == "127.0.0.1"
    assert fields["X-Forwarded-Proto"] == "http" and fields["Host"] == fields["X-Forwarded-Host"] == "localhost"
    assert re.fullmatch(r"[0-9a-f]{32}", fields["X-Request-Id"])
    assert not fields.keys() & {"Forwarded", "Upgrade", "Connection"}, "h2c would be out of sight"


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "[::1]:8080"])
def test_the_application_is_told_the_port_that_was_asked(before, host):
    with Recorder() as upstream:
        nginx = before(upstream.address)
        with socket.create_connection(("127.0.0.1", nginx.port), timeout=10) as connection:
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert read_answer(connection).status == 200
    assert {f"Host: {host}", f"X-Forwarded-Host: {host}"} <= set(upstream.heads[0])


def test_where_a_replica_takes_no_connection_a_post_goes_to_another(before):
    with socket.socket() as taken, Recorder() as upstream:
        # Bound, so that nobody else gets the port, and not listening.
        taken.bind(("127.0.0.1", 0))
        refuses = f"127.0.0.1:{taken.getsockname()[1]}"
        nginx = before(refuses, refuses, upstream.address)
        assert [ask(nginx.port, "/", "POST", body=b"x").status for _ in range(20)] == [200] * 20


def test_an_upload_that_is_never_finished_takes_no_room_of_nginx(before):
    with Recorder() as upstream:
        nginx = before(upstream.address)
        with socket.create_connection(("127.0.0.1", nginx.port), timeout=10) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000000\r\n\r\n" + bytes(1900000))
            # Whatever it comes to, Nessen is asked before the end is there.
            read_answer(connection)
        assert [head[0] for head in upstream.heads] == ["POST / HTTP/1.1"]
    assert not list((nginx.folder / "client_body").iterdir())


def test_a_post_that_may_have_been_seen_is_not_sent_again(before):
    with Recorder(answer=b"") as silent:
        nginx = before(silent.address)
        assert ask(nginx.port, "/", "POST", body=b"x").status == 502
        assert [head[0] for head in silent.heads] == ["POST / HTTP/1.1"]


def test_a_get_is_sent_to_the_others(before):
    with Recorder(answer=b"") as silent:
        assert ask(before(silent.address).port, "/").status == 502
        assert [head[0] for head in silent.heads] == ["GET / HTTP/1.1"] * 3


def test_the_log_is_json_and_tells_no_query(site):
    nginx = site()
    answer = ask(nginx.port, "/?token=hush", headers=[("User-Agent", 'a"b\\c')])
    ask(nginx.port, '/"%22%0a?token=hush')
    nginx.stop()
    lines = [json.loads(line) for line in nginx.lines()]
    assert [line["path"] for line in lines] == ["/", '/""\n']
    assert lines[0]["status"] == 200 and lines[0]["request_id"] == answer.headers["X-Request-Id"]
    assert "hush" not in "".join(nginx.lines())


def test_the_health_check_asks_with_what_there_is(site, tmp_path):
    nginx = site()
    script = nginx.conf.parent / "healthcheck.sh"
    for tool in ("bash", "wget"):
        path = tmp_path / tool
        path.mkdir()
        for name in (tool, "timeout"):
            (path / name).symlink_to(need(name))
        run("/bin/sh", script, env={"PATH": str(path)})
    nginx.stop()
    for tool in ("bash", "wget"):
        assert run("/bin/sh", script, check=False, env={"PATH": str(tmp_path / tool)}).returncode != 0, tool


def test_tls_is_modern_and_says_to_stay(site):
    nginx = site(tls=True)
    assert "ssl_protocols TLSv1.2 TLSv1.3;" in (nginx.conf.parent / "tls/tls.conf").read_text()

    def context(**versions):
        made = ssl.create_default_context(cafile=nginx.conf.parent / "tls/fullchain.pem")
        for name, version in versions.items():
            setattr(made, name, version)
        return made

    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        answer = ask(nginx.tls_port, "/", tls=context(minimum_version=version, maximum_version=version))
        assert answer.status == 200 and answer.every("Strict-Transport-Security") == ["max-age=31536000"]
        assert {name: answer.every(name) for name in ADDED} == {name: [text] for name, text in ADDED.items()}
        assert json.loads(answer.body)["headers"]["x-forwarded-proto"] == "https"
    assert ask(nginx.tls_port, "/metrics", tls=context()).status == 403
    modern = context()
    modern.set_alpn_protocols(["h2"])
    with socket.create_connection(("127.0.0.1", nginx.tls_port), timeout=10) as plain:
        with modern.wrap_socket(plain, server_hostname="localhost") as connection:
            assert connection.selected_alpn_protocol() == "h2"
