"""The best that lme4 (through R) and statsmodels find for a design, as complete restricted log-likelihoods."""

from __future__ import annotations

import subprocess
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from statsmodels.regression.mixed_linear_model import MixedLM

from proofs.designs import Case
from proofs.independent import in_own_units

SCRIPT = Path(__file__).with_name("lme4.R")


@dataclass(frozen=True)
class ByLme4:
    """warned : did its default fit warn of convergence without being singular?  singular : isSingular of that fit"""

    log_likelihood: float
    warned: bool
    singular: bool


def by_lme4(cases: Sequence[Case]) -> list[ByLme4]:
    """Each design in units of its own, as lme4 advises: the better of its default and of bobyqa. One batch, 0.2 s each."""
    with tempfile.TemporaryDirectory() as name:
        folder, constants = Path(name), []
        with (folder / "cases.bin").open("wb") as numbers, (folder / "cases.txt").open("w") as text:
            for case in cases:
                frame, constant = in_own_units(case)
                constants.append(constant)
                numbers.write(frame.to_numpy(dtype=float).tobytes(order="F"))
                text.write(f"{case.formula}\t{len(frame)}\t{' '.join(frame.columns)}\n")
        command = ["Rscript", "--vanilla", str(SCRIPT), name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    answers = [line.split() for line in done.stdout.splitlines()]
    return [
        ByLme4(float(value) + constant, warned == "1", singular == "1")
        for (value, warned, singular), constant in zip(answers, constants, strict=True)
    ]


def statsmodels_can(case: Case) -> bool:
    """Its random terms correlate, all of them."""
    return case.shape.correlated or case.shape.terms == 1


def by_statsmodels(case: Case) -> float:
    """By its own chain of optimisers, each tried until one converges; NaN where it fails."""
    frame, constant = in_own_units(case)
    x = np.column_stack([np.ones(len(frame)), frame[list(case.shape.slopes)]])
    z = x[:, 1:] if case.shape.bare else x
    model = MixedLM(frame["y"].to_numpy(), x, frame["person"].to_numpy(), exog_re=z)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return constant + float(model.fit(reml=True, method=["bfgs", "lbfgs", "cg"]).llf)
        except np.linalg.LinAlgError:
            return float("nan")
