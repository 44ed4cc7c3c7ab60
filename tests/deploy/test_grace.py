"""Whatever starts Nessen, in any file of the project, gives it settings that it knows and waits for its drain."""

import json

import pytest
import yaml

from support import deployed, keys, manifests, tools

# What is looked at as a file is somewhere else when the container runs, and is checked with what it is part of.
FILES = ("_FILE", "NESSEN_CONFIG")


def short(found):
    """Those that do not wait long enough."""
    return [f"{one.where}: {one.grace:g} s, needs {one.need:g} s" for one in found if one.grace < one.need]


def test_kubernetes_waits_for_the_drain():
    found = deployed.in_k8s()
    assert len(found) == len(manifests.RENDERS) and not short(found)


def test_everything_else_waits_for_the_drain():
    assert not short(deployed.elsewhere())


@pytest.mark.parametrize("kind", deployed.KINDS[1:])
def test_each_way_to_deploy_is_found(kind):
    """A file that nothing is read from would pass for one that is right."""
    if not [one for one in deployed.elsewhere() if one.kind == kind]:
        tools.absent(f"nothing is deployed by {kind}")


def test_everything_else_gives_settings_that_nessen_takes(binary):
    for one in deployed.elsewhere():
        for environment in one.environments:
            assert not keys.unknown(binary, environment), one.where
            code, said = keys.check(binary, {k: v for k, v in environment.items() if not k.endswith(FILES)})
            assert code == 0, f"{one.where}: {said}"


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
def test_the_arithmetic(name, text, enough, tmp_path):
    (tmp_path / name).write_text(text)
    (tmp_path / "u.env").write_text("# a word\nDRAIN_DELAY=6s\n")
    found = deployed.elsewhere(tmp_path)
    assert len(found) == 1
    assert (not short(found)) is enough, found


def test_a_configmap_counts_as_the_environment_does():
    objects = list(yaml.safe_load_all(POD % (50, "")))
    objects[0]["spec"]["containers"][0].update(env=[], envFrom=[{"configMapRef": {"name": "c"}}])
    data = {"DRAIN_DELAY": "1s", "SHUTDOWN_TIMEOUT": "40s"}
    objects.append({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "c"}, "data": data})
    (one,) = deployed.of_kubernetes(objects, "")
    assert (one.grace, one.need) == (50, 46)


def test_the_defaults_are_those_of_the_binary(binary):
    said = dict(line.split()[:2] for line in keys.check(binary, {})[1].splitlines() if line.startswith("shutdown."))
    assert (keys.seconds(said["shutdown.drain_delay"]), keys.seconds(said["shutdown.drain_timeout"])) == keys.drain({})
