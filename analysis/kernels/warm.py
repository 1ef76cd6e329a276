"""Compiling the kernels: once per machine, kept on disk, and never in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from analysis.kernels import columns, gaussian, information, laplace, quadrature, rows, serial, state

Say = Callable[[str], None]


def compile_note() -> str | None:
    """A sentence for the person who waits, if the kernels still have to be compiled; None if they are in the cache."""
    waiting = [name for name, kernel, _ in _kernels() if not _is_cached(kernel)]
    if not waiting:
        return None
    return f"compiling {len(waiting)} numba kernels (once on this machine, about half a minute)…"


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
    table = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [0.0, 3.0]])
    zz, zw, one = np.ones((2, 1, 1)), np.ones((2, 1, 2)), np.ones((1, 1))
    place = np.zeros(1, dtype=np.int64)
    y, n, zero = np.array([0.0, 1.0, 1.0, 0.0]), np.ones(4), np.zeros(4)
    n_rows = np.array([2, 2, 2, 2])
    sums = (np.zeros((2, 2)), np.zeros((2, 2, 2)))
    whole = (np.array([2, 2]), table[:2].copy(), *sums)
    spread = np.ones((1, 1, 2, 2))
    left = (np.zeros((1, 1, 1, gaussian.LANES)), np.zeros((1, 1, 2, gaussian.LANES)))
    likelihood = (0, table.T.copy(), np.ones((1, 4)), y, n, zero, starts, 0, 2)
    at = (np.zeros(2), np.zeros(0), one, np.zeros((2, 1)))
    slots = (np.zeros(2), np.zeros((2, 3)))
    bins, k = np.zeros(1, dtype=np.int64), np.zeros((1, 2, 2))
    code, places = np.array([-1, 0]), np.array([0, 1])
    pair = (table[:2].copy(), code, np.array([0, 2]), places, 1, bins, k, np.zeros((1, 2)), np.zeros((2, 1, 1)), one[0])
    return [
        ("sums of rows", state.add_rows, (table.T.copy(), np.array([0, 1]), starts, n_rows, table[:2].copy(), *sums)),
        ("sums of states", state.merge, (np.array([0, 1]), 1, *whole, *whole)),
        ("centred sums", state.centred, (*whole, table[0].copy())),
        (
            "cross-products",
            state.cross_products,
            (n_rows, table, np.array([0, -1]), np.ones((4, 1, 1)), np.ones(2), 1, 1),
        ),
        ("linear sums", gaussian.first_sums, (zz, zw, one, 0, 1, *left, np.eye(2), one.copy(), spread)),
        (
            "linear criterion",
            gaussian.criterion,
            (np.eye(2), 0.0, np.zeros((2, 2)), one, spread, 4, True, one.copy(), one.copy(), np.eye(2), np.zeros(1)),
        ),
        ("linear curvature, persons", gaussian.second_sums, (*left, np.eye(2), 0, 1, np.ones((1, 1, 1, 1)))),
        (
            "linear curvature",
            gaussian.curvature,
            (
                np.ones((1, 1, 1, 1)),
                spread,
                one,
                one,
                np.zeros(1),
                1.0,
                1.0,
                True,
                one,
                np.zeros(1, int),
                np.zeros(1, int),
            ),
        ),
        ("information", information.trace_sums, (zz, zw, one, one, place, place)),
        ("bias of the covariance", information.excess_sums, (zz, zw, one, one, place, place)),
        ("bins in time", serial.count_bins, (code, np.array([0, 2]), 1)),
        ("sums in time", serial.add_pairs, pair),
        (
            "moments in time",
            serial.weigh,
            (places, bins, k, np.zeros((1, 2)), 1.0, one[0], one[0], one[None].copy(), one[None].copy()),
        ),
        ("linear slope in time", serial.along, (zz, zw, zz, zw, one, np.eye(2))),
        ("noise in time", serial.colour, (y.copy(), zero)),
        ("products of columns", columns.products, (np.ones((2, 4)),)),
        ("mixtures of columns", columns.mixed, (np.ones((2, 4)), np.eye(2))),
        (
            "plain generalised model",
            rows.slopes_of_rows,
            (0, y, n, zero[:0], 4, zero, np.ones((3, 4)), np.ones((2, 12))),
        ),
        ("marginal by Laplace", laplace.laplace, (*likelihood, *at, *slots)),
        ("marginal by quadrature", quadrature.quadrature, (*likelihood, *at, np.zeros(3), np.zeros(3), *slots)),
        (
            "curvatures at the modes",
            laplace.curvatures,
            (*likelihood, *at, np.ones((2, 1, 1)), np.ones((2, 1, 2)), one.repeat(2, 0).repeat(2, 1)),
        ),
    ]


def _is_cached(kernel: Any) -> bool:
    """Is there a compiled copy on disk that is newer than the source? (numba checks the same when it loads.)"""
    source = Path(kernel.py_func.__code__.co_filename)
    folder = Path(kernel.stats.cache_path)
    copies = folder.glob(f"{source.stem}.{kernel.py_func.__name__}-*.nbi")
    return any(copy.stat().st_mtime >= source.stat().st_mtime for copy in copies)
