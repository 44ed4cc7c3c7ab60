"""The ACI container group: strictly by the models of Azure's SDK, and what they do not say."""

import pytest
import yaml

from support import tools
from support.cloud import filled, variables
from support.settings import auto_memory, drain, effective

# What container engines give between SIGTERM and SIGKILL unless told otherwise; Azure promises nothing.
GRACE, LEFT = 10, 2
# Of the file alone: `az` reads them beside the container group.
OF_THE_FILE = {"apiVersion", "type", "name"}


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    return yaml.safe_load(filled("deploy/aci", tmp_path_factory.mktemp("aci"))["container-group.yaml"])


@pytest.fixture(scope="module")
def containers(group):
    return {container["name"]: container["properties"] for container in group["properties"]["containers"]}


@pytest.fixture(scope="module")
def values(containers, binary):
    return effective(binary, variables(containers["nessen"]["environmentVariables"]))


@pytest.fixture(scope="module")
def sdk():
    try:
        from azure.mgmt import containerinstance
    except ImportError:
        tools.absent("azure-mgmt-containerinstance is not installed")
    return containerinstance


PLAIN = {"str": str, "int": int, "float": (int, float), "bool": bool, "object": object}


def faults(value, kind, models, path):
    """What a model does not know: attributes, types; and what it asks for and is not there."""
    if kind.startswith("["):
        if not isinstance(value, list):
            yield f"{path}: not a list"
            return
        for index, part in enumerate(value):
            yield from faults(part, kind[1:-1], models, f"{path}[{index}]")
    elif kind.startswith("{"):
        for name, part in value.items():
            yield from faults(part, kind[1:-1], models, f"{path}.{name}")
    elif kind in PLAIN:
        if not isinstance(value, PLAIN[kind]) or (isinstance(value, bool) and kind in ("int", "float")):
            yield f"{path}: {value!r} is no {kind}"
    else:
        yield from model_faults(value, getattr(models, kind), models, path)


def model_faults(value, model, models, path):
    known = {attribute["key"]: (name, attribute["type"]) for name, attribute in model._attribute_map.items()}
    given = dict(flat(value, known))
    for key, part in given.items():
        if key not in known:
            yield f"{path}.{key}: {model.__name__} has no such attribute"
            continue
        name, kind = known[key]
        if model._validation.get(name, {}).get("readonly"):
            yield f"{path}.{key}: only Azure sets it"
        yield from faults(part, kind, models, f"{path}.{key}")
    for name, rule in model._validation.items():
        key = model._attribute_map[name]["key"]
        if rule.get("required") and key not in given:
            yield f"{path}.{key}: required"


def flat(value, known):
    """The SDK lifts what is below `properties`; `properties.image` is one of its keys."""
    for key, part in value.items():
        below = any(name.startswith(f"{key}.") for name in known)
        if below and isinstance(part, dict):
            yield from ((f"{key}.{name}", inner) for name, inner in part.items())
        else:
            yield key, part


def test_azure_knows_every_field(group, sdk):
    described = {key: value for key, value in group.items() if key not in OF_THE_FILE}
    assert list(faults(described, "ContainerGroup", sdk.models, "group")) == []
    assert group["type"] == "Microsoft.ContainerInstance/containerGroups"


def test_the_version_of_the_api_is_the_sdk_s(group, sdk):
    from azure.core.credentials import AzureKeyCredential

    client = sdk.ContainerInstanceManagementClient(AzureKeyCredential("none"), "subscription", base_url="https://localhost")
    assert group["apiVersion"] == client._config.api_version


def test_azure_knows_every_value(group, containers, sdk):
    def of(name):
        return {member.value for member in getattr(sdk.models, name)}

    properties = group["properties"]
    assert properties["osType"] in of("OperatingSystemTypes")
    assert properties["restartPolicy"] in of("ContainerGroupRestartPolicy")
    assert properties["sku"] in of("ContainerGroupSku")
    assert properties["ipAddress"]["type"] in of("ContainerGroupIpAddressType")
    assert group["identity"]["type"] in of("ResourceIdentityType")
    for port in properties["ipAddress"]["ports"] + containers["nessen"]["ports"]:
        assert port["protocol"] in of("ContainerGroupNetworkProtocol")
    for probe in ("readinessProbe", "livenessProbe"):
        assert containers["nessen"][probe]["httpGet"]["scheme"] in of("Scheme")


def test_the_drain_is_short(values):
    assert drain(values) <= GRACE - LEFT


def test_only_the_server_is_reached_from_outside(group, containers, values):
    outside = [port["port"] for port in group["properties"]["ipAddress"]["ports"]]
    assert [str(port) for port in outside] == [values["server.port"]]
    assert [port["port"] for port in containers["nessen"]["ports"]] == outside
    assert "ports" not in containers["app"]
    assert (values["admin.host"], values["admin.port"]) == ("127.0.0.1", "9090")
    assert values["server.trusted_proxies"] == "none", "clients come straight"


def test_the_probes_tell_life_from_readiness(containers, values, nessen):
    server = nessen()
    paths = []
    for kind in ("readinessProbe", "livenessProbe"):
        probe = containers["nessen"][kind]["httpGet"]
        assert str(probe["port"]) == values["server.port"]
        assert server.get(probe["path"])[0] == 200
        paths.append(probe["path"])
    assert paths == ["/ready", "/health"]


def test_secrets_are_secure_values_and_images_are_pulled_without_a_password(group, containers):
    [secret] = containers["app"]["environmentVariables"]
    assert set(secret) == {"name", "secureValue"}
    for credential in group["properties"]["imageRegistryCredentials"]:
        assert set(credential) == {"server", "identity"}
        assert credential["identity"] in group["identity"]["userAssignedIdentities"]


def test_what_is_asked_for_is_what_is_allowed_and_enough(containers, binary):
    resources = containers["nessen"]["resources"]
    assert resources["limits"] == resources["requests"]
    budget = auto_memory(int(resources["limits"]["memoryInGB"] * 10**9))
    effective(binary, variables(containers["nessen"]["environmentVariables"]) | {"MEMORY_BUDGET": budget})
