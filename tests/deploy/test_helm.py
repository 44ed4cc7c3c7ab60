"""The chart, as Helm itself installs it, with each of the values files that it brings (ci/)."""

import json
import re

import pytest
import yaml

from support import certificate, keys, kube_schemas, settings
from support.helm import CHART, Helm, Refused, render
from support.kube_objects import gaps, walk

FILES = {path.name.removesuffix("-values.yaml"): path for path in sorted(CHART.glob("ci/*-values.yaml"))}
SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "ALLOWED_HOSTS": "www.example.com *.example.org\n",
    "NESSEN_UPSTREAM_HEALTH_PATH": "/healthz\n",
    "RATE_LIMIT_MAX_REQUESTS": "600\n",
    "OTEL_EXPORTER_OTLP_HEADERS": "api-key=h0rse-staple\n",
    "REDIS_URL": "redis://:h0rse@redis:6379/0\n",
    "UPSTREAM": "http://app:8080\n",
}


def values(name):
    return yaml.safe_load(FILES[name].read_text()) if name != "default" else {}


@pytest.fixture(params=["default", *FILES])
def release(request):
    return render(**values(request.param))


def test_the_matrix_has_what_it_claims():
    assert {"everything", "nothing", "sidecar", "external-secrets", "two-replicas", "config-file"} <= set(FILES)
    # Everything on makes every template say something.
    said = re.findall(r"^# Source: nessen/(\S+)$", render(**values("everything")).manifest, re.M)
    templates = {str(path.relative_to(CHART)) for path in CHART.glob("templates/*.yaml")}
    assert set(said) == templates


@pytest.mark.parametrize("version", kube_schemas.VERSIONS)
def test_the_objects_are_valid(release, version):
    for thing in release.objects + release.hooks:
        assert kube_schemas.faults(thing, version) == [], f"{thing['kind']} {thing['metadata']['name']}"


def test_nothing_is_null_or_left_out(release):
    for thing in release.objects + release.hooks:
        empty = [path for path, value in walk(thing) if value is None]
        assert not empty, f"{thing['kind']}: {empty}"
        assert "<no value>" not in json.dumps(thing)
    assert "<no value>" not in release.manifest + release.notes


def test_what_belongs_together_meets(release):
    assert gaps(release.objects, release.hooks) == []


def test_the_grace_period_holds_the_drain_and_a_margin(release, binary):
    data = release.of("ConfigMap")[0]["data"]
    timed = {name: data[name] for name in ("DRAIN_DELAY", "SHUTDOWN_TIMEOUT")}  # others name files of the pod
    drain = settings.drain(keys.effective(binary, timed))
    assert release.pod()["terminationGracePeriodSeconds"] >= drain + settings.MARGIN
    assert "lifecycle" not in release.container(), "the delay is Nessen's own"


def test_the_settings_are_ones_that_nessen_takes(release, binary, tmp_path):
    """The environment that the kubelet would make, with the files mounted elsewhere."""
    environment, container = {}, release.container()
    maps = {thing["metadata"]["name"]: thing["data"] for thing in release.of("ConfigMap")}
    for source in container["envFrom"]:
        environment.update(maps.get(source.get("configMapRef", {}).get("name"), {}))
    for variable in container.get("env", []):
        name, value = variable["name"], variable["value"]
        if name == "NESSEN_CONFIG" or name.endswith("_FILE"):
            text = maps["web-nessen-file"]["nessen.toml"] if name == "NESSEN_CONFIG" else SECRETS[name[:-5]]
            file = tmp_path / value.lstrip("/").replace("/", "_")
            file.write_text(text)
            value = str(file)
        environment[name] = value
    certificate.make(tmp_path / "tls")
    (tmp_path / "tls/ca.crt").write_bytes((tmp_path / "tls/tls.crt").read_bytes())
    for name, value in environment.items():
        if value.startswith("/run/tls/"):
            environment[name] = str(tmp_path / "tls" / value.rsplit("/", 1)[1])
        if value.startswith("/var/lib/"):
            environment[name] = str(tmp_path / value.rsplit("/", 1)[1])
    assert keys.effective(binary, environment, files=True)["admin.port"] == "9090"


def test_the_mounted_files_are_those_that_are_named():
    release = render(**values("everything"))
    mounts = {mount["name"]: mount["mountPath"] for mount in release.container()["volumeMounts"]}
    there = set()
    for volume in release.pod()["volumes"]:
        folder = mounts[volume["name"]]
        if "configMap" in volume:
            name = volume["configMap"]["name"]
            (file,) = [each for each in release.of("ConfigMap") if each["metadata"]["name"] == name]
            there |= {f"{folder}/{key}" for key in file["data"]}
        for source in volume.get("projected", {}).get("sources", []):
            keys = [item["path"] for item in source["secret"].get("items", [])]
            if not keys:  # the operator's, with a key for each setting
                keys = [item["secretKey"] for item in release.one("ExternalSecret")["spec"]["data"]]
            there |= {f"{folder}/{key}" for key in keys}
    named = {each["value"] for each in release.container()["env"] if each["value"].startswith("/")}
    assert len(named) == 3
    assert named == there


def test_an_application_in_the_pod_outlives_nessen():
    (app,) = render(**values("sidecar")).pod()["initContainers"]
    assert app["restartPolicy"] == "Always", "a native sidecar: it starts before Nessen, and ends after it"
    (metric,) = render(**values("sidecar")).one("HorizontalPodAutoscaler")["spec"]["metrics"]
    assert metric["containerResource"]["container"] == "nessen"


def test_the_autoscaler_owns_the_number_of_pods(release):
    replicas = release.one("Deployment")["spec"].get("replicas")
    assert (replicas is None) == bool(release.of("HorizontalPodAutoscaler"))
    assert render(**values("two-replicas")).one("Deployment")["spec"]["replicas"] == 2


def test_rules_and_dashboard_come_out_as_they_are():
    release = render(**values("everything"))
    rules = (CHART / "files/rules.yml").read_text()
    assert "{{ $" in rules, "there is nothing to be kept from Helm's templates"
    assert release.one("PrometheusRule")["spec"] == yaml.safe_load(rules)
    (dashboard,) = [each for each in release.of("ConfigMap") if each["metadata"]["name"] == "web-nessen-dashboard"]
    assert json.loads(dashboard["data"]["nessen.json"]) == json.loads((CHART / "files/dashboard.json").read_text())


def test_the_admin_port_is_never_open_to_the_outside():
    outside, inside = render(**values("load-balancer")).of("Service")
    if outside["spec"]["type"] == "ClusterIP":
        outside, inside = inside, outside
    assert [port["name"] for port in outside["spec"]["ports"]] == ["http"]
    assert inside["spec"]["type"] == "ClusterIP"
    assert [port["name"] for port in inside["spec"]["ports"]] == ["admin"]


def test_the_notes_say_how_it_is_reached(release):
    services = {thing["metadata"]["name"] for thing in release.of("Service")}
    forwarded = set(re.findall(r"port-forward service/(\S+)", release.notes))
    assert forwarded == services
    assert "helm test web -n edge" in release.notes
    assert "/metrics" in release.notes
    for line in release.notes.splitlines():
        assert line == line.rstrip() and len(line) <= 120, line


def test_it_needs_no_operator_by_default():
    bare = Helm(custom=False)
    try:
        bare.install()
        with pytest.raises(Refused, match="no matches for kind"):
            bare.install("other", monitoring={"serviceMonitor": {"enabled": True}})
    finally:
        bare.close()


def test_an_old_cluster_is_refused():
    old = Helm(version="v1.33.9")
    try:
        with pytest.raises(Refused, match="kubeVersion"):
            old.install()
    finally:
        old.close()
