"""The codebook: every column with what it holds, for machines (JSON) and for people (one table)."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
from django.template.loader import render_to_string

from ema_server.exports.contents import Contents
from ema_server.exports.spss import spellings
from ema_server.exports.tabulation import Tallies, Tally
from ema_server.reports.variables import Variable
from ema_server.surveys.texts import direction

SCHEMA = "ema-codebook/1"
TYPES = {
    "text": "text",
    "category": "category",
    "number": "number",
    "yesno": "yes or no (1, 0)",
    "whole": "whole number",
    "flag": "yes or no (1, 0)",
    "moment": "time (UTC)",
    "local": "wall time",
    "date": "date",
}
OVER_MIDNIGHT = "23:30 is 1410 and 00:30 is 30: shift times that lie around midnight, as bedtimes do, before any mean."
APOSTROPHE = (
    "In the CSV file a text that begins with =, +, -, @, a tab or a line break has an apostrophe before it, so that no "
    "spreadsheet runs it as a formula; so has what begins like this behind a semicolon, a tab or a line break in it. The apostrophe is part of the file, whose SHA-256 is the data hash, and stays; the "
    "other formats hold the text without it."
)


def as_dict(contents: Contents, tallies: Tallies | None = None) -> dict[str, Any]:
    """The codebook as plain values; without tallies nothing is counted."""
    spelt = spellings(contents.variables)
    return {
        "schema": SCHEMA,
        **contents.about,
        "rows": tallies.rows if tallies else None,
        "persons": len(tallies.persons) if tallies else None,
        "notes": [APOSTROPHE],
        "columns": [
            {
                **_column(each, tallies[each.name] if tallies else None),
                "spss_name": spelt[each.name].name,
                "levels": _levels(each, spelt[each.name].codes, tallies[each.name] if tallies else None),
            }
            for each in contents.variables
        ],
    }


def as_json(book: dict[str, Any]) -> str:
    return json.dumps(book, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def as_page(book: dict[str, Any]) -> str:
    """The codebook as a page of its own."""
    return render_to_string("exports/codebook_file.html", {"book": book, "rows": readable(book)})


def readable(book: dict[str, Any]) -> list[dict[str, Any]]:
    """Its columns as the table shows them."""
    return [
        {
            **column,
            "type": TYPES[column["kind"]],
            "wordings": [
                (language, text, direction(language))
                for language, text in column["texts"].items()
                if text != column["label"]
            ],
            "range": _range(column),
            "own_codes": all(str(level["value"]) == f"{level.get('spss', 0):g}" for level in column["levels"]),
        }
        for column in book["columns"]
    ]


def _range(column: dict[str, Any]) -> str:
    if column["kind"] == "yesno" or column["low"] is None or column["high"] is None:
        return ""
    return f"{column['low']:g} to {column['high']:g}"


def _column(variable: Variable, tally: Tally | None) -> dict[str, Any]:
    return {
        "name": variable.name,
        "label": variable.label,
        "kind": variable.kind,
        "unit": variable.unit,
        "low": variable.low,
        "high": variable.high,
        "origin": variable.origin,
        "questionnaire": variable.questionnaire,
        "asked_as": variable.asked_as,
        "texts": dict(variable.texts),
        "source": dict(variable.source),
        "note": f"{variable.note} {OVER_MIDNIGHT}".strip() if variable.asked_as == "time" else variable.note,
        "asked_where": variable.condition,
        "n": tally.n if tally else None,
        "missing": tally.missing if tally else None,
        "min": _plain(tally.least) if tally else None,
        "max": _plain(tally.greatest) if tally else None,
    }


def _levels(variable: Variable, codes: Any, tally: Tally | None) -> list[dict[str, Any]]:
    return [
        {
            "value": value,
            "label": label,
            **({"spss": codes[str(value)]} if codes else {}),
            **({"n": tally.levels[str(value)]} if tally and variable.kind in {"category", "flag", "yesno"} else {}),
        }
        for value, label in variable.levels
    ]


def _plain(value: Any) -> Any:
    """A least or greatest value as JSON holds it."""
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else value
