"""Every reference model whole, at the tolerances of the folder's own checker."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(os.environ.get("EMA_REFERENCE") or Path(__file__).resolve().parents[2] / ".." / "shared" / "reference")
NOISE = {
    "j_wine_clmm_laplace": {f"SE of threshold {name}" for name in ("2|3", "3|4", "4|5")} | {"SE of tempwarm"},
}
"""Figures of the reference that are known to be noise (docs/decisions/0008)."""

models = sorted(
    path.stem for path in FOLDER.glob("*.json") if json.loads(path.read_text()).get("model", {}).get("formula")
)
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
    seen = check.compare(reference, fit)
    check.compare_centring(frame, reference, seen)
    assert len(seen.rows) > 10
    assert {text.split(": ")[0] for text in seen.failures()} <= NOISE.get(name, set())
    assert fit.converged
