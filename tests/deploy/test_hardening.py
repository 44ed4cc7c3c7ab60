"""The commands behind docs/hardening-report.md, in their short forms: that they measure, and that they judge.

What they measure here is not what the page says: the machine is shared. Latency is held loosely.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import tools as support
from support.loadtest import LOADTEST
from support.scripts import module, run

HARDENING, SOAK = LOADTEST / "hardening", LOADTEST / "soak"
REPORT = support.ROOT / "docs/hardening-report.md"
MIB = 1 << 20


hardening, soak = module(HARDENING), module(SOAK)
import confined, hostile, page, siege  # noqa: E402, E401
from hostile import http2  # noqa: E402


@pytest.fixture(scope="session")
def limited():
    """A memory cgroup can be made: that takes root, which cannot be asked of every machine."""
    try:
        confined.Group.make(64 * MIB).remove()
    except (confined.Missing, OSError) as error:
        pytest.skip(f"a memory cgroup: {error}")


@pytest.fixture(scope="session")
def measured(limited, binary):
    done = run(HARDENING, "--short", "--json", "--binary", binary)
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)["rows"][str(64 * MIB)]


def test_no_short_attack_kills_it_or_takes_more_than_it_says(measured):
    assert set(measured) == set(hardening.SHORT)
    for name, row in measured.items():
        assert row["alive"] and row["oom"] == 0, name
        bound = row["bound"]["clients"] + row["bound"]["process"]
        assert 2 * MIB < row["highest"] <= bound < 64 * MIB, (name, row["highest"], bound)
        assert 0 < row["used"] <= row["bound"]["clients"], name
        assert row["group"] <= 64 * MIB, name


def test_probes_and_honest_clients_are_answered_meanwhile(measured):
    for name, row in measured.items():
        users, probes = row["honest"]["users"], row["honest"]["probes"]
        assert probes["answered"] > 10 and not probes["failed"] and not probes["refused"], (name, probes)
        assert users["answered"] > 50 and not users["failed"], (name, users)
        # Of what the machine makes of it, nothing is asked but that nobody is forgotten.
        assert users["p99"] < 4000 and row["calm"]["users"]["p99"] < 4000, name
        assert row["settled"] is not None, name


def test_the_attacks_are_what_they_say(measured):
    rows = {name: (row, row["attack ends"]) for name, row in measured.items()}
    for name, (row, ends) in rows.items():
        assert ends["opened"] >= ends["peak"] > 0 and ends["sent"] > 0, name
        if name != hostile.TOGETHER:
            assert ends["opened"] >= 0.9 * ends["wanted"], (name, ends)
    # Half of them never say a word, the others are answered once.
    idle = rows["idle connections"][1]
    assert idle["peak"] >= 400 and 200 <= idle["answers"].get("200", 0) <= idle["opened"], idle
    assert rows["slow heads"][1]["sent"] > 2 * 500 * len("GET / HTTP/1.1"), rows["slow heads"][1]
    assert rows["held uploads"][0]["used"] > 10 * MIB and rows["held uploads"][1]["sent"] > 30 * MIB
    assert rows["HTTP/2 slow uploads"][1]["sent"] > 10 * MIB and rows["HTTP/2 slow uploads"][1]["answers"]["frames"] > 0
    assert rows["HTTP/2 rapid reset"][0]["refusals"]["http2_abuse"] > 0


def made(**changed):
    """A row in which all held."""
    period = {"answered": 1000, "p50": 0.5, "p99": 1.0, "max": 2.0, "failed": {}, "refused": {}, "late": 0}
    row = {"attack": "slow heads", "mode": hostile.WELCOME, "alive": True, "oom": 0, "calm": {"users": dict(period), "probes": dict(period)},
           "honest": {"users": dict(period), "probes": dict(period)}, "attack ends": {"peak": 9}, "highest": 43 * MIB, "group": 50 * MIB,
           "bound": {"clients": 28 * MIB, "process": 16 * MIB}, "used": 20 * MIB, "settled": 0.1, "evicted": 3, "refusals": {"idle": 2}}
    row["honest"]["users"] |= changed.pop("users", {})
    row["honest"]["probes"] |= changed.pop("probes", {})
    return row | changed


@pytest.mark.parametrize(("changed", "says"), [
    ({}, None),
    ({"alive": False, "end": "SIGKILL"}, "killed (SIGKILL)"),
    ({"oom": 1}, "killed (by the OOM killer)"),
    ({"highest": 44 * MIB}, None),
    ({"highest": 45 * MIB}, "45.0 MiB resident"),
    ({"probes": {"refused": {"503 overloaded": 1}}}, "probes unanswered: 1 503 overloaded"),
    ({"probes": {"answered": 0}}, "probes unanswered: none"),
    ({"probes": {"late": 2}}, "2 probes over 50 ms"),
    ({"users": {"failed": {"closed unanswered, kept": 1}}}, "honest requests failed: 1 closed unanswered, kept"),
    ({"users": {"p99": 5.0}}, None),
    ({"users": {"p99": 5.1}}, "p99 over 5.0 ms"),
    ({"settled": None}, "connections remain"),
])
def test_a_row_is_judged_by_each_of_its_promises(changed, says):
    found = hardening.breaches(made(**changed))
    assert found == ([says] if says else [])


def test_who_is_refused_by_name_was_not_served():
    assert hardening.verdict(made()) == hardening.verdict(made(users={"refused": {"503 overloaded": 10}})) == "held"
    assert hardening.verdict(made(users={"refused": {"503 overloaded": 250}})) == "in part: 20% of honest requests refused"
    assert hardening.verdict(made(users={"refused": {"503 overloaded": 250}}, oom=1)) == "killed (by the OOM killer)"


def test_p99_may_be_twice_what_it_is_without_an_attack():
    row = made(users={"p99": 19.0})
    row["calm"]["users"]["p99"] = 9.6
    assert hardening.breaches(row) == []
    row["calm"]["users"]["p99"] = 9.4
    assert hardening.breaches(row) == ["p99 over 18.8 ms"]


def test_the_page_gets_its_sections_and_keeps_the_rest(tmp_path):
    copy = tmp_path / "report.md"
    copy.write_text(REPORT.read_text() + "by hand\n")
    (tmp_path / "fuzz.md").write_text("| target | runs |\n")
    (tmp_path / "log").write_text("noise\ntest x: hardening: zero-loss HTTP/1.1, 200 rounds: 0 lost\nnoise\n")
    arguments = ("--only", "none", "--page", copy, "--results", tmp_path / "none.json")
    assert run(HARDENING, *arguments, "--fuzz", tmp_path / "fuzz.md", "--log", tmp_path / "log").returncode == 0
    text = copy.read_text()
    assert text.endswith("by hand\n") and "- HTTP/1.1, 200 rounds: 0 lost" in text and "| target | runs |" in text
    # And once more, without a trace of the first time.
    (tmp_path / "fuzz.md").write_text("| target | corpus |\n")
    assert run(HARDENING, *arguments, "--fuzz", tmp_path / "fuzz.md").returncode == 0
    assert "runs |" not in copy.read_text() and copy.read_text().count("| target | corpus |") == 1
    copy.write_text("nothing\n")
    done = run(HARDENING, *arguments, "--fuzz", tmp_path / "fuzz.md")
    assert done.returncode == 1 and "has no section <!-- begin: fuzzing -->" in done.stderr


def test_the_page_has_a_place_for_every_section():
    text = REPORT.read_text()
    for name in ("machine", "memory 64 MiB", "memory 256 MiB", "fuzzing", "zero loss", "soak"):
        assert len(re.findall(rf"<!-- begin: {name} -->\n.*?<!-- end: {name} -->", text, re.DOTALL)) == 1, name


def test_what_was_measured_is_not_measured_again_unless_the_build_is_another(tmp_path, binary, limited):
    results = tmp_path / "results.json"
    arguments = ("--short", "--only", "HTTP/2 rapid reset", "--results", results, "--binary", binary, "--json")
    first = json.loads(run(HARDENING, *arguments).stdout)
    begun = time.monotonic()
    again = run(HARDENING, *arguments)
    assert json.loads(again.stdout) == first and time.monotonic() - begun < 5
    kept = json.loads(results.read_text())
    kept["build"] = "another"
    results.write_text(json.dumps(kept))
    again = run(HARDENING, *arguments)
    assert "is of another build" in again.stderr and json.loads(again.stdout)["build"] == first["build"]


@pytest.mark.parametrize(("arguments", "says"), [
    (["--limits", "64"], "allowed are sizes like 64MiB"),
    (["--only", "slow heads,nothing"], "no such attack: nothing"),
    (["--scale", "2"], "--scale up to 1"),
    (["--seconds", "61"], "up to 60"),
    (["--binary", "/nowhere"], "/nowhere is not there: cargo build --release"),
    (["--image", "nowhere:0"], "nowhere:0"),
])
def test_what_cannot_be_run_is_said(arguments, says, tmp_path):
    if "--image" in arguments and support.why_no_docker():
        pytest.skip("no Docker engine")
    done = run(HARDENING, "--short", *arguments)
    assert done.returncode == 2 and says in done.stderr, done.stderr


def test_ctrl_c_leaves_nothing(limited, binary):
    script = subprocess.Popen([sys.executable, HARDENING, "--short", "--binary", binary], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        # The first row is there, so the second attack is under way.
        line = script.stderr.readline()
        assert "64 MiB, idle connections" in line, line + script.stderr.read()
        children = [int(pid) for pid in Path(f"/proc/{script.pid}/task/{script.pid}/children").read_text().split()]
        assert children
        script.send_signal(signal.SIGINT)
        script.communicate(timeout=20)
    finally:
        if script.poll() is None:
            os.killpg(script.pid, signal.SIGKILL)
            script.communicate()
    assert script.returncode == 130
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    version, root = confined.controller()
    assert not list(Path(root).glob(f"nessen-hardening-{script.pid}-*"))


@pytest.mark.parametrize(("version", "files"), [
    (1, {"memory.limit_in_bytes": "67108864\n", "memory.max_usage_in_bytes": "4096\n",
         "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"}),
    (2, {"memory.max": "67108864\n", "memory.peak": "4096\n",
         "memory.events": "low 0\nhigh 0\nmax 7\noom 5\noom_kill 2\noom_group_kill 0\n"}),
])
def test_either_version_of_cgroups_is_read(version, files, tmp_path):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    group = confined.Group(version, str(tmp_path))
    assert (group.peak(), group.killed()) == (4096, 2)


def test_frames_are_made_as_they_are_defined():
    """RFC 9113 section 4.1, RFC 7541 appendix C.3.1."""
    assert http2.frame(http2.PING, http2.ACK, 1, b"12345678") == b"\x00\x00\x08\x06\x01\x00\x00\x00\x0112345678"
    assert http2.settings(window=0) == b"\x00\x00\x06\x04\x00\x00\x00\x00\x00" + b"\x00\x04\x00\x00\x00\x00"
    assert http2.block() == b"\x82\x86\x84\x01\x09localhost"
    assert http2.POST == b"\x83\x86\x04\x05/echo\x01\x09localhost"


def test_a_minute_of_soak_comes_back(limited, binary):
    done = run(SOAK, "--minutes", 1, "--no-page", "--json", "--scale", 0.05, "--binary", binary)
    told = json.loads(done.stdout)
    # How much it takes at most is what the other command is for; here, what comes back.
    left = [each for each in told["found"] if "over the bound" not in each]
    assert left == [] and done.returncode == (1 if told["found"] else 0), told["found"]
    assert told["attacks"] >= 5 and len(told["samples"]) >= 8
    assert max(sample["connections"] for sample in told["samples"]) > 50
    assert told["after"]["connections"] == told["after"]["active"] == 0
    assert told["honest"]["users"]["answered"] > 1000


def test_growth_is_told_by_its_slope():
    """Half an hour of 2 MiB in 10 minutes, under a noise that is larger; and of none."""
    noise = [3.0, -2.0, 1.0, -3.0, 2.0, -1.0]
    points = [(minute / 10, 20 + 2 * minute / 10 + noise[minute % 6]) for minute in range(60)]
    assert 1.8 < soak.slope(points) < 2.2
    assert abs(soak.slope([(x, y - 2 * x) for x, y in points])) < 0.2
    assert soak.slope([]) == soak.slope([(1, 1)]) == 0


def test_a_soak_is_judged_by_what_is_left():
    calm = {"connections": 0, "active": 0, "tunnels": 0, "descriptors": 12, "threads": 4, "used": 100, "resident": 9 * MIB}
    plan = type("Plan", (), {"minutes": 30})
    told = {"alive": True, "oom": 0, "before": calm, "after": dict(calm), "slope": 0.9, "highest": 40 * MIB,
            "bound": {"clients": 28 * MIB, "process": 16 * MIB}, "honest": {}}
    assert soak.grown(told, plan) == []
    for what in ("connections", "active", "tunnels", "descriptors", "threads", "used"):
        left = told | {"after": calm | {what: calm[what] + 3}}
        assert len(soak.grown(left, plan)) == 1, what
    assert soak.grown(told | {"slope": 1.1}, plan) == ["resident memory grows by 1.10 MiB in 10 minutes"]
    assert soak.grown(told | {"highest": 45 * MIB}, plan) == ["45.0 MiB resident, over the bound"]
    assert soak.grown(told | {"alive": False, "end": "SIGKILL"}, plan) == ["killed: SIGKILL"]
    lost = {"users": {"failed": {"closed unanswered, new": 1}}}
    assert soak.grown(told | {"honest": lost}, plan) == ["users failed: 1 closed unanswered, new"]


def test_the_readme_names_what_there_is():
    readme = (LOADTEST / "README.md").read_text()
    for script in (HARDENING, SOAK):
        assert f"`{script.name}`" in readme and os.access(script, os.X_OK)
        usage = run(script, "--help").stdout
        for option in re.findall(rf"loadtest/{script.name} .*", readme):
            for word in option.split():
                assert not word.startswith("--") or word.strip("`,") in usage, word
