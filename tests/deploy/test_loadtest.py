"""The load tests: what reads the generators' output, the script that runs them, and the k6 script.

Recorded outputs are in data/loadtest. Those of wrk, ab and h2load were recorded from runs against Nessen;
oha.json follows the schema that comes with oha 1.16, and the two of k6 its documented summaries.
"""

import argparse
import importlib.machinery
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import tools as support

LOADTEST = support.ROOT / "loadtest"
RUN = LOADTEST / "run"
DATA = Path(__file__).parent / "data/loadtest"
K6 = Path(__file__).parent / "support/k6"
TYPESCRIPT, K6_TYPES = "7.0.2", "2.3.0"

sys.path.insert(0, str(LOADTEST))
import counters  # noqa: E402
import tools  # noqa: E402


def text(name):
    return (DATA / name).read_text()


def start(*arguments, code=0, path=None):
    """Runs the script. `code` None: any of the two that end a run."""
    environment = {**os.environ, **({"PATH": path} if path else {})}
    done = subprocess.run([sys.executable, RUN, *map(str, arguments)], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode in ((0, 1) if code is None else (code,)), f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def url(server):
    return f"http://{server.address}"


# What is read


def test_wrk_is_read_with_its_errors_and_statuses():
    assert tools.Wrk().parse(text("wrk.txt")) == {
        "requests": 12839, "rate": 11626.43, "p50": 9.17, "p99": 138.56, "errors": 1031, "refused": 1096,
        "notes": ["1096 answers with status 429"],
    }


@pytest.mark.parametrize(("written", "p99"), [("812.00us", 0.812), ("2.17ms", 2.17), ("1.01s", 1010.0), ("1.02m", 61200.0)])
def test_wrk_counts_in_the_unit_it_names(written, p99):
    told = f"    50%    1.04ms\n    99%  {written}\n  16228 requests in 1.10s, 130.56MB read\nRequests/sec:  14749.19\n"
    assert tools.Wrk().parse(told)["p99"] == pytest.approx(p99)


def test_ab_is_read_finer_than_its_table():
    fine = tools.Ab().parse(text("ab.txt"), DATA)
    assert (fine["requests"], fine["rate"], fine["errors"], fine["refused"]) == (17923, 17731.62, 1247, 794)
    assert (fine["p50"], fine["p99"]) == (12.432, 58.662)
    coarse = tools.Ab().parse(text("ab.txt"))
    assert (coarse["p50"], coarse["p99"]) == (12.0, 59.0)


def test_h2load_is_read_and_its_rate_is_of_the_time_in_which_it_sent(tmp_path):
    plain = tools.H2load().parse(text("h2load.txt"))
    assert (plain["requests"], plain["rate"], plain["p50"], plain["errors"], plain["refused"]) == (20009, 10001.5, None, 6, 0)
    # 100 requests of 1 to 100 ms, the last ended after 0.5 s of the two.
    lines = [f"{1000000 + number * 4000}\t200\t{(number + 1) * 1000}" for number in range(100)]
    lines[0] = "1000000\t200\t500000"
    (tmp_path / "h2load.log").write_text("\n".join(lines) + "\n")
    logged = tools.H2load().parse(text("h2load.txt"), tmp_path)
    assert (logged["p50"], logged["p99"]) == (51.0, 100.0)
    assert logged["rate"] == pytest.approx(20009 / 0.5)
    assert "max_requests_per_connection" in logged["notes"][0]


def test_h2load_tells_refusals_from_errors():
    told = text("h2load.txt").replace("20009 done, 20003 succeeded, 6 failed, 6 errored", "20009 done, 19993 succeeded, 16 failed, 5 errored")
    assert {key: tools.H2load().parse(told)[key] for key in ("errors", "refused")} == {"errors": 5, "refused": 11}


def test_oha_is_read_without_what_it_cut_off_itself():
    assert tools.Oha().parse("warning\n" + text("oha.json")) == {
        "requests": 10025, "rate": 5012.5, "p50": pytest.approx(1.05), "p99": pytest.approx(4.1), "errors": 7, "refused": 45,
        "notes": ["45 answers with status 429", "7 x connection closed before message completed"],
    }


@pytest.mark.parametrize(("name", "notes"), [
    ("k6.json", ["threshold crossed: http_req_duration{scenario:mix} p(95)<100"]),
    ("k6-list.json", []),
])
def test_k6_is_read_in_both_forms(name, notes):
    assert tools.K6().parse(text(name)) == {
        "requests": 4031, "rate": 366.2, "p50": 12.25, "p99": 204.5, "errors": 0, "refused": 8, "notes": notes,
    }


@pytest.mark.parametrize("tool", tools.ALL, ids=lambda tool: tool.name)
@pytest.mark.parametrize("told", ["", "unable to connect to 127.0.0.1:1 Connection refused\n", '{"metrics": {}}', "{}"])
def test_what_is_no_result_is_said_to_be_none(tool, told):
    with pytest.raises(tools.Unread):
        tool.parse(told)


def test_the_difference_of_two_readings():
    before = 'nessen_rejections_total{reason="rate_limited"} 4\nhttp_requests_total{route="/"} 10\nprocess_cpu_seconds_total 1.5\n'
    after = ('nessen_rejections_total{reason="rate_limited"} 6\nhttp_requests_total{route="/"} 30\n'
             'http_requests_total{route="/metrics"} 9\nprocess_cpu_seconds_total 2.5\n')
    read = counters.parse
    assert counters.between(read(before), read(after)) == {"counted": 20, "refusals": {"rate_limited": 2}, "cpu_us": 50000.0}
    assert counters.between(read(before), read(before + "\n"))["cpu_us"] is None
    with pytest.raises(counters.Unreadable, match="went back"):
        counters.between(read(after), read(before))
    with pytest.raises(counters.Unreadable, match="nessen_rejections_total"):
        read("go_goroutines 4\n")


# The script, against a server


@pytest.mark.parametrize("name", ["wrk", "ab", "h2load", "oha", "k6"])
def test_an_installed_generator_is_measured_and_the_server_agrees(nessen, name):
    support.need(name)
    server = nessen(DRAIN_DELAY="0s", ACCESS_LOG="off")
    told = json.loads(start("--json", "--duration", 1, "--connections", 8, "--tools", name, url(server)).stdout)
    tool = next(tool for tool in tools.ALL if tool.name == name)
    assert [row["scenario"] for row in told["rows"]] == list(tool.scenarios)
    for row in told["rows"]:
        assert row["state"] == "measured" and row["requests"] > 100 and row["rate"] > 100, row
        assert 0 < row["p50"] <= row["p99"] < 1000 and 1 < row["cpu_us"] < 5000, row
        assert row["errors"] == row["refused"] == 0 and not row["notes"], row
        assert abs(row["counted"] - row["requests"]) <= 80 + row["requests"] / 1000, row


def test_each_scenario_is_what_it_says(nessen):
    support.need("wrk")
    server = nessen(DRAIN_DELAY="0s", ACCESS_LOG="off")
    rows = json.loads(start("--json", "--duration", 1, "--connections", 4, "--tools", "wrk", url(server)).stdout)["rows"]
    metrics = server.get("/metrics")[2]
    posted = sum(int(float(line.rsplit(" ", 1)[1])) for line in metrics.splitlines() if line.startswith("http_request_body_bytes_total"))
    by = {row["scenario"]: row for row in rows}
    # 16 KiB each, and one to see that the path answers.
    assert posted >= 16384 * by[tools.POST]["requests"]
    connections = sum(int(line.rsplit(" ", 1)[1]) for line in metrics.splitlines() if line.startswith("http_connections_total"))
    assert by[tools.NEW]["requests"] <= connections <= by[tools.NEW]["requests"] + 100


def test_a_refusal_is_named(nessen):
    support.need("wrk")
    server = nessen(DRAIN_DELAY="0s", ACCESS_LOG="off", MAX_CONNECTIONS_PER_IP="4")
    done = start("--duration", 1, "--connections", 8, "--tools", "wrk", url(server), code=1)
    assert "wrk, GET, kept open: refused by the server:" in done.stdout and "x too_many_connections_from_client" in done.stdout
    assert "answers with status 429" in done.stdout


def test_h2load_that_ran_out_of_connections_is_noticed(nessen):
    support.need("h2load")
    server = nessen(DRAIN_DELAY="0s", ACCESS_LOG="off", NESSEN_LIMITS_MAX_REQUESTS_PER_CONNECTION="200")
    rows = json.loads(start("--json", "--duration", 1, "--connections", 2, "--tools", "h2load", url(server), code=None).stdout)["rows"]
    http2 = next(row for row in rows if row["scenario"] == tools.HTTP2)
    assert http2["requests"] < 600 and http2["rate"] > http2["requests"], http2
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


# k6


@pytest.fixture(scope="module")
def typescript(tmp_path_factory):
    """A folder with TypeScript and the types of k6, of exactly these versions."""
    npm = support.need("npm")
    folder = tmp_path_factory.mktemp("k6")
    (folder / "package.json").write_text('{"private": true}')
    done = support.run(npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts",
                       f"typescript@{TYPESCRIPT}", f"@types/k6@{K6_TYPES}", cwd=folder, check=False)
    if done.returncode != 0:
        support.absent(f"npm has no typescript@{TYPESCRIPT} and @types/k6@{K6_TYPES}: {done.stderr[-300:]}")
    types = "./node_modules/@types/k6"
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": {
        "allowJs": True, "checkJs": True, "noEmit": True, "strict": True, "target": "es2022", "lib": ["es2022"],
        "module": "esnext", "moduleResolution": "bundler", "types": ["k6"],
        "paths": {"k6": [f"{types}/index.d.ts"], "k6/*": [f"{types}/*"]}}, "files": ["k6.js"]}))
    return folder


def check_types(folder, script):
    (folder / "k6.js").write_text(script)
    return support.run(folder / "node_modules/.bin/tsc", "-p", folder, check=False, cwd=folder)


def test_the_k6_script_has_the_types_of_k6(typescript):
    script = (LOADTEST / "k6.js").read_text()
    done = check_types(typescript, script)
    assert done.returncode == 0, done.stdout
    for right, wrong in [("http.get(`${BASE}/ready`)", "http.fetch(`${BASE}/ready`)"),
                         ("http.expectedStatuses(status)", 'http.expectedStatuses("413")'),
                         ('executor: "ramping-vus", exec', 'executor: "ramping", exec'),
                         ("exec.scenario.iterationInTest", "exec.scenario.iteration")]:
        assert right in script
        assert check_types(typescript, script.replace(right, wrong)).returncode != 0, wrong


def play(folder, server, iterations=10, check=True, **environment):
    """The script's functions under Node with stand-ins for the modules of k6."""
    node = support.need("node")
    package = folder / "node_modules/k6"
    package.mkdir(parents=True, exist_ok=True)
    shutil.copy(K6 / "k6.mjs", package / "all.mjs")
    shutil.copy(K6 / "main.mjs", folder)
    (folder / "k6.mjs").write_text((LOADTEST / "k6.js").read_text())
    (package / "index.mjs").write_text('export { check, fail, sleep } from "./all.mjs";')
    (package / "http.mjs").write_text('export { http as default } from "./all.mjs";')
    (package / "execution.mjs").write_text('export { execution as default } from "./all.mjs";')
    (package / "package.json").write_text(json.dumps({"name": "k6", "exports": {
        ".": "./index.mjs", "./http": "./http.mjs", "./execution": "./execution.mjs", "./stand-in": "./all.mjs"}}))
    done = support.run(node, folder / "main.mjs", folder / "k6.mjs", iterations, cwd=folder, check=check,
                       env={**os.environ, "BASE_URL": url(server), **environment})
    return json.loads(done.stdout) if check else done


def test_the_k6_script_against_a_server(nessen, tmp_path):
    told = play(tmp_path, nessen(DRAIN_DELAY="0s"))
    bad = [each for each in told["checks"] if not each["ok"]]
    assert not bad and not any(request["failed"] for request in told["requests"])
    by = [(request["scenario"], request["name"] if "name" in request else None, request["status"]) for request in told["requests"]]
    assert {entry: by.count(entry) for entry in set(by)} == {
        ("setup", None, 200): 1, ("mix", "small", 200): 6, ("mix", "page", 200): 3, ("mix", "POST", 200): 1,
        ("limits", "refusal 413", 413): 10, ("limits", "refusal 414", 414): 10, ("limits", "refusal 404", 404): 10,
    }
    assert len({each["name"] for each in told["checks"]}) == 13
    assert told["options"]["thresholds"] == {
        "http_req_failed": ["rate<0.01"], "checks": ["rate>0.99"],
        "http_req_duration{scenario:mix}": ["p(95)<100"], "checks{scenario:limits}": ["rate==1"],
    }
    assert [stage["target"] for stage in told["options"]["scenarios"]["mix"]["stages"]] == [20, 20, 0]


@pytest.mark.parametrize(("settings", "broken"), [
    ({"MAX_BODY_SIZE": "2MiB"}, "413: status"),
    ({"MAX_URL_LENGTH": "16KiB", "MAX_HEADER_SIZE": "32KiB"}, "414: status"),
])
def test_the_k6_script_sees_a_limit_that_does_not_hold(nessen, tmp_path, settings, broken):
    told = play(tmp_path, nessen(DRAIN_DELAY="0s", **settings), 1, SCENARIOS="limits")
    assert broken in [each["name"] for each in told["checks"] if not each["ok"]]
    assert any(request["failed"] for request in told["requests"])


def test_what_the_environment_changes_in_the_k6_script(nessen, tmp_path):
    server = nessen(DRAIN_DELAY="0s")
    told = play(tmp_path, server, 1, SCENARIOS="mix", RATE="200", VUS="7", DURATION="2m", RAMP="9s", GET_PATH="/nowhere")
    mix = told["options"]["scenarios"]["mix"]
    assert list(told["options"]["scenarios"]) == ["mix"] and "checks{scenario:limits}" not in told["options"]["thresholds"]
    assert (mix["executor"], mix["preAllocatedVUs"], mix["maxVUs"]) == ("ramping-arrival-rate", 7, 70)
    assert [(stage["duration"], stage["target"]) for stage in mix["stages"]] == [("9s", 200), ("2m", 200), ("9s", 0)]
    assert [each["name"] for each in told["checks"] if not each["ok"]] == ["GET: 200"]
    assert "neither mix nor limits" in play(tmp_path, server, 1, check=False, SCENARIOS="all").stderr
    server.kill()
    assert "/ready: " in play(tmp_path, server, 1, check=False).stderr


def test_the_readme_names_what_there_is():
    readme, usage = (LOADTEST / "README.md").read_text(), start("--help").stdout
    options = {word.strip("`,.;:()") for word in readme.split() if word.strip("`,.;:()").startswith("--")}
    known = {word.rstrip(",") for word in usage.split()} | {"--", "--release", "--latency", "--no-tui", "--latency-correction"}
    assert options and options <= known, options - known
    for name in ("run", "k6.js", "wrk.lua", "cpu.py", "proxy.py", "idle.py"):
        assert f"`{name}`" in readme and (LOADTEST / name).is_file()
