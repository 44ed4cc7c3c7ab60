"""The five manifests of docs/migrating.md, and what the page says of them."""

import pytest
from support import pod, settings, tools
from support.migration import FOLDER, NAMES, PROXIED, each, migration  # noqa: F401

PAGE = tools.ROOT / "docs/migrating.md"
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def hook(container):
    return container.get("lifecycle", {}).get("preStop", {})


def section(title):
    return PAGE.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_the_folder_and_the_page_know_the_same_five():
    more = {"traversion-tls", "traversion-tls.patch"}
    assert sorted({path.stem for path in FOLDER.iterdir()} - more) == sorted(NAMES)
    assert all(f"../deploy/migrating/{name}.yaml" in section("traversion") for name in more)
    for name in NAMES:
        assert f"../deploy/migrating/{name}.yaml" in section(name)


@pytest.mark.parametrize("minor", ["1.34", "1.37"])
@pytest.mark.parametrize("name", NAMES)
def test_every_object_is_strictly_valid(name, minor):
    tools.run(tools.need("kubernetes-validate"), "--strict", "-k", minor, FOLDER / f"{name}.yaml")


@each(*NAMES)
def test_the_environment_is_a_configuration_word_for_word(migration):
    """With what the kubelet adds for the Services beside it, and with what only Node or the app knows."""
    effective = migration.checked()
    assert int(effective["server.port"]) == migration.container["ports"][0]["containerPort"]
    assert effective["shutdown.drain_timeout"] == "30s"


@each(*NAMES)
def test_the_memory_of_the_container_holds_what_the_limits_allow(migration):
    """What a body may have, and the least of everything else, fit into `limits.memory` of this container."""
    limit = migration.container["resources"]["limits"]["memory"]
    assert limit.endswith("Mi")
    assert migration.checked(MEMORY_BUDGET=settings.auto_memory(int(limit.removesuffix("Mi")) << 20))


@each(*NAMES)
def test_the_grace_holds_hook_delay_drain_and_margin(migration):
    effective = migration.checked()
    sleep = hook(migration.container).get("sleep", {}).get("seconds", 0)
    needed = sleep + settings.drain(effective) + settings.MARGIN
    assert pod.pod_spec(migration.manifest)["terminationGracePeriodSeconds"] >= needed


@each(*NAMES)
def test_nothing_needs_a_shell(migration):
    assert "exec" not in hook(migration.container)
    assert not [name for name in PROBES if "exec" in migration.container.get(name, {})]


@each(*NAMES)
def test_services_probes_and_policies_lead_to_ports_of_the_container(migration):
    container, values = migration.container, migration.values
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports["http"] == int(values["PORT"])
    assert ports.get("admin") == (int(values["ADMIN_PORT"]) if "ADMIN_PORT" in values else None)
    labels = pod.one(migration.manifest, "Deployment")["spec"]["template"]["metadata"]["labels"]
    service = pod.one(migration.manifest, "Service")["spec"]
    assert service["selector"].items() <= labels.items()
    assert {port["name"] for port in service["ports"]} == set(ports)
    for port in service["ports"]:
        assert port["targetPort"] in (port["name"], ports[port["name"]])
    for name in PROBES:
        if name in container:
            assert container[name]["httpGet"]["port"] in ("http", ports["http"])
    for policy in (x for x in migration.manifest if x["kind"] == "NetworkPolicy"):
        for rule in policy["spec"]["ingress"]:
            assert {port["port"] for port in rule["ports"]} <= {*ports, *ports.values()}


@each(*PROXIED)
def test_the_application_keeps_its_port_starts_before_and_ends_after(migration):
    """An init container that restarts is a sidecar: it is stopped when the containers have ended."""
    (app,) = pod.pod_spec(migration.manifest)["initContainers"]
    assert app["restartPolicy"] == "Always"
    (port,) = [port["containerPort"] for port in app["ports"]]
    assert migration.values["UPSTREAM"] == f"http://127.0.0.1:{port}"
    assert port not in [own["containerPort"] for own in migration.container["ports"]]


@each(*PROXIED)
def test_the_applications_image_can_be_set_as_the_guides_do(migration):
    """`kubectl set image` finds a sidecar by the container's name."""
    (app,) = pod.pod_spec(migration.manifest)["initContainers"]
    done = tools.run(
        tools.need("kubectl"), "set", "image", "--local", "-o", "jsonpath={.spec.template.spec.initContainers[0].image}",
        "-f", "-", f"{app['name']}=other:v1.2.3", input=pod.dump(pod.one(migration.manifest, "Deployment")),
    )
    assert done.stdout == "other:v1.2.3"


@each(*NAMES)
def test_the_page_names_every_variable(migration):
    text = section(migration.name) + (section("In front of an application") if migration.name in PROXIED else "")
    for entry in migration.container["env"]:
        assert f"`{entry['name']}" in text, entry["name"]


def test_the_page_says_how_replicas_go_without_the_pods():
    """What was applied with `replicas` and is applied without is set to 1."""
    way = PAGE.read_text().partition("### The way there")[2]
    assert way.index("kubectl apply edit-last-applied") < way.index("kubectl apply -f FILE")
