"""What a manifest's environment comes to, asked of the binary itself."""

import re

from support import tools

MARGIN = 5.0
LEAST_MEMORY = 64 << 20
UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
VALUE = re.compile(r"^(\w+\.\w+) +(.+?) {2,}(?:default|environment|file|flag)\b", re.MULTILINE)
ORIGIN = re.compile(r" environment (\w+)$", re.MULTILINE)


def effective(binary, environment, foreign=()):
    """Every key as `nessen check` prints it, with this environment alone. A mistake in it fails, and so does
    a name that no key has, unless it is a `foreign` one: without NESSEN_ before it the binary passes it over."""
    done = tools.run(binary, "check", env={name: str(value) for name, value in environment.items()}, check=False)
    assert done.returncode == 0, f"nessen check: exit {done.returncode}\n{done.stdout}{done.stderr}"
    unknown = set(environment) - set(foreign) - set(ORIGIN.findall(done.stdout))
    assert not unknown, f"no key has the names {sorted(unknown)}"
    values = dict(VALUE.findall(done.stdout))
    assert "shutdown.drain_delay" in values, f"not understood:\n{done.stdout}"
    return values


def seconds(text):
    """The seconds of a duration as systemd, protobuf and Nessen write it: 45s, 1m30s, 500ms; 45 is seconds."""
    parts = re.findall(r"(\d+)(ms|h|m|s)", text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return sum(int(number) * UNITS[unit] for number, unit in parts)
    return float(text)


def drain(values):
    """How long a drain may take."""
    return seconds(values["shutdown.drain_delay"]) + seconds(values["shutdown.drain_timeout"])


def auto_memory(limit):
    """What `limits.memory` takes of a cgroup limit in bytes, for manifests whose limit is not this machine's."""
    assert limit >= LEAST_MEMORY, "less than what Nessen is tested with"
    return limit * 7 // 10 - (16 << 20)
