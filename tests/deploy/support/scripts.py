"""Scripts of the load tests that have no `.py`, as modules and as commands."""

import importlib.machinery
import importlib.util
import subprocess
import sys


def module(path):
    loader = importlib.machinery.SourceFileLoader(f"loadtest_{path.name}", str(path))
    loaded = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(loaded)
    return loaded


def run(script, *arguments, timeout=240):
    done = subprocess.run([sys.executable, script, *map(str, arguments)], capture_output=True, text=True, timeout=timeout)
    assert "Traceback" not in done.stderr, done.stderr
    return done
