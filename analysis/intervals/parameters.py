"""The parameters of a model by name: terms, thresholds, `sd_TERM|GROUP`, `cor_A.B|GROUP`, `sigma`, `phi`, `dispersion`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import numpy as np

from analysis.covariance import Structure, deviations_and_correlations
from analysis.errors import SpecError
from analysis.factors import Factor
from analysis.generalised import GlmmFit
from analysis.linear import LinearFit
from analysis.serial_fit import SerialFit

Beside = Literal["sigma", "phi", "dispersion"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: a fixed effect (i-th), SD of a random term (i-th), correlation of two (i < j), the residual SD; φ of
    serial residuals; a threshold (i-th), the negative binomial's size."""

    name: str
    kind: Literal["fixed", "sd", "cor", "sigma", "phi", "threshold", "dispersion"]
    i: int = -1
    j: int = -1

    def of(self, fit: LinearFit | GlmmFit) -> float:
        """Its estimate."""
        if self.kind == "phi":
            assert isinstance(fit, SerialFit)
            return fit.phi
        if isinstance(fit, LinearFit):
            return self.value(fit.beta, fit.g, fit.sigma)
        if self.kind == "threshold":
            return float(fit.extra[self.i])
        return float(np.exp(fit.extra[0])) if self.kind == "dispersion" else self.value(fit.beta, fit.g, np.nan)

    def value(self, beta: np.ndarray, g: np.ndarray, sigma: float) -> float:
        """Its value where the fixed effects are beta (p,), the random effects' covariance g (q, q), the residual SD sigma."""
        if self.kind == "fixed":
            return float(beta[self.i])
        if self.kind == "sigma":
            return sigma
        deviations, correlations = deviations_and_correlations(g)
        return float(deviations[self.i] if self.kind == "sd" else correlations[self.i, self.j])


def parameters(
    fixed: Sequence[str],
    random: Sequence[str],
    structure: Structure,
    factors: Sequence[Factor],
    thresholds: Sequence[str],
    last: Sequence[Beside],
) -> list[Parameter]:
    """All parameters: fixed effects, thresholds, SDs and correlations of terms that may correlate of each factor, and
    what the model has beside them."""
    out = [Parameter(name, "fixed", i) for i, name in enumerate(fixed)]
    out += [Parameter(name, "threshold", i) for i, name in enumerate(thresholds)]
    together = structure.same_block()
    for factor in factors:
        places = range(factor.terms.start, factor.terms.stop)
        out += [Parameter(f"sd_{random[i]}|{factor.name}", "sd", i) for i in places]
        pairs = [(i, j) for j in places for i in range(factor.terms.start, j) if together[i, j]]
        out += [Parameter(f"cor_{random[i]}.{random[j]}|{factor.name}", "cor", i, j) for i, j in pairs]
    return [*out, *(Parameter(kind, kind, 0) for kind in last)]


def choose(
    known: list[Parameter], wanted: Sequence[str] | None, random: Sequence[str], factors: Sequence[Factor]
) -> list[tuple[str, Parameter]]:
    """The parameters named, each under the name given; all where none is named.

    A correlation's terms may stand in either order, and so may the columns of a factor `a:b`.
    """
    if wanted is None:
        return [(parameter.name, parameter) for parameter in known]
    if isinstance(wanted, str) or not isinstance(wanted, Sequence):
        raise SpecError(f"parameters={wanted!r} must be a list of names, as in [{wanted!r}].")
    by_name: dict[str, Parameter] = {}
    for parameter in known:
        if parameter.kind not in ("sd", "cor"):
            by_name[parameter.name] = parameter
            continue
        group = next(factor.group for factor in factors if factor.terms.start <= parameter.i < factor.terms.stop)
        terms = [random[parameter.i]] if parameter.kind == "sd" else [random[parameter.i], random[parameter.j]]
        for columns in permutations(group):
            for order in (terms, terms[::-1]):
                by_name[f"{parameter.kind}_{'.'.join(order)}|{':'.join(columns)}"] = parameter
    for name in wanted:
        if name not in by_name:
            raise SpecError(f"no parameter {name!r}; the model has {', '.join(one.name for one in known)}.")
    return [(name, by_name[name]) for name in wanted]


def place_of(structure: Structure, row: int, column: int) -> int:
    """Where an element of Λ stands in θ."""
    return int(np.flatnonzero((structure.rows == row) & (structure.columns == column))[0])
