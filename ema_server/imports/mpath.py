"""m-Path's export as the R package mpathr reads it: `basic.csv` and its meta data become a map for the same reading.

What is known of the format is from mpathr's code and documentation (github.com/m-path-io/mpathr, read_mpath.R and
timestamps_to_datetime.R): semicolons; decimal points; no delimiters for the empty cells at a row's end; texts as JSON inside
the cells; lists of numbers as `1,3,4`, lists of texts as JSON texts with commas between; UNIX seconds of the participant's
*local* clock, with its distance from UTC in `timeZoneOffset`; 0 where something did not happen.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ema_server.common.csv_rows import CsvFault, open_csv
from ema_server.imports.guesses import name_for

META = ("columnName", "fullQuestion", "typeQuestion", "typeAnswer")
NEEDED = ("connectionId", "questionListName", "timeStampScheduled", "timeStampSent", "timeStampStart", "timeStampStop")
WHO = ("legacyCode", "code", "alias", "initials", "accountCode")  # who somebody is to the lab: never stored
MACHINERY = (
    "scheduledBeepId", "sentBeepId", "reminderForOriginalSentBeepId", "questionListLabel", "fromProtocolName",
    "originalTimeStampSent", "deltaUTC",
)  # fmt: skip
EXCEL = "was saved by a spreadsheet, which changes this format; download it from m-Path again."


def is_meta(path: Path) -> bool:
    """Whether a file is the meta data, not the answers."""
    with path.open("rb") as file:
        start = file.read(200).lstrip(b"\xef\xbb\xbf\"'")
    return start.startswith(META[0].encode())


def read_meta(path: Path) -> list[dict[str, str]]:
    """The rows of the meta data."""
    _not_by_excel(path)
    with open_csv(path, delimiter=";", short_rows=True) as rows:
        for name in META:
            rows.column(name)
        return [dict(zip(rows.header, cells, strict=True)) for _, cells in rows]


def mapped(header: Sequence[str], meta: Sequence[dict[str, str]], *, file: Path) -> tuple[dict[str, Any], list[str]]:
    """The map for this export, and what has to be said about it."""
    _not_by_excel(file)
    for name in NEEDED:
        if name not in header:
            raise CsvFault(f"{file.name} has no column {name!r}: it is not m-Path's basic.csv.", row=1)
    items: dict[str, dict[str, Any]] = {}
    left: list[str] = []
    notes: list[str] = []
    by_column = {row["columnName"]: row for row in meta}
    for row in meta:
        if row["columnName"] in header:
            item = _item(row, by_column, header)
            if item is None:
                left.append(row["columnName"])
            else:
                items[name_for(_stem(row), items)] = item
    taken = {value for item in items.values() for key in ("column", "prefer", "label_from") if (value := item.get(key))}
    unknown = [
        name for name in header if name not in by_column and name not in {*NEEDED, *WHO, *MACHINERY, "timeZoneOffset"}
    ]
    changed = sorted({_stem(row) for row in meta if any(row.get(name) in {"1", "TRUE"} for name in _mixed(row))})
    shown = [name for name in left if by_column[name]["typeQuestion"] != "basic" and not _beside_index(name, by_column)]
    if shown:
        notes.append(f"Not carried over, since no item type holds them: {', '.join(shown)}.")
    if unknown:
        notes.append(f"Not in the meta data and left out: {', '.join(unknown)}.")
    if changed:
        notes.append(f"Questions that were changed during the study, by the meta data: {', '.join(changed)}.")
    return {
        "person": "connectionId",
        "prompt": "scheduledBeepId",
        "questionnaire": "questionListName",
        "scheduled_at": {
            "column": ["timeStampScheduled", "timeStampSent", "timeStampStart"],
            "style": "unix_local",
            **({"offset_seconds": "timeZoneOffset"} if "timeZoneOffset" in header else {}),
        },
        "delivered_at": "timeStampSent",
        "started_at": "timeStampStart",
        "answered_at": "timeStampStop",
        "repeats": "reissued",
        "unanswered": "expired",
        "items": items,
        "ignore": [name for name in header if name in {*WHO, *MACHINERY, *left, *unknown} - taken],
    }, notes


def _item(row: dict[str, str], meta: dict[str, dict[str, str]], header: Sequence[str]) -> dict[str, Any] | None:
    """Where an item's answers stand, or None for what is no item or belongs to one that stands beside it."""
    column, question, answer = row["columnName"], row["typeQuestion"], row["typeAnswer"]
    item: dict[str, Any] = {"column": column, "text": _words(row["fullQuestion"]) or _stem(row)}
    if _beside_index(column, meta):
        return None
    if column.endswith("_index"):
        stem = column.rsplit("_", 1)[0]
        string, likert = f"{stem}_string", f"{stem}_likert"
        if string in header:
            item["label_from"] = string
        if answer == "intList":
            return {**item, "separator": ",", "type": "choices"}
        if likert in header:
            item["prefer"] = likert
        return item
    if question == "basic" or answer in {"doubleList", "stringList", "basic"} or question == "appUsage":
        return None
    if answer == "intList":
        return None
    if answer == "string":
        return {**item, "type": "text", "json": True, "required": False}
    if answer in {"int", "integer", "double"}:
        if question == "yesno":
            return {**item, "type": "yesno"}
        if question.startswith("slider"):
            return {**item, "type": "slider"}
        ambient = {"ambient": True} if question in {"steps", "noise"} else {}
        return {**item, "type": "number", **ambient}
    return None


def _beside_index(column: str, meta: dict[str, dict[str, str]]) -> bool:
    """Whether a column says the same as the `_index` beside it, in words or on a scale."""
    return column.endswith(("_string", "_likert")) and f"{column.rsplit('_', 1)[0]}_index" in meta


def _stem(row: dict[str, str]) -> str:
    """The question's own name, without what m-Path puts behind it."""
    name = re.sub(r"_(index|string|likert)$", "", row["columnName"])
    return name.removesuffix(f"_{row['typeQuestion']}") or name


def _mixed(row: dict[str, str]) -> list[str]:
    return [name for name in row if name.endswith("_mixed")]


def _words(text: str) -> str:
    """A question without its markup."""
    return (
        re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", text)))
        .strip()[:2000]
        .replace("{", "(")
        .replace("}", ")")
    )


def _not_by_excel(path: Path) -> None:
    with path.open("rb") as file:
        first = file.readline(4096).lstrip(b"\xef\xbb\xbf")
    if first.startswith(b"'") or (first.startswith(b'"') and b'";' not in first):
        raise CsvFault(f"{path.name} {EXCEL}", row=1)
