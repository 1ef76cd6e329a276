"""Coverage: how often the 95 % intervals of few persons hold the truth, by simulation."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

import analysis
from proofs import coverage_page, log

PERSONS, MISSED, PROMPTS, REPLICATES = (10, 20, 40), (0.0, 0.25), 28, 5000
WITHIN, BETWEEN = 0.3, 0.6
TRUTH = {"within": WITHIN, "between": BETWEEN, "contextual": BETWEEN - WITHIN}
SD_INTERCEPT, SD_SLOPE, CORRELATION, SD_RESIDUAL = 1.0, 0.3, 0.3, 1.0
FORMULA = "y ~ within(x) + between(x) + (1 + within(x) | person)"
CONTEXTUAL = {"between(x)": 1.0, "within(x)": -1.0}
METHODS: dict[str, dict[str, str]] = {"default": {}, "CR2": {"robust": "cr2"}, "normal": {"df": "z"}}
"""Name → arguments of `tests` and `contrast`; the normal interval is what a study gets that ignores how few people it has."""
GOAL = 0.015
"""Distance from 95 % that is still as it should be."""
CHUNK = 250


@dataclass(frozen=True)
class Condition:
    persons: int
    missed: float

    @property
    def name(self) -> str:
        return f"{self.persons} persons, {'balanced' if self.missed == 0.0 else 'a quarter missed'}"


@dataclass(frozen=True)
class Outcome:
    """Of a number of replicates: covered and width (replicates, methods, effects); singular, converged (replicates,)."""

    covered: np.ndarray
    width: np.ndarray
    singular: np.ndarray
    converged: np.ndarray


def diary(at: Condition, rng: np.random.Generator) -> pd.DataFrame:
    """28 prompts a person, some missed at random; columns person, x, y.

    y = 1 + (.3 + u1)(x − x̄) + .6 x̄ + u0 + e with x̄ the person's mean over the rows that are there (a formative mean: it is
    the predictor, not an estimate of one); SDs of u0, u1, e: 1, .3, 1; correlation of u0 and u1 .3.
    """
    person = np.repeat(np.arange(at.persons), PROMPTS)
    person = person[rng.random(len(person)) >= at.missed]
    x = rng.standard_normal(at.persons)[person] + rng.standard_normal(len(person))
    mean = np.bincount(person, weights=x) / np.bincount(person)
    u = rng.standard_normal((at.persons, 2))
    slope = SD_SLOPE * (CORRELATION * u[:, 0] + np.sqrt(1.0 - CORRELATION**2) * u[:, 1])
    y = 1.0 + (WITHIN + slope[person]) * (x - mean[person]) + BETWEEN * mean[person] + SD_INTERCEPT * u[person, 0]
    return pd.DataFrame({"person": person, "x": x, "y": y + SD_RESIDUAL * rng.standard_normal(len(person))})


def replicate(at: Condition, number: int) -> tuple[np.ndarray, np.ndarray, bool, bool]:
    """Covered and width (methods, effects) of one simulated study, and its flags."""
    rng = np.random.default_rng((PERSONS.index(at.persons), MISSED.index(at.missed), number))
    fit = analysis.lmm(FORMULA, diary(at, rng))
    limits = np.array([_limits(fit, arguments) for arguments in METHODS.values()])
    truth = np.array(list(TRUTH.values()))
    covered = (limits[:, :, 0] <= truth) & (truth <= limits[:, :, 1])
    return covered, limits[:, :, 1] - limits[:, :, 0], fit.singular, fit.converged


def _limits(fit: analysis.LinearModel, arguments: dict[str, Any]) -> np.ndarray:
    """(effects, 2)"""
    ends = ["lower", "upper"]
    own = fit.tests(**arguments).loc[["within(x)", "between(x)"], ends].to_numpy()
    return np.vstack([own, fit.contrast(CONTEXTUAL, **arguments)[ends].to_numpy(dtype=float)])


def chunk(at: Condition, first: int, last: int) -> Outcome:
    columns: list[Any] = list(zip(*(replicate(at, number) for number in range(first, last)), strict=True))
    return Outcome(*(np.array(column) for column in columns))


def prove(workers: int, replicates: int = REPLICATES) -> bool:
    """All conditions; a line in the log, the page and its picture. True where every default interval meets the goal."""
    start = perf_counter()
    conditions = [Condition(*pair) for pair in product(PERSONS, MISSED)]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        found = dict(_run(pool, conditions, replicates))
    figures: dict[str, Any] = {"replicates": replicates, "conditions": [figures_of(at, found[at]) for at in conditions]}
    held = all(
        abs(one["coverage"] - 0.95) <= GOAL
        for condition in figures["conditions"]
        for one in condition["methods"]["default"].values()
    )
    line = log.append("coverage", held=held, seconds=perf_counter() - start, figures=figures)
    coverage_page.write(line)
    return held


def _run(
    pool: ProcessPoolExecutor, conditions: list[Condition], replicates: int
) -> Iterator[tuple[Condition, Outcome]]:
    for at in conditions:
        edges = [*range(0, replicates, CHUNK), replicates]
        parts = list(pool.map(chunk, [at] * (len(edges) - 1), edges[:-1], edges[1:]))
        print(f"coverage: {at.name}: {replicates} replicates", flush=True)
        names = ("covered", "width", "singular", "converged")
        yield at, Outcome(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def figures_of(at: Condition, outcome: Outcome) -> dict[str, Any]:
    """Coverage with its Monte-Carlo error and mean width, for each method and effect; and among singular fits alone."""
    count = len(outcome.covered)
    methods: dict[str, dict[str, dict[str, float | None]]] = {}
    for j, method in enumerate(METHODS):
        methods[method] = {}
        for k, effect in enumerate(TRUTH):
            covered = outcome.covered[:, j, k]
            share = float(covered.mean())
            methods[method][effect] = {
                "coverage": share,
                "error": float(np.sqrt(share * (1.0 - share) / count)),
                "width": float(outcome.width[:, j, k].mean()),
                "coverage_singular": _share(covered[outcome.singular]),
                "coverage_regular": _share(covered[~outcome.singular]),
            }
    return {
        "persons": at.persons,
        "missed": at.missed,
        "name": at.name,
        "singular": float(outcome.singular.mean()),
        "not_converged": int((~outcome.converged).sum()),
        "methods": methods,
    }


def _share(covered: np.ndarray) -> float | None:
    return float(covered.mean()) if len(covered) else None
