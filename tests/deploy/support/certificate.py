"""Certificates as a Secret would have them, and what a server shows of its own."""

import hashlib
import http.client
import socket
import ssl

from support import tools


def make(folder, name="api.traversion.company.com"):
    """tls.crt and tls.key in `folder`, signed by itself; the fingerprint."""
    folder.mkdir(parents=True, exist_ok=True)
    tools.run(
        tools.need("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}",
        "-keyout", folder / "tls.key", "-out", folder / "tls.crt",
    )  # fmt: skip
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert((folder / "tls.crt").read_text())).hexdigest()


def mount(secret, number):
    """As the kubelet does: a folder of its own for each state, and a symlink that is replaced at once."""
    state = secret / f"..{number}"
    found = make(state)
    new = secret / "..data_tmp"
    new.symlink_to(state.name)
    new.rename(secret / "..data")
    for name in ("tls.crt", "tls.key"):
        if not (secret / name).is_symlink():
            (secret / name).symlink_to(f"..data/{name}")
    return found


def context():
    """Believes everybody, like the kubelet's probes."""
    found = ssl.create_default_context()
    found.check_hostname, found.verify_mode = False, ssl.CERT_NONE
    return found


def shown(address):
    """The fingerprint of what the server shows."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=10) as raw, context().wrap_socket(raw) as tls:
        return hashlib.sha256(tls.getpeercert(binary_form=True)).hexdigest()


def get(address, path):
    """(status, headers, text) by HTTPS."""
    connection = http.client.HTTPSConnection(address, context=context(), timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read().decode()
