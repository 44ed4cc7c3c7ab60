"""What the chart makes of values: those that it refuses, the names, upgrades, and two releases in one namespace."""

import itertools
import json
import re

import pytest
import yaml

from support.helm import CHART, Helm, Refused, render
from support.kube_objects import selects, walk

LONGEST = "a" * 52  # and one more: a release's name has at most 53 characters


@pytest.fixture
def cluster():
    helm = Helm()
    yield helm
    helm.close()


REFUSED = [
    ({"replicas": 2}, "'replicas' not allowed"),
    ({"image": {"digest": "abc"}}, "'/image/digest'"),
    ({"image": {"pullPolicy": "Sometimes"}}, "'/image/pullPolicy'"),
    ({"upstream": "app:8080"}, "'/upstream'"),
    ({"upstream": ["http://app:8080", "https://app"]}, "'/upstream/1'"),
    ({"config": {"PORT": "80"}}, "'/config/PORT'"),
    ({"config": {"DRAIN_DELAY": "60s"}}, "'/config/DRAIN_DELAY'"),
    ({"extraEnv": [{"name": "DRAIN_DELAY", "value": "60s"}]}, "'/extraEnv/0/name'"),
    ({"extraEnv": [{"name": "PORT", "value": "80"}]}, "'/extraEnv/0/name'"),
    ({"config": {"SHUTDOWN_DRAIN_TIMEOUT_SECONDS": 60}}, "'/config/SHUTDOWN_DRAIN_TIMEOUT_SECONDS'"),
    ({"config": {"max-body": "1MiB"}}, "'/config': additional properties 'max-body' not allowed"),
    ({"config": {"MAX_BODY_SIZE": ["1MiB"]}}, "'/config/MAX_BODY_SIZE'"),
    ({"config": {"TOKEN_FILE": "/x"}}, "'/config/TOKEN_FILE'"),
    ({"secrets": [{"name": "ALLOWED_HOSTS", "key": "x"}]}, "'/secrets/0'"),
    ({"externalSecret": {"enabled": True}}, "'/externalSecret/"),
    ({"shutdown": {"marginSeconds": 0}}, "'/shutdown/marginSeconds'"),
    ({"shutdown": {"drainDelaySeconds": "10s"}}, "'/shutdown/drainDelaySeconds'"),
    ({"autoscaling": {"maxReplicas": 0}}, "'/autoscaling/maxReplicas'"),
    ({"autoscaling": {"minReplicas": 5, "maxReplicas": 3}}, "autoscaling.minReplicas is over"),
    ({"podDisruptionBudget": {"maxUnavailable": 0}}, "'/podDisruptionBudget/maxUnavailable'"),
    ({"probes": {"liveness": {"httpGet": {"path": "/"}}}}, "'/probes/liveness'"),
    ({"service": {"type": "ExternalName"}}, "'/service/type'"),
    ({"service": {"port": 70000}}, "'/service/port'"),
    ({"ingress": {"enabled": True}}, "'/ingress/hosts'"),
    ({"httpRoute": {"enabled": True}}, "'/httpRoute/parentRefs'"),
    ({"extraContainers": [{"name": "nessen", "image": "x"}]}, "'/extraContainers/0/name'"),
    ({"sidecars": [{"name": "app", "image": "x", "restartPolicy": "Never"}]}, "'/sidecars/0/restartPolicy'"),
    ({"extraVolumes": [{"name": "config", "emptyDir": {}}]}, "'/extraVolumes/0/name'"),
    ({"fullnameOverride": "Edge"}, "'/fullnameOverride'"),
    ({"config": {"ALLOWED_HOSTS": "a"}, "secrets": [{"name": "ALLOWED_HOSTS", "existingSecret": "s", "key": "k"}]},
     "ALLOWED_HOSTS is set in config and as a secret"),
    ({"upstream": "http://app", "secrets": [{"name": "UPSTREAM", "existingSecret": "s", "key": "k"}]},
     "UPSTREAM is set by upstream and as a secret"),
    ({"podLabels": {"app.kubernetes.io/name": "x"}}, "'/podLabels/app.kubernetes.io~1name'"),
    ({"podAnnotations": {"checksum/config": "x"}}, "'/podAnnotations/checksum~1config'"),
    ({"secrets": [{"name": "ALLOWED_HOSTS", "existingSecret": "s", "key": "k"}] * 2}, "a name comes twice"),
]  # fmt: skip


@pytest.mark.parametrize("values, named", REFUSED, ids=lambda value: value if isinstance(value, str) else None)
def test_a_wrong_value_is_refused_by_its_name(cluster, values, named):
    with pytest.raises(Refused) as refused:
        cluster.install(**values)
    assert named in str(refused.value)
    assert not cluster.api.objects, "nothing may have been sent"


def test_every_value_is_described_and_has_a_default():
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def own(schema, path=""):
        """The keys that are the chart's own, down to those that are Kubernetes'."""
        for name, inner in schema.get("properties", {}).items():
            if inner is False:  # what may not be set
                continue
            yield f"{path}.{name}", inner
            if inner.get("additionalProperties") is False:
                yield from own(inner, f"{path}.{name}")

    described = dict(own(schema))
    assert [name for name, inner in described.items() if not inner.get("description")] == []
    for name in described:
        here = values
        for part in name.strip(".").split("."):
            if name == ".global":
                break
            assert part in here, f"{name} has no default in values.yaml"
            here = here[part]
    assert schema["additionalProperties"] is False


def test_settings_stay_as_they_are_written():
    config = {"MAX_BODY_SIZE": 104857600, "NESSEN_HTTP2_ENABLED": False, "MAX_IN_FLIGHT": "12", "TRUSTED_PROXIES": None}
    data = render(config=config).one("ConfigMap")["data"]
    assert "TRUSTED_PROXIES" not in data
    assert data["MAX_BODY_SIZE"] == "104857600"
    assert data["NESSEN_HTTP2_ENABLED"] == "false"
    assert data["MAX_IN_FLIGHT"] == "12"
    service = render(service={"port": 65535}).one("Service")
    assert service["spec"]["ports"][0]["port"] == 65535


def test_other_settings_are_other_pods():
    def checksum(**values):
        return render(**values).one("Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/config"]

    route = '[[route]]\npath = "/"\nrespond = { body = "%s" }\n'
    settings = [
        {},
        {"upstream": "http://app:8080"},
        {"config": {"MAX_BODY_SIZE": "2MiB"}},
        {"shutdown": {"drainDelaySeconds": 20}},
        {"configFile": route % "a"},
        {"configFile": route % "b"},
    ]
    sums = [checksum(**each) for each in settings]
    assert len(set(sums)) == len(sums)
    assert checksum(autoscaling={"maxReplicas": 20}) == sums[0], "what is no setting rolls nothing"


def test_an_upgrade_sends_what_changed(cluster):
    cluster.install(upstream="http://app:8080")
    budget = ("PodDisruptionBudget", "web-nessen")  # its selector is sent whole each time, by its kind's own rule
    assert cluster.upgrade(upstream="http://app:8080").keys() <= {budget}
    sent = cluster.upgrade(upstream="http://other:8080")
    sent.pop(budget, None)
    assert sent.keys() == {("ConfigMap", "web-nessen"), ("Deployment", "web-nessen")}
    assert sent["ConfigMap", "web-nessen"]["data"] == {"UPSTREAM": "http://other:8080"}
    changed = sent["Deployment", "web-nessen"]["spec"]["template"]["metadata"]["annotations"]
    assert changed.keys() == {"checksum/config"}


def test_an_upgrade_changes_no_selector(cluster):
    """A Deployment's cannot be changed: the API server would refuse the upgrade."""
    cluster.install()
    for path in CHART.glob("ci/*-values.yaml"):
        sent = cluster.upgrade(**yaml.safe_load(path.read_text()))
        assert "selector" not in sent.get(("Deployment", "web-nessen"), {}).get("spec", {}), path.name


NAMES = [LONGEST + "b", "nessen", "my.nessen.web", "7web", "7nessen", "a" * 46 + "-nessen"]
OVERRIDES = [{"fullnameOverride": "b" * 63}, {"nameOverride": "c" * 53}]


@pytest.mark.parametrize("release, more", [(name, {}) for name in NAMES] + [(LONGEST + "b", each) for each in OVERRIDES])
def test_names_fit_whatever_the_release_is_called(release, more):
    values = yaml.safe_load((CHART / "ci/everything-values.yaml").read_text())
    made = render(release, **{**values, "service": {"type": "NodePort"}, **more})  # with a service more
    for thing in made.objects + made.hooks:
        name = thing["metadata"]["name"]
        assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name), name
        for path, value in walk(thing):
            if re.search(r"abels\.[^.]", path) and isinstance(value, str):
                assert len(value) <= 63, f"{path}: {value}"
    names = [(thing["kind"], thing["metadata"]["name"]) for thing in made.objects + made.hooks]
    assert len(names) == len(set(names))


def test_two_releases_in_one_namespace_do_not_meet(cluster):
    values = yaml.safe_load((CHART / "ci/everything-values.yaml").read_text())
    releases = ["web", "web-two", LONGEST + "b", LONGEST + "c"]
    # Helm refuses a release that would take an object of another.
    made = [cluster.install(release, **values) for release in releases]
    for one, other in itertools.permutations(made, 2):
        labels = other.one("Deployment")["spec"]["template"]["metadata"]["labels"]
        for kind in ("Service", "Deployment", "PodDisruptionBudget", "NetworkPolicy"):
            for thing in one.of(kind):
                spec = thing["spec"]
                selector = spec.get("selector") or spec["podSelector"]
                assert not selects(selector.get("matchLabels", selector), labels), f"{kind} of another release"
    with pytest.raises(Refused, match="cannot be imported into the current release"):
        cluster.install("third", fullnameOverride="web-nessen")


def test_it_lints(cluster):
    said = cluster.lint()
    assert said["Errors"] is None
    assert [message for message in said["Messages"] if message["Severity"] > 1] == [], "1 is a hint, as to an icon"


def test_a_secret_never_stands_in_an_object():
    """Secrets are named, by no value and in no variable but NAME_FILE."""
    values = yaml.safe_load((CHART / "ci/external-secrets-values.yaml").read_text())
    release = render(**values)
    names = {item["name"] for item in values["externalSecret"]["data"]}
    assert {each["name"] for each in release.container()["env"]} == {f"{name}_FILE" for name in names}
    assert not names & set(release.one("ConfigMap")["data"])
