from __future__ import annotations

import numpy as np
import pandas as pd

import analysis
from analysis.simulate import SupportStress, answer_prompts, draw_people, simulate_frame

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
