"""Containers and compose projects that end with their test."""

import json
import os
import socket
import subprocess
import time
import uuid
from contextlib import ExitStack

from support.tools import ROOT, run


def free_ports(count):
    """Ports that nobody listens on, each another one."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def image():
    """The image to check: NESSEN_IMAGE, or what the Dockerfile makes."""
    given = os.environ.get("NESSEN_IMAGE")
    if given:
        return given
    revision = run("git", "rev-parse", "HEAD", check=False).stdout.strip() or "unknown"
    version = next(line.split('"')[1] for line in (ROOT / "Cargo.toml").open() if line.startswith("version"))
    arguments = ["--build-arg", f"VERSION={version}", "--build-arg", f"REVISION={revision}"]
    run("docker", "build", "-q", "-t", f"nessen:{version}", *arguments, ".", timeout=3600)
    return f"nessen:{version}"


def inspect(name, kind="container"):
    return json.loads(run("docker", kind, "inspect", name).stdout)[0]


def last_log_line(container):
    done = run("docker", "logs", "--tail", "1", container)
    return (done.stdout + done.stderr).strip()


class Container:
    """`docker run -d`, for as long as the `with`."""

    def __init__(self, image, *arguments, options=(), **environment):
        self.name = f"nessen-test-{uuid.uuid4().hex[:8]}"
        settings = [part for name, value in environment.items() for part in ("-e", f"{name}={value}")]
        self.command = ["docker", "run", "-d", "--name", self.name, *options, *settings, image, *arguments]

    def __enter__(self):
        self.since = int(time.time()) - 1
        try:
            run(*self.command)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        run("docker", "rm", "-f", "-v", self.name, check=False)

    @property
    def state(self):
        return inspect(self.name)["State"]

    def port(self):
        """Where its port 3000 is on this host."""
        return int(run("docker", "port", self.name, "3000").stdout.split()[0].rsplit(":", 1)[1])

    def wait_health(self, wanted, timeout=60):
        """Until its own health check says `healthy` or `unhealthy`, or has said so since its start."""
        return wait_health(self.name, wanted, self.since, timeout)

    def wait_exit(self, timeout=60):
        """Its exit code."""
        return int(run("docker", "wait", self.name, timeout=timeout).stdout)


def events(container, kind, since, timeout):
    """Yields what the engine reports of a container, with the exit code of a `die`. What has been since
    `since` comes first, so nothing is missed; the engine itself ends the list when the time is over."""
    command = ["docker", "events", "--since", str(since), "--until", str(int(time.time()) + timeout)]
    command += ["--filter", f"container={container}", "--filter", f"event={kind}"]
    command += ["--format", "{{.Status}}{{with .Actor.Attributes.exitCode}}: {{.}}{{end}}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as listening:
        try:
            for line in listening.stdout:
                yield line.strip()
        finally:
            listening.kill()


def wait_health(container, wanted, since, timeout=60):
    if f"health_status: {wanted}" in events(container, "health_status", since, timeout):
        return True
    state, logs = inspect(container)["State"], run("docker", "logs", "--tail", "20", container)
    raise AssertionError(f"not {wanted}: {state}\n{logs.stdout}{logs.stderr}")


class Project:
    """docker-compose.yml as a project of its own: other ports, another network, gone at the end.

    No `--no-deps` anywhere: Compose takes a service that was made so for another one, and makes it anew, and
    nginx as well, the next time that it is asked for all."""

    def __init__(self, image):
        self.name = f"nessen-test-{uuid.uuid4().hex[:8]}"
        self.port, tls_port, self.prometheus_port = free_ports(3)
        self.net = f"10.231.{40 + os.getpid() % 200}"
        self.touched = False
        self.environment = {
            **os.environ,
            "IMAGE": image,
            "INSIDE_NET": self.net,
            "HTTP_PORT": str(self.port),
            "HTTPS_PORT": str(tls_port),
            "PROMETHEUS_PORT": str(self.prometheus_port),
            "COMPOSE_ANSI": "never",
        }

    def compose(self, *arguments, check=True, **environment):
        self.touched = True
        command = ["docker", "compose", "-p", self.name, *arguments]
        return run(*command, check=check, env={**self.environment, **environment})

    def whole(self):
        """As the file says it is, and healthy."""
        self.compose("up", "-d", "--wait")
        self.touched = False

    def __enter__(self):
        try:
            self.compose("build", "app")
            self.whole()
        except BaseException:
            print(self.compose("logs", "--tail", "20", check=False).stdout)
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.compose("--profile", "*", "down", "-v", "--remove-orphans", "-t", "1", check=False)

    def container(self, service):
        """The name of a service's container."""
        return f"{self.name}-{service}-1"
