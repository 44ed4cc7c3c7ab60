"""A real Prometheus on loopback, with its data in a folder that goes with the test."""

import json
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import yaml

from . import tools


class Prometheus:
    """Scrapes `targets` ({job: address}) every second, by TLS where there is a `ca`; evaluates `rules` as often."""

    def __init__(self, folder, targets, rules=None, ca=None):
        how = {"scheme": "https", "tls_config": {"ca_file": str(ca)}} if ca else {}
        jobs = [
            {"job_name": job, "static_configs": [{"targets": [address]}], **how} for job, address in targets.items()
        ]
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)] if rules else [],
            "scrape_configs": jobs,
        }
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self.log = (folder / "prometheus.log").open("w+")
        command = [
            tools.need("prometheus"),
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            "--web.listen-address=127.0.0.1:0",
        ]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=subprocess.STDOUT)
        try:
            self.address = self.until(self._listening)
            self.until(self._ready)
        except BaseException:
            self.stop()
            raise

    def _output(self):
        self.log.flush()
        with open(self.log.name) as log:
            return log.read()

    def _listening(self):
        # With port 0 the line of the listener itself has the port that the system chose.
        found = re.findall(r"address=(127\.0\.0\.1:[1-9]\d*)", self._output())
        return found[0] if found else None

    def _ready(self):
        try:
            return urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=5).status == 200
        except (urllib.error.URLError, ConnectionError):
            return None

    def until(self, asked, wanted=bool, meanwhile=lambda: None, timeout=40):
        """What `asked` answers, once `wanted` is true of it; `meanwhile` is done between two looks."""
        deadline = time.monotonic() + timeout
        while not wanted(answer := asked()):
            assert self.process.poll() is None, f"Prometheus ended:\n{self._output()}"
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {timeout} s, at last {answer}:\n{self._output()[-4000:]}")
            meanwhile()
            time.sleep(0.1)  # it tells nobody when it has scraped
        return answer

    def api(self, path, **parameters):
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def query(self, expression):
        """The series of an instant query."""
        return self.api("query", query=expression)["result"]

    def await_query(self, expression, wanted=bool, meanwhile=lambda: None):
        return self.until(lambda: self.query(expression), wanted, meanwhile)

    def scrapes(self):
        """How often the target was scraped."""
        return max((float(one["value"][1]) for one in self.query('count_over_time(up{job="nessen"}[1h])')), default=0)

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.log.close()
