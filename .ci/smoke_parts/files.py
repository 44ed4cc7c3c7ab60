"""`nessen serve --root`: files of a folder, and nothing besides."""

import os
import re
import tempfile
from pathlib import Path

from .tools import PROTOCOLS, STATUS, Nessen, check, curl, status


def run():
    with tempfile.TemporaryDirectory() as folder:
        public = Path(folder, "public")
        public.mkdir()
        (public / "index.html").write_text("<p>hello")
        (public / "letters.txt").write_text("abcdefghijklmnopqrstuvwxyz")
        (public / ".env").write_text("SECRET=1")
        Path(folder, "outside").write_text("outside")
        os.symlink("../outside", public / "link")
        with Nessen("serve", "--root", str(public)) as server:
            for version, option in PROTOCOLS:
                found = curl(option, *STATUS, server.url + "/")
                check(f"a folder's index over HTTP/{version}", found == f"{version} 200", found)
                found = curl(option, "--range", "3-5", server.url + "/letters.txt")
                check(f"a part of a file over HTTP/{version}", found == "def", found)
            head = curl("--head", server.url + "/letters.txt")
            tag = re.search(r'etag: ("[^"]+")', head, re.IGNORECASE)
            check("a file has an ETag", tag is not None, tag.group(1) if tag else head)
            if tag:
                found = status(server.url + "/letters.txt", "--header", f"If-None-Match: {tag.group(1)}")
                check("one who has it is told so", found == "304", found)
            for path, expected in [
                ("/nowhere", "404"),
                ("/.env", "404"),
                ("/link", "404"),
                ("/../outside", "400"),
                ("/%2e%2e/outside", "400"),
                ("/..%2foutside", "400"),
                ("/letters.txt%00", "400"),
            ]:
                found = status(server.url + path)
                check(f"GET {path} is answered {expected}", found == expected, found)
