"""The servers that are compared, each in its roles: how it is started, and with what settings.

All of them keep connections open for as long as the load does, have one worker on one core, and log nothing unless
the role says so. What else is at its default is named on docs/performance.md.
"""
import os, re, shutil, subprocess, time

from rounds import LOAD_CORE, Server, ask, free_port, pin

HERE = os.path.dirname(os.path.abspath(__file__))
BARE = os.path.join(HERE, "..", "bare", "target", "release")
NODE = os.path.join(HERE, "..", "bare", "src", "node.js")
LABELS = {"nessen": "Nessen", "library": "Nessen, library", "nginx": "nginx", "nginx buffered": "nginx, log buffered", "haproxy": "HAProxy",
          "hyper": "bare hyper", "axum": "axum::serve", "node": "Node http"}
OURS = ("nessen", "library")
PROGRAMS = {"nginx": "nginx", "nginx buffered": "nginx", "haproxy": "haproxy", "node": "node"}
BUILT = {"library": "nessen_hello", "hyper": "bare_hyper", "axum": "bare_axum"}
FOREVER = 1_000_000_000   # requests of one connection: the load keeps its own
CONNECTIONS = 9_500       # of nginx and HAProxy at most, which wants two descriptors for each; Nessen's default is up to 10 000
TEXT = "Hello, World!"
FILES = {"1k": 1 << 10, "100k": 100 << 10, "1m": 1 << 20, "10m": 10 << 20}
# The fields of Nessen's own log.
FIELDS = ('{"timestamp":"$time_iso8601","level":"info","message":"request","request_id":"$request_id","method":"$request_method",'
          '"path":"$uri","status":$status,"duration_ms":$request_time,"client":"$remote_addr","route":"/","bytes_in":$request_length,'
          '"bytes_out":$body_bytes_sent,"protocol":"$server_protocol"}')


def why_not(name, binary):
    """Why a peer cannot be measured here, or None."""
    if name in PROGRAMS:
        return None if shutil.which(PROGRAMS[name]) else f"{PROGRAMS[name]} is not installed"
    path = binary if name == "nessen" else os.path.join(BARE, BUILT[name])
    return None if os.access(path, os.X_OK) else f"{os.path.relpath(path)} is not built"


class Log:
    """Where an access log goes, and how many lines came there."""

    def __init__(self, kind, folder, name):
        self.path = os.path.join(folder, f"{name}.log")
        self.reader, self.lines = None, 0
        if kind == "pipe":
            # A reader that keeps up, on the load's core.
            self.reader = subprocess.Popen(["wc", "-l"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=pin(LOAD_CORE))
            self.out, self.path = self.reader.stdin, "/dev/stdout"
        else:
            self.out = open(self.path, "ab")

    def turn(self):
        """Between two runs: what was written is counted, and does not fill the disk."""
        if not self.reader:
            with open(self.path, "rb") as file:
                while part := file.read(1 << 20):
                    self.lines += part.count(b"\n")
            os.truncate(self.path, 0)

    def settle(self, lines, patience=3.0):
        """Waits for what the server has not written yet."""
        until = time.monotonic() + patience
        while not self.reader and self.lines < lines and time.monotonic() < until:
            time.sleep(0.1)
            self.turn()

    def end(self):
        """All lines, once the server is gone."""
        if self.reader:
            self.lines = int(self.reader.communicate()[0])
        else:
            self.turn()
            self.out.close()
        return self.lines


class Site:
    """A folder with what the servers need, and the upstream of those that are proxies."""

    def __init__(self, folder, binary):
        self.folder, self.binary, self.app = folder, binary, None
        self.files = os.path.join(folder, "files")
        os.chmod(folder, 0o755)
        os.makedirs(self.files, exist_ok=True)
        for name, size in FILES.items():
            with open(os.path.join(self.files, name), "wb") as file:
                file.write(b"a" * size)
        self.errors = open(os.path.join(folder, "errors"), "ab")

    def put(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def upstream(self):
        """An nginx on the load's core that answers at once."""
        if not self.app:
            port, inner = free_port(), f"unix:{self.folder}/app.socket"
            # `return` answers before it has read a body, as no application would: a POST goes through nginx once more.
            before = f"""upstream app {{ server {inner}; keepalive 64; keepalive_requests {FOREVER}; }}
server {{ listen {inner}; location / {{ return 200 "{TEXT}"; }} }}"""
            locations = f"""location / {{ return 200 "{TEXT}"; }} location = /1m {{ root {self.files}; }} location = /asked {{ stub_status; }}
location = /post {{ proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; }}"""
            command = nginx_command(self, port, locations, before)
            self.app = Server("the upstream", command, port, core=LOAD_CORE, errors=self.errors)
        return self.app

    def stop(self):
        if self.app:
            self.app.stop()
        self.errors.close()


def command(name, role, site, log=None, **settings):
    """(command, environment, port) of a peer in a role: small, 404, limited, proxy, files, http2, attacked.

    `settings` are environment variables of Nessen, its `routes`, how many more a router has (`total`), and what nginx
    has `before` its server or as its `locations`."""
    port = free_port()
    kind = {"library": library, "hyper": bare, "axum": bare, "node": node, "haproxy": haproxy}.get(name)
    kind = kind or (nginx if name.startswith("nginx") else nessen)
    return *kind(name, role, port, site, log, settings), port


def start(name, role, site, log=None, **settings):
    words, env, port = command(name, role, site, log, **settings)
    server = Server(LABELS[name], words, port, env, stdout=log.out if log else subprocess.DEVNULL,
                    http1=role != "http2" or name in OURS, errors=site.errors)
    if log and log.reader:
        # It has to see the end when the server ends.
        log.out.close()
        log.reader.stdin = None
    return server


def environment(port, log, settings):
    own = {"PATH": os.environ["PATH"], "HOST": "127.0.0.1", "PORT": port, "LOG_FORMAT": "json", "ACCESS_LOG": "all" if log else "off",
           "NESSEN_LIMITS_MAX_REQUESTS_PER_CONNECTION": FOREVER}
    return {name: str(value) for name, value in (own | settings).items() if name.isupper()}


def respond(path, status=200, body=TEXT):
    return f'[[route]]\npath = "{path}"\nrespond = {{ status = {status}, body = "{body}", content_type = "text/plain" }}\n'


def nessen(name, role, port, site, log, settings):
    if role == "proxy":
        routes, settings = "", {"UPSTREAM": f"http://127.0.0.1:{site.upstream().port}", **settings}
    elif role == "files":
        routes, settings = "", {"ROOT": site.files, **settings}
    elif role == "404":
        routes = respond("/small")
    else:
        routes = settings.get("routes") or respond("/")
    if role == "limited":
        settings = {"RATE_LIMIT_MAX_REQUESTS": FOREVER, "RATE_LIMIT_WINDOW_MS": 1000, **settings}
    return [site.binary, "--config", site.put(f"nessen-{port}.toml", routes)], environment(port, log, settings)


def library(name, role, port, site, log, settings):
    return [os.path.join(BARE, BUILT["library"]), str(settings.get("total", 0))], environment(port, log, settings)


def bare(name, role, port, site, log, settings):
    return [os.path.join(BARE, BUILT[name]), str(port)] + (["http2"] if role == "http2" else []), None


def node(name, role, port, site, log, settings):
    return ["node", NODE, str(port)], None


def nginx_command(site, port, locations, before="", listen="", log="off", connections=CONNECTIONS):
    places = "".join(f"{kind}_temp_path {site.folder}/{port}-{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    conf = site.put(f"nginx-{port}.conf", f"""daemon off; master_process off; worker_processes 1; pid {site.folder}/{port}.pid;
error_log stderr crit; events {{ worker_connections {connections}; }}
http {{ default_type text/plain; sendfile on; tcp_nopush on; keepalive_requests {FOREVER}; keepalive_timeout 75s; client_body_buffer_size 64k; {places}
log_format json escape=json '{FIELDS}'; access_log {log};
{before}
server {{ listen 127.0.0.1:{port} backlog=4096 {listen}; {locations} }} }}""")
    return ["nginx", "-c", conf, "-p", site.folder, "-e", "stderr"]


def nginx(name, role, port, site, log, settings):
    before = listen = ""
    locations = settings.get("locations") or f'location / {{ return 200 "{TEXT}"; }}'
    if role == "404":
        locations = "location / { return 404; }"
    elif role == "limited":
        # `return` answers before limit_req is asked; empty_gif is the smallest answer that comes after it.
        before = f"limit_req_zone $binary_remote_addr zone=clients:10m rate={FOREVER}r/s;"
        locations = f"location / {{ limit_req zone=clients burst={FOREVER} nodelay; add_header Limit $limit_req_status; empty_gif; }}"
    elif role == "proxy":
        before = f"""upstream app {{ server 127.0.0.1:{site.upstream().port}; keepalive 64; keepalive_requests {FOREVER}; keepalive_timeout 75s; }}"""
        locations = """location / { proxy_pass http://app; proxy_http_version 1.1; proxy_max_temp_file_size 0;
  proxy_buffers 16 32k; proxy_buffer_size 32k; proxy_busy_buffers_size 256k;
  proxy_set_header Connection ""; proxy_set_header Host $http_host; proxy_set_header X-Real-IP $remote_addr;
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme; }"""
    elif role == "files":
        locations = f"location / {{ root {site.files}; }}"
    elif role == "http2":
        listen = "http2"
    elif role == "attacked":
        # As hardened as Nessen is without being asked, as far as nginx can be.
        before = "client_header_timeout 10s; client_body_timeout 10s; send_timeout 30s; reset_timedout_connection on;"
    where = "off" if not log else f"{log.path} json" + (" buffer=64k flush=1s" if "buffered" in name else "")
    return nginx_command(site, port, locations, before + settings.get("before", ""), listen, where, settings.get("MAX_CONNECTIONS", CONNECTIONS)), None


def haproxy(name, role, port, site, log, settings):
    answer = f'http-request return status {404 if role == "404" else 200} content-type text/plain string "{TEXT}"'
    back = room = ""
    if role == "proxy":
        room = "  tune.bufsize 65536\n"
        answer = "option forwardfor\n  http-request set-header X-Real-IP %[src]\n  http-request set-header X-Forwarded-Proto http\n  default_backend back"
        back = f"backend back\n  server app 127.0.0.1:{site.upstream().port} pool-max-conn 64 pool-purge-delay 1h\n"
    conf = site.put(f"haproxy-{port}.cfg", f"""global
  nbthread 1
  maxconn {CONNECTIONS}
{room}defaults
  mode http
  option http-keep-alive
  http-reuse always
  timeout connect 5s
  timeout client 75s
  timeout server 75s
  timeout http-keep-alive 75s
frontend front
  bind 127.0.0.1:{port} backlog 4096{" proto h2" if role == "http2" else ""}
  {answer}
{back}""")
    return ["haproxy", "-db", "-f", conf], None


def asked(app):
    """How many connections the upstream has accepted, and how many requests on them."""
    return [int(number) for number in re.search(r"(\d+) \d+ (\d+) \n", ask(app.port, "/asked")[1]).groups()]


def found(pattern, text):
    """The first group of the first match, or None."""
    match = re.search(pattern, text)
    return match.group(1) if match else None
