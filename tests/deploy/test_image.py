"""The image: what is in it, what it says of itself, and that it lives in 64 MiB.

The load takes 60 s, NESSEN_LOAD_SECONDS says otherwise.
"""

import contextlib
import json
import os
import tarfile
import urllib.request
from pathlib import Path

import pytest

from support import docker
from support.client_mixed import Mixed, peak_memory
from support.tools import need, run

HARDENED = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
# Swap is counted in, so that memory is the limit indeed.
SMALL = ["--memory", "64m", "--memory-swap", "64m"]
PUBLISHED = ["-p", "127.0.0.1::3000"]
# Long enough for every time-out to have come: at least 20.
LOAD_SECONDS = int(os.environ.get("NESSEN_LOAD_SECONDS", "60"))


@pytest.mark.parametrize("path", ["Dockerfile", "examples/app/Dockerfile"])
def test_hadolint_finds_nothing(path):
    run(need("hadolint"), "--failure-threshold", "style", path)


@pytest.mark.docker
def test_it_is_small(image):
    size = docker.inspect(image, "image")["Size"]
    print(f"{image}: {size / 1e6:.1f} MB")
    assert size <= 16_000_000


@pytest.mark.docker
def test_it_holds_one_file_and_no_shell(image, tmp_path):
    run("docker", "save", "-o", tmp_path / "image.tar", image)
    found = {}
    with tarfile.open(tmp_path / "image.tar") as saved:
        for layer in json.load(saved.extractfile("manifest.json"))[0]["Layers"]:
            with tarfile.open(fileobj=saved.extractfile(layer)) as files:
                found.update({entry.name.lstrip("./"): entry for entry in files})
    assert list(found) == ["nessen"]
    assert found["nessen"].isfile()
    # Run by all, written and taken over by none.
    assert found["nessen"].mode & 0o7777 == 0o755, oct(found["nessen"].mode)
    done = run("docker", "run", "--rm", "--entrypoint", "/bin/sh", image, "-c", "true", check=False)
    assert done.returncode == 127, done.stderr


@pytest.mark.docker
def test_it_says_how_it_is_run(image):
    config = docker.inspect(image, "image")["Config"]
    assert config["User"] == "65532:65532"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Entrypoint"] == ["/nessen"]
    assert config["Healthcheck"]["Test"] == ["CMD", "/nessen", "healthcheck"]
    assert list(config["ExposedPorts"]) == ["3000/tcp"]
    # One setting, and no secret, is baked in.
    assert [entry for entry in config["Env"] if not entry.startswith("PATH=")] == ["NESSEN_SERVER_SANDBOX=on"]
    for name in ("title", "description", "licenses", "version", "revision"):
        assert config["Labels"][f"org.opencontainers.image.{name}"], f"the label {name} is empty"


@pytest.mark.docker
def test_it_runs_hardened_tells_its_version_and_drains(image):
    labels = docker.inspect(image, "image")["Config"]["Labels"]
    with docker.Container(image, options=[*HARDENED, *SMALL, *PUBLISHED], DRAIN_DELAY="1s") as container:
        container.wait_health("healthy")
        with urllib.request.urlopen(f"http://127.0.0.1:{container.port()}/version", timeout=10) as answer:
            told = json.load(answer)
        assert told["version"] == labels["org.opencontainers.image.version"]
        assert told["revision"] == labels["org.opencontainers.image.revision"]
        run("docker", "stop", "-t", "30", container.name)
        assert container.wait_exit() == 0
        assert "drained" in docker.last_log_line(container.name)


def thread_status(pid):
    """What the kernel says of each thread of a process; None where the engine is on another machine."""
    tasks = Path(f"/proc/{pid}/task")
    if not tasks.is_dir():
        return None
    found = []
    for task in tasks.iterdir():
        with contextlib.suppress(OSError):  # one that has ended since
            found.append(dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines()))
    return found


@pytest.mark.docker
def test_it_gives_up_what_serving_does_not_need(image):
    filters = {}
    for sandbox in ("off", "on"):
        # Without no-new-privileges: what it has is of its own doing.
        with docker.Container(image, options=PUBLISHED, NESSEN_SERVER_SANDBOX=sandbox) as container:
            container.wait_health("healthy")
            base = f"http://127.0.0.1:{container.port()}"
            with urllib.request.urlopen(f"{base}/metrics", timeout=10) as answer:
                metrics = answer.read().decode()
            with urllib.request.urlopen(f"{base}/api/health", timeout=10) as answer:
                assert json.load(answer)["memory"]["resident_bytes"] > 0, "it still knows of itself"
            enforced = f'nessen_sandbox_enforced{{part="syscalls"}} {int(sandbox == "on")}'
            assert enforced in metrics.splitlines()
            threads = thread_status(container.state["Pid"])
            if threads is None:
                pytest.skip("the engine's processes are not to be seen from here")
            assert {thread["NoNewPrivs"] for thread in threads} == {str(int(sandbox == "on"))}
            filters[sandbox] = {int(thread["Seccomp_filters"]) for thread in threads}
            assert len(filters[sandbox]) == 1, filters
    # Beside the engine's own.
    assert filters["on"].pop() == filters["off"].pop() + 2


@pytest.mark.docker
def test_the_health_check_fails_where_nothing_answers(image):
    done = run("docker", "run", "--rm", image, "healthcheck", check=False)
    assert done.returncode == 1, done.stderr
    options = ["--health-interval", "1s", "--health-retries", "1"]
    with docker.Container(image, options=options) as container:
        container.wait_health("healthy")
        # It hangs: its port still takes connections, and nobody answers.
        run("docker", "kill", "-s", "STOP", container.name)
        assert container.wait_health("unhealthy")


@pytest.mark.docker
@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("MAX_BODY_SIZE", "lots", '"lots" (environment MAX_BODY_SIZE): not a size'),
        ("NESSEN_LIMITS_MAX_BODY", "1MiB", "NESSEN_LIMITS_MAX_BODY (environment): no such variable"),
    ],
)
def test_a_wrong_value_ends_it_with_78_and_the_reason_in_the_last_line(image, name, value, reason):
    with docker.Container(image, options=HARDENED, **{name: value}) as container:
        assert container.wait_exit() == 78
        assert reason in docker.last_log_line(container.name)


@pytest.mark.docker
def test_64_mib_survive_a_mixed_load(image):
    for tool in ("wrk", "h2load"):
        need(tool)
    # All that makes it hold more: bodies, compression, as many connections from one address as there can be.
    settings = {"MAX_CONNECTIONS_PER_IP": "off", "NESSEN_COMPRESSION_ENABLED": "true", "ACCESS_LOG": "errors"}
    with docker.Container(image, options=[*HARDENED, *SMALL, *PUBLISHED], **settings) as container:
        container.wait_health("healthy")
        before = container.state
        load = Mixed(container.port())
        load.run(LOAD_SECONDS)
        state, peak = container.state, peak_memory(before["Pid"])
        print(f"peak resident: {peak / 2**20:.1f} of 64 MiB" if peak else "peak resident: not to be seen from here")
        assert state["OOMKilled"] is False and state["Running"] is True, state
        assert state["Pid"] == before["Pid"] and docker.inspect(container.name)["RestartCount"] == 0
        assert state["Health"]["Status"] == "healthy", state["Health"]
        print(load.report())
        # An orchestrator gives up after three in a row, and so does the image's own check.
        missed = load.missed()
        assert not any(all(missed[at : at + 3]) for at in range(len(missed) - 2)), load.probes
        load.must_have_been_felt()
