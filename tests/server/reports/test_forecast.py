"""The forecast: known formulas where there are any, what more people buy, the same twice, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

import analysis
from analysis.linear_model import LinearModel
from analysis.simulate import simulate_standardised
from analysis.words import RANDOMISED_ONLY
from ema_server.common.errors import DomainError
from ema_server.demo import support_stress
from ema_server.reports.forecast import Assumptions, Forecast, HalfWidth, _sizes, forecast
from ema_server.reports.forecast_model import InvalidForecast, forecast_model

STUDY = Assumptions(people=60, prompts=84, prompts_per_day=6, days=14)
BALANCED = Assumptions(
    people=40, prompts=30, prompts_per_day=6, days=5, compliance=1.0, icc=0.4, slope_sd=0.0, serial=0.0
)
MONTE_CARLO = 4.0
"""Standard errors of a simulated quantile that a right answer may be off: one seed in 15,000 fails."""


def plan_of(formula: str, **more: Any) -> dict[str, Any]:
    return {"models": [{"title": "Main", "formula": formula, "predictor": {"name": "support"}, **more}]}


def exact(half_at_one: float, df: float, df_x: float, simulations: int) -> dict[str, tuple[float, float]]:
    """Quantiles of t·√(s²/S_xx) and their Monte-Carlo error: s²/σ² over S_xx's mean square is F(df, df_x) distributed."""
    spread = math.sqrt((2.0 / df + 2.0 / df_x) / 4.0)  # SD of the width's logarithm
    found = {}
    for name, share in (("low", 0.1), ("expected", 0.5), ("high", 0.9)):
        value = half_at_one * stats.t.ppf(0.975, df) * math.sqrt(stats.f.ppf(share, df, df_x) / df_x)
        error = spread * math.sqrt(share * (1.0 - share) / simulations) / stats.norm.pdf(stats.norm.ppf(share))
        found[name] = (value, error)
    return found


def assert_near(width: HalfWidth | None, formula: dict[str, tuple[float, float]]) -> None:
    assert width is not None
    for name, (value, error) in formula.items():
        assert getattr(width, name) == pytest.approx(value, rel=MONTE_CARLO * error), name


def test_a_balanced_study_with_random_intercepts_has_the_widths_of_the_formulas():
    n, t, simulations = BALANCED.people, BALANCED.prompts, 200
    found = forecast(
        plan_of("stress ~ within(support) + between(support) + (1 | person)"), BALANCED, simulations=simulations
    )
    assert_near(found.within, exact(1.0, n * (t - 1) - 1, n * (t - 1), simulations))
    between_x = BALANCED.icc_predictor / (1.0 - BALANCED.icc_predictor)
    of_means = math.sqrt((BALANCED.icc / (1.0 - BALANCED.icc) + 1.0 / t) / (between_x + 1.0 / t))
    assert_near(found.between, exact(of_means * math.sqrt(between_x), n - 2, n - 1, simulations))
    assert found.untrusted == 0
    assert found.method == "Kenward–Roger"


def test_twice_the_people_narrow_both_parts_by_the_root_of_two():
    found = forecast(None, STUDY, simulations=60)
    one, two = (size(found, people, 84) for people in (60, 120))
    # Within and between have 58 and 118 degrees of freedom at least: t alone makes 1 % of difference, the draws 3 %.
    assert two.within / one.within == pytest.approx(1.0 / math.sqrt(2.0), rel=0.06)
    assert two.between / one.between == pytest.approx(1.0 / math.sqrt(2.0), rel=0.12)


def test_more_prompts_narrow_the_within_part_and_hardly_the_between_part():
    found = forecast(None, STUDY, simulations=40)
    half, one, two = (size(found, 60, prompts) for prompts in (42, 84, 168))
    assert half.within > 1.05 * one.within > 1.05 * 1.05 * two.within
    assert half.between == pytest.approx(two.between, rel=0.1)
    # Where people differ in their slopes, no number of prompts replaces people: 1.96 × 0.15 / √60 is the least.
    assert two.within > 1.96 * STUDY.slope_sd / math.sqrt(60)


def size(found: Forecast, people: int, prompts: int) -> Any:
    return next(each for each in found.sizes if (each.people, each.prompts) == (people, prompts))


def test_lower_compliance_widens_the_within_part():
    kept, poor = (forecast(None, replace(STUDY, compliance=share), simulations=12) for share in (0.9, 0.3))
    assert poor.within.expected > 1.15 * kept.within.expected


def test_the_same_seed_gives_the_same_forecast_and_tells_how_far_it_is():
    told: list[tuple[int, int]] = []
    small = replace(STUDY, people=12)
    one = forecast(None, small, simulations=5, progress=lambda done, total: told.append((done, total)))
    assert one == forecast(None, small, simulations=5)
    assert one != forecast(None, small, simulations=5, seed=2)
    assert told == [(done, 21) for done in range(1, 22)]  # five, and two for each of eight other sizes


def test_the_study_stands_among_the_sizes_with_its_own_widths():
    found = forecast(None, replace(STUDY, people=20), simulations=8)
    own = size(found, 20, 84)
    assert (own.within, own.between, own.simulations) == (found.within.expected, found.between.expected, 8)
    assert [(each.people, each.prompts) for each in found.sizes] == [
        (people, prompts) for people in (10, 20, 40) for prompts in (42, 84, 168)
    ]


def test_sizes_that_no_study_can_have_are_left_out():
    few = forecast(None, Assumptions(people=3, prompts=1, prompts_per_day=1, days=1), simulations=1)
    assert [(each.people, each.prompts) for each in few.sizes] == [(2, 1), (2, 2), (3, 1), (3, 2), (6, 1), (6, 2)]
    many = Assumptions(people=60_000, prompts=20, prompts_per_day=1000, days=1)
    assert {(each.people, each.prompts) for each in _sizes(many)} == {
        (30_000, 10),
        (30_000, 20),
        (60_000, 10),
        (60_000, 20),
    }


def test_waves_are_spread_over_the_study():
    day, slot = Assumptions(people=10, prompts=12, prompts_per_day=3, days=31).schedule()
    assert day.tolist() == [1, 1, 1, 8, 8, 8, 16, 16, 16, 24, 24, 24]
    assert slot.tolist() == [1, 2, 3] * 4


def test_a_plan_is_fitted_as_it_is_where_it_can_be():
    found = forecast(support_stress.PLAN, replace(STUDY, people=12), simulations=2)
    assert found.formula == (
        "outcome ~ within(predictor) + between(predictor) + day + weekend + sin24 + cos24"
        " + (1 + within(predictor) | person)"
    )
    assert found.method == "Satterthwaite"
    assert not found.notes


@pytest.mark.parametrize("df", [None, "satterthwaite", "z"])
def test_the_width_is_that_of_the_plans_own_intervals(df: str | None):
    few = replace(STUDY, people=6)  # where ways to degrees of freedom differ much
    found = forecast(plan_of("y ~ within(support) + between(support) + (1 | person)", df=df), few, simulations=1)
    frame = simulate_standardised(few.truth, 6, *few.schedule(), np.random.default_rng([1, 0]))
    tests = analysis.lmm("outcome ~ within(predictor) + between(predictor) + (1 | person)", frame).tests(df=df)
    half = (tests["upper"] - tests["lower"]) / 2.0
    assert found.within.expected == pytest.approx(half["within(predictor)"])
    assert found.between.expected == pytest.approx(half["between(predictor)"] * math.sqrt(3.0 / 7.0))


def test_a_fit_that_did_not_converge_is_not_trusted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(LinearModel, "converged", False)
    found = forecast(None, replace(STUDY, people=12), simulations=2)
    assert (found.untrusted, found.within) == (2, None)


def test_days_within_a_person_are_kept():
    plan = plan_of("stress ~ within(support) + between(support) + day + (1 + within(support) || person/day)")
    model = forecast_model(plan)
    assert model.formula({"day", "slot"}) == (
        "outcome ~ within(predictor) + between(predictor) + day + (1 + within(predictor) || person) + (1 | person:day)"
    )
    assert model.notes == ("Left out of what differs between people and days: (1 + within(support) | person:day).",)
    assert forecast(plan, replace(STUDY, people=20), simulations=1).untrusted == 0


@pytest.mark.parametrize(
    ("formula", "parts", "said"),
    [
        ("stress ~ support + (1 | person)", ("within", "between"), "Simplified: support counts as"),
        ("stress ~ within(support) + (within(support) | person)", ("within",), ""),
        ("stress ~ between(support) + (1 | person)", ("between",), ""),
        ("stress ~ within_day(support) + between(support) + (1 | person)", ("within", "between"), "within_day(support)"),
        ("stress ~ lag(within(support)) + (1 | person)", ("within",), "pairs of prompts that a lag loses"),
        ("stress ~ within(support) * arm + (1 | person)", ("within",), "Simplified: within(support)*arm"),
        ("stress ~ within(support) + arm + age + (1 | person)", ("within",), "Left out of the simulated studies: arm, age."),
        ("stress ~ within(support) + (1 | person) + (1 | site)", ("within",), "(1 | site)"),
        ("stress ~ within(support) + (1 | person)", ("within",), "gives everyone the same slope"),
    ],
)  # fmt: skip
def test_what_a_plan_has_besides_is_said(formula: str, parts: tuple[str, ...], said: str):
    model = forecast_model(plan_of(formula))
    assert model.parts == parts
    assert said in " ".join(model.notes)


def test_a_yes_or_no_outcome_is_taken_as_a_number_and_said():
    model = forecast_model(plan_of("sad ~ within(support) + (1 | person)", family="binomial"))
    assert "binomial" in model.notes[0]
    assert model.df is None


def test_a_part_that_there_is_not_has_no_width():
    within_only = forecast(plan_of("y ~ within(support) + (1 | person)"), replace(STUDY, people=12), simulations=1)
    assert within_only.between is None
    alike = forecast(None, replace(STUDY, people=12, icc_predictor=0.0), simulations=1)
    assert alike.within is not None
    assert alike.between is None
    assert "People do not differ in the predictor" in " ".join(alike.in_words())


def test_terms_that_cannot_vary_are_left_out_and_said():
    found = forecast(None, Assumptions(people=30, prompts=8, prompts_per_day=8, days=1), simulations=2)
    assert found.within is not None
    assert found.formula == "outcome ~ within(predictor) + between(predictor) + (1 + within(predictor) | person)"
    assert "do not differ in day" in " ".join(found.notes)


def test_fits_that_cannot_be_trusted_are_counted_and_give_no_width():
    found = forecast(None, Assumptions(people=2, prompts=2, prompts_per_day=1, days=2), simulations=3)
    assert found.untrusted == 3
    assert found.within is found.between is None
    words = " ".join(found.in_words())
    assert "3 of 3 fits could not be trusted" in words
    assert "Within persons: no width can be told." in words


def test_the_words_say_width_units_assumptions_and_no_finding():
    words = forecast(None, replace(STUDY, people=30), simulations=10).in_words()
    text = " ".join(words)
    for part in ("Within persons: the 95 % interval is expected to reach 0.0", "from 30 people", "With 60 people instead",
                 "With 42 prompts instead", "79 % of the prompts", "an SD of 16 points (beta distributed)", "missing completely at random",
                 "10 simulated studies", "There is no analysis plan yet"):  # fmt: skip
        assert part in text
    assert not [word for word in (*RANDOMISED_ONLY, "detect", "hypothes") if word in text.lower()]
    assert "nan" not in text.split()


@pytest.mark.parametrize(
    ("changes", "accepted"),
    [
        ({"people": 1}, "people: 1 is not accepted; a whole number from 2 to 100,000"),
        ({"people": 12.5}, "people: 12.5"),
        ({"people": True}, "people: True"),
        ({"prompts": 0}, "prompts: 0 is not accepted; a whole number from 1"),
        ({"prompts": 900}, "prompts: 900 do not fit into 14 days with 6 a day; up to 84"),
        ({"prompts_per_day": 0}, "prompts_per_day: 0 is not accepted; above 0"),
        ({"prompts_per_day": math.nan}, "prompts_per_day: nan"),
        ({"days": 0}, "days: 0"),
        ({"people": 90_000}, "up to 2,000,000 are accepted"),
        ({"compliance": 0.0}, "compliance: 0.0 is not accepted; a number above 0, up to 1"),
        ({"compliance": 1.01}, "compliance: 1.01"),
        ({"compliance": "most"}, "compliance: 'most'"),
        ({"icc": 1.0}, "icc: 1.0 is not accepted; a number from 0 to below 1"),
        ({"icc": -0.1}, "icc: -0.1"),
        ({"icc_predictor": math.nan}, "icc_predictor: nan"),
        ({"slope_sd": 1.0}, "slope_sd: 1.0"),
        ({"serial": -0.2}, "serial: -0.2"),
        ({"compliance_icc": 1.0}, "compliance_icc: 1.0"),
    ],
)
def test_an_assumption_that_cannot_be_meant_is_refused(changes: dict[str, Any], accepted: str):
    with pytest.raises(DomainError) as refused:
        replace(STUDY, **changes)
    assert accepted in refused.value.detail


@pytest.mark.parametrize(
    ("plan", "options", "accepted"),
    [
        (None, {"simulations": 0}, "simulations: 0 is not accepted; a whole number from 1 to 10,000"),
        (None, {"seed": -1}, "seed: -1"),
        ({}, {}, "plan.models: a list"),
        ({"models": []}, {}, "plan.models: a list"),
        (plan_of("stress ~ within(support)"), {}, "plan.models[0].formula"),
        (plan_of("stress ~ within(sleep) + (1 | person)"), {}, "plan.models[0].predictor.name: 'support'"),
        (plan_of("stress ~ support + (1 | person)", predictor=None), {}, "plan.models[0].predictor.name: None"),
        (plan_of("stress ~ support + (1 | person)", df="welch"), {}, "plan.models[0].df: 'welch'"),
        (plan_of("y ~ support + (1 | person)", df="kenward-roger", reml=False), {}, "needs reml true"),
    ],
)  # fmt: skip
def test_a_question_that_cannot_be_meant_is_refused(plan: Any, options: dict[str, Any], accepted: str):
    with pytest.raises(InvalidForecast) as refused:
        forecast(plan, STUDY, **options)
    assert accepted in refused.value.detail
