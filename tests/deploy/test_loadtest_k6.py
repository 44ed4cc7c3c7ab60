"""The k6 script: its types, and its functions under Node against a server. k6 itself is not run here."""

import json
import os
import shutil
from pathlib import Path

import pytest
from support import tools as support
from support.loadtest import LOADTEST, url

K6 = Path(__file__).parent / "support/k6"
TYPESCRIPT, K6_TYPES = "7.0.2", "2.3.0"


@pytest.fixture(scope="module")
def typescript(tmp_path_factory):
    """A folder with TypeScript and the types of k6, of exactly these versions."""
    npm = support.need("npm")
    folder = tmp_path_factory.mktemp("k6")
    (folder / "package.json").write_text('{"private": true}')
    done = support.run(npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts",
                       f"typescript@{TYPESCRIPT}", f"@types/k6@{K6_TYPES}", cwd=folder, check=False)
    if done.returncode != 0:
        support.absent(f"npm has no typescript@{TYPESCRIPT} and @types/k6@{K6_TYPES}: {done.stderr[-300:]}")
    types = "./node_modules/@types/k6"
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": {
        "allowJs": True, "checkJs": True, "noEmit": True, "strict": True, "target": "es2022", "lib": ["es2022"],
        "module": "esnext", "moduleResolution": "bundler", "types": ["k6"],
        "paths": {"k6": [f"{types}/index.d.ts"], "k6/*": [f"{types}/*"]}}, "files": ["k6.js"]}))
    return folder


def check_types(folder, script):
    (folder / "k6.js").write_text(script)
    return support.run(folder / "node_modules/.bin/tsc", "-p", folder, check=False, cwd=folder)


def test_the_k6_script_has_the_types_of_k6(typescript):
    script = (LOADTEST / "k6.js").read_text()
    done = check_types(typescript, script)
    assert done.returncode == 0, done.stdout
    for right, wrong in [("http.get(`${BASE}/ready`)", "http.fetch(`${BASE}/ready`)"),
                         ("http.expectedStatuses(status)", 'http.expectedStatuses("413")'),
                         ('executor: "ramping-vus", exec', 'executor: "ramping", exec'),
                         ("exec.scenario.iterationInTest", "exec.scenario.iteration")]:
        assert right in script
        assert check_types(typescript, script.replace(right, wrong)).returncode != 0, wrong


def play(folder, server, iterations=10, check=True, **environment):
    """The script's functions under Node with stand-ins for the modules of k6."""
    node = support.need("node")
    package = folder / "node_modules/k6"
    package.mkdir(parents=True, exist_ok=True)
    shutil.copy(K6 / "k6.mjs", package / "all.mjs")
    shutil.copy(K6 / "main.mjs", folder)
    (folder / "k6.mjs").write_text((LOADTEST / "k6.js").read_text())
    (package / "index.mjs").write_text('export { check, fail, sleep } from "./all.mjs";')
    (package / "http.mjs").write_text('export { http as default } from "./all.mjs";')
    (package / "execution.mjs").write_text('export { execution as default } from "./all.mjs";')
    (package / "package.json").write_text(json.dumps({"name": "k6", "exports": {
        ".": "./index.mjs", "./http": "./http.mjs", "./execution": "./execution.mjs", "./stand-in": "./all.mjs"}}))
    done = support.run(node, folder / "main.mjs", folder / "k6.mjs", iterations, cwd=folder, check=check,
                       env={**os.environ, "BASE_URL": url(server), **environment})
    return json.loads(done.stdout) if check else done


def test_the_k6_script_against_a_server(nessen, tmp_path):
    told = play(tmp_path, nessen(DRAIN_DELAY="0s"))
    bad = [each for each in told["checks"] if not each["ok"]]
    assert not bad and not any(request["failed"] for request in told["requests"])
    by = [(request["scenario"], request["name"] if "name" in request else None, request["status"]) for request in told["requests"]]
    assert {entry: by.count(entry) for entry in set(by)} == {
        ("setup", None, 200): 1, ("mix", "small", 200): 6, ("mix", "page", 200): 3, ("mix", "POST", 200): 1,
        ("limits", "refusal 413", 413): 10, ("limits", "refusal 414", 414): 10, ("limits", "refusal 404", 404): 10,
    }
    assert len({each["name"] for each in told["checks"]}) == 13
    assert told["options"]["thresholds"] == {
        "http_req_failed": ["rate<0.01"], "checks": ["rate>0.99"],
        "http_req_duration{scenario:mix}": ["p(95)<100"], "checks{scenario:limits}": ["rate==1"],
    }
    assert [stage["target"] for stage in told["options"]["scenarios"]["mix"]["stages"]] == [20, 20, 0]


@pytest.mark.parametrize(("settings", "broken"), [
    ({"MAX_BODY_SIZE": "2MiB"}, "413: status"),
    ({"MAX_URL_LENGTH": "16KiB", "MAX_HEADER_SIZE": "32KiB"}, "414: status"),
])
def test_the_k6_script_sees_a_limit_that_does_not_hold(nessen, tmp_path, settings, broken):
    told = play(tmp_path, nessen(DRAIN_DELAY="0s", **settings), 1, SCENARIOS="limits")
    assert broken in [each["name"] for each in told["checks"] if not each["ok"]]
    assert any(request["failed"] for request in told["requests"])


def test_what_the_environment_changes_in_the_k6_script(nessen, tmp_path):
    server = nessen(DRAIN_DELAY="0s")
    told = play(tmp_path, server, 1, SCENARIOS="mix", RATE="200", VUS="7", DURATION="2m", RAMP="9s", GET_PATH="/nowhere")
    mix = told["options"]["scenarios"]["mix"]
    assert list(told["options"]["scenarios"]) == ["mix"] and "checks{scenario:limits}" not in told["options"]["thresholds"]
    assert (mix["executor"], mix["preAllocatedVUs"], mix["maxVUs"]) == ("ramping-arrival-rate", 7, 70)
    assert [(stage["duration"], stage["target"]) for stage in mix["stages"]] == [("9s", 200), ("2m", 200), ("9s", 0)]
    assert [each["name"] for each in told["checks"] if not each["ok"]] == ["GET: 200"]
    assert "neither mix nor limits" in play(tmp_path, server, 1, check=False, SCENARIOS="all").stderr
    server.kill()
    assert "/ready: " in play(tmp_path, server, 1, check=False).stderr
