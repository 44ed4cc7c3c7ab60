"""The environment variables that Nessen knows, and what it makes of those that a container is given."""

import functools
import re

from support import settings, tools

# What names a file is looked at where that file is; a place to fill in is for the tests of that manifest.
ELSEWHERE = re.compile(r"\w+_FILE|NESSEN_CONFIG|TLS_(CERT|KEY)|NESSEN_TLS_\w+|NESSEN_\w+_CA")
TO_FILL_IN = re.compile(r"<[\w-]+>")
# What manifests take from Secrets, which are not in them, and other settings ask for: where none is given otherwise.
SECRETS = {
    "REDIS_URL": "redis://redis.example",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector.example:4318",
    "AWS_ACCESS_KEY_ID": "a-key",
    "AWS_SECRET_ACCESS_KEY": "its-other-part",
}


@functools.cache
def names(binary):
    """Every variable but NAME_FILE: of the reference that the binary prints."""
    found = {"NESSEN_CONFIG"}
    for line in tools.run(binary, "config", "reference", env={}).stdout.splitlines():
        cells = line.split(" | ")
        if len(cells) >= 4 and line.startswith("| `"):
            found.update(re.findall(r"`([A-Z][A-Z0-9_]+)`", cells[1]))
    assert {"DRAIN_DELAY", "NESSEN_SHUTDOWN_DRAIN_DELAY"} <= found, "the reference is written otherwise"
    return frozenset(found)


def unknown(binary, environment):
    """Those of the variables that mean nothing to Nessen; one that is empty is looked at too."""
    known = names(binary)
    return sorted(name for name in environment if name not in known and name.removesuffix("_FILE") not in known)


def effective(binary, environment, files=False):
    """Every key with this environment, which has to be right; with `files`, those that it names are there."""
    assert not unknown(binary, environment), f"no key has the names {unknown(binary, environment)}"
    given = {
        name: value
        for name, value in environment.items()
        if value != "" and not TO_FILL_IN.search(value) and (files or not ELSEWHERE.fullmatch(name))
    }
    missing = {name: value for name, value in SECRETS.items() if not {name, f"{name}_FILE"} & set(given)}
    return settings.effective(binary, {**missing, **given}, foreign=given)
