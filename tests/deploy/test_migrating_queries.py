"""The queries and alerts of the documents of docs/migrating.md, asked of a real Prometheus that
scrapes a real server under each manifest's environment."""

import threading

import pytest
import yaml
from support import pod, tools
from support.migration import each, migration  # noqa: F401
from support.prometheus import Prometheus

GUIDE = (
    "rate(http_requests_total[5m])",
    'rate(http_requests_total{status=~"5.."}[5m])',
    "histogram_quantile(0.95, rate(http_request_duration_seconds_bucket[5m]))",
    "http_requests_active",
)


@pytest.fixture
def scrape(tmp_path):
    """`scrape(job="host:port")`"""
    started = []

    def start(**targets):
        started.append(Prometheus(tmp_path, targets))
        return started[-1]

    yield start
    for prometheus in started:
        prometheus.stop()


@each("nessen")
def test_the_guides_queries_have_values_unchanged(migration, scrape):
    """Scraped on the port itself, as the guide has it; and a 5xx, so that there is one to count."""
    server = migration.proxying()
    prometheus = scrape(nessen=server.address)
    for query in GUIDE:
        found = prometheus.await_query(query, any_number, meanwhile=lambda: (server.get("/"), server.get("/fail")))
        assert found[0]["metric"]["job"] == "nessen", query


def any_number(series):
    return any(float(one["value"][1]) >= 0 for one in series)  # NaN is not


def rules(migration):
    groups = pod.one(migration.manifest, "PrometheusRule")["spec"]["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


@each("traversion")
def test_the_alerts_are_rules_that_prometheus_takes(migration, tmp_path):
    spec = tmp_path / "rules.yaml"
    spec.write_text(yaml.safe_dump(pod.one(migration.manifest, "PrometheusRule")["spec"]))
    tools.run(tools.need("promtool"), "check", "rules", spec)
    # The times of the guide.
    assert {name: rule["for"] for name, rule in rules(migration).items()} == {
        "TraversionApiDown": "1m",
        "TraversionHighErrorRate": "2m",
        "TraversionHighResponseTime": "5m",
    }


@each("traversion")
def test_the_alert_of_the_error_rate_holds_when_more_than_a_tenth_fails(migration, scrape):
    server = migration.serve()
    prometheus = scrape(traversion=server.admin_address)
    expression = rules(migration)["TraversionHighErrorRate"]["expr"]

    def ask(*paths):
        return lambda: [server.get(path) for path in paths]

    rate = expression.replace("> 0.10", "")
    prometheus.await_query(rate, lambda found: found and 0 < float(found[0]["value"][1]) < 0.10, ask(*["/"] * 30, "/fail"))
    assert prometheus.query(expression) == []
    prometheus.await_query(expression, meanwhile=ask(*["/fail"] * 50))


@each("traversion")
def test_the_alert_of_the_response_time_holds_when_answers_take_over_two_seconds(migration, scrape):
    server = migration.serve()
    prometheus = scrape(traversion=server.admin_address)
    expression = rules(migration)["TraversionHighResponseTime"]["expr"]
    quick = "increase(http_request_duration_seconds_count[1m]) > 0"
    prometheus.await_query(quick, meanwhile=lambda: server.get("/"))
    assert prometheus.query(expression) == []

    def slow():
        """As many again, each held back for a little over two seconds."""
        migration.app.release.clear()
        asking = [threading.Thread(target=server.get, args=("/hold",)) for _ in range(30)]
        for one in asking:
            one.start()
        for _ in asking:
            assert migration.app.held.acquire(timeout=10), "a request did not reach the application"
        threading.Timer(2.1, migration.app.release.set).start()
        for one in asking:
            one.join()

    prometheus.await_query(expression, meanwhile=slow)


@each("traversion")
def test_the_alert_of_an_api_that_is_down_holds_when_it_is(migration, scrape):
    server = migration.serve()
    prometheus = scrape(traversion=server.admin_address)
    expression = rules(migration)["TraversionApiDown"]["expr"]
    prometheus.await_query('up{job="traversion"} == 1')
    assert prometheus.query(expression) == []
    server.kill()
    prometheus.await_query(expression)


@each("talos")
def test_talos_metrics_are_scraped_on_the_services_port(migration, scrape):
    """Without a port for operators: Nessen's own on the port that the guide names."""
    server = migration.serve(without=("ADMIN_PORT", "NESSEN_ADMIN_HOST"))
    scrape(talos=server.address).await_query('nessen_build_info{job="talos"} == 1')


@each("tracehound")
def test_blocked_sources_can_be_compared_with_their_own_baseline(migration, scrape):
    """The guide's alert on rate_limiter_blocked_sources, under Nessen's name for it."""
    server = migration.serve(TRACEHOUND_RATE_LIMIT_MAX_REQUESTS=1)
    prometheus = scrape(tracehound=server.admin_address)
    name = "nessen_rate_limit_blocked_sources"
    prometheus.await_query(f"count_over_time({name}[1h]) > 5 and {name} == 0")
    for _ in range(2):
        server.get("/", headers={"X-Forwarded-For": "203.0.113.1"})
    prometheus.await_query(f"{name} > 3 * avg_over_time({name}[1h])")


@each("tracehound", "talos")
def test_both_are_scraped_nessen_and_the_application_behind_it(migration, scrape):
    server = migration.serve()
    prometheus = scrape(app=server.address, nessen=server.admin_address)
    prometheus.await_query('app_metric{job="app"} == 1')
    prometheus.await_query('nessen_ready{job="nessen"} == 1')
