"""TLS for traversion, end to end: the manifest's patch on the real binary, with a certificate mounted as the kubelet does."""

import json
import socket

import pytest
import yaml
from support import certificate, pod, tools
from support.migration import FOLDER, each, migration  # noqa: F401
from support.waiting import eventually

MORE = FOLDER / "traversion-tls.yaml"
PATCH = FOLDER / "traversion-tls.patch.yaml"


def patched(manifest):
    """The Deployment as `kubectl patch` makes it."""
    done = tools.run(
        tools.need("kubectl"), "patch", "--local", "-o", "yaml", "-f", "-", "--patch-file", PATCH,
        input=pod.dump(pod.one(manifest, "Deployment")),
    )  # fmt: skip
    return yaml.safe_load(done.stdout)


@pytest.fixture
def tls(migration, tmp_path):  # noqa: F811
    """(server, fingerprint, the folder of the Secret)"""
    container = pod.nessen_container([patched(migration.manifest)])
    secret = tmp_path / "secret"
    secret.mkdir()
    first = certificate.mount(secret, 1)
    values = pod.moved(migration.values, migration.app.port)
    for entry in container["env"]:
        if entry["name"] not in values:
            values[entry["name"]] = entry["value"].replace("/etc/tls", str(secret))
    values["NESSEN_TLS_REDIRECT_PORT"] = str(pod.free_port())
    server = migration.start(**values)
    server.redirect = f"127.0.0.1:{values['NESSEN_TLS_REDIRECT_PORT']}"
    eventually(lambda: certificate.get(server.address, "/ready")[0] == 200, "it is ready")
    return server, first, secret


def test_what_is_added_is_valid_and_so_is_what_is_patched(tmp_path):
    manifest = pod.objects(FOLDER / "traversion.yaml")
    (tmp_path / "deployment.yaml").write_text(pod.dump(patched(manifest)))
    (tmp_path / "service.yaml").write_text(pod.dump(pod.one(pod.objects(MORE), "Service")))
    for minor in ("1.34", "1.37"):
        for file in sorted(tmp_path.glob("*.yaml")):
            tools.run(tools.need("kubernetes-validate"), "--strict", "-k", minor, file)


def test_secret_service_and_probes_meet():
    manifest, more = pod.objects(FOLDER / "traversion.yaml"), pod.objects(MORE)
    deployment = patched(manifest)
    container = pod.nessen_container([deployment])
    volumes = {each_one["name"]: each_one for each_one in pod.pod_spec([deployment])["volumes"]}
    secret = pod.one(more, "Certificate")["spec"]["secretName"]
    assert volumes["tls"]["secret"]["secretName"] == secret
    # The folder, since a file by subPath would never change.
    assert {"name": "tls", "mountPath": "/etc/tls", "readOnly": True} in container["volumeMounts"]
    ports = {port["name"] for port in container["ports"]}
    service = pod.one(more, "Service")["spec"]
    assert {port["targetPort"] for port in service["ports"]} <= ports
    # No pod is behind both Services: the Ingress speaks TLS to one, and none to the other.
    assert "http" not in ports and pod.one(manifest, "Service")["spec"]["ports"][0]["targetPort"] == "http"
    for name in ("livenessProbe", "readinessProbe"):
        assert container[name]["httpGet"] | {"path": ""} == {"path": "", "port": "https", "scheme": "HTTPS"}
        assert pod.probes(container)[name] == pod.probes(pod.nessen_container(manifest))[name]


@each("traversion")
def test_it_is_encrypted_as_far_as_the_pod(tls, migration):
    server, fingerprint, _ = tls
    assert certificate.shown(server.address) == fingerprint
    status, headers, text = certificate.get(server.address, "/api/health")
    assert (status, json.loads(text)) == (200, {"app": "/api/health"})
    assert headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
    # Nothing in the clear.
    host, port = server.address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert plain.recv(4096).startswith(b"HTTP/1.1 400 ")


@each("traversion")
def test_http_is_redirected_to_https(tls, migration):
    server, _, _ = tls
    host, port = server.redirect.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as plain:
        plain.sendall(b"GET /a?b=1 HTTP/1.1\r\nHost: api.traversion.company.com\r\nConnection: close\r\n\r\n")
        head = plain.recv(65536).decode().lower()
    assert head.startswith("http/1.1 308 ")
    assert "\r\nlocation: https://api.traversion.company.com/a?b=1\r\n" in head
    assert not migration.app.asked("/a?b=1")


@each("traversion")
def test_a_renewed_certificate_is_taken_over_without_a_restart(tls, migration):
    """`Automatic certificate renewal`: cert-manager writes the Secret, and the kubelet replaces `..data`."""
    server, first, secret = tls
    second = certificate.mount(secret, 2)
    assert second != first
    eventually(lambda: certificate.shown(server.address) == second, "the new one is shown", timeout=20)
    assert server.process.poll() is None
    expiry = "nessen_tls_certificate_expiry_timestamp_seconds"
    assert expiry in server.get("/metrics", admin=True)[2]


@each("traversion")
def test_a_bad_renewal_leaves_the_old_one(tls, migration):
    server, first, secret = tls
    (secret / "..bad").mkdir()
    for name in ("tls.crt", "tls.key"):
        (secret / "..bad" / name).write_text("no certificate\n")
    (secret / "..data_tmp").symlink_to("..bad")
    (secret / "..data_tmp").rename(secret / "..data")
    failed = 'nessen_tls_reloads_total{result="failed"} 1\n'
    eventually(lambda: failed in server.get("/metrics", admin=True)[2], "it is counted", timeout=20)
    assert certificate.shown(server.address) == first
