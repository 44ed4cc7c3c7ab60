"""What the scripts that measure CPU share: servers on one core, load on the other, rounds, a table."""
import os, re, socket, statistics, subprocess, time, urllib.request

TICK = os.sysconf("SC_CLK_TCK")
SERVER_CORE, LOAD_CORE = "0", "1"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(port, path="/"):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return answer.read().decode()


class Server:
    """A process on one core that listens on a port, and what its rounds have cost."""

    def __init__(self, name, argv, port, env=None, stdout=subprocess.DEVNULL, core=SERVER_CORE):
        self.name, self.port, self.runs, self.requests = name, port, [], 0
        self.process = subprocess.Popen(["taskset", "-c", core, *argv], env=env, stdout=stdout)
        for _ in range(200):
            try:
                get(port)
                return
            except OSError:
                time.sleep(0.02)
        self.stop()
        raise SystemExit(f"{name} did not start")

    def cpu(self):
        """User and system time spent, in seconds."""
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def measure(self, seconds, counts=True):
        """One round of load. It fails where a request does."""
        before, begun = self.cpu(), time.time()
        load = subprocess.run(
            ["taskset", "-c", LOAD_CORE, "wrk", "-t1", "-c64", f"-d{seconds}s", f"http://127.0.0.1:{self.port}/"],
            capture_output=True, text=True, check=True).stdout
        spent, taken = self.cpu() - before, time.time() - begun
        requests = int(re.search(r"(\d+) requests in", load).group(1))
        if requests == 0 or "Non-2xx" in load or "Socket errors" in load:
            raise SystemExit(f"{self.name} failed requests:\n{load}")
        self.requests += requests
        if counts:
            self.runs.append((spent / requests * 1e6, requests / taken))

    def median(self):
        return statistics.median(run[0] for run in self.runs)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def table(servers, floor, called):
    """Prints what a request has cost, beside the server `floor`."""
    print(f"{'server':26} {'CPU/request':>12} {'x ' + called:>8} {'spread':>14} {'req/s':>9}")
    for server in servers:
        costs = [run[0] for run in server.runs]
        print(f"{server.name:26} {server.median():9.2f} us {server.median() / floor.median():8.2f} "
              f"{min(costs):6.2f}-{max(costs):5.2f} us {statistics.median(r[1] for r in server.runs):9.0f}")
