"""A fresh process: interpreter, import, one small fit, with the compiled kernels on disk."""

from __future__ import annotations

import os
import subprocess
import sys
from statistics import median
from time import perf_counter

from bench.data import cached
from bench.engines import ROOT
from bench.fits import A
from bench.result import Result, Verdict, clock

LIMIT = 2.0


def first_fit(rounds: int) -> Result:
    """The whole life of the process is timed, from outside; its own clocks tell import and fit apart."""
    code = (
        "from time import perf_counter; start = perf_counter(); import analysis; imported = perf_counter()\n"
        f"from bench.data import load; frame = load({str(cached('10k').relative_to(ROOT))!r}).head(500); read = perf_counter()\n"
        f"{A.ours}; print(imported - start, perf_counter() - read)"
    )
    usual = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # as people run it
    seconds: dict[str, list[float]] = {"ours": [], "import": [], "first fit": []}
    for warming in (True, *[False] * rounds):
        start = perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=usual, capture_output=True, text=True, check=True
        )
        whole = perf_counter() - start
        if not warming:
            for name, value in zip(seconds, (whole, *map(float, done.stdout.split())), strict=True):
                seconds[name].append(value)
    middle = {name: median(times) for name, times in seconds.items()}
    figure = f"{clock(middle['ours'])} (import {clock(middle['import'])}, fit {clock(middle['first fit'])})"
    verdict = Verdict("at most 2 s", figure, middle["ours"] <= LIMIT)
    return Result("first-fit", "Fresh process: import and first fit", {"ours": code}, seconds, [verdict])
