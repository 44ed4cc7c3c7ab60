"""The environment that a container of a manifest would have, on this machine."""

import socket

import yaml

# What the guides' Secrets hold, as far as Nessen is given it. Nothing listens on port 1.
SECRETS = {
    ("aws-credentials", "access-key-id"): "AKIDEXAMPLE",
    ("aws-credentials", "secret-access-key"): "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    ("talos-otlp", "endpoint"): "http://127.0.0.1:1",
    ("talos-redis", "redis-url"): "redis://127.0.0.1:1",
}


def objects(path):
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


def dump(one_object):
    return yaml.safe_dump(one_object)


def one(manifest, kind, name=None):
    found = [x for x in manifest if x["kind"] == kind and name in (None, x["metadata"]["name"])]
    assert len(found) == 1, f"{kind} {name or ''}: {len(found)} of them"
    return found[0]


def pod_spec(manifest):
    return one(manifest, "Deployment")["spec"]["template"]["spec"]


def nessen_container(manifest):
    found = [c for c in pod_spec(manifest)["containers"] if c["image"].split(":")[0].endswith("nessen")]
    assert len(found) == 1, f"{len(found)} containers of Nessen"
    return found[0]


def probes(container):
    """{"livenessProbe": "/health", ...}"""
    names = ("startupProbe", "livenessProbe", "readinessProbe")
    return {name: container[name]["httpGet"]["path"] for name in names if name in container}


def service_links(manifest):
    """What the kubelet adds for every Service beside the pod."""
    links = {}
    for service in (x for x in manifest if x["kind"] == "Service"):
        name = service["metadata"]["name"].upper().replace("-", "_")
        first = service["spec"]["ports"][0]["port"]
        links |= {f"{name}_SERVICE_HOST": "10.0.0.7", f"{name}_SERVICE_PORT": first, f"{name}_PORT": f"tcp://10.0.0.7:{first}"}
        for port in service["spec"]["ports"]:
            number, key = port["port"], f"{name}_PORT_{port['port']}_TCP"
            links |= {f"{name}_SERVICE_PORT_{port['name'].upper()}": number, key: f"tcp://10.0.0.7:{number}"}
            links |= {f"{key}_PROTO": "tcp", f"{key}_PORT": number, f"{key}_ADDR": "10.0.0.7"}
    return {name: str(value) for name, value in links.items()}


def environment(manifest, container, folder):
    """What the container gets, word for word; its mounted files are written into `folder`."""
    values = service_links(manifest)
    for source in container.get("envFrom", []):
        values |= one(manifest, "ConfigMap", source["configMapRef"]["name"])["data"]
    for entry in container["env"]:
        if "value" in entry:
            values[entry["name"]] = entry["value"]
        elif "secretKeyRef" in entry["valueFrom"]:
            reference = entry["valueFrom"]["secretKeyRef"]
            values[entry["name"]] = SECRETS[reference["name"], reference["key"]]
        else:
            reference = entry["valueFrom"]["configMapKeyRef"]
            values[entry["name"]] = one(manifest, "ConfigMap", reference["name"])["data"][reference["key"]]
    volumes = {volume["name"]: volume for volume in pod_spec(manifest).get("volumes", [])}
    for mount in container.get("volumeMounts", []):
        target = folder / mount["mountPath"].lstrip("/")
        target.mkdir(parents=True, exist_ok=True)
        for name, text in one(manifest, "ConfigMap", volumes[mount["name"]]["configMap"]["name"])["data"].items():
            (target / name).write_text(text)
        for name, value in values.items():
            if value.startswith(mount["mountPath"] + "/"):
                values[name] = str(folder / value.lstrip("/"))
    return values


def moved(values, app_port):
    """The same where several run on one machine: other ports, and loopback alone."""
    values = dict(values, HOST="127.0.0.1", PORT="0")
    if "ADMIN_PORT" in values:
        values |= {"ADMIN_PORT": str(free_port()), "NESSEN_ADMIN_HOST": "127.0.0.1"}
    if "TRACEHOUND_COLD_STORAGE_BUCKET" in values:  # not the real one
        values["NESSEN_EVIDENCE_S3_ENDPOINT"] = "http://127.0.0.1:1"
    if "UPSTREAM" in values:
        before = values["UPSTREAM"].removeprefix("http://")
        values["UPSTREAM"] = f"http://127.0.0.1:{app_port}"
        if path := values.get("NESSEN_CONFIG"):
            with open(path, "r+") as file:
                text = file.read()
                assert before in text, f"the check asks another than {before}"
                file.seek(0)
                file.write(text.replace(before, f"127.0.0.1:{app_port}"))
                file.truncate()
    return values


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
