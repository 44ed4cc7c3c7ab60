"""Where things are, and what is done without them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
REQUIRED = os.environ.get("NESSEN_REQUIRE_ALL") == "1"


def absent(what):
    """Ends the test: visibly passed over, or failed where nothing may be."""
    if REQUIRED:
        pytest.fail(f"required: {what}")
    pytest.skip(what)


def mark_absent(item, reason):
    """The same for a test that has not begun."""
    if not REQUIRED:
        item.add_marker(pytest.mark.skip(reason=reason))


def need(command):
    """The path of `command`."""
    found = shutil.which(command)
    if found is None:
        absent(f"{command} is not installed")
    return found


def optional(command, why):
    """The path of a command that cannot be asked of every machine: without it the test is passed over."""
    found = shutil.which(command)
    if found is None:
        pytest.skip(f"{command} is not installed: {why}")
    return found


def run(*command, check=True, **options):
    """Runs a command from the root of the project; its output is shown where it fails."""
    options.setdefault("cwd", ROOT)
    options.setdefault("timeout", 600)
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if check and done.returncode != 0:
        line = " ".join(map(str, command))
        pytest.fail(f"{line}: exit {done.returncode}\n{done.stdout[-8000:]}\n{done.stderr[-8000:]}", pytrace=False)
    return done


def need_compose():
    """Compose is a plugin of its own: where there is `docker`, it can still be absent. It reads without an engine."""
    need("docker")
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode != 0:
        absent("docker compose is not installed")


def why_no_docker():
    """Why tests with containers cannot run, or None."""
    if shutil.which("docker") is None:
        return "docker is not installed"
    if subprocess.run(["docker", "info"], capture_output=True).returncode != 0:
        return "no Docker engine answers"
    return None
