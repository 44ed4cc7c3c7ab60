"""HAProxy in front, telling by the PROXY protocol for whom it asks."""

import tempfile
from pathlib import Path

from .tools import Nessen, Program, check, free_port, installed, status, wait_until

# Not the balancer's own address, which is trusted.
CLIENT = "127.0.0.9"
CONFIG = """
global
    maxconn 256
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    http-reuse always
frontend one
    bind 127.0.0.1:{one}
    default_backend over_http1
frontend two
    bind 127.0.0.1:{two}
    default_backend over_http2
backend over_http1
    option httpchk GET /ready
    server nessen 127.0.0.1:{port} source 127.0.0.1 send-proxy-v2 check check-send-proxy inter 100ms
backend over_http2
    server nessen 127.0.0.1:{port} source 127.0.0.1 send-proxy-v2 proto h2
"""


def run():
    if not installed("haproxy"):
        return
    ports = {"one": free_port(), "two": free_port()}
    settings = {"TRUSTED_PROXIES": "127.0.0.1", "NESSEN_SERVER_PROXY_PROTOCOL": "required"}
    with tempfile.TemporaryDirectory() as folder, Nessen(**settings) as server:
        file = Path(folder, "haproxy.cfg")
        file.write_text(CONFIG.format(port=server.port, **ports))
        with Program(["haproxy", "-db", "-f", str(file)], ports["one"]) as front:
            for name, port in ports.items():
                path = f"/badge/through/{name}.svg"
                url = f"http://127.0.0.1:{port}{path}"
                wait_until("HAProxy serves", lambda url=url: status(url) == "200", pause=0.1)
                path += "?from=another"
                found = status(f"http://127.0.0.1:{port}{path}", "--interface", CLIENT)
                check(f"HAProxy with send-proxy-v2 is served on front-end {name}", found == "200", found)
                line = server.wait_line(path=path)
                found = f"{line['client']} {line['protocol']}"
                check("the log has the client's address", line["client"] == CLIENT, found)
            check("its health checks are answered", "DOWN" not in front.text(), front.text())
        found = status(server.url + "/badge/a/b.svg")
        check("a trusted peer without a header is refused", found == "400", found)
        found = status(server.url + "/badge/a/b.svg", "--haproxy-protocol")
        check("curl with a header of the first version is served", found == "200", found)
