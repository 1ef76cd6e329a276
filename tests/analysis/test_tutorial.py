"""The tutorial: its diary is the script's, its notebook runs, and what it shows is what comes out and near the truth."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest

from analysis.words import RANDOMISED_ONLY

SAME = {"rtol": 2e-3, "atol": 2e-3}
"""Printed digits, whose last may turn on another machine."""
KEY = """
import json
names = {"sd_within(support)|person": sd, "sigma": fit.residual_sd}
print(json.dumps({"tests": tests.to_dict("index"), "profile": fit.confint(method="profile").to_dict("index"), "sd": names}))
"""


@pytest.fixture(scope="module")
def remake(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("remake", root / "docs/tutorial/remake.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def stored(remake: ModuleType) -> Any:
    return nbformat.read(remake.NOTEBOOK, as_version=4)


@pytest.fixture(scope="module")
def fresh(remake: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The notebook run anew, with one cell more that prints the key numbers."""
    notebook = nbformat.read(remake.NOTEBOOK, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(KEY))
    home = str(tmp_path_factory.mktemp("jupyter"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "PYTHONPATH"):
            patch.setenv(name, home)
        yield remake.executed(notebook)


def test_the_diary_is_what_the_script_makes(remake: ModuleType) -> None:
    pd.testing.assert_frame_equal(pd.read_csv(remake.DIARY), remake.diary(), check_dtype=False)
    assert remake.DIARY.stat().st_size < 300_000


def test_a_quarter_of_the_prompts_is_missed(remake: ModuleType) -> None:
    diary = remake.diary()
    assert diary["person"].nunique() == 60
    assert diary.groupby("person").size().eq(14 * 5).all()
    assert diary["stress"].isna().mean() == pytest.approx(0.25, abs=0.03)


def test_the_notebook_finds_the_truth_that_the_diary_was_made_from(fresh: Any, remake: ModuleType) -> None:
    found = json.loads(fresh.cells[-1].outputs[0]["text"])
    truth = {**remake.TRUTH.fixed_effects(), **remake.TRUTH.standard_deviations()}
    for term in ("within(support)", "between(support)", "day"):
        row = found["tests"][term]
        assert abs(row["estimate"] - truth[term]) < 3 * row["se"]
        assert term == "day" or row["lower"] < truth[term] < row["upper"]  # the tutorial tells why that of day misses
    for name in ("sd_Intercept|person", "sd_within(support)|person", "sigma"):
        assert found["profile"][name]["lower"] < truth[name] < found["profile"][name]["upper"]
    assert found["tests"]["within(support)"]["lower"] > found["tests"]["between(support)"]["upper"]


def test_stored_outputs_are_those_of_today(fresh: Any, stored: Any) -> None:
    """Where this fails, run docs/tutorial/remake.py and read the notebook again."""
    today = {cell["id"]: cell for cell in fresh.cells}
    for cell in stored.cells:
        if cell.cell_type == "code":
            words, numbers = _said(cell)
            words_now, numbers_now = _said(today[cell["id"]])
            assert words == words_now
            np.testing.assert_allclose(numbers, numbers_now, **SAME)


def test_the_stored_notebook_reads_well_without_running_it(stored: Any, remake: ModuleType) -> None:
    kinds = [output["output_type"] for cell in stored.cells for output in cell.get("outputs", [])]
    assert "error" not in kinds
    pictures = [o for cell in stored.cells for o in cell.get("outputs", []) if "image/png" in o.get("data", {})]
    assert len(pictures) == 5
    assert remake.NOTEBOOK.stat().st_size < 1_000_000
    assert (
        max(len(line) for cell in stored.cells if cell.cell_type == "code" for line in cell.source.splitlines()) <= 100
    )


def test_the_text_uses_no_words_of_cause_or_of_testing(stored: Any) -> None:
    prose = " ".join(
        re.sub(r"`[^`]*`", "", cell.source) for cell in stored.cells if cell.cell_type == "markdown"
    ).lower()
    for word in RANDOMISED_ONLY:
        assert not re.search(rf"\b{word}", prose), word


def _said(cell: Any) -> tuple[str, list[float]]:
    """What a cell's outputs say, their numbers apart; pictures by kind alone."""
    parts = []
    for output in cell.outputs:
        data = output.get("data", {})
        parts.append(output.get("text", "") or data.get("text/html", "") or data.get("text/plain", ""))
    text = re.sub(
        r"(?:width|size|height|line-height|padding|margin|radius|weight)[:=][^;\">]*", "", " ".join(parts)
    ).replace("−", "-")
    pattern = r"(?<![\w#])-?\d[\d,]*\.?\d*"
    return re.sub(pattern, "#", text), [float(n.replace(",", "")) for n in re.findall(pattern, text)]
