"""checkov finds nothing in what is rendered but what checkov.yaml has a reason for."""

import json
import os
from pathlib import Path

import pytest
import yaml

from support import manifests, tools

LISTED = Path(__file__).with_name("checkov.yaml")


def checkov(folder):
    """What fails, as (check, its name, file, resource), and how much was looked at."""
    command = tools.need("checkov")
    # Its answers come from rules that it brings; it asks for guidelines otherwise.
    options = ["--skip-download", "--framework", "kubernetes", "--quiet", "--compact", "-o", "json"]
    environment = {**os.environ, "LOG_LEVEL": "ERROR", "BC_SKIP_MAPPING": "TRUE"}
    done = tools.run(command, *options, "-d", folder, check=False, env=environment)
    assert done.returncode in (0, 1), done.stderr
    said = json.loads(done.stdout)
    if "results" not in said:
        return set(), said
    failed = {
        (one["check_id"], one["check_name"], one["file_path"].lstrip("/"), one["resource"])
        for one in said["results"]["failed_checks"]
    }
    return failed, said["summary"]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rendered")
    for render in manifests.RENDERS:
        (folder / f"{manifests.label(render)}.yaml").write_text(yaml.safe_dump_all(manifests.rendered(render)))
    failed, summary = checkov(folder)
    assert summary["parsing_errors"] == 0 and summary["passed"] > 50 * len(manifests.RENDERS)
    return failed


def test_nothing_fails_but_what_has_a_reason(found):
    reasons = {one["check"]: one["reason"] for one in yaml.safe_load(LISTED.read_text())}
    assert all(reasons.values())
    assert not [one for one in sorted(found) if one[0] not in reasons]


def test_nothing_is_listed_in_vain(found):
    for one in yaml.safe_load(LISTED.read_text()):
        assert (one["check"], one["name"]) in {(check, name) for check, name, _, _ in found}


def test_a_pod_without_limits_is_found(tmp_path):
    spec = {"containers": [{"name": "c", "image": "i"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(pod))
    assert {"CKV_K8S_11", "CKV_K8S_13"} <= {one[0] for one in checkov(tmp_path)[0]}
