"""Compiling the kernels: once per machine, kept on disk, and never in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from analysis.kernels import gaussian, information, laplace

Say = Callable[[str], None]


def compile_note() -> str | None:
    """A sentence for the person who waits, if the kernels still have to be compiled; None if they are in the cache."""
    waiting = [name for name, kernel, _ in _kernels() if not _is_cached(kernel)]
    if not waiting:
        return None
    return f"compiling {len(waiting)} numba kernels (once on this machine, about a quarter of a minute)…"


def warm_up(progress: Say | None = None) -> None:
    """Compile every kernel, or load it from the cache; `progress` is told before each one that has to be compiled."""
    say = progress or (lambda _: None)
    kernels = _kernels()
    for number, (name, kernel, arguments) in enumerate(kernels, start=1):
        if not _is_cached(kernel):
            say(f"compiling numba kernels (once): {name}, {number} of {len(kernels)}…")
        kernel(*arguments)


def _kernels() -> list[tuple[str, Any, tuple[Any, ...]]]:
    """The kernels that others call, each with the smallest arguments of the right types."""
    starts = np.array([0, 2, 4], dtype=np.int64)
    rows = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [0.0, 3.0]])
    zz, zw, one = np.ones((2, 1, 1)), np.ones((2, 1, 2)), np.ones((1, 1))
    place = np.zeros(1, dtype=np.int64)
    y, n, zero = np.array([0.0, 1.0, 1.0, 0.0]), np.ones(4), np.zeros(4)
    likelihood = (rows, np.ones((4, 1)), y, n, zero, starts, np.zeros(2), one)
    return [
        ("person moments", gaussian.person_moments, (rows, starts, rows[0].copy())),
        ("linear criterion", gaussian.explained, (zz, zw, one)),
        ("linear score", gaussian.score_parts, (zz, zw, one, np.eye(2))),
        ("slopes of the covariance", information.slope_sums, (zz, zw, one)),
        ("information", information.trace_sums, (zz, zw, one, one, place, place)),
        ("bias of the covariance", information.excess_sums, (zz, zw, one, one, place, place)),
        ("logistic by Laplace", laplace.laplace_deviance, (*likelihood, np.zeros((2, 1)))),
        (
            "logistic by quadrature",
            laplace.quadrature_deviance,
            (*likelihood, np.zeros((2, 1)), np.zeros(3), np.zeros(3)),
        ),
    ]


def _is_cached(kernel: Any) -> bool:
    """Is there a compiled copy on disk that is newer than the source? (numba checks the same when it loads.)"""
    source = Path(kernel.py_func.__code__.co_filename)
    folder = Path(kernel.stats.cache_path)
    copies = folder.glob(f"{source.stem}.{kernel.py_func.__name__}-*.nbi")
    return any(copy.stat().st_mtime >= source.stat().st_mtime for copy in copies)
