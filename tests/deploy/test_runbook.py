"""docs/runbook.md: an entry for each alert, which names only what there is."""

import re

import yaml

from support import promql, tools

RUNBOOK = (tools.ROOT / "docs/runbook.md").read_text()
METRICS = (tools.ROOT / "docs/METRICS.md").read_text()
KEYS = (tools.ROOT / "docs/CONFIGURATION.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", RUNBOOK, re.MULTILINE | re.DOTALL)
PROSE = re.sub(r"^```.*?^```", "", RUNBOOK, flags=re.MULTILINE | re.DOTALL)


def code():
    return set(re.findall(r"`([^`\n]+)`", PROSE))


def entries():
    parts = re.split(r"^## (.+)\n", RUNBOOK, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2]))


def queries():
    return [line for kind, text in BLOCKS if kind == "promql" for line in text.splitlines() if line]


def test_every_alert_has_an_entry_and_every_entry_an_alert():
    rules = yaml.safe_load((tools.ROOT / "deploy/prometheus/rules.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    assert set(entries()) == alerts


def test_every_entry_says_what_it_means_what_to_look_at_and_what_to_do():
    for name, text in entries().items():
        assert text.index("**Means.**") < text.index("**Look at**") < text.index("**Do**"), name


def test_every_link_leads_to_a_heading_that_exists():
    for path, anchor in re.findall(r"\]\(([^)#]*)#([^)]+)\)", RUNBOOK):
        page = RUNBOOK if not path else (tools.ROOT / "docs" / path).read_text()
        headings = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in anchors, f"{path}#{anchor}"


def test_every_key_metric_and_reason_exists():
    keys = set(re.findall(r"^\| `([a-z0-9_]+\.[a-z0-9_]+)`", KEYS, re.MULTILINE))
    sections = {key.split(".")[0] for key in keys}
    metrics = set(re.findall(r"^\| `([a-z_]+)` \| (?:counter|gauge|histogram)", METRICS, re.MULTILINE))
    reasons = set(re.findall(r"^\| `([a-z0-9_]+)` \| (?:\d+|none) \|", METRICS, re.MULTILINE))
    route = set(re.findall(r"^\| `([a-z_]+)` \|", KEYS, re.MULTILINE)) | {key.split(".")[1] for key in keys}
    assert len(keys) > 60 and len(metrics) > 30 and len(reasons) >= 31
    for word in code():
        if re.fullmatch(r"[a-z0-9]+\.[a-z0-9_]+", word) and word.split(".")[0] in sections:
            assert word in keys, f"there is no key {word}"
        elif word.startswith(("nessen_", "http_", "process_")):
            assert word in metrics, f"there is no metric {word}"
        elif re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)+", word):
            assert word in reasons | route | metrics, f"there is no reason, setting or metric {word}"


def test_every_reason_that_is_no_quiet_end_is_in_a_table():
    reasons = set(re.findall(r"^\| `([a-z0-9_]+)` \| (?:\d+|none) \|", METRICS, re.MULTILINE))
    assert reasons <= code(), reasons - code()


def test_statuses_of_reasons_are_those_of_the_table():
    told = dict(re.findall(r"^\| `([a-z0-9_]+)` \| (\d+|none) \|", METRICS, re.MULTILINE))
    rows = re.findall(r"^\| (`[^|]+`) \| (\d+) \|", RUNBOOK, re.MULTILINE)
    assert len(rows) > 6
    for names, status in rows:
        for name in re.findall(r"`([a-z0-9_]+)`", names):
            assert told[name] == status, name


def test_every_query_parses_and_is_answered(busy, tmp_path):
    server, prometheus = busy
    known = promql.scraped(server.get("/metrics")[2]) | promql.FOREIGN
    assert len(queries()) > 20
    promql.check_parses(queries(), tmp_path)
    for expr in queries():
        promql.check_names(expr, known)
        prometheus.query(expr)


def test_the_log_has_the_fields_and_messages_that_are_asked_for(busy):
    server, _ = busy
    log = server.output()
    asked = {field for kind, text in BLOCKS if kind == "sh" for field in re.findall(r"(?<=[ (\[])\.([a-z_]+)", text)}
    assert {"reason", "client", "route", "status", "message"} <= asked
    for field in asked - {"checks"}:
        assert f'"{field}":' in log, field
    for message in re.findall(r'\.message == "([^"]+)"', RUNBOOK):
        assert f'"message":"{message}"' in log


def test_a_cut_off_drain_logs_the_line_and_ends_with_3(nessen):
    import signal
    import socket

    held = socket.create_server(("127.0.0.1", 0))
    port = held.getsockname()[1]
    server = nessen(UPSTREAM=f"http://127.0.0.1:{port}", DRAIN_DELAY="0s", SHUTDOWN_TIMEOUT="100ms")
    host, own = server.address.rsplit(":", 1)
    client = socket.create_connection((host, int(own)))
    client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    asked, _ = held.accept()  # the request is in flight, and is never answered
    server.signal(signal.SIGTERM)
    assert server.wait() == 3
    server.reader.join(5)
    line = next(text for kind, text in BLOCKS if kind == "json").strip()
    wanted = dict(re.findall(r'"(\w+)":("[^"]*"|\d+)', line))
    found = [one for one in server.output().splitlines() if "cutting off" in one]
    assert found and all(f'"{key}":{value}' in found[0] for key, value in wanted.items()), found
    assert '"status":null' in server.output()
    for one in (client, asked, held):
        one.close()
