"""Writes glmm.csv, simulated outcomes of 40 groups of 12 for make_glmm.R: run `python make_glmm.py && Rscript make_glmm.R` here."""

from pathlib import Path

import numpy as np
import pandas as pd

rng = np.random.default_rng(5)
groups, rows = 40, 12
g, n = np.repeat(np.arange(groups), rows), groups * rows
x, t, exposure = rng.normal(size=n).round(3), np.tile(np.arange(rows) / rows, groups).round(3), rng.normal(size=n) / 2.0
own, slope = 0.7 * rng.normal(size=groups), 0.3 * rng.normal(size=groups)
eta = 0.4 + 0.5 * x - 0.3 * t + own[g] + slope[g] * x
log_exposure = exposure.round(3)
mean = np.exp(eta + log_exposure)
latent = eta + rng.normal(size=n)
size = rng.integers(1, 8, n)
frame = pd.DataFrame(
    {
        "g": g,
        "x": x,
        "t": t,
        "log_exposure": log_exposure,
        "size": size,
        "few": rng.binomial(size, -np.expm1(-np.exp(eta - 1.0))),
        "count": rng.poisson(mean),
        "spread": rng.negative_binomial(1.5, 1.5 / (1.5 + mean)),
        "yes": (latent > 0.5).astype(int),
        "rating": np.digitize(latent, [-0.5, 0.4, 1.3]) + 1,
    }
)
frame.to_csv(Path(__file__).parent / "glmm.csv", index=False)
