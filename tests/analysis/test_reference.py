"""Every reference model that the engine can fit so far, at the tolerances of the folder's own checker."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(os.environ.get("EMA_REFERENCE") or Path(__file__).resolve().parents[2] / ".." / "shared" / "reference")
ONE_FACTOR = ("a_", "b_dej", "b_fried_within", "c_", "d_machines_u", "f_", "g_ratpup", "i_", "k_")
WHOLE = ("a_sleepstudy_ml", "b_dejonckheere_random_slope", "b_dejonckheere_within_between", "c_cbpp_agq25",
         "c_contraception_agq15", "c_contraception_random_urban")  # fmt: skip

models = sorted(path.stem for path in FOLDER.glob("*.json") if path.name.startswith(ONE_FACTOR))
pytestmark = pytest.mark.skipif(not models, reason=f"no reference answers in {FOLDER} (set EMA_REFERENCE)")


@pytest.fixture(scope="module")
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference_check", FOLDER / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["reference_check"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", models or ["none"])
def test_a_reference_model_agrees(check, name):
    reference = json.loads((FOLDER / f"{name}.json").read_text())
    frame = check.read_frame(FOLDER, reference)
    fit = check.fit_model(reference, frame)
    seen = check.compare(reference, fit, core=name not in WHOLE)
    if name in WHOLE:
        check.compare_centring(frame, reference, seen)
    assert len(seen.rows) > 10
    assert seen.failures() == []
    assert fit.converged


@pytest.mark.parametrize(
    "name", [name for name in models if name[:2] in ("a_", "b_", "d_", "f_", "g_", "i_")] or ["none"]
)
def test_degrees_of_freedom_agree_with_lmertest(check, name):
    reference = json.loads((FOLDER / f"{name}.json").read_text())
    if not any(row.get("df_satterthwaite") for row in reference["fixed"]):
        assert reference["model"]["estimator"] == "ML" or not reference["fixed"]
        return
    tests = check.fit_model(reference, check.read_frame(FOLDER, reference)).tests(df="satterthwaite")
    tests = tests.rename(index=check.canonical)
    for row in reference["fixed"]:
        assert tests.loc[check.canonical(row["name"]), "df"] == pytest.approx(row["df_satterthwaite"], rel=1e-3)
