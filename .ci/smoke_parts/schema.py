"""The JSON schema: what editors say of a file is what the binary says of it."""

import re
import subprocess
import tempfile
from pathlib import Path

from .tools import check, installed, nessen

GOOD = """
[limits]
max_body_size = "4MiB"
request_timeout = 30000

[[route]]
path = "/api"
host = "*.example.com"
upstream = ["http://app-1:8080", "h2c://app-2:8080"]
health_path = "/healthz"
first_byte_timeout = "off"
rate_limit = { max_requests = 100, window = "1s" }
compression = { algorithms = ["gzip"] }

[[route]]
path = "/old"
redirect = { to = "https://example.com/new", keep_path = true }

[[check]]
name = "database"
postgres = "db:5432"
interval = "10s"
"""
BAD = {
    "a key that is not there": '[limits]\nmax_bodysize = "1MiB"\n',
    "a route that nothing answers": '[[route]]\npath = "/api"\n',
    "a route that two answer": '[[route]]\npath = "/"\nupstream = "http://app"\nredirect = { to = "/x" }\n',
    "a setting of files with an upstream": '[[route]]\npath = "/"\nupstream = "http://app"\nprecompressed = true\n',
    "a path without a slash": '[[route]]\npath = "api"\nupstream = "http://app"\n',
    "a status that is no redirect": '[[route]]\npath = "/"\nredirect = { to = "/x", status = 200 }\n',
    "a check of two kinds": '[[check]]\nname = "a"\ntcp = "a:1"\nredis = "a:2"\n',
    "a number out of range": "[server]\nport = 70000\n",
}


def uncommented(example):
    """The example with every key set, and with its routes and checks."""
    text = re.sub(r"^#(?=\w+ =|\[)", "", example, flags=re.MULTILINE)
    tables = re.compile(r"^# \[\[.*?(?=^#?$|\Z)", re.MULTILINE | re.DOTALL)
    return tables.sub(lambda table: re.sub(r"^# ", "", table.group(), flags=re.MULTILINE), text)


def run():
    if not installed("check-jsonschema"):
        return
    with tempfile.TemporaryDirectory() as folder:
        schema, file = Path(folder, "schema.json"), Path(folder, "nessen.toml")
        schema.write_text(nessen("config", "schema").stdout)
        # The example's routes name these.
        Path(folder, "public").mkdir()
        Path(folder, "public/index.html").write_text("a page")
        found = subprocess.run(["check-jsonschema", "--check-metaschema", schema], capture_output=True, text=True)
        check("the schema is a schema", found.returncode == 0, found.stdout)

        def verdicts(text):
            file.write_text(text)
            command = ["check-jsonschema", "--schemafile", schema, "--default-filetype", "toml", file]
            found = subprocess.run(command, capture_output=True, text=True)
            own = nessen("check", "--config", str(file), cwd=folder)
            return (found.returncode, own.returncode), found.stdout + found.stderr + own.stderr

        example = Path("nessen.example.toml").read_text()
        check("the example file is current", example == nessen("config", "example").stdout)
        every = uncommented(example)
        check("it has routes and checks", every.count("\n[[route]]") >= 5 and every.count("\n[[check]]") >= 2)
        for what, text in [
            ("the example file", example),
            ("the example file with every key set", every),
            ("a good table", GOOD),
        ]:
            found, told = verdicts(text)
            check(f"{what} is valid by the schema and by the binary", found == (0, 0), "" if found == (0, 0) else told)
        for what, text in BAD.items():
            found, told = verdicts(text)
            check(f"{what} is an error by both", found == (1, 78), "" if found == (1, 78) else f"{found} {told}")
