"""`fit.plot_modes()`: the caterpillar shows the tables, sorted, and stays readable with thousands."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
import vl_convert

import analysis
from analysis.errors import SpecError
from analysis.plots.modes import _thinned, mode_rows


def test_rows_are_the_modes_and_their_sds_sorted_by_mode(sleepstudy: pd.DataFrame) -> None:
    fit = analysis.lmm("Reaction ~ Days + (1 + Days | Subject)", sleepstudy)
    rows = mode_rows(fit)
    assert list(rows) == ["Intercept", "Days"]
    for term, frame in rows.items():
        assert frame["mode"].is_monotonic_increasing
        table = fit.conditional_modes("Subject")[term].rename(index=str)
        spread = fit.conditional_sd("Subject")[term].rename(index=str)
        np.testing.assert_array_equal(frame["mode"], table[frame["level"]])
        np.testing.assert_allclose(frame["upper"] - frame["mode"], 1.96 * spread[frame["level"]])
        variance = fit.random["Subject"].loc[term, term]
        np.testing.assert_allclose(1 - frame["own"], frame["sd"] ** 2 / variance)


def test_a_chart_has_a_panel_for_each_random_term(make_diary: Any) -> None:
    fit = analysis.lmm("y ~ within(x) + day + (1 + within(x) + day | person)", make_diary())
    spec = fit.plot_modes("person").to_dict()
    assert [panel["title"]["text"] for panel in spec["vconcat"]] == ["Intercept", "within(x)", "day"]
    assert vl_convert.vegalite_to_png(spec, scale=0.5)[1:4] == b"PNG"


def test_thousands_are_thinned_evenly_with_both_ends_and_the_chart_says_so(make_diary: Any) -> None:
    fit = analysis.lmm("y ~ x + (1 | person)", make_diary(1200, 4))
    rows = mode_rows(fit)["Intercept"]
    thin = _thinned(rows)
    assert len(thin) == 500
    assert (thin["mode"].iloc[0], thin["mode"].iloc[-1]) == (rows["mode"].min(), rows["mode"].max())
    assert "500 of 1,200 drawn, evenly by rank." in json.dumps(fit.plot_modes().to_dict())


def test_no_spread_is_said_in_words(make_diary: Any) -> None:
    frame = make_diary().assign(y=lambda d: d["y"] - d.groupby("person")["y"].transform("mean"))
    fit = analysis.lmm("y ~ 1 + (1 | person)", frame)
    assert "The data show no spread here" in json.dumps(fit.plot_modes().to_dict())


def test_an_unknown_group_is_refused(make_diary: Any) -> None:
    with pytest.raises(SpecError, match="no grouping factor 'site'"):
        analysis.lmm("y ~ x + (1 | person)", make_diary()).plot_modes("site")
