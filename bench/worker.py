"""A process that runs one engine's calls on request: `python -m bench.worker MODULE…`, in the engine's own environment.

One request a line, one answer a line. `exec CODE` runs outside the clock, `time CODE` answers the seconds of an
expression and keeps its value as `result`, `get CODE` answers an expression's value as JSON. The code is Python with
`np`, `pd`, `load` and the modules named; `lme4.R` speaks the same with R's code.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from bench.data import load, one_day


def main(modules: list[str]) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an engine prints goes to the log, at once
    sys.stdout = os.fdopen(1, "w", buffering=1)
    names: dict[str, Any] = {"np": np, "pd": pd, "load": load, "one_day": one_day, "memory": memory}
    for module in modules:
        names[module] = importlib.import_module(module)
    for line in sys.stdin:
        verb, _, code = line.rstrip("\n").partition(" ")
        try:
            answer = _answer(verb, code, names)
        except Exception as error:
            answer = f"error {type(error).__name__}: {error}".replace("\n", " ")
        print(answer, file=answers, flush=True)


def _answer(verb: str, code: str, names: dict[str, Any]) -> str:
    if verb == "exec":
        exec(code, names)
        return "ok"
    expression = compile(code, "<call>", "eval")
    if verb == "get":
        return json.dumps(eval(expression, names), default=lambda value: np.asarray(value).tolist())
    names["result"] = None
    gc.collect()
    start = perf_counter()
    names["result"] = eval(expression, names)
    return repr(perf_counter() - start)


def memory(*, forget_peak: bool = False) -> dict[str, float]:
    """Resident megabytes of this process: now, and at the peak (since the last call with `forget_peak`)."""
    if forget_peak:
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    now, peak = (int(fields[name].split()[0]) / 1024.0 for name in ("VmRSS", "VmHWM"))
    return {"now": now, "peak": peak}


if __name__ == "__main__":
    main(sys.argv[1:])
