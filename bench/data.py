"""Diaries of a stated truth, in sizes from 10,000 to 10 million rows; the same bits on every machine.

Everything is rounded to 6 decimals, derived columns after it, so that a CSV file and an array hold the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

CACHE = Path(__file__).resolve().parents[1] / "var" / "bench"
ANSWERED = 0.75
"""Share of the prompts that are answered; the others leave gaps."""
PER_DAY = 5
"""Prompts a day."""
PER_WEEK = 7.0 * PER_DAY


@dataclass(frozen=True, slots=True)
class Size:
    """A diary of so many persons with so many prompts each; `full` has the outcomes of all models."""

    persons: int
    prompts: int
    seed: int
    full: bool = True


SIZES = {
    "10k": Size(200, 70, 101),
    "100k": Size(1000, 130, 102),
    "1m": Size(10_000, 130, 103),
    "10m": Size(20_000, 650, 104, full=False),
}


@dataclass(frozen=True, slots=True)
class Answers:
    """What the outcomes share, one element per answered prompt; persons and prompts count from 0."""

    person: np.ndarray
    prompt: np.ndarray
    time: np.ndarray
    within: np.ndarray
    between: np.ndarray
    intercept: np.ndarray
    noise: np.ndarray
    linear: np.ndarray


def simulate(size: Size) -> pd.DataFrame:
    """One row per answered prompt, sorted by person and time.

    id, day, obs : person and study day (from 1), prompt (from 0);  t : weeks since mid-study
    x, xw, xb : predictor; about the person's mean; that mean about the mean of all rows
    y : 3 + .5 xw + .8 xb − .1 t + b0 + b1 xw + e;  SD of b 1 and .35, correlation .3, SD of e 1.2
    and, if `full`, those of `_further_outcomes`.
    """
    rng = np.random.default_rng(size.seed)
    shape = (size.persons, size.prompts)
    root = np.linalg.cholesky(np.array([[1.0, 0.3 * 0.35], [0.3 * 0.35, 0.35**2]]))
    own = rng.standard_normal((size.persons, 2)) @ root.T
    usual = rng.normal(0.0, 0.8, size.persons)
    answered = np.nonzero(rng.random(shape) < ANSWERED)
    person, prompt = answered
    x = (usual[:, None] + rng.standard_normal(shape))[answered].round(6)
    noise = (rng.standard_normal(shape) * 1.2)[answered]
    mean = np.bincount(person, weights=x, minlength=size.persons) / np.bincount(person, minlength=size.persons)
    within = (x - mean[person]).round(6)
    between = (mean[person] - x.mean()).round(6)
    time = (prompt / PER_WEEK - (size.prompts - 1) / (2.0 * PER_WEEK)).round(6)
    linear = 3.0 + 0.5 * within + 0.8 * between - 0.1 * time + own[person, 0] + own[person, 1] * within
    columns = {
        "id": person + 1,
        "obs": prompt,
        "day": prompt // PER_DAY + 1,
        "t": time,
        "x": x,
        "xw": within,
        "xb": between,
        "y": (linear + noise).round(6),
    }
    if size.full:
        at = Answers(person, prompt, time, within, between, own[person, 0], noise, linear)
        columns |= _further_outcomes(size, at, rng)
    return pd.DataFrame(columns)


def _further_outcomes(size: Size, at: Answers, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Outcomes of further models for the same rows.

    y3 : y with a random slope of t, SD .15;  yar : y with AR(1) residuals over prompts, correlation .4
    pid_day, yn : a label of person and day, and y with an intercept of each, SD .6
    event : 0/1 with log-odds −1 + .6 xw + .5 xb + b0 + .4 z xw
    """
    days = (size.prompts + PER_DAY - 1) // PER_DAY
    trend = rng.normal(0.0, 0.15, size.persons)
    fresh = rng.standard_normal((size.persons, size.prompts)) * 1.2
    serial = np.empty_like(fresh)
    serial[:, 0] = fresh[:, 0]
    for k in range(1, size.prompts):
        serial[:, k] = 0.4 * serial[:, k - 1] + np.sqrt(1.0 - 0.16) * fresh[:, k]
    of_day = rng.normal(0.0, 0.6, (size.persons, days))
    slope = rng.standard_normal(size.persons)[at.person]
    odds = -1.0 + 0.6 * at.within + 0.5 * at.between + at.intercept + 0.4 * slope * at.within
    return {
        "pid_day": at.person * days + at.prompt // PER_DAY + 1,
        "y3": (at.linear + trend[at.person] * at.time + at.noise).round(6),
        "yar": (at.linear + serial[at.person, at.prompt]).round(6),
        "yn": (at.linear + of_day[at.person, at.prompt // PER_DAY] + at.noise).round(6),
        "event": (rng.random(len(at.person)) < 1.0 / (1.0 + np.exp(-odds))).astype(int),
    }


def one_day(persons: int, day: int = 1) -> pd.DataFrame:
    """A day of the same people, all prompts answered: columns id, t, x, y, 5 rows each; y as in `simulate`."""
    traits, rng = np.random.default_rng(105), np.random.default_rng((105, day))
    own, usual = traits.standard_normal((persons, 2)) * (1.0, 0.35), traits.normal(0.0, 0.8, persons)
    person = np.repeat(np.arange(persons), PER_DAY)
    within = rng.standard_normal(len(person))
    time = 10.0 + day / 7.0 + np.tile(np.arange(PER_DAY) / PER_WEEK, persons)
    y = 3.0 + (0.5 + own[person, 1]) * within + 0.8 * usual[person] - 0.1 * time + own[person, 0]
    y += 1.2 * rng.standard_normal(len(person))
    return pd.DataFrame({"id": person + 1, "t": time.round(6), "x": (usual[person] + within).round(6), "y": y.round(6)})


def cached(name: str) -> Path:
    """The file of a size's columns, made where it is missing."""
    path = CACHE / f"ema_{name}.npz"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        frame = simulate(SIZES[name])
        part = path.with_suffix(".part.npz")
        columns: dict[str, Any] = {str(column): frame[column].to_numpy() for column in frame}
        np.savez(part, **columns)
        part.replace(path)
    return path


def cached_csv(name: str) -> Path:
    """The same as text, for R."""
    path = CACHE / f"ema_{name}.csv"
    if not path.exists():
        load(cached(name)).to_csv(path, index=False)
    return path


def load(path: Path | str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The named columns (default all) as a frame."""
    with np.load(path) as stored:
        return pd.DataFrame({name: stored[name] for name in columns or stored.files})
