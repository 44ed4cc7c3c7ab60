"""What the server itself counts: two readings of its /metrics, and what lies between them."""
import re, time, urllib.error, urllib.request

# Asked by probes and by ourselves, beside the load.
ENDPOINTS = {"/metrics", "/version", "/api/health", "/health", "/healthz", "/livez", "/health/live",
             "/ready", "/readyz", "/health/ready"}
SERIES = re.compile(r"^([a-z_]+)(?:{(.*)})? (\S+)$", re.MULTILINE)
LABEL = re.compile(r'([a-z_]+)="([^"]*)"')


class Unreadable(Exception):
    """There are no metrics of Nessen at the address."""


def read(url):
    """Requests, refusals by reason, CPU seconds (or None), and what is being served."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            text = answer.read().decode()
    except urllib.error.HTTPError as error:
        raise Unreadable(f"{url} answers {error.code}") from error
    except OSError as error:
        raise Unreadable(f"{url}: {getattr(error, 'reason', error)}") from error
    return parse(text, url)


def parse(text, url="the metrics"):
    now = {"requests": 0, "refusals": {}, "cpu": None, "active": 0}
    found = False
    for name, labels, value in SERIES.findall(text):
        labels, value = dict(LABEL.findall(labels)), float(value)
        if name == "http_requests_total" and labels.get("route") not in ENDPOINTS:
            now["requests"] += int(value)
        elif name == "nessen_rejections_total":
            now["refusals"][labels["reason"]] = int(value)
            found = True
        elif name == "process_cpu_seconds_total":
            now["cpu"] = value
        elif name == "http_requests_active":
            now["active"] = int(value)
    if not found:
        raise Unreadable(f"{url} has no nessen_rejections_total")
    return now


def settled(url, seconds=3):
    """A reading when nothing but the reading itself is being served, or after some seconds."""
    until = time.monotonic() + seconds
    while (now := read(url))["active"] > 1 and time.monotonic() < until:
        time.sleep(0.02)
    return now


def between(before, after):
    if after["requests"] < before["requests"]:
        raise Unreadable("the counters went back: a restart, or several servers behind one address")
    counted = after["requests"] - before["requests"]
    refusals = {reason: number - before["refusals"].get(reason, 0) for reason, number in after["refusals"].items()}
    known = before["cpu"] is not None and after["cpu"] is not None and counted
    return {"counted": counted,
            "refusals": {reason: number for reason, number in sorted(refusals.items()) if number > 0},
            "cpu_us": (after["cpu"] - before["cpu"]) / counted * 1e6 if known else None}
