"""What can be wrong with a question or with data. A fit that did not converge is a result, not an error."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AnalysisError(ValueError):
    """Anything that `analysis` refuses to do; the message names the column or term and says what would be accepted."""


class SpecError(AnalysisError):
    """A wrong question: a malformed formula, an unknown column, a model that is not available."""


class DesignError(AnalysisError):
    """Impossible data: rank-deficient fixed effects, a single group, a constant outcome, infinite values."""


def unknown_column(name: str, columns: Iterable[object], where: str) -> SpecError:
    """The error for a name that is no column of the frame, with the nearest names that are."""
    known = [str(column) for column in columns]
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"the columns are {', '.join(known[:20])}."
    return SpecError(f"{where}: the frame has no column {name!r}; {hint}")


def unknown_function(name: str, functions: Iterable[str], where: str) -> SpecError:
    """The error for a call of something that is no function of a formula, with the nearest names that are."""
    by_lower = {function.lower(): function for function in functions}
    near = [by_lower[found] for found in difflib.get_close_matches(name.lower(), by_lower, n=3)]
    hint = " or ".join(f"{function}(…)" for function in near)
    hint = f"did you mean {hint}?" if near else f"there are {', '.join(by_lower.values())}."
    return SpecError(f"{where}: there is no function {name!r}; {hint}")
