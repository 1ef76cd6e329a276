"""The proof of convergence in short: every design of `make prove ONLY=convergence`, held to the optima that others found."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pandas as pd
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


def test_small_data_with_several_optima_give_the_best_of_them():
    """18 rows of 3 persons, one answer far out; lme4 1.1 finds −52.3455, and a start near zero stops at −55.899."""
    x = [0, 1, 1, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0]
    z = [-0.04, 0.6, -0.58, 1.08, 0.44, 1.51, -1.1, 1.21, -1.37, -0.56, 2.72, 0.86, -0.91, 0.1, 0.2, 0.09, -0.67, 0.46]
    y = [-0.24, -1.33, -0.3, -1.81, -0.65, -1.38, -1.81, -0.19, -2.59]
    y += [0.8, 2.42, -0.71, -0.66, 4.34, 3.9, -0.27, 25.52, 1.15]
    frame = pd.DataFrame({"g": [0] * 9 + [1] * 5 + [2] * 4, "x": x, "z": z, "y": y})
    fit = analysis.lmm("y ~ x + z + (1 + x + z || g)", frame, reml=False)
    assert fit.converged
    assert fit.log_likelihood == pytest.approx(-52.3455, abs=1e-3)
