"""Every object of every rendering, strictly against the schema of its kind."""

import copy

import pytest

from support import kube_schemas, manifests


@pytest.mark.parametrize("version", kube_schemas.VERSIONS)
@pytest.mark.parametrize("render", manifests.RENDERS, ids=manifests.label)
def test_every_object_fits_the_schema_of_its_kind(render, version):
    for item in manifests.rendered(render):
        found = kube_schemas.faults(item, version)
        assert not found, f"{manifests.called(item)}: {found}"


def test_every_kind_is_rendered_somewhere():
    kinds = {item["kind"] for render in manifests.RENDERS for item in manifests.rendered(render)}
    wanted = (
        "Namespace ServiceAccount ConfigMap Deployment Service HorizontalPodAutoscaler PodDisruptionBudget "
        "NetworkPolicy HTTPRoute Ingress ServiceMonitor PrometheusRule Issuer Certificate Gateway ResourceQuota "
        "LimitRange ExternalSecret"
    )
    assert kinds == set(wanted.split())


def of_every_kind():
    """One object of each kind."""
    found = {}
    for render in manifests.RENDERS:
        for item in manifests.rendered(render):
            found.setdefault(item["kind"], item)
    return found


# Maps whose names are the user's to choose.
FREE = set("annotations data default defaultRequest hard labels limits matchLabels max min requests".split())


def maps(part, path=()):
    """Every map below, but for the free ones, by its path."""
    if isinstance(part, dict):
        yield path
    for name, below in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
        if name not in FREE or isinstance(below, list):
            yield from maps(below, (*path, name))


@pytest.mark.parametrize("version", kube_schemas.VERSIONS)
def test_an_unknown_field_is_found_wherever_it_is(version):
    for item in of_every_kind().values():
        for path in maps(item):
            if (item["kind"], path[-1:]) == ("Service", ("selector",)):
                continue
            broken = copy.deepcopy(item)
            part = broken
            for step in path:
                part = part[step]
            part["colour"] = "green"
            assert kube_schemas.faults(broken, version), f"{manifests.called(item)}: {path}: colour is not noticed"


@pytest.mark.parametrize(
    "kind, path, wrong",
    [
        ("HTTPRoute", "spec.rules.0.matches.0.path.type", "Prefix"),
        ("HTTPRoute", "spec.hostnames.0", "http://nessen.example.com"),
        ("HTTPRoute", "spec.rules.0.backendRefs.0.port", "http"),
        ("Gateway", "spec.listeners.0.port", 70000),
        ("Gateway", "spec.listeners.1.tls.mode", "Ended"),
        ("ServiceMonitor", "spec.endpoints.0.interval", "15 seconds"),
        ("PrometheusRule", "spec.groups.0.rules.0.for", "a minute"),
        ("Certificate", "spec.privateKey.rotationPolicy", "Sometimes"),
        ("Issuer", "spec.acme.solvers.0.http01.gatewayHTTPRoute.parentRefs", "nessen"),
        ("ExternalSecret", "spec.target.creationPolicy", "Mine"),
        ("Deployment", "spec.template.spec.containers.0.ports.0.containerPort", "3000"),
    ],
)
def test_a_wrong_value_is_found(kind, path, wrong):
    broken = copy.deepcopy(of_every_kind()[kind])
    *way, last = [int(part) if part.isdigit() else part for part in path.split(".")]
    part = broken
    for step in way:
        part = part[step]
    part[last] = wrong
    assert kube_schemas.faults(broken, kube_schemas.VERSIONS[0])
