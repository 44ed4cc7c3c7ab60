"""The load generators that `run` knows: how each is called, and how its answer is read.

A result is a dictionary: requests that were answered, rate in requests/s, p50 and p99 in milliseconds
(None where the tool does not tell), errors (no answer at all), refused (an answer that is not a good
one), and notes.
"""
import json, os, re, subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
KEPT, NEW, POST, HTTP2, MIX = "GET, kept open", "GET, new connection", "POST, kept open", "HTTP/2 GET", "mix and limits"
UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0, "h": 3_600_000.0}


class Unread(Exception):
    """The tool's output is not what it should be."""


def result(requests, rate, p50=None, p99=None, errors=0, refused=0, notes=()):
    return {"requests": requests, "rate": rate, "p50": p50, "p99": p99, "errors": errors, "refused": refused,
            "notes": list(notes)}


def number(pattern, text, default=None):
    found = re.search(pattern, text, re.MULTILINE)
    if not found and default is None:
        raise Unread(f"no /{pattern}/ in its output: {text.strip()[-300:] or 'nothing'}")
    return float(found.group(1)) if found else default


def rank(ordered, share):
    """The value that `share` of the sorted ones do not exceed."""
    return ordered[max(0, -(-len(ordered) * share // 100) - 1)] if ordered else None


class Wrk:
    name, scenarios = "wrk", (KEPT, NEW, POST)

    def command(self, plan, scenario, scratch):
        command = ["wrk", f"-t{plan.threads}", f"-c{plan.connections}", f"-d{plan.duration}s", "--latency",
                   "-s", os.path.join(HERE, "wrk.lua"), plan.url + (plan.post if scenario == POST else plan.get), "--"]
        return command + {KEPT: ["gets=1", "posts=0"], NEW: ["gets=1", "posts=0", "close=1"],
                          POST: ["gets=0", "posts=1", f"post={plan.post}", f"bytes={plan.bytes}"]}[scenario]

    def parse(self, text, scratch=None):
        errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)

        def percentile(share):
            found = re.search(rf"^\s+{share}%\s+([\d.]+)(us|ms|s|m|h)$", text, re.MULTILINE)
            return float(found.group(1)) * UNITS[found.group(2)] if found else None

        statuses = re.findall(r"^status (\d+): (\d+)$", text, re.MULTILINE)
        return result(int(number(r"(\d+) requests in ", text)), number(r"Requests/sec:\s+([\d.]+)", text),
                      percentile(50), percentile(99), sum(map(int, errors.groups())) if errors else 0,
                      int(number(r"Non-2xx or 3xx responses: (\d+)", text, 0)),
                      [f"{many} answers with status {status}" for status, many in statuses])


class Ab:
    name, scenarios = "ab", (KEPT, NEW, POST)

    def command(self, plan, scenario, scratch):
        # -n after -t, which sets it to 50000; -l: pages differ in length; -r: goes on after a reset.
        command = ["ab", "-q", "-l", "-r", f"-t{plan.duration}", f"-n{plan.duration * 200_000}", f"-c{plan.connections}",
                   "-e", os.path.join(scratch, "ab.csv")]
        if scenario != NEW:
            command.append("-k")
        if scenario == POST:
            return command + ["-p", plan.body, "-T", "application/octet-stream", plan.url + plan.post]
        return command + [plan.url + plan.get]

    def parse(self, text, scratch=None):
        """Its table has whole milliseconds; the file of -e has three digits more."""
        shares = dict(re.findall(r"^\s+(\d+)%\s+(\d+)", text, re.MULTILINE))
        path = os.path.join(scratch, "ab.csv") if scratch else ""
        if os.path.isfile(path):
            with open(path) as file:
                shares.update(re.findall(r"^(\d+),([\d.]+)$", file.read(), re.MULTILINE))
        p50, p99 = (float(shares[share]) if share in shares else None for share in ("50", "99"))
        detail = re.search(r"\(Connect: (\d+), Receive: (\d+), Length: \d+, Exceptions: (\d+)\)", text)
        return result(int(number(r"^Complete requests:\s+(\d+)", text)),
                      number(r"^Requests per second:\s+([\d.]+)", text), p50, p99,
                      sum(map(int, detail.groups())) if detail else int(number(r"^Failed requests:\s+(\d+)", text)),
                      int(number(r"^Non-2xx responses:\s+(\d+)", text, 0)))


class H2load:
    name, scenarios = "h2load", (KEPT, POST, HTTP2)

    def command(self, plan, scenario, scratch):
        command = ["h2load", f"-t{plan.threads}", f"-c{plan.connections}", f"-D{plan.duration}",
                   "--log-file", os.path.join(scratch, "h2load.log")]
        if scenario == HTTP2:
            return command + [f"-m{plan.streams}", plan.url + plan.get]
        if scenario == POST:
            return command + ["--h1", "-d", plan.body, plan.url + plan.post]
        return command + ["--h1", plan.url + plan.get]

    def parse(self, text, scratch=None):
        """It tells no percentiles: they are taken from its log, as is the time in which it did send."""
        good = int(number(r"^requests: .* (\d+) succeeded", text))
        done, errored = int(number(r"^requests: .* (\d+) done", text)), int(number(r" (\d+) errored", text))
        rate, p50, p99, notes = number(r"^finished in \S+ ([\d.]+) req/s", text), None, None, []
        seconds = number(r"^finished in ([\d.]+)s", text, 0.0)
        path = os.path.join(scratch, "h2load.log") if scratch else ""
        if os.path.isfile(path):
            times, first, last = [], float("inf"), 0
            with open(path) as file:
                for line in file:
                    fields = line.split()
                    if len(fields) == 3 and fields[1].isdecimal():  # -1: no answer came
                        start, took = int(fields[0]), int(fields[2])
                        times.append(took)
                        first, last = min(first, start), max(last, start + took)
            times.sort()
            p50, p99 = (took and took / 1000 for took in (rank(times, 50), rank(times, 99)))
            busy = (last - first) / 1e6 if times else 0
            if 0 < busy < 0.9 * seconds:
                rate = len(times) / busy
                notes.append(f"it sent for {busy:.1f} s of {seconds:.1f} s, and its rate is of those: it opens no "
                             "connection again after limits.max_requests_per_connection, and counts as an error "
                             "what it had sent beyond")
        return result(done, rate, p50, p99, errored, done - good - errored, notes)


class Oha:
    name, scenarios = "oha", (KEPT, NEW, POST, HTTP2)

    def command(self, plan, scenario, scratch):
        usage = subprocess.run(["oha", "--help"], capture_output=True, text=True, timeout=10).stdout
        form = ["--output-format", "json"] if "--output-format" in usage else ["--json"]
        command = ["oha", "--no-tui", *form, "-z", f"{plan.duration}s", "-c", str(plan.connections)]
        command += {KEPT: [], NEW: ["--disable-keepalive"], POST: ["-m", "POST", "-D", plan.body],
                    HTTP2: ["--http2", "-p", str(plan.streams)]}[scenario]
        return command + [plan.url + (plan.post if scenario == POST else plan.get)]

    def parse(self, text, scratch=None):
        """Times are in seconds. What it cut off itself at the end is no error of the server's."""
        try:
            told = json.loads(text[text.index("{"):])
            statuses, percentiles = told["statusCodeDistribution"], told["latencyPercentiles"]
            requests = sum(statuses.values())
            errors = {why: many for why, many in told["errorDistribution"].items() if why != "aborted due to deadline"}
            p50, p99 = (None if percentiles.get(p) is None else percentiles[p] * 1000 for p in ("p50", "p99"))
            rate = requests / told["summary"]["total"]
        except (ValueError, KeyError, TypeError, AttributeError, ZeroDivisionError) as error:
            raise Unread(f"not the JSON of oha: {error!r}") from error
        bad = {status: many for status, many in statuses.items() if not status.startswith(("2", "3"))}
        notes = [f"{many} answers with status {status}" for status, many in bad.items()]
        return result(requests, rate, p50, p99, sum(errors.values()), sum(bad.values()),
                      notes + [f"{many} x {why}" for why, many in errors.items()])


class K6:
    name, scenarios = "k6", (MIX,)

    def command(self, plan, scenario, scratch):
        settings = {"BASE_URL": plan.url, "VUS": plan.connections, "DURATION": f"{plan.duration}s", "RAMP": "1s",
                    "GET_PATH": plan.get, "POST_PATH": plan.post, "POST_BYTES": plan.bytes}
        command = ["k6", "run", "--quiet", "--no-usage-report", "--summary-export", os.path.join(scratch, "k6.json")]
        for name, value in settings.items():
            command += ["-e", f"{name}={value}"]
        return command + [os.path.join(HERE, "k6.js")]

    def parse(self, text, scratch=None):
        """Both forms of the summary: metrics by name with bare values, and a list with `values`."""
        if scratch:
            try:
                with open(os.path.join(scratch, "k6.json")) as file:
                    text = file.read()
            except OSError as error:
                raise Unread(f"it wrote no summary: {text.strip()[-300:]}") from error
        try:
            told = json.loads(text)
            metrics = told["results"]["metrics"] if "results" in told else told["metrics"]
            if isinstance(metrics, list):
                metrics = {metric["name"]: metric for metric in metrics}
            values = {name: metric.get("values", metric) for name, metric in metrics.items()}
            sent, times, failed = values["http_reqs"], values["http_req_duration"], values["http_req_failed"]
            share = failed["rate"] if "rate" in failed else failed["value"]
            crossed = [f"threshold crossed: {name} {rule}" for name, metric in metrics.items()
                       for rule, state in metric.get("thresholds", {}).items()
                       if state is True or isinstance(state, dict) and not state.get("ok", True)]
            return result(int(sent["count"]), sent["rate"], times.get("med"), times.get("p(99)"), 0,
                          round(share * sent["count"]), crossed)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unread(f"not a summary of k6: {error!r}") from error


ALL = (Wrk(), Ab(), H2load(), Oha(), K6())
