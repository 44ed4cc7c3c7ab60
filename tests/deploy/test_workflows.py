"""The GitHub workflows: their schema, their rights, their pins. What their scripts do is in test_release.py."""

import json
import re

import pytest

from support import tools
from support.workflows import FOLDER, jobs, load, script, steps

FILES = sorted(FOLDER.glob("*.yml"))
NAMES = [path.name for path in FILES]
# Who may write what. Whatever is not here may read the source, at most.
WRITES = {
    ("release.yml", "image"): {"packages"},
    ("release.yml", "publish-image"): {"packages", "id-token", "attestations"},
    ("release.yml", "publish-binaries"): {"contents", "id-token", "attestations"},
}
each_file = pytest.mark.parametrize("path", FILES, ids=NAMES)


def test_they_are_what_github_understands():
    tools.run(tools.need("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", *FILES)
    assert NAMES == ["ci.yml", "release.yml"]


def test_nothing_is_found_by_an_auditor():
    tools.run(tools.need("zizmor"), "--offline", "--no-progress", "--persona=auditor", *FILES)


@each_file
def test_the_scripts_are_sound(path, tmp_path):
    for number, (name, step) in enumerate(steps(path)):
        if "run" in step:
            assert "${{" not in step["run"], f"{name}: a value would become a part of the script"
            text = tmp_path / f"{name}-{number}.sh"
            text.write_text(f"#!/bin/bash\nset -eo pipefail\n{step['run']}")
            tools.run(tools.need("shellcheck"), text)


@each_file
def test_each_action_is_pinned_to_a_commit(path):
    used = re.findall(r"uses: (\S+)(.*)", path.read_text())
    assert used
    for action, comment in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), f"{action}: its version in a comment"


def test_an_action_is_the_same_everywhere():
    pins = {}
    for path in FILES:
        for action, commit, version in re.findall(r"uses: (\S+)@(\S+) # (\S+)", path.read_text()):
            assert pins.setdefault(action, (commit, version)) == (commit, version), action


@each_file
def test_no_job_may_do_more_than_it_does(path):
    assert load(path)["permissions"] == {}
    for name, job in jobs(path):
        writes = {scope for scope, right in job["permissions"].items() if right == "write"}
        assert writes == WRITES.get((path.name, name), set()), name
        assert {right for right in job["permissions"].values()} <= {"read", "write"}
        assert job["timeout-minutes"] <= 120
    for name, step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False, name


def test_a_release_is_never_cut_short_by_another():
    assert load(FOLDER / "release.yml")["concurrency"]["cancel-in-progress"] is False
    # PyYAML reads `on` as true.
    assert load(FOLDER / "release.yml")[True] == {"push": {"tags": ["v*"]}}


def ancestors(all_jobs, name):
    needs = all_jobs[name].get("needs", [])
    needs = [needs] if isinstance(needs, str) else needs
    return set(needs).union(*(ancestors(all_jobs, each) for each in needs))


def test_nothing_is_published_before_everything_is_checked():
    all_jobs = load(FOLDER / "release.yml")["jobs"]
    assert {"plan", "checks", "image", "sbom"} <= ancestors(all_jobs, "publish-image")
    assert "publish-image" in ancestors(all_jobs, "publish-binaries")
    assert "checks" in ancestors(all_jobs, "image")


@each_file
def test_what_is_referred_to_exists(path):
    all_jobs = load(path)["jobs"]
    for name, job in all_jobs.items():
        needs = job.get("needs", [])
        needs = [needs] if isinstance(needs, str) else needs
        for other, output in re.findall(r"needs\.([\w-]+)\.outputs\.(\w+)", json.dumps(job)):
            assert other in needs and output in all_jobs[other]["outputs"], (name, other, output)
        scripts = {step["id"]: step["run"] for step in job["steps"] if "id" in step}
        for step, output in re.findall(r"steps\.([\w-]+)\.outputs\.(\w+)", json.dumps(job)):
            assert f'echo "{output}=' in scripts[step], (name, step, output)
        choices = job.get("strategy", {}).get("matrix", {}).get("include", [{}])
        for key in re.findall(r"matrix\.(\w+)", json.dumps(job)):
            assert all(key in choice for choice in choices), (name, key)


def test_the_image_is_built_with_arguments_that_the_dockerfile_has():
    given = set(re.findall(r"--build-arg \"(\w+)=", script("image", "Build")))
    dockerfile = tools.ROOT / "Dockerfile"
    assert given == {"VERSION", "REVISION", "SOURCE_DATE_EPOCH"}
    assert given <= set(re.findall(r"^ARG (\w+)", dockerfile.read_text(), re.MULTILINE))
