"""The plain way, `kubectl apply -f k8s/base`; versions; and the quota."""

import json
import math
import re

import pytest

from support import manifests, tools
from support.manifests import called, containers, named, pods, quantity


def read_by_kubectl():
    """What `kubectl apply -f k8s/base` reads, in its order: kubectl does, without a cluster."""
    folder = manifests.K8S / "base"
    said = tools.run(tools.need("kubectl"), "label", "--local", "-f", folder, "-o", "json", "x=y").stdout
    decoder, objects, at = json.JSONDecoder(), [], 0
    while said[at:].strip():
        item, at = decoder.raw_decode(said, at + len(said[at:]) - len(said[at:].lstrip()))
        objects += item["items"] if item["kind"] == "List" else [item]
    for item in objects:
        del item["metadata"]["labels"]["x"]
    return objects


def test_kubectl_reads_the_namespace_first_and_no_kustomization():
    objects = read_by_kubectl()
    assert objects[0]["kind"] == "Namespace"
    assert "Kustomization" not in {item["kind"] for item in objects}


def test_both_ways_apply_the_same():
    def sorted_by_name(objects):
        return sorted((called(item), json.dumps(item, sort_keys=True)) for item in objects)

    assert sorted_by_name(read_by_kubectl()) == sorted_by_name(manifests.rendered(("base", ())))


def test_every_file_of_the_base_is_in_its_kustomization():
    files = {path.name for path in (manifests.K8S / "base").iterdir()} - {"Kustomization"}
    listed = set(re.findall(r"^  - (\S+)$", (manifests.K8S / "base/Kustomization").read_text(), re.M))
    assert files == listed


def test_image_and_labels_have_the_version_of_the_crate():
    (version,) = re.findall(r'^version = "(.*)"$', (tools.ROOT / "Cargo.toml").read_text(), re.M)[:1]
    for render in manifests.RENDERS:
        objects = manifests.rendered(render)
        for item, labels, spec in pods(objects):
            assert labels["app.kubernetes.io/version"] == version, called(item)
            assert {one["image"] for one in containers(spec)} == {f"nessen:{version}"}
        for item in objects:
            labels = item["metadata"]["labels"]
            assert labels["app.kubernetes.io/part-of"] == "nessen", called(item)
            assert labels.get("app.kubernetes.io/version", version) == version, called(item)


@pytest.mark.parametrize(
    "render",
    [one for one in manifests.RENDERS if "quota" in one[1]],
    ids=manifests.label,
)
def test_pods_fit_into_the_quota(render):
    """All that can be there at once: maxReplicas and the surge of a rollout, while as many old ones drain."""
    objects = manifests.rendered(render)
    hard = named(objects, "ResourceQuota", "nessen")["spec"]["hard"]
    deployment = named(objects, "Deployment", "nessen")["spec"]
    most = named(objects, "HorizontalPodAutoscaler", "nessen")["spec"]["maxReplicas"]
    surge = math.ceil(most * int(deployment["strategy"]["rollingUpdate"]["maxSurge"].rstrip("%")) / 100)
    count = most + surge + most
    assert int(hard["pods"]) >= count
    for what in ("requests", "limits"):
        for resource in ("cpu", "memory", "ephemeral-storage"):
            one = sum(quantity(c["resources"][what][resource]) for c in containers(deployment["template"]["spec"]))
            assert quantity(hard[f"{what}.{resource}"]) >= one * count, f"{what}.{resource}: {one * count}"


@pytest.mark.parametrize("render", [one for one in manifests.RENDERS if "quota" in one[1]], ids=manifests.label)
def test_containers_fit_into_the_limit_range(render):
    objects = manifests.rendered(render)
    (limits,) = named(objects, "LimitRange", "nessen")["spec"]["limits"]
    for _, _, spec in pods(objects):
        for container in containers(spec):
            for resource, least in limits["min"].items():
                assert quantity(container["resources"]["requests"][resource]) >= quantity(least)
            for resource, most in limits["max"].items():
                assert quantity(container["resources"]["limits"][resource]) <= quantity(most)
    for resource in limits["default"]:
        lowest = quantity(limits["min"].get(resource, 0))
        requested, given = quantity(limits["defaultRequest"][resource]), quantity(limits["default"][resource])
        assert lowest <= requested <= given <= quantity(limits["max"][resource])


def test_production_spreads_over_nodes_and_dev_asks_for_nothing():
    def spec(overlay):
        return manifests.pod_spec(named(manifests.rendered((overlay, ())), "Deployment", "nessen"))[1]

    spread = spec("production")["topologySpreadConstraints"]
    must = [one["topologyKey"] for one in spread if one["whenUnsatisfiable"] == "DoNotSchedule"]
    assert must == ["kubernetes.io/hostname"]
    assert not {"affinity", "topologySpreadConstraints"} & set(spec("dev"))


def test_a_pod_that_is_not_ready_holds_no_drain_up():
    for render in manifests.RENDERS:
        budget = named(manifests.rendered(render), "PodDisruptionBudget", "nessen")["spec"]
        assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow" and budget["maxUnavailable"] == 1
