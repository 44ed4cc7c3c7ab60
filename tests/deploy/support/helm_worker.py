"""A process that calls Helm's library: {"call", "arguments"} in, {"answer"} or {"refused"} out, a line each.

A process of its own, since the library is a whole Go runtime, which reads the environment at the start alone.
"""

import ctypes
import json
import sys

library = ctypes.CDLL(sys.argv[1])
library.helm_sdkpy_last_error.restype = ctypes.c_char_p


def call(name, *arguments):
    """The library's functions return 0 and write the answer behind their last argument."""
    answer = ctypes.c_ulonglong() if name == "config_create" else ctypes.c_char_p()
    passed = [ctypes.c_ulonglong(each) if isinstance(each, int) else each and each.encode() for each in arguments]
    if getattr(library, f"helm_sdkpy_{name}")(*passed, ctypes.byref(answer)) != 0:
        return {"refused": library.helm_sdkpy_last_error().decode()}
    return {"answer": answer.value.decode() if isinstance(answer.value, bytes) else answer.value}


for line in sys.stdin:
    asked = json.loads(line)
    print(json.dumps(call(asked["call"], *asked["arguments"])), flush=True)
