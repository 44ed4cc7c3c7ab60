"""Waiting for what becomes true, instead of sleeping."""

import time


def eventually(true, what, timeout=15):
    """Asks until `true()` is true; its value."""
    deadline = time.monotonic() + timeout
    while not (value := true()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.02)
    return value
