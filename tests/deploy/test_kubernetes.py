"""What belongs together in k8s/ does: names, labels, ports, targets; in every overlay, with every component."""

import pytest

from support import manifests
from support.manifests import called, containers, matches, named, of_kind, pods

EVERYWHERE = pytest.mark.parametrize("render", manifests.RENDERS, ids=manifests.label)


def port_of(spec, name):
    """Whether a container of the pod has the port, by name or number."""
    ports = [port for container in containers(spec) for port in container.get("ports", [])]
    return any(name in (port.get("name"), port["containerPort"]) for port in ports)


def own_ports(container):
    return [value for port in container.get("ports", []) for value in (port.get("name"), port["containerPort"])]


@EVERYWHERE
def test_everything_is_in_the_one_namespace(render):
    objects = manifests.rendered(render)
    (namespace,) = of_kind(objects, "Namespace")
    for item in objects:
        if item["kind"] not in manifests.CLUSTER_WIDE:
            assert item["metadata"].get("namespace") == namespace["metadata"]["name"], called(item)
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@EVERYWHERE
def test_no_object_is_there_twice(render):
    names = [called(item) for item in manifests.rendered(render)]
    assert len(names) == len(set(names))


@EVERYWHERE
def test_selectors_match_pods(render):
    objects = manifests.rendered(render)
    labels = [labels for _, labels, _ in pods(objects)]
    for item, own, spec in pods(objects):
        assert matches(item["spec"]["selector"], own), called(item)
        for term in spec.get("topologySpreadConstraints", []):
            assert matches(term["labelSelector"], own)
        anti = spec.get("affinity", {}).get("podAntiAffinity", {})
        for term in anti.get("preferredDuringSchedulingIgnoredDuringExecution", []):
            assert matches(term["podAffinityTerm"]["labelSelector"], own)
    for item in of_kind(objects, "Service"):
        assert any(matches({"matchLabels": item["spec"]["selector"]}, one) for one in labels), called(item)
    for item in of_kind(objects, "PodDisruptionBudget"):
        assert any(matches(item["spec"]["selector"], one) for one in labels), called(item)
    assert of_kind(objects, "Service") and of_kind(objects, "PodDisruptionBudget")


@EVERYWHERE
def test_probes_and_services_name_ports_that_are_there(render):
    objects = manifests.rendered(render)
    for item, _, spec in pods(objects):
        for container in containers(spec):
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                port = container[probe]["httpGet"]["port"]
                assert port in own_ports(container), f"{called(item)}: {container['name']}: {probe}: {port}"
    for item in of_kind(objects, "Service"):
        for port in item["spec"]["ports"]:
            for _, labels, spec in pods(objects):
                if matches({"matchLabels": item["spec"]["selector"]}, labels):
                    assert port_of(spec, port["targetPort"]), f"{called(item)}: {port['targetPort']}"


@EVERYWHERE
def test_containers_listen_on_the_ports_that_they_name(render):
    objects = manifests.rendered(render)
    for _, _, spec in pods(objects):
        for container in containers(spec):
            settings = manifests.environment(container, objects)
            wanted = {int(settings.get("PORT", 3000)), int(settings.get("ADMIN_PORT", 0))} - {0}
            assert {port["containerPort"] for port in container["ports"]} == wanted


@EVERYWHERE
def test_probes_ask_for_what_each_of_them_means(render):
    for _, _, spec in pods(manifests.rendered(render)):
        for container in containers(spec):
            paths = [container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")]
            assert paths == ["/health", "/health", "/ready"], container["name"]


@EVERYWHERE
def test_routes_and_ingresses_lead_to_services_that_are_there(render):
    objects = manifests.rendered(render)
    seen = 0
    for item in of_kind(objects, "HTTPRoute"):
        for rule in item["spec"]["rules"]:
            for backend in rule.get("backendRefs", []):
                ports = named(objects, "Service", backend["name"])["spec"]["ports"]
                assert backend["port"] in [port["port"] for port in ports], called(item)
                seen += 1
    for item in of_kind(objects, "Ingress"):
        for rule in item["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                ports = named(objects, "Service", backend["name"])["spec"]["ports"]
                (wanted,) = backend["port"].values()
                assert wanted in [value for port in ports for value in (port["name"], port["port"])], called(item)
                # What is for operators is not for everybody.
                assert wanted not in ("admin", 9090), called(item)
                seen += 1
    assert seen >= 2


@EVERYWHERE
def test_hosts_are_the_same_wherever_they_are_written(render):
    """Route, Ingress, Gateway, certificate: one that differs is a 404 or a warning in the browser."""
    objects = manifests.rendered(render)
    hosts = set(named(objects, "HTTPRoute", "nessen")["spec"]["hostnames"])
    assert len(hosts) == 1
    for item in of_kind(objects, "HTTPRoute"):
        assert set(item["spec"]["hostnames"]) == hosts
    for item in of_kind(objects, "Ingress"):
        assert {rule["host"] for rule in item["spec"]["rules"]} == hosts
        assert {host for entry in item["spec"].get("tls", []) for host in entry["hosts"]} <= hosts
    for item in of_kind(objects, "Gateway"):
        assert {listener["hostname"] for listener in item["spec"]["listeners"]} == hosts
    for item in of_kind(objects, "Certificate"):
        # The pods' own is for who asks them by their Service.
        assert set(item["spec"]["dnsNames"]) == ({"nessen"} if item["metadata"]["name"] == "nessen-pods" else hosts)


def test_tls_goes_by_the_certificate_on_gateway_and_every_ingress():
    for render in manifests.RENDERS:
        if "cert-manager" in render[1]:
            objects = manifests.rendered(render)
            secret = named(objects, "Certificate", "nessen")["spec"]["secretName"]
            issuer = named(objects, "Certificate", "nessen")["spec"]["issuerRef"]
            assert named(objects, issuer["kind"], issuer["name"])
            gateway = named(objects, "Gateway", "nessen")
            listeners = {listener["name"]: listener for listener in gateway["spec"]["listeners"]}
            assert listeners["https"]["tls"]["certificateRefs"] == [{"kind": "Secret", "name": secret}]
            for item in of_kind(objects, "Ingress"):
                assert [entry["secretName"] for entry in item["spec"]["tls"]] == [secret], called(item)
            (parent,) = named(objects, "HTTPRoute", "nessen")["spec"]["parentRefs"]
            assert parent == {"name": "nessen", "sectionName": "https"}
            for item in of_kind(objects, "HTTPRoute"):
                for parent in item["spec"]["parentRefs"]:
                    assert parent["name"] == "nessen" and parent["sectionName"] in listeners
            (solver,) = named(objects, "Issuer", "nessen")["spec"]["acme"]["solvers"]
            (parent,) = solver["http01"]["gatewayHTTPRoute"]["parentRefs"]
            assert parent["name"] == "nessen" and listeners[parent["sectionName"]]["protocol"] == "HTTP"


@EVERYWHERE
def test_probes_service_and_ingresses_speak_what_the_port_does(render):
    objects = manifests.rendered(render)
    tls = "tls" in render[1]
    (main,) = named(objects, "Deployment", "nessen")["spec"]["template"]["spec"]["containers"]
    assert ("TLS_CERT" in manifests.environment(main, objects)) == tls
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert main[name]["httpGet"].get("scheme", "HTTP") == ("HTTPS" if tls else "HTTP")
    assert named(objects, "Service", "nessen")["spec"]["ports"][0]["appProtocol"] == ("https" if tls else "http")
    for item in of_kind(objects, "Ingress"):
        spoken = item["metadata"].get("annotations", {}).get("nginx.ingress.kubernetes.io/backend-protocol", "HTTP")
        assert spoken == ("HTTPS" if tls else "HTTP"), called(item)


@EVERYWHERE
def test_policies_open_ports_that_are_there_and_deny_the_rest(render):
    objects = manifests.rendered(render)
    assert named(objects, "NetworkPolicy", "default-deny")["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }
    opened = set()
    for item in of_kind(objects, "NetworkPolicy"):
        for _, labels, spec in pods(objects):
            if item["spec"]["podSelector"] and matches(item["spec"]["podSelector"], labels):
                for rule in item["spec"].get("ingress", []):
                    assert rule.get("ports"), f"{called(item)} opens every port"
                    for port in rule["ports"]:
                        assert port_of(spec, port["port"]), f"{called(item)}: {port}"
                        opened.add(port["port"])
    assert opened == {3000, 9090}


@EVERYWHERE
def test_names_are_resolved_by_the_cluster_and_by_a_cache_on_the_node(render):
    asked = 0
    for item in of_kind(manifests.rendered(render), "NetworkPolicy"):
        for rule in item["spec"].get("egress", []):
            if {port["port"] for port in rule.get("ports", [])} == {53}:
                cluster, node = rule["to"]
                for label in ("kube-dns", "node-local-dns"):
                    assert matches(cluster["podSelector"], {"k8s-app": label}), called(item)
                assert node == {"ipBlock": {"cidr": "169.254.20.10/32"}}, called(item)
                asked += 1
    assert asked == 2, "Nessen's policy, and that of what is behind it"


@EVERYWHERE
def test_the_admin_port_is_for_the_monitoring_namespace_alone(render):
    policy = named(manifests.rendered(render), "NetworkPolicy", "nessen")
    for rule in policy["spec"]["ingress"]:
        if any(port["port"] == 9090 for port in rule["ports"]):
            assert rule["from"] == [
                {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
            ]


@EVERYWHERE
def test_an_autoscaler_owns_the_number_of_pods(render):
    objects = manifests.rendered(render)
    (scaler,) = of_kind(objects, "HorizontalPodAutoscaler")
    target = scaler["spec"]["scaleTargetRef"]
    owned = named(objects, target["kind"], target["name"])
    assert owned["apiVersion"] == target["apiVersion"]
    assert "replicas" not in owned["spec"]
    assert scaler["spec"]["minReplicas"] < scaler["spec"]["maxReplicas"]
    assert {metric["resource"]["name"] for metric in scaler["spec"]["metrics"]} == {"cpu"}
    for container in containers(owned["spec"]["template"]["spec"]):
        assert "cpu" in container["resources"]["requests"], "a share of nothing"


@EVERYWHERE
def test_a_rollout_takes_no_old_pod_before_a_new_one_is_ready(render):
    spec = named(manifests.rendered(render), "Deployment", "nessen")["spec"]
    assert spec["strategy"]["type"] == "RollingUpdate"
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    slowest = sum(
        container["startupProbe"]["periodSeconds"] * container["startupProbe"]["failureThreshold"]
        for container in containers(spec["template"]["spec"])
    )
    assert spec["progressDeadlineSeconds"] > slowest + spec["minReadySeconds"]
    for container in containers(spec["template"]["spec"]):
        assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"


@EVERYWHERE
def test_mounts_and_references_are_there(render):
    objects = manifests.rendered(render)
    made = [item["spec"]["target"]["name"] for item in of_kind(objects, "ExternalSecret")]
    made += [f"nessen-{what}" for what in ("redis", "evidence")]  # that the components say to make
    made += [item["spec"]["secretName"] for item in of_kind(objects, "Certificate")]
    for item, _, spec in pods(objects):
        assert named(objects, "ServiceAccount", spec["serviceAccountName"])
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        mounted = {mount["name"] for one in containers(spec) for mount in one.get("volumeMounts", [])}
        assert mounted == set(volumes)
        for volume in volumes.values():
            if "configMap" in volume:
                data = named(objects, "ConfigMap", volume["configMap"]["name"])["data"]
                paths = [one["subPath"] for c in containers(spec) for one in c["volumeMounts"] if "subPath" in one]
                assert set(paths) <= set(data)
            if "secret" in volume:
                assert volume["secret"]["secretName"] in made


@EVERYWHERE
def test_pods_are_restricted(render):
    """The Pod Security Standard "restricted", and a root that cannot be written."""
    for item, _, spec in pods(manifests.rendered(render)):
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        whole = spec["securityContext"]
        assert whole["runAsNonRoot"] is True and whole["seccompProfile"] == {"type": "RuntimeDefault"}
        assert whole["runAsUser"] == whole["runAsGroup"] == 65532
        assert all(set(volume) <= {"name", "configMap", "secret", "emptyDir"} for volume in spec.get("volumes", []))
        for container in containers(spec):
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, called(item)
            assert own["readOnlyRootFilesystem"] is True
            assert own["capabilities"] == {"drop": ["ALL"]}
            for what in ("requests", "limits"):
                assert set(container["resources"][what]) == {"cpu", "memory", "ephemeral-storage"}


def test_nothing_asks_for_rights():
    kinds = {item["kind"] for render in manifests.RENDERS for item in manifests.rendered(render)}
    assert not {kind for kind in kinds if "Role" in kind}


def test_prometheus_finds_the_pods_under_the_job_that_rules_ask_for():
    objects = manifests.rendered(("production", ("monitoring",)))
    monitor = named(objects, "ServiceMonitor", "nessen")
    selector = monitor["spec"]["selector"]
    (service,) = [item for item in of_kind(objects, "Service") if matches(selector, item["metadata"]["labels"])]
    assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "nessen"
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert named(objects, "ConfigMap", "nessen-dashboard")["metadata"]["labels"]["grafana_dashboard"] == "1"
