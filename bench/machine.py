"""What the figures were measured on, and how fast that machine reads its own memory."""

from __future__ import annotations

import os
import platform
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import numpy as np
import psutil

REPEATS = 7


def facts() -> dict[str, str | int | float]:
    """The machine and the versions of what runs on it."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count() or 1,
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "numba", "scipy", "pandas")},
        "load_before": round(os.getloadavg()[0], 2),
    }


def commit() -> str:
    """The commit that was measured, with a + where the code differs from it."""
    code = [
        "analysis",
        "bench/*.py",
        "proofs",
        "ema_server/sampling",
        "ema_server/studies",
        "ema_server/participants",
        "ema_server/responses",
    ]
    try:
        done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run(["git", "diff", "--quiet", "HEAD", "--", *code])
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip() + ("+" if changed.returncode else "")


@cache
def stream_seconds(rows: int, columns: int) -> float:
    """Seconds to add up a matrix of doubles of this size once: the limit of anything that must read each row.

    All cores read their own share; best of several.
    """
    parts = np.array_split(np.ones(rows * columns), os.cpu_count() or 1)
    best = np.inf
    with ThreadPoolExecutor(len(parts)) as threads:
        for _ in range(REPEATS):
            start = perf_counter()
            sum(threads.map(np.sum, parts))
            best = min(best, perf_counter() - start)
    return best


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
