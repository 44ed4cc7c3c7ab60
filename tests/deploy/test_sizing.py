"""The command and the arithmetic behind docs/sizing.md."""

import json
import re

import pytest
import yaml
from support import tools as support
from support.loadtest import LOADTEST
from support.scripts import module, run

FLEET = LOADTEST / "fleet"
fleet = module(FLEET)
from beside import sizing  # noqa: E402
from confined import MIB  # noqa: E402

PAGE = support.ROOT / "docs" / "sizing.md"


def found(**more):
    return {"build": "one", "new": [60.0, 70.0, 65.0], "replicas": 2, "each": 1000, "seconds": 5, "round": 60, "start": [9 * MIB, 9 * MIB],
            "idle": [10 * MIB, 12 * MIB], "asked": [12 * MIB, 14 * MIB], "kernel": 2000 * 2560, "answered": 160, "cpu": 0.004, "drain": 0.6} | more


def bench():
    runs = lambda *cpu: {"peers": {"nessen": {"runs": [{"cpu": one} for one in cpu]}}}
    return {"build": "one", "cases": {"small": runs(7.0, 8.0, 7.5), "log-file": runs(9.0, 9.5, 9.2), "proxy-get": runs(18.0, 20.0, 19.0)}}


def test_a_million_connections_are_counted_by_what_is_larger():
    request, new = 20e-6, 60e-6
    # Once a minute: 1 000 000 / 60 x 20 us, and 1 000 000 / 600 x 60 us, are 0.43 cores; 14 000 connections are a replica's.
    assert sizing.replicas(1_000_000, 60, (request, new)) == (72, 1, 73)
    assert sizing.busy(1_000_000, 60, (request, new)) == pytest.approx(0.4333, abs=1e-3)
    # Once a second: 20 cores, of which a replica gives 0.7.
    assert sizing.replicas(1_000_000, 1, (request, new)) == (72, 29, 73)
    assert sizing.replicas(1_000_000, 1, (100e-6, new)) == (72, 143, 144)
    # Never fewer than two, and the one that is being replaced.
    assert sizing.replicas(10, 60, (request, new)) == (1, 1, 3)


def test_what_a_connection_is_charged_is_what_the_server_says(binary):
    """At `limits.memory` of the table all connections wait, and max_in_flight of them work, below the pressure."""
    each = 20_000
    told = support.run(binary, "check", env={"MAX_CONNECTIONS": str(each), "MEMORY_BUDGET": f"{sizing.budget(each)}"})
    size = lambda what: int(re.search(rf"{what}\s+(\d+)KiB", told.stdout).group(1)) << 10
    assert size("a connection that waits") == sizing.WAITING
    assert size("a connection at work") == sizing.WAITING + sizing.WORKING
    probes = re.search(r"(\d+) connections for probes x (\d+)KiB", told.stdout)
    assert int(probes.group(1)) * (int(probes.group(2)) << 10) == sizing.PROBES
    assert f"the process itself, about {sizing.PROCESS / MIB:24.1f} MiB".split() == \
        re.search(r"the process itself, about .*", told.stdout).group(0).split()
    shared = sizing.budget(each) - sizing.PROBES
    assert shared * sizing.PRESSURE >= each * sizing.WAITING + sizing.IN_FLIGHT * sizing.WORKING
    assert "limits.max_in_flight = 1024" in told.stdout


def test_a_container_has_room_for_the_bound_and_for_the_kernel():
    for each in (2_000, 20_000, 50_000):
        for kernel in (0, 2_500, 20_000):
            limit = sizing.container(each, kernel)
            bound = sizing.budget(each) + sizing.PROCESS
            assert limit % sizing.STEP == 0 and limit * sizing.SHARE >= bound and limit >= bound + each * kernel
            assert limit - sizing.STEP < max(bound / sizing.SHARE, bound + each * kernel)


def test_the_page_is_written_from_both_results(tmp_path):
    page, results, measured = tmp_path / "sizing.md", tmp_path / "bench.json", tmp_path / "fleet.json"
    page.write_text(PAGE.read_text())
    results.write_text(json.dumps(bench()))
    measured.write_text(json.dumps(found()))
    done = run(FLEET, "--page-only", measured, "--bench", results, "--page", page)
    assert done.returncode == 0, done.stderr
    text = page.read_text()
    for said in ("| connections of each, and of all | 1 000, 2 000 |", "2.50 KiB", "| a request through the proxy, with its line | 20.7 µs |",
                 "| a connection that is opened and closed | 57.5 µs |", "| resident with all connections idle | 11.0 MiB each, 0.02 GiB in all |",
                 "160 in 5 s, none failed", "| 1 000 000 | one a minute | 16 667 |"):
        assert said in text, said
    assert text.count("<!-- begin:") == PAGE.read_text().count("<!-- begin:")
    # Without the cases that it needs, the page is left as it is, and what is missing is named.
    results.write_text(json.dumps({"build": "one", "cases": {}}))
    done = run(FLEET, "--page-only", measured, "--bench", results, "--page", page)
    assert done.returncode == 1 and "has not measured small yet" in done.stderr and page.read_text() == text


def test_the_targets_of_the_page_are_those_of_the_arithmetic():
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    cpu, connections = yaml.safe_load(block)["metrics"]
    assert cpu["resource"]["target"]["averageUtilization"] == sizing.HPA_CPU * 100
    assert int(connections["pods"]["target"]["averageValue"]) == sizing.EACH * sizing.HPA_CONNECTIONS
    assert connections["pods"]["metric"]["name"] in (support.ROOT / "docs/METRICS.md").read_text()


def test_a_small_fleet_is_measured(bare, binary):
    support.need("wrk")
    done = run(FLEET, "--short", "--no-build", "--binary", binary)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["replicas"], told["each"]) == (2, 300) and told["answered"] == 2 * 300 // 60 * 2
    assert len(told["idle"]) == len(told["start"]) == 2 and all(4 * MIB < size < 64 * MIB for size in told["idle"])
    assert told["cpu"] > 0 and 0 < told["drain"] < 10 and all(5 < cpu < 5000 for cpu in told["new"])


@pytest.mark.parametrize(("arguments", "says"), [
    (["--replicas", "61"], "allowed is 1 to 60"),
    (["--connections", "20000000"], "allowed is 100 to 20000"),
    (["--binary", "/nowhere"], "/nowhere is not there: cargo build --release"),
])
def test_what_cannot_be_run_is_said(bare, arguments, says):
    done = run(FLEET, "--no-build", *arguments)
    assert done.returncode == 2 and says in done.stderr, done.stderr
