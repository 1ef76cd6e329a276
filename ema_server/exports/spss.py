"""SPSS files, written piece by piece: pyreadstat spells the dictionary and each piece's cases, and the pieces are joined.

pyreadstat holds a whole file in memory and takes each text's width from the rows that it sees. So every piece begins with
a *ruler*, a row whose texts are as wide as the widest of the whole file; its dictionary is then the same for all pieces.
The file is the first piece's dictionary with the number of cases put in, followed by the cases of all, rulers left out.
Cases of an uncompressed .sav have one length and stand one after another, which is what makes this possible.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import pyreadstat

from ema_server.reports.variables import Variable

LONGEST_NAME, LONGEST_LABEL, LONGEST_VALUE_LABEL, LONGEST_TITLE = 64, 256, 120, 64  # bytes
WIDEST = 32_767  # bytes of a text; SPSS has no longer one
RESERVED = {"ALL", "AND", "BY", "EQ", "GE", "GT", "LE", "LT", "NE", "NOT", "OR", "TO", "WITH"}

_CASES_AT = 80  # where the header counts the cases: 32 bits here, 64 in the record below
_CASES_RECORD = struct.pack("<4iq", 7, 16, 8, 2, 1)


@dataclass(frozen=True, slots=True)
class Spelling:
    """How a variable stands in SPSS: its name there, and the number that stands for each value of a category."""

    name: str
    codes: Mapping[str, float]  # value → number; empty for what is no category


def spellings(variables: Sequence[Variable]) -> dict[str, Spelling]:
    """Names that SPSS accepts and tells apart, and codes: a category's own numbers, else 1, 2 … in the order of its levels."""
    taken: set[str] = set()
    found = {}
    for variable in variables:
        name = _name(variable.name, taken)
        taken.add(name.upper())
        found[variable.name] = Spelling(name, _codes(variable))
    return found


def widths(variables: Sequence[Variable]) -> dict[str, int]:
    """For each text, no bytes yet: to be raised by `widen` with every piece."""
    return {each.name: 1 for each in variables if each.kind == "text"}


def widen(known: dict[str, int], frame: pd.DataFrame) -> None:
    for name in known:
        texts = frame[name].dropna().unique()
        widest = max((len(text.encode()) for text in texts), default=1)
        known[name] = min(max(known[name], widest), WIDEST)


def written(
    pieces: Iterable[pd.DataFrame],
    variables: Sequence[Variable],
    wide: Mapping[str, int],
    *,
    rows: int,
    title: str,
) -> Iterator[bytes]:
    """The bytes of the .sav file of these pieces, which hold `rows` rows in all."""
    spelt = spellings(variables)
    with TemporaryDirectory(prefix="ema-export-") as folder:
        file = Path(folder) / "piece.sav"

        def of(frame: pd.DataFrame) -> bytes:
            _write(frame, file, variables, spelt, title)
            return file.read_bytes()

        ruler = _ruler(variables, spelt, wide)
        alone, twice = of(ruler), of(pd.concat([ruler, ruler], ignore_index=True))
        case = len(twice) - len(alone)
        start = len(alone) - case
        yield _counted(alone[:start], rows)
        for piece in pieces:
            if len(piece):
                measured = pd.concat([ruler, _coded(piece, variables, spelt)], ignore_index=True)
                yield of(measured)[start + case :]


def _write(
    frame: pd.DataFrame, file: Path, variables: Sequence[Variable], spelt: Mapping[str, Spelling], title: str
) -> None:
    names = {each.name: spelt[each.name].name for each in variables}
    pyreadstat.write_sav(
        frame,
        file,
        file_label=_cut(title, LONGEST_TITLE),
        column_labels={names[each.name]: _cut(each.label, LONGEST_LABEL) for each in variables},
        variable_value_labels={
            names[each.name]: _labels(each, spelt[each.name]) for each in variables if _labelled(each)
        },
        variable_measure={names[each.name]: measure(each) for each in variables},
        variable_format={names[each.name]: form for each in variables if (form := _format(each))},
    )


def measure(variable: Variable) -> str:
    """SPSS's level of measurement."""
    if variable.kind in {"text", "category", "flag", "yesno"}:
        return "nominal"
    return "ordinal" if variable.asked_as == "likert" else "scale"


def _labelled(variable: Variable) -> bool:
    return variable.kind in {"flag", "yesno"} or bool(variable.levels)


def _labels(variable: Variable, spelling: Spelling) -> dict[float, str]:
    if variable.kind in {"flag", "yesno"} and not variable.levels:
        return {0.0: "no", 1.0: "yes"}
    if variable.kind == "category":
        return {spelling.codes[str(value)]: _cut(label, LONGEST_VALUE_LABEL) for value, label in variable.levels}
    return {float(value): _cut(label, LONGEST_VALUE_LABEL) for value, label in variable.levels}


def _format(variable: Variable) -> str | None:
    if variable.kind in {"whole", "flag", "yesno", "category"}:
        return "F8.0"
    return {"moment": "DATETIME23.2", "local": "DATETIME23.2", "date": "DATE11", "number": "F8.2"}.get(variable.kind)


def _coded(piece: pd.DataFrame, variables: Sequence[Variable], spelt: Mapping[str, Spelling]) -> pd.DataFrame:
    """The piece as SPSS holds it: categories as numbers, times without a zone, texts without nothing."""
    coded: dict[str, Any] = {}
    for each in variables:
        column, spelling = piece[each.name], spelt[each.name]
        if each.kind == "category":
            coded[spelling.name] = column.map(spelling.codes).astype("float64").to_numpy()
        elif each.kind == "moment":
            coded[spelling.name] = column.dt.tz_localize(None)
        elif each.kind == "date":
            coded[spelling.name] = pd.to_datetime(column, format="%Y-%m-%d").dt.date
        elif each.kind == "text":
            texts = column.fillna("").astype(object)  # which pyreadstat goes through faster than what Arrow holds
            fits = texts.str.len().max() * 4 <= WIDEST if len(texts) else True
            coded[spelling.name] = texts if fits else texts.map(lambda text: _cut(text, WIDEST, ""))
        else:
            coded[spelling.name] = column.astype("float64").to_numpy() if each.kind != "local" else column
    return pd.DataFrame(coded).reset_index(drop=True)


def _ruler(variables: Sequence[Variable], spelt: Mapping[str, Spelling], wide: Mapping[str, int]) -> pd.DataFrame:
    anything: dict[str, Any] = {
        "text": "",
        "moment": pd.Timestamp("2026-01-01", tz="UTC").as_unit("us"),
        "local": pd.Timestamp("2026-01-01").as_unit("us"),
        "date": "2026-01-01",
        "category": None,
        "flag": False,
    }
    row = {each.name: anything.get(each.kind, 0.0) for each in variables}
    row |= {name: "x" * width for name, width in wide.items()}
    return _coded(pd.DataFrame([row]), variables, spelt)


def _counted(dictionary: bytes, rows: int) -> bytes:
    """The dictionary with the number of cases of the whole file."""
    counted = bytearray(dictionary)
    counted[_CASES_AT : _CASES_AT + 4] = struct.pack("<i", min(rows, 2**31 - 1))
    place = counted.find(_CASES_RECORD)
    if place >= 0:
        end = place + len(_CASES_RECORD)
        counted[end : end + 8] = struct.pack("<q", rows)
    return bytes(counted)


def _codes(variable: Variable) -> dict[str, float]:
    if variable.kind != "category":
        return {}
    values = [str(value) for value, _ in variable.levels]
    if all(re.fullmatch(r"-?\d{1,15}", value) for value in values):
        return {value: float(value) for value in values}
    return {value: float(number) for number, value in enumerate(values, start=1)}


def _name(wanted: str, taken: set[str]) -> str:
    """A name of letters, digits, `.`, `_`, `@`, `#`, `$` that begins with a letter, ends with none of `._`, and is free."""
    name = re.sub(r"[^\w.@#$]", "_", wanted)
    name = name if re.match(r"[^\W\d_]", name) else f"v_{name}"
    name = _cut(name, LONGEST_NAME, "").rstrip("._") or "v"
    name = f"{name}_" if name.upper() in RESERVED else name
    tried, number = name, 2
    while tried.upper() in taken:
        end = f"_{number}"
        tried, number = _cut(name, LONGEST_NAME - len(end), "") + end, number + 1
    return tried


def _cut(text: str, most: int, end: str = "…") -> str:
    """At most so many bytes of UTF-8, never half a character."""
    if len(text.encode()) <= most:
        return text
    return text.encode()[: most - len(end.encode())].decode(errors="ignore") + end
