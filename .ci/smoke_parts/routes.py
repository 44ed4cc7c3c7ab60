"""A table of routes in a file: checked, served, and swapped on SIGHUP."""

import signal
import tempfile
from pathlib import Path

from .proxy import application
from .tools import Nessen, check, curl, nessen, status

GOOD = """
[[route]]
path = "/"
root = "{folder}/public"

[[route]]
path = "/app"
upstream = "{upstream}"
methods = ["GET", "HEAD"]
request_timeout = "10s"
rate_limit = {{ max_requests = 1000, window = "1s" }}

[[route]]
path = "/old"
redirect = {{ to = "/app", status = 308, keep_path = true }}

[[route]]
path = "/version.txt"
respond = {{ body = "{version}" }}

[[route]]
path = "/"
host = "api.example.com"
respond = {{ status = 410, body = "gone" }}
"""
BAD = """
[[route]]
path = "/app"
upstream = "ftp://app"

[[route]]
path = "/files"
root = "./public"
max_idel = 3
"""


def run():
    with tempfile.TemporaryDirectory() as folder:
        for path in ["public", "app/app"]:
            Path(folder, path).mkdir(parents=True)
        Path(folder, "public/index.html").write_text("a file")
        Path(folder, "app/app/page").write_text("the application")
        table, broken = Path(folder, "nessen.toml"), Path(folder, "broken.toml")
        broken.write_text(BAD)
        with application(f"{folder}/app") as app:
            values = {"folder": folder, "upstream": app.url}
            table.write_text(GOOD.format(version="one", **values))
            checked(table, broken, app.url)
            with Nessen("--config", str(table)) as server:
                served(server)
                swapped(server, table, values)


def checked(table, broken, upstream):
    report = nessen("check", "--config", str(table))
    check("`nessen check` takes the table", report.returncode == 0, report.stderr)
    rows = [line.split() for line in report.stdout.split("\nroutes\n", 1)[-1].split("\n\n")[0].splitlines()]
    order = [row[0] if row[0] != "any" else row[2] for row in rows]
    check(
        "and prints it in the order of matching",
        order == ["api.example.com", "/version.txt", "/app", "/old", "/"],
        order,
    )
    check("with its upstream", upstream in report.stdout)
    report = nessen("check", "--config", str(broken))
    check("a bad table ends with 78", report.returncode == 78, report.returncode)
    for part in ["/app", "ftp://app", "/files", "max_idel", "max_idle"]:
        check(f"and is told with {part}", part in report.stderr, "" if part in report.stderr else report.stderr)
    report = nessen("--config", str(broken))
    check("nothing is served with it", report.returncode == 78, report.returncode)


def served(server):
    for path, expected in [("/", "a file"), ("/app/page", "the application"), ("/version.txt", "one")]:
        found = curl(server.url + path)
        check(f"{path} goes to its route", found == expected, found[:80])
    found = curl("--output", "/dev/null", "--write-out", "%{http_code} %{redirect_url}", server.url + "/old/page")
    check("/old/page is sent on", found == f"308 {server.url}/app/page", found)
    found = status(server.url + "/", "--header", "Host: api.example.com")
    check("a host has a route of its own", found == "410", found)
    found = status(server.url + "/app/page", "--data", "x")
    check("a method that the route does not have is refused", found == "405", found)


def swapped(server, table, values):
    table.write_text(BAD)
    server.process.send_signal(signal.SIGHUP)
    server.wait_line(message="configuration not reloaded; the old one is kept")
    found = curl(server.url + "/version.txt")
    check("a bad table on SIGHUP changes nothing", found == "one", found)
    table.write_text(GOOD.format(version="two", **values).replace('"/old"', '"/older"'))
    server.process.send_signal(signal.SIGHUP)
    server.wait_line(message="configuration reloaded")
    found = curl(server.url + "/version.txt")
    check("a good table on SIGHUP is served", found == "two", found)
    found = [status(server.url + path) for path in ["/older/page", "/old/page", "/app/page"]]
    check("with the routes that it has, and no others", found == ["308", "404", "200"], found)
