"""One spelling of a table: the same as pandas', formulas made harmless."""

from __future__ import annotations

import csv
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ema_server.common.csv_cells import neutral
from ema_server.reports.csv_file import as_csv

CORPUS = [
    "=1+1", "=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(A1:A9)", "\t1+1", "\r1", "\n1", "＝1+1", "=HYPERLINK(\"x\")",
    "-2+3+cmd|' /C calc'!A0", "+31612345678", "=", "-", "--1", "-1e5",
]  # fmt: skip
WITHIN = {
    "a;=1+1": "a;'=1+1",
    "a; +1": "a;' +1",
    "a\n@x": "a\n'@x",
    "\n=1": "'\n'=1",
    "a|-1": "a|'-1",
    "a\t＝1": "a\t'＝1",
}
HARMLESS = ["", "a; b", "a\nb", "a;b=c", "a=b", " =1", "-9", "-12.5", "1+1", "'=1", "آ", "P01"]


@pytest.mark.parametrize("text", CORPUS)
def test_what_a_spreadsheet_would_run_is_text(text: str) -> None:
    assert neutral(text) == f"'{text}"
    cells = list(csv.reader(io.StringIO(as_csv(pd.DataFrame({text: [text]})).decode(), newline="")))
    assert cells == [[f"'{text}"], [f"'{text}"]]


@pytest.mark.parametrize("text", WITHIN)
def test_what_begins_a_cell_where_semicolons_or_lines_are_cut_is_text_too(text: str) -> None:
    assert neutral(text) == WITHIN[text]


@pytest.mark.parametrize("text", HARMLESS)
def test_everything_else_stays_as_it_is(text: str) -> None:
    assert neutral(text) == text


plain = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8).filter(lambda text: neutral(text) == text)


@given(
    st.lists(
        st.tuples(
            st.one_of(st.floats(), st.just(np.nan)), plain | st.none(), st.integers(-(2**53), 2**53), st.booleans(),
            st.datetimes(pd.Timestamp("1900-01-01"), pd.Timestamp("2200-01-01")) | st.none(),
        ),
        min_size=1, max_size=8,
    )
)  # fmt: skip
def test_it_is_what_pandas_writes(rows: list[tuple[object, ...]]) -> None:
    frame = pd.DataFrame(rows, columns=["x", "t", "n", "b", "at"])
    frame["x"] = frame["x"].astype(float) + 0.0  # no negative zero: equal numbers have one spelling
    frame["t"] = frame["t"].astype("str")
    frame["at"] = pd.to_datetime(frame["at"]).astype("datetime64[us]").dt.tz_localize("UTC")
    shown = frame.assign(b=frame["b"].astype(int), at=frame["at"].dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    assert as_csv(frame).decode() == shown.to_csv(index=False, lineterminator="\n")


def test_equal_numbers_have_one_spelling_whatever_stands_beside_them() -> None:
    whole = as_csv(pd.DataFrame({"x": [0.0, -0.0]}))
    parts = as_csv(pd.DataFrame({"x": [0.0]})) + as_csv(pd.DataFrame({"x": [-0.0]}), header=False)
    assert whole == parts == b"x\n0.0\n0.0\n"
