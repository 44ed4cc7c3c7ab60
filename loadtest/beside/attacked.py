"""What honest clients wait while attacks run, on Nessen and on nginx: the attacks and the clients of `hardening`."""
import time, types

import hostile, siege
from rounds import Failed

from . import peers, proof

# HTTP/2 is attacked in the last one alone; nginx 1.22 does not take it on a port of HTTP/1.1, and answers 400.
ATTACKS = ("slow heads", "churn", "request flood", hostile.TOGETHER)
SCALE = 0.2      # of the connections of `hardening`: 2000 that are held, 100 that are busy
BETWEEN = 1.0    # seconds for the connections of an attack to go


def measure(names, site, attacks, seconds, scale, say):
    """{peer: {"calm": ..., attack: ...}}, each what the honest clients and the probes have seen."""
    found = {}
    for name in names:
        server = peers.start(name, "attacked", site)
        honest = assault = None
        try:
            target = types.SimpleNamespace(port=server.port, mode=hostile.WELCOME)
            honest = siege.Honest(target)
            time.sleep(1)
            honest.period()
            time.sleep(seconds)
            seen = {"calm": honest.period()}
            for attack in attacks:
                honest.period()
                assault = siege.Assault(target, attack, seconds, scale)
                ends = assault.wait(seconds + 30)
                assault = None
                seen[attack] = honest.period() | {"peak": ends["peak"], "opened": ends["opened"], "sent": ends["sent"]}
                if server.process.poll() is not None:
                    raise Failed(f"{server.name} did not survive {attack}: {server.said()}")
                say(f"{server.name}, {attack}: p99 {seen['calm']['users']['p99']:.1f} -> {seen[attack]['users']['p99']:.1f} ms")
                time.sleep(BETWEEN)
            if name in peers.OURS:
                proof.limits(server)
        finally:
            if assault:
                assault.stop()
            if honest:
                honest.stop()
            server.stop()
        found[name] = seen
    return found
