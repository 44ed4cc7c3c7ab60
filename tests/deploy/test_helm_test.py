"""`helm test`: the pod that it makes is run here as the kubelet would run it, with the real binary."""

import re
import subprocess

import pytest

from support.helm import Helm, Refused, render
from support.kube_objects import selects


def expand(text, environment):
    """$(NAME) as the kubelet expands it: what is not there stays."""
    return re.sub(r"\$\((\w+)\)", lambda found: environment.get(found[1], found[0]), text)


def service_links(objects, address):
    """The variables that the kubelet makes of the services of a namespace; here they all are where Nessen listens."""
    host, _, port = address.rpartition(":")
    environment = {}
    for path, thing in objects.items():
        if thing["kind"] == "Service":
            prefix = thing["metadata"]["name"].upper().replace("-", "_")
            environment[f"{prefix}_SERVICE_HOST"] = host.strip("[]")
            environment[f"{prefix}_PORT"] = f"tcp://{address}"
            for each in thing["spec"]["ports"]:
                environment[f"{prefix}_SERVICE_PORT_{each['name'].upper()}"] = port
    return environment


@pytest.fixture
def cluster(binary):
    """`cluster(address)` runs the pods of tests; what they said is in `said`."""
    made = []

    def start(address):
        helm = Helm()
        made.append(helm)
        helm.said = []

        def run_pod(pod):
            (container,) = pod["spec"]["containers"]
            environment = service_links(helm.api.objects, address) if pod["spec"]["enableServiceLinks"] else {}
            arguments = [expand(each, environment) for each in container["args"]]
            done = subprocess.run([binary, *arguments], env=environment, capture_output=True, text=True, timeout=20)
            helm.said.append(done.stderr)
            return done.returncode == 0

        helm.api.run_pod = run_pod
        return helm

    yield start
    for helm in made:
        helm.close()


# nessen-admin and nessen-server: their services' variables have names of settings, NESSEN_ADMIN_PORT and the like.
@pytest.mark.parametrize("release", ["web", "nessen-admin", "nessen-server", "7web", "a" * 53])
def test_it_passes_while_nessen_answers(cluster, nessen, release):
    helm = cluster(nessen().address)
    helm.install(release)
    helm.test(release)
    assert helm.said == [""]


def test_it_passes_by_ipv6(cluster, nessen):
    helm = cluster(nessen(HOST="::1").address)
    helm.install()
    helm.test()
    assert helm.said == [""]


def test_it_fails_where_nothing_answers(cluster, nessen):
    server = nessen()
    helm = cluster(server.address)
    helm.install()
    server.kill()
    with pytest.raises(Refused):
        helm.test()
    assert "refused" in helm.said[0]


def test_no_service_sends_it_requests():
    release = render()
    (pod,) = release.hooks
    assert not selects(release.one("Service")["spec"]["selector"], pod["metadata"]["labels"])
    assert pod["spec"]["restartPolicy"] == "Never"


def test_the_policies_let_it_in_and_out():
    """Whoever else may ask."""
    release = render(networkPolicy={"from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]})
    policies = {policy["metadata"]["name"]: policy["spec"] for policy in release.of("NetworkPolicy")}
    into, out = policies["web-nessen"]["ingress"][0], policies["web-nessen-healthcheck"]["egress"][0]
    tester = release.hooks[0]["metadata"]["labels"]
    tested = release.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert any(selects(peer.get("podSelector", {}).get("matchLabels"), tester) for peer in into["from"])
    assert any(selects(peer["podSelector"]["matchLabels"], tested) for peer in out["to"])
    assert selects(policies["web-nessen-healthcheck"]["podSelector"]["matchLabels"], tester)
    assert into["ports"] == out["ports"]
