"""nginx with the project's own configuration, before three Nessens, before an application."""

import subprocess
import sys

import pytest

from support.client_nginx import Nginx
from support.tools import ROOT


@pytest.fixture
def app():
    """The example application; its address."""
    process = subprocess.Popen(
        [sys.executable, "-B", ROOT / "examples/app/app.py"], env={"PORT": "0"}, stdout=subprocess.PIPE, text=True
    )
    yield f"127.0.0.1:{process.stdout.readline().split()[-1]}"
    process.kill()
    process.wait()


@pytest.fixture
def site(tmp_path, nessen, app):
    """nginx before three Nessens before the application: `site(tls=True, MAX_BODY_SIZE="2MiB")`."""
    running = []

    def start(tls=False, **settings):
        settings = {"UPSTREAM": f"http://{app}", "TRUSTED_PROXIES": "127.0.0.1", "DRAIN_DELAY": "1s", **settings}
        running.append(Nginx(tmp_path, [nessen(**settings).address for _ in range(3)], tls).__enter__())
        return running[0]

    yield start
    for nginx in running:
        nginx.__exit__()
