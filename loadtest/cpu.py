#!/usr/bin/env python3
"""Server CPU per request of Nessen beside bare hyper and nginx, in interleaved rounds.

    cd loadtest/bare && cargo build --release && cd .. && python3 cpu.py [ROUNDS] [SECONDS]

Needs wrk; nginx where installed. Each server has one worker on one core, the load runs on the
other. CPU is utime + stime of /proc/PID/stat, over the requests that wrk counted.
"""
import json, os, re, shutil, statistics, subprocess, sys, tempfile, time, urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
BIN = os.path.join(HERE, "bare", "target", "release")
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5
SECONDS = int(sys.argv[2]) if len(sys.argv) > 2 else 4
TICK = os.sysconf("SC_CLK_TCK")
ENV = {"PATH": os.environ["PATH"], "HOST": "127.0.0.1", "NESSEN_SERVER_WORKERS": "1"}


def cpu(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def start(name, argv, port, env=None, stdout=subprocess.DEVNULL):
    process = subprocess.Popen(["taskset", "-c", "0", *argv], env=env or ENV, stdout=stdout)
    for _ in range(200):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).read()
            return {"name": name, "process": process, "port": port, "runs": []}
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"{name} did not start")


def nginx(port, directory):
    conf = os.path.join(directory, "nginx.conf")
    with open(conf, "w") as file:
        file.write(f"""daemon off; master_process off; worker_processes 1; pid {directory}/nginx.pid;
error_log /dev/null crit; events {{ worker_connections 2048; }}
http {{ access_log off; keepalive_requests 1000000000;
  server {{ listen 127.0.0.1:{port}; default_type text/plain; location / {{ return 200 "Hello, World!"; }} }} }}""")
    return ["nginx", "-c", conf, "-p", directory]


def measure(server):
    before, begun = cpu(server["process"].pid), time.time()
    load = subprocess.run(
        ["taskset", "-c", "1", "wrk", "-t1", "-c64", f"-d{SECONDS}s", f"http://127.0.0.1:{server['port']}/"],
        capture_output=True, text=True, check=True).stdout
    spent = cpu(server["process"].pid) - before
    requests = int(re.search(r"(\d+) requests in", load).group(1))
    if "Non-2xx" in load or "Socket errors" in load:
        raise SystemExit(f"{server['name']} failed requests:\n{load}")
    server["runs"].append((spent / requests * 1e6, requests / (time.time() - begun)))


def main():
    with tempfile.TemporaryDirectory() as directory, open(os.path.join(directory, "log"), "w") as log:
        # wrk keeps its connections for the whole run.
        off = ENV | {"NESSEN_LIMITS_MAX_REQUESTS_PER_CONNECTION": "1000000000", "ACCESS_LOG": "off"}
        servers = [
            start("bare hyper", [os.path.join(BIN, "bare_hyper"), "4101"], 4101),
            start("nessen, access log off", [os.path.join(BIN, "nessen_hello")], 4102, off | {"PORT": "4102"}),
            start("nessen, JSON access log", [os.path.join(BIN, "nessen_hello")], 4103,
                  off | {"PORT": "4103", "ACCESS_LOG": "all"}, log),
        ]
        if shutil.which("nginx"):
            servers.append(start("nginx, access log off", nginx(4104, directory), 4104))
        try:
            for _ in range(ROUNDS):
                for server in servers:
                    measure(server)
            metrics = urllib.request.urlopen("http://127.0.0.1:4102/metrics").read().decode()
            counted = re.search(r'http_requests_total{method="GET",status="200",route="/"} (\d+)', metrics)
            assert counted and int(counted.group(1)) > 1000, "the metrics were not on"
        finally:
            for server in servers:
                server["process"].terminate()
                server["process"].wait()
    floor = statistics.median(run[0] for run in servers[0]["runs"])
    print(f"{'server':26} {'CPU/request':>12} {'x hyper':>8} {'spread':>14} {'req/s':>9}")
    for server in servers:
        costs = [run[0] for run in server["runs"]]
        median = statistics.median(costs)
        print(f"{server['name']:26} {median:9.2f} us {median / floor:8.2f} "
              f"{min(costs):6.2f}-{max(costs):5.2f} us {statistics.median(r[1] for r in server['runs']):9.0f}")


main()
