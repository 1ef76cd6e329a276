"""REDCap's own columns in an export, and its data dictionary: what belongs to a person and what to the form."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Final

from ema_server.common.csv_rows import CsvFault, CsvRows
from ema_server.participants.person_columns import Kind, Known

EVENT: Final = "redcap_event_name"
REPEAT: Final = "redcap_repeat_instrument"
EVENT_COLUMNS = frozenset({EVENT, "Event Name"})
REPEAT_COLUMNS = frozenset({REPEAT, "Repeat Instrument"})
_OWN = {
    "redcap_repeat_instance": "counts repeated forms",
    "Repeat Instance": "counts repeated forms",
    "redcap_survey_identifier": "says who answered a survey",
    "Survey Identifier": "says who answered a survey",
}
_STATES = frozenset({"0", "1", "2", "", "Incomplete", "Unverified", "Complete"})
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?|\[not completed\])?", re.ASCII)

# What the columns of a dictionary are called, in a download and by the API.
_FIELDS = {
    "name": ("Variable / Field Name", "field_name"),
    "type": ("Field Type", "field_type"),
    "label": ("Field Label", "field_label"),
    "choices": ("Choices, Calculations, OR Slider Labels", "select_choices_or_calculations"),
    "check": ("Text Validation Type OR Show Slider Number", "text_validation_type_or_show_slider_number"),
    "identifier": ("Identifier?", "identifier"),
}


def of_the_form(name: str, texts: list[str]) -> str | None:
    """Why a column says nothing about the person, but about the form: REDCap's states and stamps."""
    if name in _OWN:
        return _OWN[name]
    if (name.endswith("_complete") or name == "Complete?") and set(texts) <= _STATES:
        return "says whether a form is complete"
    if name.endswith("_timestamp") and all(_MOMENT.fullmatch(text) for text in texts):
        return "says when a survey was filled in"
    return None


def read_dictionary(rows: CsvRows) -> dict[str, Known]:
    """Each export column that a REDCap data dictionary describes: its type, label, levels, and whether it identifies."""
    at = {
        key: next((rows.header.index(name) for name in names if name in rows.header), None)
        for key, names in _FIELDS.items()
    }
    for key in ("name", "type"):
        if at[key] is None:
            raise CsvFault(
                f"this is no REDCap data dictionary: it has no column {_FIELDS[key][0]!r}; it has {', '.join(rows.header[:8])}.",
                row=1,
            )
    found: dict[str, Known] = {}
    for row, cells in rows:
        cell = {key: "" if place is None else cells[place].strip() for key, place in at.items()}
        if cell["name"] in found:
            raise CsvFault("stands in the dictionary twice.", row=row, column=_FIELDS["name"][0], value=cell["name"])
        found.update(_known(cell, row))
    return found


def _known(cell: Mapping[str, str], row: int) -> dict[str, Known]:
    label = _plain(cell["label"])
    identifies = cell["identifier"].lower() in {"y", "yes"} or cell["check"] in {"email", "phone"}
    if cell["type"] in {"radio", "dropdown", "checkbox"}:
        levels = _choices(cell["choices"], row)
        if cell["type"] == "checkbox":
            return {
                f"{cell['name']}___{code.lower().replace('-', '_')}": Known("yesno", f"{label}: {text}", (), identifies)
                for code, text in levels
            }
        return {cell["name"]: Known("category", label, levels, identifies)}
    kind: Kind | None = None
    if cell["type"] in {"yesno", "truefalse"}:
        kind = "yesno"
    elif cell["type"] in {"slider", "calc"}:
        kind = "number"
    elif cell["check"].startswith(("date_", "datetime_")):
        kind = "date"
    elif cell["check"] == "integer":
        kind = "integer"
    elif cell["check"].startswith("number"):
        kind = "number"
    return {cell["name"]: Known(kind, label, (), identifies)}


def _choices(text: str, row: int) -> tuple[tuple[str, str], ...]:
    """`1, Male | 2, Female`"""
    found = []
    for each in text.split("|"):
        code, comma, label = each.partition(",")
        if not comma or not code.strip():
            raise CsvFault(
                "is no choice; a code, a comma and a label are accepted, divided by |.",
                row=row,
                column=_FIELDS["choices"][0],
                value=each.strip(),
            )
        found.append((code.strip(), _plain(label)))
    return tuple(found)


def _plain(text: str) -> str:
    """Labels may hold markup."""
    return " ".join(html.unescape(re.sub(r"<[^<>]*>", " ", text)).split())
