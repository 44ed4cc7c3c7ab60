"""A real Prometheus on loopback, for as long as a test lasts."""

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import yaml

from support import tools
from support.pod import free_port


class Prometheus:
    """Scrapes `targets` ({job: address}) every second; `query` asks it."""

    def __init__(self, folder, targets):
        jobs = [{"job_name": job, "static_configs": [{"targets": [address]}]} for job, address in targets.items()]
        config = folder / "prometheus.yml"
        config.write_text(yaml.safe_dump({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}))
        self.address = f"127.0.0.1:{free_port()}"
        self.log = open(folder / "prometheus.log", "w+")
        self.process = subprocess.Popen(
            [
                tools.need("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address={self.address}",
            ],
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )

    def query(self, expression):
        """The series of an instant query."""
        url = f"http://{self.address}/api/v1/query?" + urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            if error.code == 400:
                raise AssertionError(f"{expression}: {error.read().decode()}") from error
            return []
        except OSError:
            return []

    def await_query(self, expression, wanted=bool, meanwhile=lambda: None, timeout=40):
        """The series, once `wanted` is true of them; `meanwhile` is done between two looks."""
        deadline = time.monotonic() + timeout
        while not wanted(found := self.query(expression)):
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.log.seek(0)
                raise AssertionError(f"{expression}: {found}\n{self.log.read()[-2000:]}")
            meanwhile()
            time.sleep(0.2)
        return found

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(20)
        self.log.close()
