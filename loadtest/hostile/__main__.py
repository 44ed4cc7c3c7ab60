"""One attack, as a process: `python3 -m hostile NAME HOST PORT CONNECTIONS SECONDS`.

Says `ramped` when all connections have been tried, and then JSON of what became of them.
"""
import gc, json, sys

from . import BY_NAME
from .engine import Engine, descriptors

name, host, port, count, seconds = sys.argv[1:]
attack, count = BY_NAME[name], int(count)
count = min(count, descriptors(count + 100) - 50)
gc.disable()
engine = Engine(attack.kind, (host, int(port)), attack.sources, count)
print(json.dumps(engine.run(float(seconds), lambda: print("ramped", flush=True)) | {"wanted": count}))
