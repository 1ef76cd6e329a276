"""A design → the rows of a generalised model: outcomes checked for their family, columns centred and scaled.

Inside, the fixed columns are centred and made orthonormal and the random ones scaled, so that a badly scaled predictor
costs neither convergence nor standard errors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from analysis.covariance import Structure
from analysis.design import Design
from analysis.errors import DesignError, SpecError
from analysis.inner_columns import inner_columns
from analysis.kernels import families
from analysis.kernels.columns import mixed, products
from analysis.moments import block_constants, refuse_dependence

WHOLE = 1e-6
"""A proportion times its number of trials may miss a whole number by this much (rounded input); so may a count."""
KINDS = {
    ("binomial", "logit"): families.BINOMIAL_LOGIT,
    ("binomial", "probit"): families.BINOMIAL_PROBIT,
    ("binomial", "cloglog"): families.BINOMIAL_CLOGLOG,
    ("poisson", "log"): families.POISSON,
    ("negative_binomial", "log"): families.NEGATIVE_BINOMIAL,
    ("ordinal", "logit"): families.ORDINAL_LOGIT,
    ("ordinal", "probit"): families.ORDINAL_PROBIT,
}
"""Families and links that `glmm` and `clmm` know, the default link of each family first."""


@dataclass(frozen=True)
class Responses:
    """The rows of a generalised model with inner columns, person by person.

    family : of `kernels.families`;  n_extra : number of its own parameters ψ
    x (p, n), z (q, n) one row a column of the design;  y, size, offset (n,);  starts (persons + 1,)
    joint_map : (p + r, p + r) with (β, ψ) = joint_map @ (β*, ψ*);  random_map : (q, q) with b = random_map @ b*
    constant : the log-likelihood's part that no parameter touches
    """

    family: int
    n_extra: int
    x: np.ndarray
    z: np.ndarray
    y: np.ndarray
    size: np.ndarray
    offset: np.ndarray
    starts: np.ndarray
    structure: Structure
    joint_map: np.ndarray
    random_map: np.ndarray
    constant: float

    @property
    def n_fixed(self) -> int:
        return int(self.x.shape[0])

    @property
    def n_persons(self) -> int:
        return len(self.starts) - 1

    @property
    def fixed_map(self) -> np.ndarray:
        """(p, p) with β = fixed_map @ β*."""
        return np.asarray(self.joint_map[: self.n_fixed, : self.n_fixed])


def read_kind(family: str, link: str | None) -> tuple[str, int]:
    """The link and the kernels' number of a family; SpecError names what there is."""
    links = [own for name, own in KINDS if name == family]
    if not links or family == "ordinal":
        known = ", ".join(repr(name) for name in dict.fromkeys(name for name, _ in KINDS) if name != "ordinal")
        more = "; clmm() fits ordinal outcomes" if family == "ordinal" else ""
        raise SpecError(f"family={family!r} must be one of {known}{more}.")
    return read_link(family, link)


def read_link(family: str, link: str | None) -> tuple[str, int]:
    links = [own for name, own in KINDS if name == family]
    if link is not None and link not in links:
        raise SpecError(f"link={link!r} is not for family {family!r}; {', '.join(map(repr, links))} may be chosen.")
    chosen = link or links[0]
    return chosen, KINDS[family, chosen]


def responses(design: Design, family: int) -> Responses:
    """The rows of a binomial, Poisson or negative binomial model. Raises DesignError for outcomes impossible under it."""
    if family in (families.POISSON, families.NEGATIVE_BINOMIAL):
        y, size, constant = _counts(design)
    else:
        y, size, constant = _proportions(design)
    return assemble(design, family, y, size, constant, n_extra=int(family == families.NEGATIVE_BINOMIAL))


def assemble(design: Design, family: int, y: np.ndarray, size: np.ndarray, constant: float, n_extra: int) -> Responses:
    """Checked outcomes and inner columns. Ordinal models have thresholds for a constant: their columns are centred on them."""
    offset = np.zeros(len(y)) if design.offset is None else np.array(design.offset, dtype=float)
    if not np.isfinite(offset).all():
        raise DesignError(f"the offset must be finite; it is infinite in {int((~np.isfinite(offset)).sum())} rows.")
    structure = Structure.of_blocks(design.blocks)
    ordinal = family >= families.ORDINAL_LOGIT
    one = next((j for j, column in enumerate(design.fixed) if column.kind == "one"), None)
    p = len(design.fixed)
    x, centre, to_written = inner_columns(design, design.fixed, [one] * p, all_moved=ordinal)
    gram = products(x) / max(1, x.shape[1])
    refuse_dependence(gram, design.fixed_names)
    whitening = np.linalg.inv(np.linalg.cholesky(gram)).T if p else np.eye(0)
    joint = np.eye(p + n_extra)
    joint[:p, :p] = to_written @ whitening
    if ordinal:  # τ = τ* + centre'β
        joint[p:, :p] = centre @ joint[:p, :p]
    z, _, random_map = inner_columns(design, design.random, block_constants(design.random, structure))
    return Responses(
        family=family,
        n_extra=n_extra,
        x=mixed(x, np.ascontiguousarray(whitening)),
        z=z,
        y=y,
        size=size,
        offset=offset,
        starts=design.starts,
        structure=structure,
        joint_map=joint,
        random_map=random_map,
        constant=constant,
    )


def _proportions(design: Design) -> tuple[np.ndarray, np.ndarray, float]:
    y = np.array(design.outcome, dtype=float)  # pandas lends read-only arrays
    size = np.ones(len(y)) if design.weights is None else np.array(design.weights, dtype=float)
    name = design.raw[-1]
    if not np.isfinite(size).all() or (size <= 0.0).any():
        raise DesignError(
            f"the weights (numbers of trials) must be finite and above zero; they reach {size[np.argmin(size)]:g}."
        )
    if (y < 0.0).any() or (y > 1.0).any():
        far = y.max() if y.max() > 1.0 else y.min()
        raise DesignError(f"the outcome {name!r} must be 0 or 1, or a proportion with weights; it reaches {far:g}.")
    successes = y * size
    if (np.abs(successes - np.rint(successes)) > WHOLE * np.maximum(size, 1.0)).any():
        raise DesignError(
            f"the outcome {name!r} holds proportions that are no whole number of successes; name the numbers of trials "
            "with weights=."
        )
    if y.min() == y.max() and y.min() in (0.0, 1.0):
        raise DesignError(f"the outcome {name!r} is {y.min():g} in all rows used.")
    if design.weights is None:
        return y, size, 0.0  # 1 of 1 and 0 of 1 can happen in one way
    constant = gammaln(size + 1.0) - gammaln(successes + 1.0) - gammaln(size - successes + 1.0)
    return y, size, float(constant.sum())


def _counts(design: Design) -> tuple[np.ndarray, np.ndarray, float]:
    y = np.array(design.outcome, dtype=float)
    name = design.raw[-1]
    if design.weights is not None:
        raise SpecError(
            "weights= are numbers of trials, for binomial outcomes; a count's exposure is offset=, its log."
        )
    if (y < 0.0).any() or (np.abs(y - np.rint(y)) > WHOLE).any():
        wrong = y[(y < 0.0) | (np.abs(y - np.rint(y)) > WHOLE)][0]
        raise DesignError(f"the outcome {name!r} must hold counts, whole numbers from 0 on; it holds {wrong:g}.")
    if not y.any():
        raise DesignError(f"the outcome {name!r} is 0 in all rows used.")
    return np.rint(y), np.ones(len(y)), -float(gammaln(y + 1.0).sum())
