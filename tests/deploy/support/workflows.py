"""The workflows, read."""

import yaml

from support import tools

FOLDER = tools.ROOT / ".github/workflows"


def load(path):
    return yaml.safe_load(path.read_text())


def jobs(path):
    return load(path)["jobs"].items()


def steps(path):
    return [(name, step) for name, job in jobs(path) for step in job["steps"]]


def script(job, step):
    """The script of one step of the release."""
    [found] = [each["run"] for each in load(FOLDER / "release.yml")["jobs"][job]["steps"] if each.get("name") == step]
    return found
