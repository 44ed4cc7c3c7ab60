"""What the binary can be set to: the names of its keys, and its own word on values."""

import functools
import re
import subprocess

# How a number of seconds is written.
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


@functools.cache
def names(binary):
    """Every environment variable that Nessen knows, but for NAME_FILE: of the reference that it prints."""
    reference = subprocess.run([str(binary), "config", "reference"], capture_output=True, text=True, check=True).stdout
    found = set()
    for line in reference.splitlines():
        cells = line.split(" | ")
        if len(cells) >= 4 and line.startswith("| `"):
            found.update(name for name in re.findall(r"`([A-Z][A-Z0-9_]+)`", cells[1]))
    assert "DRAIN_DELAY" in found and "NESSEN_SHUTDOWN_DRAIN_DELAY" in found, "the reference is written otherwise"
    return frozenset(found | {"NESSEN_CONFIG"})


def unknown(binary, environment):
    """Those of the variables that mean nothing to Nessen."""
    known = names(binary)
    return sorted(name for name in environment if name not in known and name.removesuffix("_FILE") not in known)


def check(binary, environment, cwd=None):
    """`nessen check` with exactly this environment: (exit code, what it says)."""
    done = subprocess.run(
        [str(binary), "check"], env=dict(environment), cwd=cwd, capture_output=True, text=True, timeout=30
    )
    return done.returncode, done.stdout + done.stderr


def seconds(text, unit=0.001):
    """A duration as Nessen reads it; a bare integer is in `unit`s, milliseconds unless the name says otherwise."""
    text = str(text).strip()
    if re.fullmatch(r"\d+", text):
        return int(text) * unit
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|s|m|h)", text.replace(" ", ""))
    assert parts and "".join(number + unit for number, unit in parts) == text.replace(" ", ""), f"no duration: {text}"
    return sum(float(number) * UNITS[unit] for number, unit in parts)


def drain(environment):
    """(drain_delay, drain_timeout) in seconds, of an environment or by default."""

    def value(default, *aliases):
        for name in aliases:
            if environment.get(name):
                return seconds(environment[name], 1 if name.endswith("_SECONDS") else 0.001)
        return default

    return (
        value(5, "NESSEN_SHUTDOWN_DRAIN_DELAY", "DRAIN_DELAY"),
        value(30, "NESSEN_SHUTDOWN_DRAIN_TIMEOUT", "SHUTDOWN_TIMEOUT", "SHUTDOWN_DRAIN_TIMEOUT_SECONDS"),
    )
