"""Kubernetes manifests: what kustomize renders, and what is looked for in it."""

import functools
import os
import re
import shutil
import tempfile
from pathlib import Path

import yaml

from support import tools

K8S = tools.ROOT / "k8s"
OVERLAYS = ["dev", "staging", "production"]
COMPONENTS = sorted(path.name for path in (K8S / "components").iterdir())
# Those that say what answers, of which a deployment has one.
ANSWERS = ["external-secrets", "sidecar", "two-ingress"]
ADDITIONS = [name for name in COMPONENTS if name not in [*ANSWERS, "tls", "cert-manager"]]
# Everything that is rendered: (overlay or "base", components). tls and cert-manager are last: they give TLS to what is there.
RENDERS = (
    [("base", ()), *((overlay, ()) for overlay in OVERLAYS)]
    + [(overlay, (component,)) for overlay in ("production", "dev") for component in COMPONENTS]
    + [("production", (*ADDITIONS, answer, "tls", "cert-manager")) for answer in ANSWERS]
)
# Kinds that are in no namespace.
CLUSTER_WIDE = {"Namespace", "ClusterIssuer", "GatewayClass", "ClusterRole", "ClusterRoleBinding"}


def label(render):
    """A name for the output of pytest."""
    return "+".join([render[0], *render[1]])


def kustomize(folder):
    """The objects of a kustomization."""
    text = tools.run(tools.need("kubectl"), "kustomize", folder).stdout
    return [document for document in yaml.safe_load_all(text) if document]


def on_top(resource, components=(), root=K8S, **more):
    """The objects of a kustomization, made for the moment, that puts components and more on top of a folder."""
    with tempfile.TemporaryDirectory() as made:
        made = Path(made).resolve()

        def relative(path):
            return os.path.relpath(root / path, made)

        text = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [relative(resource)],
            "components": [relative(f"components/{name}") for name in components],
            **more,
        }
        (made / "kustomization.yaml").write_text(yaml.safe_dump(text))
        return kustomize(made)


@functools.cache
def rendered(render):
    """The objects of one of RENDERS; rendered once."""
    overlay, components = render
    folder = "base" if overlay == "base" else f"overlays/{overlay}"
    return on_top(folder, components) if components else kustomize(K8S / folder)


def copy_of_k8s(into):
    """A copy of the folder, to change something in it."""
    return Path(shutil.copytree(K8S, Path(into).resolve() / "k8s"))


def of_kind(objects, *kinds):
    return [item for item in objects if item["kind"] in kinds]


def named(objects, kind, name):
    """The one object of that kind and name."""
    found = [item for item in of_kind(objects, kind) if item["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} objects {kind}/{name}"
    return found[0]


def called(item):
    return f"{item['kind']}/{item['metadata']['name']}"


def pod_spec(item):
    """The pod that an object makes, or None: (labels, spec)."""
    if item["kind"] == "Pod":
        return item["metadata"].get("labels", {}), item["spec"]
    spec = item.get("spec", {})
    if item["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    template = spec.get("template") if item["kind"] in WORKLOADS else None
    return template and (template["metadata"].get("labels", {}), template["spec"])


WORKLOADS = {"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"}


def pods(objects):
    """(object, labels, spec) of all that make pods."""
    return [(item, *pod_spec(item)) for item in objects if pod_spec(item)]


def containers(spec):
    return [*spec.get("initContainers", []), *spec["containers"]]


def is_nessen(image):
    """Whether it is our image, in whatever registry, by whatever tag."""
    return bool(re.fullmatch(r"(.*[/}])?nessen([:@].*)?", image or ""))


def environment(container, objects):
    """The variables of a container that are written down: envFrom, then env, as Kubernetes has it."""
    values = {}
    for source in container.get("envFrom", []):
        if "configMapRef" in source:
            values.update(named(objects, "ConfigMap", source["configMapRef"]["name"])["data"])
    values.update({entry["name"]: entry["value"] for entry in container.get("env", []) if "value" in entry})
    return values


def matches(selector, labels):
    """Whether a label selector takes these labels."""
    operators = {
        "In": lambda value, values: value in values,
        "NotIn": lambda value, values: value not in values,
        "Exists": lambda value, _: value is not None,
        "DoesNotExist": lambda value, _: value is None,
    }
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        operators[term["operator"]](labels.get(term["key"]), term.get("values"))
        for term in selector.get("matchExpressions", [])
    )


def quantity(text):
    """The number that a quantity is, as 100m or 64Mi."""
    number, unit = re.fullmatch(r"([0-9.]+)([a-zA-Z]*)", str(text)).groups()
    powers = {"": 1, "m": 0.001, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
    return round(float(number) * powers[unit], 6)
