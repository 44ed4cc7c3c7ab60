"""What reads the generators' output and the server's metrics.

Recorded outputs are in data/loadtest. Those of wrk, ab and h2load were recorded from runs against Nessen;
oha.json follows the schema that comes with oha 1.16, and the two of k6 its documented summaries.
"""

import pytest
from support.loadtest import DATA, counters, tools


def text(name):
    return (DATA / name).read_text()


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
    lines.append("1001000\t-1\t1999000")  # a stream that was not answered, told at the end
    (tmp_path / "h2load.log").write_text("\n".join(lines) + "\n")
    logged = tools.H2load().parse(text("h2load.txt"), tmp_path)
    assert (logged["p50"], logged["p99"]) == (51.0, 100.0)
    assert logged["rate"] == pytest.approx(100 / 0.5)
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
