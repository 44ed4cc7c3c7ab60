"""Whatever starts Nessen, in any file of the project, gives it settings that it knows and waits for its drain."""

import json

import pytest
import yaml

from support import deployed, keys, manifests, settings, tools


def short(binary, found):
    """Those that do not wait long enough."""
    needs = [(one, one.need(binary)) for one in found]
    return [f"{one.where}: {one.grace:g} s, needs {need:g} s" for one, need in needs if one.grace < need]


def test_kubernetes_waits_for_the_drain(binary):
    found = deployed.in_k8s()
    assert len(found) == len(manifests.RENDERS) and not short(binary, found)


def test_everything_else_waits_for_the_drain_and_gives_settings_that_nessen_takes(binary):
    assert not short(binary, deployed.elsewhere())


@pytest.mark.parametrize("kind", deployed.KINDS[1:])
def test_each_way_to_deploy_is_found(kind):
    """A file that nothing is read from would pass for one that is right."""
    if not [one for one in deployed.elsewhere() if one.kind == kind]:
        tools.absent(f"nothing is deployed by {kind}")


POD = """
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  terminationGracePeriodSeconds: %s
  containers:
    - {name: nessen, image: "registry.example.com:5000/x/nessen:1", env: [{name: DRAIN_DELAY, value: 10s}]%s}
"""
SIDECAR = """
  initContainers:
    - name: app
      image: nessen
      restartPolicy: Always
      env: [{name: SHUTDOWN_TIMEOUT, value: 5s}, {name: DRAIN_DELAY, value: 0s}]
"""
SLEEP = ", lifecycle: {preStop: {sleep: {seconds: 1}}}"
COMPOSE = """
services:
  n:
    image: "${REGISTRY:-}nessen:0.1.0"
    environment: %s
    stop_grace_period: %s
"""
CLOUD_RUN = """
apiVersion: serving.knative.dev/v1
kind: Service
metadata: {name: n}
spec:
  template:
    spec:
      containers:
        - {image: nessen:1, env: [{name: DRAIN_DELAY, value: "0"}, {name: SHUTDOWN_TIMEOUT, value: %s}]}
"""


def task(**stop):
    environment = [{"name": "SHUTDOWN_TIMEOUT", "value": "20s"}]
    container = {"name": "n", "image": "1.ecr/nessen@sha256:0", "environment": environment, **stop}
    return json.dumps({"containerDefinitions": [container]})


def unit(*lines):
    return "\n".join(["[Service]", "ExecStart=/usr/local/bin/nessen serve", *lines, ""])


@pytest.mark.parametrize(
    "name, text, enough",
    [
        ("p.yaml", POD % (45, ""), True),
        ("p.yaml", POD % (44, ""), False),
        ("p.yaml", POD % (45, SLEEP), False),
        ("p.yaml", POD % (50, "") + SIDECAR, True),
        ("p.yaml", POD % (49, "") + SIDECAR, False),
        ("c.yml", COMPOSE % ("{DRAIN_DELAY: 2s}", "37s"), True),
        ("c.yml", COMPOSE % ("[DRAIN_DELAY=2s]", "36s"), False),
        ("c.yml", COMPOSE % ("{SHUTDOWN_DRAIN_TIMEOUT_SECONDS: '60'}", "1m10s"), True),
        ("c.yml", COMPOSE % ("{SHUTDOWN_DRAIN_TIMEOUT_SECONDS: '60'}", "1m9s"), False),
        ("c.yml", COMPOSE % ("{DRAIN_DELAY: '${DELAY:-8s}'}", "42s"), False),
        ("c.yml", COMPOSE.replace("    stop_grace_period: %s\n", "") % "{}", False),
        ("r.yaml", CLOUD_RUN % "8s", True),
        ("r.yaml", CLOUD_RUN % "9s", False),
        ("t.json", task(stopTimeout=30), True),
        ("t.json", task(stopTimeout=29), False),
        ("t.json", task(), True),
        ("u.service", unit("TimeoutStopSec=40"), True),
        ("u.service", unit("TimeoutStopSec=39s"), False),
        ("u.service", unit('Environment=DRAIN_DELAY=0s "SHUTDOWN_TIMEOUT=90s"', "TimeoutStopSec=1min 34s"), False),
        ("u.service", unit("EnvironmentFile=-/etc/nessen/u.env", "TimeoutStopSec=40"), False),
        ("u.service", unit(), True),
    ],
)
def test_the_arithmetic(name, text, enough, binary, tmp_path):
    (tmp_path / name).write_text(text)
    (tmp_path / "u.env").write_text("# a word\nDRAIN_DELAY=6s\n")
    found = deployed.elsewhere(tmp_path)
    assert len(found) == 1
    assert (not short(binary, found)) is enough, found


def test_a_configmap_counts_as_the_environment_does(binary):
    objects = list(yaml.safe_load_all(POD % (50, "")))
    objects[0]["spec"]["containers"][0].update(env=[], envFrom=[{"configMapRef": {"name": "c"}}])
    data = {"DRAIN_DELAY": "1s", "SHUTDOWN_TIMEOUT": "40s", "UPSTREAM": ""}
    objects.append({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "c"}, "data": data})
    (one,) = deployed.of_kubernetes(objects, "")
    assert (one.grace, one.need(binary)) == (50, 46)


@pytest.mark.parametrize("name, value", [("UPSTRAEM", ""), ("DRAIN_DELAYS", "1s"), ("UPSTREAMS_FILE", "/x")])
def test_a_name_with_a_mistake_is_found(name, value, binary):
    assert keys.unknown(binary, {name: value, "UPSTREAM_FILE": "/x", "UPSTREAM": ""}) == [name]
    with pytest.raises(AssertionError, match=name):
        keys.effective(binary, {name: value})


def test_a_value_with_a_mistake_is_found(binary):
    with pytest.raises(AssertionError, match="exit 78"):
        keys.effective(binary, {"DRAIN_DELAY": "soon"})
    assert settings.drain(keys.effective(binary, {"UPSTREAM": "http://<app>:80"})) == 35
