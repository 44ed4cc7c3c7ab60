"""Commands that stand in the documentation: what can be told of them without running them."""

import os
import re
import shlex

import pytest
import yaml

from support.tools import ROOT, need, run

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "deploy").rglob("*.md")), ROOT / "k8s/README.md"]
DEPLOYMENT = (ROOT / "docs/deployment.md").read_text()


def commands(page):
    """Lines of blocks, with what is continued, and what stands in backticks."""
    text = page.read_text()
    blocks = re.findall(r"^```(?:sh|console)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return lines + [code.replace("\\|", "|") for code in re.findall(r"`([^`\n]+)`", prose)]


def curls():
    for page in PAGES:
        for line in commands(page):
            for part in re.findall(r"\bcurl .*", line):
                yield pytest.param(shlex.split(part, comments=True), id=f"{page.name}: {part[:60]}")


@pytest.mark.parametrize("words", curls())
def test_curl_sends_what_stands_there(words):
    """Without -g, curl takes braces and brackets of a URL for a list, and drops them."""
    if "|" in words:
        words = words[: words.index("|")]
    valued = {"-w", "-d", "-H", "-o", "-X", "--data-urlencode", "--data-binary"}
    urls = [word for before, word in zip(words, words[1:]) if before not in valued and not word.startswith("-")]
    assert urls, words
    assert not [url for url in urls if re.search(r"[{}\[\]]", url)] or "-g" in words


def test_the_guide_tells_the_status_that_nginx_closes_metrics_with():
    told = re.search(r"localhost:8080/metrics\s+# (\d+): closed", DEPLOYMENT).group(1)
    assert f"return {told};" in (ROOT / "nginx/snippets/site.conf").read_text()


def test_what_the_guide_applies_first_pulls_the_image_from_the_registry_that_it_was_pushed_to():
    line = next(line for line in DEPLOYMENT.splitlines() if line.startswith("kubectl kustomize"))
    assert line.endswith(" | kubectl apply -f -")
    need("kubectl")
    done = run("sh", "-c", line.removesuffix(" | kubectl apply -f -"), env={**os.environ, "REGISTRY": "ghcr.io/you"})
    pods = [it["spec"]["template"]["spec"] for it in yaml.safe_load_all(done.stdout) if it["kind"] == "Deployment"]
    assert [it["image"] for pod in pods for it in pod["containers"]] == ["ghcr.io/you/nessen:0.1.0"]
