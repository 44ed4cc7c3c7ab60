"""The script that runs the load generators, against servers. How it reads them: test_loadtest_parse.py."""

import importlib.machinery
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import tools as support
from support.loadtest import DATA, LOADTEST, tools, url

RUN = LOADTEST / "run"


def start(*arguments, code=0, path=None):
    """Runs the script. `code` None: any of the two that end a run."""
    environment = {**os.environ, **({"PATH": path} if path else {})}
    done = subprocess.run([sys.executable, RUN, *map(str, arguments)], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode in ((0, 1) if code is None else (code,)), f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


# A fast machine gets to the limit of one connection within a second, where h2load stops.
UNBROKEN = {"NESSEN_LIMITS_MAX_REQUESTS_PER_CONNECTION": "1000000000"}
# Not in Debian: without them their command lines and their output are still held to what is known of them.
ELSEWHERE = {"oha": "cargo install oha", "k6": "https://grafana.com/docs/k6"}


@pytest.mark.parametrize("name", ["wrk", "ab", "h2load", *ELSEWHERE])
def test_an_installed_generator_is_measured_and_the_server_agrees(nessen, name):
    if name in ELSEWHERE:
        support.optional(name, ELSEWHERE[name])
    else:
        support.need(name)
    server = nessen(DRAIN_DELAY="0s", ACCESS_LOG="off", **UNBROKEN)
    told = json.loads(start("--json", "--duration", 3, "--connections", 8, "--tools", name, url(server)).stdout)
    tool = next(tool for tool in tools.ALL if tool.name == name)
    assert [row["scenario"] for row in told["rows"]] == list(tool.scenarios)
    for row in told["rows"]:
        assert row["state"] == "measured" and row["requests"] > 100 and row["rate"] > 100, row
        assert 0 < row["p50"] <= row["p99"] < 1000 and 1 < row["cpu_us"] < 5000, row
        # Where this machine stood still over the end of the time, that is said.
        notes = [note for note in row["notes"] if not note.startswith("it sent for")]
        assert row["errors"] == row["refused"] == 0 and not notes, row
        assert abs(row["counted"] - row["requests"]) <= 80 + row["requests"] / 1000, row


@pytest.mark.parametrize("name", ["wrk", "ab", "h2load"])
def test_each_scenario_is_what_it_says(nessen, name):
    support.need(name)
    server = nessen(DRAIN_DELAY="0s", ACCESS_LOG="off", **UNBROKEN)
    rows = json.loads(start("--json", "--duration", 1, "--connections", 4, "--tools", name, url(server)).stdout)["rows"]
    metrics = server.get("/metrics")[2].splitlines()

    def total(series):
        return sum(float(line.rsplit(" ", 1)[1]) for line in metrics if line.startswith(series))

    by = {row["scenario"]: row["requests"] for row in rows}
    # 16 KiB each, and one to see that the path answers.
    assert total("http_request_body_bytes_total") >= 16384 * by[tools.POST]
    new = by.get(tools.NEW, 0)
    assert new <= total("http_connections_total") <= new + 100
    assert (total('http_connections_total{protocol="http/2"}') > 0) == (tools.HTTP2 in by)


def test_a_refusal_is_named(nessen):
    support.need("wrk")
    server = nessen(DRAIN_DELAY="0s", ACCESS_LOG="off", MAX_CONNECTIONS_PER_IP="4")
    done = start("--duration", 3, "--connections", 8, "--tools", "wrk", url(server), code=1)
    assert "wrk, GET, kept open: refused by the server:" in done.stdout and "x too_many_connections_from_client" in done.stdout
    assert "answers with status 429" in done.stdout


def test_h2load_that_ran_out_of_connections_is_noticed(nessen):
    support.need("h2load")
    server = nessen(DRAIN_DELAY="0s", ACCESS_LOG="off", NESSEN_LIMITS_MAX_REQUESTS_PER_CONNECTION="200")
    rows = json.loads(start("--json", "--duration", 3, "--connections", 2, "--tools", "h2load", url(server), code=None).stdout)["rows"]
    http2 = next(row for row in rows if row["scenario"] == tools.HTTP2)
    assert http2["requests"] < 600 and http2["rate"] > http2["requests"] / 2, http2
    assert "limits.max_requests_per_connection" in http2["notes"][0]


def test_the_metrics_of_the_admin_port(nessen):
    support.need("ab")
    port = free_port()
    server = nessen(DRAIN_DELAY="0s", ACCESS_LOG="off", ADMIN_PORT=port)
    arguments = ("--json", "--duration", 1, "--connections", 2, "--tools", "ab", url(server))
    told = json.loads(start(*arguments).stdout)
    assert "--metrics-url" in told["remarks"][0] and "counted" not in told["rows"][0]
    told = json.loads(start("--metrics-url", f"http://127.0.0.1:{port}/metrics", *arguments).stdout)
    assert told["remarks"] == [] and told["rows"][0]["counted"] >= told["rows"][0]["requests"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_path_that_answers_badly_is_not_loaded(nessen):
    support.need("ab")
    server = nessen(DRAIN_DELAY="0s", ACCESS_LOG="off")
    done = start("--duration", 1, "--tools", "ab", "--get", "/nowhere", url(server), code=1)
    assert "/nowhere answers 404: give another path with --get" in done.stdout
    assert done.stderr.split("\n") == ["ab: POST, kept open", ""]


def test_nothing_there_is_said_plainly():
    done = start(f"http://127.0.0.1:{free_port()}", code=2)
    assert "nothing answers at http://127.0.0.1:" in done.stderr and "Connection refused" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("arguments", "says"), [
    (["http://192.0.2.1:3000"], "not this machine"),
    (["https://127.0.0.1:3000"], "allowed is http://"),
    (["http://127.0.0.1:3000/path"], "allowed is http://"),
    (["--duration", "61"], "1 to 60"),
    (["--duration", "0"], "1 to 60"),
    (["--connections", "1001"], "1 to 1000"),
    (["--streams", "101"], "1 to 100"),
    (["--bytes", "1048577"], "0 to 1048576"),
    (["--tools", "wrk,siege"], "no such tool: siege"),
])
def test_what_is_not_allowed_is_not_begun(arguments, says):
    assert says in start(*arguments, code=2).stderr


def test_what_is_not_installed_has_a_row(nessen, tmp_path):
    server = nessen(DRAIN_DELAY="0s")
    lines = start(url(server), path=str(tmp_path)).stdout.splitlines()
    assert [line.split() for line in lines[1:]] == [[name, "all", "not", "installed"] for name in ("wrk", "ab", "h2load", "oha", "k6")]


def fake(folder, name, script):
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(("usage", "form"), [("  -j, --json", "--json"), ("  --output-format <F>", "--output-format json")])
def test_how_oha_is_called(nessen, tmp_path, usage, form):
    """By a stand-in, of either age: the arguments, and that what it prints ends in the table."""
    log = tmp_path / "called"
    fake(tmp_path, "oha", f'case "$1" in --help) echo "{usage}"; exit;; esac\necho "$@" >> {log}\ncat {DATA}/oha.json')
    server = nessen(DRAIN_DELAY="0s")
    done = start("--tools", "oha", "--duration", 2, url(server), code=1, path=f"{tmp_path}:/usr/bin:/bin")
    assert "7 x connection closed before message completed" in done.stdout and "5012" in done.stdout
    called = log.read_text().splitlines()
    assert all(line.startswith(f"--no-tui {form} -z 2s -c 32 ") for line in called)
    assert ["--disable-keepalive" in line for line in called] == [False, True, False, False]
    assert ["-m POST -D" in line for line in called] == [False, False, True, False]
    assert ["--http2 -p 10" in line for line in called] == [False, False, False, True]


def test_how_k6_is_called(nessen, tmp_path):
    """By a stand-in that writes a summary, and exits as k6 does when a threshold is crossed."""
    fake(tmp_path, "k6", f'echo "$@" > {tmp_path}/called\nwhile [ "$1" != --summary-export ]; do shift; done\ncp {DATA}/k6.json "$2"\nexit 99')
    server = nessen(DRAIN_DELAY="0s")
    done = start("--tools", "k6", "--duration", 2, url(server), code=1, path=f"{tmp_path}:/usr/bin:/bin")
    assert "threshold crossed: http_req_duration{scenario:mix} p(95)<100" in done.stdout
    called = (tmp_path / "called").read_text()
    assert f"-e BASE_URL={url(server)} -e VUS=32 -e DURATION=2s " in called and called.rstrip().endswith("loadtest/k6.js")
    script = (LOADTEST / "k6.js").read_text()
    names = [word.split("=")[0] for word in called.split() if "=" in word]
    assert len(names) == 7 and all(f"__ENV.{name}" in script for name in names)


def living(group):
    """Processes of the group that are not merely waiting to be reaped."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] not in "ZX":
            found.append(stat.parent.name)
    return found


def gone(group):
    """Whether the group ends: a kill is not waited for by who was not the parent."""
    until = time.monotonic() + 5
    while living(group) and time.monotonic() < until:
        pass
    return not living(group)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_no_child(nessen, number):
    support.need("wrk")
    server = nessen(DRAIN_DELAY="0s", ACCESS_LOG="off")
    script = subprocess.Popen([sys.executable, RUN, "--duration", "60", "--tools", "wrk", url(server)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        child = None
        while child is None:
            assert script.poll() is None, script.communicate()
            listed = Path(f"/proc/{script.pid}/task/{script.pid}/children").read_text().split()
            child = next((int(pid) for pid in listed if Path(f"/proc/{pid}/comm").read_text() == "wrk\n"), None)
        assert living(child)
        script.send_signal(number)
        out, err = script.communicate(timeout=10)
    finally:
        script.kill()
    assert script.returncode == 130 and "interrupted" in out and "Traceback" not in err
    assert gone(child)


def test_a_generator_that_does_not_end_is_ended(monkeypatch):
    loader = importlib.machinery.SourceFileLoader("loadtest_run", str(RUN))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("loadtest_run", loader))
    loader.exec_module(module)
    monkeypatch.setattr(module, "TO_STOP", 0)
    begun = []
    opened = subprocess.Popen
    monkeypatch.setattr(module.subprocess, "Popen", lambda *a, **k: begun.append(opened(*a, **k)) or begun[-1])
    with pytest.raises(tools.Unread, match="did not end within 1 s"):
        module.run(["sh", "-c", "sleep 100 & sleep 100"], 1)
    assert gone(begun[0].pid), "the shell's own child did not go with it"


def test_the_mix_of_wrk(nessen):
    support.need("wrk")
    server = nessen(DRAIN_DELAY="0s", ACCESS_LOG="off")
    done = support.run("wrk", "-t1", "-c4", "-d1s", "-s", LOADTEST / "wrk.lua", f"{url(server)}/nowhere", "--", "gets=3", "posts=1", "bytes=64")
    requests = tools.Wrk().parse(done.stdout)
    share = requests["refused"] / requests["requests"]
    assert 0.74 < share < 0.76 and requests["notes"] == [f"{requests['refused']} answers with status 404"]
    assert "not understood: put=1" in support.run("wrk", "-d1s", "-s", LOADTEST / "wrk.lua", url(server), "--", "put=1", check=False).stderr


def test_the_readme_names_what_there_is():
    readme = (LOADTEST / "README.md").read_text()
    usage = " ".join(
        subprocess.run([LOADTEST / command, "--help"], capture_output=True, text=True, check=True).stdout
        for command in ("run", "bench", "growth", "hardening", "soak", "instructions")
    )
    options = {word.strip("`,.;:()") for word in readme.split() if word.strip("`,.;:()").startswith("--")}
    known = {word.rstrip(",") for word in usage.split()} | {"--", "--release", "--latency", "--no-tui", "--latency-correction"}
    assert options and options <= known, options - known
    for name in ("run", "k6.js", "wrk.lua", "bench", "growth", "instructions"):
        assert f"`{name}`" in readme and (LOADTEST / name).is_file()
