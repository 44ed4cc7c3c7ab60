"""Checks of everything that deploys: `just deploy`, and `just deploy-docker` for what needs an engine.

What needs a tool that is absent is skipped, and says so; with NESSEN_REQUIRE_ALL=1 it fails instead.
"""

import os
import sys
from pathlib import Path

import pytest

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))

from support import docker, tools  # noqa: E402
from support.bare import bare  # noqa: E402, F401
from support.promql_traffic import busy  # noqa: E402, F401
from support.server import Nessen  # noqa: E402
from support.site import app, site  # noqa: E402, F401


def pytest_collection_modifyitems(items):
    """Only where an engine answers: asked once, and only if a test wants it."""
    if any(item.get_closest_marker("docker") for item in items):
        reason = tools.why_no_docker()
        for item in items:
            if reason and item.get_closest_marker("docker"):
                tools.mark_absent(item, reason)


@pytest.fixture(scope="session")
def binary():
    """The built binary: NESSEN_BINARY, or the release build."""
    path = Path(os.environ.get("NESSEN_BINARY", tools.ROOT / "target/release/nessen"))
    if not path.is_file():
        tools.absent(f"{path} is not built: cargo build --release")
    return path.absolute()


@pytest.fixture
def nessen(binary):
    """Starts servers that end with the test: `nessen(PORT="0", UPSTREAM="...")`."""
    started = []

    def start(*arguments, **environment):
        server = Nessen(binary, list(arguments), environment)
        started.append(server)
        return server.wait_listening()

    yield start
    for server in started:
        server.kill()


@pytest.fixture(scope="session")
def image():
    """The image to check: NESSEN_IMAGE, or what the Dockerfile makes."""
    return docker.image()
