"""UPSTREAM by name: a service whose addresses change is followed, as a headless one in Kubernetes."""

import http.server
import os
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
from pathlib import Path

from .tools import BINARY, Program, check, curl, free_port, wait_until

# Loopback addresses that nobody else uses: a name server has port 53, and each place one of its own.
SERVER = "127.53.53.53"
PLACES = ["127.53.53.1", "127.53.53.2", "127.53.53.3"]


class Names:
    """A name server that knows one name, in the search domain of a cluster, for a second at a time."""

    def __init__(self, addresses):
        self.addresses = addresses
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((SERVER, 53))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            query, client = self.socket.recvfrom(512)
            end = 12
            while query[end]:
                end += query[end] + 1
            question, kind = query[12 : end + 5], struct.unpack(">H", query[end + 1 : end + 3])[0]
            known = b"\x07service\x02ns\x03svc" in question
            found = [socket.inet_aton(address) for address in self.addresses if kind == 1 and known]
            records = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4) + address for address in found)
            flags = b"\x81\x80" if known else b"\x81\x83"
            answer = query[:2] + flags + struct.pack(">HHHH", 1, len(found), 0, 0) + question + records
            self.socket.sendto(answer, client)


class Place(http.server.BaseHTTPRequestHandler):
    """Answers with its own address."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.server.server_address[0].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def run():
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        print("  SKIPPED: a resolv.conf of its own takes root and unshare")
        return
    port = free_port()
    for place in PLACES:
        server = http.server.ThreadingHTTPServer((place, port), Place)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    names = Names(PLACES[:1])
    with tempfile.TemporaryDirectory() as folder:
        conf = Path(folder, "resolv.conf")
        conf.write_text(f"nameserver {SERVER}\nsearch ns.svc.cluster.local\noptions ndots:5\n")
        own = free_port()
        settings = {"HOST": "127.0.0.1", "PORT": str(own), "DRAIN_DELAY": "0", "LOG_FORMAT": "json"}
        settings["UPSTREAM"] = f"http://service:{port}"
        # In a mount namespace of its own, nobody else sees the file.
        script = 'mount --bind "$1" /etc/resolv.conf && shift && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", script, "sh", str(conf), BINARY]
        private = subprocess.run([*command[:-1], "true"], capture_output=True).returncode == 0
        if not private:
            print("  SKIPPED: no mount namespaces here")
            return
        with Program(command, own, env={**settings, "PATH": os.environ["PATH"]}) as server:

            def asked():
                return {curl(server.url + "/") for _ in range(12)}

            check("a name in a search domain is found", asked() == set(PLACES[:1]))
            for what, addresses in [
                ("a service that scales up is followed", PLACES),
                ("a service that scales down is followed", PLACES[2:]),
            ]:
                names.addresses = addresses
                wait_until(what, lambda: asked() == set(addresses), pause=0.2)
                check(what, True)
            names.addresses = []
            check("a name server that forgets it is not believed at once", asked() == set(PLACES[2:]))
