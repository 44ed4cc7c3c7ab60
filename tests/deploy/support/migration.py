"""One of deploy/migrating, and a server that is given what its container would be given."""

import pytest

from support import pod, settings, tools
from support.example_app import ExampleApp
from support.waiting import eventually

FOLDER = tools.ROOT / "deploy/migrating"
NAMES = ("nessen", "tracehound", "traversion", "talos", "tarka")
PROXIED = NAMES[1:]
# The name of the file, what is left of Node's, and what is the library's alone.
NOT_A_KEY = (
    "NESSEN_CONFIG", "NODE_ENV", "NODE_OPTIONS", "TRACEHOUND_HOUND_MAX_ACTIVE", "TRACEHOUND_HOUND_TIMEOUT_MS",
)  # fmt: skip


class Migration:
    """The manifest of `name`, its container of Nessen, and an application where it has one."""

    def __init__(self, name, folder, start, binary):
        self.name, self.start, self.binary = name, start, binary
        self.manifest = pod.objects(FOLDER / f"{name}.yaml")
        self.container = pod.nessen_container(self.manifest)
        self.values = pod.environment(self.manifest, self.container, folder)
        self.app = ExampleApp()

    def checked(self, **more):
        """What the binary makes of the environment, word for word: every key, and no name that no key has."""
        foreign = {*pod.service_links(self.manifest), *NOT_A_KEY}
        return settings.effective(self.binary, self.values | more, foreign)

    def serve(self, without=(), status=200, **changes):
        """A server under the manifest's environment, its ports moved, that is ready, or as `status` says."""
        values = pod.moved(self.values, self.app.port) | {name: str(value) for name, value in changes.items()}
        server = self.start(**{name: value for name, value in values.items() if name not in without})
        ready = pod.probes(self.container)["readinessProbe"]
        eventually(lambda: server.get(ready)[0] == status, f"{ready} is {status}")
        return server

    def proxying(self, **changes):
        """The same in front of the application, for the runtime itself too."""
        return self.serve(UPSTREAM=f"http://127.0.0.1:{self.app.port}", **changes)


@pytest.fixture
def migration(request, tmp_path, nessen, binary):
    """Those that the test is marked with: `@each(*NAMES)`."""
    found = Migration(request.param, tmp_path, nessen, binary)
    yield found
    found.app.close()


def each(*names):
    return pytest.mark.parametrize("migration", names, indirect=True)
