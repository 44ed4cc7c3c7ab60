"""Clients that see everything: raw requests, and a load of POSTs that are never sent twice."""

import http.client
import socket
import threading
import time

# Other spellings of a path that is closed, as an attacker would try them: {0} is the path without its first
# slash, {1} the same with its first letter encoded, {2} in capitals.
SPELLINGS = (
    "/{0}", "//{0}", "///{0}", "/./{0}", "/x/../{0}", "/x/..//{0}", "/%2e/{0}", "/x/%2e%2e/{0}", "/{1}", "/%2f{0}",
    "/{0}/", "/{0}/.", "/{0}/x/..", "/{0}?x=1", "/{0}?", "/{0}#x", "/{0}%0a", "/{2}", "http://localhost/{0}",
    "http://localhost//{0}", "/..//{0}", "/{0}%2f", "/{0}//",
)  # fmt: skip


def spellings(path):
    bare = path.lstrip("/")
    return [form.format(bare, f"%{ord(bare[0]):02x}{bare[1:]}", bare.upper()) for form in SPELLINGS]


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def every(self, name):
        return self.headers.get_all(name, [])

    def __repr__(self):
        return f"{self.status} {self.headers.items()} {self.body[:300]!r}"


def read_answer(connection, method="GET"):
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    return Answer(response.status, response.headers, response.read())


def ask(port, target="/", method="GET", headers=(), body=b"", host="127.0.0.1", timeout=30, tls=None):
    """One request, its target as it is given: no client in between that would make it neat."""
    with socket.create_connection((host, port), timeout=timeout) as plain:
        connection = tls.wrap_socket(plain, server_hostname="localhost") if tls else plain
        with connection:
            fields = [("Host", "localhost"), ("Connection", "close"), *headers]
            if body:
                fields.append(("Content-Length", str(len(body))))
            head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields)
            connection.sendall(head.encode("latin-1") + b"\r\n" + body)
            return read_answer(connection, method)


class Posts:
    """POSTs on kept connections until the end of the `with`. Whatever goes wrong is a failure, and kept:
    nothing is tried again, and a connection is left only where its answer said `Connection: close`."""

    # What waits for its answer half a second, so that work is in flight whenever a replica goes; and what
    # is answered at once, where a connection is idle most of the time. About 50 a second together: nginx
    # allows 100.
    KINDS = (("/echo?seconds=0.5", 0.0), ("/echo", 0.1)) * 5

    def __init__(self, port, kinds=KINDS):
        self.port, self.failures, self.answered = port, [], [0] * len(kinds)
        self.asked_by = set()
        self.ending, self.news = threading.Event(), threading.Condition()
        self.threads = [
            threading.Thread(target=self._run, args=(number, *kind), daemon=True) for number, kind in enumerate(kinds)
        ]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self.wait_for_more()

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join(60)

    def wait_for_more(self, count=3, timeout=60):
        """Until every connection has had `count` answers more, right or wrong."""
        deadline = time.monotonic() + timeout
        with self.news:
            wanted = [answered + count for answered in self.answered]
            while any(now < goal for now, goal in zip(self.answered, wanted)):
                assert self.news.wait(max(0, deadline - time.monotonic())), f"no answers: {self.failures[-5:]}"
        return self

    def _run(self, number, target, pause):
        connection, sent = None, 0
        while not self.ending.is_set():
            sent += 1
            body = f"{number}:{sent}:".encode() * 20
            try:
                connection = connection or socket.create_connection(("127.0.0.1", self.port), timeout=30)
                answer = self._post(connection, target, body)
                problem = self._problem(answer, body)
            except (OSError, http.client.HTTPException) as error:
                answer, problem = None, f"{type(error).__name__}: {error}"
            with self.news:
                self.answered[number] += 1
                if answer is not None:
                    self.asked_by.update(answer.every("X-Asked-By"))
                if problem:
                    self.failures.append(f"{time.strftime('%H:%M:%S')} {target} {problem}")
                self.news.notify_all()
            if answer is None or "close" in answer.every("Connection"):
                if connection is not None:
                    connection.close()
                connection = None
            self.ending.wait(pause)
        if connection is not None:
            connection.close()

    @staticmethod
    def _post(connection, target, body):
        head = f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        return read_answer(connection, "POST")

    @staticmethod
    def _problem(answer, body):
        if answer.status != 200:
            return f"{answer.status}: {answer.body[:200]!r}"
        if answer.body != body:
            return f"another body than was sent: {answer.body[:60]!r}"
        return None
