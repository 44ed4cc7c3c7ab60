"""What is to be reached, beside what was measured. A ratio is judged by its median, as it is printed."""
from statistics import median

import hostile
import page

from . import peers, report

ORIGINAL = 85 / 17   # µs of the service that Nessen replaces, by those of Node's bare http, on one machine
FLOOR = 5.0          # ms: below that, the waiting is the scheduler's, as in hardening


def ratio(results, case, peer, most, subject="nessen"):
    values = report.ratios(results, case, subject, peer)
    return (f"{report.spread(values)} ×", round(median(values), 2) <= most) if values else None


def ratios(case, *names):
    return [(f"CPU per request ≤ {peers.LABELS[peer]}", lambda results, peer=peer: ratio(results, case, peer, 1.0)) for peer in names]


def idle(results):
    each = report.per_connection(results, "nessen")
    return each and (f"{each:.2f} KiB", each <= 1.0)


def original(results):
    values = [ORIGINAL / each for each in report.ratios(results, "small", "nessen", "node")]
    return values and (f"{report.spread(values, 1)} × fewer", median(values) >= 10)


def start(results):
    values = report.of(results, "start").get("nessen", {}).get("runs")
    return values and (f"{report.spread(values, 1)} ms", median(values) <= 10)


def size(results, what):
    bytes_ = report.of(results, "size").get(what)
    return bytes_ and (f"{bytes_ / 1e6:.1f} MB", bytes_ <= 8e6)


def honest(results):
    seen = report.of(results, "attacks").get("nessen", {})
    if hostile.TOGETHER not in seen:
        return None
    calm, now = seen["calm"]["users"]["p99"], seen[hostile.TOGETHER]["users"]["p99"]
    return f"{calm:.1f} → {now:.1f} ms", now <= max(2 * calm, FLOOR)


def probes(results):
    seen = report.of(results, "attacks").get("nessen", {}).get(hostile.TOGETHER)
    if not seen:
        return None
    bad = sum(seen["probes"]["failed"].values()) + sum(seen["probes"]["refused"].values())
    return f"at most {seen['probes']['max']:.1f} ms, {bad} unanswered", seen["probes"]["max"] < 50 and not bad


# What, the goal, and how it is taken from the results: (measured, reached), or None.
GOALS = [
    *(("small answer, every limit and metric on", *goal) for goal in ratios("small", "nginx")),
    ("the same", "CPU per request ≤ 1.10 × bare hyper", lambda results: ratio(results, "small", "hyper", 1.1)),
    ("the same through an axum router", "CPU per request ≤ 1.10 × bare hyper", lambda results: ratio(results, "small", "hyper", 1.1, "library")),
    ("the same", "less CPU per request than Node's bare http", lambda results: ratio(results, "small", "node", 1.0)),
    ("the same", "10 × fewer CPU µs than Node's original, 5 × its bare http", original),
    *(("with a JSON access log to a file", *goal) for goal in ratios("log-file", "nginx")),
    *(("with a JSON access log to a pipe", *goal) for goal in ratios("log-pipe", "nginx")),
    *(("reverse proxy, small GET", *goal) for goal in ratios("proxy-get", "nginx", "haproxy")),
    *(("reverse proxy, POST of 16 KiB", *goal) for goal in ratios("proxy-post", "nginx", "haproxy")),
    *(("reverse proxy, answer of 1 MiB", *goal) for goal in ratios("proxy-large", "nginx", "haproxy")),
    ("idle keep-alive connection", "≤ 1 KiB resident", idle),
    ("all attacks together", f"p99 of honest requests ≤ 2 × the calm one, or {FLOOR:.0f} ms", honest),
    ("all attacks together", "probes answered within 50 ms", probes),
    ("start to the first 200 on `/ready`", "≤ 10 ms", start),
    ("release binary", "≤ 8 MB", lambda results: size(results, "binary")),
    ("image", "≤ 8 MB", lambda results: size(results, "image")),
]


def judged(results):
    """(what, goal, measured, reached or None) of every goal."""
    for what, goal, look in GOALS:
        found = look(results) or ("not measured", None)
        yield what, goal, *found


def table(results):
    words = {True: "reached", False: "**not reached**", None: "-"}
    rows = [(what, goal, measured, words[reached]) for what, goal, measured, reached in judged(results)]
    return "\n".join(page.table(("what", "goal", "measured", ""), rows))
