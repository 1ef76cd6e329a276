"""A fit whose design holds no rows, as one made from persons' states is."""

from __future__ import annotations

import dataclasses
from typing import Any


class WithoutRows:
    """A design that answers all but its rows."""

    has_rows = False

    def __init__(self, design: Any) -> None:
        self._design = design

    def __getattr__(self, name: str) -> Any:
        if name in ("rows", "matrix", "outcome", "positions", "index"):
            raise AssertionError(f"the rows were read: {name}")
        return getattr(self._design, name)


def without_rows(fit: Any) -> Any:
    return dataclasses.replace(fit, design=WithoutRows(fit.design))
