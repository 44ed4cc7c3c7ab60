"""nginx with the project's own configuration, on loopback: what is changed is where things are."""

import contextlib
import os
import shutil
import socket
import subprocess
import threading

from support.docker import free_ports
from support.tools import ROOT, need, run


def copy(folder, upstreams=("127.0.0.1:3001", "127.0.0.1:3002", "127.0.0.1:3003"), ports=(8080, 8081, 8443), tls=False):
    """The configuration with other addresses; returns its nginx.conf."""
    place = folder / "nginx"
    shutil.copytree(ROOT / "nginx", place)
    if tls:
        certificate(place / "tls")
        shutil.copy(place / "tls/tls.conf.example", place / "tls/tls.conf")
    plain, health, encrypted = ports
    changes = {
        "listen 8080": f"listen 127.0.0.1:{plain}",
        "listen 8443": f"listen 127.0.0.1:{encrypted}",
        "127.0.0.1:8081": f"127.0.0.1:{health}",
        "127.0.0.1/8081": f"127.0.0.1/{health}",
        "/tmp/": f"{folder}/",
        **{f"nessen-{number}:3000": upstream for number, upstream in enumerate(upstreams, 1)},
    }
    for path in [*place.rglob("*.conf"), place / "healthcheck.sh"]:
        text = path.read_text()
        for old, new in changes.items():
            text = text.replace(old, new)
        path.write_text(text)
    return place / "nginx.conf"


def certificate(folder):
    """A certificate of one's own, for localhost."""
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", folder / "privkey.pem", "-out", folder / "fullchain.pem"]
    run(need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *names, *files)


class Nginx:
    """A running one, for as long as the `with`."""

    def __init__(self, folder, upstreams, tls=False):
        self.folder, self.program = folder, need("nginx")
        self.port, self.health_port, self.tls_port = free_ports(3)
        self.conf = copy(folder, upstreams, (self.port, self.health_port, self.tls_port), tls)

    def __enter__(self):
        # Started by root its workers would be `nobody`, who may not see the folder of a test.
        globals_ = "daemon off;" + (" user root;" if os.geteuid() == 0 else "")
        self.log = (self.folder / "access.log").open("w")
        self.errors = (self.folder / "error.log").open("w+")
        self.process = subprocess.Popen(
            [self.program, "-c", self.conf, "-g", globals_], stdout=self.log, stderr=self.errors
        )
        # The sockets are bound before the pid is written; connections wait there until a worker takes them.
        while not (self.folder / "nginx.pid").exists():
            try:
                self.process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError((self.folder / "error.log").read_text())
        return self

    def stop(self):
        """As Docker does: what is in flight is finished, and the log is whole."""
        self.process.send_signal(3)  # SIGQUIT
        self.process.wait(60)

    def lines(self):
        return (self.folder / "access.log").read_text().splitlines()

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()
        self.errors.close()


class Recorder:
    """An upstream that keeps the heads it is sent, and answers each with the same bytes, or with nothing.

    Each connection is for one request, and the answer says so: a POST on one that is about to close is not sent again.
    """

    def __init__(self, answer=b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"):
        self.answer, self.heads = answer, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=self.listener.accept()[:1], daemon=True).start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            data = b""
            while b"\r\n\r\n" not in data:
                piece = connection.recv(65536)
                if not piece:
                    return
                data += piece
            self.heads.append(data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n"))
            connection.sendall(self.answer)

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
