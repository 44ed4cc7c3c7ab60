"""A server under a memory limit: in a memory cgroup of its own (v1 or v2), or in a container."""
import contextlib, glob, itertools, os, re, resource, signal, subprocess, time, urllib.request

MIB = 1 << 20
FILES = 65536
NAME = "nessen-hardening"  # of memory cgroups, with the process and a number


class Missing(Exception):
    """The machine does not have what is needed."""


def controller():
    """(version, folder) of the memory controller."""
    with open("/proc/self/mounts") as mounts:
        found = [line.split() for line in mounts]
    for _, folder, kind, options, *_ in found:
        if kind == "cgroup" and "memory" in options.split(","):
            return 1, folder
    for _, folder, kind, *_ in found:
        if kind == "cgroup2" and "memory" in read(f"{folder}/cgroup.controllers").split():
            return 2, folder
    raise Missing("no memory controller is mounted: neither cgroup v1 nor v2")


def read(path, default=None):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        if default is None:
            raise
        return default


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def children():
    """Of this process, whichever thread started them."""
    found = []
    for task in os.listdir("/proc/self/task"):
        found += read(f"/proc/self/task/{task}/children", "").split()
    return [int(pid) for pid in found]


def leave_nothing():
    """Ends what this process has started and not ended: one that was interrupted between a start and the note of it
    knows no name for what it started."""
    for pid in children():
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    with contextlib.suppress(Missing, OSError):
        for folder in glob.glob(f"{controller()[1]}/{NAME}-{os.getpid()}-*"):
            Group(controller()[0], folder).remove()


class Group:
    """A memory cgroup, and what it counts."""

    numbers = itertools.count(1)
    NAMES = {1: ("memory.limit_in_bytes", "memory.max_usage_in_bytes", "memory.oom_control"),
             2: ("memory.max", "memory.peak", "memory.events")}

    def __init__(self, version, folder):
        self.version, self.folder = version, folder
        self.limit, self.highest, self.events = (f"{folder}/{name}" for name in self.NAMES[version])
        self.kept = None

    @classmethod
    def make(cls, limit):
        version, root = controller()
        if version == 2 and "memory" not in read(f"{root}/cgroup.subtree_control").split():
            write(f"{root}/cgroup.subtree_control", "+memory")
        folder = f"{root}/{NAME}-{os.getpid()}-{next(cls.numbers)}"
        try:
            os.mkdir(folder)
        except OSError as error:
            raise Missing(f"{folder}: {error.strerror}; this needs root") from None
        group = cls(version, folder)
        write(group.limit, str(limit))
        for name in ("memory.swap.max",) if version == 2 else ():
            if os.path.exists(f"{folder}/{name}"):
                write(f"{folder}/{name}", "0")
        return group

    @classmethod
    def of(cls, pid):
        """That of a process in a container."""
        version, root = controller()
        for line in read(f"/proc/{pid}/cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            if version == 2 and not controllers or "memory" in controllers.split(","):
                return cls(version, root + path)
        raise Missing(f"process {pid} is in no memory cgroup")

    def forget(self):
        """The highest usage from now on, where the kernel can."""
        try:
            if self.version == 1:
                write(self.highest, "0")
            else:
                # Since Linux 6.12, and for this descriptor alone.
                self.kept = self.kept or open(self.highest, "r+b", buffering=0)
                self.kept.write(b"reset\n")
        except OSError:
            self.kept = None

    def peak(self):
        if self.kept:
            self.kept.seek(0)
            return int(self.kept.read())
        return int(read(self.highest, "0") or 0)

    def killed(self):
        found = re.search(r"^oom_kill (\d+)$", read(self.events, ""), re.MULTILINE)
        return int(found.group(1)) if found else 0

    def remove(self):
        for _ in range(50):
            try:
                return os.rmdir(self.folder)
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.02)


class Server:
    """`nessen` with at most `limit` bytes of memory, on `core` if that is not None."""

    def __init__(self, binary, image, limit, core, environment, arguments=(), folder=None):
        self.binary, self.image, self.limit, self.core = binary, image, limit, core
        self.environment = {name: str(value) for name, value in environment.items()}
        self.arguments, self.folder = list(arguments), folder
        self.process = self.name = None
        self.group = None if image else Group.make(limit)

    def command(self, *arguments, detached=False):
        pinned = ["taskset", "-c", str(self.core)] if self.core is not None else []
        if not self.image:
            enter = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', self.group.folder]
            return [*enter, *pinned, self.binary, *arguments]
        most = files(of_engine=True)
        command = ["docker", "run", "--memory", str(self.limit), "--memory-swap", str(self.limit), "--network", "host",
                   "--ulimit", f"nofile={most}:{most}", "--read-only"]
        command += ["--cpuset-cpus", str(self.core)] if self.core is not None else []
        command += [f"--env={name}={value}" for name, value in self.environment.items() if name != "PATH"]
        command += ["--volume", f"{self.folder}:{self.folder}:ro"] if self.folder else []
        return command + (["--detach"] if detached else ["--rm"]) + [self.image, *arguments]

    def run(self, *arguments):
        return subprocess.run(self.command(*arguments), env=self.environment, text=True, capture_output=True, timeout=60,
                              preexec_fn=raise_files)

    def bound(self):
        """What `nessen check` says within this limit: bytes of `limits.memory`, and of the process itself."""
        told = self.run("check", *self.arguments)
        if told.returncode:
            raise Missing(f"nessen check: exit {told.returncode}: {(told.stdout + told.stderr).strip()[-400:]}")
        parts = {name: re.search(rf"{what}\s+([\d.]+) MiB", told.stdout) for name, what in
                 (("clients", r"together, within limits\.memory = \S+"), ("process", "the process itself, about"))}
        if not all(parts.values()):
            raise Missing(f"nessen check prints no bound that holds:\n{told.stdout[-800:]}")
        return {name: int(float(part.group(1)) * MIB) for name, part in parts.items()}

    def start(self, port, log):
        if self.image:
            started = subprocess.run(self.command("serve", *self.arguments, detached=True), text=True, capture_output=True)
            if started.returncode:
                raise Missing(f"docker run: {started.stderr.strip()[-400:]}")
            self.name = started.stdout.strip()
            self.pid = int(self.inspect("{{.State.Pid}}"))
            self.group = Group.of(self.pid)
            try:
                # What others have by descent: see siege.before_other_work.
                write(f"/proc/{self.pid}/autogroup", "-15")
            except OSError:
                pass
        else:
            # The log goes nowhere: a file's pages would count for the group.
            self.process = subprocess.Popen(self.command("serve", *self.arguments), env=self.environment, stdout=subprocess.DEVNULL,
                                            stderr=log, preexec_fn=raise_files)
            self.pid = self.process.pid
        until = time.monotonic() + 10
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=1):
                    return self
            except OSError:
                if not self.alive() or time.monotonic() > until:
                    raise Missing("the server does not get ready") from None
                time.sleep(0.02)

    def inspect(self, form):
        return subprocess.run(["docker", "inspect", "--format", form, self.name], text=True, capture_output=True).stdout.strip()

    def alive(self):
        """The same process as at the start, and not on its way out."""
        state = re.search(r"^State:\s+(\w)", read(f"/proc/{self.pid}/status", ""), re.MULTILINE)
        return bool(state) and state.group(1) not in "ZX"

    def end(self):
        """Why it is gone."""
        if self.image:
            return self.inspect("exit {{.State.ExitCode}}, OOM-killed: {{.State.OOMKilled}}")
        code = self.process.poll()
        name = signal.Signals(-code).name if code is not None and code < 0 else f"exit {code}"
        return f"{name}, OOM kills: {self.group.killed()}"

    def status(self):
        """Bytes resident and at most resident, threads, and open descriptors."""
        text = read(f"/proc/{self.pid}/status", "")
        found = {name: int(value) for name, value in re.findall(r"^(VmRSS|VmHWM|Threads):\s+(\d+)", text, re.MULTILINE)}
        try:
            descriptors = len(os.listdir(f"/proc/{self.pid}/fd"))
        except OSError:
            descriptors = 0
        return {"resident": found.get("VmRSS", 0) * 1024, "highest": found.get("VmHWM", 0) * 1024,
                "threads": found.get("Threads", 0), "descriptors": descriptors}

    def files(self):
        found = re.search(r"Max open files\s+(\d+)", read(f"/proc/{self.pid}/limits", ""))
        return int(found.group(1)) if found else 0

    def forget(self):
        """The highest figures are counted from now on."""
        try:
            write(f"/proc/{self.pid}/clear_refs", "5")
        except OSError:
            pass
        self.group.forget()

    def stop(self):
        if self.image and self.name:
            subprocess.run(["docker", "rm", "--force", self.name], capture_output=True)
        elif self.process:
            self.process.kill()
            self.process.wait()
        if not self.image:
            self.group.remove()


def files(of_engine=False):
    """Descriptors that a child may have: `FILES`, or what this process may. An engine often may not raise its own."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if may_raise() and not of_engine:
        return min(FILES, int(read("/proc/sys/fs/nr_open", str(hard))))
    return min(FILES, hard)


def may_raise():
    """CAP_SYS_RESOURCE, which root has not everywhere."""
    held = re.search(r"^CapEff:\s+([0-9a-f]+)", read("/proc/self/status", ""), re.MULTILINE)
    return bool(held) and bool(int(held.group(1), 16) >> 24 & 1)


def raise_files():
    most = files()
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, max(most, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    except (ValueError, OSError):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
