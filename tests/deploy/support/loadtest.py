"""Where the load tests are, and their modules."""

import sys
from pathlib import Path

from .tools import ROOT

LOADTEST = ROOT / "loadtest"
DATA = Path(__file__).parents[1] / "data/loadtest"

sys.path.insert(0, str(LOADTEST))
import counters  # noqa: E402, F401
import tools  # noqa: E402, F401


def url(server):
    return f"http://{server.address}"
