"""By itself: size, start-up, every endpoint, refusals, and the way out."""

import os
import signal
import socket
import statistics
import time

from .tools import BINARY, PROTOCOLS, STATUS, Nessen, check, check_metrics, curl

LARGEST = 16_000_000  # bytes
SLOWEST = 20.0  # milliseconds, median
STARTS = 20
PATHS = (
    "/ /badge/build/passing.svg /health /healthz /livez /health/live /ready /readyz /health/ready"
    " /metrics /version /api/health"
).split()


def ready(port):
    """Whether /ready says 200 at this moment."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"GET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            return client.recv(4096).startswith(b"HTTP/1.1 200")
    except ConnectionRefusedError:
        return False


def time_to_ready():
    """Milliseconds. Not by `with`, which would poll too slowly, and connect first."""
    begun = time.monotonic()
    server = Nessen()
    while not ready(server.port):
        if server.process.poll() is not None or time.monotonic() - begun > 10:
            server.end()
            raise SystemExit(f"the server did not become ready:\n{server.text()}")
        time.sleep(0.0002)
    taken = (time.monotonic() - begun) * 1000
    server.end(signal.SIGINT)
    return taken


def run():
    size = os.path.getsize(BINARY)
    check(f"the binary is under {LARGEST} bytes:", size < LARGEST, size)
    times = [time_to_ready() for _ in range(STARTS)]
    median = statistics.median(times)
    check(
        f"start to the first 200 on /ready takes under {SLOWEST:.0f} ms (median of {STARTS}):",
        median < SLOWEST,
        f"{median:.1f} ms, {min(times):.1f} to {max(times):.1f}",
    )
    with Nessen(DRAIN_DELAY="100ms", LOG_LEVEL="error") as server:
        for version, option in PROTOCOLS:
            endpoints(server.url, version, option)
        # Over HTTP/1.1 alone: curl 7.88 drops an HTTP/2 answer that ends before its upload does.
        found = curl("--http1.1", "--data-binary", "@-", server.url + "/echo", body=b"x" * 1_100_000)
        check("a client that is still uploading reads its refusal", '"code":"BODY_TOO_LARGE"' in found)
        metrics = curl(server.url + "/metrics")
        for reason, count in [("url_too_long", 2), ("body_too_large", 1)]:
            line = f'nessen_rejections_total{{reason="{reason}"}} {count}'
            check(f"{reason} is counted", line in metrics)
        check_metrics(metrics)
        code = server.end()
        check("SIGTERM drains and ends with 0", code == 0, code)


def endpoints(url, version, option):
    for path in PATHS:
        found = curl(option, *STATUS, url + path)
        check(f"GET {path} over HTTP/{version}", found == f"{version} 200", found)
    found = curl(option, "--data-binary", "@-", url + "/echo", body=b"x" * 100_000)
    check(f"an upload is echoed over HTTP/{version}", found == "x" * 100_000, f"{len(found)} bytes")
    found = curl(option, url + "/" + "x" * 9000)
    check(f"a target over the limit is refused over HTTP/{version}", '"code":"URL_TOO_LONG"' in found)
    found = curl(option, *STATUS, url + "/nowhere")
    check(f"nothing is at /nowhere over HTTP/{version}", found == f"{version} 404", found)
