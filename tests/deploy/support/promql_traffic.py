"""A server that has something to tell: every series that rules and panels ask for has a value."""

import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from . import tools
from .prometheus import Prometheus
from .server import Nessen

RULES = tools.ROOT / "deploy/prometheus/rules.yml"

CONFIG = """
[tls]
cert = "{folder}/tls.crt"
key = "{folder}/tls.key"

[rate_limit]
backend = "redis"
redis_url = "redis://127.0.0.1:{closed}"

[tracing]
enabled = true
endpoint = "http://127.0.0.1:{closed}"
schedule_delay = "200ms"

[evidence]
enabled = true
storage = "{folder}/evidence"

[[route]]
path = "/"
upstream = "http://127.0.0.1:{app}"

[[route]]
path = "/down"
upstream = "http://127.0.0.1:{closed}"

[[route]]
path = "/limited"
respond = {{ status = 200, body = "ok" }}
rate_limit = {{ max_requests = 1, window = "1h" }}

[[check]]
name = "app"
tcp = "127.0.0.1:{app}"
"""


class App(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        status = 500 if self.path == "/broken" else 200
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass


def serve_app():
    """(its server, its port): ends with `shutdown` and `server_close`."""
    app = ThreadingHTTPServer(("127.0.0.1", 0), App)
    threading.Thread(target=app.serve_forever, daemon=True).start()
    return app, app.server_address[1]


def closed_port():
    """A port that nobody listens on; held, so that nobody will."""
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    return held, held.getsockname()[1]


class Secure(Nessen):
    """One that speaks TLS, under a certificate of its own."""

    def __init__(self, binary, folder, config):
        options = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj /CN=nessen"
        options = [*options.split(), "-addext", "subjectAltName=IP:127.0.0.1"]
        files = ["-keyout", folder / "tls.key", "-out", folder / "tls.crt"]
        tools.run(tools.need("openssl"), "req", "-x509", *options, *files)
        self.context = ssl.create_default_context(cafile=folder / "tls.crt")
        super().__init__(binary, ["--config", str(config)], {})

    def get(self, path, **options):
        return super().get(path, context=self.context, **options)


def drive(server):
    """Answers, failures, refusals and probes, each of the routes once or more."""
    for path, status in [("/", 200), ("/broken", 500), ("/down", 502)]:
        assert server.get(path)[0] == status, path
    # One is served, and refused is whatever comes after it.
    server.get("/limited")
    assert server.get("/limited")[0] == 429
    for path in ["/health", "/ready", "/version"]:
        server.get(path)
    server.get("/" + "x" * 9000)


@pytest.fixture(scope="session")
def busy(binary, tmp_path_factory):
    """(server, Prometheus that scrapes it and evaluates the rules), both with something to tell."""
    folder = tmp_path_factory.mktemp("prometheus")
    app, app_port = serve_app()
    held, closed = closed_port()
    config = folder / "nessen.toml"
    config.write_text(CONFIG.format(app=app_port, closed=closed, folder=folder))
    server = Secure(binary, folder, config)
    prometheus = None
    try:
        server.wait_listening()
        drive(server)
        prometheus = Prometheus(folder, {"nessen": server.address}, RULES, ca=folder / "tls.crt")
        prometheus.until(lambda: prometheus.scrapes() >= 3)
        # Between two scrapes, so that rates see counters move.
        drive(server)
        prometheus.until(lambda: prometheus.scrapes() >= 6)
        yield server, prometheus
    finally:
        if prometheus:
            prometheus.stop()
        server.kill()
        app.shutdown()
        app.server_close()
        held.close()
