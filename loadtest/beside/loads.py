"""The load: as fast as a server answers (wrk, h2load), or at a fixed rate (paced)."""
import json, os, subprocess

import tools
from rounds import LOAD_CORE, Failed, pin

from .peers import BARE

PACED = os.path.join(BARE, "paced")
STREAMS = 10            # of each HTTP/2 connection at a time
BODY = 16 * 1024        # bytes of a POST
POST = f'wrk.method = "POST"; wrk.body = string.rep("n", {BODY}); wrk.headers["Content-Type"] = "application/octet-stream"\n'


def run(command, seconds):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, preexec_fn=pin(LOAD_CORE))
    except subprocess.TimeoutExpired:
        raise Failed(f"{command[0]} did not end") from None
    if done.returncode:
        raise Failed(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()[-300:]}")
    return done.stdout


def fast(url, kind, connections, seconds, script=None, fields=(), arguments=()):
    """As many requests as are answered: {"requests", "rate", "errors", "refused", ...}."""
    try:
        if kind == "http2":
            command = ["h2load", "-t1", f"-c{connections}", f"-m{STREAMS}", f"-D{seconds}", url]
            return tools.H2load().parse(run(command, seconds))
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
        for field in fields:
            command += ["-H", field]
        command += ["-s", script] if script else []
        return tools.Wrk().parse(run([*command, url, *(["--", *arguments] if arguments else [])], seconds))
    except tools.Unread as error:
        raise Failed(str(error)) from None


class Paced:
    """A load at a fixed rate, whose connections are there before it begins and until it is left."""

    def __init__(self, port, rate, seconds, connections, path="/", sources=0, burst=1, asked=False):
        self.seconds = seconds
        command = [PACED, f"127.0.0.1:{port}", str(rate), str(seconds), str(connections), path, str(sources), str(burst)]
        self.process = subprocess.Popen(command + (["asked"] if asked else []), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        preexec_fn=pin(LOAD_CORE))

    def __enter__(self):
        try:
            if self.process.stdout.readline() != "ready\n":
                raise Failed(f"paced: {self.process.communicate()[1].strip()}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def go(self):
        self.begin()
        return self.told()

    def begin(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def told(self):
        """What became of it: counts, and what requests have waited in microseconds."""
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"paced ended: {self.process.communicate()[1].strip()}")
        return json.loads(line)

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
