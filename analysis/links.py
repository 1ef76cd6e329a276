"""From the linear predictor to the mean, for each link: what predictions and shares of variance need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, ndtr

Curve = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Link:
    """mean : of the outcome at η;  slope : its derivative;  latent : variance of the standard distribution behind a
    binary or ordinal outcome, None where there is none;  scale : what η is called."""

    mean: Curve
    slope: Curve
    latent: float | None
    scale: str


def _normal_density(eta: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(-0.5 * eta**2) / np.sqrt(2.0 * np.pi))


LINKS = {
    "logit": Link(expit, lambda eta: expit(eta) * expit(-eta), np.pi**2 / 3.0, "log-odds"),
    "probit": Link(ndtr, _normal_density, 1.0, "probits"),
    "cloglog": Link(
        lambda eta: -np.expm1(-np.exp(eta)), lambda eta: np.exp(eta - np.exp(eta)), np.pi**2 / 6.0, "log hazards"
    ),
    "log": Link(np.exp, np.exp, None, "logs of the mean"),
}
