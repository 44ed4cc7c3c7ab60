"""`nessen probe` on Nessen behind the nginx that is shipped. `tests/it/audit` has it without."""

import json
import subprocess

from support.plain_door import PlainDoor

# What no setting of nginx ends in the time that the probe gives: docs/threat-model.md, "Behind nginx".
LEFT_OVER_HTTP_2 = {
    "http2-half-frame",
    "http2-half-block",
    "http2-drip-block",
    "http2-window-drip",
    "http2-reset-idle",
    "http2-data-idle",
}


def probe(binary, port, *arguments):
    """What it found, its exit code included."""
    url = f"http://127.0.0.1:{port}/download?bytes=65536"
    command = [binary, "probe", url, "--upload-path", "/echo", "--json", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=300)
    found = json.loads(done.stdout)
    opened = {case["name"]: case["happened"] for case in found["cases"] if case["verdict"] == "open"}
    assert found["cut_off"] is None and done.returncode == (1 if opened else 0), found
    return found, opened


def test_nothing_is_open_behind_nginx(site, binary):
    # HTTP/2 comes with TLS alone.
    found, opened = probe(binary, site().port, "--http2", "off")
    assert opened == {}
    assert found["held"] > 130, found


def test_over_http_2_no_more_is_open_than_is_documented(site, binary):
    groups = ("slow", "frames", "fields", "sizes", "resets", "floods")
    only = [argument for group in groups for argument in ("--only", f"http2-{group}")]
    with PlainDoor(site(tls=True).tls_port) as door:
        found, opened = probe(binary, door.port, "--http2", "on", *only)
    assert set(opened) <= LEFT_OVER_HTTP_2, opened
    assert found["held"] > 85, found
