"""A night's report from a frame: counted, fitted, worded, drawn; sealed while a study collects."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import estimates
from analysis.report import Report, build
from analysis.simulate import SupportStress, simulate_frame

STUDY = {
    "slug": "s",
    "title": "S",
    "simulated": True,
    "started_on": "2026-04-13",
    "ended_on": "2026-04-26",
    "zone": "Europe/Zurich",
    "source": "",
}
MODEL: dict[str, Any] = {
    "key": "main",
    "title": "Stress on support",
    "role": "primary",
    "formula": "stress ~ within(support) + between(support) + day + weekend + sin24 + cos24 + (1 + within(support) | person)",
    "family": "gaussian",
    "reml": True,
    "df": "satterthwaite",
    "outcome": {"name": "stress", "label": "stress", "unit": "points", "range": [0, 100], "axis": "stress"},
    "predictor": {"name": "support", "label": "support", "unit": "points", "range": [0, 100], "axis": "support"},
}
LOGISTIC: dict[str, Any] = {
    **MODEL,
    "key": "tense",
    "title": "Tense on support",
    "family": "binomial",
    "formula": "tense ~ within(support) + between(support) + day + (1 | person)",
    "outcome": {"name": "tense", "label": "tension", "unit": "", "range": [0, 1], "axis": "probability of tension"},
}
PLAN: dict[str, Any] = {
    "schema": "ema-plan/1",
    "mode": "final",
    "questionnaire": "momentary",
    "occasion": "moment",
    "prompts_per_day": 6,
    "late_cutoff_minutes": 30,
    "columns": {},
    "notes": [],
    "models": [MODEL],
}
TRUTH = {**SupportStress().fixed_effects(), **SupportStress().standard_deviations()}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    made = simulate_frame(SupportStress(), persons=24, days=10, prompts=6, seed=3)
    return made.assign(tense=(made["stress"] > 40).where(made["stress"].notna()).astype(float))


@pytest.fixture(scope="module")
def report(frame: pd.DataFrame) -> Report:
    return build(frame, PLAN | {"models": [MODEL, LOGISTIC]}, study=STUDY, uploads={"batches": 1}, truth=TRUTH)


def test_the_report_holds_the_engines_own_numbers(frame: pd.DataFrame, report: Report) -> None:
    fit = analysis.lmm(MODEL["formula"], frame[frame["used"]])
    tests = fit.tests(df="satterthwaite")
    model = report.results["models"][0]
    for row in model["fixed"]:
        for ours, theirs in (
            ("estimate", "estimate"),
            ("se", "se"),
            ("df", "df"),
            ("lower", "lower"),
            ("upper", "upper"),
        ):
            assert row[ours] == pytest.approx(tests.loc[row["term"], theirs], rel=1e-12)
    assert model["contextual"]["estimate"] == pytest.approx(model["between"]["estimate"] - model["within"]["estimate"])
    assert model["log_likelihood"] == fit.log_likelihood
    assert (model["n_rows"], model["n_persons"]) == (fit.n_obs, 24)
    assert model["n_rows"] == frame["stress"].notna().sum()


@pytest.mark.parametrize(
    ("df", "label", "words"),
    [
        (None, "Kenward–Roger", "Kenward and Roger’s standard errors and degrees of freedom"),
        ("satterthwaite", "Satterthwaite", "Satterthwaite’s degrees of freedom"),
        ("z", "normal", "the normal distribution"),
    ],
)
def test_the_report_names_the_degrees_of_freedom_that_it_used(
    frame: pd.DataFrame, df: str | None, label: str, words: str
) -> None:
    model = {name: value for name, value in MODEL.items() if name != "df"} | ({"df": df} if df else {})
    results = build(frame, PLAN | {"models": [model]}, study=STUDY).results
    tests = analysis.lmm(MODEL["formula"], frame[frame["used"]]).tests(df=df)
    row = results["models"][0]["within"]
    assert row["df_method"] == label
    assert row["se"] == tests.loc["within(support)", "se"]
    assert row["df"] == (None if df == "z" else tests.loc["within(support)", "df"])
    assert words in results["methods"]


def test_results_are_plain_json_and_figures_are_labelled_pictures(report: Report) -> None:
    assert json.loads(json.dumps(report.results, allow_nan=False)) == report.results
    assert {"compliance", "main:signature", "main:lens", "main:within", "tense:signature-narrow"} <= set(report.figures)
    for name, svg in report.figures.items():
        assert svg.startswith("<svg"), name
        assert re.search(r'role="img" aria-label="[^"]{10,}"', svg), name
        assert not re.search(r'"#[0-9a-fA-F]{3,6}"', svg), f"{name} has a colour that no theme can change"
        assert "style=" not in svg.replace("-style=", ""), f"{name} would break a strict content policy"


def test_every_person_is_in_the_picture_and_counted(frame: pd.DataFrame, report: Report) -> None:
    people = set(frame["person"])
    assert people == set(re.findall(r'data-person="([^"]+)"', report.figures["main:signature"]))
    assert {person["person"] for person in report.results["models"][0]["persons"]} == people


def test_the_flow_names_its_denominators_and_adds_up(frame: pd.DataFrame, report: Report) -> None:
    flow = {row["key"]: row for row in report.results["flow"]}
    counts = frame["status"].value_counts()
    assert flow["planned"]["count"] == len(frame)
    assert flow["recorded"]["count"] == len(frame) - counts.get("no_record", 0)
    assert flow["model:main"]["count"] == frame["used"].sum()
    odd = {row["key"]: row["count"] for row in report.results["oddities"]}
    for status in ("expired", "late", "too_late", "no_record"):
        assert odd.get(status, 0) == counts.get(status, 0)
    assert report.results["compliance"]["answered"] == frame["status"].isin(["answered", "late"]).sum()


def test_practice_and_test_persons_are_counted_nowhere_else(frame: pd.DataFrame, report: Report) -> None:
    extra = frame[frame["person"] == "P001"].assign(person="TEST", test_person=True)
    practice = frame[frame["person"] == "P002"].assign(practice=True)
    elsewhere = practice.assign(questionnaire="another")
    more = build(pd.concat([frame, extra, practice, elsewhere], ignore_index=True), PLAN, study=STUDY, truth=TRUTH)
    assert more.results["models"][0]["fixed"] == report.results["models"][0]["fixed"]
    assert more.results["compliance"] == report.results["compliance"]
    odd = {row["key"]: row["count"] for row in more.results["oddities"]}
    assert (odd["test_person"], odd["practice"]) == (len(extra), 2 * len(practice))
    assert "other_questionnaire" not in odd


def test_truth_stands_beside_the_estimates(report: Report) -> None:
    rows = {row["term"]: row for row in report.results["models"][0]["truth"]}
    assert rows["within(support)"]["truth"] == SupportStress().within
    assert rows["within(support)"]["inside"] == (
        rows["within(support)"]["lower"] <= SupportStress().within <= rows["within(support)"]["upper"]
    )
    assert "sigma" in rows


def test_percentage_points_agree_with_a_direct_average_over_people(frame: pd.DataFrame, report: Report) -> None:
    model = report.results["models"][1]
    points = model["percentage_points"]["within"]
    assert np.sign(points["estimate"]) == np.sign(model["within"]["estimate"])
    assert points["lower"] <= points["estimate"] <= points["upper"]
    assert (points["lower"] <= 0 <= points["upper"]) == (model["within"]["lower"] <= 0 <= model["within"]["upper"])
    rng = np.random.default_rng(0)
    beta = {row["term"]: row["estimate"] for row in model["fixed"]}
    used = frame[frame["used"]]
    sd = model["variance"][0]["sd"]
    means = used.groupby("person")["support"].transform("mean")
    anchor = used.groupby("person")["support"].mean().mean()
    level = beta["Intercept"] + beta["between(support)"] * (means - anchor) + beta["day"] * used["day"]
    draws = rng.standard_normal(4000) * sd

    def averaged(step: float) -> float:
        eta = level.to_numpy()[:, None] + beta["within(support)"] * step + draws[None, :]
        by_row = pd.Series((1 / (1 + np.exp(-eta))).mean(axis=1), index=used.index)
        return float(by_row.groupby(used["person"]).mean().mean())

    direct = 100 * (averaged(model["step"] / 2) - averaged(-model["step"] / 2))
    assert points["estimate"] == pytest.approx(direct, abs=0.15)  # 4,000 draws of the person's deviation


def test_a_model_that_cannot_be_fitted_says_why_and_stops_no_other(frame: pd.DataFrame) -> None:
    broken = {**MODEL, "key": "broken", "formula": MODEL["formula"].replace("day +", "mood +")}
    models = build(frame, PLAN | {"models": [broken, MODEL]}, study=STUDY).results["models"]
    assert [model["status"] for model in models] == ["failed", "fitted"]
    assert "mood" in models[0]["cause"]


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_too_few_rows_are_a_result_not_a_crash(frame: pd.DataFrame, rows: int) -> None:
    found = build(frame.iloc[:rows], PLAN, study=STUDY)
    assert found.results["models"][0]["status"] == "failed"
    assert found.results["models"][0]["cause"]


def test_two_people_are_no_ground_for_a_sentence_on_people() -> None:
    pair = simulate_frame(SupportStress(), persons=2, days=10, prompts=6, seed=3)
    model = {name: value for name, value in MODEL.items() if name != "df"}
    (found,) = build(pair, PLAN | {"models": [model]}, study=STUDY).results["models"]
    assert found["status"] == "failed"
    assert "2 people are too few" in found["cause"]


def test_while_a_study_collects_nothing_says_what_was_found(frame: pd.DataFrame) -> None:
    sealed = build(frame, PLAN | {"mode": "conduct"}, study=STUDY, truth=TRUTH)
    turned = frame.assign(stress=100.0 - frame["stress"])  # every sign the other way round
    other = build(turned, PLAN | {"mode": "conduct"}, study=STUDY, truth=TRUTH)
    (model,), (mirrored,) = sealed.results["models"], other.results["models"]
    for key in (
        "fixed",
        "within",
        "between",
        "contextual",
        "finding",
        "truth",
        "persons",
        "percentage_points",
        "variance",
    ):
        assert not model.get(key)
    assert not [name for name in sealed.figures if name.startswith("main:")]
    assert model["icc"] == pytest.approx(mirrored["icc"], rel=1e-6)
    assert model["warnings"] == mirrored["warnings"]
    assert model["expected_width"] == pytest.approx(mirrored["expected_width"], rel=1e-5)


def test_a_spread_of_slopes_does_not_turn_the_sign_of_the_percentage_points() -> None:
    """At a high level a wide spread of slopes pulls the average down on both sides of the usual; that is no slope."""
    rng = np.random.default_rng(4)
    persons, rows = 150, 40
    x = rng.standard_normal((persons, rows))
    own = rng.standard_normal((persons, 2)) * (0.3, 1.2)
    eta = 2.2 + 0.30 * x + own[:, :1] + own[:, 1:] * x
    made = pd.DataFrame({"person": np.repeat([f"P{n:03d}" for n in range(persons)], rows), "support": x.ravel()})
    made["tense"] = (rng.random(eta.size) < 1 / (1 + np.exp(-eta.ravel()))).astype(float)
    model = {**LOGISTIC, "formula": "tense ~ within(support) + between(support) + (1 + within(support) | person)"}
    fit = analysis.glmm(model["formula"], made, family="binomial")
    found = estimates.model_rows(made, model)
    terms = ("within(support)", "between(support)")
    G = estimates.random_covariance(fit, "person", terms[0])
    points = estimates.margins(found, fit.fixed["estimate"].to_numpy(), fit.vcov.to_numpy(), G, terms, 100.0)["within"]
    assert fit.fixed.loc[terms[0], "estimate"] > 0
    assert points.estimate > 0


def test_an_outcome_that_a_predictor_separates_fails_alone(frame: pd.DataFrame) -> None:
    apart = frame.assign(tense=(frame["support"] > 50).where(frame["support"].notna()).astype(float))
    models = build(apart, PLAN | {"models": [LOGISTIC, MODEL]}, study=STUDY).results["models"]
    assert models[1]["status"] == "fitted"
    assert models[0]["status"] == "failed" or not models[0]["fit_sound"]
