"""What was measured, as Markdown: ratios first, each figure the median of its rounds with the lowest and the highest."""
from statistics import median

import page

from . import attacked, cases, peers

COLUMNS = ("nginx", "haproxy", "hyper", "axum", "node")
RATES = {"latency-20k": 20_000, "latency-50k": 50_000}


def spread(values, digits=2):
    values = sorted(values)
    if not values:
        return "-"
    middle, low, high = (f"{value:,.{digits}f}".replace(",", " ") for value in (median(values), values[0], values[-1]))
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"


def digits(value):
    """Three figures of what is small, and no fractions of what is large."""
    return 2 if value < 100 else 1 if value < 1000 else 0


def of(results, case):
    return results["cases"].get(case, {}).get("peers", {})


def runs(results, case, peer, what):
    return [run[what] for run in of(results, case).get(peer, {}).get("runs", [])]


def ratios(results, case, subject, peer, what="cpu"):
    """Of each round: what has drifted between two rounds is in both."""
    return [own / other for own, other in zip(runs(results, case, subject, what), runs(results, case, peer, what)) if other]


def column(case, kind):
    """The peer of a case that stands in a column."""
    return next((name for name in case.peers if name.split()[0] == kind), kind)


def rows_of(results):
    for case in cases.CASES:
        for subject in case.subjects:
            if runs(results, case.name, subject, "cpu"):
                yield case, subject, case.what + (", through a router" if subject == "library" else "")


def ratio_table(results):
    rows = [(what, *(spread(ratios(results, case.name, subject, column(case, kind))) for kind in COLUMNS))
            for case, subject, what in rows_of(results)]
    return "\n".join(page.table(("CPU per request of Nessen ÷ that of", *(peers.LABELS[kind] for kind in COLUMNS)), rows))


def figure_table(results, what):
    rows = []
    for case, subject, title in rows_of(results):
        cells = []
        for peer in (subject, *(column(case, kind) for kind in COLUMNS)):
            values = runs(results, case.name, peer, what)
            cells.append(spread(values, 0 if what == "rate" else digits(median(values))) if values else "-")
        rows.append((title, *cells))
    unit = "CPU µs per request" if what == "cpu" else "requests per second"
    return "\n".join(page.table((unit, "Nessen", *(peers.LABELS[kind] for kind in COLUMNS)), rows))


def lost(results):
    """Log lines that a reader did not take in time."""
    found = [f"{case.what}: {peer['dropped']} of {peer['requests']} lines" for case in cases.CASES if case.log
             for name, peer in of(results, case.name).items() if name == "nessen" and peer["dropped"]]
    return "Log lines that Nessen dropped and counted: " + ("; ".join(found) if found else "none") + "."


def latency_table(results):
    parts = []
    for name in RATES:
        rows = [(peers.LABELS[peer], *(spread(runs(results, name, peer, what), 0) for what in ("p50", "p99", "p999", "max", "lag")))
                for peer in of(results, name)]
        if rows:
            rate = f"{results['cases'][name]['how']['rate']:,}".replace(",", " ")
            parts += [f"**{rate} requests per second**, 64 connections, µs from when a request was due:", ""]
            parts += page.table(("server", "p50", "p99", "p99.9", "most", "load itself late, p99"), rows) + [""]
    return "\n".join(parts).strip()


def idle_table(results):
    rows = []
    for name, told in of(results, "idle").items():
        each = per_connection(results, name)
        rows.append((peers.LABELS[name], f"{each:.2f}", f"{told['start'] / 1024:,.0f}".replace(",", " "),
                     f"{told['after'] / 1024:,.0f}".replace(",", " "), f"{told['first'] + told['count']}"))
    return "\n".join(page.table(("server", "KiB resident for one idle connection", "KiB at start", "KiB with all", "connections"), rows))


def per_connection(results, name):
    """KiB."""
    told = of(results, "idle").get(name)
    return (told["after"] - told["before"]) / told["count"] / 1024 if told else None


def start_table(results):
    rows = [(peers.LABELS[name], spread(told["runs"], 1)) for name, told in of(results, "start").items()]
    return "\n".join(page.table(("server", "ms from the start to the first 200"), rows))


def threads_table(results):
    rows = [(how, spread(told["runs"])) for how, told in of(results, "threads").items()]
    return "\n".join(page.table(("small answer, two cores", "CPU µs per request"), rows))


def size_table(results):
    told = of(results, "size")
    image = f"{told['image'] / 1e6:.1f} MB (`{told['name']}`)" if "image" in told else f"not measured: {told['why']}"
    return "\n".join(page.table(("", "size"), [("release binary", f"{told['binary'] / 1e6:.1f} MB"), ("image", image)]))


def attack_table(results):
    rows = []
    for attack in attacked.ATTACKS:
        for name, seen in of(results, "attacks").items():
            if attack not in seen:
                continue
            calm, now = seen["calm"], seen[attack]
            cells = [attack, peers.LABELS[name], f"{now['peak']}"]
            for kind in ("users", "probes"):
                cells += [f"{calm[kind]['p99'] or 0:.1f} → {now[kind]['p99'] or 0:.1f}", f"{now[kind]['max'] or 0:.1f}",
                          f"{sum(now[kind]['failed'].values()) + sum(now[kind]['refused'].values())}"]
            rows.append(cells)
    head = ("attack", "server", "open at once", "honest p99 ms, calm → attack", "most", "not served", "probe p99 ms, calm → attack", "most", "not served")
    return "\n".join(page.table(head, rows))


def about(results):
    known = results["about"]
    lines = [f"{known['cores']} cores ({known['architecture']}), {known['kernel']}. " + ", ".join(known["versions"]) + ".",
             f"{known['rounds']} rounds of {known['seconds']} s."]
    lines += [f"Passed over: {why}." for why in known["skipped"]]
    return "\n".join(lines)


def sections(results):
    """Of the page, those that were measured."""
    found = {"machine": about(results)}
    if any(True for _ in rows_of(results)):
        found |= {"ratios": ratio_table(results), "cpu": figure_table(results, "cpu") + "\n\n" + lost(results),
                  "rates": figure_table(results, "rate")}
    if any(of(results, name) for name in RATES):
        found["latency"] = latency_table(results)
    for name, table in (("idle", idle_table), ("start", start_table), ("threads", threads_table), ("size", size_table), ("attacks", attack_table)):
        if of(results, name):
            found[name] = table(results)
    return found


SUMMARY = (("a small answer, every limit and metric on, access log off: server CPU per request", "small", ("nessen", "hyper", "nginx")),
           ("the same with the JSON access log", "log-file", ("nessen", "nginx")),
           ("a small answer through the reverse proxy, connections kept on both sides", "proxy-get", ("nessen", "nginx", "haproxy")),
           ("one idle keep-alive connection, resident", "idle", ("nessen", "nginx", "haproxy")))


def summary(results):
    """For the README: a row a case."""
    rows = []
    for what, case, names in SUMMARY:
        told = []
        for name in names:
            values = [per_connection(results, name)] if case == "idle" else runs(results, case, name, "cpu")
            if values and values[0] is not None:
                told.append(f"{peers.LABELS[name]} {median(values):.1f} {'KiB' if case == 'idle' else 'µs'}")
        rows.append((what, "; ".join(told), f"`loadtest/bench --only {case}`"))
    return "\n".join(page.table(("what", "measured in the same run", "command"), rows))
