"""The parameters of a linear model by name: terms, `sd_TERM|GROUP`, `cor_A.B|GROUP`, `sigma`, and `phi` where residuals are serial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.covariance import Structure, deviations_and_correlations
from analysis.errors import SpecError
from analysis.linear import LmmFit
from analysis.serial_fit import SerialFit


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: a fixed effect (i-th), SD of a random term (i-th), correlation of two (i < j), the residual SD, or φ."""

    name: str
    kind: Literal["fixed", "sd", "cor", "sigma", "phi"]
    i: int = -1
    j: int = -1

    def of(self, fit: LmmFit) -> float:
        """Its estimate."""
        if self.kind == "phi":
            assert isinstance(fit, SerialFit)
            return fit.phi
        return self.value(fit.beta, fit.g, fit.sigma)

    def value(self, beta: np.ndarray, g: np.ndarray, sigma: float) -> float:
        """Its value where the fixed effects are beta (p,), the random effects' covariance g (q, q), the residual SD sigma."""
        if self.kind == "fixed":
            return float(beta[self.i])
        if self.kind == "sigma":
            return sigma
        deviations, correlations = deviations_and_correlations(g)
        return float(deviations[self.i] if self.kind == "sd" else correlations[self.i, self.j])


def parameters(
    fixed: Sequence[str], random: Sequence[str], structure: Structure, group: str, serial: bool
) -> list[Parameter]:
    """All parameters: fixed effects, SDs, correlations of terms that may correlate, residual SD, φ."""
    out = [Parameter(name, "fixed", i) for i, name in enumerate(fixed)]
    out += [Parameter(f"sd_{name}|{group}", "sd", i) for i, name in enumerate(random)]
    together = structure.same_block()
    for j in range(len(random)):
        out += [Parameter(f"cor_{random[i]}.{random[j]}|{group}", "cor", i, j) for i in range(j) if together[i, j]]
    out.append(Parameter("sigma", "sigma"))
    return [*out, Parameter("phi", "phi")] if serial else out


def choose(known: list[Parameter], wanted: Sequence[str] | None, group: str) -> list[tuple[str, Parameter]]:
    """The parameters named (a correlation's terms in either order), each under the name given; all where none is named."""
    if wanted is None:
        return [(parameter.name, parameter) for parameter in known]
    if isinstance(wanted, str) or not isinstance(wanted, Sequence):
        raise SpecError(f"parameters={wanted!r} must be a list of names, as in [{wanted!r}].")
    by_name = {parameter.name: parameter for parameter in known}
    for parameter in known:
        if parameter.kind == "cor":
            first, second = known[_sd(known, parameter.i)], known[_sd(known, parameter.j)]
            terms = [one.name.removeprefix("sd_").removesuffix(f"|{group}") for one in (second, first)]
            by_name[f"cor_{terms[0]}.{terms[1]}|{group}"] = parameter
    for name in wanted:
        if name not in by_name:
            raise SpecError(f"no parameter {name!r}; the model has {', '.join(one.name for one in known)}.")
    return [(name, by_name[name]) for name in wanted]


def _sd(known: list[Parameter], i: int) -> int:
    return next(at for at, one in enumerate(known) if one.kind == "sd" and one.i == i)
