"""The systemd units, as they are written. What Nessen does under them is in test_systemd_life.py."""

import json
import os
import shutil

import pytest

from support import tools
from support.settings import MARGIN, drain, effective, seconds
from support.units import SERVICE, UNITS, directives, one

# What `systemd-analyze security` may find, and why.
OPEN = {
    "RootDirectoryOrRootImage": "the binary is the host's, and so are the files that it may serve",
    "RestrictAddressFamilies_AF_UNIX": "sd_notify",
    "RestrictAddressFamilies_AF_INET_INET6": "it is a server",
    "ProcSubset": "/proc/meminfo and /proc/stat",
    "PrivateNetwork": "it is a server",
    "DeviceAllow": "ProtectClock= itself lets the clock be read",
    "IPAddressDeny": "whom it serves, the machine's owner says: in a drop-in",
}


def environment():
    """nessen.env, as systemd reads it."""
    return {name: values[0] for name, values in directives(UNITS / "nessen.env").items()}


@pytest.fixture
def installed(tmp_path, binary):
    """A root with the units where their comments say, beside systemd's own."""
    systemd = next((path for path in ("/usr/lib/systemd", "/lib/systemd") if os.path.isdir(path)), None)
    if systemd is None:
        tools.absent("systemd's units are not installed")
    shutil.copytree(f"{systemd}/system", tmp_path / "usr/lib/systemd/system", symlinks=True)
    for folder in ("etc/systemd/system", "etc/nessen", "usr/local/bin", "bin"):
        (tmp_path / folder).mkdir(parents=True)
    for unit in ("nessen.service", "nessen.socket"):
        shutil.copy(UNITS / unit, tmp_path / "etc/systemd/system")
    shutil.copy(UNITS / "nessen.env", tmp_path / "etc/nessen")
    shutil.copy(binary, tmp_path / "usr/local/bin/nessen")
    shutil.copy("/bin/kill", tmp_path / "bin")
    return tmp_path


def test_systemd_knows_every_directive(installed):
    analyze = tools.need("systemd-analyze")
    done = tools.run(analyze, "verify", f"--root={installed}", "--man=no", "nessen.service", "nessen.socket")
    # An unknown key is only warned of.
    assert [line for line in (done.stdout + done.stderr).splitlines() if "nessen" in line] == []


def test_the_service_is_closed_but_for_what_a_server_needs():
    analyze = tools.need("systemd-analyze")
    done = tools.run(analyze, "security", "--offline=true", "--json=short", "--no-pager", SERVICE)
    found = {check["json_field"] for check in json.loads(done.stdout) if check["exposure"]}
    assert found == set(OPEN)
    # On these alone the rest depends, and they weigh little.
    assert one("DynamicUser") == "yes" and one("CapabilityBoundingSet") == "" and one("AmbientCapabilities") == ""


def test_the_environment_is_known_and_the_drain_fits_before_the_kill(binary):
    values = effective(binary, environment())
    assert seconds(one("TimeoutStopSec")) >= drain(values) + MARGIN
    assert one("EnvironmentFile") == "/etc/nessen/nessen.env", "a path without -: a missing file is an error"
    assert one("KillSignal") == "SIGTERM"


def test_the_listener_is_the_port_of_the_environment(binary):
    listener = directives(UNITS / "nessen.socket")
    assert listener["ListenStream"] == [effective(binary, environment())["server.port"]]
    assert listener["FileDescriptorName"] == ["http"]


def test_what_cannot_get_better_is_not_started_again(binary):
    prevented = set(one("RestartPreventExitStatus").split())
    usage = tools.run(binary, "serve", "--no-such-flag", check=False)
    wrong = tools.run(binary, "serve", check=False, env={"PORT": "no number"})
    assert {str(usage.returncode), str(wrong.returncode)} == {"2", "78"}
    assert prevented == {"2", "3", "78"}
    assert "SuccessExitStatus" not in directives(SERVICE), "work that was cut off is no success"


def test_a_reload_is_checked_before_it_is_asked_for():
    assert directives(SERVICE)["ExecReload"] == ["/usr/local/bin/nessen check", "/bin/kill -HUP $MAINPID"]
