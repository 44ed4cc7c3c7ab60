#!/usr/bin/env python3
"""Server CPU per request of Nessen as a reverse proxy beside nginx and HAProxy, in interleaved rounds.

    cargo build --release && python3 loadtest/proxy.py [ROUNDS] [SECONDS] [BINARY]

Needs wrk and nginx; HAProxy where installed. Each proxy has one worker on one core and keeps its
connections on both sides; the load and the upstream, an nginx with a small answer, share the other
core. All proxies tell the upstream for whom they ask. CPU is utime + stime of /proc/PID/stat of the
proxy, over the requests that wrk counted.
"""
import os, re, shutil, sys, tempfile

from rounds import LOAD_CORE, Server, free_port, get, table

HERE = os.path.dirname(os.path.abspath(__file__))
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
SECONDS = int(sys.argv[2]) if len(sys.argv) > 2 else 4
BINARY = sys.argv[3] if len(sys.argv) > 3 else os.path.join(HERE, "..", "target", "release", "nessen")
POOL = 128  # idle connections to the upstream; the load has half as many
FOREVER = 1_000_000_000  # requests of one connection


def nginx(name, directory, http):
    """The command of an nginx of one process, with this inside of `http`."""
    conf = os.path.join(directory, f"{name}.conf")
    places = "".join(f"{kind}_temp_path {directory}/{name}-{kind}; "
                     for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    with open(conf, "w") as file:
        file.write(f"""daemon off; master_process off; worker_processes 1; pid {directory}/{name}.pid;
error_log /dev/null crit; events {{ worker_connections 2048; }}
http {{ access_log off; keepalive_requests {FOREVER}; keepalive_timeout 1h; {places}
{http} }}""")
    return ["nginx", "-c", conf, "-p", directory]


def upstream(port):
    return f"""server {{ listen 127.0.0.1:{port}; default_type text/plain;
  location / {{ return 200 "Hello, World!"; }} location = /asked {{ stub_status; }} }}"""


def nginx_proxy(port, to):
    return f"""upstream app {{ server 127.0.0.1:{to};
  keepalive {POOL}; keepalive_requests {FOREVER}; keepalive_timeout 1h; }}
server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://app; proxy_http_version 1.1;
  proxy_set_header Connection ""; proxy_set_header Host $http_host; proxy_set_header X-Real-IP $remote_addr;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme; }} }}"""


def haproxy(port, to, directory):
    conf = os.path.join(directory, "haproxy.cfg")
    with open(conf, "w") as file:
        file.write(f"""global
  nbthread 1
  maxconn 2048
defaults
  mode http
  option http-keep-alive
  http-reuse always
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout http-keep-alive 1h
frontend front
  bind 127.0.0.1:{port}
  option forwardfor
  http-request set-header X-Real-IP %[src]
  http-request set-header X-Forwarded-Proto http
  default_backend back
backend back
  server app 127.0.0.1:{to} pool-max-conn {POOL} pool-purge-delay 1h
""")
    return ["haproxy", "-db", "-f", conf]


def nessen(port, to, log):
    return {"PATH": os.environ["PATH"], "HOST": "127.0.0.1", "PORT": str(port), "NESSEN_SERVER_WORKERS": "1",
            "UPSTREAM": f"http://127.0.0.1:{to}", "NESSEN_UPSTREAM_MAX_IDLE": str(POOL),
            "NESSEN_LIMITS_MAX_REQUESTS_PER_CONNECTION": str(FOREVER), "LOG_FORMAT": "json", "ACCESS_LOG": log}


def asked(port):
    """How many connections the upstream has accepted, and how many requests on them."""
    return [int(number) for number in re.search(r"(\d+) \d+ (\d+)", get(port, "/asked")).groups()]


def one_round(server, app, number):
    """The first fills the pools and is not counted. What is looked at costs one request each time."""
    connections, requests = asked(app.port)
    before = server.requests
    server.measure(SECONDS if number else 1, counts=number > 0)
    now, answered = asked(app.port)
    made = server.requests - before
    assert answered - requests > made, f"the upstream saw {answered - requests} of {made} requests to {server.name}"
    assert now - connections <= POOL, f"{server.name} opened {now - connections} connections for {made} requests"


def hold_counted(server):
    """That Nessen counted every request, had each answered by the upstream, and refused none."""
    metrics = get(server.port, "/metrics")

    def total(series):
        return sum(int(float(value)) for value in re.findall(rf"^{series} (\S+)$", metrics, re.MULTILINE))

    for series in (r'http_requests_total{method="GET",status="200",route="/"}',
                   r'nessen_upstream_requests_total{[^}]*status="2xx"}',
                   r'nessen_upstream_request_duration_seconds_count{[^}]*}'):
        assert total(series) >= server.requests, f"{server.name}: {series} is {total(series)} of {server.requests}"
    for series in (r"nessen_rejections_total{[^}]*}", r"nessen_upstream_retries_total{[^}]*}"):
        assert total(series) == 0, f"{server.name}: {series} is {total(series)}"
    return total("nessen_log_lines_dropped_total")


def main():
    servers = []
    with tempfile.TemporaryDirectory() as directory, open(os.path.join(directory, "log"), "w") as log:
        app_port = free_port()
        app = Server("upstream", nginx("upstream", directory, upstream(app_port)), app_port, core=LOAD_CORE)
        try:
            port = free_port()
            servers.append(Server("nessen, access log off", [BINARY], port, nessen(port, app_port, "off")))
            port = free_port()
            servers.append(Server("nessen, JSON access log", [BINARY], port, nessen(port, app_port, "all"), log))
            port = free_port()
            command = nginx("proxy", directory, nginx_proxy(port, app_port))
            servers.append(Server("nginx, access log off", command, port))
            if shutil.which("haproxy"):
                port = free_port()
                servers.append(Server("haproxy, access log off", haproxy(port, app_port, directory), port))
            else:
                print("SKIPPED: haproxy is not installed")
            for number in range(ROUNDS + 1):
                for server in servers:
                    one_round(server, app, number)
            hold_counted(servers[0])
            dropped = hold_counted(servers[1])
        finally:
            for server in (*servers, app):
                server.stop()
        with open(log.name) as written:
            lines = sum('"message":"request"' in line for line in written)
        assert lines + dropped >= servers[1].requests, f"{lines} lines of log for {servers[1].requests} requests"
    table(servers, servers[2], "nginx")
    if dropped:
        print(f"of the JSON access log's lines {dropped} were dropped, and {lines} written")


main()
