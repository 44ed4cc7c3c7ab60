"""Two workers that share their work, beside two processes of one worker each: on both cores, which the load is on as well."""
import os, subprocess

import tools
from rounds import LOAD_CORE, SERVER_CORE, Failed

from . import peers, proof

SECONDS, CONNECTIONS = 2, 32
ALIKE = {"one process, two workers": [(2, (SERVER_CORE, LOAD_CORE))],
         "two processes, one worker each": [(1, (SERVER_CORE,)), (1, (LOAD_CORE,))]}


def start(site, workers, cores):
    server = peers.start("nessen", "small", site, NESSEN_SERVER_WORKERS=workers)
    for thread in os.listdir(f"/proc/{server.process.pid}/task"):
        os.sched_setaffinity(int(thread), cores)
    return server


def measure(site, rounds, say):
    """{how: {"runs": CPU µs of a request}}. The load of a process on one core is on the other."""
    fleets, runs = {}, {how: [] for how in ALIKE}
    try:
        for how, processes in ALIKE.items():
            fleets[how] = [start(site, *one) for one in processes]
        for number in range(rounds + 1):
            for how, servers in fleets.items():
                before = sum(server.cpu() for server in servers)
                loads = [subprocess.Popen(["taskset", "-c", f"{core}", "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s",
                                           f"http://127.0.0.1:{server.port}/"], stdout=subprocess.PIPE, text=True)
                         for server, core in ((servers[0], LOAD_CORE), (servers[-1], SERVER_CORE))]
                told = [tools.Wrk().parse(load.communicate()[0]) for load in loads]
                if any(one["errors"] or one["refused"] or not one["requests"] for one in told):
                    raise Failed(f"{how}: {told}")
                if number:
                    runs[how].append((sum(server.cpu() for server in servers) - before) / sum(one["requests"] for one in told) * 1e6)
            say(f"threads: round {number} of {rounds}")
        for servers in fleets.values():
            for server in servers:
                proof.limits(server)
    finally:
        for servers in fleets.values():
            for server in servers:
                server.stop()
    return {how: {"runs": all_} for how, all_ in runs.items()}
