"""The tools of these checks, themselves."""

import signal


def test_a_server_is_started_asked_and_stopped(nessen):
    server = nessen(DRAIN_DELAY="0s")
    status, _, text = server.get("/ready")
    assert status == 200, text
    assert server.get("/nowhere")[0] == 404
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
