"""What the comparison needs besides the binary: the servers of loadtest/bare, and two cores."""

import os

import pytest

from support import tools
from support.loadtest import LOADTEST

BUILT = LOADTEST / "bare/target/release"


@pytest.fixture(scope="session")
def bare():
    """The built servers, and the load at a fixed rate."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("two cores, one for the server and one for the load")
    tools.need("wrk")
    if not all((BUILT / name).is_file() for name in ("bare_hyper", "bare_axum", "nessen_hello", "paced")):
        tools.absent("loadtest/bare is not built: just bare")
    return BUILT
