"""The scripts of the release, run as GitHub runs them; commands that reach out are stood in for."""

import json
import os
import re
import subprocess
import tarfile

import pytest

from support import tools
from support.workflows import script


@pytest.fixture
def bash(tmp_path):
    """Runs a script as GitHub does, in a folder of its own; `stubs` stand for commands that reach out."""

    def run(text, stubs=None, **environment):
        commands = tmp_path / ".stubs"
        commands.mkdir(exist_ok=True)
        for name, body in (stubs or {}).items():
            (commands / name).write_text(f"#!/bin/bash\n{body}\n")
            (commands / name).chmod(0o755)
        given = {"PATH": f"{commands}:{os.environ['PATH']}", "HOME": str(tmp_path), **environment}
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text],
            cwd=tmp_path, env=given, capture_output=True, text=True, timeout=60,
        )

    return run


@pytest.fixture
def repository(tmp_path, bash):
    """A source tree of version 1.2.3, with its notes."""

    def make(version="1.2.3", notes="1.2.3"):
        (tmp_path / "Cargo.toml").write_text(f'[package]\nname = "nessen"\nversion = "{version}"\n')
        (tmp_path / "CHANGELOG.md").write_text(
            f"# Changelog\n\n## [Unreleased]\n\n- later\n\n## [{notes}] - 2026-01-01\n\n- now\n\n## [1.2.2]\n\n- before\n"
        )
        made = bash(
            "git init -q . && git add Cargo.toml CHANGELOG.md && "
            "git -c user.name=a -c user.email=a@b commit -qm one --date @1000000000",
            GIT_COMMITTER_DATE="@1000000000 +0000",
        )
        assert made.returncode == 0, made.stderr
        return tmp_path

    return make


PLAN = "The tag is the version of Cargo.toml, and has its notes"


@pytest.mark.parametrize(("version", "tags"), [("1.2.3", "1.2.3 1.2 latest"), ("1.2.3-rc.1", "1.2.3-rc.1")])
def test_a_tag_that_is_the_version_makes_a_plan(repository, bash, version, tags):
    output = repository(version, version) / "output"
    done = bash(script("plan", PLAN), GITHUB_REF_NAME=f"v{version}", GITHUB_REPOSITORY="Owner/Nessen", GITHUB_OUTPUT=str(output))
    assert done.returncode == 0, done.stdout + done.stderr
    assert output.read_text().splitlines() == [
        f"version={version}", "image=ghcr.io/owner/nessen", "epoch=1000000000", f"tags={tags}",
    ]


@pytest.mark.parametrize(("tag", "notes", "reason"), [
    ("v1.2.4", "1.2.3", "the version in Cargo.toml"),
    ("1.2.3", "1.2.3", "the version in Cargo.toml"),
    ("v1.2.3", "1.2.30", "no section [1.2.3]"),
])
def test_any_other_tag_makes_none(repository, bash, tag, notes, reason):
    output = repository(notes=notes) / "output"
    done = bash(script("plan", PLAN), GITHUB_REF_NAME=tag, GITHUB_REPOSITORY="o/n", GITHUB_OUTPUT=str(output))
    assert done.returncode == 1 and "::error::" in done.stdout
    assert reason in done.stdout
    assert not output.exists()


@pytest.mark.parametrize(("version", "kind"), [("1.2.3", []), ("1.2.3-rc.1", ["--prerelease"])])
def test_the_release_has_the_notes_of_its_version_alone(repository, bash, version, kind):
    folder = repository(version, version)
    (folder / "assets").mkdir()
    (folder / "assets/SHA256SUMS").touch()
    done = bash(
        script("publish-binaries", "Release, with the notes of the changelog"),
        {"gh": 'printf "%s\\n" "$@" > called'}, VERSION=version, GITHUB_REF_NAME=f"v{version}",
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "notes.md").read_text().split() == ["-", "now"]
    called = (folder / "called").read_text().splitlines()
    assert called[:4] == ["release", "create", f"v{version}", "--verify-tag"]
    assert called[8:] == kind + ["assets/SHA256SUMS"]


def test_every_file_has_a_checksum_and_a_signature(bash, tmp_path):
    assets = tmp_path / "assets"
    assets.mkdir()
    (assets / "a.tar.gz").write_text("a")
    (assets / "b.cdx.json").write_text("b")
    text = "cd assets\n" + script("publish-binaries", "Checksums, and a signature of each file")
    done = bash(text, {"cosign": 'test "$1 $2 $3" = "sign-blob --yes --bundle" && echo signed "$5" > "$4"'})
    assert done.returncode == 0, done.stderr
    signed = {"a.tar.gz", "b.cdx.json", "SHA256SUMS"}
    assert {path.name for path in assets.iterdir()} == signed | {f"{name}.sigstore.json" for name in signed}
    sums = dict(reversed(line.split()) for line in (assets / "SHA256SUMS").read_text().splitlines())
    assert set(sums) == {"a.tar.gz", "b.cdx.json"}
    assert bash("cd assets && sha256sum --check --strict SHA256SUMS").returncode == 0


def test_the_sbom_has_the_crates_and_the_c_library(bash, tmp_path):
    tools.need("jq")
    (tmp_path / "Dockerfile").write_text((tools.ROOT / "Dockerfile").read_text())
    crates = '{"bomFormat": "CycloneDX", "components": [{"name": "tokio"}]}'
    stubs = {
        "cargo": f"""case "$*" in
            "install cargo-cyclonedx --version "*" --locked") ;;
            "cyclonedx --format json "*" --override-filename crates") echo '{crates}' > crates.json ;;
            *) exit 2 ;;
            esac""",
        "docker": 'test "$3" = rust:1.95-slim-bookworm && test "${*: -2}" = \'${Version} libc6\' && printf 2.36-9+deb12u13',
    }
    done = bash(script("sbom", "List what is built in, in CycloneDX"), stubs, VERSION="1.2.3")
    assert done.returncode == 0, done.stderr
    made = json.loads((tmp_path / "assets/nessen-1.2.3.cdx.json").read_text())
    assert [part["name"] for part in made["components"]] == ["tokio", "glibc"]
    assert made["components"][1]["purl"] == "pkg:deb/debian/glibc@2.36-9%2Bdeb12u13?distro=debian-12"


def test_the_binary_is_run_before_it_is_packed(bash, tmp_path, binary, nessen):
    version = tools.run(binary, "--version").stdout.split()[1]
    (tmp_path / "rootfs").mkdir()
    (tmp_path / "rootfs/nessen").symlink_to(binary)
    port = nessen(DRAIN_DELAY="0s")
    port.kill()
    free = port.address.rpartition(":")[2]
    text = script("image", "The binary runs, and says what it is")
    assert bash(text, VERSION=version, PORT=free).returncode == 0
    assert bash(text, VERSION="9.9.9", PORT=free).returncode != 0


def test_the_archive_is_the_same_each_time_and_complete(bash, tmp_path):
    text = script("image", "Pack the binary")
    (tmp_path / "rootfs").mkdir()
    (tmp_path / "rootfs/nessen").write_text("binary")
    for name in re.findall(r"\b(LICENSE|README\.md|CHANGELOG\.md|nessen\.example\.toml|deploy/systemd)\b", text):
        target = tmp_path / name
        target.parent.mkdir(exist_ok=True)
        target.symlink_to(tools.ROOT / name)
    # The links of this test stand for the files; tar is to follow them.
    text = text.replace("tar --create", "tar --dereference --create")
    given = {"VERSION": "1.2.3", "ARCHITECTURE": "amd64", "SOURCE_DATE_EPOCH": "1000000000"}
    packed = tmp_path / "assets/nessen-1.2.3-linux-amd64.tar.gz"
    done = bash(text, **given)
    assert done.returncode == 0, done.stderr
    first = packed.read_bytes()
    os.utime(tmp_path / "rootfs/nessen", (1, 1))
    assert bash(text, **given).returncode == 0 and packed.read_bytes() == first
    with tarfile.open(packed) as archive:
        names = archive.getnames()
    assert {"nessen-1.2.3/nessen", "nessen-1.2.3/LICENSE", "nessen-1.2.3/deploy/systemd/nessen.service"} <= set(names)
    assert all(name.startswith("nessen-1.2.3/") for name in names)


DIGEST = "sha256:" + "0123456789abcdef" * 4


def test_the_image_that_was_run_is_the_one_that_is_pushed(bash, tmp_path):
    docker = f"""printf '%s\\n' "$@" >> called; echo == >> called
if [[ "$*" = *pushed.json* ]]; then echo '{{"containerimage.digest": "{DIGEST}"}}' > pushed.json; fi"""
    given = {"VERSION": "1.2.3", "ARCHITECTURE": "arm64", "SOURCE_DATE_EPOCH": "1000000000",
             "GITHUB_SHA": "abc", "IMAGE": "ghcr.io/o/n"}
    for step in ("Build", "Push the image, without a name"):
        done = bash(script("image", step), {"docker": docker}, **given)
        assert done.returncode == 0, done.stderr
    first, second, _ = [call.split("\n") for call in (tmp_path / "called").read_text().split("==\n")]
    common = ["buildx", "build", "--platform", "linux/arm64", "--provenance=false", "--build-arg", "VERSION=1.2.3",
              "--build-arg", "REVISION=abc", "--build-arg", "SOURCE_DATE_EPOCH=1000000000"]
    assert first[: len(common)] == common == second[: len(common)]
    assert "push=true" not in "".join(first) and "push-by-digest=true" in "".join(second)
    assert (tmp_path / "digests/arm64").read_text().strip() == DIGEST


@pytest.mark.parametrize(("answer", "code"), [(DIGEST, 0), ("", 1), ("sha256:short", 1)])
def test_both_architectures_become_one_image_with_a_digest(bash, tmp_path, answer, code):
    (tmp_path / "digests").mkdir()
    (tmp_path / "digests/amd64").write_text("sha256:a\n")
    (tmp_path / "digests/arm64").write_text("sha256:b\n")
    done = bash(
        script("publish-image", "One image of both architectures, under its names"),
        {"docker": f'if [ "$3" = create ]; then echo "$*" > called; else echo "{answer}"; fi'},
        IMAGE="ghcr.io/o/n", VERSION="1.2.3", TAGS="1.2.3 1.2 latest", GITHUB_OUTPUT=str(tmp_path / "output"),
    )
    assert done.returncode == code, done.stderr
    names = "--tag ghcr.io/o/n:1.2.3 --tag ghcr.io/o/n:1.2 --tag ghcr.io/o/n:latest"
    parts = "ghcr.io/o/n@sha256:a ghcr.io/o/n@sha256:b"
    assert (tmp_path / "called").read_text() == f"buildx imagetools create {names} {parts}\n"
    if code == 0:
        assert (tmp_path / "output").read_text() == f"digest={DIGEST}\n"


def test_the_image_and_its_parts_are_signed_by_digest(bash, tmp_path):
    (tmp_path / "digests").mkdir()
    (tmp_path / "digests/amd64").write_text("sha256:a\n")
    (tmp_path / "digests/arm64").write_text("sha256:b\n")
    done = bash(
        script("publish-image", "Sign the image, and attach its SBOM"), {"cosign": 'echo "$*" >> called'},
        IMAGE="ghcr.io/o/n", VERSION="1.2.3", DIGEST=DIGEST,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "called").read_text().splitlines() == [
        f"sign --yes ghcr.io/o/n@{DIGEST}", "sign --yes ghcr.io/o/n@sha256:a", "sign --yes ghcr.io/o/n@sha256:b",
        f"attest --yes --type cyclonedx --predicate assets/nessen-1.2.3.cdx.json ghcr.io/o/n@{DIGEST}",
    ]
