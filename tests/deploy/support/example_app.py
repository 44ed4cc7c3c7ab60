"""An application to stand behind a server: it tells what it was asked, and can be slow, bad or unready."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ExampleApp:
    """Answers every path. `/hold` waits for `release`, `/fail` is 500, `/metrics` is its own."""

    def __init__(self):
        self.requests = []
        self.unready = set()
        self.held = threading.Semaphore(0)
        self.release = threading.Event()
        app = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # head and body in one segment

            def answer(self):
                length = int(self.headers.get("Content-Length", 0))
                body = self.chunks() if "Transfer-Encoding" in self.headers else self.rfile.read(length)
                if body is None:
                    self.close_connection = True
                    return None
                app.requests.append((self.command, self.path, self.headers, body))
                if self.headers.get("Upgrade") == "websocket":
                    return self.echo()
                if self.path == "/hold":
                    app.held.release()
                    app.release.wait(60)
                status = 500 if self.path == "/fail" else 503 if self.path in app.unready else 200
                text = "app_metric 1\n" if self.path == "/metrics" else json.dumps({"app": self.path})
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(text.encode())
                self.wfile.flush()

            do_GET = do_HEAD = do_POST = do_PUT = answer

            def chunks(self):
                """A body in chunks, or None where it broke off."""
                body = b""
                while size := int(self.rfile.readline() or b"-1", 16):
                    if size < 0:
                        return None
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def echo(self):
                """Takes the upgrade, and sends back what comes, frames or not, until the end."""
                key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
                accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
                self.send_response(101)
                for name, value in (("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Accept", accept)):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.flush()
                self.close_connection = True
                while data := self.connection.recv(4096):
                    self.connection.sendall(data)

            def log_message(self, *_):
                pass

        class Threads(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self.server = Threads(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def asked(self, path):
        """What came for `path`: (method, path, headers, body)."""
        return [request for request in self.requests if request[1] == path]

    def close(self):
        self.release.set()
        self.server.shutdown()
        self.server.server_close()
