"""Kubernetes objects as parsed: what they hold, and whether those that belong together meet."""


def walk(value, path=""):
    """Every leaf with its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from walk(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from walk(inner, f"{path}[{index}]")
    else:
        yield path, value


def selects(selector, labels):
    return bool(selector) and selector.items() <= labels.items()


def gaps(objects, hooks=()):
    """What names something that is not there: one line each."""
    return [*_pod_gaps(objects), *_selector_gaps(objects, hooks), *_backend_gaps(objects)]


def _of(objects, kind):
    return {thing["metadata"]["name"]: thing for thing in objects if thing["kind"] == kind}


def _template(objects):
    (deployment,) = _of(objects, "Deployment").values()
    return deployment["spec"]["template"]


def _ports(objects):
    return {
        port["name"]: port["containerPort"]
        for container in _template(objects)["spec"]["containers"]
        for port in container.get("ports", [])
    }


def _pod_gaps(objects):
    pod, maps, accounts = _template(objects)["spec"], _of(objects, "ConfigMap"), _of(objects, "ServiceAccount")
    if pod["serviceAccountName"] not in {"default", *accounts}:
        yield f"no ServiceAccount {pod['serviceAccountName']}"
    volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
    if len(volumes) != len(pod.get("volumes", [])):
        yield "two volumes of one name"
    for volume in volumes.values():
        if "configMap" in volume and volume["configMap"]["name"] not in maps:
            yield f"volume {volume['name']}: no ConfigMap {volume['configMap']['name']}"
    for container in pod["containers"]:
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                yield f"{container['name']}: no volume {mount['name']}"
        for source in container.get("envFrom", []):
            name = source.get("configMapRef", {}).get("name")
            if name and name not in maps:
                yield f"{container['name']}: no ConfigMap {name}"
        ports = {port["name"] for port in container.get("ports", [])}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            port = container.get(probe, {}).get("httpGet", {}).get("port")
            if port is not None and port not in ports:
                yield f"{container['name']}: {probe} asks port {port}"
    mounted = {source["secret"]["name"] for volume in volumes.values()
               for source in volume.get("projected", {}).get("sources", []) if "secret" in source}  # fmt: skip
    for secret in _of(objects, "ExternalSecret").values():
        if secret["spec"]["target"]["name"] not in mounted:
            yield f"nobody mounts {secret['spec']['target']['name']}"


def _selector_gaps(objects, hooks):
    labels, ports = _template(objects)["metadata"]["labels"], _ports(objects)
    (deployment,) = _of(objects, "Deployment").values()
    selectors = {"Deployment": deployment["spec"]["selector"]["matchLabels"]}
    for name, thing in _of(objects, "PodDisruptionBudget").items():
        selectors[f"PodDisruptionBudget {name}"] = thing["spec"]["selector"]["matchLabels"]
    for name, thing in _of(objects, "NetworkPolicy").items():
        selector = thing["spec"]["podSelector"]["matchLabels"]
        if "ingress" not in thing["spec"] and any(selects(selector, hook["metadata"]["labels"]) for hook in hooks):
            continue  # of the pod that a hook makes
        selectors[f"NetworkPolicy {name}"] = selector
        allowed = {port["port"] for rule in thing["spec"]["ingress"] for port in rule["ports"]}
        if not allowed <= set(ports.values()):
            yield f"NetworkPolicy {name}: nothing listens on {allowed - set(ports.values())}"
    for name, thing in _of(objects, "Service").items():
        selectors[f"Service {name}"] = thing["spec"]["selector"]
        for port in thing["spec"]["ports"]:
            if port["targetPort"] not in ports:
                yield f"Service {name}: no port {port['targetPort']}"
    for what, selector in selectors.items():
        if not selects(selector, labels):
            yield f"{what} selects no pod"
        for hook in hooks:
            if selects(selector, hook["metadata"].get("labels", {})):
                yield f"{what} selects {hook['metadata']['name']} too"


def _backend_gaps(objects):
    services, deployments = _of(objects, "Service"), _of(objects, "Deployment")
    for thing in _of(objects, "HorizontalPodAutoscaler").values():
        if thing["spec"]["scaleTargetRef"]["name"] not in deployments:
            yield "the autoscaler has no target"

    def there(name, wanted):
        ports = services.get(name, {"spec": {"ports": []}})["spec"]["ports"]
        return any(wanted in (port["name"], port["port"]) for port in ports)

    for thing in _of(objects, "Ingress").values():
        for rule in thing["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                if not there(backend["name"], backend["port"].get("name") or backend["port"]["number"]):
                    yield f"Ingress: no {backend}"
    for thing in _of(objects, "HTTPRoute").values():
        for rule in thing["spec"]["rules"]:
            for backend in rule.get("backendRefs", []):
                if not there(backend["name"], backend["port"]):
                    yield f"HTTPRoute: no {backend}"
    for thing in _of(objects, "ServiceMonitor").values():
        selector = thing["spec"]["selector"]["matchLabels"]
        chosen = [name for name, service in services.items() if selects(selector, service["metadata"]["labels"])]
        for endpoint in thing["spec"]["endpoints"]:
            if not any(there(name, endpoint["port"]) for name in chosen):
                yield f"ServiceMonitor: no port {endpoint['port']}"
