"""docker-compose.yml: what it says, and what it does: three replicas behind nginx, replaced under load."""

import json
import os
import time
import urllib.request

import pytest
import yaml

from support import docker, keys
from support.client import Posts, ask, spellings
from support.tools import ROOT, need, need_compose, run

REPLICAS = ("nessen-1", "nessen-2", "nessen-3")


@pytest.fixture(scope="module")
def services():
    """As the file says them, with what they share."""
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


@pytest.fixture(scope="module")
def project(image):
    with docker.Project(image) as project:
        yield project


@pytest.fixture
def stack(project):
    """All of it running as the file says, whatever the test before left behind."""
    if project.touched:
        project.whole()
    return project


def seconds(text):
    return int(text.removesuffix("s"))


def test_the_file_fits_its_schema():
    run(need("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", "docker-compose.yml")


def test_compose_reads_it_with_every_profile():
    need_compose()
    told = json.loads(run("docker", "compose", "--profile", "*", "config", "--format", "json").stdout)
    assert {"nginx", "app", "prometheus", "redis", *REPLICAS} == set(told["services"])


@pytest.mark.parametrize("chosen", [{}, {"RATE_LIMIT_BACKEND": "redis", "REDIS_URL": "redis://redis:6379", "RATE_LIMIT_MAX_REQUESTS": "600"}])
def test_replicas_share_one_limit_in_redis_where_that_is_chosen(chosen, binary):
    need_compose()
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")} | chosen
    told = json.loads(run("docker", "compose", "--profile", "redis", "config", "--format", "json", env=environment).stdout)
    network = set(told["services"]["redis"]["networks"])
    for name in REPLICAS:
        assert network <= set(told["services"][name]["networks"])
        # As the container would be given them: what is empty is not set.
        given = {k: v for k, v in told["services"][name]["environment"].items() if v}
        effective = keys.effective(binary, given)
        assert effective["rate_limit.backend"] == chosen.get("RATE_LIMIT_BACKEND", "local")
        assert effective["rate_limit.max_requests"] == chosen.get("RATE_LIMIT_MAX_REQUESTS", "off")


@pytest.mark.parametrize("name", ["nginx", *REPLICAS, "app", "prometheus", "redis"])
def test_every_container_is_hardened_and_bounded(services, name):
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"] and "cap_add" not in service and "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert int(service["user"].split(":")[0]) > 0
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert service["logging"]["options"]["max-size"] and service["restart"] == "unless-stopped"
    # Those that are built have theirs in the image.
    built = {it["image"] for it in services.values() if "build" in it}
    assert "healthcheck" in service or service["image"] in built


def test_no_image_is_built_by_two_services(services):
    built = [service["image"] for service in services.values() if "build" in service]
    assert sorted(built) == sorted(set(built)) and services["nessen-1"]["image"] in built


def test_nothing_but_nginx_is_published(services):
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert set(published) == {"nginx", "prometheus"}
    assert all(port.startswith("127.0.0.1:") for port in published["prometheus"])


def test_the_application_is_reached_through_nessen_alone(services):
    assert [name for name, it in services.items() if "backend" in it["networks"]] == [*REPLICAS, "app", "redis"]
    networks = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["networks"]
    assert networks["backend"]["internal"] is True and networks["inside"]["internal"] is True


def test_replicas_differ_in_their_address_alone(services):
    addresses = set()
    for name in REPLICAS:
        service = dict(services[name])
        addresses.add(address := service.pop("networks")["inside"]["ipv4_address"])
        assert f"{name}:{address}" in services["nginx"]["extra_hosts"]
        service.pop("build", None)
        assert service == {key: value for key, value in services["nessen-1"].items() if key not in ("networks", "build")}
    assert len(addresses) == 3
    assert services["nessen-1"]["environment"]["TRUSTED_PROXIES"] == services["nginx"]["networks"]["inside"]["ipv4_address"]


def test_there_is_time_to_drain(services):
    service = services["nessen-1"]
    needed = seconds(service["environment"]["DRAIN_DELAY"]) + seconds(service["environment"]["SHUTDOWN_TIMEOUT"]) + 5
    assert seconds(service["stop_grace_period"]) >= needed


@pytest.mark.docker
def test_requests_reach_the_application_by_every_replica(stack):
    with Posts(stack.port) as posts:
        posts.wait_for_more(5)
    assert posts.failures == []
    assert len(posts.asked_by) == 3, posts.asked_by


@pytest.mark.docker
def test_the_application_is_told_who_asked_and_not_who_the_client_says_it_is(stack):
    claims = [("X-Forwarded-For", "6.6.6.6"), ("Forwarded", "for=6.6.6.6"), ("X-Real-IP", "6.6.6.6")]
    answer = ask(stack.port, "/", headers=[*claims, ("X-Request-Id", "6.6.6.6")])
    told = json.loads(answer.body)["headers"]
    assert "6.6.6.6" not in json.dumps(told), told
    # The client, which is the engine's gateway here; then nginx.
    assert told["x-forwarded-for"] == f"{told['x-real-ip']}, {stack.net}.10"
    assert told["x-request-id"] == answer.headers["X-Request-Id"]


@pytest.mark.docker
@pytest.mark.parametrize("path", ["/metrics", "/version", "/api/health", "/ready"])
def test_operators_pages_are_closed_to_the_outside(stack, path):
    told = {target: ask(stack.port, target).status for target in spellings(path)}
    assert not {target: status for target, status in told.items() if status not in (400, 403, 404)}
    assert told[path] == 403


@pytest.mark.docker
def test_prometheus_scrapes_all_three_and_has_the_rules(stack):
    def api(path):
        with urllib.request.urlopen(f"http://127.0.0.1:{stack.prometheus_port}/api/v1/{path}", timeout=10) as answer:
            return json.load(answer)["data"]

    deadline = time.monotonic() + 60
    while True:
        targets = api("targets")["activeTargets"]
        health = {it["labels"]["instance"].split(":")[0]: it["health"] for it in targets if it["labels"]["job"] == "nessen"}
        if health == dict.fromkeys(REPLICAS, "up"):
            break
        assert time.monotonic() < deadline, targets
        time.sleep(0.5)
    rules = [rule for group in api("rules")["groups"] for rule in group["rules"]]
    assert "NessenDown" in {rule["name"] for rule in rules}
    assert not [rule for rule in rules if rule["health"] == "err"]


@pytest.mark.docker
def test_no_post_is_lost_while_each_replica_is_stopped_and_started(stack):
    with Posts(stack.port) as posts:
        for replica in REPLICAS:
            stack.compose("stop", replica)
            assert docker.inspect(stack.container(replica))["State"]["ExitCode"] == 0
            posts.wait_for_more()
            stack.compose("up", "-d", "--wait", replica)
            posts.wait_for_more()
    print(f"{sum(posts.answered)} POSTs, {len(posts.failures)} failed")
    assert posts.failures == []


@pytest.mark.docker
def test_no_post_is_lost_while_a_replica_is_made_anew(stack):
    old = docker.inspect(stack.container("nessen-2"))["Id"]
    with Posts(stack.port) as posts:
        stack.compose("up", "-d", "--wait", "--force-recreate", "nessen-2")
        posts.asked_by.clear()
        posts.wait_for_more(10)
    assert docker.inspect(stack.container("nessen-2"))["Id"] != old
    assert posts.failures == []
    assert len(posts.asked_by) == 3, "nginx does not ask the new one"


@pytest.mark.docker
def test_a_replica_that_is_killed_does_cost_requests(stack):
    """What the tests above would see, if a stop were no better than a kill."""
    with Posts(stack.port, kinds=(("/echo?seconds=1", 0.0),) * 9) as posts:
        stack.compose("kill", "-s", "KILL", "nessen-1")
        posts.wait_for_more(2)
        assert posts.failures, "nothing was in flight"
        # Those were lost with it; what came later was not.
        lost = len(posts.failures)
        posts.wait_for_more(3)
        assert len(posts.failures) == lost, posts.failures


@pytest.mark.docker
def test_nginx_starts_while_a_replica_is_gone(stack):
    stack.compose("rm", "-s", "-f", "nessen-3")
    since = int(time.time())
    stack.compose("restart", "nginx")
    docker.wait_health(stack.container("nginx"), "healthy", since)
    with Posts(stack.port) as posts:
        posts.wait_for_more(3)
        stack.compose("up", "-d", "--wait", "nessen-3")
    assert posts.failures == []


@pytest.mark.docker
def test_a_wrong_value_stops_one_replica_and_the_others_serve_on(stack):
    with Posts(stack.port) as posts:
        done = stack.compose("up", "-d", "--wait", "nessen-3", check=False, MAX_BODY_SIZE="lots")
        assert done.returncode != 0, "the rollout went on"
        posts.wait_for_more()
        # By its id: the one before had the same name. The engine tries it again and again, with this outcome.
        made = docker.inspect(stack.container("nessen-3"))
        assert next(docker.events(made["Id"], "die", int(time.time()) - 60, 60)) == "die: 78"
        assert '"lots" (environment MAX_BODY_SIZE): not a size' in docker.last_log_line(made["Id"])
    assert posts.failures == []


@pytest.mark.docker
def test_with_the_profile_readiness_tells_whether_redis_answers(stack):
    address = f"{stack.net}.11"

    def ready():
        answer = ask(3000, "/ready", host=address)
        return answer.status, json.loads(answer.body)["checks"]["redis"]["status"]

    environment = {"NESSEN_CONFIG": "/etc/nessen/redis.toml"}
    stack.compose("--profile", "redis", "up", "-d", "--wait", "redis", "nessen-1", **environment)
    deadline = time.monotonic() + 60
    while ready() != (200, "ok"):
        assert time.monotonic() < deadline, ready()
        time.sleep(0.5)
    stack.compose("--profile", "redis", "stop", "redis")
    deadline = time.monotonic() + 60
    while ready() != (503, "failing"):
        assert time.monotonic() < deadline, ready()
        time.sleep(0.5)
    assert ask(3000, "/", host=address).status == 200, "a check that fails is no reason to refuse"
