"""A model's data kept as a state: collected once, added to every day, merged over sites, fitted at any time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.design import Design, build_design, rows_like
from analysis.errors import SpecError
from analysis.linear import LmmFit, fit_lmm
from analysis.linear_model import LinearModel
from analysis.moments import gaussian_moments, person_state
from analysis.occasions import Occasions
from analysis.state import PersonState, state_of_rows


@dataclass(frozen=True)
class ModelState:
    """What a linear model needs of the rows seen so far; every call gives a new state and leaves this one as it is.

    design : how rows become columns (no rows are kept);  people : each person's sums
    """

    design: Design
    people: PersonState

    @property
    def n_obs(self) -> int:
        """Rows behind the state."""
        return self.people.n_obs

    @property
    def n_groups(self) -> dict[str, int]:
        """Grouping factor → number of its levels."""
        return {self.design.factor: len(self.people.levels)}

    def add(self, frame: pd.DataFrame) -> ModelState:
        """With the frame's complete rows. Raises SpecError or DesignError by column, as `lmm`."""
        return self._joined(self._read(frame))

    def remove(self, frame: pd.DataFrame) -> ModelState:
        """Without the frame's complete rows, which must be among those collected (a withdrawal, a correction).

        Raises DesignError for persons who are not here, or who have fewer rows than are to go.
        """
        return self._parted(self._read(frame))

    def __add__(self, other: ModelState) -> ModelState:
        """The rows of both: of two days, or of two sites that share no rows with each other."""
        self._refuse_other_model(other)
        return self._joined(other)

    def __sub__(self, other: ModelState) -> ModelState:
        self._refuse_other_model(other)
        return self._parted(other)

    def fit(self, reml: bool = True, start: LinearModel | None = None) -> LinearModel:
        """Fit the model from the state alone; `start` is an earlier fit of the same formula, to begin at its estimates."""
        design, people = self.design, self.people
        moments = gaussian_moments(people, design.fixed, design.random, design.blocks, people.names[-1])
        starts = np.concatenate([[0], np.cumsum(people.n)])
        here = replace(design, starts=starts, levels=people.levels)
        earlier = None if start is None else start.fit
        if earlier is not None and not isinstance(earlier, LmmFit):
            raise SpecError("start= is a fit with other random terms; give a fit of the same formula.")
        return LinearModel(here, people, fit_lmm(moments, reml, earlier))

    def _joined(self, more: ModelState) -> ModelState:
        levels = more.people.levels
        self._refuse_parts_of_persons(levels[levels.isin(self.people.levels)])
        return self._with(self.people.plus(more.people), self.design.occasions.plus(more.design.occasions))

    def _parted(self, less: ModelState) -> ModelState:
        levels, n = less.people.levels, less.people.n
        at = self.people.levels.get_indexer(levels)
        known = at >= 0
        self._refuse_parts_of_persons(levels[known][n[known] != self.people.n[at[known]]])
        return self._with(self.people.minus(less.people), self.design.occasions.minus(less.design.occasions, levels))

    def _refuse_parts_of_persons(self, levels: pd.Index) -> None:
        """Columns that a person's other rows take part in can be had of whole persons only."""
        names = self.design.row_dependent
        anchored = [name for name in names if "between(" in name]
        if anchored:
            raise SpecError(
                f"{anchored[0]!r} is measured from the mean over all persons, which other rows move; collect all rows anew."
            )
        if names and len(levels):
            raise SpecError(
                f"{names[0]!r} is made of a person's other rows, and {levels[0]!r} has rows here and there; a state of this "
                "formula takes and gives whole persons only. Collect all rows anew."
            )

    def _with(self, people: PersonState, occasions: Occasions) -> ModelState:
        return replace(self, design=replace(self.design, occasions=occasions), people=people)

    def _read(self, frame: pd.DataFrame) -> ModelState:
        rows = rows_like(self.design, frame)
        return self._with(state_of_rows(self.design.raw, rows.levels, rows.starts, rows.values), rows.occasions)

    def _refuse_other_model(self, other: ModelState) -> None:
        if not isinstance(other, ModelState) or other.design.spec.formula != self.design.spec.formula:
            theirs = other.design.spec.formula if isinstance(other, ModelState) else type(other).__name__
            raise SpecError(f"a state of {theirs!r} cannot join a state of {self.design.spec.formula!r}.")


def collect(
    formula: str,
    frame: pd.DataFrame,
    person: str | None = None,
    day: str | None = None,
    prompt: str | None = None,
) -> ModelState:
    """The state of a linear model's rows: `collect(formula, frame).fit()` is `lmm(formula, frame)`, without the rows.

    Formula, dropped rows and errors are those of `lmm`; several grouping factors are a SpecError.
    """
    design = build_design(formula, frame, person=person, day=day, prompt=prompt)
    if design.several:
        names = ", ".join(repr(factor.name) for factor in design.several)
        raise SpecError(
            f"the formula {formula!r}: a state holds the sums of one grouping factor, not of {names}; keep the rows and fit "
            "them with lmm()."
        )
    return ModelState(_without_rows(design), person_state(design))


def _without_rows(design: Design) -> Design:
    """The recipe alone."""
    return replace(design, values=(), lent=None, positions=design.positions[:0], index=design.index[:0])
