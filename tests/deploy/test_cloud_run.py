"""The Cloud Run service: strictly by Google's own description of the API, and what that does not say."""

import json

import pytest
import yaml

from support import tools
from support.cloud import filled, variables
from support.settings import auto_memory, drain, effective, seconds

# SIGKILL follows SIGTERM; what is left is for the exit itself.
GRACE, LEFT = 10, 2
# What Cloud Run sets in the container, and refuses in a service.
RESERVED = {"PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    return yaml.safe_load(filled("deploy/cloud-run", tmp_path_factory.mktemp("cloud-run"))["service.yaml"])


@pytest.fixture(scope="module")
def containers(service):
    return {container["name"]: container for container in service["spec"]["template"]["spec"]["containers"]}


@pytest.fixture(scope="module")
def values(containers, binary):
    nessen = containers["nessen"]
    given = variables(nessen["env"])
    assert not RESERVED & set(given)
    budget = auto_memory(int(nessen["resources"]["limits"]["memory"].removesuffix("Mi")) << 20)
    port = nessen["ports"][0]["containerPort"]
    return effective(binary, given | {"PORT": port, "K_SERVICE": "nessen", "MEMORY_BUDGET": budget}, RESERVED)


def schema(part):
    """A schema of a discovery document as JSON Schema, with nothing allowed that it does not name."""
    if "$ref" in part:
        return {"$ref": f"#/$defs/{part['$ref']}"}
    if part.get("type") == "array":
        return {"type": "array", "items": schema(part["items"])}
    if part.get("type") == "object" and "additionalProperties" in part:
        return {"type": "object", "additionalProperties": schema(part["additionalProperties"])}
    if part.get("type") == "object":
        properties = {name: schema(value) for name, value in part.get("properties", {}).items()}
        return {"type": "object", "properties": properties, "additionalProperties": False}
    if part.get("type") == "any":
        return {}
    return {key: part[key] for key in ("type", "enum", "pattern") if key in part}


def test_google_knows_every_field(service):
    try:
        import googleapiclient.discovery_cache as cache
        import jsonschema
    except ImportError:
        tools.absent("googleapiclient and jsonschema are not installed")
    document = json.loads(cache.get_static_doc("run", "v1"))
    definitions = {name: schema(part) for name, part in document["schemas"].items()}
    validator = jsonschema.Draft202012Validator({"$ref": "#/$defs/Service", "$defs": definitions})
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(service)] == []
    assert (service["apiVersion"], service["kind"]) == ("serving.knative.dev/v1", "Service")


def test_the_drain_ends_before_the_kill(values):
    assert drain(values) <= GRACE - LEFT


def test_http2_reaches_the_port_that_is_listened_on(containers, values):
    [port] = containers["nessen"]["ports"]
    assert port["name"] == "h2c" and values["http2.enabled"] == "true"
    assert str(port["containerPort"]) == values["server.port"]
    assert "ports" not in containers["app"], "one container alone takes requests"
    assert values["upstream.url"] == f"http://127.0.0.1:{containers['app']['startupProbe']['httpGet']['port']}"


def test_the_probes_ask_paths_that_arrive(containers, values, nessen):
    server = nessen()
    probes = {kind: containers["nessen"][kind]["httpGet"] for kind in ("startupProbe", "livenessProbe")}
    assert probes["startupProbe"]["path"] != probes["livenessProbe"]["path"]
    for probe in probes.values():
        assert not probe["path"].endswith("z"), "Cloud Run keeps such paths to itself"
        assert str(probe["port"]) == values["server.port"]
        assert server.get(probe["path"])[0] == 200


def test_cloud_run_scales_before_nessen_refuses(service, values):
    concurrency = service["spec"]["template"]["spec"]["containerConcurrency"]
    assert concurrency < int(values["limits.max_in_flight"])
    assert concurrency <= int(values["http2.max_concurrent_streams"]), "all may come on one connection"
    timeout = service["spec"]["template"]["spec"]["timeoutSeconds"]
    assert timeout > seconds(values["limits.request_timeout"])


def test_the_front_end_is_no_client(values):
    assert values["server.trusted_proxies"] != "none"
    assert int(values["http2.max_cancelled_streams"]) >= 100_000


def test_the_metrics_are_not_served_to_everybody(values):
    assert (values["admin.host"], values["admin.port"]) == ("127.0.0.1", "9090")


def test_the_application_starts_first_and_its_secret_is_a_reference(service, containers):
    annotations = service["spec"]["template"]["metadata"]["annotations"]
    assert json.loads(annotations["run.googleapis.com/container-dependencies"]) == {"nessen": ["app"]}
    assert annotations["run.googleapis.com/execution-environment"] == "gen2"
    assert int(annotations["autoscaling.knative.dev/minScale"]) < int(annotations["autoscaling.knative.dev/maxScale"])
    # A dependency is waited for by its startup probe.
    assert "startupProbe" in containers["app"]
    assert [list(entry) for entry in containers["app"]["env"]] == [["name", "valueFrom"]]
