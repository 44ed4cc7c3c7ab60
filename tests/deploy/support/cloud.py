"""A provider's file as its README says to fill it in, and what Nessen makes of its environment."""

import re

from support import tools

FENCE = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


def filled(folder, target):
    """Runs the commands of the README that fill the files in; the texts by name, with nothing left to fill."""
    readme = (tools.ROOT / folder / "README.md").read_text()
    fills = [command for block in FENCE.findall(readme) for command in commands(block) if command.startswith("sed ")]
    assert fills, f"{folder}/README.md fills nothing in"
    (target / "deploy").symlink_to(tools.ROOT / "deploy")
    for command in fills:
        tools.run("bash", "-euc", command, cwd=target, env={"PATH": "/usr/bin:/bin", "DATABASE_URL": "postgres://db/app"})
    texts = {path.name: path.read_text() for path in target.iterdir() if path.is_file()}
    for name, text in texts.items():
        left = re.findall(r"<[\w-]+>", re.sub(r"#.*", "", text))
        assert not left, f"{name} is not filled in: {left}"
    return texts


def commands(block):
    """The commands of a block, those over several lines as one."""
    return [line for line in block.replace("\\\n", " ").splitlines() if line]


def variables(entries):
    """[{"name": ..., "value": ...}] as a dictionary; a name twice is an error."""
    names = [entry["name"] for entry in entries]
    assert len(names) == len(set(names)), f"a name stands twice: {names}"
    return {entry["name"]: entry["value"] for entry in entries}
