"""What a PromQL expression names, and which metrics there are."""

import re

import pytest

from . import tools

# Words of the language that stand where a metric's name could.
WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "offset", "bool"}
# Labels that come from who scrapes, not from what is scraped.
TARGET_LABELS = {"job", "instance", "namespace", "pod"}
# Series of others. Not every Prometheus has them, and the rules do without.
FOREIGN = {
    "up": TARGET_LABELS,
    "kube_pod_container_status_restarts_total": {"namespace", "pod", "container"},
    "kube_pod_container_status_last_terminated_exitcode": {"namespace", "pod", "container"},
    # Of a user's own rules: see deploy/prometheus/rules.yml.
    "nessen:latency_exempt_route": {"route"},
}
MACROS = {"$__rate_interval": "5m", "$__interval": "15s", "$__range": "1h"}

STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
GROUPING = re.compile(r"\b(by|without|on|ignoring)\s*\(([^)]*)\)")
SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{(?:[^}\"]|\"(?:[^\"\\]|\\.)*\")*\})?")
MATCHER = re.compile(r"([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)\s*\"")


def plain(expr, variables):
    """The expression as Prometheus gets it: Grafana's variables and macros put in."""
    for name, value in {**MACROS, **{f"${name}": value for name, value in variables.items()}}.items():
        expr = expr.replace(name, value)
    assert "$" not in STRING.sub("", expr) and not re.search(r'"[^"]*\$\w', expr), f"a variable is left: {expr}"
    return expr


def selectors(expr):
    """Each (metric, matchers as written) of an expression."""
    bare = GROUPING.sub(" ", expr)
    bare = re.sub(r"\[[^\]]*\]", " ", bare)
    bare = re.sub(r"\boffset\s+\w+", " ", bare)
    found = []
    # Strings outside of matchers are arguments, such as those of label_replace.
    for token in re.finditer(rf"{STRING.pattern}|{SELECTOR.pattern}", bare):
        name, matchers = token[1], token[2] or ""
        if name is None or name.lower() in WORDS or re.match(r"[\d.]", name):
            continue
        if not matchers and bare[token.end() :].lstrip().startswith("("):
            continue  # a function or an aggregation
        if re.search(r"\d$", bare[: token.start()]):
            continue  # the unit of a number
        found.append((name, matchers))
    return found


def labels(expr):
    """Labels that an expression groups or matches by, with no metric named."""
    grouped = [label.strip() for _, inside in GROUPING.findall(expr) for label in inside.split(",")]
    return {label for label in grouped if label}


def matched(matchers):
    return set(MATCHER.findall(matchers))


def scraped(text):
    """{metric: labels} of a scrape, in the text format."""
    known = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, rest = re.match(r"([a-zA-Z_:][\w:]*)(\{.*\})?", line).groups()
            known.setdefault(name, set()).update(re.findall(r'(\w+)="', rest or ""))
    return known


def check_names(expr, known):
    """Every metric is in `known`, and every label is one of its own or of the target's."""
    used = set(TARGET_LABELS)
    for name, matchers in selectors(expr):
        assert name in known, f"there is no {name}: {expr}"
        own = known[name] | TARGET_LABELS
        assert matched(matchers) <= own, f"{name} has no label {matched(matchers) - own}: {expr}"
        used |= own
    assert labels(expr) <= used, f"no metric here has a label {labels(expr) - used}: {expr}"


def check_parses(expressions, folder):
    """promtool takes each of them; it is asked by way of recording rules."""
    rules = [f"      - record: r{at}\n        expr: {_quoted(expr)}" for at, expr in enumerate(expressions)]
    path = folder / "expressions.yml"
    path.write_text("groups:\n  - name: all\n    rules:\n" + "\n".join(rules) + "\n")
    done = tools.run(tools.need("promtool"), "check", "rules", path, check=False)
    if done.returncode != 0:
        pytest.fail(f"{done.stdout}{done.stderr}", pytrace=False)
    assert f"{len(rules)} rules found" in done.stdout


def _quoted(text):
    return "'" + text.replace("'", "''") + "'"
