"""TLS, shared rate limits and evidence by the chart's values: what the pods are told, and that they can do it."""

import subprocess

import pytest
import yaml

from support import certificate, keys, pod
from support.helm import CHART, Helm, Refused, render
from test_helm_test import expand

TLS = {"enabled": True, "existingSecret": "edge-tls"}
REDIS = {"redis": {"enabled": True, "existingSecret": "edge-redis"}}
S3 = {"enabled": True, "bucket": "edge", "existingSecret": "edge-bucket"}


def values(name):
    return yaml.safe_load((CHART / f"ci/{name}-values.yaml").read_text())


def data(**given):
    """The ConfigMap that is the environment."""
    (found,) = [each for each in render(**given).of("ConfigMap") if each["metadata"]["name"] == "web-nessen"]
    return dict(found["data"])


def test_nothing_of_it_is_there_by_default():
    assert data().keys() == {"PORT", "ADMIN_PORT", "DRAIN_DELAY", "SHUTDOWN_TIMEOUT", "TRUSTED_PROXIES"}
    assert "volumes" not in render().pod()


@pytest.mark.parametrize(
    "given, named",
    [
        ({"tls": {"enabled": True}}, "'/tls/existingSecret'"),
        ({"tls": {**TLS, "clientAuth": "required"}}, "'/tls/clientCA/existingSecret'"),
        ({"tls": {**TLS, "clientAuth": "on"}}, "'/tls/clientAuth'"),
        ({"tls": {**TLS, "redirect": True}}, "service.port and tls.redirectServicePort are the same"),
        ({"tls": TLS, "config": {"TLS_CERT": "/x"}}, "TLS_CERT is set by another value"),
        ({"rateLimit": {"redis": {"enabled": True}}}, "'/rateLimit/redis/existingSecret'"),
        ({"rateLimit": REDIS, "config": {"REDIS_URL": "redis://x"}}, "REDIS_URL is set in config and as a secret"),
        ({"rateLimit": REDIS, "config": {"RATE_LIMIT_BACKEND": "local"}}, "RATE_LIMIT_BACKEND is set by another value"),
        ({"evidence": {"s3": {**S3, "bucket": ""}}}, "'/evidence/s3/bucket'"),
        ({"evidence": {"enabled": True, "s3": S3, "folder": {"enabled": True}}}, "only one place"),
        ({"tracing": {"enabled": True}}, "'/tracing/endpoint'"),
        ({"tracing": {"ratio": "2"}}, "'/tracing/ratio'"),
        ({"mode": "production"}, "'/mode'"),
        ({"mode": "prod", "config": {"REPLICAS": 2}}, "REPLICAS is set by another value"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(given, named):
    helm = Helm()
    try:
        with pytest.raises(Refused) as refused:
            helm.install(**given)
    finally:
        helm.close()
    assert named in str(refused.value)


def test_with_tls_probes_ask_a_port_that_wants_no_certificate():
    container = render(**values("tls")).container()
    probes = [container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert [probe["port"] for probe in probes] == ["admin"] * 3
    assert not [probe for probe in probes if "scheme" in probe]
    container = render().container()
    assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": "http"}


def serve(nessen, tmp_path, **given):
    """The pod's environment on the real binary, with files and ports of this machine."""
    environment = data(**given)
    certificate.make(tmp_path / "tls")
    (tmp_path / "tls/ca.crt").write_bytes((tmp_path / "tls/tls.crt").read_bytes())
    for name, value in environment.items():
        if value.startswith("/run/tls/"):
            environment[name] = str(tmp_path / "tls" / value.rsplit("/", 1)[1])
    environment |= {"PORT": "0", "ADMIN_PORT": str(pod.free_port()), "NESSEN_ADMIN_HOST": "127.0.0.1"}
    if "NESSEN_TLS_REDIRECT_PORT" in environment:
        environment["NESSEN_TLS_REDIRECT_PORT"] = str(pod.free_port())
    return nessen(**environment, HOST="127.0.0.1")


def test_those_probes_are_answered_while_clients_need_a_certificate(nessen, tmp_path):
    server = serve(nessen, tmp_path, **values("tls"))
    for path in ("/health", "/ready"):
        assert server.get(path, admin=True)[0] == 200
    with pytest.raises(OSError):
        certificate.get(server.address, "/ready")


def test_helm_test_passes_with_tls(nessen, binary, tmp_path):
    server = serve(nessen, tmp_path, **values("tls"))
    (tester,) = render(**values("tls")).hooks
    host, _, port = server.admin_address.rpartition(":")
    links = {"WEB_NESSEN_SERVICE_HOST": host, "WEB_NESSEN_SERVICE_PORT_ADMIN": port}
    arguments = [expand(each, links) for each in tester["spec"]["containers"][0]["args"]]
    assert subprocess.run([binary, *arguments], env=links, timeout=20).returncode == 0


def test_the_port_for_plain_http_leads_to_the_services_https():
    given = values("tls")
    release = render(**given)
    ports = {port["name"]: port for port in release.one("Service")["spec"]["ports"]}
    assert (ports["http"]["port"], ports["http"]["appProtocol"]) == (443, "https")
    assert (ports["redirect"]["port"], ports["redirect"]["targetPort"]) == (80, "redirect")
    told = data(**given)
    assert {"name": "redirect", "containerPort": int(told["NESSEN_TLS_REDIRECT_PORT"]), "protocol": "TCP"} in release.container()["ports"]
    assert told["NESSEN_TLS_PUBLIC_PORT"] == "443"
    policy = next(each for each in release.of("NetworkPolicy") if each["metadata"]["name"] == "web-nessen")
    assert {port["port"] for port in policy["spec"]["ingress"][0]["ports"]} == {3000, 3080}


def test_secrets_are_mounted_and_stand_in_no_variable():
    release = render(**values("shared"))
    (volume,) = [each for each in release.pod()["volumes"] if each["name"] == "secrets"]
    mounted = {
        item["path"]: (source["secret"]["name"], item["key"])
        for source in volume["projected"]["sources"]
        for item in source["secret"]["items"]
    }
    assert mounted == {
        "REDIS_URL": ("edge-redis", "redis-url"),
        "AWS_ACCESS_KEY_ID": ("edge-bucket", "access-key-id"),
        "AWS_SECRET_ACCESS_KEY": ("edge-bucket", "secret-access-key"),
    }
    assert {each["name"] for each in release.container()["env"]} == {f"{name}_FILE" for name in mounted}


def test_the_policy_lets_out_to_redis_and_bucket_alone():
    def egress(**given):
        policies = render(**given).of("NetworkPolicy")
        return next(each for each in policies if each["metadata"]["name"] == "web-nessen")["spec"]["egress"]

    before, after = egress(upstream="http://app:8080"), egress(**values("shared"))
    assert after[: len(before)] == before
    assert [(rule["ports"][0]["port"], list(rule["to"][0])) for rule in after[len(before) :]] == [
        (6379, ["namespaceSelector"]),
        (443, ["ipBlock"]),
    ]


def test_traces_go_where_they_are_let_out_to():
    told = data(**values("tracing"))
    assert told["OTEL_EXPORTER_OTLP_ENDPOINT"].endswith(":4318") and told["OTEL_TRACES_SAMPLER_ARG"] == "0.01"
    policies = render(**values("tracing")).of("NetworkPolicy")
    policy = next(each for each in policies if each["metadata"]["name"] == "web-nessen")
    assert policy["spec"]["egress"][-1]["ports"] == [{"port": 4318, "protocol": "TCP"}]


@pytest.mark.parametrize(
    "more, replicas",
    [({}, "10"), ({"autoscaling": {"maxReplicas": 40}}, "40"), ({"autoscaling": {"enabled": False}, "replicaCount": 3}, "3")],
)
def test_prod_is_told_how_many_there_may_be(more, replicas):
    assert data(mode="prod", **more)["REPLICAS"] == replicas


def test_prod_refuses_a_limit_of_each_pod(binary):
    """And so the rollout stops, with the reason."""
    limit = {"config": {"RATE_LIMIT_MAX_REQUESTS": 600}}
    done = subprocess.run([binary, "check"], env=data(mode="prod", **limit), capture_output=True, text=True, timeout=20)
    assert done.returncode == 78 and "rate_limit.backend" in done.stderr + done.stdout
    keys.effective(binary, data(mode="dev", **limit))


def test_a_folder_is_a_volume_that_nessen_may_write_to():
    release = render(evidence={"enabled": True, "folder": {"enabled": True}})
    (volume,) = release.pod()["volumes"]
    assert volume == {"name": "evidence", "emptyDir": {"sizeLimit": "48Mi"}}
    (mount,) = release.container()["volumeMounts"]
    told = data(evidence={"enabled": True, "folder": {"enabled": True}})["NESSEN_EVIDENCE_STORAGE"]
    assert told.startswith(mount["mountPath"] + "/") and "readOnly" not in mount
    release = render(**values("evidence-folder"))
    assert release.pod()["volumes"][0]["persistentVolumeClaim"] == {"claimName": "edge-evidence"}
    assert release.pod()["securityContext"]["fsGroup"] == 65532
