"""The attacks of `hardening` and `soak`: what each is, and how many connections it takes."""
import typing

from . import http1, http2

MANY = [f"127.0.2.{n}" for n in range(1, 251)]
ONE = ["127.0.2.1"]
# What the server under attack serves: its own welcome app, a folder, or what it is a proxy for.
WELCOME, FILES, PROXY = "welcome app", "files", "proxy"


class Attack(typing.NamedTuple):
    """`count` connections of `kind`, from `sources`, on a server of one `mode`."""

    name: str
    kind: type
    count: int
    mode: str = WELCOME
    sources: list = MANY

    @property
    def meaning(self):
        return " ".join(self.kind.__doc__.split())


# Connections that are held: as many as a large server has at most. Those that send as fast as they
# can: as many as a core keeps busy.
HELD, BUSY = 10_000, 500
ATTACKS = (
    Attack("idle connections", http1.Idle, HELD),
    Attack("idle connections of one client", http1.Idle, HELD, sources=ONE),
    Attack("slow heads", http1.SlowHead, HELD),
    Attack("big slow heads", http1.BigSlowHead, HELD),
    Attack("slow bodies", http1.SlowBody, HELD),
    Attack("paced bodies", http1.PacedBody, HELD),
    Attack("held uploads", http1.HeldUpload, 2_000),
    Attack("unread answers", http1.UnreadEcho, 2_000),
    Attack("churn", http1.Churn, BUSY),
    Attack("request flood", http1.Flood, BUSY),
    Attack("pipelined flood", http1.Pipelined, BUSY),
    Attack("one client's flood", http1.Pipelined, 200, sources=ONE),
    Attack("HTTP/2 slow uploads", http2.SlowUploads, 1_000),
    Attack("HTTP/2 shut windows", http2.ZeroWindow, 1_000),
    Attack("HTTP/2 dripping windows", http2.WindowDrip, 1_000),
    Attack("HTTP/2 rapid reset", http2.RapidReset, BUSY),
    Attack("HTTP/2 CONTINUATION", http2.Continuation, BUSY),
    Attack("HTTP/2 PING and SETTINGS", http2.Control, BUSY),
    Attack("HTTP/2 empty DATA", http2.Empty, BUSY),
    Attack("HTTP/2 header bombs", http2.HeaderBomb, BUSY),
    Attack("slow readers of files", http1.SlowRead, HELD, FILES),
    Attack("HTTP/2 shut windows on files", http2.ZeroWindowFile, 1_000, FILES),
    Attack("idle connections through the proxy", http1.Idle, HELD, PROXY),
    Attack("slow bodies through the proxy", http1.SlowBody, HELD, PROXY),
    Attack("slow readers through the proxy", http1.SlowRead, HELD, PROXY),
)
BY_NAME = {attack.name: attack for attack in ATTACKS}
TOGETHER = "all together"


def parts(name, scale=1.0):
    """What an attack is made of: (attack, connections) of each process. All together share the whole."""
    if name != TOGETHER:
        return [(BY_NAME[name], max(1, int(BY_NAME[name].count * scale)))]
    each = [attack for attack in ATTACKS if attack.mode == WELCOME and attack.sources is MANY]
    return [(attack, max(1, int(attack.count * scale / len(each)))) for attack in each]
