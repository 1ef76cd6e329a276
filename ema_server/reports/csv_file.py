"""A frame as the CSV file that is exported: UTF-8, commas, one spelling for each value, so that equal data are equal bytes.

Times are UTC with a Z, wall times have no zone, flags are 1 and 0, a float is the shortest text that reads back as itself,
what is missing is empty. A text that a spreadsheet would run as a formula gets an apostrophe before it and keeps it; so does
what stands behind a semicolon or a line's end in it, where a spreadsheet that cuts at semicolons begins a cell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from ema_server.common.csv_cells import cell


def as_csv(frame: pd.DataFrame, *, header: bool = True) -> bytes:
    """The frame's rows. Frames of the same columns, one after another and the first alone with its header, are one file."""
    columns = [_texts(frame[name]) for name in frame.columns]
    lines = [",".join(cell(str(name)) for name in frame.columns)] if header else []
    lines.extend(map(",".join, zip(*columns, strict=True)))
    return "".join(f"{line}\n" for line in lines).encode()


def _texts(column: pd.Series) -> list[str]:
    kind = column.dtype.kind
    if kind == "M":
        return _times(column)
    if kind == "b":
        return ["1" if value else "0" for value in column.tolist()]
    if kind == "i":
        return [str(value) for value in column.tolist()]
    if kind == "f":
        return _each_once(column, lambda value: repr(value + 0.0))  # −0.0 is 0.0
    return _each_once(column, lambda value: cell(str(value)))


def _each_once(column: pd.Series, spelt: Callable[[Any], str]) -> list[str]:
    """Every distinct value is spelt once: columns repeat themselves."""
    codes, values = pd.factorize(column)
    texts = [*(spelt(value) for value in values.tolist()), ""]  # the last, −1, is what is missing
    return [texts[code] for code in codes.tolist()]


def _times(column: pd.Series) -> list[str]:
    zone = getattr(column.dt, "tz", None)
    naive = column if zone is None else column.dt.tz_convert("UTC").dt.tz_localize(None)
    texts = np.datetime_as_string(naive.to_numpy("datetime64[us]"), unit="s" if zone is None else "us").astype(object)
    texts += "" if zone is None else "Z"
    texts[column.isna().to_numpy()] = ""
    return list(texts)
