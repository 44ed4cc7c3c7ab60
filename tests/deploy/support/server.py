"""A running server, started as its users would: by environment."""

import json
import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request


class Nessen:
    """One process. Its log is kept; its port is read from there, so PORT=0 is fine."""

    def __init__(self, binary, arguments, environment):
        base = {"PORT": "0", "HOST": "127.0.0.1", "LOG_FORMAT": "json", "PATH": os.environ["PATH"]}
        base.update({name: str(value) for name, value in environment.items()})
        self.process = subprocess.Popen(
            [str(binary), *arguments], env=base, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines = []
        self.news = threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.address = None

    def _read(self):
        for line in self.process.stdout:
            with self.news:
                self.lines.append(line.rstrip("\n"))
                self.news.notify_all()
        with self.news:
            self.lines.append(None)
            self.news.notify_all()

    def wait_line(self, wanted, timeout=10):
        """The first line of the log that `wanted` is true of."""
        deadline, seen = time.monotonic() + timeout, 0
        with self.news:
            while True:
                for line in self.lines[seen:]:
                    if line is None:
                        raise AssertionError("the server ended:\n" + self.output())
                    if wanted(line):
                        return line
                seen = len(self.lines)
                left = deadline - time.monotonic()
                if left <= 0 or not self.news.wait(left):
                    raise AssertionError("the line did not come:\n" + self.output())

    def wait_listening(self):
        line = json.loads(self.wait_line(lambda line: '"message":"listening"' in line))
        self.address = line["address"]
        self.admin_address = line.get("admin_address")
        return self

    def output(self):
        return "\n".join(line for line in self.lines if line is not None)

    def get(self, path, admin=False, method="GET", body=None, headers=None, timeout=10, context=None):
        """(status, headers, text); a refusal is an answer too. By TLS where there is a `context` of it."""
        address = self.admin_address if admin else self.address
        scheme = "https" if context else "http"
        request = urllib.request.Request(f"{scheme}://{address}{path}", data=body, method=method, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=timeout, context=context) as answer:
                return answer.status, answer.headers, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode()

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait(self, timeout=60):
        """The exit code."""
        return self.process.wait(timeout)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join(5)
