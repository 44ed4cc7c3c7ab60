"""How the figures of `bench` and `growth` are told and judged, from figures that are known."""

import re
import xml.etree.ElementTree as ElementTree

import hostile
import page
import pytest
from support import tools as support
from support.loadtest import LOADTEST
from support.scripts import module, run

bench, growth = module(LOADTEST / "bench"), module(LOADTEST / "growth")
from beside import cases, goals, growing, peers, plot, report, results  # noqa: E402

PERFORMANCE = support.ROOT / "docs/performance.md"


def rounds_of(*costs):
    return {"runs": [{"cpu": cost, "rate": 1e6 / cost, "busy": 0.9, "requests": 1000} for cost in costs], "dropped": 0, "requests": 3000}


def period(p99, most=1.0):
    return {"answered": 10, "p50": 0.1, "p99": p99, "max": most, "failed": {}, "refused": {}, "late": 0}


def made():
    """Results in which every case was measured, and every goal is reached."""
    found = {}
    for case in cases.CASES:
        found[case.name] = {"how": {}, "peers": {name: rounds_of(4.0, 5.0, 6.0) if name in peers.OURS else rounds_of(5.0, 5.0, 10.0) for name in case.peers}}
    found["small"]["peers"]["node"] = rounds_of(20.0, 20.0, 20.0)
    wait = {"runs": [{"sent": 9, "answered": 9, "p50": 20.4, "p99": 30.0, "p999": 40.0, "max": 1234.5, "lag": 0.2}]}
    for name, rate in report.RATES.items():
        found[name] = {"how": {"rate": rate}, "peers": {"nessen": wait}}
    found["idle"] = {"how": {}, "peers": {"nessen": {"start": 8 << 20, "before": 9 << 20, "after": 10 << 20, "count": 1024, "first": 100}}}
    found["start"] = {"how": {}, "peers": {"nessen": {"runs": [9.0, 10.0, 11.0]}}}
    found["threads"] = {"how": {}, "peers": {"two workers": {"runs": [8.0, 9.0, 8.5]}}}
    found["size"] = {"how": {}, "peers": {"binary": 8_000_000, "image": 7_900_000, "name": "nessen:1"}}
    attack = {"users": period(2.0), "probes": period(2.0, 49.0), "peak": 7, "opened": 9, "sent": 9}
    found["attacks"] = {"how": {}, "peers": {"nessen": {"calm": {"users": period(1.0), "probes": period(1.0)}, hostile.TOGETHER: attack}}}
    return {"build": "x", "cases": found, "about": {"cores": 2, "architecture": "x86_64", "kernel": "Linux 6", "versions": ["Nessen 1"], "rounds": 3,
                                                    "seconds": 1, "skipped": ["node is not installed"]}}


@pytest.mark.parametrize(("values", "digits", "told"), [
    ([], 2, "-"), ([1.234], 2, "1.23"), ([3.0, 1.0, 2.0], 2, "2.00 (1.00 to 3.00)"), ([1000.4, 20000.0, 3.0], 0, "1 000 (3 to 20 000)"),
])
def test_a_figure_is_the_median_with_the_lowest_and_the_highest(values, digits, told):
    assert report.spread(values, digits) == told


def test_a_ratio_is_taken_within_each_round():
    """Not of two medians: what made a round dear made it so for both."""
    told = made()
    told["cases"]["small"]["peers"]["nessen"], told["cases"]["small"]["peers"]["nginx"] = rounds_of(2.0, 20.0, 4.0), rounds_of(1.0, 20.0, 1.0)
    assert report.ratios(told, "small", "nessen", "nginx") == [2.0, 1.0, 4.0]
    assert report.ratios(told, "small", "nessen", "nobody") == []


def test_a_case_is_a_row_of_nessen_and_one_of_the_library():
    lines = report.ratio_table(made()).splitlines()
    assert lines[0] == "| CPU per request of Nessen ÷ that of | nginx | HAProxy | bare hyper | axum::serve | Node http |"
    small = [line for line in lines if line.startswith("| small answer, 64 connections")]
    assert small[0] == "| small answer, 64 connections | 0.80 (0.60 to 1.00) | 0.80 (0.60 to 1.00) | 0.80 (0.60 to 1.00) | 0.80 (0.60 to 1.00) | 0.25 (0.20 to 0.30) |"
    assert small[1].startswith("| small answer, 64 connections, through a router |") and len(small) == 2
    # The buffered nginx stands in nginx's column.
    assert "| the same, nginx with `buffer=64k flush=1s` | 0.80 (0.60 to 1.00) | - | - | - | - |" in lines
    cpu = report.figure_table(made(), "cpu").splitlines()
    assert "| 404 | 5.00 (4.00 to 6.00) | 5.00 (5.00 to 10.00) | 5.00 (5.00 to 10.00) | - | - | - |" in cpu
    assert "| 404 | 200 000 (166 667 to 250 000) |" in report.figure_table(made(), "rate")


def test_lost_lines_are_told():
    told = made()
    assert report.lost(told) == "Log lines that Nessen dropped and counted: none."
    told["cases"]["log-pipe"]["peers"]["nessen"]["dropped"] = 7
    assert "to a pipe: 7 of 3000 lines." in report.lost(told)


def test_the_other_tables():
    found = report.sections(made())
    assert "**20 000 requests per second**, 64 connections, µs" in found["latency"] and "| Nessen | 20 | 30 | 40 | 1 234 | 0 |" in found["latency"]
    assert "| Nessen | 1.00 | 8 192 | 10 240 | 1124 |" in found["idle"]
    assert "| Nessen | 10.0 (9.0 to 11.0) |" in found["start"]
    assert "| two workers | 8.50 (8.00 to 9.00) |" in found["threads"]
    assert "| release binary | 8.0 MB |" in found["size"] and "| image | 7.9 MB (`nessen:1`) |" in found["size"]
    assert "| all together | Nessen | 7 | 1.0 → 2.0 | 1.0 | 0 | 1.0 → 2.0 | 49.0 | 0 |" in found["attacks"]
    assert found["machine"].endswith("3 rounds of 1 s.\nPassed over: node is not installed.")
    without = made()
    without["cases"]["size"]["peers"] = {"binary": 1, "why": "no Docker engine answers"}
    assert "| image | not measured: no Docker engine answers |" in report.sections(without)["size"]


def test_every_goal_is_judged_by_what_was_measured():
    assert [goal for goal in goals.judged(made()) if goal[3] is not True] == []
    bare = {"cases": {}}
    assert {(measured, reached) for *_, measured, reached in goals.judged(bare)} == {("not measured", None)}


@pytest.mark.parametrize(("case", "peer", "costs", "missed"), [
    ("small", "nessen", (5.1, 5.1, 10.1), {"CPU per request ≤ nginx"}),
    ("small", "hyper", (4.0, 4.5, 5.0), {"CPU per request ≤ 1.10 × bare hyper"}),
    ("small", "node", (9.0, 9.0, 9.0), {"10 × fewer CPU µs than Node's original, 5 × its bare http"}),
    ("small", "node", (4.0, 4.0, 4.0), {"10 × fewer CPU µs than Node's original, 5 × its bare http", "less CPU per request than Node's bare http"}),
    ("proxy-post", "haproxy", (3.0, 4.9, 7.0), {"CPU per request ≤ HAProxy"}),
])
def test_a_goal_that_was_missed_is_said(case, peer, costs, missed):
    told = made()
    told["cases"][case]["peers"][peer] = rounds_of(*costs)
    assert {goal[1] for goal in goals.judged(told) if goal[3] is False} == missed
    assert goals.table(told).count("**not reached**") >= len(missed)


@pytest.mark.parametrize(("change", "goal"), [
    (lambda told: told["idle"]["peers"]["nessen"].update(after=11 << 20), "≤ 1 KiB resident"),
    (lambda told: told["start"]["peers"]["nessen"].update(runs=[10.1]), "≤ 10 ms"),
    (lambda told: told["size"]["peers"].update(image=8_000_001), "≤ 8 MB"),
    (lambda told: told["attacks"]["peers"]["nessen"][hostile.TOGETHER].update(users=period(5.1)), "p99 of honest requests ≤ 2 × the calm one, or 5 ms"),
    (lambda told: told["attacks"]["peers"]["nessen"][hostile.TOGETHER].update(probes=period(2.0, 50.0)), "probes answered within 50 ms"),
])
def test_so_is_each_of_the_other_goals(change, goal):
    told = made()
    change(told["cases"])
    assert [judged[1] for judged in goals.judged(told) if judged[3] is False] == [goal]


def test_the_page_has_a_place_for_every_section():
    text = PERFORMANCE.read_text()
    wanted = set(report.sections(made())) | {"goals"} | {f"growth {name}" for name in growing.BY_NAME}
    assert wanted == set(re.findall(r"<!-- begin: (.*) -->", text))
    for name in wanted:
        assert len(re.findall(rf"<!-- begin: {name} -->\n.*?<!-- end: {name} -->", text, re.DOTALL)) == 1, name
    assert "<!-- begin: performance -->" in (support.ROOT / "README.md").read_text()


def test_the_page_is_written_only_when_nothing_is_missing(tmp_path, capsys):
    copy = tmp_path / "page.md"
    copy.write_text(PERFORMANCE.read_text() + "by hand\n")
    plan = bench.argparse.Namespace(no_page=False, page=str(copy))
    kept = results.Results(None, "x")
    kept.all = made()
    del kept.all["cases"]["404"]
    bench.publish(plan, kept)
    assert "not measured yet: 404" in capsys.readouterr().err and "0.80 (0.60 to 1.00)" not in copy.read_text()
    kept.all = made()
    bench.publish(plan, kept)
    assert copy.read_text().endswith("by hand\n") and "0.80 (0.60 to 1.00)" in copy.read_text()


def test_the_readme_gets_its_own_rows():
    lines = report.summary(made()).splitlines()
    assert lines[2].endswith("| Nessen 5.0 µs; bare hyper 5.0 µs; nginx 5.0 µs | `loadtest/bench --only small` |")
    assert lines[-1] == "| one idle keep-alive connection, resident | Nessen 1.0 KiB | `loadtest/bench --only idle` |"


def test_a_cell_cannot_break_a_table():
    assert page.table(("a",), [("b|c",)])[-1] == "| b\\|c |"


@pytest.mark.parametrize(("most", "marks"), [(0, [0, 1]), (1, [0, 0.5, 1.0]), (26.5, [0, 10, 20, 30]), (177.2, [0, 50, 100, 150, 200])])
def test_an_axis_has_round_marks(most, marks):
    assert plot.ticks(most) == pytest.approx(marks)


def test_a_plot_is_logarithmic_below_and_begins_at_nothing():
    text = plot.svg("Cost & more", "things", [("µs", {"Nessen": [(1, 0), (10, 10), (100, 20)], "nginx": [(1, 5)]})])
    tree = ElementTree.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    lines = [[tuple(map(float, pair.split(","))) for pair in line.get("points").split()] for line in tree.iter(f"{space}polyline")]
    (one, ten, hundred), (other,) = lines
    assert hundred[0] - ten[0] == pytest.approx(ten[0] - one[0], abs=0.2)
    assert one[1] - ten[1] == pytest.approx(ten[1] - hundred[1], abs=0.2) and one[1] == plot.TOP + plot.HIGH
    words = [each.text for each in tree.iter(f"{space}text")]
    assert {"Cost & more", "things", "µs", "Nessen", "nginx", "1", "10", "100", "0", "20"} <= set(words)


def test_points_that_one_server_has_not_are_left_out(tmp_path):
    point = {"at": 1, "cpu": 5.0, "resident": 1 << 20, "start": 1, "took": 3.4}
    kept = results.Results(None, "x")
    kept.put("routes", [], {"nessen": [point], "nginx": [point, point | {"at": 10, "resident": 2 << 20}]})
    text = growth.sections(kept)["growth routes"]
    assert text.startswith("![Cost by routes](growth-routes.svg)\n")
    assert "| 1 | 5.00 | 5.00 | 1.0 | 1.0 | 3 | 3 |" in text and "| 10 | - | 5.00 | - | 2.0 | - | 3 |" in text
    plan = growth.argparse.Namespace(page=str(tmp_path / "page.md"))
    (tmp_path / "page.md").write_text("<!-- begin: growth routes -->\n<!-- end: growth routes -->\n")
    growth.publish(plan, kept)
    assert "| 10 | - |" in (tmp_path / "page.md").read_text()
    ElementTree.fromstring((tmp_path / "growth-routes.svg").read_text())


@pytest.mark.parametrize(("arguments", "says"), [
    (["--only", "routes,nothing"], "no such curve: nothing"),
    (["--binary", "/nowhere"], "/nowhere is not there: cargo build --release"),
])
def test_what_cannot_be_run_is_said(arguments, says, bare):
    done = run(LOADTEST / "growth", "--short", "--no-build", *arguments)
    assert done.returncode == 2 and says in done.stderr, done.stderr


def test_the_short_curves_are_measured(bare, binary):
    support.need("nginx")
    done = run(LOADTEST / "growth", "--short", "--no-build", "--only", "connections,routes,clients", "--json", "-", "--binary", binary)
    assert done.returncode == 0, done.stderr
    told = growth.json.loads(done.stdout)["cases"]
    assert set(told) == {"connections", "routes", "clients"}
    for name, case in told.items():
        assert set(case["peers"]) == set(growing.BY_NAME[name].peers)
        for points in case["peers"].values():
            assert [point["at"] for point in points] == growing.BY_NAME[name].up_to(growth.SHORT)
            assert all(1 < point["cpu"] < 5000 and point["resident"] > 1 << 20 for point in points), points
    assert all(0 < point["took"] < 5000 for point in told["routes"]["peers"]["nessen"])
