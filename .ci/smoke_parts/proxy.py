"""UPSTREAM: in front of an application that is not ours, Python's own server."""

import sys
import tempfile
from pathlib import Path

from .tools import PROTOCOLS, STATUS, Nessen, Program, check, check_metrics, curl, free_port, status

LARGE = "".join(f"{number} is a line of a page\n" for number in range(40_000))


def application(folder):
    """Python's server, of the files in a folder. It speaks HTTP/1.0 and closes after each answer."""
    port = free_port()
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", folder, str(port)]
    return Program(command, port)


def run():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "index.html").write_text("<p>from the application")
        Path(folder, "large.txt").write_text(LARGE)
        with application(folder) as app, Nessen(UPSTREAM=app.url) as server:
            for version, option in PROTOCOLS:
                pages(server, version, option)
            line = server.wait_line(path="/large.txt", status=200)
            expected = {"route": "/", "upstream": app.url, "bytes_out": len(LARGE), "client": "127.0.0.1"}
            check("the log names the upstream", expected.items() <= line.items(), line.get("upstream"))
            app.end()
            gone(server, app.url)
            code = server.end()
            check("SIGTERM drains a proxy and ends with 0", code == 0, code)


def pages(server, version, option):
    found = curl(option, *STATUS, server.url + "/")
    check(f"the application's page comes through over HTTP/{version}", found == f"{version} 200", found)
    found = curl(option, server.url + "/")
    check(f"it is the application's over HTTP/{version}", found == "<p>from the application", found[:80])
    found = curl(option, server.url + "/large.txt")
    check(f"a large page is whole over HTTP/{version}", found == LARGE, f"{len(found)} bytes")
    head = curl(option, "--head", server.url + "/large.txt").lower()
    check(f"HEAD tells its length over HTTP/{version}", f"content-length: {len(LARGE)}" in head)
    found = status(server.url + "/nowhere", option)
    check(f"the application's 404 comes through over HTTP/{version}", found == "404", found)
    found = status(server.url + "/ready", option)
    check(f"/ready is the proxy's own over HTTP/{version}", found == "200", found)


def gone(server, url):
    found = curl("--write-out", " %{http_code} %{time_total}", server.url + "/")
    problem, code, taken = found.rsplit(" ", 2)
    check("without its application a proxy says 502", (code, "UPSTREAM_UNREACHABLE" in problem) == ("502", True), found)
    check("and says so at once", float(taken) < 2, f"{taken} s")
    line = server.wait_line(status=502)
    check("the log has the reason", line.get("reason") == "upstream_unreachable", line.get("reason"))
    found = status(server.url + "/health")
    check("and the process lives on", found == "200", found)
    metrics = curl(server.url + "/metrics")
    for series in [
        f'nessen_upstream_requests_total{{upstream="{url}",status="2xx"}} ',
        f'nessen_upstream_request_duration_seconds_count{{upstream="{url}"}} ',
        f'nessen_upstream_healthy{{upstream="{url}"}} ',
        f'nessen_upstream_connections{{upstream="{url}",state="idle"}} ',
        'nessen_rejections_total{reason="upstream_unreachable"} 1',
    ]:
        check(f"/metrics has {series}", series in metrics)
    check_metrics(metrics)
