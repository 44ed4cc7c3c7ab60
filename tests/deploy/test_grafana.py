"""deploy/grafana and deploy/copies: a dashboard that Grafana can load, whose queries a real scrape answers."""

import json
import re
import shutil

import pytest
import yaml

from support import promql, tools

DASHBOARD = tools.ROOT / "deploy/grafana/nessen.json"
# What the variables stand for when everything is chosen.
CHOSEN = {"job": "nessen", "namespace": ".*", "instance": ".*", "route": ".*"}


@pytest.fixture(scope="module")
def dashboard():
    return json.loads(DASHBOARD.read_text())


def panels(dashboard):
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries(dashboard):
    """Each (panel's title, refId, expression as Prometheus gets it)."""
    return [
        (panel["title"], target["refId"], promql.plain(target["expr"], CHOSEN))
        for panel in panels(dashboard)
        for target in panel["targets"]
    ]


def test_the_dashboard_is_what_its_script_writes():
    tools.run(tools.ROOT / "deploy/grafana/build", "--check")


def test_the_copies_are_what_their_script_writes():
    tools.run(tools.ROOT / "deploy/copies", "--check")


def test_the_copies_say_the_same_as_the_originals():
    rules = yaml.safe_load((tools.ROOT / "deploy/prometheus/rules.yml").read_text())
    wrapped = yaml.safe_load((tools.ROOT / "k8s/components/monitoring/prometheus-rule.yaml").read_text())
    assert wrapped["spec"] == rules
    assert wrapped["kind"] == "PrometheusRule" and "namespace" not in wrapped["metadata"]
    assert yaml.safe_load((tools.ROOT / "deploy/helm/nessen/files/rules.yml").read_text()) == rules
    for path in ["k8s/components/monitoring/dashboard.json", "deploy/helm/nessen/files/dashboard.json"]:
        assert (tools.ROOT / path).read_text() == DASHBOARD.read_text()


def test_a_copy_that_differs_is_found(tmp_path):
    for path in ["deploy/copies", "deploy/prometheus/rules.yml", "deploy/grafana/nessen.json"]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tools.ROOT / path, tmp_path / path)
    script = tmp_path / "deploy/copies"
    assert tools.run(script, "--check", check=False).returncode != 0, "none is there yet"
    tools.run(script)
    tools.run(script, "--check")
    for copy in ["k8s/components/monitoring/prometheus-rule.yaml", "deploy/helm/nessen/files/dashboard.json"]:
        text = (tmp_path / copy).read_text()
        (tmp_path / copy).write_text(text + " ")
        done = tools.run(script, "--check", check=False)
        assert done.returncode != 0 and copy in done.stderr
        (tmp_path / copy).write_text(text)


def test_the_panels_have_ids_and_places_of_their_own(dashboard):
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    taken = {}
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert 0 <= place["x"] and place["x"] + place["w"] <= 24 and place["h"] > 0, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                other = taken.setdefault((x, y), panel["title"])
                assert other == panel["title"] or not panel["title"], f"{panel['title']} lies on {other}"


def test_every_panel_says_what_it_shows_and_in_what_unit(dashboard):
    assert 39 <= dashboard["schemaVersion"] <= 41
    assert len(panels(dashboard)) > 30
    for panel in panels(dashboard):
        assert panel["title"] and panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert steps[0]["value"] is None
        assert [step["value"] for step in steps[1:]] == sorted(step["value"] for step in steps[1:])
        refs = [target["refId"] for target in panel["targets"]]
        assert refs and len(set(refs)) == len(refs)


def test_the_data_source_is_the_variable_everywhere(dashboard):
    source = {"type": "prometheus", "uid": "${datasource}"}
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    for variable in variables.values():
        assert variable["type"] == "datasource" or variable["datasource"] == source, variable["name"]
    for panel in panels(dashboard):
        assert panel["datasource"] == source
        assert all(target["datasource"] == source for target in panel["targets"]), panel["title"]


def test_every_variable_is_defined_and_used(dashboard):
    defined = [variable["name"] for variable in dashboard["templating"]["list"]]
    text = json.dumps(dashboard)
    used = set(re.findall(r"\$\{?([a-z]\w*)", text))
    assert used == set(defined)
    # A variable asks only for those before it.
    for at, variable in enumerate(dashboard["templating"]["list"]):
        asked = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(variable.get("query", ""))))
        assert asked <= set(defined[:at]), variable["name"]
    # Others have http_requests_total too: every query is for the chosen job.
    for panel in panels(dashboard):
        for target in panel["targets"]:
            for name, matchers in promql.selectors(target["expr"]):
                assert 'job=~"$job"' in matchers, f"{panel['title']}: {name}"
    job = next(variable for variable in dashboard["templating"]["list"] if variable["name"] == "job")
    assert "allValue" not in job and job["current"]["value"] == ["nessen"]


def test_every_query_parses(dashboard, tmp_path):
    promql.check_parses([expr for _, _, expr in queries(dashboard)], tmp_path)


def test_the_dashboard_names_only_what_a_scrape_has(dashboard, busy):
    server, _ = busy
    known = promql.scraped(server.get("/metrics")[2])
    for _, _, expr in queries(dashboard):
        promql.check_names(expr, known)


def test_every_legend_names_labels_of_its_result(dashboard, busy):
    _, prometheus = busy
    for panel in panels(dashboard):
        for target in panel["targets"]:
            for one in prometheus.query(promql.plain(target["expr"], CHOSEN)):
                wanted = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                assert wanted <= set(one["metric"]), panel["title"]


def test_every_panel_shows_something(dashboard, busy):
    _, prometheus = busy
    for _title, _ref, expr in queries(dashboard):
        prometheus.await_query(expr)


def test_every_selector_of_the_dashboard_finds_series(dashboard, busy):
    """Where a query falls back to 0, an error in it would not show."""
    _, prometheus = busy
    for title, ref, expr in queries(dashboard):
        for name, matchers in promql.selectors(expr):
            prometheus.await_query(name + matchers)


def test_no_panel_shows_a_number_that_is_none(dashboard, busy):
    _, prometheus = busy
    for title, ref, expr in queries(dashboard):
        values = [one["value"][1] for one in prometheus.query(expr)]
        assert "+Inf" not in values, (title, ref)


def test_every_variable_has_something_to_choose(dashboard, busy):
    _, prometheus = busy
    chosen = {}
    for variable in dashboard["templating"]["list"][1:]:
        series, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
        found = prometheus.api("series", **{"match[]": promql.plain(series, CHOSEN)})
        chosen[label] = {one[label] for one in found if label in one}
    assert chosen["job"] == {"nessen"}
    assert chosen["namespace"] == set(), "there is none outside of Kubernetes"
    assert len(chosen["instance"]) == 1
    assert chosen["route"] == {"/", "/down", "/limited"}
