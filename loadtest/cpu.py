#!/usr/bin/env python3
"""Server CPU per request of Nessen beside bare hyper and nginx, in interleaved rounds.

    cd loadtest/bare && cargo build --release && cd .. && python3 cpu.py [ROUNDS] [SECONDS]

Needs wrk; nginx where installed. Each server has one worker on one core, the load runs on the
other. CPU is utime + stime of /proc/PID/stat, over the requests that wrk counted.
"""
import os, re, shutil, sys, tempfile

from rounds import Server, get, table

HERE = os.path.dirname(os.path.abspath(__file__))
BIN = os.path.join(HERE, "bare", "target", "release")
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
SECONDS = int(sys.argv[2]) if len(sys.argv) > 2 else 4
# wrk keeps its connections for the whole run.
ENV = {"PATH": os.environ["PATH"], "HOST": "127.0.0.1", "NESSEN_SERVER_WORKERS": "1", "ACCESS_LOG": "off",
       "NESSEN_LIMITS_MAX_REQUESTS_PER_CONNECTION": "1000000000"}


def nginx(port, directory):
    conf = os.path.join(directory, "nginx.conf")
    with open(conf, "w") as file:
        file.write(f"""daemon off; master_process off; worker_processes 1; pid {directory}/nginx.pid;
error_log /dev/null crit; events {{ worker_connections 2048; }}
http {{ access_log off; keepalive_requests 1000000000;
  server {{ listen 127.0.0.1:{port}; default_type text/plain; location / {{ return 200 "Hello, World!"; }} }} }}""")
    return ["nginx", "-c", conf, "-p", directory]


def main():
    hello = os.path.join(BIN, "nessen_hello")
    servers = []
    with tempfile.TemporaryDirectory() as directory, open(os.path.join(directory, "log"), "w") as log:
        try:
            servers.append(Server("bare hyper", [os.path.join(BIN, "bare_hyper"), "4101"], 4101))
            servers.append(Server("nessen, access log off", [hello], 4102, ENV | {"PORT": "4102"}))
            servers.append(Server("nessen, JSON access log", [hello], 4103,
                                  ENV | {"PORT": "4103", "ACCESS_LOG": "all"}, log))
            if shutil.which("nginx"):
                servers.append(Server("nginx, access log off", nginx(4104, directory), 4104))
            for _ in range(ROUNDS):
                for server in servers:
                    server.measure(SECONDS)
            metrics = get(4102, "/metrics")
            counted = re.search(r'http_requests_total{method="GET",status="200",route="/"} (\d+)', metrics)
            assert counted and int(counted.group(1)) > 1000, "the metrics were not on"
        finally:
            for server in servers:
                server.stop()
    table(servers, servers[0], "hyper")


main()
