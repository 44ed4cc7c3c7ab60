"""Everything in the project that starts Nessen, with the environment it gives and the time it waits at the end:
Kubernetes manifests (Cloud Run's too), compose files, ECS task definitions, systemd units.

The time has to hold the way out: grace >= preStop + drain delay + drain time-out + a margin.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from support import keys, manifests, settings, tools

# For the process to end, and for what is not counted: the signal's way, a slow node.
MARGIN = settings.MARGIN
# Cloud Run stops after ten seconds, whatever is asked for, so the drain there is cut to what leaves two.
CLOUD_RUN_GRACE, CLOUD_RUN_MARGIN = 10, 2
# What holds where nothing is said.
KUBERNETES_GRACE, COMPOSE_GRACE, ECS_GRACE, SYSTEMD_GRACE = 30, 10, 30, 90
KINDS = ["kubernetes", "cloud run", "compose", "ecs", "systemd"]
# Variables of what ran there before, which a manifest keeps to show that they do no harm (docs/migrating.md).
KEPT = {
    "deploy/migrating/nessen.yaml": {"NODE_ENV", "NODE_OPTIONS"},
    # Hounds are the library's, which has the same ConfigMap.
    "deploy/migrating/tracehound.yaml": {"TRACEHOUND_HOUND_MAX_ACTIVE", "TRACEHOUND_HOUND_TIMEOUT_MS"},
}
SKIPPED = {".git", "target", "node_modules", "tests", ".github", ".ci"}


@dataclass
class Deployed:
    """What one thing starts: environments by the seconds that a preStop hook takes before them."""

    kind: str
    where: str
    grace: float
    main: list
    # Native sidecars, which end one by one after the main containers.
    side: list = field(default_factory=list)
    margin: float = MARGIN

    def need(self, binary):
        """The grace that it takes."""

        def way_out(part):
            before, environment = part
            kept = KEPT.get(self.where.split(":")[0], set())
            environment = {name: value for name, value in environment.items() if name not in kept}
            return before + settings.drain(keys.effective(binary, environment))

        return max(map(way_out, self.main), default=0) + sum(map(way_out, self.side)) + self.margin


def serves(container):
    """Not one that runs a command and ends, as a test with `nessen healthcheck` does."""
    words = [*container.get("command", []), *container.get("args", [])]
    return manifests.is_nessen(container.get("image")) and not {"healthcheck", "check", "config", "probe"} & set(words)


def pre_stop(container):
    return container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)


def of_kubernetes(objects, where):
    found = []
    for item, _, spec in manifests.pods(objects):
        ours = [one for one in manifests.containers(spec) if serves(one)]
        if ours:
            parts = {one["name"]: (pre_stop(one), manifests.environment(one, objects)) for one in ours}
            late = {one["name"] for one in spec.get("initContainers", []) if one.get("restartPolicy") == "Always"}
            main = [part for name, part in parts.items() if name not in late]
            side = [part for name, part in parts.items() if name in late]
            grace = spec.get("terminationGracePeriodSeconds", KUBERNETES_GRACE)
            found.append(Deployed("kubernetes", f"{where}: {manifests.called(item)}", grace, main, side))
    return found


def of_cloud_run(item, where):
    found = []
    for one in item["spec"]["template"]["spec"]["containers"]:
        if serves(one):
            values = {entry["name"]: str(entry["value"]) for entry in one.get("env", []) if "value" in entry}
            found.append(Deployed("cloud run", where, CLOUD_RUN_GRACE, [(0, values)], margin=CLOUD_RUN_MARGIN))
    return found


def substituted(text):
    """A value of a compose file, as it is without variables around: ${NAME:-value} is value."""
    return re.sub(r"\$\{\w+(?::?-([^}]*))?\}", lambda part: part.group(1) or "", str(text))


def of_compose(document, where):
    found = []
    for name, service in document["services"].items():
        if manifests.is_nessen(substituted(service.get("image", ""))):
            given = service.get("environment") or {}
            pairs = given.items() if isinstance(given, dict) else (one.split("=", 1) for one in given if "=" in one)
            values = {key: substituted("" if value is None else value) for key, value in pairs}
            grace = settings.seconds(str(service.get("stop_grace_period", COMPOSE_GRACE)))
            found.append(Deployed("compose", f"{where}: {name}", grace, [(0, values)]))
    return found


def of_ecs(document, where):
    found = []
    for one in document.get("containerDefinitions", []):
        if serves(one):
            values = {entry["name"]: entry["value"] for entry in one.get("environment", [])}
            grace = one.get("stopTimeout", ECS_GRACE)
            found.append(Deployed("ecs", f"{where}: {one['name']}", grace, [(0, values)]))
    return found


def of_systemd(path, where):
    text = path.read_text()
    if not re.search(r"^ExecStart=.*\bnessen\b", text, re.M):
        return []
    values = {}
    for line in re.findall(r"^Environment=(.*)$", text, re.M):
        values.update(re.findall(r'"?(\w+)=([^\s"]*)"?', line))
    for name in re.findall(r"^EnvironmentFile=-?(.*)$", text, re.M):
        beside = path.with_name(Path(name).name)
        if beside.is_file():
            values.update(re.findall(r'^(\w+)="?(.*?)"?$', beside.read_text(), re.M))
    stop = re.findall(r"^TimeoutStopSec=(.*)$", text, re.M)
    grace = settings.seconds(stop[-1].replace("min", "m").replace(" ", "")) if stop else SYSTEMD_GRACE
    return [Deployed("systemd", where, grace, [(0, values)])]


def of_yaml(documents, where):
    """What is in one YAML file, whatever it is."""
    found, objects = [], []
    for one in (one for one in documents if isinstance(one, dict)):
        if isinstance(one.get("services"), dict):
            found += of_compose(one, where)
        elif str(one.get("apiVersion", "")).startswith("serving.knative.dev/"):
            found += of_cloud_run(one, where)
        elif {"apiVersion", "kind", "metadata"} <= one.keys():
            objects.append(one)
    return found + of_kubernetes(objects, where)


def of_file(path, where):
    if path.suffix == ".service":
        return of_systemd(path, where)
    text = path.read_text()
    if path.suffix == ".json":
        document = json.loads(text)
        return of_ecs(document, where) if isinstance(document, dict) else []
    if "{{" in text:  # a template of Helm, or a rule of Prometheus: neither is a manifest
        return []
    return of_yaml(yaml.safe_load_all(text), where)


def elsewhere(root=tools.ROOT):
    """What is deployed by any file but those of k8s/, which are read as they are rendered."""
    found = []
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        if not SKIPPED & set(parts) and parts[0] != "k8s" and path.suffix in {".yaml", ".yml", ".json", ".service"}:
            found += of_file(path, str(path.relative_to(root)))
    return found


def in_k8s():
    found = []
    for render in manifests.RENDERS:
        found += of_kubernetes(manifests.rendered(render), manifests.label(render))
    return found
