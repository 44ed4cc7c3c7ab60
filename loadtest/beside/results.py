"""What was measured so far, in a file: a run that was stopped goes on where it was."""
import hashlib, json, os, subprocess, sys

import confined, rounds

from . import peers


class Results:
    """By name, each with how it was measured. They are of one build: those of another are forgotten."""

    def __init__(self, path, build, fresh=False):
        self.path, self.all = path, {"build": build, "cases": {}}
        if path and os.path.isfile(path) and not fresh:
            with open(path) as file:
                kept = json.load(file)
            if kept["build"] == build:
                self.all = kept
            else:
                print(f"{path} is of another build: all is measured again", file=sys.stderr)

    def has(self, name, how):
        return self.all["cases"].get(name, {}).get("how") == how

    def put(self, name, how, found):
        self.all["cases"][name] = {"how": how, "peers": found}
        self.write()

    def write(self):
        if self.path:
            os.makedirs(os.path.dirname(os.path.abspath(self.path)), exist_ok=True)
            with open(self.path + ".new", "w") as file:
                json.dump(self.all, file, indent=1)
            os.replace(self.path + ".new", self.path)


def build_bare():
    """The bare servers, the library's and the load at a fixed rate, with what cargo says of it on standard error."""
    manifest = os.path.join(peers.HERE, "..", "bare", "Cargo.toml")
    if subprocess.run(["cargo", "build", "--release", "--manifest-path", manifest], stdout=sys.stderr).returncode:
        raise confined.Missing("loadtest/bare was not built")


def build_of(binary):
    """The binaries that are ours, in short."""
    if not os.access(binary, os.X_OK):
        raise confined.Missing(f"{binary} is not there: cargo build --release")
    told = hashlib.sha256()
    for path in (binary, *(os.path.join(peers.BARE, name) for name in (*sorted(peers.BUILT.values()), "paced"))):
        if os.path.isfile(path):
            with open(path, "rb") as file:
                told.update(hashlib.sha256(file.read()).digest())
    return told.hexdigest()


def version(command, pattern):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except OSError:
        return None
    return peers.found(pattern, done.stdout + done.stderr)


def versions(binary):
    """Of everything that has a part in the figures."""
    asked = {"Nessen": ([binary, "--version"], r"(\d\S+)"), "nginx": (["nginx", "-v"], r"nginx/(\S+)"), "HAProxy": (["haproxy", "-v"], r"version (\d[\d.]+\d)"),
             "Node": (["node", "--version"], r"v(\S+)"), "wrk": (["wrk", "--version"], r"wrk \S*?(\d[\d.]*\d)"),
             "h2load": (["h2load", "--version"], r"nghttp2/(\S+)")}
    named = [(name, version(*how)) for name, how in asked.items()]
    locked = confined.read(os.path.join(peers.HERE, "..", "bare", "Cargo.lock"), "")
    named += [(name, peers.found(rf'name = "{name}"\nversion = "([^"]+)"', locked)) for name in ("hyper", "axum", "tokio")]
    return [f"{name} {number}" for name, number in named if number]


def machine():
    if len(rounds.CORES) < 2:
        raise confined.Missing("it needs two cores: one for the server, one for the load")
    name = os.uname()
    return {"cores": len(rounds.CORES), "kernel": f"{name.sysname} {name.release.split('-')[0]}", "architecture": name.machine}
