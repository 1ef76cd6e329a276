"""A person's data as bytes, piece by piece: one JSON document, or a ZIP of CSV files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from itertools import islice
from typing import Any, Final, Literal
from uuid import UUID
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from ema_server.common.csv_cells import cell
from ema_server.common.sink import Sink
from ema_server.participants.models import Participant
from ema_server.rights.own_data import (
    ANSWERS,
    SECTIONS,
    Row,
    Section,
    about_identity,
    about_participant,
    about_study,
)
from ema_server.vault.services import holding_keys

Form = Literal["json", "csv"]
SCHEMA = "ema-own-data/1"
TYPES: Final[dict[Form, str]] = {"json": "application/json", "csv": "application/zip"}
ENDINGS: Final[dict[Form, str]] = {"json": "json", "csv": "zip"}


def written(person: Participant, form: Form, *, now: datetime) -> Iterator[bytes]:
    """To be read inside one snapshot and the scope of the person's study."""
    return FORMS[form](person, now)


def _json(person: Participant, now: datetime) -> Iterator[bytes]:
    with holding_keys():
        head = {
            "schema": SCHEMA,
            "made_at": now,
            "study": about_study(person),
            "participant": about_participant(person),
            "identity": about_identity(person),
        }
    yield _dumped(head)[:-1].encode()
    for section in SECTIONS:
        yield f',\n"{section.name}": ['.encode()
        for place, piece in enumerate(_pieces(section, person)):
            rows = ",\n".join(_dumped(dict(zip(section.columns, row, strict=True))) for row in piece)
            yield f"{',' if place else ''}\n{rows}".encode()
        yield b"]"
    yield b"}\n"


def _csv(person: Participant, now: datetime) -> Iterator[bytes]:
    sink = Sink()
    sections = (ANSWERS, *SECTIONS)
    with ZipFile(sink, "w", ZIP_DEFLATED) as archive:

        def member(name: str, parts: Iterator[bytes]) -> Iterator[bytes]:
            info = ZipInfo(name, now.timetuple()[:6])
            info.compress_type, info.external_attr = ZIP_DEFLATED, 0o644 << 16
            with archive.open(info, "w", force_zip64=True) as file:
                for part in parts:
                    file.write(part)
                    yield sink.taken()

        yield from member("README.txt", iter([_readme(person, sections, now).encode()]))
        yield from member("participant.csv", _facts(person))
        for section in sections:
            yield from member(f"{section.name}.csv", _table(section, person))
    yield sink.taken()


FORMS: Final[dict[Form, Callable[[Participant, datetime], Iterator[bytes]]]] = {"json": _json, "csv": _csv}


def _pieces(section: Section, person: Participant) -> Iterator[list[Row]]:
    """Some rows at a time. Keys are held while a piece is read and not while its bytes are under way."""
    rows = section.rows(person)
    while True:
        with holding_keys():
            piece = list(islice(rows, section.at_once))
        if not piece:
            return
        yield piece


def _table(section: Section, person: Participant) -> Iterator[bytes]:
    yield f"{','.join(section.columns)}\n".encode()
    for piece in _pieces(section, person):
        yield "".join(f"{','.join(_spelt(value) for value in row)}\n" for row in piece).encode()


def _facts(person: Participant) -> Iterator[bytes]:
    with holding_keys():
        about = {"study": about_study(person), "participant": about_participant(person)}
        about["identity"] = about_identity(person) or {}
    yield b"about,name,value\n"
    for what, facts in about.items():
        yield "".join(f"{what},{name},{_spelt(value)}\n" for name, value in facts.items()).encode()


def _readme(person: Participant, sections: tuple[Section, ...], now: datetime) -> str:
    return "\n".join(
        [
            f"All that the study {person.study.title!r} holds of {person.pseudonym}, as of {now.isoformat()}.",
            "",
            "participant.csv: who you are in the study, and your identity if the study keeps it",
            *(f"{section.name}.csv: {section.about}" for section in sections),
            "",
            "Tables are UTF-8 with commas; times have their offset. A text that a spreadsheet would run as a formula has an",
            "apostrophe before it; the JSON form of this export has every text as you wrote it.",
            "",
        ]
    )


def _spelt(value: Any) -> str:
    """A value as a cell."""
    if value is None:
        return ""
    if isinstance(value, str):
        return cell(value)
    if isinstance(value, datetime | date | time | UUID):
        return _plain(value)
    return cell(_dumped(value))


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> str:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in an export")
