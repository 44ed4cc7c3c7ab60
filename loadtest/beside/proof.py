"""That what was measured was the whole server: it counted every request, and its limits refuse."""
import urllib.request

import counters
from rounds import Failed, ask


def url(server):
    return f"http://127.0.0.1:{server.port}/metrics"


def reading(server):
    return counters.settled(url(server))


def counted(server, before, answered, at_once, refused=None):
    """The metrics have every request of a load, and a refusal for each that was to be refused.

    At its end up to `at_once` more were under way."""
    seen = counters.between(before, reading(server))
    if not answered <= seen["counted"] <= answered + at_once:
        raise Failed(f"{server.name} counted {seen['counted']} requests of {answered}")
    if refused:
        if not answered <= seen["refusals"].pop(refused, 0) <= answered + at_once:
            raise Failed(f"{server.name} did not count every {refused}")
    # A load that ends leaves requests behind that will never be whole.
    others = {reason: number for reason, number in seen["refusals"].items() if reason != "malformed_request" or number > at_once}
    if others:
        raise Failed(f"{server.name} refused requests: {others}")


def limits(server):
    """Two limits that nobody set refuse what is over them, and are counted; the memory of clients is bounded."""
    before = reading(server)["refusals"]
    for limit, reason, status, path, fields in (("max_url_length", "url_too_long", 414, "/" + "a" * 9000, ""),
                                                ("max_header_count", "too_many_headers", 431, "/", "".join(f"x-{n}: a\r\n" for n in range(120)))):
        got, _ = ask(server.port, path, fields)
        after = reading(server)["refusals"]
        if got != status or after.get(reason, 0) != before.get(reason, 0) + 1:
            raise Failed(f"{server.name}: limits.{limit} is off: {got} instead of {status}")
    if series(server, "nessen_memory_bound_bytes") <= 0:
        raise Failed(f"{server.name}: limits.memory is off")


def text(server):
    with urllib.request.urlopen(url(server), timeout=5) as answer:
        return answer.read().decode()


def series(server, name):
    """The sum of a metric over its labels."""
    return sum(float(value) for found, _, value in counters.SERIES.findall(text(server)) if found == name)


def passed(server):
    """nginx asked its rate limit."""
    if "\r\nLimit: PASSED\r\n" not in ask(server.port)[1]:
        raise Failed("limit_req of nginx was not asked")
