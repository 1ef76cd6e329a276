"""Convergence: no false warning for well-posed designs, every singular one recognised, no optimum worse than another's."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from time import perf_counter
from typing import Any

import analysis
from bench.engines import r_versions
from proofs import convergence_page, log
from proofs.designs import Case, maybe_singular, well_posed
from proofs.independent import Opinion, second_opinion
from proofs.peers import by_lme4, by_statsmodels, statsmodels_can

WELL_POSED, CANDIDATES, SINGULAR = 1000, 1500, 200
"""Well-posed designs; designs that may be singular; how many of those must be, and are kept for the tests."""
WORSE = 1e-6
"""A log-likelihood further than this below another's is a worse optimum."""
OPTIMA = log.ROOT / "tests" / "analysis" / "optima.json"


@dataclass(frozen=True)
class Judged:
    """A design with the engine's answer, the second opinion, and lme4's or statsmodels' optimum (None: not asked)."""

    case: Case
    log_likelihood: float
    converged: bool
    singular: bool
    messages: list[str]
    evaluations: int
    opinion: Opinion
    peer: float | None = None
    peer_warned: bool = False

    @property
    def best(self) -> float:
        """The highest log-likelihood that anybody else has found."""
        return max(self.opinion.log_likelihood, -float("inf") if self.peer is None else self.peer)


def prove(workers: int) -> bool:
    """All designs; a line in the log, the page, and the optima that the tests repeat. True where everything held."""
    start = perf_counter()
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        good = list(pool.map(_judge, [well_posed] * WELL_POSED, range(WELL_POSED), chunksize=20))
        doubtful = list(pool.map(_judge, [maybe_singular] * CANDIDATES, range(CANDIDATES), chunksize=20))
    good, doubtful = with_peers(good), with_peers(doubtful)
    figures = figures_of(good, doubtful)
    held = holds(figures)
    line = log.append("convergence", held=held, seconds=perf_counter() - start, figures=figures)
    convergence_page.write(line)
    _keep_optima(good, doubtful)
    return held


def _judge(draw: Callable[[int], Case], seed: int) -> Judged:
    case = draw(seed)
    fit = analysis.lmm(case.formula, case.frame)
    evaluations = fit.convergence().evaluations
    return Judged(
        case, fit.log_likelihood, fit.converged, fit.singular, fit.messages, evaluations, second_opinion(case)
    )


def with_peers(judged: Sequence[Judged]) -> list[Judged]:
    """lme4's optimum for each where R is at hand, otherwise statsmodels' for every eighth of those that it can fit."""
    if r_versions():
        answers = by_lme4([item.case for item in judged])
        return [
            replace(item, peer=answer.log_likelihood, peer_warned=answer.warned)
            for item, answer in zip(judged, answers, strict=True)
        ]
    asked = [item for item in judged if statsmodels_can(item.case)][::8]
    return [replace(item, peer=by_statsmodels(item.case)) if item in asked else item for item in judged]


def figures_of(good: Sequence[Judged], doubtful: Sequence[Judged]) -> dict[str, Any]:
    """What the log keeps; lists of seeds name each design that breaks a promise."""
    singular = [item for item in doubtful if item.opinion.singular is True]
    interior = [item for item in doubtful if item.opinion.singular is False]
    everything = [*good, *doubtful]
    asked = [item for item in everything if item.peer is not None]
    return {
        "well_posed": {
            "designs": len(good),
            "false_warnings": [item.case.seed for item in good if item.messages or not item.converged],
            "false_warnings_of_lme4": sum(item.peer_warned for item in good) if r_versions() else None,
        },
        "singular": {
            "designs": len(singular),
            "missed": [item.case.seed for item in singular if not item.singular],
            "not_converged": [item.case.seed for item in singular if not item.converged],
            "largest_gap": max((_below(item) for item in singular), default=None),
            "kinds": {kind: sum(item.case.kind == kind for item in singular) for kind in _kinds(singular)},
        },
        "interior": {
            "designs": len(interior),
            "called_singular": [item.case.seed for item in interior if item.singular],
            "not_converged": [item.case.seed for item in interior if not item.converged],
        },
        "undecided": len(doubtful) - len(singular) - len(interior),
        "optimum": {
            "worse": [f"{item.case.kind} {item.case.seed}" for item in everything if _below(item) > WORSE],
            "largest_gap_to_second_opinion": max(
                item.opinion.log_likelihood - item.log_likelihood for item in everything
            ),
            "largest_gap_to_peer": max(_peer(item) - item.log_likelihood for item in asked),
            "better_than_peer": sum(item.log_likelihood > _peer(item) + WORSE for item in asked),
            "asked_of_peer": len(asked),
            "peer": f"lme4 {r_versions()['lme4']}" if r_versions() else "statsmodels",
        },
    }


def holds(figures: dict[str, Any]) -> bool:
    broken = [
        figures["well_posed"]["false_warnings"],
        figures["singular"]["missed"],
        figures["singular"]["not_converged"],
        figures["interior"]["called_singular"],
        figures["interior"]["not_converged"],
        figures["optimum"]["worse"],
    ]
    return not any(broken) and figures["singular"]["designs"] >= SINGULAR


def _below(item: Judged) -> float:
    return item.best - item.log_likelihood


def _peer(item: Judged) -> float:
    assert item.peer is not None
    return item.peer


def _kinds(judged: Sequence[Judged]) -> list[str]:
    return sorted({item.case.kind for item in judged})


def _keep_optima(good: Sequence[Judged], doubtful: Sequence[Judged]) -> None:
    """What `make test` holds the engine to: the best that others found, by seed; of the singular ones the hardest."""
    singular = [item for item in doubtful if item.opinion.singular is True]
    hardest = sorted(singular, key=lambda item: item.evaluations, reverse=True)[:SINGULAR]
    interior = [item for item in doubtful if item.opinion.singular is False][: SINGULAR // 4]
    kept = {"well_posed": good, "singular": hardest, "interior": interior}
    out = {name: {item.case.seed: round(item.best, 8) for item in items} for name, items in kept.items()}
    OPTIMA.write_text(json.dumps(out, separators=(",", ":")).replace('},"', '},\n"') + "\n")
