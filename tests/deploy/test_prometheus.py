"""deploy/prometheus: the configurations, the rules and their cases, and that they ask for what there is."""

import re
import subprocess

import pytest
import yaml

from support import promql, tools

FOLDER = tools.ROOT / "deploy/prometheus"
RULES = FOLDER / "rules.yml"
RUNBOOK = tools.ROOT / "docs/runbook.md"
NAMES = """NessenDown NessenErrorRateHigh NessenErrorRateCritical NessenLatencyHigh NessenLatencyCritical
    NessenMemoryHigh NessenCpuHigh NessenRestarts NessenNotReady NessenRefusalsSpiking NessenDrainCutOff
    NessenLogLinesDropped NessenUpstreamUnhealthy NessenRateLimitBackendDown NessenRateLimitFallback
    NessenRateLimitBackendAuth NessenBlockedSourcesSpiking NessenEvidenceCountHigh NessenEvidenceBytesHigh
    NessenEvidenceFaults NessenEvidenceOff NessenColdStorageFailing NessenCertificateExpiring
    NessenCertificateReloadFailing NessenTlsHandshakesFailing NessenTraceSpansDropped
    NessenTraceExportFailing""".split()
# What the server of the tests has lost on purpose.
BROKEN = """NessenUpstreamUnhealthy NessenRateLimitBackendDown NessenTraceSpansDropped
    NessenTraceExportFailing""".split()


def rules():
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts():
    return [rule for rule in rules() if "alert" in rule]


@pytest.mark.parametrize("name", ["prometheus.yml", "dns.yml", "compose.yml"])
def test_promtool_takes_the_configuration(name):
    tools.run(tools.need("promtool"), "check", "config", FOLDER / name)


def test_every_configuration_loads_the_rules_and_calls_the_job_nessen():
    files = [path for path in FOLDER.glob("*.yml") if "scrape_configs" in path.read_text()]
    assert len(files) == 4
    for path in files:
        config = yaml.safe_load(path.read_text())
        assert config["rule_files"] == ["rules.yml"], path
        assert [job["job_name"] for job in config["scrape_configs"]] == ["nessen"], path
        assert path.read_text().startswith("# "), path


def test_compose_scrapes_the_three_replicas():
    job = yaml.safe_load((FOLDER / "compose.yml").read_text())["scrape_configs"][0]
    assert job["static_configs"] == [{"targets": ["nessen-1:3000", "nessen-2:3000", "nessen-3:3000"]}]


def test_kubernetes_keeps_one_target_of_each_live_pod(tmp_path):
    """Debian's promtool is built without this discovery: its labels are given as a cluster would give them."""
    config = yaml.safe_load((FOLDER / "kubernetes.yml").read_text())
    job = config["scrape_configs"][0]
    discovery = job.pop("kubernetes_sd_configs")
    assert discovery == [{"role": "pod", "namespaces": {"names": ["nessen"]}}]
    meta = "__meta_kubernetes_"

    def target(address, port, phase="Running", name="nessen"):
        labels = {
            f"{meta}pod_label_app_kubernetes_io_name": name,
            f"{meta}pod_container_port_name": port,
            f"{meta}pod_phase": phase,
            f"{meta}namespace": "nessen",
            f"{meta}pod_name": f"nessen-{address}",
        }
        return {"targets": [address], "labels": labels}

    job["static_configs"] = [
        target("a:9090", "admin"),
        target("a:3000", "http"),
        target("b:9090", "admin", phase="Succeeded"),
        target("c:9090", "admin", name="other"),
    ]
    config["rule_files"] = [str(RULES)]
    path = tmp_path / "kubernetes.yml"
    path.write_text(yaml.safe_dump(config))
    promtool = tools.need("promtool")
    tools.run(promtool, "check", "config", path)
    told = tools.run(promtool, "check", "service-discovery", path, "nessen").stdout
    kept = [one["labels"] for one in yaml.safe_load(told) if one.get("labels")]
    assert [(one["instance"], one["namespace"], one["pod"], one["job"]) for one in kept] == [
        ("a:9090", "nessen", "nessen-a:9090", "nessen")
    ]


def test_promtool_takes_the_rules():
    tools.run(tools.need("promtool"), "check", "rules", "--lint=all", "--lint-fatal", RULES)


@pytest.mark.parametrize("name", ["rules_test.yml", "rules_day_test.yml"])
def test_each_rule_does_what_its_cases_say(name):
    tools.run(tools.need("promtool"), "test", "rules", FOLDER / name)


def test_every_alert_has_a_case_that_fires_and_one_that_does_not():
    cases = [
        case
        for path in FOLDER.glob("rules_*test.yml")
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test.get("alert_rule_test", [])
    ]
    for name in NAMES:
        fires = {bool(case.get("exp_alerts")) for case in cases if case["alertname"] == name}
        assert fires == {True, False}, name


def test_every_severity_of_an_alert_has_a_case():
    cases = "".join(path.read_text() for path in FOLDER.glob("rules_*test.yml"))
    fired = set(re.findall(r"alertname: (\w+)", cases))
    assert fired == set(NAMES)
    told = {
        (case["alertname"], one["exp_labels"]["severity"])
        for path in FOLDER.glob("rules_*test.yml")
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test.get("alert_rule_test", [])
        for one in case.get("exp_alerts", [])
    }
    assert told == {(alert["alert"], alert["labels"]["severity"]) for alert in alerts()}


def test_the_alerts_are_all_there_and_say_what_to_do():
    assert sorted({alert["alert"] for alert in alerts()}) == sorted(NAMES)
    headings = {line[3:].strip() for line in RUNBOOK.read_text().splitlines() if line.startswith("## ")}
    for alert in alerts():
        assert alert["labels"]["severity"] in ("critical", "warning")
        notes = alert["annotations"]
        assert set(notes) == {"summary", "description", "runbook_url"}, alert["alert"]
        assert notes["runbook_url"] == f"docs/runbook.md#{alert['alert'].lower()}"
        assert alert["alert"] in headings


def test_promtool_finds_no_fault_in_a_scrape(busy):
    server, _ = busy
    status, _, text = server.get("/metrics")
    assert status == 200
    done = subprocess.run([tools.need("promtool"), "check", "metrics"], input=text, capture_output=True, text=True)
    # Names that tracehound's operators have alerts on already.
    theirs = re.compile(r'(quarantine|fail_safe_panic)_count non-histogram .* should not have "_count" suffix')
    assert [line for line in (done.stdout + done.stderr).splitlines() if not theirs.match(line)] == []


def test_the_rules_name_only_what_a_scrape_has(busy):
    server, _ = busy
    known = promql.scraped(server.get("/metrics")[2]) | promql.FOREIGN
    for rule in rules():
        if "record" in rule:
            level = rule["record"].split(":")[0]
            known[rule["record"]] = set(level.split("_"))
    for rule in rules():
        # "of" tells the two parts of the baseline apart; label_replace makes it.
        promql.check_names(rule["expr"], known)


def test_prometheus_evaluates_every_rule(busy):
    _, prometheus = busy

    def evaluated():
        told = [rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]]
        return told if told and all(rule["health"] != "unknown" for rule in told) else None

    told = prometheus.until(evaluated)
    assert len(told) == len(rules())
    assert [(rule["name"], rule.get("lastError")) for rule in told if rule["health"] != "ok"] == []


def test_every_selector_of_the_rules_finds_series(busy):
    """An alert is silent where all is well, so its parts are asked one by one."""
    _, prometheus = busy
    silent = set(promql.FOREIGN) - {"up"} | {
        # Fewer than 20 requests of any route, and no hours of history.
        "job_namespace_route:http_request_duration_seconds:p95_rate5m",
        "job_namespace_reason:nessen_rejections:baseline",
        "job_namespace:nessen_rate_limit_blocked_sources:baseline",
        "job_namespace_result:nessen_tls_handshakes:baseline",
    }
    asked = {selector for rule in rules() for selector in promql.selectors(rule["expr"])}
    assert len(asked) > 20
    for name, matchers in sorted(asked):
        # Outside of Kubernetes nothing has a pod.
        if name not in silent and 'pod!=""' not in matchers:
            prometheus.await_query(name + matchers)


def test_without_traffic_too_nothing_is_wrong_but_what_was_broken(busy):
    """Ten failures, 20 requests or minutes of anything there are not."""
    _, prometheus = busy
    active = {alert["labels"]["alertname"] for alert in prometheus.api("alerts")["alerts"]}
    assert active <= set(BROKEN)
