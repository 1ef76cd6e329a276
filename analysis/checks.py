"""What no model can use, and the words for it."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from analysis.centering import label
from analysis.errors import DesignError, SpecError
from analysis.spec import Prepared


def refuse_frame(frame: pd.DataFrame) -> None:
    """Something that is no frame, no rows, or a label that stands twice: it makes every result by row ambiguous.

    A RangeIndex and an ascending index cost nothing.
    """
    if not isinstance(frame, pd.DataFrame):
        raise SpecError(f"the data must be a pandas DataFrame, not {type(frame).__name__}.")
    if not len(frame):
        raise DesignError("the frame has no rows.")
    if not frame.index.is_unique:
        first = frame.index[frame.index.duplicated()][0]
        raise DesignError(
            f"the frame's index has the label {label(first)} more than once; number the rows with "
            "frame.reset_index(drop=True)."
        )


def refuse_outcome_as_predictor(outcome: Prepared, predictors: Iterable[Prepared], where: str) -> None:
    """An outcome among its own predictors, plain or split; its lag is another moment's and may be there."""
    name = outcome.text.strip("`")
    if name in outcome.columns and any(name in part.columns for part in predictors):
        raise SpecError(f"{where}: the outcome {name!r} cannot predict itself; lag({name}) can.")


def without_variation(name: str) -> DesignError:
    """The error for a design column that is zero or constant in all rows, saying why where its name tells."""
    word, _, rest = name.partition("(")
    x = repr(rest.removesuffix(")"))
    reasons = {
        "within": f"no person varies in {x}",
        "between": f"all persons have one mean of {x}",
        "within_day": f"{x} never varies within a person's day",
        "between_days": f"all days of a person have one mean of {x}",
    }
    if word in reasons and rest.endswith(")"):
        return DesignError(f"the term {name!r} is zero in all rows: {reasons[word]}; leave it out.")
    return DesignError(f"the term {name!r} is constant in all rows used; leave it out.")
