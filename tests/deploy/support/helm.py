"""Helm itself, without its command: the library of Helm 4 that the package helm-sdkpy carries, against `KubeApi`.

So what is looked at has been loaded, checked against the chart's schema, rendered, sorted and sent by Helm's own code.
"""

import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import yaml

from support.kube_api import KubeApi
from support.tools import ROOT, absent

CHART = ROOT / "deploy/helm/nessen"


class Refused(Exception):
    """Helm's own words."""


class Release:
    """What an installation made: the objects, those of hooks, and the notes."""

    def __init__(self, answer):
        self.manifest = answer["manifest"]
        self.objects = [thing for thing in yaml.safe_load_all(self.manifest) if thing]
        self.hooks = [yaml.safe_load(hook["manifest"]) for hook in answer.get("hooks") or []]
        self.notes = answer["info"]["notes"]

    def of(self, kind):
        return [thing for thing in self.objects if thing["kind"] == kind]

    def one(self, kind):
        (thing,) = self.of(kind)
        return thing

    def pod(self):
        return self.one("Deployment")["spec"]["template"]["spec"]

    def container(self, name="nessen"):
        (container,) = [each for each in self.pod()["containers"] if each["name"] == name]
        return container


class Worker:
    """The process that calls the library; it ends with its standard input."""

    def __init__(self):
        found = importlib.util.find_spec("helm_sdkpy")  # found, not imported: only its library is used
        machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine())
        path = found and Path(found.origin).parent / f"_lib/linux-{machine}/libhelm_sdkpy.so"
        if not path or not path.is_file():
            absent("Helm's library is not installed: tests/deploy/requirements-helm.txt")
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("helm_worker.py")), str(path)],
            env={"HELM_DRIVER": "memory", "HOME": tempfile.gettempdir(), "PATH": os.environ["PATH"]},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def call(self, name, *arguments):
        self.process.stdin.write(json.dumps({"call": name, "arguments": arguments}) + "\n")
        self.process.stdin.flush()
        said = json.loads(self.process.stdout.readline())
        if "refused" in said:
            raise Refused(said["refused"])
        return said["answer"]


worker = cache(Worker)


class Helm:
    """A namespace of a cluster that is not there."""

    def __init__(self, namespace="edge", chart=CHART, **cluster):
        self.chart, self.worker = chart, worker()
        self.api = KubeApi(**cluster)
        kubeconfig = yaml.safe_dump(self.api.kubeconfig())
        self.handle = self.worker.call("config_create", namespace, kubeconfig, None, "{}")

    def _ask(self, name, *arguments):
        return json.loads(self.worker.call(name, self.handle, *arguments))

    def _release(self, action, release, values):
        # Nothing becomes ready here, so nothing is waited for.
        options = {"wait": False, "timeout_seconds": 20, "server_side_apply": "false"}
        passed = json.dumps(values) if values else ""
        return Release(self._ask(action, release, str(self.chart), passed, "", json.dumps(options)))

    def install(self, release="web", **values):
        return self._release("install", release, values)

    def upgrade(self, release="web", **values):
        """What is sent for it: {(kind, name): patch}."""
        self.api.patches.clear()
        self._release("upgrade", release, values)
        return dict(self.api.patches)

    def test(self, release="web"):
        return self._ask("test", release)

    def lint(self):
        return self._ask("lint", str(self.chart))

    def close(self):
        self.api.close()


@cache
def _render(release, namespace, text):
    helm = Helm(namespace)
    try:
        return helm.install(release, **json.loads(text))
    finally:
        helm.close()


def render(release="web", namespace="edge", **values):
    """What a new installation with these values makes."""
    return _render(release, namespace, json.dumps(values, sort_keys=True))
