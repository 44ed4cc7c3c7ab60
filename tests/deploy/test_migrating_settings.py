"""Settings of tracehound and talos on the real binary, one by one: docs/migrating.md has a row for each."""

import gzip
import json
import re

import pytest
from support import pod, settings, tools
from support.bucket import Bucket
from support.collector import Collector
from support.migration import each, migration  # noqa: F401
from support.redis import Redis
from support.waiting import eventually

CLIENT = "203.0.113.9"

# Variable of the guide, its value there, the key that it is, and the value as it is shown.
TRACEHOUND = [
    ("TRACEHOUND_QUARANTINE_MAX_COUNT", "10000", "evidence.max_count", "10000"),
    ("TRACEHOUND_QUARANTINE_MAX_BYTES", "104857600", "evidence.max_bytes", "100MiB"),
    ("TRACEHOUND_QUARANTINE_EVICTION", "priority", "evidence.eviction", "priority"),
    ("TRACEHOUND_RATE_LIMIT_WINDOW_MS", "60000", "rate_limit.window", "1m"),
    ("TRACEHOUND_RATE_LIMIT_MAX_REQUESTS", "1000", "rate_limit.max_requests", "1000"),
    ("TRACEHOUND_RATE_LIMIT_BLOCK_MS", "30000", "rate_limit.block", "30s"),
    ("TRACEHOUND_MAX_PAYLOAD_SIZE", "1048576", "limits.max_body_size", "1MiB"),
    ("TRACEHOUND_COLD_STORAGE_BUCKET", "tracehound-evidence", "evidence.s3_bucket", "tracehound-evidence"),
    ("TRACEHOUND_COLD_STORAGE_PREFIX", "prod/evidence/", "evidence.s3_prefix", "prod/evidence"),
    ("TRACEHOUND_COLD_STORAGE_REGION", "us-east-1", "evidence.s3_region", "us-east-1"),
    ("TRACEHOUND_SCHEDULER_TICK_MS", "5000", "evidence.flush_interval", "5s"),
    ("TRACEHOUND_FAILSAFE_PANIC_THRESHOLD", "10", "evidence.panic_threshold", "10"),
    ("TRACEHOUND_FAILSAFE_WINDOW_MS", "60000", "evidence.panic_window", "1m"),
]
TALOS = [
    ("MODE", "prod", "server.mode", "prod"),
    ("REPLICAS", "10", "server.replicas", "10"),
    ("RATE_LIMIT_ENABLED", "true", "rate_limit.enabled", "true"),
    ("RATE_LIMIT_BACKEND", "redis", "rate_limit.backend", "redis"),
    ("RATE_LIMIT_DEFAULT_RPS", "10", "rate_limit.per_second", "10"),
    ("RATE_LIMIT_DEFAULT_BURST", "20", "rate_limit.burst", "20"),
    ("TRACING_ENABLED", "true", "tracing.enabled", "true"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1", "tracing.endpoint", "http://127.0.0.1:1/"),
    (
        "OTEL_RESOURCE_ATTRIBUTES", "service.name=talos-nessen,environment=prod",
        "tracing.resource_attributes", "service.name=talos-nessen,environment=prod",
    ),
    ("SHUTDOWN_DRAIN_TIMEOUT_SECONDS", "30", "shutdown.drain_timeout", "30s"),
]
ROWS = [("tracehound", *row) for row in TRACEHOUND] + [("talos", *row) for row in TALOS]
# A secret is shown by no value.
SECRET = [
    ("tracehound", "AWS_ACCESS_KEY_ID", "evidence.s3_access_key_id"),
    ("tracehound", "AWS_SECRET_ACCESS_KEY", "evidence.s3_secret_access_key"),
    ("talos", "REDIS_URL", "rate_limit.redis_url"),
]


def check(migration, **more):
    """{key: (value, variable)} of what `nessen check` says comes out of the environment."""
    done = tools.run(migration.binary, "check", env=migration.values | more)
    found = re.findall(r"^(\w+\.\w+) +(.+?) {2,}environment (\w+)$", done.stdout, re.MULTILINE)
    return {key: (value, variable) for key, value, variable in found}, done.stdout + done.stderr


@pytest.mark.parametrize(("migration", "variable", "value", "key", "shown"), ROWS, indirect=["migration"])
def test_the_variable_of_the_guide_sets_the_key(migration, variable, value, key, shown):
    assert migration.values[variable] == value
    found, _ = check(migration)
    assert found[key][1] == variable
    assert same(found[key][0], shown), found[key]


def same(one, other):
    """60s and 1m are."""
    try:
        return settings.seconds(one) == settings.seconds(other)
    except ValueError:
        return one == other


@pytest.mark.parametrize(("migration", "variable", "key"), SECRET, indirect=["migration"])
def test_the_secret_of_the_guide_sets_the_key_and_is_not_shown(migration, variable, key):
    found, text = check(migration, **{variable: "redis://:h0rse-staple@127.0.0.1:1" if "URL" in variable else "h0rse-staple"})
    assert found[key][1] == variable
    assert "h0rse-staple" not in text


@pytest.mark.parametrize(("name", "rows"), [("tracehound", TRACEHOUND), ("talos", TALOS)])
def test_every_row_stands_on_the_page(name, rows):
    section = (tools.ROOT / "docs/migrating.md").read_text().split(f"\n## {name}\n")[1].split("\n## ")[0]
    for variable in [row[0] for row in rows] + [row[1] for row in SECRET if row[0] == name]:
        assert re.search(rf"^\| .*`{variable}`", section, re.MULTILINE), variable
    for row in rows:
        assert f"`{row[2]}`" in section, row[2]


# tracehound: what Nessen refuses is kept, and written on.


@pytest.fixture
def bucket():
    store = Bucket()
    yield store
    store.close()


def refuse(server, path="/up", client=CLIENT):
    status, _, _ = server.get(path, method="POST", body=b"x" * 1048577, headers={"X-Forwarded-For": client})
    assert status == 413


def listed(server):
    return json.loads(server.get("/evidence", admin=True)[2])


@each("tracehound")
def test_what_nessen_refuses_is_kept_and_counted_by_tracehounds_names(migration):
    server = migration.serve()
    refuse(server)
    found = eventually(lambda: listed(server)["entries"], "it is kept")
    assert (found[0]["reason"], found[0]["client"]) == ("body_too_large", CLIENT)
    assert not migration.app.asked("/evidence"), "the admin port's, not the application's"
    assert json.loads(server.get("/evidence")[2]) == {"app": "/evidence"}
    eventually(lambda: "\nquarantine_count 1\n" in server.get("/metrics", admin=True)[2], "it is counted")
    metrics = server.get("/metrics", admin=True)[2]
    for name in ("quarantine_bytes", "quarantine_evicted_total", "cold_storage_failures_total", "fail_safe_panic_count"):
        assert f"\n{name} " in metrics, name


@each("tracehound")
def test_the_count_bounds_what_is_kept(migration):
    server = migration.serve(TRACEHOUND_QUARANTINE_MAX_COUNT=3)
    for number in range(5):
        refuse(server, f"/up/{number}", f"203.0.113.{number}")
    eventually(lambda: listed(server)["evicted"] == 2, "two made room")
    assert listed(server)["count"] == listed(server)["max_count"] == 3


@each("tracehound")
def test_the_bytes_bound_what_is_kept(migration):
    server = migration.serve(TRACEHOUND_QUARANTINE_MAX_BYTES=131072)
    long = "x" * 7000
    for number in range(40):
        refuse(server, f"/{number}/{long}", f"203.0.113.{number}")
    eventually(lambda: listed(server)["evicted"] > 0, "some made room")
    assert listed(server)["bytes"] <= listed(server)["max_bytes"] == 131072


@pytest.mark.parametrize(("migration", "eviction", "stays"), [("tracehound", "priority", True), ("tracehound", "oldest", False)], indirect=["migration"])
def test_the_eviction_says_who_makes_room(migration, eviction, stays):
    """The first is worse than those that come after it: 413, and then 429."""
    limit = {"TRACEHOUND_RATE_LIMIT_MAX_REQUESTS": 1, "TRACEHOUND_QUARANTINE_MAX_COUNT": 2}
    server = migration.serve(TRACEHOUND_QUARANTINE_EVICTION=eviction, **limit)
    refuse(server)
    eventually(lambda: listed(server)["count"] == 1, "it is kept")
    for number in range(3):
        client = {"X-Forwarded-For": f"198.51.100.{number}"}
        assert [server.get("/", headers=client)[0] for _ in range(2)] == [200, 429]
    eventually(lambda: listed(server)["evicted"] == 2, "two made room")
    assert ("body_too_large" in [entry["reason"] for entry in listed(server)["entries"]]) == stays


@each("tracehound")
def test_it_is_written_to_the_bucket_below_the_prefix_in_the_region_at_the_tick(migration, bucket):
    server = migration.serve(NESSEN_EVIDENCE_S3_ENDPOINT=bucket.url, TRACEHOUND_SCHEDULER_TICK_MS=200)
    refuse(server)
    eventually(lambda: bucket.objects, "it is written on")  # a drain would write too: the server is still up
    ((path, body),) = bucket.objects.items()
    assert re.fullmatch(r"/tracehound-evidence/prod/evidence/evidence-[^/]+\.ndjson\.gz", path), path
    (line,) = gzip.decompress(body).decode().splitlines()
    assert json.loads(line)["reason"] == "body_too_large"
    assert "/us-east-1/s3/aws4_request" in bucket.signatures[0]
    assert f"Credential={pod.SECRETS['aws-credentials', 'access-key-id']}/" in bucket.signatures[0]


@each("tracehound")
def test_a_folder_may_take_the_buckets_place(migration, tmp_path):
    """A variable more, and without the bucket's."""
    folder = tmp_path / "evidence"
    bucket = [name for name in migration.values if name.startswith("TRACEHOUND_COLD_STORAGE_")]
    server = migration.serve(
        without=[*bucket, "NESSEN_EVIDENCE_S3_ENDPOINT"], NESSEN_EVIDENCE_STORAGE=folder, TRACEHOUND_SCHEDULER_TICK_MS=200
    )
    refuse(server)
    (batch,) = eventually(lambda: list(folder.glob("evidence-*.ndjson.gz")), "it is written on")
    assert json.loads(gzip.decompress(batch.read_bytes()))["client"] == CLIENT


@each("tracehound")
def test_a_bucket_that_cannot_be_reached_fails_no_request(migration):
    server = migration.serve(TRACEHOUND_SCHEDULER_TICK_MS=200)
    refuse(server)
    failed = re.compile(r"\ncold_storage_failures_total [1-9]")
    eventually(lambda: failed.search(server.get("/metrics", admin=True)[2]), "it is counted")
    assert server.get("/")[0] == 200 and server.get("/readyz")[0] == 200


# talos: one limit for all pods, in Redis; a surface with a limit of its own; what prod refuses.


@pytest.fixture
def redis(tmp_path):
    server = Redis(tmp_path)
    yield server
    server.stop()


def ask(server, path="/", client=CLIENT):
    return server.get(path, headers={"X-Forwarded-For": client})[0]


def up(server):
    return "\nnessen_rate_limit_backend_up 1\n" in server.get("/metrics", admin=True)[2]


@each("talos")
def test_two_pods_share_the_burst_by_redis(migration, redis):
    # One a second, so that hardly any grow while it is counted.
    change = {"REDIS_URL": redis.url, "RATE_LIMIT_DEFAULT_RPS": 1, "NESSEN_RATE_LIMIT_REDIS_TIMEOUT": "5s"}
    pods = [migration.serve(**change)]
    change["NESSEN_ADMIN_PORT"] = pod.free_port()
    pods.append(migration.start(**second(migration, change)))
    for each_pod in pods:
        eventually(lambda asked=each_pod: up(asked), "Redis is asked")
    answers = [ask(pods[number % 2]) for number in range(60)]
    burst = int(migration.values["RATE_LIMIT_DEFAULT_BURST"])
    assert burst <= answers.count(200) < 2 * burst, answers
    assert set(answers) == {200, 429}


def second(migration, change):
    """The environment of another pod of the same manifest, in front of the same application."""
    values = {k: v for k, v in migration.values.items() if k not in ("ADMIN_PORT",)}
    values |= {"PORT": "0", "NESSEN_ADMIN_HOST": "127.0.0.1", "UPSTREAM": f"http://127.0.0.1:{migration.app.port}"}
    return values | {name: str(value) for name, value in change.items()}


@each("talos")
def test_a_surface_has_a_limit_of_its_own(migration):
    """And without a Redis, as here, the limit is the pod's."""
    server = migration.serve(RATE_LIMIT_DEFAULT_RPS=1000, RATE_LIMIT_DEFAULT_BURST=1000)
    answers = [ask(server, "/v1/chat/completions") for _ in range(40)]
    assert answers[:20] == [200] * 20 and 429 in answers
    assert ask(server) == 200, "another path has another limit"


@each("talos")
def test_rate_limits_can_be_switched_off_by_the_guides_variable(migration):
    server = migration.serve(RATE_LIMIT_ENABLED="false")
    assert {ask(server, "/v1/chat/completions") for _ in range(60)} == {200}


@each("talos")
def test_prod_does_not_start_with_a_local_limit_for_many(migration):
    environment = migration.values | {"RATE_LIMIT_BACKEND": "local"}
    done = tools.run(migration.binary, "check", env=environment, check=False)
    assert done.returncode == 78 and "rate_limit.backend" in done.stderr + done.stdout
    tools.run(migration.binary, "check", env=environment | {"MODE": "dev"})


@each("talos")
def test_as_many_replicas_are_declared_as_the_autoscaler_may_make(migration):
    (scaler,) = [one for one in migration.manifest if one["kind"] == "HorizontalPodAutoscaler"]
    assert int(migration.values["REPLICAS"]) == scaler["spec"]["maxReplicas"]


@each("talos")
def test_redis_without_a_url_is_a_mistake(migration):
    environment = {name: value for name, value in migration.values.items() if name != "REDIS_URL"}
    done = tools.run(migration.binary, "check", env=environment, check=False)
    assert done.returncode == 78 and "redis_url" in done.stderr + done.stdout


@pytest.fixture
def collector():
    found = Collector()
    yield found
    found.close()


@each("talos")
def test_traces_go_to_the_collector_without_secrets(migration, collector):
    server = migration.serve(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY=100)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    fields = {"traceparent": f"00-{trace}-00f067aa0ba902b7-01", "Authorization": "Bearer h0rse-staple"}
    assert server.get("/mcp/x?token=h0rse-staple", headers=fields)[0] == 200

    def sent():
        return [body for path, body in collector.came if path == "/v1/traces" and bytes.fromhex(trace) in body]

    (body,) = eventually(sent, "the trace is sent")
    assert b"talos-nessen" in body and b"/mcp/x" in body and b"h0rse-staple" not in body


@each("talos")
def test_prod_does_not_start_with_traces_for_nowhere(migration):
    environment = {name: value for name, value in migration.values.items() if name != "OTEL_EXPORTER_OTLP_ENDPOINT"}
    done = tools.run(migration.binary, "check", env=environment, check=False)
    assert done.returncode == 78 and "tracing." in done.stderr + done.stdout


@each("talos")
def test_what_is_secret_is_in_no_line_of_the_log(migration):
    """Redaction: of header fields, and of a URL with a password."""
    server = migration.serve(REDIS_URL="redis://:h0rse-staple@127.0.0.1:1")
    server.get("/mcp?token=h0rse-staple", headers={"Authorization": "Bearer h0rse-staple"})
    server.wait_line(lambda line: "/mcp" in line)
    assert "h0rse-staple" not in server.output()
