"""`analysis.pseudobulk`: one analysis with the mixed model where the design is balanced, by proof; R's figures where not."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import vl_convert
from scipy.stats import false_discovery_control, ttest_ind

import analysis
from analysis.errors import DesignError, SpecError
from tests.analysis.test_reference import FOLDER

IDENTITY = 1e-8
"""The two analyses are one by proof; REML stops this close to its optimum."""
COLUMNS = ["estimate", "se", "df", "statistic", "p_value", "lower", "upper"]


def cells(seed: int = 0, patients: int = 12, rows: int = 6, spread: float = 1.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    code = np.repeat(np.arange(patients), rows)
    dose = code % 3 - 1.0
    y = 0.5 * dose + rng.normal(0, spread, patients)[code] + rng.normal(size=len(code))
    arm = np.where(code % 2 == 0, "a", "b")
    return pd.DataFrame({"patient": code, "dose": dose, "arm": arm, "depth": rng.normal(size=len(code)), "y": y})


def genes(frame: pd.DataFrame, many: int = 40, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    own = rng.normal(0, 0.7, (frame["patient"].nunique(), many))[frame["patient"]]
    lift = np.where(np.arange(many) < 10, 1.5, 0.0) * frame["dose"].to_numpy()[:, None]
    values = own + lift + rng.normal(0, 1, (len(frame), many))
    return pd.DataFrame(values, columns=[f"HLA-{k}" for k in range(many)], index=frame.index)


# ---------------------------------------------------------------------- the identity


@pytest.mark.parametrize("formula", ["y ~ dose + arm + (1 | patient)", "y ~ dose + within(depth) + (1 | patient)"])
def test_balanced_group_means_are_the_mixed_model(formula: str) -> None:
    """Estimates, errors, Kenward and Roger's degrees of freedom, p and limits; terms centred in each group change nothing."""
    frame = cells()
    if "depth" in formula:
        frame["depth"] -= frame.groupby("patient")["depth"].transform("mean")
    found = analysis.pseudobulk(formula, frame)
    assert found.coincide
    assert found.mixed is not None
    np.testing.assert_allclose(found.groups[COLUMNS], found.mixed.loc[found.groups.index, COLUMNS], rtol=IDENTITY)
    assert "are the same analysis here" in found.sentence
    assert found.lost == (("within(depth)",) if "depth" in formula else ())


def test_two_arms_are_the_t_test_of_the_groups_means() -> None:
    frame = cells()
    means = frame.groupby(["patient", "arm"], as_index=False)["y"].mean()
    wanted = ttest_ind(*(means.loc[means["arm"] == arm, "y"] for arm in "ba"))
    row = analysis.pseudobulk("y ~ arm + (1 | patient)", frame).groups.loc["arm[T.b]"]
    assert (row["statistic"], row["df"], row["p_value"]) == pytest.approx((wanted.statistic, 10, wanted.pvalue))


def test_without_spread_between_groups_the_mixed_model_pools_and_the_answer_says_so() -> None:
    frame = cells()
    frame["y"] -= frame.groupby("patient")["y"].transform("mean")
    found = analysis.pseudobulk("y ~ dose + (1 | patient)", frame)
    assert not found.coincide
    assert "finds no spread between groups" in found.sentence


def test_unbalanced_rows_and_covariates_within_groups_are_named_as_the_difference() -> None:
    frame = cells().iloc[3:]
    found = analysis.pseudobulk("y ~ dose + depth + (1 | patient)", frame)
    assert not found.coincide
    assert found.lost == ("depth",)
    assert found.mixed is not None
    assert "depth" in found.mixed.index
    assert "3 to 6 rows count alike" in found.sentence
    assert "Lost in the groups’ figures: depth" in found.sentence
    slopes = analysis.pseudobulk("y ~ dose + (1 + depth | patient)", cells())
    assert "the mixed model has more than a random intercept" in slopes.reasons


# ---------------------------------------------------------------------- R's figures


def reference(name: str, factors: dict[str, list[str]]) -> tuple[dict[str, Any], pd.DataFrame]:
    path = FOLDER / f"{name}.json"
    if not path.exists():
        pytest.skip(f"no reference answers in {FOLDER} (set EMA_REFERENCE)")
    answer = json.loads(path.read_text())
    frame = pd.read_csv(FOLDER / answer["data"]["file"])
    return answer["extras"], frame.assign(
        **{key: pd.Categorical(frame[key], levels) for key, levels in factors.items()}
    )


@pytest.mark.parametrize(
    ("name", "formula", "factors"),
    [
        ("i_ratpup_pseudobulk", "weight ~ Treatment + (1 | Litter)", {"Treatment": ["Control", "Low", "High"]}),
        ("i_orthodont_balanced", "distance ~ Sex + (1 | Subject)", {"Sex": ["Male", "Female"]}),
    ],
)
def test_group_means_and_rows_are_those_of_r(name: str, formula: str, factors: dict[str, list[str]]) -> None:
    extras, frame = reference(name, factors)
    found = analysis.pseudobulk(formula, frame)
    for table, block in (
        (found.groups, extras["pseudobulk_means_lm"]),
        (found.rows_as_replicates, extras["naive_rows_lm"]),
    ):
        wanted = [[row["estimate"], row["se"], row["t"]] for row in block["coef"]]
        np.testing.assert_allclose(table[["estimate", "se", "statistic"]], wanted, rtol=1e-10)
        np.testing.assert_allclose(table["p_value"], [row["p"] for row in block["coef"]], rtol=1e-8)
        assert (table["df"] == block["df"]).all()
    assert found.coincide == (name == "i_orthodont_balanced")


# ---------------------------------------------------------------------- many outcomes


def test_a_batch_is_the_outcomes_one_by_one_with_false_discovery_control() -> None:
    frame = cells().iloc[2:]
    outcomes = genes(frame)
    found = analysis.pseudobulk("~ dose + arm + (1 | patient)", frame, outcomes=outcomes)
    assert list(found.groups.index.names) == ["outcome", "term"]
    for name in ("HLA-0", "HLA-39"):
        alone = analysis.pseudobulk("one ~ dose + arm + (1 | patient)", frame.assign(one=outcomes[name]))
        np.testing.assert_allclose(found.groups.loc[name, COLUMNS], alone.groups[COLUMNS], rtol=1e-9)
        np.testing.assert_allclose(
            found.rows_as_replicates.loc[name, COLUMNS], alone.rows_as_replicates[COLUMNS], rtol=1e-9
        )
    dose = found.groups.xs("dose", level="term")
    np.testing.assert_allclose(dose["q_value"], false_discovery_control(dose["p_value"]))
    columns = analysis.pseudobulk(
        "~ dose + arm + (1 | patient)", pd.concat([frame, outcomes], axis=1), outcomes=list(outcomes.columns)
    )
    pd.testing.assert_frame_equal(columns.groups, found.groups)


def test_the_batch_counts_the_outcomes_that_the_mixed_model_would_pool() -> None:
    frame = cells(patients=9, rows=4)
    outcomes = genes(frame, 30) * 0.0 + np.random.default_rng(4).normal(size=(len(frame), 30))  # no spread: half pool
    found = analysis.pseudobulk("~ dose + (1 | patient)", frame, outcomes=outcomes)
    singular = [
        analysis.lmm("one ~ dose + (1 | patient)", frame.assign(one=outcomes[name])).singular for name in outcomes
    ]
    assert found.coincide
    assert 0 < found.at_boundary == sum(singular) < 30
    assert f"except for {found.at_boundary} outcomes" in found.sentence


def test_rows_as_replicates_find_far_more_than_there_is() -> None:
    """40 patients, no difference in any of 300 outcomes: groups stay near none, rows do not."""
    frame = cells(patients=40, rows=30)
    rng = np.random.default_rng(2)
    values = rng.normal(0, 0.7, (40, 300))[frame["patient"]] + rng.normal(size=(len(frame), 300))
    found = analysis.pseudobulk("~ arm + (1 | patient)", frame, outcomes=pd.DataFrame(values).rename(columns=str))
    p = found.groups.xs("arm[T.b]", level="term")["p_value"]
    assert (p < 0.05).mean() == pytest.approx(0.05, abs=0.04)  # SE 1.3 %
    assert (found.rows_as_replicates.xs("arm[T.b]", level="term")["p_value"] < 0.05).mean() > 0.4


def test_an_outcome_without_variation_has_no_p_and_spoils_no_other() -> None:
    frame = cells()
    outcomes = genes(frame, 5).assign(flat=3.0)
    found = analysis.pseudobulk("~ dose + (1 | patient)", frame, outcomes=outcomes)
    flat = found.groups.loc[("flat", "dose")]
    assert np.isnan(flat["p_value"])
    assert np.isnan(flat["q_value"])
    p = found.groups.xs("dose", level="term")["p_value"].drop("flat")
    np.testing.assert_allclose(
        found.groups.xs("dose", level="term")["q_value"].drop("flat"), false_discovery_control(p)
    )


# ---------------------------------------------------------------------- counts


def test_summed_counts_are_analysed_as_log_counts_per_million() -> None:
    frame = cells()
    rng = np.random.default_rng(3)
    counts = pd.DataFrame(rng.poisson(3.0, (len(frame), 4)), columns=list("abcd"))
    found = analysis.pseudobulk("~ dose + (1 | patient)", frame, outcomes=counts, how="sum")
    sums = counts.groupby(frame["patient"]).sum()
    rate = np.log2((sums + 0.5).div(sums.sum(axis=1) + 1.0, axis=0) * 1e6)
    dose = frame.groupby("patient")["dose"].first()
    slope, intercept = np.polyfit(dose, rate["c"], 1)
    np.testing.assert_allclose(found.groups.loc["c", "estimate"], [intercept, slope], rtol=1e-9)
    assert found.mixed is None
    single = analysis.pseudobulk(
        "c ~ dose + (1 | patient)", frame.assign(c=counts["c"], total=counts.sum(axis=1)), how="sum", size="total"
    )
    np.testing.assert_allclose(single.groups[COLUMNS], found.groups.loc["c", COLUMNS], rtol=1e-9)
    assert "log2" in str(single)


# ---------------------------------------------------------------------- words, pictures, wrong questions


def test_the_answer_marks_rows_as_replicates_as_wrong_and_draws() -> None:
    frame = cells()
    one = analysis.pseudobulk("y ~ dose + (1 | patient)", frame)
    assert "Rows as replicates would claim 70 degrees of freedom" in one.sentence
    assert "rows as replicates (WRONG)" in str(one)
    assert "WRONG" in one._repr_html_()
    many = analysis.pseudobulk("~ dose + (1 | patient)", frame, outcomes=genes(frame))
    assert "of 40 outcomes have q below 0.05" in many.sentence
    for found in (one, many):
        assert vl_convert.vegalite_to_png(found.plot().to_dict(), scale=0.5)[1:4] == b"PNG"


@pytest.mark.parametrize(
    ("formula", "options", "said"),
    [
        ("y ~ dose + (1 | patient)", {"how": "sum", "size": "depth"}, "is for counts"),
        ("n ~ dose + (1 | patient)", {"how": "sum"}, "needs size="),
        ("n ~ dose + (1 | patient)", {"how": "sum", "size": "dose"}, "each row's total count"),
        ("n ~ dose + (1 | patient)", {"how": "sum", "size": "sise"}, "no column 'sise'"),
        ("y ~ dose + (1 | patient)", {"size": "n"}, "leave it out for means"),
        ("y ~ dose + (1 | patient)", {"how": "median"}, "'mean' or 'sum'"),
        ("y ~ dose + (1 | patient)", {"outcomes": ["n"]}, "starts with '~'"),
        ("~ dose + (1 | patient)", {"outcomes": ["m"]}, "no column 'm'"),
        ("~ dose + (1 | patient)", {"outcomes": "n"}, "a list of columns"),
        ("~ dose + (1 | patient)", {"outcomes": ["n", "n"]}, "each once"),
        ("~ dose + (1 | patient)", {"outcomes": pd.DataFrame({"a": [1.0]})}, "another index"),
        ("y ~ dose + (1 | patient) + (1 | arm)", {}, "one grouping factor"),
        ("y ~ dose + (1 | patient)", {"level": 95}, "between 0 and 1"),
    ],
)
def test_wrong_questions_are_refused_in_words(formula: str, options: dict[str, Any], said: str) -> None:
    frame = cells().assign(n=3)
    with pytest.raises(SpecError, match=said):
        analysis.pseudobulk(formula, frame, **options)


def test_impossible_data_are_refused_in_words() -> None:
    frame = cells(patients=3)
    with pytest.raises(DesignError, match="3 groups are too few for 3 terms"):
        analysis.pseudobulk("y ~ dose + arm + (1 | patient)", frame)
    with pytest.raises(DesignError, match="all terms vary within"):
        analysis.pseudobulk("y ~ 0 + depth + (1 | patient)", frame)
    outcomes = genes(frame, 3)
    outcomes.iloc[4, 1] = np.nan
    with pytest.raises(DesignError, match="'HLA-1' has missing"):
        analysis.pseudobulk("~ dose + (1 | patient)", frame, outcomes=outcomes)
    with pytest.raises(DesignError, match="must be numbers"):
        analysis.pseudobulk("~ dose + (1 | patient)", frame, outcomes=outcomes.assign(name="x"))
