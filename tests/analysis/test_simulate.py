from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.simulate import (
    Standardised,
    SupportStress,
    answer_prompts,
    draw_people,
    simulate_frame,
    simulate_standardised,
)

FORMULA = "stress ~ within(support) + between(support) + day + weekend + sin24 + cos24 + (1 + within(support) | person)"


def test_the_model_recovers_the_truth():
    truth = SupportStress()
    fit = analysis.lmm(FORMULA, simulate_frame(truth, persons=400, seed=3))
    assert fit.converged
    for term, value in truth.fixed_effects().items():
        row = fit.fixed.loc[term]
        assert abs(row["estimate"] - value) < 4.0 * row["se"], term
    g = fit.random["person"].to_numpy()
    np.testing.assert_allclose(np.sqrt(np.diag(g)), [truth.sd_intercept, truth.sd_slope], rtol=0.12)
    np.testing.assert_allclose(fit.residual_sd, truth.sd_residual, rtol=0.02)


def test_truth_is_named_by_the_models_terms():
    fit = analysis.lmm(FORMULA, simulate_frame(SupportStress(), persons=20))
    assert set(SupportStress().fixed_effects()) == set(fit.fixed.index)


def test_the_same_seed_gives_the_same_study():
    one, same, other = (simulate_frame(SupportStress(), persons=5, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same)
    assert not one["stress"].equals(other["stress"])


def test_a_study_has_one_row_per_prompt_with_all_fates():
    frame = simulate_frame(SupportStress(), persons=30, days=10, prompts=5)
    assert len(frame) == 30 * 10 * 5
    assert not frame.duplicated(["person", "day", "slot"]).any()
    assert frame.sort_values(["person", "scheduled_at"]).index.equals(frame.index)
    assert set(frame["status"]) == {"answered", "late", "too_late", "expired", "no_record"}
    assert (frame["used"] == frame["stress"].notna()).all()
    assert frame.loc[frame["status"] == "late", "latency_minutes"].between(60.0, 90.0).all()
    assert frame["stress"].dropna().between(0, 100).all()
    assert (frame["weekend"] == (frame["scheduled_local"].dt.day_of_week >= 5)).all()


def test_people_skip_a_little_more_when_stress_is_high():
    truth = SupportStress(answer_per_stress_point=-0.03)
    rng = np.random.default_rng(0)
    person = draw_people(truth, 1, rng).iloc[0]
    schedule = pd.DataFrame({"day": 1, "slot": 1, "hour": 12.0, "weekend": 0}, index=range(20_000))
    answers = answer_prompts(truth, person, schedule, rng)
    high, low = (answers.loc[part, "answered"].mean() for part in (answers["stress"] > 45, answers["stress"] < 30))
    assert high < low - 0.05


UNITLESS = Standardised(
    icc_outcome=0.4, icc_predictor=0.3, slope_sd=0.3, serial=0.0, compliance=0.7, compliance_icc=0.2
)
DAY, SLOT = (
    np.repeat(np.arange(1, 11), 4),
    np.tile(np.arange(1, 5), 10),
)  # four prompts a day, three hours apart on average


def test_a_standardised_study_has_the_spreads_it_was_made_from():
    frame = simulate_standardised(UNITLESS, 4000, DAY, SLOT, np.random.default_rng(1))
    for name, icc in (("outcome", 0.4), ("predictor", 0.3)):
        null = analysis.lmm(f"{name} ~ 1 + (1 | person)", frame)
        assert null.icc()["person"] == pytest.approx(icc, abs=0.02)
        assert null.residual_sd == pytest.approx(1.0, abs=0.02)
    fit = analysis.lmm(
        "outcome ~ within(predictor) + between(predictor) + day + (1 + within(predictor) | person)", frame
    )
    assert np.sqrt(fit.random["person"].to_numpy()[1, 1]) == pytest.approx(0.3, abs=0.02)
    assert (fit.fixed["estimate"].abs() < 4.0 * fit.fixed["se"]).all()


def test_answers_of_a_standardised_study_resemble_each_other_the_closer_they_are():
    alike = Standardised(0.0, 0.0, 0.0, serial=0.5, compliance=1.0, compliance_icc=0.0)
    frame = simulate_standardised(alike, 5000, DAY[:8], SLOT[:8], np.random.default_rng(2))
    x, hour = (frame[name].to_numpy().reshape(5000, 8) for name in ("predictor", "hour"))
    gap = hour[:, 1] - hour[:, 0]
    near = gap < 3.0
    assert np.mean((x[:, 0] * x[:, 1])[near]) == pytest.approx(np.mean(0.5 ** (gap[near] / 3.0)), abs=0.08)
    assert np.mean((x[:, 0] * x[:, 1])[~near]) == pytest.approx(np.mean(0.5 ** (gap[~near] / 3.0)), abs=0.08)
    assert abs(np.mean(x[:, 3] * x[:, 4])) < 0.12  # a night lies between: 0.5 ** 5 is left


def test_people_of_a_standardised_study_differ_in_how_often_they_answer():
    frame = simulate_standardised(UNITLESS, 4000, DAY, SLOT, np.random.default_rng(3))
    share = frame.groupby("person").size().reindex(range(4000), fill_value=0) / 40
    assert share.mean() == pytest.approx(0.7, abs=0.02)
    assert share.var() == pytest.approx(0.7 * 0.3 * (0.2 + 0.8 / 40), rel=0.08)  # beta-binomial
    assert len(simulate_standardised(UNITLESS, 0, DAY, SLOT, np.random.default_rng(3))) == 0


def test_more_people_of_a_standardised_study_begin_with_the_fewer():
    silent = Standardised(0.99999, 0.99999, 0.0, serial=0.0, compliance=1.0, compliance_icc=0.0)
    few, many = (
        simulate_standardised(silent, n, DAY[:t], SLOT[:t], np.random.default_rng(4)) for n, t in ((5, 40), (9, 8))
    )
    usual = [frame.groupby("person")["predictor"].mean().to_numpy()[:5] for frame in (few, many)]
    np.testing.assert_allclose(*usual, atol=2.0)  # people differ by 316, moments by 1
