"""The proof of convergence in short: every design of `make prove ONLY=convergence`, held to the optima that others found."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest

import analysis
from proofs.designs import Case, maybe_singular, well_posed
from proofs.independent import second_opinion
from proofs.peers import by_statsmodels, statsmodels_can

OPTIMA = json.loads(Path(__file__).with_name("optima.json").read_text())
WORSE = 1e-6  # of a log-likelihood: below it two optima are the same


def fitted(case: Case) -> analysis.LinearModel:
    return analysis.lmm(case.formula, case.frame)


def test_a_thousand_well_posed_designs_reach_the_best_optimum_known_without_a_warning():
    broken = {}
    for seed, best in OPTIMA["well_posed"].items():
        fit = fitted(well_posed(int(seed)))
        if fit.messages or not fit.converged or fit.log_likelihood < best - WORSE:
            broken[seed] = (fit.messages, best - fit.log_likelihood)
    assert len(OPTIMA["well_posed"]) == 1000
    assert broken == {}


@pytest.mark.parametrize(("kind", "count"), [("singular", 200), ("interior", 50)])
def test_two_hundred_singular_designs_are_recognised_and_those_nearly_so_are_not_called_singular(kind, count):
    broken = {}
    for seed, best in OPTIMA[kind].items():
        fit = fitted(maybe_singular(int(seed)))
        right = fit.singular == (kind == "singular") and fit.converged
        if not right or fit.log_likelihood < best - WORSE:
            broken[seed] = (fit.singular, fit.converged, best - fit.log_likelihood)
    assert len(OPTIMA[kind]) == count
    assert broken == {}


def test_statsmodels_finds_no_better_optimum():
    cases = (well_posed(seed) for seed in range(1000))
    small = islice((case for case in cases if statsmodels_can(case) and case.shape.terms < 3), 25)
    for case in small:
        assert fitted(case).log_likelihood >= by_statsmodels(case) - WORSE, case.seed


@pytest.mark.parametrize("draw", [well_posed, maybe_singular])
def test_the_second_opinion_agrees_with_what_is_kept(draw):
    kept = OPTIMA["well_posed"] if draw is well_posed else OPTIMA["singular"]
    for seed, best in islice(kept.items(), 3):
        assert second_opinion(draw(int(seed))).log_likelihood == pytest.approx(best, abs=WORSE)
