"""Forms of others, built as their programs write them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import BytesIO, StringIO
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import openpyxl

from ema_server.surveys.exchange import Carried, read_file
from ema_server.surveys.exchange.tables import COLUMNS
from ema_server.surveys.faults import faults

Rows = Sequence[Sequence[Any]]


def workbook(survey: Rows, choices: Rows = (), settings: Rows = (), **others: Rows) -> bytes:
    """An .xlsx with these sheets."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in {"survey": survey, "choices": choices, "settings": settings, **others}.items():
        if rows:
            sheet = book.create_sheet(title)
            for row in rows:
                sheet.append(list(row))
    file = BytesIO()
    book.save(file)
    return file.getvalue()


def xlsform(survey: Rows, choices: Rows = (), settings: Rows = (), name: str = "form.xlsx") -> Carried:
    return sound(read_file(name, workbook(survey, choices, settings)))


def only(carried: Carried) -> dict[str, Any]:
    (document,) = carried.documents.values()
    return document


def items(carried: Carried) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for document in carried.documents.values() for item in document["items"]}


def lost(carried: Carried) -> str:
    return "\n".join(map(str, carried.lost))


def dictionary(*fields: dict[str, str]) -> bytes:
    """A data dictionary as REDCap exports it, with a record's id in front."""
    file = StringIO(newline="")
    writer = csv.DictWriter(file, COLUMNS, restval="")
    writer.writeheader()
    names = {name: heading for heading, name in COLUMNS.items()}
    rows = [
        {"field_name": "record_id", "form_name": fields[0].get("form_name", "diary"), "field_label": "Record ID"},
        *fields,
    ]
    for field in rows:
        full = {"form_name": "diary", "field_type": "text", "field_label": field["field_name"], **field}
        writer.writerow({names[column]: value for column, value in full.items()})
    return file.getvalue().encode()


def redcap(*fields: dict[str, str]) -> Carried:
    return sound(read_file("dictionary.csv", dictionary(*fields)))


def sound(carried: Carried) -> Carried:
    """Whatever comes out can be published."""
    for document in carried.documents.values():
        assert [str(fault) for fault in faults(document)] == []
    return carried


def repacked(content: bytes, **parts: bytes) -> bytes:
    """A zip archive with parts added or replaced."""
    file = BytesIO()
    with ZipFile(BytesIO(content)) as old, ZipFile(file, "w", ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, parts.pop(info.filename, old.read(info)))
        for name, part in parts.items():
            new.writestr(name, part)
    return file.getvalue()
