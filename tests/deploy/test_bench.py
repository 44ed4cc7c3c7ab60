"""The command behind docs/performance.md, in its short form: that it measures, and that it stops where figures would mean nothing.

What it measures here is not what the page says: the machine is shared. How the figures are told: test_bench_report.py.
"""

import json
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
from support import tools as support
from support.loadtest import LOADTEST
from support.scripts import module, run

BENCH = LOADTEST / "bench"
bench = module(BENCH)
import rounds  # noqa: E402
from beside import cases, loads, peers, proof  # noqa: E402

KIB = 1 << 10


@pytest.fixture(scope="session")
def measured(bare, binary):
    for tool in ("nginx", "haproxy", "node", "h2load"):
        support.need(tool)
    done = run(BENCH, "--short", "--no-build", "--json", "-", "--binary", binary)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_server_is_measured_in_every_short_case(measured):
    assert set(measured["cases"]) == set(bench.SHORT) and measured["about"]["skipped"] == []
    for name in set(bench.SHORT) & set(cases.BY_NAME):
        found = measured["cases"][name]["peers"]
        assert set(found) == set(cases.BY_NAME[name].peers), name
        for peer, told in found.items():
            (one,) = told["runs"]
            assert one["requests"] > 100 and 0.5 < one["cpu"] < 5000 and one["rate"] > 100, (name, peer, one)
            # A core and no more: what is a thread's on another is counted too.
            assert one["busy"] < 1.1, (name, peer, one)


def test_a_fixed_rate_is_kept(measured):
    told = measured["cases"]["latency-20k"]
    assert told["how"]["rate"] == 2000 and set(told["peers"]) == set(cases.ALL)
    for peer in told["peers"].values():
        (one,) = peer["runs"]
        assert one["sent"] == one["answered"] == 2000 and one["failed"] == 0
        assert 1 < one["p50"] <= one["p99"] <= one["p999"] <= one["max"]


def test_workers_that_share_are_measured_beside_those_that_do_not(measured):
    told = measured["cases"]["threads"]["peers"]
    assert len(told) == 2 and all(len(one["runs"]) == 1 and 0.5 < one["runs"][0] < 5000 for one in told.values()), told


def test_memory_start_and_sizes_are_plausible(measured, binary):
    for name, told in measured["cases"]["idle"]["peers"].items():
        assert told["start"] > 1 << 20 and told["after"] >= told["before"] and told["count"] == 200, name
    # It has a buffer of 8 KiB for each, whatever the allocator does.
    hyper = measured["cases"]["idle"]["peers"]["hyper"]
    assert 8 * KIB < (hyper["after"] - hyper["before"]) / hyper["count"] < 16 * KIB
    for told in measured["cases"]["start"]["peers"].values():
        assert all(0.5 < one < 5000 for one in told["runs"])
    size = measured["cases"]["size"]["peers"]
    assert size["binary"] == binary.stat().st_size and ("image" in size or size["why"])


def test_attacks_run_beside_honest_clients(measured):
    for name in ("nessen", "nginx"):
        seen = measured["cases"]["attacks"]["peers"][name]
        assert seen["slow heads"]["peak"] == 200 and seen["slow heads"]["users"]["answered"] > 20, seen
        assert not seen["calm"]["users"]["failed"] and not seen["slow heads"]["users"]["failed"], seen


@pytest.fixture
def site(tmp_path, binary, bare):
    made = peers.Site(str(tmp_path), str(binary))
    yield made
    made.stop()


def test_a_request_that_is_not_answered_well_is_an_error(site):
    case = cases.BY_NAME["file-1k"]._replace(path="/nowhere")
    with pytest.raises(rounds.Failed, match="file-1k: Nessen: .*'refused': [1-9]"):
        cases.measure(case, ["nessen"], site, 1, 1, False, print)


def test_a_log_without_its_lines_is_an_error(site):
    case = cases.BY_NAME["log-file"]._replace(settings={"ACCESS_LOG": "errors"})
    with pytest.raises(rounds.Failed, match=r"Nessen: \d lines of log and 0 dropped for \d+ requests"):
        cases.measure(case, ["nessen"], site, 1, 1, False, print)


def test_requests_that_the_metrics_do_not_have_are_an_error(nessen):
    server = nessen(DRAIN_DELAY="0s")
    known = types.SimpleNamespace(name="it", port=int(server.address.rsplit(":", 1)[1]))
    before = proof.reading(known)
    assert rounds.ask(known.port, "/favicon.svg")[0] == 200
    proof.counted(known, before, 1, 0)
    for answered in (0, 2):
        with pytest.raises(rounds.Failed, match=f"counted 1 requests of {answered}"):
            proof.counted(known, before, answered, 0)
    # One that was refused is no figure either, unless all were to be.
    before = proof.reading(known)
    assert rounds.ask(known.port, "/nowhere")[0] == 404
    proof.counted(known, before, 1, 0, "not_found")
    with pytest.raises(rounds.Failed, match="refused requests: {'not_found': 1}"):
        proof.counted(known, before, 1, 0)


@pytest.mark.parametrize(("settings", "says"), [
    ({}, None),
    ({"MAX_URL_LENGTH": "16KiB"}, "limits.max_url_length is off: 404 instead of 414"),
    ({"MAX_HEADER_COUNT": "200"}, "limits.max_header_count is off: 200 instead of 431"),
])
def test_a_limit_that_is_off_is_an_error(nessen, settings, says):
    server = nessen(DRAIN_DELAY="0s", **settings)
    known = types.SimpleNamespace(name="it", port=int(server.address.rsplit(":", 1)[1]))
    if not says:
        return proof.limits(known)
    with pytest.raises(rounds.Failed, match=says):
        proof.limits(known)


def test_the_wait_of_a_request_begins_when_it_was_due(bare, tmp_path):
    """A server that stops for 0.3 s keeps all waiting that come in that time, and not only the two it has."""
    script = tmp_path / "server.py"
    script.write_text("""
import asyncio, sys, time
answered = 0
async def client(reader, writer):
    global answered
    while await reader.readuntil(b"\\r\\n\\r\\n"):
        answered += 1
        if answered == 1000:
            time.sleep(0.3)
        writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
async def main():
    async with await asyncio.start_server(client, "127.0.0.1", int(sys.argv[1])) as server:
        await server.serve_forever()
asyncio.run(main())
""")
    port = rounds.free_port()
    server = rounds.Server("it", [sys.executable, str(script), str(port)], port, http1=False)
    try:
        with loads.Paced(port, 500, 5, 2) as load:
            told = load.go()
    finally:
        server.stop()
    assert told["sent"] == told["answered"] == 2500 and told["queued"] >= 100, told
    # Some of the requests came while it slept, and the longest wait is all of it.
    assert 280_000 < told["max"] < 2_000_000 and told["p99"] > 200_000 and told["p50"] < 100_000, told


def test_the_cpu_is_what_the_process_has_taken():
    server = rounds.Server.__new__(rounds.Server)
    server.process = subprocess.Popen([sys.executable, "-c", "import time\nuntil = time.process_time() + 0.3\nwhile time.process_time() < until: pass\ninput()"],
                                      stdin=subprocess.PIPE)
    try:
        until = time.monotonic() + 20
        while server.cpu() < 0.3 and time.monotonic() < until:
            time.sleep(0.02)
        fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        assert 0.3 <= server.cpu() < 1 and abs(server.cpu() - (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")) < 0.05
        assert server.resident() > 1 << 20
    finally:
        server.stop()


def test_what_was_measured_is_not_measured_again_unless_otherwise(tmp_path, binary):
    results = tmp_path / "results.json"
    arguments = ("--only", "size", "--no-build", "--no-page", "--results", results, "--binary", binary, "--json", "-")
    assert run(BENCH, *arguments).returncode == 0
    kept = json.loads(results.read_text())
    kept["cases"]["size"]["peers"]["binary"] = 1
    results.write_text(json.dumps(kept))
    assert json.loads(run(BENCH, *arguments).stdout)["cases"]["size"]["peers"]["binary"] == 1
    assert json.loads(run(BENCH, *arguments, "--image", "another:1").stdout)["cases"]["size"]["peers"]["binary"] > 1
    kept["build"] = "another"
    results.write_text(json.dumps(kept))
    again = run(BENCH, *arguments)
    assert "is of another build" in again.stderr and json.loads(again.stdout)["cases"]["size"]["peers"]["binary"] > 1


@pytest.mark.parametrize(("arguments", "says"), [
    (["--only", "small,nothing"], "no such case: nothing"),
    (["--rounds", "0"], "--rounds: 0: allowed is 1 to 50"),
    (["--seconds", "1.5"], "--seconds: 1.5: allowed is 1 to 30"),
    (["--connections", "20001"], "--connections: 20001: allowed is 100 to 20000"),
    (["--binary", "/nowhere"], "/nowhere is not there: cargo build --release"),
])
def test_what_cannot_be_run_is_said(arguments, says):
    done = run(BENCH, "--short", "--no-build", *arguments)
    assert done.returncode == 2 and says in done.stderr, done.stderr


def test_what_is_not_installed_is_passed_over_and_said(tmp_path, binary, bare):
    """Of all programs there is wrk alone."""
    (tmp_path / "wrk").symlink_to(support.need("wrk"))
    (tmp_path / "wc").symlink_to(support.need("wc"))
    done = subprocess.run([sys.executable, BENCH, "--short", "--no-build", "--only", "limited,proxy-get,http2", "--json", "-", "--binary", binary],
                          capture_output=True, text=True, env={"PATH": str(tmp_path)}, timeout=60)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert set(told["cases"]) == {"limited"} and set(told["cases"]["limited"]["peers"]) == {"nessen"}
    assert {"nginx is not installed", "node is not installed", "proxy-get: nginx, the upstream, is not installed",
            "http2: h2load is not installed"} <= set(told["about"]["skipped"])


def test_ctrl_c_leaves_nothing(binary, bare, tmp_path):
    script = subprocess.Popen([sys.executable, BENCH, "--short", "--no-build", "--only", "small", "--rounds", "20", "--binary", binary],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=os.environ | {"TMPDIR": str(tmp_path)})
    try:
        line = script.stderr.readline()
        assert "small: round 1 of 20" in line, line + script.stderr.read()
        children = [int(pid) for pid in Path(f"/proc/{script.pid}/task/{script.pid}/children").read_text().split()]
        assert len(children) >= 4
        script.send_signal(signal.SIGINT)
        script.communicate(timeout=20)
    finally:
        if script.poll() is None:
            os.killpg(script.pid, signal.SIGKILL)
            script.communicate()
    assert script.returncode == 130
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    assert list(tmp_path.iterdir()) == []
