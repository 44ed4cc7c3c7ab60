"""The systemd units, read."""

from support import tools

UNITS = tools.ROOT / "deploy/systemd"
SERVICE = UNITS / "nessen.service"


def directives(path):
    """{"TimeoutStopSec": ["45s"], ...}: of one that stands several times, every value."""
    found = {}
    for line in path.read_text().splitlines():
        if line and line[0] not in "#;[":
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def one(name):
    """The value of a directive of the service that stands there once."""
    values = directives(SERVICE)[name]
    assert len(values) == 1, name
    return values[0]
