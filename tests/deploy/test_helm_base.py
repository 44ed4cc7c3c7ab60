"""The chart and k8s/base say the same, but for names: whoever goes from one to the other finds the same pods."""

import copy
import json

import pytest
import yaml

from support import keys, tools
from support.helm import render
from support.manifests import matches

BASE = tools.ROOT / "k8s/base"


@pytest.fixture(scope="module")
def base():
    """The objects of the base by kind; of several, the one called nessen."""
    things = [thing for path in sorted(BASE.glob("*.yaml")) for thing in yaml.safe_load_all(path.read_text()) if thing]
    return {thing["kind"]: thing for thing in things if thing["metadata"]["name"] == "nessen"}


@pytest.fixture(scope="module")
def chart():
    """With the traffic from outside that the base has."""
    release = render(
        "nessen",
        httpRoute={"enabled": True, "parentRefs": [{"name": "nessen"}], "hostnames": ["nessen.example.com"]},
        ingress={"enabled": True, "hosts": [{"host": "nessen.example.com"}]},
    )
    return {thing["kind"]: thing for thing in release.objects if thing["metadata"]["name"] == "nessen"}


def plain(value):
    """Without what is the release's own name, and without the order of what has none."""
    if isinstance(value, dict):
        left = {key: plain(inner) for key, inner in value.items() if key != "app.kubernetes.io/instance"}
        if left.get("protocol") == "TCP":
            del left["protocol"]  # the default
        return left
    if isinstance(value, list):
        return sorted((plain(inner) for inner in value), key=lambda inner: json.dumps(inner, sort_keys=True))
    return value


def spec(things, kind):
    return plain(things[kind]["spec"])


def test_the_pod_is_the_same(base, chart):
    ours, theirs = (copy.deepcopy(spec(things, "Deployment")) for things in (chart, base))
    for each in (ours, theirs):
        each["template"].pop("metadata")
    assert ours == theirs
    # What the comparison must not have lost on the way.
    pod = chart["Deployment"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 50
    assert pod["securityContext"]["runAsUser"] == 65532
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


@pytest.mark.parametrize("kind", ["HorizontalPodAutoscaler", "PodDisruptionBudget", "Service", "HTTPRoute", "Ingress"])
def test_what_is_around_it_is_the_same(base, chart, kind):
    assert spec(chart, kind) == spec(base, kind)


def test_the_policy_is_the_same_but_for_the_test_pod(base, chart):
    ours = copy.deepcopy(chart["NetworkPolicy"])
    peers = ours["spec"]["ingress"][0]["from"]
    test = peers.pop()
    assert test["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == "nessen-test"
    assert plain(ours["spec"]) == spec(base, "NetworkPolicy")


def test_the_labels_and_the_account_are_the_same(base, chart):
    kinds = "ConfigMap Deployment HorizontalPodAutoscaler PodDisruptionBudget Service ServiceAccount"
    for kind in kinds.split():
        labels = chart[kind]["metadata"]["labels"]
        assert base[kind]["metadata"]["labels"].items() <= labels.items(), kind
    for account in (chart["ServiceAccount"], base["ServiceAccount"]):
        assert account["automountServiceAccountToken"] is False


def test_the_settings_are_the_same(base, chart, binary):
    """Not the same keys: the base writes defaults down. But the same values hold."""
    ours, theirs = (keys.effective(binary, things["ConfigMap"]["data"]) for things in (chart, base))
    assert len(ours) > 50
    ours["log.format"] = ours["log.format"].replace("auto", "json")  # without a terminal
    assert ours == theirs


def test_both_may_be_in_one_namespace(base):
    """A selector that takes the pods of the other as well mixes traffic, and a pod with two budgets is never evicted."""
    release = {thing["kind"]: thing for thing in render("web").objects}
    for ours, theirs in ((base, release), (release, base)):
        labels = theirs["Deployment"]["spec"]["template"]["metadata"]["labels"]
        for kind in ("Deployment", "PodDisruptionBudget"):
            assert not matches(ours[kind]["spec"]["selector"], labels), kind
        assert not matches({"matchLabels": ours["Service"]["spec"]["selector"]}, labels)
