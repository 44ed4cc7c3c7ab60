"""The settings that containers are given: known, accepted by the binary, and rolled out when they change."""

import os

import pytest
import yaml

from support import certificate, keys, manifests, settings, tools
from support.manifests import containers, named, pods

EVERYWHERE = pytest.mark.parametrize("render", manifests.RENDERS, ids=manifests.label)
# What Secrets would hold.
SECRETS = {
    "upstream": "http://app:8080\n",
    "redis-url": "redis://:h0rse@redis.redis:6379/0\n",
    "access-key-id": "AKIDEXAMPLE\n",
    "secret-access-key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY\n",
}


def ours(objects):
    """(container, pod) of all that run our image."""
    return [
        (container, spec)
        for _, _, spec in pods(objects)
        for container in containers(spec)
        if manifests.is_nessen(container["image"])
    ]


def files(container, spec, objects, into):
    """Writes what is mounted below a folder."""
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    for mount in container.get("volumeMounts", []):
        volume = volumes[mount["name"]]
        data = SECRETS if "secret" in volume else named(objects, "ConfigMap", volume["configMap"]["name"])["data"]
        if volume.get("secret", {}).get("secretName") == "nessen-pods-tls":
            certificate.make(into / mount["mountPath"].lstrip("/"), "nessen")
            continue
        whole = "subPath" not in mount
        for name, text in data.items():
            if whole or name == mount["subPath"]:
                path = into / mount["mountPath"].lstrip("/") / (name if whole else "")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)


def there(environment, into):
    """The environment with the paths of what files() wrote."""
    return {name: f"{into}{value}" if value.startswith("/etc/") else value for name, value in environment.items()}


@EVERYWHERE
def test_every_variable_is_one_that_nessen_knows(render, binary):
    objects = manifests.rendered(render)
    assert ours(objects)
    for container, _ in ours(objects):
        given = manifests.environment(container, objects)
        assert given and not keys.unknown(binary, given), container["name"]


@EVERYWHERE
def test_the_binary_accepts_the_settings(render, binary, tmp_path):
    objects = manifests.rendered(render)
    for container, spec in ours(objects):
        into = tmp_path / container["name"]
        files(container, spec, objects, into)
        given = there(manifests.environment(container, objects), into)
        if given.get("MEMORY_BUDGET", "auto") == "auto":
            limit = manifests.quantity(container["resources"]["limits"]["memory"])
            given["MEMORY_BUDGET"] = str(settings.auto_memory(int(limit)))
        keys.effective(binary, given, files=True)


@pytest.mark.parametrize(
    "component, upstream", [("sidecar", "http://127.0.0.1:8080"), ("external-secrets", "http://app:8080")]
)
def test_a_component_that_says_what_answers_is_heard(component, upstream, binary, tmp_path):
    objects = manifests.rendered(("production", (component,)))
    (main,) = [container for container, spec in ours(objects) if container["name"] == "nessen"]
    spec = manifests.pod_spec(named(objects, "Deployment", "nessen"))[1]
    files(main, spec, objects, tmp_path)
    given = there(manifests.environment(main, objects), tmp_path)
    assert keys.effective(binary, given, files=True)["upstream.url"] == upstream


@pytest.mark.parametrize(
    "component, wanted",
    [
        ("shared-rate-limits", {"rate_limit.backend": "redis", "rate_limit.redis_url": "(redacted)"}),
        ("tracing", {"tracing.enabled": "true", "tracing.sampler": "parentbased_traceidratio", "tracing.ratio": "0.01"}),
        ("evidence", {"evidence.enabled": "true", "evidence.s3_bucket": "nessen-evidence", "evidence.s3_region": "us-east-1"}),
    ],
)
def test_a_component_that_says_how_is_heard(component, wanted, binary, tmp_path):
    objects = manifests.rendered(("production", (component,)))
    (main, spec) = ours(objects)[0]
    files(main, spec, objects, tmp_path)
    given = there(manifests.environment(main, objects), tmp_path)
    found = keys.effective(binary, given, files=True)
    assert {key: found.get(key) for key in wanted} == wanted


@pytest.mark.parametrize(("component", "port"), [("shared-rate-limits", 6379), ("evidence", 443), ("tracing", 4318)])
def test_a_component_that_asks_others_is_let_out(component, port):
    def egress(components):
        return named(manifests.rendered(("production", components)), "NetworkPolicy", "nessen")["spec"]["egress"]

    before, after = egress(()), egress((component,))
    assert after[:-1] == before and after[-1]["ports"][0]["port"] == port and after[-1]["to"]


def test_the_routes_of_two_ingress_take_the_paths_of_its_ingresses(binary, tmp_path):
    objects = manifests.rendered(("production", ("two-ingress",)))
    main, spec = ours(objects)[0]
    files(main, spec, objects, tmp_path)
    said = tools.run(binary, "check", "--config", tmp_path / "etc/nessen/nessen.toml", env={}).stdout
    routed = {line.split()[2] for line in said.splitlines() if line.strip().startswith("any host")}
    paths = {
        path["path"]
        for item in manifests.of_kind(objects, "Ingress")
        for rule in item["spec"]["rules"]
        for path in rule["http"]["paths"]
    }
    assert routed == paths


def rolled(objects):
    """(name of the ConfigMap that the Deployment takes, its data)."""
    container = named(objects, "Deployment", "nessen")["spec"]["template"]["spec"]["containers"][0]
    (source,) = container["envFrom"]
    name = source["configMapRef"]["name"]
    return name, named(objects, "ConfigMap", name)["data"]


def test_a_change_in_an_overlay_rolls_the_pods():
    before, old = rolled(manifests.rendered(("production", ())))
    merge = {"name": "nessen-settings", "namespace": "nessen", "behavior": "merge"}
    merge["literals"] = ["UPSTREAM=http://app:8080"]
    after, new = rolled(manifests.on_top("overlays/production", configMapGenerator=[merge]))
    assert before != after
    assert new == {**old, "UPSTREAM": "http://app:8080"}


@pytest.mark.parametrize("overlay", manifests.OVERLAYS)
def test_a_change_of_the_base_rolls_the_pods_of_every_overlay(overlay, tmp_path):
    before, old = rolled(manifests.rendered((overlay, ())))
    copy = manifests.copy_of_k8s(tmp_path)
    path = copy / "base/configmap.yaml"
    path.write_text(path.read_text().replace("MAX_BODY_SIZE: 1MiB", "MAX_BODY_SIZE: 2MiB"))
    after, new = rolled(manifests.kustomize(copy / "overlays" / overlay))
    assert before != after
    assert new == {**old, "MAX_BODY_SIZE": "2MiB"}


def test_overlays_have_every_setting_of_the_base():
    base = named(manifests.rendered(("base", ())), "ConfigMap", "nessen")["data"]
    for overlay in manifests.OVERLAYS:
        objects = manifests.rendered((overlay, ()))
        assert rolled(objects)[1].keys() == base.keys()
        assert not [item for item in manifests.of_kind(objects, "ConfigMap") if item["metadata"]["name"] == "nessen"]


def test_a_change_of_the_route_table_rolls_the_pods(tmp_path):
    def mounted(objects):
        return manifests.pod_spec(named(objects, "Deployment", "nessen"))[1]["volumes"][0]["configMap"]["name"]

    before = mounted(manifests.rendered(("production", ("two-ingress",))))
    copy = manifests.copy_of_k8s(tmp_path)
    path = copy / "components/two-ingress/nessen.toml"
    path.write_text(path.read_text().replace("600", "700"))
    assert mounted(manifests.on_top("overlays/production", ["two-ingress"], root=copy)) != before


def test_each_setting_of_the_base_has_a_reason_beside_it():
    """A comment above it, or above the ones that it stands with."""
    above = None
    for line in (manifests.K8S / "base/configmap.yaml").read_text().split("\ndata:\n")[1].splitlines():
        if line.startswith("  #"):
            above = "comment"
        elif not line.strip():
            above = None
        else:
            assert above, f"no word on {line.strip()}"


def test_the_readme_shows_a_kustomization_that_works(tmp_path, binary):
    text = (manifests.K8S / "README.md").read_text()
    (shown,) = [part.split("```")[0] for part in text.split("```yaml\n")[1:]]
    copy = manifests.copy_of_k8s(tmp_path)
    mine = copy / "overlays/mine"
    mine.mkdir()
    (mine / "kustomization.yaml").write_text(shown)
    objects = manifests.kustomize(mine)
    literals = dict(one.split("=", 1) for one in yaml.safe_load(shown)["configMapGenerator"][0]["literals"])
    name, data = rolled(objects)
    assert name != rolled(manifests.rendered(("production", ())))[0]
    assert literals.items() <= data.items() and keys.effective(binary, data)
    (image,) = [container["image"] for container, _ in ours(objects)]
    assert image.startswith("registry.example.com/nessen@sha256:")
    assert {"PrometheusRule", "ResourceQuota", "Certificate"} <= {item["kind"] for item in objects}


def test_the_readme_names_every_overlay_and_component():
    text = (manifests.K8S / "README.md").read_text()
    for name in manifests.OVERLAYS:
        assert f"| `overlays/{name}` |" in text
    for name in manifests.COMPONENTS:
        assert f"| `components/{name}` |" in text


def test_in_the_sidecar_the_application_outlives_the_drain(nessen):
    """With the environments of the pod, in the order in which Kubernetes ends it: main containers, then sidecars."""
    objects = manifests.rendered(("production", ("sidecar",)))
    spec = manifests.pod_spec(named(objects, "Deployment", "nessen"))[1]
    (app,), (main,) = spec["initContainers"], spec["containers"]
    assert app["restartPolicy"] == "Always"
    here = {"HOST": "127.0.0.1", "PORT": "0", "DRAIN_DELAY": "1s"}
    behind = nessen(**{**manifests.environment(app, objects), **here, "DRAIN_DELAY": "0s"})
    given = {**manifests.environment(main, objects), **here, "UPSTREAM": f"http://{behind.address}"}
    del given["ADMIN_PORT"]
    front = nessen(**given)
    assert front.get("/")[0] == 200
    front.signal()
    front.wait_line(lambda line: '"to":"DRAINING"' in line)
    assert front.get("/ready")[0] == 503 and front.get("/")[0] == 200
    assert front.wait() == 0
    behind.signal()
    assert behind.wait() == 0

    # The other way round, which the component is there to avoid.
    behind = nessen(**{**manifests.environment(app, objects), **here, "DRAIN_DELAY": "0s"})
    front = nessen(**{**given, "UPSTREAM": f"http://{behind.address}"})
    behind.signal()
    assert behind.wait() == 0 and front.get("/")[0] == 502


def test_files_of_k8s_say_what_they_are():
    for folder, _, names in os.walk(manifests.K8S):
        for name in names:
            if name.endswith((".yaml", ".toml")) or name == "Kustomization":
                with open(os.path.join(folder, name)) as file:
                    assert file.read(2) == "# ", f"{folder}/{name} begins without a word"
