#!/usr/bin/env python3
"""An application to put behind Nessen: small, on the standard library alone, with something of each kind.

    python3 app.py            listens on port 8000, or on PORT

    GET  /                    who answers, and what reached it of the request
    POST /echo?seconds=0      the body that was sent, as it came, after a while
    GET  /slow?seconds=2      an answer that takes its time
    GET  /download?bytes=N    a large body (10 MB unless said otherwise)
    GET  /page                a text that is worth compressing
    GET  /events?count=5      server-sent events, one a second
    GET  /socket              a WebSocket that echoes
    GET  /healthz             200
"""

import base64
import hashlib
import json
import os
import signal
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

LARGEST_BODY = 64 * 1024 * 1024
WEBSOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def number(url, name, default, largest):
    """What the query says of `name`, within bounds; what is no number is the default."""
    try:
        return max(0, min(float(parse_qs(url.query)[name][-1]), largest))
    except (KeyError, ValueError):
        return default


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Longer than Nessen keeps an idle connection (upstream.keepalive_timeout), so that Nessen closes first.
    timeout = 75
    # Head and body are two writes; without this, the second waits for the client's acknowledgement.
    disable_nagle_algorithm = True

    def do_GET(self):
        url = urlsplit(self.path)
        routes = {
            "/": self.who,
            "/slow": self.slow,
            "/download": self.download,
            "/page": self.page,
            "/events": self.events,
            "/socket": self.websocket,
            "/healthz": lambda _: self.answer(200, b"ok\n", "text/plain"),
        }
        route = routes.get(url.path)
        if route is None:
            return self.answer(404, b"there is no such page\n", "text/plain")
        route(url)

    def do_POST(self):
        url = urlsplit(self.path)
        if url.path != "/echo":
            self.close_connection = True
            return self.answer(404, b"there is no such page\n", "text/plain")
        body = self.read_body()
        if body is not None:
            time.sleep(number(url, "seconds", 0, 60))
            self.answer(200, body, self.headers.get("Content-Type", "application/octet-stream"))

    def read_body(self):
        """The body, by its length or in chunks; None where it was refused."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self.read_chunks()
        length = int(self.headers.get("Content-Length", 0))
        if length > LARGEST_BODY:
            self.close_connection = True
            return self.answer(413, b"too large\n", "text/plain")
        return self.rfile.read(length)

    def read_chunks(self):
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            if len(body) + size > LARGEST_BODY:
                self.close_connection = True
                return self.answer(413, b"too large\n", "text/plain")
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return body

    def answer(self, status, body, content_type, headers=()):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        # Which instance answered, and which Nessen asked.
        self.send_header("X-App", socket.gethostname())
        self.send_header("X-Asked-By", self.client_address[0])
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def who(self, _url):
        told = {
            "app": socket.gethostname(),
            "asked_by": self.client_address[0],
            "path": self.path,
            "headers": {name.lower(): value for name, value in self.headers.items()},
        }
        self.answer(200, json.dumps(told, indent=2).encode() + b"\n", "application/json")

    def slow(self, url):
        time.sleep(number(url, "seconds", 2, 60))
        self.answer(200, b"at last\n", "text/plain")

    def page(self, _url):
        self.answer(200, b"The same line, again and again.\n" * 500, "text/plain; charset=utf-8")

    def download(self, url):
        left = int(number(url, "bytes", 10_000_000, 1_000_000_000))
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(left))
        self.end_headers()
        block = bytes(64 * 1024)
        while left > 0 and self.command != "HEAD":
            self.wfile.write(block[:left])
            left -= len(block)

    def events(self, url):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        # nginx holds an answer back until it has a buffer full, unless it is told not to.
        self.send_header("X-Accel-Buffering", "no")
        self.send_header("Connection", "close")
        self.end_headers()
        count = int(number(url, "count", 5, 3600))
        for event in range(count):
            self.wfile.write(f"id: {event}\ndata: {time.time():.3f}\n\n".encode())
            if event + 1 < count:
                time.sleep(1)

    def websocket(self, _url):
        key = self.headers.get("Sec-WebSocket-Key")
        if key is None or self.headers.get("Upgrade", "").lower() != "websocket":
            return self.answer(426, b"a WebSocket, please\n", "text/plain", [("Upgrade", "websocket")])
        accept = base64.b64encode(hashlib.sha1((key + WEBSOCKET_GUID).encode()).digest()).decode()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        self.close_connection = True
        self.echo_frames()

    def echo_frames(self):
        """Short frames alone (up to 125 bytes): enough to see that a WebSocket passes."""
        while len(head := self.rfile.read(2)) == 2:
            kind, length = head[0] & 0x0F, head[1] & 0x7F
            if length > 125:
                return
            mask = self.rfile.read(4)
            data = bytes(byte ^ mask[index % 4] for index, byte in enumerate(self.rfile.read(length)))
            # Ping (9) is answered by pong (10), all else by itself; close (8) ends it.
            self.wfile.write(bytes([0x80 | (10 if kind == 9 else kind), length]) + data)
            if kind == 8:
                return

    def log_message(self, *_arguments):
        """Nessen and nginx log every request; once more here would only be noise."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, _request, _address):
        """A client that leaves in the middle is no error of ours."""


def main():
    server = Server(("", int(os.environ.get("PORT", "8000"))), Handler)
    # From another thread: shutdown() waits for the loop that this signal interrupts.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"listening on port {server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
