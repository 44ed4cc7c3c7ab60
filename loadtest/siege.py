"""What `hardening` and `soak` share: a server under a memory limit, honest clients beside it, and attacks.

With two cores or more the server has the first, and everything that loads it the others.
"""
import atexit, json, os, re, shutil, socket, subprocess, sys, tempfile, threading, time, urllib.request

import confined, counters, hostile

HERE = os.path.dirname(os.path.abspath(__file__))
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE = CORES[0] if len(CORES) > 1 else None
LOAD_CORES = CORES[1:] or CORES
LARGE = 10 * confined.MIB
GAUGES = {"nessen_memory_used_bytes": "used", "nessen_memory_bound_bytes": "bound", "http_connections_active": "connections",
          "http_requests_active": "active", "nessen_connections_evicted_total": "evicted",
          "nessen_log_lines_dropped_total": "lost lines", "nessen_tunnels_active": "tunnels"}
# An upstream is no part of what is measured: it is given everything, and refuses nothing.
UPSTREAM = {"ACCESS_LOG": "off", "LOG_LEVEL": "warn", "MAX_CONNECTIONS_PER_IP": "off", "MAX_CONNECTIONS": 20_000,
            "MAX_IN_FLIGHT": 10_000, "NESSEN_LIMITS_MIN_BODY_RATE": "off", "NESSEN_LIMITS_MIN_SEND_RATE": "off",
            "BODY_TIMEOUT": "60s", "NESSEN_LIMITS_MAX_REQUESTS_PER_CONNECTION": 1_000_000_000}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def before_other_work():
    """What else the machine does comes behind the servers and attackers, which inherit this; and what this process does,
    which asks the server and reads what it says, is done on another core than the server's."""
    os.sched_setaffinity(0, LOAD_CORES)
    try:
        os.nice(-15)
        # Where Linux groups tasks by session, nice goes for tasks of one session, and this for all of it.
        with open("/proc/self/autogroup", "r+") as group:
            before = group.read().rsplit(" ", 1)[-1].strip()
            group.write("-15")
        atexit.register(confined.write, "/proc/self/autogroup", before)
    except OSError:
        pass


def pin():
    """For what loads the server, between fork and exec."""
    os.sched_setaffinity(0, LOAD_CORES)
    confined.raise_files()


def pin_behind():
    pin()
    os.nice(5)


def ahead(pid):
    """All threads of a process run before others on their cores; without the right to, they do not."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            os.sched_setscheduler(int(thread), os.SCHED_FIFO, os.sched_param(1))
        except OSError:
            return


class Target:
    """The server that is attacked, in one of its modes, with what it needs behind it."""

    def __init__(self, binary, image, limit, mode, log):
        self.mode, self.limit = mode, limit
        self.port, self.admin = free_port(), free_port()
        self.folder = tempfile.mkdtemp(prefix="nessen-hardening-")
        self.servers = []
        try:
            os.chmod(self.folder, 0o755)
            arguments, own = (), {}
            if mode != hostile.WELCOME:
                self.put("favicon.svg", b"<svg/>\n" * 40)
                self.put("large", os.urandom(LARGE))
            if mode == hostile.FILES:
                own = {"ROOT": self.folder}
            if mode == hostile.PROXY:
                ports = [free_port(), free_port()]
                for port, more in zip(ports, ({}, {"ROOT": self.folder})):
                    server = confined.Server(binary, image, 4 << 30, LOAD_CORES[0], self.environment(port) | UPSTREAM | more,
                                             folder=self.folder)
                    self.servers.append(server)
                    ahead(server.start(port, log).pid)
                routes = "".join(f'[[route]]\npath = "{path}"\nupstream = "http://127.0.0.1:{port}"\n'
                                 for path, port in zip(("/", "/large"), ports))
                arguments = ("--config", self.put("routes.toml", routes.encode()))
            environment = self.environment(self.port) | own | {"ADMIN_PORT": self.admin, "NESSEN_ADMIN_HOST": "127.0.0.1"}
            self.server = confined.Server(binary, image, limit, SERVER_CORE, environment, arguments, self.folder)
            self.servers.append(self.server)
            self.bound = self.server.bound()
            self.server.start(self.port, log)
        except BaseException:
            self.stop()
            raise

    def environment(self, port):
        return {"HOST": "127.0.0.1", "PORT": port, "LOG_FORMAT": "json", "PATH": os.environ["PATH"]}

    def put(self, name, data):
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(data)
        return path

    def gauges(self):
        """What the server itself counts, from the admin port."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=5) as answer:
            return gauges(answer.read().decode())

    def stop(self):
        for server in self.servers:
            server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def gauges(text):
    now = dict.fromkeys(GAUGES.values(), 0)
    now["refusals"] = counters.parse(text)["refusals"]
    for name, _, value in counters.SERIES.findall(text):
        if name in GAUGES:
            now[GAUGES[name]] += int(float(value))
    return now


class Honest:
    """The honest clients' process."""

    def __init__(self, target):
        command = [sys.executable, os.path.join(HERE, "honest.py"), "127.0.0.1", str(target.port)]
        command += ["--gets-only"] if target.mode == hostile.FILES else []
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=pin)
        self.first = json.loads(self.process.stdout.readline())["first"]

    def period(self):
        """What they have seen since the last call."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def stop(self):
        self.process.kill()
        self.process.communicate()


class Assault:
    """The processes of one attack, or of all together."""

    def __init__(self, target, name, seconds, scale=1.0):
        self.processes = [
            subprocess.Popen([sys.executable, "-m", "hostile", attack.name, "127.0.0.1", str(target.port), str(count), str(seconds)],
                             cwd=HERE, stdout=subprocess.PIPE, text=True, preexec_fn=pin_behind)
            for attack, count in hostile.parts(name, scale)]

    def wait(self, patience):
        """What became of it, the processes taken together."""
        total = {"wanted": 0, "opened": 0, "peak": 0, "held": 0, "sent": 0, "read": 0}
        until = time.monotonic() + patience
        for process in self.processes:
            try:
                out, _ = process.communicate(timeout=max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise confined.Missing("an attack did not end in time") from None
            if process.returncode:
                raise confined.Missing(f"an attack failed: exit {process.returncode}")
            told = json.loads(out.splitlines()[-1])
            for key in ("wanted", "opened", "peak", "held", "sent", "read"):
                total[key] += told[key]
            for key in ("failed", "ended", "answers"):
                for what, number in told[key].items():
                    total.setdefault(key, {}).setdefault(what, 0)
                    total[key][what] += number
        return total

    def stop(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.communicate()


class Watch(threading.Thread):
    """Looks at the server every so often, and keeps what it saw."""

    def __init__(self, target, every=0.25):
        super().__init__(daemon=True)
        self.target, self.every, self.over = target, every, threading.Event()
        self.samples, self.unread, self.begun = [], 0, time.monotonic()

    def run(self):
        while not self.over.wait(self.every):
            try:
                now = self.target.gauges()
            except (OSError, ValueError, counters.Unreadable):
                self.unread += 1
                continue
            self.samples.append({"at": time.monotonic() - self.begun, "sockets": socket_memory()} | now | self.target.server.status())

    def most(self, what):
        return max((sample[what] for sample in self.samples), default=0)

    def stop(self):
        self.over.set()
        self.join()


def socket_memory():
    """Bytes of all TCP buffers of the machine, both ends of every connection."""
    found = re.search(r"^TCP:.* mem (\d+)", confined.read("/proc/net/sockstat", ""), re.MULTILINE)
    return int(found.group(1)) * os.sysconf("SC_PAGE_SIZE") if found else 0


def grown(before, after):
    """What was refused in between, by reason."""
    each = {reason: number - before["refusals"].get(reason, 0) for reason, number in after["refusals"].items()}
    return {reason: number for reason, number in sorted(each.items(), key=lambda item: -item[1]) if number > 0}


def settled(target, most, patience=5.0):
    """Seconds until the server holds no more than `most` connections, or None."""
    begun = time.monotonic()
    while time.monotonic() < begun + patience:
        try:
            if target.gauges()["connections"] <= most:
                return round(time.monotonic() - begun, 1)
        except OSError:
            if not target.server.alive():
                return None
        time.sleep(0.1)
    return None


def sizes(text):
    """64MiB,256MiB in bytes."""
    units = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
    found = [re.fullmatch(r"(\d+)(KiB|MiB|GiB)", part) for part in text.split(",")]
    if not all(found):
        raise ValueError(f"{text}: allowed are sizes like 64MiB, with commas between them")
    return [int(part.group(1)) * units[part.group(2)] for part in found]


def default_binary():
    return os.path.join(HERE, "..", "target", "release", "nessen")


def machine():
    """Of what the figures depend on."""
    name = os.uname()
    return {"cores": len(CORES), "kernel": f"{name.sysname} {name.release.split('-')[0]}", "architecture": name.machine}
