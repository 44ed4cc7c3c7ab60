#!/usr/bin/env python3
"""TLS on Nessen and on nginx, in one run: what a full handshake costs, and a request on a connection that is kept.

    cargo build --release && loadtest/beside/tls.py     # about a minute

Both have one core and the load the other, one worker, the same certificate, TLS 1.3 and the same suite. Handshakes are
full ones, each with one request (ab, which resumes nothing); requests go over 64 kept connections (wrk; h2load: 16), those
for a file over 8. The figures are of the server's CPU time. Exit code: 0 measured, 1 a request failed, 2 it could not be run.
"""
import argparse, os, re, shutil, statistics, subprocess, sys, tempfile, time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
from rounds import Failed, Server, free_port, pin, LOAD_CORE, whole
from beside import loads, peers

SUITES = {"aes128": "TLS_AES_128_GCM_SHA256", "aes256": "TLS_AES_256_GCM_SHA384"}
KEYS = {"ECDSA P-256": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "RSA 2048": ["rsa:2048"]}


def identity(folder, name, how):
    paths = [os.path.join(folder, f"{name.split()[0]}.{end}") for end in ("pem", "key")]
    subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey", *how, "-days", "30", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost", "-out", paths[0], "-keyout", paths[1]], check=True, capture_output=True)
    return paths


class Secure(Server):
    """A server that is asked for its health by plain HTTP on another port."""

    def __init__(self, name, site, role, certificate, key):
        self.secure, plain = free_port(), free_port()
        if name == "nessen":
            command, env, _ = peers.command("nessen", role, site)
            env |= {"PORT": str(self.secure), "TLS_CERT": certificate, "TLS_KEY": key, "ADMIN_PORT": str(plain)}
        else:
            ssl = f"ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:s:10m;"
            both = f'server {{ listen 127.0.0.1:{plain}; location / {{ return 200 "ok"; }} }}'
            answer = f"location / {{ root {site.files}; }}" if role == "files" else f'location / {{ return 200 "{peers.TEXT}"; }}'
            command, env = peers.nginx_command(site, self.secure, f"{ssl} {answer}", both, "ssl http2"), None
        super().__init__(peers.LABELS[name], command, plain, env, errors=site.errors)


def ab(port, count):
    """Full handshakes, each with a request; (how many, failures)."""
    command = ["ab", "-q", "-n", str(count), "-c", "16", "-f", "TLS1.3", f"https://localhost:{port}/"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, preexec_fn=pin(LOAD_CORE))
    found = lambda what: int((re.search(rf"{what}:\s+(\d+)", done.stdout) or [0, 0])[1])
    return found("Complete requests"), found("Failed requests") + found("Non-2xx responses")


def handshakes(server, seconds):
    done, failed = ab(server.secure, 400 * seconds)
    return done, failed


def requests(server, seconds, kind="get", connections=64, path="/"):
    told = loads.fast(f"https://localhost:{server.secure}{path}", kind, connections, seconds)
    return told["requests"], told["errors"] + told["refused"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=whole(1, 20), default=3, metavar="N", help="of each case, to 20 (%(default)s)")
    parser.add_argument("--seconds", type=whole(1, 10), default=2, metavar="S", help="of load in a round, to 10 (%(default)s)")
    parser.add_argument("--binary", default=os.path.join(HERE, "..", "..", "target", "release", "nessen"), metavar="FILE")
    plan = parser.parse_args()
    missing = [name for name in ("nginx", "ab", "wrk", "h2load", "openssl") if not shutil.which(name)]
    if missing or not os.access(plan.binary, os.X_OK):
        print(f"not there: {', '.join(missing) or plan.binary}", file=sys.stderr)
        return 2
    cases = [(f"full handshake and a request, {key}", "small", key, handshakes) for key in KEYS]
    cases += [("request, HTTP/1.1, kept", "small", "ECDSA P-256", requests),
              ("request, HTTP/2, kept", "small", "ECDSA P-256", lambda server, seconds: requests(server, seconds, "http2", 16)),
              ("file of 10 MiB, HTTP/1.1", "files", "ECDSA P-256", lambda server, seconds: requests(server, seconds, "get", 8, "/10m"))]
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        site = peers.Site(folder, os.path.abspath(plan.binary))
        keys = {name: identity(folder, name, how) for name, how in KEYS.items()}
        print(f"| | {' | '.join(peers.LABELS[name] for name in ('nessen', 'nginx'))} | |\n|---|---|---|---|")
        for what, role, key, how in cases:
            servers = {name: Secure(name, site, role, *keys[key]) for name in ("nessen", "nginx")}
            runs = {name: [] for name in servers}
            try:
                for server in servers.values():
                    how(server, 1)
                for number in range(plan.rounds):
                    for name in list(servers)[number % 2:] + list(servers)[:number % 2]:
                        before = servers[name].cpu()
                        done, failed = how(servers[name], plan.seconds)
                        if failed or not done:
                            raise Failed(f"{what}: {name}: {failed} of {done} failed")
                        runs[name].append((servers[name].cpu() - before) / done * 1e6)
            finally:
                for server in servers.values():
                    server.stop()
            ours, theirs = (statistics.median(runs[name]) for name in ("nessen", "nginx"))
            print(f"| {what} | {ours:.1f} µs | {theirs:.1f} µs | {theirs / ours:.2f} × as many a CPU second |", flush=True)
        site.stop()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as problem:
        print(problem, file=sys.stderr)
        sys.exit(1)
