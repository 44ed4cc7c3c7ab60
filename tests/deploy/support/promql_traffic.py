"""A server that has something to tell: every series that rules and panels ask for has a value."""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONFIG = """
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


def drive(server):
    """Answers, failures, refusals and probes, each of the routes once or more."""
    for path, statuses in [("/", {200}), ("/broken", {500}), ("/down", {502}), ("/limited", {200, 429}), ("/limited", {429})]:
        assert server.get(path)[0] in statuses, path
    for path in ["/health", "/ready", "/version"]:
        server.get(path)
    server.get("/" + "x" * 9000)
